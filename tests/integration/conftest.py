"""A sandbox in this process, and clients for it that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from capi_async import Client
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination

from .accounts import RATES, Listener, SkippingClock


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
async def listener() -> Listener:
    return Listener()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def sandbox(stack: AsyncExitStack) -> Sandbox:
    """Strict, without faults, and without CutMeShort's 60 requests a minute."""
    return await stack.enter_async_context(Sandbox(rates=RATES))


@pytest.fixture
async def connect(
    stack: AsyncExitStack, sandbox: Sandbox, clock: SkippingClock, listener: Listener
) -> Callable[..., Client]:
    """Makes clients on the skipping clock; they close at once when the test ends, before the sandbox does."""

    def connect(destinations: Sequence[Destination], **options: Any) -> Client:
        client = Client(destinations, **{"linger_s": 0.01, "clock": clock, "hooks": [listener], **options})
        stack.push_async_callback(client.aclose, 0.0)
        return client

    return connect
