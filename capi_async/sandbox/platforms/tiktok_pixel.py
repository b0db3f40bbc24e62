"""TikTok's legacy pixel endpoints (Events API 1.0): ``/pixel/track/`` and ``/pixel/batch/``.

Source: tiktok-business-api-sdk f809c39 and public integrations, read 2026-11.

Every answer has HTTP status 200; the code in the body decides.

UNVERIFIED, and what the sandbox does: whether the endpoints still live (here they do); a batch of more than 50 gets
40061; a bad row refuses its batch (reading ``partial``: code 20001, the good rows are taken, and ``data`` names the
bad ones in an invented layout); ``type: "track"`` is required in a batch and ``timestamp`` must be ISO 8601 with an
offset (reading ``tolerant``: ``type`` may be absent and a space may stand for the ``T``, as pytt-events-api writes it);
JSON null counts as absent, which that library relies on; events are taken for 7 days; de-duplication as in 2.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.checks import DAY, Hash, Ip, Problem, Reader, Text, time_problem
from capi_async.sandbox.platforms.base import Batch, Call, Refused, Reply, Route, json_reply, route
from capi_async.sandbox.platforms.tiktok import BATCH_SIZE, TikTokEnvelope

_ISO_8601 = re.compile(r"^\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\Z")
_PARTIAL_OK = 20001


class _Ad(Struct, forbid_unknown_fields=True):
    callback: str | None = None


class _Page(Struct, forbid_unknown_fields=True):
    url: str | None = None
    referrer: str | None = None


class _User(Struct, forbid_unknown_fields=True):
    external_id: Hash | None = None
    email: Hash | None = None
    phone_number: Hash | None = None
    ttp: str | None = None


class _Context(Struct, forbid_unknown_fields=True):
    ad: _Ad | None = None
    page: _Page | None = None
    user: _User | None = None
    user_agent: str | None = None
    ip: Ip | None = None


class _Item(Struct, forbid_unknown_fields=True):
    content_id: str | None = None
    content_type: Literal["product", "product_group"] | None = None
    content_name: str | None = None
    content_category: str | None = None
    brand: str | None = None
    price: Annotated[float, Meta(ge=0)] | None = None
    quantity: int | None = None
    status: str | None = None


class _Properties(Struct, forbid_unknown_fields=True):
    contents: list[_Item] | None = None
    content_type: Literal["product", "product_group"] | None = None
    currency: str | None = None
    value: float | None = None
    description: str | None = None
    query: str | None = None
    status: str | None = None


class PixelEvent(Struct, forbid_unknown_fields=True):
    """The body of ``/pixel/track/``, or one entry of a batch."""

    event: Text
    type: Literal["track"] | None = None
    pixel_code: str | None = None
    event_id: str | None = None
    timestamp: str | None = None
    context: _Context | None = None
    properties: _Properties | None = None
    test_event_code: str | None = None
    partner_name: str | None = None


class _Track(Struct):
    pixel_code: str
    test_event_code: str | None = None


class _Batch(Struct):
    pixel_code: str
    batch: list[Raw]
    partner_name: str | None = None
    test_event_code: str | None = None


_decode_track = msgspec.json.Decoder(_Track).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


class TikTokPixel(TikTokEnvelope[PixelEvent]):
    """``POST /open_api/v1.3/pixel/track/`` and ``/pixel/batch/``."""

    name = "tiktok_pixel"
    routes = (
        route("POST", r"/open_api/v1\.3/pixel/batch/", "batch"),
        route("POST", r"/open_api/v1\.3/pixel/track/", "track"),
    )
    readings: ClassVar[Mapping[str, str]] = {
        "partial": "the good rows of a batch with a bad one are taken, with code 20001",
        "tolerant": "type may be absent in a batch, and a blank may stand for the T of a timestamp",
    }
    unauthorized_status = 200
    rows = "batch"
    max_age_s: ClassVar[float] = 7 * DAY
    max_events: ClassVar[int] = 50
    _reader: ClassVar[Reader[PixelEvent]] = Reader(PixelEvent, overlook=True)

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if at.name == "track":
            track: _Track = self.frame(call, _decode_track)
            account = self.known_source(track.pixel_code)
            return Batch(at.name, account, [Raw(call.body)], call.now, bool(track.test_event_code))
        body: _Batch = self.frame(call, _decode_batch)
        account = self.known_source(body.pixel_code)
        if not 1 <= len(body.batch) <= self.max_events:
            message = f"batch: Length must be between 1 and {self.max_events}."
            raise Refused(self.envelope(200, BATCH_SIZE, message), "batch size")
        return Batch(at.name, account, body.batch, call.now, bool(body.test_event_code))

    def reader(self, batch: Batch) -> Reader[PixelEvent]:
        return self._reader

    def check(self, event: PixelEvent, batch: Batch) -> Problem | None:
        tolerant = "tolerant" in self.chosen
        if batch.route == "batch" and event.type is None and not tolerant:
            return Problem("type: required", "missing", "type")
        if event.pixel_code is not None and event.pixel_code != batch.account:
            return Problem("pixel_code: differs from the batch's", path="pixel_code")
        if event.timestamp is None:
            return None
        match = _ISO_8601.match(event.timestamp)
        if match is None or (match[1] == " " and not tolerant):
            return Problem("timestamp: Not a valid datetime", path="timestamp")
        try:
            at = datetime.fromisoformat(event.timestamp).timestamp()
        except ValueError:
            return Problem("timestamp: Not a valid datetime", path="timestamp")
        return time_problem(at, batch.now, max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="timestamp")

    def key(self, event: PixelEvent, batch: Batch) -> object | None:
        return (batch.account, event.event, event.event_id) if event.event_id else None

    def refuses_all(self, batch: Batch, problems: Mapping[int, Problem]) -> bool:
        return "partial" not in self.chosen or len(problems) == len(batch.events)

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[PixelEvent | None]) -> Reply:
        if not problems or self.refuses_all(batch, problems):
            return super().answer(batch, problems, events)
        failed = [{"order_in_batch": index, "error": problem.reason} for index, problem in problems.items()]
        body = {"code": _PARTIAL_OK, "message": "Partial success", "data": {"failed_events": failed}}
        return json_reply(200, {**body, "request_id": self.new_id(34)})
