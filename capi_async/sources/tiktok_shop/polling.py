"""Finding a shop's orders without its webhooks: everything that changed since the last poll."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final

import anyio

from capi_async.backoff import Backoff
from capi_async.errors import CapiError, SpoolError
from capi_async.sources.tiktok_shop.lane import Lane
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.orders import CANCELLED, counted_at, event_id_of

logger = logging.getLogger(__name__)

ORDER_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
PAGE_SIZE: Final = 100
#: Orders of a poll that are stored together.
_BATCH: Final = 200
#: Seconds that polling pauses when too many orders wait.
_FULL_S: Final = 1.0
#: Times that orders of one and the same second are asked for again, until nothing new comes.
_MAX_PASSES: Final = 5
#: A remembering spool is asked about the orders of so many seconds when the state knows nothing of a shop.
LOST_STATE_S: Final = 7 * 86_400.0
#: This machine's clock may be so far ahead; the platform takes requests up to 30 seconds ahead of its own.
CLOCK_AHEAD_S: Final = 60.0


class Poller:
    """Polls one shop.

    Args:
        every_s: Seconds between two polls.
        backoff: Seconds until the next attempt.
        step: Called when a poll has ended, however it ended.
    """

    def __init__(self, lane: Lane, *, every_s: float, backoff: Backoff, step: Callable[[], None]) -> None:
        self._lane = lane
        self._every_s = every_s
        self._backoff = backoff
        self._step = step
        self._wanted = asyncio.Event()
        # polls that somebody asked for by number, and the number that was served
        self._asked = 0
        self.served = 0
        self.closing = False

    def ask(self) -> int:
        """Poll now; returns what :attr:`served` will have reached when that is done."""
        self._asked += 1
        self._wanted.set()
        return self._asked

    async def run(self) -> None:
        """Poll until closing."""
        lane, failures = self._lane, 0
        while not self.closing:
            wait_s, asked = self._every_s, self._asked
            self._wanted.clear()
            try:
                await self._poll()
                failures = 0
                lane.troubles.end(lane.shop_id, "search", "authorization")
            except CapiError as error:
                failures += 1
                lane.tally.failed[type(error).__name__] += 1
                lane.troubles.note(lane.shop_id, "search", error)
                wait_s = min(self._every_s, self._backoff.interval_s(failures))
            except Exception as error:  # one shop's odd answer is not the others' affair
                failures += 1
                lane.tally.failed[type(error).__name__] += 1
                lane.troubles.note(lane.shop_id, "search", f"unexpected {type(error).__name__}")
                logger.debug("polling failed unexpectedly", exc_info=True)
                wait_s = min(self._every_s, self._backoff.interval_s(failures))
            self.served = asked
            self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()

    async def _poll(self) -> None:
        """Let every order wait that was updated since the last poll, and that is not done."""
        lane = self._lane
        await recover(lane)
        started = lane.clock.wall()
        seen_up_to = await lane.state.cursor(lane.shop_id)
        overlap_s = lane.settings.overlap_s
        since = lane.begun - max(overlap_s, CLOCK_AHEAD_S) if seen_up_to is None else seen_up_to - overlap_s
        found: list[Order] = []
        async for order in changed_since(lane, max(0, int(since))):
            found.append(order)
            if len(found) >= _BATCH:
                await self._take(found)
                found = []
        await self._take(found)
        # only now: whatever ends this before, the next poll begins where this one did
        await lane.state.advance(lane.shop_id, started)

    async def _take(self, found: Sequence[Order]) -> None:
        lane = self._lane
        if gone := [one.id for one in found if one.status in CANCELLED]:
            await lane.note_cancelled(gone)
        wanted = {one.id: one.update_time for one in found if one.status != "UNPAID" and one.status not in CANCELLED}
        done = await lane.state.done([event_id_of(lane.shop_id, one) for one in wanted])
        fresh = [(lane.shop_id, one) for one in wanted if event_id_of(lane.shop_id, one) not in done]
        if not fresh:
            return
        while not await lane.state.take_in(
            (), fresh, at=lane.clock.wall(), max_waiting=lane.settings.max_waiting, changed_at=wanted
        ):
            if self.closing:
                # the cursor stays where it was: the next start finds them
                raise SpoolError("too many orders of this shop wait", stored=False)
            await anyio.sleep(_FULL_S)
        lane.tally.polled += len(fresh)
        lane.wake()


async def changed_since(lane: Lane, since: int) -> AsyncIterator[Order]:
    """Every order that was updated since, each once.

    A page of the platform may be cut by position: an order that is updated while pages are turned moves to the end, all
    behind it move up, and one falls between two pages. So each page is asked for by the time at which the last one
    ended. Only orders of one and the same second, of which there are more than a page holds, are asked for by token, as
    often as that brings something new; and so is a list that is not in order.
    """
    seen: set[str] = set()
    odd = 0
    while True:
        last, count, in_order, more = since, 0, True, False
        async with aclosing(_asked(lane, since)) as answer:
            async for order in answer:
                count += 1
                in_order = in_order and last <= order.update_time
                last = max(last, order.update_time)
                odd += not ORDER_ID.fullmatch(order.id)
                if _is_new(order, seen):
                    yield order
                if more := count >= PAGE_SIZE and in_order and last > since:
                    break
        if count > PAGE_SIZE:
            async with aclosing(_passed_over(lane, since, last if in_order else None, seen)) as missed:
                async for order in missed:
                    yield order
        if not more:
            break
        since = last
    if odd:
        logger.warning(
            "shop %s listed %d orders without a usable id; they are left out", lane.shop_id, odd,
            extra={"shop": lane.shop_id, "orders": odd},
        )  # fmt: skip


async def _passed_over(lane: Lane, since: int, until: int | None, seen: set[str]) -> AsyncGenerator[Order, None]:
    """What a list read by token did not hold, because something moved while its pages were turned."""
    for _ in range(_MAX_PASSES):
        before = len(seen)
        async with aclosing(_asked(lane, since)) as answer:
            async for order in answer:
                if until is not None and order.update_time > until:
                    break
                if _is_new(order, seen):
                    yield order
        if len(seen) == before:
            return


def _is_new(order: Order, seen: set[str]) -> bool:
    if order.id in seen or not ORDER_ID.fullmatch(order.id):
        return False
    seen.add(order.id)
    return True


async def _asked(lane: Lane, since: int) -> AsyncGenerator[Order, None]:
    answer = lane.source.iter_orders(
        update_time_ge=since, sort_field="update_time", sort_order="ASC", page_size=PAGE_SIZE
    )
    try:
        async for order in answer:
            yield order
    finally:
        if isinstance(answer, AsyncGenerator):
            await answer.aclose()


async def recover(lane: Lane) -> None:
    """If the state knows nothing of this shop, ask the spool whether it was forwarded before.

    A state that was lost (a new disk, a container that was made anew) would pass for a first start, and what was paid
    while nothing ran would be left alone.
    """
    if not lane.recovering:
        return
    now = lane.clock.wall()
    count, earliest = 0, now
    batch: dict[str, float] = {}

    async def ask() -> None:
        nonlocal count, earliest
        known = await lane.client.accepted_before(list(batch))
        count += len(known)
        earliest = min([earliest, *(batch[one] for one in known)])
        batch.clear()

    async for order in changed_since(lane, int(now - LOST_STATE_S)):
        batch[event_id_of(lane.shop_id, order.id)] = counted_at(order) or now
        if len(batch) >= _BATCH:
            await ask()
    await ask()
    if count and await lane.state.reach_back(lane.shop_id, earliest):
        lane.begun = earliest
        logger.warning(
            "the state knew nothing of shop %s, but the spool remembers %d purchases of it: the state was lost. Orders "
            "paid since the earliest of them are looked at again; what the spool remembers is not sent twice",
            lane.shop_id, count, extra={"shop": lane.shop_id, "purchases": count},
        )  # fmt: skip
    elif not count:
        logger.info(
            "shop %s is forwarded for the first time: orders paid before now are left alone, but for what lookback_s "
            "takes in",
            lane.shop_id, extra={"shop": lane.shop_id},
        )  # fmt: skip
    lane.recovering = False
