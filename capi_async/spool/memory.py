"""The default spool: in memory, bounded by its caller. A crash loses what it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import count, groupby, islice, pairwise
from operator import attrgetter

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest
from capi_async.outcome import Outcome
from capi_async.spool.base import (
    DeadLetter,
    Depth,
    Health,
    Ledger,
    LetterFilter,
    OnSettled,
    Record,
    Refused,
    Revoked,
    Unprepared,
    cut_short,
    ignore_recall,
    ignore_settled,
    size_of,
)
from capi_async.spool.waiting import SETTLED, OrderedWaiting


class _Queue(OrderedWaiting):
    """One destination's records and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.leased: dict[int, Record] = {}
        self.counts: dict[str, int] = {}
        #: Counted apart from the outcomes, so that the ledger shows it if a record is lost.
        self.accepted = 0
        self.events = 0
        self.bytes = 0
        #: How much of both is of events whose records are not made yet.
        self.unprepared = 0
        self.unprepared_bytes = 0


class MemorySpool:
    """See :class:`~capi_async.spool.base.Spool`. Bound to no event loop, so one loop may follow another."""

    durable = False
    where = "in memory, lost with this process"

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._epochs = count(1)
        self._wake: Callable[[str], None] = _nobody
        self._settled: OnSettled = ignore_settled
        self._sent: dict[str, deque[SentRequest]] = {}
        #: Identity of a leased record to it, and the outcome that it gets unless its answer comes.
        self._end_on_return: dict[int, tuple[Record, Outcome]] = {}
        #: Events that are counted in their queues, and whose records are not made yet.
        self.unprepared: deque[Unprepared] = deque()

    async def open(
        self,
        destinations: Sequence[str],
        wake: Callable[[str], None],
        settled: OnSettled = ignore_settled,
        *,
        deliver: bool = True,
        recall: Callable[[], Awaitable[None]] = ignore_recall,
    ) -> None:
        self._wake = wake
        self._settled = settled
        self._end_returned([record for record, _ in self._end_on_return.values()])
        for name in destinations:
            queue = self._queues.setdefault(name, _Queue())
            # still leased by a loop that ended without closing; its last requests may have arrived
            for record in reversed(queue.leased.values()):
                record.epoch = 0
                if record.attempts and not record.uncertain_since:
                    record.uncertain_since = self._clock.wall()
                queue.push_front(record)
            queue.leased.clear()

    async def close(self) -> None:
        self._wake = _nobody
        self._settled = ignore_settled

    async def append(
        self, records: Sequence[Record], refused: Sequence[Refused], *, timeout_s: float | None = None
    ) -> None:
        self.append_now(records, refused)

    def append_now(self, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """See :func:`~capi_async.spool.base.append_now_of`."""
        woken: dict[str, None] = {}
        queues = self._queues
        # records of one destination follow one another: their queue is updated once for all of them
        for name, group in groupby(records, key=_destination):
            queue = queues[name]
            run = list(group)
            woken[name] = None
            queue.accepted += len(run)
            queue.events += len(run)
            size = size_of(run)
            queue.bytes += size
            if list(map(_order_key, run)).count(None) < len(run):
                for record in run:
                    queue.enter(record)
            else:
                queue.ready.extend(run)
                queue.ready_bytes += size
        for one in refused:
            queue = queues[one.destination]
            queue.accepted += 1
            counts = queue.counts
            counts[one.outcome.kind] = counts.get(one.outcome.kind, 0) + 1
            if one.receipt is not None:
                one.receipt.settle(one.destination, one.outcome)
        for name in woken:
            self._wake(name)

    def keep(self, event: Unprepared) -> None:
        """See :meth:`~capi_async.spool.base.KeepsUnprepared.keep`."""
        self.unprepared.append(event)
        self._count(event.destinations, 1, event.bytes)

    def prepared(self, events: int, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """See :meth:`~capi_async.spool.base.KeepsUnprepared.prepared`."""
        kept = [self.unprepared.popleft() for _ in range(events)]
        for destinations, group in groupby(kept, key=_destinations):
            sizes = [event.bytes for event in group]
            self._count(destinations, -len(sizes), -sum(sizes))
        self.append_now(records, refused)

    def _count(self, destinations: Sequence[str], events: int, size: int) -> None:
        for name in destinations:
            queue = self._queues[name]
            queue.accepted += events
            queue.events += events
            queue.bytes += size
            queue.unprepared += events
            queue.unprepared_bytes += size

    async def lease(self, destination: str, *, limit: int, max_bytes: int) -> list[Record]:
        queue = self._queues[destination]
        if queue.delayed:
            queue.wake(self._clock.monotonic())
        taken = queue.take(limit, max_bytes, next(self._epochs))
        queue.leased.update(zip(map(id, taken), taken, strict=True))
        return taken

    async def mark_attempted(self, records: Sequence[Record]) -> None:
        """Nothing here outlives the process, so there is nothing to note."""
        if self._end_on_return and self._end_returned(records):
            raise Revoked

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        # runs of one destination and one outcome are counted together: this is done for every event there is
        for start, stop in _runs(records, outcomes):
            name, outcome = records[start].destination, outcomes[start]
            queue = self._queues[name]
            end_lease = queue.leased.pop
            ended = [record for record in records[start:stop] if end_lease(id(record), None) is not None]
            queue.events -= len(ended)
            queue.bytes -= size_of(ended)
            queue.counts[outcome.kind] = queue.counts.get(outcome.kind, 0) + len(ended)
            for record in ended:
                record.epoch = 0
                if record.order_key is not None:
                    self._leave(queue, record)
                if record.receipt is not None:
                    record.receipt.settle(name, outcome)
            if self._end_on_return:
                for record in ended:
                    self._end_on_return.pop(id(record), None)

    async def release(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        if self._end_on_return:
            self._end_returned(records)
        due = self._clock.monotonic() + after_s
        woken: dict[str, None] = {}
        # backwards, because each record is put in front of the one before
        for record in records if after_s > 0 else reversed(records):
            queue = self._queues[record.destination]
            if queue.leased.pop(id(record), None) is None:
                continue
            record.epoch = 0
            woken[record.destination] = None
            if after_s > 0:
                queue.delay(record, due)
            else:
                queue.push_front(record)
        for name in woken:
            self._wake(name)

    async def evict(self, destination: str, *, events: int, max_bytes: int, outcome: Outcome) -> int:
        queue = self._queues[destination]
        evicted: list[str] = []
        outcomes: list[Outcome] = []
        now = self._clock.wall()
        while queue.events > events or queue.bytes > max_bytes:
            record = queue.oldest()
            if record is None:
                break
            outcomes.append(cut_short(record, outcome, now))
            self._finish(queue, record, outcomes[-1])
            evicted.append(record.event_id)
        if evicted:
            self._settled(destination, evicted, outcomes)
        return len(evicted)

    async def settle_matching(self, matches: Callable[[Record], bool], outcome: Outcome) -> Mapping[str, int]:
        found: dict[str, int] = {}
        now = self._clock.wall()
        for name, queue in self._queues.items():
            waiting = [*queue.ready, *(entry[2] for entry in queue.delayed)]
            waiting += [record for records in queue.blocked.values() for record in records]
            hits = [record for record in waiting if matches(record)]
            self._end_on_return |= {key: (record, outcome) for key, record in queue.leased.items() if matches(record)}
            if not hits:
                continue
            for record in hits:
                record.epoch = SETTLED
            queue.drop_settled()
            outcomes = [cut_short(record, outcome, now) for record in hits]
            for record, end in zip(hits, outcomes, strict=True):
                self._finish(queue, record, end)
            found[name] = len(hits)
            self._settled(name, [record.event_id for record in hits], outcomes)
        return found

    async def letters(self, wanted: LetterFilter) -> Sequence[DeadLetter]:
        """None are kept here."""
        return []

    async def replay(
        self, wanted: LetterFilter, *, permitted: Callable[[str], bool] | None = None
    ) -> Mapping[str, int]:
        """None are kept here."""
        return {}

    async def remembered(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Nothing is remembered here."""
        return frozenset()

    async def note_sent(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """See :meth:`~capi_async.spool.base.Spool.note_sent`."""
        kept = self._sent.setdefault(destination, deque(maxlen=SENT_MAX))
        kept.extend(sent)
        while kept[0].at < self._clock.wall() - SENT_DAYS * DAY:
            kept.popleft()

    async def sent(self, destination: str, *, since: float) -> Sequence[SentRequest]:
        """See :meth:`~capi_async.spool.base.Spool.sent`."""
        return [one for one in reversed(self._sent.get(destination, ())) if one.at >= since]

    async def draw_tokens(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Nothing here is shared with another process."""
        return None

    async def withhold_tokens(self, account: str, *, rate: float, burst: float, seconds: float) -> None:
        """Nothing here is shared with another process."""

    def next_due_s(self, destination: str) -> float | None:
        queue = self._queues[destination]
        if queue.ready:
            return 0.0
        if not queue.delayed:
            return None
        return max(0.0, queue.delayed[0][0] - self._clock.monotonic())

    def depth(self, destination: str) -> Depth:
        queue = self._queues[destination]
        return Depth(queue.events, queue.bytes, queue.unprepared, queue.unprepared_bytes)

    def oldest_at(self, destination: str) -> float | None:
        """See :meth:`~capi_async.spool.base.KnowsAge.oldest_at`."""
        queue = self._queues[destination]
        # a record that waits for an older one of its order key is younger than that one
        # copied first: another thread may ask
        ready, delayed, leased = list(islice(queue.ready, 1)), list(queue.delayed), list(queue.leased.values())
        waiting = [*ready, *(entry[2] for entry in delayed), *leased]
        times = [record.accepted_at for record in waiting]
        times += [one.accepted_at for one in list(islice(self.unprepared, 1)) if destination in one.destinations]
        return min(times, default=None)

    def health(self) -> Health:
        """See :meth:`~capi_async.spool.base.Spool.health`."""
        return Health()

    def ledger(self) -> Mapping[str, Ledger]:
        return {
            name: Ledger(accepted=queue.accepted, pending=queue.events, **queue.counts)
            for name, queue in self._queues.items()
        }

    def _end_returned(self, records: Sequence[Record]) -> bool:
        """End the records that were to be settled while they were leased; whether there was any."""
        now = self._clock.wall()
        ended = [pair for record in records if (pair := self._end_on_return.pop(id(record), None)) is not None]
        for record, outcome in ended:
            queue = self._queues[record.destination]
            if queue.leased.pop(id(record), None) is not None:
                end = cut_short(record, outcome, now)
                self._finish(queue, record, end)
                self._settled(record.destination, [record.event_id], [end])
        return bool(ended)

    def _finish(self, queue: _Queue, record: Record, outcome: Outcome) -> None:
        queue.events -= 1
        queue.bytes -= len(record.body)
        queue.counts[outcome.kind] = queue.counts.get(outcome.kind, 0) + 1
        record.epoch = 0
        if record.order_key is not None:
            self._leave(queue, record)
        if record.receipt is not None:
            record.receipt.settle(record.destination, outcome)

    def _leave(self, queue: _Queue, record: Record) -> None:
        if queue.leave(record):
            self._wake(record.destination)


_destination = attrgetter("destination")
_order_key = attrgetter("order_key")
_destinations = attrgetter("destinations")


def _runs(records: Sequence[Record], outcomes: Sequence[Outcome]) -> Iterator[tuple[int, int]]:
    """Bounds of the runs of records that share destination and outcome."""
    if len(records) == 1:
        return iter(((0, 1),))
    names = [record.destination for record in records]
    edges = {index for index, (one, other) in enumerate(pairwise(outcomes), 1) if one is not other}
    if names and names.count(names[0]) != len(names):
        edges |= {index for index, (one, other) in enumerate(pairwise(names), 1) if one != other}
    return pairwise([0, *sorted(edges), len(names)] if names else [])


def _nobody(_destination: str) -> None:
    """The ``wake`` of a spool that is not open."""
