"""One process's session with Redis: its connection, its name there, and calls that are repeated during an outage."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from capi_async.clock import Clock
from capi_async.errors import ConfigError, SpoolError
from capi_async.spool.redis.availability import BACKOFF, Availability
from capi_async.spool.redis.connection import Argument, Connection, GroupMissing, Unreachable
from capi_async.spool.redis.keys import Keys
from capi_async.spool.redis.lua import CREATE_GROUPS
from capi_async.spool.redis.options import Options
from capi_async.spool.redis.queue import Queues
from capi_async.spool.sealing import Sealing

logger = logging.getLogger(__name__)

#: Hosts whose traffic does not leave the machine.
_LOCAL_HOSTS: Final = ("localhost", "::1")


class Session:
    """One process's session with Redis.

    Attributes:
        availability: Whether Redis can be reached.
        consumer: This process's name in the consumer groups; empty while the spool is closed in order.
        delivers: Whether this process delivers, or only appends.
        closing: Whether the spool is being closed.
    """

    def __init__(self, options: Options, clock: Clock, queues: Queues) -> None:
        self.options = options
        self.clock = clock
        self.keys = Keys(options.prefix)
        self.sealing = Sealing(options.keys, plain=options.plain, old_seals=options.old_seals, spool=options.prefix)
        self.availability = Availability(
            clock=clock, lease_s=options.lease_s, on_return=partial(queues.verify_all, wake=True)
        )
        self.consumer = ""
        self.delivers = True
        self.closing = False
        self._queues = queues
        self._connection: Connection | None = None
        self._numbers = count(1)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def connection(self) -> Connection:
        """The connection.

        Raises:
            SpoolError: The spool is not open.
        """
        if self._connection is None:
            raise SpoolError("the spool is not open")
        return self._connection

    @property
    def ready_connection(self) -> Connection | None:
        """The connection; ``None`` if the spool is not open, or Redis is not to be tried again yet."""
        return None if self.clock.monotonic() < self.availability.retry_at else self._connection

    def connect(self) -> Connection:
        """Make a connection, which connects to Redis when it is used first."""
        self.availability.reset()
        self._connection = Connection(self.options)
        return self._connection

    def detach(self) -> Connection | None:
        """Give up the connection without closing it."""
        connection, self._connection = self._connection, None
        return connection

    def take_name(self) -> None:
        """Take a new name in the consumer groups; it says to other processes whether this one delivers."""
        role = "w" if self.delivers else "p"
        self.consumer = f"{role}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def next_number(self) -> int:
        """A number that this process has not used."""
        return next(self._numbers)

    def new_token(self) -> str:
        """A token that no entry has."""
        return f"{self.consumer}:{next(self._numbers)}"

    def new_result_key(self) -> str:
        """A key for the result of one call, so that the call may be repeated."""
        return self.keys.result(self.consumer, self.next_number())

    async def command(self, *command: Argument) -> Any:
        """Return the answer to a command; raises as :meth:`Connection.command` does."""
        return await self.connection.command(*command)

    async def call(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[Any],
        *,
        patience_s: float | None = None,
        replicas: int = 0,
    ) -> Any:
        """Return a script's result; while Redis cannot be reached, repeat it for ``patience_s`` seconds.

        Args:
            replicas: How many replicas must have what it wrote.

        Raises:
            SpoolError: Redis cannot be reached, or refuses. Its ``stored`` is False if no attempt was carried out.
        """
        now = asyncio.get_running_loop().time
        until = now() + (self.options.patience_s if patience_s is None else patience_s)
        failures = 0
        maybe_stored = False
        while True:
            connection = self.connection
            try:
                if replicas:
                    result, reached = await connection.replicated_script(
                        script, keys, arguments, replicas=replicas, seconds=0.8 * max(0.01, until - now())
                    )
                else:
                    result, reached = await connection.script(script, keys, arguments), 0
            except GroupMissing:
                await self.recreate_groups()
            except SpoolError as error:
                maybe_stored = maybe_stored or error.stored is not False
                if maybe_stored:
                    error.stored = None
                if not isinstance(error, Unreachable):
                    raise
                self.availability.failed(error)
                failures += 1
                wait_s = BACKOFF.interval_s(failures)
                if now() + wait_s > until:
                    raise
                await asyncio.sleep(wait_s)
            else:
                self.availability.answered()
                if reached < replicas:
                    raise SpoolError(
                        f"only {reached} of {replicas} replicas have what was appended; it may be delivered"
                    )
                return result

    async def create_groups(self, destinations: Iterable[str]) -> None:
        """Create the consumer groups that do not exist, also in a Redis that is full."""
        streams = [self.keys.of(name).stream for name in destinations]
        if streams:
            await self.connection.script(CREATE_GROUPS, streams, [])

    async def recreate_groups(self) -> None:
        """Go on with a Redis that has lost this spool: it was restarted without its data, or somebody deleted them."""
        logger.error(
            "Redis has lost what it held, at %s: what was accepted and not delivered is gone; set appendonly yes",
            self.options.place,
        )
        await self.create_groups(self._queues.by_name)
        for queue in self._queues:
            queue.counts_version = -1
        self._queues.verify_all()

    async def check_server(self) -> None:
        """Warn if this Redis, or the way to it, cannot keep what a durable spool promises.

        Raises:
            ConfigError: Redis is too old.
        """
        warn_of_clear_text(self.options)
        try:
            info = _info(await self.connection.command("INFO"))
        except Unreachable:
            raise
        except SpoolError:
            return  # this user has no permission to ask
        if tuple(int(part) for part in str(info.get("redis_version", "9")).split(".")[:2]) < (6, 2):
            raise ConfigError("spool: Redis 6.2 or newer is needed")
        place = self.options.place
        if str(info.get("aof_enabled")) == "0":
            logger.warning("Redis keeps nothing over a restart: set appendonly yes at %s", place)
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction" and str(info.get("maxmemory")) != "0":
            logger.warning("Redis may throw events away: set maxmemory-policy noeviction at %s", place)


def warn_of_clear_text(options: Options) -> None:
    """Warn if somebody between this process and Redis could read the password, or answer in Redis's name."""
    if options.secure and options.tls.get("ssl_check_hostname") is False:
        logger.warning(
            "Redis at %s: the host name in its certificate is not checked, so the owner of any certificate can answer "
            "for it; leave ssl_check_hostname on",
            options.place,
        )
    remote = [host for host, _ in options.hosts if not (host in _LOCAL_HOSTS or host.startswith("127."))]
    if remote and not options.secure and (options.password or options.sentinel_password):
        logger.warning(
            "the password of Redis, and events, go to %s in clear: use rediss:// if somebody may listen there",
            options.place,
        )


def _info(answer: Any) -> Mapping[str, Any]:
    """The answer to ``INFO``, which some releases of the driver parse and others do not."""
    if isinstance(answer, Mapping):
        return answer
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
