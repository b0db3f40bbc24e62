"""Odd orders and partial outages: what a marketplace's gateway answers on a bad day.

None of it is documented; all of it has been seen of some API, and none of it may cost a receiver another order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from msgspec import Struct

#: Stand for bytes that no JSON encoder writes; replaced in the finished answer.
_HALF, _NO_UTF8 = "\ue000half\ue000", "\ue000byte\ue000"
_BYTES = ((_HALF.encode(), rb"\ud83d"), (_NO_UTF8.encode(), b"\xff"))

Oddity = Literal[
    "milliseconds",
    "times_as_text",
    "amounts_as_numbers",
    "no_payment",
    "total_is_no_number",
    "negative_line",
    "price_is_no_number",
    "long_texts",
    "unknown_words",
    "half_character",
    "no_utf8",
    "wrong_types",
]
ODDITIES: tuple[str, ...] = get_args(Oddity)

#: What an outage hits: the operation's path.
PARTS = {"search": "/order/202309/orders/search", "detail": "/order/202507/orders"}
Part = Literal["search", "detail"]
Outage = Literal["page", "retired", "scope", "empty", "down"]
OUTAGES: tuple[str, ...] = get_args(Outage)


class OddState(Struct):
    """How an order looks odd, and for how many readings yet; ``None`` for all."""

    kind: Oddity
    left: int | None


def odd(raw: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """An order as the API tells it, made odd."""
    told: dict[str, Any] = copy.deepcopy(dict(raw))
    _MAKE[kind](told)
    return told


def with_odd_bytes(body: bytes) -> bytes:
    """The finished answer with what an encoder would not write."""
    if b"\xee\x80\x80" in body:
        for placeholder, found in _BYTES:
            body = body.replace(placeholder, found)
    return body


def _times(told: dict[str, Any], change: Callable[[int], Any]) -> None:
    for name in ("create_time", "update_time", "paid_time"):
        if told.get(name):
            told[name] = change(told[name])


def _set_lines(told: dict[str, Any], **changes: Any) -> None:
    for line in told.get("line_items") or ():
        line.update(changes)


def _long_texts(told: dict[str, Any]) -> None:
    told["buyer_message"] = "y" * 10**6
    _set_lines(told, product_name="x" * 10**6)


def _half_character(told: dict[str, Any]) -> None:
    told["buyer_message"] = _HALF
    _set_lines(told, product_name=_HALF)


def _amounts_as_numbers(told: dict[str, Any]) -> None:
    told["payment"] = {
        name: float(value) if name != "currency" else value for name, value in (told.get("payment") or {}).items()
    }


def _unknown_words(told: dict[str, Any]) -> None:
    # the status stays: of one that nobody knows, nobody can say whether it is paid
    told.update(order_type="MOON_ORDER", fulfillment_type="BY_DRONE", shipping_type="TELEPORT", new_field={"a": [1]})
    _set_lines(told, display_status="TO_BE_TELEPORTED", package_status="??")


_MAKE: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "milliseconds": lambda told: _times(told, lambda value: value * 1_000),
    "times_as_text": lambda told: _times(told, str),
    "amounts_as_numbers": _amounts_as_numbers,
    "no_payment": lambda told: told.pop("payment", None),
    "total_is_no_number": lambda told: (told.get("payment") or {}).update(total_amount="NaN"),
    "negative_line": lambda told: told["line_items"].append({"id": "1", "sku_id": "DISCOUNT", "sale_price": "-1.00"}),
    "price_is_no_number": lambda told: _set_lines(told, sale_price="Infinity"),
    "long_texts": _long_texts,
    "unknown_words": _unknown_words,
    "half_character": _half_character,
    "no_utf8": lambda told: told.update(buyer_message=_NO_UTF8),
    "wrong_types": lambda told: told.update(
        recipient_address="somewhere", is_cod="perhaps", warehouse_id=None, cancel_time=[1]
    ),
}
