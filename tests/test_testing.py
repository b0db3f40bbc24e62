"""What users test with: a clock that they move, a transport that keeps requests."""

from __future__ import annotations

import aiohttp
import pytest

from capi_async import Client, Event, Page, User
from capi_async.destinations import Snap
from capi_async.errors import TransportError
from capi_async.outcome import Response
from capi_async.spec import Request
from capi_async.testing import LiveRequest, ManualClock, RecordingTransport, assert_balanced, no_live_requests

SNAP = Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="a-secret")


def lead(number: int = 1) -> Event:
    return Event(
        "lead", event_id=f"lead-{number}", user=User(email="a@b.example"), page=Page(url="https://shop.example/")
    )


def test_both_readings_of_a_manual_clock_move_together_unless_told_otherwise() -> None:
    """Monotonic time never steps back."""
    clock = ManualClock(5.0, wall=1_000.0)
    assert (clock.monotonic(), clock.wall()) == (5.0, 1_000.0)
    clock.advance(60)
    assert (clock.monotonic(), clock.wall()) == (65.0, 1_060.0)
    clock.step_wall(-3_600)
    assert (clock.monotonic(), clock.wall()) == (65.0, -2_540.0)
    with pytest.raises(ValueError, match="never steps back"):
        clock.advance(-1)


async def test_a_recording_transport_keeps_what_would_have_been_sent() -> None:
    """One request for the batch; the answer is the test's own; its repr says nothing of what is in it."""
    transport = RecordingTransport(Response(status=200, body=b'{"status": "VALID", "events_received": 2}'))
    async with Client([SNAP], transport=transport, linger_s=0.05) as client:
        receipts = [await client.send(lead(number)) for number in range(2)]
        outcomes = [await one.outcomes(timeout_s=10) for one in receipts]
    assert [one["snap"].kind for one in outcomes] == ["delivered", "delivered"]
    (body,) = transport.bodies()
    assert [event["event_id"] for event in body["data"]] == ["lead-0", "lead-1"]
    assert repr(transport) == "RecordingTransport(1 requests)"
    assert_balanced(client, pending=0)


async def test_a_recording_transport_fails_as_it_is_told() -> None:
    """By request: the first never left, the second is answered."""
    failures = [TransportError("connect", sent=False)]

    def answer(request: Request) -> Response | TransportError:
        return failures.pop() if failures else Response(status=200, body=b'{"status": "VALID"}')

    transport = RecordingTransport(answer)
    async with Client([SNAP], transport=transport, linger_s=0) as client:
        receipt = await client.send(lead())
        outcome = (await receipt.outcomes(timeout_s=10))["snap"]
    assert (outcome.kind, outcome.attempts, len(transport.requests)) == ("delivered", 2, 2)


async def _post(host: str) -> None:
    with no_live_requests("this test"):
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post(f"https://{host}/")


@pytest.mark.parametrize(
    "host", ["graph.facebook.com", "graph.facebook.com.", "GRAPH.facebook.com", "tr.snapchat.com."]
)
async def test_a_host_of_a_platform_is_kept_away_however_it_is_written(host: str) -> None:
    """A name with the root's dot at its end leads to the same servers."""
    with pytest.raises(LiveRequest, match="this test would have sent a request to"):
        await _post(host)
