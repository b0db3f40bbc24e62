"""A program under the real Sentry SDK, which sees warnings too: prints each of its events as a line of JSON.

Run as ``python -m tests.telemetry.sentry_program``: the SDK patches the whole process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from capi_async import Client, Event, Hook, User
from capi_async.telemetry.base import Settled
from tests.engine.acme import EMAIL, Acme
from tests.engine.server import Got, Reply, reply, serving, until

TOKEN = "zq-sentry-token"
EVENTS = 40


class Clumsy(Hook):
    """One that raises, with the person in its words."""

    def on_settled(self, settled: Settled) -> None:
        raise RuntimeError(f"{EMAIL} {settled.event_ids}")


def answer(request: Got) -> Reply:
    """One account is refused, one is down, one refuses each event in words of its own."""
    if "denied" in request.path:
        return reply(401)
    if "down" in request.path:
        return reply(500)
    errors = [{"index": at, "message": f"what {EMAIL} bought is bad"} for at in range(len(request.ids))]
    return reply(200, {"ok": True, "errors": errors})


async def work() -> None:
    async with serving() as server:
        server.script = answer
        destinations = [
            Acme(name=name, account_id=name, base_url=server.url, access_token=TOKEN, max_batch_events=5)
            for name in ("picky", "denied", "down")
        ]
        async with Client(destinations, linger_s=0, max_attempts=1, hooks=[Clumsy()]) as client:
            for number in range(EVENTS):
                await client.send(
                    Event("purchase", event_id=f"e{number}", user=User(email=EMAIL), value=1, currency="USD")
                )
            await until(lambda: client.ledger()["picky"].settled == EVENTS)
            await until(lambda: client.states()["denied"].state == "paused")
            await until(lambda: client.states()["down"].state == "broken")
            await client.aclose(0)


def main() -> None:
    captured: list[dict[str, Any]] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            captured.extend(item.payload.json for item in envelope.items if item.type == "event")

        def flush(self, *_: Any, **__: Any) -> None:
            pass

        def kill(self) -> None:
            pass

    logs = LoggingIntegration(level=logging.DEBUG, event_level=logging.WARNING)
    sentry_sdk.init(dsn="http://public@127.0.0.1:9/1", transport=Kept, integrations=[logs], send_default_pii=True)
    asyncio.run(work())
    sentry_sdk.flush()
    for one in captured:
        sys.stdout.write(json.dumps(one, default=str) + "\n")


if __name__ == "__main__":
    main()
