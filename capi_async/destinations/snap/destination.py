"""Snap Conversions API v3. Source: developers.snap.com/api/marketing-api/Conversions-API, read 2026-11.

Undocumented by Snap or documented twice, and chosen here:

- greatest age: 7 days, though another page says 37 (``max_age_s``); bytes per request: 2 MB (``max_batch_bytes``);
- limited use: ``LMU``, though an SDK sends ``LDU`` (``limited_use``);
- times are whole seconds and ``value`` is a number, as in most of Snap's examples, quantities and prices of items
  are texts;
- the mobile id is ``madid``, as documented, though one SDK writes ``mobile_ad_id``; ``db``, which only
  integrations send, is sent;
- whether the neighbours of a refused event are stored, and from where events are counted: a refused batch is
  split, which the 48 h window of ``event_id`` absorbs; only the test mode lists every event and is read so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final

from capi_async.destinations.base import is_web, quoted
from capi_async.destinations.declared import Form
from capi_async.destinations.snap import followup as readback
from capi_async.destinations.snap.account import NO_ASSET, SnapAccount, lacking, plain, texts
from capi_async.destinations.snap.answers import EventLog, decode_v3, unsuccessful, unsuccessful_raw
from capi_async.destinations.snap.mapping import app_data, form_of
from capi_async.destinations.snap.wire import (
    CUSTOM_DATA_KEYS,
    SnapAnyEvent,
    SnapApp,
    SnapCustom,
    SnapEvent,
    SnapHead,
)
from capi_async.event import Event
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, redact, rejected
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Limits, Refusal, Request, decode_head, encode_head, json_slices, setting_text

_IDENTIFIERS: Final = (
    "email", "phone_digits", "first_name_spaced", "last_name_spaced", "gender_binary", "city_joined", "state_code",
    "zip_us5", "country", "dob", "ip", "user_agent", "mobile_ad_id_clear", "idfv", "page_url",
)  # fmt: skip


class Snap(SnapAccount, frozen=True, kw_only=True):
    """Snap Conversions API v3.

    Attributes:
        pixel_id: Asset of web and offline events.
        access_token: Long-lived Conversions API token, or a callable for OAuth tokens. Snap wants it in the
            query, so the URL is a secret and never logged.
        snap_app_id: Asset of app events; without it they are skipped.
        partner: Sent as ``integration``; off by default.
        limited_use: Token of ``data_processing_options`` for people who opted out of the sale of their data.
        keep_external_id_case: Hash external ids with the case that they are given in, as capi_async did before
            Snap's own tag was seen to lower it. Browser and server must do the same.

    OAuth tokens are limited to 10 requests per second (20 per app): set ``requests_per_s`` for them.
    On app events of iOS a tracking answer other than ``authorized`` is sent as a denial, and so is a missing one;
    Android has no such prompt, so tracking is allowed there unless the app or the person says otherwise.
    """

    type: ClassVar[str] = "snap"
    wire: ClassVar[str] = "snap/3"
    default_base_url: ClassVar[str] = "https://tr.snapchat.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000,
        max_batch_bytes=2_000_000,
        requests_per_s=1_000.0,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (*_IDENTIFIERS, "external_id_plain")
    #: The date of birth is a single text there.
    several_at: ClassVar[Mapping[str, str]] = {
        "first_name_spaced": "user_data.fn",
        "last_name_spaced": "user_data.ln",
        "gender_binary": "user_data.ge",
        "city_joined": "user_data.ct",
        "state_code": "user_data.st",
        "zip_us5": "user_data.zp",
        "country": "user_data.country",
    }
    own: ClassVar[str] = "snap"
    own_fields: ClassVar[Mapping[str, str]] = {
        "lead_id": "user_data.lead_id",
        "download_id": "user_data.download_id",
        "partner_id": "user_data.partner_id",
        "campaign_ids": "app_data.campaign_ids",
        "installer_package": "app_data.installer_package",
        "url_schemes": "app_data.url_schemes",
        "windows_attribution_id": "app_data.windows_attribution_id",
        "processing_country": "data_processing_options_country",
        "processing_state": "data_processing_options_state",
    }
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("SNAP_PIXEL_ID",),
        "access_token": ("SNAP_ACCESS_TOKEN",),
        "snap_app_id": ("SNAP_APP_ID",),
    }
    head_settings: ClassVar[frozenset[str]] = frozenset({"pixel_id", "access_token", "snap_app_id", "test"})
    properties_at: ClassVar[str] = "custom_data"
    documented: ClassVar = SnapAnyEvent
    visit_suffices: ClassVar[bool] = True
    docs: ClassVar[str] = "developers.snap.com/api/marketing-api/Conversions-API, read 2026-11"

    limited_use: str = "LMU"
    keep_external_id_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        setting_text(self, "limited_use")

    def identifiers_of(self) -> tuple[str, ...]:
        return (*_IDENTIFIERS, "external_id" if self.keep_external_id_case else "external_id_plain")

    @cached_property
    def _heads(self) -> Mapping[str, bytes | Refusal]:
        return self._heads_of(test=False)

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        return {source: head for source, head in self._heads.items() if isinstance(head, bytes)}

    @cached_property
    def _test_heads(self) -> Mapping[str, bytes | Refusal]:
        return self._heads_of(test=True)

    def _heads_of(self, *, test: bool) -> Mapping[str, bytes | Refusal]:
        return {
            source: NO_ASSET if asset is None else encode_head(SnapHead(asset, test))
            for source, asset in self.assets.items()
        }

    def readback_request(self, what: str, asset_id: str, token: str) -> Request:
        return readback.read_request_v3(self.base_url, what, asset_id, token)

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        return (self._test_heads if test else self._heads)[event.source]

    def form(self) -> Form:
        return form_of(
            external_id="external_id" if self.keep_external_id_case else "external_id_plain", partner=self.partner
        )

    def finish(self, body: SnapEvent, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        app, consent = event.app, event.consent
        if app is not None and app.install_id:
            body.user_data.anon_id = (app.install_id,)
        if body.action_source == "MOBILE_APP":
            body.app_data = app_data(event)
        if consent is not None and consent.sale_opt_out:
            body.data_processing_options = (self.limited_use,)

    def lay_properties(self, body: dict[str, Any], event: Event, warnings: list[str]) -> Refusal | None:
        facts = plain(event.properties)
        if isinstance(facts, Refusal):
            return facts
        if not facts:
            return None
        data = body.setdefault("custom_data", {})
        fields = facts.pop("custom_fields", {})
        fields = dict(fields) if isinstance(fields, dict) else {"custom_fields": fields}
        for key, value in facts.items():
            (data if key in CUSTOM_DATA_KEYS else fields).setdefault(key, value)
        if fields:
            free = texts(fields)
            if isinstance(free, Refusal):
                return free
            data["custom_fields"] = free
        return None

    def lacks(self, body: SnapEvent, event: Event, warnings: list[str]) -> Refusal | None:
        user, data, url = body.user_data, body.custom_data or _NO_CUSTOM, body.event_source_url
        # all that a purchase on the web needs is nearly always there
        if (
            url
            and is_web(url)
            and body.action_source == "WEB"
            and (user.em or user.ph)
            and data.currency
            and data.value is not None
        ):
            return None
        app = body.app_data or _NO_APP
        return lacking(
            body.event_name, body.action_source, url, app.app_id, app.extinfo, data.value,
            data.currency, user.em, user.ph, user.client_ip_address, user.client_user_agent, user.madid,
        )  # fmt: skip

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, SnapHead)
        path = "events/validate" if to.test else "events"
        return Request(
            "POST",
            f"{self.base_url}/v3/{quoted(to.asset)}/{path}?access_token={quoted(token)}",
            _HEADERS,
            json_slices(b'{"data":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        try:
            answer = decode_v3(response.body)
        except UNREADABLE:
            return unsuccessful_raw(response, count)
        status = response.status
        if status in (200, 400):
            if logs := answer.logs_in_order(count):
                return [_logged(log) for log in logs]
            if status == 200 and answer.status == "VALID":
                return [ACCEPTED] * count
            if status == 200 and answer.status is None:
                return [ambiguous("HTTP 200 without a status in its body")] * count
        return unsuccessful(response, count, answer.words, answer.code)


_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


def _logged(log: EventLog) -> Verdict:
    if log.status == "VALID":
        return Verdict(kind="accepted", reason=redact("; ".join(log.warnings))) if log.warnings else ACCEPTED
    return rejected(log.words or "refused without a reason", code=log.code)


_NO_CUSTOM: Final = SnapCustom()
_NO_APP: Final = SnapApp(None, 0, None)
