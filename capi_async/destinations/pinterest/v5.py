"""Pinterest API for Conversions v5. Source: developers.pinterest.com, api-description 5.23.0, read 2026-11.

Undocumented or contradictory there, and chosen here: the greatest age (7 days, a setting), bytes per request (2 MB,
a setting), the rate (the lowest of three published figures, a setting), upper or lower case of hashed country and
state (lower). Offline events are never de-duplicated, so an attempt without an answer is not repeated for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec
from msgspec import Struct

from capi_async.destinations.base import lost_key
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
from capi_async.errors import ConfigError
from capi_async.event import App, Device, Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.hashing import sha256_hex
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
    as_secret,
    decimal_text,
    decode_head,
    encode_head,
    epoch_seconds,
    item_count,
    json_slices,
    merge_strict,
    no_consent,
    require_text,
    shared_brand,
)

#: Test requests with more events are answered for the first ones only. Source: API reference, read 2026-11.
TEST_BATCH_EVENTS: Final = 20


class PinterestHead(Struct, frozen=True, array_like=True):
    """What one request shares: the account is in the path, the test mode in the query."""

    ad_account: str
    test: bool


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
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_digits", "gender", "dob", "last_name_plain", "first_name_plain", "city_joined", "state_code",
        "zip_us5", "country", "external_id", "mobile_ad_id", "ip", "user_agent", "page_url",
    )  # fmt: skip
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text(self, ad_account_id=self.ad_account_id)
        if not re.match(r"\A[0-9]{1,18}\Z", self.ad_account_id):
            raise ConfigError(f"{self.name}: ad_account_id needs 1 to 18 digits, as text")
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

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        name = self._name(event)
        if name is None:
            return Refusal("skipped", "name", "no such event here")
        if refusal := no_consent(event, "ad_storage", "ad_user_data"):
            return refusal
        source = "web" if event.source == "website" else _source(event)
        if source is None:
            return Refusal(
                "rejected",
                "device.os",
                "app events need the device's system",
                "set device=Device(os='ios' or 'android')",
            )
        time = event.time.timestamp()
        body = PinterestEvent(
            event_name=name,
            action_source=source,
            event_time=int(time),
            event_id=event.event_id,
            user_data=_user_data(event, ids),
            event_source_url=ids.page_url,
            partner_name=self.partner_name,
            custom_data=_custom_data(event),
        )
        warnings: list[str] = []
        if event.app is not None or event.device is not None:
            _add_app_and_device(body, event, warnings, tracking_flag=self.tracking_flag)
        if event.consent is not None:
            _add_consent(body, event, ids)
        if extra := self.extra_of(event):
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
            encode_head(PinterestHead(self.ad_account_id, event.test or self.test)),
            time + (self.max_age_s or self.limits.max_age_s),
            0.0 if body.action_source == "offline" else 48 * HOUR,
            None,
            tuple(warnings),
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

    def _name(self, event: Event) -> str | None:
        """Pinterest's name of this event; one that neither side knows is ``custom``."""
        if event.name in self.event_names:
            return self.event_names[event.name]
        if event.name in STANDARD_NAMES:
            name = STANDARD_NAMES[event.name]
        else:
            name = event.name if event.name in SAME_NAME else "custom"
        return name if self.guide_names or name is None else GUIDE_ONLY.get(name, name)


def _source(event: Event) -> str | None:
    """``action_source`` of an event that did not happen on the web; ``None``: an app on an unknown system."""
    if event.source != "app":
        return "offline"
    return _APP_SOURCES.get(event.device.os or "") if event.device else None


_APP_SOURCES: Final = {"ios": "app_ios", "android": "app_android"}


def _user_data(event: Event, ids: Identifiers) -> PinterestUser:
    return PinterestUser(
        em=ids.email,
        ph=ids.phone_digits,
        ge=_one(ids.gender),
        db=_one(ids.dob),
        ln=_one(ids.last_name_plain),
        fn=_one(ids.first_name_plain),
        ct=_one(ids.city_joined),
        st=_one(ids.state_code),
        zp=_one(ids.zip_us5),
        country=_one(ids.country),
        external_id=ids.external_id,
        hashed_maids=_one(ids.mobile_ad_id),
        client_ip_address=ids.ip,
        client_user_agent=ids.user_agent,
        click_id=event.click.epik,
    )


def _one(value: str | None) -> tuple[str] | None:
    return None if value is None else (value,)


def _custom_data(event: Event) -> PinterestCustom | None:
    data = PinterestCustom(
        event.currency,
        _text(event.value),
        event.order_id,
        event.num_items,
        content_name=event.content_name,
        content_category=event.content_category,
        search_string=event.search_string,
        predicted_ltv=_text(event.predicted_ltv),
    )
    if items := event.items:
        data.num_items = item_count(event)
        data.content_ids = [item.id for item in items]
        data.contents = [
            PinterestContent(item.id, _text(item.price), item.quantity, item.name, item.category, item.brand)
            for item in items
        ]
        if items[0].brand:
            data.content_brand = shared_brand(event)
        return data
    return None if data == _NO_CUSTOM else data


def _text(amount: Any) -> str | None:
    """An amount as plain decimal text; ``str`` is thrice as fast as a format and differs only in its exponent."""
    if amount is None:
        return None
    text = str(amount)
    return decimal_text(amount) if "E" in text else text


_NO_CUSTOM: Final = PinterestCustom()


def _add_app_and_device(body: PinterestEvent, event: Event, warnings: list[str], *, tracking_flag: bool) -> None:
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


def _add_consent(body: PinterestEvent, event: Event, ids: Identifiers) -> None:
    consent = event.consent
    if consent is None:
        return
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
    user.country = _one(_digest(country))
    if state:
        user.st = _one(_digest(state))
    elif user.country != _one(ids.country):
        user.st = None


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    return sha256_hex(text)
