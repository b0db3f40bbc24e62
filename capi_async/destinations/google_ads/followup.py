"""What became of a request after Google had taken it: counts and reasons per conversion action.

Source: Data Manager API, ``requestStatus:retrieve`` and diagnostics, read 2026-11. A first answer is worth asking for
after half an hour, the last one is there within a day, and after about 50 days there is none. Events are counted, not
named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from capi_async.errors import ConfigError
from capi_async.followup import FollowUp, FollowUpError, Told, ToldKind
from capi_async.outcome import UNREADABLE, Response, redact
from capi_async.spec import Request, Secret, Transport

_TIMEOUT_S: Final = 30.0
_PREFIX: Final = "PROCESSING_ERROR_REASON_"
_WARNING_PREFIX: Final = "PROCESSING_WARNING_REASON_"

#: What the commonest reasons mean, and what to do.
MEANINGS: Final[Mapping[str, str]] = {
    "CLICK_NOT_FOUND": "normal for people who did not come from an advertisement of this account",
    "CONVERSION_PRECEDES_CLICK": "the event's time lies before the click: send the time of the conversion",
    "DENIED_CONSENT": "the person denied the use of their data for advertising",
    "DUPLICATE_GCLID": "counted before: the same click at the same time",
    "DUPLICATE_TRANSACTION_ID": "counted before: the same transaction id",
    "EVENT_TOO_OLD": "older than the conversion action's window",
    "INVALID_GCLID": "no click id of Google; was it cut, or its case changed?",
    "INVALID_OPERATING_ACCOUNT_FOR_CLICK": "the click is another account's: check customer_id",
    "NO_CONSENT": "state consent.ad_user_data with events of the EEA, the UK and Switzerland",
    "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID": "set the conversion action to count every conversion",
    "TOO_RECENT_CLICK": "the click was less than six hours old; such events are not counted later either",
    "UNKNOWN_CONSENT": "state consent.ad_user_data with events of the EEA, the UK and Switzerland",
}


FOLLOWUP: Final = FollowUp(
    tells="counts by conversion action and reason, half an hour to a day after delivery, for 50 days",
    asks=True,
    by_request=True,
)
_NOTHING_YET: Final = "Google says nothing of this request yet; ask again in half an hour"


class Account(Protocol):
    """What is needed of :class:`~capi_async.destinations.google_ads.destination.GoogleAds`."""

    @property
    def name(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def project(self) -> str | None: ...
    def secret(self) -> Secret: ...


class StatusError(FollowUpError):
    """Google gave no answer that says anything; ask again later."""


class ActionStatus(Struct, frozen=True, kw_only=True):
    """What became of a request's events at one conversion action.

    Attributes:
        action: Number of the conversion action.
        status: ``SUCCESS``, ``PROCESSING``, ``FAILED``, ``PARTIAL_SUCCESS`` or another word of Google's.
        events: How many there were; ``None``: not said yet.
        errors, warnings: Events by reason, without Google's common prefix. Those with an error are not counted.
    """

    action: str
    status: str
    events: int | None = None
    errors: Mapping[str, int] = {}
    warnings: Mapping[str, int] = {}

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("SUCCESS", "FAILED", "PARTIAL_SUCCESS")


class _Count(Struct, rename="camel"):
    reason: str = ""
    record_count: int = 0


class _Errors(Struct, rename="camel"):
    error_counts: list[_Count] = []


class _Warnings(Struct, rename="camel"):
    warning_counts: list[_Count] = []


class _Ingested(Struct, rename="camel"):
    record_count: int | None = None


class _To(Struct, rename="camel"):
    product_destination_id: str = ""


class _Row(Struct, rename="camel"):
    destination: _To = msgspec.field(default_factory=_To)
    request_status: str = "REQUEST_STATUS_UNKNOWN"
    events_ingestion_status: _Ingested = msgspec.field(default_factory=_Ingested)
    error_info: _Errors = msgspec.field(default_factory=_Errors)
    warning_info: _Warnings = msgspec.field(default_factory=_Warnings)


class _Answer(Struct, rename="camel"):
    request_status_per_destination: list[_Row] = []


#: Google writes whole numbers of 64 bits as text.
_answer: Final = msgspec.json.Decoder(_Answer, strict=False)


async def request_status(destination: Account, transport: Transport, request_id: str) -> list[ActionStatus]:
    """What became of the events of one request.

    Args:
        request_id: ``Outcome.trace_id`` of any of them.

    Raises:
        ConfigError: There is no such request, or the credential was refused.
        StatusError: Google gave no readable answer, or no more of them for now.
        TransportError: No answer came.
    """
    token = await destination.secret().reveal()
    request = status_request(destination, token, request_id.strip())
    return read_status(destination.name, await transport.send(request, timeout_s=_TIMEOUT_S))


def status_request(destination: Account, token: str, request_id: str) -> Request:
    """The request that asks for it."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    if destination.project is not None:
        headers["x-goog-user-project"] = destination.project
    url = f"{destination.base_url}/requestStatus:retrieve?requestId={quote(request_id, safe='')}"
    return Request("GET", url, headers)


def read_status(name: str, response: Response) -> list[ActionStatus]:
    """What an answer says; errors as of :func:`request_status`.

    Args:
        name: Of the destination.
    """
    status = response.status
    if status in (400, 404):
        raise ConfigError("Google knows no such request: use Outcome.trace_id as it is; after 50 days it is forgotten")
    if status in (401, 403):
        raise ConfigError(f"{name}: the access token is refused (HTTP {status}): renew it, or its scope")
    if status != 200:
        raise StatusError(f"Google answered HTTP {status}; ask again later")
    try:
        rows = _answer.decode(response.body).request_status_per_destination
    except UNREADABLE:
        raise StatusError("Google's answer cannot be read; ask again later") from None
    return [_of(row) for row in rows]


def told(statuses: Sequence[ActionStatus], conversions: Mapping[str, str]) -> list[Told]:
    """The same in counts of what became of the events.

    Args:
        conversions: Event name to the number of a conversion action.

    Raises:
        StatusError: Nothing is known yet.
    """
    if not statuses:
        raise StatusError(_NOTHING_YET)
    names = {action: name for name, action in conversions.items()}
    found = []
    for one in statuses:
        about = f"{names[one.action]} ({one.action})" if one.action in names else one.action
        if not one.final:
            found.append(Told(about=about, kind="processing", events=one.events, reason=one.status))
            continue
        refused = sum(one.errors.values())
        left = None if one.events is None else max(0, one.events - refused)
        if one.status == "FAILED":
            if left is None or left:
                found.append(Told(about=about, kind="refused", events=left, reason="FAILED", meaning="no reason given"))
        else:
            found.append(Told(about=about, kind="matched", events=left))
        found += _counted(about, "refused", one.errors) + _counted(about, "warned", one.warnings)
    return found


def _counted(about: str, kind: ToldKind, counts: Mapping[str, int]) -> list[Told]:
    return [
        Told(about=about, kind=kind, events=count, reason=reason, meaning=MEANINGS.get(reason, ""))
        for reason, count in counts.items()
    ]


def _of(row: _Row) -> ActionStatus:
    return ActionStatus(
        # redacted it would be "<number>"
        action=action if (action := row.destination.product_destination_id).isdecimal() else redact(action),
        status=redact(row.request_status),
        events=row.events_ingestion_status.record_count,
        errors={redact(one.reason.removeprefix(_PREFIX)): one.record_count for one in row.error_info.error_counts},
        warnings={
            redact(one.reason.removeprefix(_WARNING_PREFIX)): one.record_count
            for one in row.warning_info.warning_counts
        },
    )
