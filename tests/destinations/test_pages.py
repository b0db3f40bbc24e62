"""A page that is no address of the web never leaves: refused where the platform needs it, else left out with a note."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capi_async.destinations import destination_types
from capi_async.destinations.base import is_web
from capi_async.destinations.registry import row_of
from capi_async.engine.prepare import Preparer
from capi_async.event import ClickIds, Event, Item, Page, User
from capi_async.spool.base import Record
from capi_async.testing import ManualClock

ODD = [
    "shop.example/thanks", "//shop.example/", "https:shop.example", "https:/shop.example", "htps://shop.example",
    "https:///x", "https://", "http://?q=1", "https:// shop.example/", "https://sh op.example/", "https://:80/",
    "https://.shop.example/", "https://shop.example:abc/", "https://[::1/x", "https://{{host}}/x", "javascript:void(0)",
    "data:text/html,x", "about:blank", "file:///C:/x.html", "undefined", "{{page_url}}",
]  # fmt: skip


@pytest.mark.parametrize("url", ODD)
@pytest.mark.parametrize("type_name", [name for name in destination_types() if name != "webhook"])
def test_what_is_no_address_of_the_web_is_refused_or_left_out_in_words(type_name: str, url: str) -> None:
    """A webhook gets the page as it is: whoever receives it may know another use of it."""
    row = row_of(type_name)
    destination = row.load()(**row.settings())
    event = Event(
        "purchase", value=1, currency="USD", order_id="1", items=[Item(id="i", price=1)], page=Page(url=url),
        user=User(email="a@b.example", external_id="x"), click=ClickIds(ga_client_id="1.2"),
        time=datetime.fromtimestamp(ManualClock.START, UTC),
    )  # fmt: skip
    made, _, warnings = Preparer([destination]).one(destination, event, ManualClock.START)
    if not isinstance(made, Record):
        assert made.field == "page.url" or "page_url" not in destination.identifiers
        return
    assert url.encode() not in made.body
    assert b"://" not in made.body
    if "page_url" in destination.identifiers and destination.type != "cutmeshort":
        assert any("no http(s) address" in text for text in warnings)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "HTTP://SHOP.example/a", "https://shop.example:8443?x=1", "https://me:pw@shop.example/#a",
     "https://m\u00fcnchen.example/", "https://xn--mnchen-3ya.example./", "https://[2600::1]:80/", "http://localhost/",
     "https://a_b.example/", "https://1.2.3.4/"],
)  # fmt: skip
def test_addresses_of_every_kind_of_host_are_of_the_web(url: str) -> None:
    assert is_web(url)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example@", "https://shop.example:abc/", "https://shop.example /x",
     "https://shop.example,/", "http://shop.example'/", "https:///shop.example/", "shop.example/https://shop.example/"],
)  # fmt: skip
def test_an_address_that_only_begins_like_a_known_one_is_none_of_the_web(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # origins of other tests would leave no place for this one
    monkeypatch.setattr("capi_async.destinations.base._known_origins", ())
    for known in (
        "https://shop.example/a",
        "https://shop.example",
        "http://shop.example/?b=1",
        "https://u:p@x.example/",
    ):
        assert is_web(known)
        assert is_web(known)
    assert not is_web(url)
