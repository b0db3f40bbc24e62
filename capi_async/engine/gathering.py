"""Lone events that a spool in memory keeps as they are: they are prepared together, in the thread, a little later.

Preparing an event alone costs several times what it costs among others, and an event in memory waits for company before
its request leaves anyway. So it is accepted as it is, and its records are made after a part of that time. Whoever asks
what became of it (a receipt, the ledger, a flush, an erasure) has it prepared at once, so that the order of things
stays what it is for every other event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from copy import copy
from itertools import islice, takewhile
from typing import Final

from msgspec.structs import force_setattr

from capi_async.clock import Clock
from capi_async.engine.capacity import Capacity
from capi_async.engine.erasure import Erasure, without
from capi_async.engine.hooks import Hooks
from capi_async.engine.prepare import SMALL_BYTES, Preparer, unpreparable
from capi_async.engine.receipt import Receipt
from capi_async.event import Event
from capi_async.log import Log
from capi_async.spool.base import Record, Refused, Spool, Unprepared, keeps_unprepared
from capi_async.thread import OwnedThread

logger = Log(__name__)

#: Events that are prepared together: some hundred microseconds in which the thread may keep a request waiting, and of
#: more together each would hardly cost less.
TOGETHER: Final = 48
#: Events that are kept at most, so that nobody waits for a thread that is slow now and then.
MOST: Final = 256
#: Where a request carries fewer events than this, one of them hardly waits for others.
_COMPANY: Final = 10
#: Share of the time that an event waits for others, and seconds at most, for which it is kept as it is; where that is
#: less than so many seconds, hardly any come together.
_SHARE: Final = 0.5
_MOST_S: Final = 0.5
_LEAST_S: Final = 0.02
#: So many are prepared on the event loop for somebody who asks; more are prepared in the thread.
_FEW: Final = 8
#: Bytes that an event counts at each destination until its records are made: more than any of them has, also where JSON
#: writes a control character with six.
_COUNTED_BYTES: Final = 8 * SMALL_BYTES


class Gathering:
    """Keeps lone events until several can be prepared together.

    Args:
        wanted: Whether the client's settings allow it.
        linger_s: Seconds that an event waits for others at the destination where that is shortest.
        least: Events of a request of the destination where that are fewest.
        woken: Called when there is something to prepare.
    """

    def __init__(
        self,
        *,
        wanted: bool,
        linger_s: float,
        least: int,
        preparer: Preparer,
        thread: OwnedThread,
        spool: Spool,
        capacity: Capacity,
        names: Sequence[str],
        hooks: Hooks,
        clock: Clock,
        woken: Callable[[], None],
    ) -> None:
        self._preparer = preparer
        self._thread = thread
        self._capacity = capacity
        self._names = tuple(names)
        self._hooks = hooks
        self._clock = clock
        self._woken = woken
        self._loop = asyncio.get_running_loop()
        self._wait_s = min(_MOST_S, linger_s * _SHARE)
        self._together = min(TOGETHER, least)
        found = keeps_unprepared(spool)
        self._spool = found
        self._wanted = (
            wanted and found is not None and preparer.brief and self._wait_s >= _LEAST_S and least >= _COMPANY
        )
        self._timer: asyncio.TimerHandle | None = None
        #: Calls that want everything to leave at once: as long as there is one, nothing is kept.
        self.hurry = 0
        self._changed = asyncio.Event()
        self._over = False
        #: How many are being prepared in the thread.
        self._in_thread = 0
        #: How many of the oldest are to be prepared now: first of all what an earlier run has left.
        self._asked = self.events
        #: Whether events may ever be kept here.
        self.on = self._wanted or self._asked > 0

    @property
    def events(self) -> int:
        """How many events are kept as they are."""
        return 0 if self._spool is None else len(self._spool.unprepared)

    @property
    def busy(self) -> bool:
        """Whether some are being prepared in the thread."""
        return self._in_thread > 0

    @property
    def due(self) -> bool:
        """Whether what is kept is to be prepared now."""
        return self._asked > 0

    def take(self, event: Event, receipt: Receipt) -> bool:
        """Whether the event is accepted; if not, nothing has happened."""
        spool = self._spool
        if not self._wanted or self.hurry or spool is None:
            return False
        began = time.perf_counter()
        kept = len(spool.unprepared) - self._in_thread
        # who sends one after the other, and waits for nothing, has to wait then
        if kept >= MOST or not self._preparer.may_wait(event):
            return False
        if not self._capacity.plenty(self._names, 1, _COUNTED_BYTES):
            return False
        spool.keep(Unprepared(_still(event), receipt, self._clock.wall(), self._names, _COUNTED_BYTES, self._preparer))
        if not self._asked:  # else it is seen to when those are prepared
            if kept + 1 >= self._together:
                self.ask()
            elif self._timer is None:
                self._timer = self._loop.call_later(self._wait_s, self.ask)
        self._hooks.taken(1, time.perf_counter() - began)
        return True

    def ask(self) -> None:
        """Have all that is kept at this moment prepared soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._asked = self.events
        if self._asked:
            self._woken()

    def look(self) -> None:
        """Somebody asks what became of an event: a few are prepared here and now, more in the thread."""
        spool = self._spool
        if spool is None or not spool.unprepared or not self._is_here():
            return
        while not self.busy and 0 < len(spool.unprepared) <= _FEW:
            one = spool.unprepared[0]
            began = time.perf_counter()
            with self._hooks.held.by("to_wire() of a destination that says it is brief"):
                made = one.preparer.alone(_as_accepted(one.event), one.receipt, self._clock.wall())
            if made is None:
                break
            records, refused = made
            for record in records:
                record.accepted_at = one.accepted_at
            self._store([one], records, refused, time.perf_counter() - began)
        self.ask()

    def erase(self, erasure: Erasure) -> None:
        """Of what is kept at this moment, end what matches as soon as it is prepared."""
        for one in () if self._spool is None else self._spool.unprepared:
            one.erasures = (*one.erasures, erasure)

    async def prepare(self, *, pressed: bool) -> None:
        """Have some of what is kept prepared in the thread, and store it; more at once if others wait for that."""
        spool = self._spool
        if spool is None or not spool.unprepared:
            return
        most = MOST if pressed or self.hurry else TOGETHER
        preparer = spool.unprepared[0].preparer
        kept = list(takewhile(lambda one: one.preparer is preparer, islice(spool.unprepared, most)))
        self._in_thread = len(kept)
        try:
            records, refused, took_s = await self._thread.submit(_prepared, preparer, kept, self._clock.wall())
        except Exception as error:  # a fault of ours: nobody waits for these events any more
            records, refused, took_s = [], _failed(kept, error), 0.0
        finally:
            self._in_thread = 0
        self._store(kept, records, refused, took_s)
        younger = self.events - self._asked
        if younger >= self._together:
            self.ask()
        elif younger and self._timer is None:
            self._timer = self._loop.call_later(self._wait_s, self.ask)

    async def all_prepared(self) -> None:
        """Return once what is kept at this moment is prepared, or nothing is prepared any more."""
        spool = self._spool
        if spool is None or not spool.unprepared:
            return
        last = spool.unprepared[-1]
        while not self._over and any(one is last for one in spool.unprepared):
            self.ask()
            await self._changed.wait()

    def end(self) -> None:
        """Nothing is prepared any more: what is kept is left to the next run."""
        self._over = True
        self._changed.set()

    def _store(self, kept: Sequence[Unprepared], records: list[Record], refused: list[Refused], took_s: float) -> None:
        if self._spool is None:
            return
        records, refused = _without_erased(kept, records, refused)
        began = time.perf_counter()
        self._spool.prepared(len(kept), records, refused)
        self._asked = max(0, self._asked - len(kept))
        self._hooks.prepared(len(kept), took_s)
        self._hooks.stored(len(records), len(refused), time.perf_counter() - began)
        # another client's destinations are none that anybody listens to here
        if mine := [one for one in refused if one.destination in self._names]:
            self._hooks.refused(mine)
        self._changed.set()
        self._changed.clear()

    def _is_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False


def _still(event: Event) -> Event:
    """The event, or a copy where its caller holds a list in it, which may change before it is prepared."""
    items, to = event.items, event.to
    if type(items) is tuple and (to is None or type(to) is tuple):
        return event
    own = copy(event)
    force_setattr(own, "items", tuple(items))
    force_setattr(own, "to", None if to is None else tuple(to))
    return own


def _as_accepted(event: Event) -> Event:
    """The event with mappings as empty as they were, whatever its caller has written into them since.

    Only now, because copying each event would be a tenth of what accepting it takes.
    """
    own = copy(event)
    force_setattr(own, "properties", {})
    force_setattr(own, "extra", {})
    return own


def _prepared(preparer: Preparer, kept: Sequence[Unprepared], now: float) -> tuple[list[Record], list[Refused], float]:
    """Records that were accepted when their events were, refusals, and the seconds that making them took."""
    began = time.perf_counter()
    records, refused = preparer.run([_as_accepted(one.event) for one in kept], [one.receipt for one in kept], now)
    accepted_at = {id(one.receipt): one.accepted_at for one in kept}
    for record in records:
        record.accepted_at = accepted_at[id(record.receipt)]
    return records, refused, time.perf_counter() - began


def _without_erased(
    kept: Sequence[Unprepared], records: list[Record], refused: list[Refused]
) -> tuple[list[Record], list[Refused]]:
    """The same, where what is of people who were forgotten meanwhile has ended."""
    erasures = {id(one.receipt): one.erasures for one in kept if one.erasures}
    if not erasures:
        return records, refused
    left: list[Record] = []
    ended = list(refused)
    for record in records:
        kept_of_it, ended_of_it = without(([record], []), erasures.get(id(record.receipt), ()))
        left += kept_of_it
        ended += ended_of_it
    return left, ended


def _failed(kept: Sequence[Unprepared], error: Exception) -> list[Refused]:
    name = type(error).__name__
    logger.error(
        "%d events could not be prepared: %s; they are rejected, please report it",
        len(kept),
        name,
        extra={"events": len(kept), "error": name},
    )
    outcome = unpreparable(error)
    return [Refused(name, one.event.event_id, outcome, one.receipt) for one in kept for name in one.destinations]
