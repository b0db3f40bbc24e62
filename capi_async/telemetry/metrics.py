"""What one client counts and measures, from its first event on: numbers, names, codes and event ids, nothing else.

Everything is counted from zero: each series there can be is there from the start, so that the first event of a kind
is an increase that an alert can see. What can take any value (reasons, fields, statuses) has a bounded set of labels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from capi_async.outcome import Outcome, OutcomeKind
from capi_async.telemetry.news import Prepared, RequestDone, StateChanged, StateName, Stored
from capi_async.telemetry.reasons import FIELD_LABELS, REASONS, field_of, held_reason, reason_of

#: Upper bounds of histograms, in seconds: of requests, of what happens in this process, from handing in to outcome.
REQUEST_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LOCAL_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
DELIVERY_S: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
#: Upper bounds of a request's events.
BATCH_EVENTS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000)

#: Statuses and kinds of transport errors that are counted from zero; another one appears when it comes first.
STATUSES: Final = (
    "200", "400", "401", "403", "404", "413", "422", "429", "500", "502", "503", "504",
    "connect", "dns", "tls", "timeout", "reset", "protocol", "session",
)  # fmt: skip
_MAX_STATUSES: Final = 40

#: Latest outcomes that are kept per destination: of any kind, and of those that are no delivery.
RECENT: Final = 100
#: Of one request, so many are noted.
RECENT_AT_ONCE: Final = 25
#: Latest requests of which percentiles are made.
_REQUESTS: Final = 256
#: Minutes of which a history is kept.
MINUTES: Final = 360


class Histogram:
    """Counts of values up to each bound, and beyond the last one."""

    __slots__ = ("bounds", "count", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Note a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.count += times
        self.total += value * times

    def add_all(self, values: Sequence[float]) -> None:
        """Note each of these values."""
        bounds, counts = self.bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.count += len(values)
        self.total += sum(values)

    def percentile(self, share: float) -> float | None:
        """The bound up to which at least ``share`` of the values lie; ``None`` without any, or beyond the last."""
        rank, seen = self.count * share, 0
        for bound, number in zip(self.bounds, self.counts, strict=False):
            seen += number
            if seen and seen >= rank:
                return bound
        return None


class Ended(Struct, frozen=True, gc=False):
    """One event's end at one destination.

    Attributes:
        at: Seconds since the epoch.
    """

    at: float
    event_id: str
    outcome: Outcome


class Minute(Struct, frozen=True, gc=False):
    """What happened within one minute at one destination.

    Attributes:
        at: Seconds since the epoch at which it began.
        outcomes: Kind to number of final outcomes.
        requests: Requests that were answered or failed, and ``failed`` those of them without an answer of success.
        request_s: Seconds that all of them took together.
    """

    at: float
    outcomes: Mapping[OutcomeKind, int]
    requests: int
    failed: int
    request_s: float


class _Minute:
    __slots__ = ("failed", "number", "outcomes", "request_s", "requests")

    def __init__(self, number: int) -> None:
        self.number = number
        self.outcomes: dict[OutcomeKind, int] = {}
        self.requests = 0
        self.failed = 0
        self.request_s = 0.0


class DestinationMetrics:
    """One destination's share.

    Attributes:
        outcomes: Number of final outcomes by kind and reason code, see :mod:`~capi_async.telemetry.reasons`.
        refusals: Number of events that were rejected or skipped, by the field that is named.
        requests: Number by HTTP status, or by kind of transport error.
        sent_events, sent_bytes: Of all requests, repeats included.
        batch: Events of a request.
        request: Seconds of a request.
        delivery: Seconds from acceptance to delivery.
        limiter_s: Seconds that requests which were ready waited for the rate limit.
        held_for: Code for which it is broken or paused, see :data:`~capi_async.telemetry.reasons.HELD_REASONS`.
        state_at: Seconds since the epoch at which it came into its state; 0: it was in no other.
    """

    def __init__(self) -> None:
        self.outcomes: dict[tuple[OutcomeKind, str], int] = {
            (kind, code): 0 for kind, codes in REASONS.items() for code in codes
        }
        self.refusals: dict[str, int] = dict.fromkeys(FIELD_LABELS, 0)
        self.requests: dict[str, int] = dict.fromkeys(STATUSES, 0)
        self.sent_events = 0
        self.sent_bytes = 0
        self.batch = Histogram(BATCH_EVENTS)
        self.request = Histogram(REQUEST_S)
        self.delivery = Histogram(DELIVERY_S)
        self.limiter_s = 0.0
        self.state: StateName = "open"
        self.held_for = ""
        self.state_at = 0.0
        self._minutes: deque[_Minute] = deque(maxlen=MINUTES)
        self._recent: deque[Ended] = deque(maxlen=RECENT)
        self._undelivered: deque[Ended] = deque(maxlen=RECENT)
        self._latest_s: deque[float] = deque(maxlen=_REQUESTS)

    def requested(self, done: RequestDone, now: float) -> None:
        """A request was answered or failed."""
        status = done.error or str(done.status)
        if status not in self.requests and len(self.requests) >= _MAX_STATUSES:
            status = "other"
        self.requests[status] = self.requests.get(status, 0) + 1
        self.sent_events += done.events
        self.sent_bytes += done.bytes
        self.batch.add(done.events)
        self.request.add(done.duration_s)
        self._latest_s.append(done.duration_s)
        minute = self._minute(now)
        minute.requests += 1
        minute.failed += not 200 <= done.status < 300
        minute.request_s += done.duration_s

    def settled(self, event_ids: Sequence[str], outcomes: Sequence[Outcome], now: float) -> None:
        """Events got their final outcomes; ``event_ids`` are those of the last ones at least."""
        counts = self._minute(now).outcomes
        for outcome, number in _runs(outcomes) if len(outcomes) > 1 else ((outcomes[0], 1),):
            kind = outcome.kind
            self.outcomes[kind, reason_of(outcome)] += number
            counts[kind] = counts.get(kind, 0) + number
            if kind == "delivered":
                self.delivery.add(outcome.latency_s, number)
            elif kind in ("rejected", "skipped"):
                self.refusals[field_of(outcome)] += number
        latest = outcomes[-RECENT_AT_ONCE:]
        for event_id, outcome in zip(event_ids[-len(latest) :], latest, strict=True):
            ended = Ended(now, event_id, outcome)
            self._recent.append(ended)
            if outcome.kind != "delivered":
                self._undelivered.append(ended)

    def changed(self, change: StateChanged, now: float) -> None:
        """It changed its state."""
        if change.state != self.state:
            self.state_at = now
        self.state = change.state
        self.held_for = "" if change.state == "open" else held_reason(change.reason_code)

    def recent(self, *, undelivered: bool = False) -> tuple[Ended, ...]:
        """The latest outcomes, the newest first; of a large request, only the last ones."""
        return tuple(self._undelivered if undelivered else self._recent)[::-1]

    def minutes(self) -> tuple[Minute, ...]:
        """The last hours, oldest minute first; those in which nothing happened are left out."""
        return tuple(
            Minute(one.number * 60.0, dict(one.outcomes), one.requests, one.failed, one.request_s)
            for one in tuple(self._minutes)  # copied first: another thread may ask
        )

    def rates(self, now: float) -> Mapping[OutcomeKind, float]:
        """Outcomes of each kind a second, over the last full minute and what has passed of this one."""
        number = int(now // 60)
        seconds = 60.0 + now % 60.0
        found: dict[OutcomeKind, float] = {}
        for minute in tuple(self._minutes)[-2:]:
            if minute.number >= number - 1:
                for kind, count in minute.outcomes.items():
                    found[kind] = found.get(kind, 0.0) + count / seconds
        return found

    def latest_request_s(self) -> Sequence[float]:
        """Seconds of the latest requests, in their order."""
        return tuple(self._latest_s)

    def _minute(self, now: float) -> _Minute:
        number = int(now // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]


class Metrics:
    """All of one client's. Written on its event loop; may be read from any thread.

    Attributes:
        of: Destination to its share.
        send: Seconds from handing events in until they are stored.
        prepare: Seconds that consent, normalising, hashing and mapping of one group of events took.
        commit: Seconds that storing such a group took.
        prepared_events: Events that were prepared.
        lag: Seconds by which the event loop was late, looked at once a second.
        started_at: Seconds since the epoch from which on it counts.
    """

    def __init__(self, destinations: Iterable[str], *, now: float) -> None:
        self.of = {name: DestinationMetrics() for name in destinations}
        self.send = Histogram(LOCAL_S)
        self.prepare = Histogram(LOCAL_S)
        self.commit = Histogram(LOCAL_S)
        self.prepared_events = 0
        self.lag = Histogram(LOCAL_S)
        self.last_lag_s = 0.0
        self.started_at = now

    def settled(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome], now: float) -> None:
        """See :meth:`DestinationMetrics.settled`; of a destination that is configured no more, nothing is counted."""
        if outcomes and (one := self.of.get(destination)) is not None:
            one.settled(event_ids, outcomes, now)

    def changed(self, change: StateChanged, now: float) -> None:
        """See :meth:`DestinationMetrics.changed`."""
        self.of[change.destination].changed(change, now)

    def begin(self) -> None:
        """The client is entered: every destination is open until its answers say otherwise."""
        for one in self.of.values():
            one.state, one.held_for = "open", ""

    def prepared(self, prepared: Prepared) -> None:
        """A group of events was prepared."""
        self.prepare.add(prepared.duration_s)
        self.prepared_events += prepared.events

    def stored(self, stored: Stored) -> None:
        """A group of events was stored."""
        self.commit.add(stored.duration_s)

    def late(self, seconds: float) -> None:
        """The event loop was late."""
        self.lag.add(seconds)
        self.last_lag_s = seconds


def _runs(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, int]]:
    """Each outcome with how often it stands there; neighbours are mostly one object."""
    first = outcomes[0]
    if outcomes.count(first) == len(outcomes):
        yield first, len(outcomes)
        return
    run, number = first, 0
    for outcome in outcomes:
        if outcome is not run:
            yield run, number
            run, number = outcome, 0
        number += 1
    yield run, number
