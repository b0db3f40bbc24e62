"""Who decides what one destination is sent: one task at a time, which then carries its request itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context

from capi_async.clock import Clock
from capi_async.engine.batcher import Batch
from capi_async.engine.guard import is_end
from capi_async.engine.task_group import Group


class Lead:
    """The tasks of one worker.

    One of them decides: it sleeps until there is something to send. If there is more than one request, others carry
    them; the last one it carries itself, and with the next wake-up another one decides. So an event that comes alone
    needs no second task, nor a turn of the loop to get there; and as long as requests are under way, the worker goes on
    deciding.

    Args:
        decide: Sleeps by :meth:`sleep`, and returns once a batch may leave; given True, there is nothing to do before
            the next wake-up.
        carry: Delivers a batch; raises nothing but the end of the task.
        more: Whether there may be anything to do besides what is under way.
        ending: Whether the client is ending all tasks.

    Attributes:
        woken: Whether it was woken since this was set to False.
        asleep_until: Monotonic seconds at which it goes on by itself; in the past while it works.
    """

    def __init__(
        self,
        *,
        decide: Callable[[bool], Awaitable[Batch]],
        carry: Callable[[Batch], Awaitable[None]],
        more: Callable[[], bool],
        ending: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._decide = decide
        self._carry = carry
        self._more = more
        self._ending = ending
        self._clock = clock
        self.woken = False
        self.asleep_until = -math.inf
        self._waiter: asyncio.Future[None] | None = None
        #: Whether a task decides.
        self._led = False
        #: Where the tasks run; ``None`` while none may begin.
        self._group: Group | None = None
        self._context = Context()
        self._fault: asyncio.Future[None]

    def wake(self) -> None:
        """Something changed: look for work."""
        self.woken = True
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif not self._led:
            self._begin()

    async def sleep(self, seconds: float | None) -> None:
        """Return when it is woken, or after so many seconds."""
        self.asleep_until = math.inf if seconds is None else self._clock.monotonic() + seconds
        if self.woken:
            return
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
            self.asleep_until = -math.inf

    async def run(self, group: Group) -> None:
        """Work in tasks of ``group`` until cancelled.

        Raises:
            BaseException: What ``decide`` raised. What is under way goes on; nothing is begun before the next call.
        """
        self._group, self._context = group, copy_context()
        self._fault = asyncio.get_running_loop().create_future()
        self._begin()
        try:
            await self._fault
        finally:
            self._group = None

    def _begin(self, batch: Batch | None = None) -> None:
        """Have a task decide, or carry this batch first, unless this is over."""
        if self._group is not None and not self._group.ending:
            if batch is None:
                self._led = True
            # not in the context of whoever wakes it, which is that of a call of the application's
            self._group.start_soon(self._work, batch, context=self._context.copy())

    async def _work(self, batch: Batch | None) -> None:
        task = asyncio.current_task()
        idle = False
        while True:
            if batch is None:
                batch = await self._next(idle)
                if batch is None:
                    return
            await self._carry(batch)
            batch, more = None, self._more()
            if self._led or self._group is None:
                if more:
                    self.wake()
                return
            if task is not None and task.cancelling():  # by code of the user's, which is over: a new task forgets it
                self._begin()
                return
            self._led, idle = True, not more

    async def _next(self, idle: bool) -> Batch | None:
        """Decide; what this task is to carry, once there is nothing more to decide. ``None``: it failed."""
        try:
            batch = await self._decide(idle)
            while self.woken or self._more():
                # all that may leave leaves in this turn
                self._begin(batch)
                batch = await self._decide(False)
        except BaseException as error:
            self._led = False
            if self._group is None or is_end(error, ending=self._ending()):
                raise
            self._group = None
            self._fault.set_exception(error)
            return None
        self._led = False
        return batch
