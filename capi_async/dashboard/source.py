"""Where the page's figures come from, and what it may have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from capi_async.spool.base import DeadLetter, Ledger, LetterFilter
from capi_async.watch.history import Rate, Sample
from capi_async.watch.seen import Seen, Told

#: Dead letters that are looked at for one page: however many there are, it stays quick.
LETTERS: Final = 5_000


class View(Struct, frozen=True, kw_only=True):
    """All that the overview shows.

    Attributes:
        at: Seconds since the epoch.
        where: For people: where accepted events wait.
        ledger: By destination, those that nobody configures any more included.
        rates: By destination.
        samples: Ledgers of the past, oldest first.
        told: By the processes that tell about themselves.
        trouble: Why something of this cannot be shown; empty if all can.
    """

    at: float
    where: str
    ledger: Mapping[str, Ledger]
    rates: Mapping[str, Rate]
    samples: Sequence[Sample]
    told: Sequence[Told]
    trouble: str = ""

    def names(self) -> list[str]:
        """All destinations, sorted."""
        return sorted(set(self.ledger) | {name for one in self.told for name in one.snapshot.destinations})


class Source(Protocol):
    """One client, or one durable spool. Every call is bounded, whatever waits there."""

    async def view(self) -> View:
        """Everything at this moment.

        Raises:
            CapiError: It cannot be told.
        """
        ...

    async def find(self, event_or_order_id: str) -> Sequence[Seen]:
        """Recent events of this id, the newest first."""
        ...

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """Dead letters.

        Raises:
            CapiError: They cannot be read.
        """
        ...

    async def replay(self, wanted: LetterFilter) -> int:
        """Make dead letters pending again; how many.

        Raises:
            CapiError: It failed.
        """
        ...

    async def forget(self, wanted: LetterFilter) -> int:
        """Erase dead letters; how many.

        Raises:
            CapiError: It failed.
        """
        ...


def known_kind(kind: str | None) -> Literal["dead", "uncertain"] | None:
    """A kind of dead letters, as the client's own methods take it."""
    return "dead" if kind == "dead" else "uncertain" if kind == "uncertain" else None
