"""What an odd answer still says: JSON that is not quite JSON, times in other units, amounts in other spellings. Pure.

One value that nobody can read must cost no other: an answer holds up to a hundred orders, and most of what an order
holds is not needed for its purchase.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

#: Deeper than any answer that is documented; what is nested further is left out.
MAX_DEPTH: Final = 64
#: Whole numbers of more digits are no id, no time and no amount.
_MAX_DIGITS: Final = 40

#: Times before 2015 are no time of an order (there was no TikTok Shop), times from 2100 on are in another unit.
FIRST_TIME: Final = 1_420_070_400
END_OF_TIME: Final = 4_102_444_800
#: From here on a number counts thousandths of a second, or thousandths of these.
_THOUSANDTHS: Final = 100_000_000_000

#: Amounts beyond 10^15 are none: they would not fit into any platform's number either.
_MAX_MAGNITUDE: Final = 15

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,10})?")
_POINT_GROUPED: Final = re.compile(r"-?[0-9]{1,3}(?:\.[0-9]{3})*,[0-9]{1,2}|-?[0-9]+,[0-9]{1,2}")
_COMMA_GROUPED: Final = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]{1,2}")


def mended_json(data: bytes) -> bytes | None:
    """The same JSON with what a strict reader refuses taken out or replaced; ``None`` if it is no JSON even so.

    Text that is no UTF-8 and halves of surrogate pairs become U+FFFD; ``NaN`` and the infinities, numbers of more than
    40 digits, and what is nested more than 64 deep become ``null``; control characters inside texts stay.
    """
    text = _flattened(data.decode("utf-8", "replace"))
    # no exception leaves here: a JSON decoder's own holds the whole text
    with suppress(ValueError, InvalidOperation, RecursionError):
        value = json.loads(text, strict=False, parse_float=Decimal, parse_int=_whole, parse_constant=lambda _name: None)
        return _ENCODER.encode(_without_halves(value))
    return None


#: Amounts stay exact, and stay numbers.
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


def _flattened(text: str) -> str:
    """The text with ``null`` in place of whatever is nested too deeply for a parser that recurses."""
    kept: list[str] = []
    depth = at = 0
    for token in _TOKEN.finditer(text):
        match token.group()[0]:
            case "[" | "{":
                depth += 1
                if depth == MAX_DEPTH + 1:
                    kept.append(text[at : token.start()])
            case "]" | "}":
                if depth == MAX_DEPTH + 1:
                    kept.append("null")
                    at = token.end()
                depth -= 1
    if not kept:
        return text
    # cut off inside of what is nested too deeply: no JSON, and the parser says so
    return "".join([*kept, text[at:] if depth <= MAX_DEPTH else ""])


def _without_halves(value: Any) -> Any:
    """The value without halves of surrogate pairs, which no UTF-8 can carry."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_without_halves(one) for one in value]
    if isinstance(value, dict):
        return {_without_halves(name): _without_halves(one) for name, one in value.items()}
    if isinstance(value, Decimal) and amount(value) is None:
        return None
    return value


def instant(value: object) -> int:
    """Seconds since the epoch, whichever unit or spelling they came in; 0 if it is no time of an order.

    Takes seconds, milliseconds, microseconds and nanoseconds, as numbers or as text, and ISO 8601 with an offset.
    """
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            value = float(text)
        else:
            try:
                told = datetime.fromisoformat(text) if len(text) < 64 else None
            except ValueError:
                told = None
            if told is None or told.tzinfo is None:
                return 0
            value = told.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not 0 < value < 10**20:
        return 0
    while value >= _THOUSANDTHS:
        value /= 1000
    return int(value) if FIRST_TIME <= value < END_OF_TIME else 0


def amount(value: Decimal) -> Decimal | None:
    """The amount, unless it is none: not a number, infinite, or of an absurd size or precision."""
    if not value.is_finite():
        return None
    _sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < -_MAX_MAGNITUDE * 2 or len(digits) > _MAX_DIGITS:
        return None
    return None if exponent > _MAX_MAGNITUDE or (value and value.adjusted() > _MAX_MAGNITUDE) else value


def amount_of(text: str) -> Decimal | None:
    """An amount that is written as people write it, where only one meaning is possible: ``59,39``, ``1,234.50``.

    ``1,234`` is none of these: it may be either.
    """
    text = text.strip()
    if _POINT_GROUPED.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if _COMMA_GROUPED.fullmatch(text):
        return Decimal(text.replace(",", ""))
    return Decimal(text) if _NUMBER.fullmatch(text) else None
