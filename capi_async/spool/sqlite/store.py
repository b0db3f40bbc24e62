"""What is done to a spool file: every method blocks, and belongs into the owned thread."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Busy, Record
from capi_async.spool.chunks import DamagedChunk, decode, decode_state, encode, is_set
from capi_async.spool.sqlite import memory, stops
from capi_async.spool.sqlite.file import SpoolFile
from capi_async.spool.sqlite.group import Change, Chunk, Group, key_number
from capi_async.spool.sqlite.letters import Letters
from capi_async.spool.sqlite.options import DAY, Options
from capi_async.spool.sqlite.stops import Asked, Hit

logger = logging.getLogger(__name__)

Counts = dict[str, tuple[int, int]]

#: Rows, and dead letters, that are looked through at a time: others want to write, too.
_ROWS_A_LOOK: Final = 64
_LETTERS_A_LOOK: Final = 500


class Row(Struct, gc=False):
    """A chunk read back from the file, and (wall due, wait) by index."""

    chunk: Chunk
    waits: dict[int, tuple[float, float]]


class Store(SpoolFile):
    """The records in a spool file, as one process deals with them."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        super().__init__(options, wall=wall)
        self.letters = Letters(self._seal, self._open_sealed)
        #: What is appended is for this process; if not, for whoever wants it.
        self.keeps = True

    # Writing.

    def commit(self, group: Group) -> None:
        """Write a group, whole or not at all, and give its new chunks their ids.

        Raises:
            Busy: Others have it to themselves; nothing of it was written.
            SpoolError: Nothing of it was written.
        """
        try:
            with self._transaction(sync=group.sync) as db:
                if not group.start():
                    raise Busy("the spool file was locked by another process for too long; nothing was stored")
                ids = self._write(db, group)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise Busy("the spool file is locked by another process; nothing was stored") from error
            # a sync that failed at the very end may have left what a start after a power cut takes for stored
            stored = None if self._ending and code == sqlite3.SQLITE_IOERR else False
            raise SpoolError(f"storage failed: {error}", stored=stored) from error
        except OSError as error:
            raise SpoolError(f"storage failed: {error.strerror}", stored=False) from error
        except SpoolError as error:
            error.stored = False  # whatever it was, it kept the transaction from being ended
            raise
        for chunk, number in zip(group.appended, ids, strict=True):
            chunk.id = number

    def _write(self, db: sqlite3.Connection, group: Group) -> list[int]:
        if any(change.scrub for change in group.changes):
            self._overwrite(db, True)
        if group.appended and self._options.remember_days:
            ids_of = {one.event_id for chunk in group.appended for one in chunk.records if one is not None}
            memory.add(db, ids_of, self._wall())
        counts = Counter(group.counts)
        ids = []
        for chunk in group.appended:
            ids.append(self.insert(db, chunk, mine=self.keeps))
            counts[chunk.destination, "pending"] += chunk.left
            counts[chunk.destination, "bytes"] += chunk.size
        for change in group.changes:
            self._change(db, change, counts)
        count(db, counts)
        return ids

    def insert(self, db: sqlite3.Connection, chunk: Chunk, *, mine: bool) -> int:
        """Write a new chunk, for this process or for nobody; returns its id."""
        name, data = self._seal(encode(chunk.records), chunk.destination)
        number = db.execute(
            'INSERT INTO chunk (destination, owner, "left", size, attempted_at, keyed, sealed)'
            " VALUES (?, ?, ?, ?, 0, ?, ?)",
            (chunk.destination, self.owner if mine else 0, chunk.left, chunk.size, chunk.keyed, name),
        ).lastrowid
        db.execute("INSERT INTO body (id, data) VALUES (?, ?)", (number, data))
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key is not None}
            db.executemany(
                "INSERT INTO order_key (destination, key, chunk) VALUES (?, ?, ?)",
                [(chunk.destination, key, number) for key in keys],
            )
            chunk.foreign = self._foreign(db, chunk, number or 0, keys)
        return int(number or 0)

    def _change(self, db: sqlite3.Connection, change: Change, counts: Counter[tuple[str, str]]) -> None:
        chunk = change.chunk
        where = (chunk.id, self.owner)
        if change.left:
            cursor = db.execute(
                'UPDATE chunk SET "left" = ?, size = ?, attempted_at = ?, state = coalesce(?, state)'
                " WHERE id = ? AND owner = ?",
                (change.left, change.size, change.attempted_at, change.state, *where),
            )
        else:
            cursor = db.execute("DELETE FROM chunk WHERE id = ? AND owner = ?", where)
        if not cursor.rowcount:
            logger.warning("a lease was taken over by another process", extra={"destination": chunk.destination})
            return
        if not change.left:
            db.execute("DELETE FROM body WHERE id = ?", (chunk.id,))
            if chunk.keyed:
                db.execute("DELETE FROM order_key WHERE chunk = ?", (chunk.id,))
        elif change.scrub:
            name, data = self._seal(encode(chunk.unsettled()), chunk.destination)
            db.execute("UPDATE body SET data = ? WHERE id = ?", (data, chunk.id))
            db.execute("UPDATE chunk SET sealed = ? WHERE id = ?", (name, chunk.id))
        for kind, number in change.counts.items():
            counts[chunk.destination, kind] += number
            counts[chunk.destination, "pending"] -= number
        counts[chunk.destination, "bytes"] -= change.freed
        if change.letters:
            self.letters.add(db, change.letters, self._wall())

    # Reading.

    def load(self, destination: str, *, after: int, records: int, max_bytes: int) -> list[Row]:
        """What this process owns behind chunk ``after``: about ``records`` or ``max_bytes``, at least one chunk."""
        db = self._ready()
        found = db.execute(
            'SELECT id, "left", size FROM chunk WHERE owner = ? AND destination = ? AND id > ? ORDER BY id LIMIT ?',
            (self.owner, destination, after, max(records, 1)),
        )
        return self._read(destination, _first(found, records, max_bytes))

    def claim(self, destination: str, *, records: int, max_bytes: int) -> list[Row]:
        """Take what nobody owns: about ``records`` or ``max_bytes``, at least one chunk if there is any."""
        with self._transaction(sync=False) as db:
            found = db.execute(
                # what somebody wants stopped is not taken up before it is
                'SELECT id, "left", size FROM chunk WHERE owner = 0 AND destination = ? AND NOT EXISTS'
                " (SELECT 1 FROM stop WHERE stop.chunk = chunk.id AND (stopped IS NULL OR under_way > 0))"
                " ORDER BY id LIMIT ?",
                (destination, max(records, 1)),
            )
            ids = _first(found, records, max_bytes)
            db.executemany("UPDATE chunk SET owner = ? WHERE id = ?", [(self.owner, number) for number in ids])
        return self._read(destination, ids)

    def _read(self, destination: str, ids: Sequence[int]) -> list[Row]:
        db = self._ready()
        rows: list[Row] = []
        for number in ids:
            found = db.execute(
                'SELECT "left", size, attempted_at, keyed, sealed, state, data'
                " FROM chunk LEFT JOIN body USING (id) WHERE chunk.id = ?",
                (number,),
            ).fetchone()
            left, size, attempted_at, keyed, sealed, state, data = found
            try:
                if data is None:
                    raise DamagedChunk("missing")
                records = decode(destination, self._open_sealed(data, sealed, destination))
                row = _row(destination, records, state, attempted_at)
            except (DamagedChunk, ValueError) as error:
                self._bury(destination, number, left, size, data, error)
                continue
            chunk = row.chunk
            chunk.id, chunk.left, chunk.size, chunk.keyed = number, left, size, bool(keyed)
            if keyed:
                keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key}
                chunk.foreign = self._foreign(db, chunk, number, keys)
            rows.append(row)
        return rows

    def _bury(self, destination: str, number: int, left: int, size: int, data: bytes | None, error: Exception) -> None:
        """A chunk that cannot be read any more is kept apart, and its events are dead."""
        logger.error(
            "stored events are damaged", extra={"destination": destination, "events": left, "error": str(error)}
        )
        with self._transaction(sync=True) as db:
            db.execute(
                "INSERT OR REPLACE INTO damaged (id, destination, at, data) VALUES (?, ?, ?, ?)",
                (number, destination, self._wall(), data),
            )
            for table in ("chunk", "body"):
                db.execute(f"DELETE FROM {table} WHERE id = ?", (number,))  # noqa: S608  # one of two constants
            db.execute("DELETE FROM order_key WHERE chunk = ?", (number,))
            count(db, {(destination, "pending"): -left, (destination, "bytes"): -size, (destination, "dead"): left})

    def still_foreign(self, chunks: Sequence[Chunk]) -> list[frozenset[int]]:
        """For each chunk, the order keys for which another process still holds an older record."""
        db = self._ready()
        return [self._foreign(db, chunk, chunk.id, chunk.foreign) for chunk in chunks]

    def _foreign(self, db: sqlite3.Connection, chunk: Chunk, number: int, keys: Iterable[int]) -> frozenset[int]:
        query = (
            "SELECT 1 FROM order_key JOIN chunk ON chunk.id = order_key.chunk"
            " WHERE order_key.destination = ? AND key = ? AND order_key.chunk < ? AND owner <> ? LIMIT 1"
        )
        return frozenset(
            key for key in keys if db.execute(query, (chunk.destination, key, number, self.owner)).fetchone()
        )

    # What is nobody's.

    def unowned(self) -> Counts:
        """Destination to (events, bytes) of what nobody owns."""
        found = self._ready().execute(
            'SELECT destination, sum("left"), sum(size) FROM chunk WHERE owner = 0 GROUP BY destination'
        )
        return {name: (events, size) for name, events, size in found}

    def pending(self) -> Counts:
        """Destination to (events, bytes) of all that is not settled, whoever owns it."""
        found = self._ready().execute(
            "SELECT destination, sum(n * (kind = 'pending')), sum(n * (kind = 'bytes')) FROM ledger"
            " WHERE kind IN ('pending', 'bytes') GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    # Stopping what somebody wants forgotten, or withdrew.

    def scan(self, matches: Callable[[Record], bool], after: int) -> tuple[list[int], int]:
        """Rows behind ``after``, whoever owns them, that hold a match; and the last one looked at, 0 at the end."""
        rows = self._ready().execute(
            "SELECT id, destination, sealed, data FROM chunk JOIN body USING (id) WHERE id > ? ORDER BY id LIMIT ?",
            (after, _ROWS_A_LOOK),
        )
        found: list[int] = []
        last = 0
        for last, destination, sealed, data in rows:
            try:
                records = decode(destination, self._open_sealed(data, sealed, destination))
            except (DamagedChunk, ValueError):
                continue  # whoever leases it reports it
            if any(record.body and matches(record) for record in records):
                found.append(last)
            time.sleep(0)  # the loop's thread wants to run, too
        return found, last

    def sweep(
        self,
        matches: Callable[[Record], bool],
        outcome: Outcome,
        rows: Sequence[int],
        cursors: Mapping[str, int],
        under_way: Mapping[int, Sequence[int]],
    ) -> tuple[list[Hit], dict[int, str]]:
        """Settle what matches in these rows, if no process has it in memory; ask those who have.

        Args:
            cursors: Destination to the row behind which this process's own are in the file only.
            under_way: Rows of this process to the records in them that cannot be stopped any more.

        Returns the records settled, and the ids under which others will answer, with the destinations.
        """
        hits: list[Hit] = []
        requests: dict[int, str] = {}
        with self.transaction(sync=True) as db:
            self._overwrite(db, True)
            for number in rows:
                found = db.execute("SELECT owner, destination FROM chunk WHERE id = ?", (number,)).fetchone()
                if found is None:
                    continue
                owner, destination = found
                if owner == 0 or (owner == self.owner and number > cursors.get(destination, number)):
                    hits += stops.take_out(
                        db, self._seal, self._open_sealed, number, lambda _at, record: matches(record), outcome
                    )
                elif owner == self.owner:
                    if places := under_way.get(number):
                        request = stops.ask(db, number, stops.marked(places), outcome, self._wall())
                        stops.answer(db, [(request, 0, len(places))])
                else:
                    mask = stops.matching(db, self._open_sealed, number, matches)
                    requests[stops.ask(db, number, mask, outcome, self._wall())] = destination
            self._count_hits(db, hits)
        if requests:
            self.ring()
        return hits, requests

    def sweep_letters(self, matches: Callable[[Record], bool], kind: str, after: int) -> tuple[Counter[str], int]:
        """Remove dead letters behind ``after`` that match; how many per destination, and the last one looked at."""
        with self.transaction(sync=True) as db:
            self._overwrite(db, True)
            counts, last = self.letters.settle_matching(db, matches, kind, after=after, limit=_LETTERS_A_LOOK)
            count(db, counts)
        found: Counter[str] = Counter()
        for (name, one), number in counts.items():
            found[name] += number if one == kind else 0
        return found, last

    def asked(self) -> list[Asked]:
        """What other processes want stopped of what this one holds."""
        return stops.asked(self._ready(), self.owner)

    def obey(self, cursors: Mapping[str, int]) -> list[Hit]:
        """Settle what others want stopped and nobody has in memory."""
        if not self._ready().execute("SELECT 1 FROM stop WHERE stopped IS NULL OR under_way > 0 LIMIT 1").fetchone():
            return []
        with self.transaction(sync=True) as db:
            self._overwrite(db, True)
            hits = stops.obey(db, self._seal, self._open_sealed, self.owner, cursors)
            self._count_hits(db, hits)
        return hits

    def answer(self, told: Sequence[tuple[int, int, int]]) -> None:
        """Say of what was asked how much was stopped, and how much is under way."""
        with self.transaction(sync=True) as db:
            stops.answer(db, told)

    def answers(self, ids: Iterable[int]) -> dict[int, tuple[int, int]]:
        """What was answered of what this process asked."""
        return stops.answers(self._ready(), ids)

    def _count_hits(self, db: sqlite3.Connection, hits: Iterable[Hit]) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for hit in hits:
            counts[hit.destination, hit.outcome.kind] += 1
            counts[hit.destination, "pending"] -= 1
            counts[hit.destination, "bytes"] -= hit.size
        count(db, counts)

    # Upkeep.

    def retire(self, known: Sequence[str], outcome: Outcome) -> int:
        """What nobody owns, made for destinations that nobody ``known`` here serves, becomes dead letters."""
        retired = 0
        for name in self.unowned().keys() - set(known):
            while rows := self.claim(name, records=1_000, max_bytes=1 << 24):
                with self.transaction(sync=True) as db:
                    for row in rows:
                        chunk = row.chunk
                        records = [record for record in chunk.records if record is not None]
                        kinds = ["uncertain" if record.maybe_since else "dead" for record in records]
                        ends = [replace(outcome, kind=kind) for kind in kinds]
                        self.letters.add(db, list(zip(records, ends, strict=True)), self._wall())
                        chunk.counts = Counter(kinds)
                        chunk.left = 0
                        chunk.freed = chunk.size
                        counts: Counter[tuple[str, str]] = Counter()
                        self._change(db, Change.of(chunk), counts)
                        count(db, counts)
                        retired += len(records)
                        chunk.drop()
        return retired

    def tidy(self) -> None:
        """Let old dead letters go, and give free space back to the file system."""
        options = self._options
        with self._transaction(sync=False) as db:
            self.letters.prune(db, before=self._wall() - options.dead_days * DAY, keep=options.dead_max)
            stops.forget_answers(db, self._wall())
            memory.prune(db, before=self._wall() - options.remember_days * DAY)
        self.shrink()

    def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Which of these were accepted, by any process, as far as that is remembered."""
        return memory.find(self._ready(), event_ids)

    def erase_traces(self) -> bool:
        """Nothing that was deleted stays readable in the file or its log; False if another process reads the log."""
        done = self.shrink(everything=True)
        self._overwrite(self._ready(), False)
        return done


def count(db: sqlite3.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the ledger."""
    db.executemany(
        "INSERT INTO ledger (destination, kind, n) VALUES (?, ?, ?)"
        " ON CONFLICT (destination, kind) DO UPDATE SET n = n + excluded.n",
        [(*key, number) for key, number in counts.items() if number],
    )


def _first(found: Iterable[tuple[int, int, int]], records: int, max_bytes: int) -> list[int]:
    ids: list[int] = []
    events = size = 0
    for number, left, length in found:
        if ids and (events >= records or size + length > max_bytes):
            break
        ids.append(number)
        events += left
        size += length
    return ids


def _row(destination: str, records: Sequence[Record], state: bytes | None, attempted_at: float) -> Row:
    """A chunk as another process, or this one before, left it; what may have arrived is known to."""
    was = decode_state(state)
    kept: list[Record | None] = [None if is_set(was.settled, index) else record for index, record in enumerate(records)]
    chunk = Chunk(destination, kept, 0)
    chunk.attempted_at = attempted_at
    known = set()
    waits: dict[int, tuple[float, float]] = {}
    for fate in was.fates:
        for index in range(fate.at, min(fate.at + fate.count, len(kept))):
            record = kept[index]
            if record is None:
                continue
            known.add(index)
            record.attempts, record.failures, record.maybe_since = fate.attempts, fate.failures, fate.maybe_since
            if fate.due_at:
                waits[index] = (fate.due_at, fate.wait_s)
    for index, record in enumerate(kept):
        if record is None:
            continue
        record.chunk, record.at = chunk, index
        if attempted_at and index not in known and record.resend_for_s > 0:
            record.attempts, record.maybe_since = 1, attempted_at
    return Row(chunk, waits)


def monotonic_due(due_at: float, wait_s: float, wall: float) -> float:
    """Seconds still to wait for a moment on the wall clock: never longer than was asked for, however it was stepped."""
    return max(0.0, min(due_at - wall, wait_s))
