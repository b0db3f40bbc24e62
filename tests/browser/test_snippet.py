"""The script that tells browser tags of an event."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ConfigError, Consent, Event, Item
from capi_async.browser import TAGS, BrowserTag, browser_snippet, script_json
from capi_async.browser.jinja import install
from capi_async.context import ContextSettings, RequestContext
from capi_async.destinations import Meta, Pinterest, Snap, TikTok
from capi_async.event import STANDARD_EVENTS

PURCHASE = Event("purchase", order_id="1001", value="72.390", currency="EUR")
NAMED = [
    BrowserTag(platform="linkedin", names={"purchase": "7"}),
    BrowserTag(platform="x", names={"purchase": "tw-a-b"}),
]


def test_every_platform_is_told_in_its_own_words() -> None:
    """Written out, as their pages have them."""
    snippet = browser_snippet(PURCHASE, ["meta", "tiktok", "snap", "pinterest", "reddit", "ga4", *NAMED])
    wrap = "try{{if({0})window.{1}}}catch(e){{setTimeout(function(){{throw e}})}}"
    money = '"value":72.390,"currency":"EUR"'
    assert snippet.calls == {
        "meta": wrap.format(
            "window.fbq", f'fbq("track","Purchase",{{{money},"order_id":"1001"}},{{"eventID":"purchase:1001"}})'
        ),
        "tiktok": wrap.format(
            "window.ttq&&ttq.track",
            f'ttq.track("Purchase",{{{money},"order_id":"1001"}},{{"event_id":"purchase:1001"}})',
        ),
        "snap": wrap.format(
            "window.snaptr",
            'snaptr("track","PURCHASE",{"price":72.390,"currency":"EUR","transaction_id":"1001",'
            '"client_dedup_id":"purchase:1001"})',
        ),
        "pinterest": wrap.format(
            "window.pintrk", f'pintrk("track","checkout",{{"event_id":"purchase:1001",{money},"order_id":"1001"}})'
        ),
        "reddit": wrap.format("window.rdt", f'rdt("track","Purchase",{{{money},"conversionId":"purchase:1001"}})'),
        "ga4": wrap.format(
            "window.gtag", f'gtag("event","purchase",{{{money},"transaction_id":"1001","event_id":"purchase:1001"}})'
        ),
        "linkedin": wrap.format("window.lintrk", 'lintrk("track",{"conversion_id":7,"event_id":"purchase:1001"})'),
        "x": wrap.format("window.twq", f'twq("event","tw-a-b",{{"conversion_id":"purchase:1001",{money}}})'),
    }
    assert str(snippet) == f"<script>{''.join(snippet.calls.values())}</script>"
    assert snippet.notes == ()


def test_names_and_values_are_those_of_the_account() -> None:
    """What is set for the server holds for its browser tag."""
    accounts: list[Any] = [
        Meta(pixel_id="1", access_token="t", event_names={"purchase": "Kauf"}, value="margin"),
        TikTok(pixel_code="C", access_token="t", value=lambda event: event.value / 2),
        Snap(pixel_id="00000000-0000-4000-8000-000000000001", access_token="t"),
        Pinterest(ad_account_id="549755885175", access_token="t", event_names={"purchase": "add_to_cart"}),
    ]
    event = Event("purchase", event_id="e1", value=10, currency="EUR", properties={"margin": "2.5"})
    calls = browser_snippet(event, accounts).calls
    assert '"trackCustom","Kauf",{"value":2.5,' in calls["meta"]
    assert 'track("Purchase",{"value":5,' in calls["tiktok"]
    assert '"PURCHASE",{"price":10,' in calls["snap"]
    assert '"addtocart"' in calls["pinterest"]


def test_a_value_that_cannot_be_read_leaves_its_tag_out() -> None:
    """As the server refuses the event for that account."""
    account = Meta(pixel_id="1", access_token="t", value=lambda event: 1 / 0)
    snippet = browser_snippet(PURCHASE, [account, "ga4"])
    assert sorted(snippet.calls) == ["ga4"]
    assert "own value cannot be read" in snippet.notes[0]


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS))
def test_every_standard_event_has_a_name_or_a_note(name: str) -> None:
    """And what the server skips the browser skips, too."""
    platforms = ["meta", "tiktok", "snap", "pinterest", "reddit", "ga4"]
    snippet = browser_snippet(Event(name, event_id="e1"), platforms)
    assert len(snippet.calls) + len(snippet.notes) == len(platforms)
    if name == "refund":
        assert sorted(snippet.calls) == ["ga4"]
    if name == "ad_click":  # Google Analytics keeps it for itself
        assert sorted(snippet.calls) == ["meta", "pinterest", "reddit", "snap", "tiktok"]
    elif name in ("watch_video", "find_location", "customize_product", "submit_application"):  # Snap has none
        assert "snap" not in snippet.calls
    elif name not in ("refund", "app_install", "app_open", "contact", "download"):
        assert len(snippet.calls) == len(platforms)


def test_custom_events_keep_their_names_where_there_are_any() -> None:
    """Snap, LinkedIn and X have none unless one is given."""
    event = Event("quiz_done", event_id="e1")
    snippet = browser_snippet(event, list(TAGS))
    assert 'fbq("trackCustom","quiz_done",{},{"eventID":"e1"})' in snippet.calls["meta"]
    assert 'rdt("track","Custom",{"conversionId":"e1","customEventName":"quiz_done"})' in snippet.calls["reddit"]
    assert 'pintrk("track","custom",' in snippet.calls["pinterest"]
    assert sorted(note.partition(" ")[0] for note in snippet.notes) == ["linkedin", "snap", "x"]
    assert all("event_names" in note for note in snippet.notes)


@pytest.mark.parametrize(
    ("consent", "called"),
    [
        (None, ["ga4", "meta"]), (Consent(), ["ga4", "meta"]), (Consent(ad_storage=False), ["ga4"]),
        (Consent(ad_user_data=False), ["ga4"]), (Consent(analytics_storage=False), ["meta"]),
    ],
)  # fmt: skip
def test_what_the_visitor_denied_is_not_called(consent: Consent | None, called: list[str]) -> None:
    """By the event's consent or the context's."""
    settings = ContextSettings(consent=lambda request: consent)
    context = RequestContext.from_parts("https://shop.example/", settings=settings)
    for event in (context.event("lead"), Event("lead", event_id="e1")):
        snippet = context.browser_snippet(event, ["meta", "ga4"])
        assert sorted(snippet.calls) == called
        assert len(snippet.calls) + len(snippet.notes) == 2


@pytest.mark.parametrize(
    ("choice", "left_out"),
    [("ad_personalization", {"tiktok", "snap", "reddit", "linkedin", "x"}), ("sale_opt_out", {"linkedin", "x"})],
)
def test_platforms_that_cannot_be_told_of_a_choice_are_not_called(choice: str, left_out: set[str]) -> None:
    """As the server skips them."""
    consent = Consent(**{choice: choice == "sale_opt_out"})  # type: ignore[arg-type]
    targets = [one for one in TAGS if one not in ("linkedin", "x")]
    snippet = browser_snippet(PURCHASE, [*targets, *NAMED], consent=consent)
    assert set(snippet.calls) == set(TAGS) - left_out
    accounts: list[Any] = [TikTok(pixel_code="C", access_token="t"), Meta(pixel_id="1", access_token="t")]
    assert set(browser_snippet(PURCHASE, accounts, consent=consent).calls) == {"tiktok", "meta"} - left_out


def test_nothing_of_the_person_is_in_the_page() -> None:
    """Whoever reads the page's source reads no address and no click."""
    context = RequestContext.from_parts(
        "https://shop.example/?ttclid=E.C.P.secret", headers={"user-agent": "Agent"}, peer="203.0.113.7"
    )
    event = context.event("purchase", email="jane@example.com", phone="+14155552671", order_id="1001")
    snippet = context.browser_snippet(event, [*TAGS, *NAMED])
    for text in ("jane", "4155552671", "203.0.113.7", "Agent", "secret"):
        assert text not in snippet + snippet.json


def test_an_unknown_platform_is_named() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="no browser tag for amazon; there are ga4, linkedin, meta"):
        browser_snippet(PURCHASE, ["amazon"])
    assert browser_snippet(PURCHASE, []) == ""


@pytest.mark.parametrize("rule", [1234, "1234", "urn:lla:llaPartnerConversion:1234"])
def test_linkedins_rule_is_a_number_however_it_is_written(rule: Any) -> None:
    """As a number, as text, or as the server's API writes it."""
    tag = BrowserTag(platform="linkedin", names={"purchase": rule})
    called = browser_snippet(Event("purchase", order_id="1"), [tag]).calls["linkedin"]
    assert '"conversion_id":1234,"event_id":"purchase:1"' in called


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("linkedin", {"purchase": "abc"}),
        ("linkedin", {"purchase": "1234</script>"}),
        ("linkedin", {"purchase": "١٢"}),
        ("linkedin", {"purchase": ""}),
        ("x", {"purchase": ""}),
        ("x", {"purchase": ["tw-1"]}),
        ("x", {"purchase": True}),
        ("x", "tw-1"),
    ],
)
def test_a_name_that_is_none_is_told_where_it_is_given(platform: str, names: Any) -> None:
    """Not as a platform that has no name for the event, with the first page."""
    with pytest.raises(ConfigError, match="BrowserTag: names"):
        BrowserTag(platform=platform, names=names)


def test_a_nonce_is_part_of_the_element() -> None:
    """And cannot leave it."""
    assert browser_snippet(PURCHASE, ["meta"], nonce='a"><b').startswith('<script nonce="a&quot;&gt;&lt;b">')


@given(st.text(), st.text(max_size=20), st.decimals(0, 10**9, places=2))
def test_whatever_an_event_holds_the_element_is_whole(order: str, name: str, value: Decimal) -> None:
    """It ends where it ends, holds no line that older JavaScript does not know, and is the JSON that was meant."""
    event = Event("purchase", event_id="e1", order_id=order or "x", value=value, currency="EUR",
                  items=[Item(id="1", name=name)])  # fmt: skip
    snippet = browser_snippet(event, ["meta", "ga4"])
    inner = snippet.removeprefix("<script>").removesuffix("</script>")
    for text in ("<", ">", "&amp", "'", "\u2028", "\u2029"):
        assert text not in snippet.json
    assert "<" not in inner.replace("<script", "")
    assert json.loads(snippet.json)["order_id"] == (order or "x").encode("utf-8", "replace").decode()
    assert json.loads(snippet.json, parse_float=Decimal)["value"] == value


def test_json_for_scripts_keeps_all_digits() -> None:
    """A float would round them."""
    assert script_json({"a": Decimal("12345678901234567890.10"), "b": "</script>\u2028'&"}) == (
        '{"a":12345678901234567890.10,"b":"\\u003c/script\\u003e\\u2028\\u0027\\u0026"}'
    )


def test_jinja_takes_the_element_as_it_is() -> None:
    """With autoescape on, as a function and as a value."""
    jinja2 = pytest.importorskip("jinja2", reason="Jinja is not installed: pip install 'capi_async[test]'")
    environment = jinja2.Environment(autoescape=True)
    install(environment, ["meta"])
    snippet = browser_snippet(PURCHASE, ["meta"])
    assert environment.from_string("{{ capi_snippet(event) }}").render(event=PURCHASE) == snippet
    assert environment.from_string("{{ snippet }}").render(snippet=snippet) == snippet
    other = environment.from_string("{{ capi_snippet(event, platforms=['ga4'], nonce='n') }}").render(event=PURCHASE)
    assert other == browser_snippet(PURCHASE, ["ga4"], nonce="n")


def test_django_takes_the_element_as_it_is(tmp_path: Path) -> None:
    """By its tag and as a value, with autoescape on."""
    from tests.context.django_project import configure

    configure()
    from django.template import Context, Template

    snippet = browser_snippet(PURCHASE, ["meta", "ga4"])
    facts = Context({"event": PURCHASE, "tags": ["meta", "ga4"], "snippet": snippet})
    for text in ('{% load capi %}{% capi_snippet event "meta" "ga4" %}', "{% load capi %}{% capi_snippet event tags %}",
                 "{{ snippet }}"):  # fmt: skip
        assert Template(text).render(facts) == snippet

    class Request:
        csp_nonce = "bm9uY2U"

    facts["request"] = Request()
    by_policy = Template('{% load capi %}{% capi_snippet event "meta" %}').render(facts)
    assert by_policy == browser_snippet(PURCHASE, ["meta"], nonce="bm9uY2U")
