"""One look at a client: what waits, what happens, how fast, and what is wrong. For pages, gauges and health checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from capi_async.outcome import OutcomeKind
from capi_async.spool.base import Ledger
from capi_async.telemetry.metrics import Ended, Histogram, Minute
from capi_async.telemetry.news import StateName


class Timing(Struct, frozen=True, kw_only=True):
    """How long something took, in seconds.

    Attributes:
        count: How often it was measured since the start, and ``total_s`` all of that together.
        p50_s, p95_s: Of half of these, and of 95 in 100, the most; ``None`` without any. Of requests, of the latest
            256 and exact; of all else, since the start and rounded up to a bound of the histogram.
    """

    count: int
    total_s: float
    p50_s: float | None
    p95_s: float | None


class DestinationSnapshot(Struct, frozen=True, kw_only=True):
    """One destination.

    Attributes:
        type: Its platform, such as ``meta``.
        state: ``open``, ``broken`` (does not answer) or ``paused`` (account refused); ``reason`` and ``fix`` in words,
            ``reason_code`` one of :data:`~capi_async.telemetry.reasons.HELD_REASONS`; empty while it is open.
        state_at: Seconds since the epoch at which this process saw it come into this state; 0: it was in no other.
        waiting: Events accepted and not settled, as far as this process knows of them, and ``waiting_bytes`` of them.
        oldest_s: Seconds for which the oldest of these has waited; ``None``: nothing waits, or it is not known.
        ledger: Counts of all outcomes, as the spool has them: a durable one's from its first event on, by any process.
        in_flight: Requests under way, and ``window`` how many may be.
        limiter_wait_s: Seconds until the rate limit lets the next request leave that is ready; 0: none waits for it.
        rate_factor: Share of the configured rate that throttling has left.
        throttled: Why the platform has asked for less, while nothing leaves for that; empty otherwise.
        per_s: Outcomes of each kind a second in this process, over the last one to two minutes.
        request: Seconds of requests.
        delivery: Seconds from acceptance to delivery.
        outcomes: Number of final outcomes in this process by kind and reason code.
        requests: Number of requests in this process by HTTP status or kind of transport error.
        recent: The latest outcomes, the newest first; ``undelivered`` those of them that are no delivery, further back.
        minutes: What happened minute by minute, up to six hours back.
    """

    name: str
    type: str
    state: StateName
    reason: str
    fix: str
    reason_code: str
    state_at: float
    waiting: int
    waiting_bytes: int
    oldest_s: float | None
    ledger: Ledger
    in_flight: int
    window: int
    limiter_wait_s: float
    rate_factor: float
    per_s: Mapping[OutcomeKind, float]
    request: Timing
    delivery: Timing
    outcomes: Mapping[tuple[OutcomeKind, str], int]
    requests: Mapping[str, int]
    recent: Sequence[Ended]
    undelivered: Sequence[Ended]
    minutes: Sequence[Minute]
    throttled: str = ""


class Snapshot(Struct, frozen=True, kw_only=True):
    """One client, at one moment.

    Attributes:
        at: Seconds since the epoch.
        started_at: Seconds since the epoch from which on this process counts.
        running: Whether the client is entered, and neither closed nor ended by itself.
        mode: ``live``, ``sandbox`` or ``off``.
        delivers: Whether this process delivers, or only accepts.
        durable: Whether accepted events outlive this process, and ``where`` they are.
        storage_away_s: Seconds for which storage has been out of reach, or has taken no new event; 0 if all is well.
        storage_error: Why storage could not be read for this, when all counts of it are 0; empty if it could.
        workers: Processes that deliver from the spool, where that is known.
        unstored: Events handed in and not stored yet.
        send: Seconds from handing in to stored.
        prepare: Seconds of preparing one group of events, of which there were ``prepared_events``.
        commit: Seconds of storing one group.
        loop_lag: Seconds by which the event loop was late, and ``loop_lag_s`` the last of these; looked at once a
            second.
    """

    at: float
    started_at: float
    running: bool
    mode: str
    delivers: bool
    durable: bool
    where: str
    storage_away_s: float
    storage_error: str
    workers: int | None
    unstored: int
    send: Timing
    prepare: Timing
    prepared_events: int
    commit: Timing
    loop_lag: Timing
    loop_lag_s: float
    destinations: Mapping[str, DestinationSnapshot]


def timing(histogram: Histogram) -> Timing:
    """What a histogram says."""
    return Timing(
        count=histogram.count,
        total_s=histogram.total,
        p50_s=histogram.percentile(0.5),
        p95_s=histogram.percentile(0.95),
    )


def timing_of(histogram: Histogram, latest: Sequence[float]) -> Timing:
    """The same, with percentiles of the latest values."""
    ordered = sorted(latest)
    return Timing(
        count=histogram.count,
        total_s=histogram.total,
        p50_s=ordered[(len(ordered) - 1) // 2] if ordered else None,
        p95_s=ordered[-(-len(ordered) * 95 // 100) - 1] if ordered else None,
    )
