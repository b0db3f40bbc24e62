"""Logs that storage fails, once for all destinations, and once more when it works again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from capi_async.engine.notices import EVERY_S
from capi_async.errors import SpoolError
from capi_async.log import Log

logger = Log(__name__)

#: Seconds without a failure after which storage counts as working again.
_QUIET_S: Final = 5.0


class Outage:
    """What one client logs about failures of its spool.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        #: Monotonic seconds since which storage fails; ``None``: it works.
        self.since: float | None = None
        self._failed_at = 0.0
        self._said_at: float | None = None
        #: Whether the present failures were logged, so that their end is logged as well.
        self._told = False
        self._unsaid = 0

    def failed(self, error: SpoolError) -> None:
        """A call of the spool failed, and is tried again: the first is logged at once, then one line a minute."""
        now = self._now()
        self._failed_at = now
        if self.since is None:
            self.since = now
        if self._said_at is not None and now - self._said_at < EVERY_S:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} times more since this was said last)" if self._unsaid else ""
        self._said_at, self._told, self._unsaid = now, True, 0
        # the text of these errors holds no personal data and no credential
        logger.warning(
            "storage failed: %s%s; what is to be sent waits and is tried again, nothing that is stored is lost: "
            "see to the spool",
            error,
            more,
            extra={"error": type(error).__name__},
        )

    def works(self) -> None:
        """A call of the spool succeeded."""
        if self.since is None or self._now() - self._failed_at < _QUIET_S:
            return
        lasted_s, told = self._failed_at - self.since, self._told
        self.since, self._told = None, False
        if told:
            logger.info("storage works again, after %.1f s", lasted_s, extra={"seconds": round(lasted_s, 1)})
