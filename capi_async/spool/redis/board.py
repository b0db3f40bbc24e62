"""Notes of the processes that share a spool in Redis: one hash, which Redis itself forgets when nobody writes to it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from capi_async.spool.redis.session import Session

#: Seconds after the last note for which the hash is kept.
_KEPT_S: Final = 600
#: In front of a note: the seconds since the epoch at which it is over.
_ENDS: Final = struct.Struct(">d")


class RedisBoard:
    """See :class:`~capi_async.spool.base.Board`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key = session.keys.board

    async def put(self, name: str, note: bytes, seconds: float) -> None:
        """See :meth:`~capi_async.spool.base.Board.put`."""
        ends = _ENDS.pack(self._session.clock.wall() + seconds)
        await self._session.command("HSET", self._key, name, ends + note)
        await self._session.command("EXPIRE", self._key, _KEPT_S)

    async def note(self, name: str) -> bytes | None:
        """See :meth:`~capi_async.spool.base.Board.note`."""
        return self._valid(await self._session.command("HGET", self._key, name))

    async def notes(self) -> Mapping[str, bytes]:
        """See :meth:`~capi_async.spool.base.Board.notes`."""
        answer = await self._session.command("HGETALL", self._key)
        pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
        found: dict[str, bytes] = {}
        over: list[bytes] = []
        for name, stored in pairs:
            note = self._valid(stored)
            if note is None:
                over.append(name)
            else:
                found[name.decode("utf-8", "replace")] = note
        if over:
            await self._session.command("HDEL", self._key, *over)
        return found

    def _valid(self, stored: bytes | None) -> bytes | None:
        if stored is None or len(stored) < _ENDS.size:
            return None
        return stored[_ENDS.size :] if _ENDS.unpack_from(stored)[0] > self._session.clock.wall() else None
