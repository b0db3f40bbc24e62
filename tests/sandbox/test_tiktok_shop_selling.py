"""TikTok Shop: shops, orders, reversals, products and stock, as the API shows them."""

from __future__ import annotations

import pytest

from capi_async.sandbox.platforms.tiktok_shop import Line
from tests.sandbox.shop import EXAMPLE, ORDER, ORDERS, US_ID, Caller

SHOPS = "/authorization/202309/shops"
PRODUCTS = "/product/202502/products/search"
INVENTORY = "/product/202309/inventory/search"
BINDER, SOCKS = "1729582718312380123", "1729592969712207008"
RED = "1729592969712207012"


def stock_path(product_id: str) -> str:
    return f"/product/202309/products/{product_id}/inventory/update"


async def everything(caller: Caller, path: str, name: str, body=None, **query: str):
    """All pages, one after the other."""
    found, token = [], {}
    while True:
        data = await caller.data("POST", path, body or {}, **query, **token)
        found += data[name]
        if not data["next_page_token"]:
            return found, data["total_count"]
        token = {"page_token": data["next_page_token"]}


# Shops.


async def test_token_lists_the_shops_of_its_seller(caller):
    """With the cipher of each."""
    shops = (await caller.data("GET", SHOPS, shop_cipher=...))["shops"]
    assert [shop["region"] for shop in shops] == ["US", "JP", "ID", "VN"]
    assert shops[0] == {
        "id": US_ID, "name": "Sandbox Cards US", "region": "US", "seller_type": "CROSS_BORDER",
        "cipher": caller.cipher, "code": "USLCSB0001",
    }  # fmt: skip
    caller.token = caller.shop.grant("GB").access_token
    (shop,) = (await caller.data("GET", SHOPS, shop_cipher=...))["shops"]
    assert (shop["region"], shop["seller_type"]) == ("GB", "LOCAL")


# Orders.


async def test_demo_orders_have_the_shape_of_the_documentation(caller):
    """The worked example of the documentation, to the cent."""
    (order,) = (await caller.data("GET", ORDER, ids=EXAMPLE))["orders"]
    assert (order["status"], order["user_id"]) == ("AWAITING_SHIPMENT", "7021436810468230477")
    assert order["payment"] | {"seller_discount": 0, "platform_discount": 0} == {
        "currency": "USD", "sub_total": "50.00", "shipping_fee": "4.99", "tax": "4.40", "total_amount": "59.39",
        "seller_discount": 0, "platform_discount": 0,
    }  # fmt: skip
    assert [(line["product_name"], line["sale_price"], line["is_gift"]) for line in order["line_items"]] == [
        ("Card binder", "20.00", False),
        ("Card binder", "20.00", False),
        ("Sleeves", "10.00", False),
        ("Sticker", "0.00", True),
    ]
    assert order["buyer_email"] == "v2b2V5@chat.seller.tiktok.com"
    assert order["recipient_address"]["phone_number"] == "(+1)213-***-1234"
    assert order["paid_time"] == order["create_time"] + 600


async def test_demo_orders_cover_what_a_forwarder_meets(caller):
    """States, currencies without decimals, no e-mail, samples, cash on delivery, another marketplace."""
    raw = [order.shown() for order in caller.shop.orders()]
    states = {order["status"] for order in raw}
    assert states == {
        "UNPAID", "ON_HOLD", "AWAITING_SHIPMENT", "IN_TRANSIT", "DELIVERED", "COMPLETED", "CANCELLED",
    }  # fmt: skip
    assert {order["payment"]["currency"] for order in raw} == {"USD", "JPY", "IDR", "VND", "GBP"}
    whole = [order for order in raw if order["payment"]["currency"] in ("JPY", "IDR", "VND")]
    assert whole
    assert not any("." in amount for order in whole for amount in map(str, order["payment"].values()))
    assert not any("." in line["sale_price"] for order in whole for line in order["line_items"])
    assert sum("buyer_email" not in order for order in raw) == 1
    assert any(order["is_sample_order"] for order in raw)
    assert any(order["is_cod"] and "paid_time" not in order for order in raw)
    assert any(order["commerce_platform"] == "TOKOPEDIA" for order in raw)


async def test_address_is_absent_until_the_order_is_confirmed(caller):
    """Unpaid and on hold; a purchase made at payment time has none."""
    order = caller.shop.place_order(on_hold=True)

    async def seen():
        return (await caller.data("GET", ORDER, ids=order.id))["orders"][0]

    assert "recipient_address" not in await seen()
    order.pay()
    assert (await seen())["status"] == "ON_HOLD"
    assert "recipient_address" not in await seen()
    order.release()
    assert (await seen())["recipient_address"]["region_code"] == "US"


async def test_new_order_appears_in_the_poll_by_update_time(caller, clock):
    """And again whenever it changes; the end of the window is exclusive."""
    clock.now += 3_600
    order = caller.shop.place_order("US", value="12.34", order_id="576400000000000001")
    at = int(clock.now)

    async def poll(low: int, high: int):
        body = {"update_time_ge": low, "update_time_lt": high}
        data = await caller.data("POST", ORDERS, body, page_size="100", sort_field="update_time", sort_order="ASC")
        return [(one["id"], one["status"], one["payment"]["total_amount"]) for one in data["orders"]]

    assert await poll(at, at + 1) == [("576400000000000001", "UNPAID", "12.34")]
    assert await poll(at - 60, at) == []
    clock.now += 60
    order.pay()
    assert await poll(at, at + 60) == []
    assert await poll(at + 60, at + 61) == [("576400000000000001", "AWAITING_SHIPMENT", "12.34")]
    assert order.raw["paid_time"] == at + 60


async def test_orders_are_filtered_and_sorted(caller):
    """By status, buyer and time; newest first unless told otherwise."""
    statuses = [order["status"] for order in (await everything(caller, ORDERS, "orders", page_size="3"))[0]]
    assert statuses[0] == "UNPAID"
    for body, ids in (
        ({"order_status": "ON_HOLD"}, None),
        ({"buyer_user_id": "7021436810468230477"}, [EXAMPLE]),
        ({"shipping_type": "TIKTOK"}, []),
        ({"is_buyer_request_cancel": True}, []),
        ({"warehouse_ids": ["1"]}, []),
        ({"create_time_lt": 1}, []),
    ):
        found, _ = await everything(caller, ORDERS, "orders", body, page_size="50")
        assert ids is None or [order["id"] for order in found] == ids
        assert all(order["status"] == body.get("order_status", order["status"]) for order in found)
    ascending, _ = await everything(caller, ORDERS, "orders", page_size="50", sort_order="ASC")
    times = [order["create_time"] for order in ascending]
    assert times == sorted(times)
    assert (await caller.post(ORDERS, {"create_time_ge": "yesterday"}, page_size="1")).status == 400


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_pages_hold_every_order_once(caller, size):
    """Whatever their size, and with many of the same second."""
    for _ in range(25):
        caller.shop.place_order()
    found, total = await everything(caller, ORDERS, "orders", page_size=str(size))
    ids = [order["id"] for order in found]
    assert len(ids) == len(set(ids)) == total == len(caller.shop.orders("US"))


async def test_page_moves_on_from_its_place_while_orders_change(caller, clock):
    """An order that changes between two pages is met again at the end, none is lost."""
    query = {"page_size": "4", "sort_field": "update_time", "sort_order": "ASC"}
    first = await caller.data("POST", ORDERS, {}, **query)
    clock.now += 10
    caller.shop.order(first["orders"][0]["id"]).set_status("DELIVERED")
    rest, token = [], first["next_page_token"]
    while token:
        data = await caller.data("POST", ORDERS, {}, **query, page_token=token)
        rest, token = rest + data["orders"], data["next_page_token"]
    ids = [order["id"] for order in first["orders"] + rest]
    assert set(ids) == {order.id for order in caller.shop.orders("US")}
    assert ids[-1] == ids[0]


async def test_page_token_may_be_repeated_until_the_next_page_was_asked_for(caller, clock):
    """For an answer that was lost; whoever has the page behind it has it."""
    first = await caller.data("POST", ORDERS, {}, page_size="2")
    token = first["next_page_token"]
    assert {"+", "/", "="} < set(token)
    second = await caller.data("POST", ORDERS, {}, page_size="2", page_token=token)
    again = await caller.data("POST", ORDERS, {}, page_size="2", page_token=token)
    assert again["orders"] == second["orders"]
    await caller.data("POST", ORDERS, {}, page_size="2", page_token=second["next_page_token"])
    reply = await caller.post(ORDERS, page_size="2", page_token=token)
    assert (reply.status, reply.body["code"]) == (400, 36009004)
    assert "page_token" in reply.body["message"]


async def test_page_token_is_true_to_its_query_and_short_lived(caller, clock):
    """Other filters, order, size or shop are refused; and so is a pause of ten minutes."""
    token = (await caller.data("POST", ORDERS, {}, page_size="2"))["next_page_token"]
    for body, query in (
        ({"order_status": "UNPAID"}, {"page_size": "2"}),
        ({}, {"page_size": "3"}),
        ({}, {"page_size": "2", "sort_order": "ASC"}),
        ({}, {"page_size": "2", "sort_field": "update_time"}),
        ({}, {"page_size": "2", "shop_cipher": caller.shop.shop("JP").cipher}),
    ):
        assert (await caller.post(ORDERS, body, page_token=token, **query)).body["code"] == 36009004
    clock.now += 599
    assert (await caller.post(ORDERS, page_size="2", page_token=token)).body["code"] == 0
    clock.now += 1
    assert (await caller.post(ORDERS, page_size="2", page_token=token)).body["code"] == 36009004


async def test_page_token_can_be_for_single_use(start):
    """The strict reading."""
    caller = Caller(await start(readings={"tiktok_shop": "single_use_pages"}))
    token = (await caller.data("POST", ORDERS, {}, page_size="2"))["next_page_token"]
    await caller.data("POST", ORDERS, {}, page_size="2", page_token=token)
    assert (await caller.post(ORDERS, page_size="2", page_token=token)).body["code"] == 36009004


async def test_search_can_tell_little_more_than_ids(start):
    """As one integrator saw it: read the detail before making an event."""
    caller = Caller(await start(readings={"tiktok_shop": "sparse_search"}))
    data = await caller.data("POST", ORDERS, {}, page_size="1")
    assert set(data["orders"][0]) == {"id", "status", "create_time", "update_time"}
    assert "payment" in (await caller.data("GET", ORDER, ids=EXAMPLE))["orders"][0]


async def test_detail_leaves_out_unknown_orders_and_refuses_foreign_ones(caller):
    """Up to 50 ids at once, in both versions."""
    other = caller.shop.place_order("JP")
    data = await caller.data("GET", "/order/202309/orders", ids=f"{EXAMPLE},1")
    assert [order["id"] for order in data["orders"]] == [EXAMPLE]
    assert (await caller.data("GET", ORDER, ids="1"))["orders"] == []
    foreign = await caller.get(ORDER, ids=other.id)
    assert (foreign.status, foreign.body["code"]) == (200, 21008111)
    for ids in ("", "x", ",".join(map(str, range(51)))):
        query = {"ids": ids} if ids else {}
        assert (await caller.get(ORDER, **query)).body["code"] == 36009004
    assert len((await caller.data("GET", ORDER, ids=",".join(map(str, range(50)))))["orders"]) == 0


@pytest.mark.parametrize(
    ("region", "value", "total"), [("US", "59.39", "59.39"), ("JP", "1200", "1200"), ("ID", "149000", "149000")]
)
async def test_placed_order_has_the_value_asked_for(caller, region, value, total):
    """In the shop's currency, and as it writes amounts."""
    order = caller.shop.place_order(region, value=value, paid=True, email=None, fields={"order_type": "PRE_ORDER"})
    assert (order.total_amount, order.status) == (total, "AWAITING_SHIPMENT")
    shown = order.shown()
    assert "buyer_email" not in shown
    assert shown["order_type"] == "PRE_ORDER"


def test_orders_that_cannot_be_placed_are_refused(caller):
    """In words."""
    for options, text in (
        ({"shop": "XX"}, "no shop"),
        ({"lines": [Line("1")]}, "sku_id"),
        ({"order_id": EXAMPLE}, "that id"),
    ):
        with pytest.raises(ValueError, match=text):
            caller.shop.place_order(**options)
    with pytest.raises(ValueError, match="no such order"):
        caller.shop.order("1")


async def test_reversals_are_found_with_their_money(caller):
    """A cancelled paid order, and a return of one of two."""
    cancelled = caller.shop.place_order(value="30.00", paid=True).cancel(by="SELLER", reason="Out of stock")
    returned = caller.shop.place_order(value="25.00", paid=True).deliver().refund("10")
    caller.shop.place_order().cancel()  # never paid: nothing to give back
    body = {"order_ids": [cancelled.id, returned.id]}
    found = await caller.data("POST", "/return_refund/202309/cancellations/search", body)
    assert [(one["order_id"], one["role"], one["refund_amount"]["refund_total"]) for one in found["cancellations"]] == [
        (cancelled.id, "SELLER", "30.00")
    ]
    found = await caller.data("POST", "/return_refund/202309/returns/search", body, page_size="10")
    assert [
        (one["order_id"], one["return_type"], one["refund_amount"]["refund_total"]) for one in found["return_orders"]
    ] == [(returned.id, "REFUND", "10.00")]
    assert found["return_orders"][0]["refund_amount"]["currency"] == "USD"
    shown = cancelled.shown()
    assert (shown["status"], shown["cancel_reason"]) == ("CANCELLED", "Out of stock")
    assert shown["line_items"][0]["cancel_user"] == "SELLER"


# Products and stock.


async def test_products_are_listed_by_status(caller):
    """With prices and stock per SKU; the seed's words are none of the platform's."""
    found, total = await everything(caller, PRODUCTS, "products", page_size="2")
    assert total == len(found) == 6
    data = await caller.data("POST", PRODUCTS, {"status": "ACTIVATE"}, page_size="100")
    assert {product["status"] for product in data["products"]} == {"ACTIVATE"}
    (socks,) = [product for product in data["products"] if product["id"] == SOCKS]
    assert socks["skus"][0]["price"] == {"currency": "USD", "tax_exclusive_price": "12.10", "sale_price": "12.10"}
    reply = await caller.post(PRODUCTS, {"status": "ACTIVE"}, page_size="10")
    assert (reply.status, reply.body["code"]) == (200, 12052910)
    for body, ids in (({"seller_skus": ["SLV-100"]}, 1), ({"sku_ids": [RED]}, 1), ({"update_time_ge": 2**33}, 0)):
        assert (await caller.data("POST", PRODUCTS, body, page_size="10"))["total_count"] == ids
    caller.cipher = caller.shop.shop("JP").cipher
    titles = [one["title"] for one in (await everything(caller, PRODUCTS, "products", page_size="2"))[0]]
    assert "ピカチュウ カードスリーブ" in titles


async def test_product_search_has_codes_of_its_own(caller):
    """For the page size and the token."""
    assert (await caller.post(PRODUCTS, page_size="101")).body["code"] == 12019109
    assert (await caller.post(PRODUCTS, page_size="10", page_token="x")).body["code"] == 12019108


async def test_product_is_told_per_sku(caller):
    """Unknown and foreign ones by codes, under HTTP 200."""
    product = await caller.data("GET", f"/product/202309/products/{BINDER}")
    assert (product["title"], len(product["skus"][0]["inventory"])) == ("Card binder", 2)
    assert "price" not in product
    for product_id, code in (("1", 12019150), ("1729592969712208001", 12052048)):
        reply = await caller.get(f"/product/202309/products/{product_id}")
        assert (reply.status, reply.body["code"]) == (200, code)


async def test_updated_stock_is_read_back(caller):
    """By search and by product, absolute, and as often as it is set."""
    house = caller.shop.world.warehouses(caller.shop.shop())[0]
    for quantity in (100, 7, 0):
        body = {"skus": [{"id": RED, "inventory": [{"warehouse_id": house, "quantity": quantity}]}]}
        assert await caller.data("POST", stock_path(SOCKS), body) == {}
        found = (await caller.data("POST", INVENTORY, {"product_ids": [SOCKS]}))["inventory"]
        first = found[0]["skus"][0]
        assert (first["id"], first["total_available_quantity"]) == (RED, quantity)
        product = await caller.data("GET", f"/product/202309/products/{SOCKS}")
        assert product["skus"][0]["inventory"][0]["quantity"] == quantity


async def test_orders_commit_stock_and_cancellations_return_it(caller):
    """Committed while the order is open."""

    async def stock():
        (found,) = (await caller.data("POST", INVENTORY, {"sku_ids": [RED]}))["inventory"]
        (sku,) = found["skus"]
        return sku["total_available_quantity"], sku["total_committed_quantity"]

    available, committed = await stock()
    order = caller.shop.place_order(lines=[Line(RED, 3)])
    assert await stock() == (available - 3, committed + 3)
    order.pay().cancel()
    assert await stock() == (available, committed)
    caller.shop.place_order(lines=[Line(RED, 2)], paid=True).ship().deliver()
    assert await stock() == (available - 2, committed)


async def test_oversold_order_gives_back_no_more_than_it_took(caller):
    """The demo mug is out of stock."""
    mug = "1729592969712207021"
    order = caller.shop.place_order(lines=[Line(mug, 2)], paid=True)
    order.cancel()
    data = await caller.data("POST", INVENTORY, {"sku_ids": [mug]})
    (sku,) = data["inventory"][0]["skus"]
    assert (sku["total_available_quantity"], sku["total_committed_quantity"]) == (0, 0)


async def test_one_bad_sku_fails_beside_the_good_ones(caller):
    """Under HTTP 200 and code 0."""
    house = caller.shop.world.warehouses(caller.shop.shop())[0]
    body = {
        "skus": [
            {"id": RED, "inventory": [{"warehouse_id": house, "quantity": 5}]},
            {"id": "1729592969712207013", "inventory": [{"warehouse_id": "1", "quantity": 5}]},
        ]
    }
    data = await caller.data("POST", stock_path(SOCKS), body)
    assert data == {
        "errors": [
            {
                "code": 12052990,
                "message": "Check failed",
                "detail": {
                    "sku_id": "1729592969712207013",
                    "extra_errors": [
                        {"warehouse_id": "1", "code": 12052097, "message": "The warehouse does not exist"}
                    ],
                },
            }
        ]
    }
    product = caller.shop.world.products[SOCKS]
    assert [sku["inventory"][0]["quantity"] for sku in product.raw["skus"]] == [5, 40 - 2]


@pytest.mark.parametrize(
    ("product_id", "sku", "code"),
    [
        ("1", {"id": RED}, 12019150),
        (SOCKS, {}, 12052036),
        (SOCKS, {"id": "1", "inventory": [{"quantity": 1}]}, 12052556),
        (SOCKS, {"id": RED, "inventory": [{"quantity": -1}]}, 12052055),
        (SOCKS, {"id": RED, "inventory": [{"quantity": 100_000}]}, 12052055),
        (SOCKS, {"id": RED, "inventory": [{"quantity": "5"}]}, 12052055),
        (SOCKS, {"id": RED}, 36009004),
        (BINDER, {"id": "2729382476852921560", "inventory": [{"quantity": 1}]}, 12019028),
        ("1729592969712207030", {"id": "1729592969712207031", "inventory": [{"quantity": 1}]}, 12052901),
    ],
)
async def test_wrong_stock_is_refused_with_its_code(caller, product_id, sku, code):
    """Nothing is changed."""
    assert (await caller.post(stock_path(product_id), {"skus": [sku]})).body["code"] == code
    assert (await caller.post(stock_path(SOCKS), {})).body["code"] == 36009004


async def test_stock_search_needs_ids_and_stays_in_its_shop(caller):
    """Up to 100 products."""
    assert (await caller.post(INVENTORY)).body["code"] == 36009004
    assert (await caller.post(INVENTORY, {"product_ids": ["1"] * 101})).body["code"] == 36009004
    data = await caller.data("POST", INVENTORY, {"product_ids": ["1729592969712208001", BINDER]})
    assert [one["product_id"] for one in data["inventory"]] == [BINDER]
