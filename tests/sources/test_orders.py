"""Orders become purchases: which, when, worth what, and with what of the buyer."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from capi_async import Client, Consent, EventError, Item, User
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop.models import Order, read
from capi_async.sources.tiktok_shop.orders import (
    EVERYTHING,
    event_id_of,
    order_to_event,
    purchase_verdict,
)
from tests.sources.orders import ORDER, SHOP, detail, line, order

UNMASKED = {
    "region_code": "US",
    "postal_code": "95110",
    "phone_number": "(+1)213-555-0134",
    "first_name": "Dana",
    "last_name": "Grigg",
    "district_info": [
        {"address_level": "L0", "address_level_name": "Country", "address_name": "United States"},
        {"address_level": "L1", "address_level_name": "State", "address_name": "California"},
        {"address_level": "L2", "address_level_name": "County", "address_name": "Santa Clara"},
        {"address_level": "L3", "address_level_name": "City", "address_name": "San Jose"},
    ],
}


def test_the_worked_example_of_the_documentation() -> None:
    """Value, items, id and time; of the buyer what is not masked, and never the relay address."""
    event = order_to_event(order(), shop_id=SHOP, share=EVERYTHING)
    assert event.name == "purchase"
    assert event.event_id == f"tiktok_shop:{SHOP}:{ORDER}"
    assert event.time == datetime(2024, 6, 13, 19, 6, 40, tzinfo=UTC)
    assert (event.value, event.currency, event.order_id, event.source) == (Decimal("59.39"), "USD", ORDER, "other")
    assert event.items == [
        Item(id="2729382476852921560", quantity=2, price="20.00", name="Card binder"),
        Item(id="2729382476852921561", quantity=1, price="10.00", name="Sleeves"),
    ]
    assert event.user == User(external_id="7021436810468230477", country="US", zip="95110")


def test_nothing_of_the_buyer_leaves_unless_it_is_shared() -> None:
    """The default, whatever the order tells."""
    told = order(recipient_address=UNMASKED, buyer_email="dana@grigg.example")
    assert order_to_event(told, shop_id=SHOP).user == User()
    encoded = msgspec.json.encode(order_to_event(told, shop_id=SHOP)).decode()
    for clear in ("7021436810468230477", "Dana", "Grigg", "555", "grigg.example", "95110", "San Jose"):
        assert clear not in encoded


@pytest.mark.parametrize(
    ("share", "user"),
    [
        ("buyer_id", User(external_id="7021436810468230477")),
        ("phone", User(phone="+12135550134")),
        ("name", User(first_name="Dana", last_name="Grigg")),
        ("address", User(city="San Jose", state="California", zip="95110", country="US")),
        ("email", User(email="dana@grigg.example")),
    ],
)
def test_each_share_is_one_part_of_the_buyer(share: Any, user: User) -> None:
    """And no other."""
    told = order(recipient_address=UNMASKED, buyer_email="dana@grigg.example")
    assert order_to_event(told, shop_id=SHOP, share=[share]).user == user


@pytest.mark.parametrize(
    "email",
    [
        "", "v2b2V5@chat.seller.tiktok.com", "x@scs2.tiktok.com", "x@scs.tiktokw.us", "X@CHAT.SELLER.TIKTOK.COM",
        "d***a@grigg.example", "not an address", "dana@localhost",
    ],
)  # fmt: skip
def test_an_address_that_is_not_the_buyers_is_never_forwarded(email: str) -> None:
    """Relay aliases, masked ones, none at all."""
    assert order_to_event(order(buyer_email=email), shop_id=SHOP, share=EVERYTHING).user.email is None


@pytest.mark.parametrize(
    "number", ["", "(+1)213-***-1234", "+1213****134", "213-555-0134", "(+0)123456789", "+1", "+1 213 555 0134 ext 5"]
)
def test_a_phone_that_is_masked_or_without_country_code_is_left_out(number: str) -> None:
    """Its hash would match nobody and look like data."""
    told = order(recipient_address={**UNMASKED, "phone_number": number})
    assert order_to_event(told, shop_id=SHOP, share=EVERYTHING).user.phone is None


def test_an_order_without_address_or_email_is_an_event_all_the_same() -> None:
    """As every order is at the time it is paid."""
    bare = {
        key: value for key, value in detail(status="ON_HOLD").items() if key not in ("recipient_address", "buyer_email")
    }
    event = order_to_event(read(bare, Order), shop_id=SHOP, share=EVERYTHING)
    assert event.user == User(external_id="7021436810468230477")
    assert event.value == Decimal("59.39")


def test_a_whole_name_in_the_first_names_place_is_left_out() -> None:
    """Brazil and Mexico: where it ends cannot be known."""
    address = {**UNMASKED, "region_code": "BR", "first_name": "Ana Maria Souza", "last_name": ""}
    user = order_to_event(order(recipient_address=address), shop_id=SHOP, share=["name"]).user
    assert (user.first_name, user.last_name) == (None, None)


@pytest.mark.parametrize(
    ("currency", "total", "value"),
    [
        ("JPY", "1500", "1500"),
        ("JPY", "1500.00", "1500"),
        ("IDR", "250000.0", "250000"),
        ("VND", "99000", "99000"),
        ("USD", "59.30", "59.30"),
        ("THB", "1500.00", "1500.00"),
        ("JPY", "1500.50", "1500.50"),
    ],
)
def test_currencies_without_decimals_have_none(currency: str, total: str, value: str) -> None:
    """Only zeros are dropped: nothing is rounded, and nothing is multiplied."""
    told = order(
        payment={"currency": currency, "total_amount": total, "sub_total": total},
        line_items=[line(1, sale_price=total, currency=currency)],
    )
    event = order_to_event(told, shop_id=SHOP)
    assert str(event.value) == value
    assert str(event.items[0].price) == value
    assert event.currency == currency


def test_lines_that_were_given_away_or_cancelled_are_no_items() -> None:
    """They were not bought."""
    lines = [
        line(1),
        line(2, is_gift=True),
        line(3, cancel_user="BUYER"),
        line(4, cancel_reason="changed mind"),
        line(5, display_status="CANCELLED"),
        line(6, sale_price="15.00"),
    ]
    items = order_to_event(order(line_items=lines), shop_id=SHOP).items
    assert [(item.quantity, str(item.price)) for item in items] == [(1, "20.00"), (1, "15.00")]


@pytest.mark.parametrize(
    ("item_id", "found"),
    [("sku_id", "2729382476852921560"), ("product_id", "1729582718312380123"), ("seller_sku", "BINDER-1")],
)
def test_the_id_of_an_item_is_the_catalogues(item_id: Any, found: str) -> None:
    """Whichever the advertiser uses."""
    told = order(line_items=[line(1, seller_sku="BINDER-1")])
    assert order_to_event(told, shop_id=SHOP, item_id=item_id).items[0].id == found


def test_an_empty_seller_sku_is_replaced() -> None:
    """Sellers need not set one."""
    event = order_to_event(order(line_items=[line(1)]), shop_id=SHOP, item_id="seller_sku")
    assert event.items[0].id == "2729382476852921560"


def test_the_value_may_be_the_goods_alone() -> None:
    """Without shipping and tax."""
    assert order_to_event(order(), shop_id=SHOP, value_of="sub_total").value == Decimal("50.00")


def test_what_the_caller_says_goes_along() -> None:
    """Consent, addressees, test mode."""
    consent = Consent(ad_user_data=True)
    event = order_to_event(order(), shop_id=SHOP, consent=consent, to=["meta"], test=True)
    assert (event.consent, event.to, event.test) == (consent, ["meta"], True)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ""}, "order_id"),
        ({"payment": {}}, "value"),
        ({"payment": {"total_amount": "5"}}, "value"),
        ({"payment": {"total_amount": "-5", "currency": "USD"}}, "value"),
        ({"payment": {"total_amount": "5", "currency": "dollars"}}, "currency"),
    ],
)
def test_an_order_that_says_too_little_is_refused(changes: dict[str, Any], field: str) -> None:
    """By the field at fault."""
    with pytest.raises(EventError) as raised:
        order_to_event(order(**changes), shop_id=SHOP)
    assert raised.value.field == field


@pytest.mark.parametrize("share", ["email", ["emails"], None])
def test_what_may_be_shared_is_a_list_of_known_names(share: Any) -> None:
    """A misspelt name must not share nothing in silence, nor a text its letters."""
    with pytest.raises(ConfigError, match="buyer_id"):
        order_to_event(order(), shop_id=SHOP, share=share)


@pytest.mark.parametrize(
    ("changes", "options", "verdict"),
    [
        ({}, {}, ("counts", "")),
        ({"status": "ON_HOLD"}, {}, ("counts", "")),
        ({"status": "ON_HOLD", "paid_time": 0}, {}, ("counts", "")),
        ({"status": "COMPLETED"}, {}, ("counts", "")),
        ({"status": "PARTIALLY_SHIPPING", "paid_time": 0}, {}, ("counts", "")),
        ({"status": "SOMETHING_NEW"}, {}, ("counts", "")),
        ({"status": "SOMETHING_NEW", "paid_time": 0}, {}, ("later", "not paid")),
        ({"status": "UNPAID", "paid_time": 0}, {}, ("later", "not paid")),
        ({"status": ""}, {}, ("later", "not paid")),
        ({"status": "ON_HOLD"}, {"counts_when": "confirmed"}, ("later", "not confirmed")),
        ({"status": "IN_TRANSIT"}, {"counts_when": "confirmed"}, ("counts", "")),
        ({"is_cod": True, "paid_time": 0}, {}, ("later", "not paid")),
        ({"is_cod": True, "paid_time": 0}, {"cash_on_delivery": True}, ("counts", "")),
        ({"is_cod": True}, {}, ("counts", "")),
        ({"status": "CANCELLED"}, {}, ("never", "cancelled")),
        ({"is_sample_order": True}, {}, ("never", "a sample")),
        ({"is_replacement_order": True}, {}, ("never", "a replacement or an exchange")),
        ({"is_exchange_order": True}, {}, ("never", "a replacement or an exchange")),
        ({"order_type": "ZERO_LOTTERY"}, {}, ("never", "a give-away")),
        ({"payment": {"currency": "USD", "total_amount": "0.00"}}, {}, ("never", "nothing was charged")),
    ],
)
def test_which_orders_count(changes: dict[str, Any], options: dict[str, Any], verdict: tuple[str, str]) -> None:
    """Paid ones, once; those that cost nothing or were undone, never."""
    assert purchase_verdict(order(**changes), **options) == verdict


def test_the_events_id_follows_from_shop_and_order() -> None:
    """So that webhook, poll and replay are one event, and two shops never meet."""
    assert order_to_event(order(status="DELIVERED"), shop_id=SHOP).event_id == event_id_of(SHOP, ORDER)
    assert event_id_of("1", "23") != event_id_of("12", "3")


def test_what_each_destination_makes_of_it() -> None:
    """Meta and TikTok (with an offline event set) take the buyer's id; Snap wants a phone, Pinterest an e-mail."""
    destinations = [
        Snap(pixel_id="p", access_token="t"),
        Pinterest(ad_account_id="1", access_token="t"),
        TikTok(pixel_code="C", access_token="t", offline_event_set_id="7"),
        Meta(pixel_id="1", access_token="t"),
    ]
    now = int(datetime.now(UTC).timestamp())

    def verdicts(**changes: Any) -> dict[str, str]:
        event = order_to_event(order(paid_time=now, **changes), shop_id=SHOP, share=EVERYTHING)
        return {name: one.verdict for name, one in Client(destinations).explain(event).items()}

    at_payment = verdicts()
    assert at_payment == {"snap": "skipped", "pinterest": "skipped", "tiktok": "pending", "meta": "pending"}
    assert verdicts(recipient_address=UNMASKED)["snap"] == "pending"
    assert set(verdicts(buyer_email="dana@grigg.example").values()) == {"pending"}
