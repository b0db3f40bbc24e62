"""Takes canonical events to requests exactly as the engine does, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Plan
from capi_async.spec import ENCODER, Destination, Refusal, Request, Wire


def wire(destination: Destination, event: Event, *, phone_region: str | None = None) -> Wire | Refusal:
    """The event in the platform's form, or why not."""
    plan = Plan(destination.identifiers, phone_region=phone_region)
    return destination.to_wire(event, plan.identify(event.user, event.page))


def body(destination: Destination, event: Event, **options: Any) -> dict[str, Any]:
    """The event's own wire object; fails on a refusal."""
    made = wire(destination, event, **options)
    assert isinstance(made, Wire), made
    return msgspec.json.decode(ENCODER.encode(made.body))  # type: ignore[no-any-return]


def refusal(destination: Destination, event: Event, **options: Any) -> Refusal:
    """The refusal of the event; fails if it would be sent."""
    made = wire(destination, event, **options)
    assert isinstance(made, Refusal), made
    return made


def requests(destination: Destination, events: Sequence[Event], token: str = "TOKEN") -> list[Request]:
    """What would leave for ``events``: neighbours with equal heads share a request, up to the platform's limit."""
    wires = [wire(destination, event) for event in events]
    assert all(isinstance(made, Wire) for made in wires), wires
    size = destination.effective_limits().max_batch_events
    made_requests = []
    for head, group in groupby((made for made in wires if isinstance(made, Wire)), key=lambda made: made.head):
        bodies = [ENCODER.encode(made.body) for made in group]
        for at in range(0, len(bodies), size):
            made_requests.append(destination.request(head, bodies[at : at + size], token))
    return made_requests


def verdicts(
    destination: Destination, status: int, body: object = b"", count: int = 1, **headers: str
) -> list[Verdict]:
    """What the destination reads from an answer; a ``body`` that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return destination.classify(Response(status=status, body=raw, headers=named), count)


def kinds(found: Sequence[Verdict]) -> list[str]:
    """Just the kinds."""
    return [verdict.kind for verdict in found]
