"""Bounded sets of codes: why an event ended as it did, what is at fault in it, why a destination is held back.

Words in outcomes are for people, and there is no end of them; a metric's label needs a set that never grows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from capi_async.event import Event
from capi_async.outcome import Outcome, OutcomeKind

OTHER: Final = "other"

#: Kind of outcome to the codes that it may have, and what each means.
REASONS: Final[Mapping[OutcomeKind, Mapping[str, str]]] = {
    "delivered": {
        "accepted": "the platform took it",
        "repeated": "the platform took it, and an earlier attempt may have arrived too, which it recognises",
    },
    "rejected": {
        "platform": "the platform refuses this event",
        "event": "a field is missing or wrong, by our own check before sending",
        "too_large": "larger than a whole request may be",
        "in_future": "its time lies in the future",
        "user_code": "before_send, or a destination's own code, failed",
        OTHER: "anything else",
    },
    "skipped": {
        "consent": "no consent, or it was withdrawn",
        "not_addressed": "Event.to does not name this destination",
        "no_identifier": "nobody to identify the person by",
        "event_name": "the platform has no such event, or it is switched off",
        "test": "a test event, and the platform has no test mode or it is not set up",
        "source": "the account takes no events of this source",
        "vetoed": "before_send gave None",
        "client_off": "the client's mode is off",
        OTHER: "anything else",
    },
    "expired": {"too_old": "older than the platform takes"},
    "uncertain": {"no_answer": "it may have arrived, and a second copy could count twice"},
    "dead": {
        "attempts": "all attempts are used up",
        "configuration": "made for an account or a destination that is configured no more",
        "damaged": "what was stored of it cannot be read",
        OTHER: "anything else",
    },
    "dropped": {
        "queue_full": "the destination's queue was full",
        "too_large": "larger than a whole queue",
    },
    "forgotten": {"erased": "erased on request"},
}

#: What a destination that is broken or paused may be held back for, and what each means.
HELD_REASONS: Final[Mapping[str, str]] = {
    "no_answer": "no answer: name, connection, certificate or time",
    "server_error": "the platform answers with errors of its own",
    "edge": "something before the platform answers: a proxy, a firewall, a content network",
    "account": "the platform refuses the account or its credential",
    "fruitless": "request after request was refused, and nothing accepted",
    "user_code": "a destination's own code, or the transport, failed",
    "client": "the client has ended by itself",
    OTHER: "anything else",
}

#: Fields of an event that a refusal may name.
FIELDS: Final = tuple(sorted(Event.__struct_fields__))
#: Labels of a field: one of the event's, ``none`` where the refusal names none, ``other`` where it is no field of ours.
FIELD_LABELS: Final = (*FIELDS, "none", OTHER)

#: Root of the field that a check names, to the reason for which such an event is skipped.
_SKIPPED_FOR: Final = {
    "consent": "consent",
    "to": "not_addressed",
    "user": "no_identifier",
    "name": "event_name",
    "test": "test",
    "source": "source",
}
_FIELDS: Final = frozenset(FIELDS)
_STEP: Final = re.compile(r"\w+")


def reason_of(outcome: Outcome) -> str:
    """The code of a final outcome, of those in :data:`REASONS` for its kind; ``other`` where there is none."""
    if outcome.kind == "delivered" and not outcome.reason_code:  # nearly always
        return "repeated" if outcome.ambiguous else "accepted"
    codes = REASONS.get(outcome.kind, {})
    code = outcome.reason_code or _derived(outcome)
    return code if code in codes else OTHER


def _derived(outcome: Outcome) -> str:
    kind = outcome.kind
    if kind == "rejected":
        return "platform" if outcome.status else "event" if outcome.field else OTHER
    if kind == "skipped":
        return _SKIPPED_FOR.get(_root(outcome.field), OTHER)
    if kind == "dead":
        return "attempts" if outcome.attempts else OTHER
    # one reason only, or a first one that stands for all that say nothing else
    return next(iter(REASONS.get(kind, {OTHER: ""})))


def field_of(outcome: Outcome) -> str:
    """The event's field that an outcome names, of :data:`FIELD_LABELS`.

    A platform names fields of its own; where the last part of such a name is a field of ours (``custom_data.value``),
    that one is meant.
    """
    if not outcome.field:
        return "none"
    steps = _STEP.findall(outcome.field)
    return next((step for step in (*steps[:1], *steps[-1:]) if step in _FIELDS), OTHER)


def held_reason(code: str) -> str:
    """``code`` if it is one of :data:`HELD_REASONS`, else ``other``."""
    return code if code in HELD_REASONS else OTHER


def _root(field: str) -> str:
    found = _STEP.match(field)
    return found[0] if found else ""
