"""Pinterest API for Conversions v5: mapping, refusals, answers. Replies are documented or recorded ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.destinations.pinterest import Pinterest
from capi_async.destinations.pinterest.names import DESCRIBED, GUIDE_ONLY
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Consent, Device, Event, Hashed, Item, Page, User
from capi_async.outcome import Verdict
from capi_async.spec import ENCODER, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

from .schema import Schema

HOUR = 3_600.0
DAY = 86_400.0
NOON = datetime(2025, 11, 24, 16, tzinfo=UTC)
EMAIL = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
JANE = User(email="jane.doe@example.com")
SCHEMA = Schema(Path(__file__).parent / "pinterest_schema.json", "ConversionEvents")


def pinterest(**settings: Any) -> Pinterest:
    return Pinterest(**{"ad_account_id": "549755885175", "access_token": "pina_SECRET", **settings})


def event(name: str = "page_view", **fields: Any) -> Event:
    return Event(name, **{"user": JANE, "event_id": "e1", "time": NOON, **fields})


def with_extra(**extra: Any) -> Event:
    return event(extra={"pinterest": extra})


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("page_view", "page_visit"),
        ("view_content", "view_content"),
        ("search", "search"),
        ("add_to_cart", "add_to_cart"),
        ("add_to_wishlist", "add_to_wishlist"),
        ("initiate_checkout", "initiate_checkout"),
        ("add_payment_info", "add_payment_info"),
        ("purchase", "checkout"),
        ("lead", "lead"),
        ("sign_up", "signup"),
        ("subscribe", "subscribe"),
        ("start_trial", "start_trial"),
        ("login", "custom"),
        ("contact", "contact"),
        ("download", "custom"),
        ("app_install", "app_install"),
        ("app_open", "app_open"),
        ("view_category", "view_category"),
        ("watch_video", "watch_video"),
        ("schedule", "schedule"),
        ("submit_application", "submit_application"),
        ("something_else", "custom"),
        ("view_list", "view_category"),
        ("find_location", "find_location"),
        ("customize_product", "customize_product"),
        ("share", "custom"),
        ("checkout", "checkout"),
        ("page_visit", "page_visit"),
        ("signup", "signup"),
    ],
)
def test_each_event_has_its_name(ours: str, theirs: str) -> None:
    """A wrong name would be answered with success and filed as unknown."""
    assert body(pinterest(), event(ours))["event_name"] == theirs


def test_every_standard_event_has_an_opinion() -> None:
    """No standard event falls through to ``custom`` by accident."""
    assert set(Pinterest.standard_names) == STANDARD_EVENTS
    assert {name for name in Pinterest.standard_names.values() if name} <= DESCRIBED | GUIDE_ONLY.keys()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("start_trial", "custom"), ("contact", "lead"), ("app_open", "custom"), ("schedule", "custom"), ("lead", "lead")],
)
def test_names_of_the_guide_can_be_switched_off(ours: str, theirs: str) -> None:
    """Accounts for which only the API description holds get its names."""
    assert body(pinterest(guide_names=False), event(ours))["event_name"] == theirs


def test_refund_is_no_event_here() -> None:
    """As a custom event it would count as revenue."""
    found = refusal(pinterest(), event("refund"))
    assert (found.kind, found.field, found.reason) == ("skipped", "name", "no such event here")


def test_override_wins_and_none_skips() -> None:
    """The account's own map is asked first, even for names of the guide."""
    there = pinterest(event_names={"quiz": "quiz_done-2", "search": None, "contact": "contact"}, guide_names=False)
    assert body(there, event("quiz"))["event_name"] == "quiz_done-2"
    assert body(there, event("contact"))["event_name"] == "contact"
    assert refusal(there, event("search")).kind == "skipped"


@pytest.mark.parametrize("name", ["with space", "ä", "", "x" * 101, "Checkout", "page-visit", "sign_up", "trailing\n"])
def test_override_that_can_only_be_a_mistake_is_refused(name: str) -> None:
    """The server would take a misspelt name without a word."""
    with pytest.raises(ConfigError, match="event_names"):
        pinterest(event_names={"quiz": name})


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["", "12a", "1" * 19, "12\n3", 1.5, True])
def test_account_is_checked_when_made(account: object) -> None:
    """A wrong account id fails before any I/O."""
    with pytest.raises(ConfigError, match="ad_account_id"):
        pinterest(ad_account_id=account)


def test_missing_token_names_its_variable() -> None:
    """The error says where the token may come from."""
    with pytest.raises(ConfigError, match="PINTEREST_ACCESS_TOKEN"):
        pinterest(access_token="")


def test_token_shows_nowhere() -> None:
    """Neither the destination nor a request prints it."""
    there = pinterest()
    [made] = requests(there, [event()], token="pina_SECRET")
    assert made.headers["Authorization"] == "Bearer pina_SECRET"
    assert "SECRET" not in made.url
    assert "SECRET" not in f"{there!r} {there} {made!r} {made}"


def test_documented_rate_is_never_exceeded() -> None:
    """5,000 requests in any minute, the burst included."""
    assert Pinterest.limits.requests_per_s * 60 + Pinterest.limits.burst <= 5_000


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [
        User(email="jane.doe@example.com"),
        User(email=Hashed(EMAIL)),
        User(mobile_ad_id="EA7583CD-A667-48BC-B806-42ECB2B48606"),
        User(ip="203.0.113.9", user_agent="Browser/1"),
    ],
)
def test_these_identify_somebody(user: User) -> None:
    """An e-mail, a mobile id, or an address with its browser."""
    assert isinstance(wire(pinterest(), event(user=user)), Wire)


@pytest.mark.parametrize(
    "user",
    [
        User(),
        User(phone="+14155552671"),
        User(external_id="user-123"),
        User(ip="203.0.113.9"),
        User(user_agent="Browser/1"),
        User(ip="0.0.0.0", user_agent="Browser/1"),  # noqa: S104 - the address that stands for none
        User(first_name="Jane", last_name="Doe", city="Berlin", country="DE"),
        User(email="not an address"),
    ],
)
def test_these_identify_nobody(user: User) -> None:
    """Pinterest would refuse the whole request for one such event."""
    found = refusal(pinterest(), event(user=user, click=ClickIds(epik="dj0y")))
    assert (found.kind, found.field) == ("skipped", "user")


def test_identity_given_through_extra_counts() -> None:
    """The rule is applied to what would leave."""
    made = body(pinterest(), event(user=User(), extra={"pinterest": {"user_data": {"em": [EMAIL]}}}))
    assert made["user_data"] == {"em": [EMAIL]}


def test_identity_taken_away_through_extra_counts_too() -> None:
    """An empty list identifies nobody."""
    assert refusal(pinterest(), with_extra(user_data={"em": []})).kind == "skipped"


def test_several_addresses_travel_as_a_list() -> None:
    """All identifiers that Pinterest lists are arrays."""
    made = body(pinterest(), event(user=User(email=["jane.doe@example.com", "j@example.com"])))
    assert made["user_data"]["em"][0] == EMAIL
    assert len(made["user_data"]["em"]) == 2


def test_gender_n_and_inner_spaces_of_names_are_kept() -> None:
    """Pinterest knows n, and its names are hashed by the literal rule."""
    made = body(pinterest(), event(user=User(email="a@b.example", gender="non-binary", first_name=" Zoë ")))
    assert made["user_data"]["ge"] == ["1b16b1df538ba12dc3f97edbb85caa7050d46c148134290feba80f8236c83db9"]
    assert made["user_data"]["fn"] == ["2752b88686847fa5c86f47b94ce652b7b3f22a91c37617d451a4db9afa431450"]


# -- sources, times, test mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "there", "resend_for_s"),
    [
        ("website", "web", 48 * HOUR),
        ("offline", "offline", 0.0),
        ("physical_store", "offline", 0.0),
        ("phone_call", "offline", 0.0),
        ("email", "offline", 0.0),
        ("chat", "offline", 0.0),
        ("system_generated", "offline", 0.0),
        ("crm", "offline", 0.0),
        ("business_messaging", "offline", 0.0),
        ("other", "offline", 0.0),
    ],
)
def test_each_source_has_its_action_source(source: Any, there: str, resend_for_s: float) -> None:
    """Offline events are never de-duplicated, so no second copy of them may leave."""
    made = wire(pinterest(), event(source=source))
    assert isinstance(made, Wire)
    assert made.body.action_source == there
    assert made.resend_for_s == resend_for_s


@pytest.mark.parametrize(("os", "there"), [("ios", "app_ios"), ("Android", "app_android")])
def test_app_events_name_their_system(os: str, there: str) -> None:
    """The system decides the source."""
    made = wire(pinterest(), event(source="app", device=Device(os=os)))
    assert isinstance(made, Wire)
    assert made.body.action_source == there
    assert made.resend_for_s == 48 * HOUR


@pytest.mark.parametrize("device", [None, Device(), Device(os="windows")])
def test_app_events_on_an_unknown_system_are_rejected(device: Device | None) -> None:
    """There is no action source for them."""
    found = refusal(pinterest(), event(source="app", device=device))
    assert (found.kind, found.field) == ("rejected", "device.os")


def test_source_changed_through_extra_decides_the_repeat() -> None:
    """What leaves is what counts."""
    made = wire(pinterest(), with_extra(action_source="offline"))
    assert isinstance(made, Wire)
    assert made.resend_for_s == 0.0


def test_events_expire_after_seven_days_unless_told_otherwise() -> None:
    """The vendor states no age, so the figure is a setting."""
    made, longer = wire(pinterest(), event()), wire(pinterest(max_age_s=30 * DAY), event())
    assert isinstance(made, Wire)
    assert isinstance(longer, Wire)
    assert made.expires_at == NOON.timestamp() + 7 * DAY
    assert longer.expires_at == NOON.timestamp() + 30 * DAY


def test_test_events_never_share_a_request_with_live_ones() -> None:
    """The switch is in the query, in lower case, and absent otherwise."""
    live, test = wire(pinterest(), event()), wire(pinterest(), event(test=True))
    assert isinstance(live, Wire)
    assert isinstance(test, Wire)
    assert live.head != test.head
    assert wire(pinterest(test=True), event()) == test
    assert [made.url.partition("/events")[2] for made in requests(pinterest(), [event(), event(test=True)])] == [
        "",
        "?test=true",
    ]


def test_test_mode_takes_twenty_events_and_drops_none() -> None:
    """The engine is told the limit; a request that is larger nevertheless still holds everything."""
    there = pinterest()
    live, test = wire(there, event()), wire(there, event(test=True))
    assert isinstance(live, Wire)
    assert isinstance(test, Wire)
    assert there.batch_limit(live.head) == 1_000
    assert there.batch_limit(test.head) == 20
    assert pinterest(max_batch_events=7).batch_limit(test.head) == 7
    raw = ENCODER.encode(test.body)
    sent = there.request(test.head, [raw] * 25, "TOKEN")
    assert len(json.loads(b"".join(sent.body))["data"]) == 25


# -- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [("72.39", "72.39"), (19.99, "19.99"), (1500, "1500"), ("1E+3", "1000"), ("0.0000001", "0.0000001"), ("0", "0")],
)
def test_amounts_are_plain_decimal_text(value: Any, text: str) -> None:
    """Money is text, never a float and never with an exponent."""
    made = body(pinterest(), event("purchase", value=value, items=[Item(id="a", price=value)]))
    assert made["custom_data"]["value"] == text
    assert made["custom_data"]["contents"][0]["item_price"] == text


def test_purchase_needs_no_value() -> None:
    """Pinterest counts it with the account's currency."""
    assert "custom_data" not in body(pinterest(), event("purchase"))


def test_counts_are_numbers_and_the_sum_of_quantities_by_default() -> None:
    """Swapping money and counts is the most common rejection."""
    items = [Item(id="a", quantity=2), Item(id="b", quantity=3)]
    assert body(pinterest(), event(items=items))["custom_data"]["num_items"] == 5
    assert body(pinterest(), event(items=items, num_items=9))["custom_data"]["num_items"] == 9
    assert body(pinterest(), event(num_items=4))["custom_data"] == {"num_items": 4}


def test_brand_is_stated_when_all_items_share_it() -> None:
    """Two brands are none."""
    one = [Item(id="a", brand="Acme"), Item(id="b", brand="Acme")]
    two = [Item(id="a", brand="Acme"), Item(id="b", brand="Other")]
    assert body(pinterest(), event(items=one))["custom_data"]["content_brand"] == "Acme"
    assert "content_brand" not in body(pinterest(), event(items=two))["custom_data"]


def test_page_address_leaves_without_addresses_of_people() -> None:
    """Click ids in the query stay, e-mails go."""
    url = "https://shop.example/?epik=dj0y&mail=jane%40example.com"
    made = body(pinterest(), event(page=Page(url=url)))
    assert "epik=dj0y" in made["event_source_url"]
    assert "jane" not in made["event_source_url"]


def test_free_properties_never_leave() -> None:
    """The strict schema would refuse the whole request."""
    assert body(pinterest(), event(properties={"colour": "red"})) == body(pinterest(), event())


def test_device_facts_that_exceed_the_limits_are_left_out_with_a_warning() -> None:
    """A long carrier name must not cost a purchase, nor its neighbours."""
    device = Device(os="beos", carrier="x" * 101, cpu_cores=5_000, timezone_abbr="Europe", screen_density="2.5")
    made = wire(pinterest(), event(device=device, app=App(id="x" * 201, name="Shop")))
    assert isinstance(made, Wire)
    sent = json.loads(ENCODER.encode(made.body))
    assert sent["device_info"] == {"os_family": "other"}
    assert sent["app_info"] == {"app_name": "Shop"}
    assert len(made.warnings) == 4
    assert "device_info.carrier is beyond Pinterest's limit and was left out" in made.warnings


def test_device_of_which_nothing_is_left_is_not_sent() -> None:
    """No empty objects."""
    made = body(pinterest(), event(device=Device(carrier="x" * 101), app=App()))
    assert not made.keys() & {"device_info", "app_info"}


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("DE_de", "de"), ("fr", "fr"), ("fil-PH", None)])
def test_language_has_two_letters(locale: str, language: str | None) -> None:
    """The key knows ISO 639-1 only."""
    assert body(pinterest(), event(device=Device(locale=locale))).get("language") == language


# -- extra ------------------------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "event_name": "custom", "action_source": "web", "event_time": 1, "event_id": "x", "event_source_url": "u",
    "opt_out": True, "partner_name": "ss-x", "app_id": "a", "app_name": "a", "app_version": "a", "device_brand": "a",
    "device_carrier": "a", "device_model": "a", "device_type": "a", "os_version": "a", "wifi": True, "language": "en",
    "advertiser_tracking_enabled": False,
    "user_data": {
        "em": [EMAIL], "ph": [EMAIL], "ge": [EMAIL], "db": [EMAIL], "ln": [EMAIL], "fn": [EMAIL], "ct": [EMAIL],
        "st": [EMAIL], "zp": [EMAIL], "country": [EMAIL], "external_id": [EMAIL], "hashed_maids": [EMAIL],
        "client_ip_address": "203.0.113.9", "client_user_agent": "B", "click_id": "c", "partner_id": "p",
        "customer_type": "new",
    },
    "custom_data": {
        "currency": "USD", "value": "1", "order_id": "o", "num_items": 1, "content_ids": ["a"], "content_name": "n",
        "content_category": "c", "content_brand": "b", "search_string": "s", "opt_out_type": "LDP",
        "predicted_ltv": "1", "np": "ss-x", "external_measurement_id": "m", "external_measurement_vendor_id": 1,
        "contents": [
            {"id": "a", "item_price": "1", "quantity": 1, "item_name": "n", "item_category": "c", "item_brand": "b",
             "item_brand_id": "1"},
        ],
    },
    "app_info": {
        "app_id": "a", "app_name": "a", "app_package_name": "a", "app_store": "a", "app_version": "a",
        "install_time": 1, "user_agent": "a", "window_height": 1, "window_width": 1,
    },
    "device_info": {
        "brand": "a", "model": "a", "carrier": "a", "type": "a", "kernel_version": "a", "os_family": "ios",
        "os_name": "a", "os_release_name": "a", "os_version": "a", "form_factor": "tv", "network_type": "cellular_5g",
        "languages": ["en"], "locale": "en-us", "timezone": "UTC", "timezone_abbr": "UTC", "battery_level": 100,
        "cpu_cores": 8, "screen_density": 460, "screen_height": 1, "screen_width": 1, "storage_size": 1,
        "storage_free_space": 1, "external_storage_size": 1, "external_storage_free_space": 1,
    },
}  # fmt: skip
UNDESCRIBED = [
    "$.data[0].advertiser_tracking_enabled: unknown",
    "$.data[0].custom_data.contents[0].item_brand_id: unknown",
]


def test_every_documented_key_can_be_set() -> None:
    """Keys without a canonical field travel through ``extra``; the two that the description lacks are named."""
    made = body(pinterest(), with_extra(**EVERYTHING))
    assert made == EVERYTHING
    assert sorted(SCHEMA.problems({"data": [made]})) == UNDESCRIBED


def test_extra_is_laid_deeply_over_the_event_and_none_removes() -> None:
    """Objects are merged key by key, lists are replaced."""
    made = body(
        pinterest(name="pin_de"),
        event(
            value=5, order_id="1", items=[Item(id="a")],
            extra={"pin_de": {"custom_data": {"order_id": None, "content_ids": ["b"], "np": "ss-x"}}},
        ),
    )  # fmt: skip
    assert made["custom_data"] == {
        "value": "5",
        "num_items": 1,
        "content_ids": ["b"],
        "contents": [{"id": "a", "quantity": 1}],
        "np": "ss-x",
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"colour": "red"},
        {"custom_data": {"category_name": "x"}},
        {"user_data": {"hashed_email": ["x"]}},
        {"app_info": {"x": 1}},
        {"device_info": {"x": 1}},
        {"custom_data": {"contents": [{"price": "1"}]}},
        {"custom_data": {"value": 72.39}},
        {"custom_data": {"num_items": "3"}},
        {"user_data": {"em": EMAIL}},
        {"user_data": {"em": ["jane.doe@example.com"]}},
        {"user_data": None},
        {"event_name": "not a name"},
        {"action_source": "website"},
        {"opt_out": "yes"},
        {"device_info": {"battery_level": 101}},
        {"device_info": {"form_factor": "fridge"}},
        {1: 2},
        {"custom_data": object()},
    ],
)
def test_extra_outside_the_schema_is_rejected_here(extra: Any) -> None:
    """One stray key would refuse a thousand events there."""
    found = refusal(pinterest(), event(extra={"pinterest": extra}))
    assert found.kind == "rejected"
    assert found.field.startswith("extra")
    assert "jane" not in found.reason
    assert "fridge" not in found.reason


# -- consent ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data"])
def test_without_consent_nothing_leaves(choice: str) -> None:
    """``opt_out`` would still hand over the identifiers."""
    found = refusal(pinterest(), event(consent=Consent(**{choice: False})))
    assert (found.kind, found.field) == ("skipped", f"consent.{choice}")


def test_personalisation_denied_is_an_opt_out() -> None:
    """Pinterest has a switch for it."""
    assert body(pinterest(), event(consent=Consent(ad_personalization=False)))["opt_out"] is True


def test_what_was_granted_or_not_stated_is_not_mentioned() -> None:
    """Nothing is claimed about the person."""
    granted = Consent(ad_storage=True, ad_user_data=True, ad_personalization=True, sale_opt_out=False, region="US-CA")
    assert body(pinterest(), event(consent=granted)) == body(pinterest(), event())
    assert body(pinterest(), event(consent=Consent(analytics_storage=False))) == body(pinterest(), event())


CA = ["6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"]
US = ["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"]


def test_sale_opt_out_limits_processing_with_the_residency() -> None:
    """The region is where the person lives, which is what the flag goes by."""
    user = User(email="jane.doe@example.com", state="NY", country="US")
    made = body(pinterest(), event(user=user, consent=Consent(sale_opt_out=True, region="US-CA")))
    assert made["custom_data"] == {"opt_out_type": "LDP"}
    assert made["user_data"]["st"] == CA
    assert made["user_data"]["country"] == US


def test_sale_opt_out_without_region_keeps_what_is_known() -> None:
    """The flag alone is complete."""
    made = body(pinterest(), event(value=1, consent=Consent(sale_opt_out=True)))
    assert made["custom_data"] == {"value": "1", "opt_out_type": "LDP"}
    assert made["user_data"] == {"em": [EMAIL]}


def test_region_of_another_country_takes_the_state_away() -> None:
    """A state without its country would mislead."""
    user = User(email="jane.doe@example.com", state="BE", country="DE")
    elsewhere = body(pinterest(), event(user=user, consent=Consent(sale_opt_out=True, region="US")))
    assert elsewhere["user_data"]["country"] == US
    assert "st" not in elsewhere["user_data"]
    user = User(email="jane.doe@example.com", state="CA", country="US")
    same = body(pinterest(), event(user=user, consent=Consent(sale_opt_out=True, region="US")))
    assert same["user_data"]["st"] == CA


@pytest.mark.parametrize(
    ("status", "opt_out", "flag"),
    [
        ("denied", True, False),
        ("restricted", True, False),
        ("authorized", None, True),
        ("not_determined", None, False),
        (None, None, None),
    ],
)
def test_tracking_permission_of_an_app(status: Any, opt_out: bool | None, flag: bool | None) -> None:
    """A denial is an opt-out; the flag itself leaves only when asked for."""
    install = event("app_install", source="app", app=App(id="1", att_status=status), device=Device(os="ios"))
    made = body(pinterest(), install)
    assert made.get("opt_out") is opt_out
    assert "advertiser_tracking_enabled" not in made
    assert body(pinterest(tracking_flag=True), install).get("advertiser_tracking_enabled") is flag


def test_tracking_permission_says_nothing_on_the_web() -> None:
    """There ``opt_out`` means something else."""
    made = body(pinterest(tracking_flag=True), event(app=App(id="1", att_status="denied")))
    assert not made.keys() & {"opt_out", "advertiser_tracking_enabled"}


# -- the vendor's schema ----------------------------------------------------------------------------------------------

_text = st.text(max_size=120)
_money = st.decimals(min_value=0, max_value=10**9, places=3)
_items = st.lists(
    st.builds(
        Item, id=st.text(min_size=1), quantity=st.integers(1, 99), price=st.none() | _money, brand=st.none() | _text,
        name=st.none() | _text,
    ),
    max_size=3,
)  # fmt: skip
_devices = st.builds(
    Device, os=st.sampled_from(["ios", "android", "plan9"]), carrier=_text, locale=_text, timezone=_text,
    timezone_abbr=_text, cpu_cores=st.integers(0, 2_000), storage_gb=st.integers(0, 2**21),
    screen_density=st.none() | _money, screen_width=st.integers(0, 40_000),
)  # fmt: skip
_apps = st.builds(
    App, id=_text, name=_text, version=_text, install_time=st.none() | st.datetimes(timezones=st.just(UTC))
)  # fmt: skip


@given(
    source=st.sampled_from(["website", "app", "crm"]),
    items=_items,
    value=st.none() | _money,
    device=_devices,
    app=st.builds(
        App, id=_text, name=_text, version=_text, install_time=st.none() | st.datetimes(timezones=st.just(UTC))
    ),
    consent=st.builds(Consent, ad_personalization=st.booleans(), sale_opt_out=st.booleans()),
)
def test_whatever_leaves_fits_the_vendors_schema(**fields: Any) -> None:
    """Checked against the API description itself."""
    made = wire(pinterest(partner_name="ss-x"), event("purchase", currency="EUR", **fields))
    if isinstance(made, Wire):
        assert SCHEMA.problems({"data": [json.loads(ENCODER.encode(made.body))]}) == []
    else:
        assert made.field == "device.os"


@pytest.mark.parametrize("case", ["web_batch", "app_install", "offline_order", "test_mode"])
def test_golden_requests_fit_the_vendors_schema(case: str) -> None:
    """The expected bodies were written by hand."""
    golden = json.loads((Path(__file__).parent / f"golden/pinterest/{case}.json").read_text("utf-8"))
    for request in golden["requests"]:
        assert SCHEMA.problems(request["body"]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": None},
        {"user_data": {"ph": [EMAIL]}},
        {"user_data": {"client_ip_address": "203.0.113.9"}},
        {"user_data": {"em": EMAIL}},
        {"custom_data": {"value": 1.5}},
        {"custom_data": {"colour": "red"}},
    ],
)
def test_the_schema_check_itself_refuses_what_the_vendor_refuses(change: dict[str, Any]) -> None:
    """A checker that passes everything would prove nothing."""
    good = body(pinterest(), event())
    assert SCHEMA.problems({"data": [good]}) == []
    assert SCHEMA.problems({"data": [{**good, **change}]})
    assert SCHEMA.problems({"data": []})
    assert SCHEMA.problems({"data": [good] * 1_001})


# -- answers ----------------------------------------------------------------------------------------------------------


def row(status: str = "processed", error: str | None = None, warning: str | None = None) -> dict[str, Any]:
    return {"status": status, "error_message": error, "warning_message": warning}


def answer(*rows: dict[str, Any], received: int | None = None, processed: int | None = None) -> dict[str, Any]:
    good = sum(one["status"] == "processed" for one in rows)
    return {
        "num_events_received": len(rows) if received is None else received,
        "num_events_processed": good if processed is None else processed,
        "events": list(rows),
    }


def test_all_processed_is_accepted() -> None:
    """Null, empty and missing messages are the same."""
    reply = answer(row(), row(error="", warning=""), {"status": "processed"})
    assert verdicts(pinterest(), 200, reply, 3) == [Verdict(kind="accepted")] * 3


def test_warnings_are_kept_but_are_no_failure() -> None:
    """Nearly every event without an external id carries one."""
    [first, second] = verdicts(pinterest(), 200, answer(row(warning="external_id is missing"), row()), 2)
    assert (first.kind, first.reason) == ("accepted", "external_id is missing")
    assert second.reason == ""


def test_failed_events_are_rejected_alone() -> None:
    """The order of the answer is that of the request."""
    reply = answer(row("failed", "invalid event_time"), row(), row("queued"))
    found = verdicts(pinterest(), 200, reply, 3)
    assert kinds(found) == ["rejected", "accepted", "rejected"]
    assert found[0].reason == "invalid event_time"
    assert found[2].reason == "refused without a reason"


def test_counts_alone_are_enough_when_they_agree() -> None:
    """The list may be empty once nothing failed."""
    reply = {"num_events_received": 2, "num_events_processed": 2, "events": []}
    assert kinds(verdicts(pinterest(), 200, reply, 2)) == ["accepted", "accepted"]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        {},
        {"status": "success"},
        {"num_events_received": 2, "num_events_processed": 1, "events": []},
        answer(row()),
        answer(row(), row(), row()),
        answer(row(), row(), processed=1),
        answer(row(), row(), received=3),
        {"events": [row(), row()]},
        {"num_events_received": "two"},
    ],
)
def test_success_that_does_not_add_up_is_ambiguous(reply: object) -> None:
    """Nobody can tell whether it was counted."""
    assert kinds(verdicts(pinterest(), 200, reply, 2)) == ["ambiguous", "ambiguous"]


def test_failures_stay_certain_when_the_counts_contradict() -> None:
    """Only what claims to be processed is in doubt."""
    reply = answer(row("failed", "no"), row(), processed=0)
    assert kinds(verdicts(pinterest(), 200, reply, 2)) == ["rejected", "ambiguous"]


def test_details_of_a_422_are_read_per_event() -> None:
    """The shape of ``details`` is that of a 200, as far as anybody has seen."""
    reply = {"code": 1, "message": "Not all events processed", "details": answer(row(), row("failed", "bad time"))}
    found = verdicts(pinterest(), 422, reply, 2)
    assert kinds(found) == ["accepted", "rejected"]
    assert found[1].reason == "bad time"


@pytest.mark.parametrize(
    "details",
    [
        None,
        {},
        [],
        "text",
        5,
        {"events": []},
        {"events": "x"},
        {"events": [row()]},
        {"events": [5, 5]},
        answer(row(), row()),
    ],
)
def test_422_without_usable_details_is_split_and_may_be_stored_in_part(details: object) -> None:
    """Offline events, which Pinterest would count twice, are then not sent again."""
    found = verdicts(pinterest(), 422, {"code": 1, "message": "Not all events processed", "details": details}, 2)
    assert kinds(found) == ["split", "split"]
    assert not found[0].atomic
    assert found[0].reason == "Not all events processed"


def test_422_without_any_body_is_split_too() -> None:
    """The status alone says the same."""
    [found] = verdicts(pinterest(), 422, b"", 1)
    assert (found.kind, found.atomic, found.reason) == ("split", False, "HTTP 422")


def test_schema_violation_splits_the_batch() -> None:
    """One stray key refuses everything, and nothing of it was stored."""
    reply = {"code": 4196, "message": "'category_name' was unexpected", "status": "failure"}
    found = verdicts(pinterest(), 400, reply, 3)
    assert kinds(found) == ["split"] * 3
    assert (found[0].atomic, found[0].code) == (True, "4196")
    assert "category_name" in found[0].reason


@pytest.mark.parametrize(
    ("status", "code", "probe"), [(401, 2, True), (401, 3, False), (403, 29, True), (404, 50, True), (401, 99, True)]
)
def test_account_level_refusals_pause(status: int, code: int, probe: bool) -> None:
    """A missing scope is part of the token, so only another token helps."""
    found = verdicts(pinterest(), status, {"code": code, "message": "Authentication failed."}, 2)
    assert kinds(found) == ["unauthorized"] * 2
    assert (found[0].code, found[0].probe, found[0].reason) == (str(code), probe, "Authentication failed.")
    assert found[0].fix


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({}, None),
        ({"x_ratelimit_reset": "53"}, 53.0),
        ({"x_ratelimit_reset": "53, 53;w=60"}, 53.0),
        ({"retry_after": "7"}, 7.0),
        ({"x_ratelimit_reset": "53", "retry_after": "7"}, 53.0),
        ({"x_ratelimit_reset": "1764000000"}, None),
        ({"x_ratelimit_reset": "soon"}, None),
    ],
)
def test_rate_limit_waits_as_long_as_the_headers_say(headers: dict[str, str], after_s: float | None) -> None:
    """Seconds until the window resets, not a date."""
    reply = {"code": 8, "message": "This request exceeded a rate limit."}
    for found in (
        *verdicts(pinterest(), 429, reply, 1, **headers),
        *verdicts(pinterest(), 429, b"slow down", 1, **headers),
        *verdicts(pinterest(), 403, reply, 1, **headers),
    ):
        assert (found.kind, found.throttled, found.after_s) == ("retry", True, after_s)


def test_ramped_down_endpoint_waits_long() -> None:
    """It says that it takes no traffic at all."""
    reply = {"code": 4197, "message": "The endpoint has been ramped down."}
    [found] = verdicts(pinterest(), 503, reply, 1)
    assert (found.kind, found.after_s, found.throttled) == ("retry", 300.0, False)
    assert verdicts(pinterest(), 503, reply, 1, retry_after="900")[0].after_s == 900.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, "retry"),
        (500, "retry"),
        (502, "retry"),
        (413, "split"),
        (302, "unauthorized"),
        (404, "unauthorized"),
        (400, "retry"),
    ],
)
def test_answers_without_a_code_are_read_by_status(status: int, kind: str) -> None:
    """Proxies and outage pages speak no JSON."""
    assert kinds(verdicts(pinterest(), status, b"<html>Bad Gateway</html>", 2)) == [kind, kind]


def test_unknown_code_is_read_by_status_with_its_words() -> None:
    """What the platform said reaches the outcome."""
    [found] = verdicts(pinterest(), 500, {"code": 11, "message": "Something went wrong"}, 1)
    assert (found.kind, found.code, found.reason) == ("retry", "11", "Something went wrong")


def test_echoed_token_is_redacted() -> None:
    """A broken token comes back in the message."""
    for message in ("Invalid token pina_AB12", "Invalid token pina_" + "A" * 80):
        [found] = verdicts(pinterest(), 401, {"code": 2, "message": message}, 1)
        assert found.reason == "Invalid token <redacted>"
    [failed] = verdicts(pinterest(), 200, answer(row("failed", "jane.doe@example.com is bad")), 1)
    assert failed.reason == "<email> is bad"


def test_request_id_of_the_headers_is_kept() -> None:
    """Pinterest documents none, but sends one."""
    reply = answer(row(), row("failed", "no"))
    assert [one.trace_id for one in verdicts(pinterest(), 200, reply, 2, x_pinterest_rid="777")] == ["777", "777"]
    assert verdicts(pinterest(), 500, b"", 1, x_request_id="888")[0].trace_id == "888"
