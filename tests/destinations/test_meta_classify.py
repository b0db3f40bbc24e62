"""Meta: what each of its answers means for the events of a request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.destinations import Meta
from capi_async.outcome import Response, Verdict
from capi_async.testing.mapping import kinds, verdicts

META = Meta(pixel_id="1234567890", access_token="TOKEN")
TRACE = "AbCdEfGhIjKlMnOpQrStUv"


def error(code: int | None, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    """An error answer in the Graph API's form."""
    found = {"message": "Invalid parameter", "type": "OAuthException", "code": code, "fbtrace_id": TRACE, **more}
    return {"error": found if subcode is None else {**found, "error_subcode": subcode}}


def only(found: list[Verdict]) -> Verdict:
    """The verdict that all events share."""
    assert len(set(map(repr, found))) == 1
    return found[0]


def usage(minutes: float, *more: float) -> str:
    """The header of the business use cases, one business per figure."""
    return msgspec.json.encode(
        {
            str(number): [
                {
                    "type": "ads_management",
                    "call_count": 100,
                    "total_cputime": 10,
                    "total_time": 12,
                    "estimated_time_to_regain_access": wait,
                    "ads_api_access_tier": "standard_access",
                }
            ]
            for number, wait in enumerate((minutes, *more))
        }
    ).decode()


def test_all_received_is_accepted() -> None:
    """The documented success, with the id of the request."""
    found = verdicts(META, 200, {"events_received": 2, "messages": [], "fbtrace_id": TRACE}, 2)
    assert kinds(found) == ["accepted", "accepted"]
    assert only(found).trace_id == TRACE
    assert only(found).reason == ""


def test_success_may_come_without_messages() -> None:
    """They are left out at times."""
    assert kinds(verdicts(META, 200, {"events_received": 1, "fbtrace_id": TRACE})) == ["accepted"]


def test_warnings_of_a_success_are_kept() -> None:
    """Redacted, because they may echo what was sent."""
    found = only(verdicts(META, 200, {"events_received": 1, "messages": ["bad anna@example.com", {"code": 7}]}))
    assert found.kind == "accepted"
    assert found.reason == 'bad <email>; {"code":7}'


@pytest.mark.parametrize("received", [0, 1, 3])
def test_another_count_is_ambiguous(received: int) -> None:
    """Nobody can tell which events are meant."""
    found = verdicts(META, 200, {"events_received": received, "fbtrace_id": TRACE}, 2)
    assert kinds(found) == ["ambiguous", "ambiguous"]
    assert only(found).trace_id == TRACE


@pytest.mark.parametrize("body", [b"", b"OK", b"{}", b"[]", b'{"events_received":', b'{"success":true}', b"\xff\xfe"])
def test_success_that_says_nothing_is_ambiguous(body: bytes) -> None:
    """Never a success, and never a refusal."""
    assert kinds(verdicts(META, 200, body, 2)) == ["ambiguous", "ambiguous"]


@pytest.mark.parametrize(
    "body", [b"Service Unavailable", b'"Service Unavailable"', b"<html><h1>Service Unavailable</h1></html>"]
)
def test_success_that_says_service_unavailable_is_tried_again(body: bytes) -> None:
    """Meta's own SDK knows this answer under HTTP 200."""
    assert kinds(verdicts(META, 200, body, 2)) == ["retry", "retry"]


@pytest.mark.parametrize("code", [1, 2, 5000, 21009])
@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_passing_fault_is_tried_again(code: int, status: int) -> None:
    """Whatever the HTTP status: 21009 has come under 400."""
    found = only(verdicts(META, status, error(code), 2))
    assert (found.kind, found.throttled, found.code, found.trace_id) == ("retry", False, str(code), TRACE)


@pytest.mark.parametrize("code", [4, 17, 32, 613, 341, *range(80_000, 80_015)])
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_rate_limit_slows_the_destination_down(code: int, status: int) -> None:
    """Whatever the HTTP status: 17 has come under 500. The header counts in minutes."""
    found = only(verdicts(META, status, error(code), 2, x_business_use_case_usage=usage(5)))
    assert (found.kind, found.throttled, found.after_s) == ("retry", True, 300.0)


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({}, None),
        ({"x_business_use_case_usage": usage(0)}, None),
        ({"x_business_use_case_usage": usage(2, 7, 0)}, 420.0),
        ({"x_business_use_case_usage": usage(0.5)}, 30.0),
        ({"x_business_use_case_usage": usage(10**9)}, 86_400.0),
        ({"x_business_use_case_usage": usage(10**400)}, 86_400.0),
        ({"x_business_use_case_usage": usage(-1)}, None),
        ({"x_business_use_case_usage": usage(3), "retry_after": "7"}, 180.0),
        ({"x_business_use_case_usage": "not json", "retry_after": "7"}, 7.0),
        ({"x_business_use_case_usage": "[]"}, None),
        ({"x_business_use_case_usage": '{"1": 5}'}, None),
        ({"x_business_use_case_usage": '{"1": [5]}'}, None),
        ({"x_business_use_case_usage": '{"1": [{"estimated_time_to_regain_access": "5"}]}'}, None),
        ({"x_app_usage": '{"call_count": 100, "total_time": 25, "total_cputime": 25}'}, None),
        ({"retry_after": "30"}, 30.0),
    ],
)
def test_wait_is_read_from_the_headers(headers: dict[str, str], after_s: float | None) -> None:
    """The longest wait of all businesses, a day at most; an odd header is no reason to stumble."""
    for body in (error(80_004), b""):
        found = only(verdicts(META, 429, body, 2, **headers))
        assert (found.kind, found.throttled, found.after_s) == ("retry", True, after_s)


def test_anything_that_calls_itself_transient_is_tried_again() -> None:
    """Also where its code would have cost the event."""
    for code in (None, 100, 105, 506, 99_999):
        assert kinds(verdicts(META, 400, error(code, is_transient=True), 2)) == ["retry", "retry"]


def test_account_refusal_stays_one_even_if_it_calls_itself_transient() -> None:
    """The code comes first; a pause keeps the events anyway."""
    assert kinds(verdicts(META, 401, error(190, is_transient=True))) == ["unauthorized"]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "subcode",
    [None, 2804001, 2804003, 2804007, 2804009, 2804016, 2804017, 2804019, 2804030, 2804048, 2804050],
)
def test_invalid_parameter_is_searched_for_by_halving(subcode: int | None, count: int) -> None:
    """One bad event refuses the request, and nothing of it is stored."""
    found = only(verdicts(META, 400, error(100, subcode), count))
    assert (found.kind, found.atomic, found.trace_id) == ("split", True, TRACE)
    assert found.code == ("100" if subcode is None else f"100/{subcode}")
    assert bool(found.fix) is (subcode in {2804003, 2804009, 2804030, 2804050})


def test_documented_refusal_keeps_metas_words() -> None:
    """Message, title and text; they may be in any language and decide nothing."""
    said = {
        "is_transient": False,
        "error_user_title": "Event Timestamp Too Old",
        "error_user_msg": "The timestamp for this event is too far in the past.",
    }
    found = only(verdicts(META, 400, error(100, 2804003, **said), 2))
    assert found.reason == (
        "Invalid parameter: Event Timestamp Too Old: The timestamp for this event is too far in the past."
    )


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"blame_field_specs": [["data", "0", "user_data"]]}, "data.0.user_data"),
        ('{"blame_field_specs":[["custom_data","currency"]]}', "custom_data.currency"),
        ({"blame_field_specs": ["event_time"]}, "event_time"),
        ({"blame_field_specs": [["data", 0, "event_time"]]}, "data.0.event_time"),
        ({"blame_field_specs": []}, ""),
        ({"blame_field_specs": [7]}, ""),
        ("not json", ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_blamed_field_is_named(data: Any, field: str) -> None:
    """An object, or JSON as text."""
    assert only(verdicts(META, 400, error(100, error_data=data))).field == field


def test_too_many_parameters_are_halved() -> None:
    """Code 105 speaks of the request, not of an event."""
    assert kinds(verdicts(META, 400, error(105), 2)) == ["split", "split"]


def test_duplicate_is_not_sent_again() -> None:
    """Code 506: Meta has this very request."""
    assert kinds(verdicts(META, 400, error(506), 2)) == ["rejected", "rejected"]


@pytest.mark.parametrize(
    ("code", "subcode", "probe"),
    [
        (100, 33, True),
        (102, None, True),
        (190, None, True),
        (190, 458, False),
        (190, 459, True),
        (190, 460, False),
        (190, 463, False),
        (190, 464, True),
        (190, 467, False),
        (3, None, True),
        (10, None, True),
        (200, None, True),
        (294, None, True),
        (299, None, True),
        (368, None, False),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_refused_account_pauses_and_keeps_its_events(status: int, code: int, subcode: int | None, probe: bool) -> None:
    """Asking again is spared where only a new token can help, or where Meta has blocked the account."""
    found = only(verdicts(META, status, error(code, subcode), 2))
    assert (found.kind, found.probe) == ("unauthorized", probe)
    assert found.fix
    assert found.trace_id == TRACE


def test_malformed_token_is_an_account_refusal() -> None:
    """As recorded under HTTP 401; the token is not repeated in the reason."""
    said = "Invalid OAuth access token - Cannot parse access token EAABsbCS1iHgBAAZA0123456789abcdef"
    found = only(verdicts(META, 401, error(190, message=said)))
    assert found.kind == "unauthorized"
    assert found.reason == "Invalid OAuth access token - Cannot parse access token <redacted>"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "split"), (401, "unauthorized"), (403, "unauthorized"), (404, "unauthorized"), (408, "retry"),
     (413, "split"), (429, "retry"), (500, "retry"), (503, "retry"), (200, "ambiguous"), (302, "unauthorized")],
)  # fmt: skip
def test_code_that_nobody_knows_is_read_by_status(status: int, kind: str) -> None:
    """Code, trace and words are kept."""
    for code in (99_999, None):
        found = only(verdicts(META, status, error(code), 2))
        assert found.kind == kind
        assert found.trace_id == TRACE
        assert found.reason == "Invalid parameter"
        assert found.code == ("" if code is None else "99999")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "retry"), (401, "unauthorized"), (403, "unauthorized"), (404, "unauthorized"), (408, "retry"),
     (413, "split"), (422, "retry"), (429, "retry"), (500, "retry"), (502, "retry"), (200, "ambiguous"),
     (301, "unauthorized")],
)  # fmt: skip
def test_page_from_the_edge_costs_no_event(status: int, kind: str) -> None:
    """HTML is not Meta's answer; statuses that speak for themselves are heard all the same."""
    page = b"\n<!DOCTYPE html><html><title>Error</title></html>"
    assert kinds(verdicts(META, status, page, 2)) == [kind, kind]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "split"), (401, "unauthorized"), (429, "retry"), (500, "retry"), (504, "retry")]
)
@pytest.mark.parametrize("body", [b"", b"upstream connect error", b"{}", b'{"error":"text"}', b'{"error":null}'])
def test_answer_without_a_code_is_read_by_status(body: bytes, status: int, kind: str) -> None:
    """There is nothing else to go by."""
    assert kinds(verdicts(META, status, body, 2)) == [kind, kind]


def test_trace_is_taken_from_the_headers_where_the_body_has_none() -> None:
    """For the edge's answers, which Meta's support can still find."""
    assert only(verdicts(META, 502, b"<html>", 2, x_fb_trace_id="T1")).trace_id == "T1"
    assert only(verdicts(META, 400, error(100), 2, x_fb_trace_id="T1")).trace_id == TRACE
    assert only(verdicts(META, 200, {"events_received": 1}, x_fb_request_id="R1")).trace_id == "R1"


def test_numbers_as_text_are_read() -> None:
    """The Graph API is not consistent about them."""
    body = {"error": {"message": "x", "code": "190", "error_subcode": "463", "is_transient": "false"}}
    assert only(verdicts(META, 400, body)).probe is False


def test_odd_ornaments_do_not_hide_the_code() -> None:
    """Only code, subcode and ``is_transient`` decide."""
    found = only(verdicts(META, 400, error(190, 463, message=7, error_user_msg=["x"], fbtrace_id=1)))
    assert (found.kind, found.reason, found.trace_id) == ("unauthorized", "refused without a reason", "")


def test_error_wins_over_a_count() -> None:
    """An answer that says both is not a success."""
    assert kinds(verdicts(META, 200, {"events_received": 1, **error(100)})) == ["split"]


@given(
    status=st.integers(100, 599),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        ["error", "code", "error_subcode", "events_received", "messages", "error_data",
                         "blame_field_specs", "fbtrace_id", "message"]
                    ),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=8,
        ).map(msgspec.json.encode),
    ),
    header=st.text(max_size=40),
    count=st.integers(1, 4),
)  # fmt: skip
def test_no_answer_breaks_the_reading(status: int, body: bytes, header: str, count: int) -> None:
    """Always one verdict per event, and acceptance only where Meta says so."""
    answer = Response(status, body, {"x-business-use-case-usage": header, "retry-after": header})
    found = META.classify(answer, count)
    assert len(found) == count
    if "accepted" in kinds(found):
        assert 200 <= status < 300
        assert b"events_received" in body
