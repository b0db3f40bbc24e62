"""When requests may be under way: always, or only while a caller waits for their answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds that a request gets at least; with less time left it is not begun, because its outcome would stay unknown.
LEAST_S: Final = 0.2


class SendingTime:
    """Until when requests may begin, and when they have to end.

    A server sends whenever something is there. A serverless function is frozen, or ended, as soon as its handler has
    returned: there, requests are only under way while a call waits for them.

    Args:
        always: Whether requests may be under way at any time.
    """

    __slots__ = ("_always", "_calls", "until")

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._calls: list[float] = []
        #: Monotonic seconds: no request begins after it, and each that has begun ends by then.
        self.until = math.inf if always else -math.inf

    @contextmanager
    def call(self, until: float) -> Iterator[None]:
        """Requests may be under way until this moment, for a call that waits for them."""
        self._calls.append(until)
        self._set()
        try:
            yield
        finally:
            self._calls.remove(until)
            self._set()

    def _set(self) -> None:
        if not self._always:
            self.until = max(self._calls, default=-math.inf)

    @property
    def waited_for(self) -> bool:
        """Whether any call waits for requests."""
        return bool(self._calls)
