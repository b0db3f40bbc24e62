"""pytt-events-api, an unofficial library for TikTok's legacy pixel endpoints: TikTok has no SDK of its own for events.

It needs the sandbox's reading ``tolerant``: it writes times with a space, and batch rows without ``type``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytt_events.auth import TikTokAuth
from pytt_events.context import Ad, Context, Page, User
from pytt_events.event import Event
from pytt_events.properties import Properties
from pytt_events.supported_events import SupportedEvents
from pytt_events.tiktok_events_api import TikTokEventsApi
from requests.exceptions import HTTPError, JSONDecodeError

from capi_async.sandbox import TOKEN, Sandbox

PIXEL = "CEXAMPLE0000000000AA"
AUTH = TikTokAuth(TIKTOK_ACCESS_TOKEN=TOKEN, TIKTOK_PIXEL_ID=PIXEL)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    return start(readings={"tiktok_pixel": "tolerant"})


def api(sandbox: Sandbox) -> Any:
    it = TikTokEventsApi()
    it.ROOT = sandbox.url("tiktok_pixel") + "/open_api/"
    return it


def event(**changes: Any) -> Any:
    fields = {
        "pixel_code": PIXEL,
        "event": SupportedEvents.COMPLETE_PAYMENT,
        "event_id": "order-1",
        "timestamp": datetime.now(UTC),
        "context": Context(
            user_agent="UA",
            ip="203.0.113.7",
            ad=Ad(callback="E.C.P.152545565"),
            page=Page(url="https://shop.example/thanks", referrer="https://search.example"),
            user=User(external_id="user 1", email="Test@Example.com", phone_number="+55 (41)9.9886-2934", ttp="a1b2"),
        ),
        "properties": Properties(
            currency="BRL",
            value=1.5,
            content_type="product",
            contents=[{"content_id": "1", "quantity": 1, "price": 1.5}],
        ),
    }
    return Event(**{**fields, **changes})


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_event_is_taken_and_arrives_hashed(sandbox):
    """The phone is hashed in its E.164 form, the external id without its inner spaces; absent fields are left out."""
    answer = api(sandbox).post_event(event(), AUTH).json()
    assert (answer["code"], answer["message"]) == (0, "OK")
    [arrival] = sandbox.arrivals("tiktok_pixel")
    assert (arrival.accepted, arrival.account, arrival.test) == (True, PIXEL, False)
    assert arrival.event["context"]["user"] == {
        "email": digest("test@example.com"),
        "phone_number": digest("+5541998862934"),
        "external_id": digest("user1"),
        "ttp": "a1b2",
    }
    assert arrival.event["timestamp"][10] == " "
    assert sandbox.details()["tiktok_pixel"]["unknown_keys"] == {}


def test_a_batch_is_taken(sandbox):
    """Its rows keep their pixel code and have no type."""
    answer = api(sandbox).post_events_in_bulk([event(), event(event_id="order-2")], AUTH).json()
    assert answer["code"] == 0
    first, second = sandbox.arrivals("tiktok_pixel")
    assert first.accepted
    assert second.accepted
    assert first.event["pixel_code"] == PIXEL
    assert "type" not in first.event


def test_the_strict_reading_takes_neither_its_times_nor_its_batches(start):
    """By the documentation's letter, only a single event without a time gets through."""
    sandbox = start()
    with pytest.raises(HTTPError, match="timestamp: Not a valid datetime"):
        api(sandbox).post_event(event(), AUTH)
    with pytest.raises(HTTPError, match=r"batch\.0\.type: Missing data for required field"):
        api(sandbox).post_events_in_bulk([event(timestamp=None)], AUTH)
    assert api(sandbox).post_event(event(timestamp=None), AUTH).json()["code"] == 0
    assert [it.accepted for it in sandbox.arrivals("tiktok_pixel")] == [False, False, True]


def test_a_test_event_is_marked_and_not_counted(sandbox):
    """The code stands in the body of a single event."""
    assert api(sandbox).post_event(event(test_event_code="TEST1"), AUTH).json()["code"] == 0
    assert sandbox.arrivals("tiktok_pixel")[0].test
    assert sandbox.stats()["tiktok_pixel"].accepted == 0


def test_a_test_code_inside_a_batch_is_not_heard(sandbox):
    """The library puts the code into the rows, where no source says that it counts: the event is a live one."""
    assert api(sandbox).post_events_in_bulk([event(test_event_code="TEST1")], AUTH).json()["code"] == 0
    [arrival] = sandbox.arrivals("tiktok_pixel")
    assert arrival.event["test_event_code"] == "TEST1"
    assert not arrival.test


def test_a_repeated_event_is_absorbed(sandbox):
    """By its event_id."""
    api(sandbox).post_event(event(), AUTH)
    api(sandbox).post_event(event(), AUTH)
    assert sandbox.stats()["tiktok_pixel"].duplicates == 1


@pytest.mark.parametrize(("token", "code"), [("wrong", 40105), ("", 40104)])
def test_a_bad_token_is_refused(sandbox, token, code):
    """Raised as an HTTPError of code and message, although the HTTP status is 200."""
    with pytest.raises(HTTPError) as caught:
        api(sandbox).post_event(event(), TikTokAuth(TIKTOK_ACCESS_TOKEN=token, TIKTOK_PIXEL_ID=PIXEL))
    assert caught.value.args[0] == code
    assert sandbox.arrivals("tiktok_pixel") == []
    assert sandbox.details()["tiktok_pixel"]["refused_requests"] == {"bad token": 1}


def test_a_foreign_pixel_is_refused(sandbox):
    """Code 40001."""
    with pytest.raises(HTTPError) as caught:
        api(sandbox).post_event(event(pixel_code="nobody"), AUTH)
    assert caught.value.args[0] == 40001


def test_an_old_row_costs_the_whole_batch(sandbox):
    """The message names the row."""
    old = event(event_id="order-2", timestamp=datetime.now(UTC) - timedelta(days=8))
    with pytest.raises(HTTPError, match=r"batch\.1\.timestamp: older than 7 days") as caught:
        api(sandbox).post_events_in_bulk([event(), old], AUTH)
    assert caught.value.args[0] == 40002
    assert [it.accepted for it in sandbox.arrivals("tiktok_pixel")] == [False, False]


def test_a_partial_success_is_an_error_to_the_library(start):
    """It raises although the good row was taken, which invites its caller to send it twice."""
    sandbox = start(readings={"tiktok_pixel": {"tolerant", "partial"}})
    old = event(event_id="order-2", timestamp=datetime.now(UTC) - timedelta(days=8))
    with pytest.raises(HTTPError) as caught:
        api(sandbox).post_events_in_bulk([event(), old], AUTH)
    assert caught.value.args[0] == 20001
    assert [it.accepted for it in sandbox.arrivals("tiktok_pixel")] == [True, False]


def test_a_batch_beyond_fifty_rows_is_refused(sandbox):
    """The library does not split."""
    with pytest.raises(HTTPError) as caught:
        api(sandbox).post_events_in_bulk([event(event_id=f"order-{it}") for it in range(51)], AUTH)
    assert caught.value.args[0] == 40061


def test_an_answer_that_is_not_json_is_raised_as_such(sandbox):
    """The status is never looked at."""
    sandbox.fault("tiktok_pixel", "html", count=1)
    with pytest.raises(JSONDecodeError):
        api(sandbox).post_event(event(), AUTH)
    assert sandbox.stats()["tiktok_pixel"].requests == 1
