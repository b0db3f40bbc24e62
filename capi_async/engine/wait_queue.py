"""Submissions that wait for capacity, in order."""

from __future__ import annotations

import asyncio
import copy
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import TypeAlias

from msgspec import Struct

from capi_async.engine.erasure import Erasure, Prepared, without
from capi_async.engine.receipt import Receipt
from capi_async.errors import CapiError, QueueFull, SpoolError
from capi_async.event import Event

NOTHING: frozenset[str] = frozenset()


class Submission(Struct, eq=False):
    """Events that one caller handed in together, and who waits for them.

    Attributes:
        future: Resolved once all are stored.
        deadline: Monotonic seconds at which the caller gives up; ``None``: never.
        since: Monotonic seconds at which it was handed in.
        at: How many of them were taken into a micro-batch.
        stored: How many of them are in the spool.
        appending: How many of them the spool is storing right now, so that they must not be reported as not stored.
        erasures: What was forgotten since then.
        position: Its place in the queue, once it had to wait for capacity.
    """

    events: Sequence[Event]
    receipts: Sequence[Receipt]
    future: asyncio.Future[None]
    timeout_s: float | None
    deadline: float | None
    since: float
    at: int = 0
    stored: int = 0
    appending: int = 0
    erasures: tuple[Erasure, ...] = ()
    position: Position | None = None

    @property
    def queued(self) -> bool:
        """Whether it is in the queue right now."""
        return self.position is not None and bool(self.position.waits)

    def fail(self, error: CapiError) -> None:
        """Refuse the caller."""
        if not self.future.done():
            self.future.set_exception(error)

    def refuse(self, error: SpoolError, *, stored: bool | None = None) -> None:
        """Raise for the caller that storage failed: each gets its own error, because several cannot share one.

        Args:
            stored: What is known of the event; ``None``: what the error says.
        """
        own = copy.copy(error)
        own.__cause__ = error.__cause__
        if stored is not None:
            own.stored = stored
        own.stored_events = self.stored
        self.fail(own)

    def without(self, event: Prepared) -> Prepared:
        """The event as far as it was not forgotten meanwhile."""
        return without(event, self.erasures)

    def full(self, why: str) -> QueueFull:
        """The error for this caller when there is no capacity."""
        total = len(self.events)
        stored = "nothing was stored" if not self.stored else f"the first {self.stored} of {total} were stored"
        return QueueFull(f"{why}; {stored}", stored=False, stored_events=self.stored)


#: A run of one submission's events inside a micro-batch: submission, how many.
Slice: TypeAlias = tuple[Submission, int]


class Position:
    """The place of a submission in the queue. Its number stays the same: one that waits again keeps its turn.

    Attributes:
        waits: Destinations that its next event waits for; none while the submission is not queued.
        unstored: What was prepared of it and is not stored.
    """

    __slots__ = ("number", "unstored", "waits")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waits = NOTHING
        self.unstored: deque[Prepared] = deque()


class WaitQueue:
    """Submissions whose next event waits for capacity, oldest first, in one queue for each set of full destinations.

    All in one queue need the same full destinations, so that only the first of each has to be checked: thousands may
    wait, and every answer of a platform leads to a check.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._queues: dict[frozenset[str], list[Submission]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def position_of(self, submission: Submission) -> Position:
        """The position of a submission, which it gets the first time."""
        if submission.position is None:
            submission.position = Position(next(self._numbers))
        return submission.position

    def put(self, submission: Submission, waits: frozenset[str]) -> None:
        """Let a submission wait, or wait for something else."""
        position = self.position_of(submission)
        if position.waits == waits:
            return
        self.remove(submission)
        position.waits = waits
        insort(self._queues.setdefault(waits, []), submission, key=_number)

    def remove(self, submission: Submission) -> None:
        """Take a submission out, if it is in."""
        position = submission.position
        if position is None or not position.waits:
            return
        queue = self._queues[position.waits]
        del queue[bisect_left(queue, position.number, key=_number)]
        if not queue:
            del self._queues[position.waits]
        position.waits = NOTHING

    def first(self, *, after: int = 0) -> Submission | None:
        """The oldest with a higher number than ``after`` that is the first of its queue."""
        heads = [queue[0] for queue in self._queues.values() if _number(queue[0]) > after]
        return min(heads, key=_number, default=None)

    def claimed(self, submission: Submission | None = None) -> frozenset[str]:
        """Destinations that others wait for; with ``submission``, only others who came before it."""
        before = None if submission is None or submission.position is None else submission.position.number
        heads = [queue[0] for queue in self._queues.values()]
        return NOTHING.union(*[_waits(head) for head in heads if before is None or _number(head) < before])

    def due_at(self) -> float | None:
        """The earliest deadline of the first of each queue; the sweep answers the others."""
        return min(
            [queue[0].deadline for queue in self._queues.values() if queue[0].deadline is not None], default=None
        )

    def clear(self) -> None:
        """Send everybody away."""
        for queue in self._queues.values():
            for submission in queue:
                position = self.position_of(submission)
                position.waits = NOTHING
                position.unstored.clear()
        self._queues.clear()


def _number(submission: Submission) -> int:
    return submission.position.number if submission.position is not None else 0


def _waits(submission: Submission) -> frozenset[str]:
    return submission.position.waits if submission.position is not None else NOTHING
