"""A spool that remembers what it accepted, for those who hand events over from a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from capi_async import Client, ConfigError
from capi_async.sandbox import Sandbox
from capi_async.spool.sqlite import SqliteSpool, parse
from capi_async.testing import ManualClock
from tests.spool.harness import new_clock, record, refusal
from tests.spool.test_sqlite_client import purchase, snap

DAY = 86_400.0


def spool(path: Path, clock: ManualClock, days: str) -> SqliteSpool:
    return SqliteSpool(parse(f"sqlite:///{path / 'events.db'}{days}"), clock=clock)


async def test_what_was_accepted_is_remembered_beyond_its_delivery(tmp_path: Path) -> None:
    """By every process on the file, and by those that come later."""
    url = f"sqlite:///{tmp_path / 'events.db'}?remember_days=1"
    async with Sandbox() as sandbox:
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.accepted_before(["purchase:1"]) == frozenset()
            await client.send_many([purchase(1), purchase(2)])
            assert await client.flush(20)
            assert await client.accepted_before(["purchase:1", "purchase:2", "purchase:3"]) == {
                "purchase:1",
                "purchase:2",
            }
        async with Client([snap(sandbox)], spool=url, linger_s=0) as client:
            assert await client.accepted_before(["purchase:1", "other"]) == {"purchase:1"}


@pytest.mark.parametrize("url", ["memory", "sqlite:///{}/events.db"])
async def test_without_the_option_nothing_is_remembered(tmp_path: Path, url: str) -> None:
    """The answer is none, not an error."""
    async with Sandbox() as sandbox, Client([snap(sandbox)], spool=url.format(tmp_path), linger_s=0) as client:
        await client.send(purchase(1))
        assert await client.accepted_before(["purchase:1"]) == frozenset()


async def test_the_memory_has_an_end(tmp_path: Path) -> None:
    """Days after acceptance, whatever has become of the event."""
    clock = new_clock()
    it = spool(tmp_path, clock, "?remember_days=2")
    await it.open(("a",), lambda _name: None)
    await it.append([record("1")], [refusal("refused", "b")])
    assert await it.remembered(["1", "refused"]) == {"1"}
    it.store.prune()
    assert await it.remembered(["1"]) == {"1"}
    clock.offset += 2 * DAY + 1
    it.store.prune()
    assert await it.remembered(["1"]) == frozenset()
    await it.close()


async def test_a_file_may_begin_and_cease_to_remember(tmp_path: Path) -> None:
    """The table is made when it is first needed."""
    clock = new_clock()
    for days, event_id, known in (("", "1", set()), ("?remember_days=2", "2", {"2"}), ("", "3", {"2"})):
        it = spool(tmp_path, clock, days)
        await it.open(("a",), lambda _name: None)
        await it.append([record(event_id)], [])
        assert await it.remembered(["1", "2", "3"]) == known
        await it.close()


def test_the_option_is_a_number() -> None:
    """As the others are."""
    assert parse("sqlite:///events.db?remember_days=0.5").remember_days == 0.5
    with pytest.raises(ConfigError, match="remember_days"):
        parse("sqlite:///events.db?remember_days=soon")
