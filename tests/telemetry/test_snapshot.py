"""One look at a client, and what it counts."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest

from capi_async import Client, Event, SyncClient, User
from capi_async.engine import dispatcher
from capi_async.outcome import OUTCOME_KINDS, Outcome
from capi_async.telemetry.metrics import MINUTES, RECENT, DestinationMetrics, Histogram
from capi_async.telemetry.reasons import FIELD_LABELS, HELD_REASONS, REASONS, field_of, reason_of
from capi_async.telemetry.snapshot import timing, timing_of
from tests.engine.acme import Acme, event, events
from tests.engine.server import RESET, Server, reply, until
from tests.engine.threaded_server import ThreadedServer

pytestmark = pytest.mark.usefixtures("short_waits")


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, **settings)


async def test_a_snapshot_tells_of_every_destination_what_happened(server: Server, other: Server) -> None:
    """State with reason and code, depth, age, outcomes by code, rates, latency, and the latest outcomes."""
    other.replies = [reply(401)] * 50
    async with Client([acme(server), acme(other, "refused", probe=False)], linger_s=0) as client:
        await client.send_many(events(20))
        bad = await client.send(Event("größe", user=User(email="a@b.example")))
        await until(lambda: client.ledger()["acme"].settled == 21)
        await until(lambda: client.states()["refused"].state == "paused")
        seen = client.snapshot()
        await client.aclose(0)
    fine, refused = seen.destinations["acme"], seen.destinations["refused"]
    assert (seen.running, seen.mode, seen.delivers, seen.durable, seen.unstored) == (True, "live", True, False, 0)
    assert (fine.type, fine.state, fine.reason, fine.reason_code, fine.waiting) == ("acme", "open", "", "", 0)
    assert fine.oldest_s is None
    assert (fine.outcomes["delivered", "accepted"], fine.outcomes["rejected", "event"]) == (20, 1)
    assert fine.requests["200"] == fine.request.count > 0
    assert fine.delivery.count == 20
    assert fine.per_s["delivered"] > 0
    assert [one.outcome.kind for one in fine.undelivered] == ["rejected"]
    assert fine.undelivered[0].event_id == bad.event_id
    assert len(fine.recent) == 21
    assert sum(minute.outcomes.get("delivered", 0) for minute in fine.minutes) == 20
    assert fine.ledger.balanced
    assert (refused.state, refused.reason_code, refused.waiting) == ("paused", "account", 20)
    assert "401" in refused.reason
    assert refused.oldest_s is not None
    assert 0 <= refused.oldest_s < 60
    assert refused.waiting_bytes > 20
    assert seen.send.count == 2
    assert seen.prepare.count == seen.commit.count
    assert seen.prepared_events == 21
    # it is plain data, and holds nothing of the person
    text = msgspec.json.encode([*fine.recent, *refused.recent, *fine.minutes]).decode()
    assert "b.example" not in text
    assert json.loads(text)


async def test_a_client_that_does_not_run_can_be_looked_at(server: Server) -> None:
    """Before it is entered, while it runs, and after it has closed, when counts stay."""
    client = Client([acme(server)], linger_s=0)
    before = client.snapshot()
    assert (before.running, before.destinations["acme"].state) == (False, "open")
    assert set(before.destinations["acme"].outcomes.values()) == {0}
    async with client:
        await client.send(event())
        assert await client.flush(5)
    after = client.snapshot()
    assert (after.running, after.destinations["acme"].outcomes["delivered", "accepted"]) == (False, 1)


async def test_a_destination_that_does_not_answer_says_so(server: Server) -> None:
    """With a code that no platform's words can change; entered again, the client knows nothing against it."""
    server.script = lambda _request: RESET
    client = Client([acme(server)], linger_s=0, max_attempts=1_000)
    async with client:
        await client.send_many(events(3))
        await until(lambda: client.states()["acme"].state == "broken")
        broken = client.snapshot().destinations["acme"]
        assert (broken.state, broken.reason_code) == ("broken", "no_answer")
        assert broken.requests["reset"] >= 5
        assert broken.state_at > 0
        await client.aclose(0)
    server.script = lambda _request: reply()
    async with client:
        again = client.snapshot().destinations["acme"]
        assert (again.state, again.reason_code, again.reason) == ("open", "", "")


async def test_what_waits_for_the_rate_limit_is_told(server: Server) -> None:
    """How long the next request still waits, and how long they have waited together."""
    slow = acme(server, requests_per_s=4.0, burst=1.0, max_batch_events=1)
    async with Client([slow], linger_s=0) as client:
        await client.send_many(events(3))
        await until(lambda: client.snapshot().destinations["acme"].limiter_wait_s > 0)
        assert await client.flush(5)
        assert client.snapshot().destinations["acme"].limiter_wait_s == 0
        assert client._metrics.of["acme"].limiter_s > 0.2


def test_a_sync_client_has_the_same_look() -> None:
    """From any thread."""
    server = ThreadedServer().start()
    try:
        with SyncClient([Acme(base_url=server.url)], linger_s=0) as client:
            client.send(event())
            assert client.flush(5)
            assert client.snapshot().destinations["acme"].outcomes["delivered", "accepted"] == 1
    finally:
        server.stop()


def test_every_outcome_has_a_code_of_its_kind() -> None:
    """Whatever it says; all kinds but ``pending`` are there."""
    assert {*REASONS, "pending"} == set(OUTCOME_KINDS)
    for kind in REASONS:
        for field in ("", "user.email", "to", "consent.ads", "made_up", "[0].x"):
            for status in (0, 400):
                code = reason_of(Outcome(kind=kind, field=field, status=status, reason="anything"))
                assert code == "other" or code in REASONS[kind]
        assert reason_of(Outcome(kind=kind, reason_code="of a later release")) == "other"
    assert "other" in HELD_REASONS


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(kind="delivered", ambiguous=True), "repeated"),
        (Outcome(kind="rejected", status=400, field="value"), "platform"),
        (Outcome(kind="rejected", field="value"), "event"),
        (Outcome(kind="rejected", reason_code="too_large"), "too_large"),
        (Outcome(kind="skipped", field="consent.ad_storage"), "consent"),
        (Outcome(kind="skipped", field="user"), "no_identifier"),
        (Outcome(kind="dead", attempts=8), "attempts"),
        (Outcome(kind="dropped"), "queue_full"),
        (Outcome(kind="dropped", reason_code="too_large"), "too_large"),
        (Outcome(kind="expired"), "too_old"),
        (Outcome(kind="skipped"), "other"),
    ],
)
def test_codes_say_why(outcome: Outcome, code: str) -> None:
    """Where the engine gives none, kind, field and status tell it."""
    assert reason_of(outcome) == code


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("", "none"),
        ("value", "value"),
        ("page.url", "page"),
        ("items[3].price", "items"),
        ("custom_data.value", "value"),
        ("user_data.em", "other"),
        ("ada@mail.example", "other"),
        ("\x00", "other"),
    ],
)
def test_fields_become_a_bounded_label(field: str, label: str) -> None:
    """A platform may name anything, an address included."""
    assert field_of(Outcome(kind="rejected", field=field)) == label
    assert label in FIELD_LABELS


def test_memory_stays_bounded() -> None:
    """However many outcomes, statuses and minutes come."""
    of = DestinationMetrics()
    for number in range(2_000):
        ids = [f"e{number}-{at}" for at in range(60)]
        kind = "rejected" if number % 2 else "delivered"
        of.settled(ids, [Outcome(kind=kind, reason=str(at)) for at in range(60)], number * 60.0)  # type: ignore[arg-type]
    assert len(of.recent()) == len(of.recent(undelivered=True)) == RECENT
    assert of.recent()[0].event_id == "e1999-59"
    assert {one.outcome.kind for one in of.recent(undelivered=True)} == {"rejected"}
    assert len(of.minutes()) == MINUTES
    assert sum(of.outcomes.values()) == 2_000 * 60


def test_percentiles() -> None:
    """Of a histogram rounded up to a bound, of the latest values exact."""
    histogram = Histogram((1.0, 2.0, 4.0))
    assert timing(histogram).p50_s is None
    for value in (0.5, 0.5, 1.5, 9.0):
        histogram.add(value)
    assert (histogram.percentile(0.5), histogram.percentile(0.75), histogram.percentile(0.99)) == (1.0, 2.0, None)
    told = timing_of(histogram, [float(number) for number in range(1, 101)])
    assert (told.p50_s, told.p95_s, told.count, told.total_s) == (50.0, 95.0, 4, 11.5)


async def test_a_loop_that_is_held_is_late(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds it: events wait for it as well."""
    monkeypatch.setattr(dispatcher, "_LAG_S", 0.01)
    async with Client([acme(server)]) as client:
        await asyncio.sleep(0.02)
        time.sleep(0.2)  # noqa: ASYNC251  # the fault that is measured
        await until(lambda: client.snapshot().loop_lag.count > 1)
        assert client._metrics.lag.total > 0.1
