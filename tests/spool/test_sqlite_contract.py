"""What every spool promises, in the same words for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from capi_async.outcome import Outcome
from capi_async.spool.base import Ledger
from tests.spool.harness import (
    DEAD,
    DELIVERED,
    DROPPED,
    FORGOTTEN,
    REJECTED,
    SPOOLS,
    HandClock,
    Receipt,
    ids,
    opened,
    record,
    refusal,
    take,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=SPOOLS)
async def spool(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> AsyncIterator[Any]:
    async with opened(SPOOLS[request.param](tmp_path, clock)) as it:
        yield it


async def test_records_come_out_in_the_order_they_went_in(spool: Any) -> None:
    """Whole, and each to its own destination."""
    await spool.append([record("1"), record("1", "b"), record("2"), record("2", "b")], [])
    await spool.append([record("3", head=b"other")], [])
    first = await take(spool)
    assert ids(first) == ["1", "2", "3"]
    assert (first[2].head, first[2].body) == (b"other", b'{"id":"3"}')
    assert ids(await take(spool, "b")) == ["1", "2"]
    assert await take(spool) == []


async def test_the_ledger_counts_every_event_once(spool: Any) -> None:
    """Refusals at the door included."""
    await spool.append([record("1"), record("2"), record("3")], [refusal("1", "b"), refusal("4")])
    leased = await take(spool, limit=2)
    await spool.settle(leased, [DELIVERED, REJECTED])
    assert spool.ledger()["a"] == Ledger(accepted=4, delivered=1, rejected=1, skipped=1, pending=1)
    assert spool.ledger()["b"] == Ledger(accepted=1, skipped=1)
    assert all(counts.balanced for counts in spool.ledger().values())
    assert (spool.depth("a").events, spool.depth("a").bytes) == (1, len(b'{"id":"3"}'))


async def test_receipts_are_told_of_every_final_outcome(spool: Any) -> None:
    """Once, and of a refusal at the door as well."""
    receipt = Receipt()
    await spool.append([record("1", receipt=receipt)], [refusal("1", "b", receipt=receipt)])
    leased = await take(spool)
    await spool.settle(leased, [DELIVERED])
    await spool.settle(leased, [REJECTED])
    assert {name: outcome.kind for name, outcome in receipt.told.items()} == {"a": "delivered", "b": "skipped"}
    assert spool.ledger()["a"].delivered == 1


async def test_a_lease_keeps_to_its_bounds_but_gives_at_least_one(spool: Any) -> None:
    """Count and bytes, whatever the size of the first."""
    await spool.append([record("1", body=b"x" * 100), record("2", body=b"x" * 100), record("3", body=b"x" * 100)], [])
    assert ids(await take(spool, max_bytes=10)) == ["1"]
    assert ids(await take(spool, max_bytes=200)) == ["2", "3"]


async def test_released_records_come_again_first(spool: Any) -> None:
    """In their old order."""
    await spool.append([record("1"), record("2"), record("3")], [])
    await spool.release(await take(spool, limit=2))
    assert ids(await take(spool)) == ["1", "2", "3"]


async def test_a_delayed_record_waits_for_its_time(spool: Any, clock: HandClock) -> None:
    """And says how long."""
    await spool.append([record("1"), record("2")], [])
    leased = await take(spool, limit=1)
    leased[0].attempts = 1
    await spool.release(leased, after_s=5.0)
    assert ids(await take(spool)) == ["2"]
    assert spool.next_due_s("a") == 5.0
    clock.now += 5
    assert ids(await take(spool)) == ["1"]
    assert spool.next_due_s("a") is None


async def test_an_order_key_holds_back_what_is_younger(spool: Any) -> None:
    """Until the older one is settled, also while it waits for another attempt."""
    await spool.append([record("1", order_key="k"), record("2", order_key="k"), record("3", order_key="l")], [])
    await spool.append([record("4", order_key="k"), record("5")], [])
    leased = await take(spool)
    assert ids(leased) == ["1", "3", "5"]
    await spool.release(leased[:1], after_s=1.0)
    assert await take(spool) == []
    await spool.evict("a", events=4, max_bytes=1 << 20, outcome=DROPPED)
    second = await take(spool)
    assert ids(second) == ["2"]
    await spool.settle(second, [DEAD])
    assert ids(await take(spool)) == ["4"]


async def test_the_oldest_that_nobody_holds_give_way(spool: Any) -> None:
    """Never what is under way."""
    await spool.append([record(str(number)) for number in range(6)], [])
    held = await take(spool, limit=2)
    assert await spool.evict("a", events=3, max_bytes=1 << 20, outcome=DROPPED) == 3
    assert ids(await take(spool)) == ["5"]
    await spool.settle(held, [DELIVERED, DELIVERED])
    assert spool.ledger()["a"] == Ledger(accepted=6, delivered=2, dropped=3, pending=1)


async def test_what_matches_is_settled_wherever_it_waits(spool: Any) -> None:
    """Ready, delayed or behind an older one; not what is under way."""
    await spool.append([record(name, body=name.encode(), order_key=key) for name, key in
                        (("x1", None), ("y1", None), ("x2", "k"), ("x3", "k"), ("y2", "k"))], [])  # fmt: skip
    held = await take(spool, limit=1)
    delayed = await take(spool, limit=1)
    await spool.release(delayed, after_s=60.0)
    found = await spool.settle_matching(lambda one: one.body[:1] == b"x", FORGOTTEN)
    assert found == {"a": 2}
    assert ids(await take(spool)) == ["y2"]
    assert spool.ledger()["a"] == Ledger(accepted=5, forgotten=2, pending=3)
    await spool.settle(held, [DELIVERED])
    assert spool.ledger()["a"].delivered == 1


async def test_many_records_pass_through_unchanged(spool: Any) -> None:
    """More than stand in one row, in leases that fit no row."""
    every = [str(number) for number in range(1_000)]
    await spool.append([record(one) for one in every], [])
    out: list[str] = []
    while leased := await take(spool, limit=77):
        out += ids(leased)
        await spool.mark_attempted(leased)
        await spool.settle(leased, [DELIVERED] * len(leased))
    assert out == every
    assert spool.ledger()["a"] == Ledger(accepted=1_000, delivered=1_000)
    assert spool.depth("a").events == 0


async def test_outcomes_of_one_batch_may_all_differ(spool: Any) -> None:
    """Each record gets its own."""
    receipts = [Receipt() for _ in range(4)]
    await spool.append([record(str(index), receipt=one) for index, one in enumerate(receipts)], [])
    outcomes = [Outcome(kind=kind) for kind in ("delivered", "rejected", "expired", "uncertain")]  # type: ignore[arg-type]
    await spool.settle(await take(spool), outcomes)
    assert [receipt.told["a"].kind for receipt in receipts] == ["delivered", "rejected", "expired", "uncertain"]
    assert spool.ledger()["a"].balanced
