"""A store of contexts in Redis (6.2 or newer), which any number of hosts may share. Needs the extra ``redis``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from capi_async.context.context import RequestContext
from capi_async.context.stores.base import KEEP_S, checked_key, checked_keys, checked_time
from capi_async.errors import ConfigError, ContextError
from capi_async.thread import aside

_TIMEOUT_S: Final = 5.0


class RedisContextStore:
    """A :class:`~capi_async.context.stores.ContextStore` in Redis, which forgets by itself what is too old.

    It may be used from any number of threads and event loops; each call waits in a thread of its own.

    Args:
        url: Such as ``redis://:password@host:6379/0``; or your own client of ``redis.asyncio``, which is not closed.
        prefix: Stands before every key.
        keys: What is stored is encrypted with the first; all of them open. Needs the extra ``encryption``.
        timeout_s: Seconds to wait for an answer; a call fails after that.

    Raises:
        ConfigError: The extra is missing, or the address is malformed.
    """

    def __init__(
        self, url: str | Any, *, prefix: str = "capi:context:", keys: Sequence[str] = (), timeout_s: float = _TIMEOUT_S
    ) -> None:
        try:
            from redis import Redis
            from redis.exceptions import RedisError
        except ImportError:
            raise ConfigError("context store: Redis needs the extra: pip install 'capi_async[redis]'") from None
        self._errors = (RedisError, OSError, asyncio.TimeoutError)
        self._prefix = prefix
        self._keys = checked_keys(keys)
        self._given: Any = None if isinstance(url, str) else url
        # Not the asyncio client: its connections belong to one event loop, and views that are not async have one each
        self._client: Any = None
        if self._given is None:
            try:
                self._client = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
            except ValueError:
                # its text would repeat the address, and with it the password
                raise ConfigError("context store: write redis://host:6379/0 or rediss://host:6379/0") from None

    async def put(self, key: str, context: RequestContext, *, keep_s: float = KEEP_S) -> None:
        """As :meth:`ContextStore.put`."""
        name, keep_ms = self._name(key), max(1, int(checked_time(keep_s) * 1_000))
        text = context.dump(keys=self._keys)
        await self._call(lambda client: client.set(name, text, px=keep_ms))

    async def get(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.get`."""
        name = self._name(key)
        return self._loaded(await self._call(lambda client: client.get(name)))

    async def take(self, key: str) -> RequestContext | None:
        """As :meth:`ContextStore.take`."""
        name = self._name(key)
        return self._loaded(await self._call(lambda client: client.getdel(name)))

    async def forget(self, key: str) -> bool:
        """As :meth:`ContextStore.forget`."""
        name = self._name(key)
        return bool(await self._call(lambda client: client.delete(name)))

    async def aclose(self) -> None:
        """Close the connections that this store opened."""
        if self._client is not None:
            await aside(self._client.close)

    def _name(self, key: str) -> str:
        return f"{self._prefix}{checked_key(key)}"

    def _loaded(self, found: bytes | str | None) -> RequestContext | None:
        if found is None:
            return None
        return RequestContext.load(found if isinstance(found, str) else found.decode("latin-1"), keys=self._keys)

    async def _call(self, command: Callable[[Any], Any]) -> Any:
        try:
            if self._given is not None:
                return await command(self._given)
            return await aside(lambda: command(self._client))
        except self._errors as error:
            raise ContextError(f"context store: Redis gave no answer ({type(error).__name__})") from error

    def __repr__(self) -> str:
        return f"RedisContextStore(prefix={self._prefix!r})"
