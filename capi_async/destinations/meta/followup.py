"""What Meta tells of a dataset's events after it took them: how well they match, and what is wrong with how many.

Source: developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api, read 2026-11. It speaks of
website events, by event name. UNVERIFIED: of which days its figures are, and whether a token of Events Manager may read
them (the page asks for a system user that may manage the dataset).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from capi_async.followup import FollowUp, FollowUpError, Told
from capi_async.outcome import UNREADABLE, Response, redact
from capi_async.spec import Request

FOLLOWUP: Final = FollowUp(
    tells="how well website events match, and what is wrong with how many, of recent days that it chooses",
    asks=True,
)
_FIELDS: Final = (
    "web{event_name,event_match_quality{composite_score,"
    "diagnostics{name,solution,affected_event_count,total_event_count}}}"
)


class _Diagnostic(Struct):
    name: str = ""
    solution: str = ""
    affected_event_count: int | None = None
    total_event_count: int | None = None


class _Quality(Struct):
    composite_score: float | None = None
    diagnostics: list[_Diagnostic] | None = None


class _Event(Struct):
    event_name: str = ""
    event_match_quality: _Quality | None = None


class _Error(Struct):
    message: str = ""


class _Answer(Struct):
    web: list[_Event] | None = None
    error: _Error | None = None


#: The reference writes counts as numbers; other answers of this API write theirs as text.
_answer: Final = msgspec.json.Decoder(_Answer, strict=False)


def question(base_url: str, version: str, dataset_id: str, token: str, proof: str | None) -> Request:
    """The request that asks for it."""
    query = {"dataset_id": dataset_id, "fields": _FIELDS} | ({"appsecret_proof": proof} if proof else {})
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return Request("GET", f"{base_url}/{version}/dataset_quality?{urlencode(query)}", headers)


def told(response: Response) -> list[Told]:
    """What an answer tells.

    Raises:
        FollowUpError: Nothing.
    """
    try:
        answer = _answer.decode(response.body)
    except UNREADABLE:
        raise FollowUpError(f"Meta answered HTTP {response.status} with an unreadable body") from None
    if response.status != 200 or answer.web is None:
        said = redact(answer.error.message) if answer.error is not None else "no words"
        raise FollowUpError(
            f"Meta answered HTTP {response.status}: {said}; the token's user needs to manage the dataset"
        )
    found: list[Told] = []
    for event in answer.web:
        about, quality = redact(event.event_name), event.event_match_quality
        if quality is None:
            continue
        if quality.composite_score is not None:
            score = f"event match quality {quality.composite_score:g} of 10"
            found.append(Told(about=about, kind="note", reason=score))
        found += [
            Told(
                about=about,
                kind="warned",
                events=one.affected_event_count,
                reason=redact(one.name),
                meaning=redact(one.solution),
            )
            for one in quality.diagnostics or ()
        ]
    return found
