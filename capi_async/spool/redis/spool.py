"""The durable spool for many hosts: web processes append to Redis Streams, workers deliver from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import SpoolError
from capi_async.followup import SentRequest
from capi_async.outcome import OUTCOME_KINDS, Outcome
from capi_async.spool.base import (
    DeadLetter,
    Depth,
    Health,
    Ledger,
    LetterFilter,
    OnSettled,
    Record,
    Refused,
    Revoked,
    ignore_recall,
    ignore_settled,
)
from capi_async.spool.chunks import MAX_WAIT_S
from capi_async.spool.redis.appends import Appends
from capi_async.spool.redis.background import BackgroundTasks
from capi_async.spool.redis.blocked import BlockedRecords
from capi_async.spool.redis.board import RedisBoard
from capi_async.spool.redis.claims import Claims
from capi_async.spool.redis.connection import Unreachable
from capi_async.spool.redis.dead_letters import DeadLetters
from capi_async.spool.redis.erasure import Erasure
from capi_async.spool.redis.eviction import Eviction
from capi_async.spool.redis.heartbeat import Heartbeat
from capi_async.spool.redis.notices import Notices
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.rates import SharedRates
from capi_async.spool.redis.recalls import Recalls
from capi_async.spool.redis.sent_requests import SentRequests
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.write_back import WriteBack
from capi_async.spool.waiting import oldest_of

logger = logging.getLogger(__name__)

#: Most seconds that closing waits for writes, and then for Redis.
CLOSE_S: Final = 5.0


class RedisSpool:
    """See :class:`~capi_async.spool.base.Spool`.

    A record is in Redis when ``append`` returns. It lives as long as Redis keeps its data: with ``appendonly yes`` and
    ``appendfsync always`` it survives a power cut; with ``everysec`` a crash of the machine may cost a second or two;
    without an append-only file a restart costs everything. A worker without a heartbeat for ``lease_s`` seconds loses
    what it holds to the others, and nothing that it says about it later counts.

    Receipts are settled for what this process delivers; for what others deliver they stay pending.

    Attributes:
        session: The connection, and this process's name in Redis.
        queues: What this process holds in memory.
        heartbeat, notices: How it follows what other processes do.
        rates: Request tokens that all processes share.
        dead_letters: Records kept for replay.
        writers: One task per destination that writes changes back.
        background: The other tasks.
    """

    durable = True
    where = "in Redis, delivered by the next free worker"

    def __init__(self, options: Options, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.queues = queues = Queues()
        self.session = session = Session(options, clock, queues)
        self.dead_letters = DeadLetters(session)
        self._write_back = write_back = WriteBack(session, queues)
        recalls = Recalls(session, queues, write_back)
        self._claims = claims = Claims(session, queues, write_back, recalls)
        blocked = BlockedRecords(session)
        self._appends = Appends(session, queues)
        self._sent_requests = SentRequests(session)
        self._eviction = Eviction(session, queues, write_back=write_back, claims=claims, blocked=blocked)
        self._erasure = Erasure(
            session, queues, write_back=write_back, claims=claims, recalls=recalls, blocked=blocked,
            dead_letters=self.dead_letters,
        )  # fmt: skip
        self.heartbeat = heartbeat = Heartbeat(session, queues, claims)
        self.rates = SharedRates(
            prefix=session.keys.rate,
            throttling=session.keys.throttling,
            now=clock.monotonic,
            workers=lambda: heartbeat.workers,
        )
        self.notices = Notices(session, queues, recalls=recalls, rates=self.rates)
        self.writers = BackgroundTasks(session.availability)
        self.background = BackgroundTasks(session.availability)
        self._clock = clock
        self._epochs = count(1)
        self._final: Mapping[str, Ledger] | None = None

    @property
    def options(self) -> Options:
        """The settings in its address."""
        return self.session.options

    async def open(
        self,
        destinations: Sequence[str],
        wake: Callable[[str], None],
        settled: OnSettled = ignore_settled,
        *,
        deliver: bool = True,
        recall: Callable[[], Awaitable[None]] = ignore_recall,
    ) -> None:
        session, queues = self.session, self.queues
        await self._drop_connection()
        queues.connect(wake, settled, recall)
        session.delivers, session.closing = deliver, False
        self._appends.reset()
        self._final = None
        connection = session.connect()
        try:
            await session.check_server()
            known = {name.decode() for name in await session.command("SMEMBERS", session.keys.destinations)}
            if session.consumer:
                await self._leave_earlier_run()
            session.take_name()
            earlier = queues.by_name
            queues.by_name = {name: Queue(name) for name in dict.fromkeys([*destinations, *sorted(known)])}
            for name, queue in queues.by_name.items():
                if name in earlier:
                    queue.inherit(earlier[name])
            await session.create_groups(queues.by_name)
            session.availability.opened()
            await self.notices.subscribe(connection)
            await self.heartbeat.beat(connection)
        except BaseException:
            session.detach()
            await connection.close()
            raise
        for queue in queues:
            self.writers.start(f"write-{queue.name}", partial(self._write_back.run, queue))
        self.background.start("heartbeat", self.heartbeat.run)
        self.background.start("notices", self.notices.run)
        if deliver:
            self.background.start("prune", self.dead_letters.run)

    async def _drop_connection(self) -> None:
        """Drop the connection and the tasks of an earlier run that was not closed."""
        connection = self.session.detach()
        if connection is None:
            return
        if connection.loop is asyncio.get_running_loop():
            await self.background.cancel()
            await self.writers.cancel()
            await connection.close()
        else:
            self.background.forget()
            self.writers.forget()

    async def _leave_earlier_run(self) -> None:
        """Store what an earlier run of this process knew of its entries, and end its leases."""
        session = self.session
        for queue in self.queues:
            queue.mark_uncertain(self._clock.wall())
            queue.flush_waiters.clear()
            while queue.dirty:
                await self._write_back.write_some(queue, session.consumer)
            queue.release(list(queue.entries.values()))
        await session.command("ZREM", session.keys.consumers, session.consumer)

    async def close(self) -> None:
        session = self.session
        if not session.is_open:
            return
        connection = session.connection
        self.queues.disconnect()
        session.closing = True
        for queue in self.queues:
            queue.mark_uncertain(self._clock.wall())
            queue.write_requested.set()
        await self.background.cancel()
        await self.writers.finish(CLOSE_S)
        for queue in self.queues:
            if queue.unwritten_outcomes:
                logger.error(
                    "%s: %d outcomes could not be stored; these events may be sent again",
                    queue.name,
                    queue.unwritten_outcomes,
                )
        try:
            async with asyncio.timeout(CLOSE_S):
                for queue in self.queues:
                    await self._claims.leave(connection, queue)
                await session.command("ZREM", session.keys.consumers, session.consumer)
                await self.heartbeat.beat(connection, last=True)
                session.consumer = ""
        except (SpoolError, TimeoutError):
            logger.warning("Redis does not answer; what this process held can be claimed when its lease ends")
        self._final = self._ledger()
        session.detach()
        await connection.close()

    async def refresh(self) -> None:
        """Read the counts from Redis now."""
        await self.heartbeat.refresh()

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        await self._appends.append(records, refused, timeout_s)

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        queue = self.queues[destination]
        queue.wake(self._clock.monotonic())
        while (
            len(queue.ready) < limit
            and queue.ready_bytes < max_bytes
            and queue.may_claim
            and not self.session.closing
            and await self._claims.fetch(queue, limit - len(queue.ready))
        ):
            pass
        return queue.take(limit, max_bytes, next(self._epochs))

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        queue = self.queues[records[0].destination]
        if queue.recalled and self._write_back.end_recalled(queue, records):
            await self._write_back.flush(queue)
            raise Revoked
        now = self._clock.wall()
        noted = False
        entry: Any = None
        attempted_at: dict[int, float] = {}
        for record in records:
            if record.epoch <= 0:
                raise SpoolError("another process holds these events now")
            if record.chunk is not entry:
                entry = record.chunk
                attempted_at = entry.attempted_at
            # only the records of this request: others of their entry must not look as if they may have arrived
            if not record.uncertain_since and (record.attempts or record.at not in attempted_at):
                attempted_at[record.at] = now
                queue.dirty[entry.id] = entry
                noted = True
        if not noted:
            return
        queue.write_requested.set()
        try:
            async with asyncio.timeout(self.options.patience_s):
                await self._write_back.flush(queue)
        except TimeoutError:
            raise Unreachable("Redis is out of reach; nothing is sent now") from None
        if any(record.epoch <= 0 for record in records):
            raise SpoolError("another process holds these events now")

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        start = 0
        touched: dict[str, Queue] = {}
        # runs of one destination and one outcome are settled together
        for stop in range(1, len(records) + 1):
            if (
                stop == len(records)
                or outcomes[stop] is not outcomes[start]
                or records[stop].destination is not records[start].destination
            ):
                leased = [record for record in records[start:stop] if record.epoch > 0]
                if leased:
                    queue = self.queues[leased[0].destination]
                    self._write_back.end(queue, leased, outcomes[start])
                    touched[queue.name] = queue
                start = stop
        for queue in touched.values():
            await self._write_back.flush(queue)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        after_s = min(after_s, MAX_WAIT_S)
        wall, due = self._clock.wall() + after_s, self._clock.monotonic() + after_s
        woken: dict[str, None] = {}
        ended: dict[str, Queue] = {}
        # backwards, because each of them goes in front of the one before
        for record in records if after_s > 0 else reversed(records):
            queue = self.queues.by_name.get(record.destination)
            if record.epoch <= 0 or queue is None:
                continue
            if queue.recalled and self._write_back.end_recalled(queue, [record]):
                ended[queue.name] = queue
                continue
            record.epoch = 0
            entry = record.chunk
            if record.attempts or after_s > 0 or record.at in entry.attempted_at or entry.erases:
                entry.attempted_at.pop(record.at, None)
                entry.waits.pop(record.at, None)
                if after_s > 0:
                    entry.waits[record.at] = (wall, after_s)
                queue.dirty[entry.id] = entry
                queue.write_requested.set()
            if after_s > 0:
                queue.delay(record, due)
            else:
                queue.push_front(record)
            woken[record.destination] = None
        for queue in ended.values():
            await self._write_back.flush(queue)
        for name in woken:
            self.queues.wake(name)

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        """See :meth:`~capi_async.spool.base.Spool.evict`."""
        return await self._eviction.evict(self.queues[destination], events=events, max_bytes=max_bytes, outcome=outcome)

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.settle_matching`."""
        ended = await self._erasure.settle_matching(matches, outcome)
        await self.heartbeat.refresh()
        return ended

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.spool.base.Spool.letters`."""
        return await self.dead_letters.select(wanted)

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.replay`."""
        replayed = await self.dead_letters.replay(wanted, permitted, self._clock.wall())
        await self.heartbeat.refresh()
        for name in replayed:
            self.queues[name].has_unread = True
            self.queues.wake(name)
        return replayed

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """An empty set: this spool does not remember what was delivered."""
        return frozenset()

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """See :meth:`~capi_async.spool.base.Spool.note_sent`."""
        await self._sent_requests.add(destination, sent)

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        return await self._sent_requests.find(destination, since)

    def next_due_s(self, destination: str) -> float | None:
        queue = self.queues[destination]
        now = self._clock.monotonic()
        if queue.ready:
            return 0.0
        if queue.may_claim and not self.session.closing:
            return max(0.0, self.session.availability.retry_at - now)
        if not queue.delayed:
            return None
        return max(0.0, queue.delayed[0][0] - now)

    def depth(self, destination: str) -> Depth:
        queue = self.queues.by_name.get(destination)
        if queue is None:
            return Depth(0, 0)
        return Depth(queue.counts.get("pending", 0), queue.counts.get("bytes", 0))

    def board(self) -> RedisBoard:
        """See :meth:`~capi_async.spool.base.HasBoard.board`."""
        return RedisBoard(self.session)

    def oldest_at(self, destination: str) -> float | None:
        """See :meth:`~capi_async.spool.base.KnowsAge.oldest_at`: of what this process holds, or else of the stream."""
        queue = self.queues.by_name.get(destination)
        if queue is None or not queue.counts.get("pending", 0):
            return None
        # copied first: another thread may ask
        held = oldest_of(entry.records for entry in list(queue.entries.values()))
        return queue.first_at if held is None else held

    def health(self) -> Health:
        """See :meth:`~capi_async.spool.base.Spool.health`."""
        return Health(self.session.availability.away_s(), self.heartbeat.workers)

    def ledger(self) -> Mapping[str, Ledger]:
        return self._ledger() if self._final is None else self._final

    def _ledger(self) -> Mapping[str, Ledger]:
        return {
            queue.name: Ledger(**{kind: queue.counts.get(kind, 0) for kind in ("accepted", *OUTCOME_KINDS)})
            for queue in self.queues
        }

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float:
        """See :meth:`~capi_async.spool.base.Spool.draw_tokens`; without Redis, from this worker's own share."""
        return await self.rates.take(self.session.ready_connection, account, rate=rate, burst=burst)

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """See :meth:`~capi_async.spool.base.Spool.withhold_tokens`."""
        await self.rates.withhold(self.session.connection, account, seconds=seconds)
