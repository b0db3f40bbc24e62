"""CutMeShort leads and sales: mapping, amounts, the deferred flow, answers. Replies are documented ones."""

from __future__ import annotations

import decimal
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client
from capi_async.destinations.cutmeshort import CutMeShort
from capi_async.destinations.cutmeshort.wire import HEADS
from capi_async.errors import ConfigError
from capi_async.event import STANDARD_EVENTS, ClickIds, Consent, Event, Hashed, Item, Page, User
from capi_async.outcome import Response, Verdict
from capi_async.sandbox import Sandbox
from capi_async.spec import Wire
from capi_async.testing.mapping import body, kinds, refusal, requests, verdicts, wire

HOUR = 3_600.0
DAY = 86_400.0
TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
CUSTOMER = User(external_id="user_42")
CLICK = ClickIds(cms_rf="id_123")


def cutmeshort(**settings: Any) -> CutMeShort:
    return CutMeShort(**{"token": "eyJ.SECRET", **settings})


def lead(name: str = "lead", **fields: Any) -> Event:
    return Event(name, **{"user": CUSTOMER, "click": CLICK, "time": TIME, **fields})


def sale(name: str = "purchase", **fields: Any) -> Event:
    return lead(name, **{"order_id": "inv_987", "value": "49.99", "currency": "USD", **fields})


def sent(destination: CutMeShort, event: Event) -> Wire:
    made = wire(destination, event)
    assert isinstance(made, Wire), made
    return made


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "call", "theirs"),
    [
        ("purchase", "sale", "purchase_completed"),
        ("subscribe", "sale", "subscription_created"),
        ("start_trial", "sale", "subscription_created"),
        ("lead", "lead", "lead_captured"),
        ("sign_up", "lead", "signup_completed"),
        ("contact", "lead", "info_requested"),
    ],
)
def test_each_conversion_has_its_call_and_name(ours: str, call: str, theirs: str) -> None:
    """The path says lead or sale, the body says which."""
    there = cutmeshort()
    [made] = requests(there, [sale(ours)])
    assert made.url == f"https://api.cme.sh/track/{call}"
    assert json.loads(b"".join(made.body))["eventName"] == theirs
    assert there.standard_names[ours] == theirs


@pytest.mark.parametrize(
    "name",
    [
        "page_view", "view_content", "search", "add_to_cart", "add_to_wishlist", "initiate_checkout",
        "add_payment_info", "refund", "login", "download", "app_install", "app_open", "something_else",
    ],
)  # fmt: skip
def test_everything_else_is_skipped(name: str) -> None:
    """A refund above all: it must never become a sale."""
    found = refusal(cutmeshort(), sale(name))
    assert (found.kind, found.field, found.reason) == ("skipped", "name", "no such event here")


def test_every_standard_event_has_an_opinion() -> None:
    """None is forgotten."""
    assert set(CutMeShort.standard_names) == STANDARD_EVENTS


@pytest.mark.parametrize("name", ["subscribe", "start_trial"])
@pytest.mark.parametrize("missing", [{"value": None}, {"order_id": None}])
def test_subscriptions_that_cost_nothing_are_no_sale(name: str, missing: dict[str, None]) -> None:
    """There is no other call for them."""
    assert refusal(cutmeshort(), sale(name, **missing)).kind == "skipped"


@pytest.mark.parametrize(
    ("ours", "mapped", "call", "theirs"),
    [
        ("schedule", "demo_booked", "lead", "demo_booked"),
        ("submit_application", "lead:submit_application", "lead", "submit_application"),
        ("order", "order_paid", "sale", "order_paid"),
        ("renewal", "sale:renewal", "sale", "renewal"),
        ("page_view", "lead:visited", "lead", "visited"),
        ("sign_up", "joined", "lead", "joined"),
        ("purchase", "checkout_completed", "sale", "checkout_completed"),
        ("subscribe", "lead_captured", "lead", "lead_captured"),
        ("purchase", "lead:sale:odd", "lead", "sale:odd"),
    ],
)
def test_names_can_be_mapped_to_either_call(ours: str, mapped: str, call: str, theirs: str) -> None:
    """A prefix decides, else the vendor's own use of the name, else our standard event's kind."""
    [made] = requests(cutmeshort(event_names={ours: mapped}), [sale(ours)])
    assert made.url.endswith(f"/track/{call}")
    assert json.loads(b"".join(made.body))["eventName"] == theirs


def test_name_mapped_to_nothing_is_skipped() -> None:
    """``None`` switches an event off."""
    assert refusal(cutmeshort(event_names={"lead": None}), lead()).reason == "no such event here"


@pytest.mark.parametrize("mapped", ["visited", "lead:", "sale:  ", "lead:" + "x" * 256])
def test_mapping_that_cannot_be_sent_is_refused_when_made(mapped: str) -> None:
    """Nobody can tell which call an unknown name belongs to."""
    with pytest.raises(ConfigError, match="event_names"):
        cutmeshort(event_names={"page_view": mapped})


def test_name_that_one_sdk_refuses_is_sent_with_a_warning() -> None:
    """The Go SDK knows letters, digits, underscore and hyphen only."""
    assert sent(cutmeshort(event_names={"lead": "lead:très bien"}), lead()).warnings
    assert sent(cutmeshort(), lead()).warnings == ()


# -- settings ---------------------------------------------------------------------------------------------------------


def test_token_shows_nowhere() -> None:
    """Neither the destination nor a request prints it."""
    there = cutmeshort()
    [made] = requests(there, [lead()], token="eyJ.SECRET")
    assert made.headers["Authorization"] == "Bearer eyJ.SECRET"
    assert "SECRET" not in f"{made.url} {there!r} {there} {made!r} {made} {there.account()}"


def test_missing_token_names_its_variables() -> None:
    """In the order in which they are read."""
    with pytest.raises(ConfigError, match="CMS_BEARER_TOKEN or CUTMESHORT_API_KEY"):
        cutmeshort(token="")
    assert CutMeShort.env["base_url"] == ("CUTMESHORT_BASE_URL",)


def test_unit_of_amounts_is_one_of_two() -> None:
    """A hundredfold error hangs on it."""
    with pytest.raises(ConfigError, match="amount_unit"):
        cutmeshort(amount_unit="cents")


@pytest.mark.parametrize("host", ["https://cms.example", "https://cms.example/", "https://cms.example//"])
def test_host_with_a_slash_gives_no_double_slash(host: str) -> None:
    """The vendor's SDK asks for ``//track/lead`` there."""
    [made] = requests(cutmeshort(base_url=host), [lead()])
    assert made.url == "https://cms.example/track/lead"


def test_host_must_be_https_unless_it_is_this_machine() -> None:
    """The token would leave in clear."""
    with pytest.raises(ConfigError, match="https"):
        cutmeshort(base_url="http://cms.example")
    assert cutmeshort(base_url="http://127.0.0.1:8080").base_url == "http://127.0.0.1:8080"


def test_rate_attempts_and_batch_are_the_vendors() -> None:
    """59 requests in any minute at most, one event each, four attempts."""
    limits = CutMeShort.limits
    assert limits.requests_per_s * 60 + limits.burst <= 60
    assert (limits.max_batch_events, limits.max_attempts) == (1, 4)


# -- who, when, what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [User(), User(email="jane@example.com"), User(external_id=Hashed("a" * 64))])
def test_without_a_plain_customer_id_nobody_is_known(user: User) -> None:
    """An e-mail is no substitute, and a digest means nothing here."""
    found = refusal(cutmeshort(), lead(user=user))
    assert (found.kind, found.field) == ("skipped", "user.external_id")


def test_customer_id_leaves_raw() -> None:
    """Trimmed, neither hashed nor in another case; the first of several."""
    made = body(cutmeshort(), lead(user=User(external_id=[" User_42 ", "other"])))
    assert made["customerExternalId"] == "User_42"


def test_customer_id_given_through_extra_counts() -> None:
    """Identity is checked on what would leave, and decides the order."""
    made = sent(cutmeshort(), lead(user=User(), extra={"cutmeshort": {"customerExternalId": "v_1"}}))
    assert made.body.customerExternalId == made.order_key == "v_1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": User(external_id="x" * 256)}, "user.external_id"),
        ({"click": ClickIds(cms_rf="x" * 256)}, "click.cms_rf"),
        ({"order_id": "x" * 256}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"order_id": "  "}, "order_id"),
        ({"value": None}, "value"),
        ({"currency": None}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"value": "9e15"}, "value"),
    ],
)
def test_sale_with_a_missing_or_bad_field_is_rejected(changes: dict[str, Any], field: str) -> None:
    """The field is named, and what to do about it."""
    found = refusal(cutmeshort(), sale(**changes))
    assert (found.kind, found.field) == ("rejected", field)
    assert found.fix


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (TIME, "2026-01-02T03:04:05.678Z"),
        (TIME.astimezone(timezone(timedelta(hours=-8))), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000Z"),
    ],
)
def test_time_is_utc_with_a_z(time: datetime, text: str) -> None:
    """The only form that all of the vendor's SDKs take."""
    assert body(cutmeshort(), lead(time=time))["timestamp"] == text


def test_time_outside_the_calendar_is_rejected() -> None:
    """Its offset leads before the first day of year 1."""
    first = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert refusal(cutmeshort(), lead(time=first)).field == "time"


def test_records_expire_after_a_week_and_only_sales_may_be_repeated() -> None:
    """``invoiceId`` de-duplicates sales; nothing is known to do so for leads."""
    for event, resend_for_s in ((lead(), 0.0), (sale(), 48 * HOUR)):
        made = sent(cutmeshort(), event)
        assert made.expires_at == TIME.timestamp() + 7 * DAY
        assert made.resend_for_s == resend_for_s
    assert sent(cutmeshort(max_age_s=DAY), lead()).expires_at == TIME.timestamp() + DAY


def test_what_the_platform_does_not_take_stays_here() -> None:
    """No event id, address, page, items or free properties."""
    user = User(external_id="user_42", ip="203.0.113.9", user_agent="B", phone="+14155552671", email="jane@example.com")
    rich = sale(
        user=user, event_id="e-1", page=Page(url="https://shop.example"), items=[Item(id="a")], properties={"a": 1}
    )  # fmt: skip
    assert body(cutmeshort(), rich) == body(cutmeshort(), sale())


def test_sale_without_click_id_leaves_with_a_warning() -> None:
    """A deferred lead may have named the customer, which only the platform knows."""
    made = sent(cutmeshort(), sale(click=ClickIds()))
    assert made.body.clickId is None
    assert len(made.warnings) == 1


# -- profile ----------------------------------------------------------------------------------------------------------

JANE = User(external_id="user_42", email=" jane@example.com ", first_name="Jane", last_name="Doe")


def test_name_and_email_leave_only_when_asked_for() -> None:
    """This platform takes them in clear text."""
    plain = body(cutmeshort(), lead(user=JANE))
    assert not plain.keys() & {"customerName", "customerEmail"}
    full = body(cutmeshort(send_profile=True), lead(user=JANE))
    assert (full["customerName"], full["customerEmail"]) == ("Jane Doe", "jane@example.com")


def test_hashed_email_is_never_sent() -> None:
    """It would be stored as an address."""
    user = User(external_id="user_42", email=Hashed("a" * 64), first_name="Jane")
    made = body(cutmeshort(send_profile=True), lead(user=user))
    assert "customerEmail" not in made
    assert made["customerName"] == "Jane"


def test_profile_that_is_too_long_is_left_out_with_a_warning() -> None:
    """The conversion counts more than the name."""
    user = User(external_id="user_42", email="x" * 250 + "@example.com", first_name="x" * 256)
    made = sent(cutmeshort(send_profile=True), lead(user=user))
    assert made.body.customerName is None
    assert made.body.customerEmail is None
    assert len(made.warnings) == 2


# -- amounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "value", "minor"),
    [
        ("USD", "49.99", 4999),
        ("usd", 0.29, 29),
        ("USD", 19.99, 1999),
        ("EUR", 5, 500),
        ("INR", "0", 0),
        ("JPY", 1500, 1500),
        ("KRW", "1500.00", 1500),
        ("IDR", 25000, 2500000),
        ("KWD", "12.345", 12345),
        ("BHD", "1.5", 1500),
        ("CLF", "1.2345", 12345),
    ],
)
def test_amounts_are_whole_minor_units(currency: str, value: Any, minor: int) -> None:
    """By ISO 4217, and never through a binary float."""
    made = sent(cutmeshort(), sale(value=value, currency=currency))
    assert made.body.amount == minor
    assert type(made.body.amount) is int
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("currency", "value", "minor", "major"),
    [
        ("USD", "1.005", 101, "1.01"),
        ("USD", "1.0049", 100, "1.00"),
        ("JPY", "0.5", 1, "1"),
        ("KWD", "1.0005", 1001, "1.001"),
    ],
)
def test_surplus_decimals_are_rounded_half_up_with_a_warning(currency: str, value: str, minor: int, major: str) -> None:
    """Whatever rounding and precision the caller's thread has set."""
    event = sale(value=value, currency=currency)
    with decimal.localcontext(prec=1, rounding=decimal.ROUND_DOWN):
        in_minor, in_major = sent(cutmeshort(), event), sent(cutmeshort(amount_unit="major"), event)
    assert in_minor.body.amount == minor
    assert str(in_major.body.amount) == major
    assert len(in_minor.warnings) == len(in_major.warnings) == 1


def test_major_units_are_a_number_of_the_same_digits() -> None:
    """49.99 stays 49.99."""
    [made] = requests(cutmeshort(amount_unit="major"), [sale(value=49.99)])
    assert b'"amount":49.99,' in made.body[0]


# -- deferred flow ----------------------------------------------------------------------------------------------------

DEFERRED = {"cutmeshort": {"mode": "deferred"}}


def test_all_records_of_a_customer_keep_their_order() -> None:
    """A deferred lead must be accepted before anything else of the same customer, and nothing waits for others."""
    there = cutmeshort()
    made = [sent(there, event) for event in (lead(extra=DEFERRED), lead(click=ClickIds()), sale(), lead())]
    assert {one.order_key for one in made} == {"user_42"}
    assert sent(there, lead(user=User(external_id="user_43"))).order_key == "user_43"


def test_deferred_lead_without_click_id_is_skipped() -> None:
    """There is nothing to store."""
    found = refusal(cutmeshort(), lead(click=ClickIds(), extra=DEFERRED))
    assert (found.kind, found.field) == ("skipped", "click.cms_rf")


def test_lead_with_neither_click_id_nor_mode_is_the_follow_up() -> None:
    """``mode`` marks the call that stores the link, not those that use it."""
    made = body(cutmeshort(), lead(click=ClickIds()))
    assert not made.keys() & {"clickId", "mode"}


@pytest.mark.parametrize("mode", ["", "Deferred", "deferred ", True, 1])
def test_any_other_mode_is_rejected(mode: object) -> None:
    """The vendor's SDK refuses it as well."""
    found = refusal(cutmeshort(), lead(extra={"cutmeshort": {"mode": mode}}))
    assert (found.kind, found.field) == ("rejected", "extra.mode")


def test_mode_is_no_field_of_a_sale() -> None:
    """Only leads store a link."""
    assert refusal(cutmeshort(), sale(extra=DEFERRED)).kind == "rejected"


# -- extra ------------------------------------------------------------------------------------------------------------


def test_every_documented_key_can_be_set() -> None:
    """The avatar has no canonical field."""
    keys = {
        "eventName": "paid", "customerExternalId": "c", "timestamp": "2026-01-02T03:04:05Z", "invoiceId": "i",
        "amount": 5, "currency": "EUR", "clickId": "k", "customerName": "n", "customerEmail": "a@b.example",
        "customerAvatar": "https://img.example/a.png",
    }  # fmt: skip
    assert body(cutmeshort(), sale(extra={"cutmeshort": keys})) == keys
    assert "clickId" not in body(cutmeshort(), sale(extra={"cutmeshort": {"clickId": None}}))


@pytest.mark.parametrize(
    "extra",
    [
        {"event": "x"},
        {"customerAvatar": "javascript:alert(1)"},
        {"customerAvatar": "https://x/" + "a" * 2_048},
        {"customerEmail": "nobody"},
        {"eventName": " "},
        {"invoiceId": ""},
        {"clickId": "x" * 256},
        {"timestamp": "2026-01-02T03:04:05"},
        {"currency": "usd"},
        {"amount": True},
        {"amount": -1},
        {"amount": 49.99},
        {1: 2},
    ],
)
def test_extra_outside_the_schema_is_rejected_here(extra: Any) -> None:
    """Unknown keys and impossible values fail before any I/O."""
    found = refusal(cutmeshort(), sale(extra={"cutmeshort": extra}))
    assert found.kind == "rejected"
    assert found.field.startswith("extra")


def test_amount_with_decimals_is_fine_in_major_units() -> None:
    """The check follows the setting."""
    made = sent(cutmeshort(amount_unit="major"), sale(extra={"cutmeshort": {"amount": 12.5}}))
    assert str(made.body.amount) == "12.5"


# -- consent and test mode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consent", "field"),
    [
        (Consent(ad_storage=False), "consent.ad_storage"),
        (Consent(ad_user_data=False), "consent.ad_user_data"),
        (Consent(sale_opt_out=True), "consent.sale_opt_out"),
    ],
)
def test_without_consent_nothing_leaves(consent: Consent, field: str) -> None:
    """There is no switch that would say it."""
    found = refusal(cutmeshort(), lead(consent=consent))
    assert (found.kind, found.field) == ("skipped", field)


@pytest.mark.parametrize(
    "consent",
    [Consent(), Consent(ad_personalization=False), Consent(analytics_storage=False), Consent(sale_opt_out=False)],
)
def test_other_choices_change_nothing(consent: Consent) -> None:
    """Nothing is personalised here."""
    assert body(cutmeshort(), lead(consent=consent)) == body(cutmeshort(), lead())


def test_test_events_are_never_sent_live() -> None:
    """There is no test mode."""
    for found in (refusal(cutmeshort(), lead(test=True)), refusal(cutmeshort(test=True), lead())):
        assert (found.kind, found.field) == ("skipped", "test")


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (200, {"status": True, "data": "successful"}),
        (200, {"success": True, "message": "Event tracked successfully", "data": {}}),
        (200, {"success": True, "timestamp": "2026-01-02T03:04:05Z"}),
        (200, {"status": "ok"}),
        (201, {"success": True}),
    ],
)
def test_each_documented_success_is_accepted(status: int, reply: object) -> None:
    """The vendor's own SDK stumbles over three of these."""
    assert verdicts(cutmeshort(), status, reply) == [Verdict(kind="accepted")]


@pytest.mark.parametrize(("status", "reply"), [(200, b""), (204, b""), (200, b"<html>"), (200, b"\xff"), (200, [])])
def test_unreadable_success_is_accepted_with_a_remark(status: int, reply: object) -> None:
    """Repeating an accepted lead or sale costs more than trusting the status line."""
    [found] = verdicts(cutmeshort(), status, reply)
    assert found.kind == "accepted"
    assert found.reason


@pytest.mark.parametrize("reply", [{"success": False, "error": "Bad click"}, {"status": False, "message": "Bad click"}])
def test_success_that_says_false_is_rejected(reply: object) -> None:
    """The one thing that a 200 can say against itself."""
    [found] = verdicts(cutmeshort(), 200, reply)
    assert (found.kind, found.reason) == ("rejected", "Bad click")


def error(status: int, text: str = "Validation failed", kind: str = "UnprocessableEntityError") -> dict[str, Any]:
    return {"success": False, "error": text, "type": kind, "statusCode": status, "details": {}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "rejected"),
        (400, "rejected"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "rejected"),
        (408, "retry"),
        (409, "rejected"),
        (415, "rejected"),
        (422, "rejected"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
        (507, "retry"),
    ],
)
def test_each_error_status_has_its_verdict(status: int, kind: str) -> None:
    """With the documented body, the readme's spelling of it, and no body; under a proxy's page none is the event's."""
    for reply in (error(status), {"error": "x", "status_code": status}, {}, b"", b"\xff"):
        [found] = verdicts(cutmeshort(), status, reply)
        assert found.kind == kind
        assert found.throttled == (status == 429)
        assert found.suspect == (status in (302, 404))
    [found] = verdicts(cutmeshort(), status, b"<html>Bad Gateway</html>")
    assert found.kind == ("retry" if kind == "rejected" and status != 302 else kind)


def test_error_keeps_the_platforms_words_and_code() -> None:
    """``statusCode`` and ``status_code`` are the same, ``type`` says more than both."""
    [found] = verdicts(cutmeshort(), 422, error(422, "jane@example.com is no customer"))
    assert (found.reason, found.code) == ("<email> is no customer", "UnprocessableEntityError")
    assert verdicts(cutmeshort(), 422, {"error": "x", "statusCode": 422})[0].code == "422"
    assert verdicts(cutmeshort(), 422, {"error": "x", "status_code": 422})[0].code == "422"
    assert verdicts(cutmeshort(), 422, {"error": {"odd": 1}})[0].reason == "HTTP 422"


def test_rate_limit_pauses_everything_for_as_long_as_asked() -> None:
    """Seconds or a date."""
    [found] = verdicts(cutmeshort(), 429, error(429, "Too many requests", "TooManyRequests"), retry_after="2")
    assert (found.kind, found.throttled, found.after_s) == ("retry", True, 2.0)
    dated = {"retry_after": "Fri, 02 Jan 2026 03:04:10 GMT", "date": "Fri, 02 Jan 2026 03:04:05 GMT"}
    assert verdicts(cutmeshort(), 503, b"", **dated)[0].after_s == 5.0


def test_conflict_on_a_sale_is_a_repeat_that_was_known_already() -> None:
    """A lead that conflicts is rejected."""
    body = json.dumps(error(409, "Conflict", "ConflictError")).encode()
    there = cutmeshort()
    for call, kind in (("sale", "accepted"), ("lead", "rejected")):
        assert kinds(there.classify(Response(status=409, body=body, head=HEADS[call]), 1)) == [kind]


def test_verdicts_are_as_many_as_events() -> None:
    """Even if a request should ever hold more than one."""
    assert len(verdicts(cutmeshort(), 200, {"success": True}, 3)) == 3


# -- accounts ---------------------------------------------------------------------------------------------------------


async def test_what_waits_never_leaves_with_another_accounts_token(tmp_path: Path) -> None:
    """The same spool under another token: a dead letter that says why; under the account's own name: delivered."""
    async with Sandbox(rates={"cutmeshort": None}) as sandbox:
        spool = f"sqlite:///{tmp_path}/events.db"

        def made(token: str, **more: Any) -> CutMeShort:
            return CutMeShort(token=token, base_url=sandbox.url("cutmeshort"), **more)

        async with Client([made("token-of-a")], spool=spool, deliver=False) as first:
            await first.send(sale(event_id="e1", time=datetime.now(UTC)))
        async with Client([made("token-of-b")], spool=spool, linger_s=0) as second:
            await second.flush(10)
            assert second.ledger()["cutmeshort"].dead == 1
        async with Client([made("token-of-a", account_id="eu")], spool=spool, deliver=False) as third:
            await third.send(sale(event_id="e2", order_id="other", time=datetime.now(UTC)))
        async with Client([made("sandbox-token", account_id="eu")], spool=spool, linger_s=0) as renewed:
            await renewed.flush(10)
            assert renewed.ledger()["cutmeshort"].delivered == 1
        assert sandbox.stats()["cutmeshort"].events == 1


def test_records_of_earlier_versions_are_still_known() -> None:
    """They carry the platform's name alone; and naming the account leaves nothing behind."""
    plain, named = cutmeshort(), cutmeshort(account_id="eu")
    for stored in ("cutmeshort", plain.account(), named.account()):
        assert named.owns(stored)
    assert plain.owns("cutmeshort")
    assert not plain.owns(named.account())
    assert plain.account() != cutmeshort(token="another").account()


def test_callables_need_the_accounts_names_once_there_are_two() -> None:
    """Nothing else tells whose token they will give."""
    one, two = cutmeshort(token=lambda: "a"), cutmeshort(name="two", token=lambda: "b")
    with pytest.raises(ConfigError, match="two"):
        Client([one, two])
    Client([one, cutmeshort(name="two", token=lambda: "b", account_id="two")])
