"""Checks of an event that need to know the client's destinations."""

from __future__ import annotations

from collections.abc import Sequence

from capi_async.errors import EventError
from capi_async.event import Event
from capi_async.pii.reference import is_currency
from capi_async.plain import listed


def check(event: Event, destinations: Sequence[str], *, at: str = "") -> None:
    """Does its currency exist, do the destinations that it names.

    Args:
        destinations: The names that ``to`` may hold, in the order in which messages list them.
        at: The index of the event among several, such as ``[3]``; it begins the path of the field.

    Raises:
        EventError: ``field`` names what is wrong.
    """
    before = f"{at}." if at else ""
    if event.currency is not None and not is_currency(event.currency):
        raise EventError(f"{before}currency", "is no ISO 4217 currency")
    if event.to is not None and (unknown := set(event.to).difference(destinations)):
        raise EventError(
            f"{before}to", f"unknown destination {listed(sorted(unknown))}; there are {listed(destinations)}"
        )
