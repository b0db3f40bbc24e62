"""Records that somebody wants stopped while another process holds them: asked for in the file, answered there.

A row names a chunk and which of its records are meant; nothing in it says whose they are. Whoever holds the chunk
settles what it has not sent, and answers with two numbers. What is under way cannot be recalled: its row stays, so
that whoever takes the chunk up after a crash does not send it again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.chunks import DamagedChunk, bits, decode, decode_state, encode, encode_state, is_set
from capi_async.spool.sealing import OpenSealed, Seal
from capi_async.spool.sqlite import damage
from capi_async.spool.sqlite.group import place_of

#: Seconds for which an answer is kept for whoever asked.
KEPT_S: Final = 3_600.0

_outcome = msgspec.msgpack.Decoder(Outcome)
_encode = msgspec.msgpack.encode


class Hit(Struct, frozen=True):
    """A record that was settled where it stood; chunk 0: it was a dead letter."""

    destination: str
    event_id: str
    chunk: int
    at: int
    size: int
    outcome: Outcome


class Asked(Struct, frozen=True):
    """A row that this process has to answer."""

    id: int
    chunk: int
    mask: bytes
    outcome: Outcome

    def __contains__(self, at: int) -> bool:
        return is_set(self.mask, at)


def marked(places: Iterable[int]) -> bytes:
    """A mask with these places set."""
    wanted = set(places)
    return bits([index in wanted for index in range(max(wanted, default=-1) + 1)])


def matching(db: sqlite3.Connection, open_sealed: OpenSealed, chunk: int, matches: Callable[[Record], bool]) -> bytes:
    """A mask of the records in a row that match, settled ones included: their bodies are to leave it, too."""
    try:
        row = damage.whole(db, chunk)
        records = decode(row.destination, open_sealed(row.data, row.sealed, place_of(row.destination, chunk)))
    except (DamagedChunk, ValueError):
        return b""  # whoever leases it reports it
    return bits([bool(record.body) and matches(record) for record in records])


def ask(db: sqlite3.Connection, chunk: int, mask: bytes, outcome: Outcome, now: float) -> int:
    """Ask whoever holds a chunk to stop these records; returns the row's id."""
    row = db.execute(
        "INSERT INTO stop (chunk, mask, outcome, at) VALUES (?, ?, ?, ?)", (chunk, mask, _encode(outcome), now)
    )
    return int(row.lastrowid or 0)


def asked(db: sqlite3.Connection, owner: int) -> list[Asked]:
    """What this process has not answered."""
    found = db.execute(
        "SELECT stop.id, stop.chunk, mask, outcome FROM stop JOIN chunk ON chunk.id = stop.chunk"
        " WHERE stopped IS NULL AND owner = ? ORDER BY stop.id",
        (owner,),
    )
    return [Asked(number, chunk, mask, _outcome.decode(outcome)) for number, chunk, mask, outcome in found]


def answer(db: sqlite3.Connection, answers: Iterable[tuple[int, int, int]]) -> None:
    """Say of rows by id how many of their records were stopped, and how many are under way."""
    db.executemany(
        "UPDATE stop SET stopped = ?, under_way = ? WHERE id = ?",
        [(stopped, under_way, number) for number, stopped, under_way in answers],
    )


def answers(db: sqlite3.Connection, ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Row to what was answered; a row whose chunk is gone is answered, too: nothing was left to stop."""
    found = {}
    for number in ids:
        row = db.execute(
            "SELECT stopped, under_way, chunk.id FROM stop LEFT JOIN chunk ON chunk.id = stop.chunk WHERE stop.id = ?",
            (number,),
        ).fetchone()
        if row is None or (row[0] is None and row[2] is None):
            found[number] = (0, 0)
        elif row[0] is not None:
            found[number] = (row[0], row[1])
    return found


def forget_answers(db: sqlite3.Connection, now: float) -> None:
    """Let go of rows that nobody needs: who asked has read the answer, and nothing is under way."""
    db.execute(
        "DELETE FROM stop WHERE at < ? AND (under_way = 0 OR chunk NOT IN (SELECT id FROM chunk))", (now - KEPT_S,)
    )


def broken(db: sqlite3.Connection) -> frozenset[int]:
    """Chunks that something was asked of and that cannot be read; call it outside of a transaction."""
    rows = db.execute("SELECT DISTINCT chunk FROM stop WHERE stopped IS NULL OR under_way > 0").fetchall()
    found = set()
    for (number,) in rows:
        try:
            damage.whole(db, number)
        except DamagedChunk:
            found.add(number)
    return frozenset(found)


def obey(
    db: sqlite3.Connection,
    seal: Seal,
    open_sealed: OpenSealed,
    owner: int,
    cursors: Mapping[str, int],
    unreadable: Container[int],
) -> list[Hit]:
    """Settle, in the file, what was asked of chunks that nobody has in memory, and answer.

    These are nobody's, or ``owner``'s and behind their destination's cursor. Of an unreadable one nothing is left to
    stop: whoever leases it reports it.
    """
    hits: list[Hit] = []
    rows = db.execute(
        "SELECT stop.id, stop.chunk, mask, outcome, stopped, owner, destination"
        " FROM stop JOIN chunk ON chunk.id = stop.chunk"
        " WHERE owner IN (0, ?) AND (stopped IS NULL OR under_way > 0) ORDER BY stop.id",
        (owner,),
    ).fetchall()
    for number, chunk, mask, outcome, stopped, holder, destination in rows:
        if holder and chunk <= cursors.get(destination, chunk):
            continue
        if chunk in unreadable:
            answer(db, [(number, stopped or 0, 0)])
            continue
        end = _outcome.decode(outcome)
        mine = take_out(db, seal, open_sealed, chunk, partial(_in, mask), end)
        answer(db, [(number, (stopped or 0) + len(mine), 0)])
        hits += mine
    return hits


def _in(mask: bytes, at: int, _record: Record) -> bool:
    return is_set(mask, at)


def take_out(
    db: sqlite3.Connection,
    seal: Seal,
    open_sealed: OpenSealed,
    chunk: int,
    chosen: Callable[[int, Record], bool],
    outcome: Outcome,
) -> list[Hit]:
    """Settle the chosen records of a chunk where they stand, and write the row anew without their bodies.

    The ledger is the caller's affair.
    """
    try:
        row = damage.whole(db, chunk)
        destination = row.destination
        records = decode(destination, open_sealed(row.data, row.sealed, place_of(destination, chunk)))
        was = decode_state(row.state)
    except (DamagedChunk, ValueError):
        return []  # whoever leases it reports it
    dead = [index for index, record in enumerate(records) if record.body and chosen(index, record)]
    if not dead:
        return []
    hits = [
        Hit(destination, records[at].event_id, chunk, at, len(records[at].body), outcome)
        for at in dead
        if not is_set(was.settled, at)
    ]
    gone = {hit.at for hit in hits}
    settled = [is_set(was.settled, index) or index in gone for index in range(len(records))]
    if all(settled):
        for table in ("chunk", "body"):
            db.execute(f"DELETE FROM {table} WHERE id = ?", (chunk,))  # noqa: S608  # one of two constants
        db.execute("DELETE FROM order_key WHERE chunk = ?", (chunk,))
        return hits
    kept: Sequence[Record | None] = [None if done else one for done, one in zip(settled, records, strict=True)]
    name, sealed_data = seal(encode(kept), place_of(destination, chunk))
    was.settled = bits(settled)
    db.execute("UPDATE body SET data = ? WHERE id = ?", (sealed_data, chunk))
    db.execute(
        'UPDATE chunk SET "left" = "left" - ?, size = size - ?, sealed = ?, state = ? WHERE id = ?',
        (len(hits), sum(hit.size for hit in hits), name, encode_state(was), chunk),
    )
    return hits
