"""Dead letters: records whose outcome was dead or uncertain, kept for replay within limits."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from capi_async.outcome import Outcome
from capi_async.spool.base import DeadLetter, LetterFilter, Record
from capi_async.spool.chunks import DamagedChunk, decode, encode

Seal = Callable[[bytes, str], tuple[str, bytes]]
OpenSealed = Callable[[bytes, str, str], bytes]

_COLUMNS = "id, destination, kind, event_id, reason, at, size"


class Letters:
    """The table of dead letters; every method belongs into a transaction of the owned thread."""

    def __init__(self, seal: Seal, open_sealed: OpenSealed) -> None:
        self._seal = seal
        self._open_sealed = open_sealed

    def add(self, db: sqlite3.Connection, letters: Sequence[tuple[Record, Outcome]], now: float) -> None:
        """Keep records that ended without a clear answer."""
        rows = []
        for record, outcome in letters:
            name, data = self._seal(encode([record]), record.destination)
            rows.append(
                (record.destination, outcome.kind, record.event_id, outcome.reason, now, len(record.body), name, data)
            )
        db.executemany(
            "INSERT INTO letter (destination, kind, event_id, reason, at, size, sealed, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def select(self, db: sqlite3.Connection, wanted: LetterFilter) -> list[DeadLetter]:
        """What is kept and wanted, oldest first."""
        where, values = _where(wanted)
        limit = -1 if wanted.limit is None else wanted.limit
        found = db.execute(f"SELECT {_COLUMNS} FROM letter {where} ORDER BY id LIMIT ?", (*values, limit))  # noqa: S608
        return [DeadLetter(*row) for row in found]

    def read(self, db: sqlite3.Connection, ids: Iterable[int]) -> Iterator[tuple[DeadLetter, Record]]:
        """Letters with their records."""
        for number in ids:
            row = db.execute(f"SELECT {_COLUMNS}, sealed, data FROM letter WHERE id = ?", (number,)).fetchone()  # noqa: S608
            if row is not None:
                letter = DeadLetter(*row[:-2])
                data = self._open_sealed(row[-1], row[-2], letter.destination)
                yield letter, decode(letter.destination, data)[0]

    def remove(self, db: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
        """Keep these no longer; what the ledger says of them is the caller's affair."""
        db.executemany("DELETE FROM letter WHERE id = ?", [(letter.id,) for letter in letters])

    def settle_matching(
        self, db: sqlite3.Connection, matches: Callable[[Record], bool], kind: str, *, after: int, limit: int
    ) -> tuple[Counter[tuple[str, str]], int]:
        """Remove those that match among ``limit`` behind ``after``; how the ledger changes, and the last, 0 at the end.

        One that cannot be read is left alone.
        """
        counts: Counter[tuple[str, str]] = Counter()
        last = 0
        for (last,) in db.execute("SELECT id FROM letter WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall():
            with suppress(DamagedChunk):
                for letter, record in self.read(db, (last,)):
                    if matches(record):
                        self.remove(db, (letter,))
                        counts[letter.destination, letter.kind] -= 1
                        counts[letter.destination, kind] += 1
        return counts, last

    def prune(self, db: sqlite3.Connection, *, before: float, keep: int) -> int:
        """Let go of what is older than ``before``, and of the oldest beyond ``keep``; the ledger keeps its counts."""
        gone = db.execute("DELETE FROM letter WHERE at < ?", (before,)).rowcount
        gone += db.execute(
            "DELETE FROM letter WHERE id <= (SELECT id FROM letter ORDER BY id DESC LIMIT 1 OFFSET ?)", (keep,)
        ).rowcount
        return gone


def _where(wanted: LetterFilter) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("destination = ?", wanted.destination),
        ("kind = ?", wanted.kind),
        ("instr(reason, ?) > 0", wanted.reason),
        ("at >= ?", wanted.since),
        ("at < ?", wanted.until),
        ("event_id = ?", wanted.event_id),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return ("WHERE " + " AND ".join(conditions) if conditions else ""), values
