"""Templates of a webhook: objects in which texts such as ``"$.user.email"`` are places of the canonical event."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from capi_async.plain import shown

_PLACE: Final = "$."


def at_place(value: Any, path: str) -> Any:
    """What stands at a dotted path; the empty path is the value itself, and ``None`` is nothing."""
    for key in path.split(".") if path else ():
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def filled(template: Any, event: Mapping[str, Any]) -> Any:
    """The template with the places in it replaced; keys of what the event lacks are left out."""
    if isinstance(template, str) and template.startswith(_PLACE):
        return at_place(event, template[len(_PLACE) :])
    if isinstance(template, Mapping):
        found = {key: filled(value, event) for key, value in template.items()}
        return {key: value for key, value in found.items() if value is not None}
    if isinstance(template, (list, tuple)):
        return [value for one in template if (value := filled(one, event)) is not None]
    return template


def odd_template(template: object, places: Mapping[str, frozenset[str] | None]) -> str:
    """What is wrong with it, in words; empty: nothing.

    Args:
        places: Keys of the canonical form to the keys below them; ``None``: what stands below is not known before.
    """
    if not isinstance(template, Mapping) or not template:
        return "needs a mapping of keys to values or places such as '$.value'"
    try:
        return _odd(template, places)
    except RecursionError:
        return "holds itself, or is nested too deep"


def _odd(value: object, places: Mapping[str, frozenset[str] | None]) -> str:
    if isinstance(value, str):
        return _odd_place(value, places) if value.startswith(_PLACE) else ""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return "has a key that is no text"
        return next(filter(None, (_odd(one, places) for one in value.values())), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, (_odd(one, places) for one in value)), "")
    if value is None or isinstance(value, (bool, int, Decimal)) or (isinstance(value, float) and math.isfinite(value)):
        return ""
    return f"holds a value that JSON has not ({type(value).__name__})"


def _odd_place(text: str, places: Mapping[str, frozenset[str] | None]) -> str:
    first, _, rest = text[len(_PLACE) :].partition(".")
    below = places.get(first)
    if first not in places or (below is not None and rest and rest.partition(".")[0] not in below):
        return f"asks for {shown(text)!r}, and no event that is sent with these identifiers_as has such a place"
    return ""
