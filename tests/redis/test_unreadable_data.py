"""Data in Redis that are damaged, or that no release wrote: each is logged, and affects nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capi_async.outcome import Outcome
from capi_async.spool.base import Ledger, LetterFilter
from tests.redis.conftest import Open, get
from tests.redis.test_spool import future
from tests.spool.harness import DEAD, DELIVERED, FORGOTTEN, Receipt, eventually, ids, record

#: Fields of entries that no release ever wrote.
FOREIGN = [
    {"x": "y"},
    {"d": b"\xff\xfe", "n": "x", "b": "many"},
    {"d": b"\x00" * 4, "n": "-3", "b": "", "k": b"\xff"},
    {"n": "1", "b": "1"},
    {"d": b"nonsense", "n": "2", "b": "9", "f": b"\xc1", "s": "no such key"},
]


@pytest.mark.parametrize("fields", FOREIGN)
async def test_a_foreign_entry_affects_no_other(
    fields: dict[str, Any], url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries that are read with it are delivered, and so are later ones."""
    worker = await open_spool(url, "a")
    web = await open_spool(url, "a", deliver=False)
    stream = worker.session.keys.of("a").stream
    await web.append([record("1")], [])
    await worker.session.command("XADD", stream, "*", *[part for pair in fields.items() for part in pair])
    await web.append([record("2")], [])
    held = await get(worker, 2)
    assert await web.settle_matching(lambda one: one.event_id == "nobody", FORGOTTEN) == {}
    await worker.settle(held, [DELIVERED] * 2)
    await web.append([record("3")], [])
    await worker.settle(await get(worker, 1), [DELIVERED])
    assert worker.ledger()["a"].delivered == 3
    assert "stored events" in caplog.text


async def test_a_damaged_state_affects_its_entry_only(url: str, open_spool: Open) -> None:
    """Another release or a damaged file may leave one."""
    first = await open_spool(url, "a")
    await first.append([record("1")], [])
    held = await get(first, 1)
    await first.mark_attempted(held)
    number, state = held[0].chunk.id, first.session.keys.of("a").states
    await first.session.command("HSET", state, number, b"\xc1\xc1", "v" + number, "new", "t" + number, "yesterday")
    await first.append([record("2")], [])
    await first.close()
    second = await open_spool(url, "a")
    assert ids(await get(second, 1)) == ["2"]
    await eventually(lambda: second.ledger()["a"].dead == 1)


async def test_a_foreign_dead_letter_affects_no_other(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The other dead letters are listed, replayed, erased and pruned."""
    spool = await open_spool(url, "a")
    await spool.append([future("1"), future("2")], [])
    await spool.settle(await get(spool, 2), [DEAD] * 2)
    for number, member in enumerate((b"0000000000000001\x81\xa1a\xa1b", b"short", b"\xff" * 40)):
        await spool.session.command("ZADD", spool.session.keys.dead_letters, 1.5 + number, member)
    await spool.session.command("HSET", spool.session.keys.dead_letter_data, "2", b"\xc1")
    assert [one.event_id for one in await spool.letters(LetterFilter())] == ["1", "2"]
    await spool.dead_letters.prune()
    assert await spool.settle_matching(lambda one: one.event_id == "nobody", FORGOTTEN) == {}
    assert await spool.replay(LetterFilter()) == {"a": 1}
    assert caplog.text.count("cannot be read and is left alone") == 4  # three members, and the data of a fourth


async def test_foreign_notices_affect_no_others(url: str, open_spool: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A worker still notices new events and throttling."""
    worker = await open_spool(url, "a")
    web = await open_spool(url, "a", deliver=False)
    of = worker.session.keys.of("a")
    await worker.session.command("XADD", worker.session.keys.throttling, "*", "x", "y")
    await worker.session.command("XADD", worker.session.keys.throttling, "*", "a", "b", "s", "soon")
    await worker.session.command("XADD", of.notices, "*", "i", "no id")
    await worker.session.command("XADD", of.notices, "*", b"\xff", b"\xff")
    await worker.session.command("HSET", of.ledger, "delivered", "lots", "x", "y")
    await eventually(lambda: "was not written by this package" in caplog.text)
    await web.append([record("1")], [])
    assert ids(await get(worker, 1)) == ["1"]
    await web.withhold_tokens("x", rate=1.0, burst=1.0, seconds=30.0)
    await eventually(lambda: worker.rates.is_closed("x"))
    assert not [task for task in (*worker.writers.tasks, *worker.background.tasks) if task.done()]


async def test_a_foreign_recall_and_a_foreign_blocked_record_affect_no_others(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Other recalls are applied, and the records behind the foreign one are delivered."""
    worker = await open_spool(url, "a")
    await worker.append([future("1", order_key="k"), future("2", order_key="k"), future("3")], [])
    held = {one.event_id: one for one in await get(worker, 2)}
    of = worker.session.keys.of("a")
    (waiting,) = await worker.session.command("ZRANGE", of.blocked, 0, -1)
    await worker.session.command("ZADD", of.blocked, 0, waiting[:16] + b"0" * 16 + b"\xc1")
    await worker.session.command("HSET", of.recalls, held["1"].chunk.id, b"\xc1")
    await worker.release([held["3"]])
    web = await open_spool(url, "a", deliver=False)
    assert await web.settle_matching(lambda one: one.event_id == "3", FORGOTTEN) == {"a": 1}
    await worker.settle([held["1"]], [DELIVERED])
    assert ids(await get(worker, 1)) == ["2"]
    assert "cannot be read and is left alone" in caplog.text


async def test_an_outcome_that_cannot_be_stored_affects_no_other(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are stored, their receipts are settled, and the callers return."""
    spool = await open_spool(url, "a")
    stored, unstored = Receipt(), Receipt()
    await spool.append([future("1", receipt=stored, order_key="x"), future("2", receipt=unstored, order_key="y")], [])
    held = sorted(await get(spool, 2), key=lambda one: one.event_id)
    seal = spool.session.sealing.seal

    def broken(data: bytes, destination: str) -> tuple[str, bytes]:
        if b'"id":"2"' in data:
            raise RuntimeError("no")
        return seal(data, destination)

    monkeypatch.setattr(spool.session.sealing, "seal", broken)
    await spool.settle(held, [DELIVERED, DEAD])
    assert (stored.told, unstored.told) == ({"a": DELIVERED}, {})
    assert spool.ledger()["a"] == Ledger(accepted=2, delivered=1, pending=1)
    assert "is not stored" in caplog.text
    await spool.append([record("3")], [])
    await spool.settle(await get(spool, 1), [DELIVERED])
    await spool.close()
    successor = await open_spool(url, "a")  # which finds it as it was last stored
    await successor.settle(await get(successor, 1), [DEAD])
    assert successor.ledger()["a"] == Ledger(accepted=3, delivered=2, dead=1)


async def test_a_reason_with_an_unpaired_surrogate_is_kept(url: str, open_spool: Open) -> None:
    """A platform's text may hold anything."""
    spool = await open_spool(url, "a")
    await spool.append([future("1")], [])
    await spool.settle(await get(spool, 1), [Outcome(kind="dead", reason="no \ud800")])
    (letter,) = await spool.letters(LetterFilter())
    assert letter.reason == "no ?"


async def test_an_entry_that_redis_refuses_to_change_affects_no_other(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Other entries of the same script are stored."""
    spool = await open_spool(url, "a")
    await spool.append([record("1", order_key="x"), record("2", order_key="y"), record("3", order_key="z")], [])
    held = sorted(await get(spool, 3), key=lambda one: one.event_id)
    held[1].chunk.epoch = "?"  # no number: Redis ends the script there
    held[1].chunk.id = "no id"
    await asyncio.wait_for(spool.settle(held, [DELIVERED] * 3), 20)
    assert spool.ledger()["a"].delivered == 2
    assert "cannot be stored and are left alone" in caplog.text


async def test_a_task_that_fails_begins_again(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any fault, and after a cancellation that comes from within."""
    spool = await open_spool(url, "a")
    beat, faults = spool.heartbeat.beat, [RuntimeError("secret"), asyncio.CancelledError()]

    async def broken(*arguments: Any, **options: Any) -> None:
        if faults:
            raise faults.pop()
        await beat(*arguments, **options)

    monkeypatch.setattr(spool.heartbeat, "beat", broken)
    await eventually(lambda: not faults)
    web = await open_spool(url, "a", deliver=False)
    await web.append([record("1")], [])
    await eventually(lambda: spool.ledger()["a"].accepted == 1)
    assert "begins again" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
