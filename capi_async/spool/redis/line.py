"""What one process has in memory of one destination's queue: ready, waiting for a time, and who is to be told."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis.entry import Entry
from capi_async.spool.waiting import SETTLED, Waiting

#: Records that one process holds of one destination before it reads no more.
MAX_HELD: Final = 20_000

#: Records made here whose receipts are kept until they come back to be delivered; older ones are told nothing.
MAX_MINE: Final = 200_000
#: Those of them that are kept whole, so that they need not be read back.
MAX_WHOLE: Final = 10_000
#: Entries that went back, and may return.
MAX_PARTED: Final = 2_000


class Line(Waiting):
    """One destination's queue.

    Attributes:
        held: Records in entries that this process holds.
        unread: There may be entries that nobody has read.
        orphans: There are entries of somebody who is gone.
        read_to: Id of the newest entry that was read here.
        size_of: Records that an entry holds, on average of late.
        counts: The ledger, as Redis told it last; ``version``: of it.
        dirty: Entries to store; ``told``: who is told once they are; ``waiters``: who waits for that.
        doomed: Identity of a leased record to it, and how it ends unless its answer comes.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.entries: dict[str, Entry] = {}
        self.held = 0
        self.unread = True
        self.orphans = True
        self.read_to = (0, 0)
        self.size_of = 1.0
        self.counts: dict[str, int] = {}
        self.version = -1
        self.dirty: dict[str, Entry] = {}
        self.told: list[tuple[Sequence[Record], Outcome]] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.work = asyncio.Event()
        self.doomed: dict[int, tuple[Record, Outcome]] = {}
        self._mine: OrderedDict[str, list[Any]] = OrderedDict()
        self._parted: dict[str, list[Any]] = {}
        self._mine_records = 0
        self._whole = 0

    # Records.

    def enter(self, entry: Entry, *, wall: float, monotonic: float) -> None:
        """An entry is held now: its records join at the end, or wait for their time."""
        self.entries[entry.id] = entry
        self.held += entry.left
        for record in entry.records:
            if record is None:
                continue
            due, wait_s = entry.waits.get(record.at, (0.0, 0.0))
            left_s = max(0.0, min(due - wall, wait_s))
            if left_s > 0:
                self.delay(record, monotonic + left_s)
            else:
                self.push(record)

    def leave(self, entry: Entry) -> None:
        """An entry is not held any more."""
        self.entries.pop(entry.id, None)
        entry.drop()

    def part(self, entries: Sequence[Entry]) -> None:
        """These go back: whoever holds a receipt is told if they return."""
        for entry in entries:
            receipts = [None if record is None else record.receipt for record in entry.records]
            if any(receipts) and len(self._parted) < MAX_PARTED:
                self._parted[entry.id] = receipts
            held = entry.held()
            for record in held:
                record.epoch = SETTLED
            self.held -= len(held)
            self.entries.pop(entry.id, None)
            entry.drop()
        self.drop_settled()

    def leased(self) -> list[Record]:
        """All that is given out."""
        return [record for entry in self.entries.values() for record in entry.held() if record.epoch > 0]

    def doubt(self, now: float) -> None:
        """What is given out, and was attempted, may have arrived."""
        for record in self.leased():
            if record.attempts and not record.maybe_since:
                entry: Any = record.chunk
                entry.marks[record.at] = now
                self.dirty[entry.id] = entry

    def inherit(self, old: Line) -> None:
        """Take over who is to be told from an earlier run of this process."""
        self._mine, self._parted = old._mine, old._parted
        self._mine_records, self._whole = old._mine_records, old._whole
        self.counts, self.version = old.counts, old.version

    def lose(self, entry: Entry) -> None:
        """Another process holds this entry now: what is done to it here has no effect."""
        entry.lost = True
        held = entry.held()
        for record in held:
            record.epoch = SETTLED
            self.doomed.pop(id(record), None)
        self.held -= len(held)
        self.entries.pop(entry.id, None)
        self.dirty.pop(entry.id, None)
        self.drop_settled()

    # What was made here.

    def remember(self, number: str, records: list[Record]) -> None:
        """An entry made here: if it comes back, its records are at hand, or at least who waits for them."""
        if self._whole < MAX_WHOLE:
            self._whole += len(records)
            self._mine[number] = records
        else:
            receipts = [record.receipt for record in records]
            if not any(receipts):
                return
            self._mine[number] = receipts
        self._mine_records += len(records)
        while self._mine_records > MAX_MINE:
            self._forget(self._mine.popitem(last=False)[1])

    def recall(self, number: str) -> list[Any] | None:
        """What was remembered of an entry that came back; others that are older went to other processes."""
        found = self._mine.pop(number, None)
        if found is None:
            return self._parted.pop(number, None)
        self._forget(found)
        return found

    def peek(self, number: str) -> list[Any] | None:
        """The records of an entry made here, if they are at hand; they stay so."""
        found = self._mine.get(number)
        return found if found and isinstance(found[0], Record) else None

    def others_took(self, before: tuple[int, int]) -> None:
        """Entries older than this one that did not come here went to other processes."""
        while self._mine:
            number = next(iter(self._mine))
            if ":" in number or moment(number) >= before:
                return
            self._forget(self._mine.pop(number))

    def _forget(self, some: list[Any]) -> None:
        self._mine_records -= len(some)
        if some and isinstance(some[0], Record):
            self._whole -= len(some)

    # Counts.

    def learn(self, flat: Any) -> None:
        """The ledger as Redis holds it; an answer that was overtaken is left alone."""
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        told = {(key.decode() if isinstance(key, bytes) else key): int(number) for key, number in pairs}
        version = told.pop("#", 0)
        if version >= self.version:
            self.counts, self.version = told, version


def moment(number: str) -> tuple[int, int]:
    """An entry's id, to be compared."""
    milliseconds, _, sequence = number.partition("-")
    return int(milliseconds), int(sequence or 0)
