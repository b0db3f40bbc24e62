"""Handing in from other threads than the event loop's, and without exceptions."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from capi_async import Client, ClientClosed, EventError, QueueFull, SyncClient, User
from tests.chaos.threads import arrivals
from tests.engine.acme import EMAIL, Acme, event
from tests.engine.server import Reply, Server, reply

pytestmark = pytest.mark.usefixtures("short_waits")


def client(server: Server, **options: Any) -> Client:
    return Client([Acme(base_url=server.url)], **{"linger_s": 0, **options})


async def test_a_thread_hands_events_in(server: Server) -> None:
    """As FastAPI's plain routes do; the receipt is as any other, and events of one thread keep their order."""
    async with client(server) as sender:
        receipts = await asyncio.to_thread(lambda: [sender.enqueue(event(number)) for number in range(50)])
        for receipt in receipts:
            await receipt.accepted()
            assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"
        last = await asyncio.to_thread(sender.track, event(99))
        assert last is not None
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 51
    assert server.ids == [f"e{number}" for number in (*range(50), 99)]


async def test_what_threads_hand_in_is_bounded_and_waits_for_room_in_the_intake(server: Server) -> None:
    """A clear no beyond the bound; what was taken arrives."""
    async with client(server, max_intake_events=4) as sender:

        def fill() -> int:
            taken = 0
            try:
                while taken < 1_000:
                    sender.enqueue(event(taken))
                    taken += 1
            except QueueFull as error:
                refused.append(error.stored)
            return taken

        refused: list[bool | None] = []
        thread_done: list[int] = []
        thread = threading.Thread(target=lambda: thread_done.append(fill()))
        thread.start()
        thread.join(10)  # the loop stands still meanwhile, so that nothing is taken over
        assert thread_done == [4]
        assert refused == [False]
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 4


async def test_a_close_tells_threads_no_and_counts_what_did_not_fit(server: Server) -> None:
    """Nobody is left waiting for an event that is nowhere."""
    sender = client(server, max_intake_events=2)
    async with sender:
        for number in range(2):
            sender.enqueue(event(number))
        receipts: list[Any] = []
        thread = threading.Thread(target=lambda: receipts.extend(sender.enqueue(event(n)) for n in (5, 6)))
        thread.start()
        thread.join(10)
        report = await sender.aclose(5)
        assert report.unstored == 2
        for receipt in receipts:
            with pytest.raises(ClientClosed) as raised:
                await receipt.accepted()
            assert raised.value.stored is False
        with pytest.raises(ClientClosed):
            await asyncio.to_thread(sender.enqueue, event(7))
    assert server.ids == ["e0", "e1"]


def test_without_an_event_loop_it_says_what_to_do() -> None:
    """In words of our own, for every call."""
    sender = Client([Acme(base_url="http://127.0.0.1:1")])
    with pytest.raises(ClientClosed, match="no asyncio event loop runs here: enter the client"):
        sender.enqueue(event())
    coroutine = sender.send(event())
    with pytest.raises(ClientClosed, match="or under trio, use SyncClient") as raised:
        coroutine.send(None)
    assert raised.value.stored is False
    assert sender.track(event()) is None
    assert sender.untracked == {"closed": 1}


async def test_track_never_raises(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is given to it: it counts, and says the first of each kind with what to do, without personal data."""
    async with client(server) as sender:
        good = sender.track("purchase", event_id="g1", user=User(email=EMAIL), value="12.50", currency="EUR")
        assert good is not None
        assert sender.track(event(2)) is not None
        bad: list[tuple[Any, dict[str, Any]]] = [
            ("purchase", {"value": "much"}),
            ("purchase", {"value": "more"}),
            ("purchase", {"nonsense": EMAIL}),
            ("purchase", {EMAIL: 1}),
            ("lead", {"user": {"email": EMAIL}}),
            (None, {}),
            (event(3), {"value": 1}),
            (event(4, currency="XXQ", value=1), {}),
            (event(5, to=["nobody"]), {}),
        ]
        for what, fields in bad:
            assert sender.track(what, **fields) is None
        assert sender.untracked == {"malformed": len(bad)}
        assert await sender.flush(5)
    assert sorted(server.ids) == ["e2", "g1"]
    assert sender.track(event(6)) is None
    assert sender.untracked == {"malformed": len(bad), "closed": 1}
    said = [record for record in caplog.records if record.getMessage().startswith("track: an event was not taken")]
    assert {record.levelno for record in said} == {logging.WARNING}
    assert any("value: " in record.getMessage() and record.getMessage().endswith("mend the call") for record in said)
    assert EMAIL not in caplog.text


async def test_track_counts_what_could_not_be_stored_later(server: Server) -> None:
    """It had been taken, and storage failed."""
    from capi_async import SpoolError
    from capi_async.spool.memory import MemorySpool

    class Full(MemorySpool):
        async def append(self, *_arguments: Any, **_options: Any) -> None:
            raise SpoolError("disk full")

    async with client(server, spool=Full()) as sender:
        receipt = sender.track(event())
        assert receipt is not None
        with pytest.raises(SpoolError):
            await receipt.accepted()
        assert sender.untracked == {"storage": 1}


async def test_a_blocking_client_tracks_without_waiting(server: Server) -> None:
    """Not even for the spool: the first call starts it, and what waited is delivered once it is open."""
    gate = threading.Event()

    from capi_async.spool.memory import MemorySpool

    class Slow(MemorySpool):
        async def open(self, *arguments: Any, **options: Any) -> None:
            await asyncio.to_thread(gate.wait, 30)
            await super().open(*arguments, **options)

    sender = SyncClient([Acme(base_url=server.url)], spool=Slow(), linger_s=0)
    receipt = sender.track(event(1))
    assert receipt is not None
    assert sender.track("purchase", value="x") is None
    gate.set()
    found = await asyncio.to_thread(receipt.outcomes, 10)
    assert found["acme"].kind == "delivered"
    await asyncio.to_thread(sender.close, 5)
    assert sender.track(event(2)) is None
    assert sender.untracked == {"malformed": 1, "closed": 1}


def test_a_program_that_tracks_and_ends_at_once_delivers() -> None:
    """The event is still in the first queue when the interpreter begins to end; a host's name is looked up then."""
    code = (
        "import sys\n"
        "from capi_async import SyncClient\n"
        "from tests.engine.acme import Acme, event\n"
        "client = SyncClient([Acme(base_url=sys.argv[1])], linger_s=60)\n"
        "client.track(event(1))\n"
    )
    with arrivals() as (url, ids):
        address = url.replace("127.0.0.1", "localhost")
        done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert ids == {"e1"}


async def test_a_malformed_event_off_the_loop_is_named(server: Server) -> None:
    """In the thread that handed it in."""
    async with client(server) as sender:
        with pytest.raises(EventError) as raised:
            await asyncio.to_thread(sender.enqueue, event(1, to=["nobody"]))
        assert raised.value.field == "to"


async def test_threads_go_on_handing_in_while_a_platform_hangs(server: Server) -> None:
    """What is in the intake and the queue before it arrives once there is room."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(server, max_intake_events=8, max_pending_events=3) as sender:
        receipts = await asyncio.to_thread(lambda: [sender.track(event(number)) for number in range(8)])
        assert None not in receipts
        server.script = lambda _request: reply()
        release.set()
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 8
