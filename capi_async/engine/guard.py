"""Runs what users wrote: it may raise anything at all, or never come back, and that costs the one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from capi_async.thread import kind_of

T = TypeVar("T")


def is_end(error: BaseException, *, ending: bool) -> bool:
    """Whether an error is the end of the running task, rather than one raised by the user's code.

    Args:
        ending: Whether the client is ending its tasks. Code that lists all tasks and cancels this one does not close
            the client by that: the cancellation is taken back, and the caller goes on as after any other error.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        while not ending and task is not None and task.cancelling():
            task.uncancel()
        return ending
    if isinstance(
        error, GeneratorExit
    ):  # raised by the user's code, unless the task is discarded without being run any more
        return ending or not _in_task()
    return isinstance(error, KeyboardInterrupt)


def _in_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


class Fault(Exception):
    """A user's code failed.

    Attributes:
        name: The type of what it raised. Never the text, which may quote an event or a credential.
        of: What it raised, for the lines of code that it went through; ``None`` if it raised nothing.
    """

    def __init__(self, name: str, of: BaseException | None = None) -> None:
        super().__init__(name)
        self.name = name
        self.of = of


class Guard(Generic[T]):
    """Awaits one callable of the user's, bounded in time.

    In a task of its own, so that what the callable raises cannot be taken for an end of ours (a CancelledError), and
    so that one that refuses to be cancelled blocks no caller. At most one call that does so is left behind.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], *, name: str) -> None:
        self._call = call
        self._name = name
        self._running: set[asyncio.Task[T | BaseException]] = set()
        self._stuck: asyncio.Task[T | BaseException] | None = None

    async def __call__(self, timeout_s: float) -> T:
        """What the callable gave.

        Raises:
            Fault: It raised, or took longer than ``timeout_s``.
        """
        if self._stuck is not None and not self._stuck.done():
            raise Fault("TimeoutError")
        task = asyncio.get_running_loop().create_task(self._caught(), name=self._name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.wait([task], timeout=timeout_s)
        finally:
            if not task.done():
                self._stuck = task
                task.cancel()
        if not task.done():
            raise Fault("TimeoutError")
        if task.cancelled():
            raise Fault("CancelledError")
        result = task.result()
        if isinstance(result, BaseException):
            raise Fault(kind_of(result), result)
        return result

    @property
    def running(self) -> bool:
        """Whether a call of it still runs."""
        return bool(self._running)

    async def end(self, timeout_s: float) -> None:
        """Cancel what still runs, and wait for that for ``timeout_s`` at most."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    async def _caught(self) -> T | BaseException:
        try:
            return await self._call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a SystemExit in a task would end the loop
            return error
