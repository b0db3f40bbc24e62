"""An event that comes alone is prepared and stored where it is handed in; whatever is not small and usual is not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capi_async import Client, ConfigError, Consent, Event, Hashed, Item, Page, QueueFull, User
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.engine import straight
from capi_async.engine.prepare import Prepare, Preparer
from capi_async.engine.receipt import Delivery, Receipt
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Destination, Refusal, Wire
from capi_async.spool.base import Record, Refused
from capi_async.spool.memory import MemorySpool
from capi_async.telemetry.base import Hook, Prepared, Stored, Taken
from capi_async.testing import ManualClock
from tests.engine.acme import Acme, event
from tests.engine.server import Server, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Slow(Acme, frozen=True, kw_only=True):
    """Says of itself that it may take long."""

    brief: ClassVar[bool] = False


class Own(Acme, frozen=True, kw_only=True):
    """Maps in its own way, and does not say how long that takes."""

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        return super().to_wire(event, ids)


class Raising(Acme, frozen=True, kw_only=True):
    """Raises what it is told to."""

    brief: ClassVar[bool] = True

    what: Any = None

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        if self.what is not None and event.name == "lead":
            raise self.what
        return super().to_wire(event, ids)


def client(*destinations: Destination, **options: Any) -> Client:
    """Its events hardly wait for others: in memory they would be kept as they are, and prepared later."""
    return Client(destinations, **{"linger_s": 0.03, **options})


def accepted(sender: Client, name: str = "acme") -> int:
    return sender.ledger()[name].accepted


async def is_straight(server: Server, one: Event, made: Destination | None = None, **options: Any) -> bool:
    """Whether an event that is handed in alone is in the spool when :meth:`Client.enqueue` returns."""
    made = made or Acme(base_url=server.url)
    async with client(made, **options) as sender:
        await asyncio.sleep(0)
        receipt = sender.enqueue(one)
        at_once = accepted(sender, made.name)
        await receipt.accepted()
        assert accepted(sender, made.name) == 1
        assert await sender.flush(5)
        await receipt.outcomes(5)
    return at_once == 1


async def test_a_lone_event_is_stored_without_a_turn_of_the_loop(server: Server) -> None:
    """send() awaits nothing, and the outcome comes as ever."""
    async with client(Acme(base_url=server.url)) as sender:
        await asyncio.sleep(0)
        sending = sender.send(event())
        with pytest.raises(StopIteration) as stopped:
            sending.send(None)
        assert accepted(sender) == 1
        assert await sender.flush(5)
        assert (await stopped.value.value.outcomes(5))["acme"].kind == "delivered"
    assert server.ids == ["e1"]


@pytest.mark.parametrize(
    "one",
    [
        event(user=User(phone="+1 (415) 555-2671")),
        event(user=User(phone=Hashed("a" * 64, "phone_e164"))),
        event(properties={"note": "n" * 1_000}),
        event(items=[Item(id=str(number)) for number in range(16)]),
        event(to=["acme"]),
        event(to=[]),
        event(name="login"),  # which Acme does not have
        event(page=Page(url="https://shop.example/ü")),
    ],
)
async def test_what_is_small_and_usual_goes_straight(server: Server, one: Event) -> None:
    """Also what a destination refuses: that is an answer like others."""
    assert await is_straight(server, one)


@pytest.mark.parametrize(
    "one",
    [
        event(user=User(phone="(415) 555-2671", country="US")),
        event(user=User(phone=["+14155552671", "+14155552672"])),
        event(user=User(external_id="x" * 4_000)),
        event(properties={"note": "n" * 4_000}),
        event(properties={str(number): number for number in range(17)}),
        event(items=[Item(id=str(number)) for number in range(17)]),
        event(extra={"acme": {"facts": {}}}),
        event(name="Größe"),  # rejected, after the log has had the name
        event(time=event().time + timedelta(days=1)),
        event(time=event().time - timedelta(days=99)),
    ],
)
async def test_what_is_not_goes_through_the_thread(server: Server, one: Event) -> None:
    """Where it is prepared as it always was."""
    assert not await is_straight(server, one)


@pytest.mark.parametrize(
    "options",
    [{"prepare": "thread"}, {"before_send": lambda one: one}, {"mode": "off"}, {"max_pending_bytes": 10}],
)
async def test_settings_keep_all_events_from_it(server: Server, options: dict[str, Any]) -> None:
    """The setting itself, code of the user's, a client that is off, and a queue without plenty of room."""
    assert not await is_straight(server, event(), **options)


async def test_destinations_with_code_of_the_users_keep_all_events_from_it(server: Server) -> None:
    """One that does not call itself brief, one that maps in its own way, and one whose value is a function."""
    assert not await is_straight(server, event(), Own(base_url=server.url))
    assert not await is_straight(server, event(), Slow(base_url=server.url))
    assert not await is_straight(server, event(value=2, currency="EUR"), Acme(base_url=server.url, value=lambda _e: 1))
    assert await is_straight(server, event(value=2, currency="EUR"), Acme(base_url=server.url, value="margin"))


def test_the_setting_has_two_values() -> None:
    """Another one is refused before any I/O."""
    with pytest.raises(ConfigError, match="prepare is one of auto, thread"):
        client(Acme(), prepare="loop")  # type: ignore[arg-type]


async def test_two_a_turn_go_straight_and_the_others_wait_in_order(server: Server) -> None:
    """The loop is not held by a crowd, and nobody is overtaken."""
    async with client(Acme(base_url=server.url)) as sender:
        await asyncio.sleep(0)
        receipts = [sender.enqueue(event(number)) for number in range(6)]
        assert accepted(sender) == straight.TOGETHER
        await asyncio.sleep(0)
        # a new turn, but those before it are still being prepared
        receipts.append(sender.enqueue(event(6)))
        assert accepted(sender) == straight.TOGETHER
        for one in receipts:
            await one.accepted()
        assert await sender.flush(5)
    assert server.ids == [f"e{number}" for number in range(7)]


async def test_a_loop_of_sends_gives_the_event_loop_its_turns(server: Server) -> None:
    """Somebody else gets a turn at least after every second event."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with client(Acme(base_url=server.url)) as sender:
        task = asyncio.create_task(other())
        for number in range(20):
            await sender.send(event(number))
        assert turns >= 20 // straight.TOGETHER - 1
        task.cancel()
        assert await sender.flush(5)


async def test_a_thread_hands_in_straight_too(server: Server) -> None:
    """What enqueue() hands over from another thread is prepared on the loop as well."""
    async with client(Acme(base_url=server.url)) as sender:
        receipt = await asyncio.to_thread(sender.enqueue, event())
        await receipt.accepted()
        assert accepted(sender) == 1
        assert await sender.flush(5)
    assert server.ids == ["e1"]


async def test_refusals_are_told_and_counted_as_ever(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Consent that is required, an event that is not addressed, and one that the platform does not have."""
    with caplog.at_level(logging.INFO):
        async with client(Acme(base_url=server.url), consent="require") as sender:
            await asyncio.sleep(0)
            receipts = [sender.enqueue(event(1)), sender.enqueue(event(2, to=[]))]
            assert [one.known()["acme"].reason for one in receipts] == [
                "no consent given, and this client requires it",
                "not addressed to this destination",
            ]
            await asyncio.sleep(0)
            last = sender.enqueue(event(3, name="login", consent=Consent(ad_storage=True)))
            assert last.known()["acme"].reason == "Acme has no such event"
            assert sender.ledger()["acme"].skipped == 3
    assert "acme: skipped: consent: no consent given" in caplog.text


@pytest.mark.parametrize("spool", ["memory", "sqlite"])
async def test_hooks_hear_of_it_as_of_others(server: Server, spool: str, tmp_path: Path) -> None:
    """Prepared, stored and taken: each event counts once, on whichever way it went."""
    heard: Counter[str] = Counter()

    class Ears(Hook):
        def on_prepared(self, prepared: Prepared) -> None:
            heard["prepared"] += prepared.events

        def on_stored(self, stored: Stored) -> None:
            heard["stored"] += stored.records
            heard["refused"] += stored.refused

        def on_taken(self, taken: Taken) -> None:
            heard["taken"] += taken.events
            heard["calls"] += 1

    url = "memory" if spool == "memory" else f"sqlite:///{tmp_path}/events.db"
    async with client(Acme(base_url=server.url), hooks=[Ears()], spool=url) as sender:
        for number in range(10):
            await sender.send(event(number))
            await asyncio.sleep(0)
        await sender.send(event(10, to=[]))
        await sender.send_many([event(number) for number in range(11, 20)])
        await asyncio.gather(*[sender.send(event(number)) for number in range(20, 50)])
        assert await sender.flush(5)
    assert heard == {"prepared": 50, "stored": 49, "refused": 1, "taken": 50, "calls": 42}
    assert sender.metrics.send.count == sum(sender.metrics.send.counts) == 42


class Where(Acme, frozen=True, kw_only=True):
    """Notes in which thread it maps."""

    brief: ClassVar[bool] = True
    threads: ClassVar[list[str]] = []

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        self.threads.append(threading.current_thread().name)
        return super().to_wire(event, ids)


@pytest.mark.parametrize(("prepare", "thread"), [("auto", "MainThread"), ("thread", "capi_async-prepare")])
async def test_with_a_spool_on_disk_it_is_prepared_where_it_stands(
    server: Server, prepare: Prepare, thread: str, tmp_path: Path
) -> None:
    """And stored as ever: that waits for the disk."""
    Where.threads.clear()
    url = f"sqlite:///{tmp_path}/events.db"
    async with client(
        Where(base_url=server.url), Acme(name="second", base_url=server.url), spool=url, prepare=prepare
    ) as sender:
        await asyncio.sleep(0.01)
        first, second = sender.enqueue(event(1)), sender.enqueue(event(2))
        await first.accepted()
        await second.accepted()
        assert await sender.flush(5)
    assert set(Where.threads) == {thread}
    assert sorted(server.ids) == ["e1", "e1", "e2", "e2"]


async def test_what_to_wire_raises_is_named_by_the_thread(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it is: the event is rejected there, and the client goes on."""
    for what in (RuntimeError("no"), asyncio.CancelledError(), SystemExit(3), GeneratorExit()):
        async with client(Raising(base_url=server.url, what=what)) as sender:
            receipt = await sender.send(event(1, name="lead"))
            assert (await receipt.outcomes(5))["acme"].reason == f"the destination failed with {type(what).__name__}"
            await sender.send(event(2))
            assert await sender.flush(5)
    assert "to_wire() failed with RuntimeError" in caplog.text


async def test_an_interrupt_is_the_callers(server: Server) -> None:
    """Ctrl-C while an event is prepared on the main thread is raised there, and nothing is stored."""
    async with client(Raising(base_url=server.url, what=KeyboardInterrupt())) as sender:
        await asyncio.sleep(0)
        with pytest.raises(KeyboardInterrupt):
            sender.enqueue(event(1, name="lead"))
        assert accepted(sender) == 0
        await asyncio.sleep(0)
        assert sender.enqueue(event(2)).event_id == "e2"
        assert accepted(sender) == 1
        assert await sender.flush(5)


async def test_one_that_takes_long_again_and_again_goes_through_the_thread(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while, and the log says why, once."""
    monkeypatch.setattr(straight, "_LONG_S", 0.0)
    async with client(Acme(base_url=server.url)) as sender:
        stored = []
        for number in range(6):
            await asyncio.sleep(0)
            before = accepted(sender)
            receipt = sender.enqueue(event(number))
            stored.append(accepted(sender) > before)
            await receipt.accepted()
        assert await sender.flush(5)
    assert stored == [True, True, True, False, False, False]
    assert caplog.text.count("preparing one event held the event loop") == 1


async def test_bounds_hold(server: Server) -> None:
    """A queue that is full is full for lone events too."""
    async with client(Acme(base_url=server.url), overflow="fail", max_pending_events=2, linger_s=60) as sender:
        for number in range(2):
            await asyncio.sleep(0)
            await sender.send(event(number))
        with pytest.raises(QueueFull):
            await sender.send(event(2))
        assert accepted(sender) == 2
        assert await sender.flush(5)


async def test_who_waits_for_room_is_not_overtaken(server: Server) -> None:
    """An event for a destination that has room stands behind them too, in the intake."""
    release = asyncio.Event()
    async with client(Acme(base_url=server.url), max_pending_events=2, linger_s=60) as sender:
        for number in range(2):
            await sender.send(event(number))
        waiting = asyncio.create_task(sender.send(event(2)))
        await until(lambda: sender._engine is not None and bool(sender._engine.intake._backlog.queue))
        before = accepted(sender)
        sender.enqueue(event(3))
        assert accepted(sender) == before
        release.set()
        assert await sender.flush(5)
        await waiting
        assert await sender.flush(5)
    assert server.ids[:3] == ["e0", "e1", "e2"]


async def test_a_spool_that_appends_in_its_own_way_is_asked_to(server: Server) -> None:
    """A subclass of the memory spool keeps its append()."""

    class Own(MemorySpool):
        calls = 0

        async def append(
            self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
        ) -> None:
            type(self).calls += 1
            await super().append(records, refused, timeout_s=timeout_s)

    async with client(Acme(base_url=server.url), spool=Own()) as sender:
        await sender.send(event())
        assert Own.calls == 1
        assert await sender.flush(5)


# The same records on both ways


_DESTINATIONS = (
    Snap(pixel_id="11111111-2222-3333-4444-555555555555", access_token="t"),
    Snap(name="snap_second", pixel_id="21111111-2222-3333-4444-555555555555", access_token="t"),
    Meta(pixel_id="1234567890", access_token="t"),
    Pinterest(ad_account_id="549755885175", access_token="t"),
    TikTok(pixel_code="CEXAMPLE0000000000AA", access_token="t"),
)
_TEXTS = st.one_of(st.none(), st.text(max_size=30))
_USERS = st.builds(
    User,
    email=st.one_of(st.none(), st.sampled_from(["Jo@Shop.example", "jo+news@gmail.com", "no address"]), _TEXTS),
    phone=st.sampled_from([None, "+14155552671", "+1 (415) 555-2671", "00", "+49 (0)30 123456", "4155552671"]),
    external_id=_TEXTS,
    first_name=_TEXTS,
    city=_TEXTS,
    country=st.sampled_from([None, "US", "Germany", "nowhere"]),
    ip=st.sampled_from([None, "8.8.8.8", "2001:db8::1", "not an address"]),
    user_agent=_TEXTS,
)


@st.composite
def _events(draw: st.DrawFn) -> Event:
    optional: dict[str, Callable[[], Any]] = {
        "items": lambda: [Item(id="1", quantity=2, price="3.50"), Item(id="2")],
        "page": lambda: Page(url="https://shop.example/?email=jo@shop.example"),
        "consent": lambda: Consent(ad_storage=draw(st.booleans())),
        "to": lambda: draw(st.sampled_from([[], ["snap"], ["meta", "tiktok"]])),
        "properties": lambda: {"size": draw(st.integers()), "note": draw(st.text(max_size=50))},
        "test": lambda: True,
        "order_id": lambda: draw(st.text(min_size=1, max_size=10)),
        "value": lambda: draw(st.sampled_from(["0", "12.50", "1000000.99"])),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    return Event(
        draw(st.sampled_from(["purchase", "page_view", "lead", "add_to_cart", "refund"])),
        event_id="e1",
        user=draw(_USERS),
        currency="EUR",
        **{name: optional[name]() for name in sorted(chosen)},
    )


@given(_events())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_make_the_same_of_an_event(one: Event) -> None:
    """Records and refusals, to the byte, of whatever goes straight."""
    preparer = _PREPARER
    receipt = Receipt("e1", [it.name for it in _DESTINATIONS], Delivery())
    now = max(ManualClock.START, one.time.timestamp() + 1)
    made = preparer.alone(one, receipt, now)
    if made is None:
        return
    records, refused = preparer.run((one,), (receipt,), now)
    assert [msgspec.structs.astuple(it) for it in made[0]] == [msgspec.structs.astuple(it) for it in records]
    assert [msgspec.structs.astuple(it) for it in made[1]] == [msgspec.structs.astuple(it) for it in refused]


_PREPARER = Preparer(_DESTINATIONS)
