"""One app's connection to TikTok Shop: tokens, rate, signature, attempts. What is asked is none of its business."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import anyio
import msgspec
from msgspec import Struct

from capi_async.clock import Clock
from capi_async.early import ready
from capi_async.errors import CapiError
from capi_async.frames import frameless_async
from capi_async.limiter import TokenBucket
from capi_async.outcome import UNREADABLE, Response, http_date, retry_after_s
from capi_async.sources.tiktok_shop.endpoints import Endpoint
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopRateLimitError,
    error_of,
    redact_id,
)
from capi_async.sources.tiktok_shop.models import read
from capi_async.sources.tiktok_shop.oauth import sent
from capi_async.sources.tiktok_shop.retries import Retries
from capi_async.sources.tiktok_shop.settings import ShopSettings
from capi_async.sources.tiktok_shop.sign import legacy_sign, sign
from capi_async.sources.tiktok_shop.tokens import TokenKeeper
from capi_async.spec import SLICE_BYTES, Request, Secret, Transport

JSON: Final = "application/json"
#: Codes that may say that this access token is none any more; another process may have renewed it.
_TOKEN_CODES: Final = (105001, 105002, 36009004)
#: Shorter secrets than this are not looked for in the platform's words: every other word would hold them.
_MIN_HIDDEN: Final = 6


class Body(Struct, frozen=True):
    """What goes on the wire, byte for byte: the signature covers exactly this."""

    data: bytes = b""
    content_type: str = JSON

    def __repr__(self) -> str:
        return f"Body({len(self.data)} bytes, {self.content_type})"


class Answer(Struct, frozen=True):
    """A success."""

    data: msgspec.Raw
    request_id: str = ""


@ready
class _Envelope(Struct, frozen=True):
    code: int | None = None
    message: str = ""
    request_id: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Connection:
    """Sends signed calls and reads their envelopes; shared by all shops of one authorization."""

    def __init__(
        self,
        *,
        app_key: str,
        app_secret: Secret,
        transport: Transport,
        keeper: TokenKeeper,
        clock: Clock,
        settings: ShopSettings,
    ) -> None:
        self.app_key = app_key
        self.app_secret = app_secret
        self.transport = transport
        self.keeper = keeper
        self.clock = clock
        self._settings = settings
        self._gates: dict[tuple[str, str], Gate] = {}

    @frameless_async(CapiError)
    async def call(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        query: Mapping[str, str],
        body: Body | None = None,
        cipher: str = "",
    ) -> Answer:
        """One call, repeated as the settings say.

        Raises:
            TikTokShopAPIError: What came of it; see there for the children.
            TokenStoreError: The tokens could not be read or saved.
        """
        settings = self._settings
        retries = Retries(
            reads=endpoint.reads,
            repeatable=endpoint.repeatable,
            max_wait_s=settings.max_wait_s,
            base_s=settings.backoff_s,
        )
        gate = self._gate(endpoint, cipher)
        renewed = False
        while True:
            await gate.enter(settings.max_wait_s)
            token = (await self.keeper.tokens()).access_token
            try:
                answer = await self._attempt(endpoint, path, query, body, cipher, token)
            except TikTokShopAPIError as error:
                if isinstance(error, TikTokShopAuthError) and error.code in _TOKEN_CODES and not renewed:
                    renewed = True
                    if await self._another_token(error, token):
                        continue
                    error.final |= self.keeper.ended
                    raise
                wait_s = retries.wait_s(error)
                if isinstance(error, TikTokShopRateLimitError) and error.retry == "yes":
                    # everybody who calls for this shop slows down, not only this call
                    gate.throttle(error.stated_wait_s if wait_s is None else wait_s)
                if wait_s is None:
                    raise
                if isinstance(error, TikTokShopRateLimitError):
                    continue
            else:
                gate.succeed()
                return answer
            await anyio.sleep(wait_s)

    async def aclose(self) -> None:
        """Finish a token refresh that is under way."""
        await self.keeper.aclose()

    async def _another_token(self, error: TikTokShopAPIError, refused: str) -> bool:
        """Whether there is a better access token now than the one refused."""
        if await self.keeper.replaced(refused) is not None:
            return True
        if error.retry != "refresh":
            return False
        await self.keeper.renewed(refused)
        return True

    async def _attempt(
        self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: Body | None, cipher: str, token: str
    ) -> Answer:
        secret = await self.app_secret.reveal()
        # signed here, after all waiting: the platform takes a timestamp that is 5 minutes old, and no older
        if endpoint.legacy:
            request = self._legacy_request(endpoint, path, query, body, token, secret)
        else:
            request = self._request(endpoint, path, query, body, cipher, token, secret)
        response = await sent(self.transport, request, timeout_s=self._settings.timeout_s)
        return self._read(response, endpoint, (secret, token, cipher))

    def _request(
        self,
        endpoint: Endpoint,
        path: str,
        query: Mapping[str, str],
        body: Body | None,
        cipher: str,
        token: str,
        secret: str,
    ) -> Request:
        full = self._common()
        if cipher:
            full["shop_cipher"] = cipher
        # a parameter without a value is not sent: nobody knows how the platform signs one
        full.update({name: value for name, value in query.items() if value})
        data = body.data if body else b""
        content_type = body.content_type if body else JSON
        full["sign"] = sign(path, full, data, app_secret=secret, content_type=content_type)
        headers = {"Accept": JSON, "Content-Type": content_type, "x-tts-access-token": token}
        return Request(endpoint.method, _url(self._settings.base_url, path, full), headers, _slices(data))

    def _legacy_request(
        self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: Body | None, token: str, secret: str
    ) -> Request:
        full = {**self._common(), **{name: value for name, value in query.items() if value}, "access_token": token}
        full["sign"] = legacy_sign(path, full, app_secret=secret)
        data = body.data if body else b""
        headers = {"Accept": JSON, "Content-Type": JSON} if data else {"Accept": JSON}
        return Request(endpoint.method, _url(self._settings.legacy_base_url or "", path, full), headers, _slices(data))

    def _common(self) -> dict[str, str]:
        return {"app_key": self.app_key, "timestamp": str(int(self.clock.wall()))}

    def _read(self, response: Response, endpoint: Endpoint, hidden: tuple[str, ...]) -> Answer:
        """The data of a success; the HTTP status alone proves nothing."""
        wait_s = retry_after_s(response.headers)
        try:
            envelope = read(response.body, _Envelope)
        except UNREADABLE:
            words = "the answer cannot be read" if response.status < 300 else ""
            raise error_of(0, words, http_status=response.status, retry_after_s=wait_s) from None
        if envelope.code == 0 and 200 <= response.status < 300:
            return Answer(envelope.data, redact_id(envelope.request_id))
        said = envelope.message if envelope.code else "the answer carries no code"
        for text in hidden:
            if len(text) >= _MIN_HIDDEN:
                said = said.replace(text, "***")
        error = error_of(
            envelope.code or 0,
            said,
            http_status=response.status,
            request_id=envelope.request_id,
            retry_after_s=wait_s,
            scope=endpoint.scope,
            skew_s=self._skew_s(response),
        )
        raise error

    def _skew_s(self, response: Response) -> float | None:
        """Seconds by which this machine's clock is ahead of the platform's, as its ``Date`` header tells."""
        theirs = http_date(response.headers.get("date"))
        return None if theirs is None else self.clock.wall() - theirs

    def _gate(self, endpoint: Endpoint, cipher: str) -> Gate:
        category = endpoint.category if endpoint.category in (self._settings.rates or {}) else ""
        key = (cipher, category)
        gate = self._gates.get(key)
        if gate is None:
            rate, burst = self._settings.rate_of(category)
            gate = self._gates[key] = Gate(TokenBucket(rate=rate, burst=burst, now=self.clock.monotonic))
        return gate

    def __repr__(self) -> str:
        return f"Connection({urlsplit(self._settings.base_url).hostname})"


class Gate:
    """Lets calls through at a rate, in the order in which they came."""

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def enter(self, max_wait_s: float) -> None:
        """Wait for a token.

        Raises:
            TikTokShopRateLimitError: The platform closed this shop for longer than ``max_wait_s``; nothing was sent.
        """
        self._refuse_long(max_wait_s)
        async with self._queue():
            while wait_s := self._bucket.take():
                self._refuse_long(max_wait_s)
                await anyio.sleep(wait_s)

    def throttle(self, for_s: float | None) -> None:
        """The platform said slow down."""
        self._bucket.throttle(for_s or 0.0)

    def succeed(self) -> None:
        """A call was taken."""
        self._bucket.succeed()

    def _refuse_long(self, max_wait_s: float) -> None:
        closed_s = self._bucket.closed_s()
        if closed_s > max_wait_s:
            error = TikTokShopRateLimitError("the platform asked to wait, and the wait is not over; nothing was sent")
            error.retry_after = closed_s
            raise error

    @asynccontextmanager
    async def _queue(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            # a lock belongs to the loop in which somebody first waited for it
            self._turn, self._loop = asyncio.Lock(), loop
        async with self._turn:
            yield


def _url(base_url: str, path: str, query: Mapping[str, str]) -> str:
    return f"{base_url}{path}?{urlencode(query, quote_via=quote, safe='')}"


def _slices(data: bytes) -> tuple[bytes, ...]:
    return tuple([data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)])
