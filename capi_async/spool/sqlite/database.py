"""A spool file as one process uses it: opened, locked, checked, and shared with the other processes that use it."""

from __future__ import annotations

import glob
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from capi_async.cipher import UnknownKey
from capi_async.errors import ConfigError, SpoolError
from capi_async.files import Lock, create_private, is_free, refuse_network, refuse_planted, sync_directory
from capi_async.spool.base import Record
from capi_async.spool.chunks import DamagedChunk, decode
from capi_async.spool.sealing import NotSealed, Place, SealedEarlier, Sealing, why_refused
from capi_async.spool.sqlite import salvage, schema
from capi_async.spool.sqlite.options import Options
from capi_async.spool.sqlite.schema import Damaged, place_of
from capi_async.spool.sqlite.space import Space, is_full

logger = logging.getLogger(__name__)

#: Seconds that SQLite waits for a program that locks the file without our lock, such as a shell.
BUSY_S: Final = 10.0

#: A file up to this size is read whole when it is opened.
CHECKED_BYTES: Final = 32 * 1024 * 1024


#: Numbers of encrypted rows begin between this one and its double.
_FIRST_ID: Final = 1 << 52


class SpoolFile:
    """A spool file, opened by one process; its methods block.

    Attributes:
        owner: Number of this process among those that use the file; rows name it as their owner.
        space: The space that the file takes.
        sealing: Encrypts and decrypts what is stored.
        writers: Held while the file is changed, by one process at a time.
    """

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        self._options = options
        self.path = options.path
        self._name = str(options.path)
        self.wall = wall
        self.sealing = Sealing(options.keys, plain=options.plain, old_seals=options.old_seals)
        self.writers = Lock(self._beside("-lock"))
        self.space = Space(self.path, self.writers, ready=self.ready, ensure_place=self.ensure_place)
        self._db: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._owner_lock: Lock | None = None
        self._synchronous = ""
        self._inode = 0
        self._seen = -1
        self.owner = 0
        #: The last transaction reached its commit.
        self._ending = False

    # Lifecycle.

    def open(self) -> None:
        """Open or make the file, register this process as an owner, take over what dead owners left.

        Raises:
            ConfigError: It is not ours, of a newer version, encrypted with other keys, or on a network disk.
            SpoolError: It is damaged and nothing could be read, or it cannot be used.
        """
        refuse_network(self.path.parent)
        try:
            if self.path.parent.is_dir() and not self.path.is_dir():
                refuse_planted(self.path)
                if self.path.exists():
                    schema.refuse_foreign(self.path)  # before other files are made next to it
            with self.writers():
                salvage.finish(self.path)
                try:
                    self._open_or_salvage()
                except (sqlite3.Error, OSError, SpoolError) as error:
                    cause = error.__cause__ if isinstance(error, SpoolError) else error
                    if not (isinstance(cause, Exception) and is_full(cause) and self.space.volume.release_reserve()):
                        raise
                    self._close_connections()
                    self._open_or_salvage()
                self.space.volume.hold_reserve()
            sync_directory(self.path.parent)
        except OSError as error:
            self._release()
            raise SpoolError(f"{self.path} cannot be used: {error.strerror}") from error
        except sqlite3.Error as error:
            self._release()
            raise SpoolError(f"{self.path} cannot be opened: {error}") from error
        except BaseException:
            self._release()
            raise

    def _open_or_salvage(self) -> None:
        try:
            self._open()
        except (sqlite3.Error, Damaged) as error:
            if not (isinstance(error, Damaged) or schema.is_damage(error)):
                raise
            cause = error.__cause__ if isinstance(error, Damaged) and error.__cause__ else error
            self._close_connections()
            self._salvage(cause)
            self._open()

    def _salvage(self, error: BaseException) -> None:
        """Put what can be read of a damaged file into a new one.

        Raises:
            SpoolError: Nothing can be read, and it was set aside if it is a spool; or others use it; or it was left as
                it is, for another reason.
        """
        if schema.refuse_foreign(self.path) == schema.APPLICATION:
            for file in self._owner_lock_files():
                if not is_free(file):
                    raise SpoolError(
                        f"{self.path} is damaged ({error}), and other processes use it; it was left as it is: stop "
                        "them, then start again, and what can be read of it goes on in a new file"
                    )
            # whether it is accepted is decided when it is sent
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
            except salvage.NothingReadable:
                pass
            else:
                for file in self._owner_lock_files():
                    file.unlink(missing_ok=True)  # of dead owners, which the new file does not name
                return
        raise schema.report_damage(self.path, error) from error

    def _open(self) -> None:
        self._db = schema.connect(self.path, busy_s=BUSY_S)
        self._reader = schema.connect(self.path, busy_s=BUSY_S)
        self._inode = self.path.stat().st_ino
        self._synchronous = ""
        self._check_content()  # before anything is written into what may be damaged
        self._check_keys()
        self._start_numbers()
        self._register()
        self._take_over()
        self.space.written = True  # perhaps by a process that died

    def close(self) -> None:
        """Leave what is not settled to other processes."""
        try:
            if self._db is not None and self.owner:
                with self.raw_transaction(sync=False) as db:
                    db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (self.owner,))
                    db.execute("DELETE FROM owner WHERE id = ?", (self.owner,))
                self.space.shrink(everything=True)
        except (sqlite3.Error, OSError, SpoolError) as error:
            # the next process that opens the file takes it over in either case
            logger.warning(
                "spool: %s could not be closed in order (%s); nothing is lost: the next process that opens it delivers",
                self.path, error, extra={"path": str(self.path), "error": str(error)},
            )  # fmt: skip
        finally:
            self._release()

    def _release(self) -> None:
        self._close_connections()
        self.writers.close()

    def _close_connections(self) -> None:
        for connection in (self._reader, self._db):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._db = self._reader = None
        if self._owner_lock is not None:
            with suppress(OSError):
                self._owner_lock.path.unlink(missing_ok=True)
            self._owner_lock.close()
            self._owner_lock = None
        self.owner = 0

    def _register(self) -> None:
        with self.raw_transaction(sync=False, locked=True) as db:
            self._insert_owner(db)

    def _insert_owner(self, db: sqlite3.Connection) -> None:
        cursor = db.execute("INSERT INTO owner (pid, since) VALUES (?, ?)", (os.getpid(), self.wall()))
        self.owner = int(cursor.lastrowid or 0)
        self._owner_lock = Lock(self._owner_lock_path(self.owner))
        self._owner_lock.acquire(wait=True)

    def has_owner_lock(self) -> bool:
        """Whether other processes can see that this one lives, by its lock file; takes a few microseconds."""
        return self._owner_lock is None or self._owner_lock.in_place()

    def restore_owner_lock(self) -> bool:
        """Make the lock file that proves that this process lives again: it was deleted.

        True if another process has taken over meanwhile what this one owned: it has a new number then, under which it
        owns what it has stored since.
        """
        with self.writers():
            if self.has_owner_lock():
                return False
            old, was = self._owner_lock, self.owner
            with self.raw_transaction(sync=False, locked=True) as db:
                known = db.execute("SELECT 1 FROM owner WHERE id = ?", (was,)).fetchone()
                if known:
                    self._owner_lock = Lock(self._owner_lock_path(was))
                    self._owner_lock.acquire(wait=True)
                else:
                    self._insert_owner(db)
                    db.execute("UPDATE chunk SET owner = ? WHERE owner = ?", (self.owner, was))
            if old is not None:
                old.close()
        logger.warning(
            "spool: %s-owner-%d was deleted while its process lives, and was made again; exclude the files beside "
            "a spool from whatever deletes files there", self.path, was, extra={"path": str(self.path)},
        )  # fmt: skip
        return not known

    # Other processes.

    def changed(self) -> bool:
        """Whether another process has written since the last call."""
        seen = int(self.ready().execute("PRAGMA data_version").fetchone()[0])
        changed, self._seen = seen != self._seen, seen
        return changed

    def release_all(self) -> None:
        """Give up what this process owns, as if it had died; it may claim it again."""
        with self.raw_transaction(sync=False) as db:
            db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (self.owner,))

    def take_over(self) -> bool:
        """Release what dead processes owned; True if there was any. A held lock proves that its owner lives."""
        dead = self._dead_owners()
        if not dead:
            return False
        try:
            with self.writers():
                return self._take_over()
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error

    def signal_recall(self) -> None:
        """Signal a recall: other processes read the recalls before their next request."""
        with self.writers():
            os.pwrite(self.writers.file, (self.recall_count() + 1).to_bytes(8, "little"), 0)

    def recall_count(self) -> int:
        """How many recalls were signalled; read from the lock file in a microsecond, without the lock."""
        return int.from_bytes(os.pread(self.writers.file, 8, 0), "little") if self.writers.file >= 0 else 0

    def sees_recalls(self) -> bool:
        """Whether the file in which other processes signal recalls is the one that this process reads."""
        return self.writers.in_place()

    def reopen_lock(self) -> None:
        """Open the lock file that other processes use now: the one that was open here was deleted."""
        with self.writers():
            pass

    def alone(self) -> bool:
        """Whether no other process uses the file."""
        return int(self.ready().execute("SELECT count(*) FROM owner").fetchone()[0]) == 1

    def _dead_owners(self) -> list[int]:
        return [number for number in self._owners() if is_free(self._owner_lock_path(number))]

    def _living_owners(self) -> list[int]:
        """Other processes that live, and not those that ended without removing their entry from the file."""
        return [number for number in self._owners() if not is_free(self._owner_lock_path(number))]

    def _owners(self) -> list[int]:
        owners = self.ready().execute("SELECT id FROM owner WHERE id <> ?", (self.owner,))
        return [number for (number,) in owners.fetchall()]

    def _take_over(self) -> bool:
        # read again: under the writers' lock no other process takes them over
        dead = self._dead_owners()
        freed = self._free_unregistered()
        if dead:
            with self.raw_transaction(sync=False, locked=True) as db:
                for number in dead:
                    freed += db.execute("UPDATE chunk SET owner = 0 WHERE owner = ?", (number,)).rowcount
                    db.execute("DELETE FROM owner WHERE id = ?", (number,))
            for number in dead:
                self._owner_lock_path(number).unlink(missing_ok=True)
            logger.warning(
                "spool: %s: took over from a process that died (%d in all, %d chunks of events): they are delivered "
                "here; see why it ended without closing its client",
                self.path, len(dead), freed, extra={"processes": len(dead), "chunks": freed},
            )  # fmt: skip
        return freed > 0

    def _free_unregistered(self) -> int:
        """Release the rows of processes that were taken for dead, and died before they noticed."""
        unregistered = "owner <> 0 AND owner NOT IN (SELECT id FROM owner)"
        if self.ready().execute(f"SELECT 1 FROM chunk WHERE {unregistered} LIMIT 1").fetchone() is None:  # noqa: S608
            return 0
        with self.raw_transaction(sync=False, locked=True) as db:
            return db.execute(f"UPDATE chunk SET owner = 0 WHERE {unregistered}").rowcount  # noqa: S608

    @contextmanager
    def transaction(self, *, sync: bool) -> Iterator[sqlite3.Connection]:
        """A transaction, alone among all processes; with ``sync``, what it wrote is on the disk afterwards.

        Raises:
            SpoolError: It failed, and nothing was written.
        """
        try:
            with self.raw_transaction(sync=sync) as db:
                yield db
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error

    def raw_transaction(self, *, sync: bool, locked: bool = False) -> RawTransaction:
        """The same, which raises SQLite's own errors; ``locked``: the writers' lock is held already."""
        return RawTransaction(self, sync=sync, locked=locked)

    def begin(self, *, sync: bool) -> sqlite3.Connection:
        """Begin a transaction; hold the writers' lock."""
        self.ensure_place()
        db = self.ready()
        level = "FULL" if sync and self._options.synchronous == "full" else "NORMAL"
        if level != self._synchronous:
            db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level
        self._ending = False
        db.execute("BEGIN IMMEDIATE")
        return db

    def end(self, db: sqlite3.Connection, *, commit: bool) -> None:
        """Commit the transaction; or undo what is left of it."""
        try:
            if commit:
                self._ending = True
                db.execute("COMMIT")
                self.space.written = True
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def ready(self) -> sqlite3.Connection:
        """The open connection.

        Raises:
            SpoolError: The spool is not open.
        """
        if self._db is None:
            raise SpoolError("the spool is not open")
        return self._db

    def check_place(self) -> None:
        """See that the file is in its place, also while nothing is written.

        Raises:
            SpoolError: It was deleted, and cannot be written again while others use it; or it was replaced.
        """
        try:
            if self.path.stat().st_ino != self._inode:
                raise SpoolError(f"{self.path} was replaced by another file while it was in use")
        except FileNotFoundError:
            with self.writers():
                self.ensure_place()

    def ensure_place(self) -> None:
        """See that the file is in its place, while holding the writers' lock: else what is written is lost.

        Raises:
            SpoolError: See :meth:`check_place`.
        """
        if not self._inode:
            return
        try:
            inode = os.stat(self._name).st_ino  # noqa: PTH116
        except FileNotFoundError:
            self._write_deleted_again()
            return
        if inode != self._inode:
            raise SpoolError(f"{self.path} was replaced by another file while it was in use")

    def _write_deleted_again(self) -> None:
        """Write the file again from the connection that is open to it: it was deleted."""
        if self._living_owners():
            raise SpoolError(f"{self.path} was deleted while several processes use it; stop them, then start again")
        db, reader = self._db, self._reader
        self._db = _copied(self.ready(), self.path, busy_s=BUSY_S)
        self._reader = schema.connect(self.path, busy_s=BUSY_S)
        for old in (db, reader):
            if old is not None:
                old.close()
        self._synchronous = ""
        self._inode = self.path.stat().st_ino

    def _check_content(self) -> None:
        """Read a file whole, unless it is too large for that, so that damage is found at the start."""
        if self.path.stat().st_size <= CHECKED_BYTES:
            found = self.ready().execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(str(found).replace("\n", " "))

    def _check_keys(self) -> None:
        # as bytes: a damaged name is no text, and costs its own row only
        names = self.ready().execute(
            "SELECT CAST(sealed AS BLOB) FROM chunk UNION SELECT CAST(sealed AS BLOB) FROM letter"
        )
        found = [one.decode("ascii", "ignore") for (one,) in names if one.isascii()]
        refused: UnknownKey | None = None
        accepted = False
        for name in found:
            try:
                self.sealing.check(name)
                accepted = True
            except (NotSealed, SealedEarlier) as error:
                refused = error
            except UnknownKey:
                raise ConfigError(
                    f"spool: {self.path} holds events encrypted with a key that is not among those given (keys=...)"
                ) from None
        if refused is not None and not accepted:
            # all rows, and not single ones, so that they were not written by an intruder
            raise ConfigError(
                f"spool: {self.path} is left as it is, because of the events that it holds, {why_refused(refused)}"
            )

    def _start_numbers(self) -> None:
        """Choose numbers for encrypted rows that no other file has: a row is bound to its number.

        So a row from another file with the same keys, or from this file's predecessor, does not open here.
        """
        if not self.sealing.encrypts:
            return
        with self.raw_transaction(sync=False, locked=True) as db:
            for table in ("chunk", "letter"):
                row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
                if row is not None and row[0] >= _FIRST_ID:
                    continue
                db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                start = _FIRST_ID + secrets.randbelow(_FIRST_ID)
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, start))

    def seal(self, data: bytes, place: Place) -> tuple[str, bytes]:
        """The name of the key in use, and the data as it is stored in this place."""
        return self.sealing.seal(data, place)

    def open_sealed(self, data: bytes, name: str, place: Place) -> bytes:
        """The data that was stored in this place, sealed with the key of this name; see :meth:`Sealing.open`.

        Raises:
            DamagedChunk: It is not accepted as it is stored.
            SpoolError: It is encrypted with a key that is not here.
            ValueError: It is damaged, or was stored in another place.
        """
        try:
            return self.sealing.open(data, name, place)
        except (NotSealed, SealedEarlier) as error:
            raise DamagedChunk(why_refused(error)) from None
        except UnknownKey:
            raise SpoolError("stored events are encrypted with a key that this process does not have") from None

    def _owner_lock_path(self, owner: int) -> Path:
        return self._beside(f"-owner-{owner}")

    def _owner_lock_files(self) -> list[Path]:
        return list(self.path.parent.glob(f"{glob.escape(self.path.name)}-owner-*"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


class RawTransaction:
    """See :meth:`SpoolFile.raw_transaction`. A class, because a generator costs more than it does."""

    __slots__ = ("_db", "_file", "_locked", "_sync")

    def __init__(self, file: SpoolFile, *, sync: bool, locked: bool) -> None:
        self._file = file
        self._sync = sync
        self._locked = locked
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> sqlite3.Connection:
        if not self._locked:
            self._file.writers.acquire(wait=True)
        try:
            self._db = self._file.begin(sync=self._sync)
        except BaseException:
            self._unlock()
            raise
        return self._db

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if self._db is not None:
                self._file.end(self._db, commit=kind is None)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if not self._locked:
            self._file.writers.release()


def _copied(source: sqlite3.Connection, path: Path, *, busy_s: float) -> sqlite3.Connection:
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
        "spool: %s was deleted while it was in use, and was written again; see what deletes files there, and stop it",
        path, extra={"path": str(path)},
    )  # fmt: skip
    return schema.connect(path, busy_s=busy_s)
