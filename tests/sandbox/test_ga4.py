"""Google Analytics in the sandbox: 204 for all, what it would swallow is recorded; the validation endpoint tells."""

from __future__ import annotations

import pytest

NOW = 1_790_000_000
DEBUG = "/debug/mp/collect?measurement_id=G-SANDBOX001&api_secret=any"


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"name": "first_open"}, "name", "NAME_RESERVED"),
        ({"name": "x" * 41}, "name", "NAME_INVALID"),
        ({"params__ga_colour": 1}, "params.ga_colour", "NAME_INVALID"),
        ({"params": {f"p{number}": 1 for number in range(26)}}, "params", "EXCEEDED_MAX_ENTITIES"),
        ({"params__colour": ["red"]}, "params.colour", "VALUE_INVALID"),
        ({"params__transaction_id": ...}, "params.transaction_id", "VALUE_REQUIRED"),
        ({"params__currency": ...}, "params.currency", "VALUE_REQUIRED"),
        ({"timestamp_micros": (NOW - 73 * 3_600) * 1_000_000}, "timestamp_micros", "VALUE_INVALID"),
    ],
)
async def test_what_is_wrong_is_swallowed_and_told_by_the_validation_endpoint(sender, platforms, changes, path, code):
    """The same body, at both endpoints."""
    event = platforms["ga4"].event(**changes)
    assert (await sender.send("ga4", event)).status == 204
    [arrival] = sender.sandbox.arrivals("ga4")
    assert (arrival.accepted, bool(arrival.reason)) == (False, True)
    [message] = (await sender.send("ga4", event, path=DEBUG)).body["validationMessages"]
    assert (message["fieldPath"], message["validationCode"]) == (f"events[0].{path}", code)


async def test_a_wrong_secret_is_answered_like_a_right_one(sender):
    """And nothing is recorded."""
    reply = await sender.send("ga4", path="/mp/collect?measurement_id=G-SANDBOX001&api_secret=wrong")
    assert reply.status == 204
    assert sender.sandbox.arrivals() == []
    assert sender.sandbox.details()["ga4"]["refused_requests"] == {"bad token": 1}


async def test_only_purchases_of_the_web_are_recognised(sender, platforms):
    """By their transaction; an app's count twice."""
    for _ in range(2):
        assert (await sender.send("ga4")).status == 204
    assert sender.sandbox.stats()["ga4"].duplicates == 1
    app = "/mp/collect?firebase_app_id=1:2:ios:3&api_secret=sandbox-token"
    for _ in range(2):
        await sender.send("ga4", path=app, body={"app_instance_id": "f", "events": [platforms["ga4"].event()]})
    assert sender.sandbox.details()["ga4"]["counted_twice"] == 1


async def test_valid_events_are_validated_and_not_recorded_as_live(sender):
    """An empty list says so."""
    assert (await sender.send("ga4", path=DEBUG)).body == {"validationMessages": []}
    assert sender.sandbox.stats()["ga4"].accepted == 0
