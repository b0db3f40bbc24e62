"""What Meta's answers mean. Source: developers.facebook.com/docs/graph-api/guides/error-handling and
/docs/graph-api/overview/rate-limiting, read 2026-11.

The code in the body decides, then ``is_transient``, and the HTTP status last: throttling has come under
HTTP 500, a temporary fault under 400. Texts are localised to the token's owner and never matched. One bad
event refuses its whole request and nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from capi_async.outcome import (
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_status,
    redact,
    redact_id,
    rejected,
    retry,
    retry_after_s,
    split,
    unauthorized,
)

TRANSIENT: Final = frozenset({1, 2, 5000, 21009})
#: The account as a whole called too often: app, user, page, custom limit, application limit, business use cases.
THROTTLED: Final = frozenset({4, 17, 32, 341, 613, *range(80_000, 80_015)})
#: 102 and 190 are sessions and tokens; 3, 10 and 200 to 299 a missing capability or permission.
ACCOUNT: Final = frozenset({3, 10, 102, 190, *range(200, 300)})
BLOCKED: Final = 368
INVALID: Final = 100
TOO_MANY_PARAMETERS: Final = 105
DUPLICATE: Final = 506
NO_SUCH_DATASET: Final = 33

#: Subcodes of 190 after which this very token never works again: app removed, password changed, expired, invalid.
DEAD_TOKEN: Final = frozenset({458, 460, 463, 467})

#: Subcodes of 100 with a known mend. 2804001, 2804007, 2804016, 2804017, 2804019 and 2804048 are validation
#: failures whose exact meanings are UNVERIFIED, so Meta's own words must do.
FIXES: Final[Mapping[int, str]] = {
    2804003: "send events within 7 days, physical_store ones within 62",
    2804009: "a Purchase needs value and currency",
    2804050: "give more of the person: email, phone, external_id, ip or a click id",
    2804030: "state consent.sale_opt_out and consent.region on offline events",
}

#: Per cent of the hourly allowance at which to stop for a while, before Meta does it.
NEARLY_USED_UP: Final = 95.0
_USAGE_HEADERS: Final = ("x-business-use-case-usage", "x-app-usage", "x-ad-account-usage")
_MAX_WAIT_MINUTES: Final = 24 * 60


class _Error(Struct):
    """What decides is typed; the rest may be of any type without hiding the code."""

    code: int | None = None
    error_subcode: int | None = None
    is_transient: bool | None = None
    message: Any = None
    error_user_title: Any = None
    error_user_msg: Any = None
    error_data: Any = None
    fbtrace_id: Any = None


class _Answer(Struct):
    events_received: int | None = None
    messages: Any = None
    fbtrace_id: Any = None
    error: _Error | None = None


# numbers as text are read too: the Graph API is not consistent about them
_answer: Final = msgspec.json.Decoder(_Answer, strict=False)


def verdicts(response: Response, count: int) -> list[Verdict]:
    """One verdict per event; they are all alike, because Meta takes or refuses a request as a whole."""
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        return [_unreadable(response)] * count
    trace = _trace(answer, response.headers)
    if answer.error is not None:
        return [_refused(answer.error, response, trace)] * count
    if not 200 <= response.status < 300:
        return [_by_status(response, trace)] * count
    if answer.events_received is None:
        return [ambiguous("events_received missing from the answer", trace_id=trace)] * count
    if answer.events_received != count:
        said = f"Meta received {answer.events_received} of {count} events and does not say which"
        return [ambiguous(said, trace_id=trace)] * count
    nearly = _usage(response.headers) >= NEARLY_USED_UP
    return [
        Verdict(
            kind="accepted",
            reason=_notes(answer.messages),
            trace_id=trace,
            throttled=nearly,
            after_s=regain_s(response.headers) if nearly else None,
        )
    ] * count


def _refused(error: _Error, response: Response, trace: str) -> Verdict:
    code, subcode = error.code, error.error_subcode
    said = _words(error)
    shown = "" if code is None else f"{code}/{subcode}" if subcode else str(code)
    if code in THROTTLED:
        return retry(said, after_s=regain_s(response.headers), throttled=True, code=shown, trace_id=trace)
    if code in TRANSIENT:
        return retry(said, after_s=retry_after_s(response.headers), code=shown, trace_id=trace)
    if code == INVALID and subcode == NO_SUCH_DATASET:
        fix = "check pixel_id, and that the token's system user may use this dataset"
        return unauthorized(said, fix=fix, code=shown, trace_id=trace)
    if code in ACCOUNT:
        probe = subcode not in DEAD_TOKEN
        fix = "check access_token and its permissions" if probe else "make a new access_token"
        return unauthorized(said, fix=fix, code=shown, trace_id=trace, probe=probe)
    if code == BLOCKED:
        fix = "blocked for policy reasons: see Account Quality, then renew access_token"
        return unauthorized(said, fix=fix, code=shown, trace_id=trace, probe=False)
    # before the codes that end an event: a refusal that calls itself passing must not cost one
    if error.is_transient:
        return retry(said, after_s=retry_after_s(response.headers), code=shown, trace_id=trace)
    if code in (INVALID, TOO_MANY_PARAMETERS):
        return split(said, field=_blamed(error.error_data), fix=FIXES.get(subcode or 0, ""), code=shown, trace_id=trace)
    if code == DUPLICATE:
        return rejected(said, code=shown, fix="nothing: Meta has this request already", trace_id=trace)
    return msgspec.structs.replace(_by_status(response, trace), reason=redact(said), code=shown)


def _by_status(response: Response, trace: str) -> Verdict:
    """The reading by status, which by itself would lose the platform's id of the request."""
    verdict = by_status(response, 1)[0]
    after_s = regain_s(response.headers) if verdict.throttled else verdict.after_s
    return msgspec.structs.replace(verdict, trace_id=trace, after_s=after_s)


def _unreadable(response: Response) -> Verdict:
    """No JSON of Meta's: the edge in front of it spoke."""
    trace = _trace(None, response.headers)
    start = response.body[:200].lower()
    if 200 <= response.status < 300 and b"service unavailable" in start:
        return retry(f"HTTP {response.status} that says 'Service Unavailable'", trace_id=trace)
    return _by_status(response, trace)


def _trace(answer: _Answer | None, headers: Mapping[str, str]) -> str:
    in_body = answer and ((answer.error and answer.error.fbtrace_id) or answer.fbtrace_id)
    # the headers' names are not documented for this endpoint; they only stand in
    trace = in_body or headers.get("x-fb-trace-id") or headers.get("x-fb-request-id")
    return redact_id(trace) if isinstance(trace, str) else ""


def _words(error: _Error) -> str:
    parts = (error.message, error.error_user_title, error.error_user_msg)
    return (
        ": ".join(dict.fromkeys(part.strip() for part in parts if part and isinstance(part, str)))
        or "refused without a reason"
    )


def _notes(messages: Any) -> str:
    """Warnings that came with a success."""
    if not isinstance(messages, list):
        return ""
    return redact("; ".join(text if isinstance(text, str) else msgspec.json.encode(text).decode() for text in messages))


def _blamed(data: Any) -> str:
    """Path of the field at fault, from ``blame_field_specs``; whether it holds the event's index is unknown."""
    if isinstance(data, str):
        try:
            data = msgspec.json.decode(data)
        except UNREADABLE:
            return ""
    specs = data.get("blame_field_specs") if isinstance(data, dict) else None
    first = specs[0] if isinstance(specs, list) and specs else None
    path = first if isinstance(first, list) else [first] if isinstance(first, str) else []
    return redact(".".join(str(step) for step in path))


def regain_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until calls are taken again: the longest wait of a business use case, else ``Retry-After``."""
    waits = [minutes * 60.0 for minutes in _regain_minutes(headers.get("x-business-use-case-usage", ""))]
    return max(waits) if waits else retry_after_s(headers)


def _usage(headers: Mapping[str, str]) -> float:
    """The highest figure, in per cent, among the allowances that Meta reports."""
    highest = 0.0
    for name in _USAGE_HEADERS:
        if text := headers.get(name):
            try:
                highest = max(highest, *_percentages(msgspec.json.decode(text)), 0.0)
            except UNREADABLE:
                continue
    return highest


def _percentages(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for one in value:
            yield from _percentages(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, (dict, list)):
                yield from _percentages(one)
            elif name in _PERCENTAGES and isinstance(one, (int, float)):
                yield float(one)


_PERCENTAGES: Final = frozenset({"call_count", "total_cputime", "total_time", "acc_id_util_pct"})


def _regain_minutes(header: str) -> Iterator[float]:
    """The waits above zero; ``x-app-usage`` and ``x-ad-account-usage`` tell percentages only."""
    try:
        businesses = msgspec.json.decode(header)
    except UNREADABLE:
        return
    if not isinstance(businesses, dict):
        return
    for uses in businesses.values():
        for use in uses if isinstance(uses, list) else ():
            minutes = use.get("estimated_time_to_regain_access") if isinstance(use, dict) else None
            if isinstance(minutes, (int, float)) and minutes > 0:
                yield float(min(minutes, _MAX_WAIT_MINUTES))
