"""Rows of a spool file, each a chunk of records: as this process holds them, and as they are read from the file.

A row may be damaged. Reading it costs only its own events, whatever error SQLite or the disk reports: these count
as dead, and what is left of them is kept in the table ``damaged``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from capi_async.spool.base import Record, size_of
from capi_async.spool.chunks import (
    MAX_BYTES,
    MAX_RECORDS,
    DamagedChunk,
    HeldChunk,
    Run,
    decode,
    decode_runs,
    decode_state,
    has_checksum,
    restored,
)
from capi_async.spool.sealing import REPEATED
from capi_async.spool.sqlite.database import SpoolFile
from capi_async.spool.sqlite.schema import add_to_ledger, is_of_row, key_number, place_of, read_one

logger = logging.getLogger(__name__)


class Chunk(HeldChunk):
    """A row of records that this process holds.

    Attributes:
        id: Of the row; 0 until it is stored.
        tried: Runs of resendable records that a first request carried, or is about to, with the time of that.
        tried_changed: ``tried`` has changed since the last commit.
        touched: Something else happened to single records since the last commit.
        keyed: Some of its records have an order key.
        foreign: Order keys for which another process holds an older record, as last read from the file.
    """

    __slots__ = ("foreign", "id", "keyed", "touched", "tried", "tried_changed")

    def __init__(self, destination: str, records: list[Record | None], size: int) -> None:
        super().__init__(destination, records, size)
        self.id = 0
        self.tried: list[Run] = []
        self.tried_changed = False
        self.touched = False
        self.keyed = False
        self.foreign: frozenset[int] = frozenset()

    def note_request(self, start: int, stop: int, now: float) -> None:
        """Note that a first request is about to carry the records from index ``start`` to ``stop``."""
        last = self.tried[-1] if self.tried else None
        if last is not None and last[1] == start and last[2] == now:
            self.tried[-1] = (last[0], stop, now)
        else:
            self.tried.append((start, stop, now))
        self.tried_changed = True

    def unnote_request(self, at: int) -> None:
        """Note that no request carried this record after all."""
        runs: list[Run] = []
        for start, stop, since in self.tried:
            if start <= at < stop:
                self.tried_changed = True
                runs += [run for run in ((start, at, since), (at + 1, stop, since)) if run[0] < run[1]]
            else:
                runs.append((start, stop, since))
        self.tried = runs


def split(records: Sequence[Record]) -> Iterable[Chunk]:
    """New chunks of records of any destinations, in order."""
    by_destination: dict[str, list[Record]] = {}
    for record in records:
        mine = by_destination.get(record.destination)
        if mine is None:
            by_destination[record.destination] = [record]
        else:
            mine.append(record)
    for destination, mine in by_destination.items():
        start = size = 0
        for index, record in enumerate(mine):
            grown = size + len(record.body)
            if index > start and (index - start >= MAX_RECORDS or grown > MAX_BYTES):
                yield _chunk(destination, mine[start:index], size)
                start, grown = index, len(record.body)
            size = grown
        yield _chunk(destination, mine[start:], size)


def _chunk(destination: str, records: list[Record], size: int) -> Chunk:
    chunk = Chunk(destination, list(records), size)
    for index, record in enumerate(records):
        record.chunk = chunk
        record.at = index
        if record.order_key is not None:
            chunk.keyed = True
    return chunk


class Stored(Struct, gc=False):
    """A chunk as stored in the file."""

    destination: str
    attempted_at: float
    tried: bytes | None
    keyed: bool
    sealed: str
    state: bytes | None
    data: bytes


def read_stored(db: sqlite3.Connection, number: int) -> Stored:
    """Read a chunk as stored in the file.

    Raises:
        DamagedChunk: Some of it is missing, or cannot be read.
    """
    # cast: one wrong bit in a row's header makes a text of bytes, which are intact nevertheless
    row = read_one(
        db,
        "SELECT destination, attempted_at, CAST(tried AS BLOB), keyed, sealed, CAST(state AS BLOB), CAST(data AS BLOB)"
        " FROM chunk LEFT JOIN body USING (id) WHERE chunk.id = ?",
        (number,),
    )
    if row is None or row[6] is None:
        raise DamagedChunk("missing")
    destination, attempted_at, tried, keyed, sealed, state, data = row
    if not (isinstance(destination, str) and isinstance(attempted_at, float | int) and isinstance(sealed, str)):
        raise DamagedChunk("form")
    return Stored(destination, float(attempted_at), tried, bool(keyed), sealed, state, data)


def read_counts(db: sqlite3.Connection, number: int) -> tuple[int, int] | None:
    """Unsettled records of a chunk, and bytes of their bodies; ``None`` if they cannot be read."""
    try:
        row = read_one(db, 'SELECT "left", size FROM chunk WHERE id = ?', (number,))
    except DamagedChunk:
        return None
    if row is None:
        return None
    left, size = row
    return (left, size) if _is_count(left) and 0 < left <= MAX_RECORDS and _is_count(size) else None


def missing_counts(db: sqlite3.Connection, destination: str, number: int) -> tuple[int, int]:
    """What the ledger counts as pending and no other chunk holds: the share of one whose counts cannot be read."""
    pending = dict(
        db.execute("SELECT kind, n FROM ledger WHERE destination = ? AND kind IN ('pending', 'bytes')", (destination,))
    )
    left, size = pending.get("pending", 0), pending.get("bytes", 0)
    sharing = 1
    for (other,) in db.execute(
        "SELECT id FROM chunk INDEXED BY chunk_line WHERE destination = ? AND id <> ?", (destination, number)
    ).fetchall():
        if (one := read_counts(db, other)) is None:
            sharing += 1
        else:
            left, size = left - one[0], size - one[1]
    return max(0, left) // sharing, max(0, size) // sharing


def read_remains(db: sqlite3.Connection, number: int) -> bytes | None:
    """What can still be read of a chunk's records."""
    try:
        row = read_one(db, "SELECT CAST(data AS BLOB) FROM body WHERE id = ?", (number,))
    except DamagedChunk:
        return None
    return None if row is None else row[0]


def remove_row(db: sqlite3.Connection, number: int, *, body: bool = True) -> bool:
    """Delete a row as far as that is possible; False if it stays. Call it within a transaction.

    Args:
        body: False for one whose pages are broken: its records stay, because freeing the pages would spread the
            damage, and nothing refers to them any more.
    """
    if body:
        _try(db, "DELETE FROM body WHERE id = ?", number)
    _try(db, "DELETE FROM order_key WHERE chunk = ?", number)
    return _try(db, "DELETE FROM chunk WHERE id = ?", number)


def _try(db: sqlite3.Connection, statement: str, number: int) -> bool:
    db.execute("SAVEPOINT row")
    try:
        db.execute(statement, (number,))
    except sqlite3.Error as error:
        if not db.in_transaction or not is_of_row(error):
            raise
        db.execute("ROLLBACK TO row")
        db.execute("RELEASE row")
        return False
    db.execute("RELEASE row")
    return True


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


class Loaded(Struct, gc=False):
    """Rows that were read back together.

    Attributes:
        chunks: Those that could be read.
        events, bytes: Unsettled records, and bytes of their bodies, in all these rows, as they were counted.
        last: Id of the last row; 0 if there was none.
        quarantined: Ids of those that could not be read: their events are dead.
    """

    chunks: list[Chunk]
    quarantined: list[int]
    events: int = 0
    bytes: int = 0
    last: int = 0


class _Miscounted(DamagedChunk):
    """The counts of a row do not agree with its records."""


class _Repeated(DamagedChunk):
    """A row that this process has settled is there again, though its events were not accepted a second time."""


class RowReader:
    """Reads chunks back from a spool file, and quarantines those that cannot be read."""

    def __init__(self, file: SpoolFile) -> None:
        self._file = file
        #: Rows that can be neither read nor removed.
        self._unreadable: set[int] = set()

    def counts_of(self, ids: Iterable[int], records: int, max_bytes: int) -> dict[int, tuple[int, int] | None]:
        """Rows up to about so much, with their unsettled records and bytes; ``None`` for one that cannot be read."""
        db = self._file.ready()
        counted: dict[int, tuple[int, int] | None] = {}
        events = size = 0
        for number in ids:
            if number in self._unreadable:
                continue
            one = read_counts(db, number) or self._repair_counts(number)
            if counted and (events >= records or size + (one[1] if one else 0) > max_bytes):
                break
            counted[number] = one
            if one is not None:
                events += one[0]
                size += one[1]
        return counted

    def _repair_counts(self, number: int) -> tuple[int, int] | None:
        """Counts of a row whose own are damaged, written again; ``None`` if its records cannot be read either."""
        try:
            row = read_stored(self._file.ready(), number)
            records = self.records_of(row, number)
            held = _restored_chunk(row.destination, records, row).unsettled()
        except (DamagedChunk, ValueError):
            return None
        if not held or not has_checksum(row.state):
            return None
        logger.warning(
            "spool: %s: the counts of stored events were damaged and were repaired", row.destination,
            extra={"destination": row.destination, "events": len(held)},
        )  # fmt: skip
        counts = len(held), size_of(held)
        with self._file.raw_transaction(sync=False) as db:
            db.execute('UPDATE chunk SET "left" = ?, size = ? WHERE id = ?', (*counts, number))
        return counts

    def read(self, destination: str, counted: Mapping[int, tuple[int, int] | None]) -> Loaded:
        """Read rows whose counts, as :meth:`counts_of` gave them, are these."""
        loaded = Loaded([], [])
        for number, one in counted.items():
            try:
                if one is None:
                    raise DamagedChunk("its counts")
                try:
                    chunk = self._read_row(destination, number, one)
                except _Miscounted:
                    true = self._repair_counts(number)
                    if true is None:
                        raise
                    chunk = self._read_row(destination, number, true)
            except (DamagedChunk, ValueError) as error:
                one = self._quarantine(destination, number, error)
                loaded.quarantined.append(number)
            else:
                loaded.chunks.append(chunk)
            loaded.events += one[0]
            loaded.bytes += one[1]
            loaded.last = number
        return loaded

    def _read_row(self, destination: str, number: int, counted: tuple[int, int]) -> Chunk:
        """A row whose counts are these.

        Raises:
            DamagedChunk, ValueError: It is not what was written.
        """
        db = self._file.ready()
        row = read_stored(db, number)
        if row.destination != destination:
            raise DamagedChunk("its destination")
        if self._file.sealing.is_repeated(number):
            raise _Repeated(REPEATED)
        records = self.records_of(row, number)
        chunk = _restored_chunk(destination, records, row)
        chunk.id, chunk.keyed = number, row.keyed
        if (chunk.left, chunk.size) != counted:
            raise _Miscounted("what is settled")
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in chunk.unsettled() if one.order_key}
            chunk.foreign = self.foreign_keys(db, chunk, number, keys)
        return chunk

    def records_of(self, row: Stored, number: int) -> list[Record]:
        """The records of a row.

        Raises:
            DamagedChunk, ValueError: It is not what was written.
        """
        return decode(row.destination, self._file.open_sealed(row.data, row.sealed, place_of(row.destination, number)))

    def _quarantine(self, destination: str, number: int, error: Exception) -> tuple[int, int]:
        """Move a chunk that cannot be read to the table ``damaged``, and count its events as dead; events, bytes."""
        db = self._file.ready()
        # before the transaction: one that has met a broken page cannot be ended
        data = read_remains(db, number)
        left, size = read_counts(db, number) or missing_counts(db, destination, number)
        gone = False
        try:
            with self._file.raw_transaction(sync=True) as db:
                gone = remove_row(db, number, body=data is not None)
                if gone:
                    db.execute(
                        "INSERT OR REPLACE INTO damaged (id, destination, at, data) VALUES (?, ?, ?, ?)",
                        (number, destination, self._file.wall(), data),
                    )
                    if not isinstance(error, _Repeated):
                        lost = {"pending": -left, "bytes": -size, "dead": left}
                        add_to_ledger(db, {(destination, kind): number for kind, number in lost.items()})
        except sqlite3.Error as failure:
            if not is_of_row(failure):
                raise
            gone = False
        if not gone:
            # it cannot even be deleted: it stays where it is, and is not read again
            self._unreadable.add(number)
        logger.error(
            "spool: %s: %d stored events %s%s",
            destination, left,
            f"are not sent: {error}" if isinstance(error, _Repeated)
            else f"are damaged ({error}) and cannot be sent; they count as dead",
            ", and what is left of them is in the table 'damaged' of the spool file" if gone else "",
            extra={"destination": destination, "events": left, "error": str(error)},
        )  # fmt: skip
        return left, size

    def foreign_keys(self, db: sqlite3.Connection, chunk: Chunk, number: int, keys: Iterable[int]) -> frozenset[int]:
        """Those of these order keys for which another process holds an older chunk than this one."""
        query = (
            "SELECT 1 FROM order_key JOIN chunk ON chunk.id = order_key.chunk"
            " WHERE order_key.destination = ? AND key = ? AND order_key.chunk < ? AND owner <> ? LIMIT 1"
        )
        return frozenset(
            key for key in keys if db.execute(query, (chunk.destination, key, number, self._file.owner)).fetchone()
        )


def _restored_chunk(destination: str, records: Sequence[Record], stored: Stored) -> Chunk:
    """A chunk as an earlier owner left it."""
    chunk = Chunk(destination, [], 0)
    chunk.tried = decode_runs(stored.tried)
    tried = chunk.tried
    if not tried and stored.attempted_at:
        tried = [(0, len(records), stored.attempted_at)]  # as earlier releases noted it: of any, and so of all
    since = {index: at for start, stop, at in reversed(tried) for index in range(start, min(stop, len(records)))}
    chunk.hold(*restored(records, decode_state(stored.state), since, chunk))
    return chunk
