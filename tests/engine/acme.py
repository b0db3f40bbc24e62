"""An invented platform, small enough to see through: what the engine does is judged by what it is told and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from capi_async import Event, User
from capi_async.outcome import (
    ACCEPTED,
    UNREADABLE,
    Response,
    Verdict,
    ambiguous,
    by_status,
    rejected,
    retry,
    split,
    unauthorized,
)
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    HOUR,
    Credential,
    Destination,
    Limits,
    MiB,
    Refusal,
    Request,
    Secret,
    Wire,
    as_secret,
    encode_head,
    json_slices,
)


class AcmeHead(Struct, frozen=True):
    account: str
    channel: str
    test: bool = False


class AcmeEvent(Struct, omit_defaults=True):
    id: str
    name: str
    time: int
    em: Sequence[str] | None = None
    facts: Mapping[str, Any] = {}


class AcmeError(Struct):
    index: int
    message: str = ""
    again_s: float | None = None


class AcmeAnswer(Struct):
    """``ok`` covers all that ``errors`` does not name; ``refused`` is the whole request."""

    ok: bool
    errors: list[AcmeError] = []
    refused: str = ""
    slow_down_s: float | None = None
    trace: str = ""


class Acme(Destination, frozen=True, kw_only=True):
    """Acme's conversions API.

    Attributes:
        resend_for_s: How long Acme recognises an event that comes again.
        ordered: Events of one person go one after the other.
        clumsy: Name of an event on which ``to_wire`` raises.
        probe: Whether Acme's refusal of the account may go away by itself.
    """

    brief: ClassVar[bool] = True
    type: ClassVar[str] = "acme"
    wire: ClassVar[str] = "acme/1"
    default_base_url: ClassVar[str] = "https://capi.acme.example"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000, max_batch_bytes=MiB, requests_per_s=10_000.0, burst=10_000.0, request_timeout_s=10.0
    )
    identifiers: ClassVar[tuple[str, ...]] = ("email", "phone_e164", "first_name_clear")
    standard_names: ClassVar[Mapping[str, str | None]] = {"purchase": "BUY", "lead": "LEAD", "login": None}
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {"account_id": ("ACME_ACCOUNT",), "access_token": ("ACME_TOKEN",)}
    docs: ClassVar[str] = "invented"

    account_id: str = "acme-1"
    access_token: Credential = Secret("acme-token")
    resend_for_s: float = 48 * HOUR
    ordered: bool = False
    clumsy: str = ""
    probe: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        as_secret(self, "access_token")

    def secret(self) -> Secret:
        return self.access_token  # type: ignore[return-value]  # wrapped in __post_init__

    def account(self) -> str:
        return self.account_id

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        if event.name == self.clumsy:
            raise RuntimeError(f"stumbled over {event.user.email}")
        name = self.name_of(event) if self.knows(event) else event.name
        if name is None:
            return Refusal("skipped", "name", "Acme has no such event")
        if not event.name.isascii():
            return Refusal("rejected", "name", "Acme reads ASCII names only", "rename it")
        at = event.time.timestamp()
        return Wire(
            AcmeEvent(event.event_id, name, int(at), ids.email, event.properties),
            encode_head(AcmeHead(self.account_id, event.source, event.test or self.test)),
            at + (self.max_age_s or self.limits.max_age_s),
            self.resend_for_s,
            (ids.email or ("",))[0] if self.ordered else None,
            ("facts: passed as they are",) if event.properties else (),
        )

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        if token == "unspeakable":
            raise RuntimeError("cannot say it")
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        url = f"{self.base_url}/{self.account_id}/events?key={token}"
        return Request("POST", url, headers, json_slices(b'{"head":' + head + b',"events":[', bodies, b"]}"))

    def classify(self, response: Response, count: int) -> list[Verdict]:
        if response.status == 418:
            raise RuntimeError("cannot read tea leaves")
        if response.status not in (200, 400):
            verdicts = by_status(response, count)
            if verdicts[0].kind == "unauthorized":
                return [unauthorized(verdicts[0].reason, probe=self.probe)] * count
            return verdicts
        try:
            answer = msgspec.json.decode(response.body, type=AcmeAnswer)
        except UNREADABLE:
            return by_status(response, count)
        if answer.slow_down_s is not None:
            return [retry("slow down", after_s=answer.slow_down_s, throttled=True)] * count
        if answer.refused:
            return [split(answer.refused, trace_id=answer.trace)] * count
        accepted = Verdict(kind="accepted", trace_id=answer.trace) if answer.trace else ACCEPTED
        named = {error.index: error for error in answer.errors}
        if not answer.ok and not named:
            return [ambiguous("neither ok nor refused")] * count
        return [_said(named[index]) if index in named else accepted for index in range(count)]


def _said(error: AcmeError) -> Verdict:
    if error.again_s is not None:
        return retry(error.message, after_s=error.again_s)
    return rejected(error.message, field="id", fix="send another")


EMAIL = "ada.lovelace@mail.example"


def event(number: int = 1, name: str = "purchase", **fields: Any) -> Event:
    """A plain event; ``number`` becomes its id."""
    fields.setdefault("user", User(email=EMAIL))
    return Event(name, event_id=f"e{number}", **fields)


def events(count: int, **fields: Any) -> list[Event]:
    """``e1`` to ``e<count>``."""
    return [event(number, **fields) for number in range(1, count + 1)]


DAY_S = DAY
