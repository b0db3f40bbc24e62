"""The bounded door of a client: tickets in, micro-batches out, room for every record or a clear no."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias

from capi_async.clock import Clock
from capi_async.engine.hooks import Hooks
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.errors import CapiError, ClientClosed, QueueFull, SpoolError
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.spool.base import Record, Refused, Spool
from capi_async.thread import OwnedThread

logger = logging.getLogger(__name__)

Overflow: TypeAlias = Literal["wait", "fail", "drop_oldest"]

#: Events per hop into the prepare thread. Idle, a hop takes one; loaded, hundreds collect meanwhile.
MAX_MICRO_BATCH = 256

_EVICTED = Outcome(kind="dropped", reason="the queue was full, and the oldest gave way (overflow='drop_oldest')")
_NO_ROOM = Outcome(
    kind="dropped",
    reason="the queue is full, and this destination is paused or does not answer",
    fix="see Client.states()",
)
_ALL_UNDER_WAY = Outcome(kind="dropped", reason="the queue is full, and all that is older is under way")
_TOO_LARGE = Outcome(kind="dropped", reason="larger than a whole queue", fix="raise max_pending_bytes")


class Ticket:
    """Events that one caller handed in together, and who waits for them.

    Attributes:
        at: How many of them were taken into a micro-batch.
        stored: How many of them are in the spool.
        deadline: Monotonic seconds at which the caller gives up; ``None``: never.
        future: Resolved once all are stored.
        appending: The spool is storing some of them right now, so that nobody may be told otherwise.
    """

    __slots__ = ("appending", "at", "deadline", "events", "future", "receipts", "stored", "timeout_s")

    def __init__(
        self,
        events: Sequence[Event],
        receipts: Sequence[Receipt],
        future: asyncio.Future[None],
        timeout_s: float | None,
        now: float,
    ) -> None:
        self.events = events
        self.receipts = receipts
        self.future = future
        self.timeout_s = timeout_s
        self.deadline = None if timeout_s is None else now + timeout_s
        self.at = 0
        self.stored = 0
        self.appending = False

    def fail(self, error: CapiError) -> None:
        """Tell the caller no."""
        if not self.future.done():
            self.future.set_exception(error)


#: A run of one ticket's events inside a micro-batch: ticket, how many.
_Run: TypeAlias = tuple[Ticket, int]


class Room:
    """The bounds of every destination's queue, and what happens at them."""

    def __init__(
        self,
        spool: Spool,
        *,
        max_events: int,
        max_bytes: int,
        overflow: Overflow,
        progressing: Callable[[str], bool],
        put_back: Callable[[str], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._max_events = max_events
        self._max_bytes = max_bytes
        self.overflow = overflow
        self._progressing = progressing
        self._put_back = put_back

    def plenty(self, names: Sequence[str], events: int, size: int) -> bool:
        """Whether ``events`` of ``size`` bytes altogether fit everywhere: then nothing need be weighed one by one."""
        for name in names:
            depth = self._spool.depth(name)
            if depth.events + events > self._max_events or depth.bytes + size > self._max_bytes:
                return False
        return True

    async def admit(self, records: Sequence[Record]) -> tuple[list[Record], list[Refused]] | None:
        """The records of one event that go in, and those dropped; ``None``: wait, or fail, for there is no room."""
        kept: list[Record] = []
        dropped: list[Refused] = []
        for record in records:
            name, size = record.destination, len(record.body)
            depth = self._spool.depth(name)
            if depth.events < self._max_events and depth.bytes + size <= self._max_bytes:
                kept.append(record)
            elif size > self._max_bytes and self.overflow != "fail":
                dropped.append(Refused(name, record.event_id, _TOO_LARGE, record.receipt))
            elif self.overflow == "drop_oldest":
                if await self._evict(name, size):
                    kept.append(record)
                else:  # all that is older is under way
                    dropped.append(Refused(name, record.event_id, _ALL_UNDER_WAY, record.receipt))
            elif self.overflow == "fail" or self._progressing(name):
                return None
            else:
                dropped.append(Refused(name, record.event_id, _NO_ROOM, record.receipt))
        return kept, dropped

    async def _evict(self, name: str, size: int) -> bool:
        """Make room for one record of ``size`` bytes; False if too much is under way."""
        events, max_bytes = self._max_events - 1, self._max_bytes - size
        for attempt in range(2):
            if attempt:  # the oldest may be held by the worker, waiting for company
                await self._put_back(name)
            await self._spool.evict(name, events=events, max_bytes=max_bytes, outcome=_EVICTED)
            depth = self._spool.depth(name)
            if depth.events <= events and depth.bytes <= max_bytes:
                return True
        return False


class Intake:
    """Takes events from callers, has them prepared, and commits them to the spool in order.

    Args:
        max_events: Events that may wait here before callers wait.
    """

    def __init__(
        self,
        *,
        preparer: Preparer,
        thread: OwnedThread,
        spool: Spool,
        room: Room,
        names: Sequence[str],
        hooks: Hooks,
        clock: Clock,
        max_events: int = 10_000,
    ) -> None:
        self._preparer = preparer
        self._thread = thread
        self._spool = spool
        self._room = room
        self._names = names
        self._hooks = hooks
        self._clock = clock
        self._max_events = max_events
        self._tickets: deque[Ticket] = deque()
        self._taken: dict[int, Ticket] = {}
        self._waiting = 0
        self._busy = False
        self._woken = asyncio.Event()
        self._freed = asyncio.Event()
        self._sweeping: asyncio.TimerHandle | None = None
        self.closed = False

    @property
    def empty(self) -> bool:
        """Whether everything handed in is in the spool (or was refused)."""
        return not self._tickets and not self._busy

    @property
    def waiting(self) -> int:
        """Events handed in and not yet stored."""
        taken = sum(ticket.at - ticket.stored for ticket in self._taken.values() if not ticket.future.done())
        return self._waiting + taken

    def put(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float | None
    ) -> asyncio.Future[None] | None:
        """Hand events in; ``None`` if callers must wait. The future tells when all are stored.

        Raises:
            ClientClosed: The client is closing.
        """
        if self.closed:
            raise ClientClosed("the client is closed")
        if self._waiting >= self._max_events:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets.append(Ticket(events, receipts, future, timeout_s, self._clock.monotonic()))
        self._waiting += len(events)
        if self._sweeping is None:
            self._sweep_later()
        self._woken.set()
        return future

    async def put_when_free(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float
    ) -> asyncio.Future[None]:
        """Like :meth:`put`, but waits for the intake itself.

        Raises:
            QueueFull: No room within ``timeout_s``.
            ClientClosed: The client is closing.
        """
        started = self._clock.monotonic()
        while True:
            future = self.put(events, receipts, timeout_s=timeout_s)
            if future is not None:
                return future
            left = timeout_s - (self._clock.monotonic() - started)
            if left <= 0 or self._room.overflow == "fail":
                raise QueueFull("too many events wait to be prepared; nothing was stored")
            self._freed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._freed.wait()
            except TimeoutError:
                raise QueueFull(f"too many events wait to be prepared for {timeout_s} s; nothing was stored") from None

    def freed(self) -> None:
        """Room came free in some queue."""
        self._freed.set()

    async def run(self) -> None:
        """Prepare and commit until cancelled; one job is always ahead, so that the thread never waits for the loop."""
        ahead: asyncio.Future[Any] | None = None
        runs: list[_Run] = []
        try:
            while True:
                if ahead is None:
                    runs, ahead = self._next()
                if ahead is None:
                    self._busy = False
                    self._woken.clear()
                    await self._woken.wait()
                    continue
                self._busy = True
                current, job = runs, ahead
                ahead = None
                records, refused = await job
                runs, ahead = self._next()
                await self._commit(current, records, refused)
        finally:
            if ahead is not None:
                ahead.cancel()
            self._busy = False
            self.abandon(ClientClosed("the client closed before this event was stored"))

    def _next(self) -> tuple[list[_Run], asyncio.Future[Any] | None]:
        events: list[Event] = []
        receipts: list[Receipt] = []
        runs: list[_Run] = []
        while self._tickets and len(events) < MAX_MICRO_BATCH:
            ticket = self._tickets[0]
            if ticket.future.done():  # cancelled, timed out or failed: the rest is not stored
                self._waiting -= len(ticket.events) - ticket.at
                self._tickets.popleft()
                continue
            stop = min(len(ticket.events), ticket.at + MAX_MICRO_BATCH - len(events))
            if ticket.at == 0 and stop == len(ticket.events):
                events += ticket.events
                receipts += ticket.receipts
            else:
                events += ticket.events[ticket.at : stop]
                receipts += ticket.receipts[ticket.at : stop]
            runs.append((ticket, stop - ticket.at))
            self._waiting -= stop - ticket.at
            ticket.at = stop
            self._taken[id(ticket)] = ticket
            if stop == len(ticket.events):
                self._tickets.popleft()
        if self._waiting < self._max_events:
            self._freed.set()
        if not events:
            return runs, None
        job = asyncio.ensure_future(self._thread.run(self._preparer.run, events, receipts, self._clock.wall()))
        return runs, job

    async def _commit(self, runs: Sequence[_Run], records: list[Record], refused: list[Refused]) -> None:
        """Store a prepared micro-batch, whole if there is plenty of room, else ticket by ticket."""
        try:
            clean = all(not ticket.future.done() for ticket, _ in runs)
            # the sum over all destinations is more than any of them gets: a cheap upper bound
            size = sum([len(record.body) for record in records])
            if clean and self._room.plenty(self._names, len(records), size):
                for ticket, _ in runs:
                    ticket.appending = True
                await self._append(records, refused)
                for ticket, taken in runs:
                    self._stored(ticket, taken)
            else:
                await self._commit_each(runs, records, refused)
        except SpoolError as error:
            for ticket, _ in runs:
                ticket.fail(error)
        finally:
            for ticket, _ in runs:
                ticket.appending = False
                if ticket.future.done():
                    self._taken.pop(id(ticket), None)

    async def _append(self, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        await self._spool.append(records, refused)
        if refused:
            self._hooks.refused(refused)

    async def _commit_each(self, runs: Sequence[_Run], records: list[Record], refused: list[Refused]) -> None:
        by_receipt: dict[int, tuple[list[Record], list[Refused]]] = {}
        for record in records:
            by_receipt.setdefault(id(record.receipt), ([], []))[0].append(record)
        for one in refused:
            by_receipt.setdefault(id(one.receipt), ([], []))[1].append(one)
        for ticket, taken in runs:
            for receipt in ticket.receipts[ticket.stored : ticket.stored + taken]:
                if ticket.future.done():
                    break
                mine, doors = by_receipt.get(id(receipt), ([], []))
                if not await self._commit_one(ticket, mine, doors):
                    break
                self._stored(ticket, 1)

    async def _commit_one(self, ticket: Ticket, records: list[Record], refused: list[Refused]) -> bool:
        """Store one event, waiting for room as long as its caller does; False if it was not stored."""
        while not ticket.future.done():
            self._freed.clear()
            admitted = await self._room.admit(records)
            if admitted is not None:
                kept, dropped = admitted
                ticket.appending = True
                await self._append(kept, [*refused, *dropped])
                ticket.appending = False
                return True
            if self._room.overflow == "fail":
                ticket.fail(_full(ticket, "a queue is at its bound"))
                return False
            left = None if ticket.deadline is None else ticket.deadline - self._clock.monotonic()
            if left is not None and left <= 0:
                ticket.fail(_full(ticket, f"a queue stayed at its bound for {ticket.timeout_s} s"))
                return False
            try:
                # looks again now and then: a destination that stops making progress wakes nobody
                async with asyncio.timeout(0.25 if left is None else min(left, 0.25)):
                    await self._freed.wait()
            except TimeoutError:
                continue
        return False

    def _stored(self, ticket: Ticket, count: int) -> None:
        ticket.stored += count
        if ticket.timeout_s is not None:
            # the timeout bounds the wait for room, not the length of the list
            ticket.deadline = self._clock.monotonic() + ticket.timeout_s
        if ticket.stored == len(ticket.events) and not ticket.future.done():
            ticket.future.set_result(None)

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(0.1, self._sweep)

    def _sweep(self) -> None:
        """Tell callers whose time is up, also while storage hangs. One timer for all: a timer each would cost more."""
        self._sweeping = None
        now = self._clock.monotonic()
        for ticket in (*self._taken.values(), *self._tickets):
            if ticket.deadline is not None and ticket.deadline < now and not ticket.appending:
                ticket.fail(_full(ticket, f"no room within {ticket.timeout_s} s"))
        if self._tickets or self._taken:
            self._sweep_later()

    def abandon(self, error: CapiError) -> None:
        """Tell everybody who waits that nothing will come of it."""
        for ticket in (*self._taken.values(), *self._tickets):
            ticket.fail(error)
        self._tickets.clear()
        self._taken.clear()
        self._waiting = 0
        self._freed.set()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None


def _full(ticket: Ticket, why: str) -> QueueFull:
    total = len(ticket.events)
    stored = "nothing was stored" if not ticket.stored else f"the first {ticket.stored} of {total} were stored"
    return QueueFull(f"{why}; {stored}")
