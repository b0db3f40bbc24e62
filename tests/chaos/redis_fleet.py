"""Two web processes, three workers, seven destinations and one Redis, and everything happens to them at once.

``python -m tests.chaos.redis_fleet [--minutes 10] [--seed 0] [--json]``. Processes are killed, Redis is killed and
started again (with the documented settings: ``appendonly yes``, ``appendfsync always``), answers of Redis get lost,
connections are cut or stand still, people are forgotten. At the end every event that a web process was answered for is
looked for at the server that received them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct, structs

from tests.chaos.kill_loop import Server
from tests.chaos.redis_loop import ledger, letters
from tests.chaos.redis_web import FORGOTTEN_EVERY
from tests.redis.proxy import Proxy
from tests.spool.redis_server import RedisServer

WEBS = 2
WORKERS = 3
SNAPS = 4
PINTERESTS = 3
LEASE_S = 4.0
#: Events that a web process sends in a second.
EVENTS_PER_S = 25.0
#: Of all answers of Redis so many get lost.
LOSS = 0.003
#: Seconds in which all must be delivered once everything is whole again, without any restart.
DRAIN_S = 90.0

_SNAP = """
[destinations.snap{number}]
type = "snap"
pixel_id = "{account}"
access_token = "sandbox-token"
base_url = "{base}/snap"
requests_per_s = 200.0
max_batch_events = 40
"""
_PINTEREST = """
[destinations.pinterest{number}]
type = "pinterest"
ad_account_id = "{account}"
access_token = "sandbox-token"
base_url = "{base}/pinterest"
requests_per_s = 200.0
max_batch_events = 15
"""


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        accepted, refused, unknown: Events by what the web processes were told.
        forgets: Times that somebody was forgotten.
        lost_answers: Of Redis.
        delivered, uncertain, dead, forgotten: Records by the ledger.
        lost: Records of accepted events that neither arrived nor have a fate. The promise is 0.
        stuck: Records that were still pending when all had been whole for a while. The promise is 0.
        untrue: Events of which a web process was told that they are not stored, and that arrived. The promise is 0.
        duplicates: Copies that a platform received, and ``counted_twice`` those that it cannot recognise as such. The
            promise is 0 of the latter.
        balanced: Whether the ledger agrees with itself, with the web processes, and with the server.
    """

    destinations: int
    kills: int
    restarts: int
    pauses: int
    cuts: int
    lost_answers: int
    forgets: int
    accepted: int
    refused: int
    unknown: int
    delivered: int
    uncertain: int
    dead: int
    forgotten: int
    lost: int
    stuck: int
    untrue: int
    duplicates: int
    counted_twice: int
    balanced: bool
    drained_s: float
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        broken = self.lost or self.stuck or self.untrue or self.counted_twice
        return self.balanced and self.accepted > 0 and not broken


class Fleet:
    """All processes of a run.

    Args:
        folder: Of this run, empty.
    """

    def __init__(self, folder: Path, seed: int, *, webs: int = WEBS, workers: int = WORKERS) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._webs, self._workers = webs, workers
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._runs = iter(range(10**6))
        self.did: Counter[str] = Counter()
        self.redis = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
        self.server = Server(seed)
        self.accounts = {f"snap{number}": f"11111111-2222-3333-4444-{number:012d}" for number in range(SNAPS)}
        self.accounts |= {f"pinterest{number}": f"54975588517{number}" for number in range(PINTERESTS)}

    async def run(self, seconds: float) -> tuple[int, float]:
        """Let everything happen for so long, and drain; how many records stay pending, and how long that took."""
        await asyncio.to_thread(self.redis.start)
        proxy = await Proxy(self.redis.port).start()
        try:
            self._configure(proxy.url(f"?lease_s={LEASE_S}"))
            for number in range(self._webs):
                self._start(f"web{number}")
            for number in range(self._workers):
                self._start(f"worker{number}")
            await self._begun()
            until = time.monotonic() + seconds
            proxy.lose_some(LOSS, self._chance)
            while (left_s := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, self._chance.uniform(0.5, 3.5)))
                await self._happen(proxy)
            proxy.lose_some(0.0, self._chance)
            self.did["lost"] = proxy.lost
            self.server.tell("clear")
            await asyncio.to_thread(self._end, "web")
            return await self._drain()
        finally:
            await asyncio.to_thread(self._end, "worker")
            await proxy.stop()

    def stop(self) -> None:
        """End what is left."""
        for process in self._processes.values():
            process.kill()
            process.wait(20)
        self.server.stop()
        self.redis.kill()

    def _configure(self, url: str) -> None:
        text = f'spool = "{url}"\nlinger_s = 0.05\nmax_pending_events = 1000000\nmax_pending_bytes = 1000000000\n'
        for name, account in self.accounts.items():
            form = _SNAP if name.startswith("snap") else _PINTEREST
            text += form.format(number=name[-1], account=account, base=self.server.base)
        config = self._folder / "capi.toml"
        config.write_text(text)
        config.chmod(0o600)

    def _start(self, name: str) -> None:
        config = str(self._folder / "capi.toml")
        if name.startswith("web"):
            command = ["-m", "tests.chaos.redis_web", config, str(self._folder / "answers"), str(next(self._runs))]
            command += [str(EVENTS_PER_S)]
        else:
            command = ["-m", "capi_async", "worker", "--config", config, "--host", ""]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)

    async def _begun(self) -> None:
        """Return once all processes are at work."""
        async with asyncio.timeout(60):
            for name in self._processes:
                log = self._folder / f"{name}.log"
                while not any(word in log.read_bytes() for word in (b"ready", b"delivering to")):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    def _end(self, kind: str) -> None:
        """In order."""
        mine = [self._processes.pop(name) for name in list(self._processes) if name.startswith(kind)]
        for process in mine:
            process.send_signal(signal.SIGTERM)
        for process in mine:
            process.wait(60)

    async def _happen(self, proxy: Proxy) -> None:
        what = self._chance.choices(["kill", "restart", "pause", "cut"], [6, 1, 1, 2])[0]
        self.did[what] += 1
        if what == "kill":
            name = self._chance.choice(list(self._processes))
            process = self._processes[name]
            process.kill()
            await asyncio.to_thread(process.wait, 20)
            self._start(name)
        elif what == "restart":
            await asyncio.to_thread(self.redis.kill)
            await asyncio.sleep(self._chance.uniform(0.1, 1.5))
            await asyncio.to_thread(self.redis.start)
        elif what == "pause":
            proxy.pause()
            await asyncio.sleep(self._chance.uniform(0.3, 1.5 * LEASE_S))
            proxy.resume()
        else:
            proxy.cut()

    async def _drain(self) -> tuple[int, float]:
        began = time.monotonic()
        while True:
            pending = sum(one.pending for one in (await ledger(self.redis.url())).values())
            if not pending or time.monotonic() - began > DRAIN_S:
                return pending, time.monotonic() - began
            await asyncio.sleep(0.3)

    async def account(self, stuck: int, drained_s: float, seconds: float) -> Report:
        """Look for every event."""
        self.server.tell(f"accounts {self._folder / 'arrived'}")
        counts = await ledger(self.redis.url())
        kept = await letters(self.redis.url())
        told = self._told()
        arrived = self._arrived()
        accepted, unknown = told.get("y", set()), told.get("?", set())
        lost = copies = twice = untrue = 0
        balanced = len(counts) == len(self.accounts)
        for name, account in self.accounts.items():
            mine = arrived.get(account, Counter())
            lost += sum(
                event_id not in mine and (name, event_id) not in kept
                for event_id in accepted
                if int(event_id.partition("-")[2]) % FORGOTTEN_EVERY
            )
            untrue += sum(event_id in mine for event_id in told.get("n", set()))
            copies += mine.total() - len(mine)
            if name.startswith("pinterest"):
                twice += sum(n - 1 for event_id, n in mine.items() if int(event_id.partition("-")[2]) % 4 == 0)
            one = counts[name]
            doubtful = one.uncertain + one.dead + one.forgotten
            balanced &= one.balanced and one.delivered <= len(mine) <= one.delivered + doubtful
            # an event that was under way when its web process was killed was answered for to nobody
            balanced &= len(accepted) <= one.accepted and len(mine) <= one.accepted
        return Report(
            destinations=len(self.accounts),
            kills=self.did["kill"],
            restarts=self.did["restart"],
            pauses=self.did["pause"],
            cuts=self.did["cut"],
            lost_answers=self.did["lost"],
            forgets=len(told.get("f", ())),
            accepted=len(accepted),
            refused=len(told.get("n", ())),
            unknown=len(unknown),
            delivered=sum(one.delivered for one in counts.values()),
            uncertain=sum(one.uncertain for one in counts.values()),
            dead=sum(one.dead for one in counts.values()),
            forgotten=sum(one.forgotten for one in counts.values()),
            lost=lost,
            stuck=stuck,
            untrue=untrue,
            duplicates=copies,
            counted_twice=twice,
            balanced=balanced,
            drained_s=round(drained_s, 1),
            seconds=round(seconds, 1),
        )

    def _told(self) -> dict[str, set[str]]:
        told: dict[str, set[str]] = {}
        # a kill may cut the last line of a process short
        for number, line in enumerate((self._folder / "answers").read_text("ascii").splitlines()):
            answer, _, event_id = line.partition(" ")
            told.setdefault(answer, set()).add(f"{event_id}/{number}" if answer == "f" else event_id)
        return told

    def _arrived(self) -> dict[str, Counter[str]]:
        arrived: dict[str, Counter[str]] = {}
        with (self._folder / "arrived").open(encoding="utf-8") as file:
            for line in file:
                account, event_id = json.loads(line)
                arrived.setdefault(account, Counter())[event_id] += 1
        return arrived


async def run(seconds: float, seed: int, folder: Path, *, webs: int = WEBS, workers: int = WORKERS) -> Report:
    """Everything, then the account."""
    began = time.monotonic()
    fleet = Fleet(folder, seed, webs=webs, workers=workers)
    try:
        stuck, drained_s = await fleet.run(seconds)
        return await fleet.account(stuck, drained_s, time.monotonic() - began)
    finally:
        await asyncio.to_thread(fleet.stop)


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder for the logs of all processes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(options.minutes * 60, options.seed, options.keep or Path(folder)))
    figures = structs.asdict(report)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>16}  {value:,}")
    if not report.kept:
        raise SystemExit("a promise was broken")


if __name__ == "__main__":
    main()
