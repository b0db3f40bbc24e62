"""What a caller is told of an append that was cut off, and what a spool does that is opened while it still closes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client
from capi_async.errors import SpoolError
from capi_async.sandbox import Sandbox
from capi_async.spool.sqlite.schema import add_to_ledger
from capi_async.testing import ManualClock
from tests.spool.harness import NAMES, eventually, ids, new_clock, opened, record, sqlite, take
from tests.spool.locker import locked
from tests.spool.test_sqlite_client import purchase, snap


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


class Held:
    """A transaction that stands still after it has begun, until ``go`` is set."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    it = Held()

    def slowly(*what: Any) -> None:
        it.begun.set()
        assert it.go.wait(20)
        add_to_ledger(*what)

    monkeypatch.setattr("capi_async.spool.sqlite.store.add_to_ledger", slowly)
    yield it
    it.go.set()


async def test_a_cancelled_caller_of_an_append_under_way_waits_until_it_is_stored(
    tmp_path: Path, clock: ManualClock, held: Held
) -> None:
    """Whoever asks the ledger afterwards finds it there: it is not on its way any more."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        caller = asyncio.create_task(spool.append([record("1")], []))
        await eventually(held.begun.is_set)
        caller.cancel()
        done, _ = await asyncio.wait([caller], timeout=0.2)
        assert not done
        held.go.set()
        await asyncio.wait([caller])
        assert caller.cancelled()
        assert spool.ledger()["a"].accepted == 1
        assert ids(await take(spool)) == ["1"]


async def test_a_cancelled_append_that_has_not_begun_is_dropped(tmp_path: Path, clock: ManualClock, held: Held) -> None:
    """At once, and for good: its caller hands the event over elsewhere."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        first = asyncio.create_task(spool.append([record("1")], []))
        await eventually(held.begun.is_set)
        second = asyncio.create_task(spool.append([record("2")], []))
        await asyncio.sleep(0)
        second.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(second, 1.0)
        assert second.cancelled()
        held.go.set()
        await first
        assert spool.ledger()["a"].accepted == 1
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert ids(await take(spool)) == ["1"]


async def test_an_append_whose_thread_cannot_be_started_is_refused_and_the_next_one_is_stored(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an interpreter that is ending; what is wrong with one transaction holds up no other."""
    async with opened(sqlite(tmp_path, clock)) as spool:

        def refuse(*_what: Any) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as broken:
            broken.setattr("capi_async.thread.OwnedThread.hand", refuse)
            with pytest.raises(SpoolError):
                await spool.append([record("1")], [])
        await spool.append([record("2")], [])
        assert ids(await take(spool)) == ["2"]


async def test_closing_over_an_append_under_way_says_that_nobody_knows(
    tmp_path: Path, clock: ManualClock, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third answer beside yes and no; of what was not begun, no is said and is true."""
    monkeypatch.setattr("capi_async.spool.sqlite.spool.CLOSE_S", 0.1)
    spool = sqlite(tmp_path, clock)
    await spool.open(NAMES, lambda _name: None)
    begun = asyncio.create_task(spool.append([record("1")], []))
    await eventually(held.begun.is_set)
    waiting = asyncio.create_task(spool.append([record("2")], []))
    await asyncio.sleep(0)
    await spool.close()
    told = await asyncio.gather(begun, waiting, return_exceptions=True)
    assert [type(one) for one in told] == [SpoolError, SpoolError]
    assert [one.stored for one in told if isinstance(one, SpoolError)] == [None, False]
    held.go.set()
    async with opened(sqlite(tmp_path, clock)) as again:
        await eventually(lambda: again.ledger().get("a") is not None)
        assert "2" not in ids(await take(again))


async def test_a_caller_who_gives_up_while_the_file_is_locked_is_not_stored_later(
    tmp_path: Path, clock: ManualClock
) -> None:
    """The transaction that waits for the lock is called off, because nobody wants it any more."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        async with locked(tmp_path / "events.db", "writer"):
            caller = asyncio.create_task(spool.append([record("1")], [], timeout_s=30))
            await asyncio.sleep(0.05)
            caller.cancel()
            await asyncio.wait([caller], timeout=5)
            assert caller.cancelled()
        await spool.append([record("2")], [])
        assert spool.ledger()["a"].accepted == 1
        assert ids(await take(spool)) == ["2"]


async def test_a_spool_that_still_closes_is_opened_after_it_has_closed(tmp_path: Path) -> None:
    """A client entered again while its old run waits for a locked file is a whole client."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    async with Sandbox() as sandbox:
        client = Client([snap(sandbox)], spool=url, linger_s=0)
        await client.__aenter__()
        await (await client.send(purchase(0))).outcomes(timeout_s=10)  # else its answer meets the lock
        async with locked(tmp_path / "events.db", "writer"):
            await client.aclose(0.0)
            entering = asyncio.create_task(client.__aenter__())
            done, _ = await asyncio.wait([entering], timeout=0.3)
            assert not done
        await entering
        await client.send(purchase(1))
        assert await client.flush(20)
        ledger = client.ledger()["snap"]
        assert (ledger.accepted, ledger.delivered, ledger.pending) == (2, 2, 0)
        await client.aclose()
        assert sandbox.stats()["snap"].duplicates == 0


async def test_a_look_that_fails_on_its_way_does_not_lose_what_it_had_noticed(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has appended something, and then the descriptors are all in use: the next look sees it."""
    monkeypatch.setattr("capi_async.spool.sqlite.spool._EVERY", {"take_over": 0.0})
    monkeypatch.setattr("capi_async.spool.sqlite.spool.TAKE_OVER_S", 0.01)
    async with opened(sqlite(tmp_path, clock)) as worker, opened(sqlite(tmp_path, clock), deliver=False) as web:
        take_over, changed = worker.store.take_over, worker.store.changed
        noticed = []

        def notice() -> bool:
            found = changed()
            if found:
                noticed.append(True)
            return found

        def fail_once() -> bool:
            if noticed:
                worker.store.take_over = take_over
                raise SpoolError("Too many open files")
            return take_over()

        worker.store.take_over, worker.store.changed = fail_once, notice
        await web.append([record("1")], [])
        await eventually(lambda: worker.depth("a").events == 1, 10.0)
        assert noticed
