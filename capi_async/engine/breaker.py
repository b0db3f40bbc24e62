"""A circuit breaker: whether a destination takes requests at the moment. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from capi_async.backoff import DELIVERY

State: TypeAlias = Literal["open", "broken", "paused"]


class Breaker:
    """Holds requests back after failures in a row (``broken``) or a refusal of the whole account (``paused``).

    While it does, one probe at a time leaves, at growing intervals; an answer that accepts something lets all requests
    leave again. Refusals of single events never hold others back, nor prolong that: events come from anyone.
    The state ``open`` is the destination's, as users see it: requests leave.

    Args:
        threshold: Transport errors and 5xx answers in a row after which a destination is ``broken``.
        now: Monotonic seconds.
    """

    #: Requests without a single accepted event, while splitting, that pause a destination; or slow it down, if
    #: something was accepted a short while ago.
    MAX_FRUITLESS = 64
    #: Seconds for which something accepted proves that the account works, even if requests are refused after it.
    PROVEN_S = 60.0
    #: Seconds between two requests of a search that has long found nothing good, where the account is proven.
    PACE_S = 0.1
    #: Seconds from a probe whose one event was refused to the next one.
    REFUSED_S = 1.0

    def __init__(self, *, now: Callable[[], float], threshold: int = 5) -> None:
        self._now = now
        self._threshold = threshold
        self._failures = 0
        self._fruitless = 0
        #: Answers in a row that refused something and accepted nothing, whatever the cause.
        self._barren = 0
        self._accepted_at: float | None = None
        self._sent_at = 0.0
        #: Probes and searches in a row that ended in refusals of events: each is a reason to try another event.
        self.doubts = 0
        self._probes = 0
        self._next_probe = 0.0
        self._may_probe = True
        self._probing = False
        self.state: State = "open"
        self.reason = ""
        #: What to do about :attr:`reason`.
        self.fix = ""

    def wait_s(self) -> float | None:
        """0 if a request may leave, else seconds until the next probe; ``None``: not before something changes."""
        if self.state == "open":
            if self._barren < self.MAX_FRUITLESS:
                return 0.0
            return max(0.0, self._sent_at + self.PACE_S - self._now())
        if self._probing or not self._may_probe:
            return None
        return max(0.0, self._next_probe - self._now())

    def sent(self) -> bool:
        """A request leaves; True if others are held back, so that this one is the probe."""
        if self.state != "open":
            self._probing = True
        elif self._barren:
            self._sent_at = self._now()
        return self._probing

    def recall(self) -> None:
        """The probe got no answer and taught nothing (its event had expired, say): another may go."""
        self._probing = False

    def succeed(self) -> bool:
        """Something was accepted; True if that ends an outage."""
        self._accepted_at = self._now()
        return self._resume()

    def answer(self) -> bool:
        """An answer that neither accepts nor blames the account; the path works. True if that ends an outage."""
        self._failures = 0
        if self.state == "broken":
            return self._resume()
        if self._probing:
            self._hold(self.state, self.reason)
        return False

    def refused(self) -> bool:
        """An answer that refuses events and nothing else: the account was heard. True if that ends an outage.

        It does not say that the account works again, so a paused destination stays paused; but the next probe, with
        another event, goes soon.
        """
        self._failures = 0
        self._barren += 1
        if self.state == "broken":
            return self._resume()
        if self._probing:
            self._probing = False
            self.doubts += 1
            self._next_probe = self._now() + self.REFUSED_S
        return False

    def proven(self) -> bool:
        """Whether something was accepted a short while ago."""
        return self._accepted_at is not None and self._now() - self._accepted_at < self.PROVEN_S

    def fruitless(self, *, proven: bool = False) -> bool:
        """A refusal that would be suspicious if nothing else ever came; True if it paused the destination.

        For answers that name no event, after :meth:`refused`: the same one for everything points to the account.

        Args:
            proven: It does not, see :meth:`proven`.
        """
        self._fruitless += 1
        if proven or self.state != "open" or self._fruitless < self.MAX_FRUITLESS:
            return False
        self.doubts += 1
        return self.pause(f"{self._fruitless} requests in a row and nothing accepted")

    def fail(self, reason: str) -> bool:
        """A transport error or server trouble; True if the destination is ``broken`` from now on."""
        self._failures += 1
        if self.state == "open" and self._failures < self._threshold:
            return False
        open_before = self.state == "open"
        self._hold("broken" if self.state == "open" else self.state, reason)
        return open_before

    def pause(self, reason: str, *, probe: bool = True) -> bool:
        """The account or configuration is refused; True if the destination was not paused before."""
        fresh = self.state != "paused"
        self._may_probe = probe
        self._hold("paused", reason)
        return fresh

    def retry_now(self) -> None:
        """Probe at once, because something changed: a new credential, or the user asks for it."""
        self._may_probe = True
        self._probes = 0
        self._next_probe = self._now()

    def _resume(self) -> bool:
        opened = self.state != "open"
        self._failures = self._fruitless = self._barren = self._probes = self.doubts = 0
        self._probing = False
        self.state = "open"
        self.reason = ""
        return opened

    def _hold(self, state: State, reason: str) -> None:
        # a late answer to what left before that is no probe: it must not stretch the interval
        news = self.state == "open" or self._probing
        self.state = state
        self.reason = reason
        if not news:
            return
        self._probing = False
        self._probes += 1
        self._next_probe = self._now() + DELIVERY.interval_s(self._probes + 1)
