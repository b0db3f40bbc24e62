"""Tells the hooks, whatever they do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from capi_async.outcome import Outcome
from capi_async.spool.base import Refused
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Hooks:
    """All listeners of one client."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def request(self, done: RequestDone) -> None:
        for hook in self._hooks:
            _tell(hook.on_request, done)

    def settled(self, settled: Settled) -> None:
        for hook in self._hooks:
            _tell(hook.on_settled, settled)

    def ended(self, destination: str, event_ids: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Events that the spool ended by itself."""
        if self._hooks and event_ids:
            self.settled(Settled(destination=destination, event_ids=event_ids, outcomes=outcomes))

    def refused(self, refused: Sequence[Refused]) -> None:
        """Events that ended at the door."""
        if not self._hooks:
            return
        by_name: dict[str, list[Refused]] = {}
        for one in refused:
            by_name.setdefault(one.destination, []).append(one)
        for name, some in by_name.items():
            ids, outcomes = [one.event_id for one in some], [one.outcome for one in some]
            self.settled(Settled(destination=name, event_ids=ids, outcomes=outcomes))

    def state(self, change: StateChanged) -> None:
        for hook in self._hooks:
            _tell(hook.on_state, change)


def _tell(listener: Callable[[T], None], news: T) -> None:
    try:
        listener(news)
    except Exception as error:  # a listener's fault must not stop delivery
        # the type only: the text may quote what the listener was given
        logger.error("a hook raised", extra={"error": type(error).__name__, "news": type(news).__name__})
