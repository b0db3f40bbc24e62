"""Every paid order of a shop becomes one purchase at every destination.

A webhook says that an order changed; polling finds the orders whose webhook never came. Either way the order's number
goes into the forwarder's state first (on the disk, if the state is a file), and only then is the webhook answered: what
was answered with 200 survives whatever ends the process. One worker reads the orders' detail, makes events of those
that count, hands them to the client and notes that it did.

Once, by three things. The event's id follows from shop and order, so that destinations absorb a copy where they can.
The state remembers what was forwarded. And for the instant between the client's acceptance and that note, a durable
spool that remembers its events (``sqlite:///events.db?remember_days=7``) is asked before anything is handed to it
again; with a spool that does not remember, a process killed in that instant sends the event once more.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol, TypeAlias

import anyio
from msgspec import Struct
from msgspec.structs import replace

from capi_async.client import Client
from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import CapiError, ClientClosed, ConfigError, EventError, SpoolError
from capi_async.event import Consent, Event
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAuthError,
    TikTokShopNotFoundError,
    TikTokShopValidationError,
)
from capi_async.sources.tiktok_shop.events import Notification, OrderStatusChanged, SellerDeauthorized
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.orders import (
    CANCELLED,
    CountsWhen,
    ItemId,
    Share,
    ValueOf,
    check_share,
    order_to_event,
    purchase_verdict,
)
from capi_async.sources.tiktok_shop.state import ForwarderState, Waiting, open_state
from capi_async.sources.tiktok_shop.webhooks import WebhookError, WebhookVerifier, keys_of

logger = logging.getLogger(__name__)

#: What one call for order detail takes. Source: Partner Center, order detail, copy of 2025-12.
ORDERS_PER_CALL: Final = 50
#: Orders of a poll that are stored together.
_POLL_BATCH: Final = 200
#: Seconds between two attempts at the same order: doubling, up to the longest.
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 300.0
#: No destination takes a web event older than this; an order that could not be read until then is let go.
_GIVE_UP_S: Final = 7 * 86_400.0
#: Attempts at an order that the shop does not know: its own copies may lag behind its webhooks.
_MAX_UNKNOWN: Final = 10
_ORDER_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: How long acceptance by the client may take.
_SEND_S: Final = 10.0
_STOP_S: Final = 2.0
#: Seconds between two looks at what other processes have left in a file.
_LOOK_S: Final = 5.0
#: Seconds that polling pauses when too many orders wait.
_FULL_S: Final = 1.0

Enrich: TypeAlias = Callable[[Order, Event], Event | Awaitable[Event | None] | None]


class OrderSource(Protocol):
    """What a forwarder needs of a shop; :class:`~capi_async.sources.tiktok_shop.TikTokShop` has it."""

    @property
    def shop_id(self) -> str:
        """The shop's id, as in its webhooks; empty until it is known."""
        ...

    async def selected_shop(self) -> Any:
        """Find out which shop this is, if that is not known."""
        ...

    def iter_orders(
        self, *, update_time_ge: int, sort_field: str, sort_order: str, page_size: int
    ) -> AsyncIterator[Order]:
        """Orders updated since, page by page."""
        ...

    async def get_orders_by_id(self, order_ids: Sequence[str]) -> Sequence[Order]:
        """The detail of up to 50 orders; unknown ones are missing."""
        ...


class BusyError(WebhookError):
    """Too many orders wait, or they cannot be stored: TikTok Shop is to try again later."""

    status = 503


class ForwarderClosed(WebhookError):
    """The forwarder does not run: TikTok Shop is to try again later."""

    status = 503


class ForwarderCounts(Struct, frozen=True, kw_only=True):
    """What a forwarder did since it was entered.

    Attributes:
        webhooks: Taken in; ``copies``: known already; ``refused``: by reason.
        polled: Orders that polling found and that were not done; several polls may find the same.
        forwarded: Purchases handed to the client; ``repeats``: orders whose purchase had been handed over before.
        later, never: Orders that did not count when they were read, by reason.
        cancelled: Orders that were cancelled after their purchase had been forwarded.
        failed: Attempts that failed, by kind of error.
    """

    webhooks: int
    copies: int
    refused: Mapping[str, int]
    polled: int
    forwarded: int
    repeats: int
    later: Mapping[str, int]
    never: Mapping[str, int]
    cancelled: int
    failed: Mapping[str, int]


class OrderForwarder:
    """Forwards the paid orders of one or several shops of an app to a client.

    Use it as ``async with OrderForwarder(shop, client, share=["buyer_id"]) as forwarder``; entering and leaving may
    happen in different tasks. Webhooks come in through :meth:`receive`, which the ready handlers of
    :mod:`~capi_async.sources.tiktok_shop.web` call.

    Args:
        shop: The shop, or several that share the webhook address of one app. One that does not know yet which shop it
            is (its seller has only one) asks when the forwarder is entered.
        client: Where purchases go; it is neither entered nor closed here.
        share: What of a buyer may leave, see :data:`~capi_async.sources.tiktok_shop.orders.Share`. There is no default:
            without an identifier most destinations can do nothing with an event and skip it, and with one the seller's
            permission is needed.
        state: ``"memory"``: forgotten with the process. ``"sqlite:///shop.db"``: a webhook answered with 200 is on
            the disk, and several processes of a host may share the file.
        webhooks: What verifies webhooks; without it, :meth:`receive` refuses all of them, and polling does the work.
        counts_when: ``paid`` (default), or ``confirmed``: when the buyer can no longer cancel at no cost.
        cash_on_delivery: Count an order that is paid at the door when it is placed.
        item_id, value_of, consent, to, test: See :func:`~capi_async.sources.tiktok_shop.orders.order_to_event`.
        enrich: Called, plain or async, with order and event; returns the event to send, such as one with the e-mail
            address that your own records hold, or ``None`` to leave this order out. Its ``event_id`` is kept as it was.
        poll_every_s: Seconds between two polls; ``None`` turns them off, and a webhook that is lost is lost.
        overlap_s: Seconds that a poll looks back behind the one before: clocks differ, and updates appear late.
        lookback_s: At the very first start, how old a payment may be to be forwarded. Later starts go on where the
            state says that polling was.
        max_waiting: Orders that may wait; beyond it webhooks are answered with 503.

    Raises:
        ConfigError: A setting makes no sense.
    """

    def __init__(
        self,
        shop: OrderSource | Sequence[OrderSource],
        client: Client,
        *,
        share: Collection[Share],
        state: str | ForwarderState = "memory",
        webhooks: WebhookVerifier | None = None,
        counts_when: CountsWhen = "paid",
        cash_on_delivery: bool = False,
        item_id: ItemId = "sku_id",
        value_of: ValueOf = "total",
        consent: Consent | None = None,
        to: Sequence[str] | None = None,
        test: bool = False,
        enrich: Enrich | None = None,
        poll_every_s: float | None = 300.0,
        overlap_s: float = 600.0,
        lookback_s: float = 0.0,
        max_waiting: int = 100_000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_share(share)
        self._sources: Final = tuple(shop) if isinstance(shop, Sequence) else (shop,)
        self._shops: dict[str, OrderSource] = {}
        if not self._sources:
            raise ConfigError("forwarder: there must be a shop")
        for name, choices, value in (
            ("counts_when", ("paid", "confirmed"), counts_when),
            ("item_id", ("sku_id", "product_id", "seller_sku"), item_id),
            ("value_of", ("total", "sub_total"), value_of),
        ):
            if value not in choices:
                raise ConfigError(f"forwarder: {name} is one of {', '.join(choices)}")
        if poll_every_s is not None and not poll_every_s > 0:
            raise ConfigError("forwarder: poll_every_s must be more than 0 seconds, or None")
        if not (overlap_s >= 0 and lookback_s >= 0 and max_waiting >= 1):
            raise ConfigError("forwarder: overlap_s and lookback_s must be 0 or more, max_waiting at least 1")
        if poll_every_s is None and webhooks is None:
            raise ConfigError("forwarder: without webhooks and without polling no order would ever be found")
        self._client = client
        self._state = open_state(state)
        self._webhooks = webhooks
        self._counts_when: Final[CountsWhen] = counts_when
        self._cash_on_delivery = cash_on_delivery
        self._event_options: Final[Mapping[str, Any]] = {
            "share": frozenset(share), "item_id": item_id, "value_of": value_of, "consent": consent, "to": to,
            "test": test,
        }  # fmt: skip
        self._enrich = enrich
        self._poll_every_s = poll_every_s
        self._overlap_s = overlap_s
        self._lookback_s = lookback_s
        self._max_waiting = max_waiting
        self._clock = clock
        self._begun: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._progress = asyncio.Event()
        self._poll_now: Mapping[str, asyncio.Event] = {}
        # polls that somebody asked for by number, and the number that each shop has served
        self._polls_asked = 0
        self._polls_served: dict[str, int] = {}
        self._closing = False
        self._handling = False
        self._reset()

    def _reset(self) -> None:
        self._tally: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._later: Counter[str] = Counter()
        self._never: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    # Lifecycle.

    async def __aenter__(self) -> OrderForwarder:
        if self._task is not None:
            raise ConfigError("forwarder: it runs already")
        for source in self._sources:
            if not source.shop_id:
                await source.selected_shop()
        self._shops = {source.shop_id: source for source in self._sources}
        if "" in self._shops or len(self._shops) != len(self._sources):
            raise ConfigError("forwarder: every shop needs an id of its own")
        await self._state.open()
        try:
            now = self._clock.wall()
            for shop_id in self._shops:
                self._begun[shop_id] = await self._state.begin(shop_id, now - self._lookback_s)
        except BaseException:
            await self._state.close()
            raise
        if self._state.durable and not self._client.durable:
            logger.warning(
                "purchases that wait in the client's memory are lost in a crash, and are not forwarded again",
                extra={"fix": "give the client a durable spool, such as sqlite:///events.db?remember_days=7"},
            )
        self._reset()
        self._closing = False
        self._news = asyncio.Event()
        self._news.set()
        self._progress = asyncio.Event()
        self._poll_now = {shop_id: asyncio.Event() for shop_id in self._shops}
        self._polls_served = dict.fromkeys(self._shops, 0)
        self._polls_asked = 0
        # one task owns all others, in a context of its own: who enters need not be who leaves
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="capi_async-shop-forwarder", context=contextvars.Context()
        )
        self._task.add_done_callback(lambda _task: self._step())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.aclose()

    async def aclose(self, deadline_s: float = 10.0) -> None:
        """Take nothing in any more, finish what is under way, and stop at the deadline.

        Orders that wait in a file go on waiting there. Those in memory are forwarded as far as the deadline lets them;
        the next start's polling finds the rest.

        Raises:
            CapiError: What had ended the forwarder before.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._closing = True
        self._news.set()
        try:
            await asyncio.wait([task], timeout=deadline_s)
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=_STOP_S)
        finally:
            await self._state.close()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error

    # In.

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Notification:
        """Take in one webhook; on return it may be answered with 200.

        What does not concern an order of these shops is verified and left at that.

        Args:
            body: As received, not decoded.

        Raises:
            WebhookError: It is to be answered with ``error.status`` instead: a ``SignatureError``,
                ``StaleWebhookError``, ``MalformedWebhookError``, ``BusyError`` or ``ForwarderClosed``.
        """
        if self._task is None or self._closing or self._task.done():
            raise ForwarderClosed("the forwarder does not run")
        if self._webhooks is None:
            raise self._refuse(WebhookError("no webhooks are expected here: give the forwarder webhooks=..."))
        try:
            notification = self._webhooks.read(body, headers)
        except WebhookError as error:
            raise self._refuse(error) from None
        if isinstance(notification, OrderStatusChanged) and notification.shop_id not in self._shops:
            # not remembered: somebody else who shares the state may have a use for it
            logger.warning("a webhook of a shop that is not forwarded", extra={"shop": notification.shop_id})
            self._tally["webhooks"] += 1
            return notification
        orders, cancelled = self._orders_of(notification)
        try:
            news = await self._state.take_in(
                keys_of(notification), orders, at=self._clock.wall(), max_waiting=self._max_waiting
            )
            if news and cancelled is not None:
                await self._note_cancelled(cancelled)
        except SpoolError as error:
            logger.error("a webhook could not be stored", extra={"error": type(error).__name__})
            raise self._refuse(BusyError("it could not be stored")) from error
        finally:
            # also if the sender has gone and this is cancelled: what the state was given, it stores all the same
            if orders:
                self._news.set()
        if news is None:
            raise self._refuse(BusyError("too many orders wait"))
        if not news:
            self._tally["copies"] += 1
            return notification
        self._tally["webhooks"] += 1
        if isinstance(notification, SellerDeauthorized):
            logger.error("a seller has withdrawn the authorization", extra={"shop": notification.shop_id})
            self._troubles[notification.shop_id] = "the seller has withdrawn the authorization"
        return notification

    def _orders_of(self, notification: Notification) -> tuple[list[tuple[str, str]], Waiting | None]:
        """Orders to be read, and an order that is no more."""
        if not isinstance(notification, OrderStatusChanged) or not _ORDER_ID.fullmatch(notification.order_id):
            return [], None
        if notification.cancelled:
            return [], Waiting(notification.shop_id, notification.order_id, self._clock.wall())
        if notification.order_status == "UNPAID":
            return [], None
        return [(notification.shop_id, notification.order_id)], None

    async def _note_cancelled(self, order: Waiting) -> None:
        if (await self._state.done([order.event_id])).get(order.event_id) == "forwarded":
            self._tally["cancelled"] += 1
            logger.info("an order was cancelled after its purchase had been forwarded", extra={"order": order.order_id})

    def _refuse(self, error: WebhookError) -> WebhookError:
        self._refused[type(error).__name__] += 1
        return error

    # What there is to know.

    @property
    def counts(self) -> ForwarderCounts:
        """What was done since it was entered."""
        tally = self._tally
        return ForwarderCounts(
            webhooks=tally["webhooks"],
            copies=tally["copies"],
            refused=dict(self._refused),
            polled=tally["polled"],
            forwarded=tally["forwarded"],
            repeats=tally["repeats"],
            later=dict(self._later),
            never=dict(self._never),
            cancelled=tally["cancelled"],
            failed=dict(self._failed),
        )

    @property
    def running(self) -> bool:
        """Whether it was entered, and nothing has ended it."""
        return self._task is not None and not self._task.done()

    @property
    def troubles(self) -> Mapping[str, str]:
        """Shop to why its orders cannot be read at the moment; empty if all is well."""
        return dict(self._troubles)

    @property
    def state(self) -> ForwarderState:
        """Its memory."""
        return self._state

    async def poll(self) -> None:
        """Poll now, and return when the orders found by it, and all others that are due, have been dealt with.

        Raises:
            ForwarderClosed: It does not run.
        """
        task = self._task
        if task is None or self._closing or task.done():
            raise ForwarderClosed("the forwarder does not run")
        if self._poll_every_s is not None:
            self._polls_asked += 1
            asked = self._polls_asked
            for event in self._poll_now.values():
                event.set()
            while min(self._polls_served.values()) < asked and not task.done():
                await self._progress.wait()
        await self.settled()

    async def settled(self) -> None:
        """Return when no order is due: each was forwarded, let go, or waits for its next attempt."""
        while self._task is not None and not self._task.done():
            progress = self._progress
            due = await self._state.next_due(tuple(self._shops))
            if not self._handling and (due is None or due > self._clock.wall()):
                return
            await progress.wait()

    def _step(self) -> None:
        """Wake all who wait for something to have been done."""
        # a new one each time: whoever looked before waits for this step, and for no other
        done, self._progress = self._progress, asyncio.Event()
        done.set()

    # The tasks.

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                if self._poll_every_s is not None:
                    for shop_id in self._shops:
                        group.start_soon(self._poll_shop, shop_id, self._poll_every_s)
                await self._work()
                # nothing is left for the pollers to find it for
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            kinds = sorted({type(error).__name__ for error in errors.exceptions})
            logger.error("the forwarder has ended", extra={"error": ", ".join(kinds)})
            # what ended it is told as itself: a caller who expects a CapiError should meet one
            if len(errors.exceptions) == 1:
                raise errors.exceptions[0] from None
            raise

    async def _poll_shop(self, shop_id: str, every_s: float) -> None:
        failures = 0
        while not self._closing:
            wait_s, asked = every_s, self._polls_asked
            self._poll_now[shop_id].clear()
            try:
                await self._poll_once(shop_id)
                failures = 0
                self._troubles.pop(shop_id, None)
            except CapiError as error:
                failures += 1
                self._note_trouble(shop_id, error)
                wait_s = min(every_s, _backoff(failures))
            self._polls_served[shop_id] = asked
            self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._poll_now[shop_id].wait()

    async def _poll_once(self, shop_id: str) -> None:
        """Let every order wait that was updated since the last poll, and that is not done."""
        started = self._clock.wall()
        seen_up_to = await self._state.cursor(shop_id)
        since = (self._begun[shop_id] if seen_up_to is None else seen_up_to) - self._overlap_s
        found: list[tuple[str, str]] = []
        async for order in self._shops[shop_id].iter_orders(
            update_time_ge=max(0, int(since)), sort_field="update_time", sort_order="ASC", page_size=100
        ):
            if order.status != "UNPAID" and order.status not in CANCELLED:
                found.append((shop_id, order.id))
            if len(found) >= _POLL_BATCH:
                await self._take_polled(found)
                found = []
        await self._take_polled(found)
        # only now: whatever ends this before, the next poll begins where this one did
        await self._state.advance(shop_id, started)

    async def _take_polled(self, found: Sequence[tuple[str, str]]) -> None:
        done = await self._state.done([Waiting(*one, since=0.0).event_id for one in found])
        fresh = [one for one in found if Waiting(*one, since=0.0).event_id not in done]
        if not fresh:
            return
        while True:
            if await self._state.take_in((), fresh, at=self._clock.wall(), max_waiting=self._max_waiting):
                break
            await anyio.sleep(_FULL_S)
        self._tally["polled"] += len(fresh)
        self._news.set()

    async def _work(self) -> None:
        """Deal with orders as they become due, until closing finds nothing left to do."""
        while True:
            self._news.clear()
            now = self._clock.wall()
            try:
                self._handling = True
                due = await self._state.waiting(tuple(self._shops), now=now, limit=ORDERS_PER_CALL)
                for shop_id in dict.fromkeys(one.shop_id for one in due):
                    await self._handle(shop_id, [one for one in due if one.shop_id == shop_id])
                next_due = await self._state.next_due(tuple(self._shops))
            except SpoolError as error:
                logger.error("orders cannot be forwarded", extra={"error": type(error).__name__})
                self._failed[type(error).__name__] += 1
                due, next_due = [], now + _FIRST_WAIT_S
            finally:
                self._handling = False
                self._step()
            if self._closing and (self._state.durable or not due):
                return
            if due:
                continue
            wait_s = None if next_due is None else max(0.0, next_due - self._clock.wall())
            if self._state.durable:
                # another process may have died with orders that it had taken in
                wait_s = _LOOK_S if wait_s is None else min(wait_s, _LOOK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()

    async def _handle(self, shop_id: str, waiting: Sequence[Waiting]) -> None:
        """Read these orders, and forward those that count."""
        events: list[tuple[Waiting, Event]] = []
        for one, order in await self._read(self._shops[shop_id], waiting):
            if (event := await self._judge(one, order)) is not None:
                events.append((one, event))
        if events:
            await self._forward(events)

    async def _read(self, shop: OrderSource, waiting: Sequence[Waiting]) -> list[tuple[Waiting, Order]]:
        """Those that could be read, with their detail; the others wait for their next attempt."""
        try:
            found = {order.id: order for order in await shop.get_orders_by_id([one.order_id for one in waiting])}
        except (TikTokShopNotFoundError, TikTokShopValidationError) as error:
            if len(waiting) == 1:
                await self._unknown(waiting[0])
                return []
            # nobody says which one it was
            logger.debug("one of several orders is refused", extra={"orders": len(waiting), "code": error.code})
            return [pair for one in waiting for pair in await self._read(shop, [one])]
        except CapiError as error:
            self._note_trouble(shop.shop_id, error)
            await self._later_again(waiting)
            return []
        self._troubles.pop(shop.shop_id, None)
        for one in waiting:
            if one.order_id not in found:
                await self._unknown(one)
        return [(one, found[one.order_id]) for one in waiting if one.order_id in found]

    async def _unknown(self, one: Waiting) -> None:
        """The shop does not know it, or not yet."""
        self._failed["unknown order"] += 1
        if one.tries < _MAX_UNKNOWN:
            await self._later_again([one])
        else:
            logger.error("a shop does not know an order of its own webhook", extra={"order": one.order_id})
            await self._state.let_go([one])

    async def _judge(self, one: Waiting, order: Order) -> Event | None:
        """The order's event if it counts; if not, it waits no more."""
        verdict, reason = purchase_verdict(
            order, counts_when=self._counts_when, cash_on_delivery=self._cash_on_delivery
        )
        if verdict == "counts" and (order.paid_time or order.create_time) < int(self._begun[one.shop_id]):
            verdict, reason = "never", "paid before forwarding began"
        if verdict == "later":
            # the next change of its status brings it back
            self._later[reason] += 1
            await self._state.let_go([one])
            return None
        if verdict == "never":
            await self._drop(one, reason)
            return None
        try:
            event = order_to_event(order, shop_id=one.shop_id, **self._event_options)
        except EventError as error:
            logger.error("an order makes no event", extra={"order": one.order_id, "field": error.field})
            await self._drop(one, f"malformed {error.field}")
            return None
        if self._enrich is None:
            return event
        try:
            enriched = self._enrich(order, event)
            changed = await enriched if inspect.isawaitable(enriched) else enriched
        except Exception as error:  # the user's code: its fault costs this attempt, not the forwarder
            logger.error("enrich failed", extra={"order": one.order_id, "error": type(error).__name__})
            self._failed["enrich"] += 1
            await self._later_again([one])
            return None
        if changed is None:
            await self._drop(one, "left out by enrich")
            return None
        return changed if changed.event_id == event.event_id else replace(changed, event_id=event.event_id)

    async def _drop(self, one: Waiting, reason: str) -> None:
        self._never[reason] += 1
        await self._state.finish([one], "never", at=self._clock.wall())

    async def _forward(self, events: Sequence[tuple[Waiting, Event]]) -> None:
        """Hand these to the client, unless somebody has, and note that."""
        async with self._state.exclusive():
            # what was begun here is finished: a cancelled send() may have been accepted, and nobody would note it
            with anyio.CancelScope(shield=True):
                ids = [event.event_id for _, event in events]
                known = {*await self._state.done(ids), *await self._client.accepted_before(ids)}
                fresh = [(one, event) for one, event in events if event.event_id not in known]
                results = await asyncio.gather(
                    *(self._client.send(event, timeout_s=_SEND_S) for _, event in fresh), return_exceptions=True
                )
                fates = list(zip(fresh, results, strict=True))
                forwarded = [one for (one, _), result in fates if not isinstance(result, BaseException)]
                repeats = [one for one, event in events if event.event_id in known]
                await self._state.finish([*forwarded, *repeats], "forwarded", at=self._clock.wall())
                self._tally["forwarded"] += len(forwarded)
                self._tally["repeats"] += len(repeats)
        for (one, event), result in fates:
            if isinstance(result, EventError):
                logger.error("an event was refused", extra={"order": one.order_id, "field": result.field})
                await self._drop(one, f"malformed {result.field}")
            elif isinstance(result, ClientClosed) or (
                isinstance(result, BaseException) and not isinstance(result, CapiError)
            ):
                raise result
            elif isinstance(result, CapiError):
                logger.warning(
                    "the client did not accept a purchase",
                    extra={"event": event.event_id, "error": type(result).__name__},
                )
                self._failed[type(result).__name__] += 1
                await self._later_again([one])

    async def _later_again(self, waiting: Sequence[Waiting]) -> None:
        """Try these again after a while, longer every time; those that are too old are let go."""
        now = self._clock.wall()
        for one in waiting:
            if now - one.since > _GIVE_UP_S:
                logger.error("an order could not be forwarded for too long", extra={"order": one.order_id})
                self._failed["given up"] += 1
                await self._state.let_go([one])
            else:
                await self._state.postpone([one], until=now + _backoff(one.tries + 1))

    def _note_trouble(self, shop_id: str, error: CapiError) -> None:
        # these texts are ours, or were redacted when the error was made
        text = str(error)
        kind = type(error).__name__
        self._failed[kind] += 1
        if self._troubles.get(shop_id) != text:
            level = logging.ERROR if isinstance(error, TikTokShopAuthError) else logging.WARNING
            logger.log(level, "a shop's orders cannot be read", extra={"shop": shop_id, "reason": text})
        self._troubles[shop_id] = text


def _backoff(tries: int) -> float:
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(tries - 1, 16))
