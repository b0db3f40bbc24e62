"""Handing purchases to the client: each once, none that the client has no room for, none noted that was not taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio
from msgspec.structs import replace

from capi_async.backoff import Backoff
from capi_async.client import Client
from capi_async.errors import CapiError, ClientClosed, EventError
from capi_async.event import Event
from capi_async.outcome import Outcome
from capi_async.sources.tiktok_shop.lane import Lane
from capi_async.sources.tiktok_shop.state.base import Waiting

logger = logging.getLogger(__name__)

#: How long acceptance by the client may take.
_SEND_S: Final = 10.0
#: Waits for room at the client.
_BACKOFF: Final = Backoff(first_s=1.0, longest_s=15.0)

Again = Callable[[Sequence[Waiting]], Awaitable[None]]
Malformed = Callable[[Waiting, EventError], Awaitable[None]]


class Handover:
    """Hands one shop's purchases over.

    Args:
        later: Lets orders wait for another attempt.
        malformed: Lets an order wait whose event the client refuses.
    """

    def __init__(self, lane: Lane, *, later: Again, malformed: Malformed) -> None:
        self._lane = lane
        self._later = later
        self._malformed = malformed
        self._full = 0
        #: Event to the destinations whose queue dropped it while others took it.
        self._owed: dict[str, tuple[str, ...]] = {}

    async def forward(self, events: Sequence[tuple[Waiting, Event]]) -> None:
        """Hand these to the client, unless somebody has, and note that.

        Raises:
            ClientClosed: There is nobody to hand them to.
        """
        if not events:
            return
        lane = self._lane
        async with lane.turn, lane.state.exclusive():
            # what was begun here is finished: a cancelled send() may have been accepted, and nobody would note it
            with anyio.CancelScope(shield=True):
                fates = await self._hand_over(events)
        for (one, event), result in fates:
            if isinstance(result, EventError):
                await self._malformed(one, result)
            elif isinstance(result, ClientClosed):
                raise result
            elif isinstance(result, BaseException):
                await self._failed(one, event, result)

    async def _hand_over(self, events: Sequence[tuple[Waiting, Event]]) -> list[tuple[tuple[Waiting, Event], object]]:
        lane, now = self._lane, self._lane.clock.wall()
        done = await lane.state.done([event.event_id for _, event in events])
        # cancelled while it waited: its detail may have been read before that
        void = [one for one, event in events if done.get(event.event_id) == "void"]
        if void:
            lane.tally.never["cancelled"] += len(void)
            await lane.state.finish(void, "never", at=now)
        rest = [(one, event) for one, event in events if done.get(event.event_id) != "void"]
        asked = [event.event_id for _, event in rest if event.event_id not in self._owed]
        known = {*done, *await lane.client.accepted_before(asked)}
        repeats = [one for one, event in rest if event.event_id in known]
        fresh = [(one, self._to(event)) for one, event in rest if event.event_id not in known]
        fitting = await self._that_fit(fresh)
        all_fit, fresh = len(fitting) == len(fresh), fitting
        results = await asyncio.gather(
            *(lane.client.send(event, timeout_s=_SEND_S) for _, event in fresh), return_exceptions=True
        )
        fates: list[tuple[tuple[Waiting, Event], object]] = list(zip(fresh, results, strict=True))
        forwarded = [one for (one, event), result in fates if await self._was_taken(event, result)]
        lane.tally.forwarded += len(forwarded)
        lane.tally.repeats += len(repeats)
        lane.tell_cancelled(await lane.state.finish([*forwarded, *repeats], "forwarded", at=now))
        if forwarded and all_fit:
            self._full = 0
            lane.troubles.end(lane.shop_id, "queue")
        if dropped := [one for (one, event), _ in fates if event.event_id in self._owed]:
            await self._later(dropped)
        return fates

    def _to(self, event: Event) -> Event:
        """The event, for those destinations only that have not taken it yet."""
        owed = self._owed.get(event.event_id)
        return event if owed is None else replace(event, to=list(owed))

    async def _that_fit(self, events: list[tuple[Waiting, Event]]) -> list[tuple[Waiting, Event]]:
        """As many as the client has room for; the others wait, and are due again soon.

        A client that has no room drops what a destination that does not answer cannot take. Here nothing need be
        dropped: the orders are on the disk.
        """
        lane = self._lane
        if not isinstance(lane.client, Client) or len(events) <= (room := lane.client.room()):
            return events
        self._full += 1
        lane.tally.failed["QueueFull"] += 1
        lane.troubles.note(
            lane.shop_id, "queue", "the queue of a destination is full (see max_pending_events and Client.states())"
        )
        await lane.state.hold(lane.shop_id, until=lane.clock.wall() + _BACKOFF.interval_s(self._full))
        return events[:room]

    async def _was_taken(self, event: Event, result: object) -> bool:
        """Whether this is done: accepted, and dropped nowhere."""
        if isinstance(result, BaseException):
            return False
        self._owed.pop(event.event_id, None)
        if (outcomes_of := getattr(result, "outcomes", None)) is None:
            return True
        outcomes: Mapping[str, Outcome] = await outcomes_of(timeout_s=0)
        # somebody else filled the queue between our look at it and this event
        if dropped := tuple([name for name, outcome in outcomes.items() if outcome.kind == "dropped"]):
            self._owed[event.event_id] = dropped
            self._lane.tally.failed["dropped"] += 1
            logger.warning(
                "a full queue dropped purchase %s at %s; it is handed over again there", event.event_id,
                ", ".join(dropped), extra={"event": event.event_id, "destinations": list(dropped)},
            )  # fmt: skip
            return False
        return True

    async def _failed(self, one: Waiting, event: Event, error: BaseException) -> None:
        kind = type(error).__name__
        logger.warning(
            "the client did not accept purchase %s (%s); its order waits, and is tried again", event.event_id, kind,
            extra={"event": event.event_id, "error": kind},
        )  # fmt: skip
        self._lane.tally.failed[kind] += 1
        if isinstance(error, CapiError):
            self._lane.troubles.note(self._lane.shop_id, "queue", f"the client does not take them ({kind})")
        await self._later([one])
