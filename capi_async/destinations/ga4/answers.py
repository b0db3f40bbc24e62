"""How Google Analytics answers. Source: sending and validating events, developers.google.com/analytics, read 2026-11.

``/mp/collect`` answers 2xx whatever it was sent, a wrong secret included: a yes proves nothing but the arrival.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from capi_async.destinations.ga4.wire import TEST
from capi_async.outcome import UNREADABLE, Response, Verdict, ambiguous, by_status, is_page, rejected, split

_ACCEPTED: Final = Verdict(
    kind="accepted", reason="accepted, unconfirmed: Google Analytics answers every event alike, good or bad"
)
_VALID: Final = Verdict(kind="accepted", reason="valid; the validation endpoint records nothing")
_INDEX: Final = re.compile(r"events\[(\d{1,4})\]")


class _Message(Struct):
    fieldPath: str | None = None  # noqa: N815 - the platform's key
    description: str | None = None
    validationCode: str | None = None  # noqa: N815


class _Validation(Struct):
    # that an empty list is there when all is well is not documented
    validationMessages: list[_Message] | None = None  # noqa: N815


_decoder: Final = msgspec.json.Decoder(_Validation)


def read(response: Response, count: int) -> list[Verdict]:
    """One verdict for each of ``count`` events."""
    if not 200 <= response.status < 300:
        return by_status(response, count)
    if is_page(response.body):  # none of Google's: something between answers in its place
        return [ambiguous(f"HTTP {response.status} with a page instead of Google's answer")] * count
    if not response.head.startswith(TEST):
        return [_ACCEPTED] * count
    try:
        found = _decoder.decode(response.body).validationMessages or []
    except UNREADABLE:
        return [ambiguous(f"HTTP {response.status} with an unreadable answer of the validation endpoint")] * count
    return _validated(found, count)


def _validated(messages: list[_Message], count: int) -> list[Verdict]:
    verdicts = [_VALID] * count
    for message in messages:
        said, path = message.description or message.validationCode or "invalid", message.fieldPath or ""
        code = message.validationCode or ""
        at = _INDEX.match(path)
        if at is None or int(at[1]) >= count:
            # it names the request or nothing at all; alone, an event is refused for it
            return [split(said, field=path, code=code)] * count
        if verdicts[int(at[1])] is _VALID:
            verdicts[int(at[1])] = rejected(said, field=path, code=code)
    return verdicts
