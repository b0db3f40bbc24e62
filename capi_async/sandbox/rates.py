"""Request rate limits, counted exactly: at most so many requests in any window of that length."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from capi_async.bounded import make_room


class Rate(Struct, frozen=True):
    """At most ``limit`` requests in any ``per_s`` seconds."""

    limit: int
    per_s: float = 60.0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.per_s <= 0:
            raise ValueError("a rate needs a limit of at least 1 and a positive per_s")


class Windows:
    """The recent requests of each key (token or account) under one rate.

    A log of times, not a bucket: a bucket lets a burst through that the documented "60 per minute" forbids.
    """

    __slots__ = ("_times", "rate")

    _MAX_KEYS = 10_000

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._times: dict[str, deque[float]] = {}

    def admit(self, key: str, now: float) -> float:
        """0 when the request may pass, else the seconds until one may. A refused request is not counted."""
        times = self._recent(key, now)
        if len(times) >= self.rate.limit:
            return max(times[0] + self.rate.per_s - now, 0.001)
        times.append(now)
        return 0.0

    def state(self, key: str, now: float) -> tuple[int, float]:
        """Requests left, and seconds until the oldest one leaves the window."""
        times = self._recent(key, now)
        reset = times[0] + self.rate.per_s - now if times else 0.0
        return self.rate.limit - len(times), reset

    def _recent(self, key: str, now: float) -> deque[float]:
        times = self._times.get(key)
        if times is None:
            make_room(self._times, key, self._MAX_KEYS)
            times = self._times[key] = deque()
        floor = now - self.rate.per_s
        while times and times[0] <= floor:
            times.popleft()
        return times
