"""Ids of delivered requests in a spool file: how many are kept, and who may look."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest
from capi_async.spool.sqlite import SqliteReader, kept_ids, parse
from tests.spool.harness import new_clock, opened, sqlite


def test_a_file_keeps_the_newest_of_each_destination_and_none_for_ever() -> None:
    db = sqlite3.connect(":memory:")
    now = 100 * DAY
    assert kept_ids.find_sent(db, "a", 0) == []
    kept_ids.prune_sent(db, now)
    kept_ids.add_sent(
        db, "a", [SentRequest(f"r-{number}", "acc", now - SENT_MAX + number, 1) for number in range(-3, SENT_MAX)]
    )
    kept_ids.add_sent(
        db, "b", [SentRequest("old", "acc", now - SENT_DAYS * DAY - 1, 1), SentRequest("new", "acc", now, 1)]
    )
    kept_ids.prune_sent(db, now)
    kept = kept_ids.find_sent(db, "a", 0)
    assert (len(kept), kept[0].trace_id, kept[-1].trace_id) == (SENT_MAX, f"r-{SENT_MAX - 1}", "r-0")
    assert [one.trace_id for one in kept_ids.find_sent(db, "b", 0)] == ["new"]
    db.close()


async def test_a_look_into_the_file_finds_them_and_changes_nothing(tmp_path: Path) -> None:
    """Also in one that never kept any."""
    clock = new_clock()
    reader = SqliteReader(parse(f"sqlite:///{tmp_path / 'events.db'}"))
    noted = [SentRequest("r-1", "acc", clock.wall(), 3)]
    async with opened(sqlite(tmp_path, clock)) as spool:
        await reader.open((), lambda _name: None)
        assert await reader.sent("a", since=0) == []
        await spool.note_sent("a", noted)
        assert await reader.sent("a", since=0) == noted
    before = (tmp_path / "events.db").read_bytes()
    assert await reader.sent("a", since=0) == noted
    assert (tmp_path / "events.db").read_bytes() == before
