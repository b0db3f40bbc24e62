"""Tells of bad lines and notes while a file is read: the first ones each, the others as a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capi_async.cli.lines import Good, Note, Problem
from capi_async.cli.repeats import Repeats
from capi_async.cli.running import say
from capi_async.errors import EventError

#: Bad lines shown and kept one by one; the others are only counted. Likewise notes.
_MAX_PROBLEMS: Final = 100
_MAX_NOTES: Final = 20


class Reporter:
    """Counts and prints, on stderr."""

    def __init__(self) -> None:
        self.bad_lines = 0
        self.repeats = Repeats()
        self._problems: list[Problem] = []
        self._notes = 0

    @property
    def problems(self) -> Sequence[Problem]:
        """The first bad lines."""
        return self._problems

    def tell(self, one: Problem | Note) -> None:
        """Tell of something that is no event."""
        if isinstance(one, Note):
            self._notes += 1
            if self._notes <= _MAX_NOTES:
                say(str(one))
            elif self._notes == _MAX_NOTES + 1:
                say("capi-async: further notes are left out")
            return
        self.bad_lines += 1
        if self.bad_lines <= _MAX_PROBLEMS:
            self._problems.append(one)
            say(str(one))
        elif self.bad_lines == _MAX_PROBLEMS + 1:
            say("capi-async: further bad lines are only counted")

    def bad(self, one: Good, error: EventError) -> None:
        """Tell of a line that reads well and whose event the client refuses."""
        self.tell(Problem(one.file, one.line, error.field, error.reason))

    def end(self) -> None:
        """Everything was read."""
        if warning := self.repeats.warning():
            say(f"capi-async: {warning}")
