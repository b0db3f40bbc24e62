"""``capi-async worker``: real processes, a real Redis, the sandbox."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capi_async import Client, Event, Page, User
from capi_async.cli.app import app
from capi_async.clock import SYSTEM_CLOCK
from capi_async.sandbox import Sandbox
from capi_async.spool import open_spool
from capi_async.spool.base import Ledger
from tests.chaos import redis_loop
from tests.chaos.redis_loop import WorkerProcess, write_config
from tests.redis.test_spool import everything
from tests.spool.harness import DELIVERED, eventually

Start = Callable[..., WorkerProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers; none outlives the test."""
    started: list[WorkerProcess] = []

    def start_(config: Path, *options: str) -> WorkerProcess:
        started.append(WorkerProcess(config, *options))
        return started[-1]

    yield start_
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)
        elif one.process.stderr is not None:
            one.process.stderr.close()


def sale(number: int, **fields: Any) -> Event:
    """A web purchase of somebody."""
    user = User(email=f"person{number}@example.com", ip="203.0.113.7", user_agent="Mozilla/5.0")
    page = Page(url="https://shop.example/thanks")
    return Event("purchase", event_id=f"sale-{number}", user=user, page=page, value="12.50", currency="USD", **fields)


async def put(config: Path, numbers: range) -> None:
    """What a web process does."""
    async with Client.from_config(config, deliver=False) as client:
        await client.send_many([sale(number) for number in numbers])


async def ledger(url: str) -> dict[str, Ledger]:
    """What Redis says."""
    return await redis_loop.ledger(url)


def ask(worker: WorkerProcess, path: str) -> tuple[int, str]:
    """Status and text of an answer of its health port."""
    line = worker.wait_until("health and metrics on")
    base = line.split()[-1]
    try:
        with urllib.request.urlopen(base + path, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_worker_delivers_reports_its_health_and_ends_in_order(url: str, start: Start, tmp_path: Path) -> None:
    """Health, readiness and metrics while it lives; exit code 0 after SIGTERM, with nothing left under way."""
    async with Sandbox() as sandbox:
        config = write_config(tmp_path, sandbox.base_url, url, batch=100, rate=1_000.0)
        await put(config, range(300))
        assert not any(secret in everything(url) for secret in (b"person7@", b"sandbox-token"))
        worker = start(config, "--concurrency", "2")
        await asyncio.to_thread(worker.wait_until, "delivering to snap, pinterest")
        await eventually(lambda: len(sandbox.arrivals("snap")) + len(sandbox.arrivals("pinterest")) == 600, 30)
        assert await asyncio.to_thread(ask, worker, "healthz") == (200, "alive\n")
        assert await asyncio.to_thread(ask, worker, "readyz") == (200, "ready\n")
        _, text = await asyncio.to_thread(ask, worker, "metrics")
        assert 'capi_outcomes_total{destination="snap",outcome="delivered",reason="accepted"} ' in text
        assert 'capi_destination_state{destination="snap",state="open"} 1' in text
        assert "capi_workers 1" in text
        assert "person" not in text
        assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0
        found = await ledger(url)
        assert found == {name: Ledger(accepted=300, delivered=300) for name in ("snap", "pinterest")}


async def test_sigterm_finishes_what_is_under_way_and_leaves_the_rest(url: str, start: Start, tmp_path: Path) -> None:
    """Another worker gets the rest at once, and nothing that was under way is sent again."""
    async with Sandbox() as sandbox:
        for platform in ("snap", "pinterest"):
            sandbox.fault(platform, "latency", latency_s=0.5)
        config = write_config(tmp_path, sandbox.base_url, url, batch=10, rate=5.0)
        await put(config, range(400))
        worker = start(config, "--to", "snap")
        await eventually(lambda: len(sandbox.arrivals("snap")) >= 10, 30)
        assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0
        after_first = await ledger(url)
        assert after_first["snap"].delivered == len(sandbox.arrivals("snap"))
        assert 0 < after_first["snap"].pending < 400
        assert after_first["pinterest"].pending == 400  # --to
        assert any("left for other workers" in line for line in worker.said)
        sandbox.clear_faults()
        await asyncio.to_thread(fast, config)
        second = start(config)
        await asyncio.to_thread(second.wait_until, "delivering to")
        await eventually(lambda: len(sandbox.arrivals("pinterest")) == 400, 30)
        await eventually(lambda: len(sandbox.arrivals("snap")) == 400, 30)
        assert await asyncio.to_thread(second.end, signal.SIGTERM) == 0
        assert sandbox.stats()["snap"].duplicates == 0
        found = await ledger(url)
        assert found == {name: Ledger(accepted=400, delivered=400) for name in ("snap", "pinterest")}


def fast(config: Path) -> None:
    """The same, without waiting."""
    config.write_text(config.read_text().replace("requests_per_s = 5.0", "requests_per_s = 1000.0"))


async def test_a_worker_that_is_paused_beyond_its_lease_settles_nothing_twice(
    url: str, start: Start, tmp_path: Path
) -> None:
    """SIGSTOP with requests under way, another worker takes over, SIGCONT: late settlements do not count."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "latency", latency_s=0.7)
        config = write_config(tmp_path, sandbox.base_url, f"{url}&lease_s=0.6", batch=10, rate=1_000.0)
        await put(config, range(100))
        paused = start(config, "--to", "snap")
        await eventually(lambda: len(sandbox.arrivals("snap")) >= 10, 30)
        paused.process.send_signal(signal.SIGSTOP)
        successor = start(config, "--to", "snap")

        async def settled() -> int:
            return (await ledger(f"{url}&lease_s=0.6"))["snap"].settled

        deadline = time.monotonic() + 30
        while await settled() < 100 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        paused.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.0)
        assert await asyncio.to_thread(successor.end, signal.SIGTERM) == 0
        assert await asyncio.to_thread(paused.end, signal.SIGTERM) == 0
        counts = (await ledger(url))["snap"]
        assert counts == Ledger(accepted=100, delivered=100)
        ids = {one.event["event_id"] for one in sandbox.arrivals("snap") if one.accepted}
        assert len(ids) == 100


async def test_workers_are_killed_and_redis_restarts_and_nothing_is_lost(tmp_path: Path) -> None:
    """A short run of ``python -m tests.chaos.redis_loop``."""
    report = await asyncio.to_thread(redis_loop.run, 2_000, 2, 1, 0, tmp_path, lease_s=2.0)
    assert report.kept, report


async def test_a_worker_waits_for_a_redis_that_is_not_there_yet(start: Start, tmp_path: Path) -> None:
    """As when all start together; it is alive and not ready."""
    config = write_config(tmp_path, "http://127.0.0.1:9", "redis://127.0.0.1:9/0", batch=10, rate=1.0)
    worker = start(config)
    await asyncio.to_thread(worker.wait_until, "waiting for storage")
    assert (await asyncio.to_thread(ask, worker, "healthz"))[0] == 200
    assert (await asyncio.to_thread(ask, worker, "readyz"))[0] == 503
    assert await asyncio.to_thread(worker.end, signal.SIGTERM) == 0


async def test_a_429_closes_the_account_for_all_workers(url: str, tmp_path: Path) -> None:
    """For as long as the platform said, from the moment at which one worker got the answer."""
    async with Sandbox() as sandbox:
        sandbox.fault("snap", "status", status=429, retry_after_s=60)
        config = write_config(tmp_path, sandbox.base_url, url, batch=10, rate=100.0)
        other = open_spool(url, clock=SYSTEM_CLOCK)
        await other.open(["snap"], lambda _name: None)
        async with Client.from_config(config, linger_s=0) as client:
            (snap, _) = client.destinations
            account = f"snap:{snap.account()}"
            assert await other.draw_tokens(account, rate=100.0, burst=10.0, wanted=1.0) == 1.0
            await client.send(sale(1, to=["snap"]))
            drawn = 1.0
            deadline = time.monotonic() + 20
            while drawn > -30 and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                drawn = await other.draw_tokens(account, rate=100.0, burst=10.0, wanted=1.0) or 0.0
            assert -60 <= drawn < -30
            await client.aclose(0)
        await other.close()


@pytest.mark.parametrize(
    ("spool", "message"),
    [("memory", "needs the spool that the web processes fill"), ("redis://", "needs a host")],
)
def test_a_wrong_configuration_is_exit_code_2(tmp_path: Path, spool: str, message: str) -> None:
    """One line on stderr."""
    config = write_config(tmp_path, "http://127.0.0.1:9", spool, batch=10, rate=1.0)
    ran = CliRunner().invoke(app, ["worker", "--config", str(config)])
    assert ran.exit_code == 2
    assert message in ran.stderr
    ran = CliRunner().invoke(app, ["worker", "--config", str(config), "--to", "nobody"])
    assert ran.exit_code == 2


def test_the_queue_command_looks_into_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address may stand in the environment, where it is not in a list of processes."""

    async def fill() -> None:
        from tests.spool.harness import DEAD, record

        spool = open_spool(url, clock=SYSTEM_CLOCK)
        await spool.open(["a"], lambda _name: None)
        records = [record(str(number)) for number in range(4)]
        for one in records:
            one.expires_at = 1e11
        await spool.append(records, [])
        await spool.settle(await spool.lease("a", limit=3, max_bytes=1 << 20), [DELIVERED, DEAD, DEAD])
        await spool.close()

    asyncio.run(fill())
    monkeypatch.setenv("SPOOL", url)
    run = CliRunner()
    assert run.invoke(app, ["queue", "status", "env:SPOOL"]).stdout == "a: 4 accepted, 1 delivered, 2 dead, 1 pending\n"
    assert len(run.invoke(app, ["queue", "dead", url]).stdout.splitlines()) == 2
    assert run.invoke(app, ["queue", "replay", url]).stdout == "a: 2 pending again\n"
    forgotten = run.invoke(app, ["queue", "forget", url, "--external-id", "2"])
    assert "records erased" in forgotten.stdout, forgotten
    assert json.loads(run.invoke(app, ["queue", "status", url, "--json"]).stdout)["a"]["accepted"] == 4
