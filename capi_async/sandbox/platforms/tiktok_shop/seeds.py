"""Demo data: a dozen products and the orders of a week, in dollars, yen, rupiah, dong and pounds."""

from __future__ import annotations

from typing import Any

from capi_async.sandbox.checks import DAY, HOUR
from capi_async.sandbox.platforms.tiktok_shop.model import Shop
from capi_async.sandbox.platforms.tiktok_shop.orders import Line, Order
from capi_async.sandbox.platforms.tiktok_shop.world import Product, World

_SOCKS, _BINDER = "1729592969712207008", "1729582718312380123"

# (shop, product id, title, status, ((sku id, seller sku, name, price, stock), ...))
_PRODUCTS: tuple[tuple[str, str, str, str, tuple[tuple[str, str, str, str, int], ...]], ...] = (
    ("US", _BINDER, "Card binder", "ACTIVATE", (("2729382476852921560", "BINDER-9", "9 pockets", "20.00", 120),)),
    ("US", "1729582718312380124", "Sleeves", "ACTIVATE", (("2729382476852921561", "SLV-100", "100", "10.00", 999),)),
    ("US", "1729582718312380125", "Sticker", "ACTIVATE", (("2729382476852921562", "", "Default", "3.50", 500),)),
    ("US", _SOCKS, "Short Boat Invisible Socks", "ACTIVATE",
     (("1729592969712207012", "Color-Red-XM01", "Red", "12.10", 999),
      ("1729592969712207013", "Color-Blue-XM02", "Blue", "12.10", 40))),
    ("US", "1729592969712207020", "Café mug – limited edition ☕", "SELLER_DEACTIVATED",
     (("1729592969712207021", "MUG-LE", "350 ml", "24.99", 0),)),
    ("US", "1729592969712207030", "Playmat (draft)", "DRAFT",
     (("1729592969712207031", "MAT-1", "60 cm", "30.00", 10),)),
    ("JP", "1729592969712208001", "ピカチュウ カードスリーブ", "ACTIVATE",
     (("1729592969712208011", "JP-SLV", "60枚入り", "880", 300),)),
    ("JP", "1729592969712208002", "折り紙セット「鶴」", "ACTIVATE",
     (("1729592969712208012", "JP-ORI", "100枚", "1650", 75),)),
    ("JP", "1729592969712208003", "抹茶カップ 🍵", "ACTIVATE", (("1729592969712208013", "JP-CUP", "緑", "2400", 12),)),
    ("ID", "1729592969712209001", "Kaos batik pria", "ACTIVATE",
     (("1729592969712209011", "ID-BTK-M", "M", "149000", 60), ("1729592969712209012", "ID-BTK-L", "L", "149000", 58))),
    ("ID", "1729592969712209002", "Kopi Gayo 250 g", "ACTIVATE",
     (("1729592969712209013", "ID-KOPI", "250 g", "89500", 200),)),
    ("VN", "1729592969712210001", "Nón lá thủ công", "ACTIVATE",
     (("1729592969712210011", "VN-NON", "Lớn", "185000", 35),)),
    ("VN", "1729592969712210002", "Cà phê sữa đá hòa tan", "ACTIVATE",
     (("1729592969712210012", "VN-CFSD", "Hộp 18 gói", "62000", 400),)),
    ("GB", "1729592969712211001", "Earl Grey – loose leaf", "ACTIVATE",
     (("1729592969712211011", "GB-EG", "250 g", "8.95", 90),)),
)  # fmt: skip


def lay_out(world: World) -> None:
    """Fill an empty world."""
    for region, product_id, title, status, skus in _PRODUCTS:
        with world.earlier(30 * DAY):
            world.products[product_id] = _product(world, world.shop(region), product_id, title, status, skus)
    _orders(world)
    _content(world)


def _product(
    world: World,
    shop: Shop,
    product_id: str,
    title: str,
    status: str,
    skus: tuple[tuple[str, str, str, str, int], ...],
) -> Product:
    houses = world.warehouses(shop)
    # Only the binder lies in two places.
    stocked = houses if product_id == _BINDER else houses[:1]
    now = int(world.now())
    raw: dict[str, Any] = {
        "id": product_id,
        "title": title,
        "status": status,
        "description": f"<p>{title}</p>",
        "category_chains": [{"id": "600001", "parent_id": "0", "local_name": "Hobby", "is_leaf": True}],
        "brand": {"id": "7082427311584347905", "name": "Sandbox"},
        "main_images": [{"uri": f"tos-sandbox/{product_id}", "width": 600, "height": 600}],
        "sales_regions": [shop.region],
        "create_time": now,
        "update_time": now,
        "skus": [
            {
                "id": sku_id,
                "seller_sku": seller_sku,
                "name": name,
                "sales_attributes": [{"id": "100000", "name": "Variant", "value_name": name}],
                "price": {"currency": shop.currency, "tax_exclusive_price": price, "sale_price": price},
                "inventory": [
                    {"warehouse_id": house, "quantity": stock if index == 0 else 15}
                    for index, house in enumerate(stocked)
                ],
                "status_info": {"status": "NORMAL"},
            }
            for sku_id, seller_sku, name, price, stock in skus
        ],
    }
    return Product(raw, shop.id)


def _orders(world: World) -> None:
    def order(ago_h: float, shop: str, *steps: str, **options: Any) -> Order:
        with world.earlier(ago_h * HOUR):
            made = world.place_order(shop, **options)
        for number, step in enumerate(steps, 1):
            with world.earlier(max(0.0, ago_h * HOUR - number * 600)):
                getattr(made, step)()
        return made

    example = (
        Line("2729382476852921560", 2),
        Line("2729382476852921561"),
        Line("2729382476852921562", gift=True),
    )
    order(
        30, "US", "pay", order_id="576461413038785752", user_id="7021436810468230477", lines=example,
        shipping_fee="4.99", tax="4.40",
    )  # fmt: skip
    order(0.2, "US", lines=[Line("1729592969712207012")])
    order(0.5, "US", "hold", lines=[Line("1729592969712207013", 2)], tax="2.06")
    order(50, "US", "pay", "ship", lines=[Line("2729382476852921561", 3)], shipping_fee="4.99", email=None)
    order(
        90,
        "US",
        "pay",
        "ship",
        "deliver",
        lines=[Line("2729382476852921560")],
        tax="1.80",
        email="k3P9x@chat.seller.tiktok.com",
    )
    order(160, "US", "pay", "ship", "deliver", "complete", lines=[Line("1729592969712207012", 4)])
    order(40, "US", "pay", "cancel", lines=[Line("2729382476852921562", 2)])
    order(20, "US", "cancel", lines=[Line("2729382476852921561")])
    order(60, "US", "pay", lines=[Line("2729382476852921562", price="0")], fields={"is_sample_order": True})
    order(26, "JP", "pay", lines=[Line("1729592969712208011", 3)], shipping_fee="550", tax="319")
    order(70, "JP", "pay", "ship", lines=[Line("1729592969712208012"), Line("1729592969712208013")])
    order(12, "ID", "pay", lines=[Line("1729592969712209011", 2)], shipping_fee="18000")
    order(
        100, "ID", "pay", "ship", "deliver", lines=[Line("1729592969712209013", 5)],
        fields={"commerce_platform": "TOKOPEDIA"},
    )  # fmt: skip
    order(8, "VN", lines=[Line("1729592969712210011")], shipping_fee="22000", cod=True)
    order(80, "VN", "ship", "deliver", lines=[Line("1729592969712210012", 2)], cod=True)
    order(48, "GB", "pay", lines=[Line("1729592969712211011", 2)], shipping_fee="2.99")
    returned = order(130, "US", "pay", "ship", "deliver", lines=[Line("1729592969712207012", 2)])
    with world.earlier(20 * HOUR):
        returned.refund("12.10")


def _content(world: World) -> None:
    for number, (title, status, product) in enumerate(
        (
            ("Unboxing: card binder", "PUBLISHED", _BINDER),
            ("靴下を3秒で — socks in 3 s", "PUBLISHED", _SOCKS),
            ("How we pack", "DRAFT", ""),
        ),
        1,
    ):
        with world.earlier(number * 36 * HOUR):
            world.add_video(world.shop().id, title=title, status=status, product_ids=[product] if product else [])
    for number, (content, status) in enumerate((("New sleeves are in! ✨", "PUBLISHED"), ("Coming soon…", "DRAFT")), 1):
        with world.earlier(number * 30 * HOUR):
            world.add_post(world.shop().id, content=content, status=status)
