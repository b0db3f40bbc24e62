"""From an order to a purchase. Pure.

A sale inside TikTok Shop has no visit to a website: no address of a page, no IP address, no browser, no click id. What
is known of the buyer is the shop's id of them and, later and not always, where the parcel goes. The rest is masked:
a masked value is left out, because its hash would look like data and match nobody.

Source: Partner Center, order detail (6894134ba28e5204961601a5), copy of 2025-12.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

from capi_async.errors import ConfigError, EventError
from capi_async.event import Consent, Event, Item, User
from capi_async.sources.tiktok_shop.models import LineItem, Order, RecipientAddress

#: What of the buyer may leave: TikTok Shop's id of them; a phone that is not masked; the recipient's name; city,
#: state, postal code and country; an e-mail address that is not TikTok's own relay.
Share: TypeAlias = Literal["buyer_id", "phone", "name", "address", "email"]
EVERYTHING: Final[tuple[Share, ...]] = get_args(Share)

#: When an order counts: once it is paid, or once the buyer's hour of remorse is over and it awaits shipment.
CountsWhen: TypeAlias = Literal["paid", "confirmed"]
ItemId: TypeAlias = Literal["sku_id", "product_id", "seller_sku"]
ValueOf: TypeAlias = Literal["total", "sub_total"]
#: Whether an order counts: now, perhaps later, or never.
Verdict: TypeAlias = Literal["counts", "later", "never"]

#: Statuses behind payment, and those behind the hour of remorse.
CONFIRMED: Final = frozenset(
    ("AWAITING_SHIPMENT", "PARTIALLY_SHIPPING", "AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED", "COMPLETED")
)
PAID: Final = CONFIRMED | {"ON_HOLD"}
CANCELLED: Final = frozenset(("CANCELLED", "CANCEL"))

#: Currencies without decimals, as TikTok Shop writes them.
WITHOUT_DECIMALS: Final = frozenset(("JPY", "IDR", "VND"))

#: Names of articles are cut here: they are for people to read.
_MAX_NAME: Final = 500

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_PUNCTUATION: Final = str.maketrans("", "", " ()-.\u00a0")
_EMAIL: Final = re.compile(r"[^@\s*]+@[^@\s*]+\.[^@\s*]+")
#: Markets that put the whole name where the first name belongs.
_WHOLE_NAMES: Final = frozenset(("BR", "MX"))
_CITY: Final = frozenset(("city", "municipality"))
_STATE: Final = frozenset(("state", "province"))


def event_id_of(shop_id: str, order_id: str) -> str:
    """The event's id, the same from a webhook, a poll and a replay: ``tiktok_shop:{shop_id}:{order_id}``."""
    return f"tiktok_shop:{shop_id}:{order_id}"


def purchase_verdict(
    order: Order, *, counts_when: CountsWhen = "paid", cash_on_delivery: bool = False
) -> tuple[Verdict, str]:
    """Whether an order counts as a purchase, and why not.

    Samples, replacements, exchanges, give-aways, orders of nothing and cancelled orders never do.

    Args:
        cash_on_delivery: Count an order that is paid at the door once it is placed. The platform does not say when it
            sets ``paid_time`` for these; otherwise they count when it is set.
    """
    if order.status in CANCELLED:
        return "never", "cancelled"
    if order.is_sample_order:
        return "never", "a sample"
    if order.is_replacement_order or order.is_exchange_order:
        return "never", "a replacement or an exchange"
    if order.order_type == "ZERO_LOTTERY":
        return "never", "a give-away"
    if order.status == "UNPAID" or not order.status:
        return "later", "not paid"
    if order.payment.total_amount is not None and order.payment.total_amount <= 0:
        return "never", "nothing was charged"
    paid = order.paid_time > 0 or (order.status in PAID and (cash_on_delivery or not order.is_cod))
    if not paid:
        return "later", "not paid"
    if counts_when == "confirmed" and order.status not in CONFIRMED:
        return "later", "not confirmed"
    return "counts", ""


def order_to_event(
    order: Order,
    *,
    shop_id: str,
    share: Collection[Share] = (),
    item_id: ItemId = "sku_id",
    value_of: ValueOf = "total",
    consent: Consent | None = None,
    to: Sequence[str] | None = None,
    test: bool = False,
) -> Event:
    """The purchase that an order is. Whether it counts yet is :func:`purchase_verdict`'s to say.

    Args:
        shop_id: The shop's id; part of the event's id.
        share: What of the buyer may leave for the destinations; nothing, by default. The seller's permission, and the
            platform's terms, are the caller's to mind.
        item_id: Which id the advertisers' catalogue knows an article by; ``sku_id`` stands in for an empty
            ``seller_sku``.
        value_of: ``total``: all that the buyer pays, shipping and taxes included. ``sub_total``: the goods, in the US
            before tax.
        consent, to, test: As of :class:`~capi_async.event.Event`.

    Raises:
        EventError: The order has no id, no amount, no currency or no time.
        ConfigError: ``share`` names something else.

    Its ``source`` is ``other``: no website saw this sale. Pieces of the same article at the same price become one item;
    gifts and cancelled lines are left out. JPY, IDR and VND amounts carry no decimals. Whatever else cannot be used (a
    line's price, a part of an address) is left out, and costs nothing but itself.
    """
    check_share(share)
    if not order.id or not shop_id:
        raise EventError("order_id", "an order needs its id and its shop's")
    payment = order.payment
    value = payment.total_amount if value_of == "total" else payment.sub_total
    currency = payment.currency.strip().upper()
    if value is None or not currency:
        raise EventError("value", "the order names no amount that can be read, or no currency")
    if not (at := counted_at(order)):
        raise EventError("time", "the order names no time that can be read")
    return Event(
        "purchase",
        event_id=event_id_of(shop_id, order.id),
        time=datetime.fromtimestamp(at, UTC),
        source="other",
        user=_user(order, frozenset(share)),
        value=_plain(value, currency),
        currency=currency,
        order_id=order.id,
        items=_items(order.line_items, currency, item_id),
        consent=consent,
        to=to,
        test=test,
    )


def counted_at(order: Order) -> int:
    """When the purchase was made, in seconds since the epoch: when it was paid, else made, else last changed."""
    return order.paid_time or order.create_time or order.update_time


def check_share(share: object) -> None:
    """Refuse anything that is not a collection of :data:`Share`.

    Raises:
        ConfigError: The text names what there is.
    """
    if isinstance(share, str) or not isinstance(share, Collection) or (set(share) - set(EVERYTHING)):
        raise ConfigError(f"share is a list of {', '.join(EVERYTHING)}, or empty")


def _plain(amount: Decimal, currency: str) -> Decimal:
    # only zeros are taken away: what else stands behind the point is the platform's affair, not ours to round
    if currency in WITHOUT_DECIMALS and amount == amount.to_integral_value():
        return amount.to_integral_value()
    return amount


def _items(lines: Iterable[LineItem], currency: str, item_id: ItemId) -> list[Item]:
    pieces: dict[tuple[str, str, Decimal | None], list[LineItem]] = {}
    for line in lines:
        # a discount that is written as a line is no article that was sold
        if line.is_gift or _is_cancelled(line) or (line.sale_price is not None and line.sale_price < 0):
            continue
        pieces.setdefault((line.product_id, line.sku_id, line.sale_price), []).append(line)
    found = []
    for (_, _, price), same in pieces.items():
        one = same[0]
        name = getattr(one, item_id) or one.sku_id or one.product_id
        if not name:
            continue
        plain = None if price is None else _plain(price, one.currency.strip().upper() or currency)
        told: dict[str, Any] = {
            "price": plain,
            "name": one.product_name[:_MAX_NAME] or None,
            "variant": one.sku_name[:_MAX_NAME] or None,
        }
        try:
            found.append(Item(id=name, quantity=len(same), **told))
        except EventError:  # what an article costs and is called is not needed to count it
            with suppress(EventError):
                found.append(Item(id=name, quantity=len(same)))
    return found


def _is_cancelled(line: LineItem) -> bool:
    """Whether this unit was taken back; a request to do so, which the seller may refuse, does not count."""
    if line.display_status:
        return line.display_status in CANCELLED
    return bool(line.cancel_user or line.cancel_reason)


def _user(order: Order, share: frozenset[Share]) -> User:
    found: dict[str, Any] = {}
    if "buyer_id" in share and order.user_id:
        found["external_id"] = order.user_id
    if "email" in share:
        found["email"] = _real_email(order.buyer_email)
    if (address := order.recipient_address) is not None:
        if "phone" in share:
            found["phone"] = _real_phone(address.phone_number)
        if "name" in share:
            found["first_name"], found["last_name"] = _names(address)
        if "address" in share:
            found["country"] = _clear(address.region_code)
            found["zip"] = _clear(address.postal_code)
            found["city"] = _district(address, _CITY)
            found["state"] = _district(address, _STATE)
    known = {name: value for name, value in found.items() if value}
    try:
        return User(**known)
    except EventError:
        return User(**{name: value for name, value in known.items() if _is_usable(name, value)})


def _is_usable(name: str, value: Any) -> bool:
    """Whether this part of what is known of the buyer can be told by itself."""
    try:
        User(**{name: value})
    except EventError:
        return False
    return True


def _clear(text: str) -> str | None:
    """The text, unless it is masked or empty."""
    text = text.strip()
    return text if text and "*" not in text else None


def _real_email(address: str) -> str | None:
    """The address, unless it is TikTok's relay (``@chat.seller.tiktok.com`` and others) or masked."""
    address = address.strip()
    if not _EMAIL.fullmatch(address) or "tiktok" in address.rpartition("@")[2].lower():
        return None
    return address


def _real_phone(number: str) -> str | None:
    """The number as E.164, unless it is masked or without country code: ``(+1)213-***-1234`` is nobody's."""
    number = number.translate(_PUNCTUATION)
    return number if _E164.fullmatch(number) else None


def _names(address: RecipientAddress) -> tuple[str | None, str | None]:
    first, last = _clear(address.first_name), _clear(address.last_name)
    if address.region_code in _WHOLE_NAMES and first is not None and last is None:
        # where the first name ends cannot be known
        return None, None
    return first, last


def _district(address: RecipientAddress, names: frozenset[str]) -> str | None:
    """The level of this name: levels are numbered differently in every country."""
    for level in address.district_info:
        if level.address_level_name.strip().lower() in names:
            return _clear(level.address_name)
    return None
