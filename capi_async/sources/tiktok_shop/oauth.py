"""How a seller lets an app into a shop: the link, the way back, and the host that gives tokens.

Source: Partner Center, "Authorization overview" (678e3a3292b0f40314a92d75), copy of 2025-12. The app secret travels
in the token host's query, so nothing here repeats an address: not in an error, a log line or a repr.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import anyio
import msgspec
from msgspec import Struct

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.early import ready
from capi_async.errors import CapiError, ConfigError, TransportError
from capi_async.frames import frameless_async
from capi_async.outcome import UNREADABLE, Response, retry_after_s
from capi_async.sources.tiktok_shop.errors import (
    TikTokShopAPIError,
    TikTokShopAuthError,
    TikTokShopNetworkError,
    error_of,
    network_error,
)
from capi_async.sources.tiktok_shop.models import TokenSet, read
from capi_async.sources.tiktok_shop.retries import Retries
from capi_async.spec import DAY, Request, Secret, Transport

AUTH_BASE_URL: Final = "https://auth.tiktok-shops.com"
#: The US has one of its own; two pages of the platform disagree about its name, so it is a setting.
AUTHORIZE_BASE_URL: Final = "https://services.tiktokshop.com"
CREATOR_BASE_URL: Final = "https://shop.tiktok.com"

#: Smaller numbers are a duration, larger ones an instant, whatever the field is called.
FIRST_INSTANT: Final = 1_000_000_000
#: How long an access token is good if the answer does not say.
DEFAULT_ACCESS_S: Final = 7 * DAY


def new_state() -> str:
    """A value nobody can guess, to be kept in the browser's session until the seller returns."""
    return secrets.token_urlsafe(24)


def authorize_url(
    *,
    state: str,
    service_id: str = "",
    app_key: str = "",
    base_url: str = AUTHORIZE_BASE_URL,
    auth_base_url: str = AUTH_BASE_URL,
) -> str:
    """Where to send the seller.

    The address to which the platform sends them back is fixed in the app's settings and cannot be given here.

    Args:
        state: See :func:`new_state`; comes back unchanged.
        service_id: Of the app in Partner Center; gives the current form of the link.
        app_key: Gives the older form, for want of a service id.
        base_url: Host of the current form; another one for US sellers.
        auth_base_url: Host of the older form.

    Raises:
        ConfigError: Neither id is there, or ``state`` holds characters that do not survive the trip.
    """  # fmt: skip
    if not state or quote(state, safe="") != state:
        raise ConfigError("state: letters, digits and -._~ only, as made by new_state()")
    if service_id:
        return f"{base_url.rstrip('/')}/open/authorize?{urlencode({'service_id': service_id, 'state': state})}"
    if app_key:
        return f"{auth_base_url.rstrip('/')}/oauth/authorize?{urlencode({'app_key': app_key, 'state': state})}"
    raise ConfigError("authorize_url needs a service_id, or at least an app_key")


def creator_authorize_url(*, state: str, app_key: str, base_url: str = CREATOR_BASE_URL) -> str:
    """Where to send a creator, who publishes videos and posts.

    Raises:
        ConfigError: As :func:`authorize_url`.
    """
    if not state or quote(state, safe="") != state:
        raise ConfigError("state: letters, digits and -._~ only, as made by new_state()")
    query = urlencode({"app_key": app_key, "state": state})
    return f"{base_url.rstrip('/')}/alliance/creator/auth?{query}"


def read_callback(
    callback: Mapping[str, str] | str, *, expected_state: str | None, allow_missing_state: bool = False
) -> str:
    """The code with which the seller came back, after the state has proved that it is the same visit.

    Args:
        callback: The query of the request, or its whole address.
        expected_state: What was kept from :func:`new_state`; ``None`` if nothing was.
        allow_missing_state: An authorization begun in the platform's app store carries no state. Letting it in is
            the caller's decision, because anybody's code can then be brought to this address. A wrong state is
            refused all the same.

    Raises:
        TikTokShopAuthError: The seller refused, the state is missing or another one, or there is no code.
    """
    query = _query_of(callback) if isinstance(callback, str) else callback
    state = query.get("state") or ""
    if not state:
        if not allow_missing_state:
            raise TikTokShopAuthError("the callback carries no state: it was not begun here")
    elif not expected_state or not hmac.compare_digest(state.encode(), expected_state.encode()):
        raise TikTokShopAuthError("the callback's state is not the one that was given out")
    code = query.get("code") or ""
    if query.get("error") or code in ("", "null"):
        refused = query.get("error") == "auth_denied"
        raise TikTokShopAuthError(
            "the seller refused the authorization" if refused else "the callback carries no authorization code"
        )
    return code


def _query_of(address: str) -> dict[str, str]:
    # not urlsplit, which raises for a host that cannot be: only the query counts, and it may be given alone
    _, mark, query = address.partition("#")[0].partition("?")
    values = parse_qs(query if mark else address, keep_blank_values=True)
    return {name: found[-1] for name, found in values.items()}


@ready
class _Envelope(Struct, frozen=True):
    code: int | None = None
    message: str = ""
    request_id: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


@ready
class _Granted(Struct, frozen=True):
    access_token: str = ""
    access_token_expire_in: int = 0
    refresh_token: str = ""
    refresh_token_expire_in: int = 0
    open_id: str = ""
    seller_name: str = ""
    seller_base_region: str = ""
    user_type: int = 0
    granted_scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "_Granted(***)"


class TokenHost:
    """Exchanges codes and refresh tokens. Both are a GET with everything in the query, unsigned.

    Args:
        base_url: Of the token host.
        timeout_s: Seconds until an answer is given up.
        max_wait_s: Longest ``Retry-After`` that a refresh waits for.
        backoff_s: First wait before a refresh is repeated.
    """

    def __init__(
        self,
        *,
        app_key: str,
        app_secret: Secret,
        transport: Transport,
        base_url: str = AUTH_BASE_URL,
        clock: Clock = SYSTEM_CLOCK,
        timeout_s: float = 30.0,
        max_wait_s: float = 60.0,
        backoff_s: float = 1.0,
    ) -> None:
        self._app_key = app_key
        self._app_secret = app_secret
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_wait_s = max_wait_s
        self._backoff_s = backoff_s

    @frameless_async(CapiError)
    async def exchange(self, code: str) -> TokenSet:
        """Tokens for a code, which works once and for 30 minutes; therefore this is never repeated by itself.

        Raises:
            TikTokShopAuthError: The code is wrong, used or too old.
            TikTokShopAPIError: Any other failure; after a network error the code may be used up.
        """
        if code in ("", "null"):
            raise TikTokShopAuthError("there is no authorization code to exchange")
        return await self._ask("get", {"auth_code": code, "grant_type": "authorized_code"}, code)

    @frameless_async(CapiError)
    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """A new pair for an old one, which is dead from then on.

        A lost answer may have rotated the pair, so after one the refresh is repeated once and no more.

        Raises:
            TikTokShopAuthError: With ``final``, only a new authorization by the seller helps.
            TikTokShopAPIError: Any other failure; the old pair may still be good.
        """
        retries = Retries(reads=True, repeatable=True, max_wait_s=self._max_wait_s, base_s=self._backoff_s)
        lost = 0
        while True:
            try:
                query = {"refresh_token": tokens.refresh_token, "grant_type": "refresh_token"}
                return await self._ask("refresh", query, tokens.refresh_token, old=tokens)
            except TikTokShopAPIError as error:
                lost += isinstance(error, TikTokShopNetworkError) and error.sent
                wait_s = retries.wait_s(error)
                if wait_s is None or lost > 1:
                    raise
            await anyio.sleep(wait_s)

    async def _ask(self, what: str, query: dict[str, str], credential: str, *, old: TokenSet | None = None) -> TokenSet:
        secret = await self._app_secret.reveal()
        full = {"app_key": self._app_key, "app_secret": secret, **query}
        url = f"{self._base_url}/api/v2/token/{what}?{urlencode(full, quote_via=quote)}"
        request = Request("GET", url, {"Accept": "application/json"})
        response = await sent(self._transport, request, timeout_s=self._timeout_s)
        now = self._clock.wall()
        wait_s = retry_after_s(response.headers)
        try:
            answer = read(response.body, _Envelope)
            granted = read(bytes(answer.data), _Granted) if answer.code == 0 and response.status == 200 else None
        except UNREADABLE:
            raise error_of(0, "", http_status=response.status, retry_after_s=wait_s) from None
        if granted is None or not granted.access_token:
            said = answer.message if answer.code else "the answer holds no token"
            for hidden in (secret, credential):
                said = said.replace(hidden, "***")
            raise error_of(
                answer.code or 0,
                said,
                http_status=response.status,
                request_id=answer.request_id,
                retry_after_s=wait_s,
            )
        return _token_set(granted, now, old)

    def __repr__(self) -> str:
        return f"TokenHost({urlsplit(self._base_url).hostname})"


async def sent(transport: Transport, request: Request, *, timeout_s: float) -> Response:
    """The answer to a request.

    Raises:
        TikTokShopNetworkError: None came. It is chained to nothing: the HTTP library's words hold the address, and the
            address may hold the app secret.
    """
    try:
        return await transport.send(request, timeout_s=timeout_s)
    except TransportError as error:
        kind, may_have_arrived = error.kind, error.sent
    raise network_error(kind, sent=may_have_arrived)


def _token_set(granted: _Granted, now: float, old: TokenSet | None) -> TokenSet:
    refresh_token = granted.refresh_token or (old.refresh_token if old else "")
    return TokenSet(
        access_token=granted.access_token,
        refresh_token=refresh_token,
        access_expires_at=_instant(granted.access_token_expire_in or int(DEFAULT_ACCESS_S), now),
        refresh_expires_at=_instant(granted.refresh_token_expire_in, now) if granted.refresh_token_expire_in else 0,
        open_id=granted.open_id or (old.open_id if old else ""),
        seller_name=granted.seller_name or (old.seller_name if old else ""),
        seller_base_region=granted.seller_base_region or (old.seller_base_region if old else ""),
        user_type=granted.user_type,
        granted_scopes=granted.granted_scopes or (old.granted_scopes if old else ()),
        obtained_at=int(now),
    )


def _instant(value: int, now: float) -> int:
    """Seconds since the epoch. The platform sends instants under names that promise durations; both are read."""
    return value if value >= FIRST_INSTANT else int(now) + value
