"""Flask: a client for each process, and ``capi``, the tracker of the request that runs.

Capi(app, SyncClient.from_env, trusted_proxies=1)

@app.post("/checkout")
def checkout():
    capi.send("purchase", value="72.39", currency="EUR", order_id="1001")
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

from capi_async.context import ContextSettings, RequestContext
from capi_async.errors import ConfigError
from capi_async.integrations.tracker import (
    BlockingTracker,
    Trusted,
    cookies_to_set,
    request_settings,
    sent_before_the_end_blocking,
)
from capi_async.integrations.wsgi import BlockingOrFactory, OnePerProcess
from capi_async.sync import SyncClient

try:
    from flask import Flask, Response, current_app, g, request
    from werkzeug.local import LocalProxy
except ImportError:
    raise ImportError("capi_async.integrations.flask needs Flask: pip install flask") from None

_NAME: Final = "capi_async"


class Capi:
    """The extension: ``Capi(app)``, or ``Capi()`` and later ``init_app(app)``.

    Args:
        app: The application.
        client: A client, or a function or classmethod that makes one, in each process; by default the environment's
            accounts. A ``SyncClient`` that stands in ``app.config["CAPI_CLIENT"]`` takes its place, for tests.
        trusted_proxies: How many proxies of your own every request passes, or their networks; see
            :class:`~capi_async.context.ContextSettings`, which ``settings`` takes as a whole.

    Raises:
        ConfigError: A setting is malformed.
    """

    def __init__(
        self,
        app: Flask | None = None,
        client: BlockingOrFactory = SyncClient.from_env,
        *,
        trusted_proxies: Trusted = 0,
        settings: ContextSettings | None = None,
    ) -> None:
        self._client = OnePerProcess(client)
        self._settings = request_settings(settings, trusted_proxies)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve an application."""
        app.extensions[_NAME] = self
        app.after_request(self._set_cookies)

    def client(self, app: Flask) -> SyncClient:
        """The client of this process."""
        preset = app.config.get("CAPI_CLIENT")
        if preset is None:
            return self._client()
        if not isinstance(preset, SyncClient):
            raise ConfigError(f"CAPI_CLIENT: needs a SyncClient, not {type(preset).__name__}")
        return preset

    def tracker(self, app: Flask) -> BlockingTracker:
        """The tracker of the request that runs; one for the whole of it."""
        found: BlockingTracker | None = g.get(_NAME)
        if found is None:
            environ = request.environ
            found = BlockingTracker(self.client(app), lambda: RequestContext.from_wsgi(environ, self._settings))
            setattr(g, _NAME, found)
        return found

    def _set_cookies(self, response: Response) -> Response:
        # when the response has been given whole: a stream may still hand something in
        response.call_on_close(partial(sent_before_the_end_blocking, self.client(cast("Any", current_app))))
        if response.status_code in (204, 304):
            return response
        cookies = cookies_to_set(
            self.tracker(cast("Any", current_app)),
            response.headers.get("Content-Type", ""),
            ",".join(response.headers.getlist("Cache-Control")),
            response.headers.getlist("Set-Cookie"),
        )
        for cookie in cookies:
            response.headers.add("Set-Cookie", cookie.header())
        return response


def _current() -> BlockingTracker:
    extension = current_app.extensions.get(_NAME)
    if not isinstance(extension, Capi):
        raise ConfigError("this application has no client: Capi(app) comes first")
    return extension.tracker(cast("Any", current_app))


#: The tracker of the request that runs: ``capi.send(...)``, ``capi.track(...)``; in an async view
#: ``await capi.asend(...)``.
capi: BlockingTracker = cast("BlockingTracker", LocalProxy(_current))
