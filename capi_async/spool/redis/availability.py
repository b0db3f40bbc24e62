"""Whether Redis can be reached: when to try again, what to log, and how much longer leases last after an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from capi_async.backoff import Backoff
from capi_async.clock import Clock
from capi_async.errors import SpoolError

logger = logging.getLogger(__name__)

#: Seconds between two attempts to reach Redis: at first, and at most.
RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 1.0
BACKOFF: Final = Backoff(first_s=RETRY_S, longest_s=MAX_RETRY_S)

#: Seconds for which every attempt must have failed before this counts as an outage.
_OUTAGE_S: Final = 0.25
#: Most seconds until other processes send a heartbeat once Redis is back: their pause, and then their next heartbeat.
_RETURN_S: Final = 2 * MAX_RETRY_S

#: Least seconds between two warnings of an outage: at first, and at most. They double while Redis comes and goes.
_WARN_EVERY_S: Final = 5.0
_MAX_WARN_EVERY_S: Final = 300.0

#: A silence so long that no lease ends because of it.
_ENDLESS_S: Final = 1e9


class Availability:
    """What one process knows of whether Redis can be reached.

    Args:
        lease_s: As in :class:`~capi_async.spool.redis.options.Options`.
        on_return: Called when Redis answers again after an outage.

    Attributes:
        retry_at: Monotonic seconds before which background work does not try to reach Redis; 0 if it may.
    """

    def __init__(self, *, clock: Clock, lease_s: float, on_return: Callable[[], None]) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._on_return = on_return
        self._failing_since = 0.0
        self._outage_since = 0.0
        self.retry_at = 0.0
        self._answered_at = 0.0
        self._steady_since = 0.0
        self._silence_s = _ENDLESS_S
        self._warn_at = 0.0
        self._warn_every_s = _WARN_EVERY_S
        self._warned = False
        self._unwarned = 0

    def reset(self) -> None:
        """Forget earlier failures: the spool is opened."""
        self._failing_since = self._outage_since = self.retry_at = 0.0

    def opened(self) -> None:
        """End no lease for a while: there may just have been an outage, in which no process could send a heartbeat."""
        self._steady_since = self._answered_at = self._clock.monotonic()
        self._silence_s = _ENDLESS_S

    def failed(self, error: SpoolError) -> None:
        """Note a failed attempt; the next one waits a little. It is an outage only if none succeeds for a while.

        A single connection that breaks is none.
        """
        now = self._clock.monotonic()
        if not self._failing_since:
            self._failing_since = now
        failing_s = now - self._failing_since
        self.retry_at = now + min(MAX_RETRY_S, max(RETRY_S, failing_s / 2))
        if self._outage_since or failing_s < _OUTAGE_S:
            return
        self._outage_since = self._failing_since
        self._warned = now >= self._warn_at
        if self._warned:
            more = f" ({self._unwarned} more outages since the last warning)" if self._unwarned else ""
            logger.warning("Redis does not answer; workers wait, and send() fails: %s%s", error, more)
            self._unwarned = 0
            calm = now >= self._warn_at + _MAX_WARN_EVERY_S
            self._warn_every_s = _WARN_EVERY_S if calm else min(_MAX_WARN_EVERY_S, 2 * self._warn_every_s)
            self._warn_at = now + self._warn_every_s
        else:
            self._unwarned += 1

    def pause(self) -> None:
        """Have background work wait as long as during an outage, although Redis answers."""
        self.retry_at = self._clock.monotonic() + MAX_RETRY_S

    def answered(self) -> None:
        """Note an answer of Redis."""
        now = self._clock.monotonic()
        silence_s, self._answered_at = now - self._answered_at, now
        if silence_s > self._lease_s / 2:
            # a Redis that hangs fails no command, but meanwhile no process can send a heartbeat
            recently = now - self._steady_since < self._lease_s
            self._silence_s = max(silence_s, self._silence_s) if recently else silence_s
            self._steady_since = now
        if not self._failing_since:
            return
        outage_since, self._failing_since, self.retry_at, self._outage_since = self._outage_since, 0.0, 0.0, 0.0
        if not outage_since:
            return
        if self._warned:
            logger.info("Redis answers again after %.1f s", now - outage_since)
        self._on_return()

    def away_s(self) -> float:
        """Seconds since the outage began; 0 if there is none."""
        return self._clock.monotonic() - self._outage_since if self._outage_since else 0.0

    def lease_ms(self) -> int:
        """Milliseconds without a heartbeat after which another process's lease ends.

        After an outage others get as much longer as no process could send a heartbeat, and the time to send one.
        """
        lease_s, now = self._lease_s, self._clock.monotonic()
        silence_s = self._silence_s if now - self._steady_since < lease_s else 0.0
        # this process has had no answer for a while, and others may not have reached Redis, either
        if (current_s := now - self._answered_at) > lease_s / 2:
            silence_s = max(silence_s, current_s)
        return int((lease_s + (min(_ENDLESS_S, silence_s + _RETURN_S) if silence_s else 0.0)) * 1000)
