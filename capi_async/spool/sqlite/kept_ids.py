"""Ids that are kept beyond the delivery of their events: of accepted events, and of delivered requests.

Each table is made when the first id is kept: it belongs to no form of the file, and a file that lost it lost no event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest

_ACCEPTED: Final = "CREATE TABLE IF NOT EXISTS accepted (event_id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID"

_SENT: Final = """CREATE TABLE IF NOT EXISTS sent (
    destination TEXT NOT NULL, at REAL NOT NULL, trace TEXT NOT NULL, account TEXT NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (destination, at, trace)) WITHOUT ROWID"""
_EXISTS: Final = "SELECT 1 FROM sqlite_master WHERE name = ?"
_NEWEST: Final = "SELECT trace, account, at, events FROM sent WHERE destination = ? AND at >= ? ORDER BY at DESC"
_OVER: Final = "SELECT at FROM sent WHERE destination = ? ORDER BY at DESC LIMIT 1 OFFSET ?"


# Accepted events.


def add_accepted(db: sqlite3.Connection, event_ids: Iterable[str], now: float) -> None:
    """Keep these, in the transaction that accepts them."""
    add_accepted_at(db, dict.fromkeys(event_ids, now))


def add_accepted_at(db: sqlite3.Connection, moments: Mapping[str, float]) -> None:
    """Keep the ids of events, each with the seconds since the epoch at which it was accepted."""
    db.execute(_ACCEPTED)
    db.executemany("INSERT OR IGNORE INTO accepted (event_id, at) VALUES (?, ?)", moments.items())


def find_accepted(db: sqlite3.Connection, event_ids: Sequence[str]) -> frozenset[str]:
    """Those of them that are kept."""
    if not _exists(db, "accepted"):
        return frozenset()
    found = (
        db.execute("SELECT event_id FROM accepted WHERE event_id = ?", (event_id,)).fetchone() for event_id in event_ids
    )
    return frozenset(row[0] for row in found if row is not None)


def prune_accepted(db: sqlite3.Connection, *, before: float) -> None:
    """Delete those that were accepted before then."""
    if _exists(db, "accepted"):
        db.execute("DELETE FROM accepted WHERE at < ?", (before,))


# Delivered requests.


def add_sent(db: sqlite3.Connection, destination: str, sent: Sequence[SentRequest]) -> None:
    """Keep these."""
    db.execute(_SENT)
    db.executemany(
        "INSERT OR IGNORE INTO sent (destination, at, trace, account, events) VALUES (?, ?, ?, ?, ?)",
        [(destination, one.at, one.trace_id, one.account, one.events) for one in sent],
    )


def find_sent(db: sqlite3.Connection, destination: str, since: float) -> list[SentRequest]:
    """Those that are kept from then on, newest first."""
    if not _exists(db, "sent"):
        return []
    return [SentRequest(*row) for row in db.execute(_NEWEST, (destination, since))][:SENT_MAX]


def prune_sent(db: sqlite3.Connection, now: float) -> None:
    """Delete those that are too old, and the oldest of those that are too many."""
    if not _exists(db, "sent"):
        return
    db.execute("DELETE FROM sent WHERE at < ?", (now - SENT_DAYS * DAY,))
    for (destination,) in db.execute("SELECT DISTINCT destination FROM sent").fetchall():
        over = db.execute(_OVER, (destination, SENT_MAX)).fetchone()
        if over is not None:
            db.execute("DELETE FROM sent WHERE destination = ? AND at <= ?", (destination, over[0]))


def _exists(db: sqlite3.Connection, table: str) -> bool:
    return db.execute(_EXISTS, (table,)).fetchone() is not None
