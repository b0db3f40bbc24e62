"""The middleware, around applications and below servers of every kind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client
from capi_async.errors import ClientClosed, ConfigError
from capi_async.integrations.asgi import CapiMiddleware, current_tracker
from capi_async.sandbox import Sandbox
from capi_async.testing import Recorder
from tests.integrations.served import ROOT, environment

HEADERS = [(b"host", b"shop.example"), (b"user-agent", b"Mozilla/5.0 (test)")]


async def page(scope: Any, receive: Any, send: Any) -> None:
    """An application without lifespan, as the specification allows."""
    assert scope["type"] == "http"
    await current_tracker().send("purchase", order_id="1", value="1", currency="EUR")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"bought"})


async def get(app: Any, path: str = "/", **scope: Any) -> list[Any]:
    """One request; the application's messages."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    request = {"type": "http", "path": path, "query_string": b"", "headers": HEADERS, "client": ("203.0.113.7", 1)}
    await app(request | scope, receive, send)
    return sent


@asynccontextmanager
async def living(app: Any) -> AsyncIterator[list[str]]:
    """A server's side of the lifespan; what the application said of it."""
    said: list[str] = []
    messages: asyncio.Queue[Any] = asyncio.Queue()
    heard = asyncio.Event()

    async def send(message: Any) -> None:
        said.append(f"{message['type'].removeprefix('lifespan.')} {message.get('message', '')}".strip())
        heard.set()

    messages.put_nowait({"type": "lifespan.startup"})
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, messages.get, send))
    await heard.wait()
    yield said
    messages.put_nowait({"type": "lifespan.shutdown"})
    await task


async def test_an_application_without_lifespan_has_a_client_for_its_life() -> None:
    """The middleware answers in its place; the client has closed before the last word."""
    recorder = Recorder()
    async with living(CapiMiddleware(page, recorder.client)) as said:
        assert said == ["startup.complete"]
    assert said == ["startup.complete", "shutdown.complete"]


async def test_a_request_has_its_visitor_and_its_cookie() -> None:
    """Over the contextvar, without any framework."""
    recorder = Recorder()
    app = CapiMiddleware(page, lambda: recorder.client)
    async with living(app):
        start, _ = await get(app)
        await recorder.client.flush(5)
        event = recorder.sent("purchase")
    assert (event.user.ip, event.user.user_agent) == ("203.0.113.7", "Mozilla/5.0 (test)")
    assert [name for name, _ in start["headers"]] == [b"content-type", b"set-cookie"]


async def test_the_client_starts_before_the_application_and_closes_after_it() -> None:
    """The application's own shutdown may still send."""
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        assert recorder.client.track("app_open", event_id="first")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        assert recorder.client.track("app_open", event_id="last")
        await send({"type": "lifespan.shutdown.complete"})

    async with living(CapiMiddleware(app, recorder.client)):
        pass
    assert [event.event_id for event in recorder.events] == ["first", "last"]
    assert recorder.client.track("app_open") is None


async def test_a_client_that_does_not_start_fails_the_start_with_the_reason() -> None:
    """A deployment with a missing setting never goes live; a stranger's error is named by its type."""
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: 7, "needs a Client, or a function that makes one, not int"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ]
    for factory, why in cases:
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any, said: list[Any] = said) -> None:
            said.append(message)

        await CapiMiddleware(page, factory)({"type": "lifespan"}, receive, send)
        assert said == [{"type": "lifespan.startup.failed", "message": f"capi_async: the client did not start: {why}"}]


async def test_an_application_that_fails_to_start_is_heard() -> None:
    """Its own word, once, after the client has closed."""
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    await CapiMiddleware(app, recorder.client)({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.failed"]


async def test_mounted_under_a_path_and_below_a_second_application_each_has_its_own_client() -> None:
    """The inner one wins inside, and the outer one is there again afterwards."""
    outer, inner = Recorder(), Recorder()
    inside = CapiMiddleware(page, inner.client)

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # routers tell nothing of it to what is mounted
            return
        scope["root_path"] = "/shop"
        await inside(scope, receive, send)
        await current_tracker().send("page_view")

    app = CapiMiddleware(outside, outer.client)
    async with living(inside), living(app):
        await get(app, "/shop/buy")
        await inner.client.flush(5)
        await outer.client.flush(5)
        assert inner.sent("purchase").page.url == outer.sent("page_view").page.url == "http://shop.example/shop/buy"


async def test_what_runs_outside_a_request_is_told() -> None:
    """Rather than sent with somebody else's address."""
    with pytest.raises(ConfigError, match="CapiMiddleware"):
        current_tracker()
    with pytest.raises(ConfigError, match="needs a Client"):
        CapiMiddleware(page, None)  # type: ignore[arg-type]


async def test_other_scopes_pass() -> None:
    """Such as those of servers to come."""
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    await CapiMiddleware(app, Recorder().client)({"type": "extension"}, None, None)  # type: ignore[arg-type]
    assert seen == ["extension"]


#: A server that knows no lifespan, and ends without a word.
_BARE = """
import asyncio
from capi_async import Client
from capi_async.integrations.asgi import CapiMiddleware, current_tracker
from tests.integrations.test_asgi import get, page

async def serve():
    app = CapiMiddleware(page, Client.from_env)
    for _ in range(3):
        await asyncio.gather(get(app), get(app))

asyncio.run(serve())
asyncio.run(serve())
print("ended")
"""


async def test_without_lifespan_the_client_starts_with_the_first_request_and_closes_with_the_process(
    tmp_path: Path,
) -> None:
    """One client for all requests of an application, also when its loop has ended before the process does."""
    async with Sandbox() as sandbox:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "error", "-c", _BARE],
            env=environment(sandbox, PYTHONPATH=str(ROOT)),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "ended\n"
        assert all("the client's mode" in line for line in done.stderr.splitlines()), done.stderr
        assert len(sandbox.arrivals("snap")) == 12


async def test_without_lifespan_outcomes_can_be_awaited() -> None:
    """The client lives on another loop; the receipt is as any other."""
    recorder = Recorder()
    kinds: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tracker = current_tracker()
        receipt = await tracker.send("purchase", order_id="1", value="1", currency="EUR", email="ada@shop.example")
        kinds.append((await receipt.outcomes(timeout_s=10))["meta"].kind)
        assert receipt.known()["meta"].kind == "delivered"
        assert "settled" in repr(receipt)
        tracker.track("lead")
        assert tracker.client.untracked == {}

    middleware = CapiMiddleware(app, recorder.client)
    await get(middleware)
    assert kinds == ["delivered"]
    client = middleware._client
    assert not isinstance(client, Client)
    assert client is not None
    client.close()


async def test_without_lifespan_a_client_that_runs_on_the_loop_of_the_requests_is_used_as_it_is() -> None:
    """As in tests that call an application directly; it is its owner's to close, and to enter again."""
    recorder = Recorder()
    middleware = CapiMiddleware(page, recorder.client)
    for count in (1, 2):
        async with recorder.client as client:
            assert client.runs_here
            assert (await get(middleware))[0]["status"] == 200
        assert not client.runs_here
        assert len(recorder.events) == count
    with pytest.raises(ClientClosed):
        await recorder.client.send(recorder.events[0])
