"""Snap v3: who may pass, what is required, and what each answer means."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from capi_async.destinations.snap import Snap, SnapV2
from capi_async.destinations.snap.names import EVENT_NAMES
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Consent, Device, Event, Hashed, Item, Page, User
from capi_async.spec import DAY, HOUR, Refusal, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

PIXEL = "11111111-2222-3333-4444-555555555555"
APP_ASSET = "66666666-7777-8888-9999-000000000000"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.very-secret/and+odd"
PAGE = Page(url="https://www.example.com/thanks")
JANE = User(email="jane.doe@example.com")
PHONE = Device(os="ios")
SHOP = App(id="1234567890")


def snap(**settings: Any) -> Snap:
    return Snap(**{"pixel_id": PIXEL, "access_token": TOKEN, **settings})


def event(name: str = "page_view", **fields: Any) -> Event:
    return Event(name, **{"user": JANE, "page": PAGE, "time": datetime(2026, 1, 31, tzinfo=UTC), **fields})


NAMES = {
    "page_view": "PAGE_VIEW",
    "view_content": "VIEW_CONTENT",
    "search": "SEARCH",
    "add_to_cart": "ADD_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST",
    "initiate_checkout": "START_CHECKOUT",
    "add_payment_info": "ADD_BILLING",
    "purchase": "PURCHASE",
    "lead": "SIGN_UP",
    "sign_up": "SIGN_UP",
    "subscribe": "SUBSCRIBE",
    "start_trial": "START_TRIAL",
    "login": "LOGIN",
    "app_install": "APP_INSTALL",
    "app_open": "APP_OPEN",
    "view_list": "LIST_VIEW",
    "share": "SHARE",
    "rate": "RATE",
    "save": "SAVE",
    "invite": "INVITE",
    "reserve": "RESERVE",
    "schedule": "RESERVE",
    "tutorial_complete": "COMPLETE_TUTORIAL",
    "level_complete": "LEVEL_COMPLETE",
    "unlock_achievement": "ACHIEVEMENT_UNLOCKED",
    "spend_credits": "SPENT_CREDITS",
    "ad_click": "AD_CLICK",
    "ad_view": "AD_VIEW",
}
#: Standard events that Snap has none for.
NONE_HERE = {
    "contact", "download", "refund", "watch_video", "find_location", "customize_product", "submit_application",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS))
def test_each_standard_event_has_snaps_name_or_is_skipped(name: str) -> None:
    """Those that it has not are named one by one."""
    made = event(name, value="1", currency="USD")
    if name in NAMES:
        assert body(snap(), made)["event_name"] == NAMES[name]
    else:
        assert name in NONE_HERE
        refused = refusal(snap(), made)
        assert (refused.kind, refused.field, refused.reason) == ("skipped", "name", "no such event here")


def test_custom_event_needs_a_slot() -> None:
    """Snap has five numbered slots and no free names."""
    refused = refusal(snap(), event("quiz_done"))
    assert (refused.kind, refused.field) == ("skipped", "name")
    assert "CUSTOM_EVENT_1" in refused.fix
    slotted = snap(event_names={"quiz_done": "CUSTOM_EVENT_2", "lead": "CUSTOM_EVENT_5", "login": None})
    assert body(slotted, event("quiz_done"))["event_name"] == "CUSTOM_EVENT_2"
    assert body(slotted, event("lead"))["event_name"] == "CUSTOM_EVENT_5"
    assert refusal(slotted, event("login")).kind == "skipped"


@pytest.mark.parametrize("name", ["ADD_TO_CART", "SPEND_CREDITS", "CUSTOM_EVENT_6", "purchase", ""])
def test_override_that_snap_does_not_know_is_refused_when_made(name: str) -> None:
    """Two catalogues list names that Snap's own template lacks."""
    with pytest.raises(ConfigError, match="event_names"):
        snap(event_names={"add_to_cart": name})


def test_all_names_of_snaps_template_may_be_chosen() -> None:
    """31 names, the five slots among them."""
    assert len(EVENT_NAMES) == 31
    for name in EVENT_NAMES:
        snap(event_names={"anything": name})


@pytest.mark.parametrize(
    "settings",
    [
        {"pixel_id": ""},
        {"pixel_id": "  "},
        {"pixel_id": 5.5},
        {"access_token": ""},
        {"access_token": "two\nlines"},
        {"snap_app_id": " "},
        {"partner": ""},
        {"limited_use": ""},
        {"base_url": "http://relay.example.com"},
        {"max_batch_events": 2_001},
    ],
)
def test_bad_setting_is_refused_when_made(settings: dict[str, Any]) -> None:
    """Nothing is sent with half an account."""
    with pytest.raises(ConfigError, match="snap") as caught:
        snap(**settings)
    assert TOKEN not in str(caught.value)


def test_missing_token_names_its_variable() -> None:
    """The message says what would set it."""
    with pytest.raises(ConfigError, match="SNAP_ACCESS_TOKEN"):
        snap(access_token="")


# --- sources and what they require


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ("website", "WEB"),
        ("app", "MOBILE_APP"),
        *(
            (source, "OFFLINE")
            for source in (
                "offline", "physical_store", "phone_call", "email", "chat", "system_generated", "crm",
                "business_messaging", "other",
            )
        ),
    ],
)  # fmt: skip
def test_each_source_is_one_of_snaps_three(source: Any, there: str) -> None:
    """Everything that is neither web nor app is offline, and belongs to the pixel."""
    destination = snap(snap_app_id=APP_ASSET)
    made = event(source=source, app=SHOP, device=PHONE)
    assert body(destination, made)["action_source"] == there
    (request,) = requests(destination, [made])
    assert f"/v3/{APP_ASSET if source == 'app' else PIXEL}/events?" in request.url


def test_app_event_without_an_app_asset_is_skipped() -> None:
    """One asset per request: the pixel's would be the wrong one."""
    refused = refusal(snap(), event("app_open", source="app", app=SHOP, device=PHONE))
    assert (refused.kind, refused.field) == ("skipped", "source")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"app": None, "device": PHONE}, "app.id"),
        ({"app": App(name="Shop"), "device": PHONE}, "app.id"),
        ({"app": SHOP, "device": None}, "device.os"),
        ({"app": SHOP, "device": Device(os="windows")}, "device.os"),
    ],
)
def test_app_event_needs_app_and_system(fields: dict[str, Any], field: str) -> None:
    """``app_data`` is required, and its sixteen texts begin with the system."""
    refused = refusal(snap(snap_app_id=APP_ASSET), event("app_open", source="app", **fields))
    assert (refused.kind, refused.field) == ("rejected", field)


@pytest.mark.parametrize(
    ("status", "flag"),
    [("authorized", 1), ("denied", 0), ("restricted", 0), ("not_determined", 0), ("not_applicable", 0), (None, 0)],
)
def test_unknown_tracking_answer_is_a_denial(status: Any, flag: int) -> None:
    """The flag is required on app events; on iOS only a yes is a yes."""
    made = event("app_open", source="app", app=App(id="1", att_status=status), device=PHONE)
    assert body(snap(snap_app_id=APP_ASSET), made)["app_data"]["advertiser_tracking_enabled"] == flag


@pytest.mark.parametrize(
    ("status", "in_app", "flag"),
    [(None, None, 1), ("not_applicable", None, 1), ("not_applicable", True, 1), (None, False, 0), ("denied", True, 0),
     ("restricted", None, 0), ("not_applicable", False, 0), ("authorized", None, 1)],
)  # fmt: skip
def test_android_has_no_prompt_so_only_a_denial_is_a_denial(status: Any, in_app: bool | None, flag: int) -> None:
    """Snap's own Android sample carries 1."""
    app = App(id="1", att_status=status, application_tracking=in_app)
    made = event("app_open", source="app", app=app, device=Device(os="android", os_version="14"))
    assert body(snap(snap_app_id=APP_ASSET), made)["app_data"]["advertiser_tracking_enabled"] == flag


@pytest.mark.parametrize(("settings", "normal"), [({}, "user-77 a"), ({"keep_external_id_case": True}, "User-77 A")])
def test_external_id_is_lower_case_unless_the_old_form_is_kept(settings: dict[str, Any], normal: str) -> None:
    """As Snap's own tag does; names keep their inner spaces for the same reason."""
    user = User(email="a@b.example", external_id=" User-77 A ", first_name="Mary Ann", last_name="O'Brien")
    sent = body(snap(**settings), event(user=user))["user_data"]
    assert sent["external_id"] == sha256(normal.encode()).hexdigest()
    assert sent["fn"] == ["343b97011010c3549fe7fcd6c226ed9431ea37b0b77ed78f6300a0098925faf1"]
    assert sent["ln"] == [sha256(b"obrien").hexdigest()]


def test_website_event_needs_a_page_and_offline_event_says_nothing_about_it() -> None:
    """The key is left out, not null."""
    refused = refusal(snap(), event(page=Page()))
    assert (refused.kind, refused.field) == ("rejected", "page.url")
    assert "event_source_url" not in body(snap(), event(page=Page(), source="offline"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"value": 5}, "currency"), ({"currency": "USD"}, "value"), ({}, "value")],
)
def test_purchase_needs_value_and_currency(fields: dict[str, Any], field: str) -> None:
    """Snap refuses a PURCHASE without them, whatever it is called here."""
    refused = refusal(snap(), event("purchase", **fields))
    assert (refused.kind, refused.field) == ("rejected", field)
    assert refusal(snap(event_names={"sold": "PURCHASE"}), event("sold", **fields)).field == field


def test_free_purchase_is_a_purchase() -> None:
    """Zero is a value."""
    assert body(snap(), event("purchase", value=0, currency="USD"))["custom_data"]["value"] == 0


# --- identity


@pytest.mark.parametrize(
    "user",
    [
        User(email="jane@example.com"),
        User(phone="+14155552671"),
        User(ip="203.0.113.7", user_agent="Mozilla/5.0"),
        User(email=Hashed("a" * 64)),
        User(phone=Hashed("a" * 64, "phone_digits")),
    ],
)
def test_any_one_of_these_identifies(user: User) -> None:
    """Snap's own list."""
    assert isinstance(wire(snap(), event(user=user)), Wire)


@pytest.mark.parametrize(
    "fields",
    [
        {"user": User()},
        {"user": User(ip="203.0.113.7")},
        {"user": User(user_agent="Mozilla/5.0")},
        {"user": User(email="not an address")},
        {"user": User(phone="555 2671")},
        {"user": User(phone=Hashed("a" * 64, "phone_e164"))},
        {"user": User(external_id="user-123", first_name="Jane", last_name="Doe", city="Rome", zip="00100")},
        {"user": User(mobile_ad_id="87A7DEF4-B6E9-4BF7-91B6-66372842007A")},
        {"user": User(), "click": ClickIds(sc_click_id="click", sc_cookie1="cookie")},
    ],
)
def test_nobody_to_identify_is_skipped(fields: dict[str, Any]) -> None:
    """Halves of a pair, names, cookies and click ids do not count; a mobile id does on app events only."""
    refused = refusal(snap(), event(**fields))
    assert (refused.kind, refused.field) == ("skipped", "user")


def test_mobile_id_identifies_on_app_events_and_travels_in_clear() -> None:
    """Lower case, hyphens kept."""
    user = User(mobile_ad_id="87A7DEF4-B6E9-4BF7-91B6-66372842007A")
    made = body(snap(snap_app_id=APP_ASSET), event("app_open", source="app", app=SHOP, device=PHONE, user=user))
    assert made["user_data"] == {"madid": "87a7def4-b6e9-4bf7-91b6-66372842007a"}


@pytest.mark.parametrize(
    ("gender", "sent"),
    [("f", True), ("male", True), ("n", False), ("Atlantean", False), (["n", "f"], True), (["n"], False)]
    + [(Hashed(sha256(text).hexdigest()), known) for text, known in ((b"m", True), (b"n", False), (b"female", False))],
)
def test_snap_knows_two_genders(gender: Any, sent: bool) -> None:
    """Anything else is left out."""
    assert ("ge" in body(snap(), event(user=User(email="a@b.example", gender=gender)))["user_data"]) is sent


# --- consent


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data", "ad_personalization"])
def test_denied_choice_keeps_the_event_here(choice: str) -> None:
    """Snap documents no switch for personalisation, so its denial skips too."""
    refused = refusal(snap(), event(consent=Consent(**{choice: False})))
    assert (refused.kind, refused.field) == ("skipped", f"consent.{choice}")
    assert isinstance(wire(snap(), event(consent=Consent(**{choice: True}))), Wire)


def test_sale_opt_out_limits_the_use() -> None:
    """Only a yes is said, and the token is a setting."""
    assert body(snap(), event(consent=Consent(sale_opt_out=True)))["data_processing_options"] == ["LMU"]
    said = body(snap(limited_use="LDU"), event(consent=Consent(sale_opt_out=True)))
    assert said["data_processing_options"] == ["LDU"]
    for consent in (None, Consent(), Consent(sale_opt_out=False), Consent(analytics_storage=False)):
        assert "data_processing_options" not in body(snap(), event(consent=consent))


# --- amounts, items, times


def test_value_is_a_number_and_item_prices_are_plain_texts() -> None:
    """No exponent and no binary fraction ever shows."""
    made = event(
        "purchase", value="19.90", currency="USD", items=[Item(id="a", price="0.0000001"), Item(id="b", quantity=12)]
    )
    done = wire(snap(), made)
    assert isinstance(done, Wire)
    raw = msgspec.json.Encoder(decimal_format="number").encode(done.body)
    assert b'"value":19.90,' in raw
    assert b'"contents":[{"id":"a","quantity":"1","item_price":"0.0000001"},{"id":"b","quantity":"12"}]' in raw
    assert msgspec.json.decode(raw)["custom_data"]["num_items"] == 13


@pytest.mark.parametrize(
    ("brands", "sent"),
    [(["A", "A"], "A"), (["A", "B"], None), ([None, "B"], None), (["A", "B", None], None), ([None, None], None)],
)
def test_brand_is_said_when_all_items_share_it(brands: list[str | None], sent: str | None) -> None:
    """The order's key takes one text."""
    items = [Item(id=str(index), brand=brand) for index, brand in enumerate(brands)]
    assert body(snap(), event(items=items))["custom_data"].get("brands") == sent


def test_time_is_whole_seconds_and_expires_after_seven_days_unless_told() -> None:
    """A second page says 37 days, hence the setting."""
    time = datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC)
    done = wire(snap(), event(time=time))
    assert isinstance(done, Wire)
    assert body(snap(), event(time=time))["event_time"] == 1769860800
    assert done.expires_at == time.timestamp() + 7 * DAY
    assert done.resend_for_s == 48 * HOUR
    longer = wire(snap(max_age_s=37 * DAY), event(time=time))
    assert isinstance(longer, Wire)
    assert longer.expires_at == time.timestamp() + 37 * DAY


def test_event_without_facts_has_no_custom_data() -> None:
    """Empty objects are not sent."""
    assert set(body(snap(), event())) == {
        "event_name", "event_time", "event_id", "action_source", "user_data", "event_source_url",
    }  # fmt: skip


# --- properties and extra


def test_documented_properties_join_custom_data_and_others_become_text() -> None:
    """``custom_fields`` maps text to text; what the event says itself wins."""
    made = event(
        order_id="real",
        properties={
            "event_tag": "spring",
            "num_adults": 2,
            "order_id": "other",
            "brands": "Acme",
            "loyalty": "gold",
            "points": 12,
            "gift": True,
            "sum": Decimal("1.50"),
            "day": datetime(2026, 1, 31, tzinfo=UTC),
            "tags": ["a", 1],
            "nothing": None,
            "custom_fields": {"own": 1},
        },
    )
    assert body(snap(), made)["custom_data"] == {
        "order_id": "real",
        "event_tag": "spring",
        "num_adults": 2,
        "brands": "Acme",
        "custom_fields": {
            "loyalty": "gold", "points": "12", "gift": "true", "sum": "1.50", "day": "2026-01-31T00:00:00Z",
            "tags": '["a",1]', "own": "1",
        },
    }  # fmt: skip


@pytest.mark.parametrize("key", ["event_tag", "loyalty"])
@pytest.mark.parametrize("value", [object(), {"a": {1, object()}}, [object()], {("a", "b"): 1}])
def test_property_that_json_cannot_say_is_refused(key: str, value: object) -> None:
    """It must not fail later, in the middle of a batch."""
    refused = refusal(snap(), event(properties={key: value}))
    assert (refused.kind, refused.field) == ("rejected", "properties")


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None))
    | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["user_data", "custom_data", "custom_fields", "app_data", "event_tag", "level", "em", "value"])


@given(st.dictionaries(KEYS, JSONISH, max_size=4), st.dictionaries(KEYS, JSONISH, max_size=4))
def test_no_properties_and_no_extra_raise(properties: dict[str, Any], extra: dict[str, Any]) -> None:
    """Whatever a caller lays in, both versions answer with a wire event or a refusal."""
    made = event("purchase", value=1, currency="USD", properties=properties, extra={"snap": extra, "snap_v2": extra})
    for destination in (snap(), SnapV2(pixel_id=PIXEL, access_token=TOKEN)):
        assert isinstance(wire(destination, made), (Wire, Refusal))


def test_extra_merges_deeply_and_changes_nothing_of_the_callers() -> None:
    """Objects key by key, lists replaced; found by name and by type."""
    given = {"custom_data": {"event_tag": "x"}, "user_data": {"lead_id": "7", "em": ["b" * 64]}, "opt_out": False}
    made = body(snap(), event(extra={"snap": given}, properties={"loyalty": "gold"}))
    assert made["custom_data"] == {"event_tag": "x", "custom_fields": {"loyalty": "gold"}}
    assert made["user_data"] == {"em": ["b" * 64], "lead_id": "7"}
    assert made["opt_out"] is False
    assert given["custom_data"] == {"event_tag": "x"}
    named = snap(name="snap_de")
    assert body(named, event(extra={"snap_de": {"opt_out": True}}))["opt_out"] is True
    assert "opt_out" not in body(named, event(extra={"meta": {"opt_out": True}}))


def test_requirements_are_checked_on_the_merged_event() -> None:
    """What extra brings counts, and what it takes away is missed."""
    stranger = event(user=User(), extra={"snap": {"user_data": {"em": ["a" * 64]}}})
    assert isinstance(wire(snap(), stranger), Wire)
    sold = event("purchase", extra={"snap": {"custom_data": {"value": 5, "currency": "USD"}}})
    assert isinstance(wire(snap(), sold), Wire)
    unpaged = event(page=Page(), extra={"snap": {"event_source_url": "https://www.example.com/"}})
    assert isinstance(wire(snap(), unpaged), Wire)
    assert refusal(snap(), event(extra={"snap": {"user_data": {"em": None}}})).field == "user"
    assert refusal(snap(), event(extra={"snap": {"event_source_url": None}})).field == "page.url"
    assert refusal(snap(), event(extra={"snap": {"event_name": "PURCHASE"}})).field == "value"


@pytest.mark.parametrize("part", ["user_data", "custom_data", "app_data"])
@pytest.mark.parametrize("value", ["text", [1]])
def test_extra_that_breaks_the_shape_is_refused(part: str, value: object) -> None:
    """Never an exception, never half an event."""
    refused = refusal(snap(), event(extra={"snap": {part: value}}))
    assert (refused.kind, refused.field) == ("rejected", f"extra.{part}")


def test_an_object_can_be_taken_away_but_for_the_persons() -> None:
    """What of it is required is named."""
    bought = event("page_view", value=1, currency="EUR")
    assert "custom_data" not in body(snap(), replace(bought, extra={"snap": {"custom_data": None}}))
    refused = refusal(snap(), replace(bought, extra={"snap": {"user_data": None}}))
    assert (refused.kind, refused.field) == ("rejected", "extra.user_data")


# --- requests


def test_test_event_goes_to_the_validate_path_and_shares_no_request() -> None:
    """By event or for the whole destination."""
    live, testing = requests(snap(), [event(), event(test=True)])
    assert urlsplit(live.url).path == f"/v3/{PIXEL}/events"
    assert urlsplit(testing.url).path == f"/v3/{PIXEL}/events/validate"
    (always,) = requests(snap(test=True), [event(), event(test=True)])
    assert urlsplit(always.url).path.endswith("/validate")


def test_token_is_percent_encoded_in_the_query_and_shown_nowhere() -> None:
    """Snap wants it in the URL, so the URL is a secret."""
    destination = snap(base_url="https://tr-shadow.snapchat.com/")
    (request,) = requests(destination, [event()], token=TOKEN)
    assert parse_qs(urlsplit(request.url).query) == {"access_token": [TOKEN]}
    assert "/and" not in urlsplit(request.url).query
    assert request.url.startswith("https://tr-shadow.snapchat.com/v3/")
    for shown in (repr(destination), str(destination), repr(request), str(request), repr(destination.secret())):
        assert TOKEN not in shown
        assert "very-secret" not in shown


def test_batch_limit_is_snaps() -> None:
    """2001 events make two requests."""
    first, second = requests(snap(), [event(event_id=str(index)) for index in range(2_001)])
    assert len(msgspec.json.decode(b"".join(first.body))["data"]) == 2_000
    assert len(msgspec.json.decode(b"".join(second.body))["data"]) == 1


# --- answers

VALID = {"status": "VALID", "reason": "Events have been processed successfully."}
INVALID = {"status": "INVALID", "event": 2, "errors": {"codes": ["517"], "error_msgs": ["example message"]}}


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (200, VALID, "accepted"),
        (200, {"status": "VALID"}, "accepted"),
        (200, {"status": "VALID", "surprise": {"a": 1}, "errors": None, "event_logs": None}, "accepted"),
        (200, INVALID, "split"),
        (200, {"status": "SOMETHING"}, "split"),
        (400, INVALID, "split"),
        (400, {"status": "INVALID", "reason": "timestamp invalid or out of range"}, "split"),
        (400, {}, "split"),
        (400, b"", "split"),
        (400, b"Bad Request", "split"),
        (400, b'{"reason": "Unexpected token } in JSON"}', "split"),
        (422, INVALID, "split"),
        (413, b"", "split"),
        (400, {"status": "INVALID", "reason": "Invalid token"}, "unauthorized"),
        (400, b"Invalid token", "unauthorized"),
        (400, {"status": "INVALID", "errors": {"error_msgs": ["The access_token has expired: unauthorized"]}},
         "unauthorized"),
        (200, {"status": "INVALID", "reason": "Invalid token"}, "unauthorized"),
        (401, {"status": "INVALID", "reason": "Invalid token"}, "unauthorized"),
        (401, b"", "unauthorized"),
        (403, VALID, "unauthorized"),
        (404, b"<html>not here</html>", "unauthorized"),
        (302, b"", "unauthorized"),
        (408, b"", "retry"),
        (429, INVALID, "retry"),
        (500, VALID, "retry"),
        (502, b"<html>bad gateway</html>", "retry"),
        (200, b"", "ambiguous"),
        (200, b"<html>hello</html>", "ambiguous"),
        (200, b'{"status": "VAL', "ambiguous"),
        (200, b"\xff\xfe", "ambiguous"),
        (200, [], "ambiguous"),
        (200, {}, "ambiguous"),
        (202, VALID, "ambiguous"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 3])
def test_each_answer_has_its_reading(status: int, answer: object, kind: str, count: int) -> None:
    """The whole table of outcomes; a split verdict alone is the engine's to turn into a rejection."""
    assert kinds(verdicts(snap(), status, answer, count)) == [kind] * count


def test_refusal_keeps_snaps_words_and_code() -> None:
    """And says that a neighbour may have been stored."""
    (verdict,) = verdicts(snap(), 400, INVALID)
    assert (verdict.code, verdict.reason, verdict.atomic) == ("517", "HTTP 400: example message", False)
    (verdict,) = verdicts(snap(), 401, {"status": "INVALID", "reason": "Invalid token"})
    assert verdict.reason == "HTTP 401: Invalid token"
    assert "access_token" in verdict.fix


def test_echoes_are_redacted() -> None:
    """Whatever the answer repeats of token or person."""
    said = {"status": "INVALID", "reason": f"jane.doe@example.com and {TOKEN} and +1 (415) 555-2671"}
    for status in (400, 401):
        (verdict,) = verdicts(snap(), status, said)
        for secret in ("jane", "very-secret", "555"):
            assert secret not in verdict.reason


def test_throttling_waits_as_long_as_asked() -> None:
    """No header is documented; one that comes is honoured."""
    (verdict,) = verdicts(snap(), 429, b"", retry_after="7")
    assert (verdict.throttled, verdict.after_s) == (True, 7.0)
    (verdict,) = verdicts(snap(), 429, b"")
    assert (verdict.throttled, verdict.after_s) == (True, None)


@pytest.mark.parametrize("base", [0, 1])
def test_validate_answer_gives_each_event_its_verdict(base: int) -> None:
    """A complete list tells from where it counts, and need not be in order."""
    logs = [
        {"event": base + 1, "status": "INVALID", "errors": {"codes": [517], "error_msgs": ["bad", "worse"]}},
        {"event": base, "status": "VALID", "warnings": ["no phone"]},
        {"event": base + 2, "status": "VALID", "warnings": []},
    ]
    answer = {"status": "INVALID", "test_event": True, "reason": "…", "event_logs": logs}
    good, bad, fine = verdicts(snap(), 400, answer, 3)
    assert (good.kind, good.reason) == ("accepted", "no phone")
    assert (bad.kind, bad.reason, bad.code) == ("rejected", "bad; worse", "517")
    assert (fine.kind, fine.reason) == ("accepted", "")


@pytest.mark.parametrize(
    "logs",
    [
        [{"event": 1, "status": "INVALID"}],
        [{"event": 1, "status": "INVALID"}, {"event": 3, "status": "VALID"}],
        [{"event": 1, "status": "INVALID"}, {"event": 1, "status": "VALID"}],
        [{"event": 1, "status": "INVALID"}, {"status": "VALID"}],
        [{"event": 2, "status": "INVALID"}, {"event": 3, "status": "VALID"}],
        [{"event": 1, "status": "INVALID"}, {"event": 2, "status": "ODD"}],
    ],
)
def test_validate_answer_that_does_not_tell_which_is_split(logs: list[dict[str, Any]]) -> None:
    """Nothing is guessed."""
    answer = {"status": "INVALID", "test_event": True, "event_logs": logs}
    assert kinds(verdicts(snap(), 400, answer, 2)) == ["split", "split"]
