"""Click ids: where they are found, and which are left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from capi_async.destinations import CutMeShort, Pinterest, Snap, SnapV2, TikTok, TikTokPixel
from capi_async.event import ClickIds, Event, Page, User
from capi_async.pii.clicks import in_address
from capi_async.spec import Destination
from capi_async.testing.mapping import requests


@pytest.mark.parametrize(
    ("url", "referrer", "found"),
    [
        ("https://shop.example/?ttclid=E.C.P", None, "E.C.P"),
        ("https://shop.example/?a=1&ttclid=E%2EC#ttclid=no", None, "E.C"),
        ("https://shop.example/?xttclid=no", None, None),
        ("https://shop.example/#ttclid=no", None, None),
        ("https://shop.example/?ttclid=", "https://shop.example/?ttclid=old", "old"),
        ("https://shop.example/", "https://www.shop.example/?ttclid=old", "old"),
        ("https://pay.shop.example/", "https://shop.example/?ttclid=old", "old"),
        ("https://shop.example/", "https://other.example/?ttclid=theirs", None),
        ("https://myshop.example/", "https://shop.example/?ttclid=theirs", None),
        (None, "https://shop.example/?ttclid=old", "old"),
        ("https://[broken/", "https://shop.example/?ttclid=old", None),
    ],
)
def test_click_id_is_found_in_the_address_and_on_the_same_site(
    url: str | None, referrer: str | None, found: str | None
) -> None:
    """Another site's click is none of this page's."""
    assert in_address(Page(url=url, referrer=referrer), "ttclid") == found


SNAP = {"pixel_id": "00000000-0000-4000-8000-000000000001", "access_token": "t"}
TIKTOK = {"pixel_code": "C00000000SANDBOX0001", "access_token": "t"}
PLATFORMS: list[tuple[Destination, str]] = [
    (Snap(**SNAP), "ScCid"),
    (SnapV2(**SNAP), "ScCid"),
    (Pinterest(ad_account_id="549755885175", access_token="t"), "epik"),
    (TikTok(**TIKTOK), "ttclid"),
    (TikTokPixel(**TIKTOK), "ttclid"),
    (CutMeShort(token="t"), "cms_rf"),
]


def _sent(destination: Destination, **fields: Any) -> str:
    user = User(email="a@b.example", external_id="c-1", ip="203.0.113.4", user_agent="UA")
    event = Event("lead", user=user, **fields)
    (request,) = requests(destination, [event])
    return msgspec.json.encode(msgspec.json.decode(b"".join(request.body))).decode()


@pytest.mark.parametrize(("destination", "parameter"), PLATFORMS, ids=lambda one: getattr(one, "type", one))
def test_every_platforms_click_id_is_read_from_the_landing_page(destination: Destination, parameter: str) -> None:
    """Page before referrer; what the event says itself goes before both; odd ones are left out."""
    url, other = "https://shop.example/thanks", "https://shop.example/"
    assert '"Click-1"' in _sent(destination, page=Page(url=f"{url}?{parameter}=Click-1"))
    assert '"Click-1"' in _sent(destination, page=Page(url=url, referrer=f"{other}?{parameter}=Click-1"))
    given = dict.fromkeys(("sc_click_id", "epik", "ttclid", "cms_rf"), "Given-1")
    sent = _sent(destination, page=Page(url=f"{url}?{parameter}=Click-1"), click=ClickIds(**given))
    assert '"Given-1"' in sent
    assert '"Click-1"' not in sent
    assert '"undefined"' not in _sent(destination, page=Page(url=f"{url}?{parameter}=undefined"))
