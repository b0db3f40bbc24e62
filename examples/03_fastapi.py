"""Conversions in the background of a FastAPI shop.

    pip install fastapi uvicorn
    uvicorn --app-dir examples 03_fastapi:app

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1 and http://127.0.0.1:8000/conversions. Set SNAP_PIXEL_ID and
SNAP_ACCESS_TOKEN (and the variables of other platforms) to send to real accounts instead of the local sandbox.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from capi_async import ClickIds, Client, Event, Page, QueueFull, User
from capi_async.destinations import Pinterest, Snap
from capi_async.sandbox import Sandbox

try:
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import HTMLResponse
except ImportError:
    raise SystemExit("this example needs FastAPI: pip install fastapi uvicorn") from None

logger = logging.getLogger("shop")

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39"), "1002": ("björn@shop.example", "18.00")}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the application's whole life; closing it sends what still waits."""
    async with AsyncExitStack() as stack:
        if os.environ.get("SNAP_ACCESS_TOKEN"):
            client = Client.from_env()
        else:
            sandbox = await stack.enter_async_context(Sandbox())
            client = Client(
                [
                    Snap(
                        pixel_id="0f0e0d0c-0b0a-4908-8706-050403020100",
                        access_token="sandbox-token",
                        base_url=sandbox.url("snap"),
                    ),
                    Pinterest(
                        ad_account_id="549700000001",
                        access_token="sandbox-token",
                        base_url=sandbox.url("pinterest"),
                    ),
                ]
            )
            logger.warning("sending to the sandbox; see what arrives at %s", sandbox.base_url)
        app.state.client = await stack.enter_async_context(client)
        yield


app = FastAPI(lifespan=lifespan)


def visitor(request: Request, *, email: str) -> User:
    """Who looks at this page."""
    return User(
        email=email,
        # behind a proxy this is the proxy, unless uvicorn is told whom to believe: --forwarded-allow-ips
        ip=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
    )


def clicks(request: Request) -> ClickIds:
    """Which advertisements led here: the platforms' browser tags leave cookies, their links leave parameters."""
    cookies, query = request.cookies, request.query_params
    return ClickIds(
        sc_click_id=query.get("ScCid") or cookies.get("_scclid"),
        sc_cookie1=cookies.get("_scid"),
        epik=cookies.get("_epik") or query.get("epik"),
        fbc=cookies.get("_fbc"),
        fbp=cookies.get("_fbp"),
    )


@app.get("/thanks/{order_id}")
async def thanks(order_id: str, request: Request) -> HTMLResponse:
    """The page after the checkout."""
    if order_id not in ORDERS:
        raise HTTPException(404)
    email, total = ORDERS[order_id]
    event = Event(
        "purchase",
        order_id=order_id,  # the event_id follows from it, so that reloading the page does not count twice
        user=visitor(request, email=email),
        click=clicks(request),
        page=Page(url=str(request.url), referrer=request.headers.get("referer")),
        value=total,
        currency="EUR",
    )
    try:
        request.app.state.client.enqueue(event)  # neither waits nor does any I/O: the page is not held up
    except QueueFull:
        logger.warning("a conversion was lost, too many wait already")  # but the customer gets the page
    return HTMLResponse("<p>Thank you!</p>")


@app.get("/conversions")
async def conversions(request: Request) -> dict[str, dict[str, int]]:
    """What became of them, for a dashboard or a health check."""
    client: Client = request.app.state.client
    return {
        name: {"accepted": counts.accepted, "delivered": counts.delivered, "pending": counts.pending}
        for name, counts in client.ledger().items()
    }


if __name__ == "__main__":
    try:
        import uvicorn  # type: ignore[import-not-found, unused-ignore]  # installed by who wants to serve this
    except ImportError:
        raise SystemExit("serving this example needs uvicorn: pip install uvicorn") from None
    uvicorn.run(app)
