"""A damaged file: what can be read goes on in a new one, the rest is counted and told, and the original stays."""

from __future__ import annotations

import base64
import logging
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from capi_async.errors import ConfigError, SpoolError
from capi_async.spool.base import LetterFilter
from capi_async.spool.sqlite import salvage
from capi_async.testing import ManualClock
from tests.spool.harness import DEAD, DELIVERED, FORGOTTEN, NAMES, ids, new_clock, opened, record, sqlite, take

PAGE = 4096
#: So many events are stored one by one; each body takes most of a page.
EVENTS = 60


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


async def fill(path: Path, clock: ManualClock, query: str = "") -> None:
    """A file whose tables all have something, most of them on several pages; closed in order."""
    async with opened(sqlite(path, clock, f"?remember_days=7{query}")) as spool:
        await spool.append([record(f"d{number}") for number in range(3)], [])
        await spool.settle(await take(spool), [DEAD] * 3)
        for number in range(EVENTS):
            key = "k" if number % 10 == 0 else None
            await spool.append([record(f"{number:03}", body=b"%03d" % number * 1_000, order_key=key)], [])
        await spool.append([record("b1", "b"), record("b2", "b")], [])
        await spool.settle((await take(spool, "b"))[:1], [DELIVERED])


def pages(path: Path, name: str) -> list[int]:
    """Numbers of the pages that hold a table or an index, roots first; overflow pages are left out."""
    with closing(sqlite3.connect(path / "events.db")) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    content = (path / "events.db").read_bytes()
    found, todo = [], [root]
    while todo:
        page = todo.pop(0)
        found.append(page)
        start = (page - 1) * PAGE
        head = content[start : start + 12]
        if head[0] in (2, 5):
            cells = int.from_bytes(head[3:5], "big")
            for cell in range(cells):
                at = start + int.from_bytes(content[start + 12 + 2 * cell : start + 14 + 2 * cell], "big")
                todo.append(int.from_bytes(content[at : at + 4], "big"))
            todo.append(int.from_bytes(head[8:12], "big"))
    return found


def smash(path: Path, *numbers: int) -> bytes:
    """Fill pages with what is none; the file as it is then."""
    file = path / "events.db"
    content = bytearray(file.read_bytes())
    for number in numbers:
        start = (number - 1) * PAGE + (100 if number == 1 else 0)
        content[start : number * PAGE] = b"\xee" * (number * PAGE - start)
    file.write_bytes(content)
    return bytes(content)


async def after(path: Path, clock: ManualClock, broken: bytes, query: str = "") -> tuple[list[str], int, int]:
    """Open it: the events given out, the dead letters, and the events counted as dead beyond them.

    Whatever was lost: the damaged file is kept as it was, the counts balance, and the new file is whole and works.
    """
    async with opened(sqlite(path, clock, f"?remember_days=7{query}")) as spool:
        (kept,) = [file for file in path.glob("events.db.corrupt-*") if not file.name.endswith("-wal")]
        assert kept.read_bytes() == broken
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert not [file for file in path.iterdir() if "-salvag" in file.name]
        out: list[str] = []
        for name in NAMES:
            while leased := await take(spool, name, limit=64):
                out += ids(leased)
                await spool.settle(leased, [DELIVERED] * len(leased))
        letters = len(await spool.letters(LetterFilter()))
        ledger = spool.ledger()
        assert all(one.balanced and not one.pending for one in ledger.values())
        await spool.append([record("new")], [])
        assert ids(await take(spool)) == ["new"]
    with closing(sqlite3.connect(path / "events.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return sorted(out), letters, sum(one.dead for one in ledger.values()) - letters


ALL = [f"{number:03}" for number in range(EVENTS)]


@pytest.mark.parametrize("which", [[0.0], [0.5], [1.0], [0.2, 0.4, 0.8], [0.3, 0.31, 0.32, 0.7]])
async def test_broken_pages_cost_the_events_on_them(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, which: list[float]
) -> None:
    """At the beginning, in the middle, at the end, at several places; all others go on, and their number is said."""
    await fill(tmp_path, clock)
    leaves = pages(tmp_path, "body")[1:]
    broken = smash(tmp_path, *{leaves[int(part * (len(leaves) - 1))] for part in which})
    out, letters, lost = await after(tmp_path, clock, broken)
    assert out == [one for one in [*ALL, "b2"] if one in out]
    assert len(out) == EVENTS + 1 - lost
    assert 0 < lost < 40
    assert letters == 3
    assert f"{EVENTS + 1 - lost} events and 3 dead letters were saved and go on in a new file" in caplog.text
    assert f"{lost} events and 0 dead letters cannot be read: those events count as dead" in caplog.text


@pytest.mark.parametrize("name", ["chunk_line", "order_key", "order_key_chunk", "letter_line", "stop_chunk", "owner"])
async def test_a_broken_index_costs_nothing(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """It is made again from the rows, order keys included."""
    await fill(tmp_path, clock)
    broken = smash(tmp_path, *pages(tmp_path, name))
    assert await after(tmp_path, clock, broken) == ([*ALL, "b2"], 3, 0)
    assert f"{EVENTS + 1} events and 3 dead letters were saved" in caplog.text
    assert "cannot be read" not in caplog.text


async def test_order_is_kept_where_its_table_was_broken(tmp_path: Path, clock: ManualClock) -> None:
    """An event whose order key has an older one waits for it."""
    await fill(tmp_path, clock)
    smash(tmp_path, *pages(tmp_path, "order_key"))
    async with opened(sqlite(tmp_path, clock)) as spool:
        keyed = [one for one in await take(spool, limit=1_000, max_bytes=1 << 30) if one.order_key]
        assert ids(keyed) == ["000"]


async def test_a_broken_table_of_tables_costs_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """The tables lie where they lie in every spool file."""
    await fill(tmp_path, clock)
    broken = smash(tmp_path, 1)
    out, letters, lost = await after(tmp_path, clock, broken)
    assert (out, letters, lost) == ([*ALL, "b2"], 3, 0)


@pytest.mark.parametrize("name", ["ledger", "sqlite_sequence"])
async def test_counts_begin_anew_where_they_cannot_be_read(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """All that is stored goes on; no number of a row is given a second time."""
    await fill(tmp_path, clock)
    with closing(sqlite3.connect(tmp_path / "events.db")) as db:
        (last,) = db.execute("SELECT max(id) FROM chunk").fetchone()
    broken = smash(tmp_path, *pages(tmp_path, name))
    assert await after(tmp_path, clock, broken) == ([*ALL, "b2"], 3, 0)
    with closing(sqlite3.connect(tmp_path / "events.db")) as db:
        assert db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()[0] > last
    assert ("the ledger could not be read" in caplog.text) == (name == "ledger")


@pytest.mark.parametrize("name", ["letter", "accepted", "chunk"])
async def test_other_tables_cost_themselves(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Dead letters, remembered ids, and what is known of stored events."""
    await fill(tmp_path, clock)
    broken = smash(tmp_path, pages(tmp_path, name)[-1])
    out, letters, lost = await after(tmp_path, clock, broken)
    if name == "chunk":
        assert len(out) == EVENTS + 1 - lost < EVENTS + 1
        assert re.search(rf"{lost} events and 0 dead letters cannot be read", caplog.text)
    else:
        assert out == [*ALL, "b2"]
    assert letters == (0 if name == "letter" else 3)
    assert ("not all" in caplog.text) == (name == "accepted")


@pytest.mark.parametrize("part", [0.9, 0.6, 0.3])
async def test_a_truncated_file_gives_what_is_left_of_it(tmp_path: Path, clock: ManualClock, part: float) -> None:
    """However much of it was cut off, if the tables begin in what is left."""
    await fill(tmp_path, clock)
    file = tmp_path / "events.db"
    content = file.read_bytes()[: int(file.stat().st_size * part) // 1_000 * 1_000]
    file.write_bytes(content)
    out, _letters, lost = await after(tmp_path, clock, content)
    assert out == [one for one in [*ALL, "b2"] if one in out]
    assert len(out) == EVENTS + 1 - lost
    assert 0 < lost < EVENTS


async def test_what_stands_in_the_log_is_saved_too(tmp_path: Path, clock: ManualClock) -> None:
    """A process that was killed leaves its last events there."""
    await fill(tmp_path, clock)
    index = pages(tmp_path, "letter_line")
    other = tmp_path / "copy"
    other.mkdir()
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record("last")], [])
        for side in ("", "-wal"):
            (other / f"events.db{side}").write_bytes((tmp_path / f"events.db{side}").read_bytes())
            (other / f"events.db{side}").chmod(0o600)
    assert (other / "events.db-wal").stat().st_size > 0
    smash(other, *index)
    async with opened(sqlite(other, clock)) as spool:
        assert spool.depth("a").events == EVENTS + 1
    assert list(other.glob("events.db.corrupt-*"))


async def test_what_was_settled_or_forgotten_does_not_come_back(tmp_path: Path, clock: ManualClock) -> None:
    """Single records of a row, and whole rows whose pages are free by now."""
    async with opened(sqlite(tmp_path, clock)) as spool:
        await spool.append([record(str(number), body=b"%d" % number * 900) for number in range(40)], [])
        leased = await take(spool)
        await spool.settle(leased[::2], [DELIVERED] * 20)
        await spool.release(leased[1::2])
        await spool.append([record("her", body=b"her" * 900)], [])
        assert await spool.settle_matching(lambda one: one.event_id == "her", FORGOTTEN) == {"a": 1}
    smash(tmp_path, *pages(tmp_path, "letter_line"))
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert sorted(map(int, ids(await take(spool)))) == list(range(1, 40, 2))
        assert (spool.ledger()["a"].delivered, spool.ledger()["a"].forgotten) == (20, 1)


async def test_encrypted_events_are_saved_as_they_are(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound to the same rows; without their key the file is left as it is."""
    monkeypatch.setenv("SPOOL_KEYS", base64.urlsafe_b64encode(bytes(32)).decode())
    monkeypatch.setenv("OTHER_KEYS", base64.urlsafe_b64encode(bytes(range(32))).decode())
    await fill(tmp_path, clock, "&keys=env:SPOOL_KEYS")
    broken = smash(tmp_path, *pages(tmp_path, "letter_line"))
    with pytest.raises(ConfigError, match="key that is not among"):
        await sqlite(tmp_path, clock, "?keys=env:OTHER_KEYS").open(NAMES, lambda _name: None)
    assert (tmp_path / "events.db").read_bytes() == broken
    assert await after(tmp_path, clock, broken, "&keys=env:SPOOL_KEYS") == ([*ALL, "b2"], 3, 0)


async def test_a_damaged_file_is_left_to_those_who_use_it(tmp_path: Path, clock: ManualClock) -> None:
    """Taking it away would take from them what they have accepted."""
    await fill(tmp_path, clock)
    index = pages(tmp_path, "letter_line")
    async with opened(sqlite(tmp_path, clock)) as first:
        broken = smash(tmp_path, *index)
        with pytest.raises(SpoolError, match="other processes use it"):
            await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
        assert (tmp_path / "events.db").read_bytes()[-PAGE:] == broken[-PAGE:]
        assert not list(tmp_path.glob("*corrupt*"))
        await first.settle(await take(first, limit=1), [DELIVERED])


@pytest.mark.parametrize("moment", ["_copy", "_save", "_keep", "finish"])
async def test_a_start_that_ends_in_the_middle_is_gone_on_with(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whatever ends it: the next start finds the damaged file, or the whole new one."""
    await fill(tmp_path, clock)
    smash(tmp_path, *pages(tmp_path, "letter_line"))
    do: Callable[..., object] = getattr(salvage, moment)

    class Killed(BaseException):
        pass

    def end(*arguments: object) -> object:
        if moment == "finish" and not (tmp_path / "events.db-salvaged").exists():
            return do(*arguments)
        if moment != "finish":
            do(*arguments)
        raise Killed

    monkeypatch.setattr(salvage, moment, end)
    with pytest.raises(Killed):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    monkeypatch.setattr(salvage, moment, do)
    async with opened(sqlite(tmp_path, clock)) as spool:
        assert ids(await take(spool, limit=1_000, max_bytes=1 << 30))[0] == "000"
        assert spool.ledger()["a"].pending == EVENTS
    assert list(tmp_path.glob("events.db.corrupt-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a file away")
async def test_a_new_file_that_somebody_else_has_put_there_is_not_used(tmp_path: Path, clock: ManualClock) -> None:
    """It would become the spool."""
    await fill(tmp_path, clock)
    planted = tmp_path / "events.db-salvaged"
    planted.write_bytes((tmp_path / "events.db").read_bytes())
    os.chown(planted, 65534, 65534)
    with pytest.raises(SpoolError, match="belongs to another user"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)


async def test_a_full_volume_leaves_the_damaged_file_as_it_is(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and what helps."""
    await fill(tmp_path, clock)
    broken = smash(tmp_path, *pages(tmp_path, "letter_line"))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(salvage, "_copy_one", full)
    with caplog.at_level(logging.ERROR), pytest.raises(SpoolError, match="see that there is space"):
        await sqlite(tmp_path, clock).open(NAMES, lambda _name: None)
    assert (tmp_path / "events.db").read_bytes() == broken
    assert not [file for file in tmp_path.iterdir() if "salvag" in file.name or "corrupt" in file.name]
