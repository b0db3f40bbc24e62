"""What the shops hold: products, orders, returns, videos and posts. Everything that is changed is read back changed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from capi_async.sandbox.platforms.tiktok_shop.model import SHOPS, Shop, money
from capi_async.sandbox.platforms.tiktok_shop.orders import (
    AWAITING_SHIPMENT,
    CANCELLED,
    RELAY,
    Line,
    Order,
    new_raw,
    status_data,
)

ADDRESSES: Mapping[str, Mapping[str, Any]] = {
    "US": {"region_code": "US", "postal_code": "95110", "phone_number": "(+1)213-***-1234", "name": "D***g",
           "first_name": "D***", "last_name": "g***", "district_info": [
               {"address_level": "L0", "address_level_name": "Country", "address_name": "United States"},
               {"address_level": "L1", "address_level_name": "State", "address_name": "California"},
               {"address_level": "L3", "address_level_name": "City", "address_name": "San Jose"}]},
    "JP": {"region_code": "JP", "postal_code": "1500001", "phone_number": "(+81)90****5678", "name": "山田 花***",
           "first_name": "花***", "last_name": "山田", "district_info": [
               {"address_level": "L0", "address_level_name": "Country", "address_name": "日本"},
               {"address_level": "L1", "address_level_name": "Prefecture", "address_name": "東京都"},
               {"address_level": "L2", "address_level_name": "City", "address_name": "渋谷区"}]},
    "ID": {"region_code": "ID", "postal_code": "12190", "phone_number": "(+62)812*****90", "name": "S*** W***",
           "first_name": "S***", "last_name": "W***", "district_info": [
               {"address_level": "L0", "address_level_name": "Country", "address_name": "Indonesia"},
               {"address_level": "L1", "address_level_name": "Province", "address_name": "DKI Jakarta"}]},
    "VN": {"region_code": "VN", "postal_code": "", "phone_number": "(+84)91*****12", "name": "Ng*** Ánh",
           "first_name": "Ánh", "last_name": "Ng***", "district_info": [
               {"address_level": "L0", "address_level_name": "Country", "address_name": "Việt Nam"},
               {"address_level": "L1", "address_level_name": "Province", "address_name": "Hồ Chí Minh"}]},
    "GB": {"region_code": "GB", "postal_code": "SW1A 1AA", "phone_number": "(+44)7911 123456", "name": "Zoë O’Brien",
           "first_name": "Zoë", "last_name": "O’Brien", "district_info": [
               {"address_level": "L0", "address_level_name": "Country", "address_name": "United Kingdom"},
               {"address_level": "L1", "address_level_name": "Nation", "address_name": "England"}]},
}  # fmt: skip


class Product(Struct):
    """A product, and what of its stock is promised to orders, by SKU."""

    raw: dict[str, Any]
    shop_id: str
    committed: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    def sku(self, sku_id: str) -> dict[str, Any] | None:
        """One SKU of it."""
        return next((sku for sku in self.raw["skus"] if sku["id"] == sku_id), None)


class Reversal(Struct):
    """A cancellation or a return, with its money."""

    id: str
    order: Order
    kind: str
    status: str
    amount: str
    time: int
    role: str = "BUYER"


class World:
    """All shops of one sandbox.

    Args:
        ids: Seeded source of ids.
        clock: Wall time in Unix seconds.
        notify: Sends a webhook: type, shop and data.
    """

    def __init__(
        self,
        ids: random.Random,
        clock: Callable[[], float],
        notify: Callable[[int, str, dict[str, Any]], object],
    ) -> None:
        self._ids = ids
        self._clock = clock
        self._notify = notify
        self._ago = 0.0
        self._quiet = False
        self.shops = {shop.id: shop for shop in SHOPS}
        self.products: dict[str, Product] = {}
        self.orders: dict[str, Order] = {}
        self.cancellations: dict[str, Reversal] = {}
        self.returns: dict[str, Reversal] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        self.posts: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}

    def now(self) -> float:
        """Wall time; earlier while the demo data are laid out."""
        return self._clock() - self._ago

    @contextlib.contextmanager
    def earlier(self, seconds: float) -> Iterator[None]:
        """Whatever happens inside happened that long ago, and nobody is told."""
        before = self._ago, self._quiet
        self._ago, self._quiet = seconds, True
        try:
            yield
        finally:
            self._ago, self._quiet = before

    def new_id(self, head: str, digits: int = 19) -> str:
        """A long id of digits, as the platform's are: beyond what a float can hold."""
        tail = digits - len(head)
        return f"{head}{self._ids.randrange(10**tail):0{tail}d}"

    def shop(self, which: str = "") -> Shop:
        """A shop by id, cipher or region; the first by default.

        Raises:
            ValueError: There is none such.
        """
        for shop in self.shops.values():
            if not which or which in (shop.id, shop.cipher, shop.region):
                return shop
        raise ValueError(f"no shop {which[:60]!r}; there are {', '.join(shop.region for shop in self.shops.values())}")

    def warehouses(self, shop: Shop) -> tuple[str, ...]:
        """Two in the US, else one."""
        number = list(self.shops).index(shop.id)
        first = f"70685172755397199{42 + 10 * number}"
        return (first, f"70685172755397199{43 + 10 * number}") if number == 0 else (first,)

    def find_sku(self, sku_id: str) -> tuple[Product, dict[str, Any]] | None:
        """A SKU of any shop."""
        for product in self.products.values():
            if sku := product.sku(sku_id):
                return product, sku
        return None

    def place_order(
        self,
        shop: str = "",
        *,
        lines: Sequence[Line] | None = None,
        value: str | None = None,
        paid: bool = False,
        on_hold: bool = False,
        cod: bool = False,
        email: str | None = RELAY,
        user_id: str | None = None,
        address: Mapping[str, Any] | None = None,
        shipping_fee: str = "0",
        tax: str = "0",
        seller_discount: str = "0",
        platform_discount: str = "0",
        currency: str = "",
        order_id: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> Order:
        """A buyer orders. The webhook says ``UNPAID``, and another one what comes next.

        Args:
            shop: Id, cipher or region.
            lines: What is bought; one unit of the shop's first product by default.
            value: Instead of the SKU's price: what the one unit costs, and so the total.
            paid: At once.
            on_hold: Goes on hold when paid.
            cod: Cash on delivery: goes to fulfilment unpaid.
            email: The buyer's relay alias; ``None`` leaves the field out.
            address: Recipient, instead of the region's usual one; shown from ``AWAITING_SHIPMENT`` on.
            currency: Instead of the shop's.
            fields: Further fields of the order as they are, such as ``{"is_sample_order": True}``.

        Raises:
            ValueError: Unknown shop or SKU, or an order id that is taken.
        """
        where = self.shop(shop)
        if order_id in self.orders:
            raise ValueError("there is an order with that id")
        chosen = list(lines) if lines is not None else [Line(self._first_sku(where), price=value)]
        money_of = currency or where.currency
        items = [item for line in chosen for item in self._units(line, money_of)]
        raw = new_raw(
            order_id or self.new_id("5764", 18),
            where,
            items,
            int(self.now()),
            user_id=user_id or self.new_id("70218"),
            email=email,
            address=address if address is not None else ADDRESSES[where.region],
            shipping_fee=shipping_fee,
            tax=tax,
            seller_discount=seller_discount,
            platform_discount=platform_discount,
            currency=money_of,
            flags={"is_cod": cod, "is_on_hold_order": on_hold, **(fields or {})},
        )
        order = self.orders[raw["id"]] = Order(raw, where, self.now, self._tell)
        for line in chosen:
            self._commit(order, line.sku_id, line.quantity)
        self._tell(1, order, None)
        if paid:
            order.pay()
        elif cod:
            order.set_status(AWAITING_SHIPMENT)
        return order

    def _first_sku(self, shop: Shop) -> str:
        product = next(product for product in self.products.values() if product.shop_id == shop.id)
        return str(product.raw["skus"][0]["id"])

    def _units(self, line: Line, currency: str) -> list[dict[str, Any]]:
        found = self.find_sku(line.sku_id)
        if found is None:
            raise ValueError("no such sku_id")
        product, sku = found
        price = "0" if line.gift else line.price or sku["price"]["sale_price"]
        unit = {
            "product_id": product.id,
            "product_name": product.raw["title"],
            "sku_id": sku["id"],
            "sku_name": sku.get("name", "Default"),
            "seller_sku": sku["seller_sku"],
            "sale_price": money(Decimal(price), currency),
            "original_price": money(Decimal(sku["price"]["sale_price"]), currency),
            "currency": currency,
            "is_gift": line.gift,
            "display_status": "UNPAID",
            "package_status": "TO_FULFILL",
        }
        return [{"id": self.new_id("5764", 18), **unit} for _ in range(line.quantity)]

    def _commit(self, order: Order, sku_id: str, quantity: int) -> None:
        found = self.find_sku(sku_id)
        if found is not None:
            product, sku = found
            product.committed[sku_id] = product.committed.get(sku_id, 0) + quantity
            taken = min(quantity, sku["inventory"][0]["quantity"])
            sku["inventory"][0]["quantity"] -= taken
            order.taken[sku_id] = order.taken.get(sku_id, 0) + taken

    def _tell(self, type_: int, order: Order, more: Any) -> None:
        data: dict[str, Any]
        match type_:
            case 1:
                data = status_data(order)
                if order.status in (CANCELLED, "IN_TRANSIT", "DELIVERED", "COMPLETED"):
                    self._let_go(order)
            case 11:
                data = self._cancelled(order, more)
            case 12:
                data = self._returned(order, more)
            case _:
                data = {"order_id": order.id, "update_time": order.raw["update_time"]}
        # The documentation does not list this status among those of the webhook.
        if not self._quiet and data.get("order_status") != "PARTIALLY_SHIPPING":
            self._notify(type_, order.shop.id, data)

    def _let_go(self, order: Order) -> None:
        # Stock that was promised leaves the shop, or goes back on the shelf.
        if order.settled:
            return
        for line in order.raw["line_items"]:
            found = self.find_sku(line["sku_id"])
            if found is None:
                continue
            product, sku = found
            product.committed[line["sku_id"]] = max(0, product.committed.get(line["sku_id"], 0) - 1)
            if order.status == CANCELLED:
                sku["inventory"][0]["quantity"] += order.taken.pop(line["sku_id"], 0)
        order.settled = True

    def _cancelled(self, order: Order, more: Mapping[str, Any]) -> dict[str, Any]:
        made = Reversal(
            self.new_id("4035", 18),
            order,
            "CANCEL",
            "CANCELLATION_REQUEST_COMPLETE",
            str(more["amount"]),
            int(self.now()),
            str(more["role"]),
        )
        self.cancellations[made.id] = made
        return {
            "order_id": order.id,
            "cancellations_role": made.role,
            "cancel_status": made.status,
            "cancel_id": made.id,
            "create_time": made.time,
        }

    def _returned(self, order: Order, more: Mapping[str, Any]) -> dict[str, Any]:
        amount = money(Decimal(str(more["amount"])), order.currency)
        status = "RETURN_OR_REFUND_REQUEST_COMPLETE"
        made = Reversal(self.new_id("4036", 18), order, str(more["kind"]), status, amount, int(self.now()))
        self.returns[made.id] = made
        return {
            "order_id": order.id,
            "return_role": made.role,
            "return_type": made.kind,
            "return_status": made.status,
            "return_id": made.id,
            "create_time": made.time,
            "update_time": made.time,
        }

    # Videos and posts.

    def add_video(
        self,
        shop_id: str,
        *,
        title: str,
        status: str = "PUBLISHED",
        product_ids: Sequence[str] = (),
        creator: str = "sandbox.creator",
        description: str = "",
    ) -> dict[str, Any]:
        """A video; only published ones have figures."""
        number = self._ids.randrange(200, 5_000)
        video: dict[str, Any] = {
            "id": self.new_id("7330"),
            "shop_id": shop_id,
            "title": title,
            "description": description,
            "status": status,
            "username": creator,
            "product_ids": list(product_ids),
            "time": int(self.now()),
            "views": number * 10,
            "likes": number,
        }
        self.videos[video["id"]] = video
        return video

    def add_post(
        self,
        shop_id: str,
        *,
        content: str,
        status: str = "PUBLISHED",
        media: Sequence[str] = (),
        product_ids: Sequence[str] = (),
        tags: Sequence[str] = (),
        scheduled_time: int | None = None,
    ) -> dict[str, Any]:
        """A post."""
        number = self._ids.randrange(20, 900)
        post: dict[str, Any] = {
            "id": self.new_id("7340"),
            "shop_id": shop_id,
            "content": content,
            "status": status,
            "media": list(media),
            "product_ids": list(product_ids),
            "tags": list(tags),
            "scheduled_time": scheduled_time,
            "time": int(self.now()),
            "views": number * 10,
            "likes": number,
        }
        self.posts[post["id"]] = post
        return post
