"""Request tokens that workers share: the limit, its use, throttling, and an outage of Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from capi_async.errors import SpoolError
from capi_async.spool.redis import RedisSpool, parse
from capi_async.spool.redis.rates import SharedRates
from tests.redis.conftest import Open
from tests.spool.harness import eventually, new_clock
from tests.spool.redis_server import RedisServer


def most(times: list[float], window_s: float) -> int:
    """The most grants that fall into any window."""
    times = sorted(times)
    first, found = 0, 0
    for last, at in enumerate(times):
        while at - times[first] > window_s:
            first += 1
        found = max(found, last - first + 1)
    return found


async def draw_for(spool: RedisSpool, seconds: float, *, rate: float, burst: float) -> list[float]:
    """When this worker could have sent a request, each as soon as it might."""
    granted: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        drawn = await spool.draw_tokens("snap:account", rate=rate, burst=burst, wanted=1.0)
        if drawn >= 1.0:
            granted.append(time.monotonic())
        else:
            await asyncio.sleep(-drawn)
    return granted


async def test_four_workers_keep_one_limit_and_use_it(url: str, open_spool: Open) -> None:
    """Never more than the burst and what the rate brings, in any window; and nearly all of that."""
    rate, burst, seconds = 100.0, 5.0, 1.5
    workers = [await open_spool(url) for _ in range(4)]
    began = time.monotonic()
    shares = await asyncio.gather(*[draw_for(one, seconds, rate=rate, burst=burst) for one in workers])
    lasted = time.monotonic() - began
    every = [at for share in shares for at in share]
    for window_s in (0.1, 0.25, 0.5, 1.0):
        # a worker that wakes late uses its token late: that much, and no more, can move into a window
        assert most(every, window_s) <= burst + rate * (window_s + 0.25) + 1
    assert len(every) <= burst + rate * lasted + 1
    assert len(every) >= 0.5 * rate * seconds  # how much of it exactly is a matter of the machine: see the benchmark
    assert min(map(len, shares)) > 0


async def test_the_bucket_itself_never_gives_more_than_it_may(url: str, open_spool: Open) -> None:
    """By Redis's own clock: what is given out, and what is reserved, adds up."""
    spool = await open_spool(url)
    keys = spool.session.keys
    began = time.monotonic()
    granted = reserved = 0
    while time.monotonic() - began < 0.3:
        rates = SharedRates(prefix=keys.rate, throttling=keys.throttling, now=time.monotonic, workers=lambda: 1)
        drawn = await rates.take(spool.session.connection, "x", rate=200.0, burst=10.0)
        if drawn >= 1.0:
            granted += 1
        else:
            reserved += 1
            assert -drawn <= 5.0 + 0.1
    # each call of a new process gets a token or reserves the next one, up to five seconds ahead
    assert granted <= 10 + 200 * (time.monotonic() - began)
    assert granted + reserved >= 10


async def test_throttling_is_noticed_by_all_at_once(url: str, open_spool: Open) -> None:
    """Also by workers that had reserved a token; afterwards the rate is halved."""
    first, second = await open_spool(url), await open_spool(url)
    arguments = {"rate": 10.0, "burst": 1.0, "wanted": 1.0}
    assert await first.draw_tokens("x", **arguments) == 1.0
    assert -0.11 < await second.draw_tokens("x", **arguments) < 0
    await first.withhold_tokens("x", rate=10.0, burst=1.0, seconds=30.0)
    await eventually(lambda: second.rates.is_closed("x"))
    assert await second.draw_tokens("x", **arguments) < -25
    assert await (await open_spool(url)).draw_tokens("x", **arguments) < -25
    (bucket,) = await first.session.command("KEYS", f"{first.session.keys.rate}*")
    assert float(await first.session.command("HGET", bucket, "factor")) == 0.5
    await second.withhold_tokens("x", rate=10.0, burst=1.0, seconds=20.0)
    assert float(await first.session.command("HGET", bucket, "factor")) == 0.5  # halved once, not twice


async def test_throttling_is_noticed_from_opening_on(
    url: str, open_spool: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a notice that comes before the task that reads notices has begun, or while it begins again."""
    first = await open_spool(url)
    await first.withhold_tokens("earlier", rate=10.0, burst=1.0, seconds=30.0)
    late = RedisSpool(parse(url))
    may_read, attempts, run = asyncio.Event(), 0, late.notices.run

    async def run_late() -> None:
        nonlocal attempts
        await may_read.wait()
        attempts += 1
        if attempts == 1:
            raise SpoolError("the first attempt to read notices fails")
        await run()

    monkeypatch.setattr(late.notices, "run", run_late)
    await late.open(("a",), lambda _name: None)
    try:
        await first.withhold_tokens("x", rate=10.0, burst=1.0, seconds=30.0)
        may_read.set()
        await eventually(lambda: late.rates.is_closed("x"))
        assert attempts == 2
        assert not late.rates.is_closed("earlier")  # a notice from before opening is not read
        assert await late.draw_tokens("x", rate=10.0, burst=1.0, wanted=1.0) < -25
        assert await late.draw_tokens("earlier", rate=10.0, burst=1.0, wanted=1.0) < -25
    finally:
        await late.close()


async def test_other_accounts_have_buckets_of_their_own(url: str, open_spool: Open) -> None:
    """And Redis holds no account's name."""
    spool = await open_spool(url)
    for account in ("snap:secret-account", "snap:b"):
        assert await spool.draw_tokens(account, rate=1.0, burst=1.0, wanted=1.0) == 1.0
    keys = await spool.session.command("KEYS", f"{spool.session.keys.rate}*")
    assert len(keys) == 2
    assert not any(b"secret" in key for key in keys)


async def test_a_reserved_token_lapses(url: str, open_spool: Open) -> None:
    """Used much later it would come on top of the tokens of that time."""
    clock = new_clock()
    spool = await open_spool(url, clock=clock)
    arguments = {"rate": 1.0, "burst": 1.0, "wanted": 1.0}
    assert await spool.draw_tokens("x", **arguments) == 1.0
    wait_s = -await spool.draw_tokens("x", **arguments)
    assert 0.5 < wait_s <= 1.0
    clock.now += wait_s + 10.0
    assert await spool.draw_tokens("x", **arguments) < 0


async def test_without_redis_each_worker_takes_its_share(server: RedisServer, open_spool: Open) -> None:
    """So that all workers together keep the limit."""
    clock = new_clock()
    workers = [await open_spool(server.url(), clock=clock) for _ in range(4)]
    for one in workers:
        await one.refresh()
    assert [one.heartbeat.workers for one in workers] == [4] * 4
    server.kill()
    granted = 0
    for _ in range(200):
        clock.now += 0.05
        granted += sum([await one.draw_tokens("x", rate=8.0, burst=4.0, wanted=1.0) == 1.0 for one in workers])
    assert 60 <= granted <= 80 + 4  # ten seconds at eight a second
