"""A large request is settled in parts, between which the event loop gets its turn: nobody notices but the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from capi_async import Client, Hook, User
from capi_async.engine import turns
from capi_async.telemetry.base import Settled
from tests.engine.acme import EMAIL, Acme, events
from tests.engine.server import Server, until

MANY = 1_700


class Heard(Hook):
    """What was settled, in its parts; ``then`` is called after the first of them.

    Attributes:
        turns: How many turns of the loop were seen before each part.
    """

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.parts: list[list[str]] = []
        self.turns: list[int] = []
        self._then = then
        self._turn = 0

    async def count(self) -> None:
        while True:
            self._turn += 1
            await asyncio.sleep(0)

    def on_settled(self, settled: Settled) -> None:
        self.parts.append(list(settled.event_ids))
        self.turns.append(self._turn)
        if len(self.parts) == 1:
            self._then()

    @property
    def ids(self) -> list[str]:
        return sorted([event_id for part in self.parts for event_id in part])


def client(server: Server, hook: Hook, *names: str) -> Client:
    made = [Acme(name=name, account_id=name, base_url=server.url) for name in names or ("acme",)]
    return Client(made, hooks=[hook], linger_s=5)


async def test_parts_of_large_requests_are_settled_in_turns_of_their_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of several destinations, which are answered at the same time."""
    monkeypatch.setattr(turns, "_LONG_S", 60.0)
    heard = Heard()
    counting = asyncio.create_task(heard.count())
    async with client(server, heard, "north", "south") as sender:
        receipts = await sender.send_many(events(MANY))
        assert await sender.flush(10)
        found = [receipt.known() for receipt in receipts]
    counting.cancel()
    assert {outcome.kind for known in found for outcome in known.values()} == {"delivered"}
    assert heard.ids == sorted([f"e{number}" for number in range(1, MANY + 1)] * 2)
    assert max(map(len, heard.parts)) <= 500
    # the counter may come before a part in one turn, and behind the next part in the next
    assert max(Counter(heard.turns).values()) <= 2
    assert len(set(heard.turns)) > len(heard.turns) // 2


@pytest.mark.parametrize("whole", [True, False], ids=["all tasks", "what carries the request"])
async def test_a_cancellation_between_two_parts_loses_and_doubles_no_outcome(
    server: Server, whole: bool, short_waits: None
) -> None:
    """The platform has answered for all of them: none is sent again, and each has its one outcome."""
    cancelled: list[str] = []

    def cancel() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_name().startswith("capi_async") and (whole or "_work" in task.get_name()):
                cancelled.append(task.get_name())
                task.cancel()

    # called later: the delivery itself calls the hook, and is the current task
    heard = Heard(lambda: asyncio.get_running_loop().call_soon(cancel) and None)
    sender = client(server, heard)
    await sender.__aenter__()
    receipts = await sender.send_many(events(MANY))
    flushing = asyncio.ensure_future(sender.flush(5))
    await until(lambda: len(heard.ids) >= MANY)
    await asyncio.gather(flushing, return_exceptions=True)
    assert any("_work" in name for name in cancelled)
    assert {receipt.known()["acme"].kind for receipt in receipts} == {"delivered"}
    assert (await sender.aclose(1)).pending == {}
    async with sender:
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == MANY
    assert len(heard.ids) == len(set(heard.ids)) == MANY
    assert sorted(server.ids) == heard.ids


async def test_what_is_erased_between_two_parts_keeps_the_outcome_that_the_platform_gave(server: Server) -> None:
    """It was delivered before anybody asked to erase it."""
    asked: list[asyncio.Future[Mapping[str, int]]] = []
    heard = Heard(lambda: asked.append(asyncio.ensure_future(sender.forget(User(email=EMAIL)))))
    async with client(server, heard) as sender:
        receipts = await sender.send_many(events(MANY))
        assert await sender.flush(10)
        assert await asyncio.gather(*asked) == [{}]
        assert {receipt.known()["acme"].kind for receipt in receipts} == {"delivered"}
        assert sender.ledger()["acme"].delivered == MANY
    assert len(heard.ids) == MANY
