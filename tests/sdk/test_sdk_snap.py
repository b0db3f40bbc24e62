"""Snap's snap_business_sdk (API v2)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from snap_business_sdk.capi_utils import ErrorCallback
from snap_business_sdk.exceptions import UnauthorizedException
from snap_business_sdk.public.conversion_api import ConversionApi
from snap_business_sdk.public.conversion_event import ConversionEvent

from capi_async.sandbox import TOKEN, Sandbox

PIXEL = "11111111-2222-3333-4444-555555555555"
EMAIL = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"


def api(sandbox: Sandbox, token: str = TOKEN) -> Any:
    return ConversionApi(access_token=token, launchpad_url=sandbox.url("snap_v2"))


def event(**changes: Any) -> Any:
    fields = {
        "pixel_id": PIXEL,
        "event_type": "PURCHASE",
        "event_conversion_type": "WEB",
        "timestamp": str(round(time.time() * 1_000)),
        "client_dedup_id": "order-1",
        "page_url": "https://shop.example/thanks",
        "email": " Test@Example.com",
        "phone_number": "+1 234-567-8901",
        "ip_address": "203.0.113.7",
        "user_agent": "UA",
        "first_name": "Jane",
        "middle_name": "",
        "city": "Los Angeles",
        "price": "10.5",
        "currency": "USD",
    }
    return ConversionEvent(**{**fields, **changes})


def refusal(result: Any) -> str:
    """The text of an error, which the SDK returns instead of raising it."""
    assert isinstance(result, ErrorCallback)
    assert result.status == "ERROR"
    return result.error_message


def test_an_event_is_taken_and_arrives_hashed(sandbox):
    """The plain email becomes its digest, blank names become empty texts, and the SDK names itself."""
    result = api(sandbox).send_event_sync(event())
    assert (result.status, result.reason) == ("SUCCESS", "All records processed")
    [arrival] = sandbox.arrivals("snap_v2")
    assert (arrival.accepted, arrival.account, arrival.test) == (True, PIXEL, False)
    assert arrival.event["hashed_email"] == EMAIL
    assert arrival.event["hashed_middle_name_sha"] == arrival.event["hashed_middle_name_sdx"] == ""
    assert arrival.event["hashed_city_sdx"] == "L252"
    assert arrival.event["integration"] == "business-sdk"
    assert "email" not in arrival.event
    assert sandbox.details()["snap_v2"]["unknown_keys"] == {}


def test_a_batch_sent_asynchronously_is_taken(sandbox):
    """The SDK's default way hands back a result of its thread pool."""
    result = api(sandbox).send_events([event(), event(client_dedup_id="order-2")]).get()
    assert result.status == "SUCCESS"
    assert sandbox.stats()["snap_v2"].accepted == 2


def test_a_repeated_event_is_absorbed(sandbox):
    """Both answers are successes; the platform knows the second copy by its client_dedup_id."""
    client = api(sandbox)
    assert [client.send_event_sync(event()).status for _ in range(2)] == ["SUCCESS", "SUCCESS"]
    assert sandbox.stats()["snap_v2"].duplicates == 1


def test_a_bad_token_is_refused_everywhere(sandbox):
    """Synchronous calls return the refusal as text, asynchronous ones raise it."""
    client = api(sandbox, "wrong")
    results = (client.send_event_sync(event()), client.send_test_event(event()), client.get_test_event_stats(PIXEL))
    for result in results:
        assert "Status Code: 401" in refusal(result)
        assert '"reason":"Invalid token"' in refusal(result)
    with pytest.raises(UnauthorizedException):
        client.send_event(event()).get()
    assert sandbox.arrivals("snap_v2") == []
    assert sandbox.details()["snap_v2"]["refused_requests"] == {"bad token": 4}


def test_a_bad_record_is_named_by_its_index(sandbox):
    """The good record beside it is taken although the SDK reports an error for the whole call."""
    text = refusal(api(sandbox).send_events_sync([event(), event(currency="usd", client_dedup_id="order-2")]))
    assert "Status Code: 400" in text
    assert "Some records failed" in text
    assert '"record_indexes":[1]' in text
    assert [it.accepted for it in sandbox.arrivals("snap_v2")] == [True, False]


def test_a_test_event_is_validated_and_not_counted(sandbox):
    """The answer lists the fields that were checked."""
    result = api(sandbox).send_test_event(event())
    assert (result.status, result.error_records, result.warning_records) == ("SUCCESS", [], [])
    [validated] = result.validated_fields
    assert validated.record_index == 0
    assert (validated.validated_fields.pixel_id, validated.validated_fields.price) == (PIXEL, "10.5")
    [arrival] = sandbox.arrivals("snap_v2")
    assert arrival.test
    assert sandbox.stats()["snap_v2"].accepted == 0


def test_a_bad_test_event_is_refused(sandbox):
    """The SDK does not read the validation answer when its status is 400; it shows the text."""
    assert "page_url" in refusal(api(sandbox).send_test_event(event(page_url="shop.example")))
    assert not sandbox.arrivals("snap_v2")[0].accepted


def test_logs_hold_the_test_events(sandbox):
    """The log entry's metadata is read back as the SDK's own event model."""
    client = api(sandbox)
    client.send_event_sync(event())
    client.send_test_events([event(), event(client_dedup_id="order-2", page_url="shop.example")])
    result = client.get_test_event_logs(PIXEL)
    assert result.status == "SUCCESS"
    assert [entry.status for entry in result.logs] == ["SUCCESS", "FAILED"]
    assert result.logs[0].event_metadata.hashed_email == EMAIL
    assert result.logs[1].error_records == ["page_url: required for WEB events"]


def test_stats_count_test_and_live_events_apart(sandbox):
    """Each has the time of its last event and the number of the past hour."""
    client = api(sandbox)
    client.send_events_sync([event(), event(client_dedup_id="order-2")])
    client.send_test_event(event())
    stats = client.get_test_event_stats(PIXEL).stats
    assert (stats.live.event_count_past_hour, stats.test.event_count_past_hour) == (2, 1)
    assert stats.test.latest_event_ts / 1_000 == pytest.approx(time.time(), abs=60)


def test_phone_as_the_readme_writes_it_travels_in_plain_text(sandbox):
    """The SDK hashes phone_number and passes anything unknown on, the README's phone included."""
    assert api(sandbox).send_event_sync(event(phone="1234567890")).status == "SUCCESS"
    assert sandbox.arrivals("snap_v2")[0].event["phone"] == "1234567890"
    assert sandbox.details()["snap_v2"]["unknown_keys"] == {"phone": 1}


def test_a_number_as_timestamp_leaves_an_empty_request(sandbox):
    """The SDK drops the event that its README shows, says nothing, and sends what is left: no event."""
    assert "a request must hold 1 to 2000 records" in refusal(api(sandbox).send_event_sync(event(timestamp=1)))
    assert sandbox.details()["snap_v2"]["refused_requests"] == {"batch size": 1}


@pytest.mark.parametrize(("status", "name"), [(429, "Too Many Requests"), (503, "Service Unavailable")])
def test_a_passing_error_is_reported_and_not_tried_again(sandbox, status, name):
    """The SDK has no retries for answers, Retry-After or not."""
    sandbox.fault("snap_v2", "status", status=status, retry_after_s=1, count=1)
    assert f"Reason: {name}" in refusal(api(sandbox).send_event_sync(event()))
    assert sandbox.stats()["snap_v2"].requests == 1
