"""What hooks are told: names, counts, codes and durations; never personal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from capi_async.outcome import Outcome


class RequestDone(Struct, frozen=True, kw_only=True):
    """One request and its answer.

    Attributes:
        status: HTTP status; 0 if no answer came.
        error: Kind of transport error, such as ``timeout``; empty if an answer came.
        duration_s: Seconds from the first byte out to the answer read.
    """

    destination: str
    events: int
    bytes: int
    status: int
    error: str
    duration_s: float


class Settled(Struct, frozen=True, kw_only=True):
    """Events that got their final outcomes together, in the order of ``event_ids``."""

    destination: str
    event_ids: Sequence[str]
    outcomes: Sequence[Outcome]


StateName: TypeAlias = Literal["open", "broken", "paused"]


class StateChanged(Struct, frozen=True, kw_only=True):
    """A destination paused (account refused), broke (does not answer) or opened again; or is held for another cause.

    Attributes:
        reason: In words; empty when it opens again. With the same state as before, it is held for this one from now on.
        fix: What to do about it.
        waiting: Events that wait for it.
        reason_code: One of :data:`~capi_async.telemetry.reasons.HELD_REASONS`; empty when it opens again.
    """

    destination: str
    state: StateName
    reason: str
    fix: str = ""
    waiting: int = 0
    reason_code: str = ""


class Prepared(Struct, frozen=True, kw_only=True):
    """A group of events was normalised, hashed and mapped for all destinations.

    Attributes:
        duration_s: Seconds that it took in the prepare thread.
    """

    events: int
    duration_s: float


class Stored(Struct, frozen=True, kw_only=True):
    """Records were committed to the spool together.

    Attributes:
        records: One per event and destination.
        refused: Events that were refused before they were stored, one per destination.
        duration_s: Seconds that storage took.
    """

    records: int
    refused: int
    duration_s: float


class Taken(Struct, frozen=True, kw_only=True):
    """What one caller handed in together is stored: its ``send()`` returns now.

    Attributes:
        duration_s: Seconds since it was handed in.
    """

    events: int
    duration_s: float
