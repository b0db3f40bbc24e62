"""Which events count as which conversion action. No name is sent to Google: an event refers to a conversion action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from capi_async.destinations.tables import odd_name, pairs_of
from capi_async.plain import shown

if TYPE_CHECKING:
    #: Event name to the number of its conversion action.
    Conversions: TypeAlias = Mapping[str, str]
else:
    #: A variable of the environment holds it as text; :func:`actions_of` reads and checks both.
    Conversions = Any

#: Conversion actions that one request may refer to. Source: Data Manager API, limits, read 2026-11.
MAX_ACTIONS: Final = 10

_ID: Final = re.compile(r"[0-9]{1,19}").fullmatch
#: What stands in the browser's address when the action is open in Google Ads.
_ADDRESS: Final = re.compile(r"(?:https://ads\.google\.com/\S*[?&])?ctId=([0-9]{1,19})(?:[&#]\S*)?").fullmatch
_RESOURCE: Final = re.compile(r"customers/[0-9]+/conversionActions/([0-9]{1,19})").fullmatch


#: As Google Ads shows it, and what text programs make of its hyphens.
_SHOWN: Final = re.compile(
    r"([0-9]{3})[\s\-\u2010-\u2015\u2212]([0-9]{3})[\s\-\u2010-\u2015\u2212]([0-9]{4})"
).fullmatch


def customer_of(given: str) -> str:
    """The number of an account without the hyphens between its groups; any other text as it is."""
    found = _SHOWN(given.strip())
    return "".join(found.groups()) if found else given


def actions_of(given: object) -> dict[str, str] | str:
    """``conversions`` as event name to digits, or what is wrong with it, in words without the value.

    A table, or its text as an environment variable holds it: ``purchase=987654321,lead=987654322``, or JSON.
    """
    pairs = pairs_of(given)
    if pairs is None:
        return "needs event names with the number of a conversion action each, such as purchase=987654321"
    found: dict[str, str] = {}
    for name, value in pairs:
        if problem := odd_name(name):
            return problem
        name = name.strip()
        if name == "refund":
            return "cannot hold refund: Google would count it as one more sale"
        number = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if copied := _RESOURCE(number) or _ADDRESS(number):
            number = copied[1]  # the first form is that of the older Google Ads API
        if not _ID(number):
            return (
                "needs the digits of a conversion action for each event name: "
                "they stand behind ctId= in the browser's address when the action is open in Google Ads"
            )
        if found.setdefault(name, number) != number:
            return f"holds {shown(name)!r} twice; an event counts by one conversion action"
    return found
