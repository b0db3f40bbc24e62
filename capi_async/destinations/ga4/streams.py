"""Ids of data streams, and what is mistaken for one. Google Analytics answers yes to a stream that does not exist.

Source: the Measurement Protocol's reference and Google's help pages on tags and streams, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_is_web: Final = re.compile(r"G-[A-Z0-9]{4,20}").fullmatch
_is_app: Final = re.compile(r"[0-9]+:[0-9]+:[a-z]+:[0-9A-Za-z]+").fullmatch
_WEB: Final = "needs the measurement id of a web stream, such as G-ABC123DEF4"
#: How ids begin that stand beside it in Google's pages.
_OTHERS: Final[Mapping[str, str]] = {
    "UA-": "is one of Universal Analytics, which has ended; it begins G-",
    "GT-": f"is that of a Google tag; {_WEB}",
    "GTM-": f"is that of a Tag Manager container; {_WEB}",
    "AW-": f"is that of a Google Ads account; {_WEB}",
    "DC-": f"is that of Floodlight; {_WEB}",
}


def odd_measurement_id(text: str) -> str:
    """What is wrong with it; empty: nothing."""
    if _is_web(text):
        return ""
    if _is_app(text.lower()):
        return "is that of an app: give it as firebase_app_id"
    if text.isdecimal():
        return f"is the number of a property or stream; {_WEB}"
    return next((said for start, said in _OTHERS.items() if text.startswith(start)), _WEB)


def odd_firebase_app_id(text: str) -> str:
    """What is wrong with it; empty: nothing."""
    if _is_app(text):
        return ""
    if _is_web(text.upper()):
        return "is that of a web stream: give it as measurement_id"
    return "needs the app id of Firebase, such as 1:1234567890:android:321abc456def7890"
