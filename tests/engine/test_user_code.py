"""What users wrote may raise anything, or never come back: it costs that call, and nobody else's event."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import pytest

from capi_async import Client, ClientClosed, Event, thread
from capi_async.engine import held
from capi_async.outcome import Response, Verdict
from capi_async.pii.identifiers import Identifiers
from capi_async.spec import Destination, Refusal, Request, Wire
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged
from tests.engine.acme import Acme, event, events
from tests.engine.server import Reply, Server, reply, until

pytestmark = pytest.mark.usefixtures("short_waits")


class Strange(BaseException):
    """Nobody's base class but its own."""


def cancelled() -> None:
    """Ends as code does that awaits a shared task which somebody cancelled."""
    future = asyncio.Future[None](loop=asyncio.new_event_loop())
    future.get_loop().close()
    raise asyncio.CancelledError


def strange() -> None:
    raise Strange


def stop() -> None:
    raise StopIteration


def leave() -> None:
    raise SystemExit(3)


FAULTS = pytest.mark.parametrize("fault", [cancelled, strange, stop, leave], ids=lambda fault: fault.__name__)


def acme(server: Server, name: str = "acme", **settings: Any) -> Acme:
    return Acme(name=name, base_url=server.url, **settings)


def client(*destinations: Destination, **options: Any) -> Client:
    return Client(destinations, **{"linger_s": 0, **options})


async def shared_refresh() -> None:
    """The usual "one refresh for all callers", cancelled by somebody."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


@pytest.mark.parametrize("kind", ["plain", "async", "awaits what was cancelled"])
@FAULTS
async def test_a_credential_callable_may_raise_anything(
    server: Server, other: Server, fault: Callable[[], None], kind: str
) -> None:
    """Its destination pauses and recovers; requests under way get their answers, a neighbour notices nothing."""
    calls = []
    release = asyncio.Event()

    def plain() -> str:
        calls.append(1)
        if len(calls) in (2, 3):
            fault()
        return "token"

    async def whole() -> str:
        if kind == "awaits what was cancelled" and len(calls) == 1:
            calls.append(1)
            await shared_refresh()
        return plain()

    server.script = lambda request: Reply(until=release if request.number == 1 else None)
    token = plain if kind == "plain" else whole
    broken = acme(server, access_token=token, resend_for_s=0.0, max_batch_events=1)
    states: list[str] = []  # it may be paused for a moment only

    class Ears(Hook):
        def on_state(self, change: StateChanged) -> None:
            states.append(change.state)

    async with client(broken, acme(other, "fine"), hooks=[Ears()]) as sender:
        await sender.send(event(1))
        await server.arrived(1)
        receipts = await sender.send_many([event(2), event(3)])
        await until(lambda: "paused" in states)
        release.set()
        assert await sender.flush(10)
        assert {(await one.outcomes())["fine"].kind for one in receipts} == {"delivered"}
        assert (sender.ledger()["acme"].delivered, sender.ledger()["fine"].delivered) == (3, 3)
    assert server.ids.count("e1") == 1


async def test_a_refused_credential_whose_callable_is_cancelled_costs_its_destination_alone(
    server: Server, other: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The look for a new credential is user code, too."""
    calls = []

    async def token() -> str:
        calls.append(1)
        if 1 < len(calls) < 5:
            await shared_refresh()
        return "old" if len(calls) == 1 else "new"

    server.script = lambda request: reply() if request.headers["authorization"] == "Bearer new" else reply(401)
    async with client(acme(server, access_token=token, probe=False), acme(other, "fine")) as sender:
        receipt = await sender.send(event(1))
        assert {one.kind for one in (await receipt.outcomes(10)).values()} == {"delivered"}
    assert "its credential callable" in [getattr(record, "in", "") for record in caplog.records]


async def test_a_plain_credential_callable_that_blocks_holds_nobody(server: Server, other: Server) -> None:
    """It is called in a thread of its own, and given up in time; its destination recovers."""
    blocked = threading.Event()
    stuck = threading.Event()

    def token() -> str:
        if not stuck.is_set():
            stuck.set()
            blocked.wait(20)
        return "token"

    broken = acme(server, access_token=token, request_timeout_s=0.1)
    try:
        async with client(broken, acme(other, "fine")) as sender:
            receipt = await sender.send(event(1))
            await until(lambda: sender.ledger()["fine"].delivered == 1)
            await until(lambda: sender.states()["acme"].state == "paused")
            assert sender.states()["acme"].reason == "the credential's callable failed with TimeoutError"
            assert (await receipt.outcomes(timeout_s=0))["acme"].kind == "pending"
            blocked.set()
            assert await sender.flush(10)
    finally:
        blocked.set()


async def test_a_plain_callable_may_make_a_task(server: Server) -> None:
    """Called where there is no loop, it says so, and is called again where there is one."""

    async def work() -> str:
        return "token"

    async with client(acme(server, access_token=lambda: asyncio.get_running_loop().create_task(work()))) as sender:
        await sender.send(event(1))
        assert await sender.flush(5)
    assert server.got[0].headers["authorization"] == "Bearer token"


class Listener(Hook):
    """Raises on everything that it is told."""

    def __init__(self, fault: Callable[[], None]) -> None:
        self._fault = fault

    def on_request(self, done: RequestDone) -> None:
        self._fault()

    def on_settled(self, settled: Settled) -> None:
        self._fault()

    def on_state(self, change: StateChanged) -> None:
        self._fault()


@FAULTS
async def test_a_hook_may_raise_anything(
    server: Server, caplog: pytest.LogCaptureFixture, fault: Callable[[], None]
) -> None:
    """Before storing, by an answer, by a change of state, by overflow: nothing is sent twice, nobody is told no."""
    release = asyncio.Event()
    server.replies = [reply(401)]
    server.script = lambda _request: Reply(until=release)
    destination = acme(server, resend_for_s=0.0, max_batch_events=1)
    options: dict[str, Any] = {"overflow": "drop_oldest", "max_pending_events": 4}
    async with client(destination, hooks=[Listener(fault)], **options) as sender:
        for one in events(8):
            await sender.send(one)
        await sender.send(event(9, to=[]))
        await server.arrived(2)
        release.set()
        assert await sender.flush(10)
        ledger = sender.ledger()["acme"]
        assert ledger.balanced
        assert (ledger.accepted, ledger.uncertain, ledger.skipped) == (9, 0, 1)
    assert {record.message.split(" raised")[0] for record in caplog.records if "hook" in record.message} == {"a hook"}


async def test_an_async_hook_is_named(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it would ever run."""

    class Later(Hook):
        async def on_settled(self, settled: Settled) -> None:  # type: ignore[override]
            raise AssertionError

    async with client(acme(server), hooks=[Later()]) as sender:
        await sender.send(event(1))
        assert await sender.flush(5)
    assert any("async" in record.message for record in caplog.records if record.levelno == logging.ERROR)


class Clumsy(Acme, frozen=True, kw_only=True):
    """Raises in one of its methods, on one event."""

    where: str = ""
    fault: Any = None
    done: ClassVar[list[str]] = []

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        if self.where == "to_wire" and event.event_id == "e2":
            self.fault()
        return super().to_wire(event, ids)

    def request(self, head: bytes, bodies: Any, token: str) -> Request:
        self._once("request")
        return super().request(head, bodies, token)

    def classify(self, response: Response, count: int) -> list[Verdict]:
        self._once("classify")
        return super().classify(response, count)

    def batch_limit(self, head: bytes) -> int:
        self._once("batch_limit")
        return super().batch_limit(head)

    def _once(self, where: str) -> None:
        if self.where == where and where not in self.done:
            self.done.append(where)
            self.fault()


@pytest.mark.parametrize("where", ["to_wire", "request", "classify", "batch_limit"])
@FAULTS
async def test_a_destinations_own_code_may_raise_anything(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None], where: str
) -> None:
    """It costs its own event, or a pause of its own destination; all others are delivered."""
    from capi_async.engine import dispatcher

    monkeypatch.setattr(dispatcher, "_RESTART_S", 0.01)
    monkeypatch.setattr("capi_async.engine.worker._AGAIN_S", 0.01)
    monkeypatch.setattr(Clumsy, "done", [])
    clumsy = Clumsy(base_url=server.url, where=where, fault=fault)
    async with client(clumsy, acme(other, "fine")) as sender:
        receipts = await sender.send_many(events(3))
        assert await sender.flush(10)
        kinds = [(await one.outcomes())["acme"].kind for one in receipts]
        assert kinds == ["delivered", "rejected" if where == "to_wire" else "delivered", "delivered"]
        assert sender.ledger()["fine"].delivered == 3


@FAULTS
async def test_a_transport_may_raise_anything(server: Server, fault: Callable[[], None]) -> None:
    """The caller's own: its requests may have arrived, and the others' answers are not lost."""
    from capi_async.transport import HttpTransport

    inner = HttpTransport()
    calls = []

    class Odd:
        async def send(self, request: Request, *, timeout_s: float) -> Response:
            calls.append(1)
            if len(calls) == 2:
                fault()
            return await inner.send(request, timeout_s=timeout_s)

    async with client(acme(server, max_batch_events=1), transport=Odd()) as sender:
        await sender.send_many(events(4))
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 4
    await inner.aclose()


@FAULTS
async def test_a_log_handler_may_raise_anything(server: Server, fault: Callable[[], None]) -> None:
    """Saying something must not end whoever says it."""

    class Loud(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fault()

    handler = Loud()
    logging.getLogger("capi_async").addHandler(handler)
    try:
        server.replies = [reply(401), reply(418), reply(500)]
        async with client(acme(server)) as sender:
            await sender.send_many(events(3))
            assert await sender.flush(10)
            assert sender.ledger()["acme"].delivered == 3
    finally:
        logging.getLogger("capi_async").removeHandler(handler)


# Tasks that others end


async def test_a_client_whose_tasks_were_all_cancelled_says_so(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A shutdown handler that cancels whatever it finds: callers are told at once, and the client may be used anew."""
    server.script = lambda _request: Reply(until=asyncio.Event())
    sender = client(acme(server))
    await sender.__aenter__()
    receipt = await sender.send(event(1))
    await server.arrived(1)
    waiting = asyncio.ensure_future(receipt.outcomes())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        if "capi_async" in task.get_name():
            task.cancel()
    await until(lambda: sender.states()["acme"].state == "broken")
    with pytest.raises(ClientClosed, match="cancelled from outside") as told:
        await asyncio.wait_for(sender.send(event(2), timeout_s=30), 5)
    assert told.value.stored is False
    with pytest.raises(ClientClosed):
        sender.enqueue(event(3))
    assert (await asyncio.wait_for(waiting, 5))["acme"].kind == "pending"
    assert "cancelled from outside" in sender.states()["acme"].reason
    await until(lambda: any("ended by itself" in message for message in caplog.messages))
    assert (await sender.aclose(1)).pending == {"acme": 1}
    server.script = lambda _request: reply()
    async with sender:
        await sender.send(event(4))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 2


async def test_one_part_that_is_cancelled_alone_is_started_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody closes a client by that; what is under way gets its answer."""
    from capi_async.engine import dispatcher

    monkeypatch.setattr(dispatcher, "_RESTART_S", 0.01)
    release = asyncio.Event()
    server.script = lambda request: Reply(until=release if request.number == 1 else None)
    async with client(acme(server, resend_for_s=0.0)) as sender:
        await sender.send(event(1))
        await server.arrived(1)
        parts = [task for task in asyncio.all_tasks() if "_keep" in task.get_name()]
        assert len(parts) == 2
        for task in parts:
            task.cancel()
        await asyncio.sleep(0)
        await sender.send(event(2))
        release.set()
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 2
    assert server.ids.count("e1") == 1


# Answers that are none


def made(**methods: Any) -> type[Acme]:
    """Acme with methods of somebody else's."""
    return type("Made", (Acme,), methods, frozen=True, kw_only=True)


@pytest.mark.parametrize(
    "answer", [None, 5, "x", {}, [None], ["accepted"], [Verdict(kind="split", reason=5)]], ids=repr
)  # type: ignore[arg-type]
async def test_a_classify_that_gives_no_verdicts_is_named_and_breaks_its_destination(
    server: Server, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """As if nobody could tell what the platform said: never resent at full speed for ever, never without a state."""

    def classify(self: Acme, response: Response, count: int) -> Any:
        return answer * count if isinstance(answer, list) else answer

    kind = made(classify=classify)
    async with client(kind(base_url=server.url, max_batch_events=1)) as sender:
        await sender.send_many(events(6))
        await until(lambda: sender.states()["acme"].state == "broken" or sender.ledger()["acme"].pending == 0)
        assert "delivery failed" not in caplog.text
        assert sender.ledger()["acme"].delivered == 0
        await sender.aclose(0)


@pytest.mark.parametrize("bad", ["no request", "no address", "header", "body"])
async def test_a_request_that_cannot_be_sent_pauses_its_destination(server: Server, bad: str) -> None:
    """Nothing leaves, nothing is in doubt, and the transport is not blamed for it."""
    wrong = {
        "no request": None,
        "no address": Request("POST", "not an address", {}, (b"{}",)),
        "header": Request("POST", server.url, {"x": "a\r\nb: c"}, (b"{}",)),
        "body": Request("POST", server.url, {}, ("text",)),  # type: ignore[arg-type]
    }
    kind = made(request=lambda *_asked: wrong[bad])
    async with client(kind(base_url=server.url, resend_for_s=0.0)) as sender:
        await sender.send_many(events(3))
        await until(lambda: sender.states()["acme"].state == "paused")
        assert sender.states()["acme"].reason.startswith("request() gave nothing that can be sent")
        assert sender.ledger()["acme"].pending == 3
        await sender.aclose(0)
    assert server.got == []


class Answering:
    """A transport of somebody else's."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    async def send(self, request: Request, *, timeout_s: float) -> Any:
        return self.answer()


def thrown() -> None:
    raise GeneratorExit


@pytest.mark.parametrize("answer", [thrown, lambda: None, lambda: 200], ids=["GeneratorExit", "None", "200"])
async def test_a_transport_that_gives_no_answer_does_not_end_the_client(
    caplog: pytest.LogCaptureFixture, answer: Callable[[], object]
) -> None:
    """Its destinations are broken, what it did is named, and the next call is taken."""
    async with client(Acme(), transport=Answering(answer), max_attempts=1000) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "broken")
        await sender.send(event(2))
        assert sender.states()["acme"].reason.startswith("the transport failed with")
        assert sender.ledger()["acme"].pending == 2
        await sender.aclose(0)


async def test_a_refusal_of_no_known_kind_leaves_ledger_and_log_intact(server: Server) -> None:
    """What a destination's own code gives is looked at before it is counted."""
    kind = made(to_wire=lambda *_asked: Refusal("odd", "name", None))  # type: ignore[arg-type]
    async with client(kind(base_url=server.url)) as sender:
        receipt = await sender.send(event(1))
        outcome = (await receipt.outcomes(5))["acme"]
        assert (outcome.kind, outcome.fix) == ("rejected", "mend the destination")
        assert sender.ledger()["acme"].rejected == 1


async def test_a_credential_callable_that_gives_blanks_sends_no_empty_credential(server: Server) -> None:
    """It gave none, and the destination pauses."""
    async with client(acme(server, access_token=lambda: "  \n")) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "paused")
        await sender.aclose(0)
    assert server.got == []


async def test_a_hook_that_always_raises_is_said_once_and_then_as_a_sum(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a request would fill the disk; the same goes for all code of the user's that fails each time."""

    class Bad(Hook):
        def on_request(self, done: RequestDone) -> None:
            raise RuntimeError("ada.lovelace@mail.example")

    async with client(acme(server, max_batch_events=1), hooks=[Bad()]) as sender:
        await sender.send_many(events(20))
        assert await sender.flush(10)
    said = [message for message in caplog.messages if "a hook raised" in message]
    assert len(said) == 2
    assert "(19 of this kind within" in said[1]
    assert "ada" not in caplog.text


@pytest.mark.parametrize("fault", [leave, stop, strange], ids=lambda fault: fault.__name__)
async def test_what_a_plain_credential_callable_raises_is_named_as_it_is(
    server: Server, fault: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """It ran in a thread, where some kinds cannot be raised again; their names are kept all the same."""

    def token() -> str:
        fault()
        return "token"

    kinds = {leave: "SystemExit", stop: "StopIteration", strange: "Strange"}
    async with client(acme(server, access_token=token)) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "paused")
        assert sender.states()["acme"].reason == f"the credential's callable failed with {kinds[fault]}"
        await sender.aclose(0)
    assert f"acme: its credential callable failed with {kinds[fault]}; " in caplog.text


_CALL: ContextVar[str] = ContextVar("call")


class Limited(Acme, frozen=True, kw_only=True):
    """Its ``batch_limit`` gives what it is told, or raises it."""

    gives: Any = None

    def batch_limit(self, head: bytes) -> int:
        if isinstance(self.gives, type):
            raise self.gives
        found: int = self.gives
        return found


@pytest.mark.parametrize("gives", [0, -3, "ten", None, 2.5, Strange, KeyError])
async def test_a_batch_limit_that_is_none_costs_company_and_is_named(
    server: Server, gives: object, caplog: pytest.LogCaptureFixture
) -> None:
    """One event fits into every request: they go one by one, and one line says why."""
    async with client(Limited(base_url=server.url, gives=gives)) as sender:
        await sender.send_many(events(3))
        assert await sender.flush(5)
        assert sender.ledger()["acme"].delivered == 3
    assert [len(got.ids) for got in server.got] == [1, 1, 1]
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert said
    assert all(text.startswith("acme: batch_limit() ") for text in said)
    assert "part failed" not in caplog.text


async def test_a_batch_limit_beyond_the_platforms_is_not_believed(server: Server) -> None:
    """A request carries no more than the limits say."""
    async with client(Limited(base_url=server.url, gives=10**9, max_batch_events=2)) as sender:
        await sender.send_many(events(5))
        assert await sender.flush(5)
    assert max(len(got.ids) for got in server.got) <= 2


class Owner(Acme, frozen=True, kw_only=True):
    """Cannot tell whose a record is, until it is mended."""

    mended: ClassVar[list[int]] = []

    def owns(self, account: str) -> bool:
        if not self.mended:
            raise Strange
        return super().owns(account)


async def test_a_destination_that_cannot_tell_its_records_pauses_and_gives_none_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it cannot tell of is neither sent nor ended as somebody else's."""
    monkeypatch.setattr(Owner, "mended", [])
    monkeypatch.setattr("capi_async.engine.worker._AGAIN_S", 0.01)
    spool = f"sqlite:///{tmp_path}/events.db"
    async with client(acme(server), spool=spool, deliver=False) as before:
        await before.send_many(events(2))
    async with client(Owner(base_url=server.url), spool=spool) as sender:
        await until(lambda: sender.states()["acme"].state == "paused")
        assert sender.states()["acme"].reason == "owns() failed with Strange"
        assert sender.ledger()["acme"].pending == 2
        Owner.mended.append(1)
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 2
    assert "acme: owns() failed with Strange; " in caplog.text
    assert "part failed" not in caplog.text


class Stuck(Acme, frozen=True, kw_only=True):
    """Its ``to_wire`` does not return until it is let go."""

    go: ClassVar[threading.Event]

    def to_wire(self, event: Event, ids: Identifiers) -> Wire | Refusal:
        self.go.wait(20)
        return super().to_wire(event, ids)


async def test_a_to_wire_that_does_not_return_is_named_once(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds the one thread in which events are prepared: which destination it is must be in the log."""
    monkeypatch.setattr(Stuck, "go", threading.Event(), raising=False)
    monkeypatch.setattr("capi_async.engine.intake._STUCK_S", 0.05)
    async with client(acme(other, "fine"), Stuck(base_url=server.url)) as sender:
        receipt = sender.enqueue(event(1))
        await until(lambda: "to_wire()" in caplog.text)
        sender.enqueue(event(2))
        Stuck.go.set()
        assert await sender.flush(10)
        assert {one.kind for one in (await receipt.outcomes(5)).values()} == {"delivered"}
    said = [one.getMessage() for one in caplog.records if "to_wire()" in one.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("acme: to_wire() has not returned for ")


async def test_a_transport_that_forgets_its_timeout_is_given_up_and_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The destination breaks and goes on, instead of waiting for ever without a word."""
    monkeypatch.setattr("capi_async.engine.exchange.OVERTIME_S", 0.02)
    hung = []

    class Endless:
        async def send(self, request: Request, *, timeout_s: float) -> Response:
            if not hung:
                hung.append(1)
                await asyncio.Event().wait()
            return Response(status=200, body=b'{"ok":true}', headers={})

    async with client(acme(server, request_timeout_s=0.02), transport=Endless()) as sender:
        await sender.send(event(1))
        assert await sender.flush(10)
        assert sender.ledger()["acme"].delivered == 1
    assert "acme: the transport failed with TimeoutError; " in caplog.text


async def test_code_of_a_destination_that_holds_the_loop_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a hook is: everybody waits for it."""
    monkeypatch.setattr("capi_async.engine.destination_code.HELD_S", -1.0)
    async with client(Limited(base_url=server.url, gives=10)) as sender:
        await sender.send(event(1))
        assert await sender.flush(5)
    for what in ("batch_limit()", "request()", "classify()"):
        assert f"acme: {what} held the event loop for " in caplog.text


class Told(logging.Handler):
    """Waits for a line of the log, from whatever thread it comes."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.lines: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.lines.append(f"{record.levelname} {record.getMessage()}")
            self.came.set()


@pytest.mark.parametrize("where", ["acme: classify()", "acme: request()", "Standing.on_settled"])
async def test_what_never_returns_on_the_event_loop_is_named_while_it_holds_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The loop can tell nobody, so that a thread does, once for each call; here the code goes on when it was named."""
    monkeypatch.setattr(thread, "IDLE_S", 0.01)
    monkeypatch.setattr(held, "NEVER_S", 0.05)
    told = Told(f"{where} has not returned for ")
    logger = logging.getLogger("capi_async")
    named: list[bool] = []

    def stand(at: str) -> None:
        if at in where:
            named.append(told.came.wait(30))

    class Stuck(Acme, frozen=True, kw_only=True):
        def classify(self, response: Response, count: int) -> list[Verdict]:
            stand("classify")
            return super().classify(response, count)

        def request(self, head: bytes, bodies: Sequence[bytes], token: str) -> Request:
            stand("request")
            return super().request(head, bodies, token)

    class Standing(Hook):
        def on_settled(self, settled: Settled) -> None:
            stand("on_settled")

    logger.addHandler(told)
    try:
        async with client(Stuck(base_url=server.url), hooks=[Standing()]) as sender:
            await sender.send(event(1))
            assert await sender.flush(5)
            assert sender.ledger()["acme"].delivered == 1
    finally:
        logger.removeHandler(told)
    assert named == [True]
    assert [line[:5] for line in told.lines] == ["ERROR"]
    assert "nothing is taken or delivered meanwhile" in told.lines[0]


@pytest.mark.parametrize("where", ["to_wire", "request", "classify"])
async def test_a_fault_of_a_destination_is_logged_with_its_lines_and_without_a_word_of_the_event(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Module, line and function, of what led to it as well; an error's text and the values stay out."""

    def quoting() -> None:
        person = "ada@mail.example"
        try:
            {}[person]
        except KeyError as error:
            raise ValueError(f"no such person: {person}") from error

    monkeypatch.setattr(Clumsy, "done", [])
    clumsy = Clumsy(base_url=server.url, where=where, fault=quoting)
    async with client(clumsy) as sender:
        await sender.send_many(events(3))
        await until(lambda: any("failed with ValueError" in one.getMessage() for one in caplog.records))
        await sender.aclose(0)
    told = next(one for one in caplog.records if "failed with ValueError" in one.getMessage())
    assert "(tests.engine.test_user_code:" in told.getMessage()
    assert "in quoting)" in told.getMessage()
    trace: str = told.trace  # type: ignore[attr-defined]
    assert trace.splitlines()[-1] == "ValueError"
    assert "KeyError\n-- led to --" in trace
    assert told.exc_info is None
    assert "ada" not in caplog.text + trace


async def test_a_credential_callable_that_fails_is_told_by_its_line(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def token() -> str:
        raise LookupError("the vault said: token-of-ada")

    async with client(acme(server, access_token=token)) as sender:
        await sender.send(event(1))
        await until(lambda: sender.states()["acme"].state == "paused")
        await sender.aclose(0)
    assert "in token)" in caplog.text
    assert "ada" not in caplog.text


async def test_a_transport_that_cancels_the_task_that_calls_it_costs_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Its answer counts, and the worker goes on."""

    class Rash:
        def __init__(self) -> None:
            self.sent = 0

        async def send(self, request: Request, *, timeout_s: float) -> Response:
            self.sent += 1
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return Response(status=200, body=b'{"ok":true}', headers={})

    rash = Rash()
    async with client(acme(server), transport=rash) as sender:
        for number in range(3):
            receipt = await sender.send(event(number))
            assert (await receipt.outcomes(5))["acme"].kind == "delivered"
    assert rash.sent == 3
    assert "part failed" not in caplog.text


async def test_a_request_does_not_run_in_the_context_of_a_call(server: Server) -> None:
    """A call's trace or user must not show in the requests that carry other calls' events."""
    seen: list[str] = []

    class Looking:
        async def send(self, request: Request, *, timeout_s: float) -> Response:
            seen.append(_CALL.get("nobody's"))
            await asyncio.sleep(0.01)
            return Response(status=200, body=b'{"ok":true}', headers={})

    async def call(number: int) -> None:
        _CALL.set(f"call {number}")
        receipt = await sender.send(event(number))
        await receipt.outcomes(5)

    async with client(acme(server, max_batch_events=1), transport=Looking()) as sender:
        await asyncio.gather(*map(call, range(5)))
    assert seen == ["nobody's"] * 5


async def test_events_that_come_while_a_request_is_under_way_do_not_wait_for_it(server: Server) -> None:
    release = asyncio.Event()
    server.script = lambda request: Reply(until=release if request.number == 1 else None)
    async with client(acme(server)) as sender:
        first = await sender.send(event(1))
        await server.arrived(1)
        for number in (2, 3):
            receipt = await sender.send(event(number))
            assert (await receipt.outcomes(5))["acme"].kind == "delivered"
        assert first.known()["acme"].kind == "pending"
        release.set()
        assert (await first.outcomes(5))["acme"].kind == "delivered"
