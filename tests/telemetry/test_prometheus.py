"""What Prometheus scrapes, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from capi_async import Client, Event, SpoolError, SyncClient, User
from capi_async.telemetry.metrics import STATUSES
from capi_async.telemetry.prometheus import CONTENT_TYPE, METRICS, exposition
from capi_async.telemetry.reasons import FIELD_LABELS, HELD_REASONS, REASONS
from tests.engine.acme import Acme, event, events
from tests.engine.server import RESET, Server, reply, until
from tests.telemetry.exposition import Samples, read, value

pytestmark = pytest.mark.usefixtures("short_waits")

#: What a worker adds, and what only some spools know.
ELSEWHERE = {"capi_process_cpu_seconds", "capi_process_max_rss_kilobytes", "capi_time_seconds", "capi_workers"}


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, **settings)


@asynccontextmanager
async def scraped(client: Client) -> AsyncIterator[str]:
    """The address of a web process that answers scrapes."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=exposition(client).encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


async def scrape(address: str) -> tuple[str, Samples]:
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        text = await answer.text()
    return text, read(text)[0]


async def test_a_scrape_tells_what_is_wrong_with_each_destination(server: Server, other: Server) -> None:
    """One refuses some events, one has a wrong token, one is down: names, reasons, depth and age are there."""
    other.script = lambda request: RESET if "down" in request.path else reply(401)
    server.script = lambda request: reply(
        answer={
            "ok": True,
            "errors": [{"index": at, "message": "no"} for at, id_ in enumerate(request.ids) if id_ == "e3"],
        }
    )
    destinations = [
        acme(server, "some"),
        acme(other, "token", probe=False),
        acme(other, "down", account_id="down"),
    ]
    async with Client(destinations, linger_s=0, max_attempts=1_000) as client, scraped(client) as address:
        await client.send_many(events(20))
        await client.send(Event("größe", user=User(email="ada@mail.example")))
        await until(lambda: client.states()["token"].state == "paused")
        await until(lambda: client.states()["down"].state == "broken")
        await until(lambda: client.ledger()["some"].settled == 21)
        text, samples = await scrape(address)
        await client.aclose(0)
    count = "capi_outcomes_total"
    assert value(samples, count, destination="some", outcome="delivered", reason="accepted") == 19
    assert value(samples, count, destination="some", outcome="rejected", reason="platform") == 1
    assert value(samples, count, destination="some", outcome="rejected", reason="event") == 1
    assert value(samples, "capi_refusals_total", destination="some", field="name") == 1
    assert value(samples, "capi_destination_state", destination="some", state="open") == 1
    assert value(samples, "capi_destination_state", destination="token", state="paused") == 1
    assert value(samples, "capi_destination_held", destination="token", reason="account") == 1
    assert value(samples, "capi_destination_held", destination="down", reason="no_answer") == 1
    assert value(samples, "capi_requests_total", destination="token", status="401") >= 1
    assert value(samples, "capi_requests_total", destination="down", status="reset") >= 5
    for waiting in ("token", "down"):
        assert value(samples, "capi_pending_events", destination=waiting) == 20
        assert value(samples, "capi_pending_bytes", destination=waiting) > 20
        assert value(samples, "capi_oldest_pending_seconds", destination=waiting) > 0
    assert value(samples, "capi_oldest_pending_seconds", destination="some") == 0
    assert value(samples, "capi_ledger_events", destination="some", outcome="delivered") == 19
    assert value(samples, "capi_prepared_events_total") == 21
    assert value(samples, "capi_send_seconds_count") == 2
    assert value(samples, "capi_commit_seconds_count") >= 2
    for hidden in ("ada@", "mail.example", "acme-token", "größe", "e3"):
        assert hidden not in text


async def test_every_series_is_there_from_the_start(server: Server) -> None:
    """At zero, so that the first of a kind is an increase; no series appears later but of a rare status."""
    async with Client([acme(server)], linger_s=0) as client:
        before, types = read(exposition(client))
        assert {name for name in METRICS if name not in ELSEWHERE} == set(types)
        assert {name: kind for name, (kind, _) in METRICS.items() if name not in ELSEWHERE} == types
        assert all(number == 0 for (name, _), number in before.items() if types.get(name) == "counter")
        for kind, codes in REASONS.items():
            for code in codes:
                assert value(before, "capi_outcomes_total", destination="acme", outcome=kind, reason=code) == 0
        for field in FIELD_LABELS:
            assert value(before, "capi_refusals_total", destination="acme", field=field) == 0
        for reason in HELD_REASONS:
            assert value(before, "capi_destination_held", destination="acme", reason=reason) == 0
        for status in STATUSES:
            assert value(before, "capi_requests_total", destination="acme", status=status) == 0
        server.replies = [reply(500)]
        await client.send_many([event(), Event("login"), Event("größe")])
        assert await client.flush(5)
        after, _ = read(exposition(client))
    assert set(before) == set(after)


async def test_statuses_are_bounded(server: Server) -> None:
    """A server that answers with every number there is makes no more series than a person reads."""
    codes = [*range(440, 500), 200]
    server.replies = [reply(code) for code in codes]
    async with Client([acme(server)], linger_s=0, max_attempts=1_000) as client:
        await client.send(event())
        await until(lambda: client.snapshot().destinations["acme"].request.count >= 45)
        samples, _ = read(exposition(client))
        await client.aclose(0)
    series = [labels for name, labels in samples if name == "capi_requests_total"]
    assert len(series) <= 41
    assert value(samples, "capi_requests_total", destination="acme", status="other") >= 1


async def test_histograms_add_up(server: Server) -> None:
    """Buckets grow, the last is the count; names that need it are escaped."""
    async with Client([acme(server, 'we"ird\\name')], linger_s=0) as client:
        await client.send_many(events(30))
        assert await client.flush(5)
        samples, types = read(exposition(client, {"capi_workers": 2}))
    assert value(samples, "capi_workers") == 2
    looked_at = 0
    for name, kind in types.items():
        if kind != "histogram":
            continue
        for labels in {labels for one, labels in samples if one == f"{name}_count"}:
            buckets = [
                (float(dict(found)["le"]), number)
                for (one, found), number in samples.items()
                if one == f"{name}_bucket" and found - {("le", dict(found)["le"])} == labels
            ]
            assert buckets == sorted(buckets)
            assert [number for _, number in buckets] == sorted(number for _, number in buckets)
            assert buckets[-1] == (float("inf"), samples[f"{name}_count", labels])
            looked_at += 1
    assert looked_at == 7
    assert value(samples, "capi_request_events_sum", destination='we"ird\\name') == 30


async def test_storage_that_fails_is_told_and_the_rest_as_well(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """At three in the morning half an answer is better than none."""
    async with Client([acme(server)], linger_s=0) as client:
        await client.send(event())
        assert await client.flush(5)

        def fails() -> Any:
            raise SpoolError("storage failed: disk I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(client._spool, "ledger", fails)
            samples, _ = read(exposition(client))
            assert client.snapshot().storage_error == "storage failed: disk I/O error"
    assert value(samples, "capi_storage_failed") == 1
    assert value(samples, "capi_outcomes_total", destination="acme", outcome="delivered", reason="accepted") == 1


def test_a_sync_client_can_be_scraped() -> None:
    """Before it runs and after; a closed one says that it does not run."""
    client = SyncClient([Acme()])
    samples, _ = read(exposition(client))
    assert value(samples, "capi_running") == 0
