"""The client of a TikTok Shop: typed, signed, limited, and repeated where that is safe."""

from __future__ import annotations

import asyncio
import copy
import os
import ssl as ssl_module
from collections.abc import Callable, Mapping
from datetime import tzinfo
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self, Unpack

import aiohttp
import msgspec
from msgspec import Struct

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.early import ready
from capi_async.errors import CapiError, ClientClosed, ConfigError
from capi_async.frames import frameless_async
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.connection import Answer, Body, Connection
from capi_async.sources.tiktok_shop.endpoints import Endpoint
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopValidationError,
    TokenStoreError,
)
from capi_async.sources.tiktok_shop.models import Shop, TokenSet
from capi_async.sources.tiktok_shop.oauth import (
    TokenHost,
    authorize_url,
    creator_authorize_url,
)
from capi_async.sources.tiktok_shop.operations.analytics import AnalyticsOperations
from capi_async.sources.tiktok_shop.operations.base import PageNumbers, decode, json_body, query_of
from capi_async.sources.tiktok_shop.operations.content import ContentOperations
from capi_async.sources.tiktok_shop.operations.orders import OrderOperations
from capi_async.sources.tiktok_shop.operations.products import ProductOperations
from capi_async.sources.tiktok_shop.settings import ShopOptions, ShopSettings, zone_of
from capi_async.sources.tiktok_shop.sign import sign
from capi_async.sources.tiktok_shop.tokens import MemoryTokens, TokenKeeper, TokenStore
from capi_async.spec import Credential, Secret, Transport
from capi_async.transport import HttpTransport

#: Setting to environment variable.
ENV: Final[Mapping[str, str]] = {
    "app_key": "TIKTOK_SHOP_APP_KEY",
    "app_secret": "TIKTOK_SHOP_APP_SECRET",
    "base_url": "TIKTOK_SHOP_API_BASE_URL",
    "auth_base_url": "TIKTOK_SHOP_AUTH_BASE_URL",
    "service_id": "TIKTOK_SHOP_SERVICE_ID",
}


class WebhookSetting(Struct, frozen=True):
    """Where notifications of one kind go.

    Attributes:
        event_type: Its name, such as ``ORDER_STATUS_CHANGE``; deliveries carry a number instead.
    """

    event_type: str = ""
    address: str = ""


@ready
class _Shops(Struct, frozen=True):
    shops: tuple[Shop, ...] = ()


@ready
class _WebhookSettings(Struct, frozen=True):
    webhooks: tuple[WebhookSetting, ...] = ()


class TikTokShop(ProductOperations, OrderOperations, ContentOperations, AnalyticsOperations):
    """One app's access to the shops of one seller (or, with a creator's tokens, to a creator's account).

    Use it as ``async with TikTokShop(...) as shop``, or call ``aclose()`` in the end. It opens its connection with the
    first call, and may be made before any event loop runs.

    Every operation may raise :class:`~capi_async.sources.tiktok_shop.TikTokShopAPIError` or one of its children, and
    :class:`~capi_async.sources.tiktok_shop.TokenStoreError`. Rate limits are repeated three times, server errors and
    lost connections twice (publishing never, if it may have been done); ``Retry-After`` is honoured up to
    ``max_wait_s``.

    Args:
        app_key, app_secret: Of the app in Partner Center.
        tokens: Where the authorization is kept, or the tokens themselves; default: in memory, empty until
            :meth:`connect`.
        shop: Which of the seller's shops is meant; see :meth:`for_shop`. Needed only if there are several.
        on_token_problem: Called when tokens could not be renewed, also while the old ones are still good.
        session: The caller's own session, used as it is and not closed.
        trust_env: Take proxies from the environment.
        ssl: A context for private certificate authorities.
        transport: Instead of HTTP by aiohttp.
        settings: Hosts, rates, waits and the time zone, see
            :class:`~capi_async.sources.tiktok_shop.settings.ShopSettings`.

    Raises:
        ConfigError: A setting is missing or wrong.
    """

    def __init__(
        self,
        app_key: str,
        app_secret: Credential,
        *,
        tokens: TokenStore | TokenSet | None = None,
        shop: Shop | None = None,
        on_token_problem: Callable[[TikTokShopAPIError | TokenStoreError], object] | None = None,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
        ssl: ssl_module.SSLContext | None = None,
        transport: Transport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **settings: Unpack[ShopOptions],
    ) -> None:
        if not isinstance(app_key, str) or not app_key.strip():
            raise ConfigError("tiktok_shop: app_key is missing")
        try:
            secret = app_secret if isinstance(app_secret, Secret) else Secret(app_secret)
        except ConfigError as error:
            raise ConfigError(f"tiktok_shop: app_secret: {error}") from None
        self._settings = ShopSettings(**settings)
        # a code that is exchanged twice, or a pair that is refreshed twice, is lost: no repeats that nobody counts
        self._http = HttpTransport(session=session, trust_env=trust_env, ssl=ssl, repeats=False)
        wire: Transport = self._http if transport is None else transport
        self._host = TokenHost(
            app_key=app_key.strip(),
            app_secret=secret,
            transport=wire,
            base_url=self._settings.auth_base_url,
            clock=clock,
            timeout_s=self._settings.timeout_s,
            max_wait_s=self._settings.max_wait_s,
            backoff_s=self._settings.backoff_s,
        )
        store = MemoryTokens(tokens) if tokens is None or isinstance(tokens, TokenSet) else tokens
        keeper = TokenKeeper(store, self._host, clock=clock, on_problem=on_token_problem)
        self._link = Connection(
            app_key=app_key.strip(),
            app_secret=secret,
            transport=wire,
            keeper=keeper,
            clock=clock,
            settings=self._settings,
        )
        self._known = _Known()
        self._shop = shop
        self._pages = PageNumbers()
        self._owner = True
        self._zone = zone_of(self._settings.time_zone)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """A client by ``TIKTOK_SHOP_APP_KEY``, ``TIKTOK_SHOP_APP_SECRET`` and, if set, ``TIKTOK_SHOP_API_BASE_URL``,
        ``TIKTOK_SHOP_AUTH_BASE_URL`` and ``TIKTOK_SHOP_SERVICE_ID``.

        Args:
            settings: As for the class; they win.

        Raises:
            ConfigError: A required variable is missing, or a setting is wrong.
        """
        environment = os.environ if environ is None else environ
        found = {name: environment[variable] for name, variable in ENV.items() if environment.get(variable)}
        values = {**found, **settings}
        if missing := [ENV[name] for name in ("app_key", "app_secret") if not values.get(name)]:
            raise ConfigError(f"tiktok_shop: set {' and '.join(missing)}")
        return cls(**values)

    # Lifecycle.

    async def aclose(self) -> None:
        """Finish a token refresh that is under way, then close the connection. What :meth:`for_shop` gave shares it."""
        if not self._owner or self._known.closed:
            return
        self._known.closed = True
        try:
            await self._link.aclose()
        finally:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Authorization.

    def authorize_url(self, state: str, redirect_uri: str | None = None) -> str:
        """Where to send the seller; see :func:`~capi_async.sources.tiktok_shop.oauth.authorize_url`.

        Args:
            state: From :func:`~capi_async.sources.tiktok_shop.new_state`, kept until the seller returns.
            redirect_uri: Ignored: the platform returns to the address in the app's settings.

        Raises:
            ConfigError: ``state`` cannot survive the trip.
        """
        return authorize_url(
            state=state,
            service_id=self._settings.service_id,
            app_key=self._link.app_key,
            base_url=self._settings.authorize_base_url,
            auth_base_url=self._settings.auth_base_url,
        )

    def generate_authorization_url(self, redirect_uri: str, state: str) -> str:
        """:meth:`authorize_url` under its older name."""
        return self.authorize_url(state, redirect_uri)

    def creator_authorize_url(self, state: str) -> str:
        """Where to send a creator, whose tokens publish videos and posts.

        Raises:
            ConfigError: ``state`` cannot survive the trip.
        """
        return creator_authorize_url(state=state, app_key=self._link.app_key, base_url=self._settings.creator_base_url)

    @frameless_async(CapiError)
    async def connect(self, code: str) -> TokenSet:
        """Exchange the code that the seller brought back, and keep the tokens.

        Never repeated by itself: a code works once.

        Raises:
            TikTokShopAuthError: The code is wrong, used or older than 30 minutes.
            TikTokShopAPIError: The token host gave no usable answer.
            TokenStoreError: The tokens could not be saved; they are used until this process ends.
        """
        self._check_open()
        tokens = await self._host.exchange(code)
        self._known.only = None
        await self._link.keeper.adopt(tokens)
        return tokens

    async def tokens(self) -> TokenSet:
        """The tokens in use, renewed if their end is near.

        Raises:
            TikTokShopAuthError: Nobody has authorized the app, or the authorization has ended.
        """
        self._check_open()
        return await self._link.keeper.tokens()

    async def refresh(self) -> TokenSet:
        """A new pair of tokens now, whatever the age of the old one, which is dead from then on.

        Nobody needs this for calls: tokens are renewed by themselves, 300 seconds before they end. If another process
        has renewed them meanwhile, its pair is taken.

        Raises:
            TikTokShopAuthError: Nobody has authorized the app, or the authorization has ended.
            TikTokShopAPIError: The token host gave no usable answer; the old pair is kept.
            TokenStoreError: The new pair could not be saved; it is used until this process ends.
        """
        self._check_open()
        return await self._link.keeper.refreshed()

    # Shops.

    @property
    def shop_id(self) -> str:
        """The shop's id; empty until it was chosen or :meth:`selected_shop` was asked."""
        chosen = self._shop or self._known.only
        return chosen.id if chosen else ""

    @property
    def shop_cipher(self) -> str:
        """What selects the shop in requests; empty until it is known."""
        chosen = self._shop or self._known.only
        return chosen.cipher if chosen else ""

    async def get_shops(self) -> tuple[Shop, ...]:
        """The shops that the seller opened to the app. Official: ``GET /authorization/202309/shops``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        return decode(await self._ask(endpoints.SHOPS), _Shops).shops

    def for_shop(self, shop: Shop, *, time_zone: str | None = None) -> Self:
        """The same connection, for one of the seller's shops. Closing it closes nothing.

        Raises:
            ConfigError: The shop has no cipher, or there is no such time zone.
        """
        if not shop.cipher:
            raise ConfigError("tiktok_shop: a shop is chosen by its cipher; take one from get_shops()")
        other = copy.copy(self)
        other._shop = shop
        other._owner = False
        other._pages = PageNumbers()
        if time_zone is not None:
            other._zone = zone_of(time_zone)
        return other

    async def selected_shop(self) -> Shop:
        """The shop that operations address: the chosen one, or the seller's only one.

        Raises:
            ConfigError: The seller has several shops, and none was chosen.
            TikTokShopAuthError: The authorization covers no shop.
            TikTokShopAPIError: As for every operation.
        """
        if self._shop is not None and self._shop.cipher:
            return self._shop
        self._check_open()
        if self._known.only is None:
            async with self._known.asking():
                if self._known.only is None:
                    self._known.only = await self._find_shop()
        return self._known.only

    async def _find_shop(self) -> Shop:
        shops = await self.get_shops()
        wanted = self._shop.id if self._shop is not None else ""
        found = [shop for shop in shops if shop.cipher and wanted in ("", shop.id)]
        if not found:
            raise TikTokShopAuthError(
                "the authorization does not cover this shop" if wanted else "the authorization covers no shop"
            )
        if len(found) > 1:
            names = ", ".join(shop.region or shop.id for shop in found)
            raise ConfigError(
                f"tiktok_shop: the seller has {len(found)} shops ({names}): "
                "choose one with for_shop(shop), shop being one of get_shops()"
            )
        return found[0]

    # Webhook settings.

    async def get_webhooks(self) -> tuple[WebhookSetting, ...]:
        """Where this shop's notifications go. Official: ``GET /event/202309/webhooks``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        return decode(await self._ask(endpoints.WEBHOOKS), _WebhookSettings).webhooks

    async def set_webhook(self, event_type: str, address: str) -> None:
        """Have notifications of one kind sent to an address. Official: ``PUT /event/202309/webhooks``.

        Args:
            event_type: Such as ``ORDER_STATUS_CHANGE``.
            address: An ``https`` address with a domain name and no port, up to 255 characters.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        await self._ask(endpoints.SET_WEBHOOK, body=json_body({"address": address, "event_type": event_type}))

    async def delete_webhook(self, event_type: str) -> None:
        """Have no more notifications of one kind sent. Official: ``DELETE /event/202309/webhooks``.

        The platform reports success also if none were.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        await self._ask(endpoints.DELETE_WEBHOOK, body=json_body({"event_type": event_type}))

    # Anything else.

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | float | bool | Decimal | None] | None = None,
        body: Mapping[str, Any] | None = None,
        reads: bool | None = None,
        repeatable: bool = False,
        shop: bool = True,
    ) -> Any:
        """A signed call of any other endpoint; gives the envelope's ``data`` as plain objects.

        Args:
            path: With its version, such as ``/order/202407/orders/576461413038785752/price_detail``.
            query: Without the parameters that every call has. Numbers and truth values are written as the platform
                writes them (``0``, ``false``); ``None`` and empty text are left out, lists are refused.
            body: JSON; without any field nothing is sent. A GET has none.
            reads: It changes nothing; default: what is a GET.
            repeatable: Doing it twice is as good as once.
            shop: Whether the endpoint takes ``shop_cipher``.

        Raises:
            ConfigError: The path is none.
            TikTokShopValidationError: A parameter that nobody knows how to write, or a body for a GET.
            TikTokShopAPIError: As for every operation.
        """
        if not path.startswith("/") or "?" in path or "#" in path or len(path.split("/")) < 3:
            raise ConfigError("tiktok_shop: path begins with /category/version/ and has no query")
        endpoint = Endpoint(
            method=method.upper(),
            path=path,
            reads=method.upper() == "GET" if reads is None else reads,
            repeatable=repeatable,
            shop=shop,
        )
        if body is not None and endpoint.method == "GET":
            raise TikTokShopValidationError("call: a GET has no body; give what is asked for as query=")
        answer = await self._send(endpoint, path, query_of(query or {}), json_body(body) if body is not None else None)
        return msgspec.json.decode(answer.data)

    async def generate_signature(
        self, path: str, params: Mapping[str, str], body: bytes = b"", content_type: str = "application/json"
    ) -> str:
        """The signature of a request; see :func:`~capi_async.sources.tiktok_shop.sign.sign`."""
        secret = await self._link.app_secret.reveal()
        return sign(path, params, body, app_secret=secret, content_type=content_type)

    # What the operations need.

    @property
    def time_zone(self) -> tzinfo:
        """The shop's registered time zone, as configured."""
        return self._zone

    @property
    def legacy(self) -> bool:
        """Whether something speaks the older contract."""
        return self._settings.legacy_base_url is not None

    def now(self) -> float:
        """Seconds since the epoch, by the client's clock."""
        return self._link.clock.wall()

    async def _ask(
        self,
        endpoint: Endpoint,
        *,
        ids: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        return await self._send(endpoint, endpoint.at(**ids) if ids else endpoint.path, query or {}, body)

    async def _send(self, endpoint: Endpoint, path: str, query: Mapping[str, str], body: Body | None) -> Answer:
        self._check_open()
        cipher = (await self.selected_shop()).cipher if endpoint.shop else ""
        return await self._link.call(endpoint, path, query=query, body=body, cipher=cipher)

    def _check_open(self) -> None:
        if self._known.closed:
            raise ClientClosed("tiktok_shop: this client was closed")
        self._known.belong()

    def __repr__(self) -> str:
        return f"TikTokShop(shop_id={self.shop_id!r}, base_url={self._settings.base_url!r})"


class _Known:
    """What all handles of one connection share."""

    def __init__(self) -> None:
        self.only: Shop | None = None
        self.closed = False
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def belong(self) -> None:
        """Take the running loop for ours, if we have none that lives.

        Raises:
            ClientClosed: We belong to another process, whose sockets a fork has copied, or to another living loop.
        """
        loop, process = asyncio.get_running_loop(), os.getpid()
        if self._process not in (0, process):
            raise ClientClosed("tiktok_shop: this client was used before the process forked; make one per process")
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise ClientClosed("tiktok_shop: this client belongs to another event loop")
            # a lock belongs to the loop in which somebody first waited for it
            self._loop, self._process, self._turn = loop, process, asyncio.Lock()

    def asking(self) -> asyncio.Lock:
        """Held while the shops are asked for, so that a hundred first calls ask once."""
        if self._turn is None:
            raise RuntimeError("belong() comes first")
        return self._turn
