"""What is read off a contender's process: CPU, time, memory, and how late its event loop ran."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from capi_async.bench.feed import Feed

#: Largest share of the loop lags, sorted, that is sent to the parent.
_SHARES = {"lag_p50_ms": 0.5, "lag_p99_ms": 0.99, "lag_max_ms": 1.0}


class Contender(Protocol):
    """One library in one configuration. ``send`` returns when everything it took is delivered."""

    #: Requests' events that the sink must have counted per event sent.
    copies: int

    async def open(self) -> None:
        """Make clients; connections may be made by the first send."""
        ...

    async def send(self, feed: Feed, count: int) -> None:
        """Make ``count`` events of the feed's rows and deliver all of them."""
        ...

    async def close(self) -> int:
        """Let go; returns how many events the library says were delivered."""
        ...


class Blocking(Protocol):
    """The same without an event loop."""

    copies: int

    def open(self) -> None:
        """See :class:`Contender`."""
        ...

    def send(self, feed: Feed, count: int) -> None:
        """See :class:`Contender`."""
        ...

    def close(self) -> int:
        """See :class:`Contender`."""
        ...


def pin(core: int | None) -> None:
    """Stay on one core, where the system can do that."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would begin with the memory of the process that forked us
        for line in status.read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def rss_mb() -> float:
    """Resident memory now, in MB; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return peak_rss_mb()
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class Stopwatch:
    """CPU and wall time of one measured stretch, without the reading of rows."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._read = feed.cpu_s, feed.wall_s
        self._began = time.process_time(), time.perf_counter()
        os.getppid()  # a mark for callgrind, which can be told to write its counts whenever this is called

    def figures(self, count: int) -> dict[str, float]:
        """Since it was made, over ``count`` events."""
        os.getppid()
        cpu, wall = time.process_time() - self._began[0], time.perf_counter() - self._began[1]
        cpu -= self._feed.cpu_s - self._read[0]
        wall -= self._feed.wall_s - self._read[1]
        return {"cpu_us": cpu / count * 1e6, "events_per_s": count / wall, "peak_rss_mb": peak_rss_mb()}


def settle_memory() -> None:
    """For every contender alike: what it loaded is not looked at by each collection of the measured stretch."""
    gc.collect()
    gc.freeze()


async def measure(it: Contender, feed: Feed, *, warm_up: int, count: int, lag_count: int) -> dict[str, Any]:
    """Warm up, measure, then send some more with a watch on the loop, which would cost the measured part CPU time."""
    await it.open()
    await it.send(feed, warm_up)
    settle_memory()
    clock = Stopwatch(feed)
    await it.send(feed, count)
    figures: dict[str, Any] = clock.figures(count)
    if lag_count:
        figures |= await _lags(it, feed, lag_count)
    delivered = await it.close()
    return figures | {"sent": warm_up + count + lag_count, "delivered": delivered, "copies": it.copies}


def measure_blocking(it: Blocking, feed: Feed, *, warm_up: int, count: int) -> dict[str, Any]:
    """The same for a library without an event loop."""
    it.open()
    it.send(feed, warm_up)
    settle_memory()
    clock = Stopwatch(feed)
    it.send(feed, count)
    figures: dict[str, Any] = clock.figures(count)
    delivered = it.close()
    return figures | {"sent": warm_up + count, "delivered": delivered, "copies": it.copies}


async def loop_lags_s(while_running: Callable[[], Awaitable[object]]) -> list[float]:
    """How much later than asked a timer of one millisecond fired, each time, while something ran."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(max(0.0, time.perf_counter() - before - 0.001))

    watcher = asyncio.create_task(watch())
    try:
        await while_running()
    finally:
        watcher.cancel()
    return lags


def share(values: list[float], part: float) -> float:
    """The value below which this part of them lies; 0 if there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


async def _lags(it: Contender, feed: Feed, count: int) -> dict[str, float]:
    lags = await loop_lags_s(lambda: it.send(feed, count))
    return {name: share(lags, part) * 1e3 for name, part in _SHARES.items()} if lags else {}
