"""FastAPI: the example under a real uvicorn, and what its dependency does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'capi_async[test]'")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install 'capi_async[test]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'capi_async[test]'")

from fastapi import BackgroundTasks, FastAPI, HTTPException, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from capi_async import Client, Consent
from capi_async.context import ContextSettings
from capi_async.errors import ConfigError
from capi_async.integrations.fastapi import Tracker, capi_lifespan
from capi_async.sandbox import Sandbox
from capi_async.testing import Recorder
from tests.integrations.served import BROWSER, EXAMPLES, Server, arrived, environment, uvicorn

ORDER = {"id": "2001", "total": "12.50", "email": "ada@shop.example"}
APP = "03_fastapi:app"
#: On a busy machine a process takes longer to start than the five seconds that uvicorn has patience for.
WORKERS = ("--workers", "2", "--timeout-worker-healthcheck", "60")


@asynccontextmanager
async def browsing(app: FastAPI, **headers: str) -> AsyncIterator[Any]:
    """A visitor of an application that has started."""
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 50_000), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop.example", headers=headers) as browser,
    ):
        yield browser


async def buy(browser: aiohttp.ClientSession, who: str, answered: list[str], enough: asyncio.Event) -> None:
    """A visitor who orders again and again; what was answered is noted."""
    number = 0
    while not enough.is_set():
        number += 1
        order = {**ORDER, "id": f"{who}-{number}"}
        try:
            async with browser.post(f"/checkout?ScCid=click-{who}", json=order) as response:
                assert response.status == 200
                answered.append((await response.json())["event_id"])
        except aiohttp.ClientError:  # the process that had the connection is ending
            await asyncio.sleep(0.01)


async def started(server: Server, times: int) -> None:
    """Wait until processes have started so many times."""
    until = time.monotonic() + 60
    while server.output().count("Application startup complete") < times:
        assert time.monotonic() < until, server.output()
        assert server.process.poll() is None, server.output()
        await asyncio.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
async def test_the_example_under_two_workers_loses_nothing_when_they_are_renewed_under_load(tmp_path: Path) -> None:
    """Async and sync routes and background tasks, over a SIGHUP; what lingers is sent when a worker ends."""
    answered: list[str] = []
    enough = asyncio.Event()
    async with Sandbox() as sandbox:
        async with (
            uvicorn(APP, environment(sandbox), tmp_path, *WORKERS, ready="/products/0") as server,
            aiohttp.ClientSession(server.url, headers={**BROWSER, "Connection": "close"}) as browser,
        ):
            visitors = [asyncio.create_task(buy(browser, str(who), answered, enough)) for who in range(3)]
            await started(server, 2)
            server.process.send_signal(signal.SIGHUP)
            await started(server, 4)
            enough.set()
            await asyncio.gather(*visitors)
            said = await server.ends()
        events = [arrival.event for arrival in sandbox.arrivals("snap")]
    assert len(answered) > 20
    bought = {event["event_id"]: event["user_data"] for event in events if event["event_name"] == "PURCHASE"}
    assert set(answered) <= set(bought), said
    assert bought["purchase:2-1"]["sc_click_id"] == "click-2"
    assert bought["purchase:2-1"]["client_user_agent"] == "Mozilla/5.0 (test)"
    assert sum(event["event_name"] != "PURCHASE" for event in events) >= len(answered)  # the leads, after the response
    assert "Traceback" not in said, said
    assert "events lost" not in said, said


async def test_neither_a_reload_nor_a_client_that_hangs_up_loses_an_event(tmp_path: Path) -> None:
    """Uvicorn ends the old process and starts a new one when a file changes; an answer may find nobody."""
    folder = tmp_path / "app"
    folder.mkdir()
    program = folder / "shop.py"
    program.write_text((EXAMPLES / "03_fastapi.py").read_text("utf-8"), "utf-8")
    body = b'{"id": "gone", "total": "1.00", "email": "ada@shop.example"}'
    head = f"POST /checkout HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    answered: list[str] = []
    enough = asyncio.Event()
    reloading = ("--reload", "--reload-dir", str(folder), "--reload-delay", "0.05")
    async with Sandbox() as sandbox:
        async with (
            uvicorn(
                "shop:app", environment(sandbox), tmp_path, *reloading, ready="/products/0", app_dir=folder
            ) as server,
            aiohttp.ClientSession(server.url, headers={**BROWSER, "Connection": "close"}) as browser,
        ):
            visitor = asyncio.create_task(buy(browser, "0", answered, enough))
            _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await writer.drain()
            writer.transport.abort()
            await arrived(sandbox, 2)
            moment = program.stat().st_mtime + 10
            os.utime(program, (moment, moment))
            await started(server, 2)
            enough.set()
            await visitor
            said = await server.ends(signal.SIGINT)
        sent = {arrival.event["event_id"] for arrival in sandbox.arrivals("snap")}
    assert {*answered, "purchase:gone"} <= sent, said


def shop(recorder: Recorder, **options: Any) -> FastAPI:
    """An application with a route of each kind."""
    app = FastAPI(lifespan=capi_lifespan(recorder.client, **options))

    @app.get("/page")
    async def page(capi: Tracker) -> HTMLResponse:
        capi.track("page_view")
        return HTMLResponse("<p>Hello</p>")

    @app.get("/plain", response_class=HTMLResponse)
    async def plain() -> str:
        return "<p>Nobody tracks here</p>"

    @app.get("/shared", response_class=HTMLResponse)
    async def shared() -> HTMLResponse:
        return HTMLResponse("<p>For all</p>", headers={"Cache-Control": "public, max-age=60"})

    @app.get("/data")
    async def data() -> JSONResponse:
        return JSONResponse({})

    @app.get("/own")
    async def own(capi: Tracker) -> HTMLResponse:
        capi.track("page_view")
        return HTMLResponse("<p>Hello</p>", headers={"Set-Cookie": "_fbp=fb.1.1596403881668.1; Path=/"})

    @app.get("/fails")
    async def fails(capi: Tracker) -> None:
        capi.track("view_content")
        raise ValueError("after track")

    @app.get("/refuses")
    async def refuses(capi: Tracker) -> None:
        capi.track("search")
        raise HTTPException(418)

    @app.get("/stream")
    async def stream(capi: Tracker) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await capi.send("download")
            yield b"b"

        return StreamingResponse(parts())

    @app.get("/sync")
    def sync(capi: Tracker, background: BackgroundTasks) -> dict[str, str]:
        capi.track("add_to_cart", email="ada@shop.example")
        background.add_task(capi.send, "lead")
        return {}

    @app.get("/wrong")
    def wrong(capi: Tracker) -> dict[str, str]:
        capi.track("purchase", value="12,50")
        capi.track("purchase", no_such_field=1)
        return {}

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, capi: Tracker) -> None:
        await websocket.accept()
        capi.track("contact")
        await websocket.send_text(await websocket.receive_text())

    return app


async def test_sync_routes_and_background_tasks_send() -> None:
    """``track`` from a thread, ``send`` after the response; the visitor is the same in both."""
    recorder = Recorder()
    async with browsing(shop(recorder), **BROWSER) as browser:
        assert (await browser.get("/sync?ttclid=E.C.P.click-1")).status_code == 200
        await recorder.client.flush(5)
        cart, lead = recorder.sent("add_to_cart"), recorder.sent("lead")
    assert cart.user.email == "ada@shop.example"
    assert cart.user.ip == lead.user.ip == "203.0.113.7"
    assert cart.click.ttclid == lead.click.ttclid == "E.C.P.click-1"
    assert lead.page.url == "https://shop.example/sync?ttclid=E.C.P.click-1"


async def test_what_a_route_tracked_before_it_failed_is_sent() -> None:
    """Whether it raised something of its own or an answer."""
    recorder = Recorder()
    async with browsing(shop(recorder)) as browser:
        assert (await browser.get("/fails")).status_code == 500
        assert (await browser.get("/refuses")).status_code == 418
        assert (await browser.get("/stream")).text == "ab"
        await recorder.client.flush(5)
        assert {event.name for event in recorder.events} == {"view_content", "search", "download"}


async def test_track_counts_what_it_cannot_take_and_the_route_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised into a checkout page, and nothing is silent."""
    recorder = Recorder()
    async with browsing(shop(recorder)) as browser:
        assert (await browser.get("/wrong")).status_code == 200
        assert recorder.client.untracked == {"malformed": 2}
    assert "track: an event was not taken: value" in caplog.text


async def test_cookies_are_set_on_pages_and_where_something_was_tracked() -> None:
    """Not with data that nobody tracked in, nor where a shared cache would give them to others, nor over the shop's."""
    recorder = Recorder()
    settings = ContextSettings(cookie_domain="shop.example")
    async with browsing(shop(recorder, settings=settings)) as browser:

        async def cookies(path: str) -> set[str]:
            browser.cookies.clear()
            return set((await browser.get(path)).headers.get_list("set-cookie"))

        landing = await cookies("/plain?fbclid=IwAR1click")
        assert {line.partition("=")[0] for line in landing} == {"_fbc", "_fbp", "_capi_clicks"}
        assert all("Domain=shop.example" in line and "Secure" in line for line in landing)
        assert len(await cookies("/page")) == 1
        assert await cookies("/data?fbclid=IwAR1click") == set()
        assert await cookies("/shared?fbclid=IwAR1click") == set()
        assert await cookies("/own") == {"_fbp=fb.1.1596403881668.1; Path=/"}


async def test_no_cookie_is_set_without_the_consent_that_is_required() -> None:
    """And with it there is."""
    settings = ContextSettings(
        consent=lambda request: Consent(ad_storage=True) if request.cookies.get("yes") else None, require_consent=True
    )
    async with browsing(shop(Recorder(), settings=settings)) as browser:
        assert "set-cookie" not in (await browser.get("/page")).headers
        assert "_fbp" in (await browser.get("/page", headers={"Cookie": "yes=1"})).headers["set-cookie"]


async def test_a_websocket_is_left_alone_and_has_a_tracker() -> None:
    """Its messages pass as they are: no cookie is added to its handshake."""
    recorder = Recorder()
    app = shop(recorder)
    incoming = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}])
    outgoing: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        outgoing.append(message)

    scope = {"type": "websocket", "path": "/socket", "headers": [(b"host", b"shop.example")], "query_string": b""}
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
        await recorder.client.flush(5)
    assert [message["type"] for message in outgoing][:2] == ["websocket.accept", "websocket.send"]
    assert outgoing[0].get("headers", []) == []
    assert recorder.sent("contact").page.url == "http://shop.example/socket"


async def test_headers_of_an_untrusted_peer_are_not_believed() -> None:
    """Only so many proxies as are one's own write the address."""
    for trusted, address in ((0, "203.0.113.7"), (1, "198.51.100.9")):
        recorder = Recorder()
        async with browsing(shop(recorder, trusted_proxies=trusted)) as browser:
            await browser.get("/page", headers={"X-Forwarded-For": "192.0.2.66, 198.51.100.9"})
            await recorder.client.flush(5)
            assert recorder.sent("page_view").user.ip == address


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": ", ".join(f"192.0.2.{number}" for number in range(1, 51))},
        {"Cookie": "_fbc=" + "x" * 8_192 + "; _fbp; _fbp=;;;=; _fbp=1; ttclid=\x01"},
        {"User-Agent": "M" * 8_192},
        {"User-Agent": b"Mozilla \xff\xfe", "Cookie": b"_fbp=\xff\xc3; _ga=\x80"},
        {"Referer": "http://[::1"},
        {"Host": "shop.example:99999999"},
    ],
    ids=["50 proxies", "cookies", "a long user agent", "no UTF-8", "a referrer", "a host"],
)
async def test_odd_headers_cost_no_page_and_no_event(headers: dict[str, Any]) -> None:
    """What cannot be read is left out; the page comes, and the event is sent."""
    recorder = Recorder()
    async with browsing(shop(recorder, trusted_proxies=1)) as browser:
        request = [
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in headers.items()
        ]
        assert (await browser.get("/page?ttclid=%FF%FE&fbclid=" + "y" * 9_000, headers=request)).status_code == 200
        await recorder.client.flush(5)
        assert recorder.sent("page_view").name == "page_view"


async def test_two_applications_in_a_process_have_a_client_each() -> None:
    """Nothing is kept where the other one would find it."""
    one, two = Recorder(), Recorder()
    async with browsing(shop(one)) as first, browsing(shop(two)) as second:
        await asyncio.gather(first.get("/page"), second.get("/sync"))
        await one.client.flush(5)
        await two.client.flush(5)
    assert {event.name for event in one.events} == {"page_view"}
    assert {event.name for event in two.events} == {"add_to_cart", "lead"}


async def test_an_application_that_is_mounted_has_its_parents_client_and_the_whole_address() -> None:
    """A mounted application's own lifespan is never run."""
    recorder = Recorder()
    inside = FastAPI()

    @inside.get("/buy")
    async def buy(capi: Tracker) -> dict[str, str]:
        await capi.send("purchase", order_id="1", value="1", currency="EUR")
        return {}

    outside = FastAPI(lifespan=capi_lifespan(recorder.client))
    outside.mount("/shop", inside)
    async with browsing(outside) as browser:
        assert (await browser.get("/shop/buy?x=1")).status_code == 200
        await recorder.client.flush(5)
    assert recorder.sent("purchase").page.url == "https://shop.example/shop/buy?x=1"


async def test_a_lifespan_of_ones_own_runs_inside_and_its_state_is_kept() -> None:
    """It may use the client, until its very end."""
    recorder = Recorder()
    told = []

    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        app.state.capi.track("app_open")
        yield {"key": "value"}
        told.append(app.state.capi.track("app_open") is not None)

    app = FastAPI(lifespan=capi_lifespan(recorder.client, inner))
    async with app.router.lifespan_context(app) as state:
        assert state == {"key": "value"}
    assert told == [True]
    assert not hasattr(app.state, "capi")


async def test_a_factory_is_called_once_per_start_and_a_tests_client_takes_its_place() -> None:
    """So that a test of an application needs no patch."""
    made: list[Client] = []

    async def factory() -> Client:
        made.append(Recorder().client)
        return made[-1]

    app = FastAPI(lifespan=capi_lifespan(factory))
    for _ in range(2):
        async with app.router.lifespan_context(app):
            assert app.state.capi is made[-1]
    assert len(made) == 2

    recorder = Recorder()
    app.state.capi = recorder.client
    async with app.router.lifespan_context(app):
        assert app.state.capi is recorder.client
    assert len(made) == 2
    assert app.state.capi is recorder.client


async def test_a_mistake_in_the_settings_is_told_at_once_or_at_the_start() -> None:
    """Before the first visitor."""
    with pytest.raises(ConfigError, match="needs a Client"):
        capi_lifespan("client")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="trusted_proxies: is given twice"):
        capi_lifespan(Recorder().client, trusted_proxies=1, settings=ContextSettings())
    app = FastAPI(lifespan=capi_lifespan(lambda: 7))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="not int"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_route_without_a_client_says_what_to_do() -> None:
    """Neither a lifespan nor the middleware."""
    app = FastAPI()

    @app.get("/")
    async def page(capi: Tracker) -> None:
        capi.track("page_view")

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
        with pytest.raises(ConfigError, match=r"lifespan=capi_lifespan\(\.\.\.\)"):
            await browser.get("/")
