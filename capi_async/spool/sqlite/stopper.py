"""Forgets and withdraws: in memory, in the file, and with the other processes that hold something."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from capi_async.outcome import Outcome
from capi_async.spool.base import OnSettled, Record, cut_short
from capi_async.spool.sqlite.committer import Committer
from capi_async.spool.sqlite.group import Chunk
from capi_async.spool.sqlite.queue import Queues
from capi_async.spool.sqlite.stops import Hit
from capi_async.spool.sqlite.store import Store

logger = logging.getLogger(__name__)

#: Seconds that other processes get to say what they stopped, and between two looks at what they say.
ANSWER_S: Final = 5.0
_LOOK_S: Final = 0.05


class Stopper:
    """Ends records before their time, for one process's spool.

    Args:
        call: Runs a method of the store in its thread.
        writer: Gives what writes the changes down.
        recall: Has the workers hand back what they have not sent.
        settled: Told of everything that ends here, because no worker hears of it.
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
        self._rings = 0
        #: Held while rows move between file and memory, and while it matters where they are.
        self.moving = asyncio.Lock()

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.settle_matching`."""
        found: Counter[str] = Counter()
        rows = await self._scan(matches)
        async with self.moving:
            await self._recall()  # from here to the next await no worker takes anything up
            under_way: dict[int, list[int]] = {}
            waiting: list[Record] = []
            for number in rows:
                if (chunk := self._queues.chunks.get(number)) is not None:
                    hits = [record for record in chunk.records if record is not None and matches(record)]
                    waiting += self._doom(chunk, hits, outcome)
                    under_way[number] = [record.at for record in hits if record.epoch > 0]
            await self._end([(record, outcome) for record in waiting], waiting=True)
            found.update(record.destination for record in waiting)
            swept, requests = await self._call(self._store.sweep, matches, outcome, rows, self._cursors(), under_way)
            self._gone(swept)
            found.update(hit.destination for hit in swept)
        last = 0
        while True:
            letters, last = await self._call(self._store.sweep_letters, matches, outcome.kind, last)
            found += letters
            if not last:
                break
        found += await self._answers(requests)
        if outcome.kind == "forgotten":
            await self.erase_traces(patience_s=1.0)
        return dict(found)

    async def _scan(self, matches: Callable[[Record], bool]) -> list[int]:
        """Rows that hold a match, found bit by bit: there may be a million events, and others want to write."""
        rows: list[int] = []
        last = 0
        while True:
            some, last = await self._call(self._store.scan, matches, last)
            rows += some
            if not last:
                return rows

    def _doom(self, chunk: Chunk, hits: Sequence[Record], outcome: Outcome) -> list[Record]:
        """Those of a chunk's records that can be settled at once; the others are, unless their answer comes."""
        if any(record.epoch <= 0 for record in hits):
            chunk.scrub = chunk.touched = True
            self._writer().touch(chunk)
        for record in hits:
            if record.epoch > 0:
                self._queues.doomed[id(record)] = record, outcome
        return [record for record in hits if record.epoch == 0]

    async def end_doomed(self, records: Sequence[Record]) -> bool:
        """Settle those that came back without an answer, or have not left; whether there was any."""
        ended = [pair for record in records if (pair := self._queues.doomed.get(id(record))) is not None]
        if ended:
            await self._end(ended)
        return bool(ended)

    async def _end(self, ended: Sequence[tuple[Record, Outcome]], *, waiting: bool = False) -> None:
        """Settle records that no worker will hear of again; ``waiting``: they stand in their lines."""
        told: list[tuple[Sequence[Record], Outcome]] = []
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for record, outcome in ended:
            end = cut_short(record, outcome, self._wall())
            self._queues.end([record], end)
            told.append(([record], end))
            ends.setdefault(record.destination, []).append((record.event_id, end))
        if waiting:
            for name in ends:
                self._queues.lines[name].drop_settled()
        await self._writer().settled(told)
        self._tell(ends)

    def _gone(self, hits: Iterable[Hit]) -> None:
        """Note what was settled where it stood in the file."""
        ends: dict[str, list[tuple[str, Outcome]]] = {}
        for hit in hits:
            self._queues.gone(hit.destination, hit.chunk, hit.at, hit.size, hit.outcome)
            ends.setdefault(hit.destination, []).append((hit.event_id, hit.outcome))
        self._tell(ends)

    def _tell(self, ends: Mapping[str, Sequence[tuple[str, Outcome]]]) -> None:
        for name, pairs in ends.items():
            self._settled(name, [event_id for event_id, _ in pairs], [end for _, end in pairs])

    def _cursors(self) -> dict[str, int]:
        return {name: line.cursor for name, line in self._queues.lines.items() if line.cold}

    def called(self) -> bool:
        """Whether another process wants something stopped, perhaps of what this one holds."""
        return self._store.rings() != self._rings

    async def obey(self) -> None:
        """Stop, where it stands in the file, what nobody has in memory."""
        async with self.moving:
            self._gone(await self._call(self._store.obey, self._cursors()))

    async def heed(self) -> None:
        """Stop what other processes want stopped, and answer them."""
        rings = self._store.rings()
        await self.obey()
        asked = await self._call(self._store.asked)
        if not asked:
            self._rings = rings
            return
        async with self.moving:
            await self._recall()  # from here to the next await no worker takes anything up
            told: list[tuple[int, int, int]] = []
            ended: dict[int, tuple[Record, Outcome]] = {}
            for one in asked:
                chunk = self._queues.chunks.get(one.chunk)
                if chunk is None:
                    rings = -1  # its row was stored a moment ago, or has just moved: look again
                    continue
                hits = [record for record in chunk.records if record is not None and record.at in one]
                waiting = [record for record in self._doom(chunk, hits, one.outcome) if id(record) not in ended]
                ended |= {id(record): (record, one.outcome) for record in waiting}
                told.append((one.id, len(waiting), sum(record.epoch > 0 for record in hits)))
            await self._end(list(ended.values()), waiting=True)
            if told:
                await self._call(self._store.answer, told)
        self._rings = rings
        if any(one.outcome.kind == "forgotten" for one in asked):
            await self.erase_traces()

    async def erase_traces(self, *, patience_s: float = 0.0) -> None:
        """Leave nothing readable; what is prevented for longer than ``patience_s`` is done with the next look.

        SQLite does not wait for another checkpoint, and every process, this one included, makes one now and then.
        """
        until = time.monotonic() + patience_s
        while True:
            self._queues.traces = False
            self._queues.traces = not await self._call(self._store.erase_traces) or self._queues.traces
            if not self._queues.traces or time.monotonic() >= until:
                break
            await asyncio.sleep(_LOOK_S)

    async def _answers(self, requests: Mapping[int, str]) -> Counter[str]:
        """What other processes stopped; one that does not answer in time does it before it sends anything."""
        found: Counter[str] = Counter()
        waiting = dict(requests)
        under_way = 0
        until = time.monotonic() + ANSWER_S
        while waiting:
            await self.obey()  # what a process left that died meanwhile is nobody's
            for number, (stopped, moving) in (await self._call(self._store.answers, tuple(waiting))).items():
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
                "spool: %s: a process does not answer (%d questions are open; is it stopped, or in a debugger?); it "
                "stops what it holds before it sends anything",
                self._store.path, len(waiting), extra={"rows": len(waiting)},
            )  # fmt: skip
        return found
