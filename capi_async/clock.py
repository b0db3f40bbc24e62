"""Time as the package sees it: one object to ask, so that tests can drive it by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never steps. For durations, limits and timers."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; may step. For event times and expiry, which outlive the process."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    # the functions themselves: they are called a dozen times for each request
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


SYSTEM_CLOCK = SystemClock()
