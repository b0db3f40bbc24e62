"""What tests of several parts share."""

from __future__ import annotations

import pytest


class HandClock:
    """A clock that moves only when told to: ``clock.now`` are seconds of both readings."""

    #: Wall time at which every test begins: 2026-01-15 12:00:00 UTC.
    START = 1_768_478_400.0

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.START + self.now


@pytest.fixture
def clock() -> HandClock:
    """A clock driven by hand."""
    return HandClock()
