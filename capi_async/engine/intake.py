"""Takes events from callers: submissions in, micro-batches out, room for every record or a clear no."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from capi_async.clock import Clock
from capi_async.engine.capacity import Capacity
from capi_async.engine.edits import BEFORE_SEND
from capi_async.engine.erasure import Erasure, Prepared
from capi_async.engine.guard import is_end
from capi_async.engine.hooks import Hooks
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.engine.wait_queue import NOTHING, Slice, Submission, WaitQueue
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

    An event without room waits with the rest of its submission, and costs nobody else's destinations anything.
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
        capacity: Capacity,
        names: Sequence[str],
        hooks: Hooks,
        ending: Callable[[], bool],
        clock: Clock,
        max_events: int = 10_000,
    ) -> None:
        self._preparer = preparer
        self._thread = thread
        self._spool = spool
        self._capacity = capacity
        self._names = names
        self._hooks = hooks
        self._ending = ending
        self._clock = clock
        self._max_events = max_events
        self._submissions: deque[Submission] = deque()
        self._taken: dict[int, Submission] = {}
        self._queue = WaitQueue()
        self._waiting = 0  # not taken into a micro-batch, or queued
        self._busy = False
        self._woken = asyncio.Event()
        self._blocked: deque[asyncio.Future[None]] = deque()
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
        return not self._submissions and not self._busy and not self._queue

    @property
    def waiting(self) -> int:
        """Events handed in and not yet stored."""
        taken = sum(
            submission.at
            - submission.stored
            - (len(submission.position.unstored) if submission.position is not None else 0)
            for submission in self._taken.values()
            if not submission.future.done()
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
        if self._waiting >= self._max_events or (self._blocked and not waited):
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submissions.append(Submission(events, receipts, future, timeout_s, self._clock.monotonic()))
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
            if left <= 0 or self._capacity.overflow == "fail":
                raise QueueFull("too many events wait to be prepared; nothing was stored")
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            # a caller who was let in and found no room after all is the next one, not the last
            (self._blocked.appendleft if waited else self._blocked.append)(turn)
            waited, let_in = True, False
            try:
                async with asyncio.timeout(left):
                    await turn
                let_in = True
            except TimeoutError:
                raise QueueFull(f"too many events wait to be prepared for {timeout_s} s; nothing was stored") from None
            finally:
                if turn.done() and not turn.cancelled():
                    self._expected -= 1
                if not let_in:  # a caller who gives up lets in the next
                    self._let_in()

    def _let_in(self) -> None:
        """Let in as many of the callers who are blocked as there is room for: each brings one event or more."""
        while self._blocked and self._waiting + self._expected < self._max_events:
            turn = self._blocked.popleft()
            if not turn.done():
                turn.set_result(None)
                self._expected += 1

    def freed(self) -> None:
        """Room came free in some queue."""
        if self._queue:
            self._woken.set()

    async def run(self) -> None:
        """Prepare and commit until cancelled; under load one job is ahead: the thread never waits for the loop."""
        ahead: asyncio.Future[Any] | None = None
        slices: list[Slice] = []
        current: list[Slice] = []
        try:
            while True:
                if ahead is None:
                    slices, ahead = self._next()
                if ahead is None:
                    await self._rest()
                    continue
                self._busy = True
                current, job = slices, ahead
                ahead = None
                try:
                    records, refused = await job
                    if self._waiting >= _AHEAD_EVENTS:
                        slices, ahead = self._next()
                    if self._queue:
                        await self._serve()
                    await self._commit(current, records, refused)
                except BaseException as error:
                    if is_end(error, ending=self._ending()):
                        raise
                    self._failed([submission for submission, _ in current if not submission.queued], error)
        except GeneratorExit:
            raise  # thrown away together with a loop that was closed: nobody can be told on it
        except BaseException as error:
            if not is_end(error, ending=self._ending()):
                self._failed([submission for submission, _ in (*current, *slices) if not submission.queued], error)
                raise
            self.abandon(_CLOSED)
            raise
        finally:
            if ahead is not None and not ahead.get_loop().is_closed():
                ahead.cancel()
            self._busy = False

    def _failed(self, submissions: Sequence[Submission], error: BaseException) -> None:
        """A fault that is no answer of storage costs those whose events it caught, and nobody else."""
        name = type(error).__name__
        logger.error(
            "events could not be stored: storage failed with %s; their callers were told, see to the spool",
            name,
            extra={"error": name},
        )
        for submission in submissions:
            stored = None if submission.appending else False
            submission.fail(SpoolError(f"storing failed with {name}", stored=stored, stored_events=submission.stored))
            submission.appending = 0
            self._taken.pop(id(submission), None)
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
        submissions = {
            id(submission): submission for submission in (*self._submissions, *self._taken.values())
        }.values()
        for submission in submissions:
            submission.erasures = (*submission.erasures, erasure)
            if submission.queued and submission.position is not None:
                submission.position.unstored = deque(map(erasure.of, submission.position.unstored))
        until = self._clock.monotonic() + _ERASED_S
        while waiting := [one.future for one in submissions if not one.future.done() and not one.queued]:
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                break
            # one that has to wait for room is told to nobody: look now and then
            await asyncio.wait(waiting, timeout=min(left_s, 0.05))
        return erasure.found

    async def _rest(self) -> None:
        """Return when there may be something to do."""
        self._woken.clear()  # first of all: whatever comes from here on is not missed
        if not self._queue:
            self._busy = False
            await self._woken.wait()
            return
        self._busy = True
        if await self._serve():
            await asyncio.sleep(0)  # there is more to store, but this is everybody's loop
            return
        self._busy = False
        if self._submissions or not self._queue:
            return
        due_at = self._queue.due_at()
        wait_s = _LOOK_S if due_at is None else min(_LOOK_S, max(0.0, due_at - self._clock.monotonic()))
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _next(self) -> tuple[list[Slice], asyncio.Future[Any] | None]:
        events: list[Event] = []
        receipts: list[Receipt] = []
        slices: list[Slice] = []
        while self._submissions and len(events) < MAX_MICRO_BATCH:
            submission = self._submissions[0]
            if submission.future.done():  # cancelled, timed out or failed: the rest is not stored
                self._waiting -= len(submission.events) - submission.at
                self._taken.pop(id(submission), None)
                self._submissions.popleft()
                continue
            stop = min(len(submission.events), submission.at + MAX_MICRO_BATCH - len(events))
            if submission.at == 0 and stop == len(submission.events):
                events += submission.events
                receipts += submission.receipts
            else:
                events += submission.events[submission.at : stop]
                receipts += submission.receipts[submission.at : stop]
            slices.append((submission, stop - submission.at))
            self._waiting -= stop - submission.at
            submission.at = stop
            self._taken[id(submission)] = submission
            if stop == len(submission.events):
                self._submissions.popleft()
        if self._waiting < self._max_events:
            self._let_in()
        if not events:
            return slices, None
        return slices, self._thread.submit(self._preparer.run, events, receipts, self._clock.wall())

    async def _commit(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        """Store a prepared micro-batch, whole if there is plenty of room, else what there is room for."""
        try:
            clean = not self._queue and not any(
                submission.future.done() or submission.erasures for submission, _ in slices
            )
            # the sum over all destinations is more than any of them gets: a cheap upper bound
            size = size_of(records)
            if clean and self._capacity.plenty(self._names, len(records), size):
                await self._commit_whole(slices, records, refused)
            else:
                await self._commit_apart(slices, records, refused)
        finally:
            for submission, _ in slices:
                if submission.future.done():
                    self._taken.pop(id(submission), None)

    async def _commit_whole(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        for submission, taken in slices:
            submission.appending = taken
        try:
            await self._append(records, refused, [submission for submission, _ in slices])
        except Busy as error:
            self._appended(slices)
            now = self._clock.monotonic()
            bounded = any(submission.deadline is not None for submission, _ in slices if not submission.future.done())
            for submission, _ in slices:
                if not bounded or (submission.deadline is not None and submission.deadline <= now):
                    submission.refuse(error)
            # those who said that they would wait longer
            if not all(submission.future.done() for submission, _ in slices):
                await self._commit_apart(slices, records, refused)
            return
        except SpoolError as error:
            self._appended(slices)
            for submission, _ in slices:
                submission.refuse(error)
            return
        self._appended(slices)
        for submission, taken in slices:
            self._stored(submission, taken)

    def _appended(self, slices: Sequence[Slice]) -> None:
        for submission, _ in slices:
            submission.appending = 0
        self._quiet.set()

    async def _append(
        self, records: Sequence[Record], refused: Sequence[Refused], submissions: Sequence[Submission]
    ) -> None:
        until = min(
            [submission.deadline for submission in submissions if submission.deadline is not None], default=None
        )
        left_s = _ENQUEUED_S if until is None else until - self._clock.monotonic()
        self._quiet.clear()
        await self._spool.append(records, refused, timeout_s=max(_STORING_S, left_s))
        self._hooks.refused(refused)

    async def _commit_apart(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        """Weigh event by event, and store together what there is room for; the rest waits."""
        by_receipt: dict[int, Prepared] = {}
        for record in records:
            by_receipt.setdefault(id(record.receipt), ([], []))[0].append(record)
        for one in refused:
            by_receipt.setdefault(id(one.receipt), ([], []))[1].append(one)
        admission = self._capacity.admission()
        claimed = self._queue.claimed()
        taken_now: list[Slice] = []
        ended: list[Refused] = []
        later: list[tuple[Submission, deque[Prepared], frozenset[str]]] = []
        for submission, taken in slices:
            if submission.future.done():
                continue
            # a queued submission has stored nothing of this slice, nor of the one before
            start = submission.stored + (len(submission.position.unstored) if submission.position is not None else 0)
            mine = deque(by_receipt.get(id(one), ([], [])) for one in submission.receipts[start : start + taken])
            if submission.erasures:
                mine = deque(map(submission.without, mine))
            if submission.queued:
                later.append((submission, mine, NOTHING))
                continue
            full = NOTHING
            before = len(mine)
            while mine and not (full := admission.take(mine[0][0], claimed)):
                ended += mine.popleft()[1]
            if before > len(mine):
                taken_now.append((submission, before - len(mine)))
            if mine:
                later.append((submission, mine, full))
                claimed |= full
        if taken_now:
            try:
                await admission.make_room()
            except SpoolError as error:
                for submission, _ in taken_now:
                    submission.refuse(error, stored=False)
            else:
                await self._commit_whole(taken_now, admission.kept, [*ended, *admission.dropped])
        for submission, mine, full in later:
            if submission.future.done():
                continue
            if submission.queued:
                self._queue.position_of(submission).unstored.extend(map(submission.without, mine))
                self._waiting += len(mine)
            elif not self._gives_up(submission):
                self._let_wait(submission, mine, full)

    async def _store(self, submission: Submission, events: deque[Prepared]) -> frozenset[str]:
        """Store events of a queued submission while there is room; the destinations that the next has to wait for."""
        while events and not submission.future.done():
            admission = self._capacity.admission()
            claimed = self._queue.claimed(submission)  # somebody waits there who came first
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
                if submission.queued:
                    self._waiting -= count
                submission.appending = count
                try:
                    await admission.make_room()
                    await self._append(admission.kept, [*ended, *admission.dropped], [submission])
                except BaseException as error:
                    if isinstance(error, SpoolError):
                        submission.refuse(error)
                    elif is_end(error, ending=self._ending()):
                        raise
                    else:
                        self._failed([submission], error)
                    self._appended([(submission, count)])
                    break
                self._appended([(submission, count)])
                self._stored(submission, count)
            elif not self._gives_up(submission):
                return full
        return NOTHING

    def _gives_up(self, submission: Submission) -> bool:
        """Whether somebody without room does not wait for it, and was told."""
        if self._capacity.overflow == "fail":
            submission.fail(submission.full("a queue is at its bound"))
        elif submission.deadline is not None and submission.deadline <= self._clock.monotonic():
            submission.fail(submission.full(f"a queue stayed at its bound for {submission.timeout_s} s"))
        else:
            return False
        return True

    def _let_wait(self, submission: Submission, events: deque[Prepared], waits: frozenset[str]) -> None:
        """Let a submission wait; nothing more is taken of it until all of it that was prepared is stored."""
        if submission.position is None:
            submission.future.add_done_callback(lambda _future: self._on_done(submission))
        # somebody may have been forgotten while the others of the same micro-batch were stored
        self._queue.position_of(submission).unstored = (
            deque(map(submission.without, events)) if submission.erasures else events
        )
        self._queue.put(submission, waits)
        self._waiting += len(events)
        if submission.at < len(submission.events):
            self._submissions.remove(submission)  # at the front, where those are that were begun

    async def _serve(self) -> bool:
        """Store what there is room for by now, oldest submission first; whether there may be more of it."""
        until = self._clock.monotonic() + _TURN_S
        stored = 0
        submission = self._queue.first()
        while submission is not None:
            position = self._queue.position_of(submission)
            before = submission.stored
            waits = await self._store(submission, position.unstored)
            if submission.future.done():
                self._leave(submission)
            elif not waits:
                self._queue.remove(submission)
                if submission.at < len(submission.events):
                    self._submissions.appendleft(submission)
            elif submission.stored > before:
                self._queue.put(submission, waits)
            else:
                # what it waited for remains its own, or two destinations could be full by turns for ever
                self._queue.put(submission, waits | position.waits)
            stored += submission.stored - before
            if stored and self._waiting < self._max_events:
                self._let_in()
            if stored >= MAX_MICRO_BATCH or (stored and self._clock.monotonic() >= until):
                return True
            submission = self._queue.first(after=position.number)
        return False

    def _on_done(self, submission: Submission) -> None:
        """A caller who waits gave up, or time did; or all is stored, and nothing remains to be done."""
        if submission.queued:
            self._leave(submission)
            self._woken.set()

    def _leave(self, submission: Submission) -> None:
        """Nobody waits for this submission any more: what is left of it is not stored."""
        self._taken.pop(id(submission), None)
        if submission.position is None or not submission.queued:
            return
        self._waiting -= len(submission.position.unstored) + len(submission.events) - submission.at
        submission.position.unstored.clear()
        self._queue.remove(submission)
        if self._waiting < self._max_events:
            self._let_in()

    def _stored(self, submission: Submission, count: int) -> None:
        submission.stored += count
        if submission.timeout_s is not None:
            # the timeout bounds the wait for room, not the length of the list
            submission.deadline = self._clock.monotonic() + submission.timeout_s
        if submission.stored == len(submission.events) and not submission.future.done():
            submission.future.set_result(None)

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(0.1, self._sweep)

    def _sweep(self) -> None:
        """Tell callers whose time is up, also while storage hangs. One timer for all: a timer each would cost more."""
        self._sweeping = None
        self._look_at_thread()
        now = self._clock.monotonic()
        for submission in (*self._taken.values(), *self._submissions):
            if submission.deadline is None or submission.timeout_s is None or submission.appending:
                continue
            # whoever will not wait for room is told whether there is any, and that takes the time to prepare it
            spare_s = 0.0 if submission.queued else max(0.0, _PREPARING_S - submission.timeout_s)
            if submission.deadline + spare_s < now:
                submission.fail(submission.full(f"no room within {submission.timeout_s} s"))
        if self._submissions or self._taken:
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
        kept: list[Submission] = []
        for submission in {id(one): one for one in (*self._taken.values(), *self._submissions)}.values():
            if submission.future.done():
                continue
            if submission.appending and not appending:
                kept.append(submission)
                continue
            self.unknown += submission.appending
            self.unstored += len(submission.events) - submission.stored - submission.appending
            if submission.appending:
                submission.fail(ClientClosed(_CLOSED_MEANWHILE, stored=None, stored_events=submission.stored))
            else:
                if isinstance(error, SpoolError):
                    submission.refuse(error, stored=False)
                else:
                    submission.fail(error or ClientClosed(why, stored=False, stored_events=submission.stored))
        self._submissions.clear()
        self._taken = {id(submission): submission for submission in kept}
        self._queue.clear()
        self._waiting = 0
        while self._blocked:
            turn = self._blocked.popleft()
            if not turn.done():
                turn.set_result(None)
                self._expected += 1
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
