"""From canonical fields to the objects of a Data Manager event: person, click, device, cart, consent. All pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from capi_async.destinations.google_ads.wire import (
    GoogleAddress,
    GoogleCart,
    GoogleClick,
    GoogleConsent,
    GoogleDevice,
    GoogleIdentifier,
    GoogleItem,
    GoogleUser,
    GoogleVariable,
)
from capi_async.event import NO_CLICK, ClickIds, Consent, Event
from capi_async.pii.clicks import fits, in_address
from capi_async.pii.identifiers import Identifiers
from capi_async.pii.reference import EEA
from capi_async.pii.urls import holds_address, is_bare
from capi_async.plain import shown

#: Where it happened. In a shop is IN_STORE only with a store's id, see ``GoogleAds.store_id``.
SOURCES: Final[Mapping[str, str]] = {
    "website": "WEB",
    "app": "APP",
    "phone_call": "PHONE",
    "email": "MESSAGE",
    "chat": "MESSAGE",
    "business_messaging": "MESSAGE",
}
#: Of one event. Source: Data Manager API, limits, read 2026-11.
MAX_IDENTIFIERS: Final = 10

GRANTED: Final = "CONSENT_GRANTED"
DENIED: Final = "CONSENT_DENIED"


def timestamp(time: datetime) -> str:
    """RFC 3339 in UTC, with as many decimals as are known."""
    try:
        time = time.astimezone(UTC)
    except OverflowError:  # the calendar's first or last hours, in a far offset: Google takes neither
        time = time.replace(tzinfo=UTC)
    digits = time.microsecond
    precision = "seconds" if not digits else "microseconds" if digits % 1_000 else "milliseconds"
    return time.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def with_braids(event: Event) -> ClickIds:
    """The event's click ids, and those of Google's iOS campaigns that stand in the page's address."""
    click, page = event.click, event.page
    if "braid=" not in f"{page.url} {page.referrer}":
        return click
    for field in ("gbraid", "wbraid"):
        if getattr(click, field) is None and (found := in_address(page, field)) and fits(field, found):
            click = replace(click, **{field: found})
    return click


def click_of(click: ClickIds, device_id: str | None) -> GoogleClick | None:
    """``adIdentifiers``."""
    if click is NO_CLICK and device_id is None:
        return None
    made = GoogleClick(click.gclid, click.gbraid, click.wbraid, click.google_session, mobile_device_id=device_id)
    return None if made == _NO_CLICK else made


_NO_CLICK: Final = GoogleClick()


def user_of(ids: Identifiers, warnings: list[str]) -> GoogleUser | None:
    """``userData``: e-mail addresses, then phone numbers, then one address; at most ten."""
    found = [GoogleIdentifier(email_address=one) for one in ids.email_google or ()]
    found += [GoogleIdentifier(phone_number=one) for one in ids.phone_e164 or ()]
    if (
        (given := ids.first_name_google)
        and (family := ids.last_name_google)
        and (country := ids.country_clear)
        and (code := ids.zip_clear)
    ):
        found.append(GoogleIdentifier(address=GoogleAddress(given, family, country.upper(), code)))
    if len(found) > MAX_IDENTIFIERS:
        warnings.append(f"user: Google takes {MAX_IDENTIFIERS} identifiers of one event; the others were left out")
    return GoogleUser(found[:MAX_IDENTIFIERS]) if found else None


def device_of(event: Event, ids: Identifiers, warnings: list[str], *, identified: bool) -> GoogleDevice | None:
    """``eventDeviceInfo``.

    Args:
        identified: Whether consent admits what identifies the person by the network.
    """
    address = ids.ip if identified else None
    if address is not None and in_eea(event.consent, ids):
        # Source: Data Manager API, events, read 2026-08: addresses are not used for people there
        address = None
        warnings.append("user.ip: Google takes no addresses of people in the EEA, the UK and Switzerland; left out")
    if (device := event.device) is None:
        return GoogleDevice(ids.user_agent, address) if ids.user_agent or address else None
    language = _LANGUAGE.match(device.locale or "")
    made = GoogleDevice(
        ids.user_agent,
        address,
        language_code=language[0].lower() if language else None,
        screen_height=device.screen_height,
        screen_width=device.screen_width,
        # an empty text would be a claim
        operating_system=device.os or None,
        operating_system_version=device.os_version or None,
        model=device.model or None,
        brand=device.brand or None,
    )
    return None if made == _NO_DEVICE else made


_NO_DEVICE: Final = GoogleDevice()
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")


def in_eea(consent: Consent | None, ids: Identifiers) -> bool:
    """Whether the person's country, or the region for which consent was asked, is in the EEA, the UK or Switzerland."""
    region = consent.region if consent is not None else None
    return (ids.country_clear or "").upper() in EEA or (region or "")[:2].upper() in EEA


def cart_of(event: Event, fixed: Mapping[str, Any], warnings: list[str], *, braid: bool) -> GoogleCart | None:
    """``cartData``.

    Args:
        fixed: The merchant's own keys, from the account's settings.
        braid: The click is known by ``gbraid`` or ``wbraid``, beside which Google takes no cart.
    """
    if not event.items:
        return None
    if braid:
        warnings.append("items: Google takes no cart beside gbraid or wbraid; left out")
        return None
    items = [GoogleItem(item.id, str(item.quantity), amount_of(item.price), item.id) for item in event.items]
    return GoogleCart(**fixed, items=items)


def amount_of(value: Any) -> Decimal | None:
    """Money of a made event, which holds nothing else than decimal numbers."""
    return value if isinstance(value, Decimal) else None


def consent_of(consent: Consent | None) -> GoogleConsent | None:
    """``consent``: what was stated, and nothing else. Who opted out of sale gets no personal advertising."""
    if consent is None:
        return None
    personal = False if consent.sale_opt_out else consent.ad_personalization
    if consent.ad_user_data is None and personal is None:
        return None
    return GoogleConsent(_choice(consent.ad_user_data), _choice(personal))


def _choice(granted: bool | None) -> str | None:
    return None if granted is None else GRANTED if granted else DENIED


def variables_of(
    properties: Mapping[str, Any], named: Mapping[str, str], warnings: list[str]
) -> list[GoogleVariable] | None:
    """``customVariables``: those properties that the account has a variable for, as text."""
    found = []
    for key, variable in named.items():
        if (text := _text(properties.get(key))) is None:
            continue
        if is_personal(text):
            warnings.append(f"{shown(f'properties.{key}')}: holds an e-mail address, which Google refuses; left out")
        else:
            found.append(GoogleVariable(variable, text))
    return found or None


def is_personal(text: str) -> bool:
    """Whether there is an e-mail address in a text that may hold no personal data."""
    return not is_bare(text) and holds_address(text)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float, Decimal)):
        return str(value) or None
    return None
