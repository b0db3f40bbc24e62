"""Reddit's event names. Source: Reddit's server-side tag template 2.0.0 and its v3 guide, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capi_async.event import STANDARD_EVENTS
from capi_async.plain import shown

#: The type of every event that has no standard one; it carries a name of the caller's.
CUSTOM: Final = "CUSTOM"
#: Code points of such a name; Reddit cuts longer ones silently.
MAX_NAME: Final = 64

_TYPES: Final[Mapping[str, str | None]] = {
    "page_view": "PAGE_VISIT",
    "view_content": "VIEW_CONTENT",
    "search": "SEARCH",
    "add_to_cart": "ADD_TO_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "purchase": "PURCHASE",
    "lead": "LEAD",
    "sign_up": "SIGN_UP",
    # as a custom event it would be counted as revenue
    "refund": None,
}
STANDARD_NAMES: Final[Mapping[str, str | None]] = {name: _TYPES.get(name, CUSTOM) for name in sorted(STANDARD_EVENTS)}
TRACKING_TYPES: Final = frozenset({CUSTOM, *filter(None, _TYPES.values())})
#: Types whose ``value`` and ``currency`` are read, and those whose ``item_count`` is.
WITH_VALUE: Final = frozenset({"PURCHASE", "ADD_TO_CART", "ADD_TO_WISHLIST", "LEAD", "SIGN_UP", CUSTOM})
WITH_COUNT: Final = WITH_VALUE - {"LEAD", "SIGN_UP"}


def odd_name(name: str, there: str) -> str:
    """What is wrong with ``there`` as the name of event ``name``; empty: nothing.

    A tracking type, or the name of a custom event. A name with a type's letters in another spelling, such as ``SignUp``
    of v2, can only be meant as the type.
    """
    known = _BY_LETTERS.get(_letters(there))
    if known is not None and known != there:
        return f"{shown(there)!r} is no tracking type; is {known!r} meant?"
    if len(name if there == CUSTOM else there) > MAX_NAME:
        return f"the name of a custom event has at most {MAX_NAME} characters"
    return ""


def _letters(name: str) -> str:
    return name.replace("_", "").replace(" ", "").lower()


_BY_LETTERS: Final = {_letters(name): name for name in TRACKING_TYPES}
