"""What TikTok Shop's webhooks say, as structs. Pure.

A webhook tells that something changed, never what: no amounts, no items, no buyer. Known numbers become structs of
their own, all others stay :class:`Notification` with their ``data`` as it came.

Source: Partner Center, webhook overview (6504244ede672602b77f2e41) and the pages of the topics, copies of 2025-12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from capi_async.early import ready
from capi_async.sources.tiktok_shop.models import Id, Model, Time, read

#: The only spelling in which a webhook names a cancelled order; order detail writes ``CANCELLED``.
WEBHOOK_CANCELLED: Final = "CANCEL"


class Notification(Struct, frozen=True, kw_only=True):
    """A webhook of any topic.

    Attributes:
        id: The platform's id of this notification, or a digest of the body where it sent none.
        type: The topic's number.
        shop_id: Empty for the topics of creators.
        timestamp: Seconds since the epoch at which the platform made it; 0 if it did not say.
        data: The topic's own fields, decoded and otherwise untouched.
    """

    id: str
    type: int
    shop_id: str = ""
    timestamp: int = 0
    data: Mapping[str, Any] = {}

    @property
    def subject(self) -> str:
        """What is the same in every notification of the same news; empty where only ``id`` tells copies apart."""
        return ""

    @property
    def order_ids(self) -> tuple[str, ...]:
        """The orders that it names, wherever its topic writes them; topics are added and renumbered."""
        return tuple(dict.fromkeys(_named_orders(self.data)))

    @property
    def status_of_order(self) -> str:
        """The status that it tells of its order; empty if its topic tells none."""
        status = self.data.get("order_status")
        return status if isinstance(status, str) else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(type={self.type}, id={self.id!r}, shop_id={self.shop_id!r})"


#: Where topics write the orders that they are about: of packages there may be several, of orders one.
_ORDER_FIELDS: Final = ("order_id", "order_ids", "order_id_list")
_NESTED_FIELDS: Final = ("package_list", "packages", "order_list", "orders")
_MAX_ORDERS: Final = 100


def _named_orders(data: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in _ORDER_FIELDS:
        value = data.get(name)
        values = value if isinstance(value, list) else [value]
        found += [str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool) and one]
    for name in _NESTED_FIELDS:
        value = data.get(name)
        for part in value if isinstance(value, list) else ():
            if isinstance(part, dict):
                found += _named_orders({key: part[key] for key in _ORDER_FIELDS if key in part})
    return found[:_MAX_ORDERS]


class OrderStatusChanged(Notification, frozen=True, kw_only=True):
    """Topic 1, ``ORDER_STATUS_CHANGE``.

    Attributes:
        order_status: As an order's ``status``, except that a cancelled order is ``CANCEL`` here.
    """

    order_id: str
    order_status: str
    is_on_hold_order: bool = False
    update_time: int = 0

    @property
    def subject(self) -> str:
        return f"1:{self.shop_id}:{self.order_id}:{self.order_status}"

    @property
    def cancelled(self) -> bool:
        """Whether the order is no more."""
        return self.order_status in (WEBHOOK_CANCELLED, "CANCELLED")


class RecipientAddressUpdated(Notification, frozen=True, kw_only=True):
    """Topic 3, ``RECIPIENT_ADDRESS_UPDATE``."""

    order_id: str
    update_time: int = 0


class SellerDeauthorized(Notification, frozen=True, kw_only=True):
    """Topic 6, ``SELLER_DEAUTHORIZATION``: the seller has withdrawn the authorization."""

    message: str = ""


class AuthorizationExpiring(Notification, frozen=True, kw_only=True):
    """Topic 7, ``UPCOMING_AUTHORIZATION_EXPIRATION``: daily, from 30 days before the authorization ends.

    Attributes:
        expiration_time: As the platform writes it.
    """

    message: str = ""
    expiration_time: str = ""


class CancellationChanged(Notification, frozen=True, kw_only=True):
    """Topic 11, ``CANCELLATION_STATUS_CHANGE``.

    Attributes:
        cancellations_role: Who asked: ``BUYER``, ``SELLER`` or ``SYSTEM``.
        cancel_status: ``CANCELLATION_REQUEST_`` and ``PENDING``, ``SUCCESS``, ``CANCELLED`` or ``COMPLETE``.
    """

    order_id: str
    cancel_id: str
    cancel_status: str = ""
    cancellations_role: str = ""

    @property
    def subject(self) -> str:
        return f"11:{self.shop_id}:{self.cancel_id}:{self.cancel_status}"


class ReturnChanged(Notification, frozen=True, kw_only=True):
    """Topic 12, ``RETURN_STATUS_CHANGE``.

    Attributes:
        return_type: ``REFUND``, ``REPLACEMENT`` or ``RETURN_AND_REFUND``.
    """

    order_id: str
    return_id: str
    return_status: str = ""
    return_type: str = ""
    return_role: str = ""
    update_time: int = 0

    @property
    def subject(self) -> str:
        return f"12:{self.shop_id}:{self.return_id}:{self.return_status}"


@ready
class _Envelope(Model, frozen=True, kw_only=True):
    type: int = -1
    tts_notification_id: Id = ""
    shop_id: Id = ""
    timestamp: Time = 0
    data: Raw = Raw(b"{}")


class _Data(Model, frozen=True, kw_only=True):
    """All fields of all topics that are read."""

    required: ClassVar[tuple[str, ...]] = ()


@ready
class _OrderData(_Data, frozen=True, kw_only=True):
    required = ("order_id", "order_status")
    order_id: Id = ""
    order_status: str = ""
    is_on_hold_order: bool = False
    update_time: Time = 0


@ready
class _AddressData(_Data, frozen=True, kw_only=True):
    required = ("order_id",)
    order_id: Id = ""
    update_time: Time = 0


@ready
class _DeauthorizedData(_Data, frozen=True, kw_only=True):
    message: str = ""


@ready
class _ExpiringData(_Data, frozen=True, kw_only=True):
    message: str = ""
    expiration_time: Id = ""


@ready
class _CancellationData(_Data, frozen=True, kw_only=True):
    required = ("order_id", "cancel_id")
    order_id: Id = ""
    cancel_id: Id = ""
    cancel_status: str = ""
    cancellations_role: str = ""


@ready
class _ReturnData(_Data, frozen=True, kw_only=True):
    required = ("order_id", "return_id")
    order_id: Id = ""
    return_id: Id = ""
    return_status: str = ""
    return_type: str = ""
    return_role: str = ""
    update_time: Time = 0


#: Topic to the struct it becomes, and to the fields that are read for it.
TOPICS: Final[Mapping[int, tuple[type[Notification], type[_Data]]]] = {
    1: (OrderStatusChanged, _OrderData),
    3: (RecipientAddressUpdated, _AddressData),
    6: (SellerDeauthorized, _DeauthorizedData),
    7: (AuthorizationExpiring, _ExpiringData),
    11: (CancellationChanged, _CancellationData),
    12: (ReturnChanged, _ReturnData),
}


def read_notification(body: bytes) -> Notification:
    """A webhook's body as a struct; one whose signature has not been verified may be anybody's.

    A known topic whose fields are missing is a plain :class:`Notification`.

    Raises:
        ValueError: It is no JSON object with a ``type``. The text holds nothing of it.
    """
    try:
        envelope = read(body, _Envelope)
        raw = bytes(envelope.data) or b"{}"
        data = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ValueError("not a JSON object") from None
    if envelope.type < 0:
        raise ValueError("no type")
    if not isinstance(data, dict):
        data = {}
    common: dict[str, Any] = {
        "id": envelope.tts_notification_id or f"sha256:{hashlib.sha256(body).hexdigest()}",
        "type": envelope.type,
        "shop_id": envelope.shop_id,
        "timestamp": envelope.timestamp,
        "data": data,
    }
    topic = TOPICS.get(envelope.type)
    if topic is not None and data:
        kind, fields = topic
        found = read(raw, fields)
        if all(getattr(found, name) for name in fields.required):
            return kind(**common, **{name: getattr(found, name) for name in fields.__struct_fields__})
    return Notification(**common)
