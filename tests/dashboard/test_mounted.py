"""The page inside an application, below a path of its own."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from capi_async import SyncClient
from capi_async.errors import ConfigError
from capi_async.integrations.asgi import dashboard
from tests.dashboard.asking import forms, words
from tests.dashboard.conftest import accounts, purchase
from tests.dashboard.test_durable import filled

TOKEN = "a-token-of-some-length"


def visitor(app, base: str = "https://shop.example") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, follow_redirects=True)


async def test_it_is_mounted_with_a_token_and_shows_a_memory_spool(client):
    """Log in once; every link leads below the mount."""
    app = Starlette(routes=[Mount("/admin/capi", dashboard(client, token=TOKEN))])
    await client.send(purchase())
    await client.flush()
    async with visitor(app) as http:
        page = await http.get("/admin/capi/")
        assert (page.status_code, "meta</h3>" in page.text) == (401, False)
        headers = {"Sec-Fetch-Site": "same-origin"}
        page = await http.post("/admin/capi/login", data={"token": TOKEN}, headers=headers)
        assert (page.status_code, str(page.url)) == (200, "https://shop.example/admin/capi/")
        assert "meta open" in words(page.text)
        assert "purchase:1001" in (await http.get("/admin/capi/events")).text
        style = page.text.partition('rel="stylesheet" href="./')[2].partition('"')[0]
        assert (await http.get(f"/admin/capi/{style}")).headers["content-type"] == "text/css; charset=utf-8"
        assert (await http.head("/admin/capi/")).content == b""
        assert (await http.post("/admin/capi/login", content=b"x" * 20_000)).status_code == 413


async def test_without_a_slash_at_its_end_the_address_is_mended(client):
    """Or the relative links would lead beside the mount."""
    page = dashboard(client, token=TOKEN)

    async def app(scope, receive, send):
        await page({**scope, "root_path": "/capi"}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a.example") as http:
        answer = await http.get("/capi")
        assert (answer.status_code, answer.headers["location"]) == (307, "./capi/")


async def test_the_application_itself_may_say_who_sees_it(client):
    """By whatever it knows of a request."""
    app = dashboard(client, allow=lambda scope: (b"x-role", b"admin") in scope["headers"])
    async with visitor(app) as http:
        assert (await http.get("/")).status_code == 403
        assert "meta</h3>" in (await http.get("/", headers={"X-Role": "admin"})).text


async def test_the_cookie_is_for_encrypted_connections_where_the_page_came_so(client):
    """Not where it did not."""
    app = dashboard(client, token=TOKEN)
    for base, secure in (("https://a.example", True), ("http://a.example", False)):
        async with visitor(app, base) as http:
            answer = await http.post("/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"})
            assert ("Secure" in answer.history[0].headers["set-cookie"]) is secure


@pytest.mark.parametrize("options", [{}, {"token": "short"}])
def test_nobody_mounts_it_open_to_all_by_mistake(client, options):
    """Neither a token nor a function; or a token that could be guessed."""
    with pytest.raises(ConfigError, match="token"):
        dashboard(client, **options)


async def test_a_client_that_is_closed_is_told(client):
    """And the page still comes."""
    app = dashboard(client, allow=lambda _scope: True)
    await client.aclose()
    async with visitor(app) as http:
        assert "meta" in (await http.get("/")).text


async def test_a_client_on_a_loop_of_its_own_is_shown_too(tmp_path, sandbox):
    """A SyncClient, as Django and Flask have it: its dead letters are read and replayed on its own loop."""
    await filled(tmp_path / "events.db", events=4, reasons=2)
    client = SyncClient(accounts(sandbox), spool=f"sqlite:///{tmp_path}/events.db", linger_s=0)
    app = dashboard(client, allow=lambda _scope: True)
    try:
        await asyncio.to_thread(client.send, purchase())
        await asyncio.to_thread(client.flush)
        async with visitor(app) as http:
            assert "purchase:1001" in (await http.get("/events")).text
            page = await http.get("/letters")
            fields = forms(page.text, "./forget")[0]
            reply = await http.post("/forget", data=fields, headers={"Sec-Fetch-Site": "same-origin"})
            assert "2 dead letters are forgotten" in reply.text
            fields = forms(reply.text, "./replay")[0]
            reply = await http.post("/replay", data=fields, headers={"Sec-Fetch-Site": "same-origin"})
            assert "2 dead letters are pending again" in reply.text
    finally:
        await asyncio.to_thread(client.close)
