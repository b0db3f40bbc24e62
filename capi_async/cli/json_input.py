"""Events out of JSON: one a line, an array of them, or objects over several lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import msgspec

from capi_async.cli.encodings import BOM, require_utf8
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
from capi_async.errors import ConfigError, EventError
from capi_async.event import Event

#: Bytes asked for at once.
_READ_BYTES: Final = 256 * 1024
#: A document that is not one event a line has to be held whole.
_MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024
_ADVICE: Final = "write one event a line, for example with: jq -c '.[]'"
#: What may stand between the objects of a document.
_BETWEEN: Final = b" \t\r\n,"


def read_json(name: str, stream: BinaryIO) -> Iterator[list[Read]]:
    """Events in pieces. What begins with ``[``, or with an object over several lines, is read whole or refused whole.

    Raises:
        ConfigError: The text is not UTF-8, or a document is cut off, malformed or too large; nothing of it was read.
    """
    # read1 gives what is there, so that a slow pipe is not waited for; an unbuffered stream's read does so anyway
    more: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    start, ended = b"", False
    while not ended and _form(start) == "unknown" and len(start) <= MAX_LINE_BYTES:
        try:
            block = more(_READ_BYTES)
        except READ_ERRORS:
            # the same error comes again where the rest is read
            break
        ended = not block
        start += block
        require_utf8(start[:8], name)
    while start.startswith(BOM):
        start = start.removeprefix(BOM)
    if ended and not start.strip():
        yield [Note(name, 1, BLANK if start else NOTHING)]
    elif _form(start) == "document":
        yield from _document(name, start, more)
    else:
        yield from _lines(name, start, more)


def _form(start: bytes) -> str:
    """``lines`` or ``document``, as far as the first bytes tell; ``unknown`` if more of them are needed."""
    start = start.removeprefix(BOM).lstrip()
    if start.startswith(b"["):
        return "document"
    first, line_end, rest = start.partition(b"\n")
    if not line_end:
        return "unknown"
    if not first.startswith(b"{"):
        return "lines"
    try:
        msgspec.json.decode(first.rstrip().rstrip(b","), type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        if "truncated" not in str(error):
            return "lines"
    else:
        return "lines"
    # an object that goes on in the next line, or a line that was cut off
    rest = rest.lstrip()
    if not rest:
        return "unknown"
    return "lines" if rest.startswith(b"{") else "document"


def _lines(name: str, start: bytes, more: Callable[[int], bytes]) -> Iterator[list[Read]]:
    number, rest, block, overlong, broken = 0, b"", start, False, ""
    while True:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        piece: list[Read] = []
        for line in lines:
            number += 1
            if overlong:
                piece.append(_overlong(name, number))
                overlong = False
            elif line.strip():
                piece.append(_event(name, number, line))
            if len(piece) >= PIECE_LINES:
                yield piece
                piece = []
        if len(rest) > MAX_LINE_BYTES:
            rest, overlong = b"", True
        yield piece
        try:
            block = more(_READ_BYTES)
        except READ_ERRORS as error:
            broken = f"cannot be read any further ({type(error).__name__})"
            break
        if not block:
            break
    number += 1
    # what is left at the end is a line too; cut off by a reading error, it is none
    if broken:
        yield [Problem(name, number, "", broken)]
    elif overlong:
        yield [_overlong(name, number)]
    elif rest.strip():
        yield [_event(name, number, rest)]


def _overlong(name: str, number: int) -> Problem:
    return Problem(name, number, "", TOO_LONG)


def _event(name: str, number: int, line: bytes) -> Read:
    # an array's elements, cut out of it with their commas
    line = line.rstrip()
    try:
        return Good(name, number, Event.from_json(line[:-1] if line.endswith(b"},") else line))
    except EventError as error:
        return Problem(name, number, error.field, error.reason)


def _document(name: str, start: bytes, more: Callable[[int], bytes]) -> Iterator[list[Read]]:
    """An array, or objects over several lines: read to its end before the first event is handed on."""
    data = bytearray(start)
    try:
        while block := more(_READ_BYTES):
            data += block
            if len(data) > _MAX_DOCUMENT_BYTES:
                raise ConfigError(
                    f"{name}: is one JSON document of more than {_MAX_DOCUMENT_BYTES // 1024**2} MB; {_ADVICE}"
                )
    except READ_ERRORS as error:
        raise ConfigError(
            f"{name}: cannot be read to its end ({type(error).__name__}); nothing of it was read"
        ) from None
    text = bytes(data)
    piece: list[Read] = []
    objects = _objects(name, text)
    if not objects:
        yield [Note(name, 1, "its array is empty")]
    line, counted = 1, 0
    for at, one in objects:
        line += text.count(b"\n", counted, at)
        counted = at
        piece.append(_event(name, line, one))
        if len(piece) >= PIECE_LINES:
            yield piece
            piece = []
    yield piece


def _objects(name: str, text: bytes) -> list[tuple[int, bytes]]:
    """Every object of the document and where it begins."""
    try:
        if text.lstrip().startswith(b"["):
            parts = [bytes(part) for part in msgspec.json.decode(text, type=list[msgspec.Raw])]
        else:
            parts = _several(text.decode("utf-8"))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else _position(text, error)
        raise ConfigError(f"{name}: is not JSON: {reason}; nothing of it was read; {_ADVICE}") from None
    found: list[tuple[int, bytes]] = []
    at = 0
    for part in parts:
        at = text.index(part, at)
        found.append((at, part))
        at += len(part)
    return found


def _several(text: str) -> list[bytes]:
    """Objects one after another, with or without commas between them."""
    decoder = json.JSONDecoder()
    parts: list[bytes] = []
    between = _BETWEEN.decode()
    at = 0
    while at < len(text):
        if text[at] in between:
            at += 1
            continue
        _, end = decoder.raw_decode(text, at)
        parts.append(text[at:end].encode())
        at = end
    return parts


def _position(text: bytes, error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()} (line {error.lineno})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text (line {text.count(bytes([10]), 0, error.start) + 1})"
    # the library's text gives a byte position and no content
    return str(error)
