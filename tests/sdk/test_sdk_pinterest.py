"""Pinterest's pinterest-api-sdk."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from openapi_generated.pinterest_client.exceptions import (
    ApiException,
    ApiTypeError,
    ApiValueError,
    ForbiddenException,
    ServiceException,
    UnauthorizedException,
)
from openapi_generated.pinterest_client.model.conversion_events_custom_data_contents import (
    ConversionEventsCustomDataContents,
)
from pinterest.ads.conversion_events import Conversion
from pinterest.client import PinterestSDKClient

from capi_async.sandbox import TOKEN, Sandbox

# Its generated client calls a method of urllib3 that urllib3 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:HTTPResponse.getheader:DeprecationWarning")

ACCOUNT = "549755885175"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event(**changes: Any) -> Any:
    fields = {
        "event_name": "checkout",
        "action_source": "web",
        "event_time": int(time.time()),
        "event_id": "order-1",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {"em": [digest("jane@example.com")], "external_id": [digest("user-1")]},
        "custom_data": {
            "value": "72.39",
            "currency": "USD",
            "contents": [ConversionEventsCustomDataContents(id="1", item_price="72.39", quantity=1)],
        },
    }
    return Conversion.create_conversion_event(**{**fields, **changes})


def send(sandbox: Sandbox, *events: Any, token: str = TOKEN, account: str = ACCOUNT, test: bool = False) -> Any:
    # PINTEREST_API_URI sets the address for good when the SDK is imported; this is how it makes a client inside.
    configuration = PinterestSDKClient._get_config(token, api_uri=sandbox.url("pinterest"))
    client = PinterestSDKClient(configuration=configuration)
    return Conversion.send_conversion_events(account, list(events), test=test, client=client)


def test_events_are_taken(sandbox):
    """Fields that were not given travel as null, which the description allows."""
    response = send(sandbox, event(), event(event_id="order-2"))
    assert (response.num_events_received, response.num_events_processed) == (2, 2)
    assert [it.status for it in response.events] == ["processed", "processed"]
    first, _ = sandbox.arrivals("pinterest")
    assert (first.accepted, first.account, first.test) == (True, ACCOUNT, False)
    assert first.event["custom_data"]["contents"] == [{"id": "1", "item_price": "72.39", "quantity": 1}]
    absent = {name for name, value in first.event.items() if value is None}
    assert absent == {
        "partner_name",
        "app_id",
        "app_name",
        "app_version",
        "device_brand",
        "device_carrier",
        "device_model",
        "device_type",
        "os_version",
        "language",
    }
    assert sandbox.details()["pinterest"]["unknown_keys"] == {}


def test_a_test_request_is_read_although_the_sdk_writes_true_with_a_capital(sandbox):
    """The SDK puts test=True, or test=False, on every request."""
    assert send(sandbox, event(), test=True).num_events_processed == 1
    assert send(sandbox, event(), test=False).num_events_processed == 1
    assert [it.test for it in sandbox.arrivals("pinterest")] == [True, False]
    assert sandbox.stats()["pinterest"].accepted == 1


def test_a_long_test_request_loses_its_tail(sandbox):
    """Only the first twenty events of a test request are processed."""
    response = send(sandbox, *(event(event_id=f"order-{it}") for it in range(21)), test=True)
    assert (response.num_events_received, response.num_events_processed) == (21, 20)


def test_a_bad_token_is_refused(sandbox):
    """The error's body is left to its reader as text."""
    with pytest.raises(UnauthorizedException) as caught:
        send(sandbox, event(), token="wrong")
    assert caught.value.status == 401
    assert '"code":2' in caught.value.body
    assert sandbox.arrivals("pinterest") == []
    assert sandbox.details()["pinterest"]["refused_requests"] == {"bad token": 1}


def test_an_account_of_malformed_id_is_refused(sandbox):
    """Code 29 under 403."""
    with pytest.raises(ForbiddenException) as caught:
        send(sandbox, event(), account="nobody")
    assert '"code":29' in caught.value.body


def test_an_unhashed_email_costs_the_whole_request(sandbox):
    """The SDK checks no digest, and has no exception of its own for 400."""
    with pytest.raises(ApiException) as caught:
        send(sandbox, event(), event(event_id="order-2", user_data={"em": ["jane@example.com"]}))
    assert (type(caught.value), caught.value.status) == (ApiException, 400)
    assert "data.1.user_data.em.0" in caught.value.body
    assert [it.accepted for it in sandbox.arrivals("pinterest")] == [False, False]


def test_one_bad_event_fails_beside_good_ones(sandbox):
    """Inside a 200, which the SDK returns like any other: its caller has to count."""
    response = send(sandbox, event(event_name="no such name"), event(event_id="order-2"))
    assert (response.num_events_received, response.num_events_processed) == (2, 1)
    assert [it.status for it in response.events] == ["failed", "processed"]
    assert response.events[0].error_message == "invalid event_name"
    assert [it.accepted for it in sandbox.arrivals("pinterest")] == [False, True]


def test_a_partial_success_under_422_is_an_error_to_the_sdk(start):
    """In the other reading of the same case."""
    sandbox = start(readings={"pinterest": "partial_422"})
    with pytest.raises(ApiException) as caught:
        send(sandbox, event(event_name="no such name"), event(event_id="order-2"))
    assert caught.value.status == 422
    assert [it.accepted for it in sandbox.arrivals("pinterest")] == [False, True]


def test_a_warning_is_shown(sandbox):
    """An event without external_id is processed."""
    response = send(sandbox, event(user_data={"em": [digest("jane@example.com")]}))
    assert response.events[0].warning_message == "external_id is missing"


def test_user_data_without_identity_never_leaves_the_sdk(sandbox):
    """Its model asks for an email, a device id, or address and user agent together."""
    with pytest.raises(ApiValueError):
        event(user_data={"ct": [digest("berlin")]})


def test_contents_as_plain_dictionaries_never_leave_the_sdk(sandbox):
    """User and custom data are dictionaries, the contents inside them must be models."""
    with pytest.raises(ApiTypeError):
        event(custom_data={"contents": [{"id": "1"}]})


@pytest.mark.parametrize(("status", "kind"), [(429, ApiException), (503, ServiceException)])
def test_a_passing_error_is_raised_and_not_tried_again(sandbox, status, kind):
    """The SDK has no retries for answers."""
    sandbox.fault("pinterest", "status", status=status, retry_after_s=1, count=1)
    with pytest.raises(kind) as caught:
        send(sandbox, event())
    assert caught.value.status == status
    assert sandbox.stats()["pinterest"].requests == 1
