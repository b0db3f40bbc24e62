"""Log messages that cannot do harm: a handler is code of the user's, and may raise anything.

A handler that raises would otherwise end whatever wanted to say something: a request, a destination, the client.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

#: Seconds between two lines on standard error about handlers that raise.
_AGAIN_S: Final = 60.0


def literal(text: str) -> str:
    """A text as it stands in a message's template, where ``%`` begins a place for an argument.

    Names and codes of a bounded set belong into the template: error trackers make one issue of each template.
    """
    return text.replace("%", "%%")


class Log:
    """The standard library's logger of that name, whose methods never raise."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """For whoever looks for a fault of ours."""
        self._say(logging.DEBUG, message, args, extra)

    def info(self, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """As it should be."""
        self._say(logging.INFO, message, args, extra)

    def warning(self, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """Something was recovered, or refused."""
        self._say(logging.WARNING, message, args, extra)

    def error(self, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """Events were lost, or a person must act."""
        self._say(logging.ERROR, message, args, extra)

    def log(self, level: int, message: str, *args: object, extra: Mapping[str, Any] | None = None) -> None:
        """At a level that is known only now."""
        self._say(level, message, args, extra)

    def _say(self, level: int, message: str, args: tuple[object, ...], extra: Mapping[str, Any] | None) -> None:
        try:
            # two frames up stands who wanted to say it
            self._logger.log(level, message, *args, extra=extra, stacklevel=3)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a CancelledError of a handler's own would end our task
            _complain(error)


_complained_at = -_AGAIN_S


def _complain(error: BaseException) -> None:
    """Name a handler that raised where the standard library names its own, now and then."""
    global _complained_at
    now = time.monotonic()
    if now - _complained_at < _AGAIN_S or sys.stderr is None:
        return
    _complained_at = now
    with contextlib.suppress(Exception):
        sys.stderr.write(f"capi_async: a log handler raised {type(error).__name__}; the message was not shown\n")
