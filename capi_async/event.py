"""The canonical event: one conversion, in no platform's dialect.

All structs are frozen, refuse unknown fields when decoded, and check their values when made, so a
malformed event fails where it is written, with the field's path and the mend in the text (never
the value: it may be personal data). Their reprs name which fields are set, not what they hold.
"""

from __future__ import annotations

import os
import re
import time as _time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, force_setattr

from capi_async import event_json
from capi_async.amounts import PLAIN_AMOUNT_CHARS, Amount, amount
from capi_async.amounts import price as read_price
from capi_async.errors import EventError
from capi_async.event_checks import (
    MAX_ADDRESSEES,
    MAX_EVENT_CHARS,
    MAX_IDENTIFIERS,
    MAX_ITEMS,
    MAX_JSON_BYTES,
    TOO_LARGE,
    USUAL_CHARS,
    USUAL_ITEMS,
    is_short,
    kind_of,
    require_aware,
    require_one_of,
    require_text,
    shown_fields,
)
from capi_async.event_names import STANDARD_EVENTS
from capi_async.plain import made_plain, measured, plain_integer, plain_text
from capi_async.platform_fields import (
    PLATFORM_FIELDS,
    CutMeShortFields,
    LinkedInFields,
    MetaFields,
    PinterestFields,
    SnapFields,
    TikTokFields,
)

__all__ = [
    "MAX_ADDRESSEES",
    "MAX_EVENT_CHARS",
    "MAX_IDENTIFIERS",
    "MAX_ITEMS",
    "MAX_JSON_BYTES",
    "NO_CLICK",
    "NO_PAGE",
    "NO_USER",
    "STANDARD_EVENTS",
    "VARIANTS",
    "Amount",
    "App",
    "AttStatus",
    "ClickIds",
    "Consent",
    "ContentType",
    "DeliveryCategory",
    "Device",
    "Event",
    "Hashed",
    "Item",
    "Page",
    "Source",
    "User",
    "amount",
    "new_event_id",
    "utc_now",
    "variant_of",
]  # fmt: skip

if TYPE_CHECKING:
    # What callers may pass, which msgspec cannot say in one annotation: the attribute's run-time type is below.
    Birthday: TypeAlias = date | str
else:
    Birthday = str

Source: TypeAlias = Literal[
    "website", "app", "offline", "physical_store", "phone_call", "email", "chat", "system_generated", "crm",
    "business_messaging", "other",
]  # fmt: skip
ContentType: TypeAlias = Literal["product", "product_group"]
DeliveryCategory: TypeAlias = Literal["in_store", "curbside", "home_delivery"]
AttStatus: TypeAlias = Literal["authorized", "denied", "restricted", "not_determined", "not_applicable"]

# tuples, because a value that cannot be hashed must be refused too
_SOURCES: Final = get_args(Source)
_SOURCE_SET: Final = frozenset(_SOURCES)
_CONTENT_TYPES: Final = (None, *get_args(ContentType))
_DELIVERY: Final = (None, *get_args(DeliveryCategory))
_ATT: Final = (None, *get_args(AttStatus))

#: For each user field, the identifier variants that a digest may be of; the first is the default where one exists.
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "email": ("email", "email_google", "email_reddit"),
    "phone": ("phone_digits", "phone_e164"),
    "external_id": ("external_id", "external_id_lower", "external_id_plain"),
    "first_name": ("name_plain", "name_joined", "name_spaced", "name_letters", "name_google"),
    "middle_name": ("name_plain", "name_joined", "name_spaced", "name_letters"),
    "last_name": ("name_plain", "name_joined", "name_spaced", "name_letters", "name_google"),
    "city": ("city_joined", "city_plain"),
    "state": ("state_code", "state_code_na", "state_plain"),
    "zip": ("zip_us5", "zip_plain"),
    "country": ("country",),
    "gender": ("gender",),
    "date_of_birth": ("dob",),
    "mobile_ad_id": ("mobile_ad_id", "idfa_upper"),
}
_DEFAULT_VARIANT: Final = {
    field: names[0] for field, names in VARIANTS.items() if field in {"email", "external_id"} or len(names) == 1
}


def utc_now() -> datetime:
    """The current time, aware."""
    return datetime.now(UTC)


_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


class Hashed(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A SHA-256 digest made elsewhere, which is passed through where its variant is taken.

    A digest is good for one rule of normalisation only: a phone hashed for Pinterest (digits)
    means nothing to TikTok (digits with a plus sign).

    Attributes:
        digest: 64 hex digits; stored in lower case.
        variant: The rule that was applied before hashing, such as ``phone_e164``; see :data:`VARIANTS`.
            May be left out for an email, an external id and fields with a single variant.

    Raises:
        EventError: The digest is not 64 hex digits.
    """

    digest: str
    variant: str | None = None

    def __post_init__(self) -> None:
        digest = plain_text(self.digest)
        if digest is None or not _DIGEST.match(digest):
            raise EventError("digest", "needs 64 hexadecimal digits (a SHA-256)")
        force_setattr(self, "digest", digest.lower())
        if self.variant is not None and type(self.variant) is not str:
            force_setattr(self, "variant", plain_text(self.variant))

    def __repr__(self) -> str:
        return f"Hashed({self.digest[:4]}…, variant={self.variant!r})"


def _plain_value(path: str, field: str, value: Any) -> Any:
    """A value of the user field ``field``, made plain where it is of somebody's own class.

    Raises:
        EventError: It is none.
    """
    if isinstance(value, Hashed):
        _check_digest(path, field, value)
        return value
    born = field == "date_of_birth"
    if born and isinstance(value, date):
        try:
            return value if type(value) is date else date(value.year, value.month, value.day)
        except (TypeError, ValueError):  # pandas has dates that are none
            raise EventError(path, "is no date") from None
    text = plain_text(value)
    if text is None:
        kinds = "a date, text, Hashed" if born else "text, Hashed"
        raise EventError(path, f"needs {kinds} or a list of them, got {kind_of(value)}")
    return text


def _check_digest(path: str, field: str, value: Hashed) -> None:
    names = VARIANTS[field]
    if value.variant is None:
        if field not in _DEFAULT_VARIANT:
            example = f"Hashed(digest, {names[-1]!r})"
            raise EventError(path, f"a digest must name its variant, one of {', '.join(names)}: write {example}")
    elif value.variant not in names:
        raise EventError(path, f"a digest of this field is one of {', '.join(names)}")


def variant_of(field: str, value: Hashed) -> str:
    """The variant that ``value`` is a digest of, as a value of the user field ``field``."""
    return value.variant or _DEFAULT_VARIANT[field]


_USER_LISTS: Final = ("email", "phone", "external_id")
#: Several are held as a tuple, so that one who has them can be told by a look at the type.
_USER_FACTS: Final = ("first_name", "last_name", "city", "state", "zip", "country", "gender", "date_of_birth")
#: User fields that take a list.
SEVERAL: Final = frozenset({*_USER_LISTS, *_USER_FACTS})
_USER_TEXTS: Final = ("middle_name", "mobile_ad_id")
_USER_CLEAR: Final = ("ip", "user_agent", "idfv")


class User(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Who did it. Plain values are normalised and hashed by the client, per platform's own rule.

    Attributes:
        email: One or several addresses.
        phone: One or several numbers, best as E.164 (``+14155552671``). A number without country code
            is read with ``country`` or the client's ``phone_region``, else refused, never guessed.
        external_id: Your own id of this person, or several; must equal what your browser tags send.
        first_name, last_name, city, state, zip: As the person wrote them, one or several. Platforms that take one take
            the first. As many states or zips as countries belong to one another in their order; else all of them
            are read with the first country, as phone numbers are.
        middle_name: As the person wrote it.
        country: ISO 3166-1 alpha-2, alpha-3 or an English name, one or several.
        gender: ``f``, ``m`` or ``n``, one or several; the words are understood too.
        date_of_birth: A date, or text such as ``1997-12-26`` or ``19971226``, one or several.
        ip, user_agent: Of the person's browser, never of your server. Sent in clear where platforms ask for it.
        mobile_ad_id: IDFA or Google advertising id; ``Event.device.os`` says which.
        idfv: iOS vendor id.

    Raises:
        EventError: A value of the wrong type, or a digest that does not say what it is a digest of; ``field`` has the
            place of one in a list, such as ``user.city[1]``.
    """

    email: str | Hashed | Sequence[str | Hashed] | None = None
    phone: str | Hashed | Sequence[str | Hashed] | None = None
    external_id: str | Hashed | Sequence[str | Hashed] | None = None
    first_name: str | Hashed | Sequence[str | Hashed] | None = None
    middle_name: str | Hashed | None = None
    last_name: str | Hashed | Sequence[str | Hashed] | None = None
    city: str | Hashed | Sequence[str | Hashed] | None = None
    state: str | Hashed | Sequence[str | Hashed] | None = None
    zip: str | Hashed | Sequence[str | Hashed] | None = None
    country: str | Hashed | Sequence[str | Hashed] | None = None
    gender: str | Hashed | Sequence[str | Hashed] | None = None
    date_of_birth: Birthday | Hashed | Sequence[Birthday | Hashed] | None = None
    ip: str | None = None
    user_agent: str | None = None
    mobile_ad_id: str | Hashed | None = None
    idfv: str | None = None

    def __post_init__(self) -> None:
        for value in astuple(self):  # here and not in a function of its own, because it runs for every event
            if value is not None and (type(value) is not str or len(value) > USUAL_CHARS):
                self._check()
                return

    def _check(self) -> None:
        require_text(self, "user.", _USER_TEXTS, besides=Hashed)
        require_text(self, "user.", _USER_CLEAR)
        for field in _USER_TEXTS:
            value = getattr(self, field)
            if isinstance(value, Hashed):
                _check_digest(f"user.{field}", field, value)
        chars = 0
        for field in (*_USER_LISTS, *_USER_FACTS):
            value = getattr(self, field)
            if type(value) is str:
                chars += len(value)
            elif value is not None:
                chars += self._check_values(field, value)
            if chars > MAX_EVENT_CHARS:
                raise EventError(f"user.{field}", TOO_LARGE)

    def _check_values(self, field: str, value: Any) -> int:
        """Check what is no plain text, and hold it as it is meant; returns its characters."""
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        if several and len(value) > MAX_IDENTIFIERS:
            raise EventError(f"user.{field}", f"holds more than {MAX_IDENTIFIERS} values; nobody has so many")
        found: list[Any] = []
        for index, one in enumerate(value if several else (value,)):
            if one is not None and type(one) is not str:
                one = _plain_value(f"user.{field}[{index}]" if several else f"user.{field}", field, one)
            found.append(one)
        if not several:
            force_setattr(self, field, found[0])
        elif field in _USER_FACTS:
            force_setattr(self, field, tuple(found) if len(found) > 1 else found[0] if found else None)
        elif any(old is not new for old, new in zip(value, found, strict=True)):
            force_setattr(self, field, found)
        return sum([len(one) for one in found if type(one) is str])

    def __repr__(self) -> str:
        return shown_fields(self)


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One line of a cart or an order.

    Attributes:
        id: Product id as in your catalogue.
        quantity: Whole units, at least 1.
        price: Per unit, in major units of the event's currency.
        variant: Size, colour and the like.
        delivery_category: ``in_store``, ``curbside`` or ``home_delivery``.

    Raises:
        EventError: ``field`` is ``items.<name>``.
    """

    id: str
    quantity: int = 1
    price: Amount | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    variant: str | None = None
    delivery_category: DeliveryCategory | None = None

    def __post_init__(self) -> None:
        if (
            type(self.id) is not str
            or not 0 < len(self.id) <= USUAL_CHARS
            or type(self.quantity) is not int
            or self.quantity < 1
            or (self.name is not None and not is_short(self.name))
            or (self.category is not None and not is_short(self.category))
            or (self.brand is not None and not is_short(self.brand))
            or (self.variant is not None and not is_short(self.variant))
            or self.delivery_category is not None
        ):
            self._check()
        price = self.price
        if price is not None:
            # prices come back: an order's totals hardly do. Longer texts stay out of the cache, or they would fill it
            usual = type(price) is str and len(price) <= PLAIN_AMOUNT_CHARS
            force_setattr(self, "price", read_price(price) if usual else amount(price, "items.price"))

    def _check(self) -> None:
        if not plain_text(self.id):
            raise EventError("items.id", "needs text that is not empty")
        require_text(self, "items.", ("id", "name", "category", "brand", "variant"))
        quantity: Any = plain_integer(self.quantity)
        if type(quantity) is not int or quantity < 1:
            raise EventError("items.quantity", "needs a whole number of at least 1")
        force_setattr(self, "quantity", quantity)
        require_one_of(self, "items.", "delivery_category", _DELIVERY, "needs in_store, curbside or home_delivery")


class Page(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Where on the web it happened. E-mail addresses in queries are removed before anything leaves.

    Attributes:
        url: Full address with its query; platforms read their click ids there.
        referrer: The page before it.
        title: Document title.
    """

    url: str | None = None
    referrer: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        for value in astuple(self):  # as in User
            if value is not None and (type(value) is not str or len(value) > USUAL_CHARS):
                require_text(self, "page.", self.__struct_fields__)
                return

    def __repr__(self) -> str:
        return shown_fields(self)


class ClickIds(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Click and browser ids as found in cookies and query parameters: opaque, case kept, never hashed, never made up.

    Attributes:
        sc_click_id, sc_cookie1: Snap: parameter ``ScCid`` or cookie ``_scclid``; cookie ``_scid``.
        epik: Pinterest: cookie ``_epik``, else parameter ``epik``.
        ttclid, ttp: TikTok: parameter or cookie ``ttclid``; cookie ``_ttp``.
        cms_rf: CutMeShort: parameter or cookie ``cms_rf``.
        fbc, fbp: Meta: cookies ``_fbc`` and ``_fbp``.
        fbclid, fbclid_seen: Meta: parameter, and when it was first seen (aware). Used when ``fbc`` is missing
            or holds another click.
        ga_client_id, ga_session_id: Google Analytics: from cookies ``_ga`` and ``_ga_<STREAM>``.
        rdt_cid, rdt_uuid: Reddit.
        li_fat_id: LinkedIn.
        gclid, gbraid, wbraid, dclid: Google: parameters, or the cookies ``_gcl_aw``, ``_gcl_ag`` and ``_gcl_gb``.
        google_session: Google: text made at the landing from the ``gad_`` parameters, for where a click id is missing.
        twclid, msclkid: X and Microsoft.
        oppref, obref: OpenAI: parameter ``oppref`` or cookie ``__oppref``; cookie ``__obref``.
    """

    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    epik: str | None = None
    ttclid: str | None = None
    ttp: str | None = None
    cms_rf: str | None = None
    fbc: str | None = None
    fbp: str | None = None
    fbclid: str | None = None
    fbclid_seen: datetime | None = None
    ga_client_id: str | None = None
    ga_session_id: str | None = None
    rdt_cid: str | None = None
    rdt_uuid: str | None = None
    li_fat_id: str | None = None
    gclid: str | None = None
    gbraid: str | None = None
    wbraid: str | None = None
    dclid: str | None = None
    google_session: str | None = None
    twclid: str | None = None
    msclkid: str | None = None
    oppref: str | None = None
    obref: str | None = None

    def __post_init__(self) -> None:
        for index, value in enumerate(astuple(self)):
            if value is None:
                continue
            name = self.__struct_fields__[index]
            if name == "fbclid_seen":
                require_aware(self, "click.", "fbclid_seen")
                continue
            if type(value) is not str or len(value) > USUAL_CHARS:
                require_text(self, "click.", (name,))
                value = getattr(self, name)
            if value != (trimmed := value.strip()) or not value:
                force_setattr(self, name, trimmed or None)

    def __repr__(self) -> str:
        return shown_fields(self)


class App(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The app it happened in.

    Attributes:
        id: Store id (iOS) or package name (Android).
        package: Package or bundle name.
        version, version_long: Such as ``771`` and ``Version 7.7.1``.
        install_id: Anonymous id of this install.
        firebase_instance_id: For Google Analytics app streams.
        install_time: Aware.
        att_status: iOS App Tracking Transparency answer.
        application_tracking: Whether tracking is allowed in the app itself.
    """

    id: str | None = None
    package: str | None = None
    name: str | None = None
    version: str | None = None
    version_long: str | None = None
    install_id: str | None = None
    firebase_instance_id: str | None = None
    install_time: datetime | None = None
    install_referrer: str | None = None
    att_status: AttStatus | None = None
    application_tracking: bool | None = None

    def __post_init__(self) -> None:
        require_text(self, "app.", _APP_TEXTS)
        require_one_of(self, "app.", "att_status", _ATT, f"needs one of {', '.join(get_args(AttStatus))}")
        if self.install_time is not None:
            require_aware(self, "app.", "install_time")
        if self.application_tracking is not None and not isinstance(self.application_tracking, bool):
            raise EventError("app.application_tracking", "needs True, False or None")

    def __repr__(self) -> str:
        return shown_fields(self)


_APP_TEXTS: Final = (
    "id", "package", "name", "version", "version_long", "install_id", "firebase_instance_id", "install_referrer",
)  # fmt: skip


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The device it happened on; several platforms take this for web events too.

    Attributes:
        os: ``ios``, ``android``, ``macos``, ``windows``, ``linux`` or another; decides what a mobile ad id is.
        locale: BCP 47, such as ``en-US``.
        timezone_abbr, timezone: Such as ``PST`` and ``America/Los_Angeles``.
        screen_width, screen_height: Pixels.
        screen_density: Ratio, such as ``2``.
        storage_gb, storage_free_gb: Gigabytes.
    """

    os: str | None = None
    os_version: str | None = None
    model: str | None = None
    brand: str | None = None
    locale: str | None = None
    timezone_abbr: str | None = None
    timezone: str | None = None
    carrier: str | None = None
    screen_width: int | None = None
    screen_height: int | None = None
    screen_density: Amount | None = None
    cpu_cores: int | None = None
    storage_gb: int | None = None
    storage_free_gb: int | None = None

    def __post_init__(self) -> None:
        require_text(self, "device.", _DEVICE_TEXTS)
        for name in _DEVICE_NUMBERS:
            value = getattr(self, name)
            if value is None:
                continue
            number: Any = plain_integer(value)
            if type(number) is not int or number < 0:
                raise EventError(f"device.{name}", "needs a whole number of at least 0")
            force_setattr(self, name, number)
        if self.os is not None:
            force_setattr(self, "os", self.os.strip().lower() or None)
        if self.screen_density is not None:
            force_setattr(self, "screen_density", amount(self.screen_density, "device.screen_density"))

    def __repr__(self) -> str:
        return shown_fields(self)


_DEVICE_TEXTS: Final = ("os", "os_version", "model", "brand", "locale", "timezone_abbr", "timezone", "carrier")
_DEVICE_NUMBERS: Final = ("screen_width", "screen_height", "cpu_cores", "storage_gb", "storage_free_gb")


class Consent(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What the person agreed to. ``None`` means not stated: nothing is said about it to the platform.

    Attributes:
        ad_storage, ad_user_data, ad_personalization, analytics_storage: Granted or denied.
        sale_opt_out: True: the person opted out of the sale of their data (limited data use).
        region: ISO 3166-2, such as ``US-CA``.
        tcf, gpp: The consent strings of the IAB as the site holds them, for platforms that take them. They are passed
            on and not looked into: what they mean is said by the choices above.
    """

    ad_storage: bool | None = None
    ad_user_data: bool | None = None
    ad_personalization: bool | None = None
    analytics_storage: bool | None = None
    sale_opt_out: bool | None = None
    region: str | None = None
    tcf: str | None = None
    gpp: str | None = None

    def __post_init__(self) -> None:
        for name in ("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage", "sale_opt_out"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise EventError(f"consent.{name}", "needs True, False or None (not stated)")
        if self.region is not None:
            region = plain_text(self.region)
            if region is None or not re.fullmatch(r"[A-Za-z]{2}(-[A-Za-z0-9]{1,3})?", region):
                raise EventError("consent.region", "needs an ISO 3166-2 code such as US-CA")
            force_setattr(self, "region", region)
        if self.tcf is not None or self.gpp is not None:
            require_text(self, "consent.", ("tcf", "gpp"))

    def __repr__(self) -> str:
        stated = [f"{name}={getattr(self, name)!r}" for name in _CONSENT_SHOWN if getattr(self, name) is not None]
        kept = [f"{name}=…" for name in ("tcf", "gpp") if getattr(self, name)]
        return f"Consent({', '.join(stated + kept)})"


_CONSENT_SHOWN: Final = (
    "ad_storage", "ad_user_data", "ad_personalization", "analytics_storage", "sale_opt_out", "region",
)  # fmt: skip


NO_USER: Final = User()
NO_PAGE: Final = Page()
NO_CLICK: Final = ClickIds()

_EVENT_TEXTS: Final = (
    "currency", "order_id", "search_string", "content_name", "content_category", "description", "method",
    "subscription_id",
)  # fmt: skip
_CURRENCY: Final = re.compile(r"[A-Z]{3}\Z").match


#: Currencies that were read before, in the form in which they are sent; of three letters there are not many.
_codes: Final[set[str]] = set()


def _read_currency(text: str) -> str:
    """A currency as it is sent."""
    upper = text.strip().upper()
    if not _CURRENCY(upper):
        raise EventError("currency", "needs a three-letter ISO 4217 code such as USD")
    _codes.add(upper)
    return upper


class _Named(Struct, frozen=True, gc=False):
    """Gives the event's name its place in front of the keywords."""

    name: str


class Event(_Named, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One conversion. The name may stand first; everything else is given by keyword.

    Attributes:
        name: A standard name (:data:`STANDARD_EVENTS`) or a custom one.
        event_id: De-duplication key, the same on every retry and at every destination. Default:
            ``f"{name}:{order_id}"`` when there is an order id (so that a repeat is the same event, and a
            browser tag can compute it), else a new time-ordered UUID.
        time: When it happened: an aware datetime. Default: now.
        source: Where it happened; default ``website``.
        value: Total in major units of ``currency`` (12.50, not 1250); Decimal, int, decimal text, or a
            float, which is read through its shortest text. Held as a ``Decimal``.
        currency: ISO 4217 code; held in upper case.
        order_id: Your order or transaction id.
        num_items: Pieces in total; default: the sum of the items' quantities.
        content_type: ``product`` (ids are SKUs) or ``product_group``.
        method: How somebody signed up or logged in.
        predicted_ltv: Predicted lifetime value, like ``value``.
        items: The lines of the cart or order.
        consent: ``None``: the caller vouches for it, see ``Client(consent=...)``.
        to: Destination names; ``None`` means all of them.
        test: Sent in each platform's test mode; skipped where there is none, never sent live.
        properties: Further facts, in plain JSON types, passed where a platform takes them.
        extra: Destination name (or type) to raw wire fields, merged deeply into the wire object; what nobody foresaw.
        meta, snap, pinterest, tiktok, cutmeshort, linkedin: What that platform alone takes; see
            :mod:`capi_async.platform_fields`. Accounts of other platforms leave it out.

    Raises:
        EventError: ``field`` names the culprit.
    """

    event_id: str = ""
    time: datetime = msgspec.field(default_factory=utc_now)
    source: Source = "website"
    user: User = NO_USER
    value: Amount | None = None
    currency: str | None = None
    order_id: str | None = None
    items: Sequence[Item] = ()
    page: Page = NO_PAGE
    click: ClickIds = NO_CLICK
    app: App | None = None
    device: Device | None = None
    consent: Consent | None = None
    search_string: str | None = None
    num_items: int | None = None
    content_type: ContentType | None = None
    content_name: str | None = None
    content_category: str | None = None
    description: str | None = None
    method: str | None = None
    predicted_ltv: Amount | None = None
    delivery_category: DeliveryCategory | None = None
    subscription_id: str | None = None
    to: Sequence[str] | None = None
    test: bool = False
    properties: Mapping[str, Any] = {}
    extra: Mapping[str, Mapping[str, Any]] = {}
    meta: MetaFields | None = None
    snap: SnapFields | None = None
    pinterest: PinterestFields | None = None
    tiktok: TikTokFields | None = None
    cutmeshort: CutMeShortFields | None = None
    linkedin: LinkedInFields | None = None

    def __post_init__(self) -> None:
        # Written out, in the order of the fields, because it runs for every event: a local costs a tenth of an
        # attribute, and one call for all would let subclasses of text pass. Names in short: see the fields above.
        (
            name, event_id, time, source, user, value, currency, order_id, items, page, click, app, device, consent,
            search, pieces, kind, content, category, description, method, ltv, delivery, subscription, to, test,
            properties, extra, meta, snap, pinterest, tiktok, cutmeshort, linkedin,
        ) = astuple(self)  # fmt: skip
        if (
            type(name) is not str or name.isspace() or not 0 < len(name) <= USUAL_CHARS
            or type(event_id) is not str or len(event_id) > USUAL_CHARS
            or type(time) is not datetime or time.tzinfo is not UTC
            or type(source) is not str or source not in _SOURCE_SET
            or type(user) is not User
            or (currency is not None and (type(currency) is not str or len(currency) > USUAL_CHARS))
            or (order_id is not None and (type(order_id) is not str or len(order_id) > USUAL_CHARS))
            or type(page) is not Page
            or type(click) is not ClickIds
            or app is not None
            or device is not None
            or (consent is not None and type(consent) is not Consent)
            or (search is not None and not is_short(search))
            or (pieces is not None and (type(pieces) is not int or pieces < 0))
            or (kind is not None and (type(kind) is not str or kind not in _CONTENT_TYPES))
            or (content is not None and not is_short(content))
            or (category is not None and not is_short(category))
            or (description is not None and not is_short(description))
            or (method is not None and not is_short(method))
            or ltv is not None
            or (delivery is not None and (type(delivery) is not str or delivery not in _DELIVERY))
            or (subscription is not None and not is_short(subscription))
            or to is not None
            or type(test) is not bool
            or type(properties) is not dict
            or type(extra) is not dict or extra
            or meta is not None or snap is not None or pinterest is not None or tiktok is not None
            or cutmeshort is not None or linkedin is not None
        ):  # fmt: skip
            self._check()
            name, event_id, currency, order_id, items = (
                self.name, self.event_id, self.currency, self.order_id, self.items
            )  # fmt: skip
            properties, extra = self.properties, self.extra
        if not event_id:
            force_setattr(self, "event_id", f"{name}:{order_id}" if order_id else new_event_id())
        if value is not None:
            force_setattr(self, "value", amount(value, "value"))
        if currency is not None and currency not in _codes:
            force_setattr(self, "currency", _read_currency(currency))
        if not (type(items) is tuple and (not items or (len(items) == 1 and type(items[0]) is Item))):
            self._check_items()
        if properties or extra:
            self._check_free()

    def _check_items(self) -> None:
        items = self.items
        if type(items) not in (tuple, list) and (isinstance(items, (str, bytes)) or not isinstance(items, Sequence)):
            raise EventError("items", "needs a list of Item(...)")
        if type(items) not in (tuple, list):
            # somebody's own kind of list is read once, and not held
            items = tuple(items)
            force_setattr(self, "items", items)
        if len(items) > MAX_ITEMS:
            raise EventError("items", f"holds more than {MAX_ITEMS:,} items; is it one order?")
        for index, item in enumerate(items):
            if type(item) is not Item:
                raise EventError(f"items[{index}]", f"needs Item(...), got {kind_of(item)}")
        if len(items) > USUAL_ITEMS:
            self._check_size("items")

    def _check_free(self) -> None:
        """Make ``properties`` and ``extra`` plain, and hold them to their bounds."""
        for field in ("properties", "extra"):
            given: Mapping[str, Any] = getattr(self, field)
            _, chars, plain = measured(field, given)
            if not plain:
                force_setattr(self, field, made_plain(field, given))
            if chars > USUAL_CHARS:
                self._check_size(field)

    def _check_size(self, field: str) -> None:
        """Refuse an event whose texts are too long together; ``field`` is that which made somebody ask."""
        values = [getattr(self, name) for name in ("name", "event_id", *_EVENT_TEXTS)]
        for item in self.items:
            values += (item.id, item.name, item.category, item.brand, item.variant)
        chars = sum([len(value) for value in values if value])
        if self.properties or self.extra:
            chars += measured("properties", self.properties)[1] + measured("extra", self.extra)[1]
        if chars > MAX_EVENT_CHARS:
            raise EventError(field, TOO_LARGE)

    def _check(self) -> None:
        """Check field by field what is not as usual: name the culprit, or find that there is none."""
        name = plain_text(self.name)
        if name is None or not name.strip():
            raise EventError("name", "needs the event's name, such as 'purchase'")
        require_aware(self, "", "time")
        if self.event_id is not None and plain_text(self.event_id) is None:
            raise EventError("event_id", "needs text; write str(...) around a number")
        require_text(self, "", ("name", "event_id", *_EVENT_TEXTS))
        require_one_of(self, "", "source", _SOURCES, f"needs one of {', '.join(sorted(_SOURCES))}")
        if self.predicted_ltv is not None:
            force_setattr(self, "predicted_ltv", amount(self.predicted_ltv, "predicted_ltv"))
        if self.num_items is not None:
            pieces: Any = plain_integer(self.num_items)
            if type(pieces) is not int or pieces < 0:
                raise EventError("num_items", "needs a whole number of at least 0")
            force_setattr(self, "num_items", pieces)
        require_one_of(self, "", "content_type", _CONTENT_TYPES, "needs product or product_group")
        require_one_of(self, "", "delivery_category", _DELIVERY, "needs in_store, curbside or home_delivery")
        for field, kind, nothing in _PARTS:
            value = getattr(self, field)
            if value is None:
                force_setattr(self, field, nothing)
            elif type(value) is not kind:
                raise EventError(field, f"needs {kind.__name__}(...), got {kind_of(value)}")
        for field, own in PLATFORM_FIELDS.items():
            value = getattr(self, field)
            if value is not None and type(value) is not own:
                raise EventError(field, f"needs {own.__name__}(...), got {kind_of(value)}")
        if self.to is not None:
            self._check_to()
        self._check_mappings()
        if type(self.test) is not bool:
            raise EventError("test", "needs True or False")
        self._check_size(max(_EVENT_TEXTS, key=lambda field: len(getattr(self, field) or "")))

    def _check_mappings(self) -> None:
        # compared by identity: what is given may not be asked whether it is empty (arrays, XML elements)
        for field in ("properties", "extra"):
            given: Any = getattr(self, field)
            if given is None:
                force_setattr(self, field, {})
            elif not isinstance(given, Mapping):
                raise EventError(field, f"needs a mapping, got {kind_of(given)}")
        if type(self.extra) is dict and not self.extra:
            return
        try:
            parts = list(self.extra.values())
        except Exception:  # a mapping of the caller's own may raise anything
            raise EventError("extra", "is a mapping that cannot be read") from None
        if not all(isinstance(part, Mapping) for part in parts):
            raise EventError("extra", "needs destination names mapped to objects, such as {'snap': {...}}")

    def _check_to(self) -> None:
        to: Any = self.to
        if isinstance(to, str) or not isinstance(to, Sequence):
            raise EventError("to", "needs a list of destination names")
        if len(to) > MAX_ADDRESSEES:
            raise EventError("to", f"holds more than {MAX_ADDRESSEES:,} names")
        names = list(map(plain_text, to))
        if None in names:
            raise EventError("to", "needs a list of destination names")
        if sum(map(len, filter(None, names))) > MAX_EVENT_CHARS:
            raise EventError("to", TOO_LARGE)
        if any(type(name) is not str for name in to):
            force_setattr(self, "to", names)

    @classmethod
    def from_json(cls, data: bytes | str) -> Event:
        """Decode one JSON object; unknown fields are refused.

        Raises:
            EventError: Not JSON, or malformed; ``field`` is the path of the culprit.
        """
        return event_json.decoded(data, _decoder)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """Convert a mapping of plain Python values (as from ``json.loads``); unknown fields are refused.

        Raises:
            EventError: ``field`` is the path of the culprit.
        """
        return event_json.converted(data, cls)

    def __repr__(self) -> str:
        return f"Event({self.name!r}, event_id={self.event_id!r}, time={self.time.isoformat()!r}, …)"


_PARTS: Final = (
    ("user", User, NO_USER), ("page", Page, NO_PAGE), ("click", ClickIds, NO_CLICK),
    ("app", App, None), ("device", Device, None), ("consent", Consent, None),
)  # fmt: skip
_decoder: Final = msgspec.json.Decoder(Event)


def new_event_id() -> str:
    """A new UUID of version 7: 48 bits of milliseconds, then random bits of the operating system (fork-safe)."""
    stamp = f"{_time.time_ns() // 1_000_000:012x}"
    noise = os.urandom(10).hex()
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-{_VARIANT_DIGIT[noise[3]]}{noise[4:7]}-{noise[7:19]}"


_VARIANT_DIGIT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
