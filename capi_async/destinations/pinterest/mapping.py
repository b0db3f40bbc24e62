"""From canonical fields to the objects of a Pinterest event: person, purchase, app and device, consent. All pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from capi_async.destinations.cart import amount_text, shared_brand
from capi_async.destinations.pinterest.wire import (
    PinterestApp,
    PinterestContent,
    PinterestCustom,
    PinterestDevice,
    PinterestEvent,
    PinterestUser,
)
from capi_async.event import App, Consent, Device, Event, Item
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import epoch_seconds


def action_source(event: Event) -> str | None:
    """``action_source`` of an event that did not happen on the web; ``None``: an app on an unknown system."""
    if event.source != "app":
        return "offline"
    return _APP_SOURCES.get(event.device.os or "") if event.device else None


_APP_SOURCES: Final = {"ios": "app_ios", "android": "app_android"}


def user_data(event: Event, ids: Identifiers, external_id: Sequence[str] | None) -> PinterestUser:
    # by position, in the struct's order: this runs for every event, and keywords cost more
    return PinterestUser(
        ids.email,
        ids.phone_digits,
        (one,) if (one := ids.gender) else None,
        (one,) if (one := ids.dob) else None,
        (one,) if (one := ids.last_name_plain) else None,
        (one,) if (one := ids.first_name_plain) else None,
        (one,) if (one := ids.city_joined) else None,
        (one,) if (one := ids.state_code) else None,
        (one,) if (one := ids.zip_us5) else None,
        (one,) if (one := ids.country) else None,
        external_id,
        (one,) if (one := ids.mobile_ad_id) else None,
        ids.ip,
        ids.user_agent,
        event.click.epik,
    )


def custom_data(event: Event) -> PinterestCustom | None:
    content_ids: Sequence[str] | None = None
    contents: Sequence[PinterestContent] | None = None
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
    data = PinterestCustom(
        event.currency,
        None if (value := event.value) is None else amount_text(value),
        event.order_id,
        pieces,
        content_ids,
        contents,
        event.content_name,
        event.content_category,
        brand or None,
        event.search_string,
        None,
        None if (value := event.predicted_ltv) is None else amount_text(value),
    )
    return None if not items and data == _NO_CUSTOM else data


_NO_CUSTOM: Final = PinterestCustom()


def _content(item: Item) -> PinterestContent:
    price, text = item.price, None
    if price is not None and "E" in (text := str(price)):
        text = amount_text(price)  # which is not called for each, because a call costs as much as its work
    return PinterestContent(
        item.id,
        text,
        item.quantity,
        item.name,
        item.category,
        item.brand,
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
