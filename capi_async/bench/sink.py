"""A sink that answers at once, as each platform does when all is well, and counts what arrives.

Raw asyncio protocol in a process of its own. While the clock runs it counts, in each body, a text that stands once in
every event; bodies are kept and decoded when somebody asks for the count, so that decoding takes no time from the
contender, and a marker that lies about the number of events cannot pass.

``python -m capi_async.bench.sink [PORT]`` prints the port. ``POST /<platform>/...`` is answered, ``GET /`` gives a
:class:`Tally` as JSON, ``DELETE /`` empties it (``DELETE /?keep=0``: and keeps no bodies from then on).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import msgspec

#: Bodies beyond so many bytes are counted by the marker only.
KEEP_BYTES: Final = 2 * 1024**3


class Tally(msgspec.Struct):
    """What arrived since the last ``DELETE``.

    Attributes:
        events: By the marker in the bodies.
        decoded: By decoding all bodies; ``None`` if some were not kept.
        distinct: Different event ids, per platform and account, among the decoded.
    """

    requests: int
    events: int
    decoded: int | None
    distinct: int | None


class Platform(NamedTuple):
    """How one platform is spoken to.

    Attributes:
        mark: Stands once in every event.
        answer: Success; ``%d`` is the number of events received, ``%b`` an entry for each.
        events: Event ids of a body.
    """

    mark: bytes
    answer: bytes
    events: Callable[[bytes], list[str]]


class _Event(msgspec.Struct):
    event_id: str | None = None
    client_dedup_id: str | None = None
    message_id: str | None = msgspec.field(default=None, name="messageId")
    uuid: str | None = None

    @property
    def id(self) -> str:
        return self.event_id or self.client_dedup_id or self.message_id or self.uuid or ""


class _Body(msgspec.Struct):
    data: list[_Event] = []
    batch: list[_Event] = []


_BODY: Final = msgspec.json.Decoder(_Body)
_LIST: Final = msgspec.json.Decoder(list[_Event])
_EVENT: Final = msgspec.json.Decoder(_Event)
_TEXTS: Final = msgspec.json.Decoder(list[str | _Event])


def _ids(body: bytes) -> list[str]:
    found = _BODY.decode(body)
    return [one.id for one in found.data or found.batch]


def _listed(body: bytes) -> list[str]:
    return [one.id for one in _LIST.decode(body)] if body[:1] == b"[" else [_EVENT.decode(body).id]


def _form_or_json(body: bytes) -> list[str]:
    """Meta takes JSON; its library posts a form, whose list holds events or, from its synchronous half, their texts."""
    if body[:1] == b"{":
        return _ids(body)
    data = parse_qs(body.decode("ascii"))["data"][0]
    return [one.id if isinstance(one, _Event) else _EVENT.decode(one).id for one in _TEXTS.decode(data)]


def _at(value: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _ids_at(events: str, key: str) -> Callable[[bytes], list[str]]:
    """Reads the ids at this place of each event in the list at that place of the body; of a lone one, its own."""

    def read(body: bytes) -> list[str]:
        decoded = msgspec.json.decode(body)
        found = _at(decoded, events)
        return [str(_at(one, key)) for one in (found if isinstance(found, list) else [decoded])]

    return read


PLATFORMS: Final[dict[bytes, Platform]] = {
    b"snap": Platform(
        b'"event_name":', b'{"status":"VALID","reason":"Events have been processed successfully."}', _ids
    ),
    b"snap_v2": Platform(b'"event_type":', b'{"status":"SUCCESS","reason":"All records processed"}', _listed),
    b"meta": Platform(b"event_name", b'{"events_received":%d,"messages":[],"fbtrace_id":"A"}', _form_or_json),
    b"pinterest": Platform(b'"event_name":', b"", _ids),
    b"tiktok": Platform(b'"event":', b'{"code":0,"message":"OK","request_id":"R","data":{}}', _ids),
    b"tiktok_pixel": Platform(b'"event":', b'{"code":0,"message":"OK","data":{}}', _ids_at("batch", "event_id")),
    b"cutmeshort": Platform(b'"invoiceId":', b'{"status":true,"data":"successful"}', _ids_at("", "invoiceId")),
    b"google_ads": Platform(b'"transactionId":', b'{"requestId":"R"}', _ids_at("events", "transactionId")),
    b"ga4": Platform(b'"timestamp_micros":', b"", _ids_at("events", "params.transaction_id")),
    b"reddit": Platform(
        b'"conversion_id":',
        b'{"data":{"message":"Successfully processed %d conversion events."}}',
        _ids_at("data.events", "metadata.conversion_id"),
    ),
    b"webhook": Platform(b'"event_id":', b"{}", _ids_at("", "event_id")),
    b"linkedin": Platform(b'"eventId":', b'{"elements":[%b]}', _ids_at("elements", "eventId")),
    b"segment": Platform(b'"messageId":', b'{"success":true}', _ids),
    b"posthog": Platform(b'"distinct_id":', b'{"status":"Ok"}', _ids),
}
_PROCESSED: Final = b'{"status":"processed","error_message":"","warning_message":""}'


class Counts:
    """What arrived, over all connections."""

    def __init__(self, *, keep: bool = True) -> None:
        self.requests = self.events = self._kept_bytes = 0
        self._kept: list[tuple[bytes, bytes, bytes]] | None = [] if keep else None

    def add(self, name: bytes, path: bytes, body: bytes) -> int:
        """Count a request's events; returns how many."""
        found = body.count(PLATFORMS[name].mark)
        self.requests += 1
        self.events += found
        if self._kept is not None:
            self._kept.append((name, path, body))
            self._kept_bytes += len(body)
            if self._kept_bytes > KEEP_BYTES:
                self._kept = None
        return found

    def tally(self) -> Tally:
        """Decode what was kept."""
        if self._kept is None:
            return Tally(self.requests, self.events, None, None)
        decoded, distinct = 0, set()
        for name, path, body in self._kept:
            ids = PLATFORMS[name].events(body)
            decoded += len(ids)
            distinct.update([(path, one) for one in ids])
        return Tally(self.requests, self.events, decoded, len(distinct))


class Sink(asyncio.Protocol):
    """One connection. Reads Content-Length bodies only, which is what HTTP/1.1 clients here send."""

    counts = Counts()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport: Any = transport
        self._buffer = bytearray()
        self._head = b""
        self._missing = -1

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
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
            status, answer = _answer(self._head, body)
            self._transport.write(
                b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(answer), answer)
            )


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def _answer(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    method, path, _ = head.split(b" ", 2)
    if method == b"GET":
        return b"200 OK", msgspec.json.encode(Sink.counts.tally())
    if method == b"DELETE":
        Sink.counts = Counts(keep=b"keep=0" not in path)
        return b"200 OK", b"{}"
    name = path.partition(b"?")[0].split(b"/", 2)[1]
    if name not in PLATFORMS:
        return b"404 Not Found", b"{}"
    found = Sink.counts.add(name, path, body)
    if name == b"pinterest":
        statuses = b",".join([_PROCESSED] * found)
        return b"200 OK", b'{"num_events_received":%d,"num_events_processed":%d,"events":[%b]}' % (
            found,
            found,
            statuses,
        )
    answer = PLATFORMS[name].answer
    if b"%b" in answer:
        return b"200 OK", answer % b",".join([b'{"status":201}'] * found)
    return b"200 OK", answer % found if b"%d" in answer else answer


async def serve(port: int) -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    from capi_async.bench.clockwork import new_loop

    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
