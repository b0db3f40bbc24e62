"""A notification: its types, its signature in three styles, and what may be spoilt about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct, field

from capi_async.sandbox.checks import HOUR
from capi_async.sandbox.platforms.tiktok_shop.signing import bare_webhook_sign, timed_webhook_sign, webhook_sign

MAX_ADDRESS = 255

#: Names that the setup call takes, and the numbers that deliveries carry.
TYPES = {
    "ORDER_STATUS_CHANGE": 1,
    "REVERSE_STATUS_UPDATE": 2,
    "RECIPIENT_ADDRESS_UPDATE": 3,
    "PACKAGE_UPDATE": 4,
    "PRODUCT_STATUS_CHANGE": 5,
    "SELLER_DEAUTHORIZATION": 6,
    "UPCOMING_AUTHORIZATION_EXPIRATION": 7,
    "CANCELLATION_STATUS_CHANGE": 11,
    "RETURN_STATUS_CHANGE": 12,
    "NEW_CONVERSATION": 13,
    "NEW_MESSAGE": 14,
    "PRODUCT_INFORMATION_CHANGE": 15,
    "PRODUCT_CREATION": 16,
    "PRODUCT_CATEGORY_CHANGE": 18,
    "NEW_MESSAGE_LISTENER": 33,
    "INVOICE_STATUS_CHANGE": 36,
    "PRODUCT_AUDIT_STATUS_CHANGE": 37,
}

Style = Literal["official", "timed", "bare"]
STYLES: tuple[str, ...] = get_args(Style)

Kind = Literal[
    "forge",
    "tamper",
    "truncate",
    "break_off",
    "reencode",
    "unsigned",
    "bearer",
    "uppercase",
    "stale",
    "numeric_shop_id",
    "without_id",
    "duplicate",
    "delay",
    "drop",
]
KINDS: tuple[str, ...] = get_args(Kind)


class Spoil(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with the next notifications.

    Attributes:
        kind: ``forge``: signed with another secret. ``tamper``: changed after signing. ``truncate``: half of the body,
            under the signature of the whole. ``break_off``: the connection ends in the middle of the body.
            ``reencode``: the same JSON in other bytes than were signed. ``unsigned``: no signature. ``bearer``:
            ``Bearer`` before it. ``uppercase``: its hex in capitals. ``stale``: ``age_s`` old, signed correctly.
            ``numeric_shop_id``: the shop as a number, signed correctly. ``without_id``: no ``tts_notification_id``,
            as in older samples, signed correctly. ``duplicate``: sent ``copies`` times in all. ``delay``: sent
            ``delay_s`` later, so behind younger ones. ``drop``: never sent.
        count: Notifications it befalls; ``None`` for all from now on.
        types: Numbers of the types it befalls; all, when empty.
    """

    kind: Kind
    count: int | None = 1
    types: tuple[int, ...] = ()
    age_s: float = HOUR
    copies: int = 2
    delay_s: float = 0.2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if (self.count is not None and self.count < 0) or self.copies < 1 or min(self.age_s, self.delay_s) < 0:
            raise ValueError("count, age_s and delay_s must not be negative, and copies be at least 1")


class Subscription(Struct, frozen=True):
    """Where notifications go. An empty ``types`` or ``shop_id`` means all of them."""

    address: str
    app_key: str
    types: tuple[int, ...] = ()
    shop_id: str = ""
    style: Style = "official"


class Attempt(Struct, frozen=True):
    """One try. ``status`` is 0 when no answer came, and ``error`` says why."""

    status: int
    error: str = ""


class Delivery(Struct):
    """One notification to one address, exactly as it is sent.

    Attributes:
        state: ``waiting``, ``delivered``, ``given_up`` (tries used up) or ``dropped`` (never sent, on purpose).
        spoilt: Kind of what was done to it, or "".
        broken_off: The connection ends in the middle of the body.
    """

    notification_id: str
    type: int
    shop_id: str
    address: str
    body: bytes
    headers: dict[str, str]
    spoilt: str = ""
    broken_off: bool = False
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """What the HTTP interface tells of it."""
        return {
            "notification_id": self.notification_id,
            "type": self.type,
            "shop_id": self.shop_id,
            "address": self.address,
            "body": self.body.decode("utf-8", "replace"),
            "headers": self.headers,
            "spoilt": self.spoilt,
            "state": self.state,
            "attempts": [msgspec.structs.asdict(attempt) for attempt in self.attempts],
        }


def make_delivery(
    to: Subscription,
    notification_id: str,
    number: int,
    owner: Mapping[str, str],
    data: Mapping[str, Any],
    spoil: Spoil | None,
    *,
    secret: str,
    now: float,
) -> Delivery:
    """One notification as it leaves, spoilt or not."""
    kind = spoil.kind if spoil else ""
    timestamp = int(now - (spoil.age_s if spoil and kind == "stale" else 0))
    content: dict[str, Any] = {"type": number, "tts_notification_id": notification_id, **owner}
    content |= {"timestamp": timestamp, "data": dict(data)}
    if kind == "numeric_shop_id" and "shop_id" in owner:
        content["shop_id"] = int(owner["shop_id"])
    if kind == "without_id":
        del content["tts_notification_id"]
    body = msgspec.json.encode(content)
    headers = sign_headers(to.style, to.app_key, f"not-{secret}" if kind == "forge" else secret, timestamp, body)
    name = "Authorization" if to.style == "official" else "X-TikTok-Shop-Signature"
    match kind:
        case "tamper":
            body = body.replace(b'"timestamp":', b'"timestamp":1', 1)
        case "truncate":
            body = body[: len(body) // 2]
        case "reencode":
            body = body.replace(b":", b": ").replace(b',"', b', "')
        case "unsigned":
            del headers[name]
        case "bearer":
            headers[name] = f"Bearer {headers[name]}"
        case "uppercase":
            headers[name] = headers[name].upper()
    state = "dropped" if kind == "drop" else "waiting"
    broken_off = kind == "break_off"
    return Delivery(
        notification_id, number, owner.get("shop_id", ""), to.address, body, headers, kind, broken_off, state
    )


def sign_headers(style: Style, app_key: str, secret: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Headers of a notification, signed in one of the three styles."""
    headers = {"Content-Type": "application/json"}
    if style == "official":
        return headers | {"Authorization": webhook_sign(app_key, secret, body)}
    clock = str(timestamp)
    signature = timed_webhook_sign(secret, clock, body) if style == "timed" else bare_webhook_sign(secret, body)
    return headers | {"X-TikTok-Shop-Signature": signature, "X-TikTok-Shop-Timestamp": clock}


def number_of(type_: str | int) -> int:
    """The number of a type; any number is one."""
    if isinstance(type_, int):
        return type_
    try:
        return TYPES[type_]
    except KeyError:
        raise ValueError(f"no webhook type {type_[:60]!r}; there are {', '.join(TYPES)}") from None
