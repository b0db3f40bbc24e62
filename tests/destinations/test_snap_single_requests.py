"""Which single request each read-back call makes at Snap's own host, and what a lost or odd answer becomes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aioresponses import aioresponses

from capi_async.destinations import snap
from capi_async.destinations.snap import Snap, SnapV2
from capi_async.errors import ConfigError, TransportError
from capi_async.transport import HttpTransport
from tests.single_requests import answered

PIXEL = "11111111-2222-3333-4444-555555555555"
TOKEN = "odd/token+here"
V3 = Snap(pixel_id=PIXEL, access_token=TOKEN)
V2 = SnapV2(pixel_id=PIXEL, access_token=TOKEN)
ANY = re.compile(r"https://")
LOGS = {"status": "SUCCESS", "logs": [{"event_name": "PURCHASE", "event_time": "1705508777", "status": "VALID"}]}
STATS = {"status": "SUCCESS", "stats": {"test": {"latest_event_ts": 5, "event_count_past_hour": 3}, "live": {}}}


@pytest.fixture
def platform() -> Iterator[aioresponses]:
    """Answers instead of Snap's."""
    with answered() as answers:
        yield answers


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """The one that clients use."""
    made = HttpTransport()
    yield made
    await made.aclose()


def sent(platform: aioresponses) -> list[tuple[str, str, dict[str, str]]]:
    """Method, address and headers of each request."""
    return [
        (method, str(url), dict(call.kwargs["headers"]))
        for (method, url), calls in platform.requests.items()
        for call in calls
    ]


async def test_logs_of_v3_are_one_get_with_the_token_in_the_address(
    platform: aioresponses, transport: HttpTransport
) -> None:
    """The token is escaped: it may hold what an address gives a meaning."""
    platform.get(ANY, payload=LOGS)
    logs = await snap.test_event_logs(V3, transport)
    assert [(event.name, event.status) for event in logs.events] == [("PURCHASE", "VALID")]
    ((method, address, headers),) = sent(platform)
    assert method == "GET"
    assert address == (f"https://tr.snapchat.com/v3/{PIXEL}/events/validate/logs?access_token=odd/token%2Bhere")
    assert "Authorization" not in headers


async def test_stats_of_v2_are_one_get_with_the_token_in_a_header(
    platform: aioresponses, transport: HttpTransport
) -> None:
    """Another asset can be asked for."""
    platform.get(ANY, payload=STATS)
    stats = await snap.test_event_stats(V2, transport, asset_id="app-1")
    assert (stats.test.event_count_past_hour, stats.live.event_count_past_hour) == (3, 0)
    ((method, address, headers),) = sent(platform)
    assert (method, address) == ("GET", "https://tr.snapchat.com/v2/conversion/validate/stats?asset_id=app-1")
    assert headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("error", [aiohttp.ServerDisconnectedError(), aiohttp.ClientPayloadError("odd/token+here")])
async def test_a_lost_answer_is_an_error_without_the_token(
    platform: aioresponses, transport: HttpTransport, error: Exception
) -> None:
    """Asked once: whoever reads back can ask again. What the HTTP library raised is not handed on."""
    platform.get(ANY, exception=error)
    with pytest.raises(TransportError) as caught:
        await snap.test_event_logs(V3, transport)
    assert TOKEN not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert len(sent(platform)) == 1


async def test_a_page_of_a_proxy_is_no_empty_log(platform: aioresponses, transport: HttpTransport) -> None:
    """Nobody must take an outage for "no test events"."""
    platform.get(ANY, status=200, body="<html>maintenance</html>", content_type="text/html")
    with pytest.raises(snap.ReadbackError, match="not what is documented"):
        await snap.test_event_logs(V3, transport)


async def test_a_refused_token_is_named_as_a_setting(platform: aioresponses, transport: HttpTransport) -> None:
    """The words are Snap's, without the token that they quote."""
    platform.get(ANY, status=401, payload={"status": "ERROR", "reason": f"invalid token {TOKEN}"})
    with pytest.raises(ConfigError, match="check access_token") as caught:
        await snap.test_event_stats(V3, transport)
    assert TOKEN not in str(caught.value)
