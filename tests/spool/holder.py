"""A process that has taken events up, in every state that they can be in, and goes on when it is told.

``python -m tests.spool.holder FILE BASE_URL``: accepts one event each of ``ada`` and ``bob``, says ``holds`` once its
destinations have them, and at each further line says its ledger; the line ``flush`` has it send what lingers first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from msgspec import structs

from capi_async import Client, Event, Page, User
from capi_async.destinations import Pinterest, Snap, TikTok
from capi_async.telemetry.base import Hook, RequestDone
from tests.spool.harness import eventually
from tests.spool.sharer import say

PEOPLE = ("ada", "bob")


class Answered(Hook):
    """Which destinations have had an answer."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def on_request(self, done: RequestDone) -> None:
        self.names.add(done.destination)


def client(file: str, base: str, *, deliver: bool = True, hooks: Sequence[Hook] = ()) -> Client:
    """One platform that refuses for now, one that does not answer, one whose batch waits for company."""
    return Client(
        [
            Snap(
                pixel_id="11111111-2222-3333-4444-555555555555",
                access_token="sandbox-token",
                base_url=f"{base}/snap",
                linger_s=0,
            ),
            Pinterest(
                ad_account_id="549755885175",
                access_token="sandbox-token",
                base_url=f"{base}/pinterest",
                linger_s=0,
                request_timeout_s=2.0,
            ),
            TikTok(
                pixel_code="C4B5PHRO4U2ASQ5J0J70", access_token="sandbox-token", base_url=f"{base}/tiktok", linger_s=600
            ),
        ],
        spool=f"sqlite:///{file}",
        deliver=deliver,
        hooks=hooks,
    )


def event(name: str) -> Event:
    """Somebody's purchase."""
    return Event(
        "purchase",
        event_id=f"sale-{name}",
        user=User(email=f"{name}@example.com", ip="203.0.113.7", user_agent="Mozilla/5.0"),
        page=Page(url="https://shop.example/thanks"),
        value="12.50",
        currency="USD",
    )


async def hold(file: str, base: str) -> None:
    """Accept, and go on when told."""
    answered = Answered()
    async with client(file, base, hooks=[answered]) as it:
        await it.send_many([event(name) for name in PEOPLE])
        workers = it._engine.workers  # type: ignore[union-attr]
        snap, pinterest, tiktok = (workers[name] for name in ("snap", "pinterest", "tiktok"))
        await eventually(
            lambda: (
                "snap" in answered.names
                and not snap.busy()
                and pinterest._exchange.sending
                and tiktok._batcher.records == len(PEOPLE)
            )
        )
        say("holds")
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "flush":
                await it.flush(10)
            say(json.dumps({name: structs.asdict(counts) for name, counts in it.ledger().items()}))


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], sys.argv[2]))
