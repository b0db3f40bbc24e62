"""Deadlines that share a timer: each is kept to, and the end of a ``with`` is that of ``asyncio.timeout``."""

from __future__ import annotations

import asyncio

import pytest

from capi_async.deadlines import Deadlines, Within


async def test_each_is_called_once_in_the_order_of_their_times() -> None:
    deadlines = Deadlines()
    called: list[str] = []
    done = asyncio.Event()
    deadlines.add(0.03, lambda: (called.append("last"), done.set()))
    deadlines.add(0.01, lambda: called.append("first"))
    kept = deadlines.add(0.02, lambda: called.append("taken back"))
    deadlines.remove(kept)
    deadlines.remove(kept)
    await asyncio.wait_for(done.wait(), 5)
    assert called == ["first", "last"]


async def test_one_that_is_called_may_take_back_or_add_others() -> None:
    deadlines = Deadlines()
    called: list[str] = []
    done = asyncio.Event()
    numbers: list[int] = []

    def first() -> None:
        called.append("first")
        deadlines.remove(numbers[0])
        deadlines.add(0.0, done.set)

    deadlines.add(0.01, first)
    numbers.append(deadlines.add(0.01, lambda: called.append("second")))
    await asyncio.wait_for(done.wait(), 5)
    assert called == ["first"]


def test_what_is_left_of_a_loop_that_has_ended_is_dropped() -> None:
    deadlines = Deadlines()
    called: list[str] = []

    async def one(name: str) -> None:
        deadlines.add(60.0 if name == "old" else 0.0, lambda: called.append(name))
        await asyncio.sleep(0.02)

    asyncio.run(one("old"))
    asyncio.run(one("new"))
    assert called == ["new"]


async def test_what_takes_too_long_is_cancelled_and_raises_a_timeout_error() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError) as caught, Within(deadlines, 0.01):
        await asyncio.Event().wait()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_what_ends_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with Within(deadlines, 0.01):
        await asyncio.sleep(0)
    with pytest.raises(KeyError), Within(deadlines, 0.01):
        raise KeyError
    await asyncio.sleep(0.03)


async def test_who_is_cancelled_by_somebody_else_as_well_stays_cancelled() -> None:
    deadlines = Deadlines()

    async def slow() -> None:
        with Within(deadlines, 0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(slow())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inner_and_outer_deadlines_are_told_apart() -> None:
    deadlines = Deadlines()
    with Within(deadlines, 5.0):
        with pytest.raises(TimeoutError), Within(deadlines, 0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), Within(deadlines, 0.01), Within(deadlines, 5.0):
        await asyncio.Event().wait()


def test_outside_of_a_task_there_is_nothing_to_cancel() -> None:
    loop = asyncio.new_event_loop()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            with Within(Deadlines(), 1.0):
                pass
        except RuntimeError as error:
            raised.append(error)
        loop.stop()

    loop.call_soon(call)
    loop.run_forever()
    loop.close()
    assert raised


async def test_another_loop_has_timers_of_its_own() -> None:
    """What somebody awaits in another thread meanwhile drops no deadline here, and is kept to there."""
    deadlines = Deadlines()
    called: list[str] = []
    done = asyncio.Event()
    deadlines.add(0.05, lambda: (called.append("here"), done.set()))

    async def elsewhere() -> None:
        over = asyncio.Event()
        deadlines.remove(deadlines.add(0.0, lambda: called.append("taken back")))
        deadlines.add(0.01, lambda: (called.append("there"), over.set()))
        await asyncio.wait_for(over.wait(), 5)

    await asyncio.to_thread(asyncio.run, elsewhere())
    await asyncio.wait_for(done.wait(), 5)
    assert called == ["there", "here"]
