"""One worker thread of our own.

Not a pool shared with the application: a limiter full of somebody's blocking calls would stall us, and an
owned thread's hop costs less than half of a pool's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from capi_async.log import Log

P = ParamSpec("P")
R = TypeVar("R")

logger = Log(__name__)

#: Seconds between two looks of a thread that has nothing to do.
IDLE_S: Final = 2.0

#: Called on the event loop with a result, or ``None`` and what was raised.
Tell: TypeAlias = Callable[[Any, BaseException | None], None]

_Job: TypeAlias = tuple[Callable[[], Any], asyncio.AbstractEventLoop, Tell]


class Raised(RuntimeError):
    """What was raised in a thread and cannot be raised again on an event loop, such as a ``SystemExit``.

    Attributes:
        kind: The name of its type.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} was raised in a thread")
        self.kind = kind


def kind_of(error: BaseException) -> str:
    """The name of an error's type, also if a thread raised it: never its text, which may quote an event."""
    return error.kind if isinstance(error, Raised) else type(error).__name__


class OwnedThread:
    """Runs one job at a time, in order, off the event loop. Started when first used; a daemon.

    It ends with :meth:`stop`, or when nobody holds this object any more: a client that was never closed leaves none.

    Args:
        idle: Called now and then in the thread while there is no job; must hold nothing that holds this object.
    """

    def __init__(self, name: str, *, idle: Callable[[], None] | None = None) -> None:
        self._name = name
        self._idle = idle
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if it does not run: an interpreter that is ending starts none."""
        if self._thread is None:
            # the thread holds the queue only: what it held of us would never be thrown away
            self._thread = threading.Thread(target=_work, args=(self._jobs, self._idle), name=self._name, daemon=True)
            self._thread.start()

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result. If the caller is cancelled, the job still runs and its result is dropped."""
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Hand the job over at once; a future of its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self.hand(partial(function, *args, **kwargs), loop, partial(_resolve, future))
        return future

    def hand(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, tell: Tell) -> None:
        """Hand a job over whose end is told by a call on the loop, which is a turn sooner than by a future."""
        self.start()
        self._jobs.put((call, loop, tell))

    def stop(self) -> None:
        """Let the thread end after the jobs it was given."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def __del__(self) -> None:
        self.stop()


def _work(jobs: SimpleQueue[_Job | None], idle: Callable[[], None] | None) -> None:
    while True:
        try:
            job = jobs.get(timeout=IDLE_S if idle is not None else None)
        except Empty:
            if idle is not None:
                idle()
            continue
        if job is None:
            return
        _run(*job)
        # the thread must not keep the last micro-batch alive while it waits for the next
        del job


async def aside(call: Callable[[], R]) -> R:
    """The result of a call that may block, from a thread of its own: a daemon, which holds up nobody if it never ends.

    If the caller is cancelled, the call still runs and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()
    tell = partial(_resolve, future)
    threading.Thread(target=_run, args=(call, loop, tell), name="capi_async-aside", daemon=True).start()
    return await future


def _run(call: Callable[[], Any], loop: asyncio.AbstractEventLoop, tell: Tell) -> None:
    result: Any = None
    error: BaseException | None = None
    try:
        result = call()
    except BaseException as raised:  # handed to the awaiting task, whatever it is
        error = raised
    try:
        loop.call_soon_threadsafe(tell, result, error)
    except RuntimeError:
        logger.debug("a result came after its event loop had closed")


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, (StopIteration, GeneratorExit, KeyboardInterrupt, SystemExit)):
        # of a job's own making: a future cannot carry the first two, and the others would end the loop
        future.set_exception(Raised(type(error).__name__))
    else:
        future.set_exception(error)
