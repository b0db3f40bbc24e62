"""The sandbox in a process of its own, with faults; prints its port, then does what standard input says.

``python -m tests.chaos.server SEED``: ``clear`` ends the faults, ``dump PATH`` writes what arrived as JSON lines
``[platform, event id, Unix seconds]``; each is answered with ``done``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from capi_async.sandbox import Sandbox

PLATFORMS = ("snap", "pinterest")


async def serve(seed: int) -> None:
    """Answer until standard input ends."""
    async with Sandbox(seed=seed, max_arrivals=5_000_000, keep_bytes=1 << 33) as sandbox:
        for platform in PLATFORMS:
            sandbox.set_rate(platform, None)
            # requests that are refused, cut off before they are read, or answered late: whatever was read is answered,
            # so that a copy can only come from a sender that was killed
            sandbox.fault(platform, "status", status=500, rate=0.05)
            sandbox.fault(platform, "reset_before", rate=0.01)
            sandbox.fault(platform, "latency", latency_s=0.1, rate=0.1)
        print(sandbox.port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, _, path = line.strip().partition(" ")
            if command == "clear":
                sandbox.clear_faults()
            elif command == "dump":
                await asyncio.to_thread(dump, sandbox, Path(path))
            print("done", flush=True)


def dump(sandbox: Sandbox, path: Path) -> None:
    """Write down every event that a platform took."""
    with path.open("w", encoding="utf-8") as file:
        for platform in PLATFORMS:
            for one in sandbox.arrivals(platform):
                if one.accepted:
                    file.write(json.dumps([platform, one.event["event_id"], one.received_at]) + "\n")


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
