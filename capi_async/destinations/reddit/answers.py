"""What Reddit's answers mean. Source: Reddit's server-side tag template 2.0.0, public reports of errors, read 2026-11.

One invalid event refuses its whole request and nothing of it is stored. An error may list the fields at fault, and
often does not; the form of their paths is UNVERIFIED, so nobody is refused for an index in one: the request is halved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, by_status, redact


class _Data(Struct):
    message: Any = None


class _Error(Struct):
    # only words are read, so a field of an odd kind must not hide the others
    code: Any = None
    message: Any = None
    fields: Any = None


class _Answer(Struct):
    data: _Data | None = None
    error: _Error | None = None


_answer: Final = msgspec.json.Decoder(_Answer)

_FIXES: Final[Mapping[int, str]] = {
    401: "check access_token: a conversion access token of Events Manager does not expire, but can be revoked",
    403: "check pixel_id, and that access_token is of the business that owns this pixel",
    404: "check pixel_id: it is the pixel's id, not always that of the ad account",
    413: "lower max_batch_bytes",
}
_COUNT: Final = re.compile(r"\d[\d,]*")
_PLACE: Final = re.compile(r"\A(?:data\.)?events(?:\[\d+\]|\.\d+)\.")
#: Fields of an error that are told; of a thousand events there may be thousands.
_MOST_FIELDS: Final = 3


def verdicts(response: Response, count: int) -> list[Verdict]:
    """One verdict per event; they are all alike, because Reddit takes or refuses a request as a whole."""
    verdict = by_status(response, 1)[0]
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        return [_helped(verdict, response.status)] * count
    if answer.error is not None:
        return [_told(verdict, answer.error, response.status, alone=count == 1)] * count
    if 200 <= response.status < 300 and answer.data is not None and isinstance(answer.data.message, str):
        return [_counted(answer.data.message, count)] * count
    return [_helped(verdict, response.status)] * count


def _counted(sentence: str, count: int) -> Verdict:
    """The number of events stands in a sentence only; one without a number is a success as well."""
    found = _COUNT.search(sentence[:200])
    if found is None or int(found[0].replace(",", "")) >= count:
        return ACCEPTED
    return ambiguous(f"Reddit processed {found[0]} of {count} events and does not say which")


def _helped(verdict: Verdict, status: int) -> Verdict:
    return replace(verdict, fix=_FIXES[status]) if status in _FIXES and not verdict.edge else verdict


def _told(verdict: Verdict, error: _Error, status: int, *, alone: bool) -> Verdict:
    """The reading by status, in Reddit's words, which may repeat what was sent."""
    named = [one for one in error.fields if isinstance(one, dict)] if isinstance(error.fields, list) else []
    words = [error.message, *(_of_field(one) for one in named[:_MOST_FIELDS])]
    said = "; ".join(dict.fromkeys(word.strip() for word in words if isinstance(word, str) and word.strip()))
    path = named[0].get("field") if named else None
    return replace(
        _helped(verdict, status),
        reason=redact(said or f"HTTP {status}: refused without a reason"),
        # of a request of several the path may be another event's
        field=redact(_PLACE.sub("", path))[:100] if alone and isinstance(path, str) else "",
        code=str(error.code) if type(error.code) is int and abs(error.code) < 10**6 else "",
    )


def _of_field(one: Mapping[Any, Any]) -> str:
    return ": ".join(part for part in (one.get("field"), one.get("message")) if isinstance(part, str) and part)
