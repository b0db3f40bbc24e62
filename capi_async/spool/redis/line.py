"""What one process has in memory of one destination's queue: ready, waiting for a time, and who is to be told."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from msgspec import Struct

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


class _Made(Struct):
    """An entry that was made here.

    Attributes:
        some: Its records, or only their receipts.
        number: Its id, once Redis has told it and unless it waits for an older one of its order key.
    """

    some: list[Any]
    number: str = ""


class Line(Waiting):
    """One destination's queue.

    Attributes:
        held: Records in entries that this process holds.
        unread: There may be entries that nobody has read.
        orphans: There are entries of somebody who is gone.
        astray: An answer was lost, so that Redis may say of other entries than ``entries`` that this process has them.
        turn: Held while entries come here or go back, so that both sides can be compared; ``compared_at``: monotonic
            seconds at which they were, ``changing``: commands under way that change what this process has, and
            ``changes``: how many of them have begun so far.
        read_to: Id of the newest entry that was read here.
        size_of: Records that an entry holds, on average of late.
        counts: The ledger, as Redis told it last; ``version``: of it.
        dirty: Entries to store; ``told``: who is told once they are; ``waiters``: who waits for that.
        saving: Ids of those that are being stored, and ``unsaved`` their outcomes; ``stored``: ids of all that were
            while both sides are compared.
        unreadable: Ids of entries that this process has and cannot open.
        sweeps: How many are looking through entries here to end some.
        doomed: Identity of a leased record to it, and how it ends unless its answer comes.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.entries: dict[str, Entry] = {}
        self.held = 0
        self.unread = True
        self.orphans = True
        self.astray = False
        self.turn = asyncio.Lock()
        self.compared_at = 0.0
        self.changes = 0
        self.changing = 0
        self.read_to = (0, 0)
        self.size_of = 1.0
        self.counts: dict[str, int] = {}
        self.version = -1
        self.dirty: dict[str, Entry] = {}
        self.told: list[tuple[Sequence[Record], Outcome]] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.work = asyncio.Event()
        self.doomed: dict[int, tuple[Record, Outcome]] = {}
        self.saving: set[str] = set()
        self.unsaved = 0
        self.stored: set[str] | None = None
        self.unreadable: set[str] = set()
        self.sweeps = 0
        self._mine: OrderedDict[str, _Made] = OrderedDict()
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
        """These go back: nothing here knows them any more, and whoever holds a receipt is told if they return."""
        for entry in entries:
            receipts = [None if record is None else record.receipt for record in entry.records]
            if any(receipts) and len(self._parted) < MAX_PARTED:
                self._parted[entry.id] = receipts
            self._let_go(entry)
        self.drop_settled()

    def leased(self) -> list[Record]:
        """All that is given out."""
        return [record for entry in self.entries.values() for record in entry.held() if record.epoch > 0]

    @contextmanager
    def change(self) -> Iterator[None]:
        """While a command is under way that changes what this process has: Redis may have carried it out, or not."""
        self.changes += 1
        self.changing += 1
        try:
            yield
        finally:
            self.changing -= 1

    def doubt(self, now: float) -> None:
        """What is given out, and was attempted, may have arrived."""
        for record in self.leased():
            if record.attempts and not record.uncertain_since:
                entry: Any = record.chunk
                entry.marks[record.at] = now
                self.dirty[entry.id] = entry

    def inherit(self, old: Line) -> None:
        """Take over who is to be told from an earlier run of this process."""
        self._mine, self._parted = old._mine, old._parted
        self._mine_records, self._whole = old._mine_records, old._whole
        self.counts, self.version = old.counts, old.version

    def lose(self, entries: Sequence[Entry]) -> None:
        """Other processes hold these now: what is done to them here has no effect."""
        for entry in entries:
            entry.lost = True
            self._let_go(entry)
        self.drop_settled()

    def _let_go(self, entry: Entry) -> None:
        held = entry.held()
        for record in held:
            record.epoch = SETTLED
            self.doomed.pop(id(record), None)
        self.held -= len(held)
        if self.entries.get(entry.id) is entry:
            del self.entries[entry.id]
        if self.dirty.get(entry.id) is entry:
            del self.dirty[entry.id]
        entry.drop()

    # What was made here.

    def remember(self, token: str, records: list[Record]) -> None:
        """An entry is being made here: when it comes back, its records are at hand, or at least who waits for them.

        This is said before Redis is told of it: the entry may come back before Redis's answer does.
        """
        if self._whole < MAX_WHOLE:
            self._whole += len(records)
            self._mine[token] = _Made(records)
        else:
            receipts = [record.receipt for record in records]
            if not any(receipts):
                return
            self._mine[token] = _Made(receipts)
        self._mine_records += len(records)
        while self._mine_records > MAX_MINE:
            self._forget(self._mine.popitem(last=False)[1])

    def number(self, token: str, number: str) -> None:
        """The id of an entry that was made here, if it has not come back yet."""
        made = self._mine.get(token)
        if made is not None:
            made.number = number

    def unmake(self, token: str) -> None:
        """Nobody is to be told of an entry that was made here: as far as its maker knows, it is not stored."""
        made = self._mine.pop(token, None)
        if made is not None:
            self._forget(made)

    def recall(self, token: str, number: str) -> list[Any] | None:
        """What was remembered of an entry that came back; others that are older went to other processes."""
        found = self._mine.pop(token, None) if token else None
        if found is None:
            return self._parted.pop(number, None)
        self._forget(found)
        return found.some

    def peek(self, token: str) -> list[Any] | None:
        """The records of an entry made here, if they are at hand; they stay so."""
        found = self._mine.get(token)
        return found.some if found and found.some and isinstance(found.some[0], Record) else None

    def others_took(self, before: tuple[int, int]) -> None:
        """Entries older than this one that did not come here went to other processes."""
        while self._mine:
            token, made = next(iter(self._mine.items()))
            if not made.number or moment(made.number) >= before:
                return
            self._forget(self._mine.pop(token))

    def _forget(self, made: _Made) -> None:
        self._mine_records -= len(made.some)
        if made.some and isinstance(made.some[0], Record):
            self._whole -= len(made.some)

    # Counts.

    def learn(self, flat: Any) -> None:
        """The ledger as Redis holds it; an answer that was overtaken is left alone, and so is what is no number."""
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        told: dict[str, int] = {}
        for key, number in pairs:
            with suppress(ValueError):
                told[key.decode() if isinstance(key, bytes) else key] = int(number)
        version = told.pop("#", 0)
        if version >= self.version:
            self.counts, self.version = told, version


def moment(number: str) -> tuple[int, int]:
    """An entry's id, to be compared."""
    milliseconds, _, sequence = number.partition("-")
    return int(milliseconds), int(sequence or 0)
