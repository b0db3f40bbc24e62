"""The pure stages, on a clock driven by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async.backoff import DELIVERY, Backoff
from capi_async.engine.batcher import Batch, Batcher
from capi_async.engine.breaker import Breaker
from capi_async.engine.settlement import Settlement, absorbed, settle_batch
from capi_async.limiter import TokenBucket, Window
from capi_async.outcome import ACCEPTED, Verdict, ambiguous, rejected, retry, split, unauthorized
from capi_async.spec import Resend
from capi_async.spool.base import Record
from capi_async.testing import ManualClock


def record(name: str = "e1", *, body: bytes = b"{}", head: bytes = b"h", **fields: Any) -> Record:
    return Record("acme", name, head, body, fields.pop("expires_at", 9e9), fields.pop("resend_for_s", 0.0), "a", "w/1",
                  **fields)  # fmt: skip


# Batcher


def batcher(
    clock: ManualClock, *, count: int = 10, max_bytes: int = 2_024, linger_s: float = 0.5, **more: Any
) -> Batcher:
    return Batcher(limit_of=lambda _head: count, max_bytes=max_bytes, linger_s=linger_s, now=clock.monotonic, **more)


def names(batch: Batch | None) -> list[str]:
    return [] if batch is None else [one.event_id for one in batch.records]


def test_a_batch_closes_on_its_count(clock: ManualClock) -> None:
    """Without waiting."""
    stage = batcher(clock, count=2)
    stage.add([record("a"), record("b"), record("c")])
    assert stage.ready()
    assert stage.records == 3
    assert names(stage.take()) == ["a", "b"]
    assert not stage.ready()
    assert names(stage.take()) == []
    assert stage.records == 1


def test_a_batch_closes_on_its_bytes(clock: ManualClock) -> None:
    """1,000 bytes beside the envelope; each event takes a comma."""
    stage = batcher(clock, max_bytes=1_024 + 1_000)
    stage.add([record("a", body=b"x" * 499), record("b", body=b"x" * 499), record("c", body=b"x")])
    assert names(stage.take()) == ["a", "b"]


def test_a_record_over_the_bytes_leaves_alone(clock: ManualClock) -> None:
    """It was let in, so it must leave."""
    stage = batcher(clock, linger_s=0)
    stage.add([record("a"), record("b", body=b"x" * 5_000), record("c")])
    assert [names(stage.take()) for _ in range(3)] == [["a"], ["b"], ["c"]]


def test_a_half_full_batch_leaves_when_linger_has_passed(clock: ManualClock) -> None:
    """A lone event waits for company, but no longer than ``linger_s``."""
    stage = batcher(clock, linger_s=0.5)
    stage.add([record("a")])
    assert stage.due_s() == 0.5
    clock.now = 0.49
    stage.add([record("b")])
    assert stage.take() is None
    clock.now = 0.5
    assert stage.due_s() == 0.0
    assert names(stage.take()) == ["a", "b"]
    assert stage.due_s() is None


def test_waiting_elsewhere_is_part_of_the_linger(clock: ManualClock) -> None:
    """Whatever the wall clock was set to meanwhile; what was tried before lingers anew."""
    stage = batcher(clock, linger_s=0.5)
    stage.add([record("first", head=b"1", accepted_at=1_000.0)], now=1_000.0)
    clock.now = 0.2
    stage.add([record("behind", head=b"2", accepted_at=1_000.0 - 0.3)], now=1_000.2)
    assert stage.due_s() == 0.0
    assert names(stage.take()) == ["behind"]
    stage.add([record("set back", head=b"3", accepted_at=9_000.0)], now=1_000.2)
    stage.add([record("again", head=b"4", accepted_at=0.0, attempts=1)], now=1_000.2)
    clock.now = 0.5
    assert names(stage.take()) == ["first"]
    assert stage.take() is None
    clock.now = 0.7
    assert [names(stage.take()) for _ in range(2)] == [["set back"], ["again"]]


def test_a_batch_says_what_closes_it(clock: ManualClock) -> None:
    """Events and bytes; a head that takes fewer is remembered, and may come again."""
    limits = {b"1": 10, b"2": 3}
    stage = Batcher(limit_of=limits.__getitem__, max_bytes=2_024, linger_s=0.5, now=clock.monotonic)
    assert stage.left() is None
    stage.add([record("a", head=b"1", body=b"x" * 99)])
    assert stage.left() == (9, 900)
    stage.add([record("b", head=b"2", body=b"x" * 49)])
    assert stage.left() == (2, 900)
    stage.add([record("c", head=b"2"), record("d", head=b"2")])
    assert stage.left() is None
    assert names(stage.take()) == ["b", "c", "d"]
    assert stage.left() == (3, 900)


def test_linger_may_be_zero_and_a_hurry_takes_everything(clock: ManualClock) -> None:
    """Both leave at once."""
    stage = batcher(clock, linger_s=0)
    stage.add([record("a")])
    assert names(stage.take()) == ["a"]
    stage = batcher(clock, linger_s=60)
    stage.add([record("a"), record("b", head=b"other")])
    assert names(stage.take(everything=True)) == ["a"]
    assert names(stage.take(everything=True)) == ["b"]


def test_only_equal_heads_share_a_batch(clock: ManualClock) -> None:
    """In the order in which they came."""
    stage = batcher(clock, linger_s=0)
    stage.add([record("a", head=b"1"), record("b", head=b"2"), record("c", head=b"1")])
    assert [names(stage.take()) for _ in range(2)] == [["a", "c"], ["b"]]


def test_open_heads_are_bounded(clock: ManualClock) -> None:
    """Beyond it the oldest closes early."""
    stage = batcher(clock, linger_s=60, max_open=2)
    stage.add([record("a", head=b"1"), record("b", head=b"2"), record("c", head=b"3")])
    assert names(stage.take()) == ["a"]
    assert stage.take() is None
    assert stage.records == 2


def test_drain_gives_everything_back(clock: ManualClock) -> None:
    """Closed and open."""
    stage = batcher(clock, count=2, linger_s=60)
    stage.add([record("a"), record("b"), record("c")])
    assert [one.event_id for one in stage.drain()] == ["a", "b", "c"]
    assert (stage.records, stage.take(everything=True)) == (0, None)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 600)), max_size=60),
    st.integers(1, 7),
)
def test_batches_keep_all_records_and_all_bounds(given_records: list[tuple[int, int]], count: int) -> None:
    """Whatever comes: none lost, none twice, heads equal, count and bytes kept, order kept within a head."""
    stage = batcher(ManualClock(), count=count, linger_s=60)
    made = [record(str(at), head=bytes([head]), body=b"x" * size) for at, (head, size) in enumerate(given_records)]
    stage.add(made)
    taken: list[Record] = []
    while (batch := stage.take(everything=True)) is not None:
        assert len({one.head for one in batch.records}) == 1
        assert len(batch.records) <= count
        assert sum(len(one.body) + 1 for one in batch.records) <= 1_000
        taken += batch.records
    for head in range(4):
        mine = [one.event_id for one in made if one.head == bytes([head])]
        assert [one.event_id for one in taken if one.head == bytes([head])] == mine


# Token bucket and window


def test_a_bucket_gives_its_burst_and_then_its_rate(clock: ManualClock) -> None:
    """Two at once, then one every tenth of a second."""
    bucket = TokenBucket(rate=10, burst=2, now=clock.monotonic)
    assert (bucket.take(), bucket.take()) == (0.0, 0.0)
    assert bucket.take() == pytest.approx(0.1)
    clock.now = 0.1
    assert bucket.take() == 0.0
    clock.now = 100
    assert (bucket.take(), bucket.take()) == (0.0, 0.0)
    assert bucket.take() > 0


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_the_rate_is_not_exceeded_in_any_window(rate: float, burst: int, pauses: list[float]) -> None:
    """Within any stretch of time at most the burst and what the rate gives meanwhile."""
    clock = ManualClock()
    bucket = TokenBucket(rate=rate, burst=burst, now=clock.monotonic)
    taken: list[float] = []
    for pause in pauses:
        clock.now += pause / rate
        while bucket.take() == 0.0:
            taken.append(clock.now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * rate + 1e-3


def test_a_sleeper_who_wakes_in_time_finds_a_token(clock: ManualClock) -> None:
    """Sums of floats make nobody wake too early for ever."""
    bucket = TokenBucket(rate=3, burst=1, now=clock.monotonic)
    for _ in range(1_000):
        waits = 0
        while (wait := bucket.take()) > 0:
            clock.now += wait
            waits += 1
        assert waits <= 2


def test_a_throttle_closes_the_bucket_and_halves_the_rate(clock: ManualClock) -> None:
    """Nothing for the time given; then one, and more at half the speed."""
    bucket = TokenBucket(rate=10, burst=5, now=clock.monotonic)
    bucket.throttle(3)
    assert bucket.take() == 3.0
    assert bucket.closed_s() == 3.0
    clock.now = 3
    assert bucket.closed_s() == 0.0
    assert bucket.take() == 0.0
    assert bucket.take() == pytest.approx(0.2)


def test_answers_to_one_burst_are_one_lesson(clock: ManualClock) -> None:
    """Eight requests under way, eight times 429: the rate halves once, and the longest time counts."""
    bucket = TokenBucket(rate=10, burst=8, now=clock.monotonic)
    for for_s in (1, 1, 5, 1, 1, 1, 1, 1):
        bucket.throttle(for_s)
    assert bucket.factor == 0.5
    assert bucket.closed_s() == 5.0
    clock.now = 5
    bucket.throttle(1)
    assert bucket.factor == 0.25


def test_the_rate_recovers_gradually_and_never_falls_to_nothing(clock: ManualClock) -> None:
    """A fiftieth of the full rate with each success; a twentieth remains."""
    bucket = TokenBucket(rate=10, burst=1, now=clock.monotonic)
    for _ in range(20):
        bucket.throttle(1)
        clock.now += 1
    assert bucket.factor == 0.05
    bucket.succeed()
    assert bucket.factor == pytest.approx(0.07)
    for _ in range(60):
        bucket.succeed()
    assert bucket.factor == 1.0


def test_the_window_halves_on_trouble_and_grows_slowly() -> None:
    """One more per window of successes, never beyond the platform's figure, never none."""
    window = Window(8)
    window.fail()
    assert window.limit == 4
    for _ in range(4):
        window.succeed()
    assert window.limit == 4
    window.succeed()
    assert window.limit == 5
    for _ in range(200):
        window.succeed()
    assert window.limit == 8
    for _ in range(20):
        window.fail()
    assert window.limit == 1
    window.in_flight = 1
    assert not window.open()


# Breaker


def broken(clock: ManualClock) -> Breaker:
    breaker = Breaker(now=clock.monotonic)
    assert [breaker.fail("HTTP 503") for _ in range(5)] == [False, False, False, False, True]
    return breaker


def test_failures_in_a_row_break_the_gate(clock: ManualClock) -> None:
    """One success between them starts the count anew."""
    breaker = Breaker(now=clock.monotonic)
    for _ in range(4):
        breaker.fail("HTTP 503")
    breaker.succeed()
    for _ in range(4):
        breaker.fail("HTTP 503")
    assert (breaker.state, breaker.wait_s()) == ("open", 0.0)
    breaker.fail("HTTP 503")
    assert (breaker.state, breaker.reason, breaker.wait_s()) == ("broken", "HTTP 503", 1.0)


def test_probes_leave_one_at_a_time_at_growing_intervals(clock: ManualClock) -> None:
    """1, 2, 4 seconds and so on, at most a minute."""
    breaker = broken(clock)
    waits = []
    for _ in range(8):
        wait = breaker.wait_s()
        assert wait is not None
        waits.append(wait)
        clock.now += wait
        assert breaker.wait_s() == 0.0
        assert breaker.sent()
        assert breaker.wait_s() is None
        assert not breaker.fail("HTTP 503")
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_late_answers_do_not_stretch_the_interval(clock: ManualClock) -> None:
    """What was under way when the breaker closed comes back and fails as well: the first probe leaves all the same."""
    breaker = broken(clock)
    for _ in range(20):
        assert not breaker.fail("HTTP 503")
    assert breaker.wait_s() == 1.0


def test_an_accepted_probe_opens_the_gate(clock: ManualClock) -> None:
    """So does any answer that blames nobody, if it was only broken."""
    breaker = broken(clock)
    clock.now = 1.0
    breaker.sent()
    assert breaker.succeed()
    assert (breaker.state, breaker.reason, breaker.wait_s()) == ("open", "", 0.0)
    breaker = broken(clock)
    assert breaker.answer()
    assert breaker.state == "open"


def test_a_paused_gate_needs_something_accepted(clock: ManualClock) -> None:
    """A refusal of one event does not say that the account works again."""
    breaker = Breaker(now=clock.monotonic)
    assert breaker.pause("HTTP 401")
    assert not breaker.pause("HTTP 401")
    clock.now = 1.0
    breaker.sent()
    assert not breaker.answer()
    assert (breaker.state, breaker.wait_s()) == ("paused", 2.0)
    clock.now = 3.0
    breaker.sent()
    assert breaker.succeed()


def test_a_probe_that_taught_nothing_is_recalled(clock: ManualClock) -> None:
    """Its event had expired: another may go at once, or the breaker would stay closed for ever."""
    breaker = broken(clock)
    clock.now = 1.0
    breaker.sent()
    breaker.recall()
    assert breaker.wait_s() == 0.0


def test_without_probes_only_a_change_helps(clock: ManualClock) -> None:
    """Such as a new credential."""
    breaker = Breaker(now=clock.monotonic)
    breaker.pause("HTTP 401", probe=False)
    clock.now = 1e6
    assert breaker.wait_s() is None
    breaker.retry_now()
    assert breaker.wait_s() == 0.0


def test_64_requests_without_anything_accepted_pause(clock: ManualClock) -> None:
    """One acceptance between them starts the count anew."""
    breaker = Breaker(now=clock.monotonic)
    assert not any(breaker.fruitless() for _ in range(63))
    breaker.succeed()
    assert not any(breaker.fruitless() for _ in range(63))
    assert breaker.fruitless()
    assert (breaker.state, breaker.reason) == ("paused", "64 requests in a row and nothing accepted")


def test_a_refused_event_does_not_lengthen_the_probes(clock: ManualClock) -> None:
    """Anybody can make a bad event; the account was heard, and the next probe goes soon, with another one."""
    breaker = Breaker(now=clock.monotonic)
    breaker.pause("HTTP 401")
    clock.now = 1.0
    for doubts in range(1, 50):
        assert breaker.wait_s() == 0.0
        breaker.sent()
        assert breaker.wait_s() is None
        assert not breaker.refused()
        assert not breaker.fruitless()
        assert (breaker.state, breaker.wait_s(), breaker.doubts) == ("paused", Breaker.REFUSED_S, doubts)
        clock.now += Breaker.REFUSED_S
    breaker.sent()
    assert breaker.succeed()
    assert breaker.doubts == 0


def test_a_proven_account_is_slowed_down_and_not_paused(clock: ManualClock) -> None:
    """What was accepted a short while ago proves it, and a search that finds nothing good leaves others room."""
    breaker = Breaker(now=clock.monotonic)
    breaker.succeed()
    for _ in range(Breaker.MAX_FRUITLESS):
        assert breaker.wait_s() == 0.0
        breaker.sent()
        breaker.refused()
        assert not breaker.fruitless(proven=breaker.proven())
    assert (breaker.state, breaker.wait_s()) == ("open", Breaker.PACE_S)
    clock.now += Breaker.PACE_S
    assert breaker.wait_s() == 0.0
    clock.now += Breaker.PROVEN_S
    assert breaker.fruitless(proven=breaker.proven())
    assert breaker.state == "paused"


# Retry


def test_waits_grow_with_full_jitter() -> None:
    """Anywhere between nothing and 0.5, 1, 2, 4, ... 60 seconds."""
    for failures, ceiling in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (8, 60.0), (1_000, 60.0)):
        waits = [DELIVERY.delay_s(failures) for _ in range(300)]
        assert 0 <= min(waits) < ceiling / 4
        assert ceiling * 3 / 4 < max(waits) <= ceiling
    assert DELIVERY.delay_s(0) == 0.0


def test_probe_intervals_have_no_jitter() -> None:
    """They are few."""
    assert [DELIVERY.interval_s(probes) for probes in (0, 1, 2, 3, 7, 8, 99)] == [0.5, 0.5, 1.0, 2.0, 32.0, 60.0, 60.0]


def test_waits_of_a_policy_of_its_own_end_at_its_limit() -> None:
    """As for a store that is out of reach: from a twentieth of a second up to a second."""
    policy = Backoff(first_s=0.05, longest_s=1.0, jitter=lambda wait_s: wait_s / 2)
    assert [policy.interval_s(failures) for failures in range(1, 8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [policy.delay_s(failures) for failures in (0, 1, 6, 1_000)] == [0.0, 0.025, 0.5, 0.5]


def test_a_first_wait_above_the_limit_is_the_limit() -> None:
    """A caller's own first wait cannot lift it."""
    assert Backoff(first_s=50.0, longest_s=32.0).interval_s(1) == 32.0


# Judge

NOW = 1_000_100.0
SENT = 1_000_000.0


def judged(
    verdict: Verdict, *, resend: Resend = "safe", others: int = 0, attempts_allowed: int = 8, forever: bool = False,
    **fields: Any,
) -> tuple[str, Record]:  # fmt: skip
    """Where one record goes: the kind of its outcome, ``split``, or ``again <seconds>``."""
    one = record(attempts=1, accepted_at=SENT, **fields)
    neighbours = [record(f"n{number}", attempts=1, resend_for_s=1e9) for number in range(others)]
    found: Settlement = settle_batch(
        [one, *neighbours], [verdict] * (1 + others), status=200, sent_at=SENT, now=NOW, resend=resend,
        max_attempts=attempts_allowed, forever=forever,
    )  # fmt: skip
    if one in found.final:
        return found.outcomes[found.final.index(one)].kind, one
    if one in found.split:
        return "split", one
    [after_s] = [wait for wait, records in found.again.items() if one in records]
    return f"again {after_s}", one


@pytest.mark.parametrize("resend", ["safe", "always", "never"])
@pytest.mark.parametrize(
    ("verdict", "others", "goes"),
    [
        (ACCEPTED, 0, "delivered"),
        (rejected("no"), 0, "rejected"),
        (rejected("no"), 3, "rejected"),
        (split("one of these"), 0, "rejected"),
        (split("one of these"), 3, "split"),
        (retry("later"), 0, "again None"),
        (retry("later", after_s=7.0), 0, "again 7.0"),
        (unauthorized("who?"), 0, "again None"),
    ],
)
def test_plain_verdicts_mean_the_same_under_every_policy(
    verdict: Verdict, others: int, goes: str, resend: Resend
) -> None:
    """What the platform has certainly not counted may always be sent again."""
    for window in (0.0, 1e9):
        assert judged(verdict, others=others, resend=resend, resend_for_s=window)[0] == goes


@pytest.mark.parametrize(
    ("resend", "window", "uncertain_since", "goes"),
    [
        ("safe", 0.0, 0.0, "uncertain"),
        ("safe", 50.0, 0.0, "uncertain"),
        ("safe", 200.0, 0.0, "again None"),
        ("safe", 200.0, SENT - 150, "uncertain"),
        ("safe", 200.0, SENT - 50, "again None"),
        ("always", 0.0, 0.0, "again None"),
        ("always", 1.0, SENT - 1e6, "again None"),
        ("never", 1e9, 0.0, "uncertain"),
    ],
)
def test_an_ambiguous_attempt_follows_window_and_policy(
    resend: Resend, window: float, uncertain_since: float, goes: str
) -> None:
    """The window runs from the first attempt that may have arrived, from when it left."""
    found, one = judged(ambiguous("?"), resend=resend, resend_for_s=window, uncertain_since=uncertain_since)
    assert found == goes
    assert one.uncertain_since == (uncertain_since or SENT)


@pytest.mark.parametrize(
    ("resend", "window", "goes"),
    [
        ("safe", 0.0, "uncertain"), ("safe", 1e9, "split"), ("always", 0.0, "split"), ("never", 1e9, "uncertain"),
    ],
)  # fmt: skip
def test_a_refusal_that_may_have_stored_some_is_split_only_where_absorbed(
    resend: Resend, window: float, goes: str
) -> None:
    """And what is sent again may have arrived before: that is noted."""
    found, one = judged(split("?", atomic=False), others=3, resend=resend, resend_for_s=window)
    assert found == goes
    assert one.uncertain_since == (SENT if goes == "split" else 0.0)


@pytest.mark.parametrize(
    ("verdict", "failures", "uncertain_since", "goes"),
    [
        (retry("503"), 6, 0.0, "again None"),
        (retry("503"), 7, 0.0, "dead"),
        (retry("503"), 7, SENT - 1, "uncertain"),
        (retry("429", after_s=0.0, throttled=True), 7, 0.0, "dead"),
        (ambiguous("?"), 7, 0.0, "uncertain"),
        (unauthorized("401"), 7, 0.0, "again None"),
        (unauthorized("401"), 500, 0.0, "again None"),
    ],
)
def test_attempts_are_used_up_by_failures_and_not_by_the_account(
    verdict: Verdict, failures: int, uncertain_since: float, goes: str
) -> None:
    """Eight in all; a refused account costs its events none."""
    found, _ = judged(verdict, failures=failures, uncertain_since=uncertain_since, resend_for_s=1e9)
    assert found == goes


def test_a_durable_spool_never_uses_attempts_up() -> None:
    """There an event is tried until it expires."""
    assert judged(retry("503"), failures=1_000, forever=True)[0] == "again None"


def test_good_rows_of_a_refused_request_are_not_charged() -> None:
    """``retry`` at once beside a rejected neighbour."""
    good, bad = record("good"), record("bad")
    found = settle_batch(
        [good, bad], [retry("neighbour", after_s=0.0), rejected("no")], status=400, sent_at=SENT, now=NOW,
        resend="safe", max_attempts=1, forever=False,
    )  # fmt: skip
    assert found.again == {0.0: [good]}
    assert good.failures == 0


def test_neighbours_share_an_outcome_only_if_all_of_it_is_the_same() -> None:
    """Words, trace, attempts, doubt and time of acceptance."""
    warned = Verdict(kind="accepted", reason="value looks odd")
    records = [record("a"), record("b"), record("c"), record("d", attempts=2), record("e", uncertain_since=1.0)]
    verdicts = [ACCEPTED, ACCEPTED, warned, ACCEPTED, ACCEPTED]
    found = settle_batch(
        records, verdicts, status=200, sent_at=SENT, now=NOW, resend="safe", max_attempts=8, forever=False
    )
    assert [outcome.reason for outcome in found.outcomes] == ["", "", "value looks odd", "", ""]
    assert [outcome.attempts for outcome in found.outcomes] == [0, 0, 0, 2, 0]
    assert [outcome.ambiguous for outcome in found.outcomes] == [False, False, False, False, True]
    assert found.outcomes[0] is found.outcomes[1]


@pytest.mark.parametrize(
    ("resend", "uncertain_since", "yes"), [("safe", 0.0, True), ("safe", NOW - 54, False), ("safe", NOW - 53, True)]
)
def test_a_repeat_is_absorbed_within_its_window(resend: Resend, uncertain_since: float, yes: bool) -> None:
    """Sixty seconds, less a tenth for clocks that are set."""
    assert absorbed(record(resend_for_s=60.0, uncertain_since=uncertain_since), resend, NOW) is yes


@pytest.mark.parametrize("uncertain_since", [0.0, NOW, NOW - 60.0, NOW + 3_600.0])
def test_without_a_window_no_repeat_is_absorbed_wherever_the_clock_was_set(uncertain_since: float) -> None:
    """A clock that was set back puts the attempt into the future."""
    assert not absorbed(record(resend_for_s=0.0, uncertain_since=uncertain_since), "safe", NOW)
