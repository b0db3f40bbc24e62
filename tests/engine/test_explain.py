"""What ``explain`` shows of a wire object, and what it never shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from capi_async import ClickIds, Client, Event, Item, Page, User
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
    raw = {"user_data": {"x": {key: clear}}, "custom_data": {key: clear, "more": [{"deep": clear}]}}
    bought = Event(
        "sign_up", user=person, page=Page(url="https://shop.example/"), click=ClickIds(sc_click_id="990011"),
        extra={"snap": raw},
    )  # fmt: skip
    wire = explained(Snap, bought, pixel_id=PIXEL)
    assert clear not in repr(wire)
