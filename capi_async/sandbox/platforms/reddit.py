"""Reddit Conversions API v3.

Source: Reddit's server-side tag template 2.0.0, its v3 guide as quoted in public pages, public reports, read 2026-11.

One invalid event refuses its request, and unknown keys are refused like wrong values. Plain e-mail addresses and phone
numbers are taken, as Reddit takes them, and counted as warnings.

UNVERIFIED, and what the sandbox does: an event needs one identifier of any kind; 1 MB is the largest request, beyond
it 413; events are taken up to 5 minutes ahead; ``fields`` holds one entry, with the path ``events[n].…``; a second
server copy is counted again; any pixel of letters, digits and ``_`` that begins with ``t2_``, ``a2_`` or ``p2_`` is
there, another gets 404.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.checks import (
    DAY,
    HASH_PATTERN,
    MB,
    Currency,
    Ip,
    Problem,
    Reader,
    Text,
    Url,
    time_problem,
)
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

_MAX_EVENTS = 1_000
_PIXEL = re.compile(r"^[apt]2_[A-Za-z0-9_]+\Z")
_digest = re.compile(HASH_PATTERN)
_MILLIS = (10**12, 10**13)

_Pixels = Annotated[int, Meta(ge=0, le=32_767)]


class _Type(Struct, forbid_unknown_fields=True):
    tracking_type: Literal[
        "PAGE_VISIT", "VIEW_CONTENT", "SEARCH", "ADD_TO_CART", "ADD_TO_WISHLIST", "PURCHASE", "LEAD", "SIGN_UP",
        "CUSTOM",
    ]  # fmt: skip
    custom_event_name: Annotated[str, Meta(min_length=1)] | None = None


class _Screen(Struct, forbid_unknown_fields=True):
    width: _Pixels
    height: _Pixels


class _Options(Struct, forbid_unknown_fields=True):
    modes: list[Literal["LDU"]]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] | None = None
    region: Annotated[str, Meta(pattern=r"^([A-Z]{2}-)?[A-Z0-9]{1,3}\Z")] | None = None


class _User(Struct, forbid_unknown_fields=True):
    email: Text | None = None
    phone_number: Text | None = None
    external_id: Text | None = None
    idfa: Text | None = None
    aaid: Text | None = None
    ip_address: Ip | None = None
    user_agent: Text | None = None
    uuid: Text | None = None
    screen_dimensions: _Screen | None = None
    data_processing_options: _Options | None = None


class _Product(Struct, forbid_unknown_fields=True):
    id: Text
    name: str | None = None
    category: str | None = None
    item_price: int | float | None = None
    quantity: int | None = None


class _Metadata(Struct, forbid_unknown_fields=True):
    conversion_id: str | None = None
    value: int | float | None = None
    currency: Currency | None = None
    item_count: int | None = None
    products: list[_Product] | None = None


class RedditEvent(Struct, forbid_unknown_fields=True):
    """One entry of ``data.events``."""

    event_at: int
    action_source: Literal["WEBSITE", "APP", "PHYSICAL_STORE", "OTHER"]
    type: _Type
    event_source_url: Url | None = None
    click_id: Text | None = None
    user: _User | None = None
    metadata: _Metadata | None = None


class _Data(Struct, forbid_unknown_fields=True):
    events: list[Raw]
    test_id: str | None = None
    partner: str | None = None
    partner_version: str | None = None


class _Body(Struct, forbid_unknown_fields=True):
    data: _Data


_decode_body = msgspec.json.Decoder(_Body).decode


class Reddit(Platform[RedditEvent]):
    """``POST /pixels/{pixel_id}/conversion_events``."""

    name = "reddit"
    routes = (route("POST", r"/pixels/(?P<pixel>[^/]+)/conversion_events", "events"),)
    max_bytes = MB
    max_age_s: ClassVar[float] = 7 * DAY
    _reader: ClassVar[Reader[RedditEvent]] = Reader(RedditEvent, overlook=False)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, "Authorization Required"), "bad token")
        return match["pixel"]

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not _PIXEL.match(match["pixel"]):
            raise Refused(self.failure(404, "pixel not found"), "no such account")
        if not is_json(call):
            raise Refused(self.failure(400, "Content-Type must be application/json"), "not application/json")
        try:
            data = _decode_body(call.body).data
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"JSON error: {error}"), "malformed body") from None
        if not 1 <= len(data.events) <= _MAX_EVENTS:
            raise Refused(self.failure(400, f"data.events must hold 1 to {_MAX_EVENTS} events"), "batch size")
        return Batch(at.name, match["pixel"], data.events, call.now, data.test_id is not None)

    def reader(self, batch: Batch) -> Reader[RedditEvent]:
        return self._reader

    def check(self, event: RedditEvent, batch: Batch) -> Problem | None:
        if not _MILLIS[0] <= event.event_at < _MILLIS[1]:
            return Problem("event_at: must be Unix milliseconds, 13 digits", path="event_at")
        is_custom = event.type.tracking_type == "CUSTOM"
        if is_custom is (event.type.custom_event_name is None):
            return Problem("type.custom_event_name: required with CUSTOM only", path="type.custom_event_name")
        if event.event_source_url is not None and event.action_source != "WEBSITE":
            return Problem("event_source_url: only with WEBSITE", path="event_source_url")
        if not _identifies(event):
            return Problem("user: some match keys are required", "missing", "user")
        self._wonder(event)
        return time_problem(
            event.event_at / 1000, batch.now, max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="event_at"
        )

    def _wonder(self, event: RedditEvent) -> None:
        """Count what Reddit takes and a careful client would not send."""
        if len(event.type.custom_event_name or "") > 64:
            self.warn("custom_event_name was cut")
        if event.action_source == "WEBSITE" and event.event_source_url is None:
            self.warn("no event_source_url")
        user, metadata = event.user, event.metadata
        if user is not None:
            for name in ("email", "phone_number", "external_id", "idfa", "aaid"):
                value = getattr(user, name)
                if value is not None and not _digest.match(value):
                    self.warn(f"user.{name} is not hashed")
        if metadata is not None and metadata.currency is not None and metadata.value is None:
            self.warn("CURRENCY_WITH_NO_VALUE")

    def key(self, event: RedditEvent, batch: Batch) -> object | None:
        return None

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[RedditEvent | None]) -> Reply:
        if not problems:
            said = f"Successfully processed {len(batch.events)} conversion events."
            return json_reply(200, {"data": {"message": said}})
        first = min(problems)
        problem = problems[first]
        field = {"field": f"events[{first}].{problem.path}".rstrip("."), "message": problem.reason}
        return json_reply(400, {"error": {"code": 400, "message": problem.reason, "fields": [field]}})

    def failure(self, status: int, reason: str) -> Reply:
        return json_reply(status, {"error": {"code": status, "message": reason}})


def _identifies(event: RedditEvent) -> bool:
    user = event.user
    if event.click_id is not None:
        return True
    return user is not None and any(
        getattr(user, name) is not None
        for name in ("email", "phone_number", "external_id", "idfa", "aaid", "uuid", "ip_address", "user_agent")
    )
