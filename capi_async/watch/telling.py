"""How a process tells of itself to a dashboard that another process serves: only while one asks."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from capi_async.errors import SpoolError
from capi_async.spool.base import Board
from capi_async.watch.recent import Recent
from capi_async.watch.seen import Told

#: Seconds between two looks, those for which a dashboard's wish holds, and those for which what is told does.
EVERY_S: Final = 2.0
WANTED_S: Final = 20.0
_TOLD_S: Final = 10.0
#: Recent events that are told of.
_EVENTS: Final = 200

_WANTED: Final = "wanted"
_PREFIX: Final = "told-"

_decoder = msgspec.msgpack.Decoder(Told)


def process_name() -> str:
    """This process, for people."""
    return f"{socket.gethostname()} ({os.getpid()})"


class Telling:
    """Tells while somebody asks, and has recent events kept for that long.

    Args:
        board: Where wishes are left, and what is told.
        recent: Turned on by a wish, and off again when it is over, unless somebody else turned it on.
        tell: What there is to be told, with so many events.
    """

    def __init__(self, board: Board, recent: Recent, tell: Callable[[int], Awaitable[Told]]) -> None:
        self._board = board
        self._recent = recent
        self._tell = tell
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
        self._name = f"{_PREFIX}{host}-{os.getpid()}-{secrets.token_hex(4)}"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(SpoolError):  # a page that is not up to date says so, and delivery does not need it
                await self._look()
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> None:
        if await self._board.note(_WANTED) is not None:
            self._recent.start(by_wish=True)
            note = msgspec.msgpack.encode(await self._tell(_EVENTS))
            await self._board.put(self._name, note, _TOLD_S)
        else:
            self._recent.end_wish()


async def ask(board: Board) -> None:
    """Have every process on the spool tell of itself for some seconds.

    Raises:
        SpoolError: The wish cannot be left.
    """
    await board.put(_WANTED, b"", WANTED_S)


def told(notes: Mapping[str, bytes]) -> list[Told]:
    """What processes tell, by their names; what another release wrote, and cannot be read here, is left out."""
    found: list[Told] = []
    for name, note in notes.items():
        if name.startswith(_PREFIX):
            with suppress(msgspec.MsgspecError):
                found.append(_decoder.decode(note))
    return sorted(found, key=lambda one: one.process)
