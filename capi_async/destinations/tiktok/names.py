"""TikTok's event names, of both generations of its Events API, and which of a caller's own can be sent.

Source: business-api.tiktok.com/portal/docs (Events API 2.0), the vendor's SDK for the legacy endpoints, and
ads.tiktok.com/help (standard and alias event names), read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from capi_async.destinations import refusals
from capi_async.event import Event
from capi_async.plain import shown
from capi_async.spec import Destination, Refusal

#: Custom events wherever TikTok has no name for them, as they have always been here.
_CUSTOM: Final[Mapping[str, str]] = {
    name: name
    for name in (
        "view_list", "watch_video", "share", "rate", "save", "invite", "reserve", "schedule", "find_location",
        "customize_product", "submit_application", "tutorial_complete", "level_complete", "unlock_achievement",
        "spend_credits", "ad_click", "ad_view",
    )
}  # fmt: skip

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    # as the browser pixel and TikTok's own tag templates send it: de-duplication needs the identical name
    "page_view": "Pageview",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    # as a custom event it would be counted beside the revenue it takes back
    "refund": None,
    "lead": "Lead",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "login": "Login",
    "contact": "Contact",
    "download": "Download",
    "app_install": "InstallApp",
    "app_open": "LaunchAPP",
    **_CUSTOM,
    "schedule": "Schedule",
    "find_location": "FindLocation",
    "customize_product": "CustomizeProduct",
    "submit_application": "SubmitApplication",
}

#: App sources have a list of their own. ``Checkout`` for initiate_checkout is by meaning, UNVERIFIED:
#: ``event_names`` overrides it.
APP_NAMES: Final[Mapping[str, str | None]] = {
    **STANDARD_NAMES,
    **_CUSTOM,
    "rate": "Rate",
    "tutorial_complete": "CompleteTutorial",
    "level_complete": "AchieveLevel",
    "unlock_achievement": "UnlockAchievement",
    "spend_credits": "SpendCredits",
    "ad_click": "InAppADClick",
    "ad_view": "InAppADImpr",
    "initiate_checkout": "Checkout",
    "lead": "GenerateLead",
    "sign_up": "Registration",
}

PIXEL_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "ViewContent",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "CompletePayment",
    # as a custom event it would be counted beside the revenue it takes back
    "refund": None,
    "lead": "SubmitForm",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "login": "Login",
    "contact": "Contact",
    "download": "Download",
    "app_install": "InstallApp",
    "app_open": "LaunchAPP",
    **_CUSTOM,
}


#: Standard names on web, offline and CRM sources. The last row: names of earlier lists that are still taken, and the
#: spelling of PageView that the browser pixel and TikTok's tag templates send (the help page says PageView).
WEB_EVENTS: Final = frozenset(
    {
        "AddPaymentInfo", "AddToCart", "AddToWishlist", "ApplicationApproval", "CompleteRegistration", "Contact",
        "CustomizeProduct", "Download", "FindLocation", "InitiateCheckout", "Purchase", "Schedule", "Search",
        "StartTrial", "SubmitApplication", "Subscribe", "ViewContent", "Lead", "PageView",
        "ClickButton", "CompletePayment", "PlaceAnOrder", "SubmitForm", "Pageview",
    }
)  # fmt: skip

APP_EVENTS: Final = frozenset(
    {
        "AchieveLevel", "AddPaymentInfo", "AddToCart", "AddToWishlist", "Checkout", "CompleteTutorial", "CreateGroup",
        "CreateRole", "GenerateLead", "InAppADClick", "InAppADImpr", "InstallApp", "JoinGroup", "LaunchAPP",
        "LoanApplication", "LoanApproval", "LoanDisbursal", "Login", "Purchase", "Rate", "Registration", "Search",
        "SpendCredits", "StartTrial", "Subscribe", "UnlockAchievement", "ViewContent",
    }
)  # fmt: skip

PIXEL_EVENTS: Final = frozenset(
    {
        "ViewContent", "ClickButton", "Search", "AddToWishlist", "AddToCart", "InitiateCheckout", "AddPaymentInfo",
        "CompletePayment", "PlaceAnOrder", "Contact", "Download", "SubmitForm", "CompleteRegistration", "Subscribe",
    }
)  # fmt: skip

#: Names that TikTok turns into another event. They are reserved, so a custom event cannot have them.
ALIASES: Final[Mapping[str, str]] = {
    "CompletePayment": "Purchase",
    "Registration": "CompleteRegistration",
    "StartCheckout": "InitiateCheckout",
    "Checkout": "PlaceAnOrder",
    "AddBilling": "AddPaymentInfo",
    "ClickForm": "Lead",
    "Browse": "Pageview",
    "ClickInDownloadPage": "ClickButton",
    "ClickToDownload": "Download",
    "Consult": "Contact",
    "ConsultByPhone": "Contact",
    "ViewForm": "ViewContent",
}
_VIEW_PAGE: Final = re.compile(r"View\w*Page")


def _alias_of(name: str) -> str | None:
    """The event that TikTok reads in a reserved name."""
    return ALIASES.get(name) or ("ViewContent" if _VIEW_PAGE.fullmatch(name) else None)


def odd_name(there: str) -> str:
    """What is wrong with an override; empty: nothing. A reserved name would be stored as another event."""
    if there not in WEB_EVENTS and there not in APP_EVENTS and (real := _alias_of(there)):
        return f"{shown(there)!r} is reserved by TikTok; use {real!r}"
    return ""


def checked_name(destination: Destination, event: Event, known: frozenset[str], warnings: list[str]) -> str | Refusal:
    """TikTok's name of the event; custom events keep theirs.

    TikTok accepts every name and stores unknown ones as custom events, so nothing but this ever reports a typo.
    """
    name = destination.name_of(event)
    if name is None:
        if destination.knows(event):
            return refusals.no_such_event(f"map it: event_names={{{event.name!r}: '<a name of TikTok>'}}")
        name = event.name
    if name in known:
        return name
    found = _custom(name, known) if len(name) <= _NAME_CHARS else _looked_up(name, known)
    if isinstance(found, Refusal):
        return found
    warnings += found[1]
    return found[0]


#: Longer names are nobody's habit: they stay out of the cache, which any page could fill with them.
_NAME_CHARS: Final = 100


@lru_cache(maxsize=1024)
def _custom(name: str, known: frozenset[str]) -> tuple[str, tuple[str, ...]] | Refusal:
    return _looked_up(name, known)


def _looked_up(name: str, known: frozenset[str]) -> tuple[str, tuple[str, ...]] | Refusal:
    if real := _alias_of(name):
        return Refusal("rejected", "name", f"{shown(name)!r} is reserved by TikTok", f"use {real!r} or another name")
    folded = _folded(name)
    # of two spellings of one name, the one that the browser pixel sends
    for standard in sorted(known, key=lambda one: (one == "PageView", one)):
        if _folded(standard) == folded:
            return name, (f"{shown(name)!r} is stored as a custom event: TikTok's own is written {standard!r}",)
    return name, ()


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
