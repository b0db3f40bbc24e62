"""Checks of an event that need to know the client's destinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.errors import EventError
from capi_async.event import Event
from capi_async.pii.reference import CURRENCIES
from capi_async.plain import listed

#: What may stand in ``currency``.
FINE: Final = frozenset({None, *CURRENCIES})


def doubtful(events: Sequence[object]) -> list[int]:
    """The indices of what is no event, or what :func:`check` has to look at: one look at many, and hardly ever any."""
    return [
        index
        for index, event in enumerate(events)
        if type(event) is not Event or event.to is not None or event.currency not in FINE
    ]


def check(event: Event, destinations: Sequence[str], *, at: str = "") -> None:
    """Does its currency exist, do the destinations that it names.

    Args:
        destinations: The names that ``to`` may hold, in the order in which messages list them.
        at: The index of the event among several, such as ``[3]``; it begins the path of the field.

    Raises:
        EventError: ``field`` names what is wrong.
    """
    before = f"{at}." if at else ""
    if event.currency not in FINE:
        raise EventError(f"{before}currency", "is no ISO 4217 currency")
    if event.to is not None and (unknown := set(event.to).difference(destinations)):
        raise EventError(
            f"{before}to", f"unknown destination {listed(sorted(unknown))}; there are {listed(destinations)}"
        )
