"""Rows that may be damaged: read so that each costs itself only, whatever SQLite, or the disk, says of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from capi_async.spool.chunks import MAX_RECORDS, DamagedChunk

#: How often, and after how many seconds, a row is read again that the disk does not give out.
_TRIES: Final = 3
_AGAIN_S: Final = 0.05


class Stored(Struct, gc=False):
    """What stands in the file of a chunk."""

    destination: str
    attempted_at: float
    tried: bytes | None
    keyed: bool
    sealed: str
    state: bytes | None
    data: bytes


def is_of_row(error: sqlite3.Error) -> bool:
    """Whether an error says that what is stored is broken, rather than that the file is locked, or the disk full."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the driver's own: a text that is none
        return True
    return code & 0xFF in (
        sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_IOERR,
    )  # fmt: skip


def read(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> Any:
    """The one row that a query finds; ``None`` if there is none.

    Raises:
        DamagedChunk: It cannot be read.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            return db.execute(query, values).fetchone()
        except sqlite3.Error as error:
            if not is_of_row(error):
                raise
            if not left or getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_IOERR:
                raise DamagedChunk(f"it cannot be read: {error}") from error
        time.sleep(_AGAIN_S)
    return None


def whole(db: sqlite3.Connection, number: int) -> Stored:
    """All that stands in the file of a chunk.

    Raises:
        DamagedChunk: Some of it is missing, or cannot be read.
    """
    # cast: one bit of a row's head makes a text of bytes, which are intact all the same
    row = read(
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


def counts(db: sqlite3.Connection, number: int) -> tuple[int, int] | None:
    """Unsettled records of a chunk, and bytes of their bodies; ``None`` if they cannot be read."""
    try:
        row = read(db, 'SELECT "left", size FROM chunk WHERE id = ?', (number,))
    except DamagedChunk:
        return None
    if row is None:
        return None
    left, size = row
    return (left, size) if _is_count(left) and 0 < left <= MAX_RECORDS and _is_count(size) else None


def missing(db: sqlite3.Connection, destination: str, number: int) -> tuple[int, int]:
    """What the ledger counts as pending and no other chunk holds: the share of one whose counts cannot be read."""
    pending = dict(
        db.execute("SELECT kind, n FROM ledger WHERE destination = ? AND kind IN ('pending', 'bytes')", (destination,))
    )
    left, size = pending.get("pending", 0), pending.get("bytes", 0)
    sharing = 1
    for (other,) in db.execute(
        "SELECT id FROM chunk INDEXED BY chunk_line WHERE destination = ? AND id <> ?", (destination, number)
    ).fetchall():
        if (one := counts(db, other)) is None:
            sharing += 1
        else:
            left, size = left - one[0], size - one[1]
    return max(0, left) // sharing, max(0, size) // sharing


def remains(db: sqlite3.Connection, number: int) -> bytes | None:
    """What can still be read of a chunk's records."""
    try:
        row = read(db, "SELECT CAST(data AS BLOB) FROM body WHERE id = ?", (number,))
    except DamagedChunk:
        return None
    return None if row is None else row[0]


def remove(db: sqlite3.Connection, number: int, *, body: bool = True) -> bool:
    """Take a chunk out of the file as far as that is possible; False if it stays. Call it within a transaction.

    Args:
        body: False for one whose pages are broken: it stays, because freeing them spreads the damage, and nothing
            leads to it any more.
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
