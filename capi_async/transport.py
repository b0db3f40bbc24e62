"""HTTP by aiohttp. Its errors end here: they carry the URL, and a URL may carry a token."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from capi_async.deadlines import Deadlines, Within
from capi_async.errors import ConfigError, TransportError
from capi_async.outcome import Response
from capi_async.spec import Request, is_loopback

#: More of an answer than this is not read: no platform's is longer, an outage page may be.
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
#: Seconds after which an idle connection carries no request that must not arrive twice: servers close theirs after
#: five or more, and one that is closed while a request is on its way leaves in doubt whether it was read.
FRESH_S: Final = 1.0
#: The same for all others.
KEEP_ALIVE_S: Final = 15.0
#: OpenSSL's code to why it refuses a certificate.
#: Source: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_UNTRUSTED: Final[Mapping[int, str]] = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed",
    19: "the certificate's authority is not known here",
    20: "the certificate's authority is not known here",
    62: "the certificate is of another host",
    64: "the certificate is of another host",
}
USER_AGENT: Final = "capi_async"
#: Slices of a body that are written in one turn of the event loop, if the connection takes that many.
_SLICES_A_TURN: Final = 4


class HttpTransport:
    """Sends requests over one lazily made session.

    Redirects are never followed, cookies never kept, credentials never read from a ``.netrc``.

    What instruments aiohttp as a whole (Sentry and OpenTelemetry do) is kept off the own session: it would export the
    addresses of requests, and some platforms take their credential there.

    Args:
        session: The caller's own session, used as it is and not closed: its trace configs see every address, and its
            connector says how certificates are checked.
        trust_env: Take proxies from the environment (``HTTPS_PROXY``, ``NO_PROXY``); never for a loopback address.
        ssl: A context for private certificate authorities.
        repeats: Let aiohttp send a GET, PUT or DELETE a second time when its connection breaks. Not for who counts
            attempts, or must not send twice; a caller's own session does as it was made to do.

    Raises:
        ConfigError: ``ssl`` would not check certificates, or not whose they are.
    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
        ssl: ssl_module.SSLContext | None = None,
        repeats: bool = True,
    ) -> None:
        if ssl is not None and (not ssl.check_hostname or ssl.verify_mode is not ssl_module.CERT_REQUIRED):
            raise ConfigError(
                "ssl: the context must check certificates and host names (verify_mode=CERT_REQUIRED, "
                "check_hostname=True), or anybody on the way can read the credentials"
            )
        self._given = session
        self._own: dict[bool, aiohttp.ClientSession] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trust_env = trust_env
        #: Of every request; a caller's session may say otherwise of a refusal, and then its answer would be lost.
        self._always: dict[str, Any] = {
            "allow_redirects": False,
            "raise_for_status": False,
            "ssl": True if ssl is None else ssl,
        }
        self._repeats = repeats
        self._deadlines = Deadlines()
        #: Seconds of the latest request, and what aiohttp is told of them.
        self._timeout_s = 0.0
        self._timeout = aiohttp.ClientTimeout()

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        found = await self._exchange(request, timeout_s)
        if isinstance(found, Response):
            return found
        # raised here, where nothing hangs on to what aiohttp raised: its errors hold the address and the headers, and
        # error trackers follow ``__context__`` and read the locals of every frame
        del request
        raise found

    async def _exchange(self, request: Request, timeout_s: float) -> Response | TransportError:
        """The answer, or why there is none; returned, so that its traceback does not begin among the credentials."""
        session = self._session(once=request.once)
        if session.closed:  # the caller's own, closed before we are: nothing can leave
            return TransportError("session", sent=False)
        body = _Body(request.body)
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            # a little less than the whole, so that which of the two ran out tells whether the request had left
            self._timeout = aiohttp.ClientTimeout(total=None, connect=min(CONNECT_TIMEOUT_S, 0.9 * timeout_s))
        headers = {"User-Agent": USER_AGENT, **request.headers}
        if len(request.body) > 1:
            headers["Content-Length"] = str(request.size)
        try:
            proxy = _proxy(request.url) if self._trust_env else None
            # aiohttp would set a timer for each request
            with Within(self._deadlines, timeout_s):
                async with session.request(
                    request.method,
                    request.url,
                    data=body.payload(),
                    headers=headers,
                    timeout=self._timeout,
                    proxy=proxy,
                    **self._always,
                ) as answer:
                    return Response(
                        status=answer.status,
                        body=await _read(answer),
                        headers={name.lower(): value for name, value in answer.headers.items()},
                    )
        except aiohttp.ClientConnectorDNSError:
            return TransportError("dns", sent=False)
        except aiohttp.ClientConnectorCertificateError as error:
            return TransportError("tls", sent=False, why=_untrusted(error.certificate_error))
        except aiohttp.ClientConnectorSSLError:
            return TransportError("tls", sent=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError):
            return TransportError("connect", sent=False)
        except TimeoutError:
            return TransportError("timeout", sent=body.left)
        except (aiohttp.ServerDisconnectedError, OSError):
            return TransportError("reset", sent=body.left)
        except (aiohttp.ClientError, ValueError):
            # includes an answer that is no HTTP: it came, so the request was read
            return TransportError("protocol", sent=body.left)

    async def aclose(self) -> None:
        """Close our own session; a given one is the caller's."""
        self._drop_dead()
        own, self._own = self._own, {}
        for session in own.values():
            await session.close()

    def _session(self, *, once: bool) -> aiohttp.ClientSession:
        """The session to use; our own ones differ in how long an idle connection is used again."""
        if self._given is not None:
            return self._given
        self._drop_dead()
        own = self._own.get(once)
        if own is None or own.closed:
            self._loop = asyncio.get_running_loop()
            own = self._own[once] = aiohttp.ClientSession(
                # the engine bounds what is in flight; a second bound here would make a slow platform queue the others
                connector=aiohttp.TCPConnector(
                    limit=0, ttl_dns_cache=60, keepalive_timeout=FRESH_S if once else KEEP_ALIVE_S
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # instrumentations patch the constructor to add these, and export the address of every request
            own.trace_configs.clear()
            # there is no public switch; aiohttp's own test client uses this one
            own._retry_connection = self._repeats
        return own

    def _drop_dead(self) -> None:
        """Let go of the sessions of a loop that was closed before we were: their sockets ended with it."""
        if self._own and self._loop is not None and self._loop.is_closed():
            for session in self._own.values():
                session.detach()
            self._own = {}


class _Body:
    """Hands out the slices and remembers whether all of them left."""

    __slots__ = ("_slices", "left")

    def __init__(self, slices: Sequence[bytes]) -> None:
        self._slices = slices
        # a single slice leaves together with the headers: once connected, nobody can tell how much of it did
        self.left = len(slices) <= 1

    def payload(self) -> bytes | AsyncIterator[bytes] | None:
        if not self._slices:
            return None
        return self._slices[0] if len(self._slices) == 1 else self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        last = len(self._slices) - 1
        for index, piece in enumerate(self._slices):
            if index and index % _SLICES_A_TURN == 0:
                await asyncio.sleep(0)
            # marked before the last slice is written: a server that has all but that cannot have read the whole
            self.left = index == last
            yield piece


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, up to a bound; what came of it if the rest never does, for the status already says much."""
    parts: list[bytes] = []
    size = 0
    try:
        content = answer.content
        while not content.at_eof() and (part := await content.readany()):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                answer.close()
                break
    except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
        if answer.status < 300:
            # half of a 2xx must not pass for a whole one
            return b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _untrusted(error: BaseException) -> str:
    """Why a certificate was refused, in our own words: OpenSSL's quote what the other side has sent."""
    return _UNTRUSTED.get(getattr(error, "verify_code", 0), "the certificate is not trusted")


def _proxy(url: str) -> str | None:
    """The environment's proxy for this address, without the ``.netrc`` that aiohttp's own ``trust_env`` would read.

    None for a loopback address: it is there that plain http is allowed, and a proxy would read the credential.
    """
    parts = urlsplit(url)
    if parts.hostname is None or is_loopback(parts.hostname) or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
