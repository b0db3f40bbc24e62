"""What one thread waits for and another one gives, without a lock that either of them could be interrupted with."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from weakref import WeakMethod

_KEY: Final = "given"


class Answer:
    """A result, or an error, that is given once.

    A :class:`concurrent.futures.Future` holds a lock for a moment whenever it is looked at. A signal's handler that
    runs in just that moment, in the same thread, and waits for the thread that would give the result, waits for ever:
    the other one waits for the lock. Here every step is a single operation that the interpreter does not interrupt.
    """

    __slots__ = ("_calls", "_given", "_waiting")

    def __init__(self) -> None:
        self._given: dict[str, tuple[Any, BaseException | None]] = {}
        self._waiting: deque[threading.Lock] = deque()
        self._calls: deque[Callable[[Answer], object]] = deque()

    def done(self) -> bool:
        """Whether it was given."""
        return bool(self._given)

    def give(self, result: Any = None, error: BaseException | None = None) -> bool:
        """Give it, from any thread; False if somebody else was first."""
        mine = (result, error)
        if self._given.setdefault(_KEY, mine) is not mine:
            return False
        for lock in _taken(self._waiting):
            lock.release()
        self._call()
        return True

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for it, and return or raise it.

        Raises:
            TimeoutError: It did not come within ``timeout_s`` seconds; ``None`` waits as long as it takes.
        """
        if not self._given:
            lock = threading.Lock()
            lock.acquire()
            self._waiting.append(lock)
            # looked at again: whoever gives it may have released all locks just before
            if not self._given and not lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
                with suppress(ValueError):
                    self._waiting.remove(lock)
                if not self._given:
                    raise TimeoutError
        result, error = self._given[_KEY]
        if error is None:
            return result
        try:
            raise error
        finally:
            # or the error would hold this frame by its traceback, and the frame the error
            del error, self

    def error(self) -> BaseException | None:
        """What will be raised; ``None`` if that is nothing, or if nothing was given yet."""
        return self._given[_KEY][1] if self._given else None

    def when_given(self, call: Callable[[Answer], object]) -> None:
        """Have ``call`` called with this answer, in the thread that gives it; here and now if it was given."""
        self._calls.append(call)
        if self._given:
            self._call()

    async def arrived(self) -> Any:
        """Wait for it on an event loop.

        Raises:
            BaseException: The error that was given.
        """
        loop = asyncio.get_running_loop()
        come = asyncio.Event()

        def wake(_answer: Answer) -> None:
            with suppress(RuntimeError):  # that loop has ended, and nobody waits there any more
                loop.call_soon_threadsafe(come.set)

        self.when_given(wake)
        await come.wait()
        return self.result()

    def _call(self) -> None:
        for call in _taken(self._calls):
            call(self)


def _taken(queue: deque[Any]) -> list[Any]:
    """All that is in a queue, each taken out by nobody else."""
    taken = []
    with suppress(IndexError):
        while True:
            taken.append(queue.popleft())
    return taken


def when_failed(stored: asyncio.Future[None] | Answer, method: WeakMethod[Callable[[BaseException], None]]) -> None:
    """Have a method called with the error, if it comes to one and its object is still there.

    Receipts hold ``stored``, and the garbage collector does not look into them: an object that they held would never
    be collected once it is held by nothing else.
    """

    def look(done: asyncio.Future[None] | Answer) -> None:
        if isinstance(done, asyncio.Future) and done.cancelled():
            return
        error = done.error() if isinstance(done, Answer) else done.exception()
        if error is not None and (tell := method()) is not None:
            tell(error)

    if isinstance(stored, Answer):
        stored.when_given(look)
    else:
        stored.add_done_callback(look)
