"""What Snap tells of events after it took them: traffic of the past hour, and its log of test events.

Source: as :mod:`capi_async.destinations.snap.readback`. Live events are counted, not judged: Snap publishes no later
verdict on them.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from urllib.parse import quote

from capi_async.destinations.snap.answers import LogsAnswer, StatsAnswer, decode_logs, decode_stats
from capi_async.followup import FollowUp, FollowUpError, Told, ToldKind
from capi_async.outcome import UNREADABLE, Response, redact
from capi_async.spec import Request

FOLLOWUP: Final = FollowUp(
    tells="counts live events of the past hour, and judges test events of the past 24 hours",
    asks=True,
)
_CHECK: Final = "check access_token, the asset and base_url"


def read_request_v2(base_url: str, what: str, asset_id: str, token: str, *, launchpad: bool) -> Request:
    """A read-back request of version 2."""
    headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
    if launchpad:
        # its routes declare that they consume JSON, be it on a GET
        headers["Content-Type"] = "application/json"
    return Request("GET", f"{base_url}/v2/conversion/validate/{what}?asset_id={quote(asset_id, safe='')}", headers)


def read_request_v3(base_url: str, what: str, asset_id: str, token: str) -> Request:
    """A read-back request of version 3, whose address holds the token."""
    asset, key = quote(asset_id, safe=""), quote(token, safe="")
    return Request(
        "GET", f"{base_url}/v3/{asset}/events/validate/{what}?access_token={key}", {"Accept": "application/json"}
    )


def told(name: str, response: Response) -> list[Told]:
    """What an answer tells.

    Raises:
        FollowUpError: Nothing.
    """
    what, _, asset = name.partition(":")
    try:
        answer = decode_stats(response.body) if what == "stats" else decode_logs(response.body)
    except UNREADABLE:
        raise FollowUpError(f"Snap answered HTTP {response.status} with an unreadable body; {_CHECK}") from None
    if response.status != 200 or answer.status != "SUCCESS":
        raise FollowUpError(f"Snap answered HTTP {response.status}: {redact(answer.reason or 'no reason')}; {_CHECK}")
    if isinstance(answer, StatsAnswer):
        live = None if answer.stats is None else answer.stats.live
        count = 0 if live is None else live.event_count_past_hour or 0
        return [Told(about=f"{asset}, live, past hour", kind="received", events=count)]
    return _judged(f"{asset}, tests, past 24 h", answer)


def _judged(about: str, answer: LogsAnswer) -> list[Told]:
    counts: Counter[tuple[ToldKind, str]] = Counter()
    for entry in answer.logs or ():
        errors, warnings = entry.error_records or (), entry.warning_records or ()
        kind: ToldKind = "refused" if errors else "warned" if warnings else "received"
        reason = redact((errors or warnings or ("",))[0])
        counts[kind, reason] += 1
    return [Told(about=about, kind=kind, events=count, reason=reason) for (kind, reason), count in counts.items()]
