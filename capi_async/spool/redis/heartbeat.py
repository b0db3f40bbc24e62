"""The heartbeat: says that this process lives, and reads the counts and what there is to claim."""

from __future__ import annotations

import asyncio
from typing import Final

from capi_async.errors import SpoolError
from capi_async.spool.redis.availability import MAX_RETRY_S
from capi_async.spool.redis.claims import Claims
from capi_async.spool.redis.connection import Connection, GroupMissing
from capi_async.spool.redis.lua import HEARTBEAT
from capi_async.spool.redis.queue import Queues
from capi_async.spool.redis.session import Session

#: Most seconds between two heartbeats: a change of which no notice came is found that soon.
_PERIOD_S: Final = 0.8


class Heartbeat:
    """Sends the heartbeat of this process.

    Attributes:
        workers: Processes that deliver from this spool.
    """

    def __init__(self, session: Session, queues: Queues, claims: Claims) -> None:
        self._session = session
        self._queues = queues
        self._claims = claims
        self.workers = 1

    async def refresh(self) -> None:
        """Send a heartbeat now, and read the counts, if the spool is open."""
        if self._session.is_open:
            await self.beat(self._session.connection)

    async def beat(self, connection: Connection, *, last: bool = False) -> None:
        """Send a heartbeat, and read the counts and what there is to claim.

        Args:
            last: Only read: this process has left.
        """
        session = self._session
        keys = [session.keys.consumers]
        for name in self._queues.by_name:
            of = session.keys.of(name)
            keys += [of.stream, of.ledger]
        before = {queue.name: queue.transfers for queue in self._queues}
        workers, found = await connection.script(
            HEARTBEAT, keys, ["" if last else session.consumer, session.availability.lease_ms()]
        )
        session.availability.answered()
        self.workers = int(workers)
        now = session.clock.monotonic()
        for queue, (unclaimed, unread, claimed, ledger, first) in zip(self._queues, found, strict=True):
            queue.update_counts(ledger)
            # an entry's id begins with the milliseconds at which it was added
            queue.first_at = int(first.partition(b"-")[0]) / 1000 if first else None
            known = len(queue.entries) + len(queue.unreadable)
            steady = queue.transfers == before[queue.name] and not queue.transfers_running
            if steady and claimed == known == 0:
                queue.verified_at = now
            elif (steady and claimed != known) or now - queue.verified_at > session.options.lease_s:
                queue.unverified = True
            queue.has_unclaimed = queue.has_unclaimed or unclaimed > 0
            queue.has_unread = queue.has_unread or unread > 0
            if session.delivers and (queue.has_unclaimed or queue.has_unread or queue.unverified):
                self._queues.wake(queue.name)

    async def run(self) -> None:
        """Send heartbeats until the spool closes."""
        session, options = self._session, self._session.options
        while not session.closing:
            connection = session.connection
            try:
                # a connection on which no answer comes back must not cost the lease of all that is held
                async with asyncio.timeout(max(MAX_RETRY_S, options.lease_s / 3)):
                    await self.beat(connection)
                if not session.delivers:
                    async with asyncio.timeout(options.patience_s):
                        await self._release_leftovers()
            except GroupMissing:
                try:
                    await session.recreate_groups()
                except SpoolError as error:
                    session.availability.failed(error)
            except SpoolError as error:
                session.availability.failed(error)
            except TimeoutError:
                session.availability.failed(SpoolError(f"Redis at {options.place} does not answer"))
            await asyncio.sleep(min(_PERIOD_S, options.lease_s / 5))

    async def _release_leftovers(self) -> None:
        """Release what a failed search left with this process, which does not deliver."""
        for queue in self._queues:
            if not queue.erasures and (queue.entries or queue.unverified):
                await self._claims.release_all(queue)
