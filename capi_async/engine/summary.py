"""What one client says of itself now and then: a summary if asked for one, and which destination falls behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from capi_async.clock import Clock
from capi_async.engine.hooks import line
from capi_async.engine.notices import Notices
from capi_async.engine.worker import Worker
from capi_async.log import Log, literal
from capi_async.outcome import OutcomeKind
from capi_async.spool.base import Spool, oldest_at
from capi_async.telemetry.metrics import DestinationMetrics, Metrics

logger = Log(__name__)

#: Seconds that an event may wait at a destination whose requests leave before that is worth a line.
BEHIND_S: Final = 60.0


class Summary:
    """Looks at all destinations of one client.

    Args:
        workers: Destination to what delivers to it.
        delivers: Whether this process delivers.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        *,
        spool: Spool,
        metrics: Metrics,
        notices: Notices,
        clock: Clock,
        delivers: bool,
    ) -> None:
        self._workers = workers
        self._spool = spool
        self._metrics = metrics
        self._notices = notices
        self._clock = clock
        self._delivers = delivers
        self._before = {name: dict(metrics.of[name].outcomes) for name in workers}

    def say(self, seconds: float) -> None:
        """One line about the last ``seconds``: outcomes, what waits, and what is wrong."""
        found = {name: self._one(name, worker) for name, worker in self._workers.items()}
        logger.info(
            "summary of %.0f s: %s",
            seconds,
            " | ".join(f"{name}: {text}" for name, (text, _) in found.items()),
            extra={"seconds": seconds, "destinations": {name: facts for name, (_, facts) in found.items()}},
        )

    def _one(self, name: str, worker: Worker) -> tuple[str, dict[str, Any]]:
        of, breaker = self._metrics.of[name], worker.breaker
        ended = self._ended(name, of)
        waiting, oldest_s = self._spool.depth(name).events, self._oldest_s(name)
        answer_s = _middle(of)
        parts = [f"{number} {kind}" + ("" if kind == "delivered" else f" ({code})") for (kind, code), number in ended]
        if waiting:
            parts.append(f"{waiting} wait" + (f", the oldest for {oldest_s:.0f} s" if oldest_s is not None else ""))
        if answer_s is not None and self._delivers:
            parts.append(f"answers take {answer_s:.2f} s")
        if breaker.state != "open":
            parts.append(f"{breaker.state}: {line(breaker.reason)}" + (f"; {line(breaker.fix)}" if breaker.fix else ""))
        elif worker.throttled:
            parts.append(f"throttled for {worker.bucket.closed_s():.0f} s more: {worker.throttled}")
        facts = {
            "outcomes": {f"{kind} ({code})": number for (kind, code), number in ended},
            "waiting": waiting,
            "oldest_s": oldest_s,
            "answer_s": answer_s,
            "state": breaker.state,
            "reason": line(breaker.reason),
        }
        return ", ".join(parts) or "nothing", facts

    def _ended(self, name: str, of: DestinationMetrics) -> list[tuple[tuple[OutcomeKind, str], int]]:
        """Outcomes since the last look."""
        now = dict(of.outcomes)
        before, self._before[name] = self._before[name], now
        return [(key, more) for key, number in now.items() if (more := number - before.get(key, 0))]

    def look(self) -> None:
        """Name each destination whose requests leave and whose events wait all the same; once a minute at most."""
        if not self._delivers:
            return
        for name, worker in self._workers.items():
            oldest_s = self._oldest_s(name)
            if oldest_s is None or oldest_s < BEHIND_S or worker.breaker.state != "open":
                continue
            waiting, answer_s = self._spool.depth(name).events, _middle(self._metrics.of[name])
            limited_s = worker.limiter_wait_s()
            why = (
                f"it is throttled for {worker.bucket.closed_s():.0f} s more ({worker.throttled})"
                if worker.throttled
                else f"its rate limit lets the next request leave in {limited_s:.1f} s"
                if limited_s
                else f"an answer takes {answer_s or 0.0:.2f} s, with {worker.under_way} of {worker.window} requests "
                "under way"
            )
            self._notices.note(
                logging.WARNING,
                ("behind", name),
                f"{literal(name)}: falls behind: %d events wait, the oldest for %.0f s: %s; see what the platform says "
                "about delays, or raise max_in_flight or requests_per_s if your account has more",
                waiting,
                oldest_s,
                why,
                extra={"destination": name, "waiting": waiting, "oldest_s": round(oldest_s, 1), "answer_s": answer_s},
            )

    def _oldest_s(self, name: str) -> float | None:
        oldest = oldest_at(self._spool, name)
        return None if oldest is None else max(0.0, self._clock.wall() - oldest)


def _middle(of: DestinationMetrics) -> float | None:
    """Seconds that half of the latest requests took at most."""
    ordered = sorted(of.latest_request_s())
    return round(ordered[(len(ordered) - 1) // 2], 3) if ordered else None
