"""Meta's event names and sources. Source: developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "PageView",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    # as a custom event a refund would count as revenue
    "refund": None,
    "lead": "Lead",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    # Meta has no standard name for these three: they travel as custom events
    "login": "Login",
    "download": "Download",
    "app_open": "AppOpen",
    "contact": "Contact",
    "schedule": "Schedule",
    "find_location": "FindLocation",
    "customize_product": "CustomizeProduct",
    "submit_application": "SubmitApplication",
    # custom events, under the name that they have always had here
    **{
        name: name
        for name in (
            "view_list",
            "watch_video",
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
        )
    },
    # UNVERIFIED: it is not on the Conversions API's own pages; event_names overrides it
    "app_install": "MobileAppInstall",
}

#: Meta's own, which may be written as they are. Source: .../conversions-api/parameters and its standard events.
EVENT_NAMES: Final = frozenset(
    {
        "AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration", "Contact", "CustomizeProduct", "Donate",
        "FindLocation", "InitiateCheckout", "Lead", "PageView", "Purchase", "Schedule", "Search", "StartTrial",
        "SubmitApplication", "Subscribe", "ViewContent",
    }
)  # fmt: skip

#: Characters of a custom event's name.
MAX_NAME: Final = 50

ACTION_SOURCES: Final[Mapping[str, str]] = {
    "website": "website",
    "app": "app",
    "offline": "physical_store",
    "physical_store": "physical_store",
    "phone_call": "phone_call",
    "email": "email",
    "chat": "chat",
    "system_generated": "system_generated",
    "crm": "system_generated",
    "business_messaging": "business_messaging",
    "other": "other",
}


def is_name(name: object) -> bool:
    """Whether Meta takes this name."""
    return isinstance(name, str) and bool(name.strip()) and len(name) <= MAX_NAME
