"""What tests of several parts share."""

from __future__ import annotations

import pytest

from capi_async.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock driven by hand."""
    return ManualClock()
