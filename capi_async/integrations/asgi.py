"""Any ASGI application: one client for its life, and for each request a tracker that knows the visitor.

app = CapiMiddleware(app, Client.from_env, trusted_proxies=1)

await current_tracker().send("purchase", value="12.50", currency="EUR", order_id="1001")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from capi_async.client import Client
from capi_async.context import ContextSettings, RequestContext
from capi_async.errors import CapiError, ConfigError
from capi_async.integrations.starting import ClientOrFactory, check_given, checked, made
from capi_async.integrations.tracker import (
    RequestTracker,
    Trusted,
    bound,
    cookies_to_set,
    current_tracker,
    request_settings,
    sent_before_the_end,
)
from capi_async.sync import SyncClient
from capi_async.watch.recent import EVENTS

__all__ = ["CapiMiddleware", "RequestTracker", "bind_request", "current_tracker", "dashboard", "tracker_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a scope holds its tracker.
_KEY: Final = "capi_async.tracker"
_BARE_STATUS: Final = (204, 304)


class CapiMiddleware:
    """Starts the client with the application and closes it with it; gives each request its tracker, and sets cookies.

    Code of a request finds its tracker with :func:`current_tracker`. Websockets have one too, and are otherwise left
    alone. On servers that run no lifespan, and in an application that is mounted into another, the client starts with
    the first request, on an event loop in a thread of its own, and closes when the process ends.

    Args:
        app: The application.
        client: A client, or a function or classmethod that makes one: it is called once per process. Where no lifespan
            is run, a client that was entered on the loop of the requests is used as it is, and is yours to close.
        trusted_proxies: How many proxies of your own every request passes, or their networks; see
            :class:`~capi_async.context.ContextSettings`, which ``settings`` takes as a whole.

    Raises:
        ConfigError: A setting is malformed.
    """

    def __init__(
        self,
        app: App,
        client: ClientOrFactory,
        *,
        trusted_proxies: Trusted = 0,
        settings: ContextSettings | None = None,
    ) -> None:
        check_given(client)
        self._app = app
        self._given = client
        self._settings = request_settings(settings, trusted_proxies)
        self._client: Client | SyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind in ("http", "websocket"):
            client = self._client or self._started_late()
            await bind_request(self._app, client, self._settings, scope, receive, send)
        elif kind == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _started_late(self) -> Client | SyncClient:
        """The client of an application that nobody told of its start. Not awaited, so no two requests make two."""
        given = self._given
        if isinstance(given, Client) and given.runs_here:
            return given  # whoever entered it closes it, and may enter it again: it is not kept
        client = SyncClient.around(checked(given if isinstance(given, Client) else given()))
        self._client = client
        return client

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()  # lifespan.startup
        try:
            client = self._client = await (await made(self._given)).__aenter__()
        except Exception as error:
            self._client = None
            # the server prints it: of an error that is not our own the type only
            why = str(error) if isinstance(error, CapiError) else type(error).__name__
            await send({"type": "lifespan.startup.failed", "message": f"capi_async: the client did not start: {why}"})
            return
        lifespan = _Lifespan(self._app, first, receive, send)
        try:
            await lifespan.run(scope)
        finally:
            # before the last word: a server that has heard it ends the process
            await client.__aexit__(None, None, None)
            if lifespan.last is not None:
                await send(lifespan.last)

    def __repr__(self) -> str:
        return f"CapiMiddleware({self._client or self._given!r})"


class _Lifespan:
    """Runs an application's own lifespan, and speaks for one that has none.

    Attributes:
        last: The application's last word, which is kept back until the client has closed.
    """

    def __init__(self, app: App, first: Message, receive: Receive, send: Send) -> None:
        self._app = app
        self._first: Message | None = first
        self._receive = receive
        self._send = send
        self._spoke = False
        self.last: Message | None = None

    async def run(self, scope: Scope) -> None:
        """Until the application has shut down, or failed to start."""
        try:
            await self._app(scope, self._next, self._say)
        except Exception:
            if self._spoke:
                raise
        if not self._spoke:
            # by the specification, an application without lifespan raises or returns: the client has one all the same
            await self._send({"type": "lifespan.startup.complete"})
            await self._receive()  # lifespan.shutdown
            self.last = {"type": "lifespan.shutdown.complete"}

    async def _next(self) -> Message:
        first, self._first = self._first, None
        return await self._receive() if first is None else first

    async def _say(self, message: Message) -> None:
        self._spoke = True
        if message["type"] == "lifespan.startup.complete":
            await self._send(message)
        else:
            self.last = message


def dashboard(
    client: Client | SyncClient,
    *,
    token: str | None = None,
    allow: Callable[[Scope], bool] | None = None,
    events: int = EVENTS,
) -> App:
    """A page that shows what a client does, to be mounted: ``app.mount("/capi", dashboard(client, token=...))``.

    It shows the client of its own process: state, rates, latency, recent events with their way, dead letters, which it
    can replay and erase. From now on the client keeps recent events, see :meth:`~capi_async.client.Client.watch`.

    Args:
        token: Whoever gives it may see the page and use it; 16 characters or more.
        allow: Called with the scope of each request: whether your application lets its sender see the page and use it.
            One of the two is needed; with both, both must agree.
        events: Recent events that are kept.

    Raises:
        ConfigError: Neither is given, or the token is too short.
    """
    # needed by those who mount the page only
    from capi_async.clock import SYSTEM_CLOCK
    from capi_async.dashboard.access import Access
    from capi_async.dashboard.asgi import AsgiDashboard
    from capi_async.dashboard.client_source import ClientSource
    from capi_async.dashboard.site import Dashboard

    if token is None and allow is None:
        raise ConfigError(
            "dashboard(): say who may see it, by token=... (secrets.token_urlsafe() makes one) or by allow=..., "
            "a function of the request's scope"
        )
    access = Access(token, hosts=None, clock=SYSTEM_CLOCK)
    return AsgiDashboard(Dashboard(ClientSource(client, events), access, durable=client.durable), allow)


async def bind_request(
    app: App, client: Client | SyncClient, settings: ContextSettings, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run ``app`` for one request whose code finds its tracker, and set cookies with the response."""
    # a copy: routers of a mounted application change the scope, and the address is that of the whole site
    seen = dict(scope)
    tracker = RequestTracker(client, lambda: RequestContext.from_asgi(seen, settings))
    scope[_KEY] = tracker

    async def send_with_cookies(message: Message) -> None:
        if message["type"] == "http.response.start":
            _add_cookies(message, tracker)
        await send(message)

    token = bound.set(tracker)
    try:
        await app(scope, receive, send_with_cookies if scope["type"] == "http" else send)
    finally:
        bound.reset(token)
        await sent_before_the_end(client)


def tracker_of(scope: Scope) -> RequestTracker:
    """The tracker that :class:`CapiMiddleware` put into a scope.

    Raises:
        ConfigError: The request did not come through it.
    """
    tracker = scope.get(_KEY)
    if not isinstance(tracker, RequestTracker):
        raise ConfigError(
            "this request has no client: give the application lifespan=capi_lifespan(...), which needs a server that "
            "runs lifespans, or wrap it into CapiMiddleware"
        )
    return tracker


def _add_cookies(message: Message, tracker: RequestTracker) -> None:
    if message.get("status") in _BARE_STATUS:
        return
    content_type = cache_control = b""
    lines: list[str] = []
    for name, value in message.get("headers") or ():
        low = name.lower() if type(name) is bytes else bytes(name).lower()
        if low == b"content-type":
            content_type = value
        elif low == b"cache-control":
            cache_control = bytes(cache_control) + b"," + bytes(value)
        elif low == b"set-cookie":
            lines.append(bytes(value).decode("latin-1"))
    cookies = cookies_to_set(
        tracker, bytes(content_type).decode("latin-1"), bytes(cache_control).decode("latin-1"), lines
    )
    if cookies:
        added = [(b"set-cookie", cookie.header().encode("latin-1")) for cookie in cookies]
        message["headers"] = [*(message.get("headers") or ()), *added]
