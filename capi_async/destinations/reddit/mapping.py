"""From canonical fields to the objects of a Reddit event: person, purchase, limited data use. All pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from capi_async.destinations.reddit.names import WITH_COUNT, WITH_VALUE
from capi_async.destinations.reddit.wire import (
    RedditLimits,
    RedditMetadata,
    RedditProduct,
    RedditScreen,
    RedditUser,
)
from capi_async.event import Consent, Device, Event, Item
from capi_async.pii.identifiers import Identifiers

#: ``action_source`` of an event's source; what is not named here is ``OTHER``.
SOURCES: Final[Mapping[str, str]] = {
    "website": "WEBSITE", "app": "APP", "offline": "PHYSICAL_STORE", "physical_store": "PHYSICAL_STORE",
}  # fmt: skip

#: Reddit's cookie: milliseconds, a point, and the id.
_COOKIE: Final = re.compile(r"[0-9]{10,16}\.(?=.)")
#: Larger screens are refused.
_MOST_PIXELS: Final = 32_768


def user_of(event: Event, ids: Identifiers, warnings: list[str]) -> RedditUser:
    uuid, device, consent = event.click.rdt_uuid, event.device, event.consent
    idfa, aaid = _mobile(device, ids, warnings)
    return RedditUser(
        _first("email", ids.email_reddit, warnings),
        _first("phone", ids.phone_e164, warnings),
        _first("external_id", ids.external_id, warnings),
        idfa,
        aaid,
        ids.ip,
        ids.user_agent,
        None if uuid is None else _COOKIE.sub("", uuid, count=1) if _COOKIE.match(uuid) else uuid,
        None if device is None else _screen(device, warnings),
        _limits(consent) if consent is not None and consent.sale_opt_out else None,
    )


def _first(field: str, digests: Sequence[str] | None, warnings: list[str]) -> str | None:
    if not digests:
        return None
    if len(digests) > 1:
        warnings.append(f"user.{field}: Reddit takes one value; the first of {len(digests)} was sent")
    return digests[0]


def _mobile(device: Device | None, ids: Identifiers, warnings: list[str]) -> tuple[str | None, str | None]:
    """``idfa`` and ``aaid``, whose rules differ in the case of letters."""
    if ids.mobile_ad_id is None and ids.idfa_upper is None:
        return None, None
    system = device.os if device is not None else None
    if system in ("ios", "ipados", "tvos"):
        return ids.idfa_upper, None
    if system == "android":
        return None, ids.mobile_ad_id
    warnings.append("user.mobile_ad_id: left out; device.os must say whether it is of ios or android")
    return None, None


def _screen(device: Device, warnings: list[str]) -> RedditScreen | None:
    width, height = device.screen_width, device.screen_height
    if width is None or height is None:
        return None
    if width >= _MOST_PIXELS or height >= _MOST_PIXELS:
        warnings.append("user.screen_dimensions: Reddit takes fewer than 32,768 pixels; left out")
        return None
    return RedditScreen(width, height)


def _limits(consent: Consent) -> RedditLimits:
    region = consent.region.upper() if consent.region else ""
    return RedditLimits(("LDU",), region[:2] or None, region if "-" in region else None)


def metadata_of(tracking_type: str, event: Event, warnings: list[str]) -> RedditMetadata:
    """``metadata``; what Reddit does not read with this type is left out."""
    value, currency, pieces = event.value, event.currency, event.num_items
    if value is not None or currency is not None:
        if tracking_type not in WITH_VALUE:
            warnings.append(f"value: Reddit does not read it with {tracking_type}; left out")
            value = currency = None
        elif value is None or currency is None:
            absent = "value" if value is None else "currency"
            warnings.append(f"{absent}: Reddit takes value and currency together; neither was sent")
            value = currency = None
    if tracking_type not in WITH_COUNT:
        pieces = None
    elif pieces is None and event.items:
        pieces = sum(item.quantity for item in event.items)
    return RedditMetadata(
        event.event_id,
        value,  # type: ignore[arg-type]  # a made event holds Decimals
        currency,
        pieces,
        [_product(item) for item in event.items] if event.items else None,
    )


def _product(item: Item) -> RedditProduct:
    return RedditProduct(item.id, item.name, item.category, item.price, item.quantity)  # type: ignore[arg-type]
