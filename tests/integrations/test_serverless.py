"""The example's handler in a process that is frozen, as serverless platforms do it, whenever a call has returned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from capi_async.sandbox import Sandbox
from tests.integrations.served import EXAMPLES, environment

#: What a serverless platform runs: it hands each call over, and answers for it.
HOST = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
handler = importlib.import_module("18_serverless").handler
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line))), flush=True)
"""


class Function:
    """A deployed function whose process runs only while a call does."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        self._said = b""

    async def call(self, order_id: str) -> Mapping[str, Any]:
        """Thaw, call, freeze; what the handler gave."""
        self._process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"id": order_id, "total": "72.39", "email": "ada@shop.example"}
        await self._process.stdin.send(json.dumps(order).encode() + b"\n")
        while b"\n" not in self._said:
            self._said += await self._process.stdout.receive()
        line, _, self._said = self._said.partition(b"\n")
        self._process.send_signal(signal.SIGSTOP)
        found: Mapping[str, Any] = json.loads(json.loads(line)["body"])
        return found


@asynccontextmanager
async def deployed(sandbox: Sandbox, folder: Path) -> AsyncIterator[Function]:
    """The example's function; frozen at first, as after a first start."""
    errors = folder / "errors"
    with errors.open("wb") as file:
        process = await anyio.open_process(
            [sys.executable, "-c", HOST, str(EXAMPLES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment(sandbox),
            cwd=folder,
        )
    try:
        with anyio.fail_after(60):
            yield Function(process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await process.aclose()
    assert "Traceback" not in errors.read_text("utf-8")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        yield started


async def test_each_call_is_delivered_before_the_process_is_frozen(sandbox: Sandbox, tmp_path: Path) -> None:
    """However long it stands still in between: no connection of before is used again."""
    async with deployed(sandbox, tmp_path) as function:
        for number in range(3):
            assert await function.call(f"100{number}") == {"snap": "delivered"}
            assert len(sandbox.arrivals("snap")) == number + 1  # while it stands still
            await anyio.sleep(0.5)
        assert sandbox.stats()["snap"].requests == 3


async def test_what_a_platform_did_not_answer_is_delivered_by_the_next_call(sandbox: Sandbox, tmp_path: Path) -> None:
    """The handler returns within its bound; what is frozen then is the event, not a request."""
    sandbox.fault("snap", "hang", count=1)
    async with deployed(sandbox, tmp_path) as function:
        assert await function.call("1001") == {"snap": "pending"}
        await anyio.sleep(1)
        assert not sandbox.arrivals("snap")
        assert await function.call("1002") == {"snap": "delivered"}
        assert len({arrival.event["event_id"] for arrival in sandbox.arrivals("snap")}) == 2
