"""Names code of the user's that holds the event loop and has not returned: the loop itself can tell nobody."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from capi_async.engine.notices import Notices

#: Seconds after which code that has not returned is named.
NEVER_S: Final = 5.0


class Held:
    """What runs on the event loop at this moment. Written there, looked at by a thread."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        #: What runs, and since when, in seconds of the performance counter.
        self.at: tuple[str, float] | None = None
        self._named: tuple[str, float] | None = None

    @contextmanager
    def by(self, what: str) -> Iterator[None]:
        """Code of the user's runs inside."""
        before, self.at = self.at, (what, time.perf_counter())
        try:
            yield
        finally:
            self.at = before

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
