"""A purchase that is paid tomorrow has the visitor of today.

Run it with ``python examples/12_order_and_webhook.py``.

The checkout keeps the visitor's context with the order. The payment provider's webhook comes later, from a machine that
is nobody's browser: it takes the context and sends the purchase with it. The thank-you page tells the browser tags of
the same event, so that the platforms count it once.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from capi_async import Client
from capi_async.consent import ConsentReader
from capi_async.context import ContextSettings, RequestContext
from capi_async.context.stores.sqlite import SqliteContextStore
from capi_async.destinations import Meta, TikTok
from capi_async.sandbox import Sandbox

SETTINGS = ContextSettings(
    trusted_proxies=1,  # one proxy of ours stands before the application
    cookie_domain="shop.example",
    consent=ConsentReader(region="cf-ipcountry", absent={"EEA": "denied", "*": "unknown"}),
)

#: What a server hands to an ASGI application: a visitor from an ad, behind one proxy.
SCOPE = {
    "type": "http",
    "scheme": "http",
    "path": "/checkout",
    "query_string": b"ttclid=E.C.P.click-1&fbclid=IwAR1click",
    "client": ("10.0.0.2", 40_000),
    "headers": [
        (b"host", b"shop.example"),
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"x-forwarded-proto", b"https"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
        (b"cookie", b"_fbp=fb.1.1596403881668.1116446470"),
    ],
}


async def checkout(store: SqliteContextStore) -> None:
    """The visitor orders; the payment is not known yet."""
    context = RequestContext.from_asgi(SCOPE, SETTINGS)
    print("cookies:", ", ".join(cookie.name for cookie in context.cookies()))
    await store.put("1001", context)


async def webhook(store: SqliteContextStore, client: Client) -> None:
    """The payment provider says that order 1001 is paid."""
    context = await store.get("1001") or RequestContext()
    event = context.event("purchase", value="72.39", currency="EUR", order_id="1001", email="ada@shop.example")
    receipt = await client.send(event)
    await store.forget("1001")
    print("address:", event.user.ip)
    for name, outcome in (await receipt.outcomes(timeout_s=10)).items():
        print(f"{name:8} {outcome.kind}")
    snippet = context.browser_snippet(event, client.destinations)
    print("browser tags:", ", ".join(snippet.calls), "with the id", event.event_id)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteContextStore(Path(folder) / "contexts.sqlite3")
        async with Sandbox() as sandbox:
            token = "sandbox-token"
            accounts = [
                Meta(pixel_id="1000000000000001", access_token=token, base_url=sandbox.url("meta")),
                TikTok(pixel_code="C00000000SANDBOX0001", access_token=token, base_url=sandbox.url("tiktok")),
            ]
            async with Client(accounts, linger_s=0) as client:
                await checkout(store)
                await webhook(store, client)
        await store.aclose()


if __name__ == "__main__":
    asyncio.run(main())
