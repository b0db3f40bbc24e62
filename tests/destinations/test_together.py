"""What a destination makes of many events at once is what it makes of each by itself, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from capi_async.destinations import Meta, Pinterest, Snap, TikTok, destination_types, row_of
from capi_async.destinations.declared import NAME, Part, known
from capi_async.destinations.snap.wire import SnapEvent, SnapUser
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Delivery, Receipt
from capi_async.event import ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.pii.identifiers import Identifiers, Plan
from capi_async.platform_fields import MetaFields
from capi_async.rows import Rows, Together
from capi_async.spec import ENCODER, Destination, Refusal, Wire
from capi_async.testing import any_event

SNAP = Snap(pixel_id="p-1", access_token="t")
DECLARED: tuple[Destination, ...] = (
    SNAP,
    Snap(pixel_id="p-1", access_token="t", partner='a "partner" of', keep_external_id_case=True),
    Meta(pixel_id="1", access_token="t"),
    Meta(pixel_id="1", access_token="t", test_event_code="TEST1", max_age_s=3_600.0),
    Pinterest(ad_account_id="1", access_token="t", partner_name="ss-partner", keep_external_id_case=True),
    TikTok(pixel_code="C", access_token="t"),
)
#: Texts that JSON writes in another way, or that are odd in another way.
ODD = ("", '"', "\\", "\n", "\x00", "\x1f", "\x7f", "é", "\u2028", "👩‍👩‍👧", "a,b", "}", "%s", "{0}", "null")


def visit(number: int = 0, **fields: Any) -> Event:
    """An order on the web by somebody known."""
    usual: dict[str, Any] = {
        "event_id": f"e-{number}",
        "time": datetime(2026, 11, 20, 8, 30, number % 60, 999_999, tzinfo=UTC),
        "user": User(email=f"somebody{number}@example.com", phone="+14155552671", city="Berlin", zip="94107"),
        "page": Page(url=f"https://shop.example/thanks?order={number}"),
        "value": Decimal("12.50"),
        "currency": "USD",
        "items": (Item(id=f"sku-{number}", price="12.50", quantity=1 + number % 3),),
    }
    return Event(fields.pop("name", "purchase"), **{**usual, **fields})


def together(destination: Destination, events: Sequence[Event]) -> Together | None:
    """What the destination makes of all of them."""
    known = Plan(destination.identifiers).known([one.user for one in events], [one.page for one in events])
    rows = Rows(events, [one.time.timestamp() for one in events], known)
    assert destination.together is not None
    return destination.together(rows)


def apart(destination: Destination, event: Event) -> Wire | Refusal:
    """What it makes of one."""
    return destination.to_wire(event, Plan(destination.identifiers).identify(event.user, event.page))


def assert_same(destination: Destination, events: Sequence[Event]) -> Together | None:
    """Each body that is there is the one that the event has by itself."""
    made = together(destination, events)
    for event, body, at in zip(events, made.bodies, made.expires_at, strict=True) if made else ():
        if body is None:
            continue
        wire = apart(destination, event)
        assert isinstance(wire, Wire), (wire, body)
        assert body == ENCODER.encode(wire.body)
        assert made is not None
        assert (made.head, at, made.resend_for_s, None) == (
            wire.head, wire.expires_at, wire.resend_for_s, wire.order_key,
        )  # fmt: skip
    return made


def assert_all(events: Sequence[Event]) -> None:
    """All of them are taken together everywhere."""
    for destination in DECLARED:
        made = assert_same(destination, events)
        assert made is not None, destination.type
        assert None not in made.bodies


@st.composite
def nearly_visits(draw: st.DrawFn) -> Event:
    """Visits of which a few fields may hold anything."""
    other = draw(any_event.nearly_sound_events())
    fields = draw(st.sets(st.sampled_from(_DRAWN), max_size=3))
    made = visit(draw(st.integers(0, 99)), name=draw(st.sampled_from(("purchase", "purchase", "add_to_cart", "lead"))))
    return replace(made, **{field: getattr(other, field) for field in fields})


_DRAWN = sorted(set(Event.__struct_fields__) - {"name", "to", "time"})


@pytest.mark.parametrize("destination", DECLARED, ids=lambda one: one.type)
@settings(max_examples=150, deadline=None)
@given(events=st.lists(nearly_visits() | any_event.events(), min_size=1, max_size=8))
def test_many_are_mapped_as_each_by_itself(destination: Destination, events: list[Event]) -> None:
    """Whatever the events: a body that is made with others is no other."""
    try:
        assert_same(destination, events)
    except UnicodeEncodeError:  # JSON cannot say it, and the engine looks at each by itself
        assert any(chr(0xD800) <= char <= chr(0xDFFF) for event in events for char in repr(event))


def test_most_visits_are_taken_together() -> None:
    """With click ids, granted consent, several items or none, and without an amount where it is no purchase."""
    orders = [visit(number) for number in range(20)]
    assert_all(orders)
    assert_all(orders[:1])
    assert_all([replace(one, click=ClickIds(fbp="fb.1.1768471200123.1", ttp="t", sc_cookie1="s")) for one in orders])
    assert_all([replace(one, consent=Consent(ad_storage=True, ad_user_data=True)) for one in orders])
    assert_all([replace(one, items=one.items * (number % 3)) for number, one in enumerate(orders)])
    assert_all([replace(one, value=None, currency=None, items=()) for one in map(_view, orders)])
    assert_all([one if number % 2 else _view(one) for number, one in enumerate(orders)])
    assert_all(
        [replace(one, value=Decimal("1E+3") if number % 2 else None) for number, one in enumerate(map(_view, orders))]
    )
    assert_all([replace(one, num_items=number or None) for number, one in enumerate(orders)])
    assert_all(
        [replace(one, description="d", content_name="c") if number else one for number, one in enumerate(orders)]
    )


def _view(event: Event) -> Event:
    return replace(event, name="add_to_cart", value=None, currency=None, items=())


def test_click_ids_in_the_address_are_found() -> None:
    """And those without their form are left out, as by themselves."""
    urls = ("https://shop.example/?ScCid=abc&fbclid=IwAR1aB&ttclid=E.C.P&epik=dj0y", "https://shop.example/")
    visits = [visit(number, page=Page(url=urls[number % 2], referrer=urls[0])) for number in range(8)]
    assert_all(visits)
    assert_all([replace(one, click=ClickIds(sc_click_id="no id", ttclid="x y", epik="?")) for one in visits])
    made = together(SNAP, visits)
    assert made is not None
    assert b'"sc_click_id":"abc"' in (made.bodies[0] or b"")


@pytest.mark.parametrize("text", ODD)
def test_texts_are_escaped_as_by_the_encoder(text: str) -> None:
    """In every field that holds text in clear, alone and beside others."""
    odd = visit(
        order_id=text, content_name=text, search_string=text, description=text, subscription_id=text,
        user=User(email="a@example.com", user_agent=text or None, external_id=text or None, city=text or None),
        items=(Item(id=text or "1", name=text, brand=text, category=text, price="0.10"),),
    )  # fmt: skip
    for events in ([odd], [odd, visit(1), visit(2)], [visit(1), odd]):
        for destination in DECLARED:
            assert_same(destination, events)


def test_what_is_asked_of_an_event_keeps_it_apart() -> None:
    """It is mapped by itself, and its neighbours together."""
    asked = (
        visit(test=True),
        visit(consent=Consent(ad_user_data=False)),
        visit(consent=Consent(sale_opt_out=True)),
        visit(device=Device(os="ios")),
        visit(source="app"),
        visit(properties={"colour": "red"}),
        visit(extra={"snap": {"event_tag": "t"}}),
        visit(meta=MetaFields(lead_id="123456789012345")),
        visit(page=Page(url="ftp://shop.example/")),
        visit(user=User(phone="+14155552671")),
        visit(user=User(email="a@example.com", city=("Berlin", "Bonn"))),
    )
    for event in asked:
        for destination in DECLARED:
            made = assert_same(destination, [visit(1), event, visit(2), visit(3)])
            assert made is not None
            assert [body is None for body in made.bodies] == [False, True, False, False]
            assert together(destination, [event, event, visit(1), visit(2)]) is None


def test_a_purchase_without_an_amount_is_refused_as_by_itself() -> None:
    """By whatever name the caller calls it."""
    own = Snap(pixel_id="p-1", access_token="t", event_names={"order": "PURCHASE", "login": None})
    for lacking in (visit(name="order", value=None), visit(name="order", currency=None), visit(name="login")):
        assert together(own, [visit(1), lacking, visit(2)]) is None
    assert assert_same(own, [visit(number, name="order") for number in range(3)]) is not None


def test_a_subclass_that_maps_in_its_own_way_is_asked_of_each() -> None:
    """Nothing that its class says of many events holds for it."""

    class Maps(Snap, frozen=True, kw_only=True):
        def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
            return Refusal("skipped", "name", "never")

    class Bodies(Snap, frozen=True, kw_only=True):
        def body(self, name: str, event: Event, at: float, ids: Identifiers, warnings: list[str]) -> Any:
            return super().body(name.lower(), event, at, ids, warnings)

    class Demands(Snap, frozen=True, kw_only=True):
        def lacks(self, body: Any, event: Event, warnings: list[str]) -> Refusal | None:
            return Refusal("rejected", "order_id", "is required")

    class Finishes(Snap, frozen=True, kw_only=True):
        def finish(self, body: Any, event: Event, ids: Identifiers, warnings: list[str]) -> None:
            body.event_name = "X"

    for kind in (Maps, Bodies, Demands, Finishes):
        assert kind(pixel_id="p-1", access_token="t").together is None
    assert Snap(pixel_id="p-1", access_token="t", test=True).together is None
    assert b'"purchase"' in ENCODER.encode(_body(Bodies(pixel_id="p-1", access_token="t"), visit()))


def _body(destination: Destination, event: Event) -> Any:
    wire = apart(destination, event)
    assert isinstance(wire, Wire)
    return wire.body


def test_what_is_not_declared_is_asked_of_each() -> None:
    """The others are as before."""
    asked = [name for name in destination_types() if row_of(name).load().together is not None]
    assert set(asked) >= {"snap", "meta", "pinterest", "tiktok"}


def test_a_declaration_names_fields_that_there_are() -> None:
    """And all that the struct requires."""
    with pytest.raises(TypeError, match="SnapUser: email"):
        Part(SnapUser, email=known("ip"))
    with pytest.raises(TypeError, match="SnapEvent: action_source"):
        Part(SnapEvent, event_name=NAME)


@pytest.mark.parametrize("count", [1, 5])
def test_the_engine_makes_the_same_records_of_many_and_of_one(count: int) -> None:
    """In their order, with a destination's own refusals among them."""
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    chosen = (
        Snap(pixel_id="p-1", access_token="t", max_batch_bytes=20_000),
        Meta(pixel_id="1", access_token="t", max_batch_bytes=20_000),
        Pinterest(ad_account_id="1", access_token="t", max_batch_bytes=20_000),
        TikTok(pixel_code="C", access_token="t"),
        Snap(name="second", pixel_id="p-2", access_token="t"),
    )
    preparer = Preparer(chosen[:count])
    names = [one.name for one in chosen[:count]]
    events = [
        visit(
            number,
            name="no such event" if number % 7 == 3 else "purchase",
            test=number % 11 == 5,
            time=datetime(2026, 11, 1 if number % 13 == 2 else 20, tzinfo=UTC),
            content_name="x" * (30_000 if number == 40 else 1),
        )
        for number in range(150)
    ]
    receipts = [Receipt(one.event_id, names, Delivery(over=False)) for one in events]
    records, refused = preparer.run(events, receipts, now)
    found = {(one.destination, one.event_id): (one.head, one.body, one.expires_at, one.receipt) for one in records}
    said = {(one.destination, one.event_id): one.outcome for one in refused}
    assert len(found) == len(records)
    assert len(found) + len(said) == count * len(events)
    for event, receipt in zip(events, receipts, strict=True):
        alone, why = preparer.run([event], [receipt], now)
        for one in alone:
            assert found[one.destination, one.event_id] == (one.head, one.body, one.expires_at, receipt)
        for other in why:
            assert said[other.destination, other.event_id] == other.outcome
    for name in names:
        order = [one.event_id for one in records if one.destination == name]
        assert order == sorted(order, key=lambda event_id: int(event_id[2:]))
