"""How long to wait before something that failed is tried again. Pure: nothing here sleeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Final

import backoff

#: Doublings after which a wait does not grow any more, whatever its limit.
_MAX_WAITS: Final = 32


@lru_cache(maxsize=64)
def _waits(first_s: float, longest_s: float) -> tuple[float, ...]:
    """Every wait from the first one up to the longest."""
    growing = backoff.expo(base=2, factor=first_s, max_value=longest_s)
    next(growing)  # the generator's first value only primes it
    waits: list[float] = []
    for wait in islice(growing, _MAX_WAITS):
        waits.append(float(wait))
        if wait >= longest_s:
            break
    return tuple(waits)


def full_jitter(wait_s: float) -> float:
    """Any time between 0 and ``wait_s``: what failed together comes back spread over the whole of it."""
    return float(backoff.full_jitter(wait_s))


class Backoff:
    """Waits that double with every failure, up to a limit.

    Args:
        first_s: Seconds to wait after the first failure.
        longest_s: Seconds that no wait exceeds before jitter.
        jitter: Makes a random wait of a computed one, in seconds.
    """

    def __init__(self, *, first_s: float, longest_s: float, jitter: Callable[[float], float] = full_jitter) -> None:
        self._waits = _waits(first_s, longest_s)
        self._jitter = jitter

    def delay_s(self, failures: int) -> float:
        """Seconds before the attempt after the ``failures``-th failed one, with jitter; 0 if none has failed."""
        return self._jitter(self.interval_s(failures)) if failures > 0 else 0.0

    def interval_s(self, failures: int) -> float:
        """The same without jitter, at least the first wait: for a single caller, such as a probe or a poll."""
        return self._waits[min(max(failures, 1), len(self._waits)) - 1]


#: Between attempts to deliver an event, and between probes of a destination that is paused or broken.
DELIVERY: Final = Backoff(first_s=0.5, longest_s=60.0)
