"""Group commit: what is to be written while one transaction runs goes into the next one, together."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from msgspec import Struct

from capi_async.errors import SpoolError
from capi_async.outcome import Outcome
from capi_async.spool.base import Busy, Record, Refused
from capi_async.spool.chunks import encode_runs, encode_state
from capi_async.spool.sqlite.rows import Chunk
from capi_async.spool.sqlite.space import NoSpace
from capi_async.thread import OwnedThread, kind_of

logger = logging.getLogger(__name__)

#: Seconds that a transaction may wait for other processes before its callers are refused, unless they said how long.
PATIENCE_S: Final = 5.0

#: Seconds after which a write that failed says nothing any more of whether the next one would.
_TRIED_S: Final = 300.0

#: Seconds between two checks which callers have waited long enough for a transaction that is not being written.
_CHECK_S: Final = 0.1

#: Seconds between two attempts to write outcomes that could not be written.
RETRY_S: Final = 0.25

#: Seconds that a cancelled caller waits for the transaction that its records are in, so as not to say "not stored" of
#: records that are.
UNDER_WAY_S: Final = 2.0

_LOCKED: Final = "the spool file is locked by another process; nothing was stored"

_CLOSED: Final = "the spool is closed; nothing was stored"
_CUT_OFF: Final = "the spool was closed while this was being written; it may have been stored"


class Change(Struct, gc=False, eq=False):
    """What to write about one chunk: all that happened to it since the last commit."""

    chunk: Chunk
    left: int
    size: int
    tried: bytes | None
    state: bytes | None
    counts: dict[str, int]
    freed: int
    dead_letters: list[tuple[Record, Outcome]]
    erases: bool

    @classmethod
    def of(cls, chunk: Chunk) -> Change:
        """Take what happened out of the chunk; :meth:`undo` puts it back."""
        change = cls(
            chunk,
            chunk.left,
            chunk.size,
            encode_runs(chunk.tried) if chunk.left and chunk.tried_changed else None,
            encode_state(chunk.state()) if chunk.left and chunk.touched else None,
            chunk.counts,
            chunk.freed,
            chunk.dead_letters,
            chunk.erases,
        )
        chunk.counts, chunk.freed, chunk.dead_letters, chunk.erases = {}, 0, [], False
        chunk.touched = chunk.tried_changed = False
        return change

    def undo(self) -> Chunk:
        """It was not written: the chunk is to be written again."""
        chunk = self.chunk
        for kind, number in self.counts.items():
            chunk.counts[kind] = chunk.counts.get(kind, 0) + number
        chunk.freed += self.freed
        chunk.dead_letters = self.dead_letters + chunk.dead_letters
        chunk.erases = chunk.erases or self.erases
        chunk.touched = chunk.tried_changed = True
        return chunk


class Transaction:
    """What one transaction writes.

    Attributes:
        appended: New chunks.
        changes: What changed in chunks that are stored.
        counts: (destination, kind) to events accepted, and refused before they were stored.
        sync: It must be on the disk before its callers get their answers.
        lost: Changes that were not written, because another process holds the chunk now.
    """

    def __init__(self) -> None:
        self.appended: list[Chunk] = []
        self.changes: list[Change] = []
        self.counts: dict[tuple[str, str], int] = {}
        self.sync = False
        self.lost: list[Change] = []
        self._guard = threading.Lock()
        self._state = "waiting"

    def start(self) -> bool:
        """Called when it is about to be written; False if it was cancelled."""
        with self._guard:
            if self._state == "waiting":
                self._state = "started"
            return self._state == "started"

    def cancel(self) -> bool:
        """Called when waiting takes too long; False if it is being written, and so cannot be cancelled."""
        with self._guard:
            if self._state == "waiting":
                self._state = "cancelled"
            return self._state == "cancelled"


#: Records and the outcome that they have in common.
_Ended = tuple[Sequence[Record], Outcome]


#: Called with why something was not stored, or ``None`` if it is.
Told: TypeAlias = Callable[[SpoolError | None], None]


class _Append:
    """Records that a caller waits to have accepted.

    Attributes:
        until: Monotonic seconds until which the caller waits for others to release the file.
        given_up: The caller was cancelled.
        told: Called once it is known what became of it.
        over: It is known what became of it.
    """

    __slots__ = ("chunks", "given_up", "over", "refused", "told", "until")

    def __init__(self, chunks: list[Chunk], refused: Sequence[Refused], told: Told, until: float) -> None:
        self.chunks = chunks
        self.refused = refused
        self.told = told
        self.until = until
        self.given_up = False
        self.over = False

    def end(self, error: SpoolError | None = None) -> None:
        """Tell the caller, who may have been cancelled."""
        self.over = True
        self.told(error)


class _Batch(Struct, gc=False, eq=False):
    """A transaction, and what its end is reported to: appends, records with their outcomes, callers who wait.

    Attributes:
        until: Monotonic seconds until which it may wait for other processes.
        over: What the committer's task waits for, if it does; done when all has been reported.
    """

    transaction: Transaction
    appends: list[_Append]
    ended: list[_Ended]
    retrying: list[asyncio.Future[None]]
    failing_fast: list[asyncio.Future[None]]
    until: float
    over: asyncio.Future[None] | None = None


class Committer:
    """Collects what is to be written, and writes it in transactions, one after the other.

    A transaction is begun by the caller who comes while none is written, and any other by a task. What cannot be
    accepted is refused at once; outcomes that cannot be written are kept and tried again.

    Args:
        commit: Writes a transaction; runs in ``thread``.
        path: The spool file, for messages.
        stored: Called with new chunks once they are in the file.
        finished: Called with changed chunks once the change is in the file.
        lost: Called with changes that are not, because another process has taken the chunks over.
    """

    def __init__(
        self,
        commit: Callable[[Transaction], None],
        thread: OwnedThread,
        *,
        path: Path,
        stored: Callable[[Sequence[Chunk]], None],
        finished: Callable[[Sequence[Change]], None],
        lost: Callable[[Sequence[Change]], None],
    ) -> None:
        self._commit_in_thread = commit
        self._path = path
        self._thread = thread
        self._stored = stored
        self._finished = finished
        self._lost = lost
        #: Changes in the transaction that is being written.
        self.under_way: Sequence[Change] = ()
        self._appends: list[_Append] = []
        self._dirty: dict[int, Chunk] = {}
        self._ended: list[_Ended] = []
        #: Callers who wait until what they changed is written, however often that has to be tried.
        self._retrying: list[asyncio.Future[None]] = []
        #: Callers who get an error at once if it cannot be written.
        self._failing_fast: list[asyncio.Future[None]] = []
        self._sync = False
        #: What is being written.
        self._batch: _Batch | None = None
        #: Looks now and then whether what is being written waits for too long.
        self._looking: asyncio.TimerHandle | None = None
        self._failing = False
        #: There was no space for the last appends: what became of older events is written before others are tried.
        self._no_space = False
        #: Monotonic seconds of the first and the latest of the writes that failed, with none that worked since.
        self._trouble: tuple[float, float] | None = None
        self._refuses = False
        self._closing = False
        self._work = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(
            self._run_until_closed(), name="capi_async-sqlite", context=contextvars.Context()
        )

    def away_s(self) -> float:
        """Seconds since nothing can be written, or no new event; 0 if that works, or was not tried for a while."""
        if self._trouble is None:
            return 0.0
        first, latest = self._trouble
        now = time.monotonic()
        return max(now - first, 0.001) if now - latest < _TRIED_S else 0.0

    async def append(self, chunks: list[Chunk], refused: Sequence[Refused], timeout_s: float | None) -> None:
        """Return once these are in the file.

        If the caller is cancelled, what is not being written yet is dropped, and what is being written is waited for
        (``UNDER_WAY_S`` at most).

        Raises:
            Busy: Other processes had the file locked for so long.
            SpoolError: They are not in the file, or that is unknown; see its ``stored``.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        append = self.append_soon(chunks, refused, timeout_s, partial(_end, future))
        try:
            await future
        except asyncio.CancelledError:
            await self._give_up(append)
            raise

    def append_soon(
        self, chunks: list[Chunk], refused: Sequence[Refused], timeout_s: float | None, told: Told
    ) -> _Append:
        """Begin what :meth:`append` does; ``told`` is called when it would have returned.

        Raises:
            SpoolError: Nothing was begun.
        """
        if self._closing:
            raise SpoolError(_CLOSED, stored=False)
        until = time.monotonic() + (PATIENCE_S if timeout_s is None else timeout_s)
        append = _Append(chunks, refused, told, until)
        self._appends.append(append)
        if self._batch is None and not (self._failing or self._no_space or self._task.done()):
            self._begin(self._take_appends())  # at once: a lone event does not wait for the task's turn
        else:
            self._work.set()
        return append

    async def _give_up(self, append: _Append) -> None:
        if append.over:
            return
        append.given_up = True
        if append in self._appends:
            self._appends.remove(append)
            self._refuse([append], SpoolError(_CLOSED, stored=False))
            return
        over: asyncio.Future[None] = self._loop.create_future()  # the one before was cancelled with the caller
        append.told = partial(_end, over)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([over], timeout=UNDER_WAY_S)

    def touch(self, chunk: Chunk) -> None:
        """Note that something happened to a chunk: it is written with the next transaction, or a later one."""
        self._dirty[chunk.id] = chunk
        self._work.set()

    async def settled(self, ended: Sequence[_Ended]) -> None:
        """Return once the outcomes of touched chunks are in the file, however often that has to be tried."""
        self._ended += ended
        await self._wait(self._retrying)

    async def marked(self, *, sync: bool) -> None:
        """Return once what happened to touched chunks is in the file; with ``sync`` on the disk.

        Raises:
            SpoolError: It is not.
        """
        self._sync = self._sync or sync
        if self._dirty or self._batch is not None:
            await self._wait(self._failing_fast)

    async def close(self, timeout_s: float) -> None:
        """Write what is left, for ``timeout_s`` at most, and stop."""
        cut_off = self._task.done()
        self._closing = True
        self._work.set()
        await asyncio.wait([self._task], timeout=timeout_s)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)
        if self._looking is not None:
            self._looking.cancel()
        if self._batch is not None:  # the task ended before
            self._abandon(self._batch, asyncio.CancelledError())
        if cut_off:
            logger.warning(
                "spool: %s: the event loop ended before aclose(); what was accepted stays in the spool file, and is "
                "delivered at the next start: use 'async with', or await aclose()",
                self._path,
            )
        lost = sum(sum(chunk.counts.values()) for chunk in self._dirty.values())
        if lost:
            logger.error(
                "spool: %s: the outcomes of %d events could not be stored; these events may be sent again: see to the "
                "file, its volume and its permissions",
                self._path, lost, extra={"events": lost},
            )  # fmt: skip
        self._refuse(self._appends, SpoolError(_CLOSED, stored=False))
        self._fail(self._failing_fast, SpoolError(_CLOSED, stored=False))
        for future in self._retrying:
            future.cancel()

    async def _wait(self, waiting: list[asyncio.Future[None]]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(future)
        self._work.set()
        await future

    async def _run_until_closed(self) -> None:
        """Write until closed; an error must not end the task, because callers wait for it."""
        while True:
            try:
                await self._run()
            except Exception:  # not logged: it may be the application's log handler that raised
                self._failing = True
            else:
                return

    async def _run(self) -> None:
        while True:
            if self._batch is not None:
                await self._finish(self._batch)
                continue
            if self._no_space:
                self._no_space = False
                if self._has_work(appends=False):
                    await self._finish(self._begin([]))
                continue
            if not self._has_work():
                if self._closing:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            if self._failing:
                if self._closing and not self._appends:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await asyncio.Event().wait()
                self._failing = False
                # on their own: an append that does not fit must not keep outcomes from being written
                if self._dirty and self._appends:
                    await self._finish(self._begin([]))
                    if self._batch is not None:
                        continue  # begun by a caller meanwhile
            await self._finish(self._begin(self._take_appends()))

    def _has_work(self, *, appends: bool = True) -> bool:
        return bool((appends and self._appends) or self._dirty or self._failing_fast or self._retrying)

    def _take_appends(self) -> list[_Append]:
        appends, self._appends = self._appends, []
        return appends

    def _begin(self, appends: list[_Append]) -> _Batch:
        """Have these, and what happened to chunks, written by the thread; nothing else is being written."""
        batch = self._batch = self._collect(appends)
        self.under_way = batch.transaction.changes
        call = partial(self._commit_in_thread, batch.transaction)
        try:
            self._thread.hand(call, self._loop, partial(self._told, batch))
        except RuntimeError as error:  # no thread can be started
            self._loop.call_soon(self._told, batch, None, error)
        if self._looking is None:
            # left alone when the transaction ends: it looks at whichever is being written then
            self._look_later(batch.until - time.monotonic())
        return batch

    async def _finish(self, batch: _Batch) -> None:
        """Return when it is written, or has failed."""
        batch.over = self._loop.create_future()
        try:
            await batch.over
        except asyncio.CancelledError as error:
            if self._batch is batch:
                self._abandon(batch, error)
            raise

    def _told(self, batch: _Batch, _result: None, error: BaseException | None) -> None:
        """Called when the thread is through with it; also if it was given up before."""
        if batch is not self._batch:
            return
        self._release()
        try:
            if error is None:
                self._report(batch)
            else:
                self._failed(batch, error)
        except Exception:  # not logged: it may be the application's log handler that raised
            self._failing = True
        if batch.over is not None:
            _end(batch.over)
        elif self._closing or self._failing or self._no_space or self._has_work():
            self._work.set()

    def _abandon(self, batch: _Batch, error: BaseException) -> None:
        self._release()
        self._take_back(batch, error)

    def _release(self) -> None:
        self._batch = None
        self.under_way = ()

    def _failed(self, batch: _Batch, error: BaseException) -> None:
        self._take_back(batch, error)
        if not isinstance(error, NoSpace):
            # the text of our own errors is free of personal data; of others only the type is logged
            said = str(error) if isinstance(error, SpoolError) else kind_of(error)
            logger.error(
                "spool: %s cannot be written (%s); see to the file, its volume and its permissions",
                self._path, said, extra={"error": said},
            )  # fmt: skip

    def _collect(self, appends: list[_Append]) -> _Batch:
        """Take all that is to be written."""
        transaction = Transaction()
        for append in appends:
            _add(transaction, append)
        transaction.changes = [Change.of(chunk) for chunk in self._dirty.values()]
        transaction.sync = bool(appends) or self._sync or any(change.dead_letters for change in transaction.changes)
        until = min([append.until for append in appends], default=time.monotonic() + PATIENCE_S)
        batch = _Batch(transaction, appends, self._ended, self._retrying, self._failing_fast, until)
        self._dirty, self._ended, self._retrying, self._failing_fast = {}, [], [], []
        self._sync = False
        return batch

    def _take_back(self, batch: _Batch, error: BaseException) -> None:
        """After nothing was written: keep what is tried again, and raise for those who do not wait for that."""
        transaction = batch.transaction
        failure = self._failure(transaction, error)
        if isinstance(error, Exception):
            now = time.monotonic()
            self._trouble = (self._trouble[0] if self._trouble is not None else now, now)
            self._refuses = isinstance(error, NoSpace)
        for change in transaction.changes:
            chunk = change.undo()
            self._dirty[chunk.id] = chunk
        self._ended = batch.ended + self._ended
        self._retrying = batch.retrying + self._retrying
        # callers who may wait longer for others do so in front of those that came later
        now = time.monotonic()
        waiting = [one for one in batch.appends if isinstance(error, Busy) and one.until > now and not one.given_up]
        self._appends = waiting + self._appends
        self._refuse([one for one in batch.appends if one not in waiting], failure)
        if isinstance(error, NoSpace):
            # what became of older events fits, and is written at once
            self._no_space = True
            self._failing_fast = batch.failing_fast + self._failing_fast
            self._sync = self._sync or transaction.sync
        else:
            self._fail(batch.failing_fast, failure)
            self._failing = True

    def _report(self, batch: _Batch) -> None:
        """After all was written: call the spool, settle the receipts, and return to those who wait."""
        transaction = batch.transaction
        if batch.appends or not self._refuses:  # on a full disk, outcomes of what is stored can still be written
            self._trouble = None
        for change in transaction.changes:
            if not change.left or change in transaction.lost:
                # its row is deleted: a touch meanwhile must not change what another process makes of it
                self._dirty.pop(change.chunk.id, None)
        if transaction.lost:
            self._finished([change for change in transaction.changes if change not in transaction.lost])
            self._lost(transaction.lost)
        else:
            self._finished(transaction.changes)
        self._stored(transaction.appended)
        for append in batch.appends:
            for one in append.refused:
                if one.receipt is not None:
                    one.receipt.settle(one.destination, one.outcome)
        for records, outcome in batch.ended:
            for record in records:
                if record.receipt is not None:
                    record.receipt.settle(record.destination, outcome)
        for append in batch.appends:
            append.end()
        for future in (*batch.retrying, *batch.failing_fast):
            _end(future)

    def _failure(self, transaction: Transaction, error: BaseException) -> SpoolError:
        """The error for those whose records were in a transaction that failed."""
        if isinstance(error, SpoolError):
            return error
        if isinstance(error, asyncio.CancelledError):
            return SpoolError(_CLOSED, stored=False) if transaction.cancel() else SpoolError(_CUT_OFF, stored=None)
        return SpoolError("storage failed", stored=None)

    def _look_later(self, left_s: float) -> None:
        # in no caller's context: what is logged there is about all of them
        delay_s = max(0.0, min(_CHECK_S, left_s))
        self._looking = self._loop.call_later(delay_s, self._look, context=contextvars.Context())

    def _look(self) -> None:
        """Refuse callers that have waited for long enough; give up what is being written, if it can be."""
        self._looking = None
        if (batch := self._batch) is None:
            return
        now = time.monotonic()
        late = [append for append in self._appends if append.until <= now]
        self._appends = [append for append in self._appends if append.until > now]
        self._refuse(late, Busy(_LOCKED))
        unwanted = bool(batch.appends) and all(append.given_up for append in batch.appends)
        if now < batch.until and not unwanted:
            self._look_later(batch.until - now)
        elif batch.transaction.cancel():
            self._told(batch, None, Busy(_LOCKED))
        else:
            self._look_later(_CHECK_S)  # it is being written; the one after it is looked at as well

    def _refuse(self, appends: Sequence[_Append], error: SpoolError) -> None:
        if error.stored is False:  # else the thread may be reading them
            for append in appends:
                for chunk in append.chunks:
                    chunk.clear()
        for append in appends:
            append.end(error)

    def _fail(self, futures: Sequence[asyncio.Future[None]], error: SpoolError) -> None:
        for future in futures:
            _end(future, error)


def _add(transaction: Transaction, append: _Append) -> None:
    counts = transaction.counts
    transaction.appended += append.chunks
    for chunk in append.chunks:
        key = (chunk.destination, "accepted")
        counts[key] = counts.get(key, 0) + chunk.left
    for one in append.refused:
        for key in ((one.destination, "accepted"), (one.destination, one.outcome.kind)):
            counts[key] = counts.get(key, 0) + 1


def _end(future: asyncio.Future[None], error: SpoolError | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # mark as retrieved: the caller may have been cancelled
