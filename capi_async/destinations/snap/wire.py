"""Snap's wire formats: the nested event of v3 and the flat one of v2.

Keys that are documented but stand here nowhere have no canonical field; they travel through ``Event.properties``
or ``Event.extra``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from capi_async.destinations.cart import Number
from capi_async.destinations.forms import DIGEST, Currency, Digest, Digests, ExtInfo, Filled, Ip, NumberOrText
from capi_async.destinations.snap.names import EVENT_NAMES
from capi_async.early import ready


@ready
class SnapHead(Struct, frozen=True, array_like=True):
    """What one v3 request shares: the asset is in the path, and so is the test mode."""

    asset: str
    test: bool


class SnapUser(Struct, omit_defaults=True, gc=False):
    """``user_data``. Lists and ``db`` hold SHA-256 digests; the rest is clear, but for ``external_id``."""

    em: Sequence[str] | None = None
    ph: Sequence[str] | None = None
    fn: Sequence[str] | None = None
    ln: Sequence[str] | None = None
    ge: Sequence[str] | None = None
    ct: Sequence[str] | None = None
    st: Sequence[str] | None = None
    zp: Sequence[str] | None = None
    country: Sequence[str] | None = None
    db: str | None = None
    external_id: str | Sequence[str] | None = None
    client_ip_address: str | None = None
    client_user_agent: str | None = None
    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    madid: str | None = None
    idfv: str | None = None
    subscription_id: str | None = None
    anon_id: str | Sequence[str] | None = None


class SnapContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``; Snap's examples quote the numbers."""

    id: str | None = None
    quantity: str | float | None = None
    item_price: str | float | None = None
    brand: str | None = None
    delivery_category: str | None = None


class SnapCustom(Struct, omit_defaults=True, gc=False):
    """``custom_data``; ``value`` is a number in major units, and Snap takes text as well."""

    currency: str | None = None
    value: NumberOrText | None = None
    order_id: str | None = None
    num_items: int | None = None
    content_ids: str | Sequence[str] | None = None
    contents: Sequence[SnapContent] | None = None
    content_category: str | Sequence[str] | None = None
    content_name: str | None = None
    content_type: str | None = None
    brands: str | Sequence[str] | None = None
    delivery_category: str | None = None
    search_string: str | None = None
    sign_up_method: str | None = None
    predicted_ltv: Number | None = None


class SnapApp(Struct, omit_defaults=True, gc=False):
    """``app_data``, for app events; the flags are 0 or 1. Without an id or ``extinfo`` the event is not sent."""

    app_id: str | None
    advertiser_tracking_enabled: int | None
    extinfo: Sequence[str] | None
    application_tracking_enabled: int | None = None
    install_referrer: str | None = None


class SnapEvent(Struct, omit_defaults=True, gc=False):
    """One of ``data``; ``event_time`` in seconds since the epoch."""

    event_name: str
    event_time: int
    event_id: str
    action_source: str
    user_data: SnapUser
    event_source_url: str | None = None
    custom_data: SnapCustom | None = None
    app_data: SnapApp | None = None
    data_processing_options: Sequence[str] | None = None
    integration: str | None = None


Name: TypeAlias = Annotated[str, Meta(pattern=rf"\A({'|'.join(sorted(EVENT_NAMES))})\Z")]
Source: TypeAlias = Annotated[str, Meta(pattern=r"\A(WEB|MOBILE_APP|OFFLINE)\Z")]
Texts: TypeAlias = Sequence[str]
Flag: TypeAlias = Annotated[int, Meta(ge=0, le=1)] | bool


class SnapAnyUser(SnapUser):
    """``user_data`` with every documented key; one digest may stand for a list of one."""

    em: Digests | None = None
    ph: Digests | None = None
    fn: Digests | None = None
    ln: Digests | None = None
    ge: Digests | None = None
    ct: Digests | None = None
    st: Digests | None = None
    zp: Digests | None = None
    country: Digests | None = None
    db: Digest | None = None
    client_ip_address: Ip | None = None
    client_user_agent: Filled | None = None
    madid: Filled | None = None
    lead_id: str | None = None
    download_id: str | None = None
    partner_id: str | None = None


class SnapAnyCustom(SnapCustom):
    """``custom_data`` with every documented key; other properties travel in its ``custom_fields``."""

    currency: Currency | None = None
    custom_fields: Mapping[str, str] | None = None
    event_tag: str | None = None
    status: str | None = None
    destination_ids: Texts | None = None
    checkin_date: str | None = None
    travel_start: str | None = None
    travel_end: str | None = None
    destination_airport: str | None = None
    origin_airport: str | None = None
    country: str | None = None
    city: str | None = None
    region: str | None = None
    neighborhood: str | None = None
    departing_departure_date: str | None = None
    departing_arrival_date: str | None = None
    returning_departure_date: str | None = None
    returning_arrival_date: str | None = None
    hotel_score: str | None = None
    postal_code: str | None = None
    num_adults: int | None = None
    num_children: int | None = None
    num_infants: int | None = None
    suggested_destinations: Texts | None = None
    preferred_neighborhoods: Texts | None = None
    preferred_star_ratings: Texts | None = None
    suggested_hotels: Texts | None = None


class SnapAnyApp(SnapApp):
    """``app_data`` with every documented key."""

    app_id: Filled | None
    advertiser_tracking_enabled: Flag | None
    extinfo: ExtInfo | None
    application_tracking_enabled: Flag | None = None
    campaign_ids: str | None = None
    installer_package: str | None = None
    windows_attribution_id: str | None = None
    url_schemes: Texts | None = None


@ready
class SnapAnyEvent(SnapEvent):
    """One of ``data`` with every documented key: what properties and ``extra`` bring is checked by it."""

    event_name: Name
    action_source: Source
    user_data: SnapAnyUser
    custom_data: SnapAnyCustom | None = None
    app_data: SnapAnyApp | None = None
    data_processing_options_country: int | None = None
    data_processing_options_state: int | None = None
    opt_out: bool | None = None
    test_event_code: str | None = None
    asset_id: str | None = None


#: Keys of ``custom_data``; ``custom_fields`` holds what is none of them.
CUSTOM_DATA_KEYS: Final = frozenset(SnapAnyCustom.__struct_fields__) - {"custom_fields"}


@ready
class SnapV2Head(Struct, frozen=True, array_like=True):
    """What one v2 request shares; the asset is inside each event."""

    test: bool


class SnapV2Event(Struct, omit_defaults=True, gc=False):
    """One flat event of v2: every value is text, ``timestamp`` in milliseconds since the epoch."""

    event_type: str
    event_conversion_type: str
    timestamp: str
    client_dedup_id: str
    page_url: str | None = None
    transaction_id: str | None = None
    hashed_email: str | None = None
    hashed_phone_number: str | None = None
    hashed_mobile_ad_id: str | None = None
    hashed_ip_address: str | None = None
    user_agent: str | None = None
    hashed_idfv: str | None = None
    uuid_c1: str | None = None
    click_id: str | None = None
    hashed_first_name_sha: str | None = None
    hashed_middle_name_sha: str | None = None
    hashed_last_name_sha: str | None = None
    hashed_city_sha: str | None = None
    hashed_state_sha: str | None = None
    hashed_zip: str | None = None
    hashed_dob_month: str | None = None
    hashed_dob_day: str | None = None
    price: str | None = None
    currency: str | None = None
    item_category: str | None = None
    number_items: str | None = None
    description: str | None = None
    search_string: str | None = None
    sign_up_method: str | None = None
    integration: str | None = None
    # set where they apply
    pixel_id: str | None = None
    snap_app_id: str | None = None
    app_id: str | None = None
    item_ids: str | None = None
    brands: str | None = None
    level: str | None = None
    event_tag: str | None = None
    data_use: str | Sequence[str] | None = None
    # Soundex codes are no hashes: they show the first letter
    hashed_first_name_sdx: str | None = None
    hashed_middle_name_sdx: str | None = None
    hashed_last_name_sdx: str | None = None
    hashed_city_sdx: str | None = None
    hashed_state_sdx: str | None = None


#: Texts of v2 that say nothing may be empty.
Hashed: TypeAlias = Annotated[str, Meta(pattern=rf"\A\Z|{DIGEST}")]
Soundex: TypeAlias = Annotated[str, Meta(pattern=r"\A(?:[A-Z][0-6]{3})?\Z")]
NumberText: TypeAlias = Annotated[str, Meta(pattern=r"\A(?:[0-9]+(?:\.[0-9]+)?)?\Z")]


@ready
class SnapV2AnyEvent(SnapV2Event):
    """One event of v2 with every documented key: what properties and ``extra`` bring is checked by it."""

    event_type: Name
    event_conversion_type: Source
    timestamp: Annotated[str, Meta(pattern=r"\A-?[0-9]+\Z")]
    hashed_email: Hashed | None = None
    hashed_phone_number: Hashed | None = None
    hashed_mobile_ad_id: Hashed | None = None
    hashed_ip_address: Hashed | None = None
    hashed_idfv: Hashed | None = None
    hashed_first_name_sha: Hashed | None = None
    hashed_middle_name_sha: Hashed | None = None
    hashed_last_name_sha: Hashed | None = None
    hashed_city_sha: Hashed | None = None
    hashed_state_sha: Hashed | None = None
    hashed_zip: Hashed | None = None
    hashed_dob_month: Hashed | None = None
    hashed_dob_day: Hashed | None = None
    hashed_first_name_sdx: Soundex | None = None
    hashed_middle_name_sdx: Soundex | None = None
    hashed_last_name_sdx: Soundex | None = None
    hashed_city_sdx: Soundex | None = None
    hashed_state_sdx: Soundex | None = None
    price: NumberText | None = None
    number_items: NumberText | None = None
    currency: Annotated[str, Meta(pattern=r"\A(?:[A-Z]{3})?\Z")] | None = None
    country: str | None = None
    region: str | None = None
    purchase_user_value: str | None = None
    device_model: str | None = None
    os_version: str | None = None
    att_status: str | None = None
    delivery_method: str | None = None
    customer_status: str | None = None
    advertiser_cookie_1: str | None = None
