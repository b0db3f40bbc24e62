"""The page as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from capi_async.dashboard.messages import MAX_BODY, Answer, Asked, plain
from capi_async.dashboard.site import Dashboard

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class AsgiDashboard:
    """Mounts a dashboard: ``app.mount("/capi", AsgiDashboard(...))``."""

    def __init__(self, dashboard: Dashboard, allow: Callable[[Scope], bool] | None = None) -> None:
        self._dashboard = dashboard
        self._allow = allow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            return
        if self._allow is not None and not self._allow(scope):
            answer = plain(403, "You may not see this page.")
        else:
            body = await _body(receive)
            answer = await self._dashboard.answer(_asked(scope, body)) if body is not None else plain(413, "Too long.")
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": _headers(answer),
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    """The whole of it; ``None`` if it is too long to be a form's of ours."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return body


#: Headers of which a request has one: of two, the later does not count, because a proxy may have looked at the first.
_FIRST: Final = frozenset({"host", "origin", "content-type", "authorization", "sec-fetch-site"})


def _asked(scope: Scope, body: bytes) -> Asked:
    headers: dict[str, str] = {}
    for name, value in scope.get("headers") or ():
        key, said = bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")
        if key == "cookie" and key in headers:
            headers[key] += f"; {said}"
        elif key not in headers or key not in _FIRST:
            headers[key] = said
    root = str(scope.get("root_path") or "").rstrip("/")
    path = str(scope.get("path") or "")
    # by the specification the path begins with the root's; older frameworks leave it out
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return Asked(
        method=str(scope.get("method", "GET")).upper(),
        path=path,
        query=bytes(scope.get("query_string") or b"").decode("latin-1"),
        headers=headers,
        body=body,
        secure=scope.get("scheme") == "https",
        mount=root.rpartition("/")[2],
    )
