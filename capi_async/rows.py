"""Events that are mapped together, by columns: a list for each field, which C makes, instead of a look at each event.

What several destinations need of the same events is made once, see :meth:`Rows.held`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import astuple

from capi_async.event import Event, Item
from capi_async.pii.identifiers import Identifiers, Known

T = TypeVar("T")

_FIELD: Final = {name: place for place, name in enumerate(Event.__struct_fields__)}
_ATTRIBUTE: Final = {name: place for place, name in enumerate(Identifiers.__struct_fields__)}


class Rows:
    """Some events in their order.

    Args:
        known: Of the people of these events, and of those that ``mask`` leaves out.
        mask: Of which of them these events are; ``None``: of all.

    Attributes:
        times: When they happened, in seconds since the epoch.
        size: How many they are.
        least: Fewer of them are not worth to be taken together.
        texts: What is said of a field on the wire, by a key, as destinations put it there for one another.
    """

    __slots__ = ("_columns", "_held", "_known", "_mask", "events", "least", "size", "texts", "times")

    def __init__(
        self,
        events: Sequence[Event],
        times: Sequence[float],
        known: Known,
        least: int = 1,
        mask: Sequence[bool] | None = None,
    ) -> None:
        self.events = events
        self.times = times
        self.size = len(events)
        self.least = least
        self._known = known
        self._mask = mask
        self._columns: Sequence[tuple[Any, ...]] | None = None
        self._held: dict[str, Any] = {}
        self.texts: dict[str, Any] = {}

    @property
    def people(self) -> Sequence[Identifiers]:
        """The identifiers of each event."""
        people = self._known.people
        return people if self._mask is None else list(compress(people, self._mask))

    @property
    def odd(self) -> Sequence[int]:
        """Events of whose people more is to be said than columns hold; not asked for where a mask was given."""
        return list(self._known.odd)

    def of(self, field: str) -> tuple[Any, ...]:
        """A field of all events."""
        if self._columns is None:
            self._columns = list(zip(*map(astuple, self.events), strict=True))
        return self._columns[_FIELD[field]]

    def of_people(self, attribute: str) -> Sequence[Any] | None:
        """An attribute of all identifiers; ``None``: nobody has it."""
        column = self._known.columns[_ATTRIBUTE[attribute]]
        if column is None or self._mask is None:
            return column
        return list(compress(column, self._mask))

    def of_items(self, field: str) -> list[Any]:
        """A field of all items of all events, one after the other; there must be one."""
        return list(map(attrgetter(field), self.held("items", self._items)))

    def _items(self) -> Sequence[Item]:
        return [item for items in self.of("items") for item in items]

    @property
    def single(self) -> bool:
        """Whether each event has one item, as nearly all orders do."""
        return self.held("single", lambda: set(map(len, self.of("items"))) == {1})

    def only(self, mask: Sequence[bool]) -> Rows:
        """Those events of all that the mask names."""
        return Rows(list(compress(self.events, mask)), list(compress(self.times, mask)), self._known, self.least, mask)

    def held(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, which is called for the first one who asks for ``key``."""
        held = self._held
        if key not in held:
            held[key] = make()
        found: T = held[key]
        return found


class Together(NamedTuple):
    """What a destination made of :class:`Rows`.

    Attributes:
        bodies: Encoded; ``None`` in the place of an event that has to be mapped by itself.
        head, resend_for_s: Of them all, see :class:`capi_async.spec.Wire`.
        expires_at: Of each, those that have to be mapped by themselves included.
    """

    bodies: Sequence[bytes | None]
    head: bytes
    expires_at: Sequence[float]
    resend_for_s: float
