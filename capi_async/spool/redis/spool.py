"""The durable spool for many hosts: web processes append to Redis Streams, workers deliver from them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

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
from capi_async.spool.redis import sent as sent_requests
from capi_async.spool.redis.entry import (
    pack,
    pack_fields,
    split,
)
from capi_async.spool.redis.line import MAX_HELD, Line
from capi_async.spool.redis.link import Away, Link
from capi_async.spool.redis.minding import Minding
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.reach import ALWAYS_S, nobody
from capi_async.spool.redis.scripts import APPEND, PART

logger = logging.getLogger(__name__)

#: Seconds more than a caller waits for replicas: until Redis says how many have it.
_COPIED_S: Final = 0.5

#: Seconds that closing may take for what is being stored.
CLOSE_S: Final = 5.0


class RedisSpool(Minding):
    """See :class:`~capi_async.spool.base.Spool`.

    What ``append`` returned for is in Redis, and lives as long as Redis keeps what it was told: with ``appendonly yes``
    and ``appendfsync always`` it survives a power cut; with ``everysec`` a crash of the machine may cost a second or
    two; without an append-only file a restart costs all there is. A worker that was not heard of for ``lease_s``
    seconds loses what it held to the others, and nothing that it says about it later counts.

    Receipts are told of what the process delivers itself; of what others deliver they stay pending.
    """

    durable = True
    where = "in Redis, delivered by whichever worker is next"

    @property
    def options(self) -> Options:
        """What its address says."""
        return self._options

    async def open(
        self,
        destinations: Sequence[str],
        wake: Callable[[str], None],
        settled: OnSettled = ignore_settled,
        *,
        deliver: bool = True,
        recall: Callable[[], Awaitable[None]] = ignore_recall,
    ) -> None:
        before = self._me
        link, self._link = self._link, None
        tasks, self._tasks = self._tasks, []
        if link is not None and link.loop is asyncio.get_running_loop():
            await _stop(tasks)
            await link.close()
        self._wake = wake
        self._settled = settled
        self._deliver = deliver
        self._recall = recall
        self._closing = False
        self._appending = asyncio.Lock()
        self._final = None
        self._failing_since = self._away_since = self._retry_at = 0.0
        link = self._link = Link(self._options)
        try:
            await self._check(link)
            self._names = tuple(destinations)
            known = {name.decode() for name in await link.call("SMEMBERS", self._keys.names)}
            old = self._lines
            if before:
                await self._disown(link, before, old)
            self._me = f"{'w' if deliver else 'p'}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
            self._lines = {name: Line(name) for name in dict.fromkeys([*destinations, *sorted(known)])}
            for name, line in self._lines.items():
                if name in old:
                    line.inherit(old[name])
            await self._group(link, self._lines)
            # Redis may just have been away, and others had no chance yet to say that they live
            self._steady_since = self._heard_at = self._clock.monotonic()
            self._gap_s = ALWAYS_S
            await self._begin_to_listen(link)
            await self._look(link)
        except BaseException:
            self._link = None
            await link.close()
            raise
        for line in self._lines.values():
            self._start(f"save-{line.name}", partial(self._save, line))
        self._start("look", self._tend)
        self._start("listen", self._listen)
        if deliver:
            self._start("tidy", self._tidy)

    def _start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(
            self._supervised(name, run), name=f"capi_async-redis-{name}", context=contextvars.Context()
        )
        self._tasks.append(task)

    async def close(self) -> None:
        link = self._link
        if link is None:
            return
        self._wake = nobody
        self._settled = ignore_settled
        self._recall = ignore_recall
        self._closing = True
        for line in self._lines.values():
            line.doubt(self._clock.wall())
            line.work.set()
        savers = self._tasks[: len(self._lines)]
        await _stop(self._tasks[len(self._lines) :])
        if savers:
            await asyncio.wait(savers, timeout=CLOSE_S)
            await _stop(savers)
        for line in self._lines.values():
            lost = line.unsaved + sum(sum(one.counts.values()) for one in line.dirty.values())
            if lost:
                logger.error("%s: %d outcomes could not be stored; these events may be sent again", line.name, lost)
        try:
            async with asyncio.timeout(CLOSE_S):
                for line in self._lines.values():
                    async with line.turn:
                        await self._give_back(link, line, list(line.entries.values()))
                    await link.run(PART, [self._keys.of(line.name).stream], [self._me])
                await link.call("ZREM", self._keys.workers, self._me)
                await self._look(link, "")
                self._me = ""
        except (SpoolError, TimeoutError):
            logger.warning("Redis is away; what was held here is free when its lease ends")
        self._final = self._view()
        self._tasks = []
        self._link = None
        await link.close()

    async def _disown(self, link: Link, before: str, lines: Mapping[str, Line]) -> None:
        """An earlier run of this process cannot come back for what it held; what it knew of it is stored."""
        for line in lines.values():
            line.doubt(self._clock.wall())
            line.waiters.clear()
            while line.dirty:
                await self._save_some(line, before)
            line.part(list(line.entries.values()))
        await link.call("ZREM", self._keys.workers, before)

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        made = split(records, self._token, named=self._deliver or self._sealing.encrypts)
        counts: dict[str, Counter[str]] = {}
        for name, news in made.items():
            number = sum([len(new.records) for new in news])
            counts[name] = Counter(accepted=number, pending=number, bytes=sum([new.size for new in news]))
        for one in refused:
            mine = counts.get(one.destination)
            if mine is None:
                mine = counts[one.destination] = Counter()
            mine["accepted"] += 1
            mine[one.outcome.kind] += 1
        if not counts:
            return
        keys = [self._keys.sequence(self._me), self._keys.names]
        plan: list[Any] = []
        bodies: list[str | bytes] = []
        for name, changes in counts.items():
            of = self._keys.of(name)
            keys += [of.stream, of.bell, of.ledger, of.wait, of.holders]
            beside: list[Any] = []
            for new in made.get(name, ()):
                fields = new.fields(self._sealing.seal)
                beside.append(new.key or fields[2:])
                bodies.append(pack_fields(fields) if new.key else fields[1])
            plan.append([name, changes, beside])
        if self._deliver:
            for name, news in made.items():
                for new in news:
                    self._line(name).remember(new.token, new.records)
        patience_s = self._options.patience_s if timeout_s is None else timeout_s
        begun = False
        try:
            # replicas say in time how many of them have it
            async with asyncio.timeout(patience_s + (_COPIED_S if self._options.replicas else 0.0)), self._appending:
                begun = True
                arguments = [next(self._numbers), pack(plan), *bodies]
                found = await self._call(APPEND, keys, arguments, patience_s=patience_s, copies=self._options.replicas)
        except BaseException as error:
            for name, news in made.items():
                for new in news:
                    self._line(name).unmake(new.token)
            if not isinstance(error, TimeoutError):
                raise
            raise Away(
                f"Redis at {self._options.place} did not answer within {patience_s:g} s",
                stored=None if begun else False,
            ) from None
        for (name, _), (ids, ledger) in zip(counts.items(), found, strict=True):
            line = self._line(name)
            line.learn(ledger)
            for new, number in zip(made.get(name, ()), ids, strict=True):
                if number:
                    line.number(new.token, number.decode())
            if name in made and self._deliver:
                line.unread = True
                self._wake(name)
        for one in refused:
            if one.receipt is not None:
                one.receipt.settle(one.destination, one.outcome)

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        line = self._lines[destination]
        line.wake(self._clock.monotonic())
        while (
            len(line.ready) < limit
            and line.ready_bytes < max_bytes
            and (line.astray or ((line.orphans or line.unread) and line.held < MAX_HELD))
            and not self._closing
            and await self._fetch(line, limit - len(line.ready))
        ):
            pass
        return line.take(limit, max_bytes, next(self._epochs))

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        line = self._lines[records[0].destination]
        if line.doomed and self._end_doomed(line, records):
            await self._stored(line)
            raise Revoked
        now = self._clock.wall()
        touched = False
        entry: Any = None
        marks: dict[int, float] = {}
        for record in records:
            if record.epoch <= 0:
                raise SpoolError("another process holds these events now")
            if record.chunk is not entry:
                entry = record.chunk
                marks = entry.marks
            # exactly those that this request carries: others of their entry must not be thought to have arrived
            if not record.uncertain_since and (record.attempts or record.at not in marks):
                marks[record.at] = now
                line.dirty[entry.id] = entry
                touched = True
        if not touched:
            return
        line.work.set()
        try:
            async with asyncio.timeout(self._options.patience_s):
                await self._stored(line)
        except TimeoutError:
            raise Away("Redis is out of reach; nothing is sent now") from None
        if any(record.epoch <= 0 for record in records):
            raise SpoolError("another process holds these events now")

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        start = 0
        lines: dict[str, Line] = {}
        for stop in range(1, len(records) + 1):
            if (
                stop == len(records)
                or outcomes[stop] is not outcomes[start]
                or records[stop].destination is not records[start].destination
            ):
                held = [record for record in records[start:stop] if record.epoch > 0]
                if held:
                    line = self._lines[held[0].destination]
                    self._end(line, held, outcomes[start])
                    lines[line.name] = line
                start = stop
        for line in lines.values():
            await self._stored(line)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        after_s = min(after_s, MAX_WAIT_S)
        wall, due = self._clock.wall() + after_s, self._clock.monotonic() + after_s
        woken: dict[str, None] = {}
        ended: dict[str, Line] = {}
        # backwards, because each of them goes in front of the one before
        for record in records if after_s > 0 else reversed(records):
            line = self._lines.get(record.destination)
            if record.epoch <= 0 or line is None:
                continue
            if line.doomed and self._end_doomed(line, [record]):
                ended[line.name] = line
                continue
            record.epoch = 0
            entry = record.chunk
            if record.attempts or after_s > 0 or record.at in entry.marks or entry.scrub:
                entry.marks.pop(record.at, None)
                entry.waits.pop(record.at, None)
                if after_s > 0:
                    entry.waits[record.at] = (wall, after_s)
                line.dirty[entry.id] = entry
                line.work.set()
            if after_s > 0:
                line.delay(record, due)
            else:
                line.back(record)
            woken[record.destination] = None
        for line in ended.values():
            await self._stored(line)
        for name in woken:
            self._wake(name)

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.spool.base.Spool.letters`."""
        return await self._letters.select(self._ask, wanted)

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.replay`."""
        replayed = await self._letters.replay(
            self._call, self._ask, wanted, permitted, self._clock.wall(), token=self._token
        )
        await self._refresh()
        for name in replayed:
            line = self._line(name)
            line.unread = True
            self._wake(name)
        return replayed

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Nothing is remembered here beyond its delivery."""
        return frozenset()

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """See :meth:`~capi_async.spool.base.Spool.note_sent`."""
        await sent_requests.add(self._ask, self._keys.of(destination).sent, sent, self._clock.wall())

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        return await sent_requests.find(self._ask, self._keys.of(destination).sent, since)

    def next_due_s(self, destination: str) -> float | None:
        line = self._lines[destination]
        away_s = max(0.0, self._retry_at - self._clock.monotonic())
        if line.ready:
            return 0.0
        if (line.astray or ((line.orphans or line.unread) and line.held < MAX_HELD)) and not self._closing:
            return away_s
        if not line.delayed:
            return None
        return max(0.0, line.delayed[0][0] - self._clock.monotonic())

    def depth(self, destination: str) -> Depth:
        line = self._lines.get(destination)
        if line is None:
            return Depth(0, 0)
        return Depth(line.counts.get("pending", 0), line.counts.get("bytes", 0))

    def health(self) -> Health:
        """See :meth:`~capi_async.spool.base.Spool.health`."""
        return Health(self.away_s(), self.workers)

    def ledger(self) -> Mapping[str, Ledger]:
        return self._view() if self._final is None else self._final

    def _view(self) -> Mapping[str, Ledger]:
        return {
            name: Ledger(**{kind: line.counts.get(kind, 0) for kind in ("accepted", *OUTCOME_KINDS)})
            for name, line in self._lines.items()
        }

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float:
        """See :meth:`~capi_async.spool.base.Spool.draw_tokens`; while Redis is away, of this worker's own share."""
        link = self._link if self._clock.monotonic() >= self._retry_at else None
        return await self._rates.draw(link, account, rate=rate, burst=burst)

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """See :meth:`~capi_async.spool.base.Spool.withhold_tokens`."""
        await self._rates.withhold(self._reach(), account, rate=rate, burst=burst, seconds=seconds)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them; the driver may swallow a cancellation, see ``Link``."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.02)
