"""Records that somebody wants stopped while another process holds them: asked for in Redis, answered there.

What is asked names an entry and which of its records are meant; nothing in it says whose they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from capi_async.outcome import Outcome
from capi_async.spool.base import Record
from capi_async.spool.redis.entry import fields_of, pack, read
from capi_async.spool.redis.keys import Of
from capi_async.spool.redis.scripts import ANSWER, HELD, STOP
from capi_async.spool.sealing import OpenSealed

logger = logging.getLogger(__name__)

Call: TypeAlias = Callable[..., Awaitable[Any]]

#: Seconds that those who hold something get to say what they stopped, and between two looks at what they say.
ANSWER_S: Final = 2.0
_LOOK_S: Final = 0.02
_A_PAGE: Final = 64

_asked = msgspec.msgpack.Decoder(tuple[list[int], Outcome])


async def ask_holders(
    call: Call,
    ask: Call,
    of: Of,
    name: str,
    not_of: tuple[str, str],
    open_sealed: OpenSealed,
    matches: Callable[[Record], bool],
    outcome: Outcome,
) -> int:
    """Have what matches stopped by whoever holds it; how many they say they stopped, in time.

    Args:
        not_of: Names of this process, whose own affair it is what it holds.
    """
    wanted: dict[str, bytes] = {}
    last = "-"
    while True:
        number, found = await call(HELD, [of.stream, of.state], [last, _A_PAGE, *not_of])
        for raw, flat, state in found:
            try:
                entry = read(name, raw.decode(), fields_of(flat), open_sealed, state=state)
            except Exception:  # noqa: S112 - whatever stands there: whoever holds it reports it
                continue
            hits = [record.at for record in entry.held() if matches(record)]
            if hits:
                wanted[entry.id] = pack((hits, outcome))
            entry.drop()
        if not number:
            break
        last = "(" + number.decode()
    if not wanted:
        return 0
    await call(STOP, [of.stops, of.bell], [part for pair in wanted.items() for part in pair])
    return await _answers(ask, of, list(wanted))


async def _answers(ask: Call, of: Of, numbers: list[str]) -> int:
    stopped = 0
    try:
        async with asyncio.timeout(ANSWER_S):
            while numbers:
                told = await ask("HMGET", of.stopped, *numbers)
                answered = [number for number, one in zip(numbers, told, strict=True) if one is not None]
                stopped += sum(int(one) for one in told if one is not None)
                if answered:
                    await ask("HDEL", of.stopped, *answered)
                    numbers = [number for number in numbers if number not in answered]
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        pass  # what was asked stays there: whoever takes the entry over heeds it
    return stopped


async def asked(ask: Call, of: Of, held: Mapping[str, Any]) -> dict[str, tuple[list[int], Outcome]]:
    """What this process is asked to stop of what it holds: entry to places, and how they end.

    What cannot be read is left where it is: it is somebody's who knows more, and no reason to stop nothing else.
    """
    found = await ask("HGETALL", of.stops)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    wanted: dict[str, tuple[list[int], Outcome]] = {}
    for raw, data in pairs:
        number = raw.decode("utf-8", "replace")
        if number in held:
            try:
                wanted[number] = _asked.decode(data)
            except msgspec.MsgspecError:
                logger.error("a wish to forget in %s cannot be read and is left alone; ask for it again", of.stops)
    return wanted


async def answer(call: Call, of: Of, number: str, stopped: int) -> None:
    """Say how many were stopped."""
    await call(ANSWER, [of.stops, of.stopped], [number, stopped])
