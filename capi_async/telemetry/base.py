"""Hooks: what the engine tells whoever listens. Only names, counts, codes and durations; never personal data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from capi_async.errors import ConfigError
from capi_async.outcome import Outcome, Verdict
from capi_async.telemetry.news import (
    Prepared as Prepared,
)
from capi_async.telemetry.news import (
    RequestDone as RequestDone,
)
from capi_async.telemetry.news import (
    Settled as Settled,
)
from capi_async.telemetry.news import (
    StateChanged as StateChanged,
)
from capi_async.telemetry.news import (
    StateName as StateName,
)
from capi_async.telemetry.news import (
    Stored as Stored,
)
from capi_async.telemetry.news import (
    Taken as Taken,
)
from capi_async.telemetry.snapshot import Snapshot


class Hook:
    """Base of a listener; override what you need.

    Methods are called on the event loop and must be quick. An exception in one is logged by its type and
    changes nothing for the delivery.
    """

    def on_attached(self, destinations: Sequence[str], look: Callable[[], Snapshot | None]) -> None:
        """A client was made with this hook.

        Args:
            look: Gives the client's snapshot, from any thread; ``None`` once there is no client any more.
        """

    def on_request(self, done: RequestDone) -> None:
        """A request was answered or failed."""

    def on_settled(self, settled: Settled) -> None:
        """Events got their final outcomes: by an answer, before they were stored, by overflow or on request."""

    def on_prepared(self, prepared: Prepared) -> None:
        """A group of events was normalised, hashed and mapped."""

    def on_stored(self, stored: Stored) -> None:
        """Records were committed to the spool."""

    def on_taken(self, taken: Taken) -> None:
        """What one caller handed in is stored."""

    def on_state(self, change: StateChanged) -> None:
        """A destination changed its state."""


class Operation(Protocol):
    """Something that a tracer follows from its begin to its end."""

    #: Its trace context as W3C ``traceparent``; empty if there is none.
    context: str

    def end(self, error: str, status: int, verdicts: Mapping[str, int]) -> None:
        """It is over.

        Args:
            error: Type of the error that ended it; empty if none did.
            status: Of a request: HTTP status; 0 if there was no answer.
            verdicts: Of a request: kind to number of events.
        """
        ...


class Tracing(Hook):
    """A hook that also follows calls and requests; a client takes one. Without it, nothing is done for traces."""

    def current(self) -> str:
        """Trace context of the caller, in any thread, as W3C ``traceparent``; empty if there is none."""
        raise NotImplementedError

    def begin_send(self, events: int, parent: str) -> Operation:
        """Events were handed in together.

        Args:
            parent: Their caller's context if it is not the current one.
        """
        raise NotImplementedError

    def begin_request(
        self, destination: str, platform: str, events: int, attempt: int, contexts: Sequence[str]
    ) -> Operation:
        """A request begins.

        Args:
            attempt: 1 for the first request that carries these events.
            contexts: Those of the operations that :meth:`begin_send` gave for its events, in any process.
        """
        raise NotImplementedError


def tracer_of(hooks: Sequence[Hook]) -> Tracing | None:
    """The one that traces.

    Raises:
        ConfigError: There are several.
    """
    found = [hook for hook in hooks if isinstance(hook, Tracing)]
    if len(found) > 1:
        raise ConfigError("hooks: only one of them may trace")
    return found[0] if found else None


class Watcher:
    """Follows events on their way, for whoever wants to look at them. It is told nothing while ``on`` is false.

    What it is given it must not keep as it is: events, identifiers and bodies hold personal data.
    """

    #: Whether anything is looked at.
    on: bool = False

    def identified(self, events: Sequence[Any], ids: Sequence[Any]) -> None:
        """Identifiers of events were normalised and hashed. Called where that happens, mostly in the prepare thread."""

    def prepared(self, records: Sequence[Any], refused: Sequence[Any]) -> None:
        """What became of the same events at each destination. Called in the same place, after the above."""

    def answered(self, destination: str, records: Sequence[Any], verdicts: Sequence[Verdict], status: int) -> None:
        """A request was answered, or failed (``status`` 0): the verdict on each record, in their order."""

    def settled(self, destination: str, records: Sequence[Any], outcomes: Sequence[Outcome], *, fine: bool) -> None:
        """Records of a request got their final outcomes; ``fine``: all of them were delivered."""

    def ended(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Events got their final outcomes otherwise."""
