"""Calls the hooks; an exception in one is logged, never raised."""

from __future__ import annotations

import inspect
import logging
import re
import time
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from capi_async.clock import Clock
from capi_async.engine.held import Held
from capi_async.engine.notices import Notices
from capi_async.log import literal
from capi_async.outcome import Outcome, Verdict
from capi_async.spool.base import Record, Refused
from capi_async.telemetry.base import Hook, Prepared, RequestDone, Settled, StateChanged, Stored, Taken, Watcher
from capi_async.telemetry.metrics import RECENT_AT_ONCE, Metrics
from capi_async.telemetry.reasons import reason_of

T = TypeVar("T")

#: Seconds after which a listener has held the event loop too long: it is named in the log.
_SLOW_S: Final = 0.1


#: Log level of each kind of outcome. Deliveries and erasures are what was asked for.
_LEVELS: Final = {
    "skipped": logging.INFO,
    "rejected": logging.WARNING,
    "expired": logging.WARNING,
    "uncertain": logging.WARNING,
    "dropped": logging.WARNING,
    "dead": logging.ERROR,
}
_event_id: Final = attrgetter("event_id")
_NUMBER: Final = re.compile(r"[0-9A-Fa-f-]*[0-9][0-9A-Fa-f-]*")


def line(text: str, most: int = 300) -> str:
    """A text from outside as a part of one line of a log: bounded, and without control characters."""
    return "".join(one if one.isprintable() else " " for one in text[:most])


class Hooks:
    """All listeners of one client: metrics, hooks, and the log, which hears of ends that are no delivery.

    Args:
        watcher: Called as well while it is on, which may change at any moment.
    """

    def __init__(
        self, hooks: Sequence[Hook], *, notices: Notices, metrics: Metrics, watcher: Watcher, clock: Clock
    ) -> None:
        self._notices = notices
        self._watcher = watcher
        self._clock = clock
        self.metrics = metrics
        self.held = Held(notices)
        # hooks that do not listen cost nothing
        self._request = _listeners(hooks, "on_request")
        self._settled = _listeners(hooks, "on_settled")
        self._state = _listeners(hooks, "on_state")
        self._prepared = _listeners(hooks, "on_prepared")
        self._stored = _listeners(hooks, "on_stored")
        self._taken = _listeners(hooks, "on_taken")

    def request(self, done: RequestDone) -> None:
        self.metrics.of[done.destination].requested(done, self._clock.wall())
        for listener in self._request:
            self._tell(listener, done)

    def answered(self, destination: str, records: Sequence[Record], verdicts: Sequence[Verdict], status: int) -> None:
        """What a request's answer says about each of its records."""
        if self._watcher.on:
            self._watcher.answered(destination, records, verdicts, status)

    def settled(self, destination: str, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Records that a worker settled."""
        latest = records[-RECENT_AT_ONCE:]
        self.metrics.settled(destination, list(map(_event_id, latest)), outcomes, self._clock.wall())
        loud = False
        for outcome in outcomes:
            if outcome.kind != "delivered":
                loud = True
                break
        if self._watcher.on:
            self._watcher.settled(destination, records, outcomes, fine=not loud)
        if loud or self._settled:
            self._tell_settled(destination, list(map(_event_id, records)), outcomes, loud=loud)

    def ended(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Events that ended otherwise: refused before they were stored, or ended by the spool itself."""
        self.metrics.settled(destination, event_ids, outcomes, self._clock.wall())
        if self._watcher.on:
            self._watcher.ended(destination, event_ids, outcomes)
        self._tell_settled(destination, event_ids, outcomes, loud=True)

    def _tell_settled(
        self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome], *, loud: bool
    ) -> None:
        if loud:
            self.say(destination, event_ids, outcomes)
        if self._settled and event_ids:
            settled = Settled(destination=destination, event_ids=event_ids, outcomes=outcomes)
            for listener in self._settled:
                self._tell(listener, settled)

    def refused(self, refused: Sequence[Refused]) -> None:
        """Events that were refused before they were stored."""
        by_name: dict[str, list[Refused]] = {}
        for one in refused:
            by_name.setdefault(one.destination, []).append(one)
        for name, some in by_name.items():
            self.ended(name, [one.event_id for one in some], [one.outcome for one in some])

    def prepared(self, events: int, duration_s: float) -> None:
        """A group of events was prepared."""
        self._tell_all(self._prepared, self.metrics.prepared, Prepared(events=events, duration_s=duration_s))

    def stored(self, records: int, refused: int, duration_s: float) -> None:
        """A group of records was committed to the spool."""
        stored = Stored(records=records, refused=refused, duration_s=duration_s)
        self._tell_all(self._stored, self.metrics.stored, stored)

    def taken(self, events: int, duration_s: float) -> None:
        """What one caller handed in is stored."""
        self.metrics.send.add(duration_s)
        if self._taken:
            self._tell_taken(events, duration_s)

    def all_taken(self, taken: Sequence[tuple[int, float]]) -> None:
        """The same for many callers: how many events each handed in, and how many seconds ago."""
        self.metrics.send.add_all([duration_s for _, duration_s in taken])
        if self._taken:
            for events, duration_s in taken:
                self._tell_taken(events, duration_s)

    def _tell_taken(self, events: int, duration_s: float) -> None:
        taken = Taken(events=events, duration_s=duration_s)
        for listener in self._taken:
            self._tell(listener, taken)

    def straight(self, records: int, refused: int, prepare_s: float, whole_s: float) -> None:
        """One event was prepared and stored where it was handed in."""
        metrics = self.metrics
        metrics.prepared_events += 1
        metrics.prepare.add(prepare_s)
        metrics.commit.add(whole_s - prepare_s)
        metrics.send.add(whole_s)
        if self._prepared or self._stored or self._taken:
            for listener in self._prepared:
                self._tell(listener, Prepared(events=1, duration_s=prepare_s))
            for listener in self._stored:
                self._tell(listener, Stored(records=records, refused=refused, duration_s=whole_s - prepare_s))
            for listener in self._taken:
                self._tell(listener, Taken(events=1, duration_s=whole_s))

    def _tell_all(self, listeners: Sequence[Callable[[T], object]], count: Callable[[T], object], news: T) -> None:
        count(news)
        for listener in listeners:
            self._tell(listener, news)

    def say(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Log the first of a kind, with what to do and an event's id; of those that follow a sum once a minute."""
        fine: Outcome | None = None
        for event_id, outcome in zip(event_ids, outcomes, strict=True):
            if outcome is fine:
                continue
            if outcome.kind not in _LEVELS:
                fine = outcome  # nearly always one object for all
                continue
            reason, field, fix = line(outcome.reason), line(outcome.field), line(outcome.fix)
            self._notices.note(
                _LEVELS[outcome.kind],
                # numbers and ids in a platform's text make no kind of its own
                (destination, outcome.kind, _NUMBER.sub("#", reason), _NUMBER.sub("#", field)),
                f"{literal(destination)}: {outcome.kind}: %s%s%s; for example event %s",
                f"{field}: " if field else "",
                reason or "no reason given",
                f"; {fix}" if fix else "",
                line(event_id, 80),
                extra={
                    "destination": destination,
                    "kind": outcome.kind,
                    "reason": reason,
                    "reason_code": reason_of(outcome),
                    "field": field,
                    "fix": fix,
                    "event_id": line(event_id, 80),
                },
            )

    def state(self, change: StateChanged) -> None:
        self.metrics.changed(change, self._clock.wall())
        for listener in self._state:
            self._tell(listener, change)

    def note(self, level: int, kind: Hashable, message: str, *arguments: object, extra: dict[str, Any]) -> None:
        """Log a fault that may come again with every request: the first at once, then a sum once a minute."""
        self._notices.note(level, kind, message, *arguments, extra=extra)

    def _tell(self, listener: Callable[[T], object], news: T) -> None:
        """An exception in a hook must not stop delivery.

        It is plain code, so that a CancelledError here is one of its own, and never the end of the task that calls it.
        """
        began = time.perf_counter()
        try:
            with self.held.by(_name(listener)):
                answer = listener(news)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # see above
            # the type only: the text may quote what the listener was given
            self.note(
                logging.ERROR,
                ("hook raised", _name(listener), type(error).__name__),
                "a hook raised: %s failed with %s; delivery goes on without it, mend the hook",
                _name(listener),
                type(error).__name__,
                extra={"hook": _name(listener), "error": type(error).__name__, "news": type(news).__name__},
            )
            return
        if inspect.iscoroutine(answer):
            answer.close()
            self.note(
                logging.ERROR,
                ("hook is async", _name(listener)),
                "a hook is async, and nothing of it ran: make %s a plain method",
                _name(listener),
                extra={"hook": _name(listener)},
            )
        took_s = time.perf_counter() - began
        if took_s > _SLOW_S:
            self.note(
                logging.WARNING,
                ("hook is slow", _name(listener)),
                "a hook held the event loop: %s took %.2f s; let it hand its work to a task or a thread",
                _name(listener),
                took_s,
                extra={"hook": _name(listener), "seconds": round(took_s, 2)},
            )


def _listeners(hooks: Sequence[Hook], method: str) -> tuple[Callable[[Any], object], ...]:
    """The methods of those hooks that do something at this."""
    inherited = getattr(Hook, method)
    return tuple(
        getattr(hook, method) for hook in hooks if getattr(getattr(hook, method), "__func__", None) is not inherited
    )


def _name(listener: Callable[[T], object]) -> str:
    return str(getattr(listener, "__qualname__", type(listener).__name__))
