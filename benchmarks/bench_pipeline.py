"""What an event costs from ``send`` to the sink: CPU, throughput, memory, loop lag.

``python benchmarks/bench_pipeline.py [--events N] [--repeats N] [--json] [--spool memory|sqlite]``

Each row runs in a process of its own, pinned to one core where the system allows it, against a sink process on
another. A run counts only if delivered = sent = counted by the sink.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from data import events as make_events  # noqa: E402  # the folder is no package: scripts run from anywhere

from capi_async import Client, Event  # noqa: E402
from capi_async.destinations import Meta, Pinterest, Snap, TikTok  # noqa: E402
from capi_async.spec import Destination  # noqa: E402

TAG = "sink"


def destinations(count: int, base: str) -> list[Destination]:
    """The first ``count`` of Snap, Meta, Pinterest, TikTok and a second Snap account."""
    every: list[Destination] = [
        Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token=TAG, base_url=f"{base}/snap"),
        Meta(pixel_id="1234567890", access_token=TAG, base_url=f"{base}/meta", requests_per_s=1_000.0),
        Pinterest(ad_account_id="549755885175", access_token=TAG, base_url=f"{base}/pinterest"),
        TikTok(pixel_code="CEXAMPLE0000000000AA", access_token=TAG, base_url=f"{base}/tiktok"),
        Snap(name="snap_2", pixel_id="21111111-2222-3333-4444-555555555555", access_token=TAG, base_url=f"{base}/snap"),
    ]
    return every[:count]


async def _many(client: Client, batch: list[Event]) -> None:
    await client.send_many(batch, timeout_s=60)


async def _tasks(client: Client, batch: list[Event]) -> None:
    """A thousand tasks, each awaiting ``send`` for its share."""

    async def one(share: list[Event]) -> None:
        for event in share:
            await client.send(event, timeout_s=60)

    async with asyncio.TaskGroup() as group:
        for start in range(1_000):
            group.create_task(one(batch[start::1_000]))


WAYS: dict[str, Callable[[Client, list[Event]], Awaitable[None]]] = {"send_many": _many, "1000 tasks": _tasks}


async def run(way: str, count: int, total: int, base: str, *, seed: int, spool: str = "memory") -> dict[str, Any]:
    """One measured run; a fifth of the events warm it up before."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - before - 0.001)

    async with Client(destinations(count, base), linger_s=0.05, spool=spool) as client:
        await WAYS[way](client, make_events(max(1, total // 5), seed=seed + 1))
        await client.flush(60)
        watcher = asyncio.create_task(watch())
        cpu, wall, size = time.process_time(), time.perf_counter(), 20_000
        building = 0.0
        for start in range(0, total, size):
            began = time.process_time()
            batch = make_events(min(size, total - start), seed=seed * 1_000 + start)
            building += time.process_time() - began
            await WAYS[way](client, batch)
        if not await client.flush(60):
            raise SystemExit("void: not everything was delivered")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        watcher.cancel()
        ledger = client.ledger()
    sent = total + max(1, total // 5)
    if any(counts.delivered != sent for counts in ledger.values()):
        raise SystemExit(f"void: {ledger}")
    lags.sort()
    return {
        "cpu_us": (cpu - building) / total * 1e6,
        "building_us": building / total * 1e6,
        "events_per_s": total / (wall - building),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "lag_p50_ms": lags[len(lags) // 2] * 1e3,
        "lag_p99_ms": lags[int(len(lags) * 0.99)] * 1e3,
        "expected": sent * count,
    }


def _count(base: str, method: str = "GET") -> int:
    with urllib.request.urlopen(urllib.request.Request(f"{base}/", method=method), timeout=10) as answer:  # noqa: S310
        return int(json.load(answer).get("events", 0))


def child(arguments: argparse.Namespace) -> None:
    """One run in this process; prints its figures."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _count(arguments.base, "DELETE")
    with tempfile.TemporaryDirectory() as folder:
        spool = "memory" if arguments.spool == "memory" else f"sqlite:///{folder}/events.db"
        main = run(
            arguments.way, arguments.destinations, arguments.events, arguments.base, seed=arguments.seed, spool=spool
        )
        gc.freeze()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            figures = runner.run(main)
    received = _count(arguments.base)
    if received != figures.pop("expected"):
        raise SystemExit(f"void: the sink counted {received}")
    print(json.dumps(figures))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def parent(arguments: argparse.Namespace) -> None:
    """All rows, repeated, and the table."""
    command = [sys.executable, str(HERE / "sink.py")]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if len(cores) > 1:
        os.sched_setaffinity(sink.pid, {cores[-1]})
    assert sink.stdout is not None
    base = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
    rows = [("send_many", 1), ("send_many", 5), ("1000 tasks", 1)]
    results: dict[str, dict[str, Any]] = {}
    try:
        for repeat in range(arguments.repeats + 1):
            for way, count in rows:
                figures = json.loads(
                    subprocess.run(
                        [
                            sys.executable, __file__, "--child", "--base", base, "--way", way,
                            "--destinations", str(count), "--events", str(arguments.events), "--seed", str(repeat),
                            "--spool", arguments.spool,
                        ],
                        check=True, capture_output=True, text=True,
                    ).stdout
                )  # fmt: skip
                if repeat:  # the first round warms the machine
                    for name, value in figures.items():
                        results.setdefault(f"{way}, {count} destination{'s' * (count > 1)}", {}).setdefault(
                            name, []
                        ).append(value)
    finally:
        sink.terminate()
        sink.wait()
    facts = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        **{name: version(name) for name in ("aiohttp", "msgspec", "anyio")},
    }
    if arguments.json:
        print(json.dumps({"facts": facts, "events": arguments.events, "rows": results}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()), f"; {arguments.events} events a run")
    print(f"{'':28}{'CPU us':>16}{'building':>10}{'events/s':>10}{'RSS MB':>8}{'lag p50':>9}{'p99 ms':>8}")
    for name, figures in results.items():
        middle = {key: statistics.median(values) for key, values in figures.items()}
        spread = f"{middle['cpu_us']:.1f} ({min(figures['cpu_us']):.1f}-{max(figures['cpu_us']):.1f})"
        print(
            f"{name:28}{spread:>16}{middle['building_us']:>10.1f}{middle['events_per_s']:>10.0f}"
            f"{middle['rss_mb']:>8.0f}{middle['lag_p50_ms']:>9.1f}{middle['lag_p99_ms']:>8.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--spool", default="memory", choices=("memory", "sqlite"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--base", default="", help=argparse.SUPPRESS)
    parser.add_argument("--way", default="send_many", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--destinations", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    child(options) if options.child else parent(options)
