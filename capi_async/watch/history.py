"""Counts of the past: the ledgers as they stood, every few seconds for some minutes and every minute for a day."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from capi_async.spool.base import Ledger
from capi_async.telemetry.metrics import Minute

#: Seconds between two samples that rates are computed from, and how far these look back.
FINE_S: Final = 2.0
RATE_S: Final = 30.0
#: Seconds between two samples that are kept for long, and how many of them are.
COARSE_S: Final = 60.0
KEPT: Final = 24 * 60


class Sample(Struct, frozen=True):
    """The ledgers as they stood at one moment, in seconds since the epoch."""

    at: float
    ledger: Mapping[str, Ledger]


class Rate(Struct, frozen=True):
    """Events a second, accepted and settled."""

    accepted: float = 0.0
    settled: float = 0.0


#: Outcomes as a chart tells them apart.
REFUSED: Final = ("rejected", "skipped", "forgotten")
LOST: Final = ("dead", "uncertain", "expired", "dropped")


class History:
    """Samples of one spool; the clock is the caller's."""

    def __init__(self) -> None:
        self._fine: deque[Sample] = deque(maxlen=int(RATE_S / FINE_S) + 2)
        self._coarse: deque[Sample] = deque(maxlen=KEPT)

    def note(self, at: float, ledger: Mapping[str, Ledger]) -> Sample | None:
        """Keep a sample if the last one is old enough; the sample if it is one of those kept for long."""
        last = self._fine[-1].at if self._fine else None
        if last is not None and at < last:  # the clock was set back
            self._fine.clear()
        elif last is not None and at - last < FINE_S * 0.9:
            return None
        sample = Sample(at, dict(ledger))
        self._fine.append(sample)
        if not self._coarse or at - self._coarse[-1].at >= COARSE_S or at < self._coarse[-1].at:
            self._coarse.append(sample)
            return sample
        return None

    def coarse(self) -> list[Sample]:
        """Those kept for long, oldest first."""
        return list(self._coarse)

    def rate(self, destination: str) -> Rate:
        """Events a second over the last half minute."""
        if len(self._fine) < 2:
            return Rate()
        last = self._fine[-1]
        first = next((one for one in self._fine if last.at - one.at <= RATE_S), last)
        passed_s = last.at - first.at
        if passed_s <= 0:
            return Rate()
        before, now = first.ledger.get(destination, Ledger()), last.ledger.get(destination, Ledger())
        # a replay makes settled events wait again: that is no rate below zero
        return Rate(
            max(0, now.accepted - before.accepted) / passed_s, max(0, now.settled - before.settled) / passed_s
        )  # fmt: skip


def columns(
    samples: Iterable[Sample], destination: str, *, until: float, hours: float, count: int
) -> Sequence[tuple[int, int, int]]:
    """Events delivered, refused and lost in ``count`` equal stretches of the last ``hours``, oldest first."""
    width_s = hours * 3_600 / count
    begin = until - hours * 3_600
    found = [[0, 0, 0] for _ in range(count)]
    before: Ledger | None = None
    for sample in samples:
        now = sample.ledger.get(destination)
        if now is None:
            continue
        place = int((sample.at - begin) / width_s)
        if before is not None and 0 <= place <= count:
            column = found[min(place, count - 1)]
            for index, kinds in enumerate((("delivered",), REFUSED, LOST)):
                column[index] += max(0, sum(getattr(now, kind) - getattr(before, kind) for kind in kinds))
        before = now
    return [(one[0], one[1], one[2]) for one in found]


def columns_of_minutes(
    minutes: Iterable[Minute], *, until: float, hours: float, count: int
) -> Sequence[tuple[int, int, int]]:
    """The same of what processes counted minute by minute."""
    width_s = hours * 3_600 / count
    begin = until - hours * 3_600
    found = [[0, 0, 0] for _ in range(count)]
    for minute in minutes:
        place = int((minute.at - begin) // width_s)
        if 0 <= place <= count:
            column = found[min(place, count - 1)]
            for index, kinds in enumerate((("delivered",), REFUSED, LOST)):
                column[index] += sum(number for kind, number in minute.outcomes.items() if kind in kinds)
    return [(one[0], one[1], one[2]) for one in found]
