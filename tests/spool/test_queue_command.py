"""``capi-async queue``, on a spool file with something in every state."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capi_async.cli.queue import app
from capi_async.clock import SYSTEM_CLOCK
from capi_async.spool import open_spool
from tests.spool.harness import DEAD, DELIVERED, opened, record, take


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'events.db'}"

    async def fill() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            records = [record(str(number), body=b'{"em":["x%d"]}' % number) for number in range(5)]
            for one in records:
                one.expires_at = 1e11
            await spool.append(records, [])
            await spool.settle(await take(spool, limit=3), [DELIVERED, DEAD, DEAD])

    asyncio.run(fill())
    return url


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_looking_into_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    """A mistyped path is said, not obeyed."""
    missing = tmp_path / "nothing.db"
    done = CliRunner().invoke(app, ["status", f"sqlite:///{missing}"])
    assert done.exit_code != 0
    assert not missing.exists()


def test_status_shows_the_ledger(url: str) -> None:
    """In words, and as JSON."""
    assert call("status", url) == "a: 5 accepted, 1 delivered, 2 dead, 2 pending\n"
    assert json.loads(call("status", url, "--json"))["a"]["pending"] == 2


def test_dead_letters_are_listed_and_exported(url: str) -> None:
    """With filters; never what is in them."""
    assert len(call("dead", url, "--reason", "HTTP 503").splitlines()) == 2
    assert call("dead", url, "--event-id", "nobody's") == ""
    lines = [json.loads(line) for line in call("export", url).splitlines()]
    assert [line["event_id"] for line in lines] == ["1", "2"]
    assert not any("body" in line for line in lines)


def test_replay_makes_them_pending_again(url: str) -> None:
    """A dry run only counts."""
    assert call("replay", url, "--dry-run") == "2 dead letters would be replayed\n"
    assert call("replay", url) == "a: 2 pending again\n"
    assert call("status", url) == "a: 5 accepted, 1 delivered, 4 pending\n"


def test_forget_says_how_many_records_it_erased(url: str, tmp_path: Path) -> None:
    """Found by an identifier in the form in which a platform gets it."""

    async def add() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            body = b'{"em":["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"]}'
            await spool.append([record("9", body=body)], [])

    asyncio.run(add())
    assert call("forget", url, "--email", "Test@Example.com ") == "a: 1 forgotten\n1 records erased\n"
    assert call("status", url).endswith("1 forgotten, 2 pending\n")


def test_what_cannot_be_opened_is_said_in_a_line() -> None:
    """Exit code 2, no traceback."""
    result = CliRunner().invoke(app, ["status", "memory"])
    assert result.exit_code == 2
