"""``/_sandbox/tiktok_shop``: what ``sandbox.tiktok_shop`` offers, for whoever runs in another process.

======  ==============================  ===============================================================
GET     (nothing behind it)             app, shops, subscriptions, and how many orders, calls, deliveries
DELETE  (nothing behind it)             back to the demo data
POST    ``settings``                    ``redirect_url``, ``consent``, ``retry_s``, ``answer_within_s``
POST    ``apps``                        ``key``, ``secret``, ``service_id``, ``redirect_url``
GET     ``orders`` (``?shop=JP``)       all orders; ``orders/ID`` one
POST    ``orders``                      places one; keys as the arguments of ``place_order``
POST    ``orders/ID/STEP``              pay, hold, release, ship, deliver, complete, cancel, refund, status, address;
                                        odd: ``oddity``, ``readings``, see ``Order.make_odd``
POST    ``codes``, ``grants``           a code, or tokens: ``shop``, ``app_key``, ``scopes``, ``creator``
POST    ``expire``, ``revoke``          ``access_token`` (all, without), for ``expire`` also ``which``: access, refresh
GET     ``webhooks``                    subscriptions
POST    ``webhooks``                    subscribes: ``address``, ``types``, ``shop_id``, ``app_key``, ``style``
DELETE  ``webhooks`` (``?address=``)    unsubscribes
POST    ``notifications``               sends one: ``type``, ``data``, ``shop_id`` or ``creator_open_id``
GET     ``deliveries`` (``?limit=``)    what was sent, and what became of it
POST    ``retry``                       makes waiting deliveries due
POST    ``replay``                      sends ``notification_id`` once more
POST    ``spoils``, ``failures``        see ``Spoil`` and ``TikTokShop.fail``; DELETE takes them back
POST    ``outages``                     ``part``, ``kind``: see ``TikTokShop.outage``; DELETE ``failures`` ends them
GET     ``calls`` (``?limit=``)         API calls
======  ==============================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from capi_async.sandbox.platforms.base import Reply, json_reply
from capi_async.sandbox.platforms.tiktok_shop.authorize import Consent
from capi_async.sandbox.platforms.tiktok_shop.notifications import Spoil, Style
from capi_async.sandbox.platforms.tiktok_shop.oddities import Oddity, Outage, Part
from capi_async.sandbox.platforms.tiktok_shop.orders import RELAY, Line, Order
from capi_async.sandbox.platforms.tiktok_shop.service import TikTokShop

B = TypeVar("B")


class _Body(Struct, forbid_unknown_fields=True):
    """Refuses keys that nobody reads."""


class _Settings(_Body):
    redirect_url: str | None = None
    consent: Consent | None = None
    retry_s: list[float] | None = None
    answer_within_s: float | None = None


class _App(_Body):
    key: str
    secret: str
    service_id: str = ""
    redirect_url: str = ""


class _PlaceOrder(_Body):
    shop: str = ""
    lines: list[Line] | None = None
    value: str | None = None
    paid: bool = False
    on_hold: bool = False
    cod: bool = False
    email: str | None = RELAY
    user_id: str | None = None
    address: dict[str, Any] | None = None
    shipping_fee: str = "0"
    tax: str = "0"
    seller_discount: str = "0"
    platform_discount: str = "0"
    currency: str = ""
    order_id: str = ""
    fields: dict[str, Any] | None = None


class _Step(_Body):
    status: str = ""
    amount: str | None = None
    kind: str = "REFUND"
    by: str = "BUYER"
    address: dict[str, str] = {}
    oddity: Oddity | None = None
    readings: int | None = None


class _Authorize(_Body):
    shop: str = ""
    app_key: str = ""
    scopes: list[str] | None = None
    creator: bool = False


class _Tokens(_Body):
    access_token: str | None = None
    which: Literal["access", "refresh"] = "access"


class _Subscribe(_Body):
    address: str
    types: list[str | int] = []
    shop_id: str = ""
    app_key: str = ""
    style: Style = "official"


class _Notification(_Body):
    type: str | int
    data: dict[str, Any] = {}
    shop_id: str = ""
    creator_open_id: str = ""


class _Replay(_Body):
    notification_id: str


class _Fail(_Body):
    code: int
    status: int | None = None
    message: str = "failure set in the sandbox"
    path: str = ""
    count: int | None = 1
    retry_after_s: float | None = None


class _Outage(_Body):
    part: Part
    kind: Outage = "page"


_STEPS: Mapping[str, Callable[[Order, _Step], object]] = {
    "pay": lambda order, _: order.pay(),
    "hold": lambda order, _: order.hold(),
    "release": lambda order, _: order.release(),
    "ship": lambda order, _: order.ship(),
    "deliver": lambda order, _: order.deliver(),
    "complete": lambda order, _: order.complete(),
    "cancel": lambda order, step: order.cancel(by=step.by),
    "refund": lambda order, step: order.refund(step.amount, kind=step.kind),
    "status": lambda order, step: order.set_status(step.status),
    "address": lambda order, step: order.change_address(**step.address),
    "odd": lambda order, step: order.make_odd(step.oddity, readings=step.readings),
}
_DONE = Reply(204, b"")


def administer_shop(shop: TikTokShop, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply | None:
    """Answer one request; ``None`` when there is no such page. Raises ``ValueError`` for what makes no sense."""
    head, _, rest = path.partition("/")
    match method, head:
        case "GET", "":
            return json_reply(200, _summary(shop))
        case "DELETE", "":
            shop.clear()
            return _DONE
        case "POST", "settings":
            return _set(shop, _read(body, _Settings))
        case "POST", "apps":
            app = _read(body, _App)
            made = shop.add_app(app.key, app.secret, service_id=app.service_id, redirect_url=app.redirect_url)
            return json_reply(200, made)
        case _, "orders":
            return _orders(shop, method, rest, query, body)
        case "POST", "codes":
            asked = _read(body, _Authorize)
            return json_reply(200, {"code": shop.authorize(**msgspec.structs.asdict(asked))})
        case "POST", "grants":
            asked = _read(body, _Authorize)
            return json_reply(200, shop.grant(**msgspec.structs.asdict(asked)))
        case "POST", ("expire" | "revoke"):
            return _end(shop, head, _read(body, _Tokens))
        case "POST", "failures":
            fail = _read(body, _Fail)
            shop.fail(**msgspec.structs.asdict(fail))
            return _DONE
        case "POST", "outages":
            outage = _read(body, _Outage)
            shop.outage(outage.part, outage.kind)
            return _DONE
        case "DELETE", "failures":
            shop.clear_failures()
            return _DONE
        case "GET", "calls":
            calls = list(shop.calls)[-int(query.get("limit") or 0) :]
            shown = [{**msgspec.structs.asdict(one), "body": one.body.decode("utf-8", "replace")} for one in calls]
            return json_reply(200, shown)
    return _webhooks(shop, method, head, query, body)


def _webhooks(shop: TikTokShop, method: str, head: str, query: Mapping[str, str], body: bytes) -> Reply | None:
    sender = shop.webhooks
    match method, head:
        case "GET", "webhooks":
            return json_reply(200, sender.subscriptions())
        case "POST", "webhooks":
            to = _read(body, _Subscribe)
            made = sender.subscribe(to.address, to.types, shop_id=to.shop_id, app_key=to.app_key, style=to.style)
            return json_reply(200, made)
        case "DELETE", "webhooks":
            sender.unsubscribe(query.get("address"))
            return _DONE
        case "POST", "notifications":
            what = _read(body, _Notification)
            sent = sender.send(what.type, what.data, shop_id=what.shop_id, creator_open_id=what.creator_open_id)
            return json_reply(200, [one.told() for one in sent])
        case "GET", "deliveries":
            chosen = list(sender.deliveries)[-int(query.get("limit") or 0) :]
            return json_reply(200, [one.told() for one in chosen])
        case "POST", "retry":
            return json_reply(200, {"due": sender.retry_now()})
        case "POST", "replay":
            wanted = _read(body, _Replay).notification_id
            found = [one for one in sender.deliveries if one.notification_id == wanted]
            if not found:
                raise ValueError("no delivery with that notification_id")
            return json_reply(200, sender.replay(found[0]).told())
        case "POST", "spoils":
            sender.add_spoil(_read(body, Spoil))
            return _DONE
        case "DELETE", "spoils":
            sender.clear_spoils()
            return _DONE
    return None


def _orders(shop: TikTokShop, method: str, rest: str, query: Mapping[str, str], body: bytes) -> Reply | None:
    order_id, _, step = rest.partition("/")
    match method, bool(order_id), step:
        case "GET", False, "":
            return json_reply(200, [order.raw for order in shop.orders(query.get("shop", ""))])
        case "POST", False, "":
            return json_reply(200, shop.place_order(**msgspec.structs.asdict(_read(body, _PlaceOrder))).raw)
        case "GET", True, "":
            return json_reply(200, shop.order(order_id).raw)
        case "POST", True, _ if step in _STEPS:
            order = shop.order(order_id)
            _STEPS[step](order, _read(body, _Step))
            return json_reply(200, order.raw)
    return None


def _set(shop: TikTokShop, settings: _Settings) -> Reply:
    if settings.redirect_url is not None:
        shop.app.redirect_url = settings.redirect_url
    if settings.consent is not None:
        shop.consent = settings.consent
    if settings.retry_s is not None:
        shop.webhooks.retry_s = settings.retry_s
    if settings.answer_within_s is not None:
        shop.webhooks.answer_within_s = settings.answer_within_s
    return json_reply(200, _summary(shop))


def _end(shop: TikTokShop, how: str, tokens: _Tokens) -> Reply:
    if how == "revoke":
        return json_reply(200, {"ended": shop.revoke(tokens.access_token)})
    expire = shop.expire_access if tokens.which == "access" else shop.expire_refresh
    return json_reply(200, {"ended": expire(tokens.access_token)})


def _summary(shop: TikTokShop) -> dict[str, Any]:
    return {
        "app": shop.app,
        "consent": shop.consent,
        "shops": shop.shops,
        "webhooks": shop.webhooks.subscriptions(),
        "orders": len(shop.world.orders),
        "calls": len(shop.calls),
        "deliveries": len(shop.webhooks.deliveries),
    }


def _read(body: bytes, kind: type[B]) -> B:
    return msgspec.json.decode(body or b"{}", type=kind)
