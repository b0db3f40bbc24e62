"""``client.followup()``: from "delivered" to "matched or refused, and why", by the sandbox's later answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from capi_async import ClickIds, Client, ConfigError, Consent, Event, SyncClient, User
from capi_async.cli.accounts import sandbox_destinations
from capi_async.destinations import GoogleAds, destination_types, row_of
from capi_async.event import Page
from capi_async.followup import FollowUp, FollowUpError, SentRequest, Told
from capi_async.outcome import Response
from capi_async.sandbox import Sandbox
from capi_async.spec import Request
from capi_async.testing import RecordingTransport

ANNA = User(email="anna@example.com")
SHOP = Page(url="https://shop.example/thanks")


def google(base_url: str, **settings: Any) -> GoogleAds:
    conversions = {"purchase": "987654321", "lead": "987654322"}
    return GoogleAds(
        customer_id="1234567890",
        access_token="sandbox-token",
        conversions=conversions,
        base_url=base_url,
        requests_per_s=1_000.0,
        burst=100.0,
        **settings,
    )


def rows(told: Sequence[Told]) -> set[tuple[str, str, int | None, str]]:
    return {(one.about, one.kind, one.events, one.reason) for one in told}


async def send(client: Client, *events: Event) -> None:
    receipts = await client.send_many(events)
    for receipt in receipts:
        for outcome in (await receipt.outcomes(timeout_s=10)).values():
            assert outcome.kind == "delivered", outcome


async def test_google_says_how_many_events_of_each_action_it_counts_and_why_not_the_others() -> None:
    """Over all requests that were delivered; events are counted, nobody is named."""
    async with Sandbox() as sandbox, Client([google(sandbox.url("google_ads"))], linger_s=0) as client:
        await send(
            client,
            Event("purchase", order_id="1", user=ANNA),
            Event("purchase", order_id="2", click=ClickIds(gclid="unknown-1")),
            Event("lead", user=ANNA),
        )
        await send(client, Event("purchase", order_id="1", user=ANNA), Event("purchase", order_id="3", user=ANNA))
        found = (await client.followup())["google_ads"]
    assert rows(found.told) == {
        ("purchase (987654321)", "matched", 2, ""),
        ("purchase (987654321)", "refused", 1, "CLICK_NOT_FOUND"),
        ("purchase (987654321)", "refused", 1, "DUPLICATE_TRANSACTION_ID"),
        ("lead (987654322)", "matched", 1, ""),
    }
    assert found.events == 5
    assert found.problems == {}
    assert found.unasked == 0
    meanings = {one.reason: one.meaning for one in found.told}
    assert "normal for people who did not come from an advertisement" in meanings["CLICK_NOT_FOUND"]
    assert "anna" not in repr(found)


async def test_missing_consent_of_people_in_europe_is_told_with_what_to_do() -> None:
    person = User(email="a@b.example", first_name="Anna", last_name="Berg", country="SE", zip="11122")
    async with Sandbox() as sandbox, Client([google(sandbox.url("google_ads"))], linger_s=0) as client:
        await send(
            client,
            Event("purchase", order_id="1", user=person),
            Event("purchase", order_id="2", user=person, consent=Consent(ad_user_data=True)),
        )
        told = (await client.followup())["google_ads"].told
    assert {(one.kind, one.events, one.reason) for one in told} == {("matched", 1, ""), ("refused", 1, "NO_CONSENT")}
    assert "state consent.ad_user_data" in next(one.meaning for one in told if one.kind == "refused")


async def test_only_requests_since_then_are_asked_about_and_at_most_so_many() -> None:
    """What was left out is counted."""
    async with Sandbox() as sandbox, Client([google(sandbox.url("google_ads"))], linger_s=0) as client:
        for number in range(3):
            await send(client, Event("purchase", order_id=str(number), user=ANNA))
        later = datetime.now(UTC) + timedelta(seconds=1)
        assert (await client.followup(since=later))["google_ads"].requests == 0
        found = (await client.followup(since=timedelta(minutes=5), limit=2))["google_ads"]
        assert (found.requests, found.events, found.unasked) == (2, 2, 1)
        with pytest.raises(ConfigError, match="since needs an offset"):
            await client.followup(since=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_test_events_are_not_asked_about() -> None:
    """Google stores nothing of them, so that there is nothing to ask."""
    async with Sandbox() as sandbox, Client([google(sandbox.url("google_ads"), test=True)], linger_s=0) as client:
        await send(client, Event("purchase", order_id="1", user=ANNA))
        found = (await client.followup())["google_ads"]
    assert (found.requests, found.unasked, found.told, found.problems) == (0, 0, [], {})


async def test_a_platform_that_does_not_answer_costs_the_others_nothing() -> None:
    """It is told once, with how often, and what was not asked about is counted."""
    async with Sandbox() as sandbox:
        snap, meta = sandbox_destinations(sandbox.url, ["snap", "meta"])
        async with Client([google(sandbox.url("google_ads")), snap, meta], linger_s=0) as client:
            for number in range(5):
                await send(
                    client, Event("purchase", order_id=str(number), user=ANNA, page=SHOP, value=1, currency="EUR")
                )
            sandbox.fault("google_ads", "status", status=503)
            found = await client.followup()
    (problem,) = found["google_ads"].problems.items()
    assert problem == ("Google answered HTTP 503; ask again later", 3)
    assert found["google_ads"].unasked == 5
    assert rows(found["snap"].told) == {("pixel, live, past hour", "received", 5, "")}
    assert found["meta"].problems == {}


async def test_snap_counts_live_events_and_judges_test_events() -> None:
    async with Sandbox() as sandbox:
        destinations = sandbox_destinations(sandbox.url, ["snap", "snap_v2"])
        async with Client(destinations, linger_s=0) as client:
            event = Event("purchase", order_id="1", user=ANNA, page=SHOP, value=1, currency="EUR")
            await send(client, event, Event("sign_up", user=ANNA, page=SHOP, test=True))
            found = await client.followup()
    for name in ("snap", "snap_v2"):
        assert rows(found[name].told) == {
            ("pixel, live, past hour", "received", 1, ""),
            ("pixel, tests, past 24 h", "received", 1, ""),
        }
        assert found[name].problems == {}


async def test_meta_says_what_keeps_events_from_matching() -> None:
    """By event name, with Meta's own proposal."""
    async with Sandbox() as sandbox:
        destinations = sandbox_destinations(sandbox.url, ["meta"])
        async with Client(destinations, linger_s=0) as client:
            await send(
                client,
                Event("sign_up", user=ANNA, page=SHOP),
                Event("sign_up", user=ANNA, page=SHOP, click=ClickIds(fbclid="abc-1")),
            )
            told = (await client.followup())["meta"].told
    assert rows(told) >= {("CompleteRegistration", "warned", 1, "NO_CLICK_ID")}
    assert any(one.kind == "note" and "event match quality" in one.reason for one in told)
    assert next(one.meaning for one in told if one.reason == "NO_CLICK_ID").startswith("send the cookie _fbc")


async def test_a_token_that_may_not_read_is_said_in_words() -> None:
    """And the token is not repeated, though a platform may echo it."""
    echo = b'{"error":{"message":"token sandbox-token may not read this"}}'
    transport = RecordingTransport(Response(403, echo))
    (meta,) = sandbox_destinations(lambda name: f"http://127.0.0.1/{name}", ["meta"])
    async with Client([meta], transport=transport) as client:
        (problem,) = (await client.followup())["meta"].problems
    assert problem.startswith("Meta answered HTTP 403: ")
    assert "needs to manage the dataset" in problem
    assert "sandbox-token" not in problem


@pytest.mark.parametrize("type_name", sorted(destination_types()))
def test_every_destination_says_in_words_what_its_platform_tells(type_name: str) -> None:
    """One that tells nothing says so, and most say where to look."""
    says = row_of(type_name).load().followup
    assert says.tells.strip()
    assert says.asks or "nothing" in says.tells
    assert not says.by_request or says.asks


async def test_a_silent_platform_is_answered_in_words_without_a_request() -> None:
    transport = RecordingTransport()
    (reddit,) = sandbox_destinations(lambda name: f"http://127.0.0.1/{name}", ["reddit"])
    async with Client([reddit], transport=transport) as client:
        found = (await client.followup())["reddit"]
    assert (found.told, found.problems, transport.requests) == ([], {}, [])
    assert "tells nothing" in found.tells


async def test_code_of_a_plug_in_that_fails_is_told_by_its_type() -> None:
    """Its own words may quote anything."""

    class Odd(GoogleAds, frozen=True):
        type: ClassVar[str] = "odd"
        followup: ClassVar[FollowUp] = FollowUp(tells="something", asks=True)

        def followup_requests(
            self, token: str, sent: Sequence[SentRequest], since: float
        ) -> Sequence[tuple[str, Request]]:
            assert sent == []
            return [("a", Request("GET", "http://127.0.0.1/a", {})), ("b", Request("GET", "http://127.0.0.1/b", {}))]

        def followup_told(self, name: str, response: Response) -> Sequence[Told]:
            if name == "a":
                raise ValueError("anna@example.com")
            raise FollowUpError("it says nothing yet; ask tomorrow")

    made = Odd(customer_id="1", access_token="t", conversions={"lead": "1"})
    async with Client([made], transport=RecordingTransport(Response(200))) as client:
        found = (await client.followup())["odd"]
    assert set(found.problems) == {
        "its answer could not be read by its own code (ValueError)",
        "it says nothing yet; ask tomorrow",
    }


def test_without_an_event_loop_it_is_the_same() -> None:
    with SyncClient.from_env(mode="sandbox", linger_s=0) as client:
        client.send(Event("purchase", order_id="1", user=ANNA, page=SHOP, value=1, currency="EUR", to=("google_ads",)))
        assert client.flush()
        found = client.followup(since=timedelta(hours=1))
    assert {one.kind for one in found["google_ads"].told} == {"matched"}
    assert set(found) >= set(destination_types())


async def test_a_client_that_is_off_asks_nobody() -> None:
    async with Client.from_env(mode="off") as client:
        assert await client.followup() == {}
