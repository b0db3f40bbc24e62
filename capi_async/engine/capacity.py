"""The bounds of every destination's queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

from capi_async.outcome import Outcome
from capi_async.spool.base import Depth, Record, Refused, Spool, size_of

Overflow: TypeAlias = Literal["wait", "fail", "drop_oldest"]

_EVICTED = Outcome(kind="dropped", reason="the queue was full, and the oldest gave way (overflow='drop_oldest')")
_NO_ROOM = Outcome(
    kind="dropped",
    reason="the queue is full, and this destination is paused or does not answer",
    fix="see Client.states()",
)
_ALL_UNDER_WAY = Outcome(kind="dropped", reason="the queue is full, and all that is older is under way")
NOWHERE: frozenset[str] = frozenset()
_TOO_LARGE = Outcome(
    kind="dropped", reason="larger than a whole queue", fix="raise max_pending_bytes", reason_code="too_large"
)


class Capacity:
    """The bounds of every destination's queue, and what happens at them."""

    def __init__(
        self,
        spool: Spool,
        *,
        max_events: int,
        max_bytes: int,
        overflow: Overflow,
        progressing: Callable[[str], bool],
        put_back: Callable[[str, bool], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.overflow = overflow
        self.progressing = progressing
        self._put_back = put_back

    def plenty(self, names: Sequence[str], events: int, size: int) -> bool:
        """Whether ``events`` of ``size`` bytes altogether fit everywhere: then nothing need be weighed one by one."""
        for name in names:
            depth = self._spool.depth(name)
            if depth.events + events > self.max_events or depth.bytes + size > self.max_bytes:
                return False
        return True

    def admission(self) -> Admission:
        """Weigh a run of events one by one, to be stored together."""
        return Admission(self)

    def depth(self, name: str) -> Depth:
        """What waits for one destination."""
        return self._spool.depth(name)

    async def make_room(self, name: str, records: Sequence[Record]) -> tuple[list[Record], list[Refused]]:
        """Let the oldest give way to ``records`` of one destination: those that go in, and those that cannot."""
        size = size_of(records)
        events, max_bytes = max(0, self.max_events - len(records)), max(0, self.max_bytes - size)
        for attempt in range(2):
            # the oldest may be held by the worker: the first of all lingers there, others may wait for a token
            await self._put_back(name, attempt == 0)
            await self._spool.evict(name, events=events, max_bytes=max_bytes, outcome=_EVICTED)
            depth = self._spool.depth(name)
            if depth.events + len(records) <= self.max_events and depth.bytes + size <= self.max_bytes:
                return list(records), []
        left_events, left_bytes = self.max_events - depth.events, self.max_bytes - depth.bytes
        kept: list[Record] = []
        dropped: list[Refused] = []
        for record in reversed(records):  # of those that came together the oldest give way, too
            if left_events >= 1 and left_bytes >= len(record.body):
                left_events -= 1
                left_bytes -= len(record.body)
                kept.append(record)
            else:
                outcome = _EVICTED if kept else _ALL_UNDER_WAY
                dropped.append(Refused(name, record.event_id, outcome, record.receipt))
        return kept[::-1], dropped[::-1]


class Admission:
    """Which events of a run go in where, weighed one after the other before any of them is stored.

    Attributes:
        kept: Records that go in.
        dropped: Those that do not, and why.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._left: dict[str, list[int]] = {}
        self._progressing: dict[str, bool] = {}
        self.kept: list[Record] = []
        self.dropped: list[Refused] = []

    def take(self, records: Sequence[Record], claimed: frozenset[str]) -> frozenset[str]:
        """Weigh the records of one event: nothing if it is decided, else the destinations that it has to wait for.

        Args:
            claimed: Destinations for which an earlier submission waits.
        """
        if claimed and (before := claimed.intersection([record.destination for record in records])):
            return before
        capacity = self._capacity
        drops: list[Refused] = []
        keeps: list[tuple[Record, list[int], int]] = []
        full: list[str] = []
        for record in records:
            name, size = record.destination, len(record.body)
            left = self._left.get(name) or self._look(name)
            if left[0] >= 1 and left[1] >= size:
                keeps.append((record, left, size))
            elif size > capacity.max_bytes and capacity.overflow != "fail":
                drops.append(Refused(name, record.event_id, _TOO_LARGE, record.receipt))
            elif capacity.overflow == "drop_oldest":
                keeps.append((record, left, size))
            elif capacity.overflow == "fail" or self._progresses(name):
                full.append(name)
            else:
                drops.append(Refused(name, record.event_id, _NO_ROOM, record.receipt))
        if full:
            return frozenset(full)
        for record, left, size in keeps:
            left[0] -= 1
            left[1] -= size
            self.kept.append(record)
        self.dropped += drops
        return NOWHERE

    async def make_room(self) -> None:
        """Where more goes in than fits, let the oldest give way; then spools want each destination's together."""
        together: dict[str, list[Record]] = {}
        for record in self.kept:
            together.setdefault(record.destination, []).append(record)
        for name, (events, size) in self._left.items():
            if (events < 0 or size < 0) and name in together:
                together[name], dropped = await self._capacity.make_room(name, together[name])
                self.dropped += dropped
        self.kept = [record for records in together.values() for record in records]

    def _look(self, name: str) -> list[int]:
        depth = self._capacity.depth(name)
        left = self._left[name] = [self._capacity.max_events - depth.events, self._capacity.max_bytes - depth.bytes]
        return left

    def _progresses(self, name: str) -> bool:
        known = self._progressing.get(name)
        if known is None:
            known = self._progressing[name] = self._capacity.progressing(name)
        return known
