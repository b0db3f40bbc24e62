"""An aiohttp shop that tells the platforms of its orders.

    CAPI_ASYNC_MODE=sandbox python examples/15_aiohttp.py

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1.
"""

from __future__ import annotations

import os

from aiohttp import web

from capi_async import Client
from capi_async.integrations.aiohttp import setup, tracker

routes = web.RouteTableDef()

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39")}


@routes.post("/checkout")
async def checkout(request: web.Request) -> web.Response:
    """On return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    order = await request.json()
    receipt = await tracker(request).send(
        "purchase", value=order["total"], currency="EUR", order_id=order["id"], email=order["email"]
    )
    return web.json_response({"event_id": receipt.event_id})


@routes.get("/thanks/{order_id}")
async def thanks(request: web.Request) -> web.Response:
    """Reloading the page counts once: the event's id follows from the order's."""
    order_id = request.match_info["order_id"]
    if order_id not in ORDERS:
        raise web.HTTPNotFound
    email, total = ORDERS[order_id]
    tracker(request).track("purchase", value=total, currency="EUR", order_id=order_id, email=email)
    return web.Response(text="<p>Thank you!</p>", content_type="text/html")


def application() -> web.Application:
    """Behind one proxy of yours: ``setup(app, Client.from_env, trusted_proxies=1)``."""
    app = web.Application()
    setup(app, Client.from_env)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
