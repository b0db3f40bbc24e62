"""Snap Conversions API v3. Source: developers.snap.com/api/marketing-api/Conversions-API, read 2026-11.

Undocumented by Snap or documented twice, and chosen here:

- greatest age: 7 days, though another page says 37 (``max_age_s``); bytes per request: 2 MB (``max_batch_bytes``);
- limited use: ``LMU``, though an SDK sends ``LDU`` (``limited_use``);
- times are whole seconds and ``value`` is a number, as in most of Snap's examples, quantities and prices of items
  are texts;
- the mobile id is ``madid``, as documented, though one SDK writes ``mobile_ad_id``; ``db``, which only
  integrations send, is sent;
- whether the neighbours of a refused event are stored, and from where events are counted: a refused batch is
  split, which the 48 h window of ``event_id`` absorbs; only the test mode lists every event and is read so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import quote

from capi_async.destinations.base import ODD_PAGE, is_web, with_good_clicks
from capi_async.destinations.raw import lost_key
from capi_async.destinations.snap.answers import EventLog, decode_v3
from capi_async.destinations.snap.shared import (
    ACTION_SOURCES,
    CLICKS,
    NO_APP_ID,
    NO_ASSET,
    SnapAccount,
    amount_text,
    lacking,
    plain,
    texts,
    unsuccessful,
    unsuccessful_raw,
)
from capi_async.destinations.snap.wire import (
    CUSTOM_DATA_KEYS,
    SnapApp,
    SnapContent,
    SnapCustom,
    SnapEvent,
    SnapHead,
    SnapUser,
)
from capi_async.event import Event, Item
from capi_async.extinfo import extinfo, is_ios, may_track
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, redact, rejected
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    HOUR,
    Limits,
    PerAccount,
    Refusal,
    Request,
    Wire,
    decode_head,
    encode_head,
    json_slices,
    merge,
    setting_text,
    shared_brand,
)

_MAX_AGE_S: Final = 7 * DAY
_IDENTIFIERS: Final = (
    "email", "phone_digits", "first_name_spaced", "last_name_spaced", "gender", "city_joined", "state_code",
    "zip_us5", "country", "dob", "ip", "user_agent", "mobile_ad_id_clear", "idfv", "page_url",
)  # fmt: skip


class Snap(SnapAccount, frozen=True, kw_only=True):
    """Snap Conversions API v3.

    Attributes:
        pixel_id: Asset of web and offline events.
        access_token: Long-lived Conversions API token, or a callable for OAuth tokens. Snap wants it in the
            query, so the URL is a secret and never logged.
        snap_app_id: Asset of app events; without it they are skipped.
        partner: Sent as ``integration``; off by default.
        limited_use: Token of ``data_processing_options`` for people who opted out of the sale of their data.
        keep_external_id_case: Hash external ids with the case that they are given in, as capi_async did before
            Snap's own tag was seen to lower it. Browser and server must do the same.

    OAuth tokens are limited to 10 requests per second (20 per app): set ``requests_per_s`` for them.
    On app events of iOS a tracking answer other than ``authorized`` is sent as a denial, and so is a missing one;
    Android has no such prompt, so tracking is allowed there unless the app or the person says otherwise.
    """

    type: ClassVar[str] = "snap"
    wire: ClassVar[str] = "snap/3"
    default_base_url: ClassVar[str] = "https://tr.snapchat.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000,
        max_batch_bytes=2_000_000,
        requests_per_s=1_000.0,
        burst=50.0,
        max_age_s=_MAX_AGE_S,
    )
    identifiers: ClassVar[tuple[str, ...]] = PerAccount(  # type: ignore[assignment]  # it gives that tuple
        (*_IDENTIFIERS, "external_id_plain"),
        lambda made: (*_IDENTIFIERS, "external_id" if made.keep_external_id_case else "external_id_plain"),
    )
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pixel_id": ("SNAP_PIXEL_ID",),
        "access_token": ("SNAP_ACCESS_TOKEN",),
        "snap_app_id": ("SNAP_APP_ID",),
    }
    head_settings: ClassVar[frozenset[str]] = frozenset({"pixel_id", "access_token", "snap_app_id", "test"})
    dedup_key: ClassVar[str] = "event_id"
    docs: ClassVar[str] = "developers.snap.com/api/marketing-api/Conversions-API, read 2026-11"

    limited_use: str = "LMU"
    keep_external_id_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        setting_text(self, "limited_use")

    @cached_property
    def _heads(self) -> Mapping[str, bytes | None]:
        return self._heads_of(test=False)

    @cached_property
    def _test_heads(self) -> Mapping[str, bytes | None]:
        return self._heads_of(test=True)

    def _heads_of(self, *, test: bool) -> Mapping[str, bytes | None]:
        """Snap's source to the encoded head of its asset; ``None`` where this account has no such asset."""
        assets = {"WEB": self.pixel_id, "OFFLINE": self.pixel_id, "MOBILE_APP": self.snap_app_id}
        return {
            source: None if asset is None else encode_head(SnapHead(asset, test)) for source, asset in assets.items()
        }

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        name, consent = self.names.get(event.name), event.consent
        if name is None or consent is not None:
            admitted = self.admit(event)
            if not isinstance(admitted, tuple):
                return admitted
            name = admitted[0]
        source = ACTION_SOURCES[event.source]
        head = (self._test_heads if event.test or self.test else self._heads)[source]
        if head is None:
            return NO_ASSET
        app: SnapApp | None = None
        if source == "MOBILE_APP":
            facts = _app_data(event)
            if isinstance(facts, Refusal):
                return facts
            app = facts
        at = event.time.timestamp()
        event, warnings = with_good_clicks(event, CLICKS, "ScCid")
        url = ids.page_url
        if url is not None and source != "WEB" and not is_web(url):
            url, warnings = None, (*warnings, ODD_PAGE)
        made = SnapEvent(
            name,
            int(at),
            event.event_id,
            source,
            _user_data(event, ids, ids.external_id if self.keep_external_id_case else ids.external_id_plain),
            url,
            _custom_data(event),
            app,
            (self.limited_use,) if consent is not None and consent.sale_opt_out else None,
            self.partner,
        )
        body: SnapEvent | dict[str, Any] | Refusal = made
        refusal: Refusal | None = None
        if event.extra or event.properties:
            extra = self.extra_of(event)
            if extra and (refusal := lost_key(extra, "event_id")):
                return refusal
            body = _with_raw(made, event.properties, extra)
            if isinstance(body, Refusal):
                return body
            refusal = _lacking(body)
        # all that a purchase on the web needs is nearly always there
        elif not (
            url and is_web(url) and event.value is not None and event.currency and (ids.email or ids.phone_digits)
        ):
            refusal = lacking(
                name, source, url, event.value, event.currency, ids.email, ids.phone_digits, ids.ip,
                ids.user_agent, ids.mobile_ad_id_clear,
            )  # fmt: skip
        return refusal or Wire(
            body,
            head,
            at + (self.max_age_s or _MAX_AGE_S),
            48 * HOUR,
            None,
            warnings,
        )

    def head_of(self, event: Event) -> bytes | Refusal:
        if event.consent is not None or self.names.get(event.name) is None:
            admitted = self.admit(event)
            if not isinstance(admitted, tuple):
                return admitted
        return (self._test_heads if event.test or self.test else self._heads)[ACTION_SOURCES[event.source]] or NO_ASSET

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
        try:
            answer = decode_v3(response.body)
        except UNREADABLE:
            return unsuccessful_raw(response, count)
        status = response.status
        if status in (200, 400):
            if logs := answer.logs_in_order(count):
                return [_logged(log) for log in logs]
            if status == 200 and answer.status == "VALID":
                return [ACCEPTED] * count
            if status == 200 and answer.status is None:
                return [ambiguous("HTTP 200 without a status in its body")] * count
        return unsuccessful(response, count, answer.words, answer.code)


_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


def _logged(log: EventLog) -> Verdict:
    if log.status == "VALID":
        return Verdict(kind="accepted", reason=redact("; ".join(log.warnings))) if log.warnings else ACCEPTED
    return rejected(log.words or "refused without a reason", code=log.code)


def _user_data(event: Event, ids: Identifiers, hashed: Sequence[str] | None) -> SnapUser:
    click, app = event.click, event.app
    # by position and in the struct's order: this runs per event, and keywords cost more
    return SnapUser(
        ids.email,
        ids.phone_digits,
        (one,) if (one := ids.first_name_spaced) else None,
        (one,) if (one := ids.last_name_spaced) else None,
        (one,) if (one := ids.gender) and one != _NEITHER else None,
        (one,) if (one := ids.city_joined) else None,
        (one,) if (one := ids.state_code) else None,
        (one,) if (one := ids.zip_us5) else None,
        (one,) if (one := ids.country) else None,
        ids.dob,
        hashed[0] if hashed else None,
        ids.ip,
        ids.user_agent,
        click.sc_click_id,
        click.sc_cookie1,
        ids.mobile_ad_id_clear,
        ids.idfv,
        event.subscription_id,
        (app.install_id,) if app and app.install_id else None,
    )


#: Digest of ``n``: Snap knows ``f`` and ``m`` only.
_NEITHER: Final = "1b16b1df538ba12dc3f97edbb85caa7050d46c148134290feba80f8236c83db9"


def _custom_data(event: Event) -> SnapCustom | None:
    content_ids: list[str] | None = None
    contents: list[SnapContent] | None = None
    pieces, brand = event.num_items, None
    if items := event.items:
        if len(items) == 1:
            item = items[0]
            content_ids, contents, brand = [item.id], [_content(item)], item.brand
            total = item.quantity
        else:
            content_ids, contents, brand = [item.id for item in items], list(map(_content, items)), shared_brand(event)
            total = sum([item.quantity for item in items])
        if pieces is None:
            pieces = total
    data = SnapCustom(
        event.currency,
        event.value,  # type: ignore[arg-type]  # a made event holds Decimals
        event.order_id,
        pieces,
        content_ids,
        contents,
        event.content_category,
        event.content_name,
        event.content_type,
        brand,
        event.delivery_category,
        event.search_string,
        event.method,
        event.predicted_ltv,  # type: ignore[arg-type]  # as above
    )
    return None if not items and data == _NO_CUSTOM else data


_NO_CUSTOM: Final = SnapCustom()


def _content(item: Item) -> SnapContent:
    price = item.price
    return SnapContent(
        item.id,
        str(item.quantity),
        None if price is None else amount_text(price),
        item.brand,
        item.delivery_category,
    )


def _app_data(event: Event) -> SnapApp | Refusal:
    app = event.app
    if app is None or not app.id:
        return NO_APP_ID
    facts = extinfo(event)
    if isinstance(facts, Refusal):
        return facts
    tracking = app.application_tracking
    return SnapApp(
        app_id=app.id,
        # required; on iOS, whose prompt it is about, all but a yes counts as a denial, as Snap's integrations do
        advertiser_tracking_enabled=int(app.att_status == "authorized" if is_ios(facts) else bool(may_track(event))),
        extinfo=facts,
        application_tracking_enabled=None if tracking is None else int(tracking),
        install_referrer=app.install_referrer,
    )


def _with_raw(
    made: SnapEvent, properties: Mapping[str, Any], extra: Mapping[str, Any] | None
) -> dict[str, Any] | Refusal:
    """The event with free properties laid into ``custom_data`` and the caller's raw fields over everything."""
    body = merge(made, {})
    facts = plain(properties)
    if isinstance(facts, Refusal):
        return facts
    if facts:
        data = body.setdefault("custom_data", {})
        fields = facts.pop("custom_fields", {})
        fields = dict(fields) if isinstance(fields, dict) else {"custom_fields": fields}
        for key, value in facts.items():
            (data if key in CUSTOM_DATA_KEYS else fields).setdefault(key, value)
        if fields:
            free = texts(fields)
            if isinstance(free, Refusal):
                return free
            data["custom_fields"] = free
    if extra:
        body = merge(body, extra)
        for part in ("user_data", "custom_data", "app_data"):
            if not isinstance(body.get(part, _NOTHING), Mapping):
                return Refusal("rejected", "extra", f"{part} is an object on the wire", "give it as a mapping")
    return body


_NOTHING: Final[Mapping[str, Any]] = {}


def _lacking(body: Mapping[str, Any]) -> Refusal | None:
    user, data = body.get("user_data", _NOTHING), body.get("custom_data", _NOTHING)
    return lacking(
        body.get("event_name"), body.get("action_source"), body.get("event_source_url"),
        data.get("value"), data.get("currency"), user.get("em"), user.get("ph"),
        user.get("client_ip_address"), user.get("client_user_agent"), user.get("madid"),
    )  # fmt: skip
