"""A webhook: what is sent to any endpoint, and what its answers, however odd, mean."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from msgspec.structs import replace

from capi_async import App, Client, MetaFields
from capi_async.config import from_env, load, make
from capi_async.destinations import Webhook
from capi_async.engine.prepare import Preparer
from capi_async.errors import ConfigError
from capi_async.event import Consent
from capi_async.outcome import Outcome, Response
from capi_async.testing.any_event import CLEAR_TEXTS
from capi_async.testing.conformance import NOW, TOKEN, Conformance, good_event
from capi_async.testing.mapping import body, refusal, requests

URL = "https://collector.example/in?key=very-secret"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def endpoint(answer: Answer) -> AsyncIterator[str]:
    """A real server on this machine."""
    app = web.Application()
    app.router.add_post("/in", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/in"
    finally:
        await runner.cleanup()


async def outcomes(answer: Answer, *, count: int = 3, **settings: Any) -> list[Outcome]:
    """What becomes of events that are sent there; what waits for somebody is pending."""
    async with endpoint(answer) as url, Client([Webhook(url, **settings)], linger_s=0) as client:
        receipts = await client.send_many([good_event(event_id=f"e-{n}") for n in range(count)])
        await client.flush(1.0)
        found = [(await one.outcomes(timeout_s=0))["webhook"] for one in receipts]
        await client.aclose(0.0)
    return found


class TestWebhook(Conformance):
    """The suite of all destinations, but for what the endpoint decides."""

    destination = "webhook"
    in_clear: ClassVar[Mapping[str, Any]] = {"identifiers_as": "clear"}
    sends_refunds = True

    def account(self, **changes: Any) -> Webhook:
        """One whose endpoint answers for each event."""
        if "base_url" in changes:
            changes["url"] = changes.pop("base_url")
        return Webhook(**{"url": URL, "secret": TOKEN, "results_path": "results", **changes})

    @pytest.mark.parametrize("blank", ["", "   ", "\n", None])
    def test_blank_settings_are_refused_by_name(self, blank: Any) -> None:
        """The secret may be left out, not blank."""
        with pytest.raises(ConfigError, match=r"url.*CAPI_WEBHOOK_URL"):
            Webhook(blank)
        if blank is not None:
            with pytest.raises(ConfigError, match="secret"):
                Webhook(URL, secret=blank)

    def test_missing_settings_are_refused_by_name(self) -> None:
        """The address alone is needed."""
        assert make("webhook", {"url": URL}) == Webhook(URL)
        with pytest.raises(ConfigError, match="CAPI_WEBHOOK_URL"):
            make("webhook", {"secret": TOKEN})

    def test_base_url_is_used_without_its_last_slash(self) -> None:
        """There is none: the address is one setting, and what would be overlooked is refused."""
        assert Webhook(URL).base_url == "https://collector.example"
        with pytest.raises(ConfigError, match="base_url is the beginning of url here"):
            Webhook(URL, base_url="https://proxy.example")

    def test_plain_http_is_for_this_machine_only(self) -> None:
        for local in ("http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:1"):
            assert Webhook(local).url == local
        for unsafe in ("http://shop.example", "http://127.evil.example", "ftp://shop.example", "shop.example"):
            with pytest.raises(ConfigError, match="url"):
                Webhook(unsafe)

    @pytest.mark.parametrize(
        "odd", ["https://p.example/#f", "https://u:pw@p.example", "https://u@p.example", "https://p.example/a b", 5]
    )
    def test_a_base_url_is_scheme_host_and_path_alone(self, odd: Any) -> None:
        """Or has a query: such addresses often hold a key in it."""
        with pytest.raises(ConfigError, match="url") as refused:
            Webhook(odd)
        assert "pw" not in str(refused.value)
        assert Webhook("https://p.example/?x=1\n").url == "https://p.example/?x=1"

    def test_ids_of_accounts_are_trimmed_and_checked_for_form(self) -> None:
        assert Webhook(f" {URL}\r\n").url == URL
        for bad in (f'"{URL}"', f"'{URL}'", "..", f"{URL}\n{URL}", "a b"):
            with pytest.raises(ConfigError, match="url") as refused:
                Webhook(bad)
            assert "very-secret" not in str(refused.value)

    @pytest.mark.parametrize("fullness", ["one", "full"])
    def test_requests_are_json_in_slices(self, fullness: str) -> None:
        """To the address, as it is; signed anew for each attempt."""
        made = self.account()
        events = [good_event(event_id=f"e-{n}") for n in range(1 if fullness == "one" else 100)]
        (request,) = requests(made, events, TOKEN)
        body = b"".join(request.body)
        assert (request.method, request.url, request.size) == ("POST", URL, len(body))
        assert len(json.loads(body)) == len(events)
        assert TOKEN.encode() not in body


@pytest.mark.parametrize("place", ["properties", "extra"])
def test_what_json_cannot_say_is_named(place: str) -> None:
    """Not as a fault of the destination's."""
    changes = {"properties": {"when": object()}} if place == "properties" else {"extra": {"webhook": {"x": object()}}}
    target = Webhook(URL)
    made, _, _ = Preparer([target]).one(target, good_event(**changes), NOW.timestamp())
    assert isinstance(made, Outcome)
    assert (made.kind, made.field.partition(".")[0]) == ("rejected", place)
    assert "failed with" not in made.reason


def test_an_address_that_was_replaced_takes_its_host_along() -> None:
    """No request goes to the old one."""
    moved = replace(Webhook(URL), url="https://other.example/in", base_url="")
    assert (moved.url, moved.base_url) == ("https://other.example/in", "https://other.example")
    with pytest.raises(ConfigError, match="leave it out"):
        replace(Webhook(URL), url="https://other.example/in")


def test_it_is_taken_from_the_environment() -> None:
    """Where its address is set; the secret may be."""
    (made,) = from_env({"CAPI_WEBHOOK_URL": URL})
    assert isinstance(made, Webhook)
    (signed,) = from_env({"CAPI_WEBHOOK_URL": URL, "CAPI_WEBHOOK_SECRET": "shared"})
    assert signed == Webhook(URL, secret="shared")


def test_identifiers_leave_as_digests_unless_asked_otherwise() -> None:
    """Neither address nor browser nor name; the page without e-mail addresses."""
    event = good_event(extra={"webhook": {"source_system": "shop"}})
    hashed = body(Webhook(URL), event)
    assert re.fullmatch("[0-9a-f]{64}", hashed["user"]["email"][0])
    assert not any(clear in json.dumps(hashed).lower() for clear in (*CLEAR_TEXTS, "203.0.113.7", "mozilla"))
    assert (hashed["event_id"], hashed["value"], hashed["source_system"]) == ("order-1", 72.39, "shop")
    clear = body(Webhook(URL, identifiers_as="clear"), event)
    assert clear["user"]["ip"] == "203.0.113.7"
    none = body(Webhook(URL, identifiers_as="none"), event)
    assert "user" not in none
    assert "click" not in none


def test_ids_of_installs_and_leads_leave_in_clear_only_when_asked() -> None:
    """They are somebody's."""
    event = good_event(app=App(id="com.shop", install_id="i-1"), meta=MetaFields(lead_id="123456789012345"))
    for way in ("hashed", "none"):
        sent = json.dumps(body(Webhook(URL, identifiers_as=way), event))
        assert "123456789012345" not in sent
        assert "i-1" not in sent
    assert body(Webhook(URL, identifiers_as="clear"), event)["app"]["install_id"] == "i-1"


def test_a_template_says_what_is_sent() -> None:
    """Literal values, places, and nothing for what is missing."""
    made = Webhook(URL, template={"kind": "order", "sum": "$.value", "who": {"mail": "$.user.email", "x": "$.method"}})
    sent = body(made, good_event())
    assert (sent["kind"], sent["sum"]) == ("order", 72.39)
    assert set(sent["who"]) == {"mail"}


@pytest.mark.parametrize(
    ("framing", "kind", "count"),
    [("array", "application/json", 1), ("object", "application/json", 3), ("lines", "application/x-ndjson", 1)],
)
def test_events_are_framed_as_asked(framing: Any, kind: str, count: int) -> None:
    """An array, one object, or a line for each."""
    made = Webhook(URL, framing=framing)
    events = [good_event(event_id=f"e-{n}") for n in range(3)]
    found = requests(made, events)
    if framing != "object":
        assert len(found) == count
    assert made.batch_limit(b"{}") == (1 if framing == "object" else 100)
    assert found[0].headers["Content-Type"] == kind
    text = b"".join(found[0].body)
    if framing == "array":
        assert len(json.loads(text)) == 3
    elif framing == "lines":
        assert [json.loads(line)["event_id"] for line in text.splitlines()] == ["e-0", "e-1", "e-2"]


def test_consent_that_was_denied_keeps_it_here() -> None:
    """As at every platform; and a name may be switched off."""
    assert refusal(Webhook(URL), good_event(consent=Consent(ad_storage=False))).field == "consent.ad_storage"
    assert refusal(Webhook(URL, event_names={"purchase": None}), good_event()).field == "name"


async def test_a_request_is_signed_with_its_time() -> None:
    """The receiver recomputes it from the body as it came."""
    seen: list[tuple[str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers["X-Capi-Signature"], await request.read()))
        return web.Response(status=204)

    found = await outcomes(answer, secret="shared")
    assert {one.kind for one in found} == {"delivered"}
    for header, raw in seen:
        match = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", header)
        assert match
        assert match[2] == hmac.new(b"shared", f"{match[1]}.".encode() + raw, hashlib.sha256).hexdigest()


async def test_a_page_is_no_yes() -> None:
    """It is what a login or a parked domain answers."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    assert {one.kind for one in await outcomes(answer)} == {"uncertain"}


async def test_a_redirect_is_not_followed() -> None:
    """Events wait until the address is put right."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    assert {one.kind for one in await outcomes(answer)} == {"pending"}
    assert set(asked) == {"/in"}


async def test_an_endpoint_that_hangs_leaves_it_uncertain() -> None:
    """It may have read them; nothing is sent twice unasked."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.Event().wait()
        return web.Response()

    assert {one.kind for one in await outcomes(answer, request_timeout_s=0.2)} == {"uncertain"}


async def test_each_event_has_its_own_result() -> None:
    """By the place that was named, with the reason."""

    async def answer(request: web.Request) -> web.Response:
        sent = await request.json()
        entries = [{"ok": one["event_id"] != "e-1", "error": "no such sku"} for one in sent]
        return web.json_response({"results": entries})

    found = await outcomes(answer, results_path="results")
    assert [one.kind for one in found] == ["delivered", "rejected", "delivered"]
    assert found[1].reason == "no such sku"


async def test_an_endpoint_that_counts_wrongly_is_not_believed() -> None:
    """Which event a result is of, nobody can tell."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"results": [{"ok": True}] * 7})

    found = await outcomes(answer, results_path="results")
    assert {one.kind for one in found} == {"uncertain"}
    assert "7 results" in found[0].reason


@pytest.mark.parametrize("answered", [b"", b"OK", b"[]", b'{"results": {}}', b'{"results": null}', b"[" * 99_999])
def test_without_results_nothing_is_taken_for_delivered(answered: bytes) -> None:
    """Where they were promised."""
    found = Webhook(URL, results_path="results").classify(Response(200, answered), 2)
    assert [one.kind for one in found] == ["ambiguous", "ambiguous"]
    assert [one.kind for one in Webhook(URL).classify(Response(200, b"OK"), 1)] == ["accepted"]


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404])
def test_an_endpoint_that_refuses_all_says_which_settings_to_check(status: int) -> None:
    """In the words of a webhook, which has no account and no base_url."""
    for verdict in Webhook(URL).classify(Response(status), 2):
        assert (verdict.kind, verdict.fix.partition(":")[0]) == ("unauthorized", "check url and secret")


@pytest.mark.parametrize("url", ["http://collector.example/in", "ftp://x.example", "", "https://u:p@x.example", None])
def test_only_https_or_this_machine(url: Any) -> None:
    """Requests carry personal data."""
    with pytest.raises(ConfigError, match="url"):
        Webhook(url)
    assert Webhook("http://127.0.0.1:8/in").url == "http://127.0.0.1:8/in"


ITSELF: dict[str, Any] = {}
ITSELF["a"] = ITSELF


@pytest.mark.parametrize(
    "bad",
    [
        {"framing": "xml"}, {"identifiers_as": "md5"}, {"secret": "a\nb"}, {"results_path": 5}, {"ok_path": None},
        {"reason_path": ["error"]}, {"ok_values": "accepted"}, {"ok_values": []}, {"ok_values": True},
        {"template": {}}, {"template": ["$.value"]}, {"template": '{"a": "$.value"}'}, {"template": {1: "$.value"}},
        {"template": {"a": {1, 2}}}, {"template": {"a": [len]}}, {"template": {"a": float("nan")}},
        {"template": ITSELF}, {"template": {"a": "$.vlaue"}}, {"template": {"a": ["$.user.emial"]}},
        {"template": {"a": "$.user.user_agent"}}, {"template": {"a": "$.user.email"}, "identifiers_as": "none"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(bad: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Webhook(URL, **bad)


def test_places_of_a_template_depend_on_the_identifiers() -> None:
    """What is sent in clear alone, what nobody can know before, and texts that are no places."""
    for template, people in (
        ({"a": "$.user.user_agent", "b": "$.meta.lead_id", "c": "$.click.gclid"}, "clear"),
        ({"a": "$.properties.x.y", "b": "$.items", "c": "$value", "d": None, "e": 1.5, "f": True}, "none"),
        ({"a": "$.user", "b": "$.user.email", "c": "$.page.url", "d": "$.consent.region"}, "hashed"),
    ):
        assert Webhook(URL, template=template, identifiers_as=people).template == template  # type: ignore[arg-type]


def test_neither_address_nor_secret_is_shown() -> None:
    """The key stands in many such addresses."""
    made = Webhook(URL, secret="shared-secret")
    for said in (repr(made), made.account(), repr(requests(made, [good_event()]))):
        assert "very-secret" not in said
        assert "shared-secret" not in said
    assert made.account() != Webhook(URL + "2").account()


def test_it_is_made_from_a_file(tmp_path: Path) -> None:
    """Its secret from the environment."""
    file = tmp_path / "capi.toml"
    file.write_text(
        f'[destinations.crm]\ntype = "webhook"\nurl = "{URL}"\nsecret = "env:HOOK"\nframing = "lines"\n'
        '[destinations.crm.template]\nkind = "$.name"\n'
    )
    [made], _ = load(file, {"HOOK": "shared"})
    assert isinstance(made, Webhook)
    assert (made.name, made.framing) == ("crm", "lines")
    assert body(made, good_event()) == {"kind": "purchase"}
