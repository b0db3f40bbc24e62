"""Many deadlines, one timer of the event loop.

A timer for each request, and for each caller that waits, would be set and cancelled again for nothing nearly every
time. The one here stays until it rings, looks at what is overdue by then, and is set to the deadline that is next.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import count
from types import TracebackType


class Deadlines:
    """Calls what is not taken back in time.

    One event loop's at a time share the timer: the first one's, and the next one's once that is closed. What another
    loop wants meanwhile, as a rule in another thread, has timers of its own.
    """

    __slots__ = ("_due", "_elsewhere", "_loop", "_numbers", "_rings_at", "_timer")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: dict[int, tuple[float, Callable[[], object]]] = {}
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._elsewhere: dict[int, asyncio.TimerHandle] = {}

    def add(self, seconds: float, call: Callable[[], object]) -> int:
        """Call this after so many seconds; a number by which :meth:`remove` takes it back."""
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        if loop is not self._loop:
            if self._loop is not None and not self._loop.is_closed():
                self._elsewhere[number] = loop.call_later(seconds, call)
                return number
            self._loop, self._rings_at = loop, math.inf
            self._due.clear()
        at = loop.time() + seconds
        self._due[number] = (at, call)
        if at < self._rings_at:
            self._set(loop, at)
        return number

    def remove(self, number: int) -> None:
        """Take one back, if it was not called yet."""
        if self._due.pop(number, None) is None and self._elsewhere:
            timer = self._elsewhere.pop(number, None)
            if timer is not None:
                timer.cancel()

    def _set(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = loop.call_at(at, self._ring)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        # a loop may call a timer a little early, by the resolution of its clock
        now = max(loop.time(), self._rings_at)
        self._timer, self._rings_at = None, math.inf
        for number in [number for number, (at, _) in self._due.items() if at <= now]:
            overdue = self._due.pop(number, None)
            if overdue is not None:  # not taken back by one before it
                overdue[1]()
        if self._due:
            self._set(loop, min([at for at, _ in self._due.values()]))


class Within:
    """What :func:`asyncio.timeout` is, with the timer of others: cancels the body of a ``with``, and raises there."""

    __slots__ = ("_cancelling", "_deadlines", "_number", "_over", "_seconds", "_task")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("there is no task to be cancelled")
        self._task = task
        self._cancelling = task.cancelling()
        self._number = self._deadlines.add(self._seconds, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadlines.remove(self._number)
        # cancelled by somebody else besides, it stays cancelled
        if self._over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _end(self) -> None:
        self._over = True
        self._task.cancel()
