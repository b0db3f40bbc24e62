"""JSON of many events by columns: the text of each value is made once, and laid out for each destination.

No struct is made of such an event. Its bytes are those that the encoder would write of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import chain, islice, repeat
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from capi_async.destinations.cart import amount_text
from capi_async.event import ClickIds, Event
from capi_async.rows import Rows
from capi_async.spec import ENCODER

#: ``absent``: nobody has it. ``whole``: JSON of each. ``some``: the same, ``None`` for those that have it not.
#: ``alone``: JSON, to be put as the only one of a list. ``quoted``, ``listed``: texts that need no escape, to be put
#: between quotes, or as the only one of a list.
Kind: TypeAlias = Literal["absent", "whole", "some", "alone", "quoted", "listed"]


class Texts(NamedTuple):
    """The values of one field."""

    kind: Kind
    column: Sequence[Any]


ABSENT: Final = Texts("absent", ())

_TEXT: Final = {str}
#: What JSON does not write as it is, of ASCII: control characters, the quote and the backslash.
_ESCAPED: Final = bytes([*range(0x20), *b'"\\'])
_AMOUNT: Final = {Decimal}
_AROUND: Final = {"whole": ("", ""), "alone": ("[", "]"), "quoted": ('"', '"'), "listed": ('["', '"]')}


class View(NamedTuple):
    """Rows as one destination sees them.

    Attributes:
        names: The platform's names of the events.
        events: With such click ids as the platform takes.
        clicks: Those; ``None``: no event has any.
    """

    rows: Rows
    names: Sequence[str]
    events: Sequence[Event]
    clicks: Sequence[ClickIds] | None


def addresses(rows: Rows) -> str:
    """All addresses of pages, one after the other."""
    return rows.held(
        "addresses",
        lambda: "\n".join([url for page in rows.of("page") for url in (page.url, page.referrer) if url]),
    )


def as_json(values: Iterable[Any]) -> list[str]:
    """The JSON of each value; no line break is ever in it."""
    return ENCODER.encode_lines(values).decode().split("\n")[:-1]


def texts_of(values: Sequence[Any]) -> Texts:
    """The texts of values of any kind."""
    if values[0] is None and values.count(None) == len(values):
        return ABSENT
    kinds = set(map(type, values))
    if kinds == _TEXT and _needs_no_escape(values):
        return Texts("quoted", values)
    if kinds == _AMOUNT:
        return Texts("whole", list(map(str, values)))
    texts = as_json(values)
    if NoneType in kinds:
        return Texts("some", [None if value is None else text for value, text in zip(values, texts, strict=True)])
    return Texts("whole", texts)


def _needs_no_escape(texts: Sequence[str]) -> bool:
    """Whether JSON writes them as they are."""
    whole = " ".join(texts)
    return whole.isascii() and len(whole.encode().translate(None, _ESCAPED)) == len(whole)


def repeated_texts_of(values: Sequence[str | None]) -> Texts:
    """The texts of values of which there are few."""
    if None in (different := set(values)):
        return texts_of(values)
    if len(different) == 1:
        return Texts("whole", [_json_of(different.pop())] * len(values))
    texts = {value: _json_of(value) for value in different}
    return Texts("whole", list(map(texts.__getitem__, values)))


@lru_cache(maxsize=1024)
def _json_of(text: str | None) -> str:
    return ENCODER.encode(text).decode()


def of_nothing(values: Sequence[Any]) -> bool:
    """Whether all are ``None``."""
    return values[0] is None and values.count(None) == len(values)


def amounts_as_texts(numbers: Texts, amounts: Sequence[Any]) -> Texts:
    """The texts of amounts that are texts on the wire, and have no exponents there.

    Args:
        numbers: What they are as numbers.
    """
    if numbers.kind == "whole" and "E" not in "".join(numbers.column):
        return Texts("quoted", numbers.column)
    return texts_of([None if amount is None else amount_text(amount) for amount in amounts])


def digests_of(values: Sequence[str | None] | None, *, kind: Literal["quoted", "listed"] = "quoted") -> Texts:
    """The texts of digests, which need no escape."""
    if values is None:
        return ABSENT
    if all(values):
        return Texts(kind, values)
    before, after = _AROUND[kind]
    return Texts("some", [f"{before}{one}{after}" if one else None for one in values]) if any(values) else ABSENT


def lists_of_digests(values: Sequence[Sequence[str] | None] | None) -> Texts:
    """The texts of lists of digests, most of which hold one."""
    if values is None:
        return ABSENT
    # where none is empty and they are as many as all in them together, each holds one
    if all(values) and len(found := list(chain.from_iterable(values))) == len(values):  # type: ignore[arg-type]
        return Texts("listed", found)
    return texts_of(values)


def grouped(rows: Rows, of_items: Iterable[str]) -> Texts:
    """Lists of what is said of items, for each event that has any."""
    following = iter(of_items)
    lists = [f"[{','.join(islice(following, count))}]" if (count := len(items)) else None for items in rows.of("items")]
    return Texts("whole" if all(lists) else "some", lists) if any(lists) else ABSENT


class _Some(NamedTuple):
    """A field that some events have: the place of its texts, what stands before one, and what without one."""

    place: int
    before: str
    nothing: str


class _Within(NamedTuple):
    """An object of which no field is there for every event, and what encloses it."""

    layout: Layout
    before: str
    after: str
    nothing: str


class Layout:
    """What stands around and between the texts of an object's fields, for one combination of their kinds.

    Attributes:
        firm: Its first field is there for every event. Else all that is there has a comma before it.
        empty: There is nothing in it.
    """

    def __init__(self) -> None:
        self.firm = True
        self.empty = True
        self._pieces: list[str | int | _Some | _Within] = []

    def _add(self, *pieces: str | int | _Some | _Within) -> None:
        for piece in pieces:
            if isinstance(piece, str) and self._pieces and isinstance(last := self._pieces[-1], str):
                self._pieces[-1] = last + piece
            else:
                self._pieces.append(piece)
        self.empty = False

    def constant(self, key: str, text: str) -> None:
        """A field that is the same for all events."""
        self._add(f"{self._comma}{key}{text}")

    @property
    def _comma(self) -> str:
        return "" if self.empty else ","

    def field(self, key: str, kind: Kind, place: int, *, required: bool) -> None:
        """A field whose texts are those in that place.

        Args:
            key: With quotes and colon.
            required: It is null where it is not left out.
        """
        if kind == "some":
            self.firm = self.firm and not self.empty
            self._add(_Some(place, f",{key}", f",{key}null" if required else ""))
        elif kind != "absent":
            before, after = _AROUND[kind]
            self._add(f"{self._comma}{key}{before}", place, after)
        elif required:
            self.constant(key, "null")

    def within(self, key: str, inner: Layout, around: tuple[str, str], *, left_out: bool) -> None:
        """A field that holds an object.

        Args:
            around: What encloses it.
            left_out: So is the field, for an event of which it would hold nothing.
        """
        before, after = around
        if inner.empty:
            if not left_out:
                self.constant(key, before + after)
        elif inner.firm:
            self._add(f"{self._comma}{key}{before}", *inner._pieces, after)
        else:
            self.firm = self.firm and not self.empty
            self._add(_Within(inner, f",{key}{before}", after, "" if left_out else f",{key}{before}{after}"))

    def lines(self, texts: Sequence[Texts], size: int) -> list[str]:
        """The object of each event, without what encloses it."""
        columns: list[Iterable[str]] = []
        for piece in self._columns:
            if type(piece) is int:
                columns.append(texts[piece].column)
            elif isinstance(piece, repeat):
                columns.append(piece)
            elif isinstance(piece, _Some):
                _, before, nothing = piece
                columns.append([nothing if one is None else before + one for one in texts[piece.place].column])
            elif isinstance(piece, _Within):
                inner, before, after, nothing = piece
                columns.append([f"{before}{one[1:]}{after}" if one else nothing for one in inner.lines(texts, size)])
        return list(islice(map("".join, zip(*columns, strict=False)), size))

    @cached_property
    def _columns(self) -> list[repeat[str] | int | _Some | _Within]:
        return [repeat(piece) if isinstance(piece, str) else piece for piece in self._pieces if piece != ""]
