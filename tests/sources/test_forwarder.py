"""The forwarder: every paid order once, whatever comes twice, late, out of order or not at all."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ClientClosed, ConfigError, Event, QueueFull, User
from capi_async.destinations import Meta
from capi_async.sandbox import Sandbox
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAuthError,
    TikTokShopNotFoundError,
    TikTokShopServerError,
    error_of,
)
from capi_async.sources.tiktok_shop.forwarder import BusyError, ForwarderClosed, OrderForwarder
from capi_async.sources.tiktok_shop.forwarder_settings import ForwarderOptions, ForwarderSettings
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.orders import event_id_of
from capi_async.sources.tiktok_shop.state import MemoryState, SqliteState, Waiting, open_state
from capi_async.sources.tiktok_shop.webhooks import SignatureError, StaleWebhookError, WebhookError
from tests.sources.forwarding import Shelf, signed, until, verifier, webhook
from tests.sources.orders import SHOP


@dataclass
class Bench:
    """A shop, a sandbox with Meta in it, a client for that, and forwarders between the two."""

    stack: AsyncExitStack
    sandbox: Sandbox
    shelf: Shelf
    folder: Path
    made: list[OrderForwarder] = field(default_factory=list)

    def client(self, spool: str = "memory", **options: Any) -> Client:
        meta = Meta(pixel_id="1234567890", access_token="sandbox-token", base_url=self.sandbox.url("meta"))
        return Client([meta], spool=spool, linger_s=0.0, **options)

    async def opened(self, **options: Any) -> Client:
        return await self.stack.enter_async_context(self.client(**options))

    def forwarder(self, client: Client, **options: Any) -> OrderForwarder:
        options = {"share": ["buyer_id"], "webhooks": verifier(), "poll_every_s": None, **options}
        return OrderForwarder(self.shelf, client, **options)

    @property
    def state(self) -> str:
        return f"sqlite:///{self.folder / 'shop.db'}"

    async def arrived(self, client: Client) -> list[str]:
        """Ids of the purchases that Meta holds, copies included."""
        await client.flush(10)
        return [arrival.event["event_id"] for arrival in self.sandbox.arrivals("meta") if arrival.accepted]


@pytest.fixture
async def bench(tmp_path: Path) -> Any:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox())
        yield Bench(stack, sandbox, Shelf(), tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def state(request: pytest.FixtureRequest, bench: Bench) -> str:
    return bench.state if request.param == "sqlite" else "memory"


def ids(*orders: str) -> list[str]:
    return [event_id_of(SHOP, one) for one in orders]


async def test_a_webhook_becomes_a_purchase(bench: Bench, state: str) -> None:
    """With the order's own detail, which no webhook carries."""
    client = await bench.opened()
    bench.shelf.put("1")
    async with bench.forwarder(client, state=state) as forwarder:
        found = await forwarder.receive(*webhook("1"))
        await forwarder.settled()
        assert found.type == 1
        assert forwarder.counts.forwarded == 1
    assert await bench.arrived(client) == ids("1")
    event = bench.sandbox.arrivals("meta")[0].event
    assert (event["custom_data"]["value"], event["custom_data"]["currency"]) == (59.39, "USD")
    assert event["action_source"] == "other"


async def test_twenty_webhooks_of_one_order_are_one_purchase(bench: Bench, state: str) -> None:
    """Copies, each later status, and all at once."""
    client = await bench.opened()
    bench.shelf.put("1")
    statuses = ("ON_HOLD", "AWAITING_SHIPMENT", "AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED")
    async with bench.forwarder(client, state=state) as forwarder:
        await asyncio.gather(*(forwarder.receive(*webhook("1", status)) for status in statuses for _ in range(4)))
        await forwarder.settled()
        bench.shelf.put("1", status="COMPLETED")
        await forwarder.receive(*webhook("1", "COMPLETED"))
        await forwarder.settled()
        counts = forwarder.counts
    assert await bench.arrived(client) == ids("1")
    assert (counts.forwarded, counts.webhooks, counts.copies) == (1, 6, 15)


async def test_webhook_and_poll_are_one_purchase(bench: Bench, state: str) -> None:
    """Whichever comes first."""
    client = await bench.opened()
    bench.shelf.put("1")
    async with bench.forwarder(client, state=state, poll_every_s=600.0) as forwarder:
        await forwarder.poll()
        await forwarder.receive(*webhook("1"))
        bench.shelf.put("2")
        await forwarder.receive(*webhook("2"))
        await forwarder.poll()
        await forwarder.poll()
    assert sorted(await bench.arrived(client)) == ids("1", "2")


async def test_polling_finds_the_order_whose_webhook_never_came(bench: Bench, state: str) -> None:
    """Without any webhook at all."""
    client = await bench.opened()
    async with bench.forwarder(client, state=state, poll_every_s=600.0, webhooks=None) as forwarder:
        await forwarder.poll()
        assert await bench.arrived(client) == []
        for number in range(60):
            bench.shelf.put(str(number))
        bench.shelf.put("unpaid", status="UNPAID", paid_time=0)
        bench.shelf.put("cancelled", status="CANCELLED")
        await forwarder.poll()
        assert forwarder.counts.polled == 60
    assert sorted(await bench.arrived(client)) == sorted(ids(*map(str, range(60))))
    # in calls of fifty, and each order once
    assert sorted(one for call in bench.shelf.detail_calls for one in call) == sorted(map(str, range(60)))


async def test_a_poll_begins_behind_the_last_and_looks_back(bench: Bench) -> None:
    """Over a restart, too: the cursor lies in the file."""
    client = await bench.opened()
    options = {"state": bench.state, "poll_every_s": 600.0, "overlap_s": 120.0, "lookback_s": 3600.0}
    began = time.time()
    for _ in range(2):
        async with bench.forwarder(client, **options) as forwarder:
            await forwarder.poll()
    first, *others = bench.shelf.polls
    assert first == pytest.approx(began - 3600 - 120, abs=5)
    assert all(one == pytest.approx(began - 120, abs=5) for one in others)


_READ_AND_CLOSE = """
import asyncio, sys
from pathlib import Path
from capi_async.sources.tiktok_shop.state import SqliteState

async def main():
    state = SqliteState(Path(sys.argv[1]))
    await state.open()
    print(await state.cursor(sys.argv[2]))
    await state.close()

asyncio.run(main())
"""


async def test_two_states_on_one_file_keep_its_log(tmp_path: Path) -> None:
    """Also when another process closes the file: what is written from then on is not written to a deleted log."""
    path = tmp_path / "shop.db"

    def elsewhere() -> str:
        call = [sys.executable, "-c", _READ_AND_CLOSE, str(path), SHOP]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()

    first, second = SqliteState(path), SqliteState(path)
    await first.open()
    await first.advance(SHOP, 1.0)
    await second.open()
    assert elsewhere() == "1.0"
    await first.advance(SHOP, 2.0)
    assert elsewhere() == "2.0"
    await second.close()
    await first.close()


async def test_a_poll_that_breaks_off_is_begun_again_where_it_was(bench: Bench) -> None:
    """The cursor moves only behind what was stored."""
    client = await bench.opened()
    state = SqliteState(bench.folder / "shop.db")
    bench.shelf.put("1")
    bench.shelf.failures = [TikTokShopServerError("down", http_status=503)]
    async with bench.forwarder(client, state=state, poll_every_s=600.0) as forwarder:
        await until(lambda: forwarder.troubles)
        assert await state.cursor(SHOP) is None
        assert "down" in forwarder.troubles[SHOP]
        await forwarder.poll()
        assert forwarder.troubles == {}
        assert await state.cursor(SHOP) is not None
    assert await bench.arrived(client) == ids("1")


async def test_an_order_that_does_not_count_yet_counts_later(bench: Bench, state: str) -> None:
    """Its next webhook brings it back."""
    client = await bench.opened()
    async with bench.forwarder(client, state=state, counts_when="confirmed") as forwarder:
        bench.shelf.put("1", status="UNPAID", paid_time=0)
        await forwarder.receive(*webhook("1", "UNPAID"))
        bench.shelf.put("1", status="ON_HOLD")
        await forwarder.receive(*webhook("1", "ON_HOLD"))
        await forwarder.settled()
        assert forwarder.counts.later == {"not confirmed": 1}
        assert bench.shelf.detail_calls == [["1"]]
        bench.shelf.put("1", status="AWAITING_SHIPMENT")
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
    assert await bench.arrived(client) == ids("1")


async def test_a_cancelled_order_is_no_purchase(bench: Bench, state: str) -> None:
    """Neither before it was paid, nor between its webhook and its detail; behind its purchase it is counted."""
    client = await bench.opened()
    async with bench.forwarder(client, state=state) as forwarder:
        await forwarder.receive(*webhook("1", "CANCEL"))
        bench.shelf.put("2", status="CANCELLED")
        await forwarder.receive(*webhook("2", "AWAITING_SHIPMENT"))
        await forwarder.settled()
        assert forwarder.counts.never == {"cancelled": 1}
        assert await bench.arrived(client) == []
        bench.shelf.put("3")
        await forwarder.receive(*webhook("3"))
        await forwarder.settled()
        bench.shelf.put("3", status="CANCELLED")
        await forwarder.receive(*webhook("3", "CANCEL"))
        await forwarder.settled()
        assert forwarder.counts.cancelled == 1
    assert await bench.arrived(client) == ids("3")


async def test_what_was_paid_before_forwarding_began_is_left_alone(bench: Bench, state: str) -> None:
    """An old order that is shipped today is no purchase of today; ``lookback_s`` says how old is old."""
    client = await bench.opened()
    yesterday = int(time.time()) - 86_400
    bench.shelf.put("1", paid_time=yesterday, create_time=yesterday)
    async with bench.forwarder(client, state=state) as forwarder:
        await forwarder.receive(*webhook("1", "IN_TRANSIT"))
        await forwarder.settled()
        assert forwarder.counts.never == {"paid before forwarding began": 1}
    assert await bench.arrived(client) == []


async def test_lookback_takes_in_what_was_paid_before(bench: Bench) -> None:
    """At the very first start."""
    client = await bench.opened()
    earlier = int(time.time()) - 3600
    bench.shelf.put("1", paid_time=earlier, create_time=earlier, update_time=earlier)
    async with bench.forwarder(client, poll_every_s=600.0, lookback_s=7200.0) as forwarder:
        await forwarder.poll()
    assert await bench.arrived(client) == ids("1")


async def test_forged_stale_and_broken_webhooks_change_nothing(bench: Bench, state: str) -> None:
    """Each is refused by its own error, and nothing is read for it."""
    client = await bench.opened()
    bench.shelf.put("1")
    body, headers = webhook("1")
    bad: list[tuple[bytes, dict[str, str], type[WebhookError], int]] = [
        (body, {}, SignatureError, 401),
        (body, {"Authorization": "0" * 64}, SignatureError, 401),
        (body[:-1], headers, SignatureError, 401),
        (body.replace(b'"1"', b'"2"'), headers, SignatureError, 401),
        (*webhook("1", age_s=80 * 3600), StaleWebhookError, 401),
        (*signed({"type": 1}), WebhookError, 400),
    ]
    async with bench.forwarder(client, state=state) as forwarder:
        for wrong, given, kind, status in bad:
            with pytest.raises(kind) as raised:
                await forwarder.receive(wrong, given)
            assert raised.value.status == status
        await forwarder.settled()
        assert sum(forwarder.counts.refused.values()) == len(bad)
        assert forwarder.counts.webhooks == 0
    assert bench.shelf.detail_calls == []


async def test_other_webhooks_are_taken_in_and_left_at_that(bench: Bench) -> None:
    """Another shop's, another topic's, one with an id that is none: answered, so that they do not come again."""
    client = await bench.opened()
    async with bench.forwarder(client) as forwarder:
        await forwarder.receive(*webhook("1", shop_id="999"))
        await forwarder.receive(*webhook("../1"))
        await forwarder.receive(*signed({"type": 99, "shop_id": SHOP, "timestamp": int(time.time()), "data": {}}))
        gone = {"type": 6, "shop_id": SHOP, "timestamp": int(time.time()), "data": {"message": "bye"}}
        await forwarder.receive(*signed(gone))
        await forwarder.settled()
        assert forwarder.counts.webhooks == 4
        assert "withdrawn" in forwarder.troubles[SHOP]
    assert bench.shelf.detail_calls == []


async def test_a_webhook_is_in_the_file_before_it_is_answered(bench: Bench) -> None:
    """Whatever ends the process then, the next one reads and forwards the order."""
    client = await bench.opened()
    bench.shelf.put("1")
    bench.shelf.failures = [TikTokShopServerError("down", http_status=503)]
    async with bench.forwarder(client, state=bench.state) as forwarder:
        await forwarder.receive(*webhook("1"))
        with sqlite3.connect(bench.folder / "shop.db") as db:
            assert db.execute("SELECT shop, id FROM waiting").fetchall() == [(SHOP, "1")]
        db.close()
        await until(lambda: forwarder.counts.failed)
    assert await bench.arrived(client) == []
    state = SqliteState(bench.folder / "shop.db")
    await state.open()
    [waiting] = await state.waiting([SHOP], now=time.time() + 600, limit=10)
    assert (waiting.order_id, waiting.tries) == ("1", 1)
    await state.close()
    async with bench.forwarder(client, state=bench.state) as forwarder:
        await until(lambda: forwarder.counts.forwarded)
    assert await bench.arrived(client) == ids("1")


async def test_the_file_is_written_through_to_the_disk(bench: Bench) -> None:
    """Not only to the operating system: a power cut is no kill."""
    state = SqliteState(bench.folder / "shop.db")
    await state.open()
    assert await state._call(state._rows, "PRAGMA synchronous", ()) == [(2,)]
    await state.close()


async def test_the_file_holds_nothing_of_a_buyer(bench: Bench) -> None:
    """Ids, statuses and times; and nobody else may read it."""
    client = await bench.opened()
    bench.shelf.put("1", buyer_email="dana@grigg.example", user_id="7021436810468230477")
    async with bench.forwarder(client, state=bench.state, share=["buyer_id", "email"]) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
    content = b"".join(path.read_bytes() for path in bench.folder.glob("shop.db*"))
    assert b"grigg" not in content
    assert b"7021436810468230477" not in content
    assert (bench.folder / "shop.db").stat().st_mode & 0o077 == 0


async def test_a_failing_shop_costs_nothing_but_time(bench: Bench) -> None:
    """Attempts go on, further and further apart."""
    client = await bench.opened()
    bench.shelf.put("1")
    bench.shelf.failures = [TikTokShopAuthError("access token expired", code=105002)]
    async with bench.forwarder(client) as forwarder:
        await forwarder.receive(*webhook("1"))
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.counts.failed == {"TikTokShopAuthError": 1}
        assert forwarder.troubles == {}
    assert await bench.arrived(client) == ids("1")


async def test_an_order_that_the_shop_refuses_holds_up_no_other(bench: Bench) -> None:
    """One of several costs the whole call: then each is asked for alone."""
    client = await bench.opened()
    for order_id in ("1", "2", "3"):
        bench.shelf.put(order_id)
    bench.shelf.refused = {"2": TikTokShopNotFoundError("no such order")}
    async with bench.forwarder(client, state=bench.state) as forwarder:
        state = forwarder.state
        await state.take_in((), [(SHOP, one) for one in ("1", "2", "3")], at=time.time(), max_waiting=10)
        await forwarder.receive(*webhook("1", "IN_TRANSIT"))
        await until(lambda: forwarder.counts.forwarded == 2)
        assert forwarder.counts.failed["unknown order"] >= 1
        assert await state.next_due([SHOP]) is not None
    assert sorted(await bench.arrived(client)) == ids("1", "3")


async def test_an_order_unknown_for_long_is_let_go(bench: Bench) -> None:
    """It cannot be asked for for ever, once answers that list others leave it out."""
    client = await bench.opened()
    state = MemoryState()
    bench.shelf.put("2")
    await state.take_in((), [(SHOP, "1"), (SHOP, "2")], at=time.time(), max_waiting=10)
    waiting = Waiting(SHOP, "1", time.time())
    for tries in range(10):
        await state.postpone([Waiting(SHOP, "1", waiting.since, tries)], until=0.0)
    async with bench.forwarder(client, state=state) as forwarder:
        await forwarder.settled()
        assert forwarder.counts.failed == {"unknown order": 1}
        assert await state.next_due([SHOP]) is None


async def test_an_order_that_makes_no_event_is_kept_and_told_of(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """By its number and the field at fault; when it changes, it is read again."""
    client = await bench.opened()
    bench.shelf.put("1", payment={"currency": "dollars", "total_amount": "5"})
    bench.shelf.put("2")
    async with bench.forwarder(client) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.receive(*webhook("2"))
        await forwarder.settled()
        assert forwarder.counts.later == {"malformed currency": 1}
        assert forwarder.counts.never == {}
        assert await bench.arrived(client) == ids("2")
        bench.shelf.put("1", payment={"currency": "USD", "total_amount": "5"})
        await forwarder.receive(*webhook("1", "IN_TRANSIT"))
        await forwarder.settled()
    assert await bench.arrived(client) == ids("2", "1")
    [record] = [record for record in caplog.records if record.__dict__.get("field") == "currency"]
    assert "order 1 makes no purchase" in record.getMessage()


async def test_a_client_without_room_gets_the_order_later(bench: Bench) -> None:
    """``QueueFull`` is no end."""
    client = await bench.opened()
    bench.shelf.put("1")
    refusals = [QueueFull("no room")]
    send = client.send

    async def full_once(event: Event, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await send(event, **options)

    client.send = full_once  # type: ignore[method-assign]
    async with bench.forwarder(client, state=bench.state) as forwarder:
        await forwarder.receive(*webhook("1"))
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.counts.failed == {"QueueFull": 1}
    assert await bench.arrived(client) == ids("1")


async def test_a_closed_client_ends_the_forwarder(bench: Bench) -> None:
    """And whoever leaves it is told; webhooks are answered with 503 from then on."""
    client = bench.client()
    await client.__aenter__()
    bench.shelf.put("1")
    forwarder = await bench.forwarder(client).__aenter__()
    await client.aclose()
    await forwarder.receive(*webhook("1"))
    await forwarder.settled()
    with pytest.raises(ForwarderClosed) as raised:
        await forwarder.receive(*webhook("2"))
    assert raised.value.status == 503
    with pytest.raises(ClientClosed):
        await forwarder.aclose()


async def test_too_many_waiting_orders_are_answered_with_503(bench: Bench, state: str) -> None:
    """And the webhook is not remembered: it is wanted again."""
    client = await bench.opened()
    bench.shelf.put("1")
    bench.shelf.put("2")
    bench.shelf.failures = [TikTokShopServerError("down", http_status=503)]
    async with bench.forwarder(client, state=state, max_waiting=1) as forwarder:
        await forwarder.receive(*webhook("1"))
        again = webhook("2")
        with pytest.raises(BusyError) as raised:
            await forwarder.receive(*again)
        assert raised.value.status == 503
        await until(lambda: forwarder.counts.forwarded)
        await forwarder.receive(*again)
        await forwarder.settled()
    assert sorted(await bench.arrived(client)) == ids("1", "2")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_enrich_adds_what_the_seller_knows(bench: Bench, asynchronous: bool) -> None:
    """Plain or async; the event's id stays; ``None`` leaves the order out."""
    client = await bench.opened()

    def plain(order: Order, event: Event) -> Event | None:
        if order.id == "2":
            return None
        known = User(email="dana@grigg.example")
        return Event("purchase", event_id="mine", user=known, value=1, currency="EUR", source="other")

    async def waiting(order: Order, event: Event) -> Event | None:
        await asyncio.sleep(0)
        return plain(order, event)

    bench.shelf.put("1")
    bench.shelf.put("2")
    async with bench.forwarder(client, enrich=waiting if asynchronous else plain) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.receive(*webhook("2"))
        await forwarder.settled()
        assert forwarder.counts.never == {"left out by enrich": 1}
    assert await bench.arrived(client) == ids("1")
    assert "em" in bench.sandbox.arrivals("meta")[0].event["user_data"]


async def test_a_fault_in_enrich_costs_an_attempt(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Its text, which may hold anything, is not logged."""
    client = await bench.opened()
    faults = [RuntimeError("dana@grigg.example")]

    def enrich(order: Order, event: Event) -> Event:
        if faults:
            raise faults.pop()
        return event

    bench.shelf.put("1")
    async with bench.forwarder(client, enrich=enrich) as forwarder:
        await forwarder.receive(*webhook("1"))
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.counts.failed == {"enrich": 1}
    assert not [record for record in caplog.records if "grigg" in f"{record.getMessage()} {vars(record)}"]


async def test_two_forwarders_on_one_file_forward_once(bench: Bench) -> None:
    """As two processes of a web server do."""
    client = await bench.opened()
    for number in range(30):
        bench.shelf.put(str(number))
    options = {"state": bench.state, "poll_every_s": 600.0}
    async with bench.forwarder(client, **options) as one, bench.forwarder(client, **options) as other:
        hooks = [webhook(str(number)) for number in range(30)]
        await asyncio.gather(*(each.receive(*hook) for hook in hooks for each in (one, other)))
        await asyncio.gather(one.poll(), other.poll())
        assert one.counts.forwarded + other.counts.forwarded == 30
        assert one.counts.webhooks + other.counts.webhooks == 30
    assert sorted(await bench.arrived(client)) == sorted(ids(*map(str, range(30))))


async def test_two_shops_with_forwarders_of_their_own_may_share_a_file(bench: Bench) -> None:
    """What one has no use for is no copy to the other."""
    client = await bench.opened()
    other = Shelf("42")
    other.put("1")
    mine = bench.forwarder(client, state=bench.state)
    theirs = OrderForwarder(
        other, client, share=["buyer_id"], webhooks=verifier(), state=bench.state, poll_every_s=None
    )
    async with mine, theirs:
        of_the_other = webhook("1", shop_id="42")
        # mine looks for work of its own at once: that is none
        assert await mine.state.next_due([SHOP]) is None
        await mine.receive(*of_the_other)
        await theirs.receive(*of_the_other)
        await until(lambda: theirs.counts.forwarded)
        assert (mine.counts.forwarded, theirs.counts.copies) == (0, 0)
    assert await bench.arrived(client) == [event_id_of("42", "1")]


async def test_of_two_that_read_the_same_order_one_hands_it_over(bench: Bench) -> None:
    """The other waits for its turn, and then finds it done."""
    client = await bench.opened()
    bench.shelf.put("1")
    send, sent = client.send, []

    async def slowly(event: Event, **options: Any) -> Any:
        sent.append(event.event_id)
        await asyncio.sleep(0.1)
        return await send(event, **options)

    client.send = slowly  # type: ignore[method-assign]
    state = SqliteState(bench.folder / "shop.db")
    await state.open()
    await state.begin(SHOP, time.time() - 10)
    await state.take_in((), [(SHOP, "1")], at=time.time(), max_waiting=5)
    await state.close()
    async with bench.forwarder(client, state=bench.state) as one, bench.forwarder(client, state=bench.state) as other:
        await until(lambda: one.counts.forwarded + other.counts.forwarded)
        await asyncio.gather(one.settled(), other.settled())
        assert len(bench.shelf.detail_calls) == 2
        assert one.counts.repeats + other.counts.repeats == 1
    assert sent == ids("1")


async def test_what_a_dead_process_had_taken_in_is_forwarded_by_its_sibling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any news of its own."""
    monkeypatch.setattr("capi_async.sources.tiktok_shop.handling.LOOK_S", 0.05)
    client = await bench.opened()
    async with bench.forwarder(client, state=bench.state) as forwarder:
        await forwarder.settled()
        bench.shelf.put("1")
        dead = SqliteState(bench.folder / "shop.db")
        await dead.open()
        await dead.take_in(["a"], [(SHOP, "1")], at=time.time(), max_waiting=5)
        await dead.close()
        await until(lambda: forwarder.counts.forwarded)
    assert await bench.arrived(client) == ids("1")


async def test_a_sender_that_hangs_up_costs_no_order(bench: Bench, state: str) -> None:
    """The server cancels the handler; what was stored is forwarded all the same."""
    client = await bench.opened()
    bench.shelf.put("1")
    async with bench.forwarder(client, state=state) as forwarder:
        await forwarder.settled()
        task = asyncio.create_task(forwarder.receive(*webhook("1")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: forwarder.counts.forwarded)
    assert await bench.arrived(client) == ids("1")


async def test_what_the_spool_accepted_is_not_sent_again(bench: Bench) -> None:
    """A process killed between acceptance and its note: the spool remembers in its place."""
    spool = f"sqlite:///{bench.folder / 'events.db'}?remember_days=7"
    bench.shelf.put("1")
    async with bench.client(spool) as client, bench.forwarder(client, state=bench.state) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
        await client.flush(10)
    with sqlite3.connect(bench.folder / "shop.db") as db:
        # what the killed process did not get to write
        db.execute("DELETE FROM done")
        db.execute("INSERT INTO waiting (shop, id, since, due, tries, asks) VALUES (?, '1', 0, 0, 0, 0)", (SHOP,))
    db.close()
    async with bench.client(spool) as client, bench.forwarder(client, state=bench.state) as forwarder:
        await forwarder.settled()
        assert (forwarder.counts.repeats, forwarder.counts.forwarded) == (1, 0)
        assert await bench.arrived(client) == ids("1")


async def test_leaving_finishes_what_is_under_way(bench: Bench) -> None:
    """In memory nothing else would."""
    client = await bench.opened()
    for number in range(120):
        bench.shelf.put(str(number))
    async with bench.forwarder(client) as forwarder:
        for number in range(120):
            await forwarder.receive(*webhook(str(number)))
    assert len(await bench.arrived(client)) == 120
    with pytest.raises(ForwarderClosed):
        await forwarder.receive(*webhook("1"))


async def test_it_may_be_entered_again_and_left_in_another_task(bench: Bench) -> None:
    """As fixtures and lifespans do."""
    client = await bench.opened()
    bench.shelf.put("1")
    forwarder = bench.forwarder(client)
    for status in ("AWAITING_SHIPMENT", "IN_TRANSIT"):
        await asyncio.create_task(forwarder.__aenter__())
        await forwarder.receive(*webhook("1", status))
        await forwarder.settled()
        await asyncio.create_task(forwarder.aclose())
    await forwarder.aclose()
    assert await bench.arrived(client) == ids("1")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "capi_async-shop-forwarder"]


async def test_several_shops_share_an_endpoint(bench: Bench) -> None:
    """Each order is read in its own shop, and two orders of one number are two."""
    client = await bench.opened()
    other = Shelf("42")
    bench.shelf.put("1")
    other.put("1")
    forwarder = OrderForwarder([bench.shelf, other], client, share=["buyer_id"], webhooks=verifier(), poll_every_s=600)
    async with forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.receive(*webhook("1", shop_id="42"))
        await forwarder.poll()
    assert sorted(await bench.arrived(client)) == sorted([event_id_of(SHOP, "1"), event_id_of("42", "1")])


async def test_a_shop_that_is_not_known_yet_is_asked_for(bench: Bench) -> None:
    """When the forwarder is entered."""
    client = await bench.opened()
    bench.shelf.shop_id = ""
    bench.shelf.put("1")
    async with bench.forwarder(client) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
    assert await bench.arrived(client) == ids("1")


@pytest.mark.parametrize(
    ("durable_state", "spool", "warned"), [(True, "memory", True), (True, "sqlite", False), (False, "memory", False)]
)
async def test_a_client_that_forgets_what_the_state_calls_done_is_warned_of(
    bench: Bench, caplog: pytest.LogCaptureFixture, durable_state: bool, spool: str, warned: bool
) -> None:
    """A crash would lose such purchases for good."""
    url = f"sqlite:///{bench.folder / 'events.db'}" if spool == "sqlite" else spool
    client = await bench.opened(spool=url)
    async with bench.forwarder(client, state=bench.state if durable_state else "memory"):
        assert any("lost in a crash" in record.getMessage() for record in caplog.records) is warned


async def test_one_shop_twice_is_a_mistake(bench: Bench) -> None:
    """And so is none at all."""
    client = await bench.opened()
    with pytest.raises(ConfigError, match="of its own"):
        await OrderForwarder([Shelf(), Shelf()], client, share=[]).__aenter__()
    with pytest.raises(ConfigError, match="must be a shop"):
        OrderForwarder([], client, share=[])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"share": ["everything"]}, "buyer_id"),
        ({"counts_when": "shipped"}, "paid, confirmed"),
        ({"item_id": "id"}, "seller_sku"),
        ({"poll_every_s": 0}, "poll_every_s"),
        ({"max_waiting": 0}, "max_waiting"),
        ({"webhooks": None}, "no order would ever be found"),
        ({"state": "postgres://"}, "sqlite:///"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(bench: Bench, options: dict[str, Any], said: str) -> None:
    """Before anything starts."""
    with pytest.raises(ConfigError, match=said):
        bench.forwarder(bench.client(), **options)


@pytest.mark.parametrize("marked", [0, 12345])
async def test_a_file_of_something_else_is_refused(bench: Bench, marked: int) -> None:
    """And left as it is, byte for byte, the mode of its journal included."""
    path = bench.folder / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
        db.execute(f"PRAGMA application_id = {marked}")
    db.close()
    before = path.read_bytes()
    state = open_state(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="something else"):
        await state.open()
    await state.close()
    assert path.read_bytes() == before
    assert [one.name for one in bench.folder.glob("other.db-*") if one.suffix != ".db-lock"] == []


async def test_a_file_that_is_no_database_is_refused(bench: Bench) -> None:
    """And left as it is."""
    path = bench.folder / "capi.toml"
    path.write_text("[destinations.snap]\n" * 20)
    state = open_state(f"sqlite:///{path}")
    with pytest.raises(ConfigError, match="is no database, and was left as it is"):
        await state.open()
    await state.close()
    assert path.read_text() == "[destinations.snap]\n" * 20


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_news_during_an_attempt_are_not_lost(kind: str, bench: Bench) -> None:
    """An order that is let go while its next webhook comes in goes on waiting."""
    state = open_state("memory" if kind == "memory" else bench.state)
    await state.open()
    await state.take_in(["a"], [(SHOP, "1")], at=1.0, max_waiting=5)
    [taken] = await state.waiting([SHOP], now=2.0, limit=5)
    assert await state.take_in(["b"], [(SHOP, "1")], at=3.0, max_waiting=5)
    await state.let_go([taken])
    assert [one.order_id for one in await state.waiting([SHOP], now=4.0, limit=5)] == ["1"]
    await state.postpone([taken], until=100.0)
    assert [one.order_id for one in await state.waiting([SHOP], now=4.0, limit=5)] == ["1"]
    [taken] = await state.waiting([SHOP], now=4.0, limit=5)
    await state.postpone([taken], until=100.0)
    assert await state.waiting([SHOP], now=4.0, limit=5) == []
    assert await state.next_due([SHOP]) == 100.0
    assert await state.take_in(["b"], [], at=4.0, max_waiting=5) is False
    await state.close()


async def test_nothing_secret_or_personal_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """On all of these ways."""
    caplog.set_level(logging.DEBUG, "capi_async")
    client = await bench.opened()
    bench.shelf.put("1", buyer_email="dana@grigg.example")
    bench.shelf.failures = [error_of(36009003, "down for dana@grigg.example", http_status=200)]
    async with bench.forwarder(client, share=["email", "buyer_id"]) as forwarder:
        body, headers = webhook("1")
        with pytest.raises(SignatureError):
            await forwarder.receive(body, {"Authorization": headers["Authorization"][::-1]})
        await forwarder.receive(body, headers)
        await until(lambda: forwarder.counts.forwarded)
        shown = repr(forwarder) + repr(forwarder.counts)
    for text in (shown, *(f"{record.getMessage()} {vars(record)!r}" for record in caplog.records)):
        for secret in ("grigg", "e59af819cc", headers["Authorization"], "7021436810468230477"):
            assert secret not in text


def test_every_setting_is_a_keyword_of_the_forwarder() -> None:
    """The settings and the keywords that type checkers know are the same."""
    assert tuple(ForwarderOptions.__annotations__) == ForwarderSettings.__struct_fields__


def test_a_setting_that_does_not_exist_is_refused_by_name() -> None:
    """A typing error must not pass for a setting."""
    with pytest.raises(TypeError, match="poll_every"):
        OrderForwarder(Shelf(), None, share=[], poll_every=60)  # type: ignore[arg-type, call-arg]
    with pytest.raises(TypeError, match="share"):
        OrderForwarder(Shelf(), None)  # type: ignore[arg-type, call-arg]
