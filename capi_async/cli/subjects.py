"""Who is meant: read so that no address need stand in a list of processes or a shell's history."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from getpass import getpass
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
from msgspec import Struct

from capi_async.engine.erasure import LeadIds
from capi_async.errors import CapiError, ConfigError, EventError
from capi_async.event import NO_USER, User

#: Lines that are read at most, and characters of one.
MAX_LINES: Final = 100_000
_MAX_CHARS: Final = 10_000

_FIELDS: Final = ("email", "phone", "external_id", "lead_id")
_FORMS: Final = (
    "an e-mail address, `email: ...`, `phone: ...`, `external_id: ...`, `lead_id: ...`, or a JSON object with these "
    "fields"
)


class Subject(Struct, frozen=True):
    """One person.

    Attributes:
        lead_ids: Ids that platforms gave the person.
    """

    user: User = NO_USER
    lead_ids: LeadIds = ()

    def __repr__(self) -> str:
        return f"Subject({self.user!r}, lead_ids=…)"


def subject_of(fields: Mapping[str, Any]) -> Subject:
    """The person with these fields.

    Raises:
        EventError: A value of the wrong type.
    """
    known = {field: value for field, value in fields.items() if field != "lead_id"}
    leads = fields.get("lead_id")
    given = leads if isinstance(leads, list) else [] if leads is None else [leads]
    if not all(type(one) in (str, int) for one in given):
        raise EventError("lead_id", "needs text, a whole number or a list of them")
    return Subject(msgspec.convert(known, User), given)


def read_subjects(source: str | None) -> Iterator[tuple[str, Subject]]:
    """People, each with the words that say where they were read; never with what was read.

    Args:
        source: A file with one per line, ``-`` for standard input, ``None`` to ask for one on the terminal.

    Raises:
        ConfigError: It cannot be read, or a line is of no known form.
    """
    if source is None:
        yield "what was typed", _asked()
        return
    name = "standard input" if source == "-" else source
    for number, line in enumerate(_lines(source, name), 1):
        if number > MAX_LINES:
            raise ConfigError(f"{name}: more than {MAX_LINES} lines; split it, nothing was erased")
        if text := line.strip():
            where = f"line {number} of {name}"
            yield where, _subject(text, where)


def _asked() -> Subject:
    """One person, typed without being shown."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody is named: give a file with one person per line, or - to read them from standard input; on a "
            "terminal they are asked for"
        )
    try:
        # not typer's prompt: that one begins to ask before the terminal is told to show nothing
        values = {
            field: getpass(f"{title} (not shown; Enter: none): ").strip()
            for field, title in zip(_FIELDS, ("E-mail", "Phone", "External id", "Lead id"), strict=True)
        }
    except EOFError:
        raise ConfigError("the terminal was closed; nothing was erased") from None
    given = {field: value for field, value in values.items() if value}
    if not given:
        raise ConfigError("nobody is named; nothing was erased")
    return subject_of(given)


def _lines(source: str, name: str) -> Iterator[str]:
    try:
        if source == "-":
            sys.stdin.reconfigure(encoding="utf-8-sig")  # type: ignore[union-attr]
            yield from _bounded(sys.stdin, name)
        else:
            with Path(source).open(encoding="utf-8-sig") as file:
                yield from _bounded(file, name)
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is no text in UTF-8; nothing was erased") from None


def _bounded(file: TextIO, name: str) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_CHARS):
        number += 1
        if len(line) == _MAX_CHARS:
            raise ConfigError(f"line {number} of {name} is too long; nothing was erased")
        yield line


def _subject(text: str, where: str) -> Subject:
    try:
        if text.startswith("{"):
            fields = msgspec.json.decode(text.encode())
            if not (isinstance(fields, dict) and fields.keys() <= {*_FIELDS}):
                raise ValueError
            return subject_of(fields)
        field, colon, value = text.partition(":")
        field = field.strip().lower().replace("-", "_")
        if colon and field in _FIELDS and value.strip():
            return subject_of({field: value.strip()})
        if "@" in text and not colon:
            return subject_of({"email": text})
    except (CapiError, ValueError, msgspec.MsgspecError, RecursionError):
        pass  # what it says may quote the line
    raise ConfigError(f"{where} is none of these: {_FORMS}; nothing was erased")
