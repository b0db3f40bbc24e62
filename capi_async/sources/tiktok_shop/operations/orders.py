"""Orders, and what was taken back of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from capi_async.early import ready
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.endpoints import checked_id
from capi_async.sources.tiktok_shop.errors import TikTokShopNotFoundError, TikTokShopValidationError
from capi_async.sources.tiktok_shop.models import Cancellation, Order, Paged, Return
from capi_async.sources.tiktok_shop.operations.base import (
    Asking,
    Instant,
    Listed,
    any_of,
    check_page,
    check_span,
    decode,
    epoch,
    every,
    json_body,
    page_of,
    query_text,
)

#: Orders per detail call.
MAX_ORDER_IDS: Final = 50


@ready
class _Orders(Listed, frozen=True):
    orders: tuple[Order, ...] = ()


@ready
class _Cancellations(Listed, frozen=True):
    cancellations: tuple[Cancellation, ...] = ()


@ready
class _Returns(Listed, frozen=True):
    return_orders: tuple[Return, ...] = ()


class OrderOperations(Asking):
    """Orders, and what was taken back of them."""

    async def get_orders(
        self,
        page_size: int = 20,
        page_number: int = 1,
        order_status: str | None = None,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        *,
        page_token: str = "",
        update_time_ge: Instant | None = None,
        update_time_lt: Instant | None = None,
        sort_field: str = "create_time",
        sort_order: str = "DESC",
        filters: Mapping[str, Any] | None = None,
    ) -> Paged[Order]:
        """One page of orders. Official: ``POST /order/202309/orders/search``.

        Some integrators saw little more than ids here: read an order with :meth:`get_order` before acting on it.

        Args:
            page_size: 1 to 100.
            page_number: The platform knows tokens only; page *n* costs up to *n* calls.
            order_status: Such as ``AWAITING_SHIPMENT``; see :class:`~capi_async.sources.tiktok_shop.models.Order`.
            start_time, end_time: When the order was made, the end exclusive; seconds since the epoch or datetimes.
            page_token: From the page before, with all else unchanged.
            update_time_ge, update_time_lt: When it last changed; what a poller asks for.
            sort_field: ``create_time`` or ``update_time``.
            sort_order: ``DESC`` or ``ASC``.
            filters: Further fields of the platform's body, such as ``{"shipping_type": "SELLER"}``.

        Raises:
            TikTokShopValidationError: Before the call, or the platform's.
            TikTokShopAPIError: As for every operation.
        """
        check_page(page_size, page_number, page_token)
        any_of(sort_field, "sort_field", ("create_time", "update_time"))
        any_of(sort_order, "sort_order", ("ASC", "DESC"))
        made_ge, made_lt = epoch(start_time, "start_time"), epoch(end_time, "end_time")
        changed_ge, changed_lt = epoch(update_time_ge, "update_time_ge"), epoch(update_time_lt, "update_time_lt")
        check_span(made_ge, made_lt)
        check_span(changed_ge, changed_lt)
        body = json_body(
            {
                "order_status": order_status or None,
                "create_time_ge": made_ge,
                "create_time_lt": made_lt,
                "update_time_ge": changed_ge,
                "update_time_lt": changed_lt,
                **(filters or {}),
            }
        )
        order = {"page_size": page_size, "sort_field": sort_field, "sort_order": sort_order}

        async def fetch(token: str) -> Paged[Order]:
            answer = await self._ask(endpoints.ORDERS, query=query_text({**order, "page_token": token}), body=body)
            found = decode(answer, _Orders)
            return page_of(found.orders, found, answer)

        if page_number == 1:
            return await fetch(page_token)
        return await self._pages.turn_to(("orders", *order.values(), body.data), page_number, fetch)

    def iter_orders(self, *, page_size: int = 100, **filters: Any) -> AsyncIterator[Order]:
        """All orders, page by page; arguments as :meth:`get_orders`.

        An order that changes while its list is read by ``update_time`` may come twice.
        """

        async def fetch(token: str) -> Paged[Order]:
            page: Paged[Order] = await self.get_orders(page_size=page_size, page_token=token, **filters)
            return page

        return every(fetch)

    async def get_order(self, order_id: str) -> Order:
        """One order. Official: ``GET /order/202507/orders?ids=``.

        Raises:
            TikTokShopNotFoundError: No such order in this shop.
            TikTokShopAPIError: As for every operation.
        """
        found: tuple[Order, ...] = await self.get_orders_by_id([order_id])
        for order in found:
            if order.id == str(order_id):
                return order
        raise TikTokShopNotFoundError("no such order in this shop")

    async def get_orders_by_id(self, order_ids: Sequence[str]) -> tuple[Order, ...]:
        """Up to 50 orders; unknown ones are missing. Official: ``GET /order/202507/orders?ids=``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        if not 0 < len(order_ids) <= MAX_ORDER_IDS:
            raise TikTokShopValidationError(f"1 to {MAX_ORDER_IDS} order_ids")
        ids = [checked_id("order_id", one) for one in dict.fromkeys(order_ids)]
        return decode(await self._ask(endpoints.ORDER, query=query_text({"ids": ids})), _Orders).orders

    async def get_cancellations(
        self,
        *,
        order_ids: Sequence[str] = (),
        cancel_ids: Sequence[str] = (),
        page_size: int = 20,
        page_token: str = "",
        filters: Mapping[str, Any] | None = None,
    ) -> Paged[Cancellation]:
        """Cancelled orders and what they gave back. Official: ``POST /return_refund/202309/cancellations/search``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """  # fmt: skip
        check_page(page_size, 1, page_token)
        body = json_body(
            {"order_ids": list(order_ids) or None, "cancel_ids": list(cancel_ids) or None, **(filters or {})}
        )
        query = query_text({"page_size": page_size, "page_token": page_token})
        answer = await self._ask(endpoints.CANCELLATIONS, query=query, body=body)
        found = decode(answer, _Cancellations)
        return page_of(found.cancellations, found, answer)

    async def get_returns(
        self,
        *,
        order_ids: Sequence[str] = (),
        return_ids: Sequence[str] = (),
        page_size: int = 20,
        page_token: str = "",
        filters: Mapping[str, Any] | None = None,
    ) -> Paged[Return]:
        """Returns and refunds. Official: ``POST /return_refund/202309/returns/search``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """  # fmt: skip
        check_page(page_size, 1, page_token)
        body = json_body(
            {"order_ids": list(order_ids) or None, "return_ids": list(return_ids) or None, **(filters or {})}
        )
        query = query_text({"page_size": page_size, "page_token": page_token})
        answer = await self._ask(endpoints.RETURNS, query=query, body=body)
        found = decode(answer, _Returns)
        return page_of(found.return_orders, found, answer)
