"""A hook of one function: called with each outcome of the kinds, and at the destinations, that somebody wants."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec import Struct

from capi_async.errors import ConfigError
from capi_async.outcome import OUTCOME_KINDS, Outcome, OutcomeKind
from capi_async.telemetry.base import Hook, Settled
from capi_async.telemetry.snapshot import Snapshot

_FINAL: Final = tuple(kind for kind in OUTCOME_KINDS if kind != "pending")


class EventOutcome(Struct, frozen=True, gc=False):
    """The final outcome of one event at one destination."""

    destination: str
    event_id: str
    outcome: Outcome


def on_outcome(
    callback: Callable[[EventOutcome], object],
    *,
    destinations: Collection[str] | None = None,
    kinds: Collection[OutcomeKind] | None = None,
) -> Hook:
    """A hook that calls a function: ``Client(..., hooks=[on_outcome(tell, kinds=("dead", "uncertain"))])``.

    Args:
        callback: A plain function, called on the event loop; it must be quick.
        destinations: Names of those whose outcomes are wanted; ``None``: all.
        kinds: Those that are wanted; ``None``: all but ``pending``, which is not final.

    Raises:
        ConfigError: There is no such kind; or, when the client is made, no such destination.
    """
    if not callable(callback) or inspect.iscoroutinefunction(callback):
        raise ConfigError("on_outcome needs a plain function: it is called on the event loop")
    if isinstance(kinds, str) or isinstance(destinations, str):
        raise ConfigError("on_outcome: kinds and destinations are collections of names, such as ('dead',)")
    if unknown := set(kinds or ()) - set(_FINAL):
        raise ConfigError(f"on_outcome: kinds are of {', '.join(_FINAL)}; not {', '.join(sorted(map(str, unknown)))}")
    return _OutcomeHook(callback, destinations, frozenset(_FINAL if kinds is None else kinds))


class _OutcomeHook(Hook):
    def __init__(
        self,
        callback: Callable[[EventOutcome], object],
        destinations: Collection[str] | None,
        kinds: frozenset[OutcomeKind],
    ) -> None:
        self._callback = callback
        self._destinations = None if destinations is None else frozenset(destinations)
        self._kinds = kinds

    def on_attached(self, destinations: Sequence[str], look: Callable[[], Snapshot | None]) -> None:
        if unknown := (self._destinations or frozenset()) - set(destinations):
            raise ConfigError(
                f"on_outcome: this client has no destination {', '.join(sorted(unknown))}; "
                f"it has {', '.join(destinations)}"
            )

    def on_settled(self, settled: Settled) -> None:
        if self._destinations is not None and settled.destination not in self._destinations:
            return
        for event_id, outcome in zip(settled.event_ids, settled.outcomes, strict=True):
            if outcome.kind in self._kinds:
                self._callback(EventOutcome(settled.destination, event_id, outcome))
