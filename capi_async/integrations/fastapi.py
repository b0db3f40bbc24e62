"""FastAPI and Starlette: a client for the application's life, and a dependency that knows the visitor.

    app = FastAPI(lifespan=capi_lifespan(Client.from_env))

    @app.post("/checkout")
    async def checkout(order: Order, capi: Tracker) -> None:
        await capi.send("purchase", value=order.total, currency="EUR", order_id=order.id, email=order.email)

In a Starlette route without dependencies, ``current_tracker()`` gives the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from capi_async.client import Client
from capi_async.context import ContextSettings
from capi_async.integrations.asgi import App, Receive, Scope, Send, bind_request, current_tracker, tracker_of
from capi_async.integrations.starting import ClientOrFactory, check_given, made
from capi_async.integrations.tracker import RequestTracker, Trusted, request_settings

try:
    from starlette.requests import HTTPConnection
except ImportError:
    raise ImportError("capi_async.integrations.fastapi needs FastAPI or Starlette: pip install fastapi") from None

__all__ = ["RequestTracker", "Tracker", "capi_lifespan", "current_tracker", "tracker"]

#: As FastAPI and Starlette have it; the application is theirs, of whichever class.
Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


def capi_lifespan(
    client_or_factory: ClientOrFactory,
    inner: Lifespan | None = None,
    trusted_proxies: Trusted = 0,
    *,
    settings: ContextSettings | None = None,
) -> Lifespan:
    """For ``FastAPI(lifespan=...)`` and ``Starlette(lifespan=...)``; the client stands at ``app.state.capi``.

    A client that a test puts there before the application starts is used in place of what is given here.

    Args:
        client_or_factory: A client, or a function or classmethod that makes one: it is called once per process.
        inner: A lifespan of your own: it starts after the client and ends before it; what it yields is kept.
        trusted_proxies: How many proxies of your own every request passes, or their networks; see
            :class:`~capi_async.context.ContextSettings`, which ``settings`` takes as a whole.

    Raises:
        ConfigError: A setting is malformed; at the start, if the client cannot be made.
    """
    check_given(client_or_factory)
    read = request_settings(settings, trusted_proxies)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        preset = getattr(app.state, "capi", None)
        client = await made(client_or_factory if preset is None else preset)
        before = app.middleware_stack
        async with client:
            app.state.capi = client
            # in front of everything: the stack is built by now, so that a middleware cannot be added any more
            app.middleware_stack = _Bound(before or app.build_middleware_stack(), client, read)
            try:
                if inner is None:
                    yield None
                else:
                    async with inner(app) as state:
                        yield state
            finally:
                app.middleware_stack = before
                if preset is None:
                    del app.state.capi

    return lifespan


class _Bound:
    """A middleware stack whose requests have their tracker."""

    def __init__(self, app: App, client: Client, settings: ContextSettings) -> None:
        self._app = app
        self._client = client
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await bind_request(self._app, self._client, self._settings, scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def tracker(connection: HTTPConnection) -> RequestTracker:
    """The dependency behind :data:`Tracker`.

    Raises:
        ConfigError: The application has neither :func:`capi_lifespan` nor the middleware.
    """
    return tracker_of(connection.scope)


if TYPE_CHECKING:
    #: A route's parameter: ``capi: Tracker``.
    Tracker: TypeAlias = RequestTracker
else:
    try:
        from fastapi import Depends
    except ImportError:  # Starlette alone has no dependencies
        Tracker = RequestTracker
    else:
        Tracker = Annotated[RequestTracker, Depends(tracker)]
