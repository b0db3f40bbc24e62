"""An event loop in a daemon thread, which takes calls from any other thread."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from capi_async.answer import Answer
from capi_async.errors import ClientClosed

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that calls which were cancelled may take to end before the loop ends without them.
_END_S = 0.5

#: What anyio and the sockets import when it is first needed.
_IMPORTED_LATE = ("anyio._backends._asyncio", "encodings.idna", "stringprep")

_ENDED = "the client was closed while this call waited"


def import_early() -> None:
    """Import what a loop needs, in the thread that makes a client rather than in the first one that uses it.

    What some thread is importing in the moment of a fork can never be imported in the child, and a program may well
    fork just after its first event.
    """
    for name in _IMPORTED_LATE:
        with suppress(ImportError):
            import_module(name)


class LoopThread:
    """Runs one event loop until :meth:`stop`. A daemon: it keeps no interpreter from ending.

    Nobody waits for ever in :meth:`call`: when the loop ends, or is given up, every caller is told.

    Attributes:
        pid: The process that it runs in; after a fork, the child has only a copy without a thread.
    """

    def __init__(self, name: str) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._executor = DaemonExecutor(f"{name}-blocking")
        self._loop.set_default_executor(self._executor)
        # no lock is held by who hands a call over and waits: a signal's handler may come in between, and make a call of
        # its own, or close the client
        self._calls: dict[Answer, asyncio.Task[Any] | None] = {}
        self._stopped = False
        #: Taken by the first who stops the loop, and never given back: a second stop would cut its ending short.
        self._first = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, and one that runs blocking calls: an interpreter that is ending may start no more.

        Raises:
            ClientClosed: The interpreter is ending and starts no threads.
        """
        try:
            self._executor.start()
            self._thread.start()
        except RuntimeError:
            self._executor.shutdown()
            self._loop.close()
            raise ClientClosed("the interpreter is ending, and starts no more threads") from None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def here(self) -> bool:
        """Whether the caller is on the loop's own thread, where it must not wait for the loop."""
        return threading.current_thread() is self._thread  # not by identifiers, which are used again

    def submit(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Have the loop call a function, plain or async, and return at once; its result comes as an answer.

        Raises:
            ClientClosed: The loop was stopped.
        """
        answer = Answer()
        if self._stopped:
            raise ClientClosed("the client is closed")
        # noted first: a loop that ends without having begun it tells all whose calls are noted
        self._calls[answer] = None
        try:
            self._loop.call_soon_threadsafe(self._begin, answer, partial(function, *args, **kwargs))
        except RuntimeError:
            self._calls.pop(answer, None)
            raise ClientClosed("the client is closed") from None
        return answer

    def call(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Have the loop call a function, plain or async, and wait for its result.

        Raises:
            ClientClosed: The loop was stopped, before or meanwhile; or this is the loop's own thread.
        """
        if self.here():
            raise ClientClosed("called from a hook or a callable on the client's own loop: call it from another thread")
        answer = self.submit(function, *args, **kwargs)
        try:
            return answer.result()
        except BaseException:
            if not answer.done():  # interrupted, as by Ctrl-C or a signal's handler that raised
                self._cancel(answer)
            raise

    def stop(self, *, timeout_s: float) -> bool:
        """Cancel every call and end the loop; those who wait in :meth:`call` are told :class:`ClientClosed`.

        Returns:
            Whether the thread has ended within ``timeout_s``. If not, something on the loop blocks it.
        """
        self._stopped = True
        if self._first.acquire(blocking=False):
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.here():
            self._thread.join(max(0.0, timeout_s))
            self._tell_all()
        return not self._thread.is_alive()

    def _cancel(self, answer: Answer) -> None:
        def cancel() -> None:
            task = self._calls.get(answer)
            if task is not None:
                task.cancel()

        with suppress(RuntimeError):  # it has ended, and all calls with it
            self._loop.call_soon_threadsafe(cancel)

    def _begin(self, answer: Answer, call: Callable[[], Any]) -> None:
        try:
            result = call()
        except BaseException as error:  # handed to the caller, whatever it is
            self._end(answer, None, error)
            return
        if not inspect.iscoroutine(result):
            self._end(answer, result, None)
            return
        self._calls[answer] = task = self._loop.create_task(result)
        task.add_done_callback(partial(self._done, answer))

    def _done(self, answer: Answer, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._end(answer, None, ClientClosed(_ENDED, stored=None))
        elif (error := task.exception()) is not None:
            self._end(answer, None, error)
        else:
            self._end(answer, task.result(), None)

    def _end(self, answer: Answer, result: Any, error: BaseException | None) -> None:
        self._calls.pop(answer, None)
        answer.give(result, error)  # no effect if who stopped a loop that did not answer has told the caller already

    def _tell_all(self) -> None:
        for answer in list(self._calls):
            self._end(answer, None, ClientClosed(_ENDED, stored=None))

    def _work(self) -> None:
        loop = self._loop
        try:
            loop.run_forever()
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks, timeout=_END_S))
            loop.run_until_complete(_bounded(loop.shutdown_asyncgens()))
        finally:
            self._stopped = True
            self._executor.shutdown()
            loop.close()
            self._tell_all()
            # those that are idle end at once: an interpreter may crash on threads that run while it is taken down
            self._executor.join(_END_S)


async def _bounded(ending: Any) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await ending


class DaemonExecutor(ThreadPoolExecutor):
    """Runs a loop's blocking calls, such as looking up a host's address, in daemon threads.

    The usual executor takes no more work as soon as the interpreter begins to end, which is just when a client that
    nobody closed sends what it holds; and it keeps the interpreter waiting for a look-up that hangs.
    """

    def __init__(self, name: str, *, max_threads: int = 8) -> None:
        super().__init__(max_workers=max_threads)
        self._name = name
        self._bound = max_threads
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._daemons: list[threading.Thread] = []
        self._started = 0
        self._waiting = 0
        self._changing = threading.Lock()

    def start(self) -> None:
        """Start one thread more.

        Raises:
            RuntimeError: The interpreter is ending.
        """
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        self._daemons.append(thread)
        self._started += 1

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have a thread call the function; a future of its result."""
        future: Future[R] = Future()
        with self._changing:
            self._waiting += 1
            if self._waiting > self._started and self._started < self._bound:
                # an interpreter that is ending starts no threads: those that run do it, one after the other
                with suppress(RuntimeError):
                    self.start()
            self._jobs.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the jobs they were given; waits for none."""
        with self._changing:
            for _ in range(self._started):
                self._jobs.put(None)
            self._started = 0

    def join(self, timeout_s: float) -> None:
        """Wait for the threads that have ended, or soon will, after :meth:`shutdown`."""
        until = time.monotonic() + timeout_s
        for thread in self._daemons:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # handed to whoever waits, whatever it is
                    future.set_exception(error)
            with self._changing:
                self._waiting -= 1
            # an idle thread must not keep alive what it worked on last
            del job, future, call
