"""From events to records: what goes in, what is refused before it is stored, and what the refusal names."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import Any

import msgspec
import pytest

from capi_async import Consent, Event, EventError, Hashed, Item, Page, User
from capi_async.destinations import Meta, Snap
from capi_async.engine.fault_field import largest
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Delivery, Receipt
from capi_async.outcome import Outcome
from capi_async.spec import MINUTE
from capi_async.spool.base import Record
from capi_async.testing import ManualClock
from tests.engine.acme import DAY_S, EMAIL, Acme, event

NOW = datetime.fromtimestamp(ManualClock.START, UTC)


def prepared(*given: Event, to: Any = None, **options: Any) -> list[Record | Outcome]:
    """One record or outcome per event and destination, in order."""
    destinations = to or [Acme()]
    preparer = Preparer(destinations, **options)
    receipts = [Receipt(one.event_id, [it.name for it in destinations], Delivery()) for one in given]
    records, refused = preparer.run(given, receipts, ManualClock.START)
    found: dict[tuple[int, str], Record | Outcome] = {}
    found |= {(id(one.receipt), one.destination): one for one in records}
    found |= {(id(one.receipt), one.destination): one.outcome for one in refused}
    assert len(found) == len(records) + len(refused)
    return [found[id(receipt), it.name] for receipt in receipts for it in destinations]


def one(given: Event, **options: Any) -> Record | Outcome:
    [found] = prepared(given, **options)
    return found


def refused(given: Event, **options: Any) -> Outcome:
    found = one(given, **options)
    assert isinstance(found, Outcome), found
    return found


def accepted(given: Event, **options: Any) -> dict[str, Any]:
    found = one(given, **options)
    assert isinstance(found, Record), found
    body: dict[str, Any] = msgspec.json.decode(found.body)
    return body


def now(**fields: Any) -> Event:
    return event(1, time=fields.pop("time", NOW), **fields)


def test_a_record_holds_the_wire_and_no_clear_address() -> None:
    """The digest is that of the normalised address."""
    found = one(now(user=User(email=f"  {EMAIL.upper()} ")))
    assert isinstance(found, Record)
    assert msgspec.json.decode(found.body) == {
        "id": "e1",
        "name": "BUY",
        "time": 1_768_478_400,
        "em": ["a3f9c60fbcd3f992980d38a4d54e61bbfef51965f4d9b52690c885529e23292e"],
    }
    assert found.head == b'{"account":"acme-1","channel":"website","test":false}'
    assert (found.destination, found.event_id, found.account, found.wire) == ("acme", "e1", "acme-1", "acme/1")
    assert found.accepted_at == ManualClock.START
    assert found.expires_at == ManualClock.START + 7 * DAY_S
    assert repr(found) == f"Record('acme', event_id='e1', {len(found.body)} bytes)"


def test_each_destination_decides_for_itself() -> None:
    """Records and refusals stand per event and destination."""
    found = prepared(now(), now(name="login"), to=[Acme(name="a"), Acme(name="b", event_names={"login": "SIGN_IN"})])
    assert [type(it).__name__ for it in found] == ["Record", "Record", "Outcome", "Record"]


@pytest.mark.parametrize(
    ("consent", "kind"), [(None, "skipped"), (Consent(), "sent"), (Consent(ad_storage=True), "sent")]
)
def test_consent_may_be_required(consent: Consent | None, kind: str) -> None:
    """By default the caller vouches; ``require`` skips events that say nothing."""
    assert isinstance(one(now(consent=consent)), Record)
    found = one(now(consent=consent), consent="require")
    if kind == "sent":
        assert isinstance(found, Record)
    else:
        assert isinstance(found, Outcome)
        assert (found.kind, found.field, found.fix) == ("skipped", "consent", "set consent=Consent(...)")


def test_to_addresses_by_name() -> None:
    """The others skip it, whatever else is wrong with it."""
    first, second = prepared(now(to=["b"]), to=[Acme(name="a"), Acme(name="b")])
    assert isinstance(first, Outcome)
    assert (first.kind, first.field) == ("skipped", "to")
    assert isinstance(second, Record)


@pytest.mark.parametrize(("ahead_s", "ok"), [(1, True), (5 * MINUTE, True), (5 * MINUTE + 1, False), (7_200, False)])
def test_a_time_ahead_is_clamped_to_now_or_refused(ahead_s: float, ok: bool) -> None:
    """Five minutes of skew are forgiven; two hours, or milliseconds, are not."""
    given = now(time=NOW + timedelta(seconds=ahead_s))
    if ok:
        assert accepted(given)["time"] == 1_768_478_400
    else:
        found = refused(given)
        assert (found.kind, found.field, found.reason) == ("rejected", "time", "lies in the future")
        assert "milliseconds" in found.fix


def test_an_old_event_is_expired_at_the_door() -> None:
    """40 days; the platform takes 7, to the second."""
    found = refused(now(time=NOW - timedelta(days=40)))
    assert (found.kind, found.field, found.reason) == ("expired", "time", "older than this platform takes")
    assert isinstance(one(now(time=NOW - timedelta(days=7) + timedelta(seconds=1))), Record)
    assert refused(now(time=NOW - timedelta(days=7))).kind == "expired"


def test_refusals_keep_their_words() -> None:
    """Kind, field, reason and fix are the destination's."""
    found = refused(now(name="achat_été"))
    assert (found.kind, found.field, found.reason, found.fix) == (
        "rejected",
        "name",
        "Acme reads ASCII names only",
        "rename it",
    )


def test_a_body_over_the_platforms_bound_names_its_largest_field() -> None:
    """A property of 2 MB is refused here, not sent."""
    found = refused(now(properties={"small": "x", "notes": {"long": ["y", "z" * 2_000_000]}}))
    assert (found.kind, found.field, found.fix) == ("rejected", "properties.notes.long[1]", "shorten it")
    assert "bytes, and a whole request of this platform takes 1047552" in found.reason


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"properties": {f"k{index}": index for index in range(9_000)}}, "properties"),
        ({"properties": {"a": {"b": [{"c": index} for index in range(9_000)]}, "d": "x" * 500}}, "properties.a.b"),
        ({"user": User(email=[f"a{index}@mail.example" for index in range(90)], user_agent="x" * 99)}, "user.email"),
    ],
)
def test_what_holds_many_small_things_is_named_as_a_whole(fields: dict[str, Any], field: str) -> None:
    """Not the longest text beside it."""
    assert largest(event(**{"user": User(user_agent="Mozilla " * 20), **fields})) == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"properties": {"note": "half \ud83d"}}, "properties.note"),
        ({"properties": {"list": ["fine", "\udc00"]}}, "properties.list[1]"),
        ({"properties": {"\ud800": 1}}, "properties"),
        ({"properties": {"deep": {"\ud800": "x"}}}, "properties.deep"),
    ],
)
def test_half_a_surrogate_pair_is_no_text(fields: dict[str, Any], field: str) -> None:
    """It names its place, and how to mend it."""
    found = refused(now(**fields))
    assert (found.kind, found.field) == ("rejected", field)
    assert found.reason == "holds half of a surrogate pair, which is no text"


@pytest.mark.parametrize("place", ["email", "phone", "first_name"])
def test_broken_text_in_an_identifier_costs_that_identifier(place: str) -> None:
    """Never the batch."""
    found = prepared(now(user=User(**{place: "a\ud800b"})), now())
    assert isinstance(found[1], Record)


@pytest.mark.parametrize("text", ["NUL \x00 inside", "😀🏳️‍🌈", "שלום \u202e עולם", "x" * 300, "\u0000", "a\u0301"])
def test_odd_text_travels_unharmed(text: str) -> None:
    """NUL, emoji, right-to-left, long."""
    assert accepted(now(properties={"note": text}))["facts"]["note"] == text


def cycle() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found.update(dict.fromkeys("abcdefgh", found))
    return found


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (object(), "properties.fine.odd"),
        ({1, 2j}, "properties.fine.odd"),
        (2**70 * 1j, "properties.fine.odd"),
        ({(1, 2): 3}, "properties.fine.odd.(1, 2)"),
    ],
)
def test_a_value_that_json_cannot_carry_names_its_place(value: object, field: str) -> None:
    """Not a crash, and not a batch lost."""
    found = prepared(now(properties={"fine": {"odd": value}}), now())
    assert isinstance(found[0], Outcome)
    assert found[0].kind == "rejected"
    assert found[0].reason.startswith("holds a value that JSON cannot carry")
    assert found[0].field in {field, "properties"}
    assert isinstance(found[1], Record)


def test_a_structure_without_end_is_refused_when_it_is_made() -> None:
    """Eight ways into itself at every level: not looked through for ever."""
    with pytest.raises(EventError) as found:
        now(properties={"round": cycle()})
    assert found.value.field == "properties.round"
    assert found.value.reason.startswith("holds itself")


class Walker(Acme, frozen=True, kw_only=True):
    """Goes through everything, level by level, as a merge does."""

    def to_wire(self, event: Event, ids: Any) -> Any:
        self.walk({"p": event.properties, "e": self.extra_of(event)})
        return super().to_wire(event, ids)

    def walk(self, value: Any) -> None:
        for below in value.values() if isinstance(value, dict) else ():
            self.walk(below)


class Endless(Acme, frozen=True, kw_only=True):
    """Never comes back, whatever the event."""

    def to_wire(self, event: Event, ids: Any) -> Any:
        return self.to_wire(event, ids)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"properties": {"deep": "here"}}, "properties"),
        ({"extra": {"walker": {"deep": "here"}}}, "extra"),
        ({"properties": {"flat": [1, {"a": 2}]}, "extra": {"walker": {"deep": "here"}}}, "extra"),
    ],
)
def test_what_is_nested_too_deeply_is_named(
    fields: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the event's fault, not the destination's, and its neighbours go on."""
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    given = {
        name: {"walker": {"deep": deep}}
        if "walker" in value
        else {**value, **({"deep": deep} if "deep" in value else {})}
        for name, value in fields.items()
    }
    found = prepared(now(**given), now(), to=[Walker(name="walker")])
    assert isinstance(found[0], Outcome)
    assert (found[0].kind, found[0].field, found[0].fix) == ("rejected", field, "flatten it")
    assert isinstance(found[1], Record)
    assert caplog.records == []


def test_endless_recursion_of_a_destination_is_its_own_fault() -> None:
    """A shallow event is not blamed."""
    found = refused(now(properties={"a": {"b": [1]}}), to=[Endless(name="endless")])
    assert (found.field, found.reason) == ("", "the destination failed with RecursionError")


def test_plain_values_stay_exact() -> None:
    """Decimals digit by digit."""
    body = accepted(now(properties={"price": Decimal("0.10"), "n": 2**53, "none": None, "yes": True}))
    assert body["facts"] == {"price": 0.1, "n": 2**53, "none": None, "yes": True}
    found = one(now(properties={"price": Decimal("19.990")}))
    assert isinstance(found, Record)
    assert b'"price":19.990' in found.body


def test_a_destination_that_raises_costs_its_own_event(caplog: pytest.LogCaptureFixture) -> None:
    """The reason names the type only; the text may quote the event, and so is not logged."""
    found = prepared(now(name="lead"), now(), to=[Acme(name="clumsy", clumsy="lead"), Acme(name="fine")])
    assert [type(it).__name__ for it in found] == ["Outcome", "Record", "Record", "Record"]
    assert isinstance(found[0], Outcome)
    assert (found[0].kind, found[0].reason) == ("rejected", "the destination failed with RuntimeError")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert EMAIL not in str([vars(record) for record in caplog.records])


class Odd(Acme, frozen=True, kw_only=True):
    """Breaks the contract in the way that ``gives`` says."""

    gives: str = ""

    def to_wire(self, event: Event, ids: Any) -> Any:
        found = super().to_wire(event, ids)
        if self.gives == "nothing":
            return None
        found.expires_at = "tomorrow"  # type: ignore[union-attr]
        return found


@pytest.mark.parametrize("gives", ["nothing", "a text for a time"])
def test_a_destination_that_breaks_its_contract_costs_its_own_event(gives: str) -> None:
    """A third party's fault stays there."""
    found = prepared(now(), to=[Odd(name="odd", gives=gives), Acme(name="fine")])
    assert isinstance(found[0], Outcome)
    assert found[0].kind == "rejected"
    assert isinstance(found[1], Record)


def test_a_fault_while_identifying_costs_that_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours in the micro-batch go on."""
    from capi_async.pii.identifiers import Plan

    whole = Plan.identify

    def identify(self: Plan, user: User, *rest: Any) -> Any:
        if user.first_name == "Fault":
            raise ZeroDivisionError
        return whole(self, user, *rest)

    monkeypatch.setattr(Plan, "identify", identify)
    found = prepared(now(), now(user=User(first_name="Fault")), now())
    assert [type(it).__name__ for it in found] == ["Record", "Outcome", "Record"]
    assert isinstance(found[1], Outcome)
    assert found[1].reason == "could not be prepared (ZeroDivisionError)"


def test_order_keys_and_windows_reach_the_record() -> None:
    """As the destination gave them."""
    found = one(now(), to=[Acme(ordered=True, resend_for_s=60.0)])
    assert isinstance(found, Record)
    assert found.order_key == "a3f9c60fbcd3f992980d38a4d54e61bbfef51965f4d9b52690c885529e23292e"
    assert found.resend_for_s == 60.0


# --- many events in one micro-batch: what is done for all of them together must not show -------------------------


class Sulking(tzinfo):
    """A time zone that works once, when the event is made."""

    def __init__(self) -> None:
        self.asked = 0

    def utcoffset(self, when: datetime | None) -> timedelta:
        self.asked += 1
        if self.asked > 1:
            raise ZeroDivisionError
        return timedelta(0)

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


class Shouting(str):
    """Text of a template engine's own kind."""

    __slots__ = ()


class Loop:
    """Nothing that JSON knows."""


def purchase(number: int, **fields: Any) -> Event:
    user = User(email=f"jane{number}@example.com", phone=f"+1415555{number:04d}", last_name="Doe", zip="94107")
    fields = {"time": NOW - timedelta(seconds=number), "user": user, "page": Page(url="https://a.example/"), **fields}
    return Event(
        fields.pop("name", "purchase"), event_id=f"e{number}", value="12.50", currency="USD", items=[Item(id="a")],
        **fields,
    )  # fmt: skip


ODD: dict[str, dict[str, Any]] = {
    "addressed to one": {"to": ["snap"]},
    "ahead": {"time": NOW + timedelta(seconds=60)},
    "far ahead": {"time": NOW + timedelta(days=2)},
    "too old": {"time": NOW - timedelta(days=60)},
    "no such event": {"name": "refund"},
    "nobody": {"user": User()},
    "a digest": {"user": User(email=Hashed("a" * 64))},
    "an address that needs a look": {"user": User(email=" JANE@Example.com ", phone="00 44 7911 123456")},
    "a number without its country": {"user": User(email="a@b.co", phone="4155552671")},
    "no page": {"page": Page()},
    "an address in the page": {"page": Page(url="https://a.example/?mail=a@b.co")},
    "text of another kind": {"page": Page(url=Shouting("https://a.example/"))},
    "raw fields": {"extra": {"snap": {"custom_data": {"k": 1}}}},
    "raw fields that cannot be encoded": {"extra": {"snap": {"custom_data": {"k": Loop()}}}},
    "denied": {"consent": Consent(ad_storage=False)},
    "a time zone that breaks": {"time": "sulking"},
}


def many_destinations() -> list[Any]:
    """Two of one shape, which share bodies, and a third."""
    pixel, token = "11111111-2222-3333-4444-555555555555", "t"
    return [
        Snap(pixel_id=pixel, access_token=token),
        Meta(pixel_id="1234567890", access_token=token),
        Snap(name="second", pixel_id=pixel.replace("1", "2"), access_token=token),
    ]


def summary(found: Record | Outcome) -> tuple[Any, ...]:
    if isinstance(found, Record):
        return found.event_id, found.head, found.body, found.expires_at, found.resend_for_s
    return found.kind, found.field, found.reason


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("places", [(0,), (39,), (3, 4, 5, 33), tuple(range(0, 80, 2))], ids=len)
def test_an_odd_event_among_many_ends_as_it_does_alone(kind: str, places: tuple[int, ...]) -> None:
    """And so do its neighbours."""
    given = [purchase(number) for number in range(80)]
    for place in places:
        fields = dict(ODD[kind])
        if fields.get("time") == "sulking":
            fields["time"] = (NOW - timedelta(seconds=place)).replace(tzinfo=Sulking())
        given[place] = purchase(place, **fields)
    alone = [prepared(one, to=many_destinations()) for one in given]
    together = prepared(*given, to=many_destinations())
    rows = [together[at : at + 3] for at in range(0, len(together), 3)]
    assert len(rows) == 80
    for number, row in enumerate(rows):
        assert [summary(one) for one in row] == [summary(one) for one in alone[number]]


def test_records_of_a_destination_stand_together_in_the_order_of_events() -> None:
    """Whatever stood between them."""
    given = [purchase(n, **(ODD["ahead"] if n % 7 == 3 else ODD["denied"] if n % 5 == 2 else {})) for n in range(100)]
    destinations = many_destinations()
    receipts = [Receipt(one.event_id, ["snap", "meta", "second"], Delivery()) for one in given]
    records, refused = Preparer(destinations).run(given, receipts, ManualClock.START)
    assert [name for name, _ in groupby(records, key=lambda one: one.destination)] == ["snap", "meta", "second"]
    for name in ("snap", "meta", "second"):
        mine = [int(one.event_id[1:]) for one in records if one.destination == name]
        out = [int(one.event_id[1:]) for one in refused if one.destination == name]
        assert mine == sorted(mine)
        assert sorted([*mine, *out]) == list(range(100))


@pytest.mark.parametrize("clumsy_at", [0, 17, 39])
def test_a_destination_that_raises_for_one_of_many_costs_that_one(clumsy_at: int) -> None:
    """Its neighbours are sent."""
    given = [purchase(number, name="lead" if number == clumsy_at else "purchase") for number in range(40)]
    found = prepared(*given, to=[Acme(clumsy="lead")])
    assert [number for number, it in enumerate(found) if isinstance(it, Outcome)] == [clumsy_at]


def test_a_fault_while_identifying_one_of_many_costs_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are identified together."""
    from capi_async.pii.lists import Emails

    whole = Emails.read

    def read(self: Emails, values: Any, region: str | None = None) -> Any:
        if values == "fault":
            raise ZeroDivisionError
        return whole(self, values, region)

    monkeypatch.setattr(Emails, "read", read)
    given = [purchase(number, user=User(email="fault" if number == 5 else f"a{number}@b.co")) for number in range(40)]
    found = prepared(*given)
    assert [number for number, it in enumerate(found) if isinstance(it, Outcome)] == [5]
