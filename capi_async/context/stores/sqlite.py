"""A store of contexts in a SQLite file, which processes of one host may share."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from capi_async.context.context import RequestContext
from capi_async.context.stores.base import KEEP_S, checked_key, checked_keys, checked_time
from capi_async.errors import CapiError, ConfigError, ContextError
from capi_async.files import create_private, refuse_planted
from capi_async.thread import OwnedThread

T = TypeVar("T")

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS capi_contexts (key TEXT PRIMARY KEY, text TEXT NOT NULL, expires REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS capi_contexts_expires ON capi_contexts (expires)",
)
#: So many that are too old are erased with each that is put.
_PURGED: Final = 100


class SqliteContextStore:
    """A :class:`~capi_async.context.stores.ContextStore` in a SQLite file of mode 0600.

    What is forgotten, taken or too old is overwritten in the file. The file is opened with the first call, in a
    thread of its own; after a fork, the child opens it anew.

    Args:
        path: Of the file; its directory must be there.
        keys: What is stored is encrypted with the first; all of them open. Needs the extra ``encryption``.
        lock_s: Seconds to wait while another process writes; a call fails after that.
        now: Seconds since 1970.

    Raises:
        ConfigError: No path of a file is given, or a key is malformed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: Sequence[str] = (),
        lock_s: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)) or not Path(path).name:
            raise ConfigError("context store: needs the path of a file")
        self.path = Path(path)
        self._keys = checked_keys(keys)
        self._lock_s = lock_s
        self._now = now
        self._thread: OwnedThread | None = None
        # by process: a fork may find its parent's held
        self._locks: dict[int, threading.Lock] = {}
        self._connection: sqlite3.Connection | None = None
        self._process = 0

    async def put(self, key: str, context: RequestContext, *, keep_s: float = KEEP_S) -> None:
        """As :meth:`ContextStore.put`."""
        expires = self._now() + checked_time(keep_s)
        row = (checked_key(key), context.dump(keys=self._keys), expires)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO capi_contexts VALUES (?, ?, ?)", row)
            connection.execute(
                "DELETE FROM capi_contexts WHERE key IN (SELECT key FROM capi_contexts WHERE expires <= ? LIMIT ?)",
                (self._now(), _PURGED),
            )

        await self._run(write)

    async def get(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.get`."""
        return self._loaded(await self._row("SELECT text, expires FROM capi_contexts WHERE key = ?", key))

    async def take(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.take`."""
        return self._loaded(await self._row("DELETE FROM capi_contexts WHERE key = ? RETURNING text, expires", key))

    async def forget(self, key: str) -> bool:
        """As :meth:`ContextStore.forget`."""
        return await self._row("DELETE FROM capi_contexts WHERE key = ? RETURNING text, expires", key) is not None

    async def aclose(self) -> None:
        """Close the file and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid():
            await thread.run(self._close)
            thread.stop()

    async def _row(self, statement: str, key: str) -> tuple[str, float] | None:
        checked_key(key)
        rows = await self._run(lambda connection: connection.execute(statement, (key,)).fetchall())
        return rows[0] if rows else None

    def _loaded(self, row: tuple[str, float] | None) -> RequestContext | None:
        if row is None or row[1] <= self._now():
            return None
        return RequestContext.load(row[0], keys=self._keys)

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await self._started().run(self._call, job)

    def _started(self) -> OwnedThread:
        """The one thread that uses the file; several event loops may ask for it at once."""
        process = os.getpid()
        with self._locks.setdefault(process, threading.Lock()):
            if self._thread is None or self._process != process:
                # of a parent's thread and connection nothing is left in a fork but what must not be touched
                self._process, self._connection = process, None
                self._thread = OwnedThread("capi_async-contexts")
            self._thread.start()
            return self._thread

    def _call(self, job: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection:
                return job(self._connection)
        except sqlite3.Error as error:
            locked = "locked" in str(error) or "busy" in str(error)
            why = f"another process held it locked for {self._lock_s:g} s" if locked else type(error).__name__
            raise ContextError(f"context store {self.path}: {why}") from error
        except (OSError, CapiError) as error:
            if isinstance(error, ContextError):
                raise
            raise ContextError(
                f"context store {self.path}: cannot be opened ({type(error).__name__}): {error}"
            ) from error

    def _open(self) -> sqlite3.Connection:
        refuse_planted(self.path)
        create_private(self.path)
        connection = sqlite3.connect(self.path, timeout=self._lock_s, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA secure_delete=ON")
            for statement in _SCHEMA:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __repr__(self) -> str:
        return f"SqliteContextStore({str(self.path)!r})"
