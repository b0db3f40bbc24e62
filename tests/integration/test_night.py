"""Three in the morning: the log, the metrics, the doctor or the page, each alone, say what is wrong and what helps.

One destination refuses one event in twenty, one has a wrong token, one is down, and one is slow.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest

from capi_async import Client, Event, Page, User
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import Access
from capi_async.dashboard.client_source import ClientSource
from capi_async.dashboard.site import Dashboard
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.doctor import Report
from capi_async.sandbox import Sandbox
from capi_async.telemetry.prometheus import exposition
from tests.dashboard.asking import Browser, words
from tests.engine.server import until

PEOPLE = 40
WRONG = "never-in-any-text-0042"
#: Seconds that the slow platform takes; the destination's bound is below.
SLOW_S = 1.5


class Night(NamedTuple):
    """What was to be seen at its end.

    Attributes:
        log: Lines at INFO and above.
        metrics: One scrape.
        report: What the doctor found.
        outcomes: Destination to the texts of what its outcomes say.
        page: What the dashboard says is to be done, line by line.
    """

    log: list[str]
    metrics: str
    report: Report
    outcomes: Mapping[str, set[str]]
    page: list[str]

    def everything(self) -> str:
        """All texts."""
        return "\n".join([*self.log, self.metrics, repr(self.report), repr(self.outcomes), *self.page])


def event(number: int) -> Event:
    """An order; of every twentieth nobody knows the value, which a purchase at Snap and others cannot do without."""
    return Event(
        "purchase",
        order_id=f"order-{number}",
        value=None if number % 20 == 7 else "12.50",
        currency=None if number % 20 == 7 else "EUR",
        user=User(email=f"person{number}@shop.example", phone=f"+4930123{number:04}", ip="203.0.113.77"),
        page=Page(url="https://shop.example/thanks"),
    )


@pytest.fixture
async def night(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Night]:
    """Played once, watched by each."""
    caplog.set_level(logging.INFO, logger="capi_async")
    async with Sandbox() as sandbox:
        sandbox.fault("meta", "status", status=503)
        sandbox.fault("pinterest", "latency", latency_s=SLOW_S)
        destinations = [
            Snap(
                pixel_id="00000000-0000-4000-8000-000000000001", access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            TikTok(pixel_code="C00000000SANDBOX0001", access_token=WRONG, base_url=sandbox.url("tiktok")),
            Meta(pixel_id="1000000000000001", access_token="sandbox-token", base_url=sandbox.url("meta")),
            Pinterest(
                ad_account_id="549755885175", access_token="sandbox-token", base_url=sandbox.url("pinterest"),
                request_timeout_s=0.3,
            ),
        ]  # fmt: skip
        client = Client(destinations, linger_s=0.01)
        browser = Browser(
            Dashboard(ClientSource(client, 500), Access(None, hosts=None, clock=SYSTEM_CLOCK), durable=False)
        )
        await client.__aenter__()
        receipts = [await client.send(event(number)) for number in range(PEOPLE)]
        await until(lambda: [one.state for one in client.states().values()] == ["open", "paused", "broken", "broken"])
        await until(lambda: client.ledger()["snap"].pending == 0)
        metrics = exposition(client)
        outcomes: dict[str, set[str]] = {name: set() for name in client.ledger()}
        for receipt in receipts:
            for name, outcome in (await receipt.outcomes(timeout_s=0)).items():
                outcomes[name].add(f"{outcome.kind} {outcome.field} {outcome.reason} {outcome.fix}")
        report = await client.check()
        page = await browser.get("/")
        page = [words(one) for one in re.findall(r"<li>.*?</li>", page)] + [await browser.get("/events")]
        await client.aclose(0.5)
        yield Night([one.getMessage() for one in caplog.records], metrics, report, outcomes, page)


def said(texts: list[str], *words: str) -> str:
    """The text in which all of these stand.

    Raises:
        AssertionError: There is none.
    """
    found = [text for text in texts if all(word.lower() in text.lower() for word in words)]
    assert found, f"{words} stand in none of:\n" + "\n".join(texts)
    return found[0]


async def test_each_view_alone_tells_what_is_wrong_and_what_helps(night: Night) -> None:
    """Log, metrics, doctor, outcomes and page name each of the troubles; none holds a person's data or a credential."""
    # the log
    refusal = said(night.log, "snap", "rejected", "value")
    assert "for example event purchase:order-" in refusal
    said(night.log, "tiktok", "paused", "token", "wait", "check access_token")
    said(night.log, "meta", "broken", "503", "wait", "status page")
    said(night.log, "pinterest", "broken", "timeout", "raise request_timeout_s")
    # the metrics
    lines = night.metrics.splitlines()
    assert value_of(lines, "capi_outcomes_total", "snap", 'outcome="rejected"') == 2
    assert value_of(lines, "capi_refusals_total", "snap", 'field="value"') == 2
    assert value_of(lines, "capi_destination_state", "tiktok", 'state="paused"') == 1
    assert value_of(lines, "capi_destination_held", "tiktok") == 1
    assert value_of(lines, "capi_requests_total", "meta", 'status="503"') >= 5
    assert value_of(lines, "capi_destination_state", "meta", 'state="broken"') == 1
    assert value_of(lines, "capi_requests_total", "pinterest", 'status="timeout"') >= 5
    assert value_of(lines, "capi_pending_events", "meta") > 0
    assert value_of(lines, "capi_oldest_pending_seconds", "meta") > 0
    # what callers hold
    assert any("rejected value" in one for one in night.outcomes["snap"])
    for name, parts in (("tiktok", ("paused", "token")), ("meta", ("broken", "503")), ("pinterest", ("broken",))):
        assert any(all(word in one.lower() for word in ("pending", *parts)) for one in night.outcomes[name])
    # the doctor, who looks at accounts and the way to them
    assert not night.report.ok
    findings = [f"{one.subject} {one.level} {one.check} {one.text} {one.fix}" for one in night.report.findings]
    said(findings, "snap", "2 of 40 events rejected", "value", "set value")
    said(findings, "tiktok", "failure", "paused", "token", "check access_token")
    said(findings, "meta", "failure", "broken", "503", "38 events waiting", "status page")
    said(findings, "pinterest", "failure", "broken", "timeout", "raise request_timeout_s (0.3)")
    # the page
    said(night.page[:-1], "snap: 2 rejected", "5%", "mostly value:", "set value")
    said(night.page[:-1], "tiktok: refuses the account", "token", "wait", "check access_token")
    said(night.page[:-1], "meta: does not answer", "503", "38 events wait", "status page")
    said(night.page[:-1], "pinterest: does not answer", "timeout", "raise request_timeout_s")
    # nobody's data
    everything = night.everything()
    assert WRONG not in everything
    for number in range(PEOPLE):
        address = f"person{number}@shop.example"
        assert address not in everything
        assert hashlib.sha256(address.encode()).hexdigest() not in everything
        assert f"4930123{number:04}" not in everything
    assert "203.0.113.77" not in everything


def value_of(lines: list[str], metric: str, destination: str, label: str = "") -> float:
    """The largest value of a metric of a destination."""
    found: list[Any] = [
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith(f"{metric}{{") and f'destination="{destination}"' in line and label in line
    ]
    assert found, f"{metric} of {destination} {label}"
    return float(max(found))
