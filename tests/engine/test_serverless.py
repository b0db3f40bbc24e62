"""The profile for processes that are frozen between calls: nothing is under way once a call has returned."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ConfigError, SyncClient
from capi_async.testing import assert_balanced
from tests.engine.acme import Acme, event, events
from tests.engine.server import Reply, Server, reply, until
from tests.engine.threaded_server import ThreadedServer


def client(*servers: Server, **options: Any) -> Client:
    accounts = [Acme(name=f"acme{number}", base_url=server.url) for number, server in enumerate(servers)]
    return Client(accounts, **{"profile": "serverless", "flush_s": 3, **options})


async def test_a_call_returns_with_the_answers_and_no_connection_is_left(server: Server, other: Server) -> None:
    """Without waiting for company, although ``linger_s`` is a second by default; the same for many events."""
    async with client(server, other) as capi:
        receipt = await capi.send(event("1"))
        assert {one.kind for one in receipt.known().values()} == {"delivered"}
        receipts = await capi.send_many(events(3))
        assert {one.kind for receipt in receipts for one in receipt.known().values()} == {"delivered"}
        await until(lambda: server.open_connections == other.open_connections == 0)
        assert server.connections == 2
        assert_balanced(capi)


async def test_what_was_handed_in_leaves_with_the_next_flush_and_not_before(server: Server) -> None:
    """Nothing begins while nobody waits: a frozen process would cut it off."""
    async with client(server) as capi:
        receipt = capi.enqueue(event("1"))
        await receipt.accepted()
        await asyncio.sleep(0.3)
        assert not server.got
        assert await capi.flush()
        assert receipt.known()["acme0"].kind == "delivered"


async def test_a_platform_that_never_answers_costs_no_more_than_the_bound(
    server: Server, other: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Its request is ended, not left to the freezer; the next call sends the event again, and says so in between."""
    server.script = lambda _got: Reply(until=asyncio.Event())
    async with client(server, other, flush_s=0.6) as capi:
        began = time.monotonic()
        receipt = await capi.send(event("1"))
        assert time.monotonic() - began < 3
        known = receipt.known()
        assert known["acme1"].kind == "delivered"
        assert known["acme0"].kind == "pending"
        (said,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        assert said.startswith("acme0: 1 events are not delivered yet")
        assert "are lost if this process ends before" in said
        await until(lambda: server.open_connections == 0)
        requests = len(server.got)
        await asyncio.sleep(1.2)  # a retry would be due
        assert len(server.got) == requests
        server.script = lambda _got: Reply()
        assert await capi.flush()
        assert receipt.known()["acme0"].kind == "delivered"
        assert_balanced(capi)


async def test_what_cannot_be_sent_before_the_end_is_not_waited_for(server: Server, other: Server) -> None:
    """A paused destination is not the others' burden, call after call, nor that of the close."""
    server.script = lambda _got: reply(401)
    async with client(server, other, flush_s=30) as capi:
        async with asyncio.timeout(10):
            for number in range(3):
                receipt = await capi.send(event(str(number)))
                assert receipt.known()["acme1"].kind == "delivered"
                assert receipt.known()["acme0"].kind == "pending"
            assert "paused" in (await receipt.outcomes(timeout_s=0))["acme0"].reason
            report = await capi.aclose()
    assert report.pending == {"acme0": 3}


async def test_two_calls_at_once_wait_for_what_is_theirs(server: Server) -> None:
    """The end of one does not end the other's request."""
    gate = asyncio.Event()
    server.script = lambda got: Reply(until=gate) if "slow" in got.ids else Reply()
    async with client(server) as capi:
        slow = asyncio.create_task(capi.send(event("slow")))
        await until(lambda: len(server.got) == 1)
        quick = asyncio.create_task(capi.send(event("quick")))
        await until(lambda: len(server.got) == 2)
        asyncio.get_running_loop().call_later(0.3, gate.set)
        for task in (slow, quick):
            assert (await task).known()["acme0"].kind == "delivered"


async def test_a_call_that_is_cancelled_leaves_nothing_under_way(server: Server) -> None:
    """The event is accepted and stays; the next call delivers it."""
    server.script = lambda _got: Reply(until=asyncio.Event())
    async with client(server, flush_s=0.8) as capi:
        task = asyncio.create_task(capi.send(event("1")))
        await until(lambda: len(server.got) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open_connections == 0)
        server.script = lambda _got: Reply()
        assert await capi.flush(5)
        assert capi.ledger()["acme0"].delivered == 1


async def test_a_durable_spool_keeps_what_a_call_could_not_deliver(server: Server, tmp_path: Path) -> None:
    """For the next call, in whichever process."""
    server.script = lambda _got: reply(503)
    spool = f"sqlite:///{tmp_path / 'events.db'}"
    async with client(server, spool=spool, flush_s=0.6) as capi:
        await capi.send(event("1"))
    server.script = lambda _got: Reply()
    async with client(server, spool=spool) as capi:
        await asyncio.sleep(0.7)  # its retry is due by then
        assert await capi.flush()
        assert capi.ledger()["acme0"].delivered == 1


@pytest.fixture
def threaded_server() -> Iterator[ThreadedServer]:
    """For tests without an event loop of their own."""
    server = ThreadedServer().start()
    yield server
    server.stop()


def test_each_call_may_have_an_event_loop_of_its_own(
    threaded_server: ThreadedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As handlers do that call ``asyncio.run``; the client is made once."""
    capi = Client([Acme(base_url=threaded_server.url)], profile="serverless")

    async def handler(event_id: str) -> str:
        receipt = await capi.send(event(event_id))
        return receipt.known()["acme"].kind

    assert [asyncio.run(handler(str(number))) for number in range(3)] == ["delivered"] * 3
    assert not caplog.records


def test_the_blocking_client_does_the_same(threaded_server: ThreadedServer) -> None:
    """Its thread goes on between calls, with nothing to do."""
    with SyncClient([Acme(base_url=threaded_server.url)], profile="serverless") as capi:
        assert capi.profile == "serverless"
        assert capi.track(event("1")) is not None
        assert capi.flush()
        assert threaded_server.ids == ["e1"]
        assert [one.kind for one in capi.send(event("2")).outcomes(timeout_s=0).values()] == ["delivered"]


@pytest.mark.parametrize("wrong", [{"profile": "lambda"}, {"flush_s": 0}, {"flush_s": math.nan}, {"flush_s": math.inf}])
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Client([Acme(base_url="http://127.0.0.1:9")], **{"profile": "serverless", **wrong})


async def test_a_host_that_freezes_is_named_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else would tell that what lingers there is lost; with the profile there is nothing to tell."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "shop")
    async with client(server, profile="server", linger_s=0) as capi:
        await capi.send(event("1"))
    (said,) = [one.getMessage() for one in caplog.records if "freezes" in one.getMessage()]
    assert "AWS Lambda" in said
    assert "CAPI_ASYNC_PROFILE=serverless" in said
    caplog.clear()
    async with client(server) as capi:
        await capi.send(event("2"))
    assert not caplog.records


def test_the_environment_says_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment's affair rather than the code's; a typo is refused."""
    monkeypatch.setenv("CAPI_ASYNC_MODE", "off")
    monkeypatch.setenv("CAPI_ASYNC_PROFILE", " Serverless ")
    assert Client.from_env().profile == "serverless"
    monkeypatch.setenv("CAPI_ASYNC_PROFILE", "serverles")
    with pytest.raises(ConfigError, match="CAPI_ASYNC_PROFILE is one of server, serverless"):
        Client.from_env()
