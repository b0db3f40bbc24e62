"""TikTok Events API 2.0.

Source: business-api.tiktok.com documentation as quoted by public integrations, tiktok-business-api-sdk, read 2026-11.

The code in the body is the only outcome; a bad row refuses its batch. HTTP 401 comes with credential codes and with
40100 ("slow down"), 200 with everything else. Nobody is refused for want of identity (measured): such events are
counted as warnings, and so are names that are taken for custom ones. Unknown keys are overlooked (and counted).

UNVERIFIED, and what the sandbox does: web events need ``page.url`` (one of two vendor pages says so); events are taken
for 7 days, offline ones for 28, up to 5 minutes ahead; JSON null is not a string; 1 MB is the largest request, beyond
it 413 with code 40061; any source id of capitals and digits exists, another gets 40001 under 401. Without ``event_id``
nothing is de-duplicated (the vendor's five-minute rule by ``_ttp`` is not played).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import Raw, Struct

from capi_async.sandbox.checks import (
    DAY,
    HASH_PATTERN,
    MB,
    Hash,
    Hashes,
    Ip,
    Problem,
    Reader,
    Text,
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
    is_json,
    json_reply,
    route,
)
from capi_async.sandbox.rates import Rate

E = TypeVar("E")

SOURCE_ID = re.compile(r"^[A-Z0-9]{10,40}\Z")
OK, PERMISSION, PARAM, BATCH_SIZE, NOT_HASHED = 0, 40001, 40002, 40061, 40062
TOO_FREQUENT, NO_TOKEN, BAD_TOKEN, NO_ROUTE, SYSTEM = 40100, 40104, 40105, 40400, 50000

_NAMES = words(
    "AddPaymentInfo AddToCart AddToWishlist ApplicationApproval CompleteRegistration Contact CustomizeProduct Download "
    "FindLocation InitiateCheckout Purchase Schedule Search StartTrial SubmitApplication Subscribe ViewContent "
    "ClickButton CompletePayment PlaceAnOrder SubmitForm Lead PageView Pageview AchieveLevel Checkout CompleteTutorial "
    "CreateGroup CreateRole GenerateLead InAppADClick InAppADImpr InstallApp JoinGroup LaunchAPP LoanApplication "
    "LoanApproval LoanDisbursal Login Rate Registration SpendCredits UnlockAchievement"
)

_LISTED = ("email", "phone", "external_id")
_digest = re.compile(HASH_PATTERN)


class _User(Struct, forbid_unknown_fields=True):
    email: Hashes = ""
    phone: Hashes = ""
    external_id: Hashes = ""
    first_name: Hash = ""
    last_name: Hash = ""
    zip_code: Hash = ""
    city: str = ""
    state: str = ""
    country: str = ""
    ttclid: str = ""
    ttp: str = ""
    ip: Ip = ""
    user_agent: str = ""
    locale: str = ""
    idfa: Hash = ""
    gaid: Hash = ""
    idfv: str = ""
    att_status: str = ""


class _Page(Struct, forbid_unknown_fields=True):
    url: str = ""
    referrer: str = ""


class _Item(Struct):
    # Open, like properties: travel and vehicle catalogues bring keys of their own.
    content_id: str = ""
    content_name: str = ""
    content_category: str = ""
    brand: str = ""
    price: float = 0
    quantity: int = 0


class _Properties(Struct):
    currency: str = ""
    value: float = 0
    contents: list[_Item] = []
    content_type: str = ""
    content_ids: list[str] = []
    num_items: int = 0
    query: str = ""
    search_string: str = ""
    description: str = ""
    order_id: str = ""
    shop_id: str = ""
    delivery_category: str = ""
    predicted_ltv: float = 0
    status: str = ""


class _App(Struct, forbid_unknown_fields=True):
    app_id: str = ""
    app_name: str = ""
    app_version: str = ""


class _Ad(Struct, forbid_unknown_fields=True):
    callback: str = ""
    campaign_id: str = ""
    ad_id: str = ""
    creative_id: str = ""
    is_retargeting: bool = False
    attributed: bool = False
    attribution_type: str = ""
    attribution_provider: str = ""


class _Lead(Struct, forbid_unknown_fields=True):
    lead_id: str = ""
    lead_event_source: str = ""


class TikTokEvent(Struct, forbid_unknown_fields=True):
    """One entry of ``data``."""

    event: Text
    event_time: int
    event_id: str = ""
    user: _User | None = None
    page: _Page | None = None
    properties: _Properties | None = None
    app: _App | None = None
    ad: _Ad | None = None
    lead: _Lead | None = None
    limited_data_use: bool = False


class _Body(Struct):
    event_source: str
    event_source_id: str
    data: list[Raw]
    test_event_code: str = ""
    partner_name: str = ""


_decode_body = msgspec.json.Decoder(_Body).decode
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "array": "list", "object": "object"}


class TikTokEnvelope(Platform[E]):
    """What both generations share: the envelope, the credential and the codes.

    Attributes:
        unauthorized_status: HTTP status beside credential codes and 40100.
    """

    rate = Rate(1_000, 1.0)
    max_bytes = MB
    unauthorized_status: ClassVar[int] = 401
    rows: ClassVar[str] = "Batch"

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        token = call.headers.get("Access-Token", "")
        if token != TOKEN:
            code = BAD_TOKEN if token else NO_TOKEN
            message = "Access token is incorrect or has been revoked." if token else "Access token is null."
            raise Refused(self.envelope(self.unauthorized_status, code, message), "bad token")
        return TOKEN

    def frame(self, call: Call, decode: Any) -> Any:
        """The body's frame, or the refusal of a body that has none."""
        if not is_json(call):
            raise Refused(self.envelope(200, PARAM, "Content-Type must be application/json"), "not application/json")
        try:
            return decode(call.body)
        except msgspec.DecodeError as error:
            raise Refused(self.envelope(200, PARAM, f"Invalid request body: {error}"), "malformed body") from None

    def known_source(self, source_id: str) -> str:
        """The source id, if a source of that name can exist."""
        if not SOURCE_ID.match(source_id):
            # The real message repeats the id word for word too; clients must not log it unread.
            message = f"No permission to operate the pixel code or event source: {source_id}"
            raise Refused(self.envelope(self.unauthorized_status, PERMISSION, message), "no such account")
        return source_id

    def envelope(self, status: int, code: int, message: str) -> Reply:
        request_id = f"20261101{self._ids.randrange(10**16):016d}{self._ids.randrange(16**10):010X}"
        return json_reply(status, {"code": code, "message": message, "request_id": request_id, "data": {}})

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[E | None]) -> Reply:
        if not problems:
            return self.envelope(200, OK, "OK")
        first = min(problems)
        problem = problems[first]
        code = NOT_HASHED if problem.kind == "unhashed" else problem.code or PARAM
        return self.envelope(200, code, f"{self.rows}.{first}.{_message(problem)}")

    def throttled(self, wait_s: float) -> Reply:
        return self.envelope(self.unauthorized_status, TOO_FREQUENT, "Requests made too frequently.")

    def failure(self, status: int, reason: str) -> Reply:
        codes = {401: BAD_TOKEN, 403: PERMISSION, 404: NO_ROUTE, 413: BATCH_SIZE, 429: TOO_FREQUENT}
        return self.envelope(status, codes.get(status, SYSTEM if status >= 500 else PARAM), reason)


class TikTok(TikTokEnvelope[TikTokEvent]):
    """``POST /open_api/v1.3/event/track/``; the last slash belongs to the path."""

    name = "tiktok"
    routes = (route("POST", r"/open_api/v1\.3/event/track/", "track"),)
    max_age_s: ClassVar[float] = 7 * DAY
    max_offline_age_s: ClassVar[float] = 28 * DAY
    max_events: ClassVar[int] = 1_000
    _reader: ClassVar[Reader[TikTokEvent]] = Reader(TikTokEvent, overlook=True)

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        body: _Body = self.frame(call, _decode_body)
        if body.event_source not in ("web", "app", "offline", "crm"):
            raise Refused(self.envelope(200, PARAM, "event_source: Not a valid choice."), "event_source")
        account = self.known_source(body.event_source_id)
        if not 1 <= len(body.data) <= self.max_events:
            message = f"data: Length must be between 1 and {self.max_events}."
            raise Refused(self.envelope(200, PARAM, message), "batch size")
        return Batch(at.name, account, body.data, call.now, bool(body.test_event_code), body.event_source)

    def reader(self, batch: Batch) -> Reader[TikTokEvent]:
        return self._reader

    def check(self, event: TikTokEvent, batch: Batch) -> Problem | None:
        source = batch.head
        if event.user and (unhashed := lone_problem(event.user, _LISTED, "user", _digest)):
            return unhashed
        if source == "web":
            url = event.page.url if event.page else ""
            if not url:
                return Problem("page.url: required for web events", "missing", "page.url")
            if not url.startswith(("http://", "https://")):
                return Problem("page.url: Not a valid URL", path="page.url")
        elif source == "app" and not (event.app and event.app.app_id):
            return Problem("app.app_id: required for app events", "missing", "app.app_id")
        if event.event not in _NAMES:
            self.warn(f"custom event {event.event}")
        if not _identifies(event):
            self.warn("no identifier")
        max_age_s = self.max_offline_age_s if source == "offline" else self.max_age_s
        return time_problem(
            event.event_time, batch.now, max_age_s=max_age_s, max_future_s=self.max_future_s, path="event_time"
        )

    def key(self, event: TikTokEvent, batch: Batch) -> object | None:
        return (batch.account, event.event, event.event_id) if event.event_id else None


def _identifies(event: TikTokEvent) -> bool:
    user = event.user
    if user is None:
        return bool(event.lead and event.lead.lead_id)
    strong = user.email or user.phone or user.external_id or user.ttclid or user.ttp
    return bool(strong or (user.ip and user.user_agent) or user.idfa or user.gaid or user.idfv or event.lead)


def _message(problem: Problem) -> str:
    if problem.kind == "missing":
        return f"{problem.path}: Missing data for required field."
    expected = problem.expected.split(" | ", 1)[0]
    if problem.kind == "type" and expected in _TYPES:
        return f"{problem.path}: Not a valid {_TYPES[expected]}"
    return problem.reason
