"""``capi-async queue``, on a spool file with something in every state."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pty
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capi_async.cli.queue import app
from capi_async.clock import SYSTEM_CLOCK
from capi_async.spool import open_spool
from tests.spool.harness import DEAD, DELIVERED, opened, record, take


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'events.db'}"

    async def fill() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            records = [record(str(number), body=b'{"em":["x%d"]}' % number) for number in range(5)]
            for one in records:
                one.expires_at = 1e11
            await spool.append(records, [])
            await spool.settle(await take(spool, limit=3), [DELIVERED, DEAD, DEAD])

    asyncio.run(fill())
    return url


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_looking_into_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    """A mistyped path is said, not obeyed."""
    missing = tmp_path / "nothing.db"
    done = CliRunner().invoke(app, ["status", f"sqlite:///{missing}"])
    assert done.exit_code != 0
    assert not missing.exists()


def test_status_shows_the_ledger(url: str) -> None:
    """In words, and as JSON."""
    assert call("status", url) == "a: 5 accepted, 1 delivered, 2 dead, 2 pending\n"
    assert json.loads(call("status", url, "--json"))["a"]["pending"] == 2


def test_dead_letters_are_listed_and_exported(url: str) -> None:
    """With filters; never what is in them."""
    assert len(call("dead", url, "--reason", "HTTP 503").splitlines()) == 2
    assert call("dead", url, "--event-id", "nobody's") == ""
    lines = [json.loads(line) for line in call("export", url).splitlines()]
    assert [line["event_id"] for line in lines] == ["1", "2"]
    assert not any("body" in line for line in lines)


def test_replay_makes_them_pending_again(url: str) -> None:
    """A dry run only counts."""
    assert call("replay", url, "--dry-run") == "2 dead letters would be replayed\n"
    assert call("replay", url) == "a: 2 pending again\n"
    assert call("status", url) == "a: 5 accepted, 1 delivered, 4 pending\n"


#: As platforms get them: test@example.com, and the external ids 12 and 13.
EMAIL = b'{"em":["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"]}'
IDS = [b'{"external_id":["%s"]}' % hashlib.sha256(one).hexdigest().encode() for one in (b"12", b"13")]


@pytest.fixture
def people(url: str) -> str:
    """The spool with an event of each of three people more."""

    async def add() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            records = [record(str(9 + index), body=body) for index, body in enumerate((EMAIL, *IDS))]
            for one in records:
                one.expires_at = 1e11
            await spool.append(records, [])

    asyncio.run(add())
    return url


def test_forget_says_how_many_records_it_erased(people: str) -> None:
    """Found by an identifier in the form in which a platform gets it."""
    assert call("forget", people, "--email", "Test@Example.com ") == "a: 1 forgotten\n1 records erased\n"
    assert call("status", people).endswith("1 forgotten, 4 pending\n")


@pytest.mark.parametrize(
    "text",
    ["Test@Example.com\nexternal_id: 12\n\n", "\ufeffemail: test@example.com\r\nExternal-ID:12",
     '{"email": ["test@example.com"], "external_id": "12"}\n'],
)  # fmt: skip
def test_forget_reads_people_from_a_file_or_standard_input(people: str, tmp_path: Path, text: str) -> None:
    """So that no address stands in a list of processes."""
    file = tmp_path / "erase.txt"
    file.write_text(text, "utf-8")
    assert call("forget", people, str(file)) == "a: 2 forgotten\n2 records erased\n"
    done = CliRunner().invoke(app, ["forget", people, "-"], input="external_id: 13\n")
    assert (done.exit_code, done.stdout) == (0, "a: 1 forgotten\n1 records erased\n")


def test_forget_finds_people_by_the_ids_that_platforms_gave_them(url: str) -> None:
    """From an option, in each form of a line, as text and as a number."""

    async def add() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            bodies = b'{"lead":{"lead_id":"L-7"}}', b'{"lead_id":123456789012345}', b'{"lead_id":"98765432109"}'
            records = [record(str(9 + index), body=body) for index, body in enumerate(bodies)]
            for one in records:
                one.expires_at = 1e11
            await spool.append(records, [])

    asyncio.run(add())
    assert call("forget", url, "--lead-id", "L-7") == "a: 1 forgotten\n1 records erased\n"
    lines = 'Lead-ID: 123456789012345\n{"lead_id": [98765432109, "L-8"]}\n'
    done = CliRunner().invoke(app, ["forget", url, "-"], input=lines)
    assert (done.exit_code, done.stdout) == (0, "a: 2 forgotten\n2 records erased\n")
    for wrong in ('{"lead_id": 1.5}', '{"lead_id": [true]}', '{"lead_id": {}}', "[1]", "lead_id:"):
        done = CliRunner().invoke(app, ["forget", url, "-"], input=wrong)
        assert (done.exit_code, "is none of these" in done.stderr) == (2, True)


def test_forget_takes_thousands_of_people_at_once(people: str, tmp_path: Path) -> None:
    """And finds those who are among them."""
    file = tmp_path / "erase.txt"
    file.write_text("".join(f"external_id: {number}\n" for number in range(13, 3_013)), "utf-8")
    assert call("forget", people, str(file)) == "a: 1 forgotten\n1 records erased\n"


def test_forget_says_what_it_could_not_read(people: str) -> None:
    """Which line, what and why, and never the value; the others are erased."""
    done = CliRunner().invoke(
        app, ["forget", people, "-"], input='phone: 0664 secret\n{"email": ["se@cret", "test@example.com"]}\n'
    )
    assert (done.exit_code, done.stdout) == (1, "a: 1 forgotten\n1 records erased\n")
    assert "line 1 of standard input: user.phone: " in done.stderr
    assert "line 2 of standard input: user.email: " in done.stderr
    assert "cret" not in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [("secret\n", "line 1 of standard input is none of these"), ('{"email": 5}\n', "is none of these"),
     ("a@b.example\n{\n", "line 2 of"), ("[" * 9_000, "is none of these"), ("x" * 20_000, "too long"),
     ("email: secret\n", "that can be read"), ("", "that can be read")],
)  # fmt: skip
def test_forget_erases_nothing_where_a_line_is_no_person(people: str, text: str, says: str) -> None:
    """It says which line, and not what stands there."""
    done = CliRunner().invoke(app, ["forget", people, "-"], input=text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert "secret" not in done.stderr
    assert "forgotten" not in call("status", people)


def test_forget_names_a_file_that_cannot_be_read(people: str, tmp_path: Path) -> None:
    """In a line, with exit code 2, as for every command of the queue."""
    missing = CliRunner().invoke(app, ["forget", people, str(tmp_path / "nothing")])
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    unreadable = CliRunner().invoke(app, ["forget", people, str(tmp_path / "bytes")])
    nobody = CliRunner().invoke(app, ["forget", people])
    assert [one.exit_code for one in (missing, unreadable, nobody)] == [2, 2, 2]
    assert "nothing cannot be read: No such file" in missing.stderr
    assert "no text in UTF-8" in unreadable.stderr
    assert "from standard input" in nobody.stderr
    wrong = CliRunner().invoke(app, ["dead", people, "--kind", "alive"])
    assert (wrong.exit_code, "there is no kind" in wrong.stderr) == (2, True)


def test_forget_asks_on_a_terminal_and_shows_nothing(people: str) -> None:
    """What is typed appears neither on the screen nor among the arguments."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "capi_async", "queue", "forget", people])  # noqa: S606
    shown = b""
    answers = [(b"E-mail", b"test@example.com\n"), (b"Phone", b"\n"), (b"External id", b"13\n"), (b"Lead id", b"\n")]
    for title, typed in answers:
        while title not in shown:
            shown += os.read(terminal, 1_000)
        os.write(terminal, typed)
    with suppress(OSError):  # how a terminal says that nobody is there any more
        while some := os.read(terminal, 1_000):
            shown += some
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"2 records erased" in shown
    assert b"example" not in shown


def test_what_cannot_be_opened_is_said_in_a_line() -> None:
    """Exit code 2, no traceback."""
    result = CliRunner().invoke(app, ["status", "memory"])
    assert result.exit_code == 2
