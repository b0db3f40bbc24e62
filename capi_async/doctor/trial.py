"""One test event at a platform: what it is, and how long its outcome is waited for."""

from __future__ import annotations

import asyncio
from typing import Final

from capi_async.engine.receipt import Receipt
from capi_async.event import Event, Item, Page, User, new_event_id
from capi_async.outcome import Outcome

#: Seconds that a test event may take.
_TRIAL_S: Final = 15.0


def trial_event() -> Event:
    """A test event of an invented person, which every platform's own checks take."""
    return Event(
        "purchase",
        order_id=f"capi-doctor-{new_event_id()}",
        value=1,
        currency="USD",
        user=User(email="doctor@example.com", external_id="capi-doctor", user_agent="capi_async"),
        page=Page(url="https://example.com/"),
        items=[Item(id="capi-doctor", quantity=1, price=1)],
        test=True,
    )


async def trial_outcome(receipt: Receipt, destination: str) -> Outcome:
    """What became of it; of one whose destination is paused, or that takes too long, that it is ``pending`` and why."""
    until = asyncio.get_running_loop().time() + _TRIAL_S
    while True:
        outcome = (await receipt.outcomes(timeout_s=0.25))[destination]
        # one that is paused says why, and nothing more will come
        if outcome.kind != "pending" or outcome.reason or asyncio.get_running_loop().time() > until:
            return outcome
