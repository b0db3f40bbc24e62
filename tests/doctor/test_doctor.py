"""``client.check()`` and ``capi-async doctor`` against the sandbox and broken surroundings."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
import pytest
import trustme
from aiohttp import web

from capi_async import Client, Event, Page, SyncClient, User
from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.destinations import CutMeShort, Meta, Snap, SnapV2, TikTok
from capi_async.doctor import Finding, Report
from capi_async.doctor.environment import environment
from capi_async.doctor.spools import disk
from capi_async.outcome import Response
from capi_async.sandbox import Sandbox
from capi_async.spec import Destination, Request
from tests.engine.server import until
from tests.spool.redis_server import RedisServer

PIXEL = "00000000-0000-4000-8000-000000000001"
TOKEN = "sandbox-token"
WRONG = "never-in-any-text-0042"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Every platform."""
    async with Sandbox() as server:
        yield server


def _found(report: Report, subject: str, check: str) -> Finding:
    [one] = [one for one in report.findings if (one.subject, one.check) == (subject, check)]
    return one


def _snap(url: str, token: Any = TOKEN) -> Snap:
    return Snap(pixel_id=PIXEL, access_token=token, base_url=url)


class Shifted(Clock):
    """A wall clock that is wrong by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wall(self) -> float:
        return SYSTEM_CLOCK.wall() + self._seconds

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic()

    async def sleep(self, seconds: float) -> None:
        await SYSTEM_CLOCK.sleep(seconds)


async def test_a_good_configuration_is_said_to_be_good_and_its_test_events_do_not_count(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """With the platform's own answer, and without the credential."""
    destinations: list[Destination] = [
        _snap(sandbox.url("snap")),
        SnapV2(pixel_id=PIXEL, access_token=TOKEN, base_url=sandbox.url("snap_v2")),
        Meta(pixel_id="1000000000000001", access_token=TOKEN, base_url=sandbox.url("meta"), test_event_code="T1"),
        TikTok(
            pixel_code="C00000000SANDBOX0001", access_token=TOKEN, base_url=sandbox.url("tiktok"), test_event_code="T1"
        ),
        CutMeShort(token=TOKEN, base_url=sandbox.url("cutmeshort")),
    ]
    report = await Client(destinations, spool=f"sqlite:///{tmp_path}/spool.db").check(send_test=True)
    assert report.ok
    assert _found(report, "snap", "account").level == "ok"
    assert '"status":"VALID"' in _found(report, "snap", "test event").text
    assert "counts test events" in _found(report, "meta", "test event").text
    assert _found(report, "meta", "account").level == "ok"
    assert _found(report, "tiktok", "test event").level == "ok"
    skipped = _found(report, "cutmeshort", "test event")
    assert (skipped.level, "no test mode" in skipped.text) == ("note", True)
    assert all(one.fix for one in report.findings if one.level != "ok")
    assert TOKEN not in repr(report)
    assert {one.test for one in sandbox.arrivals()} == {True}
    assert not (tmp_path / "spool.db").exists()


async def test_nothing_is_sent_unless_it_is_asked_for(sandbox: Sandbox) -> None:
    """The memory spool is warned of."""
    report = await Client([_snap(sandbox.url("snap"))]).check()
    assert sandbox.arrivals() == []
    assert _found(report, "spool", "kind").level == "warning"


async def test_a_wrong_token_is_named_by_the_platforms_own_words(sandbox: Sandbox) -> None:
    """By the account's check and by the test event; the token itself is not repeated."""
    destinations: list[Destination] = [
        _snap(sandbox.url("snap"), WRONG),
        Meta(pixel_id="1000000000000001", access_token=WRONG, base_url=sandbox.url("meta")),
        TikTok(pixel_code="CSANDBOX0001", access_token=WRONG, base_url=sandbox.url("tiktok"), test_event_code="T1"),
    ]
    report = await Client(destinations).check(send_test=True)
    assert not report.ok
    for name, check in (("snap", "account"), ("snap", "test event"), ("meta", "account"), ("tiktok", "test event")):
        one = _found(report, name, check)
        assert (one.level, bool(one.fix)) == ("failure", True)
        assert "oken" in one.text
    assert sandbox.arrivals() == []
    assert WRONG not in repr(report)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("two words here", "holds blanks"),
        ('"quoted-credential"', "stands in quotes"),
        ("your-token-here", "a word that stands for one"),
        ("short", "5 characters only"),
        (lambda: 1 / 0, "failed (ZeroDivisionError)"),
        (lambda: "", "gave no text"),
    ],
)
async def test_the_form_of_a_credential_tells_of_mistakes(sandbox: Sandbox, token: Any, said: str) -> None:
    """Where a destination can be made with it at all."""
    try:
        destination = _snap(sandbox.url("snap"), token)
    except Exception as error:
        assert "access_token" in str(error)  # noqa: PT017 - refused before
        return
    one = _found(await Client([destination]).check(), "snap", "credential")
    assert (one.level in ("failure", "warning"), said in one.text) == (True, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://127.0.0.1:9", "nothing answers"), ("https://no-such-host.invalid", "not found")],
)
async def test_an_address_that_does_not_answer_is_a_failure(url: str, said: str) -> None:
    """And nothing more is tried there."""
    report = await Client([_snap(url)]).check(send_test=True)
    one = _found(report, "snap", "reach")
    assert (one.level, said in one.text) == ("failure", True)
    assert not [one for one in report.findings if one.check == "test event"]


async def test_a_certificate_that_is_not_trusted_is_a_failure(tmp_path: Path) -> None:
    """With a hint at proxies that open TLS."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        report = await Client([_snap(f"https://localhost:{port}")]).check()
    finally:
        await runner.cleanup()
    one = _found(report, "snap", "reach")
    assert (one.level, "certificate" in one.text, "proxy" in one.fix) == ("failure", True, True)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.0, "ok"), (90.0, "warning"), (-90.0, "warning"), (3_600.0, "failure")]
)
async def test_a_clock_that_is_wrong_is_told_by_the_platforms_date(
    sandbox: Sandbox, seconds: float, level: str
) -> None:
    """In which direction, and by how much."""
    report = await Client([_snap(sandbox.url("snap"))], clock=Shifted(seconds)).check()
    one = _found(report, "snap", "clock")
    assert one.level == level
    if seconds:
        assert ("ahead of" if seconds > 0 else "behind") in one.text


async def test_a_proxy_that_is_not_used_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden-password@proxy.example:3128")
    report = await Client([_snap("https://no-such-host.invalid")]).check()
    one = _found(report, "snap", "proxy")
    assert (one.level, "proxy.example" in one.text) == ("warning", True)
    assert "hidden-password" not in repr(report)


def test_a_disk_is_looked_at(tmp_path: Path) -> None:
    """Its folder, rights, room and speed; nothing is left there."""
    assert {one.level for one in disk(tmp_path / "spool.db", slow_s=60)} == {"ok"}
    [speed] = [one for one in disk(tmp_path / "spool.db", slow_s=0) if one.check == "disk"]
    assert (speed.level, "local disk" in speed.fix) == ("warning", True)
    assert list(tmp_path.iterdir()) == []
    assert disk(tmp_path / "none" / "spool.db")[0].text.endswith("its folder is not there")


def test_a_full_or_read_only_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's own words."""
    assert "cannot be written" in disk(Path("/proc/spool.db"))[0].text
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1024))
    [room] = [one for one in disk(tmp_path / "spool.db") if one.check == "room"]
    assert (room.level, room.text) == ("warning", "0 MB free")


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        (("--appendonly", "yes"), {"redis": "ok", "persistence": "ok", "memory": "ok"}),
        ((), {"redis": "ok", "persistence": "failure", "memory": "ok"}),
        (("--save", "60 1"), {"redis": "ok", "persistence": "warning", "memory": "ok"}),
        (
            ("--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            {"redis": "ok", "persistence": "ok", "memory": "failure"},
        ),
    ],
)
async def test_settings_of_a_redis_that_lose_data_are_named(
    sandbox: Sandbox, tmp_path: Path, options: tuple[str, ...], levels: dict[str, str]
) -> None:
    """Each with what to set."""
    server = RedisServer(tmp_path, *options).start()
    try:
        report = await Client([_snap(sandbox.url("snap"))], spool=server.url()).check()
    finally:
        server.kill()
    assert {one.check: one.level for one in report.findings if one.subject == "spool"} == levels


async def test_a_redis_that_is_not_there_is_a_failure(sandbox: Sandbox) -> None:
    """In a few seconds."""
    report = await Client([_snap(sandbox.url("snap"))], spool="redis://:hidden-password@127.0.0.1:9/0").check()
    assert _found(report, "spool", "redis").level == "failure"
    assert "hidden-password" not in repr(report)


def test_packages_below_their_lower_bound_are_named() -> None:
    """Extras that are not installed are a note, a missing dependency is a failure."""
    versions = {"aiohttp": "3.9.5", "msgspec": "0.19.0"}

    def version_of(name: str) -> str:
        try:
            return versions[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    found = environment(
        version_of,
        [
            "aiohttp>=3.14.4",
            "msgspec>=0.19",
            "anyio>=4.4",
            'redis[hiredis]>=6; extra == "redis"',
            'ruff>=1; extra == "dev"',
        ],
    )
    told = {one.check: (one.level, one.fix) for one in found if one.subject == "packages"}
    assert told["aiohttp"] == ("warning", "pip install 'aiohttp>=3.14.4'")
    assert told["anyio"] == ("failure", "pip install 'anyio>=4.4'")
    assert told["extra redis"] == ("note", "if you need it: pip install 'capi_async[redis]'")
    assert "ruff" not in told
    assert "msgspec" not in told


async def test_the_client_for_threads_has_it_too(sandbox: Sandbox) -> None:
    """The same findings."""

    def look() -> Report:
        with SyncClient([_snap(sandbox.url("snap"))]) as client:
            return client.check()

    assert _found(await asyncio.to_thread(look), "snap", "account").level == "ok"


async def test_what_waits_in_a_spool_is_told_and_for_whom(sandbox: Sandbox, tmp_path: Path) -> None:
    """A destination that was renamed leaves its events behind."""
    spool = f"sqlite:///{tmp_path / 'spool.db'}"
    old = msgspec.structs.replace(_snap(sandbox.url("snap")), name="snap_old")
    async with Client([old], spool=spool, deliver=False) as client:
        await client.send(Event("sign_up", user=User(email="a@b.example"), page=Page(url="https://shop.example/")))
    report = await Client([_snap(sandbox.url("snap"))], spool=spool).check()
    assert _found(report, "spool", "content").text == "1 events wait, 0 ended dead or uncertain"
    unconfigured = _found(report, "spool", "unconfigured")
    assert (unconfigured.level, "snap_old" in unconfigured.text) == ("warning", True)


async def test_what_ended_badly_by_the_counts_of_a_spool_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    """Whoever delivers from it: a configuration is examined in a process of its own."""
    spool = f"sqlite:///{tmp_path / 'spool.db'}"
    snap = _snap(sandbox.url("snap"))
    page, user = Page(url="https://shop.example/"), User(email="a@b.example")
    async with Client([snap], spool=spool, linger_s=0) as client:
        for event in (Event("purchase", user=user, page=page), Event("sign_up", user=user, page=page)):
            await client.send(event)
        # receipts are told before counts are
        await until(lambda: sum(client.snapshot().destinations["snap"].outcomes.values()) == 2)
        here = _found(await client.check(), "snap", "deliveries")
    assert here.level == "warning"
    assert here.text.startswith("1 of 2 events rejected, most of them: value: ")
    assert "value" in here.fix
    there = _found(await Client([snap], spool=spool).check(), "snap", "deliveries")
    assert (there.level, there.text) == ("warning", "of 2 events: 1 rejected")
    assert there.fix


async def test_a_file_that_is_no_spool_is_a_failure(sandbox: Sandbox, tmp_path: Path) -> None:
    """And stays as it is."""
    (tmp_path / "spool.db").write_text("somebody's notes")
    report = await Client([_snap(sandbox.url("snap"))], spool=f"sqlite:///{tmp_path / 'spool.db'}").check()
    assert _found(report, "spool", "content").level == "failure"
    assert (tmp_path / "spool.db").read_text() == "somebody's notes"


class _Echo:
    """Answers every request with the same refusal."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        return Response(status=401, body=self._body, headers={})


@pytest.mark.parametrize("token", ["short+tok/1", "a-long/one+with/signs==and/more+of/them=="])
@pytest.mark.parametrize("encode", [str, quote_plus, lambda text: quote(text, safe=""), lambda text: text.upper()])
async def test_what_a_platform_echoes_of_a_credential_or_a_person_is_not_shown(token: str, encode: Any) -> None:
    """However it is encoded: as JSON escapes its strokes, as an address does, in capitals; and on one line."""
    echo = encode(token).replace("/", r"\/")
    body = f"no access for {echo},\x1b[2J\n zq.person@mail.example, 2001:db8::17 and +1 (415) 555-0199".encode()
    async with Client([_snap("http://127.0.0.1:9", token)], transport=_Echo(body)) as client:
        report = await client.check()
    said = _found(report, "snap", "account")
    assert said.level == "failure"
    assert said.text.startswith("refused with 401: no access for ")
    for planted in (token, echo, "tok", "TOK", "signs", "SIGNS", "zq.person", "2001:db8", "555-0199", "\x1b", "\n"):
        assert planted not in said.text


@pytest.mark.parametrize("error", [ValueError("the-token"), asyncio.CancelledError("the-token")])
async def test_a_credential_that_cannot_be_had_is_a_failure_whatever_its_callable_raises(error: BaseException) -> None:
    """The others are looked at all the same."""

    async def failing() -> str:
        raise error

    destinations = [_snap("http://127.0.0.1:9", failing), Snap(name="other", pixel_id=PIXEL, access_token=TOKEN)]
    async with Client(destinations, transport=_Echo(b"{}")) as client:
        report = await client.check()
    assert _found(report, "snap", "credential").level == "failure"
    assert _found(report, "other", "credential").level == "ok"
    assert "the-token" not in str(report)


@pytest.mark.parametrize("broken", ["account_check", "classify", "secret"])
async def test_a_destination_whose_own_code_fails_is_a_failure_and_costs_the_others_nothing(broken: str) -> None:
    """By the type of the error: its words may quote the credential."""

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError(TOKEN)

    class Broken(Snap, frozen=True, kw_only=True):
        pass

    setattr(Broken, broken, fail)
    bad = Broken(name="bad", pixel_id=PIXEL, access_token=TOKEN, base_url="http://127.0.0.1:9")
    client = Client([bad, _snap("http://127.0.0.1:9")], transport=_Echo(b"{}"))
    report = await client.check()
    said = " ".join(one.text for one in report.findings if one.subject == "bad" and one.level == "failure")
    assert "failed (ZeroDivisionError)" in said
    assert TOKEN not in said
    assert _found(report, "snap", "account").level == "failure"
