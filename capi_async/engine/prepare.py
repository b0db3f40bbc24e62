"""From events to records: consent, hash once, map for each destination, encode. Runs in the prepare thread.

Destinations and the objects in an event are code of the user's: an exception in it costs that event. The thread is not
the main one, so that not even a KeyboardInterrupt here is meant for us.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from capi_async.engine.batcher import Batcher
from capi_async.engine.edits import BEFORE_SEND, BeforeSend, edited, with_own_value
from capi_async.engine.fault_field import largest, too_deep, unencodable
from capi_async.engine.names import NameWatch
from capi_async.engine.notices import EVERY_S
from capi_async.engine.receipt import Receipt
from capi_async.event import Event, Hashed
from capi_async.log import Log
from capi_async.outcome import Outcome
from capi_async.pii.identifiers import Identifiers, Known, Plan
from capi_async.pii.phone import is_written_out
from capi_async.rows import Rows, Together
from capi_async.spec import ENCODER, Destination, Refusal, Wire
from capi_async.spool.base import Record, Refused
from capi_async.telemetry.base import Watcher
from capi_async.traces import place_of, trace_of

logger = Log(__name__)

ConsentPolicy: TypeAlias = Literal["vouch", "require"]
#: Where events are prepared: lone small ones on the event loop and the others in a thread, or all of them there.
Prepare: TypeAlias = Literal["auto", "thread"]

#: How long the prepare thread keeps the GIL: one that hashes without pausing delays the loop by 5 ms a switch. The loop
#: waits as long before nearly every turn while events are prepared, so that this is part of its lag.
_TURN_S: Final = 0.0006
#: Events that are taken through all destinations together: what they hold stays in the processor's cache.
_STRIDE: Final = 128
#: Fewer are not worth to be laid out by columns: for one destination, and where several share them.
_LEAST_ALONE: Final = 48
_LEAST_SHARED: Final = 20

#: Bytes up to which an event is small; and items, and properties.
SMALL_BYTES: Final = 3_072
_FEW: Final = 16
_SIZE: Final = msgspec.msgpack.Encoder()
#: Types of a user's values that never change.
_FIXED: Final = (str, type(None), Hashed, tuple)

_NOT_ADDRESSED: Final = Outcome(kind="skipped", field="to", reason="not addressed to this destination")
_NO_CONSENT: Final = Outcome(
    kind="skipped",
    field="consent",
    reason="no consent given, and this client requires it",
    fix="set consent=Consent(...)",
)
_OFF: Final = Outcome(
    kind="skipped", reason="the client is off", fix="set mode='live' to send", reason_code="client_off"
)
_EXPIRED: Final = Outcome(kind="expired", field="time", reason="older than this platform takes")
_FAR_AHEAD: Final = Outcome(
    kind="rejected",
    field="time",
    reason="lies in the future",
    fix="check the clock, and seconds against milliseconds",
    reason_code="in_future",
)


class _Turn:
    """Gives the GIL away now and then: a sleep costs 17 µs of CPU and up to 80 of time."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def offer(self) -> None:
        """Let the event loop run if this thread has had its turn."""
        if time.perf_counter() - self._since > _TURN_S:
            time.sleep(0)
            self._since = time.perf_counter()


class _Target:
    """A destination with everything that is asked of it per event at hand.

    Attributes:
        leader: An earlier destination that makes the same bodies, see :attr:`Destination.head_settings`.
        off: What could be sent is skipped.
        brief: It takes some microseconds for a small event, and runs no code of others.
    """

    __slots__ = (
        "account", "brief", "destination", "leader", "max_body", "max_future_s", "name", "off", "said", "to_wire",
        "together", "wire",
    )  # fmt: skip

    def __init__(self, destination: Destination, before: Sequence[_Target], *, off: bool) -> None:
        limits = destination.effective_limits()
        self.destination = destination
        self.off = off
        self.name = destination.name
        #: What its code raised to when that was logged last, in monotonic seconds.
        self.said: dict[str, float] = {}
        self.to_wire = destination.to_wire if destination.value is None else with_own_value(destination)
        #: Nothing of it may be used where a value of the account's own takes the place of the event's.
        self.together = destination.together if destination.value is None else None
        self.account = destination.account()
        self.wire = destination.wire
        #: A function of the event that gives its value is the user's code.
        self.brief = _is_brief(destination) and not off and not callable(destination.value)
        self.max_body = limits.max_batch_bytes - Batcher.ENVELOPE_BYTES
        self.max_future_s = limits.max_future_s
        leaders = [one for one in before if one.leader is None]
        self.leader: _Target | None = next((one for one in leaders if destination.shares_bodies(one.destination)), None)


def _is_brief(destination: Destination) -> bool:
    """Whether it says so itself: who maps in another way than the class that did must say it anew."""
    for owner in type(destination).__mro__:
        if "brief" in vars(owner):
            return destination.brief
        if "to_wire" in vars(owner):
            return False
    return False


class _Stride(NamedTuple):
    """Events that are taken through all destinations together.

    Attributes:
        usual: None of them needs to be checked by itself; else all of them do.
        rows: The same by columns, where they are usual and so many that it is worth while.
    """

    events: Sequence[Event]
    known: Sequence[Identifiers] | Known
    receipts: Sequence[Receipt]
    usual: bool = False
    rows: Rows | None = None

    @property
    def ids(self) -> Sequence[Identifiers]:
        """The identifiers of each."""
        return self.known.people if isinstance(self.known, Known) else self.known

    def each(self) -> Iterable[tuple[Event, Identifiers, Receipt]]:
        """Event by event."""
        return zip(self.events, self.ids, self.receipts, strict=True)


class Preparer:
    """Turns events into one record or refusal per destination.

    Args:
        destinations: All that the client serves.
        consent: ``require`` skips events that carry no ``Consent``.
        phone_region: ISO 3166-1 alpha-2 country in which numbers without country code are read.
        before_send: Gives the event to send in the place of another one, or ``None``: it is skipped.
        off: Names of destinations to which nothing is sent: what could be, is skipped.
        watcher: Called with what was prepared, while it is on.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        *,
        consent: ConsentPolicy = "vouch",
        phone_region: str | None = None,
        before_send: BeforeSend | None = None,
        off: Set[str] = frozenset(),
        watcher: Watcher | None = None,
    ) -> None:
        self._watcher = watcher or Watcher()
        self._targets: list[_Target] = []
        for destination in destinations:
            self._targets.append(_Target(destination, self._targets, off=destination.name in off))
        leaders = [target for target in self._targets if target.together and target.leader is None]
        #: Without such destinations none are ever worth while.
        self._least = _LEAST_SHARED if len(leaders) > 1 else _LEAST_ALONE if leaders else _STRIDE + 1
        self._before_send = before_send
        self._target_names = tuple(target.name for target in self._targets)
        wanted = dict.fromkeys(name for destination in destinations for name in destination.identifiers)
        self._names = NameWatch(destinations)
        self._plan = Plan(wanted, phone_region=phone_region)
        self._require_consent = consent == "require"
        #: Whether an event that comes alone may be prepared elsewhere than in the thread, see :meth:`alone`.
        self.brief = before_send is None and all(target.brief for target in self._targets)
        self._scratch = bytearray()
        #: Whose code runs in :meth:`run` ("" for what the events hold), and since when, in monotonic seconds.
        self.at: tuple[str, float] | None = None

    def run(
        self, events: Sequence[Event], receipts: Sequence[Receipt], now: float
    ) -> tuple[list[Record], list[Refused]]:
        """Prepare one micro-batch. Records of one destination follow one another, in the order of ``events``.

        Never raises on account of an event: what cannot be sent is refused, with a reason.

        Args:
            now: Seconds since the epoch.
        """
        try:
            return self._run(events, receipts, now)
        finally:
            self.at = None

    def _run(
        self, events: Sequence[Event], receipts: Sequence[Receipt], now: float
    ) -> tuple[list[Record], list[Refused]]:
        made: list[list[Record]] = [[] for _ in self._targets]
        refused: list[Refused] = []
        turn = _Turn()
        if self._before_send is not None:
            events, receipts = self._edit(self._before_send, events, receipts, refused, turn)
        self._names.look(events)
        watched = self._watcher.on
        for start in range(0, len(events), _STRIDE):
            turn.offer()
            self.at = ("", time.monotonic())
            stop = start + _STRIDE
            for stride in self._identify(events[start:stop], receipts[start:stop], refused, now):
                if watched:
                    self._watcher.identified(stride.events, stride.ids)
                shared: dict[str, list[Record | None]] = {}
                for target, records in zip(self._targets, made, strict=True):
                    turn.offer()
                    self.at = (target.name, time.monotonic())
                    if target.off or not stride.usual:
                        row = self._one_by_one(target, stride, refused, now)
                    elif target.leader is None:
                        row = shared[target.name] = self._lead(target, stride, refused, now)
                    else:
                        row = self._follow(target, stride, shared[target.leader.name], refused, now)
                    records += [record for record in row if record is not None]
        every = [record for records in made for record in records] if len(made) > 1 else made[0]
        if watched:
            self._watcher.prepared(every, refused)
        return every, refused

    def _edit(
        self,
        before_send: BeforeSend,
        events: Sequence[Event],
        receipts: Sequence[Receipt],
        refused: list[Refused],
        turn: _Turn,
    ) -> tuple[list[Event], list[Receipt]]:
        """The events as the caller's own function gives them; those that it vetoes are refused everywhere."""
        kept: list[tuple[Event, Receipt]] = []
        for event, receipt in zip(events, receipts, strict=True):
            turn.offer()
            self.at = (BEFORE_SEND, time.monotonic())
            made = edited(event, before_send, self._target_names)
            if isinstance(made, Event):
                kept.append((made, receipt))
            else:
                refused += [Refused(target.name, event.event_id, made, receipt) for target in self._targets]
        return [event for event, _ in kept], [receipt for _, receipt in kept]

    def _identify(
        self, events: Sequence[Event], receipts: Sequence[Receipt], refused: list[Refused], now: float
    ) -> list[_Stride]:
        """The events in their order, and apart from them those that need to be checked one by one."""
        try:
            times = [event.time.timestamp() for event in events]  # a time zone is the caller's code
            users, pages = [event.user for event in events], [event.page for event in events]
            usual = self._usual(events, times, now)
            known: Sequence[Identifiers] | Known
            if len(events) >= self._least and all(usual):
                known = self._plan.known(users, pages)
                return [_Stride(events, known, receipts, True, Rows(events, times, known, self._least))]
            known = self._plan.identify_all(users, pages)
        except BaseException:  # a fault of ours costs one event, not its neighbours
            events, receipts, ids = self._identify_apart(events, receipts, refused)
            return [_Stride(events, ids, receipts)]
        edges = [index for index, (one, other) in enumerate(pairwise(usual), 1) if one is not other]
        return [
            _Stride(events[start:stop], known[start:stop], receipts[start:stop], usual[start])
            for start, stop in pairwise([0, *edges, len(events)])
        ]

    def _usual(self, events: Sequence[Event], times: Sequence[float], now: float) -> list[bool]:
        strict = self._require_consent
        return [
            at <= now and event.to is None and not (strict and event.consent is None)
            for event, at in zip(events, times, strict=True)
        ]

    def _identify_apart(
        self, events: Sequence[Event], receipts: Sequence[Receipt], refused: list[Refused]
    ) -> tuple[list[Event], list[Receipt], list[Identifiers]]:
        """The events that can be identified; the others are refused."""
        kept: list[tuple[Event, Receipt, Identifiers]] = []
        for event, receipt in zip(events, receipts, strict=True):
            try:
                event.time.timestamp()  # a time zone is the caller's code
                kept.append((event, receipt, self._plan.identify(event.user, event.page)))
            except BaseException as error:
                logger.error(
                    "an event could not be prepared: %s; it is rejected, please report it",
                    type(error).__name__,
                    extra={"error": type(error).__name__},
                )
                outcome = unpreparable(error)
                refused += [Refused(target.name, event.event_id, outcome, receipt) for target in self._targets]
        return [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]

    def _lead(self, target: _Target, stride: _Stride, refused: list[Refused], now: float) -> list[Record | None]:
        """The records of these events for one destination; ``None`` where one was refused."""
        # this runs for every event and destination: what can be done for many at once, is
        rows = stride.rows
        if target.together and rows is not None:
            try:
                made = target.together(rows)
            except BaseException:  # prepared once more, one by one, which names what is wrong
                return self._one_by_one(target, stride, refused, now)
            if made is not None:
                return self._together(target, stride, made, refused, now)
        try:
            encode = ENCODER.encode
            wires: list[Any] = list(map(target.to_wire, stride.events, stride.ids))
            if len(wires) != len(stride.events):  # a StopIteration in to_wire() ends map() in silence
                return self._one_by_one(target, stride, refused, now)
            bodies = [encode(wire.body) if type(wire) is Wire and wire.expires_at > now else None for wire in wires]
        except BaseException:  # prepared once more, one by one, which names what is wrong
            return self._one_by_one(target, stride, refused, now)
        name, max_body, account, form = target.name, target.max_body, target.account, target.wire
        return [
            Record(
                name, event.event_id, wire.head, body, wire.expires_at, wire.resend_for_s,
                account, form, now, wire.order_key, 0, 0, 0.0, receipt,
            )
            if body is not None and len(body) <= max_body
            else self._prepare_one(target, event, ids, receipt, refused, now)
            for (event, ids, receipt), wire, body in zip(stride.each(), wires, bodies, strict=True)
        ]  # fmt: skip

    def _together(
        self, target: _Target, stride: _Stride, made: Together, refused: list[Refused], now: float
    ) -> list[Record | None]:
        """The same of what a destination made of all of them."""
        bodies, head, expires_at, resend_for_s = made
        name, max_body, account, form = target.name, target.max_body, target.account, target.wire
        return [
            Record(
                name, event.event_id, head, body, at, resend_for_s, account, form, now, None, 0, 0, 0.0, receipt,
            )
            if body is not None and len(body) <= max_body and at > now
            else self._prepare_one(target, event, stride.ids[index], receipt, refused, now)
            for index, (event, receipt, body, at) in enumerate(
                zip(stride.events, stride.receipts, bodies, expires_at, strict=True)
            )
        ]  # fmt: skip

    def _follow(
        self,
        target: _Target,
        stride: _Stride,
        shared: Sequence[Record | None],
        refused: list[Refused],
        now: float,
    ) -> list[Record | None]:
        """The same for a destination whose bodies another one has made already: only the head is its own."""
        head_of, name, account, form = target.destination.head_of, target.name, target.account, target.wire
        max_body = target.max_body
        row: list[Record | None] = []
        for index, (event, receipt, same) in enumerate(zip(stride.events, stride.receipts, shared, strict=True)):
            if same is not None and not event.extra and len(same.body) <= max_body:
                head: bytes | Refusal | None
                try:
                    head = head_of(event)
                except BaseException:  # prepared once more below
                    head = None
                if type(head) is bytes:
                    row.append(
                        Record(
                            name, event.event_id, head, same.body, same.expires_at, same.resend_for_s,
                            account, form, now, same.order_key, 0, 0, 0.0, receipt,
                        )
                    )  # fmt: skip
                    continue
            row.append(self._prepare_one(target, event, stride.ids[index], receipt, refused, now))
        return row

    def _one_by_one(self, target: _Target, stride: _Stride, refused: list[Refused], now: float) -> list[Record | None]:
        """The records of events of which some are not as usual."""
        return [self._prepare_one(target, event, ids, receipt, refused, now) for event, ids, receipt in stride.each()]

    def _prepare_one(
        self, target: _Target, event: Event, ids: Identifiers, receipt: Receipt, refused: list[Refused], now: float
    ) -> Record | None:
        """The record of one event; ``None`` if it was refused, and why is among ``refused``."""
        made = self._record_of(target, event, ids, now)
        if isinstance(made, Record):
            made.receipt = receipt
            return made
        refused.append(Refused(target.name, event.event_id, made, receipt))
        return None

    def alone(self, event: Event, receipt: Receipt, now: float) -> tuple[list[Record], list[Refused]] | None:
        """What :meth:`run` gives for one small and usual event, on the event loop; ``None``: the thread is to do it.

        Nothing is caught on account of the event, logged or said here: what is not as usual is left to :meth:`run`.
        Must not be called while :meth:`run` goes on in the thread.

        Args:
            now: Seconds since the epoch.
        """
        try:
            if self._watcher.on:  # what it keeps of an event takes longer than preparing it
                return None
            if not self._names.knows(event) or event.time.timestamp() > now or not self._is_small(event):
                return None
            ids = self._plan.identify(event.user, event.page)
            records: list[Record] = []
            refused: list[Refused] = []
            for target in self._targets:
                made = self._usual_one(target, event, ids, now, records)
                if type(made) is Record:
                    made.receipt = receipt
                    records.append(made)
                elif type(made) is Outcome:
                    refused.append(Refused(target.name, event.event_id, made, receipt))
                else:
                    return None
            if self._watcher.on:
                self._watcher.identified((event,), (ids,))
                self._watcher.prepared(records, refused)
        except KeyboardInterrupt:  # this is the main thread, perhaps
            raise
        except BaseException:  # prepared once more in the thread, which names what is wrong
            return None
        return records, refused

    def may_wait(self, event: Event) -> bool:
        """Whether :meth:`run` would make the same of the event a little later, in bounded time, and nobody watches."""
        user = event.user
        try:
            return (
                not self._watcher.on
                # what its caller may change meanwhile; lists of items and of addressees are copied
                and type(user.email) in _FIXED and type(user.external_id) in _FIXED and not event.properties
                and event.meta is None and event.snap is None and event.pinterest is None and event.tiktok is None
                and event.cutmeshort is None and event.linkedin is None
                and self._is_small(event)
            )  # fmt: skip
        except KeyboardInterrupt:  # as in alone()
            raise
        except BaseException:  # it cannot be measured: a mapping of the caller's own, text that is no Unicode
            return False

    def _is_small(self, event: Event) -> bool:
        """Whether identifying and mapping it is sure to take no longer than for most."""
        if len(event.items) > _FEW or len(event.properties) > _FEW or event.extra:
            return False
        number = event.user.phone
        if number is not None and type(number) is not Hashed and not (type(number) is str and is_written_out(number)):
            return False  # several, or one that a parser of another package may have to read
        _SIZE.encode_into(event, self._scratch)
        return len(self._scratch) <= SMALL_BYTES

    def _usual_one(
        self, target: _Target, event: Event, ids: Identifiers, now: float, before: Sequence[Record]
    ) -> Record | Outcome | None:
        """The record of a usual event, or the refusal of the destination; ``None``: it has to be prepared by itself."""
        if event.to is not None and target.name not in event.to:
            return _NOT_ADDRESSED
        if self._require_consent and event.consent is None:
            return _NO_CONSENT
        if target.leader is not None:
            for same in before:
                if same.destination == target.leader.name and len(same.body) <= target.max_body:
                    head = target.destination.head_of(event)
                    if type(head) is not bytes:
                        return None
                    return Record(
                        target.name, event.event_id, head, same.body, same.expires_at, same.resend_for_s,
                        target.account, target.wire, now, same.order_key,
                    )  # fmt: skip
        made = target.to_wire(event, ids)
        if type(made) is Refusal and _is_whole(made):
            return Outcome(kind=made.kind, reason=made.reason, field=made.field, fix=made.fix)
        if type(made) is not Wire or made.expires_at <= now:
            return None
        body = ENCODER.encode(made.body)
        if len(body) > target.max_body:
            return None
        return Record(
            target.name, event.event_id, made.head, body, made.expires_at, made.resend_for_s,
            target.account, target.wire, now, made.order_key,
        )  # fmt: skip

    def one(
        self, destination: Destination, event: Event, now: float
    ) -> tuple[Record | Outcome, Identifiers, Sequence[str]]:
        """One event for one destination, its identifiers, and what was adjusted on the way; for ``explain``."""
        if self._before_send is not None:
            changed = edited(event, self._before_send, self._target_names)
            if isinstance(changed, Outcome):
                return changed, self._plan.identify(event.user, event.page), []
            event = changed
        ids = self._plan.identify(event.user, event.page)
        target = next(target for target in self._targets if target.name == destination.name)
        made: Record | Outcome = self._record_of(target, event, ids, now)
        warnings: list[str] = []
        if type(made) is Record:
            if event.time.timestamp() > now:
                warnings.append("time: lies in the future, and is sent as now")
                event = _clamped(event, now)
            wire = target.to_wire(event, ids)
            warnings += wire.warnings if type(wire) is Wire else ()
        return made, ids, warnings

    def _record_of(self, target: _Target, event: Event, ids: Identifiers, now: float) -> Record | Outcome:
        if event.to is not None and target.name not in event.to:
            return _NOT_ADDRESSED
        if self._require_consent and event.consent is None:
            return _NO_CONSENT
        if (at := event.time.timestamp()) > now:
            if at - now > max(target.max_future_s, 0.0):
                return _FAR_AHEAD
            event = _clamped(event, now)
        try:
            made = target.to_wire(event, ids)
        except RecursionError as error:
            return too_deep(event, target.destination) or _failed(target, error)
        except BaseException as error:  # a destination's fault costs its own event, not the batch
            return _failed(target, error)
        if type(made) is Refusal and _is_whole(made):
            return Outcome(kind=made.kind, reason=made.reason, field=made.field, fix=made.fix)
        if type(made) is not Wire:
            reason = "the destination gave neither Wire nor Refusal"
            return Outcome(kind="rejected", reason=reason, fix="mend the destination", reason_code="user_code")
        try:
            if made.expires_at <= now:
                return _EXPIRED
            body = ENCODER.encode(made.body)
        except RecursionError as error:
            return too_deep(event, target.destination) or unencodable(event, error)
        except BaseException as error:  # an object of the caller's may raise anything when it is read
            return unencodable(event, error)
        if len(body) > target.max_body:
            return Outcome(
                kind="rejected",
                reason=f"{len(body)} bytes, and a whole request of this platform takes {target.max_body}",
                field=largest(event),
                fix="shorten it",
                reason_code="too_large",
            )
        if target.off:
            return _OFF
        return Record(
            target.name,
            event.event_id,
            made.head,
            body,
            made.expires_at,
            made.resend_for_s,
            target.account,
            target.wire,
            now,
            made.order_key,
        )


def unpreparable(error: BaseException) -> Outcome:
    """The end of an event that a fault kept from being prepared; of the error its type only, its text may quote it."""
    name = type(error).__name__
    return Outcome(kind="rejected", reason=f"could not be prepared ({name})", reason_code="user_code")


def _clamped(event: Event, now: float) -> Event:
    return replace(event, time=datetime.fromtimestamp(now, UTC))


def _failed(target: _Target, error: BaseException) -> Outcome:
    # the type only: the text may quote the event
    name = type(error).__name__
    now = time.monotonic()
    if now - target.said.get(name, -math.inf) >= EVERY_S:  # the sum comes with the outcomes
        target.said[name] = now
        logger.error(
            "%s: to_wire() failed with %s; the event is rejected there, mend the destination (%s)",
            target.name,
            name,
            place_of(error),
            extra={"destination": target.name, "error": name, "trace": trace_of(error)},
        )
    reason = f"the destination failed with {name}"
    fix = "mend the destination: its to_wire() raised"
    return Outcome(kind="rejected", reason=reason, fix=fix, reason_code="user_code")


def _is_whole(refusal: Refusal) -> bool:
    """Whether a destination's own code gave the types that it declares: they are counted, logged and stored."""
    texts = (refusal.field, refusal.reason, refusal.fix)
    return refusal.kind in ("skipped", "rejected") and all(isinstance(text, str) for text in texts)
