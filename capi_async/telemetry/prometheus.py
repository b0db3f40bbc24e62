"""What a client counts and measures, as text that Prometheus reads. No dependency: the format is a few lines.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from capi_async.telemetry.metrics import Histogram, Metrics
from capi_async.telemetry.reasons import HELD_REASONS, held_reason
from capi_async.telemetry.snapshot import DestinationSnapshot, Snapshot

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Metric to its type and what it means; the labels stand in brackets.
METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "capi_outcomes_total": ("counter", "Final outcomes of events in this process [destination, outcome, reason]."),
    "capi_refusals_total": ("counter", "Events rejected or skipped, by the field that is named [destination, field]."),
    "capi_requests_total": ("counter", "Requests by HTTP status, or kind of transport error [destination, status]."),
    "capi_sent_events_total": ("counter", "Events in all requests, repeats included [destination]."),
    "capi_sent_bytes_total": ("counter", "Bytes of all requests, repeats included [destination]."),
    "capi_request_duration_seconds": ("histogram", "From the first byte out to the answer read [destination]."),
    "capi_request_events": ("histogram", "Events of one request [destination]."),
    "capi_delivery_seconds": ("histogram", "From acceptance to delivery [destination]."),
    "capi_limiter_waited_seconds_total": ("counter", "Time that ready requests waited for the rate [destination]."),
    "capi_limiter_wait_seconds": ("gauge", "Until the rate lets the next ready request leave [destination]."),
    "capi_rate_factor": ("gauge", "Share of the configured rate that throttling has left [destination]."),
    "capi_in_flight_requests": ("gauge", "Requests that wait for their answers [destination]."),
    "capi_in_flight_limit": ("gauge", "Requests that may be under way at once [destination]."),
    "capi_destination_state": ("gauge", "1 for the state that a destination is in [destination, state]."),
    "capi_destination_held": ("gauge", "1 for the reason why it is broken or paused [destination, reason]."),
    "capi_pending_events": ("gauge", "Events accepted and not settled, as far as is known here [destination]."),
    "capi_pending_bytes": ("gauge", "Bytes of these [destination]."),
    "capi_oldest_pending_seconds": ("gauge", "Age of the oldest of these; 0 if nothing waits [destination]."),
    "capi_ledger_events": ("gauge", "Events by outcome, as the spool counts them for all processes "
                           "[destination, outcome]."),
    "capi_unstored_events": ("gauge", "Events handed in and not stored yet."),
    "capi_send_seconds": ("histogram", "From handing events in until they are stored."),
    "capi_prepare_seconds": ("histogram", "Consent, hashing and mapping of one group of events."),
    "capi_prepared_events_total": ("counter", "Events in these groups."),
    "capi_commit_seconds": ("histogram", "Storing one group of events."),
    "capi_loop_lag_seconds": ("histogram", "By how much the event loop was late, looked at once a second."),
    "capi_storage_away_seconds": ("gauge", "For how long storage has been out of reach, full or locked; else 0."),
    "capi_storage_failed": ("gauge", "1 if storage could not be read for this; its counts are 0 then."),
    "capi_workers": ("gauge", "Processes that deliver from the spool, where that is known."),
    "capi_running": ("gauge", "1 while the client is entered; 0 once it has closed or ended by itself."),
    "capi_process_cpu_seconds": ("gauge", "CPU time of a worker's process."),
    "capi_process_max_rss_kilobytes": ("gauge", "The most memory that a worker's process had."),
    "capi_time_seconds": ("gauge", "A worker's clock, in seconds since the epoch."),
}  # fmt: skip


class Watched(Protocol):
    """A client: :class:`~capi_async.client.Client` or :class:`~capi_async.sync.SyncClient`."""

    @property
    def metrics(self) -> Metrics:
        """What it counts."""
        ...

    def snapshot(self) -> Snapshot:
        """What is at this moment."""
        ...


def exposition(client: Watched, more: Mapping[str, float] | None = None) -> str:
    """The text for one scrape, to be answered with :data:`CONTENT_TYPE`. Labels are names and codes of bounded sets.

    Args:
        more: Further gauges without labels: name to value.
    """
    text = _Text()
    now = client.snapshot()
    metrics = client.metrics
    for name, one in now.destinations.items():
        _add_counts(text, name, metrics)
        _add_state(text, name, one)
    text.add("capi_unstored_events", now.unstored)
    text.add_histogram("capi_send_seconds", metrics.send)
    text.add_histogram("capi_prepare_seconds", metrics.prepare)
    text.add("capi_prepared_events_total", metrics.prepared_events)
    text.add_histogram("capi_commit_seconds", metrics.commit)
    text.add_histogram("capi_loop_lag_seconds", metrics.lag)
    text.add("capi_storage_away_seconds", now.storage_away_s)
    text.add("capi_storage_failed", bool(now.storage_error))
    text.add("capi_running", now.running)
    if now.workers is not None:
        text.add("capi_workers", now.workers)
    for name, value in (more or {}).items():
        text.add(name, value)
    return text.whole()


def _add_counts(text: _Text, name: str, metrics: Metrics) -> None:
    """What only grows."""
    of = metrics.of[name]
    here = ("destination", name)
    for (kind, reason), number in list(of.outcomes.items()):
        text.add("capi_outcomes_total", number, here, ("outcome", kind), ("reason", reason))
    for field, number in list(of.refusals.items()):
        text.add("capi_refusals_total", number, here, ("field", field))
    for status, number in list(of.requests.items()):
        text.add("capi_requests_total", number, here, ("status", status))
    text.add("capi_sent_events_total", of.sent_events, here)
    text.add("capi_sent_bytes_total", of.sent_bytes, here)
    text.add_histogram("capi_request_duration_seconds", of.request, here)
    text.add_histogram("capi_request_events", of.batch, here)
    text.add_histogram("capi_delivery_seconds", of.delivery, here)
    text.add("capi_limiter_waited_seconds_total", of.limiter_s, here)


def _add_state(text: _Text, name: str, one: DestinationSnapshot) -> None:
    """What is at this moment."""
    here = ("destination", name)
    text.add("capi_limiter_wait_seconds", one.limiter_wait_s, here)
    text.add("capi_rate_factor", one.rate_factor, here)
    text.add("capi_in_flight_requests", one.in_flight, here)
    text.add("capi_in_flight_limit", one.window, here)
    for state in ("open", "broken", "paused"):
        text.add("capi_destination_state", one.state == state, here, ("state", state))
    held = "" if one.state == "open" else held_reason(one.reason_code)
    for reason in HELD_REASONS:
        text.add("capi_destination_held", held == reason, here, ("reason", reason))
    text.add("capi_pending_events", one.waiting, here)
    text.add("capi_pending_bytes", one.waiting_bytes, here)
    if one.oldest_s is not None or not one.waiting:
        text.add("capi_oldest_pending_seconds", one.oldest_s or 0.0, here)
    for kind in one.ledger.__struct_fields__:
        if kind not in ("accepted", "pending"):
            text.add("capi_ledger_events", getattr(one.ledger, kind), here, ("outcome", kind))


class _Text:
    """Collects samples by metric: all of one stand together, whatever order they come in."""

    def __init__(self) -> None:
        self._samples: dict[str, list[str]] = {}

    def add(self, name: str, value: float, *labels: tuple[str, str]) -> None:
        """One value."""
        self._samples.setdefault(name, []).append(_line(name, labels, value))

    def add_histogram(self, name: str, histogram: Histogram, *labels: tuple[str, str]) -> None:
        """One histogram; its count is the sum of its buckets, also while another thread counts."""
        samples = self._samples.setdefault(name, [])
        total = 0
        for bound, number in zip((*map(float, histogram.bounds), "+Inf"), list(histogram.counts), strict=True):
            total += number
            samples.append(_line(f"{name}_bucket", (*labels, ("le", str(bound))), total))
        samples.append(_line(f"{name}_sum", labels, histogram.total))
        samples.append(_line(f"{name}_count", labels, total))

    def whole(self) -> str:
        """The text."""
        lines: list[str] = []
        for name, samples in self._samples.items():
            kind, about = METRICS.get(name, ("gauge", ""))
            if about:
                lines.append(f"# HELP {name} {about}")
            lines.append(f"# TYPE {name} {kind}")
            lines += samples
        return "\n".join(lines) + "\n"


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value:.15g}" if inner else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
