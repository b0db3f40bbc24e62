"""The page on a port of its own."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from capi_async.dashboard.messages import MAX_BODY, Asked, plain
from capi_async.dashboard.site import Dashboard
from capi_async.errors import ConfigError

#: Seconds that a connection without a request is kept.
_IDLE_S: Final = 15.0


async def listen(dashboard: Dashboard, host: str, port: int) -> web.ServerRunner:
    """Serve until the runner is cleaned up.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = b""
        if request.body_exists:
            # one more than is taken, so that a longer one is known to be
            body = await request.content.read(MAX_BODY + 1)
            while len(body) <= MAX_BODY and not request.content.at_eof():
                body += await request.content.read(MAX_BODY + 1 - len(body))
        if len(body) > MAX_BODY:
            made = plain(413, "Too long.")
        else:
            made = await dashboard.answer(
                Asked(
                    method=request.method,
                    path=request.path,
                    query=request.rel_url.raw_query_string,
                    headers={name.lower(): value for name, value in reversed(list(request.headers.items()))},
                    body=body,
                )
            )
        return web.Response(status=made.status, headers=dict(made.headers), body=made.body)

    server = web.Server(answer, access_log=None, keepalive_timeout=_IDLE_S)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror or type(error).__name__})") from None
    return runner
