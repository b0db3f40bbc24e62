"""A spool file as one process holds it: open, locked, recognised, owned, in its place."""

from __future__ import annotations

import glob
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from capi_async.cipher import UnknownKey
from capi_async.errors import ConfigError, SpoolError
from capi_async.files import Lock, create_private, is_free, refuse_network, refuse_planted, sync_directory
from capi_async.spool.base import Record
from capi_async.spool.chunks import DamagedChunk, decode
from capi_async.spool.sealing import NOT_SEALED, SEALED_EARLIER, NotSealed, Place, SealedEarlier, Sealing
from capi_async.spool.sqlite import salvage, schema
from capi_async.spool.sqlite.group import place_of
from capi_async.spool.sqlite.options import Options
from capi_async.spool.sqlite.room import Room, is_full
from capi_async.spool.sqlite.schema import Damaged

logger = logging.getLogger(__name__)

#: Seconds that SQLite waits for whoever locks the file without our lock, such as a shell.
BUSY_S: Final = 10.0

#: Free pages that are not worth giving back to the file system, and how many are given back at a time.
_SPARE_PAGES: Final = 2_000
_PAGES_A_TURN: Final = 1_000

#: Pages in the log from which on it is worth to begin it anew, and how few may be left to be moved then.
_LONG_LOG: Final = 1_000
_SHORT_REST: Final = 200

#: A file up to this size is written anew when somebody is forgotten.
_REWRITTEN_BYTES: Final = 64 * 1024 * 1024

#: A file up to this size is read whole when it is opened.
_CHECKED_BYTES: Final = 32 * 1024 * 1024


#: Numbers of encrypted rows begin somewhere between this one and its double.
_FIRST_ID: Final = 1 << 52


class SpoolFile:
    """One process's hold on a spool file."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        self._options = options
        self.path = options.path
        self.wall = wall
        self._sealing = Sealing(options.keys, plain=options.plain, old_seals=options.old_seals)
        self._writers = Lock(self._beside("-lock"))
        self._room = Room(self.path)
        self._db: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._life: Lock | None = None
        self._synchronous = ""
        self._inode = 0
        self._seen = -1
        self.owner = 0
        self._written = False
        #: The last transaction came as far as its end.
        self._ending = False

    # Lifecycle.

    def open(self) -> None:
        """Open or make the file, become one of its owners, take over what dead ones left.

        Raises:
            ConfigError: It is not ours, of a newer version, encrypted with other keys, or on a network disk.
            SpoolError: It is damaged and nothing could be read, or it cannot be used.
        """
        refuse_network(self.path.parent)
        try:
            if self.path.parent.is_dir() and not self.path.is_dir():
                refuse_planted(self.path)
                if self.path.exists():
                    schema.refuse_foreign(self.path)  # before anything is made beside it
            with self._writers():
                salvage.finish(self.path)
                try:
                    self._open_or_salvage()
                except (sqlite3.Error, OSError, SpoolError) as error:
                    cause = error.__cause__ if isinstance(error, SpoolError) else error
                    if not (isinstance(cause, Exception) and is_full(cause) and self._room.give_up()):
                        raise
                    self._drop()
                    self._open_or_salvage()
                self._room.hold()
            sync_directory(self.path.parent)
        except OSError as error:
            self._let_go()
            raise SpoolError(f"{self.path} cannot be used: {error.strerror}") from error
        except sqlite3.Error as error:
            self._let_go()
            raise SpoolError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def _open_or_salvage(self) -> None:
        try:
            self._open()
        except (sqlite3.Error, Damaged) as error:
            if not (isinstance(error, Damaged) or schema.is_damage(error)):
                raise
            cause = error.__cause__ if isinstance(error, Damaged) and error.__cause__ else error
            self._drop()
            self._salvage(cause)
            self._open()

    def _salvage(self, error: BaseException) -> None:
        """Put what can be read of a damaged file into a new one.

        Raises:
            SpoolError: Nothing can be read, and it was set aside if it is a spool; or others use it; or it was left as
                it is, for another reason.
        """
        if schema.refuse_foreign(self.path) == schema.APPLICATION:
            for file in self._life_files():
                if not is_free(file):
                    raise SpoolError(
                        f"{self.path} is damaged ({error}), and other processes use it; it was left as it is: stop "
                        "them, then start again, and what can be read of it goes on in a new file"
                    )
            # what is accepted or not is decided when it is sent
            options = self._options
            sealing = Sealing(options.keys, plain=True, old_seals=True)

            def decode_row(destination: str, number: int, name: str, data: bytes) -> Sequence[Record]:
                try:
                    return decode(destination, sealing.open(data, name, place_of(destination, number)))
                except UnknownKey:
                    raise ConfigError(
                        f"spool: {self.path} is damaged, and holds events encrypted with a key that is not among those "
                        "given (keys=...); it was left as it is"
                    ) from None

            try:
                salvage.salvage(self.path, error, decode_row, busy_s=BUSY_S)
            except salvage.Beyond:
                pass
            else:
                for file in self._life_files():
                    file.unlink(missing_ok=True)  # of the dead, whom the new file does not name
                return
        raise schema.report_damage(self.path, error) from error

    def _open(self) -> None:
        self._db = schema.connect(self.path, busy_s=BUSY_S)
        self._reader = schema.connect(self.path, busy_s=BUSY_S)
        self._inode = self.path.stat().st_ino
        self._synchronous = ""
        self._check_content()  # before anything is written into what may be damaged
        self._check_keys()
        self._begin_ids()
        self._enter()
        self._adopt()
        self._written = True  # perhaps by whoever died

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
            logger.warning(
                "spool: %s could not be closed in order (%s); nothing is lost, whoever opens it next takes it over",
                self.path, error, extra={"path": str(self.path), "error": str(error)},
            )  # fmt: skip
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._drop()
        self._writers.close()

    def _drop(self) -> None:
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
        self.owner = 0

    def _enter(self) -> None:
        with self._transaction(sync=False, locked=True) as db:
            self._insert_owner(db)

    def _insert_owner(self, db: sqlite3.Connection) -> None:
        cursor = db.execute("INSERT INTO owner (pid, since) VALUES (?, ?)", (os.getpid(), self.wall()))
        self.owner = int(cursor.lastrowid or 0)
        self._life = Lock(self._life_path(self.owner))
        self._life.acquire(wait=True)

    def lives(self) -> bool:
        """Whether the others can see that this process lives: a few microseconds' look at its lock file."""
        return self._life is None or self._life.in_place()

    def come_back(self) -> bool:
        """The lock file that proves that this process lives was deleted: make it again.

        True if another process has taken over meanwhile what this one owned: it has a new number then, under which it
        owns what it has stored since.
        """
        with self._writers():
            if self.lives():
                return False
            old, was = self._life, self.owner
            with self._transaction(sync=False, locked=True) as db:
                known = db.execute("SELECT 1 FROM owner WHERE id = ?", (was,)).fetchone()
                if known:
                    self._life = Lock(self._life_path(was))
                    self._life.acquire(wait=True)
                else:
                    self._insert_owner(db)
                    db.execute("UPDATE chunk SET owner = ? WHERE owner = ?", (self.owner, was))
            if old is not None:
                old.close()
        logger.warning(
            "spool: %s-owner-%d was deleted while its process lives, and was made again; nothing may tidy up beside a "
            "spool file", self.path, was, extra={"path": str(self.path)},
        )  # fmt: skip
        return not known

    # Who else works on it.

    def changed(self) -> bool:
        """Whether another process has written since the last call."""
        seen = int(self.ready().execute("PRAGMA data_version").fetchone()[0])
        changed, self._seen = seen != self._seen, seen
        return changed

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

    def signal_recall(self) -> None:
        """Have other processes look for recalls before they send anything."""
        with self._writers():
            os.pwrite(self._writers.file, (self.recall_count() + 1).to_bytes(8, "little"), 0)

    def recall_count(self) -> int:
        """How many recalls were signalled: read from the lock file, in a microsecond and without the lock."""
        return int.from_bytes(os.pread(self._writers.file, 8, 0), "little") if self._writers.file >= 0 else 0

    def sees_recalls(self) -> bool:
        """Whether the file in which other processes signal recalls is the one that this process reads."""
        return self._writers.in_place()

    def reopen_lock(self) -> None:
        """Open the lock file that other processes use by now: the one that was open here was deleted."""
        with self._writers():
            pass

    def alone(self) -> bool:
        """Whether no other process works on the file."""
        return int(self.ready().execute("SELECT count(*) FROM owner").fetchone()[0]) == 1

    def _dead(self) -> list[int]:
        return [number for number in self._owners() if is_free(self._life_path(number))]

    def _others(self) -> list[int]:
        """Other processes that live; one that could not take its name out of a deleted file is none of them."""
        return [number for number in self._owners() if not is_free(self._life_path(number))]

    def _owners(self) -> list[int]:
        owners = self.ready().execute("SELECT id FROM owner WHERE id <> ?", (self.owner,))
        return [number for (number,) in owners.fetchall()]

    def _adopt(self) -> bool:
        # looked up again: under the writers' lock nobody else does the same
        dead = self._dead()
        freed = self._free_strays()
        if dead:
            with self._transaction(sync=False, locked=True) as db:
                for number in dead:
                    freed += db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (number,)).rowcount
                    db.execute("DELETE FROM owner WHERE id = ?", (number,))
            for number in dead:
                self._life_path(number).unlink(missing_ok=True)
            logger.warning(
                "spool: %s: took over from a process that died (%d in all, %d chunks of events): they are delivered "
                "here; see why it ended without closing its client",
                self.path, len(dead), freed, extra={"processes": len(dead), "chunks": freed},
            )  # fmt: skip
        return freed > 0

    def _free_strays(self) -> int:
        """Rows of a process that had been taken for dead, and died before it noticed, are nobody's."""
        strays = "owner <> 0 AND owner NOT IN (SELECT id FROM owner)"
        if self.ready().execute(f"SELECT 1 FROM chunk WHERE {strays} LIMIT 1").fetchone() is None:  # noqa: S608
            return 0
        with self._transaction(sync=False, locked=True) as db:
            return db.execute(f"UPDATE chunk SET owner = 0 WHERE {strays}").rowcount  # noqa: S608

    # The log.

    def checkpoint(self) -> bool:
        """Move the log into the file, beside whoever writes: called from a thread that is not the writer's.

        What was committed without waiting for the disk is on it afterwards. True if :meth:`finish_checkpoint` is
        worth its while.
        """
        if not self._written:
            return False
        self._written = False
        place = f"{self.path.as_uri()}?mode=rw"
        # not kept open: the file may be another one the next time
        try:
            with closing(sqlite3.connect(place, uri=True, timeout=0.0, isolation_level=None)) as db:
                _busy, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:  # another process does it, or the file is gone, which is noticed elsewhere
            self._written = True
            return False
        return bool(frames > _LONG_LOG and (frames - moved < _SHORT_REST or frames > 4 * _LONG_LOG))

    def finish_checkpoint(self) -> None:
        """Move the rest, which came meanwhile: only when all is moved does the log begin anew."""
        self.ready().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # Space.

    def _make_room(self, wanted: int) -> None:
        """See that so many new bytes leave room for delivering what is stored.

        Raises:
            NoRoom: They do not.
        """
        if not self._room.takes(wanted):
            with self._writers():
                self._check_place()
                self._room.make(self.ready(), wanted)

    def _find_room(self) -> bool:
        """What must be written met a full volume: whether there is room now, and it may be tried again."""
        with self._writers():
            before = self._room.log_bytes()
            self._room.move_log(self.ready())
            found = self._room.log_bytes() < before
            if self._room.give_up():
                self._room.move_log(self.ready())
                found = True
        return found

    def _keep_log_short(self) -> None:
        if self._room.is_tight():
            with self._writers():
                self._room.move_log(self.ready())

    def hold_room(self) -> None:
        """Set space apart again, if that was given up and there is room."""
        with self._writers():
            self._room.hold()

    def shrink(self, *, everything: bool = False) -> bool:
        """Give free pages back to the file system, if there are many or all are wanted; whether the log is empty."""
        db = self.ready()
        free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
        if not everything and not (free > _SPARE_PAGES and free * 4 > pages):
            return False
        with self._writers():
            turn = free if everything else _PAGES_A_TURN
            self._check_place()
            # as a script: execute() would free a single page, because each page is a step without a row
            self.ready().executescript(f"PRAGMA incremental_vacuum({turn})")
            busy, _frames, _moved = self.ready().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def overwrite(self, db: sqlite3.Connection, on: bool) -> None:
        """Whether what is deleted from now on is overwritten in the file."""
        db.execute(f"PRAGMA secure_delete = {'ON' if on else 'FAST'}").fetchall()

    def rewrite(self) -> bool:
        """Write the file anew, so that nothing stays of what once stood in its pages; whether the log is empty then.

        A long file is not: there, what is deleted is overwritten as it is deleted.
        """
        db = self.ready()
        pages, page_bytes = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
        with self._writers():
            self._check_place()
            db = self.ready()
            if pages * page_bytes <= _REWRITTEN_BYTES:
                try:
                    db.execute("VACUUM")
                except sqlite3.Error as error:
                    # a broken page, or no room for a second copy: what was deleted has been overwritten all the same
                    if not (schema.is_damage(error) or is_full(error)):
                        raise
            busy, _frames, _moved = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    # Counts; called from the event loop's thread, on a connection of its own.

    def ledger(self) -> dict[str, dict[str, int]]:
        """Destination to kind to number, at one moment, of all processes."""
        found: dict[str, dict[str, int]] = {}
        while (reader := self._reader) is not None:
            try:
                rows = reader.execute("SELECT destination, kind, n FROM ledger").fetchall()
            except sqlite3.Error as error:
                if reader is not self._reader:
                    continue  # the file was deleted and written again in this moment
                raise SpoolError(f"the ledger cannot be read: {error}") from error
            for destination, kind, number in rows:
                found.setdefault(destination, {})[kind] = number
            break
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
        db = self.ready()
        level = "FULL" if sync and self._options.synchronous == "full" else "NORMAL"
        if level != self._synchronous:
            db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level
        self._ending = False
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            self._ending = True
            db.execute("COMMIT")
            self._written = True
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def ready(self) -> sqlite3.Connection:
        """The open connection.

        Raises:
            SpoolError: The spool is not open.
        """
        if self._db is None:
            raise SpoolError("the spool is not open")
        return self._db

    def check_place(self) -> None:
        """Notice that the file was deleted, also while nothing is written.

        Raises:
            SpoolError: It was, and cannot be written again while others use it; or it was replaced.
        """
        try:
            if self.path.stat().st_ino != self._inode:
                raise SpoolError(f"{self.path} was replaced by another file while it was in use")
        except FileNotFoundError:
            with self._writers():
                self._check_place()

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
        if self._others():
            raise SpoolError(f"{self.path} was deleted while several processes use it; stop them, then start again")
        db, reader = self._db, self._reader
        self._db = _restored(self.ready(), self.path, busy_s=BUSY_S)
        self._reader = schema.connect(self.path, busy_s=BUSY_S)
        for old in (db, reader):
            if old is not None:
                old.close()
        self._synchronous = ""
        self._inode = self.path.stat().st_ino

    def _check_content(self) -> None:
        """A damaged file is better found now than in the middle of the day; a large one takes too long to read."""
        if self.path.stat().st_size <= _CHECKED_BYTES:
            found = self.ready().execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(str(found).replace("\n", " "))

    def _check_keys(self) -> None:
        # as bytes: one that is damaged is no text, and costs its own row only
        names = self.ready().execute(
            "SELECT CAST(sealed AS BLOB) FROM chunk UNION SELECT CAST(sealed AS BLOB) FROM letter"
        )
        found = [one.decode("ascii", "ignore") for (one,) in names if one.isascii()]
        refused: Exception | None = None
        accepted = False
        for name in found:
            try:
                self._sealing.check(name)
                accepted = True
            except (NotSealed, SealedEarlier) as error:
                refused = error
            except UnknownKey:
                raise ConfigError(
                    f"spool: {self.path} holds events encrypted with a key that is not among those given (keys=...)"
                ) from None
        if refused is not None and not accepted:
            # all of it, and not single rows among others: these are not somebody's who wrote there meanwhile
            raise ConfigError(
                f"spool: {self.path} is left as it is, because of the events that it holds, "
                f"{NOT_SEALED if isinstance(refused, NotSealed) else SEALED_EARLIER}"
            )

    def _begin_ids(self) -> None:
        """Have the numbers of encrypted rows begin where no other file's do: a row is bound to its number.

        So a row from another file with the same keys, or from this file's predecessor, does not open here.
        """
        if not self._sealing.encrypts:
            return
        with self._transaction(sync=False, locked=True) as db:
            for table in ("chunk", "letter"):
                row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
                if row is not None and row[0] >= _FIRST_ID:
                    continue
                db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                start = _FIRST_ID + secrets.randbelow(_FIRST_ID)
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, start))

    def seal(self, data: bytes, place: Place) -> tuple[str, bytes]:
        """The name of the key in use, and the data as it is stored in this place."""
        return self._sealing.seal(data, place)

    def open_sealed(self, data: bytes, name: str, place: Place) -> bytes:
        """The data that was stored in this place, sealed with the key of this name; see :meth:`Sealing.open`.

        Raises:
            DamagedChunk: It is not accepted as it is stored.
            SpoolError: It is encrypted with a key that is not here.
            ValueError: It is damaged, or was stored in another place.
        """
        try:
            return self._sealing.open(data, name, place)
        except NotSealed:
            raise DamagedChunk(NOT_SEALED) from None
        except SealedEarlier:
            raise DamagedChunk(SEALED_EARLIER) from None
        except UnknownKey:
            raise SpoolError("stored events are encrypted with a key that this process does not have") from None

    def _life_path(self, owner: int) -> Path:
        return self._beside(f"-owner-{owner}")

    def _life_files(self) -> list[Path]:
        return list(self.path.parent.glob(f"{glob.escape(self.path.name)}-owner-*"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _restored(source: sqlite3.Connection, path: Path, *, busy_s: float) -> sqlite3.Connection:
    """A connection to a fresh copy of a deleted file under its old name; call it while holding the writers' lock.

    Raises:
        SpoolError: The copy could not be made; nothing is there under the name then.
    """
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    try:
        if not create_private(path):
            raise SpoolError(f"{path} was replaced by another file while it was in use")
        target = sqlite3.connect(path, isolation_level=None)
        try:
            source.backup(target)
        finally:
            target.close()
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise SpoolError(f"{path} was deleted while it was in use, and cannot be written again") from error
    logger.error(
        "spool: %s was deleted while it was in use, and was written again; keep whatever tidies up there away from it",
        path, extra={"path": str(path)},
    )  # fmt: skip
    return schema.connect(path, busy_s=busy_s)
