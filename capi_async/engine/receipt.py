"""What a caller holds of an accepted event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from capi_async.answer import Answer
from capi_async.deadlines import Deadlines
from capi_async.outcome import PENDING, Outcome


class Delivery:
    """One run of the engine, for those who wait for its receipts: once it is over, nothing settles by itself."""

    __slots__ = ("deadlines", "look", "over", "pending", "waiting")

    def __init__(self, *, over: bool = False, pending: Callable[[str], Outcome] | None = None) -> None:
        self.over = over
        #: Called when somebody asks for an outcome that is known only once its event is prepared, if there are such.
        self.look: Callable[[], None] | None = None
        #: Destination to the outcome of what waits there, with the reason why it does.
        self.pending = pending or _waits
        self.waiting: set[asyncio.Future[None]] = set()
        #: Until when they wait.
        self.deadlines = Deadlines()

    def end(self) -> None:
        """Wake everybody: what is not settled by now stays pending."""
        self.over = True
        self.look = None  # what is left may be another run's by then
        for waiter in list(self.waiting):
            if not waiter.done():
                waiter.set_result(None)


def _waits(_destination: str) -> Outcome:
    return PENDING


class Receipt(Struct, gc=False, eq=False):
    """Stands for one event that was handed in; costs no future until somebody awaits it.

    Attributes:
        event_id: The event's de-duplication key.
    """

    event_id: str
    _destinations: Sequence[str]
    _delivery: Delivery
    _outcomes: dict[str, Outcome] | None = None
    _waiters: Any = None
    _acceptance: Any = None
    _trace: str = ""

    async def outcomes(self, timeout_s: float | None = None) -> dict[str, Outcome]:
        """One outcome per destination, as soon as all are final, or the client has closed.

        Args:
            timeout_s: Seconds to wait; what is not settled by then is ``pending``, with the reason where its
                destination is paused or does not answer. ``None`` waits as long as it takes.
        """
        if not self._looked_up() and not self._delivery.over:
            # one each: several may wait for the same receipt, and one that gives up must not cancel the others
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = [*(self._waiters or ()), waiter]
            self._delivery.waiting.add(waiter)
            deadlines = self._delivery.deadlines
            number = None if timeout_s is None else deadlines.add(timeout_s, partial(_wake, waiter))
            try:
                await waiter
            finally:
                if number is not None:
                    deadlines.remove(number)
                # an event that another process settles is never settled here
                others = self._waiters
                self._waiters = None if len(others) == 1 else [one for one in others if one is not waiter]
                self._delivery.waiting.discard(waiter)
        return self.known()

    def known(self) -> dict[str, Outcome]:
        """One outcome per destination, as far as they are final by now; ``pending`` for the others."""
        self._looked_up()
        known = self._outcomes or {}
        return {name: known.get(name) or self._delivery.pending(name) for name in self._destinations}

    async def accepted(self) -> None:
        """Return once the event is in the spool.

        Raises:
            QueueFull: There was no capacity; nothing was stored.
            SpoolError: Storage failed.
            ClientClosed: The client closed meanwhile.

        Each says with ``stored`` what became of the event: False (surely not stored), True, or ``None`` (unknown).
        """
        acceptance = self._acceptance
        if isinstance(acceptance, Answer):  # handed in from another thread
            await acceptance.arrived()
        elif acceptance is not None:
            await asyncio.shield(acceptance)

    def settle(self, destination: str, outcome: Outcome) -> None:
        """Note a final outcome; called by the spool."""
        if self._outcomes is None:
            self._outcomes = {destination: outcome}
        else:
            self._outcomes[destination] = outcome
        if self._waiters is not None and self._complete():
            for waiter in self._waiters:
                # the loop of a caller that waited may have ended since
                if not waiter.done() and not waiter.get_loop().is_closed():
                    waiter.set_result(None)

    def _looked_up(self) -> bool:
        """Whether all outcomes are final, also those that are known once the event is prepared."""
        if self._complete():
            return True
        look = self._delivery.look
        if look is None:
            return False
        look()
        return self._complete()

    def _complete(self) -> bool:
        return self._outcomes is not None and len(self._outcomes) >= len(self._destinations)

    def __repr__(self) -> str:
        done = len(self._outcomes or ())
        return f"Receipt({self.event_id!r}, {done} of {len(self._destinations)} settled)"


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
