"""Events out of files and streams, piece by piece, with a problem instead of an event where a line is bad."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias, cast

from msgspec import Struct

from capi_async.cli.mapping import Columns, Mapper
from capi_async.errors import ConfigError, EventError
from capi_async.event import Event

Format: TypeAlias = Literal["jsonl", "csv"]

#: Lines handed on at once, and bytes asked for at once.
_PIECE_LINES: Final = 500
_READ_BYTES: Final = 256 * 1024
#: Longer than any event that a platform takes; keeps a file without line ends from filling the memory.
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_READ_ERRORS: Final = (OSError, EOFError, zlib.error)


class Problem(Struct, frozen=True):
    """A bad line; the text never holds the line's content."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {where}{self.reason}"


class Good(NamedTuple):
    """A line that is an event."""

    file: str
    line: int
    event: Event


Read: TypeAlias = Good | Problem


class Source(Struct, kw_only=True):
    """One input, opened and not yet read.

    Attributes:
        name: As the user wrote it.
        size: Bytes of the file, 0 if unknown.
        raw: Where bytes are counted, below any decompression.
    """

    name: str
    format: Format
    size: int
    raw: BinaryIO
    stream: BinaryIO

    @property
    def position(self) -> int:
        """Bytes read so far; 0 where that is unknown."""
        return self.size if not self.size or self.raw.closed else self.raw.tell()

    def close(self) -> None:
        """Close what was opened."""
        if self.name != "-":
            self.raw.close()


def open_source(name: str, form: Format | Literal["auto"]) -> Source:
    """Open a file, or the standard input for ``-``.

    Raises:
        ConfigError: It cannot be read.
    """
    if name == "-":
        raw = _stdin()
        return Source(name=name, format="jsonl" if form == "auto" else form, size=0, raw=raw, stream=raw)
    path = Path(name)
    try:
        raw = path.open("rb")
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror or type(error).__name__})") from None
    stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    guessed: Format = "csv" if plain.suffix.lower() == ".csv" else "jsonl"
    return Source(name=name, format=guessed if form == "auto" else form, size=size, raw=raw, stream=stream)


def _stdin() -> BinaryIO:
    """The standard input without Python's buffer, whose lock a reading thread would hold at exit."""
    try:
        return cast("BinaryIO", open(sys.stdin.fileno(), "rb", buffering=0, closefd=False))
    except (OSError, io.UnsupportedOperation):
        return cast("BinaryIO", sys.stdin.buffer)


def read(source: Source, mapper: Mapper | None) -> Generator[list[Read], None, None]:
    """The source's lines in pieces; a piece is handed on as soon as no more bytes are at hand."""
    try:
        if source.format == "jsonl":
            yield from _jsonl(source)
        elif mapper is None:
            raise ConfigError(f"{source.name}: CSV needs --mapping FILE, see 'capi-async send --help'")
        else:
            yield from _csv(source, mapper)
    finally:
        source.close()


def _jsonl(source: Source) -> Iterator[list[Read]]:
    # read1 gives what is there, so that a slow pipe is not waited for; an unbuffered stream's read does so anyway
    more: Callable[[int], bytes] = getattr(source.stream, "read1", source.stream.read)
    number, rest, overlong, broken = 0, b"", False, ""
    block = b"\n"
    while block:
        try:
            block = more(_READ_BYTES)
        except _READ_ERRORS as error:
            block, broken = b"", f"cannot be read any further ({type(error).__name__})"
        # at the end, what is left is a line too; cut off by a reading error, it is none
        lines = (rest + block).split(b"\n") if block else [rest if not broken else b"", b""]
        rest = lines.pop()
        piece: list[Read] = []
        for line in lines:
            number += 1
            if overlong:
                piece.append(Problem(source.name, number, "", f"is longer than {MAX_LINE_BYTES // 1024**2} MB"))
                overlong = False
            elif line.strip():
                piece.append(_event(source.name, number, line.removeprefix(_BOM) if number == 1 else line))
            if len(piece) >= _PIECE_LINES:
                yield piece
                piece = []
        if len(rest) > MAX_LINE_BYTES:
            rest, overlong = b"", True
        if broken:
            piece.append(Problem(source.name, number, "", broken))
        yield piece


def _event(name: str, number: int, line: bytes) -> Read:
    try:
        return Good(name, number, Event.from_json(line))
    except EventError as error:
        return Problem(name, number, error.field, error.reason)


def _csv(source: Source, mapper: Mapper) -> Iterator[list[Read]]:
    # an undecodable byte must cost its own row only: it becomes a surrogate, which the row check finds
    text = io.TextIOWrapper(source.stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(source.name, text, mapper)
    finally:
        text.detach()


def _rows(name: str, text: io.TextIOWrapper, mapper: Mapper) -> Iterator[list[Read]]:
    rows = csv.reader(iter(lambda: text.readline(MAX_LINE_BYTES), ""), delimiter=mapper.delimiter)
    columns: Columns | None = None
    piece: list[Read] = []
    while True:
        # a quoted cell may hold line ends: the row is named by its first line
        number = rows.line_num + 1
        try:
            row = next(rows, None)
            if row is None:
                break
            if columns is None:
                columns = mapper.bind(row, name)
            elif row:
                piece.append(Good(name, number, columns.event(row, number)))
        except EventError as error:
            piece.append(Problem(name, number, error.field, error.reason))
        except csv.Error:
            piece.append(Problem(name, number, "", "is not CSV: a cell is too long, or a quote is out of place"))
        except _READ_ERRORS as error:
            piece.append(Problem(name, number, "", f"cannot be read any further ({type(error).__name__})"))
            break
        if len(piece) >= _PIECE_LINES:
            yield piece
            piece = []
    yield piece
