"""The client's surface, over a transport that answers from memory: no sockets here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capi_async import App, Client, Consent, Event, Hashed, Item, Page, TransportError, User
from capi_async.destinations import Snap
from capi_async.outcome import Response
from capi_async.spec import Request
from capi_async.spool.base import Ledger
from tests.engine.acme import EMAIL, Acme, event, events

PIXEL = "9633c2ae-0115-495a-aca9-b976db485fc8"


class Played:
    """Answers each request with the next thing given, then with ``last``."""

    def __init__(self, *answers: Response | TransportError, last: bytes = b'{"ok":true}') -> None:
        self.answers = list(answers)
        self.last = last
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if self.answers else Response(200, self.last)
        if isinstance(answer, TransportError):
            raise answer
        return answer


def client(*destinations: Any, **options: Any) -> Client:
    return Client(destinations or [Acme()], **{"linger_s": 0, "transport": Played(), **options})


async def test_the_quick_start_works_as_written() -> None:
    """One event with everything a shop has, sent to a real platform's mapping."""
    snap = Played(last=b'{"status":"VALID"}')
    async with client(Snap(pixel_id=PIXEL, access_token="token"), transport=snap) as sender:
        receipt = await sender.send(
            Event(
                "purchase",
                user=User(email="a@b.example", phone="+14155552671", first_name="Ada"),
                value="72.39",
                currency="USD",
                page=Page(url="https://shop.example/thanks"),
                order_id="1001",
                items=[Item(id="sku-1", price=72.39)],
                consent=Consent(ad_storage=True),
            )
        )
        outcomes = await receipt.outcomes(timeout_s=5)
    assert receipt.event_id == "purchase:1001"
    assert outcomes["snap"].kind == "delivered"
    assert len(snap.requests) == 1
    assert b'"event_id":"purchase:1001"' in b"".join(snap.requests[0].body)


async def test_the_ledger_knows_every_destination_from_the_start() -> None:
    """Also before anything was sent."""
    sender = client(Acme(name="a"), Acme(name="b"))
    assert sender.ledger() == {"a": Ledger(), "b": Ledger()}
    assert {name: one.state for name, one in sender.states().items()} == {"a": "open", "b": "open"}
    assert repr(sender) == "Client(a, b)"


async def test_the_ledger_balances_at_any_moment() -> None:
    """Delivered, rejected, skipped, expired, uncertain, dead: all are somewhere."""
    from datetime import UTC, datetime, timedelta

    played = Played(
        Response(200, b'{"ok":true,"errors":[{"index":0,"message":"no"}]}'),
        TransportError("reset", sent=True),
        Response(503),
    )
    async with client(Acme(resend_for_s=0.0, max_attempts=1, max_batch_events=1), transport=played) as sender:
        old = event(5, time=datetime.now(UTC) - timedelta(days=40))
        for one in (event(1), event(2), event(3), event(4), old, event(6, name="login")):
            await (await sender.send(one)).outcomes(timeout_s=5)
            assert sender.ledger()["acme"].balanced
        assert sender.ledger()["acme"] == Ledger(
            accepted=6, delivered=1, rejected=1, skipped=1, expired=1, uncertain=1, dead=1
        )


async def test_a_client_needs_no_entering() -> None:
    """The first call starts it; a flush may be that call."""
    sender = client()
    assert await sender.flush(1)
    assert (await (await sender.send(event())).outcomes(timeout_s=5))["acme"].kind == "delivered"
    assert (await sender.aclose()).complete


async def test_one_destination_may_be_reached_under_two_accounts() -> None:
    """Each with its own credential and its own ledger."""
    played = Played()
    shops = [Acme(name="at", account_id="at", access_token="one"), Acme(name="de", account_id="de", access_token="two")]
    async with client(*shops, transport=played) as sender:
        await sender.send(event())
        assert await sender.flush(5)
    assert sorted((request.url.split("/")[3], request.headers["Authorization"]) for request in played.requests) == [
        ("at", "Bearer one"),
        ("de", "Bearer two"),
    ]


async def test_linger_gathers_events_that_come_one_by_one() -> None:
    """One request for all, and a destination may linger otherwise than the client."""
    played = Played()
    quick, slow = Acme(name="quick", linger_s=0.0, account_id="q"), Acme(name="slow", account_id="s")
    async with client(quick, slow, transport=played, linger_s=0.2) as sender:
        receipts = [await sender.send(one) for one in events(10)]
        for receipt in receipts:
            await receipt.outcomes(timeout_s=5)
    assert sum("/s/" in request.url for request in played.requests) == 1
    assert sum("/q/" in request.url for request in played.requests) > 1


async def test_test_events_never_share_a_request_with_live_ones() -> None:
    """Their heads differ."""
    played = Played()
    async with client(transport=played, linger_s=60) as sender:
        await sender.send_many([event(1), event(2, test=True), event(3)])
    heads = sorted(b"".join(request.body).split(b',"events"')[0] for request in played.requests)
    assert [b'"test":true' in head for head in heads] == [False, True]


async def test_sending_the_same_event_twice_sends_it_twice_under_one_id() -> None:
    """De-duplication is the platform's; the id is what it goes by."""
    async with client() as sender:
        one = Event("purchase", order_id="1001", user=User(email=EMAIL))
        receipts = await sender.send_many([one, one])
        assert [receipt.event_id for receipt in receipts] == ["purchase:1001"] * 2
        assert [(await receipt.outcomes(timeout_s=5))["acme"].kind for receipt in receipts] == ["delivered"] * 2


async def test_many_senders_at_once_lose_nothing() -> None:
    """Over a small intake, so that most of them wait before they may hand in."""
    async with client(max_intake_events=50, max_pending_events=100) as sender:
        receipts = await asyncio.gather(*(sender.send(event(number), timeout_s=30) for number in range(2_000)))
        assert await sender.flush(10)
        assert sender.ledger()["acme"] == Ledger(accepted=2_000, delivered=2_000)
        assert {(await receipt.outcomes())["acme"].kind for receipt in receipts} == {"delivered"}


async def test_the_loop_is_not_kept_busy_by_a_client_with_nothing_to_do() -> None:
    """Idle, lingering, paused or throttled: workers sleep."""
    loop = asyncio.get_running_loop()
    states = {
        "idle": Played(),
        "paused": Played(*[Response(401)] * 50),
        "throttled": Played(Response(429, headers={"retry-after": "60"})),
        "retrying": Played(Response(503, headers={"retry-after": "60"})),
    }
    for state, played in states.items():
        sender = client(Acme(probe=False), transport=played)
        if state != "idle":
            await sender.send_many(events(5))
        else:
            await sender.flush(1)
        await asyncio.sleep(0.05)
        worker = sender._engine.workers["acme"]  # type: ignore[union-attr]
        steps = 0
        step = worker._step

        async def counted(group: Any, step: Any = step) -> float | None:
            nonlocal steps
            steps += 1
            found: float | None = await step(group)
            return found

        worker._step = counted  # type: ignore[method-assign]
        started = loop.time()
        await asyncio.sleep(0.2)
        assert loop.time() - started < 1
        assert steps <= 3, state
        await sender.aclose(0)


@pytest.mark.parametrize("value", [Hashed("ab" * 32, "phone_e164"), ["+14155552671", Hashed("cd" * 32, "phone_e164")]])
async def test_explain_accepts_what_send_accepts(value: Any) -> None:
    """Digests made elsewhere included."""
    sender = client()
    shown = sender.explain(event(user=User(phone=value), app=App(id="com.example")))["acme"]
    assert (shown.verdict, list(shown.used)) == ("pending", ["phone_e164"])
