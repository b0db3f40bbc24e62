"""A forwarder's state in one file, which the processes of a host may share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import anyio

from capi_async.database_files import connected
from capi_async.errors import ConfigError, SpoolError
from capi_async.files import Lock, create_private, refuse_network
from capi_async.sources.tiktok_shop.orders import event_id_of
from capi_async.sources.tiktok_shop.state.base import DONE_S, MAX_SEEN, SEEN_S, Fate, Waiting
from capi_async.thread import OwnedThread

P = ParamSpec("P")
R = TypeVar("R")

_TIDY_EVERY: Final = 1_000
_BUSY_S: Final = 10.0
_LOOK_S: Final = 0.02

#: In the file's header: it is ours ("CTTS"), and which form the tables have.
_APPLICATION: Final = 0x43545453
_VERSION: Final = 2
_TABLES: Final = (
    "CREATE TABLE shop (id TEXT PRIMARY KEY, begun REAL, cursor REAL) WITHOUT ROWID",
    "CREATE TABLE seen (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX seen_at ON seen (at)",
    "CREATE TABLE waiting (shop TEXT NOT NULL, id TEXT NOT NULL, since REAL NOT NULL, due REAL NOT NULL,"
    " tries INTEGER NOT NULL, asks INTEGER NOT NULL, changed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (shop, id))"
    " WITHOUT ROWID",
    "CREATE INDEX waiting_due ON waiting (due)",
    "CREATE TABLE done (event TEXT PRIMARY KEY, fate TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX done_at ON done (at)",
)


class SqliteState:
    """In one file, which several processes of a host may share. What a call has written is on the disk.

    What each method promises stands at :class:`~capi_async.sources.tiktok_shop.state.base.ForwarderState`.

    Args:
        path: Made (mode 0600) if there is none; ``<path>-lock`` beside it holds the turn of who forwards.
    """

    durable = True

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._thread: OwnedThread | None = None
        self._db: sqlite3.Connection | None = None
        self._turn = Lock(path.with_name(path.name + "-lock"))
        # the lock on the file keeps other processes out, and other objects; not our own tasks
        self._own_turn = asyncio.Lock()
        self._writes = 0

    async def open(self) -> None:
        """Open the file, or make it.

        Raises:
            ConfigError: It is something else, lies on a network file system, or is of a newer version.
            SpoolError: It cannot be opened.
        """
        thread = self._thread = OwnedThread("capi_async-shop-state")
        try:
            await self._call(self._open)
        except BaseException:
            self._thread = None
            thread.stop()
            raise

    async def close(self) -> None:
        """Close the file."""
        thread = self._thread
        if thread is None:
            return
        try:
            await thread.run(self._close)
        finally:
            self._thread = None
            thread.stop()
            self._turn.close()

    async def begin(self, shop_id: str, at: float) -> float:
        return await self._call(self._begin, shop_id, at)

    async def begun(self, shop_id: str) -> float | None:
        rows = await self._call(self._rows, "SELECT begun FROM shop WHERE id = ?", (shop_id,))
        found: float | None = rows[0][0] if rows else None
        return found

    async def reach_back(self, shop_id: str, to: float) -> bool:
        return await self._call(self._reach_back, shop_id, to)

    async def take_in(
        self,
        keys: Sequence[str],
        orders: Sequence[tuple[str, str]],
        *,
        at: float,
        max_waiting: int,
        changed_at: Mapping[str, int] | None = None,
    ) -> bool | None:
        return await self._call(self._take_in, keys, orders, at, max_waiting, changed_at or {})

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        places = _places(shop_ids)
        wanted = "SELECT shop, id, since, tries, asks, changed FROM waiting WHERE due <= ?"
        order = f"AND shop IN ({places}) ORDER BY due, since LIMIT ?"
        rows = await self._call(self._rows, f"{wanted} {order}", (now, *shop_ids, limit))
        return [Waiting(*row) for row in rows]

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        wanted = f"SELECT min(due) FROM waiting WHERE shop IN ({_places(shop_ids)})"  # noqa: S608
        rows = await self._call(self._rows, wanted, tuple(shop_ids))
        due: float | None = rows[0][0]
        return due

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        rows = [(until, one.tries + 1, one.shop_id, one.order_id, one.asks) for one in orders]
        await self._call(
            self._write, "UPDATE waiting SET due = ?, tries = ? WHERE shop = ? AND id = ? AND asks = ?", rows
        )

    async def hold(self, shop_id: str, *, until: float) -> None:
        await self._call(self._write, "UPDATE waiting SET due = max(due, ?) WHERE shop = ?", [(until, shop_id)])

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        rows = [(one.shop_id, one.order_id, one.asks) for one in orders]
        await self._call(self._write, "DELETE FROM waiting WHERE shop = ? AND id = ? AND asks = ?", rows)

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> list[str]:
        return await self._call(self._finish, orders, fate, at)

    async def cancel(self, orders: Sequence[tuple[str, str]], *, at: float) -> list[str]:
        return await self._call(self._cancel, orders, at)

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        return await self._call(self._done, list(event_ids))

    async def cursor(self, shop_id: str) -> float | None:
        rows = await self._call(self._rows, "SELECT cursor FROM shop WHERE id = ?", (shop_id,))
        found: float | None = rows[0][0] if rows else None
        return found

    async def advance(self, shop_id: str, to: float) -> None:
        await self._call(
            self._write,
            "INSERT INTO shop (id, cursor) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET cursor = max(excluded.cursor, ifnull(cursor, excluded.cursor))",
            [(shop_id, to)],
        )

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._own_turn:
            while True:
                if self._turn.acquire(wait=False):
                    break
                await anyio.sleep(_LOOK_S)
            try:
                yield
            finally:
                self._turn.release()

    # In the thread.

    def _open(self) -> None:
        refuse_network(self.path.parent)
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ConfigError(f"state: {self.path}: the directory does not exist, or the name is a directory")
        create_private(self.path)
        try:
            db = connected(self.path, self._refuse_foreign, busy_s=_BUSY_S)
        except OSError as error:
            raise SpoolError(f"state: {self.path} cannot be opened: {error.strerror}") from error
        try:
            db.execute("BEGIN IMMEDIATE")
            self._recognise(db)
            db.execute("COMMIT")
            # only now: the mode of the journal is a property of the file, which may have been somebody else's
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
        self._db = db

    def _refuse_foreign(self, head: bytes | None) -> None:
        """What this file is, by its first bytes; one that is open here already is ours."""
        if head is None:
            return
        if head and not head.startswith(b"SQLite format 3\0"):
            raise ConfigError(f"state: {self.path} is no database, and was left as it is; choose another file")
        if int.from_bytes(head[68:72], "big") not in (0, _APPLICATION):
            raise ConfigError(f"state: {self.path} is a database of something else; choose another file")

    def _recognise(self, db: sqlite3.Connection) -> None:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application == 0 and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        elif application != _APPLICATION:
            raise ConfigError(f"state: {self.path} is a database of something else; choose another file")
        elif version == 1:
            db.execute("ALTER TABLE waiting ADD COLUMN changed INTEGER NOT NULL DEFAULT 0")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise ConfigError(f"state: {self.path} was written by another version of capi_async; update it")

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _ready(self) -> sqlite3.Connection:
        if self._db is None:
            raise SpoolError("the shop's state is not open")
        return self._db

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        return self._ready().execute(statement, values).fetchall()

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with _transaction(self._ready()) as db:
            db.executemany(statement, rows)

    def _begin(self, shop_id: str, at: float) -> float:
        with _transaction(self._ready()) as db:
            db.execute(
                "INSERT INTO shop (id, begun) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET begun = ifnull(begun, excluded.begun)",
                (shop_id, at),
            )
            return float(db.execute("SELECT begun FROM shop WHERE id = ?", (shop_id,)).fetchone()[0])

    def _reach_back(self, shop_id: str, to: float) -> bool:
        with _transaction(self._ready()) as db:
            changed = db.execute(
                "UPDATE shop SET begun = ?, cursor = min(cursor, ?) WHERE id = ? AND begun > ?", (to, to, shop_id, to)
            )
            if not changed.rowcount:
                return False
            mine = event_id_of(shop_id, "")
            db.execute("DELETE FROM done WHERE fate = 'never' AND substr(event, 1, ?) = ?", (len(mine), mine))
        return True

    def _take_in(
        self,
        keys: Sequence[str],
        orders: Sequence[tuple[str, str]],
        at: float,
        max_waiting: int,
        changed_at: Mapping[str, int],
    ) -> bool | None:
        with _transaction(self._ready()) as db:
            if any(db.execute("SELECT 1 FROM seen WHERE key = ?", (key,)).fetchone() for key in keys):
                db.executemany(
                    "UPDATE waiting SET due = min(due, ?) WHERE shop = ? AND id = ?", [(at, *order) for order in orders]
                )
                return False
            fresh = [
                order
                for order in orders
                if not db.execute("SELECT 1 FROM done WHERE event = ?", (event_id_of(*order),)).fetchone()
            ]
            if self._is_full(db, fresh, max_waiting):
                return None
            db.executemany("INSERT INTO seen (key, at) VALUES (?, ?)", [(key, at) for key in keys])
            db.executemany(
                "INSERT INTO waiting (shop, id, since, due, tries, asks, changed) VALUES (?, ?, ?, ?, 0, 0, ?)"
                " ON CONFLICT (shop, id) DO UPDATE SET due = min(due, excluded.due), asks = asks + 1,"
                " changed = max(changed, excluded.changed)",
                [(*order, at, at, changed_at.get(order[1], 0)) for order in fresh],
            )
            self._writes += 1
            if self._writes % _TIDY_EVERY == 0:
                self._tidy(db, at)
        return True

    def _is_full(self, db: sqlite3.Connection, orders: Sequence[tuple[str, str]], max_waiting: int) -> bool:
        """Whether the shop of these has no room for those that do not wait yet."""
        if not orders:
            return False
        # counting stops where the bound is
        bounded = "SELECT count(*) FROM (SELECT 1 FROM waiting WHERE shop = ? LIMIT ?)"
        if db.execute(bounded, (orders[0][0], max_waiting)).fetchone()[0] < max_waiting:
            return False
        known = "SELECT 1 FROM waiting WHERE shop = ? AND id = ?"
        return not all(db.execute(known, order).fetchone() for order in orders)

    def _tidy(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("DELETE FROM seen WHERE at < ?", (now - SEEN_S,))
        surplus = "SELECT key FROM seen ORDER BY at DESC LIMIT -1 OFFSET ?"
        db.execute(f"DELETE FROM seen WHERE key IN ({surplus})", (MAX_SEEN,))  # noqa: S608 # our own text
        db.execute("DELETE FROM done WHERE at < ?", (now - DONE_S,))

    def _finish(self, orders: Sequence[Waiting], fate: Fate, at: float) -> list[str]:
        overtaken = []
        with _transaction(self._ready()) as db:
            if fate == "forwarded":
                void = "UPDATE done SET fate = 'cancelled' WHERE event = ? AND fate = 'void'"
                overtaken = [one.event_id for one in orders if db.execute(void, (one.event_id,)).rowcount]
            db.executemany(
                "DELETE FROM waiting WHERE shop = ? AND id = ?", [(one.shop_id, one.order_id) for one in orders]
            )
            db.executemany(
                "INSERT OR IGNORE INTO done (event, fate, at) VALUES (?, ?, ?)",
                [(one.event_id, fate, at) for one in orders],
            )
        return overtaken

    def _cancel(self, orders: Sequence[tuple[str, str]], at: float) -> list[str]:
        events = [event_id_of(*order) for order in orders]
        with _transaction(self._ready()) as db:
            forwarded = "UPDATE done SET fate = 'cancelled' WHERE event = ? AND fate = 'forwarded'"
            told = [one for one in events if db.execute(forwarded, (one,)).rowcount]
            db.executemany(
                "INSERT OR IGNORE INTO done (event, fate, at) VALUES (?, 'void', ?)", [(one, at) for one in events]
            )
        return told

    def _done(self, event_ids: list[str]) -> dict[str, Fate]:
        db = self._ready()
        found: dict[str, Fate] = {}
        for event_id in event_ids:
            row = db.execute("SELECT fate FROM done WHERE event = ?", (event_id,)).fetchone()
            if row is not None:
                found[event_id] = row[0]
        return found

    async def _call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._thread is None:
            raise SpoolError("the shop's state is not open")
        try:
            return await self._thread.run(function, *args, **kwargs)
        except sqlite3.Error as error:
            raise SpoolError(f"the shop's state cannot be kept: {error}") from error
        except OSError as error:
            raise SpoolError(f"the shop's state cannot be kept: {error.strerror}") from error


def _places(values: Sequence[str]) -> str:
    """Question marks, and nothing else."""
    return ", ".join("?" * len(values))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, alone among all processes."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
