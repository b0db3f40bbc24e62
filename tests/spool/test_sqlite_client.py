"""A client on a SQLite spool, from send to outcome, over restarts."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, ConfigError, Event, Page, SyncClient, User
from capi_async.destinations import Snap
from capi_async.errors import SpoolError
from capi_async.sandbox import Sandbox
from capi_async.spool.base import LetterFilter
from capi_async.spool.sqlite import SqliteReader, SqliteSpool, parse
from capi_async.testing import assert_balanced
from tests.spool.harness import die, eventually


def snap(sandbox: Sandbox, **settings: Any) -> Snap:
    return Snap(**{
        "pixel_id": "11111111-2222-3333-4444-555555555555", "access_token": "sandbox-token",
        "base_url": sandbox.url("snap"), **settings,
    })  # fmt: skip


def purchase(number: int) -> Event:
    return Event(
        "purchase", order_id=str(number), user=User(email=f"person{number}@example.com"),
        page=Page(url="https://shop.example/thanks"), value="12.50", currency="USD",
    )  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'events.db'}"


async def test_what_one_run_accepted_the_next_delivers(url: str) -> None:
    """And the ledger goes on counting where it was."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=500)
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            receipts = await client.send_many([purchase(number) for number in range(50)])
            report = await client.aclose(0.2)
        assert report.pending == {"snap": 50}
        assert report.where == "on disk, delivered at the next start"
        assert (await receipts[0].outcomes())["snap"].kind == "pending"
        sandbox.clear_faults()
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.flush(20)
            assert_balanced(client, ids=[one.event_id for one in receipts], pending=0)
            assert client.ledger()["snap"].delivered == 50
        arrived = {one.event["event_id"] for one in sandbox.arrivals("snap") if one.accepted}
        assert arrived == {one.event_id for one in receipts}


async def test_a_changed_account_makes_dead_letters(url: str) -> None:
    """Never sent to an account that they were not made for; replay brings them back once it is right again."""
    async with Sandbox() as sandbox:
        async with Client([snap(sandbox)], spool=url, deliver=False) as client:
            await client.send(purchase(1))
        other = snap(sandbox, pixel_id="22222222-2222-3333-4444-555555555555")
        async with Client([other], spool=url, linger_s=0) as client:
            await eventually(lambda: client.ledger()["snap"].dead == 1)
            (letter,) = await SqliteReader(parse(url)).letters(LetterFilter())
            assert letter.event_id == "purchase:1"
            assert letter.reason.startswith("configuration changed")
        assert sandbox.arrivals("snap") == []
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.replay() == {"snap": 1}
            assert await client.flush(10)
            assert client.ledger()["snap"].delivered == 1
        assert [one.event["event_id"] for one in sandbox.arrivals("snap")] == ["purchase:1"]


async def dead_letters(sandbox: Sandbox, url: str, number: int) -> None:
    """Events made for an account that the next run does not know."""
    async with Client([snap(sandbox), snap(sandbox, name="other")], spool=url, deliver=False) as client:
        await client.send_many([purchase(one) for one in range(number)])
    gone = snap(sandbox, pixel_id="22222222-2222-3333-4444-555555555555")
    async with Client([gone, snap(sandbox, name="other")], spool=url, linger_s=0) as client:
        await eventually(lambda: client.ledger()["snap"].dead == client.ledger()["other"].delivered == number)
    sandbox.clear()


async def test_a_client_replays_what_is_wanted_and_still_permitted(url: str) -> None:
    """Only to the destination that missed it; by the command line's filters, and with a word about consent."""
    async with Sandbox() as sandbox:
        await dead_letters(sandbox, url, 4)
        async with Client([snap(sandbox), snap(sandbox, name="other")], spool=url, linger_s=0) as client:
            assert await client.replay(destination="other") == {}
            assert await client.replay(kind="uncertain") == {}
            assert await client.replay(reason="nothing of the kind") == {}
            assert await client.replay(until=datetime.now(UTC) - timedelta(hours=1)) == {}
            assert await client.replay(event_id="purchase:3") == {"snap": 1}
            asked: list[str] = []

            def permitted(event_id: str) -> bool:
                asked.append(event_id)
                return event_id != "purchase:1"

            since = datetime.now(UTC) - timedelta(hours=1)
            assert await client.replay(since=since, limit=2, permitted=permitted) == {"snap": 1}
            assert asked == ["purchase:0", "purchase:1"]
            with pytest.raises(ConfigError, match="since needs an offset"):
                await client.replay(since=datetime(2026, 1, 1))  # noqa: DTZ001
            assert await client.flush(10)
            counts = client.ledger()["snap"]
            assert (counts.accepted, counts.delivered, counts.skipped, counts.dead) == (4, 2, 1, 1)
            assert_balanced(client, pending=0)
        arrived = [one.event["event_id"] for one in sandbox.arrivals("snap")]
        assert arrived == ["purchase:3", "purchase:0"]


async def test_what_has_grown_too_old_is_expired_instead_of_replayed(url: str) -> None:
    """Snap takes events of the last seven days."""

    class Later:
        def monotonic(self) -> float:
            return time.monotonic()

        def wall(self) -> float:
            return time.time() + 8 * 86_400

    async with Sandbox() as sandbox:
        await dead_letters(sandbox, url, 2)
        client = Client([snap(sandbox), snap(sandbox, name="other")], spool=url, linger_s=0, clock=Later())
        async with client:
            assert await client.replay() == {}
            counts = client.ledger()["snap"]
            assert (counts.expired, counts.dead, counts.pending) == (2, 0, 0)
        assert sandbox.arrivals("snap") == []


def test_the_blocking_client_replays_as_well(url: str) -> None:
    """And in memory there is nothing to replay."""
    gone = Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="t", base_url="http://127.0.0.1:9")
    with SyncClient([gone], spool=url) as client:
        assert client.replay(destination="snap", limit=1) == {}
    with SyncClient([gone]) as client:
        assert client.replay() == {}


async def test_a_web_process_accepts_and_a_worker_delivers(url: str) -> None:
    """Two clients, one file."""
    async with (
        Sandbox() as sandbox,
        Client([snap(sandbox)], spool=url, deliver=False) as web,
        Client([snap(sandbox)], spool=url, linger_s=0) as worker,
    ):
        receipts = await web.send_many([purchase(number) for number in range(20)])
        await eventually(lambda: worker.ledger()["snap"].delivered == 20)
        assert web.ledger() == worker.ledger()
        assert (await receipts[0].outcomes())["snap"].kind == "pending"


async def test_a_request_that_a_crash_cut_off_is_resent_inside_the_window(url: str) -> None:
    """Snap recognises the copy, and the outcome says that there may be one."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "hang", after=True, count=1)
        spool = SqliteSpool(parse(url))
        crashed = Client([snap(sandbox)], spool=spool, linger_s=0)
        await crashed.__aenter__()
        await crashed.send(purchase(1))
        await eventually(lambda: len(sandbox.arrivals("snap")) == 1)
        await die(spool)
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.flush(10)
            assert client.ledger()["snap"].delivered == 1
        assert sandbox.stats()["snap"].duplicates == 1
        await crashed.aclose(0)


async def test_a_spool_that_cannot_be_opened_is_the_caller_s_to_know(tmp_path: Path) -> None:
    """At the start, by name."""
    async with Sandbox() as sandbox:
        client = Client([snap(sandbox)], spool=f"sqlite:///{tmp_path / 'nowhere' / 'events.db'}")
        with pytest.raises(SpoolError, match="nowhere"):
            async with client:
                pass


def test_one_event_loop_may_follow_another(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also without closing in between: what the first accepted, the second delivers."""

    async def main() -> None:
        async with Sandbox() as sandbox:
            clients.append(Client([snap(sandbox)], spool=url, linger_s=30))
            await clients[0].send(purchase(1))

    async def again() -> None:
        async with Sandbox() as sandbox:
            client = clients[0]
            await client.send(purchase(2))
            assert client.ledger()["snap"].pending == 2
            assert sandbox.arrivals("snap") == []
            await client.aclose(0)

    clients: list[Client] = []
    with caplog.at_level(logging.CRITICAL):
        asyncio.run(main())
        asyncio.run(again())


async def test_clients_on_one_file_share_the_platforms_rate(url: str) -> None:
    """However many there are, no second holds more requests than one client may make."""
    rate = {"requests_per_s": 20, "burst": 1, "max_batch_events": 1}
    async with Sandbox() as sandbox:
        clients = [Client([snap(sandbox, **rate)], spool=url, linger_s=0) for _ in range(2)]
        async with clients[0], clients[1]:
            for number, client in enumerate(clients):
                await client.send_many([purchase(number * 100 + index) for index in range(15)])
            assert all([await client.flush(20) for client in clients])
        times = sorted(one.received_at for one in sandbox.arrivals("snap"))
    assert len(times) == 30
    # one more for the token that was there at the start; arrival times wobble by less than another
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[22:], strict=False))
