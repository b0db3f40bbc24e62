"""Records that end without a worker: evicted, forgotten or withdrawn, wherever they wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from capi_async.outcome import Outcome
from capi_async.spool.base import (
    Record,
    cut_short,
)
from capi_async.spool.chunks import DamagedChunk
from capi_async.spool.cipher import UnknownKey
from capi_async.spool.redis.entry import (
    Entry,
    pack,
    read,
    unpack_fields,
)
from capi_async.spool.redis.holding import Holding
from capi_async.spool.redis.line import Line
from capi_async.spool.redis.link import Link
from capi_async.spool.redis.scripts import END_WAITING, LOOK
from capi_async.spool.redis.stops import ask_holders
from capi_async.spool.waiting import SETTLED

#: Entries looked through at a time for what must be forgotten.
_A_LOOK: Final = 64


class Sweeping(Holding):
    """Looks for records where they are, and ends them."""

    async def _evict_waiting(
        self, line: Line, over_events: int, over_bytes: int, outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        """Those that wait for an older one of their order key."""
        chosen: list[tuple[bytes, Entry]] = []
        async for member, entry in self._waiting(line):
            if over_events <= 0 and over_bytes <= 0:
                break
            chosen.append((member, entry))
            over_events -= 1
            over_bytes -= entry.size
        return await self._end_waiting(line, chosen, outcome)

    async def _waiting(self, line: Line) -> Any:
        """Records that wait for an older one of their order key, with what stands for them in Redis."""
        keys = self._keys.of(line.name)
        start = 0
        while members := await self._ask("ZRANGE", keys.wait, start, start + _A_LOOK - 1):
            for member in members:
                fields = unpack_fields(member[32:])
                token = fields[b"u"].decode()
                known = line.peek(token)
                try:
                    yield member, read(line.name, token, fields, self._open_sealed, mine=known)
                except (DamagedChunk, ValueError, UnknownKey):
                    continue
            start += len(members)

    async def _end_waiting(
        self, line: Line, chosen: Sequence[tuple[bytes, Entry]], outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        if not chosen:
            return []
        keys = self._keys.of(line.name)
        arguments: list[bytes] = []
        for member, entry in chosen:
            arguments += [member, pack({outcome.kind: 1, "pending": -1, "bytes": -entry.size})]
        ended, ledger = await self._call(
            END_WAITING, [keys.ledger, keys.wait, keys.holders, keys.stream, keys.bell], arguments
        )
        line.learn(ledger)
        told: list[tuple[str, Outcome]] = []
        for gone, (_, entry) in zip(ended, chosen, strict=True):
            if gone:
                record = entry.held()[0]
                line.recall(entry.id)
                record.epoch = SETTLED
                told.append((record.event_id, outcome))
                if record.receipt is not None:
                    record.receipt.settle(line.name, outcome)
            entry.drop()
        return told

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        # who holds what was looked through this time: nobody, too, but told apart
        looked = f"looked-{self._me}-{next(self._numbers)}"
        for line in self._lines.values():
            ends = await self._settle_held(line, matches, outcome)
            # entries that nobody holds come here, page by page, and go back without what matched
            while await self._more(line, looked):
                ends += await self._settle_held(line, matches, outcome)
                await self._set_down(line, looked)
            found[line.name] += await ask_holders(
                self._call, self._ask, self._keys.of(line.name), line.name, (self._me, looked),
                self._open_sealed, matches, outcome,
            )  # fmt: skip
            chosen = [(member, entry) async for member, entry in self._waiting(line) if matches(entry.held()[0])]
            ends += await self._end_waiting(line, chosen, outcome)
            await self._set_down(line, looked)
            if ends:
                found[line.name] += len(ends)
                self._settled(line.name, [event_id for event_id, _ in ends], [end for _, end in ends])
            line.orphans = True
            self._wake(line.name)
        for name, number in (await self._letters.end_matching(self._call, self._ask, matches, outcome.kind)).items():
            found[name] += number
        await self._refresh()
        return {name: number for name, number in found.items() if number}

    async def _more(self, line: Line, looked: str) -> bool:
        """Take up the next page of what nobody holds, and was not looked through; False at its end."""
        before = len(line.entries)
        await self._adopt(self._reach(), line, but=looked)
        if len(line.entries) == before:
            await self._read(self._reach(), line, int(_A_LOOK * line.size_of))
        return len(line.entries) > before

    async def _settle_held(
        self, line: Line, matches: Callable[[Record], bool], outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        """Settle what matches of what this process holds and has not leased; what it has, is doomed."""
        ends: list[tuple[str, Outcome]] = []
        for entry in list(line.entries.values()):
            hits = [record for record in entry.records if record is not None and matches(record)]
            ends += self._settle_entry(line, entry, hits, outcome)
        line.drop_settled()
        if line.dirty:
            await self._stored(line)
        return ends

    async def _set_down(self, line: Line, looked: str) -> None:
        """What was looked through goes back at once; what is leased, or waits for its time, stays."""
        if line.dirty:
            await self._stored(line)
        busy = {id(record.chunk) for record in line.leased()} | {id(one[2].chunk) for one in line.delayed}
        idle = [entry for entry in line.entries.values() if id(entry) not in busy]
        if idle:
            await self._give_back(self._reach(), line, idle, looked)

    async def _refresh(self) -> None:
        if self._link is not None:
            await self._look(self._link)

    async def _look(self, link: Link, me: str | None = None) -> None:
        """Say that this process lives, and see the counts and what the dead left."""
        keys = [self._keys.workers]
        for name in self._lines:
            of = self._keys.of(name)
            keys += [of.stream, of.ledger]
        living, found = await link.run(LOOK, keys, [self._me if me is None else me, self._lease_ms()])
        self.workers = max(1, int(living))
        for line, (orphans, ledger) in zip(self._lines.values(), found, strict=True):
            line.learn(ledger)
            if orphans and self._deliver and not line.orphans:
                line.orphans = True
                self._wake(line.name)

    async def _hand_over(self, line: Line) -> None:
        """Where nothing is delivered, nothing is held."""
        if not self._deliver and line.entries:
            await self._stored(line)
            await self._give_back(self._reach(), line, list(line.entries.values()))

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        line = self._line(destination)
        over_events = line.counts.get("pending", 0) - events
        over_bytes = line.counts.get("bytes", 0) - max_bytes
        told: list[tuple[str, Outcome]] = []
        unsaved = False
        now = self._clock.wall()
        while over_events > 0 or over_bytes > 0:
            record = line.oldest()
            if record is None:
                if (line.orphans or line.unread) and await self._fetch(line, 1):
                    continue
                if unsaved:  # an order key that comes free may let the next one go
                    await self._stored(line)
                    unsaved = False
                    continue
                break
            end = cut_short(record, outcome, now)
            self._end(line, [record], end)
            unsaved = True
            told.append((record.event_id, end))
            over_events -= 1
            over_bytes -= len(record.body)
        if unsaved:
            await self._stored(line)
        if over_events > 0 or over_bytes > 0:
            told += await self._evict_waiting(line, over_events, over_bytes, outcome)
        await self._hand_over(line)
        if told:
            self._settled(destination, [event_id for event_id, _ in told], [end for _, end in told])
        return len(told)
