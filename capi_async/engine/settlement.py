"""From the verdicts of one request to what happens next with each of its records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec import Struct

from capi_async.outcome import Outcome, OutcomeKind, Verdict
from capi_async.spec import Resend
from capi_async.spool.base import Record

#: How far a wall clock may have been set back since the first attempt without an event being counted twice.
_CLOCK_MARGIN_S = 3_600.0


class Settlement(Struct, gc=False):
    """Where the records of one request go.

    Attributes:
        final: Records with a final outcome, and ``outcomes`` in the same order.
        again: Seconds to wait (``None``: as the backoff says) to the records that are sent again.
        split: Records whose request was refused because of one of them that is not known.
    """

    final: list[Record]
    outcomes: list[Outcome]
    again: dict[float | None, list[Record]]
    split: list[Record]


def settle_batch(
    records: Sequence[Record],
    verdicts: Sequence[Verdict],
    *,
    status: int,
    sent_at: float,
    now: float,
    resend: Resend,
    max_attempts: int,
    forever: bool,
) -> Settlement:
    """Sort the records of one request by what its verdicts mean for them.

    Args:
        sent_at: Seconds since the epoch at which the request left.
        now: Seconds since the epoch.
        max_attempts: Failed requests that one record may be part of, unless ``forever``.
    """
    first = verdicts[0]
    if first.kind == "accepted" and verdicts.count(first) == len(records) == len(verdicts):
        if len(records) == 1:
            return Settlement([records[0]], [_delivered(records[0], first, status, now)], {}, [])
        return Settlement(list(records), _Delivered(first, status, now).of_all(records), {}, [])
    settlement = Settlement([], [], {}, [])
    said: Verdict | None = None
    alone = len(records) == 1
    # good rows of a request that was refused for others have done nothing wrong
    blamed = "rejected" in {verdict.kind for verdict in verdicts}
    for record, verdict in zip(records, verdicts, strict=True):
        kind = verdict.kind
        if kind == "accepted":
            if verdict is not said:
                said = verdict
                delivered = _Delivered(verdict, status, now)
            settlement.final.append(record)
            settlement.outcomes.append(delivered.of(record))
        elif kind == "rejected" or (kind == "split" and alone):
            _end(settlement, record, "rejected", verdict, status, now)
        elif kind == "split":
            if not verdict.atomic and not absorbed(record, resend, now):
                _end(settlement, record, "uncertain", verdict, status, now)
            else:
                if not verdict.atomic:
                    record.uncertain_since = record.uncertain_since or sent_at
                settlement.split.append(record)
        elif kind == "ambiguous":
            record.uncertain_since = record.uncertain_since or sent_at
            _doubt(settlement, record, verdict, status, now, resend, max_attempts, forever=forever)
        else:
            # nor has an event whose account was refused: it waits as long as it takes
            if kind == "unauthorized" or (blamed and verdict.after_s == 0):
                settlement.again.setdefault(verdict.after_s, []).append(record)
            else:
                record.failures += 1
                _retry(settlement, record, verdict, status, now, max_attempts, forever=forever)
    return settlement


def _delivered(record: Record, verdict: Verdict, status: int, now: float) -> Outcome:
    return Outcome(
        kind="delivered",
        reason=verdict.reason,
        attempts=record.attempts,
        status=status,
        trace_id=verdict.trace_id,
        latency_s=max(0.0, now - record.accepted_at),
        ambiguous=record.uncertain_since > 0,
    )


#: What the outcomes of two delivered records may differ in.
_attempts: Final = attrgetter("accepted_at", "attempts", "uncertain_since")


class _Delivered:
    """Outcomes of what was accepted; neighbours mostly came in one micro-batch, and share one object."""

    __slots__ = ("_last", "_now", "_outcome", "_status", "_verdict")

    def __init__(self, verdict: Verdict, status: int, now: float) -> None:
        self._verdict = verdict
        self._status = status
        self._now = now
        self._last: Record | None = None

    def of_all(self, records: Sequence[Record]) -> list[Outcome]:
        """The outcomes of several records."""
        outcomes: list[Outcome] = []
        for _, alike in groupby(records, key=_attempts):
            group = list(alike)
            outcomes += [self.of(group[0])] * len(group)
        return outcomes

    def of(self, record: Record) -> Outcome:
        """The outcome of one record."""
        if self._last is None or _attempts(self._last) != _attempts(record):
            self._outcome = _delivered(record, self._verdict, self._status, self._now)
            self._last = record
        return self._outcome


def _doubt(
    settlement: Settlement,
    record: Record,
    verdict: Verdict,
    status: int,
    now: float,
    resend: Resend,
    max_attempts: int,
    *,
    forever: bool,
) -> None:
    """An attempt that may have arrived: again only while a second copy would be recognised."""
    if not absorbed(record, resend, now):
        _end(settlement, record, "uncertain", verdict, status, now)
        return
    record.failures += 1
    _retry(settlement, record, verdict, status, now, max_attempts, forever=forever)


def absorbed(record: Record, resend: Resend, now: float) -> bool:
    """Whether another copy of this record, which may have arrived before, does no harm (or is wanted nevertheless)."""
    if resend != "safe":
        return resend == "always"
    if record.resend_for_s <= 0:
        # without asking the clock: one that was set back would put the attempt into the future
        return False
    # the wall clock outlives the process, and may be stepped in between: the end of the window is not trusted
    margin_s = min(_CLOCK_MARGIN_S, record.resend_for_s / 10)
    return now < (record.uncertain_since or now) + record.resend_for_s - margin_s


def _retry(
    settlement: Settlement,
    record: Record,
    verdict: Verdict,
    status: int,
    now: float,
    max_attempts: int,
    *,
    forever: bool,
) -> None:
    if record.failures >= max_attempts and not forever:
        _end(settlement, record, "uncertain" if record.uncertain_since else "dead", verdict, status, now)
        return
    settlement.again.setdefault(verdict.after_s, []).append(record)


def _end(settlement: Settlement, record: Record, kind: OutcomeKind, verdict: Verdict, status: int, now: float) -> None:
    reason = verdict.reason
    if kind == "dead":
        reason = f"{record.failures} failed attempts; last: {reason or f'HTTP {status}'}"
    elif kind == "uncertain":
        reason = f"may have arrived, and a second copy could count twice: {reason or f'HTTP {status}'}"
    settlement.final.append(record)
    settlement.outcomes.append(
        Outcome(
            kind=kind,
            reason=reason or "refused without a reason",
            field=verdict.field,
            fix=verdict.fix,
            attempts=record.attempts,
            status=status,
            trace_id=verdict.trace_id,
            latency_s=max(0.0, now - record.accepted_at),
        )
    )
