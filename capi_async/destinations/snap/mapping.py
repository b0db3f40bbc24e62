"""From canonical fields to the objects of a v3 event: person, purchase, app. All pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.destinations.cart import amount_text, shared_brand
from capi_async.destinations.extinfo import extinfo, is_ios, may_track
from capi_async.destinations.snap.wire import SnapApp, SnapContent, SnapCustom, SnapUser
from capi_async.event import Event, Item
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Refusal


def user_data(event: Event, ids: Identifiers, hashed: Sequence[str] | None) -> SnapUser:
    click, app = event.click, event.app
    # by position and in the struct's order: this runs per event, and keywords cost more
    return SnapUser(
        ids.email,
        ids.phone_digits,
        (one,) if (one := ids.first_name_spaced) else None,
        (one,) if (one := ids.last_name_spaced) else None,
        (one,) if (one := ids.gender_binary) else None,
        (one,) if (one := ids.city_joined) else None,
        (one,) if (one := ids.state_code) else None,
        (one,) if (one := ids.zip_us5) else None,
        (one,) if (one := ids.country) else None,
        ids.dob,
        hashed[0] if hashed else None,
        ids.ip,
        ids.user_agent,
        click.sc_click_id,
        click.sc_cookie1,
        ids.mobile_ad_id_clear,
        ids.idfv,
        event.subscription_id,
        (app.install_id,) if app and app.install_id else None,
    )


def custom_data(event: Event) -> SnapCustom | None:
    content_ids: Sequence[str] | None = None
    contents: Sequence[SnapContent] | None = None
    pieces, brand = event.num_items, None
    if items := event.items:
        if len(items) == 1:
            # nearly all orders: a tuple costs half of a list
            item = items[0]
            content_ids, contents, brand = (item.id,), (_content(item),), item.brand
            total = item.quantity
        else:
            content_ids, contents, brand = [item.id for item in items], list(map(_content, items)), shared_brand(event)
            total = sum([item.quantity for item in items])
        if pieces is None:
            pieces = total
    data = SnapCustom(
        event.currency,
        event.value,  # type: ignore[arg-type]  # a made event holds Decimals
        event.order_id,
        pieces,
        content_ids,
        contents,
        event.content_category,
        event.content_name,
        event.content_type,
        brand,
        event.delivery_category,
        event.search_string,
        event.method,
        event.predicted_ltv,  # type: ignore[arg-type]  # as above
    )
    return None if not items and data == _NO_CUSTOM else data


_NO_CUSTOM: Final = SnapCustom()


def _content(item: Item) -> SnapContent:
    price, text = item.price, None
    if price is not None and "E" in (text := str(price)):
        text = amount_text(price)  # which is not called for each, because a call costs as much as its work
    return SnapContent(
        item.id,
        str(item.quantity),
        text,
        item.brand,
        item.delivery_category,
    )


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
