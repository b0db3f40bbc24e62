"""One of several processes on one spool file.

``python -m tests.spool.sharer FILE BASE_URL NUMBER EVENTS``: says ``ready``, waits for a line, has its events accepted,
says ``accepted``, delivers until nothing is left, and says when its requests left and were answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

from capi_async import Client, Event, Page, User
from capi_async.destinations import Pinterest, Snap
from capi_async.telemetry.base import Hook, RequestDone

#: Requests per second of all processes together, and how many may gather.
RATE = 40.0
BURST = 8.0


class Log(Hook):
    """When each of Snap's requests drew its token, and when it was answered, by the host's monotonic clock."""

    def __init__(self) -> None:
        self.requests: list[tuple[float, float]] = []

    def on_request(self, done: RequestDone) -> None:
        if done.destination == "snap":
            now = time.monotonic()
            self.requests.append((now - done.duration_s, now))


def client(file: str, base: str, *, deliver: bool = True, hooks: Sequence[Hook] = ()) -> Client:
    """One platform with a rate, and one without that would count a second copy of an offline event again."""
    return Client(
        [
            Snap(
                pixel_id="11111111-2222-3333-4444-555555555555",
                access_token="sandbox-token",
                base_url=f"{base}/snap",
                requests_per_s=RATE,
                burst=BURST,
                max_batch_events=1,
            ),
            Pinterest(
                ad_account_id="549755885175",
                access_token="sandbox-token",
                base_url=f"{base}/pinterest",
                requests_per_s=1_000.0,
                burst=1_000.0,
                max_batch_events=3,
            ),
        ],
        spool=f"sqlite:///{file}",
        linger_s=0,
        deliver=deliver,
        hooks=hooks,
    )


def event(number: int | str) -> Event:
    """A store's sale."""
    return Event(
        "purchase",
        event_id=f"sale-{number}",
        source="offline",
        user=User(email=f"person{number}@example.com"),
        page=Page(),
        value="12.50",
        currency="USD",
    )


def say(what: object) -> None:
    """To the parent."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def share(file: str, base: str, number: int, events: int) -> None:
    """Live and work."""
    log = Log()
    async with client(file, base, hooks=[log]) as it:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        for start in range(0, events, 5):
            await it.send_many([event(f"{number}-{index}") for index in range(start, start + 5)])
        say("accepted")
        await it.flush(60)
    say(json.dumps(log.requests))


if __name__ == "__main__":
    asyncio.run(share(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
