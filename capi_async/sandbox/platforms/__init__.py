"""The platforms that the sandbox plays, each in a file of its own.

A further platform is one file with a ``Platform`` subclass, and one entry here.
"""

from __future__ import annotations

from typing import Any

from capi_async.sandbox.platforms.base import Platform
from capi_async.sandbox.platforms.cutmeshort import CutMeShort
from capi_async.sandbox.platforms.meta import Meta
from capi_async.sandbox.platforms.pinterest import Pinterest
from capi_async.sandbox.platforms.snap import Snap
from capi_async.sandbox.platforms.snap_v2 import SnapV2
from capi_async.sandbox.platforms.tiktok import TikTok
from capi_async.sandbox.platforms.tiktok_pixel import TikTokPixel

PLATFORMS: tuple[type[Platform[Any]], ...] = (Snap, SnapV2, Pinterest, TikTok, TikTokPixel, CutMeShort, Meta)
