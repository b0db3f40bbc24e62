"""A real local server that answers by script, and can break off in every way a platform can."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

OK = b'{"ok":true}'


@dataclass
class Got:
    """One request as it arrived."""

    number: int
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        raw = gzip.decompress(self.raw) if self.headers.get("content-encoding") == "gzip" else self.raw
        found: dict[str, Any] = json.loads(raw)
        return found

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.body["events"]]


@dataclass
class Reply:
    """What to answer.

    Attributes:
        cut: Bytes of the answer after which the connection is reset; ``None`` sends it whole.
        until: Awaited before anything is answered.
    """

    status: int = 200
    body: bytes = OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    until: asyncio.Event | None = None


def reply(status: int = 200, answer: object = None, **headers: str) -> Reply:
    """``answer`` as JSON."""
    body = OK if answer is None and status == 200 else b"" if answer is None else json.dumps(answer).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


#: The request is read and the connection reset without a byte of an answer.
RESET = Reply(cut=0)

Script = Callable[[Got], Reply | Awaitable[Reply]]


class Server:
    """Answers every request with what ``script`` gives for it, or with the next of ``replies`` while there are any.

    Attributes:
        got: Requests that were read whole, in order.
        hang_up: Connections to reset before a byte of them is read.
        connections: How many there were.
    """

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.replies: list[Reply] = []
        self.script: Script = lambda _request: Reply()
        self.hang_up = 0
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self.scheme = "http"
        self._arrived = asyncio.Condition()
        self._writers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        """Ids of all events that arrived, in order."""
        return [one for request in self.got for one in request.ids]

    @property
    def open_connections(self) -> int:
        """Connections that the client has not closed."""
        return sum(not reader.at_eof() and reader.exception() is None for reader in self._writers.values())

    async def arrived(self, requests: int) -> None:
        """Return once so many requests have been read."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.got) >= requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[writer] = reader
        self.connections += 1
        try:
            if self.hang_up:
                self.hang_up -= 1
                _reset(writer)
                return
            while (request := await self._read(reader)) is not None:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    answer = self.replies.pop(0) if self.replies else self.script(request)
                    if not isinstance(answer, Reply):
                        answer = await answer
                    if answer.until is not None:
                        await answer.until.wait()
                finally:
                    self.in_flight -= 1
                whole = _encoded(answer)
                writer.write(whole if answer.cut is None else whole[: answer.cut])
                await writer.drain()
                if answer.cut is not None:
                    _reset(writer)
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            self._writers.pop(writer, None)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Got | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.split("\r\n")
        pairs = (line.split(":", 1) for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Got(len(self.got) + 1, first.split(" ")[1], headers, raw)
        async with self._arrived:
            self.got.append(request)
            self._arrived.notify_all()
        return request

    def close(self) -> None:
        for writer in list(self._writers):
            _reset(writer)


def _encoded(answer: Reply) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body)), **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Said\r\n{lines}\r\n".encode("latin-1") + answer.body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds that nobody announces; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # what is looked at has no event
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A started server on a free port."""
    server = Server()
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls, limit=8 * 1024 * 1024)
    server.port = listener.sockets[0].getsockname()[1]
    server.scheme = "https" if tls else "http"
    try:
        yield server
    finally:
        listener.close()
        server.close()
        await listener.wait_closed()
