"""OpenTelemetry with its real SDK and in-memory exporters."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from capi_async import Client, ConfigError, Event, SyncClient, User
from capi_async.spool.base import Record
from capi_async.spool.chunks import _Columns, _encoder, decode, encode
from capi_async.telemetry.base import Tracing
from capi_async.telemetry.otel import OpenTelemetry
from tests.engine.acme import EMAIL, Acme, event, events
from tests.engine.server import RESET, Server, reply, until
from tests.engine.threaded_server import ThreadedServer

pytestmark = pytest.mark.usefixtures("short_waits")

TOKEN = "zq-traced-token"


class Watched:
    """The SDK with exporters that keep what they get."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.hook = OpenTelemetry(tracer_provider=self.tracers, meter_provider=MeterProvider([self.reader]))
        self.tracer = self.tracers.get_tracer("application")

    def spans(self, start: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(start)]

    def points(self) -> dict[tuple[str, frozenset[tuple[str, Any]]], Any]:
        """Metric and attributes to its point."""
        data = self.reader.get_metrics_data()
        return {
            (metric.name, frozenset((point.attributes or {}).items())): point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    def value(self, name: str, **attributes: str) -> Any:
        found = self.points()[name, frozenset((f"capi.{key}", value) for key, value in attributes.items())]
        return found.value if hasattr(found, "value") else found


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, access_token=TOKEN, **settings)


def linked(request: ReadableSpan) -> set[int]:
    """Ids of the spans that a request's span is linked to."""
    return {link.context.span_id for link in request.links}


async def test_a_request_is_linked_to_the_calls_whose_events_it_carries(server: Server) -> None:
    """Each call is a child of its caller's span; the request is in a trace of its own, with a link to each call."""
    seen = Watched()
    async with Client([acme(server)], linger_s=0.05, hooks=[seen.hook]) as client:
        for number in range(2):
            with seen.tracer.start_as_current_span("checkout"):
                await client.send(event(number))
        await client.send_many(events(5))
        assert await client.flush(5)
    callers, sends, requests = seen.spans("checkout"), seen.spans("capi.send"), seen.spans("capi.request acme")
    assert [span.parent.span_id if span.parent else None for span in sends] == [
        *(span.context.span_id for span in callers if span.context), None,
    ]  # fmt: skip
    assert set().union(*map(linked, requests)) == {span.context.span_id for span in sends if span.context}
    assert all(span.parent is None for span in requests)
    attributes = [dict(span.attributes or {}) for span in requests]
    assert sum(one["capi.verdicts.accepted"] for one in attributes) == 7  # type: ignore[misc]
    assert {one["http.response.status_code"] for one in attributes} == {200}
    assert {(one["capi.destination"], one["capi.platform"], one["capi.attempt"]) for one in attributes} == {
        ("acme", "acme", 1)
    }


async def test_what_goes_wrong_is_in_the_spans_and_nothing_else_is(server: Server, other: Server) -> None:
    """Status and kind of error; no address, token, digest, event id or words of a platform."""
    seen = Watched()
    server.replies = [reply(500, {"quoted": f"{EMAIL} {TOKEN}"}), RESET]
    async with Client(
        [acme(server), acme(other, "clumsy", clumsy="purchase")], linger_s=0, hooks=[seen.hook]
    ) as client:
        await client.send(Event("purchase", event_id="purchase:order-1001", user=User(email=EMAIL)))
        assert await client.flush(5)
    first, second, third = seen.spans("capi.request acme")
    assert [dict(span.attributes or {}).get("error.type") for span in (first, second, third)] == [
        "500",
        "no_answer",
        None,
    ]
    assert [dict(span.attributes or {})["capi.attempt"] for span in (first, second, third)] == [1, 2, 3]
    everything = "".join(span.to_json() for span in seen.exporter.get_finished_spans()) + str(seen.points())
    digest = str(server.got[0].body["events"][0]["em"])
    for hidden in (EMAIL, TOKEN, "order-1001", digest.strip("[]'")):
        assert hidden not in everything


@pytest.mark.parametrize("delivering", [True, False])
async def test_the_context_goes_through_the_spool(server: Server, tmp_path: Path, delivering: bool) -> None:
    """Another process delivers later; one without tracing delivers it too, and has no spans."""
    seen = Watched()
    spool = f"sqlite:///{tmp_path}/events.db"
    async with Client([acme(server)], spool=spool, deliver=False, hooks=[seen.hook]) as web:
        with seen.tracer.start_as_current_span("checkout"):
            await web.send(event(1))
        await web.send(event(2))
    sends = {span.context.span_id for span in seen.spans("capi.send") if span.context}
    assert len(sends) == 2
    async with Client([acme(server)], spool=spool, linger_s=0, hooks=[seen.hook] if delivering else []) as worker:
        await until(lambda: len(server.ids) == 2)
        assert await worker.flush(5)
    requests = seen.spans("capi.request")
    assert set().union(*map(linked, requests)) == (sends if delivering else set())


async def test_events_from_before_tracing_are_delivered(server: Server, tmp_path: Path) -> None:
    """Stored without a context: their requests have no link."""
    seen = Watched()
    spool = f"sqlite:///{tmp_path}/events.db"
    async with Client([acme(server)], spool=spool, deliver=False) as web:
        await web.send(event(1))
    async with Client([acme(server)], spool=spool, linger_s=0, hooks=[seen.hook]) as worker:
        assert await worker.flush(5)
    [request] = seen.spans("capi.request")
    assert not request.links


def test_stored_bytes_are_those_of_earlier_releases_without_tracing() -> None:
    """And with it, an earlier release reads them: what it does not know stands behind what it knows."""
    records = [Record("a", f"e{at}", b"{}", b"{}", 1.0, 2.0, "account", "wire/1", 3.0) for at in range(3)]
    plain = encode(records)
    older: Any = msgspec.msgpack.Decoder(_Columns)
    assert len(msgspec.msgpack.decode(plain[4:])) == len(_Columns.__struct_fields__)
    assert plain[4:] == _encoder.encode(older.decode(plain[4:]))
    assert [one.trace for one in decode("a", plain)] == ["", "", ""]
    records[1].trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    traced = encode(records)
    assert [one.trace for one in decode("a", traced)] == ["", records[1].trace, ""]
    read = older.decode(traced[4:])
    assert (read.ids, read.bodies) == (["e0", "e1", "e2"], [b"{}"] * 3)


def test_a_call_from_another_thread_belongs_to_its_callers_trace() -> None:
    """Of a client without an event loop, and of enqueue()."""
    seen = Watched()
    server = ThreadedServer().start()
    try:
        with SyncClient([Acme(base_url=server.url)], linger_s=0, hooks=[seen.hook]) as client:
            with seen.tracer.start_as_current_span("view") as view:
                client.send(event(1))
                client.enqueue(event(2))
            assert client.flush(5)
    finally:
        server.stop()
    parents = {span.parent.span_id if span.parent else None for span in seen.spans("capi.send")}
    assert parents == {view.get_span_context().span_id}


async def test_metrics_count_by_reason_and_gauges_are_read(server: Server, other: Server) -> None:
    """Counters at zero from the start; what waits, since when and why."""
    seen = Watched()
    other.script = lambda _request: reply(401)
    destinations = [acme(server), acme(other, "token", probe=False)]
    async with Client(destinations, linger_s=0, hooks=[seen.hook]) as client:
        assert seen.value("capi.outcomes", destination="acme", outcome="delivered", reason="accepted") == 0
        await client.send_many(events(10))
        await client.send(Event("größe"))
        await until(lambda: client.states()["token"].state == "paused")
        await until(lambda: client.ledger()["acme"].settled == 11)
        assert seen.value("capi.outcomes", destination="acme", outcome="delivered", reason="accepted") == 10
        assert seen.value("capi.outcomes", destination="acme", outcome="rejected", reason="event") == 1
        assert seen.value("capi.refusals", destination="acme", field="name") == 1
        assert seen.value("capi.pending.events", destination="token") == 10
        assert seen.value("capi.pending.oldest", destination="token") > 0
        assert seen.value("capi.destination.held", destination="token", reason="account") == 1
        assert seen.value("capi.requests", destination="token", status="401") >= 1
        assert seen.value("capi.request.duration", destination="acme").count >= 1
        assert seen.value("capi.send.duration").count == 2
        assert seen.value("capi.prepare.duration").count >= 1
        await client.aclose(0)


async def test_a_tracer_that_fails_stops_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It is named once."""

    class Broken(Tracing):
        def current(self) -> str:
            return ""

    async with Client([acme(server)], linger_s=0, hooks=[Broken()]) as client:
        for number in range(5):
            await client.send(event(number))
        assert await client.flush(5)
        assert client.ledger()["acme"].delivered == 5
    told = [one for one in caplog.messages if one.startswith("the tracer raised NotImplementedError")]
    assert 1 <= len(told) <= 2


def test_only_one_traces() -> None:
    """Two would each say that a record is theirs."""
    seen = Watched()
    with pytest.raises(ConfigError, match="only one of them may trace"):
        Client([Acme()], hooks=[seen.hook, seen.hook])


def test_without_the_extra_it_is_said_what_to_install() -> None:
    """When the module is imported; nothing else needs it."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import capi_async\n"
        "from capi_async import ConfigError\n"
        "try:\n    import capi_async.telemetry.otel\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'capi_async[otel]'" in done.stdout


async def test_nothing_holds_a_client_that_is_gone(server: Server) -> None:
    """Its gauges end with it."""
    seen = Watched()
    client = Client([acme(server)], hooks=[seen.hook])
    assert len(list(seen.hook.snapshots())) == 1
    del client
    await asyncio.sleep(0)
    assert list(seen.hook.snapshots()) == []
