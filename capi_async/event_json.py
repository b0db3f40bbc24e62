"""Events out of JSON and out of plain mappings, and what is wrong with those that are none.

The errors of the decoder are put into our words, with the path of the field and without its value. Nothing here knows
the fields of an event: they are those of the struct that is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import Struct

from capi_async.amounts import RIGHT, unread
from capi_async.errors import EventError
from capi_async.event_checks import MAX_ITEMS, MAX_JSON_BYTES, TIME_ADVICE
from capi_async.json_keys import twice_at
from capi_async.nearest import nearest
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
_TEXT_OR_DIGEST: Final = re.compile(r"Expected `str \| object(?P<kinds>[^`]*)`, got `(?P<got>\w+)`")
_AS_TEXT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("int", "float"), "; write it in quotes"),
    **dict.fromkeys(("date", "datetime"), "; write it as text, such as 1997-12-26"),
}
_EXPECTED: Final = re.compile(r"(Expected|Object missing required field|Invalid enum value|Invalid RFC3339)")


def _fields_at(kind: type[Struct], path: str) -> tuple[str, ...]:
    """The fields of what stands at a path such as ``user`` or ``items[3]``."""
    below: Any = kind
    for name in _INDEX.sub("", path).split("."):
        below = next((field.type for field in msgspec.structs.fields(below) if field.name == name), below)
        below = next(_structs(below), kind)
    fields: tuple[str, ...] = below.__struct_fields__
    return fields


def _structs(annotation: object) -> Iterator[type[Struct]]:
    """The structs that a field of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        yield annotation
    for one in get_args(annotation):
        yield from _structs(one)


_INDEX: Final = re.compile(r"\[[^]]*\]")


def _translated(error: msgspec.ValidationError, kind: type[Struct], plain: Callable[[], Any]) -> EventError:
    """Our error for a decoder's, with the path of the field and without its value.

    Args:
        plain: Gives the object in plain values.
    """
    match = _AT.fullmatch(str(error))
    text, path = (match["text"], match["path"] or "") if match else (str(error), "")
    cause = error.__cause__
    if isinstance(cause, EventError):
        index = re.match(r"items\[\d+\]", path)
        field = cause.field.replace("items", index[0], 1) if index else cause.field
        if field == "digest" and path:  # of a struct that stands in many fields, and knows not in which
            field = f"{path}.digest"
        return EventError(field, cause.reason)
    if unknown := _UNKNOWN.match(text):
        hint = nearest(unknown["name"], _fields_at(kind, path)) or "; check its spelling"
        return EventError(f"{path}.{shown(unknown['name'])}".lstrip("."), f"there is no such field{hint}")
    if path.endswith(("time", "fbclid_seen")):
        return EventError(path, TIME_ADVICE)
    if text.startswith("Invalid decimal"):
        return EventError(path, _amount_advice(plain, path))
    if text.startswith("Expected `decimal"):
        return EventError(path, f"needs an amount, as a number or decimal text; {RIGHT}")
    if found := _TEXT_OR_DIGEST.match(text):
        kinds = "text, a digest or a list of them" if "array" in found["kinds"] else "text or a digest"
        fix = _AS_TEXT.get(found["got"], "")
        return EventError(path, f"needs {kinds}, got {found['got']}{fix}")
    if text.startswith("Invalid enum value"):
        text = "not one of the values this field takes"
    return EventError(path, text if _EXPECTED.match(text) else text.partition("`")[0].strip())


def _amount_advice(plain: Callable[[], Any], path: str) -> str:
    """What is wrong with the text at a path that is no amount."""
    try:
        value = plain()
        for step in _STEP.findall(path):
            value = value[int(step[1:-1])] if step[0] == "[" else value[step]
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):  # a value that only the decoder reads
        value = "?"
    return unread(value) if isinstance(value, str) else f"is not a decimal number; {RIGHT}"


_STEP: Final = re.compile(r"\[\d+\]|[^.\[\]]+")
_TWICE: Final = (
    "stands twice in the same object, and readers of JSON disagree on which one counts; leave out the one that is wrong"
)


def _malformed(data: bytes | str, error: msgspec.DecodeError) -> str:
    """What is wrong with text that is no JSON; the library's words give a byte position and no content."""
    try:
        # the standard library takes half of a surrogate pair, which nothing can be sent with
        json.dumps(json.loads(data), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return _HALF_CHARACTER
    except (ValueError, RecursionError):
        pass
    return f"not a JSON object: {error}"


_HALF_CHARACTER: Final = (
    "holds half of a character (a lone surrogate, such as \\ud83d): the text was cut in the middle of an emoji; cut it "
    "between characters"
)


def _plain_json(data: object) -> bytes | str:
    """JSON in a subclass of text, which the decoder does not take, or in another buffer of bytes."""
    if isinstance(data, str):
        return str.__str__(data)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise EventError("", "needs JSON as text or bytes; Event.from_dict takes a mapping")


def decoded(data: bytes | str, decoder: msgspec.json.Decoder[T]) -> T:
    """One JSON object; see :meth:`capi_async.event.Event.from_json`."""
    if type(data) is not bytes and type(data) is not str:
        data = _plain_json(data)
    if len(data) > _USUAL_JSON:
        _require_bounds(data)
    try:
        made = decoder.decode(data)
        twice = twice_at(data)
    except msgspec.ValidationError as error:
        raise _translated(error, decoder.type, lambda: json.loads(data)) from None
    except RecursionError:
        raise EventError("", _TOO_DEEP) from None
    except msgspec.DecodeError as error:
        raise EventError("", _malformed(data, error)) from None
    except UnicodeError:
        raise EventError("", "not UTF-8 text") from None
    if twice is not None:
        raise EventError(twice, _TWICE)
    return made


def converted(data: Mapping[str, Any], kind: type[T]) -> T:
    """A mapping of plain Python values; see :meth:`capi_async.event.Event.from_dict`."""
    if not isinstance(data, Mapping):
        raise EventError("", "needs a mapping; Event.from_json takes JSON")
    if isinstance(data, dict) and isinstance(items := data.get("items"), (list, tuple)) and len(items) > MAX_ITEMS:
        raise EventError("items", f"holds more than {MAX_ITEMS:,} items; is it one order?")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _translated(error, kind, lambda: data) from None
    except RecursionError:
        raise EventError("", _TOO_DEEP) from None
    except UnicodeEncodeError:
        raise EventError("", _HALF_CHARACTER) from None
    except EventError:
        raise
    except Exception:  # whatever an object of the caller's may raise when it is looked into
        raise EventError("", "holds an object that cannot be read; give plain values") from None
