"""Every way in which a request can go wrong, at every destination: what each event ends as, and what was counted.

``delivered`` means the platform has it, once; ``uncertain`` means it may have it and would count a second copy. Which
of the two follows a lost answer depends on whether the platform recognises copies, so two platforms appear twice.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from msgspec import Struct

from capi_async import Client, Event, Page
from capi_async.sandbox import Sandbox
from capi_async.spec import DAY

from .accounts import (
    RATES,
    TYPES,
    Listener,
    SkippingClock,
    account,
    assert_balanced,
    every_account,
    finish,
    lead,
    outcomes,
    purchase,
)

Connect = Callable[..., Client]

EVENTS = 4
#: For answers that never come: long enough for a busy machine to give the others, short enough to wait for.
TIMEOUT_S = 0.5


def store_visit(number: object, **changes: Any) -> Event:
    """An order outside the web: Pinterest never recognises a copy of one."""
    return purchase(number, source="offline", page=Page(), **changes)


class Subject(Struct, frozen=True):
    """A destination with one kind of event.

    Attributes:
        absorbs: The platform recognises a second copy of such an event.
        together: Events share a request.
        any_2xx: Whatever body comes with a 2xx, it means yes; ``pages``: a page of HTML does, too.
    """

    type: str
    event: Callable[..., Event] = purchase
    absorbs: bool = True
    together: bool = True
    any_2xx: bool = False
    pages: bool = True


SUBJECTS: dict[str, Subject] = {
    "snap": Subject("snap"),
    "snap_v2": Subject("snap_v2"),
    "pinterest": Subject("pinterest"),
    "pinterest-offline": Subject("pinterest", store_visit, absorbs=False),
    "tiktok": Subject("tiktok"),
    "tiktok_pixel": Subject("tiktok_pixel"),
    "cutmeshort-sale": Subject("cutmeshort", together=False, any_2xx=True),
    "cutmeshort-lead": Subject("cutmeshort", lead, absorbs=False, together=False, any_2xx=True),
    "meta": Subject("meta"),
    # each of these is another visitor
    "ga4-purchase": Subject("ga4", together=False, any_2xx=True, pages=False),
    "ga4-lead": Subject("ga4", lead, absorbs=False, together=False, any_2xx=True, pages=False),
    "reddit": Subject("reddit", absorbs=False),
    "linkedin": Subject("linkedin", absorbs=False),
    "webhook": Subject("webhook", absorbs=False),
}


class Mishap(Struct, frozen=True):
    """One fault and what a client can know after it.

    Attributes:
        fault: As the sandbox takes it.
        arrives: The platform has read and counted the request.
        answer: ``refused``: nothing was stored, for certain. ``lost``: nobody can tell. ``late``: nothing is wrong.
            ``garbled``: a 2xx that cannot be read, so lost as well, except where any 2xx means yes.
        count: How many requests it hits.
    """

    fault: dict[str, Any]
    arrives: bool
    answer: Literal["refused", "lost", "late", "garbled"]
    count: int = 1


MISHAPS: dict[str, Mishap] = {
    "429": Mishap({"kind": "status", "status": 429}, arrives=False, answer="refused", count=2),
    "429-retry-after": Mishap({"kind": "status", "status": 429, "retry_after_s": 30}, arrives=False, answer="refused"),
    "500": Mishap({"kind": "status", "status": 500}, arrives=False, answer="refused", count=2),
    "502": Mishap({"kind": "status", "status": 502}, arrives=False, answer="refused", count=2),
    "503": Mishap({"kind": "status", "status": 503}, arrives=False, answer="refused", count=2),
    "503-page": Mishap({"kind": "status", "status": 503, "body": "<html>"}, arrives=False, answer="refused"),
    "slow": Mishap({"kind": "latency", "latency_s": 0.1}, arrives=True, answer="late"),
    "too-slow": Mishap({"kind": "latency", "latency_s": 5.0}, arrives=True, answer="lost"),
    "reset-before": Mishap({"kind": "reset_before"}, arrives=False, answer="lost"),
    "reset-after": Mishap({"kind": "reset_after"}, arrives=True, answer="lost"),
    "hang": Mishap({"kind": "hang"}, arrives=False, answer="lost"),
    "hang-after": Mishap({"kind": "hang", "after": True}, arrives=True, answer="lost"),
    "truncate": Mishap({"kind": "truncate"}, arrives=True, answer="garbled"),
    "html": Mishap({"kind": "html"}, arrives=False, answer="garbled"),
}


@pytest.mark.parametrize("mishap_name", MISHAPS)
@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_a_fault_costs_no_event_and_counts_none_twice(
    subject_name: str,
    mishap_name: str,
    sandbox: Sandbox,
    connect: Connect,
    clock: SkippingClock,
) -> None:
    """The first request or two go wrong, then the platform recovers."""
    subject, mishap = SUBJECTS[subject_name], MISHAPS[mishap_name]
    sandbox.fault(subject.type, count=mishap.count, **mishap.fault)
    timeout_s = TIMEOUT_S if mishap_name in ("hang", "hang-after", "too-slow") else 30.0
    client = connect([account(sandbox, subject.type, request_timeout_s=timeout_s)])
    receipts = await client.send_many([subject.event(number) for number in range(EVENTS)])
    await finish(client, clock)
    found = await outcomes(receipts, subject.type)
    details = sandbox.details()[subject.type]

    answer = mishap.answer
    if answer == "garbled":
        yes = subject.any_2xx and (subject.pages or mishap_name != "html")
        answer = "late" if yes else "lost"
    hit = EVENTS if subject.together else mishap.count
    uncertain = hit if answer == "lost" and not subject.absorbs else 0
    resent = hit if answer == "lost" and subject.absorbs else 0
    assert [outcome.kind for outcome in found].count("delivered") == EVENTS - uncertain
    assert [outcome.kind for outcome in found].count("uncertain") == uncertain
    assert sum(outcome.ambiguous for outcome in found) == resent
    refusals = mishap.count * (EVENTS if subject.together else 1) if answer == "refused" else 0
    assert sum(outcome.attempts for outcome in found) == EVENTS + resent + refusals
    for outcome in found:
        assert outcome.kind != "uncertain" or outcome.reason

    # the platform's own books
    never_arrived = hit if not mishap.arrives and answer in ("lost", "late") and not resent else 0
    assert details["accepted"] - details["duplicates"] == EVENTS - never_arrived
    assert details["duplicates"] == (resent if mishap.arrives else 0)
    assert details["counted_twice"] == 0
    assert sum(details["faults"].values()) == mishap.count
    assert_balanced(client)
    counts = client.ledger()[subject.type]
    assert (counts.delivered, counts.uncertain, counts.pending) == (EVENTS - uncertain, uncertain, 0)
    assert client.states()[subject.type].state == "open"


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_retry_after_is_kept_to(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: SkippingClock, listener: Listener
) -> None:
    """Nothing leaves before the time that the platform gave; Meta gives it in minutes, in a header of its own."""
    subject = SUBJECTS[subject_name]
    wait_s = 120.0
    sandbox.fault(subject.type, "status", status=429, retry_after_s=wait_s, count=1)
    client = connect([account(sandbox, subject.type)])
    receipt = await client.send(subject.event(1))
    await listener.until(lambda: len(listener.requests) == 1)
    clock.skip(wait_s - 5.0)
    # what comes in the meantime waits too
    second = await client.send(subject.event(2))
    assert not await client.flush(0.03)
    assert len(listener.requests) == 1
    clock.skip(6.0)
    await finish(client, clock)
    for one in await outcomes([receipt, second], subject.type):
        assert one.kind == "delivered"
        assert not one.ambiguous
    assert sandbox.stats()[subject.type].duplicates == 0


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_an_endless_outage_ends_in_dead(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: SkippingClock
) -> None:
    """In memory attempts are bounded; nothing arrived, and the outcome says so and why."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "status", status=503)
    client = connect([account(sandbox, subject.type, max_attempts=3)])
    receipts = await client.send_many([subject.event(number) for number in range(2)])
    await finish(client, clock)
    for outcome in await outcomes(receipts, subject.type):
        assert (outcome.kind, outcome.attempts, outcome.status) == ("dead", 3, 503)
        assert "3 failed attempts" in outcome.reason
    assert sandbox.stats()[subject.type].accepted == 0
    assert_balanced(client)


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_answers_that_never_come_end_in_uncertain(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: SkippingClock
) -> None:
    """Never ``dead``: the platform did read every copy, and counted one."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "reset_after")
    client = connect([account(sandbox, subject.type, max_attempts=3)])
    receipts = await client.send_many([subject.event(number) for number in range(2)])
    await finish(client, clock)
    attempts = 3 if subject.absorbs else 1
    for outcome in await outcomes(receipts, subject.type):
        assert (outcome.kind, outcome.attempts) == ("uncertain", attempts)
    details = sandbox.details()[subject.type]
    assert (details["accepted"], details["duplicates"]) == (2 * attempts, 2 * (attempts - 1))
    assert details["counted_twice"] == 0


async def test_a_server_that_is_not_there_is_no_doubt(connect: Connect, sandbox: Sandbox, clock: SkippingClock) -> None:
    """A refused connection carried nothing: even events that may not be repeated are tried again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = connect(every_account(sandbox, base_url=nowhere, max_attempts=2))
        receipts = [await client.send(purchase(1)), await client.send(lead(2)), await client.send(store_visit(3))]
        await finish(client, clock)
    for receipt in receipts:
        for outcome in (await receipt.outcomes()).values():
            assert outcome.kind in ("dead", "skipped")
            if outcome.kind == "dead":
                assert outcome.attempts == 2
                assert "did not leave" in outcome.reason
                assert "127.0.0.1" not in outcome.reason
    assert_balanced(client)


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_resend_never_leaves_every_doubt_open(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: SkippingClock
) -> None:
    """Whoever does not trust a platform's key may say so."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "reset_after", count=1)
    client = connect([account(sandbox, subject.type, resend="never")])
    receipts = await client.send_many([subject.event(number) for number in range(EVENTS)])
    await finish(client, clock)
    hit = EVENTS if subject.together else 1
    found = await outcomes(receipts, subject.type)
    assert [outcome.kind for outcome in found].count("uncertain") == hit
    details = sandbox.details()[subject.type]
    assert (details["accepted"], details["duplicates"], details["counted_twice"]) == (EVENTS, 0, 0)


@pytest.mark.parametrize("subject_name", ["pinterest-offline", "cutmeshort-lead", "reddit", "linkedin", "webhook"])
async def test_resend_always_accepts_counting_twice(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: SkippingClock
) -> None:
    """The other way round: rather twice than not at all."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "reset_after", count=1)
    client = connect([account(sandbox, subject.type, resend="always")])
    receipts = await client.send_many([subject.event(number) for number in range(EVENTS)])
    await finish(client, clock)
    found = await outcomes(receipts, subject.type)
    assert {outcome.kind for outcome in found} == {"delivered"}
    hit = EVENTS if subject.together else 1
    assert sum(outcome.ambiguous for outcome in found) == hit
    assert sandbox.details()[subject.type]["counted_twice"] == hit


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_faults_loses_and_doubles_nothing(
    seed: int, stack: AsyncExitStack, connect: Connect, clock: SkippingClock
) -> None:
    """Every third request goes wrong in one of seven ways, everywhere at once."""
    sandbox = await stack.enter_async_context(Sandbox(seed, rates=RATES))
    for fault in (
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503, "retry_after_s": 1},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncate"},
    ):
        sandbox.fault("*", rate=0.05, **fault)
    for type_name in TYPES:
        if type_name not in ("cutmeshort", "ga4"):  # they take the page for a yes
            sandbox.fault(type_name, "html", rate=0.05)
    client = connect([account(sandbox, type_name, max_attempts=50) for type_name in TYPES])
    made = [purchase(number) for number in range(100)] + [lead(number + 100) for number in range(50)]
    made += [store_visit(number + 200, to=["pinterest", "snap", "snap_v2", "meta"]) for number in range(50)]
    for start in range(0, len(made), 20):
        await client.send_many(made[start : start + 20])
        await client.flush(0.02)
    await finish(client, clock)
    assert_balanced(client)
    for type_name in TYPES:
        counts, details = client.ledger()[type_name], sandbox.details()[type_name]
        assert (counts.dead, counts.rejected, counts.pending) == (0, 0, 0)
        arrived = details["accepted"] - details["duplicates"]
        assert counts.delivered <= arrived <= counts.delivered + counts.uncertain
        assert details["counted_twice"] == 0
        if type_name not in ("pinterest", "cutmeshort", "ga4", "reddit", "linkedin", "webhook"):
            assert counts.uncertain == 0
        assert counts.delivered + counts.uncertain + counts.skipped == len(made)


# Isolation.


@pytest.mark.parametrize("hanging", TYPES)
async def test_a_hanging_destination_changes_nothing_for_the_others(
    hanging: str, sandbox: Sandbox, connect: Connect, listener: Listener
) -> None:
    """Every event of the others is delivered before the hanging one gives its first answer."""
    sandbox.fault(hanging, "hang")
    client = connect(every_account(sandbox, request_timeout_s=60.0))
    receipts = await client.send_many([purchase(number) for number in range(150)])
    others = [type_name for type_name in TYPES if type_name != hanging]
    # told of, not only counted: a ledger in a file is a moment ahead of the receipts
    await listener.until(lambda: all(listener.settled[name] == 150 for name in others))
    assert all(client.ledger()[name].delivered == 150 for name in others)
    assert sandbox.details()[hanging]["faults"]["hang"] >= 1
    assert listener.of(hanging) == []
    assert client.ledger()[hanging].pending == 150
    for receipt in receipts:
        kinds = {name: outcome.kind for name, outcome in (await receipt.outcomes(timeout_s=0)).items()}
        assert kinds == {**dict.fromkeys(others, "delivered"), hanging: "pending"}
    report = await client.aclose(0.0)
    assert report.pending == {hanging: 150}
    assert sandbox.stats()[hanging].accepted == 0


async def test_hanging_destinations_recover_and_deliver(
    sandbox: Sandbox, connect: Connect, clock: SkippingClock, listener: Listener
) -> None:
    """Three hang at once; when they answer again, nothing is missing and nothing was counted twice."""
    hanging = ("snap", "pinterest", "cutmeshort")
    for type_name in hanging:
        sandbox.fault(type_name, "hang")
    client = connect([account(sandbox, type_name, request_timeout_s=TIMEOUT_S, max_attempts=50) for type_name in TYPES])
    receipts = await client.send_many([purchase(number) for number in range(60)])
    others = [type_name for type_name in TYPES if type_name not in hanging]
    await listener.until(lambda: all(client.ledger()[name].delivered == 60 for name in others))
    await listener.until(lambda: all(listener.of(type_name) for type_name in hanging))
    sandbox.clear_faults()
    await finish(client, clock)
    for type_name in TYPES:
        assert {outcome.kind for outcome in await outcomes(receipts, type_name)} == {"delivered"}
        details = sandbox.details()[type_name]
        assert details["accepted"] - details["duplicates"] == 60
        assert details["counted_twice"] == 0
        assert client.states()[type_name].state == "open"


@pytest.mark.parametrize("type_name", ["snap", "meta"])
async def test_a_whole_batch_of_bad_events_pauses_instead_of_hammering(
    type_name: str, stack: AsyncExitStack, connect: Connect, listener: Listener
) -> None:
    """Where one bad event refuses its request, a thousand of them point to the configuration: a pause, few requests."""
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, poison="order"))
    client = connect([account(sandbox, type_name, max_in_flight=4)])
    await client.send_many([purchase(number) for number in range(1_000)])
    await listener.until(lambda: client.states()[type_name].state == "paused")
    assert sandbox.stats()[type_name].requests <= 64 + 4
    counts = client.ledger()[type_name]
    assert counts.pending == 1_000 - counts.rejected > 900
    assert sandbox.stats()[type_name].accepted == 0


@pytest.mark.parametrize("type_name", ["tiktok", "tiktok_pixel"])
async def test_a_run_of_events_that_are_named_as_bad_closes_no_destination(
    type_name: str, stack: AsyncExitStack, connect: Connect, listener: Listener
) -> None:
    """Whoever names the event has looked at it: the account answers, so good events behind bad ones are delivered."""
    sandbox = await stack.enter_async_context(Sandbox(rates=RATES, poison="order"))
    client = connect([account(sandbox, type_name, max_in_flight=4)])
    await client.send_many([purchase(number) for number in range(1_000)])
    await listener.until(lambda: client.ledger()[type_name].rejected > 64)
    assert client.states()[type_name].state == "open"
    receipt = await client.send(lead(1, event_id="good-1"))
    assert (await receipt.outcomes(timeout_s=15))[type_name].kind == "delivered"
    # the search for the others goes on slowly, a few requests a second
    assert sandbox.stats()[type_name].requests < 250
    assert client.states()[type_name].state == "open"


async def test_refusals_that_name_every_event_settle_them_at_once(sandbox: Sandbox, connect: Connect) -> None:
    """Pinterest lists what became of each event, so a hopeless batch costs no search."""
    made_for = account(sandbox, "pinterest", max_age_s=400 * DAY)
    client = connect([made_for])
    old = datetime.now(UTC) - timedelta(days=30)
    receipts = await client.send_many([purchase(number, time=old) for number in range(1_000)])
    assert await client.flush(10)
    assert {outcome.kind for outcome in await outcomes(receipts, "pinterest")} == {"rejected"}
    assert sandbox.stats()["pinterest"].requests <= 4
    assert client.states()["pinterest"].state == "open"
