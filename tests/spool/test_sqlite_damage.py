"""What is damaged in a spool file costs itself only; and what is known of each record is known of it alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from capi_async.spool.base import Depth, Ledger, LetterFilter
from capi_async.spool.chunks import (
    DamagedChunk,
    Fate,
    State,
    decode_runs,
    decode_state,
    encode_runs,
    encode_state,
    has_checksum,
)
from capi_async.testing import ManualClock
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    FORGOTTEN,
    NAMES,
    NOW,
    Receipt,
    die,
    ids,
    new_clock,
    opened,
    record,
    sqlite,
    take,
)


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


@contextmanager
def broken_into(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as somebody else may change it."""
    with closing(sqlite3.connect(path / "events.db", isolation_level=None)) as db:
        yield db
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


async def drained(spool: object) -> list[str]:
    """The ids of all that is given out until there is no more; it is delivered."""
    out: list[str] = []
    while leased := await take(spool, limit=64):  # type: ignore[arg-type]
        out += ids(leased)
        await spool.settle(leased, [DELIVERED] * len(leased))  # type: ignore[attr-defined]
    return out


def wrong_bytes(db: sqlite3.Connection, row: int) -> None:
    db.execute("UPDATE body SET data = zeroblob(length(data)) WHERE id = ?", (row,))


def no_bytes(db: sqlite3.Connection, row: int) -> None:
    db.execute("DELETE FROM body WHERE id = ?", (row,))


def bytes_as_a_number(db: sqlite3.Connection, row: int) -> None:
    db.execute("UPDATE body SET data = 7 WHERE id = ?", (row,))


def state_with_a_flipped_bit(db: sqlite3.Connection, row: int) -> None:
    state = bytearray(encode_state(State(b"\x01", [])))
    state[-2] ^= 4
    db.execute("UPDATE chunk SET state = ? WHERE id = ?", (bytes(state), row))


def counts_as_a_text(db: sqlite3.Connection, row: int) -> None:
    db.execute("""UPDATE chunk SET "left" = CAST(x'ff' AS TEXT), size = 'x' WHERE id = ?""", (row,))
    wrong_bytes(db, row)


def key_name_that_is_no_text(db: sqlite3.Connection, row: int) -> None:
    db.execute("UPDATE chunk SET sealed = CAST(x'ff' AS TEXT) WHERE id = ?", (row,))


DAMAGE = (
    wrong_bytes,
    no_bytes,
    bytes_as_a_number,
    state_with_a_flipped_bit,
    counts_as_a_text,
    key_name_that_is_no_text,
)


@pytest.mark.parametrize("harm", DAMAGE)
@pytest.mark.parametrize("where", ["in the file only", "at a start"])
async def test_a_damaged_row_costs_itself_only(
    tmp_path: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[sqlite3.Connection, int], None],
    where: str,
) -> None:
    """Neighbours on both sides are given out, whoever waits for it is told, and bounds and counts stay true."""
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 4)
    receipts = [Receipt() for _ in range(40)]
    spool = sqlite(tmp_path, clock)
    await spool.open(NAMES, lambda _name: None)
    for start in range(0, 40, 4):
        await spool.append([record(f"{one:02}", receipt=receipts[one]) for one in range(start, start + 4)], [])
    if where == "at a start":
        await spool.close()
        spool = sqlite(tmp_path, clock)
    with broken_into(tmp_path) as db:
        rows = [row for (row,) in db.execute("SELECT id FROM chunk ORDER BY id")]
        # two neighbours, and the oldest that is not in memory
        for row in (rows[2], rows[5], rows[6]):
            harm(db, row)
    if where == "at a start":
        await spool.open(NAMES, lambda _name: None)
    try:
        lost = {8, 9, 10, 11, *range(20, 28)}
        assert await drained(spool) == [f"{one:02}" for one in range(40) if one not in lost]
        assert spool.ledger()["a"] == Ledger(accepted=40, delivered=28, dead=12)
        assert spool.depth("a") == Depth(0, 0)
        assert "12 stored events" not in caplog.text
        assert caplog.text.count("stored events are damaged") == 3
        if where == "in the file only":
            assert {one for one in range(40) if receipts[one].told["a"].kind == "dead"} == lost
        await spool.append([record("new")], [])
        assert ids(await take(spool)) == ["new"]
    finally:
        await spool.close()


async def test_a_row_whose_pages_are_broken_costs_itself_only(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself cannot read it: neither leasing, nor forgetting, nor closing trips over it."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        for one in range(6):
            await spool.append([record(str(one), body=b"%d" % one * 50_000)], [])
        await die(spool)
        with broken_into(tmp_path) as db:
            size = int(db.execute("PRAGMA page_size").fetchone()[0])
        data = bytearray((tmp_path / "events.db").read_bytes())
        at = [start for start in range(0, len(data), size) if b"3" * 2_000 in data[start : start + size]][4]
        data[at : at + 4] = b"\xff" * 4  # where the next page of it is said to be
        (tmp_path / "events.db").write_bytes(data)
    monkeypatch.setattr("capi_async.spool.sqlite.database.CHECKED_BYTES", 0)  # as if it were too long to be read whole
    async with opened(sqlite(tmp_path, clock)) as again:
        assert await again.settle_matching(lambda one: one.event_id == "5", FORGOTTEN) == {"a": 1}
        assert await drained(again) == ["0", "1", "2", "4"]
        assert again.ledger()["a"] == Ledger(accepted=6, delivered=4, forgotten=1, dead=1)
        assert again.depth("a") == Depth(0, 0)


async def test_a_bit_that_turns_bytes_into_a_text_costs_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """The bytes are all there."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("1", body=b"\xff\xfe"), record("2")], [])
        await spool.settle(await take(spool, limit=1), [DELIVERED])
    with broken_into(tmp_path) as db:
        db.execute("UPDATE body SET data = CAST(data AS TEXT)")
        db.execute("UPDATE chunk SET state = CAST(state AS TEXT)")
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert ids(await take(spool)) == ["2"]


@pytest.mark.parametrize("left", [1, 2, 9, -1, 100_000, "x"])
async def test_damaged_counts_of_an_intact_row_are_mended(tmp_path: Path, clock: ManualClock, left: object) -> None:
    """The records say how many they are: none is lost, none stays pending for ever, the bound stays true."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record(str(one)) for one in range(4)], [])
        await spool.settle(await take(spool, limit=1), [DELIVERED])
    with broken_into(tmp_path) as db:
        db.execute('UPDATE chunk SET "left" = ?, size = 1', (left,))
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert await drained(spool) == ["1", "2", "3"]
        assert spool.ledger()["a"] == Ledger(accepted=4, delivered=4)
        assert spool.depth("a") == Depth(0, 0)


async def test_a_damaged_dead_letter_keeps_no_other_from_being_replayed(tmp_path: Path, clock: ManualClock) -> None:
    """It stays where it is; what stands behind it goes again."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record(str(one)) for one in range(5)], [])
        await spool.settle(await take(spool), [DEAD] * 5)
        with spool.store.transaction(sync=False) as db:
            db.execute("UPDATE letter SET data = zeroblob(40) WHERE event_id = '1'")
            db.execute("UPDATE letter SET data = 7 WHERE event_id = '3'")
        assert await spool.replay(LetterFilter()) == {"a": 3}
        assert ids(await take(spool)) == ["0", "2", "4"]
        assert spool.ledger()["a"] == Ledger(accepted=5, dead=2, pending=3)


@pytest.mark.parametrize("crash", [False, True])
async def test_what_no_request_carried_is_in_no_doubt(tmp_path: Path, clock: ManualClock, crash: bool) -> None:
    """Its neighbours in the same row were sent, or answered: of each it is known for itself."""
    first = sqlite(tmp_path, clock)
    await first.open(NAMES, lambda _name: None)
    await first.append([record(f"{one:02}") for one in range(20)], [])
    answered, under_way, handed_back = (
        await take(first, limit=3),
        await take(first, limit=2),
        await take(first, limit=2),
    )
    for batch in (answered, under_way, handed_back):
        await first.mark_attempted(batch)
        clock.now += 1
    for one in answered:
        one.attempts = 1
    await first.release(answered)
    await first.release(handed_back)  # before its first byte left
    if not crash:
        for one in under_way:
            one.attempts, one.uncertain_since = 1, NOW + 1_001
        await first.release(under_way)
    await first.append([record("1", "b")], [])  # with which the rest is written
    await (die(first) if crash else first.close())
    for _ in range(2):
        async with opened(sqlite(tmp_path, clock)) as spool:
            found = {one.event_id: (one.attempts, one.uncertain_since) for one in await take(spool)}
        assert found == {
            f"{one:02}": (1, 0.0) if one < 3 else (1, NOW + 1_001) if one < 5 else (0, 0.0) for one in range(20)
        }


async def test_what_an_attempt_that_could_not_be_noted_leaves_is_nothing(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage failed before the first byte: the records come again as never sent, also after a crash."""
    spool = sqlite(tmp_path, clock)
    await spool.open(NAMES, lambda _name: None)
    await spool.append([record("1"), record("2"), record("3", resend_for_s=0.0)], [])
    leased = await take(spool)
    with monkeypatch.context() as patched:
        patched.setattr("capi_async.spool.sqlite.store.add_to_ledger", lambda *_what: 1 / 0)
        with pytest.raises(Exception, match="storage failed"):
            await spool.mark_attempted(leased)
    await spool.release(leased)
    await spool.append([record("4")], [])
    await die(spool)
    async with opened(sqlite(tmp_path, clock)) as again:
        assert [(one.event_id, one.attempts, one.uncertain_since) for one in await take(again)] == [
            (name, 0, 0.0) for name in "1234"
        ]


def test_every_flipped_bit_of_what_happened_is_noticed() -> None:
    """Also in the byte that says that there is a checksum."""
    state = State(b"\x05", [Fate(1, 2, 3, 1, 0.0, 4.5, 1.0)])
    data = encode_state(state)
    assert msgspec.structs.astuple(decode_state(data)) == msgspec.structs.astuple(state)
    runs = encode_runs([(0, 3, 1.5)])
    assert decode_runs(runs) == [(0, 3, 1.5)]
    for whole, read in ((data, decode_state), (runs, decode_runs)):
        for bit in range(len(whole) * 8):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DamagedChunk):
                read(bytes(flipped))


def test_what_earlier_releases_noted_is_read_without_a_checksum() -> None:
    """And is known to have none."""
    old = msgspec.msgpack.encode(State(b"\x01", []))
    assert decode_state(old).settled == b"\x01"
    assert not has_checksum(old)
    assert has_checksum(encode_state(State(b"", [])))
