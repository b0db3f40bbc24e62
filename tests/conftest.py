"""What tests of several parts share, and how much of it they do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from capi_async.testing import ManualClock

# Inputs that hypothesis makes up for a test: new ones in every run. ``make chaos`` takes many times more of them. The
# machine may be busy, so no input has a deadline.
settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile(os.environ.get("CAPI_TEST_PROFILE", "quick"))

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Else pytest-asyncio, asking for the loop that was there before its own, has asyncio make one that nobody closes: it is
# found by whichever test collects garbage after the next asyncio.run().
asyncio.set_event_loop(None)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """What ``-n auto`` means: more than there are cores, because many tests wait for processes of theirs."""
    return (yield) + 2


@pytest.fixture
def clock() -> ManualClock:
    """A clock driven by hand."""
    return ManualClock()
