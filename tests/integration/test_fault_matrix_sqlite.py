"""The same fault matrix on a durable spool: the same outcomes, except that attempts are never used up.

What a durable spool accepted is tried until the platform would refuse it for its age, and then ends as ``expired``, or
as ``uncertain`` if a copy may have arrived.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from capi_async import Client
from capi_async.sandbox import Sandbox
from capi_async.spec import DAY, Destination

from . import test_fault_matrix as matrix
from .accounts import Listener, SkippingClock, account, assert_balanced, every_account, finish, lead, outcomes, purchase
from .test_fault_matrix import SUBJECTS, Connect, store_visit

# the cases in which both spools do the same
test_a_fault_costs_no_event_and_counts_none_twice = matrix.test_a_fault_costs_no_event_and_counts_none_twice
test_retry_after_is_kept_to = matrix.test_retry_after_is_kept_to
test_resend_never_leaves_every_doubt_open = matrix.test_resend_never_leaves_every_doubt_open
test_resend_always_accepts_counting_twice = matrix.test_resend_always_accepts_counting_twice
test_a_storm_of_faults_loses_and_doubles_nothing = matrix.test_a_storm_of_faults_loses_and_doubles_nothing
test_a_hanging_destination_changes_nothing_for_the_others = (
    matrix.test_a_hanging_destination_changes_nothing_for_the_others
)
test_hanging_destinations_recover_and_deliver = matrix.test_hanging_destinations_recover_and_deliver
test_a_whole_batch_of_bad_events_pauses_instead_of_hammering = (
    matrix.test_a_whole_batch_of_bad_events_pauses_instead_of_hammering
)
test_a_run_of_events_that_are_named_as_bad_closes_no_destination = (
    matrix.test_a_run_of_events_that_are_named_as_bad_closes_no_destination
)
test_refusals_that_name_every_event_settle_them_at_once = matrix.test_refusals_that_name_every_event_settle_them_at_once

#: Longer than any platform takes an event.
AGES_S = 400 * DAY


class AgingClock(SkippingClock):
    """One whose wall time can be skipped, too."""

    def __init__(self) -> None:
        super().__init__()
        self._aged = 0.0

    def wall(self) -> float:
        return super().wall() + self._aged

    def age(self, seconds: float) -> None:
        """So much later on both clocks."""
        self._aged += seconds
        self.skip(seconds)


@pytest.fixture
def clock() -> AgingClock:
    return AgingClock()


@pytest.fixture
def connect(connect: Connect, tmp_path: Path) -> Callable[..., Client]:
    """Like that of the other matrix, with everything in a file."""

    def durable(destinations: Sequence[Destination], **options: Any) -> Client:
        return connect(destinations, spool=f"sqlite:///{tmp_path / 'events.db'}", **options)

    return durable


async def attempts(listener: Listener, clock: SkippingClock, client: Client, number: int) -> None:
    """Skip over the waits until so many requests were answered, or were not."""
    while len(listener.requests) < number:
        assert not await client.flush(0.03)
        clock.skip(600.0)


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_an_endless_outage_ends_when_the_event_is_too_old(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: AgingClock, listener: Listener
) -> None:
    """However many attempts: nothing arrived, and the outcome says why it never will."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "status", status=503)
    client = connect([account(sandbox, subject.type, max_attempts=2)])
    receipts = await client.send_many([subject.event(number) for number in range(2)])
    await attempts(listener, clock, client, 6)
    counts = client.ledger()[subject.type]
    assert (counts.accepted, counts.pending) == (2, 2)
    clock.age(AGES_S)
    await finish(client, clock)
    ends = await outcomes(receipts, subject.type)
    for outcome in ends:
        assert (outcome.kind, outcome.field, outcome.ambiguous) == ("expired", "time", False)
        assert "grew older" in outcome.reason
    assert sum(outcome.attempts for outcome in ends) >= 6
    assert sandbox.stats()[subject.type].accepted == 0
    assert_balanced(client)


@pytest.mark.parametrize("subject_name", SUBJECTS)
async def test_answers_that_never_come_end_in_uncertain_once_it_is_too_late(
    subject_name: str, sandbox: Sandbox, connect: Connect, clock: AgingClock, listener: Listener
) -> None:
    """Copies while the platform recognises them, as many as it takes; then the doubt is all there is to tell."""
    subject = SUBJECTS[subject_name]
    sandbox.fault(subject.type, "reset_after")
    client = connect([account(sandbox, subject.type, max_attempts=2)])
    receipts = await client.send_many([subject.event(number) for number in range(2)])
    if subject.absorbs:
        await attempts(listener, clock, client, 6)
        clock.age(AGES_S)
    await finish(client, clock)
    ends = await outcomes(receipts, subject.type)
    assert [outcome.kind for outcome in ends] == ["uncertain"] * 2
    assert all(outcome.reason for outcome in ends)
    sent = sum(outcome.attempts for outcome in ends)
    assert sent >= 6 if subject.absorbs else sent == 2
    details = sandbox.details()[subject.type]
    assert (details["accepted"], details["duplicates"], details["counted_twice"]) == (sent, sent - 2, 0)
    assert_balanced(client)


async def test_a_server_that_is_not_there_is_no_doubt_however_long(
    connect: Connect, sandbox: Sandbox, clock: AgingClock, listener: Listener
) -> None:
    """A refused connection carried nothing: what cannot be repeated expires like the rest, and is not uncertain."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = connect(every_account(sandbox, base_url=nowhere, max_attempts=2))
        receipts = [await client.send(purchase(1)), await client.send(lead(2)), await client.send(store_visit(3))]
        await attempts(listener, clock, client, 60)
        clock.age(AGES_S)
        await finish(client, clock)
    kinds = [one.kind for receipt in receipts for one in (await receipt.outcomes()).values()]
    assert set(kinds) <= {"expired", "skipped"}
    assert kinds.count("expired") >= 15
    assert_balanced(client)
