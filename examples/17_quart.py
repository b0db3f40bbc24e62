"""A Quart shop that tells the platforms of its orders.

    pip install quart
    CAPI_ASYNC_MODE=sandbox hypercorn --bind 127.0.0.1:8000 examples/17_quart:app

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1.
"""

from __future__ import annotations

from capi_async import Client
from capi_async.integrations.asgi import CapiMiddleware, current_tracker

try:
    from quart import Quart, abort, request
except ImportError:
    raise SystemExit("this example needs Quart: pip install quart") from None

app = Quart(__name__)

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39")}


@app.post("/checkout")
async def checkout() -> dict[str, str]:
    """On return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    order = await request.get_json()
    receipt = await current_tracker().send(
        "purchase", value=order["total"], currency="EUR", order_id=order["id"], email=order["email"]
    )
    return {"event_id": receipt.event_id}


@app.get("/thanks/<order_id>")
async def thanks(order_id: str) -> str:
    """Reloading the page counts once: the event's id follows from the order's."""
    if order_id not in ORDERS:
        abort(404)
    email, total = ORDERS[order_id]
    current_tracker().track("purchase", value=total, currency="EUR", order_id=order_id, email=email)
    return "<p>Thank you!</p>"


#: Behind one proxy of yours: trusted_proxies=1.
app.asgi_app = CapiMiddleware(app.asgi_app, Client.from_env)  # type: ignore[method-assign, assignment, arg-type]
