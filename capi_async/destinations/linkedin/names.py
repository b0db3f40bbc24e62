"""Which events count by which conversion rule. No name is sent to LinkedIn: a rule of the ad account has the type.

Source: LinkedIn's Conversions API schema, May 2026, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

from capi_async.destinations import refusals
from capi_async.destinations.tables import LOOKED_UP, odd_name, pairs_of
from capi_async.spec import Refusal

if TYPE_CHECKING:
    #: Event name to the number of its conversion rule, or a list of several; the checked table holds the numbers alone.
    Conversions: TypeAlias = Mapping[str, str | int | list[str] | tuple[str, ...]]
    #: Event name to the number of the browser's conversion rule.
    BrowserConversions: TypeAlias = Mapping[str, str | int]
else:
    #: A variable of the environment holds it as text; :func:`rules_of` reads and checks both.
    Conversions = Any
    BrowserConversions = Any

URN: Final = "urn:lla:llaPartnerConversion:"
#: Rules that one event may count by; our own bound.
MAX_RULES: Final = 10

_NUMBER: Final = re.compile(r"[0-9]{1,19}").fullmatch

#: Standard event to the type of the rule that is to be made for it.
_TYPES: Final[Mapping[str, str]] = {
    "page_view": "KEY_PAGE_VIEW", "view_content": "VIEW_CONTENT", "search": "SEARCH", "add_to_cart": "ADD_TO_CART",
    "add_to_wishlist": "ADD_TO_LIST", "initiate_checkout": "START_CHECKOUT", "add_payment_info": "ADD_BILLING_INFO",
    "purchase": "PURCHASE", "lead": "LEAD", "sign_up": "SIGN_UP", "subscribe": "SUBSCRIBE",
    "start_trial": "START_TRIAL", "login": "LOGIN", "contact": "CONTACT", "download": "DOWNLOAD",
    "app_install": "INSTALL", "view_list": "VIEW_CONTENT", "watch_video": "VIEW_VIDEO", "share": "SHARE",
    "rate": "RATE", "save": "SAVE", "invite": "INVITE", "reserve": "BOOK_APPOINTMENT", "schedule": "SCHEDULE",
    "submit_application": "SUBMIT_APPLICATION", "ad_click": "AD_CLICK", "ad_view": "AD_VIEW",
}  # fmt: skip


def rules_of(given: object) -> dict[str, tuple[str, ...]] | str:
    """``conversions`` as event name to numbers of rules, or what is wrong with it, in words without the value.

    A table of numbers, their URNs, or lists of those; or its text: ``purchase=104012,lead=104013,lead=104019``.
    """
    pairs = pairs_of(given)
    if pairs is None:
        return "needs event names with the number of a conversion rule each, such as purchase=104012"
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if problem := odd_name(name):
            return problem
        name = name.strip()
        if name == "refund":
            return "cannot hold refund: LinkedIn would count it as one more sale"
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        numbers = [number_of(one) for one in values]
        if not all(numbers) or not numbers:
            return (
                "needs the number of a conversion rule for each event name, or its URN, "
                f"such as {URN}104012; a list where one event counts by several"
            )
        found[name] = tuple(dict.fromkeys([*found.get(name, ()), *filter(None, numbers)]))
        if len(found[name]) > MAX_RULES:
            return f"has more than {MAX_RULES} conversion rules for one event"
    return found


def number_of(given: object) -> str:
    """A rule's number, of the forms in which people have it; empty: it is none."""
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        return ""
    # in addresses of the API its colons are written %3A
    text = unquote(str(given).strip()).removeprefix(URN)
    return text if _NUMBER(text) else ""


def no_rule(name: str) -> Refusal:
    """No rule is known for an event of this name."""
    return _NO_RULE.get(name, _NO_RULE_OF_ITS_OWN)


def _no_rule(kind: str) -> Refusal:
    return refusals.no_such_event(
        f"make a conversion rule of type {kind} with the Conversions API as its source, and add its number to "
        "conversions on the destination",
        "no conversion rule for this event here",
    )


_NO_RULE: Final = {name: _no_rule(_TYPES.get(name, "OTHER")) for name, there in LOOKED_UP.items() if there is not None}
_NO_RULE_OF_ITS_OWN: Final = _no_rule("OTHER, or the one that fits,")
