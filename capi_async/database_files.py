"""Connections to SQLite files whose first bytes are looked at before: opening somebody else's could already change it.

As POSIX has it, closing any descriptor of a file releases all locks that this process has on it, those of its SQLite
connections too: the next process to close the file would take itself for the last one, and delete the log that this one
writes to. So the first bytes are read only while this process has no connection to the file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Device and inode of each file to which this process has connections, and how many; and the lock to look and change.
_open_here: Counter[tuple[int, int]] = Counter()
_listing = threading.Lock()

_HEADER_BYTES = 100


class _Listed(sqlite3.Connection):
    """A connection that is listed as long as it is open."""

    _identity: tuple[int, int] | None = None

    def note(self, path: Path) -> None:
        """Note which file is open, while holding the lock."""
        found = path.stat()
        self._identity = found.st_dev, found.st_ino
        _open_here[self._identity] += 1

    def close(self) -> None:
        super().close()
        with _listing:
            if self._identity is not None:
                _open_here[self._identity] -= 1
                self._identity = None


def looked_at(path: Path, look: Callable[[bytes | None], T]) -> T:
    """What ``look`` makes of a file's first bytes; it is given ``None`` if this process has connections to the file.

    Raises:
        OSError: The file cannot be read.
    """
    with _listing:
        return look(_first_bytes(path))


def connected(path: Path, look: Callable[[bytes | None], object], *, busy_s: float) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread, made once ``look`` has seen the first bytes.

    Args:
        look: As in :func:`looked_at`; raises if it is not to be opened.
        busy_s: Seconds for which SQLite waits for a lock.

    Raises:
        OSError, sqlite3.Error: The file cannot be read, or opened.
    """
    with _listing:
        look(_first_bytes(path))
        connection = sqlite3.connect(
            path, timeout=busy_s, isolation_level=None, check_same_thread=False, factory=_Listed
        )
        connection.note(path)
    return connection


def _first_bytes(path: Path) -> bytes | None:
    found = path.stat()
    if _open_here[found.st_dev, found.st_ino]:
        return None
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)
