"""Meta: what leaves for which event, and which events do not leave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from capi_async.destinations import Meta
from capi_async.destinations.meta.wire import MetaHead
from capi_async.errors import ConfigError
from capi_async.event import App, ClickIds, Consent, Device, Event, Hashed, Item, Page, User
from capi_async.spec import ENCODER, Secret, Wire, decode_head
from capi_async.testing.mapping import body, refusal, requests, wire

META = Meta(pixel_id="1234567890", access_token="TOKEN")
AT = datetime(2026, 1, 15, 10, 0, 0, 250_000, tzinfo=UTC)
PAGE = Page(url="https://shop.example/thanks")
ANNA = User(email="anna@example.com", user_agent="Mozilla/5.0")
ANNA_HASH = "f7d54c22dda5b1780276601cd005909b70543fc4a6ba72d735b4cb9bbb611f01"
AT_MS = int(AT.timestamp() * 1000)
DAY_MS = 86_400_000
IPHONE = Device(os="ios", os_version="17.4")
ANDROID = Device(os="android", os_version="14")
TRACKED = App(id="1", att_status="authorized", application_tracking=True)


def event(name: str = "page_view", **fields: Any) -> Event:
    """A website event of Anna's, unless told otherwise."""
    return Event(name, **{"time": AT, "event_id": "e-1", "page": PAGE, "user": ANNA, **fields})


def made(destination: Meta, sent: Event) -> Wire:
    """The event's record; fails on a refusal."""
    found = wire(destination, sent)
    assert isinstance(found, Wire), found
    return found


def warned(sent: Event) -> str:
    """All warnings of a sent event."""
    return "; ".join(made(META, sent).warnings)


# Names


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("page_view", "PageView"),
        ("view_content", "ViewContent"),
        ("search", "Search"),
        ("add_to_cart", "AddToCart"),
        ("add_to_wishlist", "AddToWishlist"),
        ("initiate_checkout", "InitiateCheckout"),
        ("add_payment_info", "AddPaymentInfo"),
        ("purchase", "Purchase"),
        ("lead", "Lead"),
        ("sign_up", "CompleteRegistration"),
        ("subscribe", "Subscribe"),
        ("start_trial", "StartTrial"),
        ("login", "Login"),
        ("contact", "Contact"),
        ("download", "Download"),
        ("app_install", "MobileAppInstall"),
        ("app_open", "AppOpen"),
        ("Schedule", "Schedule"),
        ("quiz_done", "quiz_done"),
        ("ü" * 50, "ü" * 50),
    ],
)
def test_event_takes_metas_name(name: str, there: str) -> None:
    """Standard names are translated; other names are Meta's own or custom and pass as they are."""
    assert body(META, event(name, value=1, currency="USD"))["event_name"] == there


def test_refund_is_skipped_because_it_would_count_as_revenue() -> None:
    """Meta knows no refund."""
    assert refusal(META, event("refund", value=1, currency="USD")).kind == "skipped"


def test_custom_name_over_50_characters_is_rejected() -> None:
    """It is refused rather than cut: a cut name is another event."""
    found = refusal(META, event("x" * 51))
    assert (found.kind, found.field) == ("rejected", "name")


def test_event_names_override_the_table() -> None:
    """Also to leave an event out, or to send one that has no name by default."""
    destination = Meta(
        pixel_id="1", access_token="T", event_names={"lead": "Contact", "search": None, "refund": "Refunded"}
    )
    assert body(destination, event("lead"))["event_name"] == "Contact"
    assert body(destination, event("refund"))["event_name"] == "Refunded"
    assert refusal(destination, event("search")).kind == "skipped"


@pytest.mark.parametrize("there", ["x" * 51, "", " "])
def test_override_that_meta_would_refuse_is_refused_at_once(there: str) -> None:
    """A name that is too long or blank is a mistake in the configuration."""
    with pytest.raises(ConfigError, match="event_names"):
        Meta(pixel_id="1", access_token="T", event_names={"lead": there})


# Sources, ages and what each source requires


@pytest.mark.parametrize(
    ("source", "there", "days"),
    [
        ("website", "website", 7),
        ("offline", "physical_store", 62),
        ("physical_store", "physical_store", 62),
        ("phone_call", "phone_call", 7),
        ("email", "email", 7),
        ("chat", "chat", 7),
        ("system_generated", "system_generated", 7),
        ("crm", "system_generated", 7),
        ("other", "other", 7),
    ],
)
def test_source_decides_the_action_source_and_how_old_an_event_may_be(source: Any, there: str, days: int) -> None:
    """Shops have 62 days, everything else 7."""
    record = made(META, event(source=source))
    assert record.body.action_source == there
    assert record.expires_at == (AT + timedelta(days=days)).timestamp()


def test_app_and_messaging_events_have_7_days() -> None:
    """Their action sources keep their names."""
    app = made(META, event(source="app", app=TRACKED, device=IPHONE))
    chat = made(META, event(source="business_messaging", extra={"meta": {"messaging_channel": "messenger"}}))
    assert app.body.action_source == "app"
    assert chat.body["action_source"] == "business_messaging"
    assert app.expires_at == chat.expires_at == (AT + timedelta(days=7)).timestamp()


def test_own_age_limit_wins() -> None:
    """``max_age_s`` is the account's override for every source."""
    destination = Meta(pixel_id="1", access_token="T", max_age_s=60)
    assert made(destination, event(source="physical_store")).expires_at == AT.timestamp() + 60


def test_action_source_from_extra_decides_the_age_too() -> None:
    """The merged event is what Meta judges."""
    record = made(META, event(source="other", extra={"meta": {"action_source": "physical_store"}}))
    assert record.expires_at == (AT + timedelta(days=62)).timestamp()


@pytest.mark.parametrize("url", [None, "shop.example/thanks", "android-app://x"])
@pytest.mark.parametrize("extra", [{}, {"meta": {"x": 1}}])
def test_website_event_needs_a_web_address(url: str | None, extra: dict[str, Any]) -> None:
    """Without one Meta refuses the whole request."""
    found = refusal(META, event(page=Page(url=url), extra=extra))
    assert (found.kind, found.field) == ("rejected", "page.url")


def test_address_that_is_not_of_the_web_is_left_out_elsewhere() -> None:
    """It is optional there, and would be refused."""
    sent = event(source="email", page=Page(url="app://inbox"))
    assert "event_source_url" not in body(META, sent)
    assert "event_source_url" in warned(sent)


def test_page_and_referrer_travel_without_addresses_of_people() -> None:
    """E-mail addresses in queries stay behind."""
    page = Page(url="https://shop.example/?m=anna@example.com&a=1", referrer="https://search.example/")
    sent = body(META, event(page=page))
    assert "anna" not in sent["event_source_url"]
    assert sent["referrer_url"] == "https://search.example/"


def test_website_event_without_a_browser_is_sent_with_a_warning() -> None:
    """The documentation asks for the user agent; Meta accepts the event without."""
    assert "client_user_agent" in warned(event(user=User(email="anna@example.com")))
    assert "client_user_agent" in warned(event(user=User(email="anna@example.com"), properties={"a": 1}))
    assert warned(event()) == ""


# App events


@pytest.mark.parametrize(
    ("att", "in_app", "flags"),
    [
        ("authorized", True, (1, 1)),
        ("authorized", False, (1, 0)),
        ("denied", True, (0, 1)),
        ("restricted", True, (0, 1)),
        ("not_determined", False, (0, 0)),
        ("not_applicable", True, (1, 1)),
        ("not_applicable", False, (0, 0)),
    ],
)
def test_app_event_states_both_tracking_choices(att: Any, in_app: bool, flags: tuple[int, int]) -> None:
    """Where the system has no prompt, the choice in the app is the only one there is."""
    app = App(id="1", att_status=att, application_tracking=in_app)
    sent = body(META, event(source="app", app=app, device=IPHONE))["app_data"]
    assert (sent["advertiser_tracking_enabled"], sent["application_tracking_enabled"]) == flags


@pytest.mark.parametrize(
    ("app", "device", "field"),
    [
        (TRACKED, None, "device.os"),
        (TRACKED, Device(os="windows", os_version="11"), "device.os"),
        (TRACKED, Device(os="ios"), "device.os_version"),
        (App(application_tracking=True), IPHONE, "app.att_status"),
        (None, IPHONE, "app.att_status"),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"meta": {"x": 1}}])
def test_app_event_without_a_required_fact_is_rejected(
    app: App | None, device: Device | None, field: str, extra: dict[str, Any]
) -> None:
    """Nothing is made up for the person, least of all a choice."""
    found = refusal(META, event(source="app", app=app, device=device, extra=extra))
    assert (found.kind, found.field) == ("rejected", field)
    assert found.fix


@pytest.mark.parametrize(
    ("app", "device", "flags"),
    [
        (App(att_status="authorized"), IPHONE, {"advertiser_tracking_enabled": 1}),
        (App(att_status="denied"), IPHONE, {"advertiser_tracking_enabled": 0}),
        (None, ANDROID, {"advertiser_tracking_enabled": 1}),
        (App(att_status="not_applicable"), ANDROID, {"advertiser_tracking_enabled": 1}),
        (App(att_status="denied"), ANDROID, {"advertiser_tracking_enabled": 0}),
        (
            App(application_tracking=False),
            ANDROID,
            {"advertiser_tracking_enabled": 0, "application_tracking_enabled": 0},
        ),
    ],
)
def test_app_event_needs_the_prompts_answer_where_there_is_a_prompt(
    app: App | None, device: Device, flags: dict[str, int]
) -> None:
    """The choice inside the app is optional; Android never asks."""
    sent = body(META, event(source="app", app=app, device=device))["app_data"]
    assert {key: value for key, value in sent.items() if key.endswith("enabled")} == flags


def test_extra_may_bring_the_app_data() -> None:
    """What ``extra`` supplies is not asked for again."""
    app_data = {
        "advertiser_tracking_enabled": 0,
        "application_tracking_enabled": 0,
        "extinfo": ["a2", "", "", "", "14", *[""] * 11],
        "campaign_ids": "c",
        "url_schemes": ["acme"],
    }
    assert body(META, event(source="app", extra={"meta": {"app_data": app_data}}))["app_data"] == app_data
    short = {**app_data, "extinfo": ["a2"]}
    assert refusal(META, event(source="app", extra={"meta": {"app_data": short}})).field == "extra.app_data.extinfo"


def test_web_event_carries_no_app_data() -> None:
    """An app beside a website event is its install id only."""
    sent = body(META, event(app=App(install_id="i-1"), device=IPHONE))
    assert "app_data" not in sent
    assert "anon_id" not in sent["user_data"]


def test_app_event_names_install_and_vendor() -> None:
    """``anon_id`` is documented for app events only; the vendor's id has a place among the app's facts."""
    app = App(install_id="i-1", att_status="authorized")
    user = User(email="anna@example.com", idfv="6D92078A-8246-4BA4-AE5B-76104861E7DC")
    sent = body(META, event(source="app", app=app, device=IPHONE, user=user))
    assert sent["user_data"]["anon_id"] == "i-1"
    assert sent["app_data"]["vendor_id"] == "6D92078A-8246-4BA4-AE5B-76104861E7DC"


@pytest.mark.parametrize(
    ("given", "digest"),
    [
        ("USER456", "c670f7b23c1bf997ec890e9d23ea7c016e12b243bdbd151f08baf5f0b86a7c5e"),
        (" user 123 id", "8efe14adcaa49442f32f5292f2d8abc71fbbb7fa2aea663a201db21af978e6bd"),
    ],
)
def test_external_id_is_hashed_as_the_parameter_builder_does(given: str, digest: str) -> None:
    """Lower case, without white space."""
    assert body(META, event(user=User(external_id=given)))["user_data"]["external_id"] == [digest]


@pytest.mark.parametrize(
    ("state", "country", "code"),
    [("Ontario", "CA", "on"), ("Québec", "ca", "qc"), ("Newfoundland & Labrador", "CA", "nl"), ("Ontario", None, "on"),
     ("ON", "CA", "on"), ("CA-BC", "CA", "bc"), ("California", None, "ca"), ("Ontario", "US", "ontario"),
     ("Bayern", "DE", "bayern")],
)  # fmt: skip
def test_state_of_canada_is_its_code(state: str, country: str | None, code: str) -> None:
    """As those of the US."""
    sent = body(META, event(user=User(email="anna@example.com", state=state, country=country)))["user_data"]
    assert sent["st"] == [sha256(code.encode()).hexdigest()]


# Purchases, amounts and properties


@pytest.mark.parametrize(
    ("fields", "missing"),
    [({}, "value"), ({"currency": "USD"}, "value"), ({"value": 1}, "currency")],
)
@pytest.mark.parametrize("extra", [{}, {"meta": {"x": 1}}])
@pytest.mark.parametrize("name", ["purchase", "Purchase"])
def test_purchase_needs_value_and_currency(
    name: str, extra: dict[str, Any], fields: dict[str, Any], missing: str
) -> None:
    """Meta refuses it otherwise (2804009), under whichever name it was given."""
    found = refusal(META, event(name, extra=extra, **fields))
    assert (found.kind, found.field) == ("rejected", missing)


def test_value_without_currency_is_sent_with_a_warning_elsewhere() -> None:
    """Only a purchase requires the two."""
    assert "currency" in warned(event("lead", value=1))
    assert "currency" in warned(event("lead", value=1, properties={"a": 1}))


def test_amounts_are_numbers_digit_by_digit() -> None:
    """Major units, never through a binary float, and never with an exponent."""
    sent = event(
        "subscribe",
        value="72.39",
        currency="usd",
        predicted_ltv=0.1,
        items=[Item(id="a", price="1E+2", quantity=3), Item(id="b", price="0.10")],
    )
    raw = ENCODER.encode(made(META, sent).body).decode()
    assert '"value":72.39' in raw
    assert '"currency":"USD"' in raw
    assert '"predicted_ltv":0.1' in raw
    assert '"item_price":100' in raw
    assert '"item_price":0.10' in raw
    assert '"num_items":4' in raw


def test_every_canonical_fact_has_its_place() -> None:
    """The whole of ``custom_data``, and the ids beside it."""
    sent = body(
        META,
        event(
            "search",
            value=5,
            currency="EUR",
            order_id="o-1",
            num_items=9,
            content_type="product_group",
            content_name="n",
            content_category="c",
            search_string="shoes",
            delivery_category="in_store",
            subscription_id="s-1",
            description="not sent",
            method="not sent",
            items=[Item(id="A", variant="not sent")],
            user=User(email="anna@example.com", idfv="not sent"),
            click=ClickIds(fbp="fb.1.1596403881668.1116446470"),
        ),
    )
    assert sent["custom_data"] == {
        "value": 5,
        "currency": "EUR",
        "order_id": "o-1",
        "num_items": 9,
        "content_type": "product_group",
        "content_name": "n",
        "content_category": "c",
        "search_string": "shoes",
        "delivery_category": "in_store",
        "content_ids": ["A"],
        "contents": [{"id": "A", "quantity": 1}],
    }
    assert sent["user_data"]["subscription_id"] == "s-1"
    assert sent["user_data"]["fbp"] == "fb.1.1596403881668.1116446470"
    assert b"not sent" not in msgspec.json.encode(sent)


def test_empty_custom_data_is_left_out() -> None:
    """A page view says nothing of a purchase."""
    assert "custom_data" not in body(META, event())


def test_plain_properties_become_custom_data_and_override_nothing() -> None:
    """Texts, numbers and booleans; what the event itself says stays."""
    sent = event("sign_up", value=1, currency="USD", properties={"status": True, "net_revenue": 0.5, "value": 99})
    assert body(META, sent)["custom_data"] == {"value": 1, "currency": "USD", "status": True, "net_revenue": 0.5}


def test_other_properties_are_left_out_with_a_warning() -> None:
    """Meta documents scalars only; lists travel through ``extra``."""
    sent = event(properties={"list": [1], "object": {"a": 1}, "none": None})
    assert "custom_data" not in body(META, sent)
    assert "properties" in warned(sent)
    assert warned(event(properties={"none": None})) == ""


# People


def test_several_values_and_ready_digests_are_passed_on() -> None:
    """Lists keep their order; a digest goes through where its variant is Meta's."""
    digest = "AB" * 32
    sent = body(
        META,
        event(user=User(email=["anna@example.com", Hashed(digest)], phone=Hashed(digest, "phone_e164"), ip="1.2.3.4")),
    )
    assert sent["user_data"]["em"] == [ANNA_HASH, digest.lower()]
    assert "ph" not in sent["user_data"]


def test_only_f_and_m_are_sent_as_gender() -> None:
    """Meta has no third value; a ready digest is trusted."""
    woman = "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"
    assert body(META, event(user=User(email="anna@example.com", gender="female")))["user_data"]["ge"] == [woman]
    assert "ge" not in body(META, event(user=User(email="anna@example.com", gender="n")))["user_data"]
    assert body(META, event(user=User(email="anna@example.com", gender=Hashed(woman))))["user_data"]["ge"] == [woman]


BROAD = {
    "city": "Berlin", "country": "DE", "state": "Berlin", "zip": "10115", "gender": "f", "user_agent": "Mozilla/5.0",
}  # fmt: skip


@pytest.mark.parametrize(
    "user",
    [
        User(),
        User(user_agent="Mozilla/5.0"),
        User(**BROAD),
        User(zip="10115"),
        User(date_of_birth="1997-12-26", user_agent="Mozilla/5.0"),
        User(date_of_birth="1997-12-26"),
        User(first_name="Anna", gender="f"),
        User(last_name="Berg", gender="f"),
        User(gender="f"),
        User(email="not an address"),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"meta": {"x": 1}}, {"meta": {"user_data": {"lead_id": None}}}])
def test_person_who_could_be_too_many_is_skipped(user: User, extra: dict[str, Any]) -> None:
    """Meta refuses these combinations and every part of them, and with them the whole request."""
    found = refusal(META, event(user=user, extra=extra))
    assert (found.kind, found.field) == ("skipped", "user")


@pytest.mark.parametrize(
    ("click", "note"),
    [
        (ClickIds(fbc=f"fb.1.{AT_MS - 91 * DAY_MS}.IwAR1"), "older than 90 days"),
        (ClickIds(fbc=f"fb.1.{(AT_MS - 91 * DAY_MS) // 1000}.IwAR1"), "older than 90 days"),
        (ClickIds(fbclid="IwAR1", fbclid_seen=AT - timedelta(days=91)), "older than 90 days"),
        (ClickIds(fbc=f"fb.1.{AT_MS + DAY_MS}.IwAR1"), "later than the event"),
        (ClickIds(fbclid=f"fb.1.{AT_MS - 91 * DAY_MS}.IwAR1"), "older than 90 days"),
    ],
)
def test_click_that_is_not_attributed_is_left_out(click: ClickIds, note: str) -> None:
    """Meta's diagnostic names them; the event goes with the rest."""
    sent = event(click=click)
    assert "fbc" not in body(META, sent)["user_data"]
    assert note in warned(sent)


@pytest.mark.parametrize("days", [0, 1, 89])
def test_click_of_the_last_ninety_days_is_sent(days: int) -> None:
    """As given."""
    cookie = f"fb.1.{AT_MS - days * DAY_MS}.IwAR1"
    assert body(META, event(click=ClickIds(fbc=cookie)))["user_data"]["fbc"] == cookie


def test_click_in_the_referrer_counts_where_the_page_has_none() -> None:
    """The page behind a redirect has lost its query."""
    page = Page(url="https://shop.example/thanks?fbclid=New1", referrer="https://shop.example/?fbclid=Old1")
    assert body(META, event(page=page))["user_data"]["fbc"].endswith(".New1")
    page = Page(url="https://shop.example/thanks", referrer="https://shop.example/?a=1&fbclid=Old1#x")
    assert body(META, event(page=page))["user_data"]["fbc"].endswith(".Old1")


@pytest.mark.parametrize(
    "fields",
    [
        {"user": User(email="anna@example.com")},
        {"user": User(phone="+16505551212")},
        {"user": User(external_id="u-1")},
        {"user": User(ip="2001:db8::10")},
        {"user": User(mobile_ad_id="EA7583CD-A667-48BC-B806-42ECB2B48606")},
        {"user": User(), "click": ClickIds(fbc="fb.1.1768000000205.IwAR1aBcD")},
        {"user": User(), "click": ClickIds(fbp="fb.1.1596403881668.1116446470")},
        {"user": User(), "click": ClickIds(fbclid="IwAR1aBcD")},
        {"user": User(first_name="Anna", last_name="Berg")},
        {"user": User(date_of_birth="1997-12-26", zip="10115")},
        {"user": User(first_name="Anna", user_agent="Mozilla/5.0")},
        {"user": User(), "extra": {"meta": {"user_data": {"lead_id": 123456789012345}}}},
        {"user": User(), "extra": {"meta": {"user_data": {"fb_login_id": 7}}}},
        {"user": User(), "extra": {"meta": {"user_data": {"page_id": "1", "page_scoped_user_id": "2"}}}},
    ],
)
def test_person_who_can_be_told_apart_is_sent(fields: dict[str, Any]) -> None:
    """One strong key, or a mix that crosses the broad combinations; an id through ``extra`` counts."""
    assert body(META, event(**fields))["user_data"]


def test_nothing_empty_is_ever_hashed() -> None:
    """The digest of the empty text would join strangers."""
    sent = body(META, event(user=User(email=["", "anna@example.com"], phone=" ", first_name="", city=" - ", zip="")))
    assert sent["user_data"] == {"em": [ANNA_HASH]}


# Click ids

SEEN = datetime(2026, 1, 15, 10, 0, 0, 123_000, tzinfo=UTC)
FRESH = "fb.1.1768471200123.IwAR1aBcD"
AT_EVENT = "fb.1.1768471200250.IwAR1aBcD"
COOKIE = "fb.2.1768000000205.IwAR1aBcD"


@pytest.mark.parametrize(
    ("click", "query", "fbc", "warns"),
    [
        (ClickIds(), "", None, False),
        (ClickIds(fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", FRESH, False),
        (ClickIds(fbclid="IwAR1aBcD"), "", AT_EVENT, True),
        (ClickIds(fbc=COOKIE), "", COOKIE, False),
        # the same click: the cookie knows best when it was first seen
        (ClickIds(fbc=COOKIE, fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", COOKIE, False),
        (ClickIds(fbc=COOKIE), "?fbclid=IwAR1aBcD", COOKIE, False),
        (ClickIds(fbc=f"{COOKIE}.AQ", fbclid="IwAR1aBcD"), "", f"{COOKIE}.AQ", False),
        (ClickIds(fbc=f"{COOKIE}.AQYBAgMB"), "?fbclid=IwAR1aBcD", f"{COOKIE}.AQYBAgMB", False),
        # another click: newer than the cookie
        (ClickIds(fbc="fb.1.1768000000205.Older", fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", FRESH, False),
        (ClickIds(fbc="fb.1.1768000000205.Older"), "?a=1&fbclid=IwAR1aBcD&b=2", AT_EVENT, True),
        (ClickIds(fbc="fb.1.1768000000205.iwar1abcd", fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", FRESH, False),
        (ClickIds(fbc="fb.1.1768000000205.IwAR1aBcD2", fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", FRESH, False),
        # the address alone
        (ClickIds(fbclid_seen=SEEN), "?fbclid=IwAR1aBcD", FRESH, False),
        (ClickIds(fbclid_seen=SEEN), "?fbclid=a%252Bb+c", "fb.1.1768471200123.a%2Bb+c", False),
        (ClickIds(), "?fbclid=&a=1", None, False),
        (ClickIds(), "?xfbclid=1", None, False),
        (ClickIds(), "#?fbclid=1", None, False),
        # a cookie that is none
        (ClickIds(fbc="IwAR1aBcD"), "", None, True),
        (ClickIds(fbc="IwAR1aBcD", fbclid="IwAR1aBcD", fbclid_seen=SEEN), "", FRESH, True),
        *[
            (ClickIds(fbc=odd), "", None, True)
            for odd in (
                "fb.1.1759000000000",
                "fb.1.1759000000000.",
                "undefined",
                '"fb.1.1759000000000.IwAR0"',
                "null",
                "fb.1.x.y",
                "fb.1.1759000000000.Iw AR",
            )
        ],
        # a whole cookie where the id alone belongs
        (ClickIds(fbclid=COOKIE), "", COOKIE, False),
        *[(ClickIds(fbclid=odd), "", None, True) for odd in ("IwAR0 def", "undefined", "[object Object]", 'a"b', "é")],
        (ClickIds(fbc=COOKIE, fbclid="undefined"), "", COOKIE, True),
    ],
)
def test_click_cookie_holds_unless_a_newer_click_is_at_hand(
    click: ClickIds, query: str, fbc: str | None, warns: bool
) -> None:
    """The moment is when the click id was first seen; where only the event's time is known, that is said."""
    sent = event(click=click, page=Page(url=f"https://shop.example/{query}"))
    assert body(META, sent)["user_data"].get("fbc") == fbc
    assert ("fbc" in warned(sent)) is warns


# Consent


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data"])
def test_event_without_consent_is_skipped(choice: str) -> None:
    """Meta has no switch for these: the event stays here."""
    found = refusal(META, event(consent=Consent(**{choice: False})))
    assert (found.kind, found.field) == ("skipped", f"consent.{choice}")


def test_refused_personalisation_is_attribution_only() -> None:
    """``opt_out`` is stated when denied, and not mentioned otherwise."""
    assert body(META, event(consent=Consent(ad_personalization=False)))["opt_out"] is True
    for consent in (None, Consent(), Consent(ad_personalization=True, ad_storage=True, analytics_storage=False)):
        sent = body(META, event(consent=consent))
        assert "opt_out" not in sent
        assert "data_processing_options" not in sent


STATES = {
    "CA": 1000, "CO": 1001, "CT": 1002, "FL": 1003, "OR": 1004, "TX": 1005, "MT": 1006, "DE": 1007, "NE": 1008,
    "NH": 1009, "NJ": 1010, "MN": 1011, "MD": 1012, "RI": 1013,
}  # fmt: skip


@pytest.mark.parametrize(("state", "code"), STATES.items())
def test_limited_use_names_the_state(state: str, code: int) -> None:
    """Country 1 is the United States; the IP is not needed then."""
    sent = event(consent=Consent(sale_opt_out=True, region=f"US-{state}"))
    found = body(META, sent)
    assert found["data_processing_options"] == ["LDU"]
    assert (found["data_processing_options_country"], found["data_processing_options_state"]) == (1, code)
    assert warned(sent) == ""


@pytest.mark.parametrize("region", [None, "US", "US-NY", "DE-BY", "CA"])
def test_limited_use_elsewhere_leaves_the_place_to_meta(region: str | None) -> None:
    """Zeros ask Meta to look at the IP; without one there is a warning."""
    consent = Consent(sale_opt_out=True, region=region)
    for user in (ANNA, User(ip="203.0.113.7", user_agent="M")):
        for extra in ({}, {"meta": {"x": 1}}):
            sent = event(consent=consent, user=user, extra=extra)
            found = body(META, sent)
            assert found["data_processing_options"] == ["LDU"]
            assert (found["data_processing_options_country"], found["data_processing_options_state"]) == (0, 0)
            assert ("data_processing_options" in warned(sent)) is (user is ANNA)


def test_no_opt_out_of_the_sale_is_stated_as_no_limits() -> None:
    """An empty list, without a place."""
    found = body(META, event(consent=Consent(sale_opt_out=False, region="US-CA")))
    assert found["data_processing_options"] == []
    assert "data_processing_options_country" not in found


# Test mode, heads and requests


@pytest.mark.parametrize(
    ("destination", "sent"),
    [(META, event(test=True)), (Meta(pixel_id="1", access_token="T", test=True), event())],
)
def test_test_event_without_a_code_is_skipped(destination: Meta, sent: Event) -> None:
    """Sent without it, it would be an ordinary live event."""
    found = refusal(destination, sent)
    assert (found.kind, found.field) == ("skipped", "test")


def test_every_event_of_a_destination_with_a_code_carries_it() -> None:
    """The code is in the head, so live and test events never share a request."""
    destination = Meta(pixel_id="1", access_token="T", test_event_code="TEST1")
    plain, test = made(destination, event()), made(destination, event(test=True))
    assert decode_head(test.head, MetaHead) == MetaHead("1", "TEST1")
    assert plain.head == test.head
    assert any("counts events" in warning for warning in test.warnings)
    assert decode_head(made(Meta(pixel_id="1", access_token="T"), event()).head, MetaHead) == MetaHead("1")


def test_upload_bookkeeping_belongs_to_the_head() -> None:
    """An event stays with the upload under which it was accepted, whatever the settings say later."""
    before = Meta(pixel_id="1", access_token="T", upload_id="u-1", namespace_id="n", upload_tag="t", upload_source="s")
    after = Meta(pixel_id="1", access_token="T", upload_id="u-2")
    record = made(before, event())
    request = after.request(record.head, [b"{}"], "T")
    assert b"".join(request.body) == (
        b'{"data":[{}],"namespace_id":"n","upload_id":"u-1","upload_tag":"t","upload_source":"s"}'
    )


def test_thousand_events_fill_one_request() -> None:
    """The platform's own limit."""
    many = [event(event_id=str(number)) for number in range(1_001)]
    sizes = [len(msgspec.json.decode(b"".join(request.body))["data"]) for request in requests(META, many)]
    assert sizes == [1_000, 1]


def test_event_may_be_repeated_for_48_hours() -> None:
    """Meta's window for an equal name and id."""
    record = made(META, event())
    assert record.resend_for_s == 48 * 3_600
    assert record.order_key is None


def test_address_and_version_are_settings() -> None:
    """The rest of the path is appended."""
    destination = Meta(pixel_id="123", access_token="T", base_url="https://gate.example/capi/", api_version="v25.0")
    request = requests(destination, [event()])[0]
    assert request.url == "https://gate.example/capi/v25.0/123/events"


def test_app_secret_proves_the_token() -> None:
    """The documented construction, for the token of this very request."""
    destination = Meta(pixel_id="1", access_token=lambda: "EAAB-token", app_secret="appsecret123")
    request = requests(destination, [event()], token="EAAB-token")[0]
    sent = msgspec.json.decode(b"".join(request.body))
    assert sent["appsecret_proof"] == "4444997dff636836312b7f7e89a0d44f5c4b634222b6c59628d59f412c648833"
    assert "EAAB-token" not in request.url


def test_secrets_show_up_nowhere() -> None:
    """Neither in the destination's text, nor in a request's, nor in an address."""
    destination = Meta(
        pixel_id="1", access_token="s3cr3t-token", app_secret="s3cr3t-app", test_event_code="s3cr3t-code"
    )
    request = requests(destination, [event(test=True)], token="s3cr3t-token")[0]
    texts = (repr(destination), str(destination), repr(request), str(request), request.url, repr(destination.secret()))
    assert not any("s3cr3t" in text for text in texts)
    record = made(destination, event())
    # the code is no credential: it is shown to everybody who may see the Test Events tab
    assert b"s3cr3t-t" not in record.head + ENCODER.encode(record.body)
    assert b"s3cr3t-a" not in record.head + ENCODER.encode(record.body)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pixel_id": ""}, "META_PIXEL_ID"),
        ({"access_token": ""}, "META_ACCESS_TOKEN"),
        ({"app_secret": lambda: "later"}, "app_secret"),
        ({"app_secret": Secret(lambda: "later")}, "app_secret"),
        ({"app_secret": ""}, "META_APP_SECRET"),
        ({"test_event_code": " "}, "META_TEST_EVENT_CODE"),
        ({"upload_tag": 7}, "upload_tag"),
        ({"api_version": "26.0"}, "api_version"),
        ({"api_version": "v26"}, "api_version"),
        ({"api_version": "v26.0/me"}, "api_version"),
        ({"api_version": None}, "api_version"),
        ({"max_batch_events": 1_001}, "1000"),
    ],
)
def test_bad_setting_is_refused_by_name(settings: Mapping[str, Any], said: str) -> None:
    """Before anything is sent, and with the variable that would set it."""
    with pytest.raises(ConfigError, match=said):
        Meta(**{"pixel_id": "1", "access_token": "T", **settings})


def test_account_is_the_dataset() -> None:
    """It is stored with every record and is no secret."""
    assert META.account() == "1234567890"
    assert (META.type, META.name, META.wire) == ("meta", "meta", "meta/1")


# Extra


def test_extra_is_merged_deeply() -> None:
    """Objects key by key, lists as a whole; documented fields without a canonical home travel here."""
    extra = {
        "user_data": {"lead_id": 123456789012345, "f5first": ["0" * 64], "partner_id": "p", "ig_sid": "s"},
        "custom_data": {"contents": [{"id": "A", "quantity": 1, "description": "d"}]},
        "original_event_data": {"event_name": "Purchase", "event_time": 1768471200, "order_id": "o-1"},
        "attribution_data": {"scope": "click", "attribution_share": 0.5, "attribution_setting": {"x": 1}},
        "customer_segmentation": "new_customer_to_business",
        "advanced_measurement_table": "t",
    }
    sent = body(
        META, event("add_to_cart", value="1.10", currency="USD", items=[Item(id="A", name="n")], extra={"meta": extra})
    )
    assert sent["user_data"] == {"em": [ANNA_HASH], "client_user_agent": "Mozilla/5.0", **extra["user_data"]}
    assert sent["custom_data"] == {
        "value": 1.1,
        "currency": "USD",
        "content_ids": ["A"],
        "num_items": 1,
        "contents": [{"id": "A", "quantity": 1, "description": "d"}],
    }
    for key in ("original_event_data", "attribution_data", "customer_segmentation", "advanced_measurement_table"):
        assert sent[key] == extra[key]


def test_extra_of_another_destination_is_none_of_metas_business() -> None:
    """It goes by the destination's name first, then by its type."""
    extra = {"snap": {"event_name": "X"}, "meta": {"event_name": "Y"}, "meta_de": {"event_name": "Z"}}
    german = Meta(pixel_id="1", access_token="T", name="meta_de")
    assert body(META, event(extra=extra))["event_name"] == "Y"
    assert body(german, event(extra=extra))["event_name"] == "Z"
    assert body(META, event(extra={"snap": {"event_name": "X"}}))["event_name"] == "PageView"


def test_callers_objects_are_left_as_they_were() -> None:
    """Several destinations read the same event."""
    extra = {"meta": {"custom_data": {"a": 1}, "user_data": {"lead_id": 1}}}
    body(META, event(extra=extra, properties={"b": 2}))
    assert extra == {"meta": {"custom_data": {"a": 1}, "user_data": {"lead_id": 1}}}


@pytest.mark.parametrize(
    "key",
    ["data", "access_token", "appsecret_proof", "test_event_code", "partner_agent", "namespace_id", "upload_id",
     "upload_tag", "upload_source"],
)  # fmt: skip
def test_field_of_the_request_cannot_be_set_by_an_event(key: str) -> None:
    """Inside an event Meta would not know it, and a token does not belong into a spool."""
    found = refusal(META, event(extra={"meta": {key: "x"}}))
    assert (found.kind, found.field) == ("rejected", f"extra.{key}")


@pytest.mark.parametrize(
    "extra",
    [
        {"user_data": None},
        {"user_data": "anna"},
        {"custom_data": [1]},
        {"app_data": 1},
        {"action_source": None},
        {"event_source_url": 5},
        {"event_name": None},
        {"event_name": "x" * 51},
    ],
)
@pytest.mark.parametrize("properties", [{}, {"a": 1}])
def test_extra_that_breaks_the_event_is_rejected(extra: dict[str, Any], properties: dict[str, Any]) -> None:
    """Better here than with the other 999 of its request."""
    assert refusal(META, event(extra={"meta": extra}, properties=properties)).kind == "rejected"


def test_messaging_event_needs_its_channel() -> None:
    """The field that holds it is named, whatever else stands in ``extra``."""
    for extra in ({}, {"meta": {"x": 1}}):
        refused = refusal(META, event(source="business_messaging", extra=extra))
        assert refused.field == "meta.messaging_channel"
        assert "MetaFields(messaging_channel=" in refused.fix


def test_half_of_the_whatsapp_pair_is_warned_of() -> None:
    """Click id and account belong together."""
    extra = {"messaging_channel": "whatsapp", "user_data": {"ctwa_clid": "c"}}
    assert "ctwa_clid" in warned(event(source="business_messaging", extra={"meta": extra}))
    extra["user_data"] = {"ctwa_clid": "c", "whatsapp_business_account_id": "w"}
    assert warned(event(source="business_messaging", extra={"meta": extra})) == ""


def test_decimal_in_extra_stays_exact() -> None:
    """As everywhere: digit by digit."""
    extra = {"meta": {"custom_data": {"net_revenue": Decimal("0.10")}}}
    assert b'"net_revenue":0.10' in ENCODER.encode(made(META, event(extra=extra)).body)
