"""The platforms that the sandbox plays, each in a file of its own.

A further platform is one file with a ``Platform`` subclass, and one entry here. A package of its own adds one by an
entry point of the group ``capi_async.sandbox``, named as the platform, that leads to the class.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

from capi_async.sandbox.platforms.base import Platform
from capi_async.sandbox.platforms.cutmeshort import CutMeShort
from capi_async.sandbox.platforms.ga4 import GA4
from capi_async.sandbox.platforms.google_ads import GoogleAds
from capi_async.sandbox.platforms.linkedin import LinkedIn
from capi_async.sandbox.platforms.meta import Meta
from capi_async.sandbox.platforms.pinterest import Pinterest
from capi_async.sandbox.platforms.reddit import Reddit
from capi_async.sandbox.platforms.snap import Snap
from capi_async.sandbox.platforms.snap_v2 import SnapV2
from capi_async.sandbox.platforms.tiktok import TikTok
from capi_async.sandbox.platforms.tiktok_pixel import TikTokPixel
from capi_async.sandbox.platforms.webhook import Webhook
from capi_async.traces import place_of

PLATFORMS: tuple[type[Platform[Any]], ...] = (
    Snap,
    SnapV2,
    Pinterest,
    TikTok,
    TikTokPixel,
    CutMeShort,
    Meta,
    GoogleAds,
    GA4,
    Reddit,
    LinkedIn,
    Webhook,
)

GROUP: Final = "capi_async.sandbox"
logger = logging.getLogger(__name__)


@cache
def platforms() -> tuple[type[Platform[Any]], ...]:
    """Those above, and those of installed packages after them; one that cannot be used is logged and left out."""
    from importlib.metadata import entry_points

    found = {platform.name: platform for platform in PLATFORMS}
    for point in entry_points(group=GROUP):
        if point.name in found:
            continue
        try:
            platform = point.load()
        except Exception as error:  # a package's own code, run at import
            problem = f"its import raised {type(error).__name__} at {place_of(error)}"
        else:
            if isinstance(platform, type) and issubclass(platform, Platform) and platform.name == point.name:
                found[platform.name] = platform
                continue
            problem = "it leads to no sandbox Platform of that name"
        logger.warning("sandbox: the installed platform %s is left out: %s; mend its package", point.name, problem)
    return tuple(found.values())
