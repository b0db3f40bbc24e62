"""What the page shows of a client at work."""

from __future__ import annotations

import hashlib
import re

import pytest

from capi_async import Client, Event, User
from tests.dashboard.asking import Browser, words
from tests.dashboard.conftest import AGENT, EMAIL, IP, PHONE, TOKEN, accounts, purchase, site_of, until


async def test_an_events_way_through_every_destination_is_shown(browser, client):
    """Identifiers used and refused, the wire, the verdict, the attempts."""
    await client.send(purchase(user=User(email=EMAIL, phone="not a number", ip=IP, user_agent=AGENT)))
    await client.flush()
    shown = words(await browser.get("/events"))
    assert "1 of 1 recent events." in shown
    assert "purchase purchase:1001" in shown
    assert "meta delivered" in shown
    assert "snap delivered" in shown
    assert re.search(r"Identifiers used email, ", shown)
    assert "Refused phone: " in shown
    assert '"event_name": "Purchase"' in shown
    assert '"event_name": "PURCHASE"' in shown
    assert re.search(r'"em": \[ "<sha256 [0-9a-f]{4}…>" \]', shown)
    assert "Order id 1001" in shown
    assert re.search(r"Time \(UTC\) Status Verdict .* 200 accepted", shown)


async def test_nothing_that_a_person_could_be_known_by_is_on_any_page(browser, client):
    """Nor a digest of it, nor the token."""
    await client.send(purchase())
    await client.flush()
    for path in ("/", "/events", "/letters", "/events?q=1001"):
        page = (await browser.get(path)).lower()
        for said in (EMAIL, PHONE, PHONE.lstrip("+"), IP, "jane", "very-private", "customer-77", TOKEN):
            assert said.lower() not in page, (path, said)
        assert not re.search(r"(?<![\w-])[0-9a-f]{32,}(?![\w])", re.sub(r'value="[0-9a-f]{64}"', "", page)), path
        for said in (EMAIL, PHONE.lstrip("+"), "customer-77"):
            digest = hashlib.sha256(said.encode()).hexdigest()
            assert digest[:8] not in page


async def test_a_destination_that_refuses_the_account_is_named_with_what_to_do(sandbox):
    """At the top, before anything else."""
    wrong = accounts(sandbox)
    wrong[1] = type(wrong[1])(pixel_id=wrong[1].pixel_id, access_token="wrong-token-1", base_url=sandbox.url("snap"))
    async with Client(wrong, linger_s=0) as client:
        browser = Browser(site_of(client))
        await client.send(purchase())
        await until(lambda: client.states()["snap"].state == "paused")
        shown = words(await browser.get("/"))
        events = words(await browser.get("/events"))
        await client.aclose(0)
    to_do = shown.partition("What to do")[2].partition("Destinations")[0]
    assert "snap: refuses the account" in to_do
    assert "1 events wait" in to_do
    assert "To do:" in to_do
    assert "meta" not in to_do
    assert "snap pending" in events
    assert "unauthorized" in events


async def test_a_rejected_event_is_found_by_its_order_with_the_reason(browser, client, sandbox):
    """By order id, by event id; a third id finds nothing."""
    await client.send(purchase("1002", value=None))
    await client.send(purchase("1003"))
    await client.flush()
    for wanted in ("1002", "purchase:1002"):
        shown = words(await browser.get(f"/events?q={wanted}"))
        assert "purchase:1002" in shown
        assert "purchase:1003" not in shown
        assert "rejected" in shown
    assert "Not among the recent events" in words(await browser.get("/events?q=1004"))
    assert "purchase:1003" not in await browser.get("/events?kind=rejected")


async def test_what_is_forgotten_leaves_the_page_too(client, sandbox):
    """An erasure reaches what was kept for show."""
    sandbox.fault("meta", "status", status=503)
    sandbox.fault("snap", "status", status=503)
    browser = Browser(site_of(client))
    await client.send(purchase("1005"))
    assert "purchase:1005" in await browser.get("/events")
    await client.forget(User(email=EMAIL))
    await until(lambda: client.ledger()["meta"].forgotten + client.ledger()["snap"].forgotten == 2)
    assert "purchase:1005" not in await browser.get("/events")


async def test_only_so_many_events_are_kept_and_the_page_says_what_it_lacks(sandbox):
    """The ring is bounded in number and in pace."""
    async with Client(accounts(sandbox), linger_s=0, recent_events=20) as client:
        await client.send_many([purchase(str(number)) for number in range(400)])
        await client.flush()
        recent, missed = client.recent(), client.unwatched
    assert len(recent) == 20
    assert missed >= 100
    assert all(leg.kind == "delivered" for seen in recent for leg in seen.legs.values())


async def test_nothing_is_kept_unless_it_is_asked_for(client):
    """No event, and no record of it."""
    await client.send(purchase())
    await client.flush()
    assert client.recent() == []
    assert client.recent("1001") == []
    assert client.unwatched == 0


async def test_a_custom_event_with_a_hostile_name_is_text(browser, client):
    """Wherever something of the caller's stands."""
    nasty = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'"
    await client.send(Event(nasty[:50], event_id=nasty, order_id=nasty, user=User(email=EMAIL, user_agent=AGENT)))
    await client.flush()
    for path in (
        "/",
        "/events",
        f"/events?q={nasty}",
        f"/events?kind={nasty}&destination={nasty}",
        f"/letters?done={nasty}",
    ):
        page = await browser.get(path)
        assert "<script>" not in page
        assert "<img" not in page
        assert page.count("<script") == 1  # our own file


async def test_a_page_of_an_empty_client_says_so(browser):
    """No heading without content."""
    assert "0 waiting" in words(await browser.get("/"))
    assert "No such event" in words(await browser.get("/events"))
    assert "keeps no dead letters" in words(await browser.get("/letters"))


@pytest.mark.parametrize("recent", [-1])
def test_a_wrong_number_of_events_is_refused(sandbox, recent):
    """At once."""
    from capi_async.errors import ConfigError

    with pytest.raises(ConfigError, match="recent_events"):
        Client(accounts(sandbox), recent_events=recent)
