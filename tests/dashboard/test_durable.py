"""The page of a durable spool, looked into from a process of its own; and its size."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from capi_async.cli.app import app
from capi_async.cli.queue import opened
from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import Access
from capi_async.dashboard.site import Dashboard
from capi_async.dashboard.spool_source import SpoolSource
from capi_async.outcome import Outcome
from capi_async.spool.base import LetterFilter, Record
from capi_async.spool.sqlite import SqliteSpool, parse
from tests.dashboard.asking import Browser, forms, words

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is that this needs a token


def record(number: int) -> Record:
    body = b'{"event_name":"Purchase"}'
    return Record("meta", f"purchase:{number}", b"{}", body, 4e9, 0.0, "a", "w", accepted_at=time.time())


async def filled(path: Path, *, events: int, reasons: int) -> None:
    """A file with so many dead letters."""
    spool = SqliteSpool(parse(f"sqlite:///{path}"))
    await spool.open(["meta"], lambda _name: None)
    try:
        for start in range(0, events, 5_000):
            await spool.append([record(number) for number in range(start, min(events, start + 5_000))], [])
            held = await spool.lease("meta", limit=5_000, max_bytes=10**9)
            ends = [
                Outcome(kind="dead", reason=f"8 failed attempts; last: HTTP 50{at % reasons}")
                for at in range(len(held))
            ]
            await spool.settle(held, ends)
    finally:
        await spool.close()


def page_of(url: str, reader) -> Browser:
    source = SpoolSource(reader, partial(opened, url, reading=False))
    return Browser(Dashboard(source, Access(None, hosts=None, clock=SYSTEM_CLOCK), durable=True))


async def test_dead_letters_are_replayed_and_forgotten_by_their_reason(tmp_path):
    """Each button is for its own reason."""
    url = f"sqlite:///{tmp_path}/events.db"
    await filled(tmp_path / "events.db", events=9, reasons=3)
    async with opened(url, reading=True) as reader:
        browser = page_of(url, reader)
        page = await browser.get("/letters")
        replay = next(one for one in forms(page, "./replay") if one["reason"].endswith("501"))
        forget = next(one for one in forms(page, "./forget") if one["reason"].endswith("502"))
        assert (await browser.post("/replay", replay)).headers["Location"] == "./letters?done=replay-3"
        assert (await browser.post("/forget", forget)).headers["Location"] == "./letters?done=forget-3"
        left = await reader.letters(LetterFilter())
        assert {one.reason[-3:] for one in left} == {"500"}
        counts = reader.ledger()["meta"]
        assert (counts.pending, counts.forgotten, counts.dead) == (3, 3, 3)
        assert "3 dead letters are forgotten." in words(await browser.get("/letters?done=forget-3"))


async def test_a_dead_letter_is_found_by_its_order(tmp_path):
    """Whose id is the end of the event's; not by a part of it."""
    url = f"sqlite:///{tmp_path}/events.db"
    await filled(tmp_path / "events.db", events=120, reasons=1)
    async with opened(url, reading=True) as reader:
        browser = page_of(url, reader)
        found = words(await browser.get("/events?q=19")).partition("Dead letters Dead")[2]
        assert re.findall(r"purchase:\d+", found) == ["purchase:19"]
        assert "purchase:7" in words(await browser.get("/events?q=purchase:7"))


async def test_a_hundred_thousand_events_do_not_slow_the_pages(tmp_path):
    """What a page looks at is bounded: SQLite's own steps are counted, not the time."""
    url = f"sqlite:///{tmp_path}/events.db"
    await filled(tmp_path / "events.db", events=100_000, reasons=7)
    async with opened(url, reading=True) as reader:
        browser = page_of(url, reader)
        for path in ("/", "/events", "/letters"):
            assert len(await browser.get(path)) < 100_000
        page = words(await browser.get("/letters"))
        assert "100,000 events ended dead" in page
        assert "the newest 5,000" in page
        assert "purchase:77777" in await browser.get("/events?q=77777")


async def started(*arguments: str, **environ: str) -> tuple[asyncio.subprocess.Process, str]:
    """The command, and the address that it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "capi_async", "dashboard", *arguments,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, **environ},
    )  # fmt: skip
    said = ""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := (await process.stderr.readline()).decode():
            said += line
            if found := re.search(r"http://\S+", line):
                return process, f"{said} {found[0]}"
    raise AssertionError(said)


async def ended(process: asyncio.subprocess.Process) -> int:
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        return await process.wait()


async def test_the_command_serves_a_page_on_this_machine_only(tmp_path):
    """Without a token, under the names of this machine; Ctrl-C ends it; the file is only looked into."""
    await filled(tmp_path / "events.db", events=3, reasons=1)
    before = (tmp_path / "events.db").read_bytes()
    process, said = await started(f"sqlite:///{tmp_path}/events.db", "--port", "0")
    try:
        url = re.findall(r"http://\S+", said)[-1]
        assert url.startswith("http://127.0.0.1:")
        jar = aiohttp.CookieJar(unsafe=True)  # the name is an address
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with session.get(url) as reply:
                assert (reply.status, "meta" in await reply.text()) == (200, True)
            async with session.get(url, headers={"Host": "evil.example"}) as reply:
                assert reply.status == 421
            async with session.get(f"{url}letters") as reply:
                page = await reply.text()
            fields = forms(page, "./replay")[0]
            async with session.post(f"{url}replay", data=fields, headers={"Origin": "http://evil.example"}) as reply:
                assert reply.status == 403
            assert (tmp_path / "events.db").read_bytes() == before
            async with session.post(f"{url}replay", data=fields) as reply:
                assert (reply.status, "3 dead letters are pending again" in await reply.text()) == (200, True)
            async with session.post(f"{url}replay", data=b"x" * 100_000) as reply:
                assert reply.status == 413
    finally:
        code = await ended(process)
    assert code == 130
    with sqlite3.connect(tmp_path / "events.db") as db:
        assert db.execute("SELECT count(*) FROM letter").fetchone() == (0,)


async def test_the_command_asks_for_a_token_on_any_other_address(tmp_path):
    """It makes one and says it, or takes that of the environment and says nothing."""
    await filled(tmp_path / "events.db", events=1, reasons=1)
    url = f"sqlite:///{tmp_path}/events.db"
    for environ in ({}, {"CAPI_ASYNC_DASHBOARD_TOKEN": "a-token-of-some-length"}):
        process, said = await started(url, "--port", "0", "--host", EVERYWHERE, **environ)
        try:
            made = re.search(r"the token for this run is (\S+)", said)
            assert (made is None) == bool(environ)
            assert "a-token-of-some-length" not in said
            token = made[1] if made else environ["CAPI_ASYNC_DASHBOARD_TOKEN"]
            place = re.findall(r"http://\S+", said)[-1].replace(EVERYWHERE, "127.0.0.1")
            async with aiohttp.ClientSession() as session:
                async with session.get(place) as reply:
                    assert (reply.status, "meta</h3>" in await reply.text()) == (401, False)
                async with session.get(place, headers={"Authorization": f"Bearer {token}"}) as reply:
                    assert (reply.status, "meta</h3>" in await reply.text()) == (200, True)
        finally:
            await ended(process)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sqlite:///{}/nothing.db"], "no such file"),
        (["memory"], "does not outlive"),
        (["sqlite:///{}/events.db", "--token", "secret-in-clear"], "env:NAME"),
        (["sqlite:///{}/events.db", "--token", "env:NOT_SET_AT_ALL"], "NOT_SET_AT_ALL is not set"),
        (["sqlite:///{}/events.db", "--token", "env:CAPI_TEST_SHORT"], "16 characters"),
        (
            ["sqlite:///{}/events.db", "--host", "no.such.host.invalid", "--token", "env:CAPI_TEST_LONG"],
            "cannot listen",
        ),
    ],
)
def test_what_is_wrong_is_a_line_and_exit_code_2(tmp_path, monkeypatch, arguments, said):
    """Before anything listens."""
    asyncio.run(filled(tmp_path / "events.db", events=1, reasons=1))
    monkeypatch.setenv("CAPI_TEST_SHORT", "x")
    monkeypatch.setenv("CAPI_TEST_LONG", "a-token-of-some-length")
    ran = CliRunner().invoke(app, ["dashboard", *(one.format(tmp_path) for one in arguments)])
    assert ran.exit_code == 2
    assert said in ran.stderr
