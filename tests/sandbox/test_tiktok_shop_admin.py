"""TikTok Shop: the HTTP interface and the page, for whoever runs in another process; and nonsense of any kind."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from capi_async.sandbox.arrivals import Arrivals
from capi_async.sandbox.checks import words
from capi_async.sandbox.platforms.base import Call
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, CREATOR_TOKEN, TikTokShop
from capi_async.sandbox.platforms.tiktok_shop.model import CREATOR
from capi_async.sandbox.platforms.tiktok_shop.operations import OPERATIONS
from tests.sandbox.conftest import new_clock
from tests.sandbox.shop import EXAMPLE, ORDER, US, US_ID, receiving, sign

BASE = "/_sandbox/tiktok_shop"


async def steer(caller, method: str, path: str = "", body: Any = None, status: int = 200):
    reply = await caller.sender.ask(method, f"{BASE}/{path}" if path else BASE, json=body)
    assert reply.status == status, reply.body
    return reply.body


async def test_order_is_placed_moved_and_told_from_outside(caller):
    """With its webhook, the deliveries and their fate."""
    async with receiving() as receiver:
        made = await steer(caller, "POST", "webhooks", {"address": receiver.url, "types": [1], "style": "timed"})
        assert (made["address"], made["types"]) == (receiver.url, [1])
        order = await steer(caller, "POST", "orders", {"shop": "JP", "value": "1200", "email": None})
        assert (order["status"], order["payment"]["total_amount"]) == ("UNPAID", "1200")
        paid = await steer(caller, "POST", f"orders/{order['id']}/pay")
        assert paid["status"] == "AWAITING_SHIPMENT"
        await caller.shop.webhooks.idle()
        assert [event["data"]["order_status"] for event in receiver.events()] == ["UNPAID", "AWAITING_SHIPMENT"]
        deliveries = await steer(caller, "GET", "deliveries?limit=1")
        assert (deliveries[0]["state"], deliveries[0]["attempts"]) == ("delivered", [{"status": 200, "error": ""}])
        assert json.loads(deliveries[0]["body"])["data"]["order_id"] == order["id"]
        await steer(caller, "POST", "replay", {"notification_id": deliveries[0]["notification_id"]})
        await steer(caller, "POST", "spoils", {"kind": "forge"}, 204)
        (told,) = await steer(caller, "POST", "notifications", {"type": 1, "data": {"order_id": "1"}})
        assert (told["spoilt"], told["shop_id"]) == ("forge", US_ID)
        await caller.shop.webhooks.idle()
        assert len(receiver.got) == 4
        assert (await steer(caller, "POST", "retry")) == {"due": 0}
        await steer(caller, "DELETE", "spoils", status=204)
        assert len(await steer(caller, "GET", "webhooks")) == 1
        await steer(caller, "DELETE", f"webhooks?address={receiver.url}", status=204)
        assert await steer(caller, "GET", "webhooks") == []


@pytest.mark.parametrize(
    ("step", "body", "status"),
    [
        ("hold", None, "ON_HOLD"),
        ("release", None, "AWAITING_SHIPMENT"),
        ("ship", None, "IN_TRANSIT"),
        ("deliver", None, "DELIVERED"),
        ("complete", None, "COMPLETED"),
        ("cancel", {"by": "SELLER"}, "CANCELLED"),
        ("refund", {"amount": "1"}, "UNPAID"),
        ("status", {"status": "NEW"}, "NEW"),
        ("address", {"address": {"postal_code": "1"}}, "UNPAID"),
    ],
)
async def test_every_step_can_be_taken_from_outside(caller, step, body, status):
    """And is read back."""
    order_id = (await steer(caller, "POST", "orders", {}))["id"]
    assert (await steer(caller, "POST", f"orders/{order_id}/{step}", body))["status"] == status
    assert (await steer(caller, "GET", f"orders/{order_id}"))["status"] == status
    listed = await steer(caller, "GET", "orders?shop=US")
    assert order_id in [order["id"] for order in listed]


async def test_tokens_and_settings_are_steered_from_outside(caller):
    """Codes, grants, ends, apps, failures and calls."""
    await steer(caller, "POST", "apps", {"key": "k", "secret": "s", "redirect_url": "http://127.0.0.1/cb"})
    code = (await steer(caller, "POST", "codes", {"shop": "GB"}))["code"]
    assert (await caller.exchange(code)).body["data"]["seller_base_region"] == "GB"
    grant = await steer(caller, "POST", "grants", {"scopes": ["seller.order.info"]})
    caller.token = grant["access_token"]
    assert (await caller.get(ORDER, ids="1")).body["code"] == 0
    assert await steer(caller, "POST", "expire", {"access_token": caller.token}) == {"ended": 1}
    assert (await caller.get(ORDER, ids="1")).body["code"] == 105002
    assert await steer(caller, "POST", "expire", {"which": "refresh"}) == {"ended": 2}
    assert (await caller.refresh(grant["refresh_token"])).body["code"] == 36004001
    assert await steer(caller, "POST", "revoke") == {"ended": 2}
    caller.token = "sandbox-token"
    await steer(caller, "POST", "failures", {"code": 36009003, "count": None}, 204)
    assert (await caller.get(ORDER, ids="1")).status == 500
    await steer(caller, "DELETE", "failures", status=204)
    told = await steer(
        caller,
        "POST",
        "settings",
        {"redirect_url": "http://127.0.0.1/x", "consent": "refuse", "retry_s": [1], "answer_within_s": 1.5},
    )
    assert (told["app"]["redirect_url"], told["consent"]) == ("http://127.0.0.1/x", "refuse")
    assert (caller.shop.webhooks.retry_s, caller.shop.webhooks.answer_within_s) == ([1], 1.5)
    calls = await steer(caller, "GET", "calls?limit=1")
    assert [(call["path"], call["code"]) for call in calls] == [(ORDER, 36009003)]
    await steer(caller, "DELETE", status=204)
    summary = await steer(caller, "GET")
    assert (summary["consent"], summary["calls"], len(summary["shops"])) == ("allow", 0, 5)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "orders", {"colour": "red"}, 400),
        ("POST", "orders", {"shop": "XX"}, 400),
        ("POST", "orders/1/pay", None, 400),
        ("POST", f"orders/{EXAMPLE}/explode", None, 404),
        ("GET", "orders/1", None, 400),
        ("POST", "webhooks", {"address": "https://elsewhere.example/"}, 400),
        ("POST", "spoils", {"kind": "explode"}, 400),
        ("POST", "replay", {"notification_id": "1"}, 400),
        ("POST", "expire", {"access_token": "x"}, 400),
        ("POST", "settings", {"consent": "maybe"}, 400),
        ("GET", "deliveries?limit=x", None, 400),
        ("GET", "nothing", None, 404),
        ("PUT", "webhooks", None, 404),
        ("DELETE", "orders", None, 404),
    ],
)
async def test_wrong_steering_is_refused_with_a_reason(caller, method, path, body, status):
    """And changes nothing."""
    assert "error" in await steer(caller, method, path, body, status)


async def test_page_shows_credentials_orders_and_webhooks(caller):
    """Escaped, as everything there."""
    async with receiving() as receiver:
        caller.shop.webhooks.subscribe(f"{receiver.url}?<b>")
        order = caller.shop.place_order(fields={"order_type": "NORMAL"}).set_status("<script>")
        await caller.shop.webhooks.idle()
        page = (await caller.sender.ask("GET", "/")).body
    assert f"<td>{order.id}</td>" in page
    # the page's own, which is a file, is the only one
    assert page.count("<script") == page.count('<script src="/_sandbox/page-') == 1
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert "2 delivered" in page
    assert APP_KEY in page


def _anything(chance: random.Random, product: str, depth: int = 0) -> Any:
    """Some JSON value, made of names and values that the operations know."""
    pick = chance.random()
    if depth < 3 and pick < 0.3:
        return [_anything(chance, product, depth + 1) for _ in range(chance.randrange(3))]
    if depth < 3 and pick < 0.6:
        names = chance.sample(_NAMES, chance.randrange(1, 5))
        return {name: _anything(chance, product, depth + 1) for name in names}
    return chance.choice([None, True, -1, 0, 7, 2**62, 1.5, "Ünï", product, *_VALUES])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda it: f"{it.method} {it.pattern.pattern}")
def test_no_body_and_no_query_makes_an_operation_fall_over(operation):
    """Whatever comes, the answer is in the envelope: a refusal or a success."""
    clock, chance = new_clock(), random.Random(operation.pattern.pattern)
    shop = TikTokShop(clock=clock)
    shop.set_rate(None)
    product, *_ = shop.world.products
    path = operation.pattern.pattern.removesuffix(r"\Z").replace("(?P<version>[0-9]{6})", (*operation.versions, "")[0])
    for name, value in (("product_id", product), ("video_id", next(iter(shop.world.videos)))):
        path = path.replace(f"(?P<{name}>[^/]+)", value)
    token = CREATOR_TOKEN if operation.user_type == CREATOR else "sandbox-token"
    headers = {"x-tts-access-token": token, "Content-Type": "application/json"}
    record = Arrivals(max_arrivals=1, keep_events=False, keep_bytes=1)
    for _ in range(150):
        body = {name: _anything(chance, product) for name in chance.sample(_NAMES, 12)}
        raw = b"" if operation.method == "GET" else json.dumps(body).encode()
        query = {name: chance.choice((product, *_VALUES)) for name in chance.sample(_NAMES, chance.randrange(6))}
        query |= {"page_size": "2"} if chance.random() < 0.5 else {}
        query |= {"app_key": APP_KEY, "timestamp": str(int(clock.now))}
        if operation.cipher:
            query["shop_cipher"] = US
        query["sign"] = sign(APP_SECRET, path, query, raw)
        call = Call(operation.method, path, query, headers, raw, clock.wall(), clock.monotonic())
        reply = json.loads(shop.handle(call, record).body)
        assert reply["code"] not in (106001, 36009009, 36009010, 36009014), reply
        assert ("data" in reply) == (reply["code"] == 0)


_VALUES = ("", "1", "x", "0", "100", "-1", "2026-01-02", "2026-01-01", "post", "video", "product", "1D", "1789990000",
           "1729582718312380123", "2729382476852921560", "7068517275539719942")  # fmt: skip
_NAMES = sorted(words(
    "page_size page_number page_token sort_field sort_order order_status status product_ids sku_ids skus id ids "
    "inventory quantity warehouse_id product_id sku_id available_quantity video_info file_id title photos_info "
    "product_link_info photo_file_uris link_info links link_title content tags media_urls scheduled_time "
    "video_url description start_date_ge end_date_lt granularity currency start_time end_time dimension "
    "metrics resource_type resource_id order_id video_id post_id address event_type create_time_ge order_ids "
    "update_time_lt is_buyer_request_cancel warehouse_ids buyer_user_id return_ids cancel_status"
))  # fmt: skip
