"""What a request's code sends events with: the client, and what the request says of its visitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeAlias, TypeVar

from capi_async.client import Client
from capi_async.context import ContextSettings, Cookie, RequestContext
from capi_async.engine.receipt import Receipt
from capi_async.errors import CapiError, ConfigError
from capi_async.event import Event, Hashed, User
from capi_async.log import Log
from capi_async.sync import SyncClient, SyncReceipt

logger = Log(__name__)

_UNSENT: Final = "what a request handed in could not be sent before its end: %s; the next request tries again"

Identity: TypeAlias = str | Hashed | Sequence[str | Hashed]
Trusted: TypeAlias = int | Sequence[str]
AnyClient = TypeVar("AnyClient", Client, SyncClient, Client | SyncClient)


class _Tracker(Generic[AnyClient]):
    """A client with the context of one request, which is read when it is first needed.

    Attributes:
        client: For everything else, such as ``client.ledger()``.
    """

    __slots__ = ("_context", "_read", "client")

    def __init__(self, client: AnyClient, read: Callable[[], RequestContext]) -> None:
        self.client: AnyClient = client
        self._read = read
        self._context: RequestContext | None = None

    @property
    def context(self) -> RequestContext:
        """The visitor: address, browser, page, click ids, consent."""
        if self._context is None:
            self._context = self._read()
        return self._context

    @property
    def was_used(self) -> bool:
        """Whether anybody has looked at the context so far."""
        return self._context is not None

    def event(
        self,
        name: str,
        *,
        email: Identity | None = None,
        phone: Identity | None = None,
        external_id: Identity | None = None,
        user: User | None = None,
        **event_fields: Any,
    ) -> Event:
        """An event of this visitor, not sent yet. What is given wins over what the request says.

        Raises:
            EventError: As :class:`~capi_async.Event`; also for an email that is given twice.
        """
        return self.context.event(name, email=email, phone=phone, external_id=external_id, user=user, **event_fields)

    def track(
        self,
        name: str,
        *,
        email: Identity | None = None,
        phone: Identity | None = None,
        external_id: Identity | None = None,
        user: User | None = None,
        **event_fields: Any,
    ) -> None:
        """Hand in one event from any thread; never raises and never waits: what cannot be taken is counted and logged.

        See :meth:`Client.track`.
        """
        try:
            event = self.event(name, email=email, phone=phone, external_id=external_id, user=user, **event_fields)
        except Exception as error:  # never raises, whatever was given to it
            self.client.note_untracked(error)
        else:
            self.client.track(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.client!r})"


class RequestTracker(_Tracker[Client | SyncClient]):
    """Sends events of one visitor; for hosts with an event loop."""

    __slots__ = ()

    async def send(
        self,
        name: str,
        *,
        email: Identity | None = None,
        phone: Identity | None = None,
        external_id: Identity | None = None,
        user: User | None = None,
        timeout_s: float = 5.0,
        **event_fields: Any,
    ) -> Receipt:
        """Accept one event; on return it is in the spool. In a route that is not ``async``, use :meth:`track`.

        Args:
            name: As in :class:`~capi_async.Event`; ``event_fields`` are its other fields.
            email, phone, external_id: Short for ``user=User(email=...)``.
            timeout_s: Seconds to wait for room.

        Raises:
            EventError, QueueFull, SpoolError, ClientClosed: As :meth:`Client.send`.
        """
        event = self.event(name, email=email, phone=phone, external_id=external_id, user=user, **event_fields)
        client = self.client
        if isinstance(client, SyncClient):
            return await client.asend(event, timeout_s=timeout_s)
        return await client.send(event, timeout_s=timeout_s)


class BlockingTracker(_Tracker[SyncClient]):
    """Sends events of one visitor; for hosts whose code runs in threads. ``asend`` is for their async views."""

    __slots__ = ()

    def send(
        self,
        name: str,
        *,
        email: Identity | None = None,
        phone: Identity | None = None,
        external_id: Identity | None = None,
        user: User | None = None,
        timeout_s: float = 5.0,
        **event_fields: Any,
    ) -> SyncReceipt:
        """Accept one event; on return it is in the spool. Blocks: in an async view, ``await asend(...)``.

        Raises:
            EventError, QueueFull, SpoolError, ClientClosed: As :meth:`Client.send`.
        """
        event = self.event(name, email=email, phone=phone, external_id=external_id, user=user, **event_fields)
        return self.client.send(event, timeout_s=timeout_s)

    async def asend(
        self,
        name: str,
        *,
        email: Identity | None = None,
        phone: Identity | None = None,
        external_id: Identity | None = None,
        user: User | None = None,
        timeout_s: float = 5.0,
        **event_fields: Any,
    ) -> Receipt:
        """As :meth:`send`, without blocking the event loop of an async view."""
        event = self.event(name, email=email, phone=phone, external_id=external_id, user=user, **event_fields)
        return await self.client.asend(event, timeout_s=timeout_s)


#: The tracker of the request that runs here.
bound: Final[ContextVar[RequestTracker]] = ContextVar("capi_async_tracker")


def current_tracker() -> RequestTracker:
    """The tracker of the request that runs here, wherever in its code: for hosts without dependency injection.

    Raises:
        ConfigError: No request runs here, or it did not come through the middleware.
    """
    tracker = bound.get(None)
    if tracker is None:
        raise ConfigError(
            "no request runs here that came through CapiMiddleware: add it to the application, and send events of "
            "no request with the client itself"
        )
    return tracker


async def sent_before_the_end(client: Client | SyncClient) -> None:
    """The last act of a request in the profile ``serverless``: what it handed in leaves while the process runs."""
    if client.profile == "server":
        return
    try:
        await (client.aflush() if isinstance(client, SyncClient) else client.flush())
    except CapiError as error:
        logger.warning(_UNSENT, error)


def sent_before_the_end_blocking(client: SyncClient) -> None:
    """The same, for hosts whose code runs in threads."""
    if client.profile == "server":
        return
    try:
        client.flush()
    except CapiError as error:
        logger.warning(_UNSENT, error)


def request_settings(settings: ContextSettings | None, trusted_proxies: Trusted) -> ContextSettings:
    """How requests are read: whole settings, or the one of them that almost everybody needs.

    Raises:
        ConfigError: Both are given, or one is malformed.
    """
    if settings is None:
        return ContextSettings(trusted_proxies=trusted_proxies)
    if trusted_proxies != 0:
        raise ConfigError("trusted_proxies: is given twice; put it into settings=ContextSettings(trusted_proxies=...)")
    return settings


def cookies_to_set(
    tracker: RequestTracker | BlockingTracker, content_type: str, cache_control: str, set_already: Sequence[str]
) -> Sequence[Cookie]:
    """Which cookies a response carries: those of its visitor, on pages and wherever the tracker was used.

    None with what a shared cache may keep and give to others (``Cache-Control: public`` or ``s-maxage``), and none that
    the application sets itself.

    Args:
        set_already: The ``Set-Cookie`` lines of the response.
    """
    if not tracker.was_used and not content_type.lstrip().lower().startswith("text/html"):
        return ()
    caching = cache_control.lower()
    if "public" in caching or "s-maxage" in caching:
        return ()
    cookies = tracker.context.cookies()
    if cookies and set_already:
        names = {line.partition("=")[0].strip() for line in set_already}
        return [cookie for cookie in cookies if cookie.name not in names]
    return cookies
