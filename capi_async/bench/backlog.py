"""What accepting and delivering cost when much already waits in the SQLite spool."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from capi_async.bench.clockwork import Stopwatch, rss_mb
from capi_async.bench.feed import Feed
from capi_async.bench.ours import BATCH, destinations, event_of
from capi_async.client import Client

_TIMEOUT_S = 600.0


class Backlog:
    """One destination; ``pending`` events wait before the first measured one is accepted, then all are delivered."""

    def __init__(self, base: str, *, pending: int) -> None:
        self._to = destinations(base, 1)
        self._pending = pending

    async def measure(self, feed: Feed, *, warm_up: int, count: int) -> dict[str, Any]:
        """Figures of accepting; those of delivering have ``drain_`` before their names."""
        with tempfile.TemporaryDirectory(prefix="capi_async-bench-") as folder:
            path = Path(folder) / "events.db"
            options: dict[str, Any] = {
                "spool": f"sqlite:///{path}",
                "max_pending_events": self._pending + warm_up + count + 1,
                "max_pending_bytes": 1 << 40,
                "linger_s": 0.05,
            }
            total = self._pending + warm_up + count
            async with Client(self._to, deliver=False, **options) as client:
                await self._accept(client, feed, self._pending + warm_up)
                figures: dict[str, Any] = {"rss_before_mb": rss_mb()}
                clock = Stopwatch(feed)
                await self._accept(client, feed, count)
                figures |= clock.figures(count)
                figures["file_mb"] = path.stat().st_size / 1e6
            async with Client(self._to, **options) as client:
                clock = Stopwatch(feed)
                if not await client.flush(_TIMEOUT_S):
                    raise SystemExit("void: not everything was delivered")
                drained = clock.figures(total)
                delivered = client.ledger()[self._to[0].name].delivered
        figures |= {f"drain_{name}": value for name, value in drained.items()}
        return figures | {"sent": total, "delivered": delivered, "copies": 1}

    async def _accept(self, client: Client, feed: Feed, count: int) -> None:
        for rows in feed.batches(count, BATCH):
            await client.send_many([event_of(row) for row in rows], timeout_s=_TIMEOUT_S)
