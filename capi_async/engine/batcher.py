"""Collects records into batches. Pure: takes the time as an argument and does no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capi_async.spool.base import Record, size_of


class Batch:
    """Records of equal heads on their way into one request.

    Attributes:
        started: Monotonic seconds at which it was handed over to be sent; 0 before.
        sent_at: Seconds since the epoch at which its request left; 0 while it has not.
    """

    __slots__ = ("bytes", "deadline", "head", "limit", "records", "sent_at", "started")

    def __init__(self, head: bytes, limit: int, deadline: float) -> None:
        self.head = head
        self.limit = limit
        self.deadline = deadline
        self.records: list[Record] = []
        self.bytes = 0
        self.started = 0.0
        self.sent_at = 0.0


class Batcher:
    """Closes a batch on count, on bytes, or when its first record has lingered.

    Args:
        limit_of: Events that one request of a head may carry.
        max_bytes: Bytes of a request's body, envelope included.
        linger_s: Seconds that a record waits for company.
        max_open: Heads that may be open at once; beyond it the oldest batch closes early.
        now: Monotonic seconds.
    """

    #: Room kept for what stands around the events: brackets, test codes, upload tags.
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

    def add(self, records: Sequence[Record]) -> None:
        """Sort records into the open batches, closing those that are full."""
        if not self._add_together(records):
            self._add_each(records)
        self.records += len(records)

    def _add_together(self, records: Sequence[Record]) -> bool:
        """Nearly always all of them have one head, and there is room: looked at as a whole."""
        if not records:
            return True
        head = records[0].head
        if [record.head for record in records].count(head) != len(records):
            return False
        batch = self._batch(head)
        size = size_of(records) + len(records)
        if len(batch.records) + len(records) > batch.limit or batch.bytes + size > self._max_bytes:
            return False
        batch.records += records
        batch.bytes += size
        if len(batch.records) == batch.limit:
            self._close(batch)
        return True

    def _add_each(self, records: Sequence[Record]) -> None:
        batch: Batch | None = None
        for record in records:
            if batch is None or batch.head != record.head:
                batch = self._batch(record.head)
            size = len(record.body) + 1
            if batch.records and batch.bytes + size > self._max_bytes:
                self._close(batch)
                batch = self._batch(record.head)
            batch.records.append(record)
            batch.bytes += size
            if len(batch.records) >= batch.limit:
                self._close(batch)
                batch = None

    def take(self, *, everything: bool = False) -> Batch | None:
        """The next batch that is closed or whose time has come; with ``everything``, any batch."""
        if not self._closed and self._open:
            oldest = next(iter(self._open.values()))
            if everything or oldest.deadline <= self._now():
                self._close(oldest)
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

    def due_s(self) -> float | None:
        """Seconds until the oldest open batch closes by itself; ``None`` if none is open."""
        if self._closed:
            return 0.0
        if not self._open:
            return None
        return max(0.0, next(iter(self._open.values())).deadline - self._now())

    def _batch(self, head: bytes) -> Batch:
        batch = self._open.get(head)
        if batch is None:
            if len(self._open) >= self._max_open:
                self._close(next(iter(self._open.values())))
            # a dict keeps the order of opening, so its first batch is the first to come due
            batch = self._open[head] = Batch(head, self._limit_of(head), self._now() + self._linger_s)
        return batch

    def _close(self, batch: Batch) -> None:
        del self._open[batch.head]
        self._closed.append(batch)
