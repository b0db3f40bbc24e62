"""aiohttp.web: a client for the application's life, and a tracker that knows the visitor.

setup(app, Client.from_env, trusted_proxies=1)

async def checkout(request):
    await tracker(request).send("purchase", value="72.39", currency="EUR", order_id="1001")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from capi_async.client import Client
from capi_async.context import ContextSettings, RequestContext
from capi_async.errors import ConfigError
from capi_async.integrations.starting import ClientOrFactory, check_given, made
from capi_async.integrations.tracker import (
    RequestTracker,
    Trusted,
    bound,
    cookies_to_set,
    current_tracker,
    request_settings,
    sent_before_the_end,
)

__all__ = ["CLIENT", "RequestTracker", "current_tracker", "setup", "tracker"]

#: ``app[CLIENT]``: the client outside of requests. One that stands there before the start is used, for tests.
CLIENT: Final = web.AppKey("capi_async_client", Client)
_KEY: Final = "capi_async.tracker"
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def setup(
    app: web.Application,
    client: ClientOrFactory,
    *,
    trusted_proxies: Trusted = 0,
    settings: ContextSettings | None = None,
) -> None:
    """Start the client with the application, and close it after the application's own cleanup.

    Call it first, before handlers of your own for startup and cleanup are added.

    Args:
        client: A client, or a function or classmethod that makes one: it is called at the start.
        trusted_proxies: How many proxies of your own every request passes, or their networks; see
            :class:`~capi_async.context.ContextSettings`, which ``settings`` takes as a whole.

    Raises:
        ConfigError: A setting is malformed.
    """
    check_given(client)
    read = request_settings(settings, trusted_proxies)

    async def living(app: web.Application) -> AsyncIterator[None]:
        preset = app.get(CLIENT)
        async with await made(client if preset is None else preset) as started:
            if preset is None:
                app[CLIENT] = started
            yield

    @web.middleware
    async def bind(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = RequestTracker(app[CLIENT], lambda: context_of(request, read))
        request[_KEY] = found
        token = bound.set(found)
        try:
            return await handler(request)
        finally:
            bound.reset(token)
            await sent_before_the_end(found.client)

    app.cleanup_ctx.insert(0, living)
    app.middlewares.insert(0, bind)
    # also for responses whose headers a handler sends itself, such as streams; not the upgrade to a websocket
    app.on_response_prepare.append(_set_cookies)


def tracker(request: web.Request) -> RequestTracker:
    """The tracker of a request.

    Raises:
        ConfigError: The application has no client.
    """
    found = request.get(_KEY)
    if not isinstance(found, RequestTracker):
        raise ConfigError("this application has no client: setup(app, Client.from_env) comes first")
    return found


def context_of(request: web.BaseRequest, settings: ContextSettings) -> RequestContext:
    """What a request says of its visitor."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name, []).append(value)
    return RequestContext.from_parts(
        f"{request.scheme}://{request.host}{request.raw_path}",
        headers=headers,
        peer=peer[0] if isinstance(peer, tuple) and peer else None,
        settings=settings,
    )


async def _set_cookies(request: web.Request, response: web.StreamResponse) -> None:
    found = request.get(_KEY)
    if not isinstance(found, RequestTracker) or response.status in (101, 204, 304):
        return
    cookies = cookies_to_set(
        found,
        response.headers.get("Content-Type", ""),
        ",".join(response.headers.getall("Cache-Control", ())),
        [*response.headers.getall("Set-Cookie", ()), *(f"{name}=" for name in response.cookies)],
    )
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie.header())
