"""Unknown event names that are nearly standard ones: each is logged once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.event import Event
from capi_async.event_names import STANDARD_EVENTS, meant
from capi_async.log import Log
from capi_async.spec import Destination

logger = Log(__name__)

#: Most names that are checked: an application that makes them up from data has been warned by then.
_MAX_NAMES: Final = 2_048
#: Most names that are logged.
_MAX_TOLD: Final = 50


class NameWatch:
    """Logs each name at most once.

    Args:
        destinations: Those that may know a name that is no standard one.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = destinations
        self._seen = set(STANDARD_EVENTS)
        self._told = 0

    def knows(self, event: Event) -> bool:
        """Whether there is nothing to log of the event's name."""
        return event.name in self._seen

    def look(self, events: Sequence[Event]) -> None:
        """Check the names that have not been seen yet; this runs for every batch."""
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
