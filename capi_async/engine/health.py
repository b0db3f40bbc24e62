"""What is known of one destination's health: whether it answers, how fast it may be asked, what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from capi_async.backoff import DELIVERY
from capi_async.clock import Clock
from capi_async.engine.breaker import Breaker
from capi_async.engine.hooks import Hooks, line
from capi_async.errors import SpoolError
from capi_async.limiter import TokenBucket, Window
from capi_async.log import Log, literal
from capi_async.outcome import Response, Verdict
from capi_async.spec import Destination
from capi_async.spool.base import Spool
from capi_async.telemetry.base import StateChanged

logger = Log(__name__)

#: The log message for each state of a destination.
_SAYS: Final = {
    "open": ": open again; %d events wait and go now",
    "broken": ": broken: %s; %d events wait and are tried again; %s",
    "paused": ": paused: %s; %d events wait; %s",
}

#: Why a destination is broken to what helps.
_FIXES: Final = {
    "server_error": "nothing to do unless it lasts: then look at the platform's status page",
    "edge": "what answers is not the platform: look at its address (base_url), proxies and firewalls on the way",
    "other": "nothing to do unless it lasts: then ask the platform",
}

_NO_FIX: Final = "see what the platform says about this account"
_NEARLY: Final = "the allowance is nearly used up"
#: What to do about throttling.
THROTTLED_FIX: Final = "nothing to do unless it comes again: then send less, or ask the platform for more"

#: No answer for so many seconds, with requests under way, is no progress, and nor is a longer wait that the platform
#: asked for: new events need not wait for capacity at this destination.
STALL_S: Final = 5.0
#: A wait of so many seconds that a platform asked for is a warning: mostly a quota of the hour or the day is used up.
TOLD_S: Final = 60.0


class Health:
    """Learns from every answer, and logs it when the state of the destination changes.

    Attributes:
        breaker: Whether requests may leave.
        bucket: How many may leave per second.
        window: How many may be under way at once.
        refused_credential: The credential that the platform refused last; ``None`` if another was seen since.
    """

    def __init__(self, destination: Destination, *, spool: Spool, hooks: Hooks, clock: Clock) -> None:
        limits = destination.effective_limits()
        self.name = destination.name
        self._limits = limits
        self._shared_name = f"{destination.type}:{destination.account()}"
        self._spool = spool
        self._hooks = hooks
        self.breaker = Breaker(now=clock.monotonic)
        self.bucket = TokenBucket(rate=limits.requests_per_s, burst=limits.burst, now=clock.monotonic)
        self.window = Window(limits.max_in_flight)
        self.refused_credential: str | None = None
        self._throttles = 0
        #: What helps, and the code, of why it is held back.
        self._cause = ("", "")

    def promising(self) -> bool:
        """Whether requests leave, or will within seconds."""
        return self.breaker.state == "open" and self.bucket.closed_s() <= STALL_S

    async def token_s(self) -> float:
        """0 if a request may leave, else the seconds until one may: of our own tokens, and of those we share."""
        wait_s = self.bucket.take()
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
        self.bucket.give_back()
        return max(-drawn, 0.001)

    async def withhold(self) -> None:
        """Share with the other processes on this spool what the platform said about its rate."""
        limits, seconds = self._limits, self.bucket.closed_s()
        try:
            await self._spool.withhold_tokens(
                self._shared_name, rate=limits.requests_per_s, burst=limits.burst, seconds=seconds
            )
        except SpoolError:
            self._say_alone()

    def learn(self, response: Response, verdicts: Sequence[Verdict], token: str) -> None:
        """What an answer teaches about the destination as a whole."""
        first = verdicts[0]
        if verdicts.count(first) == len(verdicts):  # nearly always: one object for all
            verdicts, kinds = (first,), {first.kind}
        else:
            kinds = {verdict.kind for verdict in verdicts}
        if "accepted" in kinds:
            self.window.succeed()
            if self.bucket.factor < 1.0:
                self.bucket.succeed()
            self._throttles = 0
            if first.throttled:  # accepted, with a warning that the allowance is nearly used up
                self._throttle(first.after_s or DELIVERY.interval_s(1), first.reason or _NEARLY)
            if self.breaker.succeed():
                self._announce("open", "")
            return
        if "unauthorized" in kinds:
            first = next(verdict for verdict in verdicts if verdict.kind == "unauthorized")
            self.refused_credential = token
            self.blame(first)
        elif any(verdict.throttled for verdict in verdicts):
            if not self.bucket.closed_s():
                self._throttles += 1
            told = [verdict for verdict in verdicts if verdict.throttled]
            waits = [verdict.after_s for verdict in verdicts if verdict.after_s is not None]
            self._throttle(
                max(waits, default=DELIVERY.interval_s(self._throttles)),
                _with_status(told[0].reason, response.status),
            )
            self.window.fail()
            self._reached()
        elif "ambiguous" in kinds or ("retry" in kinds and "rejected" not in kinds):
            if response.status >= 500 or "ambiguous" in kinds or first.edge:
                self.window.fail()
                code = "edge" if first.edge else "server_error" if response.status >= 500 else "other"
                self.trouble(_with_status(first.reason, response.status), code, _FIXES[code])
            else:
                self._reached()
        else:
            if self.breaker.refused():
                self._announce("open", "")
            # the platform has read an event that its answer names, so the account is not what it refuses
            named = any(verdict.kind == "rejected" and not verdict.suspect for verdict in verdicts)
            if not named and self.breaker.fruitless(proven=self.breaker.proven()):
                fix = "check the account and the credential"
                self._announce("paused", self.breaker.reason, fix=fix, code="fruitless")

    def blame(self, verdict: Verdict, code: str = "account") -> None:
        """Pause: the account, its credential or the user's own code makes every request fail.

        Args:
            code: One of :data:`~capi_async.telemetry.reasons.HELD_REASONS`.
        """
        if self.breaker.pause(verdict.reason, probe=verdict.probe):
            self._announce("paused", verdict.reason, fix=verdict.fix, code=code)
        else:
            self._recount(verdict.reason, verdict.fix, code)

    def trouble(self, reason: str, code: str, fix: str) -> None:
        """No answer came, or one that says that the platform is in trouble.

        Args:
            code: One of :data:`~capi_async.telemetry.reasons.HELD_REASONS`.
        """
        if self.breaker.fail(reason):
            self._announce("broken", reason, fix=fix, code=code)
        elif self.breaker.state != "open":
            self._recount(reason, fix, code)

    def _reached(self) -> None:
        if self.breaker.answer():
            self._announce("open", "")

    def _throttle(self, wait_s: float, reason: str) -> None:
        """The platform asks for less."""
        self.bucket.throttle(wait_s, line(reason))
        closed_s, waiting = self.bucket.closed_s(), self._spool.depth(self.name).events
        level = logging.WARNING if closed_s >= TOLD_S else logging.INFO
        self._hooks.note(
            level,
            ("throttled", self.name, level),
            f"{literal(self.name)}: throttled: %s; %d events wait, and the next request leaves in %.0f s, then %.0f %% "
            "of the usual rate; %s",
            line(reason),
            waiting,
            closed_s,
            100 * self.bucket.factor,
            THROTTLED_FIX,
            extra={
                "destination": self.name,
                "reason": line(reason),
                "fix": THROTTLED_FIX,
                "waiting": waiting,
                "wait_s": round(closed_s, 1),
            },
        )

    def _recount(self, reason: str, fix: str, code: str) -> None:
        """It is still held back, perhaps for another cause: what is said of it follows."""
        if (fix, code) == self._cause:
            return
        self._cause, self.breaker.fix = (fix, code), fix
        state, waiting = self.breaker.state, self._spool.depth(self.name).events
        self._hooks.note(
            logging.WARNING if state == "broken" else logging.ERROR,
            ("held for another cause", self.name, state, code),
            f"{literal(self.name)}: still {state}, and now: %s; %d events wait; %s",
            line(reason) or "no reason given",
            waiting,
            line(fix) or _NO_FIX,
            extra=self._facts(state, reason, fix, code, waiting),
        )
        self._tell(reason, fix, code, waiting)

    def _announce(self, state: str, reason: str, fix: str = "", code: str = "") -> None:
        self._cause, self.breaker.fix = (fix, code), fix
        level = logging.INFO if state == "open" else logging.WARNING if state == "broken" else logging.ERROR
        waiting = self._spool.depth(self.name).events
        message = f"{literal(self.name)}{_SAYS[state]}"
        logger.log(
            level,
            message,
            *(() if state == "open" else (line(reason) or "no reason given",)),
            waiting,
            *(() if state == "open" else (line(fix) or _NO_FIX,)),
            extra=self._facts(state, reason, fix, code, waiting),
        )
        self._tell(reason, fix, code, waiting)

    def _facts(self, state: str, reason: str, fix: str, code: str, waiting: int) -> dict[str, Any]:
        return {
            "destination": self.name,
            "state": state,
            "reason": line(reason),
            "reason_code": code,
            "fix": line(fix),
            "waiting": waiting,
        }

    def _tell(self, reason: str, fix: str, code: str, waiting: int) -> None:
        self._hooks.state(
            StateChanged(
                destination=self.name,
                state=self.breaker.state,
                reason=reason,
                fix=fix,
                waiting=waiting,
                reason_code=code,
            )
        )

    def _say_alone(self) -> None:
        self._hooks.note(
            logging.WARNING,
            ("rate", self.name),
            "%s: the request rate that processes share is out of reach; this process keeps its own",
            self.name,
            extra={"destination": self.name},
        )


def _with_status(reason: str, status: int) -> str:
    """A platform's own words, behind the status that it answered with; of an answer that is none of its, the words."""
    said = f"HTTP {status}"
    return said if not reason else reason if said in reason else f"{said}: {reason}"
