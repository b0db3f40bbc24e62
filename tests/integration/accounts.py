"""One account per destination at the sandbox, events for them, and what a test needs to follow their delivery."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from capi_async import ClickIds, Client, Event, Item, Outcome, Page, Receipt, User
from capi_async.destinations import destination_types, row_of
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged
from capi_async.testing.conformance import value_at

TYPES = destination_types()

#: Platforms that answer yes to anything, a wrong credential and a bad event included.
BLIND = ("ga4",)
#: Those whose answers tell.
TELLING = [type_name for type_name in TYPES if type_name not in BLIND]

#: Where TikTok takes leads that came from no page.
OFFLINE = {"offline_event_set_id": "OFFLINE00000001"}

#: The sandbox counts CutMeShort's 60 requests a minute like the platform does; tests lift that.
RATES: Mapping[str, None] = {"cutmeshort": None}


def account(sandbox: Sandbox, type_name: str, **changes: Any) -> Destination:
    """The type's account at the sandbox, as fast as it can be."""
    row = row_of(type_name)
    return row.load()(
        **{
            **row.settings(),
            **row.played,
            row.address: sandbox.url(type_name),
            "requests_per_s": 100_000.0,
            "burst": 100_000.0,
            **(OFFLINE if type_name == "tiktok" else {}),
            **{row.address if setting == "base_url" else setting: value for setting, value in changes.items()},
        }
    )


def id_of(type_name: str, event: Mapping[str, Any]) -> Any:
    """What stands for the event's id in its object on the wire (some platforms know an event by its order)."""
    return value_at(event, row_of(type_name).load().dedup_key)  # type: ignore[attr-defined]


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
        "click": ClickIds(ga_client_id="1234567890.1687654321"),
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
