"""Through the public client to the real sandbox: what is sent arrives, once, as each platform wants it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from capi_async import App, ClickIds, Client, Device, Event, Page, User
from capi_async.destinations import row_of
from capi_async.errors import EventError
from capi_async.sandbox import TOKEN, Sandbox

from .accounts import (
    BLIND,
    RATES,
    TELLING,
    TYPES,
    Listener,
    SkippingClock,
    account,
    assert_balanced,
    every_account,
    finish,
    id_of,
    lead,
    outcomes,
    purchase,
)

Connect = Callable[..., Client]
every_type = pytest.mark.parametrize("type_name", TYPES)
every_telling_type = pytest.mark.parametrize("type_name", TELLING)


def ids_at(sandbox: Sandbox, type_name: str) -> list[str]:
    """Ids of the accepted events, in the order of their arrival."""
    return [id_of(type_name, arrival.event) for arrival in sandbox.arrivals(type_name) if arrival.accepted]


async def test_every_event_arrives_everywhere(sandbox: Sandbox, connect: Connect) -> None:
    """All destinations, one ``send``: each platform gets each event once and takes it."""
    client = connect(every_account(sandbox))
    receipts = await client.send_many([purchase(number) for number in range(250)])
    assert await client.flush(10)
    sent = sorted(f"order-{number}" for number in range(250))
    for type_name in TYPES:
        assert sorted(ids_at(sandbox, type_name)) == sent
        assert {outcome.kind for outcome in await outcomes(receipts, type_name)} == {"delivered"}
        details = sandbox.details()[type_name]
        assert (details["accepted"], details["duplicates"], details["counted_twice"]) == (250, 0, 0)
        assert not details["unknown_keys"]
        assert client.ledger()[type_name].delivered == 250
        assert client.states()[type_name].state == "open"
    assert_balanced(client)


@every_type
async def test_one_destination_alone(type_name: str, sandbox: Sandbox, connect: Connect) -> None:
    """Batches are as large as the platform takes, and events keep their order."""
    client = connect([account(sandbox, type_name)])
    receipts = [await client.send(purchase(number)) for number in range(120)]
    assert await client.flush(10)
    assert {outcome.kind for outcome in await outcomes(receipts, type_name)} == {"delivered"}
    arrived = ids_at(sandbox, type_name)
    assert len(arrived) == 120
    if type_name not in ("cutmeshort", "tiktok_pixel", "ga4"):  # those send several requests side by side
        assert arrived == [f"order-{number}" for number in range(120)]
    report = await client.aclose()
    assert report.complete
    assert report.ledger[type_name].accepted == report.ledger[type_name].delivered == 120


async def test_two_accounts_of_one_platform(sandbox: Sandbox, connect: Connect) -> None:
    """Two names, two queues; ``to`` chooses."""
    first = account(sandbox, "meta", name="shop", pixel_id="111111")
    second = account(sandbox, "meta", name="outlet", pixel_id="222222")
    client = connect([first, second])
    receipt = await client.send(purchase(1))
    only = await client.send(purchase(2, to=["outlet"]))
    assert await client.flush(5)
    assert {name: outcome.kind for name, outcome in (await receipt.outcomes()).items()} == {
        "shop": "delivered",
        "outlet": "delivered",
    }
    assert (await only.outcomes())["shop"].kind == "skipped"
    assert [(arrival.account, arrival.event["event_id"]) for arrival in sandbox.arrivals("meta")] in (
        [("111111", "order-1"), ("222222", "order-1"), ("222222", "order-2")],
        [("222222", "order-1"), ("222222", "order-2"), ("111111", "order-1")],
    )


# What arrives.

EMAIL = "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"
EMAIL_LETTERS = "c4d25e9c90ff23e9145397bc6fbd5385ca5fbe78211222ccbecd0b369ebb19a6"
PHONE_DIGITS = "758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0"
PHONE_E164 = "cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928"
EXTERNAL_ID = "fcdec6df4d44dbc637c7c5b58efface52a7f8a88535423430255be0bb89bedd8"
FIRST = "e74bb89e718fe1e19c422a48382870399f8bf7ca8dfa008739e75b0be76627b7"
LAST_PLAIN = "4f2ef4a6a43f26979bd89213257882df407ae215934cabfc9be3c69ba390a854"
LAST_JOINED = "7a0fbfdf40cbeb97429bdb88f512cecd27f0d44b7e57986ab578423bb61936ac"
CITY_JOINED = "8ba24bdf99947996f3000259be455de791b06fcc0e802ce05031030df1ee8ea3"
STATE = "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"
ZIP = "c884a209ebe08750a7d13db63bd02233b375bd79786cbe329ab11586cc35dead"
COUNTRY = "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"
GENDER = "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"
BORN = "069068313b0b2dd680b9f0b8082228a817fb100433ad1d825ccc4d20123669a8"
BORN_MONTH = "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"
BORN_DAY = "5f9c4ab08cac7457e9111a30e4664920607ea2c115a1433d7be98e97e64244ca"
IP = "e7ff8105187d61e2262316b498dead85e9478c40d73b424c561abc0da33db69a"

JANE = User(
    email="  Jane.Doe@Example.COM ",
    phone="+1 (415) 555-2671",
    external_id=" user-123 ",
    first_name="Raphae\u0308l",
    last_name="O'Connor",
    city="St. Louis",
    state="California",
    zip="94107-1234",
    country="USA",
    gender="Female",
    date_of_birth=date(1997, 12, 26),
    ip="12.34.56.78",
    user_agent="Mozilla/5.0",
)
#: Where each platform finds whom, with the digests of the hashing vectors.
WRITTEN_OUT: dict[str, dict[str, Any]] = {
    "snap": {
        "user_data.em": [EMAIL],
        "user_data.ph": [PHONE_DIGITS],
        "user_data.external_id": EXTERNAL_ID,
        "user_data.fn": [FIRST],
        "user_data.ln": [LAST_JOINED],
        "user_data.ct": [CITY_JOINED],
        "user_data.st": [STATE],
        "user_data.zp": [ZIP],
        "user_data.country": [COUNTRY],
        "user_data.ge": [GENDER],
        "user_data.db": BORN,
        "user_data.client_ip_address": "12.34.56.78",
    },
    "snap_v2": {
        "hashed_email": EMAIL,
        "hashed_phone_number": PHONE_DIGITS,
        "hashed_first_name_sha": FIRST,
        "hashed_last_name_sha": LAST_PLAIN,
        "hashed_dob_month": BORN_MONTH,
        "hashed_dob_day": BORN_DAY,
        "hashed_ip_address": IP,
    },
    "pinterest": {
        "user_data.em": [EMAIL],
        "user_data.ph": [PHONE_DIGITS],
        "user_data.external_id": [EXTERNAL_ID],
        "user_data.fn": [FIRST],
        "user_data.ln": [LAST_PLAIN],
        "user_data.ct": [CITY_JOINED],
        "user_data.st": [STATE],
        "user_data.zp": [ZIP],
        "user_data.country": [COUNTRY],
        "user_data.ge": [GENDER],
        "user_data.db": [BORN],
    },
    "tiktok": {
        "user.email": [EMAIL],
        "user.phone": [PHONE_E164],
        "user.external_id": [EXTERNAL_ID],
        "user.first_name": FIRST,
        "user.last_name": LAST_JOINED,
        "user.zip_code": ZIP,
        "user.country": "us",
        "user.ip": "12.34.56.78",
    },
    "tiktok_pixel": {
        "context.user.email": EMAIL,
        "context.user.phone_number": PHONE_E164,
        "context.user.external_id": EXTERNAL_ID,
        "context.ip": "12.34.56.78",
    },
    "cutmeshort": {"customerExternalId": "user-123", "invoiceId": "order-1"},
    "reddit": {
        "user.email": EMAIL_LETTERS,
        "user.phone_number": PHONE_E164,
        "user.external_id": EXTERNAL_ID,
        "user.ip_address": "12.34.56.78",
    },
    "linkedin": {
        "conversion": f"urn:lla:llaPartnerConversion:{row_of('linkedin').tables['conversions']['purchase']}",
        "user": {
            "userIds": [
                {"idType": "SHA256_EMAIL", "idValue": EMAIL},
                {"idType": "PLAINTEXT_IP_ADDRESS", "idValue": "12.34.56.78"},
            ],
            "externalIds": ["user-123"],
        },
    },
    "meta": {
        "user_data.em": [EMAIL],
        "user_data.ph": [PHONE_DIGITS],
        "user_data.external_id": [EXTERNAL_ID],
        "user_data.fn": [FIRST],
        "user_data.ln": [LAST_JOINED],
        "user_data.ct": [CITY_JOINED],
        "user_data.st": [STATE],
        "user_data.zp": [ZIP],
        "user_data.country": [COUNTRY],
        "user_data.ge": [GENDER],
        "user_data.db": [BORN],
    },
}


def at(event: Any, path: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        event = event[key]
    return event


async def test_people_arrive_as_the_written_out_digests(sandbox: Sandbox, connect: Connect) -> None:
    """One person, a dialect each; and none of them in clear where a digest is due."""
    client = connect(every_account(sandbox))
    await client.send(purchase(1, user=JANE))
    assert await client.flush(5)
    for type_name, expected in WRITTEN_OUT.items():
        (arrival,) = sandbox.arrivals(type_name)
        assert arrival.accepted
        assert {path: at(arrival.event, path) for path in expected} == expected
        clear = bytes(arrival.raw).decode().lower()
        for text in ("jane.doe", "415", "connor", "raphae", "1997"):
            assert text not in clear


@pytest.mark.parametrize(
    ("currency", "value", "minor"), [("JPY", "1500", 1500), ("USD", "49.99", 4999), ("KWD", "12.345", 12345)]
)
async def test_amounts_arrive_to_the_last_digit(
    currency: str, value: str, minor: int, sandbox: Sandbox, connect: Connect
) -> None:
    """Major units everywhere, minor units at CutMeShort: with no, two and three decimals."""
    client = connect(every_account(sandbox))
    await client.send(purchase(1, value=value, currency=currency, items=()))
    assert await client.flush(5)
    arrived = {}
    for type_name in TYPES:
        (arrival,) = sandbox.arrivals(type_name)
        assert arrival.accepted
        arrived[type_name] = json.loads(bytes(arrival.raw), parse_float=Decimal, parse_int=Decimal)
    assert arrived["snap"]["custom_data"]["value"] == Decimal(value)
    assert arrived["snap_v2"]["price"] == value
    assert arrived["pinterest"]["custom_data"]["value"] == value
    assert arrived["tiktok"]["properties"]["value"] == Decimal(value)
    assert arrived["tiktok_pixel"]["properties"]["value"] == Decimal(value)
    assert arrived["meta"]["custom_data"]["value"] == Decimal(value)
    assert arrived["reddit"]["metadata"]["value"] == Decimal(value)
    assert arrived["linkedin"]["conversionValue"] == {"currencyCode": currency, "amount": value}
    assert arrived["cutmeshort"]["amount"] == minor
    assert {body.get("currency") for body in (arrived["snap_v2"], arrived["cutmeshort"])} == {currency}


# Test mode.

#: Platforms that can only count events.
UNTESTABLE = ("cutmeshort", "linkedin")
CODES = {type_name: row_of(type_name).test_account for type_name in TYPES if row_of(type_name).test_account}


async def test_test_events_arrive_in_each_platforms_test_mode(sandbox: Sandbox, connect: Connect) -> None:
    """Validate, ``test=true`` or a test code; where there is no test mode, nothing goes there."""
    coded = [account(sandbox, type_name, **CODES.get(type_name, {})) for type_name in TYPES]
    client = connect(coded)
    # more than Pinterest looks at in one test request, and more than one for the pixel's one a request
    receipts = await client.send_many([purchase(number, test=True) for number in range(45)])
    assert await client.flush(10)
    for type_name in TYPES:
        kinds = {outcome.kind for outcome in await outcomes(receipts, type_name)}
        details = sandbox.details()[type_name]
        if type_name in UNTESTABLE:
            assert kinds == {"skipped"}
            assert details["requests"] == 0
            continue
        assert kinds == {"delivered"}
        assert [arrival.test for arrival in sandbox.arrivals(type_name)] == [True] * 45
        assert details["test"] == 45
        # Meta's test events are real ones
        assert details["accepted"] == (45 if type_name == "meta" else 0)


@pytest.mark.parametrize("type_name", ["snap", "snap_v2", "pinterest"])
async def test_live_and_test_events_never_share_a_request(type_name: str, sandbox: Sandbox, connect: Connect) -> None:
    """They go to different addresses; neither is taken for the other."""
    client = connect([account(sandbox, type_name)])
    await client.send_many([purchase(number, test=number % 2 == 0) for number in range(10)])
    assert await client.flush(5)
    arrived = {id_of(type_name, arrival.event): arrival.test for arrival in sandbox.arrivals(type_name)}
    assert arrived == {f"order-{number}": number % 2 == 0 for number in range(10)}
    assert sandbox.stats()[type_name].accepted == 5


async def test_without_a_code_test_events_stay(sandbox: Sandbox, connect: Connect) -> None:
    """They are skipped with the setting that is missing, never sent as live events."""
    client = connect([account(sandbox, type_name) for type_name in CODES])
    receipt = await client.send(purchase(1, test=True))
    assert await client.flush(5)
    for type_name, outcome in (await receipt.outcomes()).items():
        assert outcome.kind == "skipped"
        assert any(setting in outcome.fix for setting in CODES[type_name])
        assert sandbox.stats()[type_name].requests == 0


# Accounts that are refused.


@every_telling_type
async def test_a_wrong_token_pauses_and_loses_nothing(
    type_name: str, sandbox: Sandbox, connect: Connect, listener: Listener
) -> None:
    """The events wait, the state says why, and the wrong token is shown nowhere."""
    credential = row_of(type_name).credential
    client = connect([account(sandbox, type_name, **{credential: "wrong-token-4711"})])
    receipts = await client.send_many([purchase(number) for number in range(20)])
    assert not await client.flush(0.05)
    await listener.until(lambda: client.states()[type_name].state == "paused")
    state = client.states()[type_name]
    assert state.reason
    assert "4711" not in state.reason
    assert [change.state for change in listener.states] == ["paused"]
    assert client.ledger()[type_name].pending == 20
    assert sandbox.stats()[type_name].accepted == 0
    report = await client.aclose(0.0)
    assert report.pending == {type_name: 20}
    assert not report.complete
    assert {outcome.kind for outcome in await outcomes(receipts, type_name)} == {"pending"}


async def test_a_rotated_token_resumes(
    sandbox: Sandbox, connect: Connect, listener: Listener, clock: SkippingClock
) -> None:
    """The callable is asked again, and everything that waited arrives once, without a restart."""
    current = "expired-token"

    async def rotating() -> str:
        return current

    client = connect([account(sandbox, type_name, **{row_of(type_name).credential: rotating}) for type_name in TELLING])
    receipts = await client.send_many([purchase(number) for number in range(30)])
    await listener.until(lambda: {state.state for state in client.states().values()} == {"paused"})
    assert {counts.pending for counts in client.ledger().values()} == {30}
    current = TOKEN
    await finish(client, clock)
    for type_name in TELLING:
        assert {outcome.kind for outcome in await outcomes(receipts, type_name)} == {"delivered"}
        assert sandbox.details()[type_name]["accepted"] == 30
        assert sandbox.details()[type_name]["duplicates"] == 0
        assert client.states()[type_name].state == "open"
    assert_balanced(client)


@pytest.mark.parametrize(
    ("type_name", "wrong"),
    [
        ("snap", {"pixel_id": "no-such-pixel"}),
        ("snap_v2", {"pixel_id": "no-such-pixel"}),
        ("tiktok", {"pixel_code": "no-such-pixel"}),
        ("tiktok_pixel", {"pixel_code": "no-such-pixel"}),
        ("meta", {"pixel_id": "0000000000"}),
        ("reddit", {"pixel_id": "no-such-pixel"}),
    ],
)
async def test_a_wrong_account_pauses(
    type_name: str, wrong: dict[str, str], sandbox: Sandbox, connect: Connect, listener: Listener
) -> None:
    """A mistyped pixel refuses every event, so none of them is blamed."""
    client = connect([account(sandbox, type_name, **wrong)])
    await client.send_many([purchase(number) for number in range(10)])
    await listener.until(lambda: client.states()[type_name].state == "paused")
    counts = client.ledger()[type_name]
    assert (counts.pending, counts.rejected, counts.dead) == (10, 0, 0)
    assert client.states()[type_name].reason


async def test_a_paused_destination_holds_up_no_other(sandbox: Sandbox, connect: Connect, listener: Listener) -> None:
    """One expired token; all other destinations go on."""
    client = connect(
        [account(sandbox, name, **({"access_token": "wrong"} if name == "snap" else {})) for name in TYPES]
    )
    await client.send_many([purchase(number) for number in range(50)])
    await listener.until(lambda: sum(counts.delivered for counts in client.ledger().values()) == 50 * (len(TYPES) - 1))
    assert client.ledger()["snap"].pending == 50


# Events that are refused.


@every_telling_type
async def test_only_the_guilty_event_is_rejected(
    type_name: str, stack: AsyncExitStack, connect: Connect, clock: SkippingClock
) -> None:
    """One bad event in a batch of 500: the other 499 are delivered, each counted once."""
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, poison="poison"))
    client = connect([account(sandbox, type_name)])
    receipts = await client.send_many([purchase("poison" if number == 137 else number) for number in range(500)])
    await finish(client, clock)
    found = await outcomes(receipts, type_name)
    assert [index for index, outcome in enumerate(found) if outcome.kind != "delivered"] == [137]
    assert found[137].kind == "rejected"
    assert found[137].reason
    details = sandbox.details()[type_name]
    assert details["accepted"] - details["duplicates"] == 499
    assert details["counted_twice"] == 0
    # halving 500 takes nine steps of two requests
    assert type_name in ("cutmeshort", "tiktok_pixel") or details["requests"] <= 20
    assert_balanced(client)


async def test_several_guilty_ones_among_many(stack: AsyncExitStack, connect: Connect, clock: SkippingClock) -> None:
    """A poisoned event in fifty, everywhere at once: the ledgers and the sandbox's own counts agree."""
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, poison="poison"))
    client = connect(every_account(sandbox))
    await client.send_many([purchase(f"poison-{number}" if number % 50 == 7 else number) for number in range(200)])
    await finish(client, clock)
    for type_name in TYPES:
        counts, details = client.ledger()[type_name], sandbox.details()[type_name]
        assert (counts.delivered, counts.rejected) == ((200, 0) if type_name in BLIND else (196, 4))
        assert details["accepted"] - details["duplicates"] == 196
        assert details["counted_twice"] == 0


OLD = datetime.now(UTC) - timedelta(days=40)


async def test_events_of_forty_days_ago_expire(sandbox: Sandbox, connect: Connect) -> None:
    """They are older than most platforms take, except Meta in shops, Google Ads and LinkedIn."""
    client = connect(every_account(sandbox))
    receipt = await client.send(purchase(1, time=OLD))
    in_shop = await client.send(purchase(2, time=OLD, source="physical_store", to=["meta", "pinterest", "tiktok"]))
    assert await client.flush(5)
    for name, outcome in (await receipt.outcomes()).items():
        expected = ("delivered", "") if name in ("google_ads", "linkedin") else ("expired", "time")
        assert (outcome.kind, outcome.field) == expected
    kinds = {name: outcome.kind for name, outcome in (await in_shop.outcomes()).items()}
    assert kinds["meta"] == "delivered"
    assert kinds["pinterest"] == kinds["tiktok"] == "expired"
    assert sum(stats.requests for stats in sandbox.stats().values()) == 3


async def test_events_of_the_future_are_rejected(sandbox: Sandbox, connect: Connect) -> None:
    """Two hours ahead is a wrong clock or unit; two minutes ahead are sent as now."""
    client = connect(every_account(sandbox))
    now = datetime.now(UTC)
    far = await client.send(purchase(1, time=now + timedelta(hours=2)))
    near = await client.send(purchase(2, time=now + timedelta(minutes=2)))
    assert await client.flush(5)
    for outcome in (await far.outcomes()).values():
        assert (outcome.kind, outcome.field) == ("rejected", "time")
    for type_name, outcome in (await near.outcomes()).items():
        assert outcome.kind == "delivered", type_name
        assert sandbox.stats()[type_name].accepted == 1


async def test_events_of_nobody_are_skipped(sandbox: Sandbox, connect: Connect) -> None:
    """Platforms refuse them or cannot use them; half of the pair of address and browser is nobody either."""
    client = connect(every_account(sandbox))
    nobody = await client.send(purchase(1, user=User(), click=ClickIds()))
    unreadable = await client.send(
        purchase(2, user=User(email="no at sign", phone="abc", user_agent="Mozilla/5.0"), click=ClickIds())
    )
    assert await client.flush(5)
    for receipt in (nobody, unreadable):
        for type_name, outcome in (await receipt.outcomes()).items():
            if type_name == "webhook":  # an endpoint of one's own wants to know of it all the same
                assert outcome.kind == "delivered"
                continue
            assert outcome.kind == "skipped", (type_name, outcome)
            assert outcome.field.startswith("user")
            assert outcome.fix
    assert sum(stats.requests for name, stats in sandbox.stats().items() if name != "webhook") == 0


async def test_names_of_300_characters_cost_nobody_else(sandbox: Sandbox, connect: Connect) -> None:
    """As an event's name it is sent where custom names are free, and refused with the field where they are not."""
    client = connect(every_account(sandbox))
    long = await client.send(purchase(1, name="n" * 300))
    person = await client.send(
        purchase(2, content_name="c" * 300, user=User(email="a@b.example", external_id="u", first_name="f" * 300))
    )
    assert await client.flush(5)
    found = await long.outcomes()
    expected = {
        "snap": "skipped",
        "snap_v2": "skipped",
        "pinterest": "delivered",
        "tiktok": "delivered",
        "tiktok_pixel": "delivered",
        "cutmeshort": "skipped",
        "meta": "rejected",
        "google_ads": "skipped",
        "ga4": "rejected",
        "reddit": "rejected",
        "linkedin": "skipped",
        "webhook": "delivered",
    }
    assert {name: found[name].kind for name in expected} == expected
    assert {outcome.kind for outcome in found.values()} <= {"delivered", "skipped", "rejected"}
    assert {found[name].field for name in ("snap", "snap_v2", "cutmeshort", "meta", "ga4", "reddit")} == {"name"}
    assert {outcome.kind for outcome in (await person.outcomes()).values()} == {"delivered"}


async def test_unknown_destinations_are_the_callers_error(sandbox: Sandbox, connect: Connect) -> None:
    """A misspelt ``to`` would otherwise lose the event without a word; of a list, nothing is stored."""
    client = connect(every_account(sandbox))
    with pytest.raises(EventError, match="snapp") as refused:
        await client.send(purchase(1, to=["snapp"]))
    assert refused.value.field == "to"
    with pytest.raises(EventError) as refused:
        await client.send_many([purchase(1), purchase(2, to=["snapp"])])
    assert refused.value.field == "[1].to"
    assert {counts.accepted for counts in client.ledger().values()} == {0}


# CutMeShort's order.


async def test_a_deferred_lead_goes_before_everything_else_of_its_customer(
    stack: AsyncExitStack, connect: Connect, clock: SkippingClock
) -> None:
    """The sale has no click of its own: it counts only once the lead that names it has been stored."""
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, readings={"cutmeshort": "association_required"}))
    # the first two requests fail, so that the lead needs a second attempt while the others are ready
    sandbox.fault("cutmeshort", "status", status=503, count=2)
    client = connect([account(sandbox, "cutmeshort")])
    made: list[Event] = []
    for number in range(8):
        user = User(external_id=f"customer-{number}")
        made += [
            lead(
                f"{number}-first",
                user=user,
                click=ClickIds(cms_rf=f"click-{number}"),
                extra={"cutmeshort": {"mode": "deferred"}},
            ),
            lead(f"{number}-second", user=user),
            purchase(f"{number}-third", user=user),
        ]
    receipts = await client.send_many(made)
    await finish(client, clock)
    assert {outcome.kind for outcome in await outcomes(receipts, "cutmeshort")} == {"delivered"}
    arrivals = sandbox.arrivals("cutmeshort")
    assert all(arrival.accepted for arrival in arrivals)
    for number in range(8):
        events = [arrival.event for arrival in arrivals if arrival.event["customerExternalId"] == f"customer-{number}"]
        assert [event.get("mode", event.get("invoiceId", "lead")) for event in events] == [
            "deferred",
            "lead",
            f"order-{number}-third",
        ]
    assert not sandbox.details()["cutmeshort"]["warnings"]


# Other sources.


async def test_app_and_offline_events_arrive_where_they_are_taken(sandbox: Sandbox, connect: Connect) -> None:
    """Sources differ in what they need; a destination without an asset for one skips it and says which setting."""
    client = connect(
        [
            account(sandbox, "snap", snap_app_id="22222222-2222-3333-4444-555555555555"),
            account(sandbox, "snap_v2"),
            *(account(sandbox, name) for name in ("pinterest", "tiktok", "tiktok_pixel", "meta", "reddit")),
        ]
    )
    app = await client.send(
        purchase(
            1,
            source="app",
            page=Page(),
            app=App(id="com.example.shop", att_status="authorized", application_tracking=True, version="1.0"),
            device=Device(os="ios", os_version="17.1", model="iPhone15,2", locale="en-US"),
        )
    )
    offline = await client.send(purchase(2, source="offline", page=Page()))
    assert await client.flush(5)
    assert {name: outcome.kind for name, outcome in (await app.outcomes()).items()} == {
        "snap": "delivered",
        "snap_v2": "skipped",
        "pinterest": "delivered",
        "tiktok": "skipped",
        "tiktok_pixel": "skipped",
        "meta": "delivered",
        "reddit": "delivered",
    }
    assert {name: outcome.kind for name, outcome in (await offline.outcomes()).items()} == {
        "snap": "delivered",
        "snap_v2": "delivered",
        "pinterest": "delivered",
        "tiktok": "delivered",
        "tiktok_pixel": "skipped",
        "meta": "delivered",
        "reddit": "delivered",
    }
    skipped = await app.outcomes()
    assert "snap_app_id" in skipped["snap_v2"].fix
    assert "app_id" in skipped["tiktok"].fix
