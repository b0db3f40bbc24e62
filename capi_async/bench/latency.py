"""Two figures beside the throughput: how soon an idle client accepts an event, and what importing the package costs."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from itertools import islice
from typing import Final

from capi_async.bench.clockwork import new_loop, pin
from capi_async.bench.feed import seeded
from capi_async.bench.ours import destinations, event_of
from capi_async.client import Client
from capi_async.outcome import Response
from capi_async.spec import Request

_GAP_S: Final = 0.002
_WARM: Final = 50


class _Instant:
    """A transport that answers at once, as Snap does when all is well."""

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        return Response(status=200, body=b'{"status":"VALID"}', headers={})


async def _accepted(count: int) -> list[float]:
    times: list[float] = []
    async with Client(destinations("http://127.0.0.1:9", 1), linger_s=0.05, transport=_Instant()) as client:
        for row in islice(seeded(count + _WARM), count + _WARM):
            await asyncio.sleep(_GAP_S)
            event = event_of(row)
            before = time.perf_counter()
            await client.send(event)
            times.append((time.perf_counter() - before) * 1e6)
        await client.flush(10)
    return sorted(times[_WARM:])


def accept_us(core: int | None, *, count: int = 1_000) -> dict[str, float]:
    """Microseconds from ``send()`` to its return, one event at a time with pauses, memory spool."""
    before = os.sched_getaffinity(0) if core is not None else None
    pin(core)
    try:
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            times = runner.run(_accepted(count))
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)
    return {"accept_p50": times[len(times) // 2], "accept_p99": times[int(len(times) * 0.99)]}


def _import_ms(what: str, times: int) -> float:
    code = f"import time; t = time.process_time(); import {what}; print((time.process_time() - t) * 1e3)"
    found = []
    # the first writes the bytecode, also where others are told not to: else compiling would be measured
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(times + 1):
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        found.append(float(ended.stdout))
    return statistics.median(found[1:])


def import_ms(*, times: int = 5) -> dict[str, float]:
    """CPU milliseconds of importing the package, over those of importing aiohttp alone."""
    alone = _import_ms("aiohttp", times)
    return {"import_aiohttp": alone, "import_over": _import_ms("capi_async", times) - alone}
