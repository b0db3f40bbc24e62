"""Pinterest API for Conversions v5. Source: developers.pinterest.com, api-description 5.23.0, read 2026-11.

Undocumented or contradictory there, and chosen here: the greatest age (7 days, a setting), bytes per request (2 MB,
a setting), the rate (the lowest of three published figures, a setting), upper or lower case of hashed country and
state (lower). Offline events are never de-duplicated, so an attempt without an answer is not repeated for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec
from msgspec import Struct

from capi_async.destinations.base import lost_key, with_good_clicks
from capi_async.destinations.pinterest.answer import read
from capi_async.destinations.pinterest.names import GUIDE_ONLY, SAME_NAME, STANDARD_NAMES, check_names
from capi_async.destinations.pinterest.wire import (
    PinterestApp,
    PinterestContent,
    PinterestCustom,
    PinterestDevice,
    PinterestEvent,
    PinterestUser,
)
from capi_async.early import ready
from capi_async.errors import ConfigError
from capi_async.event import App, Consent, Device, Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    HOUR,
    Credential,
    Destination,
    Limits,
    PerAccount,
    Refusal,
    Request,
    Secret,
    Wire,
    account_text,
    as_secret,
    decimal_text,
    decode_head,
    encode_head,
    epoch_seconds,
    json_slices,
    merge_strict,
    no_consent,
    require_text,
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


class Pinterest(Destination, frozen=True, kw_only=True):
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
    identifiers: ClassVar[tuple[str, ...]] = PerAccount(  # type: ignore[assignment]  # it gives that tuple
        (*_IDENTIFIERS, "external_id_plain"),
        lambda made: (*_IDENTIFIERS, "external_id" if made.keep_external_id_case else "external_id_plain"),
    )
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "ad_account_id": ("PINTEREST_AD_ACCOUNT_ID",),
        "access_token": ("PINTEREST_ACCESS_TOKEN",),
    }
    docs: ClassVar[str] = "developers.pinterest.com/docs/api/v5/events-create, api-description 5.23.0, read 2026-11"

    ad_account_id: str
    access_token: Credential
    partner_name: str | None = None
    guide_names: bool = True
    tracking_flag: bool = False
    keep_external_id_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ad_account_id is None:
            require_text(self, ad_account_id=None)
        account_text(self, "ad_account_id", digits=18)
        setting_text(self, "partner_name")
        as_secret(self, "access_token")
        check_names(self)

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.ad_account_id

    def batch_limit(self, head: bytes) -> int:
        usual = super().batch_limit(head)
        return min(usual, TEST_BATCH_EVENTS) if decode_head(head, PinterestHead).test else usual

    @cached_property
    def _names(self) -> Mapping[str, str | None]:
        """Pinterest's names; an event that neither side knows is ``custom``."""
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

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        name = self._names.get(event.name, "custom")
        if name is None:
            return Refusal("skipped", "name", "no such event here")
        consent = event.consent
        if consent is not None and (refusal := no_consent(event, "ad_storage", "ad_user_data")):
            return refusal
        source = "web" if event.source == "website" else _source(event)
        if source is None:
            return Refusal(
                "rejected",
                "device.os",
                "app events need the device's system",
                "set device=Device(os='ios' or 'android')",
            )
        event, notes = with_good_clicks(event, _CLICKS, "epik")
        time = event.time.timestamp()
        body = PinterestEvent(
            name,
            source,
            int(time),
            event.event_id,
            _user_data(event, ids, ids.external_id if self.keep_external_id_case else ids.external_id_plain),
            ids.page_url,
            None,
            self.partner_name,
            _custom_data(event),
        )
        warnings: tuple[str, ...] = ()
        if event.app is not None or event.device is not None:
            warnings = _add_app_and_device(body, event, tracking_flag=self.tracking_flag)
        if consent is not None:
            _add_consent(body, consent, ids)
        if event.extra and (extra := self.extra_of(event)):
            if refusal := lost_key(extra, "event_id"):
                return refusal
            merged = merge_strict(body, extra)
            if isinstance(merged, Refusal):
                return merged
            body = cast("PinterestEvent", merged)
        user = body.user_data
        # a phone, an external id or a click id alone identifies nobody here, nor does half of the last pair
        if not (user.em or user.hashed_maids or (user.client_ip_address and user.client_user_agent)):
            return Refusal(
                "skipped",
                "user",
                "nobody to identify",
                "set user.email, user.mobile_ad_id, or user.ip with user.user_agent",
            )
        return Wire(
            body,
            self._test_head if event.test or self.test else self._live_head,
            time + (self.max_age_s or self.limits.max_age_s),
            0.0 if body.action_source == "offline" else 48 * HOUR,
            None,
            notes + warnings,
        )

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


def _source(event: Event) -> str | None:
    """``action_source`` of an event that did not happen on the web; ``None``: an app on an unknown system."""
    if event.source != "app":
        return "offline"
    return _APP_SOURCES.get(event.device.os or "") if event.device else None


_CLICKS: Final = ("epik",)
_APP_SOURCES: Final = {"ios": "app_ios", "android": "app_android"}


def _user_data(event: Event, ids: Identifiers, external_id: Sequence[str] | None) -> PinterestUser:
    # by position, in the struct's order: this runs for every event, and keywords cost more
    return PinterestUser(
        ids.email,
        ids.phone_digits,
        (one,) if (one := ids.gender) else None,
        (one,) if (one := ids.dob) else None,
        (one,) if (one := ids.last_name_plain) else None,
        (one,) if (one := ids.first_name_plain) else None,
        (one,) if (one := ids.city_joined) else None,
        (one,) if (one := ids.state_code) else None,
        (one,) if (one := ids.zip_us5) else None,
        (one,) if (one := ids.country) else None,
        external_id,
        (one,) if (one := ids.mobile_ad_id) else None,
        ids.ip,
        ids.user_agent,
        event.click.epik,
    )


def _custom_data(event: Event) -> PinterestCustom | None:
    content_ids: list[str] | None = None
    contents: list[PinterestContent] | None = None
    pieces, brand = event.num_items, None
    if items := event.items:
        content_ids, contents, total, brand = [], [], 0, items[0].brand
        for item in items:
            quantity = item.quantity
            total += quantity
            if brand is not None and item.brand != brand:
                brand = None  # only a brand that all share is the order's
            content_ids.append(item.id)
            contents.append(
                PinterestContent(
                    item.id,
                    None if (price := item.price) is None else _text(price),
                    quantity,
                    item.name,
                    item.category,
                    item.brand,
                )
            )
        if pieces is None:
            pieces = total
    data = PinterestCustom(
        event.currency,
        None if (value := event.value) is None else _text(value),
        event.order_id,
        pieces,
        content_ids,
        contents,
        event.content_name,
        event.content_category,
        brand or None,
        event.search_string,
        None,
        None if (value := event.predicted_ltv) is None else _text(value),
    )
    return None if not items and data == _NO_CUSTOM else data


def _text(amount: object) -> str | None:
    """An amount as plain decimal text; ``str`` is thrice as fast as a format and differs only in its exponent."""
    text = str(amount)
    return text if "E" not in text else decimal_text(amount)


_NO_CUSTOM: Final = PinterestCustom()


def _add_app_and_device(body: PinterestEvent, event: Event, *, tracking_flag: bool) -> tuple[str, ...]:
    """Lay in what is known of both; returns what to warn of."""
    warnings: list[str] = []
    app, device = event.app, event.device
    if app is not None:
        body.app_info = _fitting(PinterestApp, "app_info", _app_info(app), warnings)
        if event.source == "app":
            # "denied" and "restricted" are what iOS calls limited ad tracking
            if app.att_status in ("denied", "restricted"):
                body.opt_out = True
            if tracking_flag and app.att_status is not None:
                body.advertiser_tracking_enabled = app.att_status == "authorized"
    if device is not None:
        body.device_info = _fitting(PinterestDevice, "device_info", _device_info(device), warnings)
        if language := _LANGUAGE.match(device.locale or ""):
            body.language = language[0].lower()
    return tuple(warnings)


_LANGUAGE: Final = re.compile(r"[A-Za-z]{2}(?![A-Za-z])")


def _app_info(app: App) -> dict[str, Any]:
    return {
        "app_id": app.id,
        "app_name": app.name,
        "app_package_name": app.package,
        "app_version": app.version,
        "install_time": None if app.install_time is None else epoch_seconds(app.install_time),
    }


def _device_info(device: Device) -> dict[str, Any]:
    return {
        "brand": device.brand,
        "model": device.model,
        "carrier": device.carrier,
        "os_family": None if device.os is None else device.os if device.os in _OS_FAMILIES else "other",
        "os_version": device.os_version,
        "locale": None if device.locale is None else device.locale.replace("_", "-"),
        "timezone": device.timezone,
        "timezone_abbr": device.timezone_abbr,
        "cpu_cores": device.cpu_cores,
        "screen_density": _dots_per_inch(device),
        "screen_height": device.screen_height,
        "screen_width": device.screen_width,
        "storage_size": device.storage_gb,
        "storage_free_space": device.storage_free_gb,
    }


_OS_FAMILIES: Final = frozenset({"ios", "android", "macos", "windows", "linux", "bsd"})

#: Between the largest ratio of any screen and the fewest dots per inch of one.
_LARGEST_RATIO: Final = 20


def _dots_per_inch(device: Device) -> int | None:
    """Pinterest's example is in dots per inch (460); a ratio such as 2 says something else and is not sent."""
    density: Any = device.screen_density
    return round(density) if density is not None and density > _LARGEST_RATIO else None


S = TypeVar("S", bound=Struct)
_PATH: Final = re.compile(r"`\$\.(\w+)")


def _fitting(kind: type[S], where: str, values: dict[str, Any], warnings: list[str]) -> S | None:
    """The struct of those ``values`` that Pinterest's limits admit: a long carrier name must not cost the event."""
    values = {key: value for key, value in values.items() if value is not None}
    while values:
        try:
            return msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            found = _PATH.search(str(error))
            if found is None:  # every error of a flat object names its key
                return None
            del values[found[1]]
            warnings.append(f"{where}.{found[1]} is beyond Pinterest's limit and was left out")
    return None


def _add_consent(body: PinterestEvent, consent: Consent, ids: Identifiers) -> None:
    if consent.ad_personalization is False:
        body.opt_out = True
    if not consent.sale_opt_out:
        return
    if body.custom_data is None:
        body.custom_data = PinterestCustom()
    body.custom_data.opt_out_type = "LDP"
    if consent.region is None:
        return
    # limited processing goes by where the person lives, and a state without its country would mislead
    country, _, state = consent.region.lower().partition("-")
    user = body.user_data
    user.country = (_digest(country),)
    if state:
        user.st = (_digest(state),)
    elif user.country != (ids.country,):
        user.st = None


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return sha256_hex(text)
