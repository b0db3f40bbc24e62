"""Long pieces of work of all destinations take turns of the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from capi_async.engine.turns import Turns


async def _count_turns(seen: list[int]) -> None:
    while True:
        seen[0] += 1
        await asyncio.sleep(0)


async def test_pieces_begin_in_turns_of_their_own_in_the_order_in_which_they_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No two begin in one turn of the loop, also if one asks again."""
    monkeypatch.setattr("capi_async.engine.turns._LONG_S", 60.0)
    turns = Turns()
    seen = [0]
    counter = asyncio.create_task(_count_turns(seen))
    began: list[tuple[str, int]] = []

    async def work(name: str, pieces: int) -> None:
        for _ in range(pieces):
            await turns.next()
            began.append((name, seen[0]))

    await asyncio.gather(work("a", 3), work("b", 2), work("c", 1))
    counter.cancel()
    assert [name for name, _ in began] == ["a", "b", "c", "a", "b", "a"]
    at = [turn for _, turn in began]
    assert len(set(at)) == len(at)


async def test_one_that_is_cancelled_takes_nobodys_turn() -> None:
    """The next one in the queue begins in its place, and later ones are served as well."""
    turns = Turns()
    first, second = asyncio.ensure_future(turns.next()), asyncio.ensure_future(turns.next())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)
    await asyncio.wait_for(turns.next(), 5)
    assert first.cancelled()


async def test_on_a_loop_whose_turns_are_long_several_pieces_begin_in_one() -> None:
    """Otherwise nearly nothing would be delivered there."""
    turns = Turns()
    waiting = [asyncio.ensure_future(turns.next()) for _ in range(5)]
    await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [one.done() for one in waiting] == [True] * 5
