"""Records that end without a worker: evicted, forgotten or withdrawn, wherever they wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record, cut_short
from capi_async.spool.redis.entry import Entry, pack, read, unpack_fields
from capi_async.spool.redis.holding import NOBODY, Holding
from capi_async.spool.redis.line import Line
from capi_async.spool.redis.scripts import END_WAITING, RENAME
from capi_async.spool.redis.stops import ask_holders
from capi_async.spool.waiting import SETTLED

#: Entries looked through at a time for what must be forgotten.
_A_LOOK: Final = 64
#: Entries that get another holder at a time.
_A_PAGE: Final = 500


class Sweeping(Holding):
    """Looks for records where they are, and ends them."""

    async def _refresh(self) -> None:
        """See the counts as Redis has them."""
        raise NotImplementedError

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
                try:
                    fields = unpack_fields(member[32:])
                    token = fields[b"u"].decode()
                    entry = read(line.name, token, fields, self._sealing.open, mine=line.peek(token))
                except Exception:  # noqa: S112 - whatever stands there: whoever reads it in its turn reports it
                    continue
                yield member, entry
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
                line.recall(entry.id, "")
                record.epoch = SETTLED
                told.append((record.event_id, outcome))
                if record.receipt is not None:
                    record.receipt.settle(line.name, outcome)
            entry.drop()
        return told

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.settle_matching`."""
        found: Counter[str] = Counter()
        # who holds what was looked through this time: nobody, too, but told apart
        looked = f"looked-{self._me}-{next(self._numbers)}"
        for line in self._lines.values():
            line.sweeps += 1
            try:
                number = await self._settle_line(line, looked, matches, outcome)
            finally:
                line.sweeps -= 1
                await self._let_go(line, looked)
            if not self._deliver:
                await self._hand_over(line)
            if number:
                found[line.name] += number
        for name, number in (await self._letters.end_matching(self._call, self._ask, matches, outcome.kind)).items():
            found[name] += number
        await self._refresh()
        return {name: number for name, number in found.items() if number}

    async def _settle_line(self, line: Line, looked: str, matches: Callable[[Record], bool], outcome: Outcome) -> int:
        """What matches of one destination ends; how many that were."""
        seen: set[str] = set()
        ends: list[tuple[str, Outcome]] = []

        async def look_through() -> None:
            nonlocal ends
            ends += await self._settle_held(line, seen, matches, outcome)
            # entries that nobody holds come here, page by page, and go back without what matched
            while await self._more(line, looked):
                ends += await self._settle_held(line, seen, matches, outcome)
                await self._set_down(line, looked, seen)
            ends += await self._settle_held(line, seen, matches, outcome)

        try:
            await look_through()
            stopped = await ask_holders(
                self._call, self._ask, self._keys.of(line.name), line.name, (self._me, looked),
                self._sealing.open, matches, outcome,
            )  # fmt: skip
            chosen = [(member, entry) async for member, entry in self._waiting(line) if matches(entry.held()[0])]
            ends += await self._end_waiting(line, chosen, outcome)
            # those that waited until now may have come into the queue meanwhile
            await look_through()
            await self._set_down(line, looked, seen)
        finally:
            if ends:
                self._settled(line.name, [event_id for event_id, _ in ends], [end for _, end in ends])
        return stopped + len(ends)

    async def _let_go(self, line: Line, looked: str) -> None:
        """What was looked through is for whoever comes next, here as elsewhere."""
        of = self._keys.of(line.name)
        try:
            while await self._reach().run(RENAME, [of.stream, of.bell], [looked, NOBODY, _A_PAGE]):
                pass
        except SpoolError as error:  # under this name it is nobody's, too
            self._failed(error)
        if self._deliver:
            line.orphans = True
            self._wake(line.name)

    async def _more(self, line: Line, looked: str) -> bool:
        """Take up the next page of what nobody holds, and was not looked through; False at its end."""
        link = self._reach()
        async with line.turn:
            if line.astray:
                await self._compare(link, line)
            number = await self._adopt(link, line, but=looked)
            return bool(number or await self._read(link, line, int(_A_LOOK * line.size_of)))

    async def _settle_held(
        self, line: Line, seen: set[str], matches: Callable[[Record], bool], outcome: Outcome
    ) -> list[tuple[str, Outcome]]:
        """Settle what matches of what this process holds and has not leased; what it has, is doomed."""
        ends: list[tuple[str, Outcome]] = []
        for entry in list(line.entries.values()):
            if entry.id not in seen:
                seen.add(entry.id)
                hits = [record for record in entry.records if record is not None and matches(record)]
                ends += self._settle_entry(line, entry, hits, outcome)
        line.drop_settled()
        if line.dirty or line.saving:
            await self._stored(line)
        return ends

    async def _set_down(self, line: Line, looked: str, seen: set[str]) -> None:
        """What was looked through goes back at once; what is leased, or waits for its time, stays."""
        if line.dirty or line.saving:
            await self._stored(line)
        async with line.turn:
            busy = {id(record.chunk) for record in line.leased()} | {id(one[2].chunk) for one in line.delayed}
            idle = [
                entry
                for number, entry in line.entries.items()
                if number in seen and number not in line.dirty and number not in line.saving and id(entry) not in busy
            ]
            await self._give_back(self._reach(), line, idle, looked)

    async def _hand_over(self, line: Line) -> None:
        """Where nothing is delivered, nothing is held: neither what this process knows of, nor what it does not."""
        if line.entries:
            await self._stored(line)
        link = self._reach()
        async with line.turn:
            busy = line.dirty.keys() | line.saving
            await self._give_back(link, line, [one for number, one in line.entries.items() if number not in busy])
            line.unreadable.clear()
            if line.astray:
                line.astray = False
                try:
                    mine = await self._listed(link, line)
                    await self._free(link, line, [one for one in mine if one not in line.entries], NOBODY)
                except BaseException:
                    line.astray = True
                    raise

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        line = self._line(destination)
        line.sweeps += 1
        try:
            return await self._evict(line, events, max_bytes, outcome)
        finally:
            line.sweeps -= 1

    async def _evict(self, line: Line, events: int, max_bytes: int, outcome: Outcome) -> int:
        over_events = line.counts.get("pending", 0) - events
        over_bytes = line.counts.get("bytes", 0) - max_bytes
        told: list[tuple[str, Outcome]] = []
        unsaved = False
        now = self._clock.wall()
        while over_events > 0 or over_bytes > 0:
            record = line.oldest()
            if record is None:
                if (line.orphans or line.unread or line.astray) and await self._fetch(line, 1):
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
        if not self._deliver:
            await self._hand_over(line)
        if told:
            self._settled(line.name, [event_id for event_id, _ in told], [end for _, end in told])
        return len(told)
