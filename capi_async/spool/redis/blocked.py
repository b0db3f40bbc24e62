"""Records in Redis that wait for an older record of their order key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis.lua import END_BLOCKED
from capi_async.spool.redis.queue import Queue
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import Entry, pack, restore, unpack_fields
from capi_async.spool.waiting import SETTLED

#: Records that are read at a time.
_PAGE: Final = 64
#: Bytes in front of an entry's fields: its order key's digest and its age.
_SORT_BYTES: Final = 32


class BlockedRecords:
    """Reads blocked records, and ends them where they are."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, queue: Queue) -> AsyncIterator[tuple[bytes, Entry]]:
        """All of a destination, each as the member of the sorted set and as an entry of one record."""
        key = self._session.keys.of(queue.name).blocked
        start = 0
        while members := await self._session.command("ZRANGE", key, start, start + _PAGE - 1):
            for member in members:
                try:
                    fields = unpack_fields(member[_SORT_BYTES:])
                    token = fields[b"u"].decode()
                    own = queue.own.records(token)
                    entry = restore(queue.name, token, fields, self._session.sealing.open, own=own)
                except Exception:  # noqa: S112 - whatever is stored there: the process that claims it reports it
                    continue
                yield member, entry
            start += len(members)

    async def end(
        self, queue: Queue, chosen: Sequence[tuple[bytes, Entry]], outcome: Outcome
    ) -> list[tuple[Record, Outcome]]:
        """End those that are still blocked; return them."""
        if not chosen:
            return []
        keys = self._session.keys.of(queue.name)
        arguments: list[bytes] = []
        for member, entry in chosen:
            arguments += [member, pack({outcome.kind: 1, "pending": -1, "bytes": -entry.size})]
        removed, ledger = await self._session.call(
            END_BLOCKED, [keys.ledger, keys.blocked, self._session.new_result_key()], arguments
        )
        queue.update_counts(ledger)
        ends: list[tuple[Record, Outcome]] = []
        for was_there, (_, entry) in zip(removed, chosen, strict=True):
            if was_there:
                record = entry.unsettled()[0]
                queue.own.pop(entry.id, "")
                record.epoch = SETTLED
                ends.append((record, outcome))
                if record.receipt is not None:
                    record.receipt.settle(queue.name, outcome)
            entry.clear()
        return ends
