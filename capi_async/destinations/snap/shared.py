"""What both versions of Snap's API share: the account, names, sources, refusals and the reading of failures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final, cast

import msgspec
from msgspec import Struct

from capi_async.destinations.base import BAD_PAGE, is_web
from capi_async.errors import ConfigError
from capi_async.event import Event
from capi_async.outcome import Response, Verdict, by_edge, by_status, split, unauthorized
from capi_async.plain import shown
from capi_async.spec import (
    ENCODER,
    Credential,
    Destination,
    Refusal,
    Secret,
    account_text,
    as_secret,
    encode_head,
    no_consent,
    require_text,
    setting_text,
)

#: The whole list of Snap's own server-side tag template; other names are not known to be taken.
EVENT_NAMES: Final = frozenset(
    {
        "PAGE_VIEW", "VIEW_CONTENT", "LIST_VIEW", "SEARCH", "SAVE", "ADD_CART", "ADD_TO_WISHLIST",
        "START_CHECKOUT", "ADD_BILLING", "PURCHASE", "SIGN_UP", "LOGIN", "SUBSCRIBE", "START_TRIAL", "RESERVE",
        "SHARE", "INVITE", "RATE", "AD_CLICK", "AD_VIEW", "COMPLETE_TUTORIAL", "LEVEL_COMPLETE",
        "ACHIEVEMENT_UNLOCKED", "SPENT_CREDITS", "APP_INSTALL", "APP_OPEN",
        *(f"CUSTOM_EVENT_{slot}" for slot in range(1, 6)),
    }
)  # fmt: skip

STANDARD_NAMES: Final[Mapping[str, str | None]] = {
    "page_view": "PAGE_VIEW",
    "view_content": "VIEW_CONTENT",
    "search": "SEARCH",
    "add_to_cart": "ADD_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "initiate_checkout": "START_CHECKOUT",
    "add_payment_info": "ADD_BILLING",
    "purchase": "PURCHASE",
    "refund": None,
    # Snap has no lead: its own tag template sends it as a sign-up
    "lead": "SIGN_UP",
    "sign_up": "SIGN_UP",
    "subscribe": "SUBSCRIBE",
    "start_trial": "START_TRIAL",
    "login": "LOGIN",
    "contact": None,
    "download": None,
    "app_install": "APP_INSTALL",
    "app_open": "APP_OPEN",
}

#: Snap knows three sources; everything that is neither web nor app is offline.
ACTION_SOURCES: Final[Mapping[str, str]] = {
    "website": "WEB",
    "app": "MOBILE_APP",
    "offline": "OFFLINE",
    "physical_store": "OFFLINE",
    "phone_call": "OFFLINE",
    "email": "OFFLINE",
    "chat": "OFFLINE",
    "system_generated": "OFFLINE",
    "crm": "OFFLINE",
    "business_messaging": "OFFLINE",
    "other": "OFFLINE",
}

#: Click ids that Snap takes.
CLICKS: Final = ("sc_click_id", "sc_cookie1")

NO_ASSET: Final = Refusal("skipped", "source", "app events need a Snap App ID", "set snap_app_id on the destination")
NO_APP_ID: Final = Refusal("rejected", "app.id", "app events need the app's store id or package", "set app=App(id=...)")
NO_PAGE: Final = Refusal("rejected", "page.url", "website events need the page's address", "set page=Page(url=...)")
NO_VALUE: Final = Refusal("rejected", "value", "a purchase needs value and currency", "set value")
NO_CURRENCY: Final = Refusal("rejected", "currency", "a purchase needs value and currency", "set currency")
NOBODY: Final = Refusal(
    "skipped",
    "user",
    "nobody to identify",
    "set user.email, user.phone, user.ip with user.user_agent, or user.mobile_ad_id on app events",
)


class SnapAccount(Destination, frozen=True, kw_only=True):
    """One account at Snap, whatever the version.

    Raises:
        ConfigError: A setting is missing, blank or not text, or ``event_names`` holds a name that Snap lacks.
    """

    standard_names: ClassVar[Mapping[str, str | None]] = STANDARD_NAMES

    pixel_id: str
    access_token: Credential
    snap_app_id: str | None = None
    partner: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixel_id is None:
            require_text(self, pixel_id=None)
        account_text(self, "pixel_id")
        account_text(self, "snap_app_id")
        setting_text(self, "partner")
        as_secret(self, "access_token")
        for name, there in self.event_names.items():
            if there is not None and there not in EVENT_NAMES:
                raise ConfigError(
                    f"{self.name}: event_names[{shown(name)!r}]: {shown(there)!r} is no event of Snap's; "
                    "use a standard name or CUSTOM_EVENT_1 to CUSTOM_EVENT_5"
                )

    def secret(self) -> Secret:
        if not isinstance(self.access_token, Secret):  # __post_init__ wrapped it
            raise ConfigError(f"{self.name}: access_token is missing")
        return self.access_token

    def account(self) -> str:
        return self.pixel_id

    def admit(self, event: Event) -> tuple[str, str, str] | Refusal:
        """Snap's name of the event, its source and the asset it belongs to, or why it is not for Snap."""
        name = self.name_of(event)
        if name is None:
            return Refusal(
                "skipped",
                "name",
                "no such event here" if self.knows(event) else "Snap takes custom events only in numbered slots",
                f"map it: event_names={{{event.name!r}: 'CUSTOM_EVENT_1'}}",
            )
        # Snap knows no switch for personalisation, so its denial keeps the event here
        if event.consent and (refusal := no_consent(event, "ad_storage", "ad_user_data", "ad_personalization")):
            return refusal
        source = ACTION_SOURCES[event.source]
        asset = self.snap_app_id if source == "MOBILE_APP" else self.pixel_id
        return NO_ASSET if asset is None else (name, source, asset)


def lacking(
    name: object, source: object, url: object, value: object, currency: object, email: object, phone: object,
    ip: object, user_agent: object, mobile_id: object,
) -> Refusal | None:  # fmt: skip
    """What a wire event lacks of the fields that Snap requires, and of its identity rule.

    An email, a phone, an address together with its browser, or on app events a mobile id identify somebody;
    click ids, cookies, external ids and names do not.
    """
    if source == "WEB" and not url:
        return NO_PAGE
    if source == "WEB" and not (isinstance(url, str) and is_web(url)):
        return BAD_PAGE
    if name == "PURCHASE":
        if value is None or value == "":
            return NO_VALUE
        if not currency:
            return NO_CURRENCY
    if email or phone or (ip and user_agent) or (mobile_id and source == "MOBILE_APP"):
        return None
    return NOBODY


@lru_cache(maxsize=1024)
def encoded_head(kind: type[Struct], *values: object) -> bytes:
    """The head's bytes; cached by its few values, which is cheaper than by the struct."""
    return encode_head(kind(*values))


UNSAYABLE: Final = Refusal("rejected", "properties", "holds a value that JSON cannot say", "use plain JSON types")
_UNSAYABLE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError)


def plain(properties: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """A copy in plain JSON types without what is ``None``, so that nothing of the caller's is ever changed."""
    try:
        copy = msgspec.to_builtins(dict(properties), builtin_types=(Decimal,), str_keys=True)
    except _UNSAYABLE_ERRORS:
        return UNSAYABLE
    return {key: value for key, value in copy.items() if value is not None}


def texts(facts: Mapping[str, Any]) -> dict[str, str] | Refusal:
    """Plain JSON values as texts: a text as it is, anything else as its JSON."""
    try:
        return {
            key: value if isinstance(value, str) else ENCODER.encode(value).decode() for key, value in facts.items()
        }
    except _UNSAYABLE_ERRORS:
        return UNSAYABLE


def amount_text(value: object) -> str:
    """An amount as plain decimal text. Like ``decimal_text``, but faster where no exponent shows."""
    text = str(value)
    return text if "E" not in text else format(cast("Decimal", value), "f")


# "unexpected token" is a JSON parser speaking
_TOKEN: Final = re.compile(
    r"(?<!unexpected )\btokens?\b|(un|not )authori[sz]ed|unauthenticated|credential|permission", re.IGNORECASE
)
_FIX: Final = "check access_token, that it may use this asset, and base_url"


def speaks_of_token(said: str) -> bool:
    """Whether a refusal means the credential rather than an event."""
    return bool(_TOKEN.search(said))


def unsuccessful(
    response: Response, count: int, said: str, code: str = "", *, of_events: bool = False
) -> list[Verdict]:
    """The reading of an answer that is no success and names no event for certain.

    Snap documents 400, 401 and 429 only. Expired tokens are reported both as 401 and as a 400 that speaks
    of the token, hence the look at the words. Whether anything of a refused request was stored is unknown.

    Args:
        of_events: The words are about some events only, so they cannot speak of the account.
    """
    if (edge := by_edge(response)) is not None:
        return [edge] * count
    status = response.status
    words = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status in (401, 403, 404) or (status in (200, 400) and not of_events and speaks_of_token(said)):
        verdict = unauthorized(words, code=code, fix=_FIX)
    elif status == 200 or (400 <= status < 500 and status not in (408, 413, 429)):
        verdict = split(words, code=code, atomic=False)
    else:
        return by_status(response, count)
    return [verdict] * count


def unsuccessful_raw(response: Response, count: int) -> list[Verdict]:
    """The same for a body that is not the documented JSON: a 2xx is ambiguous, else the text itself is looked at."""
    if 200 <= response.status < 300:
        return by_status(response, count)
    text = " ".join(response.body[:1000].decode("utf-8", "replace").split())
    # words of a proxy or a relay are worth telling, their markup is not
    return unsuccessful(response, count, "" if text.startswith(("<", "{", "[")) else text)


def positions(indexes: Collection[int], count: int) -> dict[int, int] | None:
    """Each named index with its place in the request, or ``None`` if that cannot be known.

    Whether Snap counts from 0 or from 1 is not documented; a set of indexes that fits only one of the two
    readings settles it.
    """
    if not indexes:
        return None
    low, high = min(indexes), max(indexes)
    from_zero = low >= 0 and high < count
    from_one = low >= 1 and high <= count
    if from_zero is from_one:
        return None
    return {index: index - from_one for index in indexes}
