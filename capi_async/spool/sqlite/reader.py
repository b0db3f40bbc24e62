"""Reads a spool file without changing anything: neither the file, nor those that SQLite makes next to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from capi_async.errors import ConfigError, SpoolError
from capi_async.files import refuse_planted
from capi_async.followup import SentRequest
from capi_async.outcome import OUTCOME_KINDS
from capi_async.spool.base import DeadLetter, Ledger, LetterFilter, OnSettled, ignore_recall, ignore_settled
from capi_async.spool.sqlite import dead_letters, kept_ids, schema
from capi_async.spool.sqlite.board import FileBoard
from capi_async.spool.sqlite.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that a reading waits for a process that has the file locked.
_BUSY_S: Final = 5.0


class SqliteReader:
    """What a spool file knows of its events, as :class:`~capi_async.spool.base.Spool` gives it."""

    durable = True
    where = "on disk"

    def __init__(self, options: Options) -> None:
        self._path = options.path

    async def open(
        self,
        destinations: Sequence[str],
        wake: Callable[[str], None],
        settled: OnSettled = ignore_settled,
        *,
        deliver: bool = False,
        recall: Callable[[], Awaitable[None]] = ignore_recall,
    ) -> None:
        """See that it is a spool file.

        Raises:
            ConfigError: It is not, or one of a newer version.
            SpoolError: It cannot be read.
        """
        if not self._path.is_file():
            raise ConfigError(f"spool: there is no file {self._path}; looking into a spool does not make one")
        refuse_planted(self._path)
        schema.refuse_foreign(self._path)
        with self._reading() as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION:
                raise ConfigError(f"spool: {self._path} is no spool")
            if db.execute("PRAGMA user_version").fetchone()[0] > schema.VERSION:
                raise ConfigError(f"spool: {self._path} was written by a newer capi_async; update")

    async def close(self) -> None:
        """Nothing is open between two readings."""

    def ledger(self) -> Mapping[str, Ledger]:
        """See :meth:`~capi_async.spool.base.Spool.ledger`."""
        counts: dict[str, dict[str, int]] = {}
        with self._reading() as db:
            for destination, kind, number in db.execute("SELECT destination, kind, n FROM ledger"):
                counts.setdefault(destination, {})[kind] = number
        return {
            name: Ledger(**{kind: of.get(kind, 0) for kind in ("accepted", *OUTCOME_KINDS)})
            for name, of in counts.items()
        }

    def board(self) -> FileBoard:
        """See :meth:`~capi_async.spool.base.HasBoard.board`."""
        return FileBoard(self._path)

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.spool.base.Spool.letters`."""
        with self._reading() as db:
            return dead_letters.select(db, wanted)

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        with self._reading() as db:
            return kept_ids.find_sent(db, destination, since)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        # without a log no process uses the file. SQLite would make one to read it, unless it is opened as immutable
        used = self._path.with_name(self._path.name + "-wal").exists()
        place = f"{self._path.as_uri()}?{'mode=ro' if used else 'mode=ro&immutable=1'}"
        try:
            with closing(sqlite3.connect(place, uri=True, timeout=_BUSY_S)) as db:
                yield db
        except sqlite3.Error as error:
            raise SpoolError(f"{self._path} cannot be read: {error}") from error
