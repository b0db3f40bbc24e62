"""The forwarder when something is odd: an order, a shop, a queue, the user's own code. Each costs itself."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, Event, User
from capi_async.backoff import Backoff
from capi_async.destinations import Meta
from capi_async.errors import CapiError
from capi_async.sandbox import Sandbox
from capi_async.sources.tiktok_shop import forwarder as forwarder_module
from capi_async.sources.tiktok_shop.errors import TikTokShopServerError, error_of
from capi_async.sources.tiktok_shop.forwarder import BusyError, OrderForwarder
from capi_async.sources.tiktok_shop.models import Order, read
from capi_async.sources.tiktok_shop.orders import event_id_of
from capi_async.sources.tiktok_shop.state import SqliteState
from tests.sources.forwarding import Shelf, Taker, forwarding, signed, until, verifier, webhook
from tests.sources.orders import SHOP, detail


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are too short to notice."""
    monkeypatch.setattr(forwarder_module, "BACKOFF", Backoff(first_s=0.002, longest_s=0.002))


def odd(order_id: str, **changes: Any) -> Order:
    """An order as it comes over the wire, paid just now."""
    now = int(time.time())
    times = {"create_time": now, "paid_time": now, "update_time": now}
    return read(json.dumps(detail(**{"id": order_id, **times, **changes})).encode(), Order)


#: What stands for the moment of the test: this table is made long before it.
NOW_MS = object()
#: Orders whose purchase can be told although something of them cannot be read.
USABLE: dict[str, dict[str, Any]] = {
    "milliseconds": {"paid_time": NOW_MS, "create_time": NOW_MS},
    "no known unit": {"paid_time": 10**15},
    "only changed": {"paid_time": 0, "create_time": 0},
    "negative time": {"paid_time": -1},
    "the next century": {"paid_time": 4_000_000_000},
    "comma": {"payment": {"currency": "EUR", "total_amount": "59,39"}},
    "lower case": {"payment": {"currency": " usd", "total_amount": "5"}},
    "price not a number": {"line_items": [{"sku_id": "s", "sale_price": "NaN"}, {"sku_id": "s", "sale_price": "sNaN"}]},
    "negative line": {"line_items": [{"sku_id": "a", "sale_price": "60.39"}, {"sku_id": "b", "sale_price": "-1.00"}]},
    "a novel for a name": {"line_items": [{"sku_id": "s", "sale_price": "1", "product_name": "x" * 10**6}]},
    "a novel for an id": {"line_items": [{"sku_id": "s" * 10**6, "sale_price": "1"}]},
    "a novel for a buyer": {"user_id": "1" * 10**6, "buyer_email": "a" * 10**6 + "@b.example"},
    "half a character": {"line_items": [{"sku_id": "s\ud83d", "sale_price": "1"}], "user_id": "\ud800"},
    "unknown words": {"status": "TELEPORTED", "order_type": "MOON", "fulfillment_type": [1]},
    "an address of nonsense": {"recipient_address": {
        "region_code": "Mars", "postal_code": "x" * 300, "phone_number": "+1" + "0" * 30, "first_name": "\ud83d" * 99,
        "district_info": [{"address_level_name": "city", "address_name": "x" * 10**5}, None, 5]}},
    "no lines": {"line_items": None},
}  # fmt: skip


@pytest.mark.parametrize("kind", USABLE)
async def test_a_purchase_is_not_dropped_for_a_detail_that_is_not_needed(kind: str) -> None:
    """What cannot be read of an order is left out of its purchase; value, currency and a time remain."""
    shelf, taker = Shelf(), Taker()
    now_ms = int(time.time()) * 1000
    fields = {name: now_ms if value is NOW_MS else value for name, value in USABLE[kind].items()}
    shelf.orders = {"1": odd("1", **fields), "2": odd("2")}
    async with forwarding(shelf, taker, share=["buyer_id", "phone", "name", "address", "email"]) as forwarder:
        await forwarder.poll()
        assert (forwarder.counts.failed, forwarder.counts.later, forwarder.counts.never) == ({}, {}, {})
    assert sorted(taker.orders) == ["1", "2"]
    for event in taker.taken:
        assert event.value
        assert abs(event.time.timestamp() - time.time()) < 600


@pytest.mark.parametrize(
    ("missing", "field"),
    [
        ({"payment": {}}, "value"),
        ({"payment": None}, "value"),
        ({"payment": {"total_amount": "5"}}, "value"),
        ({"payment": {"currency": "USD", "total_amount": "NaN"}}, "value"),
        ({"payment": {"currency": "USD", "total_amount": "1E+400"}}, "value"),
        ({"payment": {"currency": "USD", "total_amount": "1,234"}}, "value"),
        ({"payment": {"currency": "Dollar", "total_amount": "5"}}, "currency"),
    ],
)
async def test_an_order_that_lacks_what_is_needed_is_read_again(
    missing: dict[str, Any], field: str, soon: None
) -> None:
    """A first answer may be half of one; nothing is decided by it."""
    shelf, taker = Shelf(), Taker()
    shelf.orders = {"1": odd("1", **missing), "2": odd("2")}
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: forwarder.counts.later.get(f"malformed {field}", 0) > 1)
        assert taker.orders == ["2"]
        shelf.orders["1"] = odd("1")
        await until(lambda: forwarder.counts.forwarded == 2)
        assert forwarder.troubles == {}


async def test_an_order_that_nobody_thought_of_ends_nobody(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside is its own affair; a restart finds the others going."""
    shelf, taker = Shelf(), Taker()
    shelf.orders = {"1": odd("1"), "2": odd("2")}

    def broken(order: Order, **_options: Any) -> Any:
        if order.id == "1":
            raise ZeroDivisionError
        return "counts", ""

    monkeypatch.setattr("capi_async.sources.tiktok_shop.handling.purchase_verdict", broken)
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: forwarder.counts.failed.get("ZeroDivisionError", 0) > 1)
        assert forwarder.running
        await forwarder.receive(*webhook("3"))
    assert taker.orders == ["2"]


OUTAGES = {
    "a gateway's page": error_of(0, "", http_status=404),
    "a proxy": error_of(0, "", http_status=400),
    "retired version": error_of(36009014, "Invalid version", http_status=200),
    "wrong path": error_of(36009009, "Invalid path", http_status=404),
    "missing cipher": error_of(106013, "shop_cipher is missing", http_status=200),
    "unexpected identifier": error_of(36009004, "Unexpected identifier", http_status=200),
    "scope": error_of(105005, "Access denied", http_status=403),
    "no product": error_of(12019150, "not found", http_status=200),
    "down": error_of(0, "", http_status=503),
}


@pytest.mark.parametrize("kind", OUTAGES)
async def test_an_outage_of_detail_is_no_verdict_on_an_order(kind: str, soon: None) -> None:
    """Search works all the while. The shop's trouble is shown, and every order comes through in the end."""
    shelf, taker = Shelf(), Taker()
    for number in range(3):
        shelf.put(str(number))
    shelf.refused = dict.fromkeys(shelf.orders, OUTAGES[kind])
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: len(shelf.detail_calls) > 40)
        await forwarder.poll()
        assert SHOP in forwarder.troubles
        assert "unknown order" not in forwarder.counts.failed
        shelf.refused = {}
        await until(lambda: forwarder.counts.forwarded == 3)
        assert forwarder.troubles == {}


async def test_answers_that_list_nothing_say_nothing(soon: None) -> None:
    """An empty success is no verdict either; it is the shop's trouble if it goes on."""
    shelf, taker = Shelf(), Taker()
    async with forwarding(shelf, taker) as forwarder:
        await forwarder.receive(*webhook("1"))
        await until(lambda: forwarder.troubles and len(shelf.detail_calls) > 20)
        shelf.put("1")
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.troubles == {}


@pytest.mark.parametrize(
    "refusal",
    [
        error_of(36009004, "param ids is invalid", http_status=400),
        error_of(21008111, "the order does not belong to the current seller", http_status=200),
        TikTokShopServerError("the answer cannot be read", http_status=200),
        error_of(0, "", http_status=500),
    ],
    ids=["bad id", "not yours", "unreadable", "500"],
)
async def test_one_order_that_spoils_a_whole_answer_is_found_out(refusal: CapiError, soon: None) -> None:
    """The call is divided until the order stands alone; it is no trouble of the shop, also when only it is left."""
    shelf, taker = Shelf(), Taker()
    for number in range(50):
        shelf.put(f"{number}")
    shelf.refused = {"7": refusal, "41": refusal}
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: forwarder.counts.forwarded == 48)
        calls = len(shelf.detail_calls)
        await until(lambda: len(shelf.detail_calls) > calls + 4)
        assert forwarder.troubles == {}
        shelf.refused = {}
        shelf.put("7", status="IN_TRANSIT")
        await forwarder.receive(*webhook("7", "IN_TRANSIT"))
        await until(lambda: "7" in taker.orders)


class ByPosition(Shelf):
    """A shop whose pages are cut by position, and in which the oldest order changes while pages are turned."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self.changes = changes

    async def iter_orders(
        self, *, update_time_ge: int, sort_field: str, sort_order: str, page_size: int
    ) -> AsyncIterator[Order]:
        at = 0
        while True:
            rows = sorted(self.orders.values(), key=lambda one: (one.update_time, one.id))
            page = [one for one in rows if one.update_time >= update_time_ge][at : at + page_size]
            for one in page:
                yield one
            if len(page) < page_size:
                return
            at += page_size
            if self.changes:
                self.changes -= 1
                self.put(rows[0].id, status="IN_TRANSIT", paid_time=rows[0].paid_time)


@pytest.mark.parametrize("same_second", [False, True])
async def test_no_order_falls_between_two_pages(same_second: bool) -> None:
    """However the platform cuts its pages, and also where more orders than a page holds changed in one second."""
    shelf, taker = ByPosition(changes=3), Taker()
    began = int(time.time()) - 7_200
    for number in range(350):
        at = began + (0 if same_second else number)
        shelf.put(str(1_000 + number), update_time=at, paid_time=at, create_time=at)
    async with forwarding(shelf, taker, lookback_s=8_000.0) as forwarder:
        await forwarder.poll()
        assert forwarder.counts.forwarded == 350
    assert len(set(taker.orders)) == 350


async def test_a_list_in_no_order_is_read_whole() -> None:
    """A platform that overlooks the order asked for costs nothing."""
    shelf, taker = ByPosition(changes=0), Taker()
    now = int(time.time())
    for number in range(250):
        shelf.put(str(1_000 + number), update_time=now - number % 7)

    async def unordered(**_asked: Any) -> AsyncIterator[Order]:
        for one in list(shelf.orders.values()):
            yield one

    shelf.iter_orders = unordered  # type: ignore[method-assign, assignment]
    async with forwarding(shelf, taker) as forwarder:
        await forwarder.poll()
    assert len(set(taker.orders)) == len(taker.orders) == 250


@pytest.mark.parametrize("status", ["UNPAID", "ON_HOLD"])
async def test_detail_that_lags_behind_its_webhook_is_read_again(status: str, soon: None) -> None:
    """A copy of the shop's data may be older than the webhook that was made from it."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1", status=status, paid_time=0, update_time=int(time.time()) - 60)
    async with forwarding(shelf, taker, poll_every_s=None, counts_when="confirmed") as forwarder:
        await forwarder.receive(*webhook("1"))
        await until(lambda: forwarder.counts.failed.get("old detail", 0) > 1)
        shelf.put("1")
        await until(lambda: forwarder.counts.forwarded)
    assert taker.orders == ["1"]


async def test_a_repeated_webhook_hurries_an_order_that_waits() -> None:
    """It is a copy, and tells all the same that somebody is waiting."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1", status="UNPAID", paid_time=0)
    async with forwarding(shelf, taker, poll_every_s=None) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
        shelf.put("1")
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
        assert (forwarder.counts.forwarded, forwarder.counts.copies) == (1, 1)


async def test_a_clock_that_is_ahead_at_the_first_start_loses_nothing() -> None:
    """The platform takes requests up to 30 seconds ahead of its own clock."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1", paid_time=int(time.time()) - 25)
    async with forwarding(shelf, taker, lookback_s=0.0) as forwarder:
        await forwarder.receive(*webhook("1"))
        await forwarder.settled()
        assert forwarder.counts.forwarded == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_lookback_counts_at_a_later_start_too(kind: str, tmp_path: Path) -> None:
    """What was left alone as too old is looked at again, once; nothing is forwarded twice."""
    shelf, taker = Shelf(), Taker()
    earlier = int(time.time()) - 3_000
    shelf.put("1", paid_time=earlier, create_time=earlier, update_time=int(time.time()) - 5)
    shelf.put("2")
    path = f"sqlite:///{tmp_path}/shop.db"
    options = {"state": path} if kind == "sqlite" else {"state": forwarding(shelf, taker).state}
    for lookback_s, never, forwarded in ((0.0, 1, 1), (7_200.0, 0, 1), (7_200.0, 0, 0)):
        async with forwarding(shelf, taker, lookback_s=lookback_s, **options) as forwarder:
            await forwarder.poll()
            assert sum(forwarder.counts.never.values()) == never
            assert forwarder.counts.forwarded == forwarded
    assert taker.orders == ["2", "1"]


@pytest.mark.parametrize("polled", [True, False])
async def test_a_state_that_was_lost_is_noticed_where_the_spool_remembers(
    polled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was paid while nothing ran is forwarded; what the spool remembers is not sent again."""
    shelf, taker = Shelf(), Taker(durable=True)
    then = int(time.time()) - 4_000
    shelf.put("1", paid_time=then, create_time=then, update_time=then)
    async with forwarding(shelf, taker, lookback_s=5_000.0, state=f"sqlite:///{tmp_path}/one.db") as forwarder:
        await forwarder.poll()
    shelf.put("2", paid_time=then + 2_000, create_time=then + 2_000, update_time=then + 2_000)
    options = {"lookback_s": 0.0, "state": f"sqlite:///{tmp_path}/other.db"}
    async with forwarding(shelf, taker, poll_every_s=600.0 if polled else None, **options) as forwarder:
        if polled:
            await forwarder.poll()
        await forwarder.receive(*webhook("2"))
        await forwarder.settled()
    assert taker.orders == ["1", "2"]
    assert any("the state was lost" in record.getMessage() for record in caplog.records)


async def test_a_first_start_is_not_taken_for_a_loss(tmp_path: Path) -> None:
    """A spool that remembers nothing of a shop says that nothing was forwarded; old orders are left alone."""
    shelf, taker = Shelf(), Taker(durable=True)
    then = int(time.time()) - 4_000
    shelf.put("1", paid_time=then, create_time=then, update_time=then)
    async with forwarding(shelf, taker, lookback_s=0.0, state=f"sqlite:///{tmp_path}/shop.db") as forwarder:
        await forwarder.poll()
        await forwarder.receive(*webhook("1", "IN_TRANSIT"))
        await forwarder.settled()
        assert forwarder.counts.never == {"paid before forwarding began": 1}
    assert taker.orders == []


@pytest.mark.parametrize("overflow", ["wait", "fail"])
async def test_a_full_queue_makes_the_forwarder_wait(overflow: Any, tmp_path: Path) -> None:
    """Nothing is dropped, whatever the client does with others' events; nothing is noted that was not taken."""
    shelf = Shelf()
    for number in range(30):
        shelf.put(str(number))
    async with Sandbox() as sandbox:
        sandbox.fault("meta", "status", status=503)
        meta = Meta(pixel_id="1234567890", access_token="sandbox-token", base_url=sandbox.url("meta"))
        spool = f"sqlite:///{tmp_path}/events.db"
        async with Client([meta], spool=spool, linger_s=0.0, max_pending_events=10, overflow=overflow) as client:
            options = {"share": ["buyer_id"], "webhooks": verifier(), "poll_every_s": 600.0, "lookback_s": 60.0}
            async with OrderForwarder(shelf, client, **options) as forwarder:
                await forwarder.poll()
                assert forwarder.counts.forwarded == 10
                assert "full" in forwarder.troubles[SHOP]
                assert client.ledger()["meta"].dropped == 0
                sandbox.clear_faults()
                await until(lambda: forwarder.counts.forwarded == 30, within_s=60)
                await until(lambda: forwarder.troubles == {})
            assert await client.flush(30)
            assert client.ledger()["meta"].dropped == 0
        arrived = [one.event["event_id"] for one in sandbox.arrivals("meta") if one.accepted]
    assert sorted(set(arrived)) == sorted(event_id_of(SHOP, str(number)) for number in range(30))


async def test_what_a_queue_dropped_is_handed_over_again(soon: None) -> None:
    """To that destination only; the others have it."""

    class Dropped:
        async def outcomes(self, timeout_s: float) -> dict[str, Any]:
            kinds = {"meta": "dropped", "snap": "pending"}
            return {name: type("Outcome", (), {"kind": kind})() for name, kind in kinds.items()}

    shelf, taker = Shelf(), Taker()
    send = taker.send

    async def full_once(event: Event, *, timeout_s: float = 5.0) -> Any:
        await send(event)
        return Dropped() if len(taker.taken) == 1 else None

    taker.send = full_once  # type: ignore[method-assign]
    shelf.put("1")
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: forwarder.counts.forwarded)
        assert forwarder.counts.failed == {"dropped": 1}
    assert [event.to for event in taker.taken] == [None, ["meta"]]


def returning(value: Any) -> Any:
    return lambda _order, _event: value


async def cancelling(_order: Order, _event: Event) -> None:
    raise asyncio.CancelledError


async def hanging(_order: Order, _event: Event) -> None:
    await asyncio.Event().wait()


def leaving(_order: Order, _event: Event) -> None:
    raise SystemExit


@pytest.mark.parametrize(
    ("enrich", "said"),
    [
        (returning(True), "returned a bool"),
        (returning({"user": 1}), "returned a dict"),
        (returning("text"), "returned a str"),
        (cancelling, "raised CancelledError"),
        (leaving, "raised SystemExit"),
        (hanging, "took longer than 0.05 s"),
    ],
    ids=["True", "dict", "str", "cancels", "exits", "hangs"],
)
async def test_a_fault_of_enrich_costs_one_attempt_at_one_order(
    enrich: Any, said: str, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    """In words, with the order's number; all others go on."""
    shelf, taker = Shelf(), Taker()
    faulty = [True]

    def mostly(order: Order, event: Event) -> Any:
        return enrich(order, event) if order.id == "1" and faulty else event

    for number in range(3):
        shelf.put(str(number))
    async with forwarding(shelf, taker, enrich=mostly, enrich_timeout_s=0.05) as forwarder:
        await until(lambda: sorted(taker.orders) == ["0", "2"] and forwarder.counts.failed.get("enrich", 0) > 1)
        assert forwarder.running
        faulty.clear()
        await until(lambda: forwarder.counts.forwarded == 3)
    words = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any(said in line and "order 1" in line for line in words)


async def test_a_forwarder_can_be_left_while_enrich_hangs(tmp_path: Path) -> None:
    """The order waits in the file."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1")
    forwarder = await forwarding(shelf, taker, enrich=hanging, state=f"sqlite:///{tmp_path}/s.db").__aenter__()
    await until(lambda: shelf.detail_calls)
    async with asyncio.timeout(20):
        await forwarder.aclose(deadline_s=0.05)
    async with forwarding(shelf, taker, state=f"sqlite:///{tmp_path}/s.db") as forwarder:
        await forwarder.settled()
    assert taker.orders == ["1"]


class Stuck(Shelf):
    """A shop whose detail does not answer until it is let."""

    def __init__(self, shop_id: str) -> None:
        super().__init__(shop_id)
        self.let = asyncio.Event()

    async def get_orders_by_id(self, order_ids: Sequence[str]) -> list[Order]:
        await self.let.wait()
        return await super().get_orders_by_id(order_ids)


async def test_a_shop_that_does_not_answer_holds_up_no_other() -> None:
    """Each is read by itself."""
    slow, quick, taker = Stuck("111"), Shelf("222"), Taker()
    slow.put("1")
    quick.put("2")
    async with forwarding([slow, quick], taker, poll_every_s=None) as forwarder:
        await forwarder.receive(*webhook("1", shop_id="111"))
        await until(lambda: not slow.detail_calls)
        await forwarder.receive(*webhook("2", shop_id="222"))
        await until(lambda: taker.orders == ["2"])
        slow.let.set()
        await until(lambda: taker.orders == ["2", "1"])


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_shop_fills_no_waiting_room_but_its_own(kind: str, tmp_path: Path) -> None:
    """A shop whose authorization has ended waits for days; the webhooks and polls of the others are taken in."""
    ended, well, taker = Shelf("111"), Shelf("222"), Taker()
    ended.refused = {str(number): error_of(105001, "deauthorized", http_status=401) for number in range(5)}
    state = f"sqlite:///{tmp_path}/shop.db" if kind == "sqlite" else "memory"
    async with forwarding([ended, well], taker, max_waiting=5, state=state) as forwarder:
        for number in range(5):
            await forwarder.receive(*webhook(str(number), shop_id="111"))
        with pytest.raises(BusyError):
            await forwarder.receive(*webhook("5", shop_id="111"))
        # what waits already needs no room
        await forwarder.receive(*webhook("4", "IN_TRANSIT", shop_id="111"))
        well.put("6")
        await forwarder.receive(*webhook("6", shop_id="222"))
        well.put("7")
        await forwarder.poll()
        assert sorted(taker.orders) == ["6", "7"]
        assert set(forwarder.troubles) == {"111"}


async def test_troubles_of_strangers_are_not_ours_and_our_own_end(caplog: pytest.LogCaptureFixture) -> None:
    """Webhook 6 of another shop changes nothing; of our own it counts until a call works again."""
    shelf, taker = Shelf(), Taker()
    gone = {"type": 6, "timestamp": int(time.time()), "data": {"message": "bye"}}
    async with forwarding(shelf, taker) as forwarder:
        for _ in range(3):
            await forwarder.receive(*signed({**gone, "shop_id": "999"}))
        assert forwarder.troubles == {}
        await forwarder.receive(*signed({**gone, "shop_id": SHOP}))
        assert "withdrawn" in forwarder.troubles[SHOP]
        await forwarder.poll()
        assert forwarder.troubles == {}
    assert sum("999" in record.getMessage() for record in caplog.records) == 1


async def test_webhooks_of_a_shop_that_another_forwards_stay_news_to_it(tmp_path: Path) -> None:
    """Also those that name no order: two processes may share a state."""
    ours, theirs, taker = Shelf(), Shelf("222"), Taker()
    state = f"sqlite:///{tmp_path}/shop.db"
    gone = signed({"type": 6, "shop_id": "222", "timestamp": int(time.time()), "data": {"message": "bye"}})
    options = {"state": state, "poll_every_s": None}
    async with forwarding(ours, taker, **options) as mine, forwarding(theirs, taker, **options) as other:
        await mine.receive(*gone)
        await other.receive(*gone)
        assert (mine.troubles, set(other.troubles)) == ({}, {"222"})


@pytest.mark.parametrize("factor", [1, 1_000, 0])
async def test_an_authorization_that_ends_soon_is_told(factor: int, caplog: pytest.LogCaptureFixture) -> None:
    """It is no trouble yet."""
    told = str((int(time.time()) + 9 * 86_400 + 3_600) * factor) if factor else ""
    async with forwarding(Shelf(), Taker()) as forwarder:
        data = {"message": "soon", "expiration_time": told}
        await forwarder.receive(*signed({"type": 7, "shop_id": SHOP, "timestamp": int(time.time()), "data": data}))
        assert ("in 9 days" if told else "soon") in forwarder.notices[SHOP]
        assert forwarder.troubles == {}
    assert any("authorization ends" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_cancelled_later_is_counted_by_polling_and_once(kind: str, tmp_path: Path) -> None:
    """Whatever tells of it, however often, over a restart too."""
    shelf, taker = Shelf(), Taker()
    options = {"state": f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else forwarding(shelf, taker).state}
    shelf.put("1")
    async with forwarding(shelf, taker, **options) as forwarder:
        await forwarder.poll()
        shelf.put("1", status="CANCELLED")
        shelf.put("2", status="CANCELLED")
        for _ in range(2):
            await forwarder.poll()
            await forwarder.receive(*webhook("1", "CANCEL"))
        assert forwarder.counts.cancelled == 1
    async with forwarding(shelf, taker, **options) as forwarder:
        await forwarder.poll()
        assert forwarder.counts.cancelled == 0
    assert taker.orders == ["1"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_cancellation_that_overtakes_its_purchase_is_not_lost(when: str, kind: str, tmp_path: Path) -> None:
    """Before the purchase is handed over it is not; while it is, it is counted."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1")
    reached, go = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go.wait()

    async def enrich(_order: Order, event: Event) -> Event:
        if when == "before":
            await wait()
        return event

    send = taker.send

    async def sending(event: Event, *, timeout_s: float = 5.0) -> None:
        if when == "during":
            await wait()
        await send(event)

    taker.send = sending  # type: ignore[method-assign]
    state = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else "memory"
    async with forwarding(shelf, taker, enrich=enrich, state=state) as forwarder:
        await reached.wait()
        shelf.put("1", status="CANCELLED")
        await forwarder.receive(*webhook("1", "CANCEL"))
        go.set()
        await forwarder.poll()
        found = (taker.orders, forwarder.counts.cancelled, forwarder.counts.never)
    assert found == (([], 0, {"cancelled": 1}) if when == "before" else (["1"], 1, {}))


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        (2, {"order_id": "1"}),
        (3, {"order_id": "1", "update_time": 1}),
        (4, {"package_list": [{"package_id": "9", "order_id_list": ["1"]}, None, {"order_id_list": None}]}),
        (11, {"order_id": "1", "cancel_id": "5", "cancel_status": "CANCELLATION_REQUEST_PENDING"}),
        (12, {"order_id": 1, "return_id": "5"}),
        (64, {"order_id": "1"}),
        (65, {"order_ids": ["1"]}),
        (67, {"orders": [{"order_id": "1"}]}),
        (12_345, {"order_id": "1", "order_status": "SOMETHING_NEW"}),
    ],
)
async def test_a_webhook_of_any_topic_that_names_an_order_makes_it_be_read(topic: int, data: dict[str, Any]) -> None:
    """Topics are added; detail decides what an order is."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1")
    hook = signed({"type": topic, "shop_id": SHOP, "timestamp": int(time.time()), "data": data})
    async with forwarding(shelf, taker, poll_every_s=None) as forwarder:
        await forwarder.receive(*hook)
        await forwarder.settled()
    assert taker.orders == ["1"]


@pytest.mark.parametrize("data", [{}, {"order_id": None}, {"order_id": True}, {"order_id": "../1"}, {"orders": "1"},
                                  {"order_id": "1", "order_status": "UNPAID"}, {"package_list": [["1"]]}])  # fmt: skip
async def test_a_webhook_that_names_no_order_reads_none(data: dict[str, Any]) -> None:
    """It is answered and left at that."""
    shelf, taker = Shelf(), Taker()
    async with forwarding(shelf, taker, poll_every_s=None) as forwarder:
        await forwarder.receive(*signed({"type": 64, "shop_id": SHOP, "timestamp": int(time.time()), "data": data}))
        await forwarder.settled()
        assert forwarder.counts.webhooks == 1
    assert shelf.detail_calls == []


async def test_an_unexpected_fault_of_a_shop_ends_no_other(soon: None) -> None:
    """A shop's client that raises what nobody expects is its own trouble."""
    broken, well, taker = Shelf("111"), Shelf("222"), Taker()
    broken.refused = {"1": KeyError("odd")}  # type: ignore[dict-item]
    broken.put("1")
    well.put("2")
    async with forwarding([broken, well], taker) as forwarder:
        await until(lambda: forwarder.counts.failed.get("KeyError", 0) > 2 and taker.orders == ["2"])
        assert forwarder.running
        broken.refused = {}
        await until(lambda: sorted(taker.orders) == ["1", "2"])


async def test_a_state_file_of_the_first_form_is_brought_up_to_date(tmp_path: Path) -> None:
    """With all that waits in it."""
    path = tmp_path / "shop.db"
    state = SqliteState(path)
    await state.open()
    await state.close()
    with sqlite3.connect(path) as db:
        db.executescript("ALTER TABLE waiting DROP COLUMN changed; PRAGMA user_version = 1;")
        waiting = "INSERT INTO waiting (shop, id, since, due, tries, asks) VALUES (?, '1', ?, 0, 0, 0)"
        db.execute(waiting, (SHOP, time.time()))
    db.close()
    shelf, taker = Shelf(), Taker()
    shelf.put("1")
    async with forwarding(shelf, taker, state=f"sqlite:///{path}", poll_every_s=None) as forwarder:
        await forwarder.settled()
    assert taker.orders == ["1"]


async def test_a_trouble_is_told_once_and_again_when_it_changes(soon: None, caplog: pytest.LogCaptureFixture) -> None:
    """Not at every attempt, although every answer has an id of its own."""
    shelf, taker = Shelf(), Taker()
    shelf.put("1")
    shelf.refused = {"1": error_of(36009014, "Invalid version", http_status=200)}
    attempts = 0

    async def refuse(order_ids: Sequence[str]) -> list[Order]:
        nonlocal attempts
        attempts += 1
        code = 36009014 if attempts < 20 else 36009009
        raise error_of(code, "Invalid", http_status=200, request_id=f"2022{attempts:04d}AB")

    shelf.get_orders_by_id = refuse  # type: ignore[method-assign]
    async with forwarding(shelf, taker) as forwarder:
        await until(lambda: attempts > 40)
        assert "36009009" in forwarder.troubles[SHOP]
    told = [record for record in caplog.records if "nobody can read the orders" in record.getMessage()]
    assert len(told) == 2


async def test_room_is_what_the_fullest_queue_still_takes() -> None:
    """For those who would rather wait than have anything dropped."""
    meta = Meta(pixel_id="1234567890", access_token="sandbox-token", base_url="http://127.0.0.1:9")
    async with Client([meta], deliver=False, max_pending_events=3) as client:
        assert client.room() == 3
        for number in range(3):
            await client.send(Event("lead", event_id=str(number), user=User(email="a@b.example"), source="other"))
        assert client.room() == 0
