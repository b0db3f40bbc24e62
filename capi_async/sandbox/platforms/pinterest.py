"""Pinterest API for Conversions v5, by its OpenAPI description: every object but ``user_data`` is closed.

Source: pinterest/api-description v5.23.0 and developers.pinterest.com, read 2026-11.

Schema violations (unknown keys, wrong types, missing fields) and values that should be digests refuse the whole batch
with 400 code 4196; identity, age and names fail one event inside a 200.

UNVERIFIED, and what the sandbox does: per-event failures come with 200 (reading ``partial_422``: 422 with the same body
under ``details`` and an invented code). An unregistered name is processed with a warning, as a live call was. Events
are taken for 7 days and up to 5 minutes ahead. 2 MB is the largest request, beyond it 413. ``test`` is read in any
capitalisation, because the official SDK sends ``True`` and ``False``; in test mode the events after the 20th fail.
An ad account of malformed id gets 403 code 29. ``advertiser_tracking_enabled``, which one integration sends and no
description lists, is refused (reading ``tracking_flag``: taken).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.checks import DAY, Hash, Ip, Problem, Reader, Text, time_problem, words
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
from capi_async.sandbox.rates import Rate

_MAX_EVENTS = 1_000
_ACCOUNT = re.compile(r"^[0-9]{1,18}\Z")
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,100}\Z")
_NAMES = words(
    "add_payment_info add_to_cart add_to_wishlist app_install checkout custom initiate_checkout lead page_visit search "
    "signup subscribe view_category view_content watch_video app_open contact customize_product find_location schedule "
    "start_trial submit_application"
)

_Text35 = Annotated[str, Meta(max_length=35)]
_Text100 = Annotated[str, Meta(max_length=100)]
_Text200 = Annotated[str, Meta(max_length=200)]
_Pixels = Annotated[int, Meta(ge=0, le=30_720)]
_Storage = Annotated[int, Meta(ge=0, le=1_048_576)]


class _User(Struct):
    # Open, alone among the objects: unknown keys are let pass.
    em: list[Hash] | None = None
    ph: list[Hash] | None = None
    ge: list[Hash] | None = None
    db: list[Hash] | None = None
    ln: list[Hash] | None = None
    fn: list[Hash] | None = None
    ct: list[Hash] | None = None
    st: list[Hash] | None = None
    zp: list[Hash] | None = None
    country: list[Hash] | None = None
    external_id: list[Hash] | None = None
    hashed_maids: list[Hash] | None = None
    client_ip_address: Ip | None = None
    client_user_agent: Text | None = None
    click_id: str | None = None
    partner_id: str | None = None
    customer_type: Literal["new", "returning"] | None = None


class _Item(Struct, forbid_unknown_fields=True):
    id: str | None = None
    item_price: str | None = None
    quantity: int | None = None
    item_name: str | None = None
    item_category: str | None = None
    item_brand: str | None = None


class _Custom(Struct, forbid_unknown_fields=True):
    currency: str | None = None
    value: str | None = None
    content_ids: list[str] | None = None
    contents: list[_Item] | None = None
    content_name: str | None = None
    content_category: str | None = None
    content_brand: str | None = None
    num_items: int | None = None
    order_id: str | None = None
    search_string: str | None = None
    opt_out_type: str | None = None
    predicted_ltv: str | None = None
    np: str | None = None
    external_measurement_id: str | None = None
    external_measurement_vendor_id: int | None = None


class _App(Struct, forbid_unknown_fields=True):
    app_id: _Text200 | None = None
    app_name: _Text200 | None = None
    app_package_name: _Text200 | None = None
    app_store: _Text100 | None = None
    app_version: _Text100 | None = None
    install_time: Annotated[int, Meta(ge=0)] | None = None
    user_agent: Annotated[str, Meta(max_length=16_384)] | None = None
    window_height: _Pixels | None = None
    window_width: _Pixels | None = None


class _Device(Struct, forbid_unknown_fields=True):
    battery_level: Annotated[int, Meta(ge=0, le=100)] | None = None
    brand: _Text100 | None = None
    carrier: _Text100 | None = None
    cpu_cores: Annotated[int, Meta(ge=0, le=1_152)] | None = None
    external_storage_free_space: _Storage | None = None
    external_storage_size: _Storage | None = None
    form_factor: (
        Literal["desktop", "laptop", "cellphone", "tablet", "smartwatch", "tv", "vr", "console", "other"] | None
    ) = None
    kernel_version: _Text100 | None = None
    languages: Annotated[list[str], Meta(max_length=100)] | None = None
    locale: _Text35 | None = None
    model: _Text100 | None = None
    network_type: (
        Literal[
            "wifi", "cellular_2g", "cellular_3g", "cellular_4g", "cellular_5g", "cellular_6g", "ethernet", "unknown"
        ]
        | None
    ) = None
    os_family: Literal["ios", "android", "macos", "windows", "linux", "bsd", "other"] | None = None
    os_name: _Text100 | None = None
    os_release_name: _Text100 | None = None
    os_version: _Text100 | None = None
    screen_density: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    screen_height: _Pixels | None = None
    screen_width: _Pixels | None = None
    storage_free_space: _Storage | None = None
    storage_size: _Storage | None = None
    timezone: Annotated[str, Meta(max_length=40)] | None = None
    timezone_abbr: Annotated[str, Meta(max_length=5)] | None = None
    type: _Text100 | None = None


class PinterestEvent(Struct, forbid_unknown_fields=True):
    """One entry of ``data``."""

    event_name: str
    action_source: str
    event_time: int
    event_id: str
    user_data: _User
    event_source_url: str | None = None
    opt_out: bool | None = None
    partner_name: str | None = None
    custom_data: _Custom | None = None
    app_info: _App | None = None
    device_info: _Device | None = None
    app_id: str | None = None
    app_name: str | None = None
    app_version: str | None = None
    device_brand: str | None = None
    device_carrier: str | None = None
    device_model: str | None = None
    device_type: str | None = None
    os_version: str | None = None
    wifi: bool | None = None
    language: str | None = None


class _FlaggedEvent(PinterestEvent, forbid_unknown_fields=True):
    advertiser_tracking_enabled: bool | None = None


class _Body(Struct, forbid_unknown_fields=True):
    data: list[Raw]


_decode_body = msgspec.json.Decoder(_Body).decode
# Codes of the OpenAPI description's examples; 4199 is invented, for statuses that it gives no example of.
_CODES = {400: 4196, 401: 2, 403: 29, 429: 8, 503: 4197}
_INVENTED_CODE = 4199
_PROCESSED = b'{"status":"processed","error_message":"","warning_message":""}'
_PROCESSED_WITHOUT_ID = b'{"status":"processed","error_message":"","warning_message":"external_id is missing"}'


class Pinterest(Platform[PinterestEvent]):
    """``POST /ad_accounts/{ad_account_id}/events``; the sandbox's prefix stands for ``https://api.pinterest.com/v5``."""

    name = "pinterest"
    routes = (route("POST", r"/ad_accounts/(?P<account>[^/]+)/events", "events"),)
    rate = Rate(5_000, 60.0)
    readings: ClassVar[Mapping[str, str]] = {
        "partial_422": "failures of single events come with 422, not with 200",
        "tracking_flag": "advertiser_tracking_enabled is taken, as one integration sends it",
    }
    max_test_events = 20
    max_age_s: ClassVar[float] = 7 * DAY
    _reader: ClassVar[Reader[PinterestEvent]] = Reader(PinterestEvent, overlook=False)
    _flagged_reader: ClassVar[Reader[PinterestEvent]] = Reader(_FlaggedEvent, overlook=False)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, "Authentication failed."), "bad token")
        if not _ACCOUNT.match(match["account"]):
            raise Refused(self.failure(403, "You are not permitted to access that resource."), "no such account")
        return match["account"]

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(415, "Content-Type must be application/json"), "not application/json")
        try:
            body = _decode_body(call.body)
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"The request was invalid: {error}"), "malformed body") from None
        if not 1 <= len(body.data) <= _MAX_EVENTS:
            raise Refused(self.failure(400, f"data must hold 1 to {_MAX_EVENTS} events"), "batch size")
        test = call.query.get("test", "").lower() == "true"
        return Batch(at.name, match["account"], body.data, call.now, test)

    def reader(self, batch: Batch) -> Reader[PinterestEvent]:
        return self._flagged_reader if "tracking_flag" in self.chosen else self._reader

    def check(self, event: PinterestEvent, batch: Batch) -> Problem | None:
        user = event.user_data
        if not _NAME.match(event.event_name):
            return Problem("invalid event_name", path="event_name")
        if event.action_source not in ("web", "app_android", "app_ios", "offline"):
            return Problem("invalid action_source", path="action_source")
        if not event.event_id:
            return Problem("event_id must not be empty", path="event_id")
        if not (user.em or user.hashed_maids or (user.client_ip_address and user.client_user_agent)):
            reason = "user_data needs em, hashed_maids, or client_ip_address and client_user_agent together"
            return Problem(reason, path="user_data")
        if event.event_name not in _NAMES:
            self.warn("event is being labelled Unknown")
        return time_problem(
            event.event_time, batch.now, max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="event_time"
        )

    def key(self, event: PinterestEvent, batch: Batch) -> object | None:
        # The description says so: offline events cannot be de-duplicated.
        return None if event.action_source == "offline" else (batch.account, event.event_name, event.event_id)

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return any(problem.kind != "rule" for problem in problems.values())

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[PinterestEvent | None]) -> Reply:
        if self.refuses_all(batch, problems):
            first = next(index for index in sorted(problems) if problems[index].kind != "rule")
            return self.failure(400, f"The request was invalid: data.{first}.{problems[first].reason}")
        results: list[Any] = []
        processed = 0
        for index, event in enumerate(events):
            if (problem := problems.get(index)) is not None:
                results.append({"status": "failed", "error_message": problem.reason, "warning_message": None})
            else:
                processed += 1
                results.append(_processed(event))
        body = {"num_events_received": len(events), "num_events_processed": processed, "events": results}
        if processed < len(events) and "partial_422" in self.chosen:
            message = "Not all events were processed."
            return json_reply(422, {"code": _INVENTED_CODE, "message": message, "details": body, "status": "failure"})
        return json_reply(200, body)

    def failure(self, status: int, reason: str) -> Reply:
        return json_reply(status, {"code": _CODES.get(status, _INVENTED_CODE), "message": reason, "status": "failure"})

    def throttled(self, wait_s: float) -> Reply:
        return self.failure(429, "This request exceeded a rate limit.")

    def wait_headers(self, retry_after_s: float) -> dict[str, str]:
        return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(round(retry_after_s))}

    def headers(self, rate_key: str, uptime: float) -> dict[str, str]:
        if self.windows is None:
            return {}
        rate = self.windows.rate
        left, reset_s = self.windows.state(rate_key, uptime)
        return {
            "X-RateLimit-Limit": f'{rate.limit}, {rate.limit};w={rate.per_s:g};name="ads_conversions_ad_account_id"',
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(max(round(reset_s), 1)),
        }


def _processed(event: PinterestEvent | None) -> Any:
    if event is not None and event.event_name not in _NAMES:
        return {"status": "processed", "error_message": "", "warning_message": "the event is being labelled Unknown"}
    # Encoded once: a batch answers with a thousand of them.
    missing = event is None or not event.user_data.external_id
    return Raw(_PROCESSED_WITHOUT_ID if missing else _PROCESSED)
