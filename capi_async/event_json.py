"""Events out of JSON and out of plain mappings, and what is wrong with those that are none.

The errors of the decoder are put into our words, with the path of the field and without its value. Nothing here knows
the fields of an event: they are those of the struct that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from capi_async.errors import EventError
from capi_async.event_checks import MAX_ITEMS, MAX_JSON_BYTES, TIME_ADVICE
from capi_async.plain import shown

T = TypeVar("T", bound=Struct)

_TOO_DEEP: Final = "is nested too deeply; flatten properties and extra"
#: Shorter JSON cannot hold too much of anything.
_USUAL_JSON: Final = 64 * 1024


class _Outline(Struct):
    """What of an event's JSON is counted before any of it is read."""

    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


_outline: Final = msgspec.json.Decoder(_Outline)


def _require_bounds(data: bytes | str) -> None:
    if len(data) > MAX_JSON_BYTES:
        raise EventError("", f"is longer than {MAX_JSON_BYTES:,} bytes; no platform takes such an event")
    try:
        items = _outline.decode(data).items
    except (msgspec.MsgspecError, UnicodeError, RecursionError):  # the decoder says it better
        return
    if isinstance(items, list) and len(items) > MAX_ITEMS:
        raise EventError("items", f"holds more than {MAX_ITEMS:,} items; is it one order?")


_AT: Final = re.compile(r"(?P<text>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>[^`]{0,64})")
_EXPECTED: Final = re.compile(r"(Expected|Object missing required field|Invalid enum value|Invalid RFC3339)")


def _translated(error: msgspec.ValidationError) -> EventError:
    """Our error for a decoder's, with the path of the field and without its value."""
    match = _AT.fullmatch(str(error))
    text, path = (match["text"], match["path"] or "") if match else (str(error), "")
    cause = error.__cause__
    if isinstance(cause, EventError):
        index = re.match(r"items\[\d+\]", path)
        field = cause.field.replace("items", index[0], 1) if index else cause.field
        return EventError(field, cause.reason)
    if unknown := _UNKNOWN.match(text):
        return EventError(f"{path}.{shown(unknown['name'])}".lstrip("."), "there is no such field; check its spelling")
    if path.endswith(("time", "fbclid_seen")):
        return EventError(path, TIME_ADVICE)
    if text.startswith("Invalid enum value"):
        text = "not one of the values this field takes"
    return EventError(path, text if _EXPECTED.match(text) else text.partition("`")[0].strip())


def decoded(data: bytes | str, decoder: msgspec.json.Decoder[T]) -> T:
    """One JSON object; see :meth:`capi_async.event.Event.from_json`."""
    if len(data) > _USUAL_JSON:
        _require_bounds(data)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _translated(error) from None
    except RecursionError:
        raise EventError("", _TOO_DEEP) from None
    except msgspec.DecodeError as error:
        # the library's text gives a byte position and no content
        raise EventError("", f"not a JSON object: {error}") from None
    except UnicodeError:
        raise EventError("", "not UTF-8 text") from None


def converted(data: Mapping[str, Any], kind: type[T]) -> T:
    """A mapping of plain Python values; see :meth:`capi_async.event.Event.from_dict`."""
    if isinstance(data, dict) and isinstance(items := data.get("items"), (list, tuple)) and len(items) > MAX_ITEMS:
        raise EventError("items", f"holds more than {MAX_ITEMS:,} items; is it one order?")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _translated(error) from None
    except RecursionError:
        raise EventError("", _TOO_DEEP) from None
