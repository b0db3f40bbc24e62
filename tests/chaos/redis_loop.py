"""Kills workers at random while two drain a Redis, restarts Redis in the middle, and then accounts for every event.

``python -m tests.chaos.redis_loop [--events 200000] [--kills 100] [--restarts 2] [--seed 0] [--json]``. The workers are
``capi-async worker`` itself; Redis has the documented settings (``appendonly yes``, ``appendfsync always``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from msgspec import Struct, structs

from capi_async import Client
from capi_async.clock import SYSTEM_CLOCK
from capi_async.spool import open_spool
from capi_async.spool.base import Ledger, LetterFilter
from tests.chaos.kill_loop import PLATFORMS, Server
from tests.chaos.sender import event
from tests.spool.redis_server import RedisServer

#: Seconds after which what a dead worker held is given to others.
LEASE_S = 5.0
#: A request that a kill cut off had been read by the platform no longer than this before the kill, in seconds: while
#: Redis is away, its outcome waits in the worker.
IN_FLIGHT_S = 6.0
#: How far two moments may be apart in our notes that were one.
LAG_S = 0.5
#: Seconds in which all must be drained once the killing is over.
DRAIN_S = 300.0

CONFIG = """
spool = "{spool}"
linger_s = 0.05
max_pending_events = 10000000
max_pending_bytes = 10000000000

[destinations.snap]
pixel_id = "11111111-2222-3333-4444-555555555555"
access_token = "sandbox-token"
base_url = "{base}/snap"
max_batch_events = {batch}
requests_per_s = {rate}

[destinations.pinterest]
ad_account_id = "549755885175"
access_token = "sandbox-token"
base_url = "{base}/pinterest"
max_batch_events = {batch}
requests_per_s = {rate}
"""


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        events: For which ``send_many()`` had returned; each to both destinations.
        delivered, uncertain, dead: Records by the ledger.
        lost: Records that neither arrived nor ended as a dead letter. The promise is 0.
        duplicates: Copies that a platform received; ``unexplained``: those between which no worker was killed, and
            Redis not restarted, with the first under way. The promise is 0 of these.
        taken_over: Times that a worker heard that others have what it held: it was silent for longer than its lease.
        counted_twice: Copies of events whose copies the platform cannot recognise. The promise is 0.
    """

    kills: int
    restarts: int
    events: int
    delivered: int
    uncertain: int
    dead: int
    pending: int
    lost: int
    duplicates: int
    unexplained: int
    taken_over: int
    counted_twice: int
    balanced: bool
    graceful: bool
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        broken = self.lost or self.unexplained or self.counted_twice or self.pending
        return self.balanced and self.graceful and not broken


class WorkerProcess:
    """One ``capi-async worker``."""

    def __init__(self, config: Path, *options: str) -> None:
        command = [sys.executable, "-m", "capi_async", "worker", "--config", str(config), "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []

    def wait_until(self, text: str) -> str:
        """Read what it says up to a line with this text."""
        if said := next((line for line in self.said if text in line), None):
            return said
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if text in line:
                return line
        raise SystemExit(f"the worker ended: {self.said[-5:]}")

    def end(self, how: signal.Signals) -> int:
        """Send a signal, and wait for the end; the exit code."""
        self.process.send_signal(how)
        assert self.process.stderr is not None
        self.said += self.process.stderr.readlines()
        self.process.stderr.close()
        return self.process.wait(60)


def write_config(folder: Path, base: str, url: str, *, batch: int, rate: float) -> Path:
    """A configuration that web processes and workers share."""
    config = folder / "capi.toml"
    config.write_text(CONFIG.format(spool=url, base=base, batch=batch, rate=rate))
    config.chmod(0o600)
    return config


async def fill(config: Path, events: int) -> None:
    """What web processes do."""
    async with Client.from_config(config, deliver=False) as client:
        for start in range(0, events, 5_000):
            some = [event(0, number) for number in range(start, min(events, start + 5_000))]
            await client.send_many(some, timeout_s=60)


async def ledger(url: str) -> dict[str, Ledger]:
    """What Redis says."""
    spool = open_spool(url, clock=SYSTEM_CLOCK)
    await spool.open((), lambda _name: None, deliver=False)
    found = dict(spool.ledger())
    await spool.close()
    return found


async def letters(url: str) -> dict[tuple[str, str], str]:
    """Kind of every dead letter."""
    spool = open_spool(url, clock=SYSTEM_CLOCK)
    await spool.open((), lambda _name: None, deliver=False)
    found = await spool.letters(LetterFilter())
    await spool.close()
    return {(one.destination, one.event_id): one.kind for one in found if one.reason}


def run(events: int, kills: int, restarts: int, seed: int, folder: Path, *, lease_s: float = LEASE_S) -> Report:
    """Fill, kill, drain, account."""
    began = time.monotonic()
    chance = random.Random(seed)
    redis = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    redis.start()
    server = Server(seed)
    url = redis.url(f"?lease_s={lease_s}")
    # slow enough to last for all the kills
    rate = max(4.0, events / 250 / max(5.0, kills * 0.45))
    config = write_config(folder, server.base, url, batch=250, rate=rate)
    broken_at: list[float] = []
    workers: list[WorkerProcess] = []
    ended: list[WorkerProcess] = []
    try:
        asyncio.run(fill(config, events))
        workers = [WorkerProcess(config) for _ in range(2)]
        for turn in range(kills):
            victim = workers.pop(chance.randrange(2) if turn else 0)
            victim.wait_until("delivering to")
            time.sleep(chance.uniform(0.05, 0.8))
            victim.end(signal.SIGKILL)
            broken_at.append(time.time())
            ended.append(victim)
            workers.append(WorkerProcess(config))
            if restarts and turn % max(1, kills // restarts) == kills // (2 * restarts):
                redis.kill()
                time.sleep(chance.uniform(0.2, 1.0))
                redis.start()
                broken_at.append(time.time())
        server.tell("clear")
        until = time.monotonic() + DRAIN_S
        while any(one.pending for one in asyncio.run(ledger(url)).values()) and time.monotonic() < until:
            time.sleep(0.2)
        for one in workers:
            one.wait_until("delivering to")
        codes = [one.end(signal.SIGTERM) for one in workers]
        graceful = not any(codes)
        ended += workers
        workers = []
        server.tell(f"dump {folder / 'arrived'}")
        counts = asyncio.run(ledger(url))
        kept = asyncio.run(letters(url))
    finally:
        for one in workers:
            one.end(signal.SIGKILL)
        server.stop()
        redis.kill()
    lost, copies = _account(folder, events, kept, broken_at)
    return Report(
        kills=kills,
        restarts=restarts,
        events=events,
        delivered=sum(one.delivered for one in counts.values()),
        uncertain=sum(one.uncertain for one in counts.values()),
        dead=sum(one.dead for one in counts.values()),
        pending=sum(one.pending for one in counts.values()),
        lost=lost,
        duplicates=copies["all"],
        unexplained=copies["unexplained"],
        taken_over=sum("a lease was taken over" in line for one in ended for line in one.said),
        counted_twice=copies["twice"],
        balanced=all(one.balanced and one.accepted == events for one in counts.values()) and len(counts) == 2,
        graceful=graceful,
        seconds=round(time.monotonic() - began, 1),
    )


def _account(
    folder: Path, events: int, kept: dict[tuple[str, str], str], broken_at: list[float]
) -> tuple[int, Counter[str]]:
    arrived: dict[tuple[str, str], list[float]] = {}
    with (folder / "arrived").open(encoding="utf-8") as file:
        for line in file:
            platform, event_id, _run, at = json.loads(line)
            arrived.setdefault((platform, event_id), []).append(at)
    every = [(platform, f"0-{number}") for platform in PLATFORMS for number in range(events)]
    lost = sum(1 for key in every if key not in arrived and key not in kept)
    copies: Counter[str] = Counter()
    for (platform, event_id), times in arrived.items():
        more = len(times) - 1
        copies["all"] += more
        if more and platform == "pinterest" and int(event_id.partition("-")[2]) % 4 == 0:
            copies["twice"] += more
        for first, second in pairwise(sorted(times)):
            copies["unexplained"] += not any(
                -LAG_S <= broken - first <= IN_FLIGHT_S and broken <= second + LAG_S for broken in broken_at
            )
    return lost, copies


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.events, options.kills, options.restarts, options.seed, Path(folder))
    figures = structs.asdict(report)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>16}  {value:,}")
    if not report.kept:
        raise SystemExit("a promise was broken")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
