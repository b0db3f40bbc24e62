"""What ``track`` and ``enqueue`` could not take or store when no caller is there to be told: counted and logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from capi_async.errors import CapiError, ClientClosed, EventError, QueueFull, SpoolError

#: What is counted under which reason; anything else is ``malformed``.
_REASONS: Final = (
    (QueueFull, "full"),
    (SpoolError, "storage"),
    (ClientClosed, "closed"),
)
_FIXES: Final = {
    "malformed": "mend the call",
    "full": "see whether a destination is paused or broken, or raise max_intake_events",
    "storage": "see to the spool",
    "closed": "enter the client before, and close it after the last event",
}


class Untracked:
    """Counts by reason, from any thread; the first of a kind is logged at once, then their number once a minute.

    Args:
        log: Logs a line of a kind, as :meth:`capi_async.engine.notices.Notices.note` does.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._counts: dict[str, int] = {}
        self._lock = threading.RLock()

    def after_fork(self) -> None:
        """In the child: a thread that exists no more may hold the lock."""
        self._lock = threading.RLock()

    def note(self, error: BaseException) -> None:
        """Count and log one event that was not taken, and why."""
        # of an error that is not our own the type only: its text may quote what was given
        what = str(error) if isinstance(error, CapiError) else type(error).__name__
        why = next((why for kind, why in _REASONS if isinstance(error, kind)), "malformed")
        with self._lock:
            self._counts[why] = self._counts.get(why, 0) + 1
        field = error.field if isinstance(error, EventError) else ""
        fix = _FIXES[why]
        self._log(
            logging.WARNING,
            ("track", why, field, type(error).__name__),
            "track: an event was not taken: %s; %s",
            what,
            fix,
            extra={"why": why, "field": field, "fix": fix},
        )

    def note_unstored(self, error: BaseException) -> None:
        """Log that an event of ``enqueue`` failed to be stored: its receipt may never be asked."""
        self._log(
            logging.WARNING,
            ("enqueue", type(error).__name__),
            "enqueue: an event was not stored: %s; see to the spool, or slow down: receipt.accepted() tells it of each",
            str(error) if isinstance(error, CapiError) else type(error).__name__,
            extra={"error": type(error).__name__},
        )

    def counts(self) -> Mapping[str, int]:
        """How many, by reason."""
        return dict(self._counts)
