"""What a forwarder must not forget: which orders wait, which are done, which webhooks it knows, how far polling is.

Ids, statuses and times only: nothing of a buyer is ever stored here.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypeVar
from urllib.parse import unquote

import anyio
from msgspec import Struct
from msgspec.structs import replace

from capi_async.bounded import make_room
from capi_async.errors import ConfigError, SpoolError
from capi_async.sources.tiktok_shop.orders import event_id_of
from capi_async.sources.tiktok_shop.webhooks import RecentKeys
from capi_async.spool.sqlite.files import Lock, create_private, refuse_network
from capi_async.thread import OwnedThread

P = ParamSpec("P")
R = TypeVar("R")

#: What became of an order: its purchase is with the client, or it will never be one.
Fate: TypeAlias = Literal["forwarded", "never"]

#: Webhooks are remembered longer than their tolerance lets them come.
SEEN_S: Final = 4 * 86_400.0
#: Orders are remembered longer than any platform takes an event of theirs.
DONE_S: Final = 180 * 86_400.0
_MAX_SEEN: Final = 1_000_000
_TIDY_EVERY: Final = 1_000
_BUSY_S: Final = 10.0
_LOOK_S: Final = 0.02


class Waiting(Struct, frozen=True):
    """An order that is to be read and forwarded.

    Attributes:
        since: Seconds since the epoch at which it was taken in.
        tries: Attempts so far.
        asks: How often it was taken in. News that come while it is dealt with make it stay.
    """

    shop_id: str
    order_id: str
    since: float
    tries: int = 0
    asks: int = 0

    @property
    def event_id(self) -> str:
        """Of its purchase."""
        return event_id_of(self.shop_id, self.order_id)


class ForwarderState(Protocol):
    """The memory of one forwarder, or of several on one host. All or nothing, call by call."""

    #: Whether it outlives the process.
    durable: bool

    async def open(self) -> None:
        """Get ready."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def begin(self, shop_id: str, at: float) -> float:
        """When this shop was first forwarded from: ``at``, unless an earlier call has said so already."""
        ...

    async def take_in(
        self, keys: Sequence[str], orders: Sequence[tuple[str, str]], *, at: float, max_waiting: int
    ) -> bool | None:
        """Remember a webhook's keys and let its orders (shop, order) wait; on return it is as durable as it gets.

        Orders that are done are left out; those that wait already are due now.

        Returns:
            False if one of the keys is known already; ``None`` if too many wait, and nothing was kept.
        """
        ...

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        """Orders of these shops whose time has come, the longest due first."""
        ...

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        """When the next order of these shops is due, in seconds since the epoch; ``None`` if none waits."""
        ...

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        """Let these wait until then, one attempt later; those that were taken in again meanwhile are due now."""
        ...

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        """These wait no more, unless taken in again meanwhile. Nothing is remembered of them: news bring them back."""
        ...

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> None:
        """These wait no more, and what became of them is remembered."""
        ...

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        """What became of the events of these ids, as far as it is remembered."""
        ...

    async def cursor(self, shop_id: str) -> float | None:
        """Up to when polling has seen the shop's updates, in seconds since the epoch."""
        ...

    async def advance(self, shop_id: str, to: float) -> None:
        """Polling has seen everything up to ``to``; it never goes back."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Nobody else, in any process, forwards while this is held. It ends with the process, however that ends."""
        ...


def open_state(state: str | ForwarderState) -> ForwarderState:
    """The state that a setting names.

    Args:
        state: ``"memory"``, ``"sqlite:///relative.db"``, ``"sqlite:////absolute.db"``, or an object of your own.

    Raises:
        ConfigError: There is no such state.
    """
    if not isinstance(state, str):
        return state
    if state == "memory":
        return MemoryState()
    name = unquote(state.removeprefix("sqlite://"))
    if not state.startswith("sqlite://") or not name.startswith("/") or name.endswith("/") or "?" in name:
        raise ConfigError("state: write 'memory', sqlite:///relative.db or sqlite:////absolute.db")
    return SqliteState(Path(name[1:]).absolute())


class MemoryState:
    """Forgets everything with the process: polling finds again what was not forwarded, and what was."""

    durable = False

    def __init__(self) -> None:
        self._seen = RecentKeys()
        self._waiting: dict[tuple[str, str], tuple[Waiting, float]] = {}
        self._done: dict[str, Fate] = {}
        self._begun: dict[str, float] = {}
        self._cursors: dict[str, float] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: what it knows may be asked for again."""

    async def begin(self, shop_id: str, at: float) -> float:
        """See :meth:`ForwarderState.begin`."""
        return self._begun.setdefault(shop_id, at)

    async def take_in(
        self, keys: Sequence[str], orders: Sequence[tuple[str, str]], *, at: float, max_waiting: int
    ) -> bool | None:
        """See :meth:`ForwarderState.take_in`."""
        if any(key in self._seen for key in keys):
            return False
        fresh = [order for order in orders if event_id_of(*order) not in self._done]
        if fresh and len(self._waiting) >= max_waiting:
            return None
        self._seen.add(tuple(keys))
        for order in fresh:
            known = self._waiting.get(order)
            waiting = Waiting(*order, since=at) if known is None else replace(known[0], asks=known[0].asks + 1)
            self._waiting[order] = waiting, at
        return True

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        """See :meth:`ForwarderState.waiting`."""
        mine = [(one, at) for one, at in self._waiting.values() if one.shop_id in shop_ids and at <= now]
        due = sorted([(at, one.since, one.order_id, one) for one, at in mine])
        return [one for *_, one in due[:limit]]

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        """See :meth:`ForwarderState.next_due`."""
        return min((at for one, at in self._waiting.values() if one.shop_id in shop_ids), default=None)

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        """See :meth:`ForwarderState.postpone`."""
        for one in orders:
            known, due = self._waiting.get((one.shop_id, one.order_id), (None, 0.0))
            if known is not None:
                later = due if known.asks != one.asks else until
                self._waiting[one.shop_id, one.order_id] = replace(known, tries=one.tries + 1), later

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        """See :meth:`ForwarderState.let_go`."""
        for one in orders:
            known, _ = self._waiting.get((one.shop_id, one.order_id), (None, 0.0))
            if known is not None and known.asks == one.asks:
                del self._waiting[one.shop_id, one.order_id]

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> None:
        """See :meth:`ForwarderState.finish`."""
        for one in orders:
            self._waiting.pop((one.shop_id, one.order_id), None)
            make_room(self._done, one.event_id, _MAX_SEEN)
            self._done[one.event_id] = fate

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        """See :meth:`ForwarderState.done`."""
        return {event_id: self._done[event_id] for event_id in event_ids if event_id in self._done}

    async def cursor(self, shop_id: str) -> float | None:
        """See :meth:`ForwarderState.cursor`."""
        return self._cursors.get(shop_id)

    async def advance(self, shop_id: str, to: float) -> None:
        """See :meth:`ForwarderState.advance`."""
        self._cursors[shop_id] = max(to, self._cursors.get(shop_id, to))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nobody else knows this memory."""
        yield


#: In the file's header: it is ours ("CTTS"), and which form the tables have.
_APPLICATION: Final = 0x43545453
_VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE shop (id TEXT PRIMARY KEY, begun REAL, cursor REAL) WITHOUT ROWID",
    "CREATE TABLE seen (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX seen_at ON seen (at)",
    "CREATE TABLE waiting (shop TEXT NOT NULL, id TEXT NOT NULL, since REAL NOT NULL, due REAL NOT NULL,"
    " tries INTEGER NOT NULL, asks INTEGER NOT NULL, PRIMARY KEY (shop, id)) WITHOUT ROWID",
    "CREATE INDEX waiting_due ON waiting (due)",
    "CREATE TABLE done (event TEXT PRIMARY KEY, fate TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX done_at ON done (at)",
)


class SqliteState:
    """In one file, which several processes of a host may share. What a call has written is on the disk.

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
        """See :meth:`ForwarderState.begin`."""
        return await self._call(self._begin, shop_id, at)

    async def take_in(
        self, keys: Sequence[str], orders: Sequence[tuple[str, str]], *, at: float, max_waiting: int
    ) -> bool | None:
        """See :meth:`ForwarderState.take_in`."""
        return await self._call(self._take_in, keys, orders, at, max_waiting)

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        """See :meth:`ForwarderState.waiting`."""
        places = _places(shop_ids)
        wanted = f"SELECT shop, id, since, tries, asks FROM waiting WHERE due <= ? AND shop IN ({places})"  # noqa: S608
        rows = await self._call(self._rows, f"{wanted} ORDER BY due, since LIMIT ?", (now, *shop_ids, limit))
        return [Waiting(*row) for row in rows]

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        """See :meth:`ForwarderState.next_due`."""
        wanted = f"SELECT min(due) FROM waiting WHERE shop IN ({_places(shop_ids)})"  # noqa: S608
        rows = await self._call(self._rows, wanted, tuple(shop_ids))
        due: float | None = rows[0][0]
        return due

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        """See :meth:`ForwarderState.postpone`."""
        rows = [(until, one.tries + 1, one.shop_id, one.order_id, one.asks) for one in orders]
        await self._call(
            self._write, "UPDATE waiting SET due = ?, tries = ? WHERE shop = ? AND id = ? AND asks = ?", rows
        )

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        """See :meth:`ForwarderState.let_go`."""
        rows = [(one.shop_id, one.order_id, one.asks) for one in orders]
        await self._call(self._write, "DELETE FROM waiting WHERE shop = ? AND id = ? AND asks = ?", rows)

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> None:
        """See :meth:`ForwarderState.finish`."""
        await self._call(self._finish, orders, fate, at)

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        """See :meth:`ForwarderState.done`."""
        return await self._call(self._done, list(event_ids))

    async def cursor(self, shop_id: str) -> float | None:
        """See :meth:`ForwarderState.cursor`."""
        rows = await self._call(self._rows, "SELECT cursor FROM shop WHERE id = ?", (shop_id,))
        found: float | None = rows[0][0] if rows else None
        return found

    async def advance(self, shop_id: str, to: float) -> None:
        """See :meth:`ForwarderState.advance`."""
        await self._call(
            self._write,
            "INSERT INTO shop (id, cursor) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET cursor = max(excluded.cursor, ifnull(cursor, excluded.cursor))",
            [(shop_id, to)],
        )

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """See :meth:`ForwarderState.exclusive`."""
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
        db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            self._recognise(db)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        self._db = db

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

    def _take_in(
        self, keys: Sequence[str], orders: Sequence[tuple[str, str]], at: float, max_waiting: int
    ) -> bool | None:
        with _transaction(self._ready()) as db:
            if any(db.execute("SELECT 1 FROM seen WHERE key = ?", (key,)).fetchone() for key in keys):
                return False
            fresh = [
                order
                for order in orders
                if not db.execute("SELECT 1 FROM done WHERE event = ?", (event_id_of(*order),)).fetchone()
            ]
            if fresh and db.execute("SELECT count(*) FROM waiting").fetchone()[0] >= max_waiting:
                return None
            db.executemany("INSERT INTO seen (key, at) VALUES (?, ?)", [(key, at) for key in keys])
            db.executemany(
                "INSERT INTO waiting (shop, id, since, due, tries, asks) VALUES (?, ?, ?, ?, 0, 0)"
                " ON CONFLICT (shop, id) DO UPDATE SET due = min(due, excluded.due), asks = asks + 1",
                [(*order, at, at) for order in fresh],
            )
            self._writes += 1
            if self._writes % _TIDY_EVERY == 0:
                self._tidy(db, at)
        return True

    def _tidy(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("DELETE FROM seen WHERE at < ?", (now - SEEN_S,))
        surplus = "SELECT key FROM seen ORDER BY at DESC LIMIT -1 OFFSET ?"
        db.execute(f"DELETE FROM seen WHERE key IN ({surplus})", (_MAX_SEEN,))  # noqa: S608 # our own text
        db.execute("DELETE FROM done WHERE at < ?", (now - DONE_S,))

    def _finish(self, orders: Sequence[Waiting], fate: Fate, at: float) -> None:
        with _transaction(self._ready()) as db:
            db.executemany(
                "DELETE FROM waiting WHERE shop = ? AND id = ?", [(one.shop_id, one.order_id) for one in orders]
            )
            db.executemany(
                "INSERT OR IGNORE INTO done (event, fate, at) VALUES (?, ?, ?)",
                [(one.event_id, fate, at) for one in orders],
            )

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
