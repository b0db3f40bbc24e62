"""Lost answers of Redis, cut connections and a network that hangs: no event is stuck, nothing happens twice."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from capi_async.errors import SpoolError
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.spool.redis import RedisSpool, parse
from capi_async.spool.redis.lua import (
    APPEND_ENTRIES,
    END_BLOCKED,
    MOVE_DEAD_LETTERS,
    RELEASE_ENTRIES,
    STORE_CHANGES,
    TAKE_OVER_ENTRIES,
)
from tests.redis.conftest import Open, die, get
from tests.redis.proxy import Proxy
from tests.redis.test_spool import future
from tests.spool.harness import DEAD, DELIVERED, DROPPED, FORGOTTEN, Receipt, eventually, ids, new_clock, record


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared Redis."""
    host, port = parse(url).hosts[0]
    async with Proxy(port, host) as it:
        yield it


@pytest.fixture
def proxied(url: str, proxy: Proxy) -> str:
    """The address of this test's spool through the proxy."""
    parts = urlsplit(url)
    place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}".removeprefix("@")
    return parts._replace(netloc=place).geturl() + "&patience_s=5"


@pytest.mark.parametrize("what", ["XREADGROUP", TAKE_OVER_ENTRIES])
async def test_what_a_lost_answer_carried_is_delivered_at_once(
    what: str, url: str, proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """By the worker to which Redis gave it, although the answer was lost; and before later events."""
    worker = await open_spool(proxied + "&lease_s=0.5")
    web = await open_spool(url + "&lease_s=0.5", deliver=False)
    if what == TAKE_OVER_ENTRIES:
        dead = await open_spool(url + "&lease_s=0.5")
        await dead.append([record(str(number)) for number in range(5)], [])
        await get(dead, 5)
        await die(dead)
        proxy.lose(what)
        await eventually(lambda: worker.queues["a"].has_unclaimed)
    else:
        proxy.lose(what)
        await web.append([record(str(number)) for number in range(5)], [])
    held = await get(worker, 5)
    assert proxy.lost == 1
    assert ids(held) == ["0", "1", "2", "3", "4"]
    await web.append([record("later")], [])
    held += await get(worker, 1)
    await worker.settle(held, [DELIVERED] * 6)
    assert worker.ledger()["a"] == Ledger(accepted=6, delivered=6)


async def test_a_cancelled_read_leaves_no_event_stuck(url: str, proxied: str, proxy: Proxy, open_spool: Open) -> None:
    """Redis had given out the events when the caller was cancelled."""
    worker = await open_spool(proxied)
    web = await open_spool(url, deliver=False)
    await web.append([record("1"), record("2")], [])
    proxy.lose("XREADGROUP")  # so that the proxy has seen it
    proxy.pause()
    leasing = asyncio.create_task(worker.lease("a", limit=9, max_bytes=1 << 20))
    await asyncio.sleep(0)
    proxy.disarm()
    leasing.cancel()
    await asyncio.wait([leasing])
    proxy.resume()
    assert ids(await get(worker, 2)) == ["1", "2"]


async def test_an_append_whose_answer_was_lost_settles_its_receipts(
    proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """Its events are stored once, and may be leased before the repeated append is answered."""
    spool = await open_spool(proxied)
    await spool.append([record("warm")], [])
    receipts = [Receipt(), Receipt(), Receipt()]
    proxy.lose(APPEND_ENTRIES)
    await spool.append(
        [
            record("1", receipt=receipts[0]),
            record("2", order_key="k", receipt=receipts[1]),
            record("3", order_key="k", receipt=receipts[2]),
        ],
        [],
    )
    assert proxy.lost == 1
    for _ in range(2):
        held = await get(spool, 1)
        held += await spool.lease("a", limit=9, max_bytes=1 << 20)
        await spool.settle(held, [DELIVERED] * len(held))
    assert [one.told for one in receipts] == [{"a": DELIVERED}] * 3
    assert spool.ledger()["a"] == Ledger(accepted=4, delivered=4)


async def test_a_repeated_append_gets_the_first_result(url: str, open_spool: Open) -> None:
    """Ids included; one that was delayed until after a later append of its process changes nothing."""
    spool = await open_spool(url)
    calls = []
    run = spool.session.connection.script

    async def watched(script: str, keys: list[str], arguments: list[object]) -> object:
        found = await run(script, keys, arguments)  # type: ignore[arg-type]
        if script == APPEND_ENTRIES:
            calls.append((keys, arguments, found))
        return found

    spool.session.connection.script = watched  # type: ignore[method-assign, assignment]
    await spool.append([record("1"), record("2", "b"), record("3", order_key="k"), record("4", order_key="k")], [])
    keys, arguments, first = calls[0]
    assert [one[0] for one in await run(APPEND_ENTRIES, keys, arguments)] == [one[0] for one in first]
    await spool.append([record("5")], [])
    await run(APPEND_ENTRIES, keys, arguments)
    await spool.refresh()
    assert spool.ledger()["a"] == Ledger(accepted=4, pending=4)
    assert spool.ledger()["b"] == Ledger(accepted=1, pending=1)


async def test_an_outcome_whose_answer_was_lost_settles_its_receipt(
    proxied: str, proxy: Proxy, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The repeated write does not mistake its first attempt for another process's takeover."""
    spool = await open_spool(proxied)
    receipts = [Receipt(), Receipt(), Receipt()]
    await spool.append(
        [record("1", receipt=receipts[0]), record("2", receipt=receipts[1]), record("3", receipt=receipts[2])], []
    )
    held = await get(spool, 3)
    await spool.settle(held[:1], [DELIVERED])
    proxy.lose(STORE_CHANGES)
    await spool.settle(held[1:], [DELIVERED, DEAD])
    assert proxy.lost == 1
    assert [one.told for one in receipts] == [{"a": DELIVERED}, {"a": DELIVERED}, {"a": DEAD}]
    assert spool.ledger()["a"] == Ledger(accepted=3, delivered=2, dead=1)
    assert "taken over" not in caplog.text


async def test_a_record_that_moves_to_a_new_entry_keeps_its_receipt(
    proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """Because another record of its entry is erased, and the answer to that is lost."""
    spool = await open_spool(proxied)
    receipts = [Receipt(), Receipt()]
    await spool.append([record("1", receipt=receipts[0]), record("2", receipt=receipts[1])], [])
    await spool.release(await get(spool, 2))
    proxy.lose(STORE_CHANGES)
    assert await spool.settle_matching(lambda one: one.event_id == "1", FORGOTTEN) == {"a": 1}
    held = await get(spool, 1)
    await spool.settle(held, [DELIVERED])
    assert [one.told["a"].kind for one in receipts] == ["forgotten", "delivered"]
    assert spool.ledger()["a"] == Ledger(accepted=2, forgotten=1, delivered=1)


@pytest.mark.parametrize("what", ["XREADGROUP", RELEASE_ENTRIES, STORE_CHANGES])
async def test_a_web_process_that_forgets_keeps_nothing_when_an_answer_is_lost(
    what: str, url: str, proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """It does not deliver: what Redis gave it goes to the workers within a second or two."""
    web = await open_spool(proxied, deliver=False)
    await web.append([record(str(number)) for number in range(6)], [])
    proxy.lose(what)
    try:
        await web.settle_matching(lambda one: one.event_id == "0", FORGOTTEN)
    except SpoolError:  # an error says so: the caller repeats it
        await web.settle_matching(lambda one: one.event_id == "0", FORGOTTEN)
    assert proxy.lost == 1
    worker = await open_spool(url)
    held = await get(worker, 5)
    await worker.settle(held, [DELIVERED] * 5)
    await eventually(lambda: web.ledger()["a"] == Ledger(accepted=6, forgotten=1, delivered=5))


async def test_a_blocked_record_whose_end_was_not_answered_is_reported(
    proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """Erased or evicted behind an older record of its order key: counted, and its receipt is settled."""
    spool = await open_spool(proxied)
    receipts = [Receipt(), Receipt()]
    await spool.append([record("1", order_key="k")], [])
    await spool.append([record(str(n), order_key="k", receipt=one) for n, one in enumerate(receipts, 2)], [])
    await get(spool, 1)
    proxy.lose(END_BLOCKED)
    assert await spool.settle_matching(lambda one: one.event_id == "2", FORGOTTEN) == {"a": 1}
    proxy.lose(END_BLOCKED)
    assert await spool.evict("a", events=1, max_bytes=1 << 20, outcome=DROPPED) == 1
    assert proxy.lost == 2
    assert [one.told for one in receipts] == [{"a": FORGOTTEN}, {"a": DROPPED}]
    assert spool.ledger()["a"] == Ledger(accepted=3, forgotten=1, dropped=1, pending=1)


async def test_a_replay_that_was_not_answered_is_counted(proxied: str, proxy: Proxy, open_spool: Open) -> None:
    """Its dead letters become pending once."""
    spool = await open_spool(proxied)
    await spool.append([future("1"), future("2")], [])
    await spool.settle(await get(spool, 2), [DEAD] * 2)
    proxy.lose(MOVE_DEAD_LETTERS)
    assert await spool.replay(LetterFilter()) == {"a": 2}
    assert proxy.lost == 1
    assert sorted(ids(await get(spool, 2))) == ["1", "2"]
    assert spool.ledger()["a"] == Ledger(accepted=2, pending=2)


async def test_what_redis_gave_to_another_process_is_not_sent(url: str, open_spool: Open) -> None:
    """A Redis that lost its last second of data gives it out again."""
    first = await open_spool(url + "&lease_s=0.5", "a")
    await first.append([record("1"), record("2")], [])
    held = await get(first, 2)
    stream = first.session.keys.of("a").stream
    for number in {one.chunk.id for one in held}:
        await first.session.command("XACK", stream, "w", number)
    await first.session.command("XGROUP", "SETID", stream, "w", "0")
    second = await open_spool(url + "&lease_s=0.5", "a")
    again = await get(second, 2)
    with pytest.raises(SpoolError, match="another process"):
        await first.mark_attempted(held)
    await second.settle(again, [DELIVERED] * 2)
    assert second.ledger()["a"] == Ledger(accepted=2, delivered=2)


async def test_a_redis_that_hangs_fails_send_in_time_without_claiming_that_nothing_was_stored(
    proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """``stored`` is ``None`` after a lost answer, and False if there was no connection."""
    spool = await open_spool(proxied, "a")
    await spool.append([record("1")], [])
    proxy.pause()
    began = time.monotonic()
    with pytest.raises(SpoolError) as raised:
        await spool.append([record("2")], [], timeout_s=0.5)
    assert time.monotonic() - began < 5  # an answer may take ten seconds
    assert raised.value.stored is None
    proxy.resume()
    held = await get(spool, 1)
    await asyncio.sleep(0)
    held += await spool.lease("a", limit=9, max_bytes=1 << 20)
    await spool.settle(held, [DELIVERED] * len(held))
    await spool.refresh()
    assert spool.ledger()["a"].balanced
    await proxy.stop()
    with pytest.raises(SpoolError):
        await spool.append([record("3")], [], timeout_s=0.3)
    with pytest.raises(SpoolError, match="out of reach") as raised:
        await spool.append([record("3")], [], timeout_s=0.3)
    assert raised.value.stored is False


async def test_a_cut_connection_is_no_outage(
    proxied: str, proxy: Proxy, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """If Redis answers the next attempt; leases of killed workers do not last longer because of it."""
    caplog.set_level(logging.INFO, "capi_async")
    spool = await open_spool(proxied + "&lease_s=0.5")
    before = spool.session.availability.lease_ms()
    await eventually(lambda: spool.session.availability.lease_ms() < before)  # they last longer just after a start
    for number in range(5):
        await spool.append([record(str(number))], [])
        proxy.cut()
        await spool.settle(await get(spool, 1), [DELIVERED])
    assert spool.session.availability.lease_ms() < 60_000
    assert "Redis does not answer" not in caplog.text
    assert spool.ledger()["a"] == Ledger(accepted=5, delivered=5)


async def test_a_connection_that_hangs_does_not_cost_the_lease(
    url: str, proxied: str, proxy: Proxy, open_spool: Open
) -> None:
    """Others extend every lease by the time in which no process could send a heartbeat."""
    first = await open_spool(proxied + "&lease_s=1", "a")
    second = await open_spool(proxied + "&lease_s=1", "a")
    await asyncio.gather(*[first.refresh(), second.refresh()])
    await first.append([record("1")], [])
    held = await get(first, 1)
    proxy.pause()
    await asyncio.sleep(1.6)
    proxy.resume()
    await second.lease("a", limit=1, max_bytes=1)
    await first.refresh()
    await second.refresh()
    await first.mark_attempted(held)
    await first.settle(held, [DELIVERED])
    assert first.ledger()["a"] == Ledger(accepted=1, delivered=1)


async def test_repeated_outages_are_logged_at_growing_intervals(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """And not once per attempt, which would fill the log."""
    from capi_async.spool.redis.connection import Unreachable

    caplog.set_level(logging.INFO, "capi_async")
    clock = new_clock()
    spool = RedisSpool(parse(url), clock=clock)
    for _ in range(200):
        for _ in range(5):
            spool.session.availability.failed(Unreachable("Redis at x is out of reach (ConnectionError)"))
            clock.now += 0.1
        spool.session.availability.answered()
        clock.now += 0.2
    assert 2 <= caplog.text.count("Redis does not answer") <= 6
    assert caplog.text.count("Redis does not answer") == caplog.text.count("Redis answers again")
    assert "more outages" in caplog.text
