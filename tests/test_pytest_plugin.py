"""What the plug-in gives to tests of other people's applications, tried in sessions of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from capi_async import Event, Page, User
from capi_async.destinations import Snap
from capi_async.testing import Recorder

#: An application as its author would write it, and tests of which some forget that platforms are real.
TESTS = """
    import unittest

    import aiohttp
    import pytest
    import pytest_asyncio

    from capi_async import Client, Event, Page, SyncClient, User
    from capi_async.destinations import Snap
    from capi_async.testing import NoLiveRequests

    PIXEL = "11111111-2222-3333-4444-555555555555"

    def snap(**settings):
        return Snap(**{"pixel_id": PIXEL, "access_token": "a-secret-token", **settings})

    def purchase(number):
        user, page = User(email="a@b.example"), Page(url="https://shop.example/thanks")
        return Event("purchase", order_id=number, value="72.39", currency="USD", user=user, page=page)

    async def checkout(client, number="1001"):
        receipt = await client.send(purchase(number))
        return (await receipt.outcomes(timeout_s=0.5))["snap"].kind

    async def test_forgetful():
        async with Client([snap()], linger_s=0) as client:
            await checkout(client)
            await client.aclose(0)

    async def test_own_session():
        async with aiohttp.ClientSession() as session, Client([snap()], linger_s=0, session=session) as client:
            await checkout(client)
            await client.aclose(0)

    async def proxied(monkeypatch):
        # connections go to a proxy that nobody runs, so that not even a marked test reaches anybody
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        async with Client([snap()], linger_s=0, trust_env=True) as client:
            assert await checkout(client) == "pending"
            await client.aclose(0)

    @pytest.mark.capi_live
    async def test_marked(monkeypatch):
        await proxied(monkeypatch)

    async def test_proxied(monkeypatch):
        await proxied(monkeypatch)

    async def test_recorded(capi_recorder):
        async with capi_recorder.client as client:
            assert await checkout(client) == "delivered"

    async def test_answered(monkeypatch):
        async def request(*_, **__):
            raise aiohttp.ServerDisconnectedError
        monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
        async with Client([snap()], linger_s=0) as client:
            assert await checkout(client) == "pending"
            await client.aclose(0)

    def test_sandboxed(capi_sandbox):
        moved = snap(access_token="sandbox-token", base_url=capi_sandbox.url("snap"))
        with SyncClient([moved], linger_s=0) as client:
            assert client.send(purchase("1")).outcomes(timeout_s=10)["snap"].kind == "delivered"
        assert capi_sandbox.arrivals("snap")[0].event["event_id"] == "purchase:1"

    @pytest_asyncio.fixture
    async def client():
        async with Client([snap()], linger_s=30) as client:
            yield client
            await client.aclose(0.5)

    async def test_by_a_fixture(client):
        client.track(purchase("1"))
"""

UNITTESTS = (
    TESTS[: TESTS.index("    async def test_forgetful")]
    + """
    class TestShop(NoLiveRequests, unittest.IsolatedAsyncioTestCase):
        async def test_forgetful(self):
            async with Client([snap()], linger_s=0) as client:
                await checkout(client)
                await client.aclose(0)
"""
)


def run(folder: Path, tests: str, *command: str) -> str:
    """What a session over one file of tests says, with no other plug-ins than those that it needs."""
    (folder / "test_app.py").write_text(textwrap.dedent(tests), "utf-8")
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One session over all tests of an application."""
    folder = tmp_path_factory.mktemp("app")
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "capi_async.testing.pytest_plugin", "-p", "no:cacheprovider")
    return run(folder, TESTS, "pytest", "-rA", "--tb=short", "--strict-markers", "-o", "asyncio_mode=auto", *plugins)


@pytest.mark.parametrize("name", ["test_forgetful", "test_own_session", "test_proxied"])
def test_a_test_that_reaches_a_platform_fails_and_says_what_to_do(session: str, name: str) -> None:
    """By the client's session, its own or through a proxy: with its name, the host and the way out."""
    assert f"FAILED test_app.py::{name} - " in session
    assert f"test_app.py::{name} would have sent a request to tr.snapchat.com" in session
    assert "@pytest.mark.capi_live" in session
    assert "a-secret-token" not in session.replace(textwrap.dedent(TESTS), "").replace('"a-secret-token"', "")


def test_a_request_from_a_fixture_fails_the_test_that_it_belongs_to(session: str) -> None:
    """Also what leaves while a client is closed."""
    assert "ERROR test_app.py::test_by_a_fixture - " in session
    assert "test_app.py::test_by_a_fixture would have sent a request to tr.snapchat.com" in session


@pytest.mark.parametrize("name", ["test_marked", "test_recorded", "test_answered", "test_sandboxed"])
def test_a_test_that_reaches_nobody_or_may_is_left_alone(session: str, name: str) -> None:
    """Marked, with the fixtures, or with something that answers without a connection, as aioresponses does."""
    assert f"PASSED test_app.py::{name}\n" in session


def test_unittest_cases_are_guarded_too(tmp_path: Path) -> None:
    """By a base class, without pytest."""
    said = run(tmp_path, UNITTESTS, "unittest", "test_app")
    assert "FAILED (" in said
    assert "test_forgetful would have sent a request to tr.snapchat.com" in said


# The recorder.


def purchase(number: str = "1001", **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "order_id": number,
        "value": "72.39",
        "currency": "USD",
        "user": User(email="a@b.example", external_id="7"),
        "page": Page(url="https://shop.example/thanks"),
    }
    return Event("purchase", **(fields | changes))


async def test_a_recorder_shows_the_event_and_what_each_platform_is_sent(capi_recorder: Recorder) -> None:
    """Canonical, and in each platform's own words, as its strict sandbox took it."""
    async with capi_recorder.client as client:
        receipt = await client.send(purchase())
        outcomes = await receipt.outcomes(timeout_s=10)
    # some platforms know nobody by what this event says
    assert {outcome.kind for outcome in outcomes.values()} <= {"delivered", "skipped"}
    assert outcomes["meta"].kind == outcomes["pinterest"].kind == "delivered"
    event = capi_recorder.sent("purchase", order_id="1001", value="72.39", user__external_id="7")
    assert event.value == Decimal("72.39")
    assert capi_recorder.wire("meta")[0]["event_name"] == "Purchase"
    assert capi_recorder.wire("pinterest")[0]["event_name"] == "checkout"
    capi_recorder.clear()
    capi_recorder.not_sent("purchase")
    assert capi_recorder.wire("meta") == []


async def test_what_was_not_sent_is_told_with_the_difference(capi_recorder: Recorder) -> None:
    """Without what identifies a person."""
    async with capi_recorder.client as client:
        with pytest.raises(AssertionError, match="nothing was sent at all"):
            capi_recorder.sent("purchase")
        await client.send(purchase("1002"))
        await client.send(Event("lead", user=User(external_id="7"), page=Page(url="https://shop.example/")))
        await client.send(purchase("1003"))
    with pytest.raises(AssertionError) as told:
        capi_recorder.sent("purchase", order_id="1001", user__email="x@y.example")
    assert "no event 'purchase', order_id='1001', user__email=... was sent" in str(told.value)
    assert "order_id is '1002', user__email is another" in str(told.value)
    assert "a@b.example" not in str(told.value)
    with pytest.raises(AssertionError, match="has no field 'ordr_id'"):
        capi_recorder.sent("purchase", ordr_id="1001")
    with pytest.raises(AssertionError, match="none should have been"):
        capi_recorder.not_sent("purchase")
    with pytest.raises(AssertionError, match="2 events 'purchase' were sent, not one"):
        capi_recorder.sent("purchase")


def test_without_an_event_loop_a_recorder_waits_for_what_was_tracked() -> None:
    """``track`` returns before the event was looked at."""
    recorder = Recorder([Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="real")])
    with recorder.sync_client as client:
        client.track(purchase())
        assert recorder.sent("purchase").order_id == "1001"
        assert client.flush(timeout_s=10)
    assert recorder.wire("snap")[0]["event_id"] == "purchase:1001"
    recorder.close()


async def test_before_send_of_the_application_comes_before_the_recorder() -> None:
    """What it vetoes was not sent."""
    recorder = Recorder(before_send=lambda event: None if event.order_id == "1" else event)
    async with recorder.client as client:
        await client.send(purchase("1"))
        await client.send(purchase("2"))
    recorder.not_sent("purchase", order_id="1")
    recorder.sent("purchase", order_id="2")
