"""The contract again, in any order that hypothesis can think of, against a model that is simply lists."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from capi_async.outcome import Outcome
from capi_async.spool.base import LetterFilter, Record
from tests.spool.harness import DROPPED, NAMES, SPOOLS, HandClock, die, record, refusal

KINDS = ("delivered", "rejected", "dead", "uncertain", "expired")


class SpoolMachine(RuleBasedStateMachine):
    """What is pending, leased and settled, per destination."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.spool: Any = self.make()
        self.run(self.spool.open(NAMES, lambda _name: None))
        self.number = 0
        #: Unsettled ids by destination in the order of acceptance, with their order keys.
        self.pending: dict[str, dict[str, str | None]] = {name: {} for name in NAMES}
        self.held: dict[str, list[Record]] = {name: [] for name in NAMES}
        self.counts: dict[str, dict[str, int]] = {name: {} for name in NAMES}
        self.letters: list[tuple[str, str, str | None, str]] = []

    def make(self) -> Any:
        return SPOOLS[self.kind](Path(self.folder.name), self.clock)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def count(self, name: str, kind: str) -> None:
        self.counts[name][kind] = self.counts[name].get(kind, 0) + 1

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
        leased = self.run(self.spool.lease(name, limit=limit, max_bytes=max_bytes))
        assert len(leased) <= limit
        assert len(leased) <= 1 or sum(len(one.body) for one in leased) <= max_bytes
        held = {one.event_id for one in self.held[name]}
        for one in leased:
            assert one.event_id in self.pending[name]
            assert one.event_id not in held, "given out twice"
            if one.order_key is not None:
                older = [other for other, key in self.pending[name].items() if key == one.order_key]
                assert older[0] == one.event_id, "an older one of the same key is not settled"
        self.held[name] += leased

    @rule(name=st.sampled_from(NAMES), share=st.integers(0, 6), kinds=st.lists(st.sampled_from(KINDS), min_size=6))
    def settle(self, name: str, share: int, kinds: list[str]) -> None:
        ended, self.held[name] = self.held[name][:share], self.held[name][share:]
        outcomes = [Outcome(kind=kind) for kind in kinds[: len(ended)]]  # type: ignore[arg-type]
        self.run(self.spool.mark_attempted(ended))
        self.run(self.spool.settle(ended, outcomes))
        self.run(self.spool.settle(ended, outcomes))
        for one, outcome in zip(ended, outcomes, strict=True):
            key = self.pending[name].pop(one.event_id)
            self.count(name, outcome.kind)
            if outcome.kind in ("dead", "uncertain") and self.spool.durable:
                self.letters.append((name, one.event_id, key, outcome.kind))

    @rule(name=st.sampled_from(NAMES), after_s=st.sampled_from([0.0, 5.0]), attempted=st.booleans())
    def release(self, name: str, after_s: float, attempted: bool) -> None:
        held, self.held[name] = self.held[name], []
        for one in held:
            one.attempts += attempted
        self.run(self.spool.release(held, after_s=after_s))

    @rule(seconds=st.sampled_from([1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(name=st.sampled_from(NAMES), digit=st.sampled_from("0123"))
    def settle_matching(self, name: str, digit: str) -> None:
        found = self.run(
            self.spool.settle_matching(
                lambda one: one.destination == name and one.event_id.endswith(digit), Outcome(kind="forgotten")
            )
        )
        held = {one.event_id for one in self.held[name]}
        hits = [one for one in self.pending[name] if one.endswith(digit) and one not in held]
        for one in hits:
            del self.pending[name][one]
            self.count(name, "forgotten")
        gone = [letter for letter in self.letters if letter[0] == name and letter[1].endswith(digit)]
        for letter in gone:
            self.letters.remove(letter)
            self.counts[name][letter[3]] -= 1
            self.count(name, "forgotten")
        assert found.get(name, 0) == len(hits) + len(gone)

    @rule(name=st.sampled_from(NAMES))
    def evict(self, name: str) -> None:
        room = max(0, len(self.pending[name]) - 2)
        before = self.spool.depth(name).events
        evicted = self.run(self.spool.evict(name, events=room, max_bytes=1 << 30, outcome=DROPPED))
        assert self.spool.depth(name).events == before - evicted
        # which of those that wait is the oldest is the spool's to know: ask it what is left
        left = self.ids_left(name)
        assert len(self.pending[name]) - len(left) == evicted
        held = {one.event_id for one in self.held[name]}
        for one in set(self.pending[name]) - left:
            assert one not in held
            del self.pending[name][one]
            self.count(name, "dropped")

    def ids_left(self, name: str) -> set[str]:
        seen: set[str] = set()

        def look(one: Record) -> bool:
            # a row may still hold what was settled a moment ago
            if one.destination == name and one.epoch >= 0:
                seen.add(one.event_id)
            return False

        self.run(self.spool.settle_matching(look, DROPPED))
        letters = {letter[1] for letter in self.letters}
        known = set(self.pending[name])
        return (seen & known - letters) | {one.event_id for one in self.held[name]}

    @rule()
    def replay(self) -> None:
        replayed = self.run(self.spool.replay(LetterFilter()))
        assert sum(replayed.values()) == len(self.letters)
        for name, one, key, kind in self.letters:
            self.counts[name][kind] -= 1
            self.pending[name][one] = key
        self.letters.clear()

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        if not self.spool.durable:
            return
        self.run(die(self.spool) if crash else self.spool.close())
        self.held = {name: [] for name in NAMES}
        self.spool = self.make()
        self.run(self.spool.open(NAMES, lambda _name: None))

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
            assert self.spool.depth(name).events == len(self.pending[name])

    def teardown(self) -> None:
        self.run(self.spool.close())
        self.runner.close()
        self.folder.cleanup()


@pytest.mark.parametrize(("kind", "hot"), [*((kind, None) for kind in SPOOLS), ("sqlite", 3)])
def test_every_spool_behaves_like_the_model(kind: str, hot: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done in whatever order, crashes and restarts included where the spool is durable.

    Once with hardly any room in memory, so that most records come from the file.
    """
    if hot is not None:
        monkeypatch.setattr("capi_async.spool.sqlite.line.HOT_RECORDS", hot)
    machine = type(f"{kind}Machine", (SpoolMachine,), {"kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40 if kind == "sqlite" else 100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
