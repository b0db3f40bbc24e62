"""TikTok Events API 2.0. Source: business-api.tiktok.com/portal/docs (Events API 2.0), read 2026-11.

TikTok accepts unknown and misspelt keys without a word, and events without any identifier: names, required
fields and identity are therefore checked here. Undocumented by TikTok and chosen here, each a setting: the
greatest age of web, app and CRM events (7 days; offline is documented with 28) and bytes per request (1 MB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final

from msgspec import Struct

from capi_async.destinations import refusals
from capi_async.destinations.base import is_web
from capi_async.destinations.declared import Form
from capi_async.destinations.tiktok.account import WEB_IDENTITY, TikTokAccount
from capi_async.destinations.tiktok.answers import read_answer
from capi_async.destinations.tiktok.mapping import EVENT, finish
from capi_async.destinations.tiktok.names import APP_EVENTS, APP_NAMES, STANDARD_NAMES, WEB_EVENTS, checked_name
from capi_async.destinations.tiktok.wire import TikTokAnyEvent, TikTokEvent, TikTokHead
from capi_async.event import Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import DAY, Limits, Refusal, Request, encode_head, json_slices

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


class TikTok(TikTokAccount, frozen=True, kw_only=True):
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
    own: ClassVar[str] = "tiktok"
    own_fields: ClassVar[Mapping[str, str]] = {
        "lead_id": "lead.lead_id",
        "lead_event_source": "lead.lead_event_source",
        "ad_callback": "ad.callback",
        "campaign_id": "ad.campaign_id",
        "ad_id": "ad.ad_id",
        "creative_id": "ad.creative_id",
        "is_retargeting": "ad.is_retargeting",
        "attributed": "ad.attributed",
        "attribution_type": "ad.attribution_type",
        "attribution_provider": "ad.attribution_provider",
        "shop_id": "properties.shop_id",
    }
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "ad_personalization")
    documented: ClassVar = TikTokAnyEvent
    visit_suffices: ClassVar[bool] = True
    optional: ClassVar[tuple[str, ...]] = (
        *TikTokAccount.optional, "app_id", "offline_event_set_id", "crm_event_set_id",
    )  # fmt: skip
    docs: ClassVar[str] = "business-api.tiktok.com/portal/docs (Events API 2.0), read 2026-11"

    app_id: str | None = None
    offline_event_set_id: str | None = None
    crm_event_set_id: str | None = None

    def name_of(self, event: Event) -> str | None:
        """As the base says; app events have names of their own."""
        if self.event_names and event.name in self.event_names:
            return self.event_names[event.name]
        return (APP_NAMES if event.source == "app" else STANDARD_NAMES).get(event.name)

    @cached_property
    def _sources(self) -> Mapping[str, _Source]:
        return {source: self._source(source, kind) for source, kind in EVENT_SOURCES.items()}

    @cached_property
    def usual_names(self) -> Mapping[str, str]:
        """The names that are the same, and TikTok's own, wherever the event happened."""
        web, app = self._sources["website"].names, self._sources["app"].names
        return {name: there for name, there in web.items() if app.get(name) == there}

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

    @cached_property
    def _heads(self) -> Mapping[str, bytes | Refusal]:
        return {
            name: source.head or refusals.no_asset(_SOURCE_SETTINGS[source.kind], source.kind)
            for name, source in self._sources.items()
        }

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        return {name: source.head for name, source in self._sources.items() if source.head is not None}

    @cached_property
    def max_ages_s(self) -> Mapping[str, float]:
        return {name: source.max_age_s for name, source in self._sources.items()}

    def is_own(self, event: Event) -> bool:
        return event.name in self._sources[event.source].known

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        source = self._sources[event.source]
        return source.names.get(event.name) or checked_name(self, event, source.known, warnings)

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        return self._heads[event.source]

    def form(self) -> Form:
        return Form(EVENT)

    def finish(self, body: TikTokEvent, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        finish(body, event, ids)

    def lacks(self, body: TikTokEvent, event: Event, warnings: list[str]) -> Refusal | None:
        # who it is: this library's own rule, because TikTok takes, and cannot use, events of nobody
        user, page = body.user, body.page
        # of nearly all events no more need be asked
        if event.source == "website" and user.email and page and page.url and is_web(page.url):
            return None
        kind = EVENT_SOURCES[event.source]
        if kind == "web":
            url = page.url if page else None
            if not url:
                return refusals.NO_PAGE
            if not is_web(url):
                return refusals.BAD_PAGE
        elif kind == "app" and not (body.app and body.app.app_id):
            return refusals.NO_APP_ID
        if user.email or user.phone or user.external_id:
            return None
        if kind == "web" and (user.ttclid or user.ttp or (user.ip and user.user_agent)):
            return None
        if kind == "app" and (user.idfa or user.gaid or user.idfv or (user.ip and user.user_agent)):
            return None
        if kind == "crm" and isinstance(body, TikTokAnyEvent) and body.lead and body.lead.lead_id:
            return None
        return _NOBODY[kind]

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


_PERSON: Final = ("user.email", "user.phone", "user.external_id")
_NOBODY: Final[Mapping[str, Refusal]] = {
    "web": refusals.nobody(*WEB_IDENTITY),
    "app": refusals.nobody("user.mobile_ad_id with device.os", "user.idfv", *_PERSON, "user.ip with user.user_agent"),
    "offline": refusals.nobody(*_PERSON),
    "crm": refusals.nobody(*_PERSON, "tiktok.lead_id"),
}
