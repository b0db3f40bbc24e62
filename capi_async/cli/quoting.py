"""CSV rows out of text, strictly: a stray quote costs its own row, and the rows after it are read."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

#: Delimiters looked for where the mapping names none, the usual one first.
DELIMITERS: Final = (",", ";", "\t", "|")
_STRAY: Final = "is not CSV: a quote is out of place (inside a quoted cell it is written twice)"
_LONG_CELL: Final = (
    f"has a cell of more than {csv.field_size_limit():,} characters, which no field of an event takes; if it is not "
    "meant to be so long, look for a quote that is out of place"
)
_SWALLOWED: Final = "is not CSV: a quoted cell runs on into the next rows; look for a quote that is out of place"
_OPEN: Final = "is not CSV: a quote is opened and never closed"


class Row(NamedTuple):
    """One row, named by the number of its first line; ``fault`` says what is wrong where there are no cells."""

    line: int
    cells: Sequence[str]
    fault: str = ""


class LongLine(csv.Error):
    """A line is longer than any that is read; the rest of it has been passed over."""


class _Lines:
    """The lines of a file, counted, which can be taken back to the second line of the row just read.

    A line that is too long is kept as its error, to be raised whenever it is read.
    """

    def __init__(self, read_line: Callable[[], str]) -> None:
        self._read_line = read_line
        self._again: deque[str | LongLine] = deque()
        self._taken: list[str | LongLine] = []
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self._again.popleft() if self._again else self._read()
        if not text:
            raise StopIteration
        self._taken.append(text)
        self.line += 1
        if isinstance(text, LongLine):
            raise text
        return text

    def _read(self) -> str | LongLine:
        try:
            return self._read_line()
        except LongLine as error:
            return error

    def begin(self) -> int:
        """A row begins here; returns the number of its first line."""
        self._taken.clear()
        return self.line + 1

    def take_back(self) -> None:
        """Keep the row's first line; the others are read anew."""
        self._again.extendleft(reversed(self._taken[1:]))
        self.line -= len(self._taken) - 1
        del self._taken[1:]

    def second(self) -> str:
        """The second line of the row; empty if it has only one."""
        second = self._taken[1] if len(self._taken) > 1 else ""
        return "" if isinstance(second, LongLine) else second


def rows(read_line: Callable[[], str], delimiter: str) -> Iterator[Row]:
    """All rows of a file, the first being its header.

    A row whose quotes are wrong has a ``fault``; reading goes on at the line after its first.

    Args:
        read_line: Gives the next line with its end, an empty text at the end of the file; raises :class:`LongLine`.
    """
    lines = _Lines(read_line)
    width = 0
    while True:
        # a reader that has raised is in the middle of a row; a new one begins at the next line
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            while True:
                line = lines.begin()
                cells = next(reader)
                if width and _swallows(cells, lines.second(), width, delimiter):
                    yield Row(line, (), _SWALLOWED)
                    lines.take_back()
                    break
                width = width or len(cells)
                yield Row(line, cells)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, (), _fault(error))
            lines.take_back()


def _fault(error: csv.Error) -> str:
    if isinstance(error, LongLine):
        return str(error)
    if "field limit" in str(error):
        return _LONG_CELL
    return _OPEN if "unexpected end" in str(error) else _STRAY


def _swallows(cells: Sequence[str], second: str, width: int, delimiter: str) -> bool:
    """Whether a cell over several lines holds what look like whole rows, the next of which can stand by itself.

    Two stray quotes can make a well-formed cell of the end of one row and the beginning of another.
    """
    if not second or width < 2:
        return False
    if not any(cell.count(delimiter) >= max(1, cell.count("\n")) * (width - 1) for cell in cells if "\n" in cell):
        return False
    try:
        alone = next(csv.reader([second], delimiter=delimiter), [])
    except csv.Error:
        return False
    return len(alone) == width
