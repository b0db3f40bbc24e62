"""``capi-async queue status --ask``: what the processes that deliver say of what waits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capi_async import Client
from capi_async.cli.app import app
from tests.engine.acme import Acme, events
from tests.engine.conftest import server, short_waits
from tests.engine.server import Server, reply, until

__all__ = ["server", "short_waits"]

pytestmark = pytest.mark.usefixtures("short_waits")


async def status(*options: str) -> str:
    found = await asyncio.to_thread(CliRunner().invoke, app, ["queue", "status", *options])
    assert found.exit_code == 0, found.output
    return found.stdout


async def test_a_paused_destination_is_named_with_its_reason_and_the_oldests_age(
    server: Server, tmp_path: Path
) -> None:
    """While a process delivers; without one, that is said."""
    spool = f"sqlite:///{tmp_path}/events.db"
    server.script = lambda _request: reply(401)
    async with Client([Acme(base_url=server.url, probe=False)], spool=spool, linger_s=0) as client:
        await client.send_many(events(3))
        await until(lambda: client.states()["acme"].state == "paused")
        assert client.snapshot().destinations["acme"].oldest_s is not None
        # one after the other: a runner puts its own stdout in the place of the process's
        text, plain = await status(spool, "--ask"), await status(spool, "--ask", "--json")
        await client.aclose(0)
    assert text.startswith("acme: 3 accepted, 3 pending\n  paused: HTTP 401; ")
    assert "the oldest has waited for " in text
    facts: dict[str, Any] = json.loads(plain)["acme"]
    assert (facts["pending"], facts["state"]) == (3, "paused")
    assert facts["oldest_s"] >= 0
    assert await status(spool) == "acme: 3 accepted, 3 pending\n"
