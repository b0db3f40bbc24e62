"""TikTok's legacy pixel endpoints: names, identity, consent, the two request forms, and the answers that differ."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest

from capi_async.destinations.tiktok import TikTokPixel
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, ClickIds, Consent, Event, Item, Page, Source, User
from capi_async.spec import DAY, ENCODER, HOUR, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

PIXEL = "CEXAMPLE0000000000AA"
TRACE = "20251124160100EXAMPLE0000000000001"


def pixel(**settings: Any) -> TikTokPixel:
    """An account with a test code, unless the case says otherwise."""
    return TikTokPixel(**({"pixel_code": PIXEL, "access_token": "s3cret-token"} | settings))


def event(name: str = "purchase", **fields: Any) -> Event:
    """A website event of somebody known, unless the case says otherwise."""
    return Event(name, **({"user": User(email="jane@example.com"), "page": Page(url="https://shop.example/")} | fields))


def sent(destination: TikTokPixel, *events: Event) -> list[dict[str, Any]]:
    """The bodies of the requests."""
    return [msgspec.json.decode(b"".join(made.body)) for made in requests(destination, events)]


NAMES = {
    "page_view": "ViewContent",
    "view_content": "ViewContent",
    "search": "Search",
    "add_to_cart": "AddToCart",
    "add_to_wishlist": "AddToWishlist",
    "initiate_checkout": "InitiateCheckout",
    "add_payment_info": "AddPaymentInfo",
    "purchase": "CompletePayment",
    "lead": "SubmitForm",
    "sign_up": "CompleteRegistration",
    "subscribe": "Subscribe",
    "start_trial": "StartTrial",
    "login": "Login",
    "contact": "Contact",
    "download": "Download",
    "app_install": "InstallApp",
    "app_open": "LaunchAPP",
    "view_list": "view_list",
    "watch_video": "watch_video",
    "share": "share",
    "rate": "rate",
    "save": "save",
    "invite": "invite",
    "reserve": "reserve",
    "schedule": "schedule",
    "find_location": "find_location",
    "customize_product": "customize_product",
    "submit_application": "submit_application",
    "tutorial_complete": "tutorial_complete",
    "level_complete": "level_complete",
    "unlock_achievement": "unlock_achievement",
    "spend_credits": "spend_credits",
    "ad_click": "ad_click",
    "ad_view": "ad_view",
    "quiz_done": "quiz_done",
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_event_has_its_older_name(name: str, expected: str) -> None:
    """The names of the 1.0 endpoints."""
    made = wire(pixel(), event(name))
    assert isinstance(made, Wire)
    assert (made.body.event, made.warnings) == (expected, ())


def test_every_standard_event_is_in_the_table_and_refund_is_skipped() -> None:
    """No standard name is left to chance."""
    assert {*NAMES, "refund"} - {"quiz_done"} == STANDARD_EVENTS
    assert refusal(pixel(), event("refund")).kind == "skipped"


def test_reserved_names_are_refused_and_near_misses_warned_about() -> None:
    """As in 2.0."""
    refused = refusal(pixel(), event("Browse"))
    assert (refused.kind, refused.field) == ("rejected", "name")
    made = wire(pixel(), event("Complete-Payment"))
    assert isinstance(made, Wire)
    assert "'CompletePayment'" in made.warnings[0]
    with pytest.raises(ConfigError, match="ClickForm"):
        pixel(event_names={"lead": "ClickForm"})


@pytest.mark.parametrize("source", sorted(set(get_args(Source)) - {"website"}))
def test_source_other_than_the_web_is_skipped(source: str) -> None:
    """These endpoints know web events only."""
    refused = refusal(pixel(), event(source=source))
    assert (refused.kind, refused.field) == ("skipped", "source")


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data", "ad_personalization"])
def test_denied_choice_keeps_the_event_here(choice: str) -> None:
    """There is no switch for any of them."""
    denied: dict[str, Any] = {choice: False}
    refused = refusal(pixel(), event(consent=Consent(**denied)))
    assert (refused.kind, refused.field) == ("skipped", f"consent.{choice}")


def test_limited_data_use_cannot_be_said_so_the_event_stays() -> None:
    """It is never sent without the flag."""
    refused = refusal(pixel(), event(consent=Consent(sale_opt_out=True)))
    assert (refused.kind, refused.field) == ("skipped", "consent.sale_opt_out")
    assert isinstance(wire(pixel(), event(consent=Consent(sale_opt_out=False, ad_storage=True))), Wire)


IDENTITY: list[tuple[dict[str, Any], bool]] = [
    ({"user": User(email="jane@example.com")}, True),
    ({"user": User(phone="+14155552671")}, True),
    ({"user": User(external_id="user-123")}, True),
    ({"user": User(ip="2001:db8::1", user_agent="Mozilla/5.0")}, True),
    ({"user": User(ip="2001:db8::1")}, False),
    ({"user": User(user_agent="Mozilla/5.0")}, False),
    ({"user": User(first_name="Jane")}, False),
    ({"user": User(), "click": ClickIds(ttclid="E.C.P.x")}, True),
    ({"user": User(), "click": ClickIds(ttp="x")}, True),
    ({"user": User(), "extra": {"tiktok_pixel": {"context": {"user": {"ttp": "x"}}}}}, True),
    ({"user": User(), "extra": {"tiktok_pixel": {"context": {"ad": {"callback": "x"}}}}}, True),
    ({"extra": {"tiktok_pixel": {"context": {"user": None}}}}, False),
]


@pytest.mark.parametrize(("fields", "goes"), IDENTITY)
def test_event_needs_somebody_it_can_be_attributed_to(fields: dict[str, Any], goes: bool) -> None:
    """Checked on what would leave."""
    made = wire(pixel(), event(**fields))
    if goes:
        assert isinstance(made, Wire), made
    else:
        assert not isinstance(made, Wire)
        assert (made.kind, made.field) == ("skipped", "user")


def test_time_is_written_in_iso_8601_with_z() -> None:
    """Never with a space, whatever offset came in."""
    local = datetime(2023, 6, 9, 13, 37, 26, 250_000, tzinfo=timezone(timedelta(hours=-3)))
    assert body(pixel(), event(time=local))["timestamp"] == "2023-06-09T16:37:26Z"
    merged = event(time=local, extra={"tiktok_pixel": {"properties": {"status": "paid"}}})
    assert body(pixel(), merged)["timestamp"] == "2023-06-09T16:37:26Z"


def test_time_beyond_the_calendar_is_rejected() -> None:
    """An aware time may have no date in UTC."""
    dawn = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    assert refusal(pixel(), event(time=dawn)).field == "time"


def test_scalars_are_sent_where_several_values_are_known() -> None:
    """The first of each; this generation takes no lists."""
    user = User(email=["test@test.com", "jane@example.com"], phone=["+12345678900", "+14155552671"])
    assert body(pixel(), event(user=user))["context"]["user"] == {
        "email": "f660ab912ec121d1b1e928a0bb4bc61b15f5ad44d5efdc4e1c92a25e99b8e44a",
        "phone_number": "7f459725e1f658720fd2c41b71737eb3aef333edd9a96704cbddb5b884f0e129",
    }


def test_properties_hold_the_documented_keys_only() -> None:
    """The content type stands in each item, and what is not documented is left out."""
    one = event(
        value="72.390",
        currency="USD",
        order_id="1001",
        num_items=3,
        search_string="shoes",
        description="words",
        delivery_category="curbside",
        predicted_ltv=9,
        content_type="product_group",
        items=[Item(id="1", price="19.99", quantity=2, name="Shoe", category="Boots", brand="Acme"), Item(id="2")],
    )
    made = wire(pixel(), one)
    assert isinstance(made, Wire)
    assert b'"value":72.390' in ENCODER.encode(made.body)
    assert body(pixel(), one)["properties"] == {
        "value": 72.39,
        "currency": "USD",
        "query": "shoes",
        "description": "words",
        "contents": [
            {
                "content_id": "1",
                "content_type": "product_group",
                "price": 19.99,
                "quantity": 2,
                "content_name": "Shoe",
                "content_category": "Boots",
                "brand": "Acme",
            },
            {"content_id": "2", "content_type": "product_group", "quantity": 1},
        ],
    }
    assert "properties" not in body(pixel(), event())
    free = body(pixel(), event(properties={"status": "paid", "shop_id": "x", "value": 9}, value=1, currency="USD"))
    assert free["properties"] == {"value": 1, "currency": "USD", "status": "paid"}


def test_unlisted_currency_is_sent_with_a_warning() -> None:
    """TikTok decides."""
    made = wire(pixel(), event(value=1, currency="XOF"))
    assert isinstance(made, Wire)
    assert made.warnings == ("TikTok does not list the currency XOF",)


def test_live_events_share_a_batch_of_fifty_and_carry_their_type() -> None:
    """``track`` is the only one."""
    made = sent(pixel(), *(event(event_id=str(n)) for n in range(51)))
    assert [len(one["batch"]) for one in made] == [50, 1]
    assert {item["type"] for one in made for item in one["batch"]} == {"track"}
    assert "test_event_code" not in made[0]
    assert [one.url.rpartition("/open_api")[2] for one in requests(pixel(), [event()])] == ["/v1.3/pixel/batch/"]


def test_test_event_travels_alone_without_type_and_with_the_code() -> None:
    """Every event is one, as long as the destination has a code."""
    coded = pixel(test_event_code="TEST1")
    made = requests(coded, [event(event_id="a", test=True), event(event_id="b")])
    assert [one.url.rpartition("/pixel")[2] for one in made] == ["/track/", "/track/"]
    first = msgspec.json.decode(b"".join(made[0].body))
    assert (first["test_event_code"], first["pixel_code"], first["event_id"]) == ("TEST1", PIXEL, "a")
    assert {"type", "batch"}.isdisjoint(first)


def test_test_event_without_a_code_is_skipped() -> None:
    """It is never sent live."""
    refused = refusal(pixel(), event(test=True))
    assert (refused.kind, refused.field) == ("skipped", "test")


def test_partner_name_stands_at_the_root() -> None:
    """Of both forms, and only when set."""
    for code in (None, "TEST1"):
        assert all(one["partner_name"] == "P" for one in sent(pixel(partner_name="P", test_event_code=code), event()))
        assert all("partner_name" not in one for one in sent(pixel(test_event_code=code), event()))


def test_extra_merges_deeply() -> None:
    """Objects key by key."""
    one = event(extra={"tiktok_pixel": {"context": {"user": {"ttp": "x"}}, "own": 1}})
    said = body(pixel(), one)
    assert set(said["context"]["user"]) == {"email", "ttp"}
    assert said["own"] == 1


@pytest.mark.parametrize("part", ["context", "properties", "event_id", "timestamp"])
def test_extra_of_any_shape_never_raises(part: str) -> None:
    """It gives a body or a refusal."""
    wire(pixel(), event(extra={"tiktok_pixel": {part: 7}}, properties={"status": "paid"}, test=True))


def test_event_lives_seven_days_and_is_known_again_for_two() -> None:
    """By its event id."""
    one = event(time=datetime(2026, 1, 1, tzinfo=UTC))
    made, short = wire(pixel(), one), wire(pixel(max_age_s=DAY), one)
    assert isinstance(made, Wire)
    assert isinstance(short, Wire)
    assert made.expires_at == one.time.timestamp() + 7 * DAY
    assert short.expires_at == one.time.timestamp() + DAY
    assert made.resend_for_s == 48 * HOUR
    another = wire(pixel(), event(extra={"tiktok_pixel": {"event_id": "another"}}))
    assert isinstance(another, Wire)
    assert another.resend_for_s == 48 * HOUR


def test_nobody_sees_the_token() -> None:
    """Not in the destination's words, nor in the request's."""
    destination = pixel()
    (made,) = requests(destination, [event()], "s3cret-token")
    assert made.headers == {"Access-Token": "s3cret-token", "Content-Type": "application/json"}
    assert "s3cret" not in f"{destination!r} {destination} {made!r} {made}"
    assert destination.account() == PIXEL
    assert destination.secret().fixed


@pytest.mark.parametrize(
    "settings", [{"pixel_code": " "}, {"access_token": None}, {"api_version": "latest"}, {"partner_name": 7}]
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    """Before any I/O."""
    with pytest.raises(ConfigError):
        pixel(**settings)


def said(code: int, message: str = "OK", **more: object) -> dict[str, object]:
    """TikTok's envelope."""
    return {"code": code, "message": message, "request_id": TRACE} | more


def test_partial_success_is_accepted_alone_and_split_in_company() -> None:
    """Which rows failed is not documented; the raw data is kept in the reason."""
    reply = said(20001, "Partial success", data={"failed_events": [{"order_in_batch": 1}]})
    (alone,) = verdicts(pixel(), 200, reply)
    assert (alone.kind, alone.trace_id, alone.code) == ("accepted", TRACE, "20001")
    assert "order_in_batch" in alone.reason
    found = verdicts(pixel(), 200, reply, 2)
    assert kinds(found) == ["split"] * 2
    assert not found[0].atomic
    assert "order_in_batch" in found[0].reason


@pytest.mark.parametrize(
    ("status", "reply", "kind"),
    [
        (200, said(0), "accepted"),
        (200, said(40001, "No permission to operate pixel"), "unauthorized"),
        (200, said(40002, "Missing data for required field. event"), "split"),
        (200, said(40100, "Too many requests. Please retry in some time."), "retry"),
        (200, said(40105, "Access token is incorrect or has been revoked."), "unauthorized"),
        (200, said(50002, "System timeout"), "retry"),
        (401, said(40100, "Too many requests."), "retry"),
        (401, said(40105, "Access token is incorrect or has been revoked."), "unauthorized"),
        (502, b"<html>502 Bad Gateway</html>", "retry"),
        (200, b"<html>", "ambiguous"),
    ],
)
def test_answer_is_read_from_its_code(status: int, reply: object, kind: str) -> None:
    """These endpoints refuse with HTTP 200."""
    assert kinds(verdicts(pixel(), status, reply, 2)) == [kind] * 2


def test_retired_endpoint_pauses_and_names_the_way_out() -> None:
    """41001 is what is expected on the day it is switched off."""
    (found,) = verdicts(pixel(), 200, said(41001, "Interface offline"))
    assert found.kind == "unauthorized"
    assert "'tiktok'" in found.fix


def test_named_row_of_a_batch_is_rejected_and_its_neighbours_leave_again_at_once() -> None:
    """Counted from zero."""
    found = verdicts(pixel(), 200, said(40002, "batch.1.timestamp: Not a valid datetime."), 2)
    assert kinds(found) == ["retry", "rejected"]
    assert (found[0].after_s, found[1].field) == (0.0, "timestamp")
