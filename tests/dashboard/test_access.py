"""Who sees the page, and whose forms it obeys."""

from __future__ import annotations

import pytest

from capi_async.clock import SYSTEM_CLOCK
from capi_async.dashboard.access import COOKIE, SESSION_S, Access
from capi_async.dashboard.messages import MAX_BODY
from capi_async.dashboard.site import Dashboard
from capi_async.errors import ConfigError
from capi_async.pages.assets import SCRIPT, STYLE
from capi_async.spool.base import DeadLetter, Ledger
from capi_async.testing import ManualClock
from tests.dashboard.asking import Browser, attributes, forms, tags
from tests.dashboard.fake_source import Source

TOKEN = "a-token-of-some-length"
NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>'&lt;\0\ud800"


def letter(number: int = 1, **changes: object) -> DeadLetter:
    given = {
        "id": number, "destination": "acme", "kind": "dead", "event_id": f"purchase:{number}",
        "reason": "8 failed attempts; last: HTTP 500", "at": 1_790_000_000.0 + number, "bytes": 700,
    }  # fmt: skip
    return DeadLetter(**(given | changes))


def site(source: Source, *, token: str | None = None, hosts: frozenset[str] | None = None, clock=SYSTEM_CLOCK):
    return Dashboard(source, Access(token, hosts=hosts, clock=clock), durable=True, clock=clock)


@pytest.fixture
def source() -> Source:
    return Source([letter(number) for number in range(1, 4)], {"acme": Ledger(accepted=5, delivered=2, dead=3)})


LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8790", "[::1]:8790", "LOCALHOST:1"])
async def test_the_names_of_this_machine_are_served(source, host):
    """With a port, and without."""
    assert (await Browser(site(source, hosts=LOCAL), host=host).ask("GET", "/")).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost:80:80", "", "evil.example:8790", "localhost."]
)
async def test_a_name_that_was_pointed_at_this_machine_is_refused(source, host):
    """Everything is: pages, files, forms."""
    browser = Browser(site(source, hosts=LOCAL), host=host)
    for method, path in (("GET", "/"), ("GET", f"/{STYLE.name}"), ("POST", "/replay"), ("POST", "/login")):
        answer = await browser.ask(method, path)
        assert answer.status == 421
        assert "Set-Cookie" not in answer.headers
    assert source.done == []


async def test_without_the_token_nothing_is_seen_or_done(source):
    """The form that asks for it is all there is."""
    browser = Browser(site(source, token=TOKEN))
    for path in ("/", "/events", "/letters", "/events?q=purchase:1", "/nowhere"):
        answer = await browser.ask("GET", path)
        assert answer.status == 401
        assert b"acme" not in answer.body
        assert b"purchase" not in answer.body
    for path in ("/replay", "/forget", "/nowhere"):
        assert (await browser.post(path, {"destination": "acme", "kind": "dead", "reason": "x"})).status == 401
    assert source.done == []


@pytest.mark.parametrize(
    "wrong", ["", "a-token-of-some-lengtH", TOKEN + "x", TOKEN[:-1], f" {TOKEN}", "\ud800", "é" * 16, "x" * 10_000]
)
async def test_a_wrong_token_opens_nothing(source, wrong):
    """In the form, and as a header."""
    browser = Browser(site(source, token=TOKEN))
    answer = await browser.ask(
        "POST", "/login", body=b"token=" + wrong.encode("utf-8", "surrogatepass"),
        content_type="application/x-www-form-urlencoded", sec_fetch_site="same-origin",
    )  # fmt: skip
    assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)
    assert (await browser.ask("GET", "/", authorization=f"Bearer x{wrong}")).status == 401
    assert (await browser.ask("GET", "/", cookie=f"{COOKIE}={wrong}")).status == 401


async def test_the_right_token_opens_a_session_that_ends(source):
    """The cookie is nobody's but this page's, and holds no token."""
    clock = ManualClock()
    browser = Browser(site(source, token=TOKEN, clock=clock))
    answer = await browser.post("/login", {"token": TOKEN})
    assert (answer.status, answer.headers["Location"]) == (303, "./")
    cookie = answer.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path" not in cookie
    assert "acme" in await browser.get("/")
    for forged in (
        browser.cookie[:-1] + "0",
        browser.cookie.replace("=", "=9", 1),
        f"{COOKIE}=..",
        f"{COOKIE}=9999999999.x.",
    ):
        assert (await browser.ask("GET", "/", cookie=forged)).status == (200 if forged == browser.cookie else 401)
    clock.advance(SESSION_S + 1)
    assert (await browser.ask("GET", "/")).status == 401


async def test_a_program_gives_the_token_as_a_header(source):
    """Without cookies."""
    browser = Browser(site(source, token=TOKEN))
    assert (await browser.ask("GET", "/", authorization=f"Bearer {TOKEN}")).status == 200
    assert (await Browser(browser.site).ask("GET", "/", authorization=f"Basic {TOKEN}")).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"sec_fetch_site": ""},
        {"sec_fetch_site": "same-origin", "content_type": "text/plain"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("action", ["replay", "forget"])
async def test_a_form_of_another_site_is_not_obeyed(source, action, headers):
    """Even with the cookie and the right fields."""
    browser = Browser(site(source))
    fields = forms(await browser.get("/letters"), f"./{action}")[0]
    assert (await browser.post(f"/{action}", fields, **headers)).status == 403
    assert source.done == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:8791", "http://evil.example:8790"]
)
async def test_an_old_browser_names_the_site_that_asks(source, origin):
    """Which is compared with the page's own name and port."""
    browser = Browser(site(source))
    fields = forms(await browser.get("/letters"), "./replay")[0]
    form = {"content_type": "application/x-www-form-urlencoded"}
    from urllib.parse import urlencode

    body = urlencode(fields).encode()
    assert (await browser.ask("POST", "/replay", body=body, origin=origin, **form)).status == 403
    assert source.done == []
    assert (await browser.ask("POST", "/replay", body=body, origin="http://127.0.0.1:8790", **form)).status == 303


async def test_a_form_without_its_own_token_is_not_obeyed(source):
    """Nor with that of another visitor, of another start, or of nobody."""
    browser, other, later = Browser(site(source)), Browser(site(source)), Browser(site(source))
    other.site = browser.site
    fields = forms(await browser.get("/letters"), "./replay")[0]
    theirs, elsewhere = [forms(await one.get("/letters"), "./replay")[0]["form"] for one in (other, later)]
    for wrong in ("", "x", theirs, elsewhere, fields["form"].upper()):
        assert (await browser.post("/replay", {**fields, "form": wrong})).status == 403
    kept, browser.cookie = browser.cookie, ""
    assert (await browser.post("/replay", fields)).status == 403
    browser.cookie = kept
    assert source.done == []
    assert (await browser.post("/replay", fields)).status == 303


async def test_an_address_alone_changes_nothing(source):
    """A picture or a link that leads to it is no form."""
    browser = Browser(site(source))
    await browser.get("/letters")
    for path in ("/replay", "/forget", "/replay?destination=meta&kind=dead&reason=x"):
        assert (await browser.ask("GET", path)).status == 404
    assert source.done == []


@pytest.mark.parametrize("action", ["replay", "forget"])
async def test_a_form_does_what_it_says(source, action):
    """For this destination, kind and reason, and for no other."""
    source.kept += [letter(9, reason="8 failed attempts; last: HTTP 500 again")]
    browser = Browser(site(source))
    fields = next(one for one in forms(await browser.get("/letters"), f"./{action}") if "again" not in one["reason"])
    answer = await browser.post(f"/{action}", fields)
    assert (answer.status, answer.headers["Location"]) == (303, f"./letters?done={action}-3")
    [(done, wanted)] = source.done
    assert (done, wanted.destination, wanted.kind, wanted.whole_reason) == (action, "acme", "dead", True)
    assert wanted.reason == "8 failed attempts; last: HTTP 500"
    assert "3 dead letters" in await browser.get("/letters?done=replay-3")


@pytest.mark.parametrize("missing", ["destination", "kind", "reason"])
async def test_a_form_that_does_not_say_what_is_meant_does_nothing(source, missing):
    """Least of all with everything."""
    browser = Browser(site(source))
    fields = forms(await browser.get("/letters"), "./forget")[0]
    del fields[missing]
    assert (await browser.post("/forget", fields)).status == 400
    assert source.done == []


async def test_every_text_on_every_page_is_shown_as_text():
    """From a platform, a caller or an address: no element and no attribute comes of it."""
    plain = Source([letter()], {"acme": Ledger(accepted=5, delivered=2, dead=3)})
    nasty = Source.of_all(NASTY)
    for path in ("/", "/events", "/letters", "/events?q=a", "/letters?done=replay-3", "/nowhere"):
        nasty_path = path.replace("q=a", f"q={NASTY}&kind={NASTY}&destination={NASTY}")
        answer = await Browser(site(nasty)).ask("GET", nasty_path)
        page = answer.body.decode()
        assert tags(page) <= KNOWN_TAGS, (path, tags(page) - KNOWN_TAGS)
        assert attributes(page) <= KNOWN_ATTRIBUTES, (path, attributes(page) - KNOWN_ATTRIBUTES)
        assert page.count("<script") == (0 if path == "/nowhere" else 1)
        assert "javascript:alert(1)'>" not in page
        assert (await Browser(site(plain)).ask("GET", path)).status in (200, 404)


KNOWN_TAGS = {
    "html", "head", "meta", "title", "link", "script", "noscript", "body", "a", "header", "h1", "h2", "h3", "nav",
    "main", "p", "div", "section", "span", "strong", "code", "dl", "dt", "dd", "ul", "li", "svg", "rect", "table",
    "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "form", "input", "label", "select", "option",
    "button", "pre", "time",
}  # fmt: skip
KNOWN_ATTRIBUTES = {
    "lang", "charset", "name", "content", "rel", "href", "src", "class", "id", "tabindex", "data-live", "data-key",
    "role", "aria-label", "aria-current", "http-equiv", "method", "action", "type", "value", "maxlength", "scope",
    "datetime", "viewBox", "preserveAspectRatio", "x", "y", "width", "height",
}  # fmt: skip


async def test_pages_forbid_scripts_frames_and_outside_files(source):
    """By the header, and there is nothing inline that would need it otherwise."""
    browser = Browser(site(source))
    for path in ("/", "/events", "/letters", "/nowhere"):
        answer = await browser.ask("GET", path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        page = answer.body.decode()
        assert " style=" not in page
        assert "<style" not in page
        assert not {name for name in attributes(page) if name.startswith("on")}
        assert "http:" not in page
        assert "https:" not in page


async def test_files_are_our_own_and_may_be_kept(source):
    """Their names change with them."""
    browser = Browser(site(source, token=TOKEN))
    for asset, kind in ((STYLE, "text/css"), (SCRIPT, "text/javascript")):
        answer = await browser.ask("GET", f"/{asset.name}")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert "immutable" in answer.headers["Cache-Control"]
        assert b"http" not in answer.body.replace(b"http-equiv", b"")


@pytest.mark.parametrize("token", ["", "short", "x" * 15])
def test_a_token_that_could_be_guessed_is_refused(token):
    """When the page is made."""
    with pytest.raises(ConfigError, match="16 characters"):
        Access(token, hosts=None, clock=SYSTEM_CLOCK)


async def test_a_long_body_and_an_unknown_method_are_refused(source):
    """In words."""
    browser = Browser(site(source))
    assert (await browser.ask("POST", "/replay", body=b"x" * (MAX_BODY + 1))).status == 413
    answer = await browser.ask("DELETE", "/letters")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_storage_that_fails_is_told_and_not_raised(source):
    """The page comes, and says why it is empty."""
    source.failure = "storage failed: disk I/O error <b>"
    browser = Browser(site(source))
    for path in ("/", "/events", "/letters"):
        page = await browser.get(path)
        assert "disk I/O error &lt;b&gt;" in page
