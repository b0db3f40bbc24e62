"""From an order that waits to a purchase at the client: one shop's worker.

Whatever an order holds costs that order alone: what cannot be used of it is left out, what is needed and cannot be read
makes it wait and be read again, and what nobody thought of is logged with its number.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from capi_async.backoff import Backoff
from capi_async.errors import CapiError, ClientClosed, EventError, SpoolError
from capi_async.event import Event
from capi_async.sources.tiktok_shop.detail import DetailReader, words_of
from capi_async.sources.tiktok_shop.forwarder_settings import Enrich
from capi_async.sources.tiktok_shop.handover import Handover
from capi_async.sources.tiktok_shop.lane import Lane
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.orders import counted_at, order_to_event, purchase_verdict
from capi_async.sources.tiktok_shop.polling import CLOCK_AHEAD_S, recover
from capi_async.sources.tiktok_shop.state.base import Waiting

logger = logging.getLogger(__name__)

#: What one call for order detail takes. Source: Partner Center, order detail, copy of 2025-12.
ORDERS_PER_CALL: Final = 50
#: No destination takes a web event older than this; an order that could not be read until then is let go.
GIVE_UP_S: Final = 7 * 86_400.0
#: Attempts at an order that the shop does not know, or knows in an older state: its copies may lag behind its webhooks.
MAX_UNKNOWN: Final = 10
#: Attempts after which a shop that answers, and lists nothing, is in trouble.
_MAX_SILENT: Final = 5
#: Seconds between two looks at what other processes have left in a file.
LOOK_S: Final = 5.0
_DAY_S: Final = 86_400


class Worker:
    """Deals with one shop's orders as they become due.

    Args:
        backoff: Seconds until the next attempt.
        step: Called when something was done.
        polled: Whether somebody polls this shop: then the poller asks the spool about a state that was lost.

    Attributes:
        busy: Whether it is dealing with orders now.
    """

    def __init__(self, lane: Lane, *, backoff: Backoff, step: Callable[[], None], polled: bool) -> None:
        self._lane = lane
        self._backoff = backoff
        self._step = step
        self._polled = polled
        self._detail = DetailReader(lane.source)
        self._handover = Handover(lane, later=self._again, malformed=self._malformed)
        self.busy = False
        self.closing = False

    async def run(self) -> None:
        """Work until closing finds nothing left to do.

        Raises:
            ClientClosed: There is nobody to hand purchases to.
        """
        lane, failures = self._lane, 0
        while True:
            lane.news.clear()
            now = lane.clock.wall()
            due: list[Waiting] = []
            try:
                self.busy = True
                if lane.recovering and not self._polled:
                    await self._recover()
                due = await lane.state.waiting([lane.shop_id], now=now, limit=ORDERS_PER_CALL)
                if due:
                    await self._handle(due)
                next_due = await lane.state.next_due([lane.shop_id])
                failures = 0
            except ClientClosed:
                raise
            except SpoolError as error:
                self._fail("orders of shop %s cannot be forwarded, because their state cannot be kept: %s", error)
                due, next_due = [], now + self._backoff.interval_s(1)
            except Exception as error:  # nothing that one shop answers may end the others
                failures += 1
                self._fail("dealing with orders of shop %s failed unexpectedly; they are tried again: %s", error)
                due, next_due = [], now + self._backoff.interval_s(failures)
                with suppress(SpoolError):
                    await lane.state.hold(lane.shop_id, until=next_due)
            finally:
                self.busy = False
                self._step()
            if self.closing and (lane.state.durable or not due):
                return
            if due:
                continue
            wait_s = None if next_due is None else max(0.0, next_due - lane.clock.wall())
            if lane.state.durable:
                # another process may have died with orders that it had taken in
                wait_s = LOOK_S if wait_s is None else min(wait_s, LOOK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await lane.news.wait()

    def _fail(self, words: str, error: Exception) -> None:
        kind = type(error).__name__
        logger.error(words, self._lane.shop_id, kind, extra={"shop": self._lane.shop_id, "error": kind})
        self._lane.tally.failed[kind] += 1

    async def _recover(self) -> None:
        lane = self._lane
        try:
            await recover(lane)
            lane.troubles.end(lane.shop_id, "search", "authorization")
        except CapiError as error:
            lane.troubles.note(lane.shop_id, "search", error)

    async def _handle(self, waiting: Sequence[Waiting]) -> None:
        """Read these orders, and forward those that count."""
        events: list[tuple[Waiting, Order, Event]] = []
        for one, order in await self._read(waiting):
            event = await self._judge(one, order)
            if event is not None:
                events.append((one, order, event))
        enrich = self._lane.settings.enrich
        if enrich is None:
            await self._handover.forward([(one, event) for one, _, event in events])
            return
        tasks = {asyncio.create_task(self._enriched(enrich, *each)): each[0] for each in events}
        left = set(tasks)
        try:
            while left:
                # what is ready goes: one that hangs holds up no other
                ready, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                made = [(tasks[task], task.result()) for task in ready]
                await self._handover.forward([(one, event) for one, event in made if event is not None])
        finally:
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    async def _read(self, waiting: Sequence[Waiting]) -> list[tuple[Waiting, Order]]:
        """Those that could be read; the others wait for their next attempt."""
        lane = self._lane
        reading = await self._detail.read(waiting)
        if reading.trouble is not None:
            lane.tally.failed[type(reading.trouble).__name__] += 1
            lane.troubles.note(lane.shop_id, "detail", reading.trouble)
        elif reading.silent:
            lane.tally.failed["unknown order"] += len(reading.silent)
            if max(one.tries for one in reading.silent) >= _MAX_SILENT:
                lane.troubles.note(lane.shop_id, "detail", "its answers list none of the orders that it told of")
        else:
            lane.troubles.end(lane.shop_id, "detail", "authorization")
        await self._again([*reading.postponed, *reading.silent])
        for one in reading.unknown:
            await self._unknown(one, "unknown order", "does not know an order of its own, number")
        for one, error in reading.unread:
            lane.tally.failed["unreadable order"] += 1
            logger.warning(
                "the detail of order %s cannot be read (%s), while others can; it waits, and is read again",
                one.order_id, words_of(error), extra={"order": one.order_id},
            )  # fmt: skip
            await self._again([one])
        return reading.found

    async def _unknown(self, one: Waiting, kind: str, words: str) -> None:
        """The shop does not know it, or not yet; or knows it in an older state."""
        self._lane.tally.failed[kind] += 1
        if one.tries < MAX_UNKNOWN:
            await self._again([one])
        else:
            logger.error(
                "shop %s %s %s; after %d attempts it is let go, until it changes",
                one.shop_id, words, one.order_id, one.tries + 1, extra={"shop": one.shop_id, "order": one.order_id},
            )  # fmt: skip
            await self._lane.state.let_go([one])

    async def _judge(self, one: Waiting, order: Order) -> Event | None:
        """The order's event if it counts; if not, it waits no more, or until it can be read."""
        try:
            return await self._event_of(one, self._in_time(order))
        except EventError as error:
            await self._malformed(one, error)
        except CapiError:
            raise
        except Exception as error:  # whatever it holds that nobody thought of
            kind = type(error).__name__
            logger.error(
                "order %s cannot be understood (%s); it waits, and is read again", one.order_id, kind,
                extra={"order": one.order_id, "error": kind},
            )  # fmt: skip
            self._lane.tally.failed[kind] += 1
            await self._again([one])
        return None

    def _in_time(self, order: Order) -> Order:
        """The order with a time that no destination refuses as lying in the future."""
        now = self._lane.clock.wall()
        if counted_at(order) <= now + _DAY_S:
            return order
        logger.warning(
            "order %s names a payment that lies in the future; the time of its last change stands for it", order.id,
            extra={"order": order.id, "field": "paid_time"},
        )  # fmt: skip
        return replace(order, paid_time=min(order.update_time, int(now)) or int(now), create_time=0)

    async def _event_of(self, one: Waiting, order: Order) -> Event | None:
        lane, settings = self._lane, self._lane.settings
        verdict, reason = purchase_verdict(
            order, counts_when=settings.counts_when, cash_on_delivery=settings.cash_on_delivery
        )
        if verdict == "later":
            if order.status == "UNPAID" or 0 < order.update_time < one.changed_at:
                await self._unknown(one, "old detail", "goes on telling an older state than before of its order")
                return None
            # the next change of its status brings it back
            lane.tally.later[reason] += 1
            await lane.state.let_go([one])
            return None
        # only whole seconds are told, and this machine's clock may be ahead of the shop's
        if verdict == "counts" and 0 < counted_at(order) < int(lane.begun - CLOCK_AHEAD_S):
            if lane.recovering:
                await self._again([one])
                return None
            verdict, reason = "never", "paid before forwarding began"
        if verdict == "never":
            await self._drop(one, reason)
            return None
        return order_to_event(order, shop_id=one.shop_id, **settings.event_options())

    async def _enriched(self, enrich: Enrich, one: Waiting, order: Order, event: Event) -> Event | None:
        """What the user's code makes of it. Whatever that code does costs this attempt, and nothing else."""
        timeout_s = self._lane.settings.enrich_timeout_s
        try:
            async with asyncio.timeout(timeout_s) as bound:
                given = enrich(order, event)
                changed = await given if inspect.isawaitable(given) else given
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            late = isinstance(error, TimeoutError) and bound.expired()
            await self._enrich_failed(
                one, f"took longer than {timeout_s:g} s" if late else f"raised {type(error).__name__}"
            )
            return None
        if changed is None:
            await self._drop(one, "left out by enrich")
            return None
        if not isinstance(changed, Event):
            await self._enrich_failed(
                one, f"returned a {type(changed).__name__}, not the Event to send or None to leave the order out"
            )
            return None
        return changed if changed.event_id == event.event_id else replace(changed, event_id=event.event_id)

    async def _enrich_failed(self, one: Waiting, what: str) -> None:
        logger.error(
            "enrich %s for order %s; the order waits, and is tried again", what, one.order_id,
            extra={"order": one.order_id},
        )  # fmt: skip
        self._lane.tally.failed["enrich"] += 1
        await self._again([one])

    async def _malformed(self, one: Waiting, error: EventError) -> None:
        """It lacks what is needed. It may have been read half-written: it is read again, and when it changes."""
        logger.error(
            "order %s makes no purchase: %s: %s; it waits, and is read again", one.order_id, error.field, error.reason,
            extra={"order": one.order_id, "field": error.field},
        )  # fmt: skip
        self._lane.tally.later[f"malformed {error.field}"] += 1
        await self._again([one])

    async def _drop(self, one: Waiting, reason: str) -> None:
        self._lane.tally.never[reason] += 1
        await self._lane.state.finish([one], "never", at=self._lane.clock.wall())

    async def _again(self, waiting: Sequence[Waiting]) -> None:
        """Try these again after a while, longer every time; those that are too old are let go."""
        now = self._lane.clock.wall()
        for one in waiting:
            if now - one.since > GIVE_UP_S:
                logger.error(
                    "order %s could not be forwarded for 7 days and is let go, until it changes", one.order_id,
                    extra={"order": one.order_id},
                )  # fmt: skip
                self._lane.tally.failed["given up"] += 1
                await self._lane.state.let_go([one])
            else:
                await self._lane.state.postpone([one], until=now + self._backoff.interval_s(one.tries + 1))
