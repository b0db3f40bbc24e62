"""Counts of what a client does, as text that Prometheus reads. No dependency: the format is a few lines.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged, StateName

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds of a request's duration, in seconds.
BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_STATES: Final[tuple[StateName, ...]] = ("open", "broken", "paused")


class PrometheusHook(Hook):
    """Counts of this process since it started; labels are names, kinds and codes, never what is in an event."""

    def __init__(self, destinations: Iterable[str] = ()) -> None:
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._sent: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._duration_s: Counter[str] = Counter()
        self._states: dict[str, StateName] = dict.fromkeys(destinations, "open")

    def on_request(self, done: RequestDone) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_request`."""
        name = done.destination
        self._requests[name, str(done.status) if done.status else done.error or "none"] += 1
        self._sent[name, "events"] += done.events
        self._sent[name, "bytes"] += done.bytes
        buckets = self._durations.setdefault(name, [0] * (len(BUCKETS_S) + 1))
        buckets[bisect_left(BUCKETS_S, done.duration_s)] += 1
        self._duration_s[name] += done.duration_s  # type: ignore[assignment]  # a Counter of floats counts as well

    def on_settled(self, settled: Settled) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_settled`."""
        for outcome in settled.outcomes:
            self._outcomes[settled.destination, outcome.kind] += 1

    def on_state(self, change: StateChanged) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_state`."""
        self._states[change.destination] = change.state

    def render(self, gauges: Mapping[str, Mapping[str, float]] | None = None) -> str:
        """The text.

        Args:
            gauges: Further metrics: name to destination to value; the destination ``""`` has no label.
        """
        lines: list[str] = []
        _counter(lines, "capi_outcomes_total", "Final outcomes of events.", "outcome", self._outcomes)
        _counter(lines, "capi_requests_total", "Requests by HTTP status, or kind of error.", "status", self._requests)
        for what in ("events", "bytes"):
            name = f"capi_sent_{what}_total"
            _head(lines, name, "counter", f"Of all requests, repeats included: {what}.")
            lines += [_line(name, {"destination": of}, n) for (of, kind), n in self._sent.items() if kind == what]
        _head(lines, "capi_request_duration_seconds", "histogram", "From the first byte out to the answer read.")
        for of, buckets in self._durations.items():
            total = 0
            for bound, number in zip([*map(str, BUCKETS_S), "+Inf"], buckets, strict=True):
                total += number
                lines.append(_line("capi_request_duration_seconds_bucket", {"destination": of, "le": bound}, total))
            lines.append(_line("capi_request_duration_seconds_sum", {"destination": of}, self._duration_s[of]))
            lines.append(_line("capi_request_duration_seconds_count", {"destination": of}, total))
        _head(lines, "capi_destination_state", "gauge", "1 for the state that a destination is in.")
        for of, state in self._states.items():
            lines += [
                _line("capi_destination_state", {"destination": of, "state": one}, int(one == state)) for one in _STATES
            ]
        for name, values in (gauges or {}).items():
            _head(lines, name, "gauge", "")
            lines += [_line(name, {"destination": of} if of else {}, value) for of, value in values.items()]
        return "\n".join(lines) + "\n"


def _counter(lines: list[str], name: str, about: str, label: str, counts: Mapping[tuple[str, str], int]) -> None:
    _head(lines, name, "counter", about)
    lines += [_line(name, {"destination": of, label: value}, number) for (of, value), number in counts.items()]


def _head(lines: list[str], name: str, kind: str, about: str) -> None:
    if about:
        lines.append(f"# HELP {name} {about}")
    lines.append(f"# TYPE {name} {kind}")


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.15g}" if inner else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
