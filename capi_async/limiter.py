"""Limits of requests per second and of requests at once. Pure: the clock is an argument, nothing here sleeps."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Requests per second for one account, lowered when the platform throttles and raised again step by step.

    Args:
        rate: Tokens per second.
        burst: Tokens that gather at most; at least 1.
        now: Monotonic seconds: a stepped wall clock would refill the bucket at once.
    """

    #: A throttled account starts again at half its rate, never below a twentieth.
    BACKOFF = 0.5
    FLOOR = 0.05
    #: What each accepted request gives back of the rate that throttling took.
    RECOVERY = 0.02

    def __init__(self, *, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._now = now
        self._tokens = self._burst
        self._at = now()
        #: Monotonic seconds before which nothing leaves because the platform said so.
        self.closed_until = 0.0
        self.factor = 1.0
        #: Why the platform asked for less, last.
        self.reason = ""

    def take(self) -> float:
        """Take a token if there is one and return 0, else return the seconds until there may be one."""
        now = self._now()
        if now < self.closed_until:
            return self.closed_until - now
        rate = self._rate * self.factor
        self._tokens = min(self._burst, self._tokens + (now - self._at) * rate)
        self._at = now
        # the tolerance: without it the rounding of sums can wake a sleeper a nanosecond too early, again and again
        if self._tokens >= 1.0 - 1e-9:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / rate

    def closed_s(self) -> float:
        """Seconds for which nothing leaves because the platform said so."""
        return max(0.0, self.closed_until - self._now())

    def give_back(self) -> None:
        """The token that was taken last is not used after all."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def throttle(self, for_s: float, reason: str = "") -> None:
        """The platform said slow down: nothing leaves for ``for_s`` seconds, then at a lower rate."""
        self.reason = reason
        now = self._now()
        # all that was under way together gets the same answer: that is one lesson, not one each
        if now >= self.closed_until:
            self.factor = max(self.FLOOR, self.factor * self.BACKOFF)
        self.closed_until = max(self.closed_until, now + for_s)
        self._tokens = min(self._tokens, 1.0)
        self._at = max(self._at, self.closed_until)

    def succeed(self) -> None:
        """A request was taken: the rate recovers a little."""
        if self.factor < 1.0:
            self.factor = min(1.0, self.factor + self.RECOVERY)


class Window:
    """Requests that may be under way at once: halves on trouble, grows by one per window of successes."""

    def __init__(self, limit: int) -> None:
        self._ceiling = limit
        self._limit = float(limit)
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """Requests allowed at the moment."""
        return max(1, int(self._limit))

    def open(self) -> bool:
        """Whether another request may leave."""
        return self.in_flight < 1 or self.in_flight + 1 <= self._limit

    def succeed(self) -> None:
        """A request was answered."""
        self._limit = min(float(self._ceiling), self._limit + 1.0 / self._limit)

    def fail(self) -> None:
        """A request met an error or a timeout."""
        self._limit = max(1.0, self._limit / 2)
