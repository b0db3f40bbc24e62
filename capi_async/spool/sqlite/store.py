"""The file, as one thread of one process works on it: every method blocks, and belongs into the owned thread."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from capi_async.errors import ConfigError, SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.sqlite import schema
from capi_async.spool.sqlite.chunks import DamagedChunk, decode, decode_state, encode, is_set
from capi_async.spool.sqlite.cipher import Cipher
from capi_async.spool.sqlite.files import Lock, is_free, refuse_network, sync_directory
from capi_async.spool.sqlite.group import KEPT, Change, Chunk, Group, key_number
from capi_async.spool.sqlite.letters import Letters
from capi_async.spool.sqlite.options import DAY, Options
from capi_async.spool.sqlite.sweep import Hit, sweep

logger = logging.getLogger(__name__)

#: Seconds that SQLite waits for whoever locks the file without our lock, such as a shell.
BUSY_S: Final = 10.0

#: Free pages that are not worth giving back to the file system, and how many are given back at a time.
_SPARE_PAGES: Final = 2_000
_PAGES_A_TURN: Final = 1_000

#: A file up to this size is read whole when it is opened.
_CHECKED_BYTES: Final = 32 * 1024 * 1024

Counts = dict[str, tuple[int, int]]


class Damaged(Exception):
    """The file is not what SQLite wrote."""


class Row(Struct, gc=False):
    """A chunk read back from the file, and (wall due, wait) by index."""

    chunk: Chunk
    waits: dict[int, tuple[float, float]]


class Store:
    """One process's hold on a spool file."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        self._options = options
        self.path = options.path
        self._wall = wall
        self._cipher = Cipher(options.keys) if options.keys else None
        self._writers = Lock(self._beside("-lock"))
        self._db: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._life: Lock | None = None
        self._synchronous = ""
        self._inode = 0
        self._seen = -1
        self.letters = Letters(self._seal, self._open_sealed)
        self.owner = 0
        #: What is appended is for this process; if not, for whoever wants it.
        self.keeps = True
        self._unsynced = False

    # Lifecycle.

    def open(self) -> None:
        """Open or make the file, become one of its owners, take over what dead ones left.

        Raises:
            ConfigError: It is not ours, of a newer version, encrypted with other keys, or on a network disk.
            SpoolError: It is damaged or cannot be used.
        """
        refuse_network(self.path.parent)
        try:
            with self._writers():
                self._db = schema.connect(self.path, busy_s=BUSY_S)
                self._reader = schema.connect(self.path, busy_s=BUSY_S)
                self._inode = self.path.stat().st_ino
                self._synchronous = ""
                self._check_keys()
                self._enter()
                self._adopt()
                self._check_content()
            sync_directory(self.path.parent)
        except OSError as error:
            self._let_go()
            raise SpoolError(f"{self.path} cannot be used: {error.strerror}") from error
        except (sqlite3.Error, Damaged) as error:
            self._let_go()
            if isinstance(error, Damaged) or schema.is_damage(error):
                raise schema.report_damage(self.path, error) from error
            raise SpoolError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def close(self) -> None:
        """Give what is left to whoever comes next."""
        try:
            if self._db is not None and self.owner:
                with self._transaction(sync=False) as db:
                    db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (self.owner,))
                    db.execute("DELETE FROM owner WHERE id = ?", (self.owner,))
                self.shrink(everything=True)
        except (sqlite3.Error, OSError, SpoolError) as error:
            # whoever opens the file next takes it over all the same
            logger.warning("the spool file could not be closed in order", extra={"error": str(error)})
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for connection in (self._reader, self._db):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._db = self._reader = None
        if self._life is not None:
            with suppress(OSError):
                self._life.path.unlink(missing_ok=True)
            self._life.close()
            self._life = None
        self._writers.close()
        self.owner = 0

    def _enter(self) -> None:
        with self._transaction(sync=False, locked=True) as db:
            cursor = db.execute("INSERT INTO owner (pid, since) VALUES (?, ?)", (os.getpid(), self._wall()))
            self.owner = int(cursor.lastrowid or 0)
            self._life = Lock(self._life_path(self.owner))
            self._life.acquire(wait=True)

    # Writing.

    def commit(self, group: Group) -> None:
        """Write a group, whole or not at all, and give its new chunks their ids.

        Raises:
            SpoolError: Nothing of it was written.
        """
        try:
            with self._writers():
                if not group.start():
                    raise SpoolError("the spool file was locked by another process for too long; nothing was stored")
                with self._transaction(sync=group.sync, locked=True) as db:
                    ids = self._write(db, group)
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error
        except OSError as error:
            raise SpoolError(f"storage failed: {error.strerror}") from error
        for chunk, number in zip(group.appended, ids, strict=True):
            chunk.id = number

    def _write(self, db: sqlite3.Connection, group: Group) -> list[int]:
        if any(change.scrub for change in group.changes):
            self._overwrite(db, True)
        counts = Counter(group.counts)
        ids = []
        for chunk in group.appended:
            ids.append(self.insert(db, chunk, mine=self.keeps))
            counts[chunk.destination, "pending"] += chunk.left
            counts[chunk.destination, "bytes"] += chunk.size
        for change in group.changes:
            self._change(db, change, counts)
        count(db, counts)
        return ids

    def insert(self, db: sqlite3.Connection, chunk: Chunk, *, mine: bool) -> int:
        """Write a new chunk, for this process or for nobody; returns its id."""
        name, data = self._seal(encode(chunk.records), chunk.destination)
        number = db.execute(
            'INSERT INTO chunk (destination, owner, "left", size, attempted_at, keyed, sealed)'
            " VALUES (?, ?, ?, ?, 0, ?, ?)",
            (chunk.destination, self.owner if mine else 0, chunk.left, chunk.size, chunk.keyed, name),
        ).lastrowid
        db.execute("INSERT INTO body (id, data) VALUES (?, ?)", (number, data))
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key is not None}
            db.executemany(
                "INSERT INTO order_key (destination, key, chunk) VALUES (?, ?, ?)",
                [(chunk.destination, key, number) for key in keys],
            )
            chunk.foreign = self._foreign(db, chunk, number or 0, keys)
        return int(number or 0)

    def _change(self, db: sqlite3.Connection, change: Change, counts: Counter[tuple[str, str]]) -> None:
        chunk = change.chunk
        where = (chunk.id, self.owner)
        if change.left:
            cursor = db.execute(
                'UPDATE chunk SET "left" = ?, size = ?, attempted_at = ?, state = coalesce(?, state)'
                " WHERE id = ? AND owner = ?",
                (change.left, change.size, change.attempted_at, change.state, *where),
            )
        else:
            cursor = db.execute("DELETE FROM chunk WHERE id = ? AND owner = ?", where)
        if not cursor.rowcount:
            logger.warning("a lease was taken over by another process", extra={"destination": chunk.destination})
            return
        if not change.left:
            db.execute("DELETE FROM body WHERE id = ?", (chunk.id,))
            if chunk.keyed:
                db.execute("DELETE FROM order_key WHERE chunk = ?", (chunk.id,))
        elif change.scrub:
            name, data = self._seal(encode(chunk.unsettled()), chunk.destination)
            db.execute("UPDATE body SET data = ? WHERE id = ?", (data, chunk.id))
            db.execute("UPDATE chunk SET sealed = ? WHERE id = ?", (name, chunk.id))
        for kind, number in change.counts.items():
            counts[chunk.destination, kind] += number
            counts[chunk.destination, "pending"] -= number
        counts[chunk.destination, "bytes"] -= change.freed
        if change.letters:
            self.letters.add(db, change.letters, self._wall())

    # Reading.

    def load(self, destination: str, *, after: int, records: int, max_bytes: int) -> list[Row]:
        """What this process owns behind chunk ``after``: about ``records`` or ``max_bytes``, at least one chunk."""
        db = self._ready()
        found = db.execute(
            'SELECT id, "left", size FROM chunk WHERE owner = ? AND destination = ? AND id > ? ORDER BY id LIMIT ?',
            (self.owner, destination, after, max(records, 1)),
        )
        return self._read(destination, _first(found, records, max_bytes))

    def claim(self, destination: str, *, records: int, max_bytes: int) -> list[Row]:
        """Take what nobody owns: about ``records`` or ``max_bytes``, at least one chunk if there is any."""
        with self._transaction(sync=False) as db:
            found = db.execute(
                'SELECT id, "left", size FROM chunk WHERE owner = 0 AND destination = ? ORDER BY id LIMIT ?',
                (destination, max(records, 1)),
            )
            ids = _first(found, records, max_bytes)
            db.executemany("UPDATE chunk SET owner = ? WHERE id = ?", [(self.owner, number) for number in ids])
        return self._read(destination, ids)

    def _read(self, destination: str, ids: Sequence[int]) -> list[Row]:
        db = self._ready()
        rows: list[Row] = []
        for number in ids:
            found = db.execute(
                'SELECT "left", size, attempted_at, keyed, sealed, state, data'
                " FROM chunk LEFT JOIN body USING (id) WHERE chunk.id = ?",
                (number,),
            ).fetchone()
            left, size, attempted_at, keyed, sealed, state, data = found
            try:
                if data is None:
                    raise DamagedChunk("missing")
                records = decode(destination, self._open_sealed(data, sealed, destination))
                row = _row(destination, records, state, attempted_at)
            except (DamagedChunk, ValueError) as error:
                self._bury(destination, number, left, size, data, error)
                continue
            chunk = row.chunk
            chunk.id, chunk.left, chunk.size, chunk.keyed = number, left, size, bool(keyed)
            if keyed:
                keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key}
                chunk.foreign = self._foreign(db, chunk, number, keys)
            rows.append(row)
        return rows

    def _bury(self, destination: str, number: int, left: int, size: int, data: bytes | None, error: Exception) -> None:
        """A chunk that cannot be read any more is kept apart, and its events are dead."""
        logger.error(
            "stored events are damaged", extra={"destination": destination, "events": left, "error": str(error)}
        )
        with self._transaction(sync=True) as db:
            db.execute(
                "INSERT OR REPLACE INTO damaged (id, destination, at, data) VALUES (?, ?, ?, ?)",
                (number, destination, self._wall(), data),
            )
            for table in ("chunk", "body"):
                db.execute(f"DELETE FROM {table} WHERE id = ?", (number,))  # noqa: S608  # one of two constants
            db.execute("DELETE FROM order_key WHERE chunk = ?", (number,))
            count(db, {(destination, "pending"): -left, (destination, "bytes"): -size, (destination, "dead"): left})

    def still_foreign(self, chunks: Sequence[Chunk]) -> list[frozenset[int]]:
        """For each chunk, the order keys for which another process still holds an older record."""
        db = self._ready()
        return [self._foreign(db, chunk, chunk.id, chunk.foreign) for chunk in chunks]

    def _foreign(self, db: sqlite3.Connection, chunk: Chunk, number: int, keys: Iterable[int]) -> frozenset[int]:
        query = (
            "SELECT 1 FROM order_key JOIN chunk ON chunk.id = order_key.chunk"
            " WHERE order_key.destination = ? AND key = ? AND order_key.chunk < ? AND owner <> ? LIMIT 1"
        )
        return frozenset(
            key for key in keys if db.execute(query, (chunk.destination, key, number, self.owner)).fetchone()
        )

    # What is nobody's.

    def changed(self) -> bool:
        """Whether another process has written since the last call."""
        seen = int(self._ready().execute("PRAGMA data_version").fetchone()[0])
        changed, self._seen = seen != self._seen, seen
        return changed

    def unowned(self) -> Counts:
        """Destination to (events, bytes) of what nobody owns."""
        found = self._ready().execute(
            'SELECT destination, sum("left"), sum(size) FROM chunk WHERE owner = 0 GROUP BY destination'
        )
        return {name: (events, size) for name, events, size in found}

    def pending(self) -> Counts:
        """Destination to (events, bytes) of all that is not settled, whoever owns it."""
        found = self._ready().execute(
            "SELECT destination, sum(n * (kind = 'pending')), sum(n * (kind = 'bytes')) FROM ledger"
            " WHERE kind IN ('pending', 'bytes') GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    def release_all(self) -> None:
        """As if this process had died and another had taken over, which is this one."""
        with self._transaction(sync=False) as db:
            db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (self.owner,))

    def adopt(self) -> bool:
        """Free what dead processes owned; True if there was any. A held lock proves that its owner lives."""
        dead = self._dead()
        if not dead:
            return False
        try:
            with self._writers():
                return self._adopt()
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error

    def alone(self) -> bool:
        """Whether no other process works on the file."""
        return int(self._ready().execute("SELECT count(*) FROM owner").fetchone()[0]) == 1

    def _dead(self) -> list[int]:
        owners = [number for (number,) in self._ready().execute("SELECT id FROM owner")]
        return [number for number in owners if number != self.owner and is_free(self._life_path(number))]

    def _adopt(self) -> bool:
        # looked up again: under the writers' lock nobody else does the same
        dead = self._dead()
        freed = 0
        if dead:
            with self._transaction(sync=False, locked=True) as db:
                for number in dead:
                    freed += db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (number,)).rowcount
                    db.execute("DELETE FROM owner WHERE id = ?", (number,))
            for number in dead:
                self._life_path(number).unlink(missing_ok=True)
            logger.warning("took over from a process that died", extra={"processes": len(dead), "chunks": freed})
        return freed > 0

    # Upkeep.

    def sweep(self, matches: Callable[[Record], bool], kind: str, cursors: Mapping[str, int]) -> list[Hit]:
        """Settle what matches among what nobody owns, what this process owns behind ``cursors``, and dead letters."""
        with self.transaction(sync=True) as db:
            self._overwrite(db, True)
            counts = self.letters.settle_matching(db, matches, kind)
            hits = sweep(db, self._seal, self._open_sealed, matches, self.owner, cursors)
            for hit in hits:
                counts[hit.destination, kind] += 1
                counts[hit.destination, "pending"] -= 1
                counts[hit.destination, "bytes"] -= hit.size
            letters = [(name, -number) for (name, one), number in counts.items() if one in KEPT]
            removed = [Hit(name, 0, 0, 0) for name, number in letters for _ in range(number)]
            count(db, counts)
        return hits + removed

    def retire(self, known: Sequence[str], outcome: Outcome) -> int:
        """What nobody owns, made for destinations that nobody ``known`` here serves, becomes dead letters."""
        retired = 0
        for name in self.unowned().keys() - set(known):
            while rows := self.claim(name, records=1_000, max_bytes=1 << 24):
                with self.transaction(sync=True) as db:
                    for row in rows:
                        chunk = row.chunk
                        records = [record for record in chunk.records if record is not None]
                        kinds = ["uncertain" if record.maybe_since else "dead" for record in records]
                        ends = [replace(outcome, kind=kind) for kind in kinds]
                        self.letters.add(db, list(zip(records, ends, strict=True)), self._wall())
                        chunk.counts = Counter(kinds)
                        chunk.left = 0
                        chunk.freed = chunk.size
                        counts: Counter[tuple[str, str]] = Counter()
                        self._change(db, Change.of(chunk), counts)
                        count(db, counts)
                        retired += len(records)
                        chunk.drop()
        return retired

    def settle_down(self) -> None:
        """What was committed without waiting for the disk is on it afterwards."""
        if self._unsynced and self._options.synchronous == "full":
            self._ready().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._unsynced = False

    def tidy(self) -> None:
        """Let old dead letters go, and give free space back to the file system."""
        options = self._options
        with self._transaction(sync=False) as db:
            self.letters.prune(db, before=self._wall() - options.dead_days * DAY, keep=options.dead_max)
        self.shrink()

    def erase_traces(self) -> None:
        """Nothing that was deleted stays readable in the file or its log."""
        self.shrink(everything=True)
        self._overwrite(self._ready(), False)

    def _overwrite(self, db: sqlite3.Connection, on: bool) -> None:
        db.execute(f"PRAGMA secure_delete = {'ON' if on else 'OFF'}").fetchall()

    def shrink(self, *, everything: bool = False) -> None:
        """Give free pages back to the file system, if there are many or all are wanted."""
        db = self._ready()
        free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
        if not everything and not (free > _SPARE_PAGES and free * 4 > pages):
            return
        with self._writers():
            turn = free if everything else _PAGES_A_TURN
            self._check_place()
            # as a script: execute() would free a single page, because each page is a step without a row
            self._ready().executescript(f"PRAGMA incremental_vacuum({turn})")
            self._ready().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # Counts; called from the event loop's thread, on a connection of its own.

    def ledger(self) -> dict[str, dict[str, int]]:
        """Destination to kind to number, at one moment, of all processes."""
        if self._reader is None:
            return {}
        found: dict[str, dict[str, int]] = {}
        try:
            for destination, kind, number in self._reader.execute("SELECT destination, kind, n FROM ledger"):
                found.setdefault(destination, {})[kind] = number
        except sqlite3.Error as error:
            raise SpoolError(f"the ledger cannot be read: {error}") from error
        return found

    # Below.

    @contextmanager
    def transaction(self, *, sync: bool) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone among all processes; with ``sync`` on the disk afterwards."""
        try:
            with self._transaction(sync=sync) as db:
                yield db
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error

    @contextmanager
    def _transaction(self, *, sync: bool, locked: bool = False) -> Iterator[sqlite3.Connection]:
        if not locked:
            with self._writers(), self._transaction(sync=sync, locked=True) as db:
                yield db
            return
        self._check_place()
        db = self._ready()
        level = "FULL" if sync and self._options.synchronous == "full" else "NORMAL"
        if level != self._synchronous:
            db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
            self._unsynced = level == "NORMAL"
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _ready(self) -> sqlite3.Connection:
        if self._db is None:
            raise SpoolError("the spool is not open")
        return self._db

    def _check_place(self) -> None:
        """What is written into a file that was deleted is lost at the next start."""
        if not self._inode:
            return
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            self._restore()
            return
        if inode != self._inode:
            raise SpoolError(f"{self.path} was replaced by another file while it was in use")

    def _restore(self) -> None:
        """The file was deleted underneath, and this process still has it open: write it out again."""
        from capi_async.spool.sqlite.restore import restore

        if not self.alone():
            raise SpoolError(f"{self.path} was deleted while several processes use it; stop them, then start again")
        db, reader = self._db, self._reader
        self._db = restore(self._ready(), self.path, busy_s=BUSY_S)
        self._reader = schema.connect(self.path, busy_s=BUSY_S)
        for old in (db, reader):
            if old is not None:
                old.close()
        self._synchronous = ""
        self._inode = self.path.stat().st_ino

    def _check_content(self) -> None:
        """A damaged file is better found now than in the middle of the day; a large one takes too long to read."""
        if self.path.stat().st_size <= _CHECKED_BYTES:
            found = self._ready().execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(found)

    def _check_keys(self) -> None:
        names = self._ready().execute("SELECT sealed FROM chunk UNION SELECT sealed FROM letter")
        for (name,) in names:
            if name and (self._cipher is None or not self._cipher.knows(name)):
                raise ConfigError(
                    f"spool: {self.path} holds events encrypted with a key that is not among those given (keys=...)"
                )

    def _seal(self, data: bytes, context: str) -> tuple[str, bytes]:
        if self._cipher is None:
            return "", data
        return self._cipher.name, self._cipher.seal(data, context)

    def _open_sealed(self, data: bytes, name: str, context: str) -> bytes:
        if not name:
            return data
        if self._cipher is None or not self._cipher.knows(name):
            raise SpoolError("stored events are encrypted with a key that this process does not have")
        return self._cipher.open(data, name, context)

    def _life_path(self, owner: int) -> Path:
        return self._beside(f"-owner-{owner}")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def count(db: sqlite3.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the ledger."""
    db.executemany(
        "INSERT INTO ledger (destination, kind, n) VALUES (?, ?, ?)"
        " ON CONFLICT (destination, kind) DO UPDATE SET n = n + excluded.n",
        [(*key, number) for key, number in counts.items() if number],
    )


def _first(found: Iterable[tuple[int, int, int]], records: int, max_bytes: int) -> list[int]:
    ids: list[int] = []
    events = size = 0
    for number, left, length in found:
        if ids and (events >= records or size + length > max_bytes):
            break
        ids.append(number)
        events += left
        size += length
    return ids


def _row(destination: str, records: Sequence[Record], state: bytes | None, attempted_at: float) -> Row:
    """A chunk as another process, or this one before, left it; what may have arrived is known to."""
    was = decode_state(state)
    kept: list[Record | None] = [None if is_set(was.settled, index) else record for index, record in enumerate(records)]
    chunk = Chunk(destination, kept, 0)
    chunk.attempted_at = attempted_at
    known = set()
    waits: dict[int, tuple[float, float]] = {}
    for fate in was.fates:
        for index in range(fate.at, min(fate.at + fate.count, len(kept))):
            record = kept[index]
            if record is None:
                continue
            known.add(index)
            record.attempts, record.failures, record.maybe_since = fate.attempts, fate.failures, fate.maybe_since
            if fate.due_at:
                waits[index] = (fate.due_at, fate.wait_s)
    for index, record in enumerate(kept):
        if record is None:
            continue
        record.chunk, record.at = chunk, index
        if attempted_at and index not in known and record.resend_for_s > 0:
            record.attempts, record.maybe_since = 1, attempted_at
    return Row(chunk, waits)


def monotonic_due(due_at: float, wait_s: float, wall: float) -> float:
    """Seconds still to wait for a moment on the wall clock: never longer than was asked for, however it was stepped."""
    return max(0.0, min(due_at - wall, wait_s))
