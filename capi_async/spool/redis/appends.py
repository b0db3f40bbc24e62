"""Appends records to their streams, all or none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.spool.base import Record, Refused
from capi_async.spool.redis.connection import Unreachable
from capi_async.spool.redis.lua import APPEND_ENTRIES
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import NewEntry, group, pack, pack_fields

#: Seconds that are added to the caller's timeout if replicas are asked for, so that Redis can say how many have it.
_REPLICAS_S: Final = 0.5

_Made = Mapping[str, list[NewEntry]]
_Counts = Mapping[str, Counter[str]]


class Appends:
    """Appends records, one script after the other: their numbers must reach Redis in order."""

    def __init__(self, session: Session, queues: Queues) -> None:
        self._session = session
        self._queues = queues
        self._lock = asyncio.Lock()

    def reset(self) -> None:
        """Begin again, possibly on another event loop."""
        self._lock = asyncio.Lock()

    async def append(self, records: Sequence[Record], refused: Sequence[Refused], timeout_s: float | None) -> None:
        """See :meth:`~capi_async.spool.base.Spool.append`."""
        session = self._session
        # a process that delivers recognises its entries by their tokens, and a seal binds to them
        made = group(records, session.new_token, all_tokens=session.delivers or session.sealing.encrypts)
        counts = _count(made, refused)
        if not counts:
            return
        queues = {name: self._queues[name] for name in counts}
        keys, arguments = self._request(made, counts)
        if session.delivers:
            for name, entries in made.items():
                for new in entries:
                    queues[name].own.add(new.token, new.records)
        try:
            answers = await self._store(keys, arguments, session.options.patience_s if timeout_s is None else timeout_s)
        except BaseException:
            for name, entries in made.items():
                for new in entries:
                    queues[name].own.discard(new.token)
            raise
        for queue, (ids, ledger) in zip(queues.values(), answers, strict=True):
            queue.update_counts(ledger)
            self._appended(queue, made.get(queue.name, ()), ids)
        for one in refused:
            if one.receipt is not None:
                one.receipt.settle(one.destination, one.outcome)

    def _request(self, made: _Made, counts: _Counts) -> tuple[list[str], list[Any]]:
        """Keys and arguments of the script, without the number of the append."""
        own = self._session.keys
        keys = [own.append_number(self._session.consumer), own.destinations]
        plan: list[Any] = []
        bodies: list[str | bytes] = []
        for name, changes in counts.items():
            of = own.of(name)
            keys += [of.stream, of.notices, of.ledger, of.blocked, of.order_keys]
            beside_data: list[Any] = []
            for new in made.get(name, ()):
                fields = new.fields(self._session.sealing.seal)
                beside_data.append(new.key or fields[2:])
                bodies.append(pack_fields(fields) if new.key else fields[1])
            plan.append([name, changes, beside_data])
        return keys, [pack(plan), *bodies]

    async def _store(self, keys: Sequence[str], arguments: Sequence[Any], patience_s: float) -> Any:
        session = self._session
        replicas = session.options.replicas
        started = False
        try:
            async with asyncio.timeout(patience_s + (_REPLICAS_S if replicas else 0.0)), self._lock:
                started = True
                return await session.call(
                    APPEND_ENTRIES, keys, [session.next_number(), *arguments], patience_s=patience_s, replicas=replicas
                )
        except TimeoutError:
            raise Unreachable(
                f"Redis at {session.options.place} did not answer within {patience_s:g} s",
                stored=None if started else False,
            ) from None

    def _appended(self, queue: Queue, entries: Sequence[NewEntry], ids: Sequence[bytes]) -> None:
        for new, number in zip(entries, ids, strict=True):
            if number:
                queue.own.set_id(new.token, number.decode())
        if entries and self._session.delivers:
            queue.has_unread = True
            self._queues.wake(queue.name)


def _count(made: _Made, refused: Sequence[Refused]) -> dict[str, Counter[str]]:
    """How the ledger of each destination changes."""
    counts: dict[str, Counter[str]] = {}
    for name, entries in made.items():
        number = sum([len(new.records) for new in entries])
        counts[name] = Counter(accepted=number, pending=number, bytes=sum([new.size for new in entries]))
    for one in refused:
        of = counts.setdefault(one.destination, Counter())
        of["accepted"] += 1
        of[one.outcome.kind] += 1
    return counts
