"""Which events were accepted, kept beyond their delivery. The table is made when the first of them is remembered."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_TABLE: Final = "CREATE TABLE IF NOT EXISTS accepted (event_id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID"


def add(db: sqlite3.Connection, event_ids: Iterable[str], now: float) -> None:
    """Remember these, in the transaction that accepts them."""
    add_at(db, dict.fromkeys(event_ids, now))


def add_at(db: sqlite3.Connection, moments: Mapping[str, float]) -> None:
    """Remember events, each with the time at which it was accepted."""
    db.execute(_TABLE)
    db.executemany("INSERT OR IGNORE INTO accepted (event_id, at) VALUES (?, ?)", moments.items())


def find(db: sqlite3.Connection, event_ids: Sequence[str]) -> frozenset[str]:
    """Those of them that are remembered."""
    if not _exists(db):
        return frozenset()
    found = (
        db.execute("SELECT event_id FROM accepted WHERE event_id = ?", (event_id,)).fetchone() for event_id in event_ids
    )
    return frozenset(row[0] for row in found if row is not None)


def prune(db: sqlite3.Connection, *, before: float) -> None:
    """Forget those that were accepted before then."""
    if _exists(db):
        db.execute("DELETE FROM accepted WHERE at < ?", (before,))


def _exists(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'accepted'").fetchone() is not None
