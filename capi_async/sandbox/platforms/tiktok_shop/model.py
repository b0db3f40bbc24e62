"""Names of the sandbox's shop world: credentials, shops, scopes, and amounts as the API writes them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

APP_KEY = "sandbox-app-key"
APP_SECRET = "sandbox-app-secret"  # noqa: S105 - public on purpose, like the token
SERVICE_ID = "7400000000000000001"
CREATOR_TOKEN = "sandbox-creator-token"  # noqa: S105 - as above

SELLER, CREATOR = 0, 1

SELLER_SCOPES = (
    "seller.authorization.info",
    "seller.product.basic",
    "seller.product.write",
    "seller.order.info",
    "seller.return_refund.basic",
    "data.shop_analytics.public.read",
)
CREATOR_SCOPES = ("creator.video.write",)

_WHOLE = frozenset({"IDR", "JPY", "VND"})


class Shop(Struct, frozen=True):
    """One shop.

    Attributes:
        cipher: What ``shop_cipher`` selects it by.
        seller: Whose it is; a token covers the shops of one seller.
        utc_offset_h: Hours of its registered time zone, in which analytics count days.
    """

    id: str
    cipher: str
    name: str
    region: str
    currency: str
    seller: str
    code: str
    utc_offset_h: int = 0
    seller_type: str = "CROSS_BORDER"


_SELLER, _OTHER = "7010736057180325637", "7010736057180325699"

SHOPS = (
    Shop("7495540735365777507", "ROW_xkMbgAAAeVAQra0eZWebFQq5aIK", "Sandbox Cards US", "US", "USD", _SELLER,
         "USLCSB0001", -8),
    Shop("7495540735365777508", "ROW_JPN0gAAAcardsra1bXWaaGQq6bJL", "サンドボックス・カード", "JP", "JPY", _SELLER,
         "JPLCSB0001", 9),
    Shop("7495540735365777509", "ROW_IDN0gAAAkartura2cYXbbHRr7cKM", "Toko Kartu Sandbox", "ID", "IDR", _SELLER,
         "IDLCSB0001", 7),
    Shop("7495540735365777510", "ROW_VNM0gAAAthe00ra3dZYccISs8dLN", "Thẻ bài Sandbox", "VN", "VND", _SELLER,
         "VNLCSB0001", 7),
    Shop("7494726673780148744", "ROW_GBR0gAAAother0r4eAZddJTt9eMO", "Another Seller’s Tea", "GB", "GBP", _OTHER,
         "GBLCSB0001", 0, "LOCAL"),
)  # fmt: skip

SELLERS = {_SELLER: "Sandbox Seller", _OTHER: "Another Seller"}
CREATOR_ID = "7021436810468230000"


def money(amount: Decimal, currency: str) -> str:
    """An amount as the API writes it: two decimals, none where the currency has none."""
    unit = Decimal(1) if currency in _WHOLE else Decimal("0.01")
    return str(amount.quantize(unit, ROUND_HALF_UP))
