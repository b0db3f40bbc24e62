"""Events that go by an unknown name which is nearly a standard one: said once, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.event import Event
from capi_async.event_names import STANDARD_EVENTS, meant
from capi_async.log import Log
from capi_async.spec import Destination

logger = Log(__name__)

#: Names that are looked into; whoever makes them up from a page's data is told enough by then.
_MAX_NAMES: Final = 2_048
#: Names that are told.
_MAX_TOLD: Final = 50


class NameWatch:
    """Tells of each name at most once, in a log line.

    Args:
        destinations: Those that may know a name that is no standard one.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = destinations
        self._seen = set(STANDARD_EVENTS)
        self._told = 0

    def knows(self, event: Event) -> bool:
        """Whether there is nothing to tell of the event's name."""
        return event.name in self._seen

    def look(self, events: Sequence[Event]) -> None:
        """Look at the names that have not been seen yet; this runs for every batch."""
        seen = self._seen
        new = {event.name for event in events} - seen
        if not new or self._told >= _MAX_TOLD or len(seen) + len(new) > _MAX_NAMES:
            return
        seen |= new
        for event in {event.name: event for event in events if event.name in new}.values():
            self._tell(event)

    def _tell(self, event: Event) -> None:
        standard = meant(event.name)
        if standard is None or self._told >= _MAX_TOLD:
            return
        where = [made.name for made in self._destinations if not (made.knows(event) or made.is_own(event))]
        if not where:
            return
        self._told += 1
        logger.warning(
            "event name %r is no standard name, and %s would send it as a custom event or skip it; "
            "if %r is meant, write that, else name it in event_names",
            event.name,
            ", ".join(where),
            standard,
            extra={"event_name": event.name, "meant": standard},
        )
