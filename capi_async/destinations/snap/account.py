"""One account at Snap, whatever the version: settings and their checks, names, what an event needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final

import msgspec

from capi_async.destinations import refusals
from capi_async.destinations.base import is_web
from capi_async.destinations.platform import Platform
from capi_async.destinations.snap.followup import FOLLOWUP, told
from capi_async.destinations.snap.names import ACTION_SOURCES, EVENT_NAMES, STANDARD_NAMES, odd_name
from capi_async.event import Event
from capi_async.followup import FollowUp, SentRequest, Told
from capi_async.outcome import Response
from capi_async.spec import ENCODER, Credential, Refusal, Request, account_text, setting_text

NO_ASSET: Final = Refusal("skipped", "source", "app events need a Snap App ID", "set snap_app_id on the destination")
_NOBODY: Final = refusals.nobody(
    "user.email", "user.phone", "user.ip with user.user_agent", "user.mobile_ad_id on app events"
)


class SnapAccount(Platform, frozen=True, kw_only=True):
    """What both versions share.

    Raises:
        ConfigError: A setting is missing, blank or not text, or ``event_names`` holds a name that Snap lacks.
    """

    own_names: ClassVar[frozenset[str]] = EVENT_NAMES
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    account_setting: ClassVar[str] = "pixel_id"
    # Snap knows no switch for personalisation, so its denial keeps the event here
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "ad_personalization")
    followup: ClassVar[FollowUp] = FOLLOWUP
    clicks: ClassVar[tuple[str, ...]] = ("sc_click_id", "sc_cookie1")
    click_parameter: ClassVar[str] = "ScCid"

    pixel_id: str
    access_token: Credential
    snap_app_id: str | None = None
    partner: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        account_text(self, "snap_app_id")
        setting_text(self, "partner")

    def odd_name(self, name: str, there: str) -> str:
        return odd_name(there)

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        return refusals.no_such_event(
            f"map it: event_names={{{event.name!r}: 'CUSTOM_EVENT_1'}}",
            "no such event here" if self.knows(event) else "Snap takes custom events only in numbered slots",
        )

    def account_check(self, token: str) -> Request:
        """The statistics of test events, which need an account and a credential that fit."""
        return self.readback_request("stats", self.pixel_id, token)

    def readback_request(self, what: str, asset_id: str, token: str) -> Request:
        """The request for ``logs`` or ``stats`` of an asset."""
        raise NotImplementedError

    def followup_requests(self, token: str, sent: Sequence[SentRequest], since: float) -> Sequence[tuple[str, Request]]:
        assets = {"pixel": self.pixel_id, "app": self.snap_app_id}
        return [
            (f"{what}:{name}", self.readback_request(what, asset, token))
            for name, asset in assets.items()
            if asset
            for what in ("stats", "logs")
        ]

    def followup_told(self, name: str, response: Response) -> Sequence[Told]:
        return told(name, response)

    @cached_property
    def assets(self) -> Mapping[str, str | None]:
        """An event's source to the asset that its events belong to; ``None``: this account has none."""
        return {
            source: self.snap_app_id if there == "MOBILE_APP" else self.pixel_id
            for source, there in ACTION_SOURCES.items()
        }


def lacking(
    name: object, source: object, url: object, app_id: object, system: object, value: object, currency: object,
    email: object, phone: object, ip: object, user_agent: object, mobile_id: object,
) -> Refusal | None:  # fmt: skip
    """What a wire event lacks of the fields that Snap requires, and of its identity rule.

    An email, a phone, an address together with its browser, or on app events a mobile id identify somebody;
    click ids, cookies, external ids and names do not.

    Args:
        system: Whatever says the device's system, where that is required.
    """
    if source == "WEB":
        if not url:
            return refusals.NO_PAGE
        if not (isinstance(url, str) and is_web(url)):
            return refusals.BAD_PAGE
    elif source == "MOBILE_APP":
        if not app_id:
            return refusals.NO_APP_ID
        if not system:
            return refusals.NO_SYSTEM
    if name == "PURCHASE":
        if value is None or value == "":
            return refusals.NO_VALUE
        if not currency:
            return refusals.NO_CURRENCY
    if email or phone or (ip and user_agent) or (mobile_id and source == "MOBILE_APP"):
        return None
    return _NOBODY


UNSAYABLE: Final = Refusal("rejected", "properties", "holds a value that JSON cannot say", "use plain JSON types")
_UNSAYABLE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError)


def plain(properties: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """A copy in plain JSON types without what is ``None``, so that nothing of the caller's is ever changed."""
    try:
        copy = msgspec.to_builtins(dict(properties), builtin_types=(Decimal,), str_keys=True)
    except _UNSAYABLE_ERRORS:
        return UNSAYABLE
    return {key: value for key, value in copy.items() if value is not None}


def texts(facts: Mapping[str, Any]) -> dict[str, str] | Refusal:
    """Plain JSON values as texts: a text as it is, anything else as its JSON."""
    try:
        return {
            key: value if isinstance(value, str) else ENCODER.encode(value).decode() for key, value in facts.items()
        }
    except _UNSAYABLE_ERRORS:
        return UNSAYABLE
