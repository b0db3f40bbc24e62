"""What is encrypted in a file opens in its own place only: not exchanged, not copied, not put back."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from capi_async.cipher import Cipher
from capi_async.errors import ConfigError
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.spool.chunks import encode
from capi_async.testing import ManualClock
from tests.spool.harness import DEAD, DELIVERED, NAMES, ids, new_clock, opened, record, sqlite, take

KEY = base64.urlsafe_b64encode(bytes([1]) * 32).decode()
QUERY = "?keys=env:SPOOL_KEYS"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files of these tests have the same key."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


@contextmanager
def intruder(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who may write to the file, and has no key."""
    with closing(sqlite3.connect(path / "events.db")) as db, db:
        yield db


def rows(db: sqlite3.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT id FROM chunk ORDER BY id")]


async def test_rows_that_were_exchanged_are_not_sent(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each costs itself only; they count as dead, in words."""
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        for number in range(3):
            await spool.append([record(str(number))], [])
    with intruder(tmp_path) as db:
        first, second, _ = rows(db)
        one, two = (db.execute("SELECT data FROM body WHERE id = ?", (row,)).fetchone() for row in (first, second))
        db.execute("UPDATE body SET data = ? WHERE id = ?", (*two, first))
        db.execute("UPDATE body SET data = ? WHERE id = ?", (*one, second))
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        assert ids(await take(spool)) == ["2"]
        assert spool.ledger()["a"] == Ledger(accepted=3, dead=2, pending=1)
    assert caplog.text.count("sealed for another place") == 2


async def test_a_row_that_was_moved_to_another_destination_is_not_sent(tmp_path: Path, clock: ManualClock) -> None:
    """Nor one that was copied to a row of its own."""
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        await spool.append([record("1"), record("2", "b")], [])
    with intruder(tmp_path) as db:
        first, second = rows(db)
        db.execute("UPDATE body SET data = (SELECT data FROM body WHERE id = ?) WHERE id = ?", (first, second))
        db.execute("UPDATE chunk SET size = (SELECT size FROM chunk WHERE id = ?) WHERE id = ?", (first, second))
        db.execute(
            'INSERT INTO chunk (destination, owner, "left", size, attempted_at, keyed, sealed)'
            ' SELECT destination, 0, "left", size, attempted_at, keyed, sealed FROM chunk WHERE id = ?',
            (first,),
        )
        db.execute("INSERT INTO body SELECT max(chunk.id), (SELECT data FROM body WHERE id = ?) FROM chunk", (first,))
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        assert ids(await take(spool)) == ["1"]
        assert await take(spool, "b") == []


async def test_a_row_of_another_file_with_the_same_key_is_not_sent(tmp_path: Path, clock: ManualClock) -> None:
    """The first rows of two files have different numbers, which are part of the seal."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        async with opened(sqlite(tmp_path / name, clock, QUERY)) as spool:
            await spool.append([record(name)], [])
    with intruder(tmp_path / "one") as db:
        (number,) = rows(db)
        (data,) = db.execute("SELECT data FROM body").fetchone()
    with intruder(tmp_path / "two") as db:
        assert rows(db) != [number]
        db.execute("UPDATE body SET data = ?", (data,))
    async with opened(sqlite(tmp_path / "two", clock, QUERY)) as spool:
        assert await take(spool) == []
        assert spool.ledger()["a"].dead == 1


async def test_a_row_that_is_put_back_after_it_was_settled_is_not_sent_again(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """By the process that settled it; it is not counted, because nobody accepted it twice."""
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        await spool.append([record("1")], [])
        with intruder(tmp_path) as db:
            db.execute("CREATE TABLE kept_chunk AS SELECT * FROM chunk")
            db.execute("CREATE TABLE kept_body AS SELECT * FROM body")
        await spool.settle(await take(spool), [DELIVERED])
        with intruder(tmp_path) as db:
            db.execute("INSERT INTO chunk SELECT * FROM kept_chunk")
            db.execute("UPDATE chunk SET owner = 0")
            db.execute("INSERT INTO body SELECT * FROM kept_body")
        await spool.append([record("2")], [])
        found = await take(spool)
        async with asyncio.timeout(10):
            while "written them there once more" not in caplog.text:
                found += await take(spool)
                await asyncio.sleep(0.02)
        assert ids(found) == ["2"]
        assert spool.ledger()["a"] == Ledger(accepted=2, delivered=1, pending=1)


async def test_dead_letters_that_were_exchanged_or_renamed_are_not_replayed(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Their listed event id decides whether they may be sent again, and so is part of the seal."""
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        for number in range(4):
            await spool.append([record(str(number))], [])
        await spool.settle(await take(spool), [DEAD] * 4)
    with intruder(tmp_path) as db:
        first, second, third, _ = (number for (number,) in db.execute("SELECT id FROM letter ORDER BY id"))
        one, two = (db.execute("SELECT data FROM letter WHERE id = ?", (row,)).fetchone() for row in (first, second))
        db.execute("UPDATE letter SET data = ? WHERE id = ?", (*two, first))
        db.execute("UPDATE letter SET data = ? WHERE id = ?", (*one, second))
        db.execute("UPDATE letter SET event_id = 'permitted' WHERE id = ?", (third,))
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        assert await spool.replay(LetterFilter()) == {"a": 1}
        assert ids(await take(spool)) == ["3"]
        assert len(await spool.letters(LetterFilter())) == 3
    assert caplog.text.count("a dead letter cannot be read") == 3


async def test_what_an_earlier_release_encrypted_is_sent_by_saying_so(tmp_path: Path, clock: ManualClock) -> None:
    """Without ``old_seals=accept`` the file is refused and left as it is; what is stored from now on is bound."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("old")], [])
    cipher = Cipher([KEY])
    with intruder(tmp_path) as db:
        db.execute("UPDATE body SET data = ?", (cipher.seal(encode([record("old")]), "a"),))
        db.execute("UPDATE chunk SET sealed = ?", (cipher.name,))
    for query in (QUERY, f"{QUERY}&plain=accept"):
        with pytest.raises(ConfigError, match="old_seals=accept"):
            await sqlite(tmp_path, clock, query).open(NAMES, lambda _name: None)
    async with opened(sqlite(tmp_path, clock, f"{QUERY}&old_seals=accept")) as spool:
        found = await take(spool)
        assert ids(found) == ["old"]
        await spool.append([record("new")], [])
        await spool.settle(found, [DELIVERED])
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        assert ids(await take(spool)) == ["new"]


async def test_an_earlier_seal_among_bound_ones_is_not_sent(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever kept a copy of an old row could have put it there; neither form opens as the other."""
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        for number in range(3):
            await spool.append([record(str(number))], [])
    cipher = Cipher([KEY])
    with intruder(tmp_path) as db:
        first, second, _ = rows(db)
        db.execute("UPDATE body SET data = ? WHERE id = ?", (cipher.seal(encode([record("0")]), "a"), first))
        db.execute("UPDATE chunk SET sealed = ? WHERE id IN (?, ?)", (cipher.name, first, second))
    async with opened(sqlite(tmp_path, clock, QUERY)) as spool:
        assert ids(await take(spool)) == ["2"]
        assert spool.ledger()["a"].dead == 2
    assert "add old_seals=accept" in caplog.text


def test_the_option_is_accept_or_left_out(tmp_path: Path, clock: ManualClock) -> None:
    """Anything else is a mistake that is told."""
    with pytest.raises(ConfigError, match="old_seals=accept"):
        sqlite(tmp_path, clock, f"{QUERY}&old_seals=yes")
