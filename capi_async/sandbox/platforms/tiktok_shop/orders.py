"""Orders: how a test makes them, moves them, and how the API shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from capi_async.sandbox.platforms.tiktok_shop.model import Shop, money
from capi_async.sandbox.platforms.tiktok_shop.oddities import ODDITIES, Oddity, OddState, odd

UNPAID, ON_HOLD, AWAITING_SHIPMENT = "UNPAID", "ON_HOLD", "AWAITING_SHIPMENT"
PARTIALLY_SHIPPING, AWAITING_COLLECTION, IN_TRANSIT = "PARTIALLY_SHIPPING", "AWAITING_COLLECTION", "IN_TRANSIT"
DELIVERED, COMPLETED, CANCELLED = "DELIVERED", "COMPLETED", "CANCELLED"

STATUSES = (
    UNPAID,
    ON_HOLD,
    AWAITING_SHIPMENT,
    PARTIALLY_SHIPPING,
    AWAITING_COLLECTION,
    IN_TRANSIT,
    DELIVERED,
    COMPLETED,
    CANCELLED,
)

RELAY = "v2b2V5@chat.seller.tiktok.com"
# No address yet: an order that is not paid, or still inside the buyer's hour of remorse.
_WITHOUT_ADDRESS = (UNPAID, ON_HOLD)


class Line(Struct, frozen=True):
    """Units of one SKU.

    Attributes:
        sku_id: Of a product of the shop.
        price: For one unit, in major units; the SKU's own by default.
        gift: A present; costs nothing.
    """

    sku_id: str
    quantity: int = 1
    price: str | None = None
    gift: bool = False


class Order:
    """One order, live: every change is seen by the next read, and sends the webhooks that it would send.

    Changes take the sandbox's clock for ``update_time``.
    """

    def __init__(
        self, raw: dict[str, Any], shop: Shop, now: Callable[[], float], notify: Callable[[int, Order, Any], None]
    ) -> None:
        self.raw = raw
        self.shop = shop
        self._now = now
        self._notify = notify
        #: Its stock is no longer promised: it left, or went back.
        self.settled = False
        #: Units by SKU that the shelf had for it.
        self.taken: dict[str, int] = {}
        self._odd: OddState | None = None

    @property
    def id(self) -> str:
        """Its id: digits."""
        return str(self.raw["id"])

    @property
    def status(self) -> str:
        """As the API spells it; the webhook says ``CANCEL`` for ``CANCELLED``."""
        return str(self.raw["status"])

    @property
    def total_amount(self) -> str:
        """What the buyer pays, in major units of ``currency``."""
        return str(self.raw["payment"]["total_amount"])

    @property
    def currency(self) -> str:
        """ISO 4217."""
        return str(self.raw["payment"]["currency"])

    def shown(self, *, sparse: bool = False) -> dict[str, Any]:
        """What the API tells of it."""
        if sparse:
            return {key: self.raw[key] for key in ("id", "status", "create_time", "update_time")}
        hidden = ("recipient_address",) if self.status in _WITHOUT_ADDRESS else ()
        told = {key: value for key, value in self.raw.items() if key not in hidden and value is not None}
        if self._odd is None:
            return told
        told = odd(told, self._odd.kind)
        if self._odd.left is not None:
            self._odd.left -= 1
            if self._odd.left <= 0:
                self._odd = None
        return told

    def make_odd(self, kind: Oddity | None, *, readings: int | None = None) -> Order:
        """Tell it in an odd way from now on, or so many times; ``None`` tells it as it is again.

        Raises:
            ValueError: There is no such oddity.
        """
        if kind is not None and kind not in ODDITIES:
            raise ValueError(f"kind must be one of {', '.join(ODDITIES)}")
        self._odd = None if kind is None else OddState(kind, readings)
        return self

    # What happens to it.

    def pay(self) -> Order:
        """Paid; goes to fulfilment at once, or on hold where it was placed so."""
        self.raw["paid_time"] = int(self._now())
        return self.set_status(ON_HOLD if self.raw["is_on_hold_order"] else AWAITING_SHIPMENT)

    def hold(self) -> Order:
        """Paid, and inside the buyer's hour of remorse."""
        self.raw["is_on_hold_order"] = True
        return self.pay()

    def release(self) -> Order:
        """The hour is over."""
        self.raw["is_on_hold_order"] = False
        return self.set_status(AWAITING_SHIPMENT)

    def ship(self) -> Order:
        """Handed over."""
        return self.set_status(IN_TRANSIT)

    def deliver(self) -> Order:
        """With the buyer, who pays now if it was cash on delivery."""
        if self.raw["is_cod"] and not self.raw.get("paid_time"):
            self.raw["paid_time"] = int(self._now())
        return self.set_status(DELIVERED)

    def complete(self) -> Order:
        """The time for returns is over."""
        return self.set_status(COMPLETED)

    def cancel(self, *, by: str = "BUYER", reason: str = "No longer needed") -> Order:
        """Cancelled, all of it; a paid one is refunded, which another webhook tells."""
        refunded = bool(self.raw.get("paid_time"))
        self.raw |= {"cancel_reason": reason, "cancellation_initiator": by, "cancel_time": int(self._now())}
        for line in self.raw["line_items"]:
            line |= {"cancel_user": by, "cancel_reason": reason}
        self.set_status(CANCELLED)
        if refunded:
            self._tell(11, {"role": by, "amount": self.total_amount})
        return self

    def refund(self, amount: str | None = None, *, kind: str = "REFUND") -> Order:
        """A return that was refunded, whole by default; the status stays."""
        self._touch()
        self._tell(12, {"kind": kind, "amount": self.total_amount if amount is None else amount})
        return self

    def set_status(self, status: str) -> Order:
        """Any status, known or not."""
        self.raw["status"] = status
        for line in self.raw["line_items"]:
            line["display_status"] = status
        self._touch()
        self._tell(1, None)
        return self

    def change_address(self, **fields: str) -> Order:
        """Another ``recipient_address``; see the API for its fields."""
        self.raw["recipient_address"] = {**(self.raw["recipient_address"] or {}), **fields}
        self._touch()
        self._tell(3, None)
        return self

    def _touch(self) -> None:
        self.raw["update_time"] = int(self._now())

    def _tell(self, type_: int, more: Any) -> None:
        self._notify(type_, self, more)


def status_data(order: Order) -> dict[str, Any]:
    """What webhook 1 says; amounts, items and buyer are never in a webhook."""
    return {
        "is_on_hold_order": bool(order.raw["is_on_hold_order"]),
        "order_id": order.id,
        "order_status": "CANCEL" if order.status == CANCELLED else order.status,
        "update_time": order.raw["update_time"],
    }


def new_raw(
    order_id: str,
    shop: Shop,
    items: Sequence[Mapping[str, Any]],
    now: int,
    *,
    user_id: str,
    email: str | None,
    address: Mapping[str, Any] | None,
    shipping_fee: str,
    tax: str,
    seller_discount: str,
    platform_discount: str,
    currency: str,
    flags: Mapping[str, Any],
) -> dict[str, Any]:
    """A fresh, unpaid order as the API holds it; ``items`` has one entry per unit."""
    sub_total = sum((Decimal(item["sale_price"]) for item in items), Decimal(0))
    total = sub_total + Decimal(shipping_fee) + Decimal(tax)
    raw: dict[str, Any] = {
        "id": order_id,
        "status": UNPAID,
        "user_id": user_id,
        "buyer_email": email,
        "create_time": now,
        "update_time": now,
        "is_cod": False,
        "is_sample_order": False,
        "is_replacement_order": False,
        "is_exchange_order": False,
        "is_on_hold_order": False,
        "is_buyer_request_cancel": False,
        "commerce_platform": "TIKTOK_SHOP",
        "order_type": "NORMAL",
        "fulfillment_type": "FULFILLMENT_BY_SELLER",
        "shipping_type": "SELLER",
        "payment_method_name": "Credit card",
        "warehouse_id": "7068517275539719942",
        "payment": {
            "currency": currency,
            "sub_total": money(sub_total, currency),
            "shipping_fee": money(Decimal(shipping_fee), currency),
            "tax": money(Decimal(tax), currency),
            "seller_discount": money(Decimal(seller_discount), currency),
            "platform_discount": money(Decimal(platform_discount), currency),
            "total_amount": money(total, currency),
        },
        "recipient_address": None if address is None else dict(address),
        "line_items": [dict(item) for item in items],
    }
    return raw | dict(flags)
