"""Collects records into batches. Pure: takes the time as an argument and does no I/O."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from capi_async.spool.base import Record, size_of


class Batch:
    """Records of equal heads on their way into one request.

    Attributes:
        started: Monotonic seconds at which it was handed over to be sent; 0 before.
        sent_at: Seconds since the epoch at which its request left; 0 while it has not.
        probe: Whether others wait for its answer.
    """

    __slots__ = ("bytes", "deadline", "head", "limit", "probe", "records", "sent_at", "started")

    def __init__(self, head: bytes, limit: int, deadline: float) -> None:
        self.head = head
        self.limit = limit
        self.deadline = deadline
        self.records: list[Record] = []
        self.bytes = 0
        self.started = 0.0
        self.sent_at = 0.0
        self.probe = False


class Batcher:
    """Closes a batch on count, on bytes, or when its first record has lingered.

    Args:
        limit_of: Events that one request of a head may carry.
        max_bytes: Bytes of a request's body, envelope included.
        linger_s: Seconds that a record waits for others to share its request.
        max_open: Heads that may be open at once; beyond it the batch that is due first closes early.
        now: Monotonic seconds.
    """

    #: Bytes kept free for what a request holds besides the events: brackets, test codes, upload tags.
    ENVELOPE_BYTES = 1024

    def __init__(
        self,
        *,
        limit_of: Callable[[bytes], int],
        max_bytes: int,
        linger_s: float,
        now: Callable[[], float],
        max_open: int = 64,
    ) -> None:
        self._limit_of = limit_of
        self._max_bytes = max_bytes - self.ENVELOPE_BYTES
        self._linger_s = linger_s
        self._now = now
        self._max_open = max_open
        self._open: dict[bytes, Batch] = {}
        self._closed: list[Batch] = []
        self.records = 0
        #: The fewest events that a request of some head carries, as far as heads were seen.
        self._least = sys.maxsize

    def add(self, records: Sequence[Record], *, now: float = 0.0) -> None:
        """Sort records into the open batches, closing those that are full.

        Args:
            now: Seconds since the epoch: the time that a record has waited elsewhere is part of its linger.
        """
        if not self._add_together(records, now):
            self._add_each(records, now)
        self.records += len(records)

    def _add_together(self, records: Sequence[Record], now: float) -> bool:
        """The usual case, checked for all records at once: they have one head, and all fit."""
        if not records:
            return True
        head = records[0].head
        if len(records) > 1 and [record.head for record in records].count(head) != len(records):
            return False
        batch = self._batch(records[0], now)
        size = size_of(records) + len(records)
        if len(batch.records) + len(records) > batch.limit or batch.bytes + size > self._max_bytes:
            return False
        batch.records += records
        batch.bytes += size
        if len(batch.records) == batch.limit:
            self._close(batch)
        return True

    def _add_each(self, records: Sequence[Record], now: float) -> None:
        batch: Batch | None = None
        for record in records:
            if batch is None or batch.head != record.head:
                batch = self._batch(record, now)
            size = len(record.body) + 1
            if batch.records and batch.bytes + size > self._max_bytes:
                self._close(batch)
                batch = self._batch(record, now)
            batch.records.append(record)
            batch.bytes += size
            if len(batch.records) >= batch.limit:
                self._close(batch)
                batch = None

    def take(self, *, everything: bool = False) -> Batch | None:
        """The next batch that is closed or whose time has come; with ``everything``, any batch."""
        if not self._closed and self._open:
            first = self._first()
            if everything or first.deadline <= self._now():
                self._close(first)
        if not self._closed:
            return None
        batch = self._closed.pop(0)
        self.records -= len(batch.records)
        return batch

    def newest(self) -> Batch | None:
        """The record that came last, alone."""
        batch = next(reversed(self._open.values())) if self._open else self._closed[-1] if self._closed else None
        if batch is None:
            return None
        alone = Batch(batch.head, batch.limit, batch.deadline)
        alone.records.append(batch.records.pop())
        batch.bytes -= len(alone.records[0].body) + 1
        self.records -= 1
        if not batch.records:
            if self._open:
                del self._open[batch.head]
            else:
                self._closed.remove(batch)
        return alone

    def drain(self) -> list[Record]:
        """All records, to be handed back."""
        records = [record for batch in (*self._closed, *self._open.values()) for record in batch.records]
        self._closed.clear()
        self._open.clear()
        self.records = 0
        return records

    def ready(self) -> bool:
        """Whether a closed batch waits."""
        return bool(self._closed)

    def left(self) -> tuple[int, int] | None:
        """How many events, and how many bytes with a comma each, close a batch before its time; ``None``: no telling.

        Of a head that is not open the least that one request of any head was found to carry is expected.
        """
        if self._closed or not self._open:
            return None
        events = min(self._least, *[batch.limit - len(batch.records) for batch in self._open.values()])
        return events, self._max_bytes - max([batch.bytes for batch in self._open.values()])

    def due_s(self) -> float | None:
        """Seconds until the oldest open batch closes by itself; ``None`` if none is open."""
        if self._closed:
            return 0.0
        if not self._open:
            return None
        return max(0.0, self._first().deadline - self._now())

    def _first(self) -> Batch:
        """The open batch that comes due first: not always the one that was opened first."""
        return min(self._open.values(), key=_deadline)

    def _batch(self, record: Record, now: float) -> Batch:
        head = record.head
        batch = self._open.get(head)
        if batch is None:
            if len(self._open) >= self._max_open:
                self._close(self._first())
            limit = self._limit_of(head)
            self._least = min(self._least, limit)
            # the wall clock may have been stepped meanwhile; one that was tried before lingers as a new one does
            waited_s = 0.0 if record.attempts else min(max(0.0, now - record.accepted_at), self._linger_s)
            batch = self._open[head] = Batch(head, limit, self._now() + self._linger_s - waited_s)
        return batch

    def _close(self, batch: Batch) -> None:
        del self._open[batch.head]
        self._closed.append(batch)


_deadline: Final = attrgetter("deadline")
