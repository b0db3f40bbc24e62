"""Ids of delivered requests, kept for the platforms that tell later what became of them: one sorted set by time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from capi_async.followup import DAY, SENT_DAYS, SENT_MAX, SentRequest

Ask = Callable[..., Awaitable[Any]]

_decoder: Final = msgspec.json.Decoder(tuple[str, str, int])


async def add(ask: Ask, key: str, sent: Sequence[SentRequest], now: float) -> None:
    """Keep these, and let go of those that are too old or too many."""
    pairs: list[Any] = []
    for one in sent:
        pairs += [one.at, msgspec.json.encode((one.trace_id, one.account, one.events))]
    await ask("ZADD", key, *pairs)
    await ask("ZREMRANGEBYSCORE", key, "-inf", f"({now - SENT_DAYS * DAY}")
    await ask("ZREMRANGEBYRANK", key, 0, -SENT_MAX - 1)
    # of a destination that is configured no more nobody would ever remove them
    await ask("EXPIRE", key, int(SENT_DAYS * DAY))


async def find(ask: Ask, key: str, since: float) -> list[SentRequest]:
    """Those that are kept from then on, newest first."""
    found = []
    # scores stand beside the members, or in pairs with them, as the protocol of the connection has it
    answer = await ask("ZRANGE", key, "+inf", since, "BYSCORE", "REV", "WITHSCORES")
    flat = [part for pair in answer for part in pair] if answer and isinstance(answer[0], (list, tuple)) else answer
    for member, score in zip(flat[::2], flat[1::2], strict=True):
        trace_id, account, events = _decoder.decode(member)
        found.append(SentRequest(trace_id, account, float(score), events))
    return found
