"""One destination's loop: lease, batch, limit, send, judge, settle. Written once for every platform."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from msgspec.structs import replace

from capi_async.backoff import DELIVERY
from capi_async.clock import Clock
from capi_async.engine.batcher import Batch, Batcher
from capi_async.engine.breaker import Breaker
from capi_async.engine.echoes import Echoes
from capi_async.engine.guard import Fault, Guard, is_end
from capi_async.engine.hooks import Hooks, line
from capi_async.engine.outage import Outage
from capi_async.engine.settlement import Settlement, absorbed, settle_batch
from capi_async.engine.task_group import Group
from capi_async.errors import ConfigError, SpoolError, TransportError
from capi_async.limiter import TokenBucket, Window
from capi_async.log import Log
from capi_async.outcome import Outcome, Response, Verdict, ambiguous, retry
from capi_async.spec import Destination, Request, Transport
from capi_async.spool.base import Record, Revoked, Spool
from capi_async.telemetry.base import RequestDone, Settled, StateChanged
from capi_async.thread import OwnedThread, kind_of

logger = Log(__name__)

#: What is said of each state of a destination.
_SAYS = {
    "open": "%s: open again; %d events wait and go now",
    "broken": "%s: does not answer: %s; %d events wait and are tried again",
    "paused": "%s: paused: %s; %d events wait; %s",
}

_OLD = "grew older than this platform takes while it waited"
_GONE = "an attempt may have arrived, and it is too late to send it again"
_UNKNOWN = Outcome(kind="dead", reason="configuration changed: made for another account or another form of the API")

#: Seconds between two looks at the credential of a paused destination, if a callable gives it.
LOOK_S = 5.0

#: Records that a probe looks through at most for one that came after those that were refused.
_REACH = 10_000

#: Seconds between two tries to hand records back to storage that failed.
_AGAIN_S = 1.0

#: Seconds after which a destination's own code has held the event loop too long: it is named in the log. A busy machine
#: may stop any code for some tenths of one.
_HELD_S = 1.0

#: Seconds beyond its timeout after which a transport that has not returned is given up.
_OVERTIME_S = 5.0

#: No answer for this long, with requests under way, is no progress: new events need not wait for this destination.
STALL_S = 5.0


class Worker:
    """Delivers what the spool holds for one destination.

    Args:
        outage: What is said while storage fails.
        linger_s: Seconds that an event waits for company.
        ending: Whether the client is ending all tasks: only then is a CancelledError the end of ours.
        max_attempts: Failed requests that one event may be part of.
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
        settled: Callable[[], None],
        ending: Callable[[], bool],
        clock: Clock,
        linger_s: float,
        max_attempts: int,
        forever: bool,
    ) -> None:
        limits = destination.effective_limits()
        self.destination = destination
        self.name = destination.name
        self._spool = spool
        self._transport = transport
        self._thread = thread
        self._hooks = hooks
        self._outage = outage
        self._settled = settled
        self._ending = ending
        self._clock = clock
        self._limits = limits
        self._account = destination.account()
        self._shared_name = f"{destination.type}:{self._account}"
        self._max_attempts = limits.max_attempts or max_attempts
        self._forever = forever
        self._batcher = Batcher(
            limit_of=self._batch_limit,
            max_bytes=limits.max_batch_bytes,
            linger_s=linger_s if destination.linger_s is None else destination.linger_s,
            now=clock.monotonic,
        )
        self._bucket = TokenBucket(rate=limits.requests_per_s, burst=limits.burst, now=clock.monotonic)
        self._window = Window(limits.max_in_flight)
        self._echoes = Echoes(destination.names.values(), thread)
        self.breaker = Breaker(now=clock.monotonic)
        self._ask_credential = Guard(self._reveal, name=f"capi_async-credential-{destination.name}")
        self._splits: list[Batch] = []
        #: Whether the next batch is a fresh one, also while others are searched for what was refused in them.
        self._aside = False
        #: Records that storage did not take back.
        self._stranded: list[Record] = []
        self._stranded_until = 0.0
        self._woken = asyncio.Event()
        self._under_way: dict[int, Batch] = {}
        #: Calls of the transport that have not returned.
        self._sending = 0
        self._answered_at = clock.monotonic()
        self._refused_credential: str | None = None
        self._looked_at = -LOOK_S
        self._throttles = 0
        self.hurry = 0
        #: No more requests are begun.
        self.finishing = False
        self.requests = 0

    def wake(self) -> None:
        """Something changed: records came, an answer, a wish to hurry."""
        self._woken.set()

    def progressing(self) -> bool:
        """Whether waiting for room here makes sense."""
        if self.breaker.state != "open" or self._bucket.closed_s() > STALL_S:
            return False
        if not self._under_way:
            return True
        oldest = min(batch.started for batch in self._under_way.values())
        return self._clock.monotonic() - max(self._answered_at, oldest) < STALL_S

    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._under_way)

    @property
    def under_way(self) -> int:
        """Requests whose records are not settled or released yet."""
        return len(self._under_way)

    async def run(self, group: Group) -> None:
        """Work until cancelled. Deliveries run in ``group``: a fault here takes none of them with it."""
        while True:
            self._woken.clear()
            try:
                wait_s = await self._step(group)
            except SpoolError as error:  # what was held is stranded, and handed back when storage works again
                self._outage.failed(error)
                await asyncio.sleep(_AGAIN_S)
                continue
            if wait_s != 0.0:
                await self._sleep(wait_s)

    async def end(self) -> None:
        """All tasks have ended: hand back what they held, also what was under way. Then it is the spool's again."""
        cut_off = [record for batch in self._under_way.values() for record in batch.records]
        self._under_way.clear()
        self._window.in_flight = 0
        self.breaker.recall()
        await self._spool.release(cut_off)
        await self.put_back()

    async def end_callables(self, timeout_s: float) -> None:
        """Cancel the callables of the user's that still run, and wait for that for ``timeout_s`` at most."""
        await self._ask_credential.end(timeout_s)

    def callables(self) -> list[str]:
        """Which code of the user's runs at this moment and awaits something."""
        found = [f"{self.name}: its credential callable"] if self._ask_credential.running else []
        return [*found, f"{self.name}: the transport"] if self._sending else found

    async def put_back(self) -> None:
        """Hand back what waits here for company or for a token, so that the spool may dispose of it."""
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

    async def _step(self, group: Group) -> float | None:
        """Do what can be done now; 0 to come again at once, else how long to sleep, ``None`` until woken."""
        if self._stranded and (wait_s := self._stranded_until - self._clock.monotonic()) <= 0:
            records, self._stranded = self._stranded, []
            await self._hand_back(records)
        if self._stranded:
            return _sooner(wait_s, await self._go_on(group))
        return await self._go_on(group)

    async def _go_on(self, group: Group) -> float | None:
        if self.finishing:
            await self.put_back()
            return None
        probe_s = self.breaker.wait_s()
        if probe_s != 0.0:
            await self._rotate(probe_s)
            return _sooner(probe_s, None if self._fixed() else LOOK_S)
        if not self._window.open():
            return None
        probing = self.breaker.state != "open"
        if probing and self.breaker.doubts:
            batch = await self._newest()
        else:
            await self._fill(1 if probing else None)
            batch = self._next(probing=probing)
        if batch is None:
            return _sooner(self._batcher.due_s(), self._spool.next_due_s(self.name))
        # where it is found whatever happens meanwhile: shared tokens may be a round trip away
        self._splits.append(batch)
        token_s = await self._token_s()
        if token_s > 0:
            return token_s
        if (
            self.finishing or batch not in self._splits or probing != (self.breaker.state != "open")
        ):  # handed back, or things changed
            self._bucket.give_back()
            return 0.0
        self._splits.remove(batch)
        probe = self.breaker.sent()
        self._window.in_flight += 1
        batch.started = self._clock.monotonic()
        self._under_way[id(batch)] = batch
        group.start_soon(self._deliver, batch, probe)
        return 0.0

    async def _token_s(self) -> float:
        """0 if a request may leave, else the seconds until one may: of our own tokens, and of those we share."""
        wait_s = self._bucket.take()
        if wait_s > 0:
            return wait_s
        try:
            drawn = await self._spool.draw_tokens(
                self._shared_name, rate=self._limits.requests_per_s, burst=self._limits.burst, wanted=1.0
            )
        except SpoolError:
            # better our own pace than none: the file comes back, or the spool itself will say what is wrong
            self._say_alone()
            return 0.0
        if drawn is None or drawn >= 1.0:
            return 0.0
        self._bucket.give_back()
        return max(-drawn, 0.001)

    async def _withhold(self) -> None:
        """Let the other processes on this spool know what the platform said about its rate."""
        limits, seconds = self._limits, self._bucket.closed_s()
        try:
            await self._spool.withhold_tokens(
                self._shared_name, rate=limits.requests_per_s, burst=limits.burst, seconds=seconds
            )
        except SpoolError:
            self._say_alone()

    def _say_alone(self) -> None:
        self._hooks.note(
            logging.WARNING,
            ("rate", self.name),
            "%s: the request rate that processes share is out of reach; this process keeps its own",
            self.name,
            extra={"destination": self.name},
        )

    async def _fill(self, limit: int | None) -> None:
        """Lease until a whole batch is at hand, but not what could not leave soon anyway."""
        if self._batcher.ready() or (self._splits and not self._aside):
            return
        room = self._limits.max_batch_events - self._batcher.records
        if limit is not None:
            room = limit if not self._batcher.records else 0
        if room > 0:
            await self._take(room)

    async def _take(self, limit: int) -> int:
        """Lease up to ``limit`` records into the batcher; how many there were."""
        leased = await self._spool.lease(self.name, limit=limit, max_bytes=self._limits.max_batch_bytes)
        if leased:
            try:
                self._batcher.add(await self._fit(leased))
            except BaseException as error:  # a destination's own code, or storage: what was leased must not get lost
                known = {id(record) for record in leased}
                leased += [record for record in self._batcher.drain() if id(record) not in known]
                self._strand(leased)
                if isinstance(error, Fault):  # it is in the log, and has paused this destination
                    return 0
                raise
        self._outage.works()
        return len(leased)

    async def _newest(self) -> Batch | None:
        """A probe of the newest record within reach: those before it were refused, and nobody knows whose fault it is.

        With every probe that is refused it looks further. What it looked through is handed back.
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
            Fault: The destination cannot tell; it is paused.
        """
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
            return bool(self.destination.owns(account))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # what it cannot tell of must neither be sent nor be given up
            name = type(error).__name__
            self._log_fault("owns()", name)
            self._blame(Verdict(kind="unauthorized", reason=f"owns() failed with {name}", fix="mend the destination"))
            raise Fault(name) from None

    def _batch_limit(self, head: bytes) -> int:
        """Events that one request of this head may carry; one, which every platform takes, if nobody can tell."""
        most = self._limits.max_batch_events
        try:
            with self._timed("batch_limit()"):
                limit: object = self.destination.batch_limit(head)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a destination's fault slows it and nobody else
            problem = f"failed with {type(error).__name__}"
        else:
            if isinstance(limit, int) and limit >= 1:
                return min(limit, most)
            problem = "gave no number of events from 1 on"
        self._hooks.note(
            logging.ERROR,
            ("fault", self.name, "batch_limit()", problem),
            "%s: batch_limit() %s; until it is mended each request carries one event",
            self.name,
            problem,
            extra={"destination": self.name, "in": "batch_limit()", "problem": problem},
        )
        return 1

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        """Say so if a destination's own code, which is called on the event loop, holds it."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - began
            if took_s > _HELD_S:
                self._hooks.note(
                    logging.WARNING,
                    ("slow", self.name, what),
                    "%s: %s held the event loop for %.2f s; let it return sooner",
                    self.name,
                    what,
                    took_s,
                    extra={"destination": self.name, "in": what, "seconds": round(took_s, 2)},
                )

    def _next(self, *, probing: bool) -> Batch | None:
        """The next batch to send; a probe carries a single record, since it may well be in vain."""
        # a search for what was refused takes turns with what is new: one bad event costs no other its time
        batch = None if self._splits and not self._aside else self._fresh_batch(probing=probing)
        self._aside = batch is None
        if batch is None and self._splits:
            batch = self._splits.pop()
        if batch is not None and probing and len(batch.records) > 1:
            first, batch.records = batch.records[:1], batch.records[1:]
            self._splits.append(batch)
            batch = _part(batch, first)
        return batch

    def _fresh_batch(self, *, probing: bool) -> Batch | None:
        full = self._batcher.records >= self._limits.max_batch_events
        return self._batcher.take(everything=self.hurry > 0 or probing or full)

    async def _deliver(self, batch: Batch, probe: bool) -> None:
        answered = False
        try:
            records = await self._fresh(batch.records)
            if records:
                verdicts, response = await self._ask(batch, records)
                answered = True
                await self._act(batch, records, verdicts, response)
        except Revoked:  # those that may still be sent come again at once
            await self._hand_back(batch.records)
        except BaseException as error:  # a fault of ours, of storage or of a user's code: it costs no event
            _doubt(batch)
            if self._ended(error):
                raise  # whoever ends all tasks hands the records back
            if not isinstance(error, Fault):
                self._say_fault("delivery", error)
            after_s = DELIVERY.interval_s(max(one.attempts for one in batch.records))
            await self._hand_back(batch.records, after_s=after_s)
        del self._under_way[id(batch)]
        self._window.in_flight -= 1
        self._answered_at = self._clock.monotonic()
        if probe and not answered:
            self.breaker.recall()
        self.wake()

    async def _fresh(self, records: list[Record]) -> list[Record]:
        """The records that may still be sent; the others end here."""
        now = self._clock.wall()
        resend = self.destination.resend
        for record in records:
            if record.expires_at <= now or record.maybe_since:
                break
        else:
            return records
        fresh, stale, outcomes = [], [], []
        for record in records:
            if record.maybe_since and (record.expires_at <= now or not absorbed(record, resend, now)):
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

    async def _ask(self, batch: Batch, records: list[Record]) -> tuple[list[Verdict], Response | None]:
        """One request; verdicts in the order of ``records``."""
        count = len(records)
        made = await self._request(batch.head, records)
        if isinstance(made, Verdict):
            self._blame(made)
            return [made] * count, None
        request, token = made
        if self._counts_twice(records):
            request = Request(request.method, request.url, request.headers, request.body, once=True)
        if self.destination.gzip and request.body:
            request = await self._thread.run(_compressed, request)
        await self._spool.mark_attempted(records)
        self._outage.works()
        for record in records:
            record.attempts += 1
        self.requests += 1
        response: Response | None = None
        error_kind = ""
        batch.sent_at = self._clock.wall()
        try:
            response = await self._send(request)
            if not isinstance(response, Response):
                raise TypeError  # named below, like whatever else a transport may do
        except TransportError as failure:
            error_kind = failure.kind
            self._window.fail()
            self._trouble(f"no answer ({failure.kind})")
            verdicts = [ambiguous(str(failure)) if failure.sent else retry(str(failure))] * count
        except BaseException as error:
            if self._ended(error):
                raise
            name = kind_of(error)
            self._log_fault("the transport", name)
            self._window.fail()
            self._trouble(f"the transport failed with {name}")
            raise Fault(name) from None
        else:
            response = replace(self._echoes.without_token(response, token), head=batch.head)
            try:
                verdicts = await self._echoes.cleaned(self._classify(response, count), records, token)
            except BaseException as error:  # a verdict that holds something else than text
                if self._ended(error):
                    raise
                verdicts = self._unclassified(error, count)
            closed_s = self._bucket.closed_s()
            self._learn(response, verdicts, token)
            if self._bucket.closed_s() > closed_s:
                await self._withhold()
        if self._hooks:
            self._hooks.request(
                RequestDone(
                    destination=self.name,
                    events=count,
                    bytes=request.size,
                    status=response.status if response else 0,
                    error=error_kind,
                    duration_s=self._clock.monotonic() - batch.started,
                )
            )
        return verdicts, response

    async def _send(self, request: Request) -> Response:
        """The transport's answer; a transport of the user's may forget its timeout.

        Raises:
            TransportError: There is none.
            TimeoutError: It took much longer than it may.
        """
        timeout_s = self._limits.request_timeout_s
        self._sending += 1
        try:
            async with asyncio.timeout(timeout_s + _OVERTIME_S):
                return await self._transport.send(request, timeout_s=timeout_s)
        finally:
            self._sending -= 1

    def _counts_twice(self, records: Sequence[Record]) -> bool:
        """Whether the platform would count a second copy of one of these, so that none may be sent."""
        resend = self.destination.resend
        return resend == "never" or (resend == "safe" and any(record.resend_for_s <= 0 for record in records))

    async def _request(self, head: bytes, records: Sequence[Record]) -> tuple[Request, str] | Verdict:
        """The request and the credential in it; a verdict if user code failed, which pauses and keeps the events."""
        try:
            token = await self._credential()
        except Fault as fault:
            reason = f"the credential's callable failed with {fault.name}"
            return Verdict(kind="unauthorized", reason=reason, fix="mend the callable")
        try:
            with self._timed("request()"):
                request = self.destination.request(head, [record.body for record in records], token)
            if _sendable(request):
                return request, token
            reason = "request() gave nothing that can be sent: it needs an http address, text and bytes"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a destination's fault pauses it and nobody else
            self._log_fault("request()", type(error).__name__)
            reason = f"request() failed with {type(error).__name__}"
        return Verdict(kind="unauthorized", reason=reason, fix="mend the destination")

    async def _credential(self) -> str:
        """The credential to use now.

        Raises:
            Fault: The caller's own code gave none; it is in the log.
        """
        if self._fixed():
            return await self.destination.secret().reveal()
        try:
            # it may hang like any server
            return await self._ask_credential(self._limits.request_timeout_s)
        except Fault as fault:
            self._log_fault("its credential callable", fault.name)
            raise

    def _fixed(self) -> bool:
        try:
            return self.destination.secret().fixed
        except KeyboardInterrupt:
            raise
        except BaseException:  # a destination's fault is named where its credential is asked for
            return False

    async def _reveal(self) -> str:
        token = (await self.destination.secret().reveal()).strip()
        if not token.isascii() or not token.isprintable():
            # sent, it would break the request in a way that looks like a lost answer
            raise ConfigError("the credential's callable gave characters that cannot stand in a header")
        return token

    def _say_fault(self, where: str, error: BaseException) -> None:
        if isinstance(error, SpoolError):
            self._outage.failed(error)
        else:
            self._log_fault(where, kind_of(error))

    def _log_fault(self, where: str, error: str) -> None:
        # the type only: the text may quote an event
        self._hooks.note(
            logging.ERROR,
            ("fault", self.name, where, error),
            "%s: %s failed with %s; no event is lost by that, and it is tried again: mend it if it is yours",
            self.name,
            where,
            error,
            extra={"destination": self.name, "in": where, "error": error},
        )

    def _blame(self, verdict: Verdict) -> None:
        if self.breaker.pause(verdict.reason, probe=verdict.probe):
            self._announce("paused", verdict.reason, fix=verdict.fix)

    def _classify(self, response: Response, count: int) -> list[Verdict]:
        try:
            with self._timed("classify()"):
                verdicts = list(self.destination.classify(response, count))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._unclassified(error, count)
        if len(verdicts) != count:
            return [ambiguous(f"classify() gave {len(verdicts)} verdicts for {count} events")] * count
        if not all(issubclass(kind, Verdict) for kind in set(map(type, verdicts))):
            return [ambiguous("classify() gave something else than verdicts")] * count
        return verdicts

    def _unclassified(self, error: BaseException, count: int) -> list[Verdict]:
        """Nobody knows what the platform did with the events."""
        self._log_fault("classify()", type(error).__name__)
        return [ambiguous(f"classify() failed with {type(error).__name__}")] * count

    def _learn(self, response: Response, verdicts: Sequence[Verdict], token: str) -> None:
        """What an answer teaches about the destination as a whole."""
        first = verdicts[0]
        if verdicts.count(first) == len(verdicts):  # nearly always: one object for all
            verdicts = (first,)
        kinds = {verdict.kind for verdict in verdicts}
        if "accepted" in kinds:
            self._window.succeed()
            self._bucket.succeed()
            self._throttles = 0
            if first.throttled:  # accepted, with a warning that the allowance is nearly used up
                self._bucket.throttle(first.after_s or DELIVERY.interval_s(1))
            if self.breaker.succeed():
                self._announce("open", "")
            return
        if "unauthorized" in kinds:
            first = next(verdict for verdict in verdicts if verdict.kind == "unauthorized")
            self._refused_credential = token
            self._blame(first)
        elif any(verdict.throttled for verdict in verdicts):
            if not self._bucket.closed_s():
                self._throttles += 1
            waits = [verdict.after_s for verdict in verdicts if verdict.after_s is not None]
            self._bucket.throttle(max(waits, default=DELIVERY.interval_s(self._throttles)))
            self._window.fail()
            self._reached()
        elif "ambiguous" in kinds or ("retry" in kinds and "rejected" not in kinds):
            if response.status >= 500 or "ambiguous" in kinds or first.edge:
                self._window.fail()
                self._trouble(first.reason or f"HTTP {response.status}")
            else:
                self._reached()
        else:
            if self.breaker.refused():
                self._announce("open", "")
            # an answer that names an event has looked at it, so the account is not what it refuses
            named = any(verdict.kind == "rejected" and not verdict.suspect for verdict in verdicts)
            if not named and self.breaker.fruitless(proven=self.breaker.proven()):
                self._announce("paused", self.breaker.reason, fix="check the account and the credential")

    def _reached(self) -> None:
        if self.breaker.answer():
            self._announce("open", "")

    def _trouble(self, reason: str) -> None:
        if self.breaker.fail(reason):
            self._announce("broken", reason)

    def _announce(self, state: str, reason: str, fix: str = "") -> None:
        self.breaker.fix = fix
        level = logging.INFO if state == "open" else logging.WARNING if state == "broken" else logging.ERROR
        waiting = self._spool.depth(self.name).events
        logger.log(
            level,
            _SAYS[state],
            self.name,
            *(() if state == "open" else (line(reason) or "no reason given",)),
            waiting,
            *((line(fix) or "see what the platform says about this account",) if state == "paused" else ()),
            extra={"destination": self.name, "reason": reason, "fix": fix, "waiting": waiting},
        )
        if self._hooks:
            self._hooks.state(StateChanged(destination=self.name, state=self.breaker.state, reason=reason))

    async def _act(
        self,
        batch: Batch,
        records: list[Record],
        verdicts: list[Verdict],
        response: Response | None,
    ) -> None:
        """Settle what is final, hand back what is tried again, halve what must be split."""
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
            await self._settle(settlement.final, settlement.outcomes)
        # Whom a refusal did not name goes again at once; like the halves of a search it takes turns with what is new,
        # because there may be thousands more to name among them.
        spared = settlement.again.pop(0.0, []) if settlement.final and self.breaker.state == "open" else []
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

    async def _again(self, settlement: Settlement) -> None:
        for after_s, records in settlement.again.items():
            failures = max(record.failures for record in records)
            wait_s = DELIVERY.delay_s(max(failures, 1)) if after_s is None else after_s
            await self._spool.release(records, after_s=wait_s)

    async def _settle(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        await self._spool.settle(records, outcomes)
        self._settled()
        if any(outcome.kind != "delivered" for outcome in outcomes):
            self._hooks.say(self.name, [record.event_id for record in records], outcomes)
        if self._hooks:
            ids = [record.event_id for record in records]
            self._hooks.settled(Settled(destination=self.name, event_ids=ids, outcomes=outcomes))

    async def _rotate(self, probe_s: float | None) -> None:
        """Resume at once when the credential is another than the one that was refused."""
        if self.breaker.state != "paused" or self._fixed() or self._refused_credential is None:
            return
        if probe_s is None and self.busy():
            return
        now = self._clock.monotonic()
        if now - self._looked_at < LOOK_S:  # woken for other reasons; the callable may be expensive
            return
        self._looked_at = now
        try:
            credential = await self._credential()
        except Fault:  # it is in the log
            return
        if credential != self._refused_credential:
            self._refused_credential = None
            self.breaker.retry_now()
            self.wake()

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass


def _sendable(request: Request) -> bool:
    """Whether a destination's own code gave a request; one that is none would break inside the transport."""
    if not isinstance(request, Request):
        return False
    address = urlsplit(request.url)
    texts = (request.method, request.url, *request.headers, *request.headers.values())
    return (
        address.scheme in ("http", "https")
        and bool(address.hostname)
        and address.port != 0  # one that is no number raises
        and all(isinstance(text, str) and text.isprintable() for text in texts)
        and all(issubclass(kind, (bytes, bytearray, memoryview)) for kind in set(map(type, request.body)))
    )


def _doubt(batch: Batch) -> None:
    """Cut off in the middle: if these are ever sent again, it must be known that they may have arrived."""
    if batch.sent_at:
        for record in batch.records:
            record.maybe_since = record.maybe_since or batch.sent_at


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


def _compressed(request: Request) -> Request:
    return Request(
        request.method,
        request.url,
        {**request.headers, "Content-Encoding": "gzip"},
        (gzip.compress(b"".join(request.body), compresslevel=5),),
        once=request.once,
    )
