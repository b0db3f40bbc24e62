"""CutMeShort CMS: one lead or one sale per request.

Source: docs.cutmeshort.com and the vendor's SDKs (PyPI cutmeshort 1.0.1 read whole), read 2026-11.

UNVERIFIED, and what the sandbox does: success is 200 ``{"status": true, "data": "successful"}``, the only body that the
vendor's Python SDK takes; bad fields get 422. A follow-up without click id for a customer whom no deferred lead has
stored is taken and counted as "unattributed" (reading ``association_required``: 404). A second sale with the same
``invoiceId`` within 48 hours is absorbed (reading ``conflict``: 409). Leads have no key: a repeated one counts twice. A
customer's association does not expire, and a second deferred lead replaces it. Timestamps are taken at any age (reading
``one_day``: 24 hours, as one SDK has it), with an offset, up to 5 minutes ahead. The unit of ``amount`` cannot be told
from outside: any number from 0 on is taken. Unknown keys are overlooked (and counted). A request over the rate gets
``Retry-After`` in whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.bounded import make_room
from capi_async.sandbox.checks import DAY, Currency, Problem, Reader, time_problem
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
from capi_async.sandbox.rates import Rate

_ACCOUNT = "default"  # the token is the account; showing it would teach people to print tokens
_OK = b'{"status":true,"data":"successful"}'
_MAX_CUSTOMERS = 1_000_000

_Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
_Name = Annotated[str, Meta(max_length=255)]
_Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+\Z")]
_Avatar = Annotated[str, Meta(max_length=2_048, pattern=r"^https?://\S+\Z")]
_Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\Z")]


class Lead(Struct, forbid_unknown_fields=True):
    """The body of ``/track/lead``."""

    eventName: _Id  # noqa: N815 - wire names
    customerExternalId: _Id  # noqa: N815
    clickId: _Id | None = None  # noqa: N815
    timestamp: _Time | None = None
    customerName: _Name | None = None  # noqa: N815
    customerEmail: _Email | None = None  # noqa: N815
    customerAvatar: _Avatar | None = None  # noqa: N815
    mode: Literal["deferred"] | None = None


class Sale(Struct, forbid_unknown_fields=True):
    """The body of ``/track/sale``."""

    eventName: _Id  # noqa: N815
    customerExternalId: _Id  # noqa: N815
    invoiceId: _Id  # noqa: N815
    amount: Annotated[float, Meta(ge=0)]
    currency: Currency
    clickId: _Id | None = None  # noqa: N815
    timestamp: _Time | None = None
    customerName: _Name | None = None  # noqa: N815
    customerEmail: _Email | None = None  # noqa: N815
    customerAvatar: _Avatar | None = None  # noqa: N815


_TYPES = {
    400: ("Bad Request", "BadRequestError"),
    401: ("Unauthorized", "UnauthorizedError"),
    403: ("Forbidden", "ForbiddenError"),
    404: ("Not Found", "NotFoundError"),
    409: ("Conflict", "ConflictError"),
    422: ("Validation failed", "UnprocessableEntityError"),
    429: ("Too Many Requests", "TooManyRequestsError"),
}


class CutMeShort(Platform[Lead | Sale]):
    """``POST /track/lead`` and ``POST /track/sale``."""

    name = "cutmeshort"
    routes = (route("POST", "/track/lead", "lead"), route("POST", "/track/sale", "sale"))
    rate = Rate(60, 60.0)
    readings: ClassVar[Mapping[str, str]] = {
        "association_required": "a follow-up for a customer without a stored lead gets 404",
        "conflict": "a second sale with the same invoiceId gets 409",
        "one_day": "events older than 24 hours are refused",
    }
    _leads: ClassVar[Reader[Lead]] = Reader(Lead, overlook=True)
    _sales: ClassVar[Reader[Sale]] = Reader(Sale, overlook=True)

    def clear(self) -> None:
        super().clear()
        self._customers: dict[str, str] = {}

    @property
    def customers(self) -> Mapping[str, str]:
        """Click id by customer, as stored by deferred leads and by leads with a click id."""
        return self._customers

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, ""), "bad token")
        return TOKEN

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(400, "Content-Type must be application/json"), "not application/json")
        if not call.body.lstrip().startswith(b"{"):
            raise Refused(self.failure(400, "the body must be one JSON object"), "malformed body")
        try:
            event = msgspec.json.decode(call.body, type=Raw)
        except msgspec.DecodeError:
            raise Refused(self.failure(400, "the body is not valid JSON"), "malformed body") from None
        return Batch(at.name, _ACCOUNT, [event], call.now)

    def reader(self, batch: Batch) -> Reader[Lead | Sale]:
        return self._leads if batch.route == "lead" else self._sales

    def check(self, event: Lead | Sale, batch: Batch) -> Problem | None:
        if isinstance(event, Lead) and event.mode is not None and event.clickId is None:
            return Problem("clickId: required with mode deferred", "missing", "clickId")
        if event.clickId is None and event.customerExternalId not in self._customers:
            if "association_required" in self.chosen:
                return Problem(
                    "clickId: absent, and no association is stored for this customer", "not_found", "clickId"
                )
            self.warn("unattributed")
        if (
            isinstance(event, Sale)
            and "conflict" in self.chosen
            and self.tally.keys.holds(event.invoiceId, batch.now, self.window_s)
        ):
            return Problem("invoiceId: already tracked", "conflict", "invoiceId")
        if event.timestamp is None:
            return None
        try:
            at = datetime.fromisoformat(event.timestamp).timestamp()
        except ValueError:
            return Problem("timestamp: not a date-time", path="timestamp")
        max_age_s = DAY if "one_day" in self.chosen else float("inf")
        return time_problem(at, batch.now, max_age_s=max_age_s, max_future_s=self.max_future_s, path="timestamp")

    def key(self, event: Lead | Sale, batch: Batch) -> object | None:
        return event.invoiceId if isinstance(event, Sale) else None

    def accepted(self, event: Lead | Sale, batch: Batch, *, copy: bool) -> None:
        if isinstance(event, Lead) and event.clickId is not None:
            make_room(self._customers, event.customerExternalId, _MAX_CUSTOMERS)
            self._customers[event.customerExternalId] = event.clickId

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[Lead | Sale | None]) -> Reply:
        if not problems:
            return Reply(200, _OK)
        problem = problems[0]
        status = {"not_found": 404, "conflict": 409}.get(problem.kind, 422)
        return self.failure(status, problem.reason)

    def throttled(self, wait_s: float) -> Reply:
        reply = self.failure(429, "60 requests per minute")
        reply.headers = {"Retry-After": str(int(wait_s) + 1)}
        return reply

    def failure(self, status: int, reason: str) -> Reply:
        error, type_ = _TYPES.get(status, ("Internal Server Error", "InternalServerError"))
        details = {"message": reason} if reason else {}
        body = {"success": False, "error": error, "type": type_, "statusCode": status, "details": details}
        return json_reply(status, body)
