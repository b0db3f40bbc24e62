"""A sink that answers at once: raw asyncio protocol, run in a process of its own, counts what it received.

``python benchmarks/sink.py PORT`` answers a POST under ``/<platform>/`` with that platform's success, and
``GET /`` with ``{"requests": n, "events": n}``; a ``DELETE`` empties the counters.
"""

from __future__ import annotations

import asyncio
import sys

#: Prefix to (text that stands once in every event, answer). ``%d`` is the number of events received.
PLATFORMS: dict[bytes, tuple[bytes, bytes]] = {
    b"/snap": (b'"event_name":', b'{"status":"VALID","reason":"Events have been processed successfully."}'),
    b"/meta": (b'"event_name":', b'{"events_received":%d,"messages":[],"fbtrace_id":"A"}'),
    b"/tiktok": (b'"event":', b'{"code":0,"message":"OK","request_id":"R","data":{}}'),
    b"/pinterest": (b'"event_name":', b""),
}
_PROCESSED = b'{"status":"processed","error_message":"","warning_message":""}'


class Counts:
    """What arrived, over all connections."""

    requests = 0
    events = 0


class Sink(asyncio.Protocol):
    """One connection. Reads Content-Length bodies only, which is what HTTP/1.1 clients here send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._head = b""
        self._missing = -1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            if self._missing < 0:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    return
                self._head = bytes(self._buffer[:end])
                del self._buffer[: end + 4]
                self._missing = _content_length(self._head)
            if len(self._buffer) < self._missing:
                return
            body = bytes(self._buffer[: self._missing])
            del self._buffer[: self._missing]
            self._missing = -1
            answer = _answer(self._head, body)
            self._transport.write(  # type: ignore[attr-defined]  # a stream's transport
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(answer), answer)
            )


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def _answer(head: bytes, body: bytes) -> bytes:
    method, _, rest = head.partition(b" ")
    if method == b"GET":
        return b'{"requests":%d,"events":%d}' % (Counts.requests, Counts.events)
    if method == b"DELETE":
        Counts.requests = Counts.events = 0
        return b"{}"
    for prefix, (mark, answer) in PLATFORMS.items():
        if rest.startswith(prefix):
            found = body.count(mark)
            Counts.requests += 1
            Counts.events += found
            if prefix == b"/pinterest":
                return b'{"num_events_received":%d,"num_events_processed":%d,"events":[%b]}' % (
                    found,
                    found,
                    b",".join([_PROCESSED] * found),
                )
            return answer % found if b"%d" in answer else answer
    return b"{}"


async def serve(port: int) -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
