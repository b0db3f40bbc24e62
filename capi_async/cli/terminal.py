"""What a command writes. Ids, names and reasons come from outside, and a terminal obeys what it reads."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    """One line without what a terminal would obey: escapes, line ends, invisible characters, changes of direction."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text])


def say(text: str) -> None:
    """One line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def write(text: str) -> None:
    """One line on stdout."""
    print(printable(text))


def write_json(value: Any, *, indent: int | None = None) -> None:
    """JSON on stdout, in ASCII: what is not printable is written as an escape."""
    print(json.dumps(msgspec.to_builtins(value), indent=indent))


def cell(text: str) -> Text:
    """Text for a table, without markup."""
    return Text(printable(text))


def show_line(console: Console, text: str) -> None:
    """One line on a console, without markup."""
    console.print(cell(text), soft_wrap=True)
