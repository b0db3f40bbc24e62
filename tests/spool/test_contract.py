"""What every spool promises. A further one adds a line to ``SPOOLS``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from capi_async.clock import Clock
from capi_async.outcome import Outcome
from capi_async.spool import open_spool
from capi_async.spool.base import Depth, Record, Refused, Spool
from capi_async.spool.memory import MemorySpool
from tests.conftest import HandClock

SPOOLS: list[tuple[str, Callable[[Clock], Spool]]] = [
    ("memory", lambda clock: MemorySpool(clock=clock)),
]

DELIVERED = Outcome(kind="delivered")
REJECTED = Outcome(kind="rejected", reason="no")
DROPPED = Outcome(kind="dropped", reason="full")
FORGOTTEN = Outcome(kind="forgotten")


class Kept:
    """A spool that is open for destinations ``a`` and ``b``, and whom it woke."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.woken: list[str] = []

    async def open(self) -> Kept:
        await self.spool.open(["a", "b"], self.woken.append)
        return self

    async def put(self, *names: str, to: str = "a", **fields: Any) -> list[Record]:
        records = [record(name, to, **fields) for name in names]
        await self.spool.append(records, [])
        return records

    async def lease(self, limit: int = 100, *, of: str = "a", max_bytes: int = 10**9) -> list[Record]:
        return await self.spool.lease(of, limit=limit, max_bytes=max_bytes)


def record(name: str, to: str = "a", *, body: bytes = b"0123456789", **fields: Any) -> Record:
    return Record(to, name, b"head", body, 9e9, 0.0, "account", "w/1", **fields)


def ids(records: list[Record]) -> list[str]:
    return [one.event_id for one in records]


@pytest.fixture(params=[make for _, make in SPOOLS], ids=[name for name, _ in SPOOLS])
async def kept(request: pytest.FixtureRequest, clock: HandClock) -> Kept:
    return await Kept(request.param(clock)).open()


async def test_records_come_out_oldest_first(kept: Kept) -> None:
    """Each destination has its own."""
    await kept.put("1", "2", "3")
    await kept.put("9", to="b")
    assert ids(await kept.lease(2)) == ["1", "2"]
    assert ids(await kept.lease()) == ["3"]
    assert ids(await kept.lease()) == []
    assert ids(await kept.lease(of="b")) == ["9"]
    assert set(kept.woken) == {"a", "b"}


async def test_a_lease_keeps_its_bytes_but_gives_at_least_one(kept: Kept) -> None:
    """Whatever the size of that one."""
    await kept.put("1", "2", "3")
    assert ids(await kept.lease(max_bytes=20)) == ["1", "2"]
    assert ids(await kept.lease(max_bytes=1)) == ["3"]


async def test_settled_records_move_to_their_counter(kept: Kept) -> None:
    """And leave the depth."""
    await kept.put("1", "2", "3")
    leased = await kept.lease(2)
    assert kept.spool.depth("a") == Depth(3, 30)
    await kept.spool.settle(leased, [DELIVERED, REJECTED])
    assert kept.spool.depth("a") == Depth(1, 10)
    counts = kept.spool.ledger()["a"]
    assert (counts.accepted, counts.delivered, counts.rejected, counts.pending) == (3, 1, 1, 1)
    assert counts.balanced
    assert counts.settled == 2


async def test_a_record_is_settled_once(kept: Kept) -> None:
    """Who no longer holds it changes nothing."""
    await kept.put("1")
    leased = await kept.lease()
    await kept.spool.settle(leased, [DELIVERED])
    await kept.spool.settle(leased, [REJECTED])
    await kept.spool.release(leased)
    assert ids(await kept.lease()) == []
    counts = kept.spool.ledger()["a"]
    assert (counts.accepted, counts.delivered, counts.rejected) == (1, 1, 0)


async def test_a_released_record_is_not_settled_by_its_former_holder(kept: Kept) -> None:
    """It belongs to nobody."""
    await kept.put("1")
    leased = await kept.lease()
    await kept.spool.release(leased)
    await kept.spool.settle(leased, [DELIVERED])
    assert kept.spool.ledger()["a"].pending == 1


async def test_refusals_are_counted_at_the_door(kept: Kept) -> None:
    """Together with the records they came with."""
    await kept.spool.append([record("1")], [Refused("b", "1", REJECTED)])
    assert kept.spool.ledger()["a"].pending == 1
    assert kept.spool.ledger()["b"].rejected == 1
    assert kept.spool.depth("b") == Depth(0, 0)


async def test_released_records_keep_their_place(kept: Kept) -> None:
    """They are the oldest."""
    await kept.put("1", "2", "3", "4")
    await kept.spool.release(await kept.lease(3))
    assert ids(await kept.lease()) == ["1", "2", "3", "4"]


async def test_a_delayed_record_waits_and_is_then_the_oldest(kept: Kept, clock: HandClock) -> None:
    """``next_due_s`` says for how long; what it goes with keeps its order."""
    await kept.put("1", "2", "3", "4", "5")
    await kept.spool.release(await kept.lease(3), after_s=10)
    assert ids(await kept.lease(1)) == ["4"]
    assert ids(await kept.lease(1)) == ["5"]
    assert ids(await kept.lease()) == []
    assert kept.spool.next_due_s("a") == 10.0
    await kept.put("6")
    clock.now = 10.0
    assert kept.spool.next_due_s("a") == 0.0
    assert ids(await kept.lease()) == ["1", "2", "3", "6"]
    assert kept.spool.next_due_s("a") is None


async def test_an_order_key_holds_back_the_younger(kept: Kept, clock: HandClock) -> None:
    """Until the older is settled: not while it is held, waits for its time, or was handed back."""
    await kept.put("1", "2", "3", order_key="ada")
    await kept.put("x", order_key="bob")
    await kept.put("y")
    leased = await kept.lease()
    assert ids(leased) == ["1", "x", "y"]
    await kept.spool.release(leased[:1], after_s=5)
    assert ids(await kept.lease()) == []
    clock.now = 5
    first = await kept.lease()
    assert ids(first) == ["1"]
    await kept.spool.settle(first, [REJECTED])
    second = await kept.lease()
    assert ids(second) == ["2"]
    await kept.spool.settle(second, [DELIVERED])
    assert ids(await kept.lease()) == ["3"]


async def test_a_key_that_is_free_again_holds_nobody(kept: Kept) -> None:
    """Settled, then used again."""
    await kept.put("1", order_key="ada")
    await kept.spool.settle(await kept.lease(), [DELIVERED])
    await kept.put("2", order_key="ada")
    assert ids(await kept.lease()) == ["2"]


async def test_evict_settles_the_oldest_that_nobody_holds(kept: Kept) -> None:
    """Until both bounds are kept."""
    await kept.put("1", "2", "3", "4", "5")
    held = await kept.lease(1)
    assert await kept.spool.evict("a", events=3, max_bytes=10**9, outcome=DROPPED) == 2
    assert await kept.spool.evict("a", events=3, max_bytes=25, outcome=DROPPED) == 1
    assert ids(held) == ["1"]
    assert ids(await kept.lease()) == ["5"]
    assert await kept.spool.evict("a", events=0, max_bytes=0, outcome=DROPPED) == 0
    assert kept.spool.ledger()["a"].dropped == 3
    assert kept.spool.ledger()["a"].balanced


async def test_evict_reaches_the_delayed_and_frees_the_held_back(kept: Kept) -> None:
    """Nothing that waits is out of reach."""
    await kept.put("1", "2", order_key="ada")
    await kept.spool.release(await kept.lease(), after_s=60)
    assert await kept.spool.evict("a", events=1, max_bytes=10**9, outcome=DROPPED) == 1
    assert ids(await kept.lease()) == ["2"]


async def test_what_is_cut_short_says_whether_it_may_have_arrived(kept: Kept) -> None:
    """A record with an attempt that nobody answered is not simply dropped."""
    told: list[tuple[str, Outcome]] = []
    await kept.spool.open(
        ["a", "b"], kept.woken.append, lambda _name, ids, ends: told.extend(zip(ids, ends, strict=True))
    )
    await kept.put("1", "2", "3")
    doubtful, sure = await kept.lease(2)
    doubtful.attempts, doubtful.maybe_since, sure.attempts = 2, 1.0, 1
    await kept.spool.release([doubtful, sure], after_s=60)
    await kept.spool.settle_matching(lambda one: one.event_id == "3", FORGOTTEN)
    assert await kept.spool.evict("a", events=0, max_bytes=0, outcome=DROPPED) == 2
    ends = dict(told)
    assert (ends["1"].kind, ends["1"].attempts, ends["1"].ambiguous) == ("uncertain", 2, True)
    assert (ends["2"].kind, ends["2"].attempts, ends["2"].ambiguous) == ("dropped", 1, False)
    assert (ends["3"].kind, ends["3"].attempts) == ("forgotten", 0)
    ledger = kept.spool.ledger()["a"]
    assert (ledger.uncertain, ledger.dropped, ledger.forgotten, ledger.pending) == (1, 1, 1, 0)


async def test_settle_matching_finds_what_waits_anywhere(kept: Kept) -> None:
    """Ready, delayed, held back, at every destination; never what is under way."""
    await kept.put("held", "1")
    held = await kept.lease(1)
    await kept.put("2", "keep", to="b")
    await kept.put("3", "4", "keep2", order_key="ada")
    leased = await kept.lease(2)
    assert ids(leased) == ["1", "3"]
    await kept.spool.release(leased[:1], after_s=60)
    await kept.spool.release(leased[1:])
    found = await kept.spool.settle_matching(lambda one: not one.event_id.startswith("keep"), FORGOTTEN)
    assert found == {"a": 3, "b": 1}
    assert ids(held) == ["held"]
    assert ids(await kept.lease()) == ["keep2"]
    assert ids(await kept.lease(of="b")) == ["keep"]
    assert all(counts.balanced for counts in kept.spool.ledger().values())


async def test_opening_again_gives_out_what_was_held(kept: Kept) -> None:
    """In order, and what had been attempted is known as possibly arrived."""
    await kept.put("1", "2", "3")
    leased = await kept.lease(2)
    leased[0].attempts = 1
    await kept.spool.close()
    await kept.open()
    again = await kept.lease()
    assert ids(again) == ["1", "2", "3"]
    assert [one.maybe_since for one in again] == [HandClock.START, 0.0, 0.0]


async def test_receipts_are_told_once_it_is_final(kept: Kept) -> None:
    """By the spool, with the outcome itself."""

    class Told:
        def __init__(self) -> None:
            self.outcomes: list[tuple[str, Outcome]] = []

        def settle(self, destination: str, outcome: Outcome) -> None:
            self.outcomes.append((destination, outcome))

    told = Told()
    await kept.spool.append([record("1", receipt=told)], [Refused("b", "1", REJECTED, told)])
    assert told.outcomes == [("b", REJECTED)]
    leased = await kept.lease()
    await kept.spool.release(leased)
    assert told.outcomes == [("b", REJECTED)]
    await kept.spool.settle(await kept.lease(), [DELIVERED])
    assert told.outcomes == [("b", REJECTED), ("a", DELIVERED)]


async def test_waking_follows_a_release_and_a_freed_key(kept: Kept) -> None:
    """A worker that sleeps must hear of it."""
    await kept.put("1", "2", order_key="ada")
    leased = await kept.lease()
    kept.woken.clear()
    await kept.spool.settle(leased, [DELIVERED])
    assert kept.woken == ["a"]
    kept.woken.clear()
    await kept.spool.release(await kept.lease())
    assert kept.woken == ["a"]


def test_a_spool_is_chosen_by_name(clock: HandClock) -> None:
    """Or given as an object."""
    from capi_async import ConfigError

    own = MemorySpool(clock=clock)
    assert open_spool(own, clock=clock) is own
    assert isinstance(open_spool("memory", clock=clock), MemorySpool)
    with pytest.raises(ConfigError, match="there is no 'kafka' spool"):
        open_spool("kafka://somewhere", clock=clock)


async def test_evict_reaches_those_held_back_by_one_that_is_under_way(kept: Kept) -> None:
    """A queue full of one person's events is no queue without an oldest."""
    await kept.put("1", "2", "3", order_key="ada")
    first = await kept.lease()
    assert await kept.spool.evict("a", events=2, max_bytes=10**9, outcome=DROPPED) == 1
    await kept.spool.settle(first, [DELIVERED])
    held = await kept.lease()
    assert ids(held) == ["3"]
    assert await kept.spool.evict("a", events=0, max_bytes=0, outcome=DROPPED) == 0
    await kept.put("4")
    assert await kept.spool.evict("a", events=1, max_bytes=10**9, outcome=DROPPED) == 1


class SpoolMachine(RuleBasedStateMachine):
    """Any sequence of calls, against a list of records with a state each."""

    make: Callable[[Clock], Spool] = staticmethod(SPOOLS[0][1])

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.loop = asyncio.new_event_loop()
        self.spool = self.make(self.clock)
        self.run(self.spool.open(["a"], lambda _name: None))
        self.number = 0
        self.waiting: list[Record] = []  # in the order of acceptance
        self.held: list[Record] = []
        self.due: dict[str, float] = {}
        self.settled: dict[str, int] = {}

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def teardown(self) -> None:
        self.loop.close()

    def end(self, one: Record, kind: str) -> None:
        self.settled[kind] = self.settled.get(kind, 0) + 1

    def older_of_key(self, one: Record) -> bool:
        everything = sorted([*self.waiting, *self.held], key=lambda other: int(other.event_id))
        return any(other.order_key == one.order_key and int(other.event_id) < int(one.event_id) for other in everything)

    @rule(keys=st.lists(st.sampled_from([None, None, "k1", "k2"]), min_size=1, max_size=5), size=st.integers(0, 9))
    def append(self, keys: list[str | None], size: int) -> None:
        records = []
        for key in keys:
            self.number += 1
            records.append(record(str(self.number), body=b"x" * size, order_key=key))
        self.run(self.spool.append(records, []))
        self.waiting += records

    @rule(limit=st.integers(1, 6), max_bytes=st.integers(1, 30))
    def lease(self, limit: int, max_bytes: int) -> None:
        taken = self.run(self.spool.lease("a", limit=limit, max_bytes=max_bytes))
        assert len(taken) <= limit
        assert len(taken) <= 1 or sum(len(one.body) for one in taken) <= max_bytes
        may = [
            one
            for one in self.waiting
            if self.due.get(one.event_id, 0.0) <= self.clock.now
            and not (one.order_key is not None and self.older_of_key(one))
        ]
        assert {id(one) for one in taken} <= {id(one) for one in may}
        assert bool(taken) == bool(may)
        for one in taken:
            self.waiting.remove(one)
            self.held.append(one)

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 4), outcome=st.sampled_from([DELIVERED, REJECTED]))
    def settle(self, count: int, outcome: Outcome) -> None:
        batch, self.held = self.held[:count], self.held[count:]
        self.run(self.spool.settle(batch, [outcome] * len(batch)))
        self.run(self.spool.settle(batch, [DROPPED] * len(batch)))
        for one in batch:
            self.end(one, outcome.kind)

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 4), after_s=st.sampled_from([0.0, 1.0, 5.0]))
    def release(self, count: int, after_s: float) -> None:
        batch, self.held = self.held[:count], self.held[count:]
        self.run(self.spool.release(batch, after_s=after_s))
        for one in batch:
            self.due[one.event_id] = self.clock.now + after_s
        self.waiting += batch

    @rule(events=st.integers(0, 8))
    def evict(self, events: int) -> None:
        evicted = self.run(self.spool.evict("a", events=events, max_bytes=10**9, outcome=DROPPED))
        total = len(self.waiting) + len(self.held)
        assert evicted == min(max(0, total - events), len(self.waiting))
        depth = self.spool.depth("a").events
        assert depth == total - evicted
        self.settled["dropped"] = self.settled.get("dropped", 0) + evicted
        # which of them is told by what can still be found
        left: set[int] = set()
        self.run(self.spool.settle_matching(lambda one: bool(left.add(id(one))), FORGOTTEN))  # type: ignore[func-returns-value]
        self.waiting = [one for one in self.waiting if id(one) in left]

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(odd=st.booleans())
    def forget(self, odd: bool) -> None:
        hits = [one for one in self.waiting if int(one.event_id) % 2 == odd]
        found = self.run(self.spool.settle_matching(lambda one: int(one.event_id) % 2 == odd, FORGOTTEN))
        assert found == ({"a": len(hits)} if hits else {})
        for one in hits:
            self.waiting.remove(one)
            self.end(one, "forgotten")

    @invariant()
    def the_ledger_balances(self) -> None:
        counts = self.spool.ledger()["a"]
        assert counts.balanced
        assert counts.accepted == self.number
        for kind in ("delivered", "rejected", "dropped", "forgotten"):
            assert getattr(counts, kind) == self.settled.get(kind, 0), kind
        everything = [*self.waiting, *self.held]
        assert self.spool.depth("a") == Depth(len(everything), sum(len(one.body) for one in everything))


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMemorySpoolAgainstAModel = SpoolMachine.TestCase
