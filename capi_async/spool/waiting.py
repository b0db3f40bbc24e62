"""What a process holds in memory of one destination and has not given out. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, count, islice
from operator import attrgetter
from typing import Final

from capi_async.spool.base import Record, size_of

#: ``Record.epoch`` of a record that is settled, or that another process holds now; 0: not leased, above 0: leased.
SETTLED: Final = -1

_body = attrgetter("body")


def oldest_of(rows: Iterable[Sequence[Record | None]]) -> float | None:
    """Seconds since the epoch at which the oldest of what is not settled was accepted; ``None``: there is nothing.

    Args:
        rows: Records that were accepted together, or one after the other.
    """
    return min(
        (
            first.accepted_at
            for row in rows
            if (first := next((one for one in row if one is not None and one.epoch != SETTLED), None)) is not None
        ),
        default=None,
    )


class Waiting:
    """Ready records, oldest first, and those that become ready at a time of their own.

    Attributes:
        ready_bytes: Bytes of the bodies of those that are ready.
        delayed: A heap of (monotonic seconds, sequence, record).
    """

    def __init__(self) -> None:
        self.ready: deque[Record] = deque()
        self.ready_bytes = 0
        self.delayed: list[tuple[float, int, Record]] = []
        self._sequence = count()

    def push(self, record: Record) -> None:
        """The record joins at the end."""
        self.ready.append(record)
        self.ready_bytes += len(record.body)

    def push_front(self, record: Record) -> None:
        """The record is the next one."""
        self.ready.appendleft(record)
        self.ready_bytes += len(record.body)

    def delay(self, record: Record, due_at: float) -> None:
        """The record becomes ready at ``due_at``, in monotonic seconds."""
        record.due_at = due_at
        heapq.heappush(self.delayed, (due_at, next(self._sequence), record))

    def wake(self, now: float) -> None:
        """Records whose time has come are the next ones: they were accepted before all that are ready."""
        delayed = self.delayed
        if delayed and delayed[0][0] <= now:
            due = []
            while delayed and delayed[0][0] <= now:
                due.append(heapq.heappop(delayed)[2])
            for record in reversed(due):
                self.push_front(record)

    def take(self, limit: int, max_bytes: int, epoch: int) -> list[Record]:
        """Lease up to ``limit`` records of ``max_bytes`` together, and at least one if one is ready."""
        ready = self.ready
        taken = list(islice(ready, limit))
        sizes = list(map(len, map(_body, taken)))
        size = sum(sizes)
        if size > max_bytes:
            # the first is taken whatever its size
            fitting = max(1, bisect_right(list(accumulate(sizes)), max_bytes))
            del taken[fitting:]
            size = sum(sizes[:fitting])
        for record in taken:
            record.epoch = epoch
            ready.popleft()
        self.ready_bytes -= size
        return taken

    def oldest(self) -> Record | None:
        """Remove and return the oldest record; records that were tried are older than those that were not."""
        delayed = self.delayed
        if delayed and not (self.ready and self.ready[0].accepted_at < delayed[0][2].accepted_at):
            return heapq.heappop(delayed)[2]
        if not self.ready:
            return None
        record = self.ready.popleft()
        self.ready_bytes -= len(record.body)
        return record

    def drop_settled(self) -> None:
        """Remove records that were settled while they waited."""
        self.ready = deque([record for record in self.ready if record.epoch != SETTLED])
        self.ready_bytes = size_of(self.ready)
        self.delayed = [one for one in self.delayed if one[2].epoch != SETTLED]
        heapq.heapify(self.delayed)


class OrderedWaiting(Waiting):
    """The same, where of the records with one order key only the oldest may be given out.

    Attributes:
        holders: Order key to the record that may be given out, or is.
        blocked: Order key to the younger records, oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holders: dict[str, Record] = {}
        self.blocked: dict[str, deque[Record]] = {}

    def enter(self, record: Record) -> None:
        """The record joins at the end."""
        key = record.order_key
        if key is None:
            self.push(record)
        elif key in self.holders:
            self.blocked.setdefault(key, deque()).append(record)
        else:
            self.holders[key] = record
            self.push(record)

    def leave(self, record: Record) -> bool:
        """The record is settled, so the next one with its order key is ready; True if there is one."""
        key = record.order_key
        if key is None or self.holders.get(key) is not record:
            return False
        blocked = self.blocked.pop(key, None)
        while blocked:
            following = blocked.popleft()
            if following.epoch != SETTLED:
                self.holders[key] = following
                self.push_front(following)
                if blocked:
                    self.blocked[key] = blocked
                return True
        del self.holders[key]
        return False

    def oldest(self) -> Record | None:
        """See :meth:`Waiting.oldest`; those that an order key holds back come last."""
        return super().oldest() or pop_first(self.blocked)

    def drop_settled(self) -> None:
        super().drop_settled()
        drop_settled_of(self.blocked)


def pop_first(by_key: dict[str, deque[Record]]) -> Record | None:
    """Remove and return the first unsettled record of any key; a key without records is removed."""
    while by_key:
        key, records = next(iter(by_key.items()))
        found = records.popleft() if records else None
        if not records:
            del by_key[key]
        if found is not None and found.epoch != SETTLED:
            return found
    return None


def drop_settled_of(by_key: dict[str, deque[Record]]) -> None:
    """Remove the settled records of all keys."""
    for key, records in list(by_key.items()):
        if left := deque(record for record in records if record.epoch != SETTLED):
            by_key[key] = left
        else:
            del by_key[key]
