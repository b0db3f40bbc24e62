"""CutMeShort's conversion API: leads and sales of short-link visitors. Source: docs.cutmeshort.com, the vendor's
SDKs (PyPI ``cutmeshort`` 1.0.1, and those for TypeScript, PHP, Go and Java), read 2026-11.

The vendor's sources contradict each other and nothing could be tried against the live service. Chosen here: the host
(``base_url``), amounts in minor units (``amount_unit``), any 2xx as success unless its body says ``false``, HTTP 409 on
a sale as a repeat of one already known, a sale without a click id as allowed, seven days as the greatest age.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cached_property
from typing import ClassVar, Final, Literal, cast

import msgspec

from capi_async.destinations import refusals
from capi_async.destinations.cutmeshort.answers import read
from capi_async.destinations.cutmeshort.names import MAYBE_SALES, STANDARD, VENDOR_NAMES, call_and_name
from capi_async.destinations.cutmeshort.wire import (
    HEADS,
    MAX_EMAIL,
    MAX_TEXT,
    CutMeShortHead,
    CutMeShortLead,
    CutMeShortSale,
)
from capi_async.destinations.platform import Platform
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, Event
from capi_async.followup import FollowUp
from capi_async.outcome import Response, Verdict
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.pii.reference import minor_units
from capi_async.spec import (
    DAY,
    Credential,
    KiB,
    Limits,
    Refusal,
    Request,
    account_text,
    decode_head,
    json_slices,
)


class CutMeShort(Platform, frozen=True, kw_only=True):
    """CutMeShort leads and sales. There is no test mode: test events are skipped.

    Attributes:
        token: API token or JWT from the account settings.
        account_id: Your own name for this account, such as ``eu``. Without it the token stands for the account: what
            waits in a spool is then not sent with another token, a renewed one included.
        amount_unit: ``minor`` sends USD 49.99 as 4999 (by ISO 4217: JPY 1500 as 1500, KWD 12.345 as 12345),
            ``major`` as 49.99. The vendor's sources disagree and the server cannot notice: send one known sale
            and look at the dashboard before going live. Decimals that the currency does not have are rounded half
            up, with a warning.
        send_profile: Send e-mail and name, which this platform takes in clear text. Off.
        event_names: The platform's names are free text; ``lead:NAME`` or ``sale:NAME`` says which call carries
            it. The prefix may be left out for the vendor's own names and for standard events that are one already.
        resend: ``always`` repeats leads too when their answer never came. Sales are repeated anyway, because
            ``invoiceId`` lets the platform recognise them.

    A deferred lead, which ties a click to a customer for later events without one, is a lead with
    ``cutmeshort=CutMeShortFields(mode="deferred")``; it needs a click id. The events of one customer leave one after
    the other, so that nothing overtakes it. The vendor may refuse events older than 24 hours, which only its answer
    tells.
    """

    type: ClassVar[str] = "cutmeshort"
    wire: ClassVar[str] = "cutmeshort/1"
    default_base_url: ClassVar[str] = "https://api.cme.sh"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=1,
        max_batch_bytes=64 * KiB,
        # 60 requests per minute are documented; with the burst this stays at 59 in any minute
        requests_per_s=0.9,
        burst=5.0,
        max_age_s=7 * DAY,
        max_attempts=4,
    )
    identifiers: ClassVar[tuple[str, ...]] = ("external_id_clear", "email_clear", "first_name_clear", "last_name_clear")
    own: ClassVar[str] = "cutmeshort"
    own_fields: ClassVar[Mapping[str, str]] = {
        "mode": "mode",
        "customer_avatar": "customerAvatar",
    }
    standard_names: ClassVar[Mapping[str, str | None]] = {
        name: STANDARD[name][1] if name in STANDARD else None for name in sorted(STANDARD_EVENTS)
    }
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "token": ("CMS_BEARER_TOKEN", "CUTMESHORT_API_KEY"),
        "account_id": ("CUTMESHORT_ACCOUNT",),
        "base_url": ("CUTMESHORT_BASE_URL",),
    }
    #: An account has no id of its own: see :meth:`account`.
    account_setting: ClassVar[str] = ""
    credential: ClassVar[str] = "token"
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "sale_opt_out")
    #: Of sales; of a lead nothing tells a second copy.
    dedup_key: ClassVar[str] = "invoiceId"
    closed_schema: ClassVar[bool] = True
    clicks: ClassVar[tuple[str, ...]] = ("cms_rf",)
    click_parameter: ClassVar[str] = "cms_rf"
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing after delivery; the dashboard shows clicks, leads and sales"
    )
    docs: ClassVar[str] = "docs.cutmeshort.com and PyPI cutmeshort 1.0.1, read 2026-11"

    token: Credential
    account_id: str | None = None
    amount_unit: Literal["minor", "major"] = "minor"
    send_profile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        account_text(self, "account_id")
        if self.amount_unit not in ("minor", "major"):
            raise ConfigError(f"{self.name}: amount_unit is 'minor' or 'major'")

    def odd_name(self, name: str, there: str) -> str:
        call, plain = call_and_name(there)
        if not plain.strip() or len(plain) > MAX_TEXT:
            return f"needs a name of 1 to {MAX_TEXT} characters"
        if call is None and name not in STANDARD:
            return "write 'lead:NAME' or 'sale:NAME' to say which call carries it"
        return ""

    def account(self) -> str:
        return self._account

    @cached_property
    def _account(self) -> str:
        """The user's own name of it, else the token's mark: nothing else tells accounts apart."""
        if self.account_id is not None:
            return f"{self.type}:{self.account_id}"
        return self._mark or self.type

    @cached_property
    def _mark(self) -> str:
        """What tells a fixed token from others and does not give it away; empty for a callable."""
        secret = self.secret()
        return f"{self.type}#{sha256_hex(secret.text())[:16]}" if secret.fixed else ""

    def owns(self, account: str) -> bool:
        # records of earlier versions, and those made before the account was given its name
        return account in (self._account, self._mark, self.type)

    @cached_property
    def usual_names(self) -> Mapping[str, str]:
        """The names of leads and of all sales that are sales whatever they cost, each with the call that carries it."""
        return {name: there for name, there in self._calls.items() if name not in MAYBE_SALES}

    @cached_property
    def _calls(self) -> Mapping[str, str]:
        """Event name to ``lead:NAME`` or ``sale:NAME``."""
        calls = {name: f"{call}:{there}" for name, (call, there) in STANDARD.items()}
        for name, there in self.event_names.items():
            if there is None:
                calls.pop(name, None)
                continue
            call, plain = call_and_name(there)
            calls[name] = f"{call or STANDARD[name][0]}:{plain}"
        return calls

    def is_own(self, event: Event) -> bool:
        return event.name in VENDOR_NAMES

    def named_apart(self, event: Event, warnings: list[str]) -> str | Refusal:
        # which call carries one of the vendor's names is for named() to say
        return self.named(event, warnings) if self.is_own(event) else super().named_apart(event, warnings)

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        there = self._calls.get(event.name)
        if there is None and not self.knows(event) and (call := VENDOR_NAMES.get(event.name)):
            there = f"{call}:{event.name}"
        if there is None:
            off = event.name in self.event_names
            return refusals.no_such_event(
                "" if off else f"map it if it is a lead or a sale: event_names={{{event.name!r}: 'lead:NAME'}}"
            )
        if there.startswith("sale:") and (event.value is None or not event.order_id):
            return refusals.no_such_event(
                "set both to send it as a sale", "no such event here without value and order_id"
            )
        return there

    def untestable(self) -> Refusal | None:
        return _NO_TEST_MODE

    def head(self, event: Event, test: bool) -> bytes:
        return HEADS["sale" if self._calls[event.name].startswith("sale:") else "lead"]

    def body(
        self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]
    ) -> CutMeShortLead | CutMeShortSale | Refusal:
        call, _, plain = name.partition(":")
        customer, click = ids.external_id_clear, event.click.cms_rf
        time = _utc_text(event.time)
        if time is None:
            return Refusal("rejected", "time", "lies outside the calendar in UTC", "check time and its offset")
        if refusal := _too_long("user.external_id", customer) or _too_long("click.cms_rf", click):
            return refusal
        made = (
            self._sale(event, plain, customer, time, warnings)
            if call == "sale"
            else CutMeShortLead(plain, customer, time, click)
        )
        if self.send_profile and not isinstance(made, Refusal):
            _add_profile(made, ids, warnings)
        return made

    def lacks(self, body: CutMeShortLead | CutMeShortSale, event: Event, warnings: list[str]) -> Refusal | None:
        if isinstance(body, CutMeShortSale):
            if body.invoiceId is None:
                return _NO_ORDER_ID
            if body.amount is None:
                return refusals.NO_CURRENCY if body.currency is None and event.value is not None else refusals.NO_VALUE
            if body.currency is None:
                return refusals.NO_CURRENCY
            if not self._is_amount(body.amount):
                return Refusal("rejected", "extra.amount", f"is no amount in {self.amount_unit} units", "remove it")
            if body.clickId is None:
                warnings.append("a sale without click id counts only if a deferred lead has named this customer")
        if body.customerExternalId is None:
            return _NOBODY
        if isinstance(body, CutMeShortLead) and body.mode is not None and body.clickId is None:
            return Refusal(
                "skipped", "click.cms_rf", "a deferred lead has no click id to store", "set click=ClickIds(cms_rf=...)"
            )
        if not _SAFE_NAME.match(body.eventName):
            warnings.append("the event name is longer than 100 characters or holds others than A-Z a-z 0-9 _ and -")
        return None

    def resend_for(self, body: CutMeShortLead | CutMeShortSale) -> float:
        return self.resend_window_s if isinstance(body, CutMeShortSale) else 0.0

    def order_key(self, body: CutMeShortLead | CutMeShortSale) -> str | None:
        return body.customerExternalId

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        return Request(
            "POST",
            f"{self.base_url}/track/{decode_head(head, CutMeShortHead).call}",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"},
            json_slices(b"", bodies, b""),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return [read(response)] * count

    def _sale(
        self, event: Event, name: str, customer: str | None, time: str, warnings: list[str]
    ) -> CutMeShortSale | Refusal:
        invoice, currency = event.order_id, event.currency
        if invoice is not None and not invoice.strip():
            invoice = None
        if refusal := _too_long("order_id", invoice):
            return refusal
        amount = self._amount(event, warnings)
        if isinstance(amount, Refusal):
            return amount
        return CutMeShortSale(name, customer, time, invoice, amount, currency, event.click.cms_rf)

    def _amount(self, event: Event, warnings: list[str]) -> int | Decimal | Refusal | None:
        """The event's value in the unit of this account; ``None`` if value or currency is missing."""
        value, currency = event.value, event.currency
        if value is None or currency is None:
            return None
        decimals = minor_units(currency)
        if decimals is None:
            return Refusal("rejected", "currency", "is no current ISO 4217 code", "set the currency that was paid in")
        exact = cast("Decimal", value)  # a made event holds Decimals
        rounded = exact.quantize(_STEPS[decimals], context=_ROUNDING)
        if rounded != exact:
            warnings.append("value has more decimals than its currency and was rounded half up")
        if self.amount_unit == "major":
            return rounded
        amount = int(rounded.scaleb(decimals, context=_ROUNDING))
        if amount > _MAX_EXACT:
            return Refusal("rejected", "value", "is too large to be written exactly in minor units", "check value")
        return amount

    def _is_amount(self, amount: int | Decimal) -> bool:
        """Whether an amount, which may have come through ``extra``, can be sent."""
        number = Decimal(amount)
        if not number.is_finite() or number < 0 or number > _MAX_EXACT:
            return False
        return self.amount_unit == "major" or number == number.to_integral_value()


_NO_TEST_MODE: Final = refusals.no_test_mode("CutMeShort")
_NO_ORDER_ID: Final = Refusal(
    "rejected", "order_id", "a sale needs its own number", "set order_id, the same on repeats"
)
_NOBODY: Final = refusals.nobody("user.external_id, plain: a digest means nothing", field="user.external_id")
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\Z")
_STEPS: Final = {decimals: Decimal(1).scaleb(-decimals) for decimals in range(5)}
#: Our own: the caller's thread may have set a precision too small for the largest amounts.
_ROUNDING: Final = Context(prec=60, rounding=ROUND_HALF_UP)
#: The largest whole number that every JSON reader keeps.
_MAX_EXACT: Final = 2**53


def _too_long(field: str, value: str | None) -> Refusal | None:
    if value is None or len(value) <= MAX_TEXT:
        return None
    return Refusal("rejected", field, f"is longer than {MAX_TEXT} characters", "shorten it")


def _utc_text(time: datetime) -> str | None:
    """``2026-01-02T03:04:05.678Z``, the only form that all of the vendor's SDKs take."""
    if time.tzinfo is not UTC:
        try:
            time = time.astimezone(UTC)
        except OverflowError:
            return None
    # several times as fast as isoformat(); gives six decimals, or none where they are zero
    text: str = msgspec.to_builtins(time)
    return f"{text[:23]}Z" if time.microsecond else f"{text[:19]}.000Z"


def _add_profile(body: CutMeShortLead | CutMeShortSale, ids: Identifiers, warnings: list[str]) -> None:
    """Lay in what the person is called; what is too long is left out rather than cut."""
    name = " ".join(part for part in (ids.first_name_clear, ids.last_name_clear) if part)
    if len(name) > MAX_TEXT:
        warnings.append("customerName is too long and was left out")
    elif name:
        body.customerName = name
    email = ids.email_clear
    if email is not None and len(email) > MAX_EMAIL:
        warnings.append("customerEmail is too long and was left out")
    else:
        body.customerEmail = email
