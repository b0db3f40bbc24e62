"""De-duplication, rates, faults, the HTTP interface and the page."""

from __future__ import annotations

import asyncio
import json
import re
import time

import aiohttp
import msgspec
import pytest

from capi_async.sandbox import Arrival, Fault, Rate, Sandbox, Stats, serve
from capi_async.sandbox.arrivals import Seen
from capi_async.sandbox.faults import Faults
from capi_async.sandbox.platforms import PLATFORMS
from capi_async.sandbox.rates import Windows

PLAYED = tuple(platform.name for platform in PLATFORMS)
#: Those that an example request is kept of, in conftest.py.
ALL = (
    "snap", "snap_v2", "pinterest", "tiktok", "tiktok_pixel", "cutmeshort", "meta", "google_ads", "ga4", "reddit",
    "linkedin", "webhook",
)  # fmt: skip
#: Those that are not known to recognise a second copy, or not of every event.
KEYLESS = ("google_ads", "ga4", "reddit", "linkedin", "webhook")
DAY = 86_400


@pytest.mark.parametrize("platform", [name for name in ALL if name not in KEYLESS])
async def test_copy_is_absorbed_by_the_key_for_48_hours(sender, clock, platforms, platform):
    """The second one is answered as a success, recorded as accepted, and counted as a duplicate."""
    first = await sender.send(platform)
    again = await sender.send(platform)
    assert again.status == first.status == 200
    stats = sender.sandbox.stats()[platform]
    assert stats == Stats(requests=2, events=2, accepted=2, duplicates=1)
    assert all(arrival.accepted for arrival in sender.sandbox.arrivals())
    assert sender.sandbox.details()[platform]["counted_twice"] == 0
    clock.now += 2 * DAY
    await sender.send(platform)
    assert sender.sandbox.stats()[platform].duplicates == 1


@pytest.mark.parametrize(
    ("platform", "changes"),
    [
        ("pinterest", {"event_name": "lead"}),
        ("tiktok", {"event": "AddToCart"}),
        ("tiktok_pixel", {"event": "AddToCart"}),
        ("meta", {"event_name": "Lead"}),
    ],
)
async def test_another_name_is_another_event(sender, platforms, platform, changes):
    """Where the key contains the name."""
    await sender.send(platform)
    await sender.send(platform, platforms[platform].event(**changes))
    assert sender.sandbox.stats()[platform].duplicates == 0


async def test_copy_without_a_key_is_counted_twice(sender, platforms):
    """Leads, offline events and events without an id have no key: only the detail shows that they came twice."""
    lead = {"eventName": "lead_captured", "customerExternalId": "u", "clickId": "c"}
    for _ in range(2):
        await sender.send("cutmeshort", path="/track/lead", body=lead)
        await sender.send("pinterest", platforms["pinterest"].event(action_source="offline"))
        await sender.send("tiktok", platforms["tiktok"].event(event_id=...))
        await sender.send("reddit")
        await sender.send("linkedin")
    for platform in ("cutmeshort", "pinterest", "tiktok", "reddit", "linkedin"):
        assert sender.sandbox.stats()[platform].duplicates == 0
        assert sender.sandbox.details()[platform]["counted_twice"] == 1


async def test_refused_event_leaves_no_key_behind(sender, platforms):
    """Its corrected version is the first one."""
    await sender.send("snap", platforms["snap"].event(custom_data=...))
    await sender.send("snap")
    assert sender.sandbox.stats()["snap"] == Stats(requests=2, events=2, accepted=1, duplicates=0)


def test_seen_keeps_a_bounded_number_of_keys():
    """The oldest goes first."""
    seen = Seen(max_keys=2)
    assert not any(seen.again(key, 0.0, 10.0) for key in "abc")
    assert seen.again("c", 1.0, 10.0)
    assert not seen.again("a", 1.0, 10.0)


@pytest.mark.parametrize(
    ("platform", "status", "pick", "value"),
    [
        ("snap", 429, "status", "INVALID"),
        ("snap_v2", 429, "status", "FAILED"),
        ("pinterest", 429, "code", 8),
        ("tiktok", 401, "code", 40100),
        ("tiktok_pixel", 200, "code", 40100),
        ("cutmeshort", 429, "statusCode", 429),
    ],
)
async def test_request_over_the_rate_is_throttled_until_the_window_moves(
    start, clock, platforms, platform, status, pick, value
):
    """In the platform's own words; a throttled request counts no event."""
    sender = await start(rates={platform: Rate(2, 60.0)})
    for _ in range(2):
        await sender.send(platform)
    reply = await sender.send(platform)
    assert (reply.status, reply.body[pick]) == (status, value)
    assert sender.sandbox.stats()[platform].events == 2
    clock.now += 60
    await sender.send(platform)
    assert sender.sandbox.stats()[platform].events == 3


async def test_documented_rates_hold_unless_changed(sender):
    """60 a minute at CutMeShort, with the seconds to wait; lifted over HTTP, and back."""
    rates = (await sender.ask("GET", "/_sandbox/rates")).body
    assert rates.keys() == {*PLAYED, "tiktok_shop"}
    documented = {
        "snap": {"limit": 1000, "per_s": 1.0},
        "snap_v2": {"limit": 1000, "per_s": 1.0},
        "pinterest": {"limit": 5000, "per_s": 60.0},
        "google_ads": {"limit": 300, "per_s": 60.0},
        "ga4": None,
        "tiktok": {"limit": 1000, "per_s": 1.0},
        "tiktok_pixel": {"limit": 1000, "per_s": 1.0},
        "cutmeshort": {"limit": 60, "per_s": 60.0},
        "meta": None,
        "reddit": None,
        "linkedin": {"limit": 600, "per_s": 60.0},
        "webhook": None,
        "tiktok_shop": {"limit": 10, "per_s": 1.0},
    }
    assert {name: rates[name] for name in documented} == documented
    statuses = [(await sender.send("cutmeshort")).status for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    assert (await sender.send("cutmeshort")).headers["Retry-After"] == "61"
    lifted = await sender.ask("POST", "/_sandbox/rates", json={"platform": "cutmeshort", "limit": None})
    assert lifted.body["cutmeshort"] is None
    assert (await sender.send("cutmeshort")).status == 200
    await sender.ask("POST", "/_sandbox/rates", json={"platform": "meta", "limit": 7, "per_s": 2})
    assert sender.sandbox.rates()["meta"] == Rate(7, 2.0)
    assert (await sender.ask("DELETE", "/_sandbox/rates")).status == 204
    assert sender.sandbox.rates()["cutmeshort"] == Rate(60, 60.0)


async def test_pinterest_tells_its_rate_on_every_answer(sender):
    """The documented headers."""
    headers = (await sender.send("pinterest")).headers
    assert headers["X-RateLimit-Limit"] == '5000, 5000;w=60;name="ads_conversions_ad_account_id"'
    assert (headers["X-RateLimit-Remaining"], headers["X-RateLimit-Reset"]) == ("4999", "60")


def test_window_never_admits_more_than_its_limit():
    """Exactly: 61 requests spread over a minute are one too many, and only the window's move makes room."""
    windows = Windows(Rate(60, 60.0))
    admitted = [now for now in range(120) if windows.admit("k", float(now)) == 0]
    assert admitted == list(range(120))
    windows = Windows(Rate(2, 60.0))
    assert [windows.admit("k", now) for now in (0.0, 50.0, 59.0, 60.0)] == [0.0, 0.0, 1.0, 0.0]
    assert windows.admit("other", 60.0) == 0


@pytest.mark.parametrize("platform", [name for name in ALL if name not in ("ga4", "webhook")])
async def test_status_fault_answers_in_the_platforms_shape_and_handles_nothing(sender, platform):
    """The request counts, its events do not."""
    sender.sandbox.fault(platform, "status", status=503, count=1)
    reply = await sender.send(platform)
    assert reply.status == 503
    assert isinstance(reply.body, dict)
    assert "Retry-After" not in reply.headers
    assert sender.sandbox.stats()[platform] == Stats(requests=1)
    assert sender.sandbox.details()[platform]["faults"] == {"status": 1}
    assert (await sender.send(platform)).status == 200


async def test_status_fault_can_tell_how_long_to_wait(sender):
    """Retry-After in whole seconds, and the platform's own headers beside it."""
    sender.sandbox.fault("*", "status", status=429, retry_after_s=90.5)
    assert (await sender.send("snap")).headers["Retry-After"] == "91"
    assert (await sender.send("pinterest")).headers["X-RateLimit-Reset"] == "90"
    usage = (await sender.send("meta")).headers["x-business-use-case-usage"]
    assert '"estimated_time_to_regain_access":2' in usage


async def test_status_fault_can_carry_any_body(sender):
    """TikTok's "slow down" under 401, or plain text."""
    sender.sandbox.fault("tiktok", "status", status=401, body={"code": 40100}, count=1)
    reply = await sender.send("tiktok")
    assert (reply.status, reply.body) == (401, {"code": 40100})
    sender.sandbox.fault("meta", "status", status=200, body="Service Unavailable")
    assert (await sender.send("meta")).body == "Service Unavailable"


async def test_latency_fault_answers_late(sender):
    """The request is handled all the same."""
    sender.sandbox.fault("snap", "latency", latency_s=0.05)
    before = time.monotonic()
    assert (await sender.send("snap")).status == 200
    assert time.monotonic() - before >= 0.05


async def test_latency_outlasting_the_client_still_handles(sender):
    """The client gives up on an event that arrived: the ambiguous case."""
    sender.sandbox.fault("snap", "latency", latency_s=60)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(sender.send("snap"), 0.1)
    assert sender.sandbox.stats()["snap"].accepted == 1


@pytest.mark.parametrize(("kind", "handled"), [("reset_before", 0), ("reset_after", 1)])
async def test_reset_fault_ends_the_connection_before_or_after_handling(sender, kind, handled):
    """The client cannot tell which; the record can."""
    sender.sandbox.fault("snap", kind, count=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await sender.send("snap")
    assert sender.sandbox.stats()["snap"] == Stats(requests=1, events=handled, accepted=handled)
    assert (await sender.send("snap")).status == 200


async def test_truncate_fault_cuts_the_body_in_the_middle(sender):
    """Handled, then half an answer."""
    sender.sandbox.fault("snap", "truncate", count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await sender.send("snap")
    assert sender.sandbox.stats()["snap"].accepted == 1


async def test_html_fault_answers_200_with_an_error_page(sender):
    """What an edge in front of the platform might do; nothing is handled."""
    sender.sandbox.fault("snap", "html", count=1)
    reply = await sender.send("snap")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
    assert sender.sandbox.arrivals() == []


@pytest.mark.parametrize(("after", "handled"), [(False, 0), (True, 1)])
async def test_hang_fault_never_answers(sender, after, handled):
    """The client gives up; the sandbox closes at once all the same."""
    sender.sandbox.fault("snap", "hang", after=after)
    waiting = asyncio.create_task(sender.send("snap"))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    assert len(sender.sandbox.arrivals()) == handled
    before = time.monotonic()
    await sender.sandbox.aclose()
    assert time.monotonic() - before < 3
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting


def _fates(seed: int) -> list[str]:
    faults = Faults(seed)
    faults.add(Fault(platform="*", kind="status", rate=0.3))
    faults.add(Fault(platform="snap", kind="html", rate=0.3))
    chosen = [faults.choose("snap")[1] for _ in range(200)]
    return ["" if fault is None else fault.kind for fault in chosen]


def test_faults_are_the_same_for_the_same_seed():
    """And others for another; each at about its rate."""
    assert _fates(1) == _fates(1) != _fates(2)
    assert 35 < _fates(1).count("status") < 85
    assert 20 < _fates(1).count("html") < 65


def test_faults_of_one_platform_do_not_depend_on_the_others():
    """Requests of different platforms may interleave in any way."""
    faults = Faults(1)
    faults.add(Fault(platform="*", kind="status", rate=0.3))
    faults.add(Fault(platform="snap", kind="html", rate=0.3))
    chosen = []
    for _ in range(200):
        faults.choose("meta")
        fault = faults.choose("snap")[1]
        chosen.append("" if fault is None else fault.kind)
    assert chosen == _fates(1)


async def test_same_seed_gives_the_same_trace_ids(start):
    """The same requests get the same answers to the letter."""
    replies = []
    for seed in (7, 7, 8):
        sender = await start(seed=seed)
        replies.append([(await sender.send(platform)).body for platform in ("tiktok", "meta")])
    assert replies[0] == replies[1] != replies[2]


async def test_faults_can_be_set_and_cleared_over_http(sender):
    """One or several at once; nonsense is refused with a reason."""
    one = {"platform": "snap", "kind": "status", "status": 503, "rate": 0.2, "retry_after_s": 1}
    assert (await sender.ask("POST", "/_sandbox/faults", json=one)).body == [one | {"retry_after_s": 1.0}]
    assert sender.sandbox.faults() == [Fault(platform="snap", kind="status", status=503, rate=0.2, retry_after_s=1)]
    await sender.ask("POST", "/_sandbox/faults", json=[{"platform": "*", "kind": "hang", "count": 2}])
    assert len((await sender.ask("GET", "/_sandbox/faults")).body) == 2
    assert (await sender.ask("DELETE", "/_sandbox/faults")).status == 204
    assert sender.sandbox.faults() == []
    for wrong in (
        {"platform": "snap", "kind": "explode"},
        {"platform": "nope", "kind": "hang"},
        {"kind": "hang", "rate": 2},
        {"kind": "status", "status": 99},
        {"kind": "hang", "colour": "red"},
    ):
        reply = await sender.ask("POST", "/_sandbox/faults", json=wrong)
        assert (reply.status, list(reply.body)) == (400, ["error"])


async def test_arrivals_are_listed_in_order_with_their_wire_objects(sender, platforms):
    """Exactly the seven documented keys."""
    await sender.send("snap")
    await sender.send("snap_v2", platforms["snap_v2"].event(price=...))
    await sender.send("snap", platforms["snap"].event(event_id="2"))
    everything = (await sender.ask("GET", "/_sandbox/arrivals")).body
    assert [arrival["platform"] for arrival in everything] == ["snap", "snap_v2", "snap"]
    listed = (await sender.ask("GET", "/_sandbox/arrivals?platform=snap")).body
    assert listed[1] == {
        "platform": "snap",
        "account": "11111111-2222-3333-4444-555555555555",
        "event": platforms["snap"].event(event_id="2"),
        "accepted": True,
        "reason": "",
        "request": 2,
        "test": False,
    }
    assert len((await sender.ask("GET", "/_sandbox/arrivals?limit=1")).body) == 1
    assert (await sender.ask("GET", "/_sandbox/arrivals?platform=nope")).status == 400
    assert (await sender.ask("GET", "/_sandbox/arrivals?limit=x")).status == 400
    assert everything[1]["account"] == platforms["snap_v2"].event()["pixel_id"]


async def test_deleting_arrivals_leaves_counters_and_keys(sender):
    """A second copy is still known."""
    await sender.send("snap")
    assert (await sender.ask("DELETE", "/_sandbox/arrivals")).status == 204
    assert sender.sandbox.arrivals() == []
    await sender.send("snap")
    assert sender.sandbox.stats()["snap"] == Stats(requests=2, events=2, accepted=2, duplicates=1)
    assert [arrival.request for arrival in sender.sandbox.arrivals()] == [2]


async def test_deleting_stats_leaves_arrivals_and_keys(sender, platforms):
    """Counted from zero, details included; requests are numbered on, so that no two arrivals confuse them."""
    await sender.send("snap")
    await sender.send("snap", platforms["snap"].event(user_data=...))
    assert (await sender.ask("DELETE", "/_sandbox/stats")).status == 204
    assert sender.sandbox.stats()["snap"] == Stats()
    assert not any(sender.sandbox.details()["snap"].values())
    await sender.send("snap")
    assert sender.sandbox.stats()["snap"] == Stats(requests=1, events=1, accepted=1, duplicates=1)
    assert [arrival.request for arrival in sender.sandbox.arrivals()] == [1, 2, 3]


@pytest.mark.parametrize("path", ["/_sandbox", "/_sandbox/"])
async def test_deleting_everything_is_as_on_the_first_day(sender, path):
    """Faults stay, as with ``clear()``."""
    sender.sandbox.fault("meta", "hang")
    await sender.send("snap")
    assert (await sender.ask("DELETE", path)).status == 204
    assert sender.sandbox.arrivals() == []
    await sender.send("snap")
    assert sender.sandbox.stats()["snap"] == Stats(requests=1, events=1, accepted=1, duplicates=0)
    assert len(sender.sandbox.faults()) == 1


async def test_stats_have_exactly_four_keys_and_detail_more(sender):
    """The contract of both."""
    await sender.send("snap")
    stats = (await sender.ask("GET", "/_sandbox/stats")).body
    assert set(stats) == {*PLAYED, "tiktok_shop"}
    assert stats["snap"] == {"requests": 1, "events": 1, "accepted": 1, "duplicates": 0}
    detail = (await sender.ask("GET", "/_sandbox/stats?detail=1")).body["snap"]
    assert detail["accepted"] == 1
    assert {"rejected", "test", "counted_twice", "refused_requests", "faults", "unknown_keys", "reasons"} < set(detail)
    assert (await sender.ask("GET", "/_sandbox/nothing")).status == 404


async def test_record_is_bounded_while_the_counters_go_on(start, platforms):
    """The oldest arrivals go; of the rest only the newest keep their bodies."""
    sender = await start(max_arrivals=3, keep_events=2)
    for number in range(5):
        await sender.send("snap", platforms["snap"].event(event_id=str(number)))
    kept = sender.sandbox.arrivals()
    assert [None if arrival.event is None else arrival.event["event_id"] for arrival in kept] == [None, "3", "4"]
    assert sender.sandbox.stats()["snap"].accepted == 5
    listed = (await sender.ask("GET", "/_sandbox/arrivals")).body
    assert [arrival["event"] is None for arrival in listed] == [True, False, False]


async def test_one_platform_never_crowds_out_another(start, platforms):
    """Each has its own bound; over all of them the order is still that of arrival."""
    sender = await start(max_arrivals=3)
    await sender.send("meta")
    for number in range(4):
        await sender.send("snap", platforms["snap"].event(event_id=str(number)))
    await sender.send("meta")
    await sender.send("snap", platforms["snap"].event(event_id="4"))
    kept = [(arrival.platform, arrival.event["event_id"]) for arrival in sender.sandbox.arrivals()]
    order = platforms["meta"].event()["event_id"]
    assert kept == [("meta", order), ("snap", "2"), ("snap", "3"), ("meta", order), ("snap", "4")]
    listed = await sender.ask("GET", "/_sandbox/arrivals?limit=2")
    assert [arrival["platform"] for arrival in listed.body] == ["meta", "snap"]


async def test_what_the_record_dropped_is_told(start):
    """By platform and over all, until the record is emptied; the counters' zero does not hide it."""
    sender = await start(max_arrivals=2)

    async def dropped(query: str = "") -> str:
        return (await sender.ask("GET", f"/_sandbox/arrivals{query}")).headers["X-Sandbox-Dropped"]

    assert await dropped() == "0"
    for platform, times in (("snap", 5), ("meta", 3), ("tiktok", 1)):
        for _ in range(times):
            await sender.send(platform)
    shown = [await dropped(query) for query in ("", "?platform=snap", "?platform=tiktok", "?platform=pinterest")]
    assert shown == ["4", "3", "0", "0"]
    await sender.ask("DELETE", "/_sandbox/stats")
    detail = (await sender.ask("GET", "/_sandbox/stats?detail=1")).body
    assert [detail[platform]["dropped"] for platform in ("snap", "meta", "tiktok")] == [3, 1, 0]
    await sender.ask("DELETE", "/_sandbox/arrivals")
    assert (await dropped(), sender.sandbox.dropped("snap")) == ("0", 0)


async def test_bytes_of_bodies_are_bounded_over_all_platforms(start):
    """The oldest body goes first, whosever it is; a lone large one stays."""
    sender = await start(keep_bytes=1)
    for platform in ("snap", "meta", "snap"):
        await sender.send(platform)
    assert [arrival.event is None for arrival in sender.sandbox.arrivals()] == [True, True, False]


@pytest.mark.parametrize(("options", "bodies"), [({"keep_events": False}, 0), ({"keep_bytes": 1_000}, 2)])
async def test_bodies_are_bounded_by_number_and_bytes(start, options, bodies):
    """A body is a few hundred bytes here."""
    sender = await start(**options)
    for _ in range(4):
        await sender.send("snap")
    assert sum(arrival.event is not None for arrival in sender.sandbox.arrivals()) == bodies


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
async def test_local_host_names_are_served(sender, host):
    """With any port, and without."""
    for name in (host, f"{host}:{sender.sandbox.port}"):
        assert (await sender.ask("GET", "/_sandbox/stats", headers={"Host": name})).status == 200


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "localhost:80:80", ""])
async def test_foreign_host_names_are_refused_everywhere(sender, host):
    """Against pages whose name was pointed at 127.0.0.1."""
    for path in ("/", "/_sandbox/arrivals", "/snap/v3/x/events"):
        assert (await sender.ask("GET", path, headers={"Host": host})).status == 403


FAULT = {"platform": "*", "kind": "hang", "count": 1}


async def test_foreign_origin_may_not_steer(sender):
    """A browser names the page that asks."""
    fault = {"platform": "*", "kind": "hang"}
    for origin, status in (("https://attacker.example", 403), ("null", 403), (sender.sandbox.base_url, 200)):
        reply = await sender.ask("POST", "/_sandbox/faults", json=fault, headers={"Origin": origin})
        assert reply.status == status


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000", "https://localhost", "chrome-extension://localhost", "http://127.0.0.1",
        "file://", "http://127.0.0.1:{port}.attacker.example", "https://127.0.0.1:{port}", "http://localhost:{port}",
    ],
)  # fmt: skip
async def test_an_origin_is_compared_with_its_scheme_host_and_port(sender, origin):
    """Another program on this machine serves pages too, and an extension is no page of ours."""
    origin = origin.format(port=sender.sandbox.port)
    for method, path in (("POST", "faults"), ("DELETE", ""), ("POST", "clear"), ("GET", "arrivals")):
        reply = await sender.ask(method, f"/_sandbox/{path}", json=FAULT, headers={"Origin": origin})
        assert reply.status == 403
    assert sender.sandbox.faults() == []


async def test_the_sandboxs_own_origin_may_steer_by_every_name_it_has(sender):
    """The name under which the page was opened."""
    for host in (f"localhost:{sender.sandbox.port}", f"127.0.0.1:{sender.sandbox.port}"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await sender.ask("POST", "/_sandbox/faults", json=FAULT, headers=headers)).status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200), (None, 200)]
)
async def test_a_request_of_another_site_without_an_origin_may_change_nothing(sender, site, status):
    """A browser says where it comes from in one way or the other; a program says nothing."""
    headers = {"Sec-Fetch-Site": site} if site else {}
    assert (await sender.ask("POST", "/_sandbox/faults", json=FAULT, headers=headers)).status == status
    assert (await sender.ask("GET", "/_sandbox/stats", headers=headers)).status == 200


@pytest.mark.parametrize("path", ["faults", "rates", "tiktok_shop/orders", "tiktok_shop/notifications"])
@pytest.mark.parametrize(
    "deep", ["[" * 100_000, '{"a":' * 100_000, '{"platform":"snap","kind":"status","body":' * 9_000]
)
async def test_json_that_is_nested_without_end_is_refused_in_words(sender, path, deep):
    """To every path that reads a body."""
    reply = await sender.ask("POST", f"/_sandbox/{path}", data=deep)
    assert (reply.status, "error" in reply.body) == (400, True)


async def test_nested_json_in_a_fault_of_right_form_is_refused_in_words(sender):
    """Its body may be anything, up to a depth."""
    body = '{"platform":"snap","kind":"status","body":' + "[" * 100_000 + "]" * 100_000 + "}"
    reply = await sender.ask("POST", "/_sandbox/faults", data=body)
    assert (reply.status, reply.body) == (400, {"error": "the body is nested too deeply"})


@pytest.mark.parametrize("digits", [640, 641, 4_300, 4_301, 100_000])
async def test_an_integer_of_any_length_is_shown(sender, platforms, digits):
    """On the page, and by ``event``; the platform has read it too."""
    event = json.dumps(platforms["snap"].event()).replace("{", '{"n": ' + "9" * digits + ",", 1)
    await sender.ask(
        "POST",
        sender.sandbox.url("snap") + platforms["snap"].path,
        data='{"data": [' + event + "]}",
        headers={"Content-Type": "application/json"},
    )
    [arrival] = sender.sandbox.arrivals("snap")
    assert arrival.event["n"] > 1e300
    assert (await sender.ask("GET", "/")).status == 200


async def test_the_page_shows_bodies_of_one_platform_and_is_cleared(sender, platforms):
    """Bodies are escaped and bounded; the button works from the page only."""
    await sender.send("snap", platforms["snap"].event(event_id="of-snap", note="<img src=x>" + "y" * 10_000))
    await sender.send("meta", platforms["meta"].event(event_id="of-meta"))
    every, snap, meta, unknown = [
        (await sender.ask("GET", path)).body
        for path in ("/", "/?platform=snap", "/?platform=meta&still=1", "/?platform=%3Cscript%3E")
    ]
    assert ["of-snap" in page for page in (every, snap, meta, unknown)] == [True, True, False, True]
    assert ["of-meta" in page for page in (every, snap, meta, unknown)] == [True, False, True, True]
    assert ["http-equiv" in page for page in (every, snap, meta)] == [True, True, False]
    assert "&lt;img src=x&gt;" in snap
    assert "The beginning of 1" in snap
    assert not any("<img" in page or "y" * 5_000 in page for page in (every, snap, unknown))
    assert all(page.count("<script") == 1 for page in (every, snap, meta, unknown))  # our own file
    assert 'method="post" action="/_sandbox/clear"' in snap
    base = sender.sandbox.base_url
    for headers, status in (({"Origin": "https://attacker.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403)):
        assert (await sender.ask("POST", "/_sandbox/clear", headers=headers)).status == status
    assert (await sender.ask("GET", "/_sandbox/clear")).status == 404
    assert len(sender.sandbox.arrivals()) == 2
    reply = await sender.ask("POST", "/_sandbox/clear", headers={"Origin": base, "Sec-Fetch-Site": "same-origin"})
    assert (reply.status, sender.sandbox.arrivals()) == (303, [])


async def test_named_hosts_are_served_when_allowed(start):
    """For a sandbox in a container of its own."""
    sender = await start(allowed_hosts=("sandbox",))
    assert (await sender.ask("GET", "/", headers={"Host": "sandbox:8080"})).status == 200


async def test_page_shows_what_arrived_and_escapes_it(sender, platforms):
    """Names, ids and reasons come from outside."""
    hostile = "<script>alert(1)</script>"
    await sender.send("snap", platforms["snap"].event(event_name=hostile, event_id=f'"{hostile}'))
    await sender.send("cutmeshort", platforms["cutmeshort"].event(**{hostile: 1, "amount": "x"}))
    sender.sandbox.fault("snap", "status", status=503, rate=0.5, count=3)
    await sender.send("pinterest", path="/ad_accounts/1/events?test=true")
    reply = await sender.ask("GET", "/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert reply.body.count("<script") == 1  # our own file
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in reply.body
    assert "status 503" in reply.body
    assert "50% of requests" in reply.body
    assert "(test)" in reply.body
    assert f"{sender.sandbox.base_url}/pinterest" in reply.body
    assert "http-equiv" in reply.body
    assert reply.body.count("src=") == 1
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name in re.findall(r'(?:src|href)="(/_sandbox/page-[^"]+)"', reply.body):
        assert (await sender.ask("GET", name)).status == 200


async def test_the_page_is_filtered_by_verdict_and_text(sender, platforms):
    """Whatever the text: it is looked for in bodies and reasons, and shown as text."""
    await sender.send("snap", platforms["snap"].event(event_id="good-one"))
    await sender.send("snap", platforms["snap"].event(event_id="bad-one", event_time="nonsense"))
    for query, shown in (
        ("", [True, True]), ("?verdict=accepted", [True, False]), ("?verdict=refused", [False, True]),
        ("?q=GOOD-one", [True, False]), ("?q=event_time&verdict=refused", [False, True]),
        ("?q=nowhere", [False, False]), ("?verdict=%3Cscript%3E&platform=nope", [True, True]),
    ):  # fmt: skip
        page = (await sender.ask("GET", f"/{query}")).body
        assert [f"<td>{one}</td>" in page for one in ("good-one", "bad-one")] == shown, query
    hostile = (await sender.ask("GET", '/?q="><script>x</script>')).body
    assert hostile.count("<script") == 1
    assert "No such event among the newest." in hostile


async def form(sender, action, origin=None, **fields):
    """What the page's form sends."""
    headers = {"Origin": origin or sender.sandbox.base_url, "Referer": f"{sender.sandbox.base_url}/?platform=snap"}
    return await sender.ask("POST", f"/_sandbox/{action}", data=fields, headers=headers)


async def test_faults_are_turned_on_and_off_from_the_page(sender, platforms):
    """One by one, and all; then the page is shown as it was."""
    reply = await form(sender, "fault-on", platform="snap", kind="status", status="429", percent="25", count="3")
    assert (reply.status, reply.headers["Location"]) == (303, "/?platform=snap")
    await form(sender, "fault-on", platform="*", kind="latency", latency_s="0.5", percent="100", count="")
    first, second = sender.sandbox.faults()
    assert first == Fault(platform="snap", kind="status", status=429, rate=0.25, count=3)
    assert second == Fault(platform="*", kind="latency", latency_s=0.5)
    page = (await sender.ask("GET", "/?still=1")).body
    numbers = re.findall(r'name="number" value="(\d+)"', page)
    assert len(numbers) == 2
    for _ in range(2):  # pressed twice, it takes no other away
        assert (await form(sender, "fault-off", number=numbers[0])).status == 303
        assert sender.sandbox.faults() == [second]
    await form(sender, "faults-off")
    assert sender.sandbox.faults() == []


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"kind": "nonsense"}, {"kind": "status", "status": "x"}, {"kind": "status", "status": "99"},
        {"kind": "hang", "percent": "101"}, {"kind": "hang", "percent": "nan"}, {"kind": "hang", "platform": "nope"},
        {"kind": "hang", "count": "-1"}, {"kind": "latency", "latency_s": "-1"},
    ],
)  # fmt: skip
async def test_a_fault_that_cannot_be_is_refused_in_words(sender, fields):
    """As by the other way."""
    reply = await form(sender, "fault-on", **fields)
    assert (reply.status, "error" in reply.body) == (400, True)
    assert (await form(sender, "fault-off", number="x")).status == 400
    assert sender.sandbox.faults() == []


@pytest.mark.parametrize("action", ["clear", "fault-on", "fault-off", "faults-off"])
async def test_no_other_page_presses_a_button(sender, platforms, action):
    """Whatever it sends along."""
    sender.sandbox.fault("snap", "hang")
    fields = {"kind": "hang", "number": "1"}
    reply = await form(sender, action, origin="https://attacker.example", **fields)
    assert reply.status == 403
    assert (await sender.ask("GET", f"/_sandbox/{action}?kind=hang&number=1")).status == 404
    assert len(sender.sandbox.faults()) == 1


async def test_page_of_an_empty_sandbox_says_so(sender):
    """No table without rows."""
    assert "Nothing has arrived yet." in (await sender.ask("GET", "/")).body


async def test_unknown_prefix_is_not_found(sender):
    """And says what was asked for."""
    reply = await sender.ask("POST", "/nope/v3/x/events", json={})
    assert (reply.status, reply.body) == (404, {"error": "no platform /nope here"})


def test_wrong_options_are_refused_at_once():
    """With what there is to choose from."""
    for options in (
        {"rates": {"nope": None}},
        {"rates": {"snap": 0}},
        {"readings": {"nope": "x"}},
        {"readings": {"snap": "x"}},
    ):
        with pytest.raises(ValueError, match=r"no platform|has no reading|a rate needs"):
            Sandbox(**options)
    with pytest.raises(ValueError, match="no platform"):
        Sandbox().fault("nope", "hang")


async def test_sandbox_starts_once_and_closes_twice():
    """What arrived stays readable after the end."""
    async with Sandbox() as sandbox:
        with pytest.raises(RuntimeError):
            await sandbox.start()
        assert sandbox.url("snap") == f"http://127.0.0.1:{sandbox.port}/snap"
        assert sandbox.platforms == (*PLAYED, "tiktok_shop")
    await sandbox.aclose()
    assert sandbox.arrivals() == []


async def test_serve_runs_until_cancelled(session):
    """And tells when the port is bound."""
    bound: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(seed=1, ready=bound.set_result, rates={"cutmeshort": None}))
    sandbox = await bound
    async with session.get(f"{sandbox.base_url}/_sandbox/rates") as response:
        assert (await response.json())["cutmeshort"] is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get(f"{sandbox.base_url}/_sandbox/rates")


def test_arrival_decodes_its_event_when_asked():
    """Until then it holds the bytes."""
    arrival = Arrival("snap", "a", msgspec.Raw(b'{"x":1}'), True, "", 1, False, 0.0)
    assert arrival.event == {"x": 1}
