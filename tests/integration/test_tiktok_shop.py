"""From a shop's order to four ad platforms, over real HTTP on both sides, and through kill -9 of the receiver."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from fastapi import FastAPI
from starlette.applications import Starlette

from capi_async import Client
from capi_async.errors import ConfigError
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, Line
from capi_async.sources.tiktok_shop.errors import TikTokShopAuthError
from capi_async.sources.tiktok_shop.forwarder import OrderForwarder
from capi_async.sources.tiktok_shop.web import PATH, aiohttp_handler, fastapi_route, starlette_route
from capi_async.sources.tiktok_shop.webhooks import WebhookVerifier
from tests.integration import shop_receiver
from tests.integration.shop_receiver import PLATFORMS
from tests.sources.forwarding import until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def shops(stack: AsyncExitStack) -> Sandbox:
    """The sandbox without the shop's rate limit."""
    return await stack.enter_async_context(Sandbox(rates={"tiktok_shop": None}))


class Receiver:
    """One process that receives and forwards."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path, sandbox: Sandbox, port: int, *, linger_s: float = 0.02) -> Receiver:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.shop_receiver"),
            *(str(folder), sandbox.base_url, str(port), str(linger_s)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line == b"ready\n"
        return cls(process)

    async def kill(self) -> None:
        """At once, whatever it is doing."""
        self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """In order: it polls once more, and delivers what it has."""
        self._process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self._process.wait(), 60) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as it:
        return int(it.getsockname()[1])


def purchases(sandbox: Sandbox, platform: str) -> Counter[str]:
    """Order id to purchases of it that a platform took, copies included."""
    found: Counter[str] = Counter()
    for arrival in sandbox.arrivals(platform):
        assert arrival.accepted, arrival.reason
        event = arrival.event
        name = event.get("event_name") or event.get("event")
        assert name in ("PURCHASE", "checkout", "Purchase")
        found[event["event_id"].rpartition(":")[2]] += 1
    return found


async def test_a_paid_order_reaches_four_platforms_through_kill_9(shops: Sandbox, tmp_path: Path) -> None:
    """Answered with 200 and killed before anything was delivered: the next process delivers it, once."""
    port = free_port()
    selling = shops.tiktok_shop
    selling.webhooks.subscribe(f"http://127.0.0.1:{port}{PATH}")
    receiver = await Receiver.start(tmp_path, shops, port, linger_s=30.0)
    orders = [selling.place_order(value="59.39", paid=True) for _ in range(3)]
    await selling.webhooks.idle()
    assert {one.state for one in selling.webhooks.deliveries} == {"delivered"}
    await receiver.kill()
    assert shops.arrivals("meta") == []

    receiver = await Receiver.start(tmp_path, shops, port)
    for delivery in list(selling.webhooks.deliveries):
        selling.webhooks.replay(delivery)
    await selling.webhooks.idle()
    await receiver.end()
    for platform in PLATFORMS:
        assert purchases(shops, platform) == {order.id: 1 for order in orders}, platform
        assert shops.details()[platform]["counted_twice"] == 0
    event = shops.arrivals("meta")[0].event
    assert (event["custom_data"]["value"], event["custom_data"]["currency"]) == (59.39, "USD")


async def test_exactly_once_under_kill_9_at_any_moment(shops: Sandbox, tmp_path: Path) -> None:
    """Webhooks come in all the while; what was lost of them is polled.

    Where a platform recognises copies, each order counts once. Pinterest does not recognise copies of offline events:
    nothing is counted twice there, and what may have been under way in a kill is ``uncertain``, and kept.
    """
    port = free_port()
    chance = random.Random(7)
    selling = shops.tiktok_shop
    selling.webhooks.subscribe(f"http://127.0.0.1:{port}{PATH}")
    selling.webhooks.retry_s = (0.2, 0.5, 1.0, 2.0)
    placed: list[str] = []
    ended = asyncio.Event()

    async def sell() -> None:
        while not ended.is_set() and len(placed) < 300:
            placed.append(selling.place_order(paid=True).id)
            await asyncio.sleep(0.015)

    # what is sold before the first start is none of the forwarder's business
    receiver = await Receiver.start(tmp_path, shops, port)
    async with asyncio.TaskGroup() as group:
        group.create_task(sell())
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            await receiver.kill()
            receiver = await Receiver.start(tmp_path, shops, port)
        ended.set()
    await receiver.end()

    assert len(placed) > 20
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as db:
        doubts = db.execute("SELECT destination, event_id FROM letter WHERE kind = 'uncertain'").fetchall()
        others = db.execute("SELECT count(*) FROM letter WHERE kind <> 'uncertain'").fetchone()
    assert others == (0,)
    assert {name for name, _ in doubts} <= {"pinterest"}
    for platform in PLATFORMS:
        counted = purchases(shops, platform)
        assert shops.details()[platform]["counted_twice"] == 0, platform
        missing = set(placed) - set(counted)
        if platform == "pinterest":
            assert set(counted.values()) == {1}
            assert missing <= {event_id.rpartition(":")[2] for _, event_id in doubts}
        else:
            stats = shops.stats()[platform]
            assert not missing, platform
            assert stats.accepted - stats.duplicates == len(placed)


@asynccontextmanager
async def receiving(
    sandbox: Sandbox, folder: Path, **options: Any
) -> AsyncIterator[tuple[OrderForwarder, Client, str]]:
    """A receiver in this process; forwarder, client, and the address for webhooks."""
    async with AsyncExitStack() as stack:
        seller = await stack.enter_async_context(shop_receiver.shop(sandbox.base_url))
        region = options.pop("region", "US")
        [mine] = [seller.for_shop(one) for one in await seller.get_shops() if one.region == region]
        client = Client(shop_receiver.destinations(sandbox.base_url), linger_s=0.01)
        await stack.enter_async_context(client)
        forwarder = await stack.enter_async_context(shop_receiver.forwarder(folder, mine, client, **options))
        app = web.Application()
        app.router.add_post(PATH, aiohttp_handler(forwarder))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield forwarder, client, f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"


@pytest.mark.parametrize(
    "kind", ["forge", "tamper", "truncate", "reencode", "unsigned", "bearer", "uppercase", "stale"]
)
async def test_webhooks_that_are_not_the_shops_are_refused_and_polled_for(
    shops: Sandbox, tmp_path: Path, kind: Any
) -> None:
    """401, nothing is done on their account, and the order is found all the same."""
    async with receiving(shops, tmp_path) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.webhooks.retry_s = ()
        selling.webhooks.spoil(kind, count=None, age_s=80 * 3600)
        order = selling.place_order(paid=True)
        await selling.webhooks.idle()
        attempts = [attempt.status for one in selling.webhooks.deliveries for attempt in one.attempts]
        assert attempts == [401, 401]
        assert (forwarder.counts.webhooks, forwarder.counts.forwarded) == (0, 0)
        await forwarder.poll()
        await client.flush(10)
        for platform in PLATFORMS:
            assert purchases(shops, platform) == {order.id: 1}


@pytest.mark.parametrize(("sent", "expected", "status"), [
    ("timed", "legacy", 200), ("timed", "official", 401), ("official", "legacy", 401), ("bare", "legacy", 401),
])  # fmt: skip
async def test_each_signature_style_has_an_endpoint_of_its_own(
    shops: Sandbox, tmp_path: Path, sent: Any, expected: Any, status: int
) -> None:
    """What the sandbox signs by its own implementation; the other styles are no way in."""
    verifier = WebhookVerifier(APP_KEY, APP_SECRET, style=expected)
    async with receiving(shops, tmp_path, webhooks=verifier) as (forwarder, _client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address, style=sent)
        selling.webhooks.retry_s = ()
        selling.place_order(paid=True)
        await selling.webhooks.idle()
        assert {one.attempts[0].status for one in selling.webhooks.deliveries} == {status}
        await forwarder.settled()
        assert forwarder.counts.webhooks == (2 if status == 200 else 0)


async def test_a_webhook_that_breaks_off_is_no_error_of_ours(
    shops: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is taken in, nothing is logged as a fault, and the order is polled for."""
    async with receiving(shops, tmp_path, poll_every_s=None) as (forwarder, _client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.webhooks.retry_s = (0.01,)
        selling.webhooks.spoil("break_off", count=1)
        selling.place_order(paid=True)
        await selling.webhooks.idle()
        await until(lambda: forwarder.counts.forwarded)
        statuses = [[attempt.status for attempt in one.attempts] for one in selling.webhooks.deliveries]
        assert statuses[0][0] == 0
    assert not [record for record in caplog.records if record.exc_info]


async def test_starlette_takes_a_broken_webhook_for_what_it_is(shops: Sandbox, tmp_path: Path) -> None:
    """Its own exception does not reach the server's log."""
    async with receiving(shops, tmp_path, poll_every_s=None) as (forwarder, _client, _address):
        app = Starlette(routes=[starlette_route(forwarder)])
        messages = iter([{"type": "http.request", "body": b'{"ty', "more_body": True}, {"type": "http.disconnect"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "headers": [],
            "query_string": b"", "http_version": "1.1", "scheme": "https", "server": ("x", 443), "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        assert sent[0]["status"] == 400


async def test_copies_delays_and_odd_forms_are_one_purchase(shops: Sandbox, tmp_path: Path) -> None:
    """Each spoilt in another way that a real one may be, and a poll on top."""
    async with receiving(shops, tmp_path) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.webhooks.spoil("duplicate", copies=3, count=2)
        selling.webhooks.spoil("numeric_shop_id", count=2)
        selling.webhooks.spoil("without_id", count=2)
        selling.webhooks.spoil("delay", delay_s=0.05, count=1)
        orders = [selling.place_order(paid=True) for _ in range(4)]
        for order in orders:
            order.ship().deliver().complete()
        await selling.webhooks.idle()
        assert {one.state for one in selling.webhooks.deliveries} == {"delivered"}
        await forwarder.poll()
        await client.flush(10)
        assert forwarder.counts.copies >= 4
        for platform in PLATFORMS:
            assert purchases(shops, platform) == {order.id: 1 for order in orders}


async def test_a_webhook_that_never_came_is_made_up_for(shops: Sandbox, tmp_path: Path) -> None:
    """Dropped on the way; sparse search answers do not matter either."""
    async with receiving(shops, tmp_path) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.webhooks.spoil("drop", count=None)
        orders = [selling.place_order(paid=True) for _ in range(130)]
        unpaid = selling.place_order()
        await selling.webhooks.idle()
        await forwarder.poll()
        assert forwarder.counts.forwarded == 130
        unpaid.pay()
        await forwarder.poll()
        await client.flush(10)
        for platform in PLATFORMS:
            assert purchases(shops, platform) == {order.id: 1 for order in [*orders, unpaid]}


@pytest.mark.parametrize(("region", "value", "currency"), [("JP", "1200", "JPY"), ("VN", "99000", "VND")])
async def test_zero_decimal_currencies_arrive_whole(
    shops: Sandbox, tmp_path: Path, region: str, value: str, currency: str
) -> None:
    """Neither multiplied nor divided by a hundred, at any platform; and without any e-mail address."""
    async with receiving(shops, tmp_path, region=region) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.place_order(region, value=value, paid=True, email=None)
        await selling.webhooks.idle()
        await forwarder.settled()
        await client.flush(10)
        told = {
            "meta": lambda event: event["custom_data"],
            "snap": lambda event: event["custom_data"],
            "pinterest": lambda event: event["custom_data"],
            "tiktok": lambda event: event["properties"],
        }
        for platform, part in told.items():
            [arrival] = shops.arrivals(platform)
            assert str(part(arrival.event)["value"]) == value
            assert part(arrival.event)["currency"] == currency


async def test_without_an_email_platforms_get_what_there_is(shops: Sandbox, tmp_path: Path) -> None:
    """Meta and TikTok know the buyer's id; Snap and Pinterest skip, with a reason, and nobody gets the relay."""
    async with receiving(shops, tmp_path, enrich=None) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        order = selling.place_order(paid=True, email=None)
        relayed = selling.place_order(paid=True)
        await selling.webhooks.idle()
        await forwarder.settled()
        await client.flush(10)
        for platform in ("tiktok", "meta"):
            assert purchases(shops, platform) == {order.id: 1, relayed.id: 1}
            for arrival in shops.arrivals(platform):
                assert not {"em", "email"} & set(arrival.event.get("user_data") or arrival.event["user"])
        for platform in ("snap", "pinterest"):
            assert shops.arrivals(platform) == []
            assert client.ledger()[platform].skipped == 2


async def test_on_hold_cash_on_delivery_and_cancelled_orders(shops: Sandbox, tmp_path: Path) -> None:
    """Each counts when it is paid, and never if it was cancelled before."""
    async with receiving(shops, tmp_path) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        held = selling.place_order(paid=True, on_hold=True)
        at_the_door = selling.place_order(cod=True)
        dropped = selling.place_order()
        dropped.cancel()
        sample = selling.place_order(paid=True, fields={"is_sample_order": True})
        two = selling.place_order(paid=True, lines=[Line(held.raw["line_items"][0]["sku_id"], 2)])
        await selling.webhooks.idle()
        await forwarder.settled()
        await client.flush(10)
        assert purchases(shops, "meta") == {held.id: 1, two.id: 1}
        at_the_door.deliver()
        held.cancel()
        await selling.webhooks.idle()
        await forwarder.settled()
        await client.flush(10)
        assert purchases(shops, "meta") == {held.id: 1, two.id: 1, at_the_door.id: 1}
        assert sample.id not in purchases(shops, "meta")
        assert forwarder.counts.cancelled == 1
        [pair] = [it.event for it in shops.arrivals("meta") if it.event["event_id"].endswith(two.id)]
        assert [content["quantity"] for content in pair["custom_data"]["contents"]] == [2]


async def test_a_shop_in_trouble_is_waited_for(shops: Sandbox, tmp_path: Path) -> None:
    """Refused tokens, a storm of 429, errors inside a 200: orders wait, and the trouble is told."""
    async with receiving(shops, tmp_path) as (forwarder, client, address):
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        await forwarder.poll()
        selling.fail(105005, path="/order/202507", count=1)
        order = selling.place_order(paid=True)
        await selling.webhooks.idle()
        await until(lambda: forwarder.troubles)
        assert TikTokShopAuthError.__name__ in forwarder.counts.failed
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.troubles == {}
        await client.flush(10)
        assert purchases(shops, "meta") == {order.id: 1}


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
async def test_starlette_and_fastapi_answer_as_they_should(shops: Sandbox, tmp_path: Path, framework: str) -> None:
    """200 for what is taken in, 401 for forgeries, 413 for what is too large, 503 while there is no shop."""
    async with receiving(shops, tmp_path, poll_every_s=None) as (forwarder, client, address):
        connected: list[OrderForwarder] = []

        def find(_request: Any) -> OrderForwarder | None:
            return connected[0] if connected else None

        if framework == "starlette":
            app: Any = Starlette(routes=[starlette_route(find)])
        else:
            app = FastAPI()
            fastapi_route(app, find)
            assert PATH not in app.openapi()["paths"]
        selling = shops.tiktok_shop
        selling.webhooks.subscribe(address)
        selling.webhooks.retry_s = ()
        selling.webhooks.spoil("drop", count=None)
        order = selling.place_order(paid=True)
        last = selling.webhooks.deliveries[-1]
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as sender:
            assert (await sender.post(PATH, content=last.body, headers=last.headers)).status_code == 503
            connected.append(forwarder)
            assert (await sender.post(PATH, content=last.body[:-1], headers=last.headers)).status_code == 401
            assert (await sender.post(PATH, content=b"x" * 300_000, headers=last.headers)).status_code == 413
            assert (await sender.get(PATH)).status_code == 405
            taken = await sender.post(PATH, content=last.body, headers=last.headers)
            assert (taken.status_code, taken.content) == (200, b"")
        await forwarder.settled()
        await client.flush(10)
        assert purchases(shops, "meta") == {order.id: 1}


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; the package itself imports without any."""
    monkeypatch.setitem(sys.modules, "starlette.routing", None)
    with pytest.raises(ConfigError, match="pip install starlette"):
        starlette_route(lambda _request: None)


async def test_importing_the_source_imports_no_web_framework() -> None:
    """They are the application's choice."""
    code = (
        "import sys, capi_async.sources.tiktok_shop.web\n"
        "loaded = {'starlette', 'fastapi', 'aiohttp.web'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", code, cwd=ROOT)
    assert await asyncio.wait_for(process.wait(), 60) == 0
