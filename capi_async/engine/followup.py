"""Asks platforms what became of events after they took them, and sums up their answers. Knows no platform."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from capi_async.errors import CapiError, TransportError
from capi_async.followup import TOLD_KINDS, SentRequest, Told
from capi_async.limiter import TokenBucket
from capi_async.outcome import Response
from capi_async.redaction import plain
from capi_async.spec import Destination, Request, Transport
from capi_async.spool.base import Spool

#: Seconds that a credential's callable, and an answer, may take.
_TIMEOUT_S: Final = 30.0
#: Requests in a row that got no readable answer, after which no more are asked about.
_IN_VAIN: Final = 3
_UNKNOWN: Final = "the ids of its delivered requests are not known here: name the durable spool that they are in"


class FollowedUp(Struct, frozen=True, kw_only=True):
    """What one destination's platform answers later about events that were delivered.

    Attributes:
        tells: In words, what its answers cover.
        told: Its counts, those of one subject, kind and reason summed up.
        requests, events: Where it is asked request by request: those that it answered about, and their events.
        unasked: Delivered requests that were not asked about, because there are more than ``limit``, or because the
            platform gave no answers any more. The newest are asked about first.
        problems: What kept it from telling, in words, to how often.
    """

    destination: str
    tells: str
    told: Sequence[Told] = ()
    requests: int = 0
    events: int = 0
    unasked: int = 0
    problems: Mapping[str, int] = {}


async def follow_up(
    destinations: Sequence[Destination],
    spool: Spool | None,
    transport: Transport,
    *,
    since: float,
    limit: int,
) -> list[FollowedUp]:
    """Ask the platform of each destination; destinations concurrently, requests at their pace.

    Args:
        spool: Where the ids of delivered requests are; ``None``: nowhere.
        since: Seconds since the epoch from which on deliveries are asked about.
        limit: Requests that are asked about at most, for each destination.

    Raises:
        SpoolError: The ids are out of reach.
    """
    sent = [await _sent(one, spool, since) for one in destinations]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_Asking(one, transport).run(of_it, since, limit))
            for one, of_it in zip(destinations, sent, strict=True)
        ]
    return [task.result() for task in tasks]


async def _sent(destination: Destination, spool: Spool | None, since: float) -> list[SentRequest] | None:
    """The requests that it is asked about; ``None``: they are not known."""
    if not destination.followup.by_request:
        return []
    if spool is None:
        return None
    account = destination.account()
    return [one for one in await spool.sent(destination.name, since=since) if one.account == account]


class _Asking:
    """Asks one platform."""

    def __init__(self, destination: Destination, transport: Transport) -> None:
        self._destination = destination
        self._transport = transport
        limits = destination.effective_limits()
        now = asyncio.get_running_loop().time
        self._bucket = TokenBucket(rate=limits.requests_per_s, burst=limits.burst, now=now)
        self._told: dict[tuple[str, str, str], Told] = {}
        self._problems: dict[str, int] = {}
        self._answered: set[str] = set()
        self._token = ""

    async def run(self, sent: Sequence[SentRequest] | None, since: float, limit: int) -> FollowedUp:
        of = self._destination.followup
        if sent is None:
            self._problems[_UNKNOWN] = 1
            sent = []
        asked = sent[:limit]
        if of.asks and (asked or not of.by_request):
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    self._token = (await self._destination.secret().reveal()).strip()
                await self._ask(self._destination.followup_requests(self._token, asked, since))
            except Exception as error:  # of the destination's own code, or of its credential's
                self._note(error, "its own code, or its credential's callable, failed")
        known = [one for one in asked if one.trace_id in self._answered]
        return FollowedUp(
            destination=self._destination.name,
            tells=of.tells,
            told=sorted(self._told.values(), key=_order),
            requests=len(known),
            events=sum(one.events for one in known),
            unasked=len(sent) - len(known) if of.by_request else 0,
            problems=self._problems,
        )

    async def _ask(self, requests: Sequence[tuple[str, Request]]) -> None:
        """Ask, one after the other, until it is in vain."""
        in_vain = 0
        for name, request in requests:
            if (wait_s := self._bucket.take()) > 0:
                await asyncio.sleep(wait_s)
                self._bucket.take()
            try:
                response = await self._transport.send(request, timeout_s=_TIMEOUT_S)
                told = self._destination.followup_told(name, self._without_token(response))
            except Exception as error:
                self._note(error, "its answer could not be read by its own code")
                in_vain += 1
                if in_vain == _IN_VAIN:
                    return
                continue
            in_vain = 0
            self._answered.add(name)
            for one in told:
                self._add(one)

    def _add(self, one: Told) -> None:
        key = (one.about, one.kind, one.reason)
        before = self._told.get(key)
        if before is not None and before.events is not None:
            one = replace(one, events=before.events + (one.events or 0))
        self._told[key] = one

    def _without_token(self, response: Response) -> Response:
        # answers are shown to people: a credential that a platform echoes must not be in them
        if not self._token or self._token.encode() not in response.body:
            return response
        return replace(response, body=response.body.replace(self._token.encode(), b"***"))

    def _note(self, error: Exception, otherwise: str) -> None:
        if isinstance(error, TransportError):
            said = error.said
        elif isinstance(error, CapiError):
            said = plain(str(error))
        else:  # its text may quote what it was given
            said = f"{otherwise} ({type(error).__name__})"
        self._problems[said] = self._problems.get(said, 0) + 1


def _order(one: Told) -> tuple[str, int, int, str]:
    return one.about, TOLD_KINDS.index(one.kind), -(one.events or 0), one.reason
