"""Events out of files and streams, piece by piece, with a problem instead of an event where a line is bad."""

from __future__ import annotations

import asyncio
import gzip
import io
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeAlias, TypeVar, cast

from msgspec import Struct

from capi_async.cli.csv_input import read_csv
from capi_async.cli.json_input import read_json
from capi_async.cli.lines import Good, Note, Problem, Read
from capi_async.cli.mapping import Mapper
from capi_async.errors import ConfigError

__all__ = ["Format", "Good", "Note", "Problem", "Read", "Source", "open_source", "pumped", "read"]

T = TypeVar("T")

Format: TypeAlias = Literal["jsonl", "csv"]

#: Pieces read ahead.
_AHEAD: Final = 2


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


def read(source: Source, mapper: Mapper | None, *, group_by: str = "") -> Generator[list[Read], None, None]:
    """The source's events in pieces; a piece is handed on as soon as no more bytes are at hand.

    Args:
        group_by: Field of a CSV whose equal values in neighbouring rows make one event with several items.

    Raises:
        ConfigError: The file as a whole cannot be read: another encoding, JSON that is cut off, a column that is
            missing.
    """
    try:
        if source.format == "jsonl":
            yield from read_json(source.name, source.stream)
        elif mapper is None:
            raise ConfigError(
                f"{source.name}: CSV needs --mapping FILE; 'capi-async mapping {source.name}' writes a first one"
            )
        else:
            yield from read_csv(source.name, source.stream, mapper, group_by)
    finally:
        source.close()


async def pumped(pieces: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """The same pieces, read by a thread a little ahead of their use.

    The thread is a daemon: one that waits for a terminal or a pipe must not hold up the end of the program.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    over = threading.Event()

    def hand(piece: T | BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, piece)
        except RuntimeError:  # the loop has been closed: nobody waits any more
            over.set()

    def work() -> None:
        try:
            with closing(pieces):
                for piece in pieces:
                    room.acquire()
                    if over.is_set():
                        return
                    hand(piece)
            hand(None)
        except BaseException as error:
            hand(error)

    threading.Thread(target=work, name="capi_async-read", daemon=True).start()
    try:
        while True:
            piece = await queue.get()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            room.release()
    finally:
        over.set()
        room.release()
