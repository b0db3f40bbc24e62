"""The platform behind its prefix: checks every call in the gateway's order, and answers in its envelope."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.sandbox.arrivals import Arrivals, Tally
from capi_async.sandbox.platforms.base import Call, Reply, Service, json_reply
from capi_async.sandbox.platforms.tiktok_shop import seeds
from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.authorize import CONSENTS, Consent, authorize
from capi_async.sandbox.platforms.tiktok_shop.authorize import PATHS as AUTHORIZE_PATHS
from capi_async.sandbox.platforms.tiktok_shop.envelope import (
    BAD_METHOD,
    BAD_PATH,
    BAD_VERSION,
    CREDENTIALS,
    FILE_SIZE,
    INTERNAL,
    NO_SCOPE,
    OK,
    TOO_MANY,
    Failure,
    envelope,
)
from capi_async.sandbox.platforms.tiktok_shop.gateway import admit, read_body
from capi_async.sandbox.platforms.tiktok_shop.model import CREATOR, CREATOR_ID, SELLER, Shop
from capi_async.sandbox.platforms.tiktok_shop.oauth import App, Authorizations, Grant, copy_of, token_data
from capi_async.sandbox.platforms.tiktok_shop.oddities import OUTAGES, PARTS, Outage, Part, with_odd_bytes
from capi_async.sandbox.platforms.tiktok_shop.orders import Order
from capi_async.sandbox.platforms.tiktok_shop.pages import Pages
from capi_async.sandbox.platforms.tiktok_shop.webhooks import Webhooks
from capi_async.sandbox.platforms.tiktok_shop.world import World
from capi_async.sandbox.rates import Rate

TOKEN_PATHS = ("/api/v2/token/get", "/api/v2/token/refresh")

# What the platform itself would say beside a status; 36009004 is told apart by its text alone.
_FAILURES = {
    400: (CREDENTIALS, "Invalid parameters"),
    401: (CREDENTIALS, "Invalid credentials"),
    403: (NO_SCOPE, "Access denied"),
    404: (BAD_PATH, "Invalid path"),
    405: (BAD_METHOD, "Invalid method"),
    413: (FILE_SIZE, "Request too large"),
    429: (TOO_MANY, "Too many requests"),
}
_MAX_CALLS, _MAX_BODY_KEPT = 5_000, 16 * 1_024


class ApiCall(Struct, frozen=True):
    """One call of the API, as it came and as it was answered.

    Attributes:
        path: Behind the prefix.
        query: Decoded; ``sign`` and ``timestamp`` included.
        body: Its first 16 KiB.
        status: HTTP status of the answer.
        code: Code in its envelope.
    """

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    content_type: str
    status: int
    code: int
    request_id: str


class _Failing(Struct):
    code: int
    status: int | None
    message: str
    path: str
    retry_after_s: float | None
    left: int | None


class TikTokShop(Service):
    """TikTok Shop; see the package for what it offers to tests.

    Args:
        local_hosts: Host names that webhooks and redirects may go to.
        clock: Wall time for expiries and windows, monotonic time for rates.

    Attributes:
        consent: What the authorize page does: ``allow``, ``refuse``, ``without_state`` or ``ask``.
        webhooks: The sender.
        calls: The newest API calls that were handled; requests that met a fault before are not among them.
    """

    name = "tiktok_shop"
    rate = Rate(10, 1.0)
    readings: ClassVar[Mapping[str, str]] = {
        "http_200": "every refusal comes with HTTP 200",
        "durations": "expiries of tokens are durations",
        "old_access_survives": "a refresh leaves the old access token alive",
        "pages_by_position": "a page begins so many items behind the first, whatever moved meanwhile",
        "reuse_revokes": "a refresh token used again ends the authorization",
        "single_use_pages": "a page token works exactly once",
        "sparse_search": "the order search gives little more than ids",
    }

    def __init__(
        self,
        *,
        seed: int = 0,
        readings: frozenset[str] = frozenset(),
        local_hosts: Collection[str] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._local_hosts = local_hosts
        # Outlives clear(), because its task runs as long as the sandbox does.
        self.webhooks = Webhooks(lambda: self._known.apps, random.Random(f"{seed}:webhooks"), local_hosts, clock.wall)
        super().__init__(seed=seed, readings=readings)

    def clear(self) -> None:
        """Back to the demo data: no grants, no subscriptions, no calls."""
        super().clear()
        self._consent: Consent = "allow"
        self.calls: deque[ApiCall] = deque(maxlen=_MAX_CALLS)
        self._failing: list[_Failing] = []
        self._outages: dict[str, Outage] = {}
        self._known = Authorizations(self._ids, self.chosen)
        self._pages = Pages(
            self._ids, once="single_use_pages" in self.chosen, by_position="pages_by_position" in self.chosen
        )
        self.webhooks.clear()
        self.world = World(self._ids, self._clock.wall, self._notify)
        seeds.lay_out(self.world)

    # From Python.

    @property
    def app(self) -> App:
        """The app that everybody knows."""
        return next(iter(self._known.apps.values()))

    @property
    def apps(self) -> list[App]:
        """All apps."""
        return list(self._known.apps.values())

    def add_app(self, key: str, secret: str, *, service_id: str = "", redirect_url: str = "") -> App:
        """Register a further app."""
        return self._known.add_app(key, secret, service_id, redirect_url)

    @property
    def shops(self) -> list[Shop]:
        """All shops of all sellers."""
        return list(self.world.shops.values())

    def shop(self, which: str = "") -> Shop:
        """A shop by id, cipher or region; the first by default."""
        return self.world.shop(which)

    @property
    def consent(self) -> Consent:
        """What the authorize page does."""
        return self._consent

    @consent.setter
    def consent(self, consent: Consent) -> None:
        if consent not in CONSENTS:
            raise ValueError(f"consent must be one of {', '.join(CONSENTS)}")
        self._consent = consent

    def authorize(
        self, shop: str = "", *, app_key: str = "", scopes: Sequence[str] | None = None, creator: bool = False
    ) -> str:
        """A code as the authorize page gives it, from the owner of a shop or from the creator."""
        owner = CREATOR_ID if creator else self.world.shop(shop).seller
        kind = CREATOR if creator else SELLER
        return self._known.new_code(
            self._clock.wall(), app_key=app_key or self.app.key, owner=owner, user_type=kind, scopes=scopes
        )

    def grant(
        self, shop: str = "", *, app_key: str = "", scopes: Sequence[str] | None = None, creator: bool = False
    ) -> Grant:
        """Tokens as the token host gives them, from the owner of a shop or from the creator."""
        owner = CREATOR_ID if creator else self.world.shop(shop).seller
        kind = CREATOR if creator else SELLER
        made = self._known.new_grant(
            self._clock.wall(), app_key=app_key or self.app.key, owner=owner, user_type=kind, scopes=scopes
        )
        return copy_of(made)

    def grants(self) -> list[Grant]:
        """What was given out and lives, newest last."""
        return [copy_of(grant) for grant in self._known.grants()]

    def expire_access(self, access_token: str | None = None) -> int:
        """Let one access token lapse, or all that were given out; says how many."""
        return self._known.expire_access(self._clock.wall(), access_token)

    def expire_refresh(self, access_token: str | None = None) -> int:
        """Let the refresh token beside one access token lapse, or all; says how many."""
        return self._known.expire_refresh(self._clock.wall(), access_token)

    def revoke(self, access_token: str | None = None) -> int:
        """The seller withdraws, by one token or all of them; webhook 6 tells. Says how many sellers."""
        owners = self._known.revoke(access_token)
        for owner in owners:
            for shop in self.shops:
                if shop.seller == owner:
                    self._notify(6, shop.id, {"message": "The seller has withdrawn the authorization."})
        return len(owners)

    def place_order(self, shop: str = "", **options: Any) -> Order:
        """A buyer orders; see ``World.place_order`` for the options."""
        return self.world.place_order(shop, **options)

    def order(self, order_id: str) -> Order:
        """One order.

        Raises:
            ValueError: There is none such.
        """
        try:
            return self.world.orders[order_id]
        except KeyError:
            raise ValueError("no such order") from None

    def orders(self, shop: str = "") -> list[Order]:
        """All orders of one shop, oldest first; of all shops when none is named."""
        where = self.world.shop(shop).id if shop else ""
        chosen = [order for order in self.world.orders.values() if not where or order.shop.id == where]
        return sorted(chosen, key=lambda order: (order.raw["create_time"], order.id))

    def fail(
        self,
        code: int,
        *,
        status: int | None = None,
        message: str = "failure set in the sandbox",
        path: str = "",
        count: int | None = 1,
        retry_after_s: float | None = None,
    ) -> None:
        """Refuse the next calls with a code, after the gate's own checks.

        Args:
            status: HTTP status; the code's usual one by default.
            path: Only calls whose path begins with this; the token host only when its path is named.
            count: How many; ``None`` for all from now on.
        """
        self._failing.append(_Failing(code, status, message, path, retry_after_s, count))

    def outage(self, part: Part, kind: Outage = "page") -> None:
        """From now on a part of the orders' API does not work, whoever asks.

        Args:
            part: ``search`` or ``detail``; the other goes on.
            kind: ``page``: a gateway's page with HTTP 404. ``retired``: the version is none any more. ``scope``: the
                token lacks a scope. ``empty``: a success that lists nothing. ``down``: HTTP 503.

        Raises:
            ValueError: There is no such part or kind.
        """
        if part not in PARTS or kind not in OUTAGES:
            raise ValueError(f"part is one of {', '.join(PARTS)}, kind one of {', '.join(OUTAGES)}")
        self._outages[PARTS[part]] = kind

    def clear_failures(self) -> None:
        """Let calls succeed again, and end outages."""
        self._failing.clear()
        self._outages.clear()

    # Over HTTP.

    def handle(self, call: Call, record: Arrivals) -> Reply:
        """Answer the authorize page, the token host, or the API."""
        self.tally.stats.requests += 1
        if call.path in AUTHORIZE_PATHS and call.method == "GET":
            return authorize(call, self._known, self._consent, self._local_hosts)
        if self._outages.get(call.path) == "page":
            return Reply(404, b"<html><body><h1>404 Not Found</h1>nginx</body></html>", {}, "text/html")
        request_id = self._request_id(call.now)
        status, code, headers = 200, OK, {}
        try:
            if call.path in TOKEN_PATHS:
                body = envelope(OK, "success", request_id, self._token(call))
            else:
                body = envelope(OK, "Success", request_id, self._api(call))
        except Failure as failure:
            status, code = failure.status, failure.code
            body = envelope(code, failure.message, request_id)
            if failure.retry_after_s is not None:
                headers["Retry-After"] = str(-int(-failure.retry_after_s // 1))
            Tally.count(self.tally.refused_requests, str(code))
            if "http_200" in self.chosen:
                status = 200
        self.calls.append(
            ApiCall(
                call.method,
                call.path,
                dict(call.query),
                call.body[:_MAX_BODY_KEPT],
                call.headers.get("Content-Type", ""),
                status,
                code,
                request_id,
            )
        )
        reply = json_reply(status, body, headers)
        return Reply(reply.status, with_odd_bytes(reply.body), reply.headers, reply.content_type)

    def failure(self, status: int, reason: str) -> Reply:
        code, kind = _FAILURES.get(status, (INTERNAL, "Internal error") if status >= 500 else _FAILURES[400])
        return json_reply(status, envelope(code, f"{kind}. {reason}", self._request_id(self._clock.wall())))

    def _token(self, call: Call) -> dict[str, object]:
        if call.method != "GET":
            raise Failure(BAD_PATH, "404 page not found", status=404)
        self._fail_on_purpose(call)
        given = self._known.exchange if call.path == TOKEN_PATHS[0] else self._known.refresh
        return token_data(given(call.query, call.now), call.now, durations="durations" in self.chosen)

    def _api(self, call: Call) -> Any:
        one = admit(call, self._known, self.shops)
        if self.windows and (wait_s := self.windows.admit(f"{one.app.key}:{one.shop.id}", call.uptime)):
            raise Failure(TOO_MANY, "Too many requests", retry_after_s=wait_s)
        self._fail_on_purpose(call)
        match self._outages.get(call.path):
            case "retired":
                raise Failure(BAD_VERSION, "Invalid API version in the path")
            case "scope":
                raise Failure(NO_SCOPE, "Access denied.")
            case "down":
                raise Failure(INTERNAL, "Internal error", status=503)
            case "empty":
                return {"orders": []}
        ask = Ask(
            world=self.world,
            webhooks=self.webhooks,
            pages=self._pages,
            app=one.app,
            grant=one.grant,
            shop=one.shop,
            query=call.query,
            body=read_body(call, one.operation),
            parts=one.parts,
            raw=call.body,
            content_type=call.headers.get("Content-Type", ""),
            now=call.now,
            sparse="sparse_search" in self.chosen,
        )
        return one.operation.run(ask)

    def _fail_on_purpose(self, call: Call) -> None:
        for failing in self._failing:
            # A refresh in between must not use up what was meant for the call.
            at_token_host = call.path in TOKEN_PATHS and not failing.path
            if failing.left != 0 and call.path.startswith(failing.path) and not at_token_host:
                if failing.left is not None:
                    failing.left -= 1
                raise Failure(failing.code, failing.message, status=failing.status, retry_after_s=failing.retry_after_s)

    def _notify(self, type_: int, shop_id: str, data: dict[str, Any]) -> None:
        self.webhooks.send(type_, data, shop_id=shop_id)

    def _request_id(self, now: float) -> str:
        return f"{int(now):014d}{self._ids.randrange(16**18):018X}"
