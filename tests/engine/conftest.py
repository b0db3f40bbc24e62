"""Real local servers for the delivery tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engine.server import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that accepts everything unless told otherwise."""
    async with serving() as started:
        yield started


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    """A second one, for neighbours."""
    async with serving() as started:
        yield started


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff and probes in thousandths of their seconds; their figures have tests of their own."""
    from capi_async import backoff
    from capi_async.engine import worker

    monkeypatch.setattr(backoff, "_CEILINGS", [wait / 1000 for wait in backoff._CEILINGS])
    monkeypatch.setattr(worker, "LOOK_S", 0.02)
