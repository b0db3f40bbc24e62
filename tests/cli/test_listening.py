"""The small HTTP port beside a worker."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

from capi_async.cli import listening
from capi_async.cli.listening import listen


async def hello(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


async def test_idle_connections_do_not_use_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of too many gives way, and none outlives its time; whoever asks properly is answered."""
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(listening, "LIFE_S", 0.5)
    runner = await listen({("GET", "/hello"): hello}, "127.0.0.1", 0)
    try:
        port = runner.addresses[0][1]
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/hello") as answer:
            assert await answer.text() == "hello"
        # each is closed or reset from the other side
        for reader, writer in idle:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("localhost:1", 200), ("127.0.0.1", 200)])
async def test_a_page_cannot_read_it_under_a_name_of_its_own(host: str, status: int) -> None:
    """A name that resolves to this machine makes the port a part of that page."""
    runner = await listen({("GET", "/hello"): hello}, "127.0.0.1", 0, local_names_only=True)
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(headers={"Host": host}) as session:
            async with session.get(f"{url}/hello") as answer:
                assert answer.status == status
            async with session.post(f"{url}/hello") as answer:
                assert answer.status in (403, 404)
    finally:
        await runner.cleanup()
