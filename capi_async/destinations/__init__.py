"""Destinations by name. Each platform's module is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from capi_async.destinations.registry import BUILT_IN, Row, row_of, rows
from capi_async.spec import Destination

if TYPE_CHECKING:
    from capi_async.destinations.cutmeshort import CutMeShort
    from capi_async.destinations.ga4 import GA4
    from capi_async.destinations.google_ads import GoogleAds
    from capi_async.destinations.linkedin import LinkedIn
    from capi_async.destinations.meta import Meta
    from capi_async.destinations.pinterest import Pinterest
    from capi_async.destinations.reddit import Reddit
    from capi_async.destinations.snap import Snap, SnapV2
    from capi_async.destinations.tiktok import TikTok, TikTokPixel
    from capi_async.destinations.webhook import Webhook

__all__ = [
    "GA4",
    "CutMeShort",
    "GoogleAds",
    "LinkedIn",
    "Meta",
    "Pinterest",
    "Reddit",
    "Row",
    "Snap",
    "SnapV2",
    "TikTok",
    "TikTokPixel",
    "Webhook",
    "destination_class",
    "destination_types",
    "installed_types",
    "row_of",
]

_ROWS: Final = {row.class_name: row for row in BUILT_IN.values()}


def destination_types() -> list[str]:
    """The built-in types, in the order in which they are documented."""
    return list(BUILT_IN)


def installed_types() -> list[str]:
    """The built-in types, and those of installed packages after them.

    Raises:
        ConfigError: A package gives something else than a destination, or two give the same type.
    """
    return list(rows())


def destination_class(type_name: str) -> type[Destination]:
    """The class of a type, built in or registered under the entry-point group ``capi_async.destinations``.

    Raises:
        ConfigError: Nothing of that name is installed.
    """
    return row_of(type_name).load()


def __getattr__(name: str) -> Any:
    if row := _ROWS.get(name):
        return row.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
