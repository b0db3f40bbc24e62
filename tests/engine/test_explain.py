"""What ``explain`` shows of a wire object, and what it never shows."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from capi_async import ClickIds, Client, Event, Item, Page, User
from capi_async.cli.accounts import sandbox_destinations
from capi_async.destinations import Pinterest, Snap
from tests.engine.acme import EMAIL, Acme, event

TOKEN = "token"
PIXEL = "9633c2ae-0115-495a-aca9-b976db485fc8"


@pytest.mark.parametrize("levels", [90, 900])
def test_explain_shows_no_more_than_a_hundred_levels(levels: int) -> None:
    """What ``send`` delivers can be explained, however deep it is; what is not shown leaks nothing."""
    deep: Any = {"mail": EMAIL}
    for _ in range(levels):
        deep = {"a": deep}
    shown = Client([Acme()]).explain(event(properties={"deep": deep}, user=User(email=EMAIL)))["acme"]
    assert shown.verdict == "pending"
    text = json.dumps(shown.wire)
    assert ("<email>" in text, "<nested too deeply to show>" in text) == (levels == 90, levels == 900)
    assert EMAIL not in text


def explained(kind: type[Any], event: Event, **settings: Any) -> Any:
    """The wire object that ``explain`` shows."""
    [shown] = Client([kind(access_token=TOKEN, **settings)]).explain(event).values()
    assert shown.verdict == "pending", shown
    return shown.wire


def test_explain_leaves_amounts_that_merely_equal_an_identifier() -> None:
    """Nor names, codes, times and short item ids."""
    person = User(external_id=["1", "12.50", "1000", "USD", "checkout"], email="jane@example.com")
    bought = Event(
        "purchase", value="1000.00", currency="USD", user=person, items=[Item(id="1", quantity=1, price="12.50")]
    )
    pinterest = explained(Pinterest, bought, ad_account_id="549755885175")
    assert pinterest["event_name"] == "checkout"
    data = pinterest["custom_data"]
    assert (data["value"], data["currency"], data["num_items"], data["content_ids"]) == ("1000.00", "USD", 1, ["1"])
    assert data["contents"] == [{"id": "1", "item_price": "12.50", "quantity": 1}]
    for value in ("1", "1000", "12.50"):
        wire = explained(Pinterest, replace(bought, value=value), ad_account_id="549755885175")
        assert wire["custom_data"]["value"] == value


@pytest.mark.parametrize("key", ["value", "price", "event_time", "note", "id", "event_name", "currency"])
@pytest.mark.parametrize("clear", ["jane@example.com", "14155552671", "4155552671", "Bob", "203.0.113.7", "990011"])
def test_explain_masks_the_person_under_every_key(key: str, clear: str) -> None:
    """Whatever the caller has put where."""
    person = User(
        email="jane@example.com", phone="+1 415 555 2671", first_name="Bob", ip="203.0.113.7", user_agent="UA"
    )
    # a documented key of the wrong kind would be refused
    more = {"own": {key: clear}, "more": [{"deep": clear}]}
    raw = {"user_data": {"x": {key: clear}}, "custom_data": more}
    bought = Event(
        "sign_up", user=person, page=Page(url="https://shop.example/"), click=ClickIds(sc_click_id="990011"),
        extra={"snap": raw},
    )  # fmt: skip
    wire = explained(Snap, bought, pixel_id=PIXEL)
    assert clear not in repr(wire)


PERSON = User(
    email="zq.p@leak.example", first_name="Zqmary Jane", last_name="Zqvon Dell", phone="+14155550199", external_id="c1"
)
ALL = ("snap", "snap_v2", "pinterest", "tiktok", "tiktok_pixel", "meta")


@pytest.mark.parametrize(
    ("clear", "fields"),
    [
        ("zqmary|zqvon", {"page": Page(url="https://s.example/?n=Zqmary%20Jane&l=Zqvon+Dell")}),
        ("zqmary|zqvon", {"page": Page(url="https://s.example/ZQMARY%2520JANE/zqvon%20dell#zqmary+jane")}),
        ("zq.p", {"page": Page(url="https://s.example/u/ZQ.P%40LEAK.example/x")}),
        ("zq.p", {"page": Page(url="https://s.example/u/zq.p%2540leak.example/zq.p&#64;leak.example")}),
        ("zq.p", {"page": Page(url="https://s.example/zq.p\uff20leak.example/zq%2Ep%u0040leak.example")}),
        ("zq2", {"properties": {"note": "ask zq2@other.example"}, "search_string": "zq2@other.example"}),
        ("zq2", {"extra": {name: {"note": ["mail zq2@other.example"], "x": "zq2%40other.example"} for name in ALL}}),
        ("zq.p|zq2", {"properties": {"zq.p@leak.example": 1, "zq2@other.example": {"deep": 2}}}),
        ("4155550199", {"properties": {"tel": 14155550199, "list": [4155550199, 14155550199.0]}}),
        ("415-555|415 555|4155550199", {"properties": {"a": "call 415-555-0199", "b": "+1 (415) 555 0199"}}),
        ("zq.p", {"content_name": "For Zq.P@Leak.Example", "order_id": "zq.p@leak.example-1", "description": "x"}),
        ("zq3", {"name": "zq3@other.example"}),
    ],
)  # fmt: skip
def test_explain_shows_nobody_in_whatever_form(clear: str, fields: dict[str, Any]) -> None:
    """Encoded, as a key, as a number, in another's words, in a name that is refused: in no part of the answer."""
    made = Event(
        **{
            "name": "purchase", "user": PERSON, "page": Page(url="https://s.example/"), "value": 5, "currency": "USD",
            "order_id": "o1", **fields,
        }
    )  # fmt: skip
    shown = Client(sandbox_destinations(lambda _: "http://127.0.0.1:1", list(ALL))).explain(made)
    assert set(shown) == set(ALL)
    for one in shown.values():
        text = repr((one.reason, one.field, one.fix, one.wire, one.refused, one.warnings, one.used, one.unused)).lower()
        for word in clear.split("|"):
            assert word not in text, one


@given(st.lists(st.sampled_from(["percent", "plus", "entity", "wide", "unicode", "upper"]), max_size=4), st.booleans())
def test_explain_reads_through_any_stack_of_encodings(layers: list[str], in_path: bool) -> None:
    """The same address, written as forms, frameworks and templates write it."""
    text = "zq.p@leak.example"
    for layer in layers:
        text = {
            "percent": lambda x: quote(x, safe=""), "plus": quote_plus, "entity": lambda x: x.replace("@", "&#64;"),
            "wide": lambda x: x.replace("@", "\uff20"), "unicode": lambda x: x.replace("@", "%u0040"),
            "upper": lambda x: x.upper() if "%" not in x and "&" not in x else x,
        }[layer](text)  # fmt: skip
    url = f"https://s.example/{text}/x" if in_path else f"https://s.example/?x=1&mail={text}"
    made = Event("lead", user=PERSON, page=Page(url=url))
    wire = Client([Snap(pixel_id=PIXEL, access_token=TOKEN)]).explain(made)["snap"].wire
    assert "zq.p" not in repr(wire).lower()
    assert "leak" not in repr(wire).lower()
