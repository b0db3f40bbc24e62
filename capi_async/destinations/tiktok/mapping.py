"""From canonical fields to the objects of an event in Events API 2.0. All pure."""

from __future__ import annotations

from typing import Final

from capi_async.destinations.tiktok.wire import TikTokApp, TikTokContent, TikTokProperties, TikTokUser
from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers


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
