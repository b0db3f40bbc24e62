"""Google Ads: what is said to the Data Manager API, and how its answers are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capi_async.config import from_env
from capi_async.destinations.google_ads import GoogleAds
from capi_async.destinations.google_ads.mapping import timestamp
from capi_async.errors import ConfigError
from capi_async.event import ClickIds, Consent, Device, Event, Item, Page, User
from capi_async.outcome import Response, Verdict
from capi_async.spec import DAY, ENCODER, Wire
from capi_async.testing.mapping import refusal, requests, wire

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)


def account(**settings: Any) -> GoogleAds:
    given = {"customer_id": "1234567890", "access_token": "token", "conversions": {"purchase": "987654321"}, **settings}
    return GoogleAds(**given)


def purchase(**changes: Any) -> Event:
    given = {"event_id": "p-1", "time": NOW, "user": User(email="anna@example.com"), **changes}
    return Event(given.pop("name", "purchase"), **given)


def sent(event: Event, **settings: Any) -> tuple[dict[str, Any], Wire]:
    made = wire(account(**settings), event)
    assert isinstance(made, Wire), made
    return json.loads(ENCODER.encode(made.body)), made


def refused(status: int, *violations: tuple[str, str], count: int, **detail: Any) -> list[Verdict]:
    """The verdicts on an error whose details name these fields and reasons."""
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_ARGUMENT", **detail},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": at, "description": "It is wrong.", "reason": why} for at, why in violations],
        },
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "t-a8896317"},
    ]
    error = {"code": status, "message": "There was a problem.", "status": "INVALID_ARGUMENT", "details": details}
    return account().classify(Response(status, json.dumps({"error": error}).encode()), count)


# Settings.


@pytest.mark.parametrize(
    "written",
    [
        "123-456-7890",
        " 123-456-7890\n",
        "1234567890",
        "123 456 7890",
        "123\u2011456\u20117890",
        "123\u2013456\u20137890",
    ],
)
def test_account_ids_are_taken_as_google_ads_shows_them(written: str) -> None:
    """With hyphens in the page's corner, without them in the address."""
    made = account(customer_id=written, login_customer_id=written)
    assert (made.customer_id, made.login_customer_id) == ("1234567890", "1234567890")


@pytest.mark.parametrize(
    "written",
    [
        {"purchase": 987654321},
        {" purchase ": " 987654321 "},
        {"purchase": "customers/1234567890/conversionActions/987654321"},
        "purchase=987654321",
        " purchase = 987654321 ,",
        "purchase=987654321,purchase=987654321",
        "purchase=ctId=987654321",
        {"purchase": "https://ads.google.com/aw/conversions/detail?ocid=12345&ctId=987654321&euid=7"},
        '{"purchase": "987654321"}',
    ],
)
def test_conversions_are_taken_as_people_copy_them(written: Any) -> None:
    """A number, the resource name of the older API, or the text of a variable."""
    assert account(conversions=written).conversions == {"purchase": "987654321"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"purchase": "AW-987654321"}, {"purchase": ""}, {"purchase": None}, {"": "1"}, {"refund": "987654321"},
        {"purchase": True}, "purchase", "{", 7, ["purchase"], "purchase=1,purchase=2",
        {"purchase": "https://ads.example/?ctId=1"}, {"purchase": "1", " purchase": "2"},
    ],
)  # fmt: skip
def test_conversions_that_are_no_numbers_are_refused_before_any_event(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="conversions"):
        account(conversions=wrong)


def test_an_id_of_floodlight_is_nobody_to_google_ads() -> None:
    """Google refuses the whole request for one."""
    assert refusal(account(), purchase(user=User(), click=ClickIds(dclid="CIzT123"))).reason == "nobody to identify"
    known = purchase(click=ClickIds(dclid="CIzT123", gclid="Cj0-x"))
    assert sent(known)[0]["adIdentifiers"] == {"gclid": "Cj0-x"}
    raw = purchase(extra={"google_ads": {"adIdentifiers": {"matchId": "m"}}})
    assert refusal(account(), raw).kind == "rejected"


@pytest.mark.parametrize("changes", [{"order_id": "bob@example.com-7"}, {"event_id": "bob%40example.com"}])
def test_a_transaction_id_holds_no_personal_data(changes: dict[str, Any]) -> None:
    """Google forbids it, and the id stays in its reports."""
    found = refusal(account(), purchase(**changes))
    assert (found.kind, found.field) == ("rejected", next(iter(changes)))


def test_a_custom_variable_with_an_address_is_left_out_and_told() -> None:
    """Google refuses the whole request for one."""
    event = purchase(properties={"tier": "gold", "by": "bob@example.com"})
    body, made = sent(event, custom_variables={"tier": "tier", "by": "sales"})
    assert body["customVariables"] == [{"variable": "tier", "value": "gold"}]
    assert [said.partition(":")[0] for said in made.warnings] == ["properties.by"]


@pytest.mark.parametrize(
    ("user", "consent", "told"),
    [
        ({"country": "DE"}, None, True),
        ({"country": "GB"}, Consent(ad_personalization=True), True),
        ({}, Consent(region="CH"), True),
        ({"country": "DE"}, Consent(ad_user_data=True), False),
        ({"country": "US"}, None, False),
    ],
)
def test_events_of_europe_without_a_stated_consent_are_told(user: Any, consent: Consent | None, told: bool) -> None:
    """Google takes them, and does not count them unless the account says otherwise."""
    _, made = sent(purchase(user=User(email="anna@example.com", **user), consent=consent))
    assert any(said.startswith("consent.ad_user_data") for said in made.warnings) is told


def test_an_account_is_made_from_the_environment() -> None:
    """Its table is the text of one variable."""
    (made,) = from_env(
        {
            "GOOGLE_ADS_CUSTOMER_ID": "123-456-7890",
            "GOOGLE_ADS_ACCESS_TOKEN": "token",
            "GOOGLE_ADS_CONVERSIONS": "purchase=987654321, lead=5",
        }
    )
    assert isinstance(made, GoogleAds)
    assert (made.customer_id, made.conversions) == ("1234567890", {"purchase": "987654321", "lead": "5"})


# What is sent.


def test_a_name_without_a_conversion_action_is_skipped_and_told_how_to_add_one() -> None:
    found = refusal(account(), purchase(name="newsletter"))
    assert (found.kind, found.field) == ("skipped", "name")
    found = refusal(account(), purchase(name="lead"))
    assert (found.kind, found.field) == ("skipped", "name")
    assert "conversions" in found.fix


def test_a_custom_name_is_sent_when_it_has_a_conversion_action() -> None:
    body, _ = sent(purchase(name="demo_booked"), conversions={"demo_booked": "5"})
    assert body["destinationReferences"] == ["demo_booked"]


def test_only_conversion_actions_that_an_event_refers_to_are_listed() -> None:
    """One of the wrong type costs nobody else anything."""
    made = account(conversions={"purchase": "1", "lead": "2", 'a"b': "3"})
    (request,) = requests(made, [purchase(), purchase(name='a"b')])
    said = json.loads(b"".join(request.body))
    assert {one["reference"]: one["productDestinationId"] for one in said["destinations"]} == {
        "purchase": "1",
        'a"b': "3",
    }


def test_more_than_ten_conversion_actions_share_no_request() -> None:
    names = [f"event_{number:02}" for number in range(23)]
    made = account(conversions={name: str(number) for number, name in enumerate(names)})
    found = requests(made, [purchase(name=name) for name in names])
    assert [len(json.loads(b"".join(one.body))["destinations"]) for one in found] == [10, 10, 3]


@pytest.mark.parametrize("country", ["DE", "gb", "CH", "Norway"])
def test_no_address_of_people_in_the_eea_is_sent(country: str) -> None:
    body, made = sent(purchase(user=User(email="a@b.example", ip="203.0.113.9", user_agent="UA", country=country)))
    assert body["eventDeviceInfo"] == {"userAgent": "UA"}
    assert any("user.ip" in warning for warning in made.warnings)


def test_the_region_of_consent_says_where_a_person_is_too() -> None:
    user = User(email="a@b.example", ip="203.0.113.9")
    body, _ = sent(purchase(user=user, consent=Consent(region="AT-9")))
    assert "eventDeviceInfo" not in body
    body, _ = sent(purchase(user=user, consent=Consent(region="US-CA")))
    assert body["eventDeviceInfo"] == {"ipAddress": "203.0.113.9"}


def test_denied_user_data_leaves_a_click_alone() -> None:
    """And nothing that tells who it was."""
    user = User(email="a@b.example", ip="203.0.113.9", mobile_ad_id="AEBE52E7-03EE-455A-B3C4-E57283966239")
    denied = Consent(ad_user_data=False)
    assert refusal(account(), purchase(user=user, consent=denied)).field == "consent.ad_user_data"
    body, _ = sent(purchase(user=user, consent=denied, click=ClickIds(gclid="Cj0-1")))
    assert body["consent"] == {"adUserData": "CONSENT_DENIED"}
    assert body["adIdentifiers"] == {"gclid": "Cj0-1"}
    assert not {"userData", "eventDeviceInfo"} & body.keys()


def test_extra_cannot_bring_back_what_consent_takes_away() -> None:
    brought = {"google_ads": {"userData": {"userIdentifiers": [{"emailAddress": "ab" * 32}]}}}
    event = purchase(consent=Consent(ad_user_data=False), click=ClickIds(gclid="Cj0-1"), extra=brought)
    found = refusal(account(), event)
    assert (found.kind, found.field) == ("rejected", "extra.userData")


def test_an_identifier_of_the_callers_own_is_one_and_not_two() -> None:
    """Google would refuse the whole request for it."""
    both = {"emailAddress": "ab" * 32, "phoneNumber": "cd" * 32}
    for one in (both, {}):
        found = refusal(account(), purchase(extra={"google_ads": {"userData": {"userIdentifiers": [one]}}}))
        assert (found.kind, found.field) == ("rejected", "extra.userData.userIdentifiers[0]")
        assert "exactly one" in found.reason


def test_click_ids_are_read_from_the_page_and_hold_for_ninety_days() -> None:
    page = Page(url="https://shop.example/?wbraid=CjkK-1")
    body, made = sent(purchase(user=User(), page=page))
    assert body["adIdentifiers"] == {"wbraid": "CjkK-1"}
    assert made.expires_at == NOW.timestamp() + 90 * DAY
    _, made = sent(purchase())
    assert made.expires_at == NOW.timestamp() + 63 * DAY


def test_no_cart_goes_beside_a_braid_and_that_is_said() -> None:
    event = purchase(items=[Item(id="1")], click=ClickIds(gbraid="0AAA"))
    body, made = sent(event)
    assert "cartData" not in body
    assert any("items" in warning for warning in made.warnings)


def test_of_eleven_identifiers_ten_are_sent_and_that_is_said() -> None:
    body, made = sent(purchase(user=User(email=[f"a{number}@b.example" for number in range(11)])))
    assert len(body["userData"]["userIdentifiers"]) == 10
    assert any("10 identifiers" in warning for warning in made.warnings)


def test_half_an_address_identifies_nobody() -> None:
    user = User(first_name="Anna", last_name="Berg", country="SE")
    assert refusal(account(), purchase(user=user)).field == "user"


# What comes back.


def test_an_accepted_request_leaves_its_id_in_every_outcome() -> None:
    body = b'{"requestId": "Qk9NRS1PUEFRVUUtSUQ", "fieldWarnings": [{"field": "events[1].cart_data", "reason": "ODD"}]}'
    first, second = account().classify(Response(200, body), 2)
    assert (first.kind, first.trace_id, first.reason) == ("accepted", "Qk9NRS1PUEFRVUUtSUQ", "")
    assert (second.kind, second.reason, second.field) == ("accepted", "ODD", "cart_data")


def test_of_two_thousand_events_the_thirty_seven_guilty_are_rejected_and_the_others_go_again_at_once() -> None:
    guilty = range(3, 2_000, 54)
    assert len(guilty) == 37
    verdicts = refused(
        400,
        *[(f"events[{index}].user_data.user_identifiers[0].email_address", "INVALID_HEX_ENCODING") for index in guilty],
        count=2_000,
    )
    assert {index for index, one in enumerate(verdicts) if one.kind == "rejected"} == set(guilty)
    assert verdicts[3].field == "user_data.user_identifiers[0].email_address"
    assert verdicts[3].trace_id == "t-a8896317"
    assert {(one.kind, one.after_s) for one in verdicts if one.kind != "rejected"} == {("retry", 0.0)}


def test_a_refusal_that_names_nobody_is_split() -> None:
    assert {one.kind for one in refused(400, count=2_000)} == {"split"}
    assert {one.kind for one in refused(400, ("events[7].x", "ODD"), count=2)} == {"split"}
    assert {one.kind for one in refused(413, count=2)} == {"split"}


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("destinations[0].product_destination_id", "INVALID_CONVERSION_ACTION_TYPE"),
        ("destinations[0].productDestinationId", "SOMETHING_NEW"),
        ("events[0].destination_references", "INVALID_CONVERSION_ACTION_ID"),
        ("", "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED"),
    ],
)
def test_what_is_wrong_with_the_account_pauses_it_and_says_what_to_do(field: str, reason: str) -> None:
    for one in refused(400, (field, reason), count=2):
        assert (one.kind, one.code) == ("unauthorized", reason)
        assert one.fix


def test_a_quota_of_the_minute_waits_as_long_as_it_is_told() -> None:
    body = b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded"}}'
    (one,) = account().classify(Response(429, body, {"retry-after": "17"}), 1)
    assert (one.kind, one.after_s, one.throttled) == ("retry", 17.0, True)


def test_a_quota_of_the_day_waits_until_it_is_back() -> None:
    quota = {"metadata": {"quota_limit": "IngestionMutateRequestsPerDayPerProject"}}
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED", **quota}]
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "details": details}
    body = json.dumps({"error": error}).encode()
    headers = {"date": "Thu, 15 Jan 2026 20:00:00 GMT", "retry-after": "1"}
    (one,) = account().classify(Response(429, body, headers), 1)
    assert (one.kind, one.after_s) == ("retry", timedelta(hours=12).total_seconds())
    assert "quota of the day" in one.reason


def test_a_token_of_another_scope_is_not_tried_again() -> None:
    verdicts = refused(403, count=1, reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT")
    assert (verdicts[0].kind, verdicts[0].probe) == ("unauthorized", False)
    assert "auth/datamanager" in verdicts[0].fix


def test_an_empty_text_about_the_device_is_left_out() -> None:
    """It would be a claim, and Google refuses the request for it."""
    event = purchase(device=Device(os="ios", model="", brand="", os_version=""))
    assert sent(event)[0]["eventDeviceInfo"] == {"operatingSystem": "ios"}


def test_a_name_in_the_table_is_meant_as_it_is_and_any_other_is_told_what_it_lacks() -> None:
    """However near it is to a standard one."""
    own = GoogleAds(customer_id="1234567890", access_token="t", conversions={"Order Completed": "7"})
    found = wire(own, purchase(name="Order Completed"))
    assert isinstance(found, Wire)
    assert not found.warnings
    assert "conversions" in refusal(own, purchase(name="walked_in")).fix


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_utc_cannot_say_harms_nothing(time: str) -> None:
    """The engine refuses it: it is too old, or lies in the future."""
    assert timestamp(datetime.fromisoformat(time)).endswith("Z")
