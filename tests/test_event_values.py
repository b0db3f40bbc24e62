"""What an event makes of values that are of somebody's own types, too many, too large, or no JSON."""

from __future__ import annotations

import contextlib
import enum
import math
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ClickIds, ConfigError, Consent, Device, Event, EventError, Hashed, Item, Page, User
from capi_async.amounts import price
from capi_async.destinations import Snap
from capi_async.event import (
    MAX_ADDRESSEES,
    MAX_EVENT_CHARS,
    MAX_IDENTIFIERS,
    MAX_ITEMS,
    MAX_JSON_BYTES,
    App,
)
from capi_async.plain import MAX_VALUES, shown

WHEN = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Text(str):  # noqa: SLOT000 - as those that come in
    """As SafeString, Markup, lxml's results and numpy's texts are."""

    def __str__(self) -> str:
        return "never this"

    def lower(self) -> str:
        return "nor this"


class Float(float):
    """As numpy prints its own."""

    def __repr__(self) -> str:
        return f"np.float64({float.__repr__(self)})"


class Number(int):
    """A whole number of somebody's."""

    def __repr__(self) -> str:
        return "Number(?)"


class Money(Decimal):
    """A decimal of somebody's."""


class Moment(datetime):
    """As pandas' Timestamp."""


class Day(date):
    """A date of somebody's."""


class NoTime(datetime):
    """As pandas' NaT: an instance of datetime that is none."""

    def utcoffset(self) -> Any:
        raise ValueError("no time")


class Colour(enum.Enum):
    """Members whose value is text."""

    RED = "red"


class Kind(str, enum.Enum):  # noqa: UP042 - as it is often written
    """Members that are text."""

    SITE = "website"
    GOOD = "product"


class Scalar:
    """As numpy's scalars that are no subclass of a plain type."""

    dtype = "float32"

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __index__(self) -> int:
        return int(self.text)

    def item(self) -> float:
        return float(self.text)


class Zone(tzinfo):
    """A time zone of somebody's, which gives what it was made with."""

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def utcoffset(self, when: datetime | None) -> Any:
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


def refused(make: Any) -> EventError:
    """The error of a value that is not taken."""
    with pytest.raises(EventError) as found:
        make()
    return found.value


def test_texts_of_somebodys_type_are_made_plain_everywhere() -> None:
    """Read as what they hold, not as they print."""
    text = Text("abc")
    for kind, names in {
        User: ("email", "phone", "external_id", "first_name", "city", "ip", "user_agent", "idfv", "date_of_birth"),
        Item: ("id", "name", "category", "brand", "variant"),
        Page: ("url", "referrer", "title"),
        ClickIds: ("fbc", "ttclid", "epik"),
        App: ("id", "package", "version"),
        Device: ("model", "locale"),
    }.items():
        for name in names:
            made = kind(**{"id": "x", name: text} if kind is Item else {name: text})
            assert type(getattr(made, name)) is str, (kind, name)
            assert getattr(made, name) == "abc"
    given_texts: dict[str, Any] = dict.fromkeys(
        ("event_id", "order_id", "search_string", "content_name", "description", "method"), text
    )
    made_event = Event(Text("lead"), currency=Text("usd"), to=[Text("snap")], **given_texts)
    assert {type(getattr(made_event, name)) for name in given_texts} == {str}
    assert (type(made_event.name), made_event.currency, type(made_event.currency)) == (str, "USD", str)
    assert [type(name) for name in made_event.to or ()] == [str]
    assert [type(one) for one in User(email=[Text("a"), "b"]).email or ()] == [str, str]
    assert type(Consent(region=Text("US-CA")).region) is str
    assert type(Hashed(Text("a" * 64), Text("email")).variant) is str


def test_members_of_an_enumeration_stand_for_their_texts() -> None:
    """Whether they are text themselves or only hold it."""
    made = Event("lead", source=Kind.SITE, content_type=Kind.GOOD, method=Colour.RED, properties={"c": Colour.RED})  # type: ignore[arg-type]
    assert (made.source, made.content_type, made.method, made.properties) == ("website", "product", "red", {"c": "red"})
    assert {type(made.source), type(made.content_type), type(made.method)} == {str}


@pytest.mark.parametrize(
    ("given_value", "held"),
    [
        (Float(19.99), "19.99"), (Number(7), "7"), (Money("1.50"), "1.50"), (Text("12.50"), "12.50"),
        (Scalar("19.99"), "19.99"),
    ],
)  # fmt: skip
def test_amounts_of_somebodys_type_are_exact(given_value: Any, held: str) -> None:
    """Through the plain type's own text."""
    for made in (
        Event("purchase", value=given_value).value,
        Event("purchase", predicted_ltv=given_value).predicted_ltv,
        Item(id="x", price=given_value).price,
        Device(screen_density=given_value).screen_density,
    ):
        assert type(made) is Decimal
        assert str(made) == held


def test_whole_numbers_of_somebodys_type_are_made_plain() -> None:
    """Quantities and sizes."""
    for number in (Number(3), Scalar("3")):
        held: Any = number
        found = (Item(id="x", quantity=held).quantity, Event("lead", num_items=held).num_items)
        assert (*found, Device(cpu_cores=held).cpu_cores) == (3, 3, 3)
        assert {type(one) for one in found} == {int}


def test_times_and_dates_of_somebodys_type_are_made_plain() -> None:
    """The same moment, in a zone that asks nobody any more."""
    zone = Zone(timedelta(hours=2))
    made = Event("lead", time=Moment(2026, 1, 15, 14, tzinfo=zone)).time
    assert type(made) is datetime
    assert (made, made.utcoffset()) == (WHEN, timedelta(hours=2))
    zone.gives = RuntimeError("no more")
    assert made == WHEN
    born = User(date_of_birth=Day(1997, 12, 26)).date_of_birth
    assert (type(born), born) == (date, date(1997, 12, 26))
    assert type(User(date_of_birth=Moment(1997, 12, 26)).date_of_birth) is date
    assert type(Event("lead", properties={"at": Moment(2026, 1, 1)}).properties["at"]) is datetime


@pytest.mark.parametrize("gives", [ZeroDivisionError(), timedelta(days=2), 7, "x", None, timedelta(seconds=86_400)])
def test_a_zone_that_is_none_is_refused_by_field(gives: Any) -> None:
    """Whatever it raises or gives."""
    when = WHEN.replace(tzinfo=Zone(gives))
    assert refused(lambda: Event("lead", time=when)).field == "time"
    assert refused(lambda: ClickIds(fbclid_seen=when)).field == "click.fbclid_seen"
    assert refused(lambda: App(install_time=when)).field == "app.install_time"
    assert refused(lambda: Event("lead", time=NoTime(2026, 1, 1, tzinfo=UTC))).field == "time"


def test_properties_of_somebodys_types_are_made_plain_at_any_depth() -> None:
    """And what is plain already stays the caller's own object."""
    deep = {Text("k"): [Float(1.5), (Number(2), Text("t")), {"m": Money("0.10")}, Scalar("2.5")]}
    made = Event("lead", properties=deep, extra={"snap": deep})
    for held in (made.properties, made.extra["snap"]):
        assert held == {"k": [1.5, [2, "t"], {"m": Decimal("0.10")}, 2.5]}
        assert [type(key) for key in held] == [str]
        assert [type(one) for one in held["k"]] == [float, list, dict, float]
    plain = {"a": [1, {"b": None}]}
    assert Event("lead", properties=plain).properties is plain


NO_JSON: list[Any] = [
    math.nan, math.inf, -math.inf, Float("nan"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"),
    msgspec.Raw(b"NaN"), msgspec.Raw(b'{"a":1}'), {Decimal("NaN")},
]  # fmt: skip


@pytest.mark.parametrize("value", NO_JSON, ids=range(len(NO_JSON)))
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: [1, x], lambda x: {"a": {"b": (x,)}}], ids=["", "list", "deep"]
)
def test_numbers_that_json_has_not_are_refused_when_the_event_is_made(value: Any, wrap: Any) -> None:
    """In properties and extra, however deep, and the key is named."""
    assert refused(lambda: Event("lead", properties={"ok": 1, "bad": wrap(value)})).field.startswith("properties")
    assert refused(lambda: Event("lead", extra={"snap": {"bad": wrap(value)}})).field.startswith("extra")
    assert refused(lambda: Event.from_dict({"name": "lead", "properties": {"bad": wrap(value)}})).field


@given(
    st.recursive(
        st.sampled_from([1, 1.5, "x", None, True, Float(2.5), Text("t"), Number(4), Money("1"), object(), *NO_JSON[:6]])
        | st.floats() | st.decimals() | st.datetimes(),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_properties_are_plain_or_refused(value: Any) -> None:
    """No other error, and nothing that a JSON reader would choke on is held."""
    try:
        made = Event("lead", properties={"x": value})
    except EventError:
        return
    try:
        text = msgspec.json.Encoder(decimal_format="number").encode(made.properties)
    except TypeError:  # an object, which is named when it is encoded
        return
    msgspec.json.decode(text)


def test_an_object_that_cannot_be_looked_into_is_refused() -> None:
    """Whatever it raises."""

    class Broken(dict[str, Any]):
        def values(self) -> Any:
            raise ZeroDivisionError

    assert refused(lambda: Event("lead", properties={"x": Broken(a=1)})).field == "properties"


# Bounds


def test_an_event_of_too_many_parts_is_refused_in_words() -> None:
    """Items, identifiers, addressees, values: each with its bound."""
    items = [Item(id="1")] * (MAX_ITEMS + 1)
    for field, make in {
        "items": lambda: Event("purchase", items=items),
        "user.email": lambda: User(email=["a@b.example"] * (MAX_IDENTIFIERS + 1)),
        "user.phone": lambda: User(phone=["+14155552671"] * (MAX_IDENTIFIERS + 1)),
        "user.external_id": lambda: User(external_id=["a"] * (MAX_IDENTIFIERS + 1)),
        "to": lambda: Event("lead", to=["snap"] * (MAX_ADDRESSEES + 1)),
        "properties": lambda: Event("lead", properties={f"k{n}": n for n in range(MAX_VALUES + 1)}),
        "properties.deep": lambda: Event("lead", properties={"deep": [[0] * MAX_VALUES] * 2}),
        "extra.snap": lambda: Event("lead", extra={"snap": {"list": [0] * (MAX_VALUES + 1)}}),
    }.items():
        found = refused(make)
        assert found.field == field
        assert len(str(found)) < 200
    whole = Event("purchase", items=items[1:], user=User(email=["a@b.example"] * MAX_IDENTIFIERS), to=["snap"])
    assert len(whole.items) == MAX_ITEMS


def test_an_event_of_too_many_characters_is_refused_wherever_they_are() -> None:
    """One text, many, in items or in free properties."""
    long = "x" * (MAX_EVENT_CHARS + 1)
    half = "x" * (MAX_EVENT_CHARS // 2 + 1)
    for make in (
        lambda: Event(long), lambda: Event("lead", event_id=long), lambda: Event("lead", description=long),
        lambda: Event("lead", description=half, method=half), lambda: User(email=long),
        lambda: User(email=[half, half]), lambda: User(user_agent=long),
        lambda: Page(url=half, referrer=half), lambda: ClickIds(fbc=long),
        lambda: Event("lead", properties={"a": half, "b": [half]}), lambda: Event("lead", properties={long: 1}),
        lambda: Event("lead", properties={"a": half}, extra={"snap": {"b": half}}), lambda: Event("lead", to=[long]),
        lambda: Event("lead", items=[Item(id="x", name="n" * 4_000)] * 1_000), lambda: App(id=long),
        lambda: Device(model=long), lambda: Item(id=long),
    ):  # fmt: skip
        found = refused(make)
        assert "larger than" in found.reason
        assert len(str(found)) < 200
    assert Event("lead", description=half).description == half


def test_json_of_too_many_items_or_bytes_is_refused_before_it_is_read() -> None:
    """Its parts are counted, not made."""
    text = '{"name":"purchase","items":[' + ",".join(['{"id":"1"}'] * (MAX_ITEMS + 1)) + "]}"
    assert refused(lambda: Event.from_json(text)).field == "items"
    assert refused(lambda: Event.from_json(text.encode())).field == "items"
    assert refused(lambda: Event.from_dict(msgspec.json.decode(text))).field == "items"
    assert "bytes" in refused(lambda: Event.from_json(b" " * (MAX_JSON_BYTES + 1))).reason


@pytest.mark.parametrize("levels", [1_000, 5_000, 150_000])
@pytest.mark.parametrize(
    "form", ['{{"name":"lead","properties":{{"a":{}}}}}', "{}", '{{"unknown":{}}}', '{{"user":{}}}']
)
def test_json_nested_without_end_is_an_error_of_ours(levels: int, form: str) -> None:
    """At whatever depth the interpreter gives up, and nowhere is it a crash."""
    for deep in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels, "[" * levels):
        with contextlib.suppress(EventError):
            Event.from_json(form.format(deep))


def test_a_mapping_nested_without_end_is_an_error_of_ours() -> None:
    """From other readers of JSON."""
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": deep, "t": Text("x")}
    for make in (lambda: Event.from_dict({"name": "lead", "user": deep}), lambda: Event("lead", properties=deep)):
        assert len(str(refused(make))) < 200


def test_long_prices_are_not_remembered() -> None:
    """Any page can send one, and thousands of them would fill the memory."""
    before = price.cache_info().currsize
    for number in range(50):
        assert Item(id="x", price="0" * 10_000 + str(number)).price == number
    assert price.cache_info().currsize == before


# What errors repeat


@given(st.text(max_size=300))
def test_names_out_of_an_event_are_short_and_printable_in_errors(name: str) -> None:
    """Keys are outsiders' text: no control characters, no novels, no addresses."""
    said = shown(name)
    assert said.isprintable()
    assert len(said) <= 41
    assert "@" not in said


def test_unknown_field_names_are_not_repeated_whole() -> None:
    """They may be anybody's data, or meant for somebody's terminal."""
    for name in ("zq.person@leak.example", "+14155550199", "x" * 500, "\x1b[2J\x07"):
        found = refused(lambda name=name: Event.from_dict({"name": "lead", name: 1}))
        assert name not in str(found)
        assert str(found).isprintable()
        assert len(str(found)) < 150
    assert "nmae" in str(refused(lambda: Event.from_dict({"name": "lead", "nmae": 1})))


class _Strange:
    """Of no type that any field takes."""


@pytest.mark.parametrize("field", [name for name in Event.__struct_fields__ if name != "items"])
def test_a_value_of_a_strange_type_is_refused_by_its_own_field(field: str) -> None:
    """The quick look at an event names its fields in their order: one out of place would be found here."""
    fields: dict[str, Any] = {"name": "purchase", "event_id": "1", field: _Strange()}
    with pytest.raises(EventError) as caught:
        Event(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize("field", list(User.__struct_fields__))
def test_a_users_value_of_a_strange_type_is_refused_by_its_own_field(field: str) -> None:
    """No field is left out of the look at all of them."""
    with pytest.raises(EventError) as caught:
        User(**{field: _Strange()})
    assert caught.value.field == f"user.{field}"


class _Hostile:
    """Raises whatever it is asked, as an object with a broken ``__getattr__`` does."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class _Arraylike:
    """Compares element by element and has no truth value, as arrays and series do."""

    dtype = "float64"

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __len__(self) -> int:
        return 1


class _BrokenMapping(dict[str, Any]):
    def values(self) -> Any:
        raise RuntimeError


_ODD = {"hostile": _Hostile, "array": _Arraylike, "set": lambda: {1, 2}, "bytes": lambda: b"x", "object": object}


@pytest.mark.parametrize("odd", _ODD)
@pytest.mark.parametrize("field", ["items", "properties", "extra", "value", "num_items", "predicted_ltv", "user", "to"])
def test_an_odd_object_is_refused_by_the_name_of_its_field(field: str, odd: str) -> None:
    """Never by another exception."""
    with pytest.raises(EventError) as raised:
        Event("purchase", **{field: _ODD[odd]()})
    assert raised.value.field == field


def test_a_mapping_that_cannot_be_read_is_refused() -> None:
    """Whatever it raises."""
    for field in ("properties", "extra"):
        with pytest.raises(EventError) as raised:
            Event("purchase", **{field: _BrokenMapping(snap={"a": 1})})
        assert raised.value.field == field


@pytest.mark.parametrize("odd", [*_ODD, "number"])
def test_json_is_text_or_bytes_and_a_mapping_is_a_mapping(odd: str) -> None:
    """Anything else is told where to go."""
    made: Any = _ODD.get(odd, int)()
    if odd != "bytes":
        with pytest.raises(EventError, match="needs JSON as text or bytes"):
            Event.from_json(made)
    with pytest.raises(EventError, match="needs a mapping"):
        Event.from_dict(made)


def test_json_in_any_buffer_is_read() -> None:
    """Bytes, their views, and subclasses of text."""
    text = '{"name":"lead"}'
    buffers: list[Any] = [text.encode(), bytearray(text.encode()), memoryview(text.encode()), Text(text)]
    assert [Event.from_json(one).name for one in buffers] == ["lead"] * 4


@pytest.mark.parametrize("account", ["null", "None", "YOUR_PIXEL_ID", "changeme"])
def test_a_word_in_the_place_of_an_account_is_refused(account: str) -> None:
    """It stands for an id that nobody filled in."""
    with pytest.raises(ConfigError, match="pixel_id"):
        Snap(pixel_id=account, access_token="t")


def test_a_list_of_somebodys_own_kind_is_read_once_and_not_held() -> None:
    """Its items stay, whatever becomes of it."""

    class Lines(list[Item]):
        pass

    lines = Lines([Item(id="1"), Item(id="2")])
    event = Event("purchase", items=lines)
    lines.clear()
    assert [item.id for item in event.items] == ["1", "2"]
