"""CutMeShort's cutmeshort."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cutmeshort.client import CMSClient
from cutmeshort.exceptions import (
    ConflictException,
    NotFoundException,
    UnauthorizedException,
    UnprocessableEntityException,
)
from pydantic import ValidationError

from capi_async.sandbox import TOKEN, Sandbox

DONE = {"status": True, "data": "successful"}


def client(sandbox: Sandbox, token: str = TOKEN) -> Any:
    return CMSClient(token=token, host=sandbox.url("cutmeshort"))


def sale(client: Any, **changes: Any) -> Any:
    fields = {
        "event_name": "purchase_completed",
        "customer_external_id": "user-1",
        "invoice_id": "order-1",
        "amount": 4_999,
        "currency": "USD",
        "click_id": "id_1",
    }
    return client.track_sale(**{**fields, **changes})


def test_a_lead_is_taken(sandbox):
    """Names turn to camel case, absent ones are left out, and an aware time goes with its offset."""
    at = datetime.now(UTC)
    assert client(sandbox).track_lead("signup_started", "user-1", click_id="id_1", timestamp=at) == DONE
    [arrival] = sandbox.arrivals("cutmeshort")
    assert arrival.accepted
    assert arrival.event == {
        "clickId": "id_1",
        "eventName": "signup_started",
        "customerExternalId": "user-1",
        "timestamp": at.isoformat(),
    }


def test_a_sale_is_taken_once_per_invoice(sandbox):
    """The second one is absorbed, and answered like the first."""
    it = client(sandbox)
    assert [sale(it), sale(it)] == [DONE, DONE]
    stats = sandbox.stats()["cutmeshort"]
    assert (stats.accepted, stats.duplicates) == (2, 1)
    assert sandbox.arrivals("cutmeshort")[0].event["amount"] == 4_999


def test_a_deferred_lead_attributes_later_calls(sandbox):
    """The click id given once need not be repeated."""
    it = client(sandbox)
    assert it.track_lead("signup_started", "user-1", click_id="id_1", mode="deferred") == DONE
    assert it.track_lead("email_verified", "user-1") == DONE
    assert sale(it, click_id=None) == DONE
    assert sandbox.details()["cutmeshort"]["warnings"] == {}


def test_a_bad_token_is_refused(sandbox):
    """Raised, and not returned as a dictionary as the README has it."""
    with pytest.raises(UnauthorizedException) as caught:
        client(sandbox, "wrong").track_lead("signup_started", "user-1", click_id="id_1")
    assert (caught.value.status, caught.value.data.type) == (401, "UnauthorizedError")
    assert sandbox.details()["cutmeshort"]["refused_requests"] == {"bad token": 1}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currency": "usd"}, "currency"),
        ({"amount": -1}, "amount"),
        ({"invoice_id": ""}, "invoiceId"),
        ({"timestamp": datetime(2026, 11, 21)}, "timestamp"),  # noqa: DTZ001
    ],
)
def test_a_bad_sale_is_refused(sandbox, changes, field):
    """The SDK lets them pass, a time without zone included, and reads the platform's error body."""
    with pytest.raises(UnprocessableEntityException) as caught:
        sale(client(sandbox), **changes)
    error = caught.value.data
    assert (error.success, error.status_code, error.type) == (False, 422, "UnprocessableEntityError")
    assert error.details["message"].startswith(f"{field}:")
    assert not sandbox.arrivals("cutmeshort")[0].accepted


def test_an_unknown_mode_never_leaves_the_sdk(sandbox):
    """Its own model refuses it."""
    with pytest.raises(ValidationError):
        client(sandbox).track_lead("signup_started", "user-1", mode="later")
    assert sandbox.stats()["cutmeshort"].requests == 0


def test_not_found_and_conflict_have_exceptions_of_their_own(start):
    """Under the readings in which the platform answers so."""
    it = client(start(readings={"cutmeshort": {"association_required", "conflict"}}))
    with pytest.raises(NotFoundException):
        it.track_lead("email_verified", "user-1")
    assert sale(it) == DONE
    with pytest.raises(ConflictException):
        sale(it)


@pytest.mark.parametrize("status", [429, 503])
def test_a_passing_error_is_tried_again(sandbox, status):
    """The SDK retries by itself, leads included, and its caller sees success alone."""
    sandbox.fault("cutmeshort", "status", status=status, retry_after_s=0, count=2)
    assert client(sandbox).track_lead("signup_started", "user-1", click_id="id_1") == DONE
    stats = sandbox.stats()["cutmeshort"]
    assert (stats.requests, stats.accepted) == (3, 1)


def test_a_slash_after_the_host_is_doubled(sandbox):
    """The SDK joins texts, and asks for a path that does not exist."""
    it = CMSClient(token=TOKEN, host=sandbox.url("cutmeshort") + "/")
    with pytest.raises(NotFoundException):
        it.track_lead("signup_started", "user-1", click_id="id_1")


def test_leaving_a_with_block_fails(sandbox):
    """Its close() calls a method that its own client lacks."""
    with pytest.raises(AttributeError, match="close"), client(sandbox) as it:
        assert sale(it) == DONE
