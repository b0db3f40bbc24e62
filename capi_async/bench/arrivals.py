"""Events one at a time, as a web application has them: arrivals by chance, each awaited by a task of its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, Final, Protocol

from capi_async.bench.clockwork import Stopwatch, loop_lags_s, settle_memory, share
from capi_async.bench.feed import Feed, Row

#: A run that ends so many seconds after its last arrival was due, and that share of its length, has fallen behind: it
#: measures how a queue grows.
BEHIND_S: Final = 0.5
BEHIND_SHARE: Final = 0.25


class WebContender(Protocol):
    """One library in one configuration, called once for each request of a web application."""

    #: Requests' events that the sink must have counted per event sent.
    copies: int

    async def open(self) -> None:
        """Make clients; connections may be made by the first call."""
        ...

    async def call(self, row: Row) -> None:
        """What a route awaits: make an event of the row and hand it in."""
        ...

    async def finish(self) -> None:
        """Wait until everything that was handed in is delivered."""
        ...

    async def close(self) -> int:
        """Let go; returns how many events the library says were delivered."""
        ...


class Driver:
    """Takes rows and does nothing: what the arrivals cost by themselves."""

    copies = 0

    def __init__(self, _base: str) -> None:
        self._taken = 0

    async def open(self) -> None:
        """Nothing."""

    async def call(self, _row: Row) -> None:
        """Nothing."""
        self._taken += 1

    async def finish(self) -> None:
        """Nothing."""

    async def close(self) -> int:
        """What came."""
        return self._taken


async def measure(
    it: WebContender, feed: Feed, *, rate: float, warm_up: int, count: int, lag_count: int
) -> dict[str, Any]:
    """Arrivals at ``rate`` a second on average, by chance (a Poisson process, the same for every contender).

    The clock runs until everything is delivered. How late the loop runs is measured in further arrivals, because the
    watch itself costs CPU.

    Raises:
        SystemExit: The contender fell behind the arrivals.
    """
    await it.open()
    await _arrive(it, feed, warm_up, rate)
    await it.finish()
    settle_memory()
    clock = Stopwatch(feed)
    took_s, late_s = await _arrive(it, feed, count, rate)
    await it.finish()
    figures: dict[str, Any] = clock.figures(count)
    if late_s > max(BEHIND_S, BEHIND_SHARE * count / rate):
        raise SystemExit(f"void: fell {late_s:.1f} s behind {rate:g} arrivals a second")
    figures |= {"call_p50_us": share(took_s, 0.5) * 1e6, "call_p99_us": share(took_s, 0.99) * 1e6}
    figures |= await _lags(it, feed, lag_count, rate)
    await it.finish()
    delivered = await it.close()
    return figures | {"sent": warm_up + count + lag_count, "delivered": delivered, "copies": it.copies}


async def _arrive(it: WebContender, feed: Feed, count: int, rate: float) -> tuple[list[float], float]:
    """Seconds that each call took, and from when the last one was due until all had returned."""
    took: list[float] = []

    async def request(row: Row) -> None:
        began = time.perf_counter()
        await it.call(row)
        took.append(time.perf_counter() - began)

    rows: Iterator[Row] = feed.rows(count)
    chance = random.Random(count)
    loop = asyncio.get_running_loop()
    at = loop.time()
    async with asyncio.TaskGroup() as requests:
        for row in rows:
            at += chance.expovariate(rate)
            if (wait_s := at - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            requests.create_task(request(row))
    return took, loop.time() - at


async def _lags(it: WebContender, feed: Feed, count: int, rate: float) -> dict[str, float]:
    lags = await loop_lags_s(lambda: _arrive(it, feed, count, rate))
    return {"lag_p50_ms": share(lags, 0.5) * 1e3, "lag_p99_ms": share(lags, 0.99) * 1e3}
