"""Meta Conversions API: JSON bodies, and form bodies as the official SDK sends them.

Source: developers.facebook.com Conversions API pages, facebook-business 26.0.3, public logs of live probes, read
2026-11.

One bad event refuses its batch; test events are real and count. Custom keys in ``custom_data`` are taken.

UNVERIFIED, and what the sandbox does: more than 60 s ahead is refused (subcode 2804007); digests that are none get
subcode 2804019, with or without the tag that Meta's parameter builder appends; too-broad identities get 2804050; a
second server copy with the same key inside 48 hours is absorbed; 4 MiB is the largest request, beyond it 413 with code
105; malformed ``fbc`` and ``fbp`` are refused; unknown keys outside ``custom_data`` are overlooked (and counted);
``external_id`` may be plain. A missing token gets 190 like a wrong one, both under 401.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta as Constraint
from msgspec import Raw, Struct

from capi_async.bounded import make_room
from capi_async.sandbox.checks import (
    DAY,
    HASH_PATTERN,
    MIB,
    ExtInfo,
    Flag,
    Ip,
    Problem,
    Reader,
    Text,
    Url,
    lone_problem,
    time_problem,
    words,
)
from capi_async.sandbox.platforms.base import (
    TOKEN,
    Batch,
    Call,
    Platform,
    Refused,
    Reply,
    Route,
    bearer,
    is_json,
    json_reply,
    route,
)
from capi_async.sandbox.platforms.meta_quality import Quality

_MAX_EVENTS = 1_000
#: Event names and datasets whose quality is known; the oldest go first.
_MAX_QUALITIES = 1_000
_MAX_CUSTOM_NAME = 50
_DATASET = re.compile(r"^[1-9][0-9]{0,19}\Z")
_TOO_OLD, _IN_FUTURE, _NO_VALUE, _TOO_BROAD, _NOT_HASHED = 2804003, 2804007, 2804009, 2804050, 2804019
_TOO_BROAD_SETS = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
_TITLES = {
    _TOO_OLD: ("Event Timestamp Too Old", "The timestamp for this event is too far in the past."),
    _IN_FUTURE: ("Event Timestamp In Future", "The timestamp for this event is in the future."),
    _NO_VALUE: ("Missing Value or Currency", "Purchase events need a value and a currency."),
    _TOO_BROAD: ("Not Enough User Data", "This event does not have enough information about the customer."),
    _NOT_HASHED: ("Customer Information Not Hashed", "Customer information must be hashed with SHA-256."),
}

_TAGGED = HASH_PATTERN.removesuffix(r"\Z") + r"(?:\.[A-Za-z0-9_-]{2,8})?\Z"
_Digest = Annotated[str, Constraint(pattern=_TAGGED)]
# see checks.Hashes for why the lone one is checked apart
_Hashes = str | list[_Digest]
_LISTED = ("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country")
_digest = re.compile(_TAGGED)
_Fbc = Annotated[str, Constraint(pattern=r"^fb\.[0-9]+\.[0-9]{10,13}\.\S+\Z")]
_Fbp = Annotated[str, Constraint(pattern=r"^fb\.[0-9]+\.[0-9]{10,13}\.[0-9]+\S*\Z")]
_Currency = Annotated[str, Constraint(pattern=r"^[A-Za-z]{3}\Z")]
_Source = Literal[
    "website", "app", "email", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"
]


class _User(Struct, forbid_unknown_fields=True):
    em: _Hashes | None = None
    ph: _Hashes | None = None
    fn: _Hashes | None = None
    ln: _Hashes | None = None
    db: _Hashes | None = None
    ge: _Hashes | None = None
    ct: _Hashes | None = None
    st: _Hashes | None = None
    zp: _Hashes | None = None
    country: _Hashes | None = None
    external_id: str | list[str] | None = None
    client_ip_address: Ip | None = None
    client_user_agent: Text | None = None
    fbc: _Fbc | None = None
    fbp: _Fbp | None = None
    subscription_id: str | None = None
    fb_login_id: int | str | None = None
    lead_id: int | str | None = None
    anon_id: str | None = None
    madid: str | None = None
    page_id: str | None = None
    page_scoped_user_id: str | None = None
    ctwa_clid: str | None = None
    whatsapp_business_account_id: str | None = None
    ig_account_id: str | None = None
    ig_sid: str | None = None
    partner_id: str | None = None
    partner_name: str | None = None
    f5first: _Digest | None = None
    f5last: _Digest | None = None
    fi: _Digest | None = None
    dobd: _Digest | None = None
    dobm: _Digest | None = None
    doby: _Digest | None = None


class _Item(Struct):
    id: Text
    quantity: int | float
    item_price: int | float | None = None
    title: str | None = None
    description: str | None = None
    brand: str | None = None
    category: str | None = None
    delivery_category: Literal["in_store", "curbside", "home_delivery"] | None = None


class _Custom(Struct):
    # Open: custom properties are a documented feature.
    value: int | float | None = None
    currency: _Currency | None = None
    contents: list[_Item] | None = None
    content_ids: list[str] | None = None
    content_type: Literal["product", "product_group"] | None = None
    content_name: str | None = None
    content_category: str | None = None
    num_items: int | None = None
    order_id: str | None = None
    predicted_ltv: int | float | None = None
    net_revenue: int | float | None = None
    search_string: str | None = None
    status: str | bool | None = None
    delivery_category: Literal["in_store", "curbside", "home_delivery"] | None = None
    item_number: str | None = None


class _App(Struct):
    advertiser_tracking_enabled: Flag | bool
    extinfo: ExtInfo
    application_tracking_enabled: Flag | bool | None = None


class MetaEvent(Struct, forbid_unknown_fields=True):
    """One entry of ``data``."""

    event_name: Text
    event_time: int
    action_source: _Source
    user_data: _User
    event_source_url: Url | None = None
    event_id: str | None = None
    custom_data: _Custom | None = None
    app_data: _App | None = None
    referrer_url: str | None = None
    opt_out: bool | None = None
    data_processing_options: list[str] | None = None
    data_processing_options_country: int | None = None
    data_processing_options_state: int | None = None
    customer_segmentation: str | None = None
    messaging_channel: Literal["whatsapp", "messenger", "instagram"] | None = None
    original_event_data: dict[str, Any] | None = None
    attribution_data: dict[str, Any] | None = None
    advanced_measurement_table: str | None = None


class _Body(Struct):
    data: list[Raw]
    test_event_code: str | None = None
    access_token: str | None = None


_STANDARD_NAMES = words(
    "AddPaymentInfo AddToCart AddToWishlist CompleteRegistration Contact CustomizeProduct Donate FindLocation "
    "InitiateCheckout Lead PageView Purchase Schedule Search StartTrial SubmitApplication Subscribe ViewContent"
)
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


class Meta(Platform[MetaEvent]):
    """``POST /v{N}.0/{dataset_id}/events``."""

    name = "meta"
    routes = (
        route("POST", r"/v[0-9]{2}\.0/(?P<dataset>[^/]+)/events/?", "events"),
        route("GET", r"/v[0-9]{2}\.0/(?P<dataset>dataset_quality)", "quality", reads=True),
    )
    max_bytes = 4 * MIB
    max_future_s = 60.0
    counts_tests = True
    max_age_s: ClassVar[float] = 7 * DAY
    max_store_age_s: ClassVar[float] = 62 * DAY
    _reader: ClassVar[Reader[MetaEvent]] = Reader(MetaEvent, overlook=True)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        # The token may also stand in the body, which ``open`` reads; a wrong one here is final.
        token = bearer(call) or call.query.get("access_token", "")
        if token and token != TOKEN:
            raise self._bad_token()
        return match["dataset"]

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if is_json(call):
            try:
                body = _decode_body(call.body)
            except msgspec.DecodeError as error:
                raise Refused(self._invalid(f"(#100) {error}"), "malformed body") from None
        else:
            body = self._form(call)
        in_header = bearer(call) or call.query.get("access_token")
        if (in_header or body.access_token) != TOKEN:
            raise self._bad_token()
        if not _DATASET.match(match["dataset"]):
            message = (
                f"Unsupported post request. Object with ID '{match['dataset'][:40]}' does not exist, cannot be loaded "
                "due to missing permissions, or does not support this operation."
            )
            raise Refused(self._invalid(message, subcode=33, type_="GraphMethodException"), "no such account")
        if not 1 <= len(body.data) <= _MAX_EVENTS:
            raise Refused(self._invalid(f"(#100) param data must hold 1 to {_MAX_EVENTS} events"), "batch size")
        return Batch(at.name, match["dataset"], body.data, call.now, bool(body.test_event_code))

    def reader(self, batch: Batch) -> Reader[MetaEvent]:
        return self._reader

    def check(self, event: MetaEvent, batch: Batch) -> Problem | None:
        source, custom = event.action_source, event.custom_data
        if unhashed := lone_problem(event.user_data, _LISTED, "user_data", _digest):
            return unhashed
        if event.event_name not in _STANDARD_NAMES and len(event.event_name) > _MAX_CUSTOM_NAME:
            return Problem("event_name: longer than 50 characters", path="event_name")
        if source == "website" and event.event_source_url is None:
            return Problem("event_source_url: required for website events", "missing", "event_source_url")
        if source == "app" and event.app_data is None:
            return Problem("app_data: required for app events", "missing", "app_data")
        if source == "business_messaging" and event.messaging_channel is None:
            return Problem("messaging_channel: required for business_messaging", "missing", "messaging_channel")
        if event.app_data is not None and (
            event.app_data.extinfo[0] not in ("a2", "i2") or not event.app_data.extinfo[4]
        ):
            return Problem("app_data.extinfo: needs a2 or i2 first and the OS version fifth", path="app_data.extinfo")
        if event.event_name == "Purchase" and (custom is None or custom.value is None or custom.currency is None):
            return Problem("custom_data: Purchase needs value and currency", "missing", "custom_data", code=_NO_VALUE)
        if event.data_processing_options_country is not None and event.data_processing_options_state is None:
            path = "data_processing_options_state"
            return Problem(f"{path}: required when the country is given", "missing", path)
        if _too_broad(event.user_data):
            return Problem("user_data: too broad to identify anybody", path="user_data", code=_TOO_BROAD)
        max_age_s = self.max_store_age_s if source == "physical_store" else self.max_age_s
        problem = time_problem(
            event.event_time, batch.now, max_age_s=max_age_s, max_future_s=self.max_future_s, path="event_time"
        )
        if problem is None:
            return None
        code = _TOO_OLD if event.event_time < batch.now else _IN_FUTURE
        return msgspec.structs.replace(problem, code=code)

    def key(self, event: MetaEvent, batch: Batch) -> object | None:
        return (batch.account, event.event_name, event.event_id) if event.event_id else None

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[MetaEvent | None]) -> Reply:
        if not problems:
            body = {"events_received": len(batch.events), "messages": [], "fbtrace_id": self._trace()}
            return json_reply(200, body)
        problem = problems[min(problems)]
        subcode = _NOT_HASHED if problem.kind == "unhashed" else problem.code
        return self._invalid("Invalid parameter", subcode=subcode, detail=problem.reason)

    def clear(self) -> None:
        """See the base."""
        super().clear()
        self._quality: dict[tuple[str, str], Quality] = {}

    def accepted(self, event: MetaEvent, batch: Batch, *, copy: bool) -> None:
        if event.action_source == "website":
            key = (batch.account, event.event_name)
            make_room(self._quality, key, _MAX_QUALITIES)
            self._quality.setdefault(key, Quality(event.event_name)).count(event.user_data)

    def read_back(self, call: Call, at: Route, match: re.Match[str]) -> Reply:
        if bearer(call) != TOKEN and call.query.get("access_token") != TOKEN:
            raise self._bad_token()
        dataset = call.query.get("dataset_id", "")
        if not _DATASET.match(dataset):
            raise Refused(self._invalid("(#100) param dataset_id must be an id"), "no such account")
        asked = [quality for (account, _), quality in self._quality.items() if account == dataset]
        return json_reply(200, {"web": [one.answer() for one in asked]})

    def failure(self, status: int, reason: str) -> Reply:
        codes = {401: (190, "OAuthException"), 403: (200, "OAuthException"), 404: (2500, "OAuthException")}
        code, type_ = codes.get(status, (100, "OAuthException"))
        if status >= 500:
            code = 2
        elif status == 429:
            code = 80004
        elif status == 413:
            code = 105
        return self._error(status, code, reason, type_=type_, transient=status >= 500 or status == 429)

    def wait_headers(self, retry_after_s: float) -> dict[str, str]:
        minutes = max(1, round(retry_after_s / 60))
        usage = {"type": "ads_management", "call_count": 100, "total_cputime": 100, "total_time": 100}
        usage |= {"estimated_time_to_regain_access": minutes, "ads_api_access_tier": "standard_access"}
        return {"x-business-use-case-usage": msgspec.json.encode({"1000000000": [usage]}).decode()}

    def _form(self, call: Call) -> _Body:
        if not call.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            raise Refused(self._invalid("(#100) unsupported content type"), "not JSON or a form")
        fields = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
        try:
            data = [_unquoted(event) for event in _decode_list(fields.get("data", ""))]
        except msgspec.DecodeError:
            raise Refused(self._invalid("(#100) param data must be an array."), "malformed body") from None
        return _Body(data, fields.get("test_event_code"), fields.get("access_token"))

    def _bad_token(self) -> Refused:
        message = "Invalid OAuth access token - Cannot parse access token"
        return Refused(self._error(401, 190, message, type_="OAuthException"), "bad token")

    def _invalid(self, message: str, *, subcode: int = 0, type_: str = "OAuthException", detail: str = "") -> Reply:
        return self._error(400, 100, message, type_=type_, subcode=subcode, detail=detail)

    def _error(
        self,
        status: int,
        code: int,
        message: str,
        *,
        type_: str,
        subcode: int = 0,
        detail: str = "",
        transient: bool = False,
    ) -> Reply:
        error: dict[str, Any] = {"message": message, "type": type_, "code": code, "is_transient": transient}
        if subcode:
            error["error_subcode"] = subcode
        title, text = _TITLES.get(subcode, ("", ""))
        if text or detail:
            error["error_user_title"] = title or "Invalid parameter"
            error["error_user_msg"] = f"{text} {detail}".strip()
        error["fbtrace_id"] = self._trace()
        return json_reply(status, {"error": error})

    def _trace(self) -> str:
        return "A" + self.new_id(22)


def _unquoted(event: Raw) -> Raw:
    # The SDK encodes twice: its form carries an array of texts, each of them the JSON of one event.
    if not bytes(event).startswith(b'"'):
        return event
    return msgspec.json.decode(msgspec.json.decode(event, type=str), type=Raw)


def _too_broad(user: _User) -> bool:
    if user.em or user.ph or user.external_id or user.fbc or user.fbp or user.client_ip_address:
        return False
    given = {name for name in _User.__struct_fields__ if getattr(user, name) not in (None, "", [])}
    return any(given <= broad for broad in _TOO_BROAD_SETS)
