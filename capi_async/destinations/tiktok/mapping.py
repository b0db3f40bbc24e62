"""From canonical fields to the objects of an event in Events API 2.0. All pure."""

from __future__ import annotations

from typing import Final

from capi_async.destinations.declared import (
    CURRENCY,
    NAME,
    PIECES,
    SECONDS,
    Computed,
    Condition,
    Items,
    Part,
    Usually,
    digest,
    digests,
    known,
    of_click,
    of_event,
    of_item,
)
from capi_async.destinations.tiktok.account import CURRENCIES, unlisted
from capi_async.destinations.tiktok.wire import (
    TikTokApp,
    TikTokContent,
    TikTokEvent,
    TikTokPage,
    TikTokProperties,
    TikTokUser,
)
from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers


def _content_type(event: Event) -> str | None:
    # an item's id is a product's unless the caller says otherwise; shopping ads need it said
    if event.content_type is None and event.items and "content_type" not in event.properties:
        return "product"
    return event.content_type


def _unlisted(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    if event.currency is not None:
        warnings.append(unlisted(event.currency))
    return event.currency


_LISTED: Final = Condition("event.currency in currencies", lambda view: CURRENCIES.issuperset(view.rows.of("currency")))
EVENT: Final = Part(
    TikTokEvent,
    event=NAME,
    event_time=SECONDS,
    event_id=of_event("event_id"),
    user=Part(
        TikTokUser,
        email=digests("email"),
        phone=digests("phone_e164"),
        external_id=digests("external_id"),
        first_name=digest("first_name_spaced"),
        last_name=digest("last_name_spaced"),
        zip_code=digest("zip_us5"),
        city=known("city_clear"),
        state=known("state_clear"),
        country=known("country_clear"),
        ttclid=of_click("ttclid"),
        ttp=of_click("ttp"),
        ip=known("ip"),
        user_agent=known("user_agent"),
        idfv=known("idfv"),
    ),
    page=Part(TikTokPage, none_if_empty=True, url=known("page_url"), referrer=known("page_referrer")),
    properties=Part(
        TikTokProperties,
        none_if_empty=True,
        currency=Usually(_LISTED, CURRENCY, _unlisted, currencies=CURRENCIES),
        value=of_event("value"),
        order_id=of_event("order_id"),
        content_type=Computed(_content_type),
        contents=Items(
            Part(
                TikTokContent,
                content_id=of_item("id"),
                quantity=of_item("quantity"),
                price=of_item("price"),
                content_name=of_item("name"),
                content_category=of_item("category"),
                brand=of_item("brand"),
            )
        ),
        num_items=PIECES,
        query=of_event("search_string"),
        search_string=of_event("search_string"),
        description=of_event("description"),
        delivery_category=of_event("delivery_category"),
        predicted_ltv=of_event("predicted_ltv"),
    ),
)


def finish(body: TikTokEvent, event: Event, ids: Identifiers) -> None:
    """Lay in what is known of the app, the device and the choices; a mobile id only where the system is known."""
    user, app, device, consent = body.user, event.app, event.device, event.consent
    if device is not None:
        user.locale = device.locale.strip() or None if device.locale else None
        # the same text is another id on the other system, so an unknown system sends none
        if device.os == "ios":
            user.idfa = ids.mobile_ad_id
        elif device.os == "android":
            user.gaid = ids.mobile_ad_id
    if app is not None:
        if app.att_status:
            user.att_status = app.att_status.upper()
        if event.source == "app":
            body.app = TikTokApp(app.id, app.name, app.version)
    if consent is not None:
        body.limited_data_use = consent.sale_opt_out is True
