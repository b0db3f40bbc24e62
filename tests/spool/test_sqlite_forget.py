"""Forgetting and withdrawing reach what other processes on the same file have taken up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capi_async import User
from capi_async.cli.queue import app
from capi_async.sandbox import Sandbox
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.testing import ManualClock
from tests.spool import holder
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    FORGOTTEN,
    Receipt,
    die,
    eventually,
    ids,
    new_clock,
    opened,
    record,
    sqlite,
    take,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


@asynccontextmanager
async def held(file: Path, base: str) -> AsyncIterator[Process]:
    """A process that has taken up an event of Ada's and one of Bob's, at three platforms."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.spool.holder", str(file), base, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"holds\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def told(child: Process, line: str) -> dict[str, Any]:
    """The child's ledger, after it was told something."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{line}\n".encode())
    found: dict[str, Any] = json.loads(await child.stdout.readline())
    return found


def trouble(sandbox: Sandbox) -> None:
    sandbox.fault("snap", "status", status=429, retry_after_s=1.5)
    sandbox.fault("pinterest", "hang", after=True)


def arrived(sandbox: Sandbox) -> dict[str, list[str]]:
    return {
        name: [one.event["event_id"] for one in sandbox.arrivals(name) if one.accepted]
        for name in ("snap", "pinterest", "tiktok")
    }


async def test_somebody_forgotten_from_the_command_line_is_not_sent_by_a_process_that_runs(tmp_path: Path) -> None:
    """Not what waits for another attempt, nor what waits for company; what is under way arrives once, and no more."""
    file = tmp_path / "events.db"
    async with Sandbox() as sandbox:
        trouble(sandbox)
        async with held(file, sandbox.base_url) as child:
            arguments = ["forget", f"sqlite:///{file}", "--email", "Ada@example.com"]
            result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
            assert result.exit_code == 0, result.output
            assert sorted(result.stdout.splitlines()) == [
                "2 records erased",
                "snap: 1 forgotten",
                "tiktok: 1 forgotten",
            ]
            sandbox.clear_faults()
            counts = await told(child, "flush")
            for name in ("snap", "tiktok", "pinterest"):
                one = Ledger(**counts[name])
                assert one.balanced
                assert (one.accepted, one.forgotten, one.pending) == (2, 1, 0), name
                assert one.delivered == 1
            events = arrived(sandbox)
            assert events["snap"] == events["tiktok"] == ["sale-bob"]
            assert events["pinterest"].count("sale-ada") == 1
            # the log is emptied when nobody reads it, which may take a moment
            await eventually(
                lambda: not any(b"sale-ada" in one.read_bytes() for one in tmp_path.glob("events.db*")), 20.0
            )


async def test_a_process_that_slept_stops_before_it_sends_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asked is told that it did not answer, and counts nothing of it."""
    monkeypatch.setattr("capi_async.spool.sqlite.recalls.ANSWER_S", 0.3)
    file = tmp_path / "events.db"
    async with Sandbox() as sandbox:
        trouble(sandbox)
        async with (
            held(file, sandbox.base_url) as child,
            holder.client(str(file), sandbox.base_url, deliver=False) as web,
        ):
            os.kill(child.pid, signal.SIGSTOP)
            assert await web.withdraw(User(email="ada@example.com")) == {}
            assert "were not answered by the process that holds them" in caplog.text
            sandbox.clear_faults()
            os.kill(child.pid, signal.SIGCONT)
            await told(child, "flush")
            ledger = web.ledger()
            assert {name: (one.skipped, one.pending) for name, one in ledger.items()} == dict.fromkeys(ledger, (1, 0))
            events = arrived(sandbox)
            assert events["snap"] == events["tiktok"] == ["sale-bob"]


async def test_a_sibling_s_records_are_found_in_its_memory_and_in_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready, delayed, held back, leased, or not yet read; only what is under way is not counted."""
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 8)
    receipt = Receipt()
    async with opened(sqlite(tmp_path, clock)) as sibling, opened(sqlite(tmp_path, clock)) as asking:
        await sibling.append([record(name, order_key=key, body=name.encode()) for name, key in
                              (("x1", None), ("x2", None), ("y1", None), ("x3", "k"), ("x4", "k"))], [])  # fmt: skip
        under_way, delayed = await take(sibling, limit=2)
        await sibling.mark_attempted([under_way])
        await sibling.release([delayed], after_s=60.0)
        await sibling.append([record(f"z{number}") for number in range(6)], [])
        await sibling.append([record("x5", body=b"x5", receipt=receipt), record("y2", body=b"y2")], [])
        assert sibling.queues.by_destination["a"].unloaded == 2
        found = await asking.settle_matching(lambda one: one.body[:1] == b"x", FORGOTTEN)
        assert found == {"a": 4}
        assert receipt.told["a"].kind == "forgotten"
        assert asking.ledger()["a"] == Ledger(accepted=13, forgotten=4, pending=9)
        await sibling.release([under_way])
        assert asking.ledger()["a"].forgotten == 5
        assert ids(await take(sibling)) == ["y1", *(f"z{number}" for number in range(6)), "y2"]
        assert sibling.depth("a").events == 8


async def test_who_takes_a_dead_process_s_records_up_does_not_send_what_it_was_to_stop(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Neither what was under way there, nor what it had not got round to."""
    first, second = sqlite(tmp_path, clock), sqlite(tmp_path, clock)
    await first.open(("a", "b"), lambda _name: None)
    await first.append([record("x1", body=b"x1"), record("y1", body=b"y1"), record("x2", body=b"x2")], [])
    leased = await take(first, limit=1)
    await first.mark_attempted(leased)
    assert await first.settle_matching(lambda one: one.body == b"x1", FORGOTTEN) == {}
    # it dies while another asks: the answer comes from whoever takes over
    await die(first)
    async with opened(second):
        assert await second.settle_matching(lambda one: one.body == b"x2", FORGOTTEN) == {"a": 1}
        await eventually(lambda: second.ledger()["a"].forgotten == 2)
        assert ids(await take(second)) == ["y1"]
        assert second.ledger()["a"] == Ledger(accepted=3, forgotten=2, pending=1)


@pytest.mark.parametrize("large", [False, True])
async def test_nothing_of_somebody_forgotten_is_left_in_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Nor of what had been delivered before, was damaged, or had given way to others, in whatever page it stood."""
    if large:
        monkeypatch.setattr("capi_async.spool.sqlite.space._REWRITTEN_BYTES", 0)
    chance = random.Random(1)

    def body(number: int) -> bytes:
        return (
            b"ada@example.com " * chance.choice((1, 30, 300, 3_000)) if number % 3 else b"b" * chance.randrange(9_000)
        )

    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 240, 8):
            await spool.append([record(str(one), body=body(one)) for one in range(start, start + 8)], [])
            leased = await take(spool, limit=chance.randrange(1, 7))
            await spool.settle(leased, [chance.choice((DELIVERED, DELIVERED, DEAD)) for _ in leased])
        if not large:
            with spool.store.transaction(sync=False) as db:
                db.execute("INSERT INTO damaged (id, destination, at, data) VALUES (1, 'a', 0, 'ada@example.com')")
        await spool.settle_matching(lambda one: b"ada@" in one.body, FORGOTTEN)
        stored = b"".join(file.read_bytes() for file in tmp_path.glob("events.db*"))
        assert stored.count(b"ada@example.com") == 0
        left = await take(spool)
        assert all(b"ada" not in one.body for one in left)
        assert spool.ledger()["a"].balanced


async def test_two_may_ask_one_another_at_once(tmp_path: Path, clock: ManualClock) -> None:
    """Nobody waits for somebody who waits for him."""
    async with opened(sqlite(tmp_path, clock)) as first, opened(sqlite(tmp_path, clock)) as second:
        for spool, names in ((first, ("x1", "y1")), (second, ("x2", "y2"))):
            await spool.append([record(name, body=name.encode()) for name in names], [])
        async with asyncio.timeout(4):
            found = await asyncio.gather(
                first.settle_matching(lambda one: one.body == b"x2", FORGOTTEN),
                second.settle_matching(lambda one: one.body == b"x1", FORGOTTEN),
            )
        assert found == [{"a": 1}, {"a": 1}]
        assert first.ledger()["a"] == Ledger(accepted=4, forgotten=2, pending=2)


async def test_a_dead_letter_that_cannot_be_read_does_not_keep_others_from_being_forgotten(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays, and the rest goes."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1"), record("2"), record("3")], [])
        await spool.settle(await take(spool), [DEAD, DEAD, DELIVERED])
        with spool.store.transaction(sync=False) as db:
            db.execute("UPDATE letter SET data = zeroblob(40) WHERE event_id = '1'")
        with caplog.at_level(logging.ERROR):
            assert await spool.settle_matching(lambda _one: True, FORGOTTEN) == {"a": 1}
        assert [one.event_id for one in await spool.letters(LetterFilter())] == ["1"]
        assert spool.ledger()["a"] == Ledger(accepted=3, delivered=1, dead=1, forgotten=1)
