"""What has become of events so far: of a client that runs, or by the counts of a spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from capi_async.doctor.findings import Finding
from capi_async.spool.base import Ledger
from capi_async.telemetry.snapshot import DestinationSnapshot, Snapshot

CHECK: Final = "deliveries"
#: Outcomes that lose an event, or leave it in doubt.
_BAD: Final = ("rejected", "expired", "dead", "uncertain", "dropped")
#: An event that waits longer than this, at a destination that is open, is told.
_LONG_S: Final = 300.0
_FIX: Final = "the log of the process that delivers names field and reason; try one with: capi-async explain FILE"


def deliveries(snapshot: Snapshot) -> list[Finding]:
    """What a running client says of each destination: why it is held back, what was refused, what waits."""
    found = [one for name, it in snapshot.destinations.items() for one in _of(name, it)]
    if snapshot.storage_away_s:
        since = f"{snapshot.storage_away_s:.0f} s"
        text = f"{snapshot.where}: out of reach, full or locked for {since}: new events are refused"
        fix = "see the log for the reason, and to Redis or the disk"
        found.append(Finding("spool", "storage", "failure", text, fix))
    return found


def _of(name: str, it: DestinationSnapshot) -> list[Finding]:
    found = [] if it.state == "open" else [_held(name, it)]
    found += _refused(name, it)
    if it.state == "open" and it.throttled:
        text = f"throttled: {it.throttled}; {_waiting(it)}"
        fix = "nothing to do unless it comes again: then send less, or ask the platform for more"
        found.append(Finding(name, CHECK, "warning", text, fix))
    elif it.state == "open" and (it.oldest_s or 0.0) > _LONG_S:
        text = f"{_waiting(it)}, although nothing holds them back"
        found.append(Finding(name, CHECK, "warning", text, "look at the rate limit, or deliver with more processes"))
    delivered = sum(count for (kind, _), count in it.outcomes.items() if kind == "delivered")
    return found or [Finding(name, CHECK, "ok", f"{_events(delivered)} delivered, {_waiting(it)}")]


def _held(name: str, it: DestinationSnapshot) -> Finding:
    fix = it.fix or "see what the platform says about this account"
    return Finding(name, CHECK, "failure", f"{it.state}: {it.reason or 'no reason given'}; {_waiting(it)}", fix)


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number:,} events"


def _waiting(it: DestinationSnapshot) -> str:
    since = "" if it.oldest_s is None or not it.waiting else f", the oldest for {it.oldest_s:.0f} s"
    return f"{_events(it.waiting)} waiting{since}"


def _refused(name: str, it: DestinationSnapshot) -> list[Finding]:
    """One line per kind of bad end: how many of how many, the commonest reason of the latest, and one of them."""
    counts: Counter[str] = Counter()
    for (kind, _), count in it.outcomes.items():
        counts[kind] += count
    found = []
    for kind in _BAD:
        if not counts[kind]:
            continue
        latest = [one for one in it.undelivered if one.outcome.kind == kind]
        text, fix = f"{counts[kind]:,} of {_events(counts.total())} {kind}", ""
        if latest:
            reasons = Counter((one.outcome.field, one.outcome.reason) for one in latest)
            (field, reason), _ = reasons.most_common(1)[0]
            one = next(one for one in latest if (one.outcome.field, one.outcome.reason) == (field, reason))
            why = ": ".join(part for part in (field, reason) if part)
            text, fix = f"{text}, most of them: {why}; for example event {one.event_id}", one.outcome.fix
        found.append(Finding(name, CHECK, "warning", text, fix or _FIX))
    return found


def ended(ledger: Mapping[str, Ledger]) -> list[Finding]:
    """What the counts of a spool say, whoever delivers from it."""
    found = []
    for name, counts in ledger.items():
        bad = {kind: count for kind in _BAD if (count := getattr(counts, kind))}
        if bad:
            text = ", ".join(f"{count:,} {kind}" for kind, count in bad.items())
            found.append(Finding(name, CHECK, "warning", f"of {_events(counts.accepted)}: {text}", _FIX))
    return found
