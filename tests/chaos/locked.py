"""Another process has the spool file to itself for half a minute, while a sender goes on.

``python -m tests.chaos.locked [--seconds 30] [--json]``: callers with patience wait and are stored, those without are
told no and are not; what was accepted is delivered once. Locked as our own processes do, and as a shell would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from msgspec import Struct, structs

from capi_async import Client, QueueFull, SpoolError
from capi_async.sandbox import Sandbox
from capi_async.testing import assert_balanced
from tests.chaos.sender import destinations, event
from tests.spool.locker import locked

#: Events a second; every tenth caller waits for so much of the lock only.
RATE = 50
IMPATIENT = 0.25


class Report(Struct, kw_only=True):
    """What came of it.

    Attributes:
        held_s: How long the file was locked.
        accepted, refused: Callers who waited until it was free, and those who did not want to.
        longest_s: The longest ``send()`` of those accepted.
        late_s: By how much the last of those refused heard it too late.
        stored_though_refused: The promise is 0; ``lost``: accepted and not delivered, the same.
    """

    how: str
    held_s: float
    accepted: int
    refused: int
    longest_s: float
    late_s: float
    stored_though_refused: int
    lost: int

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.accepted > 0 and self.refused > 0 and not (self.lost or self.stored_though_refused)


async def run(how: str, seconds: float, folder: Path) -> Report:
    """Lock, send, let go, deliver, account."""
    path = folder / f"{how}.db"
    accepted: dict[str, float] = {}
    refused: dict[str, float] = {}

    async with Sandbox() as sandbox:
        for platform in ("snap", "pinterest"):
            sandbox.set_rate(platform, None)
        async with Client(destinations(sandbox.base_url), spool=f"sqlite:///{path}", linger_s=0.02) as client:

            async def one(number: int) -> None:
                before = time.monotonic()
                timeout_s = seconds * IMPATIENT if number % 10 == 0 else seconds * 3 + 10
                it = event(0, number)
                try:
                    await client.send(it, timeout_s=timeout_s)
                except (SpoolError, QueueFull):
                    refused[it.event_id] = time.monotonic() - before - timeout_s
                else:
                    accepted[it.event_id] = time.monotonic() - before

            await one(1)
            async with asyncio.TaskGroup() as group:
                async with locked(path, how):
                    began, number = time.monotonic(), 1
                    while (gone := time.monotonic() - began) < seconds:
                        # those without patience ask early enough to lose it
                        number += 2 if number % 10 == 9 and gone > seconds * (1 - 2 * IMPATIENT) else 1
                        group.create_task(one(number))
                        await asyncio.sleep(1 / RATE)
                held_s = time.monotonic() - began
            await client.flush(30)
            assert_balanced(client, ids=accepted, pending=0)
        arrived = {
            name: {one.event["event_id"] for one in sandbox.arrivals(name) if one.accepted}
            for name in ("snap", "pinterest")
        }
        twice = sum(sandbox.stats()[name].duplicates for name in arrived)
    return Report(
        how=how,
        held_s=round(held_s, 1),
        accepted=len(accepted),
        refused=len(refused),
        longest_s=round(max(accepted.values()), 2),
        late_s=round(max(refused.values(), default=0.0), 2),
        stored_though_refused=sum(len(refused.keys() & ids) for ids in arrived.values()),
        lost=sum(len(accepted.keys() - ids) for ids in arrived.values()) + twice,
    )


def main() -> None:
    """Run both ways, print the figures, fail if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kept = True
    for how in ("writer", "shell"):
        with tempfile.TemporaryDirectory() as folder:
            report = asyncio.run(run(how, options.seconds, Path(folder)))
        kept = kept and report.kept
        figures = structs.asdict(report)
        print(json.dumps(figures) if options.json else ", ".join(f"{name} {value}" for name, value in figures.items()))
    if not kept:
        raise SystemExit("a promise was broken")


if __name__ == "__main__":
    main()
