"""TikTok's legacy pixel endpoints (Events API 1.0), web events only.

Source: github.com/tiktok/tiktok-business-api-sdk (models of ``/pixel/track/`` and ``/pixel/batch/``), read 2026-11.
TikTok announced their end and still ships them; once they are switched off, code 41001 pauses this destination.
Undocumented and chosen here, each a setting: the greatest age (7 days) and bytes per request (1 MB). That a
second copy is known by its event id, as in 2.0, is taken over from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct

from capi_async.destinations.base import lost_key, with_good_clicks
from capi_async.destinations.tiktok.answers import read_answer
from capi_async.destinations.tiktok.shared import (
    CLICKS,
    CURRENCIES,
    ENV,
    PIXEL_EVENTS,
    WEB_IDENTITY,
    check_settings,
    currency_warning,
    named,
    part,
    with_properties,
)
from capi_async.early import ready
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    ENCODER,
    HOUR,
    Credential,
    Destination,
    Limits,
    Refusal,
    Request,
    Secret,
    Wire,
    decode_head,
    encode_head,
    json_slices,
    merge,
    no_consent,
)


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

    content_id: str
    content_type: str
    quantity: int
    price: Decimal | None = None


class PixelProperties(Struct, omit_defaults=True, gc=False):
    """``properties``; ``value`` is a number in major units."""

    contents: Sequence[PixelContent] | None = None
    currency: str | None = None
    value: Decimal | None = None
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


#: The place of ``status`` is UNVERIFIED (here or in each item); as a free property it stands here.
PROPERTIES: Final = frozenset({"contents", "currency", "value", "description", "query", "status"})

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "ViewContent",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "CompletePayment",
    # as a custom event it would be counted beside the revenue it takes back
    "refund": None,
    "lead": "SubmitForm",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "login": "Login",
    "contact": "Contact",
    "download": "Download",
    "app_install": "InstallApp",
    "app_open": "LaunchAPP",
}


class TikTokPixel(Destination, frozen=True, kw_only=True):
    """TikTok's legacy pixel endpoints, for accounts that depend on them; new ones take :class:`TikTok`.

    Events travel to ``/pixel/batch/``; a test event alone to ``/pixel/track/``, the only one known to take the code.

    Attributes:
        pixel_code: As in Events Manager.
        access_token: From Events Manager, or a callable for OAuth tokens; without ``Bearer``.
        test_event_code: From Events Manager, Test Events. Every event of this destination then carries it
            and stays out of the reports. Without one, events with ``test=True`` are skipped.
        partner_name: Only a name agreed with TikTok is taken; off by default.
        api_version: Part of every address.
    """

    type: ClassVar[str] = "tiktok_pixel"
    wire: ClassVar[str] = "tiktok_pixel/1"
    default_base_url: ClassVar[str] = "https://business-api.tiktok.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=50,
        max_batch_bytes=1_000_000,
        requests_per_s=500.0,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_e164", "external_id", "ip", "user_agent", "page_url", "page_referrer",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = ENV
    dedup_key: ClassVar[str] = "event_id"
    docs: ClassVar[str] = "github.com/tiktok/tiktok-business-api-sdk (pixel track and batch), read 2026-11"

    pixel_code: str
    access_token: Credential
    test_event_code: str | None = None
    partner_name: str | None = None
    api_version: str = "v1.3"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            self.pixel_code,
            self.api_version,
            test_event_code=self.test_event_code,
            partner_name=self.partner_name,
        )

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.pixel_code

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """The names that events get without a further look."""
        return {name: there for name, there in self.names.items() if there in PIXEL_EVENTS}

    @cached_property
    def _live_head(self) -> bytes:
        return encode_head(PixelHead(self.pixel_code, self.partner_name))

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        if event.source != "website":
            return Refusal("skipped", "source", "these endpoints take web events only", "use destination type 'tiktok'")
        name = self._names.get(event.name)
        warnings: tuple[str, ...] = ()
        if name is None:
            found = named(self, event, PIXEL_EVENTS)
            if isinstance(found, Refusal):
                return found
            name, warnings = found
        # limited data use has no field here, so an event that asks for it stays
        if event.consent is not None and (
            refusal := no_consent(event, "ad_storage", "ad_user_data", "ad_personalization", "sale_opt_out")
        ):
            return refusal
        test = event.test or self.test or self.test_event_code is not None
        if test and not self.test_event_code:
            return Refusal(
                "skipped",
                "test",
                "test events need a code from Events Manager",
                "set test_event_code on the destination",
            )
        time = event.time.timestamp()
        try:
            timestamp = datetime.fromtimestamp(int(time), UTC)
        except (ValueError, OverflowError):  # the first or last hours of the calendar, in a far offset
            return Refusal("rejected", "time", "is no date in UTC", "check the event's time")
        event, notes = with_good_clicks(event, CLICKS, "ttclid")
        warnings += notes
        click, url, referrer = event.click, ids.page_url, ids.page_referrer
        user = PixelUser(
            hashed[0] if (hashed := ids.external_id) else None,
            hashed[0] if (hashed := ids.email) else None,
            hashed[0] if (hashed := ids.phone_e164) else None,
            click.ttp,
        )
        known = user != _NO_USER
        body: Any = PixelEvent(
            name,
            event.event_id,
            timestamp,
            PixelContext(
                PixelAd(click.ttclid) if click.ttclid else None,
                PixelPage(url, referrer) if url or referrer else None,
                user if known else None,
                ids.user_agent,
                ids.ip,
            ),
            _properties(event),
            None if test else "track",
        )
        extra = self.extra_of(event) if event.extra else None
        if extra and (refusal := lost_key(extra, "event_id")):
            return refusal
        if extra or event.properties:
            body = with_properties(merge(body, extra or {}), event.properties, PROPERTIES)
            identified = _identified(body)
        else:
            identified = known or bool(click.ttclid or (ids.ip and ids.user_agent))
        if not identified:
            return Refusal(
                "skipped",
                "user",
                "nobody to identify",
                f"set {WEB_IDENTITY}",
            )
        currency = event.currency
        if currency is not None and currency not in CURRENCIES:
            warnings += currency_warning(currency)
        return Wire(
            body,
            self._test_head(event) if test else self._live_head,
            time + (self.max_age_s or self.limits.max_age_s),
            _RESEND_FOR_S,
            None,
            warnings,
        )

    def _test_head(self, event: Event) -> bytes:
        # one of a kind: past the cache
        return ENCODER.encode(
            PixelHead(self.pixel_code, self.partner_name, self.test_event_code, f"{event.name}:{event.event_id}")
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, PixelHead)
        root = ENCODER.encode(PixelRoot(to.pixel_code, to.partner_name or None, to.test_event_code))[:-1]
        if to.test_event_code:
            path, body = "track", json_slices(root + b",", [bodies[0][1:]], b"")
        else:
            path, body = "batch", json_slices(root + b',"batch":[', bodies, b"]}")
        return Request(
            "POST",
            # without the last slash TikTok finds no such address
            f"{self.base_url}/open_api/{self.api_version}/pixel/{path}/",
            {"Access-Token": token, "Content-Type": "application/json"},
            body,
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return read_answer(response, count, (self.pixel_code,))


_RESEND_FOR_S: Final = 48 * HOUR
_NO_USER: Final = PixelUser()
_NO_PROPERTIES: Final = PixelProperties()


def _properties(event: Event) -> PixelProperties | None:
    # required in each item; an item's id is a product's unless the caller says otherwise
    content_type = event.content_type or "product"
    data = PixelProperties(
        [PixelContent(item.id, content_type, item.quantity, item.price) for item in event.items]  # type: ignore[arg-type]  # a made item holds Decimals
        if event.items
        else None,
        event.currency,
        event.value,  # type: ignore[arg-type]  # as above
        event.description,
        event.search_string,
    )
    return None if data == _NO_PROPERTIES else data


def _identified(body: Mapping[str, Any]) -> bool:
    """Whether the merged event has somebody to attribute it to; TikTok itself takes anonymous events."""
    context = part(body, "context")
    user = part(context, "user")
    return bool(
        user.get("email") or user.get("phone_number") or user.get("external_id") or user.get("ttp")
        or part(context, "ad").get("callback") or (context.get("ip") and context.get("user_agent"))
    )  # fmt: skip
