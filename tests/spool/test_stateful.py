"""The contract again, in any order that hypothesis can think of, against a model that is simply lists."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from capi_async.outcome import Outcome
from capi_async.spool.base import Depth, LetterFilter, Record, Revoked
from tests.spool.harness import DROPPED, FORGOTTEN, NAMES, SPOOLS, Kind, every_spool, new_clock, record, refusal

KINDS = ("delivered", "rejected", "dead", "uncertain", "expired")

#: Longest wait that the machine asks for.
WAIT_S = 5.0


class SpoolMachine(RuleBasedStateMachine):
    """What is pending, leased and settled, per destination."""

    kind: Kind = SPOOLS[0]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = new_clock()
        self.number = 0
        #: Unsettled records by destination and id, in the order of acceptance, with their order keys.
        self.pending: dict[str, dict[str, str | None]] = {name: {} for name in NAMES}
        self.held: dict[str, list[Record]] = {name: [] for name in NAMES}
        self.doomed: set[tuple[str, str]] = set()
        self.due: dict[tuple[str, str], float] = {}
        self.counts: dict[str, dict[str, int]] = {name: {} for name in NAMES}
        self.letters: list[tuple[str, str, str | None, str]] = []
        self.spool: Any = None
        self.open()

    def open(self) -> None:
        self.spool = self.kind.make(Path(self.folder.name), self.clock)
        self.run(self.spool.open(NAMES, lambda _name: None, self.told))

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def told(self, name: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """The spool settled these by itself."""
        for one, outcome in zip(event_ids, outcomes, strict=True):
            self.end(name, one, outcome.kind)

    def end(self, name: str, one: str, kind: str) -> str | None:
        assert one in self.pending[name], "settled twice"
        key = self.pending[name].pop(one)
        self.doomed.discard((name, one))
        self.due.pop((name, one), None)
        self.count(name, kind)
        return key

    def count(self, name: str, kind: str, number: int = 1) -> None:
        self.counts[name][kind] = self.counts[name].get(kind, 0) + number

    def held_ids(self, name: str) -> set[str]:
        return {one.event_id for one in self.held[name]}

    def first_of_key(self, name: str, one: str) -> bool:
        key = self.pending[name][one]
        return key is None or one == next(other for other, held in self.pending[name].items() if held == key)

    @rule(
        what=st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from([None, None, "k", "l"]), st.booleans()), max_size=8
        )
    )
    def append(self, what: list[tuple[str, str | None, bool]]) -> None:
        records, refused = [], []
        for name, key, taken in what:
            self.number += 1
            one = f"{self.number:05}"
            if taken:
                records.append(record(one, name, order_key=key, resend_for_s=0.0 if self.number % 2 else 100.0))
                self.pending[name][one] = key
            else:
                refused.append(refusal(one, name))
                self.count(name, "skipped")
        self.run(self.spool.append(records, refused))

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 6), max_bytes=st.sampled_from([1, 40, 10_000]))
    def lease(self, name: str, limit: int, max_bytes: int) -> None:
        may = {
            one
            for one in self.pending[name].keys() - self.held_ids(name)
            if self.due.get((name, one), 0.0) <= self.clock.now and self.first_of_key(name, one)
        }
        leased = self.run(self.spool.lease(name, limit=limit, max_bytes=max_bytes))
        assert len(leased) <= limit
        assert len(leased) <= 1 or sum(len(one.body) for one in leased) <= max_bytes
        given = [one.event_id for one in leased]
        assert len(set(given)) == len(given), "given out twice"
        assert set(given) <= may, "held, settled, too early, or an older one of the same key is not settled"
        assert bool(given) == bool(may)
        self.held[name] += leased

    @rule(name=st.sampled_from(NAMES), share=st.integers(1, 6))
    def attempt(self, name: str, share: int) -> None:
        batch = self.held[name][:share]
        lost = {one.event_id for one in batch if (name, one.event_id) in self.doomed}
        try:
            self.run(self.spool.mark_attempted(batch))
        except Revoked:
            assert lost
            assert not lost & self.pending[name].keys()
            self.held[name] = [one for one in self.held[name] if one.event_id not in lost]
        else:
            assert not lost
            for one in batch:
                one.attempts += 1

    @rule(name=st.sampled_from(NAMES), share=st.integers(1, 6), kinds=st.lists(st.sampled_from(KINDS), min_size=6))
    def settle(self, name: str, share: int, kinds: list[str]) -> None:
        ended, self.held[name] = self.held[name][:share], self.held[name][share:]
        outcomes = [Outcome(kind=kind) for kind in kinds[: len(ended)]]  # type: ignore[arg-type]
        self.run(self.spool.settle(ended, outcomes))
        self.run(self.spool.settle(ended, outcomes))
        for one, outcome in zip(ended, outcomes, strict=True):
            kept = outcome.kind in ("dead", "uncertain") and (name, one.event_id) not in self.doomed
            key = self.end(name, one.event_id, outcome.kind)
            if kept and self.spool.durable:
                self.letters.append((name, one.event_id, key, outcome.kind))

    @rule(name=st.sampled_from(NAMES), share=st.integers(1, 6), after_s=st.sampled_from([0.0, WAIT_S]))
    def release(self, name: str, share: int, after_s: float) -> None:
        back, self.held[name] = self.held[name][:share], self.held[name][share:]
        self.run(self.spool.release(back, after_s=after_s))
        for one in back:
            if one.event_id in self.pending[name]:
                self.due[name, one.event_id] = self.clock.now + after_s

    @rule(seconds=st.sampled_from([1.0, WAIT_S + 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(name=st.sampled_from(NAMES), digit=st.sampled_from("0123"))
    def forget(self, name: str, digit: str) -> None:
        waiting = [one for one in self.pending[name] if one.endswith(digit) and one not in self.held_ids(name)]
        gone = [letter for letter in self.letters if letter[0] == name and letter[1].endswith(digit)]
        found = self.run(
            self.spool.settle_matching(lambda one: one.destination == name and one.event_id.endswith(digit), FORGOTTEN)
        )
        assert found.get(name, 0) == len(waiting) + len(gone)
        assert not self.pending[name].keys() & set(waiting), "not told of"
        self.doomed |= {(name, one) for one in self.held_ids(name) if one.endswith(digit)}
        for letter in gone:
            self.letters.remove(letter)
            self.count(name, letter[3], -1)
            self.count(name, "forgotten")

    @rule(name=st.sampled_from(NAMES), fewer=st.integers(0, 3))
    def evict(self, name: str, fewer: int) -> None:
        before = self.pending[name].copy()
        held = self.held_ids(name)
        evicted = self.run(
            self.spool.evict(name, events=max(0, len(before) - fewer), max_bytes=1 << 30, outcome=DROPPED)
        )
        gone = before.keys() - self.pending[name].keys()
        assert len(gone) == evicted == min(fewer, len(before.keys() - held))
        assert not gone & held

    @rule()
    def replay(self) -> None:
        replayed = self.run(self.spool.replay(LetterFilter()))
        assert sum(replayed.values()) == len(self.letters)
        for name, one, key, kind in self.letters:
            self.count(name, kind, -1)
            self.pending[name][one] = key
        self.letters.clear()

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        if self.kind.die is None:
            return
        self.run(self.kind.die(self.spool) if crash else self.spool.close())
        self.held = {name: [] for name in NAMES}
        # a crash may lose how long something had yet to wait
        self.clock.now += WAIT_S
        doomed = self.doomed.copy()
        self.open()
        for name, one in doomed:
            assert one not in self.pending[name], "was to be forgotten"

    @invariant()
    def nothing_is_missing(self) -> None:
        ledger = self.spool.ledger()
        for name in NAMES:
            expected = {kind: number for kind, number in self.counts[name].items() if number}
            if name not in ledger:
                assert not expected
                assert not self.pending[name]
                continue
            assert ledger[name].balanced
            assert ledger[name].pending == len(self.pending[name])
            for kind, number in expected.items():
                assert getattr(ledger[name], kind) == number, kind
            size = sum(len(record(one).body) for one in self.pending[name])
            assert self.spool.depth(name) == Depth(len(self.pending[name]), size)

    def teardown(self) -> None:
        self.run(self.spool.close())
        self.runner.close()
        self.folder.cleanup()


@pytest.mark.parametrize("kind", every_spool(without="redis"))
def test_every_spool_behaves_like_the_model(kind: Kind) -> None:
    """Whatever is done in whatever order, crashes and restarts included where the spool is durable."""
    check(kind, of=1 if kind.die is None else 3)


def test_a_sqlite_spool_with_hardly_any_room_in_memory_does_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most records come from the file then."""
    monkeypatch.setattr("capi_async.spool.sqlite.queue.MAX_LOADED_RECORDS", 3)
    check(next(kind for kind in SPOOLS if kind.name == "sqlite"), of=3)


def check(kind: Kind, *, of: int) -> None:
    """Every so-many-th example of the profile: a durable spool takes its time for each."""
    run_state_machine_as_test(
        type(f"{kind.name}Machine", (SpoolMachine,), {"kind": kind}),
        settings=settings(
            max_examples=settings.default.max_examples // of,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate],
        ),
    )
