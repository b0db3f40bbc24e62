"""Google Analytics 4, Measurement Protocol: 204 for whatever comes, and a second endpoint that says what is wrong.

Source: developers.google.com/analytics (Measurement Protocol: reference, sending and validating events) and Google's
help pages on limits, read 2026-11.

What the real server drops in silence is recorded here as refused; the answer is 204 all the same, also for a wrong
secret. UNVERIFIED, and what the sandbox does: purchases are recognised by ``transaction_id`` for 48 hours, on web
streams alone; an event older than 72 hours is refused, not moved; the validation endpoint answers 200 with an empty
list when all is well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.checks import HOUR, Hash, Problem, Reader, time_problem, words
from capi_async.sandbox.platforms.base import (
    TOKEN,
    Batch,
    Call,
    Platform,
    Refused,
    Reply,
    Route,
    is_json,
    json_reply,
    route,
)

_MAX_EVENTS = 25
_RESERVED = words(
    "ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception app_install "
    "app_remove app_store_refund app_update app_upgrade dynamic_link_app_open dynamic_link_app_update "
    "dynamic_link_first_open error firebase_campaign firebase_in_app_message_action firebase_in_app_message_dismiss "
    "firebase_in_app_message_impression first_open first_visit notification_dismiss notification_foreground "
    "notification_open notification_receive notification_send os_update session_start user_engagement"
)
_RESERVED_PROPERTIES = words(
    "first_open_time first_visit_time last_deep_link_referrer user_id first_open_after_install"
)
_APP_ONLY = words("ad_impression in_app_purchase screen_view")
_NAME = re.compile(r"^(?!_|firebase_|ga_|google_)[A-Za-z][A-Za-z0-9_]{0,39}\Z")
_OF_ITEMS = words(
    "item_id item_name affiliation coupon discount index item_brand item_category item_category2 item_category3 "
    "item_category4 item_category5 item_list_id item_list_name item_variant location_id price quantity"
)
_LENGTHS = {"page_title": 300, "page_referrer": 420, "page_location": 1_000}
_MAX_TEXT = 500  # of Analytics 360: which kind a property is cannot be told from outside
_STREAM = re.compile(r"^G-[A-Z0-9]{4,20}\Z")

_Choice = Annotated[str, Meta(pattern=r"^(GRANTED|DENIED)\Z")]
_Client = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+\Z")]


class _Consent(Struct, forbid_unknown_fields=True):
    ad_user_data: _Choice | None = None
    ad_personalization: _Choice | None = None


class _Address(Struct, forbid_unknown_fields=True):
    sha256_first_name: Hash | None = None
    sha256_last_name: Hash | None = None
    sha256_street: Hash | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] | None = None


class _UserData(Struct, forbid_unknown_fields=True):
    sha256_email_address: Annotated[list[Hash], Meta(max_length=3)] | None = None
    sha256_phone_number: Annotated[list[Hash], Meta(max_length=3)] | None = None
    address: Annotated[list[_Address], Meta(max_length=2)] | None = None


class _Property(Struct, forbid_unknown_fields=True):
    value: Annotated[str, Meta(max_length=36)] | int | float
    timestamp_micros: int | None = None


class _Location(Struct, forbid_unknown_fields=True):
    city: str | None = None
    region_id: Annotated[str, Meta(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}\Z")] | None = None
    country_id: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] | None = None
    subcontinent_id: Annotated[str, Meta(pattern=r"^[0-9]{3}\Z")] | None = None
    continent_id: Annotated[str, Meta(pattern=r"^[0-9]{3}\Z")] | None = None


class _Device(Struct, forbid_unknown_fields=True):
    category: str | None = None
    language: str | None = None
    screen_resolution: Annotated[str, Meta(pattern=r"^[0-9]+x[0-9]+\Z")] | None = None
    operating_system: str | None = None
    operating_system_version: str | None = None
    model: str | None = None
    brand: str | None = None
    browser: str | None = None
    browser_version: str | None = None


_PropertyName = Annotated[str, Meta(pattern=r"^(?!_|firebase_|ga_|google_)[A-Za-z][A-Za-z0-9_]{0,23}\Z")]


class _Body(Struct, forbid_unknown_fields=True):
    events: Annotated[list[Raw], Meta(min_length=1, max_length=_MAX_EVENTS)]
    client_id: _Client | None = None
    app_instance_id: str | None = None
    user_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    timestamp_micros: int | None = None
    consent: _Consent | None = None
    user_data: _UserData | None = None
    user_properties: Annotated[dict[_PropertyName, _Property], Meta(max_length=25)] | None = None
    user_location: _Location | None = None
    device: _Device | None = None
    ip_override: str | None = None
    user_agent: str | None = None
    validation_behavior: Annotated[str, Meta(pattern=r"^(RELAXED|ENFORCE_RECOMMENDATIONS)\Z")] | None = None


class GA4Event(Struct, forbid_unknown_fields=True):
    """One entry of ``events``."""

    name: str
    params: dict[str, Any] = {}
    timestamp_micros: int | None = None


_decode = msgspec.json.Decoder(_Body).decode


class GA4(Platform[GA4Event]):
    """``POST /mp/collect`` and ``POST /debug/mp/collect``."""

    name = "ga4"
    routes = (route("POST", "/mp/collect", "collect"), route("POST", "/debug/mp/collect", "debug"))
    max_bytes = 130_000
    _reader: ClassVar[Reader[GA4Event]] = Reader(GA4Event, overlook=False)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        web, app = call.query.get("measurement_id", ""), call.query.get("firebase_app_id", "")
        if bool(web) is bool(app):
            raise Refused(Reply(204, b""), "needs one of measurement_id and firebase_app_id")
        if call.path.startswith("/debug"):
            return web or app  # looks at the body alone
        if call.query.get("api_secret") != TOKEN:
            raise Refused(Reply(204, b""), "bad token")
        if web and not _STREAM.match(web):
            raise Refused(Reply(204, b""), "no such stream")
        return web or app

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self._silent(at, "Content-Type must be application/json"), "not application/json")
        try:
            body = _decode(call.body)
        except msgspec.DecodeError as error:
            raise Refused(self._silent(at, f"{error}"), "malformed body") from None
        web = "measurement_id" in call.query
        if not (body.client_id if web else body.app_instance_id):
            wanted = "client_id" if web else "app_instance_id"
            raise Refused(self._silent(at, "required", wanted, "VALUE_REQUIRED"), f"no {wanted}")
        if not _RESERVED_PROPERTIES.isdisjoint(body.user_properties or ()):
            said = self._silent(at, "User property name is reserved.", "user_properties", "NAME_RESERVED")
            raise Refused(said, "reserved user property")
        if body.user_data and body.consent and body.consent.ad_user_data == "DENIED":
            raise Refused(self._silent(at, "user_data without consent", "user_data"), "user_data without consent")
        account = call.query.get("measurement_id") or call.query["firebase_app_id"]
        return Batch(at.name, account, body.events, call.now, at.name == "debug", "web" if web else "app")

    def reader(self, batch: Batch) -> Reader[GA4Event]:
        return self._reader

    def check(self, event: GA4Event, batch: Batch) -> Problem | None:
        if event.name in _RESERVED or (batch.head == "app" and event.name in _APP_ONLY):
            return Problem("Event name is reserved.", "reserved", "name")
        if not _NAME.match(event.name):
            return Problem("Event name is invalid.", "name", "name")
        if len(event.params) > 25:
            return Problem("An event takes 25 params.", "entities", "params")
        for key, value in event.params.items():
            if not _NAME.match(key) or key == "firebase_conversion":
                return Problem("Param name is invalid.", "name", f"params.{key}")
            if key == "items":
                if problem := _items_problem(value):
                    return problem
            elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
                return Problem("A param is text or a number.", "type", f"params.{key}")
            elif isinstance(value, str) and len(value) > max(_LENGTHS.get(key, 0), _MAX_TEXT):
                return Problem("The value is too long.", "bounds", f"params.{key}")
        if "value" in event.params and "currency" not in event.params:
            return Problem("currency is required with value.", "missing", "params.currency")
        if event.name in ("purchase", "refund") and not event.params.get("transaction_id"):
            return Problem("transaction_id is required.", "missing", "params.transaction_id")
        if event.timestamp_micros is None:
            return None
        return time_problem(
            event.timestamp_micros / 1_000_000, batch.now, max_age_s=72 * HOUR, max_future_s=self.max_future_s,
            path="timestamp_micros",
        )  # fmt: skip

    def key(self, event: GA4Event, batch: Batch) -> object | None:
        if event.name != "purchase" or batch.head != "web":
            return None
        return (batch.account, event.params["transaction_id"])

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return False

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[GA4Event | None]) -> Reply:
        if batch.route != "debug":
            return Reply(204, b"")
        messages = [
            _message(problem.reason, f"events[{index}].{problem.path}", _CODES.get(problem.kind, "VALUE_INVALID"))
            for index, problem in sorted(problems.items())
        ]
        return json_reply(200, {"validationMessages": messages})

    def _silent(self, at: Route, said: str, path: str = "", code: str = "VALUE_INVALID") -> Reply:
        if at.name != "debug":
            return Reply(204, b"")
        return json_reply(200, {"validationMessages": [_message(said, path, code)]})

    def failure(self, status: int, reason: str) -> Reply:
        return Reply(status, f"<html><title>Error {status}</title></html>".encode(), content_type="text/html")


_CODES = {"reserved": "NAME_RESERVED", "name": "NAME_INVALID", "entities": "EXCEEDED_MAX_ENTITIES",
          "missing": "VALUE_REQUIRED", "bounds": "VALUE_OUT_OF_BOUNDS"}  # fmt: skip


def _message(said: str, path: str, code: str) -> dict[str, str]:
    return {"fieldPath": path, "description": said, "validationCode": code}


def _items_problem(items: Any) -> Problem | None:
    if not isinstance(items, list) or len(items) > 200:
        return Problem("items is a list of at most 200 objects.", "entities", "params.items")
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not (item.get("item_id") or item.get("item_name")):
            return Problem("An item needs item_id or item_name.", "missing", f"params.items[{index}]")
        if len(item.keys() - _OF_ITEMS) > 27:
            return Problem("An item takes 27 custom params.", "entities", f"params.items[{index}]")
        for key, value in item.items():
            at = f"params.items[{index}].{key}"
            if not _NAME.match(key):
                return Problem("Param name is invalid.", "name", at)
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                return Problem("An item's param is text or a number.", "type", at)
            if isinstance(value, str) and len(value) > _MAX_TEXT:
                return Problem("The value is too long.", "bounds", at)
    return None
