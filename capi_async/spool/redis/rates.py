"""Request tokens that all processes on one Redis share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from capi_async.spool.redis.connection import Connection, Unreachable
from capi_async.spool.redis.lua import CLOSE_BUCKET, TAKE_FROM_BUCKET

#: Most seconds for which a token is reserved ahead; reservations are served in the order of the requests.
RESERVE_S: Final = 5.0
#: Seconds within which a reserved token must be used: later, it would come on top of the tokens of that time.
LAPSE_S: Final = 0.25


class _Account(Struct):
    """What this process knows of one account.

    Attributes:
        ready_at: Monotonic seconds from which on a reserved token may be used; 0: none is reserved.
        closed_until: Monotonic seconds until which no process gets a token.
        tokens: This process's own share while Redis cannot be reached, and ``at``: monotonic seconds of that count.
    """

    ready_at: float = 0.0
    closed_until: float = 0.0
    tokens: float = 0.0
    at: float = 0.0


class SharedRates:
    """One token bucket per account, inside Redis and by its clock.

    A token costs one round trip, also one that is due later: it is reserved then, so that workers are served in the
    order of their requests.

    Args:
        prefix: Begins the key of every account's bucket.
        throttling: Key of the stream that says which accounts were throttled.
        now: Returns monotonic seconds.
        workers: Returns the number of processes that share the accounts, as far as it is known.
    """

    def __init__(self, *, prefix: str, throttling: str, now: Callable[[], float], workers: Callable[[], int]) -> None:
        self._prefix = prefix
        self._throttling = throttling
        self._now = now
        self._workers = workers
        self._accounts: dict[str, _Account] = {}

    async def take(self, connection: Connection | None, account: str, *, rate: float, burst: float) -> float:
        """Take a token: return 1 if there is one, else minus the seconds until there may be one.

        Args:
            connection: ``None`` while Redis cannot be reached.
            rate: Tokens per second.
            burst: Most tokens at once.
        """
        name = _digest(account)
        known = self._accounts.setdefault(name, _Account())
        now = self._now()
        if now < known.closed_until:
            known.ready_at = 0.0
            return now - known.closed_until
        if known.ready_at:
            if now < known.ready_at:
                return now - known.ready_at
            late_s = now - known.ready_at
            known.ready_at = 0.0
            if late_s < LAPSE_S:
                return 1.0
        if connection is None:
            return self._take_own(known, now, rate, burst)
        try:
            wait, reserved = await connection.script(
                TAKE_FROM_BUCKET, [self._prefix + name], [rate, max(1.0, burst), RESERVE_S]
            )
        except Unreachable:
            return self._take_own(known, self._now(), rate, burst)
        wait_s, now = float(wait), self._now()
        if now < known.closed_until:
            return now - known.closed_until
        if not reserved:
            return -max(wait_s, 0.001)
        if wait_s <= 0:
            return 1.0
        known.ready_at = now + wait_s
        return -wait_s

    async def withhold(self, connection: Connection, account: str, *, seconds: float) -> None:
        """Give no token to any process for so long, and fewer for a while after."""
        name = _digest(account)
        await connection.script(CLOSE_BUCKET, [self._prefix + name, self._throttling], [repr(seconds), name])

    def note_throttling(self, name: str, seconds: float) -> None:
        """Note that a platform throttled an account; ``name`` is as another process wrote it."""
        known = self._accounts.setdefault(name, _Account())
        known.closed_until = max(known.closed_until, self._now() + seconds)

    def is_closed(self, account: str) -> bool:
        """Whether this process knows that the account is throttled now."""
        known = self._accounts.get(_digest(account))
        return known is not None and self._now() < known.closed_until

    def _take_own(self, known: _Account, now: float, rate: float, burst: float) -> float:
        """Take from this process's share: without Redis, all shares together keep the limit."""
        workers = max(1, self._workers())
        rate, burst = rate / workers, max(1.0, burst / workers)
        known.tokens = min(burst, known.tokens + (now - (known.at or now)) * rate)
        known.at = now
        if known.tokens >= 1.0 - 1e-9:
            known.tokens -= 1.0
            return 1.0
        return -(1.0 - known.tokens) / rate


def _digest(account: str) -> str:
    """The form in which an account is stored."""
    return hashlib.blake2b(account.encode(), digest_size=8).hexdigest()
