"""Names that Google Analytics takes, and those that it reserves. Source: the Measurement Protocol's reference, sending
events and recommended events, developers.google.com/analytics, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

MAX_NAME: Final = 40

STANDARD: Final[Mapping[str, str | None]] = {
    "page_view": "page_view",
    "view_content": "view_item",
    "search": "search",
    "add_to_cart": "add_to_cart",
    "add_to_wishlist": "add_to_wishlist",
    "initiate_checkout": "begin_checkout",
    "add_payment_info": "add_payment_info",
    "purchase": "purchase",
    "refund": "refund",
    "lead": "generate_lead",
    "sign_up": "sign_up",
    "login": "login",
    "view_list": "view_item_list",
    "share": "share",
    "tutorial_complete": "tutorial_complete",
    "unlock_achievement": "unlock_achievement",
    "level_complete": "level_end",
    "spend_credits": "spend_virtual_currency",
    # no recommended names: custom events there
    "subscribe": "subscribe",
    "start_trial": "start_trial",
    "contact": "contact",
    "download": "download",
    "app_open": "app_open",
    **{
        name: name
        for name in (
            "ad_view",
            "customize_product",
            "find_location",
            "invite",
            "rate",
            "reserve",
            "save",
            "schedule",
            "submit_application",
            "watch_video",
        )
    },
    # reserved: the app's own SDK makes them
    "ad_click": None,
    "app_install": None,
}

_RESERVED: Final = frozenset(
    {
        "ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
        "app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade",
        "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign",
        "firebase_in_app_message_action", "firebase_in_app_message_dismiss", "firebase_in_app_message_impression",
        "first_open", "first_visit", "notification_dismiss", "notification_foreground", "notification_open",
        "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
    }
)  # fmt: skip
#: In streams of apps alone.
_RESERVED_IN_APPS: Final = frozenset({"ad_impression", "in_app_purchase", "screen_view"})
_RESERVED_PARAMETERS: Final = frozenset({"firebase_conversion"})
_RESERVED_PROPERTIES: Final = frozenset(
    {
        "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install",
    }
)  # fmt: skip
MAX_PROPERTY_NAME: Final = 24
MAX_PROPERTIES: Final = 25
_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_name: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch


def _odd(name: str, reserved: frozenset[str]) -> str:
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, and Google Analytics takes names of at most {MAX_NAME}"
    if name.startswith(_PREFIXES):
        return f"Google Analytics reserves names that begin with {', '.join(_PREFIXES)}"
    if name in reserved:
        return "Google Analytics reserves this name and discards the event or parameter without an error"
    return "" if _name(name) else "needs a letter first, then letters, digits and underscores alone"


def odd_event(name: str, *, app: bool) -> str:
    """What is wrong with the name of an event; empty: nothing."""
    return _odd(name, _RESERVED | _RESERVED_IN_APPS if app else _RESERVED)


def odd_parameter(name: str) -> str:
    """What is wrong with the name of an event's parameter; empty: nothing."""
    return _odd(name, _RESERVED_PARAMETERS)


def odd_property(name: str) -> str:
    """What is wrong with the name of a user property; empty: nothing."""
    if len(name) > MAX_PROPERTY_NAME:
        return f"has {len(name)} characters, and a user property's name takes {MAX_PROPERTY_NAME}"
    return _odd(name, _RESERVED_PROPERTIES)
