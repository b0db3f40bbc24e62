"""Log messages that may repeat a thousand times: the first of a kind at once, then a sum a minute."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Protocol

#: Seconds between two messages about the same kind.
EVERY_S: Final = 60.0
#: Kinds that are kept apart. Of more than these, one that was quiet for a minute is forgotten, or the new one is logged
#: together with all others that are too many: a platform whose every answer reads differently fills no log.
MAX_KINDS: Final = 256
_OTHERS: Final = ("others",)


class Logger(Protocol):
    """What is needed of a logger."""

    def log(self, level: int, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """Log one message, ``arguments`` put into it with ``%``."""


class _Kind:
    __slots__ = ("arguments", "extra", "level", "message", "more", "noted_at", "said_at")

    def __init__(self, said_at: float) -> None:
        self.said_at = self.noted_at = said_at
        self.more = 0
        self.level = logging.INFO
        self.message = ""
        self.arguments: tuple[object, ...] = ()
        self.extra: dict[str, Any] = {}


class Notices:
    """Logs the first of each kind at once; of those that follow, the latest with their number, once a minute at most.

    May be called from any thread.

    Args:
        logger: Where messages go.
        now: Monotonic seconds.
    """

    def __init__(
        self, logger: Logger, *, now: Callable[[], float], every_s: float = EVERY_S, max_kinds: int = MAX_KINDS
    ) -> None:
        self._logger = logger
        self._now = now
        self._every_s = every_s
        self._max_kinds = max_kinds
        self._kinds: dict[Hashable, _Kind] = {}
        # reentrant: a signal's handler may log while its thread logs
        self._guard = threading.RLock()
        self._pid = os.getpid()

    def note(
        self,
        level: int,
        kind: Hashable,
        message: str,
        *arguments: object,
        count: int = 1,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Something happened ``count`` times.

        Args:
            kind: What makes two of these the same to a reader, such as destination, reason and field.
            message: The same text for all of a kind, with a ``%s`` for each of ``arguments``.
        """
        if self._pid != os.getpid():  # a thread that exists no more may hold the lock of our parent
            self._guard, self._pid = threading.RLock(), os.getpid()
        with self._guard:
            now = self._now()
            if kind not in self._kinds and len(self._kinds) >= self._max_kinds:
                oldest = next(iter(self._kinds.values()))
                if now - oldest.noted_at < self._every_s:
                    kind = _OTHERS
            # put in again, so that the first in the dict was quiet for the longest
            known = self._kinds.pop(kind, None)
            one = self._kinds[kind] = known or _Kind(now)
            one.level, one.message, one.arguments, one.extra = level, message, arguments, extra or {}
            one.more += count
            one.noted_at = now
            crowded = len(self._kinds) > self._max_kinds + (_OTHERS in self._kinds)
            forgotten = self._kinds.pop(next(iter(self._kinds))) if crowded else None
            due = [one] if known is None or now - one.said_at >= self._every_s else []
            said = [self._taken(each, now) for each in (*due, forgotten) if each is not None and each.more]
        self._say(said)

    def tick(self) -> None:
        """Say what is due."""
        now = self._now()
        self._flush(now, [one for one in list(self._kinds.values()) if now - one.said_at >= self._every_s])

    def flush(self) -> None:
        """Log every sum that was not logged yet: the client closes."""
        self._flush(self._now(), list(self._kinds.values()))

    def _flush(self, now: float, kinds: list[_Kind]) -> None:
        with self._guard:
            said = [self._taken(one, now) for one in kinds if one.more]
        self._say(said)

    def _taken(self, one: _Kind, now: float) -> tuple[int, str, tuple[object, ...], dict[str, Any]]:
        level, message, arguments, extra = one.level, one.message, one.arguments, one.extra
        more = ""
        if one.more > 1:
            more = f" ({one.more} of this kind within {now - one.said_at:.0f} s)"
            extra = {**extra, "count": one.more}
        # one template for the first and for sums: error trackers make one issue of each template
        message, arguments = message + "%s", (*arguments, more)
        one.more, one.said_at = 0, now
        return level, message, arguments, extra

    def _say(self, said: list[tuple[int, str, tuple[object, ...], dict[str, Any]]]) -> None:
        for level, message, arguments, extra in said:
            self._logger.log(level, message, *arguments, extra=extra)
