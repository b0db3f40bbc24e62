"""Delivery through the public client to a real local server that misbehaves by script."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
import trustme

from capi_async import Client, Event, Outcome, QueueFull, User
from capi_async.engine.breaker import Breaker
from capi_async.spec import Destination
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged
from tests.engine.acme import Acme, event, events
from tests.engine.server import RESET, Got, Reply, Server, reply, serving, until

pytestmark = pytest.mark.usefixtures("short_waits")


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, **settings)


def client(*destinations: Destination, **options: Any) -> Client:
    return Client(destinations, **{"linger_s": 0, **options})


async def outcome_of(server: Server, one: Event | None = None, **settings: Any) -> Outcome:
    """What becomes of one event."""
    async with client(acme(server, **settings)) as sender:
        receipt = await sender.send(one or event())
        return (await receipt.outcomes(timeout_s=5))["acme"]


def balanced(sender: Client) -> bool:
    return all(counts.balanced for counts in sender.ledger().values())


# Answers


async def test_an_accepted_event_is_delivered_with_its_trace(server: Server) -> None:
    """The platform's own id of the request is in the outcome."""
    server.replies = [reply(answer={"ok": True, "trace": "t-77"})]
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.status, outcome.attempts, outcome.trace_id) == ("delivered", 200, 1, "t-77")
    assert outcome.latency_s > 0
    assert not outcome.ambiguous
    assert server.got[0].headers["authorization"] == "Bearer acme-token"


@pytest.mark.parametrize("status", [408, 500, 502, 503])
async def test_server_trouble_is_tried_again(server: Server, status: int) -> None:
    """The same bytes, until the platform takes them."""
    server.replies = [reply(status), reply(status)]
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.attempts, outcome.ambiguous) == ("delivered", 3, False)
    assert server.got[0].raw == server.got[1].raw == server.got[2].raw


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "0.3"},
        {"Retry_After": formatdate(1_768_478_401, usegmt=True), "Date": formatdate(1_768_478_400, usegmt=True)},
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_wins_over_the_backoff(server: Server, status: int, headers: dict[str, str]) -> None:
    """As seconds and as a date, which is read against the answer's own."""
    asked_s = 0.3 if headers["Retry_After"] == "0.3" else 1.0
    server.replies = [reply(status, **headers)]
    loop = asyncio.get_running_loop()
    started = loop.time()
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.attempts) == ("delivered", 2)
    assert loop.time() - started >= asked_s


async def test_429_without_a_time_waits_as_the_backoff_says(server: Server) -> None:
    """A throttled event is neither lost nor refused."""
    server.replies = [reply(429), reply(429)]
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.attempts) == ("delivered", 3)


async def test_a_throttle_closes_the_whole_destination(server: Server) -> None:
    """Nothing else leaves before the time that the platform gave, be it in a body."""
    server.replies = [reply(answer={"ok": False, "slow_down_s": 0.3})]
    async with client(acme(server)) as sender:
        await sender.send(event(1))
        await server.arrived(1)
        throttled = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        receipt = await sender.send(event(2))
        await receipt.outcomes(timeout_s=5)
        assert asyncio.get_running_loop().time() - throttled >= 0.28
        assert await sender.flush(5)
    assert sorted(server.ids) == ["e1", "e1", "e2"]


async def test_one_event_refused_by_name_leaves_the_others(server: Server) -> None:
    """What the answer names is taken out; one request is enough."""
    server.replies = [reply(answer={"ok": True, "errors": [{"index": 1, "message": "no such thing"}]})]
    async with client(acme(server), linger_s=5) as sender:
        receipts = await sender.send_many(events(3))
        await sender.flush(5)
        found = [(await receipt.outcomes())["acme"] for receipt in receipts]
    assert [outcome.kind for outcome in found] == ["delivered", "rejected", "delivered"]
    assert (found[1].reason, found[1].field, found[1].fix) == ("no such thing", "id", "send another")
    assert len(server.got) == 1


async def test_good_rows_of_a_refused_request_go_again_at_once(server: Server) -> None:
    """They have done nothing wrong: it costs them no attempt of those allowed."""
    errors = [{"index": 0, "message": "bad"}, {"index": 1, "message": "neighbour was bad", "again_s": 0}]
    server.replies = [reply(answer={"ok": False, "errors": errors})]
    async with client(acme(server), linger_s=5, max_attempts=1) as sender:
        receipts = await sender.send_many(events(2))
        await sender.flush(5)
        found = [(await receipt.outcomes())["acme"].kind for receipt in receipts]
    assert found == ["rejected", "delivered"]


async def test_html_with_status_200_is_ambiguous_and_absorbed(server: Server) -> None:
    """An outage page is no success; the platform would recognise a repeat, so it is sent again."""
    server.replies = [Reply(200, b"<html>We'll be right back</html>")]
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.attempts, outcome.ambiguous) == ("delivered", 2, True)


AMBIGUOUS = {
    "html with 200": Reply(200, b"<html>"),
    "truncated JSON": Reply(200, b'{"ok":tr'),
    "reset after the request": RESET,
    "reset within the status line": Reply(cut=9),
    "reset within the body": Reply(cut=len("HTTP/1.1 200 Said\r\nContent-Type: application/json\r\n") + 30),
    "no HTTP at all": Reply(cut=0, body=b""),
    "an answer that classify stumbles over": Reply(418, b""),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_unknown_fate_is_sent_again_while_a_repeat_is_recognised(server: Server, name: str) -> None:
    """And the outcome tells that an earlier attempt may have arrived too."""
    server.replies = [AMBIGUOUS[name]]
    outcome = await outcome_of(server)
    assert (outcome.kind, outcome.attempts, outcome.ambiguous) == ("delivered", 2, True)


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_unknown_fate_is_uncertain_where_a_repeat_would_count(server: Server, name: str) -> None:
    """One request, no more: nothing is counted twice."""
    server.replies = [AMBIGUOUS[name]]
    outcome = await outcome_of(server, resend_for_s=0.0)
    assert (outcome.kind, outcome.attempts) == ("uncertain", 1)
    assert outcome.reason.startswith("may have arrived, and a second copy could count twice")
    assert len(server.got) == 1


@pytest.mark.parametrize(("resend", "kind", "requests"), [("always", "delivered", 2), ("never", "uncertain", 1)])
async def test_resend_overrides_what_the_platform_recognises(
    server: Server, resend: Any, kind: str, requests: int
) -> None:
    """``always`` repeats where it could count twice, ``never`` does not even where it could not."""
    server.replies = [RESET]
    window = 0.0 if resend == "always" else 1_000.0
    outcome = await outcome_of(server, resend=resend, resend_for_s=window)
    assert outcome.kind == kind
    assert len(server.got) == requests


async def test_a_repeat_is_not_sent_after_the_window(server: Server) -> None:
    """The platform asks to wait longer than it remembers: too late."""
    server.replies = [RESET, reply(503, Retry_After="0.4")]
    outcome = await outcome_of(server, resend_for_s=0.3)
    assert (outcome.kind, outcome.attempts) == ("uncertain", 2)
    assert len(server.got) == 2


async def test_reset_before_the_request_is_read_loses_nothing(server: Server) -> None:
    """Connected, then cut off: a repeat that the platform recognises."""
    server.hang_up = 1
    outcome = await outcome_of(server)
    assert outcome.kind == "delivered"
    assert len(server.got) == 1


async def test_a_large_body_that_did_not_leave_whole_is_no_doubt(server: Server) -> None:
    """Several slices, cut off early: the platform cannot have read it, so even a fragile event goes again."""
    server.hang_up = 1
    # more than all socket buffers on the way can hold, or the whole of it would have left after all
    large = [event(number, properties={"note": "x" * 2_000_000}) for number in range(1, 13)]
    async with client(acme(server, resend_for_s=0.0, max_batch_bytes=32_000_000), linger_s=0.2) as sender:
        receipts = [sender.enqueue(one) for one in large]
        outcomes = [(await receipt.outcomes(timeout_s=20))["acme"] for receipt in receipts]
    assert {(outcome.kind, outcome.ambiguous) for outcome in outcomes} == {("delivered", False)}
    assert sorted(server.ids) == sorted(one.event_id for one in large)


async def test_a_server_that_never_answers_is_given_up(server: Server) -> None:
    """After ``request_timeout_s``; the event may have arrived."""
    server.replies = [Reply(until=asyncio.Event())]
    # the first request of a process waits for imports
    outcome = await outcome_of(server, request_timeout_s=1.0)
    assert (outcome.kind, outcome.attempts, outcome.ambiguous) == ("delivered", 2, True)


async def test_a_host_that_does_not_exist_leaves_no_doubt() -> None:
    """Nothing left, so even an event that may not be repeated is tried until its attempts are used up."""
    lost = Acme(base_url="https://nonexistent.invalid", resend_for_s=0.0, max_attempts=2)
    async with client(lost) as sender:
        outcome = (await (await sender.send(event())).outcomes(timeout_s=20))["acme"]
    assert outcome.kind == "dead"
    assert outcome.reason == "2 failed attempts; last: no answer (dns), the request did not leave"


async def test_nobody_listening_leaves_no_doubt(server: Server) -> None:
    """A refused connection is no attempt that may have arrived."""
    dead = Acme(base_url="http://127.0.0.1:1", resend_for_s=0.0, max_attempts=3)
    async with client(dead) as sender:
        outcome = (await (await sender.send(event())).outcomes(timeout_s=5))["acme"]
    assert (outcome.kind, outcome.attempts) == ("dead", 3)
    assert outcome.reason == "3 failed attempts; last: no answer (connect), the request did not leave"


async def test_a_certificate_must_be_trusted() -> None:
    """Unknown authorities are refused; ``ssl=`` names one's own."""
    authority = trustme.CA()
    import ssl

    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    async with serving(theirs) as secure:
        async with client(acme(secure, max_attempts=1, resend_for_s=0.0)) as sender:
            outcome = (await (await sender.send(event())).outcomes(timeout_s=5))["acme"]
        said = "no answer (tls: the certificate's authority is not known here), the request did not leave"
        assert outcome.reason == f"1 failed attempts; last: {said}"
        assert secure.got == []
        async with client(acme(secure), ssl=ours) as sender:
            assert (await (await sender.send(event())).outcomes(timeout_s=5))["acme"].kind == "delivered"


async def test_redirects_are_not_followed(server: Server) -> None:
    """They would carry the credential elsewhere: the destination pauses instead."""
    server.replies = [reply(302, Location=f"{server.url}/elsewhere")]
    async with client(acme(server)) as sender:
        receipt = await sender.send(event())
        await server.arrived(1)
        outcome = (await receipt.outcomes(timeout_s=5))["acme"]
    assert outcome.kind == "delivered"
    assert {request.path for request in server.got} == {"/acme-1/events?key=acme-token"}


# Splitting


def poisoned(*bad: str) -> Any:
    """A platform that refuses a whole request for one event in it."""

    def script(request: Got) -> Reply:
        return reply(400, {"ok": False, "refused": "bad event"}) if set(bad) & set(request.ids) else reply()

    return script


@pytest.mark.parametrize("bad", [["e1"], ["e500"], ["e1000"], ["e3", "e700"], ["e10", "e11", "e12"]])
async def test_bisection_rejects_only_the_guilty(server: Server, bad: list[str]) -> None:
    """At most about 2·log2(n) requests per bad event."""
    server.script = poisoned(*bad)
    async with client(acme(server), linger_s=5) as sender:
        receipts = await sender.send_many(events(1_000))
        assert await sender.flush(10)
        kinds = {receipt.event_id: (await receipt.outcomes())["acme"].kind for receipt in receipts}
        assert balanced(sender)
    assert [name for name, kind in kinds.items() if kind != "delivered"] == bad
    assert {kinds[name] for name in bad} == {"rejected"}
    assert len(server.got) <= len(bad) * 2 * math.ceil(math.log2(1_000)) + 1


async def test_413_is_split(server: Server) -> None:
    """Halved until it fits; alone it would be rejected."""
    server.script = lambda request: reply(413) if len(request.ids) > 3 else reply()
    async with client(acme(server), linger_s=5) as sender:
        await sender.send_many(events(10))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 10
    assert [len(request.ids) for request in server.got if len(request.ids) <= 3].count(0) == 0


async def test_two_thousand_bad_events_pause_the_destination(server: Server, other: Server) -> None:
    """Bounded requests, events kept, nothing else harmed."""
    server.script = lambda _request: reply(400, {"ok": False, "refused": "bad event"})
    seen = States()
    async with client(acme(server), acme(other, "fine"), linger_s=5, hooks=[seen]) as sender:
        await sender.send_many(events(2_000))
        assert not await sender.flush(0.5)
        await until(lambda: sender.states()["acme"].state == "paused")  # on a busy machine it takes longer
        await until(lambda: sender.ledger()["fine"].delivered == 2_000)
        ledger = sender.ledger()
        assert ledger["fine"].delivered == 2_000
        assert ledger["acme"].pending > 1_900
        assert balanced(sender)
        assert len(server.got) < 64 + 8 + 30  # those under way when it paused, and some probes
        assert ("acme", "paused") in seen.changes
        # what is good is delivered once the platform takes something again
        server.script = lambda _request: reply()
        assert await sender.flush(10)
        assert sender.ledger()["acme"].pending == 0


@pytest.mark.parametrize("count", [70, 150])
async def test_a_run_of_bad_events_holds_up_no_good_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Whoever made them: the destination may pause at first, but the next probe is a newer event, and it goes on."""
    monkeypatch.setattr(Breaker, "PACE_S", 0.002)
    bad = [f"e{number}" for number in range(count)]
    server.script = poisoned(*bad)
    async with client(acme(server)) as sender:
        spoiled = await sender.send_many([event(number) for number in range(count)])
        await until(lambda: len(server.got) > 60)
        good = [await sender.send(event(number)) for number in range(10_000, 10_010)]
        for receipt in good:
            assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"
        assert await sender.flush(20)
        assert {(await receipt.outcomes())["acme"].kind for receipt in spoiled} == {"rejected"}
        assert sender.states()["acme"].state == "open"
        assert balanced(sender)


async def test_bad_events_without_end_leave_others_their_turn(server: Server) -> None:
    """An account that has just accepted something is not paused for two thousand of them, and good ones go between."""
    bad = [f"e{number}" for number in range(2_000)]
    server.script = poisoned(*bad)
    seen = States()
    async with client(acme(server), hooks=[seen]) as sender:
        await sender.send(event(9_000))
        await until(lambda: sender.ledger()["acme"].delivered == 1)
        await sender.send_many([event(number) for number in range(2_000)])
        await server.arrived(80)
        for number in range(10_000, 10_005):
            receipt = await sender.send(event(number))
            assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"
        assert seen.changes == []
        await sender.aclose(0)


async def test_good_and_bad_events_by_turns_are_told_apart(server: Server) -> None:
    """Nothing pauses, and only the bad ones are rejected."""
    bad = {f"e{number}" for number in range(0, 300, 2)}
    server.script = poisoned(*bad)
    seen = States()
    async with client(acme(server), linger_s=0.05, hooks=[seen]) as sender:
        receipts = await sender.send_many([event(number) for number in range(300)])
        assert await sender.flush(20)
        kinds = {one.event_id: (await one.outcomes())["acme"].kind for one in receipts}
    assert {name for name, kind in kinds.items() if kind == "rejected"} == bad
    assert seen.changes == []


async def test_events_that_are_refused_by_name_never_pause(server: Server) -> None:
    """An answer that names an event has looked at it, so the account is not what it refuses."""
    errors = [{"index": 0, "message": "no"}]
    server.script = lambda _request: reply(200, {"ok": False, "errors": errors})
    seen = States()
    async with client(acme(server, max_batch_events=1), hooks=[seen]) as sender:
        await sender.send_many(events(66))
        assert await sender.flush(20)
        assert sender.ledger()["acme"].rejected == 66
    assert seen.changes == []


async def test_pages_of_an_edge_are_an_outage(server: Server) -> None:
    """The breaker opens, the events wait, and none is rejected."""
    page = Reply(451, b"<html>blocked</html>")
    server.script = lambda _request: page
    async with client(acme(server), max_attempts=10_000) as sender:
        receipt = await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "broken")
        assert "a proxy, a firewall or the platform's edge" in sender.states()["acme"].reason
        server.script = lambda _request: reply()
        assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"


# The account


class States(Hook):
    """Notes what a destination is said to be."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []
        self.changed = asyncio.Event()

    def on_state(self, change: StateChanged) -> None:
        self.changes.append((change.destination, change.state))
        self.changed.set()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_account_keeps_its_events_until_it_recovers(server: Server, status: int) -> None:
    """However many probes it takes, no event pays for the account; it is reported once."""
    answers: Iterator[Reply] = iter([reply(status)] * 12)
    server.script = lambda _request: next(answers, reply())
    seen = States()
    async with client(acme(server), max_attempts=2, hooks=[seen]) as sender:
        receipt = await sender.send(event(1))
        await seen.changed.wait()
        assert sender.states()["acme"].state == "paused"
        assert sender.states()["acme"].reason == f"HTTP {status}"
        later = await sender.send(event(2))
        assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"
        assert (await later.outcomes(timeout_s=8))["acme"].kind == "delivered"
    assert seen.changes == [("acme", "paused"), ("acme", "open")]


async def test_a_probe_carries_one_event(server: Server) -> None:
    """It may well be in vain."""
    server.replies = [reply(401), reply(401)]
    async with client(acme(server), linger_s=0.05) as sender:
        await sender.send_many(events(50))
        assert await sender.flush(5)
    assert [len(request.ids) for request in server.got][:3] == [50, 1, 1]
    assert sorted(server.ids[51:]) == sorted(one.event_id for one in events(50))


async def test_a_rotated_credential_resumes_what_only_it_can(server: Server) -> None:
    """No probe, no restart: the callable gives another token, and the events go."""
    tokens = ["old"]

    async def current() -> str:
        return tokens[-1]

    server.script = lambda request: reply() if request.headers["authorization"] == "Bearer new" else reply(401)
    seen = States()
    async with client(acme(server, access_token=current, probe=False), hooks=[seen]) as sender:
        receipt = await sender.send(event())
        await seen.changed.wait()
        refused = len(server.got)
        await asyncio.sleep(0.1)
        assert len(server.got) == refused == 1
        tokens.append("new")
        assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"
    assert [request.headers["authorization"] for request in server.got] == ["Bearer old", "Bearer new"]


async def test_a_fixed_credential_that_cannot_recover_is_never_probed(server: Server) -> None:
    """Where only a new credential helps, asking again is useless."""
    server.script = lambda _request: reply(401)
    async with client(acme(server, probe=False)) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "paused")
        await sender.send(event(2))
        await asyncio.sleep(0.1)
        report = await sender.aclose(0)
    assert len(server.got) == 1
    assert report.pending == {"acme": 2}


@pytest.mark.parametrize("fault", ["raises", "hangs", "gives nothing", "refused, then raises"])
async def test_a_faulty_credential_callable_pauses_and_keeps(server: Server, fault: str) -> None:
    """The caller's own code may fail like any server; its neighbours go on, and it recovers."""
    broken = [fault != "refused, then raises"]
    asked = [0]

    async def token() -> str:
        asked[0] += 1
        if broken[0]:
            if fault == "hangs":
                await asyncio.Event().wait()
            if fault == "gives nothing":
                return ""
            raise RuntimeError("vault sealed, token tok-123")
        return "good" if asked[0] > 1 else "bad"

    def script(request: Got) -> Reply:
        if request.headers["authorization"] == "Bearer bad":
            broken[0] = True
            return reply(401)
        return reply()

    server.script = script
    seen = States()
    async with client(acme(server, access_token=token, request_timeout_s=0.1), hooks=[seen]) as sender:
        receipt = await sender.send(event())
        await seen.changed.wait()
        await until(lambda: asked[0] >= 4)
        assert sender.ledger()["acme"].pending == 1
        broken[0] = False
        assert (await receipt.outcomes(timeout_s=8))["acme"].kind == "delivered"


async def test_a_credential_that_ends_in_a_newline_is_trimmed(server: Server) -> None:
    """As files end; it would otherwise break every request."""
    outcome = await outcome_of(server, access_token=lambda: "from-a-file\n", resend_for_s=0.0)
    assert outcome.kind == "delivered"
    assert server.got[0].headers["authorization"] == "Bearer from-a-file"


async def test_a_credential_that_cannot_stand_in_a_header_pauses(server: Server) -> None:
    """It is refused before it does harm, and the events wait."""
    tokens = ["two\nlines"]
    async with client(acme(server, access_token=lambda: tokens[-1], resend_for_s=0.0)) as sender:
        receipt = await sender.send(event())
        await until(lambda: sender.states()["acme"].state == "paused")
        assert sender.states()["acme"].reason == "the credential's callable failed with ConfigError"
        tokens.append("one-line")
        assert (await receipt.outcomes(timeout_s=5))["acme"].kind == "delivered"


async def test_a_destination_whose_request_fails_keeps_its_events(server: Server, other: Server) -> None:
    """A fault in a destination pauses it and nobody else."""
    tokens = ["unspeakable"]
    broken = acme(server, access_token=lambda: tokens[-1])
    async with client(broken, acme(other, "fine")) as sender:
        receipt = await sender.send(event())
        await until(lambda: sender.states()["acme"].state == "paused")
        assert sender.states()["acme"].reason == "request() failed with RuntimeError"
        await until(lambda: sender.ledger()["fine"].delivered == 1)
        tokens.append("fine")
        assert {one.kind for one in (await receipt.outcomes(timeout_s=5)).values()} == {"delivered"}


# Breaker, attempts, age


async def test_the_breaker_opens_and_recovers(server: Server) -> None:
    """Five failures in a row; then one probe at a time, until something is accepted."""
    server.script = lambda _request: reply(503)
    seen = States()
    async with client(acme(server, max_batch_events=1), hooks=[seen], max_attempts=1_000) as sender:
        await sender.send_many(events(40))
        await seen.changed.wait()
        assert sender.states()["acme"].state == "broken"
        assert sender.states()["acme"].reason == "HTTP 503"
        broken_at = len(server.got)
        await server.arrived(broken_at + 12)
        server.most_in_flight = 0
        await server.arrived(broken_at + 14)
        assert server.most_in_flight == 1
        server.script = lambda _request: reply()
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 40
    assert seen.changes == [("acme", "broken"), ("acme", "open")]


async def test_single_refusals_never_open_the_breaker(server: Server) -> None:
    """Partial failures say that the platform works."""
    server.script = lambda _request: reply(answer={"ok": False, "errors": [{"index": 0, "message": "no"}]})
    async with client(acme(server, max_batch_events=1)) as sender:
        await sender.send_many(events(100))
        assert await sender.flush(30)
        assert sender.states()["acme"].state == "open"
        assert sender.ledger()["acme"].rejected == 100


async def test_attempts_used_up_are_dead(server: Server) -> None:
    """With the last reason, and the number of attempts."""
    server.script = lambda _request: reply(503)
    outcome = await outcome_of(server, max_attempts=3)
    assert (outcome.kind, outcome.attempts, outcome.status) == ("dead", 3, 503)
    assert outcome.reason == "3 failed attempts; last: HTTP 503"


async def test_attempts_used_up_after_a_doubt_are_uncertain(server: Server) -> None:
    """One of them may have arrived."""
    server.replies = [RESET, reply(503)]
    outcome = await outcome_of(server, max_attempts=2)
    assert (outcome.kind, outcome.attempts) == ("uncertain", 2)


async def test_an_event_that_grows_old_while_waiting_is_expired(server: Server) -> None:
    """And it says how often it was tried."""
    server.script = lambda _request: reply(503, Retry_After="0.6")
    outcome = await outcome_of(server, max_age_s=0.5)
    assert (outcome.kind, outcome.field, outcome.attempts) == ("expired", "time", 1)
    assert len(server.got) == 1


async def test_expired_probes_do_not_close_the_gate_for_ever(server: Server) -> None:
    """A paused destination whose oldest event has expired probes with the next."""
    server.script = lambda _request: reply(401)
    async with client(acme(server, max_age_s=0.4)) as sender:
        old = await sender.send(event(1))
        assert (await old.outcomes(timeout_s=5))["acme"].kind == "expired"
        server.script = lambda _request: reply()
        young = await sender.send(event(2))
        assert (await young.outcomes(timeout_s=5))["acme"].kind == "delivered"


async def test_events_of_one_person_keep_their_order(server: Server) -> None:
    """Never the second before the first is settled, whatever happens to the first."""
    server.replies = [reply(503), RESET]
    async with client(acme(server, ordered=True)) as sender:
        await sender.send_many(events(6))
        assert await sender.flush(5)
    firsts = list(dict.fromkeys(server.ids))
    assert firsts == ["e1", "e2", "e3", "e4", "e5", "e6"]
    assert all(len(request.ids) == 1 for request in server.got)


async def test_requests_in_flight_are_bounded(server: Server) -> None:
    """``max_in_flight`` at most."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server, max_batch_events=1, max_in_flight=3)) as sender:
        await sender.send_many(events(20))
        await server.arrived(3)
        await asyncio.sleep(0.02)
        assert len(server.got) == 3
        release.set()
        assert await sender.flush(5)
    assert server.most_in_flight == 3


async def test_the_rate_is_kept(server: Server) -> None:
    """Requests per second, over a burst of one."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def script(_request: Got) -> Reply:
        times.append(loop.time())
        return reply()

    server.script = script
    async with client(acme(server, max_batch_events=1, requests_per_s=50, burst=1)) as sender:
        await sender.send_many(events(10))
        assert await sender.flush(5)
    assert times[-1] - times[0] >= 9 / 50 - 0.01


# Isolation and bounds


async def test_a_hanging_destination_changes_nothing_for_the_others(server: Server, other: Server) -> None:
    """Every event of the others is delivered before the hanging one gives its first answer."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server, "stuck"), acme(other, "fine"), acme(other, "well")) as sender:
        for start in range(20):
            await sender.send_many([event(start * 100 + number) for number in range(100)])
        await server.arrived(1)
        await until(lambda: sender.ledger()["fine"].delivered == sender.ledger()["well"].delivered == 2_000)
        assert sender.ledger()["stuck"].delivered == 0
        assert sender.ledger()["stuck"].pending == 2_000
        release.set()
        assert await sender.flush(5)
        assert sender.ledger()["stuck"].delivered == 2_000


async def test_to_addresses_some_and_skips_the_others(server: Server, other: Server) -> None:
    """Both are in the outcome."""
    async with client(acme(server, "one"), acme(other, "two")) as sender:
        found = await (await sender.send(event(to=["two"]))).outcomes(timeout_s=5)
    assert (found["one"].kind, found["one"].field) == ("skipped", "to")
    assert found["two"].kind == "delivered"
    assert server.got == []


@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_overflow_fail_refuses_exactly_at_the_bound(server: Server, bound: str) -> None:
    """Three fit, the fourth does not, and nothing of it is stored."""
    size = await body_size(server)
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    options = {"max_pending_events": 3} if bound == "events" else {"max_pending_bytes": 3 * size}
    async with client(acme(server), overflow="fail", **options) as sender:
        for number in (1, 2, 3):
            await sender.send(event(number))
        with pytest.raises(QueueFull, match="nothing was stored"):
            await sender.send(event(4))
        assert sender.ledger()["acme"].accepted == 3
        release.set()


async def body_size(server: Server) -> int:
    """Bytes of one record."""
    async with client(acme(server), linger_s=60) as sender:
        await sender.send(event(1))
        return sender.snapshot().destinations["acme"].waiting_bytes


@pytest.mark.parametrize("bound", ["events", "bytes"])
async def test_overflow_wait_goes_on_when_room_comes_free(server: Server, bound: str) -> None:
    """The caller waits for a destination that makes progress."""
    size = await body_size(server)
    options = {"max_pending_events": 2} if bound == "events" else {"max_pending_bytes": 2 * size}
    async with client(acme(server, max_batch_events=1, requests_per_s=50, burst=1), **options) as sender:
        for number in range(1, 7):
            await sender.send(event(number))
            assert sender.ledger()["acme"].pending <= 2
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 6


@pytest.mark.parametrize("timeout_s", [0, 0.2])
async def test_overflow_wait_gives_up_with_the_caller(server: Server, timeout_s: float) -> None:
    """Within its timeout, and nothing is stored."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    async with client(acme(server), max_pending_events=1) as sender:
        await sender.send(event(1), timeout_s=0)
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(QueueFull, match="nothing was stored"):
            await sender.send(event(2), timeout_s=timeout_s)
        assert timeout_s <= loop.time() - started < timeout_s + 0.6
        assert sender.ledger()["acme"].accepted == 1
        release.set()


async def test_overflow_wait_drops_at_a_destination_that_is_paused(server: Server, other: Server) -> None:
    """The others take theirs at once."""
    server.script = lambda _request: reply(401)
    async with client(acme(server, "paused", probe=False), acme(other, "fine"), max_pending_events=2) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["paused"].state == "paused")
        await sender.send(event(2))
        found = await (await sender.send(event(3), timeout_s=3)).outcomes(timeout_s=5)
        assert found["paused"].kind == "dropped"
        assert "paused or does not answer" in found["paused"].reason
        assert found["fine"].kind == "delivered"
        assert balanced(sender)
        await sender.aclose(0)


async def test_a_long_wait_that_the_platform_asks_for_is_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A quota of the day: nothing leaves for hours, and nothing is wrong with the account."""
    server.script = lambda _request: reply(429, Retry_After="7200")
    async with client(acme(server)) as sender:
        await sender.send(event(1))
        await until(lambda: "throttled" in caplog.text)
        await sender.aclose(0)
    [said] = [one for one in caplog.messages if "throttled" in one]
    assert said.startswith("acme: throttled: ")
    assert "1 events wait, and the next request leaves in 7200 s" in said


async def test_overflow_wait_drops_at_a_destination_that_is_throttled_for_long(server: Server, other: Server) -> None:
    """Nothing leaves there for a minute: that is no progress, and the others need not wait for it."""
    server.script = lambda _request: reply(429, Retry_After="60")
    async with client(acme(server, "slow"), acme(other, "fine"), max_pending_events=1) as sender:
        await sender.send(event(1))
        await server.arrived(1)
        await other.arrived(1)
        await asyncio.sleep(0.05)
        found = await (await sender.send(event(2), timeout_s=3)).outcomes(timeout_s=5)
        assert (found["slow"].kind, found["fine"].kind) == ("dropped", "delivered")
        await sender.aclose(0)


@pytest.mark.parametrize("linger_s", [0, 60])
async def test_overflow_drop_oldest_makes_room_for_the_newest(server: Server, linger_s: float) -> None:
    """The oldest that is not under way gives way, be it waiting for company."""
    release = asyncio.Event()
    server.script = lambda _request: Reply(until=release)
    limits: dict[str, Any] = {"max_batch_events": 1, "max_in_flight": 1} if not linger_s else {}
    async with client(
        acme(server, **limits), overflow="drop_oldest", max_pending_events=3, linger_s=linger_s
    ) as sender:
        receipts = [await sender.send(event(1))]
        if not linger_s:
            await server.arrived(1)
        receipts += [await sender.send(event(number)) for number in (2, 3, 4, 5)]
        assert sender.ledger()["acme"].pending == 3
        assert sender.ledger()["acme"].dropped == 2
        release.set()
        assert await sender.flush(5)
        kinds = {receipt.event_id: (await receipt.outcomes())["acme"].kind for receipt in receipts}
    dropped = ["e1", "e2"] if linger_s else ["e2", "e3"]
    assert [name for name, kind in kinds.items() if kind == "dropped"] == dropped


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest"])
async def test_an_event_larger_than_a_whole_queue_is_dropped_alone(server: Server, overflow: Any) -> None:
    """It neither waits for ever nor drives out what is there."""
    async with client(acme(server), overflow=overflow, max_pending_bytes=2_000, linger_s=60) as sender:
        small = await sender.send(event(1))
        large = sender.enqueue(event(2, properties={"note": "x" * 3_000}))
        await large.accepted()
        assert (await large.outcomes(timeout_s=1))["acme"].kind == "dropped"
        assert await sender.flush(5)
        assert (await small.outcomes())["acme"].kind == "delivered"


# Hooks


class Notes(Hook):
    """Writes down all it is told."""

    def __init__(self) -> None:
        self.requests: list[RequestDone] = []
        self.settled: list[Settled] = []

    def on_request(self, done: RequestDone) -> None:
        self.requests.append(done)

    def on_settled(self, settled: Settled) -> None:
        self.settled.append(settled)


class Faulty(Hook):
    """Raises whatever it is told."""

    def on_request(self, done: RequestDone) -> None:
        raise RuntimeError("hook")

    def on_settled(self, settled: Settled) -> None:
        raise RuntimeError("hook")


async def test_hooks_are_told_of_requests_and_ends(server: Server) -> None:
    """Also of those that got no answer; a listener that raises changes nothing, not even for the next one."""
    server.replies = [RESET, reply(503)]
    notes = Notes()
    async with client(acme(server), hooks=[Faulty(), notes]) as sender:
        await (await sender.send(event())).outcomes(timeout_s=5)
    assert [(done.status, done.error, done.events) for done in notes.requests] == [
        (0, "reset", 1),
        (503, "", 1),
        (200, "", 1),
    ]
    assert [(settled.event_ids, settled.outcomes[0].kind) for settled in notes.settled] == [(["e1"], "delivered")]
    assert all(done.duration_s > 0 and done.bytes > 0 for done in notes.requests)


async def test_a_transport_that_raises_anything_costs_no_event(server: Server) -> None:
    """A fault of somebody's own transport is an answer that never came; what else is under way goes on."""
    from capi_async.outcome import Response
    from capi_async.spec import Request

    class Odd:
        def __init__(self) -> None:
            self.calls = 0

        async def send(self, request: Request, *, timeout_s: float) -> Response:
            self.calls += 1
            if self.calls == 2:
                raise ZeroDivisionError
            return Response(200, b'{"ok":true}')

    async with client(acme(server, max_batch_events=1), transport=Odd()) as sender:
        receipts = await sender.send_many(events(5))
        assert await sender.flush(5)
        found = [(await receipt.outcomes())["acme"] for receipt in receipts]
    assert [one.kind for one in found] == ["delivered"] * 5
    assert [one.ambiguous for one in found].count(True) == 1


async def test_gzip_compresses_what_leaves(server: Server) -> None:
    """Only where the account asks for it."""
    async with client(acme(server, gzip=True), linger_s=60) as sender:
        await sender.send_many(events(50))
        assert await sender.flush(5)
    assert server.got[0].headers["content-encoding"] == "gzip"
    assert len(server.got[0].raw) < 2_000
    assert len(server.ids) == 50


async def test_large_batches_leave_in_slices_with_their_length(server: Server) -> None:
    """Batches close on bytes, and a body of many slices arrives whole."""
    notes = "n" * 5_000
    async with client(acme(server), linger_s=60) as sender:
        await sender.send_many(events(400, properties={"note": notes}))
        assert await sender.flush(10)
    assert sorted(server.ids) == sorted(one.event_id for one in events(400))
    assert all(len(request.raw) <= 1024 * 1024 for request in server.got)
    assert len(server.got) == 2


async def test_what_hooks_are_told_adds_up_to_the_ledger(server: Server) -> None:
    """Also what no answer decides: refusals before storing, overflow, and what is erased or withdrawn."""
    notes = Notes()
    async with client(acme(server), hooks=[notes], overflow="drop_oldest", max_pending_events=2, linger_s=60) as sender:
        await sender.send(event(1, to=[]))
        for number, address in enumerate(("a@b.example", "c@d.example", "e@f.example"), 2):
            await sender.send(event(number, user=User(email=address)))
        assert await sender.forget(User(email="c@d.example")) == {"acme": 1}
        assert await sender.withdraw(User(email="e@f.example")) == {"acme": 1}
        await sender.send(event(5))
        assert await sender.flush(5)
        ledger = sender.ledger()["acme"]
    told = [
        (name, outcome.kind) for one in notes.settled for name, outcome in zip(one.event_ids, one.outcomes, strict=True)
    ]
    assert told == [
        ("e1", "skipped"), ("e2", "dropped"), ("e3", "forgotten"), ("e4", "skipped"), ("e5", "delivered"),
    ]  # fmt: skip
    assert (ledger.accepted, ledger.settled, ledger.pending) == (5, 5, 0)
