"""Stores what was prepared: whole if there is plenty of capacity, else event by event, in the callers' order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from capi_async.clock import Clock
from capi_async.engine.backlog import Backlog
from capi_async.engine.capacity import Capacity
from capi_async.engine.erasure import Prepared
from capi_async.engine.guard import is_end
from capi_async.engine.hooks import Hooks
from capi_async.engine.receipt import Receipt
from capi_async.engine.wait_queue import NOTHING, Slice, Submission
from capi_async.errors import SpoolError
from capi_async.event import Event
from capi_async.log import Log
from capi_async.spool.base import Busy, Record, Refused, Spool, append_soon_of, size_of

logger = Log(__name__)

#: Events that are stored together, at most.
MAX_MICRO_BATCH: Final = 256

#: Seconds that storing may take at least, however short a timeout a caller gave: a call in time should not be
#: refused for that. Also the timeout of callers that gave none, because they do not await.
STORING_S: Final = 1.0
_ENQUEUED_S: Final = 60.0

#: Seconds that those who wait may take before others get their turn.
_TURN_S: Final = 0.01


class Commit:
    """Commits the prepared events of one client to its spool.

    Attributes:
        quiet: Set whenever nothing is being stored.
    """

    def __init__(
        self,
        backlog: Backlog,
        *,
        spool: Spool,
        capacity: Capacity,
        names: Sequence[str],
        hooks: Hooks,
        ending: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._backlog = backlog
        self._spool = spool
        self._capacity = capacity
        self._names = names
        self._hooks = hooks
        self._ending = ending
        self._clock = clock
        self._append_soon = append_soon_of(spool)
        #: The lone event that is being stored, see :meth:`begin`.
        self._lone: Submission | None = None
        self.quiet = asyncio.Event()
        self.quiet.set()

    async def store(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        """Store a prepared micro-batch, whole if there is plenty of capacity, else what fits."""
        try:
            clean = not self._backlog.queue and not any(
                submission.future.done() or submission.erasures for submission, _ in slices
            )
            # the sum over all destinations is more than any of them gets: a cheap upper bound
            size = size_of(records)
            if clean and self._capacity.plenty(self._names, len(records), size):
                await self._store_whole(slices, records, refused)
            else:
                await self._store_apart(slices, records, refused)
        finally:
            under_way = self._backlog.taken
            for submission, _ in slices:
                if submission.future.done():
                    under_way.pop(id(submission), None)

    @property
    def begins(self) -> bool:
        """Whether a lone event may be given to :meth:`begin`."""
        return self._append_soon is not None and self._lone is None

    def begin(
        self, event: Event, receipt: Receipt, made: Prepared, *, timeout_s: float | None
    ) -> asyncio.Future[None] | None:
        """Begin to store a lone event, while nothing else is being stored or waits; ``None`` if capacity is short.

        Its caller is told by the spool itself, which is some turns of the loop sooner than by a task that awaits it.
        """
        append = self._append_soon
        if append is None or not self._capacity.plenty(self._names, 1, size_of(made[0])):
            return None
        submission = self._lone = self._backlog.begin(event, receipt, timeout_s=timeout_s)
        self.quiet.clear()
        told = partial(self._told, submission, len(made[0]), made[1], time.perf_counter())
        left_s = _ENQUEUED_S if timeout_s is None else max(STORING_S, timeout_s)
        try:
            append(*made, timeout_s=left_s, told=told)
        except SpoolError as error:
            told(error)
        except Exception as error:
            self._lone = None
            self.failed([submission], error)
        return submission.future

    def _told(
        self, submission: Submission, records: int, refused: list[Refused], began: float, error: SpoolError | None
    ) -> None:
        """It is known what became of an event that :meth:`begin` began to store."""
        self._lone = None
        self._backlog.taken.pop(id(submission), None)
        if error is not None:
            self._appended([(submission, 1)])
            submission.refuse(error)
            return
        self._hooks.stored(records, len(refused), time.perf_counter() - began)
        self._hooks.refused(refused)
        self._stored([(submission, 1)])

    async def serve(self) -> bool:
        """Store what fits by now, oldest submission first; whether there may be more of it."""
        until = self._clock.monotonic() + _TURN_S
        stored = 0
        submission = self._backlog.queue.first()
        while submission is not None:
            position = self._backlog.queue.position_of(submission)
            before = submission.stored
            waits = await self._store_queued(submission, position.unstored)
            if submission.future.done():
                self._backlog.leave(submission)
            elif not waits:
                self._backlog.resume(submission)
            elif submission.stored > before:
                self._backlog.queue.put(submission, waits)
            else:
                # what it waited for remains its own, or two destinations could be full by turns without end
                self._backlog.queue.put(submission, waits | position.waits)
            stored += submission.stored - before
            if stored:
                self._backlog.let_in()
            if stored >= MAX_MICRO_BATCH or (stored and self._clock.monotonic() >= until):
                return True
            submission = self._backlog.queue.first(after=position.number)
        return False

    def failed(self, submissions: Sequence[Submission], error: BaseException) -> None:
        """An unexpected error costs only the callers whose events it met."""
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
            self._backlog.taken.pop(id(submission), None)
        if self._lone is None:
            self.quiet.set()

    async def _store_whole(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        for submission, taken in slices:
            submission.appending = taken
        try:
            await self._append(records, refused, slices)
        except Busy as error:
            self._appended(slices)
            now = self._clock.monotonic()
            bounded = any(submission.deadline is not None for submission, _ in slices if not submission.future.done())
            for submission, _ in slices:
                if not bounded or (submission.deadline is not None and submission.deadline <= now):
                    submission.refuse(error)
            # callers that allowed a longer wait
            if not all(submission.future.done() for submission, _ in slices):
                await self._store_apart(slices, records, refused)
            return
        except SpoolError as error:
            self._appended(slices)
            for submission, _ in slices:
                submission.refuse(error)
            return
        self._stored(slices)

    async def _store_apart(self, slices: Sequence[Slice], records: list[Record], refused: list[Refused]) -> None:
        """Measure event by event, and store together what fits; the rest waits."""
        by_receipt: dict[int, Prepared] = {}
        for record in records:
            by_receipt.setdefault(id(record.receipt), ([], []))[0].append(record)
        for one in refused:
            by_receipt.setdefault(id(one.receipt), ([], []))[1].append(one)
        admission = self._capacity.admission()
        claimed = self._backlog.queue.claimed()
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
                await self._store_whole(taken_now, admission.kept, [*ended, *admission.dropped])
        for submission, mine, full in later:
            if submission.future.done():
                continue
            if submission.queued:
                self._backlog.queue.position_of(submission).unstored.extend(map(submission.without, mine))
                self._backlog.waiting += len(mine)
            elif not self._gives_up(submission):
                self._backlog.let_wait(submission, mine, full)

    async def _store_queued(self, submission: Submission, events: deque[Prepared]) -> frozenset[str]:
        """Store events of a queued submission while they fit; the destinations that the next one has to wait for."""
        while events and not submission.future.done():
            admission = self._capacity.admission()
            claimed = self._backlog.queue.claimed(submission)  # an earlier submission waits there
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
                    self._backlog.waiting -= count
                submission.appending = count
                try:
                    await admission.make_room()
                    await self._append(admission.kept, [*ended, *admission.dropped], [(submission, count)])
                except BaseException as error:
                    if isinstance(error, SpoolError):
                        submission.refuse(error)
                    elif is_end(error, ending=self._ending()):
                        raise
                    else:
                        self.failed([submission], error)
                    self._appended([(submission, count)])
                    break
                self._stored([(submission, count)])
            elif not self._gives_up(submission):
                return full
        return NOTHING

    async def _append(self, records: Sequence[Record], refused: Sequence[Refused], slices: Sequence[Slice]) -> None:
        until = min([submission.deadline for submission, _ in slices if submission.deadline is not None], default=None)
        left_s = _ENQUEUED_S if until is None else until - self._clock.monotonic()
        self.quiet.clear()
        began = time.perf_counter()
        await self._spool.append(records, refused, timeout_s=max(STORING_S, left_s))
        self._hooks.stored(len(records), len(refused), time.perf_counter() - began)
        self._hooks.refused(refused)

    def _appended(self, slices: Sequence[Slice]) -> None:
        for submission, _ in slices:
            submission.appending = 0
        self.quiet.set()

    def _stored(self, slices: Sequence[Slice]) -> None:
        now = self._clock.monotonic()
        ended: list[tuple[int, float]] = []
        for submission, count in slices:  # as many as events, where a thousand tasks send one each
            submission.appending = 0
            submission.stored = stored = submission.stored + count
            timeout_s, future = submission.timeout_s, submission.future
            if timeout_s is not None:
                # the timeout bounds the wait for capacity, not the length of the list
                submission.deadline = now + timeout_s
            if stored == len(submission.events) and not future.done():
                future.set_result(None)
                ended.append((stored, now - submission.since))
        self.quiet.set()
        if ended:
            self._hooks.all_taken(ended)

    def _gives_up(self, submission: Submission) -> bool:
        """Refuse a caller that does not wait for capacity, if there is none; whether that was done."""
        if self._capacity.overflow == "fail":
            submission.fail(submission.full("a queue is at its bound"))
        elif submission.deadline is not None and submission.deadline <= self._clock.monotonic():
            submission.fail(submission.full(f"a queue stayed at its bound for {submission.timeout_s} s"))
        else:
            return False
        return True
