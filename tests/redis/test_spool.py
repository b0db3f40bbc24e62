"""What the Redis spool promises beyond the contract: dead and paused workers, lost answers, erasure, encryption."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import Any

import pytest
import redis as driver

from capi_async import ConfigError
from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Ledger, LetterFilter, Revoked
from capi_async.spool.redis import RedisSpool, parse, recalls
from capi_async.spool.redis.lua import APPEND_ENTRIES, STORE_CHANGES
from capi_async.spool.redis.stream_entry import pack
from capi_async.testing import ManualClock
from tests.redis.conftest import Open, die, freeze, get
from tests.spool.harness import DEAD, DELIVERED, DROPPED, FORGOTTEN, REJECTED, Receipt, eventually, ids, record
from tests.spool.redis_server import RedisServer


def everything(url: str) -> bytes:
    """All values that Redis holds of a spool."""
    options = parse(url)
    client = driver.Redis(*options.hosts[0])
    found: list[bytes] = []
    for key in client.scan_iter(f"{{{options.prefix}}}*", count=1000):
        kind = client.type(key)
        if kind == b"stream":
            found += [value for _, fields in client.xrange(key) for value in fields.values()]
        elif kind == b"hash":
            found += client.hvals(key)
        elif kind == b"zset":
            found += client.zrange(key, 0, -1)
    client.close()
    return b"\n".join(found)


def future(event_id: str, destination: str = "a", **fields: Any) -> Any:
    """A record that does not expire while a test runs."""
    one = record(event_id, destination, **fields)
    one.expires_at = 1e11
    return one


async def test_that_nobody_delivers_is_known(url: str, open_spool: Open) -> None:
    """A web process alone counts no worker; an alert stands on that."""
    web = await open_spool(url, deliver=False)
    await web.refresh()
    assert web.health().workers == 0
    await open_spool(url)
    await web.refresh()
    assert web.health().workers == 1


async def test_web_processes_append_and_workers_deliver(url: str, open_spool: Open) -> None:
    """Both see the same ledger, and the depth that bounds the queue."""
    web = await open_spool(url, deliver=False)
    worker = await open_spool(url)
    await web.append([record("1"), record("2"), record("2", "b")], [])
    assert web.depth("a").events == 2
    await worker.settle(await get(worker, 2), [DELIVERED, REJECTED])
    assert worker.ledger()["a"] == Ledger(accepted=2, delivered=1, rejected=1)
    await eventually(lambda: web.depth("a").events == 0)
    await worker.refresh()
    assert web.ledger() == worker.ledger()


async def test_a_sleeping_worker_is_woken_by_an_append(url: str, open_spool: Open) -> None:
    """Without polling: a notice wakes it."""
    woken: list[str] = []
    worker = RedisSpool(parse(url))
    await worker.open(["a"], woken.append)
    assert await worker.lease("a", limit=1, max_bytes=1) == []
    assert worker.next_due_s("a") is None
    woken.clear()
    web = await open_spool(url, "a", deliver=False)
    await web.append([record("1")], [])
    await eventually(lambda: woken == ["a"])
    assert worker.next_due_s("a") == 0.0
    await worker.close()


async def test_what_a_killed_worker_held_is_taken_over_after_its_lease(url: str, open_spool: Open) -> None:
    """In order, before unread entries; and what it had begun to send is marked uncertain."""
    dead = await open_spool(url + "&lease_s=0.4")
    await dead.append([record("1"), record("2", resend_for_s=0.0), record("3")], [])
    held = await get(dead, 3)
    await dead.mark_attempted(held[:2])
    await die(dead)
    successor = await open_spool(url + "&lease_s=0.4")
    await successor.append([record("4")], [])
    taken = await get(successor, 4)
    assert sorted(ids(taken)) == ["1", "2", "3", "4"]
    doubtful = {one.event_id: one.uncertain_since > 0 for one in taken}
    # the third was in the same entry, but no request carried it
    assert doubtful == {"1": True, "2": True, "3": False, "4": False}
    assert [one.event_id for one in taken if one.event_id != "4"] == ["1", "2", "3"]
    await successor.settle(taken, [DELIVERED] * 4)
    assert successor.ledger()["a"] == Ledger(accepted=4, delivered=4)


async def test_a_paused_worker_settles_nothing_that_others_took_over(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """No event is settled twice: its late settlement is refused, and it must not send what it no longer holds."""
    receipt = Receipt()
    paused = await open_spool(url + "&lease_s=0.4")
    await paused.append([record("1", receipt=receipt), record("2")], [])
    late = await get(paused, 2)
    await freeze(paused)
    successor = await open_spool(url + "&lease_s=0.4")
    taken = await get(successor, 2)
    with pytest.raises(SpoolError, match="another process holds"):
        await paused.mark_attempted(late)
    await paused.settle(late, [DELIVERED, DELIVERED])
    await paused.release(late)
    assert await paused.lease("a", limit=9, max_bytes=1 << 20) == []
    assert successor.ledger()["a"].delivered == 0
    await successor.settle(taken, [REJECTED, DELIVERED])
    assert successor.ledger()["a"] == Ledger(accepted=2, delivered=1, rejected=1)
    assert receipt.told == {}
    assert "a lease was taken over by another process" in caplog.text


async def test_a_late_settlement_without_a_noted_attempt_is_refused_by_redis(url: str, open_spool: Open) -> None:
    """The check is made in Redis, not in the process's memory."""
    paused = await open_spool(url + "&lease_s=0.4")
    await paused.append([record("1")], [])
    late = await get(paused, 1)
    await freeze(paused)
    successor = await open_spool(url + "&lease_s=0.4")
    taken = await get(successor, 1)
    await paused.settle(late, [REJECTED])
    assert successor.ledger()["a"].rejected == 0
    await successor.settle(taken, [DELIVERED])
    await successor.refresh()
    assert successor.ledger()["a"] == Ledger(accepted=1, delivered=1)


async def test_a_worker_that_closes_leaves_the_rest_to_others_at_once(url: str, open_spool: Open) -> None:
    """With their attempts and the times for which they wait."""
    first = await open_spool(url)
    await first.append([record("1"), record("2"), record("3")], [])
    held = await get(first, 3)
    held[0].attempts = held[0].failures = 2
    held[1].attempts = 1
    await first.release(held[:1])
    await first.release(held[1:2], after_s=60.0)
    await first.settle(held[2:], [DELIVERED])
    await first.close()
    second = await open_spool(url)
    (again,) = await get(second, 1)
    assert (again.event_id, again.attempts, again.failures) == ("1", 2, 2)
    assert await second.lease("a", limit=9, max_bytes=1 << 20) == []
    assert 50 < (second.next_due_s("a") or 0) <= 60
    assert second.ledger()["a"] == Ledger(accepted=3, delivered=1, pending=2)


async def test_an_append_whose_answer_was_lost_counts_once(url: str, open_spool: Open) -> None:
    """It is repeated under the same number, which Redis recognises."""
    spool = await open_spool(url)
    await spool.append([record("1")], [])
    keys, of = spool.session.keys, spool.session.keys.of("a")
    names = [
        keys.append_number(spool.session.consumer),
        keys.destinations,
        of.stream,
        of.notices,
        of.ledger,
        of.blocked,
        of.order_keys,
    ]
    number = int((await spool.session.command("GET", names[0])).decode())
    await spool.session.call(APPEND_ENTRIES, names, [number, pack([["a", {"accepted": 1, "pending": 1}, []]])])
    await spool.refresh()
    assert spool.ledger()["a"] == Ledger(accepted=1, pending=1)


async def test_a_settlement_whose_answer_was_lost_counts_once(url: str, open_spool: Open) -> None:
    """Redis recognises the version of a partly settled entry."""
    spool = await open_spool(url)
    await spool.append([record("1"), record("2")], [])
    held = await get(spool, 2)
    run, calls = spool.session.connection.script, []

    async def twice(script: str, keys: Any, arguments: Any) -> Any:
        if script != STORE_CHANGES:
            return await run(script, keys, arguments)
        calls.append(await run(script, keys, arguments))
        return await run(script, keys, arguments)

    spool.session.connection.script = twice  # type: ignore[method-assign]
    await spool.settle(held[:1], [DELIVERED])
    spool.session.connection.script = run  # type: ignore[method-assign]
    assert len(calls) == 1
    assert spool.ledger()["a"] == Ledger(accepted=2, delivered=1, pending=1)
    await spool.settle(held[1:], [DELIVERED])
    assert spool.ledger()["a"] == Ledger(accepted=2, delivered=2)


async def test_an_order_key_holds_over_all_workers(url: str, open_spool: Open) -> None:
    """The younger record goes to any worker once the older one is settled, by any worker."""
    first, second = await open_spool(url), await open_spool(url)
    await first.append([record("1", order_key="ada"), record("2", order_key="ada"), record("3", order_key="bob")], [])
    held = await get(first, 2)
    assert sorted(ids(held)) == ["1", "3"]
    assert await second.lease("a", limit=9, max_bytes=1 << 20) == []
    await first.settle([one for one in held if one.event_id == "1"], [DELIVERED])
    assert ids(await get(second, 1)) == ["2"]


async def test_what_is_forgotten_is_nowhere_in_redis(url: str, open_spool: Open) -> None:
    """Unread, held and released, blocked, or a dead letter: no key holds it any more."""
    web = await open_spool(url, deliver=False)
    worker = await open_spool(url)

    def of(name: str, person: str, **fields: Any) -> Any:
        return future(name, body=b'{"em":["%s"]}' % person.encode(), **fields)

    await web.append([of("1", "ada"), of("2", "bob"), of("3", "ada")], [])
    held = await get(worker, 3)
    await worker.settle(held[2:], [DEAD])
    await worker.release(held[:2])
    await web.append([of("4", "bob", order_key="k"), of("5", "ada", order_key="k")], [])
    await web.append([of("6", "ada"), of("7", "bob")], [])
    assert b"ada" in everything(url)
    found = await worker.settle_matching(lambda one: b"ada" in one.body, FORGOTTEN)
    assert found == {"a": 4}
    assert b"ada" not in everything(url)
    assert worker.ledger()["a"] == Ledger(accepted=7, forgotten=4, pending=3)
    rest = await get(worker, 3)
    assert sorted(ids(rest)) == ["2", "4", "7"]
    await worker.settle(rest, [DELIVERED] * 3)
    assert worker.ledger()["a"].balanced


async def test_what_is_leased_when_its_person_is_forgotten_is_not_sent(url: str, open_spool: Open) -> None:
    """It ends before its request leaves or when it is released; an answer is counted, and nothing is kept."""
    spool = await open_spool(url)
    await spool.append([future("1"), future("2"), future("3")], [])
    first, second, third = await get(spool, 3)
    assert await spool.settle_matching(lambda one: True, FORGOTTEN) == {}
    with pytest.raises(Revoked):
        await spool.mark_attempted([first])
    await spool.release([second])
    await spool.settle([third], [DEAD])
    assert spool.ledger()["a"] == Ledger(accepted=3, forgotten=2, dead=1)
    assert await spool.letters(LetterFilter()) == []


async def test_forgetting_reaches_what_other_workers_hold(url: str, open_spool: Open) -> None:
    """What they have not sent ends there and is counted; what they have sent is not sent again."""
    worker = await open_spool(url)
    await worker.append([future("1"), future("2"), future("3"), future("4")], [])
    sent, waiting, other = await get(worker, 3)
    await worker.release([waiting, other])
    web = await open_spool(url, deliver=False)
    found = await web.settle_matching(lambda one: one.event_id in ("1", "2", "4"), FORGOTTEN)
    assert found == {"a": 2}
    await worker.refresh()
    assert worker.ledger()["a"] == Ledger(accepted=4, forgotten=2, pending=2)
    (third,) = await get(worker, 1)
    assert third.event_id == "3"
    await worker.release([sent, third])
    await eventually(lambda: worker.ledger()["a"] == Ledger(accepted=4, forgotten=3, pending=1))
    await eventually(lambda: b'"id":"4"' not in everything(url))


async def test_a_recall_that_a_killed_worker_did_not_apply_is_applied_by_the_next(
    url: str, open_spool: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recall stays in Redis until a process applies it."""
    monkeypatch.setattr(recalls, "ANSWER_S", 0.1)
    dead = await open_spool(url + "&lease_s=0.6")
    await dead.append([future("1"), future("2")], [])
    assert len(await get(dead, 2)) == 2
    await die(dead)
    web = await open_spool(url + "&lease_s=30", deliver=False)
    assert await web.settle_matching(lambda one: one.event_id == "1", FORGOTTEN) == {}
    successor = await open_spool(url + "&lease_s=0.6")
    assert ids(await get(successor, 1)) == ["2"]
    await eventually(lambda: successor.ledger()["a"] == Ledger(accepted=2, forgotten=1, pending=1))


async def test_dead_letters_are_listed_filtered_and_replayed(url: str, open_spool: Open) -> None:
    """To the destinations that missed them, under the same ids; what is too old is expired, what may not be skipped."""
    spool = await open_spool(url)
    await spool.append([future("1"), future("2"), future("3", order_key="k"), record("4"), future("5", "b")], [])
    await spool.settle(await get(spool, 4), [DEAD] * 4)
    await spool.settle(await get(spool, 1, "b"), [REJECTED])
    assert len(await spool.letters(LetterFilter(reason="HTTP 503", limit=3))) == 3
    assert await spool.letters(LetterFilter(destination="b")) == []
    assert await spool.replay(LetterFilter(), permitted=lambda event_id: event_id != "2") == {"a": 2}
    assert spool.ledger()["a"] == Ledger(accepted=4, expired=1, skipped=1, pending=2)
    again = await get(spool, 2)
    assert sorted(ids(again)) == ["1", "3"]
    await spool.settle(again, [DELIVERED] * 2)
    assert await spool.replay(LetterFilter()) == {}


async def test_dead_letters_beyond_the_limit_are_removed(url: str, open_spool: Open) -> None:
    """The newest stay; the ledger still counts all of them."""
    spool = await open_spool(url + "&dead_max=1")
    await spool.append([future("1"), future("2")], [])
    await spool.settle(await get(spool, 2), [DEAD] * 2)
    await spool.dead_letters.prune()
    assert [one.event_id for one in await spool.letters(LetterFilter())] == ["2"]
    assert spool.ledger()["a"].dead == 2


async def test_a_web_process_makes_room_by_dropping_the_oldest(url: str, open_spool: Open) -> None:
    """And holds nothing afterwards."""
    web = await open_spool(url, deliver=False)
    await web.append([record(str(number)) for number in range(6)], [])
    assert await web.evict("a", events=2, max_bytes=1 << 20, outcome=DROPPED) == 4
    worker = await open_spool(url)
    assert ids(await get(worker, 2)) == ["4", "5"]
    assert worker.ledger()["a"] == Ledger(accepted=6, dropped=4, pending=2)


def key() -> str:
    return base64.urlsafe_b64encode(bytes(range(32))).decode()


async def test_what_is_stored_in_clear_is_not_sent_where_keys_are_given(
    url: str, open_spool: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays in Redis, and is sent once the address says ``plain=accept``."""
    monkeypatch.setenv("THE_KEY", key())
    plain = await open_spool(url)
    await plain.append([future("1")], [])
    await plain.close()
    keyed = await open_spool(url + "&keys=env:THE_KEY")
    assert await keyed.lease("a", limit=9, max_bytes=1 << 20) == []
    assert "are not encrypted, though keys= is given" in caplog.text
    assert keyed.ledger()["a"] == Ledger(accepted=1, pending=1)
    await keyed.close()
    migrating = await open_spool(url + "&keys=env:THE_KEY&plain=accept")
    await migrating.settle(await get(migrating, 1), [DELIVERED])
    assert migrating.ledger()["a"] == Ledger(accepted=1, delivered=1)


async def test_bodies_are_encrypted_with_a_key_that_can_be_rotated(
    url: str, open_spool: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries, blocked records and dead letters; without the key nothing is read, and nothing is lost."""
    new = base64.urlsafe_b64encode(bytes(32)).decode()
    monkeypatch.setenv("OLD_KEY", key())
    monkeypatch.setenv("BOTH_KEYS", f"{new} {key()}")
    monkeypatch.setenv("NEW_KEY", new)
    old = await open_spool(url + "&keys=env:OLD_KEY")
    await old.append([future(name, body=b"the secret", order_key=key) for name, key in
                      (("1", None), ("2", "k"), ("3", "k"))], [])  # fmt: skip
    await old.settle((await get(old, 2))[:1], [DEAD])
    assert b"secret" not in everything(url)
    await old.close()
    other = await open_spool(url + "&keys=env:NEW_KEY")
    assert await other.lease("a", limit=9, max_bytes=1 << 20) == []
    assert "encrypted with another key" in caplog.text
    await other.close()
    both = await open_spool(url + "&keys=env:BOTH_KEYS")
    assert await both.replay(LetterFilter()) == {"a": 1}
    first = await get(both, 2)
    assert {one.body for one in first} == {b"the secret"}
    await both.settle(first, [DELIVERED] * 2)
    await both.settle(await get(both, 1), [DELIVERED])
    assert both.ledger()["a"] == Ledger(accepted=3, delivered=3)


async def test_a_damaged_entry_is_dead_and_blocks_no_other(
    url: str, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events are counted, and an error is logged."""
    spool = await open_spool(url)
    await spool.session.command("XADD", spool.session.keys.of("a").stream, "*", "d", b"nonsense", "n", 3, "b", 30)
    await spool.session.command("HINCRBY", spool.session.keys.of("a").ledger, "accepted", 3)
    await spool.session.command("HINCRBY", spool.session.keys.of("a").ledger, "pending", 3)
    await spool.session.command("HINCRBY", spool.session.keys.of("a").ledger, "bytes", 30)
    await spool.append([record("1")], [])
    assert ids(await get(spool, 1)) == ["1"]
    await eventually(lambda: spool.ledger()["a"].dead == 3)
    assert spool.ledger()["a"] == Ledger(accepted=4, dead=3, pending=1)
    assert "3 stored events of entry" in caplog.text


async def test_a_redis_that_is_full_refuses_new_events_and_is_emptied(server: RedisServer, open_spool: Open) -> None:
    """``send()`` says so; attempts, outcomes and heartbeats are still written."""
    spool = await open_spool(server.url(), "a")
    await spool.append([record(str(number), body=b"x" * 500) for number in range(200)], [])
    await spool.session.command("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(SpoolError, match="out of memory"):
        await spool.append([record("more")], [])
    held = await get(spool, 200)
    await spool.mark_attempted(held)
    await spool.settle(held[:50], [DELIVERED] * 50)
    await spool.settle(held[50:], [DELIVERED] * 150)
    assert spool.ledger()["a"] == Ledger(accepted=200, delivered=200)


async def test_an_outage_fails_send_and_lets_workers_wait(
    server: RedisServer, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """After a restart with its append-only file the outcomes of the meantime are written; nothing is lost."""
    caplog.set_level(logging.INFO, "capi_async")
    spool = await open_spool(server.url("?patience_s=0.3&lease_s=1"), "a")
    await spool.append([record("1"), record("2"), record("3")], [])
    held = await get(spool, 2)
    await spool.mark_attempted(held)
    server.kill()
    with pytest.raises(SpoolError, match="out of reach"):
        await spool.append([record("4")], [])
    held[1].attempts, held[1].resend_for_s = 1, 0.0
    with pytest.raises(SpoolError, match="out of reach"):
        await spool.mark_attempted(held[1:])
    assert len(await spool.lease("a", limit=5, max_bytes=1 << 20)) == 1  # it still holds what it had read
    assert spool.health().away_s > 0
    settling = asyncio.create_task(spool.settle(held, [DELIVERED, REJECTED]))
    await asyncio.sleep(0.1)
    assert not settling.done()
    server.start()
    await asyncio.wait_for(settling, 20)
    await spool.append([record("5")], [])
    assert spool.ledger()["a"] == Ledger(accepted=4, delivered=1, rejected=1, pending=2)
    assert "Redis does not answer" in caplog.text
    assert "Redis answers again" in caplog.text


async def test_a_redis_that_lost_its_data_is_logged_and_used_again(tmp_path: Any, open_spool: Open) -> None:
    """Without an append-only file a restart costs everything, as the documentation says."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        spool = await open_spool(server.url("?lease_s=1"), "a")
        await spool.append([record("1")], [])
        server.kill()
        server.start()
        await spool.append([record("2")], [])
        assert ids(await get(spool, 1)) == ["2"]
    finally:
        server.kill()


async def test_a_redis_without_a_log_is_warned_about(
    tmp_path: Any, open_spool: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """And one that may throw keys away."""
    server = RedisServer(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    server.start()
    try:
        await open_spool(server.url())
        assert "Redis keeps nothing over a restart" in caplog.text
        assert "Redis may throw events away" in caplog.text
    finally:
        server.kill()


async def test_fewer_replicas_than_asked_for_fail_send(url: str, open_spool: Open) -> None:
    """And say that the event may be delivered all the same."""
    spool = await open_spool(url + "&replicas=1&patience_s=0.2")
    with pytest.raises(SpoolError, match="0 of 1 replicas"):
        await spool.append([record("1")], [])


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    import sys

    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    spool = RedisSpool(parse("redis://127.0.0.1"))
    with pytest.raises(ConfigError, match=r"capi_async\[redis\]"):
        asyncio.run(spool.open(["a"], lambda _name: None))


async def test_notes_of_processes_are_seen_by_the_others_and_end(open_spool: Open, url: str) -> None:
    """One of a name replaces the one before; none of them is part of the spool."""
    clock = ManualClock()
    one = (await open_spool(url, clock=clock)).board()
    other = (await open_spool(url, clock=clock, deliver=False)).board()
    assert await other.notes() == {}
    assert await other.note("wanted") is None
    await one.put("told-a", b"1", 10)
    await one.put("told-a", b"2", 10)
    await one.put("wanted", b"", 100)
    assert await other.notes() == {"told-a": b"2", "wanted": b""}
    assert await other.note("told-a") == b"2"
    clock.advance(50)  # tasks of the spools look at it as well
    assert await other.note("told-a") is None
    assert await other.notes() == {"wanted": b""}


async def test_dead_letters_are_taken_newest_first_by_whole_reason_and_by_order(open_spool: Open, url: str) -> None:
    """As a page shows them."""
    spool = await open_spool(url)
    for number in range(12):
        await spool.append([future(f"purchase:{number}")], [])
    leased = await get(spool, 12)
    reasons = ["HTTP 500", "HTTP 500 again"] * 6
    await spool.settle(leased, [Outcome(kind="dead", reason=reason) for reason in reasons])
    newest = await spool.letters(LetterFilter(newest=True, limit=2))
    assert [one.event_id for one in newest] == ["purchase:11", "purchase:10"]
    assert len(await spool.letters(LetterFilter(reason="HTTP 500"))) == 12
    assert len(await spool.letters(LetterFilter(reason="HTTP 500", whole_reason=True))) == 6
    assert [one.event_id for one in await spool.letters(LetterFilter(event_or_order_id="1"))] == ["purchase:1"]
    assert len(await spool.letters(LetterFilter(event_or_order_id="purchase:1"))) == 1


async def test_the_age_of_what_no_process_holds_is_known(url: str, open_spool: Open) -> None:
    """Nobody delivers: then more than ever, the age of the oldest event is what an alert looks at."""
    web = await open_spool(url, deliver=False)
    assert web.oldest_at("a") is None
    before = time.time()
    await web.append([future("1")], [])
    await web.refresh()
    found = web.oldest_at("a")
    assert found is not None
    assert before - 1 <= found <= time.time() + 1
    worker = await open_spool(url)
    await worker.settle(await get(worker, 1), [DELIVERED])
    await eventually(lambda: web.oldest_at("a") is None)
