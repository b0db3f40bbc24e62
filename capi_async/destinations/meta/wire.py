"""Meta's wire structs and tables. Source: developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from capi_async.early import ready

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "PageView",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    # as a custom event a refund would count as revenue
    "refund": None,
    "lead": "Lead",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    # Meta has no standard name for these three: they travel as custom events
    "login": "Login",
    "download": "Download",
    "app_open": "AppOpen",
    "contact": "Contact",
    # not on the Conversions API's own pages (unverified): event_names overrides it
    "app_install": "MobileAppInstall",
}

#: Characters of a custom event's name.
MAX_NAME: Final = 50

ACTION_SOURCES: Final[Mapping[str, str]] = {
    "website": "website",
    "app": "app",
    "offline": "physical_store",
    "physical_store": "physical_store",
    "phone_call": "phone_call",
    "email": "email",
    "chat": "chat",
    "system_generated": "system_generated",
    "crm": "system_generated",
    "business_messaging": "business_messaging",
    "other": "other",
}

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
    item_price: Decimal | None = None
    title: str | None = None
    brand: str | None = None
    category: str | None = None
    delivery_category: str | None = None


class MetaCustom(Struct, omit_defaults=True, gc=False):
    """``custom_data``; ``value`` in major units."""

    value: Decimal | None = None
    currency: str | None = None
    order_id: str | None = None
    contents: Sequence[MetaContent] | None = None
    content_ids: Sequence[str] | None = None
    num_items: int | None = None
    content_type: str | None = None
    content_name: str | None = None
    content_category: str | None = None
    search_string: str | None = None
    predicted_ltv: Decimal | None = None
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
