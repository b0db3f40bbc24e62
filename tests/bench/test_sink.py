"""The sink: what it counts is what came, by the marker and by decoding."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from capi_async.bench.harness import Void, agree
from capi_async.bench.sink import Counts, Tally

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
