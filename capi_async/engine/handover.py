"""Takes events from other threads than the event loop's, and hands them to the intake there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from capi_async.answer import Answer
from capi_async.engine.intake import Intake
from capi_async.engine.receipt import Delivery, Receipt
from capi_async.errors import CapiError, ClientClosed, QueueFull
from capi_async.event import Event

#: Seconds until the next try, while the intake is full.
_AGAIN_S = 0.02


class Handover:
    """A bounded queue in front of the intake, for callers off the loop's thread; lives as long as the client.

    Args:
        names: The client's destinations.
        max_events: Events that may wait here, in addition to as many in the intake itself.
        trace: Gives the caller's trace context, in the caller's thread.
    """

    def __init__(self, names: Sequence[str], *, max_events: int, trace: Callable[[], str] | None = None) -> None:
        self._trace = trace
        self._names = names
        self._max_events = max_events
        self._waiting: deque[tuple[Event, Receipt, Answer]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._intake: Intake | None = None
        self._delivery = Delivery()
        self._coming = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event) -> tuple[Receipt, Answer]:
        """Hand in one event from any thread, without waiting; its receipt, and an answer for when it is stored.

        Raises:
            QueueFull: Too many wait.
            ClientClosed: The client's event loop has ended.
        """
        if len(self._waiting) >= self._max_events:
            raise QueueFull("too many events wait to be taken over by the event loop; nothing was stored")
        stored = Answer()
        receipt = Receipt(event.event_id, self._names, self._delivery, _acceptance=stored)
        if self._trace is not None:
            receipt._trace = self._trace()
        self._waiting.append((event, receipt, stored))
        if self._closed and self._take_back((event, receipt, stored)):
            raise ClientClosed("the client is closed")
        loop = self._loop
        # read after the event is in the queue: the loop clears it before it reads the queue
        if loop is not None and not self._coming:
            self._coming = True
            try:
                loop.call_soon_threadsafe(self._take_over)
            except RuntimeError:
                self._coming = False
                self._take_back((event, receipt, stored))
                raise ClientClosed("the client's event loop has ended; make one client per loop") from None
        return receipt, stored

    def _take_back(self, item: tuple[Event, Receipt, Answer]) -> bool:
        """Whether it was still in the queue; if not, what took it out answers its caller."""
        try:
            self._waiting.remove(item)
        except ValueError:
            return False
        return True

    def reopen(self) -> None:
        """The client starts again: keep what comes until there is an intake."""
        self._closed = False

    def attach(self, loop: asyncio.AbstractEventLoop, intake: Intake, delivery: Delivery) -> None:
        """Hand over to this intake from now on; called on its loop."""
        self._loop, self._intake, self._delivery, self._closed = loop, intake, delivery, False
        self._take_over()

    def detach(self) -> int:
        """The client closes: what does not fit into the intake any more is refused; how many these are."""
        self._closed = True
        self._take_over()
        self._loop = self._intake = None
        left = len(self._waiting)
        while self._waiting:
            *_, stored = self._waiting.popleft()
            _told(stored, ClientClosed("the client closed before this event was stored"))
        return left

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until the intake has all of it; False if time ran out."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting:  # noqa: ASYNC110  # rare: only while the intake is full, whose end is not signalled
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            return False
        return True

    def _take_over(self) -> None:
        self._coming = False
        intake, loop = self._intake, self._loop
        while self._waiting and intake is not None and loop is not None:
            event, receipt, stored = self._waiting[0]
            receipt._delivery = self._delivery
            try:
                if intake.at_once(event, receipt):
                    stored.give()
                    self._waiting.popleft()
                    continue
                future = intake.put((event,), (receipt,), timeout_s=None)
            except CapiError as error:
                _told(stored, error)
            else:
                if future is None:
                    self._coming = True
                    loop.call_later(_AGAIN_S, self._take_over)
                    return
                future.add_done_callback(partial(_stored, stored))
            self._waiting.popleft()


def _stored(stored: Answer, future: asyncio.Future[None]) -> None:
    if future.cancelled():
        _told(stored, ClientClosed("the client closed while this event was stored", stored=None))
    elif (error := future.exception()) is not None:
        _told(stored, error)
    else:
        stored.give()


def _told(stored: Answer, error: BaseException) -> None:
    stored.give(error=error)
