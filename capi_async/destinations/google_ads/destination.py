"""Google Ads conversions by the Data Manager API v1. Source: developers.google.com/data-manager/api, read 2026-11.

Undocumented there, and chosen here: bytes per request (4,000,000, a setting) and the greatest age. The API states none;
Google Ads keeps a click for 90 days, and finds people by e-mail or phone for 63 days. How far ahead of now an event may
lie is not published either. An answer of 200 says that the events have arrived: what was counted is known half an hour
to a day later, in numbers (``capi-async google-ads status REQUEST_ID``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from capi_async.destinations import refusals
from capi_async.destinations.google_ads import mapping
from capi_async.destinations.google_ads.answers import read
from capi_async.destinations.google_ads.followup import FOLLOWUP, read_status, status_request, told
from capi_async.destinations.google_ads.names import MAX_ACTIONS, Conversions, actions_of, customer_of
from capi_async.destinations.google_ads.wire import GoogleEvent, GooglePlace
from capi_async.destinations.platform import Platform
from capi_async.destinations.tables import LOOKED_UP
from capi_async.early import ready
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.followup import FollowUp, SentRequest, Told
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import (
    DAY,
    ENCODER,
    Credential,
    Limits,
    Refusal,
    Request,
    account_text,
    decode_head,
    encode_head,
    json_slices,
    require_text,
    setting_text,
)

#: Google Ads keeps a click's id for so long; people without one are found for ``limits.max_age_s``.
CLICK_AGE_S: Final = 90 * DAY


@ready
class GoogleHead(Struct, frozen=True, array_like=True):
    """What one request shares.

    Attributes:
        actions: The conversion actions that its events may refer to, by event name. Those are listed in the request
            that an event of it refers to.
    """

    customer_id: str
    login_customer_id: str | None
    project: str | None
    test: bool
    actions: tuple[tuple[str, str], ...]


class GoogleAds(Platform, frozen=True, kw_only=True):
    """Google Ads conversions, by the Data Manager API.

    Attributes:
        customer_id: Of the Google Ads account, with or without hyphens.
        access_token: OAuth token of the scope ``https://www.googleapis.com/auth/datamanager``. It lasts an hour, so
            give a callable: ``capi_async.credentials`` has one for a refresh token and one for a service account.
        conversions: Event name to the number of a conversion action, up to ten of them in one request. An event without
            one is skipped. Of type "Import from clicks" for conversions that no tag reports, or "Website" where the
            tag reports them, too.
        login_customer_id: The manager account whose user the token belongs to. Off: one live account was refused with
            it and accepted without.
        project: The Google Cloud project that is charged with quota (``x-goog-user-project``); needed with a person's
            token whose OAuth client lives in another project.
        merchant_id, feed_label, feed_language: The Merchant Center account and feed that product ids are of.
        store_id: Store that events of ``source="physical_store"`` happened in. Google takes store sales of accounts
            that it has admitted alone; without it they are sent as ``OTHER``.
        custom_variables: Key of ``Event.properties`` to the custom variable of the account that takes it.
    """

    type: ClassVar[str] = "google_ads"
    wire: ClassVar[str] = "google_ads/1"
    default_base_url: ClassVar[str] = "https://datamanager.googleapis.com/v1"
    limits: ClassVar[Limits] = Limits(
        max_batch_events=2_000,
        max_batch_bytes=4_000_000,
        # with the burst, below the documented 300 in any minute
        requests_per_s=4.0,
        burst=10.0,
        max_age_s=63 * DAY,
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email_google", "phone_e164", "first_name_google", "last_name_google", "zip_clear", "country_clear",
        "mobile_ad_id_clear", "ip", "user_agent",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = LOOKED_UP
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "customer_id": ("GOOGLE_ADS_CUSTOMER_ID",),
        "access_token": ("GOOGLE_ADS_ACCESS_TOKEN",),
        "conversions": ("GOOGLE_ADS_CONVERSIONS",),
        "login_customer_id": ("GOOGLE_ADS_LOGIN_CUSTOMER_ID",),
        "project": ("GOOGLE_ADS_PROJECT",),
    }
    account_setting: ClassVar[str] = "customer_id"
    account_digits: ClassVar[int] = 10
    dedup_key: ClassVar[str] = "transactionId"
    # without consent to the use of personal data an event of a known click is sent without that data
    consents: ClassVar[tuple[str, ...]] = ("ad_storage",)
    closed_schema: ClassVar[bool] = True
    of_the_account: ClassVar[frozenset[str]] = frozenset(
        {"destinationReferences", "destinations", "encoding", "validateOnly", "encryptionInfo"}
    )
    clicks: ClassVar[tuple[str, ...]] = ("gclid", "gbraid", "wbraid", "google_session")
    click_parameter: ClassVar[str] = "gclid"
    followup: ClassVar[FollowUp] = FOLLOWUP
    docs: ClassVar[str] = "developers.google.com/data-manager/api/devguides/events, read 2026-11"

    customer_id: str
    access_token: Credential
    conversions: Conversions
    login_customer_id: str | None = None
    project: str | None = None
    merchant_id: str | None = None
    feed_label: str | None = None
    feed_language: str | None = None
    store_id: str | None = None
    custom_variables: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        for setting in ("customer_id", "login_customer_id"):
            if isinstance(value := getattr(self, setting), str):
                force_setattr(self, setting, customer_of(value))
        super().__post_init__()
        account_text(self, "login_customer_id", digits=10)
        account_text(self, "merchant_id", digits=19)
        for setting in ("project", "feed_label", "feed_language", "store_id"):
            setting_text(self, setting)
        if not self.conversions or (isinstance(self.conversions, str) and not self.conversions.strip()):
            require_text(self, conversions=None)
        found = actions_of(self.conversions)
        if isinstance(found, str):
            raise ConfigError(f"{self.name}: conversions ({self.env['conversions'][0]}) {found}")
        force_setattr(self, "conversions", found)
        named = self.custom_variables
        if not isinstance(named, Mapping) or not all(
            isinstance(text, str) and text.strip() for pair in named.items() for text in pair
        ):
            raise ConfigError(f"{self.name}: custom_variables needs a property's key and a variable's name for each")

    def is_own(self, event: Event) -> bool:
        # whoever put a name into the table means it as it is
        return event.name in self.conversions

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if self.knows(event):
            return refusals.no_such_event()
        return event.name if event.name in self.conversions else _NO_ACTION

    @cached_property
    def heads(self) -> Mapping[tuple[str, bool], bytes]:
        """By a name of ``conversions`` and the test mode: the head, in groups of as many as a request may refer to."""
        names = sorted(self.conversions)
        found = {}
        for start in range(0, len(names), MAX_ACTIONS):
            group = tuple((name, self.conversions[name]) for name in names[start : start + MAX_ACTIONS])
            for test in (False, True):
                head = encode_head(GoogleHead(self.customer_id, self.login_customer_id, self.project, test, group))
                found.update(dict.fromkeys([(name, test) for name, _ in group], head))
        return found

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        name = self.usual_names.get(event.name, event.name)
        return self.heads.get((name, test)) or _NO_ACTION

    def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> GoogleEvent | Refusal:
        consent, click = event.consent, mapping.with_braids(event)
        identified = consent is None or consent.ad_user_data is not False
        if not identified and not (click.gclid or click.gbraid or click.wbraid):
            return _NO_CONSENT
        transaction = event.order_id or event.event_id
        if mapping.is_personal(transaction):
            return _PERSONAL_ID if event.order_id else replace(_PERSONAL_ID, field="event_id")
        if (consent is None or consent.ad_user_data is None) and mapping.in_eea(consent, ids):
            warnings.append(_UNSAID)
        in_store = self.store_id is not None and event.source == "physical_store"
        # without a value there is nothing that a currency could be of
        value = mapping.amount_of(event.value)
        return GoogleEvent(
            [name],
            transaction,
            mapping.timestamp(event.time),
            "IN_STORE" if in_store else mapping.SOURCES.get(event.source, "OTHER"),
            None if value is None else event.currency,
            value,
            mapping.consent_of(consent),
            mapping.click_of(click, ids.mobile_ad_id_clear if identified else None),
            mapping.device_of(event, ids, warnings, identified=identified),
            mapping.user_of(ids, warnings) if identified else None,
            mapping.cart_of(event, self._merchant, warnings, braid=bool(click.gbraid or click.wbraid)),
            mapping.variables_of(event.properties, self.custom_variables, warnings) if self.custom_variables else None,
            GooglePlace(self.store_id) if in_store else None,
        )

    @cached_property
    def _merchant(self) -> Mapping[str, str]:
        given = {
            "merchant_id": self.merchant_id,
            "merchant_feed_label": self.feed_label,
            "merchant_feed_language_code": self.feed_language,
        }
        return {key: value for key, value in given.items() if value is not None}

    def lacks(self, body: GoogleEvent, event: Event, warnings: list[str]) -> Refusal | None:
        if body.conversion_value is not None and body.currency is None:
            return _NO_CURRENCY
        if event.consent is not None and event.consent.ad_user_data is False and body.user_data is not None:
            return _DENIED_USER
        click = body.ad_identifiers
        if body.user_data is not None or (
            click is not None and (click.gclid or click.gbraid or click.wbraid or click.session_attributes)
        ):
            return None
        return _NOBODY

    def max_age_of(self, body: GoogleEvent, event: Event) -> float:
        if self.max_age_s:
            return self.max_age_s
        click = body.ad_identifiers
        known = click is not None and (click.gclid or click.gbraid or click.wbraid)
        return CLICK_AGE_S if known else self.limits.max_age_s

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        to = decode_head(head, GoogleHead)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
        if to.project is not None:
            headers["x-goog-user-project"] = to.project
        return Request(
            "POST", f"{self.base_url}/events:ingest", headers, json_slices(b'{"events":[', bodies, _end(to, bodies))
        )

    def classify(self, response: Response, count: int) -> list[Verdict]:
        return read(response, count)

    def is_followed(self, head: bytes) -> bool:
        return not decode_head(head, GoogleHead).test

    def followup_requests(self, token: str, sent: Sequence[SentRequest], since: float) -> Sequence[tuple[str, Request]]:
        return [(one.trace_id, status_request(self, token, one.trace_id)) for one in sent]

    def followup_told(self, name: str, response: Response) -> Sequence[Told]:
        return told(read_status(self.name, response), self.conversions)


def _end(to: GoogleHead, bodies: Sequence[bytes]) -> bytes:
    """What follows the events: the conversion actions that they refer to, and how digests are written."""
    operating = {"accountType": "GOOGLE_ADS", "accountId": to.customer_id}
    login = (
        {} if to.login_customer_id is None
        else {"loginAccount": {"accountType": "GOOGLE_ADS", "accountId": to.login_customer_id}}
    )  # fmt: skip
    # one that no event refers to could only spoil the request, for example by being of the wrong type
    destinations = [
        {"reference": name, "operatingAccount": operating, **login, "productDestinationId": action}
        for name, action in to.actions
        if _refer_to(name, bodies)
    ]
    rest: dict[str, object] = {"destinations": destinations, "encoding": "HEX"}
    if to.test:
        rest["validateOnly"] = True
    return b"]," + ENCODER.encode(rest)[1:]


def _refer_to(name: str, bodies: Sequence[bytes]) -> bool:
    start = _STARTS + ENCODER.encode([name])
    return any(body.startswith(start) for body in bodies)


#: How every event begins, up to the name of its conversion action; see :class:`GoogleEvent`.
_STARTS: Final = b'{"destinationReferences":'

_NO_ACTION: Final = refusals.no_such_event(
    "add the name to conversions on the destination", "no conversion action for this event here"
)
_NO_CONSENT: Final = Refusal("skipped", "consent.ad_user_data", "no consent: ad_user_data")
_DENIED_USER: Final = Refusal(
    "rejected", "extra.userData", "ad_user_data is denied, so no userData may be sent", "leave it out of Event.extra"
)
_NO_CURRENCY: Final = Refusal("rejected", "currency", "a value needs its currency", "set currency")
_PERSONAL_ID: Final = Refusal(
    "rejected", "order_id", "holds an e-mail address, and Google takes no personal data in a transaction id",
    "give the order's number",
)  # fmt: skip
_UNSAID: Final = (
    "consent.ad_user_data: not stated; the account's own settings decide whether Google counts events of people in the "
    "EEA, the UK and Switzerland"
)
_NOBODY: Final = refusals.nobody(
    "user.email", "user.phone", "click.gclid", "click.gbraid", "click.wbraid", "click.google_session",
    "first and last name with country and zip",
)  # fmt: skip
