"""What is encrypted in Redis decrypts only where it was stored: not exchanged, copied or put back."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import redis as driver

from capi_async.cipher import Cipher
from capi_async.errors import ConfigError
from capi_async.spool.base import Ledger, LetterFilter
from capi_async.spool.chunks import encode
from capi_async.spool.redis import RedisSpool, parse
from tests.redis.conftest import Open, get
from tests.redis.test_spool import future
from tests.spool.harness import DEAD, DELIVERED, FORGOTTEN, eventually, ids

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()


@pytest.fixture
def sealed(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a spool that is encrypted."""
    monkeypatch.setenv("SPOOL_KEYS", KEY)
    return f"{url}&keys=env:SPOOL_KEYS"


class Intruder:
    """Writes to Redis without having a key."""

    def __init__(self, url: str) -> None:
        options = parse(url)
        self.redis: Any = driver.Redis(*options.hosts[0])
        self._base = f"{{{options.prefix}}}:"

    def key(self, name: str, destination: str = "") -> str:
        return f"{self._base}to:{destination}:{name}" if destination else self._base + name

    def entries(self, destination: str = "a") -> list[dict[bytes, bytes]]:
        """The fields of all entries."""
        return [fields for _, fields in self.redis.xrange(self.key("stream", destination))]

    def put(self, fields: dict[bytes, bytes], destination: str = "a") -> None:
        """Append an entry, as if it had been accepted."""
        self.redis.xadd(self.key("stream", destination), fields)
        self.redis.xadd(self.key("bell", destination), {"i": 1}, maxlen=1)

    def remove_all(self, destination: str = "a") -> None:
        """Take all entries out."""
        stream = self.key("stream", destination)
        self.redis.xdel(stream, *[number for number, _ in self.redis.xrange(stream)])

    def count(self, destination: str = "a", **counts: int) -> None:
        """Change the ledger."""
        for kind, number in counts.items():
            self.redis.hincrby(self.key("ledger", destination), kind, number)


@pytest.fixture
def intruder(sealed: str) -> Any:
    one = Intruder(sealed)
    yield one
    one.redis.close()


async def stored(open_spool: Open, url: str, *events: Any) -> None:
    """A web process accepts them, one entry each."""
    web = await open_spool(url, deliver=False)
    for event in events:
        await web.append([event], [])


async def dead(spool: RedisSpool, number: int, destination: str = "a") -> None:
    """Wait until so many count as dead, whatever is leased meanwhile."""
    async with asyncio.timeout(10):
        while spool.ledger()[destination].dead != number:
            assert await spool.lease(destination, limit=9, max_bytes=1 << 20) == []
            await asyncio.sleep(0.02)


async def test_entries_that_were_exchanged_are_not_sent(
    sealed: str, open_spool: Open, intruder: Intruder, caplog: pytest.LogCaptureFixture
) -> None:
    """Each counts as dead and is logged; others are delivered."""
    await stored(open_spool, sealed, future("0"), future("1"), future("2"))
    one, two, three = intruder.entries()
    intruder.remove_all()
    one[b"d"], two[b"d"] = two[b"d"], one[b"d"]
    for entry in (one, two, three):
        intruder.put(entry)
    worker = await open_spool(sealed)
    assert ids(await get(worker, 1)) == ["2"]
    await eventually(lambda: worker.ledger()["a"].dead == 2)
    assert worker.ledger()["a"] == Ledger(accepted=3, dead=2, pending=1)
    assert caplog.text.count("sealed for another place") == 2


@pytest.mark.parametrize("change", [{b"k": b"00"}, {b"n": b"2"}, {b"b": b"1"}, {b"u": b"another"}])
async def test_the_fields_besides_the_encrypted_bytes_are_bound_to_them(
    sealed: str, open_spool: Open, intruder: Intruder, change: dict[bytes, bytes]
) -> None:
    """Order key, counts and name cannot be changed."""
    await stored(open_spool, sealed, future("1"))
    (one,) = intruder.entries()
    intruder.remove_all()
    intruder.put({**one, **change})
    worker = await open_spool(sealed)
    await dead(worker, int(change.get(b"n", 1)))


async def test_an_entry_of_another_destination_or_spool_is_not_sent(
    sealed: str, url: str, open_spool: Open, intruder: Intruder
) -> None:
    """Also where the keys are the same."""
    await stored(open_spool, sealed, future("1"))
    (one,) = intruder.entries()
    intruder.put(one, "b")
    intruder.count("b", accepted=1, pending=1, bytes=int(one[b"b"]))
    worker = await open_spool(sealed)
    await dead(worker, 1, "b")
    elsewhere = sealed.replace(f"prefix={parse(sealed).prefix}", f"prefix={parse(sealed).prefix}-2")
    other = await open_spool(elsewhere)
    there = Intruder(elsewhere)
    there.put(one)
    there.count(accepted=1, pending=1, bytes=int(one[b"b"]))
    there.redis.close()
    await dead(other, 1)


@pytest.mark.parametrize("order_key", [None, "k"])
async def test_an_entry_that_is_put_back_is_not_sent_again(
    sealed: str, open_spool: Open, intruder: Intruder, caplog: pytest.LogCaptureFixture, order_key: str | None
) -> None:
    """By the process that had it, while it is held and after it was settled; nothing is counted for it."""
    await stored(open_spool, sealed, future("1", order_key=order_key))
    (one,) = intruder.entries()
    worker = await open_spool(sealed)
    held = await get(worker, 1)
    intruder.put(one)
    async with asyncio.timeout(10):
        while "written them there once more" not in caplog.text:
            assert await worker.lease("a", limit=9, max_bytes=1 << 20) == []
            await asyncio.sleep(0.02)
    await worker.settle(held, [DELIVERED])
    intruder.put(one)
    async with asyncio.timeout(10):
        while caplog.text.count("written them there once more") < 2:
            assert await worker.lease("a", limit=9, max_bytes=1 << 20) == []
            await asyncio.sleep(0.02)
    assert worker.ledger()["a"] == Ledger(accepted=1, delivered=1)
    await stored(open_spool, sealed, future("2", order_key=order_key))
    assert ids(await get(worker, 1)) == ["2"]


async def test_dead_letters_that_were_exchanged_are_not_replayed(
    sealed: str, open_spool: Open, intruder: Intruder, caplog: pytest.LogCaptureFixture
) -> None:
    """They stay where they are, and are logged once."""
    worker = await open_spool(sealed)
    await worker.append([future(str(number)) for number in range(3)], [])
    await worker.settle(await get(worker, 3), [DEAD] * 3)
    first, second, _ = await worker.letters(LetterFilter())
    data = intruder.key("letter-data")
    one, two = intruder.redis.hmget(data, first.id, second.id)
    intruder.redis.hset(data, mapping={str(first.id): two, str(second.id): one})
    for _ in range(2):
        assert await worker.replay(LetterFilter()) in ({"a": 1}, {})
    assert ids(await get(worker, 1)) == ["2"]
    assert len(await worker.letters(LetterFilter())) == 2
    assert caplog.text.count("encrypted for another place") == 2


async def test_what_was_forgotten_in_part_or_replayed_opens_in_its_new_place(sealed: str, open_spool: Open) -> None:
    """A record that moves within the spool is encrypted again for its new place."""
    worker = await open_spool(sealed)
    await worker.append([future(str(number)) for number in range(3)], [])
    await worker.append([future("k1", order_key="k"), future("k2", order_key="k")], [])
    assert await worker.settle_matching(lambda one: one.event_id == "1", FORGOTTEN) == {"a": 1}
    await worker.close()
    worker = await open_spool(sealed)
    first = await get(worker, 3)
    assert sorted(ids(first)) == ["0", "2", "k1"]
    await worker.settle(first, [DEAD] * 3)
    assert ids(await get(worker, 1)) == ["k2"]
    assert await worker.replay(LetterFilter()) == {"a": 3}
    again = await open_spool(sealed, deliver=False)
    assert again.ledger()["a"].pending == 4
    assert sorted(ids(await get(worker, 2))) == ["0", "2"]


async def test_what_an_earlier_release_encrypted_is_sent_if_the_address_accepts_it(
    sealed: str, open_spool: Open, intruder: Intruder, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ``old_seals=accept`` it stays in Redis; neither form decrypts as the other."""
    await stored(open_spool, sealed, future("new"))
    (one,) = intruder.entries()
    cipher, old = Cipher([KEY]), future("old")
    intruder.put(
        {
            b"d": cipher.seal(encode([old]), "a"),
            b"n": b"1",
            b"b": str(len(old.body)).encode(),
            b"s": cipher.name.encode(),
        }
    )
    intruder.put({**one, b"s": cipher.name.encode()})
    intruder.count(accepted=2, pending=2, bytes=2 * len(old.body))
    worker = await open_spool(sealed)
    assert ids(await get(worker, 1)) == ["new"]
    assert await worker.lease("a", limit=9, max_bytes=1 << 20) == []
    await eventually(lambda: caplog.text.count("add old_seals=accept") == 2)
    assert worker.ledger()["a"] == Ledger(accepted=3, pending=3)
    await worker.close()
    worker = await open_spool(f"{sealed}&old_seals=accept")
    assert sorted(ids(await get(worker, 2))) == ["new", "old"]
    await eventually(lambda: worker.ledger()["a"].dead == 1)


def test_the_option_is_accept_or_left_out() -> None:
    """Any other value is a configuration error."""
    with pytest.raises(ConfigError, match="old_seals=accept"):
        parse("redis://host/0?old_seals=yes")
