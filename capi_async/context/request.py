"""What is read of one HTTP request, whatever framework it came through: headers, cookies, query, who connected.

Bytes become text as HTTP has it (Latin-1): what is UTF-8 inside is looked at where a value has a form of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote

from msgspec import Struct

Headers: TypeAlias = Mapping[str, str | Sequence[str]]

#: More cookies and parameters than any page sets; what comes after them is not looked at.
_MAX_PARTS: Final = 1_000
#: What stands for itself in the path of an address.
_PATH_SAFE: Final = "/:@!$&'()*+,;=-._~"
#: Characters that end a URL, and that a browser would not have sent.
_CONTROLS: Final = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}\u0080-\U0010ffff]+")


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """One request as it reached the application; its repr shows nothing of it.

    Attributes:
        headers: Names in small letters, each with its lines in their order.
        cookies: Names with their values in the order they came; a name may come several times.
        query: The query as it was sent, without the question mark.
        peer: The address of whoever connected; ``None`` with a socket of the file system.
        scheme, host, path: As the application's server saw them; ``path`` is encoded.
    """

    headers: Mapping[str, tuple[str, ...]]
    cookies: Mapping[str, tuple[str, ...]]
    query: str = ""
    peer: str | None = None
    scheme: str = "http"
    host: str = ""
    path: str = "/"

    def header(self, name: str) -> str | None:
        """The first line of a header that is not empty, without outer white space."""
        return _first(self.headers, name) or None

    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """The query's parameters by their names in small letters; values are decoded once."""
        return parameters(self.query)

    def __repr__(self) -> str:
        return f"Request({len(self.headers)} headers, {len(self.cookies)} cookies)"


def from_asgi(scope: Mapping[str, Any]) -> Request:
    """Read an ASGI scope of the type ``http`` or ``websocket``.

    Raises:
        ValueError: A scope of another type, such as ``lifespan``: there is no visitor.
    """
    if scope.get("type") not in ("http", "websocket"):
        raise ValueError("a request context needs an ASGI scope of the type http or websocket")
    headers = _headers(scope.get("headers") or ())
    client, server = scope.get("client"), scope.get("server")
    scheme = str(scope.get("scheme") or "http").lower()
    host = _first(headers, "host") or (_authority(server) if server else "")
    return Request(
        headers=headers,
        cookies=read_cookies(headers.get("cookie", ())),
        query=_text(scope.get("query_string") or b""),
        peer=str(client[0]) if client and client[0] else None,
        scheme={"ws": "http", "wss": "https"}.get(scheme, scheme),
        host=host,
        path=_asgi_path(scope),
    )


def from_wsgi(environ: Mapping[str, Any]) -> Request:
    """Read a WSGI environ."""
    headers = _headers(
        (key[5:].replace("_", "-"), str(value)) for key, value in environ.items() if str(key).startswith("HTTP_")
    )
    path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
    port = str(environ.get("SERVER_PORT") or "")
    server = (environ.get("SERVER_NAME"), port)
    return Request(
        headers=headers,
        cookies=read_cookies(headers.get("cookie", ())),
        query=str(environ.get("QUERY_STRING") or ""),
        peer=str(environ.get("REMOTE_ADDR") or "") or None,
        scheme=str(environ.get("wsgi.url_scheme") or "http").lower(),
        host=_first(headers, "host") or (_authority(server) if server[0] else ""),
        path=quote(path, safe=_PATH_SAFE, encoding="latin-1", errors="replace") or "/",
    )


def from_parts(
    url: str = "", *, headers: Headers | None = None, cookies: Mapping[str, str] | None = None, peer: str | None = None
) -> Request:
    """Read plain values: the address as the server saw it, headers, cookies if they are not among the headers."""
    found = _headers(
        (str(name), str(value))
        for name, values in (headers or {}).items()
        for value in ((values,) if isinstance(values, str) else values)
    )
    jar = dict(read_cookies(found.get("cookie", ())))
    for name, value in (cookies or {}).items():
        jar[str(name)] = (str(value),)
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "http", url if url.startswith("/") else ""
    rest = rest.partition("#")[0]
    before, _, query = rest.partition("?")
    host, slash, path = before.partition("/")
    return Request(
        headers=found,
        cookies=jar,
        query=query,
        peer=peer or None,
        scheme=scheme.lower(),
        host=host.rpartition("@")[2] or _first(found, "host"),
        path=clean_url(f"{slash}{path}") or "/",
    )


def read_cookies(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names and values of ``Cookie`` headers; what is no pair is passed over, quotes around a value are cut."""
    jar: dict[str, tuple[str, ...]] = {}
    left = _MAX_PARTS
    for line in lines:
        for pair in line.split(";", left)[:left]:
            left -= 1
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            if not equals or not name:
                continue
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            jar[name] = (*jar.get(name, ()), value)
        if left <= 0:
            break
    return jar


def parameters(query: str) -> Mapping[str, tuple[str, ...]]:
    """A query's parameters by their names in small letters; values are decoded once, and nothing else is done to them.

    A plus sign stays: the ids that are looked for hold no blanks.
    """
    found: dict[str, tuple[str, ...]] = {}
    if not query:
        return found
    for part in query.split("&", _MAX_PARTS)[:_MAX_PARTS]:
        name, equals, value = part.partition("=")
        if equals and value:
            key = unquote(name).lower()
            found[key] = (*found.get(key, ()), unquote(value))
    return found


def clean_url(text: str) -> str:
    """``text`` with what no address holds as it stands written as percent codes; the rest stays byte for byte."""
    return _CONTROLS.sub(lambda match: quote(match[0], safe="", errors="replace"), text)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _headers(pairs: Iterable[tuple[object, object]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        key, text = _text(name).lower(), _text(value)
        found[key] = (*found[key], text) if key in found else (text,)
    return found


def _first(headers: Mapping[str, tuple[str, ...]], name: str) -> str:
    for line in headers.get(name, ()):
        if text := line.strip():
            return text
    return ""


def _authority(server: Sequence[Any]) -> str:
    host, port = str(server[0]), server[1] if len(server) > 1 else None
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{host}:{port}" if port else host


def _asgi_path(scope: Mapping[str, Any]) -> str:
    """The path from the root of the site on, as it was sent where the server says so, else encoded again."""
    root = str(scope.get("root_path") or "").rstrip("/")
    raw = scope.get("raw_path")
    path = (
        _text(raw).partition("?")[0] if raw else quote(str(scope.get("path") or "/"), safe=_PATH_SAFE, errors="replace")
    )
    if root:
        encoded_root = quote(root, safe=_PATH_SAFE, errors="replace")
        # by the specification the path begins with the root; some servers and older frameworks leave it away
        if not (path == encoded_root or path.startswith(f"{encoded_root}/")):
            path = f"{encoded_root}{path}"
    return clean_url(path)
