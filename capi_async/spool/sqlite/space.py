"""Space on the volume of a spool file: new events are refused while what is stored can still be delivered.

Delivering needs space, too: that a request is about to be made, and how it ended, is written before anything else
happens. So some space is kept free of new events, and some is held by a reserve file, which is deleted when the volume
is full nevertheless. SQLite's write-ahead log, here "the log", takes space until it is moved into the file.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from capi_async.errors import SpoolError
from capi_async.files import Lock
from capi_async.spool.sqlite import schema

logger = logging.getLogger(__name__)

#: Most bytes that are kept free of new events, and that the reserve file holds.
_RESERVE_BYTES: Final = 2 * 1024 * 1024

#: The part of a small volume that is kept free instead.
_RESERVE_PART: Final = 16

#: Seconds between two measurements of the volume, and between two warnings that it is full.
_MEASURE_S: Final = 0.25

#: With so many free bytes beyond the log, what is written between two measurements does not matter.
_AMPLE_BYTES: Final = 256 * 1024 * 1024
_WARN_AGAIN_S: Final = 60.0

#: Length of the log from which on moving it into the file gains space.
_LONG_LOG_BYTES: Final = 128 * 1024

#: Pages in the log from which on it is restarted, and how few may be left to be moved then.
_LONG_LOG_PAGES: Final = 1_000
_SHORT_REST_PAGES: Final = 200

#: Free pages that are not worth giving back to the file system, and how many are given back at a time.
_SPARE_PAGES: Final = 2_000
_PAGES_A_TURN: Final = 1_000

#: A file up to this size is rewritten when somebody is forgotten.
_REWRITTEN_BYTES: Final = 64 * 1024 * 1024


class NoSpace(SpoolError):
    """New events are not taken because the volume is nearly full; what is stored is still delivered."""


class Volume:
    """How much the volume of one spool file still takes, and the reserve file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._reserve_file = path.with_name(path.name + "-reserve")
        self._measured_at = -_MEASURE_S
        self._warned_at = -_WARN_AGAIN_S
        self._free = 0
        #: The volume had ample space when it was last measured.
        self._ample = False
        self._reserve = _RESERVE_BYTES
        #: Monotonic seconds until which new events are refused without measuring again.
        self._full_until = 0.0

    def free_bytes(self, *, again: bool = False) -> int:
        """Free bytes, as they were when last measured."""
        now = time.monotonic()
        if again or now - self._measured_at >= _MEASURE_S:
            self._measured_at = now
            volume = os.statvfs(self._path.parent)
            self._free = volume.f_bavail * volume.f_frsize
            self._reserve = min(_RESERVE_BYTES, volume.f_blocks * volume.f_frsize // _RESERVE_PART)
            self._ample = self._free - self.log_bytes() - self._reserve >= _AMPLE_BYTES
        return self._free

    def takes(self, wanted: int) -> bool:
        """Whether so many new bytes surely fit: takes a few microseconds, without asking SQLite."""
        if time.monotonic() < self._full_until:
            return False
        # what is stored goes into the log first, and into the file later
        free = self.free_bytes()
        if not (self._ample and 4 * wanted < _AMPLE_BYTES) and free - 2 * wanted - self.log_bytes() < self._reserve:
            return False
        self._free -= wanted
        return True

    def require(self, db: sqlite3.Connection, wanted: int) -> None:
        """See that so many new bytes fit, by moving the log into the file if needed; hold the writers' lock.

        Raises:
            NoSpace: They do not.
        """
        now = time.monotonic()
        if now >= self._full_until:
            if self._fits(db, wanted):
                return
            self.move_log(db)
            if self._fits(db, wanted):
                return
            self._full_until = now + _MEASURE_S
        text = (
            f"{self._path}: its volume is nearly full ({self._free / 1e6:.1f} MB are free, "
            f"{self._reserve / 1e6:.1f} MB of which are kept for delivering what is stored); new events are refused "
            "until there is room: delete something else there, or give the volume more space"
        )
        if now - self._warned_at >= _WARN_AGAIN_S:
            self._warned_at = now
            logger.error("spool: %s", text, extra={"path": str(self._path), "free_bytes": self._free})
        raise NoSpace(text, stored=False)

    def _fits(self, db: sqlite3.Connection, wanted: int) -> bool:
        pages, spare, page_bytes = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        # what the file grows by as soon as the log is moved
        growth = max(0, pages * page_bytes - self._path.stat().st_size) + max(0, wanted - spare * page_bytes)
        return self.free_bytes(again=True) - growth - wanted >= self._reserve

    def move_log(self, db: sqlite3.Connection) -> None:
        """Move the log into the file and free its space, if it is long and no other process reads it."""
        if self.log_bytes() >= _LONG_LOG_BYTES:
            with suppress(sqlite3.Error):  # it stays as it is, which is noticed where the space is needed
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def is_tight(self) -> bool:
        """Whether there is so little space that the log is better kept short."""
        free = self.free_bytes()
        return not self._ample and free < self._reserve + self.log_bytes()

    def log_bytes(self) -> int:
        """Length of the log."""
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    # The reserve file.

    def release_reserve(self) -> bool:
        """Delete the reserve file, so that there is space to write what became of events; False if there is none."""
        try:
            if not stat.S_ISREG(self._reserve_file.lstat().st_mode):
                return False
            self._reserve_file.unlink()
        except OSError:
            return False
        logger.warning(
            "spool: %s: its volume is full; the space that was held in reserve is used to go on delivering what is "
            "stored: delete something else there, or give the volume more space",
            self._path, extra={"path": str(self._path)},
        )  # fmt: skip
        return True

    def hold_reserve(self) -> None:
        """Make the reserve file, if there is none and space for it; hold the writers' lock."""
        free = self.free_bytes(again=True)
        try:
            self._reserve_file.lstat()
        except FileNotFoundError:
            pass
        else:
            return
        if free < 3 * self._reserve + self.log_bytes():
            return
        try:
            descriptor = os.open(
                self._reserve_file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                os.posix_fallocate(descriptor, 0, max(1, self._reserve))
            finally:
                os.close(descriptor)
        except OSError:  # the volume filled up in this moment, or cannot reserve space: there is no reserve then
            with suppress(OSError):
                self._reserve_file.unlink()


def is_full(error: Exception) -> bool:
    """Whether an error means that the volume is full, or may mean it."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        # the last two: shared memory for the log's index could not be made
        return code & 0xFF == sqlite3.SQLITE_FULL or code in (
            sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE,
        )  # fmt: skip
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Space:
    """Manages the space that an open spool file and its log take; the methods block.

    Args:
        writers: The lock of those who change the file.
        ready: Returns the open connection.
        ensure_place: Called with the lock held, sees that the file has not been deleted or replaced.
    """

    def __init__(
        self, path: Path, writers: Lock, *, ready: Callable[[], sqlite3.Connection], ensure_place: Callable[[], None]
    ) -> None:
        self._path = path
        self._writers = writers
        self._ready = ready
        self._ensure_place = ensure_place
        self.volume = Volume(path)
        #: Something was written since the last checkpoint.
        self.written = False

    def checkpoint(self) -> bool:
        """Move the log into the file while others may write: called from a thread that is not the writer's.

        What was committed without waiting for the disk is on it afterwards. True if :meth:`finish_checkpoint` is
        worth calling.
        """
        if not self.written:
            return False
        self.written = False
        place = f"{self._path.as_uri()}?mode=rw"
        # not kept open: the file may be another one the next time
        try:
            with closing(sqlite3.connect(place, uri=True, timeout=0.0, isolation_level=None)) as db:
                _busy, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:  # another process does it, or the file was deleted, which is noticed elsewhere
            self.written = True
            return False
        return bool(frames > _LONG_LOG_PAGES and (frames - moved < _SHORT_REST_PAGES or frames > 4 * _LONG_LOG_PAGES))

    def finish_checkpoint(self) -> None:
        """Move the rest, which was written meanwhile: only when all is moved does the log restart at its beginning."""
        self._ready().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def require(self, wanted: int) -> None:
        """See that so many new bytes leave space for delivering what is stored.

        Raises:
            NoSpace: They do not.
        """
        if not self.volume.takes(wanted):
            with self._writers():
                self._ensure_place()
                self.volume.require(self._ready(), wanted)

    def find(self) -> bool:
        """Make space after a write met a full volume; whether there is some now, and the write may be tried again."""
        with self._writers():
            before = self.volume.log_bytes()
            self.volume.move_log(self._ready())
            found = self.volume.log_bytes() < before
            if self.volume.release_reserve():
                self.volume.move_log(self._ready())
                found = True
        return found

    def keep_log_short(self) -> None:
        """Move the log into the file where space is short."""
        if self.volume.is_tight():
            with self._writers():
                self.volume.move_log(self._ready())

    def hold_reserve(self) -> None:
        """Make the reserve file again, if it was deleted and there is space for it."""
        with self._writers():
            self.volume.hold_reserve()

    def shrink(self, *, everything: bool = False) -> bool:
        """Give free pages back to the file system, if there are many or all are wanted; whether the log is empty."""
        db = self._ready()
        free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
        if not everything and not (free > _SPARE_PAGES and free * 4 > pages):
            return False
        with self._writers():
            turn = free if everything else _PAGES_A_TURN
            self._ensure_place()
            # as a script: execute() would free a single page, because each page is a step without a row
            self._ready().executescript(f"PRAGMA incremental_vacuum({turn})")
            busy, _frames, _moved = self._ready().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def overwrite(self, db: sqlite3.Connection, on: bool) -> None:
        """Choose whether what is deleted from now on is overwritten in the file."""
        db.execute(f"PRAGMA secure_delete = {'ON' if on else 'FAST'}").fetchall()

    def rewrite(self) -> bool:
        """Rewrite the file, so that nothing stays of what once stood in its pages; whether the log is empty then.

        A long file is not rewritten: there, what is deleted is overwritten as it is deleted.
        """
        db = self._ready()
        pages, page_bytes = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
        with self._writers():
            self._ensure_place()
            db = self._ready()
            if pages * page_bytes <= _REWRITTEN_BYTES:
                try:
                    db.execute("VACUUM")
                except sqlite3.Error as error:
                    # a broken page, or no space for a second copy: what was deleted has been overwritten in either case
                    if not (schema.is_damage(error) or is_full(error)):
                        raise
            busy, _frames, _moved = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
