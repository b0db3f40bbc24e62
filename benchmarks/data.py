"""Seeded events for scripts: the rows of the harness, as this library's events."""

from __future__ import annotations

from itertools import islice

from capi_async import Event
from capi_async.bench.feed import seeded
from capi_async.bench.ours import event_of


def events(count: int, *, seed: int = 0) -> list[Event]:
    """``count`` purchases by invented people; see :func:`capi_async.bench.feed.seeded`."""
    return [event_of(row) for row in islice(seeded(count, seed=seed), count)]
