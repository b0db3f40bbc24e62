"""The same client for code without an event loop: Django, Celery, scripts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from capi_async import ending
from capi_async.answer import Answer
from capi_async.client import Client, DestinationState
from capi_async.closing import CloseReport
from capi_async.engine.erasure import LeadIds
from capi_async.engine.explain import Explanation
from capi_async.engine.followup import FollowedUp
from capi_async.engine.receipt import Receipt
from capi_async.errors import ClientClosed
from capi_async.event import NO_USER, Event, User
from capi_async.log import Log
from capi_async.loop_thread import LoopThread, import_early
from capi_async.outcome import Outcome
from capi_async.profiles import Profile
from capi_async.spec import Destination
from capi_async.spool.base import DeadLetter, Ledger, LetterFilter
from capi_async.telemetry.metrics import Metrics
from capi_async.telemetry.snapshot import Snapshot
from capi_async.watch.recent import EVENTS
from capi_async.watch.seen import Seen

if TYPE_CHECKING:
    from capi_async.doctor import Report
    from capi_async.sandbox import Sandbox

logger = Log(__name__)

#: Seconds beyond its deadline after which a close that does not come back is given up: something blocks the loop.
_GRACE_S = 1.0
#: Seconds that a ledger waits for the loop at most.
_LOOK_S = 0.1

_State: TypeAlias = Literal["new", "running", "closing", "closed"]

_CLOSED = "the client is closed; start() opens it again"
_FOREIGN = "this client was started in another process and forked; make one per process"


class SyncReceipt:
    """A :class:`~capi_async.engine.receipt.Receipt` whose methods block."""

    __slots__ = ("_call", "_receipt")

    def __init__(self, receipt: Receipt, call: Callable[..., Any]) -> None:
        self._receipt = receipt
        self._call = call

    @property
    def event_id(self) -> str:
        """The event's de-duplication key."""
        return self._receipt.event_id

    def outcomes(self, timeout_s: float | None = None) -> dict[str, Outcome]:
        """One outcome per destination; what is not settled within ``timeout_s`` seconds is ``pending``.

        Once the client has closed, nothing is waited for.
        """
        try:
            found: dict[str, Outcome] = self._call(self._receipt.outcomes, timeout_s)
        except ClientClosed:
            return self._receipt.known()
        return found

    def __repr__(self) -> str:
        return repr(self._receipt)


class _AwayReceipt(Receipt, gc=False, eq=False):
    """A receipt whose outcomes come on another event loop than the one where they are awaited."""

    _receipt: Any = None
    _thread: Any = None

    async def outcomes(self, timeout_s: float | None = None) -> dict[str, Outcome]:
        """See :meth:`Receipt.outcomes`."""
        try:
            found: dict[str, Outcome] = await self._thread.submit(self._receipt.outcomes, timeout_s).arrived()
        except ClientClosed:
            return self.known()
        return found

    def known(self) -> dict[str, Outcome]:
        """See :meth:`Receipt.known`."""
        known: dict[str, Outcome] = self._receipt.known()
        return known

    def __repr__(self) -> str:
        return repr(self._receipt)


class _Run:
    """One life of a client, from a start to the close that ends it.

    Attributes:
        opened: Given once the spool is open.
        opening: Whether that has begun; asked and set on the loop only.
        closing: Given, with the report, once the client has closed; ``None`` until that begins.
        until: Monotonic seconds at which closing ends, whether or not the loop answers.
    """

    __slots__ = ("closing", "opened", "opening", "thread", "until")

    def __init__(self) -> None:
        self.thread = LoopThread("capi_async-loop")
        self.opened = Answer()
        self.opening = False
        self.closing: Answer | None = None
        self.until = 0.0


class SyncClient:
    """A :class:`Client` on an event loop in a thread of its own. May be called from any thread.

    Takes what :class:`Client` takes. Use it as ``with SyncClient([...]) as client``, or call ``start()`` and
    ``close()``; the first call starts it too. What nobody closed is closed when its process ends: at the
    interpreter's exit, and at the end of a child of ``multiprocessing`` or of a Celery worker.

    Once it was closed every call raises :class:`ClientClosed`, until ``start()`` opens it again. A child of a fork
    needs a client of its own, unless the parent had not started this one.
    """

    def __init__(self, destinations: Sequence[Destination], **options: Any) -> None:
        self._init(Client(destinations, **options))

    def _init(self, client: Client) -> None:
        self._client = client
        self._state: _State = "new"
        self._run: _Run | None = None
        #: The thread of the last run, if it did not end with it.
        self._blocked: LoopThread | None = None
        self._renew_locks()
        import_early()
        ending.on_fork(self)

    def _renew_locks(self) -> None:
        # reentrant: a signal's handler may close the client while its thread is inside a call
        self._lock = threading.RLock()
        self._explaining = threading.RLock()

    @classmethod
    def from_env(cls, **options: Any) -> SyncClient:
        """See :meth:`Client.from_env`."""
        return cls.around(Client.from_env(**options))

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> SyncClient:
        """See :meth:`Client.from_config`."""
        return cls.around(Client.from_config(path, **options))

    @classmethod
    def around(cls, client: Client) -> SyncClient:
        """A client that was made and not entered: it runs on the loop in a thread, and is not used otherwise."""
        self = cls.__new__(cls)
        self._init(client)
        return self

    @property
    def sandbox(self) -> Sandbox | None:
        """See :attr:`Client.sandbox`."""
        return self._client.sandbox

    def start(self) -> None:
        """Start the loop's thread and open the spool; done by ``with`` and by the first call too.

        Opens a closed client again. While another thread closes it, waits for that.

        Raises:
            SpoolError: The spool cannot be opened.
            ClientClosed: The client was closed meanwhile, was started in another process, or its last loop has not
                ended because something blocks it; or the interpreter is ending.
        """
        self._refuse_on_loop()
        run = self._run
        if run is not None and run.closing is not None and not self._foreign():
            self._finish(run, run.until)
        self._started(again=True)

    def __enter__(self) -> SyncClient:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, event: Event, *, timeout_s: float = 5.0) -> SyncReceipt:
        """See :meth:`Client.send`."""
        return SyncReceipt(self._call(partial(self._client.send, event, timeout_s=timeout_s)), self._call)

    async def asend(self, event: Event, *, timeout_s: float = 5.0) -> Receipt:
        """See :meth:`Client.send`; for async code on any event loop, which it does not block.

        The receipt's ``outcomes()`` may be awaited there as well.
        """
        self._refuse_on_loop()
        run = self._begun()
        await run.opened.arrived()
        thread = run.thread
        receipt: Receipt = await thread.submit(partial(self._client.send, event, timeout_s=timeout_s)).arrived()
        return _AwayReceipt(
            receipt.event_id, receipt._destinations, receipt._delivery, _receipt=receipt, _thread=thread
        )

    def send_many(self, events: Sequence[Event], *, timeout_s: float = 5.0) -> list[SyncReceipt]:
        """See :meth:`Client.send_many`."""
        receipts = self._call(partial(self._client.send_many, events, timeout_s=timeout_s))
        return [SyncReceipt(receipt, self._call) for receipt in receipts]

    def enqueue(self, event: Event) -> SyncReceipt:
        """See :meth:`Client.enqueue`."""
        return SyncReceipt(self._call(self._client.enqueue, event), self._call)

    def track(self, event: Event | str, /, **fields: Any) -> SyncReceipt | None:
        """See :meth:`Client.track`; never waits either, not even for the spool to open at the first call."""
        receipt = self._client._tracked(event, fields, self._hand_over)
        return None if receipt is None else SyncReceipt(receipt, self._call)

    def _hand_over(self, event: Event) -> tuple[Receipt, Any]:
        client = self._client
        client._check(event, "")
        self._begun()
        return client._handover.put(event)

    def note_untracked(self, error: BaseException) -> None:
        """See :meth:`Client.note_untracked`."""
        self._client.note_untracked(error)

    @property
    def untracked(self) -> Mapping[str, int]:
        """See :attr:`Client.untracked`."""
        return self._client.untracked

    def accepted_before(self, event_ids: Sequence[str]) -> frozenset[str]:
        """See :meth:`Client.accepted_before`."""
        found: frozenset[str] = self._call(self._client.accepted_before, event_ids)
        return found

    def flush(self, timeout_s: float | None = None) -> bool:
        """See :meth:`Client.flush`."""
        done: bool = self._call(self._client.flush, timeout_s)
        return done

    async def aflush(self, timeout_s: float | None = None) -> bool:
        """See :meth:`Client.flush`; for async code on any event loop, which it does not block."""
        self._refuse_on_loop()
        return bool(await self._begun().thread.submit(partial(self._client.flush, timeout_s)).arrived())

    def close(self, deadline_s: float | None = None) -> CloseReport | None:
        """See :meth:`Client.aclose`; ``None`` if it does not run. Calls in other threads end with it.

        The deadline holds however many threads are inside. If something blocks the loop, it is given up a second
        after the deadline, an error is logged, and the report says what is known. A call while another thread
        closes waits for that one, and gets its report.

        Raises:
            ClientClosed: This is the client's own loop: a hook or a callable of yours.
        """
        self._refuse_on_loop()
        deadline_s = self._client._seconds_for(deadline_s)
        run = self.close_soon(deadline_s)
        return None if run is None else self._finish(run, time.monotonic() + deadline_s)

    def close_soon(self, deadline_s: float) -> _Run | None:
        """Begin to close, unless that was begun; for the end of the process, which closes all at the same time."""
        if self._foreign():
            return None
        with self._lock:
            run = self._run
            if run is None or run.closing is not None:
                return run
            self._state = "closing"
            run.until = time.monotonic() + deadline_s
            # a signal's handler may come in between and close it as well: then the two get the same report
            try:
                run.closing = run.thread.submit(partial(self._client.aclose, deadline_s))
            except ClientClosed:  # that handler's close has ended, or its loop did
                if run.closing is None:
                    run.closing = Answer()
                    run.closing.give(self._client.report())
        # whoever waits for the start need not wait for the end
        run.opened.give(error=ClientClosed("the client was closed while it started"))
        return run

    def after_fork(self) -> None:
        """In the child of a fork, before anything else: a thread that exists no more may hold a lock."""
        self._renew_locks()
        self._client._untracked.after_fork()

    @property
    def profile(self) -> Profile:
        """See :class:`Client`."""
        return self._client.profile

    @property
    def durable(self) -> bool:
        """See :attr:`Client.durable`."""
        return self._client.durable

    def ledger(self) -> Mapping[str, Ledger]:
        """See :meth:`Client.ledger`."""
        self._look()
        return self._client.ledger()

    def states(self) -> Mapping[str, DestinationState]:
        """See :meth:`Client.states`."""
        return self._client.states()

    @property
    def metrics(self) -> Metrics:
        """See :attr:`Client.metrics`."""
        return self._client.metrics

    def snapshot(self) -> Snapshot:
        """See :meth:`Client.snapshot`."""
        self._look()
        return self._client.snapshot()

    def _look(self) -> None:
        """Have the loop prepare a few events that are kept as they are: what becomes of them belongs to the answer."""
        run, engine = self._run, self._client._engine
        if run is None or engine is None or self._foreign() or run.thread.here() or not engine.intake.gathering.events:
            return
        with suppress(ClientClosed, TimeoutError):  # then they are told of as pending
            run.thread.submit(engine.intake.gathering.look).result(_LOOK_S)

    def watch(self, events: int = EVENTS) -> None:
        """See :meth:`Client.watch`."""
        self._client.watch(events)

    def recent(self, event_or_order_id: str | None = None) -> list[Seen]:
        """See :meth:`Client.recent`."""
        return self._client.recent(event_or_order_id)

    @property
    def unwatched(self) -> int:
        """See :attr:`Client.unwatched`."""
        return self._client.unwatched

    def dead_letters(self, wanted: LetterFilter | None = None) -> Sequence[DeadLetter]:
        """See :meth:`Client.dead_letters`."""
        found: Sequence[DeadLetter] = self._call(self._client.dead_letters, wanted)
        return found

    def forget_dead_letters(self, wanted: LetterFilter) -> Mapping[str, int]:
        """See :meth:`Client.forget_dead_letters`."""
        found: Mapping[str, int] = self._call(self._client.forget_dead_letters, wanted)
        return found

    def explain(self, event: Event) -> Mapping[str, Explanation]:
        """See :meth:`Client.explain`."""
        with self._explaining:
            return self._client.explain(event)

    def check(self, *, send_test: bool = False) -> Report:
        """See :meth:`Client.check`; it starts the client if that has not happened yet."""
        found: Report = self._call(partial(self._client.check, send_test=send_test))
        return found

    def followup(self, **asked: Any) -> Mapping[str, FollowedUp]:
        """See :meth:`Client.followup`."""
        found: Mapping[str, FollowedUp] = self._call(partial(self._client.followup, **asked))
        return found

    def withdraw(self, subject: User = NO_USER, *, lead_id: LeadIds = ()) -> Mapping[str, int]:
        """See :meth:`Client.withdraw`."""
        found: Mapping[str, int] = self._call(partial(self._client.withdraw, subject, lead_id=lead_id))
        return found

    def forget(self, subject: User = NO_USER, *, lead_id: LeadIds = ()) -> Mapping[str, int]:
        """See :meth:`Client.forget`."""
        found: Mapping[str, int] = self._call(partial(self._client.forget, subject, lead_id=lead_id))
        return found

    def replay(self, **wanted: Any) -> Mapping[str, int]:
        """See :meth:`Client.replay`; takes what that takes."""
        found: Mapping[str, int] = self._call(partial(self._client.replay, **wanted))
        return found

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._refuse_on_loop()
        return self._started().thread.call(function, *arguments)

    def _started(self, *, again: bool = False) -> _Run:
        """The run, once its spool is open; begun if there was none yet, or with ``again`` if it was closed."""
        run = self._begun(again=again)
        try:
            if not run.opened.done():
                # a signal's handler may have interrupted the one who began, just before: the loop opens it once
                with suppress(ClientClosed):  # it could not be opened, and its loop has ended
                    run.thread.submit(self._open, run)
            run.opened.result()
        except BaseException:
            if run.opened.done() and run.closing is None:  # it failed, and its loop is ending
                run.thread.stop(timeout_s=_GRACE_S)
            raise
        return run

    def _begun(self, *, again: bool = False) -> _Run:
        """The run; begun if need be, without waiting for its spool."""
        if self._foreign():
            raise ClientClosed(_FOREIGN)
        with self._lock:
            run = self._usable(again=again)
            if run is not None:
                return run
            fresh = _Run()
            fresh.thread.start()
            # looked at again: a signal's handler may have come in between, in this thread, and begun one or closed it
            try:
                run = self._usable(again=again)
            except ClientClosed:
                fresh.thread.stop(timeout_s=0)
                raise
            if run is not None:
                fresh.thread.stop(timeout_s=0)
                return run
            self._blocked, self._run, self._state = None, fresh, "running"
            self._client._handover.reopen()
            ending.on_exit(self)
            fresh.thread.submit(self._open, fresh)
            return fresh

    def _usable(self, *, again: bool) -> _Run | None:
        """The run that takes calls; ``None`` if one may be begun."""
        if self._state == "running" and self._run is not None:
            return self._run
        if self._state == "closing":
            raise ClientClosed("the client is closing")
        if self._state == "closed" and not again:
            raise ClientClosed(_CLOSED)
        if self._blocked is not None and self._blocked.alive:
            raise ClientClosed("the client's last loop has not ended: a callable or a hook of yours blocks it")
        return None

    async def _open(self, run: _Run) -> None:
        if run.opening:
            return
        run.opening = True
        try:
            await self._client.__aenter__()
        except BaseException as error:
            with self._lock:
                if run.closing is None:  # the next call tries again, on a loop of its own
                    self._run, self._state = None, "new"
                    ending.closed(self)
            run.opened.give(error=error)
            if run.closing is None:
                run.thread.stop(timeout_s=0)
        else:
            run.opened.give()

    def _finish(self, run: _Run, until: float) -> CloseReport:
        """Wait for the close that has begun, and end the loop. Several threads may: each does all of it."""
        report: CloseReport | None = None
        closing = run.closing
        if closing is None:
            raise RuntimeError("close_soon() comes first")
        try:
            report = closing.result(max(0.0, min(until, run.until) + _GRACE_S - time.monotonic()))
        except TimeoutError:
            if not closing.done() and until < run.until:  # this caller gives up, the other one does not
                return self._client.report()
        except ClientClosed:
            pass  # another thread gave it up, and told us
        finally:
            if closing.done() or time.monotonic() >= run.until:
                self._end(run, answered=closing.done())
        return self._client.report() if report is None else report

    def _end(self, run: _Run, *, answered: bool) -> None:
        ended = run.thread.stop(timeout_s=_GRACE_S if answered else 0.0)
        with self._lock:
            first = self._run is run
            if first:
                self._run, self._state = None, "closed"
                self._blocked = None if ended else run.thread
                ending.closed(self)
        if first and not ended:
            logger.error(
                "%r: closed, but its loop does not end: a callable, a hook or a transport of yours blocks it; "
                "let it await, or return sooner",
                self,
            )

    def _foreign(self) -> bool:
        """Whether it was started in another process. Looked at before a lock is taken."""
        run = self._run
        return run is not None and run.thread.pid != os.getpid()

    def _refuse_on_loop(self) -> None:
        run = self._run
        if run is not None and run.thread.here():
            raise ClientClosed("called on the client's own loop, by a hook or a callable of yours: use another thread")

    def __repr__(self) -> str:
        return f"Sync{self._client!r}"
