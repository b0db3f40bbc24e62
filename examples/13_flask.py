"""A Flask shop that tells the platforms of its orders.

    pip install flask gunicorn
    CAPI_ASYNC_MODE=sandbox gunicorn --chdir examples --workers 2 13_flask:app

Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1.
"""

from __future__ import annotations

try:
    from flask import Flask, abort, request
except ImportError:
    raise SystemExit("this example needs Flask: pip install flask") from None

from capi_async.integrations.flask import Capi, capi

app = Flask(__name__)
#: By default with the accounts that the environment describes. Behind one proxy of yours: trusted_proxies=1.
Capi(app)

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39")}


@app.post("/checkout")
def checkout() -> dict[str, str]:
    """On return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    order = request.get_json()
    receipt = capi.send("purchase", value=order["total"], currency="EUR", order_id=order["id"], email=order["email"])
    return {"event_id": receipt.event_id}


@app.get("/thanks/<order_id>")
def thanks(order_id: str) -> str:
    """Reloading the page counts once: the event's id follows from the order's."""
    if order_id not in ORDERS:
        abort(404)
    email, total = ORDERS[order_id]
    capi.track("purchase", value=total, currency="EUR", order_id=order_id, email=email)
    return "<p>Thank you!</p>"


if __name__ == "__main__":
    app.run(port=8000)
