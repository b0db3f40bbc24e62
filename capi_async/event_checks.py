"""What the structs of :mod:`capi_async.event` check their values with: types, lengths, choices, times.

The usual value passes one look at all fields of a struct together; whatever does not is then looked at field by field,
made plain where it is a subclass of somebody's, or refused with the field's path and the mend, never with the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import force_setattr

from capi_async.errors import EventError
from capi_async.plain import plain_text, shown

# Bounds of one event, checked when it is made: one that is larger would hold up all others on their way. The number of
# values in properties and extra is bounded too, see :data:`capi_async.plain.MAX_VALUES`.

#: Lines of a cart or an order.
MAX_ITEMS: Final = 10_000
#: Values of one user field, such as e-mail addresses.
MAX_IDENTIFIERS: Final = 100
#: Names in ``Event.to``.
MAX_ADDRESSEES: Final = 1_000
#: Characters of all texts of an event together; those of its user, page, click ids, app and device are bounded each by
#: itself. No platform takes a request of more than four million bytes.
MAX_EVENT_CHARS: Final = 2 * 1024 * 1024
TOO_LARGE: Final = f"makes the event larger than {MAX_EVENT_CHARS:,} characters; no platform takes that"
#: Bytes of an event's JSON: what is larger is not looked into.
MAX_JSON_BYTES: Final = 4 * 1024 * 1024

#: Texts up to this length need not be counted.
USUAL_CHARS: Final = 4_096
#: With fewer items, none of them unusual, the texts need not be counted.
USUAL_ITEMS: Final = 64


def shown_fields(struct: Struct) -> str:
    """The struct's repr without its values: they are personal data."""
    names = [name for name in struct.__struct_fields__ if getattr(struct, name) not in (None, (), "")]
    return f"{type(struct).__name__}({', '.join(f'{name}=…' for name in names)})"


def is_short(value: object) -> bool:
    """Whether this is text of no length to speak of, and of no subclass.

    Whatever is not, may be good all the same; it is then looked at more closely.
    """
    return type(value) is str and len(value) <= USUAL_CHARS


def require_text(struct: Struct, where: str, names: Sequence[str], *, besides: type | None = None) -> None:
    """Make plain what is text of some kind, and name what is not; called when the quick check of all has failed.

    Raises:
        EventError: No text, or more of it than an event may hold.
    """
    chars = 0
    for name in names:
        value = getattr(struct, name)
        if value is None or (besides is not None and isinstance(value, besides)):
            continue
        if type(value) is not str:
            text = plain_text(value)
            if text is None:
                kinds = f"text or {besides.__name__}" if besides else "text"
                raise EventError(f"{where}{name}", f"needs {kinds}, got {kind_of(value)}")
            force_setattr(struct, name, text)
            value = text
        chars += len(value)
        if chars > MAX_EVENT_CHARS:
            raise EventError(f"{where}{name}", TOO_LARGE)


def kind_of(value: object) -> str:
    """The name of a value's type, as an error may repeat it."""
    return shown(type(value).__name__)


def require_one_of(struct: Struct, where: str, name: str, choices: tuple[Any, ...], wanted: str) -> None:
    value = getattr(struct, name)
    text = plain_text(value)
    if text is not None and text in choices:
        force_setattr(struct, name, text)
    elif value is not None or None not in choices:
        raise EventError(f"{where}{name}", wanted)


TIME_ADVICE: Final = (
    "needs a date and time with its offset, such as 2026-01-31T12:00:00Z or datetime.now(timezone.utc); "
    "a bare number is refused, because its unit (seconds, milliseconds) cannot be known"
)


def require_aware(struct: Struct, where: str, name: str) -> None:
    """Refuse what is no aware time, and make plain what is one of somebody's own class or zone."""
    value: Any = getattr(struct, name)
    if type(value) is datetime and value.tzinfo is UTC:
        return
    field = f"{where}{name}"
    if not isinstance(value, datetime):
        raise EventError(field, TIME_ADVICE)
    try:
        offset = value.utcoffset()
        if offset is None:
            raise EventError(field, f"has no time zone: {TIME_ADVICE}")
        if type(value) is datetime and type(value.tzinfo) in (timezone, ZoneInfo):
            return
        zone = UTC if offset == timedelta() else timezone(offset)
        plain = datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, zone
        )
    except EventError:
        raise
    except Exception:  # a class and a zone are the caller's code, and pandas has times that are none
        raise EventError(field, f"is no time: {TIME_ADVICE}") from None
    force_setattr(struct, name, plain)
