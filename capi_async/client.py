"""The client: one ``await client.send(event)``, every platform."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakMethod

import aiohttp
import anyio
import msgspec
from msgspec import Struct

from capi_async.answer import Answer, when_failed
from capi_async.arguments import check_choices, check_destinations
from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.closing import CloseReport, close_report, pending_of, say_left, say_unclosed, say_waiting
from capi_async.config import ClientOptions, from_env, load
from capi_async.engine.capacity import Overflow
from capi_async.engine.check import FINE, check, doubtful
from capi_async.engine.dispatcher import Dispatcher, Settings, flush_s, stop_at
from capi_async.engine.edits import BeforeSend
from capi_async.engine.explain import Explanation, explain
from capi_async.engine.handover import Handover
from capi_async.engine.notices import Notices
from capi_async.engine.overview import overview
from capi_async.engine.prepare import ConsentPolicy, Prepare, Preparer
from capi_async.engine.receipt import Receipt
from capi_async.errors import ClientClosed, EventError, QueueFull, SpoolError
from capi_async.event import Event
from capi_async.log import Log
from capi_async.modes import Mode, environment_options
from capi_async.outcome import Outcome
from capi_async.profiles import Profile, freezing_host
from capi_async.spec import Destination, Transport
from capi_async.spool import open_spool
from capi_async.spool.base import Ledger, Spool, board_of
from capi_async.stored import StoredEvents
from capi_async.telemetry.base import Hook, StateName, tracer_of
from capi_async.telemetry.metrics import Metrics
from capi_async.telemetry.snapshot import Snapshot
from capi_async.transport import HttpTransport
from capi_async.untracked import Untracked
from capi_async.watch.recent import EVENTS, Recent
from capi_async.watch.seen import Seen, Told
from capi_async.watch.telling import Telling, process_name

if TYPE_CHECKING:
    from capi_async.doctor import Report
    from capi_async.sandbox import Sandbox

logger = Log(__name__)

_NO_LOOP: Final = (
    "no asyncio event loop runs here: enter the client with 'async with' in asyncio, then other threads may call "
    "enqueue() and track(); without asyncio, or under trio, use SyncClient"
)
#: Seconds that flushing or closing may take, unless a caller says otherwise.
_END_S: Final = 10.0


class DestinationState(Struct, frozen=True, kw_only=True):
    """How a destination does: ``open``, ``broken`` (does not answer) or ``paused`` (account refused), and why."""

    state: StateName
    reason: str = ""


class Client(StoredEvents):
    """Forwards conversion events to every destination at once.

    Use it as ``async with Client([...]) as client``; entering and leaving may happen in different tasks. It
    belongs to one event loop and one process at a time; after ``aclose()`` it may be entered again, on any loop.

    Args:
        destinations: Accounts to deliver to; two of one platform need a ``name`` each.
        spool: ``"memory"`` (default): a crash loses what waits, and ``aclose`` reports what its deadline catches.
            ``"sqlite:///events.db"``: accepted events are on disk and survive whatever ends the process.
            ``"redis://host:6379/0"``: they are in Redis, for any process on any host. Or an object of your own.
        deliver: False only prepares and stores: a web process in front of workers.
        overflow: At a queue's bound ``wait`` (up to the caller's timeout, for destinations that make progress; at
            others the event is ``dropped``), ``fail`` with :class:`QueueFull`, or ``drop_oldest``.
        linger_s: Seconds that an event waits for company before its batch leaves; 0 is allowed.
        max_pending_events, max_pending_bytes: Bounds of each destination's queue.
        max_intake_events: Events that may wait to be prepared.
        max_attempts: Failed requests that one event may be part of (memory spool).
        prepare: ``auto``: an event that comes alone, is small (some 3,000 bytes, the phone number with its country
            code) and goes to destinations that are all :attr:`~capi_async.spec.Destination.brief`, is accepted as it is
            by a spool in memory, and prepared in a thread together with those that follow within half of ``linger_s``;
            where it does not linger, or the spool is durable, it is prepared on the event loop, which that holds for
            some tens of microseconds. ``thread``: each is prepared in the thread before it is accepted, as all other
            events are; with ``before_send`` that is always so.
        consent: ``vouch``: an event without ``Consent`` is the caller's responsibility; ``require``: it is skipped.
        phone_region: Country of phone numbers without country code, where the event names none.
        session: Your own aiohttp session: used, not closed. What instruments it sees addresses that hold a credential.
        transport: Instead of HTTP: anything that keeps :class:`~capi_async.spec.Transport`.
        trust_env: Use the environment's proxies; never for a loopback address.
        ssl: Context for private certificate authorities; it must check certificates and host names.
        hooks: Listeners, see :class:`~capi_async.telemetry.base.Hook`.
        before_send: Called with each event in the prepare thread: gives the event to send in its place (with the same
            ``event_id``), or ``None``: it is skipped everywhere. Where it raises, the event is rejected.
        recent_events: Events whose way is kept in memory, masked, for the dashboard; 0 keeps none until :meth:`watch`
            is called.
        mode: ``live``; ``sandbox``: events go to a sandbox, with its own credential, and never to a platform; ``off``:
            they are checked and prepared, and skipped. In the last two, events wait in memory whatever ``spool`` says,
            so that what a durable spool holds for the platforms stays there.
        profile: Where the client runs. ``server``: a process that goes on. ``serverless``: one that is frozen or ended
            whenever its handler has returned. There nothing lingers, and nothing is under way between calls:
            :meth:`send` and :meth:`send_many` return when the platforms have answered, or after ``flush_s``; what was
            handed in with :meth:`enqueue` or :meth:`track` leaves with the next :meth:`flush`, which is to be the
            handler's last act (the web integrations do it); and connections are closed before each returns.
        summary_s: Log a line at INFO every so many seconds: outcomes since the last one, what waits and since when, how
            long answers take, and what is wrong; ``None``: none. In the environment: ``CAPI_ASYNC_SUMMARY_S``.
        flush_s: The most seconds, in the profile ``serverless``, for the platforms' answers to one call.
        sandbox_url: For ``sandbox``: where one runs, such as ``http://127.0.0.1:8787``; unless given, one in this
            process is used, without a socket: :attr:`sandbox`.

    Attributes:
        sandbox: The :class:`~capi_async.sandbox.Sandbox` inside this process, or ``None``.

    Raises:
        ConfigError: Before any I/O; the text names the setting.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        spool: str | Spool = "memory",
        deliver: bool = True,
        overflow: Overflow = "wait",
        linger_s: float = 1.0,
        max_pending_events: int = 100_000,
        max_pending_bytes: int = 256 * 1024 * 1024,
        max_intake_events: int = 10_000,
        max_attempts: int = 8,
        prepare: Prepare = "auto",
        consent: ConsentPolicy = "vouch",
        phone_region: str | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        trust_env: bool = False,
        ssl: ssl_module.SSLContext | None = None,
        hooks: Sequence[Hook] = (),
        before_send: BeforeSend | None = None,
        recent_events: int = 0,
        mode: Mode = "live",
        sandbox_url: str | None = None,
        profile: Profile = "server",
        flush_s: float = 3.0,
        summary_s: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        destinations = tuple(destinations)
        check_destinations(destinations)
        check_choices(mode, consent, before_send, recent_events)
        self.mode: Final = mode
        sandbox: Sandbox | None = None
        off: frozenset[str] = frozenset()
        if mode != "live":
            from capi_async.switch import switched  # brings the sandbox along

            destinations, instead, sandbox, off = switched(mode, destinations, sandbox_url, clock)
            spool, deliver = "memory", True
            transport = instead or transport
        self.sandbox: Final = sandbox
        self.destinations: Final = destinations
        self._asked = [one for one in destinations if one.name not in off]
        self._settings = Settings(
            deliver=deliver, overflow=overflow, linger_s=linger_s, max_pending_events=max_pending_events,
            max_pending_bytes=max_pending_bytes, max_intake_events=max_intake_events, max_attempts=max_attempts,
            prepare=prepare, profile=profile, flush_s=flush_s, summary_s=summary_s,
        )  # fmt: skip
        self.profile: Final = profile
        self._names = tuple(destination.name for destination in self.destinations)
        self._clock = clock
        self._spool = open_spool(spool, clock=clock)
        self._trust_env = trust_env
        self._consent: ConsentPolicy = consent
        self._phone_region = phone_region
        self._before_send = before_send
        self._recent = Recent({one.name: one.identifiers for one in destinations}, clock=clock)
        if recent_events:
            self.watch(recent_events)
        self._preparer = self._make_preparer(off)
        self._explainer = self._make_preparer(watched=False)  # says what would be sent, also where nothing is
        self._http: HttpTransport | None = None
        if transport is None:
            transport = self._http = HttpTransport(session=session, trust_env=trust_env, ssl=ssl)
        self._transport: Transport = transport
        self._hooks = self._attached(hooks)
        self._engine: Dispatcher | None = None
        self._closed = False
        self._closing: asyncio.Future[CloseReport] | None = None
        #: Of a run whose storage had not let go at the deadline of its close.
        self._earlier: asyncio.Task[None] | None = None
        self._pid = 0
        self._handover = Handover(self._names, max_events=max_intake_events, trace=_current_trace(hooks))
        #: Events from other threads that a close found no room for.
        self._left_over = 0
        self._notices = Notices(logger, now=clock.monotonic)
        self._metrics = Metrics(self._names, now=clock.wall())
        self._untracked = Untracked(self._notices.note)

    def _attached(self, hooks: Sequence[Hook]) -> tuple[Hook, ...]:
        """The hooks, each told what it listens to."""
        for hook in hooks:
            hook.on_attached(self._names, _looking(WeakMethod(self.snapshot)))
        return tuple(hooks)

    @classmethod
    def from_env(cls, **options: Any) -> Client:
        """A client for every destination that the environment describes; ``options`` as of the constructor.

        ``CAPI_ASYNC_MODE`` gives the ``mode``, and ``CAPI_ASYNC_SANDBOX_URL`` the ``sandbox_url``. In another mode
        than ``live`` settings may be missing, and without any every platform is taken.

        Raises:
            ConfigError: No destination is complete, or one is half set.
        """
        options = environment_options() | options
        return cls(from_env(mode=options.get("mode", "live")), **options)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> Client:
        """A client from a TOML file; ``options`` override the file's.

        ``CAPI_ASYNC_MODE`` and ``CAPI_ASYNC_SANDBOX_URL`` override the file's too. In another mode than ``live``
        settings whose ``env:`` or ``file:`` leads nowhere may be missing.

        Raises:
            ConfigError: The file cannot be read, or a setting is unknown or wrong.
        """
        options = environment_options() | options
        destinations, settings = load(path, mode=options.get("mode"))
        return cls(destinations, **{**_as_options(settings), **options})

    @property
    def runs_here(self) -> bool:
        """Whether it is open, and on the event loop that runs this code."""
        engine = self._engine
        return not self._closed and engine is not None and engine.loop is _loop_here() and self._pid == os.getpid()

    async def __aenter__(self) -> Client:
        self._closed = False
        try:
            await self._running().opened()
        except BaseException:
            if not self._closed:
                await self.aclose(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.aclose()

    async def send(self, event: Event, *, timeout_s: float = 5.0) -> Receipt:
        """Accept one event; on return it is in the spool, once per destination.

        Delivery is reported later: ``await receipt.outcomes()`` gives one ``Outcome`` per destination. A
        cancelled ``send()`` may still have accepted the event.

        Args:
            timeout_s: Seconds to wait for room, or for a spool file that another process locks; 0 fails at once.
                Waiting for ever is not offered.

        Raises:
            EventError: The event itself is malformed; ``field`` names the culprit.
            QueueFull: No room within ``timeout_s``; nothing was stored.
            SpoolError: Storage failed, or was locked for ``timeout_s``.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.

        The last three have ``stored``: False (surely not stored), True, or ``None`` (unknown: it may be delivered).
        """
        self._check(event, "")
        engine = self._running()
        intake = engine.intake
        receipt = Receipt(event.event_id, self._names, engine.delivery)
        if not intake.at_once(event, receipt):
            future = intake.put((event,), (receipt,), timeout_s=timeout_s)
            if future is None:
                future = await intake.put_when_free((event,), (receipt,), timeout_s=timeout_s)
            await future
        if self.profile != "server":
            await self._answered(engine, self._settings.flush_s)
        return receipt

    async def send_many(self, events: Sequence[Event], *, timeout_s: float = 5.0) -> list[Receipt]:
        """Accept many events, in their order; on return all are in the spool.

        Args:
            timeout_s: Seconds to wait for room without any progress.

        Raises:
            EventError: One is malformed; ``field`` begins with its index, and nothing was stored.
            QueueFull: No room; the text says how many of the events, from the first on, were stored.
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.

        The last three have ``stored_events``, the number of those from the first on that are stored, and ``stored``
        for the others: False (surely not stored), True, or ``None`` (unknown: they may be delivered).
        """
        events = list(events)
        if not events:
            return []
        for index in doubtful(events):
            self._check(events[index], index)
        engine = self._running()
        intake, delivery, names = engine.intake, engine.delivery, self._names
        receipts = [Receipt(event.event_id, names, delivery) for event in events]
        future = intake.put(events, receipts, timeout_s=timeout_s)
        if future is None:
            future = await intake.put_when_free(events, receipts, timeout_s=timeout_s)
        await future
        if self.profile != "server":
            await self._answered(engine, self._settings.flush_s)
        return receipts

    def enqueue(self, event: Event) -> Receipt:
        """Hand in one event without awaiting: it waits in the bounded intake, not yet in the spool.

        May be called from other threads than the event loop's, such as FastAPI's for plain ``def`` routes and
        background tasks; the client must have been entered before. ``await receipt.accepted()`` says when the event
        is stored.

        Raises:
            EventError: The event itself is malformed.
            QueueFull: The intake is full.
            ClientClosed: ``aclose()`` has begun, or the client does not run in this process.
        """
        receipt, stored = self._enqueue(event)
        if stored is not None:
            when_failed(stored, WeakMethod(self._unstored_one))
        return receipt

    def _unstored_one(self, error: BaseException) -> None:
        """The receipt may never be asked. What a close left is said by the close, what never opened by the start."""
        engine = self._engine
        if isinstance(error, ClientClosed) or (engine is not None and not engine.is_open):
            return
        self._untracked.note_unstored(error)

    def _enqueue(self, event: Event) -> tuple[Receipt, asyncio.Future[None] | Answer | None]:
        """The receipt, and what will tell whether the event is stored; ``None`` if it is."""
        self._check(event, "")
        engine = self._engine
        if engine is not None and engine.loop is not _loop_here() and self._pid == os.getpid() and self._runs(engine):
            return self._handover.put(event)
        engine = self._running()
        receipt = Receipt(event.event_id, self._names, engine.delivery)
        if engine.intake.at_once(event, receipt):
            return receipt, None
        future = engine.intake.put((event,), (receipt,), timeout_s=None)
        if future is None:
            raise QueueFull("too many events wait to be prepared; nothing was stored")
        receipt._acceptance = future
        return receipt, future

    def _runs(self, engine: Dispatcher) -> bool:
        return not engine.loop.is_closed() and not engine.intake.closed

    def track(self, event: Event | str, /, **fields: Any) -> Receipt | None:
        """Hand in one event as :meth:`enqueue` does, from any thread, and never raise: for a checkout page.

        ``client.track("purchase", value="12.50", currency="EUR", user=User(email=...))``, or an :class:`Event`. What
        cannot be taken (malformed, no room, closed), or fails to be stored later, is counted in :attr:`untracked` and
        logged: the first of a kind at once, then their number once a minute.

        Returns:
            The receipt; ``None`` if the event was not taken.
        """
        return self._tracked(event, fields, self._enqueue)

    def _tracked(
        self,
        event: Event | str,
        fields: Mapping[str, Any],
        enqueue: Callable[[Event], tuple[Receipt, asyncio.Future[None] | Answer | None]],
    ) -> Receipt | None:
        try:
            if not isinstance(event, Event):
                event = Event(event, **fields)
            elif fields:
                raise EventError("", "track() takes an Event, or a name and fields, not both")
            receipt, stored = enqueue(event)
        except Exception as error:  # never raises: whatever was given to it
            self.note_untracked(error)
            return None
        if stored is not None:
            when_failed(stored, WeakMethod(self.note_untracked))
        return receipt

    def note_untracked(self, error: BaseException) -> None:
        """Count and log as :meth:`track` does: for code of yours that fails before there is an event to track."""
        self._untracked.note(error)

    @property
    def untracked(self) -> Mapping[str, int]:
        """How many events :meth:`track` could not take, by reason: ``malformed``, ``full``, ``storage``, ``closed``."""
        return self._untracked.counts()

    def room(self) -> int:
        """Events that the queue of every destination takes now, before ``overflow`` decides; 0 where one is full.

        For those who hand over events from a store of their own, and would rather wait than have any dropped.

        Raises:
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        self._running()
        depths = [self._spool.depth(name) for name in self._names]
        if any(depth.bytes >= self._settings.max_pending_bytes for depth in depths):
            return 0
        return max(0, self._settings.max_pending_events - max(depth.events for depth in depths))

    async def _answered(self, engine: Dispatcher, within_s: float) -> bool:
        """Wait for the platforms' answers, and say what is left when the caller goes on."""
        if await engine.answered(within_s):
            return True
        for name in self._names if self._settings.deliver else ():
            if left := self._spool.depth(name).events:
                say_waiting(self._notices.note, name, left, engine.delivery.pending(name), self._spool, within_s)
        return False

    async def flush(self, timeout_s: float | None = None) -> bool:
        """Send what lingers and wait until every accepted event is settled; False if time ran out.

        The ledger says whether anything is pending, also what other processes on the same spool have to deliver. With
        ``deliver=False`` nothing is waited for but that all is stored: True if nothing is pending then.

        Args:
            timeout_s: Unless given ten seconds, or ``flush_s`` in the profile ``serverless``: there what cannot be sent
                before the end is not waited for, and nothing is under way on return.
        """
        timeout_s = self._seconds_for(timeout_s)
        engine = self._running()
        if len(self._handover) and not await self._handover.emptied(timeout_s):
            return False
        if self.profile != "server":
            return await self._answered(engine, timeout_s)
        return await engine.flush(timeout_s)

    def _seconds_for(self, given_s: float | None) -> float:
        if given_s is not None:
            return given_s
        return _END_S if self.profile == "server" else self._settings.flush_s

    async def aclose(self, deadline_s: float | None = None, *, drain: bool = True) -> CloseReport:
        """Stop accepting, flush, and stop everything at the deadline, which is hard.

        The last tenth of it (at most a second) is for ending requests and storage, so that it is the whole; below
        half a second, ending may take as much as that. Storage that stands still even then is left to end by itself,
        and a client that is entered again waits for it.

        With a durable spool nothing accepted is lost. In memory, what the deadline catches is lost, and the
        report says how much. A call while another one closes waits for that one, and gets its report.

        Args:
            deadline_s: Unless given ten seconds, or ``flush_s`` in the profile ``serverless``.
            drain: False waits only for the answers of requests that are under way, and begins no others: the rest
                stays in the spool, for other processes or the next start.
        """
        deadline_s = self._seconds_for(deadline_s)
        loop = asyncio.get_running_loop()
        if self._closing is not None and self._closing.get_loop() is loop:
            return await asyncio.shield(self._closing)
        self._closed = True
        engine = self._engine
        if engine is None:  # nothing was sent, but something may have been read back
            earlier = self._earlier
            if earlier is not None and not earlier.done() and earlier.get_loop() is loop:
                await asyncio.wait([earlier], timeout=deadline_s)
            else:
                await self._ended()
        elif engine.loop is loop and self._pid == os.getpid():
            self._engine = None
            self._left_over = self._handover.detach()
            engine.intake.closed = True
            closing = self._closing = loop.create_future()
            until = stop_at(self._clock.monotonic(), deadline_s)
            report: CloseReport | None = None
            unanswered = 0
            try:
                await (engine.drain if drain else engine.finish)(flush_s(deadline_s))
            finally:
                unanswered = engine.under_way
                try:
                    await engine.stop(until)
                finally:
                    self._earlier = engine.supervisor
                    self._closing = None
                    intake = engine.intake
                    try:
                        report = self._close_report(intake.unstored, unanswered, intake.unknown)
                        closing.set_result(report)
                        self._notices.flush()
                        say_left(report, durable=self._spool.durable)
                    finally:
                        closing.cancel()  # no effect unless the ledger could not be read
            return report
        return self._close_report(0)

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is None or engine.told or self._pid != os.getpid():
            return
        try:
            # what a durable spool holds is delivered later; what never reached it is lost with any
            ledger = {} if self._spool.durable else self._spool.ledger()
            left = pending_of(ledger)
            waiting = engine.intake.unstored + engine.intake.waiting + len(self._handover)
        except Exception:  # the interpreter is being taken down
            return
        if left or waiting:
            say_unclosed(self, left, waiting)

    def report(self) -> CloseReport:
        """What ``aclose()`` would leave behind at this moment, apart from what waits to be stored."""
        self._look()
        return self._close_report(0)

    def _close_report(self, unstored: int, unanswered: int = 0, unknown: int = 0) -> CloseReport:
        return close_report(self._spool, unstored=unstored + self._left_over, unanswered=unanswered, unknown=unknown)

    @property
    def durable(self) -> bool:
        """Whether accepted events outlive this process."""
        return self._spool.durable

    def ledger(self) -> Mapping[str, Ledger]:
        """Destination to counts of every state; ``accepted`` is the sum of the others."""
        self._look()
        found = self._spool.ledger()
        return {name: found.get(name, Ledger()) for name in self._names} | dict(found)

    def _look(self) -> None:
        """Somebody asks what became of events: of a few that are kept as they are, that is known at once."""
        if self._engine is not None:
            self._engine.intake.gathering.look()

    def states(self) -> Mapping[str, DestinationState]:
        """Destination to how it does."""
        workers = {} if self._engine is None else self._engine.workers
        if self._engine is not None and self._engine.failed:
            return {name: DestinationState(state="broken", reason=self._engine.failed) for name in self._names}
        return {
            name: DestinationState(state=workers[name].breaker.state, reason=workers[name].breaker.reason)
            if name in workers
            else DestinationState(state="open")
            for name in self._names
        }

    @property
    def metrics(self) -> Metrics:
        """What this client has counted since it was made; for :mod:`capi_async.telemetry.prometheus` and your own."""
        return self._metrics

    def snapshot(self) -> Snapshot:
        """What waits, what happens, how fast and what is wrong, at this moment; no personal data is in it."""
        engine = self._engine
        opened = engine is not None and engine.is_open
        ledger: Mapping[str, Ledger] = {}
        storage_error = ""
        try:
            ledger = self.ledger()
        except SpoolError as error:  # what else is known is wanted then more than ever
            storage_error = str(error)
        return overview(
            self.destinations,
            workers=engine.workers if engine is not None and opened else {},
            failed="" if engine is None else engine.failed,
            running=engine is not None and not engine.failed,
            mode=self.mode,
            delivers=self._settings.deliver,
            unstored=len(self._handover) + (0 if engine is None else engine.intake.waiting),
            spool=self._spool,
            ledger=ledger,
            storage_error=storage_error,
            metrics=self._metrics,
            clock=self._clock,
        )

    def watch(self, events: int = EVENTS) -> None:
        """Keep, from now on, the way of so many recent events to each destination: what the dashboard shows.

        They stay in memory, free of personal data: wires are masked before they are kept. Of events that come faster
        than some 20 a second only some are kept, and those that went wrong.
        """
        self._recent.start(events)

    def recent(self, event_or_order_id: str | None = None) -> list[Seen]:
        """The recent events, or those of one id, the newest first; see :meth:`watch`."""
        return self._recent.events() if event_or_order_id is None else self._recent.find(event_or_order_id)

    async def _tell(self, events: int) -> Told:
        return Told(
            process=process_name(),
            snapshot=self.snapshot(),
            events=self._recent.events(events),
            missed=self._recent.missed,
        )

    @property
    def unwatched(self) -> int:
        """How many events came too fast to be kept among the recent ones."""
        return self._recent.missed

    def explain(self, event: Event) -> Mapping[str, Explanation]:
        """What each destination would be sent, offline: the wire object, identifiers used and refused, the verdict.

        Clear personal values are masked.

        Raises:
            EventError: The event itself is malformed.
        """
        self._check(event, "")
        now = self._clock.wall()
        return {
            destination.name: explain(destination, self._explainer, event, now) for destination in self.destinations
        }

    async def check(self, *, send_test: bool = False) -> Report:
        """What keeps this configuration from working: packages, credentials, network, clock, account, spool.

        The client need not be entered; of one that is, it tells too what became of its events. Nothing is sent, unless
        it is asked for; the spool is not opened.

        Args:
            send_test: Also send one event to each destination in its platform's test mode, where it never counts;
                skipped where there is none.
        """
        from capi_async.doctor import examine  # needed by few, and by them once

        try:
            return await examine(
                self.destinations,
                self._spool,
                self._transport,
                trust_env=self._trust_env,
                send_test=self._send_test if send_test and self.mode != "off" else None,
                snapshot=self.snapshot() if self._engine is not None else None,
                clock=self._clock,
            )
        finally:
            if self._engine is None and self._http is not None:
                await self._http.aclose()

    async def _send_test(self, destination: Destination, transport: Transport) -> Outcome:
        """One event in the platform's test mode, by a client of its own that keeps nothing."""
        from capi_async.doctor.trial import trial_event, trial_outcome

        tried = msgspec.structs.replace(destination, test=True)
        async with Client([tried], transport=transport, linger_s=0, max_attempts=1) as client:
            event = trial_event()
            outcome = await trial_outcome(await client.send(event), destination.name)
            # what waits at a paused destination is of no further use
            await client.forget(event.user)
        return outcome

    @property
    def transport(self) -> Transport:
        """For the small functions beside a destination that read back from its platform."""
        return self._transport

    def _check(self, event: Event, index: int | str) -> None:
        """What can only be told here: does the event's currency exist, do its destinations."""
        if type(event) is not Event:
            raise EventError(_at(index, ""), f"needs an Event(...), got {type(event).__name__}")
        if event.to is not None or event.currency not in FINE:
            check(event, self._names, at=_at(index, ""))

    def _running(self) -> Dispatcher:
        """The engine of the running loop, made when first needed."""
        engine = self._engine
        loop = _loop_here()
        if loop is None:
            raise ClientClosed(_NO_LOOP)
        if engine is not None and engine.loop is loop and self._pid == os.getpid():
            if engine.failed:
                raise ClientClosed(engine.failed)
            return engine
        if self._closed:
            raise ClientClosed("the client is closed; enter it again to go on")
        if engine is not None:
            if self._pid != os.getpid():
                raise ClientClosed(
                    "this client was started in another process and forked; make one client per process, after the fork"
                )
            if not engine.loop.is_closed():
                raise ClientClosed("this client belongs to another event loop; make one client per loop")
            # that loop ended without aclose(): its tasks are gone, what it held is taken up again
        self._pid = os.getpid()
        self._metrics.begin()
        board = board_of(self._spool)
        self._engine = Dispatcher(
            self.destinations,
            settings=self._settings,
            spool=self._spool,
            preparer=self._preparer,
            transport=self._transport,
            hooks=self._hooks,
            notices=self._notices,
            metrics=self._metrics,
            watcher=self._recent,
            beside=None if board is None else Telling(board, self._recent, self._tell).run,
            clock=self._clock,
            ended=self._ended,
            not_handed_over=self._handover.__len__,
            after=self._earlier,
        )
        self._earlier = None
        self._engine.start()
        self._say_frozen()
        self._left_over = 0
        self._handover.attach(loop, self._engine.intake, self._engine.delivery)
        return self._engine

    def _say_frozen(self) -> None:
        if self.profile == "server" and (host := freezing_host()):
            self._notices.note(
                logging.WARNING,
                ("frozen", host),
                "this runs on %s, which freezes a process when its handler has returned, with what waits to be sent: "
                "make the client with profile='serverless', or set CAPI_ASYNC_PROFILE=serverless",
                host,
                extra={"host": host},
            )

    async def _ended(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def _make_preparer(self, off: frozenset[str] = frozenset(), *, watched: bool = True) -> Preparer:
        return Preparer(
            self.destinations,
            consent=self._consent,
            phone_region=self._phone_region,
            before_send=self._before_send,
            off=off,
            watcher=self._recent if watched else None,
        )

    def __repr__(self) -> str:
        return f"Client({', '.join(self._names)})"


def _looking(method: WeakMethod[Callable[[], Snapshot]]) -> Callable[[], Snapshot | None]:
    """Gives a client's snapshot without holding the client; ``None`` once there is no client any more."""

    def look() -> Snapshot | None:
        bound = method()
        return None if bound is None else bound()

    return look


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _at(index: int | str, field: str) -> str:
    return field if index == "" else f"[{index}].{field}".rstrip(".")


def _as_options(settings: ClientOptions) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def _current_trace(hooks: Sequence[Hook]) -> Callable[[], str] | None:
    """Gives the caller's trace context, if one of the hooks makes traces."""
    tracing = tracer_of(hooks)
    return None if tracing is None else tracing.current
