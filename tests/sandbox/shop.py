"""A caller of the shop's API that signs by itself, in the fewest lines, and a receiver of its webhooks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from yarl import URL

from capi_async.sandbox.platforms.tiktok_shop import APP_KEY, APP_SECRET, TikTokShop

US = "ROW_xkMbgAAAeVAQra0eZWebFQq5aIK"
US_ID = "7495540735365777507"
ORDERS = "/order/202309/orders/search"
ORDER = "/order/202507/orders"
EXAMPLE = "576461413038785752"


def sign(secret: str, path: str, query: dict[str, str], body: bytes = b"") -> str:
    """The documented signature."""
    text = "".join(key + query[key] for key in sorted(query) if key not in ("sign", "access_token"))
    message = secret.encode() + path.encode() + text.encode() + body + secret.encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Caller:
    """Calls one sandbox's shop."""

    def __init__(self, sender: Any, *, secret: str = APP_SECRET, key: str = APP_KEY, token: str = "sandbox-token"):
        self.sender, self.secret, self.key, self.token = sender, secret, key, token
        self.cipher = US

    @property
    def shop(self) -> TikTokShop:
        return self.sender.sandbox.tiktok_shop

    def query(self, **more: str) -> dict[str, str]:
        """The common parameters, at the sandbox's own time; ``...`` leaves one out."""
        now = int(self.sender.sandbox._clock.wall())
        query = {"app_key": self.key, "timestamp": str(now), "shop_cipher": self.cipher, **more}
        return {key: value for key, value in query.items() if value is not ...}

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        signed: str | None = None,
        headers: dict[str, str] | None = None,
        unsigned_query: dict[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """One signed call; ``body`` as bytes is sent as it is."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        params = self.query(**query)
        params["sign"] = sign(self.secret, path, params, raw) if signed is None else signed
        if not params["sign"]:
            del params["sign"]
        given = {"x-tts-access-token": self.token, "Content-Type": "application/json"}
        url = URL(self.sender.sandbox.url("tiktok_shop") + path).with_query({**params, **(unsigned_query or {})})
        return await self.sender.ask(method, str(url), data=raw or None, headers=given | (headers or {}))

    async def get(self, path: str, **query: Any) -> Any:
        return await self.ask("GET", path, **query)

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.ask("POST", path, {} if body is None else body, **query)

    async def data(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """What a successful call gives."""
        reply = await self.ask(method, path, body, **query)
        assert (reply.status, reply.body["code"]) == (200, 0), reply.body
        assert reply.body["request_id"]
        return reply.body["data"]

    async def token_host(self, what: str, method: str = "GET", **query: str) -> Any:
        """The token host; key and secret are put in."""
        given = {"app_key": self.key, "app_secret": self.secret, **query}
        url = URL(f"{self.sender.sandbox.url('tiktok_shop')}/api/v2/token/{what}").with_query(given)
        return await self.sender.ask(method, str(url))

    async def exchange(self, code: str, **query: str) -> Any:
        return await self.token_host("get", auth_code=code, grant_type="authorized_code", **query)

    async def refresh(self, token: str, **query: str) -> Any:
        return await self.token_host("refresh", refresh_token=token, grant_type="refresh_token", **query)


class Receiver:
    """What came in, and what it answers: ``answers`` are used up from the front, then 200; once ``open`` is set."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self._came = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    def events(self) -> list[Any]:
        """The bodies, decoded."""
        return [json.loads(body) for _, body in self.got]

    async def until(self, count: int) -> None:
        """Wait until so many requests have come in."""
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._came.clear()
                await self._came.wait()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append((dict(request.headers), body))
        self._came.set()
        await self.open.wait()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver._take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        receiver.open.set()
        await runner.cleanup()
