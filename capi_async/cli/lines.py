"""What is read out of a file: events, bad lines, and what else is worth a word."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from capi_async.event import Event

#: Events handed on at once.
PIECE_LINES: Final = 500
#: Longer than any event that a platform takes; keeps a file without line ends from filling the memory.
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
BLANK: Final = "there is nothing but blanks in it"
NOTHING: Final = "there is nothing in it"
TOO_LONG: Final = f"is longer than {MAX_LINE_BYTES // 1024**2} MB"
#: What reading a file, packed or not, may raise.
READ_ERRORS: Final = (OSError, EOFError, zlib.error)


class Problem(Struct, frozen=True):
    """A bad line; the text never holds the line's content."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {where}{self.reason}"


class Note(Struct, frozen=True):
    """Something that was decided or left out while reading, and that is no fault."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: note: {self.text}"


class Good(NamedTuple):
    """A line that is an event."""

    file: str
    line: int
    event: Event


Read: TypeAlias = Good | Problem | Note
