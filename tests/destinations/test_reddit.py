"""Reddit Conversions API v3: mapping, refusals, answers. Replies are documented or recorded ones."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capi_async import Client
from capi_async.browser import browser_snippet
from capi_async.destinations.reddit import Reddit
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, ClickIds, Consent, Device, Event, Hashed, Item, Page, User
from capi_async.outcome import Response
from capi_async.sandbox import TOKEN, Sandbox
from capi_async.spec import HOUR, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

NOON = datetime(2026, 1, 15, 10, tzinfo=UTC)
JANE = User(email="jane.doe@example.com")
PAGE = Page(url="https://shop.example/thanks")


def reddit(**settings: Any) -> Reddit:
    return Reddit(**{"pixel_id": "t2_abc123", "access_token": "SECRET", **settings})


def event(name: str = "purchase", **fields: Any) -> Event:
    return Event(name, **{"user": JANE, "event_id": "e1", "time": NOON, "page": PAGE, **fields})


def made(**fields: Any) -> dict[str, Any]:
    return body(reddit(), event(**fields))


def warned(**fields: Any) -> tuple[str, ...]:
    found = wire(reddit(), event(**fields))
    assert isinstance(found, Wire)
    return found.warnings


# -- names ------------------------------------------------------------------------------------------------------------

STANDARD = {
    "page_view": "PAGE_VISIT", "view_content": "VIEW_CONTENT", "search": "SEARCH", "add_to_cart": "ADD_TO_CART",
    "add_to_wishlist": "ADD_TO_WISHLIST", "purchase": "PURCHASE", "lead": "LEAD", "sign_up": "SIGN_UP",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS - {"refund"}))
def test_every_standard_event_has_its_type_or_its_own_name(name: str) -> None:
    """What Reddit has no type for is a custom event of that name."""
    expected = {"tracking_type": STANDARD[name]} if name in STANDARD else custom(name)
    assert made(name=name)["type"] == expected


def custom(name: str) -> dict[str, str]:
    return {"tracking_type": "CUSTOM", "custom_event_name": name}


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({}, "quiz_done", custom("quiz_done")),
        ({}, "Quiz Done", custom("Quiz Done")),
        ({}, "é" * 64, custom("é" * 64)),
        ({}, "PURCHASE", {"tracking_type": "PURCHASE"}),
        ({"event_names": {"quiz_done": "LEAD"}}, "quiz_done", {"tracking_type": "LEAD"}),
        ({"event_names": {"quiz_done": "quiz"}}, "quiz_done", custom("quiz")),
        ({"event_names": {"purchase": "CUSTOM"}}, "purchase", custom("purchase")),
    ],
)
def test_custom_events_keep_their_name_or_get_the_accounts(
    settings: dict[str, Any], name: str, expected: dict[str, str]
) -> None:
    """A tracking type is taken as such wherever it stands."""
    assert body(reddit(**settings), event(name))["type"] == expected


def test_a_name_that_reddit_would_cut_is_refused() -> None:
    """Two names that begin alike would be one event there."""
    found = refusal(reddit(), event("n" * 65))
    assert (found.kind, found.field) == ("rejected", "name")
    for names in ({"lead": "n" * 65}, {"n" * 65: "CUSTOM"}):
        with pytest.raises(ConfigError, match="at most 64"):
            reddit(event_names=names)


@pytest.mark.parametrize("there", ["SignUp", "sign_up", "Page Visit", "purchase"])
def test_a_type_in_another_spelling_is_a_mistake(there: str) -> None:
    """Names of the older API would be filed as custom events."""
    with pytest.raises(ConfigError, match="is no tracking type; is"):
        reddit(event_names={"our_event": there})


def test_the_browser_names_a_custom_event_as_the_server_does() -> None:
    """Or the two copies would not be recognised as one."""
    named = reddit(event_names={"quiz_done": "quiz"})
    for name, expected in (("quiz_done", "quiz"), ("login", "login")):
        call = browser_snippet(event(name), [named]).calls["reddit"]
        assert f'"customEventName":"{expected}"' in call


# -- the person -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "os", "field", "text"),
    [
        ({"email": "alice@example.com"}, None, "email", "alice@example.com"),
        ({"email": "Al.ice$+Apple@Example.Com"}, None, "email", "alice@example.com"),
        ({"email": "John_Smith@Gmail.com"}, None, "email", "johnsmith@gmail.com"),
        ({"email": "mary-jane.w+x@shop.example"}, None, "email", "maryjanew@shop.example"),
        ({"email": "o'brien+a+b@example.org"}, None, "email", "obrien@example.org"),
        ({"phone": "+1 (650) 555-1212"}, None, "phone_number", "+16505551212"),
        ({"phone": "+1 650-555-1212 ext 34"}, None, "phone_number", "+16505551212"),
        ({"phone": "0044 7911 123456"}, None, "phone_number", "+447911123456"),
        ({"external_id": "  User123 "}, None, "external_id", "User123"),
        (
            {"mobile_ad_id": "6d92078a-8246-4ba4-ae5b-76104861e7dc"}, "ios", "idfa",
            "6D92078A-8246-4BA4-AE5B-76104861E7DC",
        ),
        (
            {"mobile_ad_id": "CDDA802E-FB9C-47AD-9866-0794D394C912"}, "android", "aaid",
            "cdda802e-fb9c-47ad-9866-0794d394c912",
        ),
    ],
)  # fmt: skip
def test_identifiers_are_hashed_by_reddits_rules(user: dict[str, str], os: str | None, field: str, text: str) -> None:
    """Every vector, on the wire."""
    sent = made(user=User(**user), device=Device(os=os) if os else None)["user"]
    assert sent == {field: hashlib.sha256(text.encode()).hexdigest()}


def test_a_digest_made_for_another_platform_is_no_email_here() -> None:
    """It would match nobody, so it is left out; one of Reddit's own rule is taken."""
    digest = hashlib.sha256(b"jane.doe@example.com").hexdigest()
    assert refusal(reddit(), event(user=User(email=Hashed(digest)))).field.startswith("user")
    assert made(user=User(email=Hashed(digest, "email_reddit")))["user"] == {"email": digest}


def test_address_and_browser_travel_in_clear() -> None:
    """A digest there matches nobody and is not refused."""
    sent = made(user=User(email="a@b.example", ip="192.0.2.10", user_agent="Mozilla/5.0"))["user"]
    assert (sent["ip_address"], sent["user_agent"]) == ("192.0.2.10", "Mozilla/5.0")


def test_of_several_values_the_first_is_sent_and_that_is_said() -> None:
    """Reddit takes one of each."""
    user = User(email=["a@b.example", "c@d.example"], phone=["+14155552671", "+14155552672"])
    assert made(user=user)["user"]["email"] == hashlib.sha256(b"a@b.example").hexdigest()
    assert [text.partition(":")[0] for text in warned(user=user)] == ["user.email", "user.phone"]


def test_a_mobile_id_of_an_unknown_system_is_left_out() -> None:
    """Its letters are written large on one system and small on the other."""
    user = User(email="a@b.example", mobile_ad_id="CDDA802E-FB9C-47AD-9866-0794D394C912")
    assert set(made(user=user)["user"]) == {"email"}
    assert "device.os must say" in warned(user=user)[0]


@pytest.mark.parametrize(
    ("found", "sent"),
    [
        ("1684189007728.6c1e7e1c-7d2f-4b8a-9a55-0d5c9f1b2a33", "6c1e7e1c-7d2f-4b8a-9a55-0d5c9f1b2a33"),
        ("6c1e7e1c-7d2f-4b8a-9a55-0d5c9f1b2a33", "6c1e7e1c-7d2f-4b8a-9a55-0d5c9f1b2a33"),
    ],
)
def test_of_the_pixels_cookie_the_id_is_sent(found: str, sent: str) -> None:
    """The part before the point is the time at which it was set."""
    assert made(user=User(), click=ClickIds(rdt_uuid=found))["user"] == {"uuid": sent}


@pytest.mark.parametrize(
    ("page", "click", "sent"),
    [
        ("https://shop.example/?rdt_cid=111&rdt_cid=222", None, "111"),
        ("https://shop.example/?rdt_cid=111", "333", "111"),
        ("https://shop.example/", "333", "333"),
        ("https://shop.example/?rdt_cid=", "333", "333"),
        ("https://shop.example/?rdt_cid=undefined", "333", "333"),
    ],
)
def test_the_click_in_the_address_goes_before_the_cookies(page: str, click: str | None, sent: str) -> None:
    """Of repeated parameters the first, as Reddit's own template reads them."""
    assert made(page=Page(url=page), click=ClickIds(rdt_cid=click))["click_id"] == sent


@pytest.mark.parametrize(
    ("device", "sent"),
    [
        (Device(screen_width=1920, screen_height=1080), {"width": 1920, "height": 1080}),
        (Device(screen_width=1920), None),
        (Device(screen_width=32_768, screen_height=1), None),
    ],
)
def test_a_screen_is_sent_whole_or_not_at_all(device: Device, sent: dict[str, int] | None) -> None:
    """And within Reddit's bounds."""
    assert made(device=device)["user"].get("screen_dimensions") == sent


@pytest.mark.parametrize(
    ("user", "click", "sendable"),
    [
        (User(external_id="u"), ClickIds(), True),
        (User(phone="+14155552671"), ClickIds(), True),
        (User(), ClickIds(rdt_cid="1"), True),
        (User(), ClickIds(rdt_uuid="1684189007728.6c1e7e1c"), True),
        (User(ip="192.0.2.10", user_agent="UA"), ClickIds(), True),
        (User(ip="192.0.2.10"), ClickIds(), False),
        (User(user_agent="UA"), ClickIds(), False),
        (User(first_name="Jane", city="Paris"), ClickIds(), False),
    ],
)
def test_somebody_must_be_named(user: User, click: ClickIds, sendable: bool) -> None:
    """By one strong identifier, or by address and browser together."""
    found = wire(reddit(), event(user=user, click=click))
    if sendable:
        assert isinstance(found, Wire)
    else:
        assert not isinstance(found, Wire)
        assert (found.kind, found.field) == ("skipped", "user")


def test_address_and_browser_alone_are_warned_of() -> None:
    """Other integrations ask for the screen as well."""
    assert "may not find" in warned(user=User(ip="192.0.2.10", user_agent="UA"))[0]


# -- the purchase -----------------------------------------------------------------------------------------------------


def test_products_are_listed_with_what_is_known_of_each() -> None:
    """And counted, unless the event counts itself."""
    items = [Item(id="1", quantity=2, price="0.1", name="Lamp", category="Home > Light"), Item(id="2", brand="x")]
    metadata = made(items=items, value="0.2", currency="usd")["metadata"]
    assert metadata == {
        "conversion_id": "e1", "value": 0.2, "currency": "USD", "item_count": 3,
        "products": [
            {"id": "1", "name": "Lamp", "category": "Home > Light", "item_price": 0.1, "quantity": 2},
            {"id": "2", "quantity": 1},
        ],
    }  # fmt: skip
    assert made(items=items, num_items=7)["metadata"]["item_count"] == 7


@pytest.mark.parametrize("fields", [{"value": 5}, {"currency": "EUR"}])
def test_value_and_currency_go_together_or_not_at_all(fields: dict[str, Any]) -> None:
    """Half of the pair is no amount."""
    assert made(**fields)["metadata"] == {"conversion_id": "e1"}
    assert "neither was sent" in warned(**fields)[0]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("purchase", {"value", "currency", "item_count"}), ("add_to_cart", {"value", "currency", "item_count"}),
        ("add_to_wishlist", {"value", "currency", "item_count"}), ("quiz", {"value", "currency", "item_count"}),
        ("lead", {"value", "currency"}), ("sign_up", {"value", "currency"}), ("page_view", set()),
        ("view_content", set()), ("search", set()),
    ],
)  # fmt: skip
def test_what_is_not_read_with_a_type_is_left_out(name: str, read: set[str]) -> None:
    """An amount that is left out is told."""
    fields = {"value": 5, "currency": "EUR", "num_items": 2}
    assert set(made(name=name, **fields)["metadata"]) == {"conversion_id", *read}
    assert bool(warned(name=name, **fields)) is ("value" not in read)


# -- time, place, consent ---------------------------------------------------------------------------------------------


def test_the_time_is_in_milliseconds() -> None:
    """Thirteen digits; what has more or fewer is refused before it costs a whole request."""
    assert made(time=NOON + timedelta(milliseconds=123))["event_at"] == 1768471200123
    assert refusal(reddit(), event(time=datetime(2001, 1, 1, tzinfo=UTC))).field == "time"


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ("website", "WEBSITE"), ("app", "APP"), ("offline", "PHYSICAL_STORE"), ("physical_store", "PHYSICAL_STORE"),
        ("phone_call", "OTHER"), ("email", "OTHER"), ("chat", "OTHER"), ("crm", "OTHER"), ("other", "OTHER"),
        ("system_generated", "OTHER"), ("business_messaging", "OTHER"),
    ],
)  # fmt: skip
def test_every_source_has_a_place(source: Any, there: str) -> None:
    """The page's address goes with websites only."""
    sent = made(source=source)
    assert sent["action_source"] == there
    assert ("event_source_url" in sent) is (source == "website")


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("us-ca", {"modes": ["LDU"], "country": "US", "region": "US-CA"}),
        ("US", {"modes": ["LDU"], "country": "US"}),
        (None, {"modes": ["LDU"]}),
    ],
)
def test_an_opt_out_of_sale_limits_the_use(region: str | None, expected: dict[str, Any]) -> None:
    """With as much of the place as is known."""
    sent = made(consent=Consent(sale_opt_out=True, region=region))
    assert sent["user"]["data_processing_options"] == expected
    assert "data_processing_options" not in made(consent=Consent(sale_opt_out=False))["user"]


@pytest.mark.parametrize("choice", ["ad_storage", "ad_user_data", "ad_personalization"])
def test_without_consent_nothing_is_sent(choice: str) -> None:
    """The third version has no switch for any of them."""
    found = refusal(reddit(), event(consent=Consent(**{choice: False})))
    assert (found.kind, found.field) == ("skipped", f"consent.{choice}")


# -- raw fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"event_type": {"tracking_type": "Purchase"}}, "extra"),
        ({"event_metadata": {}}, "extra"),
        ({"test_mode": True}, "extra"),
        ({"test_id": "t2_x"}, "extra.test_id"),
        ({"event_at": 1768471200}, "extra.event_at"),
        ({"event_at": "2026-01-15T10:00:00Z"}, "extra.event_at"),
        ({"action_source": "website"}, "extra.action_source"),
        ({"type": {"custom_event_name": "x"}}, "extra.type.custom_event_name"),
        ({"type": {"tracking_type": "CUSTOM"}}, "extra.type.custom_event_name"),
        ({"type": {"tracking_type": "SignUp"}}, "extra.type.tracking_type"),
        ({"user": {"opt_out": True}}, "extra.user"),
        ({"user": {"email": "jane@example.com"}}, "extra.user.email"),
        ({"user": {"ip_address": "ab" * 32}}, "extra.user.ip_address"),
        ({"metadata": {"value_decimal": 1}}, "extra.metadata"),
        ({"action_source": "APP"}, "extra.event_source_url"),
    ],
)
def test_keys_of_the_older_version_and_other_misfits_are_named(extra: dict[str, Any], field: str) -> None:
    """Reddit would refuse the whole request for them."""
    found = refusal(reddit(), event(extra={"reddit": extra}))
    assert found.kind == "rejected"
    assert found.field.startswith(field)
    assert "jane@" not in repr(found)


# -- requests ---------------------------------------------------------------------------------------------------------


def test_a_test_id_stands_beside_the_events_and_makes_requests_of_one() -> None:
    """Inside an event it is refused; Reddit's page shows one event of a request."""
    coded = reddit(test_id="t2_test")
    found = wire(coded, event(test=True))
    assert isinstance(found, Wire)
    assert coded.batch_limit(found.head) == 1
    live = wire(reddit(), event())
    assert isinstance(live, Wire)
    assert reddit().batch_limit(live.head) == 1_000
    (request,) = requests(coded, [event()])
    assert json.loads(b"".join(request.body))["data"]["test_id"] == "t2_test"
    assert refusal(reddit(), event(test=True)).fix == "set test_id on the destination"


@pytest.mark.parametrize("setting", ["test_id", "partner", "partner_version", "user_agent"])
def test_settings_are_text(setting: str) -> None:
    """In one line and without quotes."""
    for bad in (7, " ", '"x"', "a\nb"):
        with pytest.raises(ConfigError, match=setting):
            reddit(**{setting: bad})
    with pytest.raises(ConfigError, match="ASCII"):
        reddit(user_agent="shöp")


# -- answers ----------------------------------------------------------------------------------------------------------


def answered(status: int, document: Any, count: int = 2) -> Any:
    return verdicts(reddit(), status, document, count)


def said(message: str) -> dict[str, Any]:
    return {"data": {"message": message}}


@pytest.mark.parametrize(
    ("sentence", "count", "kind"),
    [
        ("Successfully processed 2 conversion events.", 2, "accepted"),
        ("Successfully processed 1,000 conversion events.", 1000, "accepted"),
        ("Thank you.", 2, "accepted"),
        ("Successfully processed 1 conversion events.", 2, "ambiguous"),
        ("Successfully processed 0 conversion events.", 2, "ambiguous"),
    ],
)
def test_the_count_is_read_out_of_the_sentence(sentence: str, count: int, kind: str) -> None:
    """Fewer than were sent may be any of them."""
    assert kinds(answered(200, said(sentence), count)) == [kind] * count


def test_an_error_is_told_with_its_fields() -> None:
    """To an event alone its own field is named; of several the path may be another's."""
    fields = [
        {"field": "events[0].action_source", "message": "not a valid choice"},
        {"field": "events[0].user.email", "message": "bad value jane@example.com"},
    ]
    document = {"error": {"code": 400, "message": "invalid action_source: web", "fields": fields}}
    (alone,) = answered(400, document, 1)
    assert (alone.kind, alone.field, alone.code) == ("split", "action_source", "400")
    assert alone.reason.startswith("invalid action_source: web; events[0].action_source: not a valid choice")
    assert "jane@" not in alone.reason
    several = answered(400, document, 2)
    assert [(one.kind, one.field) for one in several] == [("split", "")] * 2


@pytest.mark.parametrize("fields", [None, [], {}, "x", [None], [{}], [{"field": 7}], [["a"]]])
@pytest.mark.parametrize("status", [400, 422])
def test_an_error_without_fields_or_with_odd_ones_is_told_by_its_message(status: int, fields: Any) -> None:
    """They are often absent."""
    document = {"error": {"code": status, "message": "missing action_source", "fields": fields}}
    (found,) = answered(status, document, 1)
    assert (found.kind, found.reason, found.field) == ("split", "missing action_source", "")
    (found,) = answered(status, {"error": {}}, 1)
    assert found.reason == f"HTTP {status}: refused without a reason"


@pytest.mark.parametrize(
    ("status", "kind", "fix"),
    [
        (401, "unauthorized", "access_token"), (403, "unauthorized", "pixel_id"), (404, "unauthorized", "pixel_id"),
        (408, "retry", ""), (413, "split", "max_batch_bytes"), (429, "retry", ""), (500, "retry", ""),
        (503, "retry", ""),
    ],
)  # fmt: skip
def test_refusals_are_read_by_their_status(status: int, kind: str, fix: str) -> None:
    """Whether Reddit's own words come with it, those of the older version, or none."""
    for document in ({"error": {"code": status, "message": "no"}}, b"Authorization Required", b""):
        for found in answered(status, document):
            assert found.kind == kind
            assert fix in found.fix


def test_a_slow_down_is_obeyed() -> None:
    """For as long as it says."""
    response = Response(429, b'{"error":{"code":429,"message":"slow down"}}', {"retry-after": "7"})
    (found,) = reddit().classify(response, 1)
    assert (found.kind, found.after_s, found.throttled, found.reason) == ("retry", 7, True, "slow down")


async def test_one_bad_event_of_many_is_found_and_told_with_its_field() -> None:
    """The request is halved until the guilty event is alone; the others are delivered once."""
    async with Sandbox(poison="poison") as sandbox:
        account = reddit(access_token=TOKEN, base_url=sandbox.url("reddit"), requests_per_s=1_000.0)
        async with Client([account], linger_s=0) as client:
            now = datetime.now(UTC) - timedelta(seconds=HOUR)
            sent = [event(event_id="poison" if at == 7 else f"e{at}", time=now) for at in range(20)]
            receipts = await client.send_many(sent)
            found = [(await receipt.outcomes(timeout_s=10))["reddit"] for receipt in receipts]
    assert [at for at, one in enumerate(found) if one.kind != "delivered"] == [7]
    assert (found[7].kind, found[7].field) == ("rejected", "events[0]")
    assert "on purpose" in found[7].reason
    assert sandbox.stats()["reddit"].accepted == 19
