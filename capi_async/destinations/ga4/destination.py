"""Google Analytics 4, by its Measurement Protocol. Source: developers.google.com/analytics (Measurement Protocol:
reference, sending and validating events, user-provided data; recommended events) and Google's help pages on limits,
read 2026-11.

The server answers 2xx to anything, so that every rule is checked here. UNVERIFIED, and what is done: symbols in names
and places leave, accents and inner blanks stay, a tag before ``@gmail.com`` is cut as for Google Ads; a second copy of
a web stream's ``purchase`` is taken to be recognised for 48 hours by its transaction id (no window is published), and
nothing else is sent again when its answer never came, unless ``resend="always"``. Google documents 100,000,000 requests
an hour and property, of those without a key event that Google Ads imports; 50 a second are sent (``requests_per_s``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import quote

from msgspec.structs import force_setattr

from capi_async.destinations import refusals
from capi_async.destinations.base import quoted
from capi_async.destinations.ga4.answers import read
from capi_async.destinations.ga4.mapping import (
    MAX_TEXT,
    MAX_TEXT_360,
    MAX_USER_ID,
    client_of,
    consent_of,
    device_of,
    location_of,
    odd_params,
    odd_properties,
    params_of,
    plain_facts,
    properties_of,
    user_data_of,
)
from capi_async.destinations.ga4.names import MAX_PROPERTIES, STANDARD, odd_event, odd_property
from capi_async.destinations.ga4.streams import odd_firebase_app_id, odd_measurement_id
from capi_async.destinations.ga4.wire import TEST, GA4Event, GA4Head
from capi_async.destinations.platform import Platform
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.followup import FollowUp
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.plain import shown
from capi_async.spec import ENCODER, HOUR, Credential, Limits, Refusal, Request, Wire, account_text, json_slices

_IDENTIFIERS: Final = (
    "email_google", "phone_e164", "external_id_clear", "first_name_letters", "last_name_letters", "city_letters",
    "state_letters", "zip_google", "country_clear", "ip", "user_agent", "page_url", "page_referrer",
)  # fmt: skip


class GA4(Platform, frozen=True, kw_only=True):
    """A data stream of Google Analytics 4: of the web, or of an app.

    Attributes:
        measurement_id: Of a web stream, such as ``G-ABC123DEF4``. Events need ``click=ClickIds(ga_client_id=...)``.
        firebase_app_id: Of an app's stream, instead. Events need ``app=App(firebase_instance_id=...)``.
        api_secret: Made in the stream's settings. It stands in the address of requests. That it is wrong shows
            nowhere but in the property's Realtime report.
        eu: Collect in the European Union.
        analytics_360: The property takes texts of 500 characters, not 100.
        user_properties: Key of ``Event.properties`` to the user property that takes it (``{"tier": "customer_tier"}``),
            at most 25; such a fact is said of the visitor, and not of the event as well.
        user_location: Send city, region (where ``state`` is an ISO 3166-2 code) and country in clear, for reports by
            place. Google derives them from the address otherwise.
        test: Events go to the validation endpoint, which records nothing and names what it would refuse. It checks
            neither the ids nor the secret.

    ``user.external_id`` is sent as the ``user_id``, in clear, because it must equal the tag's. An event whose
    ``ad_storage`` or ``ad_user_data`` was denied is sent only if ``analytics_storage`` was granted, without anything
    that the person gave, and Google is told of the denial.

    Raises:
        ConfigError: Not exactly one of the two ids is given, or the secret is missing.
    """

    type: ClassVar[str] = "ga4"
    wire: ClassVar[str] = "ga4/1"
    default_base_url: ClassVar[str] = "https://www.google-analytics.com"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=25,
        max_batch_bytes=130_000,
        requests_per_s=50.0,
        burst=10.0,
        max_age_s=72 * HOUR,
        max_attempts=4,
    )
    identifiers: ClassVar[tuple[str, ...]] = _IDENTIFIERS
    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "measurement_id": ("GA4_MEASUREMENT_ID",),
        "firebase_app_id": ("GA4_FIREBASE_APP_ID",),
        "api_secret": ("GA4_API_SECRET",),
    }
    #: One of two, see :meth:`account`.
    account_setting: ClassVar[str] = ""
    credential: ClassVar[str] = "api_secret"
    consents: ClassVar[tuple[str, ...]] = ("analytics_storage",)
    dedup_key: ClassVar[str] = "params.transaction_id"
    closed_schema: ClassVar[bool] = True
    properties_at: ClassVar[str | None] = "params"
    clicks: ClassVar[tuple[str, ...]] = ("ga_client_id", "ga_session_id")
    of_the_account: ClassVar[frozenset[str]] = frozenset(GA4Head.__struct_fields__) | {"events"}
    followup: ClassVar[FollowUp] = FollowUp(
        tells="tells nothing after delivery, and answers yes to anything; see Realtime in Google Analytics"
    )
    docs: ClassVar[str] = "developers.google.com/analytics/devguides/collection/protocol/ga4, read 2026-11"

    measurement_id: str | None = None
    firebase_app_id: str | None = None
    api_secret: Credential
    eu: bool = False
    analytics_360: bool = False
    user_properties: Mapping[str, str] = {}
    user_location: bool = False

    def __post_init__(self) -> None:
        if self.eu and self.base_url in ("", self.default_base_url):
            force_setattr(self, "base_url", _EU)
        super().__post_init__()
        account_text(self, "measurement_id")
        account_text(self, "firebase_app_id")
        if (self.measurement_id is None) is (self.firebase_app_id is None):
            raise ConfigError(
                f"{self.name}: give exactly one of measurement_id (of a web stream, GA4_MEASUREMENT_ID) and "
                "firebase_app_id (of an app's, GA4_FIREBASE_APP_ID)"
            )
        if self.measurement_id is not None:
            force_setattr(self, "measurement_id", self.measurement_id.upper())
            problem = odd_measurement_id(self.measurement_id)
        else:
            problem = odd_firebase_app_id(self.account())
        if problem:
            raise ConfigError(f"{self.name}: {'firebase_app_id' if self._app else 'measurement_id'} {problem}")
        named: object = self.user_properties
        if not isinstance(named, Mapping) or not all(isinstance(text, str) for pair in named.items() for text in pair):
            raise ConfigError(
                f"{self.name}: user_properties needs a property's key and a user property's name for each"
            )
        if len(set(named.values())) < len(named) or len(named) > MAX_PROPERTIES:
            raise ConfigError(f"{self.name}: user_properties takes at most {MAX_PROPERTIES} names, each once")
        for there in named.values():
            if said := odd_property(there):
                raise ConfigError(f"{self.name}: user_properties: {shown(there)!r}: {said}")

    def identifiers_of(self) -> tuple[str, ...]:
        return (*_IDENTIFIERS, "city_trimmed", "state_clear") if self.user_location else _IDENTIFIERS

    def odd_name(self, name: str, there: str) -> str:
        return odd_event(there, app=self._app)

    def account(self) -> str:
        return self.measurement_id or self.firebase_app_id or ""

    @cached_property
    def _app(self) -> bool:
        return self.firebase_app_id is not None

    @cached_property
    def _longest(self) -> int:
        return MAX_TEXT_360 if self.analytics_360 else MAX_TEXT

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if self.knows(event):
            off = event.name in self.event_names or event.name != "app_install"
            return refusals.no_such_event(
                "" if off else "the app's SDK sends it; map it to a name of your own if need be"
            )
        if problem := odd_event(event.name, app=self._app):
            return Refusal("rejected", "name", problem, "map it to another: event_names={'name': 'name_there'}")
        return event.name

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        consent = event.consent
        if consent is not None and consent.analytics_storage is not True:
            for choice in ("ad_storage", "ad_user_data"):
                if getattr(consent, choice) is False:
                    return Refusal(
                        "skipped", f"consent.{choice}", f"no consent: {choice}",
                        "set analytics_storage=True if the person agreed to analytics",
                    )  # fmt: skip
        return self._head(event, Identifiers(), test)

    def _head(self, event: Event, ids: Identifiers, test: bool) -> bytes:
        consent = consent_of(event.consent)
        denied = consent is not None and consent.ad_user_data == "DENIED"
        user = ids.external_id_clear
        return ENCODER.encode(
            GA4Head(
                "ENFORCE_RECOMMENDATIONS" if test else None,
                None if self._app else client_of(event),
                event.app.firebase_instance_id if self._app and event.app else None,
                user if user and not _odd_user(user) else None,
                consent,
                None if denied else user_data_of(ids),
                properties_of(event.properties, self.user_properties) if self.user_properties else None,
                location_of(ids) if self.user_location and not denied else None,
                device_of(event.device),
                ids.ip,
                ids.user_agent,
            )
        )

    @cached_property
    def way(self) -> Callable[[Event, Identifiers], Wire | Refusal]:
        """The common one, and then the head: it holds what the person gave, which only the identifiers tell."""
        common = super().way

        def to_wire(event: Event, ids: Identifiers) -> Wire | Refusal:
            made = common(event, ids)
            if isinstance(made, Wire):
                made.head = self._head(event, ids, event.test or self.test)
            return made

        return to_wire

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> GA4Event | Refusal:
        if event.value is not None and event.currency is None:
            return Refusal(
                "rejected", "currency", "Google Analytics takes a value only with its currency", "set currency"
            )
        if ids.external_id_clear and (problem := _odd_user(ids.external_id_clear)):
            warnings.append(f"user.external_id: {problem} and was left out")
        return GA4Event(name, round(at * 1_000_000), params_of(name, event, ids, warnings, self._longest))

    def lay_properties(self, body: dict[str, Any], event: Event, warnings: list[str]) -> Refusal | None:
        facts = {key: value for key, value in event.properties.items() if key not in self.user_properties}
        made = body["params"]
        if facts.get("engagement_time_msec") is not None:  # ours is only there because one is needed beside a session
            made = {key: value for key, value in made.items() if key != "engagement_time_msec"}
        warnings += [
            f"properties.{key}: the event says this itself; left out"
            for key, value in made.items()
            if facts.get(key, value) not in (value, None)
        ]
        body["params"] = {**plain_facts(facts, warnings), **made}
        return None

    def lacks(self, body: GA4Event, event: Event, warnings: list[str]) -> Refusal | None:
        params = body.params
        if problem := odd_event(body.name, app=self._app):
            return Refusal("rejected", "extra.name", problem, "leave it out")
        if body.name in ("purchase", "refund") and not params.get("transaction_id"):
            return Refusal("rejected", "order_id", f"a {body.name} needs its transaction id", "set order_id")
        if body.name == "purchase" and "value" not in params:
            return refusals.NO_VALUE
        if "value" in params and "currency" not in params:
            return refusals.NO_CURRENCY
        if body.name == "refund" and "value" not in params:
            warnings.append("value: a refund without one may be counted as nothing")
        if refusal := odd_params(params, event, self._longest) or odd_properties(
            event.properties, self.user_properties
        ):
            return refusal
        if self._app:
            return None if event.app and event.app.firebase_instance_id else _NO_INSTANCE
        return None if client_of(event) else _NO_CLIENT

    def resend_for(self, body: GA4Event) -> float:
        return self.resend_window_s if body.name == "purchase" and not self._app else 0.0

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        path = "/debug/mp/collect" if head.startswith(TEST) else "/mp/collect"
        setting = "firebase_app_id" if self._app else "measurement_id"
        # the colons of a Firebase id must arrive as they are
        query = f"{setting}={quote(self.account(), safe=':')}&api_secret={quoted(token)}"
        return Request(
            "POST",
            f"{self.base_url}{path}?{query}",
            {"Content-Type": "application/json"},
            json_slices(head[:-1] + b',"events":[', bodies, b"]}"),
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return read(response, count)


_EU: Final = "https://region1.google-analytics.com"
_NO_CLIENT: Final = refusals.nobody(
    "click.ga_client_id, the two numbers of the cookie _ga",
    field="user",
    reason="no client id: Google Analytics needs it",
)
_NO_INSTANCE: Final = refusals.nobody(
    "app.firebase_instance_id", field="user", reason="no app instance id: Google Analytics needs it"
)


def _odd_user(text: str) -> str:
    """Why an external id is no ``user_id``; empty: it is one."""
    if "@" in text:
        return "looks like an e-mail address, which Google Analytics forbids,"
    return f"is longer than {MAX_USER_ID} characters" if len(text) > MAX_USER_ID else ""
