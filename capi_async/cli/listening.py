"""A small HTTP port beside the work of a process: whoever reaches it must not be able to stop that work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from capi_async.errors import ConfigError
from capi_async.spec import is_loopback

#: Connections at once; for one more, the oldest is closed. Descriptors are what deliveries need as well.
MAX_CONNECTIONS: Final = 64
#: Seconds that a connection lives: for its one request, the answer, and nothing else.
LIFE_S: Final = 10.0

Handler: TypeAlias = Callable[[Any], Awaitable[web.StreamResponse]]


class _Bounded(web.Server):
    """A server with few and short connections."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, access_log=None)
        self._ends: dict[Any, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._ends) >= MAX_CONNECTIONS:
            oldest, end = self._ends.pop(next(iter(self._ends)))
            end.cancel()
            oldest.abort()
        end = asyncio.get_running_loop().call_later(LIFE_S, transport.abort)
        self._ends[handler] = (transport, end)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if found := self._ends.pop(handler, None):
            found[1].cancel()


async def listen(
    routes: Mapping[tuple[str, str], Handler], host: str, port: int, *, local_names_only: bool = False
) -> web.ServerRunner:
    """Serve these methods and paths until the runner is cleaned up; each connection carries one request.

    Args:
        local_names_only: On a loopback address, refuse requests that name another host: a web page could reach the
            port under a name of its own.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    checked = local_names_only and is_loopback(host.strip("[]"))

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        route = routes.get((request.method, request.path))
        if checked and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            response: web.StreamResponse = web.Response(status=403, text="this port is for this machine\n")
        elif route is None:
            response = web.Response(status=404)
        else:
            response = await route(request)
        response.force_close()
        return response

    runner = web.ServerRunner(_Bounded(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror or type(error).__name__})") from None
    return runner
