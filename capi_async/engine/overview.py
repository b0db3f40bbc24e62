"""Puts a snapshot together: what the engine, the spool and the metrics know at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capi_async.clock import Clock
from capi_async.engine.worker import Worker
from capi_async.spec import Destination
from capi_async.spool.base import Ledger, Spool, oldest_at
from capi_async.telemetry.metrics import Metrics
from capi_async.telemetry.snapshot import DestinationSnapshot, Snapshot, timing, timing_of


def overview(
    destinations: Sequence[Destination],
    *,
    workers: Mapping[str, Worker],
    failed: str,
    running: bool,
    mode: str,
    delivers: bool,
    unstored: int,
    spool: Spool,
    ledger: Mapping[str, Ledger],
    storage_error: str,
    metrics: Metrics,
    clock: Clock,
) -> Snapshot:
    """The snapshot of one client.

    Args:
        workers: Destination to what delivers to it; empty while the client does not run.
        failed: Why the client has ended by itself; empty if it has not.
        unstored: Events handed in and not stored yet.
        storage_error: Why the ledger cannot be read; empty if it can.
    """
    health = spool.health()
    return Snapshot(
        at=clock.wall(),
        started_at=metrics.started_at,
        running=running,
        mode=mode,
        delivers=delivers,
        durable=spool.durable,
        where=spool.where,
        storage_away_s=health.away_s,
        storage_error=storage_error,
        workers=health.workers,
        unstored=unstored,
        send=timing(metrics.send),
        prepare=timing(metrics.prepare),
        prepared_events=metrics.prepared_events,
        commit=timing(metrics.commit),
        loop_lag=timing(metrics.lag),
        loop_lag_s=metrics.last_lag_s,
        destinations={
            one.name: _destination(
                one,
                worker=workers.get(one.name),
                failed=failed,
                spool=spool,
                ledger=ledger.get(one.name, Ledger()),
                metrics=metrics,
                now=clock.wall(),
            )
            for one in destinations
        },
    )


def _destination(
    destination: Destination,
    *,
    worker: Worker | None,
    failed: str,
    spool: Spool,
    ledger: Ledger,
    metrics: Metrics,
    now: float,
) -> DestinationSnapshot:
    name = destination.name
    of = metrics.of[name]
    breaker = worker.breaker if worker is not None else None
    depth = spool.depth(name) if worker is not None else None
    oldest = oldest_at(spool, name) if worker is not None else None
    return DestinationSnapshot(
        name=name,
        type=destination.type,
        state="broken" if failed else breaker.state if breaker is not None else "open",
        reason=failed or (breaker.reason if breaker is not None else ""),
        fix="close the client and enter it again" if failed else breaker.fix if breaker is not None else "",
        reason_code="client" if failed else of.held_for,
        state_at=of.state_at,
        waiting=ledger.pending if depth is None else depth.events,
        waiting_bytes=0 if depth is None else depth.bytes,
        oldest_s=None if oldest is None else max(0.0, now - oldest),
        ledger=ledger,
        in_flight=worker.under_way if worker is not None else 0,
        window=worker.window if worker is not None else destination.effective_limits().max_in_flight,
        limiter_wait_s=worker.limiter_wait_s() if worker is not None else 0.0,
        rate_factor=worker.rate_factor if worker is not None else 1.0,
        throttled=worker.throttled if worker is not None else "",
        per_s=of.rates(now),
        request=timing_of(of.request, of.latest_request_s()),
        delivery=timing(of.delivery),
        outcomes=dict(of.outcomes),
        requests=dict(of.requests),
        recent=of.recent(),
        undelivered=of.recent(undelivered=True),
        minutes=of.minutes(),
    )
