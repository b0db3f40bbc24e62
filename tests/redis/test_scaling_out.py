"""Web processes that only append, workers that only deliver, many destinations, a full Redis, and erasure."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import trustme

from capi_async.errors import SpoolError
from capi_async.spool.base import Ledger, Record
from capi_async.spool.redis import RedisSpool, parse
from capi_async.spool.redis.session import warn_of_clear_text
from tests.redis.conftest import Open, get
from tests.redis.test_spool import future
from tests.spool.harness import DELIVERED, FORGOTTEN, eventually, record
from tests.spool.redis_server import RedisServer, free_port


async def deliver(spool: RedisSpool, names: tuple[str, ...], until: int) -> dict[str, list[str]]:
    """Deliver as a worker does: sleep until woken, lease, settle. Returns the event ids by destination."""
    found: dict[str, list[str]] = {name: [] for name in names}

    async def one(name: str) -> None:
        while len(found[name]) < until:
            held = await spool.lease(name, limit=100, max_bytes=1 << 20)
            found[name] += [each.event_id for each in held]
            await spool.settle(held, [DELIVERED] * len(held))
            if not held:
                woken[name].clear()
                if spool.next_due_s(name) is None:
                    await woken[name].wait()

    woken = {name: asyncio.Event() for name in names}
    spool.queues.wake = lambda name: woken[name].set()
    async with asyncio.timeout(60):
        await asyncio.gather(*[one(name) for name in names])
    return found


async def test_every_destination_notices_events_that_arrive_slowly(url: str, open_spool: Open) -> None:
    """Redis before 7.2 gives a waiting reader the notice of one stream only, even if several have one."""
    names = ("a", "b", "c", "d", "e", "f", "g")
    worker = await open_spool(url, *names)
    web = await open_spool(url, *names, deliver=False)
    delivering = asyncio.create_task(deliver(worker, names, 12))
    for number in range(12):
        await web.append([record(str(number), name) for name in names], [])
        await asyncio.sleep(0.01)
    found = await delivering
    assert found == {name: [str(number) for number in range(12)] for name in names}


async def test_an_event_whose_notice_was_missed_is_found(url: str, open_spool: Open) -> None:
    """Within a second or so, by the heartbeat: another notice replaced it, or the reader was not running."""
    worker = await open_spool(url, "a")
    web = await open_spool(url, "a", deliver=False)
    assert await worker.lease("a", limit=1, max_bytes=1) == []
    reading = next(task for task in worker.background.tasks if task.get_name().endswith("notices"))
    reading.cancel()
    await asyncio.wait([reading])
    await web.append([record("1")], [])
    await eventually(lambda: worker.next_due_s("a") == 0.0)
    assert [one.event_id for one in await get(worker, 1)] == ["1"]


@pytest.mark.parametrize("count", [32, 200])
async def test_many_destinations_share_one_redis(
    count: int, url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """More than there are connections: commands wait for one, which is no outage."""
    caplog.set_level(logging.INFO, "capi_async")
    names = tuple(f"d{number}" for number in range(count))
    worker = await open_spool(url, *names)
    web = await open_spool(url, *names, deliver=False)
    delivering = asyncio.create_task(deliver(worker, names, 2))
    for number in range(2):
        await web.append([record(str(number), name) for name in names], [])
    found = await delivering
    assert all(ids == ["0", "1"] for ids in found.values())
    assert "Redis is" not in caplog.text
    assert set(worker.ledger().values()) == {Ledger(accepted=2, delivered=2)}


async def test_a_full_redis_is_emptied_by_a_worker_that_starts_then(server: RedisServer, open_spool: Open) -> None:
    """Also for a destination that is new; and erasure works in it."""
    web = await open_spool(server.url("?lease_s=1"), "a", deliver=False)
    await web.append([record(str(number), body=b"x" * 500) for number in range(200)], [])
    await web.session.command("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(SpoolError, match="out of memory") as raised:
        await web.append([record("more")], [])
    assert raised.value.stored is False
    worker = await open_spool(server.url("?lease_s=1"), "a", "new")
    held = await get(worker, 200)
    await worker.mark_attempted(held)
    await worker.withhold_tokens("x", rate=1.0, burst=1.0, seconds=1.0)
    await worker.release(held[:2])
    assert await web.settle_matching(lambda one: one.event_id in ("0", "1"), FORGOTTEN) == {"a": 2}
    await worker.settle(held[2:], [DELIVERED] * 198)
    assert worker.ledger()["a"] == Ledger(accepted=200, delivered=198, forgotten=2)


async def test_forgetting_while_events_are_delivered_stops_nothing(url: str, open_spool: Open) -> None:
    """A process stops holding an entry before Redis releases it: none is leased twice, none is left over."""
    spool = await open_spool(url, "a")
    took: list[str] = []
    done = False

    async def work() -> None:
        turn = 0
        while not done:
            held = await spool.lease("a", limit=7, max_bytes=1 << 20)
            turn += 1
            assert len({id(one) for one in held}) == len({one.event_id for one in held}) == len(held)
            if turn % 3 == 0:
                await asyncio.sleep(0)
                await spool.release(held, after_s=0.001 if turn % 2 else 0.0)
            else:
                took.extend(one.event_id for one in held if one.epoch > 0)
                await spool.settle(held, [DELIVERED] * len(held))
            await asyncio.sleep(0)

    async def fill() -> None:
        for start in range(0, 300, 10):
            await spool.append([future(str(number)) for number in range(start, start + 10)], [])

    async def forget() -> None:
        for number in range(12):
            await spool.settle_matching(lambda one, number=number: int(one.event_id) % 12 == number, FORGOTTEN)

    working = [asyncio.create_task(work()) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(fill(), forget(), forget())
        while spool.depth("a").events:
            await asyncio.sleep(0.01)
    done = True
    await asyncio.gather(*working)
    ledger = spool.ledger()["a"]
    assert ledger.balanced
    assert ledger.accepted == 300
    assert ledger.delivered == len(took) == len(set(took))
    assert not [task for task in (*spool.writers.tasks, *spool.background.tasks) if task.done()]


async def test_two_processes_that_forget_at_once_both_come_to_an_end(url: str, open_spool: Open) -> None:
    """Neither claims what the other has searched; no record is missed."""
    first, second = [await open_spool(url, "a", deliver=False) for _ in range(2)]
    await first.append([future(str(number), order_key=str(number)) for number in range(400)], [])

    def of(number: int) -> Any:
        def matches(one: Record) -> bool:
            return int(one.event_id) % 4 == number

        return matches

    async with asyncio.timeout(60):
        await asyncio.gather(
            first.settle_matching(of(0), FORGOTTEN),
            second.settle_matching(of(1), FORGOTTEN),
            first.settle_matching(of(2), FORGOTTEN),
        )
    worker = await open_spool(url, "a")
    held = await get(worker, 100)
    assert {int(one.event_id) % 4 for one in held} == {3}
    await eventually(lambda: worker.ledger()["a"] == Ledger(accepted=400, forgotten=300, pending=100))


async def test_a_record_that_no_request_carried_is_not_uncertain(url: str, open_spool: Open) -> None:
    """Although others of its entry were sent before the worker closed."""
    first = await open_spool(url, "a")
    await first.append([record(str(number)) for number in range(6)], [])
    tried = (await get(first, 6))[:2]
    await first.mark_attempted(tried)
    for one in tried:
        one.attempts = one.failures = 1
    await first.release(tried, after_s=0.01)
    await first.close()
    second = await open_spool(url, "a")
    again = await get(second, 6)
    assert [one.uncertain_since for one in again] == [0.0] * 6
    assert sorted(one.attempts for one in again) == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
async def test_a_certificate_of_another_host_is_refused(kind: str, tmp_path: Path) -> None:
    """Whatever the driver's default is; the password is not sent there."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("elsewhere.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem")]
    tls += ["--tls-key-file", str(tmp_path / "server.pem"), "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    server = RedisServer(tmp_path, *tls, "--tls-auth-clients", "no")
    server.start()
    try:
        path = "/main/0" if kind == "+sentinel" else ""
        spool = RedisSpool(parse(f"rediss{kind}://u:hunter2@localhost:{port}{path}?ssl_ca_certs={tmp_path / 'ca.pem'}"))
        with pytest.raises(SpoolError, match=r"out of reach|not ready"):
            await spool.open(["a"], lambda _name: None)
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("redis://:hunter2@10.0.0.7:6379/0", True),
        ("redis+sentinel://:hunter2@localhost,10.0.0.8/main/0", True),
        ("redis://:hunter2@localhost:6379/0", False),
        ("redis://:hunter2@127.0.0.2:6379/0", False),
        ("redis://:hunter2@[::1]:6379/0", False),
        ("redis://10.0.0.7:6379/0", False),
        ("rediss://:hunter2@10.0.0.7:6379/0", False),
        ("rediss://:hunter2@10.0.0.7:6379/0?ssl_check_hostname=no", True),
    ],
)
async def test_a_password_that_others_can_read_is_warned_about(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do, and without the password."""
    warn_of_clear_text(parse(url))
    assert bool(caplog.text) is warned
    assert "hunter2" not in caplog.text
