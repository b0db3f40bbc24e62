"""The sandbox in a process of its own, with faults; prints its port, then does what standard input says.

``python -m tests.chaos.server SEED``: ``clear`` ends the faults, ``dump PATH`` writes what arrived as JSON lines
``[platform, event id, run of the sender, Unix seconds]`` in the order of arrival, ``accounts PATH`` as ``[account,
event id]``; each is answered with ``done``.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from capi_async.sandbox import Sandbox

PLATFORMS = ("snap", "pinterest")

#: Header that says which run of the sender a request comes from.
RUN = "X-Run"


class Runs:
    """A clock that remembers whose request asked it for the time: no two requests get the same one."""

    def __init__(self) -> None:
        self.sender: ContextVar[int] = ContextVar("sender", default=-1)
        self.at: dict[float, int] = {}
        self._last = 0.0

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        self._last = max(time.time(), math.nextafter(self._last, math.inf))
        self.at[self._last] = self.sender.get()
        return self._last


class Watched(Sandbox):
    """Knows which run of the sender a request came from."""

    def __init__(self, runs: Runs, **options: Any) -> None:
        super().__init__(clock=runs, **options)
        self._runs = runs

    async def _serve(self, request: BaseRequest) -> StreamResponse:
        self._runs.sender.set(int(request.headers.get(RUN, "-1")))
        return await super()._serve(request)


async def serve(seed: int) -> None:
    """Answer until standard input ends."""
    runs = Runs()
    async with Watched(runs, seed=seed, max_arrivals=5_000_000, keep_bytes=1 << 33) as sandbox:
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
                await asyncio.to_thread(dump, sandbox, runs, Path(path))
            elif command == "accounts":
                await asyncio.to_thread(dump_accounts, sandbox, Path(path))
            print("done", flush=True)


def dump_accounts(sandbox: Sandbox, path: Path) -> None:
    """Write down the account and id of every event that a platform took."""
    with path.open("w", encoding="utf-8") as file:
        for platform in PLATFORMS:
            for one in sandbox.arrivals(platform):
                if one.accepted:
                    file.write(json.dumps([one.account, one.event["event_id"]]) + "\n")


def dump(sandbox: Sandbox, runs: Runs, path: Path) -> None:
    """Write down every event that a platform took."""
    with path.open("w", encoding="utf-8") as file:
        for platform in PLATFORMS:
            for one in sandbox.arrivals(platform):
                if one.accepted:
                    row = [platform, one.event["event_id"], runs.at[one.received_at], one.received_at]
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
