"""The engine with traces: only what a client with a tracer is made of. Without one, nothing here runs.

A trace's context goes with each record through the spool, so that a request knows the calls of ``send`` whose events it
carries, whichever process made them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from capi_async.engine.batcher import Batch
from capi_async.engine.exchange import Exchange
from capi_async.engine.hooks import Hooks
from capi_async.engine.intake import Intake, prepared
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.spool.base import Record, Refused
from capi_async.telemetry.base import Operation, Tracing

T = TypeVar("T")

#: Contexts of calls that one request is linked to, at most: tracers keep no more.
MAX_LINKS: Final = 128


class TracedIntake(Intake):
    """An intake that has an operation of the tracer for everything that is handed in."""

    def __init__(self, tracing: Tracing, *, hooks: Hooks, **parts: Any) -> None:
        super().__init__(hooks=hooks, **{**parts, "straight": False, "prepare": _traced})
        self._tracing = tracing

    def put(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float | None, waited: bool = False
    ) -> asyncio.Future[None] | None:
        """See :meth:`Intake.put`. What waits for the intake itself is not measured: the caller's own span shows it."""
        future = super().put(events, receipts, timeout_s=timeout_s, waited=waited)
        if future is not None:
            operation = _safe(self._hooks, self._tracing.begin_send, len(events), receipts[0]._trace)
            if operation is not None:
                for receipt in receipts:
                    receipt._trace = operation.context
                future.add_done_callback(partial(_sent, self._hooks, operation))
        return future


class TracedExchange(Exchange):
    """Requests with an operation of the tracer each, linked to the calls whose events they carry."""

    def __init__(self, tracing: Tracing, *parts: Any, hooks: Hooks, **more: Any) -> None:
        super().__init__(*parts, hooks=hooks, **more)
        self._tracing = tracing

    async def ask(self, batch: Batch, records: list[Record]) -> tuple[list[Verdict], Response | None]:
        """See :meth:`Exchange.ask`."""
        contexts = list(dict.fromkeys(record.trace for record in records if record.trace))[-MAX_LINKS:]
        operation = _safe(
            self._hooks,
            self._tracing.begin_request,
            self.name,
            self.destination.type,
            len(records),
            max(record.attempts for record in records) + 1,
            contexts,
        )
        error = ""
        status = 0
        kinds: dict[str, int] = {}
        try:
            verdicts, response = await super().ask(batch, records)
            status = response.status if response is not None else 0
            for verdict in verdicts:
                kinds[verdict.kind] = kinds.get(verdict.kind, 0) + 1
        except BaseException as raised:  # the type only: the text may quote an event
            error = type(raised).__name__
            raise
        else:
            return verdicts, response
        finally:
            if operation is not None:
                _safe(self._hooks, operation.end, error, status, kinds)


def _traced(
    preparer: Preparer, events: Sequence[Event], receipts: Sequence[Receipt], now: float
) -> tuple[list[Record], list[Refused], float]:
    records, refused, took_s = prepared(preparer, events, receipts, now)
    for record in records:
        record.trace = record.receipt._trace
    return records, refused, took_s


def _sent(hooks: Hooks, operation: Operation, future: asyncio.Future[None]) -> None:
    error = "cancelled" if future.cancelled() else type(future.exception()).__name__ if future.exception() else ""
    _safe(hooks, operation.end, error, 0, {})


def _safe(hooks: Hooks, call: Callable[..., T], *arguments: Any) -> T | None:
    """A tracer's fault must not stop delivery."""
    try:
        return call(*arguments)
    except Exception as error:
        hooks.note(
            logging.ERROR,
            ("tracer raised", type(error).__name__),
            "the tracer raised %s; delivery goes on without that trace: mend it",
            type(error).__name__,
            extra={"error": type(error).__name__},
        )
        return None
