"""What Reddit takes, key by key. Source: Reddit's server-side tag template 2.0.0 and its v3 guide, read 2026-11.

Reddit refuses unknown keys, and with one of them the whole request. The kinds of ``item_price`` and ``quantity`` are
known from other integrations only. Of the person, plain values would be taken, too; here they are digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from capi_async.destinations.cart import Number
from capi_async.destinations.forms import Currency, Digest, Filled, Ip
from capi_async.early import ready

# Patterns rather than enums: an error about an enum would repeat the value.
Source = Annotated[str, Meta(pattern=r"\A(WEBSITE|APP|PHYSICAL_STORE|OTHER)\Z")]
TrackingType = Annotated[
    str,
    Meta(pattern=r"\A(PAGE_VISIT|VIEW_CONTENT|SEARCH|ADD_TO_CART|ADD_TO_WISHLIST|PURCHASE|LEAD|SIGN_UP|CUSTOM)\Z"),
]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
#: A moment of this century: seconds in its place are the usual mistake.
Millis = Annotated[int, Meta(ge=10**12, lt=10**13)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Pixels = Annotated[int, Meta(ge=0, lt=32_768)]
Address = Annotated[str, Meta(pattern=r"\Ahttps?://[^\s/?#]+\S*\Z")]
Mode = Annotated[str, Meta(pattern=r"\ALDU\Z")]
Country = Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
Region = Annotated[str, Meta(pattern=r"\A[A-Z]{2}(-[A-Z0-9]{1,3})?\Z")]


class RedditType(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``type``: the name goes with ``CUSTOM``, and only with it."""

    tracking_type: TrackingType
    custom_event_name: Name | None = None


class RedditScreen(Struct, forbid_unknown_fields=True, gc=False):
    """``user.screen_dimensions``, in pixels."""

    width: Pixels
    height: Pixels


class RedditLimits(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``user.data_processing_options``: limited data use, and where the person lives."""

    modes: Annotated[Sequence[Mode], Meta(min_length=1)]
    country: Country | None = None
    region: Region | None = None


class RedditUser(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``user``: one value each. Digests, then what is sent in clear."""

    email: Digest | None = None
    phone_number: Digest | None = None
    external_id: Digest | None = None
    idfa: Digest | None = None
    aaid: Digest | None = None
    ip_address: Ip | None = None
    user_agent: Filled | None = None
    uuid: Filled | None = None
    screen_dimensions: RedditScreen | None = None
    data_processing_options: RedditLimits | None = None


class RedditProduct(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One of ``metadata.products``."""

    id: Filled
    name: str | None = None
    category: str | None = None
    item_price: Number | None = None
    quantity: Count | None = None


class RedditMetadata(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """``metadata``: the amount is a number in major units."""

    conversion_id: Filled
    value: Number | None = None
    currency: Currency | None = None
    item_count: Count | None = None
    products: Sequence[RedditProduct] | None = None


@ready
class RedditEvent(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One of ``data.events``; ``event_at`` in milliseconds since the epoch."""

    event_at: Millis
    action_source: Source
    type: RedditType
    user: RedditUser
    metadata: RedditMetadata
    event_source_url: Address | None = None
    click_id: Filled | None = None
