"""The canonical event: malformed input fails where it is written, names its field, and quotes no value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import App, ClickIds, Consent, Device, Event, EventError, Hashed, Item, Page, User
from capi_async.event import new_event_id

DIGEST = "ab" * 32
WHEN = datetime(2026, 1, 15, 12, tzinfo=UTC)


def error(make: Any) -> EventError:
    with pytest.raises(EventError) as raised:
        make()
    return raised.value


# Defaults


def test_the_event_id_of_an_order_can_be_computed_by_a_browser_tag() -> None:
    """Name, colon, order id: a repeat is the same event."""
    assert Event("purchase", order_id="1001").event_id == "purchase:1001"
    assert Event.from_json(b'{"name":"purchase","order_id":"1001"}').event_id == "purchase:1001"
    assert Event("purchase", order_id="1001", event_id="mine").event_id == "mine"


def test_an_event_id_without_an_order_is_a_time_ordered_uuid() -> None:
    """Version 7: the time in front."""
    found = Event("lead").event_id
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found)
    many = [new_event_id() for _ in range(2_000)]
    assert len(set(many)) == 2_000
    assert [one[:13] for one in many] == sorted(one[:13] for one in many)
    stamp = int(found[:8] + found[9:13], 16) / 1000
    assert abs(stamp - datetime.now(UTC).timestamp()) < 60


def test_the_time_is_now_and_the_source_is_the_website() -> None:
    """Unless something else is said."""
    made = Event("page_view")
    assert abs((made.time - datetime.now(UTC)).total_seconds()) < 60
    assert made.time.tzinfo is UTC
    assert made.source == "website"


# Money


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (19.99, "19.99"), (0.1, "0.1"), (1e-7, "1E-7"), (72, "72"), ("72.39", "72.39"), (" 72.39 ", "72.39"),
        ("1e3", "1000"), (1e15, "1000000000000000.0"), (Decimal("12.50"), "12.50"), (0, "0"), (-0.0, "0.0"),
        ("0E+5", "0"), ("1200", "1200"),
    ],
)  # fmt: skip
def test_money_is_exact(given: Any, held: str) -> None:
    """A float through its shortest text; exponents never grow into zeros."""
    value = Event("purchase", value=given, currency="JPY").value
    assert isinstance(value, Decimal)
    assert str(value) == held


@pytest.mark.parametrize(("text", "held"), [("19.99", "19.99"), ("72", "72"), ('"72.390"', "72.390"), ("0.1", "0.1")])
def test_money_is_exact_in_json(text: str, held: str) -> None:
    """As a number and as text."""
    assert str(Event.from_json(f'{{"name":"purchase","value":{text}}}').value) == held


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), "NaN", "-Infinity", "sNaN", -1, -0.01, "-5", Decimal(-1), "1e400", 1e16, "1e-400",
        "twelve", "12,50", "", True, b"1", [], object(), Decimal("1E+999999"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["value", "predicted_ltv", "items.price", "device.screen_density"])
def test_what_is_no_money_is_refused(field: str, value: Any) -> None:
    """NaN, infinite, negative, out of range, or no number."""
    make = {
        "value": lambda: Event("purchase", value=value),
        "predicted_ltv": lambda: Event("purchase", predicted_ltv=value),
        "items.price": lambda: Item(id="sku", price=value),
        "device.screen_density": lambda: Device(screen_density=value),
    }[field]
    assert error(make).field == field


@pytest.mark.parametrize("text", ["NaN", "1e400", "-1", '"NaN"', '"1e400"', '"-1"', '"x"', "true", "[]", "{}"])
def test_what_is_no_money_is_refused_in_json(text: str) -> None:
    """The field is named; text that is no JSON at all has none."""
    found = error(lambda: Event.from_json(f'{{"name":"purchase","value":{text}}}'))
    assert found.field == ("" if text == "NaN" else "value")


@given(st.decimals(min_value=0, max_value=10**12, places=3))
def test_any_amount_survives_json(value: Decimal) -> None:
    """Digit by digit."""
    made = Event.from_json(json.dumps({"name": "purchase", "value": str(value)}))
    assert made.value == value


def test_a_negative_value_says_what_to_do_instead() -> None:
    """A refund is an event of its own."""
    assert str(error(lambda: Event("purchase", value=-3))) == (
        "value: must not be negative; a refund is Event('refund', ...)"
    )


def test_currencies_are_held_in_upper_case() -> None:
    """Three letters; whether it exists is asked when it is sent."""
    assert Event("purchase", currency=" usd ").currency == "USD"
    for bad in ("US", "DOLLAR", "U$D", "", "12A", "Ｕ ＳＤ"):
        assert error(lambda bad=bad: Event("purchase", currency=bad)).field == "currency"


# Time


@pytest.mark.parametrize(
    "value",
    [WHEN.replace(tzinfo=None), 1_768_478_400, 1_768_478_400_000, "2026-01-15T12:00:00Z", None, date(2026, 1, 15)],
)  # fmt: skip
def test_a_time_without_offset_or_unit_is_refused(value: Any) -> None:
    """Naive, seconds, milliseconds, text: nothing is guessed."""
    found = error(lambda: Event("purchase", time=value))
    assert found.field == "time"
    assert "datetime.now(timezone.utc)" in found.reason
    other: Any = value or 5
    assert error(lambda: ClickIds(fbclid_seen=other)).field == "click.fbclid_seen"
    assert error(lambda: App(install_time=other)).field == "app.install_time"


@pytest.mark.parametrize("text", ['"2026-01-15T12:00:00"', "1768478400", "1768478400000", '"yesterday"', "null", "1.5"])
@pytest.mark.parametrize("field", ["time", "click.fbclid_seen"])
def test_a_time_in_json_needs_its_offset(field: str, text: str) -> None:
    """The same advice, at the same path."""
    if field == "time":
        found = error(lambda: Event.from_json(f'{{"name":"purchase","time":{text}}}'))
    elif text == "null":
        assert Event.from_json('{"name":"purchase","click":{"fbclid_seen":null}}').click.fbclid_seen is None
        return
    else:
        found = error(lambda: Event.from_json(f'{{"name":"purchase","click":{{"fbclid_seen":{text}}}}}'))
    assert found.field == field
    assert found.reason.startswith(("needs a date and time with its offset", "has no time zone"))


def test_offsets_are_kept() -> None:
    """An aware time is an aware time."""
    berlin = timezone(timedelta(hours=1))
    assert Event("purchase", time=datetime(2026, 1, 15, 13, tzinfo=berlin)).time == WHEN
    assert Event.from_json('{"name":"purchase","time":"2026-01-15T13:00:00+01:00"}').time == WHEN


# Everything else that can be wrong

BAD: list[tuple[str, Any]] = [
    ("name", lambda: Event("")),
    ("name", lambda: Event("  ")),
    ("name", lambda: Event(None)),  # type: ignore[arg-type]
    ("name", lambda: Event(7)),  # type: ignore[arg-type]
    ("event_id", lambda: Event("lead", event_id=17)),  # type: ignore[arg-type]
    ("event_id", lambda: Event("lead", event_id=0)),  # type: ignore[arg-type]
    ("source", lambda: Event("lead", source="web")),  # type: ignore[arg-type]
    ("source", lambda: Event("lead", source=["website"])),  # type: ignore[arg-type]
    ("order_id", lambda: Event("purchase", order_id=1001)),  # type: ignore[arg-type]
    ("currency", lambda: Event("purchase", currency=840)),  # type: ignore[arg-type]
    ("search_string", lambda: Event("search", search_string=b"shoes")),  # type: ignore[arg-type]
    ("num_items", lambda: Event("purchase", num_items=-1)),
    ("num_items", lambda: Event("purchase", num_items=True)),
    ("num_items", lambda: Event("purchase", num_items="2")),  # type: ignore[arg-type]
    ("content_type", lambda: Event("purchase", content_type="shoe")),  # type: ignore[arg-type]
    ("content_type", lambda: Event("purchase", content_type={})),  # type: ignore[arg-type]
    ("delivery_category", lambda: Event("purchase", delivery_category="drone")),  # type: ignore[arg-type]
    ("delivery_category", lambda: Event("purchase", delivery_category=[])),  # type: ignore[arg-type]
    ("user", lambda: Event("lead", user={"email": "a@b.example"})),  # type: ignore[arg-type]
    ("user", lambda: Event("lead", user="a@b.example")),  # type: ignore[arg-type]
    ("page", lambda: Event("lead", page="https://shop.example")),  # type: ignore[arg-type]
    ("click", lambda: Event("lead", click=[])),  # type: ignore[arg-type]
    ("app", lambda: Event("lead", app=User())),  # type: ignore[arg-type]
    ("device", lambda: Event("lead", device="iPhone")),  # type: ignore[arg-type]
    ("consent", lambda: Event("lead", consent=True)),  # type: ignore[arg-type]
    ("items", lambda: Event("lead", items="sku")),  # type: ignore[arg-type]
    ("items", lambda: Event("lead", items=5)),  # type: ignore[arg-type]
    ("items[1]", lambda: Event("lead", items=[Item(id="a"), {"id": "b"}])),  # type: ignore[list-item]
    ("to", lambda: Event("lead", to="snap")),
    ("to", lambda: Event("lead", to=[1])),  # type: ignore[list-item]
    ("properties", lambda: Event("lead", properties=["x"])),  # type: ignore[arg-type]
    ("extra", lambda: Event("lead", extra={"snap": 1})),  # type: ignore[dict-item]
    ("test", lambda: Event("lead", test="yes")),  # type: ignore[arg-type]
    ("items.id", lambda: Item(id="")),
    ("items.id", lambda: Item(id=5)),  # type: ignore[arg-type]
    ("items.quantity", lambda: Item(id="a", quantity=0)),
    ("items.quantity", lambda: Item(id="a", quantity=1.5)),  # type: ignore[arg-type]
    ("items.name", lambda: Item(id="a", name=5)),  # type: ignore[arg-type]
    ("items.delivery_category", lambda: Item(id="a", delivery_category=[])),  # type: ignore[arg-type]
    ("page.url", lambda: Page(url=5)),  # type: ignore[arg-type]
    ("click.ttclid", lambda: ClickIds(ttclid=5)),  # type: ignore[arg-type]
    ("app.id", lambda: App(id=5)),  # type: ignore[arg-type]
    ("app.att_status", lambda: App(att_status="maybe")),  # type: ignore[arg-type]
    ("app.att_status", lambda: App(att_status=[])),  # type: ignore[arg-type]
    ("app.application_tracking", lambda: App(application_tracking=1)),  # type: ignore[arg-type]
    ("device.model", lambda: Device(model=5)),  # type: ignore[arg-type]
    ("device.screen_width", lambda: Device(screen_width=-1)),
    ("consent.ad_storage", lambda: Consent(ad_storage="granted")),  # type: ignore[arg-type]
    ("consent.region", lambda: Consent(region="California")),
    ("consent.tcf", lambda: Consent(tcf=b"CP")),  # type: ignore[arg-type]
    ("digest", lambda: Hashed("xyz")),
    ("digest", lambda: Hashed(5)),  # type: ignore[arg-type]
    ("user.email", lambda: User(email=5)),  # type: ignore[arg-type]
    ("user.email[1]", lambda: User(email=["a@b.example", 5])),  # type: ignore[list-item]
    ("user.email", lambda: User(email=Hashed(DIGEST, "phone_e164"))),
    ("user.phone", lambda: User(phone=Hashed(DIGEST))),
    ("user.phone", lambda: User(phone=4_155_552_671)),  # type: ignore[arg-type]
    ("user.city", lambda: User(city=5)),  # type: ignore[arg-type]
    ("user.city", lambda: User(city=Hashed(DIGEST))),
    ("user.city", lambda: User(city={"Rome", "Oslo"})),  # type: ignore[arg-type]
    ("user.city[1]", lambda: User(city=["Rome", 5])),  # type: ignore[list-item]
    ("user.city[0]", lambda: User(city=[["Rome"]])),  # type: ignore[list-item]
    ("user.zip[1]", lambda: User(zip=("94107", Hashed(DIGEST)))),
    ("user.country[0]", lambda: User(country=[Hashed(DIGEST, "city_joined"), "US"])),
    ("user.gender", lambda: User(gender=["f"] * 101)),
    ("user.date_of_birth[2]", lambda: User(date_of_birth=["1997-12-26", date(1997, 12, 26), 19_971_226])),  # type: ignore[list-item]
    ("user.middle_name", lambda: User(middle_name=["Ann", "Lee"])),  # type: ignore[arg-type]
    ("user.ip", lambda: User(ip=Hashed(DIGEST))),  # type: ignore[arg-type]
    ("user.date_of_birth", lambda: User(date_of_birth=19_971_226)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "make"), BAD, ids=[f"{number}-{field}" for number, (field, _) in enumerate(BAD)])
def test_a_malformed_value_names_its_field(field: str, make: Any) -> None:
    """With the path in front of the reason; the same error is a ``ValueError``."""
    found = error(make)
    assert found.field == field
    assert str(found) == f"{field}: {found.reason}"
    assert isinstance(found, ValueError)


def test_consent_strings_are_kept_and_not_repeated() -> None:
    """A consent string tells when a person chose what, and with whom: it is no text for logs."""
    consent = Consent(ad_storage=True, tcf="CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", gpp="DBABMA~CPXxRfAP")
    assert repr(consent) == "Consent(ad_storage=True, tcf=…, gpp=…)"
    assert consent.gpp == "DBABMA~CPXxRfAP"


STRUCTS = [Event, User, Item, Page, ClickIds, App, Device, Consent, Hashed]
ODD = [object(), [], {}, (), 1, -1, 1.5, float("nan"), True, b"bytes", {"a": 1}, [1], {1}, WHEN, 1j, "se\ud800cret"]


def _refused_field(kind: Any, values: dict[str, Any]) -> str | None:
    """Last part of the field that an ``EventError`` names; ``None`` if the values were taken."""
    try:
        kind(**values)
    except EventError as found:
        return found.field.rpartition(".")[2].partition("[")[0]
    return None


@pytest.mark.parametrize("kind", STRUCTS)
def test_no_value_of_any_kind_gives_another_error(kind: Any) -> None:
    """A field takes it, or says so: no ``TypeError`` from the inside."""
    required = {"Event": {"name": "lead"}, "Item": {"id": "sku"}, "Hashed": {"digest": DIGEST}}.get(kind.__name__, {})
    for field in kind.__struct_fields__:
        for value in ODD:
            named = _refused_field(kind, {**required, field: value})
            assert named in {None, field}


SECRET = "ada.lovelace@mail.example"

JSON: list[tuple[str, Any]] = [
    ("", "[]"), ("", '"x"'), ("", "{"), ("", b"\xff\xfe"), ("", '{"name":"lead"} x'), ("", ""),
    ("", {}),
    ("name", {"name": 5}),
    ("nmae", {"name": "lead", "nmae": SECRET}),
    ("user.emial", {"name": "lead", "user": {"emial": SECRET}}),
    ("items[1].sku", {"name": "lead", "items": [{"id": "a"}, {"id": "b", "sku": SECRET}]}),
    ("user", {"name": "lead", "user": SECRET}),
    ("user.email", {"name": "lead", "user": {"email": 5}}),
    ("user.email[1]", {"name": "lead", "user": {"email": [SECRET, 5]}}),
    ("user.phone", {"name": "lead", "user": {"phone": {"digest": DIGEST}}}),
    ("items[1].quantity", {"name": "lead", "items": [{"id": "a"}, {"id": "b", "quantity": 0}]}),
    ("items[0].price", {"name": "lead", "items": [{"id": "a", "price": "-1"}]}),
    ("source", {"name": "lead", "source": SECRET}),
    ("app.att_status", {"name": "lead", "app": {"att_status": SECRET}}),
    ("consent.region", {"name": "lead", "consent": {"region": SECRET}}),
    ("consent.ad_storage", {"name": "lead", "consent": {"ad_storage": SECRET}}),
    ("value", {"name": "lead", "value": SECRET}),
    ("currency", {"name": "lead", "currency": SECRET}),
    ("time", {"name": "lead", "time": SECRET}),
    ("click.ttclid", {"name": "lead", "click": {"ttclid": 7}}),
    ("num_items", {"name": "lead", "num_items": SECRET}),
    ("to", {"name": "lead", "to": SECRET}),
    ("test", {"name": "lead", "test": SECRET}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "data"), JSON, ids=[f"{number}-{field}" for number, (field, _) in enumerate(JSON)])
def test_decoding_names_the_path_and_quotes_nothing(field: str, data: Any) -> None:
    """JSON and mappings alike."""
    text = data if isinstance(data, (str, bytes)) else json.dumps(data)
    found = error(lambda: Event.from_json(text))
    assert found.field == field
    assert SECRET not in str(found)
    assert found.__cause__ is None
    if isinstance(data, dict):
        assert error(lambda: Event.from_dict(data)).field == field
        assert SECRET not in str(error(lambda: Event.from_dict(data)))


@pytest.mark.parametrize("data", [None, 5, "x", [], [1]])
def test_from_dict_needs_a_mapping(data: Any) -> None:
    """Anything else is an error of ours."""
    assert error(lambda: Event.from_dict(data)).field == ""


def test_a_whole_event_comes_out_of_json_and_of_a_mapping() -> None:
    """Every kind of part."""
    data = {
        "name": "purchase",
        "order_id": "1001",
        "time": "2026-01-15T12:00:00Z",
        "value": 72.39,
        "currency": "usd",
        "user": {"email": ["a@b.example", {"digest": DIGEST.upper()}], "date_of_birth": "1997-12-26"},
        "items": [{"id": "sku-1", "quantity": 2, "price": "10.00"}],
        "page": {"url": "https://shop.example/thanks"},
        "click": {"ttclid": " abc ", "fbclid_seen": "2026-01-15T11:00:00Z"},
        "consent": {"ad_storage": True, "region": "US-CA"},
        "to": ["snap"],
        "properties": {"any": [1, {"x": None}]},
        "extra": {"snap": {"k": 1}},
    }
    made = Event(
        "purchase",
        order_id="1001",
        time=WHEN,
        value="72.39",
        currency="USD",
        user=User(email=["a@b.example", Hashed(DIGEST)], date_of_birth="1997-12-26"),
        items=[Item(id="sku-1", quantity=2, price="10.00")],
        page=Page(url="https://shop.example/thanks"),
        click=ClickIds(ttclid="abc", fbclid_seen=WHEN - timedelta(hours=1)),
        consent=Consent(ad_storage=True, region="US-CA"),
        to=["snap"],
        properties={"any": [1, {"x": None}]},
        extra={"snap": {"k": 1}},
    )
    for found in (Event.from_json(json.dumps(data)), Event.from_dict(data)):
        for field in Event.__struct_fields__:
            assert getattr(found, field) == getattr(made, field), field


def test_frozen_means_frozen() -> None:
    """An event is the same on every retry."""
    made = Event("lead")
    with pytest.raises(AttributeError):
        made.name = "purchase"  # type: ignore[misc]


def test_reprs_hold_nobodys_data() -> None:
    """They name what is set, not what it holds."""
    user = User(
        email=SECRET, phone="+14155552671", first_name="Ada", ip="203.0.113.9", external_id="cust-9",
        date_of_birth=date(1997, 12, 26),
    )  # fmt: skip
    made = Event(
        "purchase", event_id="e1", time=WHEN, user=user, page=Page(url=f"https://x.example/?e={SECRET}"),
        click=ClickIds(ttclid="E.C.P.click"), app=App(install_id="inst-1"), device=Device(model="Pixel"),
        search_string="ada's shoes", properties={"note": SECRET}, extra={"snap": {"em": SECRET}},
    )  # fmt: skip
    shown = " ".join(
        repr(one) for one in (made, user, made.page, made.click, made.app, made.device, Hashed(DIGEST, "email"))
    )
    for clear in (SECRET, "4155552671", "Ada", "203.0.113.9", "cust-9", "1997", "E.C.P", "inst-1", "shoes", DIGEST):
        assert clear not in shown
    assert repr(user) == "User(email=…, phone=…, external_id=…, first_name=…, date_of_birth=…, ip=…)"
    assert repr(made) == "Event('purchase', event_id='e1', time='2026-01-15T12:00:00+00:00', …)"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("12,50", "decimal comma"),
        ("1,234.50", "between the thousands"),
        ("1.234,50", "between the thousands"),
        ("1 234", "between the thousands"),
        ("$12.50", "before or after it"),
        ("12.50 USD", "before or after it"),
        (" ", "empty text"),
        ("twelve", "not a decimal number"),
    ],
)
@pytest.mark.parametrize("way", ["python", "json", "dict"])
def test_an_amount_that_cannot_be_read_says_what_is_wrong_and_what_is_right(text: str, wrong: str, way: str) -> None:
    """By every way in, with the field, and without the text itself."""
    plain = {"name": "purchase", "items": [{"id": "1"}, {"id": "2", "price": text}]}
    made: dict[str, Callable[[], object]] = {
        "python": lambda: Event("purchase", items=(Item(id="1"), Item(id="2", price=text))),
        "json": lambda: Event.from_json(json.dumps(plain)),
        "dict": lambda: Event.from_dict(plain),
    }
    with pytest.raises(EventError) as caught:
        made[way]()
    assert caught.value.field == ("items.price" if way == "python" else "items[1].price")
    assert wrong in caught.value.reason
    assert text.strip() == "" or text not in str(caught.value)
