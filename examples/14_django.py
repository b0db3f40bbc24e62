"""A Django shop that tells the platforms of its orders, in one file.

    pip install django uvicorn
    CAPI_ASYNC_MODE=sandbox python examples/14_django.py runserver 8000
    CAPI_ASYNC_MODE=sandbox python examples/14_django.py capi_check

or under ASGI: CAPI_ASYNC_MODE=sandbox uvicorn --app-dir examples 14_django:asgi
Then open http://127.0.0.1:8000/thanks/1001?ScCid=click-1.
"""

from __future__ import annotations

import json
import sys
from typing import Any

try:
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.core.wsgi import get_wsgi_application
    from django.http import Http404, HttpResponse, JsonResponse
    from django.urls import path
except ImportError:
    raise SystemExit("this example needs Django: pip install django") from None

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["127.0.0.1", "shop.example"],
        SECRET_KEY="only an example",
        INSTALLED_APPS=["capi_async.integrations.django"],
        MIDDLEWARE=["capi_async.integrations.django.CapiMiddleware"],
        CAPI_TRUSTED_PROXIES=0,
    )

#: What a real shop has in its database: number to the customer's address and the total.
ORDERS = {"1001": ("ada@shop.example", "72.39")}


async def checkout(request: Any) -> JsonResponse:
    """An async view: on return, the purchase is in the spool; its ``event_id`` is for the browser tag."""
    order = json.loads(request.body)
    receipt = await request.capi.asend(
        "purchase", value=order["total"], currency="EUR", order_id=order["id"], email=order["email"]
    )
    return JsonResponse({"event_id": receipt.event_id})


def thanks(request: Any, order_id: str) -> HttpResponse:
    """Reloading the page counts once: the event's id follows from the order's."""
    if order_id not in ORDERS:
        raise Http404
    email, total = ORDERS[order_id]
    request.capi.send("purchase", value=total, currency="EUR", order_id=order_id, email=email)
    return HttpResponse("<p>Thank you!</p>")


urlpatterns = [path("checkout", checkout), path("thanks/<order_id>", thanks)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
else:
    from capi_async.integrations.django.asgi import get_asgi_application

    asgi = get_asgi_application()  # as Django's own, and it closes the client when the server ends
    wsgi = get_wsgi_application()
