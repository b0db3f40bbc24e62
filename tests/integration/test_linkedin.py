"""LinkedIn from event to outcome, against the sandbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client, Event, Outcome, Receipt, User
from capi_async.destinations import LinkedIn
from capi_async.doctor.accounts import account
from capi_async.sandbox import Sandbox
from capi_async.transport import HttpTransport

from .accounts import SkippingClock

Connect = Callable[..., Client]

RULES = {"purchase": "104012", "lead": ["104013", "104019"], "sign_up": "1040000", "login": "1049999"}


def linkedin(sandbox: Sandbox, **changes: Any) -> LinkedIn:
    """An account at the sandbox, as fast as it can be, whose sign-ups have a wrong number."""
    return LinkedIn(
        **{
            "access_token": "sandbox-token", "conversions": RULES, "base_url": sandbox.url("linkedin"),
            "linger_s": 5.0, "requests_per_s": 100_000.0, "burst": 100_000.0, **changes,
        }
    )  # fmt: skip


def event(name: str, number: int, **changes: Any) -> Event:
    given = {"event_id": f"{name}-{number}", "user": User(email=f"person{number}@shop.example"), **changes}
    return Event(name, **given)


async def outcomes(receipts: Sequence[Receipt]) -> list[Outcome]:
    return [(await receipt.outcomes())["linkedin"] for receipt in receipts]


@pytest.fixture
async def sandbox(stack: AsyncExitStack) -> Sandbox:
    return await stack.enter_async_context(Sandbox(rates={"linkedin": None}, poison="poison"))


async def test_of_five_thousand_events_the_guilty_alone_are_rejected(sandbox: Sandbox) -> None:
    """In two requests: LinkedIn names all of them by their places, the others go again at once."""
    guilty = set(range(3, 5_000, 137))
    async with Client([linkedin(sandbox)]) as client:
        receipts = await client.send_many(
            [event("purchase", number, event_id=f"{'poison' if number in guilty else 'o'}-{number}")
             for number in range(5_000)]
        )  # fmt: skip
        found = await outcomes(receipts)
    assert {number for number, one in enumerate(found) if one.kind == "rejected"} == guilty
    assert sum(one.kind == "delivered" for one in found) == 5_000 - len(guilty)
    stats = sandbox.stats()["linkedin"]
    assert (stats.requests, stats.accepted) == (2, 5_000 - len(guilty))


async def test_an_event_of_91_days_costs_nobody_anything(sandbox: Sandbox) -> None:
    """It never leaves, because one of them would refuse the whole request."""
    old = datetime.now(UTC) - timedelta(days=91)
    async with Client([linkedin(sandbox)]) as client:
        receipts = await client.send_many([event("purchase", 1), event("purchase", 2, time=old), event("lead", 3)])
        assert await client.flush(5.0)
        found = await outcomes(receipts)
    assert [one.kind for one in found] == ["delivered", "expired", "delivered"]
    assert sandbox.details()["linkedin"]["rejected"] == 0


async def test_events_of_two_rules_arrive_by_each(sandbox: Sandbox) -> None:
    """And are rejected for both if one of them is at fault."""
    async with Client([linkedin(sandbox)]) as client:
        receipts = await client.send_many([event("lead", number) for number in range(4)])
        poisoned = await client.send(event("lead", 9, event_id="poison-9"))
        assert await client.flush(5.0)
        found = await outcomes([*receipts, poisoned])
    assert [one.kind for one in found] == ["delivered"] * 4 + ["rejected"]
    arrived = [arrival.event for arrival in sandbox.arrivals("linkedin") if arrival.accepted]
    assert sorted((one["conversion"][-6:], one["eventId"]) for one in arrived) == [
        (rule, f"lead-{number}") for rule in ("104013", "104019") for number in range(4)
    ]


@pytest.mark.parametrize(
    ("name", "said", "fix"),
    [
        (
            "sign_up",
            "no conversion rule of the number for sign_up: No ad accounts found",
            "check the number for sign_up in conversions",
        ),
        ("login", "Conversion's method should be CONVERSIONS_API", "whose source is the Conversions API"),
    ],
)
async def test_a_wrong_rule_costs_its_own_events_only(name: str, said: str, fix: str, sandbox: Sandbox) -> None:
    """Events of other rules share no request with them; what is wrong is said with the number."""
    async with Client([linkedin(sandbox, linger_s=0.05)]) as client:
        bad = await client.send_many([event(name, number) for number in range(10)])
        good = await client.send_many([event("purchase", number) for number in range(500)])
        assert {one.kind for one in await outcomes(good)} == {"delivered"}
        refused = await outcomes(bad)
    assert {one.kind for one in refused} == {"rejected"}
    assert said in refused[0].reason
    assert fix in refused[0].fix


async def test_where_every_rule_is_wrong_the_destination_pauses_and_keeps_its_events(
    sandbox: Sandbox, connect: Connect, clock: SkippingClock
) -> None:
    """The member may have lost the role, for which LinkedIn has the same words: few events are spent to find out."""
    client = connect([linkedin(sandbox)])
    await client.send_many([event("sign_up", number) for number in range(1_000)])
    assert not await client.flush(2.0)
    assert client.states()["linkedin"].state == "paused"
    counts = client.ledger()["linkedin"]
    assert counts.rejected < 64
    assert counts.pending == 1_000 - counts.rejected


async def test_a_version_that_has_ended_pauses_and_a_newer_one_sends_what_waited(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The version belongs to the request, not to the event."""
    spool = f"sqlite:///{tmp_path / 'spool.sqlite3'}"
    with caplog.at_level(logging.ERROR):
        client = Client([linkedin(sandbox, api_version="202511", linger_s=0.01)], spool=spool)
        await client.send(event("purchase", 1))
        assert not await client.flush(1.0)
        assert client.states()["linkedin"].state == "paused"
        assert client.ledger()["linkedin"].pending == 1
        await client.aclose(0.1)
    assert "LinkedIn takes no version 202511 of its API" in caplog.text
    assert "set api_version (LINKEDIN_VERSION)" in caplog.text
    async with Client([linkedin(sandbox, api_version="202609", linger_s=0.01)], spool=spool) as client:
        assert await client.flush(5.0)
    assert sandbox.stats()["linkedin"].accepted == 1


async def test_events_that_wait_for_a_new_token_go_out_with_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """An expired one pauses; a restart with another, and one more rule, sends what waited."""
    spool = f"sqlite:///{tmp_path / 'spool.sqlite3'}"
    client = Client([linkedin(sandbox, access_token="expired", linger_s=0.01)], spool=spool)
    await client.send_many([event("purchase", number) for number in range(3)])
    assert not await client.flush(1.0)
    assert client.states()["linkedin"].state == "paused"
    await client.aclose(0.1)
    more = {**RULES, "download": "77"}
    async with Client([linkedin(sandbox, conversions=more, linger_s=0.01)], spool=spool) as client:
        assert await client.flush(5.0)
        assert client.ledger()["linkedin"].dead == 0
    assert sandbox.stats()["linkedin"].accepted == 3


class Renewable:
    """Gives a token until it is refused, and then the next."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def __call__(self) -> str:
        return self.tokens[0]

    def refused(self, token: str) -> None:
        if token == self.tokens[0] and len(self.tokens) > 1:
            self.tokens.pop(0)
        else:
            raise ValueError("what a credential's own code raises costs no event")


async def test_a_token_that_is_refused_before_its_end_is_replaced_without_a_restart(
    sandbox: Sandbox, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """LinkedIn says the same of an expired token and of one that it has ended."""
    token = Renewable("ended-4711", "sandbox-token")
    client = connect([linkedin(sandbox, access_token=token, linger_s=0.01)])
    receipt = await client.send(event("purchase", 1))
    assert (await receipt.outcomes(timeout_s=10))["linkedin"].kind == "delivered"
    assert token.tokens == ["sandbox-token"]
    assert "4711" not in caplog.text


async def test_a_credential_whose_own_code_fails_keeps_the_events(
    sandbox: Sandbox, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The fault is named by its kind."""
    client = connect([linkedin(sandbox, access_token=Renewable("ended-4711"), linger_s=0.01)])
    await client.send(event("purchase", 1))
    assert not await client.flush(0.5)
    assert client.ledger()["linkedin"].pending == 1
    assert "refused() of its credential failed with ValueError" in caplog.text
    assert "4711" not in caplog.text


async def test_doctor_asks_for_the_ad_accounts_rules(sandbox: Sandbox) -> None:
    """Nothing is counted by that."""
    transport = HttpTransport()
    try:
        good = await account(linkedin(sandbox, account_id="512345"), "sandbox-token", transport)
        bad = await account(linkedin(sandbox, account_id="512345"), "wrong", transport)
    finally:
        await transport.aclose()
    assert (good.level, bad.level) == ("ok", "failure")
    assert sandbox.stats()["linkedin"].events == 0
