"""What processes on a durable spool tell a dashboard that runs beside them."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import msgspec
import pytest

from capi_async import Client
from capi_async.cli.queue import opened
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import Access
from capi_async.dashboard.site import Dashboard
from capi_async.dashboard.spool_source import SpoolSource
from capi_async.errors import SpoolError
from capi_async.spool.sqlite.board import FileBoard
from capi_async.watch import telling
from capi_async.watch.seen import Told
from tests.dashboard.asking import Browser, words
from tests.dashboard.conftest import EMAIL, IP, accounts, purchase


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(telling, "EVERY_S", 0.05)


async def shown(browser: Browser, path: str, *wanted: str) -> str:
    """The page, once all of it is there; the deadline only bounds what hangs."""
    said = ""
    try:
        async with asyncio.timeout(20):
            while not all(one in said for one in wanted):
                await asyncio.sleep(0.02)
                said = words(await browser.get(path))
    except TimeoutError:
        raise AssertionError((wanted, said)) from None
    return said


def beside(url: str, reader) -> Browser:
    source = SpoolSource(reader, partial(opened, url, reading=False))
    return Browser(Dashboard(source, Access(None, hosts=None, clock=SYSTEM_CLOCK), durable=True))


async def test_a_process_tells_of_itself_while_a_page_asks(tmp_path, sandbox):
    """State with reason, latency, recent events; and nothing before."""
    url = f"sqlite:///{tmp_path}/events.db"
    wrong = accounts(sandbox)
    wrong[1] = type(wrong[1])(pixel_id=wrong[1].pixel_id, access_token="wrong-token-1", base_url=sandbox.url("snap"))
    async with Client(wrong, spool=url, linger_s=0) as client:
        await client.send(purchase("1"))
        assert not (tmp_path / "events.db-board").exists()
        async with opened(url, reading=True) as reader:
            browser = beside(url, reader)
            await shown(browser, "/", f"Told by {telling.process_name()}", "snap: refuses the account")
            await client.send(purchase("2"))
            await shown(browser, "/events", "purchase:2", "meta delivered", "200 accepted", "Identifiers used email")
            assert "purchase:2" in await shown(browser, "/events?q=2", "Order id 2")
        for note in (tmp_path / "events.db-board").iterdir():
            assert note.stat().st_mode & 0o077 == 0
            for secret in (EMAIL, IP, "jane", "very-private", "wrong-token-1", "customer-77"):
                assert secret.encode() not in note.read_bytes()
        await client.aclose(0.5)


async def test_an_event_is_followed_from_the_process_that_took_it_to_the_one_that_sent_it(tmp_path, sandbox):
    """Identifiers of the first, answer of the second."""
    url = f"sqlite:///{tmp_path}/events.db"
    async with (
        Client(accounts(sandbox), spool=url, deliver=False) as web,
        Client(accounts(sandbox), spool=url, linger_s=0),
        opened(url, reading=True) as reader,
    ):
        browser = beside(url, reader)
        await shown(browser, "/", "which only accepts")
        async with asyncio.timeout(20):
            while not web._recent.on:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await web.send(purchase("3"))
        said = await shown(
            browser, "/events", "meta delivered", "snap delivered", "200 accepted", "Identifiers used email"
        )
        assert said.count("purchase purchase:3") == 1


async def test_a_wish_that_is_over_ends_what_it_began_and_nothing_else(tmp_path, sandbox, monkeypatch):
    """Who called watch() keeps what they asked for."""
    monkeypatch.setattr(telling, "WANTED_S", 0.3)
    url = f"sqlite:///{tmp_path}/events.db"
    async with Client(accounts(sandbox), spool=url, linger_s=0) as client:
        board = FileBoard(tmp_path / "events.db")
        for kept in (False, True):
            if kept:
                client.watch()
            await telling.ask(board)
            async with asyncio.timeout(20):
                while not client._recent.on or not any(name != "wanted" for name in await board.notes()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while "wanted" in await board.notes():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while client._recent.on is not kept:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert client._recent.on is kept


def test_what_is_told_is_read_as_it_was(sandbox):
    """Also mappings whose keys are pairs."""
    snapshot = Client(accounts(sandbox)).snapshot()
    one = Told(process="a (1)", snapshot=snapshot)
    [read] = telling.told({"told-a": msgspec.msgpack.encode(one), "told-b": b"of another release", "wanted": b""})
    assert msgspec.msgpack.encode(read) == msgspec.msgpack.encode(one)
    assert read.snapshot.destinations["meta"].outcomes == snapshot.destinations["meta"].outcomes


async def test_notes_are_private_whole_and_end(tmp_path):
    """By themselves; what is no note is left out."""
    (tmp_path / "events.db").touch()
    now = [1_000.0]
    board = FileBoard(tmp_path / "events.db", now=lambda: now[0])
    assert await board.note("wanted") is None
    assert await board.notes() == {}
    await board.put("told-a", b"1", 10)
    await board.put("told-a", b"2", 10)
    await board.put("wanted", b"", 100)
    directory = tmp_path / "events.db-board"
    assert directory.stat().st_mode & 0o777 == 0o700
    (directory / ".half").write_bytes(b"x")
    os.utime(directory / ".half", (5_000, 5_000))
    (directory / "link").symlink_to("/etc/passwd")
    assert await board.notes() == {"told-a": b"2", "wanted": b""}
    assert await board.note("told-a") == b"2"
    assert await board.note("link") is None
    now[0] += 50
    assert await board.notes() == {"wanted": b""}
    assert await board.note("told-a") is None
    now[0] += 1_000
    assert await board.notes() == {}
    assert not (directory / "told-a").exists()


async def test_a_directory_that_others_may_write_is_not_used(tmp_path):
    """They could say anything, and read what is told."""
    (tmp_path / "events.db").touch()
    (tmp_path / "events.db-board").mkdir()
    (tmp_path / "events.db-board").chmod(0o777)
    with pytest.raises(SpoolError, match="remove it"):
        await FileBoard(tmp_path / "events.db").put("wanted", b"", 10)
