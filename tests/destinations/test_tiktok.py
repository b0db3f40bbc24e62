"""TikTok Events API 2.0: names, sources, identity, consent, amounts, test mode, extra, and every documented answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from capi_async.destinations.tiktok import TikTok
from capi_async.destinations.tiktok.names import WEB_EVENTS, checked_name
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.spec import DAY, ENCODER, HOUR, SLICE_BYTES, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

PIXEL = "CEXAMPLE0000000000AA"
TRACE = "20251124160100EXAMPLE0000000000001"
SHOP = Page(url="https://shop.example/thanks")
JANE = User(email="jane@example.com")
IDFA = "6cd6140c54b2741b81b0099b232a3ddaeed82df456f43563574877baec22b632"


def tiktok(**settings: Any) -> TikTok:
    """An account with every source id, unless the case says otherwise."""
    defaults = {
        "pixel_code": PIXEL,
        "access_token": "s3cret-token",
        "app_id": "7000000000000000001",
        "offline_event_set_id": "7000000000000000002",
        "crm_event_set_id": "7000000000000000003",
    }
    return TikTok(**(defaults | settings))


def event(name: str = "purchase", **fields: Any) -> Event:
    """A website event of somebody known, unless the case says otherwise."""
    return Event(name, **({"user": JANE, "page": SHOP} | fields))


def head(made: object) -> dict[str, Any]:
    """The root of the request, apart from its events."""
    assert isinstance(made, Wire), made
    return msgspec.json.decode(made.head)  # type: ignore[no-any-return]


def answer(code: int, message: str = "OK", **more: object) -> dict[str, object]:
    """TikTok's envelope."""
    return {"code": code, "message": message, "request_id": TRACE, "data": {}} | more


# -- event names -------------------------------------------------------------------------------------------------

NAMES = {
    "page_view": ("Pageview", "Pageview"),
    "view_content": ("ViewContent", "ViewContent"),
    "search": ("Search", "Search"),
    "add_to_cart": ("AddToCart", "AddToCart"),
    "add_to_wishlist": ("AddToWishlist", "AddToWishlist"),
    "initiate_checkout": ("InitiateCheckout", "Checkout"),
    "add_payment_info": ("AddPaymentInfo", "AddPaymentInfo"),
    "purchase": ("Purchase", "Purchase"),
    "lead": ("Lead", "GenerateLead"),
    "sign_up": ("CompleteRegistration", "Registration"),
    "subscribe": ("Subscribe", "Subscribe"),
    "start_trial": ("StartTrial", "StartTrial"),
    "login": ("Login", "Login"),
    "contact": ("Contact", "Contact"),
    "download": ("Download", "Download"),
    "app_install": ("InstallApp", "InstallApp"),
    "app_open": ("LaunchAPP", "LaunchAPP"),
    "view_list": ("view_list", "view_list"),
    "watch_video": ("watch_video", "watch_video"),
    "share": ("share", "share"),
    "rate": ("rate", "Rate"),
    "save": ("save", "save"),
    "invite": ("invite", "invite"),
    "reserve": ("reserve", "reserve"),
    "schedule": ("Schedule", "schedule"),
    "find_location": ("FindLocation", "find_location"),
    "customize_product": ("CustomizeProduct", "customize_product"),
    "submit_application": ("SubmitApplication", "submit_application"),
    "tutorial_complete": ("tutorial_complete", "CompleteTutorial"),
    "level_complete": ("level_complete", "AchieveLevel"),
    "unlock_achievement": ("unlock_achievement", "UnlockAchievement"),
    "spend_credits": ("spend_credits", "SpendCredits"),
    "ad_click": ("ad_click", "InAppADClick"),
    "ad_view": ("ad_view", "InAppADImpr"),
    "quiz_done": ("quiz_done", "quiz_done"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_event_has_its_name_on_web_offline_and_crm(name: str, expected: tuple[str, str]) -> None:
    """One list for these three sources."""
    for source in ("website", "offline", "crm"):
        made = wire(tiktok(), event(name, source=source))
        assert isinstance(made, Wire)
        assert (made.body.event, made.warnings) == (expected[0], ())


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_app_event_has_a_name_of_its_own(name: str, expected: tuple[str, str]) -> None:
    """Apps have another list."""
    made = wire(tiktok(), event(name, source="app", app=App(id="com.example")))
    assert isinstance(made, Wire)
    assert (made.body.event, made.warnings) == (expected[1], ())


def test_every_standard_event_is_in_the_table() -> None:
    """No standard name is left to chance."""
    assert {*NAMES, "refund"} - {"quiz_done"} == STANDARD_EVENTS


@pytest.mark.parametrize("source", ["website", "app", "offline", "crm"])
def test_refund_is_skipped(source: str) -> None:
    """As a custom event it would be counted beside the revenue it takes back."""
    refused = refusal(tiktok(), event("refund", source=source, app=App(id="com.example")))
    assert (refused.kind, refused.field) == ("skipped", "name")


def test_override_wins_on_every_source_and_none_skips() -> None:
    """``event_names`` speaks for the account."""
    destination = tiktok(event_names={"purchase": "CompletePayment", "login": None, "sign_up": "Registration"})
    assert body(destination, event())["event"] == "CompletePayment"
    assert body(destination, event(source="app", app=App(id="a"), name="sign_up"))["event"] == "Registration"
    assert refusal(destination, event("login")).kind == "skipped"
    assert refusal(destination, event("login", source="app", app=App(id="a"))).kind == "skipped"


RESERVED = {
    "Registration": "CompleteRegistration",
    "StartCheckout": "InitiateCheckout",
    "Checkout": "PlaceAnOrder",
    "AddBilling": "AddPaymentInfo",
    "ClickForm": "Lead",
    "Browse": "Pageview",
    "ClickInDownloadPage": "ClickButton",
    "ClickToDownload": "Download",
    "Consult": "Contact",
    "ConsultByPhone": "Contact",
    "ViewForm": "ViewContent",
    "ViewProductPage": "ViewContent",
}


@pytest.mark.parametrize(("name", "real"), RESERVED.items())
def test_reserved_name_is_refused_as_a_custom_one(name: str, real: str) -> None:
    """TikTok would turn it into another event."""
    refused = refusal(tiktok(), event(name))
    assert (refused.kind, refused.field) == ("rejected", "name")
    assert real in refused.fix


def test_reserved_name_is_refused_as_an_override() -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="Browse"):
        tiktok(event_names={"page_view": "Browse"})
    with pytest.raises(ConfigError, match="needs an event's name"):
        tiktok(event_names={"page_view": ""})


def test_name_reserved_on_the_web_is_a_standard_one_in_apps() -> None:
    """``Checkout`` and ``Registration`` are app events, and ``CompletePayment`` is none there."""
    app = {"source": "app", "app": App(id="com.example")}
    assert body(tiktok(), event("Checkout", **app))["event"] == "Checkout"
    assert refusal(tiktok(), event("CompletePayment", **app)).field == "name"
    assert body(tiktok(), event("CompletePayment"))["event"] == "CompletePayment"


@pytest.mark.parametrize("name", ["complete_payment", "Add To Cart", "PURCHASE", "View-Content", "page view"])
def test_name_that_differs_only_by_case_or_separators_is_sent_with_a_warning(name: str) -> None:
    """TikTok stores it as a custom event without a word."""
    made = wire(tiktok(), event(name))
    assert isinstance(made, Wire)
    assert made.body.event == name
    assert len(made.warnings) == 1
    assert name in made.warnings[0]


@pytest.mark.parametrize("name", ["Purchase", "Pageview", "SubmitForm", "FindLocation", "quiz"])
def test_known_and_quite_different_names_are_sent_without_a_warning(name: str) -> None:
    """Both spellings of the page view count as known: which one TikTok takes is not documented."""
    made = wire(tiktok(), event(name))
    assert isinstance(made, Wire)
    assert made.warnings == ()


# -- sources -----------------------------------------------------------------------------------------------------

SOURCES = {
    "website": ("web", PIXEL),
    "app": ("app", "7000000000000000001"),
    "offline": ("offline", "7000000000000000002"),
    "physical_store": ("offline", "7000000000000000002"),
    "phone_call": ("offline", "7000000000000000002"),
    "email": ("offline", "7000000000000000002"),
    "chat": ("offline", "7000000000000000002"),
    "system_generated": ("offline", "7000000000000000002"),
    "crm": ("crm", "7000000000000000003"),
    "business_messaging": ("offline", "7000000000000000002"),
    "other": ("offline", "7000000000000000002"),
}


@pytest.mark.parametrize(("source", "expected"), SOURCES.items())
def test_source_chooses_the_root_of_the_request(source: str, expected: tuple[str, str]) -> None:
    """Events of different sources cannot share a request."""
    made = wire(tiktok(), event(source=source, app=App(id="com.example")))
    assert head(made) == {"event_source": expected[0], "event_source_id": expected[1]}


@pytest.mark.parametrize(
    ("source", "setting"),
    [
        ("app", "app_id"),
        ("offline", "offline_event_set_id"),
        ("crm", "crm_event_set_id"),
        ("other", "offline_event_set_id"),
    ],
)
def test_source_without_its_id_is_skipped(source: str, setting: str) -> None:
    """The fix names the setting."""
    refused = refusal(tiktok(**{setting: None}), event(source=source, app=App(id="com.example")))
    assert (refused.kind, refused.field) == ("skipped", "source")
    assert setting in refused.fix


def test_offline_events_live_28_days_and_others_7() -> None:
    """An override holds for all of them."""
    for source, days in (("website", 7), ("app", 7), ("crm", 7), ("offline", 28), ("other", 28)):
        one = event(source=source, app=App(id="com.example"))
        made, short = wire(tiktok(), one), wire(tiktok(max_age_s=DAY), one)
        assert isinstance(made, Wire)
        assert isinstance(short, Wire)
        assert made.expires_at == pytest.approx(one.time.timestamp() + days * DAY)
        assert short.expires_at == pytest.approx(one.time.timestamp() + DAY)


def test_second_copy_is_known_for_48_hours_by_its_event_id() -> None:
    """Whichever id that is; ``test_conformance`` shows that ``extra`` cannot take it away."""
    for extra in ({}, {"tiktok": {"event_id": "another"}}):
        made = wire(tiktok(), event(extra=extra))
        assert isinstance(made, Wire)
        assert made.resend_for_s == 48 * HOUR


# -- required fields and identity --------------------------------------------------------------------------------


def test_website_event_needs_a_web_address() -> None:
    """Other sources do not, and extra may give it."""
    assert refusal(tiktok(), event(page=Page())).field == "page.url"
    strange = refusal(tiktok(), event(page=Page(url="android-app://com.example")))
    assert (strange.kind, strange.field) == ("rejected", "page.url")
    assert "page" not in body(tiktok(), event(source="offline", page=Page()))
    given = event(page=Page(), extra={"tiktok": {"page": {"url": "HTTPS://shop.example/"}}})
    assert body(tiktok(), given)["page"] == {"url": "HTTPS://shop.example/"}


def test_app_event_needs_the_apps_id() -> None:
    """The app's own id, which is not TikTok's."""
    for app in (None, App(name="Example")):
        refused = refusal(tiktok(), event(source="app", app=app))
        assert (refused.kind, refused.field) == ("rejected", "app.id")
    assert body(tiktok(), event(source="app", app=App(id="a", name="n", version="1")))["app"] == {
        "app_id": "a",
        "app_name": "n",
        "app_version": "1",
    }


EMAIL, PHONE = User(email="jane@example.com"), User(phone="+14155552671")
EXTERNAL = User(external_id="user-123")
BOTH = User(ip="203.0.113.9", user_agent="Mozilla/5.0")
NEITHER = User(first_name="Jane", city="Berlin", gender="f", date_of_birth="1997-12-26")
MOBILE = User(mobile_ad_id="EA7583CD-A667-48BC-B806-42ECB2B48606")
VENDOR = User(idfv="AEBE52E7-03EE-455A-B3C4-E57283966239")
IOS = Device(os="ios")

IDENTITY: list[tuple[str, dict[str, Any], bool]] = [
    ("website", {"user": EMAIL}, True),
    ("website", {"user": PHONE}, True),
    ("website", {"user": EXTERNAL}, True),
    ("website", {"user": BOTH}, True),
    ("website", {"user": User(ip="203.0.113.9")}, False),
    ("website", {"user": User(user_agent="Mozilla/5.0")}, False),
    ("website", {"user": NEITHER}, False),
    ("website", {"user": MOBILE, "device": IOS}, False),
    ("website", {"user": User(), "click": ClickIds(ttclid="E.C.P.x")}, True),
    ("website", {"user": User(), "click": ClickIds(ttp="abc")}, True),
    ("website", {"user": User(), "click": ClickIds(fbc="abc")}, False),
    ("offline", {"user": EMAIL}, True),
    ("offline", {"user": PHONE}, True),
    ("offline", {"user": EXTERNAL}, True),
    ("offline", {"user": BOTH}, False),
    ("offline", {"user": User(), "click": ClickIds(ttclid="E.C.P.x")}, False),
    ("app", {"user": EMAIL}, True),
    ("app", {"user": PHONE}, True),
    ("app", {"user": EXTERNAL}, True),
    ("app", {"user": BOTH}, True),
    ("app", {"user": VENDOR}, True),
    ("app", {"user": MOBILE, "device": IOS}, True),
    ("app", {"user": MOBILE, "device": Device(os="android")}, True),
    ("app", {"user": MOBILE}, False),
    ("app", {"user": User(), "click": ClickIds(ttclid="E.C.P.x")}, False),
    ("crm", {"user": EMAIL}, True),
    ("crm", {"user": BOTH}, False),
    ("crm", {"user": User(), "extra": {"tiktok": {"lead": {"lead_id": "1"}}}}, True),
    ("offline", {"user": User(), "extra": {"tiktok": {"lead": {"lead_id": "1"}}}}, False),
    ("website", {"user": User(), "extra": {"tiktok": {"user": {"email": ["0" * 64]}}}}, True),
    ("website", {"user": EMAIL, "extra": {"tiktok": {"user": {"email": []}}}}, False),
]


@pytest.mark.parametrize(("source", "fields", "sent"), IDENTITY)
def test_event_needs_somebody_it_can_be_attributed_to(source: str, fields: dict[str, Any], sent: bool) -> None:
    """The rule differs by source, and is checked on what would leave."""
    made = wire(tiktok(), event(source=source, app=App(id="com.example"), **fields))
    if sent:
        assert isinstance(made, Wire), made
    else:
        assert not isinstance(made, Wire)
        assert (made.kind, made.field) == ("skipped", "user")


def test_mobile_id_is_named_by_its_system() -> None:
    """An unknown system sends none: the same text would be another id."""
    for system, key in (("ios", "idfa"), ("Android", "gaid")):
        assert (
            body(tiktok(), event(user=User(email="a@b.example", **_mobile()), device=Device(os=system)))["user"][key]
            == IDFA
        )
    user = body(tiktok(), event(user=User(email="a@b.example", **_mobile()), device=Device(os="windows")))["user"]
    assert {"idfa", "gaid"}.isdisjoint(user)


def _mobile() -> dict[str, str]:
    return {"mobile_ad_id": "EA7583CD-A667-48BC-B806-42ECB2B48606"}


@pytest.mark.parametrize("status", ["authorized", "denied", "restricted", "not_determined", "not_applicable"])
def test_tracking_answer_is_sent_in_capitals(status: Any) -> None:
    """``user.att_status``."""
    app = App(id="com.example", att_status=status)
    assert body(tiktok(), event(source="app", app=app))["user"]["att_status"] == status.upper()


def test_click_ids_and_browser_keep_their_case() -> None:
    """They are opaque, and never cut."""
    long = "E.C.P." + "aB-_" * 248
    user = body(tiktok(), event(click=ClickIds(ttclid=f" {long} ", ttp="2ExampleTtpCookieValue00000")))["user"]
    assert (user["ttclid"], user["ttp"]) == (long, "2ExampleTtpCookieValue00000")


def test_several_values_travel_as_a_list() -> None:
    """In the caller's order."""
    user = body(tiktok(), event(user=User(email=["  Jane.Doe@Example.COM ", "test@test.com"])))["user"]
    assert user["email"] == [
        "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d",
        "f660ab912ec121d1b1e928a0bb4bc61b15f5ad44d5efdc4e1c92a25e99b8e44a",
    ]


# -- consent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data", "ad_personalization"])
def test_denied_choice_keeps_the_event_here(choice: str) -> None:
    """TikTok has no switch for any of them."""
    denied: dict[str, Any] = {choice: False}
    granted: dict[str, Any] = {choice: True}
    refused = refusal(tiktok(), event(consent=Consent(**denied)))
    assert (refused.kind, refused.field) == ("skipped", f"consent.{choice}")
    assert "limited_data_use" not in body(tiktok(), event(consent=Consent(**granted)))


def test_opt_out_of_sale_limits_the_data_use() -> None:
    """Nothing is said where nothing was stated, or was granted."""
    for source in ("website", "app", "offline", "crm"):
        said = body(tiktok(), event(source=source, app=App(id="a"), consent=Consent(sale_opt_out=True)))
        assert said["limited_data_use"] is True
    for consent in (None, Consent(), Consent(sale_opt_out=False), Consent(analytics_storage=False)):
        assert "limited_data_use" not in body(tiktok(), event(consent=consent))


# -- properties --------------------------------------------------------------------------------------------------


def test_every_canonical_fact_has_its_key() -> None:
    """Amounts are numbers of major units, digit by digit; ids are text."""
    one = event(
        time=datetime(2025, 11, 24, 16, 0, 0, 999_000, tzinfo=UTC),
        value="0.10",
        currency="USD",
        order_id="1001",
        num_items=7,
        content_type="product_group",
        search_string="shoes",
        description="words",
        delivery_category="curbside",
        predicted_ltv="1234567.89",
        items=[Item(id="42", quantity=3, price="19.990", name="Shoe", category="Shoes", brand="Acme")],
    )
    made = wire(tiktok(), one)
    assert isinstance(made, Wire)
    raw = ENCODER.encode(made.body)
    assert b'"value":0.10,' in raw
    assert b'"predicted_ltv":1234567.89' in raw
    assert b'"price":19.990' in raw
    assert b'"event_time":1764000000,' in raw
    assert msgspec.json.decode(raw)["properties"] == {
        "value": 0.1,
        "currency": "USD",
        "order_id": "1001",
        "num_items": 7,
        "content_type": "product_group",
        "query": "shoes",
        "search_string": "shoes",
        "description": "words",
        "delivery_category": "curbside",
        "predicted_ltv": 1234567.89,
        "contents": [
            {
                "content_id": "42",
                "quantity": 3,
                "price": 19.99,
                "content_name": "Shoe",
                "content_category": "Shoes",
                "brand": "Acme",
            }
        ],
    }


def test_event_without_facts_has_no_properties_and_free_item_is_kept() -> None:
    """Nothing is sent as null, and zero is a value."""
    assert "properties" not in body(tiktok(), event())
    free = body(tiktok(), event(value=0, currency="USD", items=[Item(id="a", price=0)]))["properties"]
    assert free["value"] == 0
    assert free["contents"] == [{"content_id": "a", "quantity": 1, "price": 0}]


def test_items_are_products_unless_said_otherwise() -> None:
    """Shopping ads need the content type."""
    items = [Item(id="a"), Item(id="b", quantity=2)]
    assert body(tiktok(), event(items=items))["properties"]["content_type"] == "product"
    assert body(tiktok(), event(items=items))["properties"]["num_items"] == 3
    group = event(items=items, properties={"content_type": "product_group"})
    assert body(tiktok(), group)["properties"]["content_type"] == "product_group"


def test_free_properties_pass_and_canonical_ones_win() -> None:
    """TikTok takes unknown keys; nulls are left out."""
    one = event(value="1", currency="USD", properties={"shop_id": "s", "value": 9, "own": {"a": [1]}, "nothing": None})
    assert body(tiktok(), one)["properties"] == {"value": 1, "currency": "USD", "shop_id": "s", "own": {"a": [1]}}
    assert body(tiktok(), event(properties={"content_ids": ["a"]}))["properties"] == {"content_ids": ["a"]}


def test_unlisted_currency_is_sent_with_a_warning() -> None:
    """Whether 2.0 has the list of the older endpoints is unknown."""
    made = wire(tiktok(), event(value=1, currency="XOF"))
    assert isinstance(made, Wire)
    assert made.body.properties.currency == "XOF"
    assert made.warnings == ("TikTok does not list the currency XOF",)


# -- extra -------------------------------------------------------------------------------------------------------


def test_extra_merges_deeply_and_has_the_last_word() -> None:
    """Documented objects without a canonical field come this way."""
    one = event(
        value="1.10",
        currency="USD",
        properties={"status": "paid"},
        extra={"tiktok": {"ad": {"callback": "c"}, "user": {"locale": "de"}, "properties": {"currency": "EUR"}}},
    )
    made = wire(tiktok(), one)
    assert isinstance(made, Wire)
    assert b'"value":1.10' in ENCODER.encode(made.body)
    said = body(tiktok(), one)
    assert said["ad"] == {"callback": "c"}
    assert said["user"]["locale"] == "de"
    assert len(said["user"]["email"]) == 1
    assert said["properties"] == {"value": 1.1, "currency": "EUR", "status": "paid"}


def test_extra_is_found_by_the_destinations_own_name_and_others_are_left_alone() -> None:
    """Two accounts may differ."""
    one = event(extra={"tiktok_de": {"event_id": "de"}, "snap": {"event_id": "snap"}}, event_id="x")
    assert body(tiktok(name="tiktok_de"), one)["event_id"] == "de"
    assert body(tiktok(), one)["event_id"] == "x"


@pytest.mark.parametrize("part", ["user", "page", "properties", "app", "lead"])
@pytest.mark.parametrize("source", ["website", "app", "crm"])
def test_extra_of_any_shape_never_raises(source: str, part: str) -> None:
    """It gives a body or a refusal."""
    wire(
        tiktok(),
        event(
            source=source, app=App(id="a"), extra={"tiktok": {part: 7}}, properties={"a": 1}, value=1, currency="USD"
        ),
    )


# -- test mode, requests, settings -------------------------------------------------------------------------------


def test_test_mode_puts_the_code_at_the_root() -> None:
    """Of every event, as long as the destination has one."""
    assert "test_event_code" not in head(wire(tiktok(), event()))
    coded = tiktok(test_event_code="TEST12345")
    assert head(wire(coded, event()))["test_event_code"] == "TEST12345"
    assert head(wire(coded, event(test=True)))["test_event_code"] == "TEST12345"


def test_test_event_without_a_code_is_skipped() -> None:
    """It is never sent live."""
    refused = refusal(tiktok(), event(test=True))
    assert (refused.kind, refused.field) == ("skipped", "test")


def test_requests_hold_a_thousand_events_of_one_head() -> None:
    """Web and app events part."""
    events = [event(event_id=str(n)) for n in range(1_001)] + [event(source="app", app=App(id="a"))]
    made = requests(tiktok(), events)
    assert [len(msgspec.json.decode(b"".join(one.body))["data"]) for one in made] == [1_000, 1, 1]
    assert max(map(len, made[0].body)) <= 2 * SLICE_BYTES


def test_address_follows_base_url_and_version_and_keeps_its_slash() -> None:
    """Without the slash TikTok finds nothing there."""
    (made,) = requests(tiktok(base_url="http://localhost:8080/", api_version="v1.4"), [event()], "TOK")
    assert made.url == "http://localhost:8080/open_api/v1.4/event/track/"
    assert made.headers["Access-Token"] == "TOK"


def test_nobody_sees_the_token() -> None:
    """Not in the destination's words, nor in the request's."""
    destination = tiktok()
    (made,) = requests(destination, [event()], "s3cret-token")
    assert "s3cret" not in f"{destination!r} {destination} {made!r} {made} {destination.access_token!r}"
    assert "jane" not in repr(made)
    assert destination.account() == PIXEL
    assert destination.secret().fixed


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pixel_code": ""}, "TIKTOK_PIXEL_ID"),
        ({"access_token": ""}, "TIKTOK_ACCESS_TOKEN or TIKTOK_ACESS_TOKEN"),
        ({"access_token": "Bearer abc"}, "without 'Bearer'"),
        ({"api_version": "1.3/.."}, "v1.3"),
        ({"app_id": 7.5}, "app_id needs text"),
        ({"test_event_code": 7}, "test_event_code needs text"),
        ({"max_batch_events": 1_001}, "1000"),
        ({"base_url": "http://tiktok.example"}, "https"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    """Before any I/O, with the mend."""
    with pytest.raises(ConfigError, match=words):
        tiktok(**settings)


# -- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 401, 500])
def test_code_zero_is_accepted_whatever_the_status(status: int) -> None:
    """The body decides; its request id is kept."""
    found = verdicts(tiktok(), status, answer(0), 2)
    assert kinds(found) == ["accepted"] * 2
    assert found[0].trace_id == TRACE


def test_duplicate_is_accepted_and_says_so() -> None:
    """40050: it was there before."""
    (found,) = verdicts(tiktok(), 200, answer(40050, "DUPLICATED_REQUEST"))
    assert (found.kind, found.reason, found.code) == ("accepted", "received before", "40050")


@pytest.mark.parametrize("word", ["Batch", "data", "batch"])
def test_named_row_is_rejected_and_its_neighbours_leave_again_at_once(word: str) -> None:
    """A request is refused as a whole."""
    said = answer(40002, f"{word}.1.properties.contents.0.content_id: Not a valid string")
    found = verdicts(tiktok(), 200, said, 3)
    assert kinds(found) == ["retry", "rejected", "retry"]
    assert found[1].field == "properties.contents.0.content_id"
    assert [one.after_s for one in found] == [0.0, None, 0.0]
    assert {one.trace_id for one in found} == {TRACE}
    assert not any(one.throttled for one in found)


def test_several_named_rows_are_all_rejected() -> None:
    """As far as the message goes."""
    said = answer(40002, "data.0.event_id: Not a valid string; data[2].event_time: Not a valid integer")
    found = verdicts(tiktok(), 200, said, 3)
    assert kinds(found) == ["rejected", "retry", "rejected"]
    assert [one.field for one in found] == ["event_id", "", "event_time"]


def test_named_row_outside_the_request_is_not_believed() -> None:
    """Nor are row-like words inside a longer path."""
    assert kinds(verdicts(tiktok(), 200, answer(40002, "Batch.2.event: Missing"), 2)) == ["split"] * 2
    assert kinds(verdicts(tiktok(), 200, answer(40002, "properties.data.0.x: bad"), 2)) == ["split"] * 2


def test_refusal_without_a_row_is_split_and_names_the_field() -> None:
    """A reply as recorded in the field."""
    said = {
        "code": 40002,
        "message": "Invalid value for event_id: not a valid string.",
        "request_id": "202303141300390EF6F5D96D1798201C51",
    }
    (found,) = verdicts(tiktok(), 200, said)
    assert (found.kind, found.field, found.code) == ("split", "event_id", "40002")
    assert found.trace_id == "202303141300390EF6F5D96D1798201C51"


@pytest.mark.parametrize("code", [40000, 40002, 40061, 40062, 40700, 40999, 49999])
def test_refused_parameters_are_split(code: int) -> None:
    """Every other code of the 4xxxx family counts as one."""
    assert kinds(verdicts(tiktok(), 200, answer(code, "no"), 2)) == ["split"] * 2


@pytest.mark.parametrize("code", [40100, 40132, 61000, 51021])
@pytest.mark.parametrize("status", [200, 401, 429])
def test_too_many_requests_slow_the_destination_down(code: int, status: int) -> None:
    """HTTP 401 with 40100 is this, not a bad token."""
    (found,) = verdicts(tiktok(), status, answer(code, "Too many requests. Please retry in some time."))
    assert (found.kind, found.throttled, found.after_s) == ("retry", True, None)
    (found,) = verdicts(tiktok(), status, answer(code), retry_after="30")
    assert found.after_s == 30.0


ACCOUNT = [
    40001, 40003, 40006, 40007, 40051, 40063, 40101, 40102, 40103, 40104, 40105, 40106, 40107, 40110, 40113, 40118,
    40130, 40400, 41000, 41001,
]  # fmt: skip


@pytest.mark.parametrize("code", ACCOUNT)
@pytest.mark.parametrize("status", [200, 401])
def test_account_level_refusal_pauses_the_destination(code: int, status: int) -> None:
    """Whatever the status."""
    found = verdicts(tiktok(), status, answer(code, "no"), 2)
    assert kinds(found) == ["unauthorized"] * 2
    assert found[0].probe is (code not in (40102, 40103, 40107))
    assert (found[0].code, found[0].trace_id) == (str(code), TRACE)


@pytest.mark.parametrize("code", [40202, 50000, 50002, 51000, 51010, 51012, 52000, 52999, 60001, 59999, 69999])
def test_server_trouble_is_tried_again(code: int) -> None:
    """Maintenance waits five minutes."""
    (found,) = verdicts(tiktok(), 200, answer(code, "System error"))
    assert (found.kind, found.throttled) == ("retry", False)
    assert found.after_s == (300.0 if code == 60001 else None)


def test_partial_success_is_accepted_alone_and_split_in_company() -> None:
    """Which rows failed is not documented; the event id absorbs those that were stored."""
    said = answer(20001, "PARTIAL_OK", data={"failed": [1]})
    (alone,) = verdicts(tiktok(), 200, said)
    assert (alone.kind, alone.reason) == ("accepted", 'PARTIAL_OK: {"failed":[1]}')
    found = verdicts(tiktok(), 200, said, 2)
    assert kinds(found) == ["split"] * 2
    assert not found[0].atomic


WITHOUT_CODE = [
    (200, b"<html>ok</html>", "ambiguous"),
    (200, b"", "ambiguous"),
    (200, b"{}", "ambiguous"),
    (200, b'{"code": "0"}', "ambiguous"),
    (200, b'{"code": true}', "ambiguous"),
    (200, b"[]", "ambiguous"),
    (200, b'{"code":0,"message":"\xff"}', "ambiguous"),
    (200, b'{"message":' + b"[" * 100_000, "ambiguous"),
    (502, b"<html>502 Bad Gateway</html>", "retry"),
    (503, b"", "retry"),
    (429, b"", "retry"),
    (408, b"", "retry"),
    (400, b"<html>", "retry"),
    (400, b"", "split"),
    (413, b"", "split"),
    (401, b"", "unauthorized"),
    (403, b"<html>", "unauthorized"),
    (404, b"404 page not found", "unauthorized"),
    (302, b"", "unauthorized"),
]


@pytest.mark.parametrize(("status", "raw", "kind"), WITHOUT_CODE, ids=range(len(WITHOUT_CODE)))
def test_answer_without_a_code_is_read_by_its_status(status: int, raw: bytes, kind: str) -> None:
    """Gateways answer in HTML."""
    assert kinds(verdicts(tiktok(), status, raw, 2)) == [kind] * 2


def test_answer_without_a_code_keeps_its_request_id() -> None:
    """Support asks for it."""
    assert verdicts(tiktok(), 502, {"request_id": TRACE})[0].trace_id == TRACE


@pytest.mark.parametrize(("status", "kind"), [(200, "ambiguous"), (400, "split"), (500, "retry")])
def test_code_of_no_known_family_is_never_taken_for_success(status: int, kind: str) -> None:
    """It has no documented meaning."""
    (found,) = verdicts(tiktok(), status, answer(12345, "?"))
    assert (found.kind, found.trace_id) == (kind, TRACE)


def test_envelope_may_lack_everything_but_the_code() -> None:
    """Other members of another type are no obstacle."""
    (found,) = verdicts(tiktok(), 200, {"code": 40002})
    assert (found.kind, found.reason, found.trace_id) == ("split", "code 40002", "")
    assert kinds(verdicts(tiktok(), 200, {"code": 0, "message": 7, "request_id": None, "data": None})) == ["accepted"]


def test_reasons_repeat_neither_source_ids_nor_personal_data() -> None:
    """TikTok's messages quote the source id, and may quote values."""
    said = answer(40001, f"No permission for pixel {PIXEL}, jane@example.com, +1 415 555 2671")
    (found,) = verdicts(tiktok(), 200, said)
    assert PIXEL not in found.reason
    assert "jane" not in found.reason
    assert "555" not in found.reason


@pytest.mark.parametrize("name", ["pageview", "PAGE_VIEW", "page-view"])
def test_another_spelling_of_the_page_view_names_the_one_that_the_pixel_sends(name: str) -> None:
    """Deduplication needs the very same name, and TikTok's pages know two."""
    warnings: list[str] = []
    assert checked_name(TikTok(pixel_code="C00000000SANDBOX0001", access_token="t"), Event(name), WEB_EVENTS, warnings)
    assert "'Pageview'" in warnings[0]
