"""TikTok Events API 2.0. Source: business-api.tiktok.com/portal/docs (Events API 2.0), read 2026-11.

TikTok accepts unknown and misspelt keys without a word, and events without any identifier: names, required
fields and identity are therefore checked here. Undocumented by TikTok and chosen here, each a setting: the
greatest age of web, app and CRM events (7 days; offline is documented with 28) and bytes per request (1 MB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final

from msgspec import Struct

from capi_async.destinations.base import BAD_PAGE, is_web, lost_key, with_good_clicks
from capi_async.destinations.tiktok.answers import read_answer
from capi_async.destinations.tiktok.body import TikTokEvent, TikTokPage, app_of, properties_of, user_of
from capi_async.destinations.tiktok.shared import (
    APP_EVENTS,
    CLICKS,
    CURRENCIES,
    ENV,
    WEB_EVENTS,
    WEB_IDENTITY,
    check_settings,
    currency_warning,
    named,
    part,
    with_properties,
)
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    HOUR,
    Credential,
    Destination,
    Limits,
    Refusal,
    Request,
    Secret,
    Wire,
    encode_head,
    json_slices,
    merge,
    no_consent,
)


class TikTokHead(Struct, frozen=True, omit_defaults=True):
    """The root of a request: its bytes are the beginning of the body, as ``data`` is all that follows."""

    event_source: str
    event_source_id: str
    test_event_code: str | None = None
    partner_name: str | None = None


STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    # as the browser pixel and TikTok's own tag templates send it: de-duplication needs the identical name
    "page_view": "Pageview",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "Purchase",
    # as a custom event it would be counted beside the revenue it takes back
    "refund": None,
    "lead": "Lead",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "login": "Login",
    "contact": "Contact",
    "download": "Download",
    "app_install": "InstallApp",
    "app_open": "LaunchAPP",
}

#: App sources have a list of their own. ``Checkout`` for initiate_checkout is by meaning, UNVERIFIED.
APP_NAMES: Final[Mapping[str, str | None]] = {
    **STANDARD_NAMES,
    "initiate_checkout": "Checkout",
    "lead": "GenerateLead",
    "sign_up": "Registration",
}

EVENT_SOURCES: Final[Mapping[str, str]] = {
    "website": "web",
    "app": "app",
    "offline": "offline",
    "physical_store": "offline",
    "phone_call": "offline",
    "email": "offline",
    "chat": "offline",
    "system_generated": "offline",
    "crm": "crm",
    "business_messaging": "offline",
    "other": "offline",
}
#: Event source to the setting that holds its id.
_SOURCE_SETTINGS: Final[Mapping[str, str]] = {
    "web": "pixel_code",
    "app": "app_id",
    "offline": "offline_event_set_id",
    "crm": "crm_event_set_id",
}
_OFFLINE_MAX_AGE_S: Final = 28 * DAY
_RESEND_FOR_S: Final = 48 * HOUR


class _Source(Struct, frozen=True):
    """Where events happened, with all that an account says about it.

    Attributes:
        kind: TikTok's word for it.
        head: Of the requests to it; ``None`` where the account has no id for it.
        known: TikTok's own names there.
        names: Those that events get without a further look.
        max_age_s: Seconds.
    """

    kind: str
    head: bytes | None
    known: frozenset[str]
    names: Mapping[str, str]
    max_age_s: float


class TikTok(Destination, frozen=True, kw_only=True):
    """TikTok Events API 2.0, for web, app, offline and CRM events.

    Attributes:
        pixel_code: Source id of web events, as in Events Manager.
        access_token: From Events Manager, or a callable for OAuth tokens; without ``Bearer``.
        test_event_code: From Events Manager, Test Events. Every event of this destination then carries it
            and stays out of the reports. Without one, events with ``test=True`` are skipped.
        app_id: TikTok App ID, the source id of app events; without it they are skipped.
        offline_event_set_id: Source id of offline events; likewise.
        crm_event_set_id: Source id of CRM events; likewise.
        partner_name: Only a name agreed with TikTok is taken; off by default.
        api_version: Part of every address.

    The 1,000 requests per second that TikTok allows are shared by all accounts of a developer app.
    """

    type: ClassVar[str] = "tiktok"
    wire: ClassVar[str] = "tiktok/2"
    default_base_url: ClassVar[str] = "https://business-api.tiktok.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1_000,
        max_batch_bytes=1_000_000,
        requests_per_s=500.0,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_e164", "external_id", "first_name_spaced", "last_name_spaced", "zip_us5", "city_clear",
        "state_clear", "country_clear", "ip", "user_agent", "mobile_ad_id", "idfv", "page_url", "page_referrer",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = ENV
    dedup_key: ClassVar[str] = "event_id"
    docs: ClassVar[str] = "business-api.tiktok.com/portal/docs (Events API 2.0), read 2026-11"

    pixel_code: str
    access_token: Credential
    test_event_code: str | None = None
    app_id: str | None = None
    offline_event_set_id: str | None = None
    crm_event_set_id: str | None = None
    partner_name: str | None = None
    api_version: str = "v1.3"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            self.pixel_code,
            self.api_version,
            test_event_code=self.test_event_code,
            app_id=self.app_id,
            offline_event_set_id=self.offline_event_set_id,
            crm_event_set_id=self.crm_event_set_id,
            partner_name=self.partner_name,
        )

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.pixel_code

    def name_of(self, event: Event) -> str | None:
        """As the base says; app events have names of their own."""
        if self.event_names and event.name in self.event_names:
            return self.event_names[event.name]
        return (APP_NAMES if event.source == "app" else STANDARD_NAMES).get(event.name)

    @cached_property
    def _sources(self) -> Mapping[str, _Source]:
        return {source: self._source(source, kind) for source, kind in EVENT_SOURCES.items()}

    def _source(self, source: str, kind: str) -> _Source:
        source_id = getattr(self, _SOURCE_SETTINGS[kind])
        names, known = (APP_NAMES, APP_EVENTS) if source == "app" else (STANDARD_NAMES, WEB_EVENTS)
        return _Source(
            kind,
            encode_head(TikTokHead(kind, source_id, self.test_event_code, self.partner_name or None))
            if source_id
            else None,
            known,
            {name: there for name, there in {**names, **self.event_names}.items() if there in known},
            self.max_age_s or (_OFFLINE_MAX_AGE_S if kind == "offline" else self.limits.max_age_s),
        )

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        source = self._sources[event.source]
        name = source.names.get(event.name)
        warnings: tuple[str, ...] = ()
        if name is None:
            found = named(self, event, source.known)
            if isinstance(found, Refusal):
                return found
            name, warnings = found
        consent = event.consent
        if consent is not None and (refusal := no_consent(event, "ad_storage", "ad_user_data", "ad_personalization")):
            return refusal
        kind, head = source.kind, source.head
        if head is None:
            setting = _SOURCE_SETTINGS[kind]
            return Refusal("skipped", "source", f"{kind} events need {setting}", f"set {setting} on the destination")
        if (event.test or self.test) and not self.test_event_code:
            return Refusal(
                "skipped",
                "test",
                "test events need a code from Events Manager",
                "set test_event_code on the destination",
            )
        event, notes = with_good_clicks(event, CLICKS, "ttclid")
        warnings += notes
        time = event.time.timestamp()
        user = user_of(event, ids)
        url, referrer = ids.page_url, ids.page_referrer
        body: Any = TikTokEvent(
            name,
            int(time),
            event.event_id,
            user,
            TikTokPage(url, referrer) if url or referrer else None,
            properties_of(event),
            app_of(event) if kind == "app" else None,
            consent is not None and consent.sale_opt_out is True,
        )
        extra = self.extra_of(event) if event.extra else None
        if extra and (refusal := lost_key(extra, "event_id")):
            return refusal
        if extra or event.properties:
            body = with_properties(merge(body, extra or {}), event.properties)
            refusal = _check_merged(kind, body)
        elif kind == "web" and user.email and url and is_web(url):
            refusal = None  # of nearly all events no more need be asked
        else:
            refusal = _check(
                kind,
                url,
                event.app.id if event.app else None,
                user.email or user.phone or user.external_id,
                user.ttclid or user.ttp,
                user.idfa or user.gaid or user.idfv,
                user.ip and user.user_agent,
            )
        if refusal:
            return refusal
        currency = event.currency
        if currency is not None and currency not in CURRENCIES:
            warnings += currency_warning(currency)
        return Wire(body, head, time + source.max_age_s, _RESEND_FOR_S, None, warnings)

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        return Request(
            "POST",
            # without the last slash TikTok finds no such address
            f"{self.base_url}/open_api/{self.api_version}/event/track/",
            {"Access-Token": token, "Content-Type": "application/json"},
            json_slices(head[:-1] + b',"data":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        ids = (self.pixel_code, self.app_id, self.offline_event_set_id, self.crm_event_set_id)
        return read_answer(response, count, ids)


def _check_merged(source: str, body: Mapping[str, Any]) -> Refusal | None:
    user = part(body, "user")
    url = part(body, "page").get("url")
    return _check(
        source,
        url if isinstance(url, str) else None,
        part(body, "app").get("app_id"),
        user.get("email") or user.get("phone") or user.get("external_id"),
        user.get("ttclid") or user.get("ttp"),
        user.get("idfa") or user.get("gaid") or user.get("idfv"),
        user.get("ip") and user.get("user_agent"),
        part(body, "lead").get("lead_id"),
    )


def _check(
    source: str,
    page_url: str | None,
    app_id: object,
    person: object,
    browser: object,
    device: object,
    connection: object,
    lead: object = None,
) -> Refusal | None:
    """What the source needs. Identity is this library's own rule: TikTok takes, and cannot use, anonymous events."""
    if source == "web":
        if not page_url:
            return Refusal("rejected", "page.url", "website events need the page's address", "set page=Page(url=...)")
        if not is_web(page_url):
            return BAD_PAGE
        if person or browser or connection:
            return None
        wanted = WEB_IDENTITY
    elif source == "app":
        if not app_id:
            return Refusal("rejected", "app.id", "app events need the app's store id or package", "set app=App(id=...)")
        if person or device or connection:
            return None
        wanted = (
            "user.mobile_ad_id with device.os, user.idfv, user.email, user.phone, user.external_id, "
            "or user.ip with user.user_agent"
        )
    elif person or (source == "crm" and lead):
        return None
    else:
        wanted = "user.email, user.phone or user.external_id"
        if source == "crm":
            wanted += ", or lead.lead_id through extra"
    return Refusal("skipped", "user", "nobody to identify", f"set {wanted}")
