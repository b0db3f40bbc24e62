"""What a process holds in memory of one destination and has not given out: ready, or waiting for a time. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Final

from capi_async.spool.base import Record, size_of

#: ``Record.epoch`` of a record that is settled, or that another process holds now; 0: nobody holds it, above: leased.
SETTLED: Final = -1


class Waiting:
    """Ready records, oldest first, and those that come again at a time of their own.

    Attributes:
        ready_bytes: Of the bodies of those that are ready.
        delayed: A heap of (monotonic seconds, sequence, record).
    """

    def __init__(self) -> None:
        self.ready: deque[Record] = deque()
        self.ready_bytes = 0
        self.delayed: list[tuple[float, int, Record]] = []
        self._sequence = count()

    def push(self, record: Record) -> None:
        """It joins at the end."""
        self.ready.append(record)
        self.ready_bytes += len(record.body)

    def back(self, record: Record) -> None:
        """It goes in front of all."""
        self.ready.appendleft(record)
        self.ready_bytes += len(record.body)

    def delay(self, record: Record, due_at: float) -> None:
        """It comes again at ``due_at``, in monotonic seconds."""
        record.due_at = due_at
        heapq.heappush(self.delayed, (due_at, next(self._sequence), record))

    def wake(self, now: float) -> None:
        """Those whose time has come go in front: they were accepted before all that is ready."""
        delayed = self.delayed
        if delayed and delayed[0][0] <= now:
            due = []
            while delayed and delayed[0][0] <= now:
                due.append(heapq.heappop(delayed)[2])
            for record in reversed(due):
                self.back(record)

    def take(self, limit: int, max_bytes: int, epoch: int) -> list[Record]:
        """Lease up to ``limit`` records, and at least one if one is ready."""
        taken: list[Record] = []
        ready = self.ready
        size = 0
        while ready and len(taken) < limit:
            length = len(ready[0].body)
            if taken and size + length > max_bytes:
                break
            record = ready.popleft()
            record.epoch = epoch
            size += length
            taken.append(record)
        self.ready_bytes -= size
        return taken

    def oldest(self) -> Record | None:
        """Take the oldest that nobody leased out of memory: what was tried before came before what never was."""
        delayed = self.delayed
        if delayed and not (self.ready and self.ready[0].accepted_at < delayed[0][2].accepted_at):
            return heapq.heappop(delayed)[2]
        if not self.ready:
            return None
        record = self.ready.popleft()
        self.ready_bytes -= len(record.body)
        return record

    def drop_settled(self) -> None:
        """Some of those that nobody leased were settled, or lost, where they stood."""
        self.ready = deque([record for record in self.ready if record.epoch != SETTLED])
        self.ready_bytes = size_of(self.ready)
        self.delayed = [one for one in self.delayed if one[2].epoch != SETTLED]
        heapq.heapify(self.delayed)
