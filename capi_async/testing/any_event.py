"""Every kind of event that a caller can make, for property tests: hypothesis strategies, and one person to look for.

Whoever is generated as the user has one of the values in ``PERSON``; no other text of an event ever holds one of them,
so that finding one on the wire means that personal data left in clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import asdict, replace

from capi_async.destinations import destination_types
from capi_async.event import (
    STANDARD_EVENTS,
    App,
    AttStatus,
    ClickIds,
    Consent,
    DeliveryCategory,
    Device,
    Event,
    Hashed,
    Item,
    Page,
    Source,
    User,
)
from capi_async.platform_fields import PLATFORM_FIELDS, OriginalEvent, PlatformFields

#: Field to the spellings of one invented person; what is looked for on the wire stands in ``CLEAR_TEXTS``.
PERSON: Mapping[str, tuple[str, ...]] = {
    "email": ("Quirinalia.Featherstone@Example.com", "  quirinalia.featherstone@example.com "),
    "phone": ("+1 (415) 555-2671", "001 415 555 2671", "+14155552671"),
    "first_name": ("Quirinalia", " QUIRINALIA "),
    "middle_name": ("Xanthippe",),
    "last_name": ("Featherstone", "featherstone"),
}
#: No wire body may hold any of these, in any capitalisation.
CLEAR_TEXTS = ("quirinalia", "xanthippe", "featherstone", "4155552671", "(415)", "555-2671", "555 2671")

SPECIAL_TEXTS = (
    "", " ", "\x00", "a\x00b", "🛍️", "👩‍👩‍👧‍👦", "שלום עולם", "\u202ertl\u202c", "ﷺ", "e\u0301", "\u2028", "\ufeff",
    "</script>", '"quoted"', "\\", "x" * 300, "İI", "ß", "null", "-1", "1e999", "\ud7ff\ue000",
)  # fmt: skip


def _of_nobody(text: str) -> bool:
    """Not one of the person's own: Hypothesis tries texts that it finds in the code, and an order may be called so."""
    return not any(clear in text.lower() for clear in CLEAR_TEXTS)


text = st.sampled_from(SPECIAL_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    _of_nobody
)
filled = text.filter(bool)
name = st.sampled_from(sorted(STANDARD_EVENTS)) | st.sampled_from(("Checkout", "ViewHomePage", "custom", "x" * 51)) | (
    text.filter(lambda value: bool(value.strip()))
)  # fmt: skip
money = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(0, 10**15), st.integers(0, 30))
money |= st.sampled_from(
    [Decimal(0), Decimal("0.000000000000000000000000000001"), Decimal("1E+15"), Decimal(1500), Decimal("12.345")]
)
count = st.integers(0, 2**63 - 1) | st.integers(0, 20)
offsets = st.sampled_from((UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12, minutes=-30))))
#: The first and last hours of the calendar, in offsets that put them outside it in UTC, included.
moment = st.datetimes(timezones=offsets) | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=offsets)  # noqa: DTZ001 - given a zone by the strategy

json_values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(text, below, max_size=3),
    max_leaves=6,
)
#: Keys that mean something on some wire, so that raw fields collide with what the mapping writes.
WIRE_KEYS = (
    "event_name", "event_type", "event", "event_id", "event_time", "timestamp", "action_source", "event_source_url",
    "user_data", "custom_data", "app_data", "user", "page", "properties", "context", "app", "value", "price",
    "currency", "contents", "amount", "invoiceId", "customerExternalId", "clickId", "mode", "eventName", "opt_out",
    "data_processing_options", "event_source", "custom_fields", "level", "event_tag", "lead", "type", "em", "ip",
)  # fmt: skip
raw_fields = st.dictionaries(st.sampled_from(WIRE_KEYS) | text, json_values, max_size=3)


def _some(kind: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The struct with any subset of these fields set."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def _person(field: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(PERSON[field])


def _digest(variant: str | None = None) -> st.SearchStrategy[Hashed]:
    return st.sampled_from((Hashed("ab" * 32, variant), Hashed("0F" * 32, variant)))


def _several(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return one | st.lists(one, max_size=3)


users = _some(
    User,
    email=_several(_person("email") | _digest() | text),
    phone=_several(_person("phone") | _digest("phone_digits") | _digest("phone_e164") | text),
    external_id=_several(st.sampled_from(("user-123", "7")) | _digest() | text),
    first_name=_several(_person("first_name") | text),
    middle_name=_person("middle_name") | text,
    last_name=_several(_person("last_name") | _digest("name_plain") | text),
    city=_several(st.sampled_from(("Los Angeles", "München")) | _digest("city_joined") | text),
    state=_several(st.sampled_from(("California", "ca", "Ontario")) | text),
    zip=_several(st.sampled_from(("94107-1234", "SW1A 1AA")) | text),
    country=_several(st.sampled_from(("US", "gbr", "Germany", "CA", "Atlantis")) | _digest() | text),
    gender=_several(st.sampled_from(("f", "Male", "non-binary")) | _digest() | text),
    date_of_birth=_several(st.dates() | st.sampled_from(("1997-12-26", "19971226", "26.12.")) | text),
    ip=st.sampled_from(("203.0.113.7", "2001:db8::10", "unknown")) | text,
    user_agent=st.just("Mozilla/5.0 (Macintosh)") | text,
    mobile_ad_id=st.sampled_from(
        ("EA7583CD-A667-48BC-B806-42ECB2B48606", "00000000-0000-0000-0000-000000000000")
    ) | text,
    idfv=text,
)  # fmt: skip
pages = _some(
    Page,
    url=st.sampled_from(
        (
            "https://shop.example/thanks?fbclid=IwAR1aB&q=1",
            "https://shop.example/?email=Quirinalia.Featherstone%40example.com&a=1",
            "HTTP://shop.example",
            "ftp://shop.example",
            "not an address",
        )
    ) | text,
    referrer=st.just("https://search.example/?mail=quirinalia.featherstone@example.com") | text,
    title=text,
)  # fmt: skip
clicks = _some(
    ClickIds,
    **dict.fromkeys(("sc_click_id", "sc_cookie1", "epik", "ttclid", "ttp", "cms_rf", "fbp", "fbclid"), text),
    fbc=st.sampled_from(("fb.1.1768471200123.IwAR1aBcD", "fb.1", "odd")) | text,
    fbclid_seen=moment,
    ga_client_id=st.sampled_from(("1234567890.1687654321", "GA1.1.1234567890.1687654321")) | text,
    ga_session_id=st.just("1768470900") | text,
    li_fat_id=st.just("9d2f1c8e-3b8a-4f0e-9c55-7d0e5a1b2c3d") | text,
)
apps = _some(
    App,
    **dict.fromkeys(("id", "package", "name", "version", "version_long", "install_id", "install_referrer"), text),
    install_time=moment,
    att_status=st.sampled_from(get_args(AttStatus)),
    application_tracking=st.booleans(),
)
devices = _some(
    Device,
    os=st.sampled_from(("ios", "Android", "windows", "amiga")) | text,
    **dict.fromkeys(("os_version", "model", "brand", "timezone_abbr", "timezone", "carrier"), text),
    locale=st.sampled_from(("en-US", "pt_BR", "x")) | text,
    **dict.fromkeys(("screen_width", "screen_height", "cpu_cores", "storage_gb", "storage_free_gb"), count),
    screen_density=money,
)
consents = _some(
    Consent,
    **{
        field: st.sampled_from((True, False, None))
        for field in ("ad_storage", "ad_user_data", "ad_personalization", "analytics_storage", "sale_opt_out")
    },
    region=st.sampled_from(("US-CA", "us", "DE", "US-ZZ")),
)


def _item(values: Mapping[str, Any]) -> Item:
    return Item(**values)


items = st.fixed_dictionaries(
    {"id": filled},
    optional={
        "quantity": st.integers(1, 2**40),
        "price": money,
        **dict.fromkeys(("name", "category", "brand", "variant"), text),
        "delivery_category": st.sampled_from(get_args(DeliveryCategory)),
    },
).map(_item)
extras = st.dictionaries(st.sampled_from(destination_types()) | text, raw_fields, max_size=2)

#: What the fields hold that have a form of their own; all others take any text.
_TYPED: Mapping[str, st.SearchStrategy[Any]] = {
    "original_event": _some(
        OriginalEvent, name=st.just("Purchase") | text, time=moment, order_id=text, event_id=text
    ),
    "attribution_data": st.dictionaries(
        st.sampled_from(("scope", "ad_id", "campaign_id", "attribution_share", "visit_time")),
        text | st.integers(0, 2**40) | st.floats(0, 1),
        max_size=3,
    ),
    "net_revenue": money,
    "customer_avatar": st.sampled_from(("https://shop.example/jo.png", "http://a.example")),
    "lead": st.sampled_from(("urn:li:leadGenFormResponse:1-2-3", "urn:li:leadGenFormResponse:(1,2)")),
}  # fmt: skip


def typed_fields(kind: type[PlatformFields]) -> st.SearchStrategy[Any]:
    """The struct of one platform's own fields, with any subset of them set."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind.__struct_fields__:
        if (most := kind.whole.get(field)) is not None:
            fields[field] = st.integers(0, most) | st.sampled_from(("0", str(most)))
        elif (known := kind.choices.get(field)) is not None:
            fields[field] = st.sampled_from(known)
        elif field in kind.flags:
            fields[field] = st.booleans()
        elif field in kind.lists:
            fields[field] = st.lists(filled | st.sampled_from(("en", "shop")), max_size=3)
        else:
            fields[field] = _TYPED.get(field, st.sampled_from(("123456789012345", "id-1")) | text)
    return _some(kind, **fields)


_TEXTS = ("search_string", "content_name", "content_category", "description", "method", "subscription_id")
_fields = st.fixed_dictionaries(
    {"event_id": filled, "time": moment},
    optional={
        "source": st.sampled_from(get_args(Source)),
        "user": users,
        "value": money,
        "currency": st.sampled_from(("USD", "EUR", "JPY", "KWD", "clp", "XXX")),
        "order_id": text,
        "items": st.lists(items, max_size=3),
        "page": pages,
        "click": clicks,
        "app": apps,
        "device": devices,
        "consent": consents,
        **dict.fromkeys(_TEXTS, text),
        "num_items": count,
        "content_type": st.sampled_from(("product", "product_group")),
        "predicted_ltv": money,
        "delivery_category": st.sampled_from(get_args(DeliveryCategory)),
        "test": st.booleans(),
        "properties": raw_fields,
        "extra": extras,
        **{where: typed_fields(kind) for where, kind in PLATFORM_FIELDS.items()},
    },
)


#: What most platforms require, so that most events get past their first question.
_SOUND: Mapping[str, Any] = {
    "page": Page(url="https://shop.example/thanks?fbclid=IwAR1aB", referrer="https://search.example/"),
    "app": App(id="com.example.shop", att_status="authorized", application_tracking=True, install_id="i-1"),
    "device": Device(os="ios", os_version="17.1", locale="en-US"),
    "value": Decimal("72.39"),
    "currency": "USD",
    "order_id": "1001",
    "click": ClickIds(ga_client_id="1234567890.1687654321"),
}
_SOUND_USER = User(
    **{field: spellings[0] for field, spellings in PERSON.items()},
    external_id="user-123",
    ip="203.0.113.7",
    user_agent="Mozilla/5.0 (Macintosh)",
)
_sound_name = st.sampled_from(("purchase", "purchase", *sorted(STANDARD_EVENTS - {"refund"})))


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any event that can be made; three in four have what most platforms require."""
    fields: dict[str, Any] = draw(_fields)
    if not draw(st.integers(0, 3)):
        return Event(draw(name), **fields)
    drawn = fields.pop("user", None)
    known = {} if drawn is None else {field: value for field, value in asdict(drawn).items() if value is not None}
    return Event(draw(_sound_name), user=replace(_SOUND_USER, **known), **{**fields, **_some_of(draw, _SOUND)})


def _some_of(draw: st.DrawFn, fields: Mapping[str, Any]) -> dict[str, Any]:
    """All of them, or all but one."""
    missing = draw(st.none() | st.none() | st.sampled_from(sorted(fields)))
    return {field: value for field, value in fields.items() if field != missing}


def _merged(draw: st.DrawFn, sound: Any, drawn: Any) -> Any:
    """The sound struct with a few fields of the drawn one in it."""
    odd = {field: value for field, value in asdict(drawn).items() if value is not None}
    if not odd:
        return sound
    chosen = draw(st.sets(st.sampled_from(sorted(odd)), max_size=3))
    return replace(sound, **{field: odd[field] for field in chosen})


@st.composite
def nearly_sound_events(draw: st.DrawFn) -> Event:
    """Events that most platforms take but for a few fields, each of which may hold anything."""
    drawn = draw(_fields)
    chosen = draw(st.sets(st.sampled_from(sorted(drawn)), max_size=6))
    fields: dict[str, Any] = {"event_id": "e-1", "user": _SOUND_USER, **_SOUND}
    for field in sorted(chosen):
        value, sound = drawn[field], fields.get(field)
        fields[field] = _merged(draw, sound, value) if isinstance(sound, Struct) else value
    fields["source"] = draw(st.sampled_from(("website", "website", *get_args(Source))))
    return Event(draw(_sound_name | name), **fields)
