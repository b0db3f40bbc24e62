"""The figures of a client in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from capi_async.client import Client
from capi_async.dashboard.source import View, known_kind
from capi_async.spool.base import DeadLetter, LetterFilter
from capi_async.sync import SyncClient
from capi_async.telemetry.snapshot import Snapshot
from capi_async.watch.history import History
from capi_async.watch.seen import Seen, Told
from capi_async.watch.telling import process_name


class ClientSource:
    """See :class:`~capi_async.dashboard.source.Source`. The client keeps recent events from now on."""

    def __init__(self, client: Client | SyncClient, events: int) -> None:
        self._client = client
        self._history = History()
        client.watch(events)

    async def view(self) -> View:
        """See :meth:`~capi_async.dashboard.source.Source.view`."""
        client = self._client
        snapshot = client.snapshot()
        ledger = client.ledger()
        self._history.note(snapshot.at, ledger)
        told = Told(
            process=process_name(),
            snapshot=snapshot,
            events=client.recent(),
            missed=client.unwatched,
        )
        return View(
            at=snapshot.at,
            where=snapshot.where,
            ledger=ledger,
            rates={name: self._history.rate(name) for name in ledger},
            samples=self._history.coarse(),
            told=[told],
            trouble=snapshot.storage_error or _away(snapshot),
        )

    async def find(self, event_or_order_id: str) -> Sequence[Seen]:
        """See :meth:`~capi_async.dashboard.source.Source.find`."""
        return self._client.recent(event_or_order_id)

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """See :meth:`~capi_async.dashboard.source.Source.letters`."""
        found: Sequence[DeadLetter] = await self._ask(self._client.dead_letters, wanted)
        return found

    async def replay(self, wanted: LetterFilter) -> int:
        """See :meth:`~capi_async.dashboard.source.Source.replay`."""
        replay = partial(
            self._client.replay,
            destination=wanted.destination,
            kind=known_kind(wanted.kind),
            reason=wanted.reason,
            event_id=wanted.event_id,
            whole_reason=wanted.whole_reason,
        )
        return sum((await self._ask(replay)).values())

    async def forget(self, wanted: LetterFilter) -> int:
        """See :meth:`~capi_async.dashboard.source.Source.forget`."""
        return sum((await self._ask(self._client.forget_dead_letters, wanted)).values())

    async def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What a method of the client gives: one that blocks is called in a thread."""
        if isinstance(self._client, SyncClient):
            return await asyncio.to_thread(method, *arguments)
        return await method(*arguments)


def _away(snapshot: Snapshot) -> str:
    """That nothing is stored, if that is so."""
    if not snapshot.storage_away_s:
        return ""
    return (
        f"Storage has been out of reach, full or locked for {snapshot.storage_away_s:.0f} s: new events are refused. "
        "To do: see the log for the reason, and to Redis or the disk."
    )
