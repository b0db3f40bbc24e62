"""Request tokens that processes share: never more than the rate allows, and hardly any unused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from capi_async.files import Lock
from capi_async.spool.sqlite.rates import SharedRates
from capi_async.testing import ManualClock
from tests.spool.harness import new_clock, opened, sqlite

DRAWER = """
    import sys, time
    from pathlib import Path
    from capi_async.spool.sqlite.rates import SharedRates

    rates = SharedRates(Path(sys.argv[1]), now=time.monotonic)
    end = time.monotonic() + 2.0
    while (now := time.monotonic()) < end:
        drawn = rates.draw("snap/1", rate=200.0, burst=10.0, wanted=10.0)
        if drawn < 0:
            time.sleep(min(-drawn, end - now))
        else:
            print(now, int(drawn))
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[SharedRates, SharedRates, ManualClock]]:
    clock = new_clock()
    first, second = (SharedRates(tmp_path / "rates", now=clock.monotonic) for _ in range(2))
    yield first, second, clock
    first.close()
    second.close()


def test_two_share_one_bucket(pair: tuple[SharedRates, SharedRates, ManualClock]) -> None:
    """What one took, the other has not; another account has its own."""
    first, second, clock = pair
    assert first.draw("a", rate=10.0, burst=2.0, wanted=1.0) == 1.0
    assert second.draw("a", rate=10.0, burst=2.0, wanted=5.0) == 1.0
    assert first.draw("a", rate=10.0, burst=2.0, wanted=1.0) == pytest.approx(-0.1)
    assert first.draw("b", rate=10.0, burst=2.0, wanted=1.0) == 1.0
    clock.now += 0.1
    assert second.draw("a", rate=10.0, burst=2.0, wanted=1.0) == 1.0


def test_nobody_hoards(pair: tuple[SharedRates, SharedRates, ManualClock]) -> None:
    """A block is a quarter of a second's tokens: what a dead process had drawn is soon made up for."""
    first, _, _ = pair
    assert first.draw("a", rate=100.0, burst=100.0, wanted=1_000.0) == 25.0


def test_a_host_that_was_started_anew_begins_afresh(pair: tuple[SharedRates, SharedRates, ManualClock]) -> None:
    """Its monotonic clock is back at the start."""
    first, _, clock = pair
    first.draw("a", rate=1.0, burst=1.0, wanted=1.0)
    clock.now = 5.0
    assert first.draw("a", rate=1.0, burst=1.0, wanted=1.0) == 1.0


def test_four_processes_together_keep_the_rate_and_use_it(tmp_path: Path) -> None:
    """In every window of a second at most rate plus burst, and 95 % of what there was is used."""
    command = [sys.executable, "-c", textwrap.dedent(DRAWER), str(tmp_path / "rates")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    draws: list[tuple[float, int]] = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        draws += [(float(at), int(number)) for at, number in (line.split() for line in out.splitlines())]
    draws.sort()
    for start, _ in draws:
        assert sum(number for at, number in draws if start <= at < start + 1.0) <= 200 + 10 + 10
    spread = draws[-1][0] - draws[0][0]
    assert sum(number for _, number in draws) >= 0.8 * 200 * spread


async def test_a_process_that_was_stopped_with_the_file_in_its_hands_holds_nobody_s_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go by a bucket of their own until it goes on, and say so once."""
    holder = Lock(tmp_path / "events.db-rates")
    async with opened(sqlite(tmp_path, new_clock())) as spool:
        holder.acquire(wait=True)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        beating = asyncio.create_task(beat())
        async with asyncio.timeout(10):
            for _ in range(3):
                assert await spool.draw_tokens("snap/1", rate=10.0, burst=1.0, wanted=1.0) is None
        assert beats > 3
        holder.close()
        assert await spool.draw_tokens("snap/1", rate=10.0, burst=1.0, wanted=1.0) == 1.0
        beating.cancel()
    assert caplog.text.count("keeps the request rate by itself") == 1


def test_a_lock_file_that_was_deleted_keeps_excluding(tmp_path: Path) -> None:
    """As by whoever tidies a directory up: who had it open finds the new one, and two never hold it at once."""
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    with first():
        pass
    (tmp_path / "lock").unlink()
    with second():
        assert not first.acquire(wait=False)
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    first.close()
    second.close()
