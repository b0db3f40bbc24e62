"""Bodies of a request: in slices that are joined when they are read."""

from __future__ import annotations

import pytest

from capi_async.slices import SLICE_BYTES, json_slices
from capi_async.spec import Request


def _bodies(count: int, size: int) -> list[bytes]:
    return [b'{"n":"%0*d"}' % (size, number) for number in range(count)]


@pytest.mark.parametrize(
    "bodies",
    [
        [b"{}"],
        _bodies(10, 5),
        _bodies(2_000, 700),
        _bodies(3, SLICE_BYTES // 2),
        _bodies(4, SLICE_BYTES - 8),
        [*_bodies(500, 1), *_bodies(5, 100_000), *_bodies(500, 1)],
        [*_bodies(10, 5), *_bodies(1, 3 * SLICE_BYTES), *_bodies(10, 5)],
    ],
    ids=["one", "few", "many", "halves", "whole slices", "uneven", "one larger than a slice"],
)
def test_all_slices_together_are_the_bodies_with_commas_between_them(bodies: list[bytes]) -> None:
    """Whichever way they are read, and however often; none is much longer than a slice."""
    made = json_slices(b'{"data":[', bodies, b"]}")
    whole = b'{"data":[' + b",".join(bodies) + b"]}"
    assert b"".join(made) == b"".join(made) == whole
    assert b"".join([made[at] for at in range(len(made))]) == whole
    assert b"".join(made[:1]) + b"".join(made[1:]) == whole
    assert made[-1] == list(made)[-1]
    assert max(map(len, made)) <= 2 * SLICE_BYTES + 100
    assert len(made) == 1 or min(map(len, made)) > 0
    assert Request("POST", "https://capi.acme.example", {}, made).size == len(whole)


def test_there_is_no_slice_behind_the_last() -> None:
    """As with any sequence."""
    made = json_slices(b"[", _bodies(2_000, 700), b"]")
    with pytest.raises(IndexError):
        made[len(made)]


def test_requests_of_the_same_bytes_are_equal() -> None:
    """So that a destination's own tests may compare them."""
    one, same = (json_slices(b"[", _bodies(2_000, 700), b"]") for _ in range(2))
    assert one == same == tuple(one)
    assert one != json_slices(b"[", _bodies(2_000, 701), b"]")
    assert one != json_slices(b"[", _bodies(2_000, 700), b"} ")
    assert one != 1
    assert Request("POST", "https://capi.acme.example", {}, one) == Request(
        "POST", "https://capi.acme.example", {}, same
    )


def test_what_is_no_bytes_is_found_when_the_request_is_made() -> None:
    """Not when it is on its way."""
    with pytest.raises(TypeError):
        json_slices(b"[", ["x" * 1_000] * 1_000, b"]")  # type: ignore[list-item]
