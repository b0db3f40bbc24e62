"""What every destination promises, whatever its platform: tests that anybody's destination inherits.

::

    from capi_async.testing.conformance import Conformance

    class TestAcme(Conformance):
        destination = "acme"  # its type; or its Row, before the package that brings it is installed

Needs the extra ``testing`` (pytest and hypothesis).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from capi_async.client import Client
from capi_async.config import make
from capi_async.destinations import Row, installed_types, row_of
from capi_async.engine.prepare import Preparer
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.outcome import Outcome, Response, Verdict
from capi_async.pii.identifiers import IDENTIFIER_SOURCES, Identifiers, Plan
from capi_async.spec import DAY, ENCODER, HOUR, SLICE_BYTES, Destination, Refusal, Secret, Wire
from capi_async.spool.base import Record
from capi_async.testing.any_event import CLEAR_TEXTS, PERSON, consents, events
from capi_async.testing.mapping import refusal, requests, wire
from capi_async.transport import HttpTransport

TOKEN = "do-not-show-this-credential"
NOW = datetime.now(UTC)

#: The digest of no text at all: whoever sends it has hashed a field that was absent.
EMPTY_DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#: One hypothesis test runs for every destination's class, on machines of any speed.
for_any_class = settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow], deadline=None)


def good_event(**changes: Any) -> Event:
    """A purchase that every platform takes."""
    given_fields: dict[str, Any] = {
        "event_id": "order-1",
        "time": NOW - timedelta(hours=1),
        "user": User(
            email=PERSON["email"][0],
            phone=PERSON["phone"][0],
            first_name=PERSON["first_name"][0],
            last_name=PERSON["last_name"][0],
            external_id="user-123",
            ip="203.0.113.7",
            user_agent="Mozilla/5.0",
        ),
        "value": "72.39",
        "currency": "USD",
        "order_id": "1001",
        "items": [Item(id="sku-1", quantity=2, price="36.195")],
        "page": Page(url="https://shop.example/thanks"),
        "click": ClickIds(ga_client_id="1234567890.1687654321"),
        **changes,
    }
    return Event(given_fields.pop("name", "purchase"), **given_fields)


def sent(destination: Destination, event: Event) -> Wire:
    """The event's wire form; fails on a refusal."""
    made = wire(destination, event)
    assert isinstance(made, Wire), made
    return made


def leaves(value: Any) -> Iterator[Any]:
    """Every value inside a JSON document that is no container."""
    if isinstance(value, dict):
        for below in value.values():
            yield from leaves(below)
    elif isinstance(value, list):
        for below in value:
            yield from leaves(below)
    else:
        yield value


def nested(path: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` of ``a.b``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    found: dict[str, Any] = value
    return found


def value_at(found: Any, path: str) -> Any:
    """What stands at a dotted path of a JSON object."""
    for key in path.split("."):
        found = found[key]
    return found


def _events_in(said: Any) -> list[Any]:
    """The events of a request: its list, wherever in the frame that stands, or the request itself."""
    if isinstance(said, list):
        return said
    frames = [said, *(part for part in said.values() if isinstance(part, dict))]
    return next((part for frame in frames for part in frame.values() if isinstance(part, list)), [said])


def _deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def _holds_nothing_personal(said: str) -> None:
    lowered = said.lower()
    for clear in CLEAR_TEXTS:
        assert clear not in lowered
    assert TOKEN not in said
    assert "never-on-the-wire" not in said


def _prepared(made_for: Destination, made: list[Event]) -> list[Record | Outcome]:
    """As the engine's thread does it: mapped and encoded, one after the other."""
    preparer = Preparer([made_for])
    return [preparer.one(made_for, event, NOW.timestamp())[0] for event in made]


def _bodies(made_for: Destination, how_many: int) -> tuple[bytes, list[bytes]]:
    made = [
        sent(made_for, good_event(event_id=f"order-{index}", device=Device(os="ios")))
        for index in range(min(how_many, 3))
    ]
    encoded = [ENCODER.encode(one.body) for one in made]
    return made[0].head, list(itertools.islice(itertools.cycle(encoded), how_many))


_DEEP = 100_000


JUNK: dict[str, bytes] = {
    "empty": b"",
    "space": b" \n",
    "html": b"<!doctype html><html><body><h1>Temporarily unavailable</h1></body></html>",
    "text": b"OK",
    "truncated": b'{"status": "VALID", "code": 0, "events_received": 1, "num_eve',
    "object": b"{}",
    "list": b"[]",
    "null": b"null",
    "number": b"0",
    "lists without end": b"[" * _DEEP,
    "closed lists": b"[" * _DEEP + b"]" * _DEEP,
    "objects without end": b'{"a":' * _DEEP,
    "a deep unknown key": b'{"x":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "deep known keys": b'{"status":' + b"[" * _DEEP + b"]" * _DEEP + b',"code":' + b'{"error":' * _DEEP,
    "deep data": b'{"code":20001,"details":' + b"[" * _DEEP + b"]" * _DEEP + b',"data":{}}',
    "no UTF-8": b"\xff\xfe\x00",
    "no UTF-8 inside": b'{"message":"\xc3\x28","reason":"\xff","status":"\xff","code":0}',
    "no UTF-8 in an unknown key": b'{"x":"\xff"}',
    "half a surrogate pair": rb'{"message":"\ud800","reason":"\ud800","error":"\ud800"}',
    "wrong types": (
        b'{"status":1,"code":"0","events":{},"error_records":[1],"event_logs":[null],"events_received":"many",'
        b'"num_events_received":[],"error":"no","errors":7,"details":1,"message":{},"success":"no","reason":5}'
    ),
    "nulls": (
        b'{"status":null,"code":null,"events":null,"error_records":null,"event_logs":null,"events_received":null,'
        b'"error":null,"errors":null,"details":null,"message":null,"success":null}'
    ),
    "huge numbers": b'{"code":1e999,"events_received":99999999999999999999999999,"num_events_received":-1}',
}


STATUSES = (200, 201, 204, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503)


KINDS = {"accepted", "rejected", "retry", "split", "unauthorized", "ambiguous"}


def account(type_name: str, **changes: Any) -> Destination:
    """The account of an installed type's row, made."""
    row = row_of(type_name)
    return row.load()(**{**row.settings(), row.credential: TOKEN, **changes})


class Conformance:
    """The suite; a subclass names the destination, and what its platform's documentation makes different.

    Attributes:
        destination: Type of an installed destination, or its row. The row's ``account`` must be given.
        sends_properties: Whether free properties have a place in the event's own object.
        in_clear: Settings under which names and e-mail travel in clear, as documented; ``None``: they never do.
        any_2xx: Every 2xx is documented as accepted, whatever its body.
        numeric_account: The account's id may be digits alone.
        in_minor_units: Amounts are whole cents.
        renamed: How a platform's name is written in ``event_names``.
        denial_is_sent: Choices of consent whose denial is told to the platform, with an event that holds no digest of
            anything about the person.
        sends_refunds: The platform takes what was paid back.
        other_account: Settings that make another account, where the row's account has no id.
        stands_for_name: What the wire of the row's purchase holds where no name is sent; empty: the name.
    """

    destination: ClassVar[str | Row]
    sends_properties: ClassVar[bool] = True
    in_clear: ClassVar[Mapping[str, Any] | None] = None
    any_2xx: ClassVar[bool] = False
    numeric_account: ClassVar[bool] = True
    in_minor_units: ClassVar[bool] = False
    renamed: ClassVar[str] = "{}"
    denial_is_sent: ClassVar[tuple[str, ...]] = ()
    sends_refunds: ClassVar[bool] = False
    other_account: ClassVar[Mapping[str, Any]] = {}
    stands_for_name: ClassVar[str] = ""

    def row(self) -> Row:
        """The platform's row."""
        return row_of(self.destination) if isinstance(self.destination, str) else self.destination

    @property
    def type_name(self) -> str:
        """The platform's name in configurations."""
        return self.row().type

    def kind(self) -> type[Destination]:
        """The class."""
        return self.row().load()

    def account(self, **changes: Any) -> Destination:
        """The row's account, made."""
        row = self.row()
        return row.load()(**{**row.settings(), row.credential: TOKEN, **changes})

    def full_account(self, **changes: Any) -> Destination:
        """The same with settings that open every branch of the mapping."""
        return self.account(**{**self.row().every_setting, **changes})

    def _live(self) -> dict[str, Any]:
        """Without a test code: test events of some platforms travel alone."""
        return {"test_event_code": None} if "test_event_code" in self.row().every_setting else {}

    @pytest.mark.parametrize("blank", [None, "", " \t", 0, 17, True, ["x"], {}, {"x": "y"}], ids=repr)
    def test_extra_cannot_take_the_deduplication_key_away(self, blank: object) -> None:
        """An event without its key would be counted twice when it is sent again."""
        key = self.row().load().dedup_key  # type: ignore[attr-defined]
        found = refusal(self.account(), good_event(extra={self.type_name: nested(key, blank)}))
        assert (found.kind, found.field) == ("rejected", f"extra.{key}")
        assert key in found.fix

    def test_extra_may_give_another_deduplication_key(self) -> None:
        """It is as good as ours: the same on every attempt."""
        key = self.row().load().dedup_key  # type: ignore[attr-defined]
        made = sent(self.account(), good_event(extra={self.type_name: nested(key, "mine")}, properties={key: None}))
        assert value_at(json.loads(ENCODER.encode(made.body)), key) == "mine"
        assert made.resend_for_s == self.account().resend_window_s  # type: ignore[attr-defined]

    @pytest.mark.parametrize("place", ["properties", "extra"])
    def test_nesting_without_end_is_named(self, place: str) -> None:
        """Where it stands, and what to do; a platform that has no place for properties never sees them."""
        deep = _deep(10_000)
        changes = (
            {"properties": {"deep": deep}} if place == "properties" else {"extra": {self.type_name: {"deep": deep}}}
        )
        target = self.account()
        made, _, _ = Preparer([target]).one(target, good_event(**changes), NOW.timestamp())
        if place == "properties" and not self.sends_properties:
            assert isinstance(made, Record)
        else:
            assert isinstance(made, Outcome)
            assert (made.kind, made.field.partition(".")[0]) == ("rejected", place)
            assert "RecursionError" not in made.reason

    # Declarations.

    def test_declarations_are_complete(self) -> None:
        """The engine, the configuration and the README read these and nothing else."""
        kind = self.kind()
        assert kind.type == self.type_name
        assert re.fullmatch(r"[a-z0-9_]+/\d+", kind.wire)
        assert kind.default_base_url.startswith("https://")
        assert not kind.default_base_url.endswith("/")
        assert re.search(r"read \d{4}-\d{2}", kind.docs)
        assert set(kind.standard_names) >= STANDARD_EVENTS
        assert (kind.standard_names["refund"] is not None) is self.sends_refunds
        for declared in kind.standard_names.values():
            assert declared is None or declared.strip()

    def test_limits_are_positive(self) -> None:
        """A zero would stop the destination or close its batches on nothing."""
        limits = self.kind().limits
        for figure in limits.__struct_fields__:
            value = getattr(limits, figure)
            assert value is None or value > 0, figure
        assert limits.burst >= 1
        assert limits.request_timeout_s <= 60

    def test_identifiers_are_attributes_that_exist(self) -> None:
        """A misspelt identifier would never be computed."""
        kind = self.kind()
        for wanted in (kind.identifiers, self.full_account().identifiers):
            assert set(wanted) <= set(Identifiers.__struct_fields__)
            assert len(set(wanted)) == len(wanted)

    def test_required_settings_have_variables(self) -> None:
        """``Client.from_env()`` can only fill what has a variable."""
        kind = self.kind()
        settings_of = {field.name: field for field in fields(kind)}
        assert set(kind.env) <= set(settings_of)
        for setting, field in settings_of.items():
            if field.required:
                assert kind.env.get(setting), setting
        for names in kind.env.values():
            for variable in names:
                assert re.fullmatch(r"[A-Z][A-Z0-9_]+", variable)

    def test_account_names_no_secret(self) -> None:
        """It is stored with every record."""
        made = self.account()
        assert made.account()
        assert TOKEN not in made.account()

    # Settings.

    @pytest.mark.parametrize("blank", ["", "   ", "\n", None])
    def test_blank_settings_are_refused_by_name(self, blank: Any) -> None:
        """A half-filled environment shows at the start, and the text says which variable is missing."""
        row = self.row()
        for setting in row.settings():
            with pytest.raises(ConfigError) as refused:
                self.account(**{setting: blank})
            assert setting in str(refused.value)
            assert any(variable in str(refused.value) for variable in self.kind().env[setting])

    def test_missing_settings_are_refused_by_name(self) -> None:
        """From a file or the environment as well."""
        row = self.row()
        whole = {**row.settings(), row.credential: TOKEN}
        assert make(self.type_name, whole) == self.account()
        for setting in whole:
            with pytest.raises(ConfigError) as refused:
                make(self.type_name, {key: value for key, value in whole.items() if key != setting})
            assert any(variable in str(refused.value) for variable in self.kind().env[setting])

    @pytest.mark.parametrize("bad", [7, b"token", ["token"], "two\nlines", "töken"])
    def test_credentials_that_cannot_be_one_are_refused(self, bad: Any) -> None:
        """A number out of a TOML file, a token pasted with its neighbour; the text never shows it."""
        with pytest.raises(ConfigError) as refused:
            self.account(**{self.row().credential: bad})
        assert "two" not in str(refused.value)
        assert "töken" not in str(refused.value)

    def test_credentials_may_be_given_in_four_ways(self) -> None:
        """Text, a secret, a function, a coroutine function; text is stripped of the file's line end."""

        async def rotating() -> str:
            return TOKEN

        ways: list[Any] = [TOKEN, f" {TOKEN}\n", Secret(TOKEN), lambda: TOKEN, rotating]
        for given_as in ways:
            made = self.account(**{self.row().credential: given_as})
            assert asyncio.run(made.secret().reveal()) == TOKEN

    def test_the_token_is_shown_by_nothing_that_is_printed(self) -> None:
        """Destinations, secrets and requests end up in logs and tracebacks."""
        made = self.full_account()
        request = requests(made, [good_event()], TOKEN)[0]
        for shown in (made, made.secret(), request, [made], {"request": request}):
            for said in (repr(shown), str(shown), f"{shown}", f"{shown!r}"):
                assert TOKEN not in said
                assert "never-on-the-wire" not in said
        assert PERSON["email"][0] not in repr(request)

    def test_base_url_is_used_without_its_last_slash(self) -> None:
        """A proxy, a regional host or the sandbox takes the place of the platform's own."""
        made = self.account(base_url="https://proxy.example/capi//")
        assert made.base_url == "https://proxy.example/capi"
        for request in requests(made, [good_event()]):
            assert request.url.startswith("https://proxy.example/capi/")
            assert "//" not in request.url.removeprefix("https://")
        assert self.account().base_url == self.kind().default_base_url

    def test_plain_http_is_for_this_machine_only(self) -> None:
        """Everywhere else it would show the credential to the network."""
        for local in ("http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:1"):
            assert self.account(base_url=local).base_url == local
        for unsafe in (
            "http://shop.example",
            "http://127.evil.example",
            "ftp://shop.example",
            "shop.example",
            "https://",
        ):
            with pytest.raises(ConfigError, match="base_url"):
                self.account(base_url=unsafe)

    @pytest.mark.parametrize(
        "odd", ["https://p.example/?x=1", "https://p.example/?", "https://p.example/#f", "https://u:pw@p.example",
                "https://u@p.example", "https://p.example/a/../b", "https://p.example/a b", "https://p.example/\n", 5],
    )  # fmt: skip
    def test_a_base_url_is_scheme_host_and_path_alone(self, odd: Any) -> None:
        """A query or fragment would swallow the request's path, a user name its credential; neither is repeated."""
        if odd == "https://p.example/\n":
            assert self.account(base_url=odd).base_url == "https://p.example"
            return
        with pytest.raises(ConfigError, match="base_url") as refused:
            self.account(base_url=odd)
        assert "pw" not in str(refused.value)

    def test_ids_of_accounts_are_trimmed_and_checked_for_form(self) -> None:
        """As they come out of environments, files and shells."""
        for setting, good in (self.row().account or {}).items():
            for spelling in (f"{good}\n", f" {good}\r\n", f"\t{good}"):
                assert getattr(self.account(**{setting: spelling}), setting) == good
            for bad in (
                f'"{good}"',
                f"'{good}'",
                "..",
                ".",
                f"{good}/..",
                f"{good}\n{good}",
                f"{good}?x=1",
                "a b",
                "é",
                "x" * 300,
            ):
                with pytest.raises(ConfigError, match=setting) as refused:
                    self.account(**{setting: bad})
                assert good not in str(refused.value)
            if self.numeric_account:
                assert getattr(self.account(**{setting: 1234567890}), setting) == "1234567890"

    def test_a_credential_in_quotes_is_refused(self) -> None:
        """Some readers of environment files keep them."""
        for quoted in (f'"{TOKEN}"', f"'{TOKEN}'"):
            with pytest.raises(ConfigError, match="quotes") as refused:
                self.account(**{self.row().credential: quoted})
            assert TOKEN not in str(refused.value)

    def test_two_accounts_never_share_records_or_rates(self) -> None:
        """What tells them apart is the account's key, by which records are stored and rates are kept."""
        row = self.row()
        mine, others = self.account(), self.account(name="second", **{row.credential: "another-credential"})
        if mine.account() == others.account():
            with pytest.raises(ConfigError, match="second"):
                Client([mine, others])
        assert mine.owns(mine.account())
        named = {
            setting: f"{value[:-1]}{(int(value[-1], 36) + 1) % 10}" for setting, value in (row.account or {}).items()
        }
        apart = self.account(name="third", **named, **self.other_account, **{row.credential: "another-credential"})
        assert apart.account() != mine.account()
        assert not mine.owns(apart.account())
        assert not apart.owns(mine.account())
        Client([mine, apart])

    @pytest.mark.parametrize(
        "setting",
        ["max_batch_events", "max_batch_bytes", "requests_per_s", "max_in_flight", "max_age_s", "max_attempts"],
    )
    def test_overrides_hold_and_must_be_positive(self, setting: str) -> None:
        """An account may be slower or smaller than its platform, never nothing."""
        one: dict[str, Any] = {setting: 1}
        assert getattr(self.account(**one).effective_limits(), setting) == 1
        for bad in (0, -1):
            with pytest.raises(ConfigError, match=setting):
                self.account(**{**one, setting: bad})

    def test_a_batch_larger_than_the_platform_takes_is_refused(self) -> None:
        """Every request would be."""
        most = self.kind().limits.max_batch_events
        with pytest.raises(ConfigError, match="max_batch_events"):
            self.account(max_batch_events=most + 1)

    def test_two_accounts_may_have_two_names(self) -> None:
        """``extra`` is read by the account's name, or by its type."""
        second = self.account(name="second")
        assert second.name == "second"
        assert "second" in repr(second)
        assert second.extra_of(good_event(extra={"second": {"a": 1}})) == {"a": 1}
        assert second.extra_of(good_event(extra={self.type_name: {"a": 1}})) == {"a": 1}
        assert second.extra_of(good_event(extra={"third": {"a": 1}})) is None

    # The mapping.

    @for_any_class
    @given(event=events(), all_settings=st.booleans())
    def test_any_event_becomes_a_wire_object_or_a_reason(self, event: Event, *, all_settings: bool) -> None:
        """``to_wire`` never raises, changes nothing, gives the same bytes twice, and what it gives can be sent."""
        made_for = (self.full_account if all_settings else self.account)()
        before = copy.deepcopy((event.properties, event.extra))
        made = wire(made_for, event)
        assert (event.properties, event.extra) == before
        again = wire(made_for, event)
        if isinstance(made, Refusal):
            assert made == again
            assert made.kind in ("skipped", "rejected")
            assert made.reason
            assert made.field
            _holds_nothing_personal(f"{made.field} {made.reason} {made.fix}")
            return
        assert isinstance(made, Wire)
        assert isinstance(again, Wire)
        body = ENCODER.encode(made.body)
        assert (body, made.head, made.expires_at, made.order_key) == (
            ENCODER.encode(again.body), again.head, again.expires_at, again.order_key,
        )  # fmt: skip
        assert made.expires_at > event.time.timestamp()
        assert made.resend_for_s >= 0
        said = json.loads(body)
        assert isinstance(said, dict)
        _holds_nothing_personal(body.decode())
        _holds_nothing_personal(f"{made.head!r} {made.order_key} {made.warnings}")
        for value in leaves(said):
            assert value is not None
            assert value != EMPTY_DIGEST
            if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{64}", value):
                assert value == value.lower()

    @for_any_class
    @given(event=events(), consent=consents, denied=st.sampled_from(("ad_storage", "ad_user_data")))
    def test_without_consent_nothing_is_sent(self, event: Event, consent: Consent, denied: str) -> None:
        """Whatever else the event says, and whatever its raw fields say."""
        made = wire(self.full_account(), replace(event, consent=replace(consent, **{denied: False})))
        if isinstance(made, Wire) and denied in self.denial_is_sent:
            said = made.head + ENCODER.encode(made.body)
            assert b"DENIED" in said
            assert not re.search(rb'"[0-9a-f]{64}"', said)
            return
        assert isinstance(made, Refusal)

    @for_any_class
    @given(event=events())
    def test_nothing_but_the_declared_identifiers_is_read(self, event: Event) -> None:
        """Beside other destinations, which want more, the same event gives the same bytes."""
        made_for = self.full_account()
        alone = wire(made_for, event)
        everything = Plan(IDENTIFIER_SOURCES).identify(event.user, event.page)
        beside = made_for.to_wire(event, everything)
        if isinstance(alone, Refusal):
            assert beside == alone
        else:
            assert isinstance(beside, Wire)
            assert ENCODER.encode(beside.body) == ENCODER.encode(alone.body)
            assert beside.head == alone.head

    def test_all_values_of_a_person_are_sent_or_said_to_be_left_out(self) -> None:
        """Who has two cities must not lose one of them in silence."""
        made_for = self.full_account()
        both = {
            "first_name": ("Ann", "Bea"),
            "last_name": ("Doe", "Roe"),
            "city": ("Rome", "Oslo"),
            "state": ("Lazio", "Viken"),
            "zip": ("00118", "0150"),
            "country": ("IT", "NO"),
            "gender": ("f", "m"),
            "date_of_birth": ("1997-02-16", "1998-03-17"),
        }
        event = good_event()
        event = replace(event, user=replace(event.user, **both))
        made = sent(made_for, event)
        ids = Plan(made_for.identifiers).identify(event.user, event.page)
        said = set(filter(lambda one: isinstance(one, str), leaves(json.loads(ENCODER.encode(made.body)))))
        for attribute, values in (ids.several or {}).items():
            field = IDENTIFIER_SOURCES[attribute]
            told = any(text.startswith(f"user.{field}:") for text in made.warnings)
            assert told or said.issuperset(values), attribute

    def test_lists_stand_where_one_value_stands(self) -> None:
        """What a platform declares about places of several values fits its own object."""
        for attribute, place in getattr(self.kind(), "several_at", {}).items():
            assert attribute in self.kind().identifiers
            field = IDENTIFIER_SOURCES[attribute]
            values = {"gender": ["f", "m"], "date_of_birth": ["1997-02-16", "1998-03-17"]}.get(field, ["IT", "NO"])
            for given_values in (values[:1], values):
                event = good_event()
                event = replace(event, user=replace(event.user, **{field: given_values}))
                body = json.loads(ENCODER.encode(sent(self.full_account(), event).body))
                assert len(value_at(body, place)) == len(given_values)

    @for_any_class
    @given(event=events())
    def test_a_property_that_says_nothing_changes_nothing(self, event: Event) -> None:
        """Free properties take the way through a merged object; the short way gives the same bytes and refusals."""
        made_for = self.full_account()
        plain = replace(event, properties={}, extra={})
        short = wire(made_for, plain)
        long = wire(made_for, replace(plain, properties={"nothing": None}))
        if isinstance(short, Refusal):
            assert long == short
        else:
            assert isinstance(long, Wire)
            assert ENCODER.encode(long.body) == ENCODER.encode(short.body)
            assert replace(long, body=None) == replace(short, body=None)

    @for_any_class
    @given(made=st.lists(events(), min_size=2, max_size=4))
    def test_one_event_leaves_no_trace_in_the_next(self, made: list[Event]) -> None:
        """What an account works out once is the same for a new account that sees the event alone."""
        used = self.full_account()
        for event in made:
            before, alone = wire(used, event), wire(self.full_account(), event)
            if isinstance(alone, Refusal):
                assert before == alone
            else:
                assert isinstance(before, Wire)
                assert ENCODER.encode(before.body) == ENCODER.encode(alone.body)
                assert replace(before, body=None) == replace(alone, body=None)

    def test_an_account_made_from_another_follows_its_own_settings(self) -> None:
        """What the first one has worked out does not travel along."""
        first = self.account()
        sent(first, good_event())
        changes = {"name": "second", "test": True, "max_age_s": HOUR, "event_names": {"purchase": None}}
        for changed in ({"max_age_s": HOUR}, {"test": True}, {"event_names": {"purchase": None}}, changes):
            assert wire(replace(first, **changed), good_event()) == wire(self.account(**changed), good_event())
        assert wire(copy.copy(first), good_event()) == wire(first, good_event())

    @pytest.mark.parametrize(
        "changes",
        [
            {"content_name": "half \ud83d of a pair", "user": User(email="a@b.example", external_id="half \udc00")},
            {"order_id": "\ud83d"},
            {"properties": {"\ud83d": 1}},
            {"properties": {"when": object()}},
            {"properties": {"nested": [{"deep": {1, 2}}]}},
            {"properties": {"number": 10**40, "none": None}},
            {
                "extra": {
                    name: {"user_data": None, "custom_data": [], "user": "", "properties": 0}
                    for name in installed_types()
                }
            },
            {
                "extra": {
                    name: {"event_name": None, "event": 1, "eventName": [], "event_type": {}}
                    for name in installed_types()
                }
            },
            {"extra": {name: {"x": object()} for name in installed_types()}},
            {"num_items": 10**30},
            {"content_name": "x" * 2_000_000},
        ],
        ids=lambda changes: "-".join(changes),
    )
    def test_what_cannot_be_sent_is_refused_and_costs_no_other_event(self, changes: dict[str, Any]) -> None:
        """Half a surrogate pair, an object, 2 MB of text: one outcome for this event, and its neighbours go on."""
        made_for = self.account()
        made = [good_event(event_id="before"), good_event(event_id="odd", **changes), good_event(event_id="after")]
        before, odd, after = _prepared(made_for, made)
        assert isinstance(before, Record)
        assert isinstance(after, Record)
        if isinstance(odd, Record):
            json.loads(odd.body)
            return
        assert odd.kind in ("rejected", "skipped")
        assert odd.reason
        assert odd.field
        assert "failed with" not in odd.reason

    @pytest.mark.parametrize("where", ["properties", "extra"])
    def test_bottomless_values_cost_their_own_event_only(self, where: str) -> None:
        """Ten thousand lists inside one another are a mistake or an attack; neighbours do not notice."""
        deep: Any = 1
        for _ in range(10_000):
            deep = {"a": deep}
        made_for = self.account()
        odd = {"properties": {"a": deep}} if where == "properties" else {"extra": {self.type_name: {"a": deep}}}
        made = [good_event(event_id="odd", **odd), good_event(event_id="after")]
        first, after = _prepared(made_for, made)
        assert isinstance(first, Record) or first.kind in ("rejected", "skipped")
        assert isinstance(after, Record)

    def test_consent_denied_is_skipped_and_named(self) -> None:
        """Not rejected: nothing is wrong with the event."""
        for choice, denied in (
            ("ad_storage", Consent(ad_storage=False)),
            ("ad_user_data", Consent(ad_user_data=False)),
        ):
            made = refusal(self.account(), good_event(consent=denied))
            assert made.kind == "skipped"
            assert made.field == f"consent.{choice}"
        granted = Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, sale_opt_out=False)
        assert isinstance(wire(self.account(), good_event(consent=granted)), Wire)

    def test_refunds_are_skipped(self) -> None:
        """As a custom event a refund would be counted as revenue."""
        if self.sends_refunds:
            assert isinstance(wire(self.full_account(), good_event(name="refund")), Wire)
            return
        made = refusal(self.full_account(), good_event(name="refund"))
        assert made.kind == "skipped"
        assert made.field == "name"

    def test_test_events_never_leave_as_live_ones(self) -> None:
        """Where there is no test mode, or no code for it, the event stays."""
        for test_settings, event in (({}, good_event(test=True)), ({"test": True}, good_event())):
            plain = wire(self.account(**test_settings), event)
            if isinstance(plain, Refusal):
                assert plain.kind == "skipped"
                assert plain.field == "test"
            else:
                assert plain.head != sent(self.account(), good_event()).head

    def test_an_event_may_be_switched_off_or_renamed(self) -> None:
        """``event_names`` is the caller's last word."""
        off = refusal(self.account(event_names={"purchase": None}), good_event())
        assert off.kind == "skipped"
        there = self.kind().standard_names["purchase"]
        assert there is not None
        renamed = self.account(event_names={"our_order": self.renamed.format(there)})
        body = ENCODER.encode(sent(renamed, good_event(name="our_order")).body).decode()
        assert (self.stands_for_name or there) in body

    def test_names_and_email_are_clear_only_where_that_was_asked_for(self) -> None:
        """The one platform that takes them in clear does so behind a setting."""
        hidden = ENCODER.encode(sent(self.account(), good_event()).body).decode().lower()
        assert not any(clear in hidden for clear in CLEAR_TEXTS)
        if (asked := self.in_clear) is not None:
            shown = ENCODER.encode(sent(self.account(**asked), good_event()).body).decode().lower()
            assert "quirinalia.featherstone@example.com" in shown
            assert "4155552671" not in shown

    def test_expiry_follows_the_account(self) -> None:
        """``max_age_s`` overrides whatever the platform's page says."""
        event = good_event()
        at = event.time.timestamp()
        assert sent(self.account(max_age_s=HOUR), event).expires_at == pytest.approx(at + HOUR)
        assert sent(self.account(max_age_s=90 * DAY), event).expires_at == pytest.approx(at + 90 * DAY)
        usual = self.kind().limits.max_age_s
        assert sent(self.account(), event).expires_at == pytest.approx(at + usual)

    def test_amounts_are_written_digit_by_digit(self) -> None:
        """Through a binary float 0.1 + 0.2 would be 0.30000000000000004."""
        made = sent(self.account(), good_event(value="1234567.89", currency="EUR"))
        said = json.loads(ENCODER.encode(made.body), parse_float=Decimal)
        amounts = {str(leaf) for leaf in leaves(said)}
        assert ("123456789" if self.in_minor_units else "1234567.89") in amounts

    # Requests.

    @pytest.mark.parametrize("fullness", ["one", "full"])
    def test_requests_are_json_in_slices(self, fullness: str) -> None:
        """One event or as many as the platform takes: valid JSON, in pieces that do not hold the event loop."""
        made_for = self.full_account(**self._live())
        head, bodies = _bodies(made_for, 1 if fullness == "one" else made_for.limits.max_batch_events)
        request = made_for.request(head, bodies, TOKEN)
        body = b"".join(request.body)
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        assert request.size == len(body)
        assert all(0 < len(piece) <= 2 * SLICE_BYTES for piece in request.body)
        said = json.loads(body)
        held = _events_in(said)
        assert len(held) == len(bodies)
        for each in bodies[:3]:
            assert each in body
        assert TOKEN.encode() not in body
        assert b"never-on-the-wire" not in body
        assert TOKEN.encode() not in head
        assert request.url.startswith(made_for.default_base_url)
        assert request == made_for.request(head, bodies, TOKEN)

    def test_content_length_is_the_body(self) -> None:
        """Slices leave as one body of known length, not in chunks, which two platforms refuse."""
        asyncio.run(self._content_length_is_the_body())

    async def _content_length_is_the_body(self) -> None:
        heads: list[bytes] = []
        sizes: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            heads.append(head)
            sizes.append(len(await reader.readexactly(int(length[1]) if length else 0)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        transport = HttpTransport()
        try:
            port = server.sockets[0].getsockname()[1]
            made_for = self.account(base_url=f"http://127.0.0.1:{port}", **self._live())
            head, bodies = _bodies(made_for, made_for.limits.max_batch_events)
            request = made_for.request(head, bodies, TOKEN)
            response = await transport.send(request, timeout_s=10)
        finally:
            await transport.aclose()
            server.close()
        assert response.status == 200
        assert sizes == [request.size]
        assert b"transfer-encoding" not in heads[0].lower()
        assert b"content-type: application/json" in heads[0].lower()

    # Answers.

    @pytest.mark.parametrize("junk", JUNK)
    def test_any_answer_gives_one_verdict_per_event(self, junk: str) -> None:
        """Outage pages, half answers, hostile ones: a verdict each, never an error, never a false success."""
        made_for = self.account()
        head = sent(made_for, good_event()).head
        for status, count in itertools.product(STATUSES, (1, 2, 5)):
            found = made_for.classify(Response(status=status, body=JUNK[junk], headers={}, head=head), count)
            assert len(found) == count
            for verdict in found:
                assert isinstance(verdict, Verdict)
                assert verdict.kind in KINDS
                assert len(verdict.reason) < 400
                if 200 <= status < 300 and self.any_2xx:
                    continue
                assert verdict.kind != "accepted", f"HTTP {status} with {JUNK[junk][:80]!r} was read as a success"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, "unauthorized"), (403, "unauthorized"), (429, "retry"), (408, "retry"),
            (500, "retry"), (502, "retry"), (503, "retry"),
        ],
    )  # fmt: skip
    def test_an_outage_page_is_read_by_its_status(self, status: int, kind: str) -> None:
        """What a proxy in front of the platform says means the same everywhere."""
        made_for = self.account()
        head = sent(made_for, good_event()).head
        for body in (JUNK["html"], b""):
            answer = Response(status=status, body=body, headers={"retry-after": "7"}, head=head)
            for verdict in made_for.classify(answer, 2):
                assert verdict.kind == kind
                assert verdict.throttled is (status == 429)
                if status == 429:
                    assert verdict.after_s == 7

    @pytest.mark.parametrize("status", [200, 201, 204])
    def test_an_unreadable_success_is_ambiguous(self, status: int) -> None:
        """It is neither lost nor counted as delivered, except where any 2xx is documented to be a yes."""
        made_for = self.account()
        head = sent(made_for, good_event()).head
        expected = "accepted" if self.any_2xx else "ambiguous"
        for junk in ("empty", "html", "truncated", "no UTF-8"):
            for verdict in made_for.classify(Response(status=status, body=JUNK[junk], head=head), 2):
                # a page may be told apart from the platform's own answer, whatever that is
                assert verdict.kind in ((expected, "ambiguous") if junk == "html" else (expected,))

    def test_reasons_never_echo_what_was_sent(self) -> None:
        """Several platforms repeat the token, the digest or the address in their errors."""
        made_for = self.account()
        head = sent(made_for, good_event()).head
        echoed = f"bad value ab{'0f' * 31} of jane@example.com +14155552671 with pina_{'x' * 30}"
        body = json.dumps(
            {
                "message": echoed, "reason": echoed, "status": "INVALID", "code": 100,
                "errors": {"error_msgs": [echoed]},
                "error": {"message": echoed, "code": 100, "error_user_msg": echoed}, "details": {"message": echoed},
                "error_records": [{"reason": echoed, "record_indexes": [0]}],
            }
        ).encode()  # fmt: skip
        for status in STATUSES:
            for verdict in made_for.classify(Response(status=status, body=body, head=head), 3):
                for secret in ("0f0f0f0f", "jane@", "4155552671", "xxxxxxxxxx"):
                    assert secret not in verdict.reason
                    assert secret not in verdict.fix
