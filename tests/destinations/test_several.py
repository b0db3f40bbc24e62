"""People with several names, places or birthdays: what each platform gets of them, and what is said of the rest."""

from __future__ import annotations

import json
from datetime import date
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from capi_async import Client, Consent, Event, EventError, Hashed, Page, User
from capi_async.destinations import Webhook
from capi_async.destinations.meta import Meta
from capi_async.destinations.pinterest import Pinterest
from capi_async.destinations.snap import Snap
from capi_async.event import SEVERAL
from capi_async.pii.identifiers import Plan
from capi_async.testing.mapping import wire

META = Meta(pixel_id="1234567890", access_token="TOKEN")
PINTEREST = Pinterest(ad_account_id="549755885175", access_token="TOKEN")
SNAP = Snap(pixel_id="9633c2ae-0115-495a-aca9-b976db485fc8", access_token="TOKEN")


def digests(*texts: str) -> list[str]:
    return [sha256(text.encode()).hexdigest() for text in texts]


def user_data(destination: Any, user: User, **fields: Any) -> Any:
    made = wire(destination, Event("lead", user=user, page=Page(url="https://shop.example/"), **fields))
    return json.loads(json.dumps(asdict(made.body.user_data)))


PLACES = User(
    email="a@b.example",
    city=["Albany", "Toronto"],
    state=["New York", "Ontario"],
    zip=["12207-1234", "M5V 2T6"],
    country=["US", "CA"],
)


def test_as_many_states_and_zips_as_countries_belong_together() -> None:
    """The second state is read as one of the second country, the second zip code too."""
    sent = user_data(META, PLACES)
    assert (sent["st"], sent["zp"]) == (digests("ny", "on"), digests("12207", "m5v2t6"))
    turned = replace(PLACES, country=["CA", "US"])
    assert user_data(META, turned)["st"] == digests("newyork", "ontario")
    assert user_data(META, turned)["zp"][0] == digests("122071234")[0]


def test_otherwise_all_are_read_with_the_first_country() -> None:
    """One country for several states, and several for one."""
    assert user_data(META, replace(PLACES, country="US"))["st"] == digests("ny", "ontario")
    assert user_data(META, replace(PLACES, state="Ontario", country=["CA", "US"]))["st"] == digests("on")
    assert user_data(META, replace(PLACES, phone="(416) 555-0123", country=["Canada", "US"]))["ph"] == digests(
        "14165550123"
    )


def test_an_empty_value_holds_its_place() -> None:
    """As it comes out of forms and files that have two of each."""
    sent = user_data(META, replace(PLACES, state=["", "Ontario"], zip=[None, "M5V 2T6"]))
    assert (sent["st"], sent["zp"]) == (digests("on"), digests("m5v2t6"))


def test_what_cannot_be_read_is_left_out_and_said() -> None:
    """The others count."""
    found = Plan(META.identifiers).identify(
        User(country=["Atlantis", "US"], gender=["x", "f", "n"], date_of_birth=["26.12.", date(1997, 2, 16)])
    )
    assert (found.country, found.gender_binary, found.dob) == tuple(digests("us", "f", "19970216"))
    assert dict(found.refused) == {}
    assert found.several is None
    assert len(found.warnings) == 4
    assert all("a value is left out of" in said for said in found.warnings)
    nothing = Plan(META.identifiers).identify(User(gender=["x", "y"]))
    assert list(nothing.refused) == ["gender"]


def test_digests_stand_beside_plain_values() -> None:
    """Each reaches the platforms that take its rule."""
    odd = "ab" * 32
    user = User(email="a@b.example", city=["Rome", Hashed(odd, "city_joined")], gender=[Hashed(*digests("n")), "m"])
    assert user_data(META, user)["ct"] == [*digests("rome"), odd]
    assert user_data(META, user)["ge"] == user_data(SNAP, user)["ge"] == digests("m")
    assert user_data(PINTEREST, user)["ge"] == digests("n", "m")


@pytest.mark.parametrize("region", ["US-CA", "US", "DE"])
def test_pinterest_limits_processing_by_one_place(region: str) -> None:
    """Two countries would leave open whose law it is."""
    sent = user_data(PINTEREST, PLACES, consent=Consent(sale_opt_out=True, region=region))
    assert sent["country"] == digests(region[:2].lower())
    assert sent["st"] == {"US-CA": digests("ca"), "US": digests("ny"), "DE": None}[region]
    assert sent["ct"] == digests("albany", "toronto")


def test_a_webhook_gets_all_of_them() -> None:
    """As a list where there are several, as a text where there is one."""
    made: Any = wire(Webhook(url="https://hook.example/"), Event("lead", user=replace(PLACES, first_name="Ann")))
    assert made.body["user"]["city"] == tuple(digests("albany", "toronto"))
    assert made.body["user"]["first_name"] == digests("ann")[0]
    clear: Any = wire(Webhook(url="https://hook.example/", identifiers_as="clear"), Event("lead", user=PLACES))
    assert clear.body["user"]["zip"] == ("12207-1234", "M5V 2T6")


def test_a_list_of_one_is_that_one_and_an_empty_one_is_none() -> None:
    """So that what has one value takes the usual way."""
    user = User(city=["Rome"], zip=(), first_name=("Ann", "Lee"), date_of_birth=[date(1997, 2, 16)])
    assert (user.city, user.zip, user.first_name) == ("Rome", None, ("Ann", "Lee"))
    assert user.date_of_birth == date(1997, 2, 16)
    assert repr(user) == "User(first_name=…, city=…, date_of_birth=…)"


@pytest.mark.parametrize("field", sorted(SEVERAL))
def test_json_takes_lists_and_errors_name_the_place(field: str) -> None:
    """In every field that takes several."""
    event = Event.from_json(json.dumps({"name": "lead", "user": {field: ["1997-02-16", "1997-02-17"]}}))
    assert list(getattr(event.user, field)) == ["1997-02-16", "1997-02-17"]
    for made in (Event.from_json, lambda text: Event.from_dict(json.loads(text))):
        with pytest.raises(EventError) as refused:
            made(json.dumps({"name": "lead", "user": {field: ["1997-02-16", 5]}}))
        assert refused.value.field == f"user.{field}[1]"
        assert refused.value.reason == "needs text or a digest, got int; write it in quotes"
        with pytest.raises(EventError) as refused:
            made(json.dumps({"name": "lead", "user": {field: ["1997-02-16", {"digest": "ab"}]}}))
        assert refused.value.field == f"user.{field}[1].digest"


def test_a_date_in_a_mapping_is_told_how_to_be_written() -> None:
    """Mappings hold plain values only, as JSON does."""
    for born in (date(1997, 2, 16), ["1997-02-16", date(1997, 2, 17)]):
        with pytest.raises(EventError, match="got date; write it as text, such as 1997-12-26"):
            Event.from_dict({"name": "lead", "user": {"date_of_birth": born}})


@given(
    first=st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=12),
    second=st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=12),
)
def test_explain_shows_none_of_them(first: str, second: str) -> None:
    """Not where it was put by hand either."""
    user = User(email="a@b.example", last_name=[first, second], date_of_birth=["1997-02-16", date(1998, 3, 17)])
    said = {"custom_data": {"born": ["19980317", "1998-03-17", "1997-02-16"], "name": [first, second]}}
    event = Event("lead", user=user, page=Page(url="https://shop.example/"), extra={"meta": said})
    shown = Client([META]).explain(event)["meta"]
    assert shown.wire["custom_data"]["born"] == ["<date_of_birth>"] * 3
    for name, mask in zip((first, second), shown.wire["custom_data"]["name"], strict=True):
        assert mask == "<last_name>" or not name.strip()


def test_explain_says_what_a_platform_leaves_out() -> None:
    """Once for each field, with the destination's name."""
    event = Event(
        "lead", user=replace(PLACES, date_of_birth=["1997-02-16", "1997-02-17"]), page=Page(url="https://a.example/")
    )
    warnings = Client([replace(SNAP, name="snap-eu"), META]).explain(event)
    assert list(warnings["snap-eu"].warnings) == [
        "user.date_of_birth: snap-eu takes one value of a person; only the first of 2 counts"
    ]
    assert not any("date_of_birth" in said for said in warnings["meta"].warnings)
