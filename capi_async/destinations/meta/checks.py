"""What Meta requires of an event, checked here because one bad event refuses its whole request."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from capi_async.destinations.base import is_web
from capi_async.destinations.meta.mapping import app_missing, too_broad
from capi_async.destinations.meta.wire import MAX_NAME, ROOT_KEYS, MetaEvent
from capi_async.event import Event
from capi_async.spec import Refusal

TEST_COUNTS: Final = "test: Meta counts events with a test code like live ones"
ODD_URL: Final = "event_source_url: page.url is no http(s) address and was left out"
NO_USER_AGENT: Final = "client_user_agent: documented as required for website events; set user.user_agent"
NO_CURRENCY: Final = "value: without a currency it says little; set currency"
NO_PLACE: Final = (
    "data_processing_options: without a listed US state Meta places the person by user.ip, which is missing"
)
HALF_PAIR: Final = "user_data: ctwa_clid and whatsapp_business_account_id belong together"
NOT_SCALAR: Final = "properties: custom_data takes texts, numbers and booleans; others were left out (use extra)"

LONG_NAME: Final = Refusal(
    "rejected",
    "name",
    f"a custom event's name has at most {MAX_NAME} characters",
    "shorten it, or map it in event_names",
)
NO_TEST_CODE: Final = Refusal(
    "skipped", "test", "Meta has no test mode without a test event code", "set test_event_code on the destination"
)
_NO_URL: Final = Refusal("rejected", "page.url", "website events need the page's address", "set page=Page(url=...)")
_BAD_URL: Final = Refusal(
    "rejected", "page.url", "the page's address must start with http:// or https:// and name a host", "set it whole"
)
_NO_VALUE: Final = Refusal("rejected", "value", "a purchase needs value and currency", "set value")
_NO_CURRENCY: Final = Refusal("rejected", "currency", "a purchase needs value and currency", "set currency")
_NO_CHANNEL: Final = Refusal(
    "rejected",
    "extra",
    "messaging events need a messaging_channel",
    "set extra={'meta': {'messaging_channel': 'whatsapp', 'messenger' or 'instagram', ...}}",
)
_NOBODY: Final = Refusal(
    "skipped",
    "user",
    "nobody to identify: what is known of the person fits too many",
    "set user.email, user.phone, user.external_id, user.ip, user.mobile_ad_id or click.fbc",
)
_OF_THE_REQUEST: Final = Refusal(
    "rejected", "extra", "a field of the request, not of the event", "set it on the destination"
)
_BAD_SHAPE: Final = Refusal(
    "rejected", "extra", "an object or a text of Meta's was replaced by something else", "keep its type in Event.extra"
)


def is_name(name: object) -> bool:
    """Whether Meta takes this name."""
    return isinstance(name, str) and bool(name.strip()) and len(name) <= MAX_NAME


def check(event: Event, made: MetaEvent, warnings: list[str]) -> Refusal | None:
    """Why this event cannot be sent; adds what Meta would rather have to ``warnings``."""
    source = made.action_source
    user = made.user_data
    if source == "website":
        url = made.event_source_url
        if url is None:
            return _NO_URL
        if not is_web(url):
            return _BAD_URL
        if user.client_user_agent is None:
            warnings.append(NO_USER_AGENT)
    elif source == "business_messaging":
        # the channel can only come through extra
        return _NO_CHANNEL
    elif made.app_data is not None:
        app = made.app_data
        missing = app_missing(event, app.advertiser_tracking_enabled, app.extinfo)
        if missing:
            return missing
    if event.value is None:
        if made.event_name == "Purchase":
            return _NO_VALUE
    elif event.currency is None:
        if made.event_name == "Purchase":
            return _NO_CURRENCY
        warnings.append(NO_CURRENCY)
    if not (user.em or user.ph or user.external_id or user.client_ip_address or user.fbc or user.fbp) and too_broad(
        key for key in user.__struct_fields__ if getattr(user, key)
    ):
        return _NOBODY
    if made.data_processing_options and not made.data_processing_options_state and user.client_ip_address is None:
        warnings.append(NO_PLACE)
    return None


def check_merged(
    event: Event, body: Mapping[str, Any], extra: Mapping[str, Any] | None, warnings: list[str]
) -> Refusal | None:
    """As :func:`check`, after ``extra`` was merged in: what it brought counts, and what it broke is refused."""
    if extra and not ROOT_KEYS.isdisjoint(extra):
        return _OF_THE_REQUEST
    user, bought, app = (body.get(key) for key in ("user_data", "custom_data", "app_data"))
    name, source, url = body.get("event_name"), body.get("action_source"), body.get("event_source_url")
    if not isinstance(user, Mapping) or not isinstance(source, str):
        return _BAD_SHAPE
    if not isinstance(bought, Mapping | None) or not isinstance(app, Mapping | None):
        return _BAD_SHAPE
    if not is_name(name):
        return LONG_NAME
    if source == "website":
        if not url:
            return _NO_URL
        if not isinstance(url, str) or not is_web(url):
            return _BAD_URL
        if not user.get("client_user_agent"):
            warnings.append(NO_USER_AGENT)
    elif source == "business_messaging":
        if not body.get("messaging_channel"):
            return _NO_CHANNEL
        if bool(user.get("ctwa_clid")) != bool(user.get("whatsapp_business_account_id")):
            warnings.append(HALF_PAIR)
    elif source == "app":
        app = app or {}
        missing = app_missing(event, app.get("advertiser_tracking_enabled"), app.get("extinfo"))
        if missing:
            return missing
    value, currency = (bought.get("value"), bought.get("currency")) if bought else (None, None)
    if name == "Purchase" and (value is None or not currency):
        return _NO_VALUE if value is None else _NO_CURRENCY
    if too_broad(key for key, known in user.items() if known):
        return _NOBODY
    if value is not None and not currency:
        warnings.append(NO_CURRENCY)
    limited = body.get("data_processing_options")
    if limited and not body.get("data_processing_options_state") and not user.get("client_ip_address"):
        warnings.append(NO_PLACE)
    return None


def with_properties(body: dict[str, Any], properties: Mapping[str, Any], warnings: list[str]) -> Refusal | None:
    """Lay free properties into ``custom_data``; what the event or ``extra`` says there stays."""
    if not properties:
        return None
    present = body.get("custom_data", {})
    if not isinstance(present, Mapping):
        return _BAD_SHAPE
    taken = {key: value for key, value in properties.items() if isinstance(value, (str, int, float, Decimal))}
    if any(value is not None and key not in taken for key, value in properties.items()):
        warnings.append(NOT_SCALAR)
    if taken:
        # a new object: the one at hand may be the caller's own
        body["custom_data"] = {**taken, **present}
    return None
