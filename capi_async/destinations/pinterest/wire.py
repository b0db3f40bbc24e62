"""What Pinterest takes, key by key. Source: api-description 5.23.0 (schema ``ConversionEvents``), read 2026-11.

The server refuses a whole request for one unknown key, so every struct refuses unknown keys too, and holds all
documented ones: those without a canonical source are there for ``Event.extra``. Three keys are not in 5.23.0 and
leave only when asked for: ``user_data.customer_type`` (5.31.0), ``advertiser_tracking_enabled`` and
``contents[].item_brand_id`` (sent by one large integration).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from capi_async.destinations.forms import Digest, Ip
from capi_async.destinations.pinterest.names import REGISTERED
from capi_async.early import ready

# Patterns rather than enums: an error about an enum would repeat the value.
Name = Annotated[str, Meta(pattern=REGISTERED)]
ActionSource = Annotated[str, Meta(pattern=r"\A(web|app_android|app_ios|offline)\Z")]
CustomerType = Annotated[str, Meta(pattern=r"\A(new|returning)\Z")]
Text64 = Annotated[str, Meta(max_length=64)]
Text100 = Annotated[str, Meta(max_length=100)]
Text200 = Annotated[str, Meta(max_length=200)]
Locale = Annotated[str, Meta(max_length=35)]
TimeZone = Annotated[str, Meta(max_length=40)]
TimeZoneAbbr = Annotated[str, Meta(max_length=5)]
Language = Annotated[str, Meta(pattern=r"\A[A-Za-z]{2}\Z")]
Languages = Annotated[Sequence[Language], Meta(max_length=100)]
FormFactor = Annotated[str, Meta(pattern=r"\A(desktop|laptop|cellphone|tablet|smartwatch|tv|vr|console|other)\Z")]
Network = Annotated[str, Meta(pattern=r"\A(wifi|cellular_[2-6]g|ethernet|unknown)\Z")]
OsFamily = Annotated[str, Meta(pattern=r"\A(ios|android|macos|windows|linux|bsd|other)\Z")]
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Pixels = Annotated[int, Meta(ge=0, le=30_720)]
Storage = Annotated[int, Meta(ge=0, le=1_048_576)]


class PinterestUser(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``user_data``. Lists hold SHA-256 digests; the rest is clear."""

    em: Sequence[Digest] | None = None
    ph: Sequence[Digest] | None = None
    ge: Sequence[Digest] | None = None
    db: Sequence[Digest] | None = None
    ln: Sequence[Digest] | None = None
    fn: Sequence[Digest] | None = None
    ct: Sequence[Digest] | None = None
    st: Sequence[Digest] | None = None
    zp: Sequence[Digest] | None = None
    country: Sequence[Digest] | None = None
    external_id: Sequence[Digest] | None = None
    hashed_maids: Sequence[Digest] | None = None
    client_ip_address: Ip | None = None
    client_user_agent: str | None = None
    click_id: str | None = None
    partner_id: str | None = None
    customer_type: CustomerType | None = None


class PinterestContent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One of ``contents``: the price is text, the quantity a number."""

    id: str | None = None
    item_price: str | None = None
    quantity: Whole | None = None
    item_name: str | None = None
    item_category: str | None = None
    item_brand: str | None = None
    item_brand_id: Text64 | None = None


class PinterestCustom(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``custom_data``: amounts are text in major units, counts are numbers."""

    currency: str | None = None
    value: str | None = None
    order_id: str | None = None
    num_items: Whole | None = None
    content_ids: Sequence[str] | None = None
    contents: Sequence[PinterestContent] | None = None
    content_name: str | None = None
    content_category: str | None = None
    content_brand: str | None = None
    search_string: str | None = None
    opt_out_type: str | None = None
    predicted_ltv: str | None = None
    np: str | None = None
    external_measurement_id: str | None = None
    external_measurement_vendor_id: Int64 | None = None


@ready
class PinterestApp(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``app_info``. Its ``user_agent`` identifies nobody."""

    app_id: Text200 | None = None
    app_name: Text200 | None = None
    app_package_name: Text200 | None = None
    app_store: Text100 | None = None
    app_version: Text100 | None = None
    install_time: Whole | None = None
    user_agent: Annotated[str, Meta(max_length=16_384)] | None = None
    window_height: Pixels | None = None
    window_width: Pixels | None = None


@ready
class PinterestDevice(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``device_info``."""

    brand: Text100 | None = None
    model: Text100 | None = None
    carrier: Text100 | None = None
    type: Text100 | None = None
    kernel_version: Text100 | None = None
    os_family: OsFamily | None = None
    os_name: Text100 | None = None
    os_release_name: Text100 | None = None
    os_version: Text100 | None = None
    form_factor: FormFactor | None = None
    network_type: Network | None = None
    languages: Languages | None = None
    locale: Locale | None = None
    timezone: TimeZone | None = None
    timezone_abbr: TimeZoneAbbr | None = None
    battery_level: Annotated[int, Meta(ge=0, le=100)] | None = None
    cpu_cores: Annotated[int, Meta(ge=0, le=1_152)] | None = None
    screen_density: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    screen_height: Pixels | None = None
    screen_width: Pixels | None = None
    storage_size: Storage | None = None
    storage_free_space: Storage | None = None
    external_storage_size: Storage | None = None
    external_storage_free_space: Storage | None = None


@ready
class PinterestEvent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One of ``data``. The flat app and device keys are older; the mapping fills the objects."""

    event_name: Name
    # without one the event is of an app on an unknown system and is not sent
    action_source: ActionSource | None
    event_time: Int64
    event_id: str
    user_data: PinterestUser
    event_source_url: str | None = None
    opt_out: bool | None = None
    partner_name: str | None = None
    custom_data: PinterestCustom | None = None
    app_info: PinterestApp | None = None
    device_info: PinterestDevice | None = None
    app_id: str | None = None
    app_name: str | None = None
    app_version: str | None = None
    device_brand: str | None = None
    device_carrier: str | None = None
    device_model: str | None = None
    device_type: str | None = None
    os_version: str | None = None
    wifi: bool | None = None
    language: Language | None = None
    advertiser_tracking_enabled: bool | None = None
