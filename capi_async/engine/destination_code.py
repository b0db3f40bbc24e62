"""A destination's own code, and that of its credential, called with care.

Both may be the user's. An exception in them, or a result of the wrong type, costs no event: it is logged once a
minute, and pauses or slows this destination and no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final
from urllib.parse import urlsplit

from capi_async.engine.guard import Fault, Guard
from capi_async.engine.hooks import Hooks
from capi_async.errors import ConfigError
from capi_async.log import literal
from capi_async.outcome import Response, Verdict, ambiguous
from capi_async.slices import Slices
from capi_async.spec import Destination, Request
from capi_async.spool.base import Record
from capi_async.traces import place_of, trace_of

#: Seconds after which a destination's own code has held the event loop too long: it is named in the log. A busy machine
#: may stop any code for some tenths of one.
HELD_S: Final = 1.0

_body: Final = attrgetter("body")


class DestinationCode:
    """Calls the code of one destination."""

    def __init__(self, destination: Destination, *, hooks: Hooks) -> None:
        self.destination = destination
        self.name = destination.name
        self._limits = destination.effective_limits()
        self._hooks = hooks
        #: Method, address and headers of the latest request that could be sent.
        self._sendable_head: tuple[str, str, Mapping[str, str]] | None = None
        self._request, self._classify, self._batch_limit, self._refused = (
            _Timed(hooks, self.name, what)
            for what in ("request()", "classify()", "batch_limit()", "refused() of its credential")
        )
        self._limits_itself = getattr(destination.batch_limit, "__func__", None) is not Destination.batch_limit
        self._ask_credential = Guard(self._reveal, name=f"capi_async-credential-{destination.name}")

    @property
    def running(self) -> bool:
        """Whether the credential's callable runs at this moment."""
        return self._ask_credential.running

    async def end(self, timeout_s: float) -> None:
        """Cancel the credential's callable if it still runs, and wait for that for ``timeout_s`` at most."""
        await self._ask_credential.end(timeout_s)

    async def request(self, head: bytes, records: Sequence[Record]) -> tuple[Request, str] | Verdict:
        """The request and the credential in it; a verdict if user code failed, which pauses and keeps the events."""
        token = self._text()
        if token is None:
            try:
                token = await self.credential()
            except Fault as fault:
                reason = f"the credential's callable failed with {fault.name}"
                return Verdict(kind="unauthorized", reason=reason, fix="mend the callable")
        try:
            with self._request:
                request = self.destination.request(head, list(map(_body, records)), token)
            if self._is_sendable(request):
                return request, token
            reason = "request() gave nothing that can be sent: it needs an http address, text and bytes"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a destination's fault pauses that destination only
            self.log_fault("request()", type(error).__name__, error)
            reason = f"request() failed with {type(error).__name__}"
        return Verdict(kind="unauthorized", reason=reason, fix="mend the destination")

    async def credential(self) -> str:
        """The credential to use now.

        Raises:
            Fault: The caller's own code gave none; it is in the log.
        """
        if (text := self._text()) is not None:
            return text
        try:
            # it may hang like any server
            return await self._ask_credential(self._limits.request_timeout_s)
        except Fault as fault:
            self.log_fault("its credential callable", fault.name, fault.of)
            raise

    def fixed(self) -> bool:
        """Whether the credential is a plain text, which no callable gives."""
        return self._text() is not None

    def refused(self, token: str) -> None:
        """Let the credential know that the platform does not take this token of it."""
        try:
            with self._refused:
                self.destination.secret().refused(token)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # it is asked for the next token all the same
            self.log_fault("refused() of its credential", type(error).__name__)

    def owns(self, account: str) -> bool:
        """Whether records made for this account may be sent by this destination.

        Raises:
            Fault: The destination's code failed; that is in the log.
        """
        try:
            return bool(self.destination.owns(account))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # records whose request cannot be made must neither be sent nor be given up
            name = type(error).__name__
            self.log_fault("owns()", name, error)
            raise Fault(name) from None

    def batch_limit(self, head: bytes) -> int:
        """Events that one request of this head may carry; one, which every platform takes, if its code fails."""
        most = self._limits.max_batch_events
        if not self._limits_itself:
            return most
        try:
            with self._batch_limit:
                limit: object = self.destination.batch_limit(head)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a destination's fault slows that destination only
            problem = f"failed with {type(error).__name__}"
        else:
            if isinstance(limit, int) and limit >= 1:
                return min(limit, most)
            problem = "gave no number of events from 1 on"
        self._hooks.note(
            logging.ERROR,
            ("fault", self.name, "batch_limit()", problem),
            "%s: batch_limit() %s; until it is mended each request carries one event",
            self.name,
            problem,
            extra={"destination": self.name, "in": "batch_limit()", "problem": problem},
        )
        return 1

    def classify(self, response: Response, count: int) -> list[Verdict]:
        """What an answer means for each of ``count`` events; ambiguous for all if the destination's code fails."""
        try:
            with self._classify:
                verdicts = list(self.destination.classify(response, count))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self.unclassified(error, count)
        if len(verdicts) != count:
            return [ambiguous(f"classify() gave {len(verdicts)} verdicts for {count} events")] * count
        kinds = set(map(type, verdicts))
        if kinds != {Verdict} and not all(issubclass(kind, Verdict) for kind in kinds):
            return [ambiguous("classify() gave something else than verdicts")] * count
        return verdicts

    def is_followed(self, head: bytes) -> bool:
        """Whether the platform has later answers for a request of this head; no if the destination's code fails."""
        try:
            return bool(self.destination.is_followed(head))
        except Exception as error:
            self.log_fault("is_followed()", type(error).__name__, error)
            return False

    def unclassified(self, error: BaseException, count: int) -> list[Verdict]:
        """The verdicts where ``classify()`` failed, so that it is unknown what the platform did with the events."""
        self.log_fault("classify()", type(error).__name__, error)
        return [ambiguous(f"classify() failed with {type(error).__name__}")] * count

    def log_fault(self, where: str, name: str, error: BaseException | None = None) -> None:
        """Log that something failed, by the type of the error; the first at once, then a sum once a minute.

        Args:
            error: Told by the lines of code that it went through; never by its text, which may quote an event.
        """
        place = "" if error is None else place_of(error)
        self._hooks.note(
            logging.ERROR,
            ("fault", self.name, where, name),
            f"{literal(self.name)}: {literal(where)} failed with %s; no event is lost by that, and it is tried again: "
            "mend it if it is yours%s",
            name,
            f" ({place})" if place else "",
            extra={
                "destination": self.name,
                "in": where,
                "error": name,
                **({} if error is None else {"trace": trace_of(error)}),
            },
        )

    def _text(self) -> str | None:
        """The credential, if it is a plain text."""
        try:
            secret = self.destination.secret()
            return secret.text() if secret.fixed else None
        except KeyboardInterrupt:
            raise
        except BaseException:  # a destination's fault is named where its credential is asked for
            return None

    async def _reveal(self) -> str:
        token = (await self.destination.secret().reveal()).strip()
        if not token.isascii() or not token.isprintable():
            # sent, it would break the request so that it seems as if its answer were lost
            raise ConfigError("the credential's callable gave characters that cannot stand in a header")
        return token

    def _is_sendable(self, request: Request) -> bool:
        """Whether a destination's own code gave a request; one that is none would break inside the transport."""
        if not isinstance(request, Request):
            return False
        head = (request.method, request.url, request.headers)
        if head != self._sendable_head:  # nearly always that of the one before
            if not _is_sendable_head(request):
                return False
            self._sendable_head = (request.method, request.url, dict(request.headers))
        if type(request.body) is Slices:  # of bytes; to look at them is to join them
            return True
        kinds = set(map(type, request.body))
        return kinds == {bytes} or all(issubclass(kind, (bytes, bytearray, memoryview)) for kind in kinds)


class _Timed:
    """Says so if one call of a destination's own code, which is on the event loop, holds it.

    Made once for each call that there is, because all of them are entered for every request; none calls itself.
    """

    __slots__ = ("_before", "_began", "_call", "_held", "_hooks", "_name", "_what")

    def __init__(self, hooks: Hooks, name: str, call: str) -> None:
        self._hooks, self._name, self._call = hooks, name, call
        self._held, self._what = hooks.held, f"{name}: {call}"

    def __enter__(self) -> None:
        held = self._held
        self._began = began = time.perf_counter()
        self._before, held.at = held.at, (self._what, began)

    def __exit__(self, *_error: object) -> None:
        self._held.at = self._before
        took_s = time.perf_counter() - self._began
        if took_s > HELD_S:
            self._hooks.note(
                logging.WARNING,
                ("slow", self._name, self._call),
                "%s: %s held the event loop for %.2f s; let it return sooner",
                self._name,
                self._call,
                took_s,
                extra={"destination": self._name, "in": self._call, "seconds": round(took_s, 2)},
            )


def _is_sendable_head(request: Request) -> bool:
    address = urlsplit(request.url)
    texts = (request.method, request.url, *request.headers, *request.headers.values())
    return (
        address.scheme in ("http", "https")
        and bool(address.hostname)
        and address.port != 0  # one that is no number raises
        and all(isinstance(text, str) and text.isprintable() for text in texts)
    )
