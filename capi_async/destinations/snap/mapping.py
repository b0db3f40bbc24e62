"""From canonical fields to the objects of a v3 event: person, purchase, app. All pure."""

from __future__ import annotations

from typing import Final

from capi_async.destinations.base import page_of
from capi_async.destinations.declared import (
    BRAND,
    CURRENCY,
    ITEM_IDS,
    NAME,
    ON_THE_WEB,
    PIECES,
    PRICE_TEXT,
    QUANTITY_TEXT,
    SECONDS,
    Constant,
    Form,
    Items,
    Part,
    Translated,
    Usually,
    digest,
    digests,
    first,
    known,
    listed,
    of_click,
    of_event,
    of_item,
)
from capi_async.destinations.extinfo import extinfo, is_ios, may_track
from capi_async.destinations.snap.names import ACTION_SOURCES
from capi_async.destinations.snap.wire import SnapApp, SnapContent, SnapCustom, SnapEvent, SnapUser
from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Refusal


def form_of(*, external_id: str, partner: str | None) -> Form:
    """How an event is declared.

    Args:
        external_id: The identifier that holds external ids.
    """
    user = Part(
        SnapUser,
        em=digests("email"),
        ph=digests("phone_digits"),
        fn=listed("first_name_spaced"),
        ln=listed("last_name_spaced"),
        ge=listed("gender_binary"),
        ct=listed("city_joined"),
        st=listed("state_code"),
        zp=listed("zip_us5"),
        country=listed("country"),
        db=digest("dob"),
        external_id=first(external_id),
        client_ip_address=known("ip"),
        client_user_agent=known("user_agent"),
        sc_click_id=of_click("sc_click_id"),
        sc_cookie1=of_click("sc_cookie1"),
        madid=known("mobile_ad_id_clear"),
        idfv=known("idfv"),
        subscription_id=of_event("subscription_id"),
    )
    return Form(
        Part(
            SnapEvent,
            event_name=NAME,
            event_time=SECONDS,
            event_id=of_event("event_id"),
            action_source=Translated(ACTION_SOURCES, "source"),
            user_data=user,
            event_source_url=Usually(ON_THE_WEB, known("page_url"), _page_elsewhere),
            custom_data=_CUSTOM,
            integration=Constant(partner),
        )
    )


_CUSTOM: Final = Part(
    SnapCustom,
    none_if_empty=True,
    currency=CURRENCY,
    value=of_event("value"),
    order_id=of_event("order_id"),
    num_items=PIECES,
    content_ids=ITEM_IDS,
    contents=Items(
        Part(
            SnapContent,
            id=of_item("id"),
            quantity=QUANTITY_TEXT,
            item_price=PRICE_TEXT,
            brand=of_item("brand"),
            delivery_category=of_item("delivery_category"),
        )
    ),
    content_category=of_event("content_category"),
    content_name=of_event("content_name"),
    content_type=of_event("content_type"),
    brands=BRAND,
    delivery_category=of_event("delivery_category"),
    search_string=of_event("search_string"),
    sign_up_method=of_event("method"),
    predicted_ltv=of_event("predicted_ltv"),
)


def _page_elsewhere(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    """The page's address of an event that happened elsewhere than on the web."""
    return page_of(ids.page_url, warnings)


def app_data(event: Event) -> SnapApp:
    """``app_data`` as far as the event knows it; without an id and the device's system it is not sent."""
    app, found = event.app, extinfo(event)
    facts = None if isinstance(found, Refusal) else found
    if app is None:
        return SnapApp(None, int(bool(may_track(event))), facts)
    tracking = app.application_tracking
    # required; on iOS, whose prompt it is about, all but a yes counts as a denial, as Snap's integrations do
    allowed = app.att_status == "authorized" if facts and is_ios(facts) else bool(may_track(event))
    return SnapApp(
        app.id or None, int(allowed), facts, None if tracking is None else int(tracking), app.install_referrer
    )
