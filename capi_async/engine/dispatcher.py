"""Fans out over the workers: start, flush, drain, close. Owns every task of a client."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence

from anyio import create_task_group
from msgspec import Struct

from capi_async.clock import Clock
from capi_async.engine.hooks import Hooks
from capi_async.engine.intake import Intake
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Delivery
from capi_async.engine.room import Overflow, Room
from capi_async.engine.worker import Worker
from capi_async.errors import CapiError, ClientClosed
from capi_async.outcome import Outcome
from capi_async.spec import Destination, Transport
from capi_async.spool.base import Spool
from capi_async.telemetry.base import Hook
from capi_async.thread import OwnedThread

logger = logging.getLogger(__name__)

#: Pause before a part that failed through a fault of ours is started again.
_RESTART_S = 1.0
#: How long cancelled tasks, and the spool, may take to end.
_STOP_S = 2.0


class Settings(Struct, frozen=True, kw_only=True):
    """What the engine is told by the client; see :class:`~capi_async.client.Client`."""

    deliver: bool
    overflow: Overflow
    linger_s: float
    max_pending_events: int
    max_pending_bytes: int
    max_intake_events: int
    max_attempts: int


class Dispatcher:
    """One client's engine, bound to the event loop it is started on.

    Args:
        ended: Awaited when all tasks have ended, also when the loop ends without :meth:`stop`.
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
        clock: Clock,
        ended: Callable[[], Awaitable[None]],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._names = [destination.name for destination in destinations]
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._ended = ended
        #: What receipts of this run hang on; with ``deliver=False`` nobody here will ever settle them.
        self.delivery = Delivery(over=not settings.deliver)
        self._thread = OwnedThread("capi_async-prepare")
        self._freed = asyncio.Event()
        self._hooks = Hooks(hooks)
        self.workers = {
            destination.name: Worker(
                destination,
                spool=spool,
                transport=transport,
                thread=self._thread,
                hooks=self._hooks,
                settled=self._on_settled,
                clock=clock,
                linger_s=settings.linger_s,
                max_attempts=settings.max_attempts,
                forever=spool.durable,
            )
            for destination in destinations
        }
        room = Room(
            spool,
            max_events=settings.max_pending_events,
            max_bytes=settings.max_pending_bytes,
            overflow=settings.overflow,
            progressing=lambda name: self.workers[name].progressing(),
            put_back=lambda name: self.workers[name].put_back(),
        )
        self.intake = Intake(
            preparer=preparer,
            thread=self._thread,
            spool=spool,
            room=room,
            names=self._names,
            hooks=self._hooks,
            clock=clock,
            max_events=settings.max_intake_events,
        )
        self._supervisor: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] = self.loop.create_future()

    def start(self) -> None:
        """Start the supervisor, which owns all other tasks. In a context of its own: not the first caller's."""
        self._thread.start()
        self._supervisor = self.loop.create_task(
            self._supervise(), name="capi_async-supervisor", context=contextvars.Context()
        )

    async def opened(self) -> None:
        """Return once the spool is open.

        Raises:
            SpoolError: It cannot be opened.
        """
        await asyncio.shield(self._opened)

    async def flush(self, timeout_s: float) -> bool:
        """Send what lingers and wait until everything accepted is settled; False if time ran out."""
        for worker in self.workers.values():
            worker.hurry += 1  # counted: another flush may be under way
            worker.wake()
        try:
            async with asyncio.timeout(timeout_s):
                while not self._idle():
                    self._freed.clear()
                    try:
                        # the spool may also be emptied by a refusal or by another process: look again now and then
                        async with asyncio.timeout(0.1):
                            await self._freed.wait()
                    except TimeoutError:
                        continue
        except TimeoutError:
            return self._idle()
        finally:
            for worker in self.workers.values():
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
        await self.put_back()
        until = self._clock.monotonic() + timeout_s
        while self.under_way or not self.intake.empty:
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

    async def stop(self) -> None:
        """Cancel every task and wait for them; what is not settled stays in the spool."""
        self.intake.closed = True
        self.delivery.end()
        try:
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.wait([self._supervisor], timeout=_STOP_S)
                if not self._supervisor.done():
                    # a callable of the user's that swallows its cancellation: closing is a hard bound all the same
                    logger.error("a task refuses to end", extra={"fix": "let CancelledError pass in your callables"})
                elif not self._supervisor.cancelled() and (error := self._supervisor.exception()):
                    logger.error("the supervisor failed", extra={"error": type(error).__name__})
        finally:
            self._thread.stop()

    async def put_back(self) -> None:
        """Let every worker hand back what it holds and has not sent."""
        for worker in self.workers.values():
            await worker.put_back()

    def wake(self, destination: str) -> None:
        """Records became available."""
        worker = self.workers.get(destination)
        if worker is not None:
            worker.wake()

    def _idle(self) -> bool:
        if not self.intake.empty or not self._opened.done():
            return False
        if self._opened.exception() is not None:
            return True  # nothing was ever accepted
        if not self._settings.deliver:
            return True
        return all(self._spool.depth(name).events == 0 for name in self._names)

    def _on_settled(self) -> None:
        self._freed.set()
        self.intake.freed()

    def _settled_in_spool(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        self._hooks.ended(destination, event_ids, outcomes)
        self._on_settled()

    async def _supervise(self) -> None:
        try:
            await self._spool.open(
                self._names,
                self.wake,
                self._settled_in_spool,
                deliver=self._settings.deliver,
                recall=self.put_back,
            )
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # mark as seen: nobody may be waiting
            self.intake.closed = True
            self.intake.abandon(error if isinstance(error, CapiError) else ClientClosed("the spool did not open"))
            raise
        self._opened.set_result(None)
        self._freed.set()
        try:
            async with create_task_group() as group:
                group.start_soon(self._keep, "intake", self.intake.run)
                if self._settings.deliver:
                    for name, worker in self.workers.items():
                        group.start_soon(self._keep, name, worker.run)
        finally:
            try:
                await self._spool.close()
            finally:
                await self._ended()

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run one part; a fault in it is ours, is logged by its type, and costs the other parts nothing."""
        while True:
            try:
                await run()
            except Exception as error:
                kinds = {type(one).__name__ for one in _leaves(error)}
                logger.error("a part failed and is restarted", extra={"part": name, "error": ", ".join(sorted(kinds))})
                logger.debug("where it failed", extra={"at": [_where(one) for one in _leaves(error)]})
            await asyncio.sleep(_RESTART_S)


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
