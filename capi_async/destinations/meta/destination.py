"""Meta Conversions API. Source: developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11.

Undocumented by Meta and chosen here: bytes per request (4 MiB, a setting), requests per second (50, a setting; a
throttled answer's own wait comes first), whether a second copy from the server is absorbed (taken as yes
within 48 h and flagged; ``resend="never"`` otherwise), the name of an app's install (``event_names``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final

from capi_async.destinations import refusals
from capi_async.destinations.base import is_web, quoted
from capi_async.destinations.declared import (
    NAME,
    ON_THE_WEB,
    SECONDS,
    Form,
    Part,
    Translated,
    Usually,
    known,
    of_event,
)
from capi_async.destinations.meta import followup as later
from capi_async.destinations.meta.answers import verdicts
from capi_async.destinations.meta.mapping import (
    CUSTOM,
    USER,
    app_data,
    app_lacks,
    limited_use,
    too_broad,
)
from capi_async.destinations.meta.names import ACTION_SOURCES, EVENT_NAMES, MAX_NAME, STANDARD_NAMES, is_name
from capi_async.destinations.meta.wire import ROOT_KEYS, MetaAnyEvent, MetaAnyUser, MetaEvent, MetaHead, MetaRoot
from capi_async.destinations.platform import Platform
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.followup import FollowUp, SentRequest, Told
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    ENCODER,
    Credential,
    Limits,
    MiB,
    Refusal,
    Request,
    Secret,
    as_secret,
    decode_head,
    encode_head,
    json_slices,
    setting_text,
)

#: Shops report late: Meta takes their events for longer than the rest.
STORE_MAX_AGE_S: Final = 62 * DAY


class Meta(Platform, frozen=True, kw_only=True):
    """Meta Conversions API, one dataset.

    Attributes:
        pixel_id: The dataset's id (what used to be the pixel's id).
        access_token: System user's or dataset's token, or a callable; sent as a Bearer header.
        test_event_code: Code of the Test Events tab, such as ``TEST12345``; every event of this destination then
            carries it. Without one, events with ``test=True`` are skipped. **Meta counts test events like live
            ones.**
        app_secret: Adds ``appsecret_proof``, which apps may require; text, because requests are made without waiting.
        partner_agent: Name of your integration; off by default.
        api_version: Graph API version, such as ``v26.0``.
        namespace_id, upload_id, upload_tag, upload_source: Bookkeeping of offline uploads.

    Raises:
        ConfigError: A setting is missing or malformed.

    ``extra`` is merged into the event; what has no canonical field travels that way: ``messaging_channel`` with the
    messaging ids in ``user_data``, ``original_event_data``, ``attribution_data``, ``customer_segmentation``,
    ``advanced_measurement_table``, and ``user_data``'s ``lead_id``, ``fb_login_id``, ``f5first`` and so on, hashed
    by the caller where Meta wants a hash.
    """

    type: ClassVar[str] = "meta"
    wire: ClassVar[str] = "meta/1"
    default_base_url: ClassVar[str] = "https://graph.facebook.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1_000,
        max_batch_bytes=4 * MiB,
        requests_per_s=50.0,
        burst=10.0,
        max_age_s=7 * DAY,
        request_timeout_s=10.0,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_digits", "external_id_lower", "first_name_joined", "last_name_joined", "dob",
        "gender_binary", "city_joined", "state_code_na", "zip_us5", "country", "mobile_ad_id_clear", "idfv", "ip",
        "user_agent", "page_url", "page_referrer",
    )  # fmt: skip
    several_at: ClassVar[Mapping[str, str]] = {
        "first_name_joined": "user_data.fn",
        "last_name_joined": "user_data.ln",
        "dob": "user_data.db",
        "gender_binary": "user_data.ge",
        "city_joined": "user_data.ct",
        "state_code_na": "user_data.st",
        "zip_us5": "user_data.zp",
        "country": "user_data.country",
    }
    own: ClassVar[str] = "meta"
    own_fields: ClassVar[Mapping[str, str]] = {
        "lead_id": "user_data.lead_id",
        "fb_login_id": "user_data.fb_login_id",
        "ctwa_clid": "user_data.ctwa_clid",
        "whatsapp_business_account_id": "user_data.whatsapp_business_account_id",
        "page_id": "user_data.page_id",
        "page_scoped_user_id": "user_data.page_scoped_user_id",
        "ig_account_id": "user_data.ig_account_id",
        "ig_sid": "user_data.ig_sid",
        "messaging_channel": "messaging_channel",
        "original_event": "original_event_data",
        "attribution_data": "attribution_data",
        "customer_segmentation": "customer_segmentation",
        "net_revenue": "custom_data.net_revenue",
        "campaign_ids": "app_data.campaign_ids",
        "installer_package": "app_data.installer_package",
        "url_schemes": "app_data.url_schemes",
        "windows_attribution_id": "app_data.windows_attribution_id",
    }
    followup: ClassVar[FollowUp] = later.FOLLOWUP
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("META_PIXEL_ID",),
        "access_token": ("META_ACCESS_TOKEN",),
        "test_event_code": ("META_TEST_EVENT_CODE",),
        "app_secret": ("META_APP_SECRET",),
    }
    own_names: ClassVar[frozenset[str]] = EVENT_NAMES
    account_setting: ClassVar[str] = "pixel_id"
    account_digits: ClassVar[int] = 20
    #: ``event_name`` with ``event_id``.
    dedup_key: ClassVar[str] = "event_id"
    properties_at: ClassVar[str] = "custom_data"
    of_the_account: ClassVar[frozenset[str]] = ROOT_KEYS
    documented: ClassVar = MetaAnyEvent
    visit_suffices: ClassVar[bool] = True
    clicks: ClassVar[tuple[str, ...]] = ("fbc", "fbp")
    docs: ClassVar[str] = "developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11"
    test_events_at: ClassVar[str] = "Events Manager, Test events"
    # "events sent with test_event_code are not dropped": used for targeting and measurement
    tests_count: ClassVar[bool] = True

    pixel_id: str
    access_token: Credential
    test_event_code: str | None = None
    app_secret: Credential | None = None
    partner_agent: str | None = None
    api_version: str = "v26.0"
    namespace_id: str | None = None
    upload_id: str | None = None
    upload_tag: str | None = None
    upload_source: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.app_secret is not None:
            as_secret(self, "app_secret")
            if not (isinstance(self.app_secret, Secret) and self.app_secret.fixed):
                raise ConfigError(
                    f"{self.name}: app_secret must be text: the proof is made without waiting for a callable"
                )
        for setting in _OPTIONAL_TEXTS:
            setting_text(self, setting)
        if not isinstance(self.api_version, str) or not _VERSION.fullmatch(self.api_version):
            raise ConfigError(f"{self.name}: api_version needs the form v26.0")

    def odd_name(self, name: str, there: str) -> str:
        return "" if is_name(there) else f"needs a name of at most {MAX_NAME} characters"

    @cached_property
    def _head(self) -> bytes:
        # a test code goes with every event, so all events of an account share one head
        return encode_head(
            MetaHead(
                self.pixel_id,
                self.test_event_code,
                self.namespace_id,
                self.upload_id,
                self.upload_tag,
                self.upload_source,
            )
        )

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if self.knows(event):
            return refusals.no_such_event("name one in event_names if Meta should count it")
        return event.name if is_name(event.name) else _LONG_NAME

    def untestable(self) -> Refusal | None:
        return None if self.test_event_code else refusals.NO_TEST_CODE

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        return dict.fromkeys(ACTION_SOURCES, self._head)

    def head(self, event: Event, test: bool) -> bytes:
        return self._head

    def form(self) -> Form:
        return Form(_EVENT, () if self.test_event_code is None else (_TEST_COUNTS,))

    def finish(self, body: MetaEvent, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        if event.source == "app":
            if event.app is not None:
                body.user_data.anon_id = event.app.install_id  # documented for app events only
            body.app_data = app_data(event, ids.idfv)
        if (consent := event.consent) is not None:
            if consent.ad_personalization is False:
                body.opt_out = True
            options = limited_use(consent)
            body.data_processing_options, body.data_processing_options_country, body.data_processing_options_state = (
                options
            )

    def lay_properties(self, body: dict[str, Any], event: Event, warnings: list[str]) -> Refusal | None:
        facts = {key: value for key, value in event.properties.items() if value is not None}
        taken = {key: value for key, value in facts.items() if isinstance(value, (str, int, float, Decimal))}
        if len(taken) < len(facts):
            warnings.append(_NOT_SCALAR)
        if taken:
            body["custom_data"] = {**taken, **body.get("custom_data", {})}
        return None

    def lacks(self, body: MetaEvent, event: Event, warnings: list[str]) -> Refusal | None:
        source, user, bought = body.action_source, body.user_data, body.custom_data
        if source == "website":
            url = body.event_source_url
            if not url:
                return refusals.NO_PAGE
            if not is_web(url):
                return refusals.BAD_PAGE
            if not user.client_user_agent:
                warnings.append(_NO_USER_AGENT)
        elif source == "business_messaging":
            if not (isinstance(body, MetaAnyEvent) and body.messaging_channel):
                return _NO_CHANNEL
            if isinstance(user, MetaAnyUser) and bool(user.ctwa_clid) != bool(user.whatsapp_business_account_id):
                warnings.append(_HALF_PAIR)
        elif source == "app" and (refusal := app_lacks(body.app_data)):
            return refusal
        if source != "app" and body.app_data is not None and app_lacks(body.app_data):
            return _HALF_APP
        if body.data_processing_options_country is not None and body.data_processing_options_state is None:
            return _NO_STATE
        if bought is None or bought.value is None:
            if body.event_name == "Purchase":
                return refusals.NO_VALUE
        elif not bought.currency:
            if body.event_name == "Purchase":
                return refusals.NO_CURRENCY
            warnings.append(_WITHOUT_CURRENCY)
        if not (user.em or user.ph or user.external_id or user.client_ip_address or user.fbc or user.fbp) and too_broad(
            key for key in user.__struct_fields__ if getattr(user, key)
        ):
            return _NOBODY
        if body.data_processing_options and not body.data_processing_options_state and not user.client_ip_address:
            warnings.append(_NO_PLACE)
        return None

    def max_age_of(self, body: MetaEvent, event: Event) -> float:
        if self.max_age_s:
            return self.max_age_s
        return STORE_MAX_AGE_S if body.action_source == "physical_store" else self.limits.max_age_s

    def account_check(self, token: str) -> Request:
        """No events at all: refused with code 100 where account and credential fit, else with theirs.

        That account and credential are looked at first is UNVERIFIED; the first real event is the proof.
        """
        return self.request(encode_head(MetaHead(self.pixel_id)), (), token)

    def followup_requests(self, token: str, sent: Sequence[SentRequest], since: float) -> Sequence[tuple[str, Request]]:
        proof = _proof(self.app_secret, token)
        return [("web", later.question(self.base_url, self.api_version, self.pixel_id, token, proof))]

    def followup_told(self, name: str, response: Response) -> Sequence[Told]:
        return later.told(response)

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, MetaHead)
        root = MetaRoot(
            test_event_code=to.test_event_code,
            partner_agent=self.partner_agent,
            namespace_id=to.namespace_id,
            upload_id=to.upload_id,
            upload_tag=to.upload_tag,
            upload_source=to.upload_source,
            appsecret_proof=_proof(self.app_secret, token),
        )
        beside = ENCODER.encode(root)[1:]
        return Request(
            "POST",
            f"{self.base_url}/{self.api_version}/{quoted(to.dataset)}/events",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            json_slices(b'{"data":[', bodies, b"]}" if beside == b"}" else b"]," + beside),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return verdicts(response, count)


def _page_elsewhere(event: Event, ids: Identifiers, warnings: list[str]) -> str | None:
    """The page's address of an event that happened elsewhere than on the web."""
    if (url := ids.page_url) is None or is_web(url):
        return url
    warnings.append(_ODD_URL)
    return None


_EVENT: Final = Part(
    MetaEvent,
    event_name=NAME,
    event_time=SECONDS,
    event_id=of_event("event_id"),
    action_source=Translated(ACTION_SOURCES, "source"),
    user_data=USER,
    event_source_url=Usually(ON_THE_WEB, known("page_url"), _page_elsewhere),
    custom_data=CUSTOM,
    referrer_url=known("page_referrer"),
)

_VERSION: Final = re.compile(r"v[1-9]\d{0,2}\.\d{1,2}")
_OPTIONAL_TEXTS: Final = (
    "test_event_code", "partner_agent", "namespace_id", "upload_id", "upload_tag", "upload_source",
)  # fmt: skip


def _proof(app_secret: object, token: str) -> str | None:
    """``appsecret_proof``: that the sender of the token also knows the app's secret.

    Source: developers.facebook.com/docs/graph-api/guides/secure-requests, read 2026-11.
    """
    if not isinstance(app_secret, Secret):
        return None
    return hmac.new(app_secret.text().encode(), token.encode(), hashlib.sha256).hexdigest()


_TEST_COUNTS: Final = "test: Meta counts events with a test code like live ones"
_ODD_URL: Final = "event_source_url: page.url is no http(s) address and was left out"
_NO_USER_AGENT: Final = "client_user_agent: documented as required for website events; set user.user_agent"
_WITHOUT_CURRENCY: Final = "value: without a currency it says little; set currency"
_NO_PLACE: Final = (
    "data_processing_options: without a listed US state Meta places the person by user.ip, which is missing"
)
_HALF_PAIR: Final = "user_data: ctwa_clid and whatsapp_business_account_id belong together"
_NOT_SCALAR: Final = "properties: custom_data takes texts, numbers and booleans; others were left out (use extra)"


_LONG_NAME: Final = Refusal(
    "rejected",
    "name",
    f"a custom event's name has at most {MAX_NAME} characters",
    "shorten it, or map it in event_names",
)
_HALF_APP: Final = Refusal(
    "rejected",
    "extra.app_data",
    "needs extinfo with the system's version, and advertiser_tracking_enabled",
    "give both, or leave app_data out",
)
_NO_STATE: Final = Refusal(
    "rejected", "extra.data_processing_options_state", "is required beside a country", "set it, 0 if it is unknown"
)
_NO_CHANNEL: Final = Refusal(
    "rejected",
    "meta.messaging_channel",
    "messaging events need a messaging_channel",
    "set meta=MetaFields(messaging_channel='whatsapp'), 'messenger' or 'instagram'",
)
_NOBODY: Final = Refusal(
    "skipped",
    "user",
    "nobody to identify: what is known of the person fits too many",
    "set user.email, user.phone, user.external_id, user.ip, user.mobile_ad_id or click.fbc",
)
