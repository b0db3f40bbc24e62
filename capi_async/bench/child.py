"""One contender, once, in this process: reads a :class:`Task` from the command line, prints its figures as JSON.

Ours and the floors run as ``python -m capi_async.bench.child``. A peer's process runs this file by its path, from an
environment that has that peer: there a bare stand-in takes the package's place, so that nothing of capi_async beyond
this folder is imported or measured.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

if __name__ == "__main__" and not __package__:
    sys.path.pop(0)
    standin = ModuleType("capi_async")
    standin.__path__ = [str(Path(__file__).resolve().parent.parent)]
    sys.modules["capi_async"] = standin

import msgspec

from capi_async.bench import arrivals, clockwork
from capi_async.bench.feed import Feed


class Task(msgspec.Struct, kw_only=True):
    """What a child is told.

    Attributes:
        kind: Class in ``module`` below.
        options: Its keyword arguments.
        base: Address of the sink.
        rows: File of rows.
        core: To be pinned to.
        rate: Arrivals per second, for contenders of a web application; 0 for all others.
        versions: Distributions whose versions are reported.
    """

    module: str
    kind: str
    options: dict[str, Any]
    base: str
    rows: str
    warm_up: int
    count: int
    lag_count: int = 0
    core: int | None = None
    versions: list[str] = []
    rate: float = 0.0


def run(task: Task) -> dict[str, Any]:
    """Measure; ``SystemExit`` if anything was not delivered."""
    logging.disable(logging.INFO)
    clockwork.pin(task.core)
    kind = getattr(_module(task.module), task.kind)
    contender = kind(task.base, **task.options)
    feed = Feed(Path(task.rows))
    figures: dict[str, Any]
    if task.kind == "Backlog":
        main = contender.measure(feed, warm_up=task.warm_up, count=task.count)
        with asyncio.Runner(loop_factory=clockwork.new_loop()) as runner:
            figures = runner.run(main)
    elif task.rate:
        main = arrivals.measure(
            contender, feed, rate=task.rate, warm_up=task.warm_up, count=task.count, lag_count=task.lag_count
        )
        with asyncio.Runner(loop_factory=clockwork.new_loop()) as runner:
            figures = runner.run(main)
    elif asyncio.iscoroutinefunction(kind.send):
        main = clockwork.measure(contender, feed, warm_up=task.warm_up, count=task.count, lag_count=task.lag_count)
        with asyncio.Runner(loop_factory=clockwork.new_loop()) as runner:
            figures = runner.run(main)
    else:
        figures = clockwork.measure_blocking(contender, feed, warm_up=task.warm_up, count=task.count)
    feed.close()
    return figures | {"versions": {name: version(name) for name in task.versions}}


def _module(name: str) -> ModuleType:
    if name == "peers":
        from capi_async.bench import peers

        return peers
    if name == "floor":
        from capi_async.bench import floor

        return floor
    if name == "web_peers":
        from capi_async.bench import web_peers

        return web_peers
    if name == "arrivals":
        return arrivals
    if name == "backlog":
        from capi_async.bench import backlog

        return backlog
    from capi_async.bench import ours

    return ours


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Task))).decode() + "\n")
