"""Google Ads from event to outcome, against the sandbox."""

from __future__ import annotations

import logging

import pytest

from capi_async import Client, Event, User
from capi_async.credentials import TokenRevoked
from capi_async.destinations import GoogleAds
from capi_async.sandbox import Sandbox


def event(number: int, **changes: object) -> Event:
    given = {"event_id": f"order-{number}", "user": User(email=f"person{number}@shop.example"), **changes}
    return Event("purchase", **given)  # type: ignore[arg-type]


async def test_of_two_thousand_events_the_thirty_seven_guilty_alone_are_rejected() -> None:
    """In two requests: Google names all of them, the others go again at once."""
    guilty = set(range(3, 2_000, 54))
    assert len(guilty) == 37
    async with Sandbox(rates={"google_ads": None}, poison="poisoned") as sandbox:
        made = GoogleAds(
            customer_id="123-456-7890", access_token="sandbox-token", conversions={"purchase": "987654321"},
            base_url=sandbox.url("google_ads"), linger_s=5.0,
        )  # fmt: skip
        async with Client([made]) as client:
            receipts = await client.send_many(
                [event(number, order_id=f"poisoned-{number}" if number in guilty else None) for number in range(2_000)]
            )
            found = [(await receipt.outcomes())["google_ads"] for receipt in receipts]
        assert {number for number, one in enumerate(found) if one.kind == "rejected"} == guilty
        assert sum(one.kind == "delivered" for one in found) == 1_963
        assert all(one.trace_id for one in found)
        stats = sandbox.stats()["google_ads"]
        assert (stats.requests, stats.accepted, stats.duplicates) == (2, 1_963, 0)


async def test_a_conversion_action_of_the_wrong_type_pauses_and_names_the_repair(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sandbox takes a number that ends in 0000 for one."""
    async with Sandbox() as sandbox:
        made = GoogleAds(
            customer_id="1234567890", access_token="sandbox-token", conversions={"purchase": "9876540000"},
            base_url=sandbox.url("google_ads"), linger_s=0.01,
        )  # fmt: skip
        with caplog.at_level(logging.ERROR):
            client = Client([made])
            await client.send(event(1))
            assert not await client.flush(1.0)
            assert client.ledger()["google_ads"].pending == 1
            await client.aclose(0.1)
    assert "Import from clicks" in caplog.text


async def test_a_revoked_refresh_token_keeps_the_events(caplog: pytest.LogCaptureFixture) -> None:
    """And is named in the log; with a new one they go out."""
    revoked = True

    def token() -> str:
        if revoked:
            raise TokenRevoked("the token endpoint refuses this credential")
        return "sandbox-token"

    async with Sandbox() as sandbox:
        made = GoogleAds(
            customer_id="1234567890", access_token=token, conversions={"purchase": "987654321"},
            base_url=sandbox.url("google_ads"), linger_s=0.01,
        )  # fmt: skip
        async with Client([made]) as client:
            receipt = await client.send(event(1))
            assert not await client.flush(0.5)
            assert client.ledger()["google_ads"].pending == 1
            assert "TokenRevoked" in caplog.text
            revoked = False
            assert (await receipt.outcomes())["google_ads"].kind == "delivered"
