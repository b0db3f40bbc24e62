"""Nothing that is logged, raised, shown or handed to a hook holds personal data or a credential."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from typing import Any

import pytest

from capi_async import CapiError, Client, Event, Page, QueueFull, Receipt, User
from capi_async.destinations import Snap
from capi_async.outcome import Response
from capi_async.spec import Destination
from capi_async.telemetry.base import Hook
from tests.engine.acme import Acme
from tests.engine.server import RESET, Got, Reply, Server, reply, serving

TOKEN = "s3cr3t-token-0123456789abcdef"
PIXEL = "9633c2ae-0115-495a-aca9-b976db485fc8"
EMAIL = "ada.lovelace@mail.example"
PERSON = User(
    email=EMAIL,
    phone="+14155552671",
    first_name="Adalberta",
    last_name="Lovelacey",
    external_id="customer-77-42",
    ip="203.0.113.77",
    user_agent="Browser/9.9 (Test)",
)
CLEAR = (
    TOKEN, EMAIL, "ada.lovelace", "4155552671", "adalberta", "lovelacey", "customer-77-42", "203.0.113.77",
    "browser/9.9",
)  # fmt: skip


def leaks(text: str) -> list[str]:
    return [clear for clear in CLEAR if clear.lower() in text.lower()]


def everything(record: logging.LogRecord) -> str:
    """Message, arguments, extra attributes, traceback."""
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    return f"{record.getMessage()} {vars(record)!r} {trace}"


class Listener(Hook):
    """Keeps the text of all it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_request(self, done: Any) -> None:
        self.told.append(repr(done))
        raise RuntimeError(f"listener stumbled over {EMAIL}")

    def on_settled(self, settled: Any) -> None:
        self.told.append(repr(settled))

    def on_state(self, change: Any) -> None:
        self.told.append(repr(change))


def shop_event(number: int, **fields: Any) -> Event:
    defaults: dict[str, Any] = {
        "user": PERSON,
        "value": 5,
        "currency": "USD",
        "page": Page(url=f"https://shop.example/?email={EMAIL}&phone=4155552671"),
        "properties": {"note": f"call {EMAIL}"},
    }
    return Event("purchase", event_id=f"e{number}", **{**defaults, **fields})


ECHO = f"bad event for {EMAIL}, phone +1 415 555 2671, token {TOKEN}"

FAULTS: dict[str, list[Reply]] = {
    "refusal that echoes": [
        reply(400, {"ok": False, "refused": ECHO, "status": "INVALID", "reason": ECHO, "error": ECHO})
    ],
    "401": [reply(401, {"message": ECHO, "status": "INVALID", "reason": ECHO})],
    "429": [reply(429)],
    "500": [Reply(500, ECHO.encode())],
    "html": [Reply(200, f"<html>{ECHO}</html>".encode())],
    "truncated": [Reply(200, b'{"ok":tr')],
    "reset": [RESET],
    "half an answer": [Reply(cut=60)],
    "no answer": [Reply(until=asyncio.Event())],
    "no HTTP": [Reply(200, b"", {"Bad\x00Header": "x"})],
}


def answer(_request: Got) -> Reply:
    """Right for both platforms."""
    return reply(answer={"ok": True, "status": "VALID"})


def destinations(server: Server) -> list[Destination]:
    return [
        Snap(pixel_id=PIXEL, access_token=TOKEN, base_url=server.url, request_timeout_s=0.3, max_attempts=3),
        Acme(access_token=TOKEN, base_url=server.url, request_timeout_s=0.3, max_attempts=3, clumsy="stumble"),
    ]


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff and probes in thousandths of their seconds."""
    from capi_async.backoff import Backoff
    from capi_async.engine import breaker, health, worker

    for module in (breaker, health, worker):
        monkeypatch.setattr(module, "DELIVERY", Backoff(first_s=0.0005, longest_s=0.06))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_run_with_faults_tells_nobody(
    fault: str, caplog: pytest.LogCaptureFixture, short_waits: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """At DEBUG, with every library's own logger: records, extras, outcomes, hooks, reprs."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiohttp").setLevel(logging.DEBUG)
    listener = Listener()
    shown: list[str] = []
    async with serving() as server:
        server.script = answer
        server.replies = [*FAULTS[fault], *FAULTS[fault]]
        async with Client(destinations(server), linger_s=0, hooks=[listener]) as sender:
            receipts: list[Receipt] = []
            for number in range(4):
                receipts.append(await sender.send(shop_event(number)))
            receipts.append(await sender.send(shop_event(8, properties={"note": f"\ud800 {EMAIL}"})))
            receipts.append(await sender.send(Event("stumble", event_id="e9", user=PERSON)))
            await sender.flush(5)
            shown += [repr(await receipt.outcomes(timeout_s=0)) for receipt in receipts]
            shown += [repr(sender), repr(sender.states()), repr(sender.ledger()), repr(receipts)]
            shown += [repr(one) for one in sender.destinations]
        shown.append(repr(await sender.aclose()))
    shown += listener.told + [everything(record) for record in caplog.records]
    captured = capsys.readouterr()
    assert caplog.records
    assert listener.told
    assert [found for text in (*shown, captured.out, captured.err) if (found := leaks(text))] == []


@pytest.mark.parametrize(
    "base_url",
    ["https://nonexistent.invalid", "http://127.0.0.1:1", "https://127.0.0.1:1"],
    ids=["dns", "connect", "tls"],
)
async def test_a_platform_that_is_not_there_tells_nobody(
    base_url: str, caplog: pytest.LogCaptureFixture, short_waits: None
) -> None:
    """The HTTP library's own texts carry the address, and the address carries the token."""
    caplog.set_level(logging.DEBUG)
    snap = Snap(pixel_id=PIXEL, access_token=TOKEN, base_url=base_url, max_attempts=1)
    async with Client([snap], linger_s=0) as sender:
        outcome = (await (await sender.send(shop_event(1))).outcomes(timeout_s=20))["snap"]
    assert outcome.kind == "dead"
    assert outcome.reason.startswith("1 failed attempts; last: no answer (")
    assert leaks(repr(outcome) + "".join(everything(record) for record in caplog.records)) == []


async def test_a_callable_that_raises_with_the_token_tells_nobody(
    caplog: pytest.LogCaptureFixture, short_waits: None
) -> None:
    """Its own words are not repeated."""
    caplog.set_level(logging.DEBUG)

    def broken() -> str:
        raise RuntimeError(f"vault: {TOKEN} for {EMAIL}")

    async with Client([Acme(access_token=broken, base_url="http://127.0.0.1:1")], linger_s=0) as sender:
        await sender.send(shop_event(1))
        assert not await sender.flush(0.1)
        shown = repr(sender.states())
        await sender.aclose(0)
    assert "RuntimeError" in shown
    assert leaks(shown + "".join(everything(record) for record in caplog.records)) == []


async def test_errors_quote_nothing() -> None:
    """What is raised at the caller names fields."""
    acme = Acme(access_token=TOKEN, base_url="http://127.0.0.1:1")
    sender = Client([acme], overflow="fail", max_pending_events=1, linger_s=60)
    raised: list[CapiError] = []
    for one in (
        shop_event(1, currency="ZZZ"), shop_event(1, to=["acme", "nobody"]), shop_event(2), shop_event(3),
    ):  # fmt: skip
        try:
            await sender.send(one)
        except CapiError as error:
            raised.append(error)
    assert [type(error).__name__ for error in raised] == ["EventError", "EventError", "QueueFull"]
    assert isinstance(raised[-1], QueueFull)
    await sender.aclose(0)
    assert leaks("".join(f"{error!r} {error}" for error in raised)) == []


def test_reprs_show_nothing() -> None:
    """Whatever is printed in somebody's debugger or log."""
    from capi_async.engine.prepare import Preparer
    from capi_async.engine.receipt import Delivery

    snap = Snap(pixel_id=PIXEL, access_token=TOKEN)
    acme = Acme(access_token=TOKEN)
    one = shop_event(1)
    receipt = Receipt("e1", ["snap", "acme"], Delivery())
    records, refused = Preparer([snap, acme]).run([one], [receipt], one.time.timestamp())
    assert (len(records), refused) == (2, [])
    requests = [it.request(record.head, [record.body], TOKEN) for it, record in zip((snap, acme), records, strict=True)]
    assert TOKEN in requests[0].url
    shown = [snap, acme, snap.secret(), one, one.user, one.page, receipt, *records, *requests, Response(200, b"{}")]
    assert leaks(" ".join(f"{it!r} {it}" for it in shown)) == []


def test_explain_masks_what_is_clear() -> None:
    """Digests stay, and so do the account's own names."""
    snap = Snap(pixel_id=PIXEL, access_token=TOKEN)
    shown = Client([snap, Acme(access_token=TOKEN)]).explain(shop_event(1))
    assert {one.verdict for one in shown.values()} == {"pending"}
    assert leaks(repr(shown)) == []
    assert "a3f9c60fbcd3f992980d38a4d54e61bbfef51965f4d9b52690c885529e23292e" in repr(shown)


def test_reprs_of_settings_and_answers_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locals of frames are shown by their repr."""
    from capi_async.config import ClientOptions
    from capi_async.destinations.snap import Validated
    from capi_async.sources.tiktok_shop import WebhookVerifier
    from capi_async.sources.tiktok_shop.connection import Body
    from capi_async.spec import Wire
    from capi_async.spool.sqlite import parse

    monkeypatch.setenv("KEYS", TOKEN)
    shown: list[object] = [
        parse("sqlite:///x.db?keys=env:KEYS"),
        ClientOptions(spool=f"redis://u:{TOKEN}@h/0"),
        Response(400, EMAIL.encode(), {"x-echo": TOKEN}),
        Wire({"email": EMAIL}, TOKEN.encode(), 0.0),
        Validated(event_id="1", valid=False, fields={"email": EMAIL}),
        Body(EMAIL.encode()),
        WebhookVerifier("key", TOKEN).__dict__,
    ]
    assert leaks(" ".join(map(repr, shown))) == []


def test_a_destination_is_copied_but_not_pickled() -> None:
    """Caches and queues keep pickles, and nobody expects a credential there."""
    snap = Snap(pixel_id=PIXEL, access_token=TOKEN)
    assert copy.deepcopy(snap) == snap
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(snap)
