"""From canonical fields to the parts of a Meta event: click id, person, purchase, app, privacy. All pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from capi_async.destinations import refusals
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


def user_data(event: Event, ids: Identifiers, fbc: str | None) -> MetaUser:
    """``user_data`` of what is known of the person."""
    app = event.app
    # by position, in the struct's order: this runs for every event, and keywords cost more
    return MetaUser(
        ids.email,
        ids.phone_digits,
        ids.external_id_lower,
        (one,) if (one := ids.first_name_joined) else None,
        (one,) if (one := ids.last_name_joined) else None,
        (one,) if (one := ids.dob) else None,
        (one,) if (one := ids.gender_binary) else None,
        (one,) if (one := ids.city_joined) else None,
        (one,) if (one := ids.state_code_na) else None,
        (one,) if (one := ids.zip_us5) else None,
        (one,) if (one := ids.country) else None,
        ids.ip,
        ids.user_agent,
        fbc,
        event.click.fbp,
        event.subscription_id,
        # documented for app events only
        app.install_id if app and event.source == "app" else None,
        ids.mobile_ad_id_clear,
    )


def too_broad(keys: Iterable[str]) -> bool:
    """Whether ``user_data`` with just these keys fits too many people, or nobody.

    Source: .../conversions-api/parameters/customer-information-parameters (rule since v13.0), read 2026-11.
    """
    present = frozenset(keys)
    return any(present <= combination for combination in TOO_BROAD)


def custom_data(event: Event) -> MetaCustom | None:
    """``custom_data``, or ``None`` if the event tells nothing of what was looked at or bought."""
    content_ids: list[str] | None = None
    contents: list[MetaContent] | None = None
    pieces = event.num_items
    if items := event.items:
        content_ids, contents, total = [], [], 0
        for item in items:
            quantity = item.quantity
            total += quantity
            content_ids.append(item.id)
            contents.append(
                MetaContent(
                    item.id,
                    quantity,
                    item.price,  # type: ignore[arg-type]  # a made item holds Decimals
                    item.name,
                    item.brand,
                    item.category,
                    item.delivery_category,
                )
            )
        if pieces is None:
            pieces = total
    data = MetaCustom(
        event.value,  # type: ignore[arg-type]  # as above
        event.currency,
        event.order_id,
        contents,
        content_ids,
        pieces,
        event.content_type,
        event.content_name,
        event.content_category,
        event.search_string,
        event.predicted_ltv,  # type: ignore[arg-type]  # as above
        event.delivery_category,
    )
    return None if not items and data == _NO_CUSTOM else data


_NO_CUSTOM: Final = MetaCustom()


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
