"""What earlier releases left in Redis stays readable. The fixtures are never regenerated."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import redis as driver

from capi_async.spool.base import Ledger, LetterFilter
from capi_async.spool.redis import parse
from tests.redis.conftest import Open, get
from tests.spool.harness import DELIVERED, eventually, ids

FIXTURES = Path(__file__).parent / "fixtures"


def load(name: str, url: str) -> None:
    """Write the keys of a fixture, and give its entries to the consumers that held them."""
    options = parse(url)
    client: Any = driver.Redis(*options.hosts[0])
    for key, value in json.loads((FIXTURES / name).read_text()).items():
        stored = f"{{{options.prefix}}}:{key}"
        for number, fields in value.get("entries", ()):
            client.xadd(stored, {field: base64.b64decode(data) for field, data in fields.items()}, id=number)
        for field, data in value.get("hash", ()):
            client.hset(stored, base64.b64decode(field), base64.b64decode(data))
        for member, score in value.get("members", ()):
            client.zadd(stored, {base64.b64decode(member): score})
        for member in value.get("set", ()):
            client.sadd(stored, base64.b64decode(member))
        if claims := value.get("claims"):
            client.xgroup_create(stored, "w", "0")
            client.xreadgroup("w", "reader", {stored: ">"}, count=len(claims))
            for number, consumer in claims:
                client.xclaim(stored, "w", consumer, 0, [number], justid=True)
    client.close()


async def test_a_spool_of_release_0_1_gives_out_everything_it_holds(url: str, open_spool: Open) -> None:
    """Left by processes that were killed: entries unread, read, partly settled, searched and recalled."""
    load("spool_0_1.json", url)
    worker = await open_spool(url + "&lease_s=0.4&dead_days=1e6")
    assert worker.ledger() == {
        "a": Ledger(accepted=13, delivered=1, dead=1, skipped=1, pending=10),
        "b": Ledger(accepted=1, pending=1),
    }
    assert [letter.event_id for letter in await worker.letters(LetterFilter())] == ["2"]
    held = {one.event_id: one for one in await get(worker, 8)}
    assert sorted(held) == ["10", "3", "4", "5", "7", "8", "9", "k1"]
    assert [name for name, one in held.items() if one.uncertain_since] == ["3"]
    assert {name: (one.attempts, one.failures) for name, one in held.items() if one.attempts} == {
        "3": (1, 0),
        "4": (1, 1),
    }
    await eventually(lambda: worker.ledger()["a"].forgotten == 1)  # 6 was recalled from a process that was killed
    await worker.settle(list(held.values()), [DELIVERED] * 8)
    assert ids(await get(worker, 1, "b")) == ["x"]
    blocked = await get(worker, 1)
    assert ids(blocked) == ["k2"]
    await worker.settle(blocked, [DELIVERED])
    assert await worker.replay(LetterFilter()) == {"a": 1}
    again = await get(worker, 1)
    assert ids(again) == ["2"]
    await worker.settle(again, [DELIVERED])
    assert worker.ledger()["a"] == Ledger(accepted=13, delivered=11, skipped=1, forgotten=1)
