"""A file of any size, one event per line as JSON, sent with bounded memory.

    python examples/07_batch_file.py [events.jsonl]

Without a file, 5,000 events are invented first. (``capi-async send`` does the same from a shell.)
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from capi_async import Client, Event, EventError
from capi_async.destinations import Meta, Snap
from capi_async.sandbox import Sandbox

BATCH = 500


def invent(path: Path, count: int) -> None:
    """Write purchases of the last hours, and one line that is no event."""
    now = datetime.now(UTC)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            event = {
                "name": "purchase",
                "order_id": f"{number:06}",
                "time": (now - timedelta(seconds=5 * number)).isoformat(),
                "user": {"email": f"customer{number % 700}@shop.example", "ip": "203.0.113.7", "user_agent": "Mozilla"},
                "value": f"{number % 90 + 10}.90",
                "currency": "EUR",
                "page": {"url": "https://shop.example/thanks"},
            }
            print(json.dumps(event), file=file)
        print('{"name": "purchase", "value": "-5.00", "currency": "EUR"}', file=file)


def read(path: Path) -> Iterator[list[Event]]:
    """The file's events in lists of ``BATCH``; a bad line is reported and costs only itself."""
    batch: list[Event] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                batch.append(Event.from_json(line))
            except EventError as error:
                print(f"line {number}: {error}")  # names the field, never quotes the value
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


async def deliver(path: Path) -> None:
    async with Sandbox() as sandbox:
        destinations = [
            Snap(
                pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
                access_token="sandbox-token",
                base_url=sandbox.url("snap"),
            ),
            Meta(pixel_id="100000000000001", access_token="sandbox-token", base_url=sandbox.url("meta")),
        ]
        # Memory holds one batch and, for each destination, at most this many events that wait: beyond it send_many()
        # waits for the slowest platform that still makes progress.
        async with Client(destinations, max_pending_events=2_000) as client:
            for batch in read(path):
                # the receipts are dropped on purpose: kept, they would grow with the file
                await client.send_many(batch, timeout_s=60)
            await client.flush(timeout_s=60)
            for name, counts in client.ledger().items():
                print(
                    f"{name:5} accepted {counts.accepted:,}, delivered {counts.delivered:,}, "
                    f"rejected {counts.rejected:,}, pending {counts.pending:,}"
                )


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(deliver(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        invent(path, 5_000)
        asyncio.run(deliver(path))


if __name__ == "__main__":
    main()
