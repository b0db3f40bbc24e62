"""The durable spool for one host: what is accepted is in one SQLite file, which several processes may share."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Final, ParamSpec, TypeVar

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
    cut_short,
    ignore_recall,
    ignore_settled,
)
from capi_async.spool.chunks import MAX_WAIT_S
from capi_async.spool.sqlite.board import FileBoard
from capi_async.spool.sqlite.committer import Committer
from capi_async.spool.sqlite.options import Options
from capi_async.spool.sqlite.queue import Queue, Queues
from capi_async.spool.sqlite.rates import SharedRates
from capi_async.spool.sqlite.recalls import Recalls, delete_answered
from capi_async.spool.sqlite.rows import split
from capi_async.spool.sqlite.store import Store
from capi_async.spool.waiting import oldest_of
from capi_async.thread import OwnedThread

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

#: Seconds between two rounds of maintenance, and between two of what is not done in every round.
TICK_S: Final = 0.25
CHECKPOINT_S: Final = 0.25
TAKE_OVER_S: Final = 1.0
SHRINK_S: Final = 5.0
PRUNE_S: Final = 60.0

#: Seconds that closing may take for what is being written.
CLOSE_S: Final = 5.0

#: Records in memory that wait for older ones, from which on no more are fetched in search of one that does not wait.
_MAX_WAITING: Final = 20_000

_UNSERVED: Final = Outcome(
    kind="dead", reason="configuration changed: no destination of this name", reason_code="configuration"
)


class SqliteSpool:
    """See :class:`~capi_async.spool.base.Spool`.

    An event for which ``append`` returned is on the disk (``synchronous=full``) and survives whatever ends the
    process. A process delivers what it appended itself. What a dead process left is taken over within seconds: the
    lock that it held is free then. What was under way when a process died is known as uncertain.

    Attributes:
        store: The records in the file; its methods block, and run in the thread that :meth:`call` uses.
        queues: The records in memory.
    """

    durable = True
    where = "on disk, delivered at the next start"

    def __init__(self, options: Options, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._options = options
        self.store = self._make_store()
        self._rates = SharedRates(options.path.with_name(options.path.name + "-rates"), now=clock.monotonic)
        #: What is in memory may differ from what this process owns by the file.
        self._memory_outdated = False
        self._thread: OwnedThread | None = None
        #: Done when the close under way is over; the next open waits for it.
        self._closed: asyncio.Future[None] | None = None
        #: Another process has written something that was not read yet.
        self._changed = True
        #: Moves the log into the file, which callers should not wait for.
        self._checkpoint_thread = OwnedThread("capi_async-sqlite-checkpoint")
        self._committer: Committer | None = None
        self._maintenance: asyncio.Task[None] | None = None
        self.queues = Queues(
            clock=clock, touch=lambda chunk: self._writer().touch(chunk), wake=lambda name: self._wake(name)
        )
        self._epochs = count(1)
        self._wake: Callable[[str], None] = _ignore_wake
        self._settled: OnSettled = ignore_settled
        self._deliver = True
        self._final: Mapping[str, Ledger] = {}
        self._recalls = self._make_recalls(ignore_recall)

    # Lifecycle.

    @property
    def options(self) -> Options:
        """The settings in the address of the spool."""
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
        await self._earlier_close()
        fresh = self._thread is None
        thread = self._thread = self._thread or OwnedThread("capi_async-sqlite")
        self._wake = wake
        self._settled = settled
        self._recalls = self._make_recalls(recall if deliver else ignore_recall)
        self._deliver = self.store.owns_new = deliver
        if fresh:
            self._checkpoint_thread = OwnedThread("capi_async-sqlite-checkpoint")
        try:
            # a loop that ended without closing left the file open: what it owned is claimed as a dead process's is
            await self.call(self.store.open if fresh else self.store.release_all)
        except BaseException:
            if fresh:
                # if this was cancelled, opening continues in the thread: the store is closed there before the next open
                self._closed = thread.submit(self.store.close)
                self.store = self._make_store()
                thread.stop()
                self._thread = None
            raise
        self.queues.start(destinations, deliver=deliver)
        self._final = {}
        self._committer = Committer(
            self.store.commit,
            thread,
            path=self.store.path,
            stored=self.queues.stored,
            finished=self.queues.finished,
            lost=self.queues.forget_changed,
        )
        # recalls that a process left that died before it could apply them
        await self._recalls.apply_recalls_on_disk()
        await self.recount()
        self._maintenance = asyncio.get_running_loop().create_task(
            self._maintain(), name="capi_async-sqlite-maintain", context=contextvars.Context()
        )

    async def close(self) -> None:
        if self._thread is None:
            return
        closed = self._closed = asyncio.get_running_loop().create_future()
        try:
            await self._close(self._thread)
        finally:
            closed.set_result(None)

    async def _earlier_close(self) -> None:
        """Return once an earlier close is over: what was being written is written then, or never will be."""
        closed, self._closed = self._closed, None
        # a loop that has ended took its close with it
        if closed is not None and closed.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([closed])

    async def _close(self, thread: OwnedThread) -> None:
        self._wake = _ignore_wake
        self._settled = ignore_settled
        self._thread = None
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.wait([self._maintenance])
        if self._committer is not None:
            await self._committer.close(CLOSE_S)
            self._committer = None
        try:
            self._final = self.ledger()
        except SpoolError as error:
            logger.warning(
                "spool: %s: the ledger could not be read at the end (%s), so the counts of the close may be old; what "
                "is stored is not affected",
                self.store.path, error, extra={"error": str(error)},
            )  # fmt: skip
        await asyncio.wait([asyncio.ensure_future(self._checkpoint_thread.run(bool))], timeout=CLOSE_S)
        self._checkpoint_thread.stop()
        done, _ = await asyncio.wait([asyncio.ensure_future(thread.run(self.store.close))], timeout=CLOSE_S)
        if not done:
            logger.warning("storage does not answer; the spool file is left as after a crash")
            # the thread may go on later: the next open must not share this store with it
            self.store = self._make_store()
        thread.stop()
        self._rates.close()
        self.queues.start((), deliver=self._deliver)

    # In and out.

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        await self._writer().append(list(split(records)), refused, timeout_s)

    def append_soon(
        self,
        records: Sequence[Record],
        refused: Sequence[Refused],
        *,
        timeout_s: float | None,
        told: Callable[[SpoolError | None], None],
    ) -> None:
        """See :func:`~capi_async.spool.base.append_soon_of`."""
        self._writer().append_soon(list(split(records)), refused, timeout_s, told)

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        queue = self.queues.by_destination[destination]
        queue.wake(self._clock.monotonic())
        while len(queue.ready) < limit and (queue.unloaded or (queue.unowned[0] and not queue.ready)):
            if not await self._fetch(queue, limit, max_bytes):
                break
            if queue.ready_bytes >= max_bytes or queue.held_back() > _MAX_WAITING:
                break
        return queue.take(limit, max_bytes, next(self._epochs))

    async def _fetch(self, queue: Queue, limit: int, max_bytes: int) -> bool:
        """Load more into memory, if there is any: first what this process owns."""
        async with self._recalls.moving:
            if queue.unloaded:
                loaded = await self.call(
                    self.store.load, queue.name, after=queue.cursor, records=limit, max_bytes=max_bytes
                )
                self.queues.add_loaded(queue, loaded)
            else:
                loaded = await self.call(self.store.claim, queue.name, records=limit, max_bytes=max_bytes)
                self.queues.add_claimed(queue, loaded)
                await self._refresh_foreign_keys()
        # True also if nothing of it could be read: the next call loads what follows
        return bool(loaded.last)

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        if not self.store.has_owner_lock():
            await self._restore_owner_lock()
        if not self.store.sees_recalls():
            await self.call(self.store.reopen_lock)
            await self._recalls.apply_recalls()
        if any(record.epoch <= 0 for record in records):
            raise Revoked
        if self._recalls.recalled():
            await self._recalls.apply_recalls()
        if self.queues.erase_on_return and await self._recalls.end_recalled(records):
            raise Revoked
        writer = self._writer()
        await writer.marked(sync=self.queues.note_requests(records))
        if any(record.epoch <= 0 for record in records):
            raise Revoked  # another process has taken them over, which was noticed as they were noted

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        ended: list[tuple[Sequence[Record], Outcome]] = []
        start = 0
        for stop in range(1, len(records) + 1):
            if stop == len(records) or outcomes[stop] is not outcomes[start]:
                held = [record for record in records[start:stop] if record.epoch > 0]
                if held:
                    self.queues.end(held, outcomes[start])
                    ended.append((held, outcomes[start]))
                start = stop
        if ended:
            await self._writer().settled(ended)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        if self.queues.erase_on_return:
            await self._recalls.end_recalled(records)
        after_s = min(after_s, MAX_WAIT_S)
        wall, due = self._clock.wall() + after_s, self._clock.monotonic() + after_s
        woken: dict[str, None] = {}
        # backwards, because each record is put in front of the one before
        for record in records if after_s > 0 else reversed(records):
            queue = self.queues.by_destination.get(record.destination)
            if record.epoch <= 0 or queue is None:
                continue
            record.epoch = 0
            if self.queues.note_release(record, (wall, after_s)) and self._committer is not None:
                self._committer.touch(record.chunk)
            if after_s > 0:
                queue.delay(record, due)
            else:
                queue.push_front(record)
            woken[record.destination] = None
        for name in woken:
            self._wake(name)

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        queue = self.queues.by_destination[destination]
        ended: list[tuple[Sequence[Record], Outcome]] = []
        over_events, over_bytes = queue.events + queue.unowned[0] - events, queue.bytes + queue.unowned[1] - max_bytes
        while over_events > 0 or over_bytes > 0:
            record = queue.oldest()
            if record is None:
                # a process that does not deliver must not claim what others are to deliver
                if not (queue.unloaded or (self._deliver and queue.unowned[0])) or not await self._fetch(queue, 1, 1):
                    break
                continue
            end = cut_short(record, outcome, self._clock.wall())
            self.queues.end([record], end)
            ended.append(([record], end))
            over_events -= 1
            over_bytes -= len(record.body)
        if ended:
            await self._writer().settled(ended)
            self._settled(destination, [records[0].event_id for records, _ in ended], [end for _, end in ended])
        return len(ended)

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        found = await self._recalls.settle_matching(matches, outcome)
        await self.recount()
        return found

    # Dead letters.

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.spool.base.Spool.letters`."""

        return await self.call(self.store.dead_letters, wanted)

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.replay`."""
        replayed = await self.call(self.store.replay, wanted, permitted, self._clock.wall())
        await self.recount()
        return replayed

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """See :meth:`~capi_async.spool.base.Spool.remembered`."""
        return await self.call(self.store.remembered, list(event_ids))

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """See :meth:`~capi_async.spool.base.Spool.note_sent`."""
        await self.call(self.store.note_sent, destination, sent)

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        return await self.call(self.store.sent, destination, since)

    # Counts.

    def next_due_s(self, destination: str) -> float | None:
        queue = self.queues.by_destination[destination]
        if queue.ready or queue.unowned[0] or (queue.unloaded and queue.held_back() <= _MAX_WAITING):
            return 0.0
        if not queue.delayed:
            return None
        return max(0.0, queue.delayed[0][0] - self._clock.monotonic())

    def depth(self, destination: str) -> Depth:
        queue = self.queues.by_destination.get(destination)
        if queue is None:
            return Depth(0, 0)
        return Depth(queue.events + queue.unowned[0], queue.bytes + queue.unowned[1])

    def oldest_at(self, destination: str) -> float | None:
        """See :meth:`~capi_async.spool.base.KnowsAge.oldest_at`; what is nobody's, or in the file only, is younger."""
        # copied first: another thread may ask
        chunks = list(self.queues.chunks.values())
        return oldest_of(chunk.records for chunk in chunks if chunk.destination == destination)

    def health(self) -> Health:
        """See :meth:`~capi_async.spool.base.Spool.health`."""
        return Health(self._committer.away_s() if self._committer is not None else 0.0)

    def ledger(self) -> Mapping[str, Ledger]:
        if self._thread is None and self._final:
            return self._final
        return {
            name: Ledger(**{kind: counts.get(kind, 0) for kind in ("accepted", *OUTCOME_KINDS)})
            for name, counts in self.store.ledger().items()
        }

    def board(self) -> FileBoard:
        """See :meth:`~capi_async.spool.base.HasBoard.board`."""
        return FileBoard(self._options.path)

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """See :meth:`~capi_async.spool.base.Spool.draw_tokens`; ``None`` also if another process locks the rates."""
        return await self._rates.draw_soon(account, rate=rate, burst=burst, wanted=wanted)

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """Not shared: each process of the host learns it from its own answers."""

    # Below.

    def _make_store(self) -> Store:
        return Store(self._options, wall=self._clock.wall)

    def _make_recalls(self, recall: Callable[[], Awaitable[None]]) -> Recalls:
        return Recalls(
            self.store,
            self.queues,
            wall=self._clock.wall,
            call=self.call,
            writer=self._writer,
            recall=recall,
            settled=lambda *what: self._settled(*what),
        )

    def _writer(self) -> Committer:
        if self._committer is None:
            raise SpoolError("the spool is not open", stored=False)
        return self._committer

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the thread that owns the file.

        Raises:
            SpoolError: Storage failed, or the spool is not open.
        """
        if self._thread is None:
            raise SpoolError("the spool is not open")
        try:
            return await self._thread.run(function, *args, **kwargs)
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error
        except OSError as error:
            raise SpoolError(f"storage failed: {error.strerror}") from error

    async def recount(self) -> None:
        """Count what no process owns, or all that is pending where nothing is delivered."""
        found, newest = await self.call(self.store.counts, pending=not self._deliver)
        self.queues.set_unowned(found, newest)
        await self._refresh_foreign_keys()

    async def _restore_owner_lock(self) -> None:
        """Make the file again that proves that this process lives, and forget what others took over meanwhile."""
        async with self._recalls.moving:
            if await self.call(self.store.restore_owner_lock):
                self._memory_outdated = True
        if self._memory_outdated:
            await self._forget_disowned()

    async def _forget_disowned(self) -> None:
        """Forget what is in memory and, by the file, not owned by this process."""
        async with self._recalls.moving:
            rows = await self.call(self.store.owned)
            unfetched = self.queues.keep_only(rows, self._writer().under_way)
            if unfetched:
                await self.call(self.store.disown, unfetched)
            self._memory_outdated = False
        await self.recount()

    async def _maintain(self) -> None:
        """Maintain the file, and follow what other processes do, until cancelled."""
        last = dict.fromkeys(_EVERY, self._clock.monotonic())
        last["unserved"] = last["checkpoint"] = 0.0  # a run before this one may have left a long log
        while True:
            try:
                await self._maintain_once(last)
            except SpoolError as error:
                logger.warning(
                    "spool: %s could not be maintained (%s); it is tried again in %.0f s: see to the file, its "
                    "volume and its permissions",
                    self.store.path, error, TAKE_OVER_S, extra={"error": str(error)},
                )  # fmt: skip
                await asyncio.sleep(TAKE_OVER_S)
            await asyncio.sleep(TICK_S)

    async def _maintain_once(self, last: dict[str, float]) -> None:
        self.queues.drop_receipts()
        now = self._clock.monotonic()
        due = {what for what, s in _EVERY.items() if now - last[what] >= s}
        last.update(dict.fromkeys(due, now))
        if "checkpoint" in due and await self._checkpoint_thread.run(self.store.space.checkpoint):
            await self.call(self.store.space.finish_checkpoint)
        # each fact is kept until it has been dealt with: a round that fails must not lose it
        if not self.store.has_owner_lock():
            await self._restore_owner_lock()
        if not self.store.sees_recalls():
            await self.call(self.store.reopen_lock)
            self._changed = True
        if self._memory_outdated:
            await self._forget_disowned()
        self._changed = await self.call(self.store.changed) or self._changed
        if "take_over" in due:
            await self.call(self.store.check_place)
            self._changed = await self.call(self.store.take_over) or self._changed
        if "unserved" in due and self._deliver and await self.call(self.store.alone):
            await self._end_unserved()
        if self._changed or self._recalls.recalled():
            await self._recalls.apply_recalls()
            await self.recount()
            self._changed = False
        if self.queues.has_traces:
            await self._recalls.erase_traces()
        if "shrink" in due:
            await self.call(self.store.space.shrink)
            await self.call(self.store.space.hold_reserve)
        if "prune" in due:
            await self.call(delete_answered, self.store)
            await self.call(self.store.prune)

    async def _end_unserved(self) -> None:
        ended = await self.call(self.store.end_unserved, tuple(self.queues.by_destination), _UNSERVED)
        for name, events in ended.items():
            logger.error(
                "spool: %s: dead: %d events wait for a destination that is configured no more; they are kept as dead "
                "letters: configure it again under this name, and send them with 'capi-async queue replay'",
                name,
                events,
                extra={"destination": name, "kind": "dead", "reason_code": "configuration", "count": events},
            )

    async def _refresh_foreign_keys(self) -> None:
        chunks = [chunk for chunk in self.queues.chunks.values() if chunk.foreign]
        if not chunks:
            return
        for chunk, foreign in zip(chunks, await self.call(self.store.foreign_keys_of, chunks), strict=True):
            chunk.foreign = foreign
        for name, queue in self.queues.by_destination.items():
            if queue.release_foreign():
                self._wake(name)


_EVERY: Final = {
    "checkpoint": CHECKPOINT_S,
    "take_over": TAKE_OVER_S,
    "shrink": SHRINK_S,
    "prune": PRUNE_S,
    "unserved": TAKE_OVER_S,
}


def _ignore_wake(_destination: str) -> None:
    """The ``wake`` of a spool that is not open."""
