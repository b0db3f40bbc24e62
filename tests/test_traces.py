"""Where an error came from, without what it was about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.errors import EventError
from capi_async.event import Event
from capi_async.traces import place_of, trace_of


def caught(text: str) -> Exception:
    try:
        return _failing(text)
    except ValueError as error:
        return error


def _failing(text: str) -> Exception:
    try:
        Event("purchase", value=text)
        raise RuntimeError(text)
    except RuntimeError:
        raise ValueError(text)  # noqa: B904 - its context is what is tested


@given(st.text(min_size=4).filter(lambda text: text not in "capi_async.traces tests.test_traces in caught _failing"))
def test_no_text_of_an_error_is_told(text: str) -> None:
    error = caught(text)
    assert place_of(error).startswith("tests.test_traces:")
    for line in trace_of(error).splitlines():
        assert line == "-- led to --" or line.isidentifier() or " in " in line


def test_an_error_that_never_left_the_package_is_placed_in_it() -> None:
    """And one that was never raised is nowhere."""
    with pytest.raises(EventError) as raised:
        Event("purchase", value=object())
    inside = raised.value.with_traceback(raised.tb.tb_next)
    assert place_of(inside).startswith("capi_async.")
    assert place_of(ValueError()) == ""
    assert trace_of(ValueError()) == "ValueError"


def test_errors_that_led_to_one_another_in_a_circle_come_to_an_end() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert trace_of(one) == "KeyError\n-- led to --\nValueError"
