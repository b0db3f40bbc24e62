"""A FastAPI shop that tells the platforms of its orders.

    pip install fastapi uvicorn
    CAPI_ASYNC_MODE=sandbox uvicorn --app-dir examples 03_fastapi:app

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1 and http://127.0.0.1:8000/conversions. Without
CAPI_ASYNC_MODE, the accounts that the environment describes (SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN, and so on) are used.
"""

from __future__ import annotations

from capi_async import Client

try:
    from fastapi import BackgroundTasks, FastAPI, HTTPException
    from fastapi.responses import HTMLResponse
    from pydantic import BaseModel
except ImportError:
    raise SystemExit("this example needs FastAPI: pip install fastapi uvicorn") from None

from capi_async.integrations.fastapi import Tracker, capi_lifespan

#: Behind one proxy of yours: capi_lifespan(Client.from_env, trusted_proxies=1).
app = FastAPI(lifespan=capi_lifespan(Client.from_env))


class Order(BaseModel):
    """What the shop's page sends."""

    id: str
    total: str
    email: str


#: What a real shop has in its database.
ORDERS = {"1001": Order(id="1001", total="72.39", email="ada@shop.example")}


@app.post("/checkout")
async def checkout(order: Order, capi: Tracker, background: BackgroundTasks) -> dict[str, str]:
    """On return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    receipt = await capi.send("purchase", value=order.total, currency="EUR", order_id=order.id, email=order.email)
    background.add_task(capi.send, "lead", email=order.email)  # after the response
    return {"event_id": receipt.event_id}


@app.get("/products/{sku}")
def product(sku: str, capi: Tracker) -> HTMLResponse:
    """A route that is not async runs in a thread: ``track`` never raises and never waits."""
    capi.track("view_content", properties={"sku": sku})
    return HTMLResponse(f"<p>Product {len(sku)}</p>")


@app.get("/thanks/{order_id}")
async def thanks(order_id: str, capi: Tracker) -> HTMLResponse:
    """Reloading the page counts once: the event's id follows from the order's."""
    if order_id not in ORDERS:
        raise HTTPException(404)
    order = ORDERS[order_id]
    capi.track("purchase", value=order.total, currency="EUR", order_id=order.id, email=order.email)
    return HTMLResponse("<p>Thank you!</p>")


@app.get("/conversions")
async def conversions(capi: Tracker) -> dict[str, dict[str, int]]:
    """What became of them, for a dashboard or a health check."""
    return {
        name: {"accepted": counts.accepted, "delivered": counts.delivered, "pending": counts.pending}
        for name, counts in capi.client.ledger().items()
    }


if __name__ == "__main__":
    try:
        import uvicorn
    except ImportError:
        raise SystemExit("serving this example needs uvicorn: pip install uvicorn") from None
    uvicorn.run(app)
