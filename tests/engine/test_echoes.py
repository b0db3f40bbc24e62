"""An answer that repeats the request: its credential and its events' values go no further than the engine."""

from __future__ import annotations

import html
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capi_async import Client, Event, Page, User
from capi_async.clock import SYSTEM_CLOCK
from capi_async.destinations import CutMeShort, Meta, Pinterest, TikTok
from capi_async.engine.echoes import MAX_READ_BYTES, Echoes
from capi_async.event import ClickIds
from capi_async.outcome import Response, Verdict
from capi_async.redaction import MAX_ID, MAX_WORDS
from capi_async.spec import Destination
from capi_async.spool import open_spool
from capi_async.spool.base import LetterFilter, Record
from capi_async.telemetry.base import Hook
from capi_async.thread import OwnedThread
from tests.engine.acme import Acme, event
from tests.engine.server import Got, Reply, Server, reply

_RECORD = Record("acme", "e1", b"", b"{}", 0.0, 0.0, "acme-1", "1")

pytestmark = pytest.mark.usefixtures("short_waits")

#: Short, and with characters that encodings change.
TOKEN = "ZQt/ok+9f3a&21"
PERSON = User(
    email="ada@mail.example",
    external_id="zq-cust-7788",
    first_name="Zqfirst",
    last_name="Zqlast",
    city="Zqtown",
    ip="2001:db8:feed:77::1234",
    user_agent="ZqAgent/7.7 (Planted OS)",
)
CLEAR = ("zqfirst", "zqlast", "zq-cust-7788", "zqtown", "feed:77", "zqagent", "ada@mail")
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "address": lambda text: quote(text, safe=""),
    "small letters": lambda text: quote(text, safe="").lower(),
    "JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "page": html.escape,
}


def purchase(**fields: Any) -> Event:
    defaults: dict[str, Any] = {
        "user": PERSON,
        "page": Page(url="https://s.example/"),
        "value": 5,
        "currency": "USD",
        "order_id": "1",
        "click": ClickIds(cms_rf="x"),
    }
    return Event("purchase", event_id="e1", **{**defaults, **fields})


class Forgetful(Acme, frozen=True, kw_only=True):
    """Somebody's own, which redacts nothing."""

    type: ClassVar[str] = "forgetful"

    def classify(self, response: Response, count: int) -> list[Verdict]:
        said = response.body.decode("utf-8", "replace")
        return [
            Verdict(kind="rejected", reason=said, field=said, fix=said, code=said, trace_id=response.headers["x-trace"])
        ] * count


class Listener(Hook):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_settled(self, settled: Any) -> None:
        self.told.append(repr(settled))

    def on_state(self, change: Any) -> None:
        self.told.append(repr(change))


def token_of(request: Got) -> str:
    headers = request.headers
    return headers.get("authorization", "").removeprefix("Bearer ") or headers.get("access-token", "")


def echo(form: Callable[[str], str]) -> Callable[[Got], Reply]:
    """Answers every platform in its own way, with the token and the whole body in the words."""

    def script(request: Got) -> Reply:
        words = f"\x1b[31mno {form(TOKEN)}\r\nfor {request.raw.decode()} and {form(TOKEN)}"
        said = {"error": {"code": 100, "message": words, "fbtrace_id": words}} if "/v2" in request.path else None
        said = said or {"code": 40002, "message": words, "request_id": words, "error": words, "type": words}
        status = 200 if "event/track" in request.path else 400
        return Reply(
            status, json.dumps(said).encode(), {"x-pinterest-rid": f"rid{form(TOKEN)}", "x-trace": form(TOKEN)}
        )

    return script


def everybody(server: Server) -> list[Destination]:
    return [
        Pinterest(ad_account_id="549755885175", access_token=TOKEN, base_url=server.url),
        TikTok(pixel_code="C1", access_token=TOKEN, base_url=server.url),
        CutMeShort(token=TOKEN, base_url=server.url, send_profile=True),
        Meta(pixel_id="1", access_token=TOKEN, base_url=server.url),
        Acme(access_token=TOKEN, base_url=server.url),
        Forgetful(access_token=TOKEN, base_url=server.url),
    ]


@pytest.mark.parametrize("form", FORMS)
async def test_an_echo_reaches_nobody(form: str, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Outcomes, hooks, states and logs hold bounded, printable words without the token and the events' values."""
    caplog.set_level(logging.DEBUG)
    server.script = echo(FORMS[form])
    listener = Listener()
    async with Client(everybody(server), linger_s=0, hooks=[listener], max_attempts=2) as sender:
        receipt = await sender.send(purchase(properties={"note": "Zqfirst lives in Zqtown"}))
        await sender.flush(2)
        outcomes = await receipt.outcomes(timeout_s=0)
        states = sender.states()
        await sender.aclose(0)
    shown = [repr(outcomes), repr(states), *listener.told, *(f"{vars(record)!r}" for record in caplog.records)]
    assert len([one for one in outcomes.values() if one.kind == "rejected"]) >= 4
    for text in shown:
        read = text.casefold()
        assert [
            clear for clear in (*CLEAR, *(form(TOKEN).casefold() for form in FORMS.values())) if clear in read
        ] == [], text
        assert "\\x1b" not in text
    for outcome in outcomes.values():
        assert outcome.reason.isprintable()
        assert max(len(outcome.reason), len(outcome.field), len(outcome.fix)) <= MAX_WORDS + 60
        assert len(outcome.trace_id) <= MAX_ID


async def test_dead_letters_keep_no_echo(server: Server, tmp_path: Any) -> None:
    """They are kept for weeks."""
    server.script = lambda request: Reply(500, request.raw, {"x-trace": TOKEN})

    class Dead(Forgetful, frozen=True, kw_only=True):
        type: ClassVar[str] = "dead"

        def classify(self, response: Response, count: int) -> list[Verdict]:
            return [Verdict(kind="ambiguous", reason=f"\x1b[2J{TOKEN} {response.body.decode()}")] * count

    dead = Dead(access_token=TOKEN, base_url=server.url, resend_for_s=0.0)
    spool = open_spool(f"sqlite:///{tmp_path}/e.db", clock=SYSTEM_CLOCK)
    async with Client([dead], spool=spool, linger_s=0) as sender:
        await (await sender.send(event(1, properties={"note": "Zqfirst of Zqtown"}))).outcomes(timeout_s=5)
        [letter] = await spool.letters(LetterFilter())
    assert letter.kind == "uncertain"
    assert letter.reason.isprintable()
    assert [clear for clear in (*CLEAR, TOKEN.casefold()) if clear in letter.reason.casefold()] == []


async def test_names_of_events_and_currencies_stay_readable(server: Server) -> None:
    """A reason that says nothing helps nobody."""
    server.replies = [reply(400, {"ok": False, "refused": "purchase in USD: note 'Zqfirst' is too long"})]
    async with Client([Acme(access_token=TOKEN, base_url=server.url)], linger_s=0) as sender:
        receipt = await sender.send(purchase(properties={"note": "Zqfirst", "currency": "USD"}))
        outcome = (await receipt.outcomes(timeout_s=5))["acme"]
    assert outcome.reason == "purchase in USD: note '<value>' is too long"


@given(
    token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=80),
    before=st.binary(max_size=60),
    form=st.sampled_from(sorted(FORMS)),
)
def test_a_destination_never_sees_its_token_in_an_answer(token: str, before: bytes, form: str) -> None:
    """Whatever it then makes of the answer."""
    echoes = Echoes((), OwnedThread("unused"))
    written = FORMS[form](token)
    answer = Response(400, before + b" " + written.encode() + b" .", {"x-id": f"a{written}b", "other": "1"})
    seen = echoes.without_token(answer, token)
    assert written.encode() not in seen.body.replace(b"<redacted>", b" ")
    assert written not in seen.headers["x-id"].replace("<redacted>", " ")
    assert seen.headers["other"] == "1"


def test_an_answer_without_an_echo_is_passed_on_as_it_is() -> None:
    """Nothing is copied for the sake of what nearly never happens."""
    echoes = Echoes((), OwnedThread("unused"))
    answer = Response(200, b'{"ok":true}', {"content-type": "application/json"})
    assert echoes.without_token(answer, TOKEN) is answer


def test_no_more_of_an_answer_is_read_than_platforms_send() -> None:
    """Reading a page of 4 MB as JSON would hold the event loop."""
    echoes = Echoes((), OwnedThread("unused"))
    assert len(echoes.without_token(Response(500, b"x" * (MAX_READ_BYTES + 9)), TOKEN).body) == MAX_READ_BYTES


async def test_accepted_answers_with_the_same_remark_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that praises or warns with every answer does not make the events be read again each time."""
    thread = OwnedThread("echoes-test")
    runs = 0
    run = thread.run

    async def counted(*args: Any) -> Any:
        nonlocal runs
        runs += 1
        return await run(*args)

    monkeypatch.setattr(thread, "run", counted)
    echoes = Echoes((), thread)
    records = [msgspec.structs.replace(_RECORD, body=b'{"note":"Zqtown"}')]
    try:
        for number in range(5):
            verdict = Verdict(kind="accepted", reason="Zqtown is small", trace_id=f"t-{number}")
            [found] = await echoes.cleaned([verdict], records, TOKEN)
            assert (found.reason, found.trace_id) == ("<value> is small", f"t-{number}")
    finally:
        thread.stop()
    assert runs == 1


async def test_accepted_without_words_costs_no_job() -> None:
    """The same list comes back, and no thread is started."""
    thread = OwnedThread("unused")
    verdicts = [Verdict(kind="accepted", code="0", trace_id="T1")] * 100
    assert await Echoes((), thread).cleaned(verdicts, [], TOKEN) is verdicts
    assert "unused" not in [one.name for one in threading.enumerate()]
