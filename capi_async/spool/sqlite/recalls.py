"""Recalls: records that are to be erased or withdrawn before they are sent, also those that another process holds.

A process that erases or withdraws records settles, in the file, those that no process has in memory. For the others
it writes a recall: a row that names a chunk and which of its records are meant, but not the person.
The process that holds the chunk settles what it has not sent, and answers with two numbers: how many it stopped, and
how many are under way. What is under way cannot be stopped. Its recall stays in the file, so that a process that takes
the chunk over after a crash does not send it again.

The functions of the first half work on the file; they block, and belong into the spool's own thread. :class:`Recalls`
belongs into the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.spool.base import OnSettled, Record, cut_short
from capi_async.spool.chunks import DamagedChunk, bits, decode_state, encode, encode_state, is_set
from capi_async.spool.sqlite.committer import Committer
from capi_async.spool.sqlite.queue import Queues
from capi_async.spool.sqlite.rows import Chunk, read_stored
from capi_async.spool.sqlite.schema import add_to_ledger, place_of
from capi_async.spool.sqlite.store import Store

logger = logging.getLogger(__name__)

#: Seconds that other processes have to answer, and seconds between two readings of their answers.
ANSWER_S: Final = 5.0
_LOOK_S: Final = 0.05

#: Seconds for which an answered recall is kept for the process that wrote it.
KEPT_S: Final = 3_600.0

#: Chunks that are read with one call: the thread has other work, too.
_ROWS_A_TURN: Final = 64

_OPEN: Final = "(stopped IS NULL OR under_way > 0)"

_outcome = msgspec.msgpack.Decoder(Outcome)
_encode = msgspec.msgpack.encode


class Erased(Struct, frozen=True):
    """A record that was settled in the file, where no process had it in memory."""

    destination: str
    event_id: str
    chunk: int
    at: int
    size: int
    outcome: Outcome


class Recall(Struct, frozen=True):
    """A recall that this process has to answer: the records of a chunk that its mask names end with the outcome."""

    id: int
    chunk: int
    mask: bytes
    outcome: Outcome

    def __contains__(self, at: int) -> bool:
        return is_set(self.mask, at)


def scan(store: Store, matches: Callable[[Record], bool], after: int) -> tuple[list[int], int]:
    """Chunks after ``after``, of any owner, that hold a match; and the last one read, 0 at the end."""
    db = store.ready()
    rows = db.execute("SELECT id FROM chunk WHERE id > ? ORDER BY id LIMIT ?", (after, _ROWS_A_TURN)).fetchall()
    found: list[int] = []
    last = 0
    for (last,) in rows:
        try:
            records = store.rows.records_of(read_stored(db, last), last)
        except (DamagedChunk, ValueError):
            continue  # the process that leases it reports it
        if any(record.body and matches(record) for record in records):
            found.append(last)
        time.sleep(0)  # lets the event loop's thread run, too
    return found, last


def erase_in_file(
    store: Store,
    matches: Callable[[Record], bool],
    outcome: Outcome,
    chunks: Sequence[int],
    cursors: Mapping[str, int],
    under_way: Mapping[int, Sequence[int]],
) -> tuple[list[Erased], dict[int, str]]:
    """Settle what matches in these chunks and no process has in memory; write recalls for the rest.

    Args:
        cursors: Destination to the chunk after which those of this process are in the file only.
        under_way: Chunks of this process to the records in them that cannot be stopped any more.

    Returns the records settled, and the ids of the recalls that other processes will answer, with their destinations.
    """
    erased: list[Erased] = []
    recalls: dict[int, str] = {}
    with store.transaction(sync=True) as db:
        store.space.overwrite(db, True)
        for number in chunks:
            found = db.execute("SELECT owner, destination FROM chunk WHERE id = ?", (number,)).fetchone()
            if found is None:
                continue
            owner, destination = found
            if owner == 0 or (owner == store.owner and number > cursors.get(destination, number)):
                erased += settle_in_file(store, db, number, lambda _at, record: matches(record), outcome)
            elif owner == store.owner:
                if places := under_way.get(number):
                    recall = _insert(store, db, number, _mask(places), outcome)
                    _answer(db, [(recall, 0, len(places))])
            else:
                recalls[_insert(store, db, number, _matching(store, db, number, matches), outcome)] = destination
        _count(db, erased)
    if recalls:
        store.signal_recall()
    return erased, recalls


def apply_on_disk(store: Store, cursors: Mapping[str, int]) -> list[Erased]:
    """Settle, in the file, what was recalled of chunks that no process has in memory, and answer.

    These are owned by no process, or by this one and after their destination's cursor. Of a chunk that cannot be
    read nothing can be stopped: the process that leases it reports it.
    """
    db = store.ready()
    if not db.execute(f"SELECT 1 FROM stop WHERE {_OPEN} LIMIT 1").fetchone():  # noqa: S608
        return []
    unreadable = _unreadable(db)
    with store.transaction(sync=True) as db:
        store.space.overwrite(db, True)
        erased = _apply_on_disk(store, db, cursors, unreadable)
        _count(db, erased)
    return erased


def _apply_on_disk(
    store: Store, db: sqlite3.Connection, cursors: Mapping[str, int], unreadable: Container[int]
) -> list[Erased]:
    erased: list[Erased] = []
    rows = db.execute(
        "SELECT stop.id, stop.chunk, mask, outcome, stopped, owner, destination"  # noqa: S608
        f" FROM stop JOIN chunk ON chunk.id = stop.chunk WHERE owner IN (0, ?) AND {_OPEN} ORDER BY stop.id",
        (store.owner,),
    ).fetchall()
    for number, chunk, mask, outcome, stopped, owner, destination in rows:
        if owner and chunk <= cursors.get(destination, chunk):
            continue
        if chunk in unreadable:
            _answer(db, [(number, stopped or 0, 0)])
            continue
        found = settle_in_file(store, db, chunk, partial(_is_named, mask), _outcome.decode(outcome))
        _answer(db, [(number, (stopped or 0) + len(found), 0)])
        erased += found
    return erased


def _is_named(mask: bytes, at: int, _record: Record) -> bool:
    return is_set(mask, at)


def _unreadable(db: sqlite3.Connection) -> frozenset[int]:
    """Recalled chunks that cannot be read; call it outside of a transaction, which a broken page would spoil."""
    found = set()
    for (number,) in db.execute(f"SELECT DISTINCT chunk FROM stop WHERE {_OPEN}").fetchall():  # noqa: S608
        try:
            read_stored(db, number)
        except DamagedChunk:
            found.add(number)
    return frozenset(found)


def settle_in_file(
    store: Store, db: sqlite3.Connection, chunk: int, chosen: Callable[[int, Record], bool], outcome: Outcome
) -> list[Erased]:
    """Settle the chosen records of a chunk in the file, and rewrite the row without their bodies.

    The caller changes the ledger.
    """
    try:
        row = read_stored(db, chunk)
        records = store.rows.records_of(row, chunk)
        was = decode_state(row.state)
    except (DamagedChunk, ValueError):
        return []  # the process that leases it reports it
    destination = row.destination
    wanted = [index for index, record in enumerate(records) if record.body and chosen(index, record)]
    if not wanted:
        return []
    erased = [
        Erased(destination, records[at].event_id, chunk, at, len(records[at].body), outcome)
        for at in wanted
        if not is_set(was.settled, at)
    ]
    gone = {one.at for one in erased}
    settled = [is_set(was.settled, index) or index in gone for index in range(len(records))]
    if all(settled):
        for table in ("chunk", "body"):
            db.execute(f"DELETE FROM {table} WHERE id = ?", (chunk,))  # noqa: S608  # one of two constants
        db.execute("DELETE FROM order_key WHERE chunk = ?", (chunk,))
        return erased
    kept: Sequence[Record | None] = [None if done else one for done, one in zip(settled, records, strict=True)]
    name, sealed_data = store.seal(encode(kept), place_of(destination, chunk))
    was.settled = bits(settled)
    db.execute("UPDATE body SET data = ? WHERE id = ?", (sealed_data, chunk))
    db.execute(
        'UPDATE chunk SET "left" = "left" - ?, size = size - ?, sealed = ?, state = ? WHERE id = ?',
        (len(erased), sum(one.size for one in erased), name, encode_state(was), chunk),
    )
    return erased


def recalls_for(store: Store) -> list[Recall]:
    """The recalls of what this process holds that it has not answered."""
    found = store.ready().execute(
        "SELECT stop.id, stop.chunk, mask, outcome FROM stop JOIN chunk ON chunk.id = stop.chunk"
        " WHERE stopped IS NULL AND owner = ? ORDER BY stop.id",
        (store.owner,),
    )
    return [Recall(number, chunk, mask, _outcome.decode(outcome)) for number, chunk, mask, outcome in found]


def answer(store: Store, answers: Sequence[tuple[int, int, int]]) -> None:
    """Note of recalls, by id, how many of their records were stopped, and how many are under way."""
    with store.transaction(sync=True) as db:
        _answer(db, answers)


def answers_to(store: Store, ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Recalls, by id, to their answers; one whose chunk does not exist any more had nothing left to stop."""
    db = store.ready()
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


def delete_answered(store: Store) -> None:
    """Delete recalls that no process needs: the answer was read long ago, and nothing is under way."""
    with store.transaction(sync=False) as db:
        db.execute(
            "DELETE FROM stop WHERE at < ? AND (under_way = 0 OR chunk NOT IN (SELECT id FROM chunk))",
            (store.wall() - KEPT_S,),
        )


def _mask(places: Iterable[int]) -> bytes:
    """A mask with these places set."""
    wanted = set(places)
    return bits([index in wanted for index in range(max(wanted, default=-1) + 1)])


def _matching(store: Store, db: sqlite3.Connection, chunk: int, matches: Callable[[Record], bool]) -> bytes:
    """A mask of the records in a chunk that match, settled ones included: their bodies must leave the row, too."""
    try:
        records = store.rows.records_of(read_stored(db, chunk), chunk)
    except (DamagedChunk, ValueError):
        return b""  # the process that leases it reports it
    return bits([bool(record.body) and matches(record) for record in records])


def _insert(store: Store, db: sqlite3.Connection, chunk: int, mask: bytes, outcome: Outcome) -> int:
    """Write a recall of these records of a chunk; returns its id."""
    row = db.execute(
        "INSERT INTO stop (chunk, mask, outcome, at) VALUES (?, ?, ?, ?)",
        (chunk, mask, _encode(outcome), store.wall()),
    )
    return int(row.lastrowid or 0)


def _answer(db: sqlite3.Connection, answers: Iterable[tuple[int, int, int]]) -> None:
    db.executemany(
        "UPDATE stop SET stopped = ?, under_way = ? WHERE id = ?",
        [(stopped, under_way, number) for number, stopped, under_way in answers],
    )


def _count(db: sqlite3.Connection, erased: Iterable[Erased]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for one in erased:
        counts[one.destination, one.outcome.kind] += 1
        counts[one.destination, "pending"] -= 1
        counts[one.destination, "bytes"] -= one.size
    add_to_ledger(db, counts)


class Recalls:
    """Erases and withdraws records for one process's spool, and applies what other processes recall.

    Args:
        call: Runs a function in the thread of the store.
        writer: Gives the committer, which writes the changes.
        recall: Makes the workers release what they have not sent.
        settled: Called with everything that ends here, because no worker sees it.
    """

    def __init__(
        self,
        store: Store,
        queues: Queues,
        *,
        wall: Callable[[], float],
        call: Callable[..., Awaitable[Any]],
        writer: Callable[[], Committer],
        recall: Callable[[], Awaitable[None]],
        settled: OnSettled,
    ) -> None:
        self._store = store
        self._queues = queues
        self._wall = wall
        self._call = call
        self._writer = writer
        self._recall = recall
        self._settled = settled
        self._recall_count = 0
        #: Held while rows move between file and memory, and while their place must not change.
        self.moving = asyncio.Lock()

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.settle_matching`."""
        found: Counter[str] = Counter()
        rows = await self._scan(matches)
        async with self.moving:
            await self._recall()  # until the next await no worker leases anything
            under_way: dict[int, list[int]] = {}
            waiting: list[Record] = []
            for number in rows:
                if (chunk := self._queues.chunks.get(number)) is not None:
                    hits = [record for record in chunk.records if record is not None and matches(record)]
                    waiting += self._mark_recalled(chunk, hits, outcome)
                    under_way[number] = [record.at for record in hits if record.epoch > 0]
            await self._end([(record, outcome) for record in waiting], waiting=True)
            found.update(record.destination for record in waiting)
            erased, requests = await self._call(
                erase_in_file, self._store, matches, outcome, rows, self._cursors(), under_way
            )
            self._note_erased(erased)
            found.update(hit.destination for hit in erased)
        last = 0
        while True:
            letters, last = await self._call(self._store.erase_letters, matches, outcome.kind, last)
            found += letters
            if not last:
                break
        found += await self._answers(requests)
        if outcome.kind == "forgotten":
            await self.erase_traces(patience_s=1.0)
        return dict(found)

    async def _scan(self, matches: Callable[[Record], bool]) -> list[int]:
        """Rows that hold a match; each call reads a few only, because other work waits for the thread."""
        rows: list[int] = []
        last = 0
        while True:
            some, last = await self._call(scan, self._store, matches, last)
            rows += some
            if not last:
                return rows

    def _mark_recalled(self, chunk: Chunk, hits: Sequence[Record], outcome: Outcome) -> list[Record]:
        """Return those records of a chunk that can be settled at once; leased ones are settled when they come back."""
        if any(record.epoch <= 0 for record in hits):
            chunk.erases = chunk.touched = True
            self._writer().touch(chunk)
        for record in hits:
            if record.epoch > 0:
                self._queues.erase_on_return[id(record)] = record, outcome
        return [record for record in hits if record.epoch == 0]

    async def end_recalled(self, records: Sequence[Record]) -> bool:
        """Settle recalled records that were released without an answer, or not sent; whether there was any."""
        ended = [pair for record in records if (pair := self._queues.erase_on_return.get(id(record))) is not None]
        if ended:
            await self._end(ended)
        return bool(ended)

    async def _end(self, ended: Sequence[tuple[Record, Outcome]], *, waiting: bool = False) -> None:
        """Settle records that no worker holds; ``waiting``: they wait in the queues of their destinations."""
        settled: list[tuple[Sequence[Record], Outcome]] = []
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for record, outcome in ended:
            end = cut_short(record, outcome, self._wall())
            self._queues.end([record], end)
            settled.append(([record], end))
            ends.setdefault(record.destination, []).append((record.event_id, end))
        if waiting:
            for name in ends:
                self._queues.by_destination[name].drop_settled()
        await self._writer().settled(settled)
        self._tell(ends)

    def _note_erased(self, hits: Iterable[Erased]) -> None:
        """Note in memory what was settled in the file."""
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for hit in hits:
            self._queues.note_erased(hit.destination, hit.chunk, hit.at, hit.size, hit.outcome)
            ends.setdefault(hit.destination, []).append((hit.event_id, hit.outcome))
        self._tell(ends)

    def _tell(self, ends: Mapping[str, Sequence[tuple[str, Outcome]]]) -> None:
        for name, pairs in ends.items():
            self._settled(name, [event_id for event_id, _ in pairs], [end for _, end in pairs])

    def _cursors(self) -> dict[str, int]:
        return {name: queue.cursor for name, queue in self._queues.by_destination.items() if queue.unloaded}

    def recalled(self) -> bool:
        """Whether another process has signalled a recall since the recalls were read."""
        return self._store.recall_count() != self._recall_count

    async def apply_recalls_on_disk(self) -> None:
        """Settle, in the file, what was recalled and no process has in memory."""
        async with self.moving:
            self._note_erased(await self._call(apply_on_disk, self._store, self._cursors()))

    async def apply_recalls(self) -> None:
        """Settle what other processes recall of what this one holds, and answer them."""
        recall_count = self._store.recall_count()
        await self.apply_recalls_on_disk()
        recalls = await self._call(recalls_for, self._store)
        if not recalls:
            self._recall_count = recall_count
            return
        async with self.moving:
            await self._recall()  # until the next await no worker leases anything
            answers: list[tuple[int, int, int]] = []
            ended: dict[int, tuple[Record, Outcome]] = {}
            for one in recalls:
                chunk = self._queues.chunks.get(one.chunk)
                if chunk is None:
                    recall_count = -1  # its row was stored, or was fetched, a moment ago: look again
                    continue
                hits = [record for record in chunk.records if record is not None and record.at in one]
                waiting = [
                    record for record in self._mark_recalled(chunk, hits, one.outcome) if id(record) not in ended
                ]
                ended |= {id(record): (record, one.outcome) for record in waiting}
                answers.append((one.id, len(waiting), sum(record.epoch > 0 for record in hits)))
            await self._end(list(ended.values()), waiting=True)
            if answers:
                await self._call(answer, self._store, answers)
        self._recall_count = recall_count
        if any(one.outcome.kind == "forgotten" for one in recalls):
            await self.erase_traces()

    async def erase_traces(self, *, patience_s: float = 0.0) -> None:
        """Overwrite what was deleted; what other processes prevent for ``patience_s`` is tried again later.

        SQLite does not wait while another process makes a checkpoint, and every process makes one now and then.
        """
        until = time.monotonic() + patience_s
        while True:
            self._queues.has_traces = False
            self._queues.has_traces = not await self._call(self._store.erase_traces) or self._queues.has_traces
            if not self._queues.has_traces or time.monotonic() >= until:
                break
            await asyncio.sleep(_LOOK_S)

    async def _answers(self, requests: Mapping[int, str]) -> Counter[str]:
        """How many records other processes stopped; one that answers late stops them before it sends anything."""
        found: Counter[str] = Counter()
        waiting = dict(requests)
        under_way = 0
        until = time.monotonic() + ANSWER_S
        while waiting:
            await self.apply_recalls_on_disk()  # what a process held that died meanwhile belongs to no process
            for number, (stopped, moving) in (await self._call(answers_to, self._store, tuple(waiting))).items():
                found[waiting.pop(number)] += stopped
                under_way += moving
            if time.monotonic() >= until:
                break
            if waiting:
                await asyncio.sleep(_LOOK_S)
        if under_way:
            logger.warning(
                "spool: %s: %d records that were under way could not be recalled, and may have been sent: ask the "
                "platforms to delete them, too",
                self._store.path, under_way, extra={"records": under_way},
            )  # fmt: skip
        if waiting:
            logger.warning(
                "spool: %s: %d requests to stop sending events were not answered by the process that holds them (is it "
                "suspended, or in a debugger?); it stops these events before it sends anything again",
                self._store.path, len(waiting), extra={"rows": len(waiting)},
            )  # fmt: skip
        return found
