"""What is remembered stays bounded, and letting go costs little."""

from __future__ import annotations

from capi_async.bounded import make_room


def test_the_oldest_keys_go_when_there_are_too_many():
    held: dict[int, None] = {}
    for number in range(100):
        make_room(held, number, 32)
        held[number] = None
        assert len(held) <= 32
        assert number in held
    assert list(held) == list(range(100 - len(held), 100))
    assert len(held) >= 30


def test_two_keys_are_few_enough_to_go_one_by_one():
    held = dict.fromkeys("ab")
    make_room(held, "c", 2)
    assert list(held) == ["b"]


def test_nothing_goes_while_there_is_room():
    held = dict.fromkeys("ab")
    make_room(held, "c", 3)
    assert list(held) == ["a", "b"]


def test_nothing_goes_for_a_key_that_is_there():
    held = dict.fromkeys("ab")
    make_room(held, "a", 2)
    assert list(held) == ["a", "b"]
