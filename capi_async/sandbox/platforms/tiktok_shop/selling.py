"""Operations on shops, orders, cancellations, returns and webhook settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.envelope import Failure, parameter
from capi_async.sandbox.platforms.tiktok_shop.notifications import MAX_ADDRESS, TYPES
from capi_async.sandbox.platforms.tiktok_shop.orders import STATUSES, Order
from capi_async.sandbox.platforms.tiktok_shop.world import Reversal

NOT_YOURS = 21008111
MAX_IDS = 50


def authorized_shops(ask: Ask) -> dict[str, Any]:
    """``GET /authorization/202309/shops``."""
    return {
        "shops": [
            {
                "id": shop.id,
                "name": shop.name,
                "region": shop.region,
                "seller_type": shop.seller_type,
                "cipher": shop.cipher,
                "code": shop.code,
            }
            for shop in ask.world.shops.values()
            if shop.seller == ask.grant.owner
        ]
    }


def search_orders(ask: Ask) -> dict[str, Any]:
    """``POST /order/202309/orders/search``."""
    sort = ask.text("sort_field", ("create_time", "update_time"), "create_time")
    descending = ask.text("sort_order", ("ASC", "DESC"), "DESC") == "DESC"
    status = ask.text("order_status", STATUSES)
    shipping = ask.text("shipping_type", ("TIKTOK", "SELLER"))
    buyer = ask.text("buyer_user_id")
    houses = ask.texts("warehouse_ids", 100)
    wants_cancel = ask.body.get("is_buyer_request_cancel")
    within = _within(ask, ("create_time", "update_time"), upper="lt")
    found = [
        order
        for order in ask.world.orders.values()
        if order.shop.id == ask.shop.id
        and (not status or order.status == status)
        and (not shipping or order.raw["shipping_type"] == shipping)
        and (not buyer or order.raw["user_id"] == buyer)
        and (not houses or order.raw["warehouse_id"] in houses)
        and (wants_cancel is None or order.raw["is_buyer_request_cancel"] == wants_cancel)
        and within(order)
    ]
    page, beside = ask.page(found, lambda order: (order.raw[sort], order.id), filters=sort, descending=descending)
    return {"orders": [order.shown(sparse=ask.sparse) for order in page], **beside}


def get_orders(ask: Ask) -> dict[str, Any]:
    """``GET /order/202507/orders``: unknown ids are left out."""
    ids = [one for one in ask.query.get("ids", "").split(",") if one]
    if not ids:
        raise parameter("ids", "is missing")
    if len(ids) > MAX_IDS or not all(one.isdecimal() for one in ids):
        raise parameter("ids", f"must be up to {MAX_IDS} order ids")
    orders = [ask.world.orders[one] for one in ids if one in ask.world.orders]
    if any(order.shop.id != ask.shop.id for order in orders):
        raise Failure(NOT_YOURS, "the order does not belong to the current seller")
    return {"orders": [order.shown() for order in orders]}


def search_cancellations(ask: Ask) -> dict[str, Any]:
    """``POST /return_refund/202309/cancellations/search``."""
    page, beside = _reversals(ask, ask.world.cancellations, "cancel_ids", "cancel_status")
    cancellations = [
        {
            "cancel_id": one.id,
            "order_id": one.order.id,
            "cancel_status": one.status,
            "cancel_type": "CANCEL",
            "role": one.role,
            "cancel_reason_text": one.order.raw.get("cancel_reason", ""),
            "create_time": one.time,
            "update_time": one.time,
            "refund_amount": _refund(one),
        }
        for one in page
    ]
    return {"cancellations": cancellations, **beside}


def search_returns(ask: Ask) -> dict[str, Any]:
    """``POST /return_refund/202309/returns/search``."""
    page, beside = _reversals(ask, ask.world.returns, "return_ids", "return_status")
    returns = [
        {
            "return_id": one.id,
            "order_id": one.order.id,
            "return_type": one.kind,
            "return_status": one.status,
            "role": one.role,
            "create_time": one.time,
            "update_time": one.time,
            "refund_amount": _refund(one),
        }
        for one in page
    ]
    return {"return_orders": returns, **beside}


def list_webhooks(ask: Ask) -> dict[str, Any]:
    """``GET /event/202309/webhooks``."""
    names = {number: name for name, number in TYPES.items()}
    own = [
        {"event_type": names[one.types[0]], "address": one.address}
        for one in ask.webhooks.subscriptions()
        if one.app_key == ask.app.key and one.shop_id == ask.shop.id and one.types and one.types[0] in names
    ]
    return {"webhooks": own, "total_count": len(own)}


def set_webhook(ask: Ask) -> dict[str, Any]:
    """``PUT /event/202309/webhooks``."""
    address, name = ask.body.get("address"), ask.body.get("event_type")
    if not isinstance(address, str) or not address:
        raise parameter("body.address", "is missing")
    if len(address) > MAX_ADDRESS:
        raise parameter("body.address", f"is longer than {MAX_ADDRESS}")
    if not isinstance(name, str) or name not in TYPES:
        raise parameter("body.event_type")
    try:
        ask.webhooks.set_address(name, address, shop_id=ask.shop.id, app_key=ask.app.key)
    except ValueError as error:
        raise parameter("body.address", f"is invalid: {error}") from None
    return {}


def delete_webhook(ask: Ask) -> dict[str, Any]:
    """``DELETE /event/202309/webhooks``: a success even when nothing was set."""
    name = ask.body.get("event_type")
    if not isinstance(name, str) or name not in TYPES:
        raise parameter("body.event_type")
    ask.webhooks.remove(name, shop_id=ask.shop.id, app_key=ask.app.key)
    return {}


def _within(ask: Ask, names: tuple[str, ...], *, upper: str) -> Callable[[Order], bool]:
    bounds = [(name, ask.number(f"{name}_ge"), ask.number(f"{name}_{upper}")) for name in names]

    def fits(order: Order) -> bool:
        return all(
            (low is None or order.raw[name] >= low) and (high is None or order.raw[name] < high)
            for name, low, high in bounds
        )

    return fits


def _reversals(
    ask: Ask, known: dict[str, Reversal], ids_name: str, status_name: str
) -> tuple[list[Reversal], dict[str, Any]]:
    orders, ids, statuses = ask.texts("order_ids", 50), ask.texts(ids_name, 50), ask.texts(status_name, 50)
    bounds = [(ask.number(f"{name}_ge"), ask.number(f"{name}_lt")) for name in ("create_time", "update_time")]
    found = [
        one
        for one in known.values()
        if one.order.shop.id == ask.shop.id
        and (not orders or one.order.id in orders)
        and (not ids or one.id in ids)
        and (not statuses or one.status in statuses)
        and all((low is None or one.time >= low) and (high is None or one.time < high) for low, high in bounds)
    ]
    return ask.page(found, lambda one: (one.time, one.id), default_size=10, descending=True)


def _refund(one: Reversal) -> dict[str, str]:
    return {"currency": one.order.currency, "refund_total": one.amount, "refund_subtotal": one.amount}
