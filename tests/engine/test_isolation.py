"""Callers who wait for room at one destination cost those of the others nothing, and are served in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from capi_async import Client, ClientClosed, Event, QueueFull
from capi_async.engine.receipt import Receipt
from capi_async.errors import SpoolError
from capi_async.spool.base import Record, Refused
from capi_async.spool.memory import MemorySpool
from tests.engine.acme import Acme, event
from tests.engine.server import Got, Reply, Server, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Slow:
    """A platform that answers one request at a time, each when it is let: it makes progress, but no haste."""

    def __init__(self, server: Server) -> None:
        self._allowed = asyncio.Semaphore(0)
        server.script = self._answer

    async def _answer(self, _request: Got) -> Reply:
        await self._allowed.acquire()
        return Reply()

    def allow(self, answers: int) -> None:
        for _ in range(answers):
            self._allowed.release()


def slow(server: Server, name: str = "slow") -> Acme:
    return Acme(name=name, base_url=server.url, max_batch_events=1, max_in_flight=1)


def client(server: Server, other: Server, **options: Any) -> Client:
    """One destination that is soon full, and one that never is as long as it answers."""
    destinations = [slow(server), Acme(name="fine", base_url=other.url)]
    return Client(destinations, **{"linger_s": 0, "max_pending_events": 2, **options})


def to_slow(number: int) -> Event:
    return event(number, to=["slow"])


def to_fine(number: int) -> Event:
    return event(number, to=["fine"])


async def fill(sender: Client, server: Server) -> None:
    """Two events, one of them under way: the slow destination is full."""
    await sender.send_many([to_slow(1), to_slow(2)])
    await server.arrived(1)


async def waiting(sender: Client, count: int) -> None:
    """Return once so many events wait in line."""
    await until(lambda: parked(sender) == count)


def parked(sender: Client) -> int:
    assert sender._engine is not None
    return sum(
        len(submission.position.unstored)
        for queue in sender._engine.intake._backlog.queue._queues.values()
        for submission in queue
        if submission.position is not None
    )


def left_over(sender: Client) -> tuple[int, int, int, bool]:
    """What the intake still holds; all of it must be nothing once nobody waits."""
    assert sender._engine is not None
    intake = sender._engine.intake
    return intake.waiting, intake._backlog.waiting, len(intake._backlog.taken), intake.empty


NOTHING = (0, 0, 0, True)


def balanced(sender: Client) -> bool:
    return all(counts.balanced for counts in sender.ledger().values())


async def test_others_flow_while_many_wait_at_a_full_destination(server: Server, other: Server) -> None:
    """Neither single events nor lists of them wait for those who came before."""
    allowed = Slow(server)
    async with client(server, other, max_pending_events=600) as sender:
        await sender.send_many([to_slow(number) for number in range(600)])
        waiters = [asyncio.ensure_future(sender.send(to_slow(1_000 + number), timeout_s=30)) for number in range(20)]
        await waiting(sender, 20)
        for number in range(2_000, 2_010):
            found = await (await sender.send(to_fine(number), timeout_s=0)).outcomes(timeout_s=5)
            assert found["fine"].kind == "delivered"
        await sender.send_many([to_fine(number) for number in range(3_000, 4_500)])
        await until(lambda: sender.ledger()["fine"].delivered == 1_510)
        assert not any(waiter.done() for waiter in waiters)
        assert parked(sender) == 20
        allowed.allow(1_000)
        await asyncio.gather(*waiters)
        assert await sender.flush(10)
        assert balanced(sender)
        assert left_over(sender) == NOTHING
    assert sender.ledger()["slow"].delivered == 620


async def test_those_who_wait_are_served_in_order(server: Server, other: Server) -> None:
    """Also lists of many, and those who come while others wait; nobody is overtaken."""
    allowed = Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        waiters = [asyncio.ensure_future(sender.send(to_slow(number), timeout_s=30)) for number in range(3, 10)]
        waiters.append(asyncio.ensure_future(sender.send_many(map_slow(10, 20), timeout_s=30)))  # type: ignore[arg-type]
        waiters.append(asyncio.ensure_future(sender.send(to_slow(20), timeout_s=30)))
        await waiting(sender, 18)
        for number in range(21, 31):
            allowed.allow(1)
            waiters.append(asyncio.ensure_future(sender.send(to_slow(number), timeout_s=30)))
            await server.arrived(number - 19)
        allowed.allow(100)
        await asyncio.gather(*waiters)
        assert await sender.flush(10)
        assert left_over(sender) == NOTHING
    assert server.ids == [f"e{number}" for number in range(1, 31)]


def map_slow(start: int, stop: int) -> list[Event]:
    return [to_slow(number) for number in range(start, stop)]


async def test_a_list_that_waits_is_stored_from_its_first_on(server: Server, other: Server) -> None:
    """Its later events wait too, wherever they go: what is stored are the first so many."""
    allowed = Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        mixed = [to_fine(10), to_slow(11), to_fine(12), to_slow(13), to_fine(14)]
        sending = asyncio.ensure_future(sender.send_many(mixed, timeout_s=0.5))
        await waiting(sender, 4)
        await sender.send(to_fine(20))
        assert sender.ledger()["fine"].accepted == 2 + 1 + 1  # two were refused there before they were stored
        allowed.allow(1)
        await waiting(sender, 2)
        with pytest.raises(QueueFull, match=r"the first 3 of 5 were stored"):
            await sending
        allowed.allow(10)
        assert await sender.flush(5)
        assert left_over(sender) == NOTHING
        assert balanced(sender)
    assert server.ids == ["e1", "e2", "e11"]
    assert sorted(other.ids) == ["e10", "e12", "e20"]


async def test_a_long_list_waits_and_goes_on(server: Server, other: Server) -> None:
    """Over several micro-batches, one of which is already prepared when the first has to wait."""
    allowed = Slow(server)
    async with client(server, other, max_pending_events=100) as sender:
        sending = asyncio.ensure_future(sender.send_many(map_slow(0, 1_000), timeout_s=30))
        await server.arrived(1)
        await until(lambda: parked(sender) > 0)
        await sender.send(to_fine(5_000), timeout_s=0)
        assert sender._engine is not None
        assert sender._engine.intake.waiting == 900
        allowed.allow(1_000)
        await sending
        assert await sender.flush(10)
        assert left_over(sender) == NOTHING
    assert server.ids == [f"e{number}" for number in range(1_000)]


async def test_timeouts_of_those_who_wait(server: Server, other: Server) -> None:
    """Each in its own time, in whatever order they came; zero at once."""
    allowed = Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        loop = asyncio.get_running_loop()
        took: dict[float, float] = {}

        async def attempt(timeout_s: float, number: int) -> None:
            started = loop.time()
            with pytest.raises(QueueFull, match="nothing was stored"):
                await sender.send(to_slow(number), timeout_s=timeout_s)
            took[timeout_s] = loop.time() - started

        patient = asyncio.ensure_future(sender.send(to_slow(3), timeout_s=30))
        await waiting(sender, 1)
        await asyncio.gather(*(attempt(timeout_s, 10 + at) for at, timeout_s in enumerate((0.6, 0.05, 0.3, 0))))
        assert all(timeout_s <= seconds < timeout_s + 0.4 for timeout_s, seconds in took.items())
        assert not patient.done()
        await waiting(sender, 1)
        allowed.allow(10)
        await patient
        assert await sender.flush(5)
        assert left_over(sender) == NOTHING
    assert server.ids == ["e1", "e2", "e3"]


async def test_the_texts_of_those_who_wait_alone(server: Server, other: Server) -> None:
    """They say what was full, and for how long."""
    allowed = Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        with pytest.raises(QueueFull, match=r"^a queue stayed at its bound for 0 s; nothing was stored$"):
            await sender.send(to_slow(3), timeout_s=0)
        allowed.allow(2)


async def test_who_gives_up_waiting_leaves_nothing_behind(server: Server, other: Server) -> None:
    """First, in the middle, and last in line; those behind move up."""
    allowed = Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        waiters = [asyncio.ensure_future(sender.send(to_slow(number), timeout_s=30)) for number in range(3, 8)]
        many = asyncio.ensure_future(sender.send_many(map_slow(100, 1_000), timeout_s=30))
        await waiting(sender, 5 + 251 + 256)
        many.cancel()
        for at in (0, 2, 4):
            waiters[at].cancel()
        await waiting(sender, 2)
        assert sender._engine is not None
        assert (sender._engine.intake.waiting, sender._engine.intake._backlog.waiting) == (2, 2)
        assert not sender._engine.intake.empty
        allowed.allow(10)
        await asyncio.gather(waiters[1], waiters[3])
        assert await sender.flush(5)
        assert left_over(sender) == NOTHING
        assert balanced(sender)
    assert server.ids == ["e1", "e2", "e4", "e6"]


async def test_those_in_line_count_for_the_intake(server: Server, other: Server) -> None:
    """Its bound holds for them too."""
    allowed = Slow(server)
    async with client(server, other, max_intake_events=3) as sender:
        await fill(sender, server)
        receipts = []
        for number in (3, 4, 5):
            receipts.append(sender.enqueue(to_slow(number)))
            await waiting(sender, number - 2)
        with pytest.raises(QueueFull, match="wait to be prepared; nothing was stored"):
            sender.enqueue(to_slow(6))
        late = asyncio.ensure_future(sender.send(to_slow(7), timeout_s=30))
        allowed.allow(10)
        await late
        for receipt in receipts:
            await receipt.accepted()
        assert await sender.flush(5)
        assert left_over(sender) == NOTHING
    assert server.ids == ["e1", "e2", "e3", "e4", "e5", "e7"]


async def test_closing_tells_those_in_line(server: Server, other: Server) -> None:
    """And the report counts them."""
    Slow(server)
    sender = client(server, other)
    await fill(sender, server)
    waiters: list[asyncio.Future[Any]] = [asyncio.ensure_future(sender.send(to_slow(3), timeout_s=30))]
    waiters.append(asyncio.ensure_future(sender.send_many(map_slow(10, 14), timeout_s=30)))
    await waiting(sender, 5)
    report = await sender.aclose(0.05)
    found = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 1)
    assert [type(one) for one in found] == [ClientClosed] * 2
    assert report.unstored == 5
    assert (report.ledger["slow"].accepted, report.pending) == (2, {"slow": 2})


async def test_closing_with_time_stores_those_in_line(server: Server, other: Server) -> None:
    """A flush is not done before they are through."""
    allowed = Slow(server)
    sender = client(server, other)
    await fill(sender, server)
    waiter = asyncio.ensure_future(sender.send(to_slow(3), timeout_s=30))
    await waiting(sender, 1)
    allowed.allow(10)
    report = await sender.aclose(5)
    await waiter
    assert (report.unstored, report.ledger["slow"].delivered) == (0, 3)


async def test_those_in_line_look_again_by_themselves(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that stops making progress tells nobody; they give it up, and take the others."""
    Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        waiter = asyncio.ensure_future(sender.send(event(3), timeout_s=30))
        await waiting(sender, 1)
        assert sender._engine is not None
        monkeypatch.setattr(sender._engine.workers["slow"], "progressing", lambda: False)
        found = await (await asyncio.wait_for(waiter, 2)).outcomes(timeout_s=5)
        assert (found["slow"].kind, found["fine"].kind) == ("dropped", "delivered")
        assert left_over(sender) == NOTHING
        await sender.aclose(0)


async def test_nobody_in_line_keeps_the_loop_busy(server: Server, other: Server) -> None:
    """A few looks a second, whoever waits."""
    Slow(server)
    async with client(server, other) as sender:
        await fill(sender, server)
        waiters = [asyncio.ensure_future(sender.send(to_slow(number), timeout_s=1)) for number in range(3, 53)]
        await waiting(sender, 50)
        assert sender._engine is not None
        intake = sender._engine.intake
        serve, looks = intake._commit.serve, 0

        async def counted() -> bool:
            nonlocal looks
            looks += 1
            return await serve()

        intake._commit.serve = counted  # type: ignore[method-assign]
        found = await asyncio.gather(*waiters, return_exceptions=True)
        assert {type(one) for one in found} == {QueueFull}
        assert looks <= 4 + 50
        assert left_over(sender) == NOTHING
        await sender.aclose(0)


async def test_a_ticket_that_waits_for_one_then_another_is_not_passed_for_ever(server: Server, other: Server) -> None:
    """It keeps its claim on what it waited for, so that two full destinations cannot be full by turns."""
    first, second = Slow(server), Slow(other)
    destinations = [slow(server, "one"), slow(other, "two")]
    async with Client(destinations, linger_s=0, max_pending_events=1) as sender:
        await sender.send(event(1, to=["one"]))
        await server.arrived(1)
        both = asyncio.ensure_future(sender.send(event(2), timeout_s=30))
        await waiting(sender, 1)
        await sender.send(event(3, to=["two"]), timeout_s=0)  # there is room, and nobody waits there
        await other.arrived(1)
        first.allow(1)
        await until(lambda: sender.ledger()["one"].pending == 0)
        await until(lambda: len(next(iter(sender._engine.intake._backlog.queue._queues))) == 2)  # type: ignore[union-attr]
        with pytest.raises(QueueFull):
            await sender.send(event(4, to=["one"]), timeout_s=0)
        second.allow(1)
        await both
        first.allow(1)
        second.allow(1)
        assert await sender.flush(5)
    assert (server.ids, other.ids) == (["e1", "e2"], ["e3", "e2"])


class Torn(MemorySpool):
    """Storage that fails on one event."""

    def __init__(self, bad: str) -> None:
        super().__init__()
        self._bad = bad

    async def append(self, records: Sequence[Record], refused: Sequence[Refused], **options: Any) -> None:
        await asyncio.sleep(0)
        if any(record.event_id == self._bad for record in records):
            raise SpoolError("the disk is full")
        await super().append(records, refused, **options)


async def test_storage_that_fails_for_one_in_line_fails_that_one(server: Server, other: Server) -> None:
    """Those before and behind it are stored."""
    allowed = Slow(server)
    async with client(server, other, spool=Torn("e4")) as sender:
        await fill(sender, server)
        waiters = [asyncio.ensure_future(sender.send(to_slow(number), timeout_s=30)) for number in (3, 4, 5)]
        await waiting(sender, 3)
        allowed.allow(10)
        found = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(one) for one in found] == [Receipt, SpoolError, Receipt]
        assert await sender.flush(5)
        assert left_over(sender) == NOTHING
    assert server.ids == ["e1", "e2", "e3", "e5"]


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest"])
async def test_a_dead_destination_at_its_bound_costs_its_neighbours_no_appends(server: Server, overflow: Any) -> None:
    """Events are admitted and stored in runs, of one list or of many callers, as if it were not there."""

    class Counting(MemorySpool):
        appends = 0

        async def append(self, *arguments: Any, **options: Any) -> None:
            self.appends += 1
            await super().append(*arguments, **options)

    spool = Counting()
    dead = Acme(name="dead", account_id="2", base_url="http://127.0.0.1:9", max_in_flight=1, max_batch_events=1)
    fine = Acme(name="fine", base_url=server.url)
    options: dict[str, Any] = {"linger_s": 0, "max_pending_events": 600, "overflow": overflow, "max_attempts": 10_000}
    sender = Client([dead, fine], spool=spool, **options)
    async with sender:
        await sender.send(event(0))
        await until(lambda: sender.states()["dead"].state == "broken")
        await sender.send_many([event(number, to=["dead"]) for number in range(1, 600)])
        before = spool.appends
        many = asyncio.ensure_future(sender.send_many([event(number) for number in range(1_000, 1_400)]))
        await asyncio.gather(many, *[sender.send(event(number)) for number in range(2_000, 2_100)])
        assert spool.appends - before <= 12
        await until(lambda: sender.ledger()["fine"].delivered == 501)
        ledger = sender.ledger()["dead"]
        assert (ledger.accepted, ledger.dropped, ledger.pending) == (1_100, 500, 600)
        assert balanced(sender)
        await sender.aclose(0)


@pytest.mark.parametrize("overflow", ["fail", "drop_oldest"])
async def test_other_policies_let_nobody_wait(server: Server, other: Server, overflow: Any) -> None:
    """They decide at once."""
    allowed = Slow(server)
    async with client(server, other, overflow=overflow) as sender:
        await fill(sender, server)
        found = await asyncio.gather(*(sender.send(event(number)) for number in (3, 4)), return_exceptions=True)
        assert {type(one) for one in found} == ({QueueFull} if overflow == "fail" else {Receipt})
        assert left_over(sender) == NOTHING
        allowed.allow(10)
        assert await sender.flush(5)
        assert balanced(sender)


@pytest.mark.parametrize("seed", range(5))
async def test_a_storm_keeps_every_promise(server: Server, other: Server, seed: int) -> None:
    """Lists and single events to all and some, short and long timeouts, callers that give up."""
    chance = random.Random(seed)

    async def answer(_request: Got) -> Reply:
        await asyncio.sleep(chance.random() * 0.003)
        return Reply()

    server.script = answer
    other.script = answer
    stored: dict[str, int] = {}
    size = dict.fromkeys(range(60), 0)
    destinations = [slow(server, "one"), slow(other, "two"), Acme(name="fine", base_url=other.url)]
    async with Client(destinations, linger_s=0, max_pending_events=5, max_intake_events=100) as sender:

        async def call(caller: int) -> None:
            await asyncio.sleep(chance.random() * 0.2)
            size[caller] = chance.choice((1, 1, 1, 3, 10, 30))
            where: Sequence[Sequence[str] | None] = (None, ["one"], ["two"], ["fine"], ["one", "fine"])
            mine = [event(caller * 1_000 + at, to=chance.choice(where)) for at in range(size[caller])]
            try:
                async with asyncio.timeout(chance.choice((0.01, 0.1, 20))):
                    await sender.send_many(mine, timeout_s=chance.choice((0, 0.05, 10)))
                stored[str(caller)] = size[caller]
            except QueueFull as error:
                words = str(error).split("the first ")
                stored[str(caller)] = int(words[1].split()[0]) if len(words) > 1 else 0
            except TimeoutError:
                pass

        await asyncio.gather(*(call(caller) for caller in range(60)))
        assert await sender.flush(20)
        assert balanced(sender)
        assert left_over(sender) == NOTHING
        assert sender.ledger()["one"].dropped == sender.ledger()["two"].dropped == 0
        accepted = {counts.accepted for counts in sender.ledger().values()}
    assert len(accepted) == 1  # an event is stored for all destinations or for none
    arrived: dict[int, set[int]] = {}
    for one in {*server.ids, *other.ids}:
        arrived.setdefault(int(one[1:]) // 1_000, set()).add(int(one[1:]) % 1_000)
    for name, count in stored.items():
        assert arrived.get(int(name), set()) == set(range(count))
    for found in arrived.values():
        assert found == set(range(len(found)))


async def test_twice_as_many_callers_as_the_intake_holds_all_get_in(server: Server) -> None:
    """Each place that comes free wakes one of those who wait, not all of them."""
    destination = Acme(base_url=server.url)
    async with Client([destination], max_intake_events=100, linger_s=0) as sender:
        receipts = await asyncio.gather(*(sender.send(event(number), timeout_s=30) for number in range(3_000)))
        assert await sender.flush(20)
        assert sender.ledger()["acme"].delivered == len(receipts) == 3_000
