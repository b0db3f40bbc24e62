"""What the Data Manager API takes, key by key. Source: google-ads-datamanager 0.9.4 and the reference, read 2026-11.

Unknown keys are taken to refuse the whole request, so every struct refuses them and holds all documented ones of Google
Ads; those without a canonical source are there for ``Event.extra``. What is for Analytics, Floodlight or data partners
alone is not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from capi_async.destinations.forms import Currency, Digest, Filled, Ip
from capi_async.early import ready

# Patterns rather than enums: an error about an enum would repeat the value.
Time: TypeAlias = Annotated[
    str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", max_length=40)
]
EventSource: TypeAlias = Annotated[str, Meta(pattern=r"\A(WEB|APP|IN_STORE|PHONE|MESSAGE|OTHER)\Z")]
Choice: TypeAlias = Annotated[str, Meta(pattern=r"\ACONSENT_(GRANTED|DENIED)\Z")]
CustomerType: TypeAlias = Annotated[str, Meta(pattern=r"\A(NEW|RETURNING|REENGAGED)\Z")]
ValueBucket: TypeAlias = Annotated[str, Meta(pattern=r"\A(LOW|MEDIUM|HIGH)\Z")]
Region: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
Language: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z]{2}\Z")]
#: A whole number of 64 bits, which JSON of Google's APIs writes as text.
Int64Text: TypeAlias = Annotated[str, Meta(pattern=r"\A\d{1,19}\Z")]
Pixels: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class GoogleAddress(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``address``: all four or none."""

    given_name: Digest
    family_name: Digest
    region_code: Region
    postal_code: Filled


class GoogleIdentifier(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``userIdentifiers``: exactly one of the three."""

    email_address: Digest | None = None
    phone_number: Digest | None = None
    address: GoogleAddress | None = None

    def __post_init__(self) -> None:
        if (self.email_address is None) + (self.phone_number is None) + (self.address is None) != 2:
            raise ValueError("needs exactly one of emailAddress, phoneNumber and address")


class GoogleUser(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``userData``."""

    user_identifiers: Annotated[Sequence[GoogleIdentifier], Meta(min_length=1, max_length=10)]


class GoogleLanding(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``landingPageDeviceInfo``: the device when the person arrived from the advertisement."""

    user_agent: Filled | None = None
    ip_address: Ip | None = None


class GoogleClick(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``adIdentifiers``; the last two are Ad Manager's. Those of Floodlight are refused for a Google Ads account."""

    gclid: Filled | None = None
    gbraid: Filled | None = None
    wbraid: Filled | None = None
    session_attributes: Annotated[str, Meta(min_length=1, max_length=4_000)] | None = None
    landing_page_device_info: GoogleLanding | None = None
    mobile_device_id: Filled | None = None
    ppid: Filled | None = None
    visitor_ppid: Filled | None = None


class GoogleConsent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``consent`` of one event."""

    ad_user_data: Choice | None = None
    ad_personalization: Choice | None = None


class GoogleDevice(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``eventDeviceInfo``: the device when the conversion happened, in clear."""

    user_agent: Filled | None = None
    ip_address: Ip | None = None
    category: Filled | None = None
    language_code: Language | None = None
    screen_height: Pixels | None = None
    screen_width: Pixels | None = None
    operating_system: Filled | None = None
    operating_system_version: Filled | None = None
    model: Filled | None = None
    brand: Filled | None = None
    browser: Filled | None = None
    browser_version: Filled | None = None


class GoogleItemVariable(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """A custom variable of an item."""

    variable: Filled
    value: str
    destination_references: Sequence[str] | None = None


class GoogleItemParameter(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """A further fact about an item."""

    parameter_name: Filled
    value: str


class GoogleItem(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``cartData.items``: the quantity is text, the price a number."""

    merchant_product_id: Filled | None = None
    quantity: Int64Text | None = None
    unit_price: Decimal | None = None
    item_id: Filled | None = None
    conversion_value: Decimal | None = None
    additional_item_parameters: Sequence[GoogleItemParameter] | None = None
    merchant_id: Int64Text | None = None
    merchant_feed_label: Filled | None = None
    merchant_feed_language_code: Filled | None = None
    custom_variables: Sequence[GoogleItemVariable] | None = None


class GoogleCart(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``cartData``."""

    merchant_id: Int64Text | None = None
    merchant_feed_label: Filled | None = None
    merchant_feed_language_code: Filled | None = None
    transaction_discount: Decimal | None = None
    coupon_codes: Sequence[str] | None = None
    items: Sequence[GoogleItem] | None = None


class GoogleVariable(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``customVariables``; it must exist and be enabled in the account."""

    variable: Filled
    value: str
    destination_references: Sequence[str] | None = None


class GoogleCustomer(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``userProperties``."""

    customer_type: CustomerType | None = None
    customer_value_bucket: ValueBucket | None = None


class GooglePlace(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """``eventLocation``."""

    store_id: Filled | None = None
    city: Filled | None = None
    subdivision_code: Filled | None = None
    region_code: Region | None = None
    subcontinent_code: Filled | None = None
    continent_code: Filled | None = None


@ready
class GoogleEvent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One of ``events``.

    ``destination_references`` stays the first key: the request reads from it which conversion actions to list.
    """

    destination_references: Annotated[Sequence[str], Meta(min_length=1, max_length=1)]
    transaction_id: Filled
    event_timestamp: Time
    event_source: EventSource
    currency: Currency | None = None
    conversion_value: Decimal | None = None
    consent: GoogleConsent | None = None
    ad_identifiers: GoogleClick | None = None
    event_device_info: GoogleDevice | None = None
    user_data: GoogleUser | None = None
    cart_data: GoogleCart | None = None
    custom_variables: Sequence[GoogleVariable] | None = None
    event_location: GooglePlace | None = None
    user_properties: GoogleCustomer | None = None
    last_updated_timestamp: Time | None = None
    conversion_count: Decimal | None = None
