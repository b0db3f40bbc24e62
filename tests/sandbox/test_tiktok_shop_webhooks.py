"""TikTok Shop: what the sender of webhooks sends, to whom, how often, and how wrong when told to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import pytest

from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET
from capi_async.sandbox.platforms.tiktok_shop.signing import bare_webhook_sign, timed_webhook_sign, webhook_sign
from tests.sandbox.shop import US_ID, Caller, Receiver, receiving

HOOKS = "/event/202309/webhooks"
W3 = (
    b'{"type":1,"tts_notification_id":"7380066284010030891","shop_id":"7495540735365777507","timestamp":1718309185,'
    b'"data":{"is_on_hold_order":false,"order_id":"576461413038785752","order_status":"AWAITING_SHIPMENT",'
    b'"update_time":1718309180}}'
)
W4 = (
    b'{"type":1,"tts_notification_id":"7380066284010030892","shop_id":"7495540735365777507","timestamp":1718312785,'
    b'"data":{"is_on_hold_order":false,"order_id":"576461413038785752","order_status":"CANCEL",'
    b'"update_time":1718312780}}'
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def hexed(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("key", "secret", "body", "digest"),
    [
        (
            "abcdef",
            "123",
            b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507",'
            b'"timestamp":1718305585,"data":{"is_on_hold_order":true,"order_id":"576653688135258178",'
            b'"order_status":"UNPAID","update_time":1718305585}}',
            "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05",
        ),
        (
            "fake_app_key",
            "fake_app_secret",
            b'{"type":1,"shop_id":"7494726673780148744","timestamp":1664095733,"data":{"order_id":'
            b'"576684019603311365","order_status":"AWAITING_SHIPMENT","update_time":1664095610}}',
            "21109834de72ec53c9959716d8514ae388ce1f123e5ffdcafc46713fcdf62b27",
        ),
        ("68xu9ks5p4i8", "e59af819cc", W3, "11fec99a99c8436427953c257f2ce26d4f7fef0462055c1b11c71df2310fc47d"),
        ("68xu9ks5p4i8", "e59af819cc", W4, "f3c41f4b70957f7871c8407db9c5c4392295b0698b767c1ddbba134c5ea896ef"),
    ],
)
def test_official_signature_of_the_vectors(key, secret, body, digest):
    """W1 to W4."""
    assert webhook_sign(key, secret, body) == digest


def test_legacy_signatures_of_the_vectors():
    """S1 to S3."""
    secret, clock = "e59af819cc", "1718309185"
    first = "ced474934401818c6d095175d67b745a5dac70b855847f6cd010e7eb8e84efd3"
    assert timed_webhook_sign(secret, clock, W3) == first
    second = "ec1d087aa81dde9820d04ceb8d2adc2477fff7c3252b7d7d3ce5158ea5f50260"
    assert timed_webhook_sign(secret, clock, b'{"type":1}') == second
    third = "ed8aacc94373316afd32d7312e6d837ea7ae86e9fdfebc8d2f0b99a4351740dd"
    assert bare_webhook_sign(secret, b'{"type":1}') == third


async def test_order_tells_every_change_of_status(caller, receiver, clock):
    """In the documented bytes, signed over them; amounts, items and buyer are never in it."""
    caller.shop.webhooks.subscribe(receiver.url)
    order = caller.shop.place_order(on_hold=True)
    clock.now += 5
    order.pay()
    order.release()
    order.ship().deliver().complete()
    await caller.shop.webhooks.idle()
    told = {event["data"]["order_status"] for event in receiver.events()}
    assert told == {"UNPAID", "ON_HOLD", "AWAITING_SHIPMENT", "IN_TRANSIT", "DELIVERED", "COMPLETED"}
    (held,) = (one for one in receiver.got if b"ON_HOLD" in one[1])
    headers, body = held
    event = json.loads(body)
    assert list(event) == ["type", "tts_notification_id", "shop_id", "timestamp", "data"]
    assert (event["type"], event["shop_id"], event["timestamp"]) == (1, US_ID, int(clock.now))
    assert event["data"] == {
        "is_on_hold_order": True, "order_id": order.id, "order_status": "ON_HOLD", "update_time": int(clock.now),
    }  # fmt: skip
    assert headers["Authorization"] == hexed(APP_SECRET, APP_KEY.encode() + body)
    assert len({event["tts_notification_id"] for event in receiver.events()}) == 6


async def test_cancelled_paid_order_tells_twice(caller, receiver):
    """Once as a status, spelled CANCEL, and once with the id of the cancellation; unpaid it tells once."""
    paid, unpaid = caller.shop.place_order(paid=True), caller.shop.place_order()
    caller.shop.webhooks.subscribe(receiver.url)
    paid.cancel(by="SYSTEM")
    unpaid.cancel()
    paid.refund("1.00")
    paid.change_address(postal_code="1")
    paid.set_status("PARTIALLY_SHIPPING")
    await caller.shop.webhooks.idle()
    events = {(event["type"], event["data"]["order_id"]): event["data"] for event in receiver.events()}
    assert set(events) == {(1, paid.id), (11, paid.id), (1, unpaid.id), (12, paid.id), (3, paid.id)}
    assert events[1, paid.id]["order_status"] == "CANCEL"
    cancelled = events[11, paid.id]
    assert (cancelled["cancellations_role"], cancelled["cancel_status"]) == ("SYSTEM", "CANCELLATION_REQUEST_COMPLETE")
    assert cancelled["cancel_id"] in caller.shop.world.cancellations
    returned = events[12, paid.id]
    assert (returned["return_type"], returned["return_status"]) == ("REFUND", "RETURN_OR_REFUND_REQUEST_COMPLETE")


async def test_withdrawal_is_told(caller, receiver):
    """Type 6, to each shop of the seller."""
    caller.shop.webhooks.subscribe(receiver.url, ("SELLER_DEAUTHORIZATION",))
    caller.shop.grant("GB")
    caller.shop.revoke()
    await caller.shop.webhooks.idle()
    (event,) = receiver.events()
    assert (event["type"], event["shop_id"]) == (6, caller.shop.shop("GB").id)


async def test_subscriptions_choose_type_shop_app_and_style(caller, receiver):
    """An app hears with its own secret; the legacy styles have headers of their own."""
    hooks = caller.shop.webhooks
    caller.shop.add_app("other", "its-secret")
    hooks.subscribe(receiver.url + "?a", (1,), shop_id=caller.shop.shop("JP").id, app_key="other")
    hooks.subscribe(receiver.url + "?b", ("PRODUCT_CREATION",), style="timed")
    hooks.subscribe(receiver.url + "?c", (99,), style="bare")
    caller.shop.place_order("US")
    caller.shop.place_order("JP")
    hooks.send("PRODUCT_CREATION", {"product_id": "1"}, shop_id=US_ID)
    hooks.send(99, {"new": True})
    await hooks.idle()
    by_type = {json.loads(body)["type"]: (headers, body) for headers, body in receiver.got}
    assert (len(receiver.got), set(by_type)) == (3, {1, 16, 99})
    headers, body = by_type[1]
    assert headers["Authorization"] == hexed("its-secret", b"other" + body)
    headers, body = by_type[16]
    clock = headers["X-TikTok-Shop-Timestamp"]
    assert headers["X-TikTok-Shop-Signature"] == hexed(APP_SECRET, APP_SECRET.encode() + clock.encode() + body)
    assert "Authorization" not in headers
    headers, body = by_type[99]
    assert headers["X-TikTok-Shop-Signature"] == hexed(APP_SECRET, body)


async def test_topics_about_creators_name_no_shop(caller, receiver):
    """But a creator; everything else names the first shop when none is given."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.send(17, {}, creator_open_id="7021436810468230000")
    hooks.send("NEW_MESSAGE", {})
    await hooks.idle()
    by_type = {event["type"]: event for event in receiver.events()}
    assert by_type[17]["creator_open_id"] == "7021436810468230000"
    assert "shop_id" not in by_type[17]
    assert by_type[14]["shop_id"] == US_ID


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("https://shop.example/hook", {}),
        ("http://127.0.0.1.shop.example/", {}),
        ("ftp://127.0.0.1/", {}),
        ("http://127.0.0.1:99999/", {}),
        ("http://127.0.0.1/" + "x" * 255, {}),
        ("http://127.0.0.1/", {"style": "none"}),
        ("http://127.0.0.1/", {"types": ["NOTHING"]}),
        ("http://127.0.0.1/", {"app_key": "nobody"}),
    ],
)
async def test_nothing_is_sent_away_from_this_machine(caller, address, options):
    """Nor to a subscription that makes no sense."""
    with pytest.raises(ValueError, match=r"address|style|type|app_key|Port"):
        caller.shop.webhooks.subscribe(address, **options)


async def test_named_hosts_may_be_told(start):
    """For a receiver in another container."""
    caller = Caller(await start(allowed_hosts=("receiver",)))
    caller.shop.webhooks.subscribe("http://receiver:8000/hook")


async def one_spoilt(caller: Caller, receiver: Receiver, kind: str, **options):
    """The first two notifications, of which the first is spoilt."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.retry_s = ()
    hooks.spoil(kind, **options)
    hooks.send(5, {"product_id": "1", "status": "ACTIVATE"}, shop_id=US_ID)
    await hooks.idle()
    spoilt = receiver.got[:]
    receiver.got.clear()
    hooks.send(5, {"product_id": "2"}, shop_id=US_ID)
    await hooks.idle()
    ((headers, body),) = receiver.got
    assert headers["Authorization"] == hexed(APP_SECRET, APP_KEY.encode() + body)
    return spoilt


@pytest.mark.parametrize("kind", ["forge", "tamper", "truncate", "reencode", "unsigned", "bearer", "uppercase"])
async def test_spoilt_notification_does_not_verify(caller, receiver, kind):
    """The next one does."""
    ((headers, body),) = await one_spoilt(caller, receiver, kind)
    assert headers.get("Authorization") != hexed(APP_SECRET, APP_KEY.encode() + body)
    if kind == "truncate":
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
    else:
        assert json.loads(body)["type"] == 5
    if kind in ("bearer", "uppercase"):
        assert headers["Authorization"].removeprefix("Bearer ").lower() == hexed(APP_SECRET, APP_KEY.encode() + body)


@pytest.mark.parametrize("kind", ["stale", "numeric_shop_id", "without_id"])
async def test_strange_notification_verifies_all_the_same(caller, receiver, clock, kind):
    """Correctly signed: what is strange is inside."""
    ((headers, body),) = await one_spoilt(caller, receiver, kind, age_s=86_400)
    assert headers["Authorization"] == hexed(APP_SECRET, APP_KEY.encode() + body)
    event = json.loads(body)
    assert event["timestamp"] == int(clock.now) - (86_400 if kind == "stale" else 0)
    assert event["shop_id"] == (int(US_ID) if kind == "numeric_shop_id" else US_ID)
    assert ("tts_notification_id" in event) == (kind != "without_id")


async def test_stale_timestamp_stands_in_the_legacy_header_too(caller, receiver, clock):
    """And is signed."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url, style="timed")
    hooks.spoil("stale", age_s=600)
    hooks.send(5, {})
    await hooks.idle()
    ((headers, body),) = receiver.got
    told = str(int(clock.now) - 600)
    assert headers["X-TikTok-Shop-Timestamp"] == told
    assert headers["X-TikTok-Shop-Signature"] == timed_webhook_sign(APP_SECRET, told, body)


async def test_broken_off_notification_never_arrives_whole(caller, receiver):
    """The receiver's framework notices; the sender has no answer."""
    assert await one_spoilt(caller, receiver, "break_off") == []
    first = caller.shop.webhooks.deliveries[0]
    assert (first.state, [attempt.status for attempt in first.attempts]) == ("given_up", [0])


async def test_duplicates_are_equal_to_the_last_byte(caller, receiver):
    """As many as told, and replays whenever wanted."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.spoil("duplicate", copies=3)
    hooks.send(5, {})
    await hooks.idle()
    hooks.replay(hooks.deliveries[0])
    await hooks.idle()
    assert len(receiver.got) == 4
    assert len({(headers["Authorization"], body) for headers, body in receiver.got}) == 1


async def test_delayed_notification_comes_behind_younger_ones(caller, receiver):
    """Order is not promised."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.spoil("delay", delay_s=0.2)
    order = caller.shop.place_order()
    order.pay()
    await hooks.idle()
    assert [event["data"]["order_status"] for event in receiver.events()] == ["AWAITING_SHIPMENT", "UNPAID"]


async def test_dropped_notification_never_leaves(caller, receiver):
    """What polling is for. Only the types named are spoilt, and only so often."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.spoil("drop", types=("ORDER_STATUS_CHANGE",), count=2)
    hooks.send(5, {})
    caller.shop.place_order(paid=True)
    caller.shop.place_order()
    await hooks.idle()
    assert [event["type"] for event in receiver.events()] in ([5, 1], [1, 5])
    assert [one.state for one in hooks.deliveries] == ["delivered", "dropped", "dropped", "delivered"]
    hooks.spoil("drop", count=None)
    hooks.clear_spoils()
    hooks.send(5, {})
    await hooks.idle()
    assert len(receiver.got) == 3


async def test_what_nobody_hears_uses_up_no_spoil(caller, receiver):
    """The first one that is sent at all is spoilt."""
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url, ("ORDER_STATUS_CHANGE",))
    hooks.spoil("unsigned")
    assert hooks.send("NEW_MESSAGE", {}) == []
    caller.shop.place_order(paid=True)
    await hooks.idle()
    assert ["Authorization" in one.headers for one in hooks.deliveries] == [False, True]


def test_spoils_that_make_no_sense_are_refused(caller):
    """At once."""
    for options in ({"kind": "explode"}, {"kind": "stale", "age_s": -1}, {"kind": "duplicate", "copies": 0}):
        with pytest.raises(ValueError, match=r"kind|negative"):
            caller.shop.webhooks.spoil(**options)


async def test_unanswered_notification_is_tried_again_four_times(caller, receiver):
    """After 2 minutes, 30 minutes, 3 hours and 12 hours, or when told to; then given up. All with the same bytes."""
    hooks = caller.shop.webhooks
    assert list(hooks.retry_s) == [120, 1_800, 10_800, 43_200]
    receiver.answers = [500, 404, 202, 302, 401, 200]
    hooks.subscribe(receiver.url)
    hooks.send(5, {})
    await hooks.idle()
    (delivery,) = hooks.deliveries
    assert (len(receiver.got), delivery.state) == (1, "waiting")
    for tries in (2, 3, 4, 5):
        assert hooks.retry_now() == 1
        await hooks.idle()
        assert len(receiver.got) == tries
    assert delivery.state == "given_up"
    assert [attempt.status for attempt in delivery.attempts] == [500, 404, 202, 302, 401]
    assert hooks.retry_now() == 0
    assert len({body for _, body in receiver.got}) == 1


async def test_schedule_of_retries_can_be_shortened(caller, receiver):
    """For tests that do not want to ask."""
    hooks = caller.shop.webhooks
    hooks.retry_s = (0.01, 0.01)
    receiver.answers = [503, 503]
    hooks.subscribe(receiver.url)
    (delivery,) = hooks.send(5, {})
    await receiver.until(3)
    await hooks.idle()
    assert [attempt.status for attempt in delivery.attempts] == [503, 503, 200]


async def test_receiver_that_is_down_or_slow_counts_as_no_answer(caller, receiver):
    """Three seconds, unless told otherwise."""
    hooks = caller.shop.webhooks
    assert hooks.answer_within_s == 3.0
    hooks.subscribe("http://127.0.0.1:1/hook")
    (down,) = hooks.send(5, {})
    await hooks.idle()
    assert [(one.status, "Connect" in one.error) for one in down.attempts] == [(0, True)]
    hooks.unsubscribe()
    hooks.answer_within_s = 0.05
    receiver.open.clear()
    hooks.subscribe(receiver.url)
    (slow,) = hooks.send(5, {})
    await hooks.idle()
    assert [(one.status, one.error) for one in slow.attempts] == [(0, "TimeoutError")]
    assert (down.state, slow.state) == ("waiting", "waiting")


async def test_sender_ends_with_its_sandbox(start, receiver):
    """Nothing is left behind, whatever was under way."""
    caller = Caller(await start())
    hooks = caller.shop.webhooks
    hooks.subscribe(receiver.url)
    hooks.spoil("delay", delay_s=60)
    hooks.send(5, {})
    hooks.send(5, {})
    await caller.sender.sandbox.aclose()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "sandbox-webhooks" not in names


async def test_notifications_made_before_the_start_leave_with_it(receiver, clock):
    """A sandbox can be furnished first."""
    sandbox = Sandbox(clock=clock)
    sandbox.tiktok_shop.webhooks.subscribe(receiver.url)
    sandbox.tiktok_shop.place_order(paid=True)
    async with sandbox:
        await sandbox.tiktok_shop.webhooks.idle()
    assert len(receiver.got) == 2


# The setup calls.


async def test_setup_by_the_api_is_per_shop_and_name(caller, receiver):
    """One address per type; removing what was never set is a success."""
    body = {"address": receiver.url, "event_type": "ORDER_STATUS_CHANGE"}
    assert await caller.data("PUT", HOOKS, body) == {}
    assert await caller.data("PUT", HOOKS, {**body, "address": receiver.url + "?2"}) == {}
    listed = await caller.data("GET", HOOKS)
    assert listed["webhooks"] == [{"event_type": "ORDER_STATUS_CHANGE", "address": receiver.url + "?2"}]
    caller.shop.place_order("US")
    caller.shop.place_order("JP")
    await caller.shop.webhooks.idle()
    assert [event["shop_id"] for event in receiver.events()] == [US_ID]
    for _ in range(2):
        assert await caller.data("DELETE", HOOKS, {"event_type": "ORDER_STATUS_CHANGE"}) == {}
    assert (await caller.data("GET", HOOKS))["webhooks"] == []


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        ("PUT", {"event_type": "ORDER_STATUS_CHANGE"}, "param body.address is missing"),
        ("PUT", {"address": "https://shop.example/", "event_type": "ORDER_STATUS_CHANGE"}, "body.address"),
        ("PUT", {"address": "http://127.0.0.1/" + "x" * 300, "event_type": "NEW_MESSAGE"}, "body.address"),
        ("PUT", {"address": "http://127.0.0.1/", "event_type": "1"}, "body.event_type"),
        ("DELETE", {}, "body.event_type"),
    ],
)
async def test_wrong_setup_is_refused(caller, method, body, text):
    """As a parameter, by the mixed code."""
    reply = await caller.ask(method, HOOKS, body)
    assert (reply.status, reply.body["code"]) == (400, 36009004)
    assert text in reply.body["message"]
