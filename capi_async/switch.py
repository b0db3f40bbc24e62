"""What a client works with that must not reach a platform."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from msgspec.structs import replace

from capi_async.clock import Clock
from capi_async.destinations.hosts import is_platform
from capi_async.destinations.registry import SANDBOX_TOKEN, row_of
from capi_async.errors import ConfigError, TransportError
from capi_async.modes import MODE_VARIABLE, Mode
from capi_async.outcome import Response
from capi_async.sandbox import Sandbox
from capi_async.sandbox.platforms import platforms
from capi_async.spec import Destination, Request, Transport

logger = logging.getLogger(__name__)

#: Where the sandbox inside the process has its addresses: a name that no resolver knows, by RFC 2606.
_INSIDE: Final = "https://sandbox.invalid"


class Switched(NamedTuple):
    """What a client works with in another mode than ``live``.

    Attributes:
        transport: Instead of HTTP; ``None``: HTTP, to the sandbox at an address of its own.
        sandbox: The one inside the process, if it is used.
        off: Names of destinations that nothing is sent to.
    """

    destinations: tuple[Destination, ...]
    transport: Transport | None
    sandbox: Sandbox | None
    off: frozenset[str]


def switched(mode: Mode, destinations: Sequence[Destination], sandbox_url: str | None, clock: Clock) -> Switched:
    """The destinations of a client that must not reach a platform.

    In the sandbox every credential is replaced by the sandbox's, so that none leaves the process. A destination that
    the sandbox does not play is off.

    Args:
        sandbox_url: A sandbox that runs elsewhere, such as ``http://127.0.0.1:8787``; ``None``: one in this process.

    Raises:
        ConfigError: ``sandbox_url`` is no address that a destination may have.
    """
    names = frozenset(one.name for one in destinations)
    if mode == "off":
        logger.warning(
            "the client's mode is 'off': events are checked and prepared, and nothing is sent; unset %s (or "
            "mode='live') to send",
            MODE_VARIABLE,
            extra={"mode": mode},
        )
        return Switched(tuple(destinations), None, None, names)
    types = {platform.name for platform in platforms()}
    played = frozenset(one.name for one in destinations if one.type in types)
    logger.warning(
        "the client's mode is 'sandbox': events go to %s and not to the platforms%s; unset %s (or mode='live') to send",
        sandbox_url or "a sandbox in this process",
        f"; the sandbox does not play {', '.join(sorted(names - played))}, which is off" if names - played else "",
        MODE_VARIABLE,
        extra={"mode": mode},
    )
    base_url = (sandbox_url or _INSIDE).strip().rstrip("/")
    host = urlsplit(base_url).hostname or ""
    if is_platform(host):
        raise ConfigError(f"sandbox_url leads to {host}, which is a platform's own host and no sandbox")
    moved = tuple(_moved(one, base_url) if one.name in played else one for one in destinations)
    if sandbox_url is not None:
        return Switched(moved, None, None, names - played)
    sandbox = Sandbox(rates=dict.fromkeys(types), clock=clock)
    return Switched(moved, _Inside(sandbox), sandbox, names - played)


def _moved(destination: Destination, base_url: str) -> Destination:
    row = row_of(destination.type)
    faster = {name: value for name, value in row.sandbox.items() if getattr(destination, name) is None}
    return replace(
        destination,
        **{"base_url": "", row.address: f"{base_url}/{destination.type}", row.credential: SANDBOX_TOKEN},
        **row.played,
        **faster,
    )


class _Headers(UserDict[str, str]):
    """Headers by their names, whatever the case."""

    def __setitem__(self, name: str, text: str) -> None:
        super().__setitem__(name.lower(), text)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())


class _Inside:
    """Hands requests to a sandbox in this process, without a socket; anything else does not leave."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != _INSIDE:
            raise TransportError("connect", sent=False)
        reply = self._sandbox.answer(
            request.method,
            parts.path,
            b"".join(request.body),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=_Headers(request.headers),
        )
        headers = {"content-type": reply.content_type, **{name.lower(): text for name, text in reply.headers.items()}}
        return Response(status=reply.status, body=reply.body, headers=headers)
