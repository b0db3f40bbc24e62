"""Where accepted events wait. Each backend is imported when it is chosen."""

from __future__ import annotations

from capi_async.clock import Clock
from capi_async.errors import ConfigError
from capi_async.spool.base import Spool


def open_spool(spool: str | Spool, *, clock: Clock) -> Spool:
    """The spool that a setting names.

    Args:
        spool: ``"memory"``, ``"sqlite:///relative.db"``, ``"sqlite:////absolute.db"``, ``"redis://host:6379/0"``
            (or ``rediss``, ``redis+sentinel``, ``redis+cluster``), or an object that keeps the promises of
            :class:`~capi_async.spool.base.Spool`.

    Raises:
        ConfigError: There is no such spool.
    """
    if not isinstance(spool, str):
        return spool
    if spool == "memory":
        from capi_async.spool.memory import MemorySpool

        return MemorySpool(clock=clock)
    if spool.startswith("sqlite:"):
        from capi_async.spool.sqlite import SqliteSpool, parse

        return SqliteSpool(parse(spool), clock=clock)
    if spool.startswith(("redis:", "rediss:", "redis+", "rediss+")):
        from capi_async.spool.redis import RedisSpool
        from capi_async.spool.redis import parse as parse_redis

        return RedisSpool(parse_redis(spool), clock=clock)
    scheme = spool.partition(":")[0]
    raise ConfigError(
        f"spool: there is no {scheme!r} spool; use 'memory', 'sqlite:///events.db', 'redis://host:6379/0' "
        "or an object of your own"
    )
