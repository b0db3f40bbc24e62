"""Ids of delivered requests, for platforms that say later what became of them: one sorted set by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest
from capi_async.spool.redis.connection import with_scores
from capi_async.spool.redis.session import Session

_decoder: Final = msgspec.json.Decoder(tuple[str, str, int])


class SentRequests:
    """The ids of delivered requests of every destination."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, destination: str, sent: Sequence[SentRequest]) -> None:
        """Keep these, and remove those that are too old or too many."""
        command, key = self._session.command, self._session.keys.of(destination).sent
        pairs: list[Any] = []
        for one in sent:
            pairs += [one.at, msgspec.json.encode((one.trace_id, one.account, one.events))]
        await command("ZADD", key, *pairs)
        oldest = self._session.clock.wall() - SENT_DAYS * DAY
        await command("ZREMRANGEBYSCORE", key, "-inf", f"({oldest}")
        await command("ZREMRANGEBYRANK", key, 0, -SENT_MAX - 1)
        # if the destination is removed from the configuration, no process removes its ids
        await command("EXPIRE", key, int(SENT_DAYS * DAY))

    async def find(self, destination: str, since: float) -> list[SentRequest]:
        """Those that were answered then or later, newest first.

        Args:
            since: Seconds since the epoch.
        """
        key = self._session.keys.of(destination).sent
        answer = await self._session.command("ZRANGE", key, "+inf", since, "BYSCORE", "REV", "WITHSCORES")
        found = []
        for member, at in with_scores(answer):
            trace_id, account, events = _decoder.decode(member)
            found.append(SentRequest(trace_id, account, at, events))
        return found
