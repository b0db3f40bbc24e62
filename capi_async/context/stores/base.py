"""What a store of contexts guarantees, and what all of them check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from capi_async.cipher import Cipher
from capi_async.context.context import RequestContext
from capi_async.errors import ContextError

#: Contexts are kept for 30 days, unless another time is given.
KEEP_S: Final = 30 * 86_400.0
#: Longer ids are no ids of orders; 255 characters is what every database indexes.
MAX_KEY_CHARS: Final = 255
_MAX_KEEP_S: Final = 10 * 366 * 86_400.0


class ContextStore(Protocol):
    """Contexts by the id of an order, until they are taken, forgotten, or too old.

    All of it may be called from several tasks, and from several processes where the backend is shared. A ``key`` is
    text of 1 to 255 characters. Every method raises :class:`~capi_async.errors.ContextError` if the backend failed (its
    error is ``__cause__``), if the key is none, or if what is stored cannot be read.
    """

    async def put(self, key: str, context: RequestContext, *, keep_s: float = KEEP_S) -> None:
        """Keep a context for ``keep_s`` seconds, in place of what was kept under this key."""

    async def get(self, key: str) -> RequestContext | None:
        """The context, which stays; ``None`` if there is none, or it was too old."""

    async def take(self, key: str) -> RequestContext | None:
        """The context, which is then gone: of several callers at once, one gets it.

        Take it after the event was handed over, or use :meth:`get`: a webhook that fails in between is sent again.
        """

    async def forget(self, key: str) -> bool:
        """Erase what is kept under this key; whether there was anything."""

    async def aclose(self) -> None:
        """Let go of the backend. A store may be used again afterwards."""


def checked_key(key: str) -> str:
    """The key, if it can be one.

    Raises:
        ContextError: It is no text, empty, too long, or holds what no database keeps.
    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS or not key.isprintable():
        raise ContextError(
            f"a context's key needs printable text of 1 to {MAX_KEY_CHARS} characters, such as an order id"
        )
    return key


def checked_time(keep_s: float) -> float:
    """The seconds, if they are any.

    Raises:
        ContextError: They are no positive number, or more than ten years.
    """
    if isinstance(keep_s, bool) or not isinstance(keep_s, (int, float)) or not 0 < keep_s <= _MAX_KEEP_S:
        raise ContextError("keep_s needs a number of seconds above 0, and at most ten years")
    return float(keep_s)


def checked_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """The keys that contexts are encrypted with, if they are any: a store is made at the start, and used by orders.

    Raises:
        ConfigError: One is malformed, or the extra ``encryption`` is missing.
    """
    kept = tuple(keys)
    if kept:
        Cipher(kept, owner="context store")
    return kept
