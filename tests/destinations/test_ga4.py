"""Google Analytics 4: the server refuses nothing aloud, so each of its rules is held here, in words."""

from __future__ import annotations

import gc
import hashlib
import json
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from capi_async.client import Client
from capi_async.destinations.ga4 import GA4
from capi_async.errors import ConfigError
from capi_async.event import App, ClickIds, Consent, Device, Event, Item, User
from capi_async.outcome import Response
from capi_async.spec import HOUR, Request, Wire
from capi_async.testing.conformance import good_event
from capi_async.testing.mapping import refusal, requests, wire

CLIENT = "1234567890.1687654321"
WEB = GA4(measurement_id="G-ABC123DEF4", api_secret="s")
APP = GA4(firebase_app_id="1:123:android:abc", api_secret="s")


def made(event: Event, account: GA4 = WEB) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head and the event's own object."""
    found = wire(account, event)
    assert isinstance(found, Wire), found
    [request] = requests(account, [event])
    body = json.loads(b"".join(request.body))
    [one] = body.pop("events")
    return body, one


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"properties": {f"p{number}": number for number in range(26)}}, "properties", "takes 25"),
        ({"properties": {"x" * 41: 1}}, "<a name that is not repeated>", "at most 40"),
        ({"name": "x" * 41}, "name", "at most 40"),
        ({"name": "session_start"}, "name", "reserves this name"),
        ({"name": "ga_visit"}, "name", "begin with"),
        ({"name": "my event"}, "name", "letters, digits"),
        ({"name": "1st"}, "name", "a letter first"),
        ({"properties": {"firebase_conversion": 1}}, "properties.firebase_conversion", "reserves"),
        ({"properties": {"colour": "x" * 101}}, "properties.colour", "takes 100"),
        ({"properties": {"colours": ["red"]}}, "properties.colours", "text or a number"),
        ({"order_id": "x" * 101}, "order_id", "takes 100"),
        ({"order_id": " "}, "order_id", "transaction id"),
        ({"value": None}, "value", "value"),
        ({"currency": None}, "currency", "currency"),
        ({"items": [Item(id="i") for _ in range(201)]}, "items", "takes 200"),
        ({"items": [Item(id="i", name="x" * 101)]}, "items[0].name", "takes 100"),
        ({"extra": {"ga4": {"client_id": "1.2"}}}, "extra.client_id", "field of the request"),
        ({"extra": {"ga4": {"name": "first_open"}}}, "extra.name", "reserves"),
    ],
)  # fmt: skip
def test_what_the_server_would_swallow_is_refused_in_words(changes: dict[str, Any], field: str, said: str) -> None:
    """Each with the field at fault and what to do."""
    found = refusal(WEB, good_event(**changes))
    assert (found.kind, found.field) == ("rejected", field)
    assert said in found.reason
    assert found.fix


def test_names_of_apps_are_reserved_in_apps_alone() -> None:
    """And a mapped name is looked at when the account is made."""
    event = good_event(name="screen_view", app=App(firebase_instance_id="f"))
    assert refusal(APP, event).field == "name"
    assert made(event)[1]["name"] == "screen_view"
    with pytest.raises(ConfigError, match="reserves"):
        GA4(measurement_id="G-1234", api_secret="s", event_names={"x": "first_open"})


def test_an_installation_cannot_be_sent_unless_mapped() -> None:
    """Its SDK does so."""
    assert refusal(WEB, good_event(name="app_install")).kind == "skipped"
    mapped = GA4(measurement_id="G-1234", api_secret="s", event_names={"app_install": "installed"})
    assert made(good_event(name="app_install"), mapped)[1]["name"] == "installed"


def test_analytics_360_takes_longer_texts() -> None:
    """500 characters instead of 100."""
    account = GA4(measurement_id="G-1234", api_secret="s", analytics_360=True)
    assert made(good_event(properties={"colour": "x" * 500}), account)[1]["params"]["colour"] == "x" * 500
    assert refusal(account, good_event(properties={"colour": "x" * 501})).field == "properties.colour"


def test_three_visitors_are_three_requests_and_one_is_one() -> None:
    """A request has one client id."""
    of_three = [good_event(event_id=f"{n}", click=ClickIds(ga_client_id=f"{n}.2")) for n in (1, 2, 3)]
    assert len(requests(WEB, of_three)) == 3
    assert len(requests(WEB, [good_event(event_id=f"{n}") for n in range(3)])) == 1


@pytest.mark.parametrize("cookie", [CLIENT, f"GA1.1.{CLIENT}", f"GA1.2.{CLIENT}"])
def test_the_client_id_is_the_two_numbers(cookie: str) -> None:
    """Of the whole cookie, too."""
    assert made(good_event(click=ClickIds(ga_client_id=cookie)))[0]["client_id"] == CLIENT


@pytest.mark.parametrize("click", [ClickIds(), ClickIds(ga_client_id="abc"), ClickIds(ga_client_id="0.5")])
def test_without_a_client_id_there_is_nobody(click: ClickIds) -> None:
    """A user id alone is not enough."""
    found = refusal(WEB, good_event(click=click))
    assert (found.kind, found.field) == ("skipped", "user")
    assert "ga_client_id" in found.fix


def test_the_session_comes_with_its_engagement() -> None:
    """What is no number would open a session of its own."""
    params = made(good_event(click=ClickIds(ga_client_id=CLIENT, ga_session_id="1768470900")))[1]["params"]
    assert (params["session_id"], params["engagement_time_msec"]) == ("1768470900", 1)
    odd = wire(WEB, good_event(click=ClickIds(ga_client_id=CLIENT, ga_session_id="soon")))
    assert isinstance(odd, Wire)
    assert any("ga_session_id" in said for said in odd.warnings)


def test_an_engagement_that_was_measured_goes_before_the_usual_one() -> None:
    """A millisecond is said only where nobody says more."""
    click = ClickIds(ga_client_id=CLIENT, ga_session_id="1768470900")
    event = good_event(click=click, properties={"engagement_time_msec": 5_000})
    assert made(event)[1]["params"]["engagement_time_msec"] == 5_000
    assert (
        made(good_event(click=click, properties={"engagement_time_msec": None}))[1]["params"]["engagement_time_msec"]
        == 1
    )


def test_an_app_is_named_by_its_instance_and_keeps_its_colons() -> None:
    """Percent signs in their place have lost events."""
    event = good_event(app=App(firebase_instance_id="f-1"))
    [request] = requests(APP, [event])
    assert "firebase_app_id=1:123:android:abc&" in request.url
    assert made(event, APP)[0]["app_instance_id"] == "f-1"
    assert "firebase_instance_id" in refusal(APP, good_event()).fix


def test_only_web_purchases_are_sent_again_when_no_answer_came() -> None:
    """Nothing else is recognised."""
    event = good_event(app=App(firebase_instance_id="f-1"))
    for account, one, window_s in (
        (WEB, event, 48 * HOUR),
        (APP, event, 0.0),
        (WEB, good_event(name="lead"), 0.0),
        (WEB, good_event(name="refund"), 0.0),
    ):
        found = wire(account, one)
        assert isinstance(found, Wire)
        assert found.resend_for_s == window_s


def test_a_refund_carries_its_items() -> None:
    """Analytics does not look them up in the purchase."""
    params = made(good_event(name="refund"))[1]["params"]
    assert params["transaction_id"] == "1001"
    assert params["items"] == [{"item_id": "sku-1", "price": 36.195, "quantity": 2}]


def test_a_test_goes_to_the_validation_endpoint() -> None:
    """Strictly, and apart from live events."""
    [request] = requests(WEB, [good_event(test=True)])
    assert "/debug/mp/collect?" in request.url
    assert made(good_event(test=True))[0]["validation_behavior"] == "ENFORCE_RECOMMENDATIONS"
    assert len(requests(WEB, [good_event(test=True), good_event(event_id="2")])) == 2


def test_what_the_validation_endpoint_names_is_rejected() -> None:
    """By its place; what it cannot place is tried apart."""
    found = wire(WEB, good_event(test=True))
    assert isinstance(found, Wire)

    def kinds(*paths: str) -> list[str]:
        messages = [{"fieldPath": path, "description": "no", "validationCode": "NAME_INVALID"} for path in paths]
        body = json.dumps({"validationMessages": messages}).encode()
        return [one.kind for one in WEB.classify(Response(200, body, head=found.head), 2)]

    assert kinds() == ["accepted", "accepted"]
    assert kinds("events[1].name") == ["accepted", "rejected"]
    assert kinds("") == kinds("events") == kinds("events[7].name") == ["split", "split"]
    assert [one.kind for one in WEB.classify(Response(200, b"{}", head=found.head), 1)] == ["accepted"]
    assert [one.kind for one in WEB.classify(Response(200, b"<html>", head=found.head), 1)] == ["ambiguous"]


def test_a_yes_is_called_unconfirmed() -> None:
    """It is no proof."""
    [found] = WEB.classify(Response(204), 1)
    assert (found.kind, "unconfirmed" in found.reason) == ("accepted", True)


def test_without_consent_for_ads_nothing_that_the_person_gave_leaves() -> None:
    """And only where analytics were agreed to."""
    denied = {"ad_user_data": False}
    assert refusal(WEB, good_event(consent=Consent(**denied))).field == "consent.ad_user_data"
    head, _ = made(good_event(consent=Consent(**denied, analytics_storage=True)))
    assert "user_data" not in head
    assert head["consent"] == {"ad_user_data": "DENIED"}
    assert refusal(WEB, good_event(consent=Consent(analytics_storage=False))).kind == "skipped"
    head, _ = made(good_event(consent=Consent(sale_opt_out=True)))
    assert head["consent"] == {"ad_personalization": "DENIED"}


def test_a_user_id_is_no_address() -> None:
    """Google forbids it; the event goes without."""
    event = good_event(user=User(external_id="jo@shop.example"))
    assert "user_id" not in made(event)[0]
    found = wire(WEB, event)
    assert isinstance(found, Wire)
    assert any("user.external_id" in said and "jo@" not in said for said in found.warnings)


def test_no_cache_keeps_a_head() -> None:
    """It holds personal data, which must be gone when it is forgotten."""
    from capi_async.spec import encode_head

    encode_head.cache_clear()
    made(good_event())
    assert encode_head.cache_info().currsize == 0


def test_europe_has_its_own_host() -> None:
    """For both endpoints."""
    account = GA4(measurement_id="G-1234", api_secret="s", eu=True)
    for test in (False, True):
        [request] = requests(account, [good_event(test=test)])
        assert request.url.startswith("https://region1.google-analytics.com/")


@pytest.mark.parametrize("ids", [{}, {"measurement_id": "G-1", "firebase_app_id": "1:2:ios:3"}])
def test_one_stream_is_named(ids: dict[str, str]) -> None:
    """Neither none nor both."""
    with pytest.raises(ConfigError, match="exactly one"):
        GA4(api_secret="s", **ids)
    with pytest.raises(ConfigError, match="Universal"):
        GA4(measurement_id="UA-1-1", api_secret="s")


@pytest.mark.parametrize(
    ("setting", "wrong", "said"),
    [
        ("measurement_id", "GT-ABC123", "Google tag"), ("measurement_id", "AW-123456789", "Google Ads account"),
        ("measurement_id", "GTM-ABC123", "Tag Manager"), ("measurement_id", "DC-123", "Floodlight"),
        ("measurement_id", "123456789", "number of a property"), ("measurement_id", 123456789, "number of a property"),
        ("measurement_id", "G-", "such as G-"), ("measurement_id", "G_ABC123DEF4", "such as G-"),
        ("measurement_id", "1:123:android:abc", "as firebase_app_id"),
        ("firebase_app_id", "g-abc123def4", "as measurement_id"),
        ("firebase_app_id", "com.example.app", "app id of Fi"),
    ],
)  # fmt: skip
def test_what_is_mistaken_for_a_stream_is_told(setting: str, wrong: Any, said: str) -> None:
    """Google would answer yes to every event of it."""
    with pytest.raises(ConfigError, match=f"{setting} .*{said}"):
        GA4(api_secret="s", **{setting: wrong})


def test_a_measurement_id_is_written_in_capitals() -> None:
    """However it was typed."""
    assert GA4(measurement_id=" g-abc123def4\n", api_secret="s").measurement_id == "G-ABC123DEF4"


def test_texts_that_hold_an_address_stay_at_home() -> None:
    """Google forbids them in parameters; an event is not lost for one."""
    event = good_event(
        name="search", search_string="mail bob@example.com", order_id=None, properties={"note": "to=bob%40example.com"}
    )
    found = wire(WEB, event)
    assert isinstance(found, Wire)
    params = made(event)[1]["params"]
    assert not {"search_term", "note"} & set(params)
    assert [said.partition(":")[0] for said in found.warnings] == ["search_string", "properties.note"]
    for changes, field in (
        ({"order_id": "bob@example.com-1"}, "order_id"),
        ({"items": [Item(id="bob@example.com")]}, "items[0].id"),
        ({"extra": {"ga4": {"params": {"coupon": "bob@example.com"}}}}, "extra.params.coupon"),
    ):
        refused = refusal(WEB, good_event(**changes))
        assert (refused.kind, refused.field) == ("rejected", field)
        assert "e-mail address" in refused.reason


def test_properties_give_way_to_what_the_event_says_itself_and_this_is_told() -> None:
    """A value beside the value; the same once more is no contradiction."""
    event = good_event(properties={"value": 5, "currency": good_event().currency, "page_title": "Thanks"})
    found = wire(WEB, event)
    assert isinstance(found, Wire)
    assert [said for said in found.warnings if said.startswith("properties.")] == [
        "properties.value: the event says this itself; left out"
    ]
    params = made(event)[1]["params"]
    assert (params["value"], params["page_title"]) == (72.39, "Thanks")


@pytest.mark.parametrize(("given", "sent"), [(True, 1), (1, 1), (False, None), (0, None)])
def test_debug_mode_is_off_by_its_absence(given: Any, sent: int | None) -> None:
    """False in its place would switch it on."""
    assert made(good_event(properties={"debug_mode": given}))[1]["params"].get("debug_mode") == sent


@pytest.mark.parametrize(
    ("text", "session"),
    [
        ("1700000000", "1700000000"),
        ("GS1.1.1700000000.5.1.1700000100.0.0.0", "1700000000"),
        ("GS2.1.s1700000000$o5$g1$t1700000100$j60$l0$h0", "1700000000"),
        ("GS2.1.o5$s1700000000$g1", "1700000000"),
        ("s1700000000", None),
    ],
)
def test_a_session_is_read_out_of_its_cookie(text: str, session: str | None) -> None:
    """As the visitor is out of _ga."""
    click = ClickIds(ga_client_id=CLIENT, ga_session_id=text)
    assert made(good_event(click=click))[1]["params"].get("session_id") == session


def test_a_page_is_no_answer_of_googles() -> None:
    """A proxy's, or a portal's of a guest network: Google answers with an empty body."""
    [verdict] = WEB.classify(Response(200, b"<!doctype html><html><body>Log in</body></html>"), 1)
    assert verdict.kind == "ambiguous"


VECTORS = [
    ("email", "  Jane.Doe@Gmail.com ", "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69"),
    ("email", "user.name+NYC@Example.com", "f109a2a632fbcea5fc82049f50beed3d8621bf9034399f437fb622222acccdac"),
    ("email", "Jane.Doe@Example.COM", "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"),
    ("email", "jane doe@example.com", "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"),
    ("phone", "+44 7911 123456", "20b18ac9de7b3aad174961827d8e451c410af9aedfd1d699927f4b29b81aa1fa"),
    ("phone", "0033 6 12 34 56 78", "42d573cfc315801d4cd8eddd5416b416a0bf298b9b9e12d6b07442c91db42bd8"),
    ("first_name", "Mary-Jane", "f08f448a5e7a9dc3619bb7c129f6a7d5fc6af002cea17ad71dfdc1c68f4d4e0e"),
    ("first_name", " Valéry ", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("last_name", "O'Connor 3rd", "c87cf09f02595c53d51578fdaa2a7110d65872c78ce5560d128d62be82190561"),
]


@pytest.mark.parametrize(("field", "given", "digest"), VECTORS)
def test_digests_are_those_of_the_documentation(field: str, given: str, digest: str) -> None:
    """Where they stand on the wire."""
    user = User(**{"external_id": "u", "first_name": "a" if field != "first_name" else None, field: given})
    data = made(good_event(user=user))[0]["user_data"]
    place = {"email": "sha256_email_address", "phone": "sha256_phone_number"}.get(field)
    found = data[place][0] if place else data["address"][0][f"sha256_{field}"]
    assert found == digest


# The visitor's properties, place and device: all of them in the head.

FULL = GA4(
    measurement_id="G-ABC123DEF4", api_secret="secret", user_properties={"tier": "customer_tier", "vip": "vip"},
    user_location=True,
)  # fmt: skip


def test_a_property_of_the_visitor_stands_in_the_head_and_not_in_the_event() -> None:
    """Those that the account names; the others stay the event's. True is 1 there as well."""
    head, event = made(good_event(properties={"tier": "gold", "vip": True, "colour": "red"}), FULL)
    assert head["user_properties"] == {"customer_tier": {"value": "gold"}, "vip": {"value": 1}}
    assert event["params"]["colour"] == "red"
    assert not {"tier", "vip", "customer_tier"} & set(event["params"])
    assert "user_properties" not in made(good_event(), FULL)[0]


@pytest.mark.parametrize(
    ("value", "said"), [("x" * 37, "has 37 characters, and a user property takes 36"), (["gold"], "text or a number")]
)
def test_a_property_of_the_visitor_that_would_be_dropped_is_refused_in_words(value: object, said: str) -> None:
    found = refusal(FULL, good_event(properties={"tier": value}))
    assert (found.kind, found.field) == ("rejected", "properties.tier")
    assert said in found.reason


@pytest.mark.parametrize(
    "named",
    [{"a": "x" * 25}, {"a": "user_id"}, {"a": "ga_x"}, {"a": "1x"}, {"a": "x", "b": "x"}, {"a": 1},
     {f"p{number}": f"p{number}" for number in range(26)}],
)  # fmt: skip
def test_user_properties_that_google_reserves_or_drops_are_refused_at_the_start(named: dict[str, Any]) -> None:
    """Name length, reserved names, doubles, and more than 25."""
    with pytest.raises(ConfigError, match="user_properties"):
        GA4(measurement_id="G-1234", api_secret="s", user_properties=named)


@pytest.mark.parametrize(
    ("user", "place"),
    [
        ({"city": "San José", "state": "ca", "country": "us"},
         {"city": "San José", "region_id": "US-CA", "country_id": "US"}),
        ({"city": "Lyon", "state": "Rhône", "country": "FR"}, {"city": "Lyon", "country_id": "FR"}),
        ({"state": "CA"}, None),
    ],
)  # fmt: skip
def test_a_place_is_sent_where_it_was_asked_for(user: dict[str, str], place: dict[str, str] | None) -> None:
    """A region by its ISO code alone, in a country that is known."""
    event = good_event(user=User(external_id="u", **user))
    assert made(event, FULL)[0].get("user_location") == place
    assert "user_location" not in made(event)[0]


def test_without_consent_for_ads_no_place_leaves() -> None:
    consent = Consent(ad_storage=False, analytics_storage=True)
    event = good_event(user=User(external_id="u", city="Lyon", country="FR"), consent=consent)
    assert "user_location" not in made(event, FULL)[0]


def test_the_device_is_told_in_googles_words() -> None:
    """It goes before the user agent; an empty text would be a claim."""
    device = Device(os="ios", os_version="17.2", locale="en-US", screen_width=1170, screen_height=2532, model="")
    assert made(good_event(device=device))[0]["device"] == {
        "operating_system": "ios", "operating_system_version": "17.2", "language": "en-us",
        "screen_resolution": "1170x2532",
    }  # fmt: skip
    assert "device" not in made(good_event())[0]


async def test_nothing_of_a_person_outlives_forget() -> None:
    """The head holds digests, an id in clear and facts; nothing that a client keeps holds them when they are gone."""
    person = User(email="anna@example.com", external_id="u-forget-me", city="Forgetown", country="SE")
    account = replace(FULL, linger_s=3_600.0)

    class Away:
        """Does not answer, and keeps no request."""

        async def send(self, request: Request, *, timeout_s: float) -> Response:
            return Response(503)

    async with Client([account], transport=Away()) as client:
        events = [
            good_event(event_id=f"e-{n}", user=person, properties={"tier": "forget-tier"}, items=()) for n in range(3)
        ]
        await client.send_many(events[:2])
        await client.flush(0.2)
        await client.send(events[2])
        traces = (b"u-forget-me", b"forget-tier", hashlib.sha256(b"anna@example.com").hexdigest().encode())
        assert held_by(client, traces)
        assert sum((await client.forget(User(email="anna@example.com"))).values()) == 3
        del events, person
        assert held_by(client, traces) == []


def held_by(root: object, marks: tuple[bytes, ...]) -> list[str]:
    """Types of what holds bytes or text with one of these in it, wherever below ``root``."""
    seen: set[int] = set()
    found: list[str] = []
    todo: list[tuple[object, str]] = [(root, "")]
    while todo:
        thing, holder = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, (bytes, str)):
            raw = thing.encode("utf-8", "surrogatepass") if isinstance(thing, str) else thing
            found += [holder] if any(mark in raw for mark in marks) else []
            continue
        if isinstance(thing, (type, ModuleType, FunctionType, FrameType)):
            continue
        below = gc.get_referents(thing)
        if isinstance(thing, Struct):  # some of them are not known to the collector
            below += [getattr(thing, field) for field in thing.__struct_fields__]
        todo += [(one, type(thing).__name__) for one in below]
    return found
