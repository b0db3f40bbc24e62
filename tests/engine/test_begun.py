"""A lone event in a durable spool: the spool itself tells its caller, and all that counts on what is being stored does.

The file's lock of writers is held meanwhile, as another process would hold it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ClientClosed, Event, QueueFull, SpoolError, User
from capi_async.files import Lock
from capi_async.telemetry.base import Hook, Stored, Taken
from tests.engine.acme import Acme, event
from tests.engine.server import Server

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def client(server: Server, file: Path, **options: Any) -> Client:
    return Client([Acme(base_url=server.url)], **{"spool": f"sqlite:///{file}", "linger_s": 0.03, **options})


def numbered(number: int) -> Event:
    return event(number, user=User(email=f"{number}@example.com"))


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Nothing is written meanwhile."""
    with Lock(file.with_name(file.name + "-lock"))():
        yield


async def begin(sender: Client, number: int, **options: Any) -> asyncio.Task[Any]:
    """Hand an event in while the file is held; it is being stored when this returns."""
    task = asyncio.create_task(sender.send(numbered(number), **options))
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert not task.done()
    return task


def accepted(sender: Client) -> int:
    return sender.ledger()["acme"].accepted


async def test_on_return_it_is_in_the_file_and_counted_once(server: Server, file: Path) -> None:
    """The ledger is read from the file."""
    told: list[object] = []

    class Seen(Hook):
        def on_stored(self, stored: Stored) -> None:
            told.append((stored.records, stored.refused))

        def on_taken(self, taken: Taken) -> None:
            told.append(taken.events)

    async with client(server, file, hooks=[Seen()]) as sender:
        for number in range(3):
            receipt = await sender.send(numbered(number))
            assert accepted(sender) == number + 1
        assert await sender.flush(5)
        assert (await receipt.outcomes(5))["acme"].kind == "delivered"
    assert sorted(server.ids) == ["e0", "e1", "e2"]
    assert told == [(1, 0), 1] * 3


async def test_a_cancelled_caller_changes_nothing_of_what_is_being_stored(server: Server, file: Path) -> None:
    """It may be accepted all the same, and the next event is not held up."""
    async with client(server, file) as sender:
        await sender.send(numbered(0))
        with held(file):
            task = await begin(sender, 1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await sender.send(numbered(2))
        assert accepted(sender) == 3
        assert await sender.flush(5)
    assert sorted(server.ids) == ["e0", "e1", "e2"]


async def test_what_comes_meanwhile_is_stored_after_it_and_within_the_bound(server: Server, file: Path) -> None:
    """The event that is being stored takes its place in the queue."""
    async with client(server, file, max_pending_events=2, overflow="fail", linger_s=60.0) as sender:
        await asyncio.sleep(0.05)
        with held(file):
            tasks = [await begin(sender, number) for number in range(3)]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, QueueFull) for one in ended] == [False, False, True]
        assert accepted(sender) == 2
        assert await sender.flush(5)
    assert server.ids == ["e0", "e1"]


async def test_who_is_forgotten_meanwhile_is_forgotten(server: Server, file: Path) -> None:
    """The call waits for it to be stored, and ends it then."""
    async with client(server, file, linger_s=60.0) as sender:
        await asyncio.sleep(0.05)
        with held(file):
            task = await begin(sender, 1)
            forgetting = asyncio.create_task(sender.forget(User(email="1@example.com")))
            await asyncio.sleep(0.1)
            assert not forgetting.done()
        await forgetting
        receipt = await task
        assert (await receipt.outcomes(5))["acme"].kind == "forgotten"
        assert await sender.flush(5)
    assert server.ids == []


async def test_a_flush_waits_for_it(server: Server, file: Path) -> None:
    """What is being stored is not delivered yet."""
    async with client(server, file) as sender:
        await asyncio.sleep(0.05)
        with held(file):
            task = await begin(sender, 1)
            assert not await sender.flush(0.2)
        await task
        assert await sender.flush(5)
    assert server.ids == ["e1"]


async def test_a_close_waits_for_it_as_long_as_it_may(server: Server, file: Path) -> None:
    """Then its caller is told that it may be stored; what waits behind it surely is not."""
    sender = client(server, file)
    async with sender:
        await asyncio.sleep(0.05)
        with held(file):
            first, second = await begin(sender, 1), await begin(sender, 2)
            closing = asyncio.create_task(sender.aclose(0.2))
            found = await asyncio.gather(first, second, return_exceptions=True)
        await closing
    assert [type(one) for one in found] == [ClientClosed, ClientClosed]
    assert [getattr(one, "stored", 0) for one in found] == [None, False]


async def test_a_close_in_time_stores_it(server: Server, file: Path) -> None:
    """The caller gets the receipt."""
    async with client(server, file) as sender:
        await asyncio.sleep(0.05)
        with held(file):
            task = await begin(sender, 1)
            closing = asyncio.create_task(sender.aclose(5))
            await asyncio.sleep(0.1)
        receipt = await task
        await closing
    assert receipt.event_id == "e1"
    assert accepted(sender) == 1


async def test_a_file_that_stays_locked_refuses_it(server: Server, file: Path) -> None:
    """Surely not stored, and the next one is."""
    async with client(server, file) as sender:
        await asyncio.sleep(0.05)
        with held(file):
            task = await begin(sender, 1, timeout_s=0.2)
            with pytest.raises(SpoolError) as caught:
                await task
        assert caught.value.stored is False
        await sender.send(numbered(2))
        assert accepted(sender) == 1
        assert await sender.flush(5)
    assert server.ids == ["e2"]


async def test_storage_that_fails_is_told_to_its_caller_only(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller gets an error of its own, and the client goes on."""
    async with client(server, file) as sender:
        await asyncio.sleep(0.05)
        spool: Any = sender._spool
        with monkeypatch.context() as patched:
            patched.setattr(spool.store, "begin", _failing)
            with pytest.raises(SpoolError) as caught:
                await sender.send(numbered(1))
        assert caught.value.stored is False
        async with asyncio.timeout(5):
            await sender.send(numbered(2))
        assert await sender.flush(5)
    assert server.ids == ["e2"]


def _failing(**_options: Any) -> None:
    raise OSError(5, "Input/output error")
