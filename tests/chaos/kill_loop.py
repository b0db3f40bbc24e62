"""Kills a sender at full speed, over and over, and then accounts for every event it had accepted.

``python -m tests.chaos.kill_loop [--kills 200] [--seed 0] [--json]``
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct, structs

PLATFORMS = ("snap", "pinterest")


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        accepted: Events for which ``send()`` had returned.
        delivered, uncertain, dead: Records of these with that fate, over both destinations.
        lost: Records of these that neither arrived nor have a final outcome with a reason. The promise is 0.
        duplicates: Copies that a platform received; ``unexplained``: those that one sender sent twice, so that no
            kill can have kept the answer to the first from it. The promise is 0 of these.
        counted_twice: Copies of events whose copies the platform cannot recognise. The promise is 0.
        recovery_s: Median of the seconds from a sender's start until it accepts, interpreter and imports included.
        recovery_max_s: The longest of these.
        file_max_mb: Largest size of the spool file and its log.
        file_end_mb: Their size when all is delivered.
    """

    kills: int
    accepted: int
    delivered: int
    uncertain: int
    dead: int
    lost: int
    duplicates: int
    unexplained: int
    counted_twice: int
    recovery_s: float
    recovery_max_s: float
    file_max_mb: float
    file_end_mb: float
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.accepted > 0 and not (self.lost or self.unexplained or self.counted_twice)


class Server:
    """The sandbox's process."""

    def __init__(self, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.server", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base = f"http://127.0.0.1:{self._line()}"

    def tell(self, command: str) -> None:
        """Have a command carried out."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        if self._line() != "done":
            raise SystemExit("the sandbox died")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def run(kills: int, seed: int, folder: Path) -> Report:
    """Kill ``kills`` times, drain, account."""
    began = time.monotonic()
    chance = random.Random(seed)
    server = Server(seed)
    try:
        recoveries, largest = [], 0
        for turn in range(kills):
            recoveries.append(_turn(folder, server.base, turn, chance.uniform(0.02, 0.8)))
            largest = max(largest, _size(folder))
        server.tell("clear")
        drain = [sys.executable, "-m", "tests.chaos.sender", str(folder), server.base, str(kills), "--drain", "300"]
        subprocess.run(drain, check=True)
        server.tell(f"dump {folder / 'arrived'}")
    finally:
        server.stop()
    fates, copies = _account(folder)
    recoveries.sort()
    return Report(
        kills=kills,
        accepted=len(_accepted(folder)),
        delivered=fates["delivered"],
        uncertain=fates["uncertain"],
        dead=fates["dead"],
        lost=fates["lost"],
        duplicates=copies["all"],
        unexplained=copies["unexplained"],
        counted_twice=copies["twice"],
        recovery_s=round(recoveries[len(recoveries) // 2], 3),
        recovery_max_s=round(recoveries[-1], 3),
        file_max_mb=largest / 1e6,
        file_end_mb=_size(folder) / 1e6,
        seconds=round(time.monotonic() - began, 1),
    )


def _turn(folder: Path, base: str, turn: int, after_s: float) -> float:
    """One sender's life; returns the seconds until it accepted."""
    started = time.monotonic()
    command = [sys.executable, "-m", "tests.chaos.sender", str(folder), base, str(turn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        if sender.stdout.readline() != "ready\n":
            raise SystemExit("the sender did not start")
        ready = time.monotonic() - started
        time.sleep(after_s)
        sender.kill()
    return ready


def _account(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Fates of all accepted records, and copies that arrived."""
    arrived: dict[tuple[str, str], list[int]] = {}
    with (folder / "arrived").open(encoding="utf-8") as file:
        for line in file:
            platform, event_id, turn, _at = json.loads(line)
            arrived.setdefault((platform, event_id), []).append(turn)
    db = sqlite3.connect(folder / "events.db")
    letters = {
        (destination, event_id): kind
        for destination, event_id, kind in db.execute(
            "SELECT destination, event_id, kind FROM letter WHERE reason <> ''"
        )
    }
    ledger = {(name, kind): n for name, kind, n in db.execute("SELECT destination, kind, n FROM ledger")}
    db.close()
    fates: Counter[str] = Counter()
    for event_id in _accepted(folder):
        for platform in PLATFORMS:
            key = platform, event_id
            fates[letters.get(key, "delivered" if key in arrived else "lost")] += 1
    copies: Counter[str] = Counter()
    for (platform, event_id), turns in arrived.items():
        more = len(turns) - 1
        copies["all"] += more
        if more and platform == "pinterest" and int(event_id.partition("-")[2]) % 4 == 0:
            copies["twice"] += more
        # each of several senders but the last was killed before it had stored the answer: had one stored it, the
        # event would count twice in the ledger, which is compared below
        copies["unexplained"] += len(turns) - len(set(turns))
    for platform in PLATFORMS:
        # what the ledger calls delivered has arrived; what arrived and is not in it is in doubt, and kept
        delivered = ledger.get((platform, "delivered"), 0)
        doubts = sum(1 for name, event_id in letters if name == platform and (name, event_id) in arrived)
        seen = sum(1 for name, _ in arrived if name == platform)
        if delivered != seen - doubts:
            raise SystemExit(f"{platform}: the ledger says {delivered} delivered, {seen - doubts} arrived for certain")
    return fates, copies


def _accepted(folder: Path) -> set[str]:
    # a kill may cut the last line short: that send() had not returned
    return set((folder / "accepted").read_text("ascii").rpartition("\n")[0].split())


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("events.db*") if not file.name.endswith("-shm"))


def main() -> None:
    """Run it, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(options.kills, options.seed, Path(folder))
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
