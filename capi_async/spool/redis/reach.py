"""One process and its Redis: calls, what they mean when it is away, and what is known of the spool there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import ConfigError, SpoolError
from capi_async.spool.base import (
    Ledger,
    OnSettled,
    nobody_asks,
    nobody_holds,
)
from capi_async.spool.cipher import Cipher, UnknownKey
from capi_async.spool.redis.keys import Keys
from capi_async.spool.redis.letters import Letters
from capi_async.spool.redis.line import Line
from capi_async.spool.redis.link import Away, Emptied, Link
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.rates import SharedRates
from capi_async.spool.redis.scripts import SAVE

logger = logging.getLogger(__name__)

#: Seconds between two attempts to reach a Redis that is away: at first, and at most.
RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 1.0


class Reach:
    """Reaches Redis on behalf of one process; see :class:`~capi_async.spool.redis.spool.RedisSpool`."""

    def __init__(self, options: Options, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._keys = Keys(options.prefix)
        self._cipher = Cipher(options.keys) if options.keys else None
        self._link: Link | None = None
        self._lines: dict[str, Line] = {}
        self._names: tuple[str, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._epochs = count(1)
        self._numbers = count(1)
        self._me = ""
        self._wake: Callable[[str], None] = nobody
        self._settled: OnSettled = nobody_asks
        self._recall: Callable[[], Awaitable[None]] = nobody_holds
        self._deliver = True
        self._closing = False
        self._appending = asyncio.Lock()
        self._away_since = 0.0
        self._retry_at = 0.0
        self._heard_at = 0.0
        self._steady_since = 0.0
        self.workers = 1
        self._rates = SharedRates(
            prefix=self._keys.rate, news=self._keys.news, now=clock.monotonic, share=lambda: self.workers
        )
        self._letters = Letters(self._keys, self._seal, self._open_sealed)
        self._final: Mapping[str, Ledger] | None = None

    async def _check(self, link: Link) -> None:
        """Say so if this Redis cannot keep what a durable spool promises."""
        try:
            found = _info(await link.call("INFO"))
        except Away:
            raise
        except SpoolError:
            return  # this user may not ask
        if tuple(int(part) for part in str(found.get("redis_version", "9")).split(".")[:2]) < (6, 2):
            raise ConfigError("spool: Redis 6.2 or newer is needed")
        place = {"redis": self._options.place}
        if str(found.get("aof_enabled")) == "0":
            logger.warning("Redis keeps nothing over a restart", extra={**place, "fix": "set appendonly yes"})
        policy = str(found.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction" and str(found.get("maxmemory")) != "0":
            logger.warning("Redis may throw events away", extra={**place, "fix": "set maxmemory-policy noeviction"})

    async def _group(self, link: Link, names: Any) -> None:
        for name in names:
            try:
                await link.call("XGROUP", "CREATE", self._keys.of(name).stream, "w", "0", "MKSTREAM")
            except SpoolError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _begin_anew(self, link: Link) -> None:
        """Redis knows nothing of this spool any more: it was restarted without a log, or somebody emptied it."""
        logger.error("Redis has lost what it held", extra={"redis": self._options.place})
        await self._group(link, self._lines)
        for line in self._lines.values():
            line.version = -1
            line.unread = True

    async def _call(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[Any],
        *,
        patience_s: float | None = None,
        copies: int = 0,
    ) -> Any:
        """A script's result; while Redis is away, for so long it is tried again.

        Raises:
            SpoolError: Redis is out of reach, or refuses.
        """
        patience_s = self._options.patience_s if patience_s is None else patience_s
        until = asyncio.get_running_loop().time() + patience_s
        wait_s = RETRY_S
        while True:
            link = self._reach()
            have = copies
            try:
                if copies:
                    found, have = await link.run_copied(script, keys, arguments, copies=copies, seconds=patience_s)
                else:
                    found = await link.run(script, keys, arguments)
            except Emptied:
                await self._begin_anew(link)
            except Away as error:
                self._lost_sight(error)
                if asyncio.get_running_loop().time() + wait_s > until:
                    raise
                await asyncio.sleep(wait_s)
                wait_s = min(MAX_RETRY_S, wait_s * 2)
            else:
                self._seen()
                if have < copies:
                    raise SpoolError(f"only {have} of {copies} replicas have what was appended; it may be delivered")
                return found

    async def _ask(self, *command: Any) -> Any:
        return await self._reach().call(*command)

    def _reach(self) -> Link:
        if self._link is None:
            raise SpoolError("the spool is not open")
        return self._link

    def _line(self, name: str) -> Line:
        line = self._lines.get(name)
        if line is None:
            raise SpoolError(f"the spool is not open for {name!r}")
        return line

    async def _patiently(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        wait_s = RETRY_S
        while True:
            try:
                found = await self._reach().run(SAVE, keys, arguments)
            except Emptied:
                await self._begin_anew(self._reach())
            except SpoolError as error:
                self._lost_sight(error)
                await asyncio.sleep(wait_s)
                wait_s = min(MAX_RETRY_S, wait_s * 2)
            else:
                self._seen()
                return found

    def _lost_sight(self, error: SpoolError) -> None:
        now = self._clock.monotonic()
        if not self._away_since:
            self._away_since = now
            logger.warning("Redis is away; workers wait", extra={"reason": str(error)})
        self._retry_at = now + min(MAX_RETRY_S, max(RETRY_S, (now - self._away_since) / 2))

    def _seen(self) -> None:
        if self._away_since:
            self._away_since = self._retry_at = 0.0
            self._steady_since = self._clock.monotonic()
            logger.info("Redis is back")
            for line in self._lines.values():
                line.unread = True
                self._wake(line.name)

    def away_s(self) -> float:
        """Seconds for which Redis has been out of reach; 0 if it is not."""
        return self._clock.monotonic() - self._away_since if self._away_since else 0.0

    def _lease_ms(self) -> int:
        """After Redis was away everybody gets the time to say that he lives, before he is thought dead."""
        if self._clock.monotonic() - self._steady_since < self._options.lease_s:
            return int(1e15)
        return int(self._options.lease_s * 1000)

    def _seal(self, data: bytes, destination: str) -> tuple[str, bytes]:
        if self._cipher is None:
            return "", data
        return self._cipher.name, self._cipher.seal(data, destination)

    def _open_sealed(self, data: bytes, name: str, destination: str) -> bytes:
        if not name:
            return data
        if self._cipher is None:
            raise UnknownKey(name)
        return self._cipher.open(data, name, destination)


def _info(found: Any) -> Mapping[str, Any]:
    """What ``INFO`` says; the driver may have read it already."""
    if isinstance(found, Mapping):
        return found
    text = found.decode() if isinstance(found, bytes) else str(found)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def nobody(_destination: str) -> None:
    """Wakes nobody: the spool is not open."""
