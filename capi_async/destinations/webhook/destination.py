"""Any HTTP endpoint as a destination: one's own collector, a loader of a warehouse, n8n, Zapier.

No platform is behind it, so what it takes and answers is a setting. UNVERIFIED by nature, hence conservative: 10
requests a second, events of 30 days, and nothing is sent again when its answer never came unless ``resend="always"``,
for endpoints that know a second copy by its ``event_id``. Source: this project, read 2026-11.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec.structs import force_setattr, replace

from capi_async.destinations import refusals
from capi_async.destinations.raw import laid_over, lost_key
from capi_async.destinations.webhook.template import at_place, filled, odd_template
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Consent, Device, Event, User
from capi_async.event_names import meant, said_of
from capi_async.followup import FollowUp
from capi_async.outcome import ACCEPTED, UNREADABLE, Response, Verdict, ambiguous, by_status, is_page, rejected
from capi_async.pii.hashing import sha256_hex
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    SLICE_BYTES,
    Credential,
    Destination,
    Limits,
    MiB,
    Refusal,
    Request,
    Secret,
    Wire,
    is_loopback,
    web_address,
)

Framing: TypeAlias = Literal["array", "object", "lines"]
People: TypeAlias = Literal["hashed", "clear", "none"]

_HASHED: Final[Mapping[str, str]] = {
    "email": "email", "phone": "phone_e164", "external_id": "external_id", "first_name": "first_name_plain",
    "last_name": "last_name_plain", "city": "city_plain", "state": "state_plain", "zip": "zip_plain",
    "country": "country", "gender": "gender", "date_of_birth": "dob", "mobile_ad_id": "mobile_ad_id",
    "ip": "ip_hashed",
}  # fmt: skip
#: What the engine is given as a credential where there is none.
_UNSIGNED: Final = "no secret was given, so that requests are not signed"
#: Fields of the canonical event that name nobody; all others are sent only where identifiers are asked for in clear.
_OF_NOBODY: Final = (
    "event_id", "source", "value", "currency", "order_id", "items", "consent", "search_string", "num_items",
    "content_type", "content_name", "content_category", "description", "method", "predicted_ltv", "delivery_category",
    "subscription_id", "properties", "app", "device",
)  # fmt: skip
_LIVE: Final = b"{}"
_TEST: Final = b'{"test":true}'


class _Signing(Secret):
    """The secret under the name that its setting has, which is also that of the method that gives it."""

    __slots__ = ()

    def __call__(self) -> Secret:
        return self


class Webhook(Destination, frozen=True):
    """Sends events in their canonical form, or in one of a template.

    Attributes:
        url: Where they are posted: https, or http on this machine. It may hold a credential and is shown nowhere.
        secret: Signs each request: ``X-Capi-Signature: t=SECONDS,v1=HEX``, where HEX is the HMAC-SHA256 of
            ``SECONDS.BODY``. Receivers refuse old times, so that a recorded request cannot be sent again.
        framing: Of a request: ``array`` (one JSON array), ``object`` (one event in each), or ``lines`` (JSON Lines).
        identifiers_as: ``hashed`` (SHA-256, and neither user agent nor vendor id), ``clear``, or ``none``, which sends
            no click ids either.
        template: The event's own object: values are literal, or places of the canonical event such as ``"$.value"``,
            ``"$.user.email"``. What an event lacks is left out.
        results_path: The place in the answer of a list with one entry for each event, such as ``results``. ``None``:
            any 2xx that is no page means yes.
        ok_path: The place in an entry that tells whether the event was taken.
        ok_values: What stands there then.
        reason_path: The place in an entry of the reason why not.

    Raises:
        ConfigError: A setting is missing or wrong. The address is not repeated.
    """

    type: ClassVar[str] = "webhook"
    #: The setting that holds the credential.
    credential: ClassVar[str] = "secret"
    #: Where an endpoint may know a second copy by, in the canonical form.
    dedup_key: ClassVar[str] = "event_id"
    #: Whether it does is not known.
    resend_window_s: ClassVar[float] = 0.0
    wire: ClassVar[str] = "webhook/1"
    default_base_url: ClassVar[str] = "https://webhook.invalid"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=100, max_batch_bytes=MiB, requests_per_s=10.0, burst=5.0, max_age_s=30 * DAY
    )
    identifiers: ClassVar[tuple[str, ...]] = (*_HASHED.values(), "page_url", "page_referrer")
    standard_names: ClassVar[Mapping[str, str | None]] = {name: name for name in sorted(STANDARD_EVENTS)}
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "url": ("CAPI_WEBHOOK_URL",),
        "secret": ("CAPI_WEBHOOK_SECRET",),
    }
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing after its answer; what came of events is known where the endpoint leads"
    )
    docs: ClassVar[str] = "this project, read 2026-11"

    url: str
    secret: Credential | None = None  # type: ignore[assignment]
    framing: Framing = "array"
    identifiers_as: People = "hashed"
    template: Mapping[str, Any] | None = None
    results_path: str | None = None
    ok_path: str = "ok"
    ok_values: Sequence[Any] = (True,)
    reason_path: str = "error"

    def __post_init__(self) -> None:
        super().__post_init__()
        url = self.url.strip() if isinstance(self.url, str) else ""
        parts = web_address(url)
        if parts is None or not url.isprintable() or " " in url or "@" in parts.netloc or "#" in url:
            raise ConfigError(f"{self.name}: url needs an http(s) address (or CAPI_WEBHOOK_URL in the environment)")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ConfigError(f"{self.name}: url must be https, because requests carry personal data")
        force_setattr(self, "url", url)
        # what is asked whether the host can be reached; requests go to url
        origin = f"{parts.scheme}://{parts.netloc}"
        if self.base_url not in (origin, self.default_base_url):
            raise ConfigError(f"{self.name}: base_url is the beginning of url here: leave it out")
        force_setattr(self, "base_url", origin)
        self._sign()
        for setting, known in (("framing", get_args(Framing)), ("identifiers_as", get_args(People))):
            if getattr(self, setting) not in known:
                raise ConfigError(f"{self.name}: {setting} is one of {', '.join(known)}")
        if self.template is not None and (problem := odd_template(self.template, self._places())):
            raise ConfigError(f"{self.name}: template {problem}")
        for setting in ("results_path", "ok_path", "reason_path"):
            path: object = getattr(self, setting)
            if not isinstance(path, str) and not (path is None and setting == "results_path"):
                raise ConfigError(f"{self.name}: {setting} needs text, the keys on the way with points between them")
        values: object = self.ok_values
        if not isinstance(values, (list, tuple, set, frozenset)) or not values:
            raise ConfigError(f"{self.name}: ok_values needs a list of what stands at ok_path, such as ['ok']")

    def _places(self) -> dict[str, frozenset[str] | None]:
        """Keys of the canonical form to the keys below, where these are known."""
        clear = self.identifiers_as == "clear"
        below: dict[str, frozenset[str] | None] = dict.fromkeys(("name", "time", *_OF_NOBODY))
        if clear:
            below |= dict.fromkeys(set(Event.__struct_fields__) - {"extra", "to", "test"})
        if self.identifiers_as != "none":
            below["user"] = frozenset(User.__struct_fields__) if clear else frozenset(_HASHED)
            below["click"] = frozenset(ClickIds.__struct_fields__)
        below |= {"page": frozenset(("url", "referrer", "title")), "consent": frozenset(Consent.__struct_fields__)}
        below |= {"app": frozenset(App.__struct_fields__), "device": frozenset(Device.__struct_fields__)}
        return below

    def _sign(self) -> None:
        given: Any = self.secret
        if isinstance(given, _Signing):
            return
        problem = ""
        try:
            source = given._source if isinstance(given, Secret) else _UNSIGNED if given is None else given
            made = _Signing(source)
        except ConfigError as error:
            problem = str(error)
        del given
        if problem:
            raise ConfigError(f"{self.name}: secret: {problem}")
        force_setattr(self, "secret", made)

    def account(self) -> str:
        return self._account

    @cached_property
    def _account(self) -> str:
        # the path of such an address is often the credential itself
        return f"{self.type}#{sha256_hex(self.url)[:16]}"

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        if event.name in self.event_names and self.event_names[event.name] is None:
            return refusals.no_such_event()
        consent = event.consent
        for choice in ("ad_storage", "ad_user_data"):
            if consent is not None and getattr(consent, choice) is False:
                return Refusal("skipped", f"consent.{choice}", f"no consent: {choice}")
        body = self._canonical(event, ids)
        extra = self.extra_of(event)
        if self.template is not None:
            body = filled(self.template, body)
        elif extra and (refusal := lost_key(extra, self.dedup_key)):
            return refusal
        if extra:
            body = laid_over(body, extra)
        age_s = self.max_age_s or self.limits.max_age_s
        meant_name = None if self.knows(event) else meant(event.name)
        warnings = () if meant_name is None else (said_of(event.name, meant_name),)
        return Wire(body, self.head_of(event), event.time.timestamp() + age_s, warnings=warnings)

    def head_of(self, event: Event) -> bytes:
        return _TEST if event.test or self.test else _LIVE

    def _canonical(self, event: Event, ids: Identifiers) -> dict[str, Any]:
        # free values stay as they are: what JSON cannot say is found, and named, where the event is encoded
        free = {key: value for key, value in event.properties.items() if value is not None}
        whole: dict[str, Any] = msgspec.to_builtins(replace(event, properties={}, extra={}), builtin_types=(Decimal,))
        whole["properties"] = free
        made: dict[str, Any] = {
            "name": self.event_names.get(event.name) or event.name,
            # as it is, not as it was left out: a missing source means the website
            "source": event.source,
            **{key: whole[key] for key in _OF_NOBODY if key in whole},
            "time": event.time.isoformat(),
        }
        page = {"url": ids.page_url, "referrer": ids.page_referrer, "title": event.page.title}
        made["page"] = {key: text for key, text in page.items() if text}
        if self.identifiers_as == "clear":
            made = {**{key: value for key, value in whole.items() if key not in ("extra", "to", "test")}, **made}
        elif "app" in made:  # the ids of an install are those of a person
            made["app"] = {key: value for key, value in made["app"].items() if not key.endswith(("_id", "_referrer"))}
        if self.identifiers_as == "hashed":
            several = ids.several or {}
            found = {key: several.get(place) or getattr(ids, place) for key, place in _HASHED.items()}
            made["user"] = {key: digest for key, digest in found.items() if digest}
            made["click"] = whole.get("click")
        return {key: value for key, value in made.items() if value not in (None, {}, [], ())}

    def batch_limit(self, head: bytes) -> int:
        return 1 if self.framing == "object" else super().batch_limit(head)

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        kind = "application/x-ndjson" if self.framing == "lines" else "application/json"
        if self.framing == "array":
            body = b"[%b]" % b",".join(bodies)
        else:
            body = b"\n".join(bodies) + (b"\n" if self.framing == "lines" else b"")
        headers = {"Content-Type": kind}
        if head == _TEST:
            headers["X-Capi-Test"] = "true"
        if token != _UNSIGNED:
            at = int(time.time())  # of this attempt: a receiver refuses old ones
            mark = hmac.new(token.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
            headers["X-Capi-Signature"] = f"t={at},v1={mark}"
        pieces = tuple(body[at : at + SLICE_BYTES] for at in range(0, len(body), SLICE_BYTES))
        return Request("POST", self.url, headers, pieces)

    def classify(self, response: Response, count: int) -> list[Verdict]:
        status = response.status
        if not 200 <= status < 300:
            found = by_status(response, count)
            if status in (401, 403, 404) or 300 <= status < 400:
                return [replace(found[0], fix="check url and secret: it must lead to the endpoint itself")] * count
            return found
        if is_page(response.body):
            said = f"HTTP {status} with a page instead of an answer: is url that of the endpoint?"
            return [ambiguous(said, edge=True)] * count
        if self.results_path is None:
            return [ACCEPTED] * count
        try:
            results = at_place(msgspec.json.decode(response.body), self.results_path)
        except UNREADABLE:
            return [ambiguous(f"HTTP {status} with an unreadable body")] * count
        if not isinstance(results, list) or len(results) != count:
            told = f"{len(results)} results" if isinstance(results, list) else "no list of results"
            return [ambiguous(f"HTTP {status} with {told} for {count} events")] * count
        return [self._verdict(one) for one in results]

    def _verdict(self, result: Any) -> Verdict:
        said = at_place(result, self.ok_path)
        if any(type(said) is type(one) and said == one for one in self.ok_values):
            return ACCEPTED
        reason = at_place(result, self.reason_path)
        return rejected(reason if isinstance(reason, str) and reason else "the endpoint did not take it")
