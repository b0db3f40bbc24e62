"""Meta's facebook-business."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.app_data import AppData
from facebook_business.adobjects.serverside.batch_processor import BatchProcessor
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.delivery_category import DeliveryCategory
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync
from facebook_business.adobjects.serverside.gender import Gender
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from capi_async.sandbox import TOKEN, Sandbox

DATASET = "1234567890"
EMAIL = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
DAY = 86_400


@pytest.fixture(autouse=True)
def _graph(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    # The SDK has no setting for its address.
    monkeypatch.setattr(FacebookSession, "GRAPH", sandbox.url("meta"))
    FacebookAdsApi.init(access_token=TOKEN, crash_log=False)


def now() -> int:
    return int(time.time())


def event(**changes: Any) -> Any:
    fields = {
        "event_name": "Purchase",
        "event_time": now(),
        "event_id": "order-1",
        "action_source": ActionSource.WEBSITE,
        "event_source_url": "https://shop.example/thanks",
        "user_data": UserData(
            emails=[" Test@Example.com"],
            gender=Gender.FEMALE,
            country_code="US",
            external_ids=["user-1"],
            client_ip_address="203.0.113.7",
            client_user_agent="UA",
            fbc="fb.1.1768471200123.IwAR1aBcD",
        ),
        "custom_data": CustomData(
            value=99.9,
            currency="USD",
            contents=[
                Content(product_id="1", quantity=2, item_price=49.95, delivery_category=DeliveryCategory.HOME_DELIVERY)
            ],
            custom_properties={"colour": "red"},
        ),
    }
    return Event(**{**fields, **changes})


def send(*events: Any, pixel_id: str = DATASET, **options: Any) -> Any:
    return EventRequest(pixel_id=pixel_id, events=list(events), **options).execute()


def refusal(*events: Any, **options: Any) -> FacebookRequestError:
    with pytest.raises(FacebookRequestError) as caught:
        send(*events, **options)
    return caught.value


def test_events_are_taken_and_arrive_hashed(sandbox):
    """They come as a form whose array holds texts, and stand in the record as plain events."""
    response = send(event(), event(event_id="order-2"))
    assert (response.events_received, response.messages) == (2, [])
    assert response.fbtrace_id
    first, second = sandbox.arrivals("meta")
    assert first.accepted
    assert second.accepted
    assert (first.account, first.test) == (DATASET, False)
    user, custom = first.event["user_data"], first.event["custom_data"]
    assert user["em"] == [EMAIL]
    assert user["external_id"] == ["user-1"]
    assert custom["contents"] == [{"id": "1", "quantity": 2, "item_price": 49.95, "delivery_category": "home_delivery"}]
    assert (custom["currency"], custom["colour"]) == ("usd", "red")
    assert sandbox.details()["meta"]["unknown_keys"] == {}


def test_a_test_event_is_marked_and_still_counted(sandbox):
    """Meta's test events are real conversions."""
    assert send(event(), test_event_code="TEST1").events_received == 1
    assert sandbox.arrivals("meta")[0].test
    assert sandbox.stats()["meta"].accepted == 1


def test_every_option_of_a_request_is_taken(sandbox):
    """The SDK's own form fields beside data, and its data processing options."""
    told = event(data_processing_options=["LDU"], data_processing_options_country=0, data_processing_options_state=0)
    response = send(told, namespace_id="1", upload_id="2", upload_tag="t", upload_source="s", partner_agent="agent")
    assert response.events_received == 1
    assert sandbox.arrivals("meta")[0].event["data_processing_options"] == ["LDU"]


def test_a_bad_token_is_refused(sandbox):
    """Code 190 under 401, as an OAuthException."""
    FacebookAdsApi.init(access_token="wrong", crash_log=False)
    error = refusal(event())
    assert (error.http_status(), error.api_error_code(), error.api_error_type()) == (401, 190, "OAuthException")
    assert sandbox.arrivals("meta") == []
    assert sandbox.details()["meta"]["refused_requests"] == {"bad token": 1}


def test_a_dataset_of_malformed_id_is_refused(sandbox):
    """Code 100 with subcode 33."""
    error = refusal(event(), pixel_id="nobody")
    assert (error.http_status(), error.api_error_code(), error.api_error_subcode()) == (400, 100, 33)


@pytest.mark.parametrize(
    ("changes", "subcode", "field"),
    [
        ({"event_time": now() - 8 * DAY}, 2804003, "event_time"),
        ({"event_time": now() + 3_600}, 2804007, "event_time"),
        ({"custom_data": CustomData()}, 2804009, "custom_data"),
        ({"user_data": UserData(country_code="us", client_user_agent="UA")}, 2804050, "user_data"),
        ({"event_source_url": None}, None, "event_source_url"),
    ],
)
def test_a_bad_event_costs_the_whole_request(sandbox, changes, subcode, field):
    """The SDK reads code and subcode; the good event beside it is lost too."""
    error = refusal(event(), event(event_id="order-2", **changes))
    assert (error.http_status(), error.api_error_code(), error.api_error_subcode()) == (400, 100, subcode)
    assert not error.api_transient_error()
    assert [it.accepted for it in sandbox.arrivals("meta")] == [False, False]
    assert sandbox.details()["meta"]["reasons"] == {field: 1}


def test_app_events_lack_extinfo_unless_given(sandbox):
    """The SDK sends app data without the extinfo that the platform documents as required."""
    app = event(
        action_source=ActionSource.APP,
        app_data=AppData(advertiser_tracking_enabled=True, application_tracking_enabled=True),
    )
    assert "app_data.extinfo" in refusal(app).body()["error"]["error_user_msg"]


@pytest.mark.parametrize(("status", "code"), [(429, 80004), (503, 2)])
def test_a_passing_error_is_marked_transient(sandbox, status, code):
    """The SDK says so and leaves the next try to its caller."""
    sandbox.fault("meta", "status", status=status, retry_after_s=60, count=1)
    error = refusal(event())
    assert (error.http_status(), error.api_error_code(), error.api_transient_error()) == (status, code, True)
    assert sandbox.stats()["meta"].requests == 1


def test_the_async_request_is_taken(sandbox):
    """It sends a form too, through aiohttp."""
    response = asyncio.run(EventRequestAsync(pixel_id=DATASET, events=[event()]).execute())
    assert response.events_received == 1
    assert sandbox.stats()["meta"].accepted == 1


def test_the_async_request_hides_a_refusal_behind_a_key_error(sandbox):
    """It reads fbtrace_id at the top of the answer without a look at the status."""
    with pytest.raises(KeyError, match="fbtrace_id"):
        asyncio.run(EventRequestAsync(pixel_id=DATASET, events=[event(event_time=1)]).execute())
    assert not sandbox.arrivals("meta")[0].accepted


def test_the_batch_processor_sends_one_request_after_the_other(sandbox):
    """Its concurrency setting groups requests but does not overlap them."""
    requests = [EventRequestAsync(pixel_id=DATASET, events=[event(event_id=f"order-{it}")]) for it in range(3)]
    BatchProcessor(concurrent_requests=3).process_event_requests(requests)
    arrived = [(it.event["event_id"], it.request) for it in sandbox.arrivals("meta")]
    assert arrived == [("order-0", 1), ("order-1", 2), ("order-2", 3)]
