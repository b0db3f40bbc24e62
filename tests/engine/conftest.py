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
    from capi_async.backoff import Backoff
    from capi_async.engine import breaker, health, worker

    for module in (breaker, health, worker):
        monkeypatch.setattr(module, "DELIVERY", Backoff(first_s=0.0005, longest_s=0.06))
    monkeypatch.setattr(worker, "LOOK_S", 0.02)
