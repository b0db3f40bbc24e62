"""A real browser runs the script, and its tags are told what the server sends."""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from capi_async import Client, Item
from capi_async.browser import BrowserTag
from capi_async.context import ContextSettings, RequestContext
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.sandbox import Sandbox
from tests.browser.chromium import dom_of, program

#: Tags that only remember what they are told; one of them fails.
STUBS = """
window.told = {};
function stub(name) { return function () { (told[name] = told[name] || []).push([].slice.call(arguments)); }; }
window.fbq = stub("meta"); window.ttq = {track: stub("tiktok")}; window.snaptr = stub("snap");
window.pintrk = stub("pinterest"); window.rdt = stub("reddit"); window.lintrk = stub("linkedin");
window.gtag = stub("ga4"); window.twq = stub("x");
"""
SHOW = 'document.getElementById("told").textContent = JSON.stringify([window.told, window.hacked || null]);'
NASTY = "1001</script><script>window.hacked=1</script>'\"&amp;\u2028\u2029<!--"
NONCE = "bm9uY2U"


def accounts(sandbox: Sandbox) -> list[Any]:
    token = "sandbox-token"
    return [
        Meta(pixel_id="1000000000000001", access_token=token, base_url=sandbox.url("meta")),
        TikTok(pixel_code="C00000000SANDBOX0001", access_token=token, base_url=sandbox.url("tiktok")),
        Snap(pixel_id="00000000-0000-4000-8000-000000000001", access_token=token, base_url=sandbox.url("snap")),
        Pinterest(ad_account_id="549755885175", access_token=token, base_url=sandbox.url("pinterest")),
    ]


class Shop:
    """A thank-you page that sends the purchase, and tells the browser of it."""

    def __init__(self, client: Client, stubs: str = STUBS) -> None:
        self.client = client
        self.stubs = stubs

    async def thanks(self, request: web.Request) -> web.Response:
        context = RequestContext.from_parts(
            str(request.url), headers=dict(request.headers), peer="203.0.113.7", settings=ContextSettings()
        )
        event = context.event(
            "purchase", order_id=request.query["order"], value="72.39", currency="EUR", email="jane@example.com",
            items=[Item(id="sku-1", quantity=3, price="24.13", name="Tea</script>")],
        )  # fmt: skip
        await self.client.send(event)
        tags = [
            *self.client.destinations, "reddit", "ga4", BrowserTag(platform="linkedin", names={"purchase": "1234"}),
            BrowserTag(platform="x", names={"purchase": "tw-o8z6j-o87ne"}),
        ]  # fmt: skip
        snippet = context.browser_snippet(event, tags, nonce=NONCE)
        page = (
            f'<!doctype html><title>Thanks</title><script nonce="{NONCE}">{self.stubs}</script>{snippet}'
            f'<pre id="told"></pre><pre id="event"></pre>'
            f'<script nonce="{NONCE}">var e = {snippet.json};'
            f'document.getElementById("event").textContent = JSON.stringify(e);{SHOW}</script>'
        )
        policy = {"Content-Security-Policy": f"script-src 'nonce-{NONCE}'"}
        return web.Response(text=page, content_type="text/html", headers=policy)


async def visit(shop: Shop, order: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the tags were told, and the event as the page has it."""
    from urllib.parse import quote

    app = web.Application()
    app.router.add_get("/thanks", shop.thanks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        dom = await dom_of(f"http://127.0.0.1:{port}/thanks?order={quote(order)}&ttclid=E.C.P.x", folder / "profile")
    finally:
        await runner.cleanup()
    told, event = (
        html.unescape(re.search(rf'<pre id="{name}">(.*?)</pre>', dom, re.DOTALL)[1])  # type: ignore[index]
        for name in ("told", "event")
    )
    calls, hacked = json.loads(told)
    assert hacked is None
    return calls, json.loads(event)


def arrived(sandbox: Sandbox, platform: str) -> dict[str, Any]:
    (arrival,) = sandbox.arrivals(platform)
    assert arrival.accepted, arrival.reason
    body: dict[str, Any] = json.loads(bytes(arrival.raw), parse_float=Decimal)
    return body


async def test_tags_are_told_what_the_server_sends(tmp_path: Path) -> None:
    """The same id, name, value and currency on both ways, for every platform; a nasty order number breaks nothing."""
    program()
    async with Sandbox() as sandbox, Client(accounts(sandbox), linger_s=0) as client:
        calls, event = await visit(Shop(client), NASTY, tmp_path)
        await client.flush()
        sent = {name: arrived(sandbox, name) for name in ("meta", "tiktok", "snap", "pinterest")}
    assert all(len(told) == 1 for told in calls.values())
    wire = {
        "meta": ("event_name", "event_id", sent["meta"]["custom_data"]),
        "tiktok": ("event", "event_id", sent["tiktok"]["properties"]),
        "snap": ("event_name", "event_id", sent["snap"]["custom_data"]),
        "pinterest": ("event_name", "event_id", sent["pinterest"]["custom_data"]),
    }
    for platform, (name, event_id, data) in wire.items():
        by_tag = told_by_tag(platform, calls[platform][0])
        by_server = (sent[platform][name], sent[platform][event_id], Decimal(str(data["value"])), data["currency"])
        assert by_tag == by_server, platform
    for platform, name in (("reddit", "Purchase"), ("ga4", "purchase"), ("x", "tw-o8z6j-o87ne")):
        assert told_by_tag(platform, calls[platform][0]) == (name, f"purchase:{NASTY}", Decimal("72.39"), "EUR")
    assert calls["linkedin"] == [["track", {"conversion_id": 1234, "event_id": f"purchase:{NASTY}"}]]
    assert (event["event_id"], event["name"], event["value"]) == (f"purchase:{NASTY}", "purchase", 72.39)


def told_by_tag(platform: str, call: list[Any]) -> tuple[str, str, Decimal, str]:
    """Name, id, value and currency of a call."""
    name, data, *more = call if platform == "tiktok" else call[1:]
    keys = {"meta": "eventID", "tiktok": "event_id", "snap": "client_dedup_id", "reddit": "conversionId",
            "x": "conversion_id"}  # fmt: skip
    found = (more[0] if more else data)[keys.get(platform, "event_id")]
    return name, found, Decimal(str(data["price" if platform == "snap" else "value"])), data["currency"]


async def test_a_tag_that_fails_or_is_missing_holds_up_no_other(tmp_path: Path) -> None:
    """Blockers take some of them away, and a tag is somebody else's code."""
    program()
    broken = STUBS + "window.fbq = function () { throw new Error('blocked'); }; delete window.ttq; window.snaptr = 1;"
    async with Sandbox() as sandbox, Client(accounts(sandbox), linger_s=0) as client:
        calls, _ = await visit(Shop(client, broken), "1001", tmp_path)
    assert sorted(calls) == ["ga4", "linkedin", "pinterest", "reddit", "x"]
