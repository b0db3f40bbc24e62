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

from capi_async.destinations.base import lost_key, with_good_clicks
from capi_async.destinations.cutmeshort.answer import read
from capi_async.destinations.cutmeshort.wire import (
    HEADS,
    MAX_EMAIL,
    MAX_TEXT,
    Call,
    CutMeShortHead,
    CutMeShortLead,
    CutMeShortSale,
)
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, Event
from capi_async.outcome import Response, Verdict
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.pii.reference import minor_units
from capi_async.plain import shown
from capi_async.spec import (
    DAY,
    HOUR,
    Credential,
    Destination,
    KiB,
    Limits,
    Refusal,
    Request,
    Secret,
    Wire,
    account_text,
    as_secret,
    decode_head,
    json_slices,
    merge_strict,
    no_consent,
)

#: Names in the vendor's examples; only those of our own standard events that are leads or sales are sent unasked.
VENDOR_NAMES: Final[Mapping[str, Call]] = {
    "signup_started": "lead",
    "onboarding_started": "lead",
    "lead_captured": "lead",
    "demo_booked": "lead",
    "info_requested": "lead",
    "email_verified": "lead",
    "kyc_completed": "lead",
    "purchase_completed": "sale",
    "checkout_completed": "sale",
    "subscription_created": "sale",
    "payment_captured": "sale",
    "order_paid": "sale",
}

_STANDARD: Final[Mapping[str, tuple[Call, str]]] = {
    "purchase": ("sale", "purchase_completed"),
    "lead": ("lead", "lead_captured"),
    # our name: the vendor's example speaks of a sign-up that was started
    "sign_up": ("lead", "signup_completed"),
    "subscribe": ("sale", "subscription_created"),
    "start_trial": ("sale", "subscription_created"),
    "contact": ("lead", "info_requested"),
}
#: Sales only if they cost something and have a number.
_MAYBE_SALES: Final = frozenset({"subscribe", "start_trial"})


class CutMeShort(Destination, frozen=True, kw_only=True):
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

    A deferred lead, which ties a click to a customer for later events without one, is a lead whose ``extra`` holds
    ``{"mode": "deferred"}``; it needs a click id. The events of one customer leave one after the other, so that
    nothing overtakes it. The vendor may refuse events older than 24 hours, which only its answer tells.
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
    standard_names: ClassVar[Mapping[str, str | None]] = {
        name: _STANDARD[name][1] if name in _STANDARD else None for name in sorted(STANDARD_EVENTS)
    }
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "token": ("CMS_BEARER_TOKEN", "CUTMESHORT_API_KEY"),
        "account_id": ("CUTMESHORT_ACCOUNT",),
        "base_url": ("CUTMESHORT_BASE_URL",),
    }
    docs: ClassVar[str] = "docs.cutmeshort.com and PyPI cutmeshort 1.0.1, read 2026-11"

    token: Credential
    account_id: str | None = None
    amount_unit: Literal["minor", "major"] = "minor"
    send_profile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        as_secret(self, "token")
        account_text(self, "account_id")
        if self.amount_unit not in ("minor", "major"):
            raise ConfigError(f"{self.name}: amount_unit is 'minor' or 'major'")
        for name, there in self.event_names.items():
            if there is not None:
                self._check_name(name, there)

    def secret(self) -> Secret:
        if not isinstance(self.token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: token is missing")
        return self.token

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

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        found = self._call_of(event)
        if not isinstance(found, tuple):
            return found
        call, name = found
        if event.test or self.test:
            return Refusal("skipped", "test", "CutMeShort has no test mode")
        if event.consent is not None and (refusal := no_consent(event, "ad_storage", "ad_user_data", "sale_opt_out")):
            return refusal
        event, notes = with_good_clicks(event, _CLICKS, "cms_rf")
        extra = self.extra_of(event) if event.extra else None
        customer, click = ids.external_id_clear, event.click.cms_rf
        if customer is None and not (extra and extra.get("customerExternalId")):
            return Refusal(
                "skipped",
                "user.external_id",
                "nobody to identify",
                "set user.external_id, plain: a digest means nothing",
            )
        if refusal := _too_long("user.external_id", customer) or _too_long("click.cms_rf", click):
            return refusal
        time = _utc_text(event.time)
        if time is None:
            return Refusal("rejected", "time", "lies outside the calendar in UTC", "check time and its offset")
        warnings: list[str] = list(notes)
        made = (
            self._sale(event, name, customer or "", time, warnings)
            if call == "sale"
            else CutMeShortLead(name, customer or "", time, click)
        )
        if not isinstance(made, (CutMeShortSale, CutMeShortLead)):
            return made
        if self.send_profile:
            _add_profile(made, ids, warnings)
        if extra:
            if call == "sale" and (refusal := lost_key(extra, "invoiceId")):
                return refusal
            merged = merge_strict(made, extra)
            if isinstance(merged, Refusal):
                return merged
            made = cast("CutMeShortLead | CutMeShortSale", merged)
            if isinstance(made, CutMeShortSale) and not self._is_amount(made.amount):
                return Refusal("rejected", "extra.amount", f"is no amount in {self.amount_unit} units", "remove it")
        if isinstance(made, CutMeShortSale):
            if made.clickId is None:
                warnings.append("a sale without click id counts only if a deferred lead has named this customer")
        elif made.mode is not None and made.clickId is None:
            return Refusal(
                "skipped", "click.cms_rf", "a deferred lead has no click id to store", "set click=ClickIds(cms_rf=...)"
            )
        if not _SAFE_NAME.match(made.eventName):
            warnings.append("the event name is longer than 100 characters or holds others than A-Z a-z 0-9 _ and -")
        return Wire(
            made,
            HEADS[call],
            event.time.timestamp() + (self.max_age_s or self.limits.max_age_s),
            48 * HOUR if call == "sale" else 0.0,
            made.customerExternalId,
            tuple(warnings),
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        return Request(
            "POST",
            f"{self.base_url}/track/{decode_head(head, CutMeShortHead).call}",
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"},
            json_slices(b"", bodies, b""),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return [read(response)] * count

    def _check_name(self, name: str, there: str) -> None:
        where = f"{self.name}: event_names[{shown(name)!r}]"
        if not isinstance(there, str):
            raise ConfigError(f"{where} needs text or None")
        call, plain = _call_and_name(there)
        if not plain.strip() or len(plain) > MAX_TEXT:
            raise ConfigError(f"{where} needs a name of 1 to {MAX_TEXT} characters")
        if call is None and name not in _STANDARD:
            raise ConfigError(f"{where}: write 'lead:NAME' or 'sale:NAME' to say which call carries it")

    def _call_of(self, event: Event) -> tuple[Call, str] | Refusal:
        """Which call carries the event, and under which name."""
        found = _STANDARD.get(event.name)
        if event.name in self.event_names:
            there = self.event_names[event.name]
            if there is None:
                return Refusal("skipped", "name", "no such event here")
            call, name = _call_and_name(there)
            found = (call or _STANDARD[event.name][0], name)
        if found is None:
            return Refusal(
                "skipped",
                "name",
                "no such event here",
                f"map it if it is a lead or a sale: event_names={{{event.name!r}: 'lead:NAME'}}",
            )
        if found[0] == "sale" and event.name in _MAYBE_SALES and (event.value is None or not event.order_id):
            return Refusal(
                "skipped", "name", "no such event here without value and order_id", "set both to send it as a sale"
            )
        return found

    def _sale(self, event: Event, name: str, customer: str, time: str, warnings: list[str]) -> CutMeShortSale | Refusal:
        invoice, value, currency = event.order_id, event.value, event.currency
        if invoice is None or not invoice.strip():
            return Refusal("rejected", "order_id", "a sale needs its own number", "set order_id, the same on repeats")
        if refusal := _too_long("order_id", invoice):
            return refusal
        if value is None or currency is None:
            field = "value" if value is None else "currency"
            return Refusal("rejected", field, "a sale needs value and currency", f"set {field}")
        decimals = minor_units(currency)
        if decimals is None:
            return Refusal("rejected", "currency", "is no current ISO 4217 code", "set the currency that was paid in")
        exact = cast("Decimal", value)  # a made event holds Decimals
        rounded = exact.quantize(_STEPS[decimals], context=_ROUNDING)
        if rounded != exact:
            warnings.append("value has more decimals than its currency and was rounded half up")
        amount: int | Decimal = rounded
        if self.amount_unit == "minor":
            amount = int(rounded.scaleb(decimals, context=_ROUNDING))
            if amount > _MAX_EXACT:
                return Refusal("rejected", "value", "is too large to be written exactly in minor units", "check value")
        return CutMeShortSale(name, customer, time, invoice, amount, currency, event.click.cms_rf)

    def _is_amount(self, amount: int | Decimal) -> bool:
        """Whether an amount that came through ``extra`` can be sent."""
        number = Decimal(amount)
        if not number.is_finite() or number < 0 or number > _MAX_EXACT:
            return False
        return self.amount_unit == "major" or number == number.to_integral_value()


_CLICKS: Final = ("cms_rf",)
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}\Z")
_STEPS: Final = {decimals: Decimal(1).scaleb(-decimals) for decimals in range(5)}
#: Our own: the caller's thread may have set a precision too small for the largest amounts.
_ROUNDING: Final = Context(prec=60, rounding=ROUND_HALF_UP)
#: The largest whole number that every JSON reader keeps.
_MAX_EXACT: Final = 2**53


def _call_and_name(there: str) -> tuple[Call | None, str]:
    """``lead:NAME`` and ``sale:NAME`` taken apart; a name of the vendor's tells its call itself."""
    if there.startswith("lead:"):
        return "lead", there[5:]
    if there.startswith("sale:"):
        return "sale", there[5:]
    return VENDOR_NAMES.get(there), there


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
