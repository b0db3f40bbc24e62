"""A forwarder's state in the memory of one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from capi_async.bounded import make_room
from capi_async.sources.tiktok_shop.orders import event_id_of
from capi_async.sources.tiktok_shop.state.base import MAX_SEEN, Fate, Waiting
from capi_async.sources.tiktok_shop.webhooks import RecentKeys


class MemoryState:
    """Forgets everything with the process: polling finds again what was not forwarded, and what was.

    What each method promises stands at :class:`~capi_async.sources.tiktok_shop.state.base.ForwarderState`.
    """

    durable = False

    def __init__(self) -> None:
        self._seen = RecentKeys()
        self._waiting: dict[tuple[str, str], tuple[Waiting, float]] = {}
        self._done: dict[str, Fate] = {}
        self._begun: dict[str, float] = {}
        self._cursors: dict[str, float] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: what it knows may be asked for again."""

    async def begin(self, shop_id: str, at: float) -> float:
        return self._begun.setdefault(shop_id, at)

    async def begun(self, shop_id: str) -> float | None:
        return self._begun.get(shop_id)

    async def reach_back(self, shop_id: str, to: float) -> bool:
        if self._begun.get(shop_id, to) <= to:
            return False
        self._begun[shop_id] = to
        if shop_id in self._cursors:
            self._cursors[shop_id] = min(to, self._cursors[shop_id])
        mine = event_id_of(shop_id, "")
        for event_id in [one for one, fate in self._done.items() if fate == "never" and one.startswith(mine)]:
            del self._done[event_id]
        return True

    async def take_in(
        self,
        keys: Sequence[str],
        orders: Sequence[tuple[str, str]],
        *,
        at: float,
        max_waiting: int,
        changed_at: Mapping[str, int] | None = None,
    ) -> bool | None:
        if any(key in self._seen for key in keys):
            for order in orders:
                if (known := self._waiting.get(order)) is not None:
                    self._waiting[order] = known[0], min(at, known[1])
            return False
        fresh = [order for order in orders if event_id_of(*order) not in self._done]
        new = [order for order in fresh if order not in self._waiting]
        if new and sum(1 for shop_id, _ in self._waiting if shop_id == new[0][0]) >= max_waiting:
            return None
        self._seen.add(tuple(keys))
        for order in fresh:
            known = self._waiting.get(order)
            waiting = Waiting(*order, since=at) if known is None else replace(known[0], asks=known[0].asks + 1)
            changed = max(waiting.changed_at, (changed_at or {}).get(order[1], 0))
            self._waiting[order] = replace(waiting, changed_at=changed), at
        return True

    async def waiting(self, shop_ids: Sequence[str], *, now: float, limit: int) -> list[Waiting]:
        mine = [(one, at) for one, at in self._waiting.values() if one.shop_id in shop_ids and at <= now]
        due = sorted([(at, one.since, one.order_id, one) for one, at in mine])
        return [one for *_, one in due[:limit]]

    async def next_due(self, shop_ids: Sequence[str]) -> float | None:
        return min((at for one, at in self._waiting.values() if one.shop_id in shop_ids), default=None)

    async def postpone(self, orders: Sequence[Waiting], *, until: float) -> None:
        for one in orders:
            known, due = self._waiting.get((one.shop_id, one.order_id), (None, 0.0))
            if known is not None:
                later = due if known.asks != one.asks else until
                self._waiting[one.shop_id, one.order_id] = replace(known, tries=one.tries + 1), later

    async def hold(self, shop_id: str, *, until: float) -> None:
        for order, (one, due) in self._waiting.items():
            if order[0] == shop_id:
                self._waiting[order] = one, max(due, until)

    async def let_go(self, orders: Sequence[Waiting]) -> None:
        for one in orders:
            known, _ = self._waiting.get((one.shop_id, one.order_id), (None, 0.0))
            if known is not None and known.asks == one.asks:
                del self._waiting[one.shop_id, one.order_id]

    async def finish(self, orders: Sequence[Waiting], fate: Fate, *, at: float) -> list[str]:
        overtaken = []
        for one in orders:
            self._waiting.pop((one.shop_id, one.order_id), None)
            if fate == "forwarded" and self._done.get(one.event_id) == "void":
                self._done[one.event_id] = "cancelled"
                overtaken.append(one.event_id)
            elif one.event_id not in self._done:
                make_room(self._done, one.event_id, MAX_SEEN)
                self._done[one.event_id] = fate
        return overtaken

    async def cancel(self, orders: Sequence[tuple[str, str]], *, at: float) -> list[str]:
        told = []
        for event_id in [event_id_of(*order) for order in orders]:
            known = self._done.get(event_id)
            if known == "forwarded":
                self._done[event_id] = "cancelled"
                told.append(event_id)
            elif known is None:
                make_room(self._done, event_id, MAX_SEEN)
                self._done[event_id] = "void"
        return told

    async def done(self, event_ids: Sequence[str]) -> dict[str, Fate]:
        return {event_id: self._done[event_id] for event_id in event_ids if event_id in self._done}

    async def cursor(self, shop_id: str) -> float | None:
        return self._cursors.get(shop_id)

    async def advance(self, shop_id: str, to: float) -> None:
        self._cursors[shop_id] = max(to, self._cursors.get(shop_id, to))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nobody else knows this memory."""
        yield
