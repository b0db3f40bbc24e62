"""Reading what TikTok Shop sends: exact where it matters, and never surprised."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.sources.tiktok_shop.figures import Interval, Performance, ProductPerformance, Video
from capi_async.sources.tiktok_shop.models import Inventory, Order, Product, RecipientAddress, TokenSet, read

EXAMPLE: dict[str, Any] = {
    "id": "576461413038785752",
    "status": "AWAITING_SHIPMENT",
    "user_id": "7021436810468230477",
    "create_time": 1718305585,
    "paid_time": 1718305600,
    "update_time": 1718309180,
    "buyer_email": "v2b2V5@chat.seller.tiktok.com",
    "is_cod": False,
    "order_type": "NORMAL",
    "payment": {
        "currency": "USD", "sub_total": "50.00", "shipping_fee": "4.99", "tax": "4.40", "total_amount": "59.39",
    },
    "recipient_address": {
        "region_code": "US", "postal_code": "95110", "phone_number": "(+1)213-***-1234", "name": "D***g",
        "district_info": [{"address_level": "L0", "address_name": "United States"}],
    },
    "line_items": [
        {"id": "1", "product_id": "1729582718312380123", "sku_id": "2729382476852921560", "sale_price": "20.00"},
        {"id": "2", "product_id": "1729582718312380124", "sku_id": "2729382476852921561", "sale_price": "10.00"},
    ],
}  # fmt: skip


def read_order(**changes: Any) -> Order:
    return read(json.dumps({**EXAMPLE, **changes}).encode(), Order)


def test_an_order_is_read_exactly() -> None:
    """Amounts digit by digit, ids as text, everything in its place."""
    order = read_order()
    assert (order.id, order.status, order.paid_time) == ("576461413038785752", "AWAITING_SHIPMENT", 1718305600)
    assert (str(order.payment.total_amount), order.payment.currency) == ("59.39", "USD")
    assert [line.sale_price for line in order.line_items] == [Decimal("20.00"), Decimal("10.00")]
    assert order.recipient_address is not None
    assert order.recipient_address.district_info[0].address_name == "United States"


@pytest.mark.parametrize(("currency", "text"), [("JPY", "1200"), ("IDR", "150000"), ("VND", "2500000")])
def test_currencies_without_decimals_get_none(currency: str, text: str) -> None:
    """1200 yen are neither 1200.00 nor 12.00."""
    payment = read_order(payment={"currency": currency, "total_amount": text}).payment
    assert str(payment.total_amount) == text


def test_ids_are_text_even_where_the_platform_sends_numbers() -> None:
    """Beyond 2^53, where a float would give another id."""
    raw = b'{"id":17295827183123801239,"user_id":7021436810468230477,"line_items":[{"id":9007199254740993}]}'
    order = read(raw, Order)
    assert (order.id, order.user_id) == ("17295827183123801239", "7021436810468230477")
    assert order.line_items[0].id == "9007199254740993"
    assert read(b'{"id":1729582718312380123,"gmv":{"amount":"1.50"}}', ProductPerformance).id == "1729582718312380123"


def test_amounts_sent_as_numbers_stay_exact() -> None:
    """Not through a float, also where another value has to be mended."""
    for spoilt in (b"", b',"tax":""'):
        raw = b'{"payment":{"total_amount":0.1000000000000000055,"sub_total":19.99%b}}' % spoilt
        payment = read(raw, Order).payment
        assert (str(payment.total_amount), str(payment.sub_total)) == ("0.1000000000000000055", "19.99")


def test_what_cannot_be_read_counts_as_absent() -> None:
    """One odd value costs neither its order nor its neighbours."""
    order = read_order(
        status="SOMETHING_NEW", paid_time="", is_cod="perhaps", recipient_address=None, new_field={"a": 1},
        payment={"currency": "USD", "total_amount": "59.39", "tax": "", "sub_total": None},
        line_items=[None, {"id": 5, "sale_price": "n/a", "is_gift": None}, "x", {"id": "6", "sale_price": "1.00"}],
    )  # fmt: skip
    assert (order.status, order.paid_time, order.is_cod) == ("SOMETHING_NEW", 0, False)
    assert (order.payment.total_amount, order.payment.tax) == (Decimal("59.39"), None)
    assert [(line.id, line.sale_price) for line in order.line_items] == [("5", None), ("6", Decimal("1.00"))]
    assert order.create_time == EXAMPLE["create_time"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"<html>"])
def test_what_is_no_order_at_all_is_an_error(raw: bytes) -> None:
    """Rather than an empty order."""
    with pytest.raises((msgspec.MsgspecError, UnicodeError)):
        read(raw, Order)


PATHS = st.sampled_from(
    ["id", "status", "create_time", "payment", "line_items", "recipient_address", "is_cod", "user_id", "buyer_email"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | PATHS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(PATHS, JSON, max_size=5), st.dictionaries(st.text(max_size=6), JSON, max_size=2))
def test_an_order_mangled_at_will_is_still_an_order(changes: dict[str, Any], more: dict[str, Any]) -> None:
    """Whatever the platform puts where, what it did not touch is read."""
    order = read(msgspec.json.encode({**more, **EXAMPLE, **changes}), Order)
    assert isinstance(order.id, str)
    assert isinstance(order.line_items, tuple)
    assert order.payment.total_amount is None or isinstance(order.payment.total_amount, Decimal)
    for name in ("create_time", "paid_time", "update_time"):
        assert isinstance(getattr(order, name), int)
    if "create_time" not in changes:
        assert order.create_time == EXAMPLE["create_time"]
    assert "chat.seller" not in repr(order)


def test_reprs_show_no_person() -> None:
    """Order, address, tokens: what somebody prints while looking for something else."""
    order = read_order()
    tokens = TokenSet(access_token="TTP_secret_access", refresh_token="TTR_secret", access_expires_at=1)
    shown = f"{order!r} {order.recipient_address!r} {order.line_items!r} {order.payment!r} {tokens!r}"
    for hidden in ("v2b2V5", "213", "95110", "D***g", "7021436810468230477", "TTP_", "TTR_", "United"):
        assert hidden not in shown
    assert "576461413038785752" in shown
    assert repr(RecipientAddress(name="Ada", phone_number="+1")) == "RecipientAddress()"


def test_tokens_know_how_long_they_are_good() -> None:
    """Never less than nothing."""
    tokens = TokenSet(access_token="a", refresh_token="r", access_expires_at=1660556783)
    assert tokens.expires_in(1660556483) == 300
    assert tokens.expires_in(1660556784) == 0


def test_stock_and_price_have_their_sums() -> None:
    """Over all SKUs; the price that buyers see depends on the kind of seller."""
    skus = [{"total_available_quantity": 3, "total_committed_quantity": 1}, {"total_available_quantity": 4}]
    stock = read({"product_id": "1", "skus": skus}, Inventory)
    assert (stock.available_quantity, stock.reserved_quantity) == (7, 1)
    product = read(
        b'{"skus":[{"price":{"sale_price":"121.11","tax_exclusive_price":"111.01"}},'
        b'{"price":{"tax_exclusive_price":"111.01"}},{}]}',
        Product,
    )
    assert [sku.price.display for sku in product.skus] == [Decimal("121.11"), Decimal("111.01"), None]


def test_figures_answer_to_their_older_names() -> None:
    """A rate needs views; what the platform does not tell is nothing, not zero."""
    interval = read(b'{"gmv":{"amount":"30.00"},"orders":3,"product_page_views":12}', Interval)
    assert [interval.metric(name) for name in ("views", "conversions", "revenue", "conversion_rate", "clicks")] == [
        12, 3, Decimal("30.00"), Decimal("0.25"), None,
    ]  # fmt: skip
    assert read(b'{"orders":3,"page_views":0}', Interval).metric("conversion_rate") is None
    assert read(b"{}", Interval).metric("revenue") is None
    assert read(b'{"views":7,"sku_orders":1}', Video).metric("views") == 7
    assert read(b"{}", ProductPerformance).metric("views") is None
    assert Performance().view_count is None
    with pytest.raises(ValueError, match="no figure"):
        interval.metric("likes")
