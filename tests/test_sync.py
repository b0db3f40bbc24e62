"""The client for code without an event loop, against a server in another thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace

from capi_async import ClientClosed, EventError, SyncClient, User
from capi_async.telemetry.base import Hook, Settled
from tests.engine.acme import EMAIL, Acme, event, events
from tests.engine.threaded_server import ThreadedServer


@pytest.fixture
def acme() -> Iterator[Acme]:
    """A destination whose server accepts everything."""
    server = ThreadedServer().start()
    yield Acme(base_url=server.url)
    server.stop()


def test_the_same_surface_blocks(acme: Acme) -> None:
    """Send, wait, count, close."""
    with SyncClient([acme], linger_s=0) as client:
        receipt = client.send(event(1))
        assert receipt.event_id == "e1"
        assert receipt.outcomes(5)["acme"].kind == "delivered"
        assert repr(receipt) == "Receipt('e1', 1 of 1 settled)"
        assert [one.outcomes(5)["acme"].kind for one in client.send_many(events(3))] == ["delivered"] * 3
        assert client.enqueue(event(9)).outcomes(5)["acme"].kind == "delivered"
        assert client.flush(5)
        assert client.ledger()["acme"].delivered == 5
        assert client.explain(event())["acme"].verdict == "pending"
        assert repr(client) == "SyncClient(acme)"
    assert "capi_async-loop" not in [thread.name for thread in threading.enumerate()]


def test_what_becomes_of_an_event_that_is_kept_is_told_at_once(acme: Acme) -> None:
    """As where a client is asked on its own loop."""
    with SyncClient([acme], linger_s=60) as client:
        client.send(event(1))
        client.send(event(2, name="login"))
        assert client.ledger()["acme"].skipped == 1
        client.send(event(3, to=[]))
        assert client.snapshot().destinations["acme"].ledger.skipped == 2
        client.send(event(4, to=[]))
        assert client.flush(5)
        assert client.ledger()["acme"].skipped == 3


def test_several_threads_share_one(acme: Acme) -> None:
    """Started by whoever comes first; one loop, no event lost."""
    client = SyncClient([acme], linger_s=0)
    barrier = threading.Barrier(8)

    def work(worker: int) -> list[str]:
        barrier.wait()
        kinds: list[str] = []
        for number in range(10):
            one = event(worker * 100 + number)
            client.explain(one)
            kinds.append(client.send(one).outcomes(10)["acme"].kind)
        return kinds

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert found == [["delivered"] * 10] * 8
    assert [thread.name for thread in threading.enumerate()].count("capi_async-loop") == 1
    report = client.close()
    assert report is not None
    assert report.complete
    assert report.ledger["acme"].delivered == 80


def test_errors_come_through(acme: Acme) -> None:
    """As they are, in the caller's thread."""
    with SyncClient([acme], linger_s=0) as client:
        with pytest.raises(EventError) as raised:
            client.send(event(to=["nobody"]))
        assert raised.value.field == "to"


def test_close_without_start_is_nothing(acme: Acme) -> None:
    """And a closed one may be started again, which a late call does not do by itself."""
    client = SyncClient([acme], linger_s=0)
    assert client.close() is None
    client.start()
    client.start()
    assert client.close() is not None
    assert client.close() is None
    for late in (lambda: client.send(event()), lambda: client.enqueue(event()), client.flush):
        with pytest.raises(ClientClosed, match="closed; start\\(\\) opens it again"):
            late()
    client.start()
    assert client.send(event()).outcomes(5)["acme"].kind == "delivered"
    client.close()


def test_a_thread_that_waits_is_woken_by_close(acme: Acme) -> None:
    """Its outcome is pending: nobody hangs for ever."""
    client = SyncClient([Acme(base_url="http://127.0.0.1:1")], linger_s=60)
    receipt = client.send(event())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receipt.outcomes)
        client.close(0)
        assert waiting.result(5)["acme"].kind == "pending"


def test_withdraw_and_forget(acme: Acme) -> None:
    """As in the async client."""
    with SyncClient([acme], linger_s=60) as client:
        client.send_many(events(2))
        assert client.withdraw(User(email=EMAIL)) == {"acme": 2}
        client.send(event(3))
        assert client.forget(User(email=EMAIL)) == {"acme": 1}
        leads = [{"lead_id": 123_456_789_012_340 + index} for index in (4, 5)]
        client.send_many([replace(event(index + 4), properties=lead) for index, lead in enumerate(leads)])
        assert client.withdraw(lead_id=[123_456_789_012_344, "123456789012349"]) == {"acme": 1}
        assert client.forget(User(email="nobody@b.example"), lead_id="123456789012345") == {"acme": 1}


def test_made_from_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The same two constructors."""
    monkeypatch.setenv("SNAP_PIXEL_ID", "9633c2ae-0115-495a-aca9-b976db485fc8")
    monkeypatch.setenv("SNAP_ACCESS_TOKEN", "token")
    assert repr(SyncClient.from_env(linger_s=0)).startswith("SyncClient(snap")
    path = tmp_path / "capi.toml"
    path.write_text('[destinations.snap]\npixel_id = "p-1"\naccess_token = "env:SNAP_ACCESS_TOKEN"\n')
    assert repr(SyncClient.from_config(path)) == "SyncClient(snap)"


def test_a_client_that_cannot_start_leaves_no_thread(acme: Acme) -> None:
    """The error is the spool's own, and the next start is a new one."""
    from capi_async import SpoolError
    from capi_async.spool.memory import MemorySpool

    class Locked(MemorySpool):
        async def open(self, *_arguments: Any, **_options: Any) -> None:
            raise SpoolError("locked")

    client = SyncClient([acme], spool=Locked())
    for _ in range(2):
        with pytest.raises((SpoolError, ClientClosed), match="locked"):
            client.start()
    assert "capi_async-loop" not in [thread.name for thread in threading.enumerate()]


def test_a_signal_that_closes_the_client_in_the_middle_of_a_call_ends_both(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler runs inside the call, in the same thread: it must not wait for what that call holds."""
    client = SyncClient([acme], linger_s=0)
    client.start()
    assert client._run is not None
    loop = client._run.thread._loop
    hand_over = loop.call_soon_threadsafe

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        return hand_over(*arguments)

    reports: list[object] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: reports.append(client.close(5)))
    try:
        monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
        with pytest.raises(ClientClosed):
            client.enqueue(event(1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(reports) == 1
    assert not client.ledger()["acme"].accepted


def test_a_close_of_a_blocked_loop_comes_back_and_says_what_blocks_it(
    acme: Acme, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook that never returns cannot be ended: the close is a bound all the same."""
    blocked, go = threading.Event(), threading.Event()

    class Blocks(Hook):
        def on_settled(self, settled: Settled) -> None:
            blocked.set()
            go.wait(30)

    client = SyncClient([acme], linger_s=0, hooks=[Blocks()])
    client.send(event(1))
    assert blocked.wait(10)
    waiting = ThreadPoolExecutor(1).submit(client.send, event(2), timeout_s=30)
    report = client.close(0.1)
    assert report is not None
    assert "closed, but its loop does not end: a callable, a hook or a transport of yours blocks it" in caplog.text
    with pytest.raises(ClientClosed):
        waiting.result(10)
    with pytest.raises(ClientClosed, match="has not ended"):
        client.start()
    go.set()
    for thread in threading.enumerate():
        if thread.name == "capi_async-loop":
            thread.join(10)
    client.start()
    assert client.send(event(3)).outcomes(5)["acme"].kind == "delivered"
    client.close()


def test_two_threads_that_close_at_once_get_the_same_report(acme: Acme) -> None:
    """Each waits until it is closed; neither hangs, neither fails."""
    for _ in range(10):
        client = SyncClient([acme], linger_s=0)
        client.send_many(events(5))
        start = threading.Barrier(4)

        def close(client: SyncClient = client, start: threading.Barrier = start) -> Any:
            start.wait()
            return client.close(5)

        with ThreadPoolExecutor(4) as pool:
            reports = [one.result(20) for one in [pool.submit(close) for _ in range(4)]]
        # one that came when all was over is told that nothing runs
        there = [report for report in reports if report is not None]
        assert there
        assert all(report.complete and report.ledger["acme"].delivered == 5 for report in there)
        assert client.ledger()["acme"].delivered == 5
