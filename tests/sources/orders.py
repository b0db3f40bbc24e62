"""An order as TikTok Shop tells it, for tests to change."""

from __future__ import annotations

from typing import Any

from capi_async.sources.tiktok_shop.models import Order, read

SHOP = "7495540735365777507"
ORDER = "576461413038785752"


def line(number: int, **changes: Any) -> dict[str, Any]:
    """One unit of one article."""
    return {
        "id": str(number),
        "product_id": "1729582718312380123",
        "sku_id": "2729382476852921560",
        "product_name": "Card binder",
        "sale_price": "20.00",
        "currency": "USD",
        "is_gift": False,
        **changes,
    }


def detail(**changes: Any) -> dict[str, Any]:
    """Order detail with a masked address, a relay address, two equal pieces, another one and a gift."""
    return {
        "id": ORDER,
        "status": "AWAITING_SHIPMENT",
        "user_id": "7021436810468230477",
        "create_time": 1718305585,
        "paid_time": 1718305600,
        "update_time": 1718309180,
        "buyer_email": "v2b2V5@chat.seller.tiktok.com",
        "is_cod": False,
        "is_sample_order": False,
        "is_on_hold_order": False,
        "commerce_platform": "TIKTOK_SHOP",
        "order_type": "NORMAL",
        "payment": {
            "currency": "USD",
            "sub_total": "50.00",
            "shipping_fee": "4.99",
            "tax": "4.40",
            "total_amount": "59.39",
        },
        "recipient_address": {
            "region_code": "US",
            "postal_code": "95110",
            "phone_number": "(+1)213-***-1234",
            "name": "D***g",
            "first_name": "D***",
            "last_name": "***g",
        },
        "line_items": [
            line(1),
            line(2),
            line(
                3,
                product_id="1729582718312380124",
                sku_id="2729382476852921561",
                product_name="Sleeves",
                sale_price="10.00",
            ),
            line(
                4,
                product_id="1729582718312380125",
                sku_id="2729382476852921562",
                product_name="Sticker",
                sale_price="0.00",
                is_gift=True,
            ),
        ],
        **changes,
    }


def order(**changes: Any) -> Order:
    """The same, read."""
    return read(detail(**changes), Order)
