"""One request and its answer: made, sent, read, learnt from."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from capi_async.clock import Clock
from capi_async.deadlines import Deadlines, Within
from capi_async.engine.batcher import Batch
from capi_async.engine.destination_code import DestinationCode
from capi_async.engine.echoes import Echoes, silent
from capi_async.engine.guard import Fault, is_end
from capi_async.engine.health import Health
from capi_async.engine.hooks import Hooks
from capi_async.engine.outage import Outage
from capi_async.engine.sending_time import LEAST_S, SendingTime
from capi_async.errors import TransportError
from capi_async.outcome import Response, Verdict, ambiguous, retry
from capi_async.spec import Request, Transport
from capi_async.spool.base import Record, Spool
from capi_async.telemetry.base import RequestDone
from capi_async.thread import OwnedThread, kind_of

#: Kind of transport error to what helps.
_NO_ANSWER_FIXES: Final = {
    "dns": "the host's name is not found: look at base_url, and at this machine's DNS",
    "tls": "TLS fails: look at base_url, proxies on the way, this machine's clock, and ssl=",
    "session": "the aiohttp session that the client was given is closed: keep it open as long as the client",
}
_NO_WAY: Final = "look at the network, proxies and firewalls on the way, and at the platform's status page"

#: Seconds beyond its timeout after which a transport that has not returned is given up.
OVERTIME_S: Final = 5.0


class Exchange:
    """Sends the requests of one destination.

    Attributes:
        sending: Calls of the transport that have not returned.
    """

    def __init__(
        self,
        code: DestinationCode,
        health: Health,
        *,
        spool: Spool,
        transport: Transport,
        thread: OwnedThread,
        hooks: Hooks,
        outage: Outage,
        sending_time: SendingTime,
        ending: Callable[[], bool],
        clock: Clock,
    ) -> None:
        destination = code.destination
        self.name = destination.name
        self.destination = destination
        self._code = code
        self._health = health
        self._spool = spool
        self._transport = transport
        self._thread = thread
        self._hooks = hooks
        self._outage = outage
        self._sending_time = sending_time
        self._ending = ending
        self._clock = clock
        self._timeout_s = destination.effective_limits().request_timeout_s
        self._deadlines = Deadlines()
        self._echoes = Echoes(destination.names.values(), thread)
        self.sending = 0

    async def ask(self, batch: Batch, records: list[Record]) -> tuple[list[Verdict], Response | None]:
        """One request; verdicts in the order of ``records``, and the answer if there was one.

        Raises:
            Fault: The transport failed in a way that transports must not; it is in the log.
            SpoolError: Storage failed before anything was sent.
        """
        count = len(records)
        made = await self._code.request(batch.head, records)
        if isinstance(made, Verdict):
            self._health.blame(made, "user_code")
            return [made] * count, None
        request, token = made
        if self._counts_twice(records):
            request = Request(request.method, request.url, request.headers, request.body, once=True)
        if self.destination.gzip and request.body:
            request = await self._thread.run(_compressed, request)
        await self._spool.mark_attempted(records)
        if self._outage.since is not None:
            self._outage.works()
        for record in records:
            record.attempts += 1
        batch.sent_at = self._clock.wall()
        response: Response | None = None
        error_kind = ""
        try:
            response = await self._send(request)
        except TransportError as failure:
            error_kind = failure.kind
            self._health.window.fail()
            self._health.trouble(failure.said, "no_answer", self._no_answer_fix(failure.kind))
            verdicts = [ambiguous(str(failure)) if failure.sent else retry(str(failure))] * count
        else:
            response = replace(self._echoes.without_token(response, token), head=batch.head)
            verdicts = await self._read(response, records, token)
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

    async def _read(self, response: Response, records: Sequence[Record], token: str) -> list[Verdict]:
        """What an answer says about each record; what it says about the destination is learnt."""
        count = len(records)
        try:
            verdicts = self._code.classify(response, count)
            if not silent(verdicts):
                verdicts = await self._echoes.cleaned(verdicts, records, token)
        except BaseException as error:  # a verdict that holds something else than text
            if is_end(error, ending=self._ending()):
                raise
            verdicts = self._code.unclassified(error, count)
        bucket = self._health.bucket
        closed_until = bucket.closed_until
        self._health.learn(response, verdicts, token)
        if response.status == 401 and any(verdict.kind == "unauthorized" for verdict in verdicts):
            self._code.refused(token)
        if bucket.closed_until > closed_until and bucket.closed_s():
            await self._health.withhold()
        return verdicts

    async def _send(self, request: Request) -> Response:
        """The transport's answer.

        Raises:
            TransportError: There is none.
            Fault: A transport of the user's failed with something else, gave no answer or forgot its timeout.
        """
        self.sending += 1
        left_s = self._sending_time.until - self._clock.monotonic()
        timeout_s = min(self._timeout_s, max(left_s, LEAST_S))
        try:
            with Within(self._deadlines, timeout_s + OVERTIME_S):
                response = await self._transport.send(request, timeout_s=timeout_s)
            if not isinstance(response, Response):
                raise TypeError  # named below, like any other error of a transport
        except TransportError:
            raise
        except BaseException as error:
            if is_end(error, ending=self._ending()):
                raise
            name = kind_of(error)
            self._code.log_fault("the transport", name, error)
            self._health.window.fail()
            self._health.trouble(f"the transport failed with {name}", "user_code", "mend the transport")
            raise Fault(name) from None
        else:
            return response
        finally:
            self.sending -= 1

    def _no_answer_fix(self, kind: str) -> str:
        if kind == "timeout":
            return f"raise request_timeout_s ({self._timeout_s:g}) if the platform is only slow"
        return _NO_ANSWER_FIXES.get(kind, _NO_WAY)

    def _counts_twice(self, records: Sequence[Record]) -> bool:
        """Whether the platform would count a second copy of one of these, so that none may be sent."""
        resend = self.destination.resend
        if resend == "safe":
            for record in records:
                if record.resend_for_s <= 0:
                    return True
        return resend == "never"


def _compressed(request: Request) -> Request:
    return Request(
        request.method,
        request.url,
        {**request.headers, "Content-Encoding": "gzip"},
        (gzip.compress(b"".join(request.body), compresslevel=5),),
        once=request.once,
    )
