"""The sink: what it counts is what came, by the marker and by decoding."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from capi_async.bench import feed, ours, sink
from capi_async.bench.harness import Void, agree
from capi_async.bench.sink import Counts, Tally
from capi_async.destinations import destination_types
from capi_async.outcome import Response
from capi_async.spec import ENCODER, Wire
from capi_async.testing.mapping import wire

TEXTS = [json.dumps({"event_name": "Purchase", "event_id": str(it)}) for it in range(3)]
BODIES = {
    b"snap": json.dumps({"data": [{"event_name": "P", "event_id": str(it)} for it in range(3)]}, separators=(",", ":")),
    b"snap_v2": json.dumps([{"event_type": "P", "client_dedup_id": str(it)} for it in range(3)]),
    b"meta": urlencode({"data": json.dumps(TEXTS), "access_token": "sink"}),
    b"segment": json.dumps({"batch": [{"event": "P", "messageId": str(it)} for it in range(3)]}),
    b"posthog": json.dumps({"batch": [{"distinct_id": "a", "uuid": str(it)} for it in range(3)]}),
}


@pytest.mark.parametrize("name", BODIES, ids=bytes.decode)
def test_both_counts_agree_and_see_a_repeated_id(name):
    """Three events, sent twice."""
    counts = Counts()
    for _ in range(2):
        assert counts.add(name, b"/path", BODIES[name].encode()) == 3
    assert counts.tally() == Tally(requests=2, events=6, decoded=6, distinct=3)


def test_the_same_id_for_two_accounts_is_two_events():
    """Five destinations get every event once."""
    counts = Counts()
    for path in (b"/snap/v3/one", b"/snap/v3/two"):
        counts.add(b"snap", path, BODIES[b"snap"].encode())
    assert counts.tally().distinct == 6


def test_without_bodies_only_the_marker_counts():
    """Ten million events are not kept."""
    counts = Counts(keep=False)
    counts.add(b"snap", b"/path", BODIES[b"snap"].encode())
    assert counts.tally() == Tally(requests=1, events=3, decoded=None, distinct=None)


@pytest.mark.parametrize(
    ("tally", "sent", "delivered"),
    [
        (Tally(1, 9, 9, 9), 10, 10),
        (Tally(1, 10, 10, 10), 10, 9),
        (Tally(1, 10, 9, 9), 10, 10),
        (Tally(1, 10, 10, 9), 10, 10),
    ],
)
def test_a_run_that_does_not_add_up_is_void(tally, sent, delivered):
    """Lost, not told, miscounted, or sent twice."""
    with pytest.raises(Void):
        agree(tally, sent=sent, delivered=delivered, copies=1)


def test_a_run_that_adds_up_counts():
    """Per destination."""
    agree(Tally(1, 50, 50, 50), sent=10, delivered=10, copies=5)


@pytest.mark.parametrize("type_name", destination_types())
def test_every_built_in_destination_is_answered_and_counted(type_name: str) -> None:
    """Each event is taken, by the platform's own words, and counted once by its marker and once by its id."""
    (made,) = ours.destinations("http://127.0.0.1:9", type_name)
    events = [ours.event_of(row, **ours.needed(type_name)) for row in feed.seeded(3, seed=1)]
    counts = sink.Sink.counts = sink.Counts()

    wires = [wire(made, event) for event in events]
    assert all(isinstance(one, Wire) for one in wires), wires
    for one in wires:
        assert isinstance(one, Wire)
        request = made.request(one.head, [ENCODER.encode(one.body)], ours.TOKEN)
        path = request.url.removeprefix("http://127.0.0.1:9").encode()
        status, answer = sink._answer(b"POST %b HTTP/1.1\r\n" % path, b"".join(request.body))
        (verdict,) = made.classify(Response(int(status.split()[0]), answer, head=one.head), 1)
        assert verdict.kind == "accepted", (verdict, answer)
    tally = counts.tally()
    assert (tally.events, tally.decoded, tally.distinct) == (3, 3, 3)
