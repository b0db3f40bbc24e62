"""What each platform's browser tag is called with, so that it and the server's event are known to be one.

Sources, read 2026-11: the platforms' pages on de-duplication (Meta: ``eventID``; TikTok and Pinterest: ``event_id``;
Snap: ``client_dedup_id``; Reddit: ``conversionId``; LinkedIn: ``event_id`` beside the number of the browser's own
    conversion
rule; X: ``conversion_id`` beside the id of the event's tag; Google: ``transaction_id`` of purchases).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from capi_async.event import Event, Item

#: The arguments of a call; ``None`` where something that the tag needs is missing.
Arguments: TypeAlias = list[Any]


class Tag(NamedTuple):
    """A platform's tag.

    Attributes:
        function: What stands on ``window`` while the tag is on the page; ``ttq.track`` is a method.
        arguments: Of the platform's name of an event, the event, and its value.
        denied_by: The choices of a visitor's consent that forbid the call; an account's own ``consents`` go before it.
    """

    function: str
    arguments: Callable[[str, Event, Decimal | None], Arguments]
    denied_by: tuple[str, ...] = ("ad_storage", "ad_user_data")


_META_STANDARD: Final = frozenset(
    {
        "AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration", "Contact", "CustomizeProduct", "Donate",
        "FindLocation", "InitiateCheckout", "Lead", "PageView", "Purchase", "Schedule", "Search", "StartTrial",
        "SubmitApplication", "Subscribe", "ViewContent",
    }
)  # fmt: skip


def _meta(name: str, event: Event, value: Decimal | None) -> Arguments:
    data = _filled(
        {**_money(event, value), "order_id": event.order_id, "search_string": event.search_string,
         "content_name": event.content_name, "num_items": _pieces(event), "content_type": _content_type(event),
         "content_ids": [item.id for item in event.items],
         "contents": [_filled({"id": item.id, "quantity": item.quantity, "item_price": item.price})
                      for item in event.items]}
    )  # fmt: skip
    return ["track" if name in _META_STANDARD else "trackCustom", name, data, {"eventID": event.event_id}]


def _tiktok(name: str, event: Event, value: Decimal | None) -> Arguments:
    contents = [
        _filled({"content_id": item.id, "content_name": item.name, "quantity": item.quantity, "price": item.price})
        for item in event.items
    ]
    data = _filled(
        {**_money(event, value), "order_id": event.order_id, "query": event.search_string,
         "content_type": _content_type(event), "contents": contents}
    )  # fmt: skip
    return [name, data, {"event_id": event.event_id}]


def _snap(name: str, event: Event, value: Decimal | None) -> Arguments:
    data = _filled(
        {"price": value, "currency": event.currency if value is not None else None, "transaction_id": event.order_id,
         "search_string": event.search_string, "item_ids": [item.id for item in event.items],
         "number_items": _pieces(event)}
    )  # fmt: skip
    return ["track", name, {**data, "client_dedup_id": event.event_id}]


def _pinterest(name: str, event: Event, value: Decimal | None) -> Arguments:
    items = [
        _filled({"product_id": item.id, "product_name": item.name, "product_price": item.price,
                 "product_quantity": item.quantity, "product_brand": item.brand})
        for item in event.items
    ]  # fmt: skip
    data = _filled(
        {**_money(event, value), "order_id": event.order_id, "order_quantity": _pieces(event),
         "search_query": event.search_string, "line_items": items}
    )  # fmt: skip
    # the interface writes add_to_cart where the tag has addtocart
    return ["track", name.replace("_", ""), {"event_id": event.event_id, **data}]


_REDDIT: Final[Mapping[str, str]] = {
    "PAGE_VISIT": "PageVisit", "VIEW_CONTENT": "ViewContent", "SEARCH": "Search", "ADD_TO_CART": "AddToCart",
    "ADD_TO_WISHLIST": "AddToWishlist", "PURCHASE": "Purchase", "LEAD": "Lead", "SIGN_UP": "SignUp",
}  # fmt: skip


def _reddit(name: str, event: Event, value: Decimal | None) -> Arguments:
    products = [_filled({"id": item.id, "name": item.name, "category": item.category}) for item in event.items]
    data = _filled({**_money(event, value), "itemCount": _pieces(event), "products": products})
    data["conversionId"] = event.event_id
    known = _REDDIT.get(name)
    if known is None:
        # a name of the account's own is sent by the server, too
        data["customEventName"] = event.name if name == "CUSTOM" else name
    return ["track", known or "Custom", data]


def linkedin_rule(name: str) -> int | None:
    """The number of a conversion rule, written alone or behind ``urn:lla:llaPartnerConversion:``."""
    rule = name.rpartition(":")[2]
    return int(rule) if rule.isascii() and rule.isdecimal() and len(rule) <= 19 else None


def _linkedin(name: str, event: Event, value: Decimal | None) -> Arguments:
    # the server's rule is another one than the browser's
    rule = linkedin_rule(name)
    return [] if rule is None else ["track", {"conversion_id": rule, "event_id": event.event_id}]


def _google(name: str, event: Event, value: Decimal | None) -> Arguments:
    data = _filled(
        {**_money(event, value), "transaction_id": event.order_id, "search_term": event.search_string,
         "method": event.method, "items": [_google_item(item) for item in event.items]}
    )  # fmt: skip
    return ["event", name, {**data, "event_id": event.event_id}]


def _google_item(item: Item) -> dict[str, Any]:
    return _filled(
        {"item_id": item.id, "item_name": item.name, "item_brand": item.brand, "item_category": item.category,
         "item_variant": item.variant, "price": item.price, "quantity": item.quantity}
    )  # fmt: skip


def _x(name: str, event: Event, value: Decimal | None) -> Arguments:
    contents = [
        _filled({"content_id": item.id, "content_name": item.name, "content_price": item.price,
                 "num_items": item.quantity})
        for item in event.items
    ]  # fmt: skip
    data = _filled({**_money(event, value), "search_string": event.search_string, "contents": contents})
    return ["event", name, {"conversion_id": event.event_id, **data}] if name.startswith("tw-") else []


def _money(event: Event, value: Decimal | None) -> dict[str, Any]:
    return {"value": value, "currency": event.currency if value is not None else None}


def _pieces(event: Event) -> int | None:
    return event.num_items if event.num_items is not None else sum(item.quantity for item in event.items) or None


def _content_type(event: Event) -> str | None:
    return event.content_type or ("product" if event.items else None)


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` without what is not there."""
    return {key: value for key, value in data.items() if value is not None and value != []}


#: Of platforms that cannot be told to personalise nothing.
_NO_SWITCH: Final = ("ad_storage", "ad_user_data", "ad_personalization")

TAGS: Final[Mapping[str, Tag]] = {
    "meta": Tag("fbq", _meta),
    "tiktok": Tag("ttq.track", _tiktok, denied_by=_NO_SWITCH),
    "snap": Tag("snaptr", _snap, denied_by=_NO_SWITCH),
    "pinterest": Tag("pintrk", _pinterest),
    "reddit": Tag("rdt", _reddit, denied_by=_NO_SWITCH),
    "linkedin": Tag("lintrk", _linkedin, denied_by=(*_NO_SWITCH, "sale_opt_out")),
    "ga4": Tag("gtag", _google, denied_by=("analytics_storage",)),
    "x": Tag("twq", _x, denied_by=(*_NO_SWITCH, "sale_opt_out")),
}
#: Types of destinations that share another's tag.
SAME_TAG: Final[Mapping[str, str]] = {"snap_v2": "snap", "tiktok_pixel": "tiktok"}
