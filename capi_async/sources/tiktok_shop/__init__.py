"""A TikTok Shop as a source of orders: OAuth, the signed client, webhooks, and orders as conversion events.

Nothing here is loaded by ``import capi_async``; each name below is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from capi_async.sources.tiktok_shop.client import TikTokShop, WebhookSetting
    from capi_async.sources.tiktok_shop.errors import (
        TikTokShopAPIError,
        TikTokShopAuthError,
        TikTokShopNetworkError,
        TikTokShopNotFoundError,
        TikTokShopRateLimitError,
        TikTokShopServerError,
        TikTokShopUnsupportedError,
        TikTokShopValidationError,
        TokenStoreError,
    )
    from capi_async.sources.tiktok_shop.events import (
        AuthorizationExpiring,
        CancellationChanged,
        Notification,
        OrderStatusChanged,
        RecipientAddressUpdated,
        ReturnChanged,
        SellerDeauthorized,
    )
    from capi_async.sources.tiktok_shop.figures import Metrics, Performance, Post, Video
    from capi_async.sources.tiktok_shop.forwarder import BusyError, ForwarderClosed, ForwarderCounts, OrderForwarder
    from capi_async.sources.tiktok_shop.models import (
        Inventory,
        LineItem,
        Order,
        Paged,
        Payment,
        Product,
        RecipientAddress,
        Shop,
        Sku,
        TokenSet,
    )
    from capi_async.sources.tiktok_shop.oauth import authorize_url, new_state, read_callback
    from capi_async.sources.tiktok_shop.orders import event_id_of, order_to_event
    from capi_async.sources.tiktok_shop.token_file import EncryptedFileTokens
    from capi_async.sources.tiktok_shop.tokens import MemoryTokens, TokenStore
    from capi_async.sources.tiktok_shop.web import aiohttp_handler, fastapi_route, starlette_route
    from capi_async.sources.tiktok_shop.webhooks import (
        MalformedWebhookError,
        SignatureError,
        StaleWebhookError,
        WebhookError,
        WebhookVerifier,
        verify_webhook,
    )

__all__ = [
    "AuthorizationExpiring",
    "BusyError",
    "CancellationChanged",
    "EncryptedFileTokens",
    "ForwarderClosed",
    "ForwarderCounts",
    "Inventory",
    "LineItem",
    "MalformedWebhookError",
    "MemoryTokens",
    "Metrics",
    "Notification",
    "Order",
    "OrderForwarder",
    "OrderStatusChanged",
    "Paged",
    "Payment",
    "Performance",
    "Post",
    "Product",
    "RecipientAddress",
    "RecipientAddressUpdated",
    "ReturnChanged",
    "SellerDeauthorized",
    "Shop",
    "SignatureError",
    "Sku",
    "StaleWebhookError",
    "TikTokShop",
    "TikTokShopAPIError",
    "TikTokShopAuthError",
    "TikTokShopNetworkError",
    "TikTokShopNotFoundError",
    "TikTokShopRateLimitError",
    "TikTokShopServerError",
    "TikTokShopUnsupportedError",
    "TikTokShopValidationError",
    "TokenSet",
    "TokenStore",
    "TokenStoreError",
    "Video",
    "WebhookError",
    "WebhookSetting",
    "WebhookVerifier",
    "aiohttp_handler",
    "authorize_url",
    "event_id_of",
    "fastapi_route",
    "new_state",
    "order_to_event",
    "read_callback",
    "starlette_route",
    "verify_webhook",
]

#: Where each public name is made.
_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "client": ("TikTokShop", "WebhookSetting"),
    "errors": (
        "TikTokShopAPIError", "TikTokShopAuthError", "TikTokShopNetworkError", "TikTokShopNotFoundError",
        "TikTokShopRateLimitError", "TikTokShopServerError", "TikTokShopUnsupportedError", "TikTokShopValidationError",
        "TokenStoreError",
    ),
    "figures": ("Metrics", "Performance", "Post", "Video"),
    "models": (
        "Inventory", "LineItem", "Order", "Paged", "Payment", "Product", "RecipientAddress", "Shop", "Sku", "TokenSet",
    ),
    "events": (
        "AuthorizationExpiring", "CancellationChanged", "Notification", "OrderStatusChanged", "RecipientAddressUpdated",
        "ReturnChanged", "SellerDeauthorized",
    ),
    "forwarder": ("BusyError", "ForwarderClosed", "ForwarderCounts", "OrderForwarder"),
    "orders": ("event_id_of", "order_to_event"),
    "web": ("aiohttp_handler", "fastapi_route", "starlette_route"),
    "webhooks": (
        "MalformedWebhookError", "SignatureError", "StaleWebhookError", "WebhookError", "WebhookVerifier",
        "verify_webhook",
    ),
    "oauth": ("authorize_url", "new_state", "read_callback"),
    "token_file": ("EncryptedFileTokens",),
    "tokens": ("MemoryTokens", "TokenStore"),
}  # fmt: skip
_MODULES: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if module := _MODULES.get(name):
        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
