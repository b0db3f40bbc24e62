"""A wall clock that somebody sets while the client runs: by an hour, back and forth."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capi_async.sandbox import Sandbox
from capi_async.spec import HOUR, MINUTE
from capi_async.telemetry.base import RequestDone

from .accounts import RATES, TYPES, Listener, SkippingClock, account, assert_balanced, finish, purchase
from .test_fault_matrix import Connect

EVENTS = 120


class SteppedClock(SkippingClock):
    """True time, which tests may skip, and a wall clock that is set wrong by ``offset``."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0

    def wall(self) -> float:
        return super().wall() + self.offset


class TrueClock(SkippingClock):
    """What the platform's clock says meanwhile: nobody sets that one, and time that is skipped passes there too."""

    def wall(self) -> float:
        return super().wall() + self._skipped


class Astray(SteppedClock):
    """The same time on a machine whose clock is set wrong by ``offset``."""

    def __init__(self, true: TrueClock) -> None:
        super().__init__()
        self._true = true

    def monotonic(self) -> float:
        return self._true.monotonic()

    def wall(self) -> float:
        return self._true.wall() + self.offset

    def skip(self, seconds: float) -> None:
        self._true.skip(seconds)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(params=["memory", "sqlite"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each spool's address."""
    return "memory" if request.param == "memory" else f"sqlite:///{tmp_path / 'events.db'}"


def order(number: int, **changes: Any) -> Any:
    """One that lies in the past also for a clock that is an hour slow."""
    return purchase(number, time=datetime.now(UTC) - timedelta(hours=3), **changes)


async def test_a_clock_set_back_and_forth_loses_and_doubles_nothing(
    spool: str, stack: AsyncExitStack, connect: Connect, clock: SteppedClock
) -> None:
    """Every 20 ms an hour back or forth, in a storm of faults, over a restart where there can be one."""
    sandbox = await stack.enter_async_context(Sandbox(7, rates=RATES))
    for fault in (
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 503, "retry_after_s": 1},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncate"},
    ):
        sandbox.fault("*", rate=0.06, **fault)

    async def step() -> None:
        for hours in itertools.cycle((-1, 0, 1, 0, 1, -1)):
            clock.offset = hours * HOUR
            await asyncio.sleep(0.02)

    stepping = asyncio.create_task(step())
    try:
        accounts = [account(sandbox, type_name, max_attempts=50) for type_name in TYPES]
        client = connect(accounts, spool=spool)
        half = EVENTS // 2
        for start in range(0, half, 10):
            await client.send_many([order(number) for number in range(start, start + 10)])
            await client.flush(0.02)
        if spool != "memory":
            await client.aclose(0.0)
            client = connect(accounts, spool=spool)
        for start in range(half, EVENTS, 10):
            await client.send_many([order(number) for number in range(start, start + 10)])
            await client.flush(0.02)
        await finish(client, clock)
    finally:
        stepping.cancel()
    assert_balanced(client)
    for type_name in TYPES:
        counts, details = client.ledger()[type_name], sandbox.details()[type_name]
        assert counts.accepted == EVENTS
        assert counts.delivered + counts.uncertain == EVENTS, (type_name, counts)
        assert counts.delivered <= details["accepted"] - details["duplicates"] <= EVENTS
        assert details["counted_twice"] == 0
        # all of these are recognised for two days, so there was never a reason to give one up
        assert counts.uncertain == 0 or type_name in ("cutmeshort", "ga4", "reddit", "linkedin", "webhook")


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_step_neither_shortens_nor_stretches_a_wait(
    spool: str, hours: int, sandbox: Sandbox, connect: Connect, clock: SteppedClock, listener: Listener
) -> None:
    """A minute that the platform asked for is a minute, whatever the clock on the wall says."""
    sandbox.fault("snap", "status", status=429, retry_after_s=MINUTE, count=1)
    client = connect([account(sandbox, "snap")], spool=spool)
    await client.send(order(1))
    await listener.until(lambda: len(listener.requests) == 1)
    clock.offset = hours * HOUR
    await client.send(order(2))
    clock.skip(MINUTE - 5.0)
    assert not await client.flush(0.05)
    assert len(listener.requests) == 1
    clock.skip(6.0)
    assert await client.flush(10)
    assert client.ledger()["snap"].delivered == 2


class Steps(Listener):
    """When an answer is lost, hours pass, and the clock is set, before anything else happens."""

    def __init__(self, clock: Astray, true_hours: float, offset_hours: float) -> None:
        super().__init__()
        self._clock = clock
        self._true_s, self._offset_s = true_hours * HOUR, offset_hours * HOUR

    def on_request(self, done: RequestDone) -> None:
        if not self.requests:
            self._clock.skip(self._true_s)
            self._clock.offset = self._offset_s
        super().on_request(done)


@pytest.mark.parametrize(
    ("true_hours", "offset_hours", "sent_again"),
    [(45.5, 1, True), (46.5, -1, True), (46.5, 1, False), (48.5, -1, False), (49.5, -1, False), (49.5, 1, False)],
)  # fmt: skip
async def test_no_copy_leaves_after_the_window_in_which_it_is_recognised(
    spool: str, true_hours: float, offset_hours: float, sent_again: bool, stack: AsyncExitStack, connect: Connect
) -> None:
    """48 hours from the first attempt, of true time; a clock that was set costs two hours of it at most."""
    true = TrueClock()
    clock = Astray(true)
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, clock=true))
    sandbox.fault("snap", "reset_after", count=1)
    steps = Steps(clock, true_hours, offset_hours)
    client = connect([account(sandbox, "snap")], spool=spool, clock=clock, hooks=[steps])
    receipt = await client.send(order(1))
    await finish(client, clock)
    outcome = (await receipt.outcomes())["snap"]
    details = sandbox.details()["snap"]
    assert details["accepted"] - details["duplicates"] == 1
    assert details["duplicates"] == sent_again
    assert outcome.kind == ("delivered" if sent_again else "uncertain")
    assert_balanced(client)
