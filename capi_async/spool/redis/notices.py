"""Notices from other processes, as they come: entries to claim, recalls, and throttling by a platform."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capi_async.errors import SpoolError
from capi_async.spool.redis.background import log_fault
from capi_async.spool.redis.connection import Connection
from capi_async.spool.redis.own_entries import id_order
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.rates import SharedRates
from capi_async.spool.redis.recalls import Recalls
from capi_async.spool.redis.session import Session

logger = logging.getLogger(__name__)

#: Seconds for which one command waits for notices.
_READ_S: Final = 1.0
#: Seconds before a command that failed is repeated.
_RETRY_S: Final = 0.2


class Notices:
    """Reads the notices of all destinations, and of throttling."""

    def __init__(self, session: Session, queues: Queues, *, recalls: Recalls, rates: SharedRates) -> None:
        self._session = session
        self._queues = queues
        self._recalls = recalls
        self._rates = rates
        #: Stream to the id of the last notice that was read; kept while the task that reads begins again.
        self._read_to: dict[str, str] = {}

    async def subscribe(self, connection: Connection) -> None:
        """Have every notice read from here on, also one that comes before :meth:`run` has started.

        Earlier notices of throttling are skipped, because the account's bucket in Redis says the same. The last notice
        of each destination is read once more, because it is not repeated.
        """
        keys = self._session.keys
        streams = [keys.of(name).notices for name in self._queues.by_name if self._session.delivers]
        last = await connection.command("XREVRANGE", keys.throttling, "+", "-", "COUNT", 1)
        self._read_to = dict.fromkeys(streams, "0") | {keys.throttling: _first_id(last) if last else "0"}

    async def run(self) -> None:
        """Read notices until the spool closes."""
        session = self._session
        connection = session.connection
        by_stream = {session.keys.of(queue.name).notices: queue for queue in self._queues}
        while not session.closing:
            try:
                found = await connection.read_streams(self._read_to, _READ_S)
            except SpoolError as error:
                session.availability.failed(error)
                await asyncio.sleep(_RETRY_S)
                continue
            for stream, entries in found:
                self._read_to[stream] = entries[-1][0]
                notices = [fields for _, fields in entries]
                try:
                    if stream in by_stream:
                        await self._apply(by_stream[stream], notices)
                    else:
                        self._apply_throttling(stream, notices)
                except SpoolError as error:
                    session.availability.failed(error)
                except Exception as error:
                    log_fault(f"something in {stream} cannot be read and is left alone", error)

    def _apply_throttling(self, stream: str, notices: Sequence[Mapping[str, str]]) -> None:
        for fields in notices:
            try:
                self._rates.note_throttling(fields["a"], float(fields["s"]))
            except (KeyError, ValueError):
                logger.error("a notice in %s was not written by this package and is left alone", stream)
        for queue in self._queues:
            self._queues.wake(queue.name)

    async def _apply(self, queue: Queue, notices: Sequence[Mapping[str, str]]) -> None:
        # the stream keeps its last notice only: one of another kind may have replaced that of a new entry
        only_appended = all("i" in fields and "s" not in fields for fields in notices)
        if only_appended and (queue.has_unread or _is_read(queue, notices[-1]["i"])):
            return
        try:
            if any("s" in fields for fields in notices):
                await self._recalls.apply(queue)
        finally:
            queue.has_unread = True
            queue.has_unclaimed = queue.has_unclaimed or not only_appended
            self._queues.wake(queue.name)


def _is_read(queue: Queue, number: str) -> bool:
    try:
        return id_order(number) <= queue.last_read
    except ValueError:
        return False


def _first_id(answer: Any) -> str:
    """The id of the first entry of an answer, in either form that the driver gives."""
    number = answer[0][0]
    return number.decode() if isinstance(number, bytes) else str(number)
