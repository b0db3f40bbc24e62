"""The bounds of every destination's queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

from capi_async.outcome import Outcome
from capi_async.spool.base import Record, Refused, Spool

Overflow: TypeAlias = Literal["wait", "fail", "drop_oldest"]

_EVICTED = Outcome(kind="dropped", reason="the queue was full, and the oldest gave way (overflow='drop_oldest')")
_NO_ROOM = Outcome(
    kind="dropped",
    reason="the queue is full, and this destination is paused or does not answer",
    fix="see Client.states()",
)
_ALL_UNDER_WAY = Outcome(kind="dropped", reason="the queue is full, and all that is older is under way")
_TOO_LARGE = Outcome(kind="dropped", reason="larger than a whole queue", fix="raise max_pending_bytes")


class Room:
    """The bounds of every destination's queue, and what happens at them."""

    def __init__(
        self,
        spool: Spool,
        *,
        max_events: int,
        max_bytes: int,
        overflow: Overflow,
        progressing: Callable[[str], bool],
        put_back: Callable[[str], Awaitable[None]],
    ) -> None:
        self._spool = spool
        self._max_events = max_events
        self._max_bytes = max_bytes
        self.overflow = overflow
        self._progressing = progressing
        self._put_back = put_back

    def plenty(self, names: Sequence[str], events: int, size: int) -> bool:
        """Whether ``events`` of ``size`` bytes altogether fit everywhere: then nothing need be weighed one by one."""
        for name in names:
            depth = self._spool.depth(name)
            if depth.events + events > self._max_events or depth.bytes + size > self._max_bytes:
                return False
        return True

    def tight(self, records: Sequence[Record]) -> frozenset[str]:
        """The destinations that have no room for all of their ``records``."""
        sums: dict[str, tuple[int, int]] = {}
        for record in records:
            events, size = sums.get(record.destination, (0, 0))
            sums[record.destination] = events + 1, size + len(record.body)
        return frozenset(name for name, (events, size) in sums.items() if not self.plenty((name,), events, size))

    async def admit(self, records: Sequence[Record]) -> tuple[list[Record], list[Refused], frozenset[str]]:
        """The records of one event that go in, those dropped, and where there is no room: there wait, or fail."""
        kept: list[Record] = []
        dropped: list[Refused] = []
        full: list[str] = []
        for record in records:
            name, size = record.destination, len(record.body)
            depth = self._spool.depth(name)
            if depth.events < self._max_events and depth.bytes + size <= self._max_bytes:
                kept.append(record)
            elif size > self._max_bytes and self.overflow != "fail":
                dropped.append(Refused(name, record.event_id, _TOO_LARGE, record.receipt))
            elif self.overflow == "drop_oldest":
                if await self._evict(name, size):
                    kept.append(record)
                else:  # all that is older is under way
                    dropped.append(Refused(name, record.event_id, _ALL_UNDER_WAY, record.receipt))
            elif self.overflow == "fail" or self._progressing(name):
                full.append(name)
            else:
                dropped.append(Refused(name, record.event_id, _NO_ROOM, record.receipt))
        return kept, dropped, frozenset(full)

    async def _evict(self, name: str, size: int) -> bool:
        """Make room for one record of ``size`` bytes; False if too much is under way."""
        events, max_bytes = self._max_events - 1, self._max_bytes - size
        for attempt in range(2):
            if attempt:  # the oldest may be held by the worker, waiting for company
                await self._put_back(name)
            await self._spool.evict(name, events=events, max_bytes=max_bytes, outcome=_EVICTED)
            depth = self._spool.depth(name)
            if depth.events <= events and depth.bytes <= max_bytes:
                return True
        return False
