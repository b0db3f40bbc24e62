"""One destination's loop: lease, batch, limit, send, settle. Written once for every platform."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from capi_async.backoff import DELIVERY
from capi_async.clock import Clock
from capi_async.engine.batcher import Batch, Batcher
from capi_async.engine.destination_code import DestinationCode
from capi_async.engine.exchange import Exchange
from capi_async.engine.guard import Fault, is_end
from capi_async.engine.health import STALL_S, Health
from capi_async.engine.hooks import Hooks
from capi_async.engine.lead import Lead
from capi_async.engine.outage import Outage
from capi_async.engine.sending_time import LEAST_S, SendingTime
from capi_async.engine.settlement import Settlement, absorbed, settle_batch
from capi_async.engine.task_group import Group
from capi_async.engine.tracing import TracedExchange
from capi_async.engine.turns import Turns
from capi_async.errors import SpoolError
from capi_async.followup import SentRequest
from capi_async.log import Log
from capi_async.outcome import Outcome, Response, Verdict
from capi_async.spec import Destination, Transport
from capi_async.spool.base import Record, Revoked, Spool
from capi_async.telemetry.base import Tracing
from capi_async.thread import OwnedThread, kind_of

logger = Log(__name__)

_OLD = "grew older than this platform takes while it waited"
_GONE = "an attempt may have arrived, and it is too late to send it again"
_UNKNOWN = Outcome(
    kind="dead",
    reason="configuration changed: made for another account or another form of the API",
    reason_code="configuration",
)

#: Seconds between two readings of a paused destination's credential, if a callable gives it.
LOOK_S = 5.0

#: Most records that a probe searches for one that came after those that were refused.
_REACH = 10_000

#: Records that are settled, leased or sent in one turn of the loop: more hold it for a millisecond and longer.
_PART: Final = 500

#: Seconds between two tries to release records to storage that failed.
_AGAIN_S = 1.0


class Worker:
    """Delivers what the spool holds for one destination.

    Args:
        outage: Logs failures of storage.
        sending_time: When requests may be under way.
        turns: Shared by the workers of one client.
        linger_s: Seconds that an event waits for others to share its request.
        ending: Whether the client is ending all tasks: only then is a CancelledError the end of ours.
        max_attempts: Failed requests that one event may be part of.
        tracing: Has a span for each request.
        forever: Retry until a record expires, not until its attempts are used up (durable spools).
    """

    def __init__(
        self,
        destination: Destination,
        *,
        spool: Spool,
        transport: Transport,
        thread: OwnedThread,
        hooks: Hooks,
        outage: Outage,
        sending_time: SendingTime,
        turns: Turns,
        settled: Callable[[], None],
        ending: Callable[[], bool],
        clock: Clock,
        linger_s: float,
        max_attempts: int,
        forever: bool,
        tracing: Tracing | None = None,
    ) -> None:
        limits = destination.effective_limits()
        self.destination = destination
        self.name = destination.name
        self._spool = spool
        self._hooks = hooks
        self._outage = outage
        self._sending_time = sending_time
        self._settled = settled
        self._ending = ending
        self._clock = clock
        self._limits = limits
        self._account = destination.account()
        self._max_attempts = limits.max_attempts or max_attempts
        self._forever = forever
        self._code = DestinationCode(destination, hooks=hooks)
        self._health = Health(destination, spool=spool, hooks=hooks, clock=clock)
        make = Exchange if tracing is None else partial(TracedExchange, tracing)
        self._exchange = make(
            self._code, self._health, spool=spool, transport=transport, thread=thread, hooks=hooks, outage=outage,
            sending_time=sending_time, ending=ending, clock=clock,
        )  # fmt: skip
        self.breaker = self._health.breaker
        self.bucket = self._health.bucket
        self.linger_s = linger_s if destination.linger_s is None else destination.linger_s
        self._batcher = Batcher(
            limit_of=self._code.batch_limit,
            max_bytes=limits.max_batch_bytes,
            linger_s=self.linger_s,
            now=clock.monotonic,
        )
        self._turns = turns
        self._splits: list[Batch] = []
        #: Whether the next batch is a fresh one, also while others are searched for what was refused in them.
        self._aside = False
        #: Records that storage did not take back.
        self._stranded: list[Record] = []
        self._stranded_until = 0.0
        self._lead = Lead(decide=self._decide, carry=self._deliver, more=self._has_more, ending=ending, clock=clock)
        #: Records and bytes that waited when the worker began to let a batch linger, and how many more would close it.
        self._lingering: tuple[int, int, int, int] | None = None
        self._waiting_events = 0
        self._under_way: dict[int, Batch] = {}
        self._answered_at = clock.monotonic()
        self._looked_at = -LOOK_S
        self.hurry = 0
        #: No more requests are begun.
        self.finishing = False
        #: Monotonic seconds since which a request that is ready waits for the rate limit, and until when; 0: none does.
        self._limited_since = self._limited_until = 0.0

    def wake(self) -> None:
        """Look for work: something changed, such as an answer, or a flush that began."""
        self._lead.wake()

    def look(self) -> None:
        """Records came, or came back: the worker wakes unless that changes nothing but the length of its queue."""
        if self._lingering is not None and not self.hurry:
            length, body_bytes = self._length()
            before, self._waiting_events = self._waiting_events, length
            then, then_bytes, events, size = self._lingering
            more = length - then
            # one that came back may be due before the timer rings, and does not lengthen the queue
            if length > before and more < events and body_bytes - then_bytes + more < size:
                return
        self._lead.wake()

    def progressing(self) -> bool:
        """Whether waiting for capacity here makes sense."""
        if not self._health.promising():
            return False
        if not self._under_way:
            return True
        oldest = min(batch.started for batch in self._under_way.values())
        return self._clock.monotonic() - max(self._answered_at, oldest) < STALL_S

    @property
    def window(self) -> int:
        """Requests that may be under way at once."""
        return self._health.window.limit

    @property
    def rate_factor(self) -> float:
        """Share of the configured request rate that throttling has left."""
        return self._health.bucket.factor

    @property
    def throttled(self) -> str:
        """Why the platform has asked for less, while nothing leaves for that."""
        return self.bucket.reason if self.bucket.closed_s() else ""

    def limiter_wait_s(self) -> float:
        """Seconds until the rate limit lets the next request leave that is ready; 0 if none waits for it."""
        return max(0.0, self._limited_until - self._clock.monotonic()) if self._limited_since else 0.0

    def _limited(self, wait_s: float) -> None:
        """A request that is ready has to wait."""
        now = self._clock.monotonic()
        self._limited_since = self._limited_since or now
        self._limited_until = now + wait_s

    def _unlimited(self) -> None:
        self._hooks.metrics.of[self.name].limiter_s += self._clock.monotonic() - self._limited_since
        self._limited_since = 0.0

    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._under_way)

    def quiet(self, until: float) -> bool:
        """Whether nothing is under way, and nothing will be before this moment but probes of a broken platform."""
        if self._under_way or self._lead.woken:
            return False
        until = until if self.breaker.state == "open" else self._clock.monotonic()
        return self._lead.asleep_until > until

    @property
    def lingers(self) -> bool:
        """Whether all that is held here lets a batch linger, and nothing else waits."""
        return self._lingering is not None

    @property
    def under_way(self) -> int:
        """Requests whose records are not settled or released yet."""
        return len(self._under_way)

    async def run(self, group: Group) -> None:
        """Work until cancelled, see :meth:`Lead.run <capi_async.engine.lead.Lead.run>`."""
        await self._lead.run(group)

    async def _decide(self, idle: bool) -> Batch:
        """The next batch that may leave, once there is one; it counts as being under way."""
        while True:
            self._lead.woken = False
            wait_s: float | None = None
            if not idle:
                try:
                    found = await self._step()
                except SpoolError as error:  # what was held is stranded, and handed back when storage works again
                    self._outage.failed(error)
                    await asyncio.sleep(_AGAIN_S)
                    continue
                if isinstance(found, Batch):
                    return found
                wait_s = found
            idle = False
            if wait_s != 0.0:
                self._linger()
                await self._lead.sleep(wait_s)
                self._lingering = None

    def _linger(self) -> None:
        """Nothing need be decided before the timer rings, or the batch that is open is full."""
        left = self._batcher.left()
        if left is None or self._splits or self._stranded or self.finishing:
            return
        if self.breaker.state == "open" and self._health.window.open():
            length, body_bytes = self._length()
            self._waiting_events = length
            self._lingering = (length, body_bytes, *left)

    def _length(self) -> tuple[int, int]:
        """Records in the queue, and bytes of their bodies: what is not prepared yet fills no batch."""
        depth = self._spool.depth(self.name)
        return depth.events - depth.unprepared, depth.bytes - depth.unprepared_bytes

    async def end(self) -> None:
        """After all tasks have ended, release what they held to the spool, also what was under way."""
        cut_off = [record for batch in self._under_way.values() for record in batch.records]
        self._under_way.clear()
        self._health.window.in_flight = 0
        self.breaker.recall()
        await self._spool.release(cut_off)
        await self.put_back()

    async def end_callables(self, timeout_s: float) -> None:
        """Cancel the callables of the user's that still run, and wait for that for ``timeout_s`` at most."""
        await self._code.end(timeout_s)

    def callables(self) -> list[str]:
        """Which code of the user's runs at this moment and awaits something."""
        found = [f"{self.name}: its credential callable"] if self._code.running else []
        return [*found, f"{self.name}: the transport"] if self._exchange.sending else found

    async def put_back(self) -> None:
        """Release what lingers here or waits for a token, so that the spool may settle it."""
        held = [record for batch in reversed(self._splits) for record in batch.records] + self._batcher.drain()
        held += self._stranded
        self._splits.clear()
        self._stranded.clear()
        try:
            await self._spool.release(held)
        except Exception:
            self._strand(held)
            raise

    async def _hand_back(self, records: Sequence[Record], *, after_s: float = 0.0) -> None:
        """Release these; if storage fails just now, they are kept and released later."""
        try:
            await self._spool.release(records, after_s=after_s)
        except BaseException as error:
            if self._ended(error):
                raise
            self._say_fault("handing back", error)
            self._strand(records)

    def _strand(self, records: Sequence[Record]) -> None:
        self._stranded += records
        self._stranded_until = self._clock.monotonic() + _AGAIN_S
        self.wake()

    def _ended(self, error: BaseException) -> bool:
        return is_end(error, ending=self._ending())

    async def _step(self) -> Batch | float | None:
        """A batch that leaves now; 0 to come again at once, else how long to sleep, ``None`` until woken."""
        if self._stranded and self._stranded_until <= self._clock.monotonic():
            records, self._stranded = self._stranded, []
            await self._hand_back(records)
        found = await self._go_on()
        if self._stranded and not isinstance(found, Batch):
            return _sooner(max(0.0, self._stranded_until - self._clock.monotonic()), found)
        return found

    async def _go_on(self) -> Batch | float | None:
        if self.finishing or self._clock.monotonic() > self._sending_time.until - LEAST_S:
            await self.put_back()
            return None
        probe_s = self.breaker.wait_s()
        if probe_s != 0.0:
            await self._rotate(probe_s)
            return _sooner(probe_s, None if self._code.fixed() else LOOK_S)
        if not self._health.window.open():
            return None
        probing = self.breaker.state != "open"
        if probing and self.breaker.doubts:
            batch = await self._newest()
        else:
            await self._fill(1 if probing else None)
            batch = self._next(probing=probing)
        if batch is None:
            return _sooner(self._batcher.due_s(), self._spool.next_due_s(self.name))
        # listed before the wait for shared tokens, which may take a round trip, so that it is found meanwhile
        self._splits.append(batch)
        token_s = await self._health.token_s()
        if token_s > 0:
            self._limited(token_s)
            return token_s
        if self._limited_since:
            self._unlimited()
        if (
            self.finishing or batch not in self._splits or probing != (self.breaker.state != "open")
        ):  # handed back, or things changed
            self._health.bucket.give_back()
            return 0.0
        self._splits.remove(batch)
        batch.probe = self.breaker.sent()
        self._health.window.in_flight += 1
        batch.started = self._clock.monotonic()
        self._under_way[id(batch)] = batch
        return batch

    def _has_more(self) -> bool:
        """Whether there may be anything to do besides what is under way: one look that spares a whole step."""
        if self._splits or self._stranded or self._batcher.records or self.finishing or self.breaker.state != "open":
            return True
        carried = 0
        for batch in self._under_way.values():
            carried += len(batch.records)
        return self._spool.depth(self.name).events > carried

    async def _fill(self, limit: int | None) -> None:
        """Lease until a whole batch is here, but not what could not leave soon anyway."""
        if self._batcher.ready() or (self._splits and not self._aside):
            return
        room = self._limits.max_batch_events - self._batcher.records
        if limit is not None:
            room = limit if not self._batcher.records else 0
        if room > _PART and self._spool.depth(self.name).events > _PART:
            await self._turns.next()
        if room > 0:
            await self._take(room)

    async def _take(self, limit: int) -> int:
        """Lease up to ``limit`` records into the batcher; how many there were."""
        leased = await self._spool.lease(self.name, limit=limit, max_bytes=self._limits.max_batch_bytes)
        if leased:
            try:
                self._batcher.add(await self._fit(leased), now=self._clock.wall())
            except BaseException as error:  # a destination's own code, or storage: what was leased must not get lost
                known = {id(record) for record in leased}
                leased += [record for record in self._batcher.drain() if id(record) not in known]
                self._strand(leased)
                if isinstance(error, Fault):  # it is in the log, and has paused this destination
                    return 0
                raise
        if self._outage.since is not None:
            self._outage.works()
        return len(leased)

    async def _newest(self) -> Batch | None:
        """A probe of the newest record within reach: those before it were refused, whichever of them is at fault.

        After every refused probe, it searches further. What it searched is released.
        """
        await self.put_back()
        reach = min(_REACH, self.breaker.doubts * self._limits.max_batch_events)
        while reach > 0 and (taken := await self._take(min(reach, self._limits.max_batch_events))):
            reach -= taken
        batch = self._batcher.newest()
        try:
            await self.put_back()
        except BaseException:
            self._strand([] if batch is None else batch.records)
            raise
        return batch

    async def _fit(self, records: list[Record]) -> Sequence[Record]:
        """Only what this configuration made, or would make today, may be sent.

        Raises:
            Fault: The destination's code failed; it is paused.
        """
        for record in records:
            if record.account is not self._account:
                break
        else:
            return records
        strange = [
            record
            for record in records
            if record.account is not self._account
            and not (self._owns(record.account) and record.wire == self.destination.wire)
        ]
        if not strange:
            return records
        await self._settle(strange, [_UNKNOWN] * len(strange))
        gone = {id(record) for record in strange}
        return [record for record in records if id(record) not in gone]

    def _owns(self, account: str) -> bool:
        try:
            return self._code.owns(account)
        except Fault as fault:
            reason = f"owns() failed with {fault.name}"
            verdict = Verdict(kind="unauthorized", reason=reason, fix="mend the destination")
            self._health.blame(verdict, "user_code")
            raise

    def _next(self, *, probing: bool) -> Batch | None:
        """The next batch to send; a probe carries a single record, since it may well be in vain."""
        # a search for what was refused takes turns with what is new: one bad event costs no other its time
        batch = None
        if not self._splits or self._aside:
            full = self._batcher.records >= self._limits.max_batch_events
            batch = self._batcher.take(everything=self.hurry > 0 or probing or full)
        self._aside = batch is None
        if batch is None and self._splits:
            batch = self._splits.pop()
        if batch is not None and probing and len(batch.records) > 1:
            first, batch.records = batch.records[:1], batch.records[1:]
            self._splits.append(batch)
            batch = _part(batch, first)
        return batch

    async def _deliver(self, batch: Batch) -> None:
        answered = False
        try:
            if len(batch.records) > _PART:
                await self._turns.next()
            records = await self._fresh(batch.records)
            if records:
                verdicts, response = await self._exchange.ask(batch, records)
                answered = True
                self._hooks.answered(self.name, records, verdicts, response.status if response else 0)
                await self._act(batch, records, verdicts, response)
        except Revoked:  # those that may still be sent come again at once
            await self._hand_back(batch.records)
        except BaseException as error:  # a fault of ours, of storage or of a user's code: it costs no event
            _doubt(batch)
            if self._ended(error):
                raise  # the records are released once all tasks have ended
            if not isinstance(error, Fault):
                self._say_fault("delivery", error)
            after_s = DELIVERY.interval_s(max(one.attempts for one in batch.records))
            await self._hand_back(batch.records, after_s=after_s)
        del self._under_way[id(batch)]
        self._health.window.in_flight -= 1
        self._answered_at = self._clock.monotonic()
        if batch.probe and not answered:
            self.breaker.recall()

    async def _fresh(self, records: list[Record]) -> list[Record]:
        """The records that may still be sent; the others end here."""
        now = self._clock.wall()
        resend = self.destination.resend
        for record in records:
            if record.expires_at <= now or record.uncertain_since:
                break
        else:
            return records
        fresh, stale, outcomes = [], [], []
        for record in records:
            if record.uncertain_since and (record.expires_at <= now or not absorbed(record, resend, now)):
                outcomes.append(_too_late(record, now, Outcome(kind="uncertain", reason=_GONE)))
            elif record.expires_at <= now:
                outcomes.append(_too_late(record, now, Outcome(kind="expired", field="time", reason=_OLD)))
            else:
                fresh.append(record)
                continue
            stale.append(record)
        if stale:
            await self._settle(stale, outcomes)
        return fresh

    def _say_fault(self, where: str, error: BaseException) -> None:
        if isinstance(error, SpoolError):
            self._outage.failed(error)
        else:
            self._code.log_fault(where, kind_of(error), error)

    async def _act(
        self,
        batch: Batch,
        records: list[Record],
        verdicts: list[Verdict],
        response: Response | None,
    ) -> None:
        """Settle what is final, release what is tried again, halve what must be split."""
        settlement = settle_batch(
            records,
            verdicts,
            status=response.status if response else 0,
            sent_at=batch.sent_at,
            now=self._clock.wall(),
            resend=self.destination.resend,
            max_attempts=self._max_attempts,
            forever=self._forever,
        )
        if settlement.final:
            if self.destination.followup.by_request:
                await self._note_sent(batch.head, settlement.outcomes)
            await self._settle(settlement.final, settlement.outcomes)
        # Whom a refusal did not name goes again at once; like the halves of a search it takes turns with what is new,
        # because there may be thousands more to name among them.
        spared = settlement.again.pop(0.0, []) if settlement.final and self.breaker.state == "open" else []
        if settlement.again:
            await self._again(settlement)
        if spared:
            self._splits.append(_part(batch, spared))
        if settlement.split:
            if self.breaker.state == "paused":
                await self._spool.release(settlement.split)
                return
            middle = (len(settlement.split) + 1) // 2
            # the second half goes in first, so that the first half leaves first
            for part in (settlement.split[middle:], settlement.split[:middle]):
                if part:
                    self._splits.append(_part(batch, part))

    async def _note_sent(self, head: bytes, outcomes: Sequence[Outcome]) -> None:
        """Keep the id of a request that the platform has later answers for; before its events are settled, or never."""
        taken = Counter(one.trace_id for one in outcomes if one.kind == "delivered" and one.trace_id)
        if not taken or not self._code.is_followed(head):
            return
        now = self._clock.wall()
        sent = [SentRequest(trace_id, self._account, now, events) for trace_id, events in taken.items()]
        try:
            await self._spool.note_sent(self.name, sent)
        except Exception as error:  # it costs a later answer, and no event
            self._code.log_fault("keeping a request's id for followup", kind_of(error), error)

    async def _again(self, settlement: Settlement) -> None:
        for after_s, records in settlement.again.items():
            failures = max(record.failures for record in records)
            wait_s = DELIVERY.delay_s(max(failures, 1)) if after_s is None else after_s
            await self._spool.release(records, after_s=wait_s)

    async def _settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        if len(records) <= _PART or self._spool.durable:  # which writes all of them at once, in a thread of its own
            await self._settle_part(records, outcomes)
            return
        settled = 0
        try:
            while settled < len(records):
                await self._turns.next()
                part = slice(settled, settled + _PART)
                settled = part.stop
                await self._settle_part(records[part], outcomes[part])
        finally:
            # cancelled: what the platform said of the others would get lost, and they would be sent once more
            if settled < len(records):
                await self._settle_part(records[settled:], outcomes[settled:])

    async def _settle_part(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        await self._spool.settle(records, outcomes)
        self._settled()
        self._hooks.settled(self.name, records, outcomes)

    async def _rotate(self, probe_s: float | None) -> None:
        """Resume at once when the credential is another than the one that was refused."""
        if self.breaker.state != "paused" or self._code.fixed() or self._health.refused_credential is None:
            return
        if probe_s is None and self.busy():
            return
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_S:  # woken for other reasons; the callable may be expensive
            return
        self._looked_at = now
        try:
            credential = await self._code.credential()
        except Fault:  # it is in the log
            return
        if credential != self._health.refused_credential:
            self._health.refused_credential = None
            self.breaker.retry_now()
            self.wake()


def _doubt(batch: Batch) -> None:
    """Cut off in the middle: if these are ever sent again, it must be known that they may have arrived."""
    if batch.sent_at:
        for record in batch.records:
            record.uncertain_since = record.uncertain_since or batch.sent_at


def _too_late(record: Record, now: float, outcome: Outcome) -> Outcome:
    return replace(outcome, attempts=record.attempts, latency_s=max(0.0, now - record.accepted_at))


def _sooner(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _part(batch: Batch, records: list[Record]) -> Batch:
    part = Batch(batch.head, batch.limit, batch.deadline)
    part.records = records
    return part
