"""Pinterest API for Conversions v5. Source: developers.pinterest.com, api-description 5.23.0, read 2026-11.

Undocumented or contradictory there, and chosen here: the greatest age (7 days, a setting), bytes per request (2 MB,
a setting), the rate (the lowest of three published figures, a setting). Hashed country and state are in lower case, as
the API description says; the digests of capitals that a page on limited processing prints are examples. Offline events
are never de-duplicated, so an attempt without an answer is not repeated for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final, get_args

from msgspec import Struct

from capi_async.destinations import refusals
from capi_async.destinations.declared import Form
from capi_async.destinations.pinterest.answers import read
from capi_async.destinations.pinterest.mapping import (
    add_app_and_device,
    add_consent,
    form_of,
)
from capi_async.destinations.pinterest.names import CHECKOUT, GUIDE_ONLY, SAME_NAME, STANDARD_NAMES, odd_name
from capi_async.destinations.pinterest.wire import PinterestEvent
from capi_async.destinations.platform import Platform
from capi_async.early import ready
from capi_async.event import Event, Source
from capi_async.followup import FollowUp
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    Credential,
    Limits,
    Refusal,
    Request,
    decode_head,
    encode_head,
    json_slices,
    setting_text,
)

#: Test requests with more events are answered for the first ones only. Source: API reference, read 2026-11.
TEST_BATCH_EVENTS: Final = 20


@ready
class PinterestHead(Struct, frozen=True, array_like=True):
    """What one request shares: the account is in the path, the test mode in the query."""

    ad_account: str
    test: bool


_IDENTIFIERS: Final = (
    "email", "phone_digits", "gender", "dob", "last_name_plain", "first_name_plain", "city_joined", "state_code",
    "zip_us5", "country", "mobile_ad_id", "ip", "user_agent", "page_url",
)  # fmt: skip

_CHECKOUT: Final = (
    "name: 'checkout' is the completed order at Pinterest, and a custom event or none elsewhere; write 'purchase', or "
    "'initiate_checkout' if it has only begun"
)


class Pinterest(Platform, frozen=True, kw_only=True):
    """Pinterest API for Conversions v5.

    Attributes:
        ad_account_id: Digits, as text.
        access_token: Conversion token from Ads Manager, or a callable for OAuth tokens, which last 30 days.
        partner_name: ``ss-<partner>`` in lower case for intermediaries. Off: the vendor's pages disagree on whether
            everybody should send one.
        guide_names: Send ``start_trial``, ``contact``, ``app_open`` and others that stand in the vendor's guide but
            not in its API description; False sends ``custom``, and ``lead`` for ``contact``.
        tracking_flag: Send the iOS tracking permission as ``advertiser_tracking_enabled``. Off: the key is in one
            integration but not in the API description, whose strict schema would refuse the whole request.
        keep_external_id_case: Hash external ids with the case that they are given in, as capi_async did before
            Pinterest's own shop extension was seen to lower it. Browser and server must do the same.

    In test mode at most 20 events share a request, and Pinterest takes 10 such requests per second.
    """

    type: ClassVar[str] = "pinterest"
    wire: ClassVar[str] = "pinterest/5"
    default_base_url: ClassVar[str] = "https://api.pinterest.com/v5"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1_000,
        max_batch_bytes=2_000_000,
        # with the burst, at most the documented 5,000 in any minute
        requests_per_s=82.5,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (*_IDENTIFIERS, "external_id_plain")
    several_at: ClassVar[Mapping[str, str]] = {
        "first_name_plain": "user_data.fn",
        "last_name_plain": "user_data.ln",
        "dob": "user_data.db",
        "gender": "user_data.ge",
        "city_joined": "user_data.ct",
        "state_code": "user_data.st",
        "zip_us5": "user_data.zp",
        "country": "user_data.country",
    }
    own: ClassVar[str] = "pinterest"
    own_fields: ClassVar[Mapping[str, str]] = {
        "partner_id": "user_data.partner_id",
        "customer_type": "user_data.customer_type",
        "network_type": "device_info.network_type",
        "wifi": "wifi",
        "form_factor": "device_info.form_factor",
        "device_type": "device_info.type",
        "os_name": "device_info.os_name",
        "os_release_name": "device_info.os_release_name",
        "kernel_version": "device_info.kernel_version",
        "languages": "device_info.languages",
        "battery_level": "device_info.battery_level",
        "app_store": "app_info.app_store",
    }
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "ad_account_id": ("PINTEREST_AD_ACCOUNT_ID",),
        "access_token": ("PINTEREST_ACCESS_TOKEN",),
    }
    account_setting: ClassVar[str] = "ad_account_id"
    account_digits: ClassVar[int] = 18
    closed_schema: ClassVar[bool] = True
    visit_suffices: ClassVar[bool] = True
    clicks: ClassVar[tuple[str, ...]] = ("epik",)
    click_parameter: ClassVar[str] = "epik"
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing after delivery by its API; see Ads Manager, Conversions, Event quality"
    )
    docs: ClassVar[str] = "developers.pinterest.com/docs/api/v5/events-create, api-description 5.23.0, read 2026-11"

    ad_account_id: str
    access_token: Credential
    partner_name: str | None = None
    guide_names: bool = True
    tracking_flag: bool = False
    keep_external_id_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        setting_text(self, "partner_name")

    def odd_name(self, name: str, there: str) -> str:
        return odd_name(there)

    def identifiers_of(self) -> tuple[str, ...]:
        return (*_IDENTIFIERS, "external_id" if self.keep_external_id_case else "external_id_plain")

    def batch_limit(self, head: bytes) -> int:
        usual = super().batch_limit(head)
        return min(usual, TEST_BATCH_EVENTS) if decode_head(head, PinterestHead).test else usual

    @cached_property
    def names(self) -> Mapping[str, str | None]:
        known = {**{name: name for name in SAME_NAME}, **STANDARD_NAMES}
        if not self.guide_names:
            known = {name: there and GUIDE_ONLY.get(there, there) for name, there in known.items()}
        return {**known, **self.event_names}

    @cached_property
    def _live_head(self) -> bytes:
        return encode_head(PinterestHead(self.ad_account_id, test=False))

    @cached_property
    def _test_head(self) -> bytes:
        return encode_head(PinterestHead(self.ad_account_id, test=True))

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if event.name == CHECKOUT and not self.knows(event):
            warnings.append(_CHECKOUT)
            return CHECKOUT
        # an event that neither side knows is a custom one
        return refusals.no_such_event() if self.knows(event) else "custom"

    @cached_property
    def usual_heads(self) -> Mapping[str, bytes]:
        return dict.fromkeys(get_args(Source), self._live_head)

    def head(self, event: Event, test: bool) -> bytes:
        return self._test_head if test else self._live_head

    def form(self) -> Form:
        return form_of(
            external_id="external_id" if self.keep_external_id_case else "external_id_plain",
            partner_name=self.partner_name,
        )

    def finish(self, body: PinterestEvent, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        add_app_and_device(body, event, warnings, tracking_flag=self.tracking_flag)
        if event.consent is not None:
            add_consent(body, event.consent, ids)

    def lay_several(self, body: PinterestEvent, event: Event, ids: Identifiers, warnings: list[str]) -> None:
        user, consent = body.user_data, event.consent
        place = user.country, user.st
        super().lay_several(body, event, ids, warnings)
        if consent is not None and consent.sale_opt_out and consent.region is not None:
            # limited processing goes by where the person lives, which is one place
            user.country, user.st = place

    def lacks(self, body: PinterestEvent, event: Event, warnings: list[str]) -> Refusal | None:
        if body.action_source is None:
            return refusals.NO_SYSTEM
        user = body.user_data
        # a phone, an external id or a click id alone identifies nobody here, nor does half of the last pair
        if user.em or user.hashed_maids or (user.client_ip_address and user.client_user_agent):
            return None
        return _NOBODY

    def resend_for(self, body: PinterestEvent) -> float:
        return 0.0 if body.action_source == "offline" else self.resend_window_s

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, PinterestHead)
        return Request(
            "POST",
            f"{self.base_url}/ad_accounts/{to.ad_account}/events{'?test=true' if to.test else ''}",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"},
            json_slices(b'{"data":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return read(response, count)


_NOBODY: Final = refusals.nobody("user.email", "user.mobile_ad_id", "user.ip with user.user_agent")
