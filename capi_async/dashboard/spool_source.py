"""The figures of a durable spool, seen from a process of its own that delivers nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.dashboard.source import View
from capi_async.errors import SpoolError
from capi_async.spool.base import DeadLetter, LetterFilter, Spool, board_of
from capi_async.spool.letters import forget_letters
from capi_async.watch.history import History
from capi_async.watch.merging import merged
from capi_async.watch.seen import Seen, Told
from capi_async.watch.telling import ask, told

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
        self._board = board_of(reader)

    async def view(self) -> View:
        """See :meth:`~capi_async.dashboard.source.Source.view`."""
        at = self._clock.wall()
        ledger = self._reader.ledger()
        self._history.note(at, ledger)
        found, trouble = await self._told()
        return View(
            at=at,
            where=self._reader.where,
            ledger=ledger,
            rates={name: self._history.rate(name) for name in ledger},
            samples=self._history.coarse(),
            told=found,
            trouble=trouble,
        )

    async def look(self) -> None:
        """Look at the counts, and have the processes tell of themselves; what fails is told when somebody asks."""
        with suppress(SpoolError):
            self._history.note(self._clock.wall(), self._reader.ledger())
            if self._board is not None:
                await ask(self._board)

    async def _told(self) -> tuple[list[Told], str]:
        if self._board is None:
            return [], "This spool has no place where its processes could tell of themselves."
        try:
            await ask(self._board)
            return told(await self._board.notes()), ""
        except SpoolError as error:
            return [], f"The processes cannot be asked: {error}"

    async def find(self, event_or_order_id: str) -> Sequence[Seen]:
        """See :meth:`~capi_async.dashboard.source.Source.find`."""
        found, _ = await self._told()
        return [one for one in merged(found) if event_or_order_id in (one.event_id, one.order_id)]

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
