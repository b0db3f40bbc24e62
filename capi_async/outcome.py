"""What came of it: a platform's response, its verdict on each event, and the event's final outcome."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from capi_async.redaction import redact as redact  # destinations take it from here
from capi_async.redaction import redact_id as redact_id

VerdictKind: TypeAlias = Literal["accepted", "rejected", "retry", "split", "unauthorized", "ambiguous"]
OutcomeKind: TypeAlias = Literal[
    "delivered", "rejected", "skipped", "expired", "uncertain", "dead", "dropped", "forgotten", "pending"
]

#: Every state an accepted event can be in, per destination; all but ``pending`` are final.
OUTCOME_KINDS: Final[tuple[OutcomeKind, ...]] = (
    "delivered", "rejected", "skipped", "expired", "uncertain", "dead", "dropped", "forgotten", "pending",
)  # fmt: skip


class Response(Struct, frozen=True):
    """A platform's answer.

    Attributes:
        status: HTTP status code.
        body: As received, decoded from any content encoding.
        headers: Names in lower case.
        head: The encoded head of the records in the request; the engine fills it in.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    head: bytes = b""

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


class Verdict(Struct, frozen=True, kw_only=True, gc=False):
    """What one answer says about one event of the request.

    Attributes:
        kind: ``accepted``; ``rejected`` (this event, for good); ``retry`` (same bytes, later); ``split``
            (the request was refused for some event in it; the engine isolates the guilty, and an event
            refused alone is rejected with this verdict's reason); ``unauthorized`` (the account or the
            configuration is refused: the destination pauses and keeps its events); ``ambiguous`` (it may
            have been counted).
        reason: The platform's words, redacted with :func:`redact`.
        field: The wire field at fault, where the answer names one.
        fix: What to do about it.
        code: The platform's own error code.
        after_s: For ``retry``: seconds to wait; ``None`` leaves it to the backoff.
        throttled: For ``retry``: a rate limit was hit; for ``accepted``: it is near. The whole destination slows
            down, for ``after_s`` seconds where given.
        trace_id: The platform's id of this request, for its support; see :func:`redact_id`.
        atomic: For ``split``: nothing of the refused request was stored. If not, an event that the
            platform would count twice is not sent again.
        probe: For ``unauthorized``: False if only a new credential can help, so that asking again is useless.
        suspect: For ``rejected``: the same answer for everything points to a wrong configuration.
        edge: For ``retry`` and ``ambiguous``: not the platform has answered but something before it (a content
            network, a proxy, a firewall), so that it is counted as if no answer had come.
    """

    kind: VerdictKind
    reason: str = ""
    field: str = ""
    fix: str = ""
    code: str = ""
    after_s: float | None = None
    throttled: bool = False
    trace_id: str = ""
    atomic: bool = True
    probe: bool = True
    suspect: bool = False
    edge: bool = False


ACCEPTED: Final = Verdict(kind="accepted")

#: What a decoder may raise on an answer that is not what it should be: hostile nesting and broken text included.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Outcome(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What became of one event at one destination.

    Attributes:
        kind: ``delivered``; ``rejected`` (the platform or our own check refuses this event); ``skipped``
            (consent, routing, no such event or test mode there, or nothing to identify the person by);
            ``expired`` (older than the platform takes); ``uncertain`` (it may have arrived, and sending
            it again could count twice); ``dead`` (attempts used up, or the configuration no longer knows
            it); ``dropped`` (overflow); ``forgotten`` (erased on request); ``pending`` is not final.
        reason: In words, free of personal data.
        field: The event's or wire object's field at fault.
        fix: What to do about it.
        attempts: Requests that carried the event.
        status: HTTP status of the last answer; 0 if there was none.
        trace_id: The platform's own id of the last request, where it gives one.
        latency_s: Seconds from acceptance to this outcome.
        ambiguous: Delivered, but an earlier attempt may have arrived too, inside the platform's
            de-duplication window; or erased, or withdrawn, when an attempt may have arrived.
        reason_code: Where ``kind``, ``field`` and ``status`` do not tell it: one of the codes that metrics count by.
            :func:`~capi_async.telemetry.reasons.reason_of` gives the code of every outcome.
    """

    kind: OutcomeKind
    reason: str = ""
    field: str = ""
    fix: str = ""
    attempts: int = 0
    status: int = 0
    trace_id: str = ""
    latency_s: float = 0.0
    ambiguous: bool = False
    reason_code: str = ""


PENDING: Final = Outcome(kind="pending")


def rejected(
    reason: str, *, field: str = "", fix: str = "", code: str = "", trace_id: str = "", suspect: bool = False
) -> Verdict:
    """This event is refused for good."""
    return Verdict(
        kind="rejected",
        reason=redact(reason),
        field=field,
        fix=fix,
        code=code,
        trace_id=redact_id(trace_id),
        suspect=suspect,
    )


def retry(
    reason: str = "", *, after_s: float | None = None, throttled: bool = False, code: str = "", trace_id: str = ""
) -> Verdict:
    """Nothing was stored; the same bytes may be sent again."""
    return Verdict(
        kind="retry",
        reason=redact(reason),
        after_s=after_s,
        throttled=throttled,
        code=code,
        trace_id=redact_id(trace_id),
    )


def split(
    reason: str, *, field: str = "", fix: str = "", code: str = "", trace_id: str = "", atomic: bool = True
) -> Verdict:
    """The request was refused as a whole because of some event in it."""
    return Verdict(
        kind="split",
        reason=redact(reason),
        field=field,
        fix=fix,
        code=code,
        trace_id=redact_id(trace_id),
        atomic=atomic,
    )


def unauthorized(reason: str, *, fix: str = "", code: str = "", trace_id: str = "", probe: bool = True) -> Verdict:
    """The account or the configuration is refused; the events wait."""
    return Verdict(
        kind="unauthorized", reason=redact(reason), fix=fix, code=code, trace_id=redact_id(trace_id), probe=probe
    )


def ambiguous(reason: str, *, trace_id: str = "", edge: bool = False) -> Verdict:
    """It may have been counted; nobody can tell."""
    return Verdict(kind="ambiguous", reason=redact(reason), trace_id=redact_id(trace_id), edge=edge)


#: Statuses of a refusal that may be about the events. Any other than these and those below says nothing of them.
_OF_EVENTS: Final = frozenset({400, 409, 415, 422})
#: Statuses that speak for themselves, also on a page of something that stands before the platform.
_TELLING: Final = frozenset({401, 403, 404, 408, 413, 429})


def is_page(body: bytes) -> bool:
    """Whether a body is HTML or XML, which no platform's API answers with."""
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def by_edge(response: Response) -> Verdict | None:
    """The reading of an answer that is not the platform's; ``None`` if it may be.

    What stands before a platform (a content network, a firewall, a proxy of ours) refuses with statuses that the
    platform does not use, or with a page. It has not looked at the events as the platform would, so none is to blame.
    """
    status = response.status
    if status < 200:
        return ambiguous(f"HTTP {status}, which is no answer")
    if status == 407:
        return unauthorized(
            "HTTP 407: the proxy wants to know who asks", fix="set user and password in the proxy's address"
        )
    if not 400 <= status < 500 or status in _TELLING:
        return None
    page = is_page(response.body)
    if status in _OF_EVENTS and not page:
        return None
    said = "with a page instead of an answer" if page else "which says nothing of the events"
    return Verdict(
        kind="retry",
        reason=f"HTTP {status} {said}: a proxy, a firewall or the platform's edge has answered",
        after_s=retry_after_s(response.headers),
        edge=True,
    )


def by_status(response: Response, count: int) -> list[Verdict]:
    """The reading that platforms share, for an answer whose body gave no code.

    408 and 5xx are retried, 429 slows down, 401, 403, 404, 407 and redirects pause the destination, 400, 409, 413, 415
    and 422 are split (alone: rejected), and a 2xx that says nothing is ambiguous. Any other 4xx, and a page under one
    of those except 413, says nothing of the events: they are sent again; see :func:`by_edge`.
    """
    if (verdict := by_edge(response)) is not None:
        return [verdict] * count
    status = response.status
    said = f"HTTP {status}"
    if 200 <= status < 300:
        page = is_page(response.body)
        verdict = ambiguous(f"{said} with {'a page instead of an answer' if page else 'an unreadable body'}", edge=page)
    elif status == 429:
        verdict = retry(said, after_s=retry_after_s(response.headers), throttled=True)
    elif status == 408 or status >= 500:
        verdict = retry(said, after_s=retry_after_s(response.headers))
    elif status in (401, 403, 404):
        verdict = unauthorized(said, fix="check the credential, the account id and base_url")
    elif 300 <= status < 400:
        verdict = unauthorized(f"{said}: redirects are never followed", fix="check base_url")
    else:
        verdict = split(said)
    return [verdict] * count


def retry_after_s(headers: Mapping[str, str], *, now: Callable[[], float] | None = None) -> float | None:
    """Seconds asked for by ``Retry-After`` (a number or an HTTP date), else ``None``.

    Args:
        now: Seconds since the epoch, for the date form; without it the answer's own ``Date`` header is used,
            which spares both sides a synchronised clock.
    """
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, min(float(value), 86_400.0)) if float(value) == float(value) else None
    except ValueError:
        pass
    due = http_date(value)
    base = now() if now else http_date(headers.get("date"))
    return None if due is None or base is None else max(0.0, min(due - base, 86_400.0))


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of a header such as ``Date`` or ``Retry-After``; ``None``: there is none, or no date."""
    try:
        found = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, TypeError):
        return None
    # these headers are in GMT; one that does not say so is read without an offset
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
