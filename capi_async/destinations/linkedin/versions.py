"""Versions of LinkedIn's API: months, of which each lives for a year at least, and then answers 426.

Source: LinkedIn's pages on versioning and migrations, read 2026-11. No answer announces the end.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

#: The newest documented one.
DEFAULT: Final = "202608"
#: ``externalIds`` are known since then.
OLDEST: Final = "202410"
#: Since then an Android advertising id is taken, and a lead needs nobody else beside it.
ANDROID: Final = "202605"

_is_version: Final = re.compile(r"20[2-9][0-9](0[1-9]|1[0-2])").fullmatch
_WARN_AFTER_MONTHS: Final = 10
_LIVES_MONTHS: Final = 12


def is_version(text: str) -> bool:
    """Whether a text has the form of a version."""
    return _is_version(text) is not None


def near_its_end_from(version: str) -> float:
    """When a version is ten months old, two before it may end, in seconds since the epoch."""
    year, month = divmod(_month_of(version) + _WARN_AFTER_MONTHS, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()


def words_on_its_end(version: str) -> str:
    """What is to be said of such a version."""
    year, month = divmod(_month_of(version) + _LIVES_MONTHS, 12)
    return (
        f"LinkedIn ends version {version} of its API in {year}-{month + 1:02} or later, and takes no event by it from "
        f"then on; {_SET}"
    )


def newer_than(version: str, at: float | None) -> str:
    """What to set instead of a version that LinkedIn refuses.

    Args:
        at: LinkedIn's own time, in seconds since the epoch; ``None``: it is not known.
    """
    usual = None if at is None else _likely(_months(at) - 2)
    return f"{_SET}, such as {usual}" if usual is not None and usual > version else _SET


_SET: Final = (
    "set api_version (LINKEDIN_VERSION) to one that learn.microsoft.com/linkedin/marketing/versioning lists as active"
)


def _month_of(version: str) -> int:
    return int(version[:4]) * 12 + int(version[4:]) - 1


def _months(at: float) -> int:
    time = datetime.fromtimestamp(at, UTC)
    return time.year * 12 + time.month - 1


def _likely(months: int) -> str:
    """A version that is probably there: that of this month, where a December has been without one."""
    year, month = divmod(months - (months % 12 == 11), 12)
    return f"{year}{month + 1:02}"
