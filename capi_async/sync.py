"""The same client for code without an event loop: Django, Celery, scripts."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio

from capi_async.client import Client, CloseReport, DestinationState
from capi_async.engine.explain import Explanation
from capi_async.engine.receipt import Receipt
from capi_async.errors import ClientClosed
from capi_async.event import Event, User
from capi_async.outcome import Outcome
from capi_async.spec import Destination
from capi_async.spool.base import Ledger

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal


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
        """One outcome per destination; what is not settled within ``timeout_s`` seconds is ``pending``."""
        found: dict[str, Outcome] = self._call(self._receipt.outcomes, timeout_s)
        return found

    def __repr__(self) -> str:
        return repr(self._receipt)


class SyncClient:
    """A :class:`Client` on an event loop in a thread of its own. May be called from any thread.

    Takes what :class:`Client` takes. Use it as ``with SyncClient([...]) as client``, or call ``start()`` and
    ``close()``. After a fork, make a new one in the child.
    """

    def __init__(self, destinations: Sequence[Destination], **options: Any) -> None:
        self._init(Client(destinations, **options))

    def _init(self, client: Client) -> None:
        self._client = client
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._pid = 0

    @classmethod
    def from_env(cls, **options: Any) -> SyncClient:
        """See :meth:`Client.from_env`."""
        return cls._around(Client.from_env(**options))

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> SyncClient:
        """See :meth:`Client.from_config`."""
        return cls._around(Client.from_config(path, **options))

    @classmethod
    def _around(cls, client: Client) -> SyncClient:
        self = cls.__new__(cls)
        self._init(client)
        return self

    def start(self) -> None:
        """Start the loop's thread; done by ``with`` and by the first call too."""
        if self._portal is not None:
            return
        with self._lock:
            if self._portal is not None:
                return
            ready: Future[BlockingPortal] = Future()
            # not anyio's start_blocking_portal: forgotten or forked, it waits for ever when the interpreter exits
            self._thread = threading.Thread(target=_serve, args=(ready,), name="capi_async-loop", daemon=True)
            self._thread.start()
            portal = ready.result()
            self._pid = os.getpid()
            try:
                portal.call(self._client.__aenter__)
            except BaseException:
                self._stop(portal)
                raise
            self._portal = portal
            atexit.register(self.close)

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

    def send_many(self, events: Sequence[Event], *, timeout_s: float = 5.0) -> list[SyncReceipt]:
        """See :meth:`Client.send_many`."""
        receipts = self._call(partial(self._client.send_many, events, timeout_s=timeout_s))
        return [SyncReceipt(receipt, self._call) for receipt in receipts]

    def enqueue(self, event: Event) -> SyncReceipt:
        """See :meth:`Client.enqueue`."""
        return SyncReceipt(self._call(self._client.enqueue, event), self._call)

    def accepted_before(self, event_ids: Sequence[str]) -> frozenset[str]:
        """See :meth:`Client.accepted_before`."""
        found: frozenset[str] = self._call(self._client.accepted_before, event_ids)
        return found

    def flush(self, timeout_s: float = 10.0) -> bool:
        """See :meth:`Client.flush`."""
        done: bool = self._call(self._client.flush, timeout_s)
        return done

    def close(self, deadline_s: float = 10.0) -> CloseReport | None:
        """See :meth:`Client.aclose`; ``None`` if it does not run. Done at the interpreter's exit, if not before."""
        with self._lock:
            portal = self._portal
            if portal is None or self._pid != os.getpid():
                return None
            self._portal = None
        atexit.unregister(self.close)
        try:
            report: CloseReport = portal.call(self._client.aclose, deadline_s)
        finally:
            self._stop(portal)
        return report

    @property
    def durable(self) -> bool:
        """See :attr:`Client.durable`."""
        return self._client.durable

    def ledger(self) -> Mapping[str, Ledger]:
        """See :meth:`Client.ledger`."""
        return self._client.ledger()

    def states(self) -> Mapping[str, DestinationState]:
        """See :meth:`Client.states`."""
        return self._client.states()

    def explain(self, event: Event) -> Mapping[str, Explanation]:
        """See :meth:`Client.explain`."""
        with self._lock:
            return self._client.explain(event)

    def withdraw(self, subject: User) -> Mapping[str, int]:
        """See :meth:`Client.withdraw`."""
        found: Mapping[str, int] = self._call(self._client.withdraw, subject)
        return found

    def forget(self, subject: User) -> Mapping[str, int]:
        """See :meth:`Client.forget`."""
        found: Mapping[str, int] = self._call(self._client.forget, subject)
        return found

    def replay(self, **wanted: Any) -> Mapping[str, int]:
        """See :meth:`Client.replay`; takes what that takes."""
        found: Mapping[str, int] = self._call(partial(self._client.replay, **wanted))
        return found

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.start()
        if self._pid != os.getpid():
            raise ClientClosed("this client was started in another process and forked; make one per process")
        portal = self._portal
        if portal is None:
            raise ClientClosed("another thread has closed this client")
        return portal.call(function, *arguments)

    def _stop(self, portal: BlockingPortal) -> None:
        portal.call(portal.stop)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __repr__(self) -> str:
        return f"Sync{self._client!r}"


def _serve(ready: Future[BlockingPortal]) -> None:
    """Run a loop that takes calls from other threads until it is told to stop."""
    from anyio.from_thread import BlockingPortal  # costs a tenth of our import, which asynchronous callers need not pay

    async def run() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        anyio.run(run, backend="asyncio")
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)
