"""One shop of a forwarder: what its poller and its worker share. Shops have nothing of this in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from capi_async.client import Client
from capi_async.clock import Clock
from capi_async.sources.tiktok_shop.forwarder_settings import ForwarderSettings
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.state.base import ForwarderState
from capi_async.sources.tiktok_shop.tally import Tally, Troubles

logger = logging.getLogger(__name__)


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


class Lane:
    """One shop on its way to the client.

    Attributes:
        begun: Orders paid before this are left alone; seconds since the epoch.
        recovering: The state knew nothing of this shop, and the spool has not been asked yet.
        turn: Held by the one shop of this forwarder that hands over.
        news: Set when an order of this shop may have become due.
    """

    def __init__(
        self,
        source: OrderSource,
        client: Client,
        state: ForwarderState,
        settings: ForwarderSettings,
        *,
        clock: Clock,
        tally: Tally,
        troubles: Troubles,
        turn: asyncio.Lock,
        begun: float,
        recovering: bool,
    ) -> None:
        self.source = source
        self.shop_id = source.shop_id
        self.client = client
        self.state = state
        self.settings = settings
        self.clock = clock
        self.tally = tally
        self.troubles = troubles
        self.turn = turn
        self.begun = begun
        self.recovering = recovering
        self.news = asyncio.Event()

    def wake(self) -> None:
        """An order may be due."""
        self.news.set()

    async def note_cancelled(self, order_ids: Sequence[str]) -> None:
        """Count those that were cancelled behind their purchase."""
        orders = [(self.shop_id, order_id) for order_id in order_ids]
        self.tell_cancelled(await self.state.cancel(orders, at=self.clock.wall()))

    def tell_cancelled(self, event_ids: Sequence[str]) -> None:
        """Their purchases are with the client, and cannot be taken back."""
        self.tally.cancelled += len(event_ids)
        for event_id in event_ids:
            order_id = event_id.rpartition(":")[2]
            logger.info(
                "order %s was cancelled after its purchase had been forwarded", order_id, extra={"order": order_id}
            )
