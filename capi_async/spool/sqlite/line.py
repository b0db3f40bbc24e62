"""What one destination has in memory of its queue: ready, waiting for a time, waiting for an older one. Pure."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from typing import Final

from capi_async.spool.base import Record
from capi_async.spool.sqlite.group import key_number
from capi_async.spool.waiting import SETTLED, Waiting

#: Records, and bytes of their bodies, that wait ready in memory; more stay in the file until their turn comes.
HOT_RECORDS: Final = 16_384
HOT_BYTES: Final = 8 * 1024 * 1024


class Line(Waiting):
    """One destination's queue.

    Attributes:
        events, bytes: Unsettled records of this process, in memory and in the file.
        cold: Those of them that are in the file only; all behind chunk ``cursor``, and younger than all in memory;
            ``cold_bytes`` of their bodies.
        unowned: Events and bytes in the file that belong to no process.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.blocked: dict[str, deque[Record]] = {}
        self.holders: dict[str, Record] = {}
        self.foreign: dict[str, deque[Record]] = {}
        self.events = 0
        self.bytes = 0
        self.cold = 0
        self.cold_bytes = 0
        self.cursor = 0
        self.unowned = (0, 0)

    def has_room(self) -> bool:
        """Whether what comes may stay in memory: nothing older is in the file only, and there is room."""
        return not self.cold and len(self.ready) < HOT_RECORDS and self.ready_bytes < HOT_BYTES

    def enter(self, record: Record) -> None:
        """A record joins at the end."""
        key = record.order_key
        if key is None:
            self.push(record)
        elif self._is_foreign(record, key):
            # sorted: what this process takes up from others may be older than what it accepted itself
            insort(self.foreign.setdefault(key, deque()), record, key=_age)
        elif key in self.holders:
            self.blocked.setdefault(key, deque()).append(record)
        else:
            self.holders[key] = record
            self.push(record)

    def _is_foreign(self, record: Record, key: str) -> bool:
        """Whether an older one of its key is another process's, or waits for one that is."""
        waiting = self.foreign.get(key)
        if waiting and _age(waiting[0]) < _age(record):
            return True
        return bool(record.chunk.foreign) and key_number(key) in record.chunk.foreign

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

    def oldest(self) -> Record | None:
        """Take the oldest that nobody holds out of memory; at last those held back by an order key."""
        if (record := super().oldest()) is not None:
            return record
        for lines in (self.blocked, self.foreign):
            while lines:
                key, line = next(iter(lines.items()))
                found = line.popleft() if line else None
                if not line:
                    del lines[key]
                if found is not None and found.epoch != SETTLED:
                    return found
        return None

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
        super().drop_settled()
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


def _age(record: Record) -> tuple[int, int]:
    """Older ones have less."""
    return record.chunk.id, record.at


def _lines(*every: dict[str, deque[Record]]) -> Iterator[deque[Record]]:
    for lines in every:
        yield from lines.values()
