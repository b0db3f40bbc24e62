"""Snap Conversions API v2, legacy: flat events with text values, several assets in one request.

A Launchpad (Snap's relay) has the same routes; the path in an ``X-CAPI-Path`` header wins over the request's own, as
it does there, as long as it is one of these routes.

Source: snap_business_sdk 1.0.0, developers.snap.com Conversions API v2, Snap's Launchpad, read 2026-11.

UNVERIFIED, and what the sandbox does: when a record is bad the answer is 400 ``FAILED`` with ``error_records`` whose
indexes count from 0, and the *good records of the batch are taken* (reading ``atomic``: nothing is taken; reading
``one_based``: indexes from 1). All values are texts, as in Snap's SDKs; "" stands for an absent one, because the Python
SDK sends it for blank names. Records are taken for 37 days. Unknown keys are overlooked (and counted). A request whose
every record names a malformed asset gets 403; beside good ones such a record is simply bad.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.arrivals import plain
from capi_async.sandbox.checks import DAY, HASH_PATTERN, UUID, Problem, Reader, Text, time_problem
from capi_async.sandbox.platforms.base import (
    TOKEN,
    Batch,
    Call,
    Platform,
    Refused,
    Reply,
    Route,
    bearer,
    is_json,
    json_reply,
    route,
)
from capi_async.sandbox.platforms.snap_rules import EVENT_NAMES, MAX_EVENTS, NO_IDENTITY, TestLog, epoch_seconds
from capi_async.sandbox.rates import Rate

_Hash = Annotated[str, Meta(pattern=rf"^\Z|{HASH_PATTERN}")]
_Soundex = Annotated[str, Meta(pattern=r"^(?:[A-Z][0-6]{3})?\Z")]
_Millis = Annotated[str, Meta(pattern=r"^[0-9]{9,14}\Z")]
_Number = Annotated[str, Meta(pattern=r"^(?:[0-9]+(?:\.[0-9]+)?)?\Z")]
_Currency = Annotated[str, Meta(pattern=r"^(?:[A-Z]{3})?\Z")]


class SnapRecord(Struct, forbid_unknown_fields=True):
    """One flat record."""

    event_type: Text
    event_conversion_type: Text
    timestamp: _Millis
    pixel_id: str = ""
    snap_app_id: str = ""
    app_id: str = ""
    event_tag: str = ""
    page_url: str = ""
    client_dedup_id: str = ""
    transaction_id: str = ""
    hashed_email: _Hash = ""
    hashed_phone_number: _Hash = ""
    hashed_mobile_ad_id: _Hash = ""
    hashed_ip_address: _Hash = ""
    hashed_idfv: _Hash = ""
    user_agent: str = ""
    uuid_c1: str = ""
    click_id: str = ""
    hashed_first_name_sha: _Hash = ""
    hashed_middle_name_sha: _Hash = ""
    hashed_last_name_sha: _Hash = ""
    hashed_city_sha: _Hash = ""
    hashed_state_sha: _Hash = ""
    hashed_zip: _Hash = ""
    hashed_first_name_sdx: _Soundex = ""
    hashed_middle_name_sdx: _Soundex = ""
    hashed_last_name_sdx: _Soundex = ""
    hashed_city_sdx: _Soundex = ""
    hashed_state_sdx: _Soundex = ""
    hashed_dob_month: _Hash = ""
    hashed_dob_day: _Hash = ""
    price: _Number = ""
    currency: _Currency = ""
    item_ids: str = ""
    item_category: str = ""
    number_items: _Number = ""
    description: str = ""
    level: str = ""
    search_string: str = ""
    sign_up_method: str = ""
    data_use: str | list[str] = ""
    integration: str = ""
    brands: str = ""
    country: str = ""
    region: str = ""
    purchase_user_value: str = ""
    device_model: str = ""
    os_version: str = ""
    att_status: str = ""
    delivery_method: str = ""
    customer_status: str = ""
    advertiser_cookie_1: str = ""


_NO_ASSET = "the asset does not exist or the token has no access to it"
_decode_list = msgspec.json.Decoder(list[Raw]).decode


class SnapV2(Platform[SnapRecord]):
    """``POST /v2/conversion`` and its validate, logs and stats routes."""

    name = "snap_v2"
    routes = (
        route("POST", r"/v2/conversion", "conversion"),
        route("POST", r"/v2/conversion/validate", "validate"),
        route("GET", r"/v2/conversion/validate/logs", "logs", reads=True),
        route("GET", r"/v2/conversion/validate/stats", "stats", reads=True),
    )
    rate = Rate(1_000, 1.0)
    readings: ClassVar[Mapping[str, str]] = {
        "atomic": "a bad record costs its batch the good ones",
        "one_based": "a bad record is named by its index from 1, not from 0",
    }
    max_age_s: ClassVar[float] = 37 * DAY
    _reader: ClassVar[Reader[SnapRecord]] = Reader(SnapRecord, overlook=True)

    def clear(self) -> None:
        super().clear()
        self.test_log = TestLog()

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, "Invalid token"), "bad token")
        return TOKEN

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(415, "Content-Type must be application/json"), "not application/json")
        # A single record may stand alone; Snap's own migration page shows it so.
        body = call.body if not call.body.lstrip().startswith(b"{") else b"[" + call.body + b"]"
        try:
            records = _decode_list(body)
        except msgspec.DecodeError:
            raise Refused(self.failure(400, "Invalid CAPI request JSON"), "malformed body") from None
        if not 1 <= len(records) <= MAX_EVENTS:
            raise Refused(self.failure(400, f"a request must hold 1 to {MAX_EVENTS} records"), "batch size")
        name = at.name
        relayed = call.headers.get("X-CAPI-Path")
        if relayed is not None:
            named = next(
                (other for other in self.routes if other.method == "POST" and other.pattern.match(relayed)), at
            )
            name = named.name
        return Batch(name, "", records, call.now, name == "validate")

    def reader(self, batch: Batch) -> Reader[SnapRecord]:
        return self._reader

    def check(self, event: SnapRecord, batch: Batch) -> Problem | None:
        source = event.event_conversion_type
        if event.event_type not in EVENT_NAMES:
            return Problem("event_type: not an event of this API", path="event_type")
        if source not in ("WEB", "MOBILE_APP", "OFFLINE"):
            path = "event_conversion_type"
            return Problem(f"{path}: must be WEB, MOBILE_APP or OFFLINE", path=path)
        asset = "snap_app_id" if source == "MOBILE_APP" else "pixel_id"
        if not UUID.match(_asset(event)):
            return Problem(f"{asset}: {_NO_ASSET}", "asset", asset)
        if source == "MOBILE_APP" and not event.app_id:
            return Problem("app_id: required for MOBILE_APP events", "missing", "app_id")
        if source == "WEB" and not event.page_url.startswith(("http://", "https://")):
            return Problem("page_url: required for WEB events", "missing", "page_url")
        if not (
            event.hashed_email
            or event.hashed_phone_number
            or (event.hashed_ip_address and event.user_agent)
            or (event.hashed_mobile_ad_id and source == "MOBILE_APP")
        ):
            return Problem(NO_IDENTITY)
        if event.event_type == "PURCHASE" and not (event.price and event.currency):
            return Problem("price: PURCHASE needs price and currency", "missing", "price")
        at = epoch_seconds(int(event.timestamp))
        return time_problem(at, batch.now, max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="timestamp")

    def key(self, event: SnapRecord, batch: Batch) -> object | None:
        return (_asset(event), event.client_dedup_id) if event.client_dedup_id else None

    def account_of(self, event: SnapRecord | None, batch: Batch) -> str:
        return "" if event is None else _asset(event)

    def accepted(self, event: SnapRecord, batch: Batch, *, copy: bool) -> None:
        self.test_log.count(_asset(event), batch.now, test=batch.test)

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return "atomic" in self.chosen and not batch.test

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[SnapRecord | None]) -> Reply:
        body: dict[str, Any] = {"status": "SUCCESS", "reason": "All records processed"}
        if problems:
            everything = len(problems) == len(batch.events) or self.refuses_all(batch, problems)
            body = {"status": "FAILED", "reason": f"{'All' if everything else 'Some'} records failed"}
            body["error_records"] = self._error_records(problems)
        if batch.route == "validate":
            self._log(batch, problems, events)
            body = {
                "error_records": [],
                "warning_records": [],
                **body,
                "validated_fields": _validated(events, problems),
            }
        if not problems:
            return json_reply(200, body)
        no_asset = len(problems) == len(batch.events) and all(it.kind == "asset" for it in problems.values())
        return json_reply(403 if no_asset else 400, body)

    def failure(self, status: int, reason: str) -> Reply:
        return json_reply(status, {"status": "FAILED", "reason": reason})

    def read_back(self, call: Call, at: Route, match: re.Match[str]) -> Reply:
        asset = call.query.get("asset_id", "")
        if not UUID.match(asset):
            return self.failure(403 if asset else 400, f"asset_id: {_NO_ASSET}" if asset else "asset_id is required")
        read = self.test_log.logs if at.name == "logs" else self.test_log.stats
        return json_reply(200, read(asset, call.now))

    def _error_records(self, problems: Mapping[int, Problem]) -> list[dict[str, Any]]:
        base = 1 if "one_based" in self.chosen else 0
        by_reason: dict[str, list[int]] = {}
        for index, problem in problems.items():
            by_reason.setdefault(problem.reason, []).append(index + base)
        return [{"reason": reason, "record_indexes": indexes} for reason, indexes in by_reason.items()]

    def _log(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[SnapRecord | None]) -> None:
        for index, event in enumerate(events):
            if event is None:
                continue  # without a readable record there is no asset whose log it could stand in
            problem = problems.get(index)
            entry = {
                "timestamp": event.timestamp,
                "event_type": event.event_type,
                "event_conversion_type": event.event_conversion_type,
                "status": "FAILED" if problem else "SUCCESS",
                "integration": event.integration,
                "event_metadata": plain(batch.events[index]),
                "error_records": [problem.reason] if problem else [],
                "warning_records": [],
            }
            self.test_log.log(_asset(event), batch.now, entry)


def _asset(event: SnapRecord) -> str:
    return event.snap_app_id if event.event_conversion_type == "MOBILE_APP" else event.pixel_id


def _validated(events: Sequence[SnapRecord | None], problems: Mapping[int, Problem]) -> list[dict[str, Any]]:
    names = ("pixel_id", "snap_app_id", "currency", "price", "event_conversion_type", "event_type")
    return [
        {"record_index": index, "validated_fields": {name: getattr(event, name) for name in names}}
        for index, event in enumerate(events)
        if event is not None and index not in problems
    ]
