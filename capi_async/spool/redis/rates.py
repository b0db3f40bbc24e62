"""Request tokens that all processes on one Redis share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from capi_async.spool.redis.link import Away, Link
from capi_async.spool.redis.scripts import DRAW, WITHHOLD

#: Seconds for which a token is reserved ahead: who comes first is served first.
AHEAD_S: Final = 5.0
#: A reserved token that was not used for so long has lapsed: used later, it would come on top of those of that time.
LAPSE_S: Final = 0.25


class _Account(Struct):
    """What this process knows of one account.

    Attributes:
        ready_at: Monotonic seconds from which on a reserved token may be used; 0: none is reserved.
        closed_until: Monotonic seconds until which nobody gets any.
        tokens, at: This process's own share, for when Redis is away.
    """

    ready_at: float = 0.0
    closed_until: float = 0.0
    tokens: float = 0.0
    at: float = 0.0


class SharedRates:
    """One token bucket per account, inside Redis and by its clock. A token costs one round trip, also when it is due
    only later: it is reserved then, so that workers are served in the order in which they asked.

    Args:
        prefix: What the key of an account's bucket begins with.
        news: Key of the stream that tells of throttling.
        now: Monotonic seconds.
        share: How many workers share an account, as far as is known.
    """

    def __init__(self, *, prefix: str, news: str, now: Callable[[], float], share: Callable[[], int]) -> None:
        self._prefix = prefix
        self._news = news
        self._now = now
        self._share = share
        self._accounts: dict[str, _Account] = {}

    async def draw(self, link: Link | None, account: str, *, rate: float, burst: float) -> float:
        """1 if a token is there, else minus the seconds until one may be."""
        name = _name(account)
        mine = self._accounts.setdefault(name, _Account())
        now = self._now()
        if now < mine.closed_until:
            mine.ready_at = 0.0
            return now - mine.closed_until
        if mine.ready_at:
            if now < mine.ready_at:
                return now - mine.ready_at
            late_s = now - mine.ready_at
            mine.ready_at = 0.0
            if late_s < LAPSE_S:
                return 1.0
        if link is None:
            return self._own(mine, now, rate, burst)
        try:
            wait, reserved = await link.run(DRAW, [self._prefix + name], [rate, max(1.0, burst), AHEAD_S])
        except Away:
            return self._own(mine, self._now(), rate, burst)
        wait_s, now = float(wait), self._now()
        if now < mine.closed_until:
            return now - mine.closed_until
        if not reserved:
            return -max(wait_s, 0.001)
        if wait_s <= 0:
            return 1.0
        mine.ready_at = now + wait_s
        return -wait_s

    async def withhold(self, link: Link, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """Nobody gets a token for so long, and after that fewer for a while."""
        name = _name(account)
        await link.run(WITHHOLD, [self._prefix + name, self._news], [repr(seconds), name])

    def heard(self, name: str, seconds: float) -> None:
        """Some process was told to slow down."""
        mine = self._accounts.setdefault(name, _Account())
        mine.closed_until = max(mine.closed_until, self._now() + seconds)

    def _own(self, mine: _Account, now: float, rate: float, burst: float) -> float:
        """Redis is away: the share that all can take without asking, and still keep the limit together."""
        share = max(1, self._share())
        rate, burst = rate / share, max(1.0, burst / share)
        mine.tokens = min(burst, mine.tokens + (now - (mine.at or now)) * rate)
        mine.at = now
        if mine.tokens >= 1.0 - 1e-9:
            mine.tokens -= 1.0
            return 1.0
        return -(1.0 - mine.tokens) / rate


def _name(account: str) -> str:
    return hashlib.blake2b(account.encode(), digest_size=8).hexdigest()
