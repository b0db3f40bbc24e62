"""Admits submitted events while their destinations have capacity, and hands them on in micro-batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from capi_async.clock import Clock
from capi_async.engine.backlog import Backlog
from capi_async.engine.capacity import Capacity
from capi_async.engine.commit import MAX_MICRO_BATCH, Commit
from capi_async.engine.edits import BEFORE_SEND
from capi_async.engine.erasure import Erasure
from capi_async.engine.gathering import Gathering
from capi_async.engine.guard import is_end
from capi_async.engine.hooks import Hooks
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.engine.straight import Prepared, Straight
from capi_async.engine.wait_queue import Slice
from capi_async.errors import CapiError, ClientClosed, QueueFull
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.spool.base import Record, Refused, Spool
from capi_async.thread import OwnedThread

#: Events waiting from which on the next hop begins while the last one's are being stored. With fewer, they would only
#: wait for that behind the hop instead of before it, and those that come meanwhile for one more.
_AHEAD_EVENTS = 64

#: Seconds between two checks of callers that wait: a destination that stops making progress does not signal it.
_LOOK_S = 0.25

#: Seconds after which code of the user's that prepares events is named in the log, if it has not returned.
_STUCK_S = 5.0

#: Seconds that an erasure waits for what was handed in before and is not stored yet. What takes longer
#: is erased when its turn comes.
_ERASED_S = 5.0

_CLOSED = "the client closed before this event was stored"


#: What is done in the thread: records, refusals, and the seconds that making them took.
Prepare: TypeAlias = Callable[
    [Preparer, Sequence[Event], Sequence[Receipt], float], tuple[list[Record], list[Refused], float]
]


class Intake:
    """Takes events from callers, has them prepared, and commits them to the spool in order.

    An event without capacity waits with the rest of its submission, and holds up no other destination.
    At each destination those who wait are served in order, and before all that come later.

    Args:
        max_events: Events that may wait here before callers wait.
        prepare: What prepares events in the thread, unless it is :func:`prepared`.
        straight: Whether lone events may be prepared elsewhere than in the thread, or a little later.
        linger_s, least: See :class:`~capi_async.engine.gathering.Gathering`.
    """

    def __init__(
        self,
        *,
        preparer: Preparer,
        thread: OwnedThread,
        spool: Spool,
        capacity: Capacity,
        names: Sequence[str],
        hooks: Hooks,
        ending: Callable[[], bool],
        clock: Clock,
        max_events: int = 10_000,
        straight: bool = True,
        linger_s: float = 0.0,
        least: int = 1,
        prepare: Prepare | None = None,
    ) -> None:
        self._prepare = prepare or prepared
        self._preparer = preparer
        self._thread = thread
        self._capacity = capacity
        self._hooks = hooks
        self._ending = ending
        self._clock = clock
        self._backlog = Backlog(clock=clock, max_events=max_events)
        self._commit = Commit(
            self._backlog, spool=spool, capacity=capacity, names=names, hooks=hooks, ending=ending, clock=clock
        )
        self._straight = Straight(
            wanted=straight, preparer=preparer, spool=spool, capacity=capacity, names=names, hooks=hooks, clock=clock
        )
        self.gathering: Final = Gathering(
            wanted=straight, linger_s=linger_s, least=least, preparer=preparer, thread=thread, spool=spool,
            capacity=capacity, names=names, hooks=hooks, clock=clock, woken=self._backlog.woken.set,
        )  # fmt: skip
        self._running = False
        self._busy = False
        self._sweeping: asyncio.TimerHandle | None = None
        #: What was last logged to block the thread.
        self._named: tuple[str, float] | None = None
        self.closed = False

    @property
    def empty(self) -> bool:
        """Whether the records of everything handed in are in the spool (or it was refused)."""
        return self._backlog.empty and not self._busy and self._commit.quiet.is_set() and not self.gathering.events

    @property
    def waiting(self) -> int:
        """Events handed in and not yet stored."""
        return self._backlog.events

    @property
    def unstored(self) -> int:
        """Events whose callers were refused when the client closed."""
        return self._backlog.unstored

    @property
    def unknown(self) -> int:
        """Events that were being stored when the client closed: whether they are is unknown."""
        return self._backlog.unknown

    def at_once(self, event: Event, receipt: Receipt) -> bool:
        """Whether a lone event is stored already; else put it in.

        See :class:`~capi_async.engine.gathering.Gathering` and :class:`~capi_async.engine.straight.Straight`.
        """
        # nothing waits before it, and nothing else is in the thread
        gathering = self.gathering
        if self.closed or not self._running or not self._backlog.idle or (self._busy and not gathering.busy):
            return False
        if not gathering.on:
            return self._straight.store(event, receipt)
        return gathering.take(event, receipt) or (not gathering.events and self._straight.store(event, receipt))

    def put(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float | None, waited: bool = False
    ) -> asyncio.Future[None] | None:
        """Hand events in; ``None`` if callers must wait. The future is done when all are stored.

        Raises:
            ClientClosed: The client is closing.
        """
        if self.closed:
            raise ClientClosed("the client is closed")
        if len(events) == 1 and (future := self._begun(events[0], receipts[0], timeout_s)) is not None:
            return future
        future = self._backlog.put(events, receipts, timeout_s=timeout_s, waited=waited)
        if future is not None and self._sweeping is None:
            self._sweep_later()
        return future

    def _begun(self, event: Event, receipt: Receipt, timeout_s: float | None) -> asyncio.Future[None] | None:
        """The future of a lone event that a durable spool stores already; ``None``: it is to be put in."""
        # nothing waits before it, and nothing is being stored
        if not self._commit.begins or self._busy or not self._running or not self._backlog.idle:
            return None
        made = self._straight.prepare((event,), (receipt,))
        return None if made is None else self._commit.begin(event, receipt, made, timeout_s=timeout_s)

    async def put_when_free(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float
    ) -> asyncio.Future[None]:
        """Like :meth:`put`, but waits for the intake itself.

        Raises:
            QueueFull: No capacity within ``timeout_s``.
            ClientClosed: The client is closing.
        """
        started = self._clock.monotonic()
        waited = False
        while True:
            future = self.put(events, receipts, timeout_s=timeout_s, waited=waited)
            if future is not None:
                return future
            left = timeout_s - (self._clock.monotonic() - started)
            if left <= 0 or self._capacity.overflow == "fail":
                raise QueueFull("too many events wait to be prepared; nothing was stored")
            try:
                await self._backlog.turn(left, again=waited)
            except TimeoutError:
                raise QueueFull(f"too many events wait to be prepared for {timeout_s} s; nothing was stored") from None
            waited = True

    def freed(self) -> None:
        """Some destination has capacity again."""
        if self._backlog.queue:
            self._backlog.woken.set()

    async def run(self) -> None:
        """Prepare and commit until cancelled; under load one job is ahead: the thread never waits for the loop."""
        ahead: asyncio.Future[Any] | Prepared | None = None
        slices: list[Slice] = []
        current: list[Slice] = []
        job: asyncio.Future[Any] | Prepared | None = None
        records: list[Record] = []
        refused: list[Refused] = []
        self._running = True
        try:
            while True:
                if ahead is None and (self.gathering.due or (self.gathering.events and self._backlog.submissions)):
                    # these came before all that waits
                    self._busy = True
                    await self.gathering.prepare(pressed=bool(self._backlog.submissions))
                    continue
                if ahead is None:
                    slices, ahead = self._next()
                if ahead is None:
                    # as long as nothing comes nobody else needs the last events, and they may be forgotten meanwhile
                    slices, current, records, refused, job = [], [], [], [], None
                    await self._rest()
                    continue
                self._busy = True
                current, job = slices, ahead
                ahead = None
                try:
                    if isinstance(job, tuple):
                        records, refused = job
                    else:
                        records, refused, took_s = await job
                        self._hooks.prepared(sum(taken for _, taken in current), took_s)
                    if self._backlog.waiting >= _AHEAD_EVENTS:
                        slices, ahead = self._next()
                    if not self._commit.quiet.is_set():  # a lone event is being stored
                        await self._commit.quiet.wait()
                    if self._backlog.queue:
                        await self._commit.serve()
                    await self._commit.store(current, records, refused)
                except BaseException as error:
                    if is_end(error, ending=self._ending()):
                        raise
                    self._commit.failed([submission for submission, _ in current if not submission.queued], error)
        except GeneratorExit:
            raise  # discarded together with a closed loop, on which no caller is left
        except BaseException as error:
            if not is_end(error, ending=self._ending()):
                self._commit.failed(
                    [submission for submission, _ in (*current, *slices) if not submission.queued], error
                )
                raise
            self.abandon(_CLOSED)
            raise
        finally:
            if isinstance(ahead, asyncio.Future) and not ahead.get_loop().is_closed():
                ahead.cancel()
            self._running = self._busy = False

    async def finish(self, until: float) -> None:
        """Take and store nothing more; return once what is being stored is, or at ``until`` (monotonic seconds).

        Callers that wait to be stored are refused at once.
        """
        self.closed = True
        self.gathering.ask()
        self.abandon(_CLOSED, appending=False)
        left_s = until - self._clock.monotonic()
        if not (self._commit.quiet.is_set() and not self.gathering.events) and left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._commit.quiet.wait()
                    if self._running:
                        await self.gathering.all_prepared()
            except TimeoutError:
                pass
        self.abandon(_CLOSED)

    async def erase(self, matches: Callable[[Record], bool], outcome: Outcome) -> dict[str, int]:
        """End what was handed in before, is not stored yet and ``matches``; how many per destination.

        Returns when all that was handed in before is stored or waits for capacity.
        """
        erasure = Erasure(matches, outcome)
        submissions = self._backlog.all()
        for submission in submissions:
            submission.erasures = (*submission.erasures, erasure)
            if submission.queued and submission.position is not None:
                submission.position.unstored = deque(map(erasure.of, submission.position.unstored))
        self.gathering.erase(erasure)
        until = self._clock.monotonic() + _ERASED_S
        with suppress(TimeoutError):
            async with asyncio.timeout(_ERASED_S):
                await self.gathering.all_prepared()
        while waiting := [one.future for one in submissions if not one.future.done() and not one.queued]:
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                break
            # that one has to wait for capacity is not signalled: check now and then
            await asyncio.wait(waiting, timeout=min(left_s, 0.05))
        return erasure.found

    async def _rest(self) -> None:
        """Return when there may be something to do."""
        self._backlog.woken.clear()  # first of all, so that what comes from here on is not missed
        if not self._backlog.queue:
            self._busy = False
            await self._backlog.woken.wait()
            return
        self._busy = True
        if await self._commit.serve():
            await asyncio.sleep(0)  # there is more to store, but this is everybody's loop
            return
        self._busy = False
        if self._backlog.submissions or not self._backlog.queue:
            return
        due_at = self._backlog.queue.due_at()
        wait_s = _LOOK_S if due_at is None else min(_LOOK_S, max(0.0, due_at - self._clock.monotonic()))
        try:
            async with asyncio.timeout(wait_s):
                await self._backlog.woken.wait()
        except TimeoutError:
            pass

    def _next(self) -> tuple[list[Slice], asyncio.Future[Any] | Prepared | None]:
        slices, events, receipts = self._backlog.take(MAX_MICRO_BATCH)
        if not events:
            return slices, None
        # nothing is in the thread now: it has one job at a time
        if (made := self._straight.prepare(events, receipts)) is not None:
            return slices, made
        return slices, self._thread.submit(self._prepare, self._preparer, events, receipts, self._clock.wall())

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(0.1, self._sweep)

    def _sweep(self) -> None:
        """Answer the callers whose timeout has passed, also while storage hangs; one timer for all costs the least."""
        self._sweeping = None
        self._look_at_thread()
        self._backlog.tell_late()
        if self._backlog.submissions or self._backlog.taken:
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
        """Refuse all callers who wait; see :meth:`Backlog.abandon`."""
        self._backlog.abandon(why, error, appending=appending)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None


def prepared(
    preparer: Preparer, events: Sequence[Event], receipts: Sequence[Receipt], now: float
) -> tuple[list[Record], list[Refused], float]:
    """Records, refusals, and the seconds that making them took."""
    began = time.perf_counter()
    records, refused = preparer.run(events, receipts, now)
    return records, refused, time.perf_counter() - began
