"""A queue's bound holds exactly, whatever its events are doing: ready, under way, or waiting for another attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, Event, Page, QueueFull, User
from capi_async.destinations import Snap
from capi_async.sandbox import Sandbox
from capi_async.spool.base import Spool
from capi_async.spool.memory import MemorySpool
from capi_async.spool.sqlite import SqliteSpool, parse
from capi_async.testing import assert_balanced
from tests.spool.harness import eventually

BOUND = 12


def event(number: int) -> Event:
    """All of one size."""
    return Event(
        "purchase", event_id=f"sale-{number:03}", user=User(email="ada@example.com"),
        page=Page(url="https://shop.example/thanks"), value="12.50", currency="USD",
    )  # fmt: skip


def client(sandbox: Sandbox, spool: Spool, **options: Any) -> Client:
    snap = Snap(
        pixel_id="11111111-2222-3333-4444-555555555555",
        access_token="sandbox-token",
        base_url=sandbox.url("snap"),
        max_batch_events=2,
    )
    return Client([snap], spool=spool, linger_s=0, **options)


async def size_of_one() -> int:
    async with Sandbox() as sandbox, client(sandbox, MemorySpool(), deliver=False) as it:
        await it.send(event(0))
        return it.snapshot().destinations["snap"].waiting_bytes


@pytest.mark.parametrize("bound", ["events", "bytes"])
@pytest.mark.parametrize("overflow", ["wait", "fail", "drop_oldest"])
@pytest.mark.parametrize("spool", ["memory", "sqlite"])
async def test_the_bound_holds_exactly(tmp_path: Path, spool: str, overflow: Any, bound: str) -> None:
    """Two events under way, two delayed, the rest ready: twelve altogether, and never one more."""
    size = await size_of_one()
    queue = MemorySpool() if spool == "memory" else SqliteSpool(parse(f"sqlite:///{tmp_path / 'events.db'}"))
    bounds = {"max_pending_events": BOUND} if bound == "events" else {"max_pending_bytes": BOUND * size + size - 1}
    async with Sandbox() as sandbox, client(sandbox, queue, overflow=overflow, **bounds) as it:
        sandbox.fault("snap", "hang", count=1)
        await it.send_many([event(0), event(1)])
        await eventually(lambda: sandbox.stats()["snap"].requests == 1)
        sandbox.fault("snap", "status", status=429, retry_after_s=600)
        await it.send_many([event(2), event(3)])
        await eventually(lambda: sandbox.stats()["snap"].requests == 2 and (queue.next_due_s("snap") or 0) > 60)
        refused = 0
        for number in range(4, BOUND + 8):
            try:
                await it.send(event(number))
            except QueueFull:
                refused += 1
            depth = queue.depth("snap")
            assert depth.events == min(number + 1, BOUND)
            assert depth.bytes == depth.events * size
        counts = assert_balanced(it)["snap"]
        assert counts.pending == BOUND
        if overflow == "fail":
            assert (refused, counts.dropped) == (8, 0)
        else:
            # no caller waits for a platform that takes nothing for ten minutes
            assert (refused, counts.dropped) == (0, 8)
        await it.aclose(0)
    assert assert_balanced(it)["snap"].pending == BOUND
