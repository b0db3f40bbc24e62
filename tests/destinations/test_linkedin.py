"""LinkedIn Conversions API: settings, mapping, refusals, answers. Replies are documented or recorded ones."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import LinkedInFields, Page
from capi_async.browser import browser_snippet
from capi_async.config import from_env, make
from capi_async.credentials import RefreshToken
from capi_async.destinations.linkedin import LinkedIn, versions
from capi_async.destinations.linkedin.names import rules_of
from capi_async.errors import ConfigError, EventError
from capi_async.event import STANDARD_EVENTS, ClickIds, Consent, Device, Event, Hashed, User
from capi_async.outcome import Response, Verdict
from capi_async.spec import DAY, Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

NOON = datetime(2026, 1, 15, 10, tzinfo=UTC)
JANE = User(email="jane.doe@example.com")
DIGEST = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
FAT = "9d2f1c8e-3b8a-4f0e-9c55-7d0e5a1b2c3d"


def linkedin(**settings: Any) -> LinkedIn:
    return LinkedIn(**{"access_token": "SECRET", "conversions": {"purchase": "104012"}, **settings})


def event(name: str = "purchase", **fields: Any) -> Event:
    return Event(name, **{"user": JANE, "event_id": "e1", "time": NOON, **fields})


def made(settings: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return body(linkedin(**(settings or {})), event(**fields))


def ids_of(**fields: Any) -> dict[str, str]:
    return {one["idType"]: one["idValue"] for one in made(**fields)["user"]["userIds"]}


def warned(settings: dict[str, Any] | None = None, **fields: Any) -> tuple[str, ...]:
    found = wire(linkedin(**(settings or {})), event(**fields))
    assert isinstance(found, Wire)
    return found.warnings


# -- conversion rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({"purchase": "104012"}, {"purchase": ("104012",)}),
        ({"purchase": 104012}, {"purchase": ("104012",)}),
        ({" purchase ": " 104012\n"}, {"purchase": ("104012",)}),
        ({"purchase": "urn:lla:llaPartnerConversion:104012"}, {"purchase": ("104012",)}),
        ({"purchase": "urn%3Alla%3AllaPartnerConversion%3A104012"}, {"purchase": ("104012",)}),
        ({"lead": ["104013", 104019, "104013"]}, {"lead": ("104013", "104019")}),
        ("purchase=104012, lead=104013,lead=104019", {"purchase": ("104012",), "lead": ("104013", "104019")}),
        ('{"purchase": 104012, "lead": ["104013"]}', {"purchase": ("104012",), "lead": ("104013",)}),
    ],
)
def test_rules_are_taken_as_people_copy_them(given: Any, rules: dict[str, tuple[str, ...]]) -> None:
    """Numbers, URNs, lists of them, a table of a file or the text of a variable."""
    assert linkedin(conversions=given).conversions == rules
    assert make("linkedin", {"access_token": "t", "conversions": given}).conversions == rules  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "given",
    [
        {"purchase": ""}, {"purchase": "PURCHASE"}, {"purchase": "urn:li:sponsoredAccount:512345"}, {"purchase": []},
        {"purchase": True}, {"purchase": None}, {"purchase": ["104012", "x"]}, {"": "104012"}, {7: "104012"},
        {"refund": "104012"}, ["104012"], "104012", "{", {"lead": [str(number) for number in range(11)]},
        {"purchase": 1.5}, {"purchase": "-104012"}, {"purchase": "104 012"},
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_the_setting(given: Any) -> None:
    """At the start, and without repeating the value."""
    with pytest.raises(ConfigError, match=r"linkedin: conversions \(LINKEDIN_CONVERSIONS\) ") as refused:
        linkedin(conversions=given)
    assert "512345" not in str(refused.value)


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["104012", "%", "="]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), below, max_size=3),
    max_leaves=6,
)


@given(given_value=_anything)
def test_whatever_is_given_as_rules_is_read_or_refused_in_words(given_value: Any) -> None:
    """What is read holds digits alone, and is read the same again."""
    found = rules_of(given_value)
    if isinstance(found, str):
        assert found
        return
    assert all(number.isdecimal() and number.isascii() for rules in found.values() for number in rules)
    assert rules_of(found) == found


@pytest.mark.parametrize("name", sorted(STANDARD_EVENTS - {"refund"}))
def test_an_event_without_a_rule_is_skipped_with_the_type_to_make(name: str) -> None:
    """Whoever sets LinkedIn up has to make a rule for each name; its type is told."""
    found = refusal(linkedin(conversions={"other": "1"}), event(name))
    assert (found.kind, found.field) == ("skipped", "name")
    assert "conversion rule" in found.reason
    assert "of type " in found.fix
    assert ("of type PURCHASE" in found.fix) is (name == "purchase")


def test_custom_events_count_by_rules_of_their_own() -> None:
    """Any name may stand in the table, and a near miss of a standard one is told."""
    quiz = linkedin(conversions={"quiz_done": "7", "purchase": "8"})
    assert body(quiz, event("quiz_done"))["conversion"] == "urn:lla:llaPartnerConversion:7"
    assert "OTHER" in refusal(quiz, event("walked_in")).fix
    assert "'purchase' meant" in refusal(quiz, event("Order Completed")).fix


def test_a_name_in_the_table_is_meant_as_it_is() -> None:
    """However near it is to a standard one."""
    own = linkedin(conversions={"Order Completed": "7"})
    found = wire(own, event("Order Completed"))
    assert isinstance(found, Wire)
    assert not found.warnings
    assert own.is_own(event("Order Completed"))


def test_an_event_may_be_renamed_to_a_name_that_has_a_rule_and_to_no_other() -> None:
    """A misspelt name would skip every event."""
    renamed = linkedin(event_names={"our_order": "purchase", "purchase": None})
    assert body(renamed, event("our_order"))["conversion"].endswith(":104012")
    assert refusal(renamed, event("purchase")).kind == "skipped"
    with pytest.raises(ConfigError, match=r"event_names\['our_order'\]: conversions has no such name"):
        linkedin(event_names={"our_order": "purchse"})


def test_events_of_different_rules_never_share_a_request() -> None:
    """One wrong number refuses its whole request."""
    both = linkedin(conversions={"purchase": "1", "lead": "2"})
    assert len(requests(both, [event("purchase"), event("lead"), event("lead")])) == 2


def test_an_event_of_several_rules_takes_a_place_for_each() -> None:
    """5,000 places are the most."""
    several = linkedin(conversions={"lead": ["1", "2", "3"], "purchase": "4"})
    heads = {name: found.head for name in ("lead", "purchase") if isinstance(found := wire(several, event(name)), Wire)}
    assert {name: several.batch_limit(head) for name, head in heads.items()} == {"lead": 1_666, "purchase": 5_000}
    assert linkedin(max_batch_events=100).batch_limit(heads["lead"]) == 100
    told = wire(several, event("lead"))
    assert isinstance(told, Wire)
    assert told.warnings == ("conversion: counts by 3 rules, and is sent once for each",)


# -- the version ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "sent"), [("202609", "202609"), (202609, "202609"), (" 202608\n", "202608")])
def test_the_version_stands_in_its_header(given: Any, sent: str) -> None:
    """Text or number, as configurations have it."""
    assert requests(linkedin(api_version=given), [event()])[0].headers["LinkedIn-Version"] == sent


@pytest.mark.parametrize("odd", ["2026-08", "20260801", "202613", "v202608", "", None, True, "202409"])
def test_what_is_no_version_is_refused(odd: Any) -> None:
    """A month, and none of those that LinkedIn has long ended."""
    with pytest.raises(ConfigError, match="api_version"):
        linkedin(api_version=odd)


@pytest.mark.parametrize(
    ("version", "at", "near"),
    [
        ("202608", "2027-05-31T23:59:59+00:00", False), ("202608", "2027-06-01T00:00:00+00:00", True),
        ("202608", "2026-08-01T00:00:00+00:00", False), ("202601", "2026-11-01T00:00:00+00:00", True),
        ("202612", "2027-09-30T00:00:00+00:00", False), ("202612", "2027-10-01T00:00:00+00:00", True),
    ],
)  # fmt: skip
def test_a_version_is_warned_of_ten_months_after_its_own(version: str, at: str, near: bool) -> None:
    """Two months before it may end."""
    assert (datetime.fromisoformat(at).timestamp() >= versions.near_its_end_from(version)) is near


def test_the_log_warns_of_a_version_that_is_near_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often a configuration is read; a version that is not there yet is never near its end."""
    with caplog.at_level(logging.WARNING, "capi_async"):
        for _ in range(3):
            linkedin(name="warned", api_version="202601")
        linkedin(name="silent", api_version="209912")
    assert [record.destination for record in caplog.records] == ["warned"]  # type: ignore[attr-defined]
    assert "ends version 202601 of its API in 2027-01 or later" in caplog.text
    assert "LINKEDIN_VERSION" in caplog.text


def test_explain_warns_of_it_too() -> None:
    """By the time of the event."""
    late = {"time": datetime(2027, 6, 1, tzinfo=UTC)}
    assert any("ends version 202608" in text for text in warned(**late))
    assert not warned()


# -- the person -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "digest"),
    [
        ("  Jane.Doe@Example.COM ", DIGEST),
        ("Jane.Doe+news@gmail.com", "f41439c944a763c9812d700a779941cec169de13c9ccd13aaf9424ba5231620a"),
        ("MIKE@EXAMPLE.COM", "18b258e9ade091623dd829132e1e9d8b4a7f7d90abea194001c54341c3f27b79"),
        ("anna@example.com", "f7d54c22dda5b1780276601cd005909b70543fc4a6ba72d735b4cb9bbb611f01"),
        ("test-email@test.com", "e586883b2b4faf78d48300a79e0e15138d664cdf796ffb86e533170a9893eda8"),
        (Hashed("86E0B9E56C17CC4D12387E1949B85053FBE73BC3CE5A1188713A9D300CC6133D"), DIGEST),
    ],
)
def test_addresses_are_hashed_by_linkedins_rule(email: Any, digest: str) -> None:
    """Every vector, on the wire: small letters, no blanks around it, dots and tags stay."""
    assert ids_of(user=User(email=email)) == {"SHA256_EMAIL": digest}


def test_an_address_with_a_blank_inside_is_refused_not_repaired() -> None:
    """Other integrations read it in two ways."""
    assert refusal(linkedin(), event(user=User(email="jane doe@example.com"))).field.startswith("user")


def test_of_several_addresses_the_first_is_sent_and_that_is_said() -> None:
    """LinkedIn documents one."""
    user = User(email=["jane.doe@example.com", "c@d.example"])
    assert ids_of(user=user) == {"SHA256_EMAIL": DIGEST}
    assert "the first of 2" in warned(user=user)[0]


@pytest.mark.parametrize(
    ("user", "fields", "sent", "said"),
    [
        ({"ip": "12.34.56.78"}, {}, {"PLAINTEXT_IP_ADDRESS": "12.34.56.78"}, ""),
        ({"ip": "2001:db8:85a3::8a2e:370:7334"}, {}, {}, ""),
        ({"ip": "2a00:1450:4001:81b::200e"}, {}, {}, "IPv4 addresses only"),
        ({"phone": "+16505551212", "user_agent": "Mozilla/5.0", "city": "Paris"}, {}, {}, ""),
        (
            {"mobile_ad_id": "CDDA802E-FB9C-47AD-9866-0794D394C912"}, {"device": Device(os="android")},
            {"GOOGLE_AID": "cdda802e-fb9c-47ad-9866-0794d394c912"}, "",
        ),
        (
            {"mobile_ad_id": "CDDA802E-FB9C-47AD-9866-0794D394C912"}, {"device": Device(os="ios")}, {},
            "those of Android",
        ),
        ({"mobile_ad_id": "CDDA802E-FB9C-47AD-9866-0794D394C912"}, {}, {}, "device.os must say"),
        ({}, {"click": ClickIds(li_fat_id=FAT)}, {"LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID": FAT}, ""),
        ({}, {"linkedin": LinkedInFields(acxiom_id="a")}, {"ACXIOM_ID": "a"}, ""),
        ({}, {"linkedin": LinkedInFields(oracle_moat_id="o")}, {"ORACLE_MOAT_ID": "o"}, ""),
    ],
)  # fmt: skip
def test_what_else_tells_who_it_was(
    user: dict[str, str], fields: dict[str, Any], sent: dict[str, str], said: str
) -> None:
    """There is no key for telephone, place or browser, and none for addresses of IPv6."""
    given = {"user": User(email="jane.doe@example.com", **user), **fields}
    assert ids_of(**given) == {"SHA256_EMAIL": DIGEST, **sent}
    assert [text for text in warned(**given) if said and said in text] or not said


def test_android_ids_need_a_version_that_knows_them() -> None:
    """An enumeration's unknown name would refuse the whole request."""
    given = {"user": User(email="a@b.example", mobile_ad_id="cdda802e-fb9c-47ad-9866-0794d394c912"),
             "device": Device(os="android")}  # fmt: skip
    assert [one["idType"] for one in made({"api_version": "202604"}, **given)["user"]["userIds"]] == ["SHA256_EMAIL"]
    assert "from api_version 202605 on" in warned({"api_version": "202604"}, **given)[-1]


def test_the_click_is_found_in_the_pages_address() -> None:
    """As the landing page had it; what stands for nothing is left out."""
    page = Page(url=f"https://shop.example/?li_fat_id={FAT}")
    assert ids_of(user=User(), page=page) == {"LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID": FAT}
    assert refusal(linkedin(), event(user=User(), click=ClickIds(li_fat_id="undefined"))).field == "user"


ANNA: dict[str, Any] = {
    "user": User(first_name=" Anna ", last_name="Berg", country="sweden"),
    "linkedin": LinkedInFields(company_name=" Example AB ", title="Engineer"),
}


def test_names_leave_only_when_asked_and_then_as_they_are() -> None:
    """LinkedIn takes them in clear."""
    info = made({"send_profile": True}, **ANNA)["user"]["userInfo"]
    assert info == {
        "firstName": "Anna", "lastName": "Berg", "companyName": "Example AB", "title": "Engineer", "countryCode": "SE",
    }  # fmt: skip
    off = refusal(linkedin(), event(**ANNA))
    assert (off.kind, off.field) == ("skipped", "user")
    assert "send_profile=True" in off.fix
    with pytest.raises(ConfigError, match="send_profile"):
        linkedin(send_profile="yes")


@pytest.mark.parametrize("user", [{"first_name": "Anna"}, {"last_name": "Berg"}, {"country": "SE"}])
def test_half_a_name_is_left_out(user: dict[str, str]) -> None:
    """One alone refuses the whole request; company and title go with both only, and that is said."""
    given = {"user": User(email="jane.doe@example.com", **user), "linkedin": ANNA["linkedin"]}
    assert set(made({"send_profile": True}, **given)["user"]) == {"userIds"}
    said = warned({"send_profile": True}, **given)
    assert any("linkedin.company_name" in text for text in said)
    assert any("both or neither" in text for text in said) is ("country" not in user)


@pytest.mark.parametrize(
    ("fields", "sendable"),
    [
        ({"user": User(external_id=" u-1002 ")}, True),
        ({"user": User(ip="12.34.56.78")}, True),
        ({"linkedin": LinkedInFields(lead="urn:li:leadGenFormResponse:1-2")}, True),
        ({"linkedin": LinkedInFields(acxiom_id="a")}, True),
        ({"click": ClickIds(li_fat_id=FAT)}, True),
        ({"user": User(phone="+16505551212", user_agent="UA", ip="2a00:1450:4001:81b::200e")}, False),
        ({"user": User(external_id="jane@example.com")}, False),
        ({"user": User(external_id=Hashed("ab" * 32))}, False),
        ({"linkedin": LinkedInFields(company_name="Example AB")}, False),
        ({}, False),
    ],
)
def test_somebody_must_be_named(fields: dict[str, Any], sendable: bool) -> None:
    """One identifier of any kind; the list of ids is there even where it is empty."""
    found = wire(linkedin(), event(**{"user": User(), **fields}))
    if sendable:
        assert isinstance(made(**{"user": User(), **fields})["user"]["userIds"], list)
    else:
        assert not isinstance(found, Wire)
        assert (found.kind, found.field) == ("skipped", "user")


def test_an_own_id_that_is_an_address_does_not_leave_in_clear() -> None:
    """People put the e-mail address there."""
    user = User(email="jane.doe@example.com", external_id="jane.doe@example.com")
    assert "externalIds" not in made(user=user)["user"]
    assert "looks like an e-mail address" in warned(user=user)[0]


def test_a_lead_alone_needs_a_version_that_takes_it() -> None:
    """Before, it went beside others only."""
    lead = {"user": User(), "linkedin": LinkedInFields(lead="urn:li:leadGenFormResponse:1-2")}
    assert made(**lead)["user"] == {"userIds": [], "lead": "urn:li:leadGenFormResponse:1-2"}
    assert refusal(linkedin(api_version="202604"), event(**lead)).field == "user"


@pytest.mark.parametrize("odd", ["123", "urn:lla:x:1", "urn:li:leadGenFormResponse:", "urn:li:x: 1", "urn:li:x:é"])
def test_a_lead_is_a_urn(odd: str) -> None:
    """As LinkedIn's webhook and API give it."""
    with pytest.raises(EventError, match="urn:li:leadGenFormResponse"):
        LinkedInFields(lead=odd)


# -- value, time, consent, test mode ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "amount"), [("99.90", "99.90"), (1500, "1500"), ("1E+3", "1000"), ("0.0001", "0.0001"), (0.1, "0.1")]
)
def test_amounts_are_text(value: Any, amount: str) -> None:
    """A number is refused there; no exponent, every digit."""
    assert made(value=value, currency="eur")["conversionValue"] == {"currencyCode": "EUR", "amount": amount}


@pytest.mark.parametrize("fields", [{"value": 5}, {"currency": "EUR"}])
def test_value_and_currency_go_together_or_not_at_all(fields: dict[str, Any]) -> None:
    """Half of the pair is refused there."""
    assert "conversionValue" not in made(**fields)
    assert "neither was sent" in warned(**fields)[0]


def test_the_time_is_in_milliseconds_and_ninety_days_are_taken() -> None:
    """Thirteen digits."""
    assert made(time=NOON + timedelta(milliseconds=123))["conversionHappenedAt"] == 1768471200123
    assert refusal(linkedin(), event(time=datetime(2001, 1, 1, tzinfo=UTC))).field == "time"
    found = wire(linkedin(), event())
    assert isinstance(found, Wire)
    assert found.expires_at == NOON.timestamp() + 90 * DAY
    assert found.resend_for_s == 0


@pytest.mark.parametrize(
    "consent",
    [
        Consent(ad_storage=False), Consent(ad_user_data=False), Consent(ad_personalization=False),
        Consent(sale_opt_out=True),
    ],
)  # fmt: skip
def test_without_consent_nothing_is_sent(consent: Consent) -> None:
    """LinkedIn has no switch for any of them."""
    found = refusal(linkedin(), event(consent=consent))
    assert (found.kind, found.field.partition(".")[0]) == ("skipped", "consent")


def test_there_is_no_test_mode() -> None:
    """A test event would be counted."""
    found = refusal(linkedin(), event(test=True))
    assert (found.kind, found.field) == ("skipped", "test")


# -- raw fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"conversion": "urn:lla:llaPartnerConversion:1"}, "extra.conversion"),
        ({"conversionHappenedAt": 1768471200}, "extra.conversionHappenedAt"),
        ({"conversionValue": {"currencyCode": "EUR", "amount": 5}}, "extra.conversionValue.amount"),
        ({"conversionValue": {"currencyCode": "EUR"}}, "extra.conversionValue.amount"),
        ({"conversionValue": {"currencyCode": "euro", "amount": "5"}}, "extra.conversionValue.currencyCode"),
        ({"user": {"userIds": [{"idType": "AXCIOM_ID", "idValue": "a"}]}}, "extra.user.userIds[0].idType"),
        ({"user": {"userIds": [{"idType": "SHA256_EMAIL", "idValue": "a@b.example"}]}}, "extra.user.userIds[0]"),
        ({"user": {"userIds": [{"idType": "PLAINTEXT_IP_ADDRESS", "idValue": "::1"}]}}, "extra.user.userIds[0]"),
        ({"user": {"userIds": None}}, "extra.user.userIds"),
        ({"user": {"userInfo": {"firstName": "Anna"}}}, "extra.user.userInfo.lastName"),
        ({"user": {"externalIds": ["a", "b"]}}, "extra.user.externalIds"),
        ({"user": {"phone": "x"}}, "extra.user"),
        ({"source": "x"}, "extra"),
    ],
)
def test_raw_fields_are_held_to_the_schema(extra: dict[str, Any], field: str) -> None:
    """One unknown key or type refuses the whole request, so it is refused here, by name and without the value."""
    found = refusal(linkedin(), event(extra={"linkedin": extra}))
    assert (found.kind, found.field) == ("rejected", field)
    assert "a@b.example" not in found.reason


def test_a_hashed_ip_address_may_be_given_in_linkedins_own_words() -> None:
    """What exactly is hashed is not documented, so it is not made here."""
    ids = [{"idType": "SHA256_IP_ADDRESS", "idValue": DIGEST}]
    assert made(extra={"linkedin": {"user": {"userIds": ids}}})["user"]["userIds"] == ids


# -- the account ------------------------------------------------------------------------------------------------------


def test_an_ad_account_is_asked_for_its_rules_where_its_number_is_known() -> None:
    """For ``doctor``: it changes nothing."""
    assert linkedin().account_check("TOKEN") is None
    with pytest.raises(ConfigError, match="account_id needs 1 to 19 digits"):
        linkedin(account_id="eu")
    for number in ("512345", "urn:li:sponsoredAccount:512345", " urn%3Ali%3AsponsoredAccount%3A512345\n"):
        asked = linkedin(account_id=number).account_check("TOKEN")
        assert asked is not None
        assert asked.method == "GET"
        assert asked.url.endswith("/rest/conversions?q=account&account=urn%3Ali%3AsponsoredAccount%3A512345")


@pytest.mark.parametrize(
    ("mine", "other", "owned"),
    [
        ({}, {"access_token": "RENEWED"}, True),
        ({}, {"conversions": {"purchase": "104012", "lead": "104013"}}, True),
        ({}, {"conversions": {"lead": "99", "purchase": "104012"}}, True),
        ({}, {"account_id": "512345"}, True),
        ({"account_id": "512345"}, {"account_id": "urn:li:sponsoredAccount:512345", "access_token": "RENEWED"}, True),
        ({}, {"conversions": {"purchase": "104099"}}, False),
        ({"account_id": "512345"}, {"account_id": "512346"}, False),
    ],
)
def test_what_waits_outlives_its_token_and_new_rules(mine: Any, other: Any, owned: bool) -> None:
    """A token is exchanged every 60 days, and mostly because events wait for it."""
    assert linkedin(**other).owns(linkedin(**mine).account()) is owned


def test_the_environment_gives_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as text."""
    monkeypatch.setenv("LINKEDIN_ACCESS_TOKEN", "SECRET")
    monkeypatch.setenv("LINKEDIN_CONVERSIONS", "purchase=104012,lead=104013,lead=104019")
    monkeypatch.setenv("LINKEDIN_BROWSER_CONVERSIONS", "purchase=204012")
    monkeypatch.setenv("LINKEDIN_VERSION", "202609")
    (found,) = (one for one in from_env() if isinstance(one, LinkedIn))
    assert found == linkedin(
        conversions={"purchase": "104012", "lead": ["104013", "104019"]}, api_version="202609",
        browser_conversions={"purchase": "204012"},
    )  # fmt: skip


def test_tokens_are_renewed_at_linkedins_address() -> None:
    """``RefreshToken(..., token_url=LinkedIn.token_url)``."""
    token = RefreshToken(client_id="c", client_secret="s", refresh_token="r", token_url=LinkedIn.token_url)
    assert not linkedin(access_token=token).secret().fixed


# -- the browser ------------------------------------------------------------------------------------------------------


def test_the_insight_tag_is_told_the_number_of_its_own_rule() -> None:
    """Only where a rule of each source counts the event does LinkedIn see that two copies are one."""
    own = linkedin(
        conversions={"purchase": "104012", "lead": "104013"}, browser_conversions="purchase=204012",
        event_names={"our_order": "purchase", "login": None},
    )  # fmt: skip
    for name in ("purchase", "our_order"):
        call = browser_snippet(event(name), [own]).calls["linkedin"]
        assert 'lintrk("track",{"conversion_id":204012,"event_id":"e1"})' in call
    silent = browser_snippet(event("lead"), [own])
    assert not silent.calls
    assert "browser_conversions" in silent.notes[0]
    with pytest.raises(ConfigError, match="LINKEDIN_BROWSER_CONVERSIONS"):
        linkedin(browser_conversions={"purchase": "tag"})


# -- answers ----------------------------------------------------------------------------------------------------------


def read(status: int, said: Any, count: int = 1, rules: int = 1, **headers: str) -> list[Verdict]:
    """What is read from the answer to a request of events that count by so many rules."""
    several = linkedin(conversions={"purchase": [str(104012 + number) for number in range(rules)]})
    made = wire(several, event())
    assert isinstance(made, Wire)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = said if isinstance(said, bytes) else msgspec.json.encode(said)
    return several.classify(Response(status, raw, named, made.head), count)


def elements(*statuses: int) -> dict[str, Any]:
    return {"elements": [{"status": status} for status in statuses]}


def test_a_batch_is_taken_when_every_element_is() -> None:
    """In request order, with the id of the request where there is one."""
    found = read(200, elements(201, 201), 2, x_li_uuid="AAYn3Q==")
    assert kinds(found) == ["accepted", "accepted"]
    assert found[0].trace_id == "AAYn3Q=="


@pytest.mark.parametrize(
    ("statuses", "rules", "expected"),
    [
        ([201, 400], 1, ["accepted", "rejected"]),
        ([500, 201], 1, ["retry", "accepted"]),
        ([429, 201], 1, ["retry", "accepted"]),
        ([302, 201], 1, ["ambiguous", "accepted"]),
        ([201, 201, 201, 201], 2, ["accepted", "accepted"]),
        ([201, 201, 201, 400], 2, ["accepted", "ambiguous"]),
        ([400, 201, 400, 201], 2, ["rejected", "accepted"]),
        ([201], 1, ["ambiguous", "ambiguous"]),
        ([201, 201, 201], 1, ["ambiguous", "ambiguous"]),
    ],
)
def test_each_element_is_read(statuses: list[int], rules: int, expected: list[str]) -> None:
    """LinkedIn documents all or nothing; a status that says otherwise is not passed over."""
    assert kinds(read(200, elements(*statuses), 2, rules)) == expected


TYPES = (
    "Index: 0, ERROR :: /conversionValue/amount :: field is required but not found and has no default value\n"
    "ERROR :: /user/userInfo/firstName :: field is required but not found and has no default value\n"
    "Index: 2, ERROR :: /user/phone :: unrecognized field found but not allowed\n"
)
TIMES = "Conversion time should be within 90 days and not exceed current time, indices [0, 3] (0-indexed)."


def test_lines_name_the_guilty_and_the_others_go_again_at_once() -> None:
    """A line without a place belongs to the one before."""
    found = read(422, {"message": TYPES, "status": 422}, 3)
    assert kinds(found) == ["rejected", "retry", "rejected"]
    assert [verdict.field for verdict in found] == ["conversionValue.amount", "", "user.phone"]
    assert "user.userInfo.firstName" in found[0].reason
    assert (found[1].after_s, found[1].throttled) == (0.0, False)


def test_places_name_the_guilty_as_well() -> None:
    """The second form."""
    found = read(400, {"message": TIMES, "status": 400}, 4)
    assert kinds(found) == ["rejected", "retry", "retry", "rejected"]
    assert found[0].field == "conversionHappenedAt"
    assert "within 90 days" in found[0].reason
    assert "indices" not in found[0].reason


def test_of_several_rules_a_place_leads_to_its_event() -> None:
    """All events of the first rule stand first."""
    assert kinds(read(400, {"message": TIMES}, 2, rules=2)) == ["rejected", "rejected"]
    assert kinds(read(400, {"message": "x, indices [3] (0-indexed)."}, 2, rules=2)) == ["retry", "rejected"]


def test_a_request_of_one_names_no_place() -> None:
    """Which can only be that one."""
    said = "ERROR :: /conversionValue/amount :: value cannot be coerced to String\n"
    (found,) = read(422, {"message": said, "status": 422})
    assert (found.kind, found.field) == ("rejected", "conversionValue.amount")


@pytest.mark.parametrize(
    "said",
    ["Invalid Urn format. Invalid prefix.", "", "Index: 7, ERROR :: /x :: y", "x, indices [] (0-indexed)", 5, None],
)
def test_without_a_place_the_request_is_halved(said: Any) -> None:
    """Nobody is blamed for another's fault, nor for a place that the request did not have."""
    assert kinds(read(422, {"message": said}, 3)) == ["split"] * 3


def test_a_rule_of_the_wrong_source_is_named() -> None:
    """All of its events are refused alike, so a destination of which nothing is taken is paused."""
    said = "Conversion's method should be CONVERSIONS_API, indices [0, 1] (0-indexed)."
    found = read(400, {"message": said, "status": 400}, 2)
    assert kinds(found) == ["rejected", "rejected"]
    assert found[0].field == "conversion"
    assert found[0].suspect
    assert "a rule for purchase whose source is the Conversions API" in found[0].fix


def test_a_wrong_number_is_told_as_such() -> None:
    """LinkedIn's own words mislead: "No ad accounts found"."""
    found = read(403, {"message": "No ad accounts found", "status": 403}, 2)
    assert kinds(found) == ["split", "split"]
    assert "no conversion rule of the number for purchase: No ad accounts found" in found[0].reason
    assert "the number for purchase in conversions" in found[0].fix


@pytest.mark.parametrize(
    ("body", "probe"),
    [
        ({"serviceErrorCode": 65600, "code": "INVALID_ACCESS_TOKEN", "message": "Invalid access token"}, True),
        ({"serviceErrorCode": 65601, "code": "REVOKED_ACCESS_TOKEN", "message": "revoked"}, False),
        ({"serviceErrorCode": 65601, "message": "The token used in the request has been revoked"}, False),
    ],
)  # fmt: skip
def test_a_refused_token_pauses(body: dict[str, Any], probe: bool) -> None:
    """A revoked one is not tried again."""
    (found,) = read(401, body)
    assert (found.kind, found.probe) == ("unauthorized", probe)
    assert "RefreshToken" in found.fix


ENDED = {"status": 426, "code": "NONEXISTENT_VERSION", "message": "Requested version 20260801 is not active"}


@pytest.mark.parametrize(
    ("status", "said", "date", "fix"),
    [
        (426, ENDED, "Mon, 06 Sep 2027 10:00:00 GMT", "such as 202707"),
        (426, ENDED, "Mon, 07 Feb 2028 10:00:00 GMT", "such as 202711"),
        (426, ENDED, "Mon, 07 Sep 2026 10:00:00 GMT", "lists as active"),
        (426, ENDED, "", "lists as active"),
        (426, b"", "", "lists as active"),
        (426, {"message": "Version Header is Deprecated"}, "", "lists as active"),
        (400, {"status": 400, "code": "VERSION_MISSING", "message": "A version must be present."}, "", "api_version"),
    ],
)
def test_a_version_that_has_ended_pauses_and_says_which_to_set(status: int, said: Any, date: str, fix: str) -> None:
    """It is no server error, and no event is to blame."""
    found = read(status, said, 2, **({"date": date} if date else {}))
    assert kinds(found) == ["unauthorized", "unauthorized"]
    assert "version 202608" in found[0].reason
    assert fix in found[0].fix
    assert "LINKEDIN_VERSION" in found[0].fix
    assert ("such as" in found[0].fix) is ("such as" in fix)


def test_a_page_with_426_is_not_linkedins() -> None:
    """Proxies ask for another protocol in this way."""
    assert kinds(read(426, b"<html><body>Upgrade Required</body></html>")) == ["retry"]


@pytest.mark.parametrize(
    ("words", "headers", "after_s"),
    [
        ("Resource level throttle limit for calls to this resource is reached.", {}, None),
        ("Resource level throttle limit for calls to this resource is reached.", {"retry_after": "17"}, 17.0),
        ("Resource level throttle MINUTE limit for calls is reached.", {"date": "Mon, 06 Sep 2027 23:00:00 GMT"}, None),
        ("Resource level throttle APPLICATION_AND_MEMBER DAY limit for calls to this resource is reached.",
         {"date": "Mon, 06 Sep 2027 23:00:00 GMT"}, 3_600.0),
        ("Resource level throttle APPLICATION DAY limit for calls to this resource is reached.", {}, 3_600.0),
        ("Resource level throttle APPLICATION DAY limit is reached.",
         {"retry_after": "120", "date": "Mon, 06 Sep 2027 12:00:00 GMT"}, 120.0),
    ],
)  # fmt: skip
def test_a_quota_of_the_day_waits_for_midnight_in_utc(
    words: str, headers: dict[str, str], after_s: float | None
) -> None:
    """By LinkedIn's own clock; a wait that it asks for goes before it."""
    found = read(429, {"serviceErrorCode": 101, "message": words, "status": 429}, 2, **headers)
    assert kinds(found) == ["retry", "retry"]
    assert (found[0].throttled, found[0].after_s) == (True, after_s)
    assert ("quota of the day" in found[0].reason) is ("DAY" in words)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(423, "retry"), (408, "retry"), (500, "retry"), (504, "retry"), (413, "split"), (404, "unauthorized")],
)
def test_what_the_status_alone_says(status: int, kind: str) -> None:
    """In LinkedIn's words, where it has some."""
    found = read(status, {"message": "because", "status": status}, 2)
    assert kinds(found) == [kind, kind]
    assert kinds(verdicts(linkedin(), status, {"message": "because"})) == [kind]


_places = st.integers(0, 12)
_lines = st.builds("Index: {}, ERROR :: /user/{} :: {}\n".format, _places, st.text(max_size=5), st.text(max_size=9))
_lists = st.builds("{}, indices {} (0-indexed).".format, st.text(max_size=9), st.lists(_places, max_size=4))


@given(
    parts=st.lists(_lines | _lists | st.text(max_size=12), max_size=5), count=st.integers(1, 5), rules=st.integers(1, 2)
)
def test_whatever_a_refusal_says_each_event_has_its_verdict(parts: list[str], count: int, rules: int) -> None:
    """Either somebody is to blame and the others go again, or the request is halved."""
    for status in (400, 422):
        found = read(status, {"message": "".join(parts), "status": status}, count, rules)
        assert len(found) == count
        assert set(kinds(found)) in ({"rejected"}, {"rejected", "retry"}, {"split"})
        assert all(verdict.after_s == 0.0 for verdict in found if verdict.kind == "retry")
