"""LinkedIn Conversions API.

Source: LinkedIn's pages on conversions, versioning and errors, its schema of May 2026, public logs of requests, read
2026-11.

A batch is taken whole or not at all. LinkedIn checks types, keys and the names of enumerations, not what a value means:
a currency that does not exist and an address that is none are taken, here as there, and counted as warnings.

UNVERIFIED, and what the sandbox does: 4 MiB is the largest request, beyond it 413; events are taken up to 5 minutes
ahead; a second server copy is counted again; ``ORACLE_MOAT_ID``, which is no longer listed, is taken; several faults of
the second kind are told one kind at a time; the words of 429. Rules of every number exist, but for those that end in
0000; the source of those that end in 9999 is the Insight Tag. Versions before 202601 have ended.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from capi_async.sandbox.checks import DAY, HASH_PATTERN, MIB, Problem, Reader, Text, time_problem
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

_MAX_EVENTS = 5_000
_MILLIS = (10**12, 10**13)
_RULE = re.compile(r"^urn:lla:llaPartnerConversion:(\d+)\Z")
_ACCOUNT = re.compile(r"^urn:li:sponsoredAccount:(\d+)\Z")
_VERSION = re.compile(r"^\d{4}(0[1-9]|1[0-2])\Z")
#: Versions before this one have ended.
_FIRST_VERSION = "202601"
#: Since then a lead may stand alone, and an Android advertising id is known.
_LEAD_VERSION = "202605"
_digest = re.compile(HASH_PATTERN)
_currency = re.compile(r"^[A-Z]{3}\Z")
_NO_ACCOUNT = 403


class _Id(Struct, forbid_unknown_fields=True, rename="camel"):
    id_type: Literal[
        "SHA256_EMAIL", "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", "PLAINTEXT_IP_ADDRESS", "SHA256_IP_ADDRESS",
        "ACXIOM_ID", "GOOGLE_AID", "ORACLE_MOAT_ID",
    ]  # fmt: skip
    id_value: Text


class _Info(Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: Text
    last_name: Text
    company_name: Text | None = None
    title: Text | None = None
    country_code: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")] | None = None


class _User(Struct, forbid_unknown_fields=True, rename="camel"):
    user_ids: list[_Id]
    user_info: _Info | None = None
    external_ids: Annotated[list[Text], Meta(max_length=1)] | None = None
    lead: Annotated[str, Meta(pattern=r"^urn:li:\w+:\S+\Z")] | None = None


class _Value(Struct, forbid_unknown_fields=True, rename="camel"):
    currency_code: str
    amount: Annotated[str, Meta(pattern=r"^\d+(\.\d+)?\Z")]


class LinkedInEvent(Struct, forbid_unknown_fields=True, rename="camel"):
    """One of ``elements``."""

    conversion: str
    conversion_happened_at: int
    user: _User
    conversion_value: _Value | None = None
    event_id: str | None = None


class _Body(Struct, forbid_unknown_fields=True):
    elements: list[Raw]


_decode_body = msgspec.json.Decoder(_Body).decode


class LinkedIn(Platform[LinkedInEvent]):
    """``POST /conversionEvents``, one event or a batch, and ``GET /conversions``."""

    name = "linkedin"
    routes = (
        route("POST", r"/conversionEvents", "events"),
        route("GET", r"/conversions", "rules", reads=True),
    )
    rate = Rate(600, 60.0)
    max_bytes = 4 * MIB
    max_age_s: ClassVar[float] = 90 * DAY
    _reader: ClassVar[Reader[LinkedInEvent]] = Reader(LinkedInEvent, overlook=False)

    def authorise(self, call: Call, match: re.Match[str]) -> str:
        if bearer(call) != TOKEN:
            raise Refused(self.failure(401, "Invalid access token"), "bad token")
        version = call.headers.get("LinkedIn-Version", "")
        if not version:
            body = {"status": 400, "code": "VERSION_MISSING", "message": "A version must be present."}
            raise Refused(json_reply(400, body), "no version")
        if not _VERSION.match(version) or version < _FIRST_VERSION:
            raise Refused(self.failure(426, f"Requested version {version[:6]}01 is not active"), "no such version")
        if call.headers.get("X-Restli-Protocol-Version") != "2.0.0":
            raise Refused(self.failure(400, "Invalid Rest.li protocol version"), "no protocol version")
        return TOKEN

    def open(self, call: Call, at: Route, match: re.Match[str]) -> Batch:
        if not is_json(call):
            raise Refused(self.failure(415, "Content-Type must be application/json"), "not application/json")
        version = call.headers["LinkedIn-Version"]
        many = call.headers.get("X-RestLi-Method")
        if many is None:
            return Batch(at.name, self.name, [Raw(call.body)], call.now, head=(version, True))
        if many.upper() != "BATCH_CREATE":
            raise Refused(self.failure(400, "Unknown Rest.li method"), "no such method")
        try:
            elements = _decode_body(call.body).elements
        except msgspec.DecodeError as error:
            raise Refused(self.failure(400, f"Malformed body: {error}"), "malformed body") from None
        if not 1 <= len(elements) <= _MAX_EVENTS:
            raise Refused(self.failure(400, f"elements must hold 1 to {_MAX_EVENTS} events"), "batch size")
        return Batch(at.name, self.name, elements, call.now, head=(version, False))

    def reader(self, batch: Batch) -> Reader[LinkedInEvent]:
        return self._reader

    def check(self, event: LinkedInEvent, batch: Batch) -> Problem | None:
        rule = _RULE.match(event.conversion)
        if rule is None:
            return Problem("Invalid Urn format. Invalid prefix.", "type", "conversion")
        if rule[1].endswith("0000"):
            return Problem("No ad accounts found", path="conversion", code=_NO_ACCOUNT)
        if not _MILLIS[0] <= event.conversion_happened_at < _MILLIS[1]:
            return Problem(_TIME, path="conversionHappenedAt")
        if problem := _wrong_user(event.user, batch.head[0]):
            return problem
        if rule[1].endswith("9999"):
            return Problem("Conversion's method should be CONVERSIONS_API", path="conversion")
        self._wonder(event)
        if time_problem(
            event.conversion_happened_at / 1000, batch.now,
            max_age_s=self.max_age_s, max_future_s=self.max_future_s, path="conversionHappenedAt",
        ):  # fmt: skip
            return Problem(_TIME, path="conversionHappenedAt")
        return None

    def _wonder(self, event: LinkedInEvent) -> None:
        """Count what LinkedIn takes and a careful client would not send."""
        if event.event_id is None:
            self.warn("no eventId")
        if event.conversion_value is not None and not _currency.match(event.conversion_value.currency_code):
            self.warn("currencyCode is no currency")
        for one in event.user.user_ids:
            if one.id_type.startswith("SHA256") and not _digest.match(one.id_value):
                self.warn(f"{one.id_type} is not hashed")
            if one.id_type == "PLAINTEXT_IP_ADDRESS" and not _is_v4(one.id_value):
                self.warn("PLAINTEXT_IP_ADDRESS is no IPv4 address")

    def key(self, event: LinkedInEvent, batch: Batch) -> object | None:
        return None

    def answer(self, batch: Batch, problems: Mapping[int, Problem], events: Sequence[LinkedInEvent | None]) -> Reply:
        alone = batch.head[1]
        if not problems:
            if alone:
                return Reply(201, b"", {})
            return json_reply(200, {"elements": [{"status": 201}] * len(batch.events)})
        if any(problem.code == _NO_ACCOUNT for problem in problems.values()):
            return self.failure(403, "No ad accounts found")
        lines = [_line(index, problem, alone=alone) for index, problem in problems.items() if problem.kind != "rule"]
        if lines:
            return self.failure(422, "".join(lines))
        reason = problems[min(problems)].reason
        places = [index for index, problem in problems.items() if problem.reason == reason]
        return self.failure(400, f"{reason}, indices {places} (0-indexed).")

    def read_back(self, call: Call, at: Route, match: re.Match[str]) -> Reply:
        if call.query.get("q") != "account" or not _ACCOUNT.match(call.query.get("account", "")):
            return self.failure(400, "Invalid query parameters")
        return json_reply(200, {"paging": {"start": 0, "count": 10, "links": []}, "elements": []})

    def failure(self, status: int, reason: str) -> Reply:
        body: dict[str, object] = {"status": status, "message": reason}
        if status == 401:
            body |= {"serviceErrorCode": 65600, "code": "INVALID_ACCESS_TOKEN"}
        elif status == 426:
            body |= {"code": "NONEXISTENT_VERSION"}
        return json_reply(status, body)

    def throttled(self, wait_s: float) -> Reply:
        body = {
            "status": 429,
            "serviceErrorCode": 101,
            "message": "Resource level throttle MINUTE limit for calls to this resource is reached.",
        }
        return json_reply(429, body)


_TIME = "Conversion time should be within 90 days and not exceed current time"


def _line(index: int, problem: Problem, *, alone: bool) -> str:
    """One line of a refusal for its form; of an event that was sent alone no place is told."""
    path = "/" + problem.path.replace(".", "/")
    words = (
        {
            "missing": "field is required but not found and has no default value",
            "unknown": "unrecognized field found but not allowed",
        }.get(problem.kind)
        or problem.reason.partition(": ")[2]
        or problem.reason
    )
    if problem.expected == "str":
        words = "value cannot be coerced to String"
    return f"{'' if alone else f'Index: {index}, '}ERROR :: {path} :: {words}\n"


def _wrong_user(user: _User, version: str) -> Problem | None:
    if version < _LEAD_VERSION:
        for index, one in enumerate(user.user_ids):
            if one.id_type == "GOOGLE_AID":
                return Problem('"GOOGLE_AID" is not an enum symbol', "type", f"user.userIds.{index}.idType")
    lead = user.lead is not None and version >= _LEAD_VERSION
    if not (user.user_ids or user.user_info is not None or user.external_ids or lead):
        return Problem("user: at least one identifier is required", "missing", "user.userIds")
    return None


def _is_v4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
