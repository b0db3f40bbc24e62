"""What a worker does while a batch lingers: nothing, until there is something to decide."""

from __future__ import annotations

from typing import Any

import pytest

from capi_async import Client
from capi_async.spool.base import Record
from capi_async.spool.memory import MemorySpool
from tests.engine.acme import Acme, event, events
from tests.engine.server import Server, reply, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Counting(MemorySpool):
    """Counts how often a worker looks for records."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        self.looks += 1
        return await super().lease(destination, limit=limit, max_bytes=max_bytes)


class Few(Acme, frozen=True, kw_only=True):
    """Takes two test events a request, and as many others as usual."""

    def batch_limit(self, head: bytes) -> int:
        return 2 if b'"test":true' in head else super().batch_limit(head)


def client(destination: Acme, **options: Any) -> Client:
    return Client([destination], **options)


async def test_records_that_change_only_a_count_wake_nobody(server: Server) -> None:
    """The first one sets the timer; the others wait in the spool until it rings."""
    spool = Counting()
    async with client(Acme(base_url=server.url), spool=spool, linger_s=0.3) as sender:
        receipts = [await sender.send(event(number)) for number in range(100)]
        looks = spool.looks
        kinds = {(await one.outcomes(timeout_s=5))["acme"].kind for one in receipts}
    assert kinds == {"delivered"}
    assert looks <= 3
    assert len(server.got) == 1


async def test_a_batch_that_is_full_leaves_before_its_time(server: Server) -> None:
    """By count, with the records that nobody was woken for."""
    async with client(Acme(base_url=server.url, max_batch_events=5), linger_s=60) as sender:
        for number in range(12):
            await sender.send(event(number))
        await until(lambda: len(server.ids) == 10)
        await until(lambda: sender.ledger()["acme"].pending == 2)  # once the answers were read
        await sender.aclose(5)
    assert sorted(server.ids) == sorted(f"e{number}" for number in range(12))


async def test_a_batch_that_is_full_of_bytes_leaves_before_its_time(server: Server) -> None:
    """The same bound as the batch's own."""
    async with client(Acme(base_url=server.url, max_batch_bytes=1_024 + 4_000), linger_s=60) as sender:
        for number in range(8):
            await sender.send(event(number, properties={"note": "n" * 900}))
        await until(lambda: len(server.ids) == 6)  # three fit, and the fourth and the seventh do not
        await sender.aclose(5)
    assert len(server.ids) == 8
    assert all(len(request.raw) <= 1_024 + 4_000 for request in server.got)


async def test_a_head_that_takes_fewer_is_full_sooner(server: Server) -> None:
    """Once a head with a lower bound was seen, it is reckoned with."""
    async with client(Few(base_url=server.url), linger_s=60) as sender:
        for number in range(2):
            await sender.send(event(number, test=True))
        await until(lambda: len(server.ids) == 2)
        await sender.send(event(2))
        for number in range(3, 5):
            await sender.send(event(number, test=True))
        await until(lambda: len(server.ids) == 4)
        await until(lambda: sender.ledger()["acme"].pending == 1)
        await sender.aclose(5)


async def test_a_retry_is_due_while_others_linger(server: Server) -> None:
    """It does not wait for the timer of those that came later."""
    server.replies = [reply(503)]
    async with client(Acme(base_url=server.url, max_batch_events=1), linger_s=60) as sender:
        first = await sender.send(event(1))
        assert (await first.outcomes(timeout_s=5))["acme"].kind == "delivered"
    assert server.ids == ["e1", "e1"]


async def test_a_flush_takes_what_nobody_was_woken_for(server: Server) -> None:
    """All of it, in as few requests as before."""
    async with client(Acme(base_url=server.url), linger_s=60) as sender:
        for one in events(50):
            await sender.send(one)
        assert await sender.flush(5)
    assert len(server.ids) == 50
    assert len(server.got) == 1
