"""Records, receipts and spools for tests of the spool contract. A further spool adds a line to ``SPOOLS``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, Refused, Spool
from capi_async.spool.memory import MemorySpool
from capi_async.spool.redis import RedisSpool
from capi_async.spool.redis import parse as parse_redis
from capi_async.spool.sqlite import SqliteSpool, parse
from capi_async.testing import ManualClock
from tests.spool.redis_server import REQUIRED, installed, shared_url

DELIVERED = Outcome(kind="delivered")
REJECTED = Outcome(kind="rejected", reason="no")
DEAD = Outcome(kind="dead", reason="8 failed attempts; last: HTTP 503")
SKIPPED = Outcome(kind="skipped", reason="not addressed")
DROPPED = Outcome(kind="dropped", reason="full")
FORGOTTEN = Outcome(kind="forgotten", reason="erased on request")
NAMES = ("a", "b")
NOW = 1_790_000_000.0


def new_clock() -> ManualClock:
    """A clock whose two readings are far apart, so that taking one for the other is noticed."""
    return ManualClock(1_000.0, wall=NOW + 1_000.0)


class Receipt:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: dict[str, Outcome] = {}

    def settle(self, destination: str, outcome: Outcome) -> None:
        assert destination not in self.told, "told twice"
        self.told[destination] = outcome


def record(event_id: str, destination: str = "a", **fields: Any) -> Record:
    """A record that expires in a week and may be repeated for two days."""
    fields = {"head": b"h", "body": f'{{"id":"{event_id}"}}'.encode(), "resend_for_s": 172_800.0, **fields}
    return Record(
        destination, event_id, expires_at=NOW + 604_800, account="acc", wire="w/1", accepted_at=NOW + 1_000, **fields
    )


def refusal(event_id: str, destination: str = "a", **fields: Any) -> Refused:
    return Refused(destination, event_id, SKIPPED, **fields)


def ids(records: list[Record]) -> list[str]:
    return [one.event_id for one in records]


def memory(_path: Path, clock: ManualClock) -> Spool:
    return MemorySpool(clock=clock)


def sqlite(path: Path, clock: ManualClock, query: str = "") -> SqliteSpool:
    return SqliteSpool(parse(f"sqlite:///{path / 'events.db'}{query}"), clock=clock)


def redis(path: Path, clock: ManualClock) -> RedisSpool:
    prefix = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return RedisSpool(parse_redis(shared_url(prefix)), clock=clock)


def _no_redis() -> str:
    return "" if REQUIRED or installed() else "redis-server is not installed"


@asynccontextmanager
async def opened(spool: Any, *names: str, deliver: bool = True) -> AsyncIterator[Any]:
    """The spool, open; closed in order at the end."""
    await spool.open(names or NAMES, lambda _name: None, deliver=deliver)
    try:
        yield spool
    finally:
        await spool.close()


async def end_loop(spool: SqliteSpool) -> None:
    """What an event loop does that ends before the spool is closed: it cancels the spool's tasks."""
    assert spool._committer is not None
    assert spool._maintenance is not None
    for task in (spool._maintenance, spool._committer._task):
        task.cancel()
        await asyncio.wait([task])


async def die(spool: SqliteSpool) -> None:
    """What the system does when a process is killed: its locks are free, nothing is written any more."""
    await end_loop(spool)
    thread, spool._thread = spool._thread, None
    assert thread is not None
    store = spool.store

    def let_go() -> None:
        assert store._owner_lock is not None
        store._owner_lock.close()
        store._owner_lock = None
        store._release()

    await thread.run(let_go)
    thread.stop()


class Kind(Struct, frozen=True):
    """A spool that the contract is tested on.

    Attributes:
        make: Two that are made with one path share what is stored, if the spool is durable.
        die: Ends one as a killed process would; ``None``: what it holds ends with it.
        lacks: Why it cannot be tested here, such as a server that is not installed; empty if it can.
    """

    name: str
    make: Callable[[Path, ManualClock], Spool]
    die: Callable[[Any], Awaitable[None]] | None = None
    lacks: Callable[[], str] = str


#: Every spool there is.
SPOOLS = (
    Kind("memory", memory),
    Kind("sqlite", sqlite, die=die),
    Kind("redis", redis, lacks=_no_redis),
)


def every_spool(*, without: str = "") -> list[Any]:
    """Parameters of a test or fixture that is to run on each of them."""
    return [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.skip(reason=lacks)] if (lacks := kind.lacks()) else [])
        for kind in SPOOLS
        if kind.name != without
    ]


async def take(spool: Spool, destination: str = "a", limit: int = 100, max_bytes: int = 1 << 20) -> list[Record]:
    return await spool.lease(destination, limit=limit, max_bytes=max_bytes)


async def eventually(check: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait until something becomes true; the deadline only bounds a failing test."""
    async with asyncio.timeout(timeout_s):
        while not check():
            await asyncio.sleep(0.02)


async def looked(*spools: SqliteSpool) -> None:
    """These have looked after the file since they were opened: on a busy machine that may come late."""
    await eventually(lambda: not any(spool._changed for spool in spools))
