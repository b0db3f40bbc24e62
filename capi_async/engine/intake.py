"""The bounded door of a client: tickets in, micro-batches out, room for every record or a clear no."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from capi_async.clock import Clock
from capi_async.engine.edits import BEFORE_SEND
from capi_async.engine.guard import is_end
from capi_async.engine.hooks import Hooks
from capi_async.engine.line import NOTHING, Erasure, Line, Prepared, Run, Ticket
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.engine.room import Room
from capi_async.errors import CapiError, ClientClosed, QueueFull, SpoolError
from capi_async.event import Event
from capi_async.log import Log
from capi_async.outcome import Outcome
from capi_async.spool.base import Busy, Record, Refused, Spool, size_of
from capi_async.thread import OwnedThread

logger = Log(__name__)

#: Events per hop into the prepare thread. Idle, a hop takes one; loaded, hundreds collect meanwhile.
MAX_MICRO_BATCH = 256

#: Events waiting from which on the next hop begins while the last one's are being stored. With fewer, they would only
#: wait for that behind the hop instead of before it, and those that come meanwhile for one more.
_AHEAD_EVENTS = 64

#: Seconds that preparing an event may take on a busy machine before a caller with a shorter timeout is told no.
_PREPARING_S = 0.5
#: Seconds between two looks at those who wait: a destination that stops making progress wakes nobody.
_LOOK_S = 0.25

#: Seconds that storing may take at least, however little time a caller gave: to be told no is no use to anybody who
#: asked in time. And how long those wait who said nothing, because they do not await.
_STORING_S = 1.0
_ENQUEUED_S = 60.0

#: Seconds after which code of the user's that prepares events is named in the log, if it has not returned.
_STUCK_S = 5.0

#: Seconds that those who wait may take before others get their turn.
_TURN_S = 0.01

#: Seconds that somebody who is forgotten waits for what was handed in before and is not stored yet. What takes longer
#: is erased all the same when its turn comes.
_ERASED_S = 5.0

_CLOSED = "the client closed before this event was stored"
_CLOSED_MEANWHILE = "the client closed while this event was being stored; it may be stored, and delivered"


class Intake:
    """Takes events from callers, has them prepared, and commits them to the spool in order.

    An event without room waits in line with the rest of its ticket, and costs nobody else's destinations anything.
    At each destination those who wait are served in order, and before all that come later.

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
        ending: Callable[[], bool],
        clock: Clock,
        max_events: int = 10_000,
    ) -> None:
        self._preparer = preparer
        self._thread = thread
        self._spool = spool
        self._room = room
        self._names = names
        self._hooks = hooks
        self._ending = ending
        self._clock = clock
        self._max_events = max_events
        self._tickets: deque[Ticket] = deque()
        self._taken: dict[int, Ticket] = {}
        self._line = Line()
        self._waiting = 0  # not taken into a micro-batch, or in line
        self._busy = False
        self._woken = asyncio.Event()
        self._doors: deque[asyncio.Future[None]] = deque()
        #: Callers who were let in and have not handed in yet.
        self._expected = 0
        self._sweeping: asyncio.TimerHandle | None = None
        #: What was said of last to hold the thread.
        self._named: tuple[str, float] | None = None
        self.closed = False
        #: Set whenever nothing is being stored.
        self._quiet = asyncio.Event()
        self._quiet.set()
        #: Events whose callers were told no when the client closed, and those of whom nobody can tell.
        self.unstored = 0
        self.unknown = 0

    @property
    def empty(self) -> bool:
        """Whether everything handed in is in the spool (or was refused)."""
        return not self._tickets and not self._busy and not self._line

    @property
    def waiting(self) -> int:
        """Events handed in and not yet stored."""
        taken = sum(
            ticket.at - ticket.stored - (len(ticket.place.rest) if ticket.place is not None else 0)
            for ticket in self._taken.values()
            if not ticket.future.done()
        )
        return self._waiting + taken

    def put(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float | None, waited: bool = False
    ) -> asyncio.Future[None] | None:
        """Hand events in; ``None`` if callers must wait. The future tells when all are stored.

        Raises:
            ClientClosed: The client is closing.
        """
        if self.closed:
            raise ClientClosed("the client is closed")
        if self._waiting >= self._max_events or (self._doors and not waited):
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
        waited = False
        while True:
            future = self.put(events, receipts, timeout_s=timeout_s, waited=waited)
            if future is not None:
                return future
            left = timeout_s - (self._clock.monotonic() - started)
            if left <= 0 or self._room.overflow == "fail":
                raise QueueFull("too many events wait to be prepared; nothing was stored")
            door: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # who was let in and found the place taken is the next one, not the last
            (self._doors.appendleft if waited else self._doors.append)(door)
            waited, let_in = True, False
            try:
                async with asyncio.timeout(left):
                    await door
                let_in = True
            except TimeoutError:
                raise QueueFull(f"too many events wait to be prepared for {timeout_s} s; nothing was stored") from None
            finally:
                if door.done() and not door.cancelled():
                    self._expected -= 1
                if not let_in:  # whoever gives up leaves its place to the next
                    self._let_in()

    def _let_in(self) -> None:
        """Let in as many of those who wait at the door as there is room for: each brings one event or more."""
        while self._doors and self._waiting + self._expected < self._max_events:
            door = self._doors.popleft()
            if not door.done():
                door.set_result(None)
                self._expected += 1

    def freed(self) -> None:
        """Room came free in some queue."""
        if self._line:
            self._woken.set()

    async def run(self) -> None:
        """Prepare and commit until cancelled; under load one job is ahead: the thread never waits for the loop."""
        ahead: asyncio.Future[Any] | None = None
        runs: list[Run] = []
        current: list[Run] = []
        try:
            while True:
                if ahead is None:
                    runs, ahead = self._next()
                if ahead is None:
                    await self._rest()
                    continue
                self._busy = True
                current, job = runs, ahead
                ahead = None
                try:
                    records, refused = await job
                    if self._waiting >= _AHEAD_EVENTS:
                        runs, ahead = self._next()
                    if self._line:
                        await self._serve()
                    await self._commit(current, records, refused)
                except BaseException as error:
                    if is_end(error, ending=self._ending()):
                        raise
                    self._failed([ticket for ticket, _ in current if not ticket.parked], error)
        except GeneratorExit:
            raise  # thrown away together with a loop that was closed: nobody can be told on it
        except BaseException as error:
            if not is_end(error, ending=self._ending()):
                self._failed([ticket for ticket, _ in (*current, *runs) if not ticket.parked], error)
                raise
            self.abandon(_CLOSED)
            raise
        finally:
            if ahead is not None and not ahead.get_loop().is_closed():
                ahead.cancel()
            self._busy = False

    def _failed(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        """A fault that is no answer of storage costs those whose events it caught, and nobody else."""
        name = type(error).__name__
        logger.error(
            "events could not be stored: storage failed with %s; their callers were told, see to the spool",
            name,
            extra={"error": name},
        )
        for ticket in tickets:
            stored = None if ticket.appending else False
            ticket.fail(SpoolError(f"storing failed with {name}", stored=stored, stored_events=ticket.stored))
            ticket.appending = 0
            self._taken.pop(id(ticket), None)
        self._quiet.set()

    async def finish(self, until: float) -> None:
        """Take and store nothing more; return once what is being stored is, or at ``until`` (monotonic seconds).

        Who waits to be stored is told no at once.
        """
        self.closed = True
        self.abandon(_CLOSED, appending=False)
        left_s = until - self._clock.monotonic()
        if not self._quiet.is_set() and left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._quiet.wait()
            except TimeoutError:
                pass
        self.abandon(_CLOSED)

    async def erase(self, matches: Callable[[Record], bool], outcome: Outcome) -> dict[str, int]:
        """End what was handed in before, is not stored yet and ``matches``; how many per destination.

        Returns when all that was handed in before is stored or waits for room, so that the spool knows of the rest.
        """
        erasure = Erasure(matches, outcome)
        tickets = {id(ticket): ticket for ticket in (*self._tickets, *self._taken.values())}.values()
        for ticket in tickets:
            ticket.erasures = (*ticket.erasures, erasure)
            if ticket.parked and ticket.place is not None:
                ticket.place.rest = deque(map(erasure.of, ticket.place.rest))
        until = self._clock.monotonic() + _ERASED_S
        while waiting := [one.future for one in tickets if not one.future.done() and not one.parked]:
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                break
            # one that has to wait for room is told to nobody: look now and then
            await asyncio.wait(waiting, timeout=min(left_s, 0.05))
        return erasure.found

    async def _rest(self) -> None:
        """Return when there may be something to do."""
        self._woken.clear()  # first of all: whatever comes from here on is not missed
        if not self._line:
            self._busy = False
            await self._woken.wait()
            return
        self._busy = True
        if await self._serve():
            await asyncio.sleep(0)  # there is more to store, but this is everybody's loop
            return
        self._busy = False
        if self._tickets or not self._line:
            return
        due_at = self._line.due_at()
        wait_s = _LOOK_S if due_at is None else min(_LOOK_S, max(0.0, due_at - self._clock.monotonic()))
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _next(self) -> tuple[list[Run], asyncio.Future[Any] | None]:
        events: list[Event] = []
        receipts: list[Receipt] = []
        runs: list[Run] = []
        while self._tickets and len(events) < MAX_MICRO_BATCH:
            ticket = self._tickets[0]
            if ticket.future.done():  # cancelled, timed out or failed: the rest is not stored
                self._waiting -= len(ticket.events) - ticket.at
                self._taken.pop(id(ticket), None)
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
            self._let_in()
        if not events:
            return runs, None
        return runs, self._thread.submit(self._preparer.run, events, receipts, self._clock.wall())

    async def _commit(self, runs: Sequence[Run], records: list[Record], refused: list[Refused]) -> None:
        """Store a prepared micro-batch, whole if there is plenty of room, else what there is room for."""
        try:
            clean = not self._line and not any(ticket.future.done() or ticket.erasures for ticket, _ in runs)
            # the sum over all destinations is more than any of them gets: a cheap upper bound
            size = size_of(records)
            if clean and self._room.plenty(self._names, len(records), size):
                await self._commit_whole(runs, records, refused)
            else:
                await self._commit_apart(runs, records, refused)
        finally:
            for ticket, _ in runs:
                if ticket.future.done():
                    self._taken.pop(id(ticket), None)

    async def _commit_whole(self, runs: Sequence[Run], records: list[Record], refused: list[Refused]) -> None:
        for ticket, taken in runs:
            ticket.appending = taken
        try:
            await self._append(records, refused, [ticket for ticket, _ in runs])
        except Busy as error:
            self._appended(runs)
            now = self._clock.monotonic()
            bounded = any(ticket.deadline is not None for ticket, _ in runs if not ticket.future.done())
            for ticket, _ in runs:
                if not bounded or (ticket.deadline is not None and ticket.deadline <= now):
                    ticket.refuse(error)
            # those who said that they would wait longer
            if not all(ticket.future.done() for ticket, _ in runs):
                await self._commit_apart(runs, records, refused)
            return
        except SpoolError as error:
            self._appended(runs)
            for ticket, _ in runs:
                ticket.refuse(error)
            return
        self._appended(runs)
        for ticket, taken in runs:
            self._stored(ticket, taken)

    def _appended(self, runs: Sequence[Run]) -> None:
        for ticket, _ in runs:
            ticket.appending = 0
        self._quiet.set()

    async def _append(self, records: Sequence[Record], refused: Sequence[Refused], tickets: Sequence[Ticket]) -> None:
        until = min([ticket.deadline for ticket in tickets if ticket.deadline is not None], default=None)
        left_s = _ENQUEUED_S if until is None else until - self._clock.monotonic()
        self._quiet.clear()
        await self._spool.append(records, refused, timeout_s=max(_STORING_S, left_s))
        self._hooks.refused(refused)

    async def _commit_apart(self, runs: Sequence[Run], records: list[Record], refused: list[Refused]) -> None:
        """Weigh event by event, and store together what there is room for; the rest waits in line."""
        by_receipt: dict[int, Prepared] = {}
        for record in records:
            by_receipt.setdefault(id(record.receipt), ([], []))[0].append(record)
        for one in refused:
            by_receipt.setdefault(id(one.receipt), ([], []))[1].append(one)
        admission = self._room.admission()
        claimed = self._line.claimed()
        taken_now: list[Run] = []
        ended: list[Refused] = []
        later: list[tuple[Ticket, deque[Prepared], frozenset[str]]] = []
        for ticket, taken in runs:
            if ticket.future.done():
                continue
            # a ticket in line has stored nothing of this run, nor of the one before
            start = ticket.stored + (len(ticket.place.rest) if ticket.place is not None else 0)
            mine = deque(by_receipt.get(id(one), ([], [])) for one in ticket.receipts[start : start + taken])
            if ticket.erasures:
                mine = deque(map(ticket.without, mine))
            if ticket.parked:
                later.append((ticket, mine, NOTHING))
                continue
            full = NOTHING
            before = len(mine)
            while mine and not (full := admission.take(mine[0][0], claimed)):
                ended += mine.popleft()[1]
            if before > len(mine):
                taken_now.append((ticket, before - len(mine)))
            if mine:
                later.append((ticket, mine, full))
                claimed |= full
        if taken_now:
            try:
                await admission.make_room()
            except SpoolError as error:
                for ticket, _ in taken_now:
                    ticket.refuse(error, stored=False)
            else:
                await self._commit_whole(taken_now, admission.kept, [*ended, *admission.dropped])
        for ticket, mine, full in later:
            if ticket.future.done():
                continue
            if ticket.parked:
                self._line.place(ticket).rest.extend(map(ticket.without, mine))
                self._waiting += len(mine)
            elif not self._gives_up(ticket):
                self._park(ticket, mine, full)

    async def _store(self, ticket: Ticket, events: deque[Prepared]) -> frozenset[str]:
        """Store events of one in line, while there is room; the destinations that the next one has to wait for."""
        while events and not ticket.future.done():
            admission = self._room.admission()
            claimed = self._line.claimed(ticket)  # somebody waits there who came first
            ended: list[Refused] = []
            full = NOTHING
            before = len(events)
            while (
                events
                and before - len(events) < MAX_MICRO_BATCH
                and not (full := admission.take(events[0][0], claimed))
            ):
                ended += events.popleft()[1]
            if count := before - len(events):
                if ticket.parked:
                    self._waiting -= count
                ticket.appending = count
                try:
                    await admission.make_room()
                    await self._append(admission.kept, [*ended, *admission.dropped], [ticket])
                except BaseException as error:
                    if isinstance(error, SpoolError):
                        ticket.refuse(error)
                    elif is_end(error, ending=self._ending()):
                        raise
                    else:
                        self._failed([ticket], error)
                    self._appended([(ticket, count)])
                    break
                self._appended([(ticket, count)])
                self._stored(ticket, count)
            elif not self._gives_up(ticket):
                return full
        return NOTHING

    def _gives_up(self, ticket: Ticket) -> bool:
        """Whether somebody without room does not wait for it, and was told."""
        if self._room.overflow == "fail":
            ticket.fail(ticket.full("a queue is at its bound"))
        elif ticket.deadline is not None and ticket.deadline <= self._clock.monotonic():
            ticket.fail(ticket.full(f"a queue stayed at its bound for {ticket.timeout_s} s"))
        else:
            return False
        return True

    def _park(self, ticket: Ticket, events: deque[Prepared], waits: frozenset[str]) -> None:
        """Let a ticket wait in line; nothing more is taken of it until it is through."""
        if ticket.place is None:
            ticket.future.add_done_callback(lambda _future: self._on_done(ticket))
        # somebody may have been forgotten while the others of the same micro-batch were stored
        self._line.place(ticket).rest = deque(map(ticket.without, events)) if ticket.erasures else events
        self._line.put(ticket, waits)
        self._waiting += len(events)
        if ticket.at < len(ticket.events):
            self._tickets.remove(ticket)  # at the front, where those are that were begun

    async def _serve(self) -> bool:
        """Store what those in line have room for by now, oldest first; whether there may be more of it."""
        until = self._clock.monotonic() + _TURN_S
        stored = 0
        ticket = self._line.first()
        while ticket is not None:
            place = self._line.place(ticket)
            before = ticket.stored
            waits = await self._store(ticket, place.rest)
            if ticket.future.done():
                self._leave(ticket)
            elif not waits:
                self._line.remove(ticket)
                if ticket.at < len(ticket.events):
                    self._tickets.appendleft(ticket)
            elif ticket.stored > before:
                self._line.put(ticket, waits)
            else:
                # what it waited for remains its own, or two destinations could be full by turns for ever
                self._line.put(ticket, waits | place.waits)
            stored += ticket.stored - before
            if stored and self._waiting < self._max_events:
                self._let_in()
            if stored >= MAX_MICRO_BATCH or (stored and self._clock.monotonic() >= until):
                return True
            ticket = self._line.first(after=place.number)
        return False

    def _on_done(self, ticket: Ticket) -> None:
        """A caller who waits in line gave up, or time did; or all is stored, and nothing remains to be done."""
        if ticket.parked:
            self._leave(ticket)
            self._woken.set()

    def _leave(self, ticket: Ticket) -> None:
        """Nobody waits for this ticket any more: what is left of it is not stored."""
        self._taken.pop(id(ticket), None)
        if ticket.place is None or not ticket.parked:
            return
        self._waiting -= len(ticket.place.rest) + len(ticket.events) - ticket.at
        ticket.place.rest.clear()
        self._line.remove(ticket)
        if self._waiting < self._max_events:
            self._let_in()

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
        self._look_at_thread()
        now = self._clock.monotonic()
        for ticket in (*self._taken.values(), *self._tickets):
            if ticket.deadline is None or ticket.timeout_s is None or ticket.appending:
                continue
            # whoever will not wait for room is told whether there is any, and that takes the time to prepare it
            spare_s = 0.0 if ticket.parked else max(0.0, _PREPARING_S - ticket.timeout_s)
            if ticket.deadline + spare_s < now:
                ticket.fail(ticket.full(f"no room within {ticket.timeout_s} s"))
        if self._tickets or self._taken:
            self._sweep_later()

    def _look_at_thread(self) -> None:
        """Name the code of the user's that holds the one thread in which events are prepared."""
        at = self._preparer.at
        if at is None or at is self._named or (held_s := time.monotonic() - at[1]) < _STUCK_S:
            return
        self._named = at
        whose = f"{at[0]}: to_wire()" if at[0] else "code of yours inside an event, such as its time zone,"
        if at[0] == BEFORE_SEND:
            whose = BEFORE_SEND
        self._hooks.note(
            logging.ERROR,
            ("stuck", at[0]),
            "%s has not returned for %.0f s, and no event of any destination is prepared meanwhile: "
            "mend it, it must wait for nothing",
            whose,
            held_s,
            extra={"destination": at[0], "seconds": round(held_s, 1)},
        )

    def abandon(self, why: str, error: CapiError | None = None, *, appending: bool = True) -> None:
        """Tell everybody who waits that nothing will come of it.

        Args:
            error: What they are told, if it is something else than that the client has closed.
            appending: Also those whose events are being stored at this moment: of them nobody knows.
        """
        kept: list[Ticket] = []
        for ticket in {id(one): one for one in (*self._taken.values(), *self._tickets)}.values():
            if ticket.future.done():
                continue
            if ticket.appending and not appending:
                kept.append(ticket)
                continue
            self.unknown += ticket.appending
            self.unstored += len(ticket.events) - ticket.stored - ticket.appending
            if ticket.appending:
                ticket.fail(ClientClosed(_CLOSED_MEANWHILE, stored=None, stored_events=ticket.stored))
            else:
                if isinstance(error, SpoolError):
                    ticket.refuse(error, stored=False)
                else:
                    ticket.fail(error or ClientClosed(why, stored=False, stored_events=ticket.stored))
        self._tickets.clear()
        self._taken = {id(ticket): ticket for ticket in kept}
        self._line.clear()
        self._waiting = 0
        while self._doors:
            door = self._doors.popleft()
            if not door.done():
                door.set_result(None)
                self._expected += 1
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
