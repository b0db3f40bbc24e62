"""From canonical fields to the objects of a Pinterest event: person, purchase, app and device, consent. All pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from capi_async.destinations.base import are_web, is_web, page_of
from capi_async.destinations.declared import (
    BRAND_IF_ANY,
    CURRENCY,
    ITEM_IDS,
    NAME,
    ON_THE_WEB,
    PIECES,
    PRICE_TEXT,
    SECONDS,
    Condition,
    Constant,
    Form,
    Items,
    Part,
    Usually,
    digests,
    known,
    listed,
    money,
    of_click,
    of_event,
    of_item,
)
from capi_async.destinations.pinterest.wire import (
    PinterestApp,
    PinterestContent,
    PinterestCustom,
    PinterestDevice,
    PinterestEvent,
    PinterestUser,
)
from capi_async.event import App, Consent, Device, Event
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import epoch_seconds


def action_source(event: Event) -> str | None:
    """``action_source`` of an event that did not happen on the web; ``None``: an app on an unknown system."""
    if event.source != "app":
        return "offline"
    return _APP_SOURCES.get(event.device.os or "") if event.device else None


_APP_SOURCES: Final = {"ios": "app_ios", "android": "app_android"}


def form_of(*, external_id: str, partner_name: str | None) -> Form:
    """How an event is declared.

    Args:
        external_id: The identifier that holds external ids.
    """
    user = Part(
        PinterestUser,
        em=digests("email"),
        ph=digests("phone_digits"),
        ge=listed("gender"),
        db=listed("dob"),
        ln=listed("last_name_plain"),
        fn=listed("first_name_plain"),
        ct=listed("city_joined"),
        st=listed("state_code"),
        zp=listed("zip_us5"),
        country=listed("country"),
        external_id=digests(external_id),
        hashed_maids=listed("mobile_ad_id"),
        client_ip_address=known("ip"),
        client_user_agent=known("user_agent"),
        click_id=of_click("epik"),
    )
    return Form(
        Part(
            PinterestEvent,
            event_name=NAME,
            action_source=Usually(ON_THE_WEB, Constant("web"), _elsewhere),
            event_time=SECONDS,
            event_id=of_event("event_id"),
            user_data=user,
            event_source_url=Usually(_ON_A_PAGE, known("page_url"), _no_page, is_web=is_web),
            partner_name=Constant(partner_name),
            custom_data=_CUSTOM,
        )
    )


def _elsewhere(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    return action_source(event)


def _no_page(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    return page_of(ids.page_url, warnings)


_ON_A_PAGE: Final = Condition(
    "(url := ids.page_url) is None or is_web(url)", lambda view: are_web(view.rows.of_people("page_url"))
)
_CUSTOM: Final = Part(
    PinterestCustom,
    none_if_empty=True,
    currency=CURRENCY,
    value=money("value"),
    order_id=of_event("order_id"),
    num_items=PIECES,
    content_ids=ITEM_IDS,
    contents=Items(
        Part(
            PinterestContent,
            id=of_item("id"),
            item_price=PRICE_TEXT,
            quantity=of_item("quantity"),
            item_name=of_item("name"),
            item_category=of_item("category"),
            item_brand=of_item("brand"),
        )
    ),
    content_name=of_event("content_name"),
    content_category=of_event("content_category"),
    content_brand=BRAND_IF_ANY,
    search_string=of_event("search_string"),
    predicted_ltv=money("predicted_ltv"),
)


def add_app_and_device(body: PinterestEvent, event: Event, warnings: list[str], *, tracking_flag: bool) -> None:
    """Lay in what is known of both; what is beyond Pinterest's limits is left out, with a warning."""
    app, device = event.app, event.device
    if app is not None:
        body.app_info = _fitting(PinterestApp, "app_info", _app_info(app), warnings)
        if event.source == "app":
            # "denied" and "restricted" are what iOS calls limited ad tracking
            if app.att_status in ("denied", "restricted"):
                body.opt_out = True
            if tracking_flag and app.att_status is not None:
                body.advertiser_tracking_enabled = app.att_status == "authorized"
    if device is not None:
        body.device_info = _fitting(PinterestDevice, "device_info", _device_info(device), warnings)
        if language := _LANGUAGE.match(device.locale or ""):
            body.language = language[0].lower()


_LANGUAGE: Final = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")


def _app_info(app: App) -> dict[str, Any]:
    return {
        "app_id": app.id,
        "app_name": app.name,
        "app_package_name": app.package,
        "app_version": app.version,
        "install_time": None if app.install_time is None else epoch_seconds(app.install_time),
    }


def _device_info(device: Device) -> dict[str, Any]:
    return {
        "brand": device.brand,
        "model": device.model,
        "carrier": device.carrier,
        "os_family": None if device.os is None else device.os if device.os in _OS_FAMILIES else "other",
        "os_version": device.os_version,
        "locale": None if device.locale is None else device.locale.replace("_", "-"),
        "timezone": device.timezone,
        "timezone_abbr": device.timezone_abbr,
        "cpu_cores": device.cpu_cores,
        "screen_density": _dots_per_inch(device),
        "screen_height": device.screen_height,
        "screen_width": device.screen_width,
        "storage_size": device.storage_gb,
        "storage_free_space": device.storage_free_gb,
    }


_OS_FAMILIES: Final = frozenset({"ios", "android", "macos", "windows", "linux", "bsd"})

#: Between the largest ratio of any screen and the fewest dots per inch of one.
_LARGEST_RATIO: Final = 20


def _dots_per_inch(device: Device) -> int | None:
    """Pinterest's example is in dots per inch (460); a ratio such as 2 says something else and is not sent."""
    density: Any = device.screen_density
    return round(density) if density is not None and density > _LARGEST_RATIO else None


S = TypeVar("S", bound=Struct)
_PATH: Final = re.compile(r"`\$\.(\w+)")


def _fitting(kind: type[S], where: str, values: dict[str, Any], warnings: list[str]) -> S | None:
    """The struct of those ``values`` that Pinterest's limits admit: a long carrier name must not cost the event."""
    values = {key: value for key, value in values.items() if value is not None}
    while values:
        try:
            return msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            found = _PATH.search(str(error))
            if found is None:  # every error of a flat object names its key
                return None
            del values[found[1]]
            warnings.append(f"{where}.{found[1]} is beyond Pinterest's limit and was left out")
    return None


def add_consent(body: PinterestEvent, consent: Consent, ids: Identifiers) -> None:
    if consent.ad_personalization is False:
        body.opt_out = True
    if not consent.sale_opt_out:
        return
    if body.custom_data is None:
        body.custom_data = PinterestCustom()
    body.custom_data.opt_out_type = "LDP"
    if consent.region is None:
        return
    # limited processing goes by where the person lives, and a state without its country would mislead
    country, _, state = consent.region.lower().partition("-")
    user = body.user_data
    user.country = (_digest(country),)
    if state:
        user.st = (_digest(state),)
    elif user.country != (ids.country,):
        user.st = None


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return sha256_hex(text)
