"""What LinkedIn's answers mean. Source: LinkedIn's pages on conversions and errors, public logs, read 2026-11.

A request is taken whole or not at all. A refusal names the events at fault by their place in it, in two ways: lines of
``Index: 3, ERROR :: /path :: words``, of which those without a place belong to the one before, and sentences that end
with ``indices [0, 3] (0-indexed)``. Those events are to blame, the others go again at once. Of several rules an event
is written once for each, all events of the first rule first, so that a place leads to its event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from capi_async.destinations.linkedin.versions import newer_than
from capi_async.destinations.quota import until_hour_s
from capi_async.outcome import (
    ACCEPTED,
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_edge,
    by_status,
    http_date,
    is_page,
    redact,
    redact_id,
    rejected,
    retry,
    retry_after_s,
    split,
    unauthorized,
)
from capi_async.plain import shown


class _Element(Struct):
    status: int = 0
    # only words are read, so a field of an odd kind must not hide the others
    error: Any = None
    message: Any = None


class _Answer(Struct, rename="camel"):
    elements: list[_Element] | None = None
    message: Any = None
    code: Any = None
    service_error_code: Any = None


_answer: Final = msgspec.json.Decoder(_Answer)
_NOTHING: Final = _Answer()

#: Of a version that has ended, or is not there yet; of none at all.
_OF_THE_VERSION: Final = frozenset({"NONEXISTENT_VERSION", "VERSION_MISSING"})
_FIXES: Final[Mapping[int, str]] = {
    401: (
        "the access token is refused: one of a person ends after 60 days, and capi_async.credentials.RefreshToken "
        "renews it; one made in Campaign Manager does not end"
    ),
    403: (
        "the token needs the scopes rw_conversions and r_ads, and its member a role in the ad account, such as "
        "CAMPAIGN_MANAGER"
    ),
    404: "check base_url",
    413: "lower max_batch_bytes",
}
_RULE_FIX: Final = (
    "check the number for {} in conversions: LinkedIn says so of a rule that does not exist, and of one in an ad "
    "account in which the token's member has no role"
)
_METHOD_FIX: Final = "in conversions, give the number of a rule for {} whose source is the Conversions API"
#: The hour in UTC at which a quota that is counted by the day is there again.
_QUOTA_HOUR_UTC: Final = 0
_BY_DAY: Final = re.compile(r"\b(?:day|daily)\b", re.IGNORECASE).search
#: Headers that hold an id of the request; which of them LinkedIn sends is not documented.
_TRACES: Final = ("x-li-uuid", "x-li-request-id")

_LINE: Final = re.compile(r"(?:Index: ([0-9]{1,6}),? )?ERROR :: (\S*) :: ?(.*)").match
_LIST: Final = re.compile(r"[,;]? ?indices \[([0-9, ]{1,60000})\](?: \(0-indexed\))?\.?")
_AGAIN: Final = "another event of the request was refused"
#: Errors of one event that are told.
_MOST_ERRORS: Final = 3


def read(response: Response, count: int, *, rules: int, names: Sequence[str], version: str) -> list[Verdict]:
    """One verdict per event of the request.

    Args:
        rules: How many conversion rules each of its events counts by.
        names: What the events that count by just those are called in ``conversions``.
        version: Of the API that the request asked for.
    """
    trace_id = next((response.headers[name] for name in _TRACES if name in response.headers), "")
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        answer = _NOTHING
    if 200 <= response.status < 300:
        return _taken(response, answer, count, rules, trace_id)
    if (code := _text(answer.code)) in _OF_THE_VERSION or (response.status == 426 and not is_page(response.body)):
        return [_of_the_version(response, answer, version, trace_id)] * count
    if response.status == 423:
        return [retry("HTTP 423: locked", after_s=retry_after_s(response.headers), trace_id=trace_id)] * count
    if (verdict := by_edge(response)) is not None:
        return [verdict] * count
    called = ", ".join(map(shown, names)) or "these events"
    words = _text(answer.message).strip() or code or f"HTTP {response.status}"
    if response.status == 429:
        return [_quota(response, words, trace_id)] * count
    if response.status == 403 and "no ad account" in words.lower():
        said = f"LinkedIn finds no conversion rule of the number for {called}: {words}"
        return [split(said, fix=_RULE_FIX.format(called), code=code, trace_id=trace_id)] * count
    if response.status in (400, 422):
        return _by_place(words, code, count, rules, called, trace_id)
    verdict = by_status(response, 1)[0]
    # 65601: revoked, for which no time helps
    lost = response.status == 401 and (answer.service_error_code == 65601 or code == "REVOKED_ACCESS_TOKEN")
    return [
        replace(
            verdict,
            reason=redact(words),
            fix=_FIXES.get(response.status, verdict.fix),
            code=redact_id(code),
            trace_id=redact_id(trace_id),
            probe=not lost,
        )
    ] * count


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _taken(response: Response, answer: _Answer, count: int, rules: int, trace_id: str) -> list[Verdict]:
    elements = answer.elements
    if elements is None:
        return [replace(by_status(response, 1)[0], trace_id=redact_id(trace_id))] * count
    if len(elements) != count * rules:
        return [
            ambiguous(f"LinkedIn answers for {len(elements)} of {count * rules} elements", trace_id=trace_id)
        ] * count
    accepted = replace(ACCEPTED, trace_id=redact_id(trace_id))
    if all(200 <= one.status < 300 for one in elements):
        return [accepted] * count
    return [_of_elements(elements[index::count], accepted, trace_id) for index in range(count)]


def _of_elements(elements: Sequence[_Element], accepted: Verdict, trace_id: str) -> Verdict:
    """The verdict on one event by what was said of it for each of its rules."""
    bad = [one for one in elements if not 200 <= one.status < 300]
    if not bad:
        return accepted
    first = bad[0]
    words = _text(first.message) or (_text(first.error.get("message")) if isinstance(first.error, dict) else "")
    said = f"{first.status}: {words}" if words else f"refused with {first.status}"
    if len(bad) < len(elements):
        return ambiguous(f"counted by some of its conversion rules, and by others not ({said})", trace_id=trace_id)
    if first.status == 429:
        return retry(said, throttled=True, trace_id=trace_id)
    if 400 <= first.status < 500 and first.status not in (408, 423):
        return rejected(said, trace_id=trace_id)
    return retry(said, trace_id=trace_id) if first.status in (408, 423) or first.status >= 500 else ambiguous(said)


def _of_the_version(response: Response, answer: _Answer, version: str, trace_id: str) -> Verdict:
    said = _text(answer.message).strip()
    return unauthorized(
        f"LinkedIn takes no version {version} of its API, which has ended or never was{f': {said}' if said else ''}",
        code=_text(answer.code) or str(response.status),
        fix=newer_than(version, http_date(response.headers.get("date"))),
        trace_id=trace_id,
    )


def _quota(response: Response, words: str, trace_id: str) -> Verdict:
    after_s = retry_after_s(response.headers)
    if _BY_DAY(words):
        words = f"{words}; the quota of the day is used up"
        after_s = until_hour_s(response, _QUOTA_HOUR_UTC) if after_s is None else after_s
    return retry(words, after_s=after_s, throttled=True, trace_id=trace_id)


def _by_place(words: str, code: str, count: int, rules: int, called: str, trace_id: str) -> list[Verdict]:
    guilty = {
        place % count: rejected(
            said, field=field, fix=fix.format(called), code=redact_id(code), trace_id=trace_id, suspect=bool(fix)
        )
        for place, (field, said, fix) in _faults(words, alone=count * rules == 1).items()
        if place < count * rules
    }
    if not guilty:
        return [split(words, code=code, trace_id=trace_id)] * count
    # the request was refused for them alone
    again = retry(_AGAIN, after_s=0.0, trace_id=trace_id)
    return [guilty.get(index, again) for index in range(count)]


def _faults(words: str, *, alone: bool) -> dict[int, tuple[str, str, str]]:
    """Place in the request to field, words and fix; empty where none is named.

    Args:
        alone: The request held one element, which lines without a place are about.
    """
    lines: dict[int, list[tuple[str, str]]] = {}
    place = 0 if alone else None
    for line in words.splitlines():
        if (found := _LINE(line)) is None:
            continue
        place = place if found[1] is None else int(found[1])
        if place is not None:
            lines.setdefault(place, []).append((found[2].strip("/").replace("/", "."), found[3].strip()))
    if lines:
        return {
            place: (
                redact(said[0][0])[:100],
                "; ".join(f"{field}: {text}" if field else text for field, text in said[:_MOST_ERRORS]),
                "",
            )
            for place, said in lines.items()
        }
    named: dict[int, tuple[str, str, str]] = {}
    end = 0
    for found in _LIST.finditer(words):
        said, end = words[end : found.start()].strip(), found.end()
        # the rule is wrong, not the event: the same for all that count by it
        fix = _METHOD_FIX if "CONVERSIONS_API" in said else ""
        field = "conversion" if fix else "conversionHappenedAt" if "time" in said.lower() else ""
        for digits in found[1].split(","):
            if digits.strip().isdecimal():
                named.setdefault(int(digits), (field, said, fix))
    return named
