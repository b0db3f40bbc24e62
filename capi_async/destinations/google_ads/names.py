"""Which events count as which conversion action. No name is sent to Google: an event refers to a conversion action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from capi_async.event import STANDARD_EVENTS

#: An event is looked up in ``conversions`` under its own name. A refund would be counted as revenue: the form of the
#: adjustment that it should be is not published.
STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    **{name: name for name in sorted(STANDARD_EVENTS)},
    "refund": None,
}

if TYPE_CHECKING:
    #: Event name to the number of its conversion action.
    Conversions: TypeAlias = Mapping[str, str]
else:
    #: A variable of the environment holds it as text; :func:`actions_of` reads and checks both.
    Conversions = Any

#: Conversion actions that one request may refer to. Source: Data Manager API, limits, read 2026-11.
MAX_ACTIONS: Final = 10

_ID: Final = re.compile(r"[0-9]{1,19}").fullmatch
_RESOURCE: Final = re.compile(r"customers/[0-9]+/conversionActions/([0-9]{1,19})").fullmatch
_NAMES_CHARS: Final = 100


def actions_of(given: object) -> dict[str, str] | str:
    """``conversions`` as event name to digits, or what is wrong with it, in words without the value.

    A table, or its text as an environment variable holds it: ``purchase=987654321,lead=987654322``, or JSON.
    """
    table = _table(given)
    if table is None:
        return "needs event names with the number of a conversion action each, such as purchase=987654321"
    found: dict[str, str] = {}
    for name, value in table.items():
        if not isinstance(name, str) or not (name := name.strip()) or len(name) > _NAMES_CHARS:
            return f"holds an event name that is no text of 1 to {_NAMES_CHARS} characters"
        if name == "refund":
            return "cannot hold refund: Google would count it as one more sale"
        number = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if resource := _RESOURCE(number):
            number = resource[1]  # as the older Google Ads API writes it
        if not _ID(number):
            return (
                "needs the digits of a conversion action for each event name: "
                "they stand behind ctId= in the browser's address when the action is open in Google Ads"
            )
        found[name] = number
    return found


def _table(given: object) -> Mapping[Any, Any] | None:
    if isinstance(given, str):
        text = given.strip()
        if text.startswith("{"):
            try:
                given = msgspec.json.decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return None
        else:
            pairs = [part.partition("=") for part in text.split(",") if part.strip()]
            if not all(mark for _, mark, _ in pairs):
                return None
            given = {name.strip(): value for name, _, value in pairs}
    return given if isinstance(given, Mapping) and given else None
