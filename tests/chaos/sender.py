"""Sends as fast as it can until it is killed; writes down the id of every event for which ``send()`` returned.

``python -m tests.chaos.sender FOLDER BASE_URL RUN [--drain SECONDS]``
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from capi_async import Client, Event, Page, User
from capi_async.destinations import Pinterest, Snap
from capi_async.spec import Destination
from capi_async.testing import assert_balanced
from tests.chaos.server import RUN

TASKS = 40


def destinations(base: str) -> list[Destination]:
    """One that recognises copies for two days, and one that does not recognise those of offline events."""
    return [
        Snap(
            pixel_id="11111111-2222-3333-4444-555555555555",
            access_token="sandbox-token",
            base_url=f"{base}/snap",
            requests_per_s=500.0,
        ),
        Pinterest(
            ad_account_id="549755885175",
            access_token="sandbox-token",
            base_url=f"{base}/pinterest",
            requests_per_s=500.0,
        ),
    ]


@asynccontextmanager
async def client(folder: Path, base: str, run: int) -> AsyncIterator[Client]:
    """The one that is killed, and its successors; every request says which of them it is."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers={RUN: str(run)}) as session,
        Client(
            destinations(base),
            spool=f"sqlite:///{folder}/events.db",
            linger_s=0.02,
            max_pending_events=1_000_000,
            session=session,
        ) as it,
    ):
        yield it


def event(run: int, number: int) -> Event:
    """Every fourth is an offline event: Pinterest could count a copy of it twice."""
    offline = number % 4 == 0
    return Event(
        "purchase",
        event_id=f"{run}-{number}",
        source="offline" if offline else "website",
        user=User(email=f"person{number}@example.com", ip="203.0.113.7", user_agent="Mozilla/5.0"),
        page=Page() if offline else Page(url="https://shop.example/thanks"),
        value="12.50",
        currency="USD",
    )


async def send(folder: Path, base: str, run: int) -> None:
    """Until killed."""
    log = os.open(folder / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    numbers = itertools.count()
    async with client(folder, base, run) as it:
        print("ready", flush=True)

        async def one() -> None:
            for number in numbers:
                receipt = await it.send(event(run, number), timeout_s=30)
                os.write(log, f"{receipt.event_id}\n".encode())

        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(one())


async def drain(folder: Path, base: str, run: int, timeout_s: float) -> None:
    """Deliver what is left, and check the ledger."""
    async with client(folder, base, run) as it:
        await it.flush(timeout_s)
        ids = (folder / "accepted").read_text("ascii").split()
        assert_balanced(it, ids=ids, pending=0)


if __name__ == "__main__":
    place, url, turn, *rest = sys.argv[1:]
    where = Path(place).absolute()
    if rest:
        asyncio.run(drain(where, url, int(turn), float(rest[1])))
    else:
        asyncio.run(send(where, url, int(turn)))
