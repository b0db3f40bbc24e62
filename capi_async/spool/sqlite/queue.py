"""What one process holds in memory of a spool file: a queue per destination, its chunks, and receipts to settle."""

from __future__ import annotations

import logging
import sys
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from capi_async.clock import Clock
from capi_async.outcome import Outcome
from capi_async.spool.base import KEPT, Record
from capi_async.spool.chunks import due_in_s
from capi_async.spool.sqlite.committer import Change
from capi_async.spool.sqlite.rows import Chunk, Loaded
from capi_async.spool.sqlite.schema import key_number
from capi_async.spool.waiting import SETTLED, OrderedWaiting, drop_settled_of, pop_first

logger = logging.getLogger(__name__)

#: Records, and bytes of their bodies, that wait in memory; more stay in the file only until their turn comes.
MAX_LOADED_RECORDS: Final = 16_384
MAX_LOADED_BYTES: Final = 8 * 1024 * 1024


#: Chunks whose kept receipts are checked at a time, and for each chunk that is added.
_CHUNKS_A_TURN: Final = 32
_CHUNKS_A_CHUNK: Final = 3

_DAMAGED: Final = Outcome(
    kind="dead", reason="what was stored of it is damaged and cannot be read", reason_code="damaged"
)


class Queue(OrderedWaiting):
    """One destination's records that this process owns.

    Attributes:
        events, bytes: Unsettled records that this process owns, and bytes of their bodies, in memory and in the file.
        unloaded: Those of them that are in the file only: in chunks after ``cursor``, and younger than all in memory;
            ``unloaded_bytes``: of their bodies.
        unowned: Events and bytes in the file that no process owns.
        foreign: Order key to the records that wait for another process to settle an older one.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.foreign: dict[str, deque[Record]] = {}
        self.events = 0
        self.bytes = 0
        self.unloaded = 0
        self.unloaded_bytes = 0
        self.cursor = 0
        self.unowned = (0, 0)

    def takes_more(self) -> bool:
        """Whether new records may stay in memory: no older one is in the file only, and few are in memory."""
        return not self.unloaded and len(self.ready) < MAX_LOADED_RECORDS and self.ready_bytes < MAX_LOADED_BYTES

    def enter(self, record: Record) -> None:
        """The record joins at the end, or waits for another process to settle older ones of its order key."""
        key = record.order_key
        if key is not None and self._is_foreign(record, key):
            # sorted: what this process takes up from others may be older than what it accepted itself
            insort(self.foreign.setdefault(key, deque()), record, key=_age)
        else:
            super().enter(record)

    def _is_foreign(self, record: Record, key: str) -> bool:
        """Whether another process owns an older record with this key, or one that waits for it is older."""
        waiting = self.foreign.get(key)
        if waiting and _age(waiting[0]) < _age(record):
            return True
        return bool(record.chunk.foreign) and key_number(key) in record.chunk.foreign

    def release_foreign(self) -> bool:
        """Take in what other processes no longer hold back; True if anything is ready now."""
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
        """See :meth:`OrderedWaiting.oldest`; those that wait for other processes come last."""
        return super().oldest() or pop_first(self.foreign)

    def drop_settled(self) -> None:
        super().drop_settled()
        drop_settled_of(self.foreign)

    def held_back(self) -> int:
        """Records in memory that wait for an older one of their order key."""
        return sum(map(len, self.blocked.values())) + sum(map(len, self.foreign.values()))


def _age(record: Record) -> tuple[int, int]:
    """What to sort records by, oldest first."""
    return record.chunk.id, record.at


class Queues:
    """The queues and chunks of one process; for the event loop's thread only.

    Args:
        touch: Called with a chunk that is to be written.
        wake: Called with a destination that has something new to lease.
    """

    def __init__(self, *, clock: Clock, touch: Callable[[Chunk], None], wake: Callable[[str], None]) -> None:
        self._clock = clock
        self._touch = touch
        self._wake = wake
        self._deliver = True
        self.by_destination: dict[str, Queue] = {}
        self.chunks: dict[int, Chunk] = {}
        #: The last row that this process has owned.
        self._newest = 0
        #: The last row when the events without an owner were counted.
        self._unowned_up_to = 0
        self._receipts: dict[int, dict[int, Any]] = {}
        self._kept_in: deque[int] = deque()
        #: Identity of a kept receipt to how often it is kept: once per destination.
        self._keeps: dict[int, int] = {}
        #: Identity of a leased record to it, and the outcome that it gets unless its answer comes.
        self.erase_on_return: dict[int, tuple[Record, Outcome]] = {}
        #: Something was deleted that must not stay readable.
        self.has_traces = False

    def start(self, names: Sequence[str], *, deliver: bool) -> None:
        """Begin with nothing in memory; receipts of what is in the file are kept."""
        self.unload_all()
        self.erase_on_return.clear()
        self.by_destination = {name: Queue(name) for name in names}
        self._unowned_up_to = 0
        self._deliver = deliver

    def set_unowned(self, found: Mapping[str, tuple[int, int]], newest: int) -> None:
        """Note the events and bytes that no process owns, as counted when row ``newest`` was the last of the file."""
        self._unowned_up_to = newest
        for name, queue in self.by_destination.items():
            queue.unowned = found.get(name, (0, 0))
            if queue.unowned[0]:
                self._wake(name)

    def stored(self, chunks: Sequence[Chunk]) -> None:
        """Take in new chunks that are in the file; their records stay in memory if few are there."""
        for chunk in chunks:
            self._newest = max(self._newest, chunk.id)
            queue = self.by_destination[chunk.destination]
            if not self._deliver:
                if chunk.id > self._unowned_up_to:  # else it was counted after it was written, and before this call
                    events, size = queue.unowned
                    queue.unowned = (events + chunk.left, size + chunk.size)
                chunk.clear()
                continue
            queue.events += chunk.left
            queue.bytes += chunk.size
            if queue.takes_more():
                self.chunks[chunk.id] = chunk
                for record in chunk.records:
                    if record is not None:
                        queue.enter(record)
            else:
                if not queue.unloaded:
                    queue.cursor = chunk.id - 1
                queue.unloaded += chunk.left
                queue.unloaded_bytes += chunk.size
                self._unload(chunk)
            self._wake(chunk.destination)

    def finished(self, changes: Sequence[Change]) -> None:
        """Note that these changes are in the file."""
        for change in changes:
            chunk = change.chunk
            queue = self.by_destination.get(chunk.destination)
            if queue is not None:
                queue.events -= sum(change.counts.values())
                queue.bytes -= change.freed
            if not change.left:
                self.chunks.pop(chunk.id, None)
                chunk.clear()

    def forget_changed(self, changes: Sequence[Change]) -> None:
        """Forget changed chunks that another process has taken over; the changes were not written."""
        for change in changes:
            queue = self.by_destination.get(change.chunk.destination)
            if queue is not None:
                queue.events -= sum(change.counts.values())
                queue.bytes -= change.freed
        self.forget_chunks([change.chunk for change in changes])

    def keep_only(self, rows: Sequence[tuple[int, str, int, int]], under_way: Sequence[Change]) -> list[int]:
        """Forget what is in memory of other rows than these, which are all that this process owns by the file.

        Returns those of them that are neither in memory nor would ever be fetched.

        Args:
            under_way: Changes that :meth:`finished` or :meth:`forget_changed` will be called with.
        """
        own = {number for number, *_ in rows}
        # one without unsettled records is about to be deleted, or was a moment ago
        self.forget_chunks([chunk for chunk in self.chunks.values() if chunk.left and chunk.id not in own])
        for name, queue in self.by_destination.items():
            behind = queue.cursor if queue.unloaded else self._newest
            unloaded = [row for row in rows if row[1] == name and behind < row[0] <= self._newest]
            loaded = [chunk for chunk in self.chunks.values() if chunk.destination == name]
            moving = [change for change in under_way if change.chunk.destination == name]
            queue.unloaded, queue.unloaded_bytes = sum(row[2] for row in unloaded), sum(row[3] for row in unloaded)
            queue.events = queue.unloaded + sum(chunk.left + sum(chunk.counts.values()) for chunk in loaded)
            queue.events += sum(sum(change.counts.values()) for change in moving)
            queue.bytes = queue.unloaded_bytes + sum(chunk.size + chunk.freed for chunk in loaded)
            queue.bytes += sum(change.freed for change in moving)
        # stored() will be called with what is newer
        fetched = {
            name: queue.cursor if queue.unloaded else self._newest for name, queue in self.by_destination.items()
        }
        known = [row for row in rows if row[0] <= self._newest and row[0] not in self.chunks]
        return [row[0] for row in known if row[0] <= fetched.get(row[1], self._newest)]

    def forget_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Forget chunks that another process delivers; their records must not be sent from here."""
        lost: Counter[str] = Counter()
        for chunk in chunks:
            if self.chunks.pop(chunk.id, None) is None:
                continue
            lost[chunk.destination] += chunk.left
            queue = self.by_destination[chunk.destination]
            queue.events -= chunk.left + sum(chunk.counts.values())
            queue.bytes -= chunk.size + chunk.freed
            held = [one for one in chunk.records if one is not None and one.epoch != SETTLED]
            for record in held:
                record.epoch = SETTLED
                self.erase_on_return.pop(id(record), None)
            for record in held:
                if record.order_key is not None and queue.leave(record):
                    self._wake(queue.name)
            chunk.clear()
        for name, number in lost.items():
            self.by_destination[name].drop_settled()
            logger.warning(
                "spool: %s: %d events that this process held were taken over by another one, which delivers them; did "
                "somebody delete the files beside the spool (*-owner-*)?",
                name, number, extra={"destination": name, "events": number},
            )  # fmt: skip

    def note_requests(self, records: Sequence[Record]) -> bool:
        """Note that requests are about to carry these; True if that must be on the disk before the first one leaves.

        It must for a record that cannot be sent a second time.
        """
        now = self._clock.wall()
        must_sync = False
        carried: Chunk | None = None
        start = stop = 0
        for record in records:
            if record.resend_for_s > 0 and not record.attempts:
                # of a first attempt only the time is kept, as runs of records
                if record.chunk is carried and record.at == stop:
                    stop += 1
                    continue
                if carried is not None:
                    carried.note_request(start, stop, now)
                carried, start, stop = record.chunk, record.at, record.at + 1
                self._touch(record.chunk)
            elif not record.uncertain_since:
                chunk = record.chunk
                must_sync = must_sync or record.resend_for_s <= 0
                if record.at not in chunk.attempted_at:
                    chunk.attempted_at[record.at] = now
                    chunk.touched = True
                    self._touch(chunk)
        if carried is not None:
            carried.note_request(start, stop, now)
        return must_sync

    def note_release(self, record: Record, wait: tuple[float, float]) -> bool:
        """Note that a leased record was given back; True if its chunk is to be written.

        Args:
            wait: Due (seconds since the epoch) and wait in seconds; a wait of 0 is none.
        """
        chunk: Chunk = record.chunk
        if record.attempts:
            chunk.attempted_at.pop(record.at, None)
            chunk.waits.pop(record.at, None)
            if wait[1] > 0:
                chunk.waits[record.at] = wait
            chunk.touched = True
            return True
        if chunk.tried or chunk.attempted_at:
            # noted as about to be sent, and not sent: it must not seem later as if it might have arrived
            chunk.unnote_request(record.at)
            if chunk.attempted_at.pop(record.at, None) is not None:
                chunk.touched = True
            return chunk.touched or chunk.tried_changed
        return False

    def end(self, records: Sequence[Record], outcome: Outcome) -> None:
        """Settle records in memory; the file follows with the next transaction."""
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
                chunk.erases = self.has_traces = True
            elif kept:
                chunk.dead_letters.append((record, outcome))
            if record.order_key is not None and self.by_destination[record.destination].leave(record):
                self._wake(record.destination)

    def add_loaded(self, queue: Queue, loaded: Loaded) -> None:
        """Take in what was in the file only; what of it could not be read is not pending any more."""
        events, size = (loaded.events, loaded.bytes) if loaded.last else (queue.unloaded, queue.unloaded_bytes)
        queue.unloaded = max(0, queue.unloaded - events)
        queue.unloaded_bytes = max(0, queue.unloaded_bytes - size) if queue.unloaded else 0
        queue.cursor = loaded.last or queue.cursor
        queue.events -= events - sum(chunk.left for chunk in loaded.chunks)
        queue.bytes -= size - sum(chunk.size for chunk in loaded.chunks)
        self._add(queue, loaded)

    def add_claimed(self, queue: Queue, loaded: Loaded) -> None:
        """Take in what no process owned, and this one has claimed, as far as it could be read."""
        events, size = queue.unowned
        events, size = max(0, events - loaded.events), max(0, size - loaded.bytes)
        queue.unowned = (events, size) if loaded.last else (0, 0)
        self._newest = max(self._newest, loaded.last)
        queue.events += sum(chunk.left for chunk in loaded.chunks)
        queue.bytes += sum(chunk.size for chunk in loaded.chunks)
        self._add(queue, loaded)

    def _add(self, queue: Queue, loaded: Loaded) -> None:
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        for number in loaded.quarantined:
            for receipt in self._receipts.pop(number, {}).values():
                self._unkeep(receipt)
                receipt.settle(queue.name, _DAMAGED)
        for chunk in loaded.chunks:
            self.chunks[chunk.id] = chunk
            receipts = self._receipts.pop(chunk.id, {})
            for record in chunk.records:
                if record is None:
                    continue
                if receipts and (receipt := receipts.get(record.at)) is not None:
                    record.receipt = receipt
                    self._unkeep(receipt)
                wait_s = due_in_s(*chunk.waits[record.at], wall) if record.at in chunk.waits else 0.0
                if wait_s > 0 and record.order_key is None:
                    queue.delay(record, monotonic + wait_s)
                else:
                    queue.enter(record)

    def unload_all(self) -> None:
        """Remove everything from memory; it stays in the file."""
        for chunk in self.chunks.values():
            self._unload(chunk)
        self.chunks.clear()

    def _unload(self, chunk: Chunk) -> None:
        """Remove a chunk from memory, and keep its receipts, which are settled later."""
        kept: dict[int, Any] = {}
        for record in chunk.records:
            if record is not None and record.receipt is not None and record.epoch != SETTLED:
                kept[record.at] = record.receipt
                self._keeps[id(record.receipt)] = self._keeps.get(id(record.receipt), 0) + 1
                record.receipt = None
        if kept:
            self._receipts[chunk.id] = kept
            self._kept_in.append(chunk.id)
            # a few at a time: all at once would block the loop for milliseconds
            self.drop_receipts(_CHUNKS_A_CHUNK)
        chunk.clear()

    def drop_receipts(self, chunks: int = _CHUNKS_A_TURN) -> None:
        """Drop kept receipts that nobody else refers to: a million of them would fill the memory."""
        for _ in range(min(len(self._kept_in), chunks)):
            number = self._kept_in.popleft()
            kept = self._receipts.get(number)
            if kept is None:
                continue
            for at in list(kept):
                receipt = kept[at]
                # where it is kept, this name, and the call's argument
                if sys.getrefcount(receipt) <= self._keeps[id(receipt)] + 2:
                    self._unkeep(kept.pop(at))
            if kept:
                self._kept_in.append(number)
            else:
                del self._receipts[number]

    def note_erased(self, destination: str, chunk: int, at: int, size: int, outcome: Outcome) -> None:
        """Count a record that was settled in the file, and settle its receipt."""
        queue = self.by_destination.get(destination)
        if queue is not None and queue.unloaded and chunk > queue.cursor:
            queue.unloaded -= 1
            queue.unloaded_bytes -= size
            queue.events -= 1
            queue.bytes -= size
        receipt = self._receipts.get(chunk, {}).pop(at, None)
        if receipt is not None:
            self._unkeep(receipt)
            receipt.settle(destination, outcome)

    def _unkeep(self, receipt: Any) -> None:
        """Note that a receipt is kept in one place less."""
        left = self._keeps[id(receipt)] - 1
        if left:
            self._keeps[id(receipt)] = left
        else:
            del self._keeps[id(receipt)]
