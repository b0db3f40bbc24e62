"""What every spool promises, in the same words for each of them: see ``SPOOLS`` in the harness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from capi_async.followup import SentRequest
from capi_async.outcome import Outcome
from capi_async.spool import open_spool
from capi_async.spool.base import Depth, Ledger, Record, Revoked, Spool, oldest_at
from capi_async.spool.memory import MemorySpool
from capi_async.testing import ManualClock
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    DROPPED,
    FORGOTTEN,
    NAMES,
    NOW,
    REJECTED,
    Receipt,
    every_spool,
    ids,
    new_clock,
    opened,
    record,
    refusal,
)

TEN = b"0123456789"


class Kept:
    """A spool that is open for destinations ``a`` and ``b``, whom it woke, and what it settled by itself."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.woken: list[str] = []
        self.told: dict[str, Outcome] = {}

    async def open(self) -> Kept:
        await self.spool.open(NAMES, self.woken.append, self._tell)
        return self

    async def put(self, *names: str, to: str = "a", **fields: Any) -> list[Record]:
        records = [record(name, to, **{"body": TEN, "resend_for_s": 0.0, **fields}) for name in names]
        await self.spool.append(records, [])
        return records

    async def lease(self, limit: int = 100, *, of: str = "a", max_bytes: int = 10**9) -> list[Record]:
        return await self.spool.lease(of, limit=limit, max_bytes=max_bytes)

    async def lease_soon(self) -> list[Record]:
        """What is there, as soon as there is any: a spool elsewhere may be moving it at this moment."""
        async with asyncio.timeout(10):
            while not (leased := await self.lease()):
                await asyncio.sleep(0.01)
        return leased

    def counts(self, of: str = "a") -> Ledger:
        ledger = self.spool.ledger()[of]
        assert ledger.balanced
        return ledger

    def _tell(self, _name: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        self.told |= dict(zip(event_ids, outcomes, strict=True))


@pytest.fixture
def clock() -> ManualClock:
    return new_clock()


@pytest.fixture(params=every_spool())
async def kept(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Kept]:
    it = await Kept(request.param.make(tmp_path, clock)).open()
    yield it
    await it.spool.close()


def test_a_spool_is_chosen_by_name(clock: ManualClock) -> None:
    """Or given as an object."""
    from capi_async import ConfigError

    own = MemorySpool(clock=clock)
    assert open_spool(own, clock=clock) is own
    assert isinstance(open_spool("memory", clock=clock), MemorySpool)
    with pytest.raises(ConfigError, match="there is no 'kafka' spool"):
        open_spool("kafka://somewhere", clock=clock)


# In and out.


async def test_records_come_out_oldest_first(kept: Kept) -> None:
    """Whole, and each to its own destination."""
    await kept.spool.append([record("1"), record("9", "b"), record("2"), record("8", "b")], [])
    await kept.spool.append([record("3", head=b"other")], [])
    assert ids(await kept.lease(2)) == ["1", "2"]
    (third,) = await kept.lease()
    assert (third.event_id, third.head, third.body) == ("3", b"other", b'{"id":"3"}')
    assert await kept.lease() == []
    assert ids(await kept.lease(of="b")) == ["9", "8"]
    assert set(kept.woken) == {"a", "b"}


async def test_many_records_pass_through_unchanged(kept: Kept) -> None:
    """In leases that fit no storage unit."""
    every = [str(number) for number in range(1_000)]
    await kept.put(*every)
    out: list[str] = []
    while leased := await kept.lease(77):
        out += ids(leased)
        await kept.spool.mark_attempted(leased)
        await kept.spool.settle(leased, [DELIVERED] * len(leased))
    assert out == every
    assert kept.counts() == Ledger(accepted=1_000, delivered=1_000)
    assert kept.spool.depth("a") == Depth(0, 0)


async def test_a_lease_keeps_its_bytes_but_gives_at_least_one(kept: Kept) -> None:
    """Whatever the size of that one."""
    await kept.put("1", "2", "3", "4")
    assert ids(await kept.lease(max_bytes=1)) == ["1"]
    assert ids(await kept.lease(max_bytes=20)) == ["2", "3"]
    assert ids(await kept.lease(max_bytes=19)) == ["4"]


async def test_settled_records_move_to_their_counter(kept: Kept) -> None:
    """And leave the depth; events refused beforehand are counted with the records they came with, and never stored."""
    await kept.spool.append([record("1"), record("2"), record("3")], [refusal("1", "b"), refusal("4")])
    assert kept.spool.depth("b") == Depth(0, 0)
    leased = await kept.lease(2)
    assert kept.spool.depth("a") == Depth(3, 30)
    await kept.spool.settle(leased, [DELIVERED, REJECTED])
    assert kept.spool.depth("a") == Depth(1, 10)
    assert kept.counts() == Ledger(accepted=4, delivered=1, rejected=1, skipped=1, pending=1)
    assert kept.counts().settled == 3
    assert kept.counts("b") == Ledger(accepted=1, skipped=1)


async def test_outcomes_of_one_batch_may_all_differ(kept: Kept) -> None:
    """Each record gets its own."""
    receipts = [Receipt() for _ in range(4)]
    await kept.spool.append([record(str(index), receipt=one) for index, one in enumerate(receipts)], [])
    outcomes = [Outcome(kind=kind) for kind in ("delivered", "rejected", "expired", "uncertain")]  # type: ignore[arg-type]
    await kept.spool.settle(await kept.lease(), outcomes)
    assert [receipt.told["a"].kind for receipt in receipts] == ["delivered", "rejected", "expired", "uncertain"]
    assert kept.counts().pending == 0


async def test_a_record_is_settled_once(kept: Kept) -> None:
    """Who no longer holds it changes nothing."""
    await kept.put("1")
    leased = await kept.lease()
    await kept.spool.settle(leased, [DELIVERED])
    await kept.spool.settle(leased, [REJECTED])
    await kept.spool.release(leased)
    assert await kept.lease() == []
    assert kept.counts() == Ledger(accepted=1, delivered=1)


async def test_a_released_record_is_not_settled_by_its_former_holder(kept: Kept) -> None:
    """It belongs to nobody."""
    await kept.put("1")
    leased = await kept.lease()
    await kept.spool.release(leased)
    await kept.spool.settle(leased, [DELIVERED])
    assert kept.counts().pending == 1


async def test_receipts_are_told_once_it_is_final(kept: Kept) -> None:
    """By the spool, with the outcome itself; of an event refused before it was stored as well."""
    receipt = Receipt()
    await kept.spool.append([record("1", receipt=receipt)], [refusal("1", "b", receipt=receipt)])
    assert {name: outcome.kind for name, outcome in receipt.told.items()} == {"b": "skipped"}
    await kept.spool.release(await kept.lease())
    assert "a" not in receipt.told
    leased = await kept.lease()
    await kept.spool.settle(leased, [DELIVERED])
    await kept.spool.settle(leased, [REJECTED])
    assert receipt.told["a"] == DELIVERED


async def test_opening_again_gives_out_what_was_held(kept: Kept, clock: ManualClock) -> None:
    """In order, and what had been attempted is known as possibly arrived."""
    await kept.put("1", "2", "3")
    leased = await kept.lease(2)
    await kept.spool.mark_attempted(leased[:1])
    leased[0].attempts = 1
    await kept.spool.close()
    await kept.open()
    again = await kept.lease()
    assert ids(again) == ["1", "2", "3"]
    assert [one.uncertain_since for one in again] == [NOW + 1_000, 0.0, 0.0]


# Order, and time.


async def test_released_records_keep_their_place(kept: Kept) -> None:
    """They are the oldest."""
    await kept.put("1", "2", "3", "4")
    await kept.spool.release(await kept.lease(3))
    assert ids(await kept.lease()) == ["1", "2", "3", "4"]


async def test_a_delayed_record_waits_and_is_then_the_oldest(kept: Kept, clock: ManualClock) -> None:
    """``next_due_s`` says for how long; what it goes with keeps its order."""
    await kept.put("1", "2", "3", "4", "5")
    leased = await kept.lease(3)
    for one in leased:
        one.attempts = 1
    await kept.spool.release(leased, after_s=10)
    assert ids(await kept.lease(1)) == ["4"]
    assert ids(await kept.lease(1)) == ["5"]
    assert await kept.lease() == []
    assert kept.spool.next_due_s("a") == 10.0
    await kept.put("6")
    clock.now += 10.0
    assert kept.spool.next_due_s("a") == 0.0
    assert ids(await kept.lease()) == ["1", "2", "3", "6"]
    assert kept.spool.next_due_s("a") is None


async def test_an_order_key_holds_back_the_younger(kept: Kept, clock: ManualClock) -> None:
    """Until the older is settled: not while it is held, waits for its time, or was handed back."""
    await kept.put("1", "2", "3", order_key="ada")
    await kept.put("x", order_key="bob")
    await kept.put("y")
    leased = await kept.lease()
    assert ids(leased) == ["1", "x", "y"]
    await kept.spool.release(leased[:1], after_s=5)
    assert await kept.lease() == []
    clock.now += 5
    first = await kept.lease()
    assert ids(first) == ["1"]
    await kept.spool.settle(first, [DEAD])
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


# Bounds.


async def test_evict_settles_the_oldest_that_nobody_holds(kept: Kept) -> None:
    """Until both bounds are kept."""
    await kept.put("1", "2", "3", "4", "5")
    held = await kept.lease(1)
    assert await kept.spool.evict("a", events=3, max_bytes=10**9, outcome=DROPPED) == 2
    assert await kept.spool.evict("a", events=3, max_bytes=25, outcome=DROPPED) == 1
    assert ids(held) == ["1"]
    assert ids(await kept.lease()) == ["5"]
    assert await kept.spool.evict("a", events=0, max_bytes=0, outcome=DROPPED) == 0
    assert kept.counts() == Ledger(accepted=5, dropped=3, pending=2)
    assert list(kept.told) == ["2", "3", "4"]


async def test_evict_takes_what_waits_for_its_time_before_what_is_younger(kept: Kept) -> None:
    """It was tried, and came first."""
    await kept.put("1", "2")
    await kept.spool.release(await kept.lease(1), after_s=60)
    assert await kept.spool.evict("a", events=1, max_bytes=10**9, outcome=DROPPED) == 1
    assert list(kept.told) == ["1"]


async def test_evict_reaches_the_delayed_and_frees_the_held_back(kept: Kept) -> None:
    """Nothing that waits is out of reach."""
    await kept.put("1", "2", order_key="ada")
    await kept.spool.release(await kept.lease(), after_s=60)
    assert await kept.spool.evict("a", events=1, max_bytes=10**9, outcome=DROPPED) == 1
    assert ids(await kept.lease()) == ["2"]


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


async def test_what_is_cut_short_says_whether_it_may_have_arrived(kept: Kept) -> None:
    """A record with an attempt that nobody answered is not simply dropped."""
    await kept.put("1", "2", "3")
    doubtful, sure = await kept.lease(2)
    doubtful.attempts, doubtful.uncertain_since, sure.attempts = 2, 1.0, 1
    await kept.spool.release([doubtful, sure], after_s=60)
    await kept.spool.settle_matching(lambda one: one.event_id == "3", FORGOTTEN)
    assert await kept.spool.evict("a", events=0, max_bytes=0, outcome=DROPPED) == 2
    ends = kept.told
    assert (ends["1"].kind, ends["1"].attempts, ends["1"].ambiguous) == ("uncertain", 2, True)
    assert (ends["2"].kind, ends["2"].attempts, ends["2"].ambiguous) == ("dropped", 1, False)
    assert (ends["3"].kind, ends["3"].attempts) == ("forgotten", 0)
    assert kept.counts() == Ledger(accepted=3, uncertain=1, dropped=1, forgotten=1)


# Forgetting, and withdrawing.


async def test_settle_matching_finds_what_waits_anywhere(kept: Kept) -> None:
    """Ready, delayed, held back, at every destination; what is under way is not stopped, nor counted."""
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
    assert sorted(kept.told) == ["1", "2", "3", "4"]
    assert ids(held) == ["held"]
    assert ids(await kept.lease()) == ["keep2"]
    assert ids(await kept.lease(of="b")) == ["keep"]
    assert kept.counts() == Ledger(accepted=5, forgotten=3, pending=2)
    assert kept.counts("b") == Ledger(accepted=2, forgotten=1, pending=1)


async def test_what_is_under_way_when_it_is_forgotten_is_not_sent_again(kept: Kept) -> None:
    """An answer that comes counts; without one it ends when it is handed back."""
    await kept.put("answered", "refused", "other")
    answered, refused, other = await kept.lease()
    await kept.spool.mark_attempted([answered, refused, other])
    assert await kept.spool.settle_matching(lambda one: one.event_id != "other", FORGOTTEN) == {}
    for one in (answered, refused, other):
        one.attempts = 1
    await kept.spool.settle([answered], [DELIVERED])
    refused.uncertain_since = NOW
    await kept.spool.release([refused, other], after_s=5)
    assert kept.counts() == Ledger(accepted=3, delivered=1, forgotten=1, pending=1)
    assert (kept.told["refused"].kind, kept.told["refused"].ambiguous) == ("forgotten", True)
    assert await kept.lease() == []


async def test_what_was_leased_when_it_was_forgotten_must_not_leave(kept: Kept) -> None:
    """Whoever asks before sending hears of it; the others of the batch come again."""
    await kept.put("1", "2")
    leased = await kept.lease()
    assert await kept.spool.settle_matching(lambda one: one.event_id == "1", FORGOTTEN) == {}
    with pytest.raises(Revoked):
        await kept.spool.mark_attempted(leased)
    assert kept.told["1"].kind == "forgotten"
    await kept.spool.release(leased)
    again = await kept.lease_soon()
    assert [(one.event_id, one.uncertain_since) for one in again] == [("2", 0.0)]
    await kept.spool.mark_attempted(again)
    assert kept.counts() == Ledger(accepted=2, forgotten=1, pending=1)


async def test_what_was_forgotten_under_way_is_not_kept_as_a_dead_letter(kept: Kept) -> None:
    """The ledger counts how it ended, and nothing else is left of it."""
    from capi_async.spool.base import LetterFilter

    await kept.put("1", "2")
    leased = await kept.lease()
    await kept.spool.mark_attempted(leased)
    await kept.spool.settle_matching(lambda one: one.event_id == "1", FORGOTTEN)
    await kept.spool.settle(leased, [DEAD, DEAD])
    assert kept.counts() == Ledger(accepted=2, dead=2)
    assert [one.event_id for one in await kept.spool.letters(LetterFilter())] == (["2"] if kept.spool.durable else [])


# Ids of delivered requests.


async def test_ids_of_delivered_requests_are_kept_by_destination_newest_first(kept: Kept) -> None:
    """They are asked about later; one that was noted twice is there once."""
    first, second = SentRequest("r-1", "acc", NOW + 900.0, 2), SentRequest("r-2", "acc", NOW + 950.5, 1)
    assert await kept.spool.sent("a", since=0) == []
    await kept.spool.note_sent("a", [first])
    await kept.spool.note_sent("a", [second])
    await kept.spool.note_sent("b", [SentRequest("r-3", "acc", NOW + 960.0, 7)])
    assert await kept.spool.sent("a", since=0) == [second, first]
    assert await kept.spool.sent("a", since=NOW + 950.5) == [second]
    assert await kept.spool.sent("a", since=NOW + 951) == []


@pytest.mark.parametrize("kind", every_spool(without="memory"))
async def test_ids_of_delivered_requests_outlive_the_process(kind: Any, tmp_path: Path, clock: ManualClock) -> None:
    """Another process asks about them."""
    sent = [SentRequest("r-1", "acc", clock.wall(), 2)]
    async with opened(kind.make(tmp_path, clock)) as spool:
        await spool.note_sent("a", sent)
    async with opened(kind.make(tmp_path, clock), deliver=False) as spool:
        assert await spool.sent("a", since=0) == sent


@pytest.mark.parametrize("kind", every_spool(without="sqlite"))
async def test_old_ids_of_delivered_requests_are_let_go(kind: Any, tmp_path: Path, clock: ManualClock) -> None:
    """After 50 days no platform knows them any more."""
    async with opened(kind.make(tmp_path, clock)) as spool:
        await spool.note_sent("a", [SentRequest("old", "acc", clock.wall(), 1)])
        clock.advance(50 * 86_400 + 1)
        await spool.note_sent("a", [SentRequest("new", "acc", clock.wall(), 1)])
        assert [one.trace_id for one in await spool.sent("a", since=0)] == ["new"]


async def test_the_age_of_the_oldest_is_known_where_it_is_delivered(kept: Kept) -> None:
    """Of what is ready, held or waits for its time; of nothing where nothing waits."""
    assert oldest_at(kept.spool, "a") is None
    await kept.put("e1", "e2")
    leased = await kept.lease_soon()
    assert oldest_at(kept.spool, "a") == NOW + 1_000
    assert oldest_at(kept.spool, "b") is None
    await kept.spool.release(leased[:1], after_s=5.0)
    assert oldest_at(kept.spool, "a") == NOW + 1_000
