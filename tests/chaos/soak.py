"""Sends at a steady rate for minutes while platforms fail at random: is memory flat, the file small, the ledger right?

``python -m tests.chaos.soak [--minutes 10] [--rate 5000] [--seed 0] [--json]``. The sender, with the SQLite spool, and
the sandbox are processes of their own; needs Linux's ``/proc``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec import Struct, field, structs

from capi_async import Client, Event, Page, User
from capi_async.destinations import Pinterest, Snap
from capi_async.sandbox import Fault, Sandbox
from capi_async.testing import assert_balanced

PLATFORMS = ("snap", "pinterest")

#: Callers that wait for their ``send()`` at the same time.
TASKS = 256
#: Every so many events one is offline: Pinterest could count a copy of it twice, so that it may end ``uncertain``.
OFFLINE_EVERY = 20
#: Dead letters kept: a run of any length reaches this, and the file must not grow beyond.
DEAD_MAX = 5_000

#: Resident memory of the sender may rise by this after the first minute (or the first third of a shorter run).
MAX_GROWTH_MB = 24.0
#: The spool file and its log. Platforms are away for seconds at a time, and what comes meanwhile is kept there.
MAX_FILE_MB = 200.0


class Sample(Struct):
    """How the sender stands after ``at`` seconds."""

    at: float
    rss_mb: float
    file_mb: float


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        events: For which ``send()`` returned; ``events_per_s``: so many a second.
        ledger: Destination to counts, when all is settled.
        distinct: Destination to different events that the sandbox took; ``duplicates``: copies it recognised;
            ``counted_twice``: those it could not recognise.
        faults: Destination to requests that went wrong.
        growth_mb: What memory gained after the first minute, see :func:`growth_mb`.
        broken: Promises that were not kept.
    """

    seconds: float
    rate: int
    events: int
    events_per_s: float
    drain_s: float
    ledger: dict[str, dict[str, int]]
    distinct: dict[str, int]
    duplicates: dict[str, int]
    counted_twice: dict[str, int]
    faults: dict[str, int]
    rss_start_mb: float
    rss_end_mb: float
    rss_max_mb: float
    growth_mb: float
    file_max_mb: float
    file_end_mb: float
    broken: list[str] = field(default_factory=list)


# The sandbox's process.


def trouble(chance: random.Random) -> list[Fault]:
    """What goes wrong for the next few seconds, at a platform chosen by chance.

    No 503: Pinterest means by it that one must stay away for five minutes, and the events wait for so long.
    """
    platform = chance.choice(PLATFORMS)
    rate = chance.choice((0.05, 0.2, 0.5))
    return chance.choice(
        [
            [Fault(kind="status", platform=platform, status=chance.choice((500, 502, 504)), rate=rate)],
            [Fault(kind="status", platform=platform, status=500)],  # away altogether
            [Fault(kind="status", platform=platform, status=429, rate=rate, retry_after_s=1.0)],
            [Fault(kind="reset_before", platform=platform, rate=rate)],
            [Fault(kind="reset_after", platform=platform, rate=rate)],
            [Fault(kind="truncate", platform=platform, rate=rate)],
            [Fault(kind="html", platform=platform, rate=rate)],
            [Fault(kind="hang", platform=platform, rate=0.05, after=chance.random() < 0.5)],
            [Fault(kind="latency", platform=platform, latency_s=0.3, rate=rate)],
            [],
        ]
    )


async def serve(seed: int) -> None:
    """Play the platforms, badly; ``clear`` on standard input ends the faults, ``stats`` prints the counters."""
    async with Sandbox(seed=seed, max_arrivals=0, keep_events=False) as sandbox:
        for platform in PLATFORMS:
            sandbox.set_rate(platform, None)
        failing = asyncio.create_task(fail(sandbox, random.Random(seed)))
        print(sandbox.port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "clear":
                failing.cancel()
                sandbox.clear_faults()
            print(json.dumps({name: sandbox.details()[name] for name in PLATFORMS}), flush=True)


async def fail(sandbox: Sandbox, chance: random.Random) -> None:
    """Another trouble every half to three seconds."""
    while True:
        sandbox.clear_faults()
        for fault in trouble(chance):
            sandbox.add_fault(fault)
        await asyncio.sleep(chance.uniform(0.5, 3.0))


# The sender's process.


def event(number: int) -> Event:
    """A purchase of somebody else every time."""
    offline = number % OFFLINE_EVERY == 0
    return Event(
        "purchase",
        event_id=f"soak-{number}",
        source="offline" if offline else "website",
        user=User(email=f"person{number}@example.com", ip="203.0.113.7", user_agent="Mozilla/5.0"),
        page=Page() if offline else Page(url="https://shop.example/thanks"),
        value="12.50",
        currency="USD",
    )


async def send(folder: Path, base: str, rate: int, seconds: float) -> None:
    """Send at ``rate`` for ``seconds``; when told so, deliver what is left and print the ledger."""
    snap = Snap(
        pixel_id="11111111-2222-3333-4444-555555555555",
        access_token="sandbox-token",
        base_url=f"{base}/snap",
        request_timeout_s=2.0,
    )
    pinterest = Pinterest(
        ad_account_id="549755885175",
        access_token="sandbox-token",
        base_url=f"{base}/pinterest",
        request_timeout_s=2.0,
    )
    spool = f"sqlite:///{folder}/events.db?dead_max={DEAD_MAX}"
    async with Client([snap, pinterest], spool=spool, linger_s=0.05, max_pending_events=2_000_000) as client:
        print("ready", flush=True)
        sent, numbers, began = 0, itertools.count(), time.monotonic()

        async def one() -> None:
            nonlocal sent
            for number in numbers:
                due = number / rate
                if due >= seconds:
                    return
                wait = began + due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                await client.send(event(number), timeout_s=30)
                sent += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(one())
        took = time.monotonic() - began
        print(json.dumps({"sent": sent, "took": took}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # the faults are over
        drained = time.monotonic()
        await client.flush(120)
        ledger = {name: structs.asdict(counts) for name, counts in assert_balanced(client).items()}
        print(json.dumps({"ledger": ledger, "drain_s": time.monotonic() - drained}), flush=True)


# The process that watches them.


class Process:
    """One of the two, and what it says."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.chaos.soak", *arguments]
        self.it = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        """What it says next."""
        assert self.it.stdout is not None
        line = self.it.stdout.readline()
        if not line:
            raise SystemExit("a process ended early")
        return line.strip()

    def tell(self, command: str) -> str:
        """Have a command carried out; returns what it says then."""
        assert self.it.stdin is not None
        self.it.stdin.write(command + "\n")
        self.it.stdin.flush()
        return self.line()

    def rss_mb(self) -> float:
        """Its resident memory."""
        pages = Path(f"/proc/{self.it.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE") / 1e6

    def stop(self) -> None:
        """End it."""
        self.it.kill()
        self.it.communicate()


def run(seconds: float, rate: int, seed: int, folder: Path, *, show: bool = False) -> Report:
    """Send for ``seconds``, drain, account."""
    server = Process("--role", "sandbox", "--seed", str(seed))
    sender: Process | None = None
    try:
        base = f"http://127.0.0.1:{server.line()}"
        sender = Process(
            "--role",
            "sender",
            "--folder",
            str(folder.absolute()),
            "--base",
            base,
            "--rate",
            str(rate),
            "--seconds",
            str(seconds),
        )
        if sender.line() != "ready":
            raise SystemExit("the sender did not start")
        samples = _watch(sender, seconds, folder, show=show)
        sent = json.loads(sender.line())
        server.tell("clear")
        end = json.loads(sender.tell("drain"))
        details = json.loads(server.tell("stats"))
        file_end_mb = _size_mb(folder)
    finally:
        for process in (sender, server):
            if process is not None:
                process.stop()
    report = Report(
        seconds=round(sent["took"], 1),
        rate=rate,
        events=sent["sent"],
        events_per_s=round(sent["sent"] / sent["took"], 1),
        drain_s=round(end["drain_s"], 2),
        ledger=end["ledger"],
        distinct={name: it["accepted"] - it["duplicates"] - it["counted_twice"] for name, it in details.items()},
        duplicates={name: it["duplicates"] for name, it in details.items()},
        counted_twice={name: it["counted_twice"] for name, it in details.items()},
        faults={name: sum(it["faults"].values()) for name, it in details.items()},
        rss_start_mb=round(samples[0].rss_mb, 1),
        rss_end_mb=round(samples[-1].rss_mb, 1),
        rss_max_mb=round(max(sample.rss_mb for sample in samples), 1),
        growth_mb=round(growth_mb(samples), 1),
        file_max_mb=round(max(file_end_mb, *(sample.file_mb for sample in samples)), 1),
        file_end_mb=round(file_end_mb, 1),
    )
    report.broken = broken(report)
    return report


def _watch(sender: Process, seconds: float, folder: Path, *, show: bool) -> list[Sample]:
    """Samples until it has sent everything; shows about twenty of them."""
    samples: list[Sample] = []
    began, every, next_shown = time.monotonic(), min(1.0, seconds / 20), 0.0
    while (at := time.monotonic() - began) < seconds:
        samples.append(Sample(at, sender.rss_mb(), _size_mb(folder)))
        if show and at >= next_shown:
            next_shown += seconds / 20
            print(f"{at:>7.0f} s  RSS {samples[-1].rss_mb:>6.1f} MB  file {samples[-1].file_mb:>6.1f} MB", flush=True)
        time.sleep(every)
    return samples


def growth_mb(samples: list[Sample]) -> float:
    """What memory gained after the first minute, or after the first third of a run of less than three minutes.

    The median over the last third of that time, less the median over its first third.
    """
    warm = min(60.0, samples[-1].at / 3)
    after = [sample.rss_mb for sample in samples if sample.at >= warm]
    third = max(1, len(after) // 3)
    return _median(after[-third:]) - _median(after[:third])


def broken(report: Report) -> list[str]:
    """The promises that were not kept, in words."""
    found = []
    for name, counts in report.ledger.items():
        settled = sum(counts.values()) - counts["accepted"] - counts["pending"]
        distinct, doubts = report.distinct[name], counts["uncertain"] + counts["dead"]
        if counts["accepted"] != report.events or settled + counts["pending"] != counts["accepted"]:
            found.append(f"{name}: {report.events} were sent, and the ledger says {counts}")
        if counts["pending"]:
            found.append(f"{name}: {counts['pending']} are not settled")
        if not counts["delivered"] <= distinct <= counts["delivered"] + doubts:
            found.append(f"{name}: {distinct} events arrived, and the ledger says {counts}")
        if report.counted_twice[name]:
            found.append(f"{name}: {report.counted_twice[name]} events were counted twice")
        if not report.faults[name]:
            found.append(f"{name}: nothing went wrong, which proves nothing")
    if report.growth_mb > MAX_GROWTH_MB:
        found.append(f"memory grew by {report.growth_mb} MB")
    if report.file_max_mb > MAX_FILE_MB:
        found.append(f"the file grew to {report.file_max_mb} MB")
    if report.events_per_s < 0.95 * report.rate:
        found.append(f"{report.events_per_s} events a second were sent, not {report.rate}")
    return found


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _size_mb(folder: Path) -> float:
    size = 0
    for file in folder.glob("events.db*"):
        if not file.name.endswith("-shm"):
            size += file.stat().st_size
    return size / 1e6


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if name == "ledger":
            for destination, counts in value.items():
                told = ", ".join(f"{kind} {count:,}" for kind, count in counts.items() if count)
                print(f"{'ledger':>14}  {destination}: {told}")
        elif isinstance(value, dict):
            print(f"{name:>14}  {', '.join(f'{key} {count:,}' for key, count in value.items())}")
        elif not isinstance(value, list):
            print(f"{name:>14}  {value:,}")


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", choices=("sandbox", "sender"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "sandbox":
        asyncio.run(serve(options.seed))
        return
    if options.role == "sender":
        asyncio.run(send(options.folder, options.base, options.rate, options.seconds))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.minutes * 60, options.rate, options.seed, Path(folder), show=not options.json)
    if options.json:
        print(json.dumps(structs.asdict(report)))
    else:
        _print(structs.asdict(report))
    if report.broken:
        raise SystemExit("; ".join(report.broken))


if __name__ == "__main__":
    main()
