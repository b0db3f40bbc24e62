"""Request tokens that workers share: the limit, its use, throttling heard by all, and Redis away."""

from __future__ import annotations

import asyncio
import time

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
    began = time.monotonic()
    granted = reserved = 0
    while time.monotonic() - began < 0.3:
        rates = SharedRates(prefix=spool._keys.rate, news=spool._keys.news, now=time.monotonic, share=lambda: 1)
        drawn = await rates.draw(spool._link, "x", rate=200.0, burst=10.0)
        if drawn >= 1.0:
            granted += 1
        else:
            reserved += 1
            assert -drawn <= 5.0 + 0.1
    # every draw of a fresh process is given or reserves the next in line: up to five seconds ahead
    assert granted <= 10 + 200 * (time.monotonic() - began)
    assert granted + reserved >= 10


async def test_throttling_is_heard_by_all_at_once(url: str, open_spool: Open) -> None:
    """Also by those who had reserved a token; afterwards the rate is halved, and recovers."""
    first, second = await open_spool(url), await open_spool(url)
    arguments = {"rate": 10.0, "burst": 1.0, "wanted": 1.0}
    assert await first.draw_tokens("x", **arguments) == 1.0
    assert -0.11 < await second.draw_tokens("x", **arguments) < 0
    await first.withhold_tokens("x", rate=10.0, burst=1.0, seconds=30.0)
    name = next(iter(second._rates._accounts))
    await eventually(lambda: second._rates._accounts[name].closed_until > 0)
    assert await second.draw_tokens("x", **arguments) < -25
    assert await (await open_spool(url)).draw_tokens("x", **arguments) < -25
    factor = await first._ask("HGET", first._keys.rate + name, "factor")
    assert float(factor) == 0.5
    await second.withhold_tokens("x", rate=10.0, burst=1.0, seconds=20.0)
    assert float(await first._ask("HGET", first._keys.rate + name, "factor")) == 0.5  # one lesson, not two


class LateListener(RedisSpool):
    """Opens at once and listens only when it may, after a first attempt that fails."""

    def __init__(self, url: str) -> None:
        super().__init__(parse(url))
        self.may_listen = asyncio.Event()
        self.attempts = 0

    async def _listen(self) -> None:
        await self.may_listen.wait()
        self.attempts += 1
        if self.attempts == 1:
            raise SpoolError("the first attempt to listen fails")
        await super()._listen()


async def test_throttling_is_heard_from_opening_on(url: str, open_spool: Open) -> None:
    """Also what is told before the listener has begun, or while it begins again: no background task is waited for."""
    first = await open_spool(url)
    await first.withhold_tokens("earlier", rate=10.0, burst=1.0, seconds=30.0)
    late = LateListener(url)
    await late.open(("a",), lambda _name: None)
    try:
        await first.withhold_tokens("x", rate=10.0, burst=1.0, seconds=30.0)
        late.may_listen.set()
        await eventually(lambda: late._rates._accounts)
        assert late.attempts == 2
        heard = late._rates._accounts[next(iter(late._rates._accounts))]
        assert len(late._rates._accounts) == 1  # what was said before opening is no news
        assert heard.closed_until > time.monotonic()
        assert await late.draw_tokens("x", rate=10.0, burst=1.0, wanted=1.0) < -25
        assert await late.draw_tokens("earlier", rate=10.0, burst=1.0, wanted=1.0) < -25
    finally:
        await late.close()


async def test_other_accounts_have_buckets_of_their_own(url: str, open_spool: Open) -> None:
    """And no account's name stands in Redis."""
    spool = await open_spool(url)
    for account in ("snap:secret-account", "snap:b"):
        assert await spool.draw_tokens(account, rate=1.0, burst=1.0, wanted=1.0) == 1.0
    keys = [key async for key in spool._reach()._redis.scan_iter(f"{spool._keys.rate}*")]
    assert len(keys) == 2
    assert not any(b"secret" in key for key in keys)


async def test_a_reserved_token_lapses(url: str, open_spool: Open) -> None:
    """Used much later it would come on top of those of that time."""
    clock = new_clock()
    spool = await open_spool(url, clock=clock)
    arguments = {"rate": 1.0, "burst": 1.0, "wanted": 1.0}
    assert await spool.draw_tokens("x", **arguments) == 1.0
    wait_s = -await spool.draw_tokens("x", **arguments)
    assert 0.5 < wait_s <= 1.0
    clock.now += wait_s + 10.0
    assert await spool.draw_tokens("x", **arguments) < 0


async def test_without_redis_each_worker_takes_its_share(server: RedisServer, open_spool: Open) -> None:
    """So that all together keep the limit also then."""
    clock = new_clock()
    workers = [await open_spool(server.url(), clock=clock) for _ in range(4)]
    for one in workers:
        await one._refresh()
    assert [one.workers for one in workers] == [4] * 4
    server.kill()
    granted = 0
    for _ in range(200):
        clock.now += 0.05
        granted += sum([await one.draw_tokens("x", rate=8.0, burst=4.0, wanted=1.0) == 1.0 for one in workers])
    assert 60 <= granted <= 80 + 4  # ten seconds at eight a second
