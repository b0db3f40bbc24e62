"""Google's later answer: by conversion action and reason."""

from __future__ import annotations

import json

import pytest

from capi_async.client import Client
from capi_async.destinations.google_ads import GoogleAds
from capi_async.destinations.google_ads.followup import StatusError, request_status
from capi_async.errors import ConfigError
from capi_async.event import Event, User
from capi_async.outcome import Response
from capi_async.sandbox import Sandbox
from capi_async.spec import Request
from capi_async.transport import HttpTransport


def account(**settings: str) -> GoogleAds:
    given = {"customer_id": "1234567890", "access_token": "sandbox-token", **settings}
    return GoogleAds(**given, conversions={"purchase": "987654321"})  # type: ignore[arg-type]


class Answering:
    """Says the same to whoever asks."""

    def __init__(self, status: int, body: bytes) -> None:
        self.response = Response(status, body)

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        assert request.method == "GET"
        assert request.url.endswith("/requestStatus:retrieve?requestId=abc%2F1")
        return self.response


async def test_counts_are_told_by_conversion_action_and_reason() -> None:
    """Google's example; whole numbers come as text."""
    said = {
        "requestStatusPerDestination": [
            {
                "destination": {"productDestinationId": "987654321"},
                "requestStatus": "PARTIAL_SUCCESS",
                "eventsIngestionStatus": {"recordCount": "2"},
                "errorInfo": {
                    "errorCounts": [{"recordCount": "1", "reason": "PROCESSING_ERROR_REASON_CLICK_NOT_FOUND"}]
                },
            }
        ]
    }
    (found,) = await request_status(account(), Answering(200, json.dumps(said).encode()), " abc/1 ")
    assert (found.action, found.status, found.events, found.final) == ("987654321", "PARTIAL_SUCCESS", 2, True)
    assert found.errors == {"CLICK_NOT_FOUND": 1}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(404, b"", ConfigError), (403, b"", ConfigError), (503, b"", StatusError), (200, b"<html>", StatusError)],
)
async def test_no_answer_is_said_in_words(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        await request_status(account(), Answering(status, body), "abc/1")
    assert "sandbox-token" not in str(raised.value)


async def test_an_outcomes_trace_id_asks_for_its_request() -> None:
    """From delivery to the later answer, in the sandbox."""
    async with Sandbox() as sandbox:
        made = account(base_url=sandbox.url("google_ads"))
        async with Client([made], linger_s=0.01) as client:
            receipt = await client.send(Event("purchase", user=User(email="anna@example.com")))
            outcome = (await receipt.outcomes())["google_ads"]
        assert outcome.kind == "delivered"
        transport = HttpTransport()
        (found,) = await request_status(made, transport, outcome.trace_id)
        await transport.aclose()
    assert (found.status, found.events, found.action) == ("SUCCESS", 1, "987654321")
