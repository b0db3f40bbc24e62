"""What can be read back from Snap: how it judges an event without counting it, its log of test events, its traffic.

Source: developers.snap.com/api/marketing-api/Conversions-API, Snap's business-sdk-v3-java and snap_business_sdk
1.0.0, read 2026-11. The log reaches back 24 hours, the traffic one hour; a test event shows up in them after a
while (Snap's own sample waits 30 seconds).
"""

# The API's own names begin with test_; they are no tests.
# ruff: noqa: PT028

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from capi_async.destinations.snap.answers import (
    AnswerV2,
    AnswerV3,
    Counts,
    LogEntry,
    LogsAnswer,
    StatsAnswer,
    decode_logs,
    decode_stats,
    decode_v2,
    decode_v3,
    speaks_of_token,
)
from capi_async.destinations.snap.destination import Snap
from capi_async.destinations.snap.v2 import SnapV2
from capi_async.errors import CapiError, ConfigError
from capi_async.event import Event
from capi_async.frames import frameless_async
from capi_async.outcome import UNREADABLE, Response, redact
from capi_async.pii.identifiers import Plan
from capi_async.spec import ENCODER, Refusal, Request, Transport

AnySnap: TypeAlias = Snap | SnapV2
A = TypeVar("A", AnswerV2, AnswerV3, LogsAnswer, StatsAnswer)


class ReadbackError(CapiError):
    """Snap answered a read-back call with a failure that is not the configuration's.

    Attributes:
        status: HTTP status of the answer.
        reason: Snap's words, without credentials and personal data.
    """

    def __init__(self, destination: str, status: int, reason: str) -> None:
        super().__init__(f"{destination}: HTTP {status}: {reason or 'no reason given'}")
        self.status = status
        self.reason = reason


class TestEventLog(Struct, frozen=True, kw_only=True):
    """One event of the log. Its repr leaves out ``metadata``, which echoes personal data.

    Attributes:
        name: Snap's name of the event.
        raw_name: The name as it was sent (v3 only).
        time: When the event happened; ``None`` if Snap's text is no time.
        source: ``WEB``, ``MOBILE_APP`` or ``OFFLINE``.
        status: Snap's word about this event.
        metadata: The event as Snap read it: under v3 its assets and, in ``conversion_info``, its fields.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever pytest makes of the name

    name: str = ""
    raw_name: str = ""
    time: datetime | None = None
    source: str = ""
    status: str = ""
    integration: str = ""
    asset_id: str = ""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"TestEventLog(name={self.name!r}, status={self.status!r}, time={self.time}, errors={len(self.errors)})"


class TestEventLogs(Struct, frozen=True):
    """The test events of the last 24 hours, in Snap's order."""

    __test__: ClassVar[bool] = False

    events: tuple[TestEventLog, ...] = ()


class Traffic(Struct, frozen=True):
    """Events that Snap has seen.

    Attributes:
        latest_event_ts: Of the newest event, as Snap gives it; its unit is not documented.
        event_count_past_hour: Events of the past hour.
    """

    latest_event_ts: int = 0
    event_count_past_hour: int = 0


class TestEventStats(Struct, frozen=True):
    """Traffic of the past hour, test events apart from live ones."""

    __test__: ClassVar[bool] = False

    test: Traffic = Traffic()
    live: Traffic = Traffic()


class Validated(Struct, frozen=True, kw_only=True):
    """Snap's opinion of one event.

    Attributes:
        valid: Snap would take it.
        sent: False: it was refused here already, and ``errors`` says why.
        status, reason, code: Snap's own words and error code.
        errors, warnings: What is wrong, and what could be better.
        fields: What Snap read of the event (v2 only).
    """

    event_id: str
    valid: bool
    sent: bool = True
    status: str = ""
    reason: str = ""
    code: str = ""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fields: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Validated(event_id={self.event_id!r}, valid={self.valid}, status={self.status!r}, code={self.code!r})"


@frameless_async(CapiError)
async def test_event_logs(destination: AnySnap, transport: Transport, *, asset_id: str | None = None) -> TestEventLogs:
    """The test events that Snap received for an asset within 24 hours.

    Args:
        asset_id: Pixel or Snap App ID; default: the destination's pixel.

    Raises:
        TransportError: No answer came.
        ConfigError: The token or the asset was refused.
        ReadbackError: Any other failure.
    """
    response = await _get(destination, transport, "logs", asset_id)
    answer = _read(destination, response, decode_logs)
    if answer.status != "SUCCESS":
        raise _refused(destination, response, answer.reason or "")
    return TestEventLogs(tuple(_log(entry) for entry in answer.logs or ()))


@frameless_async(CapiError)
async def test_event_stats(
    destination: AnySnap, transport: Transport, *, asset_id: str | None = None
) -> TestEventStats:
    """How many test and live events Snap received for an asset within the past hour.

    Args:
        asset_id: Pixel or Snap App ID; default: the destination's pixel.

    Raises:
        TransportError: No answer came.
        ConfigError: The token or the asset was refused.
        ReadbackError: Any other failure.
    """
    response = await _get(destination, transport, "stats", asset_id)
    answer = _read(destination, response, decode_stats)
    if answer.status != "SUCCESS" or answer.stats is None:
        raise _refused(destination, response, answer.reason or "")
    return TestEventStats(_traffic(answer.stats.test), _traffic(answer.stats.live))


# pytest collects whatever a test file imports under such a name
test_event_logs.__test__ = False  # type: ignore[attr-defined]
test_event_stats.__test__ = False  # type: ignore[attr-defined]


@frameless_async(CapiError)
async def validate(
    destination: AnySnap, transport: Transport, events: Iterable[Event], *, phone_region: str | None = None
) -> list[Validated]:
    """Snap's opinion of each event, in order; nothing is counted as a conversion.

    Each event travels in a request of its own, because it is not documented from where Snap counts the events
    of a batch.

    Args:
        phone_region: As for the client: ISO 3166-1 alpha-2 of phone numbers without country code.

    Raises:
        TransportError: No answer came.
        ConfigError: The token or the asset was refused.
        ReadbackError: Throttled, or Snap is in trouble.
    """
    plan = Plan(destination.identifiers, phone_region=phone_region)
    testing = msgspec.structs.replace(destination, test=True)
    token = await destination.secret().reveal()
    results = []
    for event in events:
        wire = testing.to_wire(event, plan.identify(event.user, event.page))
        if isinstance(wire, Refusal):
            said = f"{wire.field}: {wire.reason}; {wire.fix}" if wire.fix else f"{wire.field}: {wire.reason}"
            results.append(Validated(event_id=event.event_id, valid=False, sent=False, errors=(said,)))
            continue
        request = testing.request(wire.head, [ENCODER.encode(wire.body)], token)
        response = await _ask(destination, transport, request, token)
        results.append(_validated(destination, response, event.event_id))
    return results


def _validated(destination: AnySnap, response: Response, event_id: str) -> Validated:
    if isinstance(destination, Snap):
        nested = _read(destination, response, decode_v3, also=400)
        logs = nested.event_logs or ()
        return _opinion(
            destination,
            response,
            nested,
            event_id,
            valid=nested.status == "VALID" and all(log.status == "VALID" for log in logs),
            code=",".join([log.code for log in logs if log.code]) or nested.code,
            errors=[log.words for log in logs if log.words],
            warnings=[text for log in logs for text in log.warnings or ()],
        )
    flat = _read(destination, response, decode_v2, also=400)
    return _opinion(
        destination,
        response,
        flat,
        event_id,
        valid=flat.status == "SUCCESS" and not flat.errors,
        errors=[record.reason for record in flat.errors if record.reason],
        warnings=[record.reason for record in flat.warning_records or () if record.reason],
        fields=next((entry.validated_fields for entry in flat.validated_fields or () if entry.validated_fields), None),
    )


def _opinion(
    destination: AnySnap, response: Response, answer: AnswerV3 | AnswerV2, event_id: str, *, valid: bool,
    errors: Sequence[str], warnings: Sequence[str], code: str = "", fields: Mapping[str, Any] | None = None,
) -> Validated:  # fmt: skip
    if not valid and speaks_of_token(answer.words):
        raise _refused(destination, response, answer.words)
    return Validated(
        event_id=event_id,
        valid=valid,
        status=answer.status or "",
        reason=redact(answer.reason or ""),
        code=code,
        errors=() if valid else _texts(errors or [answer.words]),
        warnings=_texts(warnings),
        fields=fields or {},
    )


async def _get(destination: AnySnap, transport: Transport, what: str, asset_id: str | None) -> Response:
    token = await destination.secret().reveal()
    request = destination.readback_request(what, asset_id or destination.pixel_id, token)
    return await _ask(destination, transport, request, token)


async def _ask(destination: AnySnap, transport: Transport, request: Request, token: str) -> Response:
    """The answer, without the token should it be echoed."""
    response = await transport.send(request, timeout_s=destination.effective_limits().request_timeout_s)
    return msgspec.structs.replace(response, body=response.body.replace(token.encode(), b"***"))


def _read(destination: AnySnap, response: Response, decode: Callable[[bytes], A], *, also: int = 200) -> A:
    """The decoded body of an answer with status 200 or ``also``."""
    try:
        answer = decode(response.body)
    except UNREADABLE:
        raise _refused(destination, response, "the body is not what is documented") from None
    if response.status not in (200, also):
        raise _refused(destination, response, getattr(answer, "words", None) or answer.reason or "")
    return answer


def _refused(destination: AnySnap, response: Response, said: str) -> CapiError:
    reason = redact(said)
    if response.status in (401, 403, 404) or (response.status in (200, 400) and speaks_of_token(said)):
        return ConfigError(
            f"{destination.name}: HTTP {response.status}: {reason or 'refused'}; "
            "check access_token, the asset and base_url"
        )
    return ReadbackError(destination.name, response.status, reason)


def _log(entry: LogEntry) -> TestEventLog:
    return TestEventLog(
        name=entry.event_name or entry.event_type or "",
        raw_name=entry.raw_event_name or "",
        time=_time(entry.event_time or entry.timestamp),
        source=entry.action_source or entry.event_conversion_type or "",
        status=entry.status or "",
        integration=entry.integration or "",
        asset_id=entry.asset_id or "",
        errors=_texts(entry.error_records or ()),
        warnings=_texts(entry.warning_records or ()),
        metadata=entry.event_metadata or {},
    )


#: Larger numbers are milliseconds: as seconds they would lie beyond the year 5000.
_MAX_SECONDS: Final = 100_000_000_000


def _time(value: str | int | None) -> datetime | None:
    """A time in seconds or milliseconds; Snap takes both and echoes what it got."""
    try:
        number = float(value or "")
        return datetime.fromtimestamp(number / 1000 if number > _MAX_SECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _traffic(counts: Counts | None) -> Traffic:
    return Traffic((counts and counts.latest_event_ts) or 0, (counts and counts.event_count_past_hour) or 0)


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(redact(text) for text in dict.fromkeys(texts) if text)
