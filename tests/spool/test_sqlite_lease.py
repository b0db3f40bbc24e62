"""A process whose lock file was deleted, or that somebody else took for dead: it notices before it sends anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from capi_async.spool.base import Depth, Ledger, Revoked
from capi_async.testing import ManualClock
from tests.spool.harness import (
    DELIVERED,
    FORGOTTEN,
    NAMES,
    die,
    eventually,
    ids,
    looked,
    new_clock,
    opened,
    record,
    sqlite,
    take,
)


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


def delete(path: Path, pattern: str) -> None:
    found = list(path.glob(pattern))
    assert found
    for one in found:
        one.unlink()


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks after the file by himself, except once when it is opened."""
    monkeypatch.setattr("capi_async.spool.sqlite.spool.TICK_S", 1e6)


async def test_a_deleted_owner_file_is_made_again(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Before another process looks: nobody takes anything over."""
    async with opened(sqlite(tmp_path, clock)) as first, opened(sqlite(tmp_path, clock)) as second:
        await first.append([record("1"), record("2")], [])
        (mine,) = tmp_path.glob("events.db-owner-1")
        mine.unlink()
        await eventually(mine.exists)
        assert not await second.call(second.store.take_over)
        leased = await take(first)
        await first.mark_attempted(leased)
        await first.settle(leased, [DELIVERED] * 2)
        assert first.ledger()["a"] == Ledger(accepted=2, delivered=2)
        assert "was deleted while its process lives" in caplog.text


async def test_what_another_process_took_over_is_not_sent(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what was leased, nor what waited in memory, nor what was in the file only."""
    quiet(monkeypatch)
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 4)
    async with opened(sqlite(tmp_path, clock)) as first, opened(sqlite(tmp_path, clock)) as second:
        await looked(first, second)
        for one in range(8):
            await first.append([record(str(one), order_key="k" if one < 2 else None)], [])
        leased = await take(first, limit=2)
        delete(tmp_path, "events.db-owner-1")
        assert await second.call(second.store.take_over)
        await second.recount()
        taken = await take(second)
        assert ids(taken) == ["0", *(str(one) for one in range(2, 8))]
        with pytest.raises(Revoked):
            await first.mark_attempted(leased)
        await first.release(leased)
        await first.settle(leased, [DELIVERED] * 2)
        assert await take(first) == []
        assert first.depth("a") == Depth(0, 0)
        assert second.depth("a") == Depth(8, sum(len(record(str(one)).body) for one in range(8)))
        assert "taken over" in caplog.text
        await second.mark_attempted(taken)
        await second.settle(taken, [DELIVERED] * 7)
        # what it accepts from now on is its own
        await first.append([record("new")], [])
        assert ids(await take(first)) == ["new"]
        assert ids(await take(second)) == ["1"]
        assert first.ledger()["a"] == Ledger(accepted=9, delivered=7, pending=2)


async def test_an_attempt_that_cannot_be_noted_because_another_holds_the_record_is_not_made(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it over did so a moment ago: the note itself says so."""
    quiet(monkeypatch)
    async with opened(sqlite(tmp_path, clock)) as first, opened(sqlite(tmp_path, clock)) as second:
        await looked(first, second)
        await first.append([record("1"), record("2", resend_for_s=0.0)], [])
        leased = await take(first)
        with second.store.transaction(sync=False) as db:
            db.execute("UPDATE chunk SET owner = 0")
        with pytest.raises(Revoked):
            await first.mark_attempted(leased)
        assert first.depth("a").events == 0
        await second.recount()
        assert ids(await take(second)) == ["1", "2"]


async def test_what_is_accepted_before_a_process_notices_is_not_nobody_s_for_ever(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for dead, went on accepting, and died."""
    quiet(monkeypatch)
    first = sqlite(tmp_path, clock)
    await first.open(NAMES, lambda _name: None)
    await first.append([record("1")], [])
    async with opened(sqlite(tmp_path, clock)) as second:
        await looked(first, second)
        delete(tmp_path, "events.db-owner-1")
        assert await second.call(second.store.take_over)
        await first.append([record("2")], [])
        await die(first)
    async with opened(sqlite(tmp_path, clock)) as third:
        assert ids(await take(third)) == ["1", "2"]


async def test_a_deleted_lock_file_does_not_keep_a_process_from_hearing_what_it_must_not_send(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others signal recalls in a new file by then."""
    monkeypatch.setattr("capi_async.spool.sqlite.recalls.ANSWER_S", 0.2)
    quiet(monkeypatch)
    async with opened(sqlite(tmp_path, clock)) as first:
        await looked(first)
        await first.append([record("1"), record("2")], [])
        leased = await take(first)
        delete(tmp_path, "events.db-lock")
        async with opened(sqlite(tmp_path, clock)) as second:
            asking = asyncio.create_task(second.settle_matching(lambda one: one.event_id == "1", FORGOTTEN))
            await asyncio.wait([asking])
            with pytest.raises(Revoked):
                await first.mark_attempted(leased)
            await first.release(leased)
            assert ids(await take(first)) == ["2"]
            assert first.ledger()["a"] == Ledger(accepted=2, forgotten=1, pending=1)


async def test_forgetting_with_one_process_alarms_nobody(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that was deleted a moment ago was not taken over by anybody."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 200, 4):
            await spool.append([record(str(one)) for one in range(start, start + 4)], [])
            leased = await take(spool, limit=4)
            await spool.mark_attempted(leased)
            await asyncio.gather(
                spool.settle(leased, [DELIVERED] * 4), spool.settle_matching(lambda _one: True, FORGOTTEN)
            )
        assert spool.ledger()["a"].pending == 0
        assert spool.depth("a") == Depth(0, 0)
    assert "taken over" not in caplog.text
