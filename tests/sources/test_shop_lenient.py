"""Answers that are not quite as documented: what of them is understood, and what counts as absent."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.sources.tiktok_shop.lenient import amount, amount_of, instant, mended_json
from capi_async.sources.tiktok_shop.models import Order, read
from tests.sources.orders import detail

PAID = 1_718_305_600


@pytest.mark.parametrize(
    "told",
    [
        PAID, float(PAID), PAID * 1_000, PAID * 1_000_000, PAID * 10**9, str(PAID), f" {PAID} ", str(PAID * 1_000),
        f"{PAID}.5", PAID + 0.5, "2024-06-13T19:06:40+00:00", "2024-06-13T21:06:40+02:00", "2024-06-13T19:06:40Z",
    ],
)  # fmt: skip
def test_a_time_is_understood_in_any_unit(told: object) -> None:
    """Seconds, milliseconds, microseconds, nanoseconds, text, ISO 8601 with an offset."""
    assert instant(told) == PAID
    order = read(json.dumps(detail(paid_time=told)).encode(), Order)
    assert order.paid_time == PAID


@pytest.mark.parametrize(
    "told",
    [
        0,
        -1,
        1,
        10**15,
        10**30,
        1e400,
        float("nan"),
        True,
        "",
        "soon",
        "2024-06-13 19:06:40",
        [PAID],
        {"at": PAID},
        None,
    ],
)
def test_what_is_no_time_of_an_order_counts_as_absent(told: object) -> None:
    """Before there was a shop, beyond this century, without an offset, or none at all."""
    assert instant(told) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("59.39", "59.39"), ("59,39", "59.39"), ("1.234,50", "1234.50"), ("1,234.50", "1234.50"), (" 5 ", "5"),
        ("1,234", None), ("1.234.567", None), ("$5", None), ("", None), ("nan", None), ("1e3", None), ("--1", None),
    ],
)  # fmt: skip
def test_an_amount_is_understood_where_it_can_mean_one_thing_only(text: str, value: str | None) -> None:
    """A comma with three digits behind it may be either, and is left alone."""
    assert amount_of(text) == (None if value is None else Decimal(value))


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+400", "1E+999999", "1E-400"])
def test_an_amount_beyond_all_measure_counts_as_absent(text: str) -> None:
    """And costs no million zeros either."""
    assert amount(Decimal(text)) is None
    for told in (detail(payment={"currency": "JPY", "total_amount": text}), detail(line_items=[{"sale_price": text}])):
        order = read(json.dumps(told).encode(), Order)
        assert None in (order.payment.total_amount, order.line_items[0].sale_price)


@pytest.mark.parametrize(
    "spoilt",
    [
        b'"unread":"\\ud83d"', b'"product_name":"Card binder \\ud83d"', b'"buyer_message":"hi \\udc00 \\ud83d"',
        b'"buyer_message":"caf\xe9"', b'"x":"a\x01b"', b'"x":NaN', b'"x":-Infinity', b'"x":' + b"9" * 5_000,
        b'"x":' + b"[" * 5_000 + b"]" * 5_000, b'"recipient_address":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
    ids=["unread half", "half", "halves", "latin-1", "control", "NaN", "infinite", "digits", "deep", "deep and read"],
)  # fmt: skip
def test_one_spoilt_value_costs_nothing_around_it(spoilt: bytes) -> None:
    """Neither the order that holds it, nor the others of the answer."""
    before = json.dumps(detail(id="1")).encode()
    odd = json.dumps(detail(id="2")).encode()[:-1] + b"," + spoilt + b"}"
    mended = mended_json(b"[" + before + b"," + odd + b"]")
    assert mended is not None
    orders = [read(msgspec.json.encode(one), Order) for one in msgspec.json.decode(mended)]
    assert [one.id for one in orders] == ["1", "2"]
    assert read(odd, Order).payment.total_amount == Decimal("59.39")


def test_a_whole_pair_of_surrogates_is_a_character() -> None:
    """Only halves are replaced."""
    order = read(b'{"id":"1","line_items":[{"product_name":"\\ud83d\\ude00 \\ud83d"}]}', Order)
    assert order.line_items[0].product_name == "\U0001f600 �"


@pytest.mark.parametrize("page", [b"", b"<html>", b'{"id":', b'{"id":"1"', b"\xff\xfe", b"[" * 100_000, b'{"a":1}}'])
def test_what_is_no_json_stays_none(page: bytes) -> None:
    """Half an answer is no answer."""
    assert mended_json(page) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """And what is read can be read again by a strict reader."""
    mended = mended_json(data)
    if mended is not None:
        msgspec.json.decode(mended)


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
))  # fmt: skip
def test_whatever_python_calls_json_is_mended(value: object) -> None:
    """Halves of pairs, not-a-numbers and all."""
    mended = mended_json(json.dumps(value).encode())
    assert mended is not None
    msgspec.json.decode(mended)


def test_a_megabyte_of_text_is_mended_quickly() -> None:
    """No step of it grows with the square of an answer."""
    began = time.monotonic()
    assert mended_json(b'{"a":"' + b'x\\"' * 300_000 + b'\\ud83d","b":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    assert time.monotonic() - began < 20
