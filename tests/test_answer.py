"""What one thread waits for and another one gives."""

from __future__ import annotations

import asyncio
import threading

import pytest

from capi_async.answer import Answer


def test_all_who_wait_get_what_was_given_first() -> None:
    """Who gives it later has no effect, and is told so."""
    answer = Answer()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(answer.result(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert answer.give("first")
    assert not answer.give(error=ValueError("second"))
    for thread in threads:
        thread.join(10)
    assert found == ["first"] * 8
    assert answer.result(0) == "first"
    assert answer.error() is None


def test_of_many_who_give_at_once_one_is_first() -> None:
    """Each is told whether it was the one."""
    for _ in range(50):
        answer = Answer()
        start = threading.Barrier(4)
        first: list[int] = []

        def give(number: int, answer: Answer = answer, start: threading.Barrier = start) -> None:
            start.wait()
            if answer.give(number):
                first.append(number)  # noqa: B023  # joined before the next round

        threads = [threading.Thread(target=give, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert first == [answer.result(0)]


def test_an_error_is_raised_and_a_time_that_ran_out_too() -> None:
    """The two can be told apart by asking whether it was given."""
    answer = Answer()
    with pytest.raises(TimeoutError):
        answer.result(0.001)
    assert not answer.done()
    answer.give(error=KeyError("k"))
    with pytest.raises(KeyError):
        answer.result()
    assert isinstance(answer.error(), KeyError)


def test_a_call_is_made_once_whether_it_came_before_or_after() -> None:
    """In the thread that gives it, or at once."""
    answer = Answer()
    calls: list[str] = []
    answer.when_given(lambda one: calls.append(f"before {one.result()}"))
    answer.give(1)
    answer.when_given(lambda one: calls.append(f"after {one.result()}"))
    assert calls == ["before 1", "after 1"]


async def test_an_event_loop_may_wait_for_it_and_give_up() -> None:
    """The wait is cancelled, not what is waited for."""
    answer = Answer()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await answer.arrived()
    waiting = asyncio.create_task(answer.arrived())
    await asyncio.sleep(0)
    threading.Thread(target=answer.give, args=("there",)).start()
    assert await waiting == "there"
    assert await answer.arrived() == "there"
