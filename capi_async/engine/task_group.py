"""The tasks of one client, which end together.

Not a library's task group: those keep what they own alive for good when an event loop is closed without ending its
tasks, so that an unclosed client could not be reported; and a task that is cancelled before it began leaves
them with a coroutine that was never awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

#: Seconds after which a task that swallowed its cancellation is cancelled again.
_AGAIN_S: Final = 0.05


class Group:
    """Owns tasks until :meth:`end`. The first that fails is raised by :meth:`failed`.

    Attributes:
        ending: Whether all tasks are being ended.
    """

    def __init__(self) -> None:
        self.ending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()

    def start_soon(
        self, function: Callable[..., Coroutine[Any, Any, None]], *arguments: Any, context: Context | None = None
    ) -> None:
        """Start a task that calls the function.

        Args:
            context: In which it runs; a copy of the caller's if none is given.
        """
        name = getattr(function, "__qualname__", "part")
        task = self._loop.create_task(function(*arguments), name=f"capi_async-{name}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def failed(self) -> None:
        """Wait until a task fails.

        Raises:
            BaseException: What it raised.
        """
        await self._failed

    async def end(self) -> None:
        """Cancel all tasks and return when they have ended, also if the caller is cancelled meanwhile."""
        self.ending = True
        self._failed.cancel()
        cancelled: asyncio.CancelledError | None = None
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            try:
                await asyncio.wait(set(self._tasks), timeout=_AGAIN_S)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self.ending = True
            self._failed.set_exception(error)
