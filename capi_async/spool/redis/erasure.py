"""Erasure: records that are forgotten or withdrawn end wherever they wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis.blocked import BlockedRecords
from capi_async.spool.redis.claims import UNCLAIMED, Claims
from capi_async.spool.redis.dead_letters import DeadLetters
from capi_async.spool.redis.lua import MOVE_CLAIMS
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.recalls import Recalls
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.write_back import WriteBack

#: Entries that are searched at a time.
_SEARCH_PAGE: Final = 64
#: Entries whose claims are moved at a time.
_MOVE_PAGE: Final = 500

_Matches = Callable[[Record], bool]
_Ends = list[tuple[Record, Outcome]]


class Erasure:
    """Searches all places in which records wait, and ends those that match.

    Entries that no process holds are claimed page by page, and released without what matched. Meanwhile a consumer name
    of this search holds those that were searched, so that each is claimed once.
    """

    def __init__(
        self,
        session: Session,
        queues: Queues,
        *,
        write_back: WriteBack,
        claims: Claims,
        recalls: Recalls,
        blocked: BlockedRecords,
        dead_letters: DeadLetters,
    ) -> None:
        self._session = session
        self._queues = queues
        self._write_back = write_back
        self._claims = claims
        self._recalls = recalls
        self._blocked = blocked
        self._dead_letters = dead_letters

    async def settle_matching(self, matches: _Matches, outcome: Outcome) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.settle_matching`."""
        ended: Counter[str] = Counter()
        # stored: other processes, also of earlier releases, recognise the name by its beginning
        searched = f"looked-{self._session.consumer}-{self._session.next_number()}"
        for queue in self._queues:
            queue.erasures += 1
            try:
                ended[queue.name] += await self._settle_queue(queue, searched, matches, outcome)
            finally:
                queue.erasures -= 1
                await self._release_searched(queue, searched)
            if not self._session.delivers:
                await self._claims.release_all(queue)
        ended.update(await self._dead_letters.end_matching(matches, outcome.kind))
        return {name: number for name, number in ended.items() if number}

    async def _settle_queue(self, queue: Queue, searched: str, matches: _Matches, outcome: Outcome) -> int:
        """End what matches of one destination; return how many records that are."""
        seen: set[str] = set()
        ends: _Ends = []

        async def search() -> None:
            nonlocal ends
            ends += await self._settle_held(queue, seen, matches, outcome)
            while await self._claim_page(queue, searched):
                ends += await self._settle_held(queue, seen, matches, outcome)
                await self._set_aside(queue, searched, seen)
            ends += await self._settle_held(queue, seen, matches, outcome)

        try:
            await search()
            ended_by_others = await self._recalls.request(queue, (self._session.consumer, searched), matches, outcome)
            chosen = [
                (member, entry) async for member, entry in self._blocked.read(queue) if matches(entry.unsettled()[0])
            ]
            ends += await self._blocked.end(queue, chosen, outcome)
            # a record that was blocked until now may have joined the stream meanwhile
            await search()
            await self._set_aside(queue, searched, seen)
        finally:
            self._queues.report(queue, ends)
        return ended_by_others + len(ends)

    async def _release_searched(self, queue: Queue, searched: str) -> None:
        """Release what was searched, so that any process can claim it."""
        keys = self._session.keys.of(queue.name)
        try:
            while await self._session.connection.script(
                MOVE_CLAIMS, [keys.stream, keys.notices], [searched, UNCLAIMED, _MOVE_PAGE]
            ):
                pass
        except SpoolError as error:  # no process has the name of the search, either: its entries will be claimed
            self._session.availability.failed(error)
        if self._session.delivers:
            queue.has_unclaimed = True
            self._queues.wake(queue.name)

    async def _claim_page(self, queue: Queue, searched: str) -> bool:
        """Claim the next page of entries that no process holds and that were not searched; False if there is none."""
        connection = self._session.connection
        async with queue.transfer_lock:
            if queue.unverified:
                await self._claims.verify(connection, queue)
            if await self._claims.take_over(connection, queue, searched=searched):
                return True
            return await self._claims.read(connection, queue, int(_SEARCH_PAGE * queue.records_per_entry)) > 0

    async def _settle_held(self, queue: Queue, seen: set[str], matches: _Matches, outcome: Outcome) -> _Ends:
        """End what matches of the entries that this process holds and has not seen; leased records are recalled."""
        ends: _Ends = []
        for entry in list(queue.entries.values()):
            if entry.id not in seen:
                seen.add(entry.id)
                hits = [record for record in entry.records if record is not None and matches(record)]
                ends += self._write_back.end_or_recall(queue, entry, hits, outcome)
        queue.drop_settled()
        await self._write_back.flush_dirty(queue)
        return ends

    async def _set_aside(self, queue: Queue, searched: str, seen: set[str]) -> None:
        """Move searched entries to the name of the search, except those with leased or waiting records."""
        await self._write_back.flush_dirty(queue)
        async with queue.transfer_lock:
            busy = {id(record.chunk) for record in queue.leased()} | {id(one[2].chunk) for one in queue.delayed}
            idle = [
                entry
                for number, entry in queue.entries.items()
                if number in seen and number not in queue.dirty and number not in queue.writing
                and id(entry) not in busy
            ]  # fmt: skip
            await self._claims.release(self._session.connection, queue, idle, to=searched)
