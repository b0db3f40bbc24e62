"""One account at TikTok, whatever the generation of the API: settings and their checks, test mode, currencies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from msgspec.structs import force_setattr

from capi_async.destinations import refusals
from capi_async.destinations.platform import Platform
from capi_async.destinations.tiktok.names import odd_name
from capi_async.errors import ConfigError
from capi_async.followup import FollowUp
from capi_async.spec import Credential, Refusal, account_text, setting_text

#: Listed for the legacy endpoints; whether 2.0 takes the same ones is UNVERIFIED, so others are sent there with a
#: warning: TikTok decides.
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
_ENV: Final[Mapping[str, tuple[str, ...]]] = {
    "pixel_code": ("TIKTOK_PIXEL_ID",),
    "access_token": ("TIKTOK_ACCESS_TOKEN", "TIKTOK_ACESS_TOKEN"),
    "test_event_code": ("TIKTOK_TEST_EVENT_CODE",),
    "api_version": ("TIKTOK_API_VERSION",),
}

#: Any of these makes a web event somebody's. Our own rule: TikTok takes anonymous events, and cannot use them.
WEB_IDENTITY: Final = (
    "click.ttclid", "click.ttp", "user.email", "user.phone", "user.external_id", "user.ip with user.user_agent",
)  # fmt: skip

_VERSION: Final = re.compile(r"v\d{1,3}\.\d{1,3}")


class TikTokAccount(Platform, frozen=True, kw_only=True):
    """What both generations share.

    Raises:
        ConfigError: A setting is missing or malformed, or ``event_names`` holds a name that TikTok reserves.
    """

    env: ClassVar[Mapping[str, tuple[str, ...]]] = _ENV
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing that an Events API token may read; see Events Manager, Diagnostics"
    )
    account_setting: ClassVar[str] = "pixel_code"
    test_events_at: ClassVar[str] = "Events Manager, Test events"
    clicks: ClassVar[tuple[str, ...]] = ("ttclid", "ttp")
    click_parameter: ClassVar[str] = "ttclid"
    properties_at: ClassVar[str] = "properties"
    #: Settings that may be left out; those that end in ``_id`` name a source of events.
    optional: ClassVar[tuple[str, ...]] = ("test_event_code", "partner_name")

    pixel_code: str
    access_token: Credential
    test_event_code: str | None = None
    partner_name: str | None = None
    api_version: str = "v1.3"

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in self.optional:
            if getattr(self, setting) == "":
                continue  # as good as left out
            if setting.endswith("_id"):
                account_text(self, setting)
            else:
                setting_text(self, setting)
        version: object = self.api_version
        if not isinstance(version, str) or not _VERSION.fullmatch(version.strip()):
            raise ConfigError(f"{self.name}: api_version looks like 'v1.3'")
        force_setattr(self, "api_version", version.strip())

    def odd_name(self, name: str, there: str) -> str:
        return odd_name(there)

    def untestable(self) -> Refusal | None:
        return None if self.test_event_code else refusals.NO_TEST_CODE


def unlisted(currency: str) -> str:
    """A word about a currency that TikTok does not list."""
    return f"TikTok does not list the currency {currency}"
