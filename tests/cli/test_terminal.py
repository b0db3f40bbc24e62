"""What comes from outside cannot steer the operator's terminal."""

from __future__ import annotations

import ast
import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import capi_async.cli
from capi_async.cli.terminal import cell, printable, show_line, write, write_json
from capi_async.clock import SYSTEM_CLOCK
from capi_async.outcome import Outcome
from capi_async.spool import open_spool
from tests.cli.conftest import Run
from tests.spool.harness import opened, record, take

EVIL = "\x1b]0;pwned\x07\x1b[2J\x1b[31mFAKE: 0 dead letters\x1b[0m\r\x9b31m\u202e\u2028[link=https://evil.example]x[/link][/]"


def obeyed(text: str) -> list[str]:
    """What a terminal would not merely show."""
    return [char for char in text if not char.isprintable() and char != "\n"]


@given(st.text())
def test_a_line_is_a_line(text: str) -> None:
    """Of any text."""
    assert printable(text).isprintable()


def test_every_way_of_writing_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, as JSON, and through tables; markup is shown, not followed."""
    write(EVIL)
    write_json({EVIL: EVIL}, indent=2)
    show_line(Console(), EVIL)
    out = capsys.readouterr().out
    assert obeyed(out) == []
    assert out.count("[link=https://evil.example]x[/link][/]") == 4
    assert "[/]" in cell(EVIL).plain


def test_dead_letters_of_an_outsiders_making(run: Run, tmp_path: Path) -> None:
    """Their ids are the caller's, their reasons may be older than our redaction."""
    url = f"sqlite:///{tmp_path}/events.db"

    async def fill() -> None:
        async with opened(open_spool(url, clock=SYSTEM_CLOCK)) as spool:
            await spool.append([record(f"order-1{EVIL}")], [])
            await spool.settle(await take(spool, limit=1), [Outcome(kind="dead", reason=EVIL)])

    asyncio.run(fill())
    for arguments in (["dead", url], ["dead", url, "--json"], ["export", url], ["status", url]):
        ran = run("queue", *arguments)
        assert ran.code == 0
        assert obeyed(ran.out + ran.err) == []
    assert json.loads(run("queue", "export", url).out)["event_id"] == f"order-1{EVIL}"


def test_an_event_of_an_outsiders_making_is_explained(run: Run, tmp_path: Path) -> None:
    """Names, ids and the wire object."""
    file = tmp_path / "e.json"
    event = {
        "name": f"purchase{EVIL}",
        "event_id": f"x{EVIL}",
        "user": {"email": "a@b.example"},
        "page": {"url": "https://s.example/"},
        "content_name": EVIL,
    }
    file.write_text(json.dumps(event))
    for more in ((), ("--json",)):
        ran = run("explain", file, "--sandbox", *more)
        assert ran.code == 0
        assert obeyed(ran.out + ran.err) == []
    assert obeyed(run("send", file, "--sandbox").out) == []


def test_columns_of_an_outsiders_making_are_mapped(run: Run, tmp_path: Path) -> None:
    """Escaped, so that the terminal obeys nothing, and the mapping still means the same columns."""
    file, column = tmp_path / "orders.csv", "odd \x1b[2J\x9b31m\u202e\u2028\U000e0041 \xa0one"
    file.write_text(f"Order ID,{column}\n77,x\n", encoding="utf-8")
    ran = run("mapping", file)
    assert obeyed(ran.out + ran.err) == []
    [line] = [line for line in ran.out.splitlines() if line.startswith("# not used: ")]
    assert tomllib.loads(line.replace("# not used: ", "column = ")) == {"column": column}


#: Prints what it made itself, or hands a whole file to somebody.
OWN = {"terminal", "app", "main", "bench", "sandbox", "table"}


def test_commands_write_by_one_module_only() -> None:
    """Who prints by hand forgets one day who wrote the text."""
    by_hand = []
    for path in Path(capi_async.cli.__file__).parent.glob("*.py"):
        if path.stem in OWN:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "typer.echo", "sys.stdout.write", "sys.stderr.write"):
                    by_hand.append(f"{path.stem}: {called}")
    assert by_hand == []
