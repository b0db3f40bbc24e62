"""Any sequence of calls on the Redis spool, against a list of records with a state each."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis import RedisSpool, parse
from capi_async.spool.waiting import SETTLED
from tests.redis.machine import SpoolMachine
from tests.spool.harness import DELIVERED, DROPPED, FORGOTTEN, REJECTED
from tests.spool.redis_server import shared_url


class RedisMachine(SpoolMachine):
    """As for every spool; but a record that went back to Redis is another object when it returns."""

    make = staticmethod(lambda clock: RedisSpool(parse(shared_url()), clock=clock))

    def teardown(self) -> None:
        self.run(self.spool.close())
        super().teardown()

    def named(self, some: list[Record], name: str) -> Record:
        return next(one for one in some if one.event_id == name)

    @rule(limit=st.integers(1, 6), max_bytes=st.integers(1, 30))
    def lease(self, limit: int, max_bytes: int) -> None:
        taken = self.run(self.spool.lease("a", limit=limit, max_bytes=max_bytes))
        assert len(taken) <= limit
        assert len(taken) <= 1 or sum(len(one.body) for one in taken) <= max_bytes
        may = {
            one.event_id
            for one in self.waiting
            if self.due.get(one.event_id, 0.0) <= self.clock.now
            and not (one.order_key is not None and self.older_of_key(one))
        }
        assert {one.event_id for one in taken} <= may
        assert bool(taken) == bool(may)
        for one in taken:
            self.waiting.remove(self.named(self.waiting, one.event_id))
            self.held.append(one)

    @rule(events=st.integers(0, 8))
    def evict(self, events: int) -> None:
        total = len(self.waiting) + len(self.held)
        evicted = self.run(self.spool.evict("a", events=events, max_bytes=10**9, outcome=DROPPED))
        assert evicted == min(max(0, total - events), len(self.waiting))
        assert self.spool.depth("a").events == total - evicted
        self.settled["dropped"] = self.settled.get("dropped", 0) + evicted
        left: set[str] = set()

        def look(one: Record) -> bool:
            if one.epoch != SETTLED:  # those are looked at as well: their bodies may have to go
                left.add(one.event_id)
            return False

        self.run(self.spool.settle_matching(look, FORGOTTEN))
        self.waiting = [one for one in self.waiting if one.event_id in left]

    @rule(odd=st.booleans())
    def forget(self, odd: bool) -> None:
        hits = [one for one in self.waiting if int(one.event_id) % 2 == odd]
        held = {one.event_id for one in self.held}
        found = self.run(
            self.spool.settle_matching(lambda one: int(one.event_id) % 2 == odd and one.event_id not in held, FORGOTTEN)
        )
        assert found == ({"a": len(hits)} if hits else {})
        for one in hits:
            self.waiting.remove(one)
            self.end(one, "forgotten")

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 4), outcome=st.sampled_from([DELIVERED, REJECTED]))
    def settle(self, count: int, outcome: Outcome) -> None:
        batch, self.held = self.held[:count], self.held[count:]
        self.run(self.spool.mark_attempted(batch))
        self.run(self.spool.settle(batch, [outcome] * len(batch)))
        self.run(self.spool.settle(batch, [DROPPED] * len(batch)))
        for one in batch:
            self.end(one, outcome.kind)

    @rule()
    def start_again(self) -> None:
        """As after an orderly end: what was held is given out again, what waits for its time goes on waiting."""
        self.run(self.spool.close())
        self.run(self.spool.open(["a"], lambda _name: None))
        self.waiting += self.held
        self.waiting.sort(key=_number)
        for one in self.held:
            self.due.pop(one.event_id, None)
        self.held = []


def _number(one: Any) -> int:
    return int(one.event_id)


RedisMachine.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRedisSpoolAgainstAModel = RedisMachine.TestCase
