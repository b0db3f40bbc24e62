"""Data Manager API, ``events:ingest`` and ``requestStatus:retrieve``, by Google's own client for it.

Source: google-ads-datamanager 0.9.4 and developers.google.com/data-manager/api, read 2026-11.

A request is taken whole or not at all; a refusal names every field at fault by its path, in snake case. An answer of
200 holds a ``requestId``, whose later answer counts and does not name events.

UNVERIFIED, and what the sandbox does: unknown keys are refused; the body may have 4 MiB; events are taken 5 minutes
ahead and of any age. A conversion action whose number ends in 0000 is of the wrong type (invented, to try it out).
Customer ids have 1 to 10 digits. A second copy is known by conversion action and ``transactionId``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.bounded import make_room
from capi_async.sandbox.checks import DAY, MIB, Currency, Hash, Ip, Problem, Reader, Text
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
from capi_async.sandbox.platforms.google_ads_later import Fate, reason_of
from capi_async.sandbox.rates import Rate

_MAX_EVENTS = 2_000
#: Requests whose later answer the sandbox has; its oldest go first.
_MAX_REQUESTS = 10_000
_MAX_DESTINATIONS = 10
_MAX_IDENTIFIERS = 10
_Decision = Literal["CONSENT_GRANTED", "CONSENT_DENIED"]
_Code2 = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
_Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,19}\Z")]


class _Node(Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class _Address(_Node):
    given_name: Hash
    family_name: Hash
    region_code: _Code2
    postal_code: Text


class _Identifier(_Node):
    email_address: Hash | None = None
    phone_number: Hash | None = None
    address: _Address | None = None


class _User(_Node):
    user_identifiers: list[_Identifier]


class _Landing(_Node):
    user_agent: Text | None = None
    ip_address: Ip | None = None


class _Ad(_Node):
    gclid: Text | None = None
    gbraid: Text | None = None
    wbraid: Text | None = None
    session_attributes: Text | None = None
    landing_page_device_info: _Landing | None = None
    mobile_device_id: Text | None = None
    dclid: Text | None = None
    impression_id: Text | None = None
    match_id: Text | None = None
    encrypted_user_ids: list[str] | None = None
    ppid: Text | None = None
    visitor_ppid: Text | None = None


class _Consent(_Node):
    ad_user_data: _Decision | None = None
    ad_personalization: _Decision | None = None


class _Device(_Node):
    user_agent: Text | None = None
    ip_address: Ip | None = None
    category: Text | None = None
    language_code: Annotated[str, Meta(pattern=r"^[a-z]{2}\Z")] | None = None
    screen_height: int | None = None
    screen_width: int | None = None
    operating_system: Text | None = None
    operating_system_version: Text | None = None
    model: Text | None = None
    brand: Text | None = None
    browser: Text | None = None
    browser_version: Text | None = None


class _Variable(_Node):
    variable: Text
    value: str
    destination_references: list[str] | None = None


class _Parameter(_Node):
    parameter_name: Text
    value: str


class _Item(_Node):
    merchant_product_id: Text | None = None
    quantity: _Digits | None = None
    unit_price: float | None = None
    item_id: Text | None = None
    conversion_value: float | None = None
    additional_item_parameters: list[_Parameter] | None = None
    merchant_id: _Digits | None = None
    merchant_feed_label: Text | None = None
    merchant_feed_language_code: Text | None = None
    custom_variables: list[_Variable] | None = None


class _Cart(_Node):
    items: list[_Item] | None = None
    merchant_id: _Digits | None = None
    merchant_feed_label: Text | None = None
    merchant_feed_language_code: Text | None = None
    transaction_discount: float | None = None
    coupon_codes: list[str] | None = None


class _Customer(_Node):
    customer_type: Literal["NEW", "RETURNING", "REENGAGED"] | None = None
    customer_value_bucket: Literal["LOW", "MEDIUM", "HIGH"] | None = None


class _Place(_Node):
    store_id: Text | None = None
    city: Text | None = None
    subdivision_code: Text | None = None
    subcontinent_code: Text | None = None
    continent_code: Text | None = None
    region_code: _Code2 | None = None


class GoogleAdsEvent(_Node):
    """One entry of ``events``."""

    event_timestamp: str
    event_source: Literal["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"]
    destination_references: list[str] = []
    transaction_id: str | None = None
    ad_identifiers: _Ad | None = None
    user_data: _User | None = None
    conversion_value: float | None = None
    currency: Currency | None = None
    conversion_count: float | None = None
    consent: _Consent | None = None
    event_device_info: _Device | None = None
    cart_data: _Cart | None = None
    custom_variables: list[_Variable] | None = None
    user_properties: _Customer | None = None
    last_updated_timestamp: str | None = None
    event_location: _Place | None = None


class _Account(_Node):
    account_type: str
    account_id: str


class _Destination(_Node):
    operating_account: _Account
    product_destination_id: str
    reference: str = ""
    login_account: _Account | None = None
    linked_account: _Account | None = None


class _Body(_Node):
    destinations: list[_Destination]
    events: list[Raw]
    encoding: Literal["HEX", "BASE64"] | None = None
    consent: _Consent | None = None
    validate_only: bool = False


_decode_body = msgspec.json.Decoder(_Body).decode
_ACCOUNT_ID = re.compile(r"^[0-9]{1,10}\Z")
_ACTION_ID = re.compile(r"^[0-9]{1,19}\Z")
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_EMAIL = re.compile(r"[A-Za-z0-9]@[A-Za-z0-9]+\.[A-Za-z]{2,}")
_SNAKE = re.compile(r"(?<=[a-z0-9])([A-Z])")
_POSITION = re.compile(r"\.(\d+)")


class GoogleAds(Platform[GoogleAdsEvent]):
    """The sandbox's prefix stands for ``https://datamanager.googleapis.com/v1``."""

    name = "google_ads"
    routes = (
        route("POST", r"/events:ingest", "events"),
        route("GET", r"/requestStatus:retrieve", "status", reads=True),
    )
    rate = Rate(300, 60.0)
    max_bytes = 4 * MIB
    window_s: ClassVar[float] = 90 * DAY
    _reader: ClassVar[Reader[GoogleAdsEvent]] = Reader(GoogleAdsEvent, overlook=False)

    def clear(self) -> None:
        """See the base."""
        super().clear()
        #: Request id to what became of its events, by the references of its destinations.
        self._taken: dict[str, dict[str, Fate]] = {}

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, "Request had invalid authentication credentials."), "bad token")
        return call.headers.get("x-goog-user-project", "")

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(400, "Content-Type must be application/json"), "not application/json")
        try:
            body = _decode_body(call.body)
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"Invalid JSON payload received: {error}"), "malformed body") from None
        if not 1 <= len(body.events) <= _MAX_EVENTS:
            said = [("events", "TOO_MANY_EVENTS" if body.events else "REQUIRED_FIELD_MISSING", "batch size")]
            raise Refused(self._refusal(said), "batch size")
        if said := _wrong_with(body.destinations):
            raise Refused(self._refusal(said), said[0][1])
        account = body.destinations[0].operating_account.account_id
        return Batch(at.name, account, body.events, call.now, body.validate_only, head=body)

    def reader(self, batch: Batch) -> Reader[GoogleAdsEvent]:
        return self._reader

    def check(self, event: GoogleAdsEvent, batch: Batch) -> Problem | None:
        body: _Body = batch.head
        return (
            _wrong_time(event.event_timestamp, batch.now, self.max_future_s)
            or _wrong_references(event, body)
            or _wrong_user(event, body)
            or _wrong_value(event)
        )

    def key(self, event: GoogleAdsEvent, batch: Batch) -> object | None:
        if not event.transaction_id:
            return None
        ids = {one.reference: one.product_destination_id for one in batch.head.destinations}
        return batch.account, tuple(ids[name] for name in event.destination_references), event.transaction_id

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[GoogleAdsEvent | None]) -> Reply:
        if problems:
            return self._refusal(
                [(f"events[{index}].{_path(one.path)}".rstrip("."), _reason(one), one.reason)
                 for index, one in sorted(problems.items())]
            )  # fmt: skip
        if batch.test:
            return json_reply(200, {"requestId": f"validated-{self.new_id(8)}"})
        request_id = self.new_id(20)
        make_room(self._taken, request_id, _MAX_REQUESTS)
        # its events are counted next, one by one
        self._counting = self._taken[request_id] = {one.reference: Fate(one) for one in batch.head.destinations}
        warnings = [
            {"field": f"events[{index}].cart_data.items[{place}].merchant_product_id",
             "reason": "WARNING_REASON_CART_DATA_ITEM_MERCHANT_PRODUCT_ID_MISSING"}
            for index, event in enumerate(events)
            if event is not None and event.cart_data is not None
            for place, item in enumerate(event.cart_data.items or ())
            if item.merchant_product_id is None
        ]  # fmt: skip
        return json_reply(200, {"requestId": request_id, **({"fieldWarnings": warnings} if warnings else {})})

    def accepted(self, event: GoogleAdsEvent, batch: Batch, *, copy: bool) -> None:
        if batch.test:
            return
        reason = reason_of(event, batch.now, copy=copy)
        for reference in event.destination_references or self._counting:
            self._counting[reference].count(reason)

    def read_back(self, call: Call, at: Route, match: re.Match[str]) -> Reply:
        found = self._taken.get(call.query.get("requestId", ""))
        if found is None:
            return self.failure(404, "no such request")
        return json_reply(200, {"requestStatusPerDestination": [fate.answer() for fate in found.values()]})

    def failure(self, status: int, reason: str) -> Reply:
        return self._error(status, reason, [])

    def throttled(self, wait_s: float) -> Reply:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "RATE_LIMIT_EXCEEDED",
            "domain": "googleapis.com",
            "metadata": {"quota_limit": "IngestionMutateRequestsPerMinutePerProject"},
        }
        return self._error(429, "Quota exceeded for quota metric 'Ingestion mutate requests'.", [info])

    def _refusal(self, said: Sequence[tuple[str, str, str]]) -> Reply:
        violations = [{"field": field, "description": words, "reason": reason} for field, reason, words in said]
        bad = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
        return self._error(400, "There was a problem with the request.", [bad])

    def _error(self, status: int, message: str, details: list[Any]) -> Reply:
        name = _STATUSES.get(status, "UNKNOWN")
        request_id = f"t-{self.new_id(8)}"
        if not any(detail["@type"].endswith("ErrorInfo") for detail in details):
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": name,
                "domain": "datamanager.googleapis.com",
                "metadata": {"requestId": request_id},
            }
            details = [info, *details]
        last = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id}
        error = {"code": status, "message": message, "status": name, "details": [*details, last]}
        return json_reply(status, {"error": error})


def _wrong_with(destinations: Sequence[_Destination]) -> list[tuple[str, str, str]]:
    if not 1 <= len(destinations) <= _MAX_DESTINATIONS:
        return [("destinations", "INVALID_DESTINATION", "1 to 10 destinations")]
    seen: set[str] = set()
    for index, one in enumerate(destinations):
        at = f"destinations[{index}]"
        if one.reference in seen:
            return [(f"{at}.reference", "DUPLICATE_DESTINATION_REFERENCE", "the reference stands twice")]
        seen.add(one.reference)
        account = one.operating_account
        if account.account_type != "GOOGLE_ADS" or not _ACCOUNT_ID.match(account.account_id):
            return [(f"{at}.operating_account", "INVALID_DESTINATION", "no such account")]
        if not _ACTION_ID.match(one.product_destination_id):
            return [(f"{at}.product_destination_id", "INVALID_CONVERSION_ACTION_ID", "not a number")]
        if one.product_destination_id.endswith("0000"):
            return [(f"{at}.product_destination_id", "INVALID_CONVERSION_ACTION_TYPE", "not of type UPLOAD_CLICKS")]
    return []


def _wrong_time(text: str, now: float, max_future_s: float) -> Problem | None:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError
    except ValueError:
        return Problem("event_timestamp: not an RFC 3339 time", path="event_timestamp")
    if time.timestamp() > now + max_future_s:
        return Problem("event_timestamp: in the future", path="event_timestamp")
    return None


def _wrong_references(event: GoogleAdsEvent, body: _Body) -> Problem | None:
    known = {one.reference for one in body.destinations}
    if not set(event.destination_references) <= known:
        return Problem("destination_references: no such destination", path="destination_references")
    return None


def _wrong_user(event: GoogleAdsEvent, body: _Body) -> Problem | None:
    ad, user = event.ad_identifiers, event.user_data
    if ad is not None and (ad.dclid or ad.impression_id or ad.match_id or ad.encrypted_user_ids):
        return Problem("an identifier of Floodlight", path="ad_identifiers")
    if _EMAIL.search(event.transaction_id or ""):
        return Problem("transaction_id: personal data", path="transaction_id")
    if user is not None:
        if body.encoding != "HEX":
            return Problem("encoding is required beside user_data", path="user_data")
        if not 1 <= len(user.user_identifiers) <= _MAX_IDENTIFIERS:
            return Problem("user_data: 1 to 10 identifiers", path="user_data.user_identifiers")
        for index, one in enumerate(user.user_identifiers):
            if sum(value is not None for value in (one.email_address, one.phone_number, one.address)) != 1:
                return Problem("exactly one identifier each", path=f"user_data.user_identifiers.{index}")
        if event.consent is not None and event.consent.ad_user_data == "CONSENT_DENIED":
            return Problem("user_data without consent", path="user_data")
        return None
    if ad is None or not (ad.gclid or ad.gbraid or ad.wbraid or ad.session_attributes):
        return Problem("no identifiers provided", path="user_data")
    return None


def _wrong_value(event: GoogleAdsEvent) -> Problem | None:
    if event.conversion_value is not None and event.currency is None:
        return Problem("currency is required with a value", path="currency")
    if event.conversion_value is not None and event.conversion_value < 0:
        return Problem("conversion_value: negative", path="conversion_value")
    return None


_REASONS = {"missing": "REQUIRED_FIELD_MISSING", "unhashed": "INVALID_HEX_ENCODING", "type": "INVALID_FORMAT"}


def _reason(problem: Problem) -> str:
    if problem.path == "event_timestamp" and problem.kind == "rule":
        return "EVENT_TIME_INVALID"
    if problem.reason == "no identifiers provided":
        return "NO_IDENTIFIERS_PROVIDED"
    if problem.path == "ad_identifiers" and problem.kind == "rule":
        return "INVALID_AD_IDENTIFIER_FOR_ACCOUNT"
    return _REASONS.get(problem.kind, "INVALID_EVENT")


def _path(path: str) -> str:
    """As Google writes it: positions in brackets, names in snake case."""
    return _SNAKE.sub(lambda found: f"_{found[1].lower()}", _POSITION.sub(r"[\1]", path))
