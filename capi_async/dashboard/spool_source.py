"""The figures of a durable spool, seen from a process of its own that delivers nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.dashboard.source import View
from capi_async.errors import SpoolError
from capi_async.spool.base import DeadLetter, LetterFilter, Spool
from capi_async.spool.letters import forget_letters
from capi_async.watch.history import History
from capi_async.watch.seen import Seen

#: Dead letters that are made pending again at a time: other processes want to write, too.
_A_STEP = 500


class SpoolSource:
    """See :class:`~capi_async.dashboard.source.Source`.

    Args:
        reader: Asked for counts and dead letters.
        changing: Opens the spool for a change; a file that is only looked into stays untouched.
    """

    def __init__(
        self, reader: Spool, changing: Callable[[], AbstractAsyncContextManager[Spool]], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._reader = reader
        self._changing = changing
        self._clock = clock
        self._history = History()

    async def view(self) -> View:
        """See :meth:`~capi_async.dashboard.source.Source.view`."""
        at = self._clock.wall()
        ledger = self._reader.ledger()
        self._history.note(at, ledger)
        return View(
            at=at,
            where=self._reader.where,
            ledger=ledger,
            rates={name: self._history.rate(name) for name in ledger},
            samples=self._history.coarse(),
            told=[],
        )

    def sample(self) -> None:
        """Look at the counts, so that there is something to compare the next ones with; what fails is not told."""
        try:
            self._history.note(self._clock.wall(), self._reader.ledger())
        except SpoolError:
            return

    async def find(self, event_or_order_id: str) -> Sequence[Seen]:
        """See :meth:`~capi_async.dashboard.source.Source.find`."""
        return []

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.dashboard.source.Source.letters`."""
        return await self._reader.letters(wanted)

    async def replay(self, wanted: LetterFilter) -> int:
        """See :meth:`~capi_async.dashboard.source.Source.replay`."""
        async with self._changing() as spool:
            return sum((await spool.replay(wanted)).values())

    async def forget(self, wanted: LetterFilter) -> int:
        """See :meth:`~capi_async.dashboard.source.Source.forget`."""
        async with self._changing() as spool:
            return sum((await forget_letters(spool, wanted)).values())
