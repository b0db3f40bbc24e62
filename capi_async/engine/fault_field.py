"""Which field of an event is at fault when it cannot be mapped or encoded. Called only when that has failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from capi_async.event import Event
from capi_async.outcome import Outcome, OutcomeKind
from capi_async.spec import ENCODER, Destination

#: Levels from which nesting, and not a fault of ours, is taken for what has exhausted the stack.
_DEEP: Final = 50
#: Levels of an event that are searched for the field to name.
_LEVELS: Final = 16
#: Levels at which :func:`_depth` stops counting.
_TOO_DEEP: Final = 10_000


def too_deep(event: Event, destination: Destination) -> Outcome | None:
    """A refusal that names what is nested so deeply; ``None`` if nothing of the event's is, so the fault is not its."""
    try:
        properties, extra = _depth(event.properties), _depth(destination.extra_of(event))
    except BaseException:  # an object of the caller's may raise anything when it is read
        return None
    if max(properties, extra) < _DEEP:
        return None
    return Outcome(
        kind="rejected",
        field="extra" if extra > properties else "properties",
        reason="is nested too deeply, or holds itself",
        fix="flatten it",
    )


def _depth(value: object) -> int:
    """Levels of objects and lists below ``value``; counts no further than where it is too deep."""
    levels = [iter((value,))]
    deepest = 0
    while levels and deepest < _TOO_DEEP:
        for one in levels[-1]:
            if isinstance(one, (Mapping, list, tuple)):
                levels.append(iter(one.values() if isinstance(one, Mapping) else one))
                deepest = max(deepest, len(levels) - 1)
                break
        else:
            levels.pop()
    return deepest


def unencodable(event: Event, error: BaseException) -> Outcome:
    """A refusal that names the field whose value JSON cannot carry."""
    kind: OutcomeKind = "rejected"
    if isinstance(error, UnicodeEncodeError):
        return Outcome(
            kind=kind,
            reason="holds half of a surrogate pair, which is no text",
            field=_first(event, _broken_text),
            fix="decode the text with errors='replace' where it comes from",
        )
    return Outcome(
        kind=kind,
        reason=f"holds a value that JSON cannot carry ({type(error).__name__})",
        field=_first(event, _no_json) or "properties",
        fix="use plain text, numbers, booleans, lists and objects",
    )


def _broken_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _no_json(value: object) -> bool:
    try:
        ENCODER.encode(value)
    except BaseException:  # as above
        return True
    return False


def _first(event: Event, guilty: Any) -> str:
    """Path of the first leaf for which ``guilty`` is true; called only when encoding has failed."""
    for path, value in _leaves("", event, 0):
        if guilty(value):
            return path
    return ""


def largest(event: Event) -> str:
    """Path of what takes most of an event's bytes: one text, or what holds many small things."""
    path, size = "", _size(event)
    value: Any = event
    for _ in range(_LEVELS):
        parts = [(_size(one), name, one) for name, one in _below(value)]
        most = max(parts, key=itemgetter(0), default=(0, "", None))
        # from where no part makes up the larger half on, all of it together is too much
        if path and most[0] * 2 <= size:
            break
        size, name, value = most
        path = _joined(path, str(name))
    return path


def _size(value: object) -> int:
    """Bytes of its JSON."""
    try:
        return len(ENCODER.encode(value))
    except BaseException:  # an object of the caller's may raise anything when it is read
        return 0


def _leaves(path: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    empty = True
    for name, one in _below(value) if depth <= _LEVELS else ():
        empty = False
        if _broken_text(name):
            yield path, name
            continue
        yield from _leaves(_joined(path, str(name)), one, depth + 1)
    if empty:
        yield path, value


def _below(value: Any) -> Iterable[tuple[Any, Any]]:
    """Name and value of everything that a value directly holds."""
    if hasattr(value, "__struct_fields__"):
        return [(name, getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, (list, tuple)):
        return ((f"[{index}]", one) for index, one in enumerate(value))
    return ()


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith("[") else f"{path}.{name}".lstrip(".")
