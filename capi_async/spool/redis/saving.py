"""What happened to records that this process holds, and how Redis comes to know of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import KEPT, Record, cut_short
from capi_async.spool.redis.entry import Entry, New, take
from capi_async.spool.redis.line import Line
from capi_async.spool.redis.link import Away, Emptied, Unfit
from capi_async.spool.redis.reach import BACKOFF, MAX_RETRY_S, Reach
from capi_async.spool.redis.scripts import SAVE
from capi_async.spool.waiting import SETTLED

logger = logging.getLogger(__name__)

#: Entries stored with one script: Redis does nothing else meanwhile.
_MAX_SAVE: Final = 64


class _Change(Struct, gc=False):
    """What is to be stored of one entry.

    Attributes:
        outcomes: Records that end with it.
        new: The entry that its other records move to.
    """

    entry: Entry
    packed: bytes
    outcomes: int
    new: New | None


class Saving(Reach):
    """Ends records, and stores what happens to them."""

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
        """Return once all that happened to entries so far is in Redis, however often that has to be tried.

        Raises:
            SpoolError: Something that happened cannot be stored.
        """
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
        entries = list(line.dirty.values())[:_MAX_SAVE]
        told: list[tuple[Sequence[Record], Outcome]] = []
        waiters: list[asyncio.Future[None]] = []
        if len(entries) == len(line.dirty):  # else there is more of what they wait for
            told, line.told = line.told, []
            waiters, line.waiters = line.waiters, []
        try:
            changes, spoilt = self._taken(line, entries)
            line.saving = {change.entry.id for change in changes}
            if line.stored is not None:
                line.stored |= line.saving
            lost: set[str] = set()
            if changes:
                line.unsaved = sum(change.outcomes for change in changes)
                with line.change():
                    lost, more = await self._store(line, me, changes)
                line.unsaved = 0
                spoilt += more
            self._told(line, entries, lost, {entry.id for entry in spoilt}, told)
        except Exception as error:
            for future in waiters:
                if not future.done():
                    future.set_exception(SpoolError(f"an outcome could not be stored ({type(error).__name__})"))
                    future.exception()  # mark as seen: whoever waited may have gone
            raise
        finally:
            line.saving = set()
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _taken(self, line: Line, entries: Sequence[Entry]) -> tuple[list[_Change], list[Entry]]:
        """What is to be stored of each, and those of which that cannot be said."""
        now = self._clock.wall()
        changes: list[_Change] = []
        spoilt: list[Entry] = []
        moved = 0
        for entry in entries:
            line.dirty.pop(entry.id, None)
            outcomes = sum(entry.counts.values())
            try:
                packed, new = take(entry, self._sealing.seal, now, self._token)
            except Exception as error:  # a fault of ours; it must not keep others from being stored
                self._fault(f"{line.name}: what happened to {len(entry.records)} events is not stored", error)
                spoilt.append(entry)
                continue
            changes.append(_Change(entry, packed, outcomes, new))
            if new is not None:
                # it may be read before the answer is here that tells its id
                line.remember(new.token, new.records)
                moved += len(new.records)
        if moved:
            line.drop_settled()
            line.held -= moved
        return changes, spoilt

    async def _store(self, line: Line, me: str, changes: Sequence[_Change]) -> tuple[set[str], list[Entry]]:
        """Store these, however often that has to be tried; which of them others hold, and which Redis refuses alone."""
        parts = [list(changes)]
        lost: set[str] = set()
        refused: list[tuple[_Change, SpoolError]] = []
        stored = False
        failures = 0
        while parts or refused:
            if not parts:
                wait_s = BACKOFF.interval_s(failures + 1)
                if stored or (wait_s == MAX_RETRY_S and all(isinstance(why, Unfit) for _, why in refused)):
                    break
                # whatever it is, it concerns them all
                self._failed(refused[0][1])
                failures += 1
                await asyncio.sleep(wait_s)
                parts, refused = [[change for change, _ in refused]], []
            part = parts.pop()
            try:
                lost |= await self._store_some(line, me, part)
                stored = True
            except SpoolError as error:
                if len(part) == 1:
                    refused.append((part[0], error))
                else:
                    middle = len(part) // 2
                    parts += [part[:middle], part[middle:]]
        for change, why in refused:
            logger.error("%s: %d outcomes cannot be stored and are left alone: %s", line.name, change.outcomes, why)
        return lost, [change.entry for change, _ in refused]

    async def _store_some(self, line: Line, me: str, changes: Sequence[_Change]) -> set[str]:
        of = self._keys.of(line.name)
        keys = [of.stream, of.bell, of.ledger, of.state, of.wait, of.holders]
        keys += [self._keys.letters, self._keys.letter_data, self._keys.saved(me, line.name)]
        arguments: list[str | int | bytes] = [me, next(self._numbers), *(change.packed for change in changes)]
        failures = 0
        while True:
            try:
                # whatever happens, exactly this is stored, and once: its number tells
                gone, freed, ledger, moved_to = await self._reach().run(SAVE, keys, arguments)
            except Emptied:
                await self._begin_anew(self._reach())
            except Away as error:
                self._failed(error)
                failures += 1
                await asyncio.sleep(BACKOFF.interval_s(failures))
            else:
                break
        self._seen()
        line.learn(ledger)
        tokens = {change.entry.id: change.new.token for change in changes if change.new is not None}
        for old, new in zip(moved_to[::2], moved_to[1::2], strict=True):
            line.number(tokens[old.decode()], new.decode())
        if (freed or moved_to) and not line.unread:
            line.unread = True
            self._wake(line.name)
        return {number.decode() for number in gone}

    def _told(
        self,
        line: Line,
        entries: Sequence[Entry],
        lost: set[str],
        spoilt: set[str],
        told: Sequence[tuple[Sequence[Record], Outcome]],
    ) -> None:
        self._say_lost(line, len(lost))
        unstored = lost | spoilt
        for records, outcome in told:
            for record in records:
                if record.receipt is not None and not (unstored and record.chunk.id in unstored):
                    record.receipt.settle(record.destination, outcome)
        gone = [entry for entry in entries if entry.id in lost]
        if gone:
            line.lose(gone)
        for entry in entries:
            if entry.id in spoilt:
                # nobody here deals with it any more; the next process finds it as it was last stored
                line.unreadable.add(entry.id)
                line.part([entry])
            elif entry.id not in lost and not entry.left:
                line.leave(entry)

    def _say_lost(self, line: Line, entries: int) -> None:
        if entries:
            logger.warning(
                "%s: a lease was taken over by another process (%d entries): this one was not heard of for longer than "
                "lease_s; a longer lease_s, or a faster host, helps",
                line.name,
                entries,
            )

    def _token(self) -> str:
        return f"{self._me}:{next(self._numbers)}"
