"""Group commit: what comes while one transaction runs goes into the next, together."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Busy, Record, Refused
from capi_async.spool.sqlite.group import Change, Chunk, Group
from capi_async.spool.sqlite.room import NoRoom
from capi_async.spool.sqlite.store import Store
from capi_async.thread import OwnedThread

logger = logging.getLogger(__name__)

#: Seconds that a transaction may wait for its turn among processes before those who wait are told no, unless they
#: said how long.
PATIENCE_S: Final = 5.0

#: Seconds between two looks at who of those behind a transaction that waits does not want to wait any longer.
_LOOK_S: Final = 0.1

#: Seconds between two attempts to write outcomes that could not be written.
RETRY_S: Final = 0.25

#: Seconds that a caller who was cancelled waits for the transaction that his records are in: "no" is not said of them.
UNDER_WAY_S: Final = 2.0

_LOCKED: Final = "the spool file is locked by another process; nothing was stored"

_CLOSED: Final = "the spool is closed; nothing was stored"
_CUT_OFF: Final = "the spool was closed while this was being written; it may have been stored"

_Told = tuple[Sequence[Record], Outcome]


class _Append:
    """Records that somebody waits to have accepted; ``given_up``: who waited for them was cancelled."""

    __slots__ = ("chunks", "future", "given_up", "refused", "until")

    def __init__(
        self, chunks: list[Chunk], refused: Sequence[Refused], future: asyncio.Future[None], until: float
    ) -> None:
        self.chunks = chunks
        self.refused = refused
        self.future = future
        self.until = until
        self.given_up = False


class Committer:
    """Collects what is to be written, and writes it in transactions, one after the other.

    What cannot be accepted is refused at once; outcomes that cannot be written are kept and tried again.

    Args:
        stored: Called with new chunks once they are in the file.
        finished: Called with changed chunks once the change is in the file.
        lost: Called with changes that are not, because another process has taken the chunks over.
    """

    def __init__(
        self,
        store: Store,
        thread: OwnedThread,
        *,
        stored: Callable[[Sequence[Chunk]], None],
        finished: Callable[[Sequence[Change]], None],
        lost: Callable[[Sequence[Change]], None],
    ) -> None:
        self._store = store
        self._thread = thread
        self._stored = stored
        self._finished = finished
        self._lost = lost
        #: What the transaction that is under way changes.
        self.under_way: Sequence[Change] = ()
        self._appends: list[_Append] = []
        self._dirty: dict[int, Chunk] = {}
        self._told: list[_Told] = []
        self._patient: list[asyncio.Future[None]] = []
        self._strict: list[asyncio.Future[None]] = []
        self._sync = False
        self._running = False
        self._failing = False
        self._closing = False
        self._work = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            self._keep(), name="capi_async-sqlite", context=contextvars.Context()
        )

    async def append(self, chunks: list[Chunk], refused: Sequence[Refused], timeout_s: float | None) -> None:
        """Return once these are in the file.

        If the caller is cancelled: what nobody has begun to write is dropped; what is being written is waited for,
        for ``UNDER_WAY_S`` at most.

        Raises:
            Busy: Others had it to themselves for so long.
            SpoolError: They are not, or nobody can tell; see its ``stored``.
        """
        if self._closing:
            raise SpoolError(_CLOSED, stored=False)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until = time.monotonic() + (PATIENCE_S if timeout_s is None else timeout_s)
        append = _Append(chunks, refused, future, until)
        self._appends.append(append)
        self._work.set()
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await self._give_up(append)
            raise

    async def _give_up(self, append: _Append) -> None:
        append.given_up = True
        if append in self._appends:
            self._appends.remove(append)
            self._refuse([append], SpoolError(_CLOSED, stored=False))
            return
        with anyio.CancelScope(shield=True):
            await asyncio.wait([append.future], timeout=UNDER_WAY_S)

    def touch(self, chunk: Chunk) -> None:
        """Something happened to a chunk: it is written with the next transaction, or a later one."""
        self._dirty[chunk.id] = chunk
        self._work.set()

    async def settled(self, told: Sequence[_Told]) -> None:
        """Return once the outcomes of touched chunks are in the file, however often that has to be tried."""
        self._told += told
        await self._wait(self._patient)

    async def marked(self, *, sync: bool) -> None:
        """Return once what happened to touched chunks is in the file; with ``sync`` on the disk.

        Raises:
            SpoolError: It is not.
        """
        self._sync = self._sync or sync
        if self._dirty or self._running:
            await self._wait(self._strict)

    async def close(self, timeout_s: float) -> None:
        """Write what is left, for so long; then stop."""
        cut_off = self._task.done()
        self._closing = True
        self._work.set()
        await asyncio.wait([self._task], timeout=timeout_s)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)
        if cut_off:
            logger.warning(
                "spool: %s: the event loop ended before aclose(); what was accepted stays in the spool file, and is "
                "delivered at the next start: use 'async with', or await aclose()",
                self._store.path,
            )
        lost = sum(sum(chunk.counts.values()) for chunk in self._dirty.values())
        if lost:
            logger.error(
                "spool: %s: the outcomes of %d events could not be stored; these events may be sent again: see to the "
                "file, its volume and its permissions",
                self._store.path, lost, extra={"events": lost},
            )  # fmt: skip
        self._refuse(self._appends, SpoolError(_CLOSED, stored=False))
        self._fail(self._strict, SpoolError(_CLOSED, stored=False))
        for future in self._patient:
            future.cancel()

    async def _wait(self, line: list[asyncio.Future[None]]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(future)
        self._work.set()
        await future

    async def _keep(self) -> None:
        """Write until closed; whoever waits here must not wait for a task that has ended."""
        while True:
            try:
                await self._run()
            except Exception:  # not logged: it may be the application's log handler that raised
                self._failing = True
            else:
                return

    async def _run(self) -> None:
        while True:
            if not (self._appends or self._dirty or self._strict or self._patient):
                if self._closing:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            if self._failing:
                if self._closing and not self._appends:
                    return
                self._failing = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await asyncio.Event().wait()
                # on their own: an append that does not fit must not keep outcomes from being written
                if self._dirty and self._appends:
                    await self._write([])
            appends, self._appends = self._appends, []
            if not await self._write(appends) and (self._dirty or self._strict or self._patient):
                await self._write([])

    async def _write(self, appends: list[_Append]) -> bool:
        """Write these and what happened to chunks; False if there was no room for these, and nothing was written."""
        group = Group()
        for append in appends:
            _add(group, append)
        group.changes = [Change.of(chunk) for chunk in self._dirty.values()]
        self._dirty = {}
        group.sync = bool(appends) or self._sync or any(change.letters for change in group.changes)
        told, self._told = self._told, []
        patient, self._patient = self._patient, []
        strict, self._strict = self._strict, []
        self._sync = False
        self._running = True
        self.under_way = group.changes
        try:
            await self._commit(group, appends)
        except BaseException as error:
            failure = self._failure(group, error)
            no_room = isinstance(error, NoRoom)
            for change in group.changes:
                chunk = change.undo()
                self._dirty[chunk.id] = chunk
            self._told = told + self._told
            self._patient = patient + self._patient
            # whoever may wait longer for others does, before all that came later
            now = time.monotonic()
            waiting = [one for one in appends if isinstance(error, Busy) and one.until > now and not one.given_up]
            self._appends = waiting + self._appends
            self._refuse([one for one in appends if one not in waiting], failure)
            if no_room:
                # what became of older events fits, and is written at once
                self._strict = strict + self._strict
                self._sync = self._sync or group.sync
            else:
                self._fail(strict, failure)
                self._failing = True
            if not isinstance(error, Exception):
                raise
            if no_room:
                return False
            # of our own errors the text is known, of others the type tells enough
            said = str(error) if isinstance(error, SpoolError) else type(error).__name__
            logger.error(
                "spool: %s cannot be written (%s); see to the file, its volume and its permissions",
                self._store.path, said, extra={"error": said},
            )  # fmt: skip
            return True
        finally:
            self._running = False
            self.under_way = ()
        for change in group.changes:
            if not change.left or change in group.lost:
                # its row is gone: a touch that came while it was being deleted would find another process's doing
                self._dirty.pop(change.chunk.id, None)
        if group.lost:
            self._finished([change for change in group.changes if change not in group.lost])
            self._lost(group.lost)
        else:
            self._finished(group.changes)
        self._stored(group.appended)
        for append in appends:
            for one in append.refused:
                if one.receipt is not None:
                    one.receipt.settle(one.destination, one.outcome)
        for records, outcome in told:
            for record in records:
                if record.receipt is not None:
                    record.receipt.settle(record.destination, outcome)
        for future in (*(append.future for append in appends), *patient, *strict):
            if not future.done():
                future.set_result(None)
        return True

    def _failure(self, group: Group, error: BaseException) -> SpoolError:
        """What those hear whose records were in a transaction that did not come about."""
        if isinstance(error, SpoolError):
            return error
        if isinstance(error, asyncio.CancelledError):
            return SpoolError(_CLOSED, stored=False) if group.call_off() else SpoolError(_CUT_OFF, stored=None)
        return SpoolError("storage failed", stored=None)

    async def _commit(self, group: Group, appends: Sequence[_Append]) -> None:
        until = min([append.until for append in appends], default=time.monotonic() + PATIENCE_S)
        job = self._thread.submit(self._store.commit, group)
        while True:
            done, _ = await asyncio.wait([job], timeout=max(0.0, min(_LOOK_S, until - time.monotonic())))
            if done:
                return await job
            now = time.monotonic()
            late = [append for append in self._appends if append.until <= now]
            self._appends = [append for append in self._appends if append.until > now]
            self._refuse(late, Busy(_LOCKED))
            unwanted = bool(appends) and all(append.given_up for append in appends)
            if (now >= until or unwanted) and group.call_off():
                job.add_done_callback(_seen)
                raise Busy(_LOCKED)
            if now >= until or unwanted:
                return await job  # it is being written

    def _refuse(self, appends: Sequence[_Append], error: SpoolError) -> None:
        if error.stored is False:  # else the thread may be reading them
            for append in appends:
                for chunk in append.chunks:
                    chunk.drop()
        self._fail([append.future for append in appends], error)

    def _fail(self, futures: Sequence[asyncio.Future[None]], error: SpoolError) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # mark as seen: who waited may be gone


def _add(group: Group, append: _Append) -> None:
    counts = group.counts
    group.appended += append.chunks
    for chunk in append.chunks:
        counts[chunk.destination, "accepted"] += chunk.left
    for one in append.refused:
        counts[one.destination, "accepted"] += 1
        counts[one.destination, one.outcome.kind] += 1


def _seen(job: asyncio.Future[None]) -> None:
    if not job.cancelled():
        job.exception()
