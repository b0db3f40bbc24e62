"""The tables of a spool file, and how a file is made, recognised and brought up to date."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from capi_async.database_files import connected, looked_at
from capi_async.errors import ConfigError, SpoolError
from capi_async.files import create_private, refuse_planted, set_aside
from capi_async.spool.chunks import DamagedChunk, order_digest
from capi_async.spool.sealing import Place

logger = logging.getLogger(__name__)

#: How often a row is read that the disk cannot read, and seconds between two tries.
_TRIES: Final = 3
_AGAIN_S: Final = 0.05

#: In the file's header: it is ours ("CAPI"), and which form the tables have.
_HEADER: Final = b"SQLite format 3\0"
APPLICATION: Final = 0x43415049
VERSION: Final = 3

_TABLES: Final = """
CREATE TABLE owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again: it fences what a dead process held
    pid INTEGER NOT NULL, since REAL NOT NULL);
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- grows with age
    destination TEXT NOT NULL,
    owner INTEGER NOT NULL,                 -- 0: nobody
    "left" INTEGER NOT NULL, size INTEGER NOT NULL,   -- unsettled records, bytes of their bodies
    attempted_at REAL NOT NULL, keyed INTEGER NOT NULL,
    sealed TEXT NOT NULL,                   -- name of the key, empty if in clear
    state BLOB);
CREATE INDEX chunk_line ON chunk (owner, destination, id);
CREATE TABLE body (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE order_key (
    destination TEXT NOT NULL, key INTEGER NOT NULL, chunk INTEGER NOT NULL,
    PRIMARY KEY (destination, key, chunk)) WITHOUT ROWID;
CREATE INDEX order_key_chunk ON order_key (chunk);
CREATE TABLE ledger (
    destination TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (destination, kind)) WITHOUT ROWID;
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL, kind TEXT NOT NULL, event_id TEXT NOT NULL, reason TEXT NOT NULL,
    at REAL NOT NULL, size INTEGER NOT NULL, sealed TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX letter_line ON letter (destination, at);
CREATE TABLE damaged (id INTEGER PRIMARY KEY, destination TEXT NOT NULL, at REAL NOT NULL, data BLOB);
"""

#: Since form 2.
_STOP: Final = """
CREATE TABLE stop (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chunk INTEGER NOT NULL, mask BLOB NOT NULL,   -- which of its records must not be sent any more
    outcome BLOB NOT NULL, at REAL NOT NULL,
    stopped INTEGER, under_way INTEGER);          -- what its holder answered, NULL before
CREATE INDEX stop_chunk ON stop (chunk);
"""

#: Since form 3: which records of a chunk a first request carried. ``attempted_at`` was about the whole chunk; only what
#: earlier releases wrote has it.
_TRIED: Final = "ALTER TABLE chunk ADD COLUMN tried BLOB"

#: Form of the tables to what brings a file from that form to the next, within one transaction.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: lambda db: _run(db, _STOP),
    2: lambda db: _run(db, _TRIED),
}


class Damaged(SpoolError):
    """The file is not what SQLite wrote."""


def connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """A connection to a file, made (mode 0600) if there is none; call it while holding the writers' lock.

    Raises:
        ConfigError: It is no spool, and was left as it is; or one of a newer version.
        Damaged: It is not what SQLite wrote.
        SpoolError: It belongs to another user, or cannot be opened.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise SpoolError(f"{path}: the directory does not exist, or the name is a directory")
    refuse_planted(path)
    try:
        create_private(path)
    except OSError as error:
        raise SpoolError(f"{path} cannot be made: {error.strerror}") from error
    if path.stat().st_mode & 0o077:
        logger.warning(
            "spool: %s may be read by others; chmod 600 mends it", path, extra={"path": str(path), "fix": "chmod 600"}
        )
    connection = None
    try:
        connection = connected(path, lambda head: _mark_in(path, head), busy_s=busy_s)
        _recognise(connection, path)
        _tune(connection)
    except (ConfigError, SpoolError):
        if connection is not None:
            connection.close()
        raise
    except OSError as error:
        raise SpoolError(f"{path} cannot be opened: {error.strerror}") from error
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        if is_damage(error):
            raise Damaged(f"{path} is damaged: {error}") from error
        raise SpoolError(f"{path} cannot be opened: {error}") from error
    return connection


def refuse_foreign(path: Path) -> int:
    """Refuse a file that is no spool, by its first bytes, before SQLite opens it.

    Returns the mark in its header: ours, or 0 if there is none (yet). A file to which this process has connections is
    not looked at again: it is ours.

    Raises:
        ConfigError: It is something else.
        SpoolError: It cannot be read.
    """
    try:
        return looked_at(path, lambda head: _mark_in(path, head))
    except OSError as error:
        raise SpoolError(f"{path} cannot be opened: {error.strerror}") from error


def _mark_in(path: Path, head: bytes | None) -> int:
    if head is None:
        return APPLICATION
    if head and not head.startswith(_HEADER):
        raise ConfigError(
            f"spool: {path} is no spool: it does not begin as a database does; it was left as it is. Choose another "
            "file (or move this one away, if it was a spool and is damaged)"
        )
    application = int.from_bytes(head[68:72], "big")
    if application not in (0, APPLICATION):
        raise ConfigError(f"spool: {path} is a database of something else; choose another file")
    return application


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file's content is broken, rather than that the system refused an operation."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def report_damage(path: Path, error: BaseException) -> SpoolError:
    """Rename a damaged file if it surely is a spool, and return the error that says so."""
    try:
        known = refuse_foreign(path) == APPLICATION
    except (ConfigError, SpoolError):
        known = False
    if not known:
        return SpoolError(
            f"{path} cannot be used: it is damaged ({error}); it was left as it is, because nothing in it says that it "
            "is a spool. Move it away, or choose another file"
        )
    try:
        target = set_aside(path)
    except OSError as failure:
        return SpoolError(f"{path} is damaged ({error}), and cannot be renamed: {failure.strerror}")
    logger.error(
        "spool: %s is damaged (%s) and was set aside as %s; what it held is not sent", path, error, target,
        extra={"path": str(path), "now": str(target)},
    )  # fmt: skip
    return SpoolError(
        f"{path} is damaged ({error}); it was renamed to {target}, with all that it held. "
        "The next start begins with an empty spool"
    )


def is_of_row(error: sqlite3.Error) -> bool:
    """Whether an error means that what is stored is broken, rather than that the file is locked, or the disk full."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the driver's own: a text that is none
        return True
    return code & 0xFF in (
        sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_IOERR,
    )  # fmt: skip


def read_one(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> Any:
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


def place_of(destination: str, chunk: int) -> Place:
    """The place of a chunk's records, for their seal; a number is never given twice."""
    return "chunk", destination, chunk


def key_number(order_key: str) -> int:
    """What the table ``order_key`` holds in place of an order key."""
    return int.from_bytes(order_digest(order_key), "little", signed=True)


def add_to_ledger(db: sqlite3.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add numbers, by destination and kind, to the ledger."""
    db.executemany(
        "INSERT INTO ledger (destination, kind, n) VALUES (?, ?, ?)"
        " ON CONFLICT (destination, kind) DO UPDATE SET n = n + excluded.n",
        [(destination, kind, number) for (destination, kind), number in counts.items() if number],
    )


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and version == 0 and tables == 0:
        _create(connection)
        return
    if application != APPLICATION:
        raise ConfigError(f"spool: {path} is a database of something else; choose another file")
    if version > VERSION:
        raise ConfigError(
            f"spool: {path} was written by a newer capi_async (form {version}, this one reads up to {VERSION}); "
            "update, or choose another file"
        )
    if version < VERSION:
        migrate(connection, version, MIGRATIONS)


def migrate(
    connection: sqlite3.Connection, version: int, steps: Mapping[int, Callable[[sqlite3.Connection], None]]
) -> None:
    """Bring a file up to date, form by form; each step is whole or has not happened."""
    for form in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            steps[form](connection)
            connection.execute(f"PRAGMA user_version = {form + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        logger.info("spool: a file of form %d was brought up to form %d", form, form + 1, extra={"form": form + 1})


def _create(connection: sqlite3.Connection) -> None:
    # these two only take effect before the first table
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    _run(connection, _TABLES + _STOP + _TRIED)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    # one by one: executescript() would end the transaction
    for statement in statements.split(";"):
        if statement.strip():
            connection.execute(statement)


def _tune(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise SpoolError(f"the file system cannot do what SQLite's write-ahead log needs (journal mode {mode})")
    # what is deleted is overwritten where that costs no further writing; erasing a person overwrites the rest
    connection.execute("PRAGMA secure_delete = FAST").fetchall()
    # erasing a person rewrites the file: in memory, and not in a temporary file that others may read
    connection.execute("PRAGMA temp_store = MEMORY")
    # the log is moved into the file by another thread, see Space.checkpoint(); this is for when that is too slow
    connection.execute("PRAGMA wal_autocheckpoint = 16000")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("PRAGMA cache_size = -8000")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
