"""A TikTok Shop as a source of purchases: a FastAPI application connects it once and forwards every paid order.

    pip install 'capi_async[encryption]' fastapi uvicorn
    python examples/11_tiktok_shop.py

Then open http://127.0.0.1:8000/. A local sandbox plays TikTok Shop and the ad platforms. For a real shop set
TIKTOK_SHOP_APP_KEY, TIKTOK_SHOP_APP_SECRET, TIKTOK_SHOP_SERVICE_ID, TIKTOK_SHOP_TOKENS_KEY (32 random bytes as URL-safe
base64), PUBLIC_URL (https, as in the app's settings) and the variables of the platforms.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from capi_async import Client, Event, User
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, SERVICE_ID
from capi_async.sources.tiktok_shop import (
    EncryptedFileTokens,
    MemoryTokens,
    Order,
    TikTokShop,
    TikTokShopAuthError,
    TokenStore,
    new_state,
    read_callback,
)
from capi_async.sources.tiktok_shop.forwarder import OrderForwarder
from capi_async.sources.tiktok_shop.web import PATH, fastapi_route
from capi_async.sources.tiktok_shop.webhooks import WebhookVerifier

try:
    import uvicorn
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import HTMLResponse, RedirectResponse
except ImportError:
    raise SystemExit("this example needs FastAPI: pip install fastapi uvicorn") from None

PORT = 8000
REAL = bool(os.environ.get("TIKTOK_SHOP_APP_KEY"))

#: What the seller's own records hold: TikTok Shop's id of a buyer who gave their address and agreed to its use.
CUSTOMERS = {"7021436810468230477": "ada@shop.example"}


def known_customer(order: Order, event: Event) -> Event:
    """TikTok Shop gives no e-mail address that anybody else knows; where the seller has one, it goes along."""
    email = CUSTOMERS.get(order.user_id)
    return replace(event, user=User(external_id=order.user_id, email=email)) if email else event


class Connection:
    """What the application holds: the platforms' client, the shop, and once it is connected its forwarder."""

    def __init__(self, client: Client, shop: TikTokShop, verifier: WebhookVerifier, address: str) -> None:
        self.client = client
        self.shop = shop
        self.verifier = verifier
        self.address = address
        self.forwarder: OrderForwarder | None = None

    async def forward(self) -> None:
        """Begin to forward the orders of all shops that the seller opened to the app."""
        await self.stop()
        shops = [self.shop.for_shop(one) for one in await self.shop.get_shops()]
        for shop in shops:
            await shop.set_webhook("ORDER_STATUS_CHANGE", f"{self.address}{PATH}")
        forwarder = OrderForwarder(
            shops,
            self.client,
            share=["buyer_id"],
            enrich=known_customer,
            webhooks=self.verifier,
            state="sqlite:///tiktok-shop.db" if REAL else "memory",
        )
        self.forwarder = await forwarder.__aenter__()

    async def stop(self) -> None:
        """End what :meth:`forward` began."""
        if self.forwarder is not None:
            forwarder, self.forwarder = self.forwarder, None
            await forwarder.aclose()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """One client and one shop for the application's whole life; a shop connected earlier goes on by itself."""
    async with AsyncExitStack() as stack:
        if REAL:
            client = Client.from_env(spool="sqlite:///events.db?remember_days=7")
            tokens: TokenStore = EncryptedFileTokens("tiktok-shop.tokens", os.environ["TIKTOK_SHOP_TOKENS_KEY"])
            shop = TikTokShop.from_env(tokens=tokens)
            verifier, address = WebhookVerifier.from_env(), os.environ["PUBLIC_URL"].rstrip("/")
        else:
            sandbox = app.state.sandbox = await stack.enter_async_context(Sandbox())
            address = f"http://127.0.0.1:{app.state.port}"
            sandbox.tiktok_shop.app.redirect_url = f"{address}/callback"
            client = Client(sandbox_accounts(sandbox), linger_s=0.1)
            tokens = MemoryTokens()
            base_url = sandbox.url("tiktok_shop")
            shop = TikTokShop(APP_KEY, APP_SECRET, tokens=tokens, service_id=SERVICE_ID, base_url=base_url)
            verifier = WebhookVerifier(APP_KEY, APP_SECRET)
        await stack.enter_async_context(client)
        await stack.enter_async_context(shop)
        connection = app.state.connection = Connection(client, shop, verifier, address)
        stack.push_async_callback(connection.stop)
        if await tokens.load():
            await connection.forward()
        yield


def sandbox_accounts(sandbox: Sandbox) -> list[Any]:
    """One at each of four platforms. TikTok takes sales that no website saw only for an offline event set."""
    token = "sandbox-token"
    return [
        Snap(pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100", access_token=token, base_url=sandbox.url("snap")),
        Pinterest(ad_account_id="549700000001", access_token=token, base_url=sandbox.url("pinterest")),
        TikTok(
            pixel_code="C00000000SANDBOX0001",
            offline_event_set_id="7000000000000000001",
            access_token=token,
            base_url=sandbox.url("tiktok"),
        ),
        Meta(pixel_id="1000000000000001", access_token=token, base_url=sandbox.url("meta")),
    ]


app = FastAPI(lifespan=lifespan)
app.state.port = PORT
# webhooks that come before a shop is connected are answered with 503: TikTok Shop repeats them
fastapi_route(app, lambda request: request.app.state.connection.forwarder)


@app.get("/connect")
async def connect(request: Request) -> RedirectResponse:
    """Send the seller to TikTok Shop; the cookie proves later that it is the same visit."""
    connection: Connection = request.app.state.connection
    state = new_state()
    leave = RedirectResponse(connection.shop.authorize_url(state))
    leave.set_cookie("tiktok_shop_state", state, max_age=1800, httponly=True, samesite="lax", secure=REAL)
    return leave


@app.get("/callback")
async def callback(request: Request) -> RedirectResponse:
    """The seller came back: keep the tokens, and forward from now on."""
    connection: Connection = request.app.state.connection
    try:
        code = read_callback(dict(request.query_params), expected_state=request.cookies.get("tiktok_shop_state"))
        await connection.shop.connect(code)
    except TikTokShopAuthError as error:
        raise HTTPException(403, str(error)) from None
    await connection.forward()
    return RedirectResponse("/")


@app.post("/sandbox/orders")
async def place_order(request: Request) -> RedirectResponse:
    """A buyer orders and pays, in the sandbox."""
    if REAL:
        raise HTTPException(404)
    request.app.state.sandbox.tiktok_shop.place_order(paid=True, user_id=next(iter(CUSTOMERS)))
    return RedirectResponse("/", status_code=303)


@app.get("/conversions")
async def conversions(request: Request) -> dict[str, Any]:
    """What became of the orders, for a dashboard or a health check."""
    connection: Connection = request.app.state.connection
    forwarder = connection.forwarder
    return {
        "connected": forwarder is not None,
        "forwarded": forwarder.counts.forwarded if forwarder else 0,
        "troubles": forwarder.troubles if forwarder else {},
        "delivered": {name: counts.delivered for name, counts in connection.client.ledger().items()},
    }


@app.get("/")
async def home() -> HTMLResponse:
    """Three links."""
    order = "" if REAL else '<form method="post" action="/sandbox/orders"><button>Place an order</button></form>'
    return HTMLResponse(
        f'<p><a href="/connect">Connect a TikTok Shop</a></p>{order}<p><a href="/conversions">Conversions</a></p>'
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Connect a TikTok Shop and forward its orders.")
    parser.add_argument("--port", type=int, default=PORT)
    app.state.port = parser.parse_args().port
    print(f"Open http://127.0.0.1:{app.state.port}/", flush=True)
    uvicorn.run(app, port=app.state.port, log_level="warning")
