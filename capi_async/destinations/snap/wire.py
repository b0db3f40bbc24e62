"""Snap's wire formats: the nested event of v3 and the flat one of v2.

Keys that are documented but stand here nowhere have no canonical field; they travel through ``Event.properties``
or ``Event.extra``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

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
    external_id: str | None = None
    client_ip_address: str | None = None
    client_user_agent: str | None = None
    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    madid: str | None = None
    idfv: str | None = None
    subscription_id: str | None = None
    anon_id: Sequence[str] | None = None


class SnapContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``; Snap's examples quote the numbers."""

    id: str
    quantity: str
    item_price: str | None = None
    brand: str | None = None
    delivery_category: str | None = None


class SnapCustom(Struct, omit_defaults=True, gc=False):
    """``custom_data``; ``value`` is a number in major units."""

    currency: str | None = None
    value: Decimal | None = None
    order_id: str | None = None
    num_items: int | None = None
    content_ids: Sequence[str] | None = None
    contents: Sequence[SnapContent] | None = None
    content_category: str | None = None
    content_name: str | None = None
    content_type: str | None = None
    brands: str | None = None
    delivery_category: str | None = None
    search_string: str | None = None
    sign_up_method: str | None = None
    predicted_ltv: Decimal | None = None


class SnapApp(Struct, omit_defaults=True, gc=False):
    """``app_data``, for app events; the flags are 0 or 1."""

    app_id: str
    advertiser_tracking_enabled: int
    extinfo: Sequence[str]
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


#: Every documented key of ``custom_data``; other properties travel in its ``custom_fields``.
CUSTOM_DATA_KEYS: Final = frozenset(
    {
        *SnapCustom.__struct_fields__,
        "event_tag", "status", "destination_ids", "checkin_date", "travel_start", "travel_end",
        "destination_airport", "origin_airport", "country", "city", "region", "neighborhood",
        "departing_departure_date", "departing_arrival_date", "returning_departure_date",
        "returning_arrival_date", "hotel_score", "postal_code", "num_adults", "num_children", "num_infants",
        "suggested_destinations", "preferred_neighborhoods", "preferred_star_ratings", "suggested_hotels",
    }
)  # fmt: skip


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
