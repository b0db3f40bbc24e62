"""When a quota that is counted by the day is there again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from capi_async.outcome import Response, http_date
from capi_async.spec import HOUR


def until_hour_s(response: Response, hour_utc: int) -> float:
    """Seconds from the answer's own date to the next time that it is that hour in UTC; an hour where it has none."""
    theirs = http_date(response.headers.get("date"))
    if theirs is None:
        return HOUR
    now = datetime.fromtimestamp(theirs, UTC)
    back: datetime = now.replace(hour=hour_utc, minute=0, second=0, microsecond=0)
    return ((back if back > now else back + timedelta(days=1)) - now).total_seconds()
