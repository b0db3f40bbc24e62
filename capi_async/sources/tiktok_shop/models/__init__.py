"""What TikTok Shop answers, as structs. Read leniently: it is somebody else's format and it grows.

Unknown fields are ignored, every status is plain text (a new one is no error), ids are text even where the platform
sends numbers, amounts are ``Decimal`` in major units (JPY, IDR and VND come without decimals), times are seconds
since the Unix epoch, ``None`` or 0 where absent. A value that cannot be read counts as absent; only a list of orders
that is no list is an error.

Source: Partner Center, the pages of the operations, copies of 2025-12 and 2026.
"""

from __future__ import annotations

from capi_async.sources.tiktok_shop.models.account import Shop, TokenSet
from capi_async.sources.tiktok_shop.models.base import Amount, Id, Model, Paged, Time
from capi_async.sources.tiktok_shop.models.catalogue import (
    Brand,
    Category,
    Image,
    Inventory,
    InventoryItem,
    Price,
    Product,
    SalesAttribute,
    Sku,
    SkuStock,
    StatusInfo,
    WarehouseStock,
)
from capi_async.sources.tiktok_shop.models.orders import (
    Cancellation,
    District,
    LineItem,
    Order,
    Payment,
    RecipientAddress,
    RefundAmount,
    Return,
)
from capi_async.sources.tiktok_shop.models.reading import read

__all__ = [
    "Amount",
    "Brand",
    "Cancellation",
    "Category",
    "District",
    "Id",
    "Image",
    "Inventory",
    "InventoryItem",
    "LineItem",
    "Model",
    "Order",
    "Paged",
    "Payment",
    "Price",
    "Product",
    "RecipientAddress",
    "RefundAmount",
    "Return",
    "SalesAttribute",
    "Shop",
    "Sku",
    "SkuStock",
    "StatusInfo",
    "Time",
    "TokenSet",
    "WarehouseStock",
    "read",
]
