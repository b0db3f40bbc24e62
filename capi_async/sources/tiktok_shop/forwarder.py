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
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Unpack

import anyio

from capi_async.backoff import Backoff
from capi_async.client import Client
from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import ConfigError, SpoolError
from capi_async.sources.tiktok_shop.events import (
    AuthorizationExpiring,
    Notification,
    OrderStatusChanged,
    SellerDeauthorized,
)
from capi_async.sources.tiktok_shop.forwarder_settings import Enrich, ForwarderOptions, ForwarderSettings
from capi_async.sources.tiktok_shop.handling import ORDERS_PER_CALL, Worker
from capi_async.sources.tiktok_shop.lane import Lane, OrderSource
from capi_async.sources.tiktok_shop.lenient import instant
from capi_async.sources.tiktok_shop.orders import CANCELLED
from capi_async.sources.tiktok_shop.polling import ORDER_ID, Poller
from capi_async.sources.tiktok_shop.state import ForwarderState, open_state
from capi_async.sources.tiktok_shop.tally import ForwarderCounts, Tally, Troubles
from capi_async.sources.tiktok_shop.webhooks import WebhookError, WebhookVerifier, keys_of

__all__ = [
    "ORDERS_PER_CALL",
    "BusyError",
    "Enrich",
    "ForwarderClosed",
    "ForwarderCounts",
    "OrderForwarder",
    "OrderSource",
]

logger = logging.getLogger(__name__)

#: Between two attempts at the same order, or at the same poll.
BACKOFF: Final = Backoff(first_s=1.0, longest_s=300.0)
_STOP_S: Final = 2.0
#: Shops that are not forwarded, and whose webhooks were told of.
_MAX_STRANGERS: Final = 1_000


class BusyError(WebhookError):
    """Too many orders wait, or they cannot be stored: TikTok Shop is to try again later."""

    status = 503


class ForwarderClosed(WebhookError):
    """The forwarder does not run: TikTok Shop is to try again later."""

    status = 503


class OrderForwarder:
    """Forwards the paid orders of one or several shops of an app to a client.

    Use it as ``async with OrderForwarder(shop, client, share=["buyer_id"]) as forwarder``; entering and leaving may
    happen in different tasks. Webhooks come in through :meth:`receive`, which the ready handlers of
    :mod:`~capi_async.sources.tiktok_shop.web` call.

    Args:
        shop: The shop, or several that share the webhook address of one app. One that does not know yet which shop it
            is (its seller has only one) asks when the forwarder is entered.
        client: Where purchases go; it is neither entered nor closed here.
        state: ``"memory"``: forgotten with the process. ``"sqlite:///shop.db"``: a webhook answered with 200 is on
            the disk, and several processes of a host may share the file.
        webhooks: What verifies webhooks; without it, :meth:`receive` refuses all of them, and polling does the work.
        settings: ``share=`` and all else of
            :class:`~capi_async.sources.tiktok_shop.forwarder_settings.ForwarderSettings`.

    Raises:
        ConfigError: A setting makes no sense.
    """

    def __init__(
        self,
        shop: OrderSource | Sequence[OrderSource],
        client: Client,
        *,
        state: str | ForwarderState = "memory",
        webhooks: WebhookVerifier | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **settings: Unpack[ForwarderOptions],
    ) -> None:
        self._settings = ForwarderSettings(**settings)
        self._sources: Final = tuple(shop) if isinstance(shop, Sequence) else (shop,)
        if not self._sources:
            raise ConfigError("forwarder: there must be a shop")
        if self._settings.poll_every_s is None and webhooks is None:
            raise ConfigError("forwarder: without webhooks and without polling no order would ever be found")
        self._client = client
        self._state = open_state(state)
        self._webhooks = webhooks
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._workers: list[Worker] = []
        self._pollers: list[Poller] = []
        self._task: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        self._closing = False
        self._reset()

    def _reset(self) -> None:
        self._tally = Tally()
        self._troubles = Troubles()
        self._notices: dict[str, str] = {}
        self._strangers: set[str] = set()

    # Lifecycle.

    async def __aenter__(self) -> OrderForwarder:
        if self._task is not None:
            raise ConfigError("forwarder: it runs already")
        for source in self._sources:
            if not source.shop_id:
                await source.selected_shop()
        shop_ids = {source.shop_id for source in self._sources}
        if "" in shop_ids or len(shop_ids) != len(self._sources):
            raise ConfigError("forwarder: every shop needs an id of its own")
        self._reset()
        self._closing = False
        self._progress = asyncio.Event()
        await self._state.open()
        try:
            turn = asyncio.Lock()
            self._lanes = {source.shop_id: await self._lane(source, turn) for source in self._sources}
        except BaseException:
            await self._state.close()
            raise
        if self._state.durable and not self._client.durable:
            logger.warning(
                "purchases that wait in the client's memory are lost in a crash, and are not forwarded again: give the "
                "client a durable spool, such as sqlite:///events.db?remember_days=7",
                extra={"fix": "give the client a durable spool, such as sqlite:///events.db?remember_days=7"},
            )
        lanes, polled = self._lanes.values(), self._settings.poll_every_s
        self._workers = [Worker(lane, backoff=BACKOFF, step=self._step, polled=polled is not None) for lane in lanes]
        self._pollers = (
            [] if polled is None else [Poller(lane, every_s=polled, backoff=BACKOFF, step=self._step) for lane in lanes]
        )
        # one task owns all others, in a context of its own: who enters need not be who leaves
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="capi_async-shop-forwarder", context=contextvars.Context()
        )
        self._task.add_done_callback(lambda _task: self._step())
        return self

    async def _lane(self, source: OrderSource, turn: asyncio.Lock) -> Lane:
        lookback_s = self._settings.lookback_s
        shop_id, at = source.shop_id, self._clock.wall() - lookback_s
        known = await self._state.begun(shop_id)
        begun = await self._state.begin(shop_id, at)
        if known is not None and lookback_s > 0 and await self._state.reach_back(shop_id, at):
            begun = at
            logger.info(
                "lookback_s: shop %s is forwarded from %.1f hours back on; orders that were left alone as older are "
                "looked at again",
                shop_id, lookback_s / 3600, extra={"shop": shop_id},
            )  # fmt: skip
        return Lane(
            source,
            self._client,
            self._state,
            self._settings,
            clock=self._clock,
            tally=self._tally,
            troubles=self._troubles,
            turn=turn,
            begun=begun,
            # only a client that outlives this process can know more than this state
            recovering=known is None and self._client.durable,
        )

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
        for worker in self._workers:
            worker.closing = True
        for poller in self._pollers:
            poller.closing = True
        for lane in self._lanes.values():
            lane.wake()
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

        Every webhook that names orders of these shops makes them be read, whatever its topic. What names none, or
        comes from another shop, is verified and left at that.

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
        lane = self._lanes.get(notification.shop_id)
        if lane is None and notification.shop_id:
            # not remembered: somebody else who shares the state may have a use for it
            self._meet_stranger(notification.shop_id)
            self._tally.webhooks += 1
            return notification
        orders, gone = _orders_of(notification) if lane is not None else ([], [])
        try:
            news = await self._state.take_in(
                keys_of(notification),
                [(notification.shop_id, one) for one in orders],
                at=self._clock.wall(),
                max_waiting=self._settings.max_waiting,
                changed_at=dict.fromkeys(orders, _changed_at(notification)),
            )
            if news and gone and lane is not None:
                await lane.note_cancelled(gone)
        except SpoolError as error:
            logger.error(
                "a webhook of shop %s could not be stored (%s); TikTok is asked to send it again: see to the state's "
                "storage",
                notification.shop_id, type(error).__name__, extra={"error": type(error).__name__},
            )  # fmt: skip
            raise self._refuse(BusyError("it could not be stored")) from error
        finally:
            # also if the sender has gone and this is cancelled: what the state was given, it stores all the same
            if orders and lane is not None:
                lane.wake()
        if news is None:
            raise self._refuse(BusyError("too many orders of this shop wait"))
        if not news:
            self._tally.copies += 1
            return notification
        self._tally.webhooks += 1
        self._note_authorization(notification)
        return notification

    def _note_authorization(self, notification: Notification) -> None:
        shop_id = notification.shop_id
        if isinstance(notification, SellerDeauthorized):
            self._troubles.note(shop_id, "authorization", "the seller has withdrawn the authorization")
        elif isinstance(notification, AuthorizationExpiring):
            ends = instant(notification.expiration_time)
            days = max(0.0, (ends - self._clock.wall()) / 86_400)
            when = f"in {days:.0f} days" if ends else "soon"
            self._notices[shop_id] = f"the authorization ends {when}: let the seller authorize the app again"
            logger.warning("shop %s: %s", shop_id, self._notices[shop_id], extra={"shop": shop_id})

    def _meet_stranger(self, shop_id: str) -> None:
        if shop_id in self._strangers:
            return
        if len(self._strangers) < _MAX_STRANGERS:
            self._strangers.add(shop_id)
        logger.warning(
            "webhooks of shop %s come in, which is not forwarded here; they are answered and left at that", shop_id,
            extra={"shop": shop_id},
        )  # fmt: skip

    def _refuse(self, error: WebhookError) -> WebhookError:
        self._tally.refused[type(error).__name__] += 1
        return error

    # What there is to know.

    @property
    def counts(self) -> ForwarderCounts:
        """What was done since it was entered."""
        return self._tally.counts()

    @property
    def running(self) -> bool:
        """Whether it was entered, and nothing has ended it."""
        return self._task is not None and not self._task.done()

    @property
    def troubles(self) -> Mapping[str, str]:
        """Shop to why its orders do not come through at the moment; empty if all is well."""
        return self._troubles.told()

    @property
    def notices(self) -> Mapping[str, str]:
        """Shop to what somebody should see to although all is well: that its authorization ends soon."""
        return dict(self._notices)

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
        asked = [(poller, poller.ask()) for poller in self._pollers]
        while any(poller.served < number for poller, number in asked) and not task.done():
            await self._progress.wait()
        await self.settled()

    async def settled(self) -> None:
        """Return when no order is due: each was forwarded, let go, or waits for its next attempt."""
        while self._task is not None and not self._task.done():
            progress = self._progress
            due = await self._state.next_due(tuple(self._lanes))
            if not any(worker.busy for worker in self._workers) and (due is None or due > self._clock.wall()):
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
            async with anyio.create_task_group() as polling:
                for poller in self._pollers:
                    polling.start_soon(poller.run)
                async with anyio.create_task_group() as working:
                    for worker in self._workers:
                        working.start_soon(worker.run)
                # nothing is left for the pollers to find it for
                polling.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            first = errors.exceptions
            while len(first) == 1 and isinstance(first[0], BaseExceptionGroup):
                first = first[0].exceptions
            kinds = sorted({type(error).__name__ for error in first})
            logger.error("the forwarder has ended: %s", ", ".join(kinds), extra={"error": ", ".join(kinds)})
            # what ended it is told as itself: a caller who expects a CapiError should meet one
            if len(first) == 1 or len(kinds) == 1:
                raise first[0] from None
            raise


def _orders_of(notification: Notification) -> tuple[list[str], list[str]]:
    """Orders to be read, and orders that are no more."""
    named = [one for one in notification.order_ids if ORDER_ID.fullmatch(one)]
    status = notification.status_of_order
    if status in CANCELLED:
        return [], named
    # of an unpaid order there is nothing to be read, whatever else its webhook may be about
    return ([] if status == "UNPAID" else named), []


def _changed_at(notification: Notification) -> int:
    # only of this topic is it known that the time is the order's own
    return notification.update_time if isinstance(notification, OrderStatusChanged) else 0
