"""Room on the volume of a spool file: new events are refused while what is stored can still be delivered.

Delivering needs room, too: that a request is about to be made, and how it ended, is written before anything else
happens. So some room is kept free of new events, and some is held by a file that is given up when others took the rest.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from capi_async.errors import SpoolError

logger = logging.getLogger(__name__)

#: Most bytes that are kept free of new events, and as many that the reserve file holds.
_RESERVE_BYTES: Final = 2 * 1024 * 1024

#: Of a small volume, this part.
_RESERVE_PART: Final = 16

#: Seconds between two looks at the volume, and between two warnings that it is full.
_LOOK_S: Final = 0.25
_SAY_AGAIN_S: Final = 60.0

#: Bytes in the log from which on it is worth to move it into the file while there is little room.
_LONG_LOG_BYTES: Final = 128 * 1024


class NoRoom(SpoolError):
    """New events are not taken because the volume is nearly full; what is stored is still delivered."""


class Room:
    """What the volume of one spool file still takes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._file = path.with_name(path.name + "-reserve")
        self._looked_at = -_LOOK_S
        self._said_at = -_SAY_AGAIN_S
        self._free = 0
        self._reserve = _RESERVE_BYTES
        #: Moment up to which new events are refused without another look.
        self._full_until = 0.0

    def look(self, *, again: bool = False) -> int:
        """Free bytes, as they were a moment ago."""
        now = time.monotonic()
        if again or now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            volume = os.statvfs(self._path.parent)
            self._free = volume.f_bavail * volume.f_frsize
            self._reserve = min(_RESERVE_BYTES, volume.f_blocks * volume.f_frsize // _RESERVE_PART)
        return self._free

    def takes(self, wanted: int) -> bool:
        """Whether so many new bytes fit in any case: a few microseconds, without asking SQLite."""
        if time.monotonic() < self._full_until:
            return False
        # what is stored goes into the log first, and into the file later
        if self.look() - 2 * wanted - self.log_bytes() < self._reserve:
            return False
        self._free -= wanted
        return True

    def make(self, db: sqlite3.Connection, wanted: int) -> None:
        """Make room for so many new bytes, by moving the log into the file if that is needed; hold the writers' lock.

        Raises:
            NoRoom: There is none.
        """
        now = time.monotonic()
        if now >= self._full_until:
            if self._fits(db, wanted):
                return
            self.move_log(db)
            if self._fits(db, wanted):
                return
            self._full_until = now + _LOOK_S
        text = (
            f"{self._path}: its volume is nearly full ({self._free / 1e6:.1f} MB are free, "
            f"{self._reserve / 1e6:.1f} MB of which are kept for delivering what is stored); new events are refused "
            "until there is room: delete something else there, or give the volume more space"
        )
        if now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            logger.error("spool: %s", text, extra={"path": str(self._path), "free_bytes": self._free})
        raise NoRoom(text, stored=False)

    def _fits(self, db: sqlite3.Connection, wanted: int) -> bool:
        pages, spare, page_bytes = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        # what the file grows by as soon as the log is moved
        growth = max(0, pages * page_bytes - self._path.stat().st_size) + max(0, wanted - spare * page_bytes)
        return self.look(again=True) - growth - wanted >= self._reserve

    def move_log(self, db: sqlite3.Connection) -> None:
        """Move the log into the file and give its space back, if it is long and nobody reads it."""
        if self.log_bytes() >= _LONG_LOG_BYTES:
            with suppress(sqlite3.Error):  # it stays as it is, which is found out by whoever needs the room
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def is_tight(self) -> bool:
        """Whether there is so little room that the log is better kept short."""
        return self.look() < self._reserve + self.log_bytes()

    def log_bytes(self) -> int:
        """Length of the log."""
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    # The reserve file.

    def give_up(self) -> bool:
        """Give the reserve file up, so that there is room to write what became of events; False if there is none."""
        try:
            if not stat.S_ISREG(self._file.lstat().st_mode):
                return False
            self._file.unlink()
        except OSError:
            return False
        logger.warning(
            "spool: %s: its volume is full; the space that was held in reserve is used to go on delivering what is "
            "stored: delete something else there, or give the volume more space",
            self._path, extra={"path": str(self._path)},
        )  # fmt: skip
        return True

    def hold(self) -> None:
        """Make the reserve file, if there is none and room for it; hold the writers' lock."""
        free = self.look(again=True)
        try:
            self._file.lstat()
        except FileNotFoundError:
            pass
        else:
            return
        if free < 3 * self._reserve + self.log_bytes():
            return
        try:
            file = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(file, 0, max(1, self._reserve))
            finally:
                os.close(file)
        except OSError:  # the volume filled up in this moment, or cannot set space apart: there is none then
            with suppress(OSError):
                self._file.unlink()


def is_full(error: Exception) -> bool:
    """Whether an error says that the volume is full, or may say so."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        # the last two: shared memory for the log's index could not be made
        return code & 0xFF == sqlite3.SQLITE_FULL or code in (
            sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE,
        )  # fmt: skip
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
