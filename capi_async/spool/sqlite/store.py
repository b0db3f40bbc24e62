"""What is done to a spool file: every method blocks, and belongs into the owned thread."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from capi_async.errors import SpoolError
from capi_async.followup import SentRequest
from capi_async.outcome import Outcome
from capi_async.spool.base import Busy, LetterFilter, Record, size_of
from capi_async.spool.chunks import DamagedChunk, decode, decode_runs, decode_state, encode, has_checksum, is_set
from capi_async.spool.sealing import REPEATED
from capi_async.spool.sqlite import damage, remembered
from capi_async.spool.sqlite import sent as sent_requests
from capi_async.spool.sqlite.database import SpoolFile
from capi_async.spool.sqlite.dead_letters import DeadLetters, select
from capi_async.spool.sqlite.group import Change, Chunk, Group, key_number, place_of, split
from capi_async.spool.sqlite.options import DAY, Options
from capi_async.spool.sqlite.room import is_full

logger = logging.getLogger(__name__)

Counts = dict[str, tuple[int, int]]

#: Dead letters that one transaction deals with: other processes want to write, too.
_LETTERS_A_LOOK: Final = 500

#: Where a row stands that is settled.
_SETTLED: Final = "nowhere"

#: Bytes that a chunk may need beside its bodies.
_ROW_BYTES: Final = 8_192


#: What somebody wants stopped is not taken up before it is.
_CLAIMABLE: Final = """
SELECT id FROM chunk INDEXED BY chunk_line WHERE owner = 0 AND destination = ? AND NOT EXISTS
    (SELECT 1 FROM stop WHERE stop.chunk = chunk.id AND (stopped IS NULL OR under_way > 0)) ORDER BY id LIMIT ?
"""
_CLAIM: Final = """
UPDATE chunk SET owner = ? WHERE id = ? AND owner = 0 AND NOT EXISTS
    (SELECT 1 FROM stop WHERE stop.chunk = chunk.id AND (stopped IS NULL OR under_way > 0))
"""


class Row(Struct, gc=False):
    """A chunk read back from the file, and (wall due, wait) by index."""

    chunk: Chunk
    waits: dict[int, tuple[float, float]]


class Looked(Struct, gc=False):
    """What was read back at once.

    Attributes:
        rows: Those that can be read.
        events, bytes: Unsettled records, and bytes of their bodies, in all that was looked at, as they were counted.
        last: The last row that was looked at; 0 if there was none.
        quarantined: Those that cannot be read: their events are dead.
    """

    rows: list[Row]
    quarantined: list[int]
    events: int = 0
    bytes: int = 0
    last: int = 0


class _Miscounted(DamagedChunk):
    """A row says that there are more records in it, or fewer, than there are."""


class _Repeated(DamagedChunk):
    """A row that this process has settled stands there again: nobody accepted its events a second time."""


class Store(SpoolFile):
    """The records in a spool file, as one process deals with them."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        super().__init__(options, wall=wall)
        self.letters = DeadLetters(self.seal, self.open_sealed)
        #: What is appended is for this process; if not, for whoever wants it.
        self.keeps = True
        #: Rows that can be neither read nor removed.
        self._unreadable: set[int] = set()

    # Writing.

    def commit(self, group: Group) -> None:
        """Write a group, whole or not at all, and give its new chunks their ids.

        Raises:
            Busy: Others have it to themselves; nothing of it was written.
            NoRoom: The volume is nearly full, and there are new chunks; nothing of it was written.
            SpoolError: Nothing of it was written.
        """
        try:
            if group.appended:
                self._make_room(sum(chunk.size + _ROW_BYTES for chunk in group.appended))
            try:
                self._commit(group)
            except sqlite3.Error as error:
                if group.appended or not is_full(error) or not self._find_room():
                    raise
                self._commit(group)
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
        self._keep_log_short()

    def _commit(self, group: Group) -> None:
        with self._transaction(sync=group.sync) as db:
            if not group.start():
                raise Busy("the spool file was locked by another process for too long; nothing was stored")
            ids = self._write(db, group)
        for chunk, number in zip(group.appended, ids, strict=True):
            chunk.id = number
        if self._sealing.encrypts:
            lost = {change.chunk.id for change in group.lost}
            for change in group.changes:
                if not change.left and change.chunk.id not in lost:
                    self._sealing.note(change.chunk.id, _SETTLED)

    def _write(self, db: sqlite3.Connection, group: Group) -> list[int]:
        if any(change.scrub for change in group.changes):
            self.overwrite(db, True)
        if group.appended and self._options.remember_days:
            ids_of = {one.event_id for chunk in group.appended for one in chunk.records if one is not None}
            remembered.add(db, ids_of, self.wall())
        counts = Counter(group.counts)
        ids = []
        for chunk in group.appended:
            ids.append(self.insert(db, chunk, mine=self.keeps))
            counts[chunk.destination, "pending"] += chunk.left
            counts[chunk.destination, "bytes"] += chunk.size
        group.lost = [change for change in group.changes if not self._change(db, change, counts)]
        add_to_ledger(db, counts)
        return ids

    def insert(self, db: sqlite3.Connection, chunk: Chunk, *, mine: bool) -> int:
        """Write a new chunk, for this process or for nobody; returns its id."""
        number = db.execute(
            'INSERT INTO chunk (destination, owner, "left", size, attempted_at, keyed, sealed)'
            " VALUES (?, ?, ?, ?, 0, ?, ?)",
            (chunk.destination, self.owner if mine else 0, chunk.left, chunk.size, chunk.keyed, self._sealing.name),
        ).lastrowid
        _name, data = self.seal(encode(chunk.records), place_of(chunk.destination, number or 0))
        db.execute("INSERT INTO body (id, data) VALUES (?, ?)", (number, data))
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key is not None}
            db.executemany(
                "INSERT INTO order_key (destination, key, chunk) VALUES (?, ?, ?)",
                [(chunk.destination, key, number) for key in keys],
            )
            chunk.foreign = self._foreign(db, chunk, number or 0, keys)
        return int(number or 0)

    def _change(self, db: sqlite3.Connection, change: Change, counts: Counter[tuple[str, str]]) -> bool:
        """Write what happened to a chunk; False if another process holds it now."""
        chunk = change.chunk
        where = (chunk.id, self.owner)
        if change.left:
            cursor = db.execute(
                'UPDATE chunk SET "left" = ?, size = ?, tried = coalesce(?, tried), state = coalesce(?, state)'
                " WHERE id = ? AND owner = ?",
                (change.left, change.size, change.tried, change.state, *where),
            )
        else:
            cursor = db.execute("DELETE FROM chunk WHERE id = ? AND owner = ?", where)
        if not cursor.rowcount:
            return False
        if not change.left:
            db.execute("DELETE FROM body WHERE id = ?", (chunk.id,))
            if chunk.keyed:
                db.execute("DELETE FROM order_key WHERE chunk = ?", (chunk.id,))
        elif change.scrub:
            name, data = self.seal(encode(chunk.unsettled()), place_of(chunk.destination, chunk.id))
            db.execute("UPDATE body SET data = ? WHERE id = ?", (data, chunk.id))
            db.execute("UPDATE chunk SET sealed = ? WHERE id = ?", (name, chunk.id))
        for kind, number in change.counts.items():
            counts[chunk.destination, kind] += number
            counts[chunk.destination, "pending"] -= number
        counts[chunk.destination, "bytes"] -= change.freed
        if change.letters:
            self.letters.add(db, change.letters, self.wall())
        return True

    # Reading.

    def load(self, destination: str, *, after: int, records: int, max_bytes: int) -> Looked:
        """What this process owns behind chunk ``after``: about ``records`` or ``max_bytes``, at least one chunk."""
        # by the index alone: one row that cannot be read must not hide those behind it
        found = self.ready().execute(
            "SELECT id FROM chunk INDEXED BY chunk_line WHERE owner = ? AND destination = ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (self.owner, destination, after, max(records, 1)),
        )
        return self._read(destination, self._first([number for (number,) in found], records, max_bytes))

    def claim(self, destination: str, *, records: int, max_bytes: int) -> Looked:
        """Take what nobody owns: about ``records`` or ``max_bytes``, at least one chunk if there is any."""
        found = self.ready().execute(_CLAIMABLE, (destination, max(records, 1)))
        # before the transaction: one that has met a broken page cannot be ended
        counted = self._first([number for (number,) in found], records, max_bytes)
        with self._transaction(sync=False) as db:
            for number, counts in list(counted.items()):
                if counts is not None and not db.execute(_CLAIM, (self.owner, number)).rowcount:
                    del counted[number]  # another process was faster
        try:
            return self._read(destination, counted)
        except BaseException:
            self.give_up(counted)  # nobody would look for what is ours and in nobody's memory
            raise

    def _first(self, ids: Iterable[int], records: int, max_bytes: int) -> dict[int, tuple[int, int] | None]:
        """Rows up to about so much, with their unsettled records and bytes; ``None`` for one that cannot be read."""
        db = self.ready()
        counted: dict[int, tuple[int, int] | None] = {}
        events = size = 0
        for number in ids:
            if number in self._unreadable:
                continue
            one = damage.counts(db, number) or self._mend(number)
            if counted and (events >= records or size + (one[1] if one else 0) > max_bytes):
                break
            counted[number] = one
            if one is not None:
                events += one[0]
                size += one[1]
        return counted

    def _mend(self, number: int) -> tuple[int, int] | None:
        """Counts of a row whose own are damaged, written again; ``None`` if its records cannot be read either."""
        try:
            row = damage.whole(self.ready(), number)
            records = self.records_of(row, number)
            held = [one for one in _row(row.destination, records, row).chunk.records if one is not None]
        except (DamagedChunk, ValueError):
            return None
        if not held or not has_checksum(row.state):
            return None
        logger.warning(
            "spool: %s: the counts of stored events were damaged and were mended", row.destination,
            extra={"destination": row.destination, "events": len(held)},
        )  # fmt: skip
        counts = len(held), size_of(held)
        with self._transaction(sync=False) as db:
            db.execute('UPDATE chunk SET "left" = ?, size = ? WHERE id = ?', (*counts, number))
        return counts

    def _read(self, destination: str, counted: Mapping[int, tuple[int, int] | None]) -> Looked:
        looked = Looked([], [])
        for number, one in counted.items():
            try:
                if one is None:
                    raise DamagedChunk("its counts")
                try:
                    row = self._read_row(destination, number, one)
                except _Miscounted:
                    true = self._mend(number)
                    if true is None:
                        raise
                    row = self._read_row(destination, number, true)
            except (DamagedChunk, ValueError) as error:
                one = self._quarantine(destination, number, error)
                looked.quarantined.append(number)
            else:
                looked.rows.append(row)
            looked.events += one[0]
            looked.bytes += one[1]
            looked.last = number
        return looked

    def _read_row(self, destination: str, number: int, counted: tuple[int, int]) -> Row:
        """A row whose counts are these.

        Raises:
            DamagedChunk, ValueError: It is not what was written.
        """
        db = self.ready()
        row = damage.whole(db, number)
        if row.destination != destination:
            raise DamagedChunk("its destination")
        if self._sealing.is_repeated(number):
            raise _Repeated(REPEATED)
        records = self.records_of(row, number)
        made = _row(destination, records, row)
        chunk = made.chunk
        held = [one for one in chunk.records if one is not None]
        chunk.id, chunk.left, chunk.size, chunk.keyed = number, len(held), size_of(held), row.keyed
        if (chunk.left, chunk.size) != counted:
            raise _Miscounted("what is settled")
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in held if one.order_key}
            chunk.foreign = self._foreign(db, chunk, number, keys)
        return made

    def records_of(self, row: damage.Stored, number: int) -> list[Record]:
        """The records of a row.

        Raises:
            DamagedChunk, ValueError: It is not what was written.
        """
        return decode(row.destination, self.open_sealed(row.data, row.sealed, place_of(row.destination, number)))

    def _quarantine(self, destination: str, number: int, error: Exception) -> tuple[int, int]:
        """A chunk that cannot be read any more is kept apart, and its events are dead; how many, and of what size."""
        db = self.ready()
        # before the transaction: one that has met a broken page cannot be ended
        data = damage.remains(db, number)
        left, size = damage.counts(db, number) or damage.missing(db, destination, number)
        gone = False
        try:
            with self._transaction(sync=True) as db:
                gone = damage.remove(db, number, body=data is not None)
                if gone:
                    db.execute(
                        "INSERT OR REPLACE INTO damaged (id, destination, at, data) VALUES (?, ?, ?, ?)",
                        (number, destination, self.wall(), data),
                    )
                    if not isinstance(error, _Repeated):
                        lost = {"pending": -left, "bytes": -size, "dead": left}
                        add_to_ledger(db, {(destination, kind): number for kind, number in lost.items()})
        except sqlite3.Error as failure:
            if not damage.is_of_row(failure):
                raise
            gone = False
        if not gone:
            # not even removed: it stays where it is, and nobody looks at it again
            self._unreadable.add(number)
        logger.error(
            "spool: %s: %d stored events %s%s",
            destination, left,
            f"are not sent: {error}" if isinstance(error, _Repeated)
            else f"are damaged ({error}) and cannot be sent; they count as dead",
            ", and what is left of them is in the table 'damaged' of the spool file" if gone else "",
            extra={"destination": destination, "events": left, "error": str(error)},
        )  # fmt: skip
        return left, size

    def still_foreign(self, chunks: Sequence[Chunk]) -> list[frozenset[int]]:
        """For each chunk, the order keys for which another process still holds an older record."""
        db = self.ready()
        return [self._foreign(db, chunk, chunk.id, chunk.foreign) for chunk in chunks]

    def _foreign(self, db: sqlite3.Connection, chunk: Chunk, number: int, keys: Iterable[int]) -> frozenset[int]:
        query = (
            "SELECT 1 FROM order_key JOIN chunk ON chunk.id = order_key.chunk"
            " WHERE order_key.destination = ? AND key = ? AND order_key.chunk < ? AND owner <> ? LIMIT 1"
        )
        return frozenset(
            key for key in keys if db.execute(query, (chunk.destination, key, number, self.owner)).fetchone()
        )

    def mine(self) -> list[tuple[int, str, int, int]]:
        """Row, destination, unsettled records and their bytes, of all that this process owns."""
        found = self.ready().execute('SELECT id, destination, "left", size FROM chunk WHERE owner = ?', (self.owner,))
        return found.fetchall()

    def give_up(self, rows: Iterable[int]) -> None:
        """These are nobody's from now on."""
        with self._transaction(sync=False) as db:
            db.executemany(
                "UPDATE chunk SET owner = 0 WHERE id = ? AND owner = ?", [(number, self.owner) for number in rows]
            )

    # What is nobody's.

    def unowned(self) -> Counts:
        """Destination to (events, bytes) of what nobody owns."""
        found = self.ready().execute(
            # a row whose count is damaged counts, too: only who leases it can mend it
            """SELECT destination, sum(CASE WHEN typeof("left") = 'integer' THEN max("left", 1) ELSE 1 END),"""
            " sum(size) FROM chunk WHERE owner = 0 GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    def pending(self) -> Counts:
        """Destination to (events, bytes) of all that is not settled, whoever owns it."""
        found = self.ready().execute(
            "SELECT destination, sum(n * (kind = 'pending')), sum(n * (kind = 'bytes')) FROM ledger"
            " WHERE kind IN ('pending', 'bytes') GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    def newest(self) -> int:
        """The highest number that any row has had: what is written from now on has a higher one."""
        row = self.ready().execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        return int(row[0]) if row else 0

    # Dead letters.

    def erase_letters(self, matches: Callable[[Record], bool], kind: str, after: int) -> tuple[Counter[str], int]:
        """Remove dead letters behind ``after`` that match; how many per destination, and the last one looked at."""
        matching, last = self.letters.matching(self.ready(), matches, after=after, limit=_LETTERS_A_LOOK)
        with self.transaction(sync=True) as db:
            self.overwrite(db, True)
            counts = self.letters.settle(db, matching, kind)
            add_to_ledger(db, counts)
        found: Counter[str] = Counter()
        for (name, one), number in counts.items():
            found[name] += number if one == kind else 0
        return found, last

    def replay(self, wanted: LetterFilter, permitted: Callable[[str], bool] | None, now: float) -> Mapping[str, int]:
        """Make dead letters pending again, or final if they are too old or not permitted; how many, per destination.

        An uncertain one is sent once more because somebody asks for it: it counts as never attempted.
        """
        with self.transaction(sync=False) as db:
            letters = select(db, wanted)
        # asked before the file is locked: the callable may look somewhere else, and take its time
        refused = {one.id for one in letters if permitted is not None and not permitted(one.event_id)}
        replayed: Counter[str] = Counter()
        for start in range(0, len(letters), _LETTERS_A_LOOK):
            ids = [letter.id for letter in letters[start : start + _LETTERS_A_LOOK]]
            found = list(self.letters.read(self.ready(), ids))
            with self.transaction(sync=True) as db:
                again, counts = self.letters.take_for_replay(db, found, refused, now)
                for chunk in split(again):
                    self.insert(db, chunk, mine=False)
                    counts[chunk.destination, "pending"] += chunk.left
                    counts[chunk.destination, "bytes"] += chunk.size
                    replayed[chunk.destination] += chunk.left
                    chunk.drop()
                add_to_ledger(db, counts)
        return replayed

    # Upkeep.

    def retire(self, known: Sequence[str], outcome: Outcome) -> int:
        """What nobody owns, made for destinations that nobody ``known`` here serves, becomes dead letters."""
        retired = 0
        for name in self.unowned().keys() - set(known):
            while (looked := self.claim(name, records=1_000, max_bytes=1 << 24)).last:
                with self.transaction(sync=True) as db:
                    for row in looked.rows:
                        chunk = row.chunk
                        records = [record for record in chunk.records if record is not None]
                        kinds = ["uncertain" if record.uncertain_since else "dead" for record in records]
                        ends = [replace(outcome, kind=kind) for kind in kinds]
                        self.letters.add(db, list(zip(records, ends, strict=True)), self.wall())
                        chunk.counts = Counter(kinds)
                        chunk.left = 0
                        chunk.freed = chunk.size
                        counts: Counter[tuple[str, str]] = Counter()
                        self._change(db, Change.of(chunk), counts)
                        add_to_ledger(db, counts)
                        retired += len(records)
                        chunk.drop()
        return retired

    def tidy(self) -> None:
        """Let old dead letters go, and give free space back to the file system."""
        options = self._options
        with self._transaction(sync=False) as db:
            self.letters.prune(db, before=self.wall() - options.dead_days * DAY, keep=options.dead_max)
            db.execute("DELETE FROM damaged WHERE at < ?", (self.wall() - options.dead_days * DAY,))
            remembered.prune(db, before=self.wall() - options.remember_days * DAY)
            sent_requests.prune(db, self.wall())
        self.shrink()

    def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Which of these were accepted, by any process, as far as that is remembered."""
        return remembered.find(self.ready(), event_ids)

    def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """Keep the ids of delivered requests."""
        with self._transaction(sync=False) as db:
            sent_requests.add(db, destination, sent)

    def sent(self, destination: str, since: float) -> list[SentRequest]:
        """Those that are kept from then on, newest first."""
        return sent_requests.find(self.ready(), destination, since)

    def erase_traces(self) -> bool:
        """Nothing that was deleted stays readable in the file or its log; False if another process reads the log."""
        # what could not be read any more could be anybody's
        with self._transaction(sync=False) as db:
            self.overwrite(db, True)
            db.execute("UPDATE damaged SET data = NULL WHERE data IS NOT NULL")
        self.overwrite(self.ready(), False)
        try:
            return self.shrink(everything=True) and self.rewrite()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            # the file has broken pages, or the volume no room for a copy: trying again and again would not help
            logger.warning(
                "spool: %s cannot be written anew (%s): what was forgotten is overwritten where it stood, but pages "
                "that are damaged or were freed earlier may still hold something; free space on the volume, or let the "
                "workers empty this file and begin with a new one",
                self.path, error, extra={"path": str(self.path), "error": str(error)},
            )  # fmt: skip
            return True


def add_to_ledger(db: sqlite3.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add these numbers to the ledger."""
    db.executemany(
        "INSERT INTO ledger (destination, kind, n) VALUES (?, ?, ?)"
        " ON CONFLICT (destination, kind) DO UPDATE SET n = n + excluded.n",
        [(*key, number) for key, number in counts.items() if number],
    )


def _row(destination: str, records: Sequence[Record], stored: damage.Stored) -> Row:
    """A chunk as another process, or this one before, left it; what may have arrived is known to."""
    was = decode_state(stored.state)
    kept: list[Record | None] = [None if is_set(was.settled, index) else record for index, record in enumerate(records)]
    chunk = Chunk(destination, kept, 0)
    chunk.tried = decode_runs(stored.tried)
    known = set()
    waits: dict[int, tuple[float, float]] = {}
    for fate in was.fates:
        for index in range(fate.at, min(fate.at + fate.count, len(kept))):
            record = kept[index]
            if record is None:
                continue
            known.add(index)
            record.attempts, record.failures, record.uncertain_since = (
                fate.attempts,
                fate.failures,
                fate.uncertain_since,
            )
            if fate.due_at:
                waits[index] = (fate.due_at, fate.wait_s)
    tried = chunk.tried
    if not tried and stored.attempted_at:
        tried = [(0, len(kept), stored.attempted_at)]  # as earlier releases noted it: of any, and so of all
    since = {index: at for start, stop, at in reversed(tried) for index in range(start, min(stop, len(kept)))}
    for index, record in enumerate(kept):
        if record is None:
            continue
        record.chunk, record.at = chunk, index
        if index in since and index not in known and record.resend_for_s > 0:
            record.attempts, record.uncertain_since = 1, since[index]
    return Row(chunk, waits)


def monotonic_due(due_at: float, wait_s: float, wall: float) -> float:
    """Seconds still to wait for a moment on the wall clock: never longer than was asked for, however it was stepped."""
    return max(0.0, min(due_at - wall, wait_s))
