"""Page tokens: opaque, short-lived, and true to the query they were given for."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from capi_async.bounded import make_room
from capi_async.sandbox.checks import MINUTE

PAGE_LIFE_S = 10 * MINUTE
MAX_PAGE_SIZE = 100
_MAX_TOKENS = 10_000

T = TypeVar("T")


class _Token(Struct):
    query: object
    after: Any
    expires: float
    parent: str
    used: bool = False


class BadToken(Exception):
    """Unknown, lapsed, used up, or given for another query."""


class Pages:
    """The tokens given out.

    Args:
        once: A token works exactly once. Else it may be asked again, for a lost answer, until the page behind it has
            been asked for.
        by_position: A page begins so many items behind the first, whatever was added or moved meanwhile. Else it begins
            behind the last item of the page before.
    """

    def __init__(self, ids: random.Random, *, once: bool, by_position: bool = False) -> None:
        self._ids = ids
        self._once = once
        self._by_position = by_position
        self._tokens: dict[str, _Token] = {}

    def cut(
        self,
        items: Sequence[T],
        key: Callable[[T], Any],
        *,
        query: object,
        size: int,
        token: str,
        now: float,
        descending: bool = False,
    ) -> tuple[list[T], str]:
        """One page, and the token of the next or "".

        Args:
            items: All that match, in any order.
            key: Total order of the items; the next page begins behind the last key of this one, wherever items were
                added or moved meanwhile.
            query: Filters and order; a token is refused for any others.

        Raises:
            BadToken: The token may not be used.
        """
        ordered = sorted(items, key=key, reverse=descending)
        if self._by_position:
            begin = self._take(token, query, now) if token else 0
            end = begin + size
            return ordered[begin:end], self._give(query, end, now, token) if len(ordered) > end else ""
        if token:
            after = self._take(token, query, now)
            ordered = [item for item in ordered if (key(item) < after if descending else key(item) > after)]
        page = ordered[:size]
        if len(ordered) <= size:
            return page, ""
        return page, self._give(query, key(page[-1]), now, token)

    def _take(self, token: str, query: object, now: float) -> Any:
        known = self._tokens.get(token)
        if known is None or known.expires <= now or known.query != query or (self._once and known.used):
            raise BadToken
        known.used = True
        # Whoever asks for this page has the one before it.
        self._tokens.pop(known.parent, None)
        return known.after

    def _give(self, query: object, after: Any, now: float, parent: str) -> str:
        # A real token holds characters that have to be encoded in a URL and must not be in a signature.
        text = base64.b64encode(self._ids.randbytes(16)).decode()
        token = f"{text[:8]}+/{text[8:]}"
        make_room(self._tokens, token, _MAX_TOKENS)
        self._tokens[token] = _Token(query, after, now + PAGE_LIFE_S, parent)
        return token
