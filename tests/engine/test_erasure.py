"""Whose records are found by the ids that platforms gave a person: as text, as a number, in a URN."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import ConfigError, Event, Page, User
from capi_async.destinations import Webhook
from capi_async.destinations.linkedin import LinkedIn
from capi_async.destinations.meta import Meta
from capi_async.destinations.snap import Snap
from capi_async.destinations.tiktok import TikTok
from capi_async.engine.erasure import SubjectLooks, matches_subject
from capi_async.engine.prepare import Preparer
from capi_async.platform_fields import LinkedInFields, MetaFields, SnapFields, TikTokFields
from capi_async.spec import ENCODER
from capi_async.spool.base import Record

LEAD = "1234567890123456"
SECONDS = 4_102_444_800.0


def record(body: Any, head: bytes = b"{}") -> Record:
    return Record("acme", "e-1", head, ENCODER.encode(body), SECONDS, 0.0, "acme", "acme/1", 0.0, None)


def prepared(destination: Any, **fields: Any) -> Record:
    """What is stored of a lead's event."""
    event = Event("lead", user=User(email="a@b.example"), page=Page(url="https://shop.example/"), **fields)
    made = Preparer([destination]).one(destination, event, datetime.now(UTC).timestamp())[0]
    assert isinstance(made, Record), made
    return made


STORED = [
    (Meta(pixel_id="1234567890", access_token="T"), {"meta": MetaFields(lead_id=LEAD)}),
    (Meta(pixel_id="1234567890", access_token="T"), {"extra": {"meta": {"user_data": {"lead_id": LEAD}}}}),
    (Snap(pixel_id="9633c2ae-0115-495a-aca9-b976db485fc8", access_token="T"), {"snap": SnapFields(lead_id=LEAD)}),
    (TikTok(pixel_code="C4ABCDEF0123456789AB", access_token="T", crm_event_set_id="7000000000000000001"),
     {"source": "crm", "tiktok": TikTokFields(lead_id=LEAD)}),
    (LinkedIn(access_token="T", conversions={"lead": "104013"}),
     {"linkedin": LinkedInFields(lead=f"urn:li:leadGenFormResponse:{LEAD}")}),
    (Webhook(url="https://hook.example/", identifiers_as="clear"), {"meta": MetaFields(lead_id=LEAD)}),
    (Webhook(url="https://hook.example/", identifiers_as="clear", template={"n": ["$.meta.lead_id", "$.snap.lead_id"]}),
     {"meta": MetaFields(lead_id=1), "snap": SnapFields(lead_id=LEAD)}),
]  # fmt: skip


@pytest.mark.parametrize(("destination", "fields"), STORED, ids=[one.type for one, _ in STORED])
@pytest.mark.parametrize("given_as", [LEAD, int(LEAD), f" {LEAD}\n", ["7", int(LEAD)]])
def test_a_lead_is_found_wherever_a_payload_keeps_its_id(destination: Any, fields: Any, given_as: Any) -> None:
    """However it is written there, and however it is given."""
    stored = prepared(destination, **fields)
    assert matches_subject(User(), None, given_as)(stored)
    assert not matches_subject(User(), None, "6543210987654321")(stored)
    assert not matches_subject(User(), None, LEAD[:-1])(stored)
    many = SubjectLooks(None)
    many.add(User(external_id=[str(number) for number in range(100)]), given_as)
    assert many.matches()(stored)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"user": {"lead": f"urn:li:leadGenFormResponse:{LEAD}"}}, True),
        ({"user": {"lead": f"urn:li:leadGenFormResponse:9{LEAD}"}}, False),
        ({"ids": [1, int(LEAD), 2]}, True),
        ({"ids": [int(LEAD)]}, True),
        ({"ids": [int(LEAD) * 10]}, False),
        ({"ids": [-int(LEAD)]}, False),
        ({"note": f"lead {LEAD} called"}, False),
        ({"at": f"x:{LEAD}"}, False),
        ({LEAD: 1}, True),
    ],
)
def test_it_is_found_as_a_whole_only(body: Any, found: bool) -> None:
    """As a text, a number or the end of a URN, in what is sent and in what a request shares."""
    matches = matches_subject(User(), None, LEAD)
    assert matches(record(body)) is found
    assert matches(record({}, ENCODER.encode(body))) is found


def test_a_short_one_is_no_amount_and_no_time() -> None:
    """Whose number equals it is somebody else."""
    matches = matches_subject(User(), None, 1768471200)
    assert not matches(record({"event_time": 1768471200, "rule": "urn:lla:llaPartnerConversion:1768471200"}))
    assert matches(record({"lead": {"lead_id": "1768471200"}}))


@pytest.mark.parametrize("odd", ["", " ", "null", "undefined", "\ud83d", ["null", ""]])
def test_what_is_no_id_is_said(odd: Any) -> None:
    """Never looked for: everybody without one would be found."""
    looks = SubjectLooks(None)
    said = looks.add(User(), odd)
    assert len(said) == ("".join(odd).strip() != "")
    assert all(sentence.startswith("lead_id: ") for sentence in said)
    with pytest.raises(ConfigError, match="or a lead_id that can be read"):
        looks.matches()


@pytest.mark.parametrize("odd", [2**63, 1.5, None, b"1", -1, True, [b"1"], [None], {"1"}])
def test_what_cannot_be_an_id_is_refused(odd: Any) -> None:
    """Before anything is looked for."""
    with pytest.raises(ConfigError, match="lead_id needs text, a whole number or a list of them"):
        SubjectLooks(None).add(User(), odd)


@pytest.mark.parametrize("lead", [":", ",", ":[", ":1,", "],", "},"])
def test_a_text_of_jsons_own_signs_is_not_found_between_two_others(lead: str) -> None:
    """It would be everybody's."""
    matches = matches_subject(User(), None, lead)
    assert not matches(record({"a": ["b", "c"], "d": 1, "e": {"f": "g"}, "h": [], "i": "j"}))
    assert matches(record({"lead_id": lead}))


@given(lead=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=30))
def test_any_text_is_found_as_it_stands(lead: str) -> None:
    """Quotes, backslashes and letters of any script."""
    try:
        matches = matches_subject(User(), None, lead)
    except ConfigError:
        return
    assert matches(record({"user_data": {"lead_id": lead}}))
    assert matches(record({"urn": f"urn:li:lead:{lead}"})) is (len(lead.encode()) >= 11 and not set(lead) & set(':"\\'))
