"""Request tokens that the processes of one host share, in a small file that is never synced."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from capi_async.errors import SpoolError
from capi_async.files import Lock

logger = logging.getLogger(__name__)

#: Accounts that a file holds; two with the same place share their tokens, which errs on the slow side.
_PLACES: Final = 1_021
_ROW: Final = struct.Struct("<dd")

#: Seconds for which tokens are drawn at most: what a process had drawn is lost when it dies.
BLOCK_S: Final = 0.25

#: How often the file is tried while another process has it locked, and seconds between two tries.
_TRIES: Final = 50
_TRY_S: Final = 0.001

#: Seconds after that was in vain for which it is tried once only, and seconds between two warnings of it.
_HELD_S: Final = 0.25
_WARN_AGAIN_S: Final = 60.0


class SharedRates:
    """One token bucket per account over all processes that use the same file.

    Args:
        now: Monotonic seconds, which all processes of a host since its start agree on.
    """

    def __init__(self, path: Path, *, now: Callable[[], float]) -> None:
        self._path = path
        self._lock = Lock(path)
        self._now = now
        #: Seconds, by ``time.monotonic``, until which another process is taken to have the file locked.
        self._held_until = 0.0
        self._warned_at = -_WARN_AGAIN_S

    def draw(self, account: str, *, rate: float, burst: float, wanted: float) -> float:
        """Take up to ``wanted`` whole tokens, at least one if there is one; else minus the seconds until there may be.

        Args:
            account: Destination and account, in any form; it is not stored.
            rate: Tokens per second, for all processes together.
            burst: Tokens that gather at most; at least 1.
        """
        with self._lock():
            return self._draw(account, rate, max(1.0, burst), wanted)

    async def draw_soon(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Like :meth:`draw`, without blocking; ``None`` if another process keeps the file locked.

        Takes some 10 µs, and does not wait for the disk.

        Raises:
            SpoolError: The file cannot be used.
        """
        now = time.monotonic()
        try:
            for _ in range(_TRIES if now >= self._held_until else 1):
                drawn = self.try_draw(account, rate=rate, burst=burst, wanted=wanted)
                if drawn is not None:
                    self._held_until = 0.0
                    return drawn
                await asyncio.sleep(_TRY_S)
        except OSError as error:
            raise SpoolError(f"shared rates cannot be kept: {error.strerror}") from error
        if now >= self._warned_at + _WARN_AGAIN_S:
            self._warned_at = now
            logger.warning(
                "spool: another process keeps %s locked (stopped, or in a debugger?); until it releases it, this "
                "process keeps the request rate by itself",
                self._path, extra={"path": str(self._path)},
            )  # fmt: skip
        self._held_until = now + _HELD_S
        return None

    def try_draw(self, account: str, *, rate: float, burst: float, wanted: float) -> float | None:
        """Like :meth:`draw`, without waiting: ``None`` if another process has the file locked at this moment."""
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
        if not 0.0 < since <= now:  # never used, or written before the host was restarted
            tokens, since = burst, now
        tokens = min(burst, tokens + (now - since) * rate)
        taken = float(int(min(tokens + 1e-9, max(1.0, min(wanted, rate * BLOCK_S)))))
        self._write(at, max(0.0, tokens - taken), now)
        return taken if taken >= 1.0 else -(1.0 - tokens) / rate

    def close(self) -> None:
        """Close the file."""
        self._lock.close()

    def _place(self, account: str) -> int:
        digest = hashlib.blake2b(account.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") % _PLACES * _ROW.size

    def _read(self, at: int) -> tuple[float, float]:
        data = os.pread(self._lock.file, _ROW.size, at)
        return _ROW.unpack(data) if len(data) == _ROW.size else (0.0, 0.0)

    def _write(self, at: int, tokens: float, now: float) -> None:
        os.pwrite(self._lock.file, _ROW.pack(tokens, now), at)
