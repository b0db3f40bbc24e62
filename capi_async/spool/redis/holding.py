"""What one process holds of the streams: entries read or taken over, and what is stored about them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import (
    KEPT,
    Record,
    cut_short,
)
from capi_async.spool.chunks import DamagedChunk
from capi_async.spool.cipher import UnknownKey
from capi_async.spool.redis import stops
from capi_async.spool.redis.entry import (
    Entry,
    fields_of,
    read,
    take,
)
from capi_async.spool.redis.line import Line, moment
from capi_async.spool.redis.link import Away, Emptied, Link
from capi_async.spool.redis.reach import Reach
from capi_async.spool.redis.scripts import ADOPT, GIVE_BACK
from capi_async.spool.waiting import SETTLED

logger = logging.getLogger(__name__)


#: Entries that are read, or taken over, with one command; and bytes, as far as they can be guessed.
_MAX_READ: Final = 64
#: Entries stored with one script: Redis does nothing else meanwhile.
_MAX_SAVE: Final = 64
#: Who holds what nobody holds.
_NOBODY: Final = "nobody"


class Holding(Reach):
    """Reads entries, ends records, and stores what happens to them."""

    async def _fetch(self, line: Line, wanted: int) -> bool:
        """Read what nobody has, those first whose holder is gone; False if Redis is away."""
        if self._link is None or self._clock.monotonic() < self._retry_at:
            return False
        try:
            if line.orphans:
                line.orphans = False
                before = len(line.entries)
                line.orphans = await self._adopt(self._link, line) or line.orphans
                if len(line.entries) > before:
                    await self._heed(line)
            else:
                await self._read(self._link, line, wanted)
        except Emptied:
            await self._begin_anew(self._link)
        except Away as error:
            self._lost_sight(error)
            return False
        self._seen()
        return True

    async def _read(self, link: Link, line: Line, wanted: int) -> None:
        number = max(1, min(_MAX_READ, round(wanted / line.size_of)))
        stream = self._keys.of(line.name).stream
        # what is appended from here on is news again
        line.unread = False
        found = await link.call("XREADGROUP", "GROUP", "w", self._me, "COUNT", number, "STREAMS", stream, ">")
        pairs = list(found.items()) if isinstance(found, dict) else found or []
        rows = pairs[0][1] if pairs else []
        if rows and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], list | tuple):
            rows = rows[0]
        entered = 0
        for raw, flat in rows:
            entered += self._enter(line, raw.decode(), fields_of(flat), epoch=1)
        if rows:
            line.size_of = max(1.0, 0.5 * line.size_of + 0.5 * entered / len(rows))
            line.read_to = max(line.read_to, moment(rows[-1][0].decode()))
            line.others_took(line.read_to)
        line.unread = line.unread or len(rows) == number

    async def _adopt(self, link: Link, line: Line, *, but: str = "") -> bool:
        """Take over what the dead held; whether there may be more."""
        keys = self._keys.of(line.name)
        found = await link.run(
            ADOPT, [keys.stream, self._keys.workers, keys.state], [self._me, self._lease_ms(), _MAX_READ, but]
        )
        for raw, flat, epoch, state, version, tried in found:
            number = raw.decode()
            stale = line.entries.get(number)
            if stale is not None:  # this process was thought dead in between
                line.lose(stale)
            self._enter(
                line,
                number,
                fields_of(flat),
                epoch=int(epoch),
                state=state,
                version=int(version or 0),
                tried_at=float(tried or 0.0),
            )
        return len(found) == _MAX_READ

    def _enter(self, line: Line, number: str, fields: Mapping[bytes, bytes], **what: Any) -> int:
        """Hold an entry; how many records that are."""
        known = line.recall(fields[b"u"].decode() if b"u" in fields else number)
        whole = known if known and isinstance(known[0], Record) else None
        try:
            entry = read(line.name, number, fields, self._open_sealed, mine=whole, **what)
        except (DamagedChunk, ValueError, UnknownKey, KeyError) as error:
            self._bury(line, number, fields, what.get("epoch", 1), error)
            return 0
        if known and whole is None:
            for record in entry.records:
                if record is not None and record.at < len(known):
                    record.receipt = known[record.at]
        line.enter(entry, wall=self._clock.wall(), monotonic=self._clock.monotonic())
        return entry.left

    def _bury(self, line: Line, number: str, fields: Mapping[bytes, bytes], epoch: int, error: Exception) -> None:
        """An entry that cannot be read is kept where it is, and nobody reads it again."""
        if isinstance(error, UnknownKey):
            logger.error(
                "stored events are encrypted with another key", extra={"destination": line.name, "fix": "add the key"}
            )
            return  # it stays with this process until it ends; with the key, the next one reads it
        size, records = int(fields.get(b"b", 0)), int(fields.get(b"n", 0))
        logger.error("stored events are damaged", extra={"destination": line.name, "events": records})
        entry = Entry(line.name, number, [], epoch=epoch, key=fields.get(b"k", b"").decode())
        entry.counts, entry.freed = {"dead": records}, size
        line.entries[number] = entry
        line.dirty[number] = entry
        line.work.set()

    async def _give_back(self, link: Link, line: Line, entries: Sequence[Entry], to: str = _NOBODY) -> None:
        """These are for whoever comes next."""
        keys = self._keys.of(line.name)
        held = [entry.id for entry in entries if not entry.lost]
        for start in range(0, len(held), 500):
            await link.run(GIVE_BACK, [keys.stream, keys.bell], [self._me, to, *held[start : start + 500]])
        line.part(entries)

    async def _heed(self, line: Line) -> None:
        """End what others want stopped of what is held here; what is under way, unless its answer comes."""
        of = self._keys.of(line.name)
        wanted = await stops.asked(self._ask, of, line.entries)
        if not wanted:
            return
        # what lingers in a worker is not under way
        await self._recall()
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for number, (places, outcome) in wanted.items():
            entry = line.entries.get(number)
            if entry is None:
                continue
            meant = [record for record in entry.records if record is not None and record.at in places]
            ends[number] = self._settle_entry(line, entry, meant, outcome)
        line.drop_settled()
        await self._stored(line)
        for number, some in ends.items():
            if some:
                self._settled(line.name, [event_id for event_id, _ in some], [end for _, end in some])
            await stops.answer(self._ask, of, number, len(some))

    def _settle_entry(
        self, line: Line, entry: Entry, hits: Sequence[Record], outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        if not hits:
            return []
        ends: list[tuple[str, Outcome]] = []
        now = self._clock.wall()
        entry.scrub = True
        line.dirty[entry.id] = entry
        for record in hits:
            if record.epoch > 0:
                line.doomed[id(record)] = (record, outcome)
            elif record.epoch == 0:
                end = cut_short(record, outcome, now)
                self._end(line, [record], end)
                ends.append((record.event_id, end))
        return ends

    def _end(self, line: Line, records: Sequence[Record], outcome: Outcome) -> None:
        """These are settled, as far as this process is concerned; Redis follows."""
        kind = outcome.kind
        kept = kind in KEPT
        entry: Any = None
        counts: dict[str, int] = {}
        for record in records:
            if record.chunk is not entry:
                entry = record.chunk
                line.dirty[entry.id] = entry
                counts = entry.counts
            record.epoch = SETTLED
            size = len(record.body)
            entry.left -= 1
            entry.size -= size
            entry.freed += size
            counts[kind] = counts.get(kind, 0) + 1
            if kept and not (line.doomed and id(record) in line.doomed):
                entry.letters.append((record, outcome))
            if line.doomed:
                line.doomed.pop(id(record), None)
        line.held -= len(records)
        line.told.append((records, outcome))
        line.work.set()

    def _end_doomed(self, line: Line, records: Sequence[Record]) -> bool:
        """End those that were to be settled while they were leased; whether there was any."""
        now = self._clock.wall()
        ended = [pair for record in records if (pair := line.doomed.pop(id(record), None)) is not None]
        for record, outcome in ended:
            if record.epoch > 0:
                end = cut_short(record, outcome, now)
                self._end(line, [record], end)
                self._settled(line.name, [record.event_id], [end])
        return bool(ended)

    async def _stored(self, line: Line) -> None:
        """Return once all that happened to entries so far is in Redis, however often that has to be tried."""
        if self._link is None:
            raise SpoolError("the spool is not open")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiters.append(future)
        line.work.set()
        await future

    async def _save(self, line: Line) -> None:
        """Store what happens to a line's entries: one script after the other, so that they cannot overtake."""
        while True:
            if line.dirty or line.waiters:
                await self._save_some(line, self._me)
            elif self._closing:
                return
            else:
                line.work.clear()
                await line.work.wait()

    async def _save_some(self, line: Line, me: str) -> None:
        keys = self._keys.of(line.name)
        names = [keys.stream, keys.bell, keys.ledger, keys.state, keys.wait, keys.holders]
        names += [self._keys.letters, self._keys.letter_data]
        entries = list(line.dirty.values())[:_MAX_SAVE]
        told: list[tuple[Sequence[Record], Outcome]] = []
        waiters: list[asyncio.Future[None]] = []
        if len(entries) == len(line.dirty):  # else there is more of what they wait for
            told, line.told = line.told, []
            waiters, line.waiters = line.waiters, []
        now = self._clock.wall()
        packed: list[bytes] = []
        moving: dict[str, list[Record]] = {}
        for entry in entries:
            del line.dirty[entry.id]
            change, moved = take(entry, self._seal, now)
            packed.append(change)
            if moved:
                moving[entry.id] = moved
        if moving:
            line.drop_settled()
            line.held -= sum(map(len, moving.values()))
        lost: set[str] = set()
        if packed:
            # whatever happens, exactly this is stored, and once: the versions of entries tell
            gone, freed, ledger, moved_to = await self._patiently(names, [me, *packed])
            lost = {number.decode() for number in gone}
            line.learn(ledger)
            for old, new in zip(moved_to[::2], moved_to[1::2], strict=True):
                line.remember(new.decode(), moving[old.decode()])
            if (freed or moved_to) and not line.unread:
                line.unread = True
                self._wake(line.name)
        self._told(line, entries, lost, told)
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _told(
        self, line: Line, entries: list[Entry], lost: set[str], told: Sequence[tuple[Sequence[Record], Outcome]]
    ) -> None:
        gone = [entry for entry in entries if entry.id in lost]
        if gone:
            logger.warning(
                "a lease was taken over by another process",
                extra={"destination": line.name, "entries": len(gone), "fix": "a longer lease_s, or a faster host"},
            )
        for records, outcome in told:
            for record in records:
                if record.receipt is not None and not (lost and record.chunk.id in lost):
                    record.receipt.settle(record.destination, outcome)
        for entry in entries:
            if entry.id in lost:
                line.lose(entry)
            elif not entry.left:
                line.leave(entry)
