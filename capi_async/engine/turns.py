"""Spreads long pieces of work over the turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

#: Seconds of a turn for which one more piece begins in the next: on a slow loop few turns must carry all of them.
_LONG_S: Final = 0.004


class Turns:
    """Lets one piece of work begin in each turn of the loop, in the order in which they were asked for.

    The workers of all destinations of a client share it: their batches are full, and are answered, at the same time,
    and together they would hold the loop for many milliseconds.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._serving = False
        self._served_at = 0.0

    async def next(self) -> None:
        """Return in a turn in which no other piece begins, unless turns are long."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if not self._serving:
            self._serving = True
            self._serve_later(loop)
        await turn

    def _serve_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._served_at = loop.time()
        loop.call_soon(self._serve, loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        left = 1 + int((loop.time() - self._served_at) / _LONG_S)
        while self._waiting and left:
            turn = self._waiting.popleft()
            if not turn.done():  # else who waited was cancelled
                turn.set_result(None)
                left -= 1
        self._serving = bool(self._waiting) or not left
        if self._serving:  # also with nobody left: who asks in this turn begins in the next but one
            self._serve_later(loop)
