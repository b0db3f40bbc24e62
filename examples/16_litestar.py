"""A Litestar shop that tells the platforms of its orders.

    pip install litestar uvicorn
    CAPI_ASYNC_MODE=sandbox uvicorn --app-dir examples 16_litestar:app

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1.
"""

from __future__ import annotations

from capi_async import Client
from capi_async.integrations.asgi import CapiMiddleware, current_tracker

try:
    from litestar import Litestar, MediaType, get, post
    from litestar.exceptions import NotFoundException
except ImportError:
    raise SystemExit("this example needs Litestar: pip install litestar uvicorn") from None

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39")}


@post("/checkout")
async def checkout(data: dict[str, str]) -> dict[str, str]:
    """On return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    receipt = await current_tracker().send(
        "purchase", value=data["total"], currency="EUR", order_id=data["id"], email=data["email"]
    )
    return {"event_id": receipt.event_id}


@get("/thanks/{order_id:str}", media_type=MediaType.HTML)
async def thanks(order_id: str) -> str:
    """Reloading the page counts once: the event's id follows from the order's."""
    if order_id not in ORDERS:
        raise NotFoundException
    email, total = ORDERS[order_id]
    current_tracker().track("purchase", value=total, currency="EUR", order_id=order_id, email=email)
    return "<p>Thank you!</p>"


#: Behind one proxy of yours: trusted_proxies=1.
app = CapiMiddleware(Litestar([checkout, thanks]), Client.from_env)  # type: ignore[arg-type]  # its scopes are its own
