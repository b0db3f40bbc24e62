"""A million events while every destination is down: memory, file size, and how long ``send()`` takes.

``python benchmarks/bench_backlog.py [--events N] [--json]``; prints the disk's own time for a sync beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from data import events as make_events  # noqa: E402  # the folder is no package: scripts run from anywhere

from capi_async import Client, Event  # noqa: E402
from capi_async.destinations import Pinterest, Snap  # noqa: E402

#: Nobody listens there: every request is refused.
DOWN = "http://127.0.0.1:9"
RATE = 2_000


def sync_ms(folder: Path) -> tuple[float, float]:
    """Median and p99 of writing a page and syncing it, in milliseconds."""
    file = os.open(folder / "probe", os.O_CREAT | os.O_RDWR, 0o600)
    times = []
    for index in range(500):
        os.pwrite(file, b"x" * 4096, index * 4096)
        before = time.perf_counter()
        os.fdatasync(file)
        times.append((time.perf_counter() - before) * 1e3)
    os.close(file)
    times.sort()
    return times[250], times[495]


def rss_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def run(total: int, folder: Path) -> dict[str, Any]:
    """Fill, then send at a steady rate, then start anew."""
    destinations = [
        Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="t", base_url=DOWN),
        Pinterest(ad_account_id="549755885175", access_token="t", base_url=DOWN),
    ]
    path = folder / "events.db"
    options: dict[str, Any] = {
        "spool": f"sqlite:///{path}",
        "max_pending_events": 2 * total,
        "max_pending_bytes": 1 << 40,
    }
    figures: dict[str, Any] = {"events": total}
    async with Client(destinations, **options) as client:
        figures["rss_start_mb"] = rss_mb()
        for start in range(0, total, 1_000):
            await client.send_many(make_events(1_000, seed=start), timeout_s=60)
        figures["rss_full_mb"] = rss_mb()
        figures["file_mb"] = path.stat().st_size / 1e6
        times = await steadily(client, make_events(RATE * 5, seed=-1))
        figures["send_p50_ms"], figures["send_p99_ms"] = times[len(times) // 2], times[int(len(times) * 0.99)]
        figures["sync_p50_ms"], figures["sync_p99_ms"] = sync_ms(folder)
        await client.aclose(0)
    began = time.perf_counter()
    async with Client(destinations, **options) as client:
        figures["restart_s"] = time.perf_counter() - began
        pending = client.ledger()["snap"].pending
        if pending != total + RATE * 5:
            raise SystemExit(f"void: {pending} pending")
        await client.aclose(0)
    return figures


async def steadily(client: Client, events: list[Event]) -> list[float]:
    """Milliseconds that each ``send()`` took, in order of size, at ``RATE`` a second."""
    times: list[float] = []

    async def one(event: Event) -> None:
        before = time.perf_counter()
        await client.send(event, timeout_s=30)
        times.append((time.perf_counter() - before) * 1e3)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for index, event in enumerate(events):
            wait = began + index / RATE - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            group.create_task(one(event))
    times.sort()
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(run(arguments.events, Path(name)))
    if arguments.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:>14}  {value:,.3f}" if isinstance(value, float) else f"{key:>14}  {value:,}")
