"""Looks into the rows that no process has in memory: for what must be forgotten or stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from msgspec import Struct

from capi_async.spool.base import Record
from capi_async.spool.sqlite.chunks import DamagedChunk, bits, decode, decode_state, encode, encode_state, is_set

Seal = Callable[[bytes, str], tuple[str, bytes]]
OpenSealed = Callable[[bytes, str, str], bytes]


class Hit(Struct, frozen=True):
    """A record that was settled where it stood; chunk 0: it was a dead letter."""

    destination: str
    event_id: str
    chunk: int
    at: int
    size: int


def sweep(
    db: sqlite3.Connection,
    seal: Seal,
    open_sealed: OpenSealed,
    matches: Callable[[Record], bool],
    owner: int,
    cursors: Mapping[str, int],
) -> list[Hit]:
    """Take every record that matches out of the rows that are nobody's, or ``owner``'s and behind a cursor.

    A row that still holds a settled record that matches is written anew without it. The ledger is the caller's
    affair.
    """
    hits: list[Hit] = []
    found = db.execute("SELECT id, owner, destination FROM chunk WHERE owner IN (0, ?)", (owner,)).fetchall()
    for number, holder, destination in found:
        if holder and number <= cursors.get(destination, number):
            continue
        sealed, state, data = db.execute(
            "SELECT sealed, state, data FROM chunk JOIN body USING (id) WHERE chunk.id = ?", (number,)
        ).fetchone()
        try:
            records = decode(destination, open_sealed(data, sealed, destination))
            was = decode_state(state)
        except (DamagedChunk, ValueError):
            continue  # whoever leases it reports it
        dead = [index for index, record in enumerate(records) if record.body and matches(record)]
        if not dead:
            continue
        mine = [
            Hit(destination, records[at].event_id, number, at, len(records[at].body))
            for at in dead
            if not is_set(was.settled, at)
        ]
        gone = {hit.at for hit in mine}
        settled = [is_set(was.settled, index) or index in gone for index in range(len(records))]
        hits += mine
        if all(settled):
            for table in ("chunk", "body"):
                db.execute(f"DELETE FROM {table} WHERE id = ?", (number,))  # noqa: S608  # one of two constants
            db.execute("DELETE FROM order_key WHERE chunk = ?", (number,))
            continue
        kept = [None if done else record for done, record in zip(settled, records, strict=True)]
        name, sealed_data = seal(encode(kept), destination)
        was.settled = bits(settled)
        db.execute("UPDATE body SET data = ? WHERE id = ?", (sealed_data, number))
        db.execute(
            'UPDATE chunk SET "left" = "left" - ?, size = size - ?, sealed = ?, state = ? WHERE id = ?',
            (len(mine), sum(hit.size for hit in mine), name, encode_state(was), number),
        )
    return hits
