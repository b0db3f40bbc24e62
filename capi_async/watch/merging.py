"""One event, as several processes saw it: one prepared it, another sent it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from capi_async.watch.seen import Leg, Seen, Told


def merged(told: Iterable[Told]) -> list[Seen]:
    """The events of all processes, each once, the newest first."""
    found: dict[str, Seen] = {}
    for one in told:
        for seen in one.events:
            known = found.get(seen.event_id)
            found[seen.event_id] = seen if known is None else _both(known, seen)
    return sorted(found.values(), key=lambda seen: -seen.at)


def _both(one: Seen, other: Seen) -> Seen:
    legs = dict(one.legs)
    for name, leg in other.legs.items():
        legs[name] = _leg(legs[name], leg) if name in legs else leg
    return Seen(
        event_id=one.event_id,
        order_id=one.order_id or other.order_id,
        name=one.name or other.name,
        at=min(one.at, other.at),
        legs=legs,
    )


def _leg(one: Leg, other: Leg) -> Leg:
    """The end that came last, and of the rest what either knows."""
    last, first = (one, other) if (one.ended_at, one.attempted) >= (other.ended_at, other.attempted) else (other, one)
    return replace(
        last,
        used=last.used or first.used,
        refused=last.refused or first.refused,
        wire=last.wire or first.wire,
        attempts=sorted([*first.attempts, *last.attempts], key=lambda attempt: attempt.at),
    )
