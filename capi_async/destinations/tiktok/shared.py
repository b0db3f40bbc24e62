"""What both generations of TikTok's Events API share: event names, settings, and merged bodies.

Source: business-api.tiktok.com/portal/docs (Events API 2.0) and ads.tiktok.com/help (standard and alias event names),
read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import force_setattr

from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.plain import shown
from capi_async.spec import Destination, Refusal, account_text, as_secret, require_text, setting_text

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

#: Listed for the legacy endpoints; whether 2.0 takes the same ones is UNVERIFIED, so others are sent with a warning.
CURRENCIES: Final = frozenset(
    {
        "AED", "ARS", "AUD", "BDT", "BHD", "BIF", "BOB", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CRC", "CZK",
        "DKK", "DZD", "EGP", "EUR", "GBP", "GTQ", "HKD", "HNL", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KES",
        "KHR", "KRW", "KWD", "KZT", "MAD", "MOP", "MXN", "MYR", "NGN", "NIO", "NOK", "NZD", "OMR", "PEN", "PHP",
        "PKR", "PLN", "PYG", "QAR", "RON", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VES",
        "VND", "ZAR",
    }
)  # fmt: skip

#: One set of variables for both destinations; the last spelling is that of an older library, for people migrating.
ENV: Final[Mapping[str, tuple[str, ...]]] = {
    "pixel_code": ("TIKTOK_PIXEL_ID",),
    "access_token": ("TIKTOK_ACCESS_TOKEN", "TIKTOK_ACESS_TOKEN"),
    "test_event_code": ("TIKTOK_TEST_EVENT_CODE",),
    "api_version": ("TIKTOK_API_VERSION",),
}

#: Any of these makes a web event somebody's. Our own rule: TikTok takes anonymous events, and cannot use them.
WEB_IDENTITY: Final = (
    "click.ttclid, click.ttp, user.email, user.phone, user.external_id, or user.ip with user.user_agent"
)

#: Click ids that TikTok takes.
CLICKS: Final = ("ttclid", "ttp")

_VERSION: Final = re.compile(r"v\d{1,3}\.\d{1,3}")


def check_settings(destination: Destination, pixel_code: str, api_version: str, **optional: str | None) -> None:
    """Refuse an account that cannot work, wrap the token, and check the event names.

    Raises:
        ConfigError: Names the setting.
    """
    if pixel_code is None:
        require_text(destination, pixel_code=None)
    account_text(destination, "pixel_code")
    token: object = getattr(destination, "access_token", None)
    # TikTok answers 40105 to a token with this prefix
    if isinstance(token, str) and token.strip().lower().startswith("bearer"):
        raise ConfigError(f"{destination.name}: access_token: give the token alone, without 'Bearer'")
    as_secret(destination, "access_token")
    for setting, value in optional.items():
        if value == "":
            continue  # as good as left out
        if setting.endswith("_id"):
            account_text(destination, setting)
        else:
            setting_text(destination, setting)
    if isinstance(api_version, str):
        force_setattr(destination, "api_version", api_version.strip())
    if not isinstance(api_version, str) or not _VERSION.fullmatch(api_version.strip()):
        raise ConfigError(f"{destination.name}: api_version looks like 'v1.3'")
    for name, there in destination.event_names.items():
        if there is None:
            continue
        if not isinstance(there, str) or not there.strip():
            raise ConfigError(
                f"{destination.name}: event_names[{shown(name)!r}] needs an event's name, or None to skip it"
            )
        if there not in WEB_EVENTS and there not in APP_EVENTS and (real := _alias_of(there)):
            where = f"{destination.name}: event_names[{shown(name)!r}]"
            raise ConfigError(f"{where}: {shown(there)!r} is reserved by TikTok; use {real!r}")


def _alias_of(name: str) -> str | None:
    """The event that TikTok reads in a reserved name."""
    return ALIASES.get(name) or ("ViewContent" if _VIEW_PAGE.fullmatch(name) else None)


def named(destination: Destination, event: Event, known: frozenset[str]) -> tuple[str, tuple[str, ...]] | Refusal:
    """TikTok's name of the event, with warnings; custom events keep theirs.

    TikTok accepts every name and stores unknown ones as custom events, so nothing but this ever reports a typo.
    """
    name = destination.name_of(event)
    if name is None:
        if destination.knows(event):
            return Refusal(
                "skipped", "name", "no such event here", f"map it: event_names={{{event.name!r}: '<a name of TikTok>'}}"
            )
        name = event.name
    if name in known:
        return name, ()
    return _custom(name, known) if len(name) <= _NAME_CHARS else _looked_up(name, known)


#: Longer names are nobody's habit: they stay out of the cache, which any page could fill with them.
_NAME_CHARS: Final = 100


@lru_cache(maxsize=1024)
def _custom(name: str, known: frozenset[str]) -> tuple[str, tuple[str, ...]] | Refusal:
    return _looked_up(name, known)


def _looked_up(name: str, known: frozenset[str]) -> tuple[str, tuple[str, ...]] | Refusal:
    if real := _alias_of(name):
        return Refusal("rejected", "name", f"{shown(name)!r} is reserved by TikTok", f"use {real!r} or another name")
    folded = _folded(name)
    for standard in known:
        if _folded(standard) == folded:
            return name, (f"{shown(name)!r} is stored as a custom event: TikTok's own is written {standard!r}",)
    return name, ()


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def currency_warning(currency: str) -> tuple[str, ...]:
    """A word about a currency that TikTok does not list."""
    return (f"TikTok does not list the currency {currency}",)


def with_properties(
    body: dict[str, Any], properties: Mapping[str, Any], allowed: frozenset[str] | None = None
) -> dict[str, Any]:
    """Lay free properties beside the canonical ones, which win; ``allowed`` names those that are taken."""
    facts = {
        key: value for key, value in properties.items() if value is not None and (allowed is None or key in allowed)
    }
    if facts:
        there = body.get("properties")
        if there is None or isinstance(there, Mapping):
            body["properties"] = {**facts, **(there or {})}
    return body


def part(body: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """An object inside a merged body; empty where ``extra`` put something else."""
    for key in path:
        below = body.get(key)
        if not isinstance(below, Mapping):
            return {}
        body = below
    return body
