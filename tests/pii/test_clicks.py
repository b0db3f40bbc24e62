"""Click ids: where they are found, and which are left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from capi_async.destinations import CutMeShort, Pinterest, Snap, SnapV2, TikTok, TikTokPixel
from capi_async.event import ClickIds, Event, Page, User
from capi_async.pii.clicks import fits, in_address
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
        ("https://shop.example/?ttclid=undefined&ttclid=E.C", None, "E.C"),
        ("https://shop.example/?ttclid=__CLICKID__", "https://shop.example/?ttclid=old", "old"),
        ("https://shop.example/?ttclid=null", None, "null"),  # which is told and left out where ids are checked
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
    nobodys = ClickIds(**dict.fromkeys(given, "undefined"))
    assert '"Click-1"' in _sent(destination, page=Page(url=f"{url}?{parameter}=Click-1"), click=nobodys)


OPAQUE = ("sc_click_id", "sc_cookie1", "epik", "ttclid", "ttp", "fbclid", "gclid", "rdt_cid", "rdt_uuid", "cms_rf")


@pytest.mark.parametrize(
    "text",
    ["undefined", "Null", '"nan"', "null.null", "None|None", "(not provided)", "nil", "unknown", "false", "0", "-1",
     "-", "{{click_id}}", "{ttclid}", "${id}", "<%= id %>", "{% id %}", "[CLICK_ID]", "__CLICKID__", "%CLICKID%",
     "%%id%%", "%7B%7Bclick.id%7D%7D", "%22undefined%22", "#REF!", "#VALUE!",
     "jane@a.example", "https://shop.example/?ttclid=E.C", "?fbclid=IwAR", "fbclid=IwAR", "ttclid=E.C",
     "a&b", "a b", "a%20b", "a;b", "a,b", "'a'", "f(){}", "\u00e4", "\u200b", "x" * 1001, "fb.1.x.abc",
     "_fbp=fb.1.2.3"],
)  # fmt: skip
@pytest.mark.parametrize("field", OPAQUE)
def test_what_no_program_makes_an_id_of_is_none(field: str, text: str) -> None:
    """Neither words for nothing, nor variables of templates, nor addresses, nor parameters with their names."""
    assert not fits(field, text)


@pytest.mark.parametrize(
    "text",
    ["E.C.P.Cg-x_9", "01K8Z_aB.tt.1", "dj0yJnU9QUE9PQ", "Zm9vYg==", "Zm9v%2BYg%3D%3D", "a+b/c=", "3184745837461983612",
     "34dd6077-e3a0-4b1c-9f91-a690ea0e335d", "Cj0KCQ~x_Y-z", "IwAR0_aem_x-Y", "1", "nil2", "nulls", "noneOther"],
)  # fmt: skip
@pytest.mark.parametrize("field", OPAQUE)
def test_ids_of_every_alphabet_that_platforms_use_are_taken(field: str, text: str) -> None:
    """Tokens, numbers, UUIDs and Base64, also percent-encoded."""
    assert fits(field, text)


@pytest.mark.parametrize(
    ("field", "text", "fit"),
    [
        ("fbc", "fb.1.1795682408206.IwAR_x-y", True),
        ("fbc", "fb.2.1795682408206.PAZXh0bg.AQ", True),
        ("fbc", "fb.1.1795682408206.undefined", False),
        ("fbc", "fb.1.1795682408206.null", False),
        ("fbc", "fb.1.1795682408206.{{fbclid}}", False),
        ("fbc", "fb.1.1795682408206.a;b", False),
        ("fbc", "fb.1.1795682408206.\u00e4", False),
        ("fbc", "fb.1.1795682408206000.abc", False),
        ("fbp", "fb.1.1795682408206.1098115397", True),
        ("fbp", "fb.0.1795682408206.1098115397.AQYBAQIA", True),
        ("fbp", "fb.1.1795682408206.undefined", False),
        ("fbp", "fb.1.1795682408206.1abc", False),
        ("fbp", "fb.1.1795682408206.-5", False),
    ],
)
def test_metas_cookies_hold_an_id(field: str, text: str, fit: bool) -> None:
    """A cookie that was made of nothing has the form outside, and nothing inside."""
    assert fits(field, text) is fit
