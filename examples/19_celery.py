"""Celery tasks that tell the platforms of paid orders, with the context of the visitor who placed them.

    pip install "celery[redis]"
    CAPI_ASYNC_MODE=sandbox celery --workdir examples --app 19_celery worker

and, beside it, an order: python examples/19_celery.py 1001

Without CELERY_BROKER_URL the broker is redis://127.0.0.1:6379. Without CAPI_ASYNC_MODE, the accounts that the
environment describes (SNAP_PIXEL_ID and SNAP_ACCESS_TOKEN, and so on) are used.
"""

from __future__ import annotations

import sys

try:
    from celery import Celery
except ImportError:
    raise SystemExit('this example needs Celery: pip install "celery[redis]"') from None

from capi_async import SyncClient
from capi_async.context import RequestContext
from capi_async.integrations.celery import setup

app = Celery("shop", broker="redis://127.0.0.1:6379")  # the variable CELERY_BROKER_URL goes before it
#: Gives the client of the process that runs a task; it is made there, and closed before the process ends.
capi = setup(app, SyncClient.from_env)


#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39"), "1002": ("bob@shop.example", "12.50")}


# with a name of its own: this file is another module to the worker than to whoever runs it
@app.task(name="shop.paid")  # type: ignore[untyped-decorator]  # Celery brings no types
def paid(order_id: str, visitor: str) -> None:
    """A task that runs twice counts once: the event's id follows from the order's."""
    email, total = ORDERS[order_id]
    context = RequestContext.load(visitor)
    capi().send(context.event("purchase", value=total, currency="EUR", order_id=order_id, email=email))


if __name__ == "__main__":
    # in a shop this is the view that takes the order: its request's context goes with the task, as a text
    seen = RequestContext.from_parts(
        "https://shop.example/checkout?ScCid=click-1", headers={"User-Agent": "Mozilla/5.0"}, peer="203.0.113.7"
    )
    for number in sys.argv[1:] or ["1001"]:
        paid.delay(number, seen.dump())
        print(f"order {number} waits for a worker")
