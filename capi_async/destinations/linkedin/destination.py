"""LinkedIn Conversions API. Source: learn.microsoft.com/linkedin/marketing, Conversions API and its schema of May 2026,
and public logs of requests by version 202601, read 2026-11.

UNVERIFIED there, and chosen here: bytes per request (4 MiB, a setting), how far ahead of now an event may lie, and
whether a second copy from a server is recognised: an attempt without an answer is not repeated (``resend="always"``
repeats it). 600 requests a minute and 500,000 a day are documented; 5 a second keep to both. There is no test mode.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import ClassVar, Final, cast
from urllib.parse import unquote

from msgspec.structs import force_setattr

from capi_async.destinations import refusals
from capi_async.destinations.linkedin.answers import read
from capi_async.destinations.linkedin.mapping import user_of, value_of
from capi_async.destinations.linkedin.names import URN, BrowserConversions, Conversions, no_rule, rules_of
from capi_async.destinations.linkedin.versions import (
    ANDROID,
    DEFAULT,
    OLDEST,
    is_version,
    near_its_end_from,
    words_on_its_end,
)
from capi_async.destinations.linkedin.wire import LinkedInEvent, LinkedInHead
from capi_async.destinations.platform import Platform
from capi_async.destinations.tables import LOOKED_UP
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.log import Log
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.plain import shown
from capi_async.spec import (
    DAY,
    ENCODER,
    Credential,
    Limits,
    MiB,
    Refusal,
    Request,
    account_text,
    decode_head,
    encode_head,
    json_slices,
    require_text,
)

logger: Final = Log(__name__)


class LinkedIn(Platform, frozen=True, kw_only=True):
    """LinkedIn Conversions API. There is no test mode: test events are skipped.

    Attributes:
        access_token: Made in Campaign Manager under Direct API, which does not end; or a callable for OAuth tokens of
            the scopes ``rw_conversions`` and ``r_ads``, which end after 60 days:
            ``capi_async.credentials.RefreshToken(..., token_url=LinkedIn.token_url)``.
        conversions: Event name to the number of a conversion rule, or its URN; a list where an event counts by several.
            An event without one is skipped. The rule's source is the Conversions API.
        account_id: Number of the ad account, by which ``doctor`` asks whether account and token fit. Without it the
            account is known by its rules: what waits in a spool is sent with whatever token, as long as ``conversions``
            keeps the rule of the lowest number.
        api_version: The month of LinkedIn's API, ``LinkedIn-Version``. Each ends after a year or more, and takes no
            event from then on: the log warns two months before.
        send_profile: Send names, country, and what ``Event.linkedin`` says of company and title, in clear. Off.
        browser_conversions: Event name to the number of the rule that the browser's Insight Tag reports, for
            :func:`~capi_async.browser.browser_snippet`. LinkedIn recognises two copies of one event by their
            ``event_id`` where a rule of each source counts it.
    """

    type: ClassVar[str] = "linkedin"
    wire: ClassVar[str] = "linkedin/1"
    default_base_url: ClassVar[str] = "https://api.linkedin.com/rest"
    #: Where OAuth tokens are renewed.
    token_url: ClassVar[str] = "https://www.linkedin.com/oauth/v2/accessToken"  # noqa: S105 - an address
    limits: ClassVar[Limits] = Limits(
        max_batch_events=5_000, max_batch_bytes=4 * MiB, requests_per_s=5.0, burst=10.0, max_age_s=90 * DAY
    )
    identifiers: ClassVar[tuple[str, ...]] = (
        "email", "external_id_clear", "first_name_clear", "last_name_clear", "country_clear", "mobile_ad_id_clear",
        "ip",
    )  # fmt: skip
    standard_names: ClassVar[Mapping[str, str | None]] = LOOKED_UP
    env: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "access_token": ("LINKEDIN_ACCESS_TOKEN",),
        "conversions": ("LINKEDIN_CONVERSIONS",),
        "account_id": ("LINKEDIN_ACCOUNT_ID",),
        "api_version": ("LINKEDIN_VERSION",),
        "browser_conversions": ("LINKEDIN_BROWSER_CONVERSIONS",),
    }
    #: A request names rules alone: see :meth:`account`.
    account_setting: ClassVar[str] = ""
    dedup_key: ClassVar[str] = "eventId"
    #: The payload has no switch for any of them.
    consents: ClassVar[tuple[str, ...]] = ("ad_storage", "ad_user_data", "ad_personalization", "sale_opt_out")
    resend_window_s: ClassVar[float] = 0.0
    closed_schema: ClassVar[bool] = True
    of_the_account: ClassVar[frozenset[str]] = frozenset({"conversion", "elements"})
    clicks: ClassVar[tuple[str, ...]] = ("li_fat_id",)
    click_parameter: ClassVar[str] = "li_fat_id"
    docs: ClassVar[str] = "learn.microsoft.com/linkedin/marketing/conversions, read 2026-11"

    access_token: Credential
    conversions: Conversions
    account_id: str | None = None
    api_version: str = DEFAULT
    send_profile: bool = False
    browser_conversions: BrowserConversions = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.account_id, str):
            # in addresses of the API the colons of its URN are written %3A
            force_setattr(self, "account_id", unquote(self.account_id.strip()).removeprefix(_ACCOUNT))
        account_text(self, "account_id", digits=19)
        if not self.conversions or (isinstance(self.conversions, str) and not self.conversions.strip()):
            require_text(self, conversions=None)
        for setting in ("conversions", "browser_conversions"):
            if getattr(self, setting):
                found = rules_of(getattr(self, setting))
                if isinstance(found, str):
                    raise ConfigError(f"{self.name}: {setting} ({self.env[setting][0]}) {found}")
                force_setattr(self, setting, found)
        for name, there in self.event_names.items():
            if there is not None and there not in self.conversions:
                raise ConfigError(f"{self.name}: event_names[{shown(name)!r}]: conversions has no such name")
        if isinstance(self.api_version, int) and not isinstance(self.api_version, bool):
            force_setattr(self, "api_version", str(self.api_version))
        version: object = self.api_version
        if not isinstance(version, str) or not is_version(version.strip()):
            raise ConfigError(f"{self.name}: api_version needs a month, such as {DEFAULT}")
        force_setattr(self, "api_version", version.strip())
        if self.api_version < OLDEST:
            raise ConfigError(f"{self.name}: api_version is older than {OLDEST}, which LinkedIn has ended")
        if not isinstance(self.send_profile, bool):
            raise ConfigError(f"{self.name}: send_profile needs True or False")
        if time.time() >= self._old_from:
            _say_once(self.name, words_on_its_end(self.api_version))

    def identifiers_of(self) -> tuple[str, ...]:
        usual = super().identifiers_of()
        return usual if self.send_profile else tuple(one for one in usual if one not in _PROFILE)

    def is_own(self, event: Event) -> bool:
        # whoever put a name into the table means it as it is
        return event.name in self.conversions

    def named(self, event: Event, warnings: list[str]) -> str | Refusal:
        if event.name in self.event_names or event.name == "refund":
            return refusals.no_such_event()
        return event.name if event.name in self.conversions else no_rule(event.name)

    @cached_property
    def usual_names(self) -> Mapping[str, str]:
        """Events that count by a rule; all others are asked for in :meth:`named`."""
        return {name: there for name, there in super().usual_names.items() if there in self.conversions}

    @cached_property
    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """``conversions``, as it is once it was checked."""
        return cast("Mapping[str, tuple[str, ...]]", self.conversions)

    @cached_property
    def _old_from(self) -> float:
        return near_its_end_from(self.api_version)

    def account(self) -> str:
        return self._account

    @cached_property
    def _account(self) -> str:
        """The ad account, or a rule of it: the token, which is exchanged every 60 days, is not asked."""
        return f"{self.type}:{self.account_id or min(self._numbers, key=int)}"

    @cached_property
    def _numbers(self) -> frozenset[str]:
        return frozenset(number for rules in self.rules.values() for number in rules)

    def owns(self, account: str) -> bool:
        # a rule is of one ad account, so that what counts by it can only be counted there
        return account == self._account or account.removeprefix(f"{self.type}:") in self._numbers

    @cached_property
    def heads(self) -> Mapping[str, bytes]:
        """By a name of ``conversions``."""
        return {name: encode_head(LinkedInHead(rules)) for name, rules in self.rules.items()}

    @cached_property
    def browser_names(self) -> Mapping[str, str]:
        """Event name to the number that the browser's tag is called with."""
        told = cast("Mapping[str, tuple[str, ...]]", self.browser_conversions)
        numbers = {name: rules[0] for name, rules in told.items()}
        renamed = {name: numbers[there] for name, there in self.event_names.items() if there in numbers}
        off = {name for name, there in self.event_names.items() if there is None}
        return {name: number for name, number in {**numbers, **renamed}.items() if name not in off}

    def untestable(self) -> Refusal | None:
        return _NO_TEST_MODE

    def head(self, event: Event, test: bool) -> bytes | Refusal:
        return self.heads.get(self.usual_names.get(event.name, event.name)) or no_rule(event.name)

    def batch_limit(self, head: bytes) -> int:
        # an event takes one place for each rule
        rules = len(decode_head(head, LinkedInHead).rules)
        return max(1, min(super().batch_limit(head), self.limits.max_batch_events // rules))

    def body(
        self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]
    ) -> LinkedInEvent | Refusal:
        millis = round(at * 1000)
        if not 10**12 <= millis < 10**13:
            return _NO_TIME
        if at >= self._old_from:
            warnings.append(f"api_version: {words_on_its_end(self.api_version)}")
        rules = self.rules[name]
        if len(rules) > 1:
            warnings.append(f"conversion: counts by {len(rules)} rules, and is sent once for each")
        return LinkedInEvent(
            URN + rules[0],
            millis,
            event.event_id,
            user_of(event, ids, warnings, profile=self.send_profile, version=self.api_version),
            value_of(event, warnings),
        )

    def lacks(self, body: LinkedInEvent, event: Event, warnings: list[str]) -> Refusal | None:
        user = body.user
        if user.user_info is not None or user.external_ids or (user.lead is not None and self.api_version >= ANDROID):
            return None
        if not user.user_ids:
            return _NOBODY
        if all(one.id_type.endswith("_IP_ADDRESS") for one in user.user_ids):
            warnings.append("user: ip is all that says whose it is; LinkedIn may not find the person")
        return None

    def account_check(self, token: str) -> Request | None:
        """The ad account's conversion rules, where its number is known."""
        if self.account_id is None:
            return None
        account = f"{_ACCOUNT}{self.account_id}".replace(":", "%3A")
        return Request("GET", f"{self.base_url}/conversions?q=account&account={account}", self._headers(token))

    def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
        first, *others = decode_head(head, LinkedInHead).rules
        start = _start(first)
        further = [_start(rule) + body[len(start) :] for rule in others for body in bodies]
        return Request(
            "POST",
            f"{self.base_url}/conversionEvents",
            {**self._headers(token), "X-RestLi-Method": "BATCH_CREATE"},
            json_slices(b'{"elements":[', [*bodies, *further] if further else bodies, b"]}"),
        )

    def _headers(self, token: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "LinkedIn-Version": self.api_version,
            "X-Restli-Protocol-Version": "2.0.0",
        }

    def classify(self, response: Response, count: int) -> list[Verdict]:
        rules = decode_head(response.head, LinkedInHead).rules if response.head else ()
        names = [name for name, others in self.rules.items() if others == rules]
        return read(response, count, rules=max(1, len(rules)), names=names, version=self.api_version)


def _start(rule: str) -> bytes:
    """How an event that counts by this rule begins; see :class:`LinkedInEvent`."""
    return b'{"conversion":' + ENCODER.encode(URN + rule)


@lru_cache(maxsize=256)
def _say_once(name: str, words: str) -> None:
    """In a process once: destinations are made anew with every configuration that is read."""
    logger.warning("%s: %s", name, words, extra={"destination": name})


_PROFILE: Final = frozenset({"first_name_clear", "last_name_clear", "country_clear"})
_ACCOUNT: Final = "urn:li:sponsoredAccount:"
_NO_TEST_MODE: Final = refusals.no_test_mode("LinkedIn")
_NO_TIME: Final = Refusal("rejected", "time", "LinkedIn takes milliseconds of 13 digits: 2001 to 2286", "check time")
_NOBODY: Final = refusals.nobody(
    "user.email", "click.li_fat_id", "user.external_id", "user.ip (IPv4)", "linkedin.lead", "linkedin.acxiom_id",
    "user.first_name with user.last_name and send_profile=True on the destination",
)  # fmt: skip
