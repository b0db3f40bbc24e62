"""What a platform tells of events after it took them: how a destination declares it, and the form of what is told.

Three things of a :class:`~capi_async.spec.Destination` are the whole protocol: ``followup`` says what there is,
``followup_requests`` makes the requests that ask for it, ``followup_told`` reads an answer. All are pure; the engine
sends, waits and sums up. Everything told is a count: no platform names events here, and nothing personal is kept.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from capi_async.errors import CapiError

DAY: Final = 86_400.0

#: Days for which spools keep the ids of delivered requests, and how many per destination at most, newest first.
SENT_DAYS: Final = 50
SENT_MAX: Final = 10_000

#: What became of the events that a :class:`Told` counts. ``matched``: the platform counts them, or could use them.
#: ``refused``: it does not, for ``reason``. ``warned``: it does, and ``reason`` costs quality. ``received``: it has
#: them, and says no more. ``processing``: it has not decided. ``note``: no count, words alone.
ToldKind: TypeAlias = Literal["matched", "refused", "warned", "received", "processing", "note"]
TOLD_KINDS: Final[tuple[ToldKind, ...]] = ("matched", "refused", "warned", "received", "processing", "note")


class FollowUp(Struct, frozen=True, kw_only=True):
    """What a platform tells after delivery.

    Attributes:
        tells: In words, for people: what, of which time, and how late; or that there is nothing, and where to look
            instead.
        asks: Whether there is anything to ask it for.
        by_request: It is asked for each delivered request by its id, which is :attr:`Outcome.trace_id`. Spools keep
            those ids, see :data:`SENT_DAYS`.
    """

    tells: str
    asks: bool = False
    by_request: bool = False


#: Of a destination that says nothing about it.
SILENT: Final = FollowUp(tells="tells nothing after delivery")


class SentRequest(Struct, frozen=True):
    """A request whose events a platform took.

    Attributes:
        trace_id: The platform's id of it.
        account: As :meth:`Destination.account` gave it.
        at: Seconds since the epoch at which the answer came.
        events: How many of its events were accepted.
    """

    trace_id: str
    account: str
    at: float
    events: int


class Told(Struct, frozen=True, kw_only=True):
    """A count that a platform tells of events that it took.

    Attributes:
        about: What is counted together, such as a conversion action's number or an event's name there.
        events: How many; ``None``: the platform gives no number.
        reason: Why, in the platform's word; free of personal data.
        meaning: What that means, and what to do, in ours.
    """

    about: str
    kind: ToldKind
    events: int | None = None
    reason: str = ""
    meaning: str = ""


class FollowUpError(CapiError):
    """A platform gave no answer that tells anything; the text says why, and what to do."""
