"""What the text of a spreadsheet's cell means: a number, a moment, yes or no. What could mean two things is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from capi_async.errors import EventError

_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
#: Separators of thousands in use somewhere: point, comma, apostrophes, and the blanks that spreadsheets write.
GROUPERS: Final = ".,'\u2019 \u00a0\u202f\u2009"
_PLAIN: Final = re.compile(r"[+-]?(?:[0-9]+|[0-9]*\.[0-9]+)\Z", re.ASCII)
_SHAPED: Final = re.compile(rf"([+-]?)([0-9](?:[0-9{re.escape(GROUPERS)}]*[0-9])?|[.,][0-9]+)\Z", re.ASCII)
_EXPONENT: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+\Z", re.ASCII)
#: A century of seconds; more digits are milliseconds. Only for advice: a bare number is never read.
_BARE_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?\Z", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"([0-9]{4})[/.]([0-9]{1,2})[/.]([0-9]{1,2})(?:[ T](.+))?\Z", re.ASCII)
_YEAR_LAST: Final = re.compile(r"([0-9]{1,2})([/.-])([0-9]{1,2})\2([0-9]{4})(?:,?[ T](.+))?\Z", re.ASCII)


class Numbers(Struct, frozen=True, kw_only=True):
    """How amounts are written.

    Attributes:
        decimal: The decimal separator, ``.`` or ``,``; empty: whatever can mean only one thing is taken.
        thousands: The separator between groups of three digits; empty: any usual one.
    """

    decimal: str = ""
    thousands: str = ""


def number(field: str, text: str, how: Numbers) -> str:
    """The amount in a cell, as decimal text with a point.

    Raises:
        EventError: It is no number, or it could be two (``1.234``) and the mapping does not say which.
    """
    if _PLAIN.match(text) and "." not in text:
        return text
    if _EXPONENT.match(text):
        raise EventError(field, "is written with an exponent, so a spreadsheet may have rounded it; write all digits")
    shaped = _SHAPED.match(text)
    if shaped is None:
        raise EventError(field, "is not a number; a cell holds digits and separators only, such as 1234.50")
    sign, digits = shaped.groups()
    readings = {
        (whole, cents)
        for decimal in (how.decimal or ".,")
        if (reading := _read_as(digits, decimal, how.thousands)) is not None
        for whole, cents in (reading,)
    }
    if not readings:
        raise EventError(field, f"does not fit {_said(how)}: its digits are not in groups of three")
    if len(readings) > 1:
        raise EventError(
            field,
            'can be read as a thousand or as a fraction; say which in the mapping: decimal = "." or decimal = ","',
        )
    whole, cents = readings.pop()
    return f"{sign}{whole or '0'}{'.' if cents else ''}{cents}"


def _read_as(digits: str, decimal: str, thousands: str) -> tuple[str, str] | None:
    """Whole digits and decimals, if ``digits`` is well written with this decimal separator."""
    whole, point, cents = digits.partition(decimal)
    if point and not cents.isdigit():
        return None
    if whole.isdigit() or not whole:
        return whole, cents
    found = {char for char in whole if not char.isdigit()}
    if len(found) != 1 or (thousands and found != {thousands}):
        return None
    first, *groups = whole.split(found.pop())
    # a group never begins with a lone zero: 0.125 is a fraction
    if not 1 <= len(first) <= 3 or first.startswith("0") or any(len(group) != 3 for group in groups):
        return None
    return first + "".join(groups), cents


def _said(how: Numbers) -> str:
    parts = [f"{name} = {value!r}" for name, value in (("decimal", how.decimal), ("thousands", how.thousands)) if value]
    return f"the mapping's {' and '.join(parts)}" if parts else "any way of writing a number"


def whole_number(field: str, text: str, how: Numbers) -> int:
    """A count; ``3.0``, as a column of floats writes it, is 3.

    Raises:
        EventError: It is not a whole number.
    """
    try:
        value = Decimal(number(field, text, how))
    except EventError as error:
        reason = error.reason if "can be read" in error.reason else "needs a whole number"
        raise EventError(field, reason) from None
    if value != value.to_integral_value() or abs(value) > 10**15:
        raise EventError(field, "needs a whole number")
    return int(value)


def yes_or_no(field: str, text: str) -> bool:
    """True or false.

    Raises:
        EventError: It is neither.
    """
    if text.lower() not in _WORDS:
        raise EventError(field, "needs true or false")
    return _WORDS[text.lower()]


class Moments(Struct, frozen=True):
    """How times are written.

    Attributes:
        format: ``iso``, ``epoch_seconds``, ``epoch_millis``, or a format of :func:`~datetime.datetime.strptime`;
            empty: ISO 8601, and dates whose order of day and month is plain.
        zone: Of times that state no offset.
    """

    format: str = ""
    zone: tzinfo | None = None


def moment(field: str, text: str, how: Moments) -> datetime:
    """The moment in a cell, in UTC.

    Raises:
        EventError: It has another form, could be two days, states no offset where none is known, or lies outside
            the calendar.
    """
    written = text if how.format else _iso(field, text)
    try:
        if how.format in ("epoch_seconds", "epoch_millis"):
            return datetime.fromtimestamp(float(text) / (1000 if how.format == "epoch_millis" else 1), UTC)
        is_iso = how.format in ("", "iso")
        time = datetime.fromisoformat(written) if is_iso else datetime.strptime(text, how.format)  # noqa: DTZ007
    except (ValueError, OverflowError, OSError):
        form = how.format or "of ISO 8601, such as 2026-07-01T12:30:00Z; say another as time.format in the mapping"
        raise EventError(field, f"does not have the form {form}") from None
    if time.tzinfo is None:
        if how.zone is None:
            raise EventError(field, "states no offset, and the mapping no time.zone")
        time = time.replace(tzinfo=how.zone)
    # an hour's shift may lead out of the calendar
    try:
        return time.astimezone(UTC)
    except (OverflowError, ValueError):
        raise EventError(field, "lies outside the calendar") from None


def _iso(field: str, text: str) -> str:
    """A date in one of the usual forms as ISO 8601; what could be two days is refused."""
    if _BARE_NUMBER.match(text) and not (len(text) == 8 and text.startswith(("19", "20"))):
        raise EventError(
            field,
            "is a bare number, whose unit cannot be known; say it in the mapping: "
            'time.format = "epoch_seconds" or "epoch_millis"',
        )
    if found := _YEAR_FIRST.match(text):
        year, month, day, rest = found.groups()
    elif found := _YEAR_LAST.match(text):
        first, separator, second, year, rest = found.groups()
        # points are written with the day first everywhere
        if separator == "." or int(first) > 12 or first == second:
            day, month = first, second
        elif int(second) > 12:
            month, day = first, second
        else:
            raise EventError(
                field,
                "can be read as two days; say which number is the month in the mapping: "
                f'time.format = "%d{separator}%m{separator}%Y" or "%m{separator}%d{separator}%Y"',
            )
    else:
        return text
    if not rest:
        return f"{year}-{int(month):02}-{int(day):02}"
    clock = f"0{rest}" if rest[1:2] == ":" else rest
    return f"{year}-{int(month):02}-{int(day):02}T{clock}"


def typed(field: str, text: str, kind: str, numbers: Numbers, moments: Moments) -> Any:
    """The value of a cell for a field of this kind: ``text``, ``number``, ``whole``, ``bool`` or ``time``.

    Raises:
        EventError: ``field`` and what it needs.
    """
    if kind == "number":
        return number(field, text, numbers)
    if kind == "whole":
        return whole_number(field, text, numbers)
    if kind == "bool":
        return yes_or_no(field, text)
    if kind == "time":
        return moment(field, text, moments)
    return text
