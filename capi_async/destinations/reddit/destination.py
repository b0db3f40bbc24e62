"""Reddit Conversions API v3. Source: Reddit's server-side tag template 2.0.0 (2025-11-13), ads-api.reddit.com/docs/v3
and business.reddithelp.com as quoted in public pages, read 2026-11.

UNVERIFIED there, and chosen here: bytes per request (1 MB, a setting), the rate (10 requests/s, the lowest of the
published figures, a setting), and whether a second copy from a server is recognised: an attempt without an answer is
not repeated (``resend="always"`` repeats it). Who must be named is this library's rule. Which types read ``value`` and
``item_count`` is known from other integrations. E-mail: what is no ASCII letter or digit before the ``@`` is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final, get_args

from msgspec import Struct
from msgspec.structs import replace

from capi_async.destinations import refusals
from capi_async.destinations.base import page_of
from capi_async.destinations.platform import Platform
from capi_async.destinations.reddit.answers import verdicts
from capi_async.destinations.reddit.mapping import SOURCES, metadata_of, user_of
from capi_async.destinations.reddit.names import CUSTOM, MAX_NAME, STANDARD_NAMES, TRACKING_TYPES, odd_name
from capi_async.destinations.reddit.wire import RedditEvent, RedditType
from capi_async.early import ready
from capi_async.errors import ConfigError
from capi_async.event import Event, Page, Source
from capi_async.followup import FollowUp
from capi_async.outcome import Response, Verdict
from capi_async.pii.clicks import fits, in_address
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    ENCODER,
    Credential,
    Limits,
    Refusal,
    Request,
    decode_head,
    encode_head,
    json_slices,
    setting_text,
)


@ready
class RedditHead(Struct, frozen=True, omit_defaults=True):
    """What one request shares: the pixel is in the path, the others stand beside the events."""

    pixel: str
    test_id: str | None = None
    partner: str | None = None
    partner_version: str | None = None


class Reddit(Platform, frozen=True, kw_only=True):
    """Reddit Conversions API v3.

    Attributes:
        pixel_id: As in Events Manager, such as ``t2_...`` or ``a2_...``; not always the id of the ad account.
        access_token: The conversion access token from Events Manager, which does not expire, or a callable for OAuth
            tokens of scope ``adsconversions``.
        test_id: From Events Manager, Event Testing. Every event of this destination is then a test, one a request, and
            is not counted. Without one, events with ``test=True`` are skipped.
        partner, partner_version: Name and version of an integration; off by default.
        user_agent: Of the requests, instead of this library's own. Reddit blocks such as name no application.

    E-mail addresses are hashed by a rule of Reddit's own, so a digest made for another platform is left out:
    give them plain, or as ``Hashed(digest, "email_reddit")``. Events that were accepted are known by their ``event_id``
    (``conversion_id``), which the browser's pixel must send unhashed.
    """

    type: ClassVar[str] = "reddit"
    wire: ClassVar[str] = "reddit/3"
    default_base_url: ClassVar[str] = "https://ads-api.reddit.com/api/v3"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1_000, max_batch_bytes=1_000_000, requests_per_s=10.0, max_age_s=7 * DAY
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email_reddit", "phone_e164", "external_id", "idfa_upper", "mobile_ad_id", "ip", "user_agent", "page_url",
    )  # fmt: skip
    own_names: ClassVar[frozenset[str]] = TRACKING_TYPES
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("REDDIT_PIXEL_ID",),
        "access_token": ("REDDIT_ACCESS_TOKEN",),
        "test_id": ("REDDIT_TEST_ID",),
    }
    account_setting: ClassVar[str] = "pixel_id"
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "ad_personalization")
    dedup_key: ClassVar[str] = "metadata.conversion_id"
    resend_window_s: ClassVar[float] = 0.0
    closed_schema: ClassVar[bool] = True
    of_the_account: ClassVar[frozenset[str]] = frozenset({"test_id", "partner", "partner_version"})
    clicks: ClassVar[tuple[str, ...]] = ("rdt_cid", "rdt_uuid")
    click_parameter: ClassVar[str] = "rdt_cid"
    test_events_at: ClassVar[str] = "Events Manager, Event Testing"
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing after delivery by its API; see Events Manager, Diagnostics"
    )
    docs: ClassVar[str] = "ads-api.reddit.com/docs/v3, github.com/reddit/reddit-ss-gtm-template 2.0.0, read 2026-11"

    pixel_id: str
    access_token: Credential
    test_id: str | None = None
    partner: str | None = None
    partner_version: str | None = None
    user_agent: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("test_id", "partner", "partner_version", "user_agent"):
            setting_text(self, setting)
        if self.user_agent and not self.user_agent.isascii():
            raise ConfigError(f"{self.name}: user_agent stands in a header, which holds ASCII only")

    def odd_name(self, name: str, there: str) -> str:
        return odd_name(name, there)

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if self.knows(event):
            return refusals.no_such_event()
        return CUSTOM if len(event.name) <= MAX_NAME else _LONG_NAME

    def untestable(self) -> Refusal | None:
        return None if self.test_id else _NO_TEST_ID

    @cached_property
    def _head(self) -> bytes:
        return encode_head(RedditHead(self.pixel_id, self.test_id, self.partner, self.partner_version))

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        return dict.fromkeys(get_args(Source), self._head)

    def head(self, event: Event, test: bool) -> bytes:
        return self._head

    def batch_limit(self, head: bytes) -> int:
        # of a test request Reddit's page shows one event
        return 1 if decode_head(head, RedditHead).test_id else super().batch_limit(head)

    def with_good_clicks(self, event: Event, warnings: list[str]) -> Event:
        # the click in the page's own address is the newest, and goes before what a cookie remembers
        url = event.page.url
        found = in_address(Page(url=url), "rdt_cid") if url is not None and "rdt_cid=" in url else None
        if found is not None and fits("rdt_cid", found):
            event = replace(event, click=replace(event.click, rdt_cid=found))
        return super().with_good_clicks(event, warnings)

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> RedditEvent | Refusal:
        millis = round(at * 1000)
        if not 10**12 <= millis < 10**13:
            return _NO_TIME
        tracking_type = name if name in TRACKING_TYPES else CUSTOM
        custom = None if tracking_type != CUSTOM else event.name if name == CUSTOM else name
        url = page_of(ids.page_url, warnings) if event.source == "website" else None
        return RedditEvent(
            millis,
            SOURCES.get(event.source, "OTHER"),
            RedditType(tracking_type, custom),
            user_of(event, ids, warnings),
            metadata_of(tracking_type, event, warnings),
            url,
            event.click.rdt_cid,
        )

    def lacks(self, body: RedditEvent, event: Event, warnings: list[str]) -> Refusal | None:
        kind, user = body.type, body.user
        if (kind.tracking_type == CUSTOM) is (kind.custom_event_name is None):
            return _NAME_AND_TYPE
        if body.event_source_url is not None and body.action_source != "WEBSITE":
            return _URL_ELSEWHERE
        if body.click_id or user.uuid or user.email or user.phone_number or user.external_id or user.idfa or user.aaid:
            return None
        if user.ip_address and user.user_agent:
            warnings.append("user: ip and user_agent are all that says whose it is; Reddit may not find the person")
            return None
        return _NOBODY

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        shared = decode_head(head, RedditHead)
        beside = {key: getattr(shared, key) for key in ("test_id", "partner", "partner_version")}
        start = ENCODER.encode({"data": {**{key: text for key, text in beside.items() if text}, "events": []}})
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if self.user_agent:
            headers["User-Agent"] = self.user_agent
        return Request(
            "POST",
            f"{self.base_url}/pixels/{shared.pixel}/conversion_events",
            headers,
            json_slices(start[: -len(b"]}}")], bodies, b"]}}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return verdicts(response, count)


_NOBODY: Final = refusals.nobody(
    "user.email", "user.phone", "user.external_id", "click.rdt_cid", "click.rdt_uuid",
    "user.mobile_ad_id with device.os", "user.ip with user.user_agent",
)  # fmt: skip
_NO_TEST_ID: Final = Refusal(
    "skipped", "test", "test events need the id that Events Manager shows", "set test_id on the destination"
)
_LONG_NAME: Final = Refusal(
    "rejected", "name", f"longer than {MAX_NAME} characters, which Reddit would cut silently", "give a shorter name"
)
_NO_TIME: Final = Refusal("rejected", "time", "Reddit takes milliseconds of 13 digits: 2001 to 2286", "check time")
_NAME_AND_TYPE: Final = Refusal(
    "rejected",
    "extra.type.custom_event_name",
    "goes with tracking_type CUSTOM, and only with it",
    "give both, or neither",
)
_URL_ELSEWHERE: Final = Refusal(
    "rejected", "extra.event_source_url", "goes with action_source WEBSITE only", "leave it out of Event.extra"
)
