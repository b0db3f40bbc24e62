"""Background tasks that begin again after a fault."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from capi_async.errors import SpoolError
from capi_async.spool.redis.availability import Availability

logger = logging.getLogger(__name__)

#: Seconds before a task that failed begins again.
_PAUSE_S: Final = 0.5
#: Seconds between two cancellations: the driver may swallow the first, see ``Connection``.
_CANCEL_S: Final = 0.02


class BackgroundTasks:
    """Tasks of one spool that run until they return or are cancelled.

    Attributes:
        tasks: All that were started since the last :meth:`cancel`.
    """

    def __init__(self, availability: Availability) -> None:
        self._availability = availability
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Start a task; it has no context variables of the caller."""
        task = asyncio.get_running_loop().create_task(
            self._supervised(name, run), name=f"capi_async-redis-{name}", context=contextvars.Context()
        )
        self.tasks.append(task)

    async def finish(self, timeout_s: float) -> None:
        """Wait for all tasks to return; cancel those that do not in time."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=timeout_s)
        await self.cancel()

    async def cancel(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        left = set(self.tasks)
        self.tasks = []
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_CANCEL_S)

    def forget(self) -> None:
        """Drop the tasks of an event loop that has ended."""
        self.tasks = []

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await run()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                logger.error("the spool's task %s was cancelled from within and begins again", name)
            except SpoolError as error:
                self._availability.failed(error)
            except Exception as error:
                log_fault(f"the spool's task {name} begins again", error)
            await asyncio.sleep(_PAUSE_S)


def log_fault(what: str, error: BaseException) -> None:
    """Log a fault of ours, or of data in Redis that no release wrote, without its text, which may quote an event."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    logger.error("%s: %s at %s; please report it", what, type(error).__name__, place)
