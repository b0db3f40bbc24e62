"""A local server that plays every platform, strictly, for tests, examples and trying things out.

::

    async with Sandbox(seed=0) as sandbox:
        sandbox.url("snap")                                 # base_url of a destination
        sandbox.fault("snap", "status", status=503, rate=0.2)
        sandbox.arrivals("snap")
        sandbox.tiktok_shop.place_order(value="59.39", paid=True)

Over HTTP: ``GET /`` is a page, whose buttons turn faults on and off and clear; ``/_sandbox/arrivals``,
``/_sandbox/stats`` (``?detail=1``), ``/_sandbox/faults`` and
``/_sandbox/rates`` read and steer it; ``DELETE`` empties any of them, and all that was received at ``/_sandbox``. The
header ``X-Sandbox-Dropped`` of the arrivals says how many of them are no longer listed. The token ``sandbox-token`` is
right everywhere, and every account id of valid form exists. It keeps its own reading of each platform's rules and
imports no destination, so that a wrong field name cannot agree with itself. The TikTok Shop, which takes no events but
has orders, is told in ``capi_async.sandbox.platforms.tiktok_shop``, and steered at ``/_sandbox/tiktok_shop``.
"""

from capi_async.sandbox.arrivals import Arrival, Stats
from capi_async.sandbox.faults import Fault
from capi_async.sandbox.platforms.base import TOKEN
from capi_async.sandbox.rates import Rate
from capi_async.sandbox.server import Sandbox, serve

__all__ = ["TOKEN", "Arrival", "Fault", "Rate", "Sandbox", "Stats", "serve"]
