"""Files of earlier releases stay readable. One file per form of the tables; never made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from capi_async.spool.base import Ledger, LetterFilter
from tests.spool.harness import NOW, new_clock, opened, sqlite, take

FIXTURES = Path(__file__).parent / "fixtures"


async def test_a_file_of_form_1_gives_out_everything_it_holds(tmp_path: Path) -> None:
    """Left by a process that was killed: some settled, one delayed, two under way, a dead letter."""
    shutil.copy(FIXTURES / "form_1.db", tmp_path / "events.db")
    (tmp_path / "events.db").chmod(0o600)
    clock = new_clock()
    clock.now += 10
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert spool.ledger()["a"] == Ledger(accepted=7, delivered=1, dead=1, skipped=1, pending=4)
        first = await take(spool)
        assert [(one.event_id, one.head, one.attempts, one.uncertain_since) for one in first] == [
            ("2", b"h0", 1, 0.0), ("3", b"h1", 1, NOW + 1_000),
            ("4", b"h0", 1, NOW + 1_000), ("5", b"h1", 1, NOW + 1_000),
        ]  # fmt: skip
        assert first[3].order_key == "k"
        second = await take(spool, "b")
        assert [(one.event_id, one.uncertain_since) for one in second] == [("f", NOW + 1_000), ("g", 0.0)]
        assert [one.event_id for one in await spool.letters(LetterFilter())] == ["1"]


async def test_a_file_of_form_2_gives_out_everything_that_nobody_had_forgotten(tmp_path: Path) -> None:
    """Left by a process that was killed: one delayed, one of two under way to be forgotten, a dead letter."""
    shutil.copy(FIXTURES / "form_2.db", tmp_path / "events.db")
    (tmp_path / "events.db").chmod(0o600)
    clock = new_clock()
    clock.now += 10
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert spool.ledger()["a"] == Ledger(accepted=7, delivered=1, dead=1, skipped=1, forgotten=2, pending=2)
        first = await take(spool)
        assert [(one.event_id, one.head, one.attempts, one.uncertain_since) for one in first] == [
            ("2", b"h0", 1, 0.0), ("4", b"h0", 1, NOW + 1_000),
        ]  # fmt: skip
        second = await take(spool, "b")
        assert [(one.event_id, one.uncertain_since) for one in second] == [("f", NOW + 1_000), ("g", 0.0)]
        assert [one.event_id for one in await spool.letters(LetterFilter())] == ["1"]
