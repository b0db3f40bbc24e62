"""Snap v2: the flat dialect, the Launchpad, and answers that name events by index."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from capi_async.destinations import destination_class
from capi_async.destinations.snap import SnapV2
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, App, ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.spec import DAY, HOUR, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

from .test_snap import NAMES

PIXEL = "11111111-2222-3333-4444-555555555555"
APP_ASSET = "66666666-7777-8888-9999-000000000000"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.very-secret"
PAGE = Page(url="https://www.example.com/thanks")
JANE = User(email="jane.doe@example.com")


def snap(**settings: Any) -> SnapV2:
    return SnapV2(**{"pixel_id": PIXEL, "access_token": TOKEN, **settings})


def event(name: str = "page_view", **fields: Any) -> Event:
    return Event(name, **{"user": JANE, "page": PAGE, "time": datetime(2026, 1, 31, tzinfo=UTC), **fields})


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS))
def test_names_are_those_of_v3(name: str) -> None:
    """The strings are the same in both versions."""
    made = event(name, value="1", currency="USD")
    if name in NAMES:
        assert body(snap(), made)["event_type"] == NAMES[name]
    else:
        assert refusal(snap(), made).kind == "skipped"
    assert body(snap(event_names={"quiz": "CUSTOM_EVENT_1"}), event("quiz"))["event_type"] == "CUSTOM_EVENT_1"


def test_every_value_is_text() -> None:
    """Numbers too, and no amount shows an exponent."""
    made = body(
        snap(soundex=True, snap_app_id=APP_ASSET, partner="p"),
        event(
            "purchase",
            time=datetime(2026, 1, 31, 12, 0, 0, 346_000, tzinfo=UTC),
            value="0.0000001",
            currency="USD",
            num_items=3,
            properties={"level": 7, "event_tag": True},
            items=[Item(id="a", quantity=2), Item(id="b")],
            user=User(email="a@b.example", first_name="Ann", date_of_birth="1997-12-26", ip="12.34.56.78"),
        ),
    )
    assert all(isinstance(value, str) for value in made.values())
    assert (made["price"], made["timestamp"], made["number_items"]) == ("0.0000001", "1769860800346", "3")
    assert (made["level"], made["event_tag"]) == ("7", "true")


def test_asset_is_inside_the_event_so_one_request_mixes_them() -> None:
    """App events carry the app's ids and no pixel."""
    app = event("app_open", source="app", app=App(id="1234567890"), device=Device(os="ios"))
    (request,) = requests(snap(snap_app_id=APP_ASSET), [event(), app])
    web, mobile = msgspec.json.decode(b"".join(request.body))
    assert (web["pixel_id"], web.get("snap_app_id"), web.get("app_id")) == (PIXEL, None, None)
    assert (mobile.get("pixel_id"), mobile["snap_app_id"], mobile["app_id"]) == (None, APP_ASSET, "1234567890")
    assert mobile["event_conversion_type"] == "MOBILE_APP"


@pytest.mark.parametrize(
    ("settings", "fields", "kind", "field"),
    [
        ({}, {"source": "app", "app": App(id="1")}, "skipped", "source"),
        ({"snap_app_id": APP_ASSET}, {"source": "app"}, "rejected", "app.id"),
        ({}, {"page": Page()}, "rejected", "page.url"),
        ({}, {"name": "purchase", "value": 1}, "rejected", "currency"),
        ({}, {"name": "purchase", "currency": "USD"}, "rejected", "value"),
        ({}, {"user": User(ip="203.0.113.7")}, "skipped", "user"),
        ({}, {"user": User(external_id="1", mobile_ad_id="x")}, "skipped", "user"),
        ({}, {"user": User(first_name="Jane"), "click": ClickIds(sc_click_id="c", sc_cookie1="d")}, "skipped", "user"),
        ({}, {"consent": Consent(ad_storage=False)}, "skipped", "consent.ad_storage"),
        ({}, {"consent": Consent(ad_user_data=False)}, "skipped", "consent.ad_user_data"),
        ({}, {"consent": Consent(ad_personalization=False)}, "skipped", "consent.ad_personalization"),
        ({}, {"name": "quiz"}, "skipped", "name"),
        ({}, {"properties": {"level": object()}}, "rejected", "properties"),
    ],
)
def test_event_that_snap_would_refuse_does_not_leave(
    settings: dict[str, Any], fields: dict[str, Any], kind: str, field: str
) -> None:
    """Each with the field at fault."""
    refused = refusal(snap(**settings), event(**fields))
    assert (refused.kind, refused.field) == (kind, field)


@pytest.mark.parametrize(
    "user", [User(email="a@b.example"), User(phone="+14155552671"), User(ip="203.0.113.7", user_agent="Mozilla")]
)
def test_any_one_of_these_identifies(user: User) -> None:
    """The address is hashed here, unlike in v3."""
    made = body(snap(), event(user=user))
    assert "203.0.113.7" not in made.values()


def test_mobile_id_identifies_on_app_events() -> None:
    """Hashed here, unlike in v3."""
    made = event(
        "app_open", source="app", app=App(id="1"), user=User(mobile_ad_id="87A7DEF4-B6E9-4BF7-91B6-66372842007A")
    )
    sent = body(snap(snap_app_id=APP_ASSET), made)
    assert sent["hashed_mobile_ad_id"] == "5af103f270fdc673b5e121ea929d1e47b2cee679e2059226a23c4cba37f8c9a9"


def test_soundex_codes_are_opt_in() -> None:
    """They show the first letter; without the setting they are not even computed."""
    user = User(
        email="a@b.example", first_name="O'Brien", middle_name="Ashcraft", last_name="Müller", city="Los Angeles",
        state="CA",
    )  # fmt: skip
    plain = body(snap(), event(user=user))
    assert not any(key.endswith("_sdx") for key in plain)
    assert not any("soundex" in name for name in snap().identifiers)
    spoken = body(snap(soundex=True), event(user=user))
    assert {key: value for key, value in spoken.items() if key.endswith("_sdx")} == {
        "hashed_first_name_sdx": "O165",
        "hashed_middle_name_sdx": "A261",
        "hashed_last_name_sdx": "M460",
        "hashed_city_sdx": "L252",
        "hashed_state_sdx": "C000",
    }
    assert set(snap(soundex=True).identifiers) == set(SnapV2.identifiers) > set(snap().identifiers)


def test_categories_and_brands_are_joined_without_repetition() -> None:
    """The event's own category wins; ids repeat as the items do."""
    items = [Item(id="a", category="x", brand="B"), Item(id="a", category="x"), Item(id="c", category="y", brand="B")]
    made = body(snap(), event(items=items))
    assert (made["item_ids"], made["item_category"], made["brands"]) == ("a;a;c", "x;y", "B")
    assert body(snap(), event(items=items, content_category="shoes"))["item_category"] == "shoes"
    assert not {"item_category", "brands"} & set(body(snap(), event(items=[Item(id="a")])))


@pytest.mark.parametrize(("setting", "sent"), [(None, ["lmu"]), ("lmu", "lmu"), (["a", "b"], ["a", "b"])])
def test_sale_opt_out_limits_the_use(setting: Any, sent: object) -> None:
    """As the list of Snap's sample, or as the text its type says."""
    destination = snap() if setting is None else snap(limited_use=setting)
    assert body(destination, event(consent=Consent(sale_opt_out=True)))["data_use"] == sent
    assert "data_use" not in body(destination, event(consent=Consent(sale_opt_out=False)))


def test_age_and_resend_windows() -> None:
    """37 days unless told, and 48 hours in which the key absorbs a copy."""
    made = event()
    for settings, days in (({}, 37), ({"max_age_s": 28 * DAY}, 28)):
        done = wire(snap(**settings), made)
        assert isinstance(done, Wire)
        assert done.expires_at == made.time.timestamp() + days * DAY
        assert done.resend_for_s == 48 * HOUR


def test_extra_is_laid_over_and_counts() -> None:
    """Undocumented keys are the caller's own risk; unknown properties have no place here."""
    made = body(
        snap(),
        event(user=User(), extra={"snap_v2": {"hashed_email": "a" * 64, "att_status": "3"}}, properties={"other": 1}),
    )
    assert (made["hashed_email"], made["att_status"]) == ("a" * 64, "3")
    assert "other" not in made
    assert refusal(snap(), event(extra={"snap_v2": {"page_url": ""}})).field == "page.url"
    assert (
        refusal(snap(), event("purchase", value=1, currency="EUR", extra={"snap_v2": {"price": ""}})).field == "value"
    )
    assert "opt" not in body(snap(), event(extra={"snap": {"opt": 1}}))


# --- requests and settings


def test_token_is_a_header_and_shown_nowhere() -> None:
    """And the body is a bare array."""
    (request,) = requests(snap(), [event(), event()], token=TOKEN)
    assert request.url == "https://tr.snapchat.com/v2/conversion"
    assert request.headers == {
        "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Accept": "application/json",
    }  # fmt: skip
    assert len(msgspec.json.decode(b"".join(request.body))) == 2
    for shown in (repr(snap()), repr(request), str(request)):
        assert "very-secret" not in shown


def test_launchpad_swaps_the_host_and_keeps_the_path() -> None:
    """A trailing slash would double; a copy of the destination stays where it is."""
    relay = snap(launchpad_url="https://relay.example.com/capi/")
    for destination in (relay, msgspec.structs.replace(relay, test=False)):
        live, testing = requests(destination, [event(), event(test=True)])
        assert live.url == "https://relay.example.com/capi/v2/conversion"
        assert testing.url == "https://relay.example.com/capi/v2/conversion/validate"
        assert "X-CAPI-Path" not in live.headers
    assert requests(snap(launchpad_url="http://127.0.0.1:8080"), [event()])[0].url.startswith("http://127.0.0.1:8080/")


@pytest.mark.parametrize(
    "settings",
    [
        {"launchpad_url": ""},
        {"launchpad_url": 5},
        {"launchpad_url": "relay.example.com"},
        {"launchpad_url": "http://relay.example.com"},
        {"launchpad_url": "https://a.example", "base_url": "https://b.example"},
        {"limited_use": []},
        {"limited_use": ""},
        {"limited_use": [""]},
        {"pixel_id": ""},
        {"access_token": ""},
        {"event_names": {"lead": "LEAD"}},
    ],
)
def test_bad_setting_is_refused_when_made(settings: dict[str, Any]) -> None:
    """Nothing is sent with half an account, nor to two places."""
    with pytest.raises(ConfigError, match="snap_v2"):
        snap(**settings)


def test_registered_by_type_with_its_variables() -> None:
    """As configuration files name it."""
    assert destination_class("snap_v2") is SnapV2
    assert SnapV2.env["launchpad_url"] == ("SNAP_LAUNCHPAD_URL",)
    assert (SnapV2.type, SnapV2.wire) == ("snap_v2", "snap/2")


# --- answers


def failed(*records: dict[str, Any], status: str = "FAILED", reason: str = "All records failed") -> dict[str, Any]:
    return {"status": status, "reason": reason, "error_records": list(records)}


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (200, {"status": "SUCCESS", "reason": "All records processed"}, "accepted"),
        (200, {"status": "SUCCESS", "reason": "", "error_records": []}, "accepted"),
        (200, {"status": "SUCCESS", "error_records": None, "warning_records": [{"reason": "w"}]}, "accepted"),
        (200, failed(), "split"),
        (200, {"status": "PARTIAL"}, "split"),
        (200, failed({"reason": "which?"}, status="SUCCESS"), "split"),
        (400, failed(), "split"),
        (400, {"status": "FAILED", "reason": "Invalid CAPI request JSON", "error_records": []}, "split"),
        (400, b"bad request", "split"),
        (400, {"status": "FAILED", "reason": "Invalid token"}, "unauthorized"),
        (400, failed({"reason": "Invalid token", "record_indexes": [0, 1, 2]}), "unauthorized"),
        (401, {"status": "FAILED", "reason": "Invalid token"}, "unauthorized"),
        (403, b"", "unauthorized"),
        (404, b"Not Found", "unauthorized"),
        (413, b"", "split"),
        (415, b"", "split"),
        (408, b"", "retry"),
        (429, b"", "retry"),
        (500, b"connection refused by upstream", "retry"),
        (503, failed({"reason": "x", "record_indexes": [0]}), "retry"),
        (200, b"", "ambiguous"),
        (200, b"OK", "ambiguous"),
        (200, {}, "ambiguous"),
        (200, {"status": "SUCCESS", "error_records": [{"record_indexes": ["zero"]}]}, "ambiguous"),
        (204, b"", "ambiguous"),
    ],
)
def test_each_answer_has_its_reading(status: int, answer: object, kind: str) -> None:
    """The whole table of outcomes, a Launchpad's own texts among them."""
    assert kinds(verdicts(snap(), status, answer, 3)) == [kind] * 3


R, A, S, T = "rejected", "accepted", "split", "retry"


@pytest.mark.parametrize(
    ("indexes", "count", "found"),
    [
        ([0], 1, [R]),
        ([1], 1, [R]),
        ([0], 3, [R, A, A]),
        ([3], 3, [A, A, R]),
        ([0, 2], 3, [R, A, R]),
        ([1, 3], 3, [R, A, R]),
        ([0, 1, 2], 3, [R, R, R]),
        ([1, 2, 3], 3, [R, R, R]),
        ([1], 3, [S, S, S]),
        ([1, 2], 3, [S, S, S]),
        ([0, 3], 3, [S, S, S]),
        ([-1], 3, [S, S, S]),
        ([7], 3, [S, S, S]),
        ([], 3, [S, S, S]),
    ],
)
@pytest.mark.parametrize("spelling", ["record_indexes", "recordIndexes"])
def test_named_events_are_rejected_where_only_one_reading_fits(
    indexes: list[int], count: int, found: list[str], spelling: str
) -> None:
    """Snap does not say whether it counts from 0 or from 1; a Launchpad spells the key its own way."""
    answer = failed({"reason": "bad", spelling: indexes}, status="SUCCESS")
    assert kinds(verdicts(snap(), 200, answer, count)) == found


def test_neighbours_of_a_named_event_are_sent_again_after_a_400() -> None:
    """It is not plain that they were stored, and a copy is absorbed by its key."""
    bad, good, other = verdicts(snap(), 400, failed({"reason": "bad price", "record_indexes": [0]}), 3)
    assert (bad.kind, bad.reason) == ("rejected", "bad price")
    assert (good.kind, good.after_s, good.throttled, other.kind) == ("retry", 0.0, False, "retry")


def test_each_named_event_has_its_own_reason() -> None:
    """Several records in one answer are read together."""
    answer = failed(
        {"reason": "bad price", "record_indexes": [0]}, {"reason": "bad email jane@example.com", "record_indexes": [2]}
    )
    first, _, third = verdicts(snap(), 200, answer, 3)
    assert (first.reason, third.reason) == ("bad price", "bad email <email>")


def test_reason_about_one_event_never_pauses_the_account() -> None:
    """Even if it speaks of a token."""
    answer = failed({"reason": "unknown token in item_ids", "record_indexes": [1]})
    assert kinds(verdicts(snap(), 400, answer, 3)) == [S, S, S]
    answer = failed({"reason": "unknown token in item_ids", "record_indexes": [0]})
    assert kinds(verdicts(snap(), 400, answer, 3)) == [R, T, T]


def test_split_tells_that_neighbours_may_be_stored() -> None:
    """So an event past its window is not sent twice."""
    assert not verdicts(snap(), 400, failed(), 2)[0].atomic
    assert verdicts(snap(), 400, failed(), 2)[0].reason == "HTTP 400: All records failed"
