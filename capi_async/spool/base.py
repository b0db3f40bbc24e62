"""The protocol of a spool: it holds records that were accepted and are not settled, and counts what became of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from capi_async.errors import SpoolError
from capi_async.followup import SentRequest
from capi_async.outcome import Outcome


class Busy(SpoolError):
    """Another process has the storage locked; nothing was stored, and trying again makes sense."""

    def __init__(self, *args: object, stored: bool | None = False, stored_events: int = 0) -> None:
        super().__init__(*args, stored=stored, stored_events=stored_events)


class Revoked(Exception):
    """Some of the records were forgotten or withdrawn since they were leased; see ``Spool.mark_attempted``."""


class Record(Struct, gc=False, eq=False):
    """One event on its way to one destination: its wire bytes and what delivery needs to know.

    Credentials never enter a record.

    Attributes:
        head: Encoded request level; records with equal heads may share a request.
        body: The event's own JSON.
        expires_at: Seconds since the epoch after which the platform refuses it.
        resend_for_s: Seconds after the first attempt within which the platform recognises a second copy.
        account: Which account it was made for.
        wire: Form of the bytes.
        accepted_at: Seconds since the epoch.
        attempts: Requests that carried it.
        failures: Those of them that count against the attempts allowed.
        uncertain_since: Seconds since the epoch of the first attempt whose answer never came, else 0.
        receipt: What the caller holds, which is settled with the outcome; only in the process that accepted the event.
        epoch: Of the lease that holds it; 0 while it is not leased.
        due_at: Monotonic seconds before which it is not given out.
        chunk, at: For the spool's own use: where it keeps the record, and the record's index there.
        trace: Trace context of the call that handed it in, as W3C ``traceparent``; empty without tracing.
    """

    destination: str
    event_id: str
    head: bytes
    body: bytes
    expires_at: float
    resend_for_s: float
    account: str
    wire: str
    accepted_at: float = 0.0
    order_key: str | None = None
    attempts: int = 0
    failures: int = 0
    uncertain_since: float = 0.0
    receipt: Any = None
    epoch: int = 0
    due_at: float = 0.0
    chunk: Any = None
    at: int = 0
    trace: str = ""

    def __repr__(self) -> str:
        return f"Record({self.destination!r}, event_id={self.event_id!r}, {len(self.body)} bytes)"


class Refused(Struct, gc=False, eq=False):
    """An event that was refused before it was stored for one destination: it is counted only."""

    destination: str
    event_id: str
    outcome: Outcome
    receipt: Any = None


class Ledger(Struct, frozen=True, kw_only=True):
    """Counts of all events accepted for one destination.

    ``accepted`` equals the sum of all the others, at any moment: see :attr:`balanced`.
    """

    accepted: int = 0
    delivered: int = 0
    rejected: int = 0
    skipped: int = 0
    expired: int = 0
    uncertain: int = 0
    dead: int = 0
    dropped: int = 0
    forgotten: int = 0
    pending: int = 0

    @property
    def settled(self) -> int:
        """Events with a final outcome."""
        return (
            self.delivered + self.rejected + self.skipped + self.expired
            + self.uncertain + self.dead + self.dropped + self.forgotten
        )  # fmt: skip

    @property
    def balanced(self) -> bool:
        """Whether every accepted event is counted once."""
        return self.accepted == self.settled + self.pending


class Depth(Struct, frozen=True):
    """Unsettled records of one destination, and the bytes of their bodies.

    Attributes:
        unprepared, unprepared_bytes: How much of both is of events whose records are not made yet.
    """

    events: int
    bytes: int
    unprepared: int = 0
    unprepared_bytes: int = 0


#: Destination, event ids, and their outcomes in the same order.
OnSettled: TypeAlias = Callable[[str, Sequence[str], Sequence[Outcome]], None]


#: See :func:`append_now_of`.
AppendNow: TypeAlias = Callable[[Sequence["Record"], Sequence["Refused"]], None]


class AppendSoon(Protocol):
    """See :func:`append_soon_of`."""

    def __call__(
        self,
        records: Sequence[Record],
        refused: Sequence[Refused],
        *,
        timeout_s: float | None,
        told: Callable[[SpoolError | None], None],
    ) -> None:
        """Begin to do what ``append`` does.

        Args:
            told: Called once, later, with what ``append`` would have raised, or ``None``; it must not raise.

        Raises:
            SpoolError: It was not begun.
        """
        ...


def ignore_settled(_destination: str, _event_ids: Sequence[str], _outcomes: Sequence[Outcome]) -> None:
    """An ``OnSettled`` that does nothing."""


async def ignore_recall() -> None:
    """A ``recall`` for callers that hold no leased records."""


def size_of(records: Iterable[Record]) -> int:
    """Bytes of the bodies of these records."""
    return sum(map(len, map(_body, records)))


_body = attrgetter("body")


def cut_short(record: Record, outcome: Outcome, now: float) -> Outcome:
    """``outcome`` for a record that is not tried again, with what its attempts so far mean.

    One that may have arrived is not simply ``dropped``: it is ``uncertain``.
    """
    if not record.attempts:
        return outcome
    latency_s = max(0.0, now - record.accepted_at)
    if not record.uncertain_since:
        return replace(outcome, attempts=record.attempts, latency_s=latency_s)
    doubt = {"kind": "uncertain", "reason": f"may have arrived; {outcome.reason}"} if outcome.kind == "dropped" else {}
    return replace(outcome, attempts=record.attempts, latency_s=latency_s, ambiguous=True, **doubt)


def append_now_of(spool: object) -> AppendNow | None:
    """The spool's way to append without awaiting, if it has one: a method ``append_now(records, refused)``.

    It does what ``append`` does, at once. A subclass that appends in another way has it no more.
    """
    found: AppendNow | None = _beside_append(spool, "append_now")
    return found


def append_soon_of(spool: object) -> AppendSoon | None:
    """The spool's way to append without a task that awaits it, if it has one: a method ``append_soon``.

    A subclass that appends in another way has it no more.
    """
    found: AppendSoon | None = _beside_append(spool, "append_soon")
    return found


def _beside_append(spool: object, name: str) -> Any:
    """The method of this name, if the class that defines ``append`` defines it as well."""
    for owner in type(spool).__mro__:
        here = vars(owner)
        if "append" in here or name in here:
            return getattr(spool, name) if "append" in here and name in here else None
    return None


class Unprepared(Struct, eq=False):
    """An accepted event whose records are not made yet; only a spool in memory keeps it so.

    The garbage collector tracks it, unlike records: through the preparer it may reach what holds the client.

    Attributes:
        accepted_at: Seconds since the epoch.
        destinations: Where it counts as accepted and pending.
        bytes: What it counts at each of them until its records are made.
        preparer: Makes its records: another client that uses the spool later may have other destinations.
        erasures: People who were forgotten, or withdrew, since it was accepted.
    """

    event: Any
    receipt: Any
    accepted_at: float
    destinations: Sequence[str]
    bytes: int
    preparer: Any
    erasures: tuple[Any, ...] = ()


@runtime_checkable
class KeepsUnprepared(Protocol):
    """What a spool in memory may offer besides: to take an event as it is, whose records are made a little later."""

    @property
    def unprepared(self) -> Sequence[Unprepared]:
        """The events that are kept so, the oldest first."""
        ...

    def keep(self, event: Unprepared) -> None:
        """Take an event, which counts as accepted and pending from now on, and in :class:`Depth` as unprepared."""
        ...

    def prepared(self, events: int, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """What became of the oldest so many of them; it does for them what ``append`` does."""
        ...


def keeps_unprepared(spool: object) -> KeepsUnprepared | None:
    """The spool, if it takes events as they are; a subclass that appends in another way does not."""
    return spool if append_now_of(spool) is not None and isinstance(spool, KeepsUnprepared) else None


#: Outcomes whose records are kept for replay.
KEPT: Final = ("dead", "uncertain")


class DeadLetter(Struct, frozen=True):
    """A record that ended ``dead`` or ``uncertain`` and is kept for replay.

    Attributes:
        id: Of this letter, in its spool.
        reason: As in the outcome; free of personal data.
        at: Seconds since the epoch at which it ended.
        bytes: Length of its body.
    """

    id: int
    destination: str
    kind: str
    event_id: str
    reason: str
    at: float
    bytes: int


class LetterFilter(Struct, frozen=True, kw_only=True):
    """Chooses dead letters: those that meet every condition given.

    Attributes:
        reason: Text that the reason holds, or with ``whole_reason`` the reason itself.
        event_or_order_id: Of the event of this id, or of those with this order id, whose ids end in it.
        since, until: Seconds since the epoch between which they ended; ``until`` is excluded.
        limit: At most so many, oldest first.
        newest: The newest first instead, both in what is taken and in its order.
    """

    destination: str | None = None
    kind: str | None = None
    reason: str | None = None
    event_id: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int | None = None
    newest: bool = False
    whole_reason: bool = False
    event_or_order_id: str | None = None


class Health(Struct, frozen=True):
    """What a spool knows of its storage, without asking it.

    Attributes:
        away_s: Seconds for which the storage has been out of reach, or has taken no new event; 0 if all is well.
        workers: Processes that deliver from it, if that is known.
    """

    away_s: float = 0.0
    workers: int | None = None


@runtime_checkable
class KnowsAge(Protocol):
    """What a spool may offer besides: how long the oldest of what waits has done so."""

    def oldest_at(self, destination: str) -> float | None:
        """Seconds since the epoch at which the oldest unsettled record was accepted, as far as this process knows.

        ``None``: there is none, or it is not known.
        """
        ...


def oldest_at(spool: Spool, destination: str) -> float | None:
    """See :meth:`KnowsAge.oldest_at`; ``None`` of a spool that does not offer it."""
    return spool.oldest_at(destination) if isinstance(spool, KnowsAge) else None


class Board(Protocol):
    """Notes of the processes on one spool for one another: small, for a few seconds, and no loss if they get lost.

    Nothing in them is part of the spool: what cannot be written or read is left out.
    """

    async def put(self, name: str, note: bytes, seconds: float) -> None:
        """Leave a note for so long, in place of the one of that name; the name is a file's: letters, digits, hyphens.

        Raises:
            SpoolError: It cannot be left.
        """
        ...

    async def note(self, name: str) -> bytes | None:
        """One note, if there is one that is not over. Asked every few seconds, so it costs next to nothing.

        Raises:
            SpoolError: It cannot be read.
        """
        ...

    async def notes(self) -> Mapping[str, bytes]:
        """The notes that are not over.

        Raises:
            SpoolError: They cannot be read.
        """
        ...


@runtime_checkable
class HasBoard(Protocol):
    """What a spool may offer besides: a place for notes of its processes."""

    def board(self) -> Board:
        """The place."""
        ...


def board_of(spool: object) -> Board | None:
    """See :meth:`HasBoard.board`; ``None`` of a spool that does not offer it."""
    return spool.board() if isinstance(spool, HasBoard) else None


class Spool(Protocol):
    """At least once: a record that was leased and neither settled nor released is given out again.

    All calls come from one event loop.
    """

    #: Whether accepted records outlive the process.
    durable: bool
    #: In words for people: where accepted events are, and what becomes of them when this process ends.
    where: str

    async def open(
        self,
        destinations: Sequence[str],
        wake: Callable[[str], None],
        settled: OnSettled = ignore_settled,
        *,
        deliver: bool = True,
        recall: Callable[[], Awaitable[None]] = ignore_recall,
    ) -> None:
        """Get ready.

        Args:
            wake: Called with a destination when records become available outside of ``lease``.
            settled: Called with destination, event ids and outcomes for records that end by ``evict`` or
                ``settle_matching``, which no worker sees.
            deliver: False if nothing will be leased here: what is appended is for other processes.
            recall: Awaited when another process had something forgotten: leased records that have not been sent
                are released before it returns.

        What an earlier run had leased and not settled is available again.
        """
        ...

    async def close(self) -> None:
        """Release all resources; nothing that was accepted is lost if the spool is durable."""
        ...

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        """Accept all or nothing, counters included.

        Args:
            timeout_s: Seconds to wait for storage that another process has locked; ``None``: the spool's default.

        Raises:
            Busy: Another process had the storage locked for so long; nothing was accepted.
            SpoolError: Storage failed. Its ``stored`` is False if nothing was accepted for certain, True if all was,
                and ``None`` (the default) if that is unknown, as when an answer never came.
        """
        ...

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        """Take up to ``limit`` records that are due, oldest first.

        Never gives out a record whose ``order_key`` has an older unsettled one. At least one record is given
        when one is due, whatever its size.
        """
        ...

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        """Note, as durably as needed, that these are about to be sent; called before their first byte leaves.

        If the process dies before it settles or releases them, whoever takes them up finds ``uncertain_since`` set:
        it then knows that they may have arrived, and since when.

        Raises:
            SpoolError: Storage failed; they must not be sent now.
            Revoked: Some of them were forgotten or withdrawn, and have ended; none may be sent now. The others are
                to be released (those that ended are left alone).
        """
        ...

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Give each record its final outcome, once: a record that is not leased any more is left alone."""
        ...

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        """Hand leased records back, to be given out again after ``after_s`` seconds."""
        ...

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        """Settle the oldest records that are not leased until ``events`` and ``max_bytes`` fit; returns how many."""
        ...

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        """Settle every record that ``matches``, dead letters and what other processes have taken up included.

        Returns how many were settled, per destination. What is under way at this moment is not stopped and not
        counted. It is not sent again either: if it is released, it is settled, and it does not become a dead letter.
        """
        ...

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """The dead letters that are kept; a spool that does not outlive the process keeps none."""
        ...

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """Make dead letters pending again, for the destinations that missed the event, under the same event id.

        Those that have expired meanwhile become ``expired``; those whose event id is not ``permitted`` any more
        become ``skipped``. Returns how many are pending again, per destination.
        """
        ...

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Request tokens of ``account`` that all processes on this spool share.

        Returns how many were taken, or minus the seconds until there may be one; ``None`` if nothing is shared,
        so that every process uses a token bucket of its own.

        Raises:
            SpoolError: The storage cannot be reached.
        """
        ...

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """A platform asked to slow down: no process on this spool gets a token for so long, then fewer for a while."""
        ...

    def next_due_s(self, destination: str) -> float | None:
        """Seconds until a record that waits for its time is due; ``None`` if there is none."""
        ...

    def depth(self, destination: str) -> Depth:
        """Unsettled records, leased ones included."""
        ...

    def ledger(self) -> Mapping[str, Ledger]:
        """Destination to counts."""
        ...

    def health(self) -> Health:
        """Whether its storage can be reached, and who delivers from it."""
        ...

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Which of these events were accepted for at least one destination, also after they were delivered.

        Where this is remembered, it is stored together with the event by ``append``, so that it survives the end of the
        process. A spool that remembers nothing returns an empty set.
        """
        ...

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """Keep the ids of delivered requests that the platform is asked about later, for all processes on this spool.

        They are no part of what is promised of events: an id may be lost with its process, or kept of a request whose
        events are sent once more. Kept for :data:`~capi_async.followup.SENT_DAYS` days, and of each destination
        :data:`~capi_async.followup.SENT_MAX` at most, the newest.
        """
        ...

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """Those that are kept and were answered at ``since`` or later (seconds since the epoch), newest first."""
        ...
