"""The connection to Redis: made from an address, its errors told apart. Needs the extra ``redis``."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from capi_async.errors import ConfigError, SpoolError
from capi_async.spool.redis.options import Options

logger = logging.getLogger(__name__)

Argument: TypeAlias = str | bytes | int | float

#: Seconds that a connection, and an answer, may take.
_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 10.0
#: Seconds between two cancellations of a command that swallowed the first.
_CANCEL_S: Final = 0.02
#: Commands under way at once; what comes on top of that waits for its turn. One that listens is not one of them.
_AT_ONCE: Final = 32

#: Answers of a Redis that will be of use again in a while, without anybody's doing.
_PASSING: Final = ("ReadOnlyError", "MasterDownError", "ClusterDownError", "TryAgainError")
_PASSING_WORDS: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "BUSY ",
    "UNBLOCKED",
    "NOREPLICAS",
    "MISCONF",
)
#: Errors of connecting: what was to be asked has not left.
_UNASKED: Final = ("MasterNotFoundError", "SlaveNotFoundError", "MaxConnectionsError")
_UNASKED_WORDS: Final = (" connecting to ", "Timeout connecting")
#: Answers of a Redis that has forgotten everything, or never knew it.
_EMPTY: Final = ("NOGROUP", "ERR no such key", "ERR The XGROUP subcommand requires")


class Away(SpoolError):
    """Redis is out of reach, or not ready; trying again makes sense.

    ``stored`` is False if what was asked for surely was not done.
    """


class Unfit(SpoolError):
    """Redis cannot carry out what is asked for with what it was given, or with what stands there."""


class Emptied(SpoolError):
    """A consumer group is not there."""


def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class Link:
    """Connections to one Redis, bound to one event loop.

    Raises:
        ConfigError: The extra is not installed.
    """

    def __init__(self, options: Options) -> None:
        try:
            import redis.asyncio as driver
            import redis.exceptions as errors
        except ImportError:
            raise ConfigError("spool: Redis needs its extra: pip install 'capi_async[redis]'") from None
        self._driver = driver
        self._errors = errors
        self._options = options
        self.loop = asyncio.get_running_loop()
        self._sentinels: Any = None
        self._redis: Any = self._connect()
        self._known: dict[str, str] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def _connect(self) -> Any:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options = self._options
        common: dict[str, Any] = {
            "username": options.username,
            "password": options.password,
            "socket_connect_timeout": _CONNECT_S,
            "socket_timeout": _ANSWER_S,
            "socket_keepalive": True,
        }
        if options.secure:
            common |= _tls(options)
        if options.kind == "cluster":
            from redis.asyncio.cluster import ClusterNode, RedisCluster

            return RedisCluster(startup_nodes=[ClusterNode(*host) for host in options.hosts], **common)
        # whether to try again, and how often, is decided where it is known what is tried
        common |= {"db": options.db, "retry": Retry(NoBackoff(), 0)}
        if options.kind == "sentinel":
            from redis.asyncio.sentinel import Sentinel

            theirs = {
                "username": options.sentinel_username,
                "password": options.sentinel_password,
                "socket_connect_timeout": _CONNECT_S,
                "socket_timeout": _ANSWER_S,
            }
            if options.secure:
                theirs |= _tls(options)
            made: Any = Sentinel
            self._sentinels = made(list(options.hosts), sentinel_kwargs=theirs)
            return self._sentinels.master_for(options.service, **common)
        host, port = options.hosts[0]
        return self._driver.Redis(host=host, port=port, **common)

    async def call(self, *command: Argument) -> Any:
        """The answer to a command.

        Raises:
            Away: Redis is out of reach.
            Emptied: A consumer group is not there.
            SpoolError: Redis refuses.
        """
        return await self._ask(lambda: self._redis.execute_command(*command))

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What a script returns; errors as of :meth:`call`."""
        name = self._known.get(script)
        if name is None:
            name = self._known[script] = _digest(script)

        async def ask() -> Any:
            try:
                return await self._redis.evalsha(name, len(keys), *keys, *arguments)
            except self._errors.NoScriptError:
                return await self._redis.eval(script, len(keys), *keys, *arguments)

        return await self._ask(ask)

    async def run_copied(
        self, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, copies: int, seconds: float
    ) -> tuple[Any, int]:
        """What a script returns, and how many replicas have what it wrote, once there are ``copies``, or in time.

        Both go through one connection: ``WAIT`` tells of what its own connection wrote.
        """

        async def ask() -> tuple[Any, int]:
            for again in (False, True):
                pipe = self._redis.pipeline(transaction=False)
                if again:
                    pipe.eval(script, len(keys), *keys, *arguments)
                else:
                    pipe.evalsha(_digest(script), len(keys), *keys, *arguments)
                pipe.execute_command("WAIT", copies, int(min(seconds, _ANSWER_S / 2) * 1000))
                found, have = await pipe.execute(raise_on_error=False)
                if isinstance(found, self._errors.NoScriptError) and not again:
                    continue
                for one in (found, have):
                    if isinstance(one, Exception):
                        raise one
                return found, int(have)
            raise AssertionError("a script that was sent whole is known")

        told: tuple[Any, int] = await self._ask(ask)
        return told

    async def listen(self, keys: dict[str, str], seconds: float) -> list[tuple[str, list[tuple[str, dict[str, str]]]]]:
        """New entries of small streams, as soon as there are any, else nothing after ``seconds``."""
        found = await self._now(lambda: self._redis.xread(dict(keys), block=max(1, int(seconds * 1000))))
        pairs = found.items() if isinstance(found, dict) else found or ()
        told = []
        for key, entries in pairs:
            # with RESP3 the entries come in a list of their own
            rows = entries[0] if entries and isinstance(entries[0], list) else entries
            told.append((_text(key), [(_text(id_), {_text(k): _text(v) for k, v in of.items()}) for id_, of in rows]))
        return told

    async def close(self) -> None:
        """Let go of all connections."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._redis.aclose()
                for sentinel in self._sentinels.sentinels if self._sentinels is not None else ():
                    await sentinel.aclose()
        except (TimeoutError, OSError, self._errors.RedisError, self._errors.RedisClusterException) as error:
            logger.debug("closing a connection failed", extra={"error": type(error).__name__})

    async def _ask(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        # the driver's own bound on connections raises what looks like an outage
        async with self._turns:
            return await self._now(ask)

    async def _now(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        # in a task of its own: the driver's timeouts may swallow a cancellation, and whoever gave up must not wait on
        work = asyncio.create_task(ask())
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            while not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work], timeout=_CANCEL_S)
            if not work.cancelled():
                work.exception()  # mark as seen
            raise
        try:
            return work.result()
        except (self._errors.RedisError, self._errors.RedisClusterException, OSError, TimeoutError) as error:
            raise self._told(error) from error
        except asyncio.CancelledError:
            raise Away(f"Redis at {self._options.place} is out of reach (the driver gave up)") from None

    def _told(self, error: Exception) -> SpoolError:
        """What an error of the driver means, and whether what was asked for may have been done all the same."""
        errors, place, kind, said = self._errors, self._options.place, type(error).__name__, str(error)
        if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
            return SpoolError(f"Redis at {place} refuses the user or the password", stored=False)
        if isinstance(error, errors.NoPermissionError):
            return SpoolError(f"Redis at {place} refuses the user or the password")
        if isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError | TimeoutError):
            # without a connection nothing was asked; in all other cases Redis may have carried it out
            unasked = kind in _UNASKED or any(words in said for words in _UNASKED_WORDS)
            return Away(f"Redis at {place} is out of reach ({kind})", stored=False if unasked else None)
        if said.startswith(_PASSING_WORDS) or kind in _PASSING:
            return Away(f"Redis at {place} is not ready ({kind})", stored=False)
        if isinstance(error, errors.ClusterError | errors.RedisClusterException):
            return Away(f"Redis at {place} is not ready ({kind})")
        if any(text in said for text in _EMPTY):
            return Emptied("Redis holds nothing of this spool any more")
        if kind == "OutOfMemoryError" or "OOM" in said:
            return SpoolError(f"Redis at {place} refuses: it is out of memory", stored=False)
        # of its own words the first: what follows may quote what was sent
        return Unfit(f"Redis at {place} refuses: {said.split(' ', 1)[0] if kind == 'ResponseError' else kind}")


def _tls(options: Options) -> dict[str, Any]:
    """Settings of a TLS connection; what the driver does unless told otherwise differs from release to release."""
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **options.tls}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
