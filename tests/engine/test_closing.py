"""Closing is as long as its deadline, also while storage stands still, and "no" is never said of what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ClientClosed, QueueFull, SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.memory import MemorySpool
from tests.engine.acme import Acme, event, events
from tests.engine.server import Reply, Server, reply, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Still(MemorySpool):
    """Storage that stands still in one of its calls until it is let go.

    Attributes:
        durable: As files and servers are: what is written is there, whoever waited for it.
    """

    durable = True

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.gone = asyncio.Event()
        self.entered = asyncio.Event()

    async def _stand(self, where: str) -> None:
        if where == self.where:
            self.entered.set()
            await self.gone.wait()

    async def append(self, *arguments: Any, **options: Any) -> None:
        await self._stand("append")
        await super().append(*arguments, **options)

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        await self._stand("settle")
        await super().settle(records, outcomes)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        await self._stand("release")
        await super().release(records, after_s=after_s)

    async def close(self) -> None:
        await self._stand("close")
        await super().close()


def client(server: Server, **options: Any) -> Client:
    return Client([Acme(base_url=server.url)], **{"linger_s": 0, **options})


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("where", ["append", "settle", "release", "close"])
async def test_closing_is_as_long_as_its_deadline_while_storage_stands_still(
    server: Server, where: str, drain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """No grace is added; nobody is told no of what may be stored, and no event is counted twice."""
    spool = Still(where)
    if where == "release":
        server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(server, spool=spool)
    await sender.__aenter__()
    sending = asyncio.ensure_future(sender.send(event(1)))
    await (server.arrived(1) if where == "release" else asyncio.sleep(0) if where == "close" else spool.entered.wait())
    loop = asyncio.get_running_loop()
    started = loop.time()
    report = await asyncio.wait_for(sender.aclose(0.6, drain=drain), 10)
    assert loop.time() - started < 1.5
    # storage is to blame, and nobody's task
    assert "refuses to end" not in caplog.text
    assert ("closing: storage has not let go at the deadline" in caplog.text) == (where in ("release", "close"))
    [told] = await asyncio.gather(sending, return_exceptions=True)
    if where == "append":
        assert isinstance(told, ClientClosed)
        assert told.stored is None
        assert (report.unstored, report.unknown, report.pending) == (0, 1, {})
        assert not report.complete
    else:
        assert report.unknown == 0
    spool.gone.set()
    server.script = lambda _request: reply()
    async with sender:
        await sender.send(event(2))
        assert await sender.flush(5)
        assert all(counts.balanced for counts in sender.ledger().values())


async def test_what_was_not_begun_is_a_sure_no(server: Server) -> None:
    """Beside what is being stored, of which nobody knows."""
    spool = Still("append")
    sender = client(server, spool=spool)
    await sender.__aenter__()
    first = sender.enqueue(event(1))
    await spool.entered.wait()
    others = [sender.enqueue(one) for one in events(5)]
    report = await sender.aclose(0)
    found = await asyncio.gather(first.accepted(), *[one.accepted() for one in others], return_exceptions=True)
    assert [(type(one), one.stored) for one in found] == [(ClientClosed, None)] + [(ClientClosed, False)] * 5  # type: ignore[union-attr]
    assert (report.unstored, report.unknown, report.pending) == (5, 1, {})
    spool.gone.set()


async def test_what_is_stored_within_the_deadline_is_told_so(server: Server) -> None:
    """The close waits for the append that is under way; nobody is told no, and everything is counted once."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    spool = Still("append")
    sender = client(server, spool=spool)
    await sender.__aenter__()
    sending = asyncio.ensure_future(sender.send_many(events(3)))
    await spool.entered.wait()
    closing = asyncio.ensure_future(sender.aclose(0, drain=False))
    await asyncio.sleep(0)
    spool.gone.set()
    report = await closing
    assert len(await sending) == 3
    assert (report.pending, report.unstored, report.unknown) == ({"acme": 3}, 0, 0)


async def test_closing_under_load_counts_every_event_once(server: Server) -> None:
    """Fifty callers, one after the other, when the client closes: stored are those who were told yes."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(server)
    await sender.__aenter__()
    said: list[bool] = []

    async def sending(caller: int) -> None:
        for number in range(10_000):
            try:
                await sender.send(event(caller * 10_000 + number))
            except ClientClosed as error:
                said.append(error.stored is not False)
                return
            said.append(True)

    callers = [asyncio.ensure_future(sending(caller)) for caller in range(50)]
    await until(lambda: len(said) > 500)
    report = await sender.aclose(0)
    await asyncio.gather(*callers)
    assert report.ledger["acme"].accepted == sum(said)
    assert report.unstored <= said.count(False) <= 50  # some had not handed in theirs yet


async def test_a_client_that_is_entered_again_waits_for_its_old_close(server: Server) -> None:
    """Two runs must not work on one spool at a time."""
    spool = Still("close")
    sender = client(server, spool=spool)
    await sender.__aenter__()
    await sender.send(event(1))
    await sender.aclose(0)
    entering = asyncio.ensure_future(sender.__aenter__())
    done, _ = await asyncio.wait([entering], timeout=0.1)
    assert not done
    spool.gone.set()
    await asyncio.wait_for(entering, 5)
    await sender.send(event(2))
    assert await sender.flush(5)
    assert sender.ledger()["acme"].delivered == 2
    await sender.aclose()


# What an error says


@pytest.mark.parametrize("stored", [True, False, None])
async def test_what_storage_says_reaches_every_caller(server: Server, stored: bool | None) -> None:
    """Each gets an error of their own, with how many of theirs are stored."""

    class Says(MemorySpool):
        appended = 0

        async def append(self, *arguments: Any, **options: Any) -> None:
            self.appended += 1
            if self.appended > 1:
                raise SpoolError("disk gone", stored=stored) from OSError("that is why")
            await super().append(*arguments, **options)

    async with client(server, spool=Says()) as sender:
        many, one = await asyncio.gather(sender.send_many(events(300)), sender.send(event(301)), return_exceptions=True)
        assert isinstance(many, SpoolError)
        assert isinstance(one, SpoolError)
        assert many is not one
        assert (many.stored, many.stored_events, one.stored, one.stored_events) == (stored, 256, stored, 0)
        assert isinstance(many.__cause__, OSError)


async def test_storage_that_raises_anything_costs_those_whose_events_it_caught(server: Server) -> None:
    """It is unknown what became of them; the next are welcome."""

    class Odd(MemorySpool):
        appended = 0

        async def append(self, *arguments: Any, **options: Any) -> None:
            self.appended += 1
            if self.appended == 1:
                raise ZeroDivisionError
            if self.appended == 2:
                raise asyncio.CancelledError
            await super().append(*arguments, **options)

    async with client(server, spool=Odd()) as sender:
        for name in ("ZeroDivisionError", "CancelledError"):
            with pytest.raises(SpoolError, match=name) as told:
                await asyncio.wait_for(sender.send(event(1)), 5)
            assert told.value.stored is None
        await sender.send(event(2))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 1


async def test_a_full_queue_is_a_sure_no(server: Server) -> None:
    """With how many of the list are stored."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(server, max_pending_events=3, overflow="fail")
    await sender.__aenter__()
    with pytest.raises(QueueFull) as told:
        await sender.send_many(events(5))
    assert (told.value.stored, told.value.stored_events) == (False, 3)
    await sender.aclose(0)


# What was handed in and is not stored yet


@pytest.mark.parametrize("method", ["forget", "withdraw"])
async def test_what_was_enqueued_is_reached(server: Server, method: str) -> None:
    """No matter how far it has come: it is counted, told, and not delivered."""
    from capi_async import User

    async with client(server, linger_s=0.2) as sender:
        me = User(email="me@mail.example")
        receipts = [sender.enqueue(event(number, user=me)) for number in (1, 2)]
        other = sender.enqueue(event(3))
        assert await getattr(sender, method)(me) == {"acme": 2}
        assert await sender.flush(5)
        kinds = {(await one.outcomes())["acme"].kind for one in receipts}
        assert kinds == {"forgotten" if method == "forget" else "skipped"}
        assert (await other.outcomes())["acme"].kind == "delivered"
        assert sender.ledger()["acme"].balanced
    assert server.ids == ["e3"]


async def test_what_waits_for_room_is_reached(server: Server) -> None:
    """Also what is not even prepared of a long list."""
    from capi_async import User

    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    sender = Client([Acme(base_url=server.url, max_batch_events=1, max_in_flight=1)], linger_s=0, max_pending_events=2)
    async with sender:
        me = User(email="me@mail.example")
        await sender.send_many(events(2))
        await server.arrived(1)
        long = [event(number, user=me if number % 2 else User(email="you@mail.example")) for number in range(3, 400)]
        sending = asyncio.ensure_future(sender.send_many(long, timeout_s=30))
        await asyncio.sleep(0.05)
        await sender.forget(me)
        release.set()
        server.script = lambda _request: reply()
        receipts = await asyncio.wait_for(sending, 30)
        assert await sender.flush(30)
        kinds = [(await one.outcomes())["acme"].kind for one in receipts]
        assert kinds == ["forgotten" if number % 2 else "delivered" for number in range(3, 400)]


# Receipts


async def test_outcomes_that_ran_out_of_time_leave_nothing_behind(server: Server) -> None:
    """Of an event that another process settles, nobody here will ever hear."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(server)
    await sender.__aenter__()
    receipt = await sender.send(event(1))
    patient = asyncio.ensure_future(receipt.outcomes())
    for _ in range(3):
        assert (await receipt.outcomes(timeout_s=0))["acme"].kind == "pending"
    assert sender._engine is not None
    assert len(sender._engine.delivery.waiting) == 1
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)
    assert sender._engine.delivery.waiting == set()
    await sender.aclose(0)


async def test_outcomes_that_wait_say_why(server: Server) -> None:
    """The reason of the destination, and what to do."""
    server.script = lambda _request: reply(401)
    async with client(server) as sender:
        receipt = await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "paused")
        found = (await receipt.outcomes(timeout_s=0))["acme"]
        assert (found.kind, found.reason) == ("pending", "acme is paused: HTTP 401")
        server.script = lambda _request: reply()
        assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"


async def test_flush_believes_the_ledger(server: Server) -> None:
    """A spool that has lost sight of an event must not be taken for an empty one."""

    class Blind(MemorySpool):
        def depth(self, destination: str) -> Any:
            found = super().depth(destination)
            return type(found)(0, 0)

    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(server, spool=Blind())
    await sender.__aenter__()
    await sender.send(event(1))
    assert not await sender.flush(0.2)
    await sender.aclose(0)


async def test_entering_that_is_cancelled_leaves_the_spool_file_to_the_next(server: Server, tmp_path: Path) -> None:
    """What its thread was opening is closed there before anybody opens it again: two never share a connection."""
    spool = f"sqlite:///{tmp_path / 'events.db'}"
    sender = Client([Acme(base_url=server.url)], linger_s=0, spool=spool)
    for turns in range(0, 24, 3):
        entering = asyncio.ensure_future(sender.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        await sender.aclose(0)
    async with sender:
        await sender.send(event(1))
        assert await sender.flush(10)
    assert server.ids == ["e1"]


class Away(MemorySpool):
    """Storage that is away for some calls."""

    def __init__(self, method: str, failures: int) -> None:
        super().__init__()
        self.method = method
        self.failures = failures

    def _try(self, method: str) -> None:
        if method == self.method and self.failures > 0:
            self.failures -= 1
            raise SpoolError("the server is away")

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        self._try("mark_attempted")
        await super().mark_attempted(records)

    async def lease(self, *arguments: Any, **options: Any) -> list[Record]:
        self._try("lease")
        return await super().lease(*arguments, **options)

    async def release(self, *arguments: Any, **options: Any) -> None:
        self._try("release")
        await super().release(*arguments, **options)


@pytest.mark.parametrize("method", ["mark_attempted", "lease", "release"])
async def test_an_outage_of_storage_is_said_once_and_is_nobody_elses_fault(
    server: Server, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not once per destination and request, and no destination is told to be mended; then everything is delivered."""
    monkeypatch.setattr("capi_async.engine.worker._AGAIN_S", 0.01)
    server.replies = [reply(503)]
    spool = Away(method, 12)
    both = [Acme(base_url=server.url), Acme(name="second", base_url=server.url)]
    async with Client(both, linger_s=0, spool=spool) as sender:
        await sender.send_many(events(3))
        assert await sender.flush(10)
        assert [counts.delivered for counts in sender.ledger().values()] == [3, 3]
    said = [one.getMessage() for one in caplog.records if one.name != "capi_async.engine.hooks"]
    said = [text for text in said if "tried again" in text or "failed" in text]
    assert len(said) == 1
    assert said[0].startswith("storage failed: the server is away; ")
    assert "see to the spool" in said[0]
