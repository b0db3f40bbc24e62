"""Whether a call that failed is tried again, and when. Pure: it neither sleeps nor sends.

Three repeats after a rate limit, two after a server error, two after a lost connection, each counted for itself.
``Retry-After`` wins; without it the waits are 1, 2 and 4 seconds and a little more at random, as the platform asks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from capi_async.backoff import Backoff
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopNetworkError,
    TikTokShopRateLimitError,
    TikTokShopServerError,
)

#: Repeats per kind of trouble: a call never sends more than one request plus the sum of these.
REPEATS: Final[Mapping[type[TikTokShopAPIError], int]] = {
    TikTokShopRateLimitError: 3,
    TikTokShopServerError: 2,
    TikTokShopNetworkError: 2,
}
#: First wait in seconds; it doubles with every repeat of the same kind.
BASE_S: Final = 1.0
MAX_S: Final = 32.0
#: Part of a wait that chance adds, so that callers who failed together do not return together.
JITTER: Final = 0.25


class Retries:
    """The repeats of one call.

    Args:
        reads: It changes nothing.
        repeatable: Doing it twice is as good as once. If not, it is repeated only where it certainly was not done.
        max_wait_s: A longer ``Retry-After`` is the caller's to wait for.
        base_s: First wait in seconds.
    """

    def __init__(self, *, reads: bool, repeatable: bool, max_wait_s: float, base_s: float = BASE_S) -> None:
        self._reads = reads
        self._repeatable = reads or repeatable
        self._max_wait_s = max_wait_s
        self._backoff = Backoff(first_s=base_s, longest_s=MAX_S, jitter=_some_more)
        self._used: dict[type[TikTokShopAPIError], int] = {}

    def wait_s(self, error: TikTokShopAPIError) -> float | None:
        """Seconds until the next attempt, or ``None``: this error is the call's result."""
        kind = type(error)
        if kind not in REPEATS or error.retry == "no" or (error.retry == "reads" and not self._reads):
            return None
        # a rate limit refuses before it does anything; of a server error or a lost answer nobody knows
        done_for_all_we_know = kind is TikTokShopServerError or (
            isinstance(error, TikTokShopNetworkError) and error.sent
        )
        if done_for_all_we_know and not self._repeatable:
            return None
        used = self._used.get(kind, 0)
        if used >= REPEATS[kind]:
            return None
        self._used[kind] = used + 1
        if error.stated_wait_s is not None:
            return error.stated_wait_s if error.stated_wait_s <= self._max_wait_s else None
        return self._backoff.delay_s(used + 1)


def _some_more(wait_s: float) -> float:
    return wait_s * (1.0 + random.uniform(0.0, JITTER))
