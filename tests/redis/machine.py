"""Rules of a spool for a state machine that calls it in any order, against a model: records with a state each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from capi_async.outcome import Outcome
from capi_async.spool.base import Depth, Record, Spool
from capi_async.testing import ManualClock
from tests.spool.harness import DELIVERED, DROPPED, FORGOTTEN, REJECTED, new_clock


def record(name: str, to: str = "a", *, body: bytes = b"0123456789", **fields: Any) -> Record:
    return Record(to, name, b"head", body, 9e9, 0.0, "account", "w/1", **fields)


class SpoolMachine(RuleBasedStateMachine):
    """Any sequence of calls, against a model: records with a state each."""

    make: Callable[[ManualClock], Spool]

    def __init__(self) -> None:
        super().__init__()
        self.clock = new_clock()
        # before the loop is made: the test may be skipped here, and the loop would stay open
        self.spool = self.make(self.clock)
        self.loop = asyncio.new_event_loop()
        self.begin()
        self.run(self.spool.open(["a"], lambda _name: None))
        self.number = 0
        self.waiting: list[Record] = []  # in the order of acceptance
        self.held: list[Record] = []
        self.due: dict[str, float] = {}
        self.settled: dict[str, int] = {}

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def begin(self) -> None:
        """Start what must run before the spool is opened."""

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
        # which records were evicted shows in which can still be found
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
