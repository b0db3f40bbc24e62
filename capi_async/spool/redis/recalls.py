"""Recalls: requests to end records that another process holds, and the answers, both through Redis.

A recall names an entry and the indexes of records in it; nothing in it says whose they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis.keys import DestinationKeys
from capi_async.spool.redis.lua import ANSWER_RECALL, READ_CLAIMED_BY_OTHERS, REQUEST_RECALLS
from capi_async.spool.redis.queue import Queue, Queues
from capi_async.spool.redis.session import Session
from capi_async.spool.redis.stream_entry import fields_of, pack, restore
from capi_async.spool.redis.write_back import WriteBack

logger = logging.getLogger(__name__)

#: Seconds for which holders can answer.
ANSWER_S: Final = 2.0
#: Seconds between two checks for answers.
_POLL_S: Final = 0.02
#: Entries of others that are read at a time.
_PAGE: Final = 64

_recall = msgspec.msgpack.Decoder(tuple[list[int], Outcome])


class Recalls:
    """Has records ended by the processes that hold them, and ends those that others ask this process for."""

    def __init__(self, session: Session, queues: Queues, write_back: WriteBack) -> None:
        self._session = session
        self._queues = queues
        self._write_back = write_back

    async def request(
        self, queue: Queue, own_names: tuple[str, str], matches: Callable[[Record], bool], outcome: Outcome
    ) -> int:
        """Have what matches ended by the processes that hold it; return how many records they ended in time.

        Args:
            own_names: Consumer names of this process, whose entries are left out.
        """
        keys = self._session.keys.of(queue.name)
        wanted: dict[str, bytes] = {}
        start = "-"
        while True:
            last, found = await self._session.call(
                READ_CLAIMED_BY_OTHERS, [keys.stream, keys.states], [start, _PAGE, *own_names]
            )
            for number, fields, state in found:
                try:
                    entry = restore(
                        queue.name, number.decode(), fields_of(fields), self._session.sealing.open, state=state
                    )
                except Exception:  # noqa: S112 - whatever is stored there: its holder reports it
                    continue
                hits = [record.at for record in entry.unsettled() if matches(record)]
                if hits:
                    wanted[entry.id] = pack((hits, outcome))
                entry.clear()
            if not last:
                break
            start = "(" + last.decode()
        if not wanted:
            return 0
        await self._session.call(
            REQUEST_RECALLS, [keys.recalls, keys.notices], [part for pair in wanted.items() for part in pair]
        )
        return await self._answers(keys, list(wanted))

    async def _answers(self, keys: DestinationKeys, numbers: list[str]) -> int:
        """Wait for the answers about these entries; return how many records were ended."""
        ended = 0
        try:
            async with asyncio.timeout(ANSWER_S):
                while numbers:
                    answers = await self._session.command("HMGET", keys.recall_answers, *numbers)
                    answered = [number for number, one in zip(numbers, answers, strict=True) if one is not None]
                    ended += sum(int(answer) for answer in answers if answer is not None)
                    if answered:
                        await self._session.command("HDEL", keys.recall_answers, *answered)
                        numbers = [number for number in numbers if number not in answered]
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass  # the recalls stay in Redis: a process that takes the entries over applies them
        return ended

    async def apply(self, queue: Queue) -> None:
        """End what others have recalled of what this process holds; what is under way ends when it is handed back."""
        wanted = await self._requested(queue)
        if not wanted:
            return
        # records that a worker holds back and has not sent are released by this
        await self._queues.recall()
        ended: dict[str, list[tuple[Record, Outcome]]] = {}
        for number, (indexes, outcome) in wanted.items():
            entry = queue.entries.get(number)
            if entry is None:
                continue
            records = [record for record in entry.records if record is not None and record.at in indexes]
            ended[number] = self._write_back.end_or_recall(queue, entry, records, outcome)
        queue.drop_settled()
        await self._write_back.flush(queue)
        keys = self._session.keys.of(queue.name)
        for number, ends in ended.items():
            self._queues.report(queue, ends)
            await self._session.call(ANSWER_RECALL, [keys.recalls, keys.recall_answers], [number, len(ends)])

    async def _requested(self, queue: Queue) -> dict[str, tuple[list[int], Outcome]]:
        """Recalls of entries that this process holds: entry to indexes of records, and the outcome that they get.

        One that cannot be decoded is left where it is: a later release may have written it. It stops no other.
        """
        key = self._session.keys.of(queue.name).recalls
        found = await self._session.command("HGETALL", key)
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        wanted: dict[str, tuple[list[int], Outcome]] = {}
        for raw, data in pairs:
            number = raw.decode("utf-8", "replace")
            if number in queue.entries:
                try:
                    wanted[number] = _recall.decode(data)
                except msgspec.MsgspecError:
                    logger.error("a request to erase in %s cannot be read and is left alone; repeat it", key)
        return wanted
