"""What one process holds of the streams: entries that it reads or takes over, and those that it releases."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.cipher import UnknownKey
from capi_async.errors import SpoolError
from capi_async.spool.base import Record
from capi_async.spool.chunks import DamagedChunk
from capi_async.spool.redis.background import log_fault
from capi_async.spool.redis.connection import Connection, GroupMissing
from capi_async.spool.redis.lua import LIST_CLAIMS, READ_CLAIMED, RELEASE_ENTRIES, REMOVE_CONSUMER, TAKE_OVER_ENTRIES
from capi_async.spool.redis.own_entries import id_order
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.recalls import Recalls
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import Entry, fields_of, restore
from capi_async.spool.redis.write_back import WriteBack, log_lost
from capi_async.spool.sealing import REPEATED, why_refused

logger = logging.getLogger(__name__)

#: Most entries that are read, or taken over, with one command.
_MAX_READ: Final = 64
#: Ids of entries that Redis lists at a time.
_LIST_PAGE: Final = 1_000
#: Most entries that are released with one script.
_MAX_RELEASE: Final = 500
#: The consumer name that holds released entries. It is stored, and no process has it.
UNCLAIMED: Final = "nobody"


class Claims:
    """Reads entries, takes them over, releases them, and compares with Redis which ones this process holds."""

    def __init__(self, session: Session, queues: Queues, write_back: WriteBack, recalls: Recalls) -> None:
        self._session = session
        self._queues = queues
        self._write_back = write_back
        self._recalls = recalls

    async def fetch(self, queue: Queue, wanted: int) -> bool:
        """Claim entries that no process holds, those of expired consumers first; return False if that has to wait.

        Args:
            wanted: How many records the caller can use.
        """
        session = self._session
        connection = session.ready_connection
        if connection is None:
            return False
        taken_over = False
        try:
            async with queue.transfer_lock:
                if queue.unverified:
                    await self.verify(connection, queue)
                elif queue.has_unclaimed:
                    queue.has_unclaimed = False
                    number = await self.take_over(connection, queue)
                    queue.has_unclaimed = queue.has_unclaimed or number == _MAX_READ
                    taken_over = number > 0
                else:
                    await self.read(connection, queue, wanted)
            if taken_over:
                await self._recalls.apply(queue)
        except GroupMissing:
            try:
                await session.recreate_groups()
            except SpoolError as error:
                session.availability.failed(error)
                return False
        except SpoolError as error:
            session.availability.failed(error)
            return False
        except Exception as error:  # data in Redis that no release wrote: it must not end the requests under way
            log_fault(f"{queue.name}: reading events fails and is tried again", error)
            session.availability.pause()
            return False
        session.availability.answered()
        return True

    async def read(self, connection: Connection, queue: Queue, wanted: int) -> int:
        """Read entries that no consumer has read; return how many.

        Args:
            wanted: How many records the caller can use.
        """
        number = max(1, min(_MAX_READ, round(wanted / queue.records_per_entry)))
        stream, consumer = self._session.keys.of(queue.name).stream, self._session.consumer
        # an entry that is appended from here on sets it again
        queue.has_unread = False
        try:
            with queue.transfer():
                found = await connection.command(
                    "XREADGROUP", "GROUP", "w", consumer, "COUNT", number, "STREAMS", stream, ">"
                )
        except BaseException:
            # Redis may have given entries out in an answer that was lost
            queue.has_unread = queue.unverified = True
            raise
        rows = _rows(found)
        records = 0
        for raw, fields in rows:
            records += self._add(queue, raw.decode(), fields_of(fields), epoch=1)
        if rows:
            queue.records_per_entry = max(1.0, 0.5 * queue.records_per_entry + 0.5 * records / len(rows))
            queue.last_read = max(queue.last_read, id_order(rows[-1][0].decode()))
            queue.own.discard_older(queue.last_read)
        queue.has_unread = queue.has_unread or len(rows) == number
        return len(rows)

    async def take_over(self, connection: Connection, queue: Queue, *, searched: str = "") -> int:
        """Take over entries of expired consumers; return how many.

        Args:
            searched: The name of entries that an erasure has searched, which are left out; see
                :data:`~capi_async.spool.redis.lua.TAKE_OVER_ENTRIES`.
        """
        session, keys = self._session, self._session.keys.of(queue.name)
        try:
            with queue.transfer():
                found = await connection.script(
                    TAKE_OVER_ENTRIES,
                    [keys.stream, session.keys.consumers, keys.states],
                    [session.consumer, session.availability.lease_ms(), _MAX_READ, searched],
                )
        except BaseException:
            queue.has_unclaimed = queue.unverified = True
            raise
        self._add_all(queue, found)
        return len(found)

    async def verify(self, connection: Connection, queue: Queue) -> None:
        """Hold exactly what Redis says that this process holds; called with the queue's transfer lock.

        A lost answer leaves entries with this process of which it does not know. And entries that another process took
        over, or that a Redis without its last second of data gave out again, are not this process's any more.
        """
        queue.unverified = False
        queue.verified_at = self._session.clock.monotonic()
        queue.written = set(queue.writing)
        try:
            claimed = await self._list(connection, queue)
            gone = [
                entry
                for entry in list(queue.entries.values())
                if entry.id not in claimed and entry.id not in queue.written
            ]
            unknown = [
                number
                for number in claimed
                if not (number in queue.entries or number in queue.written or number in queue.unreadable)
            ]
            queue.unreadable &= claimed
            if gone:
                queue.lose(gone)
                log_lost(queue, len(gone))
            keys = self._session.keys.of(queue.name)
            while unknown:
                page, unknown = unknown[:_MAX_READ], unknown[_MAX_READ:]
                found = await connection.script(
                    READ_CLAIMED, [keys.stream, keys.states], [self._session.consumer, *page]
                )
                self._add_all(queue, [one for one in found if one[0].decode() not in queue.entries])
        except BaseException:
            queue.unverified = True
            raise
        finally:
            queue.written = None

    async def release(
        self, connection: Connection, queue: Queue, entries: Sequence[Entry], *, to: str = UNCLAIMED
    ) -> None:
        """Release entries; from here on nothing in this process deals with them.

        Args:
            to: The name that holds them from now on.
        """
        numbers = [entry.id for entry in entries if not entry.lost]
        if entries:
            queue.release(entries)
        await self._release(connection, queue, numbers, to)

    async def release_all(self, queue: Queue) -> None:
        """Release everything: a process that does not deliver holds nothing, also nothing of which it does not know."""
        if queue.entries:
            await self._write_back.flush(queue)
        connection = self._session.connection
        async with queue.transfer_lock:
            unwritten = queue.dirty.keys() | queue.writing
            idle = [entry for number, entry in queue.entries.items() if number not in unwritten]
            await self.release(connection, queue, idle)
            queue.unreadable.clear()
            if queue.unverified:
                queue.unverified = False
                try:
                    claimed = await self._list(connection, queue)
                    unknown = [number for number in claimed if number not in queue.entries]
                    await self._release(connection, queue, unknown, UNCLAIMED)
                except BaseException:
                    queue.unverified = True
                    raise

    async def leave(self, connection: Connection, queue: Queue) -> None:
        """Release everything and leave the consumer group: the process closes the spool."""
        async with queue.transfer_lock:
            await self.release(connection, queue, list(queue.entries.values()))
        stream = self._session.keys.of(queue.name).stream
        await connection.script(REMOVE_CONSUMER, [stream], [self._session.consumer])

    async def _release(self, connection: Connection, queue: Queue, numbers: Sequence[str], to: str) -> None:
        keys, consumer = self._session.keys.of(queue.name), self._session.consumer
        try:
            with queue.transfer():
                for start in range(0, len(numbers), _MAX_RELEASE):
                    page = numbers[start : start + _MAX_RELEASE]
                    await connection.script(RELEASE_ENTRIES, [keys.stream, keys.notices], [consumer, to, *page])
        except BaseException:
            queue.unverified = True
            raise

    async def _list(self, connection: Connection, queue: Queue) -> set[str]:
        """Ids of the entries that this process holds, as Redis says."""
        found: set[str] = set()
        start = "-"
        stream = self._session.keys.of(queue.name).stream
        while True:
            page = await connection.script(LIST_CLAIMS, [stream], [self._session.consumer, start, _LIST_PAGE])
            numbers = [number.decode() for number in page]
            found.update(numbers)
            if len(numbers) < _LIST_PAGE:
                return found
            start = "(" + numbers[-1]

    def _add_all(self, queue: Queue, found: Sequence[Sequence[Any]]) -> None:
        for raw, fields, epoch, state, version, tried_at in found:
            self._add(
                queue, raw.decode(), fields_of(fields), epoch=int(epoch), state=state, version=_whole_number(version),
                tried_at=_number(tried_at),
            )  # fmt: skip

    def _add(self, queue: Queue, number: str, fields: Mapping[bytes, bytes], *, epoch: int, **stored: Any) -> int:
        """Hold an entry; return how many unsettled records it has.

        Args:
            stored: Its state, version and time of an attempt, as for :func:`restore`.
        """
        session = self._session
        outdated = queue.entries.get(number)
        if outdated is not None:  # others took it over in between, or Redis lost its last second of data
            queue.lose([outdated])
        token = fields.get(b"u", b"").decode("utf-8", "replace")
        known = queue.own.pop(token, number)
        own = known if known and isinstance(known[0], Record) else None
        try:
            entry = restore(queue.name, number, fields, session.sealing.open, epoch=epoch, own=own, **stored)
        except UnknownKey as error:
            logger.error("%s: stored events stay in Redis and are not sent: %s", queue.name, why_refused(error))
            queue.unreadable.add(number)  # this process holds it until it ends; one that has the key reads it then
            return 0
        except Exception as error:  # whatever is stored there, no release wrote it
            has_text = isinstance(error, DamagedChunk) or type(error) is ValueError
            self._quarantine(queue, number, fields, epoch, str(error) if has_text else type(error).__name__)
            return 0
        if session.sealing.is_repeated(token, number):
            self._quarantine(queue, number, fields, entry.epoch, REPEATED, counted=False)
            return 0
        if token:
            session.sealing.note(token, number)
        if known and own is None:
            for record in entry.records:
                if record is not None and record.at < len(known):
                    record.receipt = known[record.at]
        queue.add(entry, wall=session.clock.wall(), monotonic=session.clock.monotonic())
        if not entry.left:
            queue.dirty[number] = entry
            queue.write_requested.set()
        return entry.left

    def _quarantine(
        self, queue: Queue, number: str, fields: Mapping[bytes, bytes], epoch: int, why: str, *, counted: bool = True
    ) -> None:
        """Remove an entry that cannot be sent; its events count as dead, if the ledger counts them at all."""
        size, records = _whole_number(fields.get(b"b")), _whole_number(fields.get(b"n"))
        logger.error(
            "%s: %d stored events of entry %s cannot be sent: %s%s",
            queue.name, records, number, why, "; they count as dead" if counted else "",
        )  # fmt: skip
        key = fields.get(b"k", b"").decode("ascii", "ignore") if counted else ""
        entry = Entry(queue.name, number, [], epoch=epoch, key=key)
        if counted:
            entry.counts, entry.freed = {"dead": records} if records else {}, size
        queue.entries[number] = entry
        queue.dirty[number] = entry
        queue.write_requested.set()


def _rows(answer: Any) -> Any:
    """The entries of one stream, in any form that the driver gives."""
    pairs = list(answer.items()) if isinstance(answer, dict) else answer or []
    rows = pairs[0][1] if pairs else []
    if rows and isinstance(rows[0], list) and rows[0] and isinstance(rows[0][0], list | tuple):
        return rows[0]
    return rows


def _whole_number(value: Any) -> int:
    """A number that we wrote, or 0 if something else is stored there."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0


def _number(value: Any) -> float:
    """As :func:`_whole_number`, of a decimal."""
    try:
        return float(value or 0.0)
    except ValueError:
        return 0.0
