"""A real browser is led through the sandbox's page."""

from __future__ import annotations

from pathlib import Path

from capi_async import Client
from capi_async.sandbox import Sandbox
from tests.browser.chromium import program
from tests.browser.driving import browsing
from tests.dashboard.conftest import accounts, purchase

MAIN = "document.querySelector('main').innerText"


def button(text: str) -> str:
    return f"[...document.querySelectorAll('main button')].find(one => one.textContent === '{text}')"


async def test_a_person_sees_events_and_steers_faults(tmp_path: Path) -> None:
    """Bodies unfold and stay so, a fault goes on and off, the filter filters, and clear clears."""
    program()
    async with (
        Sandbox() as sandbox,
        Client(accounts(sandbox), linger_s=0) as client,
        browsing(tmp_path / "profile") as tab,
    ):
        url = f"{sandbox.base_url}/"
        await tab.width(360)
        await tab.open(url)
        assert await tab.value("document.documentElement.scrollWidth <= window.innerWidth")
        await tab.width(1200)
        assert "Nothing has arrived yet." in await tab.value(MAIN)
        await client.send(purchase("1001"))
        await tab.until(f"{MAIN}.includes('purchase:1001') && document.querySelectorAll('details').length === 2")
        await tab.click("document.querySelector('details summary')")
        await tab.until("!!document.querySelector('details[open] pre')")
        await client.send(purchase("1002"))
        await tab.until("document.querySelectorAll('details').length === 4")
        assert "1001" in await tab.value("document.querySelector('details[open] pre').textContent")

        await tab.value("document.querySelector('form[action$=fault-on] select[name=platform]').value = 'snap'")
        await tab.click(button("On"))
        await tab.until(f"{MAIN}.includes('status 503')")
        [fault] = sandbox.faults()
        assert (fault.platform, fault.kind, fault.status) == ("snap", "status", 503)
        await tab.click(button("Off"))
        await tab.until(f"!{MAIN}.includes('status 503')")
        assert sandbox.faults() == []

        await tab.value("document.querySelector('form[role=search] select[name=platform]').value = 'meta'")
        await tab.click("document.querySelector('form[role=search] input[name=q]')")
        await tab.type("purchase:1002")
        await tab.press("Enter", 13, "\r")
        await tab.until("document.querySelectorAll('details').length === 1")
        assert "platform=meta" in await tab.value("location.search")

        await tab.click(button("Clear"))
        await tab.until(f"{MAIN}.includes('No such event among the newest')")
        assert "platform=meta" in await tab.value("location.search")
        assert sandbox.arrivals() == []
        assert tab.complaints == []
        assert all(one.startswith((url, "data:")) for one in tab.loaded if one != "about:blank"), tab.loaded
