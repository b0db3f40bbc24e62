"""Ends records in memory, and writes what happened to them back to Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from msgspec import Struct

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import KEPT, Record, cut_short
from capi_async.spool.redis.availability import BACKOFF, MAX_RETRY_S
from capi_async.spool.redis.background import log_fault
from capi_async.spool.redis.connection import CommandRefused, GroupMissing, Unreachable
from capi_async.spool.redis.lua import STORE_CHANGES
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import Entry, NewEntry, pack_change
from capi_async.spool.waiting import SETTLED

logger = logging.getLogger(__name__)

#: Most entries written with one script: Redis does nothing else meanwhile.
_MAX_ENTRIES: Final = 64


class _Change(Struct, gc=False):
    """What is to be written of one entry.

    Attributes:
        outcomes: How many of its records end with it.
        new: The entry that its other records move to.
    """

    entry: Entry
    packed: bytes
    outcomes: int
    new: NewEntry | None


class WriteBack:
    """Ends records of entries that this process holds, and writes these entries back."""

    def __init__(self, session: Session, queues: Queues) -> None:
        self._session = session
        self._queues = queues

    def end(self, queue: Queue, records: Sequence[Record], outcome: Outcome) -> None:
        """Settle these records in memory; they are written to Redis in the background."""
        kind = outcome.kind
        kept = kind in KEPT
        entry: Any = None
        counts: dict[str, int] = {}
        for record in records:
            if record.chunk is not entry:
                entry = record.chunk
                queue.dirty[entry.id] = entry
                counts = entry.counts
            record.epoch = SETTLED
            size = len(record.body)
            entry.left -= 1
            entry.size -= size
            entry.freed += size
            counts[kind] = counts.get(kind, 0) + 1
            if kept and not (queue.recalled and id(record) in queue.recalled):
                entry.dead_letters.append((record, outcome))
            if queue.recalled:
                queue.recalled.pop(id(record), None)
        queue.held -= len(records)
        queue.unreported.append((records, outcome))
        queue.write_requested.set()

    def end_recalled(self, queue: Queue, records: Sequence[Record]) -> bool:
        """End those of these leased records that were recalled; return whether there were any."""
        now = self._session.clock.wall()
        recalled = [pair for record in records if (pair := queue.recalled.pop(id(record), None)) is not None]
        for record, outcome in recalled:
            if record.epoch > 0:
                end = cut_short(record, outcome, now)
                self.end(queue, [record], end)
                self._queues.report(queue, [(record, end)])
        return bool(recalled)

    def end_or_recall(
        self, queue: Queue, entry: Entry, records: Sequence[Record], outcome: Outcome
    ) -> list[tuple[Record, Outcome]]:
        """End these records of an entry, and erase their bodies; those that are leased are recalled.

        Returns those that ended, and with what.
        """
        if not records:
            return []
        ends: list[tuple[Record, Outcome]] = []
        now = self._session.clock.wall()
        entry.erases = True
        queue.dirty[entry.id] = entry
        for record in records:
            if record.epoch > 0:
                queue.recalled[id(record)] = (record, outcome)
            elif record.epoch == 0:
                end = cut_short(record, outcome, now)
                self.end(queue, [record], end)
                ends.append((record, end))
        return ends

    async def flush(self, queue: Queue) -> None:
        """Return once all that happened to entries so far is in Redis, however often that has to be repeated.

        Raises:
            SpoolError: Something that happened cannot be written.
        """
        if not self._session.is_open:
            raise SpoolError("the spool is not open")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.flush_waiters.append(future)
        queue.write_requested.set()
        await future

    async def flush_dirty(self, queue: Queue) -> None:
        """As :meth:`flush`, if there is anything to write."""
        if queue.dirty or queue.writing:
            await self.flush(queue)

    async def run(self, queue: Queue) -> None:
        """Write a queue's entries as they change, one script after the other, so that none overtakes another."""
        while True:
            if queue.dirty or queue.flush_waiters:
                await self.write_some(queue, self._session.consumer)
            elif self._session.closing:
                return
            else:
                queue.write_requested.clear()
                await queue.write_requested.wait()

    async def write_some(self, queue: Queue, consumer: str) -> None:
        """Write entries that have changed, up to as many as one script takes."""
        entries = list(queue.dirty.values())[:_MAX_ENTRIES]
        unreported: list[tuple[Sequence[Record], Outcome]] = []
        waiters: list[asyncio.Future[None]] = []
        if len(entries) == len(queue.dirty):  # else these wait for entries that are written later
            unreported, queue.unreported = queue.unreported, []
            waiters, queue.flush_waiters = queue.flush_waiters, []
        try:
            changes, unwritten = self._pack(queue, entries)
            queue.writing = {change.entry.id for change in changes}
            if queue.written is not None:
                queue.written |= queue.writing
            lost: set[str] = set()
            if changes:
                queue.writing_outcomes = sum(change.outcomes for change in changes)
                with queue.transfer():
                    lost, refused = await self._write(queue, consumer, changes)
                queue.writing_outcomes = 0
                unwritten += refused
            self._finish(queue, entries, lost, {entry.id for entry in unwritten}, unreported)
        except Exception as error:
            for future in waiters:
                if not future.done():
                    future.set_exception(SpoolError(f"an outcome could not be stored ({type(error).__name__})"))
                    future.exception()  # retrieved: the waiter may have been cancelled
            raise
        finally:
            queue.writing = set()
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _pack(self, queue: Queue, entries: Sequence[Entry]) -> tuple[list[_Change], list[Entry]]:
        """Pack what is to be written; also return the entries for which that fails."""
        now = self._session.clock.wall()
        changes: list[_Change] = []
        failed: list[Entry] = []
        moved = 0
        for entry in entries:
            queue.dirty.pop(entry.id, None)
            outcomes = sum(entry.counts.values())
            try:
                packed, new = pack_change(entry, self._session.sealing.seal, now, self._session.new_token)
            except Exception as error:  # a fault of ours, which must not keep others from being written
                log_fault(f"{queue.name}: what happened to {len(entry.records)} events is not stored", error)
                failed.append(entry)
                continue
            changes.append(_Change(entry, packed, outcomes, new))
            if new is not None:
                # the new entry may be read before the answer that holds its id is here
                queue.own.add(new.token, new.records)
                moved += len(new.records)
        if moved:
            queue.drop_settled()
            queue.held -= moved
        return changes, failed

    async def _write(self, queue: Queue, consumer: str, changes: Sequence[_Change]) -> tuple[set[str], list[Entry]]:
        """Write these changes, however often that has to be repeated.

        Returns the ids of entries that other processes hold, and the entries that Redis refuses to change.
        """
        parts = [list(changes)]
        lost: set[str] = set()
        refused: list[tuple[_Change, SpoolError]] = []
        any_written = False
        failures = 0
        while parts or refused:
            if not parts:
                wait_s = BACKOFF.interval_s(failures + 1)
                only_refused = all(isinstance(error, CommandRefused) for _, error in refused)
                if any_written or (wait_s == MAX_RETRY_S and only_refused):
                    break
                # the cause concerns all of them: try them again together
                self._session.availability.failed(refused[0][1])
                failures += 1
                await asyncio.sleep(wait_s)
                parts, refused = [[change for change, _ in refused]], []
            part = parts.pop()
            try:
                lost |= await self._write_part(queue, consumer, part)
                any_written = True
            except SpoolError as error:
                if len(part) == 1:
                    refused.append((part[0], error))
                else:
                    middle = len(part) // 2
                    parts += [part[:middle], part[middle:]]
        for change, why in refused:
            logger.error("%s: %d outcomes cannot be stored and are left alone: %s", queue.name, change.outcomes, why)
        return lost, [change.entry for change, _ in refused]

    async def _write_part(self, queue: Queue, consumer: str, changes: Sequence[_Change]) -> set[str]:
        """Write these changes with one script; return the ids of entries that other processes hold."""
        session = self._session
        own, of = session.keys, session.keys.of(queue.name)
        keys = [of.stream, of.notices, of.ledger, of.states, of.blocked, of.order_keys]
        keys += [own.dead_letters, own.dead_letter_data, own.last_change(consumer, queue.name)]
        arguments: list[str | int | bytes] = [consumer, session.next_number(), *(change.packed for change in changes)]
        failures = 0
        while True:
            try:
                # by its number, Redis carries this out once, however often it is sent
                lost, unblocked, ledger, moved = await session.connection.script(STORE_CHANGES, keys, arguments)
            except GroupMissing:
                await session.recreate_groups()
            except Unreachable as error:
                session.availability.failed(error)
                failures += 1
                await asyncio.sleep(BACKOFF.interval_s(failures))
            else:
                break
        session.availability.answered()
        queue.update_counts(ledger)
        tokens = {change.entry.id: change.new.token for change in changes if change.new is not None}
        for old, new in zip(moved[::2], moved[1::2], strict=True):
            queue.own.set_id(tokens[old.decode()], new.decode())
        if (unblocked or moved) and not queue.has_unread:
            queue.has_unread = True
            self._queues.wake(queue.name)
        return {number.decode() for number in lost}

    def _finish(
        self,
        queue: Queue,
        entries: Sequence[Entry],
        lost: Collection[str],
        unwritten: Collection[str],
        unreported: Sequence[tuple[Sequence[Record], Outcome]],
    ) -> None:
        """Settle the receipts of what was written, and drop entries that are finished, lost or cannot be written."""
        failed = {*lost, *unwritten}
        for records, outcome in unreported:
            for record in records:
                if record.receipt is not None and not (failed and record.chunk.id in failed):
                    record.receipt.settle(record.destination, outcome)
        log_lost(queue, len(lost))
        lost_entries = [entry for entry in entries if entry.id in lost]
        if lost_entries:
            queue.lose(lost_entries)
        for entry in entries:
            if entry.id in unwritten:
                # this process leaves it alone; the next one finds it as it was last stored
                queue.unreadable.add(entry.id)
                queue.release([entry])
            elif entry.id not in lost and not entry.left:
                queue.remove(entry)


def log_lost(queue: Queue, entries: int) -> None:
    """Warn that other processes have taken over so many entries."""
    if entries:
        logger.warning(
            "%s: a lease was taken over by another process (%d entries): this one sent no heartbeat for longer than "
            "lease_s; a longer lease_s, or a faster host, helps",
            queue.name,
            entries,
        )
