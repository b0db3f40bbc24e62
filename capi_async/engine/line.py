"""Callers who wait for room, in order: tickets, and the line that they stand in."""

from __future__ import annotations

import asyncio
import copy
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeAlias

from capi_async.engine.receipt import Receipt
from capi_async.errors import CapiError, QueueFull, SpoolError
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.spool.base import Record, Refused

NOTHING: frozenset[str] = frozenset()


class Erasure:
    """A person was forgotten, or withdrew, while these tickets waited to be stored: what matches is not delivered.

    Attributes:
        found: Destination to events that it has met.
    """

    __slots__ = ("_matches", "_outcome", "found")

    def __init__(self, matches: Callable[[Record], bool], outcome: Outcome) -> None:
        self._matches = matches
        self._outcome = outcome
        self.found: dict[str, int] = {}

    def of(self, event: Prepared) -> Prepared:
        """What is left of one event."""
        records, refused = event
        hits = [record for record in records if self._matches(record)]
        if not hits:
            return event
        for record in hits:
            self.found[record.destination] = self.found.get(record.destination, 0) + 1
        gone = {id(record) for record in hits}
        ended = [Refused(record.destination, record.event_id, self._outcome, record.receipt) for record in hits]
        return [record for record in records if id(record) not in gone], [*refused, *ended]


class Ticket:
    """Events that one caller handed in together, and who waits for them.

    Attributes:
        at: How many of them were taken into a micro-batch.
        stored: How many of them are in the spool.
        deadline: Monotonic seconds at which the caller gives up; ``None``: never.
        future: Resolved once all are stored.
        appending: How many of them the spool is storing right now, so that nobody may be told otherwise.
        erasures: What was forgotten since it was handed in.
        place: Its place in line, once it had to wait for room.
    """

    __slots__ = (
        "appending",
        "at",
        "deadline",
        "erasures",
        "events",
        "future",
        "place",
        "receipts",
        "stored",
        "timeout_s",
    )

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
        self.appending = 0
        self.erasures: tuple[Erasure, ...] = ()
        self.place: Place | None = None

    @property
    def parked(self) -> bool:
        """Whether it stands in the line right now."""
        return self.place is not None and bool(self.place.waits)

    def fail(self, error: CapiError) -> None:
        """Tell the caller no."""
        if not self.future.done():
            self.future.set_exception(error)

    def refuse(self, error: SpoolError, *, stored: bool | None = None) -> None:
        """Tell the caller of storage that failed: an error of their own, which several callers cannot share.

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
        for erasure in self.erasures:
            event = erasure.of(event)
        return event

    def full(self, why: str) -> QueueFull:
        """What this caller is told when there is no room."""
        total = len(self.events)
        stored = "nothing was stored" if not self.stored else f"the first {self.stored} of {total} were stored"
        return QueueFull(f"{why}; {stored}", stored=False, stored_events=self.stored)


#: A run of one ticket's events inside a micro-batch: ticket, how many.
Run: TypeAlias = tuple[Ticket, int]

#: What one event came to.
Prepared: TypeAlias = tuple[list[Record], list[Refused]]


class Place:
    """Where a ticket stands in line. It keeps its number for life: who goes on and has to wait again is not the last.

    Attributes:
        waits: Destinations that its next event waits for; none while the ticket is not in line.
        rest: What was prepared of it and is not stored.
    """

    __slots__ = ("number", "rest", "waits")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waits = NOTHING
        self.rest: deque[Prepared] = deque()


class Line:
    """Tickets whose next event has no room, oldest first, in one queue for each set of destinations waited for.

    All in one queue need the same full destinations, so that only the first of each is worth a look: thousands may
    wait, and every answer of a platform makes somebody look.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._queues: dict[frozenset[str], list[Ticket]] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def place(self, ticket: Ticket) -> Place:
        """The place of a ticket, which it gets the first time."""
        if ticket.place is None:
            ticket.place = Place(next(self._numbers))
        return ticket.place

    def put(self, ticket: Ticket, waits: frozenset[str]) -> None:
        """Let a ticket wait, or wait for something else."""
        place = self.place(ticket)
        if place.waits == waits:
            return
        self.remove(ticket)
        place.waits = waits
        insort(self._queues.setdefault(waits, []), ticket, key=_number)

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out, if it is in."""
        place = ticket.place
        if place is None or not place.waits:
            return
        queue = self._queues[place.waits]
        del queue[bisect_left(queue, place.number, key=_number)]
        if not queue:
            del self._queues[place.waits]
        place.waits = NOTHING

    def first(self, *, after: int = 0) -> Ticket | None:
        """The oldest with a higher number than ``after`` that stands behind nobody who waits for just the same."""
        heads = [queue[0] for queue in self._queues.values() if _number(queue[0]) > after]
        return min(heads, key=_number, default=None)

    def claimed(self, ticket: Ticket | None = None) -> frozenset[str]:
        """Destinations that others wait for; with ``ticket``, only others who came before it."""
        before = None if ticket is None or ticket.place is None else ticket.place.number
        heads = [queue[0] for queue in self._queues.values()]
        return NOTHING.union(*[_waits(head) for head in heads if before is None or _number(head) < before])

    def due_at(self) -> float | None:
        """The earliest deadline of those who are first; the others are told by the sweep."""
        return min(
            [queue[0].deadline for queue in self._queues.values() if queue[0].deadline is not None], default=None
        )

    def clear(self) -> None:
        """Send everybody away."""
        for queue in self._queues.values():
            for ticket in queue:
                place = self.place(ticket)
                place.waits = NOTHING
                place.rest.clear()
        self._queues.clear()


def _number(ticket: Ticket) -> int:
    return ticket.place.number if ticket.place is not None else 0


def _waits(ticket: Ticket) -> frozenset[str]:
    return ticket.place.waits if ticket.place is not None else NOTHING
