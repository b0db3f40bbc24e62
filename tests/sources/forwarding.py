"""A shop in memory, and webhooks of it, for tests of the forwarder alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from capi_async import Client, Event
from capi_async.errors import CapiError
from capi_async.sources.tiktok_shop.forwarder import OrderForwarder
from capi_async.sources.tiktok_shop.models import Order
from capi_async.sources.tiktok_shop.webhooks import WebhookVerifier, sign_webhook
from tests.sources.orders import SHOP, order

KEY, SECRET = "68xu9ks5p4i8", "e59af819cc"

_notifications = itertools.count(7_380_066_284_010_030_000)


class Shelf:
    """Orders by id; ``failures`` are raised, one per call, before anything is answered."""

    def __init__(self, shop_id: str = SHOP) -> None:
        self.shop_id = shop_id
        self.orders: dict[str, Order] = {}
        self.failures: list[CapiError] = []
        #: Calls that are refused as a whole if they name one of these.
        self.refused: dict[str, CapiError] = {}
        self.detail_calls: list[list[str]] = []
        self.polls: list[int] = []

    async def selected_shop(self) -> None:
        self.shop_id = self.shop_id or SHOP

    def put(self, order_id: str, **changes: Any) -> Order:
        """An order that was paid just now, or that changed."""
        # a little later than now: a test may begin to forward in the next second
        now = int(time.time()) + 2
        times = {"create_time": now, "paid_time": now, "update_time": now}
        told = order(**{"id": order_id, **times, **changes})
        self.orders[order_id] = told
        return told

    async def iter_orders(
        self, *, update_time_ge: int, sort_field: str, sort_order: str, page_size: int
    ) -> AsyncIterator[Order]:
        assert (sort_field, sort_order) == ("update_time", "ASC")
        self.polls.append(update_time_ge)
        if self.failures:
            raise self.failures.pop(0)
        for one in sorted(self.orders.values(), key=lambda one: one.update_time):
            if one.update_time >= update_time_ge:
                # what is listed may be little more than ids
                yield Order(id=one.id, status=one.status, update_time=one.update_time)

    async def get_orders_by_id(self, order_ids: Sequence[str]) -> list[Order]:
        assert 1 <= len(order_ids) <= 50
        self.detail_calls.append(list(order_ids))
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        for order_id in order_ids:
            if order_id in self.refused:
                raise self.refused[order_id]
        return [self.orders[order_id] for order_id in order_ids if order_id in self.orders]


def verifier() -> WebhookVerifier:
    """Of the app that these webhooks belong to."""
    return WebhookVerifier(KEY, SECRET)


def webhook(
    order_id: str, status: str = "AWAITING_SHIPMENT", *, shop_id: str = SHOP, notification: str = "", age_s: float = 0
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an order's status webhook."""
    return signed(
        {
            "type": 1,
            "tts_notification_id": notification or str(next(_notifications)),
            "shop_id": shop_id,
            "timestamp": int(time.time() - age_s),
            "data": {"order_id": order_id, "order_status": status, "update_time": int(time.time())},
        }
    )


def signed(value: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of any webhook."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return body, {"Authorization": sign_webhook(body, app_key=KEY, app_secret=SECRET)}


async def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return as soon as the condition holds."""
    async with asyncio.timeout(within_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


class Taker:
    """Takes purchases as a client with a remembering spool does, and sends them nowhere."""

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.taken: list[Event] = []
        #: Raised, one per call, before anything is taken.
        self.failures: list[Exception] = []

    @property
    def orders(self) -> list[str]:
        """Numbers of the orders whose purchase was taken, copies included, in their order."""
        return [event.order_id or "" for event in self.taken]

    async def send(self, event: Event, *, timeout_s: float = 5.0) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(event)

    async def accepted_before(self, event_ids: Sequence[str]) -> frozenset[str]:
        return frozenset({event.event_id for event in self.taken} & set(event_ids))


def forwarding(shop: Shelf | Sequence[Shelf], taker: Taker, **options: Any) -> OrderForwarder:
    """A forwarder between the two; orders come by webhooks and by polls that are asked for."""
    return OrderForwarder(
        shop,
        cast("Client", taker),
        **{"share": ["buyer_id"], "webhooks": verifier(), "poll_every_s": 600.0, "lookback_s": 60.0, **options},
    )
