"""Eviction: the oldest records end to make room for new ones."""

from __future__ import annotations

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, cut_short
from capi_async.spool.redis.blocked import BlockedRecords
from capi_async.spool.redis.claims import Claims
from capi_async.spool.redis.connection import Unreachable
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import Entry
from capi_async.spool.redis.write_back import WriteBack


class Eviction:
    """Ends the oldest records: those that this process can claim, and then those that are blocked."""

    def __init__(
        self, session: Session, queues: Queues, *, write_back: WriteBack, claims: Claims, blocked: BlockedRecords
    ) -> None:
        self._session = session
        self._queues = queues
        self._write_back = write_back
        self._claims = claims
        self._blocked = blocked

    async def evict(self, queue: Queue, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        """See :meth:`~capi_async.spool.base.Spool.evict`."""
        queue.erasures += 1
        try:
            ends = await self._end_oldest(
                queue,
                queue.counts.get("pending", 0) - events,
                queue.counts.get("bytes", 0) - max_bytes,
                outcome,
            )
            self._queues.report(queue, ends)
            if not self._session.delivers:
                await self._claims.release_all(queue)
        finally:
            queue.erasures -= 1
        return len(ends)

    async def _end_oldest(self, queue: Queue, events: int, size: int, outcome: Outcome) -> list[tuple[Record, Outcome]]:
        """End so many records and bytes of bodies, if so many are not leased; return them."""
        ends: list[tuple[Record, Outcome]] = []
        unwritten = False
        now = self._session.clock.wall()
        while events > 0 or size > 0:
            record = queue.oldest()
            if record is None:
                if (queue.has_unclaimed or queue.has_unread or queue.unverified) and await self._claims.fetch(queue, 1):
                    continue
                if unwritten:  # once it is written, records of the same order keys are not blocked any more
                    await self._write_back.flush(queue)
                    unwritten = False
                    continue
                break
            end = cut_short(record, outcome, now)
            self._write_back.end(queue, [record], end)
            unwritten = True
            ends.append((record, end))
            events -= 1
            size -= len(record.body)
        if unwritten:
            await self._write_back.flush(queue)
        if events > 0 or size > 0:
            try:
                ends += await self._end_blocked(queue, events, size, outcome)
            except Unreachable as error:  # as when nothing can be claimed: fewer are ended, and the caller evicts again
                self._session.availability.failed(error)
        return ends

    async def _end_blocked(
        self, queue: Queue, events: int, size: int, outcome: Outcome
    ) -> list[tuple[Record, Outcome]]:
        chosen: list[tuple[bytes, Entry]] = []
        async for member, entry in self._blocked.read(queue):
            if events <= 0 and size <= 0:
                break
            chosen.append((member, entry))
            events -= 1
            size -= entry.size
        return await self._blocked.end(queue, chosen, outcome)
