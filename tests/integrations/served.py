"""Real servers in processes of their own, and a sandbox that they send to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from capi_async.sandbox import Sandbox
from tests.environment import clean_environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
#: One platform: events need not be looked for at several.
SNAP = {"SNAP_PIXEL_ID": "0f0e0d0c-0b0a-4908-8706-050403020100", "SNAP_ACCESS_TOKEN": "sandbox-token"}
BROWSER = {"User-Agent": "Mozilla/5.0 (test)"}


def environment(sandbox: Sandbox, **more: str) -> dict[str, str]:
    """This process's environment, with nobody's accounts but those of a sandbox."""
    ours = {"CAPI_ASYNC_MODE": "sandbox", "CAPI_ASYNC_SANDBOX_URL": str(sandbox.base_url), "PYTHONWARNINGS": "default"}
    return clean_environment() | ours | SNAP | more


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A server's process.

    Attributes:
        url: Where it answers.
        said: The file that holds its output.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, said: Path) -> None:
        self.process = process
        self.url = url
        self.said = said

    def output(self) -> str:
        """What it has printed so far."""
        return self.said.read_text("utf-8", "replace")

    async def answers(self, path: str) -> None:
        """Wait until it takes requests."""
        until = time.monotonic() + 30
        async with aiohttp.ClientSession() as session:
            while True:
                with suppress(aiohttp.ClientError, OSError):
                    async with session.get(self.url + path):
                        return
                assert self.process.poll() is None, self.output()
                assert time.monotonic() < until, self.output()
                await anyio.sleep(0.02)

    async def ends(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Have it end as a deployment does; what it has printed."""
        self.process.send_signal(number)
        await self.ended()
        return self.output()

    async def ended(self) -> None:
        """Wait until the process is gone."""
        until = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < until, self.output()
            await anyio.sleep(0.01)


@contextmanager
def process(arguments: Sequence[str], env: Mapping[str, str], folder: Path, url: str = "") -> Iterator[Server]:
    """Python on ``arguments``; killed with all its children at the end."""
    said = folder / f"said-{time.monotonic_ns()}"
    with said.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Server(started, url, said)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


@asynccontextmanager
async def uvicorn(
    application: str, env: Mapping[str, str], folder: Path, *options: str, ready: str, app_dir: Path = EXAMPLES
) -> AsyncIterator[Server]:
    """A real uvicorn that answers."""
    port = free_port()
    command = ["-m", "uvicorn", "--app-dir", str(app_dir), "--port", str(port), *options, application]
    with process(command, env, folder, f"http://127.0.0.1:{port}") as server:
        await server.answers(ready)
        yield server


async def arrived(sandbox: Sandbox, count: int, platform: str = "snap") -> list[Any]:
    """The events that a platform got, once there are so many."""
    until = time.monotonic() + 15
    while len(found := sandbox.arrivals(platform)) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} events arrived"
        await anyio.sleep(0.02)
    return [arrival.event for arrival in found]
