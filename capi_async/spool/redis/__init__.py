"""The durable spool for many hosts: Redis Streams."""

from __future__ import annotations

from capi_async.spool.redis.options import Options, parse
from capi_async.spool.redis.spool import RedisSpool

__all__ = ["Options", "RedisSpool", "parse"]
