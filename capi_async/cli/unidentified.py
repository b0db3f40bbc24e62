"""Why events were skipped for want of an identifier although they have one: what ``explain`` knows, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from capi_async.client import Client
from capi_async.engine.explain import Explanation
from capi_async.event import Event

#: Events explained; more would take time and say no more.
_MAX_EVENTS: Final = 200
_MAX_REASONS: Final = 10


class Unidentified:
    """Counts identifiers that could not be read, by field and reason, never by value."""

    def __init__(self) -> None:
        self._left = _MAX_EVENTS
        self._reasons: Counter[tuple[str, str]] = Counter()

    def look(self, client: Client, events: Iterable[Event]) -> None:
        """Explain events, as long as there are not too many."""
        for event in events:
            if self._left <= 0:
                return
            self._left -= 1
            self.add(client.explain(event))

    def add(self, found: Mapping[str, Explanation]) -> None:
        """Count what one event's identifiers were refused for, once for all destinations."""
        self._reasons.update({item for one in found.values() for item in one.refused.items()})

    def lines(self) -> list[str]:
        """What to tell, the most frequent first."""
        more = " or more" if self._left <= 0 else ""
        return [
            f"{field}: {reason} ({count:,} {'event' if count == 1 else 'events'}{more})"
            for (field, reason), count in self._reasons.most_common(_MAX_REASONS)
        ]
