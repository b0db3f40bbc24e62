"""The state of Google's Consent Mode v2.

Sources, read 2026-11: Google, "Set up consent mode on websites" (the names and values of the state). The letters of
``gcd`` are not documented by Google; they are read as everybody who watched them does, and an unknown one states
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from capi_async.errors import ConsentError
from capi_async.event import Consent

CHOICES: Final = ("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage")

_GCS: Final = re.compile(r"G1([01-])([01-])").fullmatch
_GCD: Final = re.compile(r"1[13]([a-z])[1-9]([a-z])[1-9]([a-z])[1-9]([a-z])[0-9](?:[a-z0-9]*)").fullmatch
#: In the order in which they stand in ``gcd``.
_ORDER: Final = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")
_GRANTED: Final = frozenset("tnrv")
_DENIED: Final = frozenset("pqmu")


def consent_of_google(state: Mapping[str, Any] | str) -> Consent:
    """The choices that Consent Mode states.

    Args:
        state: ``{"ad_storage": "granted", ...}`` as it is given to ``gtag("consent", ...)``, ``True`` and ``False``
            too; other keys are passed over. Or the text of the parameter ``gcd`` or ``gcs`` of a request of Google's
            tag.

    Raises:
        ConsentError: A value that is neither granted nor denied, or a text that is neither parameter.
    """
    if isinstance(state, str):
        return _of_parameter(state.strip())
    choices: dict[str, Any] = {name: _choice(name, state[name]) for name in CHOICES if state.get(name) is not None}
    return Consent(**choices)


def _choice(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text not in ("granted", "denied"):
        raise ConsentError(f"{name} of Google's Consent Mode is neither 'granted' nor 'denied'")
    return text == "granted"


def _of_parameter(text: str) -> Consent:
    if match := _GCS(text):
        ads, analytics = ({"1": True, "0": False}.get(digit) for digit in match.groups())
        return Consent(ad_storage=ads, analytics_storage=analytics)
    match = _GCD(text)
    if match is None:
        raise ConsentError("a text of Google's Consent Mode is neither gcd nor gcs, such as 13r3r3r3r5 and G111")
    said = dict(zip(_ORDER, match.groups(), strict=True))
    granted = dict.fromkeys((name for name in _ORDER if said[name] in _GRANTED), True)
    choices: dict[str, Any] = granted | dict.fromkeys((name for name in _ORDER if said[name] in _DENIED), False)
    return Consent(**choices)
