"""Troubles that are neither an outage nor a wrong token: log, receipt, metrics and doctor name them, and what helps."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
import ssl
from pathlib import Path

import pytest
import trustme

from capi_async import Client, Event, Page, SpoolError, User
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import Access
from capi_async.dashboard.client_source import ClientSource
from capi_async.dashboard.site import Dashboard
from capi_async.destinations import Snap, Webhook
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination
from capi_async.telemetry.prometheus import exposition
from tests.dashboard.asking import Browser, words
from tests.engine.server import Reply, serving, until

TOKEN = "never-in-any-text-0042"
PERSON = "ann@shop.example"
PAGE = b"<!doctype html><title>Hotel network: please sign in</title>"


def _event(number: int = 0) -> Event:
    return Event(
        "sign_up", event_id=f"e{number}", user=User(email=PERSON), page=Page(url="https://shop.example/signup")
    )


def _snap(url: str) -> Snap:
    return Snap(pixel_id="00000000-0000-4000-8000-000000000001", access_token=TOKEN, base_url=url)


def _said(caplog: pytest.LogCaptureFixture) -> str:
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert TOKEN not in text
    assert PERSON not in text
    return text


async def test_a_platform_that_throttles_is_named_with_its_words_and_what_helps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is open, so no state says why its events wait."""
    caplog.set_level(logging.INFO, logger="capi_async")
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=429, retry_after_s=90)
        snap = Snap(
            pixel_id="00000000-0000-4000-8000-000000000001", access_token="sandbox-token", base_url=sandbox.url("snap")
        )
        async with Client([snap], linger_s=0) as client:
            receipt = await client.send(_event())
            await until(lambda: client.snapshot().destinations["snap"].throttled != "")
            waiting = (await receipt.outcomes(timeout_s=0))["snap"]
            seen = client.snapshot().destinations["snap"]
            report = await client.check()
            metrics = exposition(client)
            await client.aclose(deadline_s=0.5)
    assert waiting.kind == "pending"
    assert waiting.reason.startswith("snap is throttled: HTTP 429")
    assert waiting.fix.endswith("ask the platform for more")
    assert (seen.state, seen.waiting, seen.rate_factor) == ("open", 1, 0.5)
    [told] = [one for one in report.findings if (one.subject, one.check) == ("snap", "deliveries")]
    assert told.level == "warning"
    assert told.text.startswith("throttled: HTTP 429")
    assert "send less" in told.fix
    assert 'capi_rate_factor{destination="snap"} 0.5' in metrics
    said = _said(caplog)
    assert "snap: throttled: HTTP 429" in said
    assert "then 50 % of the usual rate; nothing to do unless it comes again" in said


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("kind", ["snap", "webhook"])
async def test_a_page_with_status_200_is_told_as_what_it_is(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """A network that wants a login answers anything with its page: neither a success, nor the platform's trouble."""
    caplog.set_level(logging.INFO, logger="capi_async")
    async with serving() as server:
        server.script = lambda _request: Reply(200, PAGE, {"Content-Type": "text/html"})
        to: Destination = (
            _snap(server.url) if kind == "snap" else Webhook(url=f"{server.url}/hook", secret=TOKEN, resend="always")
        )
        async with Client([to], linger_s=0) as client:
            await client.send_many([_event(number) for number in range(6)])
            await until(lambda: client.snapshot().destinations[kind].state == "broken")
            metrics = exposition(client)
            report = await client.check()
            await client.aclose(deadline_s=0.5)
    assert f'capi_destination_held{{destination="{kind}",reason="edge"}} 1' in metrics
    said = _said(caplog)
    assert "HTTP 200 with a page instead of an answer" in said
    assert "what answers is not the platform: look at its address (base_url), proxies and firewalls on the way" in said
    accounts = [one for one in report.findings if (one.subject, one.check) == (kind, "account")]
    assert all(one.level != "ok" for one in accounts)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    ("days", "host", "why"),
    [
        ((-3, -1), "127.0.0.1", "the certificate has expired"),
        ((1, 3), "127.0.0.1", "the certificate is not valid yet"),
        ((-1, 1), "other.example", "the certificate is of another host"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_said(
    caplog: pytest.LogCaptureFixture, days: tuple[int, int], host: str, why: str
) -> None:
    """An expired one, and one of tomorrow, may mean this machine's clock; one of another host, the address."""
    caplog.set_level(logging.INFO, logger="capi_async")
    authority = trustme.CA()
    now = dt.datetime.now(dt.UTC)
    begins, ends = (now + dt.timedelta(days=one) for one in days)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host, not_before=begins, not_after=ends).configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    async with serving(theirs) as server, Client([_snap(server.url)], linger_s=0, ssl=ours) as client:
        await client.send_many([_event(number) for number in range(6)])
        await until(lambda: client.snapshot().destinations["snap"].state == "broken")
        report = await client.check()
        metrics = exposition(client)
        await client.aclose(deadline_s=0.5)
    assert f"snap: broken: no answer (tls: {why})" in _said(caplog)
    [reach] = [one for one in report.findings if (one.subject, one.check) == ("snap", "reach")]
    assert why in reach.text
    assert "clock" in reach.fix
    # the label stays one of a bounded set
    assert 'capi_requests_total{destination="snap",status="tls"}' in metrics


@pytest.mark.usefixtures("short_waits")
async def test_another_cause_of_the_same_state_is_told_with_what_helps_against_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The fix that is shown is never that of a cause that has passed."""
    caplog.set_level(logging.INFO, logger="capi_async")
    async with serving() as server:
        server.script = lambda _request: Reply(503, b"")
        async with Client([_snap(server.url)], linger_s=0) as client:
            await client.send_many([_event(number) for number in range(6)])
            await until(lambda: client.snapshot().destinations["snap"].state == "broken")
            first = client.snapshot().destinations["snap"]
            server.script = lambda _request: Reply(200, PAGE)
            await until(lambda: client.snapshot().destinations["snap"].reason_code == "edge")
            second = client.snapshot().destinations["snap"]
            await client.aclose(deadline_s=0.5)
    assert (first.reason_code, first.fix) == (
        "server_error",
        "nothing to do unless it lasts: then look at the platform's status page",
    )
    assert (second.state, second.state_at) == ("broken", first.state_at)
    assert second.fix.startswith("what answers is not the platform")
    assert "snap: still broken, and now: HTTP 200 with a page instead of an answer" in _said(caplog)


async def test_a_locked_spool_file_is_told_by_metrics_page_and_doctor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is stored meanwhile, so no outcome tells of it."""
    caplog.set_level(logging.INFO, logger="capi_async")
    path = tmp_path / "events.db"
    async with serving() as server, Client([_snap(server.url)], linger_s=0, spool=f"sqlite:///{path}") as client:
        assert "\ncapi_storage_away_seconds 0\n" in exposition(client)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SpoolError):
            await client.send(_event(), timeout_s=0.2)
        away_s = client.snapshot().storage_away_s
        report = await client.check()
        access = Access(None, hosts=None, clock=SYSTEM_CLOCK)
        page = words(await Browser(Dashboard(ClientSource(client, 100), access, durable=True)).get("/"))
        other.execute("ROLLBACK")
        other.close()
        await client.send(_event(1))
        assert client.snapshot().storage_away_s == 0
    [told] = [one for one in report.findings if (one.subject, one.check) == ("spool", "storage")]
    assert (told.level, told.fix) == ("failure", "see the log for the reason, and to Redis or the disk")
    assert away_s > 0
    assert "out of reach, full or locked" in page
    assert "is locked by another process" in _said(caplog)
