"""From an event to what the Measurement Protocol takes, and all that its server would swallow without a word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from capi_async.destinations.base import is_web
from capi_async.destinations.ga4.names import odd_parameter
from capi_async.destinations.ga4.wire import (
    GA4Address,
    GA4Consent,
    GA4Device,
    GA4Location,
    GA4Property,
    GA4UserData,
)
from capi_async.event import Consent, Device, Event, Item
from capi_async.pii.clicks import google_session
from capi_async.pii.identifiers import Identifiers
from capi_async.pii.urls import holds_address, is_bare
from capi_async.plain import shown
from capi_async.spec import Refusal

MAX_PARAMETERS: Final = 25
MAX_ITEMS: Final = 200
#: Custom parameters of an item, beside the documented ones.
MAX_ITEM_PARAMETERS: Final = 27
MAX_TEXT: Final = 100
#: Of an Analytics 360 property.
MAX_TEXT_360: Final = 500
MAX_USER_ID: Final = 256
#: Of a property of the visitor.
MAX_PROPERTY_TEXT: Final = 36
_LONGER: Final[Mapping[str, int]] = {"page_title": 300, "page_referrer": 420, "page_location": 1_000}
_ITEM_KEYS: Final = frozenset(
    {
        "item_id", "item_name", "affiliation", "coupon", "discount", "index", "item_brand", "item_category",
        "item_category2", "item_category3", "item_category4", "item_category5", "item_list_id", "item_list_name",
        "item_variant", "location_id", "price", "quantity",
    }
)  # fmt: skip
#: Events whose items Google's reference requires.
WITH_ITEMS: Final = frozenset(
    {
        "purchase", "refund", "add_to_cart", "remove_from_cart", "view_cart", "view_item", "add_to_wishlist",
        "begin_checkout", "add_payment_info", "add_shipping_info", "view_item_list", "select_item",
    }
)  # fmt: skip
#: Where a parameter comes from, for the words of a refusal.
_FIELDS: Final[Mapping[str, str]] = {
    "transaction_id": "order_id", "search_term": "search_string", "session_id": "click.ga_session_id",
    "item_id": "id", "item_name": "name", "item_brand": "brand", "item_category": "category",
    "item_variant": "variant",
}  # fmt: skip
#: Texts that visitors type, or that are made of them.
_TYPED: Final[Mapping[str, str]] = {"search_term": "search_string", "method": "method", "page_title": "page.title"}
#: Of these the e-mail addresses were taken out before.
_SCRUBBED: Final = frozenset({"page_location", "page_referrer"})
_client: Final = re.compile(r"(?:GA\d\.\d{1,3}(?:-\d{1,3})?\.)?([1-9]\d{0,19}\.[1-9]\d{0,19})").fullmatch
_session: Final = re.compile(r"\d{1,20}").fullmatch


def client_of(event: Event) -> str | None:
    """The two numbers of ``_ga``, out of its whole text, too; ``None`` where there are none."""
    text = event.click.ga_client_id
    found = _client(text) if text else None
    return found[1] if found else None


def session_of(event: Event, warnings: list[str]) -> str | None:
    """The session's number; what is none is left out, because it would open a session of its own."""
    text = event.click.ga_session_id
    if text is None or _session(text):
        return text
    found = google_session(text)
    if found is None:
        warnings.append("click.ga_session_id: needs the session's digits, or the cookie _ga_..., and was left out")
    return found


def params_of(name: str, event: Event, ids: Identifiers, warnings: list[str], longest: int) -> dict[str, Any]:
    """The parameters that canonical fields give."""
    made: dict[str, Any] = {}
    if session := session_of(event, warnings):
        # both are needed for the event to count as a visitor's activity
        made["session_id"] = session
        made["engagement_time_msec"] = 1
    if name in ("purchase", "refund") and event.order_id and event.order_id.strip():
        # a blank one would merge all purchases that have it
        made["transaction_id"] = event.order_id.strip()
    if event.value is not None:
        made["value"] = event.value
    if event.currency is not None and event.value is not None:
        made["currency"] = event.currency
    if event.items:
        made["items"] = [_item(item) for item in event.items]
    if event.search_string and name == "search":
        made["search_term"] = event.search_string
    if event.method and name in ("login", "sign_up"):
        made["method"] = event.method
    page = {"page_location": ids.page_url, "page_referrer": ids.page_referrer, "page_title": event.page.title}
    for key, text in page.items():
        if text and key != "page_title" and not is_web(text):
            warnings.append(f"{key} is no http(s) address and was left out")
            continue
        if not text:
            continue
        if len(text) > _LONGER[key] and key != "page_title":
            text = text.partition("?")[0].partition("#")[0]
        if len(text) > max(longest, _LONGER[key]):
            warnings.append(f"{key} is longer than {_LONGER[key]} characters and was left out")
            continue
        if text != page[key]:
            warnings.append(f"{key} is longer than {_LONGER[key]} characters and goes without its query")
        made[key] = text
    for key, field in _TYPED.items():
        if key in made and _is_personal(made[key]):
            del made[key]
            warnings.append(f"{field}: {_PERSONAL} and was left out")
    if name in WITH_ITEMS and not event.items:
        warnings.append("items: Google Analytics documents them as required for this event; reports of items lack it")
    return made


def _item(item: Item) -> dict[str, Any]:
    facts = {
        "item_id": item.id, "item_name": item.name, "item_brand": item.brand, "item_category": item.category,
        "item_variant": item.variant, "price": item.price, "quantity": item.quantity,
    }  # fmt: skip
    return {key: fact for key, fact in facts.items() if fact is not None}


def plain_facts(properties: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Free properties; true and false, which are undocumented there, as 1 and 0."""
    found = {}
    for key, value in properties.items():
        # debug_mode is switched off by its absence alone
        if value is None or (key == "debug_mode" and not value):
            continue
        if isinstance(value, str) and _is_personal(value):
            warnings.append(f"{shown(f'properties.{key}')}: {_PERSONAL} and was left out")
            continue
        found[key] = int(value) if isinstance(value, bool) else value
    return found


_PERSONAL: Final = "holds an e-mail address, which Google Analytics forbids,"


def _is_personal(text: str) -> bool:
    return not is_bare(text) and holds_address(text)


def odd_params(params: Mapping[str, Any], event: Event, longest: int) -> Refusal | None:
    """What the server would take, and drop or cut without a word."""
    if len(params) > MAX_PARAMETERS:
        return Refusal(
            "rejected",
            "properties",
            f"{len(params)} parameters, and Google Analytics takes {MAX_PARAMETERS} in an event",
            f"leave {len(params) - MAX_PARAMETERS} out; page, session, value and items are parameters, too",
        )
    for key, value in params.items():
        if key == "items":
            refusal = _odd_items(value, longest)
        else:
            field = _FIELDS.get(key) or (f"properties.{key}" if key in event.properties else f"extra.params.{key}")
            refusal = _odd_value(field, key, value, _LONGER.get(key, 0), longest)
        if refusal is not None:
            return refusal
    return None


def _odd_value(field: str, key: str, value: Any, own: int, longest: int) -> Refusal | None:
    most = max(own, longest)
    if problem := odd_parameter(key):
        return Refusal("rejected", shown(field), f"the parameter's name: {problem}", "give it another name")
    if isinstance(value, str):
        if key not in _SCRUBBED and _is_personal(value):
            return Refusal("rejected", field, _PERSONAL.removesuffix(","), "leave the address out")
        if len(value) <= most:
            return None
        fix = (
            "shorten it; an Analytics 360 property takes 500: analytics_360=True" if most == MAX_TEXT else "shorten it"
        )
        return Refusal("rejected", field, f"has {len(value)} characters, and Google Analytics takes {most}", fix)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return None
    return Refusal(
        "rejected",
        field,
        "a parameter of Google Analytics is text or a number",
        "give text or a number, or leave it out",
    )


def _odd_items(items: Any, longest: int) -> Refusal | None:
    if not isinstance(items, Sequence) or isinstance(items, str):
        return Refusal("rejected", "extra.params.items", "needs a list of objects", "leave it to Event.items")
    if len(items) > MAX_ITEMS:
        return Refusal(
            "rejected", "items", f"{len(items)} items, and Google Analytics takes {MAX_ITEMS}", "send fewer items"
        )
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or not (item.get("item_id") or item.get("item_name")):
            return Refusal("rejected", f"items[{index}]", "an item needs item_id or item_name", "set one")
        if len(item.keys() - _ITEM_KEYS) > MAX_ITEM_PARAMETERS:
            return Refusal(
                "rejected", f"items[{index}]", f"more than {MAX_ITEM_PARAMETERS} custom parameters", "leave some out"
            )
        for key, value in item.items():
            if refusal := _odd_value(f"items[{index}].{_FIELDS.get(key, key)}", key, value, 0, longest):
                return refusal
    return None


def consent_of(consent: Consent | None) -> GA4Consent | None:
    """What Google is told; a sale that the person opted out of is personalisation denied."""
    if consent is None:
        return None
    no_ads = consent.ad_storage is False
    data = False if no_ads else consent.ad_user_data
    personal = False if no_ads or consent.sale_opt_out else consent.ad_personalization
    if data is None and personal is None:
        return None
    words = {True: "GRANTED", False: "DENIED", None: None}
    return GA4Consent(words[data], words[personal])  # type: ignore[arg-type]


def user_data_of(ids: Identifiers) -> GA4UserData | None:
    """What the person gave, as digests; places in clear, as documented, and only beside a name."""
    country = ids.country_clear
    address = None
    if ids.first_name_letters or ids.last_name_letters:
        address = (
            GA4Address(
                ids.first_name_letters, ids.last_name_letters, ids.city_letters, ids.state_letters, ids.zip_google,
                country.upper() if country else None,
            ),
        )  # fmt: skip
    if not (ids.email_google or ids.phone_e164 or address):
        return None
    return GA4UserData(
        ids.email_google[:3] if ids.email_google else None, ids.phone_e164[:3] if ids.phone_e164 else None, address
    )


def properties_of(facts: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, GA4Property] | None:
    """``user_properties``: those properties of the event that the account calls ones of the visitor."""
    found = {there: value for key, there in named.items() if (value := facts.get(key)) is not None}
    if not found:
        return None
    return {
        there: GA4Property(int(value) if isinstance(value, bool) else value) for there, value in sorted(found.items())
    }


def odd_properties(facts: Mapping[str, Any], named: Mapping[str, str]) -> Refusal | None:
    """What of them the server would drop without a word."""
    for key in named:
        value = facts.get(key)
        field = shown(f"properties.{key}")
        if isinstance(value, str) and len(value) > MAX_PROPERTY_TEXT:
            return Refusal(
                "rejected", field,
                f"has {len(value)} characters, and a user property takes {MAX_PROPERTY_TEXT}", "shorten it",
            )  # fmt: skip
        if value is not None and not isinstance(value, (str, int, float, Decimal)):
            return Refusal("rejected", field, "a user property is text or a number", "give text or a number")
    return None


def location_of(ids: Identifiers) -> GA4Location | None:
    """``user_location``: the place in clear; a region only by its ISO code, in a country that is known."""
    country = ids.country_clear.upper() if ids.country_clear else None
    state = (ids.state_clear or "").upper()
    made = GA4Location(ids.city_trimmed, f"{country}-{state}" if country and _region(state) else None, country)
    return None if made == _NOWHERE else made


_NOWHERE: Final = GA4Location()
_region: Final = re.compile(r"[A-Z0-9]{1,3}").fullmatch


def device_of(device: Device | None) -> GA4Device | None:
    """``device``."""
    if device is None:
        return None
    width, height = device.screen_width, device.screen_height
    made = GA4Device(
        device.locale.lower() if device.locale else None,
        f"{width}x{height}" if width and height else None,
        # an empty text would be a claim
        device.os or None,
        device.os_version or None,
        device.model or None,
        device.brand or None,
    )
    return None if made == _NO_DEVICE else made


_NO_DEVICE: Final = GA4Device()
