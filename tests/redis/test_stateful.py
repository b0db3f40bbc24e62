"""Any sequence of calls on the Redis spool, against a model: records with a state each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import replace

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis import RedisSpool, parse
from capi_async.spool.redis.lua import (
    APPEND_ENTRIES,
    END_BLOCKED,
    HEARTBEAT,
    LIST_CLAIMS,
    MOVE_CLAIMS,
    READ_CLAIMED,
    RELEASE_ENTRIES,
    STORE_CHANGES,
    TAKE_OVER_ENTRIES,
)
from capi_async.spool.waiting import SETTLED
from capi_async.testing import ManualClock
from tests.redis.machine import SpoolMachine
from tests.redis.proxy import Proxy
from tests.spool.harness import DELIVERED, DROPPED, FORGOTTEN, REJECTED
from tests.spool.redis_server import free_port, shared_url


class RedisMachine(SpoolMachine):
    """As for every spool, but a record that went back to Redis is a new object when it returns."""

    make = staticmethod(lambda clock: RedisSpool(parse(shared_url()), clock=clock))

    def teardown(self) -> None:
        self.run(self.spool.close())
        super().teardown()

    def named(self, some: list[Record], name: str) -> Record:
        return next(one for one in some if one.event_id == name)

    @rule(limit=st.integers(1, 6), max_bytes=st.integers(1, 30))
    def lease(self, limit: int, max_bytes: int) -> None:
        may = self.may_lease()
        assert bool(self.lease_some(limit, max_bytes)) == bool(may)

    def may_lease(self) -> set[str]:
        return {
            one.event_id
            for one in self.waiting
            if self.due.get(one.event_id, 0.0) <= self.clock.now
            and not (one.order_key is not None and self.older_of_key(one))
        }

    def lease_some(self, limit: int, max_bytes: int) -> list[Record]:
        taken: list[Record] = self.run(self.spool.lease("a", limit=limit, max_bytes=max_bytes))
        assert len(taken) <= limit
        assert len(taken) <= 1 or sum(len(one.body) for one in taken) <= max_bytes
        assert {one.event_id for one in taken} <= self.may_lease()
        for one in taken:
            self.waiting.remove(self.named(self.waiting, one.event_id))
            self.held.append(one)
        return taken

    @rule(events=st.integers(0, 8))
    def evict(self, events: int) -> None:
        total = len(self.waiting) + len(self.held)
        evicted = self.run(self.spool.evict("a", events=events, max_bytes=10**9, outcome=DROPPED))
        assert evicted == min(max(0, total - events), len(self.waiting))
        assert self.spool.depth("a").events == total - evicted
        self.settled["dropped"] = self.settled.get("dropped", 0) + evicted
        left: set[str] = set()

        def note(one: Record) -> bool:
            if one.epoch != SETTLED:  # settled ones are searched as well: their bodies may have to be erased
                left.add(one.event_id)
            return False

        self.run(self.spool.settle_matching(note, FORGOTTEN))
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
        """Close and open: what was leased is leased again, what waits for a time goes on waiting."""
        self.run(self.spool.close())
        self.run(self.spool.open(["a"], lambda _name: None))
        self.leases_end()

    def leases_end(self) -> None:
        self.waiting += self.held
        self.waiting.sort(key=_number)
        for one in self.held:
            self.due.pop(one.event_id, None)
        self.held = []


#: Commands and scripts whose answers get lost.
LOSABLE = (
    "XREADGROUP",
    TAKE_OVER_ENTRIES,
    APPEND_ENTRIES,
    STORE_CHANGES,
    RELEASE_ENTRIES,
    LIST_CLAIMS,
    READ_CLAIMED,
    HEARTBEAT,
    END_BLOCKED,
    MOVE_CLAIMS,
)


class FaultyNetworkMachine(RedisMachine):
    """The same over a network that loses answers, cuts connections and hangs for a moment.

    A call that fails is repeated; no event is lost, stuck or counted twice by that.
    """

    def make(self, clock: ManualClock) -> RedisSpool:  # type: ignore[override]
        options = parse(shared_url())
        host, port = options.hosts[0]
        self.proxy = Proxy(port, host)
        self.proxy.port = free_port()
        return RedisSpool(replace(options, hosts=(("127.0.0.1", self.proxy.port),)), clock=clock)

    def begin(self) -> None:
        self.run(self.proxy.start())

    def teardown(self) -> None:
        self.proxy.disarm()
        self.clock.now += 10
        self.settle_all(self.held)
        while self.waiting:
            self.lease(6, 30)
            self.settle_all(self.held)
        self.the_ledger_balances()
        self.run(self.spool.close())
        self.run(self.proxy.stop())
        self.loop.close()

    def settle_all(self, held: list[Record]) -> None:
        batch, self.held = held, []
        if batch:
            self.run(self.spool.settle(batch, [DELIVERED] * len(batch)))
            for one in batch:
                self.end(one, "delivered")

    def again_until(self, done: Callable[[], bool]) -> None:
        """Repeat as a caller does that got an error or nothing."""
        for _ in range(500):
            if done():
                return
            self.clock.now += 0.06
            self.run(asyncio.sleep(0.01))
        raise AssertionError("it still fails")

    @rule(what=st.sampled_from(LOSABLE), times=st.integers(1, 2))
    def lose(self, what: str, times: int) -> None:
        self.proxy.lose(what, times)

    @rule()
    def cut(self) -> None:
        self.proxy.cut()

    @rule()
    def hang(self) -> None:
        self.proxy.pause()
        self.loop.call_later(0.05, self.proxy.resume)

    @rule(limit=st.integers(1, 6), max_bytes=st.integers(1, 30))
    def lease(self, limit: int, max_bytes: int) -> None:
        before = len(self.waiting)

        def leased() -> bool:
            RedisMachine.lease_some(self, limit, max_bytes)
            return len(self.waiting) < before or not self.may_lease()

        self.again_until(leased)

    @rule(events=st.integers(0, 8))
    def evict(self, events: int) -> None:
        total = len(self.waiting) + len(self.held)
        wanted = min(max(0, total - events), len(self.waiting))
        evicted = 0

        def gone() -> bool:
            nonlocal evicted
            evicted += self.run(self.spool.evict("a", events=events, max_bytes=10**9, outcome=DROPPED))
            return evicted == wanted

        self.again_until(gone)
        self.settled["dropped"] = self.settled.get("dropped", 0) + evicted
        left: set[str] = set()

        def note(one: Record) -> bool:
            if one.epoch != SETTLED:
                left.add(one.event_id)
            return False

        self.again_until(lambda: self.erased(note))
        self.waiting = [one for one in self.waiting if one.event_id in left]

    @rule(odd=st.booleans())
    def forget(self, odd: bool) -> None:
        hits = [one for one in self.waiting if int(one.event_id) % 2 == odd]
        held = {one.event_id for one in self.held}
        self.again_until(lambda: self.erased(lambda one: int(one.event_id) % 2 == odd and one.event_id not in held))
        for one in hits:
            self.waiting.remove(one)
            self.end(one, "forgotten")

    def erased(self, matches: Callable[[Record], bool]) -> bool:
        try:
            self.run(self.spool.settle_matching(matches, FORGOTTEN))
        except SpoolError:
            return False
        return True

    @rule()
    def start_again(self) -> None:
        self.run(self.spool.close())

        def opened() -> bool:
            try:
                self.run(self.spool.open(["a"], lambda _name: None))
            except SpoolError:
                return False
            return True

        self.again_until(opened)
        self.leases_end()


def _number(one: Any) -> int:
    return int(one.event_id)


RedisMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 4, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
FaultyNetworkMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 5, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
TestRedisSpoolOnAFaultyNetwork = FaultyNetworkMachine.TestCase
TestRedisSpoolAgainstAModel = RedisMachine.TestCase
