"""A client that nobody closed, or that could not open, says so, and how much it held."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEAD = """
import asyncio, gc, logging, sys, time
from capi_async import Client, SpoolError
from capi_async.spool.memory import MemorySpool
from tests.engine.acme import Acme, event, events
logging.basicConfig(format="%(levelname)s %(message)s")
"""


def said(code: str) -> str:
    """What a program says on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", _HEAD + code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("turns", "counts"),
    [(1, "none stored; 3 not stored"), (0, "none stored; 3 not stored"), (-1, "acme: 3; 0 not stored")],
    ids=["handed in", "the very tick of its start", "stored"],
)
def test_a_client_that_is_thrown_away_with_its_loop_is_told_of(turns: int, counts: str) -> None:
    """The loop was closed without ending its tasks; the garbage collector finds the client all the same."""
    told = said(f"""
async def main():
    client = Client([Acme()], linger_s=60)
    waiting = [client.enqueue(one) for one in events(3)]
    for _ in range({turns}):
        await asyncio.sleep(0)
    if {turns} < 0:
        await asyncio.gather(*(one.accepted() for one in waiting))
    return client, waiting[0]
loop = asyncio.new_event_loop()
client, receipt = loop.run_until_complete(main())
loop.close()
del loop, client, receipt
gc.collect()
time.sleep(0.1)
gc.collect()
print("end", file=sys.stderr, flush=True)
""").partition("end\n")[0]
    assert f"ERROR Client(acme) was never closed: events in memory are lost ({counts})" in told
    assert told.count("was never closed") == 1
    assert "ResourceWarning: unclosed Client(acme), events lost: " in told
    assert "Exception ignored" not in told


@pytest.mark.parametrize("spool", ["memory", "sqlite:///events.db"])
def test_a_client_that_is_thrown_away_before_its_spool_was_open_counts_each_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spool: str
) -> None:
    """Its loop was closed in the very tick of its start; and none of its threads stays."""
    monkeypatch.chdir(tmp_path)
    told = said(f"""
import threading
async def main():
    client = Client([Acme()], linger_s=60, spool={spool!r})
    return client, [client.enqueue(one) for one in events(3)][0]
loop = asyncio.new_event_loop()
client, receipt = loop.run_until_complete(main())
loop.close()
del loop, client, receipt
until = time.monotonic() + 30
while threading.active_count() > 1 and time.monotonic() < until:
    gc.collect()
    time.sleep(0.01)
print("threads:", [one.name for one in threading.enumerate()], file=sys.stderr)
""")
    assert "ERROR Client(acme) was never closed: events in memory are lost (none stored; 3 not stored)" in told
    assert "Exception ignored" not in told
    assert "threads: ['MainThread']" in told


def test_a_loop_that_ends_at_any_tick_of_a_start_tells_of_events_and_of_nothing_else() -> None:
    """Tasks that had not begun yet leave no warning of Python's about them."""
    told = said("""
async def main(turns):
    client = Client([Acme()], linger_s=60)
    client.enqueue(event(1))
    for _ in range(turns):
        await asyncio.sleep(0)
    return client
for turns in range(6):
    client = asyncio.run(main(turns))
    del client
    gc.collect()
""")
    assert "never awaited" not in told
    assert told.count("ERROR ") == 6
    assert told.count("the client was not closed before its event loop or its tasks ended") == 6
    assert told.count("ResourceWarning: unclosed client, events in memory: ") == 6


def test_what_was_being_stored_when_the_loop_ended_is_perhaps_not_stored() -> None:
    """Nobody knows, so neither yes nor no is said."""
    told = said("""
class Still(MemorySpool):
    async def append(self, *arguments, **options):
        entered.set()
        await asyncio.Event().wait()
async def main():
    global entered
    entered = asyncio.Event()
    client = Client([Acme()], linger_s=60, spool=Still())
    for one in events(2):
        client.enqueue(one)
    await entered.wait()
asyncio.run(main())
""")
    assert "events in memory are not delivered (perhaps not stored: 2)" in told
    assert "unclosed client, events in memory: perhaps not stored: 2" in told


@pytest.mark.parametrize("error", ['SpoolError("the file is locked")', 'ValueError("private")'])
def test_a_spool_that_does_not_open_says_how_many_events_are_not_stored(error: str) -> None:
    """Who only enqueued may never ask a receipt; who tries later is told why nothing is taken."""
    told = said(f"""
class Locked(MemorySpool):
    async def open(self, *arguments, **options):
        raise {error}
async def main():
    client = Client([Acme()], linger_s=60, spool=Locked())
    for one in events(3):
        client.enqueue(one)
    await asyncio.sleep(0.05)
    try:
        client.enqueue(event(9))
    except Exception as error:
        print("later:", error, file=sys.stderr)
asyncio.run(main())
""")
    what = "the file is locked" if "Spool" in error else "ValueError"
    assert f"ERROR the spool did not open: {what}; 3 events that had been handed in are not stored" in told
    assert told.count("ERROR ") == 1
    assert "private" not in told
    assert f"later: the spool did not open ({what})" in told


def test_an_event_that_was_enqueued_and_not_stored_is_said_although_nobody_asks() -> None:
    """The first at once, the others as a sum when the client closes."""
    told = said("""
class Full(MemorySpool):
    async def append(self, *arguments, **options):
        raise SpoolError("disk full", stored=False)
async def main():
    async with Client([Acme()], linger_s=0, spool=Full()) as client:
        for one in events(3):
            client.enqueue(one)
        await asyncio.sleep(0.05)
asyncio.run(main())
""")
    assert "WARNING enqueue: an event was not stored: disk full; " in told
    assert "(2 of this kind within " in told
