"""Tells the hooks, whatever they do."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from capi_async.log import Log
from capi_async.outcome import Outcome
from capi_async.spool.base import Refused
from capi_async.telemetry.base import Hook, RequestDone, Settled, StateChanged

logger = Log(__name__)
T = TypeVar("T")

#: Seconds after which a listener has held the event loop too long: it is named in the log.
_SLOW_S: Final = 0.1


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


def _tell(listener: Callable[[T], object], news: T) -> None:
    """A listener's fault, whatever it raises, must not stop delivery.

    It is plain code, so that a CancelledError here is one of its own and never an end of the task that tells it.
    """
    began = time.perf_counter()
    try:
        answer = listener(news)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # see above
        # the type only: the text may quote what the listener was given
        logger.error(
            "a hook raised",
            extra={"hook": _name(listener), "error": type(error).__name__, "news": type(news).__name__},
        )
        return
    if inspect.iscoroutine(answer):
        answer.close()
        logger.error("a hook is async, and nothing of it ran: make it a plain method", extra={"hook": _name(listener)})
    took_s = time.perf_counter() - began
    if took_s > _SLOW_S:
        logger.warning("a hook held the event loop", extra={"hook": _name(listener), "seconds": round(took_s, 2)})


def _name(listener: Callable[[T], object]) -> str:
    return str(getattr(listener, "__qualname__", type(listener).__name__))
