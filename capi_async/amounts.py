"""Money, read exactly.

A float is read through its shortest text, so that 19.99 is 19.99; text is read as a decimal number and never as a
float. What is no amount is refused with what is wrong with it and how it would be right, without the value itself.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from capi_async.errors import EventError
from capi_async.plain import plain_number, plain_text, shown

if TYPE_CHECKING:
    # What callers may pass. A made struct always holds a Decimal, which msgspec cannot say in one annotation.
    Amount: TypeAlias = Decimal | int | str | float
else:
    Amount = Decimal

#: Longer amounts are looked at more closely.
PLAIN_AMOUNT_CHARS: Final = 16
#: Larger than any order; keeps a mistyped exponent from becoming a megabyte of zeros.
_MAX_MAGNITUDE: Final = 15
_MAX_DECIMALS: Final = 30
_NUMBERS: Final = (str, Decimal, float, int)


def amount(value: Amount | None, field: str) -> Decimal | None:
    """Read money exactly.

    Raises:
        EventError: Not a number, not finite, negative, or beyond 10^15.
    """
    if value is None:
        return None
    # nothing about so few digits with a point between them need be checked further
    if (
        type(value) is str
        and len(value) <= PLAIN_AMOUNT_CHARS
        and value.isascii()
        and value.replace(".", "", 1).isdigit()
    ):
        return Decimal(value)
    number = _number(value, field)
    if not number.is_finite():
        raise EventError(field, "must be finite")
    if number.is_signed():
        if number:
            raise EventError(field, "must not be negative; a refund is Event('refund', ...)")
        number = abs(number)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_MAX_DECIMALS or (number and number.adjusted() > _MAX_MAGNITUDE):
        raise EventError(field, "is not an amount of money: its exponent is out of range")
    return Decimal(int(number)) if exponent > 0 else number


@lru_cache(maxsize=8192)
def price(text: str) -> Decimal | None:
    """The price of an item out of short text: prices come back, an order's totals hardly do.

    Raises:
        EventError: As :func:`amount`.
    """
    return amount(text, "items.price")


def _number(value: object, field: str) -> Decimal:
    known: Any = value
    if type(value) not in _NUMBERS:
        text = plain_text(value)
        known = plain_number(value) if text is None else text
    kind = type(known)
    if kind is Decimal:
        number: Decimal = known
        return number
    if kind is str:
        try:
            return Decimal(known)
        except (InvalidOperation, ValueError):
            raise EventError(field, unread(known)) from None
    if kind is float:
        return Decimal(repr(known))
    if kind is int:
        return Decimal(known)
    raise EventError(field, f"needs a Decimal, int, float or decimal text, got {shown(type(value).__name__)}")


_BLANK: Final = "is empty text; leave the field out where there is no amount"
_COMMA: Final = re.compile(r"[0-9]+,[0-9]{1,2}")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(?:[,.'’\s][0-9]{3})+(?:[.,][0-9]{1,2})?")
_DRESSED: Final = re.compile(r"[^0-9]*[0-9][0-9.,'’\s]*[^0-9]*")
#: How an amount is written.
RIGHT: Final = "write digits with a point before the cents, such as '12.50' or '1234.50'"


def unread(text: str) -> str:
    """What is wrong with text that is no decimal number, and what would be right; without the text itself."""
    bare = text.strip()
    if not bare:
        return _BLANK
    if _COMMA.fullmatch(bare):
        return f"is not a decimal number: it has a decimal comma; {RIGHT}"
    if _GROUPED.fullmatch(bare):
        return f"is not a decimal number: it has a separator between the thousands; {RIGHT}"
    if _DRESSED.fullmatch(bare):
        return f"is not a decimal number: something stands before or after it (a currency belongs in currency); {RIGHT}"
    return f"is not a decimal number; {RIGHT}"
