"""What Snap's two dialects share: names, identity, the log of test events and the hourly stats.

Source: developers.snap.com Conversions API, Snap's business-sdk-v3-java and snap_business_sdk 1.0.0, read 2026-11.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from capi_async.bounded import make_room
from capi_async.sandbox.checks import DAY, HOUR, words

MAX_EVENTS = 2_000

EVENT_NAMES = words(
    "PAGE_VIEW VIEW_CONTENT LIST_VIEW SEARCH SAVE ADD_CART ADD_TO_WISHLIST START_CHECKOUT ADD_BILLING PURCHASE SIGN_UP "
    "LOGIN SUBSCRIBE START_TRIAL RESERVE SHARE INVITE RATE AD_CLICK AD_VIEW COMPLETE_TUTORIAL LEVEL_COMPLETE "
    "ACHIEVEMENT_UNLOCKED SPENT_CREDITS APP_INSTALL APP_OPEN CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 "
    "CUSTOM_EVENT_4 CUSTOM_EVENT_5"
)

NO_IDENTITY = "insufficient PII: needs an email, a phone, IP and user agent together, or a mobile ad id on app events"


def epoch_seconds(number: int) -> float:
    """Seconds of a time in seconds or milliseconds: Snap takes both and tells them apart by size."""
    return number / 1_000 if number > 100_000_000_000 else float(number)


class _Minutes(Struct):
    """Events of the last hour, counted by minute."""

    latest_ms: int = 0
    counts: dict[int, int] = {}

    def add(self, now: float) -> None:
        self.latest_ms = int(now * 1_000)
        minute = int(now // 60)
        self.counts[minute] = self.counts.get(minute, 0) + 1
        if len(self.counts) > 61:
            del self.counts[next(iter(self.counts))]

    def past_hour(self, now: float) -> int:
        return sum(count for minute, count in self.counts.items() if minute * 60 > now - HOUR)


class TestLog:
    """Test events of the last 24 hours, and how many events, test and live, the last hour had; per asset.

    ``latest_event_ts`` is in milliseconds; its unit is UNVERIFIED.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name
    _MAX_ENTRIES = 10_000

    def __init__(self) -> None:
        self._entries: deque[tuple[str, float, dict[str, Any]]] = deque(maxlen=self._MAX_ENTRIES)
        self._minutes: dict[tuple[str, bool], _Minutes] = {}

    def log(self, asset: str, now: float, entry: dict[str, Any]) -> None:
        self._entries.append((asset, now, entry))

    def count(self, asset: str, now: float, *, test: bool) -> None:
        minutes = self._minutes.get((asset, test))
        if minutes is None:
            make_room(self._minutes, (asset, test), self._MAX_ENTRIES)
            minutes = self._minutes[asset, test] = _Minutes()
        minutes.add(now)

    def logs(self, asset: str, now: float) -> dict[str, Any]:
        """The body of a logs request."""
        entries = [entry for owner, at, entry in self._entries if owner == asset and now - at < DAY]
        return {"status": "SUCCESS", "reason": "", "logs": entries}

    def stats(self, asset: str, now: float) -> dict[str, Any]:
        """The body of a stats request."""
        body: dict[str, Mapping[str, int]] = {}
        for name, test in (("test", True), ("live", False)):
            minutes = self._minutes.get((asset, test), _Minutes())
            body[name] = {"latest_event_ts": minutes.latest_ms, "event_count_past_hour": minutes.past_hour(now)}
        return {"status": "SUCCESS", "reason": "", "stats": body}
