"""The objects of one event in Events API 2.0, and how a canonical event fills them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers


class TikTokUser(Struct, omit_defaults=True, gc=False):
    """``user``. The lists, names, postal code and mobile ids are SHA-256 digests; the rest is clear."""

    email: Sequence[str] | None = None
    phone: Sequence[str] | None = None
    external_id: Sequence[str] | None = None
    first_name: str | None = None
    last_name: str | None = None
    zip_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    ttclid: str | None = None
    ttp: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    idfa: str | None = None
    gaid: str | None = None
    idfv: str | None = None
    att_status: str | None = None


class TikTokPage(Struct, omit_defaults=True, gc=False):
    """``page``. TikTok reads the click id in the URL's query too."""

    url: str | None = None
    referrer: str | None = None


class TikTokContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``. The id is text: TikTok refuses a number. ``price`` is per unit, in major units."""

    content_id: str
    quantity: int
    price: Decimal | None = None
    content_name: str | None = None
    content_category: str | None = None
    brand: str | None = None


class TikTokProperties(Struct, omit_defaults=True, gc=False):
    """``properties``. Amounts are numbers in major units.

    Further documented keys (``content_ids``, ``shop_id``, ``status``, those of travel and vehicle catalogues) and
    keys of one's own come from ``Event.properties``.
    """

    currency: str | None = None
    value: Decimal | None = None
    order_id: str | None = None
    content_type: str | None = None
    contents: Sequence[TikTokContent] | None = None
    num_items: int | None = None
    # which of these two counts in 2.0 is UNVERIFIED: both are sent
    query: str | None = None
    search_string: str | None = None
    description: str | None = None
    delivery_category: str | None = None
    predicted_ltv: Decimal | None = None


class TikTokApp(Struct, omit_defaults=True, gc=False):
    """``app``, for app events."""

    app_id: str | None = None
    app_name: str | None = None
    app_version: str | None = None


class TikTokEvent(Struct, omit_defaults=True, gc=False):
    """One of ``data``. The documented objects ``ad`` and ``lead`` come from ``Event.extra``."""

    event: str
    event_time: int
    event_id: str
    user: TikTokUser
    page: TikTokPage | None = None
    properties: TikTokProperties | None = None
    app: TikTokApp | None = None
    limited_data_use: bool = False


def user_of(event: Event, ids: Identifiers) -> TikTokUser:
    """``user``, with a mobile id only where the device's system is known."""
    click = event.click
    # by position, in the struct's order: this runs for every event, and keywords cost more
    user = TikTokUser(
        ids.email,
        ids.phone_e164,
        ids.external_id,
        ids.first_name_spaced,
        ids.last_name_spaced,
        ids.zip_us5,
        ids.city_clear,
        ids.state_clear,
        ids.country_clear,
        click.ttclid,
        click.ttp,
        ids.ip,
        ids.user_agent,
    )
    if device := event.device:
        user.locale = device.locale.strip() or None if device.locale else None
        # the same text is another id on the other system, so an unknown system sends none
        if device.os == "ios":
            user.idfa = ids.mobile_ad_id
        elif device.os == "android":
            user.gaid = ids.mobile_ad_id
    if ids.idfv is not None:
        user.idfv = ids.idfv
    if event.app and event.app.att_status:
        user.att_status = event.app.att_status.upper()
    return user


def properties_of(event: Event) -> TikTokProperties | None:
    """``properties``, or ``None`` where the event says nothing that belongs there."""
    contents: list[TikTokContent] | None = None
    pieces, content_type = event.num_items, event.content_type
    if items := event.items:
        contents, total = [], 0
        for item in items:
            quantity = item.quantity
            total += quantity
            contents.append(
                TikTokContent(item.id, quantity, item.price, item.name, item.category, item.brand)  # type: ignore[arg-type]  # a made item holds Decimals
            )
        if pieces is None:
            pieces = total
        # an item's id is a product's unless the caller says otherwise; shopping ads need it said
        if content_type is None and "content_type" not in event.properties:
            content_type = "product"
    query = event.search_string
    data = TikTokProperties(
        event.currency,
        event.value,  # type: ignore[arg-type]  # a made event holds Decimals
        event.order_id,
        content_type,
        contents,
        pieces,
        query,
        query,
        event.description,
        event.delivery_category,
        event.predicted_ltv,  # type: ignore[arg-type]  # as above
    )
    return None if not items and data == _NO_PROPERTIES else data


_NO_PROPERTIES: Final = TikTokProperties()


def app_of(event: Event) -> TikTokApp | None:
    """``app``, or ``None`` without one."""
    app = event.app
    return TikTokApp(app.id, app.name, app.version) if app else None
