"""What one destination has in memory of its queue: ready, waiting for a time, waiting for an older one. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Final

from capi_async.spool.base import Record
from capi_async.spool.sqlite.group import SETTLED, key_number

#: Records, and bytes of their bodies, that wait ready in memory; more stay in the file until their turn comes.
HOT_RECORDS: Final = 16_384
HOT_BYTES: Final = 8 * 1024 * 1024


class Line:
    """One destination's queue.

    Attributes:
        events, bytes: Unsettled records of this process, in memory and in the file.
        cold: Those of them that are in the file only; all behind chunk ``cursor``, and younger than all in memory.
        unowned: Events and bytes in the file that belong to no process.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Record] = deque()
        self.delayed: list[tuple[float, int, Record]] = []
        self.blocked: dict[str, deque[Record]] = {}
        self.holders: dict[str, Record] = {}
        self.foreign: dict[str, deque[Record]] = {}
        self.ready_bytes = 0
        self.events = 0
        self.bytes = 0
        self.cold = 0
        self.cursor = 0
        self.unowned = (0, 0)
        self._sequence = count()

    def has_room(self) -> bool:
        """Whether what comes may stay in memory: nothing older is in the file only, and there is room."""
        return not self.cold and len(self.ready) < HOT_RECORDS and self.ready_bytes < HOT_BYTES

    def enter(self, record: Record) -> None:
        """A record joins at the end."""
        key = record.order_key
        if key is None:
            self._push(record)
        elif key in self.foreign or (record.chunk.foreign and key_number(key) in record.chunk.foreign):
            self.foreign.setdefault(key, deque()).append(record)
        elif key in self.holders:
            self.blocked.setdefault(key, deque()).append(record)
        else:
            self.holders[key] = record
            self._push(record)

    def look_again(self) -> bool:
        """Other processes settled something: let go what they no longer hold back; True if anything is ready now."""
        freed = False
        for key in list(self.foreign):
            waiting = self.foreign.pop(key)
            number = key_number(key)
            while waiting and number not in waiting[0].chunk.foreign:
                self.enter(waiting.popleft())
                freed = True
            if waiting:
                self.foreign[key] = waiting
        return freed

    def delay(self, record: Record, due_at: float) -> None:
        """It comes again at ``due_at``, in monotonic seconds."""
        record.due_at = due_at
        heapq.heappush(self.delayed, (due_at, next(self._sequence), record))

    def back(self, record: Record) -> None:
        """It goes in front of all."""
        self.ready.appendleft(record)
        self.ready_bytes += len(record.body)

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
        """Take the oldest that nobody holds out of memory."""
        if self.ready:
            record = self.ready.popleft()
            self.ready_bytes -= len(record.body)
            return record
        return heapq.heappop(self.delayed)[2] if self.delayed else None

    def leave(self, record: Record) -> bool:
        """It is settled: the next of its order key may go; True if one was waiting."""
        key = record.order_key
        if key is None or self.holders.get(key) is not record:
            return False
        line = self.blocked.get(key)
        while line:
            following = line.popleft()
            if following.epoch != SETTLED:
                self.holders[key] = following
                self.back(following)
                return True
        self.blocked.pop(key, None)
        del self.holders[key]
        return False

    def drop_settled(self) -> None:
        """Some of those that nobody holds were settled where they stood."""
        self.ready = deque(record for record in self.ready if record.epoch != SETTLED)
        self.ready_bytes = sum([len(record.body) for record in self.ready])
        self.delayed = [entry for entry in self.delayed if entry[2].epoch != SETTLED]
        heapq.heapify(self.delayed)
        for lines in (self.blocked, self.foreign):
            for key, line in list(lines.items()):
                left = deque(record for record in line if record.epoch != SETTLED)
                if left:
                    lines[key] = left
                else:
                    del lines[key]

    def waiting(self) -> int:
        """Records in memory that wait for an older one."""
        return sum(len(line) for line in _lines(self.blocked, self.foreign))

    def _push(self, record: Record) -> None:
        self.ready.append(record)
        self.ready_bytes += len(record.body)


def _lines(*every: dict[str, deque[Record]]) -> Iterator[deque[Record]]:
    for lines in every:
        yield from lines.values()
