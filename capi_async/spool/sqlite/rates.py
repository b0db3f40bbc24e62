"""Request tokens that the processes of one host share, in a small file that is never synced."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from capi_async.files import Lock

#: Accounts that a file has room for; one that finds its place taken by another shares its tokens, which errs on
#: the slow side.
_PLACES: Final = 1_021
_ROW: Final = struct.Struct("<dd")

#: Tokens are drawn for so many seconds at most: what a process that dies had drawn is lost.
BLOCK_S: Final = 0.25


class SharedRates:
    """One token bucket per account over all processes that use the same file.

    Args:
        now: Monotonic seconds, which all processes of a host since its start agree on.
    """

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._lock = Lock(path)
        self._now = now

    def draw(self, account: str, *, rate: float, burst: float, wanted: float) -> float:
        """Take up to ``wanted`` whole tokens, at least one if there is one; else minus the seconds until there may be.

        Args:
            account: Destination and account, in any form; it is not stored.
            rate: Tokens per second, for all processes together.
            burst: Tokens that gather at most; at least 1.
        """
        with self._lock():
            return self._draw(account, rate, max(1.0, burst), wanted)

    def try_draw(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Like :meth:`draw`, but without waiting: ``None`` if another process has the file at this moment."""
        if not self._lock.acquire(wait=False):
            return None
        try:
            return self._draw(account, rate, max(1.0, burst), wanted)
        finally:
            self._lock.release()

    def _draw(self, account: str, rate: float, burst: float, wanted: float) -> float:
        at = self._place(account)
        now = self._now()
        tokens, since = self._read(at)
        if not 0.0 < since <= now:  # never used, or written before the host was started anew
            tokens, since = burst, now
        tokens = min(burst, tokens + (now - since) * rate)
        taken = float(int(min(tokens + 1e-9, max(1.0, min(wanted, rate * BLOCK_S)))))
        self._write(at, max(0.0, tokens - taken), now)
        return taken if taken >= 1.0 else -(1.0 - tokens) / rate

    def close(self) -> None:
        """Let go of the file."""
        self._lock.close()

    def _place(self, account: str) -> int:
        digest = hashlib.blake2b(account.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") % _PLACES * _ROW.size

    def _read(self, at: int) -> tuple[float, float]:
        data = os.pread(self._lock.file, _ROW.size, at)
        return _ROW.unpack(data) if len(data) == _ROW.size else (0.0, 0.0)

    def _write(self, at: int, tokens: float, now: float) -> None:
        os.pwrite(self._lock.file, _ROW.pack(tokens, now), at)
