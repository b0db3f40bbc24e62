"""Webhook endpoints for Starlette (and so FastAPI) and for aiohttp.web: a line in your application each.

They verify, store and answer; orders are read and forwarded behind the answer, for which TikTok Shop waits three
seconds. A body is answered with 200 once the forwarder's state holds it, with 401 if it is not TikTok Shop's (or a
replay), with 503 if it cannot be taken in now: then TikTok Shop comes again.

Source: Partner Center, webhook overview (6504244ede672602b77f2e41), copy of 2025-12.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from capi_async.errors import ConfigError
from capi_async.sources.tiktok_shop.forwarder import OrderForwarder
from capi_async.sources.tiktok_shop.webhooks import WebhookError

if TYPE_CHECKING:
    from aiohttp import web
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

logger = logging.getLogger(__name__)

PATH: Final = "/webhooks/tiktok-shop"
#: Webhooks are some hundred bytes; what is larger is not read.
MAX_BODY_BYTES: Final = 256 * 1024


async def answer(forwarder: OrderForwarder | None, body: bytes, headers: Mapping[str, str]) -> int:
    """The HTTP status to answer a webhook with; the body of the answer is empty. For other frameworks.

    Without a forwarder, because no shop is connected yet, it is 503.
    """
    if forwarder is None:
        return 503
    try:
        await forwarder.receive(body, headers)
    except WebhookError as error:
        logger.warning(
            "a webhook was not taken in, and was answered with %d: %s", error.status, error,
            extra={"reason": str(error), "status": error.status},
        )  # fmt: skip
        return error.status
    return 200


def aiohttp_handler(
    forwarder: OrderForwarder | Callable[[web.Request], OrderForwarder | None],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler: ``app.router.add_post("/webhooks/tiktok-shop", aiohttp_handler(forwarder))``.

    Args:
        forwarder: Or what finds it, such as ``lambda request: request.app[FORWARDER]``; ``None`` means that there is
            none yet.
    """
    from aiohttp import web

    async def receive(request: web.Request) -> web.Response:
        mine = forwarder if isinstance(forwarder, OrderForwarder) else forwarder(request)
        try:
            body = await _read(request.content.iter_any())
        except (ConnectionError, web.RequestPayloadError):
            return web.Response(status=400)  # it broke off, and nobody waits for this answer
        return web.Response(status=413 if body is None else await answer(mine, body, request.headers))

    return receive


def starlette_route(forwarder: OrderForwarder | Callable[[Request], OrderForwarder | None], path: str = PATH) -> Route:
    """A route: ``Starlette(routes=[starlette_route(forwarder)])``, or ``app.router.routes.append(...)`` in FastAPI.

    Args:
        forwarder: Or what finds it, such as ``lambda request: request.app.state.forwarder`` where the lifespan made it;
            ``None`` means that there is none yet.

    Raises:
        ConfigError: Starlette is not installed.
    """
    try:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError:
        raise ConfigError("this route needs Starlette: pip install starlette (FastAPI brings it)") from None

    async def receive(request: Request) -> Response:
        mine = forwarder if isinstance(forwarder, OrderForwarder) else forwarder(request)
        try:
            body = await _read(request.stream())
        except ClientDisconnect:
            return Response(status_code=400)  # it broke off, and nobody waits for this answer
        return Response(status_code=413 if body is None else await answer(mine, body, request.headers))

    return Route(path, receive, methods=["POST"])


def fastapi_route(
    app: Any, forwarder: OrderForwarder | Callable[[Request], OrderForwarder | None], path: str = PATH
) -> None:
    """Add the route to a FastAPI application, outside its documentation.

    Raises:
        ConfigError: Starlette is not installed.
    """
    app.router.routes.append(starlette_route(forwarder, path))


async def _read(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The whole body, or ``None`` if it is larger than any webhook."""
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body
