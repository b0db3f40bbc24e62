"""One account per destination at the sandbox, events for them, and what a test needs to follow their delivery."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from capi_async import Client, Event, Item, Outcome, Page, Receipt, User
from capi_async.destinations import destination_class, destination_types
from capi_async.sandbox import TOKEN, Sandbox
from capi_async.spec import Destination
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged

TYPES = destination_types()

#: Type to its account, the credential aside.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "snap": {"pixel_id": "11111111-2222-3333-4444-555555555555"},
    "snap_v2": {"pixel_id": "11111111-2222-3333-4444-555555555555"},
    "pinterest": {"ad_account_id": "549755885175"},
    "tiktok": {"pixel_code": "CEXAMPLE0000000000AA", "offline_event_set_id": "OFFLINE00000001"},
    "tiktok_pixel": {"pixel_code": "CEXAMPLE0000000000AA"},
    "cutmeshort": {},
    "meta": {"pixel_id": "1234567890"},
}
#: Type to the wire key that holds the event's id (CutMeShort knows an event by its order).
ID_KEYS: Mapping[str, str] = {
    "snap": "event_id",
    "snap_v2": "client_dedup_id",
    "pinterest": "event_id",
    "tiktok": "event_id",
    "tiktok_pixel": "event_id",
    "cutmeshort": "invoiceId",
    "meta": "event_id",
}
#: The sandbox counts CutMeShort's 60 requests a minute like the platform does; tests lift that.
RATES: Mapping[str, None] = {"cutmeshort": None}


def account(sandbox: Sandbox, type_name: str, **changes: Any) -> Destination:
    """The type's account at the sandbox, as fast as it can be."""
    credential = "token" if type_name == "cutmeshort" else "access_token"
    return destination_class(type_name)(
        **{
            "base_url": sandbox.url(type_name),
            "requests_per_s": 100_000.0,
            "burst": 100_000.0,
            **SETTINGS[type_name],
            credential: TOKEN,
            **changes,
        }
    )


def every_account(sandbox: Sandbox, **changes: Any) -> list[Destination]:
    """One of each."""
    return [account(sandbox, type_name, **changes) for type_name in TYPES]


def purchase(number: object, **changes: Any) -> Event:
    """An order that every platform takes."""
    fields: dict[str, Any] = {
        "event_id": f"order-{number}",
        "order_id": f"order-{number}",
        "time": datetime.now(UTC) - timedelta(minutes=1),
        "user": User(email=f"jane{number}@example.com", external_id=f"user-{number}", phone="+14155552671"),
        "value": "10.50",
        "currency": "USD",
        "items": [Item(id="sku-1", quantity=1, price="10.50")],
        "page": Page(url="https://shop.example/thanks"),
        **changes,
    }
    return Event(fields.pop("name", "purchase"), **fields)


def lead(number: object, **changes: Any) -> Event:
    """Somebody left an address."""
    return purchase(
        number, **{"name": "lead", "order_id": None, "value": None, "currency": None, "items": (), **changes}
    )


class SkippingClock:
    """Real time, plus what a test skips: waits of minutes pass at once. Wall time is left alone, so nothing expires."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def wall(self) -> float:
        return time.time()

    def skip(self, seconds: float) -> None:
        """Seconds later."""
        self._skipped += seconds


class Listener(Hook):
    """Remembers what a client tells, and waits for it."""

    def __init__(self) -> None:
        self.requests: list[RequestDone] = []
        self.states: list[StateChanged] = []
        self.settled: Counter[str] = Counter()
        self._news = asyncio.Event()

    def on_request(self, done: RequestDone) -> None:
        self.requests.append(done)
        self._news.set()

    def on_settled(self, settled: Settled) -> None:
        self.settled[settled.destination] += len(settled.event_ids)
        self._news.set()

    def on_state(self, change: StateChanged) -> None:
        self.states.append(change)
        self._news.set()

    def of(self, destination: str) -> list[RequestDone]:
        """The requests of one destination, in the order of their answers."""
        return [done for done in self.requests if done.destination == destination]

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Return as soon as the condition holds; it is looked at whenever something is told."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def finish(client: Client, clock: SkippingClock, *, within_s: float = 20.0) -> None:
    """Deliver everything, skipping over the waits between attempts."""
    give_up_at = time.monotonic() + within_s
    # workers look at the clock again whenever somebody wants a flush
    while not await client.flush(0.05):
        assert time.monotonic() < give_up_at, f"not finished: {client.ledger()}, {client.states()}"
        clock.skip(600.0)


async def outcomes(receipts: Sequence[Receipt], destination: str) -> list[Outcome]:
    """The final outcomes at one destination."""
    return [(await receipt.outcomes(timeout_s=5))[destination] for receipt in receipts]


def assert_balanced(client: Client) -> None:
    """Every accepted event is in exactly one state."""
    for name, counts in client.ledger().items():
        states = {state: getattr(counts, state) for state in counts.__struct_fields__}
        assert states.pop("accepted") == sum(states.values()), (name, counts)
