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
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import quote

from capi_async.destinations.base import is_web, without_odd_clicks
from capi_async.destinations.meta.checks import (
    LONG_NAME,
    NO_TEST_CODE,
    ODD_URL,
    TEST_COUNTS,
    check,
    check_merged,
    is_name,
    with_properties,
)
from capi_async.destinations.meta.mapping import app_data, click_cookie, custom_data, limited_use, user_data
from capi_async.destinations.meta.replies import verdicts
from capi_async.destinations.meta.wire import (
    ACTION_SOURCES,
    MAX_NAME,
    STANDARD_NAMES,
    MetaEvent,
    MetaHead,
    MetaRoot,
)
from capi_async.destinations.raw import lost_key
from capi_async.errors import ConfigError
from capi_async.event import NO_CLICK, Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.plain import shown
from capi_async.spec import (
    DAY,
    ENCODER,
    HOUR,
    Credential,
    Destination,
    Limits,
    MiB,
    Refusal,
    Request,
    Secret,
    Wire,
    account_text,
    as_secret,
    decode_head,
    encode_head,
    json_slices,
    merge,
    no_consent,
    require_text,
    setting_text,
)

#: Shops report late: Meta takes their events for longer than the rest.
STORE_MAX_AGE_S: Final = 62 * DAY
#: For how long Meta recognises ``event_name`` with ``event_id``, from the first copy on.
DEDUPLICATION_S: Final = 48 * HOUR


class Meta(Destination, frozen=True, kw_only=True):
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
        "email", "phone_digits", "external_id_lower", "first_name_joined", "last_name_joined", "dob", "gender",
        "gender_letter", "city_joined", "state_code_na", "zip_us5", "country", "mobile_ad_id_clear", "idfv", "ip",
        "user_agent", "page_url", "page_referrer",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("META_PIXEL_ID",),
        "access_token": ("META_ACCESS_TOKEN",),
        "test_event_code": ("META_TEST_EVENT_CODE",),
        "app_secret": ("META_APP_SECRET",),
    }
    dedup_key: ClassVar[str] = "event_id"
    docs: ClassVar[str] = "developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11"

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
        if self.pixel_id is None:
            require_text(self, pixel_id=None)
        account_text(self, "pixel_id", digits=20)
        as_secret(self, "access_token")
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
        for name, there in self.event_names.items():
            if there is not None and not is_name(there):
                raise ConfigError(
                    f"{self.name}: event_names[{shown(name)!r}] needs a name of at most {MAX_NAME} characters"
                )

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.pixel_id

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

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        name = self.names.get(event.name)
        if name is None:
            if self.knows(event):
                return Refusal(
                    "skipped", "name", "no such event here", "name one in event_names if Meta should count it"
                )
            name = event.name
            if not is_name(name):
                return LONG_NAME
        consent = event.consent
        if consent is not None and (refusal := no_consent(event, "ad_storage", "ad_user_data")):
            return refusal
        warnings: list[str] = []
        if event.click is not NO_CLICK:
            event, notes = without_odd_clicks(event, _CLICKS)
            warnings += notes
        if self.test_event_code is not None:
            warnings.append(TEST_COUNTS)
        elif event.test or self.test:
            return NO_TEST_CODE
        source = ACTION_SOURCES[event.source]
        url, click = ids.page_url, event.click
        referrer, fbc = ids.page_referrer, None
        if (
            click.fbc
            or click.fbclid
            or (url is not None and "fbclid=" in url)
            or (referrer is not None and "fbclid=" in referrer)
        ):
            fbc, doubt = click_cookie(click, url, referrer, event.time)
            if doubt:
                warnings.append(doubt)
        if url is not None and source != "website" and not is_web(url):
            url = None
            warnings.append(ODD_URL)
        at = event.time.timestamp()
        made = MetaEvent(
            name,
            int(at),
            event.event_id,
            source,
            user_data(event, ids, fbc),
            url,
            custom_data(event),
            app_data(event, ids.idfv) if source == "app" else None,
            referrer,
        )
        if consent is not None:
            if consent.ad_personalization is False:
                made.opt_out = True
            options = limited_use(consent)
            made.data_processing_options, made.data_processing_options_country, made.data_processing_options_state = (
                options
            )
        body: Any = made
        extra = self.extra_of(event) if event.extra else None
        if extra and (refusal := lost_key(extra, "event_id")):
            return refusal
        if extra or event.properties:
            body = merge(made, extra or {})
            refusal = with_properties(body, event.properties, warnings) or check_merged(event, body, extra, warnings)
            source = body["action_source"]
        else:
            refusal = check(event, made, warnings)
        if refusal:
            return refusal
        return Wire(
            body,
            self._head,
            at + (self.max_age_s or (STORE_MAX_AGE_S if source == "physical_store" else self.limits.max_age_s)),
            DEDUPLICATION_S,
            None,
            tuple(warnings),
        )

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
            f"{self.base_url}/{self.api_version}/{quote(to.dataset, safe='')}/events",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            json_slices(b'{"data":[', bodies, b"]}" if beside == b"}" else b"]," + beside),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return verdicts(response, count)


_CLICKS: Final = ("fbc", "fbp")
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
