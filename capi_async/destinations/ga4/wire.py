"""What the Measurement Protocol takes, key by key. Source: its reference and "user-provided data",
developers.google.com/analytics, read 2026-11.

The head of a request is its JSON without ``events``. It is of one person and holds personal data, so nothing may
remember it: it is encoded anew for each event.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from capi_async.early import ready

Choice: TypeAlias = Literal["GRANTED", "DENIED"]


@ready
class GA4Address(Struct, omit_defaults=True, gc=False):
    """Names as digests, the rest in clear, as documented."""

    sha256_first_name: str | None = None
    sha256_last_name: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None


@ready
class GA4UserData(Struct, omit_defaults=True, gc=False):
    """Data that the person gave; for properties that have accepted Google's terms for it."""

    sha256_email_address: tuple[str, ...] | None = None
    sha256_phone_number: tuple[str, ...] | None = None
    address: tuple[GA4Address, ...] | None = None


@ready
class GA4Consent(Struct, omit_defaults=True, gc=False):
    """What the person said; a choice that is left out is the one that Google has learned from its own tag."""

    ad_user_data: Choice | None = None
    ad_personalization: Choice | None = None


@ready
class GA4Property(Struct, gc=False):
    """A property of the visitor, kept by Google Analytics beyond the event."""

    value: Any


@ready
class GA4Location(Struct, omit_defaults=True, gc=False):
    """Where the visitor is; it goes before what the address says."""

    city: str | None = None
    region_id: str | None = None
    country_id: str | None = None


@ready
class GA4Device(Struct, omit_defaults=True, gc=False):
    """The visitor's device; it goes before what the user agent says."""

    language: str | None = None
    screen_resolution: str | None = None
    operating_system: str | None = None
    operating_system_version: str | None = None
    model: str | None = None
    brand: str | None = None


@ready
class GA4Head(Struct, omit_defaults=True, gc=False):
    """All of a request but its events. Only a test has ``validation_behavior``, which stands first to tell it."""

    validation_behavior: Literal["ENFORCE_RECOMMENDATIONS"] | None = None
    client_id: str | None = None
    app_instance_id: str | None = None
    user_id: str | None = None
    consent: GA4Consent | None = None
    user_data: GA4UserData | None = None
    user_properties: dict[str, GA4Property] | None = None
    user_location: GA4Location | None = None
    device: GA4Device | None = None
    ip_override: str | None = None
    user_agent: str | None = None


#: What the head of a test event begins with.
TEST: bytes = b'{"validation_behavior"'


@ready
class GA4Event(Struct, forbid_unknown_fields=True):
    """One entry of ``events``."""

    name: str
    timestamp_micros: int
    params: dict[str, Any]
