"""Who may ask: apps, codes and tokens, with the token host's rules."""

from __future__ import annotations

import random
import string
from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from capi_async.sandbox.checks import DAY, MINUTE
from capi_async.sandbox.platforms.base import TOKEN
from capi_async.sandbox.platforms.tiktok_shop.envelope import (
    BAD_CODE,
    BAD_PARAMETER,
    NO_RECORD,
    REFRESH_EXPIRED,
    Failure,
)
from capi_async.sandbox.platforms.tiktok_shop.model import (
    APP_KEY,
    APP_SECRET,
    CREATOR,
    CREATOR_ID,
    CREATOR_SCOPES,
    CREATOR_TOKEN,
    SELLER,
    SELLER_SCOPES,
    SELLERS,
    SERVICE_ID,
    SHOPS,
)

CODE_LIFE_S = 30 * MINUTE
ACCESS_LIFE_S = 7 * DAY
REFRESH_LIFE_S = 365 * DAY
_FOREVER = 4_102_444_800.0  # 2100-01-01

# A sandbox that runs for weeks must not keep every code and token that it ever gave out.
_MAX_KEPT = 10_000
_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "-_"


class App(Struct):
    """An app of Partner Center.

    Attributes:
        redirect_url: Where the authorize page sends people back to; fixed in the app's settings, as on the platform.
            While it is empty, the page takes a ``redirect_uri`` on this machine, or else shows the code.
    """

    key: str
    secret: str
    service_id: str
    redirect_url: str = ""


class Grant(Struct):
    """A pair of tokens, and what it allows. Expiries are instants, in Unix seconds.

    Attributes:
        owner: Open id of the seller or creator.
        user_type: 0 seller, 1 creator.
        app_key: The app that it was given to; "" for any.
        revoked: The owner has withdrawn it.
    """

    access_token: str
    refresh_token: str
    access_expires: float
    refresh_expires: float
    owner: str
    user_type: int
    scopes: tuple[str, ...]
    app_key: str = ""
    revoked: bool = False


class Code(Struct):
    """What the authorize page gives out, to be exchanged once."""

    app_key: str
    owner: str
    user_type: int
    scopes: tuple[str, ...]
    expires: float


class Authorizations:
    """All apps, codes and grants of one sandbox.

    Args:
        readings: Of those named in the package: ``old_access_survives``, ``reuse_revokes``.
    """

    def __init__(self, ids: random.Random, readings: Collection[str]) -> None:
        self._ids = ids
        self._readings = readings
        self.apps = {APP_KEY: App(APP_KEY, APP_SECRET, SERVICE_ID)}
        self._codes: dict[str, Code] = {}
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        # Superseded refresh tokens, and the grant that each of them once belonged to.
        self._spent: dict[str, Grant] = {}
        seller = next(iter(SELLERS))
        for token, owner, kind, scopes in (
            (TOKEN, seller, SELLER, SELLER_SCOPES),
            (CREATOR_TOKEN, CREATOR_ID, CREATOR, CREATOR_SCOPES),
        ):
            self._keep(Grant(token, f"{token}-refresh", _FOREVER, _FOREVER, owner, kind, scopes))

    def add_app(self, key: str, secret: str, service_id: str = "", redirect_url: str = "") -> App:
        """Register a further app."""
        app = self.apps[key] = App(key, secret, service_id or f"service-of-{key}", redirect_url)
        return app

    def app_of_service(self, service_id: str) -> App | None:
        """The app that an authorize link names by its ``service_id``."""
        return next((app for app in self.apps.values() if app.service_id == service_id), None)

    # The authorize page, and short cuts past it.

    def new_code(
        self, now: float, *, app_key: str, owner: str, user_type: int, scopes: Collection[str] | None = None
    ) -> str:
        """A code for ``owner``; scopes default to all of that kind of user."""
        allowed = CREATOR_SCOPES if user_type == CREATOR else SELLER_SCOPES
        code = self._secret("TTC")
        self._codes[code] = Code(
            app_key, owner, user_type, allowed if scopes is None else tuple(scopes), now + CODE_LIFE_S
        )
        _trim(self._codes)
        return code

    def new_grant(
        self, now: float, *, app_key: str, owner: str, user_type: int, scopes: Collection[str] | None = None
    ) -> Grant:
        """Tokens as an exchange would give them."""
        code = self._codes.pop(self.new_code(now, app_key=app_key, owner=owner, user_type=user_type, scopes=scopes))
        return self._issue(code, now)

    # The token host.

    def exchange(self, query: Mapping[str, str], now: float) -> Grant:
        """``/api/v2/token/get``: once per code."""
        self._check_app(query, "authorized_code")
        code = self._codes.get(_needed(query, "auth_code"))
        if code is None or code.expires <= now or code.app_key != query["app_key"]:
            raise Failure(BAD_CODE, "invalid auth code")
        del self._codes[query["auth_code"]]
        return self._issue(code, now)

    def refresh(self, query: Mapping[str, str], now: float) -> Grant:
        """``/api/v2/token/refresh``: a new pair; the old one is dead."""
        self._check_app(query, "refresh_token")
        token = _needed(query, "refresh_token")
        old = self._by_refresh.get(token)
        if old is None or old.revoked or old.app_key not in ("", query["app_key"]):
            if "reuse_revokes" in self._readings and token in self._spent:
                self.revoke_owner(self._spent[token].owner)
            raise Failure(NO_RECORD, "cannot find the authorization record")
        if old.refresh_expires <= now:
            raise Failure(REFRESH_EXPIRED, "refresh token has expired")
        if not old.app_key:
            # The sandbox's own tokens are known to everybody, and so cannot be used up.
            return old
        del self._by_refresh[token]
        self._spent[token] = old
        _trim(self._spent)
        if "old_access_survives" not in self._readings:
            self._by_access.pop(old.access_token, None)
        return self._issue(Code(old.app_key, old.owner, old.user_type, old.scopes, now), now, old.refresh_expires)

    # The API.

    def find(self, access_token: str) -> Grant | None:
        """The grant of an access token, lapsed and revoked ones included."""
        return self._by_access.get(access_token)

    # What a test does to them.

    def grants(self) -> list[Grant]:
        """Those that were given out, newest last; without the two that everybody knows."""
        return [grant for grant in self._by_access.values() if grant.app_key]

    def expire_access(self, now: float, access_token: str | None = None) -> int:
        """Let one access token lapse, or all that were given out; says how many."""
        chosen = self._chosen(access_token)
        for grant in chosen:
            grant.access_expires = now
        return len(chosen)

    def expire_refresh(self, now: float, access_token: str | None = None) -> int:
        """Let the refresh token beside one access token lapse, or all."""
        chosen = self._chosen(access_token)
        for grant in chosen:
            grant.refresh_expires = now
        return len(chosen)

    def revoke(self, access_token: str | None = None) -> list[str]:
        """Withdraw the authorization that one access token stands for, or all; says whose."""
        owners = list(dict.fromkeys(grant.owner for grant in self._chosen(access_token)))
        for owner in owners:
            self.revoke_owner(owner)
        return owners

    def revoke_owner(self, owner: str) -> None:
        """As if the seller had withdrawn: tokens given out stop working, and refresh no more."""
        for grant in self.grants():
            if grant.owner == owner:
                grant.revoked = True

    def _chosen(self, access_token: str | None) -> list[Grant]:
        if access_token is None:
            return self.grants()
        grant = self._by_access.get(access_token)
        if grant is None:
            raise ValueError("no such access token was given out")
        return [grant]

    def _check_app(self, query: Mapping[str, str], grant_type: str) -> None:
        app = self.apps.get(_needed(query, "app_key"))
        if app is None or _needed(query, "app_secret") != app.secret:
            raise Failure(BAD_PARAMETER, "invalid params: app_key or app_secret", status=200)
        if _needed(query, "grant_type") != grant_type:
            raise Failure(BAD_PARAMETER, f"invalid params: grant_type must be {grant_type}", status=200)

    def _issue(self, code: Code, now: float, refresh_expires: float | None = None) -> Grant:
        return self._keep(
            Grant(
                self._secret("TTP"),
                self._secret("TTR"),
                now + ACCESS_LIFE_S,
                refresh_expires or now + REFRESH_LIFE_S,
                code.owner,
                code.user_type,
                code.scopes,
                code.app_key,
            )
        )

    def _keep(self, grant: Grant) -> Grant:
        self._by_access[grant.access_token] = grant
        self._by_refresh[grant.refresh_token] = grant
        _trim(self._by_access)
        _trim(self._by_refresh)
        return grant

    def _secret(self, prefix: str) -> str:
        return f"{prefix}_{''.join(self._ids.choices(_TOKEN_CHARACTERS, k=48))}"


def token_data(grant: Grant, now: float, *, durations: bool) -> dict[str, object]:
    """What the token host tells about a grant. The expiries are instants, whatever their names say."""
    since = now if durations else 0.0
    seller = grant.user_type == SELLER
    regions = [shop.region for shop in SHOPS if shop.seller == grant.owner]
    return {
        "access_token": grant.access_token,
        "access_token_expire_in": int(grant.access_expires - since),
        "refresh_token": grant.refresh_token,
        "refresh_token_expire_in": int(grant.refresh_expires - since),
        "open_id": grant.owner,
        "seller_name": SELLERS.get(grant.owner, "") if seller else "",
        "seller_base_region": regions[0] if seller and regions else "",
        "user_type": grant.user_type,
        "granted_scopes": list(grant.scopes),
    }


def copy_of(grant: Grant) -> Grant:
    """A grant as it is now, for somebody who must not change it."""
    return replace(grant)


def _needed(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if not value:
        raise Failure(BAD_PARAMETER, f"invalid params: {name} is missing", status=200)
    return value


def _trim(kept: dict[str, object] | dict[str, Code] | dict[str, Grant]) -> None:
    if len(kept) > _MAX_KEPT:
        # The oldest that is not one of the two that everybody knows.
        kept.pop(next(key for key in kept if not key.startswith("sandbox-")))
