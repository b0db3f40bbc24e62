"""What is committed together: new chunks, and what changed in those that are held."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.chunks import MAX_BYTES, MAX_RECORDS, Fate, Run, State, bits, encode_runs, encode_state
from capi_async.spool.sealing import Place
from capi_async.spool.waiting import SETTLED


class Chunk:
    """A row of records that this process holds.

    Attributes:
        id: Of its row; 0 until it is stored.
        records: By index; ``None`` where a record had been settled before this process read the row.
        left, size: Records that are not settled, and the bytes of their bodies.
        tried: Runs of resendable records that a first request carried, or is about to, with the time of that.
        marks: Index to the time at which a record was noted as possibly about to arrive.
        waits: Index to (due, wait), in seconds, of the records that wait for their time.
        counts: Outcomes since the last commit, ``freed`` their bytes, ``letters`` those to be kept.
        scrub: Bodies of settled records must leave the row, too.
    """

    __slots__ = (
        "counts", "destination", "foreign", "freed", "id", "keyed", "left", "letters", "marks", "records", "scrub",
        "size", "touched", "tried", "tried_changed", "waits",
    )  # fmt: skip

    def __init__(self, destination: str, records: list[Record | None], size: int) -> None:
        self.id = 0
        self.destination = destination
        self.records = records
        self.left = len(records)
        self.size = size
        self.tried: list[Run] = []
        self.tried_changed = False
        self.marks: dict[int, float] = {}
        self.waits: dict[int, tuple[float, float]] = {}
        self.counts: dict[str, int] = {}
        self.freed = 0
        self.letters: list[tuple[Record, Outcome]] = []
        self.scrub = False
        #: Something happened to single records since the last commit.
        self.touched = False
        self.keyed = False
        #: Order keys for which another process holds an older record, as the last look showed.
        self.foreign: frozenset[int] = frozenset()

    def carry(self, start: int, stop: int, now: float) -> None:
        """A first request is about to carry these."""
        last = self.tried[-1] if self.tried else None
        if last is not None and last[1] == start and last[2] == now:
            self.tried[-1] = (last[0], stop, now)
        else:
            self.tried.append((start, stop, now))
        self.tried_changed = True

    def put_down(self, at: int) -> None:
        """No request carried this one after all."""
        runs: list[Run] = []
        for start, stop, since in self.tried:
            if start <= at < stop:
                self.tried_changed = True
                runs += [run for run in ((start, at, since), (at + 1, stop, since)) if run[0] < run[1]]
            else:
                runs.append((start, stop, since))
        self.tried = runs

    def drop(self) -> None:
        """Let go of the records. They name their chunk, and no collector looks for cycles through them."""
        self.records = []

    def unsettled(self) -> list[Record | None]:
        """Its records, with nothing in place of those that are settled."""
        return [None if record is None or record.epoch == SETTLED else record for record in self.records]

    def state(self) -> bytes:
        """What happened to its records, as it is stored."""
        fates: list[Fate] = []
        for index, record in enumerate(self.records):
            if record is None or record.epoch == SETTLED:
                continue
            since = record.uncertain_since or self.marks.get(index, 0.0)
            due, wait = self.waits.get(index, (0.0, 0.0))
            if not (record.attempts or since or due):
                continue
            last = fates[-1] if fates else None
            same = (record.attempts, record.failures, since, due, wait)
            if last is not None and last.at + last.count == index and same == _of(last):
                last.count += 1
            else:
                fates.append(Fate(index, 1, *same))
        settled = bits([record is None or record.epoch == SETTLED for record in self.records])
        return encode_state(State(settled, fates))


def _of(fate: Fate) -> tuple[int, int, float, float, float]:
    return fate.attempts, fate.failures, fate.uncertain_since, fate.due_at, fate.wait_s


class Change(Struct, gc=False, eq=False):
    """What to write about one chunk: all that happened to it since the last commit."""

    chunk: Chunk
    left: int
    size: int
    tried: bytes | None
    state: bytes | None
    counts: dict[str, int]
    freed: int
    letters: list[tuple[Record, Outcome]]
    scrub: bool

    @classmethod
    def of(cls, chunk: Chunk) -> Change:
        """Take what happened out of the chunk; :meth:`undo` puts it back."""
        change = cls(
            chunk,
            chunk.left,
            chunk.size,
            encode_runs(chunk.tried) if chunk.left and chunk.tried_changed else None,
            chunk.state() if chunk.left and chunk.touched else None,
            chunk.counts,
            chunk.freed,
            chunk.letters,
            chunk.scrub,
        )
        chunk.counts, chunk.freed, chunk.letters, chunk.scrub = {}, 0, [], False
        chunk.touched = chunk.tried_changed = False
        return change

    def undo(self) -> Chunk:
        """It was not written: the chunk is to be written again."""
        chunk = self.chunk
        for kind, number in self.counts.items():
            chunk.counts[kind] = chunk.counts.get(kind, 0) + number
        chunk.freed += self.freed
        chunk.letters = self.letters + chunk.letters
        chunk.scrub = chunk.scrub or self.scrub
        chunk.touched = chunk.tried_changed = True
        return chunk


class Group:
    """One transaction.

    Attributes:
        counts: (destination, kind) to events accepted, and refused at the door.
        sync: It must be on the disk before anybody is told.
        lost: Changes that were not written, because another process holds the chunk now.
    """

    def __init__(self) -> None:
        self.appended: list[Chunk] = []
        self.changes: list[Change] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.sync = False
        self.lost: list[Change] = []
        self._guard = threading.Lock()
        self._state = "waiting"

    def start(self) -> bool:
        """Called when it is about to be written; False if nobody wants it any more."""
        with self._guard:
            if self._state == "waiting":
                self._state = "started"
            return self._state == "started"

    def call_off(self) -> bool:
        """Called when waiting takes too long; False if it is being written."""
        with self._guard:
            if self._state == "waiting":
                self._state = "off"
            return self._state == "off"


def split(records: Sequence[Record]) -> Iterable[Chunk]:
    """New chunks of records of any destinations, in order."""
    by_destination: dict[str, list[Record]] = {}
    for record in records:
        mine = by_destination.get(record.destination)
        if mine is None:
            by_destination[record.destination] = [record]
        else:
            mine.append(record)
    for destination, mine in by_destination.items():
        start = size = 0
        for index, record in enumerate(mine):
            grown = size + len(record.body)
            if index > start and (index - start >= MAX_RECORDS or grown > MAX_BYTES):
                yield _chunk(destination, mine[start:index], size)
                start, grown = index, len(record.body)
            size = grown
        yield _chunk(destination, mine[start:], size)


def _chunk(destination: str, records: list[Record], size: int) -> Chunk:
    chunk = Chunk(destination, list(records), size)
    for index, record in enumerate(records):
        record.chunk = chunk
        record.at = index
        if record.order_key is not None:
            chunk.keyed = True
    return chunk


def place_of(destination: str, chunk: int) -> Place:
    """Where the records of a chunk stand; a number is given to one chunk only, ever."""
    return "chunk", destination, chunk


def key_number(order_key: str) -> int:
    """What stands for an order key in the file: the key may name a person."""
    return int.from_bytes(hashlib.blake2b(order_key.encode(), digest_size=8).digest(), "little", signed=True)
