"""Writes and reads the records of a spool file; every method blocks, and runs in the thread that owns the file."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec.structs import replace

from capi_async.errors import SpoolError
from capi_async.followup import SentRequest
from capi_async.outcome import Outcome
from capi_async.spool.address import DAY
from capi_async.spool.base import Busy, DeadLetter, LetterFilter, Record
from capi_async.spool.chunks import encode
from capi_async.spool.sqlite import kept_ids
from capi_async.spool.sqlite.committer import Change, Transaction
from capi_async.spool.sqlite.database import SpoolFile
from capi_async.spool.sqlite.dead_letters import DeadLetters, select
from capi_async.spool.sqlite.options import Options
from capi_async.spool.sqlite.rows import Chunk, Loaded, RowReader, split
from capi_async.spool.sqlite.schema import add_to_ledger, key_number, place_of
from capi_async.spool.sqlite.space import is_full
from capi_async.spool.waiting import SETTLED

logger = logging.getLogger(__name__)

#: Destination to events and bytes of their bodies.
Counts: TypeAlias = dict[str, tuple[int, int]]


#: Most dead letters in one transaction: other processes want to write, too.
_LETTERS_A_TURN: Final = 500

#: What the sealing notes as the place of a row that is settled.
_SETTLED: Final = "nowhere"

#: Bytes that a chunk may need beyond its bodies.
_ROW_BYTES: Final = 8_192


#: A chunk with an open recall is not claimed before the recall has been applied.
_CLAIMABLE: Final = """
SELECT id FROM chunk INDEXED BY chunk_line WHERE owner = 0 AND destination = ? AND NOT EXISTS
    (SELECT 1 FROM stop WHERE stop.chunk = chunk.id AND (stopped IS NULL OR under_way > 0)) ORDER BY id LIMIT ?
"""
_CLAIM: Final = """
UPDATE chunk SET owner = ? WHERE id = ? AND owner = 0 AND NOT EXISTS
    (SELECT 1 FROM stop WHERE stop.chunk = chunk.id AND (stopped IS NULL OR under_way > 0))
"""


class Store(SpoolFile):
    """The records in a spool file, as one process deals with them."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        super().__init__(options, wall=wall)
        self.letters = DeadLetters(self.seal, self.open_sealed)
        self.rows = RowReader(self)
        #: Whether this process owns what it appends, or leaves it to others.
        self.owns_new = True

    # Writing.

    def commit(self, transaction: Transaction) -> None:
        """Write a transaction, whole or not at all, and give its new chunks their ids.

        Raises:
            Busy: Another process has the file locked; nothing was written.
            NoSpace: The volume is nearly full, and there are new chunks; nothing was written.
            SpoolError: Nothing was written, unless its ``stored`` says otherwise.
        """
        try:
            if transaction.appended:
                self.space.require(sum([chunk.size + _ROW_BYTES for chunk in transaction.appended]))
            try:
                self._commit(transaction)
            except sqlite3.Error as error:
                if transaction.appended or not is_full(error) or not self.space.find():
                    raise
                self._commit(transaction)
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
        self.space.keep_log_short()

    def _commit(self, transaction: Transaction) -> None:
        with self.raw_transaction(sync=transaction.sync) as db:
            if not transaction.start():
                raise Busy("the spool file was locked by another process for too long; nothing was stored")
            ids = self._write(db, transaction)
        for chunk, number in zip(transaction.appended, ids, strict=True):
            chunk.id = number
        if self.sealing.encrypts and transaction.changes:
            lost = {change.chunk.id for change in transaction.lost}
            for change in transaction.changes:
                if not change.left and change.chunk.id not in lost:
                    self.sealing.note(change.chunk.id, _SETTLED)

    def _write(self, db: sqlite3.Connection, transaction: Transaction) -> list[int]:
        if transaction.changes and any(change.erases for change in transaction.changes):
            self.space.overwrite(db, True)
        if transaction.appended and self._options.remember_days:
            ids_of = {one.event_id for chunk in transaction.appended for one in chunk.records if one is not None}
            kept_ids.add_accepted(db, ids_of, self.wall())
        counts = dict(transaction.counts)  # a copy: this may be tried again
        ids = []
        for chunk in transaction.appended:
            ids.append(self.insert(db, chunk, mine=self.owns_new))
            _count(counts, chunk.destination, "pending", chunk.left)
            _count(counts, chunk.destination, "bytes", chunk.size)
        transaction.lost = [change for change in transaction.changes if not self._change(db, change, counts)]
        add_to_ledger(db, counts)
        return ids

    def insert(self, db: sqlite3.Connection, chunk: Chunk, *, mine: bool) -> int:
        """Write a new chunk, owned by this process or by none; returns its id."""
        number = db.execute(
            'INSERT INTO chunk (destination, owner, "left", size, attempted_at, keyed, sealed)'
            " VALUES (?, ?, ?, ?, 0, ?, ?)",
            (chunk.destination, self.owner if mine else 0, chunk.left, chunk.size, chunk.keyed, self.sealing.name),
        ).lastrowid
        _name, data = self.seal(encode(chunk.records), place_of(chunk.destination, number or 0))
        db.execute("INSERT INTO body (id, data) VALUES (?, ?)", (number, data))
        if chunk.keyed:
            keys = {key_number(one.order_key) for one in chunk.records if one is not None and one.order_key is not None}
            db.executemany(
                "INSERT INTO order_key (destination, key, chunk) VALUES (?, ?, ?)",
                [(chunk.destination, key, number) for key in keys],
            )
            chunk.foreign = self.rows.foreign_keys(db, chunk, number or 0, keys)
        return int(number or 0)

    def _change(self, db: sqlite3.Connection, change: Change, counts: dict[tuple[str, str], int]) -> bool:
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
        elif change.erases:
            name, data = self.seal(
                encode([one if one is None or one.epoch != SETTLED else None for one in chunk.records]),
                place_of(chunk.destination, chunk.id),
            )
            db.execute("UPDATE body SET data = ? WHERE id = ?", (data, chunk.id))
            db.execute("UPDATE chunk SET sealed = ? WHERE id = ?", (name, chunk.id))
        for kind, number in change.counts.items():
            _count(counts, chunk.destination, kind, number)
            _count(counts, chunk.destination, "pending", -number)
        _count(counts, chunk.destination, "bytes", -change.freed)
        if change.dead_letters:
            self.letters.add(db, change.dead_letters, self.wall())
        return True

    # Reading.

    def load(self, destination: str, *, after: int, records: int, max_bytes: int) -> Loaded:
        """Load what this process owns after chunk ``after``: about ``records`` or ``max_bytes``, at least one chunk."""
        # by the index alone: one row that cannot be read must not hide those after it
        found = self.ready().execute(
            "SELECT id FROM chunk INDEXED BY chunk_line WHERE owner = ? AND destination = ? AND id > ?"
            " ORDER BY id LIMIT ?",
            (self.owner, destination, after, max(records, 1)),
        )
        return self.rows.read(destination, self.rows.counts_of([number for (number,) in found], records, max_bytes))

    def claim(self, destination: str, *, records: int, max_bytes: int) -> Loaded:
        """Claim what no process owns: about ``records`` or ``max_bytes``, at least one chunk if there is any."""
        found = self.ready().execute(_CLAIMABLE, (destination, max(records, 1)))
        # before the transaction: one that has met a broken page cannot be ended
        counted = self.rows.counts_of([number for (number,) in found], records, max_bytes)
        with self.raw_transaction(sync=False) as db:
            for number, counts in list(counted.items()):
                if counts is not None and not db.execute(_CLAIM, (self.owner, number)).rowcount:
                    del counted[number]  # another process has claimed it
        try:
            return self.rows.read(destination, counted)
        except BaseException:
            self.disown(counted)  # else they would be owned here, and in no memory
            raise

    def foreign_keys_of(self, chunks: Sequence[Chunk]) -> list[frozenset[int]]:
        """For each chunk, the order keys for which another process still holds an older record."""
        db = self.ready()
        return [self.rows.foreign_keys(db, chunk, chunk.id, chunk.foreign) for chunk in chunks]

    def owned(self) -> list[tuple[int, str, int, int]]:
        """Row, destination, unsettled records and their bytes, of all that this process owns."""
        found = self.ready().execute('SELECT id, destination, "left", size FROM chunk WHERE owner = ?', (self.owner,))
        return found.fetchall()

    def disown(self, rows: Iterable[int]) -> None:
        """Let any process claim these rows."""
        with self.raw_transaction(sync=False) as db:
            db.executemany(
                "UPDATE chunk SET owner = 0 WHERE id = ? AND owner = ?", [(number, self.owner) for number in rows]
            )

    # Counts.

    def unowned(self) -> Counts:
        """Counts of what no process owns."""
        found = self.ready().execute(
            # a row whose count is damaged counts, too: it is repaired when it is leased
            """SELECT destination, sum(CASE WHEN typeof("left") = 'integer' THEN max("left", 1) ELSE 1 END),"""
            " sum(size) FROM chunk WHERE owner = 0 GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    def pending(self) -> Counts:
        """Counts of all that is not settled, whoever owns it."""
        found = self.ready().execute(
            "SELECT destination, sum(n * (kind = 'pending')), sum(n * (kind = 'bytes')) FROM ledger"
            " WHERE kind IN ('pending', 'bytes') GROUP BY destination"
        )
        return {name: (events, size) for name, events, size in found}

    def ledger(self) -> dict[str, dict[str, int]]:
        """Destination to kind to number, at one moment, of all processes."""
        found: dict[str, dict[str, int]] = {}
        while (reader := self._reader) is not None:
            try:
                rows = reader.execute("SELECT destination, kind, n FROM ledger").fetchall()
            except sqlite3.Error as error:
                if reader is not self._reader:
                    continue  # the file was deleted and written again in this moment
                raise SpoolError(f"the ledger cannot be read: {error}") from error
            for destination, kind, number in rows:
                found.setdefault(destination, {})[kind] = number
            break
        return found

    def counts(self, *, pending: bool) -> tuple[Counts, int]:
        """:meth:`pending` or :meth:`unowned`, and the highest number of any row at this time."""
        return (self.pending() if pending else self.unowned()), self.newest()

    def newest(self) -> int:
        """The highest number that any row has had: what is written from now on has a higher one."""
        row = self.ready().execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
        return int(row[0]) if row else 0

    # Dead letters.

    def dead_letters(self, wanted: LetterFilter) -> list[DeadLetter]:
        """What is kept and wanted, oldest first."""
        with self.transaction(sync=False) as db:
            return select(db, wanted)

    def erase_letters(self, matches: Callable[[Record], bool], kind: str, after: int) -> tuple[Counter[str], int]:
        """Remove dead letters after ``after`` that match; how many per destination, and the last one read."""
        matching, last = self.letters.matching(self.ready(), matches, after=after, limit=_LETTERS_A_TURN)
        with self.transaction(sync=True) as db:
            self.space.overwrite(db, True)
            counts = self.letters.settle(db, matching, kind)
            add_to_ledger(db, counts)
        found: Counter[str] = Counter()
        for (name, one), number in counts.items():
            found[name] += number if one == kind else 0
        return found, last

    def replay(self, wanted: LetterFilter, permitted: Callable[[str], bool] | None, now: float) -> Mapping[str, int]:
        """Make dead letters pending again, or final if they are too old or not permitted; how many, per destination.

        An uncertain one is sent once more because the caller asks for it: it counts as never attempted.
        """
        with self.transaction(sync=False) as db:
            letters = select(db, wanted)
        # asked before the file is locked: the callable may be slow, or read something else
        refused = {one.id for one in letters if permitted is not None and not permitted(one.event_id)}
        replayed: Counter[str] = Counter()
        for start in range(0, len(letters), _LETTERS_A_TURN):
            ids = [letter.id for letter in letters[start : start + _LETTERS_A_TURN]]
            found = list(self.letters.read(self.ready(), ids))
            with self.transaction(sync=True) as db:
                again, counts = self.letters.take_for_replay(db, found, refused, now)
                for chunk in split(again):
                    self.insert(db, chunk, mine=False)
                    counts[chunk.destination, "pending"] += chunk.left
                    counts[chunk.destination, "bytes"] += chunk.size
                    replayed[chunk.destination] += chunk.left
                    chunk.clear()
                add_to_ledger(db, counts)
        return replayed

    # Upkeep.

    def end_unserved(self, known: Sequence[str], outcome: Outcome) -> Counter[str]:
        """Make dead letters of what no process owns for destinations not among ``known``; how many of each."""
        ended: Counter[str] = Counter()
        for name in self.unowned().keys() - set(known):
            while (loaded := self.claim(name, records=1_000, max_bytes=1 << 24)).last:
                with self.transaction(sync=True) as db:
                    for chunk in loaded.chunks:
                        records = [record for record in chunk.records if record is not None]
                        kinds = ["uncertain" if record.uncertain_since else "dead" for record in records]
                        ends = [replace(outcome, kind=kind) for kind in kinds]
                        self.letters.add(db, list(zip(records, ends, strict=True)), self.wall())
                        chunk.counts = Counter(kinds)
                        chunk.left = 0
                        chunk.freed = chunk.size
                        counts: dict[tuple[str, str], int] = {}
                        self._change(db, Change.of(chunk), counts)
                        add_to_ledger(db, counts)
                        ended[name] += len(records)
                        chunk.clear()
        return ended

    def prune(self) -> None:
        """Delete what was kept for its time, and give free space back to the file system."""
        options = self._options
        with self.raw_transaction(sync=False) as db:
            self.letters.prune(db, before=self.wall() - options.dead_days * DAY, keep=options.dead_max)
            db.execute("DELETE FROM damaged WHERE at < ?", (self.wall() - options.dead_days * DAY,))
            kept_ids.prune_accepted(db, before=self.wall() - options.remember_days * DAY)
            kept_ids.prune_sent(db, self.wall())
        self.space.shrink()

    def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Which of these were accepted, by any process, as far as that is remembered."""
        return kept_ids.find_accepted(self.ready(), event_ids)

    def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """Keep the ids of delivered requests."""
        with self.raw_transaction(sync=False) as db:
            kept_ids.add_sent(db, destination, sent)

    def sent(self, destination: str, since: float) -> list[SentRequest]:
        """Those that are kept from then on, newest first."""
        return kept_ids.find_sent(self.ready(), destination, since)

    def erase_traces(self) -> bool:
        """See that nothing deleted stays readable in the file or its log; False if another process reads the log."""
        # what could not be read may be of the person who is forgotten
        with self.raw_transaction(sync=False) as db:
            self.space.overwrite(db, True)
            db.execute("UPDATE damaged SET data = NULL WHERE data IS NOT NULL")
        self.space.overwrite(self.ready(), False)
        try:
            return self.space.shrink(everything=True) and self.space.rewrite()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            # the file has broken pages, or the volume no space for a copy: trying again would not help
            logger.warning(
                "spool: %s cannot be written anew (%s): what was forgotten is overwritten where it stood, but pages "
                "that are damaged or were freed earlier may still hold something; free space on the volume, or let the "
                "workers empty this file and begin with a new one",
                self.path, error, extra={"path": str(self.path), "error": str(error)},
            )  # fmt: skip
            return True


def _count(counts: dict[tuple[str, str], int], destination: str, kind: str, number: int) -> None:
    """Add to a count. Not in a Counter: in a transaction of one event, that costs more than what it counts."""
    key = (destination, kind)
    counts[key] = counts.get(key, 0) + number
