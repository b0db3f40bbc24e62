"""TikTok's wire formats: one event of Events API 2.0, and one of the legacy pixel endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from capi_async.destinations.cart import Number
from capi_async.destinations.forms import ContentType, Digest, Digests, Ip
from capi_async.early import ready


class TikTokHead(Struct, frozen=True, omit_defaults=True):
    """The root of a request: its bytes are the beginning of the body, as ``data`` is all that follows."""

    event_source: str
    event_source_id: str
    test_event_code: str | None = None
    partner_name: str | None = None


class TikTokUser(Struct, omit_defaults=True, gc=False):
    """``user``. The lists, names, postal code and mobile ids are SHA-256 digests; the rest is clear."""

    email: Sequence[str] | None = None
    phone: Sequence[str] | None = None
    external_id: Sequence[str] | None = None
    first_name: str | None = None
    last_name: str | None = None
    zip_code: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    ttclid: str | None = None
    ttp: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    idfa: str | None = None
    gaid: str | None = None
    idfv: str | None = None
    att_status: str | None = None


class TikTokPage(Struct, omit_defaults=True, gc=False):
    """``page``. TikTok reads the click id in the URL's query too."""

    url: str | None = None
    referrer: str | None = None


class TikTokContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``. The id is text: TikTok refuses a number. ``price`` is per unit, in major units."""

    content_id: str | None = None
    quantity: int | None = None
    price: Number | None = None
    content_name: str | None = None
    content_category: str | None = None
    brand: str | None = None


class TikTokProperties(Struct, omit_defaults=True, gc=False):
    """``properties``. Amounts are numbers in major units.

    Further documented keys (``content_ids``, ``shop_id``, ``status``, those of travel and vehicle catalogues) and
    keys of one's own come from ``Event.properties``.
    """

    currency: str | None = None
    value: Number | None = None
    order_id: str | None = None
    content_type: str | None = None
    contents: Sequence[TikTokContent] | None = None
    num_items: int | None = None
    # which of these two counts in 2.0 is UNVERIFIED: both are sent, as a large integration does
    query: str | None = None
    search_string: str | None = None
    description: str | None = None
    delivery_category: str | None = None
    predicted_ltv: Number | None = None


class TikTokApp(Struct, omit_defaults=True, gc=False):
    """``app``, for app events."""

    app_id: str | None = None
    app_name: str | None = None
    app_version: str | None = None


class TikTokEvent(Struct, omit_defaults=True, gc=False):
    """One of ``data``. The documented objects ``ad`` and ``lead`` come from ``Event.extra``."""

    event: str
    event_time: int
    event_id: str
    user: TikTokUser
    page: TikTokPage | None = None
    properties: TikTokProperties | None = None
    app: TikTokApp | None = None
    limited_data_use: bool = False


class TikTokAnyProperties(TikTokProperties):
    """``properties`` with every documented key; those of travel and vehicle catalogues are not checked."""

    content_ids: Sequence[str] | None = None
    shop_id: str | None = None
    status: str | None = None


class TikTokAnyUser(TikTokUser):
    """``user`` as a caller may give it: one digest stands for a list of one."""

    email: Digests | None = None
    phone: Digests | None = None
    external_id: Digests | None = None
    first_name: Digest | None = None
    last_name: Digest | None = None
    zip_code: Digest | None = None
    ip: Ip | None = None
    idfa: Digest | None = None
    gaid: Digest | None = None


class TikTokAd(Struct):
    """``ad``: what is known of the advertisement, for app events."""

    callback: str | None = None
    campaign_id: str | None = None
    ad_id: str | None = None
    creative_id: str | None = None
    is_retargeting: bool | None = None
    attributed: bool | None = None
    attribution_type: str | None = None
    attribution_provider: str | None = None


class TikTokLead(Struct):
    """``lead``, for CRM events."""

    lead_id: str | None = None
    lead_event_source: str | None = None


@ready
class TikTokAnyEvent(TikTokEvent):
    """One of ``data`` with every documented key: what properties and ``extra`` bring is checked by it."""

    user: TikTokAnyUser
    properties: TikTokAnyProperties | None = None
    ad: TikTokAd | None = None
    lead: TikTokLead | None = None


@ready
class PixelHead(Struct, frozen=True, array_like=True):
    """What one request shares.

    ``alone`` is the key of a test event, so that no other shares its request; records with an equal one are
    the same event to TikTok, and one request speaks for all of them.
    """

    pixel_code: str
    partner_name: str | None
    test_event_code: str | None = None
    alone: str | None = None


class PixelRoot(Struct, omit_defaults=True, gc=False):
    """The root of either form; the batch, or the single event's own keys, follow."""

    pixel_code: str
    partner_name: str | None = None
    test_event_code: str | None = None


class PixelAd(Struct, gc=False):
    """``context.ad``: the click id."""

    callback: str


class PixelPage(Struct, omit_defaults=True, gc=False):
    """``context.page``."""

    url: str | None = None
    referrer: str | None = None


class PixelUser(Struct, omit_defaults=True, gc=False):
    """``context.user``: SHA-256 digests, one of each; ``ttp`` is clear."""

    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    ttp: str | None = None


class PixelContext(Struct, omit_defaults=True, gc=False):
    """``context``. Address and browser stand outside ``user``."""

    ad: PixelAd | None = None
    page: PixelPage | None = None
    user: PixelUser | None = None
    user_agent: str | None = None
    ip: str | None = None


class PixelContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``, which holds the content type here; ``price`` is per unit, in major units."""

    content_id: str | None = None
    content_type: str | None = None
    quantity: int | None = None
    price: Number | None = None
    content_name: str | None = None
    content_category: str | None = None
    brand: str | None = None
    status: str | None = None


class PixelProperties(Struct, omit_defaults=True, gc=False):
    """``properties``; ``value`` is a number in major units."""

    contents: Sequence[PixelContent] | None = None
    currency: str | None = None
    value: Number | None = None
    description: str | None = None
    query: str | None = None


class PixelEvent(Struct, omit_defaults=True, gc=False):
    """One of ``batch``, or without ``type`` the event of a single request. The time is ISO 8601 with ``Z``."""

    event: str
    event_id: str
    timestamp: datetime
    context: PixelContext
    properties: PixelProperties | None = None
    type: Literal["track"] | None = None


class PixelAnyUser(PixelUser):
    """``context.user``, which holds one digest of each."""

    external_id: Digest | None = None
    email: Digest | None = None
    phone_number: Digest | None = None


class PixelAnyContext(PixelContext):
    """``context``."""

    user: PixelAnyUser | None = None
    ip: Ip | None = None


class PixelAnyContent(PixelContent):
    """One of ``contents``, which says in words what kind of id it has."""

    content_type: ContentType | None = None


class PixelAnyProperties(PixelProperties):
    """``properties`` with every documented key."""

    contents: Sequence[PixelAnyContent] | None = None
    content_type: ContentType | None = None
    status: str | None = None


@ready
class PixelAnyEvent(PixelEvent):
    """An event with every documented key: what properties and ``extra`` bring is checked by it."""

    context: PixelAnyContext
    properties: PixelAnyProperties | None = None
