"""What one process has in memory of a spool file: a queue per destination, its chunks, and who is to be told."""

from __future__ import annotations

import logging
import sys
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from capi_async.clock import Clock
from capi_async.outcome import Outcome
from capi_async.spool.base import KEPT, Record
from capi_async.spool.sqlite.group import Change, Chunk, key_number
from capi_async.spool.sqlite.store import Looked, monotonic_due
from capi_async.spool.waiting import SETTLED, Waiting

logger = logging.getLogger(__name__)

#: Records, and bytes of their bodies, that wait ready in memory; more stay in the file until their turn comes.
HOT_RECORDS: Final = 16_384
HOT_BYTES: Final = 8 * 1024 * 1024


#: Chunks whose receipts are looked through at a time, and for each that is added.
_CHUNKS_A_LOOK: Final = 32
_CHUNKS_A_CHUNK: Final = 3

_DAMAGED: Final = Outcome(
    kind="dead", reason="what was stored of it is damaged and cannot be read", reason_code="damaged"
)


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


class Queues:
    """All lines of one process; touched from the event loop only.

    Args:
        touch: Called with a chunk that is to be written.
        wake: Called with a destination that has something new to lease.
    """

    def __init__(self, *, clock: Clock, touch: Callable[[Chunk], None], wake: Callable[[str], None]) -> None:
        self._clock = clock
        self._touch = touch
        self._wake = wake
        self._deliver = True
        self.lines: dict[str, Line] = {}
        self.chunks: dict[int, Chunk] = {}
        #: The last row that was in this process's hands.
        self._newest = 0
        #: The last row that what is nobody's was counted up to.
        self._counted = 0
        self._receipts: dict[int, dict[int, Any]] = {}
        self._looked_through: deque[int] = deque()
        #: Identity of a kept receipt to how often it is kept: once per destination.
        self._times: dict[int, int] = {}
        #: Identity of a leased record to it, and how it ends unless its answer comes.
        self.erase_on_return: dict[int, tuple[Record, Outcome]] = {}
        #: Something was deleted that must not stay readable.
        self.traces = False

    def start(self, names: Sequence[str], *, deliver: bool) -> None:
        """Begin with nothing in memory; receipts of what is in the file are kept."""
        self.cool_all()
        self.erase_on_return.clear()
        self.lines = {name: Line(name) for name in names}
        self._counted = 0
        self._deliver = deliver

    def counted(self, found: Mapping[str, tuple[int, int]], newest: int) -> None:
        """Events and bytes of what is nobody's, as they were when row ``newest`` was the last of the file."""
        self._counted = newest
        for name, line in self.lines.items():
            line.unowned = found.get(name, (0, 0))
            if line.unowned[0]:
                self._wake(name)

    def stored(self, chunks: Sequence[Chunk]) -> None:
        """New chunks are in the file: they join their lines, in memory if there is room."""
        for chunk in chunks:
            self._newest = max(self._newest, chunk.id)
            line = self.lines[chunk.destination]
            if not self._deliver:
                if chunk.id > self._counted:  # else it was counted between being written and being told of
                    events, size = line.unowned
                    line.unowned = (events + chunk.left, size + chunk.size)
                chunk.drop()
                continue
            line.events += chunk.left
            line.bytes += chunk.size
            if line.has_room():
                self.chunks[chunk.id] = chunk
                for record in chunk.records:
                    if record is not None:
                        line.enter(record)
            else:
                if not line.cold:
                    line.cursor = chunk.id - 1
                line.cold += chunk.left
                line.cold_bytes += chunk.size
                self._cool(chunk)
            self._wake(chunk.destination)

    def finished(self, changes: Sequence[Change]) -> None:
        """These changes are in the file."""
        for change in changes:
            chunk = change.chunk
            line = self.lines.get(chunk.destination)
            if line is not None:
                line.events -= sum(change.counts.values())
                line.bytes -= change.freed
            if not change.left:
                self.chunks.pop(chunk.id, None)
                chunk.drop()

    def lose(self, changes: Sequence[Change]) -> None:
        """Another process has taken these chunks over, and what is here written of them does not count."""
        for change in changes:
            line = self.lines.get(change.chunk.destination)
            if line is not None:
                line.events -= sum(change.counts.values())
                line.bytes -= change.freed
        self.forget_chunks([change.chunk for change in changes])

    def keep_only(self, rows: Sequence[tuple[int, str, int, int]], under_way: Sequence[Change]) -> list[int]:
        """These are all the rows that this process owns, as the file says; what else is in memory is another's now.

        Returns those of them that are neither in memory nor would ever be fetched.

        Args:
            under_way: Changes of which :meth:`finished` or :meth:`lose` will be told.
        """
        own = {number for number, *_ in rows}
        # one without unsettled records is about to be deleted, or was a moment ago
        self.forget_chunks([chunk for chunk in self.chunks.values() if chunk.left and chunk.id not in own])
        for name, line in self.lines.items():
            behind = line.cursor if line.cold else self._newest
            cold = [row for row in rows if row[1] == name and behind < row[0] <= self._newest]
            hot = [chunk for chunk in self.chunks.values() if chunk.destination == name]
            moving = [change for change in under_way if change.chunk.destination == name]
            line.cold, line.cold_bytes = sum(row[2] for row in cold), sum(row[3] for row in cold)
            line.events = line.cold + sum(chunk.left + sum(chunk.counts.values()) for chunk in hot)
            line.events += sum(sum(change.counts.values()) for change in moving)
            line.bytes = line.cold_bytes + sum(chunk.size + chunk.freed for chunk in hot)
            line.bytes += sum(change.freed for change in moving)
        # of what is newer stored() will be told
        fetched = {name: line.cursor if line.cold else self._newest for name, line in self.lines.items()}
        known = [row for row in rows if row[0] <= self._newest and row[0] not in self.chunks]
        return [row[0] for row in known if row[0] <= fetched.get(row[1], self._newest)]

    def forget_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Let go of chunks that another process delivers; their records must not be sent from here."""
        lost: Counter[str] = Counter()
        for chunk in chunks:
            if self.chunks.pop(chunk.id, None) is None:
                continue
            lost[chunk.destination] += chunk.left
            line = self.lines[chunk.destination]
            line.events -= chunk.left + sum(chunk.counts.values())
            line.bytes -= chunk.size + chunk.freed
            held = [one for one in chunk.records if one is not None and one.epoch != SETTLED]
            for record in held:
                record.epoch = SETTLED
                self.erase_on_return.pop(id(record), None)
            for record in held:
                if record.order_key is not None and line.leave(record):
                    self._wake(line.name)
            chunk.drop()
        for name, number in lost.items():
            self.lines[name].drop_settled()
            logger.warning(
                "spool: %s: %d events that this process held were taken over by another one, which delivers them; did "
                "somebody delete the files beside the spool (*-owner-*)?",
                name, number, extra={"destination": name, "events": number},
            )  # fmt: skip

    def end(self, records: Sequence[Record], outcome: Outcome) -> None:
        """These are settled, as far as this process is concerned; the file follows."""
        kind = outcome.kind
        kept = kind in KEPT
        chunk: Any = None
        for record in records:
            if record.chunk is not chunk:
                chunk = record.chunk
                self._touch(chunk)
                counts = chunk.counts
                chunk.touched = True
            record.epoch = SETTLED
            size = len(record.body)
            chunk.left -= 1
            chunk.size -= size
            chunk.freed += size
            counts[kind] = counts.get(kind, 0) + 1
            if self.erase_on_return and self.erase_on_return.pop(id(record), None) is not None:
                chunk.scrub = self.traces = True
            elif kept:
                chunk.letters.append((record, outcome))
            if record.order_key is not None and self.lines[record.destination].leave(record):
                self._wake(record.destination)

    def enter_cold(self, line: Line, looked: Looked) -> None:
        """What was in the file only, and is next; what of it cannot be read is pending no more."""
        events, size = (looked.events, looked.bytes) if looked.last else (line.cold, line.cold_bytes)
        line.cold = max(0, line.cold - events)
        line.cold_bytes = max(0, line.cold_bytes - size) if line.cold else 0
        line.cursor = looked.last or line.cursor
        line.events -= events - sum(row.chunk.left for row in looked.rows)
        line.bytes -= size - sum(row.chunk.size for row in looked.rows)
        self._enter(line, looked)

    def enter_claimed(self, line: Line, looked: Looked) -> None:
        """What was nobody's, and is this process's now, as far as it can be read."""
        events, size = line.unowned
        events, size = max(0, events - looked.events), max(0, size - looked.bytes)
        line.unowned = (events, size) if looked.last else (0, 0)
        self._newest = max(self._newest, looked.last)
        line.events += sum(row.chunk.left for row in looked.rows)
        line.bytes += sum(row.chunk.size for row in looked.rows)
        self._enter(line, looked)

    def _enter(self, line: Line, looked: Looked) -> None:
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        for number in looked.quarantined:
            for receipt in self._receipts.pop(number, {}).values():
                self._forget(receipt)
                receipt.settle(line.name, _DAMAGED)
        for row in looked.rows:
            chunk = row.chunk
            self.chunks[chunk.id] = chunk
            chunk.waits = row.waits
            receipts = self._receipts.pop(chunk.id, {})
            for record in chunk.records:
                if record is None:
                    continue
                if receipts and (receipt := receipts.get(record.at)) is not None:
                    record.receipt = receipt
                    self._forget(receipt)
                wait_s = monotonic_due(*row.waits[record.at], wall) if record.at in row.waits else 0.0
                if wait_s > 0 and record.order_key is None:
                    line.delay(record, monotonic + wait_s)
                else:
                    line.enter(record)

    def cool_all(self) -> None:
        """Nothing is in memory any more."""
        for chunk in self.chunks.values():
            self._cool(chunk)
        self.chunks.clear()

    def _cool(self, chunk: Chunk) -> None:
        """It is in the file only from now on; whoever holds a receipt will be told all the same."""
        kept: dict[int, Any] = {}
        for record in chunk.records:
            if record is not None and record.receipt is not None and record.epoch != SETTLED:
                kept[record.at] = record.receipt
                self._times[id(record.receipt)] = self._times.get(id(record.receipt), 0) + 1
                record.receipt = None
        if kept:
            self._receipts[chunk.id] = kept
            self._looked_through.append(chunk.id)
            # bit by bit: all at once would hold the loop for milliseconds
            self.drop_receipts(_CHUNKS_A_CHUNK)
        chunk.drop()

    def drop_receipts(self, chunks: int = _CHUNKS_A_LOOK) -> None:
        """A receipt that nobody else holds tells nobody anything: a million of them would fill the memory."""
        for _ in range(min(len(self._looked_through), chunks)):
            number = self._looked_through.popleft()
            kept = self._receipts.get(number)
            if kept is None:
                continue
            for at in list(kept):
                receipt = kept[at]
                # where it is kept, this name, and the call's argument
                if sys.getrefcount(receipt) <= self._times[id(receipt)] + 2:
                    self._forget(kept.pop(at))
            if kept:
                self._looked_through.append(number)
            else:
                del self._receipts[number]

    def erased(self, destination: str, chunk: int, at: int, size: int, outcome: Outcome) -> None:
        """Count a record that was settled in the file, and tell whoever waits for its outcome."""
        line = self.lines.get(destination)
        if line is not None and line.cold and chunk > line.cursor:
            line.cold -= 1
            line.cold_bytes -= size
            line.events -= 1
            line.bytes -= size
        receipt = self._receipts.get(chunk, {}).pop(at, None)
        if receipt is not None:
            self._forget(receipt)
            receipt.settle(destination, outcome)

    def _forget(self, receipt: Any) -> None:
        """It is kept in one place less."""
        left = self._times[id(receipt)] - 1
        if left:
            self._times[id(receipt)] = left
        else:
            del self._times[id(receipt)]
