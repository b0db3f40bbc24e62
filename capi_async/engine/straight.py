"""The straight way of an event that comes alone: prepared and stored where it is handed in, without a turn of the loop.

Handing it to the thread and back costs more than preparing it does. So that the event loop is not held by that, this
way is open to a few small events a turn, of destinations that say of themselves that they are brief; all others, and
all that come while others wait, go through the thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, TypeAlias

from capi_async.clock import Clock
from capi_async.engine.capacity import Capacity
from capi_async.engine.hooks import Hooks
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.event import Event
from capi_async.spool.base import Record, Refused, Spool, append_now_of

#: What was made of an event or a few: the records of each destination together, and refusals.
Prepared: TypeAlias = tuple[list[Record], list[Refused]]

#: Events that are prepared in one turn of the loop; who sends one after the other awaits a turn after so many.
TOGETHER: Final = 2

#: Seconds that no event should take; how many may all the same, because the machine was busy; and for how many seconds
#: the thread prepares all events after that.
_LONG_S: Final = 0.02
_LONG_TIMES: Final = 3
_AWAY_S: Final = 60.0

#: What is named in the log if it never comes back.
_CODE: Final = "to_wire() of a destination that says it is brief"


class Straight:
    """Prepares lone events at once, and stores them where the spool can append without awaiting.

    Args:
        wanted: Whether the client's settings allow it.
    """

    def __init__(
        self,
        *,
        wanted: bool,
        preparer: Preparer,
        spool: Spool,
        capacity: Capacity,
        names: Sequence[str],
        hooks: Hooks,
        clock: Clock,
    ) -> None:
        self._preparer = preparer
        self._capacity = capacity
        self._names = names
        self._hooks = hooks
        self._held = hooks.held
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._wanted = wanted and preparer.brief
        self._append = append_now_of(spool)
        self._this_turn = 0
        self._long = 0
        self._away_until = 0.0

    def store(self, event: Event, receipt: Receipt) -> bool:
        """Whether the event is stored, or refused everywhere; if not, nothing has happened."""
        append = self._append
        began = time.perf_counter()
        if append is None or (made := self._prepared(event, receipt)) is None:
            return False
        records, refused = made
        # all bodies together are more than any of them: a cheap upper bound
        if not self._capacity.plenty(self._names, 1, sum([len(record.body) for record in records])):
            return False
        prepare_s = time.perf_counter() - began
        append(records, refused)
        self._hooks.straight(len(records), len(refused), prepare_s, time.perf_counter() - began)
        if refused:
            self._hooks.refused(refused)
        return True

    def prepare(self, events: Sequence[Event], receipts: Sequence[Receipt]) -> Prepared | None:
        """What the thread would make of a few events that wait alone; ``None`` if it is to do that."""
        if len(events) > TOGETHER:
            return None
        began = time.perf_counter()
        made: list[Prepared] = []
        for event, receipt in zip(events, receipts, strict=True):
            one = self._prepared(event, receipt)
            if one is None:
                return None
            made.append(one)
        self._hooks.prepared(len(made), time.perf_counter() - began)
        if len(made) == 1:
            return made[0]
        records = [record for name in self._names for one in made for record in one[0] if record.destination == name]
        return records, [refused for one in made for refused in one[1]]

    def _prepared(self, event: Event, receipt: Receipt) -> Prepared | None:
        if not self._wanted or self._this_turn >= TOGETHER:
            return None
        began = time.perf_counter()
        if began < self._away_until:
            return None
        if not self._this_turn:
            self._loop.call_soon(self._next_turn)
        self._this_turn += 1
        held, before = self._held, self._held.at
        held.at = (_CODE, began)  # written out, like the rest here: lone events find all caches cold
        try:
            made = self._preparer.alone(event, receipt, self._clock.wall())
        finally:
            held.at = before
        if (took_s := time.perf_counter() - began) > _LONG_S:
            self._took_long(took_s)
        return made

    def _next_turn(self) -> None:
        self._this_turn = 0

    def _took_long(self, took_s: float) -> None:
        self._long += 1
        if self._long < _LONG_TIMES:
            return
        self._long = 0
        self._away_until = time.perf_counter() + _AWAY_S
        self._hooks.note(
            logging.WARNING,
            ("straight", ""),
            "preparing one event held the event loop for %.0f ms, and not for the first time: for %.0f s all events "
            "are prepared in the thread; is the machine overloaded, or to_wire() of a destination slow? Set "
            "prepare='thread' to have them prepared there always",
            took_s * 1e3,
            _AWAY_S,
            extra={"seconds": round(took_s, 3), "fix": "set prepare='thread'"},
        )
