"""Pinterest's event names. Source: api-description 5.23.0 and the conversion overview, read 2026-11.

The names of the API description and of the vendor's guide differ. An unknown name is not refused by the
server: it answers ``processed`` and files the event as "Unknown", so names are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from capi_async.event import STANDARD_EVENTS
from capi_async.plain import shown

#: Listed in the API description.
DESCRIBED: Final = frozenset(
    {
        "add_payment_info", "add_to_cart", "add_to_wishlist", "app_install", "checkout", "custom",
        "initiate_checkout", "lead", "page_visit", "search", "signup", "subscribe", "view_category",
        "view_content", "watch_video",
    }
)  # fmt: skip

#: Listed in the guide only, each with the described name that stands in for it. The guide gives no
#: substitute; ``lead`` for ``contact`` is what a public tag template sends, the rest is our choice.
GUIDE_ONLY: Final[Mapping[str, str]] = {
    "app_open": "custom",
    "contact": "lead",
    "customize_product": "custom",
    "find_location": "custom",
    "schedule": "custom",
    "start_trial": "custom",
    "submit_application": "custom",
}

#: Pinterest's name of a completed order, which elsewhere is often its beginning: whoever writes it is told.
CHECKOUT: Final = "checkout"

#: Names of Pinterest's own that are no standard ones, and may be written as they are.
SAME_NAME: Final = (DESCRIBED | GUIDE_ONLY.keys()) - STANDARD_EVENTS - {CHECKOUT}

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "page_visit",
    "view_content": "view_content",
    "search": "search",
    "add_to_cart": "add_to_cart",
    "add_to_wishlist": "add_to_wishlist",
    "initiate_checkout": "initiate_checkout",
    "add_payment_info": "add_payment_info",
    "purchase": "checkout",
    "refund": None,
    "lead": "lead",
    "sign_up": "signup",
    "subscribe": "subscribe",
    "start_trial": "start_trial",
    "login": "custom",
    "contact": "contact",
    "download": "custom",
    "app_install": "app_install",
    "app_open": "app_open",
    "view_list": "view_category",
    "watch_video": "watch_video",
    "schedule": "schedule",
    "find_location": "find_location",
    "customize_product": "customize_product",
    "submit_application": "submit_application",
    **dict.fromkeys(
        (
            "share",
            "rate",
            "save",
            "invite",
            "reserve",
            "tutorial_complete",
            "level_complete",
            "unlock_achievement",
            "spend_credits",
            "ad_click",
            "ad_view",
        ),
        "custom",
    ),
}

#: A name that the account has registered.
REGISTERED: Final = r"\A[A-Za-z0-9_-]{1,100}\Z"


def odd_name(there: str) -> str:
    """What is wrong with an override that can only be a mistake; empty: nothing.

    It has a spelling that no registered name may have, or is nearly a known one.
    """
    if not re.match(REGISTERED, there):
        return f"{shown(there)!r} needs 1 to 100 letters, digits, '_' or '-'"
    known = _BY_LETTERS.get(_letters(there))
    if known is not None and known != there:
        return f"{shown(there)!r} is unknown to Pinterest; did you mean {known!r}?"
    return ""


def _letters(name: str) -> str:
    return re.sub(r"[_-]", "", name).lower()


_BY_LETTERS: Final = {_letters(name): name for name in (*DESCRIBED, *GUIDE_ONLY)}
