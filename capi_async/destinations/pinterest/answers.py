"""How Pinterest's answers are read. Source: api-description 5.23.0 and its reference, read 2026-11.

A batch may fail in part as HTTP 200 or as HTTP 422. The content of a 422's ``details`` is not documented: where it
holds a list of states of the right length it is read like that of a 200, else some of the events may have been
stored. Messages can echo the access token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from capi_async.outcome import (
    ACCEPTED,
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_status,
    is_page,
    redact,
    redact_id,
    rejected,
    retry,
    retry_after_s,
    split,
    unauthorized,
)
from capi_async.spec import DAY, MINUTE

#: The endpoint says that it takes no traffic at all; how long is not documented.
RAMPED_DOWN_S: Final = 5 * MINUTE

#: No request id is documented; these two headers are read where present.
_TRACE_HEADERS: Final = ("x-pinterest-rid", "x-request-id")


class _Row(Struct):
    status: str | None = None
    error_message: str | None = None
    warning_message: str | None = None


class _Details(Struct):
    events: list[_Row] = []


class _Answer(Struct):
    num_events_received: int | None = None
    num_events_processed: int | None = None
    events: list[_Row] | None = None
    code: int | str | None = None
    message: str | None = None
    details: msgspec.Raw = msgspec.Raw()


_answer: Final = msgspec.json.Decoder(_Answer)
_details: Final = msgspec.json.Decoder(_Details)


def read(response: Response, count: int) -> list[Verdict]:
    """One verdict per event of the request."""
    found = _read(response, count)
    trace_id = redact_id(next((value for name in _TRACE_HEADERS if (value := response.headers.get(name))), ""))
    return [replace(verdict, trace_id=trace_id) for verdict in found] if trace_id else found


def _read(response: Response, count: int) -> list[Verdict]:
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        answer = _Answer()
    if 200 <= response.status < 300:
        return _of_batch(answer, count)
    if response.status == 422 and (rows := _rows(answer.details, count)):
        return [_of_row(row) for row in rows]
    return _of_code(response, answer, count)


def _of_batch(answer: _Answer, count: int) -> list[Verdict]:
    rows = answer.events or []
    processed, received = answer.num_events_processed, answer.num_events_received
    if not rows and processed == received == count:
        return [ACCEPTED] * count
    if len(rows) != count:
        return [ambiguous("the answer does not list the events of the request")] * count
    # nearly all rows of nearly all answers are alike
    verdicts = [ACCEPTED if row.status == "processed" and not row.warning_message else _of_row(row) for row in rows]
    if received == count and processed == sum([verdict.kind == "accepted" for verdict in verdicts]):
        return verdicts
    doubt = ambiguous("the answer's counts contradict its list")
    return [doubt if verdict.kind == "accepted" else verdict for verdict in verdicts]


def _rows(details: msgspec.Raw, count: int) -> Sequence[_Row]:
    """The states inside a 422, if they can be told apart and explain it."""
    try:
        rows = _details.decode(details).events
    except UNREADABLE:
        return ()
    return rows if len(rows) == count and any(row.status != "processed" for row in rows) else ()


def _of_row(row: _Row) -> Verdict:
    if row.status == "processed":
        return _accepted(row.warning_message) if row.warning_message else ACCEPTED
    return rejected(_clean(row.error_message or "refused without a reason"))


def _accepted(warning: str) -> Verdict:
    """Accepted with Pinterest's remark, such as a missing ``external_id``; the same few come back with most events."""
    return _accepted_before(warning) if len(warning) <= _REMARK_CHARS else _newly_accepted(warning)


#: Longer remarks are none of those that come back, and stay out of the cache.
_REMARK_CHARS: Final = 200


@lru_cache(maxsize=256)
def _accepted_before(warning: str) -> Verdict:
    return _newly_accepted(warning)


def _newly_accepted(warning: str) -> Verdict:
    return Verdict(kind="accepted", reason=redact(_clean(warning)))


def _of_code(response: Response, answer: _Answer, count: int) -> list[Verdict]:
    status, code = response.status, "" if answer.code is None else str(answer.code)
    said = _clean(answer.message or f"HTTP {status}")
    if code == "8" or status == 429:
        verdict = retry(said, after_s=_wait_s(response.headers), throttled=True, code=code)
    elif code == "4197":
        after_s = max(RAMPED_DOWN_S, retry_after_s(response.headers) or 0.0)
        verdict = retry(said, after_s=after_s, code=code)
    elif code == "2":
        verdict = unauthorized(said, code=code, fix="the access token is refused: renew it")
    elif code == "3":
        # scopes are part of the token, so only another one can help
        verdict = unauthorized(said, code=code, fix="use a conversion token, or scope ads:write", probe=False)
    elif code == "29":
        verdict = unauthorized(said, code=code, fix="give the token's user access to this ad_account_id")
    elif status == 422 and not is_page(response.body):
        verdict = split(said, code=code, atomic=False)
    elif code == "4196":
        verdict = split(said, code=code)
    else:
        verdict = by_status(response, 1)[0]
        if code or answer.message:
            verdict = replace(verdict, reason=redact(said), code=code)
        if status == 404:
            verdict = replace(verdict, fix="check ad_account_id and base_url")
    return [verdict] * count


_WAIT: Final = re.compile(r"\s*(\d{1,9})")


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until requests are taken again: the longer of ``Retry-After`` and ``X-RateLimit-Reset``."""
    waits = [retry_after_s(headers)]
    if found := _WAIT.match(headers.get("x-ratelimit-reset", "")):
        # anything longer would be a date, which the header is not documented to hold
        waits.append(seconds if (seconds := float(found[1])) <= DAY else None)
    return max((wait for wait in waits if wait is not None), default=None)


_TOKEN: Final = re.compile(r"pin[ac]_[\w.+/=-]*")


def _clean(text: str) -> str:
    """The words without an access token: a broken one may be too short to be taken for one otherwise."""
    return _TOKEN.sub("<redacted>", text)
