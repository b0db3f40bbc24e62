"""The demo's sandbox: in a process of its own, so that two cores are used, and with faults switched on."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final

from capi_async.cli.running import run
from capi_async.sandbox import Fault, Sandbox

#: Events that hold this text are refused by every platform, with its own validation error.
POISON: Final = "poison-"
_START_S: Final = 30.0
_END_S: Final = 5.0
#: Seconds between two lines of what waits for it.
_SAY_S: Final = 1.5


def faults_of(platform: str) -> Iterator[Fault]:
    """How requests to a platform fail: 5 % of them, and a few more that come counted."""
    # a throttle and a hang each hold up a destination for a second or more, so there are just a few of these.
    # Meta tells waits in whole minutes; without one named, the client's own first wait is short
    wait_s = None if platform == "meta" else 1.0
    yield Fault(platform=platform, kind="status", status=429, rate=0.05, retry_after_s=wait_s, count=2)
    yield Fault(platform=platform, kind="hang", rate=0.05, count=1)
    yield Fault(platform=platform, kind="hang", rate=0.05, count=1, after=True)

    yield Fault(platform=platform, kind="status", status=500, rate=0.010)
    # Pinterest's 503 means that an endpoint is being closed down: its client waits for minutes
    status = 502 if platform == "pinterest" else 503
    yield Fault(platform=platform, kind="status", status=status, rate=0.006, retry_after_s=1.0)
    yield Fault(platform=platform, kind="reset_before", rate=0.008)
    yield Fault(platform=platform, kind="reset_after", rate=0.008)
    yield Fault(platform=platform, kind="truncate", rate=0.008)
    yield Fault(platform=platform, kind="latency", rate=0.010, latency_s=0.3)
    # an error page with status 200; CutMeShort's and Google Analytics' leave no way to tell it from a success
    if platform not in ("cutmeshort", "ga4"):
        yield Fault(platform=platform, kind="html", rate=0.004)


class SandboxProcess:
    """A sandbox in a child process; it ends with this one, however this one ends.

    Args:
        waits: Called every 1.5 seconds with what it waits for.
    """

    def __init__(self, seed: int, *, waits: Callable[[str], None] = lambda _what: None) -> None:
        self._waits = waits
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, seed), name="sandbox", daemon=True)
        self._theirs = theirs
        self._base_url = ""

    def __enter__(self) -> SandboxProcess:
        self._process.start()
        self._theirs.close()
        until = time.monotonic() + _START_S
        while not self._pipe.poll(_SAY_S):
            if time.monotonic() > until:
                raise SystemExit("the sandbox did not start")
            self._waits("the sandbox is starting")
        try:
            self._base_url = self._pipe.recv()
        except EOFError:
            raise SystemExit("the sandbox did not start; its error stands above") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        until = time.monotonic() + _END_S
        while self._process.is_alive() and time.monotonic() < until:
            self._process.join(_SAY_S)
            if self._process.is_alive():
                self._waits("the sandbox is ending")
        if self._process.is_alive():
            self._process.terminate()

    def url(self, platform: str) -> str:
        """A platform's base URL."""
        return f"{self._base_url}/{platform}"


def _serve(pipe: Connection, seed: int) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        run(_until_closed(pipe, seed))


async def _until_closed(pipe: Connection, seed: int) -> None:
    """Serve until the other end of the pipe is gone."""
    # CutMeShort's 60 requests a minute would make this a matter of hours
    rates: Mapping[str, Any] = {"cutmeshort": None}
    async with Sandbox(seed=seed, rates=rates, keep_events=False, max_arrivals=1_000, poison=POISON) as sandbox:
        for platform in sandbox.platforms:
            for fault in faults_of(platform):
                sandbox.add_fault(fault)
        pipe.send(sandbox.base_url)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), gone.set)
        await gone.wait()
