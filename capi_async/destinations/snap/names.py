"""Snap's event names and sources, of both versions of its API. Source: Snap's own server-side tag template and
developers.snap.com, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capi_async.plain import shown

#: The whole list of Snap's own server-side tag template; other names are not known to be taken.
EVENT_NAMES: Final = frozenset(
    {
        "PAGE_VIEW", "VIEW_CONTENT", "LIST_VIEW", "SEARCH", "SAVE", "ADD_CART", "ADD_TO_WISHLIST",
        "START_CHECKOUT", "ADD_BILLING", "PURCHASE", "SIGN_UP", "LOGIN", "SUBSCRIBE", "START_TRIAL", "RESERVE",
        "SHARE", "INVITE", "RATE", "AD_CLICK", "AD_VIEW", "COMPLETE_TUTORIAL", "LEVEL_COMPLETE",
        "ACHIEVEMENT_UNLOCKED", "SPENT_CREDITS", "APP_INSTALL", "APP_OPEN",
        *(f"CUSTOM_EVENT_{slot}" for slot in range(1, 6)),
    }
)  # fmt: skip

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "PAGE_VIEW",
    "view_content": "VIEW_CONTENT",
    "search": "SEARCH",
    "add_to_cart": "ADD_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "initiate_checkout": "START_CHECKOUT",
    "add_payment_info": "ADD_BILLING",
    "purchase": "PURCHASE",
    "refund": None,
    # Snap has no lead: its own tag template sends it as a sign-up
    "lead": "SIGN_UP",
    "sign_up": "SIGN_UP",
    "subscribe": "SUBSCRIBE",
    "start_trial": "START_TRIAL",
    "login": "LOGIN",
    "contact": None,
    "download": None,
    "app_install": "APP_INSTALL",
    "app_open": "APP_OPEN",
    "view_list": "LIST_VIEW",
    "share": "SHARE",
    "rate": "RATE",
    "save": "SAVE",
    "invite": "INVITE",
    "reserve": "RESERVE",
    # as Snap's own name for an appointment: it has no other
    "schedule": "RESERVE",
    "tutorial_complete": "COMPLETE_TUTORIAL",
    "level_complete": "LEVEL_COMPLETE",
    "unlock_achievement": "ACHIEVEMENT_UNLOCKED",
    "spend_credits": "SPENT_CREDITS",
    "ad_click": "AD_CLICK",
    "ad_view": "AD_VIEW",
    "watch_video": None,
    "find_location": None,
    "customize_product": None,
    "submit_application": None,
}

#: Snap knows three sources; everything that is neither web nor app is offline.
ACTION_SOURCES: Final[Mapping[str, str]] = {
    "website": "WEB",
    "app": "MOBILE_APP",
    "offline": "OFFLINE",
    "physical_store": "OFFLINE",
    "phone_call": "OFFLINE",
    "email": "OFFLINE",
    "chat": "OFFLINE",
    "system_generated": "OFFLINE",
    "crm": "OFFLINE",
    "business_messaging": "OFFLINE",
    "other": "OFFLINE",
}


def odd_name(there: str) -> str:
    """What is wrong with an override; empty: nothing."""
    if there in EVENT_NAMES:
        return ""
    return f"{shown(there)!r} is no event of Snap's; use a standard name or CUSTOM_EVENT_1 to CUSTOM_EVENT_5"
