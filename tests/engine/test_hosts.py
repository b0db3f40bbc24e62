"""The client's life: entering, leaving, cancelling, other loops, other processes, other people's sessions."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import subprocess
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from capi_async import Client, ClientClosed, ConfigError, EventError, Hashed, QueueFull, TransportError, User
from capi_async.spec import Destination, Request
from capi_async.transport import HttpTransport
from tests.engine.acme import EMAIL, Acme, event, events
from tests.engine.server import RESET, Reply, Server, reply, until

pytestmark = pytest.mark.usefixtures("short_waits")


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, **settings)


def client(*destinations: Destination, **options: Any) -> Client:
    return Client(destinations, **{"linger_s": 0, **options})


def tasks() -> set[str]:
    """Names of the package's tasks that run."""
    return {task.get_name() for task in asyncio.all_tasks() if "capi_async" in task.get_name()}


# Closing


async def test_close_sends_what_lingers(server: Server) -> None:
    """A batch that waits for company leaves at once."""
    async with client(acme(server), linger_s=60) as sender:
        await sender.send_many(events(3))
    report = await sender.aclose()
    assert report.ledger["acme"].delivered == 3
    assert report.complete
    assert [len(request.ids) for request in server.got] == [3]


async def test_close_is_bounded_by_its_deadline_and_counts_what_is_left(server: Server, other: Server) -> None:
    """A server that hangs costs the deadline and no more; the report says how much and where."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server, "stuck"), acme(other, "fine"))
    await sender.send_many(events(5))
    await server.arrived(1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    report = await sender.aclose(0.2)
    assert 0.2 <= loop.time() - started < 1.0
    assert report.pending == {"stuck": 5}
    assert report.ledger["fine"].delivered == 5
    assert (report.complete, report.unstored) == (False, 0)
    assert report.where == "in memory, lost with this process"
    assert tasks() == set()


async def test_receipts_do_not_outwait_the_client(server: Server) -> None:
    """Whoever awaits an outcome while the client closes is told ``pending``; so is whoever asks later."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server))
    receipt = await sender.send(event())
    waiting = asyncio.ensure_future(receipt.outcomes())
    await server.arrived(1)
    await sender.aclose(0)
    assert (await asyncio.wait_for(waiting, 1))["acme"].kind == "pending"
    assert (await asyncio.wait_for(receipt.outcomes(), 1))["acme"].kind == "pending"


async def test_a_second_close_waits_for_the_first(server: Server) -> None:
    """A shutdown handler and the end of the block: what is under way is not cut off, and both get the report."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    sender = client(acme(server, resend_for_s=0.0))
    receipt = await sender.send(event(1))
    await server.arrived(1)
    first, second = asyncio.create_task(sender.aclose(5)), asyncio.create_task(sender.aclose(5))
    await asyncio.sleep(0)
    release.set()
    assert (await first).complete
    assert (await second).complete
    assert (await receipt.outcomes())["acme"].kind == "delivered"
    assert len(server.got) == 1


async def test_close_is_bounded_even_where_a_callable_refuses_to_be_cancelled(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Swallowing CancelledError is a fault of the caller's, and not a reason to hang."""
    from capi_async.engine import dispatcher

    monkeypatch.setattr(dispatcher, "_STOP_S", 0.05)
    over = asyncio.Event()

    async def stubborn() -> str:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return "token"

    sender = client(acme(server, access_token=stubborn))
    await sender.send(event(1))
    report = await asyncio.wait_for(sender.aclose(0.05), 5)
    assert report.pending == {"acme": 1}
    assert any(message.startswith("a task refuses to end: ") for message in caplog.messages)
    over.set()
    await until(lambda: not [task for task in asyncio.all_tasks() if "supervisor" in task.get_name()])


async def test_a_closed_client_takes_nothing(server: Server) -> None:
    """Whatever is asked of it."""
    sender = client(acme(server))
    await sender.send(event())
    await sender.aclose()
    with pytest.raises(ClientClosed):
        await sender.send(event())
    with pytest.raises(ClientClosed):
        sender.enqueue(event())
    with pytest.raises(ClientClosed):
        await sender.flush()
    assert (await sender.aclose()).complete


async def test_what_was_left_goes_when_the_client_is_entered_again(server: Server) -> None:
    """Records that were under way go too, known as possibly arrived."""
    stuck = asyncio.Event()
    server.script = lambda _request: Reply(until=stuck)
    sender = client(acme(server, max_batch_events=1, max_in_flight=2))
    await sender.send_many(events(6))
    await server.arrived(2)
    await sender.aclose(0)
    server.script = lambda _request: reply()
    async with sender:
        receipt = await sender.send(event(7))
        assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 7


async def test_what_may_have_arrived_is_not_sent_after_reentry(server: Server) -> None:
    """Where a repeat would count, a request cut off by closing is uncertain; what had not left is delivered."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server, max_batch_events=1, max_in_flight=1, resend_for_s=0.0))
    await sender.send_many(events(3))
    await server.arrived(1)
    await sender.aclose(0)
    server.script = lambda _request: reply()
    async with sender:
        assert await sender.flush(5)
    assert sender.ledger()["acme"].uncertain == 1
    assert sender.ledger()["acme"].delivered == 2
    assert server.ids == ["e1", "e2", "e3"]


async def test_callers_who_wait_when_the_client_closes_are_told(server: Server) -> None:
    """Nothing of them was stored, and the report counts them."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server), max_pending_events=1)
    await sender.send(event(1))
    await server.arrived(1)
    waiting = asyncio.ensure_future(sender.send(event(2), timeout_s=30))
    await asyncio.sleep(0.02)
    report = await sender.aclose(0.05)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(waiting, 1)
    assert report.unstored == 1
    assert report.ledger["acme"].accepted == 1


async def test_callers_who_wait_at_the_intake_are_told_too(server: Server) -> None:
    """They had not even been let in."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server), max_pending_events=1, max_intake_events=1)
    await sender.send(event(1))
    await server.arrived(1)
    waiting = [asyncio.ensure_future(sender.send(event(number), timeout_s=30)) for number in range(2, 8)]
    await asyncio.sleep(0.05)
    await sender.aclose(0)
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
    assert {type(one) for one in found} == {ClientClosed}


async def test_two_flushes_do_not_undo_one_another(server: Server) -> None:
    """When the first gives up, the second still sends what lingers."""
    release = asyncio.Event()
    server.replies = [Reply(until=release)]
    async with client(acme(server), linger_s=60) as sender:
        await sender.send(event(1))
        first = asyncio.ensure_future(sender.flush(0.1))
        second = asyncio.ensure_future(sender.flush(5))
        await server.arrived(1)
        assert not await first
        await sender.send(event(2))
        release.set()
        assert await second
    assert server.ids == ["e1", "e2"]


async def test_flush_tells_whether_all_was_settled(server: Server) -> None:
    """False when time ran out."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server)) as sender:
        assert await sender.flush(0)
        await sender.send(event())
        assert not await sender.flush(0.05)
        release.set()
        assert await sender.flush(5)


# Handing in


async def test_enqueue_never_awaits_and_tells_later(server: Server) -> None:
    """``accepted()`` returns when the event is stored."""
    async with client(acme(server)) as sender:
        receipt = sender.enqueue(event())
        assert sender.ledger()["acme"].accepted == 0
        await receipt.accepted()
        assert sender.ledger()["acme"].accepted == 1
        assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"
        assert repr(receipt) == "Receipt('e1', 1 of 1 settled)"


async def test_enqueue_is_bounded(server: Server) -> None:
    """A full intake is a clear no."""
    async with client(acme(server), max_intake_events=3) as sender:
        for number in range(3):
            sender.enqueue(event(number))
        with pytest.raises(QueueFull, match="nothing was stored"):
            sender.enqueue(event(4))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 3


async def test_send_many_keeps_the_order(server: Server) -> None:
    """Also over several micro-batches."""
    async with client(acme(server), linger_s=60) as sender:
        receipts = await sender.send_many(events(1_000))
        assert [receipt.event_id for receipt in receipts] == [f"e{number}" for number in range(1, 1_001)]
        assert sender.ledger()["acme"].accepted == 1_000
    assert server.ids == [f"e{number}" for number in range(1, 1_001)]
    assert await empty(sender) == []


async def empty(sender: Client) -> list[Any]:
    return [] if sender.ledger()["acme"].pending == 0 else [sender.ledger()]


async def test_send_many_says_how_many_were_stored(server: Server) -> None:
    """From the first on."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server), max_pending_events=4, overflow="fail") as sender:
        with pytest.raises(QueueFull, match="the first 4 of 6 were stored"):
            await sender.send_many(events(6))
        assert sender.ledger()["acme"].accepted == 4
        release.set()


async def test_send_many_names_the_malformed_one(server: Server) -> None:
    """Nothing is stored then."""
    async with client(acme(server)) as sender:
        with pytest.raises(EventError) as raised:
            await sender.send_many([event(1), event(2, currency="XXQ", value=1)])
        assert raised.value.field == "[1].currency"
        with pytest.raises(EventError) as raised:
            await sender.send_many([event(1), "purchase"])  # type: ignore[list-item]
        assert raised.value.field == "[1]"
        with pytest.raises(EventError) as raised:
            await sender.send_many([event(1), event(2, to=["acne"])])
        assert raised.value.field == "[1].to"
        with pytest.raises(EventError) as raised:
            await sender.send(event(1, to=["acme", "acne"]))
        assert raised.value.field == "to"
        assert str(raised.value) == "to: unknown destination acne; there are acme"
        assert await sender.send_many([]) == []
        assert sender.ledger()["acme"].accepted == 0


async def test_a_cancelled_send_is_all_or_nothing(server: Server) -> None:
    """Cancelled at whatever moment, the event is stored whole or not at all, and the client goes on."""
    async with client(acme(server)) as sender:
        for number in range(30):
            task = asyncio.ensure_future(sender.send(event(number)))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):  # or it was stored before
                await task
        receipt = await sender.send(event(100))
        assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"
        assert await sender.flush(5)
        counts = sender.ledger()["acme"]
        assert counts.balanced
        assert counts.delivered == len(server.ids) == len(set(server.ids))


async def test_a_cancelled_wait_for_outcomes_leaves_the_others_waiting(server: Server) -> None:
    """Several may wait for one receipt."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server)) as sender:
        receipt = await sender.send(event())
        first, second = (asyncio.ensure_future(receipt.outcomes()) for _ in range(2))
        await server.arrived(1)
        first.cancel()
        assert (await receipt.outcomes(timeout_s=0.01))["acme"].kind == "pending"
        release.set()
        assert (await asyncio.wait_for(second, 5))["acme"].kind == "delivered"


async def test_cancelling_the_task_that_holds_the_client_closes_it(server: Server) -> None:
    """Natively or by an anyio scope: what was accepted is flushed, no task is left, the cancellation goes on."""
    for native in (True, False):
        inside = asyncio.Event()
        sender = client(acme(server), linger_s=60)

        async def hold(sender: Client = sender, inside: asyncio.Event = inside) -> None:
            async with sender:
                await sender.send(event())
                inside.set()
                await asyncio.Event().wait()

        if native:
            task = asyncio.ensure_future(hold())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(hold)
                await inside.wait()
                group.cancel_scope.cancel()
        assert sender.ledger()["acme"].delivered == 1
        assert tasks() == set()


async def test_deliver_false_only_stores(server: Server) -> None:
    """The outcomes are pending, at once."""
    async with client(acme(server), deliver=False) as sender:
        receipt = await sender.send(event())
        assert (await asyncio.wait_for(receipt.outcomes(), 1))["acme"].kind == "pending"
        assert not await asyncio.wait_for(sender.flush(30), 5)  # it is stored, and that is all that is waited for
        assert sender.ledger()["acme"].pending == 1
    assert server.got == []


# Sessions


async def test_the_callers_session_is_used_and_left_open(server: Server) -> None:
    """With its own headers; even one that raises for statuses loses no answer."""
    server.replies = [reply(503)]
    async with aiohttp.ClientSession(headers={"X-Theirs": "yes"}, raise_for_status=True) as session:
        async with client(acme(server), session=session) as sender:
            outcome = (await (await sender.send(event())).outcomes(timeout_s=5))["acme"]
        assert (outcome.kind, outcome.ambiguous) == ("delivered", False)
        assert not session.closed
    assert {request.headers["x-theirs"] for request in server.got} == {"yes"}


async def test_trust_env_reads_proxies_and_never_a_netrc(
    server: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request goes to the proxy, with the destination's credential and no other."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine platform.example login mallory password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", other.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    transport = HttpTransport(trust_env=True)
    asked = Request("POST", "http://platform.example/acme-1/events", {"Authorization": "Bearer acme-token"}, (b"{}",))
    try:
        assert (await transport.send(asked, timeout_s=5)).status == 200
    finally:
        await transport.aclose()
    assert other.got[0].path == "http://platform.example/acme-1/events"
    assert other.got[0].headers["authorization"] == "Bearer acme-token"


async def test_a_loopback_address_is_never_asked_through_a_proxy(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is allowed there because it does not leave the machine; a proxy would read the credential."""
    monkeypatch.setenv("http_proxy", other.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for trust_env in (True, False):
        async with client(acme(server), trust_env=trust_env) as sender:
            await (await sender.send(event())).outcomes(timeout_s=5)
    assert (len(server.got), other.got) == (2, [])


@pytest.mark.parametrize("unchecked", ["host name", "certificate"])
def test_a_context_that_does_not_check_whom_it_talks_to_is_refused(unchecked: str, server: Server) -> None:
    """Every request carries a credential; a private authority is no reason to take any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if unchecked == "certificate":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigError, match="check certificates and host names"):
        client(acme(server), ssl=context)


def _attached(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException | None] = [None]
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and all(one is not other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
            yield one


@pytest.mark.parametrize("trouble", ["no HTTP", "nobody listens", "slow", "hung up"])
async def test_an_error_of_the_transport_holds_on_to_no_request(trouble: str, server: Server) -> None:
    """Neither in its causes nor in a local of its frames: error trackers read both."""
    server.replies = [
        {"no HTTP": Reply(200, b"", {"Bad\x00Header": "x"}), "hung up": RESET}.get(
            trouble, Reply(until=asyncio.Event())
        )
    ]
    base_url = "http://127.0.0.1:1" if trouble == "nobody listens" else server.url
    transport = HttpTransport()
    try:
        with pytest.raises(TransportError) as raised:
            await transport.send(
                Request("POST", f"{base_url}/?key=planted-token", {"X-Key": "planted-token"}, (b"planted-token",)),
                timeout_s=0.2,
            )
    finally:
        await transport.aclose()
    held = [
        (frame.f_code.co_name, name)
        for one in _attached(raised.value)
        for frame, _ in traceback.walk_tb(one.__traceback__)
        if "capi_async" in frame.f_code.co_filename and "/tests/" not in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
        if isinstance(value, Request) or "planted-token" in repr(value)
    ]
    assert list(_attached(raised.value)) == [raised.value]
    assert held == []


@pytest.mark.parametrize("resend_for_s", [0.0, 3_600.0])
async def test_a_callers_session_that_is_closed_sends_nothing(server: Server, resend_for_s: float) -> None:
    """An application's shutdown in the usual order: no event is in doubt, and the destination says why it waits."""
    session = aiohttp.ClientSession()
    sender = client(acme(server, resend_for_s=resend_for_s), session=session, max_attempts=10_000)
    async with sender:
        await sender.send(event(1))
        assert await sender.flush(5)
        await session.close()
        await sender.send_many(events(5))
        await until(lambda: sender.states()["acme"].state == "broken")
        assert sender.states()["acme"].reason == "no answer (session)"
        report = await sender.aclose(0)
    assert (report.pending, report.ledger["acme"].uncertain) == ({"acme": 5}, 0)
    assert len(server.got) == 1


@pytest.mark.parametrize(("resend_for_s", "connections"), [(0.0, 2), (3_600.0, 1)])
async def test_what_must_not_arrive_twice_uses_no_old_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch, resend_for_s: float, connections: int
) -> None:
    """A server that closes it at just that moment would leave the event in doubt."""
    monkeypatch.setattr("capi_async.transport.FRESH_S", 0.02)
    async with client(acme(server, resend_for_s=resend_for_s)) as sender:
        for number in (1, 2):
            await sender.send(event(number))
            assert await sender.flush(5)
            await asyncio.sleep(0.2)
    assert server.connections == connections


async def test_two_clients_share_a_loop(server: Server) -> None:
    """Without sharing anything else."""
    async with client(acme(server)) as one, client(acme(server, access_token="other")) as two:
        await (await one.send(event(1))).outcomes(timeout_s=5)
        await (await two.send(event(2))).outcomes(timeout_s=5)
        await one.aclose()
        await (await two.send(event(3))).outcomes(timeout_s=5)
    assert [request.headers["authorization"] for request in server.got] == [
        "Bearer acme-token",
        "Bearer other",
        "Bearer other",
    ]


@pytest.fixture
async def entered(server: Server) -> AsyncIterator[Client]:
    """Entered and left in other tasks than the test's own, as fixtures and lifespans do."""
    sender = client(acme(server))
    await asyncio.create_task(sender.__aenter__())
    yield sender
    await asyncio.create_task(sender.__aexit__(None, None, None))
    assert tasks() == set()


async def test_a_client_may_be_entered_and_left_in_different_tasks(entered: Client) -> None:
    """No scope spans a public call."""
    receipt = await entered.send(event())
    assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"


async def test_a_client_in_use_refuses_another_loop(server: Server) -> None:
    """With a clear error."""
    async with client(acme(server)) as sender:
        await sender.send(event())

        def elsewhere() -> str:
            with pytest.raises(ClientClosed) as raised:
                asyncio.run(sender.send(event()))
            return str(raised.value)

        said = await asyncio.to_thread(elsewhere)
        assert said == "this client belongs to another event loop; make one client per loop"
        assert await sender.flush(5)


PROLOGUE = """
import asyncio, gc, os, sys, threading, warnings
from capi_async import Client, ClientClosed, SyncClient
from tests.engine.acme import Acme, event
from tests.engine.threaded_server import ThreadedServer

server = ThreadedServer().start()
acme = Acme(base_url=server.url)
client = Client([acme], linger_s=0)

async def go():
    return (await (await client.send(event())).outcomes(5))["acme"].kind
"""


def script(code: str) -> str:
    """What a script of its own prints; any warning in it is an error that shows."""
    whole = PROLOGUE + textwrap.dedent(code) + "\nserver.shutdown()\nserver.server_close()\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", whole],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # asyncio's note on a callback that took long is the machine's affair
    assert [line for line in done.stderr.splitlines() if not line.startswith("Executing <")] == []
    return done.stdout


def test_one_loop_follows_another_with_and_without_close() -> None:
    """The client starts anew on each, and nothing is left open."""
    said = script("""
        print(asyncio.run(go()), asyncio.run(go()))
        gc.collect()
        async def closing():
            async with client:
                return await go()
        print(asyncio.run(closing()), asyncio.run(closing()))
        gc.collect()
    """)
    assert said == "delivered delivered\ndelivered delivered\n"


def test_what_an_abandoned_loop_left_is_taken_up_by_the_next() -> None:
    """Records that had been handed to a worker are not lost with it."""
    # that it was not closed is said by a warning and in the log, which another test reads
    said = script("""
        import logging
        logging.disable()
        warnings.simplefilter("ignore", ResourceWarning)
        lingering = Client([acme], linger_s=60)
        async def leave():
            await lingering.send(event(1))
            await asyncio.sleep(0.05)
        asyncio.run(leave())
        async def take_up():
            async with lingering:
                await lingering.send(event(2))
                await lingering.flush(5)
            return lingering.ledger()["acme"].delivered
        print(asyncio.run(take_up()))
    """)
    assert said == "2\n"


def test_a_program_that_never_closes_its_client_is_told_how_many_events_that_costs() -> None:
    """In the log, also without any configuration of it, and as a ResourceWarning."""
    code = (
        "import asyncio\n"
        "from capi_async import Client\n"
        "from tests.engine.acme import Acme, events\n"
        "async def main():\n"
        "    await Client([Acme()], linger_s=60).send_many(events(3))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0
    assert "events in memory are not delivered (acme: 3); use 'async with', or await aclose()" in done.stderr
    assert "ResourceWarning: unclosed client, events in memory: acme: 3" in done.stderr


def test_a_forked_client_says_so() -> None:
    """A clear error in the child, no hang; the parent goes on."""
    said = script("""
        async def parent():
            async with client:
                print(await go(), flush=True)
                child = os.fork()
                if child == 0:
                    asyncio.events._set_running_loop(None)
                    try:
                        asyncio.run(client.send(event()))
                    except ClientClosed as error:
                        print(str(error).split(";")[0], flush=True)
                    os._exit(0)
                os.waitpid(child, 0)
                print(await go(), flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.run(parent())
    """)
    assert said.splitlines() == [
        "delivered",
        "this client was started in another process and forked",
        "delivered",
    ]


def test_a_sync_client_that_was_never_closed_lets_the_script_end() -> None:
    """And sends what it held."""
    said = script("""
        forgotten = SyncClient([acme], linger_s=60)
        receipt = forgotten.send(event())
        import atexit
        atexit.register(lambda: print(receipt.event_id, forgotten.ledger()["acme"].pending))
        threading.Thread(target=lambda: None).start()
        sync = SyncClient([acme], linger_s=0)
        print(sync.send(event()).outcomes(5)["acme"].kind, flush=True)
        sync.close()
        forgotten.close()
    """)
    assert said == "delivered\ne1 0\n"


def test_a_forgotten_sync_client_closes_at_exit() -> None:
    """The interpreter does not hang, and what lingered has left."""
    code = (
        PROLOGUE
        + "\nkept = SyncClient([acme], linger_s=60)\nkept.send(event())\n"
        + "import atexit\natexit._run_exitfuncs()\nprint(kept.ledger()['acme'].delivered)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_forked_sync_client_says_so_and_lets_the_child_end() -> None:
    """No hang in the child, not even when its interpreter exits."""
    said = script("""
        sync = SyncClient([acme], linger_s=0)
        print(sync.send(event()).outcomes(5)["acme"].kind, flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                sync.send(event())
            except ClientClosed as error:
                print(str(error), flush=True)
            print(sync.close(), flush=True)
            server.server_close = server.shutdown = lambda: None
            server.socket.close()
            sys.exit(0)
        os.waitpid(child, 0)
        print(sync.close().complete, flush=True)
    """)
    assert said.splitlines() == [
        "delivered",
        "this client was started in another process and forked; make one per process",
        "None",
        "True",
    ]


# Withdraw and forget


@pytest.mark.parametrize("state", ["lingering", "paused", "retrying"])
@pytest.mark.parametrize("method", ["forget", "withdraw"])
async def test_what_waits_of_a_person_can_be_stopped(server: Server, state: str, method: str) -> None:
    """Wherever it waits: for company, for the account, for another attempt; others are untouched."""
    server.replies = {
        "lingering": [],
        "paused": [reply(401)],
        "retrying": [reply(503, Retry_After="60")],
    }[state]
    async with client(acme(server, probe=False), linger_s=60 if state == "lingering" else 0.02) as sender:
        hers = await sender.send_many(events(3))
        his = await sender.send(event(9, user=User(email="charles@mail.example")))
        if state != "lingering":
            await server.arrived(1)
            await until(lambda: not sender._engine.workers["acme"].busy())  # type: ignore[union-attr]
        found = await getattr(sender, method)(User(email=f" {EMAIL.upper()} "))
        assert found == {"acme": 3}
        kind = "forgotten" if method == "forget" else "skipped"
        assert {(await receipt.outcomes(timeout_s=1))["acme"].kind for receipt in hers} == {kind}
        assert (await his.outcomes(timeout_s=0))["acme"].kind == "pending"
        assert sender.ledger()["acme"].balanced
        await sender.aclose(0)


async def test_forget_needs_somebody(server: Server) -> None:
    """An identifier that can be read; a digest is one."""
    from hashlib import sha256

    from capi_async.errors import ConfigError

    async with client(acme(server), linger_s=60) as sender:
        with pytest.raises(ConfigError, match="needs an email, a phone, an external_id or a lead_id"):
            await sender.forget(User(first_name="Ada"))
        await sender.send(event())
        digest = sha256(EMAIL.encode()).hexdigest()
        assert await sender.forget(User(email=Hashed(digest))) == {"acme": 1}
    assert server.got == []


async def test_forget_says_which_of_several_values_it_could_not_read(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are looked for; what could not be read is named by its field and the reason, never by its value."""
    async with client(acme(server), linger_s=60) as sender:
        await sender.send(event())
        subject = User(email=["secret", EMAIL], phone="0664 1234567")
        assert await sender.forget(subject) == {"acme": 1}
        assert "left out: user.email: not an e-mail address" in caplog.text
        assert "left out: user.phone: no country code" in caplog.text
    assert not {"secret", "1234567"} & set(caplog.text.split())
    assert server.got == []


# Explain


async def test_explain_says_what_would_be_sent_without_sending(server: Server) -> None:
    """Digests, names of fields, and reasons; no clear personal value."""
    from datetime import UTC, datetime, timedelta

    person = User(email=EMAIL, phone="abc", first_name="Ada", ip="203.0.113.9")
    soon = datetime.now(UTC) + timedelta(seconds=120)
    sender = client(acme(server))
    shown = sender.explain(event(user=person, properties={"note": f"for {EMAIL}"}, time=soon))["acme"]
    assert shown.verdict == "pending"
    assert list(shown.used) == ["email", "first_name_clear"]
    assert list(shown.unused) == ["ip"]
    assert "phone" in " ".join(shown.refused)
    assert list(shown.warnings)[-2:] == ["time: lies in the future, and is sent as now", "facts: passed as they are"]
    for clear in (EMAIL, "ada.lovelace", "abc", "203.0.113.9"):
        assert clear not in repr(shown)
    assert server.got == []
    skipped = sender.explain(event(name="login"))["acme"]
    assert (skipped.verdict, skipped.field, skipped.wire) == ("skipped", "name", None)
    assert sender.explain(event(to=[]))["acme"].verdict == "skipped"


# Faults of ours


async def test_a_spool_that_does_not_open_is_an_error_not_a_hang(server: Server) -> None:
    """Entering raises, and so does sending without entering."""
    from capi_async import SpoolError
    from capi_async.spool.memory import MemorySpool

    class Locked(MemorySpool):
        async def open(self, *_arguments: Any, **_options: Any) -> None:
            raise SpoolError("locked")

    sender = client(acme(server), spool=Locked())
    with pytest.raises(SpoolError, match="locked"):
        async with sender:
            pass
    assert tasks() == set()
    other = client(acme(server), spool=Locked())
    with pytest.raises(SpoolError, match="locked"):
        await asyncio.wait_for(other.send(event()), 2)
    await other.aclose(0)
    gc.collect()


async def test_storage_that_fails_is_told_to_the_caller(server: Server) -> None:
    """``SpoolError``, and the next event is welcome."""
    from capi_async import SpoolError
    from capi_async.spool.memory import MemorySpool

    class Full(MemorySpool):
        full = True

        async def append(self, *arguments: Any, **options: Any) -> None:
            if self.full:
                raise SpoolError("disk full")
            await super().append(*arguments, **options)

    spool = Full()
    async with client(acme(server), spool=spool) as sender:
        with pytest.raises(SpoolError, match="disk full"):
            await sender.send(event(1))
        receipt = sender.enqueue(event(2))
        with pytest.raises(SpoolError):
            await receipt.accepted()
        sender.enqueue(event(3))
        spool.full = False
        await sender.send(event(4))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].balanced


async def test_storage_that_fails_while_settling_loses_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The events may have arrived; they go again where that is absorbed, and the worker lives on."""
    from capi_async import SpoolError
    from capi_async.spool.memory import MemorySpool

    class Shaky(MemorySpool):
        failures = 2

        async def settle(self, *arguments: Any) -> None:
            if self.failures:
                self.failures -= 1
                raise SpoolError("disk gone")
            await super().settle(*arguments)

    async with client(acme(server), spool=Shaky()) as sender:
        receipts = await sender.send_many(events(3))
        assert await sender.flush(8)
        found = [(await receipt.outcomes())["acme"] for receipt in receipts]
    assert {(one.kind, one.ambiguous) for one in found} == {("delivered", True)}
    said = [(one.levelno, one.message) for one in caplog.records if one.levelno >= logging.WARNING]
    [(level, text)] = said
    assert level == logging.WARNING
    assert text.startswith("storage failed: disk gone; ")


async def test_a_lease_that_fails_is_tried_again(server: Server) -> None:
    """A part that fails through a fault of ours starts anew, and what it held is not lost."""
    from capi_async.engine import dispatcher
    from capi_async.spool.memory import MemorySpool

    class Odd(MemorySpool):
        leases = 0

        async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Any]:
            self.leases += 1
            if self.leases == 3:
                raise ZeroDivisionError
            return await super().lease(destination, limit=limit, max_bytes=max_bytes)

    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatcher, "_RESTART_S", 0.01)
        async with client(acme(server, max_batch_events=1), spool=Odd()) as sender:
            await sender.send_many(events(6))
            await server.arrived(2)
            release.set()
            assert await sender.flush(5)
            assert sender.ledger()["acme"].delivered == 6
