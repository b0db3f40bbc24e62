"""A spool in memory keeps lone events as they are; they are prepared together a little later, and nobody can tell."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from capi_async import Client, Event, Hashed, Item, QueueFull, User
from capi_async.engine import dispatcher, gathering, intake
from capi_async.engine.prepare import Preparer
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Destination, Limits, MiB, Refusal, Wire
from capi_async.spool.memory import MemorySpool
from capi_async.telemetry.base import Hook, Prepared, Stored, Taken
from capi_async.testing import ManualClock
from tests.engine.acme import Acme, event
from tests.engine.server import Server, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Where(Acme, frozen=True, kw_only=True):
    """Notes in which thread it maps, and raises what it is told to."""

    brief: ClassVar[bool] = True
    threads: ClassVar[list[str]] = []

    what: Any = None

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        self.threads.append(threading.current_thread().name)
        if self.what is not None and event.name == "lead":
            raise self.what
        return super().to_wire(event, ids)


class Single(Where, frozen=True, kw_only=True):
    """Takes one event a request."""

    brief: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1, max_batch_bytes=MiB, requests_per_s=10_000.0, burst=10_000.0, max_age_s=7 * DAY
    )


@pytest.fixture(autouse=True)
def _nothing_mapped() -> None:
    Where.threads.clear()


def client(*destinations: Destination, **options: Any) -> Client:
    return Client(destinations, **{"linger_s": 60, **options})


@asynccontextmanager
async def running(*destinations: Destination, **options: Any) -> AsyncIterator[Client]:
    """A client whose tasks have begun: before that, events go through the intake."""
    async with client(*destinations, **options) as sender:
        await asyncio.sleep(0)
        yield sender


async def kept(sender: Client, one: Event) -> bool:
    """Whether the event is accepted, and nothing is made of it yet."""
    before = len(Where.threads)
    await asyncio.sleep(0)
    receipt = sender.enqueue(one)
    await receipt.accepted()
    return len(Where.threads) == before


async def test_lone_events_are_prepared_together_in_the_thread(server: Server) -> None:
    """Accepted at once and without a turn of the loop, mapped when enough have come."""
    async with running(Where(base_url=server.url)) as sender:
        for number in range(gathering.TOGETHER - 1):
            sending = sender.send(event(number))
            with pytest.raises(StopIteration):
                sending.send(None)
        assert Where.threads == []
        await sender.send(event(gathering.TOGETHER - 1))
        await until(lambda: len(Where.threads) == gathering.TOGETHER)
        assert set(Where.threads) == {"capi_async-prepare"}
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == gathering.TOGETHER
    assert server.ids == [f"e{number}" for number in range(gathering.TOGETHER)]


async def test_a_part_of_the_time_for_others_later_they_are_prepared(server: Server) -> None:
    """However few there are: they leave when their time is over."""
    async with running(Where(base_url=server.url), linger_s=0.2) as sender:
        for number in range(gathering._FEW + 1):
            await sender.send(event(number))
        await until(lambda: len(server.ids) == gathering._FEW + 1)
    assert set(Where.threads) == {"capi_async-prepare"}
    assert len(server.got) == 1


async def test_an_events_time_in_the_spool_counts_from_its_acceptance(server: Server) -> None:
    """The outcome's latency, and what the page shows as the oldest, begin when send() returned."""
    clock = ManualClock()
    async with running(Where(base_url=server.url), clock=clock) as sender:
        receipt = await sender.send(event(time=datetime.fromtimestamp(clock.wall(), UTC)))
        clock.advance(40)
        assert sender.snapshot().destinations["acme"].oldest_s == 40
        assert await sender.flush(5)
        assert (await receipt.outcomes(5))["acme"].latency_s >= 40


@pytest.mark.parametrize(
    "one",
    [
        event(items=[Item(id="1"), Item(id="2")]),
        event(to=["acme"]),
        event(user=User(email=Hashed("a" * 64, "email"), external_id="7", city=["Berlin", "Bonn"])),
        event(name="login"),
    ],
)
async def test_what_is_small_and_does_not_change_is_kept(server: Server, one: Event) -> None:
    """Also what a destination will refuse."""
    async with running(Where(base_url=server.url)) as sender:
        assert await kept(sender, one)
        assert await sender.flush(5)
        assert Where.threads


@pytest.mark.parametrize(
    "one",
    [
        event(user=User(email=["a@shop.example", "b@shop.example"])),
        event(user=User(external_id=["7", "8"])),
        event(user=User(phone="(415) 555-2671", country="US")),
        event(user=User(external_id="x" * 4_000)),
        event(properties={"note": "n"}),
        event(extra={"acme": {"facts": {}}}),
    ],
)
async def test_what_is_not_is_prepared_before_it_is_accepted(server: Server, one: Event) -> None:
    """And before it those that were kept: nobody is overtaken."""
    async with running(Where(base_url=server.url)) as sender:
        assert await kept(sender, event(0))
        receipt = sender.enqueue(one)
        await receipt.accepted()
        assert len(Where.threads) == 2
        assert await sender.flush(5)
    assert server.ids == ["e0", "e1"]


class Facts(Mapping[str, Any]):
    """A mapping of somebody's own, which is empty."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "one",
    [
        event(order_id="\ud800"),
        event(user=User(email="ada@mail.example", first_name="\ud800")),
        event(num_items=2**70),
        event(properties=Facts()),
        event(properties=MappingProxyType({})),
        event(extra=Facts()),
    ],
)
async def test_what_cannot_be_measured_is_accepted_all_the_same(server: Server, one: Event) -> None:
    """Whether it can be sent is found in the thread, which says so."""
    async with running(Where(base_url=server.url)) as sender:
        receipt = await sender.send(one)
        assert sender.track(one) is not None
        assert await sender.flush(5)
        outcome = (await receipt.outcomes())["acme"]
        assert outcome.kind in ("delivered", "rejected")
        assert outcome.kind == "delivered" or outcome.field == "properties"


@pytest.mark.parametrize(
    "options",
    [
        {"prepare": "thread"},
        {"before_send": lambda one: one},
        {"linger_s": 0.03},
        {"profile": "serverless"},
        {"max_pending_bytes": 2_000},
        {"recent_events": 10},
    ],
)
async def test_settings_that_keep_none(server: Server, options: dict[str, Any]) -> None:
    """Those that ask for something else, and those where nothing is to be gained."""
    async with running(Where(base_url=server.url), **options) as sender:
        assert not await kept(sender, event())
        await sender.flush(5)


async def test_destinations_and_spools_that_keep_none(server: Server, tmp_path: Path) -> None:
    """One event a request waits for nobody; on disk is what is prepared; and an append() of one's own is called."""
    async with running(Single(base_url=server.url)) as sender:
        assert not await kept(sender, event())
        await sender.flush(5)
    async with running(Where(base_url=server.url), spool=f"sqlite:///{tmp_path}/events.db") as sender:
        assert not await kept(sender, event())
        await sender.flush(5)

    class Own(MemorySpool):
        async def append(self, records: Any, refused: Any, *, timeout_s: float | None = None) -> None:
            await super().append(records, refused, timeout_s=timeout_s)

    async with running(Where(base_url=server.url), spool=Own()) as sender:
        assert not await kept(sender, event())
        await sender.flush(5)


@pytest.mark.parametrize("more", [0, gathering._FEW])
async def test_what_the_caller_changes_afterwards_changes_nothing(server: Server, more: int) -> None:
    """Lists and mappings that are the caller's own were copied; prepared where somebody asks, and in the thread."""
    items, to = [Item(id="1")], ["acme"]
    properties: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    async with running(Acme(base_url=server.url)) as sender:
        one = event(items=items, to=to, properties=properties, extra=extra)
        await sender.send(one)
        for number in range(more):
            await sender.send(event(number))
        items.append(Item(id="2"))
        to.clear()
        properties["note"] = "later"
        extra["acme"] = {"facts": {"note": "later"}}
        assert (one.items, one.to, one.properties) == ([Item(id="1"), Item(id="2")], [], {"note": "later"})
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 1 + more
    assert b"later" not in server.got[0].raw


async def test_who_asks_gets_the_answer_that_preparing_gives(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is known as soon as anybody asks a receipt, the ledger or the snapshot."""
    with caplog.at_level(logging.INFO):
        async with running(Where(base_url=server.url)) as sender:
            receipt = await sender.send(event(1, name="login"))
            assert Where.threads == []
            assert receipt.known()["acme"].reason == "Acme has no such event"
            receipt = await sender.send(event(2, to=[]))
            assert (await receipt.outcomes())["acme"].kind == "skipped"
            await sender.send(event(3, to=[]))
            assert (sender.ledger()["acme"].skipped, sender.ledger()["acme"].pending) == (3, 0)
            await sender.send(event(4, to=[]))
            assert sender.snapshot().destinations["acme"].ledger.skipped == 4
    assert "acme: skipped: name: Acme has no such event" in caplog.text


async def test_of_many_the_ledger_says_that_they_are_pending(server: Server) -> None:
    """It balances at any moment, and who asks has them prepared soon."""
    async with running(Where(base_url=server.url), Acme(name="second", base_url=server.url)) as sender:
        for number in range(100):
            await sender.send(event(number, to=["acme"]))
        ledger = sender.ledger()
        assert all(one.balanced and one.accepted == one.pending == 100 for one in ledger.values())
        await until(lambda: sender.ledger()["second"].skipped == 100)
        assert sender.ledger()["acme"].pending == 100
        assert all(one.balanced for one in sender.ledger().values())
        assert await sender.flush(5)


async def test_nobody_is_overtaken(server: Server) -> None:
    """Lone events, and several at once, arrive in the order in which they were handed in."""
    async with running(Acme(base_url=server.url, ordered=True)) as sender:
        expected: list[str] = []
        for start in range(0, 60, 6):
            for number in range(start, start + 3):
                await sender.send(event(number))
            await sender.send_many([event(number) for number in range(start + 3, start + 6)])
            expected += [f"e{number}" for number in range(start, start + 6)]
        assert await sender.flush(10)
    assert server.ids == expected


class Slow:
    """Lets events be prepared in the thread only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        run = Preparer.run

        def slow(preparer: Preparer, *arguments: Any) -> Any:
            self.entered.set()
            self.go_on.wait(10)
            return run(preparer, *arguments)

        monkeypatch.setattr(Preparer, "run", slow)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    found = Slow(monkeypatch)
    yield found
    found.go_on.set()


async def test_what_comes_while_others_are_prepared_is_kept_too(server: Server, slow: Slow) -> None:
    """It is prepared after them."""
    async with running(Where(base_url=server.url)) as sender:
        for number in range(gathering.TOGETHER):
            await sender.send(event(number))
        await until(slow.entered.is_set)
        assert await kept(sender, event(900))
        assert sender.ledger()["acme"].pending == gathering.TOGETHER + 1
        slow.go_on.set()
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == gathering.TOGETHER + 1
    assert server.ids[-1] == "e900"


async def test_who_asks_while_others_are_prepared_does_not_wait_for_the_linger(server: Server, slow: Slow) -> None:
    """What came meanwhile is prepared next."""
    async with running(Where(base_url=server.url)) as sender:
        for number in range(gathering.TOGETHER):
            await sender.send(event(number))
        await until(slow.entered.is_set)
        for number in range(800, 840):
            await sender.send(event(number))
        receipt = await sender.send(event(900, name="login"))
        waiting = asyncio.create_task(receipt.outcomes(5))
        await asyncio.sleep(0)
        slow.go_on.set()
        assert (await waiting)["acme"].kind == "skipped"
        assert sender.ledger()["acme"].pending == gathering.TOGETHER + 40


async def test_who_asked_for_what_is_prepared_already_holds_up_none(server: Server, slow: Slow) -> None:
    """The next event leaves when its own time is over."""
    async with running(Where(base_url=server.url), linger_s=0.1) as sender:
        for number in range(gathering.TOGETHER):
            await sender.send(event(number))
        await until(slow.entered.is_set)
        flushing = asyncio.create_task(sender.flush(5))
        await asyncio.sleep(0)
        slow.go_on.set()
        assert await flushing
        await sender.send(event(900))
        await until(lambda: "e900" in server.ids)


async def test_two_who_ask_at_once_hold_up_none(server: Server) -> None:
    """One has them prepared in the thread, and the other prepares them before that begins."""
    async with running(Where(base_url=server.url), linger_s=0.1) as sender:
        receipts = [await sender.send(event(number)) for number in range(gathering._FEW)]
        erasing = asyncio.create_task(sender.forget(User(email="nobody@shop.example")))
        await asyncio.sleep(0)
        receipts[0].known()
        assert await erasing == {}
        await sender.send(event(900))
        await until(lambda: "e900" in server.ids)
    assert Where.threads[0] == threading.current_thread().name


async def test_a_flush_without_time_has_what_lingers_sent(server: Server) -> None:
    """Also while lone events are kept, and these with it."""
    async with running(Where(base_url=server.url)) as sender:
        await sender.send_many([event(number) for number in range(3)])
        await sender.send(event(3))
        assert not await sender.flush(0)
        await until(lambda: len(server.ids) == 4)


@pytest.mark.filterwarnings("ignore:unclosed client")
async def test_a_client_that_fails_lets_nobody_wait(server: Server, slow: Slow) -> None:
    """Nothing is prepared any more: who flushes, forgets or closes has the answer at once."""
    sender = client(Where(base_url=server.url))
    async with asyncio.timeout(5):
        await sender.__aenter__()
        await asyncio.sleep(0)
        for number in range(40):
            await sender.send(event(number))
        nobody = User(email="nobody@shop.example")
        calls = [asyncio.create_task(call) for call in (sender.flush(60), sender.forget(nobody))]
        await until(slow.entered.is_set)
        for task in asyncio.all_tasks() - {asyncio.current_task(), *calls}:
            if "capi_async" in task.get_name():
                task.cancel()
        assert await asyncio.gather(*calls) == [False, {}]
        report = await sender.aclose(60, drain=False)
    assert report.pending == {"acme": 40}
    slow.go_on.set()
    async with sender:
        assert await sender.flush(5)
    assert server.ids == [f"e{number}" for number in range(40)]


async def test_a_part_that_fails_goes_on_with_them(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is restarted, and nobody has to ask."""
    prepared = MemorySpool.prepared

    def broken(*_arguments: Any) -> None:
        monkeypatch.setattr(MemorySpool, "prepared", prepared)
        raise ZeroDivisionError

    monkeypatch.setattr(dispatcher, "_RESTART_S", 0.01)
    monkeypatch.setattr(MemorySpool, "prepared", broken)
    async with running(Where(base_url=server.url), linger_s=0.1) as sender:
        for number in range(20):
            await sender.send(event(number))
        await until(lambda: len(server.ids) == 20)


async def test_a_loop_of_sends_gives_the_event_loop_its_turns(server: Server) -> None:
    """Who sends one after the other waits for a micro-batch now and then."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running(Acme(base_url=server.url)) as sender:
        task = asyncio.create_task(other())
        for number in range(gathering.MOST * 4):
            await sender.send(event(number))
        task.cancel()
        assert turns >= 3
        assert await sender.flush(10)
    assert len(server.ids) == gathering.MOST * 4


async def test_hooks_hear_of_them_as_of_others(server: Server) -> None:
    """Prepared, stored and taken: each event counts once."""
    heard: Counter[str] = Counter()

    class Ears(Hook):
        def on_prepared(self, prepared: Prepared) -> None:
            heard["prepared"] += prepared.events

        def on_stored(self, stored: Stored) -> None:
            heard["stored"] += stored.records
            heard["refused"] += stored.refused

        def on_taken(self, taken: Taken) -> None:
            heard["taken"] += taken.events

    async with running(Acme(base_url=server.url), hooks=[Ears()]) as sender:
        for number in range(20):
            await sender.send(event(number))
        await sender.send(event(20, to=[]))
        assert await sender.flush(5)
    assert heard == {"prepared": 21, "stored": 20, "refused": 1, "taken": 21}


async def test_forgotten_and_withdrawn_are_found(server: Server) -> None:
    """What is kept is prepared before it is searched."""
    someone, other = User(email="someone@shop.example"), User(email="other@shop.example")
    async with running(Acme(base_url=server.url)) as sender:
        for number in range(40):
            await sender.send(event(number, user=someone if number % 2 else other))
        assert await sender.forget(someone) == {"acme": 20}
        await sender.send(event(50, user=other))
        assert await sender.withdraw(other) == {"acme": 21}
        assert await sender.flush(5)
        ledger = sender.ledger()["acme"]
        assert (ledger.forgotten, ledger.skipped, ledger.delivered) == (20, 21, 0)


async def test_forgotten_is_also_what_takes_long(server: Server, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who forgets somebody does not wait for it for ever; it is not delivered nevertheless, and later events are."""
    monkeypatch.setattr(intake, "_ERASED_S", 0.05)
    someone, other = User(email="someone@shop.example"), User(email="other@shop.example")
    async with running(Acme(base_url=server.url), Acme(name="second", base_url=server.url)) as sender:
        receipts = [await sender.send(event(number, user=someone if number % 2 else other)) for number in range(20)]
        assert await sender.forget(someone) == {}
        await sender.send(event(900, user=someone))
        slow.go_on.set()
        assert await sender.flush(5)
        ledger = sender.ledger()["second"]
        assert (ledger.forgotten, ledger.delivered) == (10, 11)
        assert (await receipts[1].outcomes())["acme"].kind == "forgotten"


async def test_bounds_hold(server: Server) -> None:
    """Events that are kept count."""
    async with running(Acme(base_url=server.url), overflow="fail", max_pending_events=20) as sender:
        for number in range(20):
            await sender.send(event(number))
        with pytest.raises(QueueFull):
            await sender.send(event(20))
        assert sender.ledger()["acme"].accepted == 20
        assert sender.room() == 0
        assert await sender.flush(5)


async def test_bounds_hold_where_records_are_longer_than_their_events(server: Server) -> None:
    """In JSON a control character takes six bytes."""
    async with running(Acme(base_url=server.url), overflow="fail", max_pending_bytes=20_000) as sender:
        await sender.send(Event("purchase", event_id="\x01" * 2_900))
        with pytest.raises(QueueFull):
            await sender.send(Event("purchase", event_id="\x02" * 2_900))
        assert 17_400 <= sender.snapshot().destinations["acme"].waiting_bytes <= 20_000
        assert await sender.flush(5)


async def test_the_oldest_give_way_to_them(server: Server) -> None:
    """With ``drop_oldest`` as with any other event."""
    async with running(Acme(base_url=server.url), overflow="drop_oldest", max_pending_events=20) as sender:
        for number in range(30):
            await sender.send(event(number))
        assert sender.ledger()["acme"].dropped == 10
        assert await sender.flush(5)
    assert server.ids == [f"e{number}" for number in range(10, 30)]


async def test_what_a_close_leaves_is_said_and_delivered_by_the_next_run(server: Server) -> None:
    """A deadline of zero reaches nothing; entered again, the client goes on with it."""
    sender = client(Acme(base_url=server.url))
    async with sender:
        await asyncio.sleep(0)
        for number in range(40):
            await sender.send(event(number))
        report = await sender.aclose(0)
        assert report.pending["acme"] == 40
    async with sender:
        assert sender.ledger()["acme"].pending == 40
        assert await sender.flush(5)
    assert server.ids == [f"e{number}" for number in range(40)]
    assert sender.ledger()["acme"].delivered == 40


async def test_a_close_without_sending_has_them_stored(server: Server) -> None:
    """``drain=False`` begins no request, and what is kept is counted."""
    sender = client(Acme(base_url=server.url))
    async with sender:
        await asyncio.sleep(0)
        for number in range(40):
            await sender.send(event(number))
        report = await sender.aclose(5, drain=False)
        assert report.pending["acme"] == 40
    assert server.ids == []


def test_a_loop_that_ends_leaves_them_to_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """The log says how many wait, and a client that is used again delivers them."""
    sender = client(Acme(base_url="http://127.0.0.1:9"))

    async def first() -> None:
        for number in range(40):
            await sender.send(event(number))

    async def second() -> None:
        async with sender:
            assert sender.ledger()["acme"].pending == 41
            await sender.send(event(50))
            assert await sender.forget(event().user) == {"acme": 42}

    async def one_more() -> None:
        await sender.send(event(41))

    with pytest.warns(ResourceWarning, match="acme: 40"):
        asyncio.run(first())
    with pytest.warns(ResourceWarning, match="acme: 41"):
        asyncio.run(one_more())
    asyncio.run(second())
    assert "the client was not closed before its event loop or its tasks ended" in caplog.text


async def test_a_receipt_of_an_earlier_run_meddles_with_none(server: Server, slow: Slow) -> None:
    """What that run has left is prepared by the next, once."""
    sender = client(Where(base_url=server.url))
    async with sender:
        await asyncio.sleep(0)
        receipts = [await sender.send(event(number)) for number in range(6)]
        flushing = asyncio.create_task(sender.flush(5))  # it goes on until all is settled, whoever does that
        await until(slow.entered.is_set)
        await sender.aclose(0, drain=False)
    slow.entered.clear()
    async with sender:
        await until(slow.entered.is_set)
        assert receipts[0].known()["acme"].kind == "pending"
        await sender.send(event(6))
        slow.go_on.set()
        assert await sender.flush(5)
        assert await flushing
        assert sender.ledger()["acme"].delivered == 7
    assert server.ids == [f"e{number}" for number in range(7)]


@pytest.mark.parametrize("more", [0, 20])
def test_another_client_on_the_spool_leaves_them_what_they_are(more: int) -> None:
    """They were accepted for the destinations of the first, and for no others."""
    spool = MemorySpool()
    first = client(Acme(name="first", base_url="http://127.0.0.1:9"), spool=spool)
    second = client(Acme(name="second", base_url="http://127.0.0.1:9"), spool=spool)

    async def begin() -> None:
        for number in range(3 + more):  # the first goes through the intake, and is stored
            await first.send(event(number))
        await first.send(event(900, to=[]))

    async def go_on() -> None:
        async with second:
            assert await second.flush(5)
            ledger = second.ledger()
            assert ledger["second"].accepted == 0
            assert (ledger["first"].accepted, ledger["first"].skipped, ledger["first"].balanced) == (4 + more, 1, True)
            assert await second.forget(event().user) == {"first": 3 + more}

    with pytest.warns(ResourceWarning, match=f"first: {4 + more}"):
        asyncio.run(begin())
    asyncio.run(go_on())


@pytest.mark.filterwarnings("ignore")
def test_a_client_that_nobody_holds_is_collected_with_them() -> None:
    """Also where what holds it is reached through them: a credential's callable, for one."""

    class Shop:
        def __init__(self) -> None:
            self.client = client(Acme(base_url="http://127.0.0.1:9", access_token=self.token))

        async def token(self) -> str:
            return "acme-token"

    async def begin() -> weakref.ref[Client]:
        shop = Shop()
        for number in range(20):
            await shop.client.send(event(number))
        return weakref.ref(shop.client)

    loop = asyncio.new_event_loop()
    found = loop.run_until_complete(begin())
    loop.close()
    del loop
    until_s = time.monotonic() + 5
    while found() is not None and time.monotonic() < until_s:  # the thread lets go of it in its own time
        gc.collect()
        time.sleep(0.01)
    assert found() is None


@pytest.mark.parametrize("what", [RuntimeError("no"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()])
async def test_what_to_wire_raises_costs_its_own_event(
    server: Server, what: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """In the thread, which is not the main one: no interrupt is meant for it."""
    async with running(Where(base_url=server.url, what=what)) as sender:
        receipts = [
            await sender.send(event(number, name="lead" if number == 7 else "purchase")) for number in range(20)
        ]
        assert await sender.flush(5)
        outcomes = [(await receipt.outcomes(5))["acme"] for receipt in receipts]
    assert [number for number, one in enumerate(outcomes) if one.kind != "delivered"] == [7]
    assert outcomes[7].reason == f"the destination failed with {type(what).__name__}"
    assert "to_wire() failed" in caplog.text


async def test_an_interrupt_belongs_to_who_asks(server: Server) -> None:
    """Ctrl-C while a few are prepared on the main thread is raised there, and the event stays accepted."""
    async with running(Where(base_url=server.url, what=KeyboardInterrupt())) as sender:
        await sender.send(event(1, name="lead"))
        with pytest.raises(KeyboardInterrupt):
            sender.ledger()
        receipt = await sender.send(event(2))
        assert await sender.flush(5)
        assert receipt.known()["acme"].kind == "delivered"
        assert sender.ledger()["acme"].accepted == 2
        assert sender.ledger()["acme"].rejected == 1


async def test_a_fault_of_ours_is_said_and_every_event_has_an_end(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are rejected, and the next are delivered."""

    def broken(*_arguments: Any) -> Any:
        raise ZeroDivisionError("of jo@shop.example")

    async with running(Acme(base_url=server.url)) as sender:
        receipts = [await sender.send(event(number)) for number in range(20)]
        with monkeypatch.context() as patched:
            patched.setattr(Preparer, "run", broken)
            await sender.flush(5)
        assert {(await one.outcomes(5))["acme"].kind for one in receipts} == {"rejected"}
        last = await sender.send(event(20))
        assert await sender.flush(5)
        assert last.known()["acme"].kind == "delivered"
        assert sender.ledger()["acme"].balanced
    assert "20 events could not be prepared: ZeroDivisionError" in caplog.text
    assert "jo@shop.example" not in caplog.text


async def test_a_ledger_from_another_thread_counts_them(server: Server) -> None:
    """It cannot have them prepared, and does not wait."""
    async with running(Where(base_url=server.url)) as sender:
        await sender.send(event(1))
        ledger = await asyncio.to_thread(sender.ledger)
        assert (ledger["acme"].accepted, ledger["acme"].pending) == (1, 1)
        assert Where.threads == []
        assert await sender.flush(5)


async def test_many_tasks_at_once_lose_nothing(server: Server) -> None:
    """Some are kept, others go through the intake: each is delivered once."""
    async with running(Acme(base_url=server.url), Acme(name="second", base_url=server.url), linger_s=0.1) as sender:

        async def some(start: int) -> Sequence[Any]:
            receipts = []
            for number in range(start, start + 20):
                receipts.append(await sender.send(event(number)))
                if number % 7 == 0:
                    await asyncio.sleep(0.001)
            return receipts

        receipts = [one for made in await asyncio.gather(*map(some, range(0, 4_000, 20))) for one in made]
        assert await sender.flush(20)
        kinds = {outcome.kind for one in receipts for outcome in one.known().values()}
    assert kinds == {"delivered"}
    assert Counter(server.ids) == Counter({f"e{number}": 2 for number in range(4_000)})


async def test_a_batch_that_is_full_leaves_before_its_time(server: Server, slow: Slow) -> None:
    """What is kept while it opens is none of it yet, and fills it later."""
    async with running(Acme(base_url=server.url, max_batch_events=50)) as sender:
        for number in range(gathering.TOGETHER + 20):
            await sender.send(event(number))
        await until(slow.entered.is_set)
        slow.go_on.set()
        await until(lambda: sender.metrics.prepared_events == gathering.TOGETHER)
        await asyncio.sleep(0.05)
        for number in range(gathering.TOGETHER + 20, 2 * gathering.TOGETHER):
            await sender.send(event(number))
        await until(lambda: len(server.ids) == 50)
        assert await sender.flush(5)
