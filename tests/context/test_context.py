"""A request's context: page, browser, ids, and the events made of it."""

from __future__ import annotations

import base64
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ClickIds, Consent, Device, EventError, Page, User
from capi_async.context import ContextSettings, Request, RequestContext

NOW = datetime(2026, 1, 15, 10, 0, 0, 123000, tzinfo=UTC)
FBC = "fb.1.1768471200123.IwAR1aBcD"


def scope(path: str = "/thanks", query: str = "", **more: Any) -> dict[str, Any]:
    headers = {"host": "shop.example"} | more.pop("headers", {})
    return {
        "type": "http",
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.encode("latin-1")) for name, value in {"host": "shop.example", **headers}.items()
        ],
        "client": ("203.0.113.7", 4711),
        "server": ("10.0.0.5", 8000),
        **more,
    }


def visit(url: str = "https://shop.example/", settings: ContextSettings | None = None, **given: Any) -> RequestContext:
    return RequestContext.from_parts(url, settings=settings, now=given.pop("now", NOW), **given)


def test_asgi_wsgi_and_plain_values_say_the_same() -> None:
    """One visitor, three ways to hand the request over."""
    headers = {"user-agent": "Mozilla/5.0", "referer": "https://search.example/", "accept-language": "de-AT,de;q=0.8",
               "cookie": "_ttp=2Example; _fbp=fb.1.1596403881668.1116446470"}  # fmt: skip
    environ = {
        "wsgi.url_scheme": "http", "SCRIPT_NAME": "", "PATH_INFO": "/thanks", "QUERY_STRING": "gclid=Cj0K",
        "REMOTE_ADDR": "203.0.113.7", "HTTP_HOST": "shop.example", "SERVER_NAME": "10.0.0.5", "SERVER_PORT": "8000",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }  # fmt: skip
    settings = ContextSettings(set_cookies=())
    asgi = RequestContext.from_asgi(scope(query="gclid=Cj0K", headers=headers), settings, now=NOW)
    assert asgi == RequestContext.from_wsgi(environ, settings, now=NOW)
    assert asgi == visit("http://shop.example/thanks?gclid=Cj0K", settings, headers=headers, peer="203.0.113.7")
    assert asgi.user == User(ip="203.0.113.7", user_agent="Mozilla/5.0")
    assert asgi.page == Page(url="http://shop.example/thanks?gclid=Cj0K", referrer="https://search.example/")
    assert asgi.language == "de-AT"
    assert asgi.click == ClickIds(gclid="Cj0K", ttp="2Example", fbp="fb.1.1596403881668.1116446470")


def test_the_url_is_that_which_the_visitor_sees() -> None:
    """Scheme and host as the trusted proxy saw them."""
    headers = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-forwarded-host": "www.shop.example"}
    trusting = ContextSettings(trusted_proxies=1)
    assert RequestContext.from_asgi(scope(headers=headers), trusting).page.url == "https://www.shop.example/thanks"
    assert RequestContext.from_asgi(scope(headers=headers)).page.url == "http://shop.example/thanks"
    spoofed = headers | {"x-forwarded-host": "evil.example, www.shop.example", "x-forwarded-proto": "gopher, https"}
    assert RequestContext.from_asgi(scope(headers=spoofed), trusting).page.url == "https://www.shop.example/thanks"
    standard = ContextSettings(trusted_proxies=1, address_header="forwarded")
    forwarded = headers | {"forwarded": 'for=203.0.113.7;host="shop.example:8443";proto=https'}
    assert RequestContext.from_asgi(scope(headers=forwarded), standard).page.url == "https://shop.example:8443/thanks"


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({"root_path": "/shop", "path": "/shop/thanks"}, "http://shop.example/shop/thanks"),
        ({"root_path": "/shop", "path": "/thanks"}, "http://shop.example/shop/thanks"),
        ({"root_path": "/shop/", "path": "/shopping"}, "http://shop.example/shop/shopping"),
        ({"path": "/größe 1?#%"}, "http://shop.example/gr%C3%B6%C3%9Fe%201%3F%23%25"),
        ({"path": "/a b", "raw_path": b"/a%20b"}, "http://shop.example/a%20b"),
        ({"raw_path": b"/a\xff<b>?x=1"}, "http://shop.example/a%C3%BF%3Cb%3E"),
        ({"type": "websocket", "scheme": "wss"}, "https://shop.example/thanks"),
        ({"headers": {"host": "shop.example:8000"}}, "http://shop.example:8000/thanks"),
        ({"headers": {"host": "[2001:db8::1]:8000"}}, "http://[2001:db8::1]:8000/thanks"),
        ({"headers": {"host": ""}}, "http://10.0.0.5:8000/thanks"),
        ({"headers": {"host": 'evil"><script>'}}, None),
    ],
)
def test_odd_addresses_are_whole_and_encoded(more: dict[str, Any], url: str | None) -> None:
    """Mounted apps, websockets, ports, and bytes that no address holds."""
    assert RequestContext.from_asgi(scope(**more)).page.url == url


def test_a_lifespan_has_no_visitor() -> None:
    """Said as the documented error."""
    with pytest.raises(ValueError, match="http or websocket"):
        RequestContext.from_asgi({"type": "lifespan"})


def test_a_scripts_request_happens_on_the_page_that_sent_it() -> None:
    """``fetch('/api/checkout')``: the visitor sees the page, and its click counts."""
    headers = {"referer": "https://shop.example/cart?ttclid=E.C.P.new", "sec-fetch-dest": "empty"}
    found = visit("https://api.shop.example/checkout", headers=headers)
    assert found.page == Page(url="https://shop.example/cart?ttclid=E.C.P.new")
    assert found.click.ttclid == "E.C.P.new"
    stranger = visit("https://shop.example/", headers={"referer": "https://other.example/?ttclid=E.C.P.theirs"})
    assert stranger.click.ttclid is None


def test_a_mounted_app_has_the_whole_address() -> None:
    """As Starlette, and with it FastAPI, hands a request to an app below a path."""
    testclient = pytest.importorskip("starlette.testclient")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    def page(request: Any) -> Any:
        found = RequestContext.from_asgi(request.scope)
        return PlainTextResponse(f"{found.page.url} {found.click.ttclid} {found.click.ttp}")

    app = Starlette(routes=[Mount("/shop", Starlette(routes=[Route("/thanks/{number}", page)]))])
    with testclient.TestClient(app, base_url="https://www.shop.example", cookies={"_ttp": "2Example"}) as client:
        answer = client.get("/shop/thanks/a%20b?ttclid=E.C.P.x")
    assert answer.text == "https://www.shop.example/shop/thanks/a%20b?ttclid=E.C.P.x E.C.P.x 2Example"


def test_what_no_address_holds_is_encoded_or_cut() -> None:
    """A number sign in a query, and a name and a password in a referrer."""
    asked = scope(query="a=1#b", headers={"referer": "https://jane:sesame@other.example/a?b#c"})
    found = RequestContext.from_asgi(asked)
    assert found.page == Page(url="http://shop.example/thanks?a=1%23b", referrer="https://other.example/a?b#c")
    for odd in ("about:blank", "javascript:alert(1)", "https://[::1/", "other.example/a", "https:///a"):
        assert RequestContext.from_asgi(scope(headers={"referer": odd})).page.referrer is None


QUERY_IDS = {
    "ttclid": "E.C.P.abc", "ScCid": "b5a7ec0a-1", "epik": "dj0yJnU9abc", "gclid": "Cj0KCQiA-example", "gbraid": "0AAAA",
    "wbraid": "ClgKCQ", "dclid": "CIzT", "msclkid": "6f8f0c1d2b3a4e5f8a7b6c5d4e3f2a1b", "twclid": "2-abc",
    "rdt_cid": "5012", "li_fat_id": "0f6c-li", "oppref": "op_1", "cms_rf": "cms-1", "fbclid": "IwAR1aBcD",
}  # fmt: skip
UUID = "124c8b8f-1a7d-4c55-b6d5-5b3a6ad7fae1"
COOKIE_IDS = {
    "_fbp": ("fbp", "fb.1.1596403881668.1116446470", "fb.1.1596403881668.1116446470"),
    "_fbc": ("fbc", "fb.2.1554763741205.IwAR2", "fb.2.1554763741205.IwAR2"),
    "_ttp": ("ttp", "2ExampleTtp", "2ExampleTtp"),
    "ttclid": ("ttclid", "E.C.P.old", "E.C.P.old"),
    "_scid": ("sc_cookie1", "34dd6077-e3a0-4b1c-9f91-a690ea0e335d", "34dd6077-e3a0-4b1c-9f91-a690ea0e335d"),
    "_scclid": ("sc_click_id", "b5a7ec0a-old", "b5a7ec0a-old"),
    "_epik": ("epik", "dj0yJnU9b2xk%3D", "dj0yJnU9b2xk="),
    "_ga": ("ga_client_id", "GA1.1.1234567890.1687654321", "1234567890.1687654321"),
    "_ga_ABC123": ("ga_session_id", "GS1.1.1700000000.5.1.1700000100.0.0.0", "1700000000"),
    "_gcl_aw": ("gclid", "GCL.1700000000.Cj0KCQiA_old-1", "Cj0KCQiA_old-1"),
    "_gcl_gb": ("wbraid", "GCL.1700000000.ClgKCQold", "ClgKCQold"),
    "_gcl_ag": ("gbraid", "2.1.k0AAAAold$i1700000000", "0AAAAold"),
    "FPGCLAW": ("gclid", "2.1.kCj0KCQiA_srv$i1700000000", "Cj0KCQiA_srv"),
    "_uetmsclkid": ("msclkid", "_uet6f8f0c1d2b3a4e5f8a7b6c5d4e3f2a1b", "6f8f0c1d2b3a4e5f8a7b6c5d4e3f2a1b"),
    "_twclid": ("twclid", "%7B%22pixelVersion%22%3A%221%22%2C%22twclid%22%3A%222-old%22%7D", "2-old"),
    "_rdt_uuid": ("rdt_uuid", f"1684189007728.{UUID}", UUID),
    "_rdt_cid": ("rdt_cid", "5011", "5011"),
    "li_fat_id": ("li_fat_id", "0f6c-old", "0f6c-old"),
    "__oppref": ("oppref", "op_0", "op_0"),
    "__obref": ("obref", "ob_0", "ob_0"),
    "cms_rf": ("cms_rf", "cms-0", "cms-0"),
}  # fmt: skip
FIELDS = {"ScCid": "sc_click_id"}


@pytest.mark.parametrize("name", sorted(QUERY_IDS))
def test_click_ids_come_from_the_address(name: str) -> None:
    """Of every platform; in whatever case a redirect left the name."""
    for written in (name, name.lower(), name.upper()):
        found = visit(f"https://shop.example/?a=b&{written}={QUERY_IDS[name]}#x")
        assert getattr(found.click, FIELDS.get(name, name)) == QUERY_IDS[name]


@pytest.mark.parametrize("cookie", sorted(COOKIE_IDS))
def test_ids_come_from_the_cookies_that_platforms_set(cookie: str) -> None:
    """In the forms that their tags write."""
    field, value, read = COOKIE_IDS[cookie]
    for sent in (value, f'"{value}"'):
        found = visit(headers={"cookie": f"x=1; {cookie}={sent};y"})
        assert getattr(found.click, field) == read
        assert found.notes == ()


@pytest.mark.parametrize(
    ("cookie", "value", "field", "read"),
    [
        ("_ga", "GA1.1-2.1234567890.1687654321", "ga_client_id", "1234567890.1687654321"),
        ("_ga", "GA1.12.1234567890.1687654321", "ga_client_id", "1234567890.1687654321"),
        ("_ga_ABC123", "GS1.2-1.1700000000.5.1.1700000100.0.0.0", "ga_session_id", "1700000000"),
        ("_ga_ABC123", "GS2.1.o5%24s1700000000%24g1", "ga_session_id", "1700000000"),
        ("_gcl_aw", "2.1.kCj0KCQiA_new$i1700000000$u1", "gclid", "Cj0KCQiA_new"),
        ("FPGCLAW", "GCL.1700000000.Cj0KCQiA_old", "gclid", "Cj0KCQiA_old"),
        ("FPGCLGB", "2.1.kClgKCQ%24i1700000000", "wbraid", "ClgKCQ"),
        ("FPGCLAG", "2.1.k0AAAA$i1700000000", "gbraid", "0AAAA"),
        ("_twclid", '{"pixelVersion":"1","twclid":"2-old"}', "twclid", "2-old"),
        ("twclid", "2-older", "twclid", "2-older"),
        ("cms_id", "cms-0", "cms_rf", "cms-0"),
        ("__oppref", "op%2B1", "oppref", "op%2B1"),
        ("__obref", "ob%2B1", "obref", "ob%2B1"),
        ("_epik", "dj0yJnU9b2xk=", "epik", "dj0yJnU9b2xk="),
        ("_fbp", "fb.1.1596403881668.1116446470.AQAB", "fbp", "fb.1.1596403881668.1116446470.AQAB"),
    ],
)
def test_other_forms_of_a_cookie_are_read(cookie: str, value: str, field: str, read: str) -> None:
    """Older tags', server tagging's, and those of cookies with other names; quotes around a value are none of it."""
    for text in (value, f'"{value}"') if value[0] != "{" else (value,):
        found = RequestContext.from_parts("https://shop.example/", headers={"Cookie": f"a=b; {cookie}={text}; c=d"})
        assert getattr(found.click, field) == read, found.notes


def test_the_newer_layout_of_a_session_is_read() -> None:
    """GS2, parts in any order."""
    for value in ("GS2.1.s1700000000$o5$g1$t1700000100$j60$l0$h0", "GS2.1.o5$s1700000000", "GS2.1.s1700000000%24o5"):
        assert visit(cookies={"_ga_ABC123": value}).click.ga_session_id == "1700000000"


def test_of_several_streams_the_configured_one_is_read() -> None:
    """Without a setting none is, and the note says what to do."""
    jar = {"_ga_ABC123": "GS1.1.1700000000.5", "_ga_XYZ789": "GS1.1.1800000000.5", "_ga": "GA1.1.1.2"}
    found = visit(cookies=jar)
    assert found.click.ga_session_id is None
    assert any("ga_stream" in note for note in found.notes)
    assert visit(cookies=jar, settings=ContextSettings(ga_stream="G-XYZ789")).click.ga_session_id == "1800000000"


@pytest.mark.parametrize("cookie", ["ttclid", "_scclid", "_epik", "_gcl_aw", "_twclid", "_rdt_cid", "li_fat_id"])
def test_a_newer_click_in_the_address_wins_over_a_cookie(cookie: str) -> None:
    """The visitor has just come from that ad."""
    field, value, _ = COOKIE_IDS[cookie]
    name = {"sc_click_id": "ScCid"}.get(field, field)
    found = visit(f"https://shop.example/?{name}={QUERY_IDS[name]}", cookies={cookie: value})
    assert getattr(found.click, field) == QUERY_IDS[name]
    assert found.first_seen[field] == NOW


@pytest.mark.parametrize("cookie", sorted(set(COOKIE_IDS) - {"_rdt_uuid"}))
@pytest.mark.parametrize("bad", ["undefined", "null", "", "<script>", "a b", "\xff\xfe", "x" * 8_192, "(not set)"])
def test_malformed_ids_are_left_out_with_a_note(cookie: str, bad: str) -> None:
    """A platform refuses the whole event for them; the note names the cookie and repeats nothing."""
    found = visit(headers={"cookie": f"{cookie}={bad}"})
    assert found.click == ClickIds()
    assert len(found.notes) == 1
    assert cookie.partition("_ABC")[0] in found.notes[0]
    assert len(found.notes[0]) < 200


def test_of_repeated_cookies_the_first_with_the_form_counts() -> None:
    """And of Reddit's the one that was made first."""
    cookie = "_fbp=odd; _fbp=fb.1.1596403881668.1; _fbp=fb.1.1596403881668.2"
    assert visit(headers={"cookie": cookie}).click.fbp == "fb.1.1596403881668.1"
    uuid = "124c8b8f-1a7d-4c55-b6d5-5b3a6ad7fae"
    many = "; ".join(f"_rdt_uuid={time}.{uuid}{digit}" for digit, time in enumerate((1700, 1600, 1800)))
    assert visit(headers={"cookie": many}).click.rdt_uuid == f"{uuid}1"
    flood = "; ".join(f"_fbp={number}" for number in range(5_000))
    assert visit(headers={"cookie": flood}).click.fbp is None


def test_ids_without_a_platform_are_kept_under_their_names() -> None:
    """Pinterest's browser id is nothing that its interface takes today."""
    assert visit(cookies={"_pin_unauth": "dWlkPQ"}).others == {"_pin_unauth": "dWlkPQ"}


def test_meta_click_is_made_by_metas_rule() -> None:
    """``fb.<index>.<first seen in ms>.<fbclid>``; Meta's own example."""
    found = visit("https://shop.example/?fbclid=IwAR1aBcD")
    assert (found.click.fbc, found.click.fbclid, found.click.fbclid_seen) == (FBC, "IwAR1aBcD", NOW)
    assert {cookie.name: cookie.value for cookie in found.cookies()}["_fbc"] == FBC
    deep = visit("https://www.shop.co.uk/?fbclid=IwAR1aBcD")
    assert str(deep.click.fbc).startswith("fb.3.")
    domain = visit("https://www.shop.co.uk/?fbclid=IwAR1aBcD", ContextSettings(cookie_domain="shop.co.uk"))
    assert str(domain.click.fbc).startswith("fb.2.")


@pytest.mark.parametrize("held", [FBC, f"{FBC}.AQABAQAB"])
def test_a_cookie_of_the_same_meta_click_stays(held: str) -> None:
    """With the time at which it was first seen, and the mark of Meta's own builder."""
    found = visit("https://shop.example/?fbclid=IwAR1aBcD", cookies={"_fbc": held}, now=NOW + timedelta(days=3))
    assert (found.click.fbc, found.click.fbclid_seen) == (held, NOW)
    assert "_fbc" not in {cookie.name for cookie in found.cookies()}


def test_another_meta_click_takes_a_cookies_place() -> None:
    """The address is newer."""
    found = visit("https://shop.example/?fbclid=IwAR1aBcD", cookies={"_fbc": "fb.1.1554763741205.IwAR0old"})
    assert found.click.fbc == FBC


def jar_after(found: RequestContext, jar: dict[str, str] | None = None) -> dict[str, str]:
    return (jar or {}) | {cookie.name: cookie.value for cookie in found.cookies()}


def test_clicks_are_remembered_with_their_first_time_for_90_days() -> None:
    """The purchase comes days after the landing, on a page without the click in its address."""
    landed = visit("https://shop.example/?gclid=Cj0K&twclid=2-a~b&fbclid=IwAR1aBcD")
    jar = jar_after(landed)
    later = visit("https://shop.example/thanks", cookies=jar, now=NOW + timedelta(days=89))
    assert later.click == replaced(landed.click, fbp=jar["_fbp"], fbclid_seen=NOW.replace(microsecond=0))
    assert later.first_seen == dict.fromkeys(("fbclid", "gclid", "twclid"), NOW.replace(microsecond=0))
    assert later.cookies() == ()
    again = visit("https://shop.example/?gclid=Cj0K", cookies=jar, now=NOW + timedelta(days=2))
    assert again.first_seen["gclid"] == NOW.replace(microsecond=0)
    del jar["_fbc"]
    gone = visit("https://shop.example/thanks", cookies=jar, now=NOW + timedelta(days=91))
    assert gone.click == ClickIds(fbp=jar["_fbp"])


def replaced(click: ClickIds, **fields: Any) -> ClickIds:
    from msgspec.structs import replace

    return replace(click, **fields)


def test_a_tags_newer_cookie_wins_over_what_was_remembered() -> None:
    """The tag saw a landing that never came to the server."""
    jar = jar_after(visit("https://shop.example/?ttclid=E.C.P.one")) | {"ttclid": "E.C.P.two"}
    found = visit(cookies=jar)
    assert found.click.ttclid == "E.C.P.two"
    assert "ttclid" not in found.first_seen


def test_google_landing_is_made_of_its_parameters_and_kept() -> None:
    """The session attributes of Google's own library: JSON in URL-safe Base64."""
    url = "https://shop.example/?gad_source=1&gad_campaignid=22&gclid=Cj0K"
    found = visit(url, headers={"user-agent": "Mozilla/5.0", "referer": "https://www.google.com/"})
    text = str(found.click.google_session)
    facts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    assert facts == {
        "gad_source": "1", "gad_campaignid": "22", "session_start_time_usec": "1768471200123000",
        "landing_page_url": url, "landing_page_referrer": "https://www.google.com/",
        "landing_page_user_agent": "Mozilla/5.0",
    }  # fmt: skip
    assert visit(cookies=jar_after(found), now=NOW + timedelta(days=1)).click.google_session == text
    reloaded = visit(url, cookies=jar_after(found), now=NOW + timedelta(minutes=1))
    assert reloaded.click.google_session == text


@pytest.mark.parametrize(
    "value",
    ["", "1", "2~gclid.tp55td.Cj0K", "1~gclid", "1~gclid.!.x", "1~user.tp55td.x", "1~gclid.zzzzzzzz.Cj0K",
     "1~gclid.tp55td.%00", "1~gclid.999999999999.x", "1~fbclid.tp55td.null"],
)  # fmt: skip
def test_a_click_cookie_that_cannot_be_read_is_not_there(value: str) -> None:
    """Anybody may write it; it is as good as a cookie of a platform and no better."""
    assert visit(cookies={"_capi_clicks": value}).click == ClickIds()


def test_cookies_are_set_for_the_sites_domain() -> None:
    """Meta's are read by its tag; ours is hidden from scripts; a host of another domain gets its own."""
    settings = ContextSettings(cookie_domain=".Shop.Example.")
    found = visit("https://www.shop.example/?gclid=Cj0K", settings)
    headers = {cookie.name: cookie.header() for cookie in found.cookies()}
    assert headers["_fbp"].startswith("_fbp=fb.1.1768471200123.")
    assert headers["_fbp"].endswith("; Max-Age=7776000; Path=/; Domain=shop.example; Secure; SameSite=Lax")
    assert headers["_capi_clicks"] == (
        "_capi_clicks=1~gclid.t8wh40.Cj0K; Max-Age=7776000; Path=/; Domain=shop.example; Secure; HttpOnly; SameSite=Lax"
    )
    other = visit("http://notshop.example/", settings)
    assert [(cookie.domain, cookie.secure) for cookie in other.cookies()] == [(None, False)]


@pytest.mark.parametrize(
    ("consent", "required", "count"),
    [
        (None, False, 2), (None, True, 0), (Consent(), True, 0), (Consent(ad_storage=True), True, 2),
        (Consent(ad_storage=False), False, 0), (Consent(ad_storage=False), True, 0), (Consent(), False, 2),
    ],
)  # fmt: skip
def test_nothing_is_set_without_the_consent_that_is_required(
    consent: Consent | None, required: bool, count: int
) -> None:
    """And never against one that was denied."""
    settings = ContextSettings(consent=lambda request: consent, require_consent=required)
    found = visit("https://shop.example/?gclid=Cj0K", settings)
    assert len(found.cookies()) == count
    assert found.event("purchase").consent == consent


def test_a_consent_function_that_fails_grants_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The page is served all the same, and the message says what to mend."""

    def broken(request: Request) -> Consent | None:
        raise KeyError(request.cookies["_secret"][0])

    caplog.set_level(logging.INFO)
    for reader in (broken, lambda request: "granted"):
        found = visit(settings=ContextSettings(consent=reader), cookies={"_secret": "jane@example.com"})  # type: ignore[arg-type]
        assert found.consent is not None
        assert found.consent.ad_storage is False
        assert found.cookies() == ()
    assert "jane" not in caplog.text
    assert "raised KeyError" in caplog.text


def test_an_event_takes_what_the_request_says() -> None:
    """And what is given wins, field by field."""
    found = visit(
        "https://shop.example/?ttclid=E.C.P.x", headers={"user-agent": "M", "accept-language": "fr"}, peer="203.0.113.7"
    )
    event = found.event("purchase", email="jane@example.com", value="12.50", currency="EUR", order_id="1001",
                        user=User(ip="198.51.100.1", first_name="Jane"), click=ClickIds(gclid="Cj0K"))  # fmt: skip
    assert event.user == User(ip="198.51.100.1", user_agent="M", email="jane@example.com", first_name="Jane")
    assert event.click == ClickIds(ttclid="E.C.P.x", gclid="Cj0K")
    assert event.page == Page(url="https://shop.example/?ttclid=E.C.P.x")
    assert event.device == Device(locale="fr")
    assert event.event_id == "purchase:1001"
    assert found.event("lead", device=Device(os="ios", locale="en")).device == Device(os="ios", locale="en")
    assert found.event("lead", consent=Consent(ad_storage=True)).consent == Consent(ad_storage=True)
    with pytest.raises(EventError, match="given twice"):
        found.event("lead", email="a@b.example", user=User(email="b@b.example"))


def test_metas_click_is_given_whole() -> None:
    """A click id that is given does not meet the cookie of another click."""
    found = visit(cookies={"_fbc": "fb.1.1554763741205.IwAR0old", "_fbp": "fb.1.1596403881668.1"})
    assert found.event("lead", click=ClickIds(fbclid="IwARnew")).click == ClickIds(
        fbclid="IwARnew", fbp="fb.1.1596403881668.1"
    )


def test_long_headers_are_bounded() -> None:
    """8 KB of user agent match nobody; 8 KB of cookies are read; a longer address loses its query."""
    assert visit(headers={"user-agent": "M" * 8_192}).user.user_agent is None
    assert "user agent" in visit(headers={"user-agent": "M" * 8_192}).notes[0]
    jar = "; ".join([*(f"c{number}={'v' * 50}" for number in range(150)), "_ttp=2Example"])
    assert len(jar) > 8_000
    assert visit(headers={"cookie": jar}).click.ttp == "2Example"
    long = visit(f"https://shop.example/a?x={'y' * 9_000}&ttclid=E.C.P.x")
    assert long.page.url == "https://shop.example/a"
    assert long.click.ttclid == "E.C.P.x"


def test_bytes_that_are_no_utf8_harm_nothing() -> None:
    """Headers are bytes, whatever they claim to be."""
    asked = scope(headers={"user-agent": "Caf\xc3\xa9/1", "cookie": "_ttp=\xff\xfe; _fbp=fb.1.1596403881668.1"})
    asked["query_string"] = b"ttclid=%ff%fe&gclid=Cj0K\xff&rdt_cid=12"
    found = RequestContext.from_asgi(asked)
    assert found.user.user_agent == "Café/1"
    assert found.click == ClickIds(fbp="fb.1.1596403881668.1", rdt_cid="12")
    assert found.page.url == "http://shop.example/thanks?ttclid=%ff%fe&gclid=Cj0K%C3%BF&rdt_cid=12"
    assert len(found.notes) == 3


@pytest.mark.parametrize(
    ("header", "language"),
    [("de-AT,de;q=0.8", "de-AT"), ("en;q=0.5, fr;q=0.9", "fr"), ("*", None), ("*;q=1, pt-BR;q=0.1", "pt-BR"),
     ("", None), ("zh-Hant-TW", "zh-Hant-TW"), ("en;q=x, it;q=0.2", "it"), ("en;q=nan", None), ("<b>", None)],
)  # fmt: skip
def test_the_language_is_the_one_liked_best(header: str, language: str | None) -> None:
    """By its weight."""
    assert visit(headers={"accept-language": header}).language == language


def test_reprs_hold_nothing_of_the_visitor() -> None:
    """They end up in logs."""
    requests: list[Request] = []
    settings = ContextSettings(consent=lambda request: requests.append(request))
    headers = {"user-agent": "Agent", "cookie": "_ttp=2secret"}
    found = visit("https://shop.example/?gclid=Cj0Ksecret", settings, headers=headers, peer="203.0.113.7")
    shown = f"{found!r} {found.cookies()!r} {requests[0]!r} {settings!r}"
    for text in ("secret", "Agent", "203.0.113.7", "fb.1"):
        assert text not in shown
    assert "user_agent=…" in shown


NAMES = [
    "cookie", "referer", "user-agent", "accept-language", "host", "x-forwarded-for", "x-forwarded-proto",
    "x-forwarded-host", "sec-fetch-dest", "x",
]  # fmt: skip
texts = st.text(max_size=40) | st.sampled_from(
    [
        "empty",
        "_fbp=fb.1.1596403881668.1; _fbc=fb.1.9999999999999.x",
        "https://[::1",
        "http://a@b/?x#y",
        "de;q=1e999, a;q=.5",
    ]
)


@given(
    st.text(max_size=60), st.dictionaries(st.sampled_from(NAMES), texts | st.lists(texts, max_size=3), max_size=6),
    st.dictionaries(st.sampled_from([*COOKIE_IDS, "_capi_clicks", "x"]), texts, max_size=6), texts,
)  # fmt: skip
def test_no_request_raises(url: str, headers: dict[str, Any], cookies: dict[str, str], peer: str) -> None:
    """Whatever a stranger sends; and an event can be made of it."""
    settings = ContextSettings(trusted_proxies=1, cookie_domain="shop.example")
    found = RequestContext.from_parts(url, headers=headers, cookies=cookies, peer=peer, settings=settings)
    found.event("purchase")
    for cookie in found.cookies():
        assert cookie.header().isascii()
        assert "\r" not in cookie.header()


@given(
    st.binary(max_size=80), st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=5), st.binary()
)
def test_no_scope_raises(query: bytes, headers: list[tuple[bytes, bytes]], path: bytes) -> None:
    """Nor do bytes."""
    asked = {"type": "http", "path": path.decode("utf-8", "surrogateescape"), "query_string": query, "headers": headers,
             "raw_path": path or None}  # fmt: skip
    RequestContext.from_asgi(asked).event("purchase")
