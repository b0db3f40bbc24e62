"""Dead letters: records whose outcome was dead or uncertain, kept for replay within limits."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from capi_async.outcome import Outcome
from capi_async.spool.base import DeadLetter, LetterFilter, Record
from capi_async.spool.chunks import DamagedChunk, decode, encode
from capi_async.spool.sealing import OpenSealed, Place, Seal
from capi_async.spool.sqlite.schema import read_one

logger = logging.getLogger(__name__)

_COLUMNS = "id, destination, kind, event_id, reason, at, size"


class DeadLetters:
    """The table of dead letters; every method runs in the thread that owns the file."""

    def __init__(self, seal: Seal, open_sealed: OpenSealed) -> None:
        self._seal = seal
        self._open_sealed = open_sealed

    def add(self, db: sqlite3.Connection, letters: Sequence[tuple[Record, Outcome]], now: float) -> None:
        """Keep records that ended without a clear answer."""
        # their numbers are part of their seals, and so are needed before they are written
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'letter'").fetchone()
        rows = []
        for number, (record, outcome) in enumerate(letters, 1 if row is None else row[0] + 1):
            letter = DeadLetter(
                number, record.destination, outcome.kind, record.event_id, outcome.reason, float(now), len(record.body)
            )
            name, data = self._seal(encode([record]), _place_of(letter))
            rows.append((*msgspec.structs.astuple(letter), name, data))
        db.executemany(f"INSERT INTO letter ({_COLUMNS}, sealed, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608

    def read(self, db: sqlite3.Connection, ids: Iterable[int]) -> Iterator[tuple[DeadLetter, Record]]:
        """Letters with their records; one that cannot be read is left out, and stays.

        Call it outside of a transaction: one that has met a broken page cannot be ended.
        """
        for number in ids:
            try:
                row = read_one(
                    db,
                    f"SELECT {_COLUMNS}, sealed, CAST(data AS BLOB) FROM letter WHERE id = ?",  # noqa: S608
                    (number,),
                )
                if row is None:
                    continue
                letter = DeadLetter(*row[:-2])
                (record,) = decode(letter.destination, self._open_sealed(row[-1], row[-2], _place_of(letter)))
            except (DamagedChunk, ValueError) as error:
                logger.warning(
                    "spool: a dead letter cannot be read (%s) and stays where it is", error, extra={"letter": number}
                )
                continue
            yield letter, record

    def remove(self, db: sqlite3.Connection, letter: DeadLetter) -> bool:
        """Delete a letter; whether it was there. The caller changes the ledger."""
        return db.execute("DELETE FROM letter WHERE id = ?", (letter.id,)).rowcount > 0

    def matching(
        self, db: sqlite3.Connection, matches: Callable[[Record], bool], *, after: int, limit: int
    ) -> tuple[list[DeadLetter], int]:
        """Those that match among ``limit`` after ``after``; and the last one read, 0 at the end.

        One that cannot be read stays. Call it outside of a transaction.
        """
        rows = db.execute("SELECT id FROM letter WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        ids = [number for (number,) in rows]
        return [letter for letter, record in self.read(db, ids) if matches(record)], ids[-1] if ids else 0

    def settle(self, db: sqlite3.Connection, letters: Iterable[DeadLetter], kind: str) -> Counter[tuple[str, str]]:
        """Remove those that are still there; how the ledger changes."""
        counts: Counter[tuple[str, str]] = Counter()
        for letter in letters:
            if self.remove(db, letter):
                counts[letter.destination, letter.kind] -= 1
                counts[letter.destination, kind] += 1
        return counts

    def take_for_replay(
        self,
        db: sqlite3.Connection,
        letters: Iterable[tuple[DeadLetter, Record]],
        refused: Container[int],
        now: float,
    ) -> tuple[list[Record], Counter[tuple[str, str]]]:
        """Remove letters; return the records that are to be sent again, and how the ledger changes by the removal.

        Args:
            letters: What :meth:`read` gave. Those that another process has removed meanwhile are left out.
            refused: Ids of letters that may not be sent again: they end ``skipped``.
            now: Wall clock time in seconds; a record that has expired by then ends ``expired``.
        """
        again: list[Record] = []
        counts: Counter[tuple[str, str]] = Counter()
        for letter, record in letters:
            if not self.remove(db, letter):
                continue
            counts[letter.destination, letter.kind] -= 1
            if record.expires_at <= now:
                counts[letter.destination, "expired"] += 1
            elif letter.id in refused:
                counts[letter.destination, "skipped"] += 1
            else:
                again.append(record)
        return again, counts

    def prune(self, db: sqlite3.Connection, *, before: float, keep: int) -> int:
        """Delete what is older than ``before``, and the oldest beyond ``keep``; the ledger keeps its counts."""
        gone = db.execute("DELETE FROM letter WHERE at < ?", (before,)).rowcount
        gone += db.execute(
            "DELETE FROM letter WHERE id <= (SELECT id FROM letter ORDER BY id DESC LIMIT 1 OFFSET ?)", (keep,)
        ).rowcount
        return gone


def select(db: sqlite3.Connection, wanted: LetterFilter) -> list[DeadLetter]:
    """What is kept and wanted, in the order that is wanted."""
    where, values = _where(wanted)
    limit = -1 if wanted.limit is None else wanted.limit
    order = "DESC" if wanted.newest else "ASC"
    found = db.execute(f"SELECT {_COLUMNS} FROM letter {where} ORDER BY id {order} LIMIT ?", (*values, limit))  # noqa: S608
    return [DeadLetter(*row) for row in found]


def _place_of(letter: DeadLetter) -> Place:
    """What a letter is sealed for: also what is listed of it, because its event id decides whether it is sent again."""
    return "letter", letter.destination, letter.id, letter.kind, letter.event_id, letter.at


def _where(wanted: LetterFilter) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("destination = ?", wanted.destination),
        ("kind = ?", wanted.kind),
        ("reason = ?" if wanted.whole_reason else "instr(reason, ?) > 0", wanted.reason),
        ("at >= ?", wanted.since),
        ("at < ?", wanted.until),
        ("event_id = ?", wanted.event_id),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if (wanted_id := wanted.event_or_order_id) is not None:
        # an id that the caller did not choose is the event's name, a colon and the order id
        conditions.append("(event_id = ? OR substr(event_id, ?) = ?)")
        values += [wanted_id, -len(wanted_id) - 1, f":{wanted_id}"]
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), values
