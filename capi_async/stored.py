"""What a client does with what its spool holds: erase it, replay dead letters, and ask what became of the delivered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from capi_async.clock import Clock
from capi_async.engine.dispatcher import Dispatcher
from capi_async.engine.erasure import LeadIds, matches_subject
from capi_async.engine.followup import FollowedUp, follow_up
from capi_async.errors import ConfigError
from capi_async.event import NO_USER, User
from capi_async.outcome import Outcome
from capi_async.spec import Destination, Transport
from capi_async.spool.base import DeadLetter, LetterFilter, Spool
from capi_async.spool.letters import forget_letters

_FORGOTTEN: Final = Outcome(kind="forgotten", reason="erased on request")
_WITHDRAWN: Final = Outcome(kind="skipped", field="consent", reason="consent was withdrawn")


def _seconds(name: str, moment: datetime | None) -> float | None:
    """A moment that a caller gave, in seconds since the epoch.

    Raises:
        ConfigError: It has no offset; the text begins with ``name``.
    """
    if moment is not None and moment.utcoffset() is None:
        raise ConfigError(f"{name} needs an offset, such as datetime.now(UTC)")
    return None if moment is None else moment.timestamp()


class StoredEvents:
    """The part of :class:`capi_async.Client` that looks back at what was accepted; it is used as a client only."""

    _spool: Spool
    _phone_region: str | None
    _transport: Transport
    _clock: Clock
    #: Those whose platforms are asked; none that nothing is sent to.
    _asked: Sequence[Destination]

    @abstractmethod
    def _running(self) -> Dispatcher:
        """The engine of the running loop."""

    async def accepted_before(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Which of these events the spool remembers to have accepted, from this process or an earlier one.

        For those who hand over events from a store of their own, and died before they could note it there. Only
        ``sqlite:///events.db?remember_days=7`` remembers; with any other spool the answer is always none.

        Raises:
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        await self._running().opened()
        return await self._spool.remembered(event_ids)

    async def followup(
        self, *, since: datetime | timedelta = timedelta(days=1), limit: int = 100
    ) -> Mapping[str, FollowedUp]:
        """What the platforms tell of events after they took them: how many were matched or refused, and why.

        Delivered means that a platform took an event. Whether it counts it is known later, and not everywhere: each
        answer's ``tells`` says in words what its platform tells, or that it tells nothing. All are counts; nothing is
        changed by asking. Google Ads is asked by the ids of delivered requests, which the spool keeps: one in memory
        those of this process, a durable one those of all processes on it, for 50 days and the newest 10,000.

        Args:
            since: Deliveries of this age at most, or from this moment on (an offset is required). Platforms that look
                back over a time of their own say so.
            limit: Requests per destination that are asked about at most, the newest first.

        Returns one answer per destination.

        Raises:
            ConfigError: A time without an offset.
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        if isinstance(since, timedelta):
            from_s = self._clock.wall() - since.total_seconds()
        else:
            from_s = _seconds("since", since) or 0.0
        await self._running().opened()
        found = await follow_up(
            self._asked,
            self._spool,
            self._transport,
            since=from_s,
            limit=limit,
        )
        return {one.destination: one for one in found}

    async def withdraw(self, subject: User = NO_USER, *, lead_id: LeadIds = ()) -> Mapping[str, int]:
        """Consent was withdrawn: settle what waits and carries an identifier of ``subject`` as ``skipped``.

        Takes what :meth:`forget` takes, reaches as far, and returns how many per destination.
        """
        return await self._settle_matching(subject, lead_id, _WITHDRAWN)

    async def forget(self, subject: User = NO_USER, *, lead_id: LeadIds = ()) -> Mapping[str, int]:
        """Erase what waits, or is kept as a dead letter, and carries an e-mail, phone or external id of ``subject``.

        Also what another process on the same spool has taken up: each is asked, and has five seconds to answer; one
        that sleeps does it before it sends anything again. A request that is under way at this moment cannot be
        recalled: its records are not counted here, are not sent again, and their answer decides how they end.

        Args:
            subject: Of several values of a field, each is looked for.
            lead_id: One or several ids of lead ads, or any other id that a platform gave the person, such as that of
                Facebook Login. A record with such an id and no other identifier is found by it alone.

        Returns how many records per destination. Finds only identifiers that a stored record carries: one that
        holds none of them cannot be found.

        Raises:
            ConfigError: There is no identifier to go by.
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        return await self._settle_matching(subject, lead_id, _FORGOTTEN)

    async def replay(
        self,
        *,
        destination: str | None = None,
        kind: Literal["dead", "uncertain"] | None = None,
        reason: str | None = None,
        event_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        whole_reason: bool = False,
        permitted: Callable[[str], bool] | None = None,
    ) -> Mapping[str, int]:
        """Send dead letters again, each to the destination that missed it, under its old event id.

        One that has grown too old for its platform becomes ``expired``, one that is not ``permitted`` any more
        ``skipped``; an ``uncertain`` one may be counted twice, if it had arrived after all. A spool in memory keeps
        no dead letters.

        Args:
            destination, kind, event_id: Only these; ``None``: any.
            reason: Only those whose reason holds this text, or with ``whole_reason`` is this text.
            since, until: Only those that ended at or after, and before; an offset is required.
            limit: At most so many, oldest first.
            permitted: Asked with each event id whether it may still be sent; called in a thread, may block.

        Returns how many are pending again, per destination.

        Raises:
            ConfigError: A time without an offset.
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        wanted = LetterFilter(
            destination=destination,
            kind=kind,
            reason=reason,
            event_id=event_id,
            since=_seconds("since", since),
            until=_seconds("until", until),
            limit=limit,
            whole_reason=whole_reason,
        )
        await self._running().opened()
        return await self._spool.replay(wanted, permitted=permitted)

    async def dead_letters(self, wanted: LetterFilter | None = None) -> Sequence[DeadLetter]:
        """The dead letters that are kept: events that ended ``dead`` or ``uncertain``; a spool in memory keeps none.

        Raises:
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        await self._running().opened()
        return await self._spool.letters(wanted or LetterFilter())

    async def forget_dead_letters(self, wanted: LetterFilter) -> Mapping[str, int]:
        """Erase dead letters: they cannot be replayed any more, and count as ``forgotten``. How many, per destination.

        What else waits of the same events at the same destinations is erased with them.

        Raises:
            SpoolError: Storage failed.
            ClientClosed: ``aclose()`` has begun, or this is another event loop or process.
        """
        await self._running().opened()
        return await forget_letters(self._spool, wanted)

    async def _settle_matching(self, subject: User, lead_id: LeadIds, outcome: Outcome) -> Mapping[str, int]:
        matches = matches_subject(subject, self._phone_region, lead_id)
        engine = self._running()
        await engine.opened()
        # what was handed in before and is not stored yet, such as by enqueue()
        found = await engine.intake.erase(matches, outcome)
        # what lingers in a worker, or waits there for its turn, is not under way yet
        await engine.put_back()
        for name, count in (await self._spool.settle_matching(matches, outcome)).items():
            found[name] = found.get(name, 0) + count
        return found
