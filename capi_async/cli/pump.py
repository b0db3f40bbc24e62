"""Brings what a blocking reader yields onto the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from typing import Final, TypeVar

T = TypeVar("T")

#: Pieces read ahead.
_AHEAD: Final = 2


async def pumped(pieces: Generator[T, None, None]) -> AsyncGenerator[T, None]:
    """The same pieces, read by a thread a little ahead of their use.

    The thread is a daemon: one that waits for a terminal or a pipe must not hold up the end of the program.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    over = threading.Event()

    def hand(piece: T | BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, piece)
        except RuntimeError:  # the loop has been closed: nobody waits any more
            over.set()

    def work() -> None:
        try:
            with closing(pieces):
                for piece in pieces:
                    room.acquire()
                    if over.is_set():
                        return
                    hand(piece)
            hand(None)
        except BaseException as error:
            hand(error)

    threading.Thread(target=work, name="capi_async-read", daemon=True).start()
    try:
        while True:
            piece = await queue.get()
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            room.release()
    finally:
        over.set()
        room.release()
