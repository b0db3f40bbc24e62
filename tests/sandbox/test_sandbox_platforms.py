"""What each platform takes and refuses, in its own words."""

from __future__ import annotations

import gzip
import io
import json
import time

import pytest

NOW = 1_790_000_000
DAY = 86_400
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
DIGEST = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
ALL = ("snap", "snap_v2", "pinterest", "tiktok", "tiktok_pixel", "cutmeshort", "meta", "reddit", "linkedin")
EXTINFO = ["a2", "com.some.app", "771", "Version 7.7.1", "10.1.1"] + [""] * 11

SUCCESS = {
    "snap": {"status": "VALID", "reason": "Events have been processed successfully."},
    "snap_v2": {"status": "SUCCESS", "reason": "All records processed"},
    "pinterest": {
        "num_events_received": 1,
        "num_events_processed": 1,
        "events": [{"status": "processed", "error_message": "", "warning_message": ""}],
    },
    "tiktok": {"code": 0, "message": "OK", "data": {}},
    "tiktok_pixel": {"code": 0, "message": "OK", "data": {}},
    "cutmeshort": {"status": True, "data": "successful"},
    "meta": {"events_received": 1, "messages": []},
    "reddit": {"data": {"message": "Successfully processed 1 conversion events."}},
    "linkedin": {"elements": [{"status": 201}]},
}


@pytest.mark.parametrize("platform", ALL)
async def test_good_event_is_taken_and_recorded(sender, platforms, platform):
    """The answer is the platform's success, and the arrival holds the wire object as it was sent."""
    reply = await sender.send(platform)
    body = {key: value for key, value in reply.body.items() if key not in ("request_id", "fbtrace_id")}
    assert (reply.status, body) == (200, SUCCESS[platform])
    [arrival] = sender.sandbox.arrivals(platform)
    assert arrival.event == platforms[platform].event()
    assert (arrival.accepted, arrival.reason, arrival.request, arrival.test) == (True, "", 1, False)
    assert sender.sandbox.details()[platform]["unknown_keys"] == {}


@pytest.mark.parametrize(
    ("platform", "missing", "wrong"),
    [
        ("snap", (401, ("reason", "Invalid token")), (401, ("reason", "Invalid token"))),
        ("snap_v2", (401, ("reason", "Invalid token")), (401, ("reason", "Invalid token"))),
        ("pinterest", (401, ("code", 2)), (401, ("code", 2))),
        ("tiktok", (401, ("code", 40104)), (401, ("code", 40105))),
        ("tiktok_pixel", (200, ("code", 40104)), (200, ("code", 40105))),
        ("cutmeshort", (401, ("type", "UnauthorizedError")), (401, ("type", "UnauthorizedError"))),
        ("meta", (401, ("code", 190)), (401, ("code", 190))),
        ("linkedin", (401, ("serviceErrorCode", 65600)), (401, ("serviceErrorCode", 65600))),
    ],
)
async def test_bad_token_gets_the_platforms_own_refusal(sender, platforms, platform, missing, wrong):
    """A missing token and a wrong one are refused before any event is looked at."""
    path = platforms[platform].path.partition("?")[0]
    for headers, expected in (
        ({}, missing),
        ({"Authorization": "Bearer nope", "Access-Token": "Bearer sandbox-token"}, wrong),
    ):
        reply = await sender.send(platform, path=path, headers=headers)
        body = reply.body.get("error", reply.body) if platform == "meta" else reply.body
        key, value = expected[1]
        assert (reply.status, body[key]) == (expected[0], value)
    assert sender.sandbox.arrivals() == []
    assert sender.sandbox.stats()[platform].requests == 2
    assert sender.sandbox.details()[platform]["refused_requests"] == {"bad token": 2}


@pytest.mark.parametrize(
    ("platform", "path", "body", "status", "pick", "value"),
    [
        ("snap", "/v3/not-a-pixel/events?access_token=sandbox-token", None, 403, ("status",), "INVALID"),
        ("pinterest", "/ad_accounts/abc/events", None, 403, ("code",), 29),
        ("pinterest", "/ad_accounts/1234567890123456789/events", None, 403, ("code",), 29),
        ("meta", "/v26.0/me/events", None, 400, ("error", "error_subcode"), 33),
    ],
)
async def test_malformed_account_does_not_exist(sender, platform, path, body, status, pick, value):
    """An id that cannot exist is refused as one that does not."""
    reply = await sender.send(platform, path=path, body=body)
    found = reply.body
    for key in pick:
        found = found[key]
    assert (reply.status, found) == (status, value)


async def test_malformed_account_in_the_body_does_not_exist(sender, platforms):
    """TikTok repeats the id in its message; Snap v2 keeps it inside the event."""
    reply = await sender.send(
        "tiktok", body={"event_source": "web", "event_source_id": "bad", "data": [platforms["tiktok"].event()]}
    )
    assert (reply.status, reply.body["code"]) == (401, 40001)
    assert "bad" in reply.body["message"]
    reply = await sender.send("tiktok_pixel", body={"pixel_code": "bad", "batch": [platforms["tiktok_pixel"].event()]})
    assert (reply.status, reply.body["code"]) == (200, 40001)
    reply = await sender.send("snap_v2", platforms["snap_v2"].event(pixel_id="bad"))
    assert (reply.status, reply.body["status"]) == (403, "FAILED")


# One row per rule: the change that breaks it, and a word of the reason.
BROKEN = [
    ("snap", {"event_name": "LEAD"}, "event_name"),
    ("snap", {"event_name": ...}, "event_name: required"),
    ("snap", {"action_source": "WEBSITES"}, "action_source"),
    ("snap", {"event_source_url": ...}, "event_source_url"),
    ("snap", {"event_time": str(NOW)}, "event_time"),
    ("snap", {"event_time": NOW - 7 * DAY - 1}, "older than 7 days"),
    ("snap", {"event_time": NOW + 301}, "future"),
    ("snap", {"user_data": {"sc_click_id": "x"}}, "insufficient PII"),
    ("snap", {"user_data": {"client_ip_address": "203.0.113.7"}}, "insufficient PII"),
    ("snap", {"user_data": {"madid": "x"}}, "insufficient PII"),
    ("snap", {"user_data__em": ["jane@example.com"]}, "user_data.em.0: must be a SHA-256"),
    ("snap", {"user_data__ph": [DIGEST.upper()]}, "user_data.ph.0: must be a SHA-256"),
    ("snap", {"user_data__fn": [DIGEST, EMPTY]}, "user_data.fn.1: must be a SHA-256"),
    ("snap", {"user_data__client_ip_address": DIGEST}, "client_ip_address"),
    ("snap", {"custom_data": ...}, "PURCHASE needs value"),
    ("snap", {"custom_data__currency": ...}, "PURCHASE needs value"),
    ("snap", {"custom_data__currency": "usd"}, "custom_data.currency"),
    ("snap", {"custom_data__value": "ten"}, "not a number"),
    ("snap", {"action_source": "MOBILE_APP"}, "app_data"),
    (
        "snap",
        {
            "action_source": "MOBILE_APP",
            "app_data": {"app_id": "1", "advertiser_tracking_enabled": 1, "extinfo": EXTINFO[:15]},
        },
        "extinfo",
    ),
    ("snap_v2", {"event_type": "LEAD"}, "event_type"),
    ("snap_v2", {"event_conversion_type": "web"}, "event_conversion_type"),
    ("snap_v2", {"page_url": ...}, "page_url"),
    ("snap_v2", {"timestamp": NOW}, "timestamp"),
    ("snap_v2", {"timestamp": str((NOW - 37 * DAY - 1) * 1000)}, "older than 37 days"),
    ("snap_v2", {"hashed_email": "jane@example.com"}, "hashed_email: must be a SHA-256"),
    ("snap_v2", {"hashed_ip_address": "203.0.113.7"}, "hashed_ip_address: must be a SHA-256"),
    ("snap_v2", {"hashed_first_name_sdx": "田000"}, "hashed_first_name_sdx"),
    ("snap_v2", {"hashed_email": ""}, "insufficient PII"),
    ("snap_v2", {"price": ...}, "PURCHASE needs price"),
    ("snap_v2", {"price": 10}, "price"),
    ("snap_v2", {"event_conversion_type": "MOBILE_APP"}, "snap_app_id"),
    ("pinterest", {"event_id": ...}, "event_id"),
    ("pinterest", {"custom_data__value": 72.39}, "custom_data.value"),
    ("pinterest", {"custom_data__num_items": "3"}, "custom_data.num_items"),
    ("pinterest", {"custom_data__category_name": "x"}, "custom_data.category_name: unexpected property"),
    ("pinterest", {"colour": "red"}, "colour: unexpected property"),
    ("pinterest", {"user_data__em": DIGEST}, "user_data.em"),
    ("pinterest", {"user_data__em": ["jane@example.com"]}, "user_data.em.0: must be a SHA-256"),
    ("pinterest", {"device_info": {"os_family": "beos"}}, "device_info.os_family"),
    ("pinterest", {"action_source": "website"}, "invalid action_source"),
    ("pinterest", {"event_name": "check out"}, "invalid event_name"),
    ("pinterest", {"user_data": {"ph": [DIGEST]}}, "user_data needs"),
    ("pinterest", {"user_data": {"client_ip_address": "203.0.113.7"}}, "user_data needs"),
    ("pinterest", {"event_time": NOW - 7 * DAY - 1}, "older than 7 days"),
    ("pinterest", {"event_time": NOW + 301}, "future"),
    ("tiktok", {"event": ...}, "event"),
    ("tiktok", {"event_id": 1}, "event_id"),
    ("tiktok", {"event_time": NOW - 7 * DAY - 1}, "older than 7 days"),
    ("tiktok", {"page": ...}, "page.url"),
    ("tiktok", {"page__url": "shop.example"}, "page.url"),
    ("tiktok", {"properties__value": "72.39"}, "properties.value"),
    ("tiktok", {"user__phone": "+14155552671"}, "user.phone: must be a SHA-256"),
    ("tiktok_pixel", {"type": ...}, "type"),
    ("tiktok_pixel", {"type": "page"}, "type"),
    ("tiktok_pixel", {"timestamp": "2026-09-21T14:13:20"}, "timestamp"),
    ("tiktok_pixel", {"timestamp": "2026-09-21 14:13:20-03:00"}, "timestamp"),
    ("tiktok_pixel", {"timestamp": NOW}, "timestamp"),
    ("tiktok_pixel", {"timestamp": "2026-09-01T14:13:20Z"}, "older than 7 days"),
    ("tiktok_pixel", {"timestamp": "2026-13-41T14:13:20Z"}, "timestamp"),
    ("tiktok_pixel", {"context__user__email": "jane@example.com"}, "context.user.email: must be a SHA-256"),
    ("cutmeshort", {"customerExternalId": ...}, "customerExternalId"),
    ("cutmeshort", {"eventName": " "}, "eventName"),
    ("cutmeshort", {"invoiceId": ""}, "invoiceId"),
    ("cutmeshort", {"amount": "49.99"}, "amount"),
    ("cutmeshort", {"amount": True}, "amount"),
    ("cutmeshort", {"amount": -1}, "amount"),
    ("cutmeshort", {"currency": "usd"}, "currency"),
    ("cutmeshort", {"customerEmail": DIGEST}, "customerEmail"),
    ("cutmeshort", {"timestamp": "2026-09-21T14:13:20"}, "timestamp"),
    ("cutmeshort", {"timestamp": "2026-09-21T15:13:20Z"}, "future"),
    ("meta", {"event_time": NOW - 7 * DAY - 1}, "older than 7 days"),
    ("meta", {"event_time": NOW + 61}, "future"),
    ("meta", {"event_time": float(NOW) + 0.5}, "event_time"),
    ("meta", {"action_source": "web"}, "action_source"),
    ("meta", {"event_source_url": ...}, "event_source_url"),
    ("meta", {"event_name": "x" * 51}, "event_name"),
    ("meta", {"custom_data": ...}, "Purchase needs value"),
    ("meta", {"custom_data__contents": [{"id": "1"}]}, "custom_data.contents.0.quantity"),
    ("meta", {"user_data": {"em": "jane@example.com"}}, "user_data.em: must be a SHA-256"),
    ("meta", {"user_data": {"fn": [DIGEST], "ge": [DIGEST]}}, "too broad"),
    ("meta", {"user_data": {"client_user_agent": "UA", "ct": DIGEST}}, "too broad"),
    ("meta", {"user_data": {}}, "too broad"),
    ("meta", {"user_data__fbc": "IwAR1aBcD"}, "user_data.fbc"),
    ("meta", {"action_source": "app"}, "app_data"),
    (
        "meta",
        {
            "action_source": "app",
            "app_data": {
                "advertiser_tracking_enabled": 1,
                "application_tracking_enabled": 1,
                "extinfo": ["x2", *EXTINFO[1:]],
            },
        },
        "extinfo",
    ),
    ("meta", {"action_source": "business_messaging"}, "messaging_channel"),
    ("meta", {"data_processing_options": ["LDU"], "data_processing_options_country": 1}, "_state"),
]


@pytest.mark.parametrize(("platform", "changes", "reason"), BROKEN)
async def test_broken_rule_refuses_the_event(sender, platforms, platform, changes, reason):
    """The arrival says which field and why; the platform says no."""
    reply = await sender.send(platform, platforms[platform].event(**changes))
    [arrival] = sender.sandbox.arrivals(platform)
    assert not arrival.accepted
    assert reason in arrival.reason
    assert reply.body.get("code") != 0
    assert sender.sandbox.stats()[platform].accepted == 0
    partial = platform == "pinterest" and reply.status == 200
    assert partial == (platform == "pinterest" and "data." not in str(reply.body))


TAKEN = [
    ("snap", {"event_name": "purchase", "action_source": "website"}),
    ("snap", {"event_time": NOW * 1000}),
    ("snap", {"user_data": {"client_ip_address": "2001:db8::1", "client_user_agent": "UA"}}),
    (
        "snap",
        {
            "action_source": "MOBILE_APP",
            "user_data": {"madid": "x"},
            "app_data": {"app_id": "1", "advertiser_tracking_enabled": 1, "extinfo": EXTINFO},
        },
    ),
    ("snap_v2", {"hashed_first_name_sha": "", "hashed_first_name_sdx": "T231", "data_use": ["lmu"]}),
    ("snap_v2", {"timestamp": str(NOW)}),
    ("pinterest", {"action_source": "app_ios", "user_data": {"hashed_maids": [DIGEST]}}),
    ("pinterest", {"event_name": "subscription"}),
    ("tiktok", {"user": ...}),
    ("tiktok", {"properties__anything": {"goes": 1}}),
    ("tiktok_pixel", {"context__page": {"url": None}}),
    ("tiktok_pixel", {"timestamp": "2026-09-21T11:13:20.123-03:00"}),
    ("cutmeshort", {"amount": 49.99}),
    ("cutmeshort", {"clickId": ...}),
    ("meta", {"action_source": "physical_store", "event_time": NOW - 61 * DAY}),
    ("meta", {"user_data": {"em": DIGEST + ".AQYBAQAB"}}),
    ("meta", {"user_data": {"fn": DIGEST, "ln": DIGEST}}),
    ("meta", {"event_time": NOW + 59}),
]


@pytest.mark.parametrize(("platform", "changes"), TAKEN)
async def test_unusual_but_legal_event_is_taken(sender, platforms, platform, changes):
    """Strict is not narrower than the platform."""
    await sender.send(platform, platforms[platform].event(**changes))
    [arrival] = sender.sandbox.arrivals()
    assert (arrival.accepted, arrival.reason) == (True, "")


@pytest.mark.parametrize("platform", ["snap", "tiktok", "meta"])
async def test_one_bad_event_refuses_an_atomic_batch(sender, platforms, platform):
    """Nothing of the batch is taken, and the answer names the bad one in the platform's way."""
    it = platforms[platform]
    reply = await sender.send(platform, it.event(event_id="a"), it.event(event_id="b", event_time=1), it.event())
    assert [arrival.accepted for arrival in sender.sandbox.arrivals()] == [False, False, False]
    assert [arrival.reason for arrival in sender.sandbox.arrivals()][::2] == ["refused with event 1 of its batch"] * 2
    stats = sender.sandbox.stats()[platform]
    assert (stats.events, stats.accepted) == (3, 0)
    match platform:
        case "snap":
            assert (reply.status, reply.body["status"], reply.body["event"]) == (400, "INVALID", 2)
            assert reply.body["errors"] == {"codes": ["517"], "error_msgs": ["event_time: older than 7 days"]}
        case "tiktok":
            assert (reply.status, reply.body["code"]) == (200, 40002)
            assert reply.body["message"].startswith("Batch.1.event_time:")
        case "meta":
            assert (reply.status, reply.body["error"]["code"]) == (400, 100)
            assert reply.body["error"]["error_subcode"] == 2804003


async def test_tiktok_names_the_row_and_the_list_position(sender, platforms):
    """The documented wording of a content id that is a number."""
    it = platforms["tiktok"]
    bad = it.event()
    bad["properties"]["contents"][1]["content_id"] = 5
    reply = await sender.send("tiktok", it.event(), bad)
    assert reply.body["message"] == "Batch.1.properties.contents.1.content_id: Not a valid string"
    reply = await sender.send("tiktok", it.event(event=...))
    assert reply.body["message"] == "Batch.0.event: Missing data for required field."
    reply = await sender.send("tiktok", it.event(user__email="x"))
    assert reply.body["code"] == 40062


async def test_snap_v2_takes_the_good_records_of_a_batch(sender, platforms):
    """The bad ones are named by index, counted from 0, grouped by reason."""
    it = platforms["snap_v2"]
    bad = it.event(price=...)
    reply = await sender.send("snap_v2", bad, it.event(), bad)
    assert (reply.status, reply.body["status"], reply.body["reason"]) == (400, "FAILED", "Some records failed")
    assert reply.body["error_records"] == [
        {"reason": "price: PURCHASE needs price and currency", "record_indexes": [0, 2]}
    ]
    assert [arrival.accepted for arrival in sender.sandbox.arrivals()] == [False, True, False]


async def test_snap_v2_takes_nothing_under_the_atomic_reading(start, platforms):
    """The other answer to what no source settles."""
    sender = await start(readings={"snap_v2": ("atomic", "one_based")})
    it = platforms["snap_v2"]
    reply = await sender.send("snap_v2", it.event(price=...), it.event())
    assert reply.body["error_records"][0]["record_indexes"] == [1]
    assert sender.sandbox.stats()["snap_v2"].accepted == 0


async def test_snap_v2_takes_a_lone_object_and_follows_the_relay_header(sender, platforms):
    """Both occur in Snap's own material."""
    it = platforms["snap_v2"]
    assert (await sender.send("snap_v2", body=it.event())).status == 200
    headers = {**it.headers, "X-CAPI-Path": "/v2/conversion/validate"}
    assert "validated_fields" in (await sender.send("snap_v2", headers=headers)).body
    assert [arrival.test for arrival in sender.sandbox.arrivals()] == [False, True]


async def test_pinterest_fails_single_events_inside_a_200(sender, platforms):
    """Semantic failures cost one event; the list follows the order of the request."""
    it = platforms["pinterest"]
    reply = await sender.send("pinterest", it.event(), it.event(event_id="b", event_time=1), it.event(event_id="c"))
    assert (reply.status, reply.body["num_events_received"], reply.body["num_events_processed"]) == (200, 3, 2)
    assert [event["status"] for event in reply.body["events"]] == ["processed", "failed", "processed"]
    assert sender.sandbox.stats()["pinterest"].accepted == 2


async def test_pinterest_reports_them_in_a_422_under_that_reading(start, platforms):
    """The details hold what the 200 would have held."""
    sender = await start(readings={"pinterest": "partial_422"})
    it = platforms["pinterest"]
    reply = await sender.send("pinterest", it.event(), it.event(event_time=1))
    assert (reply.status, len(reply.body["details"]["events"])) == (422, 2)


async def test_pinterest_refuses_the_batch_for_one_stray_key(sender, platforms):
    """400 code 4196, nothing taken."""
    it = platforms["pinterest"]
    reply = await sender.send("pinterest", it.event(), it.event(colour="red"))
    assert (reply.status, reply.body["code"], reply.body["status"]) == (400, 4196, "failure")
    assert "data.1.colour" in reply.body["message"]
    assert sender.sandbox.stats()["pinterest"].accepted == 0


async def test_pinterest_processes_twenty_events_of_a_test(sender, platforms):
    """Test mode answers like live, records nothing, and stops at 20."""
    it = platforms["pinterest"]
    events = [it.event(event_id=str(number)) for number in range(21)]
    reply = await sender.send("pinterest", *events, path=it.path + "?test=True")
    assert (reply.body["num_events_received"], reply.body["num_events_processed"]) == (21, 20)
    assert (sender.sandbox.stats()["pinterest"].accepted, sender.sandbox.details()["pinterest"]["test"]) == (0, 20)


@pytest.mark.parametrize(
    ("platform", "limit", "status", "pick", "value"),
    [
        ("snap", 2_000, 400, ("status",), "INVALID"),
        ("snap_v2", 2_000, 400, ("status",), "FAILED"),
        ("pinterest", 1_000, 400, ("code",), 4196),
        ("tiktok", 1_000, 200, ("code",), 40002),
        ("tiktok_pixel", 50, 200, ("code",), 40061),
        ("meta", 1_000, 400, ("error", "code"), 100),
    ],
)
async def test_batch_over_or_under_the_limit_is_refused(sender, platforms, platform, limit, status, pick, value):
    """One more than the documented number, and none at all."""
    for events in ([{}] * (limit + 1), []):
        reply = await sender.send(platform, body=platforms[platform].wrap(events))
        found = reply.body
        for key in pick:
            found = found[key]
        assert (reply.status, found) == (status, value)
    assert sender.sandbox.details()[platform]["refused_requests"] == {"batch size": 2}


@pytest.mark.parametrize(
    ("platform", "limit"),
    [("snap", 2_000_000), ("snap_v2", 2_000_000), ("pinterest", 2_000_000), ("tiktok", 1_000_000), ("meta", 4 << 20)],
)
async def test_request_over_the_byte_limit_gets_413(sender, platforms, platform, limit):
    """In the platform's own shape, so that a client can split."""
    it = platforms[platform]
    url = sender.sandbox.url(platform) + it.path
    headers = {**it.headers, "Content-Type": "application/json"}
    reply = await sender.ask("POST", url, data=io.BytesIO(b" " * (limit + 1)), headers=headers)
    assert reply.status == 413
    assert isinstance(reply.body, dict)


@pytest.mark.parametrize("platform", ALL)
async def test_malformed_body_is_refused_without_arrivals(sender, platforms, platform):
    """Not JSON, another shape, another content type, bytes that are no UTF-8."""
    it = platforms[platform]
    url = sender.sandbox.url(platform) + it.path
    good = json.dumps(it.wrap([it.event()])).encode()
    for body, content_type in (
        (b"{", "application/json"),
        (b'"text"', "application/json"),
        (good, "text/plain"),
        (b'[{"a":"\xff"}', "application/json"),
    ):
        reply = await sender.ask("POST", url, data=body, headers={**it.headers, "Content-Type": content_type})
        assert reply.status >= 400 or reply.body["code"] == 40002
    assert sender.sandbox.arrivals() == []


@pytest.mark.parametrize("platform", ALL)
async def test_event_that_is_no_object_is_refused(sender, platforms, platform):
    """A number, a list or broken UTF-8 where an event should be never ends in a 500."""
    it = platforms[platform]
    reply = await sender.send(platform, body=it.wrap([5]) if platform != "cutmeshort" else [5])
    assert reply.status != 500
    text = json.dumps(it.wrap([it.event(spoilt="\u0001")])).encode().replace(b"\\u0001", b"\xff")
    headers = {**it.headers, "Content-Type": "application/json"}
    reply = await sender.ask("POST", sender.sandbox.url(platform) + it.path, data=text, headers=headers)
    assert reply.status == 400
    huge = json.dumps(it.wrap([it.event(event_time=1)])).replace('"event_time": 1', '"event_time": 1e999').encode()
    reply = await sender.ask("POST", sender.sandbox.url(platform) + it.path, data=huge, headers=headers)
    assert reply.status != 500
    assert all(arrival.event is not None for arrival in sender.sandbox.arrivals())
    # What is no JSON must not make the record unreadable.
    assert len((await sender.ask("GET", "/_sandbox/arrivals")).body) == len(sender.sandbox.arrivals())
    assert (await sender.ask("GET", "/")).status == 200


async def test_nesting_without_end_is_refused(sender, platforms):
    """Not even that ends in a 500."""
    it = platforms["snap"]
    body = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {"Content-Type": "application/json"}
    assert (await sender.ask("POST", sender.sandbox.url("snap") + it.path, data=body, headers=headers)).status == 400


@pytest.mark.parametrize("platform", ALL)
async def test_wrong_path_and_method_are_refused(sender, platforms, platform):
    """A double slash, a missing or an extra part, a GET."""
    it = platforms[platform]
    path, _, query = it.path.partition("?")
    for wrong in ("/" + path, path + "x", "/"):
        reply = await sender.send(platform, path=f"{wrong}?{query}")
        assert reply.status == 404
    reply = await sender.ask("GET", sender.sandbox.url(platform) + it.path, headers=it.headers)
    assert reply.status == 405


async def test_tiktok_wants_its_last_slash_and_its_version(sender):
    """40400 is what a missing slash earns."""
    for path in ("/open_api/v1.3/event/track", "/open_api/v1.2/event/track/"):
        reply = await sender.send("tiktok", path=path)
        assert (reply.status, reply.body["code"]) == (404, 40400)


async def test_gzip_bodies_are_read(sender, platforms):
    """As every platform's front does."""
    it = platforms["meta"]
    headers = {**it.headers, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(it.wrap([it.event()])).encode())
    assert (await sender.ask("POST", sender.sandbox.url("meta") + it.path, data=body, headers=headers)).status == 200


async def test_meta_reads_forms_and_tokens_where_the_sdk_puts_them(sender, platforms):
    """data is one JSON text of JSON texts, with the token beside it; JSON bodies have it inside or in the query."""
    it = platforms["meta"]
    url = sender.sandbox.url("meta") + it.path
    form = {"data": json.dumps([json.dumps(it.event())]), "access_token": "sandbox-token", "test_event_code": "TEST1"}
    assert (await sender.ask("POST", url, data=form)).body["events_received"] == 1
    assert sender.sandbox.arrivals()[0].test
    assert sender.sandbox.stats()["meta"].accepted == 1  # test events are real there
    for options in (
        {"data": {**form, "data": json.dumps([it.event()])}},
        {"json": {"data": [it.event()], "access_token": "sandbox-token"}},
        {"json": {"data": [it.event()]}, "params": {"access_token": "sandbox-token"}},
    ):
        assert (await sender.ask("POST", url, **options)).status == 200
    for options in (
        {"data": {**form, "access_token": "x"}},
        {"data": {**form, "data": "x"}},
        {"data": {**form, "data": '["{"]'}},
        {"json": {"data": []}},
    ):
        assert (await sender.ask("POST", url, **options)).status in (400, 401)


async def test_tiktok_pixel_track_takes_one_event(sender, platforms):
    """The single endpoint: the pixel code and the test code stand beside the event."""
    event = {"pixel_code": "CEXAMPLE0000000000AA", **platforms["tiktok_pixel"].event(type=...)}
    path = "/open_api/v1.3/pixel/track/"
    assert (await sender.send("tiktok_pixel", path=path, body=event)).body["code"] == 0
    await sender.send("tiktok_pixel", path=path, body={**event, "test_event_code": "T1"})
    assert [arrival.test for arrival in sender.sandbox.arrivals()] == [False, True]
    assert sender.sandbox.stats()["tiktok_pixel"].accepted == 1


async def test_tiktok_pixel_readings(start, platforms):
    """Partial success with 20001, and the forms that pytt-events-api sends."""
    sender = await start(readings={"tiktok_pixel": ("partial", "tolerant")})
    it = platforms["tiktok_pixel"]
    reply = await sender.send(
        "tiktok_pixel", it.event(type=..., timestamp="2026-09-21 11:13:20-03:00"), it.event(event=5)
    )
    assert reply.body["code"] == 20001
    assert [arrival.accepted for arrival in sender.sandbox.arrivals()] == [True, False]


async def test_tiktok_offline_events_may_be_older(sender, platforms):
    """28 days, and no page."""
    event = platforms["tiktok"].event(event_time=NOW - 27 * DAY, page=...)
    body = {"event_source": "offline", "event_source_id": "7123456789012345678", "data": [event]}
    assert (await sender.send("tiktok", body=body)).body["code"] == 0
    assert (await sender.send("tiktok", body={**body, "event_source": "shop"})).body["code"] == 40002
    assert (await sender.send("tiktok", body={**body, "event_source": "app"})).body["code"] == 40002


async def test_cutmeshort_remembers_the_deferred_association(start, platforms):
    """A follow-up without click id finds the customer that a deferred lead has stored."""
    sender = await start(readings={"cutmeshort": "association_required"})
    lead = {"eventName": "kyc_completed", "customerExternalId": "user_42"}
    assert (await sender.send("cutmeshort", path="/track/lead", body=lead)).status == 404
    for mode in ("", "Deferred"):
        reply = await sender.send("cutmeshort", path="/track/lead", body={**lead, "clickId": "id_1", "mode": mode})
        assert reply.status == 422
    assert (await sender.send("cutmeshort", path="/track/lead", body={**lead, "mode": "deferred"})).status == 422
    stored = {**lead, "clickId": "id_1", "mode": "deferred"}
    assert (await sender.send("cutmeshort", path="/track/lead", body=stored)).status == 200
    assert (await sender.send("cutmeshort", path="/track/lead", body=lead)).status == 200
    sale = platforms["cutmeshort"].event(clickId=..., customerExternalId="user_42")
    assert (await sender.send("cutmeshort", sale)).status == 200


async def test_cutmeshort_counts_the_unattributed(sender):
    """By default such a follow-up is taken, and noted."""
    lead = {"eventName": "kyc_completed", "customerExternalId": "user_42"}
    assert (await sender.send("cutmeshort", path="/track/lead", body=lead)).status == 200
    assert sender.sandbox.details()["cutmeshort"]["warnings"] == {"unattributed": 1}


async def test_cutmeshort_readings(start, platforms):
    """409 for a repeated invoice, and the age limit of one SDK."""
    sender = await start(readings={"cutmeshort": ("conflict", "one_day")})
    assert [(await sender.send("cutmeshort")).status for _ in range(2)] == [200, 409]
    old = platforms["cutmeshort"].event(invoiceId="2", timestamp="2026-09-20T14:13:19Z")
    assert (await sender.send("cutmeshort", old)).status == 422


async def test_snap_readings(start, platforms):
    """Counted from 0, and a 400 that names the token."""
    sender = await start(readings={"snap": ("zero_based", "token_400")})
    it = platforms["snap"]
    assert (await sender.send("snap", it.event(), it.event(event_time=1))).body["event"] == 1
    reply = await sender.send("snap", path=it.path.replace("sandbox-token", "x"))
    assert (reply.status, reply.body["reason"]) == (400, "Invalid token")


async def test_snap_validate_reports_each_event_and_feeds_logs_and_stats(sender, platforms, clock):
    """Test events are not conversions; the logs hold them for 24 hours, the stats count the last hour."""
    it = platforms["snap"]
    path = it.path.replace("/events?", "/events/validate?")
    reply = await sender.send("snap", it.event(event_name="purchase"), it.event(event_time=1), path=path)
    assert (reply.status, reply.body["test_event"], reply.body["status"]) == (400, True, "INVALID")
    assert [(log["event"], log["status"]) for log in reply.body["event_logs"]] == [(1, "VALID"), (2, "INVALID")]
    assert sender.sandbox.stats()["snap"].accepted == 0
    await sender.send("snap")
    logs = await sender.ask("GET", sender.sandbox.url("snap") + path.replace("validate?", "validate/logs?"))
    assert (logs.body["status"], len(logs.body["logs"])) == ("SUCCESS", 2)
    first = logs.body["logs"][0]
    assert (first["event_name"], first["raw_event_name"], first["event_time"]) == ("PURCHASE", "purchase", str(NOW))
    assert logs.body["logs"][1]["error_records"] == ["event_time: older than 7 days"]
    stats_url = sender.sandbox.url("snap") + path.replace("validate?", "validate/stats?")
    stats = (await sender.ask("GET", stats_url)).body["stats"]
    assert stats["test"] == {"latest_event_ts": NOW * 1000, "event_count_past_hour": 1}
    assert stats["live"]["event_count_past_hour"] == 1
    clock.now += DAY
    assert (await sender.ask("GET", stats_url)).body["stats"]["live"]["event_count_past_hour"] == 0
    logs = await sender.ask("GET", sender.sandbox.url("snap") + path.replace("validate?", "validate/logs?"))
    assert logs.body["logs"] == []


async def test_snap_v2_validate_logs_and_stats(sender, platforms):
    """The shapes of Snap's Python SDK."""
    it = platforms["snap_v2"]
    reply = await sender.send("snap_v2", it.event(), it.event(price=...), path="/v2/conversion/validate")
    assert set(reply.body) == {"status", "reason", "error_records", "warning_records", "validated_fields"}
    assert reply.body["validated_fields"][0]["validated_fields"]["price"] == "10"
    base = sender.sandbox.url("snap_v2") + "/v2/conversion/validate/"
    asset = {"asset_id": it.event()["pixel_id"]}
    logs = (await sender.ask("GET", base + "logs", params=asset, headers=it.headers)).body["logs"]
    assert [log["status"] for log in logs] == ["SUCCESS", "FAILED"]
    stats = (await sender.ask("GET", base + "stats", params=asset, headers=it.headers)).body["stats"]
    assert stats["test"]["event_count_past_hour"] == 1
    assert (await sender.ask("GET", base + "logs", headers=it.headers)).status == 400


async def test_unknown_keys_are_overlooked_where_the_platform_does_and_counted(sender, platforms):
    """A misspelt name never hides: the detail names its path."""
    await sender.send("tiktok", platforms["tiktok"].event(user__ttclidX="1"))
    await sender.send("snap", platforms["snap"].event(user_data__mobile_ad_id="1", colour="red"))
    assert all(arrival.accepted for arrival in sender.sandbox.arrivals())
    details = sender.sandbox.details()
    assert details["tiktok"]["unknown_keys"] == {"user.ttclidX": 1}
    assert details["snap"]["unknown_keys"] == {"user_data.mobile_ad_id": 1, "colour": 1}


def test_the_clock_of_these_tests_matches_their_texts():
    """The ISO texts above are the hand-driven clock's own second."""
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW)) == "2026-09-21T14:13:20Z"
