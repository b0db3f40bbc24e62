"""OpenTelemetry: metrics, and a span for each call of ``send`` and for each request, linked to one another.

Needs the extra ``otel``. Attributes are names, counts and codes: no personal data, no token, no digest, no event id.
Names of attributes follow https://opentelemetry.io/docs/specs/semconv/ where they have one.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from capi_async.errors import ConfigError
from capi_async.outcome import Outcome
from capi_async.telemetry.base import Operation, Prepared, RequestDone, Settled, StateChanged, Stored, Taken, Tracing
from capi_async.telemetry.reasons import HELD_REASONS, REASONS, field_of, held_reason, reason_of
from capi_async.telemetry.snapshot import DestinationSnapshot, Snapshot

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
except ImportError:
    raise ConfigError(
        "OpenTelemetry needs the extra: pip install 'capi_async[otel]', and an SDK with an exporter of your choice"
    ) from None

_SCOPE: Final = "capi_async"
_PARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_Attributes: TypeAlias = Mapping[str, str | int]


class OpenTelemetry(Tracing):
    """Give it to a client: ``Client(..., hooks=[OpenTelemetry()])``.

    A request's span is no child of the calls whose events it carries, since these may be many and long over: it has
    links to them, also where another process accepted them (a durable spool keeps their contexts).

    Args:
        tracer_provider, meter_provider: Those of the process, unless given.

    Raises:
        ConfigError: The extra is not installed (when the module is imported).
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = self._meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        self._looks: list[Callable[[], Snapshot | None]] = []
        self._outcomes = meter.create_counter("capi.outcomes", "{event}", "Final outcomes of events")
        self._refusals = meter.create_counter("capi.refusals", "{event}", "Events rejected or skipped, by field")
        self._requests = meter.create_counter("capi.requests", "{request}", "Requests by status or kind of error")
        self._sent_bytes = meter.create_counter("capi.sent.bytes", "By", "Bytes of all requests, repeats included")
        self._request_s = meter.create_histogram("capi.request.duration", "s", "Until the answer is read")
        self._request_events = meter.create_histogram("capi.request.events", "{event}", "Events of one request")
        self._delivery_s = meter.create_histogram("capi.delivery.duration", "s", "From acceptance to delivery")
        self._send_s = meter.create_histogram("capi.send.duration", "s", "From handing in until it is stored")
        self._prepare_s = meter.create_histogram("capi.prepare.duration", "s", "Hashing and mapping of one group")
        self._commit_s = meter.create_histogram("capi.commit.duration", "s", "Storing one group")
        self._states = meter.create_counter("capi.state.changes", "{change}", "Changes of a destination's state")

    def on_attached(self, destinations: Sequence[str], look: Callable[[], Snapshot | None]) -> None:
        """All counters start at zero; gauges are read when they are collected."""
        for name in destinations:
            for kind, codes in REASONS.items():
                for code in codes:
                    self._outcomes.add(0, {"capi.destination": name, "capi.outcome": kind, "capi.reason": code})
        if not self._looks:
            gauges: tuple[tuple[str, str, Callable[[DestinationSnapshot], float | None]], ...] = (
                ("capi.pending.events", "{event}", lambda one: one.waiting),
                ("capi.pending.bytes", "By", lambda one: one.waiting_bytes),
                ("capi.pending.oldest", "s", lambda one: one.oldest_s if one.waiting else 0.0),
                ("capi.requests.in_flight", "{request}", lambda one: one.in_flight),
                ("capi.limiter.wait", "s", lambda one: one.limiter_wait_s),
            )
            me = weakref.ref(self)
            for metric, unit, value in gauges:
                self._meter.create_observable_gauge(metric, [_each(me, value)], unit)
            self._meter.create_observable_gauge("capi.destination.held", [_held(me)], "1")
            self._meter.create_observable_gauge("capi.loop.lag", [_lag(me)], "s")
        self._looks.append(look)

    def snapshots(self) -> Iterator[Snapshot]:
        """Those of the clients that have this hook."""
        for look in list(self._looks):
            if (found := look()) is None:
                self._looks.remove(look)
            else:
                yield found

    def on_request(self, done: RequestDone) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_request`."""
        here = {"capi.destination": done.destination}
        self._requests.add(1, {**here, "capi.status": done.error or str(done.status)})
        self._sent_bytes.add(done.bytes, here)
        self._request_s.record(done.duration_s, here)
        self._request_events.record(done.events, here)

    def on_settled(self, settled: Settled) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_settled`."""
        here = {"capi.destination": settled.destination}
        for _, alike in groupby(settled.outcomes, key=id):
            some: list[Outcome] = list(alike)
            outcome = some[0]
            self._outcomes.add(len(some), {**here, "capi.outcome": outcome.kind, "capi.reason": reason_of(outcome)})
            if outcome.kind == "delivered":
                for one in some:
                    self._delivery_s.record(one.latency_s, here)
            elif outcome.kind in ("rejected", "skipped"):
                self._refusals.add(len(some), {**here, "capi.field": field_of(outcome)})

    def on_prepared(self, prepared: Prepared) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_prepared`."""
        self._prepare_s.record(prepared.duration_s)

    def on_stored(self, stored: Stored) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_stored`."""
        self._commit_s.record(stored.duration_s)

    def on_taken(self, taken: Taken) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_taken`."""
        self._send_s.record(taken.duration_s)

    def on_state(self, change: StateChanged) -> None:
        """See :meth:`~capi_async.telemetry.base.Hook.on_state`."""
        facts = {"capi.destination": change.destination, "capi.state": change.state}
        self._states.add(1, {**facts, "capi.reason": held_reason(change.reason_code) if change.reason_code else ""})

    def current(self) -> str:
        """See :meth:`~capi_async.telemetry.base.Tracing.current`."""
        return _text(trace.get_current_span().get_span_context())

    def begin_send(self, events: int, parent: str) -> Operation:
        """See :meth:`~capi_async.telemetry.base.Tracing.begin_send`."""
        above = _context(parent)
        around = None if above is None else trace.set_span_in_context(trace.NonRecordingSpan(above), Context())
        facts: _Attributes = {"capi.events": events}
        return _Span(self._tracer.start_span("capi.send", around, SpanKind.PRODUCER, facts))

    def begin_request(
        self, destination: str, platform: str, events: int, attempt: int, contexts: Sequence[str]
    ) -> Operation:
        """See :meth:`~capi_async.telemetry.base.Tracing.begin_request`."""
        facts: _Attributes = {
            "capi.destination": destination,
            "capi.platform": platform,
            "capi.events": events,
            "capi.attempt": attempt,
        }
        links = [Link(found) for text in contexts if (found := _context(text)) is not None]
        # an empty context: the task that happens to send is in nobody's trace
        return _Span(self._tracer.start_span(f"capi.request {destination}", Context(), SpanKind.CLIENT, facts, links))


class _Span:
    """An operation that is a span."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.context = _text(span.get_span_context())

    def end(self, error: str, status: int, verdicts: Mapping[str, int]) -> None:
        """See :meth:`~capi_async.telemetry.base.Operation.end`."""
        span = self._span
        if status:
            span.set_attribute("http.response.status_code", status)
        for kind, number in verdicts.items():
            span.set_attribute(f"capi.verdicts.{kind}", number)
        failed = error or ("no_answer" if verdicts and not status else str(status) if status >= 400 else "")
        if failed:
            span.set_attribute("error.type", failed)
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _text(context: SpanContext) -> str:
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _context(text: str) -> SpanContext | None:
    """What a text stands for; ``None`` if it is none: an earlier release, or somebody else, may have written it."""
    found = _PARENT.fullmatch(text)
    if found is None:
        return None
    numbers = (int(part, 16) for part in found.groups())
    context = SpanContext(next(numbers), next(numbers), is_remote=True, trace_flags=TraceFlags(next(numbers)))
    return context if context.is_valid else None


_Observe: TypeAlias = Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]


def _each(hook: weakref.ref[OpenTelemetry], value: Callable[[DestinationSnapshot], float | None]) -> _Observe:
    def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        for name, one in _destinations(hook):
            if (found := value(one)) is not None:
                yield metrics.Observation(found, {"capi.destination": name})

    return observe


def _held(hook: weakref.ref[OpenTelemetry]) -> _Observe:
    def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        for name, one in _destinations(hook):
            held = "" if one.state == "open" else held_reason(one.reason_code)
            for reason in HELD_REASONS:
                yield metrics.Observation(int(reason == held), {"capi.destination": name, "capi.reason": reason})

    return observe


def _lag(hook: weakref.ref[OpenTelemetry]) -> _Observe:
    def observe(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        found = hook()
        for seen in found.snapshots() if found is not None else ():
            yield metrics.Observation(seen.loop_lag_s)

    return observe


def _destinations(hook: weakref.ref[OpenTelemetry]) -> Iterator[tuple[str, DestinationSnapshot]]:
    found = hook()
    for seen in found.snapshots() if found is not None else ():
        yield from seen.destinations.items()
