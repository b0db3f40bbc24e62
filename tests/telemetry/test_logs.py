"""What is in the log for people and for programs: structlog, JSON lines, Sentry, summaries, names of loggers."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from capi_async import Client, ConfigError, Event, User
from capi_async.engine import dispatcher, summary
from tests.engine.acme import EMAIL, Acme, event, events
from tests.engine.server import Got, Reply, Server, reply, until
from tests.telemetry import sentry_program

pytestmark = pytest.mark.usefixtures("short_waits")

ROOT = Path(__file__).parents[2]
TOKEN = "zq-planted-token"


def refuse(request: Got) -> Reply:
    """Every third event, by name."""
    errors = [{"index": at, "message": "no such thing"} for at, one in enumerate(request.ids) if int(one[1:]) % 3 == 0]
    return reply(200, {"ok": True, "errors": errors})


async def trouble(server: Server, other: Server) -> None:
    """One destination refuses some events and has not heard of others, one has a wrong token."""
    server.script = refuse
    other.script = lambda _request: reply(401)
    fine = Acme(name="fine", base_url=server.url, access_token=TOKEN)
    denied = Acme(name="denied", base_url=other.url, access_token=TOKEN, probe=False)
    async with Client([fine, denied], linger_s=0) as client:
        await client.send_many(events(9))
        await client.send(Event("login", event_id="e100", user=User(email=EMAIL)))
        await until(lambda: client.ledger()["fine"].settled == 10)
        await until(lambda: client.states()["denied"].state == "paused")
        await client.aclose(0)


class JsonLines(logging.Formatter):
    """A formatter as many write it: all that ``extra`` gave stands beside the message."""

    _USUAL = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        given = {key: value for key, value in record.__dict__.items() if key not in self._USUAL}
        return json.dumps({"level": record.levelname, "logger": record.name, "text": record.getMessage(), **given})


@contextmanager
def formatted(formatter: logging.Formatter) -> Iterator[list[str]]:
    """What a handler with this formatter writes of ours."""
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's own name
            raise AssertionError(record.msg)

    handler = Kept()
    handler.setFormatter(formatter)
    logger = logging.getLogger("capi_async")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def told(found: list[dict[str, Any]], text: str) -> None:
    """Both formats hold the same words and fields."""
    refused, *more = [one for one in found if one[text].startswith("fine: rejected: ")]
    assert sum(one.get("count", 1) for one in more) == 2
    assert "no such thing" in refused[text]
    assert (refused["destination"], refused["kind"], refused["reason_code"]) == ("fine", "rejected", "platform")
    assert (refused["reason"], refused["field"], refused["event_id"]) == ("no such thing", "id", "e3")
    [skipped] = [one for one in found if one[text].startswith("fine: skipped: ")]
    assert (skipped["reason_code"], skipped["field"]) == ("event_name", "name")
    [paused] = [one for one in found if one[text].startswith("denied: paused: ")]
    assert (paused["destination"], paused["state"], paused["reason_code"]) == ("denied", "paused", "account")
    assert paused["waiting"] > 0


async def test_structlog_shows_the_same_records(server: Server, other: Server) -> None:
    """As structlog's own formatter for the standard library renders them, ``extra`` included."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    with formatted(formatter) as written:
        await trouble(server, other)
    found = [json.loads(one) for one in written]
    told(found, "event")
    assert {one["level"] for one in found} >= {"info", "warning", "error"}
    assert TOKEN not in "".join(written)
    assert EMAIL not in "".join(written)


async def test_json_lines_show_the_same_records(server: Server, other: Server) -> None:
    """All fields are plain JSON, without help."""
    with formatted(JsonLines()) as written:
        await trouble(server, other)
    told([json.loads(one) for one in written], "text")
    assert EMAIL not in "".join(written)


def test_sentry_makes_one_issue_of_a_kind() -> None:
    """Its fingerprint is logger and template: one for all events of a kind, another for each destination and kind."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.telemetry.sentry_program"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    issues: dict[tuple[str, str], int] = {}
    for one in found:
        key = one["logger"], one["logentry"]["message"]
        issues[key] = issues.get(key, 0) + 1
    starts = ("picky: rejected: ", "down: dead: ", "denied: paused: ", "down: broken: ", "a hook raised: ")
    for start in starts:
        assert len([template for _, template in issues if template.startswith(start)]) == 1, (start, issues)
    [rejected] = [number for (_, template), number in issues.items() if template.startswith("picky: rejected: ")]
    assert rejected == 2  # the first, and the sum of the others at the close
    assert any(f"({sentry_program.EVENTS - 1} of this kind" in one["logentry"]["formatted"] for one in found)
    assert len(found) < sentry_program.EVENTS
    assert sentry_program.TOKEN not in done.stdout
    assert EMAIL not in done.stdout


async def test_a_summary_says_how_everything_does(
    server: Server, other: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes since the last line by reason, what waits, how long answers take, and what is wrong; also if nothing."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(dispatcher, "_LEAST_SUMMARY_S", 0.1)
    server.script = refuse
    other.script = lambda _request: reply(401)
    destinations = [Acme(name="fine", base_url=server.url), Acme(name="denied", base_url=other.url, probe=False)]
    async with Client(destinations, linger_s=0, summary_s=0.2) as client:
        await client.send_many(events(9))

        def lines() -> list[str]:
            return [one for one in caplog.messages if one.startswith("summary of ")]

        await until(lambda: any("delivered" in one for one in lines()) and "fine: answers" in lines()[-1])
        await client.aclose(0)
    busy = next(one for one in lines() if "delivered" in one)
    assert "6 delivered, 3 rejected (platform)" in " ".join(lines())
    assert "9 wait, the oldest for" in lines()[-1]
    assert "denied: " in busy
    assert re.search(r"paused: .*401", lines()[-1])
    [record] = [one for one in caplog.records if one.getMessage() == lines()[-1]][-1:]
    assert record.__dict__["destinations"]["denied"]["state"] == "paused"


def test_the_summarys_interval_comes_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, file and environment; a wrong one is named."""
    file = tmp_path / "capi.toml"
    file.write_text('summary_s = 30\n[destinations.snap]\npixel_id = "p"\naccess_token = "t"\n', "utf-8")
    file.chmod(0o600)
    assert Client.from_config(file)._settings.summary_s == 30
    monkeypatch.setenv("CAPI_ASYNC_SUMMARY_S", "60")
    assert Client.from_config(file)._settings.summary_s == 60
    monkeypatch.setenv("SNAP_PIXEL_ID", "p")
    monkeypatch.setenv("SNAP_ACCESS_TOKEN", "t")
    assert Client.from_env()._settings.summary_s == 60
    with pytest.raises(ConfigError, match="summary_s"):
        Client([Acme()], summary_s=0)
    monkeypatch.setenv("CAPI_ASYNC_SUMMARY_S", "a minute")
    with pytest.raises(ConfigError, match="CAPI_ASYNC_SUMMARY_S"):
        Client.from_env()


async def test_a_destination_that_falls_behind_is_named(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, so nothing is wrong with it, but too slowly: with how long, and why."""
    monkeypatch.setattr(dispatcher, "EVERY_S", 0.05)
    monkeypatch.setattr(summary, "BEHIND_S", 0.1)
    slow = Acme(name="slow", base_url=server.url, requests_per_s=2.0, burst=1.0, max_batch_events=1)
    async with Client([slow], linger_s=0) as client:
        await client.send_many([event(number) for number in range(5)])
        await until(lambda: any(one.startswith("slow: falls behind: ") for one in caplog.messages))
        await client.aclose(0)
    [text] = [one for one in caplog.messages if one.startswith("slow: falls behind: ")]
    assert "its rate limit lets the next request leave" in text or "requests under way" in text
    assert "raise max_in_flight or requests_per_s" in text


def test_every_logger_is_in_the_guide() -> None:
    """By its own name or by that of the part it belongs to."""
    package = ROOT / "capi_async"
    guide = (package / "telemetry" / "README.md").read_text("utf-8")
    told = set(
        re.findall(r"`(capi_async(?:\.\w+)+)`", "\n".join(re.findall(r"^\| `capi_async.*$", guide, re.MULTILINE)))
    )
    there = {
        ".".join(("capi_async", *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if re.search(
            r"^\w+(?:: Final)? = (?:Log|logging\.getLogger)\(__name__\)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert len(there) > 20
    assert [name for name in there if not any(name == one or name.startswith(f"{one}.") for one in told)] == []
    assert [one for one in told if not any(name == one or name.startswith(f"{one}.") for name in there)] == []
