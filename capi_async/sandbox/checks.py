"""Reading events strictly: constrained field types, and what exactly is wrong with an event that does not fit.

An event that fits its struct costs one typed decode. Only one that does not fit is looked at a second time, as
plain JSON: to name the field, and to set aside keys that the platform would overlook.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, inspect

MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0
MB = 1_000_000
MIB = 1_048_576

_EMPTY_DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# The digest of "" identifies nobody: whoever sends it hashed a field that was absent.
HASH_PATTERN = rf"^(?!{_EMPTY_DIGEST})[0-9a-f]{{64}}\Z"

Hash = Annotated[str, Meta(pattern=HASH_PATTERN)]
# One digest or several. A lone one is checked by lone_problem: msgspec (up to 0.22) corrupts memory when a union holds
# a text with a pattern beside a list, and Python 3.12 and later abort at exit for it.
Hashes = str | list[Hash]
Text = Annotated[str, Meta(min_length=1)]
# Wide enough for every IPv4 and IPv6 spelling, too narrow for a digest or a host name.
Ip = Annotated[str, Meta(pattern=r"^(?=.*[.:])[0-9a-fA-F:.]{2,45}\Z")]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+\S*\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Flag = Literal[0, 1]
# Sixteen positional texts (Snap, Meta): a missing entry is "", never left out.
ExtInfo = Annotated[list[str], Meta(min_length=16, max_length=16)]

UUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")

_NO_DIGEST = "must be a SHA-256 digest in lower-case hex, and not of empty text"
_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?\Z", re.DOTALL)
_FIELD = re.compile(r"(?P<kind>missing required|unknown) field `(?P<name>[^`]*)`")
_EXPECTED = re.compile(r"Expected `(?P<type>[^`]*)`")
_INDEX = re.compile(r"\[(\d+)\]")

E_co = TypeVar("E_co", covariant=True)


def words(text: str) -> frozenset[str]:
    """A set of names from text."""
    return frozenset(text.split())


class Problem(Struct, frozen=True):
    """What is wrong with one event.

    Attributes:
        reason: For people; says the field and the rule, never the value.
        kind: ``missing``, ``unknown``, ``unhashed``, ``type`` or ``rule``.
        path: The field, dotted, with list positions: ``user_data.em.0``.
        expected: The JSON type asked for, when ``kind`` is ``type``.
        code: The platform's own number for it, where it has one; 0 otherwise.
    """

    reason: str
    kind: str = "rule"
    path: str = ""
    expected: str = ""
    code: int = 0


class Reader(Generic[E_co]):
    """Decodes the events of one struct type.

    Structs refuse unknown keys, so that a misspelt name is noticed. ``overlook`` says that the platform itself takes
    such events: then the keys are set aside and reported beside the event instead.
    """

    __slots__ = ("_decode", "_info", "_overlook", "_type")

    def __init__(self, type_: type[E_co], *, overlook: bool) -> None:
        self._type = type_
        self._decode = msgspec.json.Decoder(type_).decode
        self._info = inspect.type_info(type_)
        self._overlook = overlook

    def read(self, raw: msgspec.Raw) -> tuple[E_co | None, Problem | None, list[str]]:
        """The event or its problem, and the keys that were overlooked."""
        try:
            return self._decode(raw), None, []
        except msgspec.DecodeError as error:
            if not self._overlook:
                return None, describe(error), []
        unknown: list[str] = []
        try:
            plain = _without_unknown(msgspec.json.decode(raw), self._info, "", unknown)
            return msgspec.convert(plain, self._type), None, unknown
        except msgspec.DecodeError as error:
            return None, describe(error), unknown


def describe(error: Exception) -> Problem:
    """Turn a decoder's message into a problem with a dotted path."""
    match = _MESSAGE.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    path = _INDEX.sub(r".\1", path).lstrip(".")
    if field := _FIELD.search(what):
        path = f"{path}.{field['name']}".lstrip(".")
        if field["kind"] == "unknown":
            return Problem(f"{path}: unexpected property", "unknown", path)
        return Problem(f"{path}: required field is missing", "missing", path)
    if "[0-9a-f]{64}" in what:
        return Problem(f"{path}: {_NO_DIGEST}", "unhashed", path)
    expected = _EXPECTED.search(what)
    return Problem(f"{path}: {what}", "type", path, expected["type"] if expected else "")


def lone_problem(user: Struct, names: Sequence[str], path: str, pattern: re.Pattern[str]) -> Problem | None:
    """Refuse a field of one-or-several digests that holds a single text which is none."""
    for name in names:
        value = getattr(user, name)
        if type(value) is str and value and not pattern.match(value):
            at = f"{path}.{name}"
            return Problem(f"{at}: {_NO_DIGEST}", "unhashed", at)
    return None


def time_problem(seconds: float, now: float, *, max_age_s: float, max_future_s: float, path: str) -> Problem | None:
    """Refuse a time outside the window that the platform takes."""
    if now - seconds > max_age_s:
        return Problem(f"{path}: older than {max_age_s / DAY:g} days", path=path)
    if seconds - now > max_future_s:
        return Problem(f"{path}: more than {max_future_s:g} s in the future", path=path)
    return None


def _without_unknown(value: Any, info: inspect.Type, path: str, found: list[str]) -> Any:
    if isinstance(info, inspect.Metadata):
        return _without_unknown(value, info.type, path, found)
    if isinstance(info, inspect.UnionType):
        wanted = inspect.StructType if isinstance(value, dict) else inspect.ListType
        fitting = next((member for member in info.types if isinstance(member, wanted)), None)
        return value if fitting is None else _without_unknown(value, fitting, path, found)
    if isinstance(info, inspect.ListType) and isinstance(value, list):
        return [_without_unknown(item, info.item_type, path, found) for item in value]
    if not (isinstance(info, inspect.StructType) and isinstance(value, dict)):
        return value
    fields = {field.encode_name: field.type for field in info.fields}
    kept = {}
    for key, item in value.items():
        at = f"{path}.{key}".lstrip(".")
        if key in fields:
            kept[key] = _without_unknown(item, fields[key], at, found)
        elif info.forbid_unknown_fields:
            found.append(at)
    return kept
