"""Listening to deliveries, and changing a token without a restart.

Run it with ``python examples/09_hooks.py``.

The first token is wrong: the platform refuses the whole account, so the destination pauses and keeps its events.
Nothing is lost; when the right token turns up, they leave.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from capi_async import Client, Event, Page, User
from capi_async.destinations import Snap
from capi_async.sandbox import Sandbox
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged


class Watch(Hook):
    """Counts what happens. Methods run on the event loop, so they only take notes; none is told personal data."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.paused = asyncio.Event()

    def on_request(self, done: RequestDone) -> None:
        self.requests[done.status] += 1

    def on_settled(self, settled: Settled) -> None:
        self.outcomes.update(outcome.kind for outcome in settled.outcomes)

    def on_state(self, change: StateChanged) -> None:
        print(f"{change.destination} is {change.state} {change.reason}".rstrip())  # here one would page somebody
        if change.state == "paused":
            self.paused.set()


class Vault:
    """Where the tokens are: a secret manager, say."""

    def __init__(self, token: str) -> None:
        self.value = token

    async def token(self) -> str:
        """Asked before each request, so cache what is slow to fetch."""
        return self.value


async def main() -> None:
    watch, vault = Watch(), Vault("expired-token")
    async with Sandbox() as sandbox:
        snap = Snap(
            pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
            access_token=vault.token,  # the function itself, not its result
            base_url=sandbox.url("snap"),
        )
        async with Client([snap], hooks=[watch], linger_s=0) as client:
            receipt = await client.send(
                Event(
                    "sign_up",
                    user=User(email="ada@shop.example"),
                    page=Page(url="https://shop.example/welcome"),
                )
            )
            await asyncio.wait_for(watch.paused.wait(), timeout=10)
            print("states:", client.states()["snap"].state, "- waiting:", client.ledger()["snap"].pending)

            vault.value = "sandbox-token"  # somebody renewed it
            outcome = (await receipt.outcomes(timeout_s=30))["snap"]
            print("outcome:", outcome.kind, "after", outcome.attempts, "attempts")
    print("answers by status:", dict(watch.requests), "- outcomes:", dict(watch.outcomes))


if __name__ == "__main__":
    asyncio.run(main())
