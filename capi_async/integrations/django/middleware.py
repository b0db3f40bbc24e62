"""The middleware for sync and async views, with streaming responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import request_finished

from capi_async.context import ContextSettings, RequestContext
from capi_async.integrations.django.client import client, how_to_read
from capi_async.integrations.tracker import (
    BlockingTracker,
    cookies_to_set,
    sent_before_the_end_blocking,
)

_BARE_STATUS: Final = (204, 304)


class CapiMiddleware:
    """Gives each request ``request.capi``, and sets cookies with its response. Put it first in ``MIDDLEWARE``.

    ``request.capi.send(...)`` blocks, as Django's own calls to a database do; in an async view,
    ``await request.capi.asend(...)``. ``track(...)`` is for both.

    Raises:
        ConfigError: When the server loads the application: a setting is malformed, or there is no account.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._settings = how_to_read()
        request_finished.connect(_finished, dispatch_uid="capi_async")
        client()  # a missing setting is told when the server starts; its thread starts with the first event
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self._answered(request)
        self._bind(request)
        return _with_cookies(request, self._get_response(request))

    async def _answered(self, request: Any) -> Any:
        self._bind(request)
        return _with_cookies(request, await self._get_response(request))

    def _bind(self, request: Any) -> None:
        request.capi = BlockingTracker(client(), lambda: context_of(request, self._settings))


def _finished(**_news: Any) -> None:
    """A response has been given whole, streams included; Django says so in a thread where blocking is right."""
    sent_before_the_end_blocking(client())


def context_of(request: Any, settings: ContextSettings | None = None) -> RequestContext:
    """What a request says of its visitor, under WSGI and ASGI alike."""
    settings = how_to_read() if settings is None else settings
    scope = getattr(request, "scope", None)
    if scope is not None:
        return RequestContext.from_asgi(scope, settings)
    return RequestContext.from_wsgi(request.META, settings)


def _with_cookies(request: Any, response: Any) -> Any:
    if response.status_code in _BARE_STATUS:
        return response
    cookies = cookies_to_set(
        request.capi,
        response.headers.get("Content-Type", ""),
        response.headers.get("Cache-Control", ""),
        [f"{name}=" for name in response.cookies],
    )
    for cookie in cookies:
        response.set_cookie(
            cookie.name,
            cookie.value,
            max_age=cookie.max_age_s,
            path=cookie.path,
            domain=cookie.domain,
            secure=cookie.secure,
            httponly=cookie.http_only,
            samesite=cookie.same_site,
        )
    return response
