"""What is read back from Snap: opinions, logs and traffic, over a hand-made transport and a real local server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web

from capi_async.destinations import snap
from capi_async.destinations.snap import Snap, SnapV2
from capi_async.errors import CapiError, ConfigError, TransportError
from capi_async.event import Event, Page, User
from capi_async.outcome import Response
from capi_async.spec import Request

PIXEL = "11111111-2222-3333-4444-555555555555"
TOKEN = "odd/token+here"
V3 = Snap(pixel_id=PIXEL, access_token=TOKEN)
V2 = SnapV2(pixel_id=PIXEL, access_token=TOKEN)
EVENT = Event("page_view", event_id="e-1", user=User(email="a@b.example"), page=Page(url="https://www.example.com/"))

V3_LOGS = {
    "status": "SUCCESS",
    "reason": "",
    "logs": [
        {
            "event_name": "PURCHASE", "raw_event_name": "purchase", "event_time": "1705508777", "action_source": "WEB",
            "status": "INVALID", "integration": "own", "asset_id": PIXEL, "brand_new": {"a": 1},
            "event_metadata": {"pixel_id": PIXEL, "snap_app_id": "", "app_id": "", "conversion_info": {"x": "y"}},
            "error_records": ["price missing for jane@example.com"], "warning_records": ["no phone"],
        },
        {"event_name": None, "event_time": "soon", "event_metadata": None, "error_records": None},
        {},
    ],
}  # fmt: skip
V2_LOGS = {
    "status": "SUCCESS",
    "logs": [
        {
            "timestamp": "1656022510346", "event_type": "PURCHASE", "event_conversion_type": "WEB",
            "status": "SUCCESS", "integration": "business-sdk", "event_metadata": {"pixel_id": PIXEL},
            "error_records": [], "warning_records": [],
        }
    ],
}  # fmt: skip
STATS = {
    "status": "SUCCESS",
    "reason": "",
    "stats": {
        "test": {"latest_event_ts": 1705508777, "event_count_past_hour": 3, "more": 1},
        "live": {"latest_event_ts": None},
    },
}


class Scripted:
    """A transport that gives one answer and keeps what it was asked."""

    def __init__(self, status: int, answer: object) -> None:
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        self.response = Response(status=status, body=body)
        self.requests: list[Request] = []
        self.timeouts: list[float] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.requests.append(request)
        self.timeouts.append(timeout_s)
        return self.response


async def test_logs_of_v3_are_read_whatever_is_missing_or_new() -> None:
    """Null, absent and unknown fields are all the same to the reader."""
    transport = Scripted(200, V3_LOGS)
    logs = await snap.test_event_logs(V3, transport)
    first, second, third = logs.events
    assert (first.name, first.raw_name, first.source, first.status) == ("PURCHASE", "purchase", "WEB", "INVALID")
    assert first.time == datetime(2024, 1, 17, 16, 26, 17, tzinfo=UTC)
    assert (first.integration, first.asset_id) == ("own", PIXEL)
    assert (first.errors, first.warnings) == (("price missing for <email>",), ("no phone",))
    assert first.metadata["conversion_info"] == {"x": "y"}
    assert "conversion_info" not in repr(logs)
    assert (second.name, second.time, second.errors) == ("", None, ())
    assert third == snap.TestEventLog()
    (request,) = transport.requests
    parts = urlsplit(request.url)
    assert (request.method, parts.path) == ("GET", f"/v3/{PIXEL}/events/validate/logs")
    assert parse_qs(parts.query) == {"access_token": [TOKEN]}
    assert request.headers == {"Accept": "application/json"}
    assert request.body == ()


async def test_logs_of_v2_become_the_same_type() -> None:
    """Its times are milliseconds and its names differ."""
    transport = Scripted(200, V2_LOGS)
    (entry,) = (await snap.test_event_logs(V2, transport, asset_id="other asset")).events
    assert (entry.name, entry.source, entry.status) == ("PURCHASE", "WEB", "SUCCESS")
    assert entry.time == datetime(2022, 6, 23, 22, 15, 10, 346_000, tzinfo=UTC)
    (request,) = transport.requests
    assert request.url == "https://tr.snapchat.com/v2/conversion/validate/logs?asset_id=other%20asset"
    assert request.headers == {"Accept": "application/json", "Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("destination", [V3, V2], ids=["v3", "v2"])
async def test_stats_tell_test_traffic_from_live(destination: Snap | SnapV2) -> None:
    """Missing counts are zero."""
    transport = Scripted(200, STATS)
    stats = await snap.test_event_stats(destination, transport)
    assert stats.test == snap.Traffic(1705508777, 3)
    assert stats.live == snap.Traffic(0, 0)
    assert urlsplit(transport.requests[0].url).path.endswith("/validate/stats")
    assert transport.timeouts == [30.0]


async def test_launchpad_gets_a_content_type_on_its_get() -> None:
    """Its routes declare that they consume JSON."""
    relay = SnapV2(pixel_id=PIXEL, access_token=TOKEN, launchpad_url="https://relay.example.com/")
    transport = Scripted(200, STATS)
    await snap.test_event_stats(relay, transport)
    (request,) = transport.requests
    assert request.url == f"https://relay.example.com/v2/conversion/validate/stats?asset_id={PIXEL}"
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"status": "FAILURE", "reason": f"token {TOKEN} is wrong"}, ConfigError),
        (403, b"no", ConfigError),
        (404, b"<html></html>", ConfigError),
        (400, {"status": "FAILURE", "reason": "Invalid token"}, ConfigError),
        (400, {"status": "FAILURE", "reason": f"asset_id is odd, {TOKEN}"}, snap.ReadbackError),
        (200, {"status": "FAILURE", "reason": f"later {TOKEN}"}, snap.ReadbackError),
        (200, {}, snap.ReadbackError),
        (200, b"OK", snap.ReadbackError),
        (429, {"status": "FAILURE"}, snap.ReadbackError),
        (503, b"<html>busy</html>", snap.ReadbackError),
    ],
)
@pytest.mark.parametrize("call", [snap.test_event_logs, snap.test_event_stats], ids=["logs", "stats"])
async def test_refusal_is_raised_without_the_token(
    status: int, answer: object, error: type[CapiError], call: Any
) -> None:
    """The configuration's fault is told from Snap's."""
    for destination in (V3, V2):
        with pytest.raises(error) as caught:
            await call(destination, Scripted(status, answer))
        assert f"HTTP {status}" in str(caught.value)
        assert TOKEN not in str(caught.value)
        if isinstance(caught.value, snap.ReadbackError):
            assert caught.value.status == status
            assert TOKEN not in caught.value.reason


async def test_missing_answer_passes_through() -> None:
    """The transport's own error says enough."""

    class Broken:
        async def send(self, request: Request, *, timeout_s: float) -> Response:
            raise TransportError("dns", sent=False)

    for ask in (
        snap.test_event_logs(V3, Broken()),
        snap.test_event_stats(V2, Broken()),
        snap.validate(V3, Broken(), [EVENT]),
    ):
        with pytest.raises(TransportError):
            await ask


async def test_validate_reads_v3s_list_of_events() -> None:
    """Errors, warnings and codes of the one event that travelled."""
    answer = {
        "status": "INVALID", "test_event": True, "reason": "see logs",
        "event_logs": [
            {"event": 1, "status": "INVALID", "errors": {"codes": ["517"], "error_msgs": ["bad a@b.example"]},
             "warnings": ["no phone"]}
        ],
    }  # fmt: skip
    transport = Scripted(400, answer)
    (found,) = await snap.validate(V3, transport, [EVENT])
    assert (found.event_id, found.valid, found.sent, found.status, found.code) == ("e-1", False, True, "INVALID", "517")
    assert (found.reason, found.errors, found.warnings) == ("see logs", ("bad <email>",), ("no phone",))
    assert urlsplit(transport.requests[0].url).path == f"/v3/{PIXEL}/events/validate"
    good = {"status": "VALID", "test_event": True, "event_logs": [{"event": 1, "status": "VALID", "warnings": None}]}
    (found,) = await snap.validate(V3, Scripted(200, good), [EVENT])
    assert (found.valid, found.errors, found.warnings) == (True, (), ())


async def test_validate_reads_v2s_records_and_fields() -> None:
    """What Snap read of the event comes back too."""
    answer = {
        "status": "SUCCESS", "reason": "All records processed", "error_records": [],
        "warning_records": [{"reason": "no phone", "record_indexes": [0]}],
        "validated_fields": [{"record_index": 0, "validated_fields": {"pixel_id": PIXEL, "event_type": "PAGE_VIEW"}}],
    }  # fmt: skip
    transport = Scripted(200, answer)
    (found,) = await snap.validate(V2, transport, [EVENT])
    assert (found.valid, found.warnings, found.fields["event_type"]) == (True, ("no phone",), "PAGE_VIEW")
    assert transport.requests[0].url == "https://tr.snapchat.com/v2/conversion/validate"
    bad = {
        "status": "FAILED",
        "reason": "All records failed",
        "error_records": [{"reason": "bad", "recordIndexes": [0]}],
    }
    (found,) = await snap.validate(V2, Scripted(400, bad), [EVENT])
    assert (found.valid, found.errors, found.reason) == (False, ("bad",), "All records failed")


async def test_validate_tells_what_would_not_even_leave() -> None:
    """One answer per event, in order; a refusal here costs no request."""
    nobody = Event("page_view", event_id="e-2", page=Page(url="https://www.example.com/"))
    transport = Scripted(200, {"status": "VALID"})
    first, second, third = await snap.validate(V3, transport, [EVENT, nobody, EVENT])
    assert (first.valid, second.valid, third.valid) == (True, False, True)
    assert (second.event_id, second.sent) == ("e-2", False)
    assert "nobody to identify" in second.errors[0]
    assert len(transport.requests) == 2


async def test_validate_stops_at_a_refused_token_and_at_trouble() -> None:
    """These are no opinion about the event."""
    for destination in (V3, V2):
        for status, answer, error in (
            (400, {"status": "INVALID", "reason": f"Invalid token {TOKEN}"}, ConfigError),
            (401, b"", ConfigError),
            (429, b"", snap.ReadbackError),
            (200, b"", snap.ReadbackError),
        ):
            with pytest.raises(error) as caught:
                await snap.validate(destination, Scripted(status, answer), [EVENT])
            assert TOKEN not in str(caught.value)


# --- over real sockets


class Sockets:
    """The smallest transport there can be."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self.session.request(
            request.method, request.url, headers=dict(request.headers), data=b"".join(request.body) or None,
            timeout=timeout,
        ) as answer:  # fmt: skip
            return Response(status=answer.status, body=await answer.read(), headers=dict(answer.headers))


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    """A Snap of four routes that knows one token."""

    async def v3(request: web.Request) -> web.Response:
        if request.query.get("access_token") != TOKEN:
            return web.json_response({"status": "INVALID", "reason": "Invalid token"}, status=401)
        answers = {"logs": V3_LOGS, "stats": STATS, "validate": {"status": "VALID", "test_event": True}}
        return web.json_response(answers[request.path.rsplit("/", 1)[1]])

    async def v2(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"status": "FAILED", "reason": "Invalid token"}, status=401)
        answers = {"logs": V2_LOGS, "stats": STATS, "validate": {"status": "SUCCESS"}}
        return web.json_response(answers[request.path.rsplit("/", 1)[1]])

    app = web.Application()
    app.router.add_route("*", "/v3/{asset}/events/validate{tail:.*}", v3)
    app.router.add_route("*", "/v2/conversion/validate{tail:.*}", v2)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.mark.parametrize("kind", [Snap, SnapV2])
async def test_all_calls_work_over_a_real_connection(kind: type[Snap] | type[SnapV2], base_url: str) -> None:
    """Percent-encoding included: the token holds what a URL may not."""
    async with aiohttp.ClientSession() as session:
        destination = kind(pixel_id=PIXEL, access_token=TOKEN, base_url=base_url)
        transport = Sockets(session)
        assert (await snap.test_event_logs(destination, transport)).events[0].name == "PURCHASE"
        assert (await snap.test_event_stats(destination, transport)).test.event_count_past_hour == 3
        assert [one.valid for one in await snap.validate(destination, transport, [EVENT])] == [True]
        stranger = kind(pixel_id=PIXEL, access_token="wrong", base_url=base_url)
        with pytest.raises(ConfigError, match="Invalid token"):
            await snap.test_event_logs(stranger, transport)
