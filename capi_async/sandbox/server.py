"""The sandbox's server: one port, one prefix per platform, and ``/_sandbox`` for whoever steers it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
from aiohttp import web

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.nearest import nearest
from capi_async.pages.assets import ASSET_CACHE, ASSETS
from capi_async.pages.guard import PAGE_HEADERS
from capi_async.sandbox.admin import ADMIN, administer, error_reply
from capi_async.sandbox.arrivals import Arrival, Arrivals, Stats
from capi_async.sandbox.buttons import ACTIONS, press
from capi_async.sandbox.checks import MB
from capi_async.sandbox.faults import EVERY, Fault, Faults, Kind
from capi_async.sandbox.page import Chosen, sandbox_page
from capi_async.sandbox.platforms import platforms
from capi_async.sandbox.platforms.base import TOKEN, Call, Reply, Service
from capi_async.sandbox.platforms.tiktok_shop import TikTokShop
from capi_async.sandbox.rates import Rate

# Above every platform's own limit, so that the platform answers 413 in its own words.
_MAX_BODY = 32 * MB
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_NEWEST_SHOWN = 50
# Among so many arrivals is looked for those that the page is to show; characters of a text that is looked for.
_LOOKED_AT, _LONGEST_TEXT = 5_000, 200
_HTML_ERROR = (
    b"<!doctype html><html><head><title>Error</title></head><body><h1>Temporarily unavailable</h1></body></html>"
)

RateSetting = Rate | int | None


class Sandbox:
    """Every platform on one local port, strict, and with faults on demand.

    Use it as ``async with Sandbox() as sandbox``, or call ``start()`` and ``aclose()``.

    Args:
        seed: Seeds the faults' choices and the generated ids: the same requests, per platform in the same order, meet
            the same fate and get the same answers.
        host: Address to bind to.
        port: Port to bind to; 0 takes a free one.
        rates: Request rate limits instead of the documented ones, by platform: a ``Rate``, a number of requests in the
            documented period (a minute where none is documented), or ``None`` for no limit.
        readings: Other answers to questions that no source settles, by platform; see each platform's module.
        max_arrivals: Arrivals remembered per platform, newest first kept. Counters go on beyond it, and ``dropped()``
            says how many it cost.
        keep_events: Bodies remembered per platform: all of the remembered arrivals, none, or the newest so many.
        keep_bytes: Bytes of bodies remembered, over all platforms.
        poison: Events whose bytes hold this text are refused with the platform's own validation error.
        allowed_hosts: Host names accepted beside ``localhost``, ``127.0.0.1``, ``[::1]`` and ``host``.
        clock: Wall time for ages and de-duplication windows, monotonic time for rates.

    Raises:
        ValueError: An unknown platform, reading or rate.
    """

    def __init__(
        self,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        rates: Mapping[str, RateSetting] | None = None,
        readings: Mapping[str, str | Collection[str]] | None = None,
        max_arrivals: int = 200_000,
        keep_events: bool | int = True,
        keep_bytes: int = 512 * MB,
        allowed_hosts: Collection[str] = (),
        poison: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        chosen = {name: frozenset({it} if isinstance(it, str) else it) for name, it in (readings or {}).items()}
        self._hosts = {name.lower() for name in (*_LOCAL, host, f"[{host}]", *allowed_hosts)}
        self._platforms: dict[str, Service] = {
            kind.name: kind(seed=seed, readings=chosen.pop(kind.name, frozenset()), poison=poison)
            for kind in platforms()
        }
        self._shop = TikTokShop(
            seed=seed, readings=chosen.pop(TikTokShop.name, frozenset()), local_hosts=self._hosts, clock=clock
        )
        self._platforms[TikTokShop.name] = self._shop
        for name in chosen:
            self._platform(name)
        self._arrivals = Arrivals(max_arrivals=max_arrivals, keep_events=keep_events, keep_bytes=keep_bytes)
        self._faults = Faults(seed)
        self._runner: web.ServerRunner | None = None
        self._closing = asyncio.Event()
        for name, rate in (rates or {}).items():
            self.set_rate(name, rate)

    # Lifecycle.

    async def start(self) -> None:
        """Bind the port and begin to answer."""
        if self._runner is not None:
            raise RuntimeError("the sandbox has been started already")
        self._closing = asyncio.Event()
        # handler_cancellation frees a hung request when its client goes away.
        server = web.Server(
            self._serve, request_factory=_request, handler_cancellation=True, access_log=None, read_bufsize=1 << 20
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=1_024).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._shop.webhooks.start()

    async def aclose(self) -> None:
        """Stop answering; hung requests are dropped. What arrived stays readable."""
        self._closing.set()
        await self._shop.webhooks.aclose()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # From Python.

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def base_url(self) -> str:
        """``http://host:port``, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return (
            f"http://[{host}]:{self._port}"
            if ":" in host and not host.startswith("[")
            else f"http://{host}:{self._port}"
        )

    @property
    def platforms(self) -> tuple[str, ...]:
        """The prefixes served."""
        return tuple(self._platforms)

    def readings(self, platform: str) -> Mapping[str, str]:
        """What ``readings`` may hold for a platform: names, and what each changes.

        Raises:
            ValueError: An unknown platform.
        """
        return self._platform(platform).readings

    def url(self, platform: str) -> str:
        """A platform's base URL, without a trailing slash."""
        return f"{self.base_url}/{self._platform(platform).name}"

    @property
    def tiktok_shop(self) -> TikTokShop:
        """The TikTok Shop: its orders, tokens and webhooks; see ``capi_async.sandbox.platforms.tiktok_shop``."""
        return self._shop

    def arrivals(self, platform: str | None = None) -> list[Arrival]:
        """What arrived, in order, at one platform or at all."""
        return self._arrivals.of(None if platform is None else self._platform(platform).name)

    def dropped(self, platform: str | None = None) -> int:
        """Arrivals that ``max_arrivals`` made the record forget since it was last emptied."""
        return self._arrivals.dropped(None if platform is None else self._platform(platform).name)

    def stats(self) -> dict[str, Stats]:
        """The counters by platform."""
        return {name: msgspec.structs.replace(it.tally.stats) for name, it in self._platforms.items()}

    def details(self) -> dict[str, dict[str, Any]]:
        """The counters by platform, and what lies beyond them: ``rejected``, ``test``, ``counted_twice`` (copies that a
        platform without a key would count again), ``refused_requests``, ``faults``, ``unknown_keys``, ``warnings``,
        ``reasons`` (rejected events by field) and ``dropped`` (of the record of arrivals, and emptied with it)."""
        return {
            name: {**it.tally.detail(), "dropped": self._arrivals.dropped(name)} for name, it in self._platforms.items()
        }

    def fault(
        self,
        platform: str,
        kind: Kind,
        *,
        status: int = 503,
        rate: float = 1.0,
        retry_after_s: float | None = None,
        latency_s: float = 1.0,
        count: int | None = None,
        after: bool = False,
        body: Any = None,
        path: str = "",
    ) -> Fault:
        """Make requests go wrong from now on; see ``Fault`` for what each argument does.

        Raises:
            ValueError: An unknown platform or kind, or a number out of its range.
        """
        fault = Fault(
            platform=platform,
            kind=kind,
            status=status,
            rate=rate,
            retry_after_s=retry_after_s,
            latency_s=latency_s,
            count=count,
            after=after,
            body=body,
            path=path,
        )
        self.add_fault(fault)
        return fault

    def add_fault(self, fault: Fault) -> None:
        """As ``fault()``, with the fault made already."""
        if fault.platform != EVERY:
            self._platform(fault.platform)
        self._faults.add(fault)

    def faults(self) -> list[Fault]:
        """The active faults."""
        return list(self._faults)

    def remove_fault(self, number: int) -> None:
        """Take one fault away, by the number that the page shows it under; nothing happens if it is gone."""
        self._faults.remove(number)

    def clear_faults(self) -> None:
        """Let every request go right again."""
        self._faults.clear()

    def set_rate(self, platform: str, rate: RateSetting) -> None:
        """Set a platform's request rate limit: a ``Rate``, a number per documented period, or ``None`` for no limit."""
        target = self._platform(platform)
        if isinstance(rate, int):
            rate = Rate(rate, target.rate.per_s if target.rate else 60.0)
        target.set_rate(rate)

    def rates(self) -> dict[str, Rate | None]:
        """The rate limits in force."""
        return {name: it.windows.rate if it.windows else None for name, it in self._platforms.items()}

    def reset_rates(self) -> None:
        """Back to the documented limits."""
        for platform in self._platforms.values():
            platform.set_rate(platform.rate)

    def clear_arrivals(self) -> None:
        """Forget the recorded arrivals; counters and de-duplication keys stay."""
        self._arrivals.clear()

    def clear_stats(self) -> None:
        """Count from zero; arrivals and de-duplication keys stay."""
        for platform in self._platforms.values():
            platform.tally.zero()

    def clear(self) -> None:
        """Forget arrivals, counters, de-duplication keys and stored associations; faults and rates stay.

        The TikTok Shop begins anew, with its demo data.
        """
        self._arrivals.clear()
        for platform in self._platforms.values():
            platform.clear()

    def page(self, platform: str | None = None, *, verdict: str = "", text: str = "", still: bool = False) -> str:
        """The HTML page at ``/``.

        Args:
            platform: Its newest events are those of this one (of all, if it is not served here).
            verdict: ``accepted`` or ``refused``: only these.
            text: Only those whose body, account or reason holds this.
            still: The page does not load itself anew.
        """
        chosen = Chosen(
            platform=platform if platform in self._platforms else "",
            verdict=verdict if verdict in ("accepted", "refused") else "",
            text=text.strip()[:_LONGEST_TEXT],
            still=still,
        )
        looked_at = self._arrivals.newest(_LOOKED_AT, chosen.platform or None)
        newest = list(islice(filter(chosen.takes, looked_at), _NEWEST_SHOWN))
        tallies = {name: it.tally for name, it in self._platforms.items()}
        readings = {name: it.chosen for name, it in self._platforms.items()}
        return sandbox_page(
            self.base_url, tallies, newest, self._faults.numbered(), TOKEN, self._shop, chosen, readings
        )  # fmt: skip

    def _platform(self, name: str) -> Service:
        try:
            return self._platforms[name]
        except KeyError:
            known = f"there are {', '.join(self._platforms)}{nearest(name, self._platforms)}"
            raise ValueError(f"no platform {name!r} here; {known}") from None

    def answer(
        self, method: str, path: str, body: bytes, *, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        """What a platform says to one request, without a socket and without faults; it is recorded like any other.

        Args:
            path: Begins with the platform's prefix: ``/snap/v3/...``.
            headers: Whatever their case, as a ``CIMultiDict`` finds them.

        Raises:
            ValueError: No such platform.
        """
        prefix, _, rest = path.removeprefix("/").partition("/")
        return self._answer(self._platform(prefix), method, f"/{rest}", body, query, headers)

    def _answer(
        self,
        platform: Service,
        method: str,
        path: str,
        body: bytes,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Reply:
        call = Call(method, path, query, headers, body, self._clock.wall(), self._clock.monotonic())
        return platform.handle(call, self._arrivals)

    # Over HTTP.

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        # A page of another origin can make a browser send requests here, by a name that resolves to 127.0.0.1.
        if not self._is_own(request.headers.get("Host", "")):
            return _response(error_reply(403, "this Host is not served here"))
        prefix, slash, rest = request.path.removeprefix("/").partition("/")
        if not prefix and not slash:
            query = request.query
            shown = self.page(
                query.get("platform"), verdict=query.get("verdict", ""), text=query.get("q", ""), still="still" in query
            )
            return web.Response(body=shown.encode(), content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)
        if prefix == ADMIN:
            if not self._may_steer(request):
                return _response(error_reply(403, "this Origin may not steer the sandbox"))
            if request.method in ("GET", "HEAD") and (asset := ASSETS.get(rest)) is not None:
                headers = {"Content-Type": asset.content_type, "Cache-Control": ASSET_CACHE}
                return web.Response(body=asset.body, headers=headers)
            if rest in ACTIONS and request.method == "POST":
                return await self._press(rest, request)
            return _response(administer(self, request.method, rest, request.query, await request.read()))
        platform = self._platforms.get(prefix)
        if platform is None:
            return _response(error_reply(404, f"no platform /{prefix[:40]} here"))
        return await self._play(platform, request, slash + rest)

    async def _press(self, action: str, request: web.BaseRequest) -> web.StreamResponse:
        """A button of the page; then the page is shown as it was."""
        try:
            press(self, action, await request.read())
        except (ValueError, msgspec.ValidationError) as error:
            return _response(error_reply(400, str(error)))
        return web.Response(status=303, headers={"Location": _own_query(request.headers.get("Referer", ""))})

    async def _play(self, platform: Service, request: web.BaseRequest, path: str) -> web.StreamResponse:
        latency_s, fault = self._faults.choose(platform.name, path)
        if fault is None or fault.kind in ("reset_after", "truncate") or (fault.kind == "hang" and fault.after):
            reply = await self._handle(platform, request, path)
        else:
            platform.tally.stats.requests += 1
            reply = Reply(200, b"")
        if latency_s:
            platform.tally.faults["latency"] += 1
            await anyio.sleep(latency_s)
        if fault is None:
            return _response(reply)
        platform.tally.faults[fault.kind] += 1
        match fault.kind:
            case "status":
                await request.read()
                return _response(_status_reply(platform, fault))
            case "html":
                await request.read()
                return _response(Reply(200, _HTML_ERROR, content_type="text/html"))
            case "truncate":
                return await _truncate(request, reply)
            case "hang":
                await self._closing.wait()
        _reset(request)
        return web.Response()

    async def _handle(self, platform: Service, request: web.BaseRequest, path: str) -> Reply:
        try:
            body = await request.read() if request.body_exists else b""
        except web.HTTPRequestEntityTooLarge:
            platform.tally.stats.requests += 1
            return platform.failure(413, "request too large")
        query: Mapping[str, str] = request.query if request.query_string else {}
        return self._answer(platform, request.method, path, body, query, request.headers)

    def _may_steer(self, request: web.BaseRequest) -> bool:
        """Whether no page of another origin asks; programs other than browsers name no origin at all.

        The origin is compared whole, scheme and port included, with the address under which the request came.
        """
        origin = request.headers.get("Origin")
        if origin is not None:
            return origin.lower() == f"http://{request.headers.get('Host', '').lower()}"
        return request.method in _READS or request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _is_own(self, host: str) -> bool:
        name, colon, port = host.lower().rpartition(":")
        return (name if colon and port.isdigit() else host.lower()) in self._hosts


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    ready: Callable[[Sandbox], object] | None = None,
    **options: Any,
) -> None:
    """Serve until cancelled.

    Args:
        ready: Called once the port is bound, with the sandbox.
        options: As for ``Sandbox``.
    """
    async with Sandbox(seed, host, port, **options) as sandbox:
        if ready is not None:
            ready(sandbox)
        await anyio.sleep_forever()


_READS = ("GET", "HEAD", "OPTIONS")


def _own_query(referer: str) -> str:
    """The page as it was shown, whoever claims to have shown it: its own address, with what was chosen there."""
    query = urlsplit(referer).query
    return f"/?{query}" if query and query.isascii() and query.isprintable() else "/"


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY)


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


def _status_reply(platform: Service, fault: Fault) -> Reply:
    reply = platform.reply_to_fault(fault.status)
    if isinstance(fault.body, str):
        reply = Reply(fault.status, fault.body.encode(), content_type="text/plain")
    elif fault.body is not None:
        reply = Reply(fault.status, msgspec.json.encode(fault.body))
    if fault.retry_after_s is not None:
        # Whole seconds, rounded up: the header's grammar knows no fractions.
        seconds = -int(-fault.retry_after_s // 1)
        reply.headers = {**reply.headers, "Retry-After": str(seconds), **platform.wait_headers(fault.retry_after_s)}
    return reply


async def _truncate(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers})
    response.content_length = len(reply.body)
    with contextlib.suppress(ConnectionError):  # who asked has hung up already
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Lingering for no time makes the kernel send a reset instead of a regular end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
