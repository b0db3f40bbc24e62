"""What was seen of recent events. Free of personal data: ids, names, codes, counts and masked wires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from capi_async.outcome import OutcomeKind
from capi_async.telemetry.snapshot import Snapshot


class Attempt(Struct, frozen=True, kw_only=True):
    """One request that carried an event, and what its answer said of that event.

    Attributes:
        at: Seconds since the epoch.
        status: HTTP status; 0 if no answer came.
        verdict: Kind of the verdict, such as ``retry``.
        reason, code, trace_id: In the platform's words.
    """

    at: float
    status: int
    verdict: str
    reason: str = ""
    code: str = ""
    trace_id: str = ""


class Leg(Struct, kw_only=True):
    """The way of one event to one destination.

    Attributes:
        kind: How it ended there, or ``pending``.
        reason, field, fix: Of the outcome.
        used: Identifiers that were sent, by the names of their variants.
        refused: Fields whose value could not be read, and why.
        wire: The wire JSON with everything masked that somebody could be known by; empty if none was made or kept.
        attempts: The newest last, a bounded number.
        latency_s: Seconds from acceptance to the outcome.
    """

    kind: OutcomeKind = "pending"
    reason: str = ""
    field: str = ""
    fix: str = ""
    used: Sequence[str] = ()
    refused: Mapping[str, str] = {}
    wire: str = ""
    attempts: list[Attempt] = []
    attempted: int = 0
    status: int = 0
    trace_id: str = ""
    latency_s: float | None = None
    ended_at: float = 0.0


class Seen(Struct, kw_only=True):
    """One recent event.

    Attributes:
        name: Of the event, empty where only its end was seen.
        at: Seconds since the epoch at which it was seen first.
        legs: By destination.
    """

    event_id: str
    order_id: str = ""
    name: str = ""
    at: float = 0.0
    legs: dict[str, Leg] = {}


class Told(Struct, frozen=True, kw_only=True):
    """What one process tells of itself.

    Attributes:
        process: A name for people, such as ``web-1 (4711)``.
        snapshot: Its state.
        events: Recent ones, the newest first.
        missed: Events that came too fast to be kept among the recent ones.
    """

    process: str
    snapshot: Snapshot
    events: Sequence[Seen] = ()
    missed: int = 0
