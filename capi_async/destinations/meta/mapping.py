"""From canonical fields to the parts of a Meta event: click id, person, purchase, app, privacy. All pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from capi_async.destinations.meta.wire import (
    LDU_COUNTRY_US,
    LDU_STATES,
    TOO_BROAD,
    MetaApp,
    MetaContent,
    MetaCustom,
    MetaUser,
)
from capi_async.event import ClickIds, Consent, Event
from capi_async.extinfo import extinfo
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Refusal, epoch_millis

UNKNOWN_CLICK_TIME: Final = "fbc: click.fbclid_seen is unknown, so the event's time stands in for it"
ODD_FBC: Final = "fbc: click.fbc is not of the form fb.1.<milliseconds>.<click id>; sent as given"

_FBCLID: Final = re.compile(r"[?&]fbclid=([^&]+)")
#: Meta's parameter builders append a tag of two or eight characters to the cookies they write.
_BUILDER_TAGS: Final = frozenset({2, 8})


def click_cookie(click: ClickIds, page_url: str | None, time: datetime) -> tuple[str | None, str | None]:
    """``fbc`` and what to warn of.

    The cookie holds, unless the click id at hand (``click.fbclid``, else the page's parameter) is another
    one: then it is newer, and a value is made as the browser would, from the moment the id was first seen.
    Source: .../conversions-api/parameters/fbp-and-fbc, read 2026-11.
    """
    cookie = click.fbc
    fbclid = click.fbclid or _from_url(page_url)
    if cookie:
        parts = cookie.split(".", 3)
        if len(parts) < 4 or parts[0] != "fb":
            if not fbclid:
                return cookie, ODD_FBC
        elif not fbclid or _same_click(parts[3], fbclid):
            return cookie, None
    if not fbclid:
        return None, None
    seen = click.fbclid_seen
    return f"fb.1.{epoch_millis(seen or time)}.{fbclid}", None if seen else UNKNOWN_CLICK_TIME


def _from_url(url: str | None) -> str | None:
    if url is None or "fbclid=" not in url:
        return None
    found = _FBCLID.search(url.partition("#")[0])
    # decoded once and not otherwise touched: the id is opaque, and its case counts
    return unquote(found[1]).strip() or None if found else None


def _same_click(in_cookie: str, fbclid: str) -> bool:
    if in_cookie == fbclid:
        return True
    tag = in_cookie.removeprefix(f"{fbclid}.")
    return tag != in_cookie and len(tag) in _BUILDER_TAGS and "." not in tag


def user_data(event: Event, ids: Identifiers, fbc: str | None) -> MetaUser:
    """``user_data`` of what is known of the person."""
    user = MetaUser(
        em=ids.email,
        ph=ids.phone_digits,
        external_id=ids.external_id,
        client_ip_address=ids.ip,
        client_user_agent=ids.user_agent,
        fbc=fbc,
        fbp=event.click.fbp,
        subscription_id=event.subscription_id,
        madid=ids.mobile_ad_id_clear,
    )
    # most of these are absent from most events: a look costs less than a tuple and a keyword each
    if digest := ids.first_name_joined:
        user.fn = (digest,)
    if digest := ids.last_name_joined:
        user.ln = (digest,)
    if digest := ids.dob:
        user.db = (digest,)
    # Meta knows f and m only
    if (digest := ids.gender) and ids.gender_letter != "n":
        user.ge = (digest,)
    if digest := ids.city_joined:
        user.ct = (digest,)
    if digest := ids.state_code:
        user.st = (digest,)
    if digest := ids.zip_us5:
        user.zp = (digest,)
    if digest := ids.country:
        user.country = (digest,)
    if event.app:
        user.anon_id = event.app.install_id
    return user


def too_broad(keys: Iterable[str]) -> bool:
    """Whether ``user_data`` with just these keys fits too many people, or nobody.

    Source: .../conversions-api/parameters/customer-information-parameters (rule since v13.0), read 2026-11.
    """
    present = frozenset(keys)
    return any(present <= combination for combination in TOO_BROAD)


def custom_data(event: Event) -> MetaCustom | None:
    """``custom_data``, or ``None`` if the event tells nothing of what was looked at or bought."""
    data = MetaCustom(
        value=event.value,  # type: ignore[arg-type]  # a made event holds Decimals
        currency=event.currency,
        order_id=event.order_id,
        num_items=event.num_items,
        content_type=event.content_type,
        content_name=event.content_name,
        content_category=event.content_category,
        search_string=event.search_string,
        predicted_ltv=event.predicted_ltv,  # type: ignore[arg-type]  # as above
        delivery_category=event.delivery_category,
    )
    items = event.items
    if not items:
        return None if data == _NO_CUSTOM else data
    ids, contents, pieces = [], [], 0
    for item in items:
        ids.append(item.id)
        pieces += item.quantity
        contents.append(
            MetaContent(
                item.id,
                item.quantity,
                item.price,  # type: ignore[arg-type]  # as above
                item.name,
                item.brand,
                item.category,
                item.delivery_category,
            )
        )
    data.content_ids, data.contents = ids, contents
    if data.num_items is None:
        data.num_items = pieces
    return data


_NO_CUSTOM: Final = MetaCustom()


def app_data(event: Event) -> MetaApp:
    """``app_data`` as far as the event knows it; :func:`app_missing` says what is not there.

    On systems without Apple's prompt (``not_applicable``) Meta says nothing about the first flag
    (unverified): the person's answer inside the app stands for both. No answer is ever made up.
    """
    app = event.app
    facts = extinfo(event)
    tracking = app.application_tracking if app else None
    status = app.att_status if app else None
    allowed = tracking if status == "not_applicable" else None if status is None else status == "authorized"
    return MetaApp(
        advertiser_tracking_enabled=None if allowed is None else int(allowed),
        application_tracking_enabled=None if tracking is None else int(tracking),
        extinfo=None if isinstance(facts, Refusal) else facts,
        install_referrer=app.install_referrer if app else None,
    )


def app_missing(event: Event, advertiser: object, application: object, facts: object) -> Refusal | None:
    """What an app event lacks. Source: .../conversions-api/parameters/app-data, read 2026-11."""
    if facts is None:
        found = extinfo(event)
        if isinstance(found, Refusal):
            return found
    if not isinstance(facts, (list, tuple)) or len(facts) != 16:
        return Refusal("rejected", "extra", "app_data.extinfo needs 16 texts", "fill the unknown ones with ''")
    if not facts[4]:
        return Refusal("rejected", "device.os_version", "app events need the system's version", "set device.os_version")
    if application is None:
        return Refusal(
            "rejected",
            "app.application_tracking",
            "app events must say whether tracking is allowed in the app",
            "set app=App(application_tracking=True or False)",
        )
    if advertiser is None:
        return Refusal(
            "rejected",
            "app.att_status",
            "app events must say how the tracking prompt was answered",
            "set app=App(att_status=...), 'not_applicable' where the system has no prompt",
        )
    return None


def limited_use(consent: Consent) -> tuple[tuple[str, ...] | None, int | None, int | None]:
    """``data_processing_options`` with country and state; without a listed state Meta places the person itself."""
    if consent.sale_opt_out is None:
        return None, None, None
    if not consent.sale_opt_out:
        return (), None, None
    state = LDU_STATES.get(consent.region.upper()) if consent.region else None
    return ("LDU",), LDU_COUNTRY_US if state else 0, state or 0
