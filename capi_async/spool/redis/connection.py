"""The connection to Redis, made from an address; its errors say what a caller can do. Needs the extra ``redis``."""

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

#: Most seconds for making a connection.
_CONNECT_S: Final = 3.0
#: Most seconds for the answer to a command.
_ANSWER_S: Final = 10.0
#: Seconds between two cancellations of a command that swallowed the first.
_CANCEL_S: Final = 0.02
#: Most commands under way at once; further ones wait. A blocking read of notices does not count.
_MAX_COMMANDS: Final = 32

#: Errors of a Redis that recovers by itself.
_TEMPORARY: Final = ("ReadOnlyError", "MasterDownError", "ClusterDownError", "TryAgainError")
_TEMPORARY_WORDS: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "BUSY ",
    "UNBLOCKED",
    "NOREPLICAS",
    "MISCONF",
)
#: Errors of making a connection: the command was not sent.
_NOT_SENT: Final = ("MasterNotFoundError", "SlaveNotFoundError", "MaxConnectionsError")
_NOT_SENT_WORDS: Final = (" connecting to ", "Timeout connecting")
#: Errors of a Redis that has lost the spool's consumer groups, or never had them.
_NO_GROUP: Final = ("NOGROUP", "ERR no such key", "ERR The XGROUP subcommand requires")


class Unreachable(SpoolError):
    """Redis cannot be reached, or is not ready; repeating the command makes sense.

    ``stored`` is False if the command was certainly not carried out.
    """


class CommandRefused(SpoolError):
    """Redis refuses a command because of its arguments, or because of the data that it meets."""


class GroupMissing(SpoolError):
    """A consumer group does not exist."""


def script_digest(script: str) -> str:
    """The name by which Redis knows a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class Connection:
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
        self._digests: dict[str, str] = {}
        self._slots = asyncio.Semaphore(_MAX_COMMANDS)

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
        # the driver does not repeat commands: the session does, because it knows which of them may be repeated
        common |= {"db": options.db, "retry": Retry(NoBackoff(), 0)}
        if options.kind == "sentinel":
            from redis.asyncio.sentinel import Sentinel

            of_sentinels = {
                "username": options.sentinel_username,
                "password": options.sentinel_password,
                "socket_connect_timeout": _CONNECT_S,
                "socket_timeout": _ANSWER_S,
            }
            if options.secure:
                of_sentinels |= _tls(options)
            untyped: Any = Sentinel
            self._sentinels = untyped(list(options.hosts), sentinel_kwargs=of_sentinels)
            return self._sentinels.master_for(options.service, **common)
        host, port = options.hosts[0]
        return self._driver.Redis(host=host, port=port, **common)

    async def command(self, *command: Argument) -> Any:
        """Return the answer to a command.

        Raises:
            Unreachable: Redis cannot be reached.
            GroupMissing: A consumer group does not exist.
            SpoolError: Redis refuses the command.
        """
        return await self._limited(lambda: self._redis.execute_command(*command))

    async def script(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Return the result of a script; raises as :meth:`command` does."""
        digest = self._digests.get(script)
        if digest is None:
            digest = self._digests[script] = script_digest(script)

        async def run() -> Any:
            try:
                return await self._redis.evalsha(digest, len(keys), *keys, *arguments)
            except self._errors.NoScriptError:
                return await self._redis.eval(script, len(keys), *keys, *arguments)

        return await self._limited(run)

    async def replicated_script(
        self, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, replicas: int, seconds: float
    ) -> tuple[Any, int]:
        """Return the result of a script, and the number of replicas that have what it wrote.

        Waits for ``replicas`` of them, for at most ``seconds``. The script and ``WAIT`` go through one connection,
        because ``WAIT`` speaks of what its own connection wrote.
        """

        async def run() -> tuple[Any, int]:
            for whole in (False, True):
                pipe = self._redis.pipeline(transaction=False)
                if whole:
                    pipe.eval(script, len(keys), *keys, *arguments)
                else:
                    pipe.evalsha(script_digest(script), len(keys), *keys, *arguments)
                pipe.execute_command("WAIT", replicas, int(min(seconds, _ANSWER_S / 2) * 1000))
                result, reached = await pipe.execute(raise_on_error=False)
                if isinstance(result, self._errors.NoScriptError) and not whole:
                    continue
                for answer in (result, reached):
                    if isinstance(answer, Exception):
                        raise answer
                return result, int(reached)
            raise AssertionError("Redis did not know a script that was sent whole")

        answers: tuple[Any, int] = await self._limited(run)
        return answers

    async def read_streams(
        self, after: dict[str, str], seconds: float
    ) -> list[tuple[str, list[tuple[str, dict[str, str]]]]]:
        """Return new entries of small streams as soon as there are any, else an empty list after ``seconds``.

        Args:
            after: Stream to the id of the last entry that the caller knows.
        """
        found = await self._in_own_task(lambda: self._redis.xread(dict(after), block=max(1, int(seconds * 1000))))
        pairs = found.items() if isinstance(found, dict) else found or ()
        streams = []
        for key, entries in pairs:
            # with RESP3 there is one more list around the entries
            rows = entries[0] if entries and isinstance(entries[0], list) else entries
            read = [(_text(id_), {_text(name): _text(value) for name, value in fields.items()}) for id_, fields in rows]
            streams.append((_text(key), read))
        return streams

    async def close(self) -> None:
        """Close all connections."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._redis.aclose()
                for sentinel in self._sentinels.sentinels if self._sentinels is not None else ():
                    await sentinel.aclose()
        except (TimeoutError, OSError, self._errors.RedisError, self._errors.RedisClusterException) as error:
            logger.debug("closing a connection failed", extra={"error": type(error).__name__})

    async def _limited(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        # the driver's own limit of connections raises an error that looks like an outage
        async with self._slots:
            return await self._in_own_task(run)

    async def _in_own_task(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run in a separate task: the driver's timeouts may swallow a cancellation, which must end the caller."""
        work = asyncio.create_task(run())
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            while not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work], timeout=_CANCEL_S)
            if not work.cancelled():
                work.exception()  # retrieved, so that asyncio does not report it
            raise
        try:
            return work.result()
        except (self._errors.RedisError, self._errors.RedisClusterException, OSError, TimeoutError) as error:
            raise self._translated(error) from error
        except asyncio.CancelledError:
            raise Unreachable(f"Redis at {self._options.place} is out of reach (the driver gave up)") from None

    def _translated(self, error: Exception) -> SpoolError:
        """The error of ours that says what the driver's means, and whether the command may have been carried out."""
        errors, place, kind, text = self._errors, self._options.place, type(error).__name__, str(error)
        if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
            return SpoolError(f"Redis at {place} refuses the user or the password", stored=False)
        if isinstance(error, errors.NoPermissionError):
            return SpoolError(f"Redis at {place} refuses the user or the password")
        if isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError | TimeoutError):
            # without a connection nothing was sent; in all other cases Redis may have carried the command out
            not_sent = kind in _NOT_SENT or any(words in text for words in _NOT_SENT_WORDS)
            return Unreachable(f"Redis at {place} is out of reach ({kind})", stored=False if not_sent else None)
        if text.startswith(_TEMPORARY_WORDS) or kind in _TEMPORARY:
            return Unreachable(f"Redis at {place} is not ready ({kind})", stored=False)
        if isinstance(error, errors.ClusterError | errors.RedisClusterException):
            return Unreachable(f"Redis at {place} is not ready ({kind})")
        if any(words in text for words in _NO_GROUP):
            return GroupMissing(f"Redis at {place} does not have this spool's consumer groups")
        if kind == "OutOfMemoryError" or "OOM" in text:
            return SpoolError(f"Redis at {place} refuses: it is out of memory", stored=False)
        # only the first word of Redis's text: the others may quote what was sent
        return CommandRefused(f"Redis at {place} refuses: {text.split(' ', 1)[0] if kind == 'ResponseError' else kind}")


def _tls(options: Options) -> dict[str, Any]:
    """Settings of a TLS connection. All are set, because the driver's defaults differ from release to release."""
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **options.tls}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def with_scores(answer: Any) -> list[tuple[bytes, float]]:
    """Members and scores, in either form that the driver gives."""
    if answer and isinstance(answer[0], list | tuple):
        return [(member, float(score)) for member, score in answer]
    return [(member, float(score)) for member, score in zip(answer[::2], answer[1::2], strict=True)]
