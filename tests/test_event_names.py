"""Names of events: a platform's own pass, and nearly standard ones are told of."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.destinations import destination_types
from capi_async.destinations.registry import row_of
from capi_async.engine.explain import Explanation, explain
from capi_async.engine.prepare import Preparer
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Device, Event, Page, User
from capi_async.event_names import meant
from capi_async.outcome import Outcome
from capi_async.spec import Destination
from capi_async.spool.base import Record

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
MEANT = {
    "purchase": [
        "Purchase",
        "PURCHASE",
        "Order Completed",
        "order_completed",
        "OrderCompleted",
        "purchased",
        "CompletePayment",
        "Order Placed",
        "checkout_completed",
        "Puchase",
        "purchase ",
    ],
    "view_list": ["list_view", "LIST_VIEW", "Product List Viewed", "view_item_list"],
    "add_to_cart": ["Product Added", "AddToCart", "added to cart", "ADD_CART", "add-to-cart", "add_to_crat"],
    "initiate_checkout": ["begin_checkout", "Checkout Started", "START_CHECKOUT", "InitiateCheckout"],
    "sign_up": ["signup", "Signed Up", "CompleteRegistration", "registered"],
    "lead": ["generate_lead", "Lead Generated", "Leads", "SubmitForm"],
    "page_view": ["PageView", "Pageview", "page viewed"],
    "view_content": ["view_item", "Product Viewed", "ViewContent"],
    "level_complete": ["LEVEL_COMPLETE", "Level Completed", "AchieveLevel"],
    "tutorial_complete": ["CompleteTutorial", "tutorial completed"],
    "share": ["Shared", "sharing"],
    "rate": ["Rated"],
    "start_trial": ["Trial Started", "StartTrial"],
    "refund": ["Order Refunded"],
    "schedule": ["scheduled", "Appointment Scheduled"],
}
PASSES = [
    ("meta", "Purchase"), ("meta", "AddToCart"), ("meta", "Donate"), ("meta", "CompleteRegistration"),
    ("snap", "LIST_VIEW"), ("snap", "PURCHASE"), ("snap_v2", "CUSTOM_EVENT_3"), ("pinterest", "page_visit"),
    ("pinterest", "signup"), ("pinterest", "checkout"), ("tiktok", "CompleteRegistration"), ("tiktok", "ClickButton"),
    ("tiktok_pixel", "PlaceAnOrder"), ("reddit", "PAGE_VISIT"), ("reddit", "PURCHASE"),
]  # fmt: skip


def account(type_name: str, **settings: Any) -> Destination:
    row = row_of(type_name)
    return row.load()(**{**row.settings(), **settings})


def event(name: str, **fields: Any) -> Event:
    user = User(email="jo@shop.example", ip="8.8.8.8", user_agent="Mozilla/5.0", external_id="u1")
    page = Page(url="https://shop.example/thanks")
    click = ClickIds(ga_client_id="1234567890.1700000000")
    given = {
        "user": user,
        "page": page,
        "click": click,
        "value": "9.90",
        "currency": "USD",
        "order_id": "o-1",
        "time": NOW,
    }
    return Event(name, **{**given, **fields})


def explained(destination: Destination, name: str, **fields: Any) -> Explanation:
    return explain(destination, Preparer([destination]), event(name, **fields), NOW.timestamp())


@pytest.mark.parametrize(("name", "standard"), [(name, key) for key, names in MEANT.items() for name in names])
def test_a_near_miss_of_a_standard_name_names_it(name: str, standard: str) -> None:
    """Case, separators, tense, order of the words, other vendors' names and a slip of the finger."""
    assert meant(name) == standard


@pytest.mark.parametrize("name", ["quiz_done", "custom", "Donate", "remove_from_cart", "view_cart", "newsletter", "x"])
def test_a_name_of_its_own_is_no_near_miss(name: str) -> None:
    """Nobody is asked about names that are like none."""
    assert meant(name) is None


@given(st.text(max_size=80))
def test_any_text_is_read(name: str) -> None:
    """What is meant is a standard name, and no standard name is meant otherwise."""
    assert meant(name) in {None, *STANDARD_EVENTS}
    assert all(meant(standard) is None for standard in STANDARD_EVENTS)


@pytest.mark.parametrize(("type_name", "name"), PASSES)
def test_a_platforms_own_documented_name_is_sent_as_it_is(type_name: str, name: str) -> None:
    """And nothing is said about it, but of the one that means two things."""
    made = explained(account(type_name), name)
    assert made.verdict == "pending"
    kind = made.wire.get("type")
    own = kind.get("tracking_type") if isinstance(kind, dict) else None
    assert name in (made.wire.get("event_name"), made.wire.get("event_type"), made.wire.get("event"), own)
    assert any("initiate_checkout" in text for text in made.warnings) is (name == "checkout")
    assert not any("meant?" in text for text in made.warnings)


def test_an_apps_own_name_is_sent_as_it_is() -> None:
    """TikTok has another list for apps."""
    app = {"source": "app", "app": App(id="1", att_status="authorized"), "device": Device(os="ios", os_version="17")}
    made = explained(account("tiktok", app_id="C0000000000000000009"), "AchieveLevel", **app)
    assert (made.wire["event"], made.warnings) == ("AchieveLevel", [])


def test_the_vendors_own_names_tell_which_call_carries_them() -> None:
    """CutMeShort has leads and sales."""
    made = account("cutmeshort")
    assert made.knows(event("order_paid")) is False
    for name, key in (("demo_booked", "lead"), ("order_paid", "sale")):
        found, _, _ = Preparer([made]).one(made, event(name, user=User(external_id="u1")), NOW.timestamp())
        said = found.reason if isinstance(found, Outcome) else str(found)
        assert "no such event" not in said, key


@pytest.mark.parametrize("type_name", destination_types())
@pytest.mark.parametrize("name", ["Order Completed", "Product_Added", "purchased"])
def test_explain_names_what_was_meant(type_name: str, name: str) -> None:
    """In a warning where the event is sent as a custom one, in the repair where it is skipped."""
    made = explained(account(type_name), name)
    said = [made.fix] if made.verdict in ("skipped", "rejected") else made.warnings
    assert any(f"{meant(name)!r} meant?" in text for text in said), made


def test_a_name_of_event_names_is_nobodys_mistake() -> None:
    """Whoever maps it has decided."""
    made = explained(account("meta", event_names={"Order Completed": "Purchase"}), "Order Completed")
    assert (made.wire["event_name"], list(made.warnings)) == ("Purchase", [])


def test_what_is_sent_under_a_near_miss_is_told_once_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """One line for the name, with the destinations and what to do; names that are no words are never repeated."""
    made = [account("meta"), account("snap")]
    preparer = Preparer(made)
    events = [event("Order Completed"), event("LIST_VIEW"), event("jo@shop.example"), event("quiz_done")]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            records, _ = preparer.run(events, [None] * len(events), NOW.timestamp())  # type: ignore[list-item]
    assert all(isinstance(record, Record) for record in records)
    lines = [line.getMessage() for line in caplog.records]
    assert len(lines) == 2
    (order,) = (line for line in lines if "Order Completed" in line)
    assert "'purchase'" in order
    assert "meta, snap" in order
    (listed,) = (line for line in lines if "LIST_VIEW" in line)
    assert "and meta would" in listed


def test_names_made_up_without_end_are_told_of_in_bounds(caplog: pytest.LogCaptureFixture) -> None:
    """A page that puts its own texts into names costs neither memory nor a full log."""
    preparer = Preparer([account("meta")])
    events = [event(f"purchase {'a' * (n % 50)}{'b' * (n // 50)}") for n in range(3_000)]
    with caplog.at_level(logging.WARNING):
        for start in range(0, len(events), 100):
            some = events[start : start + 100]
            preparer.run(some, [None] * len(some), NOW.timestamp())  # type: ignore[list-item]
    assert len(caplog.records) <= 50
