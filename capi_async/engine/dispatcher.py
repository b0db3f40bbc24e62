"""Fans out over the workers: start, flush, drain, close. Owns every task of a client."""

from __future__ import annotations

import asyncio
import contextvars
import math
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, get_args
from weakref import WeakMethod

from msgspec import Struct

from capi_async.clock import Clock
from capi_async.engine.breaker import Breaker
from capi_async.engine.capacity import Capacity, Overflow
from capi_async.engine.exchange import OVERTIME_S
from capi_async.engine.guard import is_end
from capi_async.engine.health import THROTTLED_FIX
from capi_async.engine.hooks import Hooks
from capi_async.engine.intake import Intake
from capi_async.engine.notices import EVERY_S, Notices
from capi_async.engine.outage import Outage
from capi_async.engine.prepare import Prepare, Preparer
from capi_async.engine.receipt import Delivery
from capi_async.engine.sending_time import SendingTime
from capi_async.engine.summary import Summary
from capi_async.engine.task_group import Group
from capi_async.engine.tracing import TracedIntake
from capi_async.engine.turns import Turns
from capi_async.engine.worker import Worker
from capi_async.errors import CapiError, ConfigError, SpoolError
from capi_async.limiter import TokenBucket
from capi_async.log import Log
from capi_async.outcome import PENDING, Outcome
from capi_async.profiles import PROFILES, Profile
from capi_async.spec import Destination, Transport
from capi_async.spool.base import Spool
from capi_async.telemetry.base import Hook, Watcher, tracer_of
from capi_async.telemetry.metrics import Metrics
from capi_async.thread import OwnedThread

logger = Log(__name__)

#: Pause before a part that failed through a fault of ours is started again.
_RESTART_S = 1.0
#: Seconds from an unrequested end until it is in the log.
_TELL_S = 0.1
#: Seconds between two measurements of how late the event loop is.
_LAG_S = 1.0
#: Seconds between two messages about the same fault of the same part.
_SAY_AGAIN_S = 60.0
#: Least seconds for closing as a whole, however short its deadline: cancelled tasks and the spool need some to end.
_STOP_S = 0.5
#: Share of a longer deadline that is kept for that, and its most seconds.
_STOP_SHARE = 0.1
_STOP_MOST_S = 1.0
#: Turns of the event loop that tasks which were cancelled get to end in, also when the deadline has passed.
_TICKS = 20
#: Least seconds between two lines that sum up what happened.
_LEAST_SUMMARY_S: Final = 1.0
#: Least seconds for sending and its answers where nothing is under way between calls.
_LEAST_FLUSH_S: Final = 0.5
#: Seconds that a client which is entered again waits for its earlier run to release the spool.
_AFTER_S = 60.0


class Settings(Struct, frozen=True, kw_only=True):
    """The client's settings for the engine; see :class:`~capi_async.client.Client`."""

    deliver: bool
    overflow: Overflow
    linger_s: float
    max_pending_events: int
    max_pending_bytes: int
    max_intake_events: int
    max_attempts: int
    prepare: Prepare
    profile: Profile
    flush_s: float
    summary_s: float | None = None

    def __post_init__(self) -> None:
        if self.overflow not in get_args(Overflow):
            raise ConfigError(f"overflow is one of {', '.join(get_args(Overflow))}")
        for name in ("max_pending_events", "max_pending_bytes", "max_intake_events", "max_attempts"):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"{name} must be at least 1")
        if not self.linger_s >= 0:
            raise ConfigError("linger_s must be 0 or more seconds")
        if self.prepare not in get_args(Prepare):
            raise ConfigError(f"prepare is one of {', '.join(get_args(Prepare))}")
        if self.profile not in PROFILES:
            raise ConfigError(f"profile is one of {', '.join(PROFILES)}")
        if not _LEAST_FLUSH_S <= self.flush_s < math.inf:
            raise ConfigError(f"flush_s must be {_LEAST_FLUSH_S} seconds or more: a request needs some to be answered")
        if self.summary_s is not None and not _LEAST_SUMMARY_S <= self.summary_s < math.inf:
            raise ConfigError(f"summary_s must be {_LEAST_SUMMARY_S:.0f} second or more, or None for no summary")


class Dispatcher:
    """One client's engine, bound to the event loop it is started on.

    Args:
        ended: Awaited when all tasks have ended, also when the loop ends without :meth:`stop`.
        not_handed_over: How many events of other threads the intake has not been given yet.
        after: The supervisor of an earlier run of the same client, which may still be closing the spool.
        watcher: Called with events on their way while it is on.
        beside: Runs in a task of its own while the spool is open; it does not return.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        settings: Settings,
        spool: Spool,
        preparer: Preparer,
        transport: Transport,
        hooks: Sequence[Hook],
        notices: Notices,
        metrics: Metrics,
        watcher: Watcher,
        beside: Callable[[], Awaitable[None]] | None,
        clock: Clock,
        ended: Callable[[], Awaitable[None]],
        not_handed_over: Callable[[], int],
        after: asyncio.Task[None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._names = [destination.name for destination in destinations]
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._ended = ended
        self._not_handed_over = not_handed_over
        self._after = after
        self._group: Group | None = None
        self._stopping = False
        #: Whether it was logged what an unrequested end left.
        self.told = False
        #: Why nothing is taken or delivered any more, although the client was not closed; empty while both happens.
        self.failed = ""
        self._freed = asyncio.Event()
        self._notices = notices
        self._metrics = metrics
        self._beside = beside
        #: Only with one, parts of the engine are the ones that know of traces.
        self._tracing = tracer_of(hooks)
        self._hooks = Hooks(hooks, notices=notices, metrics=metrics, watcher=watcher, clock=clock)
        self._sending_time = SendingTime(always=settings.profile == "server")
        # it has nothing to do while the loop is blocked, and can name what blocks it
        self._thread = OwnedThread("capi_async-prepare", idle=self._hooks.held.look)
        self.workers = self._make_workers(destinations, transport)
        self._summary = Summary(
            self.workers, spool=spool, metrics=metrics, notices=notices, clock=clock, delivers=settings.deliver
        )
        holds = {name: (worker.breaker, worker.bucket) for name, worker in self.workers.items()}
        #: What receipts of this run refer to; with ``deliver=False`` they are never settled here. Nothing in it
        #: refers back to this object: the garbage collector does not track receipts, and would never find the cycle.
        self.delivery = Delivery(over=not settings.deliver, pending=partial(_pending, holds))
        capacity = Capacity(
            spool, max_events=settings.max_pending_events, max_bytes=settings.max_pending_bytes,
            overflow=settings.overflow, progressing=lambda name: self.workers[name].progressing(),
            put_back=self._put_back,
        )  # fmt: skip
        linger_s = min([worker.linger_s for worker in self.workers.values()])
        make = Intake if self._tracing is None else partial(TracedIntake, self._tracing)
        self.intake = make(
            preparer=preparer, thread=self._thread, spool=spool, capacity=capacity, names=self._names,
            hooks=self._hooks, ending=self._is_ending, clock=clock, max_events=settings.max_intake_events,
            straight=settings.prepare == "auto",
            linger_s=linger_s if settings.profile == "server" else 0.0,
            least=min([one.effective_limits().max_batch_events for one in destinations]),
        )  # fmt: skip
        if self.intake.gathering.on:
            self.delivery.look = _calling(WeakMethod(self.intake.gathering.look))
        self._supervisor: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = self.loop.create_future()

    def _make_workers(self, destinations: Sequence[Destination], transport: Transport) -> dict[str, Worker]:
        outage = Outage(now=self._clock.monotonic)
        turns = Turns()
        return {
            destination.name: Worker(
                destination,
                spool=self._spool,
                transport=transport,
                thread=self._thread,
                hooks=self._hooks,
                outage=outage,
                sending_time=self._sending_time,
                turns=turns,
                settled=self._on_settled,
                ending=self._is_ending,
                clock=self._clock,
                linger_s=self._settings.linger_s,
                max_attempts=self._settings.max_attempts,
                forever=self._spool.durable,
                tracing=self._tracing,
            )
            for destination in destinations
        }

    def start(self) -> None:
        """Start the supervisor, which owns all other tasks. In a context of its own: not the first caller's."""
        self._thread.start()
        self._supervisor = self.loop.create_task(
            self._supervise(), name="capi_async-supervisor", context=contextvars.Context()
        )
        self._supervisor.add_done_callback(self._on_end)

    async def opened(self) -> None:
        """Return once the spool is open.

        Raises:
            SpoolError: It cannot be opened.
        """
        await asyncio.shield(self._opened)

    async def flush(self, timeout_s: float) -> bool:
        """Send what lingers and wait until everything accepted is settled; False if time ran out.

        Where nothing is delivered, it is only waited until everything is stored; False if any of it is pending.
        """
        return await self._settle(timeout_s, self._settled_all)

    async def drain(self, timeout_s: float) -> bool:
        """The same before closing: what other processes on the same spool have to deliver is not waited for."""
        if self._settings.profile == "server":
            return await self._settle(timeout_s, self._idle)
        await self.answered(timeout_s)
        return self._idle()

    async def answered(self, within_s: float) -> bool:
        """Let requests be under way for up to ``within_s`` seconds, and wait for their answers.

        On return none is under way and no connection is open, unless another call waits for some. What cannot be sent
        before the end (a destination is paused, or a retry is due later) is not waited for. True if nothing is left.
        """
        if not self._settings.deliver or self._nothing_left():
            return self._nothing_left()
        until = self._clock.monotonic() + within_s
        try:
            with self._sending_time.call(until):
                await self._settle(within_s, partial(self._quiet, until))
        finally:
            if not self._sending_time.waited_for:
                await self._stand_still()
        return self._nothing_left()

    def _nothing_left(self) -> bool:
        return self._idle() and not self.under_way

    def _quiet(self, until: float) -> bool:
        if self._idle():
            return True
        opened = self.intake.empty and self._opened.done()
        return opened and all(worker.quiet(until) for worker in self.workers.values())

    async def _stand_still(self) -> None:
        """The last call returns: its requests have timed out by now, if they were not answered."""
        until = self._clock.monotonic() + OVERTIME_S
        for turn in count():
            if not self.under_way or self._clock.monotonic() > until or self._sending_time.waited_for:
                break
            await asyncio.sleep(0.0 if turn < _TICKS else 0.01)
        if not self.under_way and not self._sending_time.waited_for:
            with suppress(SpoolError):  # what storage does not take back now, it gets back later
                await self.put_back()
            await self._ended()

    async def _settle(self, timeout_s: float, done: Callable[[], bool]) -> bool:
        gathering = self.intake.gathering
        gathering.hurry += 1
        hurried: list[Worker] = []
        try:
            async with asyncio.timeout(timeout_s):
                if timeout_s > 0:  # what is kept leaves in one request with what lingers
                    await gathering.all_prepared()
                else:  # there is no time for the thread
                    gathering.look()
                for worker in self.workers.values():
                    worker.hurry += 1  # counted: another flush may be under way
                    hurried.append(worker)
                    worker.wake()
                while not done():
                    if self.failed or (not self._settings.deliver and self.intake.empty and self._opened.done()):
                        return False
                    self._freed.clear()
                    try:
                        # the spool may also be emptied by a refusal or by another process: check now and then
                        async with asyncio.timeout(0.1):
                            await self._freed.wait()
                    except TimeoutError:
                        continue
        except TimeoutError:
            return done()
        finally:
            gathering.hurry -= 1
            for worker in hurried:
                worker.hurry -= 1
        return True

    @property
    def under_way(self) -> int:
        """Requests that wait for their answers."""
        return sum(worker.under_way for worker in self.workers.values())

    async def finish(self, timeout_s: float) -> bool:
        """Begin no more requests, and wait for the answers of those under way; False if time ran out."""
        for worker in self.workers.values():
            worker.finishing = True
            worker.wake()
        self.intake.gathering.ask()
        until = self._clock.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self.put_back()
        except (TimeoutError, SpoolError):
            return False  # storage hangs, or fails: it gets everything back when it is closed
        while (self.under_way or not self.intake.empty) and not self.failed:
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                return False
            self._freed.clear()
            try:
                async with asyncio.timeout(min(0.05, left_s)):
                    await self._freed.wait()
            except TimeoutError:
                continue
        return True

    async def stop(self, until: float) -> None:
        """End every task and wait for that; what is not settled stays in the spool.

        What is being stored is waited for, and callers that wait to be stored are refused.

        Args:
            until: Monotonic seconds at which this returns at the latest.
        """
        self._stopping = True
        self.delivery.end()
        try:
            await self.intake.finish(until)
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.wait([self._supervisor], timeout=self._left_s(until))
                for worker in self.workers.values():
                    await worker.end_callables(self._left_s(until))
                await self._ticks()
                self._say_end(self._supervisor)
        finally:
            self._thread.stop()

    async def _ticks(self) -> None:
        """A deadline may have passed before any task could end: what needs no time to do so is given none."""
        for _ in range(_TICKS):
            if self._supervisor is None or (self._supervisor.done() and not self._callables()):
                return
            await asyncio.sleep(0)

    def _callables(self) -> list[str]:
        return [one for worker in self.workers.values() for one in worker.callables()]

    def _say_end(self, supervisor: asyncio.Task[None]) -> None:
        """Log what has not ended; the deadline of closing holds nevertheless."""
        if guilty := self._callables():
            logger.error(
                "a task refuses to end: %s swallows its cancellation; let CancelledError pass",
                ", ".join(guilty),
                extra={"tasks": guilty, "fix": "let CancelledError pass in your callables"},
            )
        elif not supervisor.done():
            logger.warning(
                "closing: storage has not let go at the deadline and is left to end by itself; close with a longer "
                "deadline to wait for it"
            )
        elif not supervisor.cancelled() and (error := supervisor.exception()) and not self.failed:
            logger.error(
                "the supervisor failed: %s; what is in memory is not delivered, enter the client again",
                type(error).__name__,
                extra={"error": type(error).__name__},
            )

    def _left_s(self, until: float) -> float:
        return max(0.0, until - self._clock.monotonic())

    @property
    def supervisor(self) -> asyncio.Task[None] | None:
        """The task that has not ended before the spool is closed."""
        return self._supervisor

    def _is_ending(self) -> bool:
        """Whether all tasks are being ended, so that a CancelledError in one of them is its end."""
        supervisor, group = self._supervisor, self._group
        if supervisor is None or supervisor.done() or supervisor.cancelling() or self.loop.is_closed():
            return True
        return group is not None and group.ending

    def _on_end(self, supervisor: asyncio.Task[None]) -> None:
        """The supervisor has ended; if that was not requested, all callers get an error."""
        error = None if supervisor.cancelled() else supervisor.exception()
        self.intake.gathering.end()
        if self._stopping:
            return
        if self._opened.done() and (unopened := self._opened.exception()) is not None:
            if isinstance(unopened, asyncio.CancelledError):  # the loop ended before the spool was open
                self._say_unclosed()
            else:
                self._say_unopened(unopened)
            return
        why = "its tasks were cancelled from outside" if error is None else f"a fault ({type(error).__name__})"
        self.failed = f"the client has ended by itself: {why}; close it and enter it again"
        self.intake.closed = True
        self.intake.abandon(self.failed)
        self.delivery.end()
        self._freed.set()
        # a loop that ends cancels all its tasks, and runs no timers any more: then no caller is left
        self.loop.call_later(_TELL_S, logger.error, "%s", self.failed)
        self._say_unclosed()

    def _say_unopened(self, error: BaseException) -> None:
        """The spool could not be opened. Who only enqueued may never ask what became of it."""
        self.told = True
        unstored = self.intake.unstored + self._not_handed_over()
        what = f"{error}" if isinstance(error, CapiError) else type(error).__name__
        self.failed = f"the spool did not open ({what}); mend that, close the client and enter it again"
        if unstored:
            logger.error(
                "the spool did not open: %s; %d events that had been handed in are not stored: mend that, and hand "
                "them in again",
                what,
                unstored,
                extra={"unstored": unstored},
            )

    @property
    def is_open(self) -> bool:
        """Whether the spool was opened."""
        return self._opened.done() and not self._opened.cancelled() and self._opened.exception() is None

    def _say_unclosed(self) -> None:
        """The loop ended, or its tasks were cancelled, before the client was closed: log what memory still holds."""
        self.told = True
        # what a durable spool holds is delivered later; what is not in it is lost with any spool
        left = {} if self._spool.durable else {name: self._spool.depth(name).events for name in self._names}
        unstored = self.intake.unstored + self.intake.waiting + self._not_handed_over()
        shown = {**left, "not stored": unstored, "perhaps not stored": self.intake.unknown}
        counts = ", ".join(f"{name}: {count}" for name, count in shown.items() if count)
        if counts:
            logger.error(
                "the client was not closed before its event loop or its tasks ended: events in memory are not "
                "delivered (%s); use 'async with', or await aclose()",
                counts,
                extra={"pending": left, "unstored": unstored},
            )
            warnings.warn(f"unclosed client, events in memory: {counts}", ResourceWarning, stacklevel=2)

    async def _put_back(self, name: str, lingering: bool) -> None:
        """Have a worker release what it holds and has not sent, or only what lingers there."""
        worker = self.workers[name]
        if worker.lingers or not lingering:
            await worker.put_back()

    async def put_back(self) -> None:
        """Have every worker release what it holds and has not sent."""
        for worker in self.workers.values():
            await worker.put_back()

    def wake(self, destination: str) -> None:
        """Records became available."""
        worker = self.workers.get(destination)
        if worker is not None:
            worker.look()

    def _idle(self) -> bool:
        if not self.intake.empty or not self._opened.done():
            return False
        if self._opened.exception() is not None:
            return True  # nothing was ever accepted
        if not self._settings.deliver:
            return True
        return all(self._spool.depth(name).events == 0 for name in self._names)

    def _settled_all(self) -> bool:
        """Whether nothing is pending by the ledger, in this process or another."""
        if not self._idle():
            return False
        if self._opened.exception() is not None:
            return True
        try:
            ledger = self._spool.ledger()
        except SpoolError:  # unknown
            return False
        return not any(ledger[name].pending for name in self._names if name in ledger)

    def _on_settled(self) -> None:
        self._freed.set()
        self.intake.freed()

    def _settled_in_spool(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        self._hooks.ended(destination, event_ids, outcomes)
        self._on_settled()

    async def _supervise(self) -> None:
        try:
            await self._earlier()
            await self._spool.open(
                self._names,
                self.wake,
                self._settled_in_spool,
                deliver=self._settings.deliver,
                recall=self.put_back,
            )
        except BaseException as error:
            if self.loop.is_closed():
                return  # discarded together with its loop, on which nothing can be reported or awaited
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # mark as retrieved: there may be no caller
            self.intake.closed = True
            self.intake.abandon("the spool did not open", error if isinstance(error, CapiError) else None)
            raise
        self._opened.set_result(None)
        self._freed.set()
        group = self._group = Group()
        try:
            group.start_soon(self._keep, "intake", self.intake.run)
            group.start_soon(self._sum_up)
            group.start_soon(self._watch_loop)
            # a process that is frozen between calls must have nothing under way then
            if self._beside is not None and self._settings.profile == "server":
                group.start_soon(self._keep, "telling", self._beside)
            if self._settings.summary_s is not None:
                group.start_soon(partial(self._summarise, self._settings.summary_s))
            if self._settings.deliver:
                for name, worker in self.workers.items():
                    # requests are tasks of this group, not of the part that begins them
                    group.start_soon(self._keep, name, partial(worker.run, group))
            await group.failed()
        except GeneratorExit:
            raise  # thrown away together with a loop that was closed: nothing can be awaited any more
        except BaseException:
            await self._end(group)
            raise

    async def _end(self, group: Group) -> None:
        """End all tasks, then the spool, also if something fails in between."""
        try:
            await group.end()
        finally:
            try:
                if self._settings.deliver:
                    await self._end_workers()
            finally:
                try:
                    await self._spool.close()
                finally:
                    await self._ended()

    async def _earlier(self) -> None:
        """Wait for an earlier run that was given up at its deadline: two must not work on one spool object.

        Raises:
            SpoolError: It does not end.
        """
        after, self._after = self._after, None
        if after is None or after.done() or after.get_loop() is not self.loop:
            return
        await asyncio.wait([after], timeout=_AFTER_S)
        if not after.done():
            raise SpoolError("the client's earlier run has not let go of its storage", stored=False)

    async def _end_workers(self) -> None:
        for name, worker in self.workers.items():
            try:
                await worker.end()
            except Exception as error:  # the other workers' records are released nevertheless
                logger.warning(
                    "%s: what was under way could not be handed back (%s); it is taken up at the next start",
                    name,
                    type(error).__name__,
                    extra={"destination": name, "error": type(error).__name__},
                )

    async def _sum_up(self) -> None:
        """Log the sums of repeated messages, also when no more of their kind follow, and who falls behind."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._summary.look()
            self._notices.tick()

    async def _summarise(self, every_s: float) -> None:
        """Say now and then how everything does, also when nothing happens: silence would leave a person in doubt."""
        while True:
            await asyncio.sleep(every_s)
            self._summary.say(every_s)

    async def _watch_loop(self) -> None:
        """Measure how late the event loop is."""
        while True:
            due = self.loop.time() + _LAG_S
            await asyncio.sleep(_LAG_S)
            self._metrics.late(max(0.0, self.loop.time() - due))

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run one part; a fault in it is ours, is logged by its type, and costs the other parts nothing."""
        said: dict[str, float] = {}
        wait_s = 0.0
        while True:
            try:
                await asyncio.sleep(wait_s)
                await run()
            except BaseException as error:
                if is_end(error, ending=self._is_ending()) or self.loop.is_closed():
                    raise
                kinds = ", ".join(sorted({type(one).__name__ for one in _leaves(error)}))
                now = self._clock.monotonic()
                if now - said.get(kinds, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
                    said[kinds] = now
                    logger.error(
                        "a part failed and is restarted: %s (%s); please report it",
                        name,
                        kinds,
                        extra={"part": name, "error": kinds},
                    )
                logger.debug("where it failed", extra={"at": [_where(one) for one in _leaves(error)]})
            wait_s = _RESTART_S


def _calling(method: WeakMethod[Callable[[], None]]) -> Callable[[], None]:
    """Calls a method of an object without holding the object."""

    def call() -> None:
        bound = method()
        if bound is not None:
            bound()

    return call


def _pending(holds: Mapping[str, tuple[Breaker, TokenBucket]], name: str) -> Outcome:
    """The outcome of what waits for a destination."""
    if name not in holds:
        return PENDING
    breaker, bucket = holds[name]
    if breaker.state == "open":
        closed_s = bucket.closed_s()
        if not closed_s:
            return PENDING
        reason = f"{name} is throttled: {bucket.reason}; the next request leaves in {closed_s:.0f} s"
        return Outcome(kind="pending", reason=reason, fix=THROTTLED_FIX)
    return Outcome(kind="pending", reason=f"{name} is {breaker.state}: {breaker.reason}", fix=breaker.fix)


def flush_s(deadline_s: float) -> float:
    """Seconds of a closing's deadline for sending; the rest is for ending, so that the deadline is the whole."""
    if deadline_s < _STOP_S:
        return deadline_s
    return deadline_s - min(_STOP_MOST_S, _STOP_SHARE * deadline_s)


def stop_at(started: float, deadline_s: float) -> float:
    """Monotonic seconds at which closing is over."""
    return started + max(deadline_s, _STOP_S)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _where(error: BaseException) -> str:
    """File and line where it was raised: a traceback's text may quote an event, its place does not."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
