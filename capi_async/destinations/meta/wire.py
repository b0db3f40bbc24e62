"""Meta's wire structs and tables. Source: developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta, Struct

from capi_async.destinations.cart import Number
from capi_async.destinations.forms import ContentType, ExtInfo, Filled, Ip, TaggedDigests
from capi_async.destinations.meta.names import MAX_NAME
from capi_async.early import ready

#: US states with a Limited Data Use rule; elsewhere 0, which asks Meta to place the person by the IP.
#: Source: .../docs/marketing-apis/data-processing-options, updated 2026-02-13.
LDU_STATES: Final[Mapping[str, int]] = {
    "US-CA": 1000,
    "US-CO": 1001,
    "US-CT": 1002,
    "US-FL": 1003,
    "US-OR": 1004,
    "US-TX": 1005,
    "US-MT": 1006,
    "US-DE": 1007,
    "US-NE": 1008,
    "US-NH": 1009,
    "US-NJ": 1010,
    "US-MN": 1011,
    "US-MD": 1012,
    "US-RI": 1013,
}
LDU_COUNTRY_US: Final = 1

#: Sets of ``user_data`` keys that describe too many people: nothing but a subset of one is refused (2804050).
TOO_BROAD: Final[tuple[frozenset[str], ...]] = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)


@ready
class MetaHead(Struct, frozen=True, array_like=True):
    """What the events of one request share: dataset, test code, and the upload they belong to."""

    dataset: str
    test_event_code: str | None = None
    namespace_id: str | None = None
    upload_id: str | None = None
    upload_tag: str | None = None
    upload_source: str | None = None


class MetaRoot(Struct, omit_defaults=True, gc=False):
    """The request's object beside ``data``."""

    test_event_code: str | None = None
    partner_agent: str | None = None
    namespace_id: str | None = None
    upload_id: str | None = None
    upload_tag: str | None = None
    upload_source: str | None = None
    appsecret_proof: str | None = None


#: Keys of the request's object, which no event may carry.
ROOT_KEYS: Final = frozenset({*MetaRoot.__struct_fields__, "data", "access_token"})


class MetaUser(Struct, omit_defaults=True, gc=False):
    """``user_data``. Sequences hold SHA-256 digests; the rest is clear."""

    em: Sequence[str] | None = None
    ph: Sequence[str] | None = None
    external_id: Sequence[str] | None = None
    fn: Sequence[str] | None = None
    ln: Sequence[str] | None = None
    db: Sequence[str] | None = None
    ge: Sequence[str] | None = None
    ct: Sequence[str] | None = None
    st: Sequence[str] | None = None
    zp: Sequence[str] | None = None
    country: Sequence[str] | None = None
    client_ip_address: str | None = None
    client_user_agent: str | None = None
    fbc: str | None = None
    fbp: str | None = None
    subscription_id: str | None = None
    anon_id: str | None = None
    madid: str | None = None


class MetaContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``; ``item_price`` per unit, in major units."""

    id: str
    quantity: int
    item_price: Number | None = None
    title: str | None = None
    brand: str | None = None
    category: str | None = None
    delivery_category: str | None = None


class MetaCustom(Struct, omit_defaults=True, gc=False):
    """``custom_data``; ``value`` in major units."""

    value: Number | None = None
    currency: str | None = None
    order_id: str | None = None
    contents: Sequence[MetaContent] | None = None
    content_ids: Sequence[str] | None = None
    num_items: int | None = None
    content_type: str | None = None
    content_name: str | None = None
    content_category: str | None = None
    search_string: str | None = None
    predicted_ltv: Number | None = None
    delivery_category: str | None = None


class MetaApp(Struct, omit_defaults=True, gc=False):
    """``app_data``, for app events; the two flags are 0 or 1."""

    advertiser_tracking_enabled: int | None = None
    application_tracking_enabled: int | None = None
    extinfo: Sequence[str] | None = None
    install_referrer: str | None = None
    vendor_id: str | None = None


class MetaEvent(Struct, omit_defaults=True, gc=False):
    """One of ``data``."""

    event_name: str
    event_time: int
    event_id: str
    action_source: str
    user_data: MetaUser
    event_source_url: str | None = None
    custom_data: MetaCustom | None = None
    app_data: MetaApp | None = None
    referrer_url: str | None = None
    opt_out: bool | None = None
    data_processing_options: Sequence[str] | None = None
    data_processing_options_country: int | None = None
    data_processing_options_state: int | None = None


Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"\S")]
Source: TypeAlias = Annotated[
    str,
    Meta(pattern=r"\A(website|app|email|phone_call|chat|physical_store|system_generated|business_messaging|other)\Z"),
]
Channel: TypeAlias = Annotated[str, Meta(pattern=r"\A(whatsapp|messenger|instagram)\Z")]
Delivery: TypeAlias = Annotated[str, Meta(pattern=r"\A(in_store|curbside|home_delivery)\Z")]
Flag: TypeAlias = Annotated[int, Meta(ge=0, le=1)] | bool


class MetaAnyUser(MetaUser):
    """``user_data`` with every documented key; one digest may stand for a list of one."""

    em: TaggedDigests | None = None
    ph: TaggedDigests | None = None
    external_id: str | Sequence[str] | None = None
    fn: TaggedDigests | None = None
    ln: TaggedDigests | None = None
    db: TaggedDigests | None = None
    ge: TaggedDigests | None = None
    ct: TaggedDigests | None = None
    st: TaggedDigests | None = None
    zp: TaggedDigests | None = None
    country: TaggedDigests | None = None
    client_ip_address: Ip | None = None
    client_user_agent: Filled | None = None
    fbc: Annotated[str, Meta(pattern=r"\Afb\.[0-9]+\.[0-9]+\.\S+\Z")] | None = None
    fbp: Annotated[str, Meta(pattern=r"\Afb\.[0-9]+\.[0-9]{10,13}\.[0-9]\S*\Z")] | None = None
    fb_login_id: int | str | None = None
    lead_id: int | str | None = None
    page_id: str | None = None
    page_scoped_user_id: str | None = None
    ctwa_clid: str | None = None
    whatsapp_business_account_id: str | None = None
    ig_account_id: str | None = None
    ig_sid: str | None = None
    partner_id: str | None = None
    partner_name: str | None = None
    f5first: TaggedDigests | None = None
    f5last: TaggedDigests | None = None
    fi: TaggedDigests | None = None
    dobd: TaggedDigests | None = None
    dobm: TaggedDigests | None = None
    doby: TaggedDigests | None = None


class MetaAnyContent(MetaContent):
    """One of ``contents`` with every documented key."""

    id: Filled
    description: str | None = None
    delivery_category: Delivery | None = None


class MetaAnyCustom(MetaCustom):
    """``custom_data`` with every documented key; keys of one's own are taken as well."""

    currency: Annotated[str, Meta(pattern=r"\A[A-Za-z]{3}\Z")] | None = None
    contents: Sequence[MetaAnyContent] | None = None
    content_type: ContentType | None = None
    delivery_category: Delivery | None = None
    net_revenue: Number | None = None
    status: str | bool | None = None
    item_number: str | None = None


class MetaAnyApp(MetaApp):
    """``app_data`` with every documented key whose type is documented."""

    advertiser_tracking_enabled: Flag | None = None
    application_tracking_enabled: Flag | None = None
    extinfo: ExtInfo | None = None


@ready
class MetaAnyEvent(MetaEvent):
    """One of ``data`` with every documented key: what properties and ``extra`` bring is checked by it."""

    event_name: Name
    action_source: Source
    user_data: MetaAnyUser
    custom_data: MetaAnyCustom | None = None
    app_data: MetaAnyApp | None = None
    messaging_channel: Channel | None = None
    customer_segmentation: str | None = None
    original_event_data: Mapping[str, Any] | None = None
    attribution_data: Mapping[str, Any] | None = None
    advanced_measurement_table: str | None = None
