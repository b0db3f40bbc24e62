"""One process and its Redis: calls, what they mean when it is away, and what is known of the spool there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from capi_async.backoff import Backoff
from capi_async.clock import SYSTEM_CLOCK, Clock
from capi_async.errors import ConfigError, SpoolError
from capi_async.spool.base import (
    Ledger,
    OnSettled,
    ignore_recall,
    ignore_settled,
)
from capi_async.spool.redis.dead_letters import DeadLetters
from capi_async.spool.redis.keys import Keys
from capi_async.spool.redis.line import Line
from capi_async.spool.redis.link import Away, Emptied, Link
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.rates import SharedRates
from capi_async.spool.redis.scripts import GROUP
from capi_async.spool.sealing import Sealing

logger = logging.getLogger(__name__)

#: Seconds between two attempts to reach a Redis that is away: at first, and at most.
RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 1.0
BACKOFF: Final = Backoff(first_s=RETRY_S, longest_s=MAX_RETRY_S)
#: Seconds for which every attempt has failed when Redis is thought to be away.
_AWAY_S: Final = 0.25
#: Seconds within which others speak again once Redis is back, at the latest: their pause, and then their next look.
_SPEAK_S: Final = 2 * MAX_RETRY_S

#: Seconds between two lines in the log that say that Redis is away, at least: at first, and at most. It doubles while
#: Redis comes and goes.
_SAY_S: Final = 5.0
_MAX_SAY_S: Final = 300.0

#: Seconds before a background task that failed through a fault of ours begins again.
_AGAIN_S: Final = 0.5

#: A gap so long that nobody is thought dead because of it.
ALWAYS_S: Final = 1e9

#: Hosts that nobody between can listen to.
_HERE: Final = ("localhost", "::1")


class Reach:
    """Reaches Redis on behalf of one process; see :class:`~capi_async.spool.redis.spool.RedisSpool`."""

    def __init__(self, options: Options, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._keys = Keys(options.prefix)
        self._sealing = Sealing(options.keys, plain=options.plain, old_seals=options.old_seals, spool=options.prefix)
        self._link: Link | None = None
        self._lines: dict[str, Line] = {}
        self._names: tuple[str, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        #: Stream to the id of the last that was heard there; kept also while nobody listens for a moment.
        self._heard_to: dict[str, str] = {}
        self._epochs = count(1)
        self._numbers = count(1)
        self._me = ""
        self._wake: Callable[[str], None] = nobody
        self._settled: OnSettled = ignore_settled
        self._recall: Callable[[], Awaitable[None]] = ignore_recall
        self._deliver = True
        self._closing = False
        self._appending = asyncio.Lock()
        self._failing_since = 0.0
        self._away_since = 0.0
        self._retry_at = 0.0
        self._heard_at = 0.0
        self._steady_since = 0.0
        self._gap_s = ALWAYS_S
        self._say_at = 0.0
        self._say_every_s = _SAY_S
        self._said = False
        self._unsaid = 0
        self.workers = 1
        self._rates = SharedRates(
            prefix=self._keys.rate, news=self._keys.news, now=clock.monotonic, share=lambda: self.workers
        )
        self._letters = DeadLetters(self._keys, self._sealing.seal, self._sealing.open)
        self._final: Mapping[str, Ledger] | None = None

    async def _check(self, link: Link) -> None:
        """Say so if this Redis, or the way to it, cannot keep what a durable spool promises."""
        self._check_secrecy()
        try:
            found = _info(await link.call("INFO"))
        except Away:
            raise
        except SpoolError:
            return  # this user may not ask
        if tuple(int(part) for part in str(found.get("redis_version", "9")).split(".")[:2]) < (6, 2):
            raise ConfigError("spool: Redis 6.2 or newer is needed")
        place = self._options.place
        if str(found.get("aof_enabled")) == "0":
            logger.warning("Redis keeps nothing over a restart: set appendonly yes at %s", place)
        policy = str(found.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction" and str(found.get("maxmemory")) != "0":
            logger.warning("Redis may throw events away: set maxmemory-policy noeviction at %s", place)

    def _check_secrecy(self) -> None:
        options = self._options
        if options.secure and options.tls.get("ssl_check_hostname") is False:
            logger.warning(
                "Redis at %s: whoever has any certificate may answer for it; leave ssl_check_hostname on", options.place
            )
        far = [host for host, _ in options.hosts if not (host in _HERE or host.startswith("127."))]
        if far and not options.secure and (options.password or options.sentinel_password):
            logger.warning(
                "the password of Redis, and events, go to %s in clear: use rediss:// if somebody may listen there",
                options.place,
            )

    async def _group(self, link: Link, names: Iterable[str]) -> None:
        """Make the consumer groups that are not there, also in a Redis that is full."""
        streams = [self._keys.of(name).stream for name in names]
        if streams:
            await link.run(GROUP, streams, [])

    async def _begin_anew(self, link: Link) -> None:
        """Redis knows nothing of this spool any more: it was restarted without a log, or somebody emptied it."""
        logger.error(
            "Redis has lost what it held, at %s: what was accepted and not delivered is gone; set appendonly yes",
            self._options.place,
        )
        await self._group(link, self._lines)
        for line in self._lines.values():
            line.version = -1
            line.unread = line.astray = True

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
            SpoolError: Redis is out of reach, or refuses. Its ``stored`` is False if no attempt was carried out.
        """
        patience_s = self._options.patience_s if patience_s is None else patience_s
        until = asyncio.get_running_loop().time() + patience_s
        failures = 0
        unknown = False
        while True:
            link = self._reach()
            have, left_s = copies, max(0.01, until - asyncio.get_running_loop().time())
            try:
                if copies:
                    found, have = await link.run_copied(script, keys, arguments, copies=copies, seconds=0.8 * left_s)
                else:
                    found = await link.run(script, keys, arguments)
            except Emptied:
                await self._begin_anew(link)
            except SpoolError as error:
                unknown = unknown or error.stored is not False
                if unknown:
                    error.stored = None
                if not isinstance(error, Away):
                    raise
                self._failed(error)
                failures += 1
                wait_s = BACKOFF.interval_s(failures)
                if asyncio.get_running_loop().time() + wait_s > until:
                    raise
                await asyncio.sleep(wait_s)
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

    def _failed(self, error: SpoolError) -> None:
        """An attempt to reach Redis failed: the next waits a little. Only if none succeeds for a while, Redis is away.

        A connection that was cut is no outage.
        """
        now = self._clock.monotonic()
        if not self._failing_since:
            self._failing_since = now
        failing_s = now - self._failing_since
        self._retry_at = now + min(MAX_RETRY_S, max(RETRY_S, failing_s / 2))
        if self._away_since or failing_s < _AWAY_S:
            return
        self._away_since = self._failing_since
        self._said = now >= self._say_at
        if self._said:
            more = f" ({self._unsaid} times more since this was said last)" if self._unsaid else ""
            logger.warning("Redis is away; workers wait, and send() fails: %s%s", error, more)
            self._unsaid = 0
            calm = now >= self._say_at + _MAX_SAY_S
            self._say_every_s = _SAY_S if calm else min(_MAX_SAY_S, 2 * self._say_every_s)
            self._say_at = now + self._say_every_s
        else:
            self._unsaid += 1

    def _seen(self) -> None:
        """Redis answered."""
        now = self._clock.monotonic()
        gap_s, self._heard_at = now - self._heard_at, now
        if gap_s > self._options.lease_s / 2:
            # a Redis that stands still fails nothing, but meanwhile nobody could say that he lives
            recently = now - self._steady_since < self._options.lease_s
            self._gap_s = max(gap_s, self._gap_s) if recently else gap_s
            self._steady_since = now
        if not self._failing_since:
            return
        away_since, self._failing_since, self._retry_at, self._away_since = self._away_since, 0.0, 0.0, 0.0
        if not away_since:
            return
        if self._said:
            logger.info("Redis is back after %.1f s", now - away_since)
        for line in self._lines.values():
            line.unread = line.astray = True
            self._wake(line.name)

    def away_s(self) -> float:
        """Seconds for which Redis has been out of reach; 0 if it is not."""
        return self._clock.monotonic() - self._away_since if self._away_since else 0.0

    def _lease_ms(self) -> int:
        """Milliseconds after which somebody who was not heard of is thought dead.

        After Redis was away others get the time to say that they live: as long as nobody could, and a little more.
        """
        lease_s, now = self._options.lease_s, self._clock.monotonic()
        gap_s = self._gap_s if now - self._steady_since < lease_s else 0.0
        # this process has not heard of Redis for a while, and others may not have reached it, either
        if (silent_s := now - self._heard_at) > lease_s / 2:
            gap_s = max(gap_s, silent_s)
        return int((lease_s + (min(ALWAYS_S, gap_s + _SPEAK_S) if gap_s else 0.0)) * 1000)

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a background task until it returns; what it fails of is told, and costs nothing else."""
        while True:
            try:
                return await run()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                logger.error("the spool's task %s was cancelled from within and begins again", name)
            except SpoolError as error:
                self._failed(error)
            except Exception as error:
                self._fault(f"the spool's task {name} begins again", error)
            await asyncio.sleep(_AGAIN_S)

    def _fault(self, what: str, error: BaseException) -> None:
        """Tell of a fault of ours, or of something in Redis that we never wrote. Its text may quote an event."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        logger.error("%s: %s at %s; please report it", what, type(error).__name__, place)


def _info(found: Any) -> Mapping[str, Any]:
    """What ``INFO`` says; the driver may have read it already."""
    if isinstance(found, Mapping):
        return found
    text = found.decode() if isinstance(found, bytes) else str(found)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))


def nobody(_destination: str) -> None:
    """Wakes nobody: the spool is not open."""
