"""Django's ASGI application with a lifespan, which Django's own has not.

A server that ends by SIGTERM, as uvicorn does, runs no exit handlers: the client is closed before, with the lifespan.
"""

from __future__ import annotations

import asyncio

from django.core.asgi import get_asgi_application as django_application

from capi_async.errors import CapiError
from capi_async.integrations.asgi import App, Receive, Scope, Send
from capi_async.integrations.django.client import client


def get_asgi_application() -> App:
    """In the place of ``django.core.asgi.get_asgi_application``, in your ``asgi.py``."""
    app: App = django_application()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        try:
            await asyncio.to_thread(client().start)
        except CapiError as error:
            await send({"type": "lifespan.startup.failed", "message": f"capi_async: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(client().close)
        await send({"type": "lifespan.shutdown.complete"})

    return application
