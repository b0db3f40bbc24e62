"""How long to wait before trying again."""

from __future__ import annotations

from itertools import islice

import backoff

#: First wait, and the longest, in seconds.
BASE_S = 0.5
MAX_S = 60.0


def _ceilings() -> list[float]:
    waits = backoff.expo(base=2, factor=BASE_S, max_value=MAX_S)
    next(waits)  # the generator's first value only primes it
    return [float(wait) for wait in islice(waits, 12)]


_CEILINGS = _ceilings()


def delay_s(failures: int) -> float:
    """Seconds before the attempt after the ``failures``-th failed one: exponential, with full jitter."""
    ceiling = _CEILINGS[min(failures, len(_CEILINGS)) - 1] if failures > 0 else 0.0
    return backoff.full_jitter(ceiling)


def interval_s(probes: int) -> float:
    """Seconds until the next probe of a paused or broken destination: exponential, without jitter."""
    return _CEILINGS[min(max(probes, 1), len(_CEILINGS)) - 1]
