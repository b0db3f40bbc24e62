"""The recent events of one process, with their way to each destination: a bounded ring that is off unless asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from msgspec.structs import replace

from capi_async.clock import Clock
from capi_async.log import Log
from capi_async.outcome import Outcome, Verdict
from capi_async.telemetry.base import Watcher
from capi_async.watch.masking import masked, shown_id
from capi_async.watch.seen import Attempt, Leg, Seen

logger = Log(__name__)

P = ParamSpec("P")

#: Events that are kept, unless somebody asks for another number.
EVENTS: Final = 500
#: New events a second that are kept for long, and at once: masking takes time, and nobody reads more.
_PER_S, _BURST = 20, 100
#: Attempts of one event at one destination that are kept.
_ATTEMPTS: Final = 8
#: Seconds that the prepare thread keeps the GIL while it masks.
_TURN_S: Final = 0.0015


def _harmless(
    method: Callable[Concatenate[Recent, P], None],
) -> Callable[Concatenate[Recent, P], None]:
    """A fault of ours in here costs what is shown, and no delivery."""

    @wraps(method)
    def run(self: Recent, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.stop()
            logger.error(
                "recent events are not kept any more: keeping them failed with %s; please report it",
                type(error).__name__,
                extra={"error": type(error).__name__},
            )

    return run


class _Room:
    """How many more events may be kept. It grows once a second and not bit by bit.

    So those that are kept under load come together, and nearly all requests carry none of them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = _BURST
        self._grows_at = clock.monotonic() + 1.0

    def used_up(self) -> bool:
        """Whether no more may be kept at the moment."""
        if self._left > 0:
            return False
        now = self._clock.monotonic()
        if now < self._grows_at:
            return True
        self._left = min(_BURST, int(_PER_S * (now - self._grows_at + 1.0)))
        self._grows_at = now + 1.0
        return False

    def take(self) -> bool:
        """Keep one more, if that is allowed."""
        if self.used_up():
            return False
        self._left -= 1
        return True


class Recent(Watcher):
    """Keeps the newest events, masked. Is told by the engine; may be read from any thread.

    Args:
        identifiers: Destination to the identifiers that it takes.
    """

    def __init__(self, identifiers: Mapping[str, Sequence[str]], *, clock: Clock) -> None:
        self._identifiers = identifiers
        self._clock = clock
        self._lock = threading.Lock()
        self._most = EVENTS
        self._by_wish = False
        self._seen: dict[str, Seen] = {}
        #: Destination to the events among them that have not ended there.
        self._open: dict[str, set[str]] = {}
        #: Those of the micro-batch that is being prepared.
        self._fresh: dict[str, Seen] = {}
        self._room = _Room(clock)
        self._room_for_ends = _Room(clock)
        self.missed = 0
        #: Whether events are prepared here, and not only sent: then those that are not among the recent came too fast.
        self._prepares = False

    def start(self, events: int = EVENTS, *, by_wish: bool = False) -> None:
        """Keep so many events from now on.

        Args:
            by_wish: Only until :meth:`end_wish`, unless it was or is started otherwise.
        """
        if by_wish and self.on:
            return
        self._by_wish = by_wish
        self._most = max(1, events)
        self.on = True

    def end_wish(self) -> None:
        """Stop, if nothing but a wish has started it."""
        if self.on and self._by_wish:
            self.stop()

    def stop(self) -> None:
        """Keep nothing, and let go of what was kept."""
        self.on = False
        with self._lock:
            self._seen.clear()
            self._open.clear()
            self._fresh.clear()
            self.missed = 0

    # What the engine tells.

    @_harmless
    def identified(self, events: Sequence[Any], ids: Sequence[Any]) -> None:
        """See :class:`~capi_async.telemetry.base.Watcher`."""
        self._prepares = True
        if self._room.used_up():
            self.missed += len(events)
            return
        now = self._clock.wall()
        for index, (event, known) in enumerate(zip(events, ids, strict=True)):
            if not self._room.take():
                self.missed += len(events) - index
                return
            seen = Seen(event_id=event.event_id, order_id=event.order_id or "", name=event.name, at=now, legs={})
            for name, wanted in self._identifiers.items():
                used = [attribute for attribute in wanted if getattr(known, attribute, None)]
                seen.legs[name] = Leg(used=used, refused=dict(known.refused), attempts=[])
            self._fresh[event.event_id] = seen

    @_harmless
    def prepared(self, records: Sequence[Any], refused: Sequence[Any]) -> None:
        """See :class:`~capi_async.telemetry.base.Watcher`."""
        fresh, self._fresh = self._fresh, {}
        if not fresh:
            return
        now = self._clock.wall()
        since = time.perf_counter()
        for record in records:
            seen = fresh.get(record.event_id)
            if seen is not None:
                seen.legs.setdefault(record.destination, Leg(attempts=[])).wire = masked(record.body)
                if time.perf_counter() - since > _TURN_S:
                    time.sleep(0)
                    since = time.perf_counter()
        for one in refused:
            seen = fresh.get(one.event_id)
            if seen is not None:
                _end(seen.legs.setdefault(one.destination, Leg(attempts=[])), one.outcome, now)
        with self._lock:
            for event_id, seen in fresh.items():
                self._keep(event_id, seen)

    @_harmless
    def answered(self, destination: str, records: Sequence[Any], verdicts: Sequence[Verdict], status: int) -> None:
        """See :class:`~capi_async.telemetry.base.Watcher`."""
        held = self._seen
        if not self._prepares:
            self._meet(destination, records)
        open_here = self._open.get(destination)
        if not open_here:
            return
        mine = [at for at, record in enumerate(records) if record.event_id in open_here]
        if not mine:
            return
        now = self._clock.wall()
        with self._lock:
            for at in mine:
                seen = held.get(records[at].event_id)
                if seen is None:
                    continue
                leg = seen.legs.setdefault(destination, Leg(attempts=[]))
                verdict = verdicts[at]
                leg.attempted = records[at].attempts
                leg.attempts.append(
                    Attempt(
                        at=now, status=status, verdict=verdict.kind, reason=verdict.reason, code=verdict.code,
                        trace_id=verdict.trace_id,
                    )
                )  # fmt: skip
                del leg.attempts[:-_ATTEMPTS]

    @_harmless
    def settled(self, destination: str, records: Sequence[Any], outcomes: Sequence[Outcome], *, fine: bool) -> None:
        """See :class:`~capi_async.telemetry.base.Watcher`."""
        # nearly every request carries nothing that is kept: that it does not is found out once, not per event
        if self._open.get(destination) or not fine:
            self.ended(destination, [record.event_id for record in records], outcomes)

    @_harmless
    def ended(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """See :class:`~capi_async.telemetry.base.Watcher`."""
        now = self._clock.wall()
        held, open_here = self._seen, self._open.setdefault(destination, set())
        with self._lock:
            for event_id, outcome in zip(event_ids, outcomes, strict=True):
                seen = held.get(event_id)
                if seen is None:
                    # of what came too fast, or before anybody asked, at least what went wrong
                    if outcome.kind in ("delivered", "skipped", "forgotten") or not self._room_for_ends.take():
                        continue
                    seen = Seen(event_id=event_id, at=now, legs={})
                    self._keep(event_id, seen)
                _end(seen.legs.setdefault(destination, Leg(attempts=[])), outcome, now)
                open_here.discard(event_id)
                if outcome.kind == "forgotten":
                    self._drop(event_id)

    def _meet(self, destination: str, records: Sequence[Any]) -> None:
        """Events that another process prepared."""
        for index, record in enumerate(records):
            seen = self._seen.get(record.event_id)
            if seen is not None and destination in seen.legs:
                continue
            if seen is None and not self._room.take():
                self.missed += len(records) - index
                return
            leg = Leg(wire=masked(record.body), attempts=[])
            with self._lock:
                if seen is None:
                    self._keep(record.event_id, Seen(event_id=record.event_id, at=self._clock.wall(), legs={}))
                self._seen[record.event_id].legs[destination] = leg
                self._open.setdefault(destination, set()).add(record.event_id)

    def _keep(self, event_id: str, seen: Seen) -> None:
        self._drop(event_id)
        self._seen[event_id] = seen
        for name, leg in seen.legs.items():
            if leg.kind == "pending":
                self._open.setdefault(name, set()).add(event_id)
        while len(self._seen) > self._most:
            self._drop(next(iter(self._seen)))

    def _drop(self, event_id: str) -> None:
        seen = self._seen.pop(event_id, None)
        for name in () if seen is None else seen.legs:
            self._open.setdefault(name, set()).discard(event_id)

    # What a page asks.

    def events(self, limit: int | None = None) -> list[Seen]:
        """The newest first, as they may be shown."""
        with self._lock:
            found = list(self._seen.values())[::-1][:limit]
            return [_shown(one) for one in found]

    def find(self, wanted: str) -> list[Seen]:
        """Those whose event id or order id is this."""
        with self._lock:
            found = [one for one in self._seen.values() if wanted in (one.event_id, one.order_id)]
            return [_shown(one) for one in found[::-1]]


def _end(leg: Leg, outcome: Outcome, now: float) -> None:
    leg.kind, leg.reason, leg.field, leg.fix = outcome.kind, outcome.reason, outcome.field, outcome.fix
    leg.status, leg.trace_id, leg.latency_s = outcome.status, outcome.trace_id, outcome.latency_s
    leg.attempted = max(leg.attempted, outcome.attempts)
    leg.ended_at = now


def _shown(seen: Seen) -> Seen:
    """A copy that changes no more."""
    legs = {name: replace(leg, attempts=list(leg.attempts)) for name, leg in seen.legs.items()}
    return Seen(
        event_id=shown_id(seen.event_id), order_id=shown_id(seen.order_id), name=shown_id(seen.name), at=seen.at,
        legs=legs,
    )  # fmt: skip
