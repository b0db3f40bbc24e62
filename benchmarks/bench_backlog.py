"""A million events while every destination is down: memory, file size, and how long ``send()`` takes.

``python benchmarks/bench_backlog.py [--events N] [--windows N] [--seconds S] [--slower-ms MS] [--json]``. The backlog
is built as fast as it goes; then come windows of ``send()`` at 2,000 events a second. Before each, the disk's own time
for a sync is measured, so that both numbers are of the same moment; reported are the medians over the windows.

A virtual disk may say that it is done in a quarter of a millisecond, which is less than a hop between two threads
takes. ``--slower-ms`` adds time to each sync of the probe and of a commit (not of a checkpoint), as a disk that really
writes does.
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

from msgspec import Struct, structs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from data import events as make_events  # noqa: E402  # the folder is no package: scripts run from anywhere

from capi_async import Client, Event  # noqa: E402
from capi_async.destinations import Pinterest, Snap  # noqa: E402
from capi_async.spool.sqlite.committer import Transaction  # noqa: E402
from capi_async.spool.sqlite.store import Store  # noqa: E402

#: Nobody listens there: every request is refused.
DOWN = "http://127.0.0.1:9"
RATE = 2_000

#: The targets: p99 of send() in medians of the disk's sync, and memory with a million events waiting.
MAX_SYNCS = 10.0
MAX_RSS_MB = 200.0


class Window(Struct):
    """What ``send()`` and the disk took in one stretch of time, in milliseconds, and how busy the machine was."""

    sync_p50: float
    sync_p99: float
    send_p50: float
    send_p99: float
    load: float

    @property
    def syncs(self) -> float:
        """The p99 of ``send()`` in medians of the sync."""
        return self.send_p99 / self.sync_p50


def slow_down(seconds: float) -> None:
    """Let each synced commit of the spool take so much longer; the GIL is free meanwhile, as it is in a sync."""
    commit = Store.commit

    def slower(store: Store, group: Transaction) -> None:
        if group.sync:
            time.sleep(seconds)
        commit(store, group)

    Store.commit = slower  # type: ignore[assignment, method-assign]


def sync_ms(folder: Path, slower_s: float) -> tuple[float, float]:
    """Median and p99 of appending a page and syncing it, in milliseconds."""
    path = folder / "probe"
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    times = []
    for index in range(300):
        os.pwrite(file, b"x" * 4096, index * 4096)
        before = time.perf_counter()
        os.fdatasync(file)
        time.sleep(slower_s)
        times.append((time.perf_counter() - before) * 1e3)
    os.close(file)
    path.unlink()
    times.sort()
    return times[150], times[297]


def rss_mb() -> float:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def size_mb(folder: Path) -> float:
    """The spool file and its log."""
    return sum(file.stat().st_size for file in folder.glob("events.db*") if not file.name.endswith("-shm")) / 1e6


async def run(total: int, windows: int, seconds: float, slower_s: float, folder: Path) -> dict[str, Any]:
    """Fill, then send at a steady rate, then start anew."""
    destinations = [
        Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="t", base_url=DOWN),
        Pinterest(ad_account_id="549755885175", access_token="t", base_url=DOWN),
    ]
    each = int(RATE * seconds)
    options: dict[str, Any] = {
        "spool": f"sqlite:///{folder / 'events.db'}",
        "max_pending_events": 2 * (total + windows * each),
        "max_pending_bytes": 1 << 40,
    }
    figures: dict[str, Any] = {"events": total, "slower_ms": slower_s * 1e3}
    found: list[Window] = []
    async with Client(destinations, **options) as client:
        figures["rss_start_mb"] = rss_mb()
        began = time.perf_counter()
        for start in range(0, total, 1_000):
            await client.send_many(make_events(1_000, seed=start), timeout_s=60)
            for share in (0.1, 0.5):
                if start == int(total * share) // 1_000 * 1_000:
                    figures[f"rss_at_{share:.0%}_mb"] = rss_mb()
        figures["filled_per_s"] = total / (time.perf_counter() - began)
        figures["rss_full_mb"] = rss_mb()
        figures["file_mb"] = size_mb(folder)
        for number in range(windows):
            sync = await asyncio.to_thread(sync_ms, folder, slower_s)
            times = await steadily(client, make_events(each, seed=-1 - number))
            found.append(Window(*sync, times[len(times) // 2], times[int(len(times) * 0.99)], os.getloadavg()[0]))
        figures["rss_end_mb"] = rss_mb()
        await client.aclose(0)
    began = time.perf_counter()
    async with Client(destinations, **options) as client:
        figures["restart_s"] = time.perf_counter() - began
        pending = client.ledger()["snap"].pending
        if pending != total + windows * each:
            raise SystemExit(f"void: {pending} pending")
        await client.aclose(0)
    for name in Window.__struct_fields__:
        figures[f"{name}_ms" if name != "load" else name] = median([getattr(window, name) for window in found])
    figures["send_p99_in_syncs"] = median([window.syncs for window in found])
    figures["windows"] = [structs.asdict(window) for window in found]
    return figures


def median(values: list[float]) -> float:
    """The one in the middle."""
    return sorted(values)[len(values) // 2]


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


def main() -> None:
    """Run it, print the figures and whether the targets were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--windows", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each window")
    parser.add_argument("--slower-ms", type=float, default=0.0, help="added to each sync of the disk")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        slower_s = arguments.slower_ms / 1e3
        if slower_s:
            slow_down(slower_s)
        figures = asyncio.run(run(arguments.events, arguments.windows, arguments.seconds, slower_s, Path(name)))
    if arguments.json:
        print(json.dumps(figures))
        return
    for window in figures.pop("windows"):
        print("  ".join(f"{key} {value:.1f}" for key, value in window.items()))
    for key, value in figures.items():
        print(f"{key:>18}  {value:,.3f}" if isinstance(value, float) else f"{key:>18}  {value:,}")
    met = figures["send_p99_in_syncs"] < MAX_SYNCS, max(figures["rss_full_mb"], figures["rss_end_mb"]) < MAX_RSS_MB
    print(f"p99 of send() below {MAX_SYNCS:.0f} syncs: {met[0]}; RSS below {MAX_RSS_MB:.0f} MB: {met[1]}")


if __name__ == "__main__":
    main()
