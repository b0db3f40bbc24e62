"""Settings that say what an account calls its events: tables, or their text as a variable of the environment has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from capi_async.event import STANDARD_EVENTS

#: Of platforms that are told a number of the account's own instead of a name: an event is looked up in the account's
#: table under its own name. A refund has no place in it, because it would be counted as one more sale.
LOOKED_UP: Final[Mapping[str, str | None]] = {**{name: name for name in sorted(STANDARD_EVENTS)}, "refund": None}

#: Characters that an event's name in such a table has at most.
MAX_NAME: Final = 100


def pairs_of(given: object) -> list[tuple[Any, Any]] | None:
    """The names of a table and what stands behind each; ``None``: it is none, or an empty one.

    As text it is JSON, or ``purchase=987654321,lead=987654322``, in which a name may stand more than once.
    """
    if isinstance(given, str):
        text = given.strip()
        if text.startswith("{"):
            try:
                given = msgspec.json.decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return None
        else:
            parts = [part.partition("=") for part in text.split(",") if part.strip()]
            if not all(mark for _, mark, _ in parts):
                return None
            return [(name.strip(), value.strip()) for name, _, value in parts] or None
    return list(given.items()) or None if isinstance(given, Mapping) else None


def odd_name(name: object) -> str:
    """What is wrong with a name of such a table; empty: nothing."""
    if not isinstance(name, str) or not name.strip() or len(name.strip()) > MAX_NAME:
        return f"holds an event name that is no text of 1 to {MAX_NAME} characters"
    return ""
