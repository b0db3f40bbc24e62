"""Ids of delivered requests, kept for the platforms that tell later what became of them.

The table is made when the first of them is kept: it belongs to no form of the file, and a file that lost it lost no
event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest

_TABLE: Final = """CREATE TABLE IF NOT EXISTS sent (
    destination TEXT NOT NULL, at REAL NOT NULL, trace TEXT NOT NULL, account TEXT NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (destination, at, trace)) WITHOUT ROWID"""
_EXISTS: Final = "SELECT 1 FROM sqlite_master WHERE name = 'sent'"
_NEWEST: Final = "SELECT trace, account, at, events FROM sent WHERE destination = ? AND at >= ? ORDER BY at DESC"
_OVER: Final = "SELECT at FROM sent WHERE destination = ? ORDER BY at DESC LIMIT 1 OFFSET ?"


def add(db: sqlite3.Connection, destination: str, sent: Sequence[SentRequest]) -> None:
    """Keep these."""
    db.execute(_TABLE)
    db.executemany(
        "INSERT OR IGNORE INTO sent (destination, at, trace, account, events) VALUES (?, ?, ?, ?, ?)",
        [(destination, one.at, one.trace_id, one.account, one.events) for one in sent],
    )


def find(db: sqlite3.Connection, destination: str, since: float) -> list[SentRequest]:
    """Those that are kept from then on, newest first."""
    if db.execute(_EXISTS).fetchone() is None:
        return []
    return [SentRequest(*row) for row in db.execute(_NEWEST, (destination, since))][:SENT_MAX]


def prune(db: sqlite3.Connection, now: float) -> None:
    """Let the old ones go, and those that are too many."""
    if db.execute(_EXISTS).fetchone() is None:
        return
    db.execute("DELETE FROM sent WHERE at < ?", (now - SENT_DAYS * DAY,))
    for (destination,) in db.execute("SELECT DISTINCT destination FROM sent").fetchall():
        over = db.execute(_OVER, (destination, SENT_MAX)).fetchone()
        if over is not None:
            db.execute("DELETE FROM sent WHERE destination = ? AND at <= ?", (destination, over[0]))
