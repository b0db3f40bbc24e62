"""What is shown of a wire: for every platform, nothing that a person could be known by."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ClickIds, Client, Consent, Event, Item, Page, User
from capi_async.engine.prepare import Preparer
from capi_async.engine.receipt import Receipt
from capi_async.watch.masking import masked, shown_id

#: Every one of these stands in the event below, and none may stand on the page, in whatever case or form.
PRIVATE = (
    "jane.q.doe@example.com", "14155550123", "4155550123", "customer-7731", "Janeqx", "Doeqx", "Quuxville", "94107",
    "203.0.113.77", "SecretBrowser", "private-session", "click-id-qq", "1980-02-29", "19800229", "77310001",
)  # fmt: skip


def full_event(name: str = "purchase") -> Event:
    return Event(
        name,
        order_id="1001",
        time=datetime.now(UTC),
        value="72.39",
        currency="EUR",
        user=User(
            email="Jane.Q.Doe@example.com", phone="+1 415 555 0123", external_id="customer-7731", first_name="Janeqx",
            last_name="Doeqx", city="Quuxville", state="CA", zip="94107", country="US", gender="f",
            date_of_birth=date(1980, 2, 29), ip="203.0.113.77", user_agent="SecretBrowser/1.0",
        ),
        page=Page(url="https://shop.example/thanks?s=private-session", referrer="https://a.example/private-session"),
        click=ClickIds(
            gclid="click-id-qq-1", fbc="fb.1.1700000000000.click-id-qq-2", sc_click_id="click-id-qq-3",
            rdt_cid="click-id-qq-4", ttclid="click-id-qq-5", epik="click-id-qq-6", cms_rf="click-id-qq-7",
            li_fat_id="click-id-qq-8", ga_client_id="77310001.1700000000", twclid="click-id-qq-9",
            msclkid="click-id-qq-10",
        ),
        items=[Item(id="sku-1", quantity=3, price="24.13", name="Tea")],
        consent=Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, region="US-CA"),
        properties={
            "status": "Janeqx", "type": "Doeqx", "value": "Janeqx", "amount": "Quuxville", "consent": "Janeqx",
            "Jane.Q.Doe@example.com": 1, "nickname": "Janeqx", "note": "call 4155550123", "score": 4155550123,
        },
    )  # fmt: skip


def bodies() -> list[tuple[str, bytes]]:
    client = Client.from_env(mode="off")
    preparer = Preparer(client.destinations)
    event = full_event()
    records, refused = preparer.run([event], [Receipt(event.event_id, [], None)], event.time.timestamp() + 1)
    assert len(records) >= 5, [(one.destination, one.outcome.reason) for one in refused]
    return [(record.destination, record.body) for record in records]


@pytest.mark.parametrize(("destination", "body"), [pytest.param(*one, id=one[0]) for one in bodies()])
def test_every_platforms_wire_is_shown_without_the_person(destination, body):
    """Its shape, its names, its money: nothing else."""
    shown = masked(body)
    json.loads(shown)
    for said in PRIVATE:
        assert said.lower() not in shown.lower(), (destination, said)
    assert not re.search(r"[0-9a-fA-F]{20,}", shown), destination
    assert "1001" in shown or "purchase" in shown.lower(), destination
    assert "EUR" in shown or "72" in shown, destination


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_json_is_shown_and_its_texts_are_not(value: Any):
    """Whatever a wire holds; keys that are known apart."""
    secret = {"thing": "very secret words", "inner": value}
    shown = masked(json.dumps(secret).encode())
    assert "secret" not in shown
    assert shown


@given(st.binary(max_size=200))
def test_what_is_no_json_is_told(body):
    """And never raises."""
    assert masked(body)


def test_a_long_or_deep_wire_is_cut():
    """The page stays small."""
    assert len(masked(json.dumps({"currency": ["E" * 70] * 10_000}).encode())) < 7_000
    assert "too long" in masked(b'"' + b"x" * 70_000 + b'"')
    assert masked(b"[" * 5_000 + b"]" * 5_000)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("purchase:1001", "purchase:1001"),
        ("jane@example.com", "<id with an address>"),
        ("order jane%40example.com", "<id with an address>"),
        ("a\nb\x1b[31m", "a b [31m"),
        ("x" * 500, "x" * 120),
    ],
)
def test_ids_are_shown_as_they_are_unless_they_hold_an_address(said, shown):
    """They are the caller's own, and the way to find an event."""
    assert shown_id(said) == shown
