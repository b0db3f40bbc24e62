"""Snap Conversions API v3.

Source: developers.snap.com Conversions API v3 and Snap's business-sdk-v3-java (OpenAPI), read 2026-11.

UNVERIFIED, and what the sandbox does: a bad event refuses the whole batch and is named by ``event``, counted from 1
(reading ``zero_based``: from 0); a bad token gets 401 (reading ``token_400``: 400 "Invalid token"), also when it comes
as a Bearer header alone; an unknown asset gets 403; events are taken for 7 days and up to 5 minutes ahead; 2 MB is the
largest request, beyond it 413; unknown keys are overlooked (and counted); ``external_id`` may be plain. Event names and
sources are read without regard to case, since the logs carry a raw and a normalised name. The error code is always
517, the only one ever seen, whose meaning is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, Struct

from capi_async.sandbox.arrivals import plain
from capi_async.sandbox.checks import (
    DAY,
    HASH_PATTERN,
    UUID,
    Currency,
    ExtInfo,
    Flag,
    Hashes,
    Ip,
    Problem,
    Reader,
    Text,
    Url,
    lone_problem,
    time_problem,
)
from capi_async.sandbox.platforms.base import TOKEN, Batch, Call, Platform, Refused, Reply, is_json, json_reply, route
from capi_async.sandbox.platforms.snap_rules import EVENT_NAMES, MAX_EVENTS, NO_IDENTITY, TestLog, epoch_seconds
from capi_async.sandbox.rates import Rate

_SOURCES = {
    "WEB": "WEB",
    "WEBSITE": "WEB",
    "MOBILE_APP": "MOBILE_APP",
    "APP": "MOBILE_APP",
    **dict.fromkeys(
        ("OFFLINE", "PHYSICAL_STORE", "PHONE_CALL", "EMAIL", "CHAT", "SYSTEM_GENERATED", "OTHER"), "OFFLINE"
    ),
}

_LISTED = ("em", "ph", "fn", "ln", "ge", "ct", "st", "zp", "country", "db")
_digest = re.compile(HASH_PATTERN)


class _User(Struct, forbid_unknown_fields=True):
    em: Hashes | None = None
    ph: Hashes | None = None
    fn: Hashes | None = None
    ln: Hashes | None = None
    ge: Hashes | None = None
    ct: Hashes | None = None
    st: Hashes | None = None
    zp: Hashes | None = None
    country: Hashes | None = None
    db: Hashes | None = None
    external_id: str | list[str] | None = None
    client_ip_address: Ip | None = None
    client_user_agent: Text | None = None
    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    madid: Text | None = None
    idfv: str | None = None
    subscription_id: str | None = None
    lead_id: str | None = None
    anon_id: str | list[str] | None = None
    download_id: str | None = None
    partner_id: str | None = None


class _Item(Struct, forbid_unknown_fields=True):
    id: str | None = None
    quantity: str | int | float | None = None
    item_price: str | int | float | None = None
    brand: str | None = None
    delivery_category: str | None = None


class _Custom(Struct, forbid_unknown_fields=True):
    currency: Currency | None = None
    value: str | int | float | None = None
    order_id: str | None = None
    contents: list[_Item] | None = None
    content_ids: list[str] | str | None = None
    content_category: str | list[str] | None = None
    content_name: str | None = None
    content_type: str | None = None
    brands: str | list[str] | None = None
    num_items: int | None = None
    delivery_category: str | None = None
    search_string: str | None = None
    sign_up_method: str | None = None
    status: str | None = None
    predicted_ltv: int | float | None = None
    event_tag: str | None = None
    destination_ids: list[str] | None = None
    custom_fields: dict[str, str] | None = None
    checkin_date: str | None = None
    travel_start: str | None = None
    travel_end: str | None = None
    destination_airport: str | None = None
    origin_airport: str | None = None
    country: str | None = None
    city: str | None = None
    region: str | None = None
    neighborhood: str | None = None
    departing_departure_date: str | None = None
    departing_arrival_date: str | None = None
    returning_departure_date: str | None = None
    returning_arrival_date: str | None = None
    hotel_score: str | None = None
    postal_code: str | None = None
    num_adults: int | None = None
    num_children: int | None = None
    num_infants: int | None = None
    suggested_destinations: list[str] | None = None
    preferred_neighborhoods: list[str] | None = None
    preferred_star_ratings: list[str] | None = None
    suggested_hotels: list[str] | None = None


class _App(Struct, forbid_unknown_fields=True):
    app_id: Text
    extinfo: ExtInfo
    advertiser_tracking_enabled: Flag | bool
    application_tracking_enabled: Flag | bool | None = None
    campaign_ids: str | None = None
    install_referrer: str | None = None
    installer_package: str | None = None
    windows_attribution_id: str | None = None
    url_schemes: list[str] | None = None


class SnapEvent(Struct, forbid_unknown_fields=True):
    """One entry of ``data``."""

    event_name: Text
    event_time: int
    action_source: Text
    user_data: _User
    event_source_url: Url | None = None
    event_id: str | None = None
    custom_data: _Custom | None = None
    app_data: _App | None = None
    data_processing_options: list[str] | None = None
    data_processing_options_country: int | None = None
    data_processing_options_state: int | None = None
    opt_out: bool | None = None
    integration: str | None = None
    test_event_code: str | None = None
    asset_id: str | None = None


class _Body(Struct, forbid_unknown_fields=True):
    data: list[Raw]
    test_event_code: str | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


class Snap(Platform[SnapEvent]):
    """``POST /v3/{asset}/events`` and its validate, logs and stats routes."""

    name = "snap"
    routes = (
        route("POST", r"/v3/(?P<asset>[^/]+)/events", "events"),
        route("POST", r"/v3/(?P<asset>[^/]+)/events/validate", "validate"),
        route("GET", r"/v3/(?P<asset>[^/]+)/events/validate/logs", "logs", reads=True),
        route("GET", r"/v3/(?P<asset>[^/]+)/events/validate/stats", "stats", reads=True),
    )
    rate = Rate(1_000, 1.0)
    readings: ClassVar[Mapping[str, str]] = {
        "zero_based": "a refused event is named by its index from 0, not from 1",
        "token_400": "a bad token gets 400, not 401",
    }
    max_age_s: ClassVar[float] = 7 * DAY
    _reader: ClassVar[Reader[SnapEvent]] = Reader(SnapEvent, overlook=True)

    def clear(self) -> None:
        super().clear()
        self.test_log = TestLog()

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if call.query.get("access_token") != TOKEN:
            status = 400 if "token_400" in self.chosen else 401
            raise Refused(self.failure(status, "Invalid token"), "bad token")
        if not UUID.match(match["asset"]):
            reason = "The asset does not exist or the token has no access to it"
            raise Refused(self.failure(403, reason), "no such account")
        return TOKEN

    def open(self, call: Call, at: Any, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(415, "Content-Type must be application/json"), "not application/json")
        try:
            body = _decode_body(call.body)
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"Malformed request: {error}"), "malformed body") from None
        if not 1 <= len(body.data) <= MAX_EVENTS:
            raise Refused(self.failure(400, f"data must hold 1 to {MAX_EVENTS} events"), "batch size")
        test = at.name == "validate" or bool(body.test_event_code)
        return Batch(at.name, match["asset"], body.data, call.now, test)

    def reader(self, batch: Batch) -> Reader[SnapEvent]:
        return self._reader

    def check(self, event: SnapEvent, batch: Batch) -> Problem | None:
        name, source, user = event.event_name.upper(), _SOURCES.get(event.action_source.upper()), event.user_data
        if unhashed := lone_problem(user, _LISTED, "user_data", _digest):
            return unhashed
        if name not in EVENT_NAMES:
            return Problem("event_name: not an event of this API", path="event_name")
        if source is None:
            return Problem("action_source: must be WEB, MOBILE_APP or OFFLINE", path="action_source")
        if source == "WEB" and event.event_source_url is None:
            return Problem("event_source_url: required for WEB events", "missing", "event_source_url")
        if source == "MOBILE_APP" and event.app_data is None:
            return Problem("app_data: required for MOBILE_APP events", "missing", "app_data")
        if not (
            user.em
            or user.ph
            or (user.client_ip_address and user.client_user_agent)
            or (user.madid and source == "MOBILE_APP")
        ):
            return Problem(NO_IDENTITY, path="user_data")
        if name == "PURCHASE":
            custom = event.custom_data
            if custom is None or custom.value is None or custom.currency is None:
                return Problem("custom_data: PURCHASE needs value and currency", "missing", "custom_data")
        if event.custom_data is not None and not _is_number(event.custom_data.value):
            return Problem("custom_data.value: not a number", path="custom_data.value")
        at = epoch_seconds(event.event_time)
        return time_problem(at, batch.now, max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="event_time")

    def key(self, event: SnapEvent, batch: Batch) -> object | None:
        return (batch.account, event.event_id) if event.event_id else None

    def accepted(self, event: SnapEvent, batch: Batch, *, copy: bool) -> None:
        self.test_log.count(batch.account, batch.now, test=batch.test)

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return batch.route == "events"

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[SnapEvent | None]) -> Reply:
        if batch.test:
            self._log(batch, problems)
        if batch.route == "validate":
            return self._validated(batch, problems)
        if not problems:
            return json_reply(200, {"status": "VALID", "reason": "Events have been processed successfully."})
        first = min(problems)
        number = first if "zero_based" in self.chosen else first + 1
        return json_reply(400, {"status": "INVALID", "event": number, "errors": _errors(problems[first])})

    def failure(self, status: int, reason: str) -> Reply:
        return json_reply(status, {"status": "INVALID", "reason": reason})

    def read_back(self, call: Call, at: Any, match: re.Match[str]) -> Reply:
        read = self.test_log.logs if at.name == "logs" else self.test_log.stats
        return json_reply(200, read(match["asset"], call.now))

    def _validated(self, batch: Batch, problems: Mapping[int, Problem]) -> Reply:
        logs: list[dict[str, Any]] = []
        for index in range(len(batch.events)):
            entry: dict[str, Any] = {"event": index if "zero_based" in self.chosen else index + 1}
            if problem := problems.get(index):
                logs.append({**entry, "status": "INVALID", "errors": _errors(problem), "warnings": []})
            else:
                logs.append({**entry, "status": "VALID", "warnings": []})
        status = "INVALID" if problems else "VALID"
        reason = "Some events are invalid." if problems else "Events have been processed successfully."
        body = {"status": status, "test_event": True, "reason": reason, "event_logs": logs}
        return json_reply(400 if problems else 200, body)

    def _log(self, batch: Batch, problems: Mapping[int, Problem]) -> None:
        for index, raw in enumerate(batch.events):
            wire = plain(raw)
            wire = wire if isinstance(wire, dict) else {}
            problem, app = problems.get(index), wire.get("app_data")
            app_id = app.get("app_id", "") if isinstance(app, dict) else ""
            source = _SOURCES.get(str(wire.get("action_source", "")).upper(), "")
            is_app = source == "MOBILE_APP"
            entry = {
                "event_name": str(wire.get("event_name", "")).upper(),
                "raw_event_name": str(wire.get("event_name", "")),
                "event_time": str(wire.get("event_time", "")),
                "action_source": source,
                "status": "INVALID" if problem else "VALID",
                "integration": str(wire.get("integration", "")),
                "asset_id": batch.account,
                "event_metadata": {
                    "pixel_id": "" if is_app else batch.account,
                    "snap_app_id": batch.account if is_app else "",
                    "app_id": app_id,
                    "conversion_info": wire,
                },
                "error_records": [problem.reason] if problem else [],
                "warning_records": [],
            }
            self.test_log.log(batch.account, batch.now, entry)


def _errors(problem: Problem) -> dict[str, Any]:
    return {"codes": ["517"], "error_msgs": [problem.reason]}


def _is_number(value: str | float | None) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return float(value) >= 0
    except ValueError:
        return False
