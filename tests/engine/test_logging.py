"""What plain logging shows: name, reason and what to do stand in the text itself, and nothing personal does."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client
from tests.engine.acme import EMAIL, Acme, event, events
from tests.engine.server import Got, Reply, Server, reply, until

pytestmark = pytest.mark.usefixtures("short_waits")

TOKEN = "zq-planted-token"


def client(server: Server, **fields: Any) -> Client:
    return Client([Acme(base_url=server.url, access_token=TOKEN, **fields)], linger_s=0)


def lines(caplog: pytest.LogCaptureFixture, start: str) -> list[tuple[int, str]]:
    """What was logged beginning with ``start``; nothing that was logged at all holds what was planted."""
    for text in caplog.messages:
        assert EMAIL not in text
        assert TOKEN not in text
    return [(one.levelno, one.getMessage()) for one in caplog.records if one.getMessage().startswith(start)]


def refuse(request: Got) -> Reply:
    """Each event is refused by name; the platform quotes what it was sent."""
    text = f"no such thing for {EMAIL} with {TOKEN}"
    return reply(200, {"ok": True, "errors": [{"index": at, "message": text} for at in range(len(request.ids))]})


async def test_the_first_refusal_is_a_line_and_a_hundred_more_are_a_sum(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A WARNING with destination, field, reason, fix and the id of one event; the sum comes at the close."""
    caplog.set_level(logging.INFO)
    server.script = refuse
    async with client(server) as sender:
        await (await sender.send(event(1))).outcomes(10)
        [(level, text)] = lines(caplog, "acme: rejected: ")
        assert level == logging.WARNING
        for part in ("acme: rejected: id: ", "no such thing", "; send another", "; for example event e1"):
            assert part in text
        for receipt in await sender.send_many([event(number) for number in range(2, 102)]):
            await receipt.outcomes(10)
        assert len(lines(caplog, "acme: rejected: ")) == 1
    _, (level, text) = lines(caplog, "acme: rejected: ")
    assert level == logging.WARNING
    assert "(100 of this kind within " in text


async def test_a_skip_is_told_at_info(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """With the field and the reason."""
    caplog.set_level(logging.INFO)
    async with client(server) as sender:
        await (await sender.send(event(1, "login"))).outcomes(10)
    assert lines(caplog, "acme: skipped: ") == [
        (logging.INFO, "acme: skipped: name: Acme has no such event; for example event e1")
    ]


async def test_a_pause_and_a_close_say_what_waits(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Both are an ERROR with the destination and the number of events; the pause has the reason and what to do."""
    caplog.set_level(logging.INFO)
    server.script = lambda _request: reply(401)
    sender = client(server, probe=False)
    async with sender:
        await sender.send_many(events(3))
        await until(lambda: bool(lines(caplog, "acme: paused: ")))
        await sender.aclose(0)
    [(level, text)] = lines(caplog, "acme: paused: ")
    assert level == logging.ERROR
    assert "401" in text
    assert "3 events wait" in text
    assert text.rpartition("; ")[2]
    [(level, text)] = lines(caplog, "acme: closed with ")
    assert level == logging.ERROR
    assert "closed with 3 events undelivered in memory" in text


@pytest.mark.parametrize("spool", ["memory", "sqlite:///events.db"])
def test_events_that_were_never_stored_are_told_at_the_end_of_the_loop(spool: str, tmp_path: Path) -> None:
    """They had been handed in, and nothing awaited them; a durable spool does not help what never reached it."""
    code = (
        "import asyncio\n"
        "from capi_async import Client\n"
        "from tests.engine.acme import Acme, events\n"
        "async def main():\n"
        f"    client = Client([Acme()], linger_s=60, spool={spool!r})\n"
        "    for one in events(4):\n"
        "        client.enqueue(one)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert "events in memory are not delivered (not stored: 4); use 'async with', or await aclose()" in done.stderr
    assert "ResourceWarning: unclosed client, events in memory: not stored: 4" in done.stderr
