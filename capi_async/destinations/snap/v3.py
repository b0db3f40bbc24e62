"""Snap Conversions API v3. Source: developers.snap.com/api/marketing-api/Conversions-API, read 2026-11.

Undocumented by Snap and chosen here, each a setting: the greatest age (7 days; another page says 37),
the limited-use token (``LMU``; an SDK sends ``LDU``), bytes per request (2 MB). Whether neighbours of a
refused event are stored is unknown, so a refused batch is split, which the 48 h event_id window absorbs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from capi_async.destinations.snap.shared import ACTION_SOURCES, STANDARD_NAMES, check_names
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.extinfo import extinfo
from capi_async.outcome import ACCEPTED, Response, Verdict, ambiguous, by_status, split, unauthorized
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
    merge,
    no_consent,
    require_text,
    shared_brand,
)


class SnapHead(Struct, frozen=True, array_like=True):
    """What one request shares: the asset is in the path, and so is the test mode."""

    asset: str
    test: bool


class SnapUser(Struct, omit_defaults=True, gc=False):
    """``user_data``. Lists hold SHA-256 digests; the rest is clear."""

    em: Sequence[str] | None = None
    ph: Sequence[str] | None = None
    fn: Sequence[str] | None = None
    ln: Sequence[str] | None = None
    ge: Sequence[str] | None = None
    ct: Sequence[str] | None = None
    st: Sequence[str] | None = None
    zp: Sequence[str] | None = None
    country: Sequence[str] | None = None
    db: str | None = None
    external_id: str | None = None
    client_ip_address: str | None = None
    client_user_agent: str | None = None
    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    # Snap's documentation says madid, one of its SDKs mobile_ad_id: the documentation is followed
    madid: str | None = None
    idfv: str | None = None
    subscription_id: str | None = None
    anon_id: Sequence[str] | None = None


class SnapContent(Struct, omit_defaults=True, gc=False):
    """One of ``contents``; Snap's examples quote the numbers."""

    id: str
    quantity: str
    item_price: str | None = None
    brand: str | None = None
    delivery_category: str | None = None


class SnapCustom(Struct, omit_defaults=True, gc=False):
    """``custom_data``; ``value`` is a number in major units."""

    currency: str | None = None
    value: Decimal | None = None
    order_id: str | None = None
    num_items: int | None = None
    content_ids: Sequence[str] | None = None
    contents: Sequence[SnapContent] | None = None
    content_category: str | None = None
    content_name: str | None = None
    content_type: str | None = None
    brands: str | None = None
    delivery_category: str | None = None
    search_string: str | None = None
    sign_up_method: str | None = None
    predicted_ltv: Decimal | None = None


class SnapApp(Struct, omit_defaults=True, gc=False):
    """``app_data``, for app events."""

    app_id: str
    advertiser_tracking_enabled: int
    extinfo: Sequence[str]
    application_tracking_enabled: int | None = None
    install_referrer: str | None = None


class SnapEvent(Struct, omit_defaults=True, gc=False):
    """One of ``data``."""

    event_name: str
    event_time: int
    event_id: str
    action_source: str
    event_source_url: str | None
    user_data: SnapUser
    custom_data: SnapCustom | None = None
    app_data: SnapApp | None = None
    data_processing_options: Sequence[str] | None = None
    integration: str | None = None


#: Documented ``custom_data`` keys without a canonical field; other properties travel in ``custom_fields``.
CUSTOM_DATA_PROPERTIES: Final = frozenset(
    {
        "event_tag", "status", "destination_ids", "checkin_date", "travel_start", "travel_end",
        "destination_airport", "origin_airport", "country", "city", "region", "neighborhood",
        "departing_departure_date", "departing_arrival_date", "returning_departure_date",
        "returning_arrival_date", "hotel_score", "postal_code", "num_adults", "num_children", "num_infants",
        "suggested_destinations", "preferred_neighborhoods", "preferred_star_ratings", "suggested_hotels",
    }
)  # fmt: skip


class Snap(Destination, frozen=True, kw_only=True):
    """Snap Conversions API v3.

    Attributes:
        pixel_id: Asset of web and offline events.
        access_token: Long-lived Conversions API token, or a callable for OAuth tokens. Snap wants it in the
            query, so the URL is a secret and never logged.
        snap_app_id: Asset of app events; without it they are skipped.
        limited_use: Token of ``data_processing_options`` for people who opted out of the sale of their data.
        partner: Sent as ``integration``; off by default.

    OAuth tokens are limited to 10 requests per second (20 per app): set ``requests_per_s`` for them.
    """

    type: ClassVar[str] = "snap"
    wire: ClassVar[str] = "snap/3"
    default_base_url: ClassVar[str] = "https://tr.snapchat.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000,
        max_batch_bytes=2_000_000,
        requests_per_s=1_000.0,
        burst=50.0,
        max_age_s=7 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "phone_digits", "first_name_joined", "last_name_joined", "gender", "gender_letter", "city_joined",
        "state_code", "zip_us5", "country", "dob", "external_id", "ip", "user_agent", "mobile_ad_id_clear", "idfv",
        "page_url",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("SNAP_PIXEL_ID",),
        "access_token": ("SNAP_ACCESS_TOKEN",),
        "snap_app_id": ("SNAP_APP_ID",),
    }
    docs: ClassVar[str] = "developers.snap.com/api/marketing-api/Conversions-API, read 2026-11"

    pixel_id: str
    access_token: Credential
    snap_app_id: str | None = None
    limited_use: str = "LMU"
    partner: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text(self, pixel_id=self.pixel_id)
        as_secret(self, "access_token")
        check_names(self)

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.pixel_id

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        name = self.name_of(event)
        if name is None:
            return Refusal(
                "skipped",
                "name",
                "no such event here" if self.knows(event) else "Snap takes custom events only in numbered slots",
                f"map it: event_names={{{event.name!r}: 'CUSTOM_EVENT_1'}}",
            )
        if refusal := no_consent(event, "ad_storage", "ad_user_data", "ad_personalization"):
            return refusal
        source = ACTION_SOURCES[event.source]
        asset = self.snap_app_id if source == "MOBILE_APP" else self.pixel_id
        if asset is None:
            return Refusal("skipped", "source", "app events need a Snap App ID", "set snap_app_id on the destination")
        page_url = ids.page_url
        if page_url is None and event.source == "website":
            return Refusal("rejected", "page.url", "website events need the page's address", "set page=Page(url=...)")
        if name == "PURCHASE" and (event.value is None or event.currency is None):
            field = "value" if event.value is None else "currency"
            return Refusal("rejected", field, "a purchase needs value and currency", f"set {field}")
        app = _app_data(event) if source == "MOBILE_APP" else None
        if isinstance(app, Refusal):
            return app
        consent = event.consent
        body: Any = SnapEvent(
            event_name=name,
            event_time=epoch_seconds(event.time),
            event_id=event.event_id,
            action_source=source,
            event_source_url=page_url,
            user_data=_user_data(event, ids),
            custom_data=_custom_data(event),
            app_data=app,
            data_processing_options=(self.limited_use,) if consent and consent.sale_opt_out else None,
            integration=self.partner,
        )
        extra = self.extra_of(event)
        if extra or event.properties:
            body = _with_properties(merge(body, extra or {}), event.properties)
            user: Mapping[str, Any] = body.get("user_data") or {}
            identified = _identified(
                user.get("em"), user.get("ph"), user.get("client_ip_address"), user.get("client_user_agent"),
                user.get("madid") if source == "MOBILE_APP" else None,
            )  # fmt: skip
        else:
            identified = _identified(
                ids.email, ids.phone_digits, ids.ip, ids.user_agent,
                ids.mobile_ad_id_clear if source == "MOBILE_APP" else None,
            )  # fmt: skip
        if not identified:
            return Refusal(
                "skipped",
                "user",
                "nobody to identify",
                "set user.email, user.phone, user.ip with user.user_agent, or user.mobile_ad_id on app events",
            )
        return Wire(
            body,
            encode_head(SnapHead(asset, event.test or self.test)),
            event.time.timestamp() + (self.max_age_s or self.limits.max_age_s),
            48 * HOUR,
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, SnapHead)
        path = "events/validate" if to.test else "events"
        return Request(
            "POST",
            f"{self.base_url}/v3/{quote(to.asset, safe='')}/{path}?access_token={quote(token, safe='')}",
            _HEADERS,
            json_slices(b'{"data":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        if response.status in _BY_STATUS or response.status >= 500:
            return by_status(response, count)
        try:
            answer = _answer.decode(response.body)
        except msgspec.MsgspecError:
            return by_status(response, count)
        if response.status == 200 and answer.status == "VALID":
            return [ACCEPTED] * count
        code, said = answer.said()
        if response.status == 400 and _TOKEN.search(said):
            return [unauthorized(said, code=code, fix="check access_token and that it may use this asset")] * count
        if response.status in (200, 400) and answer.status == "INVALID":
            return [split(said or "refused without a reason", code=code)] * count
        if response.status == 200:
            return [ambiguous("status missing from the answer")] * count
        return by_status(response, count)


_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_BY_STATUS: Final = frozenset({401, 403, 404, 408, 413, 429})
_TOKEN: Final = re.compile(r"token|unauthori[sz]ed|credential", re.IGNORECASE)


class _Errors(Struct):
    codes: list[str | int] = []
    error_msgs: list[str] = []


class _Answer(Struct):
    status: str | None = None
    reason: str | None = None
    errors: _Errors | None = None

    def said(self) -> tuple[str, str]:
        """The code and the words of a refusal."""
        errors = self.errors or _Errors()
        words = "; ".join(errors.error_msgs) or self.reason or ""
        return ",".join(map(str, errors.codes)), words


_answer: Final = msgspec.json.Decoder(_Answer)


def _identified(email: object, phone: object, ip: object, user_agent: object, mobile_id: object) -> bool:
    """Snap's rule: an email, a phone, an address with its browser, or on app events a mobile id."""
    return bool(email or phone or (ip and user_agent) or mobile_id)


def _user_data(event: Event, ids: Identifiers) -> SnapUser:
    click = event.click
    app = event.app
    return SnapUser(
        em=ids.email,
        ph=ids.phone_digits,
        fn=_one(ids.first_name_joined),
        ln=_one(ids.last_name_joined),
        # Snap knows f and m only
        ge=_one(ids.gender) if ids.gender_letter != "n" else None,
        ct=_one(ids.city_joined),
        st=_one(ids.state_code),
        zp=_one(ids.zip_us5),
        country=_one(ids.country),
        db=ids.dob,
        external_id=ids.external_id[0] if ids.external_id else None,
        client_ip_address=ids.ip,
        client_user_agent=ids.user_agent,
        sc_click_id=click.sc_click_id,
        sc_cookie1=click.sc_cookie1,
        madid=ids.mobile_ad_id_clear,
        idfv=ids.idfv,
        subscription_id=event.subscription_id,
        anon_id=_one(app.install_id) if app else None,
    )


def _one(value: str | None) -> tuple[str] | None:
    return None if value is None else (value,)


def _custom_data(event: Event) -> SnapCustom | None:
    items = event.items
    data = SnapCustom(
        currency=event.currency,
        value=event.value,  # type: ignore[arg-type]  # a made event holds Decimals
        order_id=event.order_id,
        num_items=item_count(event),
        content_ids=[item.id for item in items] if items else None,
        contents=[
            SnapContent(item.id, str(item.quantity), decimal_text(item.price), item.brand, item.delivery_category)
            for item in items
        ]
        if items
        else None,
        content_category=event.content_category,
        content_name=event.content_name,
        content_type=event.content_type,
        brands=shared_brand(event) if items else None,
        delivery_category=event.delivery_category,
        search_string=event.search_string,
        sign_up_method=event.method,
        predicted_ltv=event.predicted_ltv,  # type: ignore[arg-type]  # as above
    )
    return None if data == _NO_CUSTOM else data


_NO_CUSTOM: Final = SnapCustom()


def _app_data(event: Event) -> SnapApp | Refusal:
    app = event.app
    if app is None or not app.id:
        return Refusal("rejected", "app.id", "app events need the app's store id or package", "set app=App(id=...)")
    facts = extinfo(event)
    if isinstance(facts, Refusal):
        return facts
    tracking = app.application_tracking
    return SnapApp(
        app_id=app.id,
        # required; an unknown answer counts as a denial, as Snap's integrations do
        advertiser_tracking_enabled=int(app.att_status == "authorized"),
        extinfo=facts,
        application_tracking_enabled=None if tracking is None else int(tracking),
        install_referrer=app.install_referrer,
    )


def _with_properties(body: dict[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Lay free properties into ``custom_data``; what Snap does not name goes to ``custom_fields`` as text."""
    if not properties:
        return body
    data = body.setdefault("custom_data", {})
    for key, value in properties.items():
        if key in CUSTOM_DATA_PROPERTIES:
            data.setdefault(key, value)
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            data.setdefault("custom_fields", {}).setdefault(key, text)
    return body
