"""A Redis for every test, or one that the tests of a process share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from capi_async.clock import SYSTEM_CLOCK
from capi_async.spool.redis import RedisSpool, parse
from tests.spool.redis_server import RedisServer, serve, shared_url

Open = Callable[..., Awaitable[RedisSpool]]


@pytest.fixture
def url() -> str:
    """The address of a spool for this test alone, in the shared Redis."""
    return shared_url()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for this test alone, with an append-only file."""
    yield from serve(tmp_path, "--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
async def open_spool() -> AsyncIterator[Open]:
    """Opens spools, each as a separate process would; closes all of them at the end."""
    async with AsyncExitStack() as stack:

        async def open_(url: str, *names: str, deliver: bool = True, clock: Any = SYSTEM_CLOCK) -> RedisSpool:
            spool = RedisSpool(parse(url), clock=clock)
            await spool.open(names or ("a", "b"), lambda _name: None, deliver=deliver)
            stack.push_async_callback(spool.close)
            return spool

        yield open_


async def freeze(spool: RedisSpool) -> None:
    """What SIGSTOP does to a process: it sends no heartbeat and reads no notice."""
    await spool.background.cancel()


async def die(spool: RedisSpool) -> None:
    """What SIGKILL does to a process."""
    await spool.background.cancel()
    await spool.writers.cancel()
    connection = spool.session.detach()
    assert connection is not None
    await connection.close()


async def get(spool: RedisSpool, number: int, destination: str = "a", timeout_s: float = 10.0) -> list[Any]:
    """Lease until so many records are there; the deadline only bounds a failing test."""
    found: list[Any] = []
    async with asyncio.timeout(timeout_s):
        while len(found) < number:
            found += await spool.lease(destination, limit=number - len(found), max_bytes=1 << 24)
            if len(found) < number:
                await asyncio.sleep(0.02)
    return found
