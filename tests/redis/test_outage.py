"""While Redis does not answer, nothing is sent; the log blames the storage and no destination."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from capi_async import Client
from capi_async.spool.redis import parse
from tests.engine.acme import Acme, events
from tests.engine.server import reply, serving, until
from tests.redis.proxy import Proxy


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared Redis."""
    host, port = parse(url).hosts[0]
    async with Proxy(port, host) as it:
        yield it


async def test_an_outage_of_redis_is_logged_once_and_then_all_is_delivered(
    url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Both destinations retry meanwhile, and the log asks for a repair of neither."""
    parts = urlsplit(url)
    place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}".removeprefix("@")
    proxied = parts._replace(netloc=place).geturl() + "&patience_s=0.2"
    away = True
    async with serving() as server:
        server.script = lambda _request: reply(503) if away else reply()
        both = [Acme(base_url=server.url), Acme(name="second", account_id="acme-2", base_url=server.url)]
        async with Client(both, linger_s=0, spool=proxied) as client:
            await client.send_many(events(3))
            await server.arrived(2)
            await proxy.stop()
            await until(lambda: "storage failed: " in caplog.text)
            await proxy.start()
            away = False
            assert await client.flush(30)
            assert [counts.delivered for counts in client.ledger().values()] == [3, 3]
    logged = [(one.levelno, one.getMessage()) for one in caplog.records]
    assert [text for level, text in logged if level >= logging.ERROR] == []
    assert len([text for _, text in logged if text.startswith("storage failed: ")]) == 1
    assert not [text for _, text in logged if "mend" in text]
