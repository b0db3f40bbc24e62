"""A store of contexts in Redis (6.2 or newer), which any number of hosts may share. Needs the extra ``redis``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from capi_async.context.context import RequestContext
from capi_async.context.stores.base import KEEP_S, checked_key, checked_time
from capi_async.errors import ConfigError, ContextError

_TIMEOUT_S: Final = 5.0


class RedisContextStore:
    """A :class:`~capi_async.context.stores.ContextStore` in Redis, which forgets by itself what is too old.

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
            from redis import asyncio as library
            from redis.exceptions import RedisError
        except ImportError:
            raise ConfigError("context store: Redis needs the extra: pip install 'capi_async[redis]'") from None
        self._errors = (RedisError, OSError, asyncio.TimeoutError)
        self._prefix = prefix
        self._keys = tuple(keys)
        self._given: Any = None if isinstance(url, str) else url
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

        def connect() -> Any:
            return library.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)

        self._connect = connect
        if self._given is None:
            try:
                connect()
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
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _name(self, key: str) -> str:
        return f"{self._prefix}{checked_key(key)}"

    def _loaded(self, found: bytes | str | None) -> RequestContext | None:
        if found is None:
            return None
        return RequestContext.load(found if isinstance(found, str) else found.decode("latin-1"), keys=self._keys)

    async def _call(self, command: Callable[[Any], Awaitable[Any]]) -> Any:
        client = self._given
        if client is None:
            loop = asyncio.get_running_loop()
            if self._client is None or self._loop is not loop:  # connections belong to the loop that made them
                self._client, self._loop = self._connect(), loop
            client = self._client
        try:
            return await command(client)
        except self._errors as error:
            raise ContextError(f"context store: Redis gave no answer ({type(error).__name__})") from error

    def __repr__(self) -> str:
        return f"RedisContextStore(prefix={self._prefix!r})"
