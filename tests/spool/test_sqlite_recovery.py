"""What a SQLite spool knows after a crash, a restart, a stepped clock; and what several processes make of one file."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest

from capi_async.outcome import Outcome
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.testing import ManualClock
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    FORGOTTEN,
    NAMES,
    NOW,
    Receipt,
    die,
    end_loop,
    eventually,
    ids,
    new_clock,
    opened,
    record,
    refusal,
    sqlite,
    take,
)


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


async def test_everything_is_there_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    """Records in their order, delays, attempts, counts."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1"), record("2"), record("3")], [refusal("4")])
        first = await take(spool, limit=2)
        await spool.settle(first[:1], [DELIVERED])
        first[1].attempts, first[1].failures = 3, 2
        await spool.release(first[1:], after_s=30.0)
    clock.now += 10
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert spool.ledger()["a"] == Ledger(accepted=4, delivered=1, skipped=1, pending=2)
        assert spool.depth("a").events == 2
        assert ids(await take(spool)) == ["3"]
        clock.now += 20
        second = await take(spool)
        assert [(one.event_id, one.attempts, one.failures, one.uncertain_since) for one in second] == [("2", 3, 2, 0.0)]


async def test_a_closed_spool_still_tells_its_last_counts(tmp_path: Path, clock: ManualClock) -> None:
    """Those of the last run, not of the one before."""
    spool = sqlite(tmp_path, clock)
    for number in (1, 2):
        async with opened(spool):
            await spool.append([record(str(number))], [])
        assert spool.ledger()["a"].pending == number


async def test_a_stepped_clock_makes_no_wait_longer(tmp_path: Path, clock: ManualClock) -> None:
    """Set back by an hour, the wait is what was asked for, not an hour more."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1")], [])
        leased = await take(spool)
        leased[0].attempts = 1
        await spool.release(leased, after_s=30.0)
    clock.offset -= 3_600
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert await take(spool) == []
        assert spool.next_due_s("a") == 30.0
        clock.offset += 7_200
        clock.now += 30
        assert ids(await take(spool)) == ["1"]


async def test_what_was_under_way_when_the_process_died_may_have_arrived(tmp_path: Path, clock: ManualClock) -> None:
    """Since when is known; what was only leased, or not even that, has never been sent."""
    dead = sqlite(tmp_path, clock)
    await dead.open(NAMES, lambda _name: None)
    for name in ("1", "2", "3"):
        await dead.append([record(name)], [])
    leased = await take(dead, limit=2)
    await dead.mark_attempted(leased[:1])
    await die(dead)
    clock.now += 60
    async with opened(sqlite(tmp_path, clock)) as spool:
        found = {one.event_id: (one.uncertain_since, one.attempts) for one in await take(spool)}
    assert found == {"1": (NOW + 1_000, 1), "2": (0.0, 0), "3": (0.0, 0)}


async def test_a_record_that_must_not_be_repeated_is_marked_one_by_one(tmp_path: Path, clock: ManualClock) -> None:
    """Its neighbour in the same row, which was not sent, stays free of doubt."""
    dead = sqlite(tmp_path, clock)
    await dead.open(NAMES, lambda _name: None)
    await dead.append([record("1", resend_for_s=0.0), record("2", resend_for_s=0.0)], [])
    leased = await take(dead)
    await dead.mark_attempted(leased[:1])
    await die(dead)
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert [(one.event_id, one.uncertain_since > 0) for one in await take(spool)] == [("1", True), ("2", False)]


async def test_an_attempt_that_was_answered_leaves_no_doubt(tmp_path: Path, clock: ManualClock) -> None:
    """Released after a clear refusal, then a crash: nothing may have arrived."""
    dead = sqlite(tmp_path, clock)
    await dead.open(NAMES, lambda _name: None)
    await dead.append([record("1", resend_for_s=0.0), record("2")], [])
    leased = await take(dead)
    await dead.mark_attempted(leased)
    for one in leased:
        one.attempts = 1
    await dead.release(leased)
    await dead.append([record("3")], [])
    await die(dead)
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert [(one.event_id, one.attempts, one.uncertain_since) for one in await take(spool)] == [
            ("1", 1, 0.0), ("2", 1, 0.0), ("3", 0, 0.0),
        ]  # fmt: skip


async def test_a_dead_process_s_records_are_adopted_while_the_others_run(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Within seconds, by the lock it no longer holds; a living one's are left alone."""
    first, second = sqlite(tmp_path, clock), sqlite(tmp_path, clock)
    async with opened(second):
        await first.open(NAMES, lambda _name: None)
        await first.append([record("1"), record("2")], [])
        clock.now += 10
        assert await take(second) == []
        assert second.depth("a").events == 0
        await die(first)
        for _ in range(3):
            clock.now += 10
        await eventually(lambda: second.depth("a").events == 2)
        assert ids(await take(second)) == ["1", "2"]
        assert "took over from a process that died" in caplog.text


async def test_a_stale_lease_settles_nothing(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once another process has taken over, the old one's word does not count."""
    async with opened(sqlite(tmp_path, clock)) as old:
        await old.append([record("1")], [])
        leased = await take(old)
        # as if somebody had deleted the lock file
        with old.store.writers(), old.store.raw_transaction(sync=False, locked=True) as db:
            db.execute("UPDATE chunk SET owner = 0")
        async with opened(sqlite(tmp_path, clock)) as new:
            with caplog.at_level(logging.WARNING):
                await old.settle(leased, [DEAD])
            again = await take(new)
            await new.settle(again, [DELIVERED])
            assert new.ledger()["a"] == Ledger(accepted=1, delivered=1)
    assert "taken over" in caplog.text


async def test_a_process_that_only_accepts_leaves_its_records_to_the_others(tmp_path: Path, clock: ManualClock) -> None:
    """A web process in front of workers; its bound counts what nobody has delivered yet."""
    async with opened(sqlite(tmp_path, clock), deliver=False) as web, opened(sqlite(tmp_path, clock)) as worker:
        await web.append([record("1"), record("2")], [])
        assert web.depth("a").events == 2
        await eventually(lambda: worker.depth("a").events == 2)
        leased = await take(worker)
        assert ids(leased) == ["1", "2"]
        await worker.settle(leased, [DELIVERED] * 2)
        await eventually(lambda: web.depth("a").events == 0)
        assert web.ledger()["a"].delivered == 2


async def test_a_look_at_the_file_while_something_is_written_counts_nothing_twice(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A process that only accepts counts all that waits: what it writes is counted by the look or by itself."""
    async with opened(sqlite(tmp_path, clock), deliver=False) as web:
        for steps in range(12):
            appending = asyncio.create_task(web.append([record(f"{steps}-1"), record(f"{steps}-2")], []))
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.gather(web.recount(), appending)
            assert web.depth("a").events == web.ledger()["a"].pending == 2 * steps + 2


async def test_an_order_key_holds_across_processes(tmp_path: Path, clock: ManualClock) -> None:
    """The younger record waits for the older one that another process has."""
    async with opened(sqlite(tmp_path, clock)) as first, opened(sqlite(tmp_path, clock)) as second:
        await first.append([record("1", order_key="k")], [])
        await second.append([record("2", order_key="k"), record("3", order_key="l")], [])
        assert ids(await take(second)) == ["3"]
        await first.settle(await take(first), [DELIVERED])
        await eventually(lambda: second.next_due_s("a") == 0.0)
        assert ids(await take(second)) == ["2"]


async def test_what_nobody_serves_becomes_dead_letters(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A destination that the configuration no longer names: kept, counted, and replayed once it is back."""
    async with opened(sqlite(tmp_path, clock), "a", "gone") as spool:
        await spool.append([record("1", "gone"), record("2", "gone"), record("3", "a")], [])
    async with opened(sqlite(tmp_path, clock), "a") as spool:
        await eventually(lambda: spool.ledger()["gone"].dead == 2)
        [said] = [one.getMessage() for one in caplog.records if getattr(one, "reason_code", "") == "configuration"]
        assert said.startswith("spool: gone: dead: 2 events wait for a destination that is configured no more")
        assert "capi-async queue replay" in said
        letters = await spool.letters(LetterFilter(destination="gone"))
        assert [(one.event_id, one.reason) for one in letters] == [
            ("1", "configuration changed: no destination of this name"),
            ("2", "configuration changed: no destination of this name"),
        ]
        assert await spool.replay(LetterFilter()) == {"gone": 2}
    async with opened(sqlite(tmp_path, clock), "a", "gone") as spool:
        assert ids(await take(spool, "gone")) == ["1", "2"]
        assert all(counts.balanced for counts in spool.ledger().values())


async def test_dead_letters_are_replayed_if_they_are_still_wanted(tmp_path: Path, clock: ManualClock) -> None:
    """Too old: expired. No longer permitted: skipped. The rest is pending again, as if never tried."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1"), record("2"), record("3"), record("4", "b")], [])
        leased = await take(spool)
        await spool.settle(leased, [DEAD] * 3)
        await spool.settle(await take(spool, "b"), [DEAD])
        assert [one.event_id for one in await spool.letters(LetterFilter(limit=3))] == ["1", "2", "3"]
        assert await spool.replay(LetterFilter(event_id="1")) == {"a": 1}
        assert await spool.replay(LetterFilter(destination="a"), permitted=lambda one: one != "2") == {"a": 1}
        assert spool.ledger()["a"] == Ledger(accepted=3, skipped=1, pending=2)
        again = await take(spool)
        assert [(one.event_id, one.attempts) for one in again] == [("1", 0), ("3", 0)]
        clock.now += 604_800
        assert await spool.replay(LetterFilter()) == {}
        assert spool.ledger()["b"] == Ledger(accepted=1, expired=1)
        assert await spool.letters(LetterFilter()) == []


async def test_dead_letters_are_kept_within_limits(tmp_path: Path, clock: ManualClock) -> None:
    """By number and by age; the ledger keeps counting those that were let go."""
    async with opened(sqlite(tmp_path, clock, "?dead_max=2&dead_days=1")) as spool:
        await spool.append([record(str(number)) for number in range(4)], [])
        await spool.settle(await take(spool), [DEAD] * 4)
        await spool.call(spool.store.prune)
        assert [one.event_id for one in await spool.letters(LetterFilter())] == ["2", "3"]
        clock.now += 90_000
        await spool.call(spool.store.prune)
        assert await spool.letters(LetterFilter()) == []
        assert spool.ledger()["a"].dead == 4


async def test_forgetting_leaves_no_trace_in_the_file(tmp_path: Path, clock: ManualClock) -> None:
    """Not of what waits, nor of its settled neighbour in the same row, nor of a dead letter."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record(name, body=f"person-{name}".encode()) for name in ("1", "2", "3", "4")], [])
        leased = await take(spool, limit=2)
        await spool.settle(leased, [DEAD, DELIVERED])
        await spool.append([record("5", "b", body=b"person-5")], [])
    async with opened(sqlite(tmp_path, clock)) as spool:
        found = await spool.settle_matching(lambda one: one.body != b"person-4", FORGOTTEN)
        assert found == {"a": 2, "b": 1}
        assert spool.ledger()["a"] == Ledger(accepted=4, delivered=1, forgotten=2, pending=1)
        stored = b"".join(file.read_bytes() for file in tmp_path.glob("events.db*"))
        assert [name for name in b"12345" if b"person-%c" % name in stored] == [ord("4")]
        assert ids(await take(spool)) == ["4"]


async def test_more_than_memory_holds_waits_in_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, and whoever kept a receipt is told in the end."""
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 100)
    receipts = [Receipt() for _ in range(1_000)]
    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 1_000, 50):
            records = [record(f"{index:04}", receipt=receipts[index]) for index in range(start, start + 50)]
            await spool.append(records, [])
        line = spool.queues.by_destination["a"]
        assert len(line.ready) <= 150
        assert line.unloaded >= 850
        del records
        dropped = [weakref.ref(one) for one in receipts[500:]]
        for lost in range(500, 1_000):
            receipts[lost] = None  # type: ignore[call-overload]
        spool.queues.drop_receipts()
        assert not [one for one in dropped if one() is not None]
        out: list[str] = []
        while leased := await take(spool, limit=64):
            out += ids(leased)
            await spool.settle(leased, [DELIVERED] * len(leased))
        assert out == [f"{index:04}" for index in range(1_000)]
        assert all(receipt.told["a"] is DELIVERED for receipt in receipts[:500])
        assert spool.depth("a").events == 0


async def test_the_oldest_give_way_also_where_they_lie_in_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evicting reaches behind what is in memory."""
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 10)
    async with opened(sqlite(tmp_path, clock)) as spool:
        for start in range(0, 100, 10):
            await spool.append([record(f"{index:03}") for index in range(start, start + 10)], [])
        assert await spool.evict("a", events=5, max_bytes=1 << 20, outcome=DEAD) == 95
        assert ids(await take(spool)) == ["095", "096", "097", "098", "099"]


async def test_a_loop_that_ended_without_closing_is_like_a_crash(tmp_path: Path, clock: ManualClock) -> None:
    """The same object opened again has everything, and knows what may have arrived."""
    spool = sqlite(tmp_path, clock)
    await spool.open(NAMES, lambda _name: None)
    await spool.append([record("1"), record("2")], [])
    await spool.mark_attempted(await take(spool))
    await end_loop(spool)
    async with opened(spool):
        assert [(one.event_id, one.uncertain_since > 0) for one in await take(spool)] == [("1", True), ("2", True)]


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from tests.spool.harness import new_clock, record, sqlite, take, DELIVERED, opened

    async def main():
        spool = sqlite(Path(sys.argv[1]), new_clock())
        await spool.open(("a", "b"), lambda _name: None)
        number = 0
        while True:
            await spool.append([record(str(number + one)) for one in range(7)], [])
            print(number + 7, flush=True)
            number += 7
            leased = await take(spool, limit=5)
            await spool.mark_attempted(leased)
            await spool.settle(leased, [DELIVERED] * len(leased))

    asyncio.run(main())
"""


@pytest.mark.parametrize("after", [5, 40, 90])
async def test_kill_minus_nine_loses_nothing_that_was_accepted(tmp_path: Path, clock: ManualClock, after: int) -> None:
    """Every record whose append had returned is pending or settled, and the next process starts at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    accepted = 0
    for _ in range(after):
        accepted = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    accepted = max([accepted, *(int(line) for line in process.stdout.read().split() if line)])
    process.wait()
    process.stdout.close()
    async with opened(sqlite(tmp_path, clock)) as spool:
        counts = spool.ledger()["a"]
        assert counts.balanced
        assert counts.accepted >= accepted
        assert counts.accepted - accepted <= 7
        left: list[str] = []
        while leased := await take(spool):
            left += ids(leased)
            await spool.settle(leased, [DELIVERED] * len(leased))
        assert left == [str(number) for number in range(counts.accepted - len(left), counts.accepted)]
        assert len(left) == counts.pending
        assert spool.ledger()["a"].delivered == counts.accepted


async def test_what_may_have_arrived_before_a_crash_is_never_dropped_as_if_it_had_not(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Also at a platform that recognises no repeats, whose events are noted one by one before they are sent."""
    crashed = sqlite(tmp_path, clock)
    await crashed.open(NAMES, lambda _name: None)
    await crashed.append([record("1", resend_for_s=0.0)], [])
    await crashed.mark_attempted(await take(crashed))
    await die(crashed)
    ends: list[Outcome] = []
    again = sqlite(tmp_path, clock)
    await again.open(NAMES, lambda _name: None, lambda _name, _ids, outcomes: ends.extend(outcomes))
    await again.evict("a", events=0, max_bytes=0, outcome=Outcome(kind="dropped", reason="the queue is full"))
    await again.close()
    assert [(end.kind, end.attempts) for end in ends] == [("uncertain", 1)]
