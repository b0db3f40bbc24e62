"""Values in plain JSON types: what an event holds of anybody's subclasses, once it is made.

A subclass of a plain type (numpy's, pandas', Django's SafeString, members of an Enum) prints, compares and encodes as
its author likes. It is read by the plain type's own methods, or refused.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

from capi_async.errors import EventError

#: Keys and values of ``properties`` and ``extra``, those inside others included.
MAX_VALUES: Final = 20_000
#: Characters of a name out of an event that an error repeats.
_SHOWN_CHARS: Final = 40
_SHOWN_DIGITS: Final = 6
_TOKEN_CHARS: Final = 16

_TOO_MANY: Final = f"holds itself, or more than {MAX_VALUES:,} values; an event is no place for a data set"
_NO_NUMBER: Final = "JSON has no NaN and no infinity; leave the number out"
_RAW: Final = "raw JSON is not looked into and could break a whole request; give plain values"
_DEEP: Final = "is nested too deeply, or holds itself"
_BROKEN: Final = "holds an object that cannot be looked into"


def shown(name: object) -> str:
    """A name from outside as an error may repeat it: short, of one line, and nobody's address, number or credential."""
    text = name if type(name) is str else str.__str__(name) if isinstance(name, str) else type(name).__name__
    if len(text) > _SHOWN_CHARS or "@" in text or sum(map(str.isdigit, text)) > _SHOWN_DIGITS or _is_token(text):
        return "<a name that is not repeated>"
    return "".join([char if char.isprintable() else "?" for char in text])


def _is_token(text: str) -> bool:
    """Whether it has the looks of a credential: capitals, small letters and digits, and many of them."""
    return len(text) >= _TOKEN_CHARS and all(any(map(kind, text)) for kind in (str.isupper, str.islower, str.isdigit))


def listed(names: Sequence[object], most: int = 20) -> str:
    """Names as an error may repeat them: no more than ``most``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def plain_text(value: object) -> str | None:
    """``value`` as plain text if it is text of some kind, else ``None``."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum) and isinstance(value.value, str):
        return str.__str__(value.value)
    return None


def plain_number(value: object) -> object:
    """``value`` as an exact int, float or Decimal, or as decimal text, if it is some kind of number; else unchanged."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, Enum):
        return plain_number(value.value)
    if _has(value, "dtype"):  # a scalar of numpy's that is no subclass: its text is the shortest that means it
        try:
            return str(value)
        except Exception:  # whatever an object of the caller's may raise
            return value
    return value


def _has(value: Any, *names: str) -> bool:
    """Whether an object has these attributes; one that raises when it is asked has none."""
    try:
        return all(hasattr(value, name) for name in names)
    except Exception:  # whatever an object of the caller's may raise
        return False


def plain_integer(value: object) -> object:
    """``value`` as an exact int if it is a whole number of some kind; else unchanged."""
    if isinstance(value, Enum) and not isinstance(value, int):
        value = value.value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if _has(value, "dtype", "__index__"):
        try:
            return operator.index(value)  # type: ignore[arg-type]  # it has what that asks for
        except Exception:  # whatever an object of the caller's may raise: it is no number then
            return value
    return value


def measured(field: str, root: Mapping[Any, Any]) -> tuple[int, int, bool]:
    """Values and characters of an object, and whether all of it is of plain types.

    Looks through it without recursion, and at no more than :data:`MAX_VALUES` of it.

    Raises:
        EventError: Too many values, a number that JSON does not have, or raw JSON.
    """
    try:
        return _measured(root)
    except _Found as found:
        raise EventError(_path(field, root), found.reason) from None
    except Exception:  # whatever an object of the caller's may raise when it is looked into
        raise EventError(field, _BROKEN) from None


class _Found(Exception):
    """What must not be in an event."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _measured(root: object) -> tuple[int, int, bool]:
    stack = [root]
    values = chars = 0
    plain = True
    while stack:
        one = stack.pop()
        kind = type(one)
        if kind is str:
            chars += len(one)  # type: ignore[arg-type]  # its type has just been asked for
        elif one is None or kind is bool or kind is int:
            pass
        elif isinstance(one, Mapping):
            plain = plain and kind is dict
            values += len(one)
            if values > MAX_VALUES:
                raise _Found(_TOO_MANY)
            for key in one:
                if type(key) is str:
                    chars += len(key)
                else:
                    plain = False
            stack.extend(one.values())
        elif isinstance(one, (list, tuple)):
            plain = plain and (kind is list or kind is tuple)
            values += len(one)
            if values > MAX_VALUES:
                raise _Found(_TOO_MANY)
            stack.extend(one)
        elif isinstance(one, float):
            plain = plain and kind is float
            if float.__sub__(one, one) != 0:
                raise _Found(_NO_NUMBER)
        elif isinstance(one, Decimal):
            plain = plain and kind is Decimal
            if not Decimal.is_finite(one):
                raise _Found(_NO_NUMBER)
        elif isinstance(one, msgspec.Raw):
            raise _Found(_RAW)
        else:
            plain = False
    return values, chars, plain


def _path(field: str, root: Mapping[Any, Any]) -> str:
    """``field`` with the first of its keys below which something must not be."""
    for key, value in root.items():
        try:
            _measured(value)
        except _Found:
            return f"{field}.{shown(key)}"
    return field


def made_plain(field: str, root: Mapping[Any, Any]) -> dict[str, Any]:
    """A copy in plain types. What JSON cannot carry at all stays, and is named when the event is encoded.

    Raises:
        EventError: As :func:`measured`, of what came to light.
    """
    try:
        copy: dict[str, Any] = _made(root)
    except RecursionError:
        raise EventError(field, _DEEP) from None
    except Exception:  # whatever an object of the caller's may raise when it is looked into
        raise EventError(field, _BROKEN) from None
    measured(field, copy)
    return copy


def _made(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (str, bool, int, float, Decimal):
        return value
    if isinstance(value, Mapping):
        return {_key(key): _made(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_made(one) for one in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float, Decimal)):
        return plain_number(value)
    if isinstance(value, Enum):
        return _made(value.value)
    if isinstance(value, datetime) and kind is not datetime:
        return _plain_datetime(value)
    if isinstance(value, date) and kind not in (date, datetime):
        return date(value.year, value.month, value.day)
    if _has(value, "dtype", "item"):
        found = value.item()
        return _made(found) if type(found) in (bool, int, float, str) else value
    if (
        isinstance(value, (set, frozenset))
        or hasattr(value, "__struct_fields__")
        or hasattr(value, "__dataclass_fields__")
    ):
        try:
            return _made(msgspec.to_builtins(value, builtin_types=(Decimal,), str_keys=True))
        except (TypeError, ValueError, OverflowError):
            return value
    return value


def _key(key: Any) -> Any:
    if type(key) is str:
        return key
    text = plain_text(key)
    return key if text is None else text


def _plain_datetime(value: datetime) -> datetime:
    return datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo
    )
