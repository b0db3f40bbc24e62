"""LinkedIn in the sandbox: all or nothing, its two ways to name an event, versions that have ended, rules."""

from __future__ import annotations

import pytest

NOW = 1_790_000_000
DAY = 86_400
RULE = "urn:lla:llaPartnerConversion:"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"conversionValue__amount": 99.9}, "/conversionValue/amount :: value cannot be coerced to String"),
        ({"conversionValue__amount": ...}, "/conversionValue/amount :: field is required but not found"),
        ({"user__userIds": ...}, "/user/userIds :: field is required but not found"),
        ({"user__userInfo__lastName": ...}, "/user/userInfo/lastName :: field is required but not found"),
        ({"user__phone": "x"}, "/user/phone :: unrecognized field found but not allowed"),
        ({"user": {"userIds": [{"idType": "AXCIOM_ID", "idValue": "a"}]}}, "/user/userIds/0/idType :: "),
        ({"user": {"userIds": [], "externalIds": ["a", "b"]}}, "/user/externalIds :: "),
        ({"user": {"userIds": []}}, "/user/userIds :: field is required but not found"),
        ({"conversion": "104012"}, "/conversion :: Invalid Urn format. Invalid prefix."),
        ({"conversionHappenedAt": "1"}, "/conversionHappenedAt :: "),
    ],
)
async def test_a_wrong_form_is_told_by_a_line(sender, platforms, changes, line):
    """With the place in a batch, without one alone; nothing of the batch is stored."""
    it = platforms["linkedin"]
    reply = await sender.send("linkedin", it.event(), it.event(**changes))
    assert (reply.status, reply.body["status"]) == (422, 422)
    assert reply.body["message"].startswith(f"Index: 1, ERROR :: {line}")
    assert [arrival.accepted for arrival in sender.sandbox.arrivals("linkedin")] == [False, False]
    alone = {name: value for name, value in it.headers.items() if name != "X-RestLi-Method"}
    reply = await sender.send("linkedin", body=it.event(**changes), headers=alone)
    assert reply.body["message"].startswith(f"ERROR :: {line}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conversionHappenedAt": (NOW - 90 * DAY - 1) * 1000}, "Conversion time should be within 90 days"),
        ({"conversionHappenedAt": (NOW + 301) * 1000}, "Conversion time should be within 90 days"),
        ({"conversionHappenedAt": NOW}, "Conversion time should be within 90 days"),
        ({"conversion": f"{RULE}9999"}, "Conversion's method should be CONVERSIONS_API"),
    ],
)
async def test_a_wrong_time_or_rule_is_told_by_places(sender, platforms, changes, said):
    """All of one kind at once."""
    it = platforms["linkedin"]
    reply = await sender.send("linkedin", it.event(**changes), it.event(), it.event(**changes))
    assert reply.status == 400
    assert reply.body["message"].startswith(said)
    assert reply.body["message"].endswith(", indices [0, 2] (0-indexed).")


async def test_a_rule_that_is_not_there_refuses_all_in_words_that_mislead(sender, platforms):
    """And names nobody."""
    it = platforms["linkedin"]
    reply = await sender.send("linkedin", it.event(), it.event(conversion=f"{RULE}1040000"))
    assert (reply.status, reply.body["message"]) == (403, "No ad accounts found")


async def test_one_event_alone_is_created(sender, platforms):
    """201, and nothing in the body."""
    it = platforms["linkedin"]
    alone = {name: value for name, value in it.headers.items() if name != "X-RestLi-Method"}
    reply = await sender.send("linkedin", body=it.event(), headers=alone)
    assert (reply.status, reply.body) == (201, "")
    assert sender.sandbox.stats()["linkedin"].accepted == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"LinkedIn-Version": None}, 400, "VERSION_MISSING"),
        ({"LinkedIn-Version": "202511"}, 426, "NONEXISTENT_VERSION"),
        ({"LinkedIn-Version": "202613"}, 426, "NONEXISTENT_VERSION"),
        ({"LinkedIn-Version": "20260801"}, 426, "NONEXISTENT_VERSION"),
        ({"X-Restli-Protocol-Version": None}, 400, None),
        ({"X-RestLi-Method": "BATCH_UPDATE"}, 400, None),
        ({"Content-Type": "text/plain"}, 415, None),
    ],
)
async def test_headers_are_asked_for(sender, platforms, headers, status, code):
    """Before any event is looked at."""
    given = {name: value for name, value in {**platforms["linkedin"].headers, **headers}.items() if value is not None}
    reply = await sender.send("linkedin", headers=given)
    assert (reply.status, reply.body.get("code")) == (status, code)
    assert sender.sandbox.arrivals() == []


@pytest.mark.parametrize(
    "user",
    [
        {"userIds": [{"idType": "GOOGLE_AID", "idValue": "cdda802e"}]},
        {"userIds": [], "lead": "urn:li:leadGenFormResponse:1-2"},
    ],
)
async def test_what_newer_versions_take_older_ones_refuse(sender, platforms, user):
    """An advertising id of Android, and a lead beside nobody."""
    it = platforms["linkedin"]
    for version, status in (("202604", 422), ("202605", 200)):
        headers = {**it.headers, "LinkedIn-Version": version}
        assert (await sender.send("linkedin", it.event(user=user), headers=headers)).status == status


async def test_meaning_is_not_looked_at(sender, platforms):
    """A currency and an address that do not exist are taken; a careful client would not send them."""
    it = platforms["linkedin"]
    odd = [
        {"idType": "PLAINTEXT_IP_ADDRESS", "idValue": "999.999.999.999"},
        {"idType": "SHA256_EMAIL", "idValue": "a@b"},
    ]
    event = it.event(conversionValue={"currencyCode": "ZZZZ", "amount": "1"}, eventId=..., user={"userIds": odd})
    assert (await sender.send("linkedin", event)).status == 200
    assert sender.sandbox.details()["linkedin"]["warnings"] == {
        "no eventId": 1,
        "currencyCode is no currency": 1,
        "PLAINTEXT_IP_ADDRESS is no IPv4 address": 1,
        "SHA256_EMAIL is not hashed": 1,
    }


@pytest.mark.parametrize(("count", "status"), [(0, 400), (5_000, 422), (5_001, 400)])
async def test_five_thousand_are_the_most(sender, count, status):
    """And one is the least: their number is looked at before they are."""
    assert (await sender.send("linkedin", body={"elements": [{}] * count})).status == status


async def test_the_rules_of_an_account_can_be_asked_for(sender, platforms):
    """There are none in the sandbox; a wrong question is told."""
    headers = platforms["linkedin"].headers
    url = sender.sandbox.url("linkedin")
    good = await sender.ask(
        "GET", f"{url}/conversions?q=account&account=urn%3Ali%3AsponsoredAccount%3A5", headers=headers
    )
    assert (good.status, good.body["elements"]) == (200, [])
    assert (await sender.ask("GET", f"{url}/conversions?q=account", headers=headers)).status == 400
