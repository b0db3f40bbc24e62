"""Products and their stock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.early import ready
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.endpoints import checked_id
from capi_async.sources.tiktok_shop.errors import TikTokShopNotFoundError, TikTokShopValidationError, error_of
from capi_async.sources.tiktok_shop.models import Inventory, Paged, Product
from capi_async.sources.tiktok_shop.operations.base import (
    Asking,
    Instant,
    Listed,
    check_page,
    decode,
    epoch,
    every,
    json_body,
    query_text,
)

#: The older contract's words; ``INACTIVE`` is two of the platform's, which filters by one at a time.
_STATUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "ACTIVE": ("ACTIVATE",),
    "INACTIVE": ("SELLER_DEACTIVATED", "PLATFORM_DEACTIVATED"),
}
#: Between a status and the platform's token, in the page token of a list that has two statuses.
_JOINT: Final = "|"
_MAX_PRODUCT_IDS: Final = 100
_MAX_SKU_IDS: Final = 600


@ready
class _Products(Listed, frozen=True):
    products: tuple[Product, ...] = ()


@ready
class _Stock(Struct, frozen=True):
    inventory: tuple[Inventory, ...] = ()


class _ExtraError(Struct, frozen=True):
    warehouse_id: str = ""
    code: int = 0
    message: str = ""


class _Detail(Struct, frozen=True):
    sku_id: str = ""
    extra_errors: tuple[_ExtraError, ...] = ()


class _PartError(Struct, frozen=True):
    code: int = 0
    message: str = ""
    detail: _Detail = _Detail()


@ready
class _Updated(Struct, frozen=True):
    errors: tuple[_PartError, ...] = ()


class ProductOperations(Asking):
    """Products and their stock."""

    async def get_products(
        self,
        page_size: int = 20,
        page_number: int = 1,
        status: str | None = None,
        search_query: str | None = None,
        *,
        page_token: str = "",
        seller_skus: Sequence[str] | None = None,
        sku_ids: Sequence[str] | None = None,
        create_time_ge: Instant | None = None,
        create_time_le: Instant | None = None,
        update_time_ge: Instant | None = None,
        update_time_le: Instant | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Paged[Product]:
        """One page of products. Official: ``POST /product/202502/products/search``.

        The platform refuses to go beyond 10,000 products per query; split by ``update_time``.

        Args:
            page_size: 1 to 100.
            page_number: The platform knows tokens only; page *n* costs up to *n* calls.
            status: ``DRAFT``, ``PENDING``, ``FAILED``, ``ACTIVATE``, ``SELLER_DEACTIVATED``, ``PLATFORM_DEACTIVATED``,
                ``FREEZE``, ``DELETED``, ``ALL``; or ``ACTIVE`` and ``INACTIVE``, which are translated.
            search_query: Part of a title. The platform has no such search: each page is filtered here, so it may
                hold fewer products than asked for, or none.
            page_token: From the page before, with all else unchanged.
            filters: Further fields of the platform's body, such as ``{"audit_status": ["APPROVED"]}``.

        Raises:
            TikTokShopValidationError: Before the call, or the platform's.
            TikTokShopAPIError: As for every operation.
        """
        check_page(page_size, page_number, page_token)
        statuses = _STATUSES.get(status or "", (status or "",))
        body = {
            "seller_skus": list(seller_skus) if seller_skus else None,
            "sku_ids": list(sku_ids) if sku_ids else None,
            "create_time_ge": epoch(create_time_ge, "create_time_ge"),
            "create_time_le": epoch(create_time_le, "create_time_le"),
            "update_time_ge": epoch(update_time_ge, "update_time_ge"),
            "update_time_le": epoch(update_time_le, "update_time_le"),
            **(filters or {}),
        }
        wanted = (search_query or "").casefold()

        async def fetch(token: str) -> Paged[Product]:
            now, rest = _split(token, statuses)
            query = query_text({"page_size": page_size, "page_token": rest})
            answer = await self._ask(
                endpoints.PRODUCTS, query=query, body=json_body({**body, "status": statuses[now] or None})
            )
            found = decode(answer, _Products)
            items = found.products
            if wanted:
                items = tuple([product for product in items if wanted in product.title.casefold()])
            return Paged(
                items=items,
                next_page_token=_join(found.next_page_token, now, statuses),
                total=found.total_count if not wanted and len(statuses) == 1 else None,
                request_id=answer.request_id,
            )

        if page_number == 1:
            return await fetch(page_token)
        key = ("products", page_size, statuses, wanted, msgspec.json.encode(body))
        return await self._pages.turn_to(key, page_number, fetch)

    def iter_products(self, *, page_size: int = 100, **filters: Any) -> AsyncIterator[Product]:
        """All products, page by page; arguments as :meth:`get_products`."""

        async def fetch(token: str) -> Paged[Product]:
            page: Paged[Product] = await self.get_products(page_size=page_size, page_token=token, **filters)
            return page

        return every(fetch)

    async def get_product(self, product_id: str, *, locale: str | None = None) -> Product:
        """One product with its SKUs, in which price and stock stand. Official: ``GET /product/202309/products/{id}``.

        Raises:
            TikTokShopNotFoundError: No such product; frozen and deleted ones count as none.
            TikTokShopAPIError: As for every operation.
        """
        ids = {"product_id": product_id}
        answer = await self._ask(endpoints.PRODUCT, ids=ids, query=query_text({"locale": locale}))
        product = decode(answer, Product)
        if not product.id:
            raise TikTokShopNotFoundError("no such product", request_id=answer.request_id)
        return product

    async def update_inventory(
        self,
        product_id: str,
        quantity: int | Mapping[str, int],
        sku_id: str | None = None,
    ) -> None:
        """Set how much of a SKU can be sold. Official: ``POST /product/202309/products/{id}/inventory/update``.

        It sets, it does not add. A backorder quantity that the SKU already has stays as it is. After a lost answer
        the call is repeated, which does no harm unless stock moved meanwhile.

        Args:
            quantity: Of the SKU's only warehouse; or of every one of its warehouses, by warehouse id.
            sku_id: May be left out if the product has one SKU only; then the product is read first.

        Raises:
            TikTokShopValidationError: The quantity is ambiguous, out of bounds, or refused; ``details`` says for what.
            TikTokShopNotFoundError: No such product or SKU.
            TikTokShopAPIError: As for every operation.
        """
        amounts = dict(quantity) if isinstance(quantity, Mapping) else None
        for amount in amounts.values() if amounts is not None else (quantity,):
            if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
                raise TikTokShopValidationError("quantity is a whole number, not below 0")
        if amounts is not None and not amounts:
            raise TikTokShopValidationError("quantity names no warehouse")
        if sku_id is None:
            product = await self.get_product(product_id)
            if len(product.skus) != 1:
                raise TikTokShopValidationError(f"the product has {len(product.skus)} SKUs: say which with sku_id")
            sku = product.skus[0]
            sku_id = sku.id
            if amounts is None and len(sku.inventory) > 1:
                raise TikTokShopValidationError(
                    f"the SKU lies in {len(sku.inventory)} warehouses: give a quantity for each, by warehouse id"
                )
        stock: list[dict[str, object]] = (
            [{"quantity": quantity}]
            if amounts is None
            else [{"warehouse_id": checked_id("warehouse_id", one), "quantity": it} for one, it in amounts.items()]
        )
        body = {"skus": [{"id": checked_id("sku_id", sku_id), "inventory": stock}]}
        answer = await self._ask(endpoints.UPDATE_INVENTORY, ids={"product_id": product_id}, body=json_body(body))
        _refuse_parts(decode(answer, _Updated), answer.request_id)

    async def get_inventory(self, product_id: str) -> Inventory:
        """The stock of one product, by SKU and warehouse. Official: ``POST /product/202309/inventory/search``.

        Raises:
            TikTokShopNotFoundError: No such product.
            TikTokShopAPIError: As for every operation.
        """
        found: tuple[Inventory, ...] = await self.get_inventories([product_id])
        for inventory in found:
            if inventory.product_id in (product_id, ""):
                return inventory
        raise TikTokShopNotFoundError("no such product")

    async def get_inventories(
        self, product_ids: Sequence[str] = (), *, sku_ids: Sequence[str] = ()
    ) -> tuple[Inventory, ...]:
        """The stock of several products. Official: ``POST /product/202309/inventory/search``.

        Args:
            product_ids: Up to 100.
            sku_ids: Up to 600; the platform then overlooks ``product_ids``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        if not (product_ids or sku_ids) or len(product_ids) > _MAX_PRODUCT_IDS or len(sku_ids) > _MAX_SKU_IDS:
            raise TikTokShopValidationError("1 to 100 product_ids, or 1 to 600 sku_ids")
        body = {
            "product_ids": [checked_id("product_id", one) for one in product_ids] or None,
            "sku_ids": [checked_id("sku_id", one) for one in sku_ids] or None,
        }
        return decode(await self._ask(endpoints.INVENTORY, body=json_body(body)), _Stock).inventory


def _split(token: str, statuses: Sequence[str]) -> tuple[int, str]:
    """Which of the statuses a page token belongs to, and the platform's own part of it."""
    if len(statuses) == 1:
        return 0, token
    number, _, rest = token.partition(_JOINT)
    return (int(number), rest) if number.isdigit() and int(number) < len(statuses) else (0, token)


def _join(token: str, now: int, statuses: Sequence[str]) -> str:
    if len(statuses) == 1:
        return token
    if token:
        return f"{now}{_JOINT}{token}"
    return f"{now + 1}{_JOINT}" if now + 1 < len(statuses) else ""


def _refuse_parts(updated: _Updated, request_id: str) -> None:
    """HTTP 200, code 0, and still not done: what could not be set stands inside the data."""
    if not updated.errors:
        return
    details = []
    for part in updated.errors:
        words = [part.message, *(extra.message for extra in part.detail.extra_errors)]
        where = f"SKU {part.detail.sku_id}: " if part.detail.sku_id else ""
        details.append(f"{where}{', '.join(word for word in words if word)}")
    first = updated.errors[0]
    code = next((extra.code for extra in first.detail.extra_errors if extra.code), first.code)
    error = error_of(first.code or code, first.message, http_status=200, request_id=request_id)
    if not isinstance(error, TikTokShopValidationError | TikTokShopNotFoundError):
        error = TikTokShopValidationError(error.message, code=first.code, http_status=200, request_id=request_id)
    if isinstance(error, TikTokShopValidationError):
        error.details = tuple(details)
    raise error
