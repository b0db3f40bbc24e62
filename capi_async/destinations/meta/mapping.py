"""From canonical fields to the parts of a Meta event: click id, person, purchase, app, privacy. All pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from capi_async.destinations import refusals
from capi_async.destinations.declared import (
    CURRENCY,
    ITEM_IDS,
    PIECES,
    Condition,
    Constant,
    Items,
    Part,
    Usually,
    digests,
    known,
    listed,
    of_click,
    of_event,
    of_item,
)
from capi_async.destinations.extinfo import extinfo, may_track
from capi_async.destinations.meta.wire import (
    LDU_COUNTRY_US,
    LDU_STATES,
    TOO_BROAD,
    MetaApp,
    MetaContent,
    MetaCustom,
    MetaUser,
)
from capi_async.destinations.texts import View, addresses
from capi_async.event import ClickIds, Consent, Event
from capi_async.pii.clicks import best_of, in_query, is_click_id, is_meta_cookie
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Refusal, epoch_millis

UNKNOWN_CLICK_TIME: Final = "fbc: click.fbclid_seen is unknown, so the event's time stands in for it"
ODD_FBCLID: Final = "fbc: the click id has not the form of one and was left out"

EXPIRED_CLICK: Final = "fbc: the click is older than 90 days, so Meta does not attribute it; left out"
LATER_CLICK: Final = "fbc: the click is later than the event, so one of the two times is wrong; left out"
#: For how long Meta attributes a click.
MAX_CLICK_AGE_S: Final = 90 * DAY
#: By how much the clocks of browser and server may differ.
_CLOCKS_S: Final = 600.0
#: Smaller numbers are seconds: as milliseconds they would lie in 1970.
_FIRST_MILLIS: Final = 1e11
#: Meta's parameter builders append a tag of two or eight characters to the cookies they write.
_BUILDER_TAGS: Final = frozenset({2, 8})


def click_cookie(
    click: ClickIds, page_url: str | None, referrer: str | None, time: datetime
) -> tuple[str | None, str | None]:
    """``fbc`` and what to warn of.

    The cookie holds, unless the click id at hand (``click.fbclid``, else the page's parameter, else the referrer's)
    is another one: then it is newer, and a value is made as the browser would, from the moment the id was first
    seen. A click older than 90 days, or later than the event, is left out: Meta does not attribute it.
    Source: .../conversions-api/parameters/fbp-and-fbc and Meta's diagnostic on expired click ids, read 2026-11.
    """
    cookie = click.fbc
    given = (click.fbclid,) if click.fbclid else ()
    fbclid = best_of([*given, *_from_url(page_url), *_from_url(referrer)])
    doubt = None
    if fbclid and not is_meta_cookie(fbclid) and not is_click_id(fbclid):
        fbclid, doubt = None, ODD_FBCLID
    made, guessed = cookie, False
    # the caller has left out a cookie that is none
    if fbclid and not (cookie and _same_click(cookie.split(".", 3)[3], fbclid)):
        if is_meta_cookie(fbclid):
            made = fbclid
        else:
            guessed = click.fbclid_seen is None
            made = f"fb.1.{epoch_millis(click.fbclid_seen or time)}.{fbclid}"
    if made is None:
        return None, doubt
    age_s = time.timestamp() - _seen_s(made)
    if age_s > MAX_CLICK_AGE_S:
        return None, EXPIRED_CLICK
    if age_s < -_CLOCKS_S:
        return None, LATER_CLICK
    return made, UNKNOWN_CLICK_TIME if guessed else doubt


def _seen_s(cookie: str) -> float:
    """When the click of a cookie was first seen, seconds since the epoch; some integrations write seconds."""
    stamp = float(cookie.split(".", 3)[2])
    return stamp / 1000 if stamp >= _FIRST_MILLIS else stamp


def _from_url(url: str | None) -> Sequence[str]:
    return () if url is None or "fbclid=" not in url else in_query(url, "fbclid")


def _same_click(in_cookie: str, fbclid: str) -> bool:
    if in_cookie == fbclid:
        return True
    tag = in_cookie.removeprefix(f"{fbclid}.")
    return tag != in_cookie and len(tag) in _BUILDER_TAGS and "." not in tag


def _fbc(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    click, url, referrer = event.click, ids.page_url, ids.page_referrer
    if not (
        click.fbc
        or click.fbclid
        or (url is not None and "fbclid=" in url)
        or (referrer is not None and "fbclid=" in referrer)
    ):
        return None
    fbc, doubt = click_cookie(click, url, referrer, event.time)
    if doubt:
        warnings.append(doubt)
    return fbc


def _no_click(view: View) -> bool:
    """Whether none of many events has anything of a click."""
    return view.clicks is None and "fbclid=" not in addresses(view.rows)


def too_broad(keys: Iterable[str]) -> bool:
    """Whether ``user_data`` with just these keys fits too many people, or nobody.

    Source: .../conversions-api/parameters/customer-information-parameters (rule since v13.0), read 2026-11.
    """
    present = frozenset(keys)
    return any(present <= combination for combination in TOO_BROAD)


USER: Final = Part(
    MetaUser,
    em=digests("email"),
    ph=digests("phone_digits"),
    external_id=digests("external_id_lower"),
    fn=listed("first_name_joined"),
    ln=listed("last_name_joined"),
    db=listed("dob"),
    ge=listed("gender_binary"),
    ct=listed("city_joined"),
    st=listed("state_code_na"),
    zp=listed("zip_us5"),
    country=listed("country"),
    client_ip_address=known("ip"),
    client_user_agent=known("user_agent"),
    fbc=Usually(Condition("False", _no_click), Constant(None), _fbc),
    fbp=of_click("fbp"),
    subscription_id=of_event("subscription_id"),
    madid=known("mobile_ad_id_clear"),
)
CUSTOM: Final = Part(
    MetaCustom,
    none_if_empty=True,
    value=of_event("value"),
    currency=CURRENCY,
    order_id=of_event("order_id"),
    contents=Items(
        Part(
            MetaContent,
            id=of_item("id"),
            quantity=of_item("quantity"),
            item_price=of_item("price"),
            title=of_item("name"),
            brand=of_item("brand"),
            category=of_item("category"),
            delivery_category=of_item("delivery_category"),
        )
    ),
    content_ids=ITEM_IDS,
    num_items=PIECES,
    content_type=of_event("content_type"),
    content_name=of_event("content_name"),
    content_category=of_event("content_category"),
    search_string=of_event("search_string"),
    predicted_ltv=of_event("predicted_ltv"),
    delivery_category=of_event("delivery_category"),
)


def app_data(event: Event, idfv: str | None) -> MetaApp:
    """``app_data`` as far as the event knows it; :func:`app_lacks` says what is not there.

    Where Apple's prompt was shown, its answer is never made up.
    """
    app = event.app
    facts = extinfo(event)
    tracking = app.application_tracking if app else None
    allowed = may_track(event)
    return MetaApp(
        advertiser_tracking_enabled=None if allowed is None else int(allowed),
        application_tracking_enabled=None if tracking is None else int(tracking),
        extinfo=None if isinstance(facts, Refusal) else facts,
        install_referrer=app.install_referrer if app else None,
        vendor_id=idfv,
    )


def app_lacks(app: MetaApp | None) -> Refusal | None:
    """What an app event lacks: only the first flag and ``extinfo`` are required.

    Source: .../conversions-api/app-events and .../conversions-api/parameters/app-data, read 2026-09.
    """
    if app is None or app.extinfo is None:
        return refusals.NO_SYSTEM
    if not app.extinfo[_SYSTEM_VERSION]:
        return Refusal("rejected", "device.os_version", "app events need the system's version", "set device.os_version")
    if app.advertiser_tracking_enabled is None:
        return Refusal(
            "rejected",
            "app.att_status",
            "app events of iOS must say how the tracking prompt was answered",
            "set app=App(att_status=...), 'not_applicable' where the system has no prompt",
        )
    return None


#: Its position in ``extinfo``.
_SYSTEM_VERSION: Final = 4


def limited_use(consent: Consent) -> tuple[tuple[str, ...] | None, int | None, int | None]:
    """``data_processing_options`` with country and state; without a listed state Meta places the person itself."""
    if consent.sale_opt_out is None:
        return None, None, None
    if not consent.sale_opt_out:
        return (), None, None
    state = LDU_STATES.get(consent.region.upper()) if consent.region else None
    return ("LDU",), LDU_COUNTRY_US if state else 0, state or 0
