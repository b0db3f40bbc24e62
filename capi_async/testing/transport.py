"""A transport that keeps requests instead of sending them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from capi_async.errors import TransportError
from capi_async.outcome import Response
from capi_async.spec import Request

#: What a request is answered with: always the same, or as a function says.
Answer: TypeAlias = Response | TransportError | Callable[[Request], Response | TransportError]

_ACCEPTED = Response(status=200, body=b"{}")


class RecordingTransport:
    """Keeps every request and answers it without a network; for ``Client(transport=...)``.

    ::

        transport = RecordingTransport(lambda request: Response(status=200, body=b'{"status": "success"}'))
        async with Client([destination], transport=transport) as client: ...
        assert transport.bodies()[0]["event_name"] == "PURCHASE"

    Requests hold the access token and hashed identifiers: keep them out of what a failing test prints.

    Args:
        answer: A response for all, a :class:`~capi_async.errors.TransportError` that is raised for all, or a function
            from a request to one of the two. Unless given, every request is answered with status 200 and ``{}``, which
            not every platform's reading of answers takes for a success.

    Attributes:
        requests: All requests, in the order in which they came.
    """

    def __init__(self, answer: Answer = _ACCEPTED) -> None:
        self._answer = answer
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout_s: float) -> Response:
        """See :class:`~capi_async.spec.Transport`."""
        self.requests.append(request)
        answer = self._answer
        told = answer(request) if callable(answer) else answer
        if isinstance(told, TransportError):
            raise told
        return told

    def bodies(self) -> list[Any]:
        """The JSON body of every request.

        Raises:
            msgspec.DecodeError: A body is no JSON.
        """
        return [msgspec.json.decode(b"".join(request.body)) for request in self.requests]

    def __repr__(self) -> str:
        return f"RecordingTransport({len(self.requests)} requests)"
