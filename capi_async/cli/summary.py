"""What a run did: counts and durations from the client's hooks, in bounded memory."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from capi_async.outcome import Outcome
from capi_async.telemetry.base import Hook, RequestDone, Settled

#: Distinct reasons kept per destination.
_MAX_REASONS: Final = 5


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why some event was not delivered."""

    kind: str
    reason: str
    field: str = ""
    fix: str = ""


class Durations:
    """A histogram of seconds whose buckets grow by 5 %, from 0.1 ms on: percentiles within 2.5 %."""

    _STEP: Final = math.log(1.05)
    _LEAST_S: Final = 1e-4

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float, count: int = 1) -> None:
        """Note ``count`` events that took ``seconds``."""
        self._buckets[round(math.log(max(seconds, self._LEAST_S) / self._LEAST_S) / self._STEP)] += count

    def percentile(self, share: float) -> float | None:
        """The seconds within which ``share`` of the events lie; ``None`` without any."""
        rank = math.ceil(self._buckets.total() * share)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return float(f"{self._LEAST_S * math.exp(bucket * self._STEP):.3g}")
        return None


class _One:
    """One destination's share."""

    def __init__(self) -> None:
        self.requests = 0
        self.carried = 0
        self.ended_at = 0.0
        self.durations = Durations()
        self.reasons: dict[tuple[str, str, str], Reason] = {}


class Summary(Hook):
    """Listens to a client."""

    def __init__(self, names: Iterable[str]) -> None:
        self.started_at = time.monotonic()
        self._of = {name: _One() for name in names}
        self._unidentified: set[str] = set()

    def on_request(self, done: RequestDone) -> None:
        """Count the request and what it carried."""
        one = self._of[done.destination]
        one.requests += 1
        one.carried += done.events

    def on_settled(self, settled: Settled) -> None:
        """Note the latency of what was delivered and the reasons of the rest."""
        one = self._of[settled.destination]
        one.ended_at = time.monotonic()
        last: Outcome | None = None
        run = 0
        for event_id, outcome in zip(settled.event_ids, settled.outcomes, strict=True):
            if outcome.kind != "delivered":
                note_reason(one.reasons, outcome.kind, outcome.field, outcome.reason, outcome.fix)
                if outcome.kind == "skipped" and outcome.field.startswith("user"):
                    self._unidentified.add(event_id)
            elif outcome is last:
                run += 1
            else:
                if last is not None:
                    one.durations.add(last.latency_s, run)
                last, run = outcome, 1
        if last is not None:
            one.durations.add(last.latency_s, run)

    def take_unidentified(self) -> set[str]:
        """Ids of events that some destination skipped for want of an identifier, since this was asked last."""
        taken, self._unidentified = self._unidentified, set()
        return taken

    def requests(self, name: str) -> int:
        """Requests to one destination."""
        return self._of[name].requests

    def carried(self, name: str) -> int:
        """Events in all of its requests, repeats included."""
        return self._of[name].carried

    def seconds(self, name: str) -> float:
        """From the start to its last outcome."""
        ended_at = self._of[name].ended_at
        return max(0.0, ended_at - self.started_at) if ended_at else 0.0

    def percentile(self, name: str, share: float) -> float | None:
        """Seconds from acceptance to delivery that ``share`` of the delivered events needed at most."""
        return self._of[name].durations.percentile(share)

    def reasons(self, name: str) -> list[Reason]:
        """The first distinct reasons why events were not delivered."""
        return list(self._of[name].reasons.values())


_DIGITS: Final = re.compile(r"\d+")


def note_reason(
    reasons: dict[tuple[str, str, str], Reason], kind: str, field: str, reason: str, fix: str, most: int = _MAX_REASONS
) -> None:
    """Keep a reason if it is a new one and there is room."""
    if len(reasons) < most:
        # platforms number the events of a request: that alone is no other reason
        reasons.setdefault((kind, field, _DIGITS.sub("", reason)), Reason(kind, reason, field, fix))
