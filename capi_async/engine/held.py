"""Names the user's code that blocks the event loop, from another thread: the blocked loop cannot report it."""

from __future__ import annotations

import logging
import time
from typing import Final

from capi_async.engine.notices import Notices

#: Seconds after which code that has not returned is named.
NEVER_S: Final = 5.0


class By:
    """See :meth:`Held.by`; a class, because a generator costs twice as much, and this is entered for every request."""

    __slots__ = ("_before", "_held", "_what", "began")

    def __init__(self, held: Held, what: str) -> None:
        self._held = held
        self._what = what

    def __enter__(self) -> By:
        #: Seconds of the performance counter.
        self.began = time.perf_counter()
        self._before, self._held.at = self._held.at, (self._what, self.began)
        return self

    def __exit__(self, *_error: object) -> None:
        self._held.at = self._before


class Held:
    """What runs on the event loop at this moment. Written there, read by a thread."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        #: What runs, and since when, in seconds of the performance counter.
        self.at: tuple[str, float] | None = None
        self._named: tuple[str, float] | None = None

    def by(self, what: str) -> By:
        """Code of the user's runs inside."""
        return By(self, what)

    def look(self) -> None:
        """Say once of each call that it has not returned; from any thread but the loop's."""
        at = self.at
        if at is None or at is self._named or (held_s := time.perf_counter() - at[1]) < NEVER_S:
            return
        self._named = at
        self._notices.note(
            logging.ERROR,
            ("held", at[0]),
            "%s has not returned for %.0f s and holds the event loop: nothing is taken or delivered meanwhile, and "
            "the rest of the program stands still; mend it, it must wait for nothing",
            at[0],
            held_s,
            extra={"in": at[0], "seconds": round(held_s, 1)},
        )
