"""A real browser is led through the dashboard: by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

from capi_async import Client, Event, User
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import LOCAL, Access
from capi_async.dashboard.client_source import ClientSource
from capi_async.dashboard.serve import listen
from capi_async.dashboard.site import Dashboard
from capi_async.sandbox import Sandbox
from tests.browser.chromium import program
from tests.browser.driving import browsing
from tests.dashboard.conftest import AGENT, EMAIL, accounts, purchase
from tests.dashboard.test_durable import filled

TOKEN = "a-token-of-some-length"
NASTY = "\"><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
MAIN = "document.querySelector('main').innerText"


@asynccontextmanager
async def served(client: Client, token: str | None = None):
    site = Dashboard(
        ClientSource(client, 500), Access(token, hosts=LOCAL, clock=SYSTEM_CLOCK), durable=client.durable
    )  # fmt: skip
    runner = await listen(site, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def link(text: str) -> str:
    return f"[...document.querySelectorAll('nav a')].find(one => one.textContent === '{text}')"


def summary(text: str, number: int = 0) -> str:
    return f"[...document.querySelectorAll('summary')].filter(one => one.textContent.includes('{text}'))[{number}]"


async def test_a_person_clicks_through_the_page(tmp_path: Path) -> None:
    """From the log-in to a replay; what comes meanwhile appears by itself, and what was unfolded stays so."""
    program()
    await filled(tmp_path / "events.db", events=6, reasons=2)
    async with (
        Sandbox() as sandbox,
        Client(accounts(sandbox), spool=f"sqlite:///{tmp_path}/events.db", linger_s=0) as client,
        served(client, TOKEN) as url,
        browsing(tmp_path / "profile") as tab,
    ):
        await tab.open(url)
        await tab.click("document.querySelector('input[type=password]')")
        await tab.type("not-the-right-token-at-all")
        await tab.press("Enter", 13, "\r")
        await tab.until("document.body.innerText.includes('That is not the token')")
        await tab.click("document.querySelector('input[type=password]')")
        await tab.type(TOKEN)
        await tab.press("Enter", 13, "\r")
        await tab.until(f"{MAIN}.includes('What to do')")

        await tab.click(link("Recent events"))
        await tab.until(f"{MAIN}.includes('0 recent events')")
        await client.send(purchase("1001"))
        await client.send(Event(NASTY[:60], event_id=NASTY, user=User(email=EMAIL, user_agent=AGENT)))
        await tab.until(f"{MAIN}.includes('purchase:1001') && {MAIN}.includes('window.hacked')")  # by itself
        await tab.click(summary("purchase:1001"))
        await tab.until(f"{MAIN}.includes('Identifiers used')")
        await tab.click(summary("Wire JSON"))
        await tab.until("!!document.querySelector('details[open] details[open] pre')")
        await client.send(purchase("1002"))
        await tab.until(f"{MAIN}.includes('purchase:1002')")
        assert await tab.value("document.querySelectorAll('details[open] details[open] pre').length") == 1
        assert "1001" in await tab.value("document.querySelector('details[open] summary').textContent")
        assert await tab.value("window.hacked || null") is None
        assert EMAIL not in await tab.value("document.documentElement.outerHTML")

        await tab.click("document.querySelector('input[name=q]')")
        await tab.type("1002")
        await tab.press("Enter", 13, "\r")
        await tab.until(f"{MAIN}.includes('Events of 1002') && {MAIN}.includes('purchase:1002')")
        assert "purchase:1001" not in await tab.value(MAIN)

        await tab.click(link("Dead letters"))
        await tab.until("document.querySelectorAll('tbody tr').length === 2")
        assert await tab.value("[...document.querySelectorAll('form button')].every(one => !one.checkVisibility())")
        await tab.click(summary("Replay"))
        await tab.until("document.querySelector('details[open] button').checkVisibility()")
        await tab.click("document.querySelector('details[open] button')")
        await tab.until(f"{MAIN}.includes('3 dead letters are pending again')")
        # those that were made for another account have ended again, under another reason
        await tab.click(
            "[...document.querySelectorAll('tr')].find(one => one.innerText.includes('HTTP 50'))"
            ".querySelectorAll('summary')[1]"
        )
        await tab.until("document.querySelector('details[open] button').checkVisibility()")
        await tab.click("document.querySelector('details[open] button')")
        await tab.until(f"{MAIN}.includes('3 dead letters are forgotten')")
        assert client.ledger()["meta"].forgotten == 3
        complaints = [one for one in tab.complaints if "403" not in one and "401" not in one]
        assert complaints == []
        assert all(one.startswith((url, "data:")) for one in tab.loaded if one != "about:blank"), tab.loaded


async def test_it_is_used_by_keyboard_on_a_phone_and_in_the_dark(tmp_path: Path) -> None:
    """Nothing is wider than the window, what has the focus keeps it, and the colours are the system's."""
    program()
    async with (
        Sandbox() as sandbox,
        Client(accounts(sandbox), linger_s=0) as client,
        served(client) as url,
        browsing(tmp_path / "profile") as tab,
    ):
        sandbox.fault("snap", "status", status=400, rate=1.0)
        await tab.width(360)
        for path in ("", "events", "letters"):
            await tab.open(url + path)
            assert await tab.value("document.documentElement.scrollWidth <= window.innerWidth"), path
        await tab.open(url)
        await tab.press("Tab", 9)
        assert await tab.value("document.activeElement.textContent") == "Skip to the content"
        await tab.press("Tab", 9)
        assert await tab.value("document.activeElement.textContent") == "Destinations"
        await tab.press("Tab", 9)
        await tab.press("Enter", 13, "\r")
        await tab.until(f"{MAIN}.includes('recent events')")
        for number in range(3):
            await client.send(purchase(str(number)))
        await tab.until(f"{MAIN}.includes('purchase:2')")
        await tab.value("document.querySelectorAll('summary')[0].focus()")
        await tab.press("Enter", 13, "\r")
        await tab.until("document.querySelectorAll('details[open]').length >= 1")
        await client.send(purchase("99"))
        await tab.until(f"{MAIN}.includes('purchase:99')")
        assert await tab.value("document.activeElement.localName") == "summary"

        await tab.open(url)
        colours = {}
        for dark in (False, True):
            await tab.dark(dark)
            colours[dark] = await tab.value("getComputedStyle(document.body).backgroundColor")
        assert colours[False] != colours[True]


async def test_nothing_on_the_page_jumps_when_it_is_renewed(tmp_path: Path) -> None:
    """The browser's own measure of it, while events come and a destination breaks."""
    program()
    async with (
        Sandbox() as sandbox,
        Client(accounts(sandbox), linger_s=0) as client,
        served(client) as url,
        browsing(tmp_path / "profile") as tab,
    ):
        await client.send(purchase("1"))
        await client.flush()
        await tab.width(1200)
        await tab.open(url)
        await tab.value(
            "window.shifts = 0; new PerformanceObserver(list => { for (const one of list.getEntries())"
            " window.shifts += one.value; }).observe({type: 'layout-shift', buffered: false})"
        )
        cards = "[...document.querySelectorAll('.card')].map(one => one.getBoundingClientRect().height).join()"
        before = await tab.value(cards)
        await client.send_many([purchase(str(number)) for number in range(2, 300)])
        await client.flush()
        await tab.until(f"{MAIN}.includes('299 of 299 accepted')")
        assert await tab.value(cards) == before
        assert await tab.value("window.shifts") < 0.02
