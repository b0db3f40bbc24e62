"""What Google says of a request later: how many events of each conversion action were counted, and why not the others.

Source: as :mod:`capi_async.sandbox.platforms.google_ads`. Google answers after half an hour, the sandbox at once. Which
event gets which reason is the sandbox's own reading; a ``gclid`` that begins with ``unknown`` is found nowhere
(invented, to try it out).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct, field, to_builtins

from capi_async.sandbox.checks import DAY

_CLICK_AGE_S: Final = 90 * DAY
#: Where consent must be stated: the European Economic Area, the United Kingdom and Switzerland.
_ASKED: Final = frozenset(
    {
        "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GR", "HR", "HU", "IE", "IS",
        "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip


class Fate(Struct):
    """What became of a request's events at one of its destinations."""

    destination: Any
    events: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, reason: str) -> None:
        """One event; an empty reason: it is counted."""
        self.events += 1
        if reason:
            self.reasons[f"PROCESSING_ERROR_REASON_{reason}"] += 1

    def answer(self) -> Mapping[str, Any]:
        """Its entry in the answer."""
        refused = self.reasons.total()
        status = "SUCCESS" if not refused else "FAILED" if refused == self.events else "PARTIAL_SUCCESS"
        counts = [{"recordCount": str(count), "reason": reason} for reason, count in self.reasons.items()]
        return {
            "destination": to_builtins(self.destination),
            "requestStatus": status,
            "eventsIngestionStatus": {"recordCount": str(self.events)},
            **({"errorInfo": {"errorCounts": counts}} if counts else {}),
        }


def reason_of(event: Any, now: float, *, copy: bool) -> str:
    """Why an event that was taken is not counted; empty if it is."""
    ad, consent = event.ad_identifiers, event.consent
    click = None if ad is None else ad.gclid or ad.gbraid or ad.wbraid
    if copy:
        return "DUPLICATE_TRANSACTION_ID"
    if now - datetime.fromisoformat(event.event_timestamp).timestamp() > _CLICK_AGE_S:
        return "EVENT_TOO_OLD"
    if click is not None and click.startswith("unknown"):
        return "CLICK_NOT_FOUND"
    if (consent is None or consent.ad_user_data is None) and not _ASKED.isdisjoint(_countries(event)):
        return "NO_CONSENT"
    return ""


def _countries(event: Any) -> set[str]:
    user = event.user_data
    return set() if user is None else {one.address.region_code for one in user.user_identifiers if one.address}
