"""What one process has in memory of each destination's queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import OnSettled, Record, ignore_recall, ignore_settled
from capi_async.spool.chunks import due_in_s
from capi_async.spool.redis.own_entries import OwnEntries
from capi_async.spool.redis.stream_entry import Entry
from capi_async.spool.waiting import SETTLED, Waiting

#: Records of one destination that a process holds before it claims no more.
MAX_HELD: Final = 20_000


class Queue(Waiting):
    """One destination's queue.

    Attributes:
        entries: Those that this process holds, by id.
        held: Records in these entries.
        has_unread: There may be entries that no consumer has read.
        has_unclaimed: There may be entries that were released, or whose holder has expired.
        records_per_entry: Recent average.
        last_read: Id of the newest entry that was read here, see :func:`~capi_async.spool.redis.own_entries.id_order`.
        own: Entries of this process that may come back.
        counts: The ledger as Redis sent it last, and ``counts_version`` its version.
        first_at: Seconds since the epoch at which the first entry that is left was added, at the last heartbeat.
        erasures: How many erasures and evictions are searching this queue.
        recalled: Identity of a leased record to the record and the outcome that it gets instead of being sent again.

        unverified: An answer was lost, so Redis may count other entries as this process's than ``entries`` does.
        verified_at: Monotonic seconds at which both sides were compared last.
        transfer_lock: Held while entries come here or go back, so that both sides can be compared.
        transfers: How many commands have begun that change what this process holds.
        transfers_running: How many of them are under way.
        unreadable: Ids of entries that this process holds and cannot decode.

        dirty: Entries to write to Redis.
        unreported: Records and outcomes whose receipts are settled once they are written.
        flush_waiters: Futures that are done once everything so far is written.
        write_requested: Set when there is something to write.
        writing: Ids of the entries that are being written, and ``writing_outcomes``: how many outcomes those have.
        written: Ids of all entries that are written while both sides are compared; ``None`` while they are not.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.entries: dict[str, Entry] = {}
        self.held = 0
        self.has_unread = True
        self.has_unclaimed = True
        self.records_per_entry = 1.0
        self.last_read = (0, 0)
        self.own = OwnEntries()
        self.counts: dict[str, int] = {}
        self.counts_version = -1
        self.first_at: float | None = None
        self.erasures = 0
        self.recalled: dict[int, tuple[Record, Outcome]] = {}

        self.unverified = False
        self.verified_at = 0.0
        self.transfer_lock = asyncio.Lock()
        self.transfers = 0
        self.transfers_running = 0
        self.unreadable: set[str] = set()

        self.dirty: dict[str, Entry] = {}
        self.unreported: list[tuple[Sequence[Record], Outcome]] = []
        self.flush_waiters: list[asyncio.Future[None]] = []
        self.write_requested = asyncio.Event()
        self.writing: set[str] = set()
        self.writing_outcomes = 0
        self.written: set[str] | None = None

    @property
    def may_claim(self) -> bool:
        """Whether a claim may bring more entries."""
        return self.unverified or ((self.has_unclaimed or self.has_unread) and self.held < MAX_HELD)

    @property
    def unwritten_outcomes(self) -> int:
        """Outcomes that are not in Redis."""
        return self.writing_outcomes + sum(sum(entry.counts.values()) for entry in self.dirty.values())

    def add(self, entry: Entry, *, wall: float, monotonic: float) -> None:
        """Hold an entry: its records join at the end, or wait for their time.

        Args:
            wall: Seconds since the epoch.
            monotonic: Monotonic seconds of the same moment.
        """
        self.entries[entry.id] = entry
        self.held += entry.left
        for record in entry.records:
            if record is None:
                continue
            due, wait_s = entry.waits.get(record.at, (0.0, 0.0))
            left_s = due_in_s(due, wait_s, wall)
            if left_s > 0:
                self.delay(record, monotonic + left_s)
            else:
                self.push(record)

    def remove(self, entry: Entry) -> None:
        """Drop an entry whose records are all settled."""
        self.entries.pop(entry.id, None)
        entry.clear()

    def release(self, entries: Sequence[Entry]) -> None:
        """Stop holding entries that go back; their receipts are kept in case they return."""
        for entry in entries:
            self.own.add_released(entry.id, [None if record is None else record.receipt for record in entry.records])
            self._stop_holding(entry)
        self.drop_settled()

    def lose(self, entries: Sequence[Entry]) -> None:
        """Stop holding entries that other processes have taken over: what happens to them here has no effect."""
        for entry in entries:
            entry.lost = True
            self._stop_holding(entry)
        self.drop_settled()

    def _stop_holding(self, entry: Entry) -> None:
        unsettled = entry.unsettled()
        for record in unsettled:
            record.epoch = SETTLED
            self.recalled.pop(id(record), None)
        self.held -= len(unsettled)
        if self.entries.get(entry.id) is entry:
            del self.entries[entry.id]
        if self.dirty.get(entry.id) is entry:
            del self.dirty[entry.id]
        entry.clear()

    def leased(self) -> list[Record]:
        """All records that are leased."""
        return [record for entry in self.entries.values() for record in entry.unsettled() if record.epoch > 0]

    def mark_uncertain(self, now: float) -> None:
        """Note that leased records with an attempt may have arrived.

        Args:
            now: Seconds since the epoch.
        """
        for record in self.leased():
            if record.attempts and not record.uncertain_since:
                entry: Any = record.chunk
                entry.attempted_at[record.at] = now
                self.dirty[entry.id] = entry

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Around a command that changes what this process holds: until it returns, Redis may have carried it out."""
        self.transfers += 1
        self.transfers_running += 1
        try:
            yield
        finally:
            self.transfers_running -= 1

    def inherit(self, old: Queue) -> None:
        """Take over counts, and entries that may come back, from an earlier run of this process."""
        self.own = old.own
        self.counts, self.counts_version = old.counts, old.counts_version

    def update_counts(self, answer: Any) -> None:
        """Set the counts from Redis's answer, unless a later answer came first. What is no number is ignored."""
        pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
        counts: dict[str, int] = {}
        for key, number in pairs:
            with suppress(ValueError):
                counts[key.decode() if isinstance(key, bytes) else key] = int(number)
        version = counts.pop("#", 0)
        if version >= self.counts_version:
            self.counts, self.counts_version = counts, version


class Queues:
    """The queues of all destinations, and the functions by which the engine hears of them.

    Attributes:
        by_name: Destination to queue; empty until the spool is opened.
        wake, settled, recall: As in :meth:`capi_async.spool.base.Spool.open`; while it is closed, they do nothing.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Queue] = {}
        self.disconnect()

    def connect(self, wake: Callable[[str], None], settled: OnSettled, recall: Callable[[], Awaitable[None]]) -> None:
        """From now on, call these functions."""
        self.wake = wake
        self.settled = settled
        self.recall = recall

    def disconnect(self) -> None:
        """From now on, call nothing."""
        self.connect(_ignore_wake, ignore_settled, ignore_recall)

    def __iter__(self) -> Iterator[Queue]:
        return iter(self.by_name.values())

    def __getitem__(self, name: str) -> Queue:
        queue = self.by_name.get(name)
        if queue is None:
            raise SpoolError(f"the spool is not open for {name!r}")
        return queue

    def report(self, queue: Queue, ends: Sequence[tuple[Record, Outcome]]) -> None:
        """Tell the engine of records that ended without a worker."""
        if ends:
            self.settled(queue.name, [record.event_id for record, _ in ends], [outcome for _, outcome in ends])

    def verify_all(self, *, wake: bool = False) -> None:
        """Have every queue compared with Redis, and read, before it gives out more."""
        for queue in self:
            queue.has_unread = queue.unverified = True
            if wake:
                self.wake(queue.name)


def _ignore_wake(_destination: str) -> None:
    """Does nothing: the spool is not open."""
