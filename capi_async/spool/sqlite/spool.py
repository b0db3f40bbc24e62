"""The durable spool for one host: what is accepted is in one SQLite file, which several processes may share."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sqlite3
import time
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
from capi_async.spool.sqlite import dead_letters
from capi_async.spool.sqlite.committer import Committer
from capi_async.spool.sqlite.group import Chunk, split
from capi_async.spool.sqlite.options import Options
from capi_async.spool.sqlite.queue import Line, Queues
from capi_async.spool.sqlite.rates import SharedRates
from capi_async.spool.sqlite.recalls import Recalls, delete_answered
from capi_async.spool.sqlite.store import Counts, Store
from capi_async.thread import OwnedThread

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

#: Seconds between two looks at what other processes did, and between those at whether they live.
TICK_S: Final = 0.25
CHECKPOINT_S: Final = 0.25
ADOPT_S: Final = 1.0
SHRINK_S: Final = 5.0
TIDY_S: Final = 60.0

#: Seconds that closing may take for what is being written.
CLOSE_S: Final = 5.0

#: Records in memory that wait for older ones before no more are fetched in search of one that does not.
_MAX_WAITING: Final = 20_000

#: How often, and after how many seconds each time, the file of shared rates is tried while another process has it;
#: for how many seconds it is tried once only after that was in vain; and seconds between two warnings of it.
_RATES_TRIES: Final = 50
_RATES_TRY_S: Final = 0.001
_RATES_LEFT_S: Final = 0.25
_WARN_AGAIN_S: Final = 60.0

_RETIRED: Final = Outcome(
    kind="dead", reason="configuration changed: no destination of this name", reason_code="configuration"
)


class SqliteSpool:
    """See :class:`~capi_async.spool.base.Spool`.

    An event for which ``append`` returned is on the disk (``synchronous=full``) and survives whatever ends the
    process. A process delivers what it appended itself; what a dead one left is taken over within seconds, by the
    proof that the lock it held is free. Of what was under way when a process died, everybody knows that it may
    have arrived.
    """

    durable = True
    where = "on disk, delivered at the next start"

    def __init__(self, options: Options, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._options = options
        self._store = self._make_store()
        self._rates = SharedRates(options.path.with_name(options.path.name + "-rates"), now=clock.monotonic)
        #: What is in memory may not be what the file says is this process's own.
        self._astray = False
        self._rates_held_until = 0.0
        self._rates_warned_at = -_WARN_AGAIN_S
        self._thread: OwnedThread | None = None
        #: Closing goes on; whoever opens it again waits until it is over.
        self._closed: asyncio.Future[None] | None = None
        #: Another process has written something that was not looked at yet.
        self._changed = True
        #: Moves the log into the file, which nobody who sends should wait for.
        self._beside = OwnedThread("capi_async-sqlite-checkpoint")
        self._committer: Committer | None = None
        self._tending: asyncio.Task[None] | None = None
        self._queues = Queues(
            clock=clock, touch=lambda chunk: self._writer().touch(chunk), wake=lambda name: self._wake(name)
        )
        self._epochs = count(1)
        self._wake: Callable[[str], None] = _nobody
        self._settled: OnSettled = ignore_settled
        self._deliver = True
        self._final: Mapping[str, Ledger] = {}
        self._recalls = self._make_recalls(ignore_recall)

    # Lifecycle.

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
        await self._old_close()
        fresh = self._thread is None
        thread = self._thread = self._thread or OwnedThread("capi_async-sqlite")
        self._wake = wake
        self._settled = settled
        self._recalls = self._make_recalls(recall if deliver else ignore_recall)
        self._deliver = self._store.keeps = deliver
        if fresh:
            self._beside = OwnedThread("capi_async-sqlite-checkpoint")
        try:
            # a loop that ended without closing left the file open: what it held is taken up as a dead process's is
            await self._call(self._store.open if fresh else self._store.release_all)
        except BaseException:
            if fresh:
                # cancelled, it goes on in its thread: it is closed there, before the next one opens a store of its own
                self._closed = thread.submit(self._store.close)
                self._store = self._make_store()
                thread.stop()
                self._thread = None
            raise
        self._queues.start(destinations, deliver=deliver)
        self._final = {}
        self._committer = Committer(
            self._store, thread, stored=self._queues.stored, finished=self._queues.finished, lost=self._queues.lose
        )
        # what a process left that died before it could stop it
        await self._recalls.apply_recalls_on_disk()
        await self._count()
        self._tending = asyncio.get_running_loop().create_task(
            self._tend(), name="capi_async-sqlite-tend", context=contextvars.Context()
        )

    async def close(self) -> None:
        if self._thread is None:
            return
        closed = self._closed = asyncio.get_running_loop().create_future()
        try:
            await self._close(self._thread)
        finally:
            closed.set_result(None)

    async def _old_close(self) -> None:
        """Return once the last run has let go of the file; what it was writing is written then, or never will be."""
        closed, self._closed = self._closed, None
        # a loop that has ended took its close with it
        if closed is not None and closed.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([closed])

    async def _close(self, thread: OwnedThread) -> None:
        self._wake = _nobody
        self._settled = ignore_settled
        self._thread = None
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        if self._committer is not None:
            await self._committer.close(CLOSE_S)
            self._committer = None
        try:
            self._final = self.ledger()
        except SpoolError as error:
            logger.warning(
                "spool: %s: the ledger could not be read at the end (%s), so the counts of the close may be old; what "
                "is stored is not affected",
                self._store.path, error, extra={"error": str(error)},
            )  # fmt: skip
        await asyncio.wait([asyncio.ensure_future(self._beside.run(bool))], timeout=CLOSE_S)
        self._beside.stop()
        done, _ = await asyncio.wait([asyncio.ensure_future(thread.run(self._store.close))], timeout=CLOSE_S)
        if not done:
            logger.warning("storage does not answer; the spool file is left as after a crash")
            # the thread may come round later: whoever opens the spool again must not share this one with it
            self._store = self._make_store()
        thread.stop()
        self._rates.close()
        self._queues.start((), deliver=self._deliver)

    # In and out.

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        await self._writer().append(list(split(records)), refused, timeout_s)

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        line = self._queues.lines[destination]
        line.wake(self._clock.monotonic())
        while len(line.ready) < limit and (line.cold or (line.unowned[0] and not line.ready)):
            if not await self._fetch(line, limit, max_bytes):
                break
            if line.ready_bytes >= max_bytes or line.waiting() > _MAX_WAITING:
                break
        return line.take(limit, max_bytes, next(self._epochs))

    async def _fetch(self, line: Line, limit: int, max_bytes: int) -> bool:
        """Get more into memory, if there is any: first what is this process's own."""
        async with self._recalls.moving:
            if line.cold:
                looked = await self._call(
                    self._store.load, line.name, after=line.cursor, records=limit, max_bytes=max_bytes
                )
                self._queues.enter_cold(line, looked)
            else:
                looked = await self._call(self._store.claim, line.name, records=limit, max_bytes=max_bytes)
                self._queues.enter_claimed(line, looked)
                await self._look_at_foreign()
        # what could not be read is behind us: the next call looks at what follows
        return bool(looked.last)

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        if not self._store.lives():
            await self._come_back()
        if not self._store.sees_recalls():
            await self._call(self._store.reopen_lock)
            await self._recalls.apply_recalls()
        if any(record.epoch <= 0 for record in records):
            raise Revoked
        if self._recalls.recalled():
            await self._recalls.apply_recalls()
        if self._queues.erase_on_return and await self._recalls.end_recalled(records):
            raise Revoked
        now = self._clock.wall()
        writer = self._writer()
        fragile = False
        carried: Chunk | None = None
        start = stop = 0
        for record in records:
            if record.resend_for_s > 0 and not record.attempts:
                # of the first attempt it is enough to know that it was made, and when: it is written by runs
                if record.chunk is carried and record.at == stop:
                    stop += 1
                    continue
                if carried is not None:
                    carried.carry(start, stop, now)
                carried, start, stop = record.chunk, record.at, record.at + 1
                writer.touch(record.chunk)
            elif not record.uncertain_since:
                chunk = record.chunk
                fragile = fragile or record.resend_for_s <= 0
                if record.at not in chunk.marks:
                    chunk.marks[record.at] = now
                    chunk.touched = True
                    writer.touch(chunk)
        if carried is not None:
            carried.carry(start, stop, now)
        await writer.marked(sync=fragile)
        if any(record.epoch <= 0 for record in records):
            raise Revoked  # another process has taken them over: that became clear as they were noted

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        told: list[tuple[Sequence[Record], Outcome]] = []
        start = 0
        for stop in range(1, len(records) + 1):
            if stop == len(records) or outcomes[stop] is not outcomes[start]:
                held = [record for record in records[start:stop] if record.epoch > 0]
                if held:
                    self._queues.end(held, outcomes[start])
                    told.append((held, outcomes[start]))
                start = stop
        if told:
            await self._writer().settled(told)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        if self._queues.erase_on_return:
            await self._recalls.end_recalled(records)
        after_s = min(after_s, MAX_WAIT_S)
        wall, due = self._clock.wall() + after_s, self._clock.monotonic() + after_s
        woken: dict[str, None] = {}
        # backwards, because each of them goes in front of the one before
        for record in records if after_s > 0 else reversed(records):
            line = self._queues.lines.get(record.destination)
            if record.epoch <= 0 or line is None:
                continue
            record.epoch = 0
            chunk = record.chunk
            if record.attempts:
                chunk.marks.pop(record.at, None)
                chunk.waits.pop(record.at, None)
                if after_s > 0:
                    chunk.waits[record.at] = (wall, after_s)
                chunk.touched = True
                if self._committer is not None:
                    self._committer.touch(chunk)
            elif chunk.tried or chunk.marks:
                # noted as about to be sent, and not sent: nothing may say later that it might have arrived
                chunk.put_down(record.at)
                if chunk.marks.pop(record.at, None) is not None:
                    chunk.touched = True
                if (chunk.touched or chunk.tried_changed) and self._committer is not None:
                    self._committer.touch(chunk)
            if after_s > 0:
                line.delay(record, due)
            else:
                line.back(record)
            woken[record.destination] = None
        for name in woken:
            self._wake(name)

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        line = self._queues.lines[destination]
        told: list[tuple[Sequence[Record], Outcome]] = []
        over_events, over_bytes = line.events + line.unowned[0] - events, line.bytes + line.unowned[1] - max_bytes
        while over_events > 0 or over_bytes > 0:
            record = line.oldest()
            if record is None:
                # a process that does not deliver must not take up what others are to deliver
                if not (line.cold or (self._deliver and line.unowned[0])) or not await self._fetch(line, 1, 1):
                    break
                continue
            end = cut_short(record, outcome, self._clock.wall())
            self._queues.end([record], end)
            told.append(([record], end))
            over_events -= 1
            over_bytes -= len(record.body)
        if told:
            await self._writer().settled(told)
            self._settled(destination, [records[0].event_id for records, _ in told], [end for _, end in told])
        return len(told)

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        found = await self._recalls.settle_matching(matches, outcome)
        await self._count()
        return found

    # Dead letters.

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.spool.base.Spool.letters`."""

        def select() -> list[DeadLetter]:
            with self._store.transaction(sync=False) as db:
                return dead_letters.select(db, wanted)

        return await self._call(select)

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """See :meth:`~capi_async.spool.base.Spool.replay`."""
        replayed = await self._call(self._store.replay, wanted, permitted, self._clock.wall())
        await self._count()
        return replayed

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """See :meth:`~capi_async.spool.base.Spool.remembered`."""
        return await self._call(self._store.remembered, list(event_ids))

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """See :meth:`~capi_async.spool.base.Spool.note_sent`."""
        await self._call(self._store.note_sent, destination, sent)

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        return await self._call(self._store.sent, destination, since)

    # Counts.

    def next_due_s(self, destination: str) -> float | None:
        line = self._queues.lines[destination]
        if line.ready or line.unowned[0] or (line.cold and line.waiting() <= _MAX_WAITING):
            return 0.0
        if not line.delayed:
            return None
        return max(0.0, line.delayed[0][0] - self._clock.monotonic())

    def depth(self, destination: str) -> Depth:
        line = self._queues.lines.get(destination)
        if line is None:
            return Depth(0, 0)
        return Depth(line.events + line.unowned[0], line.bytes + line.unowned[1])

    def health(self) -> Health:
        """See :meth:`~capi_async.spool.base.Spool.health`."""
        return Health()

    def ledger(self) -> Mapping[str, Ledger]:
        if self._thread is None and self._final:
            return self._final
        return {
            name: Ledger(**{kind: counts.get(kind, 0) for kind in ("accepted", *OUTCOME_KINDS)})
            for name, counts in self._store.ledger().items()
        }

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Take request tokens that all processes on this file share: so many, or minus the seconds to wait.

        See :meth:`~capi_async.spool.sqlite.rates.SharedRates.draw`. Some 10 µs, without waiting for the disk. ``None``
        if another process does not let go of the file, as one that was stopped while it held it.

        Raises:
            SpoolError: The file beside the spool cannot be used.
        """
        now = time.monotonic()
        try:
            for _ in range(_RATES_TRIES if now >= self._rates_held_until else 1):
                drawn = self._rates.try_draw(account, rate=rate, burst=burst, wanted=wanted)
                if drawn is not None:
                    self._rates_held_until = 0.0
                    return drawn
                await asyncio.sleep(_RATES_TRY_S)
        except OSError as error:
            raise SpoolError(f"shared rates cannot be kept: {error.strerror}") from error
        if now >= self._rates_warned_at + _WARN_AGAIN_S:
            self._rates_warned_at = now
            logger.warning(
                "spool: another process holds %s-rates and does not let go of it (stopped, or in a debugger?); until "
                "it does, this process keeps the request rate by itself",
                self._store.path, extra={"path": str(self._store.path)},
            )  # fmt: skip
        self._rates_held_until = now + _RATES_LEFT_S
        return None

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """Each process learns it from its own answers: those of one host come soon."""

    # Below.

    def _make_store(self) -> Store:
        return Store(self._options, wall=self._clock.wall)

    def _make_recalls(self, recall: Callable[[], Awaitable[None]]) -> Recalls:
        return Recalls(
            self._store,
            self._queues,
            wall=self._clock.wall,
            call=self._call,
            writer=self._writer,
            recall=recall,
            settled=lambda *what: self._settled(*what),
        )

    def _writer(self) -> Committer:
        if self._committer is None:
            raise SpoolError("the spool is not open", stored=False)
        return self._committer

    async def _call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._thread is None:
            raise SpoolError("the spool is not open")
        try:
            return await self._thread.run(function, *args, **kwargs)
        except sqlite3.Error as error:
            raise SpoolError(f"storage failed: {error}") from error
        except OSError as error:
            raise SpoolError(f"storage failed: {error.strerror}") from error

    async def _count(self) -> None:
        """See what belongs to nobody (or, where nothing is delivered, all there is)."""
        found, newest = await self._call(self._look_through)
        self._queues.counted(found, newest)
        await self._look_at_foreign()

    def _look_through(self) -> tuple[Counts, int]:
        """In the thread, where nothing of this process is written meanwhile: the counts, and the last row in them."""
        return (self._store.unowned() if self._deliver else self._store.pending()), self._store.newest()

    async def _come_back(self) -> None:
        """The file that proves that this process lives was deleted; what others took over meanwhile is theirs."""
        async with self._recalls.moving:
            if await self._call(self._store.come_back):
                self._astray = True
        if self._astray:
            await self._keep_own()

    async def _keep_own(self) -> None:
        """Have in memory only what the file says is this process's own."""
        async with self._recalls.moving:
            rows = await self._call(self._store.mine)
            astray = self._queues.keep_only(rows, self._writer().under_way)
            if astray:
                await self._call(self._store.give_up, astray)
            self._astray = False
        await self._count()

    async def _tend(self) -> None:
        """Look after what other processes do, and after the file, until cancelled."""
        last = dict.fromkeys(_EVERY, self._clock.monotonic())
        last["retire"] = last["checkpoint"] = 0.0  # a run before this one may have left a long log
        while True:
            try:
                await self._look(last)
            except SpoolError as error:
                logger.warning(
                    "spool: %s could not be looked after (%s); it is tried again in %.0f s: see to the file, its "
                    "volume and its permissions",
                    self._store.path, error, ADOPT_S, extra={"error": str(error)},
                )  # fmt: skip
                await asyncio.sleep(ADOPT_S)
            await asyncio.sleep(TICK_S)

    async def _look(self, last: dict[str, float]) -> None:
        self._queues.drop_receipts()
        now = self._clock.monotonic()
        due = {what for what, s in _EVERY.items() if now - last[what] >= s}
        last.update(dict.fromkeys(due, now))
        if "checkpoint" in due and await self._beside.run(self._store.checkpoint):
            await self._call(self._store.finish_checkpoint)
        # kept until it has been looked at: a look that fails on its way must not lose it
        if not self._store.lives():
            await self._come_back()
        if not self._store.sees_recalls():
            await self._call(self._store.reopen_lock)
            self._changed = True
        if self._astray:
            await self._keep_own()
        self._changed = await self._call(self._store.changed) or self._changed
        if "adopt" in due:
            await self._call(self._store.check_place)
            self._changed = await self._call(self._store.adopt) or self._changed
        if "retire" in due and self._deliver and await self._call(self._store.alone):
            await self._call(self._store.retire, tuple(self._queues.lines), _RETIRED)
        if self._changed or self._recalls.recalled():
            await self._recalls.apply_recalls()
            await self._count()
            self._changed = False
        if self._queues.traces:
            await self._recalls.erase_traces()
        if "shrink" in due:
            await self._call(self._store.shrink)
            await self._call(self._store.hold_room)
        if "tidy" in due:
            await self._call(delete_answered, self._store)
            await self._call(self._store.tidy)

    async def _look_at_foreign(self) -> None:
        chunks = [chunk for chunk in self._queues.chunks.values() if chunk.foreign]
        if not chunks:
            return
        for chunk, foreign in zip(chunks, await self._call(self._store.still_foreign, chunks), strict=True):
            chunk.foreign = foreign
        for name, line in self._queues.lines.items():
            if line.look_again():
                self._wake(name)


_EVERY: Final = {"checkpoint": CHECKPOINT_S, "adopt": ADOPT_S, "shrink": SHRINK_S, "tidy": TIDY_S, "retire": ADOPT_S}


def _nobody(_destination: str) -> None:
    """Wakes nobody: the spool is not open."""
