"""The libraries of :mod:`~capi_async.bench.peers` in the routes of a web application, with their own settings.

What hands an event to a queue is called as it is. What blocks until it is answered has to run in a thread.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from capi_async.bench.feed import Row
from capi_async.bench.peers import MetaSdk, PostHog, Segment

#: Events of a request, as both libraries with a queue have it unless told otherwise.
BATCH: Final = 100


class Queued:
    """posthog's ``capture`` or segment-analytics-python's ``track``."""

    copies = 1

    def __init__(self, base: str, *, library: str) -> None:
        self._it: Any = {"posthog": PostHog, "segment": Segment}[library](base, batch=BATCH)

    async def open(self) -> None:
        """Make the client."""
        self._it.open()

    async def call(self, row: Row) -> None:
        """On return the event is in the library's memory."""
        self._it.hand_in(row)

    async def finish(self) -> None:
        """Wait for the library's thread."""
        await asyncio.to_thread(self._it.flush)

    async def close(self) -> int:
        """All that was queued, less what failed."""
        return int(await asyncio.to_thread(self._it.close))


class PostHogAsync:
    """posthog's client for asyncio: ``capture`` fills a queue, which a task of the same loop empties (needs httpx)."""

    copies = 1

    def __init__(self, base: str) -> None:
        self._it = PostHog(base, batch=BATCH)
        self._base = base

    async def open(self) -> None:
        """Make the client."""
        from posthog import AsyncPosthog

        # its own interval of five seconds would leave most of a short run to the end
        self._it.client = AsyncPosthog(
            "sink", host=f"{self._base}/posthog", flush_interval=1.0, on_error=self._it.on_error
        )

    async def call(self, row: Row) -> None:
        """On return the event is in the library's memory."""
        self._it.hand_in(row)

    async def finish(self) -> None:
        """Wait for its task."""
        await self._it.client.flush()

    async def close(self) -> int:
        """All that was queued, less what failed."""
        await self._it.client.shutdown()
        return self._it.delivered


class Meta:
    """facebook-business, one event a request, in a thread."""

    copies = 1

    def __init__(self, base: str) -> None:
        self._it = MetaSdk(base, batch=1)

    async def open(self) -> None:
        """Load the library."""
        self._it.open()

    async def call(self, row: Row) -> None:
        """On return the event is answered."""
        await asyncio.to_thread(self._it.post, [row])

    async def finish(self) -> None:
        """Nothing waits."""

    async def close(self) -> int:
        """What was answered as received."""
        return self._it.close()
