"""Submissions that are not stored yet: which callers wait for what, and how each of them gets its answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from capi_async.clock import Clock
from capi_async.engine.erasure import Prepared
from capi_async.engine.receipt import Receipt
from capi_async.engine.wait_queue import Slice, Submission, WaitQueue
from capi_async.errors import CapiError, ClientClosed, SpoolError
from capi_async.event import Event

#: Seconds that preparing an event may take on a busy machine before a caller with a shorter timeout is refused.
_PREPARING_S: Final = 0.5

_CLOSED_MEANWHILE: Final = "the client closed while this event was being stored; it may be stored, and delivered"


class Backlog:
    """The submissions of one client, in order.

    Args:
        max_events: Events that may wait here before callers wait.

    Attributes:
        submissions: Those of which something is not taken into a micro-batch yet, the oldest first.
        taken: Submissions of which something was taken, and whose callers have no answer yet, by identity.
        queue: Submissions whose next event has to wait for capacity.
        waiting: Events that are not taken into a micro-batch, or queued.
        woken: Set when there may be something to do.
        unstored: Events whose callers were refused when the client closed.
        unknown: Events that were being stored at that moment, so that it is unknown whether they are.
    """

    def __init__(self, *, clock: Clock, max_events: int) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._max_events = max_events
        self.submissions: deque[Submission] = deque()
        self.taken: dict[int, Submission] = {}
        self.queue = WaitQueue()
        self.waiting = 0
        self.woken = asyncio.Event()
        self._blocked: deque[asyncio.Future[None]] = deque()
        #: Callers who were let in and have not handed in yet.
        self._expected = 0
        self.unstored = 0
        self.unknown = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be prepared, or for capacity."""
        return not self.submissions and not self.queue

    @property
    def idle(self) -> bool:
        """Whether there is nothing here at all, and no caller waits to hand in."""
        return not (self.submissions or self.taken or self.queue or self._blocked or self._expected)

    @property
    def events(self) -> int:
        """Events handed in and not yet stored."""
        taken = sum(
            submission.at
            - submission.stored
            - (len(submission.position.unstored) if submission.position is not None else 0)
            for submission in self.taken.values()
            if not submission.future.done()
        )
        return self.waiting + taken

    def put(
        self, events: Sequence[Event], receipts: Sequence[Receipt], *, timeout_s: float | None, waited: bool
    ) -> asyncio.Future[None] | None:
        """Hand events in; ``None`` if callers must wait. The future is done when all are stored.

        Args:
            waited: It was this caller's turn, see :meth:`turn`.
        """
        if self.waiting >= self._max_events or (self._blocked and not waited):
            return None
        future: asyncio.Future[None] = self._loop.create_future()
        now = self._clock.monotonic()
        deadline = None if timeout_s is None else now + timeout_s
        self.submissions.append(Submission(events, receipts, future, timeout_s, deadline, now))
        self.waiting += len(events)
        self.woken.set()
        return future

    def begin(self, event: Event, receipt: Receipt, *, timeout_s: float | None) -> Submission:
        """Take a lone event that is being stored already, while nothing else is here."""
        now = self._clock.monotonic()
        deadline = None if timeout_s is None else now + timeout_s
        future: asyncio.Future[None] = self._loop.create_future()
        submission = Submission((event,), (receipt,), future, timeout_s, deadline, now, at=1, appending=1)
        self.taken[id(submission)] = submission
        return submission

    async def turn(self, timeout_s: float, *, again: bool) -> None:
        """Wait until a caller may try to hand in.

        Args:
            again: It was admitted before and found no capacity after all; it is the next one, not the last.

        Raises:
            TimeoutError: There was no capacity within ``timeout_s``.
        """
        turn: asyncio.Future[None] = self._loop.create_future()
        (self._blocked.appendleft if again else self._blocked.append)(turn)
        let_in = False
        try:
            async with asyncio.timeout(timeout_s):
                await turn
            let_in = True
        finally:
            if turn.done() and not turn.cancelled():
                self._expected -= 1
            if not let_in:  # a caller who gives up lets in the next
                self.let_in()

    def let_in(self) -> None:
        """Admit as many of the blocked callers as there is capacity for: each brings one event or more."""
        while self._blocked and self.waiting + self._expected < self._max_events:
            self._let_in_one()

    def _let_in_one(self) -> None:
        turn = self._blocked.popleft()
        if not turn.done():
            turn.set_result(None)
            self._expected += 1

    def take(self, most: int) -> tuple[list[Slice], list[Event], list[Receipt]]:
        """Up to ``most`` events for one micro-batch, and whose they are."""
        events: list[Event] = []
        receipts: list[Receipt] = []
        slices: list[Slice] = []
        submissions, taken, left = self.submissions, self.taken, most
        while left > 0 and submissions:
            submission = submissions[0]
            at = submission.at
            size = len(submission.events) - at
            if submission.future.done():  # cancelled, timed out or failed: the rest is not stored
                self.waiting -= size
                taken.pop(id(submission), None)
                submissions.popleft()
                continue
            if at or size > left:
                stop = at + min(size, left)
                events += submission.events[at:stop]
                receipts += submission.receipts[at:stop]
                count = stop - at
            else:
                events += submission.events
                receipts += submission.receipts
                count = size
            if count == size:
                submissions.popleft()
            submission.at = at + count
            slices.append((submission, count))
            taken[id(submission)] = submission
            left -= count
        self.waiting -= most - left
        if self._blocked:
            self.let_in()
        return slices, events, receipts

    def let_wait(self, submission: Submission, events: deque[Prepared], waits: frozenset[str]) -> None:
        """Let a submission wait; nothing more is taken of it until all of it that was prepared is stored."""
        if submission.position is None:
            submission.future.add_done_callback(lambda _future: self._on_done(submission))
        # a person may have been forgotten while the others of the same micro-batch were stored
        self.queue.position_of(submission).unstored = (
            deque(map(submission.without, events)) if submission.erasures else events
        )
        self.queue.put(submission, waits)
        self.waiting += len(events)
        if submission.at < len(submission.events):
            self.submissions.remove(submission)  # at the front, where those are that were begun

    def resume(self, submission: Submission) -> None:
        """All of it that was prepared is stored: it waits no more, and what is left of it is taken first."""
        self.queue.remove(submission)
        if submission.at < len(submission.events):
            self.submissions.appendleft(submission)

    def _on_done(self, submission: Submission) -> None:
        """A caller who waits gave up, or time did; or all is stored, and nothing remains to be done."""
        if submission.queued:
            self.leave(submission)
            self.woken.set()

    def leave(self, submission: Submission) -> None:
        """The caller of this submission does not wait any more: what is left of it is not stored."""
        self.taken.pop(id(submission), None)
        if submission.position is None or not submission.queued:
            return
        self.waiting -= len(submission.position.unstored) + len(submission.events) - submission.at
        submission.position.unstored.clear()
        self.queue.remove(submission)
        self.let_in()

    def tell_late(self) -> None:
        """Answer the callers whose timeout has passed."""
        now = self._clock.monotonic()
        for submission in (*self.taken.values(), *self.submissions):
            if submission.deadline is None or submission.timeout_s is None or submission.appending:
                continue
            # a caller with a timeout of 0 learns whether there is capacity once its event was prepared
            spare_s = 0.0 if submission.queued else max(0.0, _PREPARING_S - submission.timeout_s)
            if submission.deadline + spare_s < now:
                submission.fail(submission.full(f"no room within {submission.timeout_s} s"))

    def all(self) -> list[Submission]:
        """Every submission of which something is not stored, once."""
        return list({id(one): one for one in (*self.submissions, *self.taken.values())}.values())

    def abandon(self, why: str, error: CapiError | None = None, *, appending: bool = True) -> None:
        """Refuse all callers who wait.

        Args:
            error: What they get, if it is something else than that the client has closed.
            appending: Also those whose events are being stored at this moment: whether they are is unknown.
        """
        kept: list[Submission] = []
        for submission in self.all():
            if submission.future.done():
                continue
            if submission.appending and not appending:
                kept.append(submission)
                continue
            self.unknown += submission.appending
            self.unstored += len(submission.events) - submission.stored - submission.appending
            if submission.appending:
                submission.fail(ClientClosed(_CLOSED_MEANWHILE, stored=None, stored_events=submission.stored))
            else:
                if isinstance(error, SpoolError):
                    submission.refuse(error, stored=False)
                else:
                    submission.fail(error or ClientClosed(why, stored=False, stored_events=submission.stored))
        self.submissions.clear()
        self.taken = {id(submission): submission for submission in kept}
        self.queue.clear()
        self.waiting = 0
        while self._blocked:
            self._let_in_one()
