"""How the Data Manager API answers. Source: its pages on errors and limits, and Google's own client, read 2026-11.

A request is taken whole or not at all. A refusal names its faults by path (``events[3].user_data...``): those events
are to blame, the others go again at once. A path of no event is about the account or its configuration. The exact
nesting of the details, and whether paths are in snake or camel case, is not documented letter by letter, so both are
read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from capi_async.destinations.quota import until_hour_s
from capi_async.outcome import (
    ACCEPTED,
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_edge,
    by_status,
    redact,
    redact_id,
    rejected,
    retry,
    retry_after_s,
    split,
    unauthorized,
)
from capi_async.spec import HOUR

#: Reasons that speak of the account or the configuration, whatever path they come with, and what to do.
_ACCOUNT: Final[Mapping[str, str]] = {
    "INVALID_CONVERSION_ACTION_ID": "check the numbers in conversions against ctId= in the address of each action",
    "INVALID_CONVERSION_ACTION_TYPE": (
        "a conversion action in conversions is of the wrong type: use one made as 'Import from clicks', or 'Website' "
        "beside the tag"
    ),
    "INVALID_DESTINATION": "check customer_id and conversions",
    "DUPLICATE_DESTINATION_REFERENCE": "check conversions",
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH": "leave login_customer_id out",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "accept the customer data terms in the Google Ads account",
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED": (
        "accept the customer data terms in the Google Ads account, under conversions, settings"
    ),
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": (
        "switch enhanced conversions for leads on in the Google Ads account"
    ),
    "NOT_ALLOWLISTED": "Google takes this of accounts that it has admitted alone",
}
_ACCOUNT_START: Final = "DESTINATION_ACCOUNT_"
#: After these a person has to act, or only another credential can help.
_OF_THE_TOKEN: Final = frozenset({"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "INSUFFICIENT_AUTHENTICATION_SCOPES"})

_EVENT: Final = re.compile(r"events\[(\d{1,6})\]\.?(.*)", re.DOTALL)
_FIELD: Final = re.compile(r"[A-Za-z0-9_.\[\]]{0,200}").fullmatch
#: By midnight in California a daily quota is back, in summer and in winter. UNVERIFIED: a quota that is not back then
#: answers so again, and is waited for once more.
_QUOTA_HOUR_UTC: Final = 8


class _Violation(Struct):
    field: str = ""
    description: str = ""
    reason: str = ""


class _Detail(Struct, rename="camel"):
    reason: str = ""
    metadata: dict[str, str] = {}
    field_violations: list[_Violation] = []
    request_id: str = ""
    retry_delay: str = ""


class _Error(Struct):
    code: int = 0
    message: str = ""
    status: str = ""
    details: list[msgspec.Raw] = []


class _Warning(Struct):
    field: str = ""
    reason: str = ""


class _Answer(Struct, rename="camel"):
    request_id: str = ""
    field_warnings: list[_Warning] = []
    error: _Error | None = None


_answer: Final = msgspec.json.Decoder(_Answer)
_detail: Final = msgspec.json.Decoder(_Detail)


class _Said(Struct):
    """An error, with what its details hold taken together."""

    status: str
    reason: str
    message: str
    violations: list[_Violation]
    trace_id: str
    quota: str
    delay_s: float | None


def read(response: Response, count: int) -> list[Verdict]:
    """One verdict per event of the request."""
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        answer = None
    if 200 <= response.status < 300:
        return _taken(answer, count) if answer is not None else by_status(response, count)
    if (verdict := by_edge(response)) is not None:
        return [verdict] * count
    if answer is None or answer.error is None:
        return [replace(one, fix=_FIXES.get(response.status, one.fix)) for one in by_status(response, count)]
    return _refused(response, _said(answer.error), count)


def _taken(answer: _Answer, count: int) -> list[Verdict]:
    if not answer.request_id.strip() or answer.error is not None:
        return [ambiguous("the answer has no requestId")] * count
    accepted = replace(ACCEPTED, trace_id=redact_id(answer.request_id))
    verdicts = [accepted] * count
    for warning in answer.field_warnings:
        if (found := _EVENT.match(warning.field)) and (index := int(found[1])) < count:
            field = found[2] if _FIELD(found[2]) else ""
            verdicts[index] = replace(accepted, reason=redact(warning.reason), field=field)
    return verdicts


def _said(error: _Error) -> _Said:
    said = _Said(error.status, "", error.message, [], "", "", None)
    for raw in error.details:
        try:
            detail = _detail.decode(raw)
        except UNREADABLE:
            continue  # a kind of detail that is not read here
        said.violations += detail.field_violations
        said.reason = said.reason or detail.reason
        said.trace_id = said.trace_id or detail.request_id or detail.metadata.get("requestId", "")
        said.quota = said.quota or detail.metadata.get("quota_limit", "")
        if said.delay_s is None and (delay := _DELAY(detail.retry_delay)):
            said.delay_s = min(float(delay[1]), 24 * HOUR)
    return said


_DELAY: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s").fullmatch


def _refused(response: Response, said: _Said, count: int) -> list[Verdict]:
    status, code = response.status, said.reason or said.status
    words = f"{code}: {said.message}" if said.message else code or f"HTTP {status}"
    if status == 429 or said.status == "RESOURCE_EXHAUSTED":
        return [_quota(response, said, words)] * count
    if status == 400:
        return _by_path(said, words, count)
    verdict = by_status(response, 1)[0]
    if verdict.kind == "unauthorized":
        probe = code not in _OF_THE_TOKEN
        fix = _TOKEN_FIX if not probe else _ACCOUNT.get(code) or _FIXES.get(status, verdict.fix)
        verdict = unauthorized(words, code=code, trace_id=said.trace_id, fix=fix, probe=probe)
    else:
        verdict = replace(verdict, reason=redact(words), code=redact_id(code), trace_id=redact_id(said.trace_id))
    return [verdict] * count


_TOKEN_FIX: Final = "make a token of the scope https://www.googleapis.com/auth/datamanager"  # noqa: S105 - words
_FIXES: Final[Mapping[int, str]] = {
    401: "the access token is refused: renew it; capi_async.credentials does so by itself",
    403: (
        "give the token's user write access to this customer_id, switch the Data Manager API on in the Google Cloud "
        "project, and leave login_customer_id out unless it is needed"
    ),
    404: "check customer_id and base_url",
}


def _by_path(said: _Said, words: str, count: int) -> list[Verdict]:
    guilty: dict[int, Verdict] = {}
    for one in said.violations:
        if one.reason in _ACCOUNT or one.reason.startswith(_ACCOUNT_START) or _of_request(one.field):
            return [_of_account(one.reason or said.reason, one.description or said.message, said)] * count
        if (found := _EVENT.match(one.field)) and (index := int(found[1])) < count and index not in guilty:
            guilty[index] = rejected(
                f"{one.reason}: {one.description}" if one.description else one.reason or words,
                field=found[2] if _FIELD(found[2]) else "",
                code=redact_id(one.reason),
                trace_id=said.trace_id,
            )
    if not guilty:
        if said.reason in _ACCOUNT or said.reason.startswith(_ACCOUNT_START):
            return [_of_account(said.reason, said.message, said)] * count
        return [split(words, code=said.reason or said.status, trace_id=said.trace_id)] * count
    # the request was refused for them alone
    again = retry("another event of the request was refused", after_s=0.0, trace_id=said.trace_id)
    return [guilty.get(index, again) for index in range(count)]


def _of_request(field: str) -> bool:
    """Whether a path is of the request's own fields; one that names nothing may be about an event."""
    return field.partition("[")[0].partition(".")[0] in _REQUEST_FIELDS


_REQUEST_FIELDS: Final = frozenset({"destinations", "encoding", "validate_only", "validateOnly"})


def _of_account(reason: str, description: str, said: _Said) -> Verdict:
    words = f"{reason}: {description}" if description else reason
    fix = _ACCOUNT.get(reason, "check customer_id, conversions and login_customer_id against the Google Ads account")
    return unauthorized(words, code=reason, fix=fix, trace_id=said.trace_id)


def _quota(response: Response, said: _Said, words: str) -> Verdict:
    daily = "day" in said.quota.lower()
    waits = [retry_after_s(response.headers), said.delay_s]
    if daily:
        waits = [until_hour_s(response, _QUOTA_HOUR_UTC)]
        words = f"{words}; the quota of the day is used up, {said.quota}"
    after_s = max((wait for wait in waits if wait is not None), default=None)
    return retry(words, after_s=after_s, throttled=True, code=said.reason or said.status, trace_id=said.trace_id)
