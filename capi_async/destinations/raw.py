"""Fields that a caller gives in a platform's own words: laid over the event, checked, and named if they do not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.destinations.forms import read
from capi_async.plain import shown
from capi_async.spec import Refusal


def laid_over(body: Struct | Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``extra`` over the event's own object: objects key by key, ``None`` takes a key away, all else is replaced."""
    base: dict[str, Any] = msgspec.to_builtins(body, builtin_types=(Decimal,))
    return _laid(base, extra)


def _laid(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in extra.items():
        if value is None:
            # no platform documents null, and several refuse it
            base.pop(key, None)
        elif isinstance(value, Mapping):
            # a copy: what is added later must not turn up in the caller's own dict
            below = base.get(key)
            base[key] = _laid(below if isinstance(below, dict) else {}, value)
        else:
            base[key] = value
    return base


def lost_key(extra: Mapping[str, Any], key: str) -> Refusal | None:
    """A refusal if ``extra`` takes an event's de-duplication key away.

    Without it the platform would count a second copy, and whether a copy is sent is decided long after the event was
    accepted. Another key in its place is the caller's to choose.

    Args:
        key: Where it stands, as a dotted path.
    """
    value: Any = extra
    for part in key.split("."):
        if not isinstance(value, Mapping):
            break  # what should hold it was replaced
        if part not in value:
            return None
        value = value[part]
    if isinstance(value, str) and value.strip():
        return None
    return Refusal(
        "rejected",
        f"extra.{key}",
        "the platform knows a second copy by it, so it must be text and not blank",
        f"leave {key} out of Event.extra, or give it as text",
    )


def not_of_the_event(extra: Mapping[str, Any], keys: frozenset[str]) -> Refusal | None:
    """A refusal if ``extra`` sets what belongs to the request or the account."""
    for key in extra:
        if key in keys:
            return Refusal(
                "rejected", f"extra.{key}", "a field of the request, not of the event", "set it on the destination"
            )
    return None


def checked_by(kind: type[Struct], body: Mapping[str, Any]) -> Struct | str | None:
    """The struct of a merged object; else the decoder's words on its first field that the platform would refuse.

    ``None``: it holds what JSON cannot carry, which the encoder will name.
    """
    try:
        return msgspec.convert(body, kind, strict=True, dec_hook=read)
    except msgspec.ValidationError as error:
        said = str(error)
    except _UNSAYABLE:
        return None
    try:
        # what is encoded as text, such as a UUID, is text there
        plain = msgspec.to_builtins(body, builtin_types=(Decimal,), str_keys=True)
        return msgspec.convert(plain, kind, strict=True, dec_hook=read)
    except msgspec.ValidationError as error:
        return str(error)
    except _UNSAYABLE:
        return said


_UNSAYABLE: Final = (TypeError, ValueError, OverflowError)


_SAID: Final = re.compile(r"(?P<what>.*?)(?: - at `(?P<of>key in )?\$\.?(?P<path>[^`]*)`)?\Z", re.DOTALL)
_NAMED: Final = re.compile(r"Object (?P<kind>missing required|contains unknown) field `(?P<name>[^`]*)`")
_EXPECTED: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`(?:, got `(?P<got>[^`]*)`| (?P<bound>.*))?\Z", re.DOTALL)
_STEP: Final = re.compile(r"[^.\[\]]+|\[\d+\]|\[\.\.\.\]")
_WORDS: Final = {
    "str": "text", "int": "a whole number", "float": "a number", "decimal": "a number", "bool": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def misfit(said: str, extra: Mapping[str, Any], properties: Mapping[str, Any], properties_at: str) -> Refusal:
    """The refusal of an event that a decoder has found wanting; its values are not repeated.

    Args:
        said: The decoder's words.
        extra: What the caller gave for this platform; what is wrong is looked for there first.
        properties_at: The key on the wire in which the event's properties lie; empty: beside the others.
    """
    match = _SAID.match(said)
    what, path = (match["what"], match["path"] or "") if match else (said, "")
    if named := _NAMED.match(what):
        name = named["name"]
        if named["kind"] == "contains unknown":
            return Refusal(
                "rejected",
                _whose(path, extra, properties, properties_at),
                f"{shown(name)!r} is not a field of this platform's schema, which refuses unknown ones",
                "remove it from Event.extra",
            )
        field = _whose(f"{path}.{name}".lstrip("."), extra, properties, properties_at)
        return Refusal("rejected", field, "the platform requires it there, and it is missing", "add it")
    return Refusal(
        "rejected",
        _whose(path, extra, properties, properties_at),
        f"{what if what.startswith('needs ') else f'needs {_wanted(what)}'} at this platform",
        "give it as the platform's documentation says, or leave it out",
    )


def _wanted(what: str) -> str:
    found = _EXPECTED.match(what)
    if found is None:
        return "one of its documented values"
    kinds = dict.fromkeys(_WORDS.get(one, "an object") for one in found["wanted"].split(" | ") if one != "null")
    wanted = " or ".join(kinds)
    if got := found["got"]:
        if got not in _WORDS or got == found["wanted"]:  # a class of the caller's may have any name
            return f"{wanted}, not a value of another kind,"
        return f"{wanted}, not {_WORDS[got]},"
    bound = found["bound"] or ""
    if most := _LENGTH.match(bound):
        return f"{wanted} of at {'most' if most[1] == '<' else 'least'} {most[2]} {_UNITS.get(found['wanted'], '')}"
    return f"{wanted} {bound}" if bound[:1] in ("<", ">") else f"{wanted} of its documented form"


_LENGTH: Final = re.compile(r"of length ([<>])= (\d+)")
_UNITS: Final = {"str": "characters", "array": "entries"}


def _whose(path: str, extra: Mapping[str, Any], properties: Mapping[str, Any], properties_at: str) -> str:
    """The path as the caller knows it: in ``extra``, or in the event's properties."""
    steps = _STEP.findall(path)
    place = [properties_at] if properties_at else []
    if not _leads_into(extra, steps) and steps[: len(place)] == place and steps[len(place) :]:
        own = steps[len(place) :]
        if own[0] in properties:
            return ".".join(["properties", *own]).replace(".[", "[")
    return ".".join(["extra", *steps]).replace(".[", "[")


def _leads_into(value: Any, steps: Sequence[str]) -> bool:
    """Whether a path, or all of it but what is missing at its end, is inside ``value``."""
    for position, step in enumerate(steps):
        if isinstance(value, Mapping):
            if step not in value:
                return position > 0 and position == len(steps) - 1
            value = value[step]
        elif isinstance(value, Sequence) and not isinstance(value, str) and step[1:-1].isdigit():
            value = value[int(step[1:-1])]
        else:
            return True
    return bool(steps)
