"""Events out of CSV, by a mapping: what was taken for granted is said, what cannot be read is a problem of its row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import BinaryIO, Final, cast

from capi_async.cli.encodings import UNDECODABLE, require_utf8
from capi_async.cli.grouping import Groups
from capi_async.cli.lines import (
    BLANK,
    MAX_LINE_BYTES,
    NOTHING,
    PIECE_LINES,
    READ_ERRORS,
    TOO_LONG,
    Good,
    Note,
    Problem,
    Read,
)
from capi_async.cli.mapping import Columns, Mapper
from capi_async.cli.quoting import DELIMITERS, LongLine, Row, rows
from capi_async.errors import ConfigError, EventError

_LINE_ENDS: Final = ("\n", "\r")
_UTF16_FIX: Final = 'save it as UTF-8 (in Excel: "CSV UTF-8"), or say encoding = "utf-16" in the mapping'


def read_csv(name: str, stream: BinaryIO, mapper: Mapper, group_by: str = "") -> Iterator[list[Read]]:
    """Events in pieces.

    Args:
        group_by: Field whose equal values in neighbouring rows make one event; empty: every row is an event.

    Raises:
        ConfigError: The file does not fit the mapping: another encoding, a column that is missing or stands twice.
    """
    start = b""
    if not mapper.encoding:
        start = _first_bytes(stream)
        require_utf8(start, name, _UTF16_FIX)
    # an undecodable byte must cost its own row only: it becomes a surrogate, which the row check finds
    text = io.TextIOWrapper(
        cast("BinaryIO", io.BufferedReader(_Rewound(start, stream))),
        mapper.encoding or "utf-8-sig",
        errors=UNDECODABLE,
        newline="",
    )
    yield from _events(name, lambda: _line(text), mapper, group_by)


def _line(text: io.TextIOWrapper) -> str:
    """The next line with its end; empty at the end of the file.

    Raises:
        LongLine: It is longer than any that is read; the rest of it has been passed over.
    """
    line = text.readline(MAX_LINE_BYTES)
    if len(line) < MAX_LINE_BYTES or line.endswith(_LINE_ENDS):
        return line
    while line and not line.endswith(_LINE_ENDS):
        line = text.readline(MAX_LINE_BYTES)
    raise LongLine(TOO_LONG)


def _first_bytes(stream: BinaryIO) -> bytes:
    start = b""
    while len(start) < 8 and (block := stream.read(8 - len(start))):
        start += block
    return start


class _Rewound(io.RawIOBase):
    """A stream, with the bytes before it that were read already."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start = start
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        block = self._start or self._read(len(view))
        taken = min(len(block), len(view))
        view[:taken] = block[:taken]
        self._start = block[taken:]
        return taken


def _events(name: str, read_line: Callable[[], str], mapper: Mapper, group_by: str) -> Iterator[list[Read]]:
    piece: list[Read] = []
    reading = _Reading(name, mapper, group_by)
    try:
        blank, first = _begun(read_line)
        declared = declared_delimiter(first)
        if declared:
            more, first = _begun(read_line)
            # it counts as a line, and holds no cells
            blank += 1 + more
    except READ_ERRORS as error:
        raise ConfigError(f"{name}: cannot be read ({type(error).__name__})") from None
    except LongLine as error:
        raise ConfigError(f"{name}: its header {error}; are the line ends missing?") from None
    if not first:
        yield [Note(name, 1, BLANK if blank else NOTHING)]
        return
    begun = chain(repeat("\n", blank), (first,))
    delimiter = mapper.delimiter or declared or _sniffed(first, mapper, name)
    if delimiter not in (mapper.delimiter, declared, ","):
        piece.append(
            Note(name, 1, f"cells are taken to be separated by {delimiter!r}; the mapping's delimiter says otherwise")
        )
    found = rows(lambda: next(begun, None) or read_line(), delimiter)
    while True:
        try:
            row = next(found, None)
        except READ_ERRORS as error:
            piece.append(Problem(name, reading.line + 1, "", f"cannot be read any further ({type(error).__name__})"))
            row = None
        if row is None:
            break
        piece += reading.take(row)
        if len(piece) >= PIECE_LINES:
            yield piece
            piece = []
    yield [*piece, *reading.end()]


def declared_delimiter(line: str) -> str:
    """The separator that a first line such as ``sep=;`` states for Excel; empty: it is an ordinary line."""
    match = _sep(line)
    return match[1] if match else ""


_sep: Final = re.compile(r"\ufeff*\"?sep=([^\r\n])\"?[\r\n]*", re.IGNORECASE).fullmatch


def _begun(read_line: Callable[[], str]) -> tuple[int, str]:
    """How many blank lines a file begins with, and the first one that is not blank, without byte order marks."""
    blank = 0
    while True:
        # files saved twice have two marks
        first = (line := read_line()).lstrip("\ufeff")
        if not line or first.strip():
            return blank, first
        blank += 1


def _sniffed(header: str, mapper: Mapper, name: str) -> str:
    """The delimiter with which the header has the columns that the mapping names."""
    for delimiter in DELIMITERS:
        try:
            mapper.bind(next(csv.reader([header], delimiter=delimiter, strict=True), []), name)
        except (ConfigError, csv.Error):
            continue
        return delimiter
    # none fits: the one that cuts most gives the most helpful error
    return max(DELIMITERS, key=header.count)


class _Reading:
    """One file, row by row."""

    def __init__(self, name: str, mapper: Mapper, group_by: str) -> None:
        self.line = 0
        self._name = name
        self._mapper = mapper
        self._header: Sequence[str] = ()
        self._columns: Columns | None = None
        self._groups = Groups(name, mapper, group_by) if group_by else None
        self._empty: list[int] = []
        self._empty_count = 0
        self._rows = 0

    def take(self, row: Row) -> list[Read]:
        """What a row amounts to."""
        self.line = row.line
        if row.fault:
            return self._whole(self._problem(row, "", row.fault))
        if self._columns is None:
            if not row.cells:
                return []
            self._header = row.cells
            self._columns = self._mapper.bind(row.cells, self._name)
            return []
        self._rows += bool(row.cells)
        if not any(cell.strip() for cell in row.cells):
            self._empty_count += bool(row.cells)
            self._empty = self._empty or ([row.line] if row.cells else [])
            return []
        if list(row.cells) == list(self._header):
            return [Note(self._name, row.line, "the header stands here once more; the row is left out")]
        try:
            if self._groups is None:
                return [Good(self._name, row.line, self._columns.event(row.cells, row.line))]
            return self._groups.add(row.line, self._columns.fields(row.cells, row.line))
        except EventError as error:
            return self._whole(self._problem(row, error.field, error.reason))

    def end(self) -> list[Read]:
        """What is left at the end of the file."""
        found: list[Read] = self._groups.close() if self._groups else []
        if self._columns is not None:
            found += [Note(self._name, line, text) for text, line in self._columns.taken.items()]
        if not self._rows:
            found.append(Note(self._name, self.line, "there is no row below the header"))
        if self._empty_count:
            count = f"{self._empty_count:,} rows without a value are left out, this being the first"
            found.append(
                Note(
                    self._name, self._empty[0], count if self._empty_count > 1 else "a row without a value is left out"
                )
            )
        return found

    def _problem(self, row: Row, field: str, reason: str) -> Problem:
        return Problem(self._name, row.line, field, reason)

    def _whole(self, problem: Problem) -> list[Read]:
        """A bad row; with groups, that of its neighbours is not sent by halves."""
        return self._groups.spoil(problem) if self._groups else [problem]
