"""A proxy that loses answers of Redis, cuts connections, and forwards nothing for a while."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Any

from capi_async.spool.redis.connection import script_digest


class Proxy:
    """A TCP proxy between a spool and a Redis, on the event loop of the spool.

    Args:
        host, port: Of the Redis.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._redis = (host, port)
        self._armed: dict[bytes, int] = {}
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._loss, self._chance = 0.0, random.Random(0)
        #: How many answers were lost.
        self.lost = 0
        self.port = 0

    async def start(self) -> Proxy:
        """Listen on ``port``, or on any free one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """End all connections and stop listening."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Proxy:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def url(self, query: str = "") -> str:
        return f"redis://127.0.0.1:{self.port}/0{query}"

    def lose(self, what: str, times: int = 1) -> None:
        """Have Redis carry out the next such call, and end the connection before the answer arrives.

        Args:
            what: The text of a script, or the name of a command.
        """
        marker = what.encode() if what.isupper() and what.isalpha() else script_digest(what).encode()
        self._armed[marker] = times

    def lose_some(self, share: float, chance: random.Random) -> None:
        """Lose this share of all answers from here on, at random."""
        self._loss, self._chance = share, chance

    def disarm(self) -> None:
        """Lose no answers that :meth:`lose` announced."""
        self._armed.clear()

    def cut(self) -> None:
        """End all connections at once."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def pause(self) -> None:
        """Forward nothing; connections stay open."""
        self._open.clear()

    def resume(self) -> None:
        """Forward again."""
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            upstream, to_redis = await asyncio.open_connection(*self._redis)
            pair = (writer, to_redis)
            self._pairs.add(pair)
            losing = asyncio.Event()
            directions = [
                asyncio.ensure_future(self._up(reader, to_redis, losing)),
                asyncio.ensure_future(self._down(upstream, writer, losing)),
            ]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._pairs.discard(pair)
                to_redis.transport.abort()
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _up(self, reader: asyncio.StreamReader, to_redis: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 20):
                await self._open.wait()
                for marker, times in list(self._armed.items()):
                    if times and marker in data:
                        self._armed[marker] = times - 1
                        losing.set()
                to_redis.write(data)
                await to_redis.drain()

    async def _down(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await upstream.read(1 << 20):
                await self._open.wait()
                if losing.is_set() or (self._loss and self._chance.random() < self._loss):
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()
