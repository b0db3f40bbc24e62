"""A damaged spool file is read row by row, and what can be read goes on in a new file in its place.

Nothing is written to the damaged file: it stays, under another name. The new file comes into its place in one step, so
that the next start finds the one or the other, also if the process is killed meanwhile.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from capi_async.errors import SpoolError
from capi_async.files import aside_name, create_private, refuse_planted, sync_directory
from capi_async.outcome import OUTCOME_KINDS
from capi_async.spool.base import KEPT, Record, size_of
from capi_async.spool.chunks import DamagedChunk, decode_state, is_set
from capi_async.spool.sqlite import kept_ids, schema
from capi_async.spool.sqlite.schema import is_of_row, key_number, read_one

logger = logging.getLogger(__name__)

#: Bytes of a database's header, in front of the table of tables.
_HEADER: Final = 100
_LARGEST: Final = (1 << 63) - 1

#: So many numbers may have been given beyond the last that can be read.
_UNSEEN: Final = 1 << 20
#: Looks into the gaps of a table, at most.
_PROBES: Final = 20_000
#: Event ids that are remembered at a time.
_A_TURN: Final = 1_000

#: How many of the tables that no spool lacks a file knows.
_KNOWN: Final = "SELECT count(*) FROM sqlite_master WHERE name IN ('chunk', 'body', 'ledger', 'letter')"

#: Tables in words.
_NAMES: Final = {
    "stop": "what is to be forgotten", "damaged": "what was damaged before", "accepted": "the remembered event ids",
}  # fmt: skip

#: Destination, row, name of the key, and bytes of stored records to those records.
Decode = Callable[[str, int, str, bytes], Sequence[Record]]

#: Kinds in the ledger, apart from the bytes of what is pending.
_KINDS: Final = ("accepted", *OUTCOME_KINDS)


class NothingReadable(Exception):
    """Nothing can be read of the file."""


class Saved(Struct):
    """What was read, and what was not.

    Attributes:
        events: Events that wait, which go on in the new file.
        letters: Dead letters.
        lost: Events that the ledger counts as pending and that cannot be read.
        lost_letters: Dead letters that are in the file and cannot be read.
        lost_rows: Rows of which it is not known how many events they hold.
        ledger: Whether the ledger could be read.
        other: Names of what else could not be read whole.
    """

    events: int = 0
    letters: int = 0
    lost: int = 0
    lost_letters: int = 0
    lost_rows: int = 0
    ledger: bool = True
    other: tuple[str, ...] = ()

    def sentence(self) -> str:
        """For people."""
        parts = [f"{self.events} events and {self.letters} dead letters were saved and go on in a new file"]
        if self.lost or self.lost_letters or self.lost_rows:
            lost = f"{self.lost} events" if self.ledger else f"the events of {self.lost_rows} rows"
            parts.append(
                f"{lost} and {self.lost_letters} dead letters cannot be read"
                + (": those events count as dead" if self.lost else "")
            )
        if not self.ledger:
            parts.append("the ledger could not be read and begins anew with what was saved")
        if self.other:
            parts.append(f"what could be read of {', '.join(self.other)} was saved, and not all can")
        return "; ".join(parts)


def salvage(path: Path, error: BaseException, decode: Decode, *, busy_s: float) -> None:
    """Put what can be read of a damaged file into a new one in its place; call it while holding the writers' lock.

    Raises:
        NothingReadable: Nothing can be read; the file is as it was.
        SpoolError: There is no space for it, or no permission; the file is as it was.
    """
    work, new = _beside(path, "-salvage"), _beside(path, "-salvaging")
    try:
        _remove(work)
        _remove(new)
        try:
            _copy(path, work)
            saved = _save(work, new, decode, busy_s)
        finally:
            _remove(work)
        target = _keep(path)
        new.rename(_beside(path, "-salvaged"))
        finish(path)
    except (OSError, sqlite3.Error) as failure:
        with suppress(OSError):
            _remove(new)
        said = failure.strerror if isinstance(failure, OSError) else failure
        raise SpoolError(
            f"{path} is damaged ({error}), and what can be read cannot be written into a new file ({said}); it was "
            "left as it is: see that there is space for a copy of it, and start again"
        ) from failure
    except NothingReadable:
        _remove(new)
        raise
    logger.error(
        "spool: %s is damaged (%s): %s; the damaged file is kept as %s: see to the disk, and delete it when nobody "
        "needs it any more", path, error, saved.sentence(), target,
        extra={"path": str(path), "kept": str(target), "events": saved.events, "lost": saved.lost},
    )  # fmt: skip


def finish(path: Path) -> None:
    """Put a new file that is whole in the place of the damaged one, which is kept by now.

    Raises:
        SpoolError: Somebody else made it.
        OSError: It cannot be done.
    """
    whole = _beside(path, "-salvaged")
    if not whole.exists():
        return
    refuse_planted(whole)
    # first, because it would be taken for the new file's
    for side in ("-wal", "-shm"):
        _beside(path, side).unlink(missing_ok=True)
    whole.replace(path)
    sync_directory(path.parent)


def _keep(path: Path) -> Path:
    target = aside_name(path)
    for side in ("", "-wal"):
        old, kept = _beside(path, side), _beside(target, side)
        if old.exists():
            try:
                os.link(old, kept)
            except OSError:  # the file system knows no second name for a file
                _copy_one(old, kept)
            kept.chmod(0o600)
    sync_directory(path.parent)
    return target


def _copy(path: Path, work: Path) -> None:
    """A copy that may be changed, as long as its header says that it is."""
    for side in ("", "-wal"):
        if _beside(path, side).exists():
            _copy_one(_beside(path, side), _beside(work, side))
    with work.open("r+b") as file:
        head = file.read(_HEADER)
        page_bytes, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        size = work.stat().st_size
        if size < page_bytes * pages <= max(64 * size, 1 << 30):
            file.truncate(page_bytes * pages)  # cut off: what is missing reads as broken pages, and not as no database


def _copy_one(old: Path, new: Path) -> None:
    create_private(new)
    shutil.copyfile(old, new)


def _remove(path: Path) -> None:
    for side in ("", "-wal", "-shm", "-journal"):
        _beside(path, side).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _save(work: Path, new: Path, decode: Decode, busy_s: float) -> Saved:
    with closing(schema.connect(new, busy_s=busy_s)) as target:
        target.execute("PRAGMA synchronous = FULL")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with closing(_readable(work, new)) as source:
            target.execute("BEGIN IMMEDIATE")
            saved = _Salvage(source, target, decode).run()
            target.execute("COMMIT")
    with new.open("rb") as file:
        os.fsync(file.fileno())
    return saved


def _readable(work: Path, new: Path) -> sqlite3.Connection:
    """A connection to the damaged copy whose tables are known."""
    db = sqlite3.connect(work, isolation_level=None)
    try:
        try:
            if db.execute(_KNOWN).fetchone()[0] == 4:
                return db
        except sqlite3.Error as error:
            if not schema.is_damage(error) and "malformed" not in str(error):
                raise
        db.close()
        _transplant(work, new)
        db = sqlite3.connect(work, isolation_level=None)
        if db.execute(_KNOWN).fetchone()[0] != 4:
            db.close()
            raise NothingReadable("the table of tables")
    except sqlite3.Error as error:
        db.close()
        raise NothingReadable(str(error)) from error
    return db


def _transplant(work: Path, new: Path) -> None:
    """Give a file whose table of tables is broken that of a new one: both have the same tables at the same pages."""
    with new.open("rb") as whole, work.open("r+b") as broken:
        size = int.from_bytes(whole.read(_HEADER)[16:18], "big")
        broken.seek(_HEADER)
        broken.write(whole.read(size - _HEADER))


class _Salvage:
    """Reads all tables of one file, and writes what they give into another."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection, decode: Decode) -> None:
        self._source = source
        self._target = target
        self._decode = decode
        self._saved = Saved()
        self._pending: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._letters: Counter[tuple[str, str]] = Counter()
        self._broken: list[str] = []
        self._torn: set[str] = set()
        self._found = False
        #: The last number given, per table: none is given twice.
        self._last: dict[str, int] = {}
        self._tried = "NULL"

    def run(self) -> Saved:
        """Everything.

        Raises:
            NothingReadable: There is nothing.
        """
        columns = {row[1] for row in self._source.execute("PRAGMA table_info(chunk)")}
        self._tried = "CAST(tried AS BLOB)" if "tried" in columns else "NULL"
        self._last = {table: self._sequence(table) for table in ("chunk", "letter", "owner", "stop")}
        self._chunks()
        self._dead_letters()
        self._rows("stop", "id, chunk, CAST(mask AS BLOB), CAST(outcome AS BLOB), at, stopped, under_way", _is_stop)
        self._rows("damaged", "id, destination, at, CAST(data AS BLOB)", _is_damaged)
        self._remembered()
        self._ledger()
        self._write_sequences()
        if not self._found:
            raise NothingReadable("no row can be read")
        saved = self._saved
        saved.events, saved.letters = self._pending.total(), self._letters.total()
        saved.other = tuple(self._broken)
        return saved

    def _chunks(self) -> None:
        # a row whose own page is broken is still in the index, and is counted as lost
        indexed = self._run("SELECT id FROM chunk INDEXED BY chunk_line ORDER BY owner, destination, id", ())
        indexed += self._run(
            "SELECT id FROM chunk INDEXED BY chunk_line ORDER BY owner DESC, destination DESC, id DESC", ()
        )
        known = self._walk("chunk", max((number for (number,) in indexed), default=0))
        for number in sorted(known | {number for (number,) in indexed if isinstance(number, int)}):
            self._see("chunk", number)
            try:
                destination, left, size = self._chunk(number)
            except (DamagedChunk, ValueError, sqlite3.IntegrityError):
                self._saved.lost_rows += 1
            else:
                self._found = True
                self._pending[destination] += left
                self._bytes[destination] += size

    def _chunk(self, number: int) -> tuple[str, int, int]:
        """Copy one chunk; its destination, unsettled records, and their bytes.

        Raises:
            DamagedChunk, ValueError: It cannot be read.
        """
        row = read_one(
            self._source,
            'SELECT destination, "left", size, attempted_at, keyed, sealed, CAST(state AS BLOB),'  # noqa: S608
            f" {self._tried}, (SELECT CAST(data AS BLOB) FROM body WHERE body.id = chunk.id)"
            " FROM chunk NOT INDEXED WHERE id = ?",
            (number,),
        )
        if row is None or not isinstance(row[8], bytes):
            raise DamagedChunk("missing")
        destination, left, size, attempted_at, keyed, sealed, state, tried, data = row
        if not (isinstance(destination, str) and isinstance(attempted_at, float | int) and isinstance(sealed, str)):
            raise DamagedChunk("form")
        records = self._decode(destination, number, sealed, data)
        settled = decode_state(state).settled
        held = [record for at, record in enumerate(records) if record.event_id and not is_set(settled, at)]
        left, size = len(held), size_of(held)
        if not held:
            raise DamagedChunk("settled")
        self._target.execute(
            'INSERT INTO chunk (id, destination, owner, "left", size, attempted_at, keyed, sealed, state, tried)'
            " VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            (number, destination, left, size, attempted_at, bool(keyed), sealed, state, tried),
        )
        self._target.execute("INSERT INTO body (id, data) VALUES (?, ?)", (number, data))
        # not read from their own table, which may be incomplete
        keys = {key_number(record.order_key) for record in held if record.order_key is not None}
        self._target.executemany(
            "INSERT INTO order_key (destination, key, chunk) VALUES (?, ?, ?)",
            [(destination, key, number) for key in keys],
        )
        return destination, left, size

    def _dead_letters(self) -> None:
        for number in sorted(self._walk("letter", 0)):
            self._see("letter", number)
            try:
                row = read_one(
                    self._source,
                    "SELECT id, destination, kind, event_id, reason, at, size, sealed, CAST(data AS BLOB)"
                    " FROM letter NOT INDEXED WHERE id = ?",
                    (number,),
                )
            except DamagedChunk:
                row = None
            if row is None or not _is_letter(row):
                self._saved.lost_letters += 1
                continue
            self._target.execute("INSERT INTO letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            self._letters[row[1], row[2]] += 1
            self._found = True

    def _rows(self, table: str, columns: str, is_row: Callable[[Any], bool]) -> None:
        """Copy what can be read of a table that is numbered; a file of an earlier form may not have it."""
        if not self._has(table):
            return
        whole = True
        for number in sorted(self._walk(table, 0)):
            self._see(table, number)
            try:
                row = read_one(self._source, f"SELECT {columns} FROM {table} NOT INDEXED WHERE id = ?", (number,))  # noqa: S608
            except DamagedChunk:
                row = None
            if row is None or not is_row(row):
                whole = False
                continue
            self._target.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        if not whole or table in self._torn:
            self._broken.append(_NAMES[table])

    def _remembered(self) -> None:
        if not self._has("accepted"):
            return
        query = "SELECT event_id, at FROM accepted ORDER BY event_id"
        rows = self._run(query, (), table="accepted")
        if "accepted" in self._torn:
            self._broken.append(_NAMES["accepted"])
            rows += self._run(f"{query} DESC", ())
        for start in range(0, len(rows), _A_TURN):
            found = {one: at for one, at in rows[start : start + _A_TURN] if isinstance(one, str) and _is_time(at)}
            kept_ids.add_accepted_at(self._target, found)

    def _ledger(self) -> None:
        """Write counts that balance: what cannot be read any more counts as dead."""
        query = "SELECT destination, kind, n FROM ledger ORDER BY destination, kind"
        rows = self._run(query, (), table="ledger")
        if "ledger" in self._torn:
            self._saved.ledger = False
            rows += self._run("SELECT destination, kind, n FROM ledger ORDER BY destination DESC, kind DESC", ())
        counts: dict[str, dict[str, int]] = {}
        for destination, kind, number in rows:
            if isinstance(destination, str) and kind in (*_KINDS, "pending") and isinstance(number, int):
                counts.setdefault(destination, {})[kind] = max(0, number)
        self._found = self._found or bool(counts)
        for destination in {*counts, *self._pending, *(name for name, _kind in self._letters)}:
            known = counts.setdefault(destination, {})
            for kind in KEPT:
                known[kind] = max(known.get(kind, 0), self._letters[destination, kind])
            lost = max(0, known.get("pending", 0) - self._pending[destination])
            self._saved.lost += lost
            known["dead"] += lost
            known["pending"] = self._pending[destination]
            known["bytes"] = self._bytes[destination]
            known["accepted"] = sum(number for kind, number in known.items() if kind not in ("accepted", "bytes"))
            self._target.executemany(
                "INSERT INTO ledger (destination, kind, n) VALUES (?, ?, ?)",
                [(destination, kind, number) for kind, number in known.items() if number],
            )

    def _sequence(self, table: str) -> int:
        found = self._run("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        return found[0][0] if found and isinstance(found[0][0], int) else 0

    def _see(self, table: str, number: int) -> None:
        if table in self._last and number > self._last[table]:
            # the last number given cannot be read: higher ones may have been given, and their rows settled
            self._last[table] = number + _UNSEEN

    def _write_sequences(self) -> None:
        for table, last in self._last.items():
            self._target.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            self._target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))

    def _has(self, table: str) -> bool:
        found = self._source.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return found.fetchone() is not None

    # Reading past broken pages.

    def _run(self, query: str, values: Sequence[Any], *, table: str = "") -> list[Any]:
        """Rows up to the first broken page; if there is one, the table is noted as torn."""
        rows: list[Any] = []
        try:
            for row in self._source.execute(query, values):
                rows.append(row)  # noqa: PERF402 - what was read before an error is kept
        except sqlite3.Error as error:
            if not is_of_row(error):
                raise
            self._torn.add(table)
        return rows

    def _walk(self, table: str, at_least: int) -> set[int]:
        """Numbers of all rows that can be reached: from below, from above, and between broken pages."""
        up = f"SELECT id FROM {table} NOT INDEXED WHERE id > ? AND id < ? ORDER BY id"  # noqa: S608
        down = f"{up} DESC"
        found, torn = self._ids(up, 0, _LARGEST)
        if not torn:
            return set(found)
        self._torn.add(table)
        low = found[-1] if found else 0
        above, torn = self._ids(down, low, _LARGEST)
        if torn:
            high = above[-1] if above else max(at_least, self._last.get(table, 0), low + _UNSEEN) + 1
            gaps = [(low, high)]
            for _ in range(_PROBES):
                if not gaps:
                    break
                low, high = gaps.pop()
                if high - low <= 1:
                    continue
                middle = (low + high) // 2
                some, torn = self._ids(up, middle - 1, high)
                if torn:
                    gaps.append((some[-1] if some else middle, high))
                below, torn = self._ids(down, low, middle)
                if torn:
                    gaps.append((low, below[-1] if below else middle))
                above += some + below
        return {*found, *above}

    def _ids(self, query: str, low: int, high: int) -> tuple[list[int], bool]:
        """Numbers between these two, as far as they can be read one after the other; and whether a page is broken."""
        found: list[int] = []
        try:
            for (number,) in self._source.execute(query, (low, high)):
                found.append(number)
        except sqlite3.Error as error:
            if not is_of_row(error):
                raise
            return found, True
        return found, False


def _is_time(value: Any) -> bool:
    return isinstance(value, float | int)


def _is_letter(row: Sequence[Any]) -> bool:
    return (
        all(isinstance(row[at], str) for at in (1, 2, 3, 4, 7))
        and row[2] in KEPT
        and _is_time(row[5])
        and isinstance(row[6], int)
        and isinstance(row[8], bytes)
    )


def _is_stop(row: Sequence[Any]) -> bool:
    return isinstance(row[1], int) and isinstance(row[2], bytes) and isinstance(row[3], bytes) and _is_time(row[4])


def _is_damaged(row: Sequence[Any]) -> bool:
    return isinstance(row[1], str) and _is_time(row[2])
